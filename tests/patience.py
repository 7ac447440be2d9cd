"""How long tests wait, in one place. What must happen is waited for until it has happened, so a long wait costs a test
that passes nothing; a machine that is slower still sets `BELLCRIER_PATIENCE=3`, and everything is three times as long.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from bot.app import Bot
from bot.scheduler import Bell

SCALE = float(os.environ.get("BELLCRIER_PATIENCE", "1"))
LONG = 90.0 * SCALE  # seconds until what must happen is given up, whoever waits for it


async def until(happened: Callable[[], Any], timeout: float = LONG) -> Any:
    """Wait until this is so, and return what it gave; it may be asked of a database. Raises TimeoutError."""
    async with asyncio.timeout(timeout):
        while not (found := await found if inspect.isawaitable(found := happened()) else found):
            await asyncio.sleep(0.02)
        return found


async def nothing_more(bot: Bot, rounds: int = 2) -> None:
    """Let each of the bot's quick ticks go round so often, from its beginning to its end: what was to come has come.

    Seconds would say less: on a busy machine nothing at all may happen in two of them.
    """
    assert bot.scheduler is not None
    bells = [bell for bell in bot.scheduler.bells if bell.seconds <= 5]
    gone, works = Counter[str](), [(bell, bell.work) for bell in bells]
    for bell, work in works:
        bell.work = _counted(bell, work, gone)
    try:
        while min(gone[bell.name] for bell in bells) < rounds:
            for bell in bells:
                bell.rung.set()
            await asyncio.sleep(0.02)
    finally:
        for bell, work in works:
            bell.work = work


def _counted(bell: Bell, work: Callable[[], Awaitable[None]], gone: Counter[str]) -> Callable[[], Awaitable[None]]:
    async def counted() -> None:
        try:
            await work()
        finally:
            gone[bell.name] += 1

    return counted
