"""Recovers the attempts that a dead process left."""

from __future__ import annotations

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Action, Phase
from bot.sending.setbacks import Setbacks, move_together
from bot.storage import campaigns, queue
from bot.storage.broadcast_rows import NO_LEASE, Changes
from bot.storage.broadcasts import Step


class Recovery:
    """Recovers the attempts whose lease has lapsed. `done`: the first round is over."""

    def __init__(self, runtime: Runtime, setbacks: Setbacks) -> None:
        self.database, self.clock, self.owner, self.setbacks = runtime.database, runtime.clock, runtime.owner, setbacks
        self.done = False

    def recover(self, connection: Connection, lease_now: Micros, working_on: list[str]) -> int:
        """Let what was being staged start over, and make what was being released unknown. Return how many changed.

        `working_on`: ids of what this process still works on.
        """
        now, freed = self.clock(), 0
        first = self.database.exclusive and not self.done  # any lease holder died before we began
        if first:
            freed = queue.free_staged_by_others(connection, self.owner)
            campaigns.hurry_leftovers(connection, now)
        rows = queue.abandoned(connection, self.owner, working_on, lease_at=lease_now, alone=first)
        return freed + move_together(connection, rows, self._ending)

    def _ending(self, row: Broadcast) -> Step:
        """Return the step that ends an attempt that nobody continues."""
        if row.phase is Phase.RELEASING:
            return self.setbacks.losing(row, Translatable("the bot stopped while the broadcast was going out."))
        back: Changes = {**NO_LEASE}  # `due` stays as it was: our clock may be behind the others'
        return Step(row, Action.PUT_BACK, "clock", self.clock(), "lapsed", changes=back)
