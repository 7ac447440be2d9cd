"""Answers to a reminder: done, or once more later."""

from __future__ import annotations

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.clock import SECOND, Micros
from bot.domain.lifecycle import OCCURRENCE_TRANSITIONS, OccurrenceAction, OccurrenceState
from bot.domain.people import Person, must_be_member
from bot.domain.schedule import Occurrence
from bot.recurring.requests import SKEW
from bot.recurring.schedules import Moved
from bot.scheduler import Task
from bot.storage import audit, schedules
from bot.storage.schedules import OccurrenceChanges

SNOOZE = 3600 * SECOND


class Answers:
    """What people answer to a reminder: done, or once more later."""

    def __init__(self, runtime: Runtime) -> None:
        self.database, self.clock, self.wake = runtime.database, runtime.clock, runtime.wake

    async def answer(self, turn: Occurrence, person: Person, *, snooze: bool) -> Occurrence:
        """Done, or once more in an hour: that once only. Raises NotAllowed or Moved."""
        must_be_member(person)
        if (turn.state, OccurrenceAction.ANSWER) not in OCCURRENCE_TRANSITIONS:
            raise Moved
        if snooze and turn.snoozed_until is not None:
            raise Moved
        answered = await self.database.write(lambda c: self._answer(c, turn, person, snooze))
        if answered is None:
            raise Moved
        self.wake(Task.NOTICES)
        return answered

    def _answer(self, connection: Connection, turn: Occurrence, person: Person, snooze: bool) -> Occurrence | None:
        now = self.clock()
        step, changes = OccurrenceAction.ANSWER, OccurrenceChanges(by=person.id, draw_at=now)
        if snooze:
            step, changes["snoozed_until"] = OccurrenceAction.SNOOZE, now + SNOOZE
        answered = schedules.move_occurrence(connection, turn, step, now, **changes)
        if answered is not None:
            action = "snooze_reminder" if snooze else "done_reminder"
            audit.write_event(connection, turn.workspace, person.id, action, turn.local, now, about=turn.schedule)
        return answered

    async def occurrence_at(
        self, workspace: str, channel: str, ts: str, id: str, version: int | None = None
    ) -> Occurrence | None:
        """The turn whose post stands there.

        A post may be seen before Slack's answer about it has reached us: then it is the latest turn of its schedule,
        if that one is about to be posted, in the `version` that the button bears. Any other place, and any from before
        that turn was made, is of an older post.
        """

        def look(connection: Connection) -> Occurrence | None:
            found = schedules.occurrence_at(connection, workspace, channel, ts)
            if found is not None:
                return found
            latest = next(iter(schedules.occurrences_of(connection, workspace, id, 1)), None)
            if latest is None or (latest.state, latest.version) != (OccurrenceState.MADE, version):
                return None
            return latest if _instant_of(ts) >= latest.changed_at - SKEW else None

        return await self.database.read(look)


def _instant_of(ts: str) -> Micros:
    """When Slack took what stands there, to the second."""
    seconds = ts.partition(".")[0]
    return int(seconds) * SECOND if seconds.isascii() and seconds.isdigit() else 0
