"""What happened within a week, and what comes in the next one, for the weekly digest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, case, func, select, text

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.lifecycle import State
from bot.domain.schedule import Kind, Schedule
from bot.storage import schedules
from bot.storage.broadcast_rows import SCHEDULED, in_states, read_broadcasts, to_counts, understood
from bot.storage.sql import without_index
from bot.storage.tables import LIVING, broadcasts

MOST = 50  # rows of each part that are read
READ_AT_ONCE = 500


@dataclass(frozen=True)
class Week:
    """How many broadcasts were asked for, approved and so on, and how many deliveries they have, by their status.

    Tests are not counted. `unknown`: how many are not known now.
    """

    asked: int
    approved: int
    rejected: int
    sent: int
    failed: int
    unknown: int
    deliveries: Mapping[str, int]


def week_before(connection: Connection, workspace: str, mode: str, since: Micros, until: Micros) -> Week:
    """What happened from one instant to another, in this mode."""
    rows = broadcasts.c
    # whatever happened to a row is never after `changed_at`
    mine = and_(rows.workspace == workspace, rows.changed_at >= since, rows.mode == mode, rows.test_of.is_(None))

    def number(happened: ColumnElement[Micros], *states: State) -> ColumnElement[int]:
        then = and_(happened >= since, happened < until, *([rows.state.in_(states)] if states else []))
        return func.coalesce(func.sum(case((then, 1), else_=0)), 0)

    columns = (
        *(number(rows.created_at), number(rows.approved_at), number(rows.changed_at, State.REJECTED)),
        *(number(rows.accepted_at), number(rows.changed_at, State.FAILED)),
    )
    counted = connection.execute(select(*columns).where(mine, rows.state != State.DRAFT)).one()
    sent = select(rows.counts).where(mine, rows.accepted_at >= since, rows.accepted_at < until)
    deliveries = Counter[str]()
    for (counts,) in connection.execute(sent, execution_options={"yield_per": READ_AT_ONCE}):
        deliveries.update(_readable(counts))
    asked, approved, rejected, gone, failed = (int(one) for one in counted)
    return Week(asked, approved, rejected, gone, failed, _unknown(connection, workspace, mode), deliveries)


def _unknown(connection: Connection, workspace: str, mode: str) -> int:
    few = without_index(broadcasts.c.workspace) == workspace
    those = and_(in_states(State.UNKNOWN), text(LIVING), few, broadcasts.c.mode == mode)
    return connection.execute(select(func.count()).select_from(broadcasts).where(those)).scalar_one()


def _readable(counts: object) -> dict[str, int]:
    try:
        return to_counts(counts)
    except ValueError:
        return {}


def not_known(connection: Connection, workspace: str) -> list[Broadcast]:
    """The broadcasts of which nobody knows whether they went out, the longest waiting first."""
    those = and_(in_states(State.UNKNOWN), text(LIVING))
    return _some(connection, workspace, those, without_index(broadcasts.c.changed_at))


def coming(connection: Connection, workspace: str, until: Micros) -> list[Broadcast]:
    """The broadcasts that are to go by then, in their order, also those that wait for approval or for the hours."""
    rows = broadcasts.c
    asked = and_(in_states(State.PENDING), text(LIVING), rows.send_at <= until)
    parts = (
        (and_(SCHEDULED, rows.due <= until), rows.due),
        (asked, without_index(rows.send_at)),
        (and_(in_states(State.HELD), rows.hold_until <= until), rows.hold_until),
    )
    found = [row for those, order in parts for row in _some(connection, workspace, those, order)]
    return sorted(found, key=starts_at)


def starts_at(row: Broadcast) -> Micros:
    """When it is to go, as far as that is known."""
    return row.due or row.hold_until or row.send_at or row.changed_at


def _some(
    connection: Connection, workspace: str, those: ColumnElement[bool], order: ColumnElement[Micros]
) -> list[Broadcast]:
    few = without_index(broadcasts.c.workspace) == workspace
    statement = select(broadcasts).where(those, few, understood(connection))
    return read_broadcasts(connection, statement.order_by(order).limit(MOST))


def recurring(connection: Connection, workspace: str, until: Micros) -> list[Schedule]:
    """The recurring broadcasts that have an occurrence by then, in their order."""
    due = schedules.due(connection, Kind.BROADCAST, until, MOST)
    return [one for one in due if one.workspace == workspace]
