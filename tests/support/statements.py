"""Statements that are compiled once for all databases of a test session.

SQLAlchemy keeps compiled statements with the engine. Each test opens an engine of its own, and to compile every
statement for every test took an eighth of all the time.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.util import LRUCache


class Compiled(LRUCache[Any, Any]):
    """Compiled statements by the kind of database, which is the part of a key that differs from engine to engine."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_of_its_kind(key), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_of_its_kind(key), value)


def _of_its_kind(key: Any) -> Any:
    dialect, *rest = key
    return (type(dialect), *rest)


def share_compiled_statements() -> None:
    """Give every connection from now on the same compiled statements."""
    shared = Compiled(2_000)

    @event.listens_for(Engine, "engine_connect")
    def share(connection: Connection) -> None:
        connection.execution_options(compiled_cache=shared)
