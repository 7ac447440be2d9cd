"""What a person typed as a time or as a recurrence, in English, French or Spanish, and the instants that come of it.

A strict grammar: what it does not know it refuses. Date-text libraries were tried and guess ("demain 9h" became
19:00); a send at a guessed hour cannot be taken back.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import MINYEAR, UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import count
from typing import Literal, TypeVar
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

FURTHEST = timedelta(days=731)
NEEDS_ITS_YEAR = timedelta(days=330)  # a date without a year this far ahead was probably meant to be the one just gone
PATIENCE = 8 * 366  # days: a rule that nothing comes of for so long has ended. Leap days may be eight years apart
MOST_WEEKS = 26
LONGEST = 200  # characters

EXAMPLES = ("2026-12-01 09:00", "tomorrow 9:00", "demain 9h", "lundi 8h30", "mañana a las 9", "in 20 minutes")
RECURRING = (
    "every day at 9:00",
    "every 2 weeks on friday 14:00",
    "chaque lundi à 9h",
    "le 1er de chaque mois à 9h",
    "de lunes a viernes a las 9",
    "el último viernes de cada mes a las 9",
)

DAYS_AHEAD = {
    **dict.fromkeys(("today", "aujourd'hui", "hoy"), 0),
    **dict.fromkeys(("tomorrow", "demain", "manana"), 1),
    **dict.fromkeys(("apres-demain", "apres demain", "pasado manana", "the day after tomorrow"), 2),
    "day after tomorrow": 2,
}
WEEKDAYS = {
    name: index
    for index, names in enumerate(
        (
            ("monday", "mon", "lundi", "lun", "lunes"),
            ("tuesday", "tue", "tues", "mardi", "martes"),  # no mar: it is also March
            ("wednesday", "wed", "weds", "mercredi", "mer", "miercoles", "mie"),
            ("thursday", "thu", "thur", "thurs", "jeudi", "jeu", "jueves", "jue"),
            ("friday", "fri", "vendredi", "ven", "viernes", "vie"),
            ("saturday", "sat", "samedi", "sam", "sabado", "sab"),
            ("sunday", "sun", "dimanche", "dim", "domingo", "dom"),
        )
    )
    for name in names
}
MONTHS = {
    name: index
    for index, names in enumerate(
        (
            ("january", "jan", "janvier", "janv", "enero", "ene"),
            ("february", "feb", "fevrier", "fevr", "febrero"),
            ("march", "mars", "marzo"),  # no mar: it is also Tuesday, mardi and martes
            ("april", "apr", "avril", "avr", "abril", "abr"),
            ("may", "mai", "mayo"),
            ("june", "jun", "juin", "junio"),
            ("july", "jul", "juillet", "juil", "julio"),
            ("august", "aug", "aout", "agosto", "ago"),
            ("september", "sep", "sept", "septembre", "septiembre"),
            ("october", "oct", "octobre", "octubre"),
            ("november", "nov", "novembre", "noviembre"),
            ("december", "dec", "decembre", "diciembre", "dic"),
        ),
        start=1,
    )
    for name in names
}
UNITS = {
    **dict.fromkeys(("min", "mins", "minute", "minutes", "minuto", "minutos"), 60),
    **dict.fromkeys(("h", "hour", "hours", "heure", "heures", "hora", "horas"), 3600),
    **dict.fromkeys(("day", "days", "jour", "jours", "dia", "dias"), 86400),
    **dict.fromkeys(("week", "weeks", "semaine", "semaines", "semana", "semanas"), 7 * 86400),
}

COUNTS = {"two": 2, "deux": 2, "dos": 2, "three": 3, "trois": 3, "tres": 3, "four": 4, "quatre": 4, "cuatro": 4}
NUMBERS = {**dict.fromkeys(("a", "an", "one", "un", "une", "una"), 1), **COUNTS}
#: Parts of a day and the hours of a 24-hour clock that they hold. They say which hour is meant, and change none
#: but an o'clock.
PARTS = {
    **dict.fromkeys(("morning", "matin", "manana"), range(12)),
    **dict.fromkeys(("afternoon", "apres-midi", "apres midi"), range(12, 19)),
    "tarde": range(12, 21),
    **dict.fromkeys(("evening", "night", "soir", "noche"), range(17, 24)),
}

ISO = re.compile(
    r"^([0-9]{4})-([0-9]{2})-([0-9]{2})[t ]([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:\.0+)?)?"
    r" ?(z|[+-][0-9]{2}:?[0-9]{2})?$"
)
ISO_DATE = re.compile(r"^([0-9]{4})-([0-9]{2})-([0-9]{2})$")
_AHEAD = rf"^(?:in|dans|en|dentro de) (?:([0-9]{{1,4}}) ?|({'|'.join(NUMBERS)}) )"
SPAN = re.compile(rf"{_AHEAD}([a-z]+)$")
HOURS_MINUTES = re.compile(
    rf"{_AHEAD}(?:h|hours?|heures?|horas?)(?: (?:and|et|y))? ?"
    r"([0-5][0-9]|[0-9](?= ?min))(?: ?(?:mins?|minutes?|minutos?))?$"
)
DAYS_HOURS = re.compile(
    rf"{_AHEAD}(?:{'|'.join(name for name, seconds in UNITS.items() if seconds >= UNITS['day'])}),? "
    r"(?P<typed>(?P<hour>[01]?[0-9]|2[0-3]) ?(?:h|hours?|heures?|horas?))$"
)
CLOCK = re.compile(
    r"^(?P<at>(?:at|a|a las|a la) |@ ?)?(?P<hour>[0-9]{1,2})"
    r"(?P<form>:(?P<minute>[0-9]{2})(?: ?h)?"
    r"| o'clock| ?(?:h|heures?|horas?)(?: ?(?P<after_h>[0-9]{2}))?"
    r"|(?::(?P<of_half>[0-9]{2})| o'clock)? ?(?P<half>[ap])\.? ?m\.?)?$"
)
NOON = re.compile(r"^(?:(?:at|a|al) )?(?:noon|midday|midi|mediodia)$")
MIDNIGHT = re.compile(r"\b(?:midnight|minuit|medianoche)$")
DAY_MONTH = re.compile(
    r"^(?:on |le |el |del |el dia )?(?:the )?([0-9]{1,2})(?:er|st|nd|rd|th|r?o)?(?: de| of)? ([a-z]+)\.?"
    r"(?:,? (?:del? |of )?([0-9]{4}))?$"
)
MONTH_DAY = re.compile(r"^(?:on )?([a-z]+)\.? (?:the )?([0-9]{1,2})(?:st|nd|rd|th)?(?:,? ([0-9]{4}))?$")
DOTTED_HOUR = re.compile(r"(?<![0-9./])([01]?[0-9]|2[0-3])\.([0-5][0-9]) ?(?:h|[ap]\.? ?m\.?)?$")
_WEEKDAYS = "|".join(WEEKDAYS)
WEEKDAY_DATE = re.compile(rf"^(?:on |le |el |del )?({_WEEKDAYS})\.?,? (.+)$")
YEAR_FIRST = re.compile(r"\b([0-9]{4})([/.-])([0-9]{1,2})\2([0-9]{1,2})\b")
NUMERIC_DATE = re.compile(r"\b[0-9]{1,2}[/.][0-9]{1,2}(?:[/.][0-9]{2,4})?\b|\b[0-9]{1,2}-[0-9]{1,2}-[0-9]{2,4}\b")
NEXT = re.compile(r"\b(?:next|prochaine?|proximo|siguiente|que viene)\b")
THE_DAY = re.compile(
    r"\ble (?:lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche)\b"
    rf"(?!,? (?:[0-9]{{1,2}}(?:er)? (?:{'|'.join(MONTHS)})\b|[0-9]{{4}}-))"
)
_PART = "|".join(PARTS)
PART = re.compile(
    r"(?:^| )(?:(?:in the|at|le|du|por la|de la) |(?:de )?l')?"
    rf"((?:{_PART})(?<!manana)|(?:(?<=in the )|(?<=por la )|(?<=de la ))manana)(?= |,|$)"  # else it is tomorrow
)
THIS_PART = re.compile(rf"\b(?:this|ce|cet|cette|esta) ({_PART})\b")
EACH_PART = re.compile(rf"\b(?:every|each|chaque|tous les|toutes les|cada|todas las) ({_PART})s?\b")
COMMA = re.compile(r" ?, ?")
HYPHENS = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-")  # as telephones and web pages have them
ACCENTS = dict.fromkeys(map(ord, "\u0300\u0301\u0302\u0303\u0308\u0327"))  # no others: a struck-out digit is no digit


HOW_LONG = re.compile(r"^(?:in|dans|dentro de)\b|^en (?:[0-9]|media|una?)\b")
#: Why it was not understood, where that can be told.
HINTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"\b(?:until|till|jusqu'|hasta)"),
        "Its end is an option before the text: until=2027-01-31. Write the rest like: {examples}.",
    ),
    (
        re.compile(r"\b(?:holidays?|feries?|festivos?)\b"),
        "Holidays are an option before the text: holidays=skip. Write the rest like: {examples}.",
    ),
    (
        re.compile(
            r"(?<![0-9-])[0-9]{1,2}(?:h|:[0-9]{2}|h[0-9]{2})? ?(?:am|pm)? ?(?:and|et|y|or|ou|o|to|-|/|,) ?"
            r"(?:at |a |a las )?[0-9]{1,2}(?:h|:| ?am| ?pm|$)"
        ),
        "One hour at a time: ask once for each, like: {examples}.",
    ),
    (
        re.compile(r"[0-9hm] ?(?:z|utc|gmt|cet|cest|est|edt|pst|bst|[a-z]+/[a-z_]+|[+-][0-9]{2}:[0-9]{2})$"),
        "No zone goes there. Leave it out for your own, or write it so: 2026-12-01T09:00+01:00. {examples}.",
    ),
    (
        HOW_LONG,
        "Write how long in whole minutes, hours, days or weeks, like “in 90 minutes”: {examples}.",
    ),
    (
        re.compile(
            r"\bhalf past\b|\bquarter (?:past|to)\b|\bet (?:demie?|quart)\b|\bmoins le quart\b"
            r"|\by (?:media|cuarto)\b|\bmenos cuarto\b"
        ),
        "Write hours and minutes in digits, like 9:30: {examples}.",
    ),
    (
        re.compile(r"^(?:now|right now|asap|immediately|maintenant|tout de suite|immediatement|ahora|ahora mismo|ya)$"),
        "To send at once, leave the time out. Else write it like: {examples}.",
    ),
    (
        re.compile(rf"\b(?:this|coming|ce|este) (?:{_WEEKDAYS})\b"),
        "Write the day alone for the first one ahead, or its date, like: {examples}.",
    ),
    (
        re.compile(rf"\b(?:{_WEEKDAYS})s?\b.*\b(?:{_WEEKDAYS})s?\b|\b(?:except|but not|sauf|excepto|salvo|menos)\b"),
        "Several days? Write “every monday and thursday” or “monday to friday”, or ask once for each: {examples}.",
    ),
    (
        re.compile(
            rf"^(?:(?:on )?the|le|el|el dia|(?:el )?(?:{_WEEKDAYS})) [0-9]{{1,2}}(?:er|st|nd|rd|th)?"
            r"(?:$| (?:at|a|a las) [0-9]| [0-9]{1,2}[h:])"
        ),
        "Of which month? Write the day with its month and its hour, like: {examples}.",
    ),
    (
        re.compile(
            r"\b(?:around|about|by|before|after|between|vers|avant|apres(?![ -](?:demain|midi)\b)|entre(?! semana)"
            r"|sobre|hacia|antes|despues)\b"
        ),
        "Write one exact hour, like: {examples}.",
    ),
    (re.compile(r"\bmar\b"), "“mar” is March to some and Tuesday to others. Write it whole, like: {examples}."),
)


class NotATime(Exception):
    """What was typed is no instant; `code` says why and `template` with `values` is the sentence for the person."""

    def __init__(self, code: str, template: str, **values: str) -> None:
        super().__init__(code)
        self.code, self.template, self.values = code, template, {"examples": ", ".join(EXAMPLES), **values}


@dataclass(frozen=True)
class When:
    """An instant (UTC) as somebody in `zone` meant it. `first_of_two`: that hour comes twice, and it is the first."""

    instant: datetime
    zone: str
    first_of_two: bool = False

    @property
    def local(self) -> datetime:
        return self.instant.astimezone(ZoneInfo(self.zone))


def parse_when(typed: str, *, zone: str, now: datetime) -> When:
    """The instant that was typed, without an offset in this zone. Raises NotATime, and never guesses.

    A weekday is the next such day that is still ahead at that hour, today included.
    """
    plain = _plain(typed)
    if match := ISO.match(plain):
        when = _iso(match, zone)
    elif match := HOURS_MINUTES.match(plain):
        length = timedelta(hours=_number(match), minutes=int(match[3]))
        when = When(now.astimezone(UTC) + length, zone)
    elif match := SPAN.match(plain):
        when = _span(match, zone, now)
    else:
        when = _day_and_hour(plain, zone, now)
    return _within_reach(when, now)


def _plain(typed: str) -> str:
    """Lower case, straight apostrophes, single spaces, no accents, no quotes around it: what the tables speak."""
    if len(typed) > LONGEST or any(char.isnumeric() and not char.isascii() for char in typed):
        raise _not_understood()  # 9² would become 92
    text = typed.strip(' \t\n\u00a0\u202f"“”„«»').rstrip(".,;! ").lower().replace("’", "'").replace("‘", "'")
    text = unicodedata.normalize("NFKD", text).translate(ACCENTS).translate(HYPHENS)
    return re.sub(r"\s+", " ", text).strip()


def _iso(match: re.Match[str], zone: str) -> When:
    year, month, day, hour, minute = (int(part) for part in match.groups()[:5])
    offset = match[7]
    try:
        local = datetime(year, month, day, hour, minute, int(match[6] or 0))  # noqa: DTZ001 - its zone comes next
        if offset is None:
            return _in_zone(local, zone)
        written = "+00:00" if offset == "z" else offset
        return When(_instant(datetime.fromisoformat(f"{local.isoformat()}{written}")), zone)
    except ValueError:
        raise _no_such_time() from None


def _span(match: re.Match[str], zone: str, now: datetime) -> When:
    """So long from now. Days over a clock change are refused: the same hour then, or so many times 24 hours?"""
    when = When(now.astimezone(UTC) + _length(match), zone)
    if _in_days(match) and when.local.utcoffset() != now.astimezone(ZoneInfo(zone)).utcoffset():
        raise NotATime("ambiguous", "The clocks change before then. Write the day with its hour, like: {examples}.")
    return when


def _in_days(match: re.Match[str]) -> bool:
    return UNITS.get(match[3], 0) >= UNITS["day"]


def _number(match: re.Match[str]) -> int:
    return int(match[1] or NUMBERS[match[2]])


def _length(match: re.Match[str]) -> timedelta:
    number, seconds = _number(match), UNITS.get(match[3])
    if seconds is None:
        raise _not_understood(match[0])
    if match[3] in ("jours", "dias") and number in (8, 15):
        template = "{number} days mean whole weeks to some. Write the date, or how many weeks, like: {examples}."
        raise NotATime("ambiguous", template, number=str(number))
    return number * timedelta(seconds=seconds)


def _day_and_hour(plain: str, zone: str, now: datetime) -> When:
    _refuse_traps(plain)
    days, clock = _apart(plain, lambda words: _days(words, zone, now))
    return _at_hour(days, clock, zone, now)


Day = TypeVar("Day")
Read = Callable[[str], Day | None]


def _apart(plain: str, read: Read[Day]) -> tuple[Day, time]:
    """The day as it is read, and the hour before or after it. Raises NotATime."""
    plain = THIS_PART.sub(r"today in the \1", plain.replace("tonight", "this night"))
    plain = COMMA.sub(", ", EACH_PART.sub(r"every day in the \1", plain))
    part = PART.search(plain)
    words = plain.split() if part is None else [*plain[: part.start()].split(), *plain[part.end() :].split()]
    day, hour = _day_first(words, read) or _hour_first(words, read) or (None, " ".join(words))
    clock = _hour(hour, plain)
    if day is None:
        raise NotATime("no_day", "On which day? Write the day with its hour, like: {examples}.")
    if hour.endswith("o'clock"):
        return day, _of_twelve(clock.hour, part[1] if part else None)
    return day, clock if part is None else _in_part(clock, part[1])


def _day_first(words: list[str], read: Read[Day]) -> tuple[Day, str] | None:
    for cut in range(len(words), 0, -1):
        if (day := read(" ".join(words[:cut]).strip(", "))) is not None:
            return day, " ".join(words[cut:])
    return None


def _hour_first(words: list[str], read: Read[Day]) -> tuple[Day, str] | None:
    """`9h demain`. Of `at 9 december 20` who knows which number is the hour."""
    for cut in range(1, len(words)):
        hour, rest = " ".join(words[:cut]).rstrip(","), " ".join(words[cut:])
        match = CLOCK.match(hour)
        certain = match and (match["form"] or (match["at"] and not re.search("[0-9]", rest)))
        if (certain or NOON.match(hour)) and (day := read(rest)) is not None:
            return day, hour
    return None


def _in_part(clock: time, part: str) -> time:
    """`demain soir 8h` is eight in the morning to a clock, and to nobody else."""
    if clock.hour not in PARTS[part]:
        template = "{hour} is not in that part of the day. Write the hour from 0:00 to 23:59, like: {examples}."
        raise NotATime("ambiguous", template, hour=f"{clock:%H:%M}")
    return clock


def _of_twelve(hour: int, part: str | None) -> time:
    """`3 o'clock` is said of two hours, and only the part of the day tells which."""
    if not 1 <= hour <= 12:
        raise _no_such_time()
    first, second = hour % 12, hour % 12 + 12
    for meant in (first, second):
        if meant and part and meant in PARTS[part]:  # never 0:00: twelve in the morning is noon to some
            return time(meant)
    template = "{number} o'clock may be {first}:00 or {second}:00. Write which of them, like: {examples}."
    raise NotATime("ambiguous", template, number=str(hour), first=str(first), second=str(second))


def _refuse_traps(plain: str) -> None:
    """What means one time to some people and another to others."""
    match = YEAR_FIRST.search(plain)
    if match and match[0] != (written := f"{match[1]}-{int(match[3]):02d}-{int(match[4]):02d}"):
        raise NotATime("written", "Write {typed} as {written}: {examples}.", typed=match[0], written=written)
    _refuse_dots(plain)
    if NUMERIC_DATE.search(plain) and not HOW_LONG.match(plain):
        raise NotATime("ambiguous", "3/4 is March to some and April to others. Write it like: {examples}.")
    if NEXT.search(plain):
        raise NotATime(
            "ambiguous",
            "“Next” skips a week to some and not to others. Write the date, or the day alone for the first one ahead, "
            "like: {examples}.",
        )
    if THE_DAY.search(plain):
        raise NotATime(
            "ambiguous", "That may be one day or every such day. Write “lundi 9h” or “chaque lundi 9h”: {examples}."
        )
    if match := DAYS_HOURS.match(plain):
        template = "{typed} more, or the hour of that day? Write the hour as “at {number}:00”, or the date: {examples}."
        raise NotATime("ambiguous", template, typed=match["typed"], number=match["hour"])


def _refuse_dots(plain: str) -> None:
    """`9.30` is an hour to most, but `1.12` may be a day in December."""
    if match := DOTTED_HOUR.search(plain):
        template = "Is {typed} an hour? Write it {written}. A date is written 2026-12-01: {examples}."
        typed = f"{match[1]}.{match[2]}"
        raise NotATime("written", template, typed=typed, written=typed.replace(".", ":"))


def _not_understood(words: str = "") -> NotATime:
    told = (template for pattern, template in HINTS if pattern.search(words))
    return NotATime("not_understood", next(told, "That is no time that I understand. Write it like: {examples}."))


def _days(words: str, zone: str, now: datetime) -> list[date] | None:
    """The days that these words may mean, nearest first; None when they mean none."""
    today = now.astimezone(ZoneInfo(zone)).date()
    if words in DAYS_AHEAD:
        return [today + timedelta(days=DAYS_AHEAD[words])]
    bare = re.sub(r"^(?:on|el|del) ", "", words).rstrip(".")
    if bare in WEEKDAYS:
        ahead = (WEEKDAYS[bare] - today.weekday()) % 7
        return [today + timedelta(days=ahead), today + timedelta(days=ahead + 7)]
    if (match := SPAN.match(words)) and _in_days(match):
        return [today + _length(match)]
    if (match := WEEKDAY_DATE.match(words)) and (dates := _dates(match[2], today)):
        return _on_weekday(match[1], dates, today)
    return _dates(words, today)


def _on_weekday(weekday: str, dates: list[date], today: date) -> list[date]:
    """`mardi 1er décembre`: of the two that were said, one may be a slip."""
    nearest = next((day for day in dates if day >= today), dates[-1])
    if nearest.weekday() != WEEKDAYS[weekday]:
        template = "{date} is another day of the week. Write the day that you mean, like: {examples}."
        raise NotATime("no_such_day", template, date=str(nearest))
    return dates


def _dates(words: str, today: date) -> list[date] | None:
    """The dates of a day of the year, this year's and the next where none is named. Raises NotATime for 30 February."""
    if match := ISO_DATE.match(words):
        years, month, day = [int(match[1])], int(match[2]), int(match[3])
    elif named := _day_of_year(words):
        month, day, year = named
        years = [year] if year is not None else [today.year, today.year + 1]
    else:
        return None
    days = [found for found in (_date(year, month, day) for year in years) if found]
    if not days:
        template = "There is no such day in {years}. Write the day with its hour, like: {examples}."
        raise NotATime("no_such_day", template, years=" / ".join(map(str, years)))
    return days


