"""Who asked hears of decisions and ends where they asked, and watchers hear of them directly."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bot.app import Bot
from bot.domain.clock import SECOND, now
from bot.domain.lifecycle import Action, State
from bot.storage import tables
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.cards import act
from tests.support.core import TEAM, decision
from tests.support.ground import StartBot, newest
from tests.support.patience import nothing_more
from tests.support.running import process, told, written_settings
from tests.support.slack import HERE, ask, filled, open_form, settled

APPROVALS = "C0APPROVALS"
TOMORROW = 'send clients marketing at="tomorrow 9:00" Soldes'


async def asked_elsewhere(sandbox: Sandbox, start_bot: StartBot, line: str = TOMORROW, **changes: Any) -> Bot:
    """Start a bot whose cards go to the approvers' channel, and ask in another."""
    bot = await start_bot(sandbox, approval__channel=APPROVALS, **changes)
    await ask(sandbox, line)
    return bot


async def decide(bot: Bot, action: Action) -> None:
    person = await bot.people.person(TEAM, "U0ANA")
    row = await newest(bot)
    await bot.workflow.act(TEAM, row.id, decision(action), person=person, version=row.version)


async def standing(sandbox: Sandbox, channel: str = HERE) -> Json:
    await sandbox.until(lambda: sandbox.acting.messages(channel))
    return sandbox.acting.messages(channel)[0]


def replies(sandbox: Sandbox, channel: str = HERE) -> list[str]:
    (first, *more) = sandbox.acting.messages(channel)
    assert more == []
    return [reply["text"] for reply in sandbox.acting.thread(channel, first["ts"])]


