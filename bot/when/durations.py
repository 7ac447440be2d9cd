"""Reads lengths of time from now: `45m`, `2h30`, `dans une demi-heure`."""

from __future__ import annotations

import re
from datetime import timedelta

from bot.when.refusals import NotATime, not_understood
from bot.when.vocabulary import AHEAD, FRACTIONS, HALVES, HOURS_MINUTES, PIECES, SPAN, UNITS, to_number


def read_length(plain: str) -> timedelta | None:
    """`in two and a half hours`, `dans 3 jours`, `media hora` from now; None if it is no length. Raises NotATime."""
    ahead = AHEAD.match(plain)
    if ahead is None:
        return None
    words = ahead["length"] or ahead["from_now"]
    if minutes := PIECES.get(words.replace("-", " ")):
        return timedelta(minutes=minutes)
    if match := HOURS_MINUTES.match(words):
        more = FRACTIONS[match["fraction"]] if match["fraction"] else to_number(match["minutes"])
        return timedelta(hours=_times(match), minutes=more)
    if match := HALVES.match(words):
        return timedelta(hours=_times(match), minutes=30)
    return read_span(match) if (match := SPAN.match(words)) else None


def _times(match: re.Match[str]) -> int:
    return to_number(match["digits"] or match["number"])


def read_span(match: re.Match[str]) -> timedelta:
    number, seconds = _times(match), UNITS.get(match["unit"])
    if seconds is None:
        raise not_understood(f"in {match[0]}")
    if match["unit"] in ("jours", "dias") and number in (8, 15):
        template = (
            "To some people, {number} days means whole weeks. Write the date or the number of weeks, for example: "
            "{examples}."
        )
        raise NotATime("ambiguous", template, number=str(number))
    return number * timedelta(seconds=seconds)


def read_days_ahead(plain: str) -> timedelta | None:
    """The same, but only for a number of days or weeks; else None."""
    ahead = AHEAD.match(plain.replace(" from today", " from now"))
    match = SPAN.match(ahead["length"] or ahead["from_now"]) if ahead else None
    return read_span(match) if match and UNITS.get(match["unit"], 0) >= UNITS["day"] else None
