"""Waiting broadcasts as people in Slack see them."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from bot.app import Bot
from bot.domain.clock import SECOND, moment, now
from bot.domain.errors import CannotStart
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Hold, State
from bot.storage import tables
from bot.storage.engines import open_database
from bot.storage.notes import Note, add_notes
from bot.storage.schema import upgrade
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.core import TEAM
from tests.support.ground import StartBot, newest
from tests.support.patience import LONG, nothing_more, until
from tests.support.slack import HERE, approved, ask, card, filled, open_form, settled, thread_text
from tests.support.waiting import DAY, HOUR, MINUTE, press, told_directly


class Time:
    """A clock that a test moves forward."""

    def __init__(self) -> None:
        self.ahead = 0

    def __call__(self) -> int:
        return now() + self.ahead


def iso(instant: int) -> str:
    return f"{moment(instant):%Y-%m-%dT%H:%MZ}"


def chosen(start: int) -> Json:
    return {"send_at": {"value": {"type": "datetimepicker", "selected_date_time": start // SECOND}}}


def offered(form: Json) -> int:
    """Return the start that the form is filled with."""
    (picker,) = [block["element"] for block in form["blocks"] if block.get("block_id") == "send_at"]
    return int(picker["initial_date_time"]) * SECOND


@pytest.mark.long
async def test_a_new_plan_has_a_new_card_and_the_old_one_is_a_line_with_a_link(sandbox: Sandbox, bot: Bot) -> None:
    start = now() + 2 * HOUR
    await ask(sandbox, f"send clients marketing at={iso(start)} Soldes demain")
    old = await card(sandbox)
    await sandbox.acting.click("U0ANA", HERE, old["ts"], "broadcast.approve")
    await settled(bot, State.SCHEDULED)
    await sandbox.until(lambda: "broadcast.replan" in str(sandbox.acting.messages(HERE)[0]))

    form = await press(sandbox, "U0CLEO", old, "replan")
    assert offered(form) == start - start % (60 * SECOND) + -(start // MINUTE * MINUTE) % (5 * MINUTE)
    errors = await sandbox.acting.submit("U0CLEO", form["id"], chosen(now() - HOUR))
    assert "That time has passed" in errors["send_at"]
    assert await sandbox.acting.submit("U0CLEO", form["id"], chosen(start + DAY)) == {}

    new = await card(sandbox, 1)
    await sandbox.until(lambda: "has changed" in sandbox.acting.messages(HERE)[0]["text"])
    (line,) = sandbox.acting.messages(HERE)[0]["blocks"]
    assert new["ts"].replace(".", "") in line["text"]["text"]
    await sandbox.until(lambda: "re-planned it. It is now due to start <!date^" in thread_text(sandbox, new["ts"]))
    assert "re-planned" not in thread_text(sandbox, old["ts"])

    await sandbox.acting.react("U0BEN", HERE, old["ts"], "+1")
    await sandbox.until(lambda: sandbox.acting.ephemerals("U0BEN"))
    told = "has changed in the meantime: 🟡 Waiting for approval, by <@U0CLEO>. Look at its card."
    assert told in sandbox.acting.ephemerals("U0BEN")[-1]["text"]
    row = await newest(bot)
    assert (row.state, row.version, row.editor) == (State.PENDING, 2, "U0CLEO")
    await sandbox.acting.react("U0ANA", HERE, new["ts"], "+1")
    await settled(bot, State.SCHEDULED)
    await sandbox.until(lambda: "Approved by" in thread_text(sandbox, new["ts"]))

    await sandbox.acting.react("U0ANA", HERE, old["ts"], "+1")
    await sandbox.until(lambda: len(sandbox.acting.ephemerals("U0ANA")) > 0)  # the bot must read it before it is undone
    await sandbox.acting.unreact("U0ANA", HERE, old["ts"], "+1")  # on the old version, so it withdraws nothing
    await nothing_more(bot)
    assert (await newest(bot)).state is State.SCHEDULED
    assert len(sandbox.acting.messages(HERE)) == 2
    assert sandbox.vendors.ledger == []


@pytest.mark.long
async def test_an_old_card_becomes_a_link_when_slack_takes_it_again(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, f"send clients marketing at={iso(now() + 2 * HOUR)} Soldes demain")
    old = await card(sandbox)
    form = await press(sandbox, "U0CLEO", old, "replan")
    sandbox.faults.add("chat.update", "429", times=2, retry_after=1)
    assert await sandbox.acting.submit("U0CLEO", form["id"], chosen(now() + DAY)) == {}
    await sandbox.until(lambda: "has changed" in sandbox.acting.messages(HERE)[0]["text"])
    assert len(sandbox.acting.messages(HERE)) == 2


@pytest.mark.long
async def test_what_is_approved_too_late_asks_in_its_thread_and_on_its_card(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    time = Time()
    bot = await start_bot(sandbox, clock=time)
    await ask(sandbox, f"send clients marketing at={iso(time() + HOUR)} Soldes demain")
    posted = await card(sandbox)
    time.ahead = 2 * HOUR
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    assert (await newest(bot)).hold is Hold.LATE
    await sandbox.until(lambda: "<@U0CLEO>, <@U0ANA> <@U0ANA> approved it, but" in thread_text(sandbox, posted["ts"]))
    await sandbox.until(lambda: "broadcast.send_now" in str(sandbox.acting.messages(HERE)[0]["blocks"]))
    form = await press(sandbox, "U0CLEO", posted, "replan")
    assert 5 * MINUTE <= offered(form) - time() <= 10 * MINUTE
    await sandbox.acting.click("U0CLEO", HERE, posted["ts"], "broadcast.send_now")
    await settled(bot, State.SENT)
    assert len(sandbox.vendors.ledger) == 1


def a_minute_at_three(outside: str) -> dict[str, Any]:
    hours = {"windows": [{"start": "03:00", "end": "03:01"}], "outside": outside}
    return {"timezone": "Europe/Paris", "marketing": hours}


@pytest.mark.parametrize("outside", ["hold", "refuse"])
async def test_outside_the_hours_the_answer_the_card_and_the_form_tell_the_next_start(
    sandbox: Sandbox, start_bot: StartBot, outside: str
) -> None:
    bot = await start_bot(sandbox, policies={"always": a_minute_at_three(outside)})
    noon = moment(now() + 3 * DAY).replace(hour=12, minute=0, second=0, microsecond=0)
    opens = (noon.astimezone(ZoneInfo("Europe/Paris")) + timedelta(days=1)).replace(hour=3)
    told = await ask(sandbox, f"send clients marketing at={noon:%Y-%m-%dT%H:%MZ} Soldes demain")
    spelled = f"{opens:%Y-%m-%d} 03:00 Europe/Paris"
    assert f"It will be held until {spelled}" in told or f"They allow it from {spelled}" in told
    assert ("by itself" in told) == (outside == "refuse")
    posted = await card(sandbox)
    assert spelled in str(posted["blocks"])
    form = await press(sandbox, "U0CLEO", posted, "replan")
    assert offered(form) == int(opens.timestamp()) * SECOND
    assert "The next start within the sending hours" in str(form["blocks"])
    await sandbox.acting.submit("U0CLEO", form["id"], chosen(offered(form)))
    better = await card(sandbox, 1)
    assert "✋" not in str(better["blocks"])
    assert (await newest(bot)).version == 2


async def test_a_form_of_a_time_outside_the_hours_says_so_to_its_sender(sandbox: Sandbox, start_bot: StartBot) -> None:
    await start_bot(sandbox, policies={"always": a_minute_at_three("hold")})
    noon = moment(now() + 3 * DAY).replace(hour=12, minute=0)
    form = await open_form(sandbox)
    start = int(noon.timestamp())
    assert await sandbox.acting.submit("U0DAN", form["id"], filled("clients", "Hi", send_at=start)) == {}
    await sandbox.until(lambda: "It will be held until" in str(sandbox.acting.ephemerals("U0DAN")))


async def test_a_follow_up_is_a_form_with_the_old_text_and_an_approval_of_its_own(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send newsletter marketing sender=Shop campaign=Winter Soldes demain")
    old = await card(sandbox)
    first = await newest(bot)
    await sandbox.acting.click("U0CLEO", HERE, old["ts"], "broadcast.cancel")
    await sandbox.until(lambda: "broadcast.follow_up" in str(sandbox.acting.messages(HERE)[0]["blocks"]))

    await sandbox.acting.click("U0GUS", HERE, old["ts"], "broadcast.follow_up")
    assert sandbox.acting.views("U0GUS") == []
    assert "Only full members" in sandbox.acting.ephemerals("U0GUS")[-1]["text"]

    form = await press(sandbox, "U0DAN", old, "follow_up")
    shown = str(form["blocks"])
    assert all(value in shown for value in ("'initial_value': 'Soldes demain'", "'Shop'", "'Winter'"))
    assert "initial_date_time" not in shown
    values = filled("newsletter", "Soldes après-demain", sender="Shop")
    assert await sandbox.acting.submit("U0DAN", form["id"], values) == {}
    new = await card(sandbox, 1)
    second = await newest(bot)
    assert (second.state, second.requester, second.version) == (State.PENDING, "U0DAN", 1)
    await sandbox.until(lambda: f"This is a follow-up to {first.id}." in thread_text(sandbox, new["ts"]))
    told = f"<@U0DAN> asked for a follow-up: {second.id}."
    await sandbox.until(lambda: told in thread_text(sandbox, old["ts"]))
    assert (await bot.workflow.find(TEAM, first.id)).state is State.CANCELLED


@pytest.mark.long
async def test_what_did_not_go_out_points_to_its_follow_up(sandbox: Sandbox, bot: Bot) -> None:
    sandbox.vendors.faults.add("encom.release", "reset")
    posted = await approved(sandbox)
    await settled(bot, State.UNKNOWN)
    await sandbox.until(lambda: "broadcast.mark_not_sent" in str(sandbox.acting.messages(HERE)[0]["blocks"]))
    await sandbox.acting.click("U0BEN", HERE, posted["ts"], "broadcast.mark_not_sent")
    await sandbox.until(lambda: "*Send again* on its card" in thread_text(sandbox, posted["ts"]))
    form = await press(sandbox, "U0CLEO", posted, "follow_up")
    assert "Soldes demain" in str(form["blocks"])
    assert sandbox.vendors.ledger == []


async def test_approvers_are_asked_again_in_the_thread_and_nowhere_else(sandbox: Sandbox, start_bot: StartBot) -> None:
    time = Time()
    bot = await start_bot(sandbox, clock=time)
    await ask(sandbox, "send clients marketing Soldes demain")
    posted = await card(sandbox)
    time.ahead = 16 * MINUTE
    bot.workspaces.wake()
    await sandbox.until(
        lambda: "<!subteam^S0APPROVERS> Approvals still needed: 1." in thread_text(sandbox, posted["ts"])
    )
    time.ahead = DAY + MINUTE
    bot.workspaces.wake()
    await settled(bot, State.EXPIRED)
    assert len(sandbox.acting.messages(HERE)) == 1
    assert [told_directly(sandbox, user) for user in ("U0ANA", "U0BEN", "U0CLEO")] == [[], [], []]


def told_so_often(sandbox: Sandbox, times: int) -> bool:
    return len(told_directly(sandbox, "U0DAN")) == times


async def test_the_writer_of_a_forgotten_draft_is_told_directly(sandbox: Sandbox, start_bot: StartBot) -> None:
    time = Time()
    bot = await start_bot(sandbox, clock=time)
    direct = sandbox.world.direct("U0DAN").id
    await ask(sandbox, "send clients Hello", user="U0DAN", channel=direct)
    row = await newest(bot)
    for days in (6, 7):
        time.ahead = days * DAY + HOUR
        bot.workspaces.wake()
        await sandbox.until(partial(told_so_often, sandbox, days - 5))
        if days == 6:  # the message opens the draft
            assert "broadcast.edit" in str(sandbox.acting.messages(direct))
    soon, over = told_directly(sandbox, "U0DAN")
    assert soon.startswith(f"Your draft *{row.id}* will be deleted <!date^")
    assert over == f"I kept your draft *{row.id}* for a week and have now deleted it: “Hello”"
    assert (await newest(bot)).state is State.CANCELLED


@pytest.mark.long
async def test_the_workspace_sees_nothing_odd_of_a_row_that_a_newer_version_wrote(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    strange = await newest(bot)
    await until(lambda: bot.database.read(lambda c: c.execute(tables.cards.select()).first()))
    table, mine = tables.broadcasts, tables.broadcasts.c.id == strange.id
    values = {"state": "teleported", "shape": 2, "draw_at": 1, "voice_at": 1}
    await bot.database.write(lambda c: c.execute(table.update().where(mine).values(**values)))
    await bot.database.write(lambda c: add_notes(c, strange, bot.clock(), [Note(Translatable("Choose a time."))]))
    shown = str(sandbox.acting.messages(HERE)[0])

    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    assert f"A newer version of me is handling *{strange.id}*" in sandbox.acting.ephemerals("U0ANA")[-1]["text"]
    assert "A newer version" in await ask(sandbox, f"show {strange.id}")
    assert strange.id not in await ask(sandbox, "list")

    await ask(sandbox, "send clients marketing Autre chose")
    other = await card(sandbox, 1)
    await sandbox.acting.click("U0BEN", HERE, other["ts"], "broadcast.approve")
    await settled(bot, State.SENT)
    await sandbox.until(lambda: "22, 23" in thread_text(sandbox, other["ts"]))
    assert str(sandbox.acting.messages(HERE)[0]) == shown
    assert sandbox.acting.thread(HERE, posted["ts"]) == []


@pytest.mark.parametrize(("revision", "told"), [("9999", "newer than this version"), ("0001", "bellcrier db upgrade")])
async def test_a_database_of_another_version_is_told_from_an_older_one(
    sandbox: Sandbox, start_bot: StartBot, tmp_path: Path, revision: str, told: str
) -> None:
    kept = open_database(f"sqlite:///{tmp_path}/bell.db", LONG)
    await kept.write(lambda c: upgrade(c, "0001"))
    await kept.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": revision}))
    await kept.close()
    with pytest.raises(CannotStart, match=told):
        await start_bot(sandbox)