def _day_of_year(words: str) -> tuple[int, int, int | None] | None:
    """Month, day and perhaps year of `1er décembre`, `1 December 2026` or `December 1`."""
    if match := DAY_MONTH.match(words):
        day, month, year = match[1], match[2], match[3]
    elif match := MONTH_DAY.match(words):
        day, month, year = match[2], match[1], match[3]
    else:
        return None
    return (MONTHS[month], int(day), int(year) if year else None) if month in MONTHS else None


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _at_hour(days: list[date], clock: time, zone: str, now: datetime) -> When:
    here = now.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    walls = [datetime.combine(day, clock) for day in days]
    for wall in [wall for wall in walls if wall > here] or walls[-1:]:  # an hour that is behind may well be skipped
        when = _in_zone(wall, zone)
        if when.instant > now:
            break
    if len(days) > 1 and when.instant > now + NEEDS_ITS_YEAR:
        raise NotATime("past", "That day has passed this year. Write the next one with its year, like: {examples}.")
    return when


def _hour(words: str, typed: str) -> time:
    """The wall clock of these words of what was typed.

    Raises NotATime for none, for a number that may be a day, and for midnight and 12 am or pm.
    """
    if not words:
        raise NotATime("no_hour", "At what hour? Write the day with its hour, like: {examples}.")
    if NOON.match(words):
        return time(12)
    if MIDNIGHT.search(words):
        raise NotATime(
            "ambiguous", "Midnight belongs to two days. Write 0:00 or 23:59 with the day you mean: {examples}."
        )
    match = CLOCK.match(words)
    if match is None:
        _refuse_dots(words)
        raise _not_understood(typed)
    hour, minute = int(match["hour"]), int(match["minute"] or match["after_h"] or match["of_half"] or 0)
    if hour > 23 or minute > 59:
        raise _no_such_time()
    if not match["at"] and not match["form"]:
        raise NotATime(
            "ambiguous",
            "{number} may be an hour or a day. Write the hour like {number}:00: {examples}.",
            number=match["hour"],
        )
    return time(_of_half(hour, minute, match["half"]) if match["half"] else hour, minute)


