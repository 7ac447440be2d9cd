"""Whether a send may go out at an instant: windows, holidays and clock changes, as a pure function of a policy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from itertools import count
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

import holidays
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from providers.base import Purpose
from providers.durations import Duration

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SEARCHED = timedelta(days=400)  # no window within this: the policy never opens
END_OF_DAY = time.max  # written 24:00: the midnight that ends the day
Span = tuple[datetime, datetime]  # UTC, half-open


def _clock(value: object) -> object:
    if value == "24:00":
        return END_OF_DAY
    try:
        clock = time.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        clock = None
    if not isinstance(clock, time):  # pydantic takes a number for seconds
        raise ValueError('must be a time of the day, such as "08:00"')
    if clock.tzinfo is not None:
        raise ValueError("an hour is one of the recipients' own zone; write it without an offset")
    return clock


def _shown(clock: time) -> str:
    return "24:00" if clock == END_OF_DAY else f"{clock:%H:%M}"


Clock = Annotated[time, BeforeValidator(_clock)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Window(_Table):
    """Half-open: from `start` up to, but not including, `end`, by the recipients' wall clocks."""

    days: tuple[Day, ...] = DAYS
    start: Clock
    end: Clock

    def __str__(self) -> str:
        return f"{_shown(self.start)}-{_shown(self.end)}"

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.start >= self.end:
            raise ValueError("a window's start must be before its end")
        return self


class Bound(Window):
    """The widest that a window may ever be."""

    def holds(self, window: Window) -> bool:
        return self.start <= window.start and window.end <= self.end and {*window.days} <= {*self.days}


class Holidays(_Table):
    """Days on which nothing goes out: those of a country and its region; `extra` and `except` correct the calendar."""

    calendar: str = Field(examples=["FR"])
    subdivision: str | None = Field(default=None, examples=["57"])
    extra: tuple[date, ...] = ()
    without: tuple[date, ...] = Field(default=(), alias="except")

    @model_validator(mode="after")
    def _known(self) -> Self:
        try:
            closed_days(self.calendar, self.subdivision, 2026)
        except NotImplementedError:
            raise ValueError("there is no such calendar; write the code of a country, such as FR") from None
        return self

    def closed(self, day: date) -> bool:
        if day in self.extra:
            return True
        return day not in self.without and day in closed_days(self.calendar, self.subdivision, day.year)


class Hours(_Table):
    """When broadcasts of one purpose may go out."""

    windows: tuple[Window, ...] | Literal["always"] = "always"
    outer_bound: Bound | None = None
    holidays: Holidays | None = None
    end_margin: Duration = timedelta(0)
    outside: Literal["hold", "refuse"] = "hold"
    max_hold: Duration = timedelta(hours=72)

    @model_validator(mode="after")
    def _within_bound(self) -> Self:
        if self.outer_bound is None:
            return self
        if self.windows == "always":
            raise ValueError("windows must stay within the outer bound, and `always` does not")
        for window in self.windows:
            if not self.outer_bound.holds(window):
                raise ValueError(wider(window, self.outer_bound))
        return self


def wider(window: Window, bound: Bound) -> str:
    days = "" if {*window.days} <= {*bound.days} else f" on {', '.join(bound.days)}"
    return f"the window {window} is wider than the outer bound {bound}{days}"


