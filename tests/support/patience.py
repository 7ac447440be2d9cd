"""How long tests wait, in one place.

Tests wait only until a required event has happened, so a long limit costs a passing test nothing. On an even slower
machine, set `BELLCRIER_PATIENCE=3`, and every limit is three times as long.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from bot.app import Bot
from bot.scheduler import PeriodicTask

SCALE = float(os.environ.get("BELLCRIER_PATIENCE", "1"))
LONG = 90.0 * SCALE  # seconds before any wait for a required event gives up
A_WHILE = 10.0 * SCALE  # seconds before what may have been lost is done once more


async def until(happened: Callable[[], Any], timeout: float = LONG) -> Any:
    """Wait until this is true, and return its value; it may be awaitable. Raises TimeoutError."""
    async with asyncio.timeout(timeout):
        while not (found := await found if inspect.isawaitable(found := happened()) else found):
            await asyncio.sleep(0.02)
        return found


async def nothing_more(bot: Bot, rounds: int = 2) -> None:
    """Wait for `rounds` complete runs of each of the bot's quick ticks, and for what they started at the vendors.

    After that, everything that was to happen has happened. A wait in seconds would prove less: on a busy machine,
    nothing at all may happen in two of them.
    """
    assert bot.home.scheduler is not None
    bells = [bell for bell in bot.home.scheduler.bells if bell.seconds <= 5]
    gone, works = Counter[str](), [(bell, bell.work) for bell in bells]
    for bell, work in works:
        bell.work = _counted(bell, work, gone)
    try:
        while min(gone[bell.name] for bell in bells) < rounds:
            for bell in bells:
                bell.rung.set()
            await asyncio.sleep(0.02)
        await asyncio.gather(*(lanes.settle() for lanes in bot.home.scheduler.lanes))
    finally:
        for bell, work in works:
            bell.work = work


async def quiet(seconds: float = 1.0) -> None:
    """Give what must not happen time to happen, where a separate process does not show its ticks.

    Too short a time may hide a fault on a busy machine, but never invents one.
    """
    await asyncio.sleep(seconds)


def _counted(
    bell: PeriodicTask, work: Callable[[], Awaitable[None]], gone: Counter[str]
) -> Callable[[], Awaitable[None]]:
    async def counted() -> None:
        try:
            await work()
        finally:
            gone[bell.name] += 1

    return counted


# --- where time itself is tested -------------------------------------------------------------------------------------


class Machine:
    """How much slower this machine is, while watched, than if it were ours alone.

    It compares the wall-clock time of a moment of computing with its processor time.
    """

    MOMENT, PAUSE = 0.002, 0.05  # seconds

    def __init__(self) -> None:
        self.over = threading.Event()
        self.wall = self.used = self.MOMENT
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def slower(self) -> float:
        return max(self.wall / self.used, 1.0)

    def __enter__(self) -> Machine:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self.over.wait(self.PAUSE):
            began, used = time.monotonic(), time.thread_time()
            while time.thread_time() - used < self.MOMENT:
                pass
            self.wall += time.monotonic() - began
            self.used += time.thread_time() - used


@asynccontextmanager
async def within(seconds: float, at_least: float = 0.0) -> AsyncIterator[Machine]:
    """Require the block to take less than `seconds` and more than `at_least`.

    On a machine that is busy with other things, the upper limit grows as much as everything slows down there.
    """
    began = time.monotonic()
    with Machine() as machine:
        yield machine
    took = time.monotonic() - began
    assert at_least < took < seconds * machine.slower * SCALE, f"{took:.2f} s, {machine.slower:.1f} times slower"
