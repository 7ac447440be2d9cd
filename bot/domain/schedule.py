"""Schedules (recurring broadcasts and reminders), their occurrences, and when the next ones are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from itertools import islice, takewhile
from typing import Any

from bot.domain.broadcast import Broadcast, digest
from bot.domain.clock import SECOND, Micros, moment
from bot.domain.hours import Holidays
from bot.domain.lifecycle import Ended, OccurrenceState, ScheduleState
from bot.when.recurrence import Closed, Recurrence, RecurringTime, following

LOOKED_AT, FAR = 53, timedelta(days=731)  # occurrences, and how far ahead, to check for left_out


class Kind(StrEnum):
    BROADCAST = "broadcast"
    REMINDER = "reminder"


@dataclass(frozen=True)
class Digest:
    """A channel's broadcasts as its morning digest lists them. `sent`: how many went out lately."""

    waiting: Sequence[Broadcast]
    held: Sequence[Broadcast]
    unknown: Sequence[Broadcast]
    today: Sequence[Broadcast]
    sent: int


@dataclass(frozen=True)
class StandingApproval:
    """An approval of one occurrence that also covers the next `left` ones: who approved, and exactly what."""

    digest: str
    voters: tuple[str, ...]
    left: int
    of: str  # the broadcast on whose card they approved
    bound: int | None = None  # the most people that they approved; None: as many as there are


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A schedule exactly as in its row. `rule` None: once. `options`: what only one kind has."""

    workspace: str
    id: str
    version: int = 1
    kind: Kind
    state: ScheduleState = ScheduleState.ACTIVE
    ended: Ended | None = None
    key: str
    owner: str
    channel: str
    typed: str
    rule: str | None = None
    zone: str
    closed: Closed = Closed.KEEP
    calendar: Mapping[str, Any] | None = None
    text: str
    options: Mapping[str, Any] = field(default_factory=dict)
    next_at: Micros | None = None
    next_local: str | None = None
    paused_until: Micros | None = None
    until: Micros | None = None
    remaining: int | None = None
    cover: StandingApproval | None = None
    created_at: Micros
    changed_at: Micros

    @property
    def wish(self) -> tuple[object, ...]:
        """What was asked for, regardless of when it was typed."""
        when = self.rule or self.next_local, self.zone, self.closed, self.until, self.remaining
        return self.kind, self.channel, self.text, dict(self.options), *when

    def after(self, instant: Micros) -> Iterator[RecurringTime]:
        """Its occurrences strictly after an instant, in order, up to its own end."""
        return self._occurrences(instant, self.closed)

    def left_out(self, instant: Micros) -> tuple[list[RecurringTime], int]:
        """The next occurrences that are left out because they fall on closed days, and how many were checked.

        Checks up to 53 in two years. Empty for a rule that names weekdays and only meets an occasional holiday.
        """
        if self.rule is None or self.closed is not Closed.SKIP:
            return [], 0
        end = moment(instant) + FAR
        occurrences = list(
            islice(
                takewhile(lambda occurrence: occurrence.instant < end, self._occurrences(instant, Closed.KEEP)),
                LOOKED_AT,
            )
        )
        last = occurrences[-1].instant if occurrences else end
        coming = set(takewhile(lambda occurrence: occurrence.instant <= last, self._occurrences(instant, Closed.SKIP)))
        left = [occurrence for occurrence in occurrences if occurrence not in coming]
        often = not Recurrence.of(self.rule).names_days or 10 * len(left) >= len(occurrences)
        return left if often else [], len(occurrences)

    def _occurrences(self, instant: Micros, closed: Closed) -> Iterator[RecurringTime]:
        if self.rule is None:
            return
        calendar = Holidays.model_validate(self.calendar) if self.calendar else None

        def is_closed(day: date) -> bool:
            return calendar is not None and calendar.closed(day)

        rule = Recurrence.of(self.rule)
        for occurrence in following(rule, self.zone, moment(instant), closed=closed, is_closed=is_closed):
            if self.until is not None and micros_of(occurrence.instant) > self.until:
                return
            yield occurrence

    @property
    def goes_on(self) -> bool:
        """Whether an occurrence that it made may still be posted. Having finished is no reason against it."""
        return self.state is not ScheduleState.PAUSED and self.ended in (None, Ended.FINISHED)

    @property
    def asks(self) -> bool:
        """Whether it needs an answer before it is posted again."""
        return bool(self.options.get("answer"))


@dataclass(frozen=True, kw_only=True)
class Occurrence:
    """One occurrence of a schedule exactly as in its row; `local` is its wall clock time in the zone, and its name."""

    workspace: str
    schedule: str
    local: str
    at: Micros
    state: OccurrenceState
    version: int = 1
    broadcast: str | None = None
    channel: str | None = None
    ts: str | None = None
    draw_at: Micros | None = None
    tries: int = 0
    snoozed_until: Micros | None = None
    by: str | None = None
    left_out: int = 0
    changed_at: Micros


def micros_of(instant: datetime) -> Micros:
    """An aware instant as the store keeps it."""
    return int(instant.astimezone(UTC).timestamp()) * SECOND


def name_of(occurrence: RecurringTime) -> str:
    """The name of an occurrence in the store: `2026-12-07T09:00`."""
    return occurrence.local.isoformat(timespec="minutes")


def series_digest(occurrence: Broadcast) -> str:
    """The digest that an approval binds for every occurrence of a series: all but the time and the number covered."""
    return digest(replace(occurrence, send_at=None, covers=1))


def standing_approval(occurrence: Broadcast, voters: Iterable[str]) -> StandingApproval | None:
    """The standing approval that approving this occurrence gives the next ones; None if it covers only this one."""
    if occurrence.schedule is None or occurrence.covers <= 1:
        return None
    return StandingApproval(
        series_digest(occurrence), tuple(voters), occurrence.covers - 1, occurrence.id, occurrence.bound
    )
