"""Helpers for every statement: batches, rows read one by one, values as columns."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    ColumnElement,
    Connection,
    Executable,
    Integer,
    RowMapping,
    Select,
    String,
    Table,
    Values,
    bindparam,
    case,
    column,
    false,
    func,
    literal_column,
    or_,
    select,
    text,
    true,
)
from sqlalchemy.dialects.sqlite import Insert as SQLiteInsert

from bot.domain.clock import Micros, moment
from bot.domain.errors import NotFound, NotUnderstood
from bot.domain.i18n import Translatable
from bot.storage.failing_rows import failing_rows_of
from bot.storage.tables import SHAPE
from providers.base import Staged

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert as PostgresInsert

T = TypeVar("T")
Key = TypeVar("Key", bound=tuple[str, ...])

MENTIONED = 255  # characters of ids that one note or post may name at its head
IN_A_STATEMENT = 1000  # rows: PostgreSQL and SQLite take some 32,000 parameters


def known_words(column: ColumnElement[Any], words: type[StrEnum]) -> ColumnElement[bool]:
    """Whether the column holds one of these words, or nothing.

    The form keeps the databases from choosing an index for it, and makes PostgreSQL expect that most rows match. Else
    PostgreSQL would read all rows of a workspace to find the ten that changed last.
    """
    listed = ", ".join(f"'{word}'" for word in words)
    return case((literal_column(f"{column} NOT IN ({listed})", Boolean), false()), else_=true())


def to_row(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: to_column(value) for name, value in changes.items()}


def to_column(value: Any) -> Any:
    if isinstance(value, Staged):
        cost = None if value.cost is None else str(value.cost)
        return {**dataclasses.asdict(value), "cost": cost}
    if isinstance(value, Translatable):
        return value.plain()
    return list(value) if isinstance(value, tuple) else value


def but(column: ColumnElement[Any], stumbled: Sequence[str]) -> ColumnElement[bool]:
    """Leave out the rows that could not be worked on."""
    if not stumbled:
        return true()
    return column.not_in([int(id) for id in stumbled] if isinstance(column.type, Integer) else stumbled)


def read_each(
    connection: Connection, statement: Executable, read: Callable[[RowMapping], T], work: str, key: str
) -> list[T]:
    """Read each row by itself. Record a row that cannot be read, and leave it out."""
    failing_rows, found = failing_rows_of(connection), []
    for row in connection.execute(statement).mappings():
        try:
            found.append(read(row))
        except Exception as error:  # a bad row does not stop the others
            failing_rows.struck(work, row[key], error, row.get("workspace") or "")
    return found


def read_one(
    connection: Connection,
    table: Table,
    read: Callable[[RowMapping], T],
    work: str,
    workspace: str,
    id: str,
    lock: bool,
) -> T:
    """Read the row with this id as it stands. `lock` holds it until the transaction ends.

    Raises NotFound, or NotUnderstood for a row that this version cannot read.
    """
    statement = select(table).where(table.c.workspace == workspace, table.c.id == id)
    row = connection.execute(statement.with_for_update() if lock else statement).mappings().first()
    if row is None:
        raise NotFound(id)
    if row["shape"] > SHAPE:
        raise NotUnderstood(id)
    try:
        return read(row)
    except Exception as error:
        failing_rows_of(connection).struck(work, id, error, workspace)
        raise NotUnderstood(id) from None


def check_instant(value: Micros | None) -> None:
    """Raise TypeError, ValueError, OverflowError or OSError for a value that cannot be shown as a time."""
    if value is not None:
        moment(value)


def insert_ignoring(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert the rows that are not there yet; return how many were new.

    Many rows take few statements, since the database may be far away, and little time, since a vendor may answer with
    thousands.
    """
    statement = insert_into(connection, table).on_conflict_do_nothing()
    if len(rows) == 1:
        return connection.execute(statement, dict(rows[0])).rowcount
    new = statement.returning(*table.primary_key)
    return sum(len(connection.execute(new, [dict(row) for row in batch]).all()) for batch in batched(rows))


