"""Runs plain functions of a sync `Connection` inside a transaction, on SQLite or PostgreSQL.

The rest of the bot never sees which.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from bot.domain.clock import OnEnd, steady
from bot.storage.failing_rows import FailingRows
from bot.storage.steps import TakenStep, Told

log = structlog.get_logger(__name__)

T = TypeVar("T")
Work = Callable[[Connection], T]

CONNECTIONS = 10  # kept open to PostgreSQL by a process
BUSY_SECONDS = 2  # to wait for a lock; then "try again" still reaches people inside Slack's three seconds
PATIENCE = 2.4  # seconds after which a hanging write is given up, wherever it hangs
OWN = -1.0  # as a `patience`: the database's own
LONGEST = 20.0  # seconds: the most patience for one try of `write_until`


class DatabaseBusy(Exception):
    """The database did not answer in time. Nothing was stored, so a retry is safe.

    The message is a word for the log.
    """


class OutOfOrder(DatabaseBusy):
    """The database is full, read-only or damaged. Nothing was stored. Somebody must look before a retry."""


class DatabaseRefuses(DatabaseBusy):
    """The database does not let us in: a password, a name or a certificate is wrong. The message is its own sentence.

    Nothing was stored. Somebody must look before a retry.
    """


class CommitUncertain(Exception):
    """The connection broke during the commit: all of it was stored, or nothing. Look before deciding anything."""


class Unusable(Exception):
    """The database cannot be used as it is; the message is one sentence with the fix."""


class AlreadyDispatching(Exception):
    """Another process dispatches from this SQLite file."""


class Database(ABC):
    """Transactions over one engine.

    `work` runs again if its transaction failed, so it holds SQL and nothing else. `patience`: seconds within which a
    caller gets an answer.
    """

    patience = PATIENCE
    _home: asyncio.AbstractEventLoop | None = None
    #: Called with the steps of broadcasts after each commit that holds some, in the context of whoever asked for it.
    on_steps: Told = staticmethod(lambda _: None)
    #: Called after each transaction: "read" or "write", its seconds, and its error.
    on_end: OnEnd = staticmethod(lambda *_: None)

    def _tell(self, steps: Sequence[TakenStep]) -> None:
        """Tell of the steps of a commit. It is done, whatever becomes of this."""
        if steps:
            try:
                self.on_steps(steps)
            except Exception:
                log.exception("steps could not be counted")

    def _stay_home(self) -> None:
        """Bind the database to the event loop that uses it first. Raises RuntimeError in another loop.

        Waiting writes and connections belong to one loop. Those of another loop would end with it, while callers in
        this one still wait for them.
        """
        here = asyncio.get_running_loop()
        if self._home is None or self._home.is_closed():
            self._home = here
        if self._home is not here:
            raise RuntimeError("the database was asked from another event loop than its own")

    @property
    def busy(self) -> float:
        """Seconds to wait for a lock or a connection."""
        return BUSY_SECONDS * self.patience / PATIENCE

    @cached_property
    def failing_rows(self) -> FailingRows:
        """The rows that this process could not work on."""
        return FailingRows()

    @abstractmethod
    async def write(self, work: Work[T], *, patience: float | None = OWN) -> T:
        """Run and commit. Raises DatabaseBusy, CommitUncertain, and whatever `work` raises (rolled back).

        `patience`: seconds; None for no limit (a migration, a restore).
        """

    @abstractmethod
    async def read(self, work: Work[T], *, patience: float | None = OWN) -> T:
        """Run and write nothing. Raises DatabaseBusy, and whatever `work` raises."""

    async def write_until(self, deadline: float, work: Work[T], *, clock: Callable[[], float] = steady) -> T:
        """Write, and retry while the database is away, until this instant of `clock`.

        After a commit in doubt the next try finds out, so `work` must check for itself what is already done.
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
            if tries >= CONNECTIONS:  # any connections that died silently are gone; it is the work that takes longer
                patience = max(patience, min(patience * 2, LONGEST))

    def check_place(self) -> None:
        """Check that it can be used where it is, before anything is made there. Raises Unusable."""
        return

    async def check(self) -> None:
        """Check that it is sound, writable, and set to lose nothing.

        Raises Unusable, or DatabaseBusy when it does not answer.
        """
        return

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def listen(self, on_notice: Callable[..., None]) -> None:
        """Call `on_notice` with the words of another process when it notifies its peers of a change.

        This is only a hint: the ticks find everything.
        """

    @property
    def deaf(self) -> str | None:
        """Why the notifications of other processes do not arrive; None while they do, or where there are none."""
        return None

    async def deafness(self) -> str | None:
        """The same, tried out now."""
        return None

    @abstractmethod
    async def notify_peers(self, *words: str) -> None:
        """Notify the other processes that something changed, in a few words without spaces."""

    @abstractmethod
    def claim_dispatch(self) -> None:
        """Become the dispatching process. Raises AlreadyDispatching if only one may dispatch and another does."""

    @property
    @abstractmethod
    def exclusive(self) -> bool:
        """Whether only one process dispatches, so that any other owner's lease is dead."""
