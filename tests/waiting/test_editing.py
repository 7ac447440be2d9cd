"""Edits and requests for changes: a new version, without the approvals of the old one."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from bot.domain.broadcast import Broadcast, BroadcastRequest
from bot.domain.clock import SECOND
from bot.domain.errors import InvalidRequest, NotAllowed, StaleVersion
from bot.domain.i18n import LANGUAGES, Translatable, translator_for
from bot.domain.lifecycle import Action, Hold, State
from bot.slack.blocks.thread import thread_message
from bot.storage import broadcasts, tables
from bot.storage.cards import Card, keep_card
from bot.storage.votes import votes_for
from bot.workflow.decision_types import Approve, Cancel, Decision, Discard, Edit, Reject, Replan, RequestChanges, Sent
from bot.workflow.questions import Questioned
from providers.base import Purpose, Staged
from tests.support.core import CLEO, TEAM, Core, approver
from tests.support.ground import in_order, some_later
from tests.support.waiting import HOUR, MakeWaiting, Waiting

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
    questions = core.workflow.questions.about(slip)
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


@pytest.mark.parametrize("rounds", [3, pytest.param(200, marks=pytest.mark.long)])
async def test_of_fifty_decisions_and_edits_at_once_what_won_is_written_and_the_others_are_told(
    core: Waiting, seed: int, rounds: int
) -> None:
    """What goes out afterwards, if anything does, is what its approver saw."""
    chance = random.Random(seed)
    for _ in range(rounds):
        row, sent = await core.ask(), len(core.sandbox.vendors.ledger)
        deeds: list[tuple[Decision, Any]] = [
            chance.choice(
                (
                    (Approve(), approver(number)),
                    (Edit(saying(row, text=f"{row.typed}, {number}")), chance.choice((CLEO, approver(number)))),
                    (RequestChanges("Name it."), approver(number)),
                    (Reject("No"), approver(number)),
                    (Cancel(), CLEO),
                )
            )
            for number in range(50)
        ]
        decided = (core.workflow.act(TEAM, row.id, deed, person=who, version=1) for deed, who in deeds)
        came = await asyncio.gather(*decided, return_exceptions=True)
        assert all(isinstance(one, Broadcast | StaleVersion) for one in came)
        won = [deed.action for (deed, _), one in zip(deeds, came, strict=True) if isinstance(one, Broadcast)]
        assert sorted(won) == sorted(step for step in await core.actions(row) if step != "submit")
        now = await core.row(row.id)
        assert now.version == 1 + won.count(Action.EDIT)
        await core.run(core.dispatcher("a"))
        gone = core.sandbox.vendors.ledger[sent:]
        assert [one.text for one in gone] == [row.text] * (now.state is State.SCHEDULED)


async def test_what_goes_without_approval_needs_one_once_somebody_else_has_written_it(make: MakeWaiting) -> None:
    """An approver may edit it, but may not write to this audience without anybody's approval."""
    core = make(**{"audiences.clients.requesters": ["U0CLEO"], "audiences.clients.max_size": 10})
    row = await core.ask(purpose=Purpose.TRANSACTIONAL, text="Your order is ready", send_at=core.now + 3 * HOUR)
    assert (row.state, row.quorum) == (State.SCHEDULED, 0)
    new = await edited(core, row, approver(0), text="Your order is waiting")
    assert (new.state, new.quorum) == (State.PENDING, 1)
    ready = await core.ask(purpose=Purpose.TRANSACTIONAL, text="It is ready", send_at=core.now + 3 * HOUR)
    mine = await edited(core, ready, text="It is waiting")
    assert (mine.state, mine.quorum) == (State.SCHEDULED, 0)


async def test_a_campaign_that_was_prepared_is_recalled_where_it_was_prepared(core: Waiting) -> None:
    row = await core.approved(audience="newsletter", send_at=core.now + 3 * HOUR)
    staged = Staged("sms_1")
    await core.database.write(lambda c: broadcasts.touch(c, row, core.now, staged=staged))
    new = await edited(core, await core.row(row.id), audience="clients", sender=None)
    assert (new.account, new.staged) == ("encom", None)
    left = await core.database.read(lambda c: c.execute(select(tables.leftovers)).mappings().all())
    assert [(one["account"], one["id"]) for one in left] == [("octo", "sms_1")]


