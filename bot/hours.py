"""May this go out at that instant? Windows, holidays and clock changes, as a pure function of a policy.

The shipped policies are engineering defaults with their source, not legal advice; an operator can tighten them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from itertools import count
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

import holidays
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from providers.base import Duration, Purpose

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SEARCHED = timedelta(days=400)  # no window within this: the policy never opens
END_OF_DAY = time.max  # written 24:00: the midnight that ends the day
Span = tuple[datetime, datetime]  # UTC, half-open


def _clock(value: object) -> object:
    if value == "24:00":
        return END_OF_DAY
    clock = time.fromisoformat(value) if isinstance(value, str) else value
    if isinstance(clock, time) and clock.tzinfo is not None:
        raise ValueError("an hour is one of the recipients' own zone; write it without an offset")
    return clock


def _shown(clock: time) -> str:
    return "24:00" if clock == END_OF_DAY else f"{clock:%H:%M}"


Clock = Annotated[time, BeforeValidator(_clock)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Window(_Table):
    """Half-open: from `start` on, up to but without `end`, by the recipients' wall clocks."""

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
    """The widest that a window may ever be made."""

    def holds(self, window: Window) -> bool:
        return self.start <= window.start and window.end <= self.end and {*window.days} <= {*self.days}


class Holidays(_Table):
    """Days on which nothing goes: a country's, with its region's; `extra` and `except` correct the calendar."""

    calendar: str
    subdivision: str | None = None
    extra: tuple[date, ...] = ()
    without: tuple[date, ...] = Field(default=(), alias="except")

    @model_validator(mode="after")
    def _known(self) -> Self:
        try:
            closed_days(self.calendar, self.subdivision, 2026)
        except NotImplementedError:
            raise ValueError(f"there is no holiday calendar {self.calendar} {self.subdivision or ''}".strip()) from None
        return self

    def closed(self, day: date) -> bool:
        if day in self.extra:
            return True
        return day not in self.without and day in closed_days(self.calendar, self.subdivision, day.year)


class Hours(_Table):
    """When one purpose may go."""

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
                raise ValueError(_wider(window, self.outer_bound))
        return self


def _wider(window: Window, bound: Bound) -> str:
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
    """Every time zone's name. The library looks through its files each time that it is asked."""
    return frozenset(available_timezones())


# --- verdicts --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Allow:
    pass


@dataclass(frozen=True)
class HoldUntil:
    """Not now; the window opens at `instant` (UTC)."""

    instant: datetime


@dataclass(frozen=True)
class Refuse:
    """Not now, and not by waiting: the policy says refuse, or the wait is longer than approval lasts."""


Verdict = Allow | HoldUntil | Refuse


def decide(policy: Policy, purpose: Purpose, instant: datetime) -> Verdict:
    """What this policy says of a send at this instant (any zone)."""
    now = instant.astimezone(UTC)  # in an hour that comes twice, a local time equals none of another zone
    opens = next_open(policy, purpose, now)
    if opens == now:
        return Allow()
    hours = _hours(policy, purpose)
    if opens is None or hours.outside == "refuse" or opens - now > hours.max_hold:
        return Refuse()
    return HoldUntil(opens)


def next_open(policy: Policy, purpose: Purpose, instant: datetime) -> datetime | None:
    """The first instant (UTC), this one or a later, at which it may go, however long that is to wait; None: never."""
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
    """When all of these zones are open on a day of UTC, by the order of opening."""
    midnight = datetime.combine(day, time(), UTC)
    spans = [(midnight, midnight + timedelta(days=1))]
    for zone in zones:
        there = [span for near in (-1, 0, 1) for span in _windows_of(day + timedelta(days=near), zone, hours)]
        both = [(max(one[0], other[0]), min(one[1], other[1])) for one in spans for other in there]
        spans = [(opens, closes) for opens, closes in both if opens < closes]
    return tuple(sorted(spans))


