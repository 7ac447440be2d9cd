"""Leaves a vendor that cannot be reached alone for a while: one breaker for each account."""

from __future__ import annotations

from dataclasses import replace

import structlog
from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Micros, backoff
from bot.domain.i18n import Translatable
from bot.storage import broadcasts, keys, notes, sql
from bot.storage.database import CommitUncertain, DatabaseBusy
from bot.storage.notes import Note
from providers.base import ProviderError, Unavailable, Uncertain

log = structlog.get_logger(__name__)
BREAKER_FIRST, BREAKER_LONGEST = 30 * SECOND, 300 * SECOND


class HeldBack(Unavailable):
    """The bot itself stopped the release just before its first byte. The vendor had no part in it."""


#: Delays that we caused, not the vendor: they do not count as a try and do not open a breaker.
OURS = (HeldBack, DatabaseBusy, CommitUncertain)


class Breakers:
    """Which accounts may be tried now. Only errors of the vendor count."""

    def __init__(self, runtime: Runtime) -> None:
        self.providers, self.clock = runtime.providers, runtime.clock

    def within_reach(self, connection: Connection, row: Broadcast, now: Micros) -> bool:
        """Whether the account may be tried now. If not, postpone the broadcast and say so once.

        After several failures in a row nobody tries the account for a while, and then one of its broadcasts does.
        """
        breaker = keys.breaker(connection, row.account)
        if not breaker.has_tripped:
            return True
        if breaker.until <= now:
            keys.set_breaker(connection, row.account, replace(breaker, until=now + BREAKER_FIRST), now)
            return True
        broadcasts.touch(connection, row, now, due=max(breaker.until, row.due or 0))
        if keys.first_time(connection, row.workspace, keys.of_wait(row), now):
            vendor = self.providers[row.account].title
            sentence = Translatable(
                "{vendor} cannot be reached right now. Nothing was sent. The broadcast is waiting.", vendor=vendor
            )
            notes.add_notes(connection, row, now, [Note(sentence)])
        return False

    def count_failure(self, connection: Connection, row: Broadcast, error: Exception | None) -> None:
        """Update the account's breaker. Any clear answer closes it; errors that we caused do not change it."""
        if isinstance(error, OURS) or not isinstance(error, ProviderError | None):
            return
        sql.alone(connection, f"breaker:{row.account}")
        known, now = keys.breaker(connection, row.account), self.clock()
        if not isinstance(error, Unavailable | Uncertain):
            if known.failures:
                keys.set_breaker(connection, row.account, keys.Breaker(), now)
            return
        failures = known.failures + 1
        pause = backoff(failures - keys.BREAKER_FAILURES, BREAKER_FIRST, BREAKER_LONGEST)
        keys.set_breaker(connection, row.account, keys.Breaker(failures, now + pause), now)
        if failures == keys.BREAKER_FAILURES:
            log.error("an account's vendor cannot be reached", account=row.account)
