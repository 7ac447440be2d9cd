"""Runs plain functions of a sync `Connection` inside a transaction: SQLite in one writer thread with group commit,
PostgreSQL through asyncpg. The rest of the bot never sees which."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import random
import secrets
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

import structlog
from sqlalchemy import Connection, Engine, create_engine, event, func, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from bot.broadcast import steady
from bot.troubles import Troubles

log = structlog.get_logger(__name__)

T = TypeVar("T")
Work = Callable[[Connection], T]

CONNECTIONS = 10  # kept open to PostgreSQL by a process
BUSY_SECONDS = 2  # a lock held longer is refused with "try again" inside Slack's three seconds
PATIENCE = 2.4  # seconds after which a write that still hangs, wherever it does, is given up
OWN = -1.0  # for a patience: as long as the database has itself
LONGEST = 20.0  # the same for one that is tried again and again
GROUP = 64
CHANNEL = "bellcrier"
UPGRADE_LOCK = 0x62656C6C  # any number that nobody else takes
LISTEN_CHECK = 10.0  # seconds between two looks whether the listening connection still lives
PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "cache_size=-1024",  # KiB for each connection, lest many rows grow into memory; the system keeps what is read often
    f"busy_timeout={BUSY_SECONDS * 1000}",
)
#: What each of our PostgreSQL sessions asks for, whatever the server's own defaults are.
SESSION = {
    "application_name": "bellcrier",
    "synchronous_commit": "on",  # an intent that a restart forgets would be sent twice
    "idle_in_transaction_session_timeout": "10000",  # a process that was stopped keeps its locks no longer
}


class Busy(Exception):
    """The database could not take it in time; the message is a word for the log. Nothing was stored; trying again
    is safe."""


class OutOfOrder(Busy):
    """The database is full, read-only or damaged. Nothing was stored; before it is tried again somebody must look."""


class Unsure(Exception):
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
        """Run and commit. Raises Busy, Unsure, and whatever `work` raises (rolled back).

        `patience`: seconds; None for what may take its time (a migration, a restore).
        """

    @abstractmethod
    async def read(self, work: Work[T], *, patience: float | None = OWN) -> T:
        """Run and write nothing. Raises Busy, and whatever `work` raises."""

    async def write_until(self, deadline: float, work: Work[T], *, clock: Callable[[], float] = steady) -> T:
        """Write, again and again while the database is away, until this instant of `clock`.

        When a commit is in doubt the next try finds out: `work` must see for itself what was done already.
        Raises Busy or Unsure when the time is over.
        """
        pause, patience, tries = 0.1, self.patience, 0
        while True:
            tries += 1
            try:
                return await self.write(work, patience=patience)
            except (Busy, Unsure):
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
        """Is it sound, ours to write, and set to lose nothing? Raises Unusable, or Busy when it does not answer."""
        return

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def listen(self, heard: Callable[..., None]) -> None:
        """Call `heard` when another process says that something changed, with the words that it says. A hint only: the
        ticks find everything."""

    @abstractmethod
    async def tell_others(self, *words: str) -> None:
        """Say to the other processes that something changed, in a few words without spaces."""

    @abstractmethod
    def claim_dispatch(self) -> None:
        """Be the dispatching process. Raises AlreadyDispatching where only one may be and another is."""

    @property
    @abstractmethod
    def exclusive(self) -> bool:
        """Only one process dispatches, so a lease of anybody else's is a dead one."""


