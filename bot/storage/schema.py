"""The schema: its revision, the migrations that bring it there, and whether the file is sound."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from bot.storage.tables import REVISION


def integrity(connection: Connection) -> str:
    """`ok`, or what SQLite finds wrong with its file."""
    if connection.dialect.name != "sqlite":
        return "ok"
    return str(connection.execute(text("PRAGMA quick_check(1)")).scalar_one())


def is_empty(connection: Connection) -> bool:
    """No table at all: a database that nobody has used yet."""
    return not inspect(connection).get_table_names()


def schema_revision(connection: Connection) -> str | None:
    """The revision the database stands at; None when it has no schema yet."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def schema_trouble(revision: str | None) -> str | None:
    """What an operator has to do about a database at this revision; None where it is the one that this code wants."""
    if revision == REVISION:
        return None
    if revision is not None and revision > REVISION:
        return (
            f"The database is newer than this version (revision {revision}, and this version knows {REVISION}). "
            "Run a newer bellcrier."
        )
    return "The database has another schema than this version. Run `bellcrier db upgrade`."


UPGRADE_LOCK = 0x62656C6C  # any number that nobody else takes


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the schema to this revision, the newest if none is named.

    Interrupted, it leaves nothing behind and can be run again; of several processes at once, one does it.
    """
    from alembic import command  # 100 ms that only this needs
    from alembic.config import Config

    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({UPGRADE_LOCK})")
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def one_snapshot(connection: Connection) -> None:
    """For the first line of what reads everything and takes its time about it: nothing changes under its eyes.

    On SQLite that is so anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
