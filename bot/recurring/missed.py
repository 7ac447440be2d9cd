"""What does not go as planned: missed occurrences, and schedules that end by themselves."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.clock import Micros, micros
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Ended, OccurrenceState, ScheduleAction, ScheduleState
from bot.domain.schedule import Occurrence, Schedule, micros_of, name_of
from bot.recurring.notices import notify, report_missed, write_schedule_audit
from bot.storage import occurrences, schedules

MISSED_ROWS = 50  # at most this many of the missed occurrences are written


class Missed:
    """What does not go as planned: occurrences that were missed, schedules that end by themselves."""

    def __init__(self, runtime: Runtime) -> None:
        self.database, self.clock, self.settings = runtime.database, runtime.clock, runtime.settings

    def is_late(self, at: Micros) -> bool:
        return self.clock() - at > micros(self.settings.grace)

    def miss(self, connection: Connection, seen: Schedule, template: str | None = None) -> None:
        """Mark an occurrence missed and say so: it is never silently made late. The next one stays as planned.

        `template`: the text, if the cause is not our absence.
        """
        schedule = schedules.find(connection, seen.workspace, seen.id, lock=True)
        if schedule.state is not ScheduleState.ACTIVE or schedule.next_local != seen.next_local:
            return
        now, missed, upcoming = self.clock(), [(schedule.next_local or "", schedule.next_at or 0)], None
        for occurrence in schedule.after(schedule.next_at or 0):
            if micros_of(occurrence.instant) > now:
                upcoming = occurrence
                break
            missed.append((name_of(occurrence), micros_of(occurrence.instant)))
        missed = [*missed[:-MISSED_ROWS], *self._write_missed(connection, schedule, missed[-MISSED_ROWS:])]
        if missed:
            report_missed(connection, schedule, missed, now, template)
        if upcoming is None:
            schedules.move(connection, schedule, ScheduleAction.FINISH, now, ended=Ended.FINISHED, next_at=None)
        else:
            following, name = micros_of(upcoming.instant), name_of(upcoming)
            schedules.touch(connection, schedule, now, next_at=following, next_local=name)

    def _write_missed(
        self, connection: Connection, schedule: Schedule, missed: list[tuple[str, Micros]]
    ) -> Iterator[tuple[str, Micros]]:
        """Write the missed occurrences, and yield those that nobody had made before."""
        for local, at in missed:
            row = Occurrence(
                workspace=schedule.workspace,
                schedule=schedule.id,
                local=local,
                at=at,
                state=OccurrenceState.MISSED,
                changed_at=self.clock(),
            )
            if occurrences.add(connection, row):
                yield local, at

    async def end(self, schedule: Schedule, ended: Ended, why: Translatable) -> None:
        await self.database.write(lambda c: self._write_end(c, schedule, ended, why))

    def _write_end(self, connection: Connection, schedule: Schedule, ended: Ended, why: Translatable) -> None:
        """End a schedule and say why. One that has finished already still had a snoozed occurrence to come."""
        now = self.clock()
        if schedule.ended is None:
            if schedules.move(connection, schedule, ScheduleAction.END, now, ended=ended, next_at=None) is None:
                return
            write_schedule_audit(connection, schedule, "clock", "stop", ended, self.clock())
        occurrences.reopen(connection, schedule, now)
        sentence = Translatable("It has stopped by itself. {why} It said: “{text}”", why=why, text=schedule.text)
        places = {schedule.owner, schedule.channel} if ended is not Ended.CHANNEL_GONE else {schedule.owner}
        if ended is Ended.OWNER_LEFT:
            places = {schedule.channel}
        for place in sorted(places):
            notify(connection, schedule, f"ended:{place}", sentence, place, now)
