"""Two workspaces of one bot, with the same ids of people and channels. Whatever comes from one, with the ids of
what the other has, tells nothing of it and changes nothing in it. So on one process, and on two replicas."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from bot.app import Bot
from bot.storage import keys, tables
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.generated import LIVE, OF_BROADCASTS, OF_COMMANDS, OF_PAGES, OF_TEMPLATES, SUBCOMMANDS
from tests.support.ground import free_port, new_postgres
from tests.support.rows import KEY
from tests.support.slack import HERE, ask, card, filled
from tests.support.waiting import press
from tests.support.workspaces import OTHER, OURS, bot_for, install, serves, two

SECRET, ANA = "Soldes secrètes chez Bell", "U0ANA"
SHARED = {one: {"accounts": ["encom", "octo"], "admins": [ANA]} for one in (OURS, OTHER)}
Crossed = tuple[Bot, Sandbox, Sandbox]


@pytest.fixture(params=["one process", "two replicas"])
async def crossed(request: pytest.FixtureRequest, bot_port: int, tmp_path: Path) -> AsyncIterator[Crossed]:
    replicas = request.param == "two replicas"
    ports = [bot_port, free_port() if replicas else bot_port]
    async with AsyncExitStack() as stack:
        home, other = await stack.enter_async_context(two(*ports))
        changes: dict[str, Any] = {"workspaces": SHARED}
        if replicas:
            url = stack.enter_context(new_postgres(request.getfixturevalue("postgres")))
            changes |= {"database_url": url, "secret_key": KEY}
        bots = [
            await stack.enter_async_context(bot_for(home, port, tmp_path, **changes)) for port in dict.fromkeys(ports)
        ]
        for workspace in (OURS, OTHER):
            await install(bot_port, workspace)
        for bot in bots:
            await serves(bot, OURS, OTHER)
        yield bots[0], home, other


async def ours(bot: Bot) -> list[Any]:
    """Everything that the first workspace has, and that people decide about."""
    rows = tables.broadcasts.c
    kinds = [select(rows.id, rows.version, rows.state, rows.text, rows.due).where(rows.workspace == OURS)]
    for table in (tables.schedules, tables.templates, tables.votes, tables.absences, tables.own_settings):
        kinds.append(select(table).where(table.c.workspace == OURS))
    return await bot.database.read(lambda c: [c.execute(one).all() for one in kinds])


async def prepared(bot: Bot, home: Sandbox) -> tuple[Json, str, str]:
    """One of everything, in the first workspace. Return its card and the ids of a broadcast and a schedule."""
    await ask(home, f"send clients marketing {SECRET}", user="U0DAN")
    posted = await card(home)
    for line in (
        f'every "every monday 9:00" newsletter marketing {SECRET}',
        f'remind "every monday 9:00" {SECRET}',
        f"template save promo newsletter marketing {SECRET}",
    ):
        await ask(home, line, user=ANA)
    found = await ours(bot)
    return posted, str(found[0][0].id), str(found[1][0].id)


def told(other: Sandbox) -> str:
    """Everything that anybody in the other workspace has seen."""
    world = other.world
    shown = [
        world.ephemerals,
        world.views,
        world.homes,
        {id: channel.messages for id, channel in world.channels.items()},
    ]
    return json.dumps(shown, ensure_ascii=False)


async def unharmed(bot: Bot, home: Sandbox, other: Sandbox, before: list[Any]) -> None:
    assert await ours(bot) == before
    assert SECRET not in told(other)
    assert home.vendors.ledger == []
    assert not await bot.database.read(lambda c: keys.paused(c, OURS))


@pytest.mark.long
async def test_no_command_crosses(crossed: Crossed) -> None:
    bot, home, other = crossed
    _, broadcast, schedule = await prepared(bot, home)
    before = await ours(bot)
    for verb in SUBCOMMANDS:
        for rest in ("", broadcast, schedule, "promo", f"promo {broadcast}", "@ben until tomorrow"):
            assert SECRET not in await ask(other, f"{verb} {rest}".strip(), user=ANA), (verb, rest)
    await unharmed(bot, home, other, before)


@pytest.mark.long
async def test_no_button_no_reaction_and_no_event_crosses(crossed: Crossed) -> None:
    bot, home, other = crossed
    posted, broadcast, schedule = await prepared(bot, home)
    before = await ours(bot)
    presses = [(f"broadcast.{name}", f"{broadcast}:1") for name in (*OF_BROADCASTS, *OF_COMMANDS)]
    presses += [(f"broadcast.{name}", "promo:x") for name in OF_TEMPLATES]
    presses += [(f"broadcast.{name}", value) for name, value in OF_PAGES.items()]
    presses += [(f"reminder.{name}", f"{schedule}:1") for name in ("done", "snooze", "start")]
    presses += [("workspace.settings", "settings")]
    for action, value in presses:
        body = other.acting.payloads.interaction("block_actions", ANA)
        pressed = {"type": "button", "action_id": action, "value": value, "block_id": "actions:1:1"}
        place = {"type": "message", "message_ts": posted["ts"], "channel_id": HERE}
        body |= {"actions": [pressed], "container": place, "channel": {"id": HERE}, "trigger_id": "1.2.3"}
        message = {"ts": posted["ts"], "text": "card", "blocks": []}
        assert (await other.delivery.interaction({**body, "message": message})).acknowledged, action
    for kind in ("reaction_added", "reaction_removed"):
        for name in ("white_check_mark", "x"):
            item = {"type": "message", "channel": HERE, "ts": posted["ts"]}
            other.delivery.event({"type": kind, "user": ANA, "reaction": name, "item": item, "event_ts": "1.1"})
    other.acting.home.open(ANA)
    await other.until(lambda: sum(one == "events_api" for one, _ in other.delivery.heard) == 5)
    await other.until(lambda: other.acting.home.shown(ANA))
    await other.acting.home.press(ANA, "home.help")
    view = {**(other.acting.home.shown(ANA) or {}), "type": "home"}
    body = other.acting.payloads.interaction("block_actions", ANA) | {"view": view, "trigger_id": "1.2.3"}
    pressed = {"type": "button", "action_id": "broadcast.look", "value": f"{broadcast}:1", "block_id": "mine"}
    assert (await other.delivery.interaction({**body, "actions": [pressed]})).acknowledged
    await unharmed(bot, home, other, before)


@pytest.mark.long
async def test_no_form_crosses(crossed: Crossed) -> None:
    bot, home, other = crossed
    posted, *_ = await prepared(bot, home)
    before = await ours(bot)
    written = {"value": {"type": "plain_text_input", "value": "Merci"}}
    values = filled("clients", "Bonjour", send_at=4_070_908_800) | dict.fromkeys(("reason", "comment", "name"), written)
    for name in ("reject", "request_changes", "replan", "edit"):
        await press(home, ANA, posted, name)
        (view,) = home.acting.views(ANA)
        view["state"] = {"values": values}
        for kind in ("view_submission", "view_closed"):
            body = other.acting.payloads.interaction(kind, ANA) | {"view": view, "trigger_id": "1.2.3"}
            assert SECRET not in json.dumps((await other.delivery.interaction(body)).answer), name
        for block in ("audience", "template"):
            body = other.acting.payloads.interaction("block_suggestion", ANA) | {"view": view, "value": ""}
            offered = (await other.delivery.interaction({**body, "block_id": block, "action_id": "value"})).answer
            assert "promo" not in json.dumps(offered), block
        for live in ("value", *(f"broadcast.{one}" for one in LIVE)):
            body = other.acting.payloads.interaction("block_actions", ANA) | {"view": view, "trigger_id": "1.2.3"}
            action = {"type": "button", "action_id": live, "block_id": "text"}
            await other.delivery.interaction({**body, "actions": [action], "container": {"type": "view"}})
        await home.acting.close(ANA, view["id"])
    await unharmed(bot, home, other, before)


@pytest.mark.long
async def test_a_pause_and_an_end_of_one_leave_the_other_at_work(crossed: Crossed) -> None:
    bot, home, other = crossed
    await ask(other, "pause all", user=ANA)
    assert not await bot.database.read(lambda c: keys.paused(c, OURS))
    other.uninstall()
    await serves(bot, OURS)
    await ask(home, f"send clients marketing {SECRET}", user="U0DAN")
    posted = await card(home)
    await home.acting.click(ANA, HERE, posted["ts"], "broadcast.approve")
    await home.until(lambda: home.vendors.ledger)
