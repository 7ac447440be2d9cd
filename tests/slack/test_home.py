"""Home shows each person what concerns them, and what they approve there is what they saw there."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update

from benchmarks import rows as samples
from bot.app import Bot
from bot.domain.clock import SECOND
from bot.domain.i18n import LANGUAGES, translator_for
from bot.domain.lifecycle import State
from bot.slack.blocks.home import SECTIONS, Contents, Part, draw_home
from bot.storage import broadcasts, homes, keys, tables
from bot.storage.boards import Place
from sandbox.blocks import check_home
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.ground import StartBot, newest
from tests.support.patience import until
from tests.support.slack import ask

ANA, CLEO, DAN = "U0ANA", "U0CLEO", "U0DAN"
SECRET = "Soldes secrètes chez Bell"
AT = 1_800_000_000 * SECOND


async def opened(sandbox: Sandbox, user: str) -> Json:
    """Open this person's Home, and return it once it has been drawn."""
    before = (sandbox.acting.home.shown(user) or {}).get("hash")
    sandbox.acting.home.open(user)
    await sandbox.until(lambda: (sandbox.acting.home.shown(user) or {}).get("hash") not in (None, before))
    return sandbox.acting.home.shown(user) or {}


def read(view: Json | None) -> str:
    return json.dumps((view or {}).get("blocks", []), ensure_ascii=False)


def buttons(view: Json) -> list[tuple[str, str]]:
    elements = [e for block in view["blocks"] for e in [*block.get("elements", []), block.get("accessory") or {}]]
    return [(e["action_id"], str(e.get("value"))) for e in elements if "action_id" in e]


async def test_an_approver_sees_what_waits_reads_all_of_it_and_approves_it_from_home(
    sandbox: Sandbox, bot: Bot
) -> None:
    text = " ".join([SECRET, *(["mot"] * 60), "fin"])
    await ask(sandbox, f"send clients marketing {text}", user=DAN)
    home = await opened(sandbox, ANA)
    assert "broadcast.approve" not in {name for name, _ in buttons(home)}  # the whole text does not stand there
    value = next(value for name, value in buttons(home) if name == "broadcast.look")
    await sandbox.acting.home.press(ANA, "broadcast.look", value)
    (view,) = sandbox.acting.views(ANA)
    assert text in read(view)
    assert await sandbox.acting.home.press(ANA, "broadcast.approve", value, view=view)
    await sandbox.until(lambda: "broadcast.approve" not in read(sandbox.acting.views(ANA)[-1]))
    row = await bot.database.read(lambda c: broadcasts.find(c, "T0BELL", value.split(":")[0]))
    assert row.state in (State.SCHEDULED, State.SENDING, State.SENT)
    await sandbox.until(lambda: "Nothing waits for you." in read(sandbox.acting.home.shown(ANA)))


async def look(sandbox: Sandbox, user: str) -> tuple[Json, str]:
    """Open the first broadcast of this person's Home; return its view, and the value of its buttons."""
    value = next(value for name, value in buttons(await opened(sandbox, user)) if name == "broadcast.look")
    await sandbox.acting.home.press(user, "broadcast.look", value)
    return sandbox.acting.views(user)[-1], value


async def change(bot: Bot, **values: Any) -> None:
    rows = tables.broadcasts.c
    await bot.database.write(
        lambda c: c.execute(update(tables.broadcasts).values(**values, revision=rows.revision + 1))
    )


async def is_sized(bot: Bot) -> bool:
    return (await newest(bot)).size is not None


def published(sandbox: Sandbox, user: str) -> int:
    return sum(name == "views.publish" and of["user_id"] == user for name, of in sandbox.api.calls)


@pytest.mark.long
async def test_an_approval_in_a_view_counts_only_for_what_the_view_showed(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, f"send clients marketing {SECRET}", user=DAN)
    await until(lambda: is_sized(bot))  # else the vendor's own size replaces the next
    view, value = await look(sandbox, ANA)
    await change(bot, size=4_321)
    assert await sandbox.acting.home.press(ANA, "broadcast.approve", value, view=view)
    await sandbox.until(lambda: "It now goes to" in read(sandbox.acting.views(ANA)[-1]))
    assert (await bot.database.read(lambda c: broadcasts.find(c, "T0BELL", value[:8]))).state is State.PENDING
    again = sandbox.acting.views(ANA)[-1]  # it shows the new size, and counts for that
    assert await sandbox.acting.home.press(ANA, "broadcast.approve", value, view=again)
    await sandbox.until(lambda: "broadcast.approve" not in read(sandbox.acting.views(ANA)[-1]))