def _windows_of(day: date, zone: str, hours: Hours) -> Iterator[Span]:
    """The windows of a local day, the end margin already off."""
    if hours.windows == "always" or (hours.holidays is not None and hours.holidays.closed(day)):
        return
    place = ZoneInfo(zone)
    for window in hours.windows:
        if DAYS[day.weekday()] in window.days:
            yield _opens(day, window.start, place), _closes(day, window.end, place) - hours.end_margin


def _opens(day: date, clock: time, place: ZoneInfo) -> datetime:
    """A skipped hour opens right after the gap; of two, the second: never before the wall clock is past it for good."""
    return _real(_wall(day, clock), place).replace(tzinfo=place, fold=1).astimezone(UTC)


def _closes(day: date, clock: time, place: ZoneInfo) -> datetime:
    """A skipped hour closes at the gap; of two, the first: never after the wall clock has come to it once."""
    return _real(_wall(day, clock), place).replace(tzinfo=place, fold=0).astimezone(UTC)


def _wall(day: date, clock: time) -> datetime:
    if clock == END_OF_DAY:
        return datetime.combine(day + timedelta(days=1), time())
    return datetime.combine(day, clock)


def _real(wall: datetime, place: ZoneInfo) -> datetime:
    """This wall clock, or the first after it that the spring change does not skip."""
    later = (wall + timedelta(minutes=minutes) for minutes in count())
    return next(
        real
        for real in later
        if real == real.replace(tzinfo=place).astimezone(UTC).astimezone(place).replace(tzinfo=None)
    )


@cache
def closed_days(country: str, subdivision: str | None, year: int) -> frozenset[date]:
    """Public holidays of a region in a year. Raises NotImplementedError for a region that nobody knows."""
    return frozenset(holidays.country_holidays(country, subdiv=subdivision, years=year))


# --- the shipped policies --------------------------------------------------------------------------------------------

SIX_DAYS = ["mon", "tue", "wed", "thu", "fri", "sat"]
FIVE_DAYS = SIX_DAYS[:5]


def _france(subdivision: str | None = None, zone: str = "Europe/Paris") -> dict[str, Any]:
    return {
        "country": "FR",
        "timezone": zone,
        "source": "af2m charter 2024-09-01; default 08:00-20:00, may be widened to 22:00",
        "checked_on": date(2026, 11, 1),
        "marketing": {
            "windows": [{"days": SIX_DAYS, "start": "08:00", "end": "20:00"}],
            "outer_bound": {"days": SIX_DAYS, "start": "08:00", "end": "22:00"},
            "holidays": {"calendar": "FR", "subdivision": subdivision},
            "end_margin": "15m",
        },
    }


def _elsewhere(
    country: str, zone: str, days: list[str], start: str, end: str, source: str, **others: Mapping[str, str] | list[str]
) -> dict[str, Any]:
    return {
        "country": country,
        "timezone": zone,
        "zones": others.get("zones", []),
        "source": source,
        "checked_on": date(2026, 11, 1),
        "marketing": {
            "windows": [{"days": days, "start": start, "end": end}],
            "outer_bound": {"start": start, "end": end},
            "holidays": others.get("holidays"),
            "end_margin": "15m",
        },
    }


#: Where a list of US numbers is, nobody knows: it is called only when it is lawful from the East to the West coast.
#: Arizona's clocks are those of Denver or of Los Angeles. A list of one state names its own zone.
CONTIGUOUS_US = ["America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"]
SPANISH_CALLS = "hours of sales calls, adopted"
FCC = "47 CFR 64.1200(c)(1), in all zones of the contiguous states at once"
TRAI = "TRAI TCCCPR 2018: promotional hours, IST"