def open_database(url: str, patience: float = PATIENCE) -> Database:
    """A database by its URL: `sqlite:///FILE` or `postgresql://…`. `patience`: seconds; people wait for the bot's."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return SQLite(parsed, patience)
    return Postgres(parsed, patience)


# --- SQLite ----------------------------------------------------------------------------------------------------------


@dataclass
class _Waiting:
    """A write in the queue, and until when (`steady`) it waits for a lock."""

    work: Work[Any]
    future: asyncio.Future[Any]
    until: float

    @property
    def patience(self) -> float:
        return max(self.until - steady(), 0.0)

    def settle(self, outcome: Any) -> None:
        """Hand over what came of it; one who was cancelled meanwhile keeps the row, not the answer."""
        if self.future.done():
            return
        if isinstance(outcome, BaseException):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


class SQLite(Database):
    """One writer thread. Writes that arrive together are committed together, each in a savepoint of its own.

    The lock file beside it says, while nobody runs, that the file was found sound and left as it is now: reading all of
    a large one takes long, and is done only after a stop that nobody saw coming.
    """

    SHORTEST_WAIT = 0.1  # seconds that a lock is waited for, however long others were waited for before
    BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR})
    ENGINE_ERRORS = frozenset(
        {
            sqlite3.SQLITE_FULL,
            sqlite3.SQLITE_READONLY,
            sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_CORRUPT,
            sqlite3.SQLITE_NOTADB,
            sqlite3.SQLITE_CANTOPEN,
        }
    )

    def __init__(self, url: URL, patience: float = PATIENCE) -> None:
        self.patience, self.path = patience, Path(url.database or ":memory:")
        self.engine = sqlite_engine(url, self.troubles)
        self._reader = self.engine.execution_options(read=True)
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._reading = ThreadPoolExecutor(4, thread_name_prefix="store-read")
        self._queue: list[_Waiting] = []
        self._drain: asyncio.Task[None] | None = None
        self._lock_file: int | None = None
        self._sound = self._hurt = False  # all of the file was looked at; a page of it could not be read since

    @property
    def exclusive(self) -> bool:
        return True

    @property
    def _lock_path(self) -> Path:
        """Beside the file itself: whoever comes to it through a link finds the same lock."""
        return Path(f"{self.path.resolve()}.lock")

    @property
    def _mark(self) -> Path:
        """Beside the path as it was given."""
        return Path(f"{self.path.absolute()}.lock")

    # --- transactions ------------------------------------------------------------------------------------------------

    async def write(self, work: Work[T], *, patience: float | None = OWN) -> T:
        self._stay_home()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(work, future, steady() + self.busy))
        if self._drain is None or self._drain.done():
            self._drain = asyncio.create_task(self._drain_queue())
        return await future

    async def read(self, work: Work[T], *, patience: float | None = OWN) -> T:
        self._stay_home()

        def run() -> T:
            try:
                with self._reader.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                raise self._told(error) from None

        return await asyncio.get_running_loop().run_in_executor(self._reading, run)

    async def _drain_queue(self) -> None:
        await asyncio.sleep(0)  # everything asked for in this turn of the loop goes into one commit
        loop = asyncio.get_running_loop()
        while self._queue:
            group, self._queue = self._queue[:GROUP], self._queue[GROUP:]
            works = [waiting.work for waiting in group]
            wait = max(group[0].patience, self.SHORTEST_WAIT)
            outcomes = await loop.run_in_executor(self._writing, self._commit_group, works, wait)
            again = []
            for waiting, outcome in zip(group, outcomes, strict=True):
                if type(outcome) is Busy and waiting.patience > self.SHORTEST_WAIT:
                    again.append(waiting)  # it came later, and may wait for the lock as long as the others did
                else:
                    waiting.settle(outcome)
            self._queue = again + self._queue

    def _commit_group(self, group: list[Work[Any]], wait: float) -> list[Any]:
        """What each came to: a value, or the exception. `wait`: seconds that a lock may be held by somebody else."""
        committing = False
        try:
            with self.engine.connect() as connection:
                driver = cast("sqlite3.Connection", connection.connection.driver_connection)
                driver.execute(f"PRAGMA busy_timeout={int(wait * 1000)}")
                connection.begin()
                if len(group) == 1:
                    outcomes = [group[0](connection)]
                else:
                    outcomes = [self._one_of_many(connection, driver, work) for work in group]
                self._still_there(driver)
                committing = True
                connection.commit()
                return outcomes
        except Exception as error:
            told = self._told(error)
            if committing and sqlite_code(error) == sqlite3.SQLITE_IOERR:
                told = Unsure()  # what was written may reach the disk, or not
            return [told] * len(group)

    def _one_of_many(self, connection: Connection, driver: sqlite3.Connection, work: Work[Any]) -> Any:
        try:
            with connection.begin_nested():
                return work(connection)
        except Exception as error:
            self._still_there(driver)
            return self._told(error)

    def _told(self, error: Exception) -> Exception:
        self._hurt = self._hurt or sqlite_code(error) in self.BROKEN
        return _sqlite_told(error)

    @staticmethod
    def _still_there(driver: sqlite3.Connection) -> None:
        """A full disk may take the whole transaction away, and then what follows would be stored on its own."""
        if not driver.in_transaction:
            raise OutOfOrder("rolled back")

    # --- the file ----------------------------------------------------------------------------------------------------

    def check_place(self) -> None:
        folder = self.path.absolute().parent
        if not folder.is_dir():
            raise Unusable(f"There is no folder {folder} for the database. Create it, or change DATABASE_URL.")
        if self.path.exists() and not os.access(self.path, os.R_OK | os.W_OK):
            raise Unusable(f"The database {self.path} is read-only. Let this user write to it.")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise Unusable(
                f"The folder {folder} is read-only, and SQLite must write beside its file. Make it writable."
            )

    async def check(self) -> None:
        self.check_place()
        # made by the first process that dispatches, upgrades or restores; beside a link, too, whose target may be gone
        used = self._lock_path.exists() or self._mark.exists()
        await asyncio.get_running_loop().run_in_executor(self._reading, self._check, used)

    def _check(self, used: bool) -> None:
        try:
            with self._reader.begin() as connection:
                sound = self._sound or self._was_left_sound()
                if not sound and connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one() != "ok":
                    raise self._damaged()
                if used and connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one() == 0:
                    raise Unusable(
                        f"The database {self.path} is gone: its lock file shows that there was one. "
                        "Restore a backup with `bellcrier db restore FILE`, or begin anew with `bellcrier db upgrade`."
                    )
                self._check_settings(connection)
        except DBAPIError as error:
            if sqlite_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise self._damaged() from None
            raise self._told(error) from None
        self._sound = True

    def _was_left_sound(self) -> bool:
        """Did whoever had the lock last stop as intended, and is the file the one that they left?"""
        try:
            return self._lock_path.read_text(encoding="ascii") == self._as_left()
        except (OSError, ValueError):
            return False

    def _as_left(self) -> str:
        """What tells this file, as it is now, from another that is put in its place. Raises ValueError where its log
        holds something yet."""
        log = Path(f"{self.path.resolve()}-wal")
        if log.exists() and log.stat().st_size:
            raise ValueError(log)
        file = self.path.stat()
        return f"sound {file.st_ino} {file.st_size} {file.st_mtime_ns}\n"

    def _damaged(self) -> Unusable:
        return Unusable(
            f"The database {self.path} is damaged, so nothing is sent from it. "
            "Put it and its -wal and -shm files aside, then restore a backup with `bellcrier db restore FILE`."
        )

    def _check_settings(self, connection: Connection) -> None:
        wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
        found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted}
        if found != wanted:
            raise Unusable(
                f"SQLite cannot keep what it writes safe on the disk of {self.path} ({found}). Use a local disk."
            )

    def claim_dispatch(self) -> None:
        handle = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise AlreadyDispatching(str(self.path)) from None
        self._lock_file = handle  # held for life: closing it is what gives the lock back
        self._mark.touch(0o600)
        self._sound = self._sound or self._was_left_sound()
        os.ftruncate(handle, 0)
        os.fsync(handle)  # from here on, nothing but a stop as intended says that it is sound

    async def listen(self, heard: Callable[..., None]) -> None:
        """There is nobody else."""

    async def tell_others(self, *words: str) -> None:
        """There is nobody else."""

    async def close(self) -> None:
        if self._drain is not None:
            await self._drain
        self._writing.shutdown()
        self._reading.shutdown()
        self.engine.dispose()
        if self._lock_file is not None:
            if self._sound and not self._hurt:
                self._leave_sound(self._lock_file)
            os.close(self._lock_file)
            self._lock_file = None

    def _leave_sound(self, handle: int) -> None:
        """A disk that has no room for it, or a log that somebody else still reads: all is looked at the next time."""
        with suppress(OSError, ValueError):
            os.pwrite(handle, self._as_left().encode("ascii"), 0)
            os.fsync(handle)


def sqlite_engine(url: URL, troubles: Troubles | None = None) -> Engine:
    engine = create_engine(
        url,
        poolclass=NullPool if url.database in (None, "", ":memory:") else None,
        hide_parameters=True,
        json_deserializer=_json,
        execution_options={} if troubles is None else {"troubles": troubles},
    )

    @event.listens_for(engine, "connect")
    def prepare(driver: sqlite3.Connection, _record: object) -> None:
        driver.isolation_level = None  # else Python's driver starts transactions of its own
        driver.text_factory = _text
        for pragma in PRAGMAS:
            driver.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get("read")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _text(stored: bytes) -> str:
    """What is no UTF-8 is altered, so that its digest tells; it keeps nobody from reading the rows beside it."""
    return stored.decode("utf-8", "replace")


def _json(stored: str) -> Any:
    """What is no JSON is found out by whoever reads its row, and not by all who read the rows beside it."""
    try:
        return json.loads(stored)
    except (ValueError, RecursionError):
        return NotJson


class NotJson:
    """What a column holds that should hold JSON and does not."""


def sqlite_code(error: BaseException) -> int:
    """SQLite's own primary code; 0 for anything else."""
    driver = error.orig if isinstance(error, DBAPIError) else error
    return getattr(driver, "sqlite_errorcode", 0) & 0xFF


