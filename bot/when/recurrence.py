"""A recurrence: a rule of cron fields and weeks, and the occurrences that it gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import count, takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

PATIENCE = 8 * 366  # days: a rule without an occurrence for so long has ended. Leap days may be eight years apart


def is_real(wall: datetime, place: ZoneInfo) -> bool:
    """False for a wall clock that the spring change skips there."""
    return wall.replace(tzinfo=place).astimezone(UTC).astimezone(place).replace(tzinfo=None) == wall


@dataclass(frozen=True)
class Recurrence:
    """When something recurs, in wall clock time: five cron fields, and only every `weeks`th of their weeks.

    It uses cron because cron is well defined. Day of month and weekday must both match when one of them starts with a
    star; otherwise either is enough. `L` is the last day of the month, `5L` its last Friday, `1#2` its second Monday.
    A week (from Monday) counts if it is a multiple of `weeks` away from the week of `anchor`. Raises ValueError for an
    impossible rule.
    """

    cron: str
    weeks: int = 1
    anchor: date | None = None

    def __post_init__(self) -> None:
        if self.weeks < 1 or (self.weeks > 1) != (self.anchor is not None):
            raise ValueError("every so many weeks needs a week to count from")
        object.__setattr__(self, "cron", " ".join(self.cron.upper().split()))
        _cron(self.cron)

    def plain(self) -> str:
        """The rule for the store: `0 9 * * 1`, or `0 9 * * 1 / 2 weeks from 2026-11-30`."""
        return self.cron if self.anchor is None else f"{self.cron} / {self.weeks} weeks from {self.anchor}"

    @classmethod
    def of(cls, plain: str) -> Recurrence:
        """The rule whose `plain()` this is. Raises ValueError."""
        match = STORED.match(plain)
        if match is None:
            raise ValueError(f"no recurrence: {plain!r}")
        anchor = date.fromisoformat(match["anchor"]) if match["anchor"] else None
        return cls(match["cron"], int(match["weeks"] or 1), anchor)

    @property
    def names_days(self) -> bool:
        """Whether the rule itself names weekdays, and so means any weekend in it. A day of the month does not."""
        return self.cron.split(" ")[2] == "*"

    def falls_on(self, day: date) -> bool:
        rule = _cron(self.cron)
        return day.month in rule.months and rule.match_day(day) and self._counts(day)

    def _counts(self, day: date) -> bool:
        return self.anchor is None or (_monday(day) - _monday(self.anchor)).days // 7 % self.weeks == 0

    def clocks(self) -> list[time]:
        """Its wall clocks, in order, on each day that it falls on."""
        rule = _cron(self.cron)
        return [time(hour, minute) for hour in sorted(rule.hours) for minute in sorted(rule.minutes)]


STORED = re.compile(r"^(?P<cron>[^ ]+(?: [^ ]+){4})(?: / (?P<weeks>[0-9]{1,2}) weeks from (?P<anchor>[0-9-]{10}))?$")


@lru_cache(maxsize=1024)
def _cron(fields: str) -> CronSim:
    """The rule of five cron fields. Raises ValueError."""
    if len(fields.split()) != 5:
        raise ValueError("a cron rule has five fields")
    try:
        return CronSim(fields, datetime(2024, 1, 1))  # noqa: DTZ001 - its days and clocks are asked for, never its dates
    except CronSimError as error:
        raise ValueError(str(error)) from None


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


@dataclass(frozen=True)
class RecurringTime:
    """One occurrence: `local`, the naive wall clock that names it, and `instant` (UTC)."""

    local: datetime
    instant: datetime


class Closed(StrEnum):
    """What becomes of an occurrence on a closed day."""

    KEEP = "keep"
    SKIP = "skip"
    SHIFT = "shift"  # to the next open day, at the same wall clock
    BEFORE = "before"  # to the last open day before it


def never(day: date) -> bool:
    """No day is closed."""
    return False


def following(
    rule: Recurrence,
    zone: str,
    after: datetime,
    *,
    closed: Closed = Closed.KEEP,
    is_closed: Callable[[date], bool] = never,
) -> Iterator[RecurringTime]:
    """Yield the occurrences strictly after this instant (aware), in order, until there is none for eight years.

    A wall clock that the spring change skips moves to the first instant after the gap, which also names it. Of two in
    autumn, the first counts. Two that move to the same wall clock, or to the same instant, are one. Unless closed days
    are kept, Saturdays and Sundays are closed too, except where the rule names that day.
    """

    def shut(day: date) -> bool:
        weekend = day.weekday() >= 5 and not (rule.names_days and rule.falls_on(day))
        return closed is not Closed.KEEP and (weekend or is_closed(day))

    place = ZoneInfo(zone)
    last = after.astimezone(UTC)
    for wall in _walls(rule, after.astimezone(place).date(), closed, shut):
        occurrence = _recurring_time(wall, place)
        if occurrence.instant > last:
            yield occurrence
            last = occurrence.instant


def _walls(rule: Recurrence, today: date, closed: Closed, shut: Callable[[date], bool]) -> Iterator[datetime]:
    """The rule's wall clocks from this day on, including those that move from closed days to open ones."""
    clocks, latest, day = rule.clocks(), today, today
    while (day - latest).days <= PATIENCE:
        if not shut(day) and (rule.falls_on(day) or _moves_onto(day, rule, closed, shut)):
            yield from (datetime.combine(day, clock) for clock in clocks)
            latest = day
        day += timedelta(days=1)


def _moves_onto(day: date, rule: Recurrence, closed: Closed, shut: Callable[[date], bool]) -> bool:
    """Whether an occurrence moves to this open day from the closed days just before or after it."""
    step = {Closed.SHIFT: -1, Closed.BEFORE: 1}.get(closed)
    if step is None:
        return False
    beside = (day + timedelta(days=step * days) for days in range(1, PATIENCE))
    return any(map(rule.falls_on, takewhile(shut, beside)))


def _recurring_time(wall: datetime, place: ZoneInfo) -> RecurringTime:
    real = next(later for minutes in count() if is_real(later := wall + timedelta(minutes=minutes), place))
    return RecurringTime(real, real.replace(tzinfo=place).astimezone(UTC))
