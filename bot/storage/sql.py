"""Helpers for every statement: batches, rows read one by one, values as columns."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import islice
from typing import Any, TypeVar

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
from sqlalchemy.dialects import postgresql, sqlite

from bot.domain.clock import Micros, moment
from bot.domain.i18n import Translatable
from bot.storage.troubles import troubles_of
from providers.base import Staged

T = TypeVar("T")
Key = TypeVar("Key", bound=tuple[str, ...])

MENTIONED = 255  # characters of ids that one note or post may name at its head
IN_A_STATEMENT = 1000  # rows: PostgreSQL and SQLite take some 32,000 parameters


def known_words(column: ColumnElement[Any], words: type[StrEnum]) -> ColumnElement[bool]:
    """Does the column hold none but these words, or nothing? Written so that no index is chosen for it, and so that
    PostgreSQL takes it for likely: it would else read all of a workspace for the ten that changed last."""
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
    """Without the rows that were stumbled over."""
    if not stumbled:
        return true()
    return column.not_in([int(id) for id in stumbled] if isinstance(column.type, Integer) else stumbled)


def read_each(
    connection: Connection, statement: Executable, read: Callable[[RowMapping], T], work: str, key: str
) -> list[T]:
    """What each row says, read for itself."""
    troubles, found = troubles_of(connection), []
    for row in connection.execute(statement).mappings():
        try:
            found.append(read(row))
        except Exception as error:  # whatever is in it: the others are read
            troubles.struck(work, row[key], error, row.get("workspace") or "")
    return found


def check_instant(value: Micros | None) -> None:
    """Raises TypeError, ValueError, OverflowError or OSError for what is no time that can be shown."""
    if value is not None:
        moment(value)


def insert_ignoring(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert what is not there yet; how many were new. Many rows take few statements, as the database may be far away,
    and little time: thousands of them may be a vendor's answer."""
    statement = insert_into(connection, table).on_conflict_do_nothing()
    if len(rows) == 1:
        return connection.execute(statement, dict(rows[0])).rowcount
    new = statement.returning(*table.primary_key)
    return sum(len(connection.execute(new, [dict(row) for row in batch]).all()) for batch in batched(rows))


def insert_into(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def batched(items: Iterable[T]) -> Iterator[tuple[T, ...]]:
    """As many at a time as a statement takes parameters for."""
    waiting = iter(items)
    while batch := tuple(islice(waiting, IN_A_STATEMENT)):
        yield batch


def with_keys(
    connection: Connection, statement: Select[Any], columns: Sequence[ColumnElement[str]], keys: Iterable[Key]
) -> Iterator[tuple[Key, RowMapping]]:
    """The rows that have one of these keys in these columns, each with its key.

    A join, which goes through an index in both databases: SQLite looks for `(a, b) IN (...)` from end to end. One key
    alone is named in the statement, which is then not compiled anew each time.
    """
    for some in batched(sorted(keys)):
        wanted: dict[tuple[str, ...], Key] = {tuple(key): key for key in some}
        sought = some[0] if len(some) == 1 else _given(some)
        found = statement.where(*(one == value for one, value in zip(columns, sought, strict=True)))
        for row in connection.execute(found).mappings():
            yield wanted[tuple(row[one] for one in columns)], row


def _given(keys: Sequence[tuple[str, ...]]) -> list[ColumnElement[str]]:
    """The columns of a table that is these keys."""
    named = [column(f"key{place}", String) for place in range(len(keys[0]))]
    return list(Values(*named, name="given").data(keys).cte("given").c)


def fitting(mention: str | None) -> str | None:
    """As many of these people as have room; the sentence and the card tell of all of them."""
    if mention is None or len(mention) <= MENTIONED:
        return mention or None
    return mention[: MENTIONED + 1].rpartition(" ")[0] or None


# Each task asks before it opens a transaction that writes. These are made once, like what writes each step.
def any_of(*questions: Select[Any]) -> Select[tuple[bool]]:
    """Has any of these an answer? They are asked one after the other, until one has."""
    return select(or_(*(question.exists() for question in questions)))


def micros_parameter(name: str) -> BindParameter[int]:
    return bindparam(name, type_=BigInteger)


AT_PARAMETER = micros_parameter("at")


def database_time(connection: Connection) -> Micros | None:
    """The database's own clock, by which processes on machines with different clocks agree; None on SQLite, where
    one machine is all there is."""
    if connection.dialect.name != "postgresql":
        return None
    return int(connection.execute(text("SELECT extract(epoch FROM clock_timestamp()) * 1000000")).scalar_one())


def read_pair(value: str | None, first: type[T]) -> tuple[T | None, Micros]:
    """Two small things that were kept; what nobody can read is as if it had never been kept."""
    try:
        one, other = json.loads(value) if value else (None, 0)
    except (ValueError, TypeError, RecursionError):
        return None, 0
    return (one, other) if isinstance(one, first) and isinstance(other, int) else (None, 0)


def alone(connection: Connection, name: str) -> None:
    """Until this transaction ends, no other one that asks this runs under this name. SQLite writes alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(name))))
