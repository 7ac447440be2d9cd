"""The hour of a day as people type it: `9h`, `half past three`, `9pm`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import time

from bot.when.refusals import (
    NotATime,
    clock_text,
    hour_of_half,
    no_such_time,
    not_understood,
    refuse_dots,
    two_readings,
    unclear_midnight,
)
from bot.when.vocabulary import CLOCK, FRACTIONS, MIDNIGHT, OF_THE_MORNING, PARTS, SPOKEN, to_number


def is_hour(words: str, *, alone: bool = True) -> bool:
    """Whether these words clearly are an hour, as `9h` and `at 9` are. `alone`: an `at` can mean no other number."""
    match = CLOCK.match(words) or match_spoken(words)
    if match is None:
        return False
    found = match.groupdict()
    return any(found.get(name) for name in ("form", "noon", "before", "after", "half")) or bool(found["at"] and alone)


def match_spoken(words: str) -> re.Match[str] | None:
    return next((match for pattern in SPOKEN if (match := pattern.match(words))), None)


@dataclass(frozen=True)
class Hour:
    """The possible readings of an hour, on a 24-hour clock. `spoken`: in spoken words, which count only to twelve."""

    typed: str
    readings: tuple[time, ...]
    spoken: bool = False


def read_hour(words: str, typed: str) -> Hour:
    """The hour that these words of the typed text mean.

    Raises NotATime if there is none, for a number that may be a day, for midnight, and for 12 am and 12 pm.
    """
    if not words:
        raise NotATime("no_hour", "At what time? Write the day and the time, for example: {examples}.")
    if MIDNIGHT.search(words):
        raise unclear_midnight()
    if match := CLOCK.match(words):
        hour = _written(match)
    elif match := match_spoken(words):
        hour = _spoken(match)
    else:
        refuse_dots(words)
        raise not_understood(typed)
    if not is_hour(words):
        number = str(hour.readings[0].hour)
        template = "{number} could be a time or a day. Write the time like this: {number}:00. Examples: {examples}."
        raise NotATime("ambiguous", template, number=number)
    return hour


def _written(match: re.Match[str]) -> Hour:
    """Read an hour in digits. It is on a 24-hour clock, unless a part of the day says otherwise: `9h du soir`."""
    words = match[0]
    hour, minute = int(match["hour"]), int(match["minute"] or match["after_h"] or match["of_half"] or 0)
    if hour > 23 or minute > 59:
        raise no_such_time()
    if re.search(r"[0-9]\.[0-9]", words) and not (match["at"] or match["mark"] or match["half"]):
        refuse_dots(words)
    if match["half"]:
        return Hour(words, (hour_of_half(hour, minute, match["half"]),))
    clock = time(hour, minute)
    if 1 <= hour < 12 and match["hour"][0] != "0":
        return Hour(words, (clock, time(hour + 12, minute)))
    return Hour(words, (clock,))


def _spoken(match: re.Match[str]) -> Hour:
    """Read a spoken hour. `half past nine` may be two hours; `midi et quart` and `quinze heures trente` are one."""
    found = {name: text for name, text in match.groupdict().items() if text}
    minutes = _minutes(found.get("before") or found.get("after"))
    shift = -minutes if found.get("side") in ("to", "moins", "menos") else minutes
    hour = 12 if "noon" in found else to_number(found["hour"])
    if hour > 23 or (not 1 <= hour <= 12 and "o'clock" in match[0]):
        raise no_such_time()
    words = match[0].removeprefix(found.get("at", ""))
    if "half" in found:
        return Hour(words, (_shifted(hour_of_half(hour, max(shift, 0), found["half"]), min(shift, 0)),))
    if "noon" in found or not 1 <= hour <= 12:
        return Hour(words, (_shifted(time(hour), shift),))
    return Hour(words, (_shifted(time(hour % 12), shift), _shifted(time(hour % 12 + 12), shift)), spoken=True)


def _minutes(typed: str | None) -> int:
    return 0 if typed is None else FRACTIONS[typed] if typed in FRACTIONS else to_number(typed)


def _shifted(clock: time, minutes: int) -> time:
    return time(*divmod((60 * clock.hour + clock.minute + minutes) % (24 * 60), 60))


def settle(hour: Hour, part: str | None) -> time:
    """The one reading that is meant: if a part of the day is given, the one in it. Raises NotATime."""
    written = hour.readings[0]
    if part is None:
        if hour.spoken and written.hour not in OF_THE_MORNING:
            raise two_readings(hour.typed, *map(clock_text, hour.readings))
        return written
    inside = [clock for clock in hour.readings if clock.hour in PARTS[part]]
    if hour.spoken and (not inside or inside[0].hour == 0):  # twelve in the morning is noon to some
        raise two_readings(hour.typed, *map(clock_text, hour.readings))
    if not inside and written.hour == 12:
        if written.minute == 0 and PARTS[part].start > 12:
            raise unclear_midnight()
        raise two_readings(hour.typed, clock_text(written.replace(hour=0)), clock_text(written))
    if not inside:
        template = "{hour} is not in that part of the day. Write the time from 0:00 to 23:59, for example: {examples}."
        raise NotATime("ambiguous", template, hour=f"{written:%H:%M}")
    return inside[0]
