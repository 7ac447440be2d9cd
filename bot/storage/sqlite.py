"""SQLite: one file, one writer thread, and groups of writes in one commit."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from bot.domain.clock import steady, timed
from bot.storage.database import (
    BUSY_SECONDS,
    OWN,
    PATIENCE,
    AlreadyDispatching,
    CommitUncertain,
    Database,
    DatabaseBusy,
    OutOfOrder,
    T,
    Unusable,
    Work,
)
from bot.storage.failing_rows import FailingRows
from bot.storage.steps import TakenStep, Told, with_steps

GROUP = 64
PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "cache_size=-1024",  # KiB for each connection, to limit memory; the system caches what is read often
    f"busy_timeout={BUSY_SECONDS * 1000}",
)


@dataclass
class _Waiting:
    """A write in the queue, and until when (`steady`) it waits for a lock."""

    work: Work[tuple[Any, list[TakenStep]]]
    future: asyncio.Future[Any]
    until: float
    context: Context = field(default_factory=copy_context)  # of whoever asked for it

    @property
    def patience(self) -> float:
        return max(self.until - steady(), 0.0)

    def settle(self, outcome: Any, tell: Told) -> None:
        """Hand over the outcome. A caller that was cancelled meanwhile gets no answer, but its write stays."""
        result, taken = (None, []) if isinstance(outcome, BaseException) else outcome
        self.context.run(tell, taken)
        if self.future.done():
            return
        if isinstance(outcome, BaseException):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(result)


class DatabaseFile:
    """The file, and the lock file beside it.

    While no process runs, the lock file records that the database was sound and was left as it is now. Checking all of
    a large file takes long, so it is done only after an unexpected stop.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def lock_path(self) -> Path:
        """Beside the file itself, so that a process that opens it through a link finds the same lock."""
        return Path(f"{self.path.resolve()}.lock")

    @property
    def mark(self) -> Path:
        """Beside the path as it was given."""
        return Path(f"{self.path.absolute()}.lock")

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

    def was_left_sound(self) -> bool:
        """Whether the last holder of the lock stopped as intended, and the file is still as it left it."""
        try:
            return self.lock_path.read_text(encoding="ascii") == self._as_left()
        except (OSError, ValueError):
            return False

    def _as_left(self) -> str:
        """Return what tells this file, as it is now, from another one put in its place.

        Raises ValueError if its log still holds something.
        """
        log = Path(f"{self.path.resolve()}-wal")
        if log.exists() and log.stat().st_size:
            raise ValueError(log)
        file = self.path.stat()
        return f"sound {file.st_ino} {file.st_size} {file.st_mtime_ns}\n"

    def damaged(self) -> Unusable:
        return Unusable(
            f"The database {self.path} is damaged, so nothing is sent from it. "
            "Put it and its -wal and -shm files aside, then restore a backup with `bellcrier db restore FILE`."
        )

    def check_settings(self, connection: Connection) -> None:
        wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
        found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted}
        if found != wanted:
            raise Unusable(
                f"SQLite cannot keep what it writes safe on the disk of {self.path} ({found}). Use a local disk."
            )

    def leave_sound(self, handle: int) -> None:
        """Record that the file is sound. With a full disk, or a log in use, the next start checks it instead."""
        with suppress(OSError, ValueError):
            os.pwrite(handle, self._as_left().encode("ascii"), 0)
            os.fsync(handle)


