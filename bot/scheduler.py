"""The ticks of the periodic tasks, called bells.

APScheduler rings each bell at its interval. A change to a row also rings the bells that have work with it. One task
per bell does the work, never twice at a time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any, Protocol

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from bot.domain.broadcast import Broadcast
from bot.domain.clock import steady
from bot.domain.lifecycle import State
from bot.storage.database import CommitUncertain, DatabaseBusy

log = structlog.get_logger(__name__)

LONGEST_PAUSE = 5.0  # seconds to which a pace may stretch the time between two looks
GATHER = 0.03  # seconds in which wakes become one ring, so that an answer that somebody waits for leaves first


class Task(StrEnum):
    """What is done periodically. A name may come from another process, so its meaning must not change."""

    DISPATCH = "dispatch"
    PAINT = "paint"
    REMIND = "remind"
    NOTICES = "notices"
    TRACK = "track"
    SIZES = "sizes"
    EXPIRE = "expire"
    APPROVAL_REMINDERS = "voices"  # the name that older processes use
    REVIEWS = "reviews"
    AUDIENCES = "audiences"
    TROUBLES = "troubles"
    OPERATOR = "operator"
    WORKSPACES = "workspaces"
    HEARTBEAT = "heartbeat"
    SEAL_AUDIT = "seal_audit"
    RETENTION = "retention"
    DIGEST = "digest"


class OnTick(Protocol):
    """Called after each tick with its name and its seconds."""

    def __call__(self, tick: str, seconds: float, *, failed: bool) -> None: ...


class Wake(Protocol):
    """Called after a row changed. Wakes the tasks that have work now; without names, all of them."""

    def __call__(self, *tasks: str) -> None: ...


def concerned(row: Broadcast) -> tuple[Task, ...]:
    """Return the tasks that have work at once when a broadcast gets into this state. A draft has no card."""
    sizes = (Task.SIZES,) if row.size is None else ()
    match row.state:
        case State.DRAFT:
            return ()
        case State.PENDING:
            return (Task.PAINT, *sizes)
        case State.SCHEDULED:
            return (Task.PAINT, Task.DISPATCH, *sizes)
        case State.SENT:
            return (Task.PAINT, Task.TRACK)
    return (Task.PAINT,)


@dataclass
class PeriodicTask:
    """Work done every `seconds`, and soon after a wake. If it fails, it is tried again at the next ring.

    `gather`: seconds for which a wake waits for others, so that they become one ring.
    """

    name: str
    seconds: float
    work: Callable[[], Awaitable[None]]
    gather: float = GATHER
    rung: asyncio.Event = field(default_factory=asyncio.Event)
    silenced: bool = False
    ended_at: float = field(default_factory=steady)  # when it last ended its work, or was made
    _once_more: bool = False
    _soon: asyncio.TimerHandle | None = None

    @property
    def age(self) -> float:
        """Seconds since it last ended its work."""
        return steady() - self.ended_at

    async def listen(self, on_tick: OnTick) -> None:
        while not self.silenced or self._once_more:
            await self.rung.wait()
            self.rung.clear()
            if self.silenced and not self._once_more:
                return
            self._once_more = False
            began = steady()
            done = await _contained(self.name, self.work)
            self.ended_at = steady()
            on_tick(self.name, self.ended_at - began, failed=not done)

    async def ring(self) -> None:
        self.rung.set()

    def wake(self) -> None:
        if self.gather <= 0:
            self.rung.set()
        elif self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(self.gather, self._gathered)

    def _gathered(self) -> None:
        self._soon = None
        self.rung.set()

    def silence(self) -> None:
        """Stop ringing. Work for which it was woken already is still done."""
        self._once_more = self.rung.is_set() or self._soon is not None
        self.silenced = True
        if self._soon is not None:
            self._soon.cancel()
        self.rung.set()


class Lanes:
    """Work with vendors beside a bell: one piece at a time per account, and the accounts in parallel.

    A vendor that hangs delays no other account. `only_asks`: nothing is lost if its work is cancelled.
    """

    def __init__(self, name: str, *, only_asks: bool = False) -> None:
        self.name, self.only_asks = name, only_asks
        self._tasks: dict[str, asyncio.Task[bool]] = {}

    def busy(self) -> list[str]:
        """Return the accounts that have work under way."""
        return [account for account, task in self._tasks.items() if not task.done()]

    def start(self, account: str, work: Callable[[], Awaitable[None]]) -> None:
        self._tasks[account] = asyncio.create_task(_contained(self.name, work), name=f"{self.name} {account}")

    async def settle(self) -> None:
        """Wait until no work is under way."""
        while under_way := [task for task in self._tasks.values() if not task.done()]:
            await asyncio.wait(under_way)

    async def stop(self, patience: float) -> None:
        await _end(list(self._tasks.values()), 0.0 if self.only_asks else patience)


async def _contained(name: str, work: Callable[[], Awaitable[None]]) -> bool:
    """Do the work, and return whether that succeeded. If not, log it: it is found and tried again by itself."""
    try:
        await work()
        return True
    except (DatabaseBusy, CommitUncertain) as error:  # it may be away for an hour: one line each time is enough
        log.warning("the database did not take a tick", tick=name, error=f"{type(error).__name__} {error}".rstrip())
    except Exception:
        log.exception("a tick failed; it is tried again", tick=name)
    return False


async def _end(tasks: Collection[asyncio.Task[Any]], patience: float) -> None:
    """Give running work `patience` seconds, so that what was posted is also written, then cancel it."""
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=patience)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


class Scheduler:
    """Rings the bells. It holds no work: what is due is in the rows, so a restart loses nothing."""

    on_tick: OnTick = staticmethod(lambda tick, seconds, *, failed: None)
    pace: Callable[[], float] = staticmethod(lambda: 1.0)  # by how much the looks are further apart

    def __init__(self, *bells: PeriodicTask, lanes: Sequence[Lanes] = ()) -> None:
        self.bells, self.lanes = bells, lanes
        self._clock = AsyncIOScheduler(timezone="UTC")
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        for bell in self.bells:
            # A late tick still runs; several that piled up become one.
            first = datetime.now(UTC) + timedelta(seconds=bell.seconds * random.random())
            every: dict[str, Any] = {"seconds": bell.seconds, "next_run_time": first}
            ring = partial(self._ring, bell)
            self._clock.add_job(ring, "interval", misfire_grace_time=None, coalesce=True, id=bell.name, **every)
            self._tasks.append(asyncio.create_task(bell.listen(self.on_tick), name=f"bell {bell.name}"))
            bell.rung.set()
        self._clock.start()

    async def _ring(self, bell: PeriodicTask) -> None:
        """Ring it, unless there are so many schedulers that each looks less often. A wake is never put off."""
        pause = max(bell.seconds, min(bell.seconds * self.pace(), LONGEST_PAUSE))
        if pause == bell.seconds or bell.age > pause - bell.seconds / 2:
            await bell.ring()

    @property
    def started(self) -> bool:
        return bool(self._tasks)

    def wake(self, *tasks: str) -> None:
        """Ring these bells, or all of them. Safe to call before `start` and from any callback of the loop."""
        for bell in self.bells:
            if not tasks or bell.name in tasks:
                bell.wake()

    async def stop(self, patience: float) -> None:
        """Stop the ticks. Running work gets `patience` seconds."""
        if self._clock.running:
            self._clock.shutdown(wait=False)
        for bell in self.bells:
            bell.silence()
        await _end(self._tasks, patience)
        await asyncio.gather(*(lanes.stop(patience) for lanes in self.lanes))