def _no_such_time() -> NotATime:
    return NotATime("not_understood", "There is no such date or hour. Write it like: {examples}.")


def _of_half(hour: int, minute: int, half: str) -> int:
    if not 1 <= hour <= 12:
        raise _no_such_time()
    if (hour, minute) == (12, 0):
        raise NotATime(
            "ambiguous", "12 am and 12 pm are noon to some and midnight to others. Write 12:00 or 0:00: {examples}."
        )
    return hour % 12 + (12 if half == "p" else 0)


def _in_zone(local: datetime, zone: str) -> When:
    """A wall clock's instant: one that the spring change skips is refused, of two in autumn the first is taken."""
    place = ZoneInfo(zone)
    first, second = local.replace(tzinfo=place, fold=0), local.replace(tzinfo=place, fold=1)
    instant = _instant(first)
    if not _is_real(local, place):
        template = "The clocks skip {time} that night in {zone}. Choose another time, like: {examples}."
        raise NotATime("gap", template, time=f"{local:%H:%M}", zone=zone)
    return When(instant, zone, first_of_two=first.utcoffset() != second.utcoffset())


def _instant(local: datetime) -> datetime:
    """In UTC. On the first and the last day that there are, it may lie before or after all years."""
    try:
        return local.astimezone(UTC)
    except OverflowError:
        raise (_past() if local.year == MINYEAR else _too_far()) from None