def insert_into(connection: Connection, table: Table) -> PostgresInsert | SQLiteInsert:
    if connection.dialect.name == "sqlite":
        return SQLiteInsert(table)
    from sqlalchemy.dialects.postgresql import Insert  # imported late: a start on SQLite does not wait for its drivers

    return Insert(table)


def batched(items: Iterable[T]) -> Iterator[tuple[T, ...]]:
    """Split items into batches that fit the parameters of one statement."""
    waiting = iter(items)
    while batch := tuple(islice(waiting, IN_A_STATEMENT)):
        yield batch


def with_keys(
    connection: Connection, statement: Select[Any], columns: Sequence[ColumnElement[str]], keys: Iterable[Key]
) -> Iterator[tuple[Key, RowMapping]]:
    """Yield the rows that have one of these keys in these columns, each with its key.

    A join uses an index in both databases, while SQLite scans the whole table for `(a, b) IN (...)`. A single key goes
    into the statement itself, which is then not compiled again each time.
    """
    for some in batched(sorted(keys)):
        wanted: dict[tuple[str, ...], Key] = {tuple(key): key for key in some}
        sought = some[0] if len(some) == 1 else _given(some)
        found = statement.where(*(one == value for one, value in zip(columns, sought, strict=True)))
        for row in connection.execute(found).mappings():
            yield wanted[tuple(row[one] for one in columns)], row


def _given(keys: Sequence[tuple[str, ...]]) -> list[ColumnElement[str]]:
    """The columns of a table made of these keys."""
    named = [column(f"key{place}", String) for place in range(len(keys[0]))]
    return list(Values(*named, name="given").data(keys).cte("given").c)


def fitting(mention: str | None) -> str | None:
    """Return as many of these people as fit. The sentence and the card name all of them."""
    if mention is None or len(mention) <= MENTIONED:
        return mention or None
    return mention[: MENTIONED + 1].rpartition(" ")[0] or None


# Each task checks for work before it opens a transaction that writes. These statements are built once.
def any_of(*questions: Select[Any]) -> Select[tuple[bool]]:
    """Whether any of these queries finds a row. They run in order until one does."""
    return select(or_(*(question.exists() for question in questions)))


def micros_parameter(name: str) -> BindParameter[int]:
    return bindparam(name, type_=BigInteger)


AT_PARAMETER = micros_parameter("at")
_SCOPE_PARAMETER = bindparam("scope", type_=String)


def scope_of(connection: Connection) -> dict[str, str | None]:
    """Return the workspace that this connection works for, as the value of `within`; None for all of them."""
    return {"scope": connection.get_execution_options().get("workspace")}


def in_scope(connection: Connection, table: Table) -> ColumnElement[bool]:
    """Match the rows of the workspace that this connection works for: see `WorkspaceDatabase`."""
    workspace = scope_of(connection)["scope"]
    return true() if workspace is None else table.c.workspace == workspace


def within(table: Table) -> ColumnElement[bool]:
    """The same in a statement that is built once, and gets the values of `scope_of`."""
    return or_(_SCOPE_PARAMETER.is_(None), table.c.workspace == _SCOPE_PARAMETER)


def database_time(connection: Connection) -> Micros | None:
    """Return the database's own time, which processes on different machines share.

    None on SQLite, where there is only one machine.
    """
    if connection.dialect.name != "postgresql":
        return None
    return int(connection.execute(text("SELECT extract(epoch FROM clock_timestamp()) * 1000000")).scalar_one())


def read_pair(value: str | None, first: type[T]) -> tuple[T | None, Micros]:
    """Read a pair of small values from a kept text. An unreadable text counts as never kept."""
    try:
        one, other = json.loads(value) if value else (None, 0)
    except (ValueError, TypeError, RecursionError):
        return None, 0
    return (one, other) if isinstance(one, first) and isinstance(other, int) else (None, 0)


def alone(connection: Connection, name: str) -> None:
    """Lock this name until the transaction ends. SQLite has only one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(name))))


def without_index(column: ColumnElement[T]) -> ColumnElement[T]:
    """The same value, for which no database uses an index: fewer rows are living than are in a workspace."""
    return column + ("" if isinstance(column.type, String) else 0)
