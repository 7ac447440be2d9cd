"""Broadcasts: found, added, and moved from the state and version that the caller last saw."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Select,
    and_,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    true,
    union_all,
)

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.lifecycle import ENDED, TRANSITIONS, Action, Hold, State
from bot.domain.schedule import Digest
from bot.storage import homes, news
from bot.storage.audit import to_audit_row, write_audit
from bot.storage.broadcast_rows import (
    CHANGE,
    SCHEDULED,
    SHOWN,
    Changes,
    in_states,
    read_broadcasts,
    seen_values,
    to_broadcast,
    understood,
)
from bot.storage.campaigns import without_leftover
from bot.storage.notes import TO_AUDIT, TO_NOTES, Note, add_notes, to_note_rows
from bot.storage.sql import read_each, read_one, to_row, without_index
from bot.storage.steps import TakenStep, record
from bot.storage.tables import LIVING, broadcasts
from providers.base import Purpose
from providers.reading import UNREADABLE

#: What may still ring a phone, in the words of the index `ix_broadcasts_going`.
GOING = in_states(State.PENDING, State.SCHEDULED, State.HELD, State.SENDING, State.UNKNOWN)
#: A draft, or what ended without anything sent.
CAME_TO_NOTHING = (State.DRAFT, State.CANCELLED, State.REJECTED, State.FAILED, State.EXPIRED)


@dataclass(frozen=True)
class Step:
    """A step of a broadcast along `TRANSITIONS`, from exactly the row last seen; `changes`: of other columns."""

    seen_as: Broadcast
    action: Action
    actor: str
    at: Micros
    reason: str | None = None
    notes: Sequence[Note] = ()
    changes: Changes = dataclasses.field(default_factory=Changes)


def find(connection: Connection, workspace: str, id: str, *, lock: bool = False) -> Broadcast:
    """Return the broadcast as it stands. `lock` holds its row until the transaction ends.

    Raises NotFound, or NotUnderstood for one that this version cannot read.
    """
    return read_one(connection, broadcasts, to_broadcast, "row", workspace, id, lock)


def find_by_key(connection: Connection, workspace: str, key: str) -> Broadcast | None:
    statement = select(broadcasts).where(
        broadcasts.c.workspace == workspace, broadcasts.c.key == key, understood(connection)
    )
    return next(iter(read_broadcasts(connection, statement)), None)


def find_twin(connection: Connection, like: Broadcast, since: Micros) -> Broadcast | None:
    """The same request by the same person, still under way and asked a moment ago: a repeated command."""
    statement = (
        select(broadcasts)
        .where(
            broadcasts.c.workspace == like.workspace,
            broadcasts.c.requester == like.requester,
            broadcasts.c.created_at >= since,
            broadcasts.c.digest == like.digest,
            understood(connection),
            broadcasts.c.state.not_in([State.CANCELLED, State.REJECTED, State.FAILED, State.EXPIRED]),
        )
        .order_by(broadcasts.c.created_at.desc())
        .limit(3)  # one is enough, but might not be readable
    )
    return next(iter(read_broadcasts(connection, statement)), None)


@dataclass(frozen=True)
class Compared:
    """A broadcast, as far as is needed to compare it with another."""

    id: str
    requester: str
    digest: str
    created_at: Micros
    typed: str
    follows: str | None


def marketing_to_same_recipients(connection: Connection, like: Broadcast, since: Micros, limit: int) -> list[Compared]:
    """What was asked for as marketing for the same recipients since then, the newest first, whatever became of it.

    Also what had this purpose before an edit. Without tests and recurring broadcasts, and without another mode's.
    """
    rows = broadcasts.c
    was = or_(rows.purpose == Purpose.MARKETING, rows.marketing_until >= since)
    those = _to_recipients_of(like, rows.created_at >= since, was, rows.mode == like.mode)
    return _read_compared(connection, _the_latest(connection, those, rows.created_at, limit))


def maybe_duplicated(connection: Connection, like: Broadcast, since: Micros, limit: int = 50) -> list[Compared]:
    """What may ring the same phones: at most so many that were asked for since then, that went out since then, and
    that are still to go. The newest first, without tests and recurring broadcasts.

    It reads no history: each part has its own index.
    """
    rows = broadcasts.c
    asked = _to_recipients_of(like, rows.created_at >= since, rows.state.not_in(CAME_TO_NOTHING))
    # `changed_at` is never before `accepted_at`
    gone = _to_recipients_of(like, rows.changed_at >= since, rows.accepted_at >= since, by_change=True)
    going = _to_recipients_of(like, GOING)
    parts = ((asked, rows.created_at), (gone, rows.changed_at), (going, rows.created_at))
    each = (_the_latest(connection, those, by, limit).subquery() for those, by in parts)
    found = {one.id: one for one in _read_compared(connection, union_all(*(select(one) for one in each)))}
    return sorted(found.values(), key=lambda one: one.created_at, reverse=True)


def lately_to_same_recipients(
    connection: Connection, like: Broadcast, since: Micros, limit: int = 50
) -> list[Compared]:
    """What else was asked for or edited since then, and may ring the same phones, the latest first."""
    rows = broadcasts.c
    lately = rows.changed_at >= since, or_(rows.created_at >= since, rows.ruled_at >= since)
    those = _to_recipients_of(like, *lately, rows.state.not_in(CAME_TO_NOTHING))
    return _read_compared(connection, _the_latest(connection, those, rows.changed_at, limit))


def latest_sized(connection: Connection, like: Broadcast, since: Micros, limit: int = 5) -> list[Broadcast]:
    """Broadcasts whose size is known, asked for since then for the same recipients and purpose, the newest first."""
    rows = broadcasts.c
    same = rows.purpose == like.purpose, rows.mode == like.mode, rows.everyone == like.everyone
    those = _to_recipients_of(like, rows.created_at >= since, *same, rows.size < UNREADABLE)
    found = select(broadcasts).where(those, understood(connection)).order_by(rows.created_at.desc()).limit(limit)
    return [one for one in read_broadcasts(connection, found) if one.subscribers == like.subscribers]


def count_asked(connection: Connection, workspace: str, requester: str, since: Micros, most: int) -> int:
    """How many broadcasts this person has asked for since then, counted up to `most`; turns of schedules are none."""
    rows = broadcasts.c
    by_person = and_(rows.workspace == workspace, rows.requester == requester, rows.created_at > since)
    asked = select(rows.created_at).where(by_person, rows.schedule.is_(None)).limit(most)
    return connection.execute(select(func.count()).select_from(asked.subquery())).scalar_one()


def _the_latest(
    connection: Connection, those: ColumnElement[bool], by: ColumnElement[Micros], limit: int
) -> Select[Any]:
    compared = select(*(broadcasts.c[field.name] for field in dataclasses.fields(Compared)))
    return compared.where(those, understood(connection)).order_by(by.desc()).limit(limit)


def _read_compared(connection: Connection, found: Executable) -> list[Compared]:
    return [Compared(*row) for row in connection.execute(found)]


def _to_recipients_of(like: Broadcast, *more: ColumnElement[bool], by_change: bool = False) -> ColumnElement[bool]:
    """Match other broadcasts for the same recipients. `by_change`: few were changed, which is the shorter way."""
    rows = broadcasts.c
    account, target = (without_index(c) if by_change else c for c in (rows.account, rows.target))
    same = and_(rows.workspace == like.workspace, account == like.account, target == like.target)
    others = and_(rows.kind == like.kind, rows.id != like.id, rows.key != like.key)
    return and_(same, others, rows.test_of.is_(None), rows.schedule.is_(None), *more)


def latest(
    connection: Connection, workspace: str, limit: int, *, viewer: str | None = None, skip: int = 0
) -> list[Broadcast]:
    """The broadcasts that changed last, newest first, without the first `skip`.

    `viewer`: sees no drafts but their own.
    """
    theirs = true() if viewer is None else or_(SHOWN, broadcasts.c.requester == viewer)
    statement = (
        select(broadcasts)
        .where(broadcasts.c.workspace == workspace, theirs, understood(connection))
        .order_by(broadcasts.c.changed_at.desc())
        .limit(limit)
        .offset(skip)
    )
    return read_broadcasts(connection, statement)


def count_by_state(connection: Connection) -> dict[str, int]:
    """How many broadcasts are in each state, also where there are none; ended ones are not counted."""
    statement = select(broadcasts.c.state, func.count().label("number")).where(text(LIVING))
    found = {row.state: row.number for row in connection.execute(statement.group_by(broadcasts.c.state))}
    return {state: found.get(state, 0) for state in State if state not in ENDED}


def add(connection: Connection, broadcast: Broadcast, *, draw: bool, notes: Iterable[Note] = ()) -> None:
    """Store a new broadcast with its first audit row. Its card is drawn when `draw`."""
    fields = {field.name: getattr(broadcast, field.name) for field in dataclasses.fields(Broadcast)}
    draw_at = broadcast.created_at if draw else None
    connection.execute(insert(broadcasts).values(**to_row(fields), draw_at=draw_at))
    write_audit(connection, broadcast, broadcast.requester, Action.SUBMIT, None, broadcast.created_at)
    add_notes(connection, broadcast, broadcast.created_at, notes)
    at, actor = broadcast.created_at, broadcast.requester
    record(connection, [TakenStep(Action.SUBMIT, actor, None, at, at, broadcast)])
    if not draw:  # else its card stirs them
        homes.stir(connection, broadcast.workspace, at)


def move(
    connection: Connection,
    seen_as: Broadcast,
    action: Action,
    *,
    actor: str,
    at: Micros,
    reason: str | None = None,
    notes: Iterable[Note] = (),
    **changes: Unpack[Changes],
) -> Broadcast | None:
    """Take the broadcast one step along `TRANSITIONS`, from exactly the state, version and attempt last seen.

    Returns it as it stands afterwards, or None when somebody else moved it first (then nothing is written).
    """
    return next(iter(move_all(connection, [Step(seen_as, action, actor, at, reason, list(notes), changes)])), None)


def move_all(connection: Connection, steps: Iterable[Step]) -> list[Broadcast]:
    """Take each of these steps as `move` does, and write what they leave in the audit and the notes together."""
    taken = [(step, moved) for step in steps if (moved := _take(connection, step)) is not None]
    records = [
        to_audit_row(moved, step.actor, step.action, step.seen_as.state, step.at, step.reason) for step, moved in taken
    ]
    note_rows = [to_note_rows(moved, step.at, note) for step, moved in taken for note in step.notes]
    for statement, rows in ((TO_AUDIT, records), (TO_NOTES, note_rows)):
        if rows:
            connection.execute(statement, rows)
    for step, moved in taken:
        news.spread(connection, moved, step.action, step.actor, step.at, step.notes)
    record(connection, (_taken(step, moved) for step, moved in taken))
    for step, moved in taken:
        if State.DRAFT in (step.seen_as.state, moved.state):  # it may have no card
            homes.stir(connection, moved.workspace, step.at)
    return [moved for _, moved in taken]


def _take(connection: Connection, step: Step) -> Broadcast | None:
    after, at = TRANSITIONS[step.seen_as.state, step.action], step.at
    values = {"state": after, "changed_at": at, "draw_at": at, "voice_at": None, "voices": 0, **to_row(step.changes)}
    row = connection.execute(CHANGE, {**values, **seen_values(step.seen_as)}).mappings().first()
    return without_leftover(connection, to_broadcast(row), at, step.seen_as.account) if row else None


def _taken(step: Step, moved: Broadcast) -> TakenStep:
    before = step.seen_as
    return TakenStep(step.action, step.actor, before.state, before.changed_at, step.at, moved)


def touch(connection: Connection, seen_as: Broadcast, at: Micros, **changes: Unpack[Changes]) -> Broadcast | None:
    """Change fields without a step along the table (a vote, a staged campaign), under the same guard."""
    values = {"draw_at": at, **to_row(changes), **seen_values(seen_as)}
    row = connection.execute(CHANGE, values).mappings().first()
    return to_broadcast(row) if row else None


def count_held(connection: Connection, workspace: str, hold: Hold, until: Micros | None = None) -> int:
    """How many are held for this reason. `until`: only those that go on by themselves, by then."""
    statement = select(func.count()).select_from(broadcasts)
    mine = and_(broadcasts.c.workspace == workspace, in_states(State.HELD), broadcasts.c.hold == hold)
    if until is not None:
        mine = and_(mine, broadcasts.c.hold_until <= until)
    return connection.execute(statement.where(mine)).scalar_one()


def for_digest(connection: Connection, workspace: str, channel: str, since: Micros, until: Micros) -> Digest:
    """A channel's broadcasts for its digest: `today` holds those due by `until`, `sent` counts from `since`."""
    mine = broadcasts.c.workspace == workspace
    here, lives = and_(broadcasts.c.channel == channel, understood(connection)), text(LIVING)
    few = without_index(broadcasts.c.workspace) == workspace
    parts = {
        "waiting": and_(in_states(State.PENDING), lives, few, here),
        "held": and_(in_states(State.HELD), mine, here),
        "unknown": and_(in_states(State.UNKNOWN), lives, few, here),
        "today": and_(SCHEDULED, broadcasts.c.due <= until, few, here),
    }
    found: dict[str, list[Broadcast]] = {name: [] for name in parts}
    for part, row in read_each(connection, _some_of(parts), lambda row: (row["part"], to_broadcast(row)), "row", "id"):
        found[part].append(row)
    # `changed_at` is never before `accepted_at`
    sent = and_(mine, here, broadcasts.c.changed_at >= since, broadcasts.c.accepted_at >= since)
    return Digest(
        **found, sent=connection.execute(select(func.count()).select_from(broadcasts).where(sent)).scalar_one()
    )


def _some_of(parts: Mapping[str, ColumnElement[bool]], limit: int = 50) -> Executable:
    """The longest waiting of each part, in one statement; the column `part` names it."""
    longest = without_index(broadcasts.c.changed_at)
    wanted = (select(literal(name).label("part"), broadcasts).where(those) for name, those in parts.items())
    return union_all(*(select(each.order_by(longest).limit(limit).subquery()) for each in wanted))
