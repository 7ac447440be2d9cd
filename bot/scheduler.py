"""The ticks. APScheduler rings each bell at its interval, anything that changes a row rings it at once, and one task
a bell does the work, never twice at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from bot.database import Busy, Unsure

log = structlog.get_logger(__name__)


@dataclass
class Bell:
    """Something to do every `seconds`, and at once when rung. It may fail; it is tried at the next ring."""

    name: str
    seconds: float
    work: Callable[[], Awaitable[None]]
    rung: asyncio.Event = field(default_factory=asyncio.Event)
    silenced: bool = False

    async def listen(self) -> None:
        while True:
            await self.rung.wait()
            self.rung.clear()
            if self.silenced:
                return
            try:
                await self.work()
            except (Busy, Unsure) as error:  # it may stay away for an hour, and a line each time is enough
                told = f"{type(error).__name__} {error}".rstrip()
                log.warning("the database did not take a tick", tick=self.name, error=told)
            except Exception:
                log.exception("a tick failed; it is tried again", tick=self.name)

    async def ring(self) -> None:
        self.rung.set()


class Scheduler:
    """Holds no work of its own: what is due lives in the rows, so a restart loses nothing."""

    def __init__(self, *bells: Bell) -> None:
        self.bells = bells
        self._clock = AsyncIOScheduler(timezone="UTC")
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        for bell in self.bells:
            # A tick that comes late is still wanted; several that piled up are one.
            self._clock.add_job(
                bell.ring, "interval", seconds=bell.seconds, misfire_grace_time=None, coalesce=True, id=bell.name
            )
            self._tasks.append(asyncio.create_task(bell.listen(), name=f"bell {bell.name}"))
            bell.rung.set()
        self._clock.start()

    def wake(self) -> None:
        """Ring every bell now. Safe to call before `start` and from any callback of the loop."""
        for bell in self.bells:
            bell.rung.set()

    async def stop(self, patience: float) -> None:
        """No more ticks. Whoever is at work gets `patience` seconds, so that what was posted is also written down."""
        if self._clock.running:
            self._clock.shutdown(wait=False)
        for bell in self.bells:
            bell.silenced = True
            bell.rung.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=patience)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
