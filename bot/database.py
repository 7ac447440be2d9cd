"""Runs plain functions of a sync `Connection` inside a transaction: SQLite in one writer thread with group commit,
PostgreSQL through asyncpg. The rest of the bot never sees which."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

T = TypeVar("T")
Work = Callable[[Connection], T]

BUSY_SECONDS = 2  # a lock held longer is refused with "try again" inside Slack's three seconds
GROUP = 64
CHANNEL = "bellcrier"
LISTEN_CHECK = 10.0  # seconds between two looks whether the listening connection still lives
PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    f"busy_timeout={BUSY_SECONDS * 1000}",
)


class Busy(Exception):
    """The database could not take the write in time. Nothing was stored; trying again is safe."""


class AlreadyDispatching(Exception):
    """Another process dispatches from this SQLite file."""


class Database(ABC):
    """Transactions over one engine. `work` is run once or, where it was rolled back by the database, again; so it
    holds SQL and nothing else."""

    @abstractmethod
    async def write(self, work: Work[T]) -> T:
        """Run and commit. Raises Busy when the database is locked, and whatever `work` raises (rolled back)."""

    @abstractmethod
    async def read(self, work: Work[T]) -> T: ...

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def listen(self, heard: Callable[[], None]) -> None:
        """Call `heard` when another process says that something changed. A hint only: the ticks find everything."""

    @abstractmethod
    async def tell_others(self) -> None:
        """Say to the other processes that something changed."""

    @abstractmethod
    def claim_dispatch(self) -> None:
        """Be the dispatching process. Raises AlreadyDispatching where only one may be and another is."""

    @property
    @abstractmethod
    def exclusive(self) -> bool:
        """Only one process dispatches, so a lease of anybody else's is a dead one."""


def open_database(url: str) -> Database:
    """A database by its URL: `sqlite:///FILE` or `postgresql://…`."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return SQLite(parsed)
    return Postgres(parsed)


class SQLite(Database):
    """One writer thread. Writes that arrive together are committed together, each in a savepoint of its own."""

    def __init__(self, url: URL) -> None:
        self.path = Path(url.database or ":memory:")
        self.engine = sqlite_engine(url)
        self._reader = self.engine.execution_options(read=True)
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._reading = ThreadPoolExecutor(4, thread_name_prefix="store-read")
        self._queue: list[tuple[Work[Any], asyncio.Future[Any]]] = []
        self._drain: asyncio.Task[None] | None = None
        self._lock_file: int | None = None

    @property
    def exclusive(self) -> bool:
        return True

    async def write(self, work: Work[T]) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.append((work, future))
        if self._drain is None or self._drain.done():
            self._drain = asyncio.create_task(self._drain_queue())
        return await future

    async def read(self, work: Work[T]) -> T:
        def run() -> T:
            with self._reader.begin() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._reading, run)

    async def _drain_queue(self) -> None:
        await asyncio.sleep(0)  # everything asked for in this turn of the loop goes into one commit
        loop = asyncio.get_running_loop()
        while self._queue:
            group, self._queue = self._queue[:GROUP], self._queue[GROUP:]
            outcomes = await loop.run_in_executor(self._writing, self._commit_group, [work for work, _ in group])
            for (_, future), outcome in zip(group, outcomes, strict=True):
                settle(future, outcome)

    def _commit_group(self, group: list[Work[Any]]) -> list[Any]:
        try:
            with self.engine.begin() as connection:
                if len(group) == 1:
                    return [group[0](connection)]
                return [self._one_of_many(connection, work) for work in group]
        except Exception as error:
            return [translated(error)] * len(group)

    @staticmethod
    def _one_of_many(connection: Connection, work: Work[Any]) -> Any:
        try:
            with connection.begin_nested():
                return work(connection)
        except Exception as error:
            return translated(error)

    def claim_dispatch(self) -> None:
        handle = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise AlreadyDispatching(str(self.path)) from None
        self._lock_file = handle

    async def listen(self, heard: Callable[[], None]) -> None:
        """There is nobody else."""

    async def tell_others(self) -> None:
        """There is nobody else."""

    async def close(self) -> None:
        if self._drain is not None:
            await self._drain
        self._writing.shutdown()
        self._reading.shutdown()
        self.engine.dispose()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None


def settle(future: asyncio.Future[Any], outcome: Any) -> None:
    """Hand a committed outcome to whoever waits; one who was cancelled meanwhile keeps the row, not the answer."""
    if future.done():
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def sqlite_engine(url: URL) -> Engine:
    engine = create_engine(url, poolclass=NullPool if url.database in (None, "", ":memory:") else None)

    @event.listens_for(engine, "connect")
    def prepare(driver: sqlite3.Connection, _record: object) -> None:
        driver.isolation_level = None  # else Python's driver starts transactions of its own
        for pragma in PRAGMAS:
            driver.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get("read")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


class Postgres(Database):
    """Any number of processes. A transaction that the database itself rolled back is run again, a few times."""

    RETRIED = frozenset({"40001", "40P01"})  # serialization failure, deadlock: nothing was committed

    def __init__(self, url: URL) -> None:
        self.url = url.set(drivername="postgresql+asyncpg")
        self.engine: AsyncEngine = create_async_engine(
            self.url, pool_size=10, max_overflow=10, pool_timeout=2.0, pool_pre_ping=True
        )
        self._listening: asyncio.Task[None] | None = None

    @property
    def exclusive(self) -> bool:
        return False

    async def write(self, work: Work[T]) -> T:
        for attempt in range(5):
            try:
                async with self.engine.begin() as connection:
                    return await connection.run_sync(work)
            except DBAPIError as error:
                if attempt == 4 or sqlstate(error) not in self.RETRIED:
                    raise translated(error) from None
            await asyncio.sleep(0.01 * 2**attempt)
        raise Busy

    async def read(self, work: Work[T]) -> T:
        async with self.engine.begin() as connection:
            return await connection.run_sync(work)

    def claim_dispatch(self) -> None:
        """Row leases decide; any number may dispatch."""

    async def listen(self, heard: Callable[[], None]) -> None:
        """Listens until `close`, and again after each break; what was said meanwhile is as good as heard."""
        self._listening = asyncio.create_task(self._listen(heard), name="listen")

    async def _listen(self, heard: Callable[[], None]) -> None:
        import asyncpg  # SQLite goes without it

        url = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
        while True:
            try:
                connection = await asyncpg.connect(url, timeout=5)
                try:
                    await connection.add_listener(CHANNEL, lambda *_: heard())
                    heard()
                    while not connection.is_closed():
                        await asyncio.sleep(LISTEN_CHECK)
                        await connection.execute("SELECT 1", timeout=5)
                finally:
                    await connection.close(timeout=1)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.sleep(1)

    async def tell_others(self) -> None:
        async with self.engine.begin() as connection:
            await connection.exec_driver_sql(f"NOTIFY {CHANNEL}")

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        await self.engine.dispose()


def sqlstate(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def translated(error: Exception) -> Exception:
    """`Busy` for a lock that was not given in time; anything else as it is."""
    if isinstance(error, OperationalError) and "locked" in str(error.orig):
        return Busy()
    return error


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the schema to this revision, the newest if none is named.

    Interrupted, it leaves nothing behind and can be run again.
    """
    from alembic import command  # 100 ms that only this needs
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
