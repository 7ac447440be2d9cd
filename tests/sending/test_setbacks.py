"""What comes back unsent, and rows that nobody can move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND
from bot.domain.errors import NotUnderstood, StaleVersion
from bot.domain.lifecycle import Hold, Phase, State
from bot.storage.database import Database
from bot.storage.sqlite import SQLite
from bot.workflow.decision_types import SendNow
from providers.base import DeliveryStatus, Receipt, Throttled
from tests.support.core import CLEO, TEAM, Core, MakeCore, approver, gate, later


async def test_an_approval_that_is_taken_back_in_the_last_moment_sends_nothing_later(core: Core) -> None:
    """It is too late for a send that is going out. If the vendor does not take it, it goes back to the approvers."""
    row, dispatcher = await core.approved(), core.dispatcher("a")
    reached, go = gate(core, release=True)
    core.sandbox.vendors.faults.add("encom.release", "error", status=429, body={})
    await dispatcher.tick()
    await reached.wait()
    with pytest.raises(StaleVersion):
        await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button", version=1)
    go.set()
    await asyncio.gather(*dispatcher.running)
    assert (await core.row(row.id)).state is State.SCHEDULED
    core.now += 60 * SECOND
    await core.run(dispatcher)
    assert (await core.row(row.id)).state is State.PENDING
    assert core.sandbox.vendors.ledger == []


async def test_an_approval_that_is_taken_back_in_the_last_moment_changes_nothing_of_what_went_out(core: Core) -> None:
    row, dispatcher = await core.approved(), core.dispatcher("a")
    reached, go = gate(core, release=True)
    await dispatcher.tick()
    await reached.wait()
    with pytest.raises(StaleVersion):
        await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button", version=1)
    go.set()
    await asyncio.gather(*dispatcher.running)
    assert (await core.row(row.id)).state is State.SENT
    assert len(core.sandbox.vendors.ledger) == 1


@pytest.mark.parametrize("while_", ["is waiting", "it is prepared again"])
async def test_what_the_vendor_reports_as_delivered_is_not_sent_again_after_its_no(core: Core, while_: str) -> None:
    row, dispatcher = await core.approved(), core.dispatcher("a")
    core.sandbox.vendors.faults.add("encom.release", "error", status=429, body={})
    await core.run(dispatcher)
    report = [Receipt("22", DeliveryStatus.DELIVERED, "DLVRD", "+33600000001", True)]
    if while_ == "is waiting":
        await core.tracker().record("encom", report, (TEAM, row.id))
    core.now += 60 * SECOND
    core.sandbox.vendors.faults.add("encom.recipients", "slow", seconds=0.3)
    await dispatcher.tick()
    if while_ == "it is prepared again":
        await core.tracker().record("encom", report, (TEAM, row.id))
    await asyncio.gather(*dispatcher.running)
    held = await core.row(row.id)
    assert (held.state, held.hold) == (State.HELD, Hold.BLOCKED)
    assert core.sandbox.vendors.ledger == []

    core.now += 60 * SECOND  # a person checked with the vendor: it did not go out
    await core.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    await core.run(dispatcher)
    assert (await core.row(row.id)).state is State.SENT


async def test_a_pause_of_one_that_is_not_due_keeps_no_other_of_its_account_waiting(make_core: MakeCore) -> None:
    core = make_core(**{"approval.undo": "9m"})
    dispatcher, octo = core.dispatcher("a"), core.providers["octo"]
    stage = octo.stage

    async def throttled(*_: Any) -> Any:
        raise Throttled(300.0)

    octo.stage = throttled  # type: ignore[assignment, method-assign]
    pausing = await core.approved(audience="newsletter")
    await core.run(dispatcher)
    paused = await core.row(pausing.id)
    assert (paused.stage_at, paused.owner, paused.lease_until) == (core.now + 300 * SECOND, None, None)
    octo.stage = stage  # type: ignore[method-assign]
    due = await core.approved(audience="newsletter")
    await core.edit(due, due=core.now + 5 * SECOND, start_at=core.now + 5 * SECOND)
    core.now += 10 * SECOND
    await core.run(dispatcher)
    assert (await core.row(due.id)).state is State.SENT


LATE = {"state": State.SCHEDULED, "due": 1, "start_at": 1}
GOING = {"state": State.SENDING, "owner": "gone", "attempt": 1, "lease_until": 1, "due": 1, "start_at": 1}
MOVED: dict[str, tuple[dict[str, Any], State]] = {
    "late": (LATE, State.HELD),
    "held for an hour that has come": ({"state": State.HELD, "hold": Hold.HOURS, "hold_until": 1}, State.HELD),
    "left behind while it was prepared": ({**GOING, "phase": Phase.STAGING}, State.HELD),
    "left behind while it went out": ({**GOING, "phase": Phase.RELEASING}, State.UNKNOWN),
}


@asynccontextmanager
async def refusing(database: Database, row: Broadcast) -> AsyncIterator[None]:
    """Make the database refuse every change of this row."""
    words = f"ADD CONSTRAINT stuck CHECK (id <> '{row.id}') NOT VALID", "DROP CONSTRAINT stuck"
    here = [f"ALTER TABLE broadcasts {word}" for word in words]
    if isinstance(database, SQLite):
        when = f"BEFORE UPDATE ON broadcasts WHEN old.id = '{row.id}'"
        here = [f"CREATE TRIGGER stuck {when} BEGIN SELECT raise(ABORT, 'stuck'); END", "DROP TRIGGER stuck"]
    await database.write(lambda c: c.exec_driver_sql(here[0]))
    try:
        yield
    finally:
        await database.write(lambda c: c.exec_driver_sql(here[1]))


@pytest.mark.parametrize("what", MOVED)
async def test_a_row_that_cannot_be_moved_keeps_no_other_one_where_it_is(core: Core, what: str) -> None:
    stands, moves = MOVED[what]
    stuck, other = await core.ask(), await core.ask()
    for row in (stuck, other):
        await core.edit(row, **stands)
    dispatcher = core.dispatcher("a")
    async with refusing(core.database, stuck):
        for _ in range(2):
            await dispatcher.tick()
        assert (await core.row(stuck.id)).state is stands["state"]
        (trouble,) = core.database.failing_rows.all()
        assert (trouble.work, trouble.id, trouble.tries) == ("dispatch", stuck.id, 1)
    assert (await core.row(other.id)).state is moves
    later(core.database)
    await dispatcher.tick()
    await dispatcher.tick()
    assert (await core.row(stuck.id)).state is moves
    assert core.database.failing_rows.all() == []


async def test_what_lies_prepared_under_no_id_that_can_be_written_holds_up_nobody(core: Core) -> None:
    stuck, other = await core.ask(), await core.ask()
    for row in (stuck, other):
        await core.edit(row, **LATE)
    prepared = {"ready": True, "contacts": None, "cost": None, "currency": None}
    for id in ({"x": 1}, "\ud800"):
        await core.edit(stuck, staged={"id": id, **prepared})
        await core.dispatcher("a").tick()
    assert (await core.row(other.id)).state is State.HELD


@pytest.mark.parametrize(
    "odd",
    [
        {"approvers": "S0BOSSES"},
        {"subscribers": [5]},
        {"ids": {"22": 1}},
        {"staged": {"id": 7, "ready": True, "contacts": None, "cost": None, "currency": None}},
        {"staged": {"id": "7", "ready": True, "contacts": "5", "cost": None, "currency": None}},
    ],
)
async def test_a_row_of_other_types_than_are_written_here_is_left_alone(core: Core, odd: dict[str, Any]) -> None:
    row = await core.ask()
    await core.edit(row, **odd)
    with pytest.raises(NotUnderstood):
        await core.row(row.id)
