"""The tick of recurring broadcasts and reminders: does what is due."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable

import structlog
from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.errors import InvalidRequest, NotAllowed
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Ended, OccurrenceAction, ScheduleAction
from bot.domain.people import DirectoryUnavailable, Person
from bot.domain.schedule import Kind, Occurrence, Schedule
from bot.recurring.missed import Missed
from bot.recurring.notices import UNASKED, notify, report_missed
from bot.recurring.occurrences import AHEAD, Occurrences, binding
from bot.recurring.schedules import Schedules
from bot.scheduler import Task
from bot.storage import occurrences, schedules
from bot.storage.database import CommitUncertain, DatabaseBusy
from bot.storage.schedules import ScheduleChanges
from bot.workflow.planning import PAST_SLACK

log = structlog.get_logger(__name__)

PASSING = (
    DirectoryUnavailable,
    DatabaseBusy,
    CommitUncertain,
)  # these delay one occurrence and are not recorded as its trouble
AT_ONCE = 50


class Timekeeper:
    """Makes due occurrences, ends pauses, and posts snoozed reminders again."""

    def __init__(self, runtime: Runtime, schedules: Schedules, occurrences: Occurrences, missed: Missed) -> None:
        self.database, self.clock, self.wake = runtime.database, runtime.clock, runtime.wake
        self.schedules, self.occurrences, self.owners, self.missed = schedules, occurrences, occurrences.owners, missed

    async def tick(self) -> None:
        """Make every due occurrence, and repeat those that were snoozed.

        Also end pauses that are over, and schedules that no longer have a valid owner or channel.
        """
        if not await self.database.read(lambda c: occurrences.clock_waits(c, self.clock(), self.clock() + AHEAD)):
            return
        for schedule in await self.database.read(lambda c: schedules.awake(c, self.clock(), AT_ONCE)):
            await self._alone(schedule, self._wake_up(schedule))
        for schedule in await self.database.read(self._due):
            await self._alone(schedule, self._fire(schedule))
        for occurrence, schedule in await self.database.read(lambda c: occurrences.woken(c, self.clock(), AT_ONCE)):
            await self._alone(schedule, self._come_again(occurrence, schedule))

    async def _alone(self, schedule: Schedule, work: Awaitable[None]) -> None:
        """Do the work of one schedule. If it fails, it waits for the next tick, and delays no other schedule."""
        try:
            with self.database.failing_rows.alone("schedule", schedule.id, schedule.workspace, but=PASSING):
                await work
        except DirectoryUnavailable as error:
            log.info("a turn waits, since Slack does not answer", schedule=schedule.id, about=str(error)[:1])
        except (DatabaseBusy, CommitUncertain) as error:
            log.warning("a turn waits for the database", schedule=schedule.id, error=type(error).__name__)

    async def _wake_up(self, schedule: Schedule) -> None:
        """End a pause at its own instant. Occurrences between then and now are made or missed like any other."""
        action, changes = self.schedules.resumed(schedule, schedule.paused_until or 0)
        await self.database.write(lambda c: self._write_wake_up(c, schedule, action, changes))

    def _write_wake_up(
        self, connection: Connection, schedule: Schedule, action: ScheduleAction, changes: ScheduleChanges
    ) -> None:
        resumed = self.schedules.write_step(connection, schedule, "clock", "resume", action, changes)
        if resumed is not None and resumed.ended is not None:
            template = "Its time came while it was paused, so it has ended. It said: “{text}”"
            sentence = Translatable(template, text=schedule.text)
            notify(connection, schedule, "ended:paused", sentence, schedule.channel, self.clock())

    def _due(self, connection: Connection) -> list[Schedule]:
        now = self.clock()
        soon = schedules.due(connection, Kind.BROADCAST, now + AHEAD, AT_ONCE)
        return soon + schedules.due(connection, Kind.REMINDER, now, AT_ONCE)

    async def _fire(self, schedule: Schedule) -> None:
        """Make the occurrence. If it is late, say so before asking Slack anything: it may not answer for days."""
        if self.missed.is_late(schedule.next_at or 0):
            await self.database.write(lambda c: self.missed.miss(c, schedule))
        else:
            await self._fire_in_time(schedule)
        self.wake(Task.REMIND, Task.NOTICES, Task.PAINT, Task.SIZES, Task.DISPATCH)

    async def _fire_in_time(self, schedule: Schedule) -> None:
        owner = await self.owners.person(schedule, schedule.owner)
        ended = await self.owners.ended(schedule, owner)
        if ended is not None:
            await self.missed.end(schedule, *ended)
        elif schedule.kind is Kind.REMINDER:
            await self.database.write(lambda c: self.occurrences.make(c, schedule, None, ()))
        else:
            await self._fire_broadcast(schedule, owner)

    async def _fire_broadcast(self, schedule: Schedule, owner: Person) -> None:
        try:
            planned = await self.occurrences.plan_occurrence(
                schedule, schedule.next_local or "", schedule.next_at or 0, owner
            )
        except NotAllowed as error:
            await self.missed.end(schedule, Ended.NOT_ALLOWED, error.sentence)
            return
        except InvalidRequest as error:
            await self.missed.end(schedule, Ended.NOT_ALLOWED, error.complaints[0].sentence)
            return
        voters = await self.occurrences.covering(schedule, planned)
        if voters and schedule.cover:
            bound = min((size for size in (planned.bound, schedule.cover.bound) if size is not None), default=None)
            planned = dataclasses.replace(planned, covers=1, bound=bound, covered_by=schedule.cover.of)
            planned = binding(planned)
        if planned.quorum and not voters and self.clock() > (schedule.next_at or 0) + PAST_SLACK:
            await self.database.write(lambda c: self.missed.miss(c, schedule, UNASKED))
        else:
            await self.database.write(lambda c: self.occurrences.make(c, schedule, planned, voters))

    async def _come_again(self, occurrence: Occurrence, schedule: Schedule) -> None:
        """Post a snoozed reminder again, if its owner and channel are still valid and it is not too late."""
        ended = None
        if schedule.goes_on and not self.missed.is_late(occurrence.snoozed_until or 0):
            owner = await self.owners.person(schedule, schedule.owner)
            ended = await self.owners.ended(schedule, owner)
        if ended is not None:
            await self.missed.end(schedule, *ended)
        else:
            await self.database.write(lambda c: self._wake_occurrence(c, occurrence, schedule))
        self.wake(Task.NOTICES, Task.PAINT)

    def _wake_occurrence(self, connection: Connection, occurrence: Occurrence, seen: Schedule) -> None:
        schedule, now = schedules.find(connection, seen.workspace, seen.id, lock=True), self.clock()
        came_at = occurrence.snoozed_until or 0
        if not schedule.goes_on:
            occurrences.move(connection, occurrence, OccurrenceAction.SETTLE, now, draw_at=now)
        elif not self.missed.is_late(came_at):
            occurrences.move(connection, occurrence, OccurrenceAction.REPEAT, now, draw_at=now, tries=0)
        elif occurrences.move(connection, occurrence, OccurrenceAction.MISS, now, draw_at=now):
            report_missed(connection, schedule, [(f"{occurrence.local}:snoozed", came_at)], now)