@pytest.mark.long
@pytest.mark.parametrize("kept", ["", "{}", "[]", '{"id":1}', '{"id":"%s","version":1,"facts":{"size":"many"}}'])
async def test_a_view_that_does_not_say_what_it_showed_approves_nothing(sandbox: Sandbox, bot: Bot, kept: str) -> None:
    await ask(sandbox, f"send clients marketing {SECRET}", user=DAN)
    view, value = await look(sandbox, ANA)
    view["private_metadata"] = kept.replace("%s", value[:8])
    assert await sandbox.acting.home.press(ANA, "broadcast.approve", value, view=view)
    row = await bot.database.read(lambda c: broadcasts.find(c, "T0BELL", value[:8]))
    assert row.state is State.PENDING
    assert sandbox.vendors.ledger == []


@pytest.mark.long
async def test_a_form_opens_above_the_view_and_closes_both(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, f"send clients marketing {SECRET}", user=DAN)
    view, value = await look(sandbox, ANA)
    await sandbox.acting.home.press(ANA, "broadcast.request_changes", value, view=view)
    below, form = sandbox.acting.views(ANA)
    assert (below["id"], form["callback_id"]) == (view["id"], "broadcast_changes")
    comment = {"comment": {"value": {"type": "plain_text_input", "value": "Plus court"}}}
    assert await sandbox.acting.submit(ANA, form["id"], comment) == {}
    assert sandbox.acting.views(ANA) == []
    await opened(sandbox, DAN)  # the requester finds what to change
    assert ("broadcast.edit", value) in buttons(sandbox.acting.home.shown(DAN) or {})


@pytest.mark.long
async def test_only_who_opened_home_has_one_and_it_is_published_only_when_it_looks_different(
    sandbox: Sandbox, bot: Bot
) -> None:
    await opened(sandbox, ANA)
    assert published(sandbox, ANA) == 1
    await ask(sandbox, f"send clients marketing {SECRET}", user=DAN)
    await sandbox.until(lambda: SECRET in read(sandbox.acting.home.shown(ANA)))
    before = published(sandbox, ANA)
    await bot.database.write(lambda c: homes.draw_now(c, "T0BELL", ANA, 1))
    await eventually(bot, lambda home: home is not None and home.draw_at > 1)
    assert published(sandbox, ANA) == before  # it was drawn, and looked the same
    assert set(sandbox.world.homes) == {ANA}


async def eventually(bot: Bot, holds: Callable[[homes.Home | None], bool]) -> None:
    """Wait until this holds of Ana's Home as it is stored."""

    async def found() -> bool:
        return holds(await bot.database.read(lambda c: homes.find(c, "T0BELL", ANA)))

    await until(found)


@pytest.mark.long
async def test_a_home_that_somebody_else_published_meanwhile_is_replaced(sandbox: Sandbox, bot: Bot) -> None:
    await opened(sandbox, ANA)
    sandbox.world.homes[ANA] = {**sandbox.world.homes[ANA], "hash": "1.other", "blocks": []}
    sandbox.acting.home.open(ANA)
    await sandbox.until(lambda: "Nothing waits for you." in read(sandbox.acting.home.shown(ANA)))


@pytest.mark.long
async def test_a_section_is_turned_page_by_page_and_back(sandbox: Sandbox, bot: Bot) -> None:
    for number in range(7):
        await ask(sandbox, f"send clients marketing Soldes {number} {SECRET}", user=("U0CLEO", DAN)[number % 2])
    first = await opened(sandbox, ANA)
    seen = {value for name, value in buttons(first) if name == "broadcast.look"}
    more = next(value for name, value in buttons(first) if name == "home.more")
    await sandbox.acting.home.press(ANA, "home.more", more)
    await sandbox.until(lambda: "home.earlier" in read(sandbox.acting.home.shown(ANA)))
    second = {value for name, value in buttons(sandbox.acting.home.shown(ANA) or {}) if name == "broadcast.look"}
    assert (len(seen), len(second), seen & second) == (5, 2, set())
    await sandbox.acting.home.press(ANA, "home.earlier")
    await sandbox.until(lambda: "home.more" in read(sandbox.acting.home.shown(ANA)))
    assert {value for name, value in buttons(sandbox.acting.home.shown(ANA) or {}) if name == "broadcast.look"} == seen