def _sqlite_told(error: Exception) -> Exception:
    """A lock that was not given in time and a file that takes no writes in our words; anything else as it is."""
    code = sqlite_code(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Busy("locked")
    if code in SQLite.ENGINE_ERRORS:
        return OutOfOrder(str(getattr(getattr(error, "orig", error), "sqlite_errorname", "")))
    return error


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


class _Again(Exception):
    """The transaction came to nothing, through no fault of its work; the message is a word for the log."""


@dataclass
class _Stage:
    """How far a transaction has come, and why it had to begin again."""

    committing: bool = False
    reason: str = "no answer"


class Postgres(Database):
    """Any number of processes. A transaction that came to nothing (a server that restarts, a deadlock) is run again
    while its patience lasts; one whose commit may have happened never is."""

    TRIES = 12
    ROLLED_BACK = ("40",)  # serialization failure, deadlock
    GONE = ("08", "57P", "25P03")  # the connection broke, the server shuts down, we slept inside a transaction
    LOCKED = ("55P03", "57014")
    OUT_OF_ORDER = ("53100", "53200", "25006")  # disk full, out of memory, a standby
    REFUSED_COMMIT = ("40", "23")  # only these say that a commit did not happen

    def __init__(self, url: URL, patience: float = PATIENCE) -> None:
        import asyncpg  # SQLite goes without it

        self.patience = patience
        session = SESSION | {"lock_timeout": str(int(self.busy * 1000))}
        self.url = url.set(drivername="postgresql+asyncpg")
        self.engine: AsyncEngine = create_async_engine(
            self.url,
            pool_size=CONNECTIONS,
            max_overflow=10,
            pool_timeout=self.busy,
            hide_parameters=True,
            json_deserializer=_json,
            connect_args={"timeout": self.busy, "server_settings": session},
            execution_options={"troubles": self.troubles},
        )
        self._no_connection = (OSError, DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError)
        self._name = secrets.token_hex(4)  # by which it knows its own word
        self._listening: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[Any]] = set()

    @property
    def exclusive(self) -> bool:
        return False

    # --- transactions ------------------------------------------------------------------------------------------------

    async def write(self, work: Work[T], *, patience: float | None = OWN) -> T:
        return await self._patiently(work, True, self.patience if patience == OWN else patience)

    async def read(self, work: Work[T], *, patience: float | None = OWN) -> T:
        return await self._patiently(work, False, self.patience if patience == OWN else patience)

    async def _patiently(self, work: Work[T], commit: bool, patience: float | None) -> T:
        """Nobody waits longer than this, not even for a connection that died silently to be cleared away."""
        self._stay_home()
        stage = _Stage()
        task = asyncio.create_task(self._retried(work, commit, stage))
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        try:
            await asyncio.wait({task}, timeout=patience)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if task.done():
            return task.result()
        task.cancel()
        raise Unsure if stage.committing else Busy(stage.reason)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # told to whoever still waits

    async def _retried(self, work: Work[T], commit: bool, stage: _Stage) -> T:
        pause = 0.02
        for _ in range(self.TRIES):
            try:
                return await self._transaction(work, commit, stage)
            except _Again as error:
                stage.reason = str(error)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, 0.5)
        raise Busy(stage.reason)

    async def _transaction(self, work: Work[T], commit: bool, stage: _Stage) -> T:
        async with self._connection() as connection:
            try:
                result = await connection.run_sync(work)
            except DBAPIError as error:
                raise self._told(error) from None
            if commit:
                await self._commit(connection, stage)
            return result

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        try:
            connection = await self.engine.connect()
        except PoolExhausted:
            raise Busy("no connection is free") from None
        except self._no_connection as error:
            raise _Again(type(getattr(error, "orig", None) or error).__name__) from None
        try:
            yield connection
        finally:
            await asyncio.shield(self._give_back(connection))

    async def _give_back(self, connection: AsyncConnection) -> None:
        """Its rollback may find out that the server is gone. What was done on it is done, or told, already."""
        try:
            await connection.close()
        except self._no_connection:
            if not connection.closed:
                await connection.invalidate()
                await connection.close()

    async def _commit(self, connection: AsyncConnection, stage: _Stage) -> None:
        """Past this point only the server knows, unless it says that it rolled back."""
        stage.committing = True
        try:
            await connection.commit()
        except DBAPIError as error:
            if not sqlstate(error).startswith(self.REFUSED_COMMIT):
                raise Unsure from None
            stage.committing = False
            raise self._told(error) from None

    def _told(self, error: DBAPIError) -> Exception:
        state = sqlstate(error)
        if error.connection_invalidated or state.startswith(self.GONE + self.ROLLED_BACK):
            return _Again(state or type(error.orig).__name__)
        if state in self.LOCKED:
            return Busy("locked")
        if state in self.OUT_OF_ORDER:
            return OutOfOrder(state)
        return error

    async def check(self) -> None:
        names = ("transaction_read_only", "fsync", "full_page_writes")
        found = await self.read(lambda c: {name: c.exec_driver_sql(f"SHOW {name}").scalar_one() for name in names})
        if found["transaction_read_only"] != "off":
            raise Unusable(
                "DATABASE_URL leads to a PostgreSQL that takes no writes, a standby perhaps. Name the primary."
            )
        if "off" in (found["fsync"], found["full_page_writes"]):
            raise Unusable(
                "This PostgreSQL forgets what it promised when its machine stops, so something might be sent twice. "
                "Set fsync and full_page_writes to on."
            )

    def claim_dispatch(self) -> None:
        """Row leases decide; any number may dispatch."""

    # --- hints -------------------------------------------------------------------------------------------------------

    async def listen(self, heard: Callable[..., None]) -> None:
        """Listens until `close`, and again after each break; what was said meanwhile is as good as heard."""
        self._listening = asyncio.create_task(self._listen(heard), name="listen")

    async def _listen(self, heard: Callable[..., None]) -> None:
        import asyncpg

        url = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
        while True:
            try:
                connection = await asyncpg.connect(url, timeout=5)
                try:
                    await self._hear(connection, heard)
                finally:
                    await connection.close(timeout=1)
            except Exception as error:  # whatever it is: a listener that ends hears nothing for as long as we live
                log.info("not listening to the others just now", error=type(error).__name__)
                await asyncio.sleep(1)

    async def _hear(self, connection: Any, heard: Callable[..., None]) -> None:
        """Until the connection ends; one that ended without a word is found out by asking now and then."""
        over = asyncio.Event()

        def hear(_connection: Any, _process: int, _channel: str, told: str) -> None:
            speaker, *words = told.split(" ") if told else [""]  # an older process says nothing
            if speaker != self._name:
                heard(*words)

        connection.add_termination_listener(lambda _: over.set())
        await connection.add_listener(CHANNEL, hear)
        heard()
        while not over.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(LISTEN_CHECK):
                    await over.wait()
                    return
            await connection.execute("SELECT 1", timeout=5)

    async def tell_others(self, *words: str) -> None:
        told = " ".join([self._name, *words])
        await self.write(lambda c: c.execute(select(func.pg_notify(CHANNEL, told))))

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self.engine.dispose()


def sqlstate(error: DBAPIError) -> str:
    """PostgreSQL's five letters; nothing where the connection broke before it could say any."""
    return getattr(error.orig, "sqlstate", None) or ""


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the schema to this revision, the newest if none is named.

    Interrupted, it leaves nothing behind and can be run again; of several processes at once, one does it.
    """
    from alembic import command  # 100 ms that only this needs
    from alembic.config import Config

    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({UPGRADE_LOCK})")
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def one_snapshot(connection: Connection) -> None:
    """For the first line of what reads everything and takes its time about it: nothing changes under its eyes.

    On SQLite that is so anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