class SQLite(Database):
    """One writer thread. Writes that arrive together are committed together, each in its own savepoint."""

    SHORTEST_WAIT = 0.1  # seconds to wait for a lock at least, however long earlier waits took
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
        self.file = DatabaseFile(self.path)
        self.engine = sqlite_engine(url, self.failing_rows)
        self._reader = self.engine.execution_options(read=True)
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._reading = ThreadPoolExecutor(4, thread_name_prefix="store-read")
        self._queue: list[_Waiting] = []
        self._drain: asyncio.Task[None] | None = None
        self._lock_file: int | None = None
        self._checking: sqlite3.Connection | None = None
        self._sound = self._hurt = False  # the whole file was checked; a page was unreadable since

    @property
    def exclusive(self) -> bool:
        return True

    async def write(self, work: Work[T], *, patience: float | None = OWN) -> T:
        self._stay_home()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(with_steps(work), future, steady() + self.busy))
        if self._drain is None or self._drain.done():
            self._drain = asyncio.create_task(self._drain_queue())
        with timed("write", self.on_end):
            return await future

    async def read(self, work: Work[T], *, patience: float | None = OWN) -> T:
        self._stay_home()

        def run() -> T:
            try:
                with self._reader.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                raise self._our_error(error) from None

        with timed("read", self.on_end):
            return await asyncio.get_running_loop().run_in_executor(self._reading, run)

    async def _drain_queue(self) -> None:
        await asyncio.sleep(0)  # all writes of this turn of the loop go into one commit
        loop = asyncio.get_running_loop()
        while self._queue:
            group, self._queue = self._queue[:GROUP], self._queue[GROUP:]
            works = [waiting.work for waiting in group]
            wait = max(group[0].patience, self.SHORTEST_WAIT)
            outcomes = await loop.run_in_executor(self._writing, self._commit_group, works, wait)
            again = []
            for waiting, outcome in zip(group, outcomes, strict=True):
                if type(outcome) is DatabaseBusy and waiting.patience > self.SHORTEST_WAIT:
                    again.append(waiting)  # it came later, and may wait for the lock as long as the others did
                else:
                    waiting.settle(outcome, self._tell)
            self._queue = again + self._queue

    def _commit_group(self, group: list[Work[Any]], wait: float) -> list[Any]:
        """Run these in one commit; return a value or an exception for each. `wait`: seconds to wait for a lock."""
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
            problem = self._our_error(error)
            if committing and sqlite_code(error) == sqlite3.SQLITE_IOERR:
                problem = CommitUncertain()  # what was written may reach the disk, or not
            return [problem] * len(group)

    def _one_of_many(self, connection: Connection, driver: sqlite3.Connection, work: Work[Any]) -> Any:
        try:
            with connection.begin_nested():
                return work(connection)
        except Exception as error:
            self._still_there(driver)
            return self._our_error(error)

    def _our_error(self, error: Exception) -> Exception:
        self._hurt = self._hurt or sqlite_code(error) in self.BROKEN
        return _our_sqlite_error(error)

    @staticmethod
    def _still_there(driver: sqlite3.Connection) -> None:
        """Raise OutOfOrder if a full disk ended the transaction: what follows would be stored on its own."""
        if not driver.in_transaction:
            raise OutOfOrder("rolled back")

    def check_place(self) -> None:
        self.file.check_place()

    async def check(self) -> None:
        self.file.check_place()
        # the first process that dispatches, upgrades or restores makes them; `mark` survives if a link's target is gone
        used = self.file.lock_path.exists() or self.file.mark.exists()
        await asyncio.get_running_loop().run_in_executor(self._reading, self._check, used)

    def _check(self, used: bool) -> None:
        try:
            with self._reader.begin() as connection:
                sound = self._sound or self.file.was_left_sound()
                self._checking = cast("sqlite3.Connection", connection.connection.driver_connection)
                if not sound and connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one() != "ok":
                    raise self.file.damaged()
                if used and connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one() == 0:
                    raise Unusable(
                        f"The database {self.path} is gone: its lock file shows that there was one. "
                        "Restore a backup with `bellcrier db restore FILE`, or begin anew with `bellcrier db upgrade`."
                    )
                self.file.check_settings(connection)
        except DBAPIError as error:
            if sqlite_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise self.file.damaged() from None
            raise self._our_error(error) from None
        finally:
            self._checking = None
        self._sound = True

    def claim_dispatch(self) -> None:
        handle = os.open(self.file.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise AlreadyDispatching(str(self.path)) from None
        self._lock_file = handle  # kept open for life: closing it releases the lock
        self.file.mark.touch(0o600)
        self._sound = self._sound or self.file.was_left_sound()
        os.ftruncate(handle, 0)
        os.fsync(handle)

    async def listen(self, on_notice: Callable[..., None]) -> None:
        """There is nobody else."""

    async def notify_peers(self, *words: str) -> None:
        """There is nobody else."""

    async def close(self) -> None:
        if self._drain is not None:
            await self._drain
        if (checking := self._checking) is not None:  # a start was given up; to check a large file takes minutes
            checking.interrupt()
        self._writing.shutdown()
        self._reading.shutdown()
        self.engine.dispose()
        if self._lock_file is not None:
            if self._sound and not self._hurt:
                self.file.leave_sound(self._lock_file)
            os.close(self._lock_file)
            self._lock_file = None


def sqlite_engine(url: URL, failing_rows: FailingRows | None = None) -> Engine:
    engine = create_engine(
        url,
        poolclass=NullPool if url.database in (None, "", ":memory:") else None,
        hide_parameters=True,
        json_deserializer=read_json,
        execution_options={} if failing_rows is None else {"failing_rows": failing_rows},
    )

    @event.listens_for(engine, "connect")
    def prepare(driver: sqlite3.Connection, _record: object) -> None:
        driver.isolation_level = None  # else Python's driver starts its own transactions
        driver.text_factory = _text
        for pragma in PRAGMAS:
            driver.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get("read")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _text(stored: bytes) -> str:
    """Replace what is not UTF-8. The digest then shows the change, and the other rows stay readable."""
    return stored.decode("utf-8", "replace")


def read_json(stored: str) -> Any:
    """Return `NotJson` for what is not JSON, so that only this row fails, and not all rows read with it."""
    try:
        return json.loads(stored)
    except (ValueError, RecursionError):
        return NotJson


class NotJson:
    """The value of a JSON column whose content is not JSON."""


def sqlite_code(error: BaseException) -> int:
    """SQLite's primary error code; 0 for any other error."""
    driver = error.orig if isinstance(error, DBAPIError) else error
    return getattr(driver, "sqlite_errorcode", 0) & 0xFF


def _our_sqlite_error(error: Exception) -> Exception:
    """Turn a lock timeout and an unwritable file into our own errors; return any other error as it is."""
    code = sqlite_code(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return DatabaseBusy("locked")
    if code in SQLite.ENGINE_ERRORS:
        return OutOfOrder(str(getattr(getattr(error, "orig", error), "sqlite_errorname", "")))
    return error
