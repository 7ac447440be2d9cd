"""Asks vendors for the sizes of audiences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Connection

from bot.config.accounts import Account
from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND
from bot.domain.price import price_of
from bot.scheduler import Lanes, Task
from bot.sending.release import EXPECTED
from bot.sending.slots import Slots
from bot.sending.staging import Stager
from bot.storage import queue
from bot.workflow.workflow import Workflow
from providers.base import Quote
from providers.reading import UNREADABLE

log = structlog.get_logger(__name__)
SIZE_AGAIN = 300 * SECOND
SLOT_AGAIN = 2 * SECOND  # an approver waits for the cost, and the slot is free again after seconds


class Sizes:
    """Asks vendors how large the audiences of new broadcasts are, so that approvers see it."""

    def __init__(self, runtime: Runtime, workflow: Workflow, stager: Stager, slots: Slots) -> None:
        self.database, self.settings, self.providers = runtime.database, runtime.settings, runtime.providers
        self.clock, self.workflow, self.stager = runtime.clock, workflow, stager
        self.slots, self.leases = slots, slots.leases
        self.lanes = Lanes(Task.SIZES)

    async def learn(self) -> None:
        """Ask vendors how large the audiences of new broadcasts are, so that approvers see it."""
        await self.begin()
        await self.lanes.settle()

    async def begin(self) -> None:
        """Start the same, each account on its own, so that a vendor that hangs delays no other account's sizes."""
        free = self._free_accounts()
        if not free or not await self.database.read(lambda c: queue.sizes_wait(c, self._open(c, free), self.clock())):
            return
        taken: defaultdict[str, list[Broadcast]] = defaultdict(list)
        for row in await self.database.write(partial(self._unsized, free=free)):
            taken[row.account].append(row)
        for account, rows in taken.items():
            self.lanes.start(account, partial(self._ask_sizes, rows))

    async def _ask_sizes(self, rows: Iterable[Broadcast]) -> None:
        for row in rows:
            try:
                await self._ask_size(row, self.providers[row.account])
            except Exception as error:  # whatever it is, the next sizes are still asked for
                if not isinstance(error, EXPECTED):
                    log.exception("asking for a size broke", broadcast=row.id)
                log.info("the vendor did not tell a size", broadcast=row.id, error=type(error).__name__)

    def _free_accounts(self) -> list[str]:
        """Return the accounts that tell sizes and are not being asked right now."""
        able, busy = {name: provider.capabilities for name, provider in self.providers.items()}, self.lanes.busy()
        return [name for name, can in able.items() if (can.sizes or can.quotes) and name not in busy]

    def _open(self, connection: Connection, free: Sequence[str]) -> list[str]:
        """Those that may be asked now: a quote is a campaign too, and takes the account's one slot."""
        quoting = {name for name in free if self.providers[name].capabilities.quotes}
        taken = self.slots.taken(connection, self.leases.now(connection)) if quoting else {}
        busy = {name for name in quoting if name in taken or self.slots.is_quoting(connection, name)}
        return [name for name in free if name not in busy]

    def _unsized(self, connection: Connection, free: Sequence[str]) -> list[Broadcast]:
        able = {name: provider.capabilities for name, provider in self.providers.items()}
        found = queue.unsized(connection, self._open(connection, free), self.clock())
        taken = self.slots.taken(connection, self.leases.now(connection))
        rows = [row for row in found if row.mode == self.settings.mode]
        asked = [row for row in rows if not able[row.account].quotes or self.slots.may_quote(connection, row, taken)]
        for row in rows:
            queue.set_look_at(connection, row, self.clock() + (SIZE_AGAIN if row in asked else SLOT_AGAIN))
        return asked

    async def _ask_size(self, row: Broadcast, provider: Account) -> None:
        """Ask for the size, for a quote, or for both where the vendor gives both."""
        can, more = provider.capabilities, dict[str, Any]()
        quote = await self._quote(row, provider) if can.quotes else None
        found = await provider.size(row.vendor_audience) if can.sizes else None
        size = _readable(found.size) if found is not None else None
        if size is None and quote is not None:
            size = _readable(quote.contacts)
        if found is not None:
            more["unnamed"] = found.unnamed
        if (price := price_of(quote)) not in (None, row.quoted):
            more["quoted"] = price
        if size is not None or "quoted" in more:
            await self.workflow.sizes.learn(row.workspace, row.id, size, version=row.version, **more)

    async def _quote(self, row: Broadcast, provider: Account) -> Quote | None:
        try:
            return await self.stager.quote(row, provider)
        finally:
            await self.database.write(lambda c: self.slots.take_quote(c, row.account, 0.0))


def _readable(size: int | None) -> int | None:
    return None if size == UNREADABLE else size
