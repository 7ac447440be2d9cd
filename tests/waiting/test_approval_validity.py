"""Whether an approval still holds when its broadcast goes, hours or months later."""

from __future__ import annotations

import asyncio

import pytest

from bot.domain.errors import StaleVersion
from bot.domain.lifecycle import Action, Hold, Phase, State
from bot.domain.people import Person, Unknown
from bot.storage import audit
from bot.storage.votes import votes_for
from bot.workflow.restored import hold_all
from tests.support.core import APPROVERS, CLEO, TEAM, approver
from tests.support.patience import until
from tests.support.waiting import DAY, HOUR, MINUTE, MakeWaiting, Waiting


async def test_what_is_approved_long_after_its_time_is_held_and_says_so(core: Waiting) -> None:
    row = await core.ask(send_at=core.now + HOUR)
    core.now += HOUR + 11 * MINUTE
    late = await core.act(row, Action.APPROVE, approver(0))
    assert (late.state, late.hold, late.start_at, late.due) == (State.HELD, Hold.LATE, row.send_at, None)
    history = await core.database.read(lambda c: audit.history(c, TEAM, row.id))
    assert [(step["actor"], step["action"]) for step in history[-2:]] == [(APPROVERS[0], "approve"), ("clock", "hold")]
    assert late.expires_at == core.now + DAY
    told, mention = (await core.told(row))[-1]
    assert told.startswith(f"<@{APPROVERS[0]}> approved it, but its time, {row.send_at}, has passed")
    assert mention == f"U0CLEO {APPROVERS[0]}"
    assert await core.actions(row) == ["submit", "approve", "hold"]
    assert await core.sent() == 0
    await core.act(row, Action.SEND_NOW, CLEO)
    assert await core.sent() == 1


async def test_what_is_approved_a_little_after_its_time_goes(core: Waiting) -> None:
    row = await core.ask(send_at=core.now + HOUR)
    core.now += HOUR + 9 * MINUTE
    assert (await core.act(row, Action.APPROVE, approver(0))).state is State.SCHEDULED
    assert await core.sent() == 1


async def test_an_undo_window_that_ends_after_the_grace_counts_as_late(make: MakeWaiting) -> None:
    core = make(**{"approval.undo": "5m"})
    row = await core.ask(send_at=core.now + HOUR)
    core.now += HOUR + 6 * MINUTE
    assert (await core.act(row, Action.APPROVE, approver(0))).hold is Hold.LATE


async def test_an_approval_is_taken_back_while_it_waits_for_the_morning(make: MakeWaiting) -> None:
    core = make()
    core.now += 12 * HOUR
    row = await core.approved(audience="paris")
    await core.run(core.dispatcher("a"))
    held = await core.row(row.id)
    assert (held.state, held.hold) == (State.HELD, Hold.HOURS)
    await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button", version=1)
    asked = await core.row(row.id)
    assert (asked.state, asked.hold, asked.hold_until) == (State.PENDING, None, None)
    core.now = held.hold_until or 0
    assert await core.sent() == 0
    assert ("<@U0APPROVER0> withdrew their approval.", "U0CLEO") in await core.told(row)


async def test_what_was_restored_goes_on_asking_when_its_approval_is_taken_back(core: Waiting) -> None:
    """It may have gone out since the backup, so it needs that answer before a new approval."""
    row = await core.approved()
    await core.database.write(lambda c: hold_all(c, core.now, core.now))
    await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button", version=1)
    held = await core.row(row.id)
    assert (held.state, held.hold) == (State.HELD, Hold.RESTORED)
    freed = await core.act(row, Action.SEND_NOW, CLEO)
    assert freed.state is State.PENDING
    assert await core.sent() == 0


@pytest.mark.long
async def test_an_approval_is_taken_back_while_it_is_prepared_and_nothing_stays_open(core: Waiting) -> None:
    core.sandbox.vendors.faults.add("octopush.create", "slow", seconds=0.7)
    row = await core.approved(audience="newsletter")
    dispatcher = core.dispatcher("a")
    await dispatcher.tick()
    await until(lambda: [seen for seen in core.sandbox.vendors.office.requests if seen.method == "POST"])
    assert (await core.row(row.id)).phase is Phase.STAGING
    await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button", version=1)
    await asyncio.gather(*dispatcher.running)
    assert (await core.row(row.id)).state is State.PENDING
    assert await core.sent() == 0
    assert [one.state for one in core.sandbox.vendors.octopush.campaigns.values()] == ["cancelled"]


async def test_one_of_two_new_approvals_is_taken_back_after_it_was_asked_about_again(make: MakeWaiting) -> None:
    core = make(**{"approval.quorum": 2})
    row = await core.ask()
    for number in (0, 1):
        await core.act(row, Action.APPROVE, approver(number))
    await core.edit(row, text="Something else")
    assert await core.sent() == 0
    asked = await core.row(row.id)
    assert (asked.state, asked.approved_at, asked.start_at) == (State.PENDING, None, None)
    await core.edit(row, approved_at=1)  # as an older release left it
    await core.act(row, Action.APPROVE, approver(0))
    taken = await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button")
    assert taken is not None
    assert taken.state is State.PENDING


async def test_an_approval_of_what_has_left_cannot_be_taken_back_and_that_is_said(core: Waiting) -> None:
    row = await core.approved()
    assert await core.sent() == 1
    with pytest.raises(StaleVersion):
        await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button", version=1)
    votes = await core.database.read(lambda c: votes_for(c, row))
    assert [vote.approver for vote in votes] == [APPROVERS[0]]
    assert await core.workflow.withdraw(TEAM, row.id, person=approver(1), way="button", version=1) is None


