"""The occurrences of a rule, against a slow, independent calculation."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import pytest

from bot.when.recurrence import Closed, RecurringTime, following
from bot.when.recurrence_parser import parse_recurrence

YEAR = datetime(2027, 1, 1, tzinfo=UTC)
FIRST_DAY, LAST = date(2027, 1, 2), datetime(2027, 11, 20)  # noqa: DTZ001 - by any wall clock
MINUTES = 368 * 24 * 60
BEFORE = 2 * 24 * 60  # the walk begins two days before the year


@cache
def first_times(zone: str) -> array[int]:
    """Walk through the year; return, for each wall-clock minute, the first UTC minute that shows it, or -1."""
    place, first = ZoneInfo(zone), array("i", [-1]) * (MINUTES + 2 * BEFORE)
    for minute in range(-BEFORE, MINUTES):
        instant = YEAR + timedelta(minutes=minute)
        shown = int((instant.astimezone(place).replace(tzinfo=UTC) - YEAR).total_seconds()) // 60 + BEFORE
        if 0 <= shown < len(first) and first[shown] < 0:
            first[shown] = minute
    return first


def shown_at(wall: datetime, zone: str) -> RecurringTime:
    """Return when the clock first shows `wall`, or the first minute after it if `wall` is skipped."""
    first = first_times(zone)
    index = int((wall.replace(tzinfo=UTC) - YEAR).total_seconds()) // 60 + BEFORE
    while first[index] < 0:
        index += 1
    return RecurringTime(
        (YEAR + timedelta(minutes=index - BEFORE)).replace(tzinfo=None), YEAR + timedelta(minutes=first[index])
    )


def before_last(one: RecurringTime) -> bool:
    return one.local < LAST


NAMES = {
    "en": ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    "fr": ("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"),
    "es": ("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"),
}


NTH = {
    "en": ("first", "second", "third", "fourth", "last"),
    "fr": ("premier", "deuxième", "troisième", "quatrième", "dernier"),
    "es": ("primer", "segundo", "tercer", "cuarto", "último"),
}


Falls = Callable[[date], bool]


def nth_in_month(day: date, weekday: int, nth: int) -> bool:
    """Whether `day` is the `nth` such weekday, by counting through the month; `nth` 4 is the last."""
    month = [day.replace(day=1) + timedelta(days=n) for n in range(31)]
    same = [other for other in month if other.month == day.month and other.weekday() == weekday]
    return day == (same[-1] if nth == 4 else same[nth])


def any_rule(chance: random.Random) -> tuple[str, Falls, bool]:
    """Return a sentence without its hour, the days that it means, and whether it names weekdays."""
    tongue, weekday, number, nth = chance.choice(("en", "fr", "es")), *map(chance.randrange, (7, 28, 5))
    name, ordinal = NAMES[tongue][weekday], NTH[tongue][nth]
    pick = {"en": 0, "fr": 1, "es": 2}[tongue]
    match chance.choice(("daily", "weekly", "other", "nth", "monthly", "last")):
        case "daily":
            return ("every day", "tous les jours", "cada día")[pick], lambda day: True, True
        case "weekly":
            return (f"every {name}", f"chaque {name}", f"cada {name}")[pick], lambda day: day.weekday() == weekday, True
        case "other":
            first = FIRST_DAY + timedelta(days=(weekday - FIRST_DAY.weekday()) % 7)
            typed = (f"every other {name}", f"un {name} sur deux", f"cada 2 semanas el {name}")[pick]
            return typed, lambda day: (day - first).days % 14 == 0, True
        case "nth":
            ways = (
                f"every {ordinal} {name} of the month",
                f"le {ordinal} {name} du mois",
                f"el {ordinal} {name} del mes",
            )
            return ways[pick], lambda day: nth_in_month(day, weekday, nth), True
        case "monthly":
            ways = (
                f"the {number + 1}th of every month",
                f"le {number + 1} de chaque mois",
                f"el {number + 1} de cada mes",
            )
            return ways[pick], lambda day: day.day == number + 1, False
        case _:
            ways = ("last day of the month", "le dernier jour du mois", "el último día de cada mes")
            return ways[pick], lambda day: (day + timedelta(days=1)).day == 1, False


def planned(falls: Falls, clocks: Iterable[time], zone: str, closed: Closed, shut: Falls) -> list[RecurringTime]:
    """Go day by day through the year; drop what falls on a shut day, or move it to the next or previous open day."""
    found = {}
    for day in (FIRST_DAY + timedelta(days=number) for number in range(340)):
        if not falls(day) or (closed is Closed.SKIP and shut(day)):
            continue
        while closed in (Closed.SHIFT, Closed.BEFORE) and shut(day):
            day += timedelta(days=1 if closed is Closed.SHIFT else -1)
        if day < FIRST_DAY:
            continue  # the search starts after it
        for clock in clocks:
            one = shown_at(datetime.combine(day, clock), zone)
            found[one.instant] = one
    return [found[instant] for instant in sorted(found) if found[instant].local < LAST]


@pytest.mark.long
@pytest.mark.parametrize("zone", ["Europe/Paris", "Atlantic/Canary", "America/New_York"])
def test_a_year_of_any_rule_is_as_calculated_day_by_day(zone: str, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(150):
        sentence, falls, named = any_rule(chance)
        clock = time(chance.choice((0, 1, 2, 2, 3, 9, 23)), chance.choice((0, 30, chance.randrange(60))))
        closed = chance.choice(tuple(Closed))
        closed_days = {YEAR.date() + timedelta(days=chance.randrange(2, 360)) for _ in range(chance.randrange(60))}

        def shut(
            day: date, closed_days: set[date] = closed_days, named: Falls | None = falls if named else None
        ) -> bool:
            meant = day.weekday() < 5 or (named is not None and named(day))
            return day in closed_days or not meant

        midnight = datetime.combine(FIRST_DAY, time(), ZoneInfo(zone)).astimezone(UTC) - timedelta(minutes=1)
        rule = parse_recurrence(f"{sentence} {clock:%H:%M}", zone=zone, now=midnight)
        expected = planned(falls, [clock], zone, closed, shut)
        found = following(rule, zone, midnight, closed=closed, is_closed=closed_days.__contains__)
        assert list(takewhile(before_last, found)) == expected, (sentence, clock, closed)


@pytest.mark.long
@pytest.mark.parametrize("zone", ["Europe/Paris", "Atlantic/Canary", "America/New_York"])
def test_a_year_of_cron_with_many_hours_a_day_is_as_calculated_day_by_day(zone: str, seed: int) -> None:
    chance = random.Random(seed)
    midnight = datetime.combine(FIRST_DAY, time(), ZoneInfo(zone)).astimezone(UTC) - timedelta(minutes=1)
    for _ in range(40):
        hours, minute = sorted(chance.sample(range(24), chance.randrange(1, 25))), chance.choice((0, 30, 59))
        weekday, number = chance.randrange(7), chance.randrange(1, 32)
        days, falls, named = chance.choice(
            (
                ("* * *", lambda day: True, True),
                (f"* * {(weekday + 1) % 7}", lambda day, weekday=weekday: day.weekday() == weekday, True),
                (f"{number} * *", lambda day, number=number: day.day == number, False),
                (
                    f"{number} * {(weekday + 1) % 7}",  # either
                    lambda day, number=number, weekday=weekday: day.day == number or day.weekday() == weekday,
                    False,
                ),
            )
        )
        closed = chance.choice(tuple(Closed))
        closed_days = {FIRST_DAY + timedelta(days=chance.randrange(1, 350)) for _ in range(chance.randrange(60))}

        def shut(
            day: date, closed_days: set[date] = closed_days, named: Falls | None = falls if named else None
        ) -> bool:
            meant = day.weekday() < 5 or (named is not None and named(day))
            return day in closed_days or not meant

        typed = f"cron {minute} {','.join(map(str, hours))} {days}"
        rule = parse_recurrence(typed, zone=zone, now=midnight, cron=True)
        expected = planned(falls, [time(hour, minute) for hour in hours], zone, closed, shut)
        found = following(rule, zone, midnight, closed=closed, is_closed=closed_days.__contains__)
        assert list(takewhile(before_last, found)) == expected, (typed, closed)


def test_wherever_one_looks_from_the_same_occurrences_are_ahead(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(60):
        zone = chance.choice(("Europe/Paris", "Atlantic/Canary", "America/New_York", "Pacific/Auckland"))
        closed_days = {FIRST_DAY + timedelta(days=chance.randrange(300)) for _ in range(80)}
        how = {"closed": chance.choice(tuple(Closed)), "is_closed": closed_days.__contains__}
        rule = parse_recurrence(f"{any_rule(chance)[0]} {chance.choice(('1:30', '2:30', '9:00'))}", zone=zone, now=YEAR)
        every = list(islice(following(rule, zone, YEAR, **how), 40))  # type: ignore[arg-type]
        since = every[chance.randrange(30)].instant + timedelta(seconds=chance.randrange(-1, 86400))
        ahead = list(islice(following(rule, zone, since, **how), 5))  # type: ignore[arg-type]
        assert ahead == [one for one in every if one.instant > since][:5], (rule, zone, how, since)
        assert len({one.local for one in every}) == len(every)
