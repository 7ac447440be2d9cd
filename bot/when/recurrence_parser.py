"""Turns what people type into a recurrence: `every monday 9:00`, `lundi et jeudi à 9h`, five cron fields."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime

from bot.when.dates import existing_date, read_day_of_year
from bot.when.instants import simplified, split_phrase
from bot.when.recurrence import Recurrence, following
from bot.when.recurrence_phrases import CRON, EACH, MARKS, NTH, ORDINALS, SENTENCES, WEEKDAY, Kind
from bot.when.refusals import RECURRING, NotATime, no_such_time, not_understood
from bot.when.vocabulary import EACH_NOON, ONE_DAY, PART, UNITS, WEEKDAYS, to_number

MOST_WEEKS = 26
Found = Mapping[str, str]


def is_recurrence(typed: str) -> bool:
    """Whether it describes a recurrence, even one that we cannot read. Then it is not an instant."""
    try:
        return MARKS.search(simplified(typed)) is not None
    except NotATime:
        return False


def refuse_one_day(typed: str) -> None:
    """Raise NotATime if it begins or ends with `tomorrow` or the like; `a las 9 de la mañana` does not."""
    if ONE_DAY.search(PART.sub(" ", simplified(typed)).strip(" ,")):
        template = (
            "That is a single day. To send once, use `/broadcast send` with `at=`. For something that recurs, "
            "write it like: {examples}."
        )
        raise NotATime("one_day", template, examples=RECURRING)


def parse_recurrence(typed: str, *, zone: str, now: datetime, cron: bool = False) -> Recurrence:
    """The recurrence that was typed. `cron`: this person may type cron. Raises NotATime, and never guesses.

    Every few weeks is counted from the week of the next day that the rule falls on.
    """
    try:
        plain = simplified(typed)
        if match := CRON.fullmatch(plain):
            return _cron_typed(match["bare"] or match["after"], zone, now, cron)
        return _recurrence(plain, zone, now)
    except NotATime as error:
        raise NotATime(error.code, error.template, **{**error.values, "examples": RECURRING}) from None


def _cron_typed(fields: str, zone: str, now: datetime, allowed: bool) -> Recurrence:
    if not allowed:
        raise NotATime("cron_admins", "Only admins can use cron. Write it like this: {examples}.")
    try:
        rule = Recurrence(fields)
        next(following(rule, zone, now))
    except (ValueError, StopIteration):
        template = (
            "`{fields}` is not a five-field cron rule, or its time never comes. For every Monday at nine, write `cron "
            "0 9 * * 1`."
        )
        raise NotATime("cron", template, fields=fields) from None
    if len({clock.minute for clock in rule.clocks()}) > 1:
        raise _too_often()
    return rule


def _too_often() -> NotATime:
    return NotATime("too_often", "That is more than once an hour, which is too often. Write it like this: {examples}.")


def _spaced() -> NotATime:
    return NotATime(
        "spaced",
        "I cannot repeat anything every so many days, months or years. Name the weekdays, the weeks or the days of "
        "the month, for example: {examples}.",
    )


def _recurrence(plain: str, zone: str, now: datetime) -> Recurrence:
    singular = re.sub(r"\b(morning|afternoon|evening|night|matin|soir)s\b", r"\1", plain)
    found, clock = split_phrase(EACH_NOON.sub("every day at noon", singular), lambda words, rest: _sentence(words))
    if found is None:
        raise NotATime("no_day", "On which day? Write the day and the time, for example: {examples}.")
    days, weeks = found
    return _from_week(Recurrence(f"{clock.minute} {clock.hour} {days}"), weeks, zone, now)


def _sentence(words: str) -> tuple[str, int] | None:
    """What `_days_of_rule` returns for the first sentence that matches; None if none does. Raises NotATime."""
    for kind, row in SENTENCES:
        if match := row.fullmatch(words):
            found = {name: text for name, text in match.groupdict().items() if text}
            if "days" in found:
                found["ahead"] = words[: match.start("days")]
            return _days_of_rule(kind, found)
    return None


def _from_week(rule: Recurrence, weeks: int, zone: str, now: datetime) -> Recurrence:
    if weeks == 1:
        return rule
    return Recurrence(rule.cron, weeks, next(following(rule, zone, now)).local.date())


def _days_of_rule(kind: Kind, found: Found) -> tuple[str, int]:
    """Day of month, month and weekday as cron writes them, and the number of weeks in a cycle. Raises NotATime."""
    match kind:
        case "daily":
            return "* * *", 1
        case "working":
            return _on(range(5)), 1
        case "range":
            return _on(_span_of_days(found)), 1
        case "weekly" | "other":
            weeks = 2 if kind == "other" else _weeks(found)
            if weeks > 1 and not _are_alike(found):
                raise not_understood(found["days"])
            return _on(map(_weekday, WEEKDAY.findall(found["days"]))), weeks
        case "except":
            if EACH.search(found["days"]):
                raise not_understood(found["days"])
            every = range(5 if "working" in found else 7)
            return _on({*every} - {*map(_weekday, WEEKDAY.findall(found["days"]))}), 1
        case "nth":
            day = _cron_day(_weekday(found["weekday"]))
            which = sorted(ORDINALS[_singular(name)] for name in NTH.findall(found["nth"]))
            return f"* * {','.join(f'{day}{nth}' for nth in dict.fromkeys(which))}", 1
        case "first":
            return "1 * *", 1
        case "last":
            return "L * *", 1
        case "monthly":
            days = sorted({_day_of_month(day) for day in re.findall("[0-9]+", found["date"])})
            return f"{','.join(map(str, days))} * *", 1
        case "yearly":
            return _once_a_year(found["of_year"]), 1
        case "bare":
            raise NotATime("no_day", "On which day? Write the day and the time, for example: {examples}.")
        case "interval":
            raise _interval(found)
        case "spaced":
            raise _spaced()


def _are_alike(found: Found) -> bool:
    """Whether all these days recur alike.

    In `every other monday and every thursday`, or `and thursdays`, the second is meant for every week.
    """
    if EACH.search(found["days"]):
        return False
    if found["ahead"].endswith(("les ", "los ")):
        return True
    first, *others = WEEKDAY.findall(found["days"])
    plural = re.search(r"\b(?:les|los)\b", found["days"]) or any(name not in WEEKDAYS for name in others)
    return first not in WEEKDAYS or not plural


def _interval(found: Found) -> NotATime:
    """The refusal of an interval in minutes or hours."""
    unit = found.get("unit", "" if "half" in found else "h")
    seconds = UNITS.get(unit, UNITS.get(_singular(unit), 1)) if unit else 0
    minutes = to_number(found.get("number", "1")) * seconds // 60 + (30 if "half" in found else 0)
    if minutes < 60:
        return _too_often()
    if minutes >= 24 * 60:
        return _spaced()
    if minutes % 60 == 0:
        template = (
            "Only admins can ask for more than once a day, in cron: `cron 0 9-17 * * 1-5`. Otherwise, write it like "
            "this: {examples}."
        )
        return NotATime("hourly", template)
    template = (
        "Every {number} minutes does not fall at fixed times of the day. Write one time, for example: {examples}. "
        "Only admins can ask for more than once a day, in cron: `cron 0 9-17 * * 1-5`."
    )
    return NotATime("hourly", template, number=str(minutes))


def _on(weekdays: Iterable[int]) -> str:
    days = sorted(set(weekdays))
    if not days:
        raise not_understood()
    return "* * " + ("*" if len(days) == 7 else ",".join(map(_cron_day, days)))


def _cron_day(weekday: int) -> str:
    return str((weekday + 1) % 7)


def _span_of_days(found: Found) -> Iterable[int]:
    """From Monday to Friday, and from Friday over the weekend to Monday."""
    first, last = _weekday(found["from"]), _weekday(found["to"])
    if first == last:
        raise not_understood(f"{found['from']} {found['to']}")
    return (day % 7 for day in range(first, first + (last - first) % 7 + 1))


def _weekday(name: str) -> int:
    return WEEKDAYS[name if name in WEEKDAYS else _singular(name)]


def _singular(name: str) -> str:
    return name.removesuffix("s")


def _weeks(found: Found) -> int:
    typed = found.get("weeks", "1")
    weeks = to_number(typed)
    if not 1 <= weeks <= MOST_WEEKS:
        raise not_understood()
    return weeks


def _day_of_month(typed: str) -> int:
    day = int(typed)
    if 29 <= day <= 31:
        template = (
            "Not every month has a day {day}. Write “last day of the month”, or a day up to 28. Examples: {examples}."
        )
        raise NotATime("not_every_month", template, day=str(day))
    if not 1 <= day <= 28:
        raise no_such_time()
    return day


def _once_a_year(typed: str) -> str:
    month, day, year = read_day_of_year(typed) or (0, 0, None)
    if (
        year is not None or existing_date(2027, month, day) is None
    ):  # a year without a leap day: only every fourth year has one
        raise no_such_time()
    return f"{day} {month} *"
