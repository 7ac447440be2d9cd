"""Edits and requests for changes: a new version, without the approvals of the old one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from bot.domain.broadcast import Broadcast, BroadcastRequest
from bot.domain.clock import SECOND
from bot.domain.errors import InvalidRequest, NotAllowed, StaleVersion
from bot.domain.lifecycle import Hold, State
from bot.storage.votes import votes_for
from bot.workflow.decision_types import Approve, Discard, Edit, Reject, RequestChanges, Sent
from bot.workflow.submission import Questioned
from providers.base import Purpose
from tests.support.core import CLEO, TEAM, Core, approver
from tests.support.ground import some_later
from tests.support.waiting import HOUR, Waiting

DAN = replace(CLEO, id="U0DAN")


def saying(row: Broadcast, **changes: Any) -> BroadcastRequest:
    """The request that the form sends for this broadcast once these fields are changed."""
    kept = {
        "workspace": TEAM,
        "requester": "U0WHOEVER",
        "channel": row.channel,
        "audience": row.audience,
        "purpose": row.purpose,
        "text": row.typed,
        "send_at": row.send_at,
        "sender": row.sender,
        "campaign": row.campaign,
        "zone": row.zone,
    }
    return BroadcastRequest(**(kept | changes))


async def edited(core: Core, row: Broadcast, person: Any = CLEO, **changes: Any) -> Broadcast:
    return await core.workflow.act(TEAM, row.id, Edit(saying(row, **changes)), person=person, version=row.version)


async def test_an_edit_is_a_new_version_that_nobody_has_approved(core: Waiting) -> None:
    row = await core.approved(send_at=core.now + 3 * HOUR)
    assert row.state is State.SCHEDULED
    new = await edited(core, row, text="Other words")
    assert (new.state, new.version, new.typed, new.requester) == (State.PENDING, 2, "Other words", "U0CLEO")
    assert (new.approved_at, new.due) == (None, None)
    assert new.digest == new.computed_digest() != row.digest
    assert await core.database.read(lambda c: votes_for(c, new)) == []
    with pytest.raises(StaleVersion):
        await core.workflow.act(TEAM, row.id, Approve(), person=approver(1), version=1)
    assert await core.sent() == 0


async def test_both_texts_stand_beside_the_note_and_who_had_approved_is_named(core: Waiting) -> None:
    row = await core.approved(send_at=core.now + 3 * HOUR)
    await edited(core, row, text="Other words", campaign="june")
    told, mention = (await core.told(row))[-1]
    assert told == "<@U0CLEO> edited it. Campaign: june instead of —."
    assert mention == "U0APPROVER0"


async def test_who_edited_it_last_does_not_approve_it(core: Waiting) -> None:
    row = await core.ask()
    new = await edited(core, row, approver(0), text="Other words")
    assert (new.requester, new.editor) == ("U0CLEO", "U0APPROVER0")
    for person in (CLEO, approver(0)):
        with pytest.raises(NotAllowed):
            await core.workflow.act(TEAM, row.id, Approve(), person=person, version=2)
    approved = await core.workflow.act(TEAM, row.id, Approve(), person=approver(1), version=2)
    assert approved.state is State.SCHEDULED


async def test_only_who_asked_or_may_approve_edits_it(core: Waiting) -> None:
    row = await core.ask()
    with pytest.raises(NotAllowed):
        await edited(core, row, DAN, text="Other words")
    assert "edit_refused" in await core.actions(row)


FIELDS: dict[str, dict[str, Any]] = {
    "text": {"text": "Other words"},
    "audience": {"audience": "newsletter"},
    "purpose": {"purpose": Purpose.TRANSACTIONAL},
    "start": {"send_at": 1_800_100_000 * SECOND},
}


@pytest.mark.parametrize("field", some_later(FIELDS))
async def test_whatever_field_is_edited_its_approval_is_void(core: Waiting, field: str) -> None:
    row = await core.approved(send_at=core.now + 3 * HOUR)
    new = await edited(core, row, **FIELDS[field])
    assert (new.state, new.version) == (State.PENDING, 2)
    assert new.digest != row.digest
    assert new.quorum >= row.quorum


async def test_a_purpose_that_needs_no_approval_does_not_get_it_past_the_approvers(core: Waiting) -> None:
    row = await core.ask()
    new = await edited(core, row, purpose=Purpose.TRANSACTIONAL, text="Your order is ready")
    assert (new.state, new.quorum, new.purpose) == (State.PENDING, 1, Purpose.TRANSACTIONAL)


async def test_another_audience_is_asked_for_its_size_again(core: Waiting) -> None:
    row = await core.ask()
    await core.workflow.sizes.learn(TEAM, row.id, 20)
    same = await edited(core, await core.row(row.id), text="Other words")
    assert same.size == 20
    other = await edited(core, same, audience="newsletter")
    assert (other.size, other.account, other.bound) == (None, "octo", 100)


@pytest.mark.parametrize("hold", some_later([Hold.LATE, Hold.CAP, Hold.RESTORED]))
async def test_what_is_held_can_be_edited(core: Waiting, hold: Hold) -> None:
    row = await core.held()
    await core.edit(row, hold=hold)
    new = await edited(core, await core.row(row.id), text="Other words")
    assert (new.state, new.hold) == (State.PENDING, None)


async def test_what_has_gone_out_is_edited_no_more(core: Waiting) -> None:
    row = await core.approved()
    assert await core.sent() == 1
    with pytest.raises(StaleVersion):
        await edited(core, row, text="Other words")


async def test_an_edit_that_changes_nothing_is_refused(core: Waiting) -> None:
    row = await core.approved(send_at=core.now + 3 * HOUR)
    with pytest.raises(InvalidRequest) as refused:
        await edited(core, row)
    assert [str(one.sentence) for one in refused.value.complaints] == ["Nothing has changed."]
    assert (await core.row(row.id)).version == 1


async def test_a_slip_in_an_edit_is_asked_about_once(core: Waiting) -> None:
    row = await core.ask()
    slip = saying(row, text="Soldes at=tomorrow")
    questions = core.workflow.submission.questions(slip)
    assert questions
    with pytest.raises(Questioned):
        await core.workflow.act(TEAM, row.id, Edit(slip, Sent("V1", "t1")), person=CLEO, version=1)
    new = await core.workflow.act(TEAM, row.id, Edit(slip, Sent("V1", "t2")), person=CLEO, version=1)
    assert new.version == 2


async def test_of_an_edit_and_an_approval_at_once_the_store_makes_one_story(core: Waiting) -> None:
    """Whoever comes second is told, and nothing goes out that its approver did not see."""
    for _ in range(10):
        row = await core.ask()
        approve = core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
        came = await asyncio.gather(edited(core, row, text=f"{row.typed}, again"), approve, return_exceptions=True)
        now = await core.row(row.id)
        assert all(isinstance(one, Broadcast | StaleVersion) for one in came)
        assert (now.state, now.version) in ((State.PENDING, 2), (State.SCHEDULED, 1))
        assert (now.version == 2) == isinstance(came[0], Broadcast)


async def test_two_people_who_edit_at_once_do_not_overwrite_each_other(core: Waiting) -> None:
    row = await core.ask()
    edits = (edited(core, row, text="One"), edited(core, row, approver(0), text="Two"))
    came = await asyncio.gather(*edits, return_exceptions=True)
    assert sorted(type(one).__name__ for one in came) == ["Broadcast", "StaleVersion"]
    assert (await core.row(row.id)).version == 2


# --- changes that an approver asks for -------------------------------------------------------------------------------


async def asked_to_change(core: Waiting) -> Broadcast:
    row = await core.ask()
    asked = RequestChanges("Name the shop.")
    return await core.workflow.act(TEAM, row.id, asked, person=approver(0), version=1)


async def test_changes_that_are_asked_for_give_it_back_to_who_wrote_it(core: Waiting) -> None:
    row = await asked_to_change(core)
    assert (row.state, row.version, row.expires_at) == (State.DRAFT, 1, None)
    told, mention = (await core.told(row))[-1]
    assert told.startswith("<@U0APPROVER0> asks for changes: “Name the shop.”")
    assert mention == "U0CLEO"
    for decision in (Approve(), Reject("no")):
        with pytest.raises(StaleVersion):
            await core.workflow.act(TEAM, row.id, decision, person=approver(1), version=1)
    assert await core.sent() == 0


@pytest.mark.parametrize("person", [CLEO, DAN])
async def test_only_an_approver_asks_for_changes(core: Waiting, person: Any) -> None:
    row = await core.ask()
    with pytest.raises(NotAllowed):
        await core.workflow.act(TEAM, row.id, RequestChanges("Name it."), person=person, version=1)
    assert (await core.row(row.id)).state is State.PENDING


async def test_a_vote_from_before_the_changes_counts_no_more(core: Waiting) -> None:
    row = await core.ask()
    await core.edit(row, quorum=2)
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(1), version=1)
    back = await core.workflow.act(TEAM, row.id, RequestChanges("Name it."), person=approver(0), version=1)
    assert await core.database.read(lambda c: votes_for(c, back)) == []


async def test_a_draft_that_was_given_back_and_is_deleted_ends_where_it_was_asked(core: Waiting) -> None:
    row = await asked_to_change(core)
    ended = await core.workflow.act(TEAM, row.id, Discard(), person=CLEO, version=1)
    assert ended.state is State.CANCELLED
