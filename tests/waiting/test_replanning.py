"""A new start is an edit: a new version, which asks again."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from typing import Any

import pytest

from bot.domain.broadcast import Broadcast
from bot.domain.errors import InvalidRequest, NotAllowed, StaleVersion
from bot.domain.lifecycle import Action, Hold, State
from bot.domain.people import Person
from bot.storage.votes import votes_for
from bot.workflow.decision_types import SendNow
from providers.base import Purpose
from tests.support.core import APPROVERS, CLEO, TEAM, approver, decision
from tests.support.waiting import DAY, HOUR, MINUTE, MakeWaiting, Waiting

OPS = dataclasses.replace(CLEO, id="U0OPS")
STRANGER = dataclasses.replace(CLEO, id="U0DAN")


async def test_a_new_time_is_a_new_version_that_nobody_has_approved_yet(core: Waiting) -> None:
    row = await core.held()
    wanted = core.now + 3 * HOUR
    planned = await core.act(row, Action.REPLAN, CLEO, send_at=wanted)
    assert (planned.state, planned.version, planned.send_at, planned.hold) == (State.PENDING, 2, wanted, None)
    assert (planned.start_at, planned.due, planned.approved_at) == (None, None, None)
    assert planned.digest == planned.computed_digest() != row.digest
    assert planned.expires_at == core.now + DAY
    assert await core.database.read(lambda c: votes_for(c, planned)) == []
    with pytest.raises(StaleVersion):
        await core.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    assert (await core.told(row))[-1] == (
        f"<@U0CLEO> re-planned it. It is now due to start {wanted} instead of right after approval.",
        "U0APPROVER0",
    )
    core.now = wanted - HOUR
    assert await core.sent() == 0
    await core.act(row, Action.APPROVE, approver(0))
    core.now = wanted
    assert await core.sent() == 1
    assert (await core.row(row.id)).state is State.SENT


async def test_who_moved_it_may_not_approve_it(core: Waiting) -> None:
    row = await core.held()
    before = await core.act(row, Action.REPLAN, approver(1), send_at=core.now + HOUR)
    assert (before.requester, before.editor) == ("U0CLEO", APPROVERS[1])
    for person in (CLEO, approver(1)):
        with pytest.raises(NotAllowed):
            await core.act(row, Action.APPROVE, person)
    after = await core.act(row, Action.REPLAN, approver(2), send_at=core.now + 2 * HOUR)
    told, mention = (await core.told(row))[-1]
    assert told == (
        f"<@{APPROVERS[2]}> re-planned it. It is now due to start {after.send_at} instead of {before.send_at}."
    )
    assert mention == "U0CLEO"
    assert (await core.act(row, Action.APPROVE, approver(1))).state is State.SCHEDULED


@pytest.mark.parametrize("person", [CLEO, OPS, approver(3)], ids=lambda person: person.id)
async def test_requester_approver_and_admin_may_re_plan_and_nobody_else(core: Waiting, person: Person) -> None:
    row = await core.ask()
    with pytest.raises(NotAllowed):
        await core.act(row, Action.REPLAN, STRANGER, send_at=core.now + HOUR)
    assert (await core.act(row, Action.REPLAN, person, send_at=core.now + HOUR)).version == 2


async def test_what_needs_no_approval_goes_on_by_itself_at_its_new_time(core: Waiting) -> None:
    row = await core.ask(audience="staff", purpose=Purpose.TRANSACTIONAL, text="Your order is ready")
    core.now += 11 * MINUTE
    assert await core.sent() == 0
    assert (await core.row(row.id)).hold is Hold.LATE
    wanted = core.now + HOUR
    planned = await core.act(row, Action.REPLAN, CLEO, send_at=wanted)
    assert (planned.state, planned.version, planned.due) == (State.SCHEDULED, 2, wanted)
    core.now = wanted
    assert await core.sent() == 1


async def test_an_edit_never_asks_for_fewer_approvals(make: MakeWaiting) -> None:
    core = make(**{"audiences.newsletter.max_size": 5})
    row = await core.ask(audience="newsletter", purpose=Purpose.TRANSACTIONAL, text="Your order is ready")
    assert await core.sent() == 0  # twenty people are more than five
    assert ((await core.row(row.id)).state, (await core.row(row.id)).quorum) == (State.PENDING, 1)
    planned = await core.act(row, Action.REPLAN, CLEO, send_at=core.now + HOUR)
    assert (planned.state, planned.quorum) == (State.PENDING, 1)
    core.now += HOUR
    assert await core.sent() == 0


WRONG_TIMES = {"has passed": -2 * MINUTE, "two years": 3 * 366 * DAY}


@pytest.mark.parametrize("told", WRONG_TIMES)
async def test_a_time_that_cannot_be_is_complained_of_under_its_field(core: Waiting, told: str) -> None:
    row = await core.held()
    with pytest.raises(InvalidRequest) as caught:
        await core.act(row, Action.REPLAN, CLEO, send_at=core.now + WRONG_TIMES[told])
    (complaint,) = caught.value.complaints
    assert complaint.field == "send_at"
    assert told in str(complaint.sentence)
    assert await core.row(row.id) == row


async def test_the_last_approver_cannot_move_what_nobody_could_approve_then(core: Waiting) -> None:
    core.gone = set(APPROVERS[1:])
    row = await core.ask()
    with pytest.raises(InvalidRequest):
        await core.act(row, Action.REPLAN, approver(0), send_at=core.now + HOUR)
    assert (await core.row(row.id)).version == 1


async def test_a_prepared_campaign_is_thrown_away_when_its_time_changes(make: MakeWaiting) -> None:
    core = make(**{"approval.undo": "30s"})
    row = await core.approved(audience="newsletter")
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).staged is not None
    planned = await core.act(row, Action.REPLAN, CLEO, send_at=core.now + HOUR)
    assert planned.staged is None
    await core.run(core.dispatcher("a"))
    assert [campaign.state for campaign in core.sandbox.vendors.octopush.campaigns.values()] == ["cancelled"]
    await core.act(row, Action.APPROVE, approver(0))
    core.now += HOUR
    assert await core.sent() == 1


@pytest.mark.long
async def test_of_what_people_do_at_once_to_a_held_one_the_store_makes_one_story(core: Waiting, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(15):
        row = await core.held()
        wanted = core.now + HOUR
        decisions: list[tuple[Action, Person, dict[str, Any]]] = [
            (Action.REPLAN, CLEO, {"send_at": wanted}),
            (Action.REPLAN, approver(1), {"send_at": wanted + HOUR}),
            (Action.SEND_NOW, approver(2), {}),
            (Action.DROP, approver(3), {}),
        ]
        chance.shuffle(decisions)
        sent = len(core.sandbox.vendors.ledger)
        outcomes = await asyncio.gather(
            *(
                core.workflow.act(TEAM, row.id, decision(act, **more), person=who, version=1)
                for act, who, more in decisions
            ),
            return_exceptions=True,
        )
        assert all(isinstance(outcome, Broadcast | StaleVersion) for outcome in outcomes)
        steps = [step for step in await core.actions(row) if step in ("replan", "send_now", "drop")]
        after = await core.row(row.id)
        await core.run(core.dispatcher("a"))
        assert len(core.sandbox.vendors.ledger) - sent == (1 if steps == ["send_now"] else 0)
        if steps[-1] == "replan":
            assert (after.state, after.version) == (State.PENDING, 2)
            assert steps.count("replan") == 1
        else:
            assert after.state is (State.SCHEDULED if steps[-1] == "send_now" else State.CANCELLED)


async def test_where_no_approver_is_left_an_admin_says_that_it_did_not_go_out(make: MakeWaiting) -> None:
    core = make(**{"approval.approvers": []})
    row = await core.ask(purpose=Purpose.TRANSACTIONAL, text="Votre commande est prête", audience="staff")
    await core.edit(row, state="unknown")
    with pytest.raises(NotAllowed) as told:
        await core.act(row, Action.MARK_NOT_SENT, CLEO)
    assert str(told.value.sentence).startswith("Only <@U0OPS> can say that")
    assert (await core.act(row, Action.MARK_NOT_SENT, OPS)).state is State.FAILED


async def test_where_nobody_is_left_to_say_that_it_did_not_go_out_the_fix_is_named(make: MakeWaiting) -> None:
    core = make(**{"approval.approvers": [], "admins": []})
    row = await core.ask(purpose=Purpose.TRANSACTIONAL, text="Votre commande est prête", audience="staff")
    await core.edit(row, state="unknown")
    with pytest.raises(NotAllowed, match="whoever runs the bot to name approvers"):
        await core.act(row, Action.MARK_NOT_SENT, CLEO)


async def test_approvers_who_are_named_later_decide_about_what_had_none(make: MakeWaiting) -> None:
    core = make(**{"approval.approvers": []})
    row = await core.ask(purpose=Purpose.TRANSACTIONAL, text="Votre commande est prête", audience="staff")
    await core.edit(row, state="unknown")
    core = make(**{"approval.approvers": [APPROVERS[0]]})
    with pytest.raises(NotAllowed) as told:
        await core.act(row, Action.MARK_NOT_SENT, OPS)
    assert str(told.value.sentence).startswith(f"Only <@{APPROVERS[0]}> can say that")
    assert (await core.act(row, Action.MARK_NOT_SENT, approver(0))).state is State.FAILED
