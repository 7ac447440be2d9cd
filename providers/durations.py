"""Reads and writes durations as settings do: `200ms`, `30s`, `1h30m`."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
PARTS = re.compile(r"\s*".join(rf"(?:(?P<{unit}>\d+(?:\.\d+)?)\s*{unit}(?![a-z]))?" for unit in UNITS), re.ASCII)
BARE = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
LONGEST = 36_500 * UNITS["d"]  # a hundred years: any date computed with it stays valid
NO_DURATION = "must be a duration such as 200ms, 30s, 15m, 1.5h, 1h30m or 2d; a bare number is seconds"


def seconds_of(value: object) -> float:
    """A duration in seconds. Raises ValueError with an example.

    It may be `200ms`, `30s`, `15m`, `1.5h`, `1h30m`, `2d`, a timedelta, or a number (also as text, since the
    environment holds nothing else).
    """
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(max(min(value, 2 * LONGEST), -1))  # an int may be larger than any float
    else:
        seconds = _parsed_seconds(value.strip()) if isinstance(value, str) else math.nan
    if 0 <= seconds <= LONGEST:
        return seconds
    why = "is negative, and " if seconds < 0 else "is longer than a hundred years, and " if seconds > 0 else ""
    raise ValueError(why + NO_DURATION)


def _parsed_seconds(text: str) -> float:
    if BARE.fullmatch(text):
        return float(text)
    parts = PARTS.fullmatch(text)
    amounts = {unit: number for unit, number in parts.groupdict().items() if number} if parts else {}
    return sum(float(number) * UNITS[unit] for unit, number in amounts.items()) if amounts else math.nan


def shown_duration(duration: timedelta) -> str:
    """A duration as settings write it: `1h30m`, `200ms`, `0s`."""
    left, parts = round(duration / timedelta(milliseconds=1)), []
    for unit, seconds in UNITS.items():
        number, left = divmod(left, round(seconds * 1000))
        parts += [f"{number}{unit}"] if number else []
    return "".join(parts) or "0s"


#: For settings: the one way to write a duration, as a timedelta and as seconds.
Duration = Annotated[
    timedelta,
    BeforeValidator(lambda value: timedelta(seconds=seconds_of(value))),
    PlainSerializer(shown_duration, return_type=str, when_used="json"),
]
Seconds = Annotated[float, BeforeValidator(seconds_of)]
