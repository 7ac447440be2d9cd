"""Schedules as people see and change them."""

from __future__ import annotations

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.errors import NotAllowed
from bot.domain.people import Directory, Person, mentions, must_be_member
from bot.domain.schedule import Ended, Kind, Schedule, ScheduleState, micros_of, name_of
from bot.recurring.notices import write_schedule_audit
from bot.scheduler import Task
from bot.storage import schedules
from bot.storage.schedules import ScheduleChanges
from bot.workflow import requirements


class Moved(Exception):
    """The schedule, or the turn, has moved on since the person last saw it."""


class Schedules:
    """Shows schedules, and pauses, resumes or stops them."""

    def __init__(self, runtime: Runtime, people: Directory) -> None:
        self.database, self.clock, self.wake = runtime.database, runtime.clock, runtime.wake
        self.settings, self.people = runtime.settings, people

    async def find(self, workspace: str, id: str) -> Schedule:
        """Raises NotFound."""
        return await self.database.read(lambda c: schedules.find(c, workspace, id.upper()))

    async def listed(self, workspace: str, kind: Kind) -> list[Schedule]:
        """All that have not ended, the next one first."""
        return await self.database.read(lambda c: schedules.listed(c, workspace, kind))

    async def made(self, schedule: Schedule) -> list[Broadcast]:
        """The turns that were made already and have not ended: no pause, and no end, of the schedule stops them."""
        return await self.database.read(lambda c: schedules.living(c, schedule))

    async def pause(self, schedule: Schedule, person: Person, until: Micros | None) -> Schedule:
        """No turns until somebody resumes it, or until that instant, and none that was snoozed. Raises NotAllowed or
        Moved."""
        changes: ScheduleChanges = {"state": ScheduleState.PAUSED, "paused_until": until}
        return await self._change(schedule, person, "pause", {ScheduleState.ACTIVE, ScheduleState.PAUSED}, changes)

    async def resume(self, schedule: Schedule, person: Person) -> Schedule:
        """Go on with the next turn from now. Raises NotAllowed or Moved."""
        changes = self.resumed(schedule, self.clock() + 1)
        return await self._change(schedule, person, "resume", {ScheduleState.PAUSED}, changes)

    async def stop(self, schedule: Schedule, person: Person) -> Schedule:
        """End it. Turns that were made already go their own way. Raises NotAllowed or Moved."""
        changes: ScheduleChanges = {
            "state": ScheduleState.ENDED,
            "ended": Ended.STOPPED,
            "next_at": None,
            "paused_until": None,
        }
        return await self._change(schedule, person, "stop", {ScheduleState.ACTIVE, ScheduleState.PAUSED}, changes)

    def resumed(self, schedule: Schedule, since: Micros) -> ScheduleChanges:
        """On with the first turn at this instant or later, but with none that was made already."""
        woken: ScheduleChanges = {"state": ScheduleState.ACTIVE, "paused_until": None}
        if (schedule.next_at or 0) >= since:
            return woken
        turn = next(schedule.after(since - 1), None)
        if turn is None:
            return {"state": ScheduleState.ENDED, "ended": Ended.FINISHED, "next_at": None, "paused_until": None}
        return woken | {"next_at": micros_of(turn.instant), "next_local": name_of(turn)}

    async def _change(
        self, schedule: Schedule, person: Person, action: str, allowed: set[ScheduleState], changes: ScheduleChanges
    ) -> Schedule:
        await self._may_change(schedule, person)
        if schedule.state not in allowed:
            raise Moved
        changed = await self.database.write(lambda c: self.write_change(c, schedule, person.id, action, changes))
        if changed is None:
            raise Moved
        self.wake(Task.REMIND, Task.NOTICES)
        return changed

    def write_change(
        self, connection: Connection, schedule: Schedule, actor: str, action: str, changes: ScheduleChanges
    ) -> Schedule | None:
        now = self.clock()
        changed = schedules.change(connection, schedule, now, **changes)
        if changed is not None:
            write_schedule_audit(connection, changed, actor, action, None, self.clock())
            if not changed.goes_on:
                schedules.reopen(connection, changed, now)
        return changed

    async def _may_change(self, schedule: Schedule, person: Person) -> None:
        """Its owner, an admin, or for a recurring broadcast an approver. Raises NotAllowed."""
        must_be_member(person)
        who = [schedule.owner, *self.settings.admins]
        if schedule.kind is Kind.BROADCAST:
            who += self.settings.approval.approvers
        if person.id not in await requirements.people_in(who, self.people.members):
            raise NotAllowed("Only {who} can change {id}.", who=mentions(who), id=schedule.id)
