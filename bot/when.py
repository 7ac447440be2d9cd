"""What a person typed as a time, in English, French or Spanish. A strict grammar: what it does not know it refuses.

Date-text libraries were tried and guess ("demain 9h" became 19:00); a send at a guessed hour cannot be taken back.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

FURTHEST = timedelta(days=731)

EXAMPLES = ("2026-12-01 09:00", "tomorrow 9:00", "demain 9h", "lundi 8h30", "mañana a las 9", "in 20 minutes")

DAYS_AHEAD = {
    **dict.fromkeys(("today", "aujourd'hui", "hoy"), 0),
    **dict.fromkeys(("tomorrow", "demain", "manana"), 1),
    **dict.fromkeys(("apres-demain", "pasado manana"), 2),
}
WEEKDAYS = {
    name: index
    for index, names in enumerate(
        (
            ("monday", "mon", "lundi", "lunes"),
            ("tuesday", "tue", "mardi", "martes"),
            ("wednesday", "wed", "mercredi", "miercoles"),
            ("thursday", "thu", "jeudi", "jueves"),
            ("friday", "fri", "vendredi", "viernes"),
            ("saturday", "sat", "samedi", "sabado"),
            ("sunday", "sun", "dimanche", "domingo"),
        )
    )
    for name in names
}
MONTHS = {
    name: index
    for index, names in enumerate(
        (
            ("january", "jan", "janvier", "enero"),
            ("february", "feb", "fevrier", "febrero"),
            ("march", "mar", "mars", "marzo"),
            ("april", "apr", "avril", "abril"),
            ("may", "mai", "mayo"),
            ("june", "jun", "juin", "junio"),
            ("july", "jul", "juillet", "julio"),
            ("august", "aug", "aout", "agosto"),
            ("september", "sep", "septembre", "septiembre"),
            ("october", "oct", "octobre", "octubre"),
            ("november", "nov", "novembre", "noviembre"),
            ("december", "dec", "decembre", "diciembre"),
        ),
        start=1,
    )
    for name in names
}
UNITS = {
    **dict.fromkeys(("min", "mins", "minute", "minutes", "minuto", "minutos"), 60),
    **dict.fromkeys(("h", "hour", "hours", "heure", "heures", "hora", "horas"), 3600),
    **dict.fromkeys(("day", "days", "jour", "jours", "dia", "dias"), 86400),
}

ISO = re.compile(r"^(\d{4})-(\d{2})-(\d{2})[t ](\d{2}):(\d{2})(?::(\d{2}))? ?(z|[+-]\d{2}:?\d{2})?$")
SPAN = re.compile(r"^(?:in|dans|en|dentro de) (\d{1,4}) ?([a-z]+)$")
CLOCK = re.compile(
    r"^(?:(?:at|a|a las|a la) )?(\d{1,2})(?:(?::|h| h )(\d{2})| ?h(?:eures?|oras?)?)?(?: ?(am|pm))?(?:h)?$"
)
DAY_MONTH = re.compile(r"^(?:le |el |the )?(\d{1,2})(?:er|st|nd|rd|th)?(?: de| of)? ([a-z]+)(?: (?:de |of )?(\d{4}))?$")
MONTH_DAY = re.compile(r"^([a-z]+) (\d{1,2})(?:st|nd|rd|th)?(?:,? (\d{4}))?$")
NUMERIC_DATE = re.compile(r"\b\d{1,2}[/.]\d{1,2}(?:[/.]\d{2,4})?\b")


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
    elif match := SPAN.match(plain):
        when = _span(match, zone, now)
    else:
        when = _day_and_hour(plain, zone, now)
    return _within_reach(when, now)


def _plain(typed: str) -> str:
    """Lower case, straight apostrophes, single spaces, no accents: what the tables are written in."""
    text = typed.strip().lower().replace("’", "'").replace("‘", "'")
    text = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    return re.sub(r"\s+", " ", text)


def _iso(match: re.Match[str], zone: str) -> When:
    year, month, day, hour, minute = (int(part) for part in match.groups()[:5])
    offset = match[7]
    try:
        local = datetime(year, month, day, hour, minute, int(match[6] or 0))  # noqa: DTZ001 - its zone comes next
        if offset is None:
            return _in_zone(local, zone)
        written = "+00:00" if offset == "z" else offset
        return When(datetime.fromisoformat(f"{local.isoformat()}{written}").astimezone(UTC), zone)
    except ValueError:
        raise NotATime("not_understood", "There is no such date or hour. Write it like: {examples}.") from None


def _span(match: re.Match[str], zone: str, now: datetime) -> When:
    seconds = UNITS.get(match[2])
    if seconds is None:
        raise _not_understood()
    return When(now.astimezone(UTC) + int(match[1]) * timedelta(seconds=seconds), zone)


def _day_and_hour(plain: str, zone: str, now: datetime) -> When:
    if NUMERIC_DATE.search(plain):
        raise NotATime("ambiguous", "3/4 is March to some and April to others. Write it like: {examples}.")
    words = plain.split(" ")
    for cut in range(len(words), -1, -1):
        days = _days(" ".join(words[:cut]), zone, now)
        if days is not None:
            return _at_hour(days, " ".join(words[cut:]), zone, now)
    raise _not_understood()


def _not_understood() -> NotATime:
    return NotATime("not_understood", "That is no time that I understand. Write it like: {examples}.")


def _days(words: str, zone: str, now: datetime) -> list[date] | None:
    """The days that these words may mean, nearest first; None when they mean none."""
    today = now.astimezone(ZoneInfo(zone)).date()
    words = re.sub(r"[ ,]+(?:at|a|a las|a la)$", "", words.rstrip(","))
    if words in DAYS_AHEAD:
        return [today + timedelta(days=DAYS_AHEAD[words])]
    bare = re.sub(r"^(?:on|le|el) ", "", words)
    if bare in WEEKDAYS:
        ahead = (WEEKDAYS[bare] - today.weekday()) % 7
        return [today + timedelta(days=ahead), today + timedelta(days=ahead + 7)]
    return _dates(words, today)


def _dates(words: str, today: date) -> list[date] | None:
    if match := DAY_MONTH.match(words):
        day, month, year = match[1], match[2], match[3]
    elif match := MONTH_DAY.match(words):
        day, month, year = match[2], match[1], match[3]
    else:
        return None
    if month not in MONTHS:
        return None
    years = [int(year)] if year else [today.year, today.year + 1]
    return [found for found in (_date(year, MONTHS[month], int(day)) for year in years) if found] or None


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _at_hour(days: list[date], words: str, zone: str, now: datetime) -> When:
    if not words:
        raise NotATime("no_hour", "At what hour? Write the day with its hour, like: {examples}.")
    hour, minute = _hour(words)
    candidates = [_in_zone(datetime(day.year, day.month, day.day, hour, minute), zone) for day in days]  # noqa: DTZ001
    ahead = [when for when in candidates if when.instant > now]
    return (ahead or candidates)[0]


def _hour(words: str) -> tuple[int, int]:
    match = CLOCK.match(words)
    if match is None:
        raise _not_understood()
    hour, minute, half = int(match[1]), int(match[2] or 0), match[3]
    if half and not 1 <= hour <= 12:
        raise _not_understood()
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    if hour > 23 or minute > 59:
        raise _not_understood()
    return hour, minute


def _in_zone(local: datetime, zone: str) -> When:
    """A wall clock's instant: one that the spring change skips is refused, of two in autumn the first is taken."""
    place = ZoneInfo(zone)
    first, second = local.replace(tzinfo=place, fold=0), local.replace(tzinfo=place, fold=1)
    if first.astimezone(UTC).astimezone(place).replace(tzinfo=None) != local:
        template = "The clocks skip {time} that night in {zone}. Choose another time, like: {examples}."
        raise NotATime("gap", template, time=f"{local:%H:%M}", zone=zone)
    return When(first.astimezone(UTC), zone, first_of_two=first.utcoffset() != second.utcoffset())


def _within_reach(when: When, now: datetime) -> When:
    if when.instant <= now:
        raise NotATime("past", "That time has passed. Choose a later one, like: {examples}.")
    if when.instant > now + FURTHEST:
        raise NotATime("too_far", "That is more than two years away. Choose an earlier time, like: {examples}.")
    return when
