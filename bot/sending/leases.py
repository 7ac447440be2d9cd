"""How long a broadcast belongs to the process that works on it."""

from __future__ import annotations

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.clock import SECOND, Micros

STAGING_DEADLINE = 300.0

LEASE_MARGIN = 20.0  # seconds by which a lease outlives the deadline of the work done under it


class Leases:
    """How long a broadcast stays with the process that works on it.

    `staging`: seconds that a claimed broadcast has to become ready for its release, before it is put back; `margin`:
    seconds by which a lease outlives the deadline of the work done under it.
    """

    def __init__(self, runtime: Runtime, *, staging: float = STAGING_DEADLINE, margin: float = LEASE_MARGIN) -> None:
        self.clock, self.lease_clock = runtime.clock, runtime.lease_clock
        self.staging, self.margin = staging, margin

    def now(self, connection: Connection) -> Micros:
        """Return the time that leases are judged by: the database's where several machines share it, else ours."""
        found = self.lease_clock(connection)
        return self.clock() if found is None else found

    def until(self, connection: Connection, deadline: float) -> Micros:
        return self.now(connection) + int((deadline + self.margin) * SECOND)
