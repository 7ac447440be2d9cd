"""Opens the database that an address names."""

from __future__ import annotations

from sqlalchemy.engine import make_url

from bot.storage.database import PATIENCE, Database
from bot.storage.postgres import Postgres
from bot.storage.sqlite import SQLite


def open_database(url: str, patience: float = PATIENCE) -> Database:
    """Return the database for a URL: `sqlite:///FILE` or `postgresql://…`.

    `patience`: seconds within which a caller gets an answer; the default suits the bot, since people wait for it.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return SQLite(parsed, patience)
    return Postgres(parsed, patience)