def _is_real(wall: datetime, place: ZoneInfo) -> bool:
    """False for a wall clock that the spring change skips there."""
    return wall.replace(tzinfo=place).astimezone(UTC).astimezone(place).replace(tzinfo=None) == wall


def _within_reach(when: When, now: datetime) -> When:
    if when.instant <= now:
        raise _past()
    if when.instant > now + FURTHEST:
        raise _too_far()
    return when


def _past() -> NotATime:
    return NotATime("past", "That time has passed. Choose a later one, like: {examples}.")


def _too_far() -> NotATime:
    return NotATime("too_far", "That is more than two years away. Choose an earlier time, like: {examples}.")


# --- what comes again ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recurrence:
    """When something comes again, as wall clock time: five cron fields, and of their weeks only each `weeks`th.

    Cron because it is written down once for all: day of month and weekday both hold when one of them starts with a
    star, else either; `L` is the last day of the month, `5L` its last Friday, `1#2` its second Monday. Of its weeks
    (from Monday) those count that are a multiple of `weeks` away from the week of `anchor`. Raises ValueError for a
    rule that cannot be.
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
        """Does the rule itself say on which weekdays? Then a weekend is meant. A day of the month is not."""
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
class Occurrence:
    """One time of a recurrence: `local`, the naive wall clock that names it, and `instant` (UTC)."""

    local: datetime
    instant: datetime


class Closed(StrEnum):
    """What becomes of an occurrence on a closed day."""

    KEEP = "keep"
    SKIP = "skip"
    SHIFT = "shift"  # to the next open day, at the same wall clock


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
) -> Iterator[Occurrence]:
    """The occurrences strictly after this instant (aware), in order; it ends when none comes for eight years.

    A wall clock that the spring change skips goes at the first instant after the gap and bears the name of that
    instant; of two in autumn the first is taken. Two that shift to the same wall clock, or to the same instant, are
    one. When days are skipped or shifted, a Saturday or Sunday is closed unless the rule names that day.
    """

    def shut(day: date) -> bool:
        weekend = day.weekday() >= 5 and not (rule.names_days and rule.falls_on(day))
        return closed is not Closed.KEEP and (weekend or is_closed(day))

    place = ZoneInfo(zone)
    last = after.astimezone(UTC)
    for wall in _walls(rule, after.astimezone(place).date(), closed, shut):
        occurrence = _occurrence(wall, place)
        if occurrence.instant > last:
            yield occurrence
            last = occurrence.instant


def _walls(rule: Recurrence, today: date, closed: Closed, shut: Callable[[date], bool]) -> Iterator[datetime]:
    """The rule's wall clocks from this day on, with what closed days before it shift onto it."""
    latest = day = today
    while closed is Closed.SHIFT and shut(day - timedelta(days=1)) and (today - day).days < PATIENCE:
        day -= timedelta(days=1)
    shifted: set[time] = set()
    clocks = rule.clocks()
    while (day - latest).days <= PATIENCE:
        due = {*shifted, *(clocks if rule.falls_on(day) else ())}
        if shut(day):
            shifted = due if closed is Closed.SHIFT else set()
        else:
            yield from (datetime.combine(day, clock) for clock in sorted(due))
            shifted = set()
            latest = day if due else latest
        day += timedelta(days=1)


