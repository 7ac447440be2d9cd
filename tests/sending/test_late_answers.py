"""A database that is away during a send: the answer is kept and written, and nothing goes twice."""

from __future__ import annotations

import asyncio
import dataclasses
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select

from bot.domain.lifecycle import Action, State
from bot.sending.outcomes import Nothing
from bot.storage import tables, vendor_ids
from bot.storage.database import PATIENCE
from bot.workflow.decision_types import MarkNotSent
from providers.base import Accepted, DeliveryStatus, Receipt, Refused
from tests.support.core import CLEO, TEAM, MakeCore, approver, decision
from tests.support.far import Far


async def test_an_acceptance_that_is_written_after_the_lease_lapsed_proves_that_it_went_out(far: Far) -> None:
    row, ending = await far.releasing()
    await far.given_up(row)
    await far.answered()
    assert (far.ledger, (await far.core.row(row.id)).state) == (1, State.UNKNOWN)
    await far.proxy.open()
    await ending
    proven = await far.core.row(row.id)
    assert (proven.state, proven.ids, proven.failure) == (State.SENT, ("22", "23"), None)
    assert proven.accepted_at is not None
    assert await far.core.database.read(lambda c: vendor_ids.owners_of(c, [("encom", "23")]).get(("encom", "23"))) == (
        TEAM,
        row.id,
    )
    assert (await far.core.actions(row))[-2:] == ["lose_track", "prove"]
    assert "I could not save its answer in time. Ids: {ids}" in (await far.told(row))[-1]
    assert far.ledger == 1


async def test_a_refusal_that_is_written_late_is_told_and_an_approver_ends_it(far: Far) -> None:
    row, ending = await far.releasing()
    far.core.sandbox.vendors.encom.token = "another"
    await far.given_up(row)
    await far.answered()
    await far.proxy.open()
    await ending
    assert (await far.core.row(row.id)).state is State.UNKNOWN  # only a person may end it
    assert (await far.told(row))[-1].startswith("The answer came late: {cause} This means that it did not go out.")
    assert (await far.core.actions(row))[-1] == "refuse_late"
    ended = await far.core.workflow.act(TEAM, row.id, MarkNotSent(), person=approver(1), version=1)
    assert (ended.state, far.ledger) == (State.FAILED, 0)


async def test_an_answer_that_is_late_is_told_once_however_often_it_is_written(make_core: MakeCore) -> None:
    core = make_core()
    row, dispatcher = await core.approved(), core.dispatcher("a")
    await core.edit(row, state=State.UNKNOWN, attempt=1)
    tried = dataclasses.replace(await core.row(row.id), state=State.SENDING)
    for accepted in (False, False, True, True):
        outcome = Accepted(("22",)) if accepted else Nothing(Refused("No credit left.", code="402"))
        await core.database.write(partial(dispatcher.releaser.outcomes.write_outcome, row=tried, outcome=outcome))
    said = await core.database.read(lambda c: c.execute(select(tables.notes.c.sentence)).scalars().all())
    late = [one["template"] for one in said if "late" in one["template"] or "did accept" in one["template"]]
    assert [one[:20] for one in late] == ["The answer came late", "{vendor} did accept "]
    proven = await core.row(row.id)
    assert (proven.state, proven.ids, proven.accepted_at) == (State.SENT, ("22",), core.now)


@pytest.mark.parametrize(
    ("said", "by", "ends"),
    [(Action.MARK_NOT_SENT, approver(1), State.FAILED), (Action.MARK_SENT, CLEO, State.SENT)],
    ids=["not sent", "sent"],
)
async def test_an_acceptance_after_a_person_has_spoken_brings_the_ids_and_is_told(
    far: Far, said: Action, by: Any, ends: State
) -> None:
    row, ending = await far.releasing()
    await far.given_up(row)
    await far.core.workflow.act(TEAM, row.id, decision(said), person=by, version=1)
    await far.answered()
    await far.proxy.open()
    await ending
    now = await far.core.row(row.id)
    assert (now.state, now.ids) == (ends, ("22", "23"))
    assert (now.failure is None) is (ends is State.SENT)  # the vendor's word is better than a person's
    assert "did accept it" in (await far.told(row))[-1]
    assert (await far.core.actions(row))[-1] == "accept_late"


async def test_news_of_what_a_person_said_had_not_gone_out_is_told_aloud_once_to_them_and_the_requester(
    make_core: MakeCore,
) -> None:
    core = make_core()
    core.sandbox.vendors.faults.add("encom.release", "reset", accept=True)
    row = await core.approved()
    await core.run(core.dispatcher("a"))
    await core.workflow.act(TEAM, row.id, MarkNotSent(), person=approver(1), version=1)
    for number in (22, 23, 22):
        news = [Receipt(str(number), DeliveryStatus.SENT, "OK")]
        await core.tracker().record("encom", news, (TEAM, row.id))
    statement = select(tables.notes).where(tables.notes.c.broadcast == row.id).order_by(tables.notes.c.seq)
    notes = (await core.database.read(lambda c: c.execute(statement).mappings().all()))[-1:]
    assert [(note["mention"], note["aloud"]) for note in notes] == [(f"U0CLEO {approver(1).id}", True)]
    assert notes[0]["sentence"]["template"].startswith("The vendor reports deliveries, so it did go out, although")
    assert [note["sentence"]["values"]["ids"] for note in notes] == ["22"]
    assert (await core.actions(row)).count("report_late") == 1
    assert (await core.row(row.id)).state is State.FAILED  # a person's word stays; a note reports what happened


@pytest.mark.long
async def test_a_database_that_is_away_for_a_while_during_a_send_gets_the_answer_when_it_is_back(far: Far) -> None:
    row, ending = await far.releasing()
    await far.proxy.shut()
    await far.answered()
    await asyncio.sleep(PATIENCE + 0.6)
    await far.proxy.open()
    await ending
    assert (await far.core.row(row.id)).state is State.SENT
    assert (await far.core.actions(row))[-1] == "accept"
