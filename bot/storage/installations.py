"""The workspaces that have installed the bot, with their tokens, which are encrypted before they come here."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, RowMapping, select, update

from bot.domain.clock import Micros
from bot.storage.sql import insert_ignoring
from bot.storage.tables import installations


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One installation. `id`: of the workspace, or of the organisation for an org-wide one.

    `organisation`: by whose token this workspace is served, if it has none of its own. `secrets`: None once it is gone.
    """

    id: str
    name: str
    organisation: str | None = None
    secrets: str | None = None
    bot_user: str = ""
    bot_id: str = ""
    installed_by: str = ""
    installed_at: Micros
    expires_at: Micros | None = None  # when its token ends
    left_at: Micros | None = None
    version: int = 1


def keep(connection: Connection, one: Stored) -> list[str]:
    """Store an installation, in place of an earlier one of the same workspace, and return which it serves again.

    An organisation brings back those of its workspaces that have left.
    """
    row = _row(one)
    if not insert_ignoring(connection, installations, [row]):
        row["version"] = installations.c.version + 1
        connection.execute(update(installations).where(installations.c.id == one.id).values(**row))
    those_left = installations.c.organisation == one.id, installations.c.left_at.is_not(None)
    values = {"left_at": None, "installed_at": one.installed_at, "version": installations.c.version + 1}
    returned = update(installations).where(*those_left).values(**values).returning(installations.c.id)
    return list(connection.execute(returned).scalars())


def living(connection: Connection) -> list[Stored]:
    """Return the installations that stand."""
    found = connection.execute(select(installations).where(installations.c.left_at.is_(None)))
    return [_stored(row) for row in found.mappings()]


def find(connection: Connection, id: str) -> Stored | None:
    row = connection.execute(select(installations).where(installations.c.id == id)).mappings().first()
    return _stored(row) if row else None


def join(connection: Connection, one: Stored) -> bool:
    """Store a workspace of an organisation that is met for the first time. False if it was there, even if it left."""
    return insert_ignoring(connection, installations, [_row(one)]) == 1


def renew(connection: Connection, seen: Stored, secrets: str, expires_at: Micros) -> bool:
    """Store the next token, unless somebody else changed the installation meanwhile."""
    as_seen = installations.c.id == seen.id, installations.c.version == seen.version
    values = {"secrets": secrets, "expires_at": expires_at, "version": seen.version + 1}
    standing = installations.c.left_at.is_(None)
    return connection.execute(update(installations).where(*as_seen, standing).values(**values)).rowcount == 1


def leave(connection: Connection, id: str, before: Micros, at: Micros) -> list[str]:
    """End an installation from before this instant, forget its token, and return the workspaces that it served.

    An organisation takes all of its workspaces with it.
    """
    here = (installations.c.id == id) | (installations.c.organisation == id)
    standing = installations.c.left_at.is_(None), installations.c.installed_at <= before
    values = {"left_at": at, "secrets": None, "expires_at": None, "version": installations.c.version + 1}
    ended = update(installations).where(here, *standing).values(**values).returning(installations.c.id)
    return [one for one in connection.execute(ended).scalars() if not one.startswith("E")]


def _row(one: Stored) -> dict[str, Any]:
    return {field.name: getattr(one, field.name) for field in fields(Stored)}


def _stored(row: RowMapping) -> Stored:
    return Stored(**{field.name: row[field.name] for field in fields(Stored)})