def _occurrence(wall: datetime, place: ZoneInfo) -> Occurrence:
    real = next(later for minutes in count() if _is_real(later := wall + timedelta(minutes=minutes), place))
    return Occurrence(real, real.replace(tzinfo=place).astimezone(UTC))


# --- recurrences as people type them ---------------------------------------------------------------------------------

Kind = Literal[
    "daily",
    "working",
    "range",
    "weekly",
    "other",
    "nth",
    "first",
    "last",
    "monthly",
    "yearly",
    "bare",
    "often",
    "hourly",
    "spaced",
]
Found = Mapping[str, str]

ORDINALS = {
    name: number
    for number, names in {
        "#1": ("first", "1st", "premier", "1er", "primer"),
        "#2": ("second", "2nd", "deuxieme", "2e", "2eme", "segundo"),
        "#3": ("third", "3rd", "troisieme", "3e", "3eme", "tercer"),
        "#4": ("fourth", "4th", "quatrieme", "4e", "4eme", "cuarto"),
        "L": ("last", "dernier", "ultimo"),
    }.items()
    for name in names
}
#: For each language what stands for `<every>`, `<and>`, `<of>` (the month) and the endings of a day of the month; then
#: its sentences. The first that matches whole says the kind of rule, and its groups the rest.
TONGUES: tuple[tuple[Mapping[str, str], tuple[tuple[Kind, str], ...]], ...] = (
    (
        {
            "every": "(?:every |each )?",
            "and": "(?:, and |, | and )(?:every |each |the )?",
            "of": "of (?:the|every|each) month",
            "th": "(?:st|nd|rd|th)?",
        },
        (
            ("daily", "<every>day|everyday|daily"),
            ("working", "<every>(?:weekday|working day|workday|business day)|(?:on )?weekdays"),
            ("range", "(?:every day |every )?(?:from )?<from>(?: to | through | ?- ?)<to>"),
            ("weekly", "(?:<every>|(?:weekly|every week) (?:on )?|on )<days>"),
            ("weekly", "<every><weeks> weeks (?:on )?<days>"),
            ("other", "<every>other (?:week (?:on )?)?<days>"),
            ("other", "(?:every fortnight|fortnightly),? (?:on )?<days>"),
            ("nth", "(?:on )?(?:the )?<every><nth> <day> <of>"),
            ("nth", "(?:<every>month|monthly) on the <nth> <day>"),
            ("first", "(?:on )?(?:the )?<every>first(?: day)? <of>|(?:<every>month|monthly) on the first day"),
            ("last", "(?:on )?(?:the )?<every>last day <of>|(?:<every>month|monthly) on the last day"),
            ("monthly", "(?:<every>month|monthly) on (?:the )?<date>"),
            ("monthly", "(?:on )?(?:the )?<every><date> <of>"),
            ("yearly", "(?:every year |yearly |each year )on (?:the )?<of_year>"),
            ("yearly", "(?:every|each) <of_year>"),
            ("bare", "<every>(?:week|weekend|month|year)|on weekends|weekly|monthly|yearly|every [a-z0-9]+ weeks"),
            ("often", "<every>(?:[0-9]+ )?(?:minutes?|mins?|seconds)"),
            ("hourly", "<every>(?:[a-z0-9]+ )?hours?|hourly"),
            ("spaced", "<every>(?:other|second|third|<many>(?:nd|rd|th)?) (?:days?|months?|years?)"),
        ),
    ),
    (
        {
            "every": "(?:chaque |tous les |les )?",
            "and": "(?:, | et )(?:chaque |tous les |les |le )?",
            "of": "(?:du mois|de chaque mois|de tous les mois)",
            "th": "(?:er)?",
        },
        (
            ("daily", "chaque jour|tous les jours"),
            ("working", "chaque jour ouvre|(?:tous )?les jours ouvres|en semaine"),
            ("range", "(?:chaque jour |tous les jours )?(?:du |de )?<from>(?: au | a | ?- ?)<to>"),
            ("weekly", "(?:<every>|le |(?:chaque semaine|toutes les semaines),? (?:le )?)<days>"),
            ("weekly", "toutes les <weeks> semaines,? (?:le )?<days>"),
            ("weekly", "un <days> sur <weeks>"),
            ("other", "une semaine sur (?:deux|2),? (?:le )?<days>"),
            ("other", "tous les (?:15|quinze) jours,? (?:le )?<days>"),
            ("nth", "(?:le )?<every><nth> <day> <of>"),
            ("nth", "(?:chaque mois|tous les mois),? le <nth> <day>"),
            ("first", "(?:le )?<every>premiers?(?: jours?)? <of>|(?:chaque mois|tous les mois),? le premier jour"),
            ("last", "(?:le )?<every>derniers? jours? <of>|(?:chaque mois|tous les mois),? le dernier jour"),
            ("monthly", "(?:chaque mois|tous les mois),? le <date>"),
            ("monthly", "(?:le )?<every><date> <of>"),
            ("monthly", "le <date> (?:chaque|tous les) mois"),
            ("yearly", "(?:chaque annee|tous les ans),? le <of_year>"),
            ("yearly", "(?:chaque|tous les) <of_year>"),
            (
                "bare",
                "chaque (?:semaine|mois|annee)|toutes les (?:[a-z0-9]+ )?semaines|tous les (?:mois|ans)",
            ),
            ("bare", "<every>week-?ends?|tous les (?:15|quinze) jours"),
            ("often", "(?:chaque|toutes les) (?:[0-9]+ )?(?:min|mn|minutes?|secondes?)"),
            ("hourly", "(?:chaque|toutes les) (?:[a-z0-9]+ )?heures?"),
            ("spaced", "<every><many> (?:jours|mois|ans)|un (?:jour|mois|an) sur <many>"),
        ),
    ),
    (
        {
            "every": "(?:cada |todos los |los )?",
            "and": "(?:, | y | e )(?:cada |todos los |los |el )?",
            "of": "(?:del mes|de cada mes|de todos los meses)",
            "th": r"(?:\.?o)?",
        },
        (
            ("daily", "cada dia|todos los dias|diariamente"),
            ("working", "cada dia laborable|(?:todos )?los dias laborables|entre semana"),
            ("range", "(?:cada dia |todos los dias )?(?:de )?<from>(?: a | ?- ?)<to>"),
            ("weekly", "(?:<every>|el |(?:cada semana|todas las semanas),? (?:el |los )?)<days>"),
            ("weekly", "cada <weeks> semanas,? (?:el |los )?<days>"),
            ("weekly", "un <days> de cada <weeks>"),
            ("weekly", "cada <weeks> <days>"),
            ("other", "cada (?:15|quince) dias,? (?:el |los )?<days>"),
            ("nth", "(?:el )?<every><nth> <day> <of>"),
            ("nth", "(?:cada mes|todos los meses),? el <nth> <day>"),
            (
                "first",
                "(?:el )?<every>(?:primer dia|primero|dia primero) <of>|(?:cada mes|todos los meses),? el primer dia",
            ),
            ("last", "(?:el )?<every>ultimo dia <of>|(?:cada mes|todos los meses),? el ultimo dia"),
            ("monthly", "(?:cada mes|todos los meses),? el (?:dia )?<date>"),
            ("monthly", "(?:el )?<every>(?:dia )?<date> <of>"),
            ("yearly", "(?:cada ano|todos los anos),? el <of_year>"),
            ("yearly", "cada <of_year>"),
            (
                "bare",
                "cada (?:semana|mes|ano)|cada [a-z0-9]+ semanas|todas las semanas|todos los (?:meses|anos)",
            ),
            ("bare", "<every>(?:fin|fines) de semana|cada (?:15|quince) dias"),
            ("often", "cada (?:[0-9]+ )?(?:min|minutos?|segundos?)"),
            ("hourly", "(?:cada|todas las) (?:[a-z0-9]+ )?horas?"),
            ("spaced", "<every><many> (?:dias|meses|anos)|un (?:dia|mes|ano) de cada <many>"),
        ),
    ),
)
WEEKDAYS_OF = (
    "mondays?|mon|tuesdays?|tues?|wednesdays?|weds?|thursdays?|thu(?:rs?)?|fridays?|fri|saturdays?|sat|sundays?|sun",
    "lundis?|mardis?|mercredis?|jeudis?|vendredis?|samedis?|dimanches?",
    "lunes|martes|miercoles|jueves|viernes|sabados?|domingos?",
)
#: Five cron fields with a star among them, and no word before them: nothing else is written so.
FIELDS = r"(?=.*\*)[0-9*][0-9*,/-]*(?: [0-9a-z*,/#-]+){4}"
CRON = re.compile(rf"cron\b:? ?(?P<after>.*)|(?P<bare>{FIELDS})")
MARKS = re.compile(
    rf"^cron\b|^{FIELDS}$|\b(?:every|everyday|each|hourly|daily|fortnightly|weekly|monthly|yearly|weekdays|(?:mon|tues|wednes|thurs|fri|satur|sun)days"
    r"|chaque|tous|toutes|(?:lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche)s|sur (?:deux|trois|quatre|[0-9])"
    r"|cada|todos|todas|diariamente|of the month|du mois|del mes"
    r"|jours ouvres|en semaine(?! [0-9])|dias laborables|entre semana)\b"
    rf"|\b(?:{WEEKDAYS_OF[0]})(?: to | through | ?- ?)(?:{WEEKDAYS_OF[0]})\b"
    rf"|\b(?:{WEEKDAYS_OF[1]})(?: au | a | ?- ?)(?:{WEEKDAYS_OF[1]})\b"
    rf"|\b(?:{WEEKDAYS_OF[2]})(?: a | ?- ?)(?:{WEEKDAYS_OF[2]})\b|^(?:les|los) "
)


