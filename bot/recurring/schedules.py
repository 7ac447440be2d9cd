"""Schedules as people see and change them."""

from __future__ import annotations

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.errors import NotAllowed
from bot.domain.lifecycle import SCHEDULE_TRANSITIONS, Ended, ScheduleAction
from bot.domain.people import Directory, Person, mentions, must_be_member
from bot.domain.schedule import Kind, Schedule, micros_of, name_of
from bot.recurring.notices import write_schedule_audit
from bot.scheduler import Task
from bot.storage import occurrences, schedules
from bot.storage.schedules import ScheduleChanges
from bot.workflow import approval_rules


class Moved(Exception):
    """The schedule, or the occurrence, has moved on since the person last saw it."""


class Schedules:
    """Shows schedules, and pauses, resumes or stops them."""

    def __init__(self, runtime: Runtime, people: Directory) -> None:
        self.database, self.clock, self.wake = runtime.database, runtime.clock, runtime.wake
        self.settings, self.people = runtime.settings, people

    async def find(self, workspace: str, id: str) -> Schedule:
        """Raises NotFound."""
        return await self.database.read(lambda c: schedules.find(c, workspace, id.upper()))

    async def listed(self, workspace: str, kind: Kind) -> list[Schedule]:
        """Return all that have not ended, the next one first."""
        return await self.database.read(lambda c: schedules.listed(c, workspace, kind))

    async def made(self, schedule: Schedule) -> list[Broadcast]:
        """Return the broadcasts made already that have not ended: pausing or ending the schedule does not stop them."""
        return await self.database.read(lambda c: occurrences.broadcasts_made(c, schedule))

    async def pause(self, schedule: Schedule, person: Person, until: Micros | None) -> Schedule:
        """Make no occurrences, not even snoozed ones, until somebody resumes it, or until that instant.

        Raises NotAllowed or Moved.
        """
        return await self._step(schedule, person, "pause", ScheduleAction.PAUSE, {"paused_until": until})

    async def resume(self, schedule: Schedule, person: Person) -> Schedule:
        """Continue with the next occurrence from now. Raises NotAllowed or Moved."""
        action, changes = self.resumed(schedule, self.clock() + 1)
        return await self._step(schedule, person, "resume", action, changes)

    async def stop(self, schedule: Schedule, person: Person) -> Schedule:
        """End it. Occurrences that were made already are not affected. Raises NotAllowed or Moved."""
        changes: ScheduleChanges = {"ended": Ended.STOPPED, "next_at": None, "paused_until": None}
        return await self._step(schedule, person, "stop", ScheduleAction.STOP, changes)

    def resumed(self, schedule: Schedule, since: Micros) -> tuple[ScheduleAction, ScheduleChanges]:
        """Return the step to its first occurrence at `since` or later that was not made already, or to its end."""
        if (schedule.next_at or 0) >= since:
            return ScheduleAction.RESUME, {"paused_until": None}
        occurrence = next(schedule.after(since - 1), None)
        if occurrence is None:
            return ScheduleAction.FINISH, {"ended": Ended.FINISHED, "next_at": None, "paused_until": None}
        following: ScheduleChanges = {"next_at": micros_of(occurrence.instant), "next_local": name_of(occurrence)}
        return ScheduleAction.RESUME, {"paused_until": None, **following}

    async def _step(
        self, schedule: Schedule, person: Person, step: str, action: ScheduleAction, changes: ScheduleChanges
    ) -> Schedule:
        await self._may_change(schedule, person)
        if (schedule.state, ScheduleAction(step)) not in SCHEDULE_TRANSITIONS:
            raise Moved
        moved = await self.database.write(lambda c: self.write_step(c, schedule, person.id, step, action, changes))
        if moved is None:
            raise Moved
        self.wake(Task.REMIND, Task.NOTICES)
        return moved

    def write_step(
        self,
        connection: Connection,
        schedule: Schedule,
        actor: str,
        step: str,
        action: ScheduleAction,
        changes: ScheduleChanges,
    ) -> Schedule | None:
        """Write a step. `step`: its name in the audit, since a resume may find that the schedule has finished."""
        now = self.clock()
        moved = schedules.move(connection, schedule, action, now, **changes)
        if moved is not None:
            write_schedule_audit(connection, moved, actor, step, None, now)
            if not moved.goes_on:
                occurrences.reopen(connection, moved, now)
        return moved

    async def _may_change(self, schedule: Schedule, person: Person) -> None:
        """Allow its owner, an admin, or for a recurring broadcast an approver. Raises NotAllowed."""
        must_be_member(person)
        who = [schedule.owner, *self.settings.admins]
        if schedule.kind is Kind.BROADCAST:
            who += self.settings.approval.approvers
        if person.id not in await approval_rules.people_in(who, self.people.members):
            raise NotAllowed("Only {who} can change {id}.", who=mentions(who), id=schedule.id)
