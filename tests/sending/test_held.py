"""What becomes of a held broadcast, and who may pause and resume all sending."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any, cast

import pytest

from bot.domain.clock import SECOND
from bot.domain.errors import NotAllowed
from bot.domain.lifecycle import Hold, State
from bot.sending.dispatcher import Dispatcher
from bot.storage import audit
from bot.storage.database import Database
from bot.storage.keys import stops
from bot.workflow.decision_types import Approve, SendNow
from bot.workflow.kill_switch import KillSwitch
from tests.support.core import APPROVERS, CLEO, TEAM, Core, MakeCore, approver
from tests.support.patience import LONG


async def test_what_is_held_and_nobody_decides_about_ends(core: Core) -> None:
    row = await core.approved()
    core.now += 601 * SECOND
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).state is State.HELD
    core.now += 25 * 3600 * SECOND
    await core.workflow.expire()
    assert (await core.row(row.id)).state is State.EXPIRED
    assert core.sandbox.vendors.ledger == []


async def test_a_held_one_whose_approver_has_left_needs_another(core: Core) -> None:
    row = await core.approved()
    core.now += 601 * SECOND
    await core.run(core.dispatcher("a"))
    core.gone = {APPROVERS[0]}
    await core.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).state is State.PENDING
    assert core.sandbox.vendors.ledger == []
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(1), version=1)
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).state is State.SENT


async def test_only_an_admin_pauses_everything_and_it_holds_until_somebody_says_more(make_core: MakeCore) -> None:
    core = make_core(admins=["U0OPS"])
    ops = dataclasses.replace(CLEO, id="U0OPS")
    with pytest.raises(NotAllowed):
        await core.workflow.pause_all(CLEO, on=True)
    row = await core.approved()
    assert await core.workflow.pause_all(ops, on=True) == 0
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).hold is Hold.PAUSED
    assert (await core.database.read(lambda c: stops(c, core.now))).paused == {TEAM}
    assert await core.workflow.pause_all(ops, on=False) == 1
    await core.run(core.dispatcher("a"))
    assert core.sandbox.vendors.ledger == []  # only a hold for the sending hours ends by itself
    await core.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    await core.run(core.dispatcher("a"))
    assert len(core.sandbox.vendors.ledger) == 1
    told = await core.database.read(lambda c: [(step["actor"], step["action"]) for step in audit.audit_since(c, 0)])
    assert {("U0CLEO", "pause_all_refused"), ("U0OPS", "pause_all"), ("U0OPS", "resume_all")} <= set(told)


class _Shared:
    """Presents any database as one that several machines share."""

    exclusive = False

    def __init__(self, database: Database) -> None:
        self._database = database

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)


async def test_leases_are_judged_by_the_databases_clock(make_core: MakeCore, database: Database) -> None:
    """A machine whose clock runs ninety seconds ahead takes nothing away from one that is working."""
    core = make_core()
    row = await core.approved()
    shared = cast(Database, _Shared(database))
    runtime = dataclasses.replace(core.runtime, database=shared, owner="ahead", clock=lambda: core.now + 400 * SECOND)
    first, ahead = core.dispatcher("first"), Dispatcher(runtime, core.workflow, KillSwitch())
    _, (claimed,) = await database.write(first.claims.claim_due_work)
    await ahead.tick()
    assert (await core.row(row.id)).owner == "first"
    await first.releaser.send(claimed)
    assert len(core.sandbox.vendors.ledger) == 1


async def test_another_process_hears_that_something_changed(second: Database, core: Core) -> None:
    if core.database.exclusive:
        pytest.skip("on SQLite there is nobody else")
    heard = asyncio.Event()
    await second.listen(heard.set)
    async with asyncio.timeout(LONG):
        await heard.wait()  # connecting counts as a hint
        heard.clear()
        await core.database.notify_peers()
        await heard.wait()
