"""Pauses and resumes all sending of a workspace."""

from __future__ import annotations

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain import people
from bot.domain.errors import NotAllowed
from bot.domain.lifecycle import Hold
from bot.domain.people import Person
from bot.scheduler import Task
from bot.storage import audit, broadcasts, cards, keys
from bot.workflow.kill_switch import KillSwitch
from bot.workflow.permissions import Permissions


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
        self.wake(Task.DISPATCH, Task.PAINT, Task.VOICES)
        return await self.database.read(lambda c: broadcasts.count_held(c, person.workspace, Hold.PAUSED))

    def _pause_all(self, connection: Connection, person: Person, action: str, on: bool) -> None:
        now = self.clock()
        if not on and keys.paused(connection, person.workspace):
            cards.voice_held(connection, person.workspace, Hold.PAUSED, now)
        keys.set_paused(connection, person.workspace, person.id if on else None, now)
        audit.write_event(connection, person.workspace, person.id, action, None, now)
