"""What tests of databases share: a key to keep, and how long anybody waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bot.storage import keys
from bot.storage.database import Database

PATIENT = 3.0  # seconds within which every caller gets an answer, whatever the state of the database


def keep(name: str, value: str = "1") -> Any:
    return lambda connection: keys.keep(connection, name, value, 1)


async def kept(database: Database, name: str) -> str | None:
    return await database.read(lambda c: keys.load_kept(c, name))


ROOT = Path(__file__).parent.parent.parent
