"""What an account takes just now: breakers of vendors that cannot be reached, and its one open campaign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import structlog
from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Micros, backoff
from bot.domain.i18n import Translatable
from bot.sending.leases import STAGING_DEADLINE, Leases
from bot.storage import broadcasts, keys, notes, queue, sql
from bot.storage.database import CommitUncertain, DatabaseBusy
from bot.storage.notes import Note
from providers.base import ProviderError, Unavailable, Uncertain

log = structlog.get_logger(__name__)
BREAKER_FIRST, BREAKER_LONGEST = 30 * SECOND, 300 * SECOND


class HeldBack(Unavailable):
    """We did not let it go ourselves, just before its first byte. The vendor has no part in it."""


#: What held a send up was ours, not the vendor's: it counts as no try and opens no breaker.
OURS = (HeldBack, DatabaseBusy, CommitUncertain)


class AccountLimits:
    """What an account's vendor takes just now: nothing while it cannot be reached, and one prepared campaign at a time.

    `preparing`: the accounts whose vendor prepares a campaign before it is released.
    """

    def __init__(self, runtime: Runtime, leases: Leases) -> None:
        self.database, self.providers, self.clock = runtime.database, runtime.providers, runtime.clock
        self.owner, self.leases = runtime.owner, leases
        self.preparing = [name for name, account in runtime.providers.items() if account.capabilities.two_step]

    def within_reach(self, connection: Connection, row: Broadcast, now: Micros) -> bool:
        """After some failures in a row nobody tries an account for a while, and then one of its broadcasts does."""
        breaker = keys.breaker(connection, row.account)
        if not breaker.has_tripped:
            return True
        if breaker.until <= now:
            keys.set_breaker(connection, row.account, replace(breaker, until=now + BREAKER_FIRST), now)
            return True
        broadcasts.touch(connection, row, now, due=max(breaker.until, row.due or 0))
        if keys.first_time(connection, row.workspace, keys.of_wait(row), now):
            vendor = self.providers[row.account].title
            told = Translatable(
                "{vendor} cannot be reached right now. Nothing was sent. The broadcast is waiting.", vendor=vendor
            )
            notes.say(connection, row, now, [Note(told)])
        return False

    def count_failure(self, connection: Connection, row: Broadcast, error: Exception | None) -> None:
        """A clear answer of any kind closes the breaker of its account; what was our own doing says nothing of it."""
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

    def slots(self, connection: Connection, lease_now: Micros) -> dict[str, str]:
        return queue.slots(connection, self.preparing, lease_now)

    def has_slot(self, connection: Connection, row: Broadcast) -> bool:
        """A vendor with two steps has one campaign open per account at a time; the others queue by their time."""
        if row.account not in self.preparing:
            return True
        sql.alone(connection, f"account:{row.account}")
        if self.is_quoting(connection, row.account):
            return False
        return self.slots(connection, self.leases.now(connection)).get(row.account, row.id) == row.id

    def may_quote(self, connection: Connection, row: Broadcast, taken: Mapping[str, str]) -> bool:
        sql.alone(connection, f"account:{row.account}")
        if row.account in taken or self.is_quoting(connection, row.account):
            return False
        return self.take_quote(connection, row.account, STAGING_DEADLINE)

    def take_quote(self, connection: Connection, account: str, seconds: float) -> bool:
        """A quote takes the account's one place until it is done, or at the latest until then. 0: it is done."""
        return keys.take_lease(
            connection, keys.lease_of_quote(account), self.owner, seconds, self.leases.now(connection)
        )

    def is_quoting(self, connection: Connection, account: str) -> bool:
        """Does anybody ask for a quote there? Where only one process dispatches, another one is a dead one."""
        holder = keys.lease_holder(connection, keys.lease_of_quote(account), self.leases.now(connection))
        return holder is not None and (holder == self.owner or not self.database.exclusive)
