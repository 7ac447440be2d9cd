"""Writes the whole database to one file, and restores it. Restored broadcasts ask before they are sent.

SQLite and PostgreSQL share one format, so that a backup of one can be restored into the other. It is gzipped JSON, a
line for each row, between a first line that names the schema and a last line that counts the rows. A file of any size
passes through little memory. Of the secret key it has a fingerprint, and the key itself only where that was asked for.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Connection, MetaData, Table, func, insert, select, text
from sqlalchemy.exc import CompileError, DataError, IntegrityError, StatementError

from bot.config.settings import ApprovalSettings
from bot.domain.clock import Micros
from bot.storage import schema, tables
from bot.storage.audit_chain import seal_all, seal_more
from bot.storage.database import Database
from bot.storage.schema import one_snapshot, upgrade
from bot.workflow.restored import ASKED_AS_USUAL, hold_all

HEAD = "bellcrier backup"
AT_ONCE = 500  # rows that are in memory at a time
UNREADABLE = "unreadable"  # stands for a value that is no JSON, as unfit in its place as that


class NotABackup(Exception):
    """The file cannot be restored; the message says why."""


class NotEmpty(Exception):
    """There is something in the database that a restore would lose; the message says what."""


class NothingThere(Exception):
    """The database has no schema yet, so there is nothing to back up."""


class NotOurs(Exception):
    """The database belongs to another program; the message names some of its tables."""


@dataclass(frozen=True)
class Head:
    """The first line of a backup.

    `fingerprint`: of the secret key that it was made under; `secret_key`: that key in base64, if it is in the file.
    """

    revision: str
    at: Micros
    fingerprint: str | None = None
    secret_key: str | None = None

    def line(self) -> dict[str, Any]:
        return {HEAD: self.revision, "at": self.at, "key": self.fingerprint, "secret_key": self.secret_key}


def fingerprint_of(key: bytes) -> str:
    """Tells one secret key from another, and nothing about it."""
    return hashlib.sha256(b"bellcrier secret key\0" + key).hexdigest()[:16]


# --- write ---------------------------------------------------------------------------------------------------------


def write_backup(
    connection: Connection,
    path: Path,
    at: Micros,
    *,
    fingerprint: str | None = None,
    secret_key: str | None = None,
) -> int:
    """Write every row into a new file that only its owner can read, whatever the revision of the schema.

    Returns how many. Raises FileExistsError or NothingThere. An incomplete file is removed.
    """
    path.touch(mode=0o600, exist_ok=False)
    try:
        one_snapshot(connection)
        revision = schema.schema_revision(connection)
        if revision is None:
            raise NothingThere
        return _write_rows(connection, path, Head(revision, at, fingerprint, secret_key))
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _write_rows(connection: Connection, path: Path, head: Head) -> int:
    count = 0
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=6) as file:
        file.write(json.dumps(head.line()) + "\n")
        for table in _tables_there(connection):
            rows = connection.execute(select(table), execution_options={"yield_per": AT_ONCE})
            for row in rows.mappings():
                entry = {"table": table.name, "row": dict(row)}
                file.write(json.dumps(entry, default=lambda _: UNREADABLE) + "\n")
                count += 1
        file.write(json.dumps({"rows": count}) + "\n")
    return count


def _tables_there(connection: Connection) -> list[Table]:
    """The tables as they are, not as this version would have them, those that others refer to first."""
    found = MetaData()
    found.reflect(connection)
    for table in found.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, JSON):
                column.type.none_as_null = True  # else an empty column comes back as the JSON word null
    return [table for table in found.sorted_tables if table.name != schema.VERSIONS]


async def upgrade_with_backup(
    database: Database, path: Path | None, at: Micros, *, fingerprint: str | None
) -> int | None:
    """Bring the schema to this version, after a backup of what is there, unless `path` is None.

    Returns how many rows that has; None if none was made, as when there was nothing to upgrade. If the upgrade fails,
    nothing has changed, and the backup stays. What an older version wrote to the audit is sealed in transactions of its
    own, so that whoever works meanwhile waits for the schema alone.
    """
    revision = await database.read(schema.schema_revision, patience=None)
    count = None
    if path is not None and revision not in (None, tables.REVISION):
        count = await database.read(lambda c: write_backup(c, path, at, fingerprint=fingerprint), patience=None)
    await database.write(upgrade, patience=None)
    after: int | None = 0
    while after is not None:
        after = await database.write(partial(seal_more, after=after), patience=None)
    return count


# --- restore -------------------------------------------------------------------------------------------------------


def restore_backup(
    connection: Connection,
    path: Path,
    at: Micros,
    *,
    force: bool = False,
    approval: ApprovalSettings = ASKED_AS_USUAL,
) -> int:
    """Replace the database with a backup, then hold what has not ended. Returns how many rows.

    `approval`: how often, and for how long, held broadcasts ask.

    Raises NotABackup, NotOurs, or NotEmpty without `force`. Nothing changes when it raises.
    """
    head, count = check_backup(path)
    _clear(connection, force)
    try:
        upgrade(connection, head.revision)
    except schema.NoSuchRevision:
        raise NotABackup(f"{path} has a schema {head.revision}, which no bellcrier ever had.") from None
    _insert_all(connection, path)
    upgrade(connection)
    seal_all(connection)
    _continue_numbers(connection)
    hold_all(connection, head.at, at, approval)
    return count


def check_backup(path: Path) -> tuple[Head, int]:
    """Read all of a file; return its first line and how many rows follow.

    Raises NotABackup for a file that is something else, cut short, or of a newer version.
    """
    try:
        lines = _lines(path)
        head, count = _to_head(next(lines)), -1
        tail: dict[str, Any] = {}
        for count, tail in enumerate(lines):  # noqa: B007 - the last of them is the tail
            if "rows" not in tail and not (isinstance(tail["table"], str) and isinstance(tail["row"], dict)):
                raise ValueError
        if tail["rows"] != count:
            raise ValueError
    except (gzip.BadGzipFile, zlib.error, EOFError, StopIteration, ValueError, KeyError, TypeError, RecursionError):
        raise NotABackup(f"{path} is no whole backup of bellcrier.") from None
    if head.revision > tables.REVISION:
        raise NotABackup(
            f"{path} is a backup of a newer bellcrier: its schema is {head.revision}, and this version knows "
            f"{tables.REVISION}. Restore it with that version."
        )
    return head, count


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _to_head(line: dict[str, Any]) -> Head:
    head = Head(line[HEAD], line["at"], line.get("key"), line.get("secret_key"))
    if not (isinstance(head.revision, str) and head.revision.isdigit() and isinstance(head.at, int)):
        raise ValueError
    return head


def _clear(connection: Connection, force: bool) -> None:
    """Drop our tables. Those of a newer version are ours too, whatever their names."""
    there = MetaData()
    there.reflect(connection)
    if not there.tables:
        return
    if not {schema.VERSIONS, "broadcasts"} <= there.tables.keys():
        raise NotOurs(", ".join(sorted(there.tables)[:3]))
    if not force and (found := _lost(connection, there)):
        raise NotEmpty(found)
    newer = (schema.schema_revision(connection) or "") > tables.REVISION
    ours = {schema.VERSIONS, *(there.tables if newer else tables.metadata.tables)}
    there.drop_all(connection, [table for name, table in there.tables.items() if name in ours])


def _lost(connection: Connection, there: MetaData) -> str:
    """What people made and a restore would delete, in words; empty if there is none of it."""
    parts = []
    for name in sorted({"broadcasts", "schedules", "templates"} & there.tables.keys()):
        number = connection.execute(select(func.count()).select_from(there.tables[name])).scalar_one()
        parts += [f"{number} {name if number > 1 else name.removesuffix('s')}"] if number else []
    return " and ".join(parts)


def _insert_all(connection: Connection, path: Path) -> None:
    there = {table.name: table for table in _tables_there(connection)}
    for name, rows in _grouped(_lines(path)):
        if name not in there:
            raise NotABackup(f"{path} holds a table {name!r} that its own revision does not have.")
        try:
            connection.execute(insert(there[name]), rows)
        except (CompileError, IntegrityError, DataError, StatementError) as error:
            raise NotABackup(
                f"{path} holds rows of the table {name!r} that do not fit it ({type(error).__name__})."
            ) from None


def _grouped(entries: Iterable[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the rows of one table after another, a few hundred at a time."""
    name, some = "", list[dict[str, Any]]()
    for entry in entries:
        if "table" not in entry:  # the first line and the last
            continue
        if some and (entry["table"] != name or len(some) == AT_ONCE):
            yield name, some
            some = []
        name = entry["table"]
        some.append(entry["row"])
    if some:
        yield name, some


def _continue_numbers(connection: Connection) -> None:
    """Set PostgreSQL's sequences to the highest row. SQLite continues after it by itself."""
    if connection.dialect.name != "postgresql":
        return
    for table in (tables.audit, tables.notes, tables.posts):
        highest = connection.execute(select(func.max(table.c.seq))).scalar_one()
        sequence = text(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'seq'), :highest)")
        if highest is not None:
            connection.execute(sequence, {"highest": highest})
