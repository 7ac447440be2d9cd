"""Who may approve, who may not, and how one changes one's mind."""

from __future__ import annotations

import pytest

from bot.app import Bot
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, now
from bot.domain.lifecycle import State
from bot.storage import audit
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.ground import StartBot, all_of, newest
from tests.support.patience import nothing_more
from tests.support.slack import HERE, approved, ask, becomes, card, filled, settled, thread_text, type_in


@pytest.mark.parametrize("way", ["button", "reaction"])
async def test_nobody_approves_their_own_marketing_and_the_try_is_audited(sandbox: Sandbox, bot: Bot, way: str) -> None:
    await ask(sandbox, "send clients marketing Soldes", user="U0ANA")
    posted = await card(sandbox)
    if way == "button":
        await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    else:
        await sandbox.acting.react("U0ANA", HERE, posted["ts"], "white_check_mark")
    await sandbox.until(lambda: "somebody else must approve" in str(sandbox.acting.ephemerals("U0ANA")))
    row = await newest(bot)
    assert row.state is State.PENDING
    history = await bot.database.read(lambda c: audit.history(c, row.workspace, row.id))
    assert ("U0ANA", "approve_refused") in [(step["actor"], step["action"]) for step in history]


@pytest.mark.parametrize("user", ["U0DAN", "U0GUS"])
async def test_only_approvers_approve(sandbox: Sandbox, bot: Bot, user: str) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await sandbox.acting.click(user, HERE, posted["ts"], "broadcast.approve")
    assert sandbox.acting.ephemerals(user)
    assert (await newest(bot)).state is State.PENDING


