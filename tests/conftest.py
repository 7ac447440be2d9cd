"""The fixtures that tests share: a pretend workspace on a real socket, the real bot against it, and both databases."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import structlog
from hypothesis import HealthCheck, settings
from playwright.async_api import Browser

from bot.app import Bot
from bot.domain.clock import Clock, now
from bot.logs import set_up
from bot.storage.database import Database
from bot.storage.engines import open_database
from bot.storage.schema import upgrade
from sandbox.server import Sandbox
from tests.support.browsers import chromium
from tests.support.canaries import Canaries
from tests.support.core import Core, MakeCore
from tests.support.ground import (
    StartBot,
    changed,
    empty,
    free_port,
    new_postgres,
    postgres_server,
    raw_settings,
    shared_server,
)
from tests.support.patience import LONG
from tests.support.shell import Shell, shell_in
from tests.support.statements import share_compiled_statements

DATABASES = ("sqlite", "postgresql")

settings.register_profile(  # a busy machine makes a generated test slow, never wrong
    "bellcrier",
    deadline=None,
    max_examples=int(os.environ.get("BELLCRIER_EXAMPLES", "50")),
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("bellcrier")

# The workers and every process that a test starts would compile everything anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

share_compiled_statements()

gc.disable()  # during collection: what it allocates is needed until the end


def pytest_collection_finish() -> None:
    """Exempt what the whole session needs from garbage collection, which took a fifth of all the time."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


@pytest.hookimpl(tryfirst=True)  # before the deselected tests are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run a test of both databases on one with the quick tests, and on the other with the tests that come after."""
    kinds = {item.nodeid: item.callspec.params.get("database_url") for item in items if hasattr(item, "callspec")}
    for item in items:
        kind = kinds.get(item.nodeid)
        twin = item.nodeid.replace(str(kind), next(other for other in DATABASES if other != kind))
        if kind in DATABASES and twin in kinds and kind != DATABASES[crc32(min(twin, item.nodeid).encode()) % 2]:
            item.add_marker(pytest.mark.other_database)


@pytest.fixture(scope="session", autouse=True)
def _logs() -> Iterator[Canaries]:
    set_up("debug")
    root = logging.getLogger()
    (shown,) = root.handlers
    shown.setLevel(logging.WARNING)  # with a test that fails
    canaries = Canaries(shown.formatter)
    root.addHandler(canaries)
    yield canaries
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def _no_canaries(_logs: Canaries) -> Iterator[None]:
    """J1: no test leaves a secret, a number or a text in the log, at any level."""
    _logs.begin()
    os.umask(0o022)  # a command that ran in this process has left its own
    yield
    assert _logs.found() == []


@pytest.fixture
def seed() -> int:
    """One seed for a random test, printed when it fails; `BELLCRIER_SEED` replays it."""
    chosen = int(os.environ.get("BELLCRIER_SEED") or random.randrange(10**9))
    print(f"BELLCRIER_SEED={chosen}")  # noqa: T201 - pytest shows it with a failure
    return chosen


def be_patient(sandbox: Sandbox) -> None:
    """Keep the sandbox from calling an answer or a trigger too old because the machine is busy."""
    sandbox.patience = sandbox.delivery.patience = sandbox.world.trigger_seconds = LONG


@pytest.fixture
def bot_port() -> int:
    return free_port()


@pytest.fixture(params=["socket", "http"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def sandbox(_logs: Canaries) -> AsyncIterator[Sandbox]:
    async with Sandbox(retry_pauses=(0.05, 0.1, 0.1)) as pretend:
        be_patient(pretend)
        _logs.sandboxes.append(pretend)
        yield pretend


@pytest.fixture
async def http_sandbox(bot_port: int, _logs: Canaries) -> AsyncIterator[Sandbox]:
    address = f"http://127.0.0.1:{bot_port}/slack/events"
    async with Sandbox(events_url=address, retry_pauses=(0.05, 0.1, 0.1)) as pretend:
        be_patient(pretend)
        _logs.sandboxes.append(pretend)
        yield pretend


@pytest.fixture
async def start_bot(bot_port: int, tmp_path: Path, sqlite_schema: Path) -> AsyncIterator[StartBot]:
    """Start the real bot against a sandbox; it is stopped at the end of the test.

    `clock`: its time; `patience`: pass PATIENCE where the test is about it.
    """
    started: list[Bot] = []
    shutil.copy(sqlite_schema, tmp_path / "bell.db")

    async def start(sandbox: Sandbox, clock: Clock = now, patience: float = LONG, **changes: Any) -> Bot:
        named = {name.replace("__", "."): value for name, value in changes.items()}
        bot = Bot(changed(raw_settings(sandbox, bot_port, tmp_path), named), clock, patience=patience)
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


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as opened:
        yield opened


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    """Type a `bellcrier` command in an empty folder, with nothing in the environment but what is given."""
    async with shell_in(tmp_path) as typed:
        yield typed


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """A real PostgreSQL from the wheel for the whole session, or a running one that many sessions share."""
    with shared_server() or postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def sqlite_schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the schema that the migrations make, to be copied."""
    path = tmp_path_factory.mktemp("schema") / "store.db"
    asyncio.run(migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def postgres_schema(postgres: Any) -> Iterator[str]:
    """A PostgreSQL database with the same schema, which the tests use one after the other."""
    with new_postgres(postgres) as url:
        asyncio.run(migrate(url))
        yield url


async def migrate(url: str) -> None:
    opened = open_database(url, LONG)
    await opened.write(upgrade, patience=None)
    await opened.close()


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of each kind without rows, with the schema if the test uses a `database` or a bot."""
    migrated = not {"database", "start_bot"}.isdisjoint(request.fixturenames)
    if request.param == "sqlite":
        if migrated:
            shutil.copy(request.getfixturevalue("sqlite_schema"), tmp_path / "store.db")
        yield f"sqlite:///{tmp_path}/store.db"
        return
    server = request.getfixturevalue("postgres")
    if migrated:
        url = request.getfixturevalue("postgres_schema")
        empty(server, url)
        yield url
        return
    with new_postgres(server) as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database of each kind, with the schema that the migrations make."""
    opened = open_database(database_url, LONG)
    yield opened
    await opened.close()


@pytest.fixture
async def make_core(database: Database, sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[MakeCore]:
    made: list[Core] = []

    def make(**changes: Any) -> Core:
        made.append(Core(database, sandbox, tmp_path, **changes))
        return made[-1]

    yield make
    for core in made:
        await core.close()


@pytest.fixture
def core(make_core: MakeCore) -> Core:
    return make_core()


@pytest.fixture
async def second(database: Database, database_url: str) -> AsyncIterator[Database]:
    """Another process's view of the same database."""
    opened = open_database(database_url, LONG)
    yield opened
    await opened.close()
