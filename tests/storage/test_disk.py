"""A SQLite file that is full, read-only, damaged or missing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from bot.domain.i18n import translator_for
from bot.slack.replies import explain
from bot.storage import sqlite, tables
from bot.storage.database import AlreadyDispatching, OutOfOrder, Unusable
from bot.storage.engines import open_database
from bot.storage.postgres import Postgres
from bot.storage.sqlite import SQLite
from tests.support.databases import keep
from tests.support.patience import LONG
from tests.support.rows import fill


async def test_on_a_full_disk_nothing_is_half_stored_and_everybody_is_told(file: SQLite) -> None:
    free = fill(file)
    works = [keep("small"), keep("big", "x" * 200_000), keep("after")]
    outcomes = await asyncio.gather(*(file.write(work) for work in works), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [OutOfOrder] * 3
    with pytest.raises(OutOfOrder):
        await file.write(keep("alone", "x" * 200_000))
    assert await file.read(lambda c: c.execute(tables.kept.select()).all()) == []
    told = explain(OutOfOrder("SQLITE_FULL"), translator_for("en"))
    assert "Nothing was sent. Please tell an admin" in told[0]
    free()
    await asyncio.gather(*(file.write(work) for work in works))
    assert len(await file.read(lambda c: c.execute(tables.kept.select()).all())) == 3


async def test_sqlite_is_set_to_lose_nothing(file: SQLite, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("journal_mode", "synchronous", "foreign_keys")
    found = await file.read(lambda c: [c.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names])
    assert found == ["wal", 2, 1]
    await file.check()
    monkeypatch.setattr(sqlite, "PRAGMAS", ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"))
    careless = open_database(f"sqlite:///{file.path}", LONG)
    with pytest.raises(Unusable, match="'synchronous': 1"):
        await careless.check()
    await careless.close()


async def test_postgresql_is_asked_to_lose_nothing_whatever_its_defaults(direct: Postgres, postgres_url: str) -> None:
    name = direct.connector.address.database
    await direct.write(lambda c: c.exec_driver_sql(f"ALTER DATABASE {name} SET synchronous_commit = off"))
    opened = open_database(postgres_url, LONG)
    assert await opened.read(lambda c: c.exec_driver_sql("SHOW synchronous_commit").scalar()) == "on"
    await opened.check()
    await opened.close()


async def test_a_postgresql_that_takes_no_writes_is_not_dispatched_from(direct: Postgres, postgres_url: str) -> None:
    name = direct.connector.address.database
    await direct.write(lambda c: c.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    opened = open_database(postgres_url, LONG)
    with pytest.raises(Unusable, match="Name the primary"):
        await opened.check()
    with pytest.raises(OutOfOrder):
        await opened.write(keep("a"))
    await opened.close()


async def test_the_dispatchers_lock_is_held_for_life(file: SQLite, tmp_path: Path) -> None:
    file.claim_dispatch()
    for _ in range(3):  # opening, using and closing the same files does not release the lock
        other = open_database(f"sqlite:///{tmp_path}/bell.db", LONG)
        with pytest.raises(AlreadyDispatching):
            other.claim_dispatch()
        await other.write(keep("used"))
        await other.close()
        (tmp_path / "bell.db.lock").read_bytes()
    code = f"import fcntl; fcntl.flock(open({str(tmp_path / 'bell.db.lock')!r}, 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    elsewhere = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=subprocess.PIPE)
    assert b"BlockingIOError" in (await elsewhere.communicate())[1]
    await file.close()
    other = open_database(f"sqlite:///{tmp_path}/bell.db", LONG)
    other.claim_dispatch()
    await other.close()


async def test_whoever_comes_to_the_file_through_a_link_finds_the_same_lock(file: SQLite, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "other.db"
    link.symlink_to(tmp_path / "bell.db")
    file.claim_dispatch()
    for name in (link, tmp_path / "elsewhere" / ".." / "bell.db"):
        other = open_database(f"sqlite:///{name}", LONG)
        with pytest.raises(AlreadyDispatching):
            other.claim_dispatch()
        await other.close()
