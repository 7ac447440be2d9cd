"""The day as people type it: `tomorrow`, `next monday`, `3 décembre`, `12/06/2026`."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta

from bot.when.clock_times import is_hour, match_spoken
from bot.when.durations import read_days_ahead
from bot.when.refusals import NotATime, no_such_day, no_such_time, two_readings
from bot.when.vocabulary import (
    A_DAY,
    A_WEEKDAY,
    AHEAD_AND_DAY,
    ANY_WEEKDAY,
    CLOCK,
    DAY_MONTH,
    DAY_NAMES,
    DAYS_AHEAD,
    FOR,
    MIDNIGHT,
    MONTH_DAY,
    MONTHS,
    NEXT_MONTH,
    NEXT_WEEK,
    NUMBERED_DAY,
    NUMERIC_DATE,
    ON_THE,
    THIS_MONTH,
    THIS_WEEK,
    WEEKDAY_DATE,
    WEEKDAY_NUMBER,
    WEEKDAYS,
    WEEKS_ON,
    YEAR_FIRST,
)

FURTHEST = timedelta(days=731)


def read_days(words: str, rest: str, today: date) -> list[date] | None:
    """The days that these words may mean, nearest first; None when they mean none. `rest`: what follows them.

    Raises NotATime for what means one day to some people and another to others.
    """
    if rest and not (CLOCK.match(rest) or match_spoken(rest) or MIDNIGHT.search(rest)):
        return None
    words = FOR.sub("", words)
    for pattern, days_of in DAYS:
        if match := pattern.match(words):
            return days_of(match, today)
    if (match := AHEAD_AND_DAY.match(words)) and (others := read_days(match["other"], rest, today)):
        return _given_twice(match, others, today)
    if (length := read_days_ahead(words)) is not None:
        return [today + length]
    if is_hour(rest) and (match := WEEKDAY_NUMBER.match(words)):  # else the number may be the hour
        return _weekday_number(match, today)
    if (match := WEEKDAY_DATE.match(words)) and (dates := _dates(match["date"], today)):
        return _on_weekday(match["weekday"], dates, today)
    return _dates(words, today)


def _named(match: re.Match[str], today: date) -> list[date]:
    day = match["day"].rstrip(".")
    if day in DAYS_AHEAD:
        return [today + timedelta(days=DAYS_AHEAD[day])]
    ahead = (WEEKDAYS[day] - today.weekday()) % 7
    return [today + timedelta(days=ahead), today + timedelta(days=ahead + 7)]


def _given_twice(match: re.Match[str], others: list[date], today: date) -> list[date]:
    """Read a day that is given twice, as in `demain mercredi 25`. Raises NotATime unless both are the same day."""
    day = today + timedelta(days=DAYS_AHEAD[match["ahead"]])
    if day not in others:
        raise two_readings(match[0], day, next((other for other in others if other >= today), others[-1]))
    return [day]


def _weeks_on(match: re.Match[str], today: date) -> list[date]:
    """`lundi en quinze` is two weeks after the coming Monday. Raises NotATime on a Monday: it may count from today."""
    weeks = timedelta(weeks=WEEKS_ON[match["weeks"]])
    first, *second = _named(match, today)
    if second and first == today:
        raise two_readings(match[0], first + weeks, second[0] + weeks)
    return [first + weeks]


def _coming(match: re.Match[str], today: date) -> list[date]:
    return [_after(today, match["weekday"])]


def _after(today: date, weekday: str) -> date:
    """The first such day after today."""
    return today + timedelta(days=(WEEKDAYS[weekday] - today.weekday() - 1) % 7 + 1)


def _of_week(match: re.Match[str], today: date) -> list[date]:
    """A day of this week or the next. Raises NotATime unless weeks from Sunday and from Monday give the same day."""
    weekday, weeks = WEEKDAYS[match["weekday"]], 1 if match["next"] else 0
    first, second = (
        today + timedelta(days=7 * weeks + (weekday + since) % 7 - (today.weekday() + since) % 7) for since in (0, 1)
    )
    if first != second:
        raise two_readings(match[0], *sorted((first, second)))
    return [first]


def _this(match: re.Match[str], today: date) -> list[date] | None:
    """`this friday`, if Friday is still ahead this week. Otherwise None: it may be the last one or the next one."""
    ahead = WEEKDAYS[match["weekday"]] - today.weekday()
    return [today + timedelta(days=ahead)] if ahead > 0 else None


def _next(match: re.Match[str], today: date) -> list[date]:
    first = _after(today, match["weekday"] or match["before"])
    raise two_readings(match[0], first, first + timedelta(days=7))


def _the_day(match: re.Match[str], today: date) -> list[date]:
    template = "That could mean just once or every time. Write “lundi 9h” or “chaque lundi 9h”. Examples: {examples}."
    raise NotATime("ambiguous", template)


def _the_number(match: re.Match[str], today: date) -> list[date]:
    """The 25th of this month, or of the next if the words say so."""
    month = _in_months(today, 1 if match["next"] else 0)
    found = existing_date(month.year, month.month, _day_number(match["number"]))
    if found is None:
        raise no_such_day([f"{month:%Y-%m}"])
    if found < today:
        raise NotATime(
            "past",
            "That day has already passed this month. Write the next one with its month, for example: {examples}.",
        )
    return [found]


def _weekday_number(match: re.Match[str], today: date) -> list[date]:
    """`mercredi 25`: the next 25th, if it is a Wednesday."""
    months = (_in_months(today, number) for number in range(3))
    dates = [
        found for month in months if (found := existing_date(month.year, month.month, _day_number(match["number"])))
    ]
    if not dates:
        raise no_such_time()
    nearest = next(found for found in dates if found >= today)
    return _on_weekday(match["weekday"], [nearest], today)


def _in_months(day: date, months: int) -> date:
    """The first day of the month that is so many months later."""
    year, month = divmod(12 * day.year + day.month - 1 + months, 12)
    return date(year, month + 1, 1)


def _on_weekday(weekday: str, dates: list[date], today: date) -> list[date]:
    """Return the dates. Raises NotATime if `mardi 1er décembre` is not a Tuesday: either part may be a slip."""
    nearest = next((day for day in dates if day >= today), dates[-1])
    if nearest.weekday() != WEEKDAYS[weekday]:
        template = "{date} falls on another day of the week. Write the day you mean, for example: {examples}."
        raise NotATime("no_such_day", template, date=str(nearest))
    return dates


def _dates(words: str, today: date) -> list[date] | None:
    """The dates of a day of the year, in this year and the next if none is named. Raises NotATime for 30 February."""
    if match := YEAR_FIRST.fullmatch(ON_THE.sub("", words)):
        return _existing([int(match["year"])], int(match["month"]), int(match["day"]))
    if match := NUMERIC_DATE.match(words):
        return _numeric(match, today)
    if named := read_day_of_year(words):
        month, day, year = named
        return _existing(_years(year, today), month, day)
    return None


def _existing(years: list[int], month: int, day: int) -> list[date]:
    found = _real(years, month, day)
    if not found:
        raise no_such_day(map(str, years))
    return found


def _real(years: list[int], month: int, day: int) -> list[date]:
    return [found for found in (existing_date(year, month, day) for year in years) if found]


def _years(year: int | None, today: date) -> list[int]:
    return [today.year, today.year + 1] if year is None else [year]


def _numeric(match: re.Match[str], today: date) -> list[date]:
    """Read a date in numbers. Raises NotATime if it means different days to different people.

    `25/11`, `11/25` and `12/12` are one day to everybody; `3/4` is not. `26/11/27` may begin with its year. With dots
    the day comes first, so `9.30` is not a date.
    """
    one, other = int(match["one"]), int(match["other"] or match["another"])
    short = match["year"] and len(match["year"]) == 2
    years = _years((2000 if short else 0) + int(match["year"]) if match["year"] else None, today)
    ways = [(other, one)] if match["first"] else [(other, one), (one, other)]
    found = [days for month, day in ways if (days := _real(years, month, day))]
    if short and (first := existing_date(2000 + one, other, int(match["year"]))) and today <= first <= today + FURTHEST:
        found.append([first])
    if not found or ("." in match["date"] and other > 12):
        raise no_such_day(map(str, years))
    meant = sorted({next((day for day in days if day >= today), days[-1]) for days in found})
    if len(meant) > 1:
        raise two_readings(match["date"], *meant[:2])
    return found[0]


def read_day_of_year(words: str) -> tuple[int, int, int | None] | None:
    """Month, day and perhaps year of `1er décembre`, `1 December 2026` or `December 1`."""
    match = DAY_MONTH.match(words) or MONTH_DAY.match(words)
    if match is None or match["month"] not in MONTHS:
        return None
    return MONTHS[match["month"]], _day_number(match["day"]), int(match["year"]) if match["year"] else None


def _day_number(typed: str) -> int:
    return int(typed) if typed.isdigit() else DAY_NAMES[typed.replace(" ", "-")]


def existing_date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


DAYS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], date], list[date] | None]], ...] = tuple(
    (re.compile(pattern), days_of)
    for pattern, days_of in (
        (rf"^(?:on |for |pour |para |el |de |del |d')?{A_DAY}$", _named),
        (rf"^(?:on |le |el |de |del |d')?{A_DAY} (?P<weeks>{'|'.join(WEEKS_ON)})$", _weeks_on),
        (rf"^(?P<weeks>a week|a fortnight)(?: on| from)? {A_DAY}$", _weeks_on),
        (rf"^(?P<weeks>two weeks) from {A_DAY}$", _weeks_on),
        (rf"^(?:on )?(?:the |this )(?:coming ){A_WEEKDAY}$", _coming),
        (rf"^(?:on )?(?:this|ce|este) {A_WEEKDAY}$", _this),
        (rf"^(?:on |le |el )?{A_WEEKDAY},? (?:of |de )?(?:{THIS_WEEK}|(?P<next>{NEXT_WEEK}))$", _of_week),
        (rf"^(?P<next>{NEXT_WEEK}),? (?:on |le |el )?{A_WEEKDAY}$", _of_week),
        (
            rf"^(?:on |le |el |del )?(?:(?:next|proximo|siguiente) {A_WEEKDAY}"
            rf"|(?P<before>{ANY_WEEKDAY})\.? (?:next|prochain|proximo|siguiente|que viene|qui vient))$",
            _next,
        ),
        (rf"^le {A_WEEKDAY}$", _the_day),
        (rf"^(?:(?:on )?the |le |el |el dia ){NUMBERED_DAY}(?:{THIS_MONTH}|(?P<next>{NEXT_MONTH}))?$", _the_number),
        (rf"^{NUMBERED_DAY}(?:{THIS_MONTH}|(?P<next>{NEXT_MONTH}))$", _the_number),
        (
            r"^(?P<next>next month|le mois prochain|el (?:mes que viene|proximo mes)),?"
            rf" (?:(?:on )?the |le |el |el dia ){NUMBERED_DAY}$",
            _the_number,
        ),
        (rf"^(?=[0-9]+(?:st|nd|rd|th)){NUMBERED_DAY}(?:{THIS_MONTH}|(?P<next>{NEXT_MONTH}))?$", _the_number),
    )
)
