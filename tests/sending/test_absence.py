"""After an absence the first tick settles everything: what a dead process left, and what became due meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from benchmarks import rows
from benchmarks.ground import Core
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND
from bot.domain.lifecycle import Phase, State
from bot.sending.claims import CLAIM_AT_ONCE
from bot.storage import queue
from bot.storage.database import Database
from bot.storage.tables import audit, broadcasts
from providers.base import Purpose

AT = 1_800_000_000 * SECOND
HOUR = 3600 * SECOND
MANY = 230  # more than two transactions take


def left_behind(connection: Connection) -> None:
    gone = {"state": State.SENDING, "owner": "gone", "attempt": 1, "due": AT, "lease_until": SECOND}
    later = {"due": AT + HOUR, "start_at": AT + HOUR}
    kinds: list[dict[str, Any]] = [
        {**gone, "phase": Phase.RELEASING},
        {**gone, "phase": Phase.STAGING},
        {"due": AT - HOUR, "start_at": AT - HOUR},  # became due while nothing was running
        later,
    ]
    for number, fields in enumerate(kinds):
        rows.fill(
            connection, rows.sample(AT, quorum=0, purpose=Purpose.TRANSACTIONAL, **fields), number * MANY + 1, MANY
        )


async def states(database: Database) -> Counter[str]:
    statement = select(broadcasts.c.state, func.count().label("number")).group_by(broadcasts.c.state)
    found = await database.read(lambda c: c.execute(statement).all())
    return Counter({row.state: row.number for row in found})


@pytest.mark.long
async def test_one_tick_settles_everything_that_waited_through_an_absence(database: Database) -> None:
    await database.write(left_behind, patience=None)
    core = Core(database, clock=lambda: AT)
    await core.dispatcher.tick()
    await core.close()
    found = await states(database)
    assert (found[State.UNKNOWN], found[State.HELD]) == (MANY, MANY)
    assert found[State.SENDING] == 0
    assert found[State.SCHEDULED] == 2 * MANY  # the vendor is away, so what starts over waits as well
    done = await database.read(
        lambda c: Counter(c.execute(select(audit.c.action).where(audit.c.actor == "dispatcher")).scalars())
    )
    assert done["hold"] == MANY


@pytest.mark.long
async def test_no_transaction_takes_many_rows(database: Database) -> None:
    """Commands can commit in between, while thousands of rows are settled."""
    await database.write(left_behind, patience=None)
    core = Core(database, clock=lambda: AT)
    sizes: list[int] = []
    look_round = core.dispatcher.claims.claim_due_work

    def measured(connection: Connection) -> tuple[int, list[Broadcast]]:
        changed, claimed = look_round(connection)
        sizes.append(changed + len(claimed))
        return changed, claimed

    core.dispatcher.claims.claim_due_work = measured  # type: ignore[method-assign]
    await core.dispatcher.tick()
    await asyncio.gather(*core.dispatcher.running)
    await core.close()
    assert sum(sizes) > 3 * MANY
    assert max(sizes) <= 2 * queue.AT_ONCE + 2 * CLAIM_AT_ONCE
