"""Pauses and resumes all sending, and stops releases at once, also when the process ends."""

from __future__ import annotations

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain import people
from bot.domain.errors import NotAllowed
from bot.domain.lifecycle import Hold
from bot.domain.people import Person
from bot.scheduler import Task
from bot.storage import audit, broadcasts, cards, keys
from bot.workflow.permissions import Permissions


class KillSwitch:
    """Which workspaces may release, as far as this process knows.

    `paused`: the paused workspaces when the database was last read. A pause that is being committed stops releases
    before the database shows it.
    """

    def __init__(self) -> None:
        self.paused: frozenset[str] = frozenset()
        self.undrawn: dict[str, str] = {}  # workspaces paused or resumed: up to which id their cards show it
        self.stopping = False  # this process is ending, and begins no more releases
        self._committing: dict[str, int | None] = {}  # None while committing, then the last tick begun before
        self._ticks = 0  # how many have begun

    def stop(self, workspace: str) -> None:
        """Stop releases for this workspace until the pause is committed and read back."""
        self._committing[workspace] = None

    def committed(self, workspace: str) -> None:
        """Record that the pause was committed or failed; the next tick to begin reads which."""
        if workspace in self._committing:
            self._committing[workspace] = self._ticks

    def begin_tick(self) -> int:
        """Return the number of the tick, for `end_tick`."""
        self._ticks += 1
        return self._ticks

    def end_tick(self, tick: int) -> None:
        """Forget the pauses that were committed before this tick began: it has read them."""
        self._committing = {name: last for name, last in self._committing.items() if last is None or last >= tick}

    def read(self, connection: Connection) -> None:
        before, self.paused = self.paused, keys.paused_workspaces(connection)
        self.undrawn |= dict.fromkeys(before ^ self.paused, "")

    def has_changed(self, connection: Connection) -> bool:
        """Whether anything was paused or resumed since the last `read`."""
        return keys.paused_workspaces(connection) != self.paused

    def blocks(self, workspace: str) -> bool:
        """Whether this workspace may release nothing right now."""
        return workspace in self.paused or workspace in self._committing


class Pauses:
    """Pauses and resumes all sending of a workspace."""

    def __init__(self, runtime: Runtime, permissions: Permissions, switch: KillSwitch) -> None:
        self.database, self.clock, self.wake = runtime.database, runtime.clock, runtime.wake
        self.admins, self.permissions, self.switch = runtime.settings.admins, permissions, switch

    async def pause_all(self, person: Person, *, on: bool) -> int:
        """Pause all sending of a workspace before the next byte, or resume it. Returns how many are held by the pause.

        Raises NotAllowed (audited) for anybody who is not an admin.
        """
        action = "pause_all" if on else "resume_all"
        if person.id not in self.admins:
            await self.permissions.audit_refusal(person, action, "not an admin")
            who = people.mentions(self.admins)
            raise NotAllowed("Only an admin can pause or resume all sending: {who}.", who=who)
        if on:
            self.switch.stop(person.workspace)  # the commit takes a moment, and the next byte may come first
        try:
            await self.database.write(lambda c: self._pause_all(c, person, action, on))
        finally:  # committed or not, the next tick reads it
            self.switch.committed(person.workspace)
        self.wake(Task.DISPATCH, Task.PAINT, Task.APPROVAL_REMINDERS)
        return await self.database.read(lambda c: broadcasts.count_held(c, person.workspace, Hold.PAUSED))

    def _pause_all(self, connection: Connection, person: Person, action: str, on: bool) -> None:
        now = self.clock()
        if not on and keys.paused(connection, person.workspace):
            cards.voice_held(connection, person.workspace, Hold.PAUSED, now)
        keys.set_paused(connection, person.workspace, person.id if on else None, now)
        audit.write_event(connection, person.workspace, person.id, action, None, now)
