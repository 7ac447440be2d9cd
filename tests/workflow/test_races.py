"""People and processes that act at the same time: one of them wins, and one message goes out."""

from __future__ import annotations

import asyncio
import random

import pytest
from sqlalchemy import event

from bot.domain.broadcast import Broadcast, BroadcastRequest
from bot.domain.errors import StaleVersion
from bot.domain.lifecycle import Action, State
from bot.storage import broadcasts
from bot.storage.database import Database
from bot.storage.postgres import Postgres
from bot.workflow.decision_types import Approve
from providers.base import DeliveryStatus, Purpose, Receipt
from tests.support.core import CLEO, TEAM, Core, approver, decision


async def test_fifty_approvals_at_once_make_one_approval_and_one_send(core: Core) -> None:
    row = await core.ask()
    decisions = [core.workflow.act(TEAM, row.id, Approve(), person=approver(n), version=1) for n in range(50)]
    outcomes = await asyncio.gather(*decisions, return_exceptions=True)
    assert all(isinstance(outcome, Broadcast | StaleVersion) for outcome in outcomes)
    assert (await core.actions(row)).count("approve") == 1
    await core.run(core.dispatcher("a"), core.dispatcher("b"))
    assert len(core.sandbox.vendors.ledger) == 1
    assert (await core.row(row.id)).state is State.SENT


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_of_fifty_who_hold_the_row_one_after_the_other_only_the_first_waits_for_the_disk(core: Core) -> None:
    """A flush takes 40 ms on many disks. If everyone who comes too late committed the lock that they took, the last
    would wait for fifty flushes, and hear that the database is busy."""
    row = await core.ask()
    commits: list[object] = []
    assert isinstance(core.database, Postgres)
    event.listen(core.database.engine.sync_engine, "commit", commits.append)
    decisions = [core.workflow.act(TEAM, row.id, Approve(), person=approver(n), version=1) for n in range(50)]
    outcomes = await asyncio.gather(*decisions, return_exceptions=True)
    assert sum(isinstance(outcome, StaleVersion) for outcome in outcomes) == 49
    assert len(commits) == 1
    told = {outcome.broadcast.state for outcome in outcomes if isinstance(outcome, StaleVersion)}
    assert told == {State.SCHEDULED}  # as the row stands now


async def test_of_approve_and_cancel_in_the_same_instant_one_wins(core: Core, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(20):
        row = await core.ask()
        decisions = [(Action.APPROVE, approver(0)), (Action.CANCEL, CLEO), (Action.REJECT, approver(1))]
        chance.shuffle(decisions)
        outcomes = await asyncio.gather(
            *(core.workflow.act(TEAM, row.id, decision(action), person=who, version=1) for action, who in decisions),
            return_exceptions=True,
        )
        ends = [step for step in await core.actions(row) if step in ("approve", "cancel", "reject")]
        won = sum(isinstance(outcome, Broadcast) for outcome in outcomes)
        state = (await core.row(row.id)).state
        if ends[0] == "approve" and len(ends) == 2:  # cancelling what was just approved is allowed
            assert state is State.CANCELLED
        else:
            assert (won, len(ends)) == (1, 1)
            assert state is {"approve": State.SCHEDULED, "cancel": State.CANCELLED, "reject": State.REJECTED}[ends[0]]


@pytest.mark.parametrize("key", ["one-form", "form-{}"])
async def test_the_same_request_from_many_at_once_is_one_broadcast(core: Core, key: str) -> None:
    request = BroadcastRequest(
        workspace=TEAM, requester="U0CLEO", channel="C1", audience="clients", purpose=Purpose.MARKETING, text="Once"
    )
    asked = [core.workflow.submit(request, key=key.format(number), person=CLEO) for number in range(20)]
    outcomes = await asyncio.gather(*asked)
    assert [outcome.again for outcome in outcomes].count(False) == 1
    assert len({outcome.broadcast.id for outcome in outcomes}) == 1
    assert len(await core.database.read(lambda c: broadcasts.latest(c, TEAM, 50))) == 1


async def test_news_that_come_in_the_same_instant_are_all_counted(core: Core) -> None:
    row = await core.approved(audience="newsletter")
    await core.run(core.dispatcher("one"))
    (ticket,) = (await core.row(row.id)).ids
    tracker = core.tracker()
    numbers = [f"+3360000{number:04}" for number in range(20)]
    early = [Receipt(ticket, DeliveryStatus.SENT, "ACK", number) for number in numbers]
    final = [Receipt(ticket, DeliveryStatus.DELIVERED, "DELIVERED", number, final=True) for number in numbers]
    pairs = zip(early, final, strict=True)
    await asyncio.gather(*(tracker.record("octo", [receipt]) for pair in pairs for receipt in pair))
    assert (await core.row(row.id)).counts == {"delivered": 20}


async def test_two_processes_share_twenty_due_rows_and_each_goes_once(core: Core, second: Database) -> None:
    rows = [await core.approved() for _ in range(20)]
    await core.run(core.dispatcher("a"), core.dispatcher("b", second), core.dispatcher("c", second))
    assert len(core.sandbox.vendors.ledger) == 20
    assert len({sent.text for sent in core.sandbox.vendors.ledger}) == 20
    assert {(await core.row(row.id)).state for row in rows} == {State.SENT}