@pytest.mark.long
async def test_the_main_buttons_open_the_form_and_the_help(sandbox: Sandbox, bot: Bot) -> None:
    await opened(sandbox, CLEO)
    await sandbox.acting.home.press(CLEO, "home.write")
    assert sandbox.acting.views(CLEO)[-1]["callback_id"] == "broadcast_compose"
    await sandbox.acting.home.press(CLEO, "home.help")
    assert "/broadcast help send" in read(sandbox.acting.views(CLEO)[-1])
    await opened(sandbox, CLEO)  # a second visit needs no steps
    assert "*1.*" not in read(sandbox.acting.home.shown(CLEO))


@pytest.mark.long
async def test_a_week_after_it_was_opened_it_is_drawn_no_more(sandbox: Sandbox, bot: Bot) -> None:
    await opened(sandbox, ANA)
    await eventually(bot, lambda home: home is not None and home.drawn_at > 0)
    long_ago = {"opened_at": 1, "draw_at": 1}
    await bot.database.write(lambda c: c.execute(update(tables.homes).values(**long_ago)))
    await ask(sandbox, f"send clients marketing {SECRET}", user=DAN)
    await eventually(bot, lambda home: home is None)
    assert published(sandbox, ANA) == 1


@pytest.mark.long
async def test_admins_see_credit_and_trouble_and_nobody_else_does(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox, admins=[ANA])

    def trouble(connection: Any) -> None:
        keys.keep_credit(connection, "octo", "12.50 EUR", 1)
        keys.open_notice(connection, "credit:octo", "credit", 1)
        keys.open_notice(connection, "clock:here", "+90 s", 1)

    await bot.database.write(trouble)
    told = read(await opened(sandbox, ANA))
    assert "*octo* · Octopush · credit 12.50 EUR · ⚠️ low" in told
    assert "`clock:here`: +90 s" in told
    others = await opened(sandbox, CLEO)
    assert "12.50" not in read(others)
    assert "workspace.settings" not in {name for name, _ in buttons(others)}
    await sandbox.acting.home.press(ANA, "workspace.settings")
    assert sandbox.acting.views(ANA)[-1]["callback_id"] == "workspace_settings"


@pytest.mark.parametrize("number", [0, 1, 6, 60])
def test_whatever_it_holds_slack_takes_it(number: int) -> None:
    row = dataclasses.replace(samples.sample(AT), text="<!channel> & é" * 300, audience="a" * 255)
    rows = [dataclasses.replace(row, id=f"B{i:07}") for i in range(number)]
    parts = [Part(name, rows, 3, Place(AT, "B1234567")) for name in SECTIONS]
    lines = ["⚠️ " + "x" * 400] * number
    for language in LANGUAGES:
        blocks = draw_home(Contents(parts, True, lines, lines), translator_for(language))
        titles = {block["text"]["text"] for block in blocks if block["type"] == "header"}
        assert (titles <= {*SECTIONS.values(), "For admins"}) is (language == "en")
        assert language == "en" or not titles & {*SECTIONS.values()}
        check_home({"type": "home", "blocks": blocks})
        assert "<!channel>" not in json.dumps(blocks)


@pytest.mark.long
async def test_whoever_may_settle_what_is_not_known_does_so_from_home(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, f"send clients marketing {SECRET}", user=DAN)
    await change(bot, state="unknown", expires_at=None)
    view, value = await look(sandbox, ANA)
    assert await sandbox.acting.home.press(ANA, "broadcast.mark_not_sent", value, view=view)
    await until(lambda: "broadcast.mark_not_sent" not in read(sandbox.acting.views(ANA)[-1]))
    row = await bot.database.read(lambda c: broadcasts.find(c, "T0BELL", value[:8]))
    assert row.state is State.FAILED
    assert "Nothing waits for you." in read(await opened(sandbox, ANA))


@pytest.mark.long
async def test_what_goes_out_today_is_there_and_tomorrow_is_not(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, f"send clients marketing {SECRET}", user=DAN)
    zone, now = ZoneInfo(sandbox.world.people[CLEO].tz), datetime.now(UTC)
    for days, due in ((0, now + timedelta(seconds=90)), (1, now + timedelta(days=1))):
        await change(bot, state="scheduled", due=int(due.timestamp()) * SECOND, start_at=None, expires_at=None)
        same_day = due.astimezone(zone).date() == now.astimezone(zone).date()
        assert same_day or days == 1 or now.astimezone(zone).hour == 23
        assert ("Going out today" in read(await opened(sandbox, CLEO))) is same_day