class Policy(_Table):
    """Sending hours for the recipients of a list, in their own zone.

    A list that spans zones names them all in `zones`: it is open when each of them is. `timezone`, one of them, is
    the zone that people are shown.
    """

    country: str | None = None
    timezone: str = "UTC"
    zones: tuple[str, ...] = ()
    source: str | None = None
    checked_on: date | None = None
    marketing: Hours = Hours()
    transactional: Hours = Hours()

    @field_validator("timezone", "zones")
    @classmethod
    def _known(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for name in (value,) if isinstance(value, str) else value:
            if name not in all_zones():
                raise ValueError(f"{name} is no time zone")
        return value

    @model_validator(mode="after")
    def _shown_is_one_of_them(self) -> Self:
        if self.zones and self.timezone not in self.zones:
            raise ValueError(
                f"the hours hold in all of zones ({', '.join(self.zones)}), and timezone, {self.timezone}, is none of "
                "them; set zones too"
            )
        return self

    @model_validator(mode="after")
    def _a_country_has_hours(self) -> Self:
        if self.country is not None and self.marketing.windows == "always":
            raise ValueError("a policy with a country has sending hours; leave country out to send at any hour")
        return self


@cache
def all_zones() -> frozenset[str]:
    """The names of all time zones. Cached, since the library looks through its files on every call."""
    return frozenset(available_timezones())


@dataclass(frozen=True)
class Allow:
    pass


@dataclass(frozen=True)
class HoldUntil:
    """Not now; the window opens at `instant` (UTC)."""

    instant: datetime


@dataclass(frozen=True)
class Refuse:
    """Not now, and waiting does not help: the policy says refuse, or the wait is longer than approval lasts."""


Verdict = Allow | HoldUntil | Refuse


def decide(policy: Policy, purpose: Purpose, instant: datetime) -> Verdict:
    """The policy's verdict on a send at this instant (any zone)."""
    now = instant.astimezone(UTC)  # in a repeated hour, a local time equals none of another zone
    opens = next_open(policy, purpose, now)
    if opens == now:
        return Allow()
    hours = _hours(policy, purpose)
    if opens is None or hours.outside == "refuse" or opens - now > hours.max_hold:
        return Refuse()
    return HoldUntil(opens)


def next_open(policy: Policy, purpose: Purpose, instant: datetime) -> datetime | None:
    """The first instant (UTC), this one or later, at which it may go, however long the wait; None: never."""
    hours, now = _hours(policy, purpose), instant.astimezone(UTC)
    if hours.windows == "always":
        return now
    day, zones = now.date(), policy.zones or (policy.timezone,)
    for later in range(SEARCHED.days):
        for opens, closes in _open_on(day + timedelta(days=later), zones, hours):
            if now < closes:
                return max(opens, now)
    return None


def _hours(policy: Policy, purpose: Purpose) -> Hours:
    return policy.marketing if purpose is Purpose.MARKETING else policy.transactional


@lru_cache(maxsize=8192)
def _open_on(day: date, zones: tuple[str, ...], hours: Hours) -> tuple[Span, ...]:
    """When all of these zones are open on a UTC day, in order of opening."""
    midnight = datetime.combine(day, time(), UTC)
    spans = [(midnight, midnight + timedelta(days=1))]
    for zone in zones:
        there = [span for near in (-1, 0, 1) for span in _windows_of(day + timedelta(days=near), zone, hours)]
        both = [(max(one[0], other[0]), min(one[1], other[1])) for one in spans for other in there]
        spans = [(opens, closes) for opens, closes in both if opens < closes]
    return tuple(sorted(spans))


def _windows_of(day: date, zone: str, hours: Hours) -> Iterator[Span]:
    """The windows of a local day, with the end margin already subtracted."""
    if hours.windows == "always" or (hours.holidays is not None and hours.holidays.closed(day)):
        return
    place = ZoneInfo(zone)
    for window in hours.windows:
        if DAYS[day.weekday()] in window.days:
            yield _opens(day, window.start, place), _closes(day, window.end, place) - hours.end_margin


def _opens(day: date, clock: time, place: ZoneInfo) -> datetime:
    """When a window opens: never before the wall clock has passed its start for good.

    A skipped hour opens right after the gap, a repeated one the second time.
    """
    return _real(_wall(day, clock), place).replace(tzinfo=place, fold=1).astimezone(UTC)


def _closes(day: date, clock: time, place: ZoneInfo) -> datetime:
    """When a window closes: never after the wall clock has first reached its end.

    A skipped hour closes at the gap, a repeated one the first time.
    """
    return _real(_wall(day, clock), place).replace(tzinfo=place, fold=0).astimezone(UTC)


def _wall(day: date, clock: time) -> datetime:
    if clock == END_OF_DAY:
        return datetime.combine(day + timedelta(days=1), time())
    return datetime.combine(day, clock)


def _real(wall: datetime, place: ZoneInfo) -> datetime:
    """This wall clock time, or the first after it that the spring change does not skip."""
    later = (wall + timedelta(minutes=minutes) for minutes in count())
    return next(
        real
        for real in later
        if real == real.replace(tzinfo=place).astimezone(UTC).astimezone(place).replace(tzinfo=None)
    )


@cache
def closed_days(country: str, subdivision: str | None, year: int) -> frozenset[date]:
    """Public holidays of a region in a year. Raises NotImplementedError for an unknown region."""
    return frozenset(holidays.country_holidays(country, subdiv=subdivision, years=year))
