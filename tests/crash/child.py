"""The process that dies: the real bot, with a trap at its two seams, the store's commit and the transport.

It is forked from a process that has imported everything and has no threads and no event loop.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import anyio._backends._asyncio  # noqa: F401 - otherwise imported late: here once, for every fork
import asyncpg  # noqa: F401
import httpcore  # noqa: F401
import uvicorn.protocols.http.auto  # noqa: F401
from sqlalchemy import Connection, Engine, event
from sqlalchemy.ext.asyncio import AsyncEngine

import providers.http
from bot import logs
from bot.app import Bot
from bot.config.load import parse
from bot.domain.hours_defaults import resolve_policies
from providers.base import Answer, Provider
from tests.support.patience import LONG

WRITTEN = "written in this transaction"
TURN = {"insert occurrences", "insert broadcasts"}

step: ContextVar[str] = ContextVar("step", default="")


@dataclass(frozen=True)
class Orders:
    """What a process is to do. `point`: where it dies, `pause` seconds after it gets there for the `nth` time; without
    one it lives. `spent`: the file that marks that a process has died there, so that no other does."""

    settings: Mapping[str, Any]
    log: Path
    spent: Path
    point: str | None = None
    nth: int = 1
    pause: float = 0.0


class Trap:
    """Kills this process where its orders say."""

    def __init__(self, orders: Orders) -> None:
        self.orders, self.left = orders, orders.nth

    def passed(self, *names: str) -> None:
        """Note that these points are reached, and die if the orders name one."""
        if self.orders.point not in names:
            return
        self.left -= 1
        if self.left == 0 and self._first():
            time.sleep(self.orders.pause)
            os.kill(os.getpid(), signal.SIGKILL)

    def _first(self) -> bool:
        try:
            os.close(os.open(self.orders.spent, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def set(self, bot: Bot) -> None:
        engine = getattr(bot.database, "engine")  # noqa: B009 - of either kind
        self.watch_store(engine.sync_engine if isinstance(engine, AsyncEngine) else engine)
        for provider in bot.providers.values():
            self.watch_vendor(provider)
        self.watch_flight()
        self.watch_slack(bot)

    def watch_store(self, engine: Engine) -> None:
        """Trap before a commit, and right after it, before the rest of the process knows."""
        commit = engine.dialect.do_commit

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            connection.info[WRITTEN] = set()

        @event.listens_for(engine, "after_cursor_execute")
        def note(connection: Connection, cursor: Any, *told: Any) -> None:
            connection.info.setdefault(WRITTEN, set()).update(written(cursor, told[2]))

        def do_commit(connection: Any) -> None:
            written = connection.info.pop(WRITTEN, set())
            if written >= TURN:
                written.add("turn")
            names = [f"commit {name}" for name in written]
            self.passed(*(f"{name} before" for name in names))
            commit(connection)
            self.passed(*(f"{name} after" for name in names))

        setattr(engine.dialect, "do_commit", do_commit)  # noqa: B010 - a method of this one engine

    def watch_vendor(self, provider: Provider) -> None:
        """Trap before a call to a vendor begins, and after its answer is read."""
        call: Callable[..., Awaitable[Answer]] = provider.transport.call

        async def watched(method: str, url: str, **more: Any) -> Answer:
            name = "release" if more.get("release") else url.rsplit("/", 1)[-1]
            step.set(f"call {name}")
            self.passed(f"call {name} before")
            answer = await call(method, url, **more)
            self.passed(f"call {name} after")
            return answer

        setattr(provider.transport, "call", watched)  # noqa: B010

    def watch_flight(self) -> None:
        """Trap once the request is sent and before any byte of the answer has come."""
        trap = self

        class Watched(providers.http.RequestTrace):
            async def trace(self, name: str, info: Mapping[str, Any]) -> None:
                await super().trace(name, info)
                if name == "http11.receive_response_headers.started":
                    trap.passed(f"{step.get()} during")

        setattr(providers.http, "RequestTrace", Watched)  # noqa: B010

    def watch_slack(self, bot: Bot) -> None:
        """Trap right after Slack took a message, before the rest of the process knows."""
        call = bot.posting.api_call

        async def watched(method: str, **more: Any) -> Any:
            answer = await call(method, **more)
            metadata = (more.get("json") or {}).get("metadata") or {}
            if method == "chat.postMessage":
                self.passed(f"post {metadata.get('event_type')} after")
            return answer

        setattr(bot.posting, "api_call", watched)  # noqa: B010


def written(cursor: Any, context: Any) -> Iterator[str]:
    """Yield what a statement writes: the actions of audit rows, `insert TABLE`, or `TABLE.COLUMN` for each column."""
    if context is None or context.compiled is None or not (context.isinsert or context.isupdate):
        return
    table, rows = context.compiled.statement.table.name, context.compiled_parameters
    if context.isupdate:
        yield from (f"{table}.{column}" for column in rows[0])
    elif table == "audit":
        yield from (str(row["action"]) for row in rows)
    elif cursor.rowcount != 0 or context.compiled.effective_returning:  # otherwise the row was already there
        yield f"insert {table}"


def run(orders: Orders, pipe: Pipe) -> None:
    """Run one process for its whole life. Its port goes into the pipe once it is up."""
    error = os.open(orders.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(error, 2)
    logs.set_up("info")
    asyncio.run(serve(orders, pipe))


async def serve(orders: Orders, pipe: Pipe) -> None:
    parent = parent_process()
    if parent is not None:
        asyncio.get_running_loop().add_reader(parent.sentinel, os._exit, 1)
    bot = Bot(parse(dict(orders.settings)), patience=LONG)
    if orders.point is not None:
        Trap(orders).set(bot)
    await bot.start("127.0.0.1", 0)
    (listening,) = bot.servers[0].servers[0].sockets
    pipe.send(listening.getsockname()[1])
    await asyncio.Event().wait()


inspect.stack()  # these three are cached: only the first process spends the 0.3 s
resolve_policies({})
providers.http.tls()