async def test_a_group_that_slack_does_not_tell_approves_nothing(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    bot.people._known.clear()
    sandbox.faults.add("usergroups.users.list", "500", times=9)
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    assert "try again in a minute" in str(sandbox.acting.ephemerals("U0ANA"))
    assert (await newest(bot)).state is State.PENDING


async def test_a_forged_button_changes_nothing(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted, row = await card(sandbox), await newest(bot)
    for value in (f"{row.id}:7", f"{row.id}", "BXXXXXXX:1", "", "x" * 500):
        await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve", value=value)
    assert (await newest(bot)).state is State.PENDING
    assert len(sandbox.acting.ephemerals("U0ANA")) == 5


async def test_an_unknown_button_is_acknowledged_and_harmless(sandbox: Sandbox, bot: Bot) -> None:
    place = sandbox.world.post(sandbox.world.channel(HERE), {"user": "U0BELL", "text": "x"})
    element = {"type": "button", "value": "x"}
    for action in ("other.app", "broadcast.levitate"):
        assert await sandbox.acting.act("U0DAN", {"channel": HERE, "ts": place["ts"]}, "b", action, element, {})


async def test_two_approvals_are_two_people(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox, approval__quorum=2)
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    await sandbox.acting.react("U0ANA", HERE, posted["ts"], "white_check_mark")
    await sandbox.until(lambda: "still needed: 1" in thread_text(sandbox, posted["ts"]))
    assert (await newest(bot)).state is State.PENDING
    await sandbox.acting.click("U0BEN", HERE, posted["ts"], "broadcast.approve")
    await settled(bot, State.SENT)


async def test_marketing_that_nobody_else_could_approve_is_refused_at_once(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    bot = await start_bot(sandbox, approval__approvers=["U0DAN"])
    assert "Without you, too few of <@U0DAN> can approve this (needed: 1, available: 0)" in await ask(
        sandbox, "send clients Hello", user="U0DAN"
    )
    assert await all_of(bot) == []


async def test_reject_asks_for_a_reason_and_the_thread_gets_it(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.reject")
    (form,) = sandbox.acting.views("U0ANA")
    assert form["callback_id"] == "broadcast_reject"
    await sandbox.acting.submit("U0ANA", form["id"], {"reason": {"value": {"value": "Wrong <day>"}}})
    await sandbox.until(lambda: "Wrong &lt;day&gt;" in thread_text(sandbox, posted["ts"]))
    assert (await newest(bot)).state is State.REJECTED
    assert sandbox.vendors.ledger == []


async def test_stop_in_the_undo_window_sends_nothing(sandbox: Sandbox, start_bot: StartBot) -> None:
    lead = 0
    bot = await start_bot(sandbox, lambda: now() + lead, approval__undo="60s")
    posted = await approved(sandbox)
    await sandbox.until(lambda: "broadcast.stop" in str(sandbox.acting.messages(HERE)[0]["blocks"]))
    await sandbox.acting.click("U0CLEO", HERE, posted["ts"], "broadcast.stop")
    assert (await newest(bot)).state is State.CANCELLED
    lead = 61 * SECOND
    await nothing_more(bot)
    assert sandbox.vendors.ledger == []


async def test_a_reaction_taken_back_in_the_undo_window_takes_the_approval_back(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    bot = await start_bot(sandbox, approval__undo="60s")
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await sandbox.acting.react("U0ANA", HERE, posted["ts"], "white_check_mark")
    await settled(bot, State.SCHEDULED)
    await sandbox.acting.unreact("U0ANA", HERE, posted["ts"], "white_check_mark")
    assert (await settled(bot, State.PENDING)).due is None
    assert sandbox.vendors.ledger == []


async def test_a_reaction_taken_back_too_late_says_so(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await sandbox.acting.react("U0ANA", HERE, posted["ts"], "white_check_mark")
    await settled(bot, State.SENT)
    await sandbox.acting.unreact("U0ANA", HERE, posted["ts"], "white_check_mark")
    await sandbox.until(lambda: "has changed in the meantime: ✅" in str(sandbox.acting.ephemerals("U0ANA")))


async def test_cancel_by_command_stops_it_and_later_says_that_it_is_too_late(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes", user="U0DAN")
    row = await newest(bot)
    assert "is cancelled" in await ask(sandbox, f"cancel {row.id.lower()}", user="U0DAN")
    assert "has changed in the meantime" in await ask(sandbox, f"cancel {row.id}", user="U0DAN")
    assert (await newest(bot)).state is State.CANCELLED


async def test_nobody_approves_in_time_and_it_expires(sandbox: Sandbox, start_bot: StartBot) -> None:
    lead = 0
    bot = await start_bot(sandbox, lambda: now() + lead, approval__expires_after="1h")
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    lead = 3601 * SECOND
    await bot.workflow.expire()
    assert (await newest(bot)).state is State.EXPIRED
    await sandbox.until(lambda: "Nobody approved it in time" in thread_text(sandbox, posted["ts"]))


BOARD = "G0BOARD"


async def asked_in_private(sandbox: Sandbox, bot: Bot) -> Broadcast:
    """A broadcast that Ana asked for in a private channel, which the bot, Ben and Olga are in too."""
    sandbox.world.channels[BOARD].members += ["U0BEN", "U0BELL"]
    assert "is waiting for approval" in await ask(sandbox, "send clients marketing Soldes", user="U0ANA", channel=BOARD)
    return await newest(bot)


async def test_what_was_asked_in_a_private_channel_is_not_there_for_others(sandbox: Sandbox, bot: Bot) -> None:
    row = await asked_in_private(sandbox, bot)
    assert "No broadcasts yet" in await ask(sandbox, "list", user="U0DAN")
    for line in (f"show {row.id}", f"cancel {row.id}", f"edit {row.id}"):
        assert await ask(sandbox, line, user="U0DAN") == (
            f"There is no broadcast *{row.id}*. `/broadcast list` shows the latest."
        )
    assert sandbox.acting.views("U0DAN") == []
    assert (await newest(bot)).state is State.PENDING


@pytest.mark.parametrize("user", ["U0ANA", "U0BEN", "U0OPS"])
async def test_who_asked_who_may_approve_and_admins_see_it(sandbox: Sandbox, bot: Bot, user: str) -> None:
    row = await asked_in_private(sandbox, bot)
    if user != "U0ANA":
        sandbox.world.channels[BOARD].members.remove(user)
        bot.people.forget()
    assert row.id in await ask(sandbox, "list", user=user)
    assert "Soldes" in str(await shown_to(sandbox, row.id, user))


async def shown_to(sandbox: Sandbox, id: str, user: str) -> Json:
    await ask(sandbox, f"show {id}", user=user)
    answer: Json = sandbox.acting.ephemerals(user)[-1]
    return answer


async def test_others_are_listed_however_many_one_may_not_see(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Hello", user="U0DAN")
    seen = await newest(bot)
    sandbox.world.channels[BOARD].members += ["U0BEN", "U0BELL"]
    for number in range(12):
        await ask(sandbox, f"send newsletter marketing Soldes {number} {number * 97}", user="U0ANA", channel=BOARD)
    listed = await ask(sandbox, "list", user="U0DAN")
    assert listed == f"The latest broadcasts: {seen.id}"


async def test_a_channel_that_slack_does_not_tell_of_shows_nothing(sandbox: Sandbox, bot: Bot) -> None:
    row = await asked_in_private(sandbox, bot)
    bot.people.forget()
    await ask(sandbox, "help", user="U0DAN")
    sandbox.faults.add("conversations.info", "500", times=9)
    assert "cannot find out from Slack" in await ask(sandbox, f"show {row.id}", user="U0DAN")


async def test_a_recurring_broadcast_of_a_private_channel_is_not_there_for_others(sandbox: Sandbox, bot: Bot) -> None:
    sandbox.world.channels[BOARD].members += ["U0BEN", "U0BELL"]
    await ask(sandbox, 'every "every monday 9:00" clients marketing Soldes', user="U0ANA", channel=BOARD)
    listed = await ask(sandbox, "schedules", user="U0ANA")
    assert "Soldes" in listed
    assert "No recurring broadcasts yet" in await ask(sandbox, "schedules", user="U0DAN")


async def test_an_approver_stops_it_although_slack_does_not_tell_of_its_channel(sandbox: Sandbox, bot: Bot) -> None:
    row = await asked_in_private(sandbox, bot)
    bot.people.forget()
    sandbox.faults.add("conversations.info", "500", times=9)
    assert "is cancelled" in await ask(sandbox, f"cancel {row.id}", user="U0BEN")


async def test_a_channel_that_slack_does_not_tell_of_hides_no_other_broadcast(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Hello")
    seen = await newest(bot)
    await asked_in_private(sandbox, bot)
    sandbox.world.channels[BOARD].members.remove("U0BELL")  # so Slack tells us nothing of it any more
    bot.people.forget()
    assert await ask(sandbox, "list", user="U0DAN") == f"The latest broadcasts: {seen.id}"


async def test_who_reads_the_card_may_also_look_it_up(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox, approval__channel=HERE)
    row = await asked_in_private(sandbox, bot)
    assert "Soldes" in str(await shown_to(sandbox, row.id, "U0DAN"))


async def test_that_somebody_tried_to_cancel_what_they_may_not_see_is_audited(sandbox: Sandbox, bot: Bot) -> None:
    row = await asked_in_private(sandbox, bot)
    await ask(sandbox, f"cancel {row.id}", user="U0DAN")
    steps = await bot.database.read(lambda c: audit.history(c, row.workspace, row.id))
    assert ("U0DAN", "cancel_refused") in [(step["actor"], step["action"]) for step in steps]


async def test_an_approver_sees_the_recurring_broadcast_that_they_may_stop(sandbox: Sandbox, bot: Bot) -> None:
    sandbox.world.channels[BOARD].members += ["U0BELL", "U0BEN"]
    await ask(sandbox, 'every "every monday 9:00" clients marketing Soldes', user="U0ANA", channel=BOARD)
    sandbox.world.channels[BOARD].members.remove("U0BEN")
    bot.people.forget()
    assert "Soldes" in await ask(sandbox, "schedules", user="U0BEN")


async def test_the_form_says_that_an_edit_by_the_last_approver_in_the_channel_could_not_be_approved(
    sandbox: Sandbox, bot: Bot
) -> None:
    sandbox.world.channels[BOARD].members += ["U0BELL", "U0CLEO"]
    await ask(sandbox, "send clients marketing Sodles", user="U0CLEO", channel=BOARD)
    row = await newest(bot)
    await ask(sandbox, f"edit {row.id}", user="U0ANA", channel=BOARD)
    form = sandbox.acting.views("U0ANA")[-1]
    await type_in(sandbox, form, filled("clients", "Soldes"), user="U0ANA")
    await becomes(sandbox, "⛔ This channel is private, and too few people in it can approve this", "U0ANA")
