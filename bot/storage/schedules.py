"""The schedules of reminders and recurring broadcasts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypedDict, Unpack

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    RowMapping,
    and_,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from bot.domain.clock import SECOND, Micros
from bot.domain.lifecycle import (
    SCHEDULE_TRANSITIONS,
    Ended,
    ScheduleAction,
    ScheduleState,
)
from bot.domain.schedule import Kind, Schedule, StandingApproval
from bot.storage import homes
from bot.storage.failing_rows import failing_rows_of
from bot.storage.listings import Place
from bot.storage.sql import alone, but, check_instant, in_scope, known_words, read_each, read_one
from bot.storage.tables import SHAPE, schedules
from bot.when.recurrence import Closed, Recurrence

UNDERSTOOD = and_(
    schedules.c.shape <= SHAPE,
    known_words(schedules.c.kind, Kind),
    known_words(schedules.c.state, ScheduleState),
    known_words(schedules.c.ended, Ended),
    known_words(schedules.c.closed, Closed),
)

# A partial index is used only if the statement has the words of its definition.
ACTIVE = schedules.c.state == literal_column("'active'")
PAUSED = schedules.c.state == literal_column("'paused'")
LIVING = schedules.c.state.in_([state for state in ScheduleState if state is not ScheduleState.ENDED])


NEVER = 253_402_300_799 * SECOND  # stands for the next occurrence of one without any


class ScheduleChanges(TypedDict, total=False):
    """Columns of a schedule that may change, with the values that `Schedule` has."""

    ended: Ended | None
    next_at: Micros | None
    next_local: str | None
    paused_until: Micros | None
    until: Micros | None
    remaining: int | None
    cover: StandingApproval | None


def _to_row(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _to_column(value) for name, value in changes.items()}


def _to_column(value: Any) -> Any:
    return dataclasses.asdict(value) if isinstance(value, StandingApproval) else value


_SHOWN = ("next_at", "paused_until", "until", "created_at", "changed_at")


def _to_schedule(row: RowMapping) -> Schedule:
    """Read a row. Raises any exception if its columns are not as this code writes them."""
    fields = {field.name: row[field.name] for field in dataclasses.fields(Schedule)}
    fields["kind"], fields["state"], fields["closed"] = (
        Kind(row["kind"]),
        ScheduleState(row["state"]),
        Closed(row["closed"]),
    )
    fields["ended"] = Ended(row["ended"]) if row["ended"] else None
    if not isinstance(row["options"], dict):
        raise ValueError("the options are no table")
    if row["rule"] is not None:
        Recurrence.of(row["rule"])
    for name in _SHOWN:
        check_instant(row[name])
    if row["cover"]:
        fields["cover"] = StandingApproval(**{**row["cover"], "voters": tuple(row["cover"]["voters"])})
    return Schedule(**fields)


def understood(connection: Connection) -> ColumnElement[bool]:
    """Match the schedules that this code can read, without those that are put off because reading failed.

    They are those of the workspace that the connection works for.
    """
    readable = but(schedules.c.id, failing_rows_of(connection).put_off("schedule"))
    return and_(UNDERSTOOD, readable, in_scope(connection, schedules))


def read_schedules(connection: Connection, statement: Executable) -> list[Schedule]:
    """Return those that can be read. One that cannot is put off for a while and does not block the others."""
    return read_each(connection, statement, _to_schedule, "schedule", "id")


def count_asked(connection: Connection, workspace: str, owner: str, since: Micros) -> int:
    """How many schedules this person has made since then, whatever has become of them."""
    by_person = and_(schedules.c.workspace == workspace, schedules.c.owner == owner, schedules.c.created_at > since)
    return connection.execute(select(func.count()).select_from(schedules).where(by_person)).scalar_one()


def add(connection: Connection, schedule: Schedule, *, since: Micros) -> Schedule:
    """Store a new schedule, or return the one that is already there.

    That is one with the same key, or a twin: the same wish of the same person, not ended and created after `since`. A
    twin means a repeated command.
    """
    alone(connection, f"asks:{schedule.workspace}/{schedule.owner}")  # else two commands at once would find no twin
    here, same = schedules.c.workspace == schedule.workspace, schedules.c.key == schedule.key
    lately = and_(LIVING, schedules.c.owner == schedule.owner, schedules.c.created_at >= since)
    for like in (same, lately):
        for found in read_schedules(connection, select(schedules).where(here, like, understood(connection))):
            if found.key == schedule.key or found.wish == schedule.wish:
                return found
    fields = {field.name: getattr(schedule, field.name) for field in dataclasses.fields(Schedule)}
    connection.execute(insert(schedules).values(**_to_row(fields)))
    homes.stir(connection, schedule.workspace, schedule.created_at)
    return schedule


def same(connection: Connection, like: Schedule) -> list[Schedule]:
    """Those that have not ended and say the same at the same times: to the same audience, or in the same channel."""
    here = and_(schedules.c.workspace == like.workspace, LIVING, schedules.c.kind == like.kind)
    alike = and_(schedules.c.text == like.text, schedules.c.zone == like.zone, schedules.c.id != like.id)
    if like.kind is Kind.REMINDER:
        alike = and_(alike, schedules.c.channel == like.channel)
    some = select(schedules).where(here, alike, understood(connection)).order_by(schedules.c.created_at).limit(20)
    return [one for one in read_schedules(connection, some) if _says_the_same(one, like)]


def _says_the_same(one: Schedule, like: Schedule) -> bool:
    when, to = (one.rule or one.next_local), one.options.get("audience")
    return (when, to) == (like.rule or like.next_local, like.options.get("audience"))


def find(connection: Connection, workspace: str, id: str, *, lock: bool = False) -> Schedule:
    """Return the schedule as it stands. `lock` holds its row until the transaction ends.

    Raises NotFound, or NotUnderstood for one that this version cannot read.
    """
    return read_one(connection, schedules, _to_schedule, "schedule", workspace, id, lock)


def listed(connection: Connection, workspace: str, kind: Kind) -> list[Schedule]:
    """All that have not ended, by their next occurrence; those without one come last."""
    here = and_(schedules.c.workspace == workspace, LIVING, understood(connection))
    order = schedules.c.next_at.is_(None), schedules.c.next_at, schedules.c.created_at
    return read_schedules(connection, select(schedules).where(here, schedules.c.kind == kind).order_by(*order))


def page(connection: Connection, workspace: str, kind: Kind, after: Place | None, limit: int) -> list[Schedule]:
    """Some that have not ended, by their next occurrence; those without one come last. From after this place on."""
    here = and_(schedules.c.workspace == workspace, LIVING, schedules.c.kind == kind, understood(connection))
    at = func.coalesce(schedules.c.next_at, NEVER)
    if after is not None:
        here = and_(here, or_(at > after.at, and_(at == after.at, schedules.c.id > after.id)))
    return read_schedules(connection, select(schedules).where(here).order_by(at, schedules.c.id).limit(limit))


def place_of(schedule: Schedule) -> Place:
    """Where a schedule stands in the order of its board."""
    return Place(NEVER if schedule.next_at is None else schedule.next_at, schedule.id)


def all_living(connection: Connection, kind: Kind) -> list[Schedule]:
    """Every schedule of a kind that has not ended, of every workspace."""
    living = and_(LIVING, schedules.c.kind == kind, understood(connection))
    return read_schedules(connection, select(schedules).where(living))


def due(connection: Connection, kind: Kind, at: Micros, limit: int) -> list[Schedule]:
    """Active schedules of a kind whose next occurrence is not after this instant, the longest waiting first."""
    waiting = and_(ACTIVE, schedules.c.kind == kind, schedules.c.next_at <= at, understood(connection))
    return read_schedules(connection, select(schedules).where(waiting).order_by(schedules.c.next_at).limit(limit))


def awake(connection: Connection, at: Micros, limit: int) -> list[Schedule]:
    """Schedules whose pause is over."""
    statement = select(schedules).where(PAUSED, schedules.c.paused_until <= at, understood(connection))
    return read_schedules(connection, statement.limit(limit))


def move(
    connection: Connection, seen_as: Schedule, action: ScheduleAction, at: Micros, **changes: Unpack[ScheduleChanges]
) -> Schedule | None:
    """Take a schedule one step along `SCHEDULE_TRANSITIONS`. None when somebody else was faster."""
    after = SCHEDULE_TRANSITIONS[seen_as.state, action]
    return _change(connection, seen_as, {"state": after, "changed_at": at, **_to_row(changes)})


def touch(connection: Connection, seen_as: Schedule, at: Micros, **changes: Unpack[ScheduleChanges]) -> Schedule | None:
    """Change fields without a step, under the same guard."""
    return _change(connection, seen_as, {"changed_at": at, **_to_row(changes)})


def _change(connection: Connection, seen_as: Schedule, values: Mapping[str, Any]) -> Schedule | None:
    """Change exactly the version last seen; None if it has moved on."""
    as_seen = and_(
        schedules.c.workspace == seen_as.workspace,
        schedules.c.id == seen_as.id,
        schedules.c.version == seen_as.version,
        schedules.c.state == seen_as.state,
        schedules.c.next_local.is_not_distinct_from(seen_as.next_local),
        UNDERSTOOD,
    )
    values = {**values, "version": seen_as.version + 1}
    row = connection.execute(update(schedules).where(as_seen).values(**values).returning(schedules)).mappings().first()
    if row:
        homes.stir(connection, seen_as.workspace, row["changed_at"])
    return _to_schedule(row) if row else None


def keep_cover(connection: Connection, workspace: str, id: str, cover: StandingApproval | None) -> None:
    """Store the standing approval for later occurrences; None removes it."""
    here = and_(schedules.c.workspace == workspace, schedules.c.id == id)
    connection.execute(update(schedules).where(here).values(cover=_to_column(cover)))
