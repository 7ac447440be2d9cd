"""The Home tabs that people have opened, and which of them must be drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, delete, select, update

from bot.domain.clock import SECOND, Micros
from bot.storage.failing_rows import failing_rows_of
from bot.storage.sql import but, in_scope, insert_ignoring
from bot.storage.tables import homes

GATHER = SECOND  # in which changes become one drawing
PAUSE = 5 * SECOND  # between two drawings of one Home, unless its owner asks for one
Pages = Mapping[str, Sequence[Sequence[Any]]]


@dataclass(frozen=True)
class Home:
    """`pages`: of each section, the places after which its pages began, the last shown last; [instant, id] each."""

    workspace: str
    person: str
    channel: str | None
    first_at: Micros
    opened_at: Micros
    draw_at: Micros
    drawn_at: Micros = 0
    revision: int = 0
    hash: str | None = None
    digest: str | None = None
    pages: Pages = field(default_factory=dict)

    @property
    def is_first_visit(self) -> bool:
        return self.first_at == self.opened_at


def opened(connection: Connection, workspace: str, person: str, channel: str | None, at: Micros) -> None:
    """Draw this person's Home at once, from its first pages, and from now on when something changes."""
    row = Home(workspace, person, channel, at, at, at)
    if not insert_ignoring(connection, homes, [dataclasses.asdict(row)]):
        _draw_now(connection, workspace, person, at, opened_at=at, channel=channel, pages={})


def draw_now(connection: Connection, workspace: str, person: str, at: Micros) -> None:
    """Draw it at once, if they have one: they have just done something there."""
    _draw_now(connection, workspace, person, at)


def turn(connection: Connection, workspace: str, person: str, pages: Pages, at: Micros) -> None:
    """Show other pages of its sections."""
    _draw_now(connection, workspace, person, at, pages=pages)


def _draw_now(connection: Connection, workspace: str, person: str, at: Micros, **more: Any) -> None:
    values = {"draw_at": at, "revision": homes.c.revision + 1, **more}
    connection.execute(update(homes).where(_of(workspace, person)).values(values))


def stir(connection: Connection, workspace: str | None, at: Micros) -> None:
    """Draw the Homes of a workspace soon: something has changed. None: those of every workspace."""
    soonest = at + GATHER
    soon = case((homes.c.drawn_at + PAUSE > soonest, homes.c.drawn_at + PAUSE), else_=soonest)
    values = {"draw_at": case((homes.c.draw_at < soon, homes.c.draw_at), else_=soon), "revision": homes.c.revision + 1}
    everywhere = update(homes).values(values)
    connection.execute(everywhere if workspace is None else everywhere.where(homes.c.workspace == workspace))


def due(connection: Connection, at: Micros, limit: int) -> list[Home]:
    """Those to draw, the longest waiting first."""
    working = but(homes.c.person, failing_rows_of(connection).put_off("home"))
    found = select(homes).where(homes.c.draw_at <= at, working, in_scope(connection, homes))
    return [Home(**row) for row in connection.execute(found.order_by(homes.c.draw_at).limit(limit)).mappings()]


def find(connection: Connection, workspace: str, person: str) -> Home | None:
    row = connection.execute(select(homes).where(_of(workspace, person))).mappings().first()
    return Home(**row) if row else None


def drawn(
    connection: Connection, home: Home, at: Micros, hash: str | None, digest: str | None, again_at: Micros
) -> None:
    """Record what it shows. It is drawn again at `again_at`, or soon if something has changed meanwhile."""
    changed = homes.c.revision != home.revision
    soon = case((homes.c.draw_at > home.draw_at, homes.c.draw_at), else_=at + PAUSE)
    values = {"drawn_at": at, "hash": hash, "digest": digest, "draw_at": case((changed, soon), else_=again_at)}
    connection.execute(update(homes).where(_of(home.workspace, home.person)).values(values))


def put_off(connection: Connection, home: Home, again_at: Micros) -> None:
    """Try it again then."""
    connection.execute(update(homes).where(_of(home.workspace, home.person)).values(draw_at=again_at))


def forget(connection: Connection, home: Home) -> None:
    """Draw it no more, until they open it again."""
    connection.execute(delete(homes).where(_of(home.workspace, home.person)))


def _of(workspace: str, person: str) -> ColumnElement[bool]:
    return and_(homes.c.workspace == workspace, homes.c.person == person)
