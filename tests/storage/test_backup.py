"""A backup holds everything, and nothing that was restored goes out by itself."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from bot.backup import NotABackup, NotEmpty, restore_backup, write_backup
from bot.domain.clock import SECOND
from bot.domain.lifecycle import Hold, State
from bot.storage import audit, broadcasts, schema, tables
from bot.storage.database import Database
from bot.storage.engines import open_database
from bot.workflow.decision_types import SendNow
from tests.support.core import CLEO, TEAM, Core
from tests.support.ground import new_postgres
from tests.support.patience import LONG
from tests.support.sending import HOUR


async def everything(database: Database) -> dict[str, int]:
    found = tables.metadata.sorted_tables
    return await database.read(lambda c: {t.name: len(c.execute(t.select()).all()) for t in found})


@pytest.mark.long
async def test_after_a_restore_nothing_goes_by_itself(core: Core, tmp_path: Path) -> None:
    waiting, due, going, gone = await core.ask(), await core.approved(), await core.approved(), await core.approved()
    await core.edit(going, state="sending", phase="releasing", owner="a", attempt=1, lease_until=core.now + SECOND)
    await core.edit(gone, state="sent", ids=["7"], due=None)
    file = tmp_path / "backup.gz"
    count = await core.database.read(lambda c: write_backup(c, file, core.now))
    before = await everything(core.database)
    assert sum(before.values()) == count
    assert file.stat().st_mode & 0o077 == 0

    await core.run(core.dispatcher("a"))  # it goes out, and then the disk is lost
    assert len(core.sandbox.vendors.ledger) == 1
    with pytest.raises(NotEmpty):
        await core.database.write(lambda c: restore_backup(c, file, core.now))
    await core.database.write(lambda c: restore_backup(c, file, core.now, force=True))

    await core.run(core.dispatcher("b"))
    assert len(core.sandbox.vendors.ledger) == 1
    rows = [await core.row(row.id) for row in (waiting, due, going, gone)]
    assert [row.state for row in rows] == [State.HELD, State.HELD, State.UNKNOWN, State.SENT]
    assert [row.hold for row in rows[:2]] == [Hold.RESTORED, Hold.RESTORED]
    assert rows[3].ids == ("7",)

    await core.workflow.act(TEAM, due.id, SendNow(), person=CLEO, version=1)
    await core.workflow.act(TEAM, waiting.id, SendNow(), person=CLEO, version=1)
    await core.run(core.dispatcher("b"))
    assert (await core.row(due.id)).state is State.SENT  # a person decided so, and its approval still covers its bytes
    assert (await core.row(waiting.id)).state is State.PENDING  # nobody ever approved this one
    assert len(core.sandbox.vendors.ledger) == 2


@pytest.mark.long
async def test_what_was_restored_waits_for_a_person_until_its_own_time(core: Core, tmp_path: Path) -> None:
    later = core.now + 40 * 24 * HOUR
    near, far = await core.approved(), await core.approved(send_at=later)
    file = tmp_path / "backup.gz"
    await core.database.read(lambda c: write_backup(c, file, core.now))
    await core.database.write(lambda c: restore_backup(c, file, core.now, force=True))
    core.now += 30 * 24 * HOUR
    await core.workflow.expire()
    assert [(await core.row(row.id)).state for row in (near, far)] == [State.EXPIRED, State.HELD]
    core.now = later
    await core.workflow.expire()
    assert (await core.row(far.id)).state is State.EXPIRED


async def test_a_backup_goes_from_any_database_into_any_other(core: Core, tmp_path: Path, postgres: Any) -> None:
    await core.run(core.dispatcher("a"))
    row = await core.approved()
    file = tmp_path / "backup.gz"
    await core.database.read(lambda c: write_backup(c, file, core.now))
    with new_postgres(postgres) as url:
        for other in (open_database(f"sqlite:///{tmp_path}/other.db", LONG), open_database(url, LONG)):
            await other.write(lambda c: restore_backup(c, file, core.now))
            there = await other.read(lambda c: broadcasts.find(c, TEAM, row.id))
            assert (there.text, there.digest, there.hold) == (row.text, row.digest, Hold.RESTORED)
            assert await other.read(schema.schema_revision) == tables.REVISION
            await other.write(lambda c: audit.write_event(c, TEAM, "U", "x", "y", 1))  # its numbering continues
            await other.close()


@pytest.mark.parametrize("spoil", ["cut", "words", "empty", "another"])
async def test_what_is_no_whole_backup_changes_nothing(core: Core, tmp_path: Path, spoil: str) -> None:
    await core.ask()
    file = tmp_path / "backup.gz"
    await core.database.read(lambda c: write_backup(c, file, core.now))
    whole = file.read_bytes()
    bad = {"cut": whole[:-40], "words": b"hello", "empty": b"", "another": gzip.compress(b'{"a": 1}\n{"b": 2}\n')}
    file.write_bytes(bad[spoil])
    before = await everything(core.database)
    with pytest.raises(NotABackup):
        await core.database.write(lambda c: restore_backup(c, file, core.now, force=True))
    assert await everything(core.database) == before
