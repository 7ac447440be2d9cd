"""Answers to a reminder: done, or snoozed."""

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
from bot.storage import audit, occurrences
from bot.storage.occurrences import OccurrenceChanges

SNOOZE = 3600 * SECOND


class Answers:
    """What people answer to a reminder: done, or snoozed."""

    def __init__(self, runtime: Runtime) -> None:
        self.database, self.clock, self.wake = runtime.database, runtime.clock, runtime.wake

    async def answer(self, occurrence: Occurrence, person: Person, *, snooze: bool) -> Occurrence:
        """Mark it done, or snooze it for an hour, which works only once. Raises NotAllowed or Moved."""
        must_be_member(person)
        if (occurrence.state, OccurrenceAction.ANSWER) not in OCCURRENCE_TRANSITIONS:
            raise Moved
        if snooze and occurrence.snoozed_until is not None:
            raise Moved
        answered = await self.database.write(lambda c: self._answer(c, occurrence, person, snooze))
        if answered is None:
            raise Moved
        self.wake(Task.NOTICES)
        return answered

    def _answer(
        self, connection: Connection, occurrence: Occurrence, person: Person, snooze: bool
    ) -> Occurrence | None:
        now = self.clock()
        step, changes = OccurrenceAction.ANSWER, OccurrenceChanges(by=person.id, draw_at=now)
        if snooze:
            step, changes["snoozed_until"] = OccurrenceAction.SNOOZE, now + SNOOZE
        answered = occurrences.move(connection, occurrence, step, now, **changes)
        if answered is not None:
            action = "snooze_reminder" if snooze else "done_reminder"
            audit.write_event(
                connection, occurrence.workspace, person.id, action, occurrence.local, now, about=occurrence.schedule
            )
        return answered

    async def occurrence_at(
        self, workspace: str, channel: str, ts: str, id: str, version: int | None = None
    ) -> Occurrence | None:
        """Return the occurrence whose post is there, or None.

        People may see a post before Slack's answer about it reaches us. Then it is the latest occurrence of its
        schedule, if that one is about to be posted and has the `version` of the button. Any other post, and any from
        before that occurrence was made, is an older one.
        """

        def look(connection: Connection) -> Occurrence | None:
            found = occurrences.find_posted(connection, workspace, channel, ts)
            if found is not None:
                return found
            latest = next(iter(occurrences.latest(connection, workspace, id, 1)), None)
            if latest is None or (latest.state, latest.version) != (OccurrenceState.MADE, version):
                return None
            return latest if _instant_of(ts) >= latest.changed_at - SKEW else None

        return await self.database.read(look)


def _instant_of(ts: str) -> Micros:
    """Return when Slack took the post, to the second."""
    seconds = ts.partition(".")[0]
    return int(seconds) * SECOND if seconds.isascii() and seconds.isdigit() else 0
