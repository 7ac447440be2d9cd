"""The one slot of each account: a prepared campaign, or a quote under way."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.sending.leases import STAGING_DEADLINE, Leases
from bot.storage import keys, queue, sql


class Slots:
    """Which account is free to prepare a campaign or ask for a quote: one at a time.

    `preparing`: the accounts whose vendor prepares a campaign before it is released.
    """

    def __init__(self, runtime: Runtime, leases: Leases) -> None:
        self.database, self.owner, self.leases = runtime.database, runtime.owner, leases
        self.preparing = [name for name, account in runtime.providers.items() if account.capabilities.two_step]

    def taken(self, connection: Connection, lease_now: Micros) -> dict[str, str]:
        """Return the broadcast that has each account's slot."""
        return queue.slots(connection, self.preparing, lease_now)

    def has_slot(self, connection: Connection, row: Broadcast) -> bool:
        """Whether it has the slot: a two-step vendor has one open campaign per account; the others queue by time."""
        if row.account not in self.preparing:
            return True
        sql.alone(connection, f"account:{row.account}")
        if self.is_quoting(connection, row.account):
            return False
        return self.taken(connection, self.leases.now(connection)).get(row.account, row.id) == row.id

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