def is_recurrence(typed: str) -> bool:
    """Does it speak of what comes again? Then it is no instant, whether or not it is a recurrence we know."""
    try:
        return MARKS.search(_plain(typed)) is not None
    except NotATime:
        return False


def parse_recurrence(typed: str, *, zone: str, now: datetime, cron: bool = False) -> Recurrence:
    """The recurrence that was typed; `cron`: by somebody who may write it in cron. Raises NotATime, and never guesses.

    Weeks that are left out are counted from the week of the next day that it falls on.
    """
    try:
        plain = _plain(typed)
        if match := CRON.fullmatch(plain):
            return _cron_typed(match["bare"] or match["after"], zone, now, cron)
        return _recurrence(plain, zone, now)
    except NotATime as error:
        raise NotATime(error.code, error.template, **{**error.values, "examples": ", ".join(RECURRING)}) from None


def _cron_typed(fields: str, zone: str, now: datetime, allowed: bool) -> Recurrence:
    if not allowed:
        raise NotATime("cron_admins", "Only admins may write cron. Write it like: {examples}.")
    try:
        rule = Recurrence(fields)
        next(following(rule, zone, now))
    except (ValueError, StopIteration):
        template = "`{fields}` is no cron rule of five fields that ever comes. Monday at nine is `cron 0 9 * * 1`."
        raise NotATime("cron", template, fields=fields) from None
    if len({clock.minute for clock in rule.clocks()}) > 1:
        raise _too_often()
    return rule


