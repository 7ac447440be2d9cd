"""A migration that is killed halfway leaves nothing behind."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from bot.storage import schema, tables
from bot.storage.database import Database, Unusable
from bot.storage.engines import open_database
from bot.storage.schema import upgrade
from tests.support.databases import ROOT, keep, kept

KILLED = """
import asyncio, os, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from bot.storage.engines import open_database
from bot.storage.schema import upgrade

left = int(sys.argv[2])

@event.listens_for(Engine, "before_cursor_execute")
def count(connection, cursor, statement, *_):
    global left
    if statement.lstrip().startswith(("CREATE", "ALTER", "INSERT", "UPDATE", "DROP")):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(open_database(sys.argv[1]).write(upgrade, patience=None))
"""


@pytest.mark.long
async def test_a_migration_that_is_killed_halfway_leaves_nothing_and_the_next_one_completes(database_url: str) -> None:
    opened = open_database(database_url)
    for statements in (1, 17, 30):
        killed = await asyncio.create_subprocess_exec(
            sys.executable, "-c", KILLED, database_url, str(statements), cwd=ROOT
        )
        assert await killed.wait() == -9
        assert await opened.read(schema.is_empty)
    await opened.write(upgrade, patience=None)
    assert await opened.read(schema.schema_revision) == tables.REVISION
    await opened.close()


@pytest.mark.long
async def test_an_upgrade_that_is_killed_halfway_keeps_the_older_schema_whole(database_url: str) -> None:
    opened = open_database(database_url)
    await opened.write(lambda c: upgrade(c, "0001"), patience=None)
    await opened.write(keep("old"))
    for statements in (1, 8):
        killed = await asyncio.create_subprocess_exec(
            sys.executable, "-c", KILLED, database_url, str(statements), cwd=ROOT
        )
        assert await killed.wait() == -9
        assert await opened.read(schema.schema_revision) == "0001"
    await opened.write(upgrade, patience=None)
    assert await opened.read(schema.schema_revision) == tables.REVISION
    assert await kept(opened, "old") == "1"
    await opened.close()


async def test_a_volume_that_is_not_there_behind_a_link_is_no_fresh_start(tmp_path: Path) -> None:
    volume, home = tmp_path / "volume", tmp_path / "home"
    volume.mkdir()
    home.mkdir()
    (home / "bell.db").symlink_to(volume / "bell.db")
    first = open_database(f"sqlite:///{home}/bell.db")
    first.claim_dispatch()
    await first.write(upgrade, patience=None)
    await first.close()
    shutil.rmtree(volume)
    volume.mkdir()
    again = open_database(f"sqlite:///{home}/bell.db")
    with pytest.raises(Unusable, match="is gone"):
        await again.check()
    await again.close()


async def test_another_loop_is_refused_and_takes_nobodys_write_along(database: Database) -> None:
    ours = asyncio.create_task(database.write(lambda c: c.execute(text("SELECT 1")).scalar_one()))
    await asyncio.sleep(0)

    def elsewhere() -> None:
        asyncio.run(database.write(lambda c: c.execute(text("SELECT 2"))))

    with pytest.raises(RuntimeError, match="another event loop"):
        await asyncio.get_running_loop().run_in_executor(None, elsewhere)
    assert await ours == 1
