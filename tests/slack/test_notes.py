"""Notes reach the person who asked, and nobody of another company."""

from __future__ import annotations

import json

import pytest

from bot.app import Bot
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Action, State
from bot.storage import broadcasts, outbox, tables
from bot.workflow.decision_types import Approve
from sandbox.server import Sandbox
from tests.support.cards import HOUR, act, notes, shown
from tests.support.core import TEAM, MakeCore, approver
from tests.support.ground import StartBot, newest
from tests.support.patience import nothing_more
from tests.support.slack import HERE, approved, ask, card, drawn, settled, thread_text


@pytest.mark.long
async def test_who_asked_hears_of_each_decision_and_end_where_she_asked(sandbox: Sandbox, start_bot: StartBot) -> None:
    """C37: the card is with the approvers, in another channel."""
    bot = await start_bot(sandbox, approval__channel="C0APPROVALS")
    await ask(sandbox, "send clients marketing Soldes")
    await sandbox.until(lambda: sandbox.acting.messages("C0APPROVALS"))
    (posted,) = sandbox.acting.messages("C0APPROVALS")
    await sandbox.acting.click("U0ANA", "C0APPROVALS", posted["ts"], "broadcast.approve")
    row = await settled(bot, State.SENT)
    await sandbox.until(lambda: "Encom accepted it" in str(sandbox.acting.messages(HERE)))
    (standing,) = sandbox.acting.messages(HERE)
    told = [standing["text"], *(reply["text"] for reply in sandbox.acting.thread(HERE, standing["ts"]))]
    assert all(f"About *{row.id}*" in text and "<@U0CLEO>" in text for text in told)


async def test_nothing_is_told_where_another_company_reads_it(sandbox: Sandbox, start_bot: StartBot) -> None:
    """C37: the requester gets a direct message instead."""
    bot = await start_bot(sandbox, approval__channel="C0APPROVALS")
    sandbox.world.channels[HERE].shared = True
    await ask(sandbox, "send clients marketing Soldes")
    row = await newest(bot)
    await act(bot, "U0ANA", row, Action.REJECT, "The price 12.90 is secret until Monday")
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: "12.90" in str(sandbox.acting.messages(direct)))
    assert sandbox.acting.messages(HERE) == []


async def test_a_thread_is_told_nothing_more_once_another_company_reads_it(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    await card(sandbox)
    row = await drawn(bot)  # a card that is drawn again is taken back from where another company reads it
    sandbox.world.channels[HERE].shared = True
    bot.people.forget()
    await act(bot, "U0ANA", row, Action.REJECT, "The price 12.90 is secret until Monday")
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: "12.90" in str(sandbox.acting.messages(direct)))
    assert "12.90" not in str(sandbox.acting.messages(HERE))


async def test_a_card_shows_nothing_new_once_another_company_reads_it(sandbox: Sandbox, bot: Bot) -> None:
    await approved(sandbox, 'send newsletter marketing at="tomorrow 9:00" Soldes')  # its vendor reports no size
    row = await settled(bot, State.SCHEDULED)
    await sandbox.until(lambda: "broadcast.cancel" in shown(sandbox))
    sandbox.world.channels[HERE].shared = True
    bot.people.forget()
    await bot.workflow.sizes.learn(TEAM, row.id, 7777, quoted="900 EUR")
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: "7777" in json.dumps(sandbox.acting.messages(direct)))
    await sandbox.until(lambda: sandbox.acting.messages(HERE) == [])  # one card, where it can still be stopped
    assert "broadcast.cancel" in json.dumps(sandbox.acting.messages(direct))


@pytest.mark.long
async def test_what_has_gone_stays_as_it_stood_once_another_company_reads_it(sandbox: Sandbox, bot: Bot) -> None:
    await approved(sandbox)
    row = await settled(bot, State.SENT)
    await sandbox.until(lambda: "The vendor accepted it" in shown(sandbox))
    sandbox.world.channels[HERE].shared = True
    bot.people.forget()
    failure = Translatable("The price 12.90 is secret")
    await bot.database.write(lambda c: broadcasts.touch(c, row, bot.clock(), failure=failure))
    bot.workspaces.wake()
    await nothing_more(bot)
    assert "12.90" not in shown(sandbox)
    assert "The vendor accepted it" in shown(sandbox)


@pytest.mark.long
async def test_while_slack_does_not_say_whose_a_channel_is_what_it_was_to_be_told_waits(
    sandbox: Sandbox, bot: Bot
) -> None:
    sandbox.world.retold[HERE] = lambda _: {}
    said = Translatable("Choose a purpose.")
    await bot.database.write(lambda c: outbox.post(c, TEAM, "k", HERE, said, "U0CLEO", bot.clock()))
    bot.workspaces.wake()
    await nothing_more(bot)
    assert sandbox.acting.messages(HERE) == []
    queued = await bot.database.read(lambda c: c.execute(tables.posts.select()).mappings().all())
    assert [(row["tries"], row["post_at"] is None) for row in queued] == [(1, False)]


@pytest.mark.long
async def test_who_asked_hears_where_she_asked_that_nobody_answered(sandbox: Sandbox, start_bot: StartBot) -> None:
    await start_bot(sandbox, approval__channel="C0APPROVALS", approval__expires_after="1s")
    await ask(sandbox, "send clients marketing Soldes")
    await sandbox.until(lambda: "Nobody approved it in time" in str(sandbox.acting.messages(HERE)))


async def test_an_approval_that_came_is_not_denied_where_one_more_was_missing(make_core: MakeCore) -> None:
    core = make_core(**{"approval.quorum": 2})
    row, nobodys = await core.ask(), await core.ask()
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    core.now += 25 * HOUR
    await core.workflow.expire()
    assert {(await core.row(one.id)).state for one in (row, nobodys)} == {State.EXPIRED}
    told = (await notes(core))[-2:]
    assert "Too few people approved it in time (1 of 2), so it will not be sent." in told
    assert "Nobody approved it in time, so it will not be sent." in told


async def test_what_is_asked_where_its_card_stands_is_told_once(sandbox: Sandbox, bot: Bot) -> None:
    posted = await approved(sandbox)
    await settled(bot, State.SENT)
    await sandbox.until(lambda: "accepted it" in thread_text(sandbox, posted["ts"]))
    assert "About *" not in str(sandbox.acting.messages(HERE))
