"""Turns what people type into one instant in their time zone, or refuses it and says what to type."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import MINYEAR, UTC, date, datetime, time, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

from bot.when.clock_times import is_hour, read_hour, settle
from bot.when.dates import FURTHEST, read_days
from bot.when.durations import read_days_ahead, read_length, read_span
from bot.when.recurrence import is_real
from bot.when.refusals import (
    JOINTS,
    NEEDS_ITS_YEAR,
    NotATime,
    clock_text,
    has_passed,
    no_such_time,
    not_understood,
    refuse_traps,
    too_far_ahead,
    two_readings,
)
from bot.when.vocabulary import (
    ACCENTS,
    AT,
    BARE_HOUR,
    COMMA,
    EACH_PART,
    EXACTLY,
    HYPHENS,
    ISO,
    JOINED,
    OF_A_CLOCK,
    PART,
    SPAN,
    THIS_PART,
    UNITS,
)

LONGEST = 200  # characters
MOST_WORDS, LONGEST_HOUR = 24, 6  # words of a phrase, and of the hour in it
GOES_ON = 5  # words of a text that may still belong to the time before it

#: What may follow the hour of a recurrence: how often it occurs, or which days it leaves out.
HOW_OFTEN = re.compile(
    r"(?:except|but|sauf|excepto|salvo|menos|every|each|weekly|monthly|chaque|toutes|tous|de chaque|une semaine sur"
    r"|cada|todas|todos|de cada|of the month|of every month|of each month|du mois|del mes|on|le|les|el|los)\b"
)


@dataclass(frozen=True)
class When:
    """An instant (UTC) as somebody in `zone` meant it."""

    instant: datetime
    zone: str

    @property
    def local(self) -> datetime:
        return self.instant.astimezone(ZoneInfo(self.zone))


def parse_when(typed: str, *, zone: str, now: datetime) -> When:
    """The instant that was typed; without an offset it is in this zone. Raises NotATime, and never guesses.

    A weekday is the next such day on which that hour is still ahead, today included. An hour alone is today's.
    """
    plain = simplified(typed)
    if match := ISO.match(plain):
        when = _iso(match, zone)
    elif (length := read_length(plain)) is not None:
        when = _so_long_from(now, length, zone, in_days=read_days_ahead(plain) is not None)
    else:
        when = _day_and_hour(plain, zone, now)
    return _within_reach(when, now)


def names_a_part(typed: str) -> bool:
    """Whether it names a part of the day, as `monday morning` does."""
    return PART.search(simplified(typed).replace("tonight", "this evening")) is not None


def goes_on(typed: str, text: str, *, zone: str, now: datetime) -> str | None:
    """The longest time that `typed` forms with the first words of the text, if any: `17h` before `demain …`."""
    if ISO.match(simplified(typed)):
        return None
    words = text.lstrip(JOINTS).split()[:GOES_ON]
    for many in range(len(words), 0, -1):
        longer = f"{typed} {' '.join(words[:many])}".rstrip(":,.;!?)]")
        try:
            parse_when(longer, zone=zone, now=now)
        except NotATime as error:
            if error.code in ("not_understood", "no_hour", "written"):
                continue
        return longer
    return None


def simplified(typed: str) -> str:
    """The text as the tables need it: lower case, straight apostrophes, single spaces, no accents, no outer quotes."""
    if len(typed) > LONGEST or any(char.isnumeric() and not char.isascii() for char in typed):
        raise not_understood()  # 9² would become 92
    text = typed.strip(' \t\n\u00a0\u202f"“”„«»').rstrip(".,;! ").lower().replace("’", "'").replace("‘", "'")
    text = unicodedata.normalize("NFKD", text).translate(ACCENTS).translate(HYPHENS)
    return JOINED.sub(r"\1 ", re.sub(r"\s+", " ", text).strip())


def _iso(match: re.Match[str], zone: str) -> When:
    year, month, day, hour, minute = (int(part) for part in match.groups()[:5])
    offset = match[7]
    try:
        local = datetime(year, month, day, hour, minute, int(match[6] or 0))  # noqa: DTZ001 - its zone comes next
        if offset is None:
            return _in_zone(local, zone)
        written = "+00:00" if offset in ("z", "utc") else offset
        return When(_instant(datetime.fromisoformat(f"{local.isoformat()}{written}")), zone)
    except ValueError:
        raise no_such_time() from None


def _so_long_from(now: datetime, length: timedelta, zone: str, *, in_days: bool) -> When:
    """Raises NotATime for days across a clock change: they may mean the same hour, or so many times 24 hours."""
    when = When(now.astimezone(UTC) + length, zone)
    if in_days and when.local.utcoffset() != now.astimezone(ZoneInfo(zone)).utcoffset():
        raise NotATime(
            "ambiguous", "The clocks change before then. Write the day and the time, for example: {examples}."
        )
    return when


def _day_and_hour(plain: str, zone: str, now: datetime) -> When:
    refuse_traps(plain)
    today = now.astimezone(ZoneInfo(zone)).date()
    days, clock = split_phrase(plain, lambda words, rest: read_days(words, rest, today))
    if days is not None:
        return _at_hour(days, clock, zone, now)
    when = _today(clock, today, zone, now)
    if (match := SPAN.match(plain)) and match["unit"] in UNITS and clock.hour not in OF_A_CLOCK:
        raise two_readings(
            plain, clock_text(clock), clock_text((now + read_span(match)).astimezone(ZoneInfo(zone)).time())
        )
    return when


Day = TypeVar("Day")
Read = Callable[[str, str], Day | None]  # the words of the day, and those of the hour


def split_phrase(plain: str, read: Read[Day]) -> tuple[Day | None, time]:
    """The day that `read` finds, if any, and the hour before or after it. Raises NotATime."""
    plain = THIS_PART.sub(r"in the \1 today", plain.replace("tonight", "this evening"))
    plain = EACH_PART.sub(lambda each: f"every day in the {each[each.lastindex or 0]}", EXACTLY.sub("", plain))
    plain = re.sub(r"\bce midi\b", "aujourd'hui midi", plain)
    plain = re.sub(r"\beste mediodia\b", "hoy al mediodia", re.sub(r"\b(12|doce) del dia\b", r"\1 del mediodia", plain))
    part = PART.search(plain)
    before, after = (plain[: part.start()], plain[part.end() :]) if part else (plain, "")
    day, hour = _split(f"{before}, {after}", read)
    if part and part["of"] and not is_hour(hour) and BARE_HOUR.search(before):  # `5 in the afternoon` is not a day
        day, hour = _split(f"{BARE_HOUR.sub(AT, before)}, {after}", read)
    clock = read_hour(hour, plain)
    return day, settle(clock, part["part"] if part else None)


def _split(plain: str, read: Read[Day]) -> tuple[Day | None, str]:
    """The day, and the words of the hour, which are all the words if there is no day."""
    words = COMMA.sub(", ", plain).strip(", ").split()
    if len(words) > MOST_WORDS:
        raise not_understood()
    if is_hour(hour := " ".join(words)):
        return None, hour
    return _hour_between(words, read) or _day_first(words, read) or _hour_first(words, read) or (None, hour)


def _day_first(words: list[str], read: Read[Day]) -> tuple[Day, str] | None:
    for cut in range(len(words), 0, -1):
        rest = " ".join(words[cut:])
        if (day := read(" ".join(words[:cut]).rstrip(","), rest)) is not None:
            return day, rest
    return None


def _hour_first(words: list[str], read: Read[Day]) -> tuple[Day, str] | None:
    """`9h demain`. It leaves out `at 9 december 20`, where either number may be the hour."""
    for cut in range(1, len(words)):
        hour, rest = " ".join(words[:cut]).rstrip(","), " ".join(words[cut:])
        certain = is_hour(hour, alone=re.search("[0-9]", rest) is None)
        if certain and (day := read(rest, hour)) is not None:
            return day, hour
    return None


def _hour_between(words: list[str], read: Read[Day]) -> tuple[Day, str] | None:
    """`every day at 9:00 except sunday`: the words after the hour say how often, or which days to leave out."""
    for end in range(2, len(words)):
        rest = " ".join(words[end:])
        if not HOW_OFTEN.match(rest):
            continue
        for start in range(max(1, end - LONGEST_HOUR), end):
            first, hour = " ".join(words[:start]).rstrip(","), " ".join(words[start:end]).rstrip(",")
            if is_hour(hour) and (day := read(f"{first} {rest}", hour)) is not None:
                return day, hour
    return None


def _today(clock: time, today: date, zone: str, now: datetime) -> When:
    """An hour alone is today's. Raises NotATime if it has passed; it never becomes tomorrow's."""
    when = _in_zone(datetime.combine(today, clock), zone)
    if when.instant <= now:
        template = (
            "{hour} has already passed today. If you mean tomorrow, write “tomorrow {hour}”. Examples: {examples}."
        )
        raise NotATime("past", template, hour=clock_text(clock))
    return when


def _at_hour(days: list[date], clock: time, zone: str, now: datetime) -> When:
    here = now.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    walls = [datetime.combine(day, clock) for day in days]
    for wall in [wall for wall in walls if wall > here] or walls[-1:]:  # the clocks may have skipped a past hour
        when = _in_zone(wall, zone)
        if when.instant > now:
            break
    if len(days) > 1 and when.instant > now + NEEDS_ITS_YEAR:
        raise NotATime(
            "past", "That day has already passed this year. Write the next one with its year, for example: {examples}."
        )
    return when


def _in_zone(local: datetime, zone: str) -> When:
    """The instant of a wall clock. Refuses one that the spring change skips, and takes the first of two in autumn."""
    place = ZoneInfo(zone)
    instant = _instant(local.replace(tzinfo=place, fold=0))
    if not is_real(local, place):
        template = "The clocks skip {time} that night in {zone}. Choose another time, for example: {examples}."
        raise NotATime("gap", template, time=f"{local:%H:%M}", zone=zone)
    return When(instant, zone)


def _instant(local: datetime) -> datetime:
    """Convert to UTC. Raises NotATime if that lies before the first or after the last possible year."""
    try:
        return local.astimezone(UTC)
    except OverflowError:
        raise (has_passed() if local.year == MINYEAR else too_far_ahead()) from None


def _within_reach(when: When, now: datetime) -> When:
    if when.instant <= now:
        raise has_passed()
    if when.instant > now + FURTHEST:
        raise too_far_ahead()
    return when
