"""Slack in trouble: busy, silent, or with a channel or a card that is gone."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from aiohttp import web

from bot.app import Bot
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, now
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import State
from bot.storage import notes, outbox, tables
from sandbox.server import Sandbox
from tests.support.ground import StartBot, all_of, free_port, newest, some_later
from tests.support.patience import nothing_more, until
from tests.support.slack import HERE, approved, ask, card, drawn, settled, thread_text


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


@pytest.mark.long
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


@pytest.mark.parametrize(
    "error", some_later(["restricted_action", "restricted_action_non_threadable_channel", "no_permission"])
)
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
    assert row.id in str(again["blocks"])


@pytest.mark.long
async def test_a_card_deleted_while_it_was_sent_comes_back_with_its_end_in_its_thread(
    sandbox: Sandbox, bot: Bot
) -> None:
    posted = await approved(sandbox)
    await settled(bot, State.SENT)
    await sandbox.until(lambda: "accepted it" in thread_text(sandbox, posted["ts"]))
    row = await drawn(bot)
    sandbox.world.channels[HERE].messages.clear()
    ago = {"accepted_at": bot.clock() - 25 * 3600 * SECOND, "look_at": 1}
    await bot.database.write(lambda c: c.execute(tables.broadcasts.update().values(**ago)))
    await settled(bot, State.DONE)
    again = await card(sandbox)
    await sandbox.until(lambda: "Final report" in thread_text(sandbox, again["ts"]))
    await nothing_more(bot)
    (again,) = sandbox.acting.messages(HERE)
    assert row.id in str(again["blocks"])
    assert ["Final report" in note["text"] for note in sandbox.acting.thread(HERE, again["ts"])] == [True]
    assert "Final report" not in str(directly(sandbox, "U0CLEO"))
    assert len(sandbox.vendors.ledger) == 1


async def test_a_card_deleted_before_somebody_cancels_comes_back_and_says_who(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    await card(sandbox)
    row = await drawn(bot)
    sandbox.world.channels[HERE].messages.clear()
    await ask(sandbox, f"cancel {row.id} Trop tard")
    again = await card(sandbox)
    await sandbox.until(lambda: "Trop tard" in thread_text(sandbox, again["ts"]))
    await nothing_more(bot)
    assert [row.id in str(message["blocks"]) for message in sandbox.acting.messages(HERE)] == [True]
    assert thread_text(sandbox, again["ts"]).count("Trop tard") == 1


@pytest.mark.long
async def test_a_note_for_a_card_deleted_after_the_end_brings_it_back(sandbox: Sandbox, start_bot: StartBot) -> None:
    lead = 0
    bot = await start_bot(sandbox, lambda: now() + lead)
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await ask(sandbox, f"cancel {(await newest(bot)).id} Trop tard")
    await sandbox.until(lambda: "Trop tard" in thread_text(sandbox, posted["ts"]))
    row = await drawn(bot)
    sandbox.world.channels[HERE].messages.clear()
    told = [notes.Note(Translatable("Choose a purpose."))]
    await bot.database.write(lambda c: notes.add_notes(c, row, bot.clock(), told))
    again = await card(sandbox)
    lead = 10 * SECOND
    await sandbox.until(lambda: thread_text(sandbox, again["ts"]) == "Choose a purpose.")
    await nothing_more(bot)
    assert [row.id in str(message["blocks"]) for message in sandbox.acting.messages(HERE)] == [True]


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


@pytest.mark.long
async def test_slack_is_left_alone_for_as_long_as_it_asks_and_then_shown_the_latest_in_order(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    lead = 0
    bot = await start_bot(sandbox, lambda: now() + lead)
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    row = await drawn(bot)
    before = len(sandbox.calls)
    for method in ("chat.update", "chat.postMessage"):
        sandbox.faults.add(method, "429", retry_after=200)

    def calls(method: str) -> int:
        return [name for name, _ in sandbox.calls[before:]].count(method)

    for number in (101, 102, 103):
        await bot.workflow.sizes.learn("T0BELL", row.id, number)
        told = [notes.Note(Translatable("{count} people", count=number))]
        await bot.database.write(partial(notes.add_notes, broadcast=row, at=bot.clock(), new_notes=told))
        await nothing_more(bot)
    lead = 150 * SECOND
    await nothing_more(bot)
    assert (calls("chat.update"), calls("chat.postMessage")) == (1, 1)
    assert thread_text(sandbox, posted["ts"]) == ""

    lead = 201 * SECOND
    await sandbox.until(lambda: "103 people" in thread_text(sandbox, posted["ts"]))
    await nothing_more(bot)
    assert thread_text(sandbox, posted["ts"]).splitlines() == ["101 people", "102 people", "103 people"]
    assert (calls("chat.update"), calls("chat.postMessage")) == (2, 4)
    assert "103 people" in str(sandbox.acting.messages(HERE)[0]["blocks"])


def reports(sandbox: Sandbox, user: str) -> list[str]:
    return [text for text in directly(sandbox, user) if "Final report" in text]


@pytest.mark.parametrize("error", some_later(["not_in_channel", "is_archived", "channel_not_found"]))
async def test_a_broadcast_goes_out_though_its_channel_is_gone_and_both_hear_of_it_directly(
    sandbox: Sandbox, bot: Bot, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    gone = asyncio.Event()
    sandbox.vendors.faults.add("encom.release", "slow", until=gone)
    posted = await approved(sandbox)
    await sandbox.until(lambda: "Approved by" in thread_text(sandbox, posted["ts"]))
    place = sandbox.world.channels[HERE]
    if error == "is_archived":
        place.archived = True
    else:
        place.members.remove("U0BELL")
        place.private = error == "channel_not_found"
    gone.set()
    row = await settled(bot, State.SENT)
    await sandbox.until(lambda: "accepted it" in str(directly(sandbox, "U0CLEO")))
    ago = {"accepted_at": bot.clock() - 25 * 3600 * SECOND, "look_at": 1}
    await bot.database.write(lambda c: c.execute(tables.broadcasts.update().values(**ago)))
    await settled(bot, State.DONE)
    for user in ("U0CLEO", "U0ANA"):
        told = await until(partial(reports, sandbox, user))
        assert [f"About *{row.id}*" in text for text in told] == [True]
    assert len(sandbox.vendors.ledger) == 1
    assert ["a thread could not be told", error] in [
        [record.msg["event"], record.msg.get("error")] for record in caplog.records if isinstance(record.msg, dict)
    ]


@pytest.mark.parametrize("error", some_later(["invalid_auth", "token_revoked", "account_inactive", "token_expired"]))
async def test_while_slack_takes_our_token_no_more_nobody_approves_and_with_a_new_one_everything_is_told(
    sandbox: Sandbox, start_bot: StartBot, error: str
) -> None:
    bot, dead = await start_bot(sandbox), asyncio.Event()
    sandbox.vendors.faults.add("encom.release", "slow", until=dead)
    posted = await approved(sandbox)
    await sandbox.until(lambda: "Approved by" in thread_text(sandbox, posted["ts"]))
    sent = await newest(bot)
    await ask(sandbox, "send newsletter marketing Soldes", user="U0DAN")
    waiting = await card(sandbox, 1)
    await drawn(bot)
    bot.people.forget()
    sandbox.faults.add("*", "error", times=10**6, error=error)
    dead.set()
    assert (await until(lambda: found(bot, sent.id, State.SENT))).id == sent.id
    await sandbox.acting.click("U0ANA", HERE, waiting["ts"], "broadcast.approve")
    await nothing_more(bot)
    assert [row.state for row in await all_of(bot) if row.id != sent.id] == [State.PENDING]
    assert (await bot.ready())[1]["slack"] == f"the token is not taken: {error}"
    assert "accepted it" not in thread_text(sandbox, posted["ts"])
    await bot.stop()

    sandbox.faults.clear()
    sandbox.world.bot_token = "xoxb-another"
    again = await start_bot(sandbox, slack_bot_token="xoxb-another")
    await sandbox.until(lambda: "accepted it" in thread_text(sandbox, posted["ts"]))
    await sandbox.acting.click("U0ANA", HERE, waiting["ts"], "broadcast.approve")
    await settled(again, State.SENT)
    assert len(sandbox.vendors.ledger) == 2


async def found(bot: Bot, id: str, state: State) -> Broadcast | None:
    return next((row for row in await all_of(bot) if (row.id, row.state) == (id, state)), None)


@pytest.mark.long
async def test_an_hour_without_slack_stops_no_approved_send_and_everything_is_told_later(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    lead = 0
    bot = await start_bot(sandbox, lambda: now() + lead, approval__undo="50s")
    posted = await approved(sandbox)
    await settled(bot, State.SCHEDULED)
    await sandbox.until(lambda: "Approved by" in thread_text(sandbox, posted["ts"]))
    sandbox.faults.add("*", "500", times=10**6)
    for seconds in (51, 600, 1800, 3600):
        lead = seconds * SECOND
        await nothing_more(bot)
        assert (await newest(bot)).state is State.SENT
    assert "accepted it" not in thread_text(sandbox, posted["ts"])
    sandbox.faults.clear()
    lead += 300 * SECOND
    await sandbox.until(lambda: "accepted it" in thread_text(sandbox, posted["ts"]))
    await sandbox.until(lambda: "The vendor accepted it" in str(sandbox.acting.messages(HERE)[0]["blocks"]))
    assert len(sandbox.vendors.ledger) == 1


@pytest.mark.long
async def test_what_slack_took_without_its_answer_arriving_stands_there_twice_at_most_and_is_sent_once(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    lead = 0
    bot = await start_bot(sandbox, lambda: now() + lead)
    sandbox.faults.add("chat.postMessage", "lost")
    await ask(sandbox, "send clients marketing Soldes")
    first = await card(sandbox)
    await nothing_more(bot)
    lead += 6 * SECOND
    again = await card(sandbox, 1)
    assert first["metadata"] == again["metadata"] == {
        "event_type": "broadcast_card", "event_payload": {"id": (await newest(bot)).id, "version": 1}
    }  # fmt: skip
    await drawn(bot)
    sandbox.faults.add("chat.postMessage", "lost")
    await sandbox.acting.click("U0ANA", HERE, again["ts"], "broadcast.approve")
    await sandbox.until(lambda: "Approved by" in thread_text(sandbox, again["ts"]))
    await nothing_more(bot)
    lead += 6 * SECOND
    await settled(bot, State.SENT)
    await sandbox.until(lambda: "accepted it" in thread_text(sandbox, again["ts"]))
    await nothing_more(bot)
    assert len(sandbox.acting.messages(HERE)) == 2
    thread = thread_text(sandbox, again["ts"])
    assert (thread.count("Approved by"), thread.count("accepted it")) == (2, 1)
    assert len(sandbox.vendors.ledger) == 1


async def test_whatever_became_of_the_address_in_a_payload_people_are_answered(sandbox: Sandbox, bot: Bot) -> None:
    """Slack's `response_url` lasts half an hour and five answers, so nothing that matters goes there."""
    new_response = sandbox.world.new_response

    def used_up(user: str, channel: str, message_ts: str | None = None) -> str:
        token = new_response(user, channel, message_ts)
        del sandbox.world.responses[token]
        return token

    sandbox.world.new_response = used_up  # type: ignore[method-assign]
    assert "is waiting for approval" in await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await sandbox.acting.click("U0DAN", HERE, posted["ts"], "broadcast.approve")
    assert "Only <!subteam^S0APPROVERS>" in str(sandbox.acting.ephemerals("U0DAN"))
    sandbox.faults.add("chat.postEphemeral", "error", error="user_not_in_channel")
    await sandbox.acting.click("U0DAN", HERE, posted["ts"], "broadcast.approve")
    await sandbox.until(lambda: "Only <!subteam^S0APPROVERS>" in str(directly(sandbox, "U0DAN")))


async def test_an_address_that_is_not_slacks_is_never_called(sandbox: Sandbox, bot: Bot) -> None:
    """Only somebody of another workspace is answered at the address in the payload."""
    await ask(sandbox, "send clients marketing Soldes")
    posted, called = await card(sandbox), list[str]()

    async def listen(request: web.Request) -> web.Response:
        called.append(request.path)
        return web.Response()

    site = web.Application()
    site.router.add_route("*", "/{any:.*}", listen)
    runner, port = web.AppRunner(site), free_port()
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    base, ours = sandbox.acting.payloads.base, sandbox.world.team_id
    try:
        sandbox.world.team_id = "T0OTHER"
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"127.0.0.1:{sandbox.port}@127.0.0.1:{port}"):
            sandbox.acting.payloads.base = lambda host=host: f"http://{host}"  # type: ignore[misc]
            assert await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
        await nothing_more(bot)
        assert (called, sandbox.acting.ephemerals("U0ANA")) == ([], [])
        sandbox.acting.payloads.base = base
        await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
        await sandbox.until(lambda: "another workspace" in str(sandbox.acting.ephemerals("U0ANA")))
    finally:
        sandbox.world.team_id = ours
        await runner.cleanup()
    assert called == []
