"""Many broadcasts of one account delay no other account."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection

from bot.domain.clock import SECOND
from bot.domain.lifecycle import Hold, State
from bot.sending.claims import ACCOUNT_AT_ONCE
from bot.storage import tables
from tests.support.core import Core, MakeCore
from tests.support.far import NEVER
from tests.support.patience import within


async def flood(core: Core, number: int) -> None:
    """Add so many due broadcasts, copies of an approved one."""
    like = await core.approved()

    def copy(connection: Connection) -> None:
        b, v = tables.broadcasts, tables.votes
        (row,) = connection.execute(b.select().where(b.c.id == like.id)).mappings()
        (vote,) = connection.execute(v.select().where(v.c.broadcast == like.id)).mappings()
        ids = [f"BF{count:06}" for count in range(number)]
        connection.execute(b.insert(), [{**row, "id": id, "key": id, "due": row["due"] - 1} for id in ids])
        connection.execute(v.insert(), [{**vote, "broadcast": id} for id in ids])

    await core.database.write(copy, patience=None)


async def test_a_flood_of_one_account_delays_no_other_account(make_core: MakeCore) -> None:
    core = make_core(hourly_cap=5000)
    core.sandbox.vendors.faults.add("encom.release", "slow", times=NEVER, seconds=1)
    await flood(core, 1000)
    last = await core.approved(audience="staff")
    dispatcher = core.dispatcher("a")
    async with within(2):
        await dispatcher.tick()
    accounts = [work.account for work in dispatcher.claims.under_way.values()]
    assert (accounts.count("encom"), accounts.count("kaizala")) == (ACCOUNT_AT_ONCE, 1)
    await core.becomes(last, State.SENT)
    await dispatcher.tick()
    assert len([work for work in dispatcher.claims.under_way.values() if work.account == "encom"]) <= ACCOUNT_AT_ONCE
    core.sandbox.vendors.faults.clear()
    await dispatcher.stop(10)


async def test_what_a_process_claims_while_it_is_told_to_stop_the_next_one_sends_at_once(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, stopping, write = await core.approved(), core.dispatcher("stopping"), core.database.write

    async def told_meanwhile(work: Any, **given: Any) -> Any:
        written = await write(work, **given)
        stopping.switch.stopping = True
        return written

    monkeypatch.setattr(core.database, "write", told_meanwhile)
    await stopping.tick()
    back = await core.row(row.id)
    assert (back.state, back.tries, back.owner, stopping.running) == (State.SCHEDULED, 0, None, set())
    assert (await core.actions(row))[-2:] == ["start", "put_back"]
    monkeypatch.undo()
    await core.run(core.dispatcher("next"))
    assert (await core.row(row.id)).state is State.SENT
    assert len(core.sandbox.vendors.ledger) == 1


@pytest.mark.long
async def test_as_soon_as_one_is_done_the_next_of_its_account_may_start(make_core: MakeCore) -> None:
    core = make_core(hourly_cap=5000)
    dispatcher, woken = core.dispatcher("a"), asyncio.Event()
    dispatcher.wake = lambda *_: woken.set()
    await flood(core, 3 * ACCOUNT_AT_ONCE - 1)
    for _ in range(200):
        woken.clear()
        await dispatcher.tick()
        if not dispatcher.running:
            break
        await woken.wait()
    assert len(core.sandbox.vendors.ledger) == 3 * ACCOUNT_AT_ONCE


async def test_what_belongs_to_an_account_that_the_settings_lack_waits_and_then_asks(make_core: MakeCore) -> None:
    core = make_core()
    row, other = await core.approved(), await core.approved()
    await core.edit(row, account="elsewhere")
    dispatcher = core.dispatcher("a")
    await core.run(dispatcher)
    assert ((await core.row(row.id)).state, (await core.row(other.id)).state) == (State.SCHEDULED, State.SENT)
    core.now += 601 * SECOND
    await core.run(dispatcher)
    held = await core.row(row.id)
    assert (held.state, held.hold) == (State.HELD, Hold.LATE)


async def test_a_policy_that_the_settings_lack_holds_one_and_not_the_others(make_core: MakeCore) -> None:
    core = make_core()
    row, other = await core.approved(), await core.approved()
    await core.edit(row, policy="gone")
    await core.run(core.dispatcher("a"))
    assert ((await core.row(row.id)).hold, (await core.row(other.id)).state) == (Hold.BLOCKED, State.SENT)
