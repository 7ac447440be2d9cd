"""Whoever is no full member of the workspace is told nothing and does nothing, by whatever way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, select

from bot.app import Bot
from bot.storage import tables
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.generated import LIVE, OF_BROADCASTS, OF_COMMANDS, OF_PAGES, OF_TEMPLATES, SUBCOMMANDS
from tests.support.ground import StartBot
from tests.support.slack import HERE, ask, card, filled
from tests.support.waiting import press

SECRET = "Soldes secrètes chez Bell"
ANA = "U0ANA"  # an approver and an admin, until she is one of these
OUTSIDERS: dict[str, Json] = {
    "a guest": {"is_restricted": True},
    "a single-channel guest": {"is_restricted": True, "is_ultra_restricted": True},
    "a stranger of a shared channel": {"team_id": "T0OTHER", "is_stranger": True},
    "somebody of another workspace": {"team_id": "T0OTHER"},
    "somebody on the grid who is in none of ours": {"team_id": "E0", "enterprise_user": {"teams": ["T0OTHER"]}},
    "a bot": {"is_bot": True},
    "a deactivated person": {"deleted": True},
}
TOLD = ("Only full members of this workspace can do this.", "I cannot find out from Slack who may do this")
SETTINGS: dict[str, Any] = {"admins": [ANA, "U0OPS"], "approval__break_glass": [ANA]}


def is_refusal(told: str) -> bool:
    return told.startswith(TOLD) and SECRET not in told


@pytest.fixture(params=[one if one == "a guest" else pytest.param(one, marks=pytest.mark.long) for one in OUTSIDERS])
def outsider(request: pytest.FixtureRequest) -> Callable[[Json], Json]:
    """What Slack tells of Ana once she is no member any more."""
    changes = OUTSIDERS[request.param]
    return lambda profile: {**profile, **changes}


async def prepared(sandbox: Sandbox) -> Json:
    """One of everything that there can be; return the card that asks for approval."""
    await ask(sandbox, f"send clients marketing {SECRET}", user="U0DAN")
    posted = await card(sandbox)
    for line in (
        f'every "every monday 9:00" newsletter marketing {SECRET}',
        f'remind "every monday 9:00" {SECRET}',
        f"template save promo newsletter marketing {SECRET}",
    ):
        await ask(sandbox, line, user=ANA)
    return posted


async def leave(sandbox: Sandbox, bot: Bot, retold: Callable[[Json], Json]) -> None:
    sandbox.world.retold[ANA] = retold
    bot.people.forget()


async def stored(bot: Bot) -> list[Any]:
    """Everything that people decide about."""
    rows = tables.broadcasts.c
    kinds = (
        select(rows.id, rows.version, rows.state, rows.text, rows.due),
        *(
            select(table)
            for table in (tables.schedules, tables.templates, tables.votes, tables.absences, tables.own_settings)
        ),
    )
    return await bot.database.read(lambda c: [c.execute(one).all() for one in kinds])


async def test_no_command_tells_or_does_anything(
    sandbox: Sandbox, start_bot: StartBot, outsider: Callable[[Json], Json]
) -> None:
    bot = await start_bot(sandbox, **SETTINGS)
    await prepared(sandbox)
    broadcast, schedule = await ids(bot)
    await leave(sandbox, bot, outsider)
    before = await stored(bot)
    lines = ["", "help", "help send", "?", f"nonsense {SECRET}", "clients hello"]
    rest = ("", broadcast, schedule, "clients marketing Hello", "@ben until tomorrow", "promo", '"tomorrow 9:00" Hello')
    for verb in SUBCOMMANDS:
        lines += [f"{verb} {one}" for one in rest]
    for line in lines:
        told = await ask(sandbox, line.strip(), user=ANA)
        assert is_refusal(told), (line, told)
    assert sandbox.acting.views(ANA) == []
    assert await stored(bot) == before
    assert sandbox.vendors.ledger == []


async def ids(bot: Bot) -> tuple[str, str]:
    def read(connection: Connection) -> tuple[str, str]:
        broadcast = connection.execute(select(tables.broadcasts.c.id)).scalars().first()
        return str(broadcast), str(connection.execute(select(tables.schedules.c.id)).scalars().first())

    return await bot.database.read(read)


async def test_the_walk_takes_every_subcommand_that_there_is(sandbox: Sandbox, bot: Bot) -> None:
    told = await ask(sandbox, "help all")
    for verb in sorted({line.split()[0] for line in SUBCOMMANDS}):
        assert f"/broadcast {verb}" in told, verb
    known = {word.split()[1].strip("`") for word in told.split("\n") if word.startswith("`/broadcast ")}
    assert known - {"help"} <= {line.split()[0] for line in SUBCOMMANDS}


async def test_no_button_and_no_reaction_does_anything(
    sandbox: Sandbox, start_bot: StartBot, outsider: Callable[[Json], Json]
) -> None:
    bot = await start_bot(sandbox, **SETTINGS)
    posted = await prepared(sandbox)
    broadcast, schedule = await ids(bot)
    await leave(sandbox, bot, outsider)
    before, known = await stored(bot), len(sandbox.acting.ephemerals(ANA))
    presses = [(f"broadcast.{name}", f"{broadcast}:1") for name in (*OF_BROADCASTS, "levitate")]
    presses += [(f"broadcast.{name}", f"clients marketing {SECRET}") for name in OF_COMMANDS]
    presses += [(f"broadcast.{name}", "promo:x") for name in OF_TEMPLATES]
    presses += [(f"broadcast.{name}", value) for name, value in OF_PAGES.items()]
    presses += [(f"reminder.{name}", f"{schedule}:1") for name in ("done", "snooze", "start")]
    presses += [("workspace.settings", "settings"), ("home.write", ""), ("home.help", "")]
    place = {"channel": HERE, "ts": posted["ts"]}
    for action, value in presses:
        await sandbox.acting.act(ANA, place, "actions:1:1", action, {"type": "button", "value": value}, {})
        told = sandbox.acting.ephemerals(ANA)
        assert is_refusal(told[-1]["text"]), action
    assert len(sandbox.acting.ephemerals(ANA)) == known + len(presses)
    for name in ("white_check_mark", "x"):
        await sandbox.acting.react(ANA, HERE, posted["ts"], name)
    await sandbox.until(lambda: len(sandbox.acting.ephemerals(ANA)) > known + len(presses))
    assert is_refusal(sandbox.acting.ephemerals(ANA)[-1]["text"])
    assert sandbox.acting.views(ANA) == []
    assert await stored(bot) == before


FORMS = ("reject", "request_changes", "replan", "edit", "", "template new", "settings")


async def test_no_form_that_is_still_open_does_anything_or_offers_anything(
    sandbox: Sandbox, start_bot: StartBot, outsider: Callable[[Json], Json]
) -> None:
    bot = await start_bot(sandbox, **SETTINGS)
    posted = await prepared(sandbox)
    before = await stored(bot)
    written = {"value": {"type": "plain_text_input", "value": "Merci"}}
    values = filled("newsletter", f"{SECRET} !", send_at=4_070_908_800)
    values |= {"reason": written, "comment": written, "name": written}
    for name in FORMS:
        sandbox.world.retold.clear()
        bot.people.forget()
        if name in ("", "template new", "settings"):
            await ask(sandbox, name, user=ANA)
        else:
            await press(sandbox, ANA, posted, name)
        (view,) = sandbox.acting.views(ANA)
        await leave(sandbox, bot, outsider)
        errors = await sandbox.acting.submit(ANA, view["id"], values)
        assert errors, name
        assert all(is_refusal(told) for told in errors.values()), errors
        for block in ("audience", "template"):
            assert await sandbox.acting.suggest(ANA, view["id"], block, "") == [], block
        shown = json.dumps(sandbox.acting.views(ANA))
        for action in ("value", *(f"broadcast.{one}" for one in LIVE)):
            await sandbox.acting.act(ANA, {"view_id": view["id"]}, "text", action, {"type": "button"}, values)
        await sandbox.until(lambda: not draws())
        assert json.dumps(sandbox.acting.views(ANA)) == shown
        await sandbox.acting.close(ANA, view["id"])
    assert await stored(bot) == before
    assert sandbox.vendors.ledger == []


def draws() -> bool:
    """Whether a form is still being drawn, or a test sent from one."""
    return bool({task.get_name() for task in asyncio.all_tasks()} & {"draw a form", "send a test"})


async def test_home_tells_an_outsider_one_sentence(
    sandbox: Sandbox, start_bot: StartBot, outsider: Callable[[Json], Json]
) -> None:
    bot = await start_bot(sandbox, **SETTINGS)
    await prepared(sandbox)
    sandbox.acting.home.open(ANA)
    await sandbox.until(lambda: SECRET in json.dumps(sandbox.acting.home.shown(ANA), ensure_ascii=False))
    member = sandbox.acting.home.shown(ANA) or {}
    await leave(sandbox, bot, outsider)
    before = await stored(bot)
    told_before = len(sandbox.acting.ephemerals(ANA))
    for name in ("broadcast.look", "home.write", "home.help"):  # in the one from before
        await sandbox.acting.home.press(ANA, name, view=member)
        assert SECRET not in json.dumps(sandbox.acting.views(ANA), ensure_ascii=False)
    sandbox.acting.home.open(ANA)
    await sandbox.until(lambda: len((sandbox.acting.home.shown(ANA) or member)["blocks"]) == 1)
    told = sandbox.acting.home.shown(ANA) or {}
    assert told["blocks"][0]["text"]["text"].startswith(("Only full members of this workspace", *TOLD))
    assert SECRET not in str(sandbox.acting.ephemerals(ANA)[told_before:])
    assert await stored(bot) == before


async def test_no_shortcut_and_no_message_to_the_bot_tells_more_than_a_refusal(
    sandbox: Sandbox, start_bot: StartBot, outsider: Callable[[Json], Json]
) -> None:
    bot = await start_bot(sandbox, **SETTINGS)
    posted = await prepared(sandbox)
    await leave(sandbox, bot, outsider)
    before = await stored(bot)
    await sandbox.acting.shortcuts.use(ANA, "broadcast_new")
    opened = [*sandbox.acting.views(ANA)]
    await sandbox.acting.shortcuts.use_on(ANA, HERE, posted["ts"], "broadcast_message")
    for view in (*opened, *sandbox.acting.views(ANA)):
        assert not view.get("callback_id")
        assert is_refusal(view["blocks"][0]["text"]["text"])
    assert len(opened) == len(sandbox.acting.views(ANA)) == 1
    said = len(sandbox.acting.ephemerals(ANA))
    if not sandbox.world.person(ANA).deleted:
        await sandbox.acting.say(ANA, HERE, "@bellcrier what is coming?")
        await sandbox.until(lambda: len(sandbox.acting.ephemerals(ANA)) > said)
        assert is_refusal(sandbox.acting.ephemerals(ANA)[-1]["text"])
    assert await stored(bot) == before
