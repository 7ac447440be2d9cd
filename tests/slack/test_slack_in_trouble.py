"""Slack in trouble: busy, silent, or with a channel or a card that is gone."""

from __future__ import annotations

import pytest

from bot.app import Bot
from bot.domain.clock import SECOND
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import State
from bot.storage import notes, outbox, tables
from sandbox.server import Sandbox
from tests.support.ground import newest
from tests.support.patience import nothing_more, until
from tests.support.slack import HERE, approved, ask, card, settled, thread_text


@pytest.mark.long
async def test_a_busy_slack_gets_the_card_a_little_later(sandbox: Sandbox, bot: Bot) -> None:
    sandbox.faults.add("chat.postMessage", "429", times=2, retry_after=1)
    await ask(sandbox, "send clients marketing Soldes")
    await card(sandbox)


async def test_a_card_that_cannot_be_posted_reaches_the_requester_directly(sandbox: Sandbox, bot: Bot) -> None:
    sandbox.faults.add("chat.postMessage", "error", error="is_archived")
    await ask(sandbox, "send clients marketing Soldes")
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: sandbox.acting.messages(direct))


@pytest.mark.long
async def test_a_card_reaches_the_requester_directly_though_slack_is_busy_then(sandbox: Sandbox, bot: Bot) -> None:
    sandbox.faults.add("chat.postMessage", "error", times=2, error="is_archived")  # asked again after the wait
    sandbox.faults.add("conversations.open", "429", times=1, retry_after=1)
    await ask(sandbox, "send clients marketing Soldes")
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: sandbox.acting.messages(direct))
    assert (await newest(bot)).id in str(sandbox.acting.messages(direct)[0])


def directly(sandbox: Sandbox, user: str) -> list[str]:
    return [message["text"] for message in sandbox.acting.messages(sandbox.world.direct(user).id)]


@pytest.mark.long
async def test_a_result_for_a_channel_that_is_gone_reaches_who_asked_and_who_approved_once_and_in_order(
    sandbox: Sandbox, bot: Bot
) -> None:
    posted = await approved(sandbox, "send newsletter marketing Soldes")
    sandbox.world.channels[HERE].archived = True
    row = await settled(bot, State.SENT)
    sandbox.faults.add("conversations.open", "429", times=1, retry_after=1)
    values = {"accepted_at": bot.clock() - 25 * 3600 * SECOND, "look_at": 1}
    await bot.database.write(lambda c: c.execute(tables.broadcasts.update().values(**values)))
    await settled(bot, State.DONE)
    await sandbox.until(lambda: "Final report" in str(directly(sandbox, "U0ANA")))
    told = [text for text in directly(sandbox, "U0CLEO") if f"About *{row.id}*" in text]
    assert ["accepted it" in told[-2], "Final report" in told[-1]] == [True, True], told
    assert len(told) == len(set(told))
    assert [text for text in directly(sandbox, "U0ANA") if "Final report" in text] == [told[-1]]
    assert "Final report" not in thread_text(sandbox, posted["ts"])


@pytest.mark.long
async def test_an_unknown_outcome_in_a_channel_that_is_gone_comes_to_who_approved_it_and_the_requester_hears_of_it(
    sandbox: Sandbox, bot: Bot
) -> None:
    sandbox.vendors.faults.add("encom.release", "reset", accept=True)
    await approved(sandbox)
    sandbox.world.channels[HERE].archived = True
    sandbox.faults.add("chat.update", "error", times=20, error="is_archived")
    await settled(bot, State.UNKNOWN)
    direct = sandbox.world.direct("U0ANA").id
    await sandbox.until(lambda: "broadcast.mark_not_sent" in str(sandbox.acting.messages(direct)))
    assert "broadcast.mark_sent" in str(sandbox.acting.messages(direct))
    await sandbox.until(lambda: "may have gone out" in str(directly(sandbox, "U0CLEO")))
    await nothing_more(bot)
    read = [message["text"] for message in sandbox.world.channels[direct].messages]  # including the card's thread
    assert len([text for text in read if "may have gone out" in text]) == 1


async def test_what_is_held_in_a_channel_that_is_gone_comes_to_the_requester_with_its_buttons(
    sandbox: Sandbox, bot: Bot
) -> None:
    await ask(sandbox, "pause all", user="U0OPS")
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    sandbox.world.channels[HERE].archived = True
    bot.people.forget()
    await settled(bot, State.HELD)
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: "broadcast.drop" in str(sandbox.acting.messages(direct)))