async def test_one_message_stands_where_she_asked_with_stop_while_it_helps(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    bot = await asked_elsewhere(sandbox, start_bot)
    await decide(bot, Action.APPROVE)
    message = await standing(sandbox)
    assert "<@U0CLEO>" in message["text"]
    assert "Approved by" in message["text"]
    assert "broadcast.stop" in json.dumps(message)
    assert await sandbox.acting.click("U0CLEO", HERE, message["ts"], "broadcast.stop")
    await settled(bot, State.CANCELLED)
    await sandbox.until(lambda: "broadcast.stop" not in json.dumps(sandbox.acting.messages(HERE)))
    assert "Cancelled" in json.dumps(sandbox.acting.messages(HERE))
    await nothing_more(bot)
    assert replies(sandbox) == []  # she stopped it herself


@pytest.mark.long
async def test_what_comes_later_is_in_its_thread(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await asked_elsewhere(sandbox, start_bot)
    await decide(bot, Action.APPROVE)
    await standing(sandbox)
    await decide(bot, Action.CANCEL)
    await sandbox.until(lambda: replies(sandbox))
    assert "cancelled" in replies(sandbox)[0].lower()
    await sandbox.until(lambda: "Approved by" not in json.dumps(sandbox.acting.messages(HERE)))
    assert "broadcast.stop" not in json.dumps(sandbox.acting.messages(HERE))


@pytest.mark.long
async def test_news_in_quick_succession_becomes_the_newest(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await asked_elsewhere(sandbox, start_bot)
    sandbox.world.retold[HERE] = lambda _: {}  # Slack does not say whose channel this is
    bot.people.forget()
    await decide(bot, Action.APPROVE)
    await decide(bot, Action.CANCEL)
    await nothing_more(bot)
    assert sandbox.acting.messages(HERE) == []
    del sandbox.world.retold[HERE]
    bot.people.forget()
    await bot.database.write(lambda c: c.execute(tables.posts.update().where(waits()).values(post_at=1)))
    bot.workspaces.wake()
    assert "cancelled" in (await standing(sandbox))["text"].lower()
    await nothing_more(bot)
    assert replies(sandbox) == []


def waits() -> Any:
    return tables.posts.c.post_at.is_not(None)


@pytest.mark.long
async def test_who_left_the_channel_hears_directly(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await asked_elsewhere(sandbox, start_bot)
    sandbox.world.channels[HERE].members.remove("U0CLEO")
    bot.people.forget()
    await act(bot, "U0ANA", await newest(bot), Action.REJECT, "Too early")
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: "Too early" in str(sandbox.acting.messages(direct)))
    assert sandbox.acting.messages(HERE) == []


@pytest.mark.long
@pytest.mark.parametrize("changed", [{"deleted": True}, {"guest": True}])
async def test_who_may_no_longer_see_it_hears_nothing(sandbox: Sandbox, start_bot: StartBot, changed: Json) -> None:
    bot = await asked_elsewhere(sandbox, start_bot)
    for name, value in changed.items():
        setattr(sandbox.world.people["U0CLEO"], name, value)
    bot.people.forget()
    await act(bot, "U0ANA", await newest(bot), Action.REJECT, "Too early")
    await nothing_more(bot)
    assert sandbox.acting.messages(HERE) == []
    assert sandbox.acting.messages(sandbox.world.direct("U0CLEO").id) == []
    waiting = await bot.database.read(lambda c: c.execute(tables.posts.select().where(waits())).all())
    assert waiting == []


@pytest.mark.long
@pytest.mark.parametrize("trouble", ["archived", "left", "shared"])
async def test_a_closed_channel_is_replaced_by_a_direct_message_once(
    sandbox: Sandbox, start_bot: StartBot, trouble: str
) -> None:
    bot = await asked_elsewhere(sandbox, start_bot)
    channel = sandbox.world.channels[HERE]
    if trouble == "left":
        channel.members.remove(sandbox.world.bot_user)
    else:
        setattr(channel, trouble, True)
    bot.people.forget()
    await decide(bot, Action.APPROVE)
    direct = sandbox.world.direct("U0CLEO").id
    message = await standing(sandbox, direct)
    assert "broadcast.stop" in json.dumps(message)
    assert await sandbox.acting.click("U0CLEO", direct, message["ts"], "broadcast.stop")
    await settled(bot, State.CANCELLED)
    await sandbox.until(lambda: "broadcast.stop" not in json.dumps(sandbox.acting.messages(direct)))
    assert len(sandbox.acting.messages(direct)) == 1


@pytest.mark.long
async def test_news_under_a_deleted_message_begins_again(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await asked_elsewhere(sandbox, start_bot)
    await decide(bot, Action.APPROVE)
    await standing(sandbox)
    await nothing_more(bot)
    sandbox.world.channels[HERE].messages.clear()
    await decide(bot, Action.CANCEL)
    assert "cancelled" in (await standing(sandbox))["text"].lower()


@pytest.mark.long
@pytest.mark.parametrize(("wanted", "heard"), [("off", False), ("decisions", True)])
async def test_the_settings_say_what_she_hears(sandbox: Sandbox, start_bot: StartBot, wanted: str, heard: bool) -> None:
    line = "send clients marketing Soldes"
    bot = await asked_elsewhere(sandbox, start_bot, line, notifications__requester=wanted)
    await decide(bot, Action.APPROVE)
    await settled(bot, State.SENT)
    await nothing_more(bot)
    told = json.dumps(sandbox.acting.messages(HERE))
    assert ("Approved by" in told) is heard
    assert "accepted it" not in str([m["text"] for m in sandbox.world.channels[HERE].messages])
    assert sandbox.acting.messages(sandbox.world.direct("U0CLEO").id) == []


@pytest.mark.long
async def test_watchers_hear_directly_and_cannot_stop_it(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox, audiences__clients__watchers=["U0DAN"], notifications__watchers=["U0ANA"])
    await ask(sandbox, TOMORROW)
    await decide(bot, Action.APPROVE)
    message = await standing(sandbox, sandbox.world.direct("U0DAN").id)
    assert "Approved by" in message["text"]
    assert "broadcast.stop" not in json.dumps(message)
    await nothing_more(bot)
    assert sandbox.acting.messages(sandbox.world.direct("U0ANA").id) == []  # she did it herself
    assert "About *" not in str(sandbox.acting.messages(HERE))


@pytest.mark.long
async def test_a_form_is_confirmed_as_a_command_is(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    await sandbox.acting.submit("U0DAN", form["id"], filled("clients", "Soldes"))
    await sandbox.until(lambda: "is waiting for approval" in str(sandbox.acting.ephemerals("U0DAN")))


@pytest.mark.long
@pytest.mark.parametrize("error", ["account_inactive", "internal_error"])
async def test_news_waits_while_slack_takes_nothing(sandbox: Sandbox, start_bot: StartBot, error: str) -> None:
    """An hour of it, or a token that is revoked and replaced."""
    skipped = [0]
    bot = await start_bot(sandbox, clock=lambda: now() + skipped[0], approval__channel=APPROVALS)
    await ask(sandbox, TOMORROW)
    await standing(sandbox, APPROVALS)
    ana = await bot.people.person(TEAM, "U0ANA")
    sandbox.faults.add("*", "error", times=10_000, error=error)
    row = await newest(bot)
    await bot.workflow.act(TEAM, row.id, decision(Action.CANCEL), person=ana, version=row.version)
    for _ in range(6):
        skipped[0] += 600 * SECOND
        bot.people.forget()
        bot.workspaces.wake()
        await asyncio.sleep(0.3)
    assert sandbox.acting.messages(HERE) == []
    sandbox.faults.clear()
    skipped[0] += 400 * SECOND
    bot.people.forget()
    bot.workspaces.wake()
    assert "cancelled" in (await standing(sandbox))["text"].lower()
    await nothing_more(bot)
    assert replies(sandbox) == []
    assert sandbox.acting.messages(sandbox.world.direct("U0CLEO").id) == []


@pytest.mark.long
@pytest.mark.parametrize("fault", ["500", "lost"])
async def test_news_outlives_a_process_that_is_killed(
    sandbox: Sandbox, bot_port: int, tmp_path: Path, sqlite_schema: Path, fault: str
) -> None:
    """`lost`: Slack has posted it, and the process dies before it knows; then it may stand there twice, never less."""
    shutil.copy(sqlite_schema, tmp_path / "bell.db")
    approval = {"approvers": ["U0ANA"], "channel": APPROVALS}
    settings = written_settings(sandbox, bot_port, tmp_path, approval=approval)
    command = "bot.cli", "run", "--config", str(settings), "--port", str(bot_port)
    async with process(*command) as first:
        await told(first)
        await sandbox.until(lambda: sandbox.delivery.connected)
        await ask(sandbox, TOMORROW)
        message = await standing(sandbox, APPROVALS)
        sandbox.faults.add("chat.postMessage", fault, times=100)
        await sandbox.acting.click("U0ANA", APPROVALS, message["ts"], "broadcast.approve")
        await sandbox.until(lambda: ("chat.postMessage", HERE) in tried(sandbox))
        first.kill()
        await first.wait()
    sandbox.faults.clear()
    before = len(sandbox.acting.messages(HERE))
    async with process(*command) as second:
        await told(second)
        await sandbox.until(lambda: len(sandbox.acting.messages(HERE)) > before)
        await sandbox.until(lambda: "Approved by" in str(sandbox.acting.thread(APPROVALS, message["ts"])))
    assert len(sandbox.acting.messages(HERE)) == before + 1


def tried(sandbox: Sandbox) -> list[tuple[str, str]]:
    return [(name, str(given.get("channel"))) for name, given in sandbox.calls]


@pytest.mark.long
async def test_what_was_asked_without_a_channel_is_told_directly(sandbox: Sandbox, start_bot: StartBot) -> None:
    """As from Home, or by a shortcut."""
    bot = await start_bot(sandbox, approval__channel=APPROVALS)
    form = await open_form(sandbox)
    form["private_metadata"] = json.dumps(json.loads(form["private_metadata"]) | {"channel": ""})
    await sandbox.acting.submit("U0DAN", form["id"], filled("clients", "Soldes"))
    direct = sandbox.world.direct("U0DAN").id
    await sandbox.until(lambda: "is waiting for approval" in str(sandbox.acting.messages(direct)))
    await decide(bot, Action.CANCEL)
    await sandbox.until(lambda: "About *" in str(sandbox.acting.messages(direct)))
