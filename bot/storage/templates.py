"""Texts that people keep to use again, and who approved them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, select, update

from bot.domain.clock import Micros
from bot.storage.sql import insert_ignoring
from bot.storage.tables import templates

#: What a template says and how it is usually sent. Its approval is for exactly this.
CONTENT = ("text", "audience", "purpose", "sender", "campaign")


@dataclass(frozen=True)
class TemplateVote:
    """One person's approval of a template, and when they gave it."""

    id: str
    at: Micros


@dataclass(frozen=True, kw_only=True)
class Template:
    """A text that somebody kept under a name, with the values it is usually sent with.

    `editor`: who changed it last, if not its owner. `approved_digest`: of what `approved_by` approved, which may no
    longer be what the template says.
    """

    workspace: str
    name: str
    owner: str
    audience: str | None
    purpose: str
    text: str
    sender: str | None
    campaign: str | None
    changed_at: Micros
    editor: str | None = None
    approved_by: tuple[TemplateVote, ...] = ()
    approved_digest: str | None = None

    def values(self) -> dict[str, Any]:
        """What the form is filled with."""
        return {name: getattr(self, name) for name in CONTENT}

    @property
    def digest(self) -> str:
        """SHA-256 over what it says and how it is sent."""
        canonical = json.dumps(self.values(), ensure_ascii=True, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def writers(self) -> frozenset[str]:
        """Who wrote it, and so cannot approve it."""
        return frozenset({self.owner, self.editor or self.owner})

    def approvers(self, digest: str) -> tuple[str, ...]:
        """Who approved it, if this digest is of what they approved."""
        return tuple(one.id for one in self.approved_by) if self.approved_digest == digest else ()


def find_template(connection: Connection, workspace: str, name: str, *, lock: bool = False) -> Template | None:
    statement = select(templates).where(_named(workspace, name.lower()))
    row = connection.execute(statement.with_for_update() if lock else statement).mappings().first()
    return _template(row) if row else None


def templates_of(connection: Connection, workspace: str) -> list[Template]:
    statement = select(templates).where(templates.c.workspace == workspace).order_by(templates.c.name)
    return [_template(row) for row in connection.execute(statement).mappings()]


def has_templates(connection: Connection, workspace: str) -> bool:
    return (
        connection.execute(select(templates.c.name).where(templates.c.workspace == workspace).limit(1)).first()
        is not None
    )


def add_template(connection: Connection, template: Template) -> bool:
    """Store a new one. False if the name is taken."""
    return insert_ignoring(connection, templates, [_to_row(template)]) == 1


def change_template(connection: Connection, seen: Template, template: Template) -> bool:
    """Put it in place of the one that was seen. False if somebody else has changed that one in the meantime."""
    same = and_(_named(seen.workspace, seen.name), templates.c.changed_at == seen.changed_at)
    return connection.execute(update(templates).where(same).values(**_to_row(template))).rowcount == 1


def approve_template(connection: Connection, seen: Template, digest: str, approvals: tuple[TemplateVote, ...]) -> bool:
    """Store who approved exactly what was seen. False if it has changed in the meantime."""
    same = and_(
        _named(seen.workspace, seen.name),
        templates.c.changed_at == seen.changed_at,
        templates.c.text == seen.text,
        templates.c.purpose == seen.purpose,
        *(templates.c[name].is_not_distinct_from(getattr(seen, name)) for name in ("audience", "sender", "campaign")),
    )
    given = {"approved_by": [dataclasses.asdict(one) for one in approvals] or None, "approved_digest": digest}
    return connection.execute(update(templates).where(same).values(**given)).rowcount == 1


def drop_template(connection: Connection, workspace: str, name: str) -> None:
    connection.execute(templates.delete().where(_named(workspace, name)))


def _template(row: Mapping[Any, Any]) -> Template:
    return Template(**{**row, "approved_by": tuple(_approvals(row["approved_by"]))})


def _approvals(kept: object) -> Iterator[TemplateVote]:
    """Read the approvals. One that cannot be read is none."""
    for one in kept if isinstance(kept, list) else ():
        if isinstance(one, dict) and isinstance(one.get("id"), str) and isinstance(one.get("at"), int):
            yield TemplateVote(one["id"], one["at"])


def _to_row(template: Template) -> dict[str, Any]:
    return {**dataclasses.asdict(template), "approved_by": [dataclasses.asdict(one) for one in template.approved_by]}


def _named(workspace: str, name: str) -> ColumnElement[bool]:
    return and_(templates.c.workspace == workspace, templates.c.name == name)
