"""Seals what was written to the audit, a moment after it was committed."""

from __future__ import annotations

from functools import partial

import structlog

from bot.config.runtime import Runtime
from bot.domain.clock import SECOND
from bot.storage import audit_chain

log = structlog.get_logger(__name__)

SLICES = 20  # transactions in one tick
DAY = 24 * 3600 * SECOND


class AuditSeals:
    """Adds to the chain of the audit. Whatever one process leaves, this or another one finds at its next tick."""

    def __init__(self, runtime: Runtime) -> None:
        self.database, self.clock = runtime.database, runtime.clock
        self._after = 0  # every row up to here had its seal
        self._noted = 0

    async def tick(self) -> None:
        if not await self.database.read(partial(audit_chain.some_unsealed, after=self._after)):
            return
        after: int | None = self._after
        for _ in range(SLICES):
            after = await self.database.write(partial(audit_chain.seal_more, after=after or 0))
            if after is None:
                await self._all_sealed()
                return

    async def _all_sealed(self) -> None:
        """Go on from here; and once a day, leave the newest hashes in the log, out of reach of the database."""
        self._after = await self.database.read(audit_chain.sealed_up_to)
        today = self.clock() // DAY
        if today == self._noted:
            return
        self._noted = today
        for workspace, head in (await self.database.read(audit_chain.heads)).items():
            log.info("the audit is sealed", workspace=workspace, row=head.place, hash=head.hash)