def _too_often() -> NotATime:
    return NotATime("too_often", "That comes more than once an hour, which is too often. Write it like: {examples}.")


def _spaced() -> NotATime:
    return NotATime(
        "spaced",
        "What comes every so many days, months or years cannot be written. Name the weekdays, the weeks or the days of "
        "the month, like: {examples}.",
    )


def _recurrence(plain: str, zone: str, now: datetime) -> Recurrence:
    (days, weeks), clock = _apart(plain, _sentence)
    return _from_week(Recurrence(f"{clock.minute} {clock.hour} {days}"), weeks, zone, now)


def _sentence(words: str) -> tuple[str, int] | None:
    """What `_days_of_rule` makes of the first sentence that it is. Raises NotATime."""
    for kind, row in SENTENCES:
        if match := row.fullmatch(words):
            return _days_of_rule(kind, {name: text for name, text in match.groupdict().items() if text})
    return None


def _from_week(rule: Recurrence, weeks: int, zone: str, now: datetime) -> Recurrence:
    if weeks == 1:
        return rule
    return Recurrence(rule.cron, weeks, next(following(rule, zone, now)).local.date())


def _days_of_rule(kind: Kind, found: Found) -> tuple[str, int]:
    """Day of month, month and weekday as cron has them, and each how many weeks it comes. Raises NotATime."""
    match kind:
        case "daily":
            return "* * *", 1
        case "working":
            return _on(range(5)), 1
        case "range":
            return _on(_span_of_days(found)), 1
        case "weekly" | "other":
            return _on(map(_weekday, WEEKDAY.findall(found["days"]))), 2 if kind == "other" else _weeks(found)
        case "nth":
            return f"* * {_cron_day(_weekday(found['day']))}{ORDINALS[_singular(found['nth'])]}", 1
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
            raise NotATime("no_day", "On which day? Write the day with its hour, like: {examples}.")
        case "often":
            raise _too_often()
        case "hourly":
            template = "More than once a day is for admins, in cron: `cron 0 9-17 * * 1-5`. Else like: {examples}."
            raise NotATime("hourly", template)
        case "spaced":
            raise _spaced()


