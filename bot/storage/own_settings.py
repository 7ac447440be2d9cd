"""The settings that the admins of a workspace have changed in Slack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, RowMapping, select, update

from bot.domain.clock import Micros
from bot.storage import audit
from bot.storage.sql import insert_ignoring
from bot.storage.tables import own_settings


@dataclass(frozen=True, kw_only=True)
class OwnSettings:
    """What differs from the operator's file, by the setting's name. `version`: 0 as long as nobody changed anything."""

    workspace: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    version: int = 0
    changed_by: str = ""
    changed_at: Micros = 0


def own_settings_of(connection: Connection, workspace: str) -> OwnSettings:
    statement = select(own_settings).where(own_settings.c.workspace == workspace)
    row = connection.execute(statement).mappings().first()
    return _read(row) if row is not None else OwnSettings(workspace=workspace)


def all_own_settings(connection: Connection) -> dict[str, OwnSettings]:
    """Return those of each workspace that has some, by its id."""
    return {row["workspace"]: _read(row) for row in connection.execute(select(own_settings)).mappings()}


def keep_own_settings(connection: Connection, one: OwnSettings) -> bool:
    """Store them in place of the version that they were made from. False if that is no longer the latest."""
    row = {**vars(replace(one, version=one.version + 1)), "settings": dict(one.settings)}
    if one.version == 0:
        return insert_ignoring(connection, own_settings, [row]) == 1
    as_seen = own_settings.c.workspace == one.workspace, own_settings.c.version == one.version
    return connection.execute(update(own_settings).where(*as_seen).values(row)).rowcount == 1


def reset_own_settings(connection: Connection, workspace: str, at: Micros) -> list[str]:
    """Take all of them back, for the operator, and return their names."""
    before = own_settings_of(connection, workspace)
    after = replace(before, settings={}, changed_by="operator", changed_at=at)
    names = sorted(before.settings)
    if names and keep_own_settings(connection, after):
        audit.write_event(connection, workspace, "operator", "settings", f"{', '.join(names)}: back to the file's", at)
    return names


def _read(row: RowMapping) -> OwnSettings:
    settings = row["settings"] if isinstance(row["settings"], Mapping) else {}
    return OwnSettings(**{**row, "settings": settings})
