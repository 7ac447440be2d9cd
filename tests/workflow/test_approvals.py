"""An approval, a rejection or a plan that comes a moment too late, from the wrong person, or about another version."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND
from bot.domain.errors import NotAllowed, StaleVersion
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Action, Hold, Phase, State
from bot.domain.people import Person
from bot.scheduler import Task
from bot.storage import audit
from bot.storage.tables import notes
from bot.storage.votes import votes_for
from bot.workflow.approval_validity import FRESH
from bot.workflow.decision_types import Edit
from providers.base import Purpose
from tests.support.cards import told_of
from tests.support.core import CLEO, TEAM, Core, MakeCore, approver, decision

GUEST = dataclasses.replace(approver(0), member=False)


async def act(core: Core, row: Broadcast, action: Action, person: Person, **told: Any) -> Broadcast:
    return await core.workflow.act(TEAM, row.id, decision(action, **told), person=person, version=row.version)


def meanwhile(core: Core, decision: Any) -> None:
    """Do something once between what a person saw and the transaction that their press leads to."""
    prepare = core.workflow.decisions._prepared

    async def prepared(*given: Any) -> Any:
        core.workflow.decisions._prepared = prepare  # type: ignore[method-assign]
        found = await prepare(*given)
        await decision()
        return found

    core.workflow.decisions._prepared = prepared  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize("action", [Action.APPROVE, Action.REJECT, Action.REPLAN])
async def test_what_is_moved_while_somebody_decides_keeps_nothing_of_the_decision(core: Core, action: Action) -> None:
    row, later = await core.ask(), core.now + 3600 * SECOND

    async def move() -> None:
        await act(core, row, Action.REPLAN, approver(1), send_at=later)

    meanwhile(core, move)
    told = {"send_at": later + SECOND} if action is Action.REPLAN else {}
    with pytest.raises(StaleVersion) as too_late:
        await act(core, row, action, approver(0), **told)
    assert too_late.value.broadcast.version == 2
    moved = await core.row(row.id)
    assert (moved.state, moved.version, moved.send_at) == (State.PENDING, 2, later)
    assert await core.database.read(lambda c: votes_for(c, moved)) == []


async def test_a_vote_for_an_older_version_takes_nothing_back_from_the_newer_one(core: Core) -> None:
    row = await core.ask(send_at=core.now + 3600 * SECOND)
    await act(core, row, Action.APPROVE, approver(0))
    moved = await act(core, row, Action.REPLAN, approver(1), send_at=core.now + 7200 * SECOND)
    await act(core, moved, Action.APPROVE, approver(0))
    taken = await core.database.write(lambda c: core.workflow.approvals._withdraw(c, row, approver(0), "button"))
    assert taken is None
    assert (await core.row(row.id)).state is State.SCHEDULED


async def test_what_is_agreed_to_expires_no_more(core: Core) -> None:
    row = await core.ask(send_at=core.now + 48 * 3600 * SECOND)
    agreed = await act(core, row, Action.APPROVE, approver(0))
    assert (agreed.state, agreed.expires_at) == (State.SCHEDULED, None)


async def test_what_has_expired_is_approved_by_nobody_though_no_tick_has_said_so_yet(core: Core) -> None:
    row = await core.ask()
    assert row.expires_at is not None
    core.now = row.expires_at
    with pytest.raises(NotAllowed) as error:
        await act(core, row, Action.APPROVE, approver(0))
    assert str(error.value.sentence) == f"The time to approve it ended {row.expires_at}."
    assert (await core.row(row.id)).approved_at is None


@pytest.mark.parametrize("action", [Action.APPROVE, Action.REJECT])
async def test_a_guest_decides_nothing_however_the_settings_name_them(core: Core, action: Action) -> None:
    row = await core.ask()
    with pytest.raises(NotAllowed, match="Only full members of this workspace"):
        await act(core, row, action, GUEST)
    assert (await core.row(row.id)).state is State.PENDING


async def test_a_guest_does_not_say_that_it_did_not_go_out(core: Core) -> None:
    row = await core.approved()
    await core.edit(row, state=State.UNKNOWN)
    with pytest.raises(NotAllowed):
        await act(core, row, Action.MARK_NOT_SENT, GUEST)
    assert (await core.row(row.id)).state is State.UNKNOWN


@pytest.mark.parametrize(
    ("state", "action", "end"),
    [(State.PENDING, Action.REJECT, State.REJECTED), (State.UNKNOWN, Action.MARK_NOT_SENT, State.FAILED)],
)
async def test_in_training_one_member_decides_all_of_it_and_live_only_an_approver_does(
    core: Core, state: State, action: Action, end: State
) -> None:
    row = await core.ask()
    await core.edit(row, state=state)
    with pytest.raises(NotAllowed, match=r"Only \{who\} can"):
        await act(core, row, action, CLEO)
    await core.edit(row, mode="training")
    with pytest.raises(NotAllowed, match="Only full members"):
        await act(core, row, action, GUEST)
    assert (await act(core, row, action, CLEO)).state is end


async def test_in_training_one_person_walks_the_whole_way_whatever_the_quorum(make_core: MakeCore) -> None:
    rule = {"purpose": "marketing", "quorum": 3, "larger_than": 10}
    core = make_core(mode="training", **{"approval.quorum": 2, "approval.rules": [rule]})
    row = await core.ask(text="Soldes demain", purpose=Purpose.MARKETING)
    assert (row.state, row.quorum) == (State.PENDING, 1)
    edited = await core.workflow.act(TEAM, row.id, Edit(core.request(text="Soldes lundi")), person=CLEO, version=1)
    assert (edited.version, edited.quorum) == (2, 1)
    assert (await act(core, edited, Action.APPROVE, CLEO)).state is State.SCHEDULED


async def test_what_was_rehearsed_in_training_asks_nothing_of_what_is_meant(make_core: MakeCore) -> None:
    small: dict[str, Any] = {"audiences.clients.max_size": 100}
    text = "Votre carte arrive à échéance, passez nous voir en magasin"
    await make_core(**small, mode="training").ask(text=text)
    core = make_core(**small)
    core.count = 1  # another key than that of the first
    row = await core.ask(text=text.replace("magasin", "magazin"), purpose=Purpose.TRANSACTIONAL)
    assert (row.mode, row.quorum) == ("live", 0)


async def test_the_history_says_that_what_was_approved_too_late_is_held_for_that(core: Core) -> None:
    row = await core.ask(send_at=core.now + 60 * SECOND)
    core.now += 12 * 3600 * SECOND
    assert (await act(core, row, Action.APPROVE, approver(0))).state is State.HELD
    step = (await core.database.read(lambda c: audit.history(c, TEAM, row.id)))[-1]
    assert (step["action"], step["actor"], step["reason"]) == (Action.HOLD, "clock", Hold.LATE)


async def test_what_still_has_enough_votes_stays_approved_when_one_is_withdrawn(make_core: MakeCore) -> None:
    core = make_core(**{"approval.quorum": 2})
    row = await core.ask(send_at=core.now + 3600 * SECOND)
    for number in range(2):
        await act(core, row, Action.APPROVE, approver(number))
    await core.edit(row, quorum=1)  # the vendor told of fewer people meanwhile
    withdrawn = await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button")
    assert withdrawn is not None
    assert withdrawn.state is State.SCHEDULED


async def test_a_vote_that_is_withdrawn_while_it_goes_out_stands_in_the_history(core: Core) -> None:
    row = await core.approved()
    await core.edit(row, state=State.SENDING, phase=Phase.RELEASING)
    with pytest.raises(StaleVersion):
        await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button")
    steps = await core.database.read(lambda c: audit.history(c, TEAM, row.id))
    assert (steps[-1]["actor"], steps[-1]["action"]) == (approver(0).id, Action.WITHDRAW)


async def test_who_withdraws_a_vote_before_it_was_enough_is_named_in_the_thread(make_core: MakeCore) -> None:
    core = make_core(**{"approval.quorum": 2})
    row = await core.ask()
    voted = await act(core, row, Action.APPROVE, approver(0))
    assert voted.revision == row.revision + 1  # the card is drawn once for it
    steps = await core.database.read(lambda c: audit.history(c, TEAM, row.id))
    assert (steps[-1]["actor"], steps[-1]["action"]) == (approver(0).id, "vote")
    await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button")
    assert str((await told_of(core, row))[-1].sentence) == f"<@{approver(0).id}> withdrew their approval."
    assert await core.database.read(lambda c: votes_for(c, row)) == []


async def test_why_it_was_rejected_stands_in_its_thread_and_in_its_history(core: Core) -> None:
    row = await core.ask()
    await act(core, row, Action.REJECT, approver(0), reason="Wrong day")
    said = await core.database.read(
        lambda c: c.execute(notes.select().where(notes.c.broadcast == row.id)).mappings().all()
    )
    last = said[-1]
    assert str(Translatable.of(last["sentence"])) == f"<@{approver(0).id}> rejected it. “Wrong day”"
    assert (last["mention"], last["aloud"]) == (row.requester, False)
    step = (await core.database.read(lambda c: audit.history(c, TEAM, row.id)))[-1]
    assert (step["action"], step["actor"], step["reason"]) == (Action.REJECT, approver(0).id, "Wrong day")


@pytest.mark.parametrize("action", [Action.APPROVE, Action.CANCEL])
async def test_what_a_person_does_is_drawn_at_once_and_starts_at_once(core: Core, action: Action) -> None:
    row, tasks = await core.ask(), list[str]()
    core.workflow.decisions.wake = lambda *names: tasks.extend(names)
    await act(core, row, action, approver(0))
    assert {Task.DISPATCH, Task.PAINT} <= set(tasks)


async def test_one_of_two_approvals_that_is_taken_back_tells_who_did_and_leaves_the_other(make_core: MakeCore) -> None:
    core = make_core(**{"approval.quorum": 2})
    row = await core.ask(send_at=core.now + 3600 * SECOND)
    for number in (0, 1):
        await act(core, row, Action.APPROVE, approver(number))
    assert (await core.row(row.id)).state is State.SCHEDULED
    taken = await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button", version=1)
    assert taken is not None
    assert (taken.state, taken.due, taken.approved_at) == (State.PENDING, None, None)
    left = await core.database.read(lambda c: votes_for(c, taken))
    assert [vote.approver for vote in left] == [approver(1).id]


async def test_an_approval_that_is_taken_back_while_it_goes_out_is_told_and_falls_for_a_second_try(core: Core) -> None:
    row = await core.approved()
    await core.edit(row, state=State.SENDING, phase=Phase.RELEASING, owner="a", lease_until=core.now + 60 * SECOND)
    with pytest.raises(StaleVersion) as too_late:
        await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button", version=1)
    going = too_late.value.broadcast
    assert (going.state, going.revision) == (State.SENDING, row.revision + 1)
    assert await core.database.read(lambda c: votes_for(c, going)) == []
    said = await core.database.read(lambda c: c.execute(notes.select().order_by(notes.c.seq)).mappings().all())
    assert "withdrew their approval while it was going out" in said[-1]["sentence"]["template"]
    assert said[-1]["mention"] == row.requester


async def test_what_needs_no_approval_goes_however_long_it_was_held(core: Core) -> None:
    row = await core.ask(audience="staff", purpose=Purpose.TRANSACTIONAL, text="Your order is ready")
    assert (row.state, row.quorum) == (State.SCHEDULED, 0)
    history = await core.database.read(lambda c: audit.history(c, TEAM, row.id))
    assert [(step["actor"], step["action"]) for step in history] == [(CLEO.id, "submit"), ("policy", "approve")]
    await core.edit(row, state=State.HELD, hold=Hold.LATE, due=None)
    core.now += 90 * 24 * 3600 * SECOND
    held = await core.row(row.id)
    gone = await act(core, held, Action.SEND_NOW, CLEO)
    assert (gone.state, gone.hold) == (State.SCHEDULED, None)
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).state is State.SENT


async def test_what_another_process_took_over_while_it_was_looked_up_is_not_agreed_to_here(core: Core) -> None:
    row = await core.approved()
    core.now += 2 * FRESH
    lease = {"lease_until": core.now + FRESH, "phase": Phase.STAGING, "state": State.SENDING}
    await core.edit(row, owner="here", attempt=1, **lease)
    claimed = await core.row(row.id)
    assert await core.workflow.validity.still_approved(claimed)
    await core.edit(row, owner="there", attempt=2)
    assert not await core.workflow.validity.still_approved(claimed)
    there = await core.row(row.id)
    assert (there.state, there.owner, there.attempt) == (State.SENDING, "there", 2)
