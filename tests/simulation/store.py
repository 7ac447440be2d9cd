"""The database in memory: one for all replicas, and for each a view of it through which the world interferes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.pool import StaticPool

from bot.storage import tables
from bot.storage.database import OWN, CommitUncertain, Database, DatabaseBusy, OutOfOrder, T, Work

if TYPE_CHECKING:
    from tests.simulation.process import Process


class StoreFault(StrEnum):
    BUSY = "the database is locked"
    FULL = "the disk is full"
    ANSWER_LOST = "it is committed, and the answer is lost"


class Memory:
    """SQLite in memory, on one connection. Its whole content can be taken out and put back."""

    def __init__(self) -> None:
        self.engine = create_engine("sqlite://", poolclass=StaticPool)

        @event.listens_for(self.engine, "connect")
        def prepare(driver: sqlite3.Connection, _record: object) -> None:
            driver.isolation_level = None  # otherwise Python's driver starts transactions itself
            driver.execute("PRAGMA foreign_keys=ON")

        @event.listens_for(self.engine, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN")

        self.connection = self.engine.connect()
        with self.connection.begin():
            tables.metadata.create_all(self.connection)
        self.raw = cast(sqlite3.Connection, self.connection.connection.driver_connection)
        self._empty = self.raw.serialize()

    def clear(self) -> None:
        self.put_back(self._empty)

    def image(self) -> bytes:
        """Everything, as one file would hold it."""
        return self.raw.serialize()

    def put_back(self, image: bytes) -> None:
        self.raw.deserialize(image)

    def transact(self, work: Work[T], *, full: bool = False) -> T:
        """Run and commit. `full`: the disk has no room, and everything is rolled back."""
        with self.connection.begin():
            result = work(self.connection)
            if full:
                raise OutOfOrder("full")
            return result

    def rows(self, query: str, values: Mapping[str, object] | None = None) -> list[sqlite3.Row]:
        """Query without a fault or an interruption."""
        cursor = self.raw.cursor()
        cursor.row_factory = sqlite3.Row
        return cursor.execute(query, values or {}).fetchall()


@cache
def memory() -> Memory:
    """One database for all worlds of this process, since creating it takes longer than a short simulation."""
    return Memory()


class View(Database):
    """What one process sees of the database. It may be interrupted before and after each commit."""

    def __init__(self, shared: Memory, process: Process, exclusive: bool) -> None:
        self.shared, self.process, self._exclusive = shared, process, exclusive

    @property
    def exclusive(self) -> bool:
        return self._exclusive

    async def write(self, work: Work[T], *, patience: float | None = OWN) -> T:
        name = named(work)
        await self.process.seam(f"before the commit of {name}")
        fault = self.process.store_fault()
        if fault is StoreFault.BUSY:
            raise DatabaseBusy
        result = self.process.commit(name, lambda: self.shared.transact(work, full=fault is StoreFault.FULL))
        await self.process.seam(f"after the commit of {name}")
        if fault is StoreFault.ANSWER_LOST:
            raise CommitUncertain
        return result

    async def read(self, work: Work[T], *, patience: float | None = OWN) -> T:
        await self.process.seam("a read")
        return self.shared.transact(work)

    async def close(self) -> None:
        """There is nothing to close."""

    async def listen(self, heard: Callable[..., None]) -> None:
        """The ticks find everything."""

    async def notify_peers(self, *words: str) -> None:
        """The ticks find everything."""

    def claim_dispatch(self) -> None:
        """Nothing to do: where only one process may dispatch, the world starts only one."""


def named(work: Any) -> str:
    """The method that asked for this write: `Dispatcher._commit_intent`."""
    return str(getattr(work, "func", work).__qualname__).split(".<locals>")[0]
