"""Prepares at the vendor, where a vendor has something to prepare: sizes, campaigns, the one slot of an account.

Everything here is safe to repeat, and nothing here makes a phone ring.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Connection

from bot import store
from bot.broadcast import SECOND, Action, Broadcast, Clock, Sentence, micros
from bot.database import Database
from bot.settings import Settings
from bot.store import NO_LEASE, Leftover, Note
from providers.base import NotReady, Provider, ProviderError, Refused, Staged

log = structlog.get_logger(__name__)

STAGING_DEADLINE = 300.0
STAGING_PAUSES = (0.5, 1, 2, 4, 8, 15)
RECALL_TRIES = 20
LONGEST_PAUSE = 300 * SECOND


class Overtaken(Exception):
    """Somebody else moved this row meanwhile; what was being done with it no longer counts."""


class Stager:
    """Brings a broadcast that this process has leased to the point where only the release is missing."""

    def __init__(self, database: Database, settings: Settings, providers: dict[str, Provider], clock: Clock) -> None:
        self.database, self.settings, self.providers, self.clock = database, settings, providers, clock

    async def prepare(self, row: Broadcast) -> Broadcast | None:
        """The row as it stands once everything is ready; None when it went back to the approvers, being larger than
        what they saw. Raises a ProviderError, or Overtaken."""
        provider = self.providers[row.account]
        if provider.capabilities.sizes:
            found = await provider.size(row.vendor_audience)
            if found is not None and found.size is not None and _outgrown(row, found.size):
                await self._outgrow(row, found.size)
                return None
        return await self._stage(row, provider) if provider.capabilities.two_step else row

    async def _stage(self, row: Broadcast, provider: Provider) -> Broadcast | None:
        deadline = time.monotonic() + STAGING_DEADLINE
        for pause in (*STAGING_PAUSES, *[STAGING_PAUSES[-1]] * 1000):
            staged = await self._stage_once(provider, row)
            if staged is not None:
                row = await self._keep(row, staged, provider)
                if staged.contacts is not None and _outgrown(row, staged.contacts):
                    await self._outgrow(row, staged.contacts)
                    return None
            if staged is None or staged.ready:
                return row
            if time.monotonic() + pause > deadline:
                raise Refused("The vendor did not finish preparing it in time. Nothing was sent.")
            await asyncio.sleep(pause)
        return row

    async def _stage_once(self, provider: Provider, row: Broadcast) -> Staged | None:
        try:
            return await provider.stage(row.message(), row.staged)
        except NotReady:
            if row.staged is None:
                raise
            return Staged(row.staged.id, ready=False)

    async def _keep(self, row: Broadcast, staged: Staged, provider: Provider) -> Broadcast:
        def keep(connection: Connection) -> Broadcast | None:
            store.own_ids(connection, row, [staged.id])
            kept = store.touch(connection, row, self.clock(), staged=staged, size=staged.contacts or row.size)
            if kept is None:  # stopped meanwhile: what was made at the vendor must not stay open there
                store.leave_over(connection, row, staged, self.clock())
            return kept

        kept = await self.database.write(keep)
        if kept is None:
            raise Overtaken(row.id)
        return kept

    async def _outgrow(self, row: Broadcast, size: int) -> None:
        """More people than were approved: back to the approvers, with the size that it has now."""
        values = {"size": size, "bound": row.bound or 0}
        said = Note(Sentence("It would reach {size} people, more than the {bound} that were approved.", values))
        await self.database.write(lambda c: self.ask_again(c, row, said, size=size, bound=size))

    def ask_again(self, connection: Connection, row: Broadcast, said: Note, **changes: Any) -> None:
        """Back to the approvers: what they said no longer counts."""
        now = self.clock()
        changes |= {"expires_at": now + micros(self.settings.approval.expires_after), "due": None, **NO_LEASE}
        quorum = max(row.quorum, 1)
        store.drop_votes(connection, row)
        store.move(connection, row, Action.OUTGROW, actor="dispatcher", at=now, said=[said], quorum=quorum, **changes)

    # --- what is left at the vendor ----------------------------------------------------------------------------------

    async def recall_leftovers(self) -> None:
        """Throw away at the vendor what was prepared there and will not be sent: it stands in the way of others."""
        for left in await self.database.write(self._take_leftovers):
            try:
                await self.providers[left.account].recall(left.staged)
            except ProviderError as error:
                log.warning("a prepared campaign could not be recalled yet", broadcast=left.broadcast, error=str(error))
                continue
            await self.database.write(partial(store.forget_leftover, left=left))

    def _take_leftovers(self, connection: Connection) -> list[Leftover]:
        """Each put off first, so that a process that dies over it, or another one, tries again later."""
        now, known = self.clock(), []
        for left in store.leftovers_to_recall(connection, now):
            pause = min(5 * SECOND * 2**left.tries, LONGEST_PAUSE)
            store.put_off_leftover(connection, left, None if left.tries >= RECALL_TRIES else now + pause)
            if left.account in self.providers:
                known.append(left)
        return known


def _outgrown(row: Broadcast, size: int) -> bool:
    return row.bound is not None and size > row.bound
