"""Time as it is stored: whole microseconds since 1970 in UTC (`Micros`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar

Micros = int
Number = TypeVar("Number", int, float)
Clock = Callable[[], Micros]
OnEnd = Callable[[str, float, BaseException | None], None]  # what ended, its seconds, its error

SECOND: Micros = 1_000_000
HOUR: Micros = 3600 * SECOND
MOST_DOUBLINGS = 40  # more than any pause here needs


def now() -> Micros:
    return time.time_ns() // 1000


def steady() -> float:
    """Seconds for durations and deadlines. Clock changes do not affect them, and time in machine sleep counts."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@contextmanager
def timed(what: str, on_end: OnEnd) -> Iterator[None]:
    """Tell how long the block took, and what it raised."""
    began, error = time.perf_counter(), None
    try:
        yield
    except BaseException as failed:
        error = failed
        raise
    finally:
        on_end(what, time.perf_counter() - began, error)


def micros(span: timedelta) -> Micros:
    return span // timedelta(microseconds=1)


def moment(instant: Micros) -> datetime:
    return datetime.fromtimestamp(instant / SECOND, tz=UTC)


def backoff(tries: int, first: Number, longest: Number) -> Number:
    """The pause after this many tries: it doubles each time, up to `longest`. In the unit of `first`."""
    return min(first * (1 << min(max(tries, 0), MOST_DOUBLINGS)), longest)
