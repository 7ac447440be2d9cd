"""The schema that migrations make is the one that the code expects."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Table

from bot.storage import schema, tables
from bot.storage.broadcast_rows import Changes
from bot.storage.database import Database
from bot.storage.engines import open_database
from bot.storage.occurrences import OccurrenceChanges
from bot.storage.schedules import ScheduleChanges
from bot.storage.schema import upgrade
from tests.support.patience import LONG


async def test_the_migrations_make_exactly_the_tables_of_the_code(database: Database) -> None:
    def differences(connection: Any) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, tables.metadata))

    assert await database.read(differences) == []
    assert await database.read(schema.schema_revision) == tables.REVISION
    await database.write(upgrade)  # again: nothing to do
    assert await database.read(differences) == []


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        (tables.broadcasts, Changes),
        (tables.schedules, ScheduleChanges),
        (tables.occurrences, OccurrenceChanges),
    ],
)
def test_what_may_change_are_columns_and_never_those_that_name_the_row(table: Table, changes: type) -> None:
    names = set(get_type_hints(changes))
    assert names <= {column.name for column in table.columns}
    assert not names & ({column.name for column in table.primary_key} | {"created_at", "changed_at", "revision"})


def test_the_code_asks_for_the_newest_migration() -> None:
    script = ScriptDirectory(str(Path(schema.__file__).parent / "migrations"))
    assert script.get_heads() == [tables.REVISION]


@pytest.mark.long
async def test_of_several_processes_that_start_on_an_empty_database_one_makes_the_schema(postgres_url: str) -> None:
    starting = [open_database(postgres_url, LONG) for _ in range(4)]
    try:
        await asyncio.gather(*(opened.write(upgrade, patience=None) for opened in starting))
        assert {await opened.read(schema.schema_revision) for opened in starting} == {tables.REVISION}
    finally:
        for opened in starting:
            await opened.close()
