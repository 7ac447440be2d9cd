"""May this go out at that instant? Windows, holidays and clock changes, as a pure function of a policy.

The shipped policies are engineering defaults with their source, not legal advice; an operator can tighten them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

import holidays
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from providers.base import Purpose

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SEARCHED = timedelta(days=400)  # no window within this: the policy never opens


def _clock(value: object) -> object:
    """`24:00`, the end of a day, is midnight of the next: kept as None by the window."""
    if isinstance(value, str):
        return time.fromisoformat(value)
    return value


def _span(value: object) -> object:
    units = {"m": 60, "h": 3600, "d": 86400, "s": 1}
    if isinstance(value, str) and value[-1:] in units and value[:-1].isdigit():
        return timedelta(seconds=int(value[:-1]) * units[value[-1]])
    return value


Clock = Annotated[time, BeforeValidator(_clock)]
Span = Annotated[timedelta, BeforeValidator(_span)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Bound(_Table):
    """The widest that a window may ever be made."""

    start: Clock
    end: Clock


class Window(_Table):
    """Half-open: from `start` on, up to but without `end`, in the recipients' zone."""

    days: tuple[Day, ...] = DAYS
    start: Clock
    end: Clock

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.start >= self.end:
            raise ValueError("a window's start must be before its end")
        return self


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
    end_margin: Span = timedelta(0)
    outside: Literal["hold", "refuse"] = "hold"
    max_hold: Span = timedelta(hours=72)

    @model_validator(mode="after")
    def _within_bound(self) -> Self:
        if self.outer_bound is None:
            return self
        if self.windows == "always":
            raise ValueError("windows must stay within the outer bound, and `always` does not")
        for window in self.windows:
            if window.start < self.outer_bound.start or window.end > self.outer_bound.end:
                raise ValueError(
                    f"the window {window.start:%H:%M}-{window.end:%H:%M} is wider than the outer bound "
                    f"{self.outer_bound.start:%H:%M}-{self.outer_bound.end:%H:%M}"
                )
        return self


class Policy(_Table):
    """Sending hours for the recipients of a list, in their own zone."""

    country: str | None = None
    timezone: str = "UTC"
    source: str | None = None
    checked_on: date | None = None
    marketing: Hours = Hours()
    transactional: Hours = Hours()

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(f"{value} is no time zone")
        return value

    @model_validator(mode="after")
    def _a_country_has_hours(self) -> Self:
        if self.country is not None and self.marketing.windows == "always":
            raise ValueError("a policy with a country has sending hours; leave country out to send at any hour")
        return self


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
    hours = policy.marketing if purpose is Purpose.MARKETING else policy.transactional
    if hours.windows == "always":
        return Allow()
    for opens, closes in _openings(policy, hours, instant):
        if instant < closes:
            if instant >= opens:
                return Allow()
            too_long = opens - instant > hours.max_hold
            return Refuse() if hours.outside == "refuse" or too_long else HoldUntil(opens)
    return Refuse()


def _openings(policy: Policy, hours: Hours, instant: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The windows (UTC, half-open, the end margin already off) from the day of this instant on, in order."""
    zone = ZoneInfo(policy.timezone)
    day = instant.astimezone(zone).date()
    for _ in range(SEARCHED.days):
        yield from _windows_of(day, zone, hours)
        day += timedelta(days=1)


def _windows_of(day: date, zone: ZoneInfo, hours: Hours) -> Iterator[tuple[datetime, datetime]]:
    if hours.windows == "always" or (hours.holidays is not None and hours.holidays.closed(day)):
        return
    for window in sorted(hours.windows, key=lambda window: window.start):
        if DAYS[day.weekday()] in window.days:
            opens, closes = _at(day, window.start, zone), _at(day, window.end, zone) - hours.end_margin
            if opens < closes:
                yield opens, closes


def _at(day: date, clock: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, clock, zone).astimezone(UTC)


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
            "outer_bound": {"start": "08:00", "end": "22:00"},
            "holidays": {"calendar": "FR", "subdivision": subdivision},
            "end_margin": "15m",
        },
    }


def _elsewhere(
    country: str, zone: str, days: list[str], start: str, end: str, source: str, calendar: str | None = None
) -> dict[str, Any]:
    return {
        "country": country,
        "timezone": zone,
        "source": source,
        "checked_on": date(2026, 11, 1),
        "marketing": {
            "windows": [{"days": days, "start": start, "end": end}],
            "outer_bound": {"start": start, "end": end},
            "holidays": {"calendar": calendar} if calendar else None,
            "end_margin": "15m",
        },
    }


SHIPPED: Mapping[str, Mapping[str, Any]] = {
    "fr": _france(),
    "fr-moselle": _france("57"),
    "fr-alsace": _france("6AE"),
    "fr-guadeloupe": _france("971", "America/Guadeloupe"),
    "fr-martinique": _france("972", "America/Martinique"),
    "fr-guyane": _france("973", "America/Cayenne"),
    "fr-reunion": _france("974", "Indian/Reunion"),
    "fr-mayotte": _france("976", "Indian/Mayotte"),
    "es": _elsewhere("ES", "Europe/Madrid", FIVE_DAYS, "09:00", "21:00", "hours of sales calls, adopted", "ES"),
    "es-canarias": _elsewhere("ES", "Atlantic/Canary", FIVE_DAYS, "09:00", "21:00", "as es, in its own zone", "ES"),
    "uk": _elsewhere("GB", "Europe/London", SIX_DAYS, "08:00", "20:00", "PECR names no hours; default"),
    "us": _elsewhere("US", "America/New_York", list(DAYS), "08:00", "21:00", "47 CFR 64.1200(c)(1)"),
    "in": _elsewhere("IN", "Asia/Kolkata", list(DAYS), "10:00", "21:00", "TRAI TCCCPR 2018: promotional hours, IST"),
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
    if name in below:
        raise ValueError(f"policies.{name}.extends: it goes round in a circle.")
    own = dict(raw[name])
    base = own.pop("extends", None) or _base_of(name, own)
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
        return Policy.model_validate(raw)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in (name, *detail["loc"]) if part != "always")
        raise ValueError(f"policies.{place}: {str(detail['msg']).removeprefix('Value error, ')}.") from None