async def test_a_size_that_was_asked_for_before_an_edit_says_nothing_about_what_it_is_now(core: Waiting) -> None:
    row = await core.ask()
    await edited(core, row, audience="newsletter")
    await core.workflow.sizes.learn(TEAM, row.id, 20, version=row.version)
    assert (await core.row(row.id)).size is None


@pytest.mark.parametrize("language", LANGUAGES)
async def test_an_edit_of_the_text_alone_says_only_that(core: Waiting, language: str) -> None:
    row = await core.ask()
    await edited(core, row, text="Other words")
    told = await core.database.read(lambda c: c.execute(in_order(tables.notes)).mappings().all())
    said = thread_message(Translatable.of(told[-1]["sentence"]), None, translator_for(language)).text
    assert said.startswith("<@U0CLEO>")
    assert said.endswith((".", "difusión.", "modificó."))
    assert len(said) < 60


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


async def again(core: Waiting, row: Broadcast, text: str, **changes: Any) -> Broadcast:
    """The requester submits what was given back."""
    request = saying(row, requester="U0CLEO", text=text)
    return (await core.workflow.submit(request, key="again", person=CLEO, draft=row.id, **changes)).broadcast


async def test_who_wrote_the_words_does_not_approve_them_after_they_were_given_back_unchanged(core: Waiting) -> None:
    row = await core.ask()
    await core.database.write(lambda c: keep_card(c, Card(TEAM, row.id, 2, "C1", "1.1", 1)))
    edit = await edited(core, row, approver(1), text="Words of an approver")
    back = await core.workflow.act(TEAM, row.id, RequestChanges("Really?"), person=approver(0), version=edit.version)
    asked = await again(core, back, "Words of an approver")
    assert (asked.state, asked.version, asked.editor) == (State.PENDING, 3, "U0APPROVER1")
    assert (await core.told(row))[-1][0] == "<@U0CLEO> asks again without having changed it."
    with pytest.raises(NotAllowed):
        await core.workflow.act(TEAM, row.id, Approve(), person=approver(1), version=3)


async def test_what_was_given_back_needs_no_fewer_approvals_however_it_is_submitted(core: Waiting) -> None:
    row = await core.ask()
    await core.edit(row, quorum=2)
    await core.database.write(lambda c: keep_card(c, Card(TEAM, row.id, 1, "C1", "1.1", 1)))
    back = await core.workflow.act(TEAM, row.id, RequestChanges("Name it."), person=approver(0), version=1)
    kept = await again(core, back, "In a place without cards", postable=False)
    assert (kept.state, kept.quorum, kept.version) == (State.DRAFT, 2, 1)
    asked = await again(core, kept, "In a place with cards")
    assert (asked.state, asked.quorum, asked.version) == (State.PENDING, 2, 2)
    told = [sentence for sentence, _ in await core.told(row)]
    assert told[-2:] == ["<@U0CLEO> edited it. ", "<@U0CLEO> changed it and asks again. "]


async def test_the_reason_of_a_rejection_is_given_once(core: Waiting) -> None:
    row = await core.ask()
    await core.workflow.act(TEAM, row.id, Reject(), person=approver(0), version=1)
    await core.workflow.decisions.give_reason(TEAM, row.id, "Too many", person=approver(0))
    with pytest.raises(StaleVersion):
        await core.workflow.decisions.give_reason(TEAM, row.id, "Too many", person=approver(0))
    assert [sentence for sentence, _ in await core.told(row)].count("<@U0APPROVER0> gave the reason: “Too many”") == 1


async def test_who_wrote_the_text_cannot_approve_it_once_the_requester_has_re_planned_it(core: Waiting) -> None:
    row = await edited(core, await core.ask(), person=approver(0), text="Other words")
    row = await core.workflow.act(TEAM, row.id, Replan(core.now + 3 * HOUR), person=CLEO, version=row.version)
    with pytest.raises(NotAllowed):
        await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=row.version)

    row = await edited(core, row, text="Cleo's words")
    row = await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=row.version)
    assert row.state is State.SCHEDULED
