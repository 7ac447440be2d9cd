"""The schema: its revision, the migrations that bring it there, and whether the file is sound."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from bot.storage.tables import REVISION

VERSIONS = "alembic_version"  # the table in which Alembic keeps the revision


def integrity(connection: Connection) -> str:
    """`ok`, or what SQLite finds wrong with its file."""
    if connection.dialect.name != "sqlite":
        return "ok"
    return str(connection.execute(text("PRAGMA quick_check(1)")).scalar_one())


def is_empty(connection: Connection) -> bool:
    """Whether it has no table at all: nobody has used this database yet."""
    return not inspect(connection).get_table_names()


def schema_revision(connection: Connection) -> str | None:
    """Return the revision of the database's schema; None when it has no schema yet."""
    if not connection.dialect.has_table(connection, VERSIONS):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def schema_trouble(revision: str | None) -> str | None:
    """Return what an operator must do about a database at this revision; None if this code wants that revision."""
    if revision == REVISION:
        return None
    if revision is not None and revision > REVISION:
        return f"{newer(revision)} Run a newer bellcrier."
    return "The database has another schema than this version. Run `bellcrier db upgrade`."


def newer(revision: str) -> str:
    """Say that a schema is newer than this version."""
    return f"The database is newer than this version (revision {revision}, and this version knows {REVISION})."


UPGRADE_LOCK = 0x62656C6C  # any number that nobody else uses


class NoSuchRevision(Exception):
    """There is no migration to this revision."""


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the schema to this revision, the newest if none is named. Raises NoSuchRevision.

    An interrupted upgrade leaves nothing behind and can run again. Of several processes at once, only one upgrades.
    """
    from alembic import command  # imported here: it takes 100 ms, and only this needs it
    from alembic.config import Config
    from alembic.util import CommandError

    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({UPGRADE_LOCK})")
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except CommandError:
        raise NoSuchRevision(revision) from None


def one_snapshot(connection: Connection) -> None:
    """Let a long transaction that reads everything see one unchanging state. Call this first in it.

    On SQLite that is so anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
