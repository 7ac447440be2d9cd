"""Opens the database that an address names."""

from __future__ import annotations

from sqlalchemy.engine import make_url

from bot.storage.addresses import PostgresAddress, backend
from bot.storage.database import PATIENCE, Database
from bot.storage.sqlite import SQLite


def open_database(url: str, patience: float = PATIENCE, *, listen_url: str | None = None) -> Database:
    """Return the database for a URL: `sqlite:///FILE` or `postgresql://…`. Raises Unusable.

    `patience`: seconds within which a caller gets an answer; the default suits the bot, since people wait for it.
    `listen_url`: where to listen for other processes, if `url` leads to a pooler.
    """
    if backend(url) == "sqlite":
        return SQLite(make_url(url), patience)
    from bot.storage.postgres import Postgres  # imported late: a start on SQLite does not wait for its drivers

    listen_at = PostgresAddress.read(listen_url) if listen_url else None
    return Postgres(PostgresAddress.read(url), listen_at, patience)
