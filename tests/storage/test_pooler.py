"""PostgreSQL behind Debian's PgBouncer, which gives each transaction any of its sessions."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

from bot.backup import restore_backup, write_backup
from bot.storage import schema
from bot.storage.database import Database, DatabaseBusy
from bot.storage.engines import open_database
from bot.storage.postgres import Postgres
from sandbox.server import Sandbox
from tests.support.databases import keep, kept
from tests.support.ground import StartBot, free_port
from tests.support.patience import LONG, until
from tests.support.slack import HERE, card, thread_text

BOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
KEY = "a2V5LWtleS1rZXkta2V5LWtleS1rZXkta2V5LWtleSE="

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(BOUNCER is None, reason="needs Debian's package pgbouncer"),
]


@contextmanager
def pooler(server: Any, *, mode: str = "transaction", extra: str = "") -> Iterator[int]:
    """Its port. It has two sessions at the server, so that who comes next has another one's."""
    assert BOUNCER is not None
    folder, port = Path(tempfile.mkdtemp(prefix="pgb-")), free_port()
    socket = server.get_postmaster_info().socket_path.parent
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={socket} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"auth_type = any\nauth_file = {folder}/users\npool_mode = {mode}\ndefault_pool_size = 2\n"
        f"unix_socket_dir =\nserver_round_robin = 1\nmax_client_conn = 100\n{extra}\n"
    )
    (folder / "users").write_text('"postgres" ""\n')
    if server.system_user:  # neither of them runs as root
        for place in (folder, *folder.iterdir()):
            shutil.chown(place, server.system_user)
    command = [BOUNCER, "-q", str(folder / "pgbouncer.ini")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, user=server.system_user)
    try:
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=LONG)
        shutil.rmtree(folder)


def through(port: int, url: str, query: str = "") -> str:
    return f"postgresql://postgres@127.0.0.1:{port}/{make_url(url).database}{query}"


@pytest.fixture
def pooled_url(postgres: Any, postgres_url: str) -> Iterator[str]:
    with pooler(postgres) as port:
        yield through(port, postgres_url)


@pytest.fixture
async def pooled(pooled_url: str) -> AsyncIterator[Postgres]:
    opened = open_database(pooled_url, LONG)
    assert isinstance(opened, Postgres)
    await until_open(opened)
    await opened.write(schema.upgrade, patience=None)
    yield opened
    await opened.close()


async def until_open(database: Database) -> None:
    async with asyncio.timeout(LONG):
        while True:
            try:
                return await database.read(lambda c: None)
            except DatabaseBusy:
                await asyncio.sleep(0.05)


def facts(connection: Connection) -> tuple[str, str, str]:
    names = ("synchronous_commit", "lock_timeout", "idle_in_transaction_session_timeout")
    one, two, three = (str(connection.exec_driver_sql(f"SHOW {name}").scalar_one()) for name in names)
    return one, two, three


def add_one(connection: Connection) -> int:
    found = connection.execute(
        text("UPDATE kept SET value = (value::int + 1)::text WHERE name = 'n' RETURNING pg_backend_pid()")
    )
    return int(found.scalar_one())


async def test_it_is_found_and_every_transaction_has_the_settings_and_statements_that_it_needs(
    pooled: Postgres, postgres_url: str
) -> None:
    assert pooled.connector.pooled
    name = make_url(postgres_url).database
    await pooled.write(lambda c: c.exec_driver_sql(f"ALTER DATABASE {name} SET synchronous_commit = off"))
    await pooled.write(keep("n", "0"))
    sessions = set(await asyncio.gather(*(pooled.write(add_one) for _ in range(60))))
    assert len(sessions) == 2
    assert await kept(pooled, "n") == "60"
    others = [await pooled.read(facts) for _ in range(6)]
    assert {(one, three) for one, _, three in others} == {("on", "10s")}
    assert all(two not in ("0", "") for _, two, _ in others)
    await pooled.check()
    await pooled.read(schema.one_snapshot)


async def test_processes_do_not_meet_each_others_statements(pooled: Postgres, pooled_url: str) -> None:
    others = [open_database(pooled_url, LONG) for _ in range(4)]
    await pooled.write(keep("n", "0"))
    await asyncio.gather(*(other.write(add_one) for other in others for _ in range(30)))
    assert await kept(pooled, "n") == "120"
    for other in others:
        await other.close()


async def test_nothing_is_heard_through_it_which_is_told_and_a_direct_address_hears(
    pooled: Postgres, pooled_url: str, postgres_url: str
) -> None:
    assert "a pooler in transaction mode" in str(await pooled.deafness())
    await pooled.listen(lambda *_: None)
    await until(lambda: pooled.deaf)
    heard: list[str] = []
    hearing = open_database(pooled_url, LONG, listen_url=postgres_url)
    await hearing.listen(lambda *words: heard.append(" ".join(words)))
    await until(lambda: heard)  # it listens now, and looks for what it may have missed
    assert await hearing.deafness() is None
    await pooled.notify_peers("paint")
    await until(lambda: "paint" in heard)
    assert hearing.deaf is None
    await hearing.close()


@pytest.mark.parametrize("settings", [
    "ignore_startup_parameters = synchronous_commit,lock_timeout,idle_in_transaction_session_timeout",
    "server_reset_query_always = 1", "max_client_conn = 30",
])  # fmt: skip
async def test_settings_of_the_pooler_do_not_matter(postgres: Any, postgres_url: str, settings: str) -> None:
    with pooler(postgres, extra=settings) as port:
        opened = open_database(through(port, postgres_url), LONG)
        await until_open(opened)
        await opened.write(schema.upgrade, patience=None)
        assert {(one, three) for one, _, three in [await opened.read(facts) for _ in range(4)]} == {("on", "10s")}
        await opened.close()


async def test_a_backup_is_made_and_restored_through_it(pooled: Postgres, tmp_path: Path) -> None:
    for number in range(1200):  # more than are read at a time
        await pooled.write(keep(f"n{number}", "x" * 50))
    file = tmp_path / "backup.gz"
    assert await pooled.read(lambda c: write_backup(c, file, 1), patience=None) >= 1200
    await pooled.write(lambda c: restore_backup(c, file, 2, force=True), patience=None)
    assert await kept(pooled, "n1199") == "x" * 50


async def test_one_that_comes_between_later_is_found(postgres: Any, postgres_url: str) -> None:
    with pooler(postgres) as port:
        opened = open_database(through(port, postgres_url), LONG)
        assert isinstance(opened, Postgres)
        opened.connector.pooled = False  # as it was when the process started
        await until_open(opened)
        assert opened.connector.pooled
        await opened.close()


async def test_a_broadcast_goes_out_once_and_its_card_is_posted(
    sandbox: Sandbox, start_bot: StartBot, pooled: Postgres, pooled_url: str
) -> None:
    bot = await start_bot(sandbox, database_url=pooled_url, secret_key=KEY)
    await sandbox.acting.command("U0CLEO", HERE, "/broadcast send clients marketing Soldes demain")
    posted = await card(sandbox)
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    await sandbox.until(lambda: "22, 23" in thread_text(sandbox, posted["ts"]))
    assert len(sandbox.vendors.ledger) == 1
    await until(lambda: bot.database.deaf)
    ready, parts = await bot.ready()
    assert (ready, "looking each half second" in parts["notifications"]) == (True, True)
