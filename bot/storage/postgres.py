"""PostgreSQL through asyncpg, and the hints by which one process wakes the others."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, event, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from bot.domain.clock import timed
from bot.storage.addresses import PostgresAddress
from bot.storage.connecting import Connector, is_refusal, sentence
from bot.storage.database import (
    CONNECTIONS,
    OWN,
    PATIENCE,
    CommitUncertain,
    Database,
    DatabaseBusy,
    DatabaseRefuses,
    OutOfOrder,
    T,
    Unusable,
    Work,
)
from bot.storage.peers import CHANNEL, Peers
from bot.storage.sqlite import read_json
from bot.storage.steps import with_steps

#: The settings of each of our PostgreSQL sessions, whatever the server's defaults are.
SESSION = {
    "synchronous_commit": "on",  # an intent that a restart forgets would be sent twice
    "idle_in_transaction_session_timeout": "10000",  # ms after which a suspended process loses its locks
}


#: Every statement anew and without a name, since the next transaction may be in another session.
UNPREPARED: Mapping[str, Any] = {"prepared_statement_cache_size": 0, "prepared_statement_name_func": lambda: ""}


class _Again(Exception):
    """The transaction failed through no fault of its work. The message is a word for the log."""


@dataclass
class _Stage:
    """How far a transaction has come, and why it was last retried."""

    committing: bool = False
    reason: str = "no answer"


class Postgres(Database):
    """PostgreSQL, for any number of processes.

    A failed transaction (a server restart, a deadlock) runs again while its patience lasts. One whose commit may have
    happened never does.
    """

    TRIES = 12
    ROLLED_BACK = ("40",)  # serialization failure, deadlock
    GONE = ("08", "57P", "25P03")  # the connection broke, the server shuts down, we slept inside a transaction
    LOCKED = ("55P03", "57014")
    OUT_OF_ORDER = ("53100", "53200", "25006")  # disk full, out of memory, a standby
    REFUSED_COMMIT = ("40", "23")  # only these say that a commit did not happen

    def __init__(
        self, address: PostgresAddress, listen_at: PostgresAddress | None = None, patience: float = PATIENCE
    ) -> None:
        """`listen_at`: where to listen, if `address` leads to a pooler that cannot. Raises Unusable."""
        try:
            import asyncpg  # SQLite does not need it
        except ImportError:
            raise Unusable(
                "PostgreSQL needs another package. Run `pip install -c constraints.txt '.[postgres]'`."
            ) from None
        self.patience = patience
        for used in (address, listen_at or address):
            if missing := used.missing_file():
                raise Unusable("DATABASE_URL: {}: the file {} cannot be read.".format(*missing))
        settings = SESSION | {"lock_timeout": str(int(self.busy * 1000))}
        self.connector = Connector(address, settings, self.busy)
        listening = Connector(listen_at, {}, self.busy) if listen_at else self.connector
        self.peers = Peers(listening.open, self.notify_peers, secrets.token_hex(4))
        self.engine: AsyncEngine = self._engine()
        self._no_connection = (OSError, DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError)
        self._under_way: set[asyncio.Task[Any]] = set()

    def _engine(self) -> AsyncEngine:
        engine = create_async_engine(
            "postgresql+asyncpg://",
            pool_size=CONNECTIONS,
            max_overflow=10,
            pool_timeout=self.busy,
            hide_parameters=True,
            json_deserializer=read_json,
            execution_options={"failing_rows": self.failing_rows},
        )
        event.listen(engine.sync_engine, "do_connect", self._do_connect)
        event.listen(engine.sync_engine, "begin", self._begin)
        return engine

    def _do_connect(self, dialect: Any, _record: object, _args: object, _parameters: object) -> Any:
        """Open a connection for the pool. Without a session of its own, it must not come back to what it prepared."""
        opened = await_only(self.connector.open())

        async def ready() -> Any:
            return opened

        return dialect.connect(async_creator_fn=ready, **(UNPREPARED if self.connector.pooled else {}))

    def _begin(self, connection: Connection) -> None:
        """Set for this transaction what a pooler does not keep for the session."""
        if self.connector.pooled:
            first, _, others = self.connector.of_a_transaction.partition("; ")
            connection.exec_driver_sql(first)  # which begins the transaction at the server too
            driver: Any = connection.connection.dbapi_connection
            driver.run_async(lambda opened: opened.execute(others))

    @property
    def exclusive(self) -> bool:
        return False

    # --- transactions ------------------------------------------------------------------------------------------------

    async def write(self, work: Work[T], *, patience: float | None = OWN) -> T:
        with timed("write", self.on_end):
            return await self._patiently(work, True, self.patience if patience == OWN else patience)

    async def read(self, work: Work[T], *, patience: float | None = OWN) -> T:
        with timed("read", self.on_end):
            return await self._patiently(work, False, self.patience if patience == OWN else patience)

    async def _patiently(self, work: Work[T], commit: bool, patience: float | None) -> T:
        """Run `work`. No caller waits longer than `patience`, even while a silently dead connection is cleared away."""
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
        raise CommitUncertain if stage.committing else DatabaseBusy(stage.reason)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as retrieved; a caller that still waits gets it too

    async def _retried(self, work: Work[T], commit: bool, stage: _Stage) -> T:
        pause = 0.02
        for _ in range(self.TRIES):
            try:
                return await self._transaction(work, commit, stage)
            except _Again as error:
                stage.reason = str(error)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, 0.5)
        raise DatabaseBusy(stage.reason)

    async def _transaction(self, work: Work[T], commit: bool, stage: _Stage) -> T:
        async with self._connection() as connection:
            try:
                result, taken = await connection.run_sync(with_steps(work))
            except DBAPIError as error:
                raise self._our_error(error) from None
            if commit:
                await self._commit(connection, stage)
                self._tell(taken)
            return result

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        try:
            connection = await self.engine.connect()
        except PoolExhausted:
            raise DatabaseBusy("no connection is free") from None
        except self._no_connection as error:
            if is_refusal(error):
                raise DatabaseRefuses(sentence(error)) from None
            raise _Again(sentence(error)) from None
        try:
            yield connection
        finally:
            await asyncio.shield(self._give_back(connection))

    async def _give_back(self, connection: AsyncConnection) -> None:
        """Close the connection. Its rollback may fail if the server is gone, but the work is already settled."""
        try:
            await connection.close()
        except self._no_connection:
            if not connection.closed:
                await connection.invalidate()
                await connection.close()

    async def _commit(self, connection: AsyncConnection, stage: _Stage) -> None:
        """Commit. From here on only the server knows the outcome, unless it reports a rollback."""
        stage.committing = True
        try:
            await connection.commit()
        except DBAPIError as error:
            if not sqlstate(error).startswith(self.REFUSED_COMMIT):
                raise CommitUncertain from None
            stage.committing = False
            raise self._our_error(error) from None

    def _our_error(self, error: DBAPIError) -> Exception:
        state = sqlstate(error)
        if error.connection_invalidated or state.startswith(self.GONE + self.ROLLED_BACK):
            return _Again(state or type(error.orig).__name__)
        if state in self.LOCKED:
            return DatabaseBusy("locked")
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
        """Do nothing: any number of processes may dispatch, and row leases decide."""

    # --- hints -------------------------------------------------------------------------------------------------------

    async def listen(self, on_notice: Callable[..., None]) -> None:
        self.peers.listen(on_notice)

    @property
    def deaf(self) -> str | None:
        return self.peers.deaf

    async def deafness(self) -> str | None:
        return await self.peers.trouble()

    async def notify_peers(self, *words: str) -> None:
        payload = " ".join([self.peers.name, *words])
        await self.write(lambda c: c.execute(select(func.pg_notify(CHANNEL, payload))))

    async def close(self) -> None:
        await self.peers.close()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self.engine.dispose()


def sqlstate(error: DBAPIError) -> str:
    """PostgreSQL's five-character error code; empty if the connection broke before it sent one."""
    return getattr(error.orig, "sqlstate", None) or ""