@pytest.mark.long
async def test_what_asks_and_could_be_shown_to_nobody_is_told_to_whoever_watches_and_tried_again(
    sandbox: Sandbox, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C8: the channel is gone, and so is everybody who could press a button."""
    monkeypatch.setattr("bot.storage.failing_rows.FIRST_PAUSE", 0.1)
    await ask(sandbox, "pause all", user="U0OPS")
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    sandbox.faults.add("conversations.open", "error", times=999, error="user_disabled")
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    sandbox.world.channels[HERE].archived = True
    bot.people.forget()
    await until(lambda: [one for one in bot.database.failing_rows.all() if one.work == "card"])
    assert "NobodyToAsk" in str((await bot.ready())[1])
    sandbox.faults.clear()
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: "broadcast.drop" in str(sandbox.acting.messages(direct)))


@pytest.mark.long
async def test_who_is_no_active_member_is_shown_no_card_that_asks(sandbox: Sandbox, bot: Bot) -> None:
    """C8: the requester is gone, and the approvers are a group."""
    sandbox.vendors.faults.add("encom.release", "reset", accept=True)
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await sandbox.acting.click("U0BEN", HERE, posted["ts"], "broadcast.approve")
    sandbox.world.people["U0CLEO"].deleted, sandbox.world.people["U0ANA"].guest = True, True
    sandbox.world.channels[HERE].archived = True
    bot.people.forget()
    await settled(bot, State.UNKNOWN)
    direct = sandbox.world.direct("U0BEN").id
    await sandbox.until(lambda: "broadcast.mark_not_sent" in str(sandbox.acting.messages(direct)))
    assert "broadcast.mark" not in str(sandbox.acting.messages(sandbox.world.direct("U0ANA").id))


async def test_what_a_channel_that_is_gone_was_to_be_told_reaches_whom_it_names(sandbox: Sandbox, bot: Bot) -> None:
    sandbox.world.channels[HERE].archived = True
    told = Translatable("It has stopped by itself. {why} It said: “{text}”", why="-", text="Stand-up")
    queued = await bot.database.write(lambda c: outbox.post(c, "T0BELL", "k", HERE, told, "U0CLEO", bot.clock()))
    assert queued
    await sandbox.until(lambda: "Stand-up" in str(directly(sandbox, "U0CLEO")))


@pytest.mark.parametrize("error", ["restricted_action", "restricted_action_non_threadable_channel", "no_permission"])
async def test_what_may_not_be_said_in_a_channel_is_told_directly_at_once(
    sandbox: Sandbox, bot: Bot, error: str
) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    await card(sandbox)
    row, told = await newest(bot), Translatable("Choose a purpose.")
    for key in ("note", "post"):
        sandbox.faults.add("chat.postMessage", "error", error=error)
        if key == "note":
            await bot.database.write(lambda c: notes.add_notes(c, row, bot.clock(), [notes.Note(told)]))
        else:
            await bot.database.write(lambda c: outbox.post(c, "T0BELL", "k", HERE, told, "U0CLEO", bot.clock()))
        await nothing_more(bot)
    assert [*directly(sandbox, "U0CLEO")] == [f"About *{row.id}*: Choose a purpose.", "Choose a purpose."]
    assert "Choose a purpose" not in str(sandbox.acting.messages(HERE))


async def test_a_deleted_card_comes_back(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    sandbox.world.channels[HERE].messages.clear()
    row = await newest(bot)
    await bot.workflow.sizes.learn("T0BELL", row.id, 7)
    again = await card(sandbox)
    assert again["ts"] != posted["ts"]


async def test_a_dropped_connection_comes_back_and_nothing_is_done_twice(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await sandbox.delivery.drop()
    await sandbox.until(lambda: sandbox.delivery.sockets)
    await sandbox.acting.react("U0ANA", HERE, posted["ts"], "white_check_mark")
    await settled(bot, State.SENT)
    assert len(sandbox.vendors.ledger) == 1


async def test_a_page_where_slack_answers_in_json_is_slack_in_trouble(
    sandbox: Sandbox, bot: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.faults.add("views.open", "500")
    assert await ask(sandbox, "") == "Slack took too long to open the form. Type `/broadcast` again."
    sandbox.faults.add("views.open", "500")
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.reject")
    told = "Slack took too long to open the form. Please press again."
    await sandbox.until(lambda: told in str(sandbox.acting.ephemerals("U0ANA")))
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
