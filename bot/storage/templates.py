"""Texts that people keep to use again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, select, update

from bot.domain.clock import Micros
from bot.storage.sql import insert_ignoring
from bot.storage.tables import templates


@dataclass(frozen=True, kw_only=True)
class Template:
    """A text that somebody kept under a name, with the values it is usually sent with."""

    workspace: str
    name: str
    owner: str
    audience: str | None
    purpose: str
    text: str
    sender: str | None
    campaign: str | None
    changed_at: Micros

    def values(self) -> dict[str, Any]:
        """What the form is filled with."""
        return {name: getattr(self, name) for name in ("audience", "purpose", "text", "sender", "campaign")}


def keep_template(connection: Connection, template: Template, admins: Iterable[str]) -> str | None:
    """Keep it, replacing one of the same owner or, for an admin, of anybody. Else return who owns the name."""
    fields = dataclasses.asdict(template)
    if insert_ignoring(connection, templates, [fields]):
        return None
    known = find_template(connection, template.workspace, template.name)
    if known is not None and template.owner not in (known.owner, *admins):
        return known.owner
    connection.execute(update(templates).where(_named(template.workspace, template.name)).values(**fields))
    return None


def find_template(connection: Connection, workspace: str, name: str) -> Template | None:
    row = connection.execute(select(templates).where(_named(workspace, name.lower()))).mappings().first()
    return Template(**row) if row else None


def templates_of(connection: Connection, workspace: str) -> list[Template]:
    statement = select(templates).where(templates.c.workspace == workspace).order_by(templates.c.name).limit(100)
    return [Template(**row) for row in connection.execute(statement).mappings()]


def drop_template(connection: Connection, workspace: str, name: str) -> None:
    connection.execute(templates.delete().where(_named(workspace, name)))


def _named(workspace: str, name: str) -> ColumnElement[bool]:
    return and_(templates.c.workspace == workspace, templates.c.name == name)
