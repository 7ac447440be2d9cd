"""An operator backs up, upgrades and restores, with the commands of the shell."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic.script import ScriptDirectory
from click.testing import CliRunner
from sqlalchemy import insert, select, text, update

from bot.backup import restore_backup, upgrade_with_backup, write_backup
from bot.cli import main
from bot.storage import audit_chain, schema, tables
from bot.storage.audit import write_event
from bot.storage.database import Database
from bot.storage.engines import open_database
from bot.storage.schema import upgrade
from tests.support.databases import ROOT, keep, kept
from tests.support.ground import new_postgres
from tests.support.patience import LONG, until

OLDER = [one.revision for one in ScriptDirectory(str(ROOT / "bot/storage/migrations")).walk_revisions()][:0:-1]
Shell = Callable[..., tuple[int, str]]


def on(url: str, *works: Callable[[Any], Any]) -> list[Any]:
    """Run these on the database at this address."""

    async def run() -> list[Any]:
        opened = open_database(url, LONG)
        try:
            return [await opened.write(work, patience=None) for work in works]
        finally:
            await opened.close()

    return asyncio.run(run())


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/bell.db"


@pytest.fixture
def shell(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Run a command on that database; return its exit code, and what it says."""
    for name in [name for name in os.environ if name.startswith("BELLCRIER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str]:
        ran = CliRunner().invoke(main, words)
        return ran.exit_code, ran.output + (ran.stderr or "")

    return run


def test_an_older_database_is_backed_up_before_it_is_upgraded(shell: Shell, url: str, tmp_path: Path) -> None:
    on(url, lambda c: upgrade(c, "0001"), keep("old"), lambda c: write_event(c, "T", "U0ANA", "pause", "why", 1))
    code, told = shell("db", "backup", "by-hand.backup")
    assert (code, "Wrote 2 rows" in told) == (0, True), told
    code, told = shell("db", "upgrade")
    assert code == 0, told
    made = next(tmp_path.glob(f"bell-before-{tables.REVISION}-*.backup"))
    assert f"Wrote 2 rows to {made} first. There is no secret key yet." in told
    assert made.stat().st_mode & 0o077 == 0
    assert shell("db", "upgrade") == (0, f"The database is at revision {tables.REVISION}.\n")  # nothing to back up
    assert len(list(tmp_path.glob("*.backup"))) == 2
    assert "The audit is whole: 1 rows." in shell("db", "check")[1]
    for file in ("by-hand.backup", str(made)):
        code, told = shell("db", "restore", "--force", file)
        assert (code, "Restored 2 rows" in told) == (0, True), told
        assert on(url, schema.schema_revision, lambda c: c.execute(text("SELECT name FROM kept")).scalar()) == [
            tables.REVISION,
            "old",
        ]


@pytest.mark.long
def test_an_upgrade_that_cannot_be_backed_up_first_changes_nothing(shell: Shell, url: str, tmp_path: Path) -> None:
    on(url, lambda c: upgrade(c, "0001"))
    code, told = shell("db", "upgrade", "--backup", str(tmp_path / "nowhere" / "x.backup"))
    assert (code, "Use --backup FILE, or --no-backup." in told) == (1, True), told
    assert on(url, schema.schema_revision) == ["0001"]
    assert shell("db", "upgrade", "--no-backup")[0] == 0
    assert on(url, schema.schema_revision) == [tables.REVISION]
    assert list(tmp_path.glob("*.backup")) == []


@pytest.mark.long
async def test_nobody_waits_while_an_upgrade_seals_a_long_audit(postgres: Any) -> None:
    rows = [{"workspace": "T", "actor": "U0ANA", "action": "pause", "at": at} for at in range(500)]
    with new_postgres(postgres) as url:
        upgrades, works, seals = open_database(url, LONG), open_database(url, 1.0), await asyncpg.connect(url)
        await upgrades.write(lambda c: upgrade(c, "0006"), patience=None)
        await upgrades.write(lambda c: c.execute(insert(tables.audit), rows))
        await seals.execute("SELECT pg_advisory_lock(hashtext('audit chain'))")  # so that the upgrade waits to seal

        async def has_the_schema() -> bool:
            return await works.read(schema.schema_revision) == tables.REVISION

        upgrading = asyncio.create_task(upgrade_with_backup(upgrades, None, 1, fingerprint=None))
        try:
            await until(has_the_schema)
            assert await works.read(lambda c: c.execute(select(tables.broadcasts.c.id)).all()) == []
            assert not upgrading.done()
        finally:
            await seals.close()
            await upgrading
        checked = await works.read(audit_chain.check_chain)
        assert (checked.unsealed, checked.heads["T"].place) == (0, 500)
        for opened in (upgrades, works):
            await opened.close()


def test_a_newer_database_is_backed_up_whole_and_named(shell: Shell, url: str) -> None:
    newer = text("UPDATE alembic_version SET version_num = '9999'")
    more = text("CREATE TABLE later (x INTEGER)"), text("INSERT INTO later VALUES (7)")
    on(url, upgrade, *(lambda c, it=it: c.execute(it) for it in (newer, *more)))
    both = f"revision 9999, and this version knows {tables.REVISION}"
    code, told = shell("db", "backup", "newer.backup")
    assert (code, both in told, "Only a version that knows 9999 can restore" in told) == (0, True, True), told
    with gzip.open("newer.backup", "rt") as file:
        assert {"table": "later", "row": {"x": 7}} in [json.loads(line) for line in file]
    code, told = shell("db", "restore", "--force", "newer.backup")
    assert (code, f"its schema is 9999, and this version knows {tables.REVISION}" in told) == (1, True), told
    code, told = shell("db", "upgrade")
    assert (code, both in told) == (1, True), told


@pytest.mark.long
def test_the_way_back_from_a_newer_version_is_the_backup_before_it(shell: Shell, url: str) -> None:
    on(url, upgrade, keep("old"))
    assert shell("db", "backup", "before.backup")[0] == 0
    newer = text("UPDATE alembic_version SET version_num = '9999'")
    on(url, lambda c: c.execute(newer), lambda c: c.execute(text("CREATE TABLE later (x INTEGER)")))
    assert shell("db", "restore", "--force", "before.backup")[0] == 0
    assert on(url, schema.schema_revision) == [tables.REVISION]


@pytest.mark.long
def test_a_database_of_another_program_is_never_replaced(shell: Shell, url: str, tmp_path: Path) -> None:
    on(url, upgrade)
    assert shell("db", "backup", "ours.backup")[0] == 0
    (tmp_path / "bell.db").unlink()
    on(url, lambda c: c.execute(text("CREATE TABLE invoices (x INTEGER)")))
    code, told = shell("db", "restore", "--force", "ours.backup")
    assert (code, "tables of another program (invoices)" in told) == (1, True), told


@pytest.mark.long
def test_a_check_names_the_first_row_of_the_audit_that_was_changed(shell: Shell, url: str) -> None:
    on(url, upgrade, lambda c: write_event(c, "T", "U0ANA", "pause", "why", 1), audit_chain.seal_all)
    code, told = shell("db", "check")
    assert (code, "The audit is whole: 1 rows.\n  T: row 1 has the hash " in told) == (0, True), told
    drop, change = text("DROP TRIGGER audit_only_grows"), text("UPDATE audit SET actor = 'U0EVE'")
    on(url, lambda c: c.execute(drop), lambda c: c.execute(change))
    code, told = shell("db", "check")
    assert (code, "The audit of T is not as it was written: row 1 at place 1, it was changed" in told) == (1, True), (
        told
    )


@pytest.mark.long
def test_the_secret_key_goes_along_only_where_that_is_asked_for(shell: Shell, url: str, tmp_path: Path) -> None:
    on(url, upgrade)
    key = tmp_path / "bell.db.key"
    key.write_text("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY=")
    _, told = shell("db", "backup", "without.backup")
    assert f"which is in {key}: keep that apart" in told
    _, told = shell("db", "backup", "--with-key", "with.backup")
    assert "It holds the secret key too" in told
    holds = {
        name: gzip.decompress(Path(name).read_bytes()).count(b"QUJD") for name in ("without.backup", "with.backup")
    }
    assert holds == {"without.backup": 0, "with.backup": 1}

    _, told = shell("db", "restore", "without.backup")
    assert "another secret key" not in told  # it is here
    kept_key = key.read_text()
    key.unlink()
    code, told = shell("db", "restore", "without.backup")
    assert (code, "made under another secret key" in told, key.exists()) == (0, True, False)
    code, told = shell("db", "restore", "with.backup")
    assert (code, key.read_text(), key.stat().st_mode & 0o077) == (0, kept_key, 0), told
    key.write_text("YUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY=")
    code, told = shell("db", "restore", "with.backup")
    assert (code, f"another secret key than {key}" in told) == (1, True), told


async def test_what_is_empty_is_empty_again_after_a_restore(database: Database, tmp_path: Path) -> None:
    """An empty JSON column is no JSON `null`: conditions such as `failure IS NOT NULL` tell them apart."""
    row = {"workspace": "T", "name": "n", "owner": "U", "purpose": "marketing", "text": "x", "changed_at": 1}
    await database.write(lambda c: c.execute(insert(tables.templates), row))
    await database.read(lambda c: write_backup(c, tmp_path / "b", 1))
    await database.write(lambda c: restore_backup(c, tmp_path / "b", 2, force=True))
    empty = text("SELECT count(*) FROM templates WHERE approved_by IS NULL")
    assert await database.read(lambda c: c.execute(empty).scalar_one()) == 1


@pytest.mark.long
@pytest.mark.parametrize("revision", OLDER)
async def test_a_backup_of_any_older_schema_is_restored(database_url: str, tmp_path: Path, revision: str) -> None:
    opened = open_database(database_url, LONG)
    await opened.write(lambda c: upgrade(c, revision), patience=None)
    await opened.write(keep("old"))
    await opened.read(lambda c: write_backup(c, tmp_path / "b", 1), patience=None)
    await opened.write(lambda c: c.execute(update(tables.kept).values(value="changed")))
    await opened.write(lambda c: restore_backup(c, tmp_path / "b", 2, force=True), patience=None)
    assert await kept(opened, "old") == "1"
    assert await opened.read(schema.schema_revision) == tables.REVISION
    await opened.close()


ROWS, LITTLE = 400_000, 60 * 1024  # KiB more than with no rows


def peak(*words: str) -> int:
    """The most memory that `bellcrier …` took, in KiB."""
    code = (
        "import resource, subprocess, sys; ran = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL);"
        "print(ran.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    ran = subprocess.run([sys.executable, "-c", code, sys.executable, "-m", "bot.cli", *words], capture_output=True)
    failed, most = map(int, ran.stdout.split())
    assert not failed, words
    return most


@pytest.mark.long
def test_a_large_database_takes_no_more_memory_than_a_small_one(
    shell: Shell, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("BELLCRIER_SECRET_KEY", "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY=")

    def fill(connection: Any) -> None:
        row = {"account": "a", "kind": "delivery", "status": "delivered", "word": "DLVRD", "final": True, "at": 1}
        for first in range(0, ROWS, 1000):
            ids = [f"{number:064}" for number in range(first, first + 1000)]
            connection.execute(insert(tables.deliveries), [{**row, "id": "1", "recipient": id} for id in ids])

    on(database_url, upgrade)
    small = peak("db", "backup", "small.backup"), peak("db", "restore", "small.backup")
    on(database_url, fill)
    large = peak("db", "backup", "large.backup"), peak("db", "restore", "large.backup")
    assert max(more - less for more, less in zip(large, small, strict=True)) < LITTLE, (small, large)