async def test_what_was_approved_months_ago_goes_only_if_its_approver_still_is_one(core: Waiting) -> None:
    wanted = core.now + 90 * DAY
    left, stays = await core.approved(send_at=wanted), await core.ask(send_at=wanted)
    await core.act(stays, Action.APPROVE, approver(1))
    core.now, core.gone = wanted, {APPROVERS[0]}
    assert await core.sent() == 1
    assert (await core.row(stays.id)).state is State.SENT
    asked = await core.row(left.id)
    assert (asked.state, asked.owner, asked.due, asked.approved_at) == (State.PENDING, None, None, None)
    told, mention = (await core.told(left))[-1]
    assert told == f"<@{APPROVERS[0]}> can no longer approve it, so it needs approval again."
    assert mention == "U0CLEO S0APPROVERS"
    assert (await core.actions(left))[-2:] == ["start", "lapse"]
    await core.act(left, Action.APPROVE, approver(1))
    assert await core.sent() == 2


async def test_one_of_two_approvers_who_leaves_takes_only_their_own_yes_away(make: MakeWaiting) -> None:
    core = make(**{"approval.quorum": 2})
    row = await core.ask(send_at=core.now + DAY)
    for number in (0, 1):
        await core.act(row, Action.APPROVE, approver(number))
    core.now, core.gone = core.now + DAY, {APPROVERS[0]}
    assert await core.sent() == 0
    votes = await core.database.read(lambda c: votes_for(c, row))
    assert [vote.approver for vote in votes] == [APPROVERS[1]]
    await core.act(row, Action.APPROVE, approver(2))
    assert await core.sent() == 1


async def test_while_slack_does_not_tell_it_waits_and_says_so_once(core: Waiting) -> None:
    row = await core.approved(send_at=core.now + 2 * HOUR)
    core.now, core.silent = core.now + 2 * HOUR, True
    for _ in range(4):
        assert await core.sent() == 0
        waiting = await core.row(row.id)
        assert (waiting.state, waiting.due, waiting.tries) == (State.SCHEDULED, core.now + MINUTE, 0)
        core.now += MINUTE
    told = [said for said, _ in await core.told(row) if "Slack does not tell me" in said]
    assert len(told) == 1
    core.silent = False
    assert await core.sent() == 1


async def test_when_slack_is_silent_for_longer_than_the_grace_it_asks(core: Waiting) -> None:
    row = await core.approved(send_at=core.now + 2 * HOUR)
    core.now, core.silent = core.now + 2 * HOUR, True
    for _ in range(12):
        await core.run(core.dispatcher("a"))
        core.now += MINUTE
    assert (await core.row(row.id)).hold is Hold.LATE
    core.silent = False
    assert await core.sent() == 0


async def test_a_fresh_approval_is_not_asked_about_again(core: Waiting) -> None:
    await core.approved(send_at=core.now + 30 * MINUTE)
    core.now += 30 * MINUTE
    core.silent = True
    assert await core.sent() == 1


@pytest.mark.parametrize("known", [True, False])
async def test_who_has_left_the_workspace_has_not_agreed_however_the_settings_name_them(
    make: MakeWaiting, known: bool
) -> None:
    core = make(**{"approval.approvers": [APPROVERS[0], APPROVERS[1]]})
    left: set[str] = set()

    async def person_of(workspace: str, user: str) -> Person:
        if user in left and not known:
            raise Unknown(user)
        return Person(workspace, user, member=user not in left)

    core.people.person = person_of  # type: ignore[method-assign]
    row = await core.approved(send_at=core.now + DAY)
    core.now, left = core.now + DAY, {APPROVERS[0]}
    assert await core.sent() == 0
    assert (await core.row(row.id)).state is State.PENDING


async def test_what_waits_for_the_morning_goes_only_if_its_approver_still_is_one(core: Waiting) -> None:
    core.now += 12 * HOUR  # nine in the evening in Paris, a Friday
    row = await core.approved(audience="paris")
    assert await core.sent() == 0
    held = await core.row(row.id)
    assert (held.hold, held.voice_at, held.expires_at) == (Hold.HOURS, None, None)
    core.now, core.gone = held.hold_until or 0, {APPROVERS[0]}
    assert await core.sent() == 0
    assert (await core.row(row.id)).state is State.PENDING


async def test_an_approval_is_good_for_as_long_as_the_policy_lets_it_wait_and_no_longer(make: MakeWaiting) -> None:
    core = make(**{"approval.expires_after": "30d", "policies.always.marketing.max_hold": "48h"})
    soon, old = await core.held(), await core.held()
    core.now = (soon.approved_at or 0) + 48 * HOUR
    assert (await core.act(soon, Action.SEND_NOW, CLEO)).state is State.SCHEDULED
    assert await core.sent() == 1
    core.now = (old.approved_at or 0) + 48 * HOUR + 1
    asked = await core.act(old, Action.SEND_NOW, CLEO)
    assert (asked.state, asked.version, asked.expires_at) == (State.PENDING, 1, core.now + 30 * DAY)
    assert (await core.actions(old))[-2:] == ["send_now", "lapse"]
    said = [told for told, _ in (await core.told(old))[-2:]]
    assert said[0] == "<@U0CLEO> wants it to go out now."
    assert said[1].startswith("More than 48 hours have passed since it was approved")
    assert await core.sent() == 1
    await core.act(old, Action.APPROVE, approver(0))
    assert await core.sent() == 2
