"""The demo's clock, which people move to see what a Monday morning brings."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from math import ceil
from zoneinfo import ZoneInfo

from sandbox.world import SlackError

FARTHEST = 366 * 86_400  # seconds ahead


class MovedClock:
    """`ahead`: whole seconds by which it is ahead of this machine's clock."""

    def __init__(self) -> None:
        self.ahead = 0

    def __call__(self) -> float:
        return time.time() + self.ahead

    def move(self, where: str, zone: str) -> None:
        """Move it to one of `PLACES`, as a person in this zone means it. Raises SlackError with a sentence."""
        if where not in PLACES:
            raise SlackError("The clock does not go there.")
        here = datetime.fromtimestamp(self(), ZoneInfo(zone))
        ahead = 0 if where == "now" else ceil(PLACES[where](here).timestamp() - time.time())
        if ahead > FARTHEST:
            raise SlackError("That is more than a year ahead. Go back to now first.")
        self.ahead = ahead


def _monday(here: datetime) -> datetime:
    eight = here.replace(hour=8, minute=0, second=0, microsecond=0)
    days = -here.weekday() % 7
    return eight + timedelta(days=days if days or here < eight else 7)


def _tomorrow(here: datetime) -> datetime:
    return here.replace(hour=9, minute=0, second=0, microsecond=0) + timedelta(days=1)


PLACES: dict[str, Callable[[datetime], datetime]] = {
    "monday": _monday,
    "tomorrow": _tomorrow,
    "hour": lambda here: datetime.fromtimestamp(here.timestamp() + 3600, here.tzinfo),
    "now": lambda here: here,
}
