"""A form, a command, a press or a reaction that Slack brings twice counts once."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from bot.app import Bot
from bot.domain.clock import SECOND, now
from bot.domain.lifecycle import State
from sandbox.server import Sandbox
from tests.support.ground import StartBot, all_of, newest, some_later
from tests.support.patience import nothing_more
from tests.support.slack import HERE, ask, brought, card, filled, open_form, settled, thread_text


async def test_the_form_asks_again_under_the_field_and_closes_when_all_is_well(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    errors = await sandbox.acting.submit("U0DAN", form["id"], filled("newsletter", "Hi", sender="x y", send_at=1000))
    assert "sender ID" in errors["sender"]
    assert "has passed" in errors["send_at"]
    assert await all_of(bot) == []

    assert await sandbox.acting.submit("U0DAN", form["id"], filled("newsletter", "Hi")) == {}
    assert sandbox.acting.views("U0DAN") == []
    assert (await newest(bot)).state is State.PENDING


async def test_a_form_submitted_twice_makes_one_broadcast(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    sandbox.faults.add("interactive", "duplicate")
    await sandbox.acting.submit("U0DAN", form["id"], filled("clients", "Hi"))
    assert len(await all_of(bot)) == 1


async def test_a_form_from_a_stale_command_is_asked_for_again(sandbox: Sandbox, bot: Bot) -> None:
    sandbox.world.trigger_seconds = 0.2  # instead of Slack's three
    sandbox.faults.add("slash_commands", "delay", seconds=0.3)
    assert "Type `/broadcast` again" in await ask(sandbox, "", user="U0DAN")


async def test_a_command_delivered_twice_makes_one_broadcast(sandbox: Sandbox, bot: Bot) -> None:
    sandbox.faults.add("slash_commands", "duplicate")
    await ask(sandbox, "send clients marketing Soldes")
    assert len(await all_of(bot)) == 1


async def test_a_repeated_command_points_to_the_first(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes", user="U0DAN")
    first = await newest(bot)
    assert f"You already asked for this. It is *{first.id}*" in await ask(
        sandbox, "send clients marketing Soldes", user="U0DAN"
    )
    assert len(await all_of(bot)) == 1


async def test_two_approvers_in_the_same_instant_make_one_send(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await asyncio.gather(
        *(sandbox.acting.click(who, HERE, posted["ts"], "broadcast.approve") for who in ("U0ANA", "U0BEN") * 3)
    )
    await settled(bot, State.SENT)
    assert len(sandbox.vendors.ledger) == 1
    assert thread_text(sandbox, posted["ts"]).count("Approved by") == 1


@pytest.mark.long
async def test_a_reaction_before_slack_has_answered_about_the_card_counts(
    sandbox: Sandbox, start_bot: StartBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = await start_bot(sandbox)
    write = bot.home.painter.cards._drawn

    def late(*drawn: Any) -> None:
        time.sleep(0.6)  # the answer is on its way
        write(*drawn)

    monkeypatch.setattr(bot.home.painter.cards, "_drawn", late)
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await sandbox.acting.react("U0ANA", HERE, posted["ts"], "white_check_mark")
    await settled(bot, State.SENT)
    assert len(sandbox.vendors.ledger) == 1


async def test_a_redelivered_reaction_counts_once(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    sandbox.faults.add("events_api", "duplicate")
    await sandbox.acting.react("U0ANA", HERE, posted["ts"], "white_check_mark")
    await settled(bot, State.SENT)
    assert len(sandbox.vendors.ledger) == 1


async def test_a_reaction_that_was_taken_back_does_not_approve_though_it_arrives_last(
    sandbox: Sandbox, bot: Bot
) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    over = asyncio.Event()
    sandbox.faults.add("events_api", "delay", until=over)
    await sandbox.acting.react("U0ANA", HERE, posted["ts"], "white_check_mark")
    await sandbox.acting.unreact("U0ANA", HERE, posted["ts"], "white_check_mark")
    await sandbox.until(lambda: brought(sandbox) == ["reaction_removed"])
    over.set()
    await sandbox.until(lambda: brought(sandbox) == ["reaction_removed", "reaction_added"])
    await nothing_more(bot)
    assert (await newest(bot)).state is State.PENDING

    await sandbox.acting.react("U0ANA", HERE, posted["ts"], "white_check_mark")
    await settled(bot, State.SENT)
    assert len(sandbox.vendors.ledger) == 1


async def test_approve_and_cancel_at_once_have_one_winner(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await asyncio.gather(
        sandbox.acting.click("U0CLEO", HERE, posted["ts"], "broadcast.cancel"),
        sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve"),
    )
    row = await settled(bot, State.SENT, State.CANCELLED)
    assert len(sandbox.vendors.ledger) == (1 if row.state is State.SENT else 0)


async def test_the_same_again_an_hour_later_is_asked_about_and_sent_once_it_is_meant(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    lead = 0
    bot = await start_bot(sandbox, lambda: now() + lead)
    for _ in range(2):
        await ask(sandbox, "send clients marketing Soldes", user="U0DAN")
    (first,) = await all_of(bot)
    lead = 3600 * SECOND
    assert first.id in await ask(sandbox, "send clients marketing Soldes", user="U0DAN")
    kept = await settled(bot, State.DRAFT)
    await ask(sandbox, f"edit {kept.id}", user="U0DAN")
    form = sandbox.acting.views("U0DAN")[-1]
    assert await sandbox.acting.submit("U0DAN", form["id"], filled("clients", "Soldes")) == {}
    assert {row.id: row.state for row in await all_of(bot)} == {first.id: State.PENDING, kept.id: State.PENDING}


@pytest.mark.parametrize("how", some_later(["drop", "disconnect"]))
async def test_what_a_connection_brought_and_another_one_brings_again_counts_once(
    sandbox: Sandbox, bot: Bot, how: str
) -> None:
    """The first connection ends before the acknowledgement, while the bot still asks Slack who that is."""
    await ask(sandbox, "send clients marketing Soldes")
    posted, over = await card(sandbox), asyncio.Event()
    bot.people.forget()
    sandbox.faults.add("users.info", "delay", until=over)
    asked, first = len(sandbox.calls), set(sandbox.delivery.sockets)
    await sandbox.acting.react("U0ANA", HERE, posted["ts"], "white_check_mark")
    await sandbox.until(lambda: "users.info" in [name for name, _ in sandbox.calls[asked:]])
    kind, event = sandbox.delivery.sent[-1]
    assert kind == "events_api"
    await (sandbox.delivery.drop() if how == "drop" else sandbox.delivery.disconnect())
    await sandbox.until(lambda: set(sandbox.delivery.sockets) - first)
    await sandbox.until(lambda: first.isdisjoint(sandbox.delivery.sockets))
    sandbox.delivery.background(sandbox.delivery._bring(event, None))
    over.set()
    await settled(bot, State.SENT)
    await sandbox.until(lambda: ("events_api", event) in sandbox.delivery.heard)
    await nothing_more(bot)
    assert len(sandbox.vendors.ledger) == 1
    assert thread_text(sandbox, posted["ts"]).count("Approved by") == 1
    assert sandbox.acting.ephemerals("U0ANA") == []