SHIPPED: Mapping[str, Mapping[str, Any]] = {
    "fr": _france(),
    "fr-moselle": _france("57"),
    "fr-alsace": _france("6AE"),
    "fr-guadeloupe": _france("971", "America/Guadeloupe"),
    "fr-martinique": _france("972", "America/Martinique"),
    "fr-guyane": _france("973", "America/Cayenne"),
    "fr-reunion": _france("974", "Indian/Reunion"),
    "fr-mayotte": _france("976", "Indian/Mayotte"),
    "es": _elsewhere("ES", "Europe/Madrid", FIVE_DAYS, "09:00", "21:00", SPANISH_CALLS, holidays={"calendar": "ES"}),
    "es-canarias": _elsewhere(
        "ES",
        "Atlantic/Canary",
        FIVE_DAYS,
        "09:00",
        "21:00",
        f"{SPANISH_CALLS}; in its own zone",
        holidays={"calendar": "ES", "subdivision": "CN"},
    ),
    "uk": _elsewhere("GB", "Europe/London", SIX_DAYS, "08:00", "20:00", "PECR names no hours; default"),
    "us": _elsewhere("US", "America/New_York", list(DAYS), "08:00", "21:00", FCC, zones=CONTIGUOUS_US),
    "in": _elsewhere("IN", "Asia/Kolkata", list(DAYS), "10:00", "21:00", TRAI),
}
COUNTRIES = {"FR": "fr", "ES": "es", "GB": "uk", "UK": "uk", "US": "us", "IN": "in"}


def resolve_policies(raw: Mapping[str, Mapping[str, Any]]) -> dict[str, Policy]:
    """The shipped policies, and the operator's own over them.

    A policy builds on the one it `extends`, else on the shipped one of its name, else of its country. Raises
    ValueError naming the setting and what to do.
    """
    merged = {name: dict(policy) for name, policy in SHIPPED.items()}
    for name in raw:
        merged[name] = _resolved(name, raw, ())
    return {name: _validated(name, policy) for name, policy in merged.items()}


def _resolved(name: str, raw: Mapping[str, Mapping[str, Any]], below: tuple[str, ...]) -> dict[str, Any]:
    own = dict(raw[name])
    base = own.pop("extends", None) or _base_of(name, own)
    if name in below or (base == name and name not in SHIPPED):
        raise ValueError(f"policies.{name}.extends: it goes round in a circle.")
    if base is None:
        return own
    if base not in raw and base not in SHIPPED:
        raise ValueError(f"policies.{name}.extends: there is no policy {base}.")
    from_raw = base in raw and base != name
    under = _resolved(base, raw, (*below, name)) if from_raw else SHIPPED[base]
    return _over(under, own)


def _base_of(name: str, own: Mapping[str, Any]) -> str | None:
    if name in SHIPPED:
        return name
    return COUNTRIES.get(str(own.get("country", "")).upper())


def _over(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(under)
    for name, value in over.items():
        below = result.get(name)
        result[name] = _over(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result


def _validated(name: str, raw: Mapping[str, Any]) -> Policy:
    try:
        policy = Policy.model_validate(raw)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        place = ".".join((name, *(str(part) for part in detail["loc"] if _is_written(part))))
        raise ValueError(f"policies.{place}: {str(detail['msg']).removeprefix('Value error, ')}.") from None
    for window in policy.marketing.windows if policy.marketing.windows != "always" else ():
        bound = _lawful(policy.country)
        if bound is not None and not bound.holds(window):  # whatever outer bound the policy gave itself
            raise ValueError(
                f"policies.{name}.marketing.windows: {_wider(window, bound)}, which is {policy.country}'s."
            )
    return policy


def _is_written(part: str | int) -> bool:
    """A name or a number of the settings, and none of the types between which pydantic had to choose."""
    return isinstance(part, int) or (part.isidentifier() and part != "always")


def _lawful(country: str | None) -> Bound | None:
    shipped = COUNTRIES.get((country or "").upper())
    return Bound.model_validate(SHIPPED[shipped]["marketing"]["outer_bound"]) if shipped else None