def _on(weekdays: Iterable[int]) -> str:
    days = sorted(set(weekdays))
    return "* * " + ("*" if len(days) == 7 else ",".join(map(_cron_day, days)))


def _cron_day(weekday: int) -> str:
    return str((weekday + 1) % 7)


def _span_of_days(found: Found) -> range:
    first, last = _weekday(found["from"]), _weekday(found["to"])
    if first >= last:
        raise _not_understood()  # from Friday to Monday: perhaps so, perhaps the other way about
    return range(first, last + 1)


def _weekday(name: str) -> int:
    return WEEKDAYS[name if name in WEEKDAYS else _singular(name)]


def _singular(name: str) -> str:
    return name.removesuffix("s")


def _weeks(found: Found) -> int:
    typed = found.get("weeks", "1")
    weeks = COUNTS.get(typed) or int(typed)
    if not 1 <= weeks <= MOST_WEEKS:
        raise _not_understood()
    return weeks


def _day_of_month(typed: str) -> int:
    day = int(typed)
    if 29 <= day <= 31:
        template = "Not every month has a day {day}. Write “last day of the month”, or a day up to 28: {examples}."
        raise NotATime("not_every_month", template, day=str(day))
    if not 1 <= day <= 28:
        raise _no_such_time()
    return day


def _once_a_year(typed: str) -> str:
    month, day, year = _day_of_year(typed) or (0, 0, None)
    if year is not None or _date(2027, month, day) is None:  # a year without a leap day, which comes only each fourth
        raise _no_such_time()
    return f"{day} {month} *"


def _sentences() -> Iterator[tuple[Kind, re.Pattern[str]]]:
    months = "|".join(MONTHS)
    for weekdays, (words, rows) in zip(WEEKDAYS_OF, TONGUES, strict=True):
        parts = {
            "days": f"(?P<days>(?:{weekdays})(?:{words['and']}(?:{weekdays}))*)",
            "nth": f"(?P<nth>(?:{'|'.join(ORDINALS)})s?)",
            "weeks": f"(?P<weeks>[0-9]{{1,2}}|{'|'.join(COUNTS)})",
            "many": f"(?:[0-9]+|{'|'.join(COUNTS)}|five|cinq|cinco|six|seis|ten|dix|diez)",
            "date": f"(?P<date>[0-9]{{1,2}}{words['th']}(?:{words['and']}(?:dia )?[0-9]{{1,2}}{words['th']})*)",
            "of_year": f"(?P<of_year>[0-9]{{1,2}}[a-z]*(?: de| of)? (?:{months})|(?:{months}) [0-9]{{1,2}}[a-z]*)",
            **{name: f"(?P<{name}>{weekdays})" for name in ("day", "from", "to")},
        }
        for kind, row in rows:
            filled = re.sub("<([a-z_]+)>", lambda part: {**words, **parts}[part[1]], row)  # noqa: B023 - called at once
            yield kind, re.compile(filled)


WEEKDAY = re.compile(r"\b(?:" + "|".join(WEEKDAYS_OF) + r")\b")
SENTENCES = tuple(_sentences())
