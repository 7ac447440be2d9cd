"""The occurrences of schedules: one row for each (schedule, wall clock time), however many processes make it."""

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
    not_,
    or_,
    select,
    true,
    update,
)

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.errors import NotFound
from bot.domain.lifecycle import OCCURRENCE_TRANSITIONS, UNANSWERED, OccurrenceAction, OccurrenceState, State
from bot.domain.schedule import Kind, Occurrence, Schedule
from bot.storage import broadcast_rows
from bot.storage import schedules as schedule_rows
from bot.storage.broadcast_rows import to_broadcast
from bot.storage.failing_rows import failing_rows_of
from bot.storage.sql import any_of, but, in_scope, insert_ignoring, known_words, read_each, scope_of, within
from bot.storage.tables import broadcasts, occurrences, schedules, votes

UNDERSTOOD = known_words(occurrences.c.state, OccurrenceState)


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


def _to_occurrence(row: RowMapping) -> Occurrence:
    fields = {field.name: row[field.name] for field in dataclasses.fields(Occurrence)}
    return Occurrence(**{**fields, "state": OccurrenceState(row["state"])})


def _occurrences(connection: Connection, statement: Executable) -> list[Occurrence]:
    return read_each(connection, statement, _to_occurrence, "turn", "name")


#: The name of an occurrence where it must be a single value.
_NAME = (occurrences.c.schedule + "/" + occurrences.c.local).label("name")
_ALL = select(occurrences, _NAME)


def _understood(connection: Connection) -> ColumnElement[bool]:
    readable = but(_NAME.element, failing_rows_of(connection).put_off("turn"))
    return and_(UNDERSTOOD, readable, in_scope(connection, occurrences))


def add(connection: Connection, occurrence: Occurrence) -> bool:
    """Store an occurrence. True for the first process that makes it, False for every other one."""
    fields = {field.name: getattr(occurrence, field.name) for field in dataclasses.fields(Occurrence)}
    return insert_ignoring(connection, occurrences, [fields]) == 1


def find_posted(connection: Connection, workspace: str, channel: str, ts: str) -> Occurrence | None:
    """The occurrence whose post is at this place."""
    here = and_(occurrences.c.workspace == workspace, occurrences.c.channel == channel, occurrences.c.ts == ts)
    return next(iter(_occurrences(connection, _ALL.where(here, UNDERSTOOD))), None)


def latest(connection: Connection, workspace: str, schedule: str, limit: int) -> list[Occurrence]:
    """The latest occurrences of a schedule, newest first."""
    mine = and_(occurrences.c.workspace == workspace, occurrences.c.schedule == schedule)
    statement = _ALL.where(mine, _understood(connection)).order_by(occurrences.c.at.desc()).limit(limit)
    return _occurrences(connection, statement)


def broadcasts_made(connection: Connection, schedule: Schedule) -> list[Broadcast]:
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
    return next(iter(_occurrences(connection, statement)), None)


def move(
    connection: Connection,
    seen_as: Occurrence,
    action: OccurrenceAction,
    at: Micros,
    **changes: Unpack[OccurrenceChanges],
) -> Occurrence | None:
    """Take an occurrence one step along `OCCURRENCE_TRANSITIONS`. None when somebody else was faster."""
    after = OCCURRENCE_TRANSITIONS[seen_as.state, action]
    return _change(connection, seen_as, {"state": after, "changed_at": at, **changes})


def touch(
    connection: Connection, seen_as: Occurrence, at: Micros, **changes: Unpack[OccurrenceChanges]
) -> Occurrence | None:
    """Change fields without a step, under the same guard."""
    return _change(connection, seen_as, {"changed_at": at, **changes})


def _change(connection: Connection, seen_as: Occurrence, values: Mapping[str, Any]) -> Occurrence | None:
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
    found = _occurrences(connection, behind.order_by(occurrences.c.draw_at).limit(limit))
    return [pair for occurrence in found if (pair := _of_schedule(connection, occurrence)) is not None]


def snoozed(connection: Connection, workspace: str, limit: int) -> list[tuple[Occurrence, Schedule]]:
    """The occurrences that are snoozed, the next one first."""
    asleep = and_(occurrences.c.draw_at.is_not(None), occurrences.c.state == OccurrenceState.SNOOZED)
    here = _with_schedule(connection).where(occurrences.c.workspace == workspace, asleep)
    found = _occurrences(connection, here.order_by(occurrences.c.snoozed_until).limit(limit))
    return [pair for occurrence in found if (pair := _of_schedule(connection, occurrence)) is not None]


def _with_schedule(connection: Connection) -> Select[Any]:
    of = and_(schedules.c.workspace == occurrences.c.workspace, schedules.c.id == occurrences.c.schedule)
    return _ALL.join(schedules, of).where(schedule_rows.understood(connection), _understood(connection))


def _of_schedule(connection: Connection, occurrence: Occurrence) -> tuple[Occurrence, Schedule] | None:
    """Pair an occurrence with its schedule; None when that cannot be read."""
    try:
        return occurrence, schedule_rows.find(connection, occurrence.workspace, occurrence.schedule)
    except NotFound:
        return None


def waits(connection: Connection, at: Micros) -> bool:
    """Whether there is a post to be made or drawn again."""
    behind = _with_schedule(connection).with_only_columns(occurrences.c.local).where(_to_draw(at)).limit(1)
    return connection.execute(behind).first() is not None


def take(connection: Connection, at: Micros, again_at: Micros) -> tuple[Occurrence, Schedule] | None:
    """Return the occurrence whose post is to be made or drawn next.

    It is put off to `again_at`, so that nobody else draws it as well.
    """
    behind = _with_schedule(connection).where(_to_draw(at)).order_by(occurrences.c.draw_at).limit(1)
    for occurrence in _occurrences(connection, behind.with_for_update(skip_locked=True, of=occurrences)):
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


def _slept(at: Micros | BindParameter[int]) -> ColumnElement[bool]:
    return and_(occurrences.c.state == OccurrenceState.SNOOZED, occurrences.c.snoozed_until <= at)


def _is(occurrence: Occurrence) -> Any:
    return and_(
        occurrences.c.workspace == occurrence.workspace,
        occurrences.c.schedule == occurrence.schedule,
        occurrences.c.local == occurrence.local,
    )


_AT, _AHEAD = bindparam("at", type_=BigInteger), bindparam("ahead", type_=BigInteger)
_READABLE = select(schedules.c.id).where(schedule_rows.UNDERSTOOD, within(schedules))
_CLOCK_WAITS = any_of(
    _READABLE.where(schedule_rows.PAUSED, schedules.c.paused_until <= _AT),
    _READABLE.where(schedule_rows.ACTIVE, schedules.c.kind == Kind.BROADCAST, schedules.c.next_at <= _AHEAD),
    _READABLE.where(schedule_rows.ACTIVE, schedules.c.kind == Kind.REMINDER, schedules.c.next_at <= _AT),
    select(occurrences.c.local).where(occurrences.c.draw_at <= _AT, _slept(_AT), within(occurrences)),
)


def clock_waits(connection: Connection, at: Micros, ahead: Micros) -> bool:
    """Whether a pause or a snooze is over, or an occurrence is to be made (of a broadcast: until `ahead`)."""
    return bool(connection.execute(_CLOCK_WAITS, {"at": at, "ahead": ahead, **scope_of(connection)}).scalar_one())
