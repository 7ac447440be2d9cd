"""Rows of a newer version are left alone, and a pause stops the very next byte."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any, cast

import pytest
from sqlalchemy import Connection, func, select

from bot.domain.clock import SECOND
from bot.domain.lifecycle import Hold, State
from bot.scheduler import Task
from bot.sending.dispatcher import Dispatcher
from bot.storage import cards, tables
from bot.storage.database import CommitUncertain, Database, DatabaseBusy
from tests.support.core import CLEO, Core, MakeCore, gate


async def test_what_a_newer_version_wrote_is_left_alone_by_everything(make_core: MakeCore) -> None:
    core = make_core()
    rows = {state: await core.approved() for state in State}
    for state, row in rows.items():
        busy = state is State.SENDING
        lease = {"phase": "staging", "owner": "newer", "lease_until": 1} if busy else {}
        times = {"due": 1, "expires_at": 1, "look_at": 1, "hold_until": 1, "progress_at": 1}
        await core.edit(row, state=state, shape=tables.SHAPE + 1, **times, **lease)
    statement = tables.broadcasts.select().order_by(tables.broadcasts.c.id)
    before = await core.database.read(lambda c: c.execute(statement).all())
    said = await core.database.read(lambda c: c.execute(select(func.count()).select_from(tables.notes)).scalar_one())
    core.now += 30 * 24 * 3600 * SECOND
    await core.run(core.dispatcher("older"))
    await core.tracker().tick()
    await core.workflow.expire()
    await core.dispatcher("older").sizes.learn()
    assert await core.database.read(lambda c: c.execute(statement).all()) == before
    now = await core.database.read(lambda c: c.execute(select(func.count()).select_from(tables.notes)).scalar_one())
    assert (now, core.sandbox.vendors.ledger) == (said, [])


ADMIN = dataclasses.replace(CLEO, id="U0OPS")


class Broken:
    """A database that answers every write with this error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def write(self, *_: Any, **__: Any) -> Any:
        raise self.error


def heeding(make_core: MakeCore) -> tuple[Core, Dispatcher]:
    core = make_core(admins=["U0OPS"])
    dispatcher = core.dispatcher("a")
    core.workflow.pauses.switch = dispatcher.switch
    return core, dispatcher


async def press_in_vain(core: Core, error: Exception, *, on: bool) -> None:
    usual, core.workflow = core.workflow, core.workflow_over(cast(Database, Broken(error)))
    with pytest.raises(type(error)):
        await core.workflow.pause_all(ADMIN, on=on)
    core.workflow = usual


async def drawn_at(core: Core, at: int) -> int:
    """Return how many cards are to be drawn at this time."""
    asked = select(func.count()).where(tables.broadcasts.c.draw_at == at)
    return int(await core.database.read(lambda c: c.execute(asked).scalar_one()))


async def test_a_pause_is_drawn_on_thousands_of_cards_a_few_at_a_tick_whatever_breaks_meanwhile(
    make_core: MakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    core, dispatcher = heeding(make_core)
    for _ in range(5):
        await core.ask()
    await core.run(dispatcher)
    await core.workflow.pause_all(ADMIN, on=True)
    core.now += SECOND
    look_round = dispatcher.claims.claim_due_work

    def breaks(connection: Connection) -> Any:
        look_round(connection)
        raise RuntimeError("broken")

    dispatcher.claims.claim_due_work = breaks  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        await dispatcher.tick()
    dispatcher.claims.claim_due_work = look_round  # type: ignore[method-assign]
    monkeypatch.setattr(cards, "IN_A_STATEMENT", 2)
    found, woken = [], list[tuple[object, ...]]()
    dispatcher.wake = lambda *names: woken.append(names)
    for _ in range(4):
        await dispatcher.tick()
        found.append(await drawn_at(core, core.now))
    assert found == [2, 4, 5, 5]
    assert woken == [(Task.DISPATCH, Task.PAINT)] * 3  # for the next portion, and the painter
    assert dispatcher.switch.undrawn == {}


async def test_a_tick_wakes_the_painter_if_it_found_work_and_nobody_if_it_did_not(make_core: MakeCore) -> None:
    core, dispatcher = heeding(make_core)
    woken = list[tuple[object, ...]]()
    dispatcher.wake = lambda *names: woken.append(names)
    await dispatcher.tick()
    assert woken == []
    await core.approved()
    await dispatcher.tick()
    assert woken == [(Task.DISPATCH, Task.PAINT)]
    await asyncio.gather(*dispatcher.running)


async def test_a_tick_that_only_holds_wakes_the_painter(make_core: MakeCore) -> None:
    core = make_core()
    row = await core.approved()
    await core.workflow.pause_all(ADMIN, on=True)
    dispatcher, woken = core.dispatcher("b"), list[tuple[object, ...]]()
    dispatcher.wake = lambda *names: woken.append(names)
    await dispatcher.tick()
    assert (await core.row(row.id)).hold is Hold.PAUSED
    assert woken == [(Task.DISPATCH, Task.PAINT)] * 2  # for what it held, and for the cards of what waits


@pytest.mark.parametrize("error", [CommitUncertain(), DatabaseBusy("locked"), RuntimeError("broken")])
async def test_a_pause_that_was_not_stored_stops_nothing_for_longer_than_a_tick(
    make_core: MakeCore, error: Exception
) -> None:
    core, dispatcher = heeding(make_core)
    await press_in_vain(core, error, on=True)
    row = await core.approved()
    await core.run(dispatcher)
    core.now += 5 * SECOND
    await core.run(dispatcher)
    assert (await core.row(row.id)).state is State.SENT


async def test_while_a_pause_is_being_written_everybody_else_goes_on(make_core: MakeCore) -> None:
    core, dispatcher = heeding(make_core)
    dispatcher.switch.stop("T0ANOTHER")
    row = await core.approved()
    await core.run(dispatcher)
    assert (await core.row(row.id)).state is State.SENT


async def test_a_pause_that_is_ended_elsewhere_before_a_tick_read_it_is_over(make_core: MakeCore) -> None:
    core, dispatcher = heeding(make_core)
    await core.workflow.pause_all(ADMIN, on=True)
    core.workflow.pauses.switch = core.dispatcher("b").switch
    await core.workflow.pause_all(ADMIN, on=False)
    row = await core.approved()
    await core.run(dispatcher)
    assert (await core.row(row.id)).state is State.SENT


@pytest.mark.parametrize("on", [True, False])
async def test_a_stored_pause_holds_the_next_byte_whatever_becomes_of_a_second_press(
    make_core: MakeCore, on: bool
) -> None:
    core, dispatcher = heeding(make_core)
    await core.approved()
    reached, go = gate(core, release=True)
    await dispatcher.tick()
    await reached.wait()
    await core.workflow.pause_all(ADMIN, on=True)
    await dispatcher.tick()
    await press_in_vain(core, DatabaseBusy("locked"), on=on)
    go.set()
    await asyncio.gather(*dispatcher.running)
    assert core.sandbox.vendors.ledger == []
