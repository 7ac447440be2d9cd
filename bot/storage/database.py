"""Runs plain functions of a sync `Connection` inside a transaction, on SQLite or PostgreSQL.

The rest of the bot never sees which.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import TypeVar

from sqlalchemy import Connection

from bot.domain.clock import steady
from bot.storage.troubles import Troubles

T = TypeVar("T")
Work = Callable[[Connection], T]

CONNECTIONS = 10  # kept open to PostgreSQL by a process
BUSY_SECONDS = 2  # a lock held longer is refused with "try again" inside Slack's three seconds
PATIENCE = 2.4  # seconds after which a write that still hangs, wherever it does, is given up
OWN = -1.0  # for a patience: as long as the database has itself
LONGEST = 20.0  # the same for one that is tried again and again


class DatabaseBusy(Exception):
    """The database could not take it in time; the message is a word for the log. Nothing was stored; trying again
    is safe."""


class OutOfOrder(DatabaseBusy):
    """The database is full, read-only or damaged. Nothing was stored; before it is tried again somebody must look."""


class CommitUncertain(Exception):
    """The connection broke during the commit: all of it was stored, or nothing. Look before deciding anything."""


class Unusable(Exception):
    """The database cannot be used as it is; the message is one sentence with the fix."""


class AlreadyDispatching(Exception):
    """Another process dispatches from this SQLite file."""


class Database(ABC):
    """Transactions over one engine. `work` is run once or, where it came to nothing, again; so it holds SQL and
    nothing else. `patience`: seconds in which whoever asks for one is answered."""

    patience = PATIENCE
    _home: asyncio.AbstractEventLoop | None = None

    def _stay_home(self) -> None:
        """What waits here and what is connected belongs to the loop that asked first. Raises RuntimeError in another
        one: there it would end with that loop, under the hands of whoever waits for it here."""
        here = asyncio.get_running_loop()
        if self._home is None or self._home.is_closed():
            self._home = here
        if self._home is not here:
            raise RuntimeError("the database was asked from another event loop than its own")

    @property
    def busy(self) -> float:
        """Seconds after which a lock or a connection is not waited for any more."""
        return BUSY_SECONDS * self.patience / PATIENCE

    @cached_property
    def troubles(self) -> Troubles:
        """The rows that this process stumbled over."""
        return Troubles()

    @abstractmethod
    async def write(self, work: Work[T], *, patience: float | None = OWN) -> T:
        """Run and commit. Raises DatabaseBusy, CommitUncertain, and whatever `work` raises (rolled back).

        `patience`: seconds; None for what may take its time (a migration, a restore).
        """

    @abstractmethod
    async def read(self, work: Work[T], *, patience: float | None = OWN) -> T:
        """Run and write nothing. Raises DatabaseBusy, and whatever `work` raises."""

    async def write_until(self, deadline: float, work: Work[T], *, clock: Callable[[], float] = steady) -> T:
        """Write, again and again while the database is away, until this instant of `clock`.

        When a commit is in doubt the next try finds out: `work` must see for itself what was done already.
        Raises DatabaseBusy or CommitUncertain when the time is over.
        """
        pause, patience, tries = 0.1, self.patience, 0
        while True:
            tries += 1
            try:
                return await self.write(work, patience=patience)
            except (DatabaseBusy, CommitUncertain):
                if clock() + pause > deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, 2.0)
            if tries >= CONNECTIONS:  # connections that died silently are through; it is the work that takes longer
                patience = max(patience, min(patience * 2, LONGEST))

    def check_place(self) -> None:
        """Can it be used where it is? Asked before anything is made there. Raises Unusable."""
        return

    async def check(self) -> None:
        """Is it sound, writable, and set to lose nothing? Raises Unusable, or DatabaseBusy when it does not answer."""
        return

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def listen(self, heard: Callable[..., None]) -> None:
        """Call `heard` when another process says that something changed, with the words that it says. A hint only: the
        ticks find everything."""

    @abstractmethod
    async def notify_peers(self, *words: str) -> None:
        """Say to the other processes that something changed, in a few words without spaces."""

    @abstractmethod
    def claim_dispatch(self) -> None:
        """Be the dispatching process. Raises AlreadyDispatching where only one may be and another is."""

    @property
    @abstractmethod
    def exclusive(self) -> bool:
        """Only one process dispatches, so a lease of anybody else's is a dead one."""
