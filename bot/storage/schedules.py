"""Schedules and their occurrences.

An occurrence is one row for each (schedule, wall clock time), however many processes make it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypedDict, Unpack

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Connection,
    Executable,
    RowMapping,
    Select,
    and_,
    bindparam,
    insert,
    literal_column,
    not_,
    or_,
    select,
    true,
    update,
)

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.errors import NotFound, NotUnderstood
from bot.domain.lifecycle import (
    OCCURRENCE_TRANSITIONS,
    SCHEDULE_TRANSITIONS,
    UNANSWERED,
    Ended,
    OccurrenceAction,
    OccurrenceState,
    ScheduleAction,
    ScheduleState,
    State,
)
from bot.domain.schedule import Kind, Occurrence, Schedule, StandingApproval
from bot.storage import broadcast_rows
from bot.storage.broadcast_rows import to_broadcast
from bot.storage.sql import alone, any_of, but, check_instant, insert_ignoring, known_words, read_each
from bot.storage.tables import SHAPE, broadcasts, occurrences, schedules, votes
from bot.storage.troubles import troubles_of
from bot.when.recurrence import Closed, Recurrence

UNDERSTOOD = and_(
    schedules.c.shape <= SHAPE,
    known_words(schedules.c.kind, Kind),
    known_words(schedules.c.state, ScheduleState),
    known_words(schedules.c.ended, Ended),
    known_words(schedules.c.closed, Closed),
)
OCCURRENCE_UNDERSTOOD = known_words(occurrences.c.state, OccurrenceState)

# A partial index is used only if the statement has the words of its definition.
ACTIVE = schedules.c.state == literal_column("'active'")
PAUSED = schedules.c.state == literal_column("'paused'")
LIVING = schedules.c.state.in_([state for state in ScheduleState if state is not ScheduleState.ENDED])


class ScheduleChanges(TypedDict, total=False):
    """Columns of a schedule that may change, with the values that `Schedule` has."""

    ended: Ended | None
    next_at: Micros | None
    next_local: str | None
    paused_until: Micros | None
    until: Micros | None
    remaining: int | None
    cover: StandingApproval | None


class OccurrenceChanges(TypedDict, total=False):
    """Columns of an occurrence that may change, with the values that `Occurrence` has."""

    broadcast: str | None
    channel: str | None
    ts: str | None
    draw_at: Micros | None
    tries: int
    snoozed_until: Micros | None
    by: str | None
    left_out: int


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


def _to_occurrence(row: RowMapping) -> Occurrence:
    fields = {field.name: row[field.name] for field in dataclasses.fields(Occurrence)}
    return Occurrence(**{**fields, "state": OccurrenceState(row["state"])})


def understood(connection: Connection) -> ColumnElement[bool]:
    """Match the schedules that this code can read, without those that are put off because reading failed."""
    return and_(UNDERSTOOD, but(schedules.c.id, troubles_of(connection).put_off("schedule")))


def _schedules(connection: Connection, statement: Executable) -> list[Schedule]:
    """Return those that can be read. One that cannot is put off for a while and does not block the others."""
    return read_each(connection, statement, _to_schedule, "schedule", "id")


def _read_occurrences(connection: Connection, statement: Executable) -> list[Occurrence]:
    return read_each(connection, statement, _to_occurrence, "turn", "name")


#: The name of an occurrence where it must be a single value.
_NAME = (occurrences.c.schedule + "/" + occurrences.c.local).label("name")
_ALL = select(occurrences, _NAME)


def _occurrences_understood(connection: Connection) -> ColumnElement[bool]:
    return and_(OCCURRENCE_UNDERSTOOD, but(_NAME.element, troubles_of(connection).put_off("turn")))


def add(connection: Connection, schedule: Schedule, *, since: Micros) -> Schedule:
    """Store a new schedule, or return the one that is already there.

    That is one with the same key, or a twin: the same wish of the same person, not ended and created after `since`. A
    twin means a repeated command.
    """
    alone(connection, f"asks:{schedule.workspace}/{schedule.owner}")  # else two commands at once would find no twin
    here, same = schedules.c.workspace == schedule.workspace, schedules.c.key == schedule.key
    lately = and_(LIVING, schedules.c.owner == schedule.owner, schedules.c.created_at >= since)
    for like in (same, lately):
        for found in _schedules(connection, select(schedules).where(here, like, understood(connection))):
            if found.key == schedule.key or found.wish == schedule.wish:
                return found
    fields = {field.name: getattr(schedule, field.name) for field in dataclasses.fields(Schedule)}
    connection.execute(insert(schedules).values(**_to_row(fields)))
    return schedule


def find(connection: Connection, workspace: str, id: str, *, lock: bool = False) -> Schedule:
    """Return the schedule as it stands. `lock` holds its row until the transaction ends.

    Raises NotFound, or NotUnderstood for one that this version cannot read.
    """
    statement = select(schedules).where(schedules.c.workspace == workspace, schedules.c.id == id)
    if lock:
        statement = statement.with_for_update()
    row = connection.execute(statement).mappings().first()
    if row is None:
        raise NotFound(id)
    if row["shape"] > SHAPE:
        raise NotUnderstood(id)
    try:
        return _to_schedule(row)
    except Exception as error:
        troubles_of(connection).struck("schedule", id, error, workspace)
        raise NotUnderstood(id) from None


def listed(connection: Connection, workspace: str, kind: Kind) -> list[Schedule]:
    """All that have not ended, by their next occurrence; those without one come last."""
    here = and_(schedules.c.workspace == workspace, LIVING, understood(connection))
    order = schedules.c.next_at.is_(None), schedules.c.next_at, schedules.c.created_at
    return _schedules(connection, select(schedules).where(here, schedules.c.kind == kind).order_by(*order))


def all_living(connection: Connection, kind: Kind) -> list[Schedule]:
    """Every schedule of a kind that has not ended, of every workspace."""
    living = and_(LIVING, schedules.c.kind == kind, understood(connection))
    return _schedules(connection, select(schedules).where(living))


def due(connection: Connection, kind: Kind, at: Micros, limit: int) -> list[Schedule]:
    """Active schedules of a kind whose next occurrence is not after this instant, the longest waiting first."""
    waiting = and_(ACTIVE, schedules.c.kind == kind, schedules.c.next_at <= at, understood(connection))
    return _schedules(connection, select(schedules).where(waiting).order_by(schedules.c.next_at).limit(limit))


def awake(connection: Connection, at: Micros, limit: int) -> list[Schedule]:
    """Schedules whose pause is over."""
    statement = select(schedules).where(PAUSED, schedules.c.paused_until <= at, understood(connection))
    return _schedules(connection, statement.limit(limit))


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
    return _to_schedule(row) if row else None


def keep_cover(connection: Connection, workspace: str, id: str, cover: StandingApproval | None) -> None:
    """Store the standing approval for later occurrences; None removes it."""
    here = and_(schedules.c.workspace == workspace, schedules.c.id == id)
    connection.execute(update(schedules).where(here).values(cover=_to_column(cover)))


# --- occurrences -----------------------------------------------------------------------------------------------------


def add_occurrence(connection: Connection, occurrence: Occurrence) -> bool:
    """Store an occurrence. True for the first process that makes it, False for every other one."""
    fields = {field.name: getattr(occurrence, field.name) for field in dataclasses.fields(Occurrence)}
    return insert_ignoring(connection, occurrences, [fields]) == 1


def occurrence_at(connection: Connection, workspace: str, channel: str, ts: str) -> Occurrence | None:
    """The occurrence whose post is at this place."""
    here = and_(occurrences.c.workspace == workspace, occurrences.c.channel == channel, occurrences.c.ts == ts)
    return next(iter(_read_occurrences(connection, _ALL.where(here, OCCURRENCE_UNDERSTOOD))), None)


def occurrences_of(connection: Connection, workspace: str, schedule: str, limit: int) -> list[Occurrence]:
    """The latest occurrences of a schedule, newest first."""
    mine = and_(occurrences.c.workspace == workspace, occurrences.c.schedule == schedule)
    statement = _ALL.where(mine, _occurrences_understood(connection)).order_by(occurrences.c.at.desc()).limit(limit)
    return _read_occurrences(connection, statement)


def living(connection: Connection, schedule: Schedule) -> list[Broadcast]:
    """The broadcasts that a schedule made and that may still be sent or await approval, the next one first.

    Those that this version cannot read are left out.
    """
    mine = and_(occurrences.c.workspace == schedule.workspace, occurrences.c.schedule == schedule.id)
    of = and_(broadcasts.c.workspace == occurrences.c.workspace, broadcasts.c.id == occurrences.c.broadcast)
    still = broadcasts.c.state.in_((State.PENDING, State.SCHEDULED, State.HELD, State.SENDING))
    known = broadcast_rows.understood(connection)
    statement = select(broadcasts).select_from(occurrences).join(broadcasts, of).where(mine, still, known)
    return read_each(connection, statement.order_by(occurrences.c.at), to_broadcast, "row", "id")


def drop_unread_votes(connection: Connection, schedule: Schedule, after: str, way: str, approver: str | None) -> None:
    """Drop the votes given in this way on occurrences after that local time that this version cannot read.

    `approver`: whose votes; None for all. A newer version could send these occurrences. Without the votes it may not.
    """
    later = select(occurrences.c.broadcast).where(
        occurrences.c.workspace == schedule.workspace,
        occurrences.c.schedule == schedule.id,
        occurrences.c.local > after,
    )
    unread = select(broadcasts.c.id).where(
        broadcasts.c.workspace == schedule.workspace,
        broadcasts.c.id.in_(later),
        not_(broadcast_rows.understood(connection)),
    )
    mine = and_(votes.c.workspace == schedule.workspace, votes.c.broadcast.in_(unread), votes.c.way == way)
    by = votes.c.approver == approver if approver is not None else true()
    connection.execute(votes.delete().where(mine, by))


def unanswered(connection: Connection, schedule: Schedule) -> Occurrence | None:
    """The occurrence of a reminder that nobody has answered yet, the newest if there are several, locked."""
    mine = and_(occurrences.c.workspace == schedule.workspace, occurrences.c.schedule == schedule.id)
    statement = (
        _ALL.where(mine, occurrences.c.state.in_(UNANSWERED))
        .order_by(occurrences.c.at.desc())
        .limit(1)
        .with_for_update()
    )
    return next(iter(_read_occurrences(connection, statement)), None)


def move_occurrence(
    connection: Connection,
    seen_as: Occurrence,
    action: OccurrenceAction,
    at: Micros,
    **changes: Unpack[OccurrenceChanges],
) -> Occurrence | None:
    """Take an occurrence one step along `OCCURRENCE_TRANSITIONS`. None when somebody else was faster."""
    after = OCCURRENCE_TRANSITIONS[seen_as.state, action]
    return _change_occurrence(connection, seen_as, {"state": after, "changed_at": at, **changes})


def touch_occurrence(
    connection: Connection, seen_as: Occurrence, at: Micros, **changes: Unpack[OccurrenceChanges]
) -> Occurrence | None:
    """Change fields without a step, under the same guard."""
    return _change_occurrence(connection, seen_as, {"changed_at": at, **changes})


def _change_occurrence(connection: Connection, seen_as: Occurrence, values: Mapping[str, Any]) -> Occurrence | None:
    """Change exactly the version last seen; None if it has moved on."""
    as_seen = and_(_is(seen_as), occurrences.c.version == seen_as.version)
    values = {**values, "version": seen_as.version + 1}
    statement = update(occurrences).where(as_seen).values(**values).returning(occurrences)
    row = connection.execute(statement).mappings().first()
    return _to_occurrence(row) if row else None


def reopen(connection: Connection, schedule: Schedule, at: Micros) -> None:
    """Settle the occurrences of a schedule that no longer posts.

    One that was to be posted again already has a post, which is drawn again without that promise. One that has not been
    posted is missed.
    """
    mine = and_(occurrences.c.workspace == schedule.workspace, occurrences.c.schedule == schedule.id)
    made = and_(occurrences.c.state == OccurrenceState.MADE, occurrences.c.broadcast.is_(None))
    again = or_(occurrences.c.state == OccurrenceState.SNOOZED, and_(made, occurrences.c.ts.is_not(None)))
    values = {"draw_at": at, "version": occurrences.c.version + 1, "changed_at": at}
    settled = OCCURRENCE_TRANSITIONS[OccurrenceState.SNOOZED, OccurrenceAction.SETTLE]
    missed = OCCURRENCE_TRANSITIONS[OccurrenceState.MADE, OccurrenceAction.MISS]
    for which, state in ((again, settled), (made, missed)):
        connection.execute(update(occurrences).where(mine, which).values(state=state, **values))


def woken(connection: Connection, at: Micros, limit: int) -> list[tuple[Occurrence, Schedule]]:
    """The snoozed occurrences whose snooze has ended, the longest waiting first."""
    behind = _with_schedule(connection).where(occurrences.c.draw_at <= at, _slept(at))
    found = _read_occurrences(connection, behind.order_by(occurrences.c.draw_at).limit(limit))
    return [pair for occurrence in found if (pair := _of_schedule(connection, occurrence)) is not None]


def _with_schedule(connection: Connection) -> Select[Any]:
    of = and_(schedules.c.workspace == occurrences.c.workspace, schedules.c.id == occurrences.c.schedule)
    return _ALL.join(schedules, of).where(understood(connection), _occurrences_understood(connection))


def _of_schedule(connection: Connection, occurrence: Occurrence) -> tuple[Occurrence, Schedule] | None:
    """Pair an occurrence with its schedule; None when that cannot be read."""
    try:
        return occurrence, find(connection, occurrence.workspace, occurrence.schedule)
    except NotFound:
        return None


def waits(connection: Connection, at: Micros) -> bool:
    """Whether there is a post to be made or drawn again."""
    behind = _with_schedule(connection).with_only_columns(occurrences.c.local).where(_to_draw(at)).limit(1)
    return connection.execute(behind).first() is not None


def take_occurrence(connection: Connection, at: Micros, again_at: Micros) -> tuple[Occurrence, Schedule] | None:
    """Return the occurrence whose post is to be made or drawn next.

    It is put off to `again_at`, so that nobody else draws it as well.
    """
    behind = _with_schedule(connection).where(_to_draw(at)).order_by(occurrences.c.draw_at).limit(1)
    for occurrence in _read_occurrences(connection, behind.with_for_update(skip_locked=True, of=occurrences)):
        put_off(connection, occurrence, again_at)
        return _of_schedule(connection, occurrence)
    return None


def put_off(connection: Connection, occurrence: Occurrence, at: Micros | None, *, tried: bool = False) -> None:
    """Draw it later; None gives it up."""
    again: dict[str, Any] = {"draw_at": at}
    if tried:
        again["tries"] = occurrences.c.tries + 1
    connection.execute(
        update(occurrences).where(_is(occurrence), occurrences.c.version == occurrence.version).values(**again)
    )


def drawn(
    connection: Connection,
    occurrence: Occurrence,
    channel: str,
    ts: str,
    state: OccurrenceState,
    *,
    again_at: Micros | None,
) -> None:
    """Record where its post is. If it has changed meanwhile, another drawing was asked for and still happens."""
    connection.execute(update(occurrences).where(_is(occurrence)).values(channel=channel, ts=ts, tries=0))
    same = and_(_is(occurrence), occurrences.c.version == occurrence.version)
    connection.execute(update(occurrences).where(same).values(draw_at=again_at, state=state))


def _to_draw(at: Micros) -> ColumnElement[bool]:
    """Match posts to draw, without ended snoozes: the clock decides whether those are posted again."""
    return and_(occurrences.c.draw_at <= at, not_(_slept(at)))


def _is_of(kind: Kind) -> ColumnElement[bool]:
    return schedules.c.kind == kind


def _slept(at: Micros | BindParameter[int]) -> ColumnElement[bool]:
    return and_(occurrences.c.state == OccurrenceState.SNOOZED, occurrences.c.snoozed_until <= at)


def _is(occurrence: Occurrence) -> Any:
    return and_(
        occurrences.c.workspace == occurrence.workspace,
        occurrences.c.schedule == occurrence.schedule,
        occurrences.c.local == occurrence.local,
    )


_AT, _AHEAD = bindparam("at", type_=BigInteger), bindparam("ahead", type_=BigInteger)
_CLOCK_WAITS = any_of(
    select(schedules.c.id).where(PAUSED, schedules.c.paused_until <= _AT, UNDERSTOOD),
    select(schedules.c.id).where(ACTIVE, _is_of(Kind.BROADCAST), schedules.c.next_at <= _AHEAD, UNDERSTOOD),
    select(schedules.c.id).where(ACTIVE, _is_of(Kind.REMINDER), schedules.c.next_at <= _AT, UNDERSTOOD),
    select(occurrences.c.local).where(occurrences.c.draw_at <= _AT, _slept(_AT)),
)


def clock_waits(connection: Connection, at: Micros, ahead: Micros) -> bool:
    """Whether a pause or a snooze is over, or an occurrence is to be made (of a broadcast: until `ahead`)."""
    return bool(connection.execute(_CLOCK_WAITS, {"at": at, "ahead": ahead}).scalar_one())
