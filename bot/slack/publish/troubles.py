"""Tells admins about rows that cannot be processed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.clock import SECOND
from bot.domain.i18n import Translatable
from bot.storage import outbox
from bot.storage.failing_rows import FailingRow

DAY = 24 * 3600 * SECOND
POSTED_ONE_BY_ONE = 10  # failing rows of one kind of work that admins hear of; beyond these they hear the number


class Troubles:
    """Tells the admins of a workspace about its failing rows. `ours`: which workspace that is."""

    def __init__(self, runtime: Runtime, ours: Callable[[], str]) -> None:
        self.database, self.clock, self.admins, self.ours = (
            runtime.database,
            runtime.clock,
            runtime.settings.admins,
            ours,
        )

    async def tick(self) -> None:
        """Tell admins once a day about each row that cannot be processed, or how many there are."""
        failing_rows = self.database.failing_rows.all()
        if failing_rows and self.admins:
            await self.database.write(partial(self._post, failing_rows=failing_rows))

    def _post(self, connection: Connection, failing_rows: list[FailingRow]) -> None:
        now, several = self.clock(), Counter[str]()
        for failing in failing_rows:
            several[failing.work] += 1
            if several[failing.work] > POSTED_ONE_BY_ONE:
                continue
            template = (
                "I cannot process {work} *{id}* ({error}). I will keep retrying it, less and less often. Everything "
                "else continues. The log has the details."
            )
            sentence = Translatable(template, work=failing.work, id=failing.id, error=failing.error)
            for admin in self.admins:
                key = f"trouble:{failing.work}:{failing.id}:{now // DAY}:{admin}"[:255]
                outbox.post(connection, failing.workspace or self.ours(), key, admin, sentence, None, now)
        if max(several.values()) > POSTED_ONE_BY_ONE:
            template = "I cannot process {count} rows in total. The log names each one."
            sentence = Translatable(template, count=len(failing_rows))
            for admin in self.admins:
                key = f"trouble:more:{now // DAY}:{admin}"
                outbox.post(connection, self.ours(), key, admin, sentence, None, now)
