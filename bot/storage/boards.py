"""What a person's Home lists, a page at a time.

Each page begins after the place where the one before ended, so the last costs what the first does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, literal_column, select, text, true, tuple_, union_all

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.lifecycle import State
from bot.domain.schedule import Schedule
from bot.storage import schedules as stored
from bot.storage.broadcast_rows import SCHEDULED, in_states, read_broadcasts, understood
from bot.storage.tables import LIVING, broadcasts, schedules


class Place(NamedTuple):
    """Where a page ends: the instant by which its section is in order, and the id, of the last row looked at."""

    at: Micros
    id: str


def waiting(connection: Connection, workspace: str, person: str, after: Place | None, limit: int) -> list[Broadcast]:
    """What may wait for this person, the longest waiting first: what asks, and their own drafts."""
    rows = broadcasts.c
    order = rows.changed_at, rows.id
    here = and_(rows.workspace == workspace, understood(connection), _after(order, after))
    asking = (and_(in_states(one), text(LIVING)) for one in (State.PENDING, State.HELD, State.UNKNOWN))
    drafts = and_(in_states(State.DRAFT), rows.requester == person)
    parts = (select(*order).where(here, those).order_by(*order).limit(limit) for those in (*asking, drafts))
    some = union_all(*(select(one.subquery()) for one in parts)).subquery()
    first = select(some.c.id).order_by(some.c.changed_at, some.c.id).limit(limit).subquery()
    found = select(broadcasts).join(first, and_(rows.workspace == workspace, rows.id == first.c.id))
    return read_broadcasts(connection, found.order_by(*order))


def mine(connection: Connection, workspace: str, person: str, after: Place | None, limit: int) -> list[Broadcast]:
    """What this person has asked for, the newest first; their drafts are in `waiting`."""
    rows = broadcasts.c
    asked = and_(rows.workspace == workspace, rows.requester == person, rows.state != State.DRAFT)
    before = true() if after is None else tuple_(rows.created_at, rows.id) < tuple_(*after)
    found = select(broadcasts).where(asked, before, understood(connection))
    return read_broadcasts(connection, found.order_by(rows.created_at.desc(), rows.id.desc()).limit(limit))


def planned(connection: Connection, workspace: str, until: Micros, after: Place | None, limit: int) -> list[Broadcast]:
    """What goes out by then, in that order."""
    rows = broadcasts.c
    going = and_(SCHEDULED, rows.workspace == workspace, rows.due <= until)
    return read_broadcasts(connection, _page(connection, going, (rows.due, rows.id), after, limit))


def unknown(connection: Connection, workspace: str, after: Place | None, limit: int) -> list[Broadcast]:
    """Those of which nobody knows whether they went out, the longest unknown first."""
    rows = broadcasts.c
    those = and_(in_states(State.UNKNOWN), text(LIVING), rows.workspace == workspace)
    return read_broadcasts(connection, _page(connection, those, (rows.changed_at, rows.id), after, limit))


def recurring(connection: Connection, workspace: str, after: Place | None, limit: int) -> list[Schedule]:
    """Recurring broadcasts and reminders that have not ended, the oldest first."""
    rows = schedules.c
    order = rows.created_at, rows.id
    living = and_(literal_column("state <> 'ended'"), rows.workspace == workspace, stored.understood(connection))
    found = select(schedules).where(living, _after(order, after)).order_by(*order).limit(limit)
    return stored.read_schedules(connection, found)


def _page(
    connection: Connection,
    those: ColumnElement[bool],
    order: Sequence[ColumnElement[Any]],
    after: Place | None,
    limit: int,
) -> Select[Any]:
    found = select(broadcasts).where(those, _after(order, after), understood(connection))
    return found.order_by(*order).limit(limit)


def _after(order: Sequence[ColumnElement[Any]], after: Place | None) -> ColumnElement[bool]:
    return true() if after is None else tuple_(*order) > tuple_(*after)
