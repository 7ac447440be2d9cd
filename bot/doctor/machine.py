"""Checks of this machine: files that others can read, the database, the clock."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from bot.config.load import sqlite_file
from bot.doctor.findings import Finding, Setup, halves
from bot.slack.client import CLOCK_OFF, slacks_time
from bot.storage import schema
from bot.storage.database import Database, DatabaseBusy, DatabaseRefuses, Unusable
from bot.storage.sqlite import SQLite

SECRET = re.compile(r"(?:token|secret|key|password)\w*[\"']?\s*=\s*[\"']?\w|://[^\s:/@]+:[^\s@]+@", re.IGNORECASE)


async def check_files(setup: Setup) -> AsyncIterator[Finding]:
    """Files with secrets or texts that other users of this machine can read."""
    database = _beside(setup.database.path) if isinstance(setup.database, SQLite) else []
    for file in (*filter(_holds_secrets, setup.files), *database):
        if file.exists() and file.stat().st_mode & 0o077:
            cause = f"Other users of this machine can read {file}."
            yield Finding("files", "warning", cause, f"Run `chmod 600 {file}`.")


def _beside(file: Path) -> list[Path]:
    """The database, its log, the key that was made for it, and the backups that an upgrade left."""
    log = (Path(f"{file}{ending}") for ending in ("-wal", "-shm", ".key"))
    return [file, *log, *sorted(file.parent.glob(f"{file.stem}*.backup"))]


def _holds_secrets(file: Path) -> bool:
    try:
        return SECRET.search(file.read_text(encoding="utf-8")) is not None
    except (OSError, UnicodeDecodeError):
        return False


async def check_database(setup: Setup) -> AsyncIterator[Finding]:
    if setup.database is None and sqlite_file(setup.settings) is None:
        return  # one that cannot be opened has its finding already
    if setup.database is None:
        cause = "There is no database yet. `bellcrier run` and `bellcrier db upgrade` make it."
        yield Finding("database", "ok", cause)
        return
    yield (found := await _database(setup.database))
    if found.level == "ok" and (deafness := await setup.database.deafness()):
        cause = f"Processes do not hear from each other ({deafness}), and look each half second instead."
        fix = "Behind a pooler, set database_direct_url to the address of PostgreSQL itself."
        yield Finding("database.notifications", "warning", cause, fix)


async def _database(database: Database) -> Finding:
    try:
        await database.check()
        revision = await database.read(schema.schema_revision)
    except Unusable as error:
        return Finding("database", "error", *halves(str(error)))
    except DatabaseRefuses as error:
        return Finding("database", "error", f"The database does not let the bot in: {error}.", "Check DATABASE_URL.")
    except DatabaseBusy as error:
        cause = f"The database does not answer ({error})."
        return Finding("database", "error", cause, "Start it, or check DATABASE_URL.")
    if (trouble := schema.schema_trouble(revision)) is None:
        return Finding("database", "ok", f"The database is at revision {revision}.")
    return Finding("database", "error", *halves(trouble))


def clock(headers: Mapping[str, str]) -> Finding:
    """`headers`: of an answer of Slack's."""
    told = slacks_time(headers)
    if told is None:
        return Finding("clock", "warning", "Slack did not tell its time.", "Check that this machine keeps time by NTP.")
    off = time.time() - told
    if abs(off) > CLOCK_OFF:
        way = "ahead of" if off > 0 else "behind"
        return Finding("clock", "error", f"This clock is {abs(off):.0f} s {way} Slack's.", "Let NTP set it.")
    return Finding("clock", "ok", "The clock agrees with Slack's.")
