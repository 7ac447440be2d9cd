"""The audit only grows, and what was changed behind the bot's back is found."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Executable, delete, insert, text, update
from sqlalchemy.exc import DBAPIError

from bot.backup import restore_backup, write_backup
from bot.storage import audit_chain
from bot.storage.audit import write_event
from bot.storage.audit_chain import check_chain, heads, seal_all, seal_more, some_unsealed
from bot.storage.database import Database
from bot.storage.sqlite import SQLite
from bot.storage.tables import audit, seals
from sandbox.server import Sandbox
from tests.support.ground import StartBot, some_later
from tests.support.patience import until
from tests.support.rows import KEY
from tests.support.slack import ask


def written(count: int, reason: str | None = "why") -> Callable[[Connection], None]:
    """Write this many rows to the audit, in two workspaces."""

    def write(connection: Connection) -> None:
        for number in range(count):
            write_event(connection, f"T{number % 2}", "U0ANA", "pause", reason, number)

    return write


async def by_hand(database: Database, *statements: str) -> None:
    """Run SQL as somebody does who is master of the database: no trigger and no foreign key refuses it."""
    if isinstance(database, SQLite):
        with closing(sqlite3.connect(database.path)) as file, file:
            triggers = file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for statement in (*(f"DROP TRIGGER {name}" for (name,) in triggers), *statements):
                file.execute(statement)
        return

    def run(connection: Connection) -> None:
        for statement in ("SET LOCAL session_replication_role = replica", *statements):
            connection.execute(text(statement))

    await database.write(run)


async def test_a_chain_runs_through_the_audit_of_each_workspace(database: Database) -> None:
    await database.write(written(5))
    assert (await database.read(check_chain)).unsealed == 5
    await database.write(seal_all)
    await database.write(written(2, None))
    await database.write(seal_all)
    found = await database.read(check_chain)
    assert (found.broken, found.unsealed) == (None, 0)
    assert {workspace: head.place for workspace, head in found.heads.items()} == {"T0": 4, "T1": 3}
    assert await database.read(heads) == found.heads
    assert not await database.read(some_unsealed)


async def test_nothing_of_the_audit_can_be_changed_or_deleted_but_a_reason_erased(database: Database) -> None:
    await database.write(written(2))
    await database.write(seal_all)
    for change in (
        update(audit).values(actor="U0EVE"),
        update(audit).values(reason="another"),
        update(audit).values(reason=None, actor="U0EVE"),
        delete(audit),
        update(seals).values(hash="0" * 64),
        update(seals).values(salt="0" * 32),
        delete(seals),
    ):
        with pytest.raises(DBAPIError, match="the audit only grows"):
            await database.write(partial(_execute, change=change))
    for erased in (update(audit).values(reason=None), update(seals).values(salt=None)):
        await database.write(partial(_execute, change=erased))
    found = await database.read(check_chain)
    assert (found.broken, found.unsealed) == (None, 0)


def _execute(connection: Connection, change: Executable) -> None:
    connection.execute(change)


BY_HAND: dict[str, tuple[tuple[str, ...], str]] = {
    "an actor": (("UPDATE audit SET actor = 'U0EVE' WHERE seq = 3",), "was changed"),
    "a time": (("UPDATE audit SET at = 999 WHERE seq = 3",), "was changed"),
    "a workspace": (("UPDATE audit SET workspace = 'T1' WHERE seq = 3",), "is missing"),
    "a reason": (("UPDATE audit SET reason = 'x' WHERE seq = 3",), "reason was changed"),
    "a reason gone": (("UPDATE audit SET reason = NULL WHERE seq = 3",), "other than by"),
    "a row": (("DELETE FROM audit WHERE seq = 3",), "it is missing"),
    "a hash": (("UPDATE seals SET hash = 'f' WHERE seq = 3",), "was changed"),
    "a forged row": (
        (
            "UPDATE audit SET actor = 'U0EVE', action = 'approve', broadcast = 'B234679' WHERE seq = 3",
            "UPDATE seals SET salt = salt WHERE seq = 3",
        ),
        "was changed",
    ),
    "a shifted row": (
        (
            "UPDATE seals SET place = 99 WHERE seq = 3",
            "UPDATE seals SET place = 2 WHERE seq = 5",
            "UPDATE seals SET place = 3 WHERE seq = 3",
        ),
        "was changed, or",
    ),
    "a row and its seal": (("DELETE FROM seals WHERE seq = 1", "DELETE FROM audit WHERE seq = 1"), "1 rows before"),
}


@pytest.mark.parametrize("change", some_later(BY_HAND))
async def test_a_change_behind_the_bots_back_is_found_and_the_row_named(database: Database, change: str) -> None:
    await database.write(lambda c: c.execute(insert(audit), [_row(seq) for seq in range(1, 8)]))
    await database.write(seal_all)
    statements, cause = BY_HAND[change]
    await by_hand(database, *statements)
    broken = (await database.read(check_chain)).broken
    assert broken is not None
    seq, place = (5, 2) if change == "a shifted row" else (3, 2)
    assert (broken.seq, broken.place, broken.workspace, cause in broken.cause) == (seq, place, "T0", True), broken
    assert broken.about == ("B234679" if change == "a forged row" else None)


def _row(seq: int) -> dict[str, Any]:
    about = {"workspace": f"T{(seq + 1) % 2}", "actor": "U0ANA", "action": "pause", "reason": "why", "at": seq}
    return {"seq": seq, **about}


async def test_a_row_that_is_committed_late_is_sealed_after_those_before_it(database: Database) -> None:
    await database.write(lambda c: c.execute(insert(audit), [_row(1), _row(5)]))
    await database.write(seal_all)
    await database.write(lambda c: c.execute(insert(audit), [_row(3)]))
    assert await database.read(lambda c: some_unsealed(c, audit_chain.sealed_up_to(c)))
    await database.write(seal_all)
    found = await database.read(check_chain)
    assert (found.broken, found.unsealed, found.heads["T0"].place) == (None, 0, 3)


@pytest.mark.long
async def test_several_processes_that_seal_at_once_make_one_chain(database: Database) -> None:
    await database.write(written(60))
    await asyncio.gather(*(database.write(lambda c: seal_more(c)) for _ in range(6)))
    found = await database.read(check_chain)
    assert (found.broken, found.unsealed) == (None, 0)


@pytest.mark.long
async def test_a_restored_audit_is_the_same_chain(database: Database, tmp_path: Path) -> None:
    await database.write(written(3))
    await database.write(seal_all)
    before = await database.read(heads)
    await database.read(lambda c: write_backup(c, tmp_path / "b", 1))
    await database.write(lambda c: restore_backup(c, tmp_path / "b", 2, force=True))
    assert await database.read(heads) == before
    assert (await database.read(check_chain)).broken is None
    with pytest.raises(DBAPIError, match="the audit only grows"):
        await database.write(lambda c: c.execute(delete(audit)))


@pytest.mark.long
async def test_a_bot_seals_what_it_writes(sandbox: Sandbox, start_bot: StartBot, database_url: str) -> None:
    bot = await start_bot(sandbox, database_url=database_url, secret_key=KEY)
    await ask(sandbox, "send clients marketing Soldes")
    bot.workspaces.wake("seal_audit")

    async def sealed() -> bool:
        found = await bot.database.read(check_chain)
        return found.unsealed == 0 and sum(head.place for head in found.heads.values()) > 0

    await until(sealed)
