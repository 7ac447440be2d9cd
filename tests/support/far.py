"""A core whose database is far away, behind a connection that can be cut."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import select

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND
from bot.domain.lifecycle import State
from bot.sending.dispatcher import Dispatcher
from bot.storage import tables
from bot.storage.database import CommitUncertain, DatabaseBusy
from bot.storage.postgres import Postgres
from tests.support.core import Core
from tests.support.patience import until
from tests.support.proxy import Proxy

NEVER = 10**6
SHORT = 0.2  # seconds given to what must not happen; the tests wait for what must


class Far:
    """A dispatcher whose connection to PostgreSQL can be cut; everybody else connects directly."""

    def __init__(self, core: Core, distant: Postgres, proxy: Proxy) -> None:
        self.core, self.distant, self.proxy = core, distant, proxy
        self.dispatcher = core.dispatcher("far", distant)
        self.near = core.dispatcher("near")
        self.answers = asyncio.Event()

    @property
    def ledger(self) -> int:
        return len(self.core.sandbox.vendors.ledger)

    async def releasing(self) -> tuple[Broadcast, asyncio.Future[Any]]:
        """Start a send and wait until its request reaches the vendor, which answers once `answers` is set.

        Returns the row and a future of the end of the send.
        """
        self.core.sandbox.vendors.faults.add("encom.release", "slow", until=self.answers)
        row = await self.core.approved()
        await self.dispatcher.tick()
        ending = asyncio.gather(*self.dispatcher.running)
        await until(lambda: any(seen.method == "POST" for seen in self.core.sandbox.vendors.office.requests))
        return row, ending

    async def answered(self) -> None:
        """Let the vendor answer, and give this process time to receive the answer."""
        self.answers.set()
        await until(lambda: self.ledger or self.core.sandbox.vendors.encom.token == "another")
        await asyncio.sleep(SHORT)

    async def given_up(self, row: Broadcast) -> None:
        """Cut the connection, let the lease lapse, and let another process find the broadcast."""
        await self.proxy.shut()
        self.core.now += 60 * SECOND
        await self.near.tick()
        assert (await self.core.row(row.id)).state is State.UNKNOWN

    async def told(self, row: Broadcast) -> list[str]:
        """Return the sentences of its thread's notes."""
        where = tables.notes.c.broadcast == row.id
        statement = select(tables.notes.c.sentence).where(where).order_by(tables.notes.c.seq)
        found = await self.core.database.read(lambda c: c.execute(statement).scalars().all())
        return [str(sentence["template"]) for sentence in found]

    async def settled(self) -> None:
        """Tick until nothing is under way, however long the database takes."""
        for _ in range(3):
            try:
                await self.dispatcher.tick()
            except (DatabaseBusy, CommitUncertain):
                continue
            await asyncio.gather(*self.dispatcher.running)


def woken(dispatcher: Dispatcher) -> list[str]:
    tasks: list[str] = []
    dispatcher.wake = dispatcher.releaser.wake = lambda *names: tasks.extend(names)
    return tasks
