"""What an account can take now: breakers of vendors that cannot be reached, and its one open campaign."""

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
    """The bot itself stopped the release just before its first byte. The vendor had no part in it."""


#: Delays that we caused, not the vendor: they do not count as a try and do not open a breaker.
OURS = (HeldBack, DatabaseBusy, CommitUncertain)


class AccountLimits:
    """What an account's vendor can take now: nothing while it cannot be reached, and one prepared campaign at a time.

    `preparing`: the accounts whose vendor prepares a campaign before it is released.
    """

    def __init__(self, runtime: Runtime, leases: Leases) -> None:
        self.database, self.providers, self.clock = runtime.database, runtime.providers, runtime.clock
        self.owner, self.leases = runtime.owner, leases
        self.preparing = [name for name, account in runtime.providers.items() if account.capabilities.two_step]

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
            told = Translatable(
                "{vendor} cannot be reached right now. Nothing was sent. The broadcast is waiting.", vendor=vendor
            )
            notes.say(connection, row, now, [Note(told)])
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

    def slots(self, connection: Connection, lease_now: Micros) -> dict[str, str]:
        return queue.slots(connection, self.preparing, lease_now)

    def has_slot(self, connection: Connection, row: Broadcast) -> bool:
        """Whether it has the slot: a two-step vendor has one open campaign per account; the others queue by time."""
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
        """Take the account's one slot for a quote, for at most `seconds`. 0 frees it."""
        return keys.take_lease(
            connection, keys.lease_of_quote(account), self.owner, seconds, self.leases.now(connection)
        )

    def is_quoting(self, connection: Connection, account: str) -> bool:
        """Whether a quote is under way there. Where only one process dispatches, another holder is a dead process."""
        holder = keys.lease_holder(connection, keys.lease_of_quote(account), self.leases.now(connection))
        return holder is not None and (holder == self.owner or not self.database.exclusive)
