"""All SQL about broadcasts, as plain functions of a sync `Connection`.

A row moves only from the state and version that the caller last saw, and who moved it is written in the same
transaction. Every function here runs inside a transaction that somebody else began.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    ColumnElement,
    Connection,
    Executable,
    Integer,
    RowMapping,
    Select,
    String,
    Table,
    Values,
    and_,
    bindparam,
    case,
    cast,
    column,
    exists,
    false,
    func,
    insert,
    inspect,
    literal,
    literal_column,
    not_,
    or_,
    select,
    text,
    true,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from bot.broadcast import (
    ENDED,
    TRANSITIONS,
    Action,
    Broadcast,
    Hold,
    Micros,
    NotFound,
    NotUnderstood,
    Phase,
    Sentence,
    State,
    moment,
)
from bot.tables import (
    LIVING,
    REVISION,
    SHAPE,
    audit,
    broadcasts,
    cards,
    dispatches,
    kept,
    leftovers,
    notes,
    posts,
    seen,
    templates,
    votes,
)
from bot.troubles import troubles_of
from providers.base import AudienceKind, Purpose, Staged

T = TypeVar("T")
Key = TypeVar("Key", bound=tuple[str, ...])
Owner = tuple[str, str]  # (workspace, broadcast id)

MENTIONED = 255  # characters of ids that one note or post may name at its head
AT_ONCE = 100  # rows that one transaction takes when many wait: soon over, however far away the database is
IN_A_STATEMENT = 1000  # rows: PostgreSQL and SQLite take some 32,000 parameters

BREAKER_FAILURES = 3  # in a row, before nobody tries an account for a while

RECALLS_WAITED_FOR = 3  # tries: what is still open after them may stand in the way, and people are told of it


#: States in which nothing that was prepared at the vendor is of use any more.
GIVEN_UP = frozenset(
    {State.PENDING, State.HELD, State.CANCELLED, State.FAILED, State.EXPIRED, State.REJECTED, State.DRAFT}
)


def known_words(column: ColumnElement[Any], words: type[StrEnum]) -> ColumnElement[bool]:
    """Does the column hold none but these words, or nothing? Written so that no index is chosen for it, and so that
    PostgreSQL takes it for likely: it would else read all of a workspace for the ten that changed last."""
    listed = ", ".join(f"'{word}'" for word in words)
    return case((literal_column(f"{column} NOT IN ({listed})", Boolean), false()), else_=true())


#: Rows that a newer version wrote in a way that this code cannot read are left alone, by every question for work.
UNDERSTOOD = and_(
    broadcasts.c.shape <= SHAPE,
    known_words(broadcasts.c.state, State),
    known_words(broadcasts.c.phase, Phase),
    known_words(broadcasts.c.hold, Hold),
    known_words(broadcasts.c.kind, AudienceKind),
    known_words(broadcasts.c.purpose, Purpose),
)

#: Decisions and ends, told also where a request was typed.
TOLD_WHERE_ASKED = frozenset(
    {
        *(Action.APPROVE, Action.REJECT, Action.WITHDRAW, Action.CANCEL, Action.STOP, Action.DROP, Action.EXPIRE),
        *(Action.HOLD, Action.SEND_NOW, Action.REPLAN, Action.LAPSE, Action.OUTGROW, Action.REFUSE, Action.ACCEPT),
        *(Action.LOSE_TRACK, Action.PROVE, Action.MARK_SENT, Action.MARK_NOT_SENT, Action.FINISH),
    }
)

SHRUNK = -1  # a card of an earlier version, which shows a link to the newer one and no revision any more


def _in(*states: State) -> ColumnElement[bool]:
    """The states as words of the statement: a partial index is found only by the words that it was made with."""
    words: list[ColumnElement[str]] = [literal_column(f"'{state}'") for state in states]
    return broadcasts.c.state.in_(words) if len(words) > 1 else broadcasts.c.state == words[0]


SENDING, SCHEDULED = _in(State.SENDING), _in(State.SCHEDULED)

# Making a statement costs more than running it, so what writes each step of each broadcast is made once.
_SEEN = ("workspace", "id", "state", "version", "attempt")
_SEEN_OR_NONE = ("owner", "phase")


def _seen(name: str) -> BindParameter[Any]:
    return bindparam(f"seen_{name}", type_=broadcasts.c[name].type)


#: The row as somebody last saw it. Attempt and owner are the fencing token: one whose lease was taken over matches
#: nothing any more. `_bound` gives its values.
AS_SEEN = and_(
    *(broadcasts.c[name] == _seen(name) for name in _SEEN),
    *(broadcasts.c[name].is_not_distinct_from(_seen(name)) for name in _SEEN_OR_NONE),
    UNDERSTOOD,
)
_CHANGE = update(broadcasts).where(AS_SEEN).values(revision=broadcasts.c.revision + 1).returning(broadcasts)


def _bound(seen_as: Broadcast) -> dict[str, Any]:
    return {f"seen_{name}": getattr(seen_as, name) for name in (*_SEEN, *_SEEN_OR_NONE)}


_TO_AUDIT, _TO_NOTES = insert(audit).inline(), insert(notes).inline()  # nobody asks for their numbers

NO_LEASE: dict[str, None] = {"phase": None, "owner": None, "lease_until": None}
NOT_AGREED: dict[str, None] = {**dict.fromkeys(("due", "start_at", "approved_at", "hold", "hold_until")), **NO_LEASE}


@dataclass(frozen=True)
class Note:
    """Something that the thread is told once. `mention`: ids of people, with spaces; `aloud`: in the channel too."""

    sentence: Sentence
    mention: str | None = None
    aloud: bool = False


@dataclass(frozen=True)
class Step:
    """A step of a broadcast along `TRANSITIONS`, from exactly how it was last seen; `changes` of other columns."""

    seen_as: Broadcast
    action: Action
    actor: str
    at: Micros
    reason: str | None = None
    said: Sequence[Note] = ()
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class PendingNote:
    seq: int
    workspace: str
    broadcast: str
    note: Note
    at: Micros
    tries: int


@dataclass(frozen=True)
class PendingPost:
    """A message that belongs to no card. `place`: a channel, or a person who is told directly."""

    seq: int
    workspace: str
    place: str
    sentence: Sentence
    mention: str | None
    tries: int
    at: Micros
    draft: str | None = None  # the id of a draft that it has a button to open


@dataclass(frozen=True)
class Card:
    workspace: str
    broadcast: str
    version: int
    channel: str
    ts: str
    drawn: int
    #: What it shows that an approval hangs on; and from which `drawing` on, and `since` when, it shows no less.
    facts: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Leftover:
    """A campaign that lies prepared at a vendor and will not be sent."""

    account: str
    workspace: str
    broadcast: str
    staged: Staged
    tries: int


@dataclass(frozen=True, kw_only=True)
class Template:
    """A text that somebody kept under a name, with what it is usually sent as."""

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


@dataclass(frozen=True)
class Vote:
    approver: str
    way: str
    at: Micros
    digest: str


# --- rows and values -------------------------------------------------------------------------------------------------


def _to_row(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _to_column(value) for name, value in changes.items()}


def _to_column(value: Any) -> Any:
    if isinstance(value, Staged):
        cost = None if value.cost is None else str(value.cost)
        return {**dataclasses.asdict(value), "cost": cost}
    if isinstance(value, Sentence):
        return value.plain()
    return list(value) if isinstance(value, tuple) else value


_SHOWN = ("send_at", "start_at", "due", "hold_until", "expires_at", "created_at", "changed_at")


def to_broadcast(row: RowMapping) -> Broadcast:
    """Raises whatever its columns come to when they are not as this code writes them."""
    fields = {field.name: row[field.name] for field in dataclasses.fields(Broadcast)}
    fields["counts"] = to_counts(row["counts"])
    fields["state"] = State(row["state"])
    fields["phase"] = Phase(row["phase"]) if row["phase"] else None
    fields["hold"] = Hold(row["hold"]) if row["hold"] else None
    fields["kind"], fields["purpose"] = AudienceKind(row["kind"]), Purpose(row["purpose"])
    for name in ("subscribers", "approvers", "ids"):
        fields[name] = _to_texts(row[name])
    fields["staged"] = _to_staged(row["staged"])
    fields["failure"] = Sentence.of(row["failure"]) if row["failure"] else None
    for name in _SHOWN:
        check_instant(row[name])
    return Broadcast(**fields)


def understood(connection: Connection) -> ColumnElement[bool]:
    """The broadcasts that this code can read, without those that it was found to stumble over."""
    return and_(UNDERSTOOD, but(broadcasts.c.id, troubles_of(connection).put_off("row")))


def but(column: ColumnElement[Any], stumbled: Sequence[str]) -> ColumnElement[bool]:
    """Without the rows that were stumbled over."""
    if not stumbled:
        return true()
    return column.not_in([int(id) for id in stumbled] if isinstance(column.type, Integer) else stumbled)


def _broadcasts(connection: Connection, statement: Executable) -> list[Broadcast]:
    """Those that can be read; one that cannot is left alone for a while, and keeps no other one waiting."""
    return read_each(connection, statement, to_broadcast, "row", "id")


def read_each(
    connection: Connection, statement: Executable, read: Callable[[RowMapping], T], work: str, key: str
) -> list[T]:
    """What each row says, read for itself."""
    troubles, found = troubles_of(connection), []
    for row in connection.execute(statement).mappings():
        try:
            found.append(read(row))
        except Exception as error:  # whatever is in it: the others are read
            troubles.struck(work, row[key], error, row.get("workspace") or "")
    return found


def check_instant(value: Micros | None) -> None:
    """Raises TypeError, ValueError, OverflowError or OSError for what is no time that can be shown."""
    if value is not None:
        moment(value)


def to_counts(value: Any) -> dict[str, int]:
    """Raises ValueError for what no receipt can be added to."""
    if not isinstance(value, dict) or not all(type(number) is int for number in value.values()):
        raise ValueError("the counts are no table of numbers")
    return value


def _to_texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError("this is no list of texts")
    return tuple(value)


def _to_staged(value: Mapping[str, Any] | None) -> Staged | None:
    if value is None:
        return None
    cost = value["cost"]
    staged = Staged(**{**value, "cost": None if cost is None else Decimal(cost)})
    if type(staged.id) is not str or type(staged.ready) is not bool or type(staged.contacts) not in (int, type(None)):
        raise ValueError("nothing is prepared like this")
    return staged


def insert_ignoring(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert what is not there yet; how many were new. Many rows take few statements, as the database may be far away,
    and little time: thousands of them may be a vendor's answer."""
    statement = insert_into(connection, table).on_conflict_do_nothing()
    if len(rows) == 1:
        return connection.execute(statement, dict(rows[0])).rowcount
    new = statement.returning(*table.primary_key)
    return sum(len(connection.execute(new, [dict(row) for row in batch]).all()) for batch in batched(rows))


def insert_into(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def batched(items: Iterable[T]) -> Iterator[tuple[T, ...]]:
    """As many at a time as a statement takes parameters for."""
    waiting = iter(items)
    while batch := tuple(islice(waiting, IN_A_STATEMENT)):
        yield batch


def with_keys(
    connection: Connection, statement: Select[Any], columns: Sequence[ColumnElement[str]], keys: Iterable[Key]
) -> Iterator[tuple[Key, RowMapping]]:
    """The rows that have one of these keys in these columns, each with its key.

    A join, which goes through an index in both databases: SQLite looks for `(a, b) IN (...)` from end to end. One key
    alone is named in the statement, which is then not compiled anew each time.
    """
    for some in batched(sorted(keys)):
        wanted: dict[tuple[str, ...], Key] = {tuple(key): key for key in some}
        sought = some[0] if len(some) == 1 else _given(some)
        found = statement.where(*(one == value for one, value in zip(columns, sought, strict=True)))
        for row in connection.execute(found).mappings():
            yield wanted[tuple(row[one] for one in columns)], row


def _given(keys: Sequence[tuple[str, ...]]) -> list[ColumnElement[str]]:
    """The columns of a table that is these keys."""
    named = [column(f"key{place}", String) for place in range(len(keys[0]))]
    return list(Values(*named, name="given").data(keys).cte("given").c)


def first_time(connection: Connection, workspace: str, key: str, at: Micros) -> bool:
    """True for the first to bring this key (an event id, a trigger), false for every redelivery of it."""
    return insert_ignoring(connection, seen, [{"workspace": workspace, "key": key, "at": at}]) == 1


def was_seen(connection: Connection, workspace: str, key: str) -> bool:
    statement = select(seen.c.at).where(seen.c.workspace == workspace, seen.c.key == key)
    return connection.execute(statement).first() is not None


def keep_latest(connection: Connection, workspace: str, key: str, at: Micros) -> None:
    """Remember when this last happened; an earlier time changes nothing."""
    if insert_ignoring(connection, seen, [{"workspace": workspace, "key": key, "at": at}]):
        return
    same = and_(seen.c.workspace == workspace, seen.c.key == key, seen.c.at < at)
    connection.execute(update(seen).where(same).values(at=at))


def last_time(connection: Connection, workspace: str, key: str) -> Micros:
    """When it last happened; 0 for never."""
    statement = select(seen.c.at).where(seen.c.workspace == workspace, seen.c.key == key)
    return connection.execute(statement).scalar_one_or_none() or 0


def last_times(connection: Connection, workspace: str, keys: Sequence[str]) -> dict[str, Micros]:
    """When each of these last happened, of those that ever did."""
    statement = select(seen.c.key, seen.c.at).where(seen.c.workspace == workspace, seen.c.key.in_(keys))
    return {row.key: row.at for row in connection.execute(statement)}


def forget_seen(connection: Connection, before: Micros, limit: int = IN_A_STATEMENT) -> None:
    """Forget the oldest of what was seen before then: few at a time, since people wait for the same writer."""
    old = seen.c.at < before
    further = connection.execute(select(seen.c.at).where(old).order_by(seen.c.at).offset(limit).limit(1)).scalar()
    connection.execute(seen.delete().where(old if further is None else seen.c.at <= further))


# --- reading ---------------------------------------------------------------------------------------------------------


def find(connection: Connection, workspace: str, id: str, *, lock: bool = False) -> Broadcast:
    """The broadcast as it stands. `lock` holds its row until the transaction ends. Raises NotFound; NotUnderstood for
    one that a newer version looks after."""
    statement = select(broadcasts).where(broadcasts.c.workspace == workspace, broadcasts.c.id == id)
    if lock:
        statement = statement.with_for_update()
    row = connection.execute(statement).mappings().first()
    if row is None:
        raise NotFound(id)
    if row["shape"] > SHAPE:
        raise NotUnderstood(id)
    try:
        return to_broadcast(row)
    except Exception as error:
        troubles_of(connection).struck("row", id, error, workspace)
        raise NotUnderstood(id) from None


def find_all(connection: Connection, ids: Collection[Owner], *, lock: bool = False) -> dict[Owner, Broadcast]:
    """Those of these (workspace, id) that are there and that this version looks after."""
    key = broadcasts.c.workspace, broadcasts.c.id
    statement = select(broadcasts).where(understood(connection)).order_by(*key)
    rows = with_keys(connection, statement.with_for_update() if lock else statement, key, ids)
    found = {}
    for owner, row in rows:
        with troubles_of(connection).alone("row", owner[1], owner[0]):
            found[owner] = to_broadcast(row)
    return found


def find_by_key(connection: Connection, workspace: str, key: str) -> Broadcast | None:
    statement = select(broadcasts).where(
        broadcasts.c.workspace == workspace, broadcasts.c.key == key, understood(connection)
    )
    return next(iter(_broadcasts(connection, statement)), None)


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
        .limit(3)  # one might do, and might not be readable
    )
    return next(iter(_broadcasts(connection, statement)), None)


def latest(connection: Connection, workspace: str, limit: int, *, viewer: str | None = None) -> list[Broadcast]:
    """What changed last, newest first. `viewer`: who is shown no draft but their own."""
    theirs = true() if viewer is None else or_(broadcasts.c.state != State.DRAFT, broadcasts.c.requester == viewer)
    statement = (
        select(broadcasts)
        .where(broadcasts.c.workspace == workspace, theirs, understood(connection))
        .order_by(broadcasts.c.changed_at.desc())
        .limit(limit)
    )
    return _broadcasts(connection, statement)


def count_by_state(connection: Connection) -> dict[str, int]:
    """How many broadcasts stand in each state, those without any included; what has ended is not counted."""
    statement = select(broadcasts.c.state, func.count().label("number")).where(text(LIVING))
    found = {row.state: row.number for row in connection.execute(statement.group_by(broadcasts.c.state))}
    return {state: found.get(state, 0) for state in State if state not in ENDED}


def votes_for(connection: Connection, broadcast: Broadcast) -> list[Vote]:
    """The votes on the current version, in the order in which they came."""
    statement = (
        select(votes)
        .where(
            votes.c.workspace == broadcast.workspace,
            votes.c.broadcast == broadcast.id,
            votes.c.version == broadcast.version,
        )
        .order_by(votes.c.at)
    )
    rows = connection.execute(statement).mappings()
    return [Vote(row["approver"], row["way"], row["at"], row["digest"]) for row in rows]


def history(connection: Connection, workspace: str, id: str) -> list[RowMapping]:
    """The audit of one broadcast, oldest first."""
    statement = select(audit).where(audit.c.workspace == workspace, audit.c.broadcast == id).order_by(audit.c.seq)
    return list(connection.execute(statement).mappings())


def audit_since(connection: Connection, since: Micros) -> list[RowMapping]:
    """The whole audit from an instant on, oldest first."""
    statement = select(audit).where(audit.c.at >= since).order_by(audit.c.seq)
    return list(connection.execute(statement).mappings())


# --- writing ---------------------------------------------------------------------------------------------------------


def add(connection: Connection, broadcast: Broadcast, *, draw: bool, said: Iterable[Note] = ()) -> None:
    """Store a new broadcast with its first audit row. Its card is drawn when `draw`."""
    fields = {field.name: getattr(broadcast, field.name) for field in dataclasses.fields(Broadcast)}
    draw_at = broadcast.created_at if draw else None
    connection.execute(insert(broadcasts).values(**_to_row(fields), draw_at=draw_at))
    write_audit(connection, broadcast, broadcast.requester, Action.SUBMIT, None, broadcast.created_at)
    say(connection, broadcast, broadcast.created_at, said)


def move(
    connection: Connection,
    seen_as: Broadcast,
    action: Action,
    *,
    actor: str,
    at: Micros,
    reason: str | None = None,
    said: Iterable[Note] = (),
    **changes: Any,
) -> Broadcast | None:
    """Take the broadcast one step along `TRANSITIONS`, from exactly the state, version and attempt last seen.

    Returns it as it stands afterwards, or None when somebody else moved it first (then nothing is written).
    """
    return next(iter(move_all(connection, [Step(seen_as, action, actor, at, reason, list(said), changes)])), None)


def move_all(connection: Connection, steps: Iterable[Step]) -> list[Broadcast]:
    """Take each of these steps as `move` does, and write what they leave in the audit and the notes together."""
    taken = [(step, moved) for step in steps if (moved := _take(connection, step)) is not None]
    records = [
        _record(moved, step.actor, step.action, step.seen_as.state, step.at, step.reason) for step, moved in taken
    ]
    told = [_told(moved, step.at, note) for step, moved in taken for note in step.said]
    for statement, rows in ((_TO_AUDIT, records), (_TO_NOTES, told)):
        if rows:
            connection.execute(statement, rows)
    for step, moved in taken:
        _tell_where_asked(connection, step, moved)
    return [moved for _, moved in taken]


def _take(connection: Connection, step: Step) -> Broadcast | None:
    after, at = TRANSITIONS[step.seen_as.state, step.action], step.at
    values = {"state": after, "changed_at": at, "draw_at": at, "voice_at": None, "voices": 0, **_to_row(step.changes)}
    row = connection.execute(_CHANGE, {**values, **_bound(step.seen_as)}).mappings().first()
    return _without_leftover(connection, to_broadcast(row), at) if row else None


def _tell_where_asked(connection: Connection, step: Step, moved: Broadcast) -> None:
    """A request whose card stands with the approvers: each decision and each end is told where it was typed, too."""
    if moved.asked_in is None or step.action not in TOLD_WHERE_ASKED:
        return
    for note in step.said[:1]:
        told = Sentence("About *{id}*: {told}", {"id": moved.id, "told": note.sentence})
        key = f"asked:{moved.id}:{moved.version}:{step.action}:{step.at}"
        post(connection, moved.workspace, key, moved.asked_in, told, moved.requester, step.at)


def was_told_where_asked(connection: Connection, broadcast: Broadcast, at: Micros) -> bool:
    """Was what happened to it then told where it was typed, too?"""
    key = posts.c.key.like(f"asked:{broadcast.id}:%:{at}")
    found = select(posts.c.seq).where(posts.c.workspace == broadcast.workspace, key).limit(1)
    return broadcast.asked_in is not None and connection.execute(found).first() is not None


def _without_leftover(connection: Connection, moved: Broadcast, at: Micros) -> Broadcast:
    """What lies prepared at the vendor for a broadcast that does not go on is thrown away there."""
    if moved.staged is None or moved.state not in GIVEN_UP:
        return moved
    leave_over(connection, moved, moved.staged, at)
    here = and_(broadcasts.c.workspace == moved.workspace, broadcasts.c.id == moved.id)
    connection.execute(update(broadcasts).where(here).values(staged=None))
    return dataclasses.replace(moved, staged=None)


def leave_over(connection: Connection, broadcast: Broadcast, staged: Staged, at: Micros) -> None:
    """Remember to recall this campaign, not before `at`."""
    row: dict[str, Any] = {"account": broadcast.account, "id": staged.id, "workspace": broadcast.workspace}
    row |= {"broadcast": broadcast.id, "staged": _to_column(staged), "try_at": at, "tries": 0}
    if not insert_ignoring(connection, leftovers, [row]):
        same = and_(leftovers.c.account == broadcast.account, leftovers.c.id == staged.id)
        connection.execute(update(leftovers).where(same).values(try_at=at))


def hurry_leftovers(connection: Connection, at: Micros) -> None:
    """Recall everything now: nobody is at work on any of it."""
    connection.execute(update(leftovers).where(leftovers.c.try_at > at).values(try_at=at))


def leftovers_to_recall(connection: Connection, at: Micros, limit: int = 10) -> list[Leftover]:
    stumbled = but(leftovers.c.id, troubles_of(connection).put_off("leftover"))
    waiting = select(leftovers).where(leftovers.c.try_at <= at, stumbled).order_by(leftovers.c.try_at)
    statement = waiting.limit(limit).with_for_update(skip_locked=True)
    return read_each(connection, statement, _to_leftover, "leftover", "id")


def _to_leftover(row: RowMapping) -> Leftover:
    staged = _to_staged(row["staged"])
    if staged is None:
        raise ValueError("nothing was prepared")
    return Leftover(row["account"], row["workspace"], row["broadcast"], staged, row["tries"])


def put_off_leftover(connection: Connection, left: Leftover, again_at: Micros | None) -> None:
    connection.execute(update(leftovers).where(_is(left)).values(try_at=again_at, tries=leftovers.c.tries + 1))


def forget_leftover(connection: Connection, left: Leftover) -> None:
    connection.execute(leftovers.delete().where(_is(left)))


def _is(left: Leftover) -> ColumnElement[bool]:
    return and_(leftovers.c.account == left.account, leftovers.c.id == left.staged.id)


def touch(connection: Connection, seen_as: Broadcast, at: Micros, **changes: Any) -> Broadcast | None:
    """Change fields without a step along the table (a vote, a staged campaign), under the same guard."""
    values = {"draw_at": at, **_to_row(changes), **_bound(seen_as)}
    row = connection.execute(_CHANGE, values).mappings().first()
    return to_broadcast(row) if row else None


def write_audit(
    connection: Connection,
    broadcast: Broadcast,
    actor: str,
    action: str,
    before: State | None,
    at: Micros,
    reason: str | None = None,
) -> None:
    connection.execute(_TO_AUDIT, _record(broadcast, actor, action, before, at, reason))


def _record(
    broadcast: Broadcast, actor: str, action: str, before: State | None, at: Micros, reason: str | None
) -> dict[str, Any]:
    return {
        "workspace": broadcast.workspace,
        "broadcast": broadcast.id,
        "version": broadcast.version,
        "actor": actor,
        "action": action,
        "before": before,
        "after": broadcast.state,
        "digest": broadcast.digest,
        "reason": reason,
        "at": at,
    }


def write_event(
    connection: Connection,
    workspace: str,
    actor: str,
    action: str,
    reason: str | None,
    at: Micros,
    *,
    about: str | None = None,
) -> None:
    """Audit something that is no step of one broadcast: a request that was refused, a pause of everything, or what
    happens to a schedule, whose id `about` is."""
    row = {"workspace": workspace, "broadcast": about, "actor": actor, "action": action, "reason": reason, "at": at}
    connection.execute(_TO_AUDIT, row)


def say(connection: Connection, broadcast: Broadcast, at: Micros, said: Iterable[Note]) -> None:
    """Queue what the thread is to be told, in the transaction that made it true."""
    rows = [_told(broadcast, at, note) for note in said]
    if rows:
        connection.execute(_TO_NOTES, rows)


def drop_notes(connection: Connection, broadcast: Broadcast) -> None:
    """What its thread has not been told yet is told nowhere: there is no thread."""
    mine = and_(notes.c.workspace == broadcast.workspace, notes.c.broadcast == broadcast.id)
    connection.execute(update(notes).where(mine, notes.c.post_at.is_not(None)).values(post_at=None))


def _told(broadcast: Broadcast, at: Micros, note: Note) -> dict[str, Any]:
    return {
        "workspace": broadcast.workspace,
        "broadcast": broadcast.id,
        "sentence": note.sentence.plain(),
        "mention": _fitting(note.mention),
        "aloud": note.aloud,
        "at": at,
        "post_at": at,
        "tries": 0,
    }


def _fitting(mention: str | None) -> str | None:
    """As many of these people as have room; the sentence and the card tell of all of them."""
    if mention is None or len(mention) <= MENTIONED:
        return mention or None
    return mention[: MENTIONED + 1].rpartition(" ")[0] or None


def add_vote(connection: Connection, broadcast: Broadcast, approver: str, way: str, at: Micros) -> bool:
    """One person, one vote on a version. False when it was there already.

    It binds what stands there now, and not what the row says of itself: somebody may have edited it.
    """
    row = {
        "workspace": broadcast.workspace,
        "broadcast": broadcast.id,
        "version": broadcast.version,
        "approver": approver,
        "digest": broadcast.computed_digest(),
        "way": way,
        "at": at,
    }
    return insert_ignoring(connection, votes, [row]) == 1


def strengthen_vote(connection: Connection, broadcast: Broadcast, approver: str, way: str) -> None:
    """Somebody who had approved does so in another way as well, by which it stands when the first is taken back."""
    mine = and_(votes.c.workspace == broadcast.workspace, votes.c.broadcast == broadcast.id)
    same = and_(mine, votes.c.version == broadcast.version, votes.c.approver == approver)
    connection.execute(update(votes).where(same).values(way=way))


def drop_vote(connection: Connection, broadcast: Broadcast, approver: str, way: str) -> bool:
    """Withdraw a vote given in this way. False when there was none."""
    statement = votes.delete().where(
        votes.c.workspace == broadcast.workspace,
        votes.c.broadcast == broadcast.id,
        votes.c.version == broadcast.version,
        votes.c.approver == approver,
        votes.c.way == way,
    )
    return connection.execute(statement).rowcount == 1


def drop_votes(connection: Connection, broadcast: Broadcast) -> None:
    """What was agreed to is no longer what would happen: every vote on this version falls."""
    mine = and_(votes.c.workspace == broadcast.workspace, votes.c.broadcast == broadcast.id)
    connection.execute(votes.delete().where(mine, votes.c.version == broadcast.version))


# --- is there anything to do? ----------------------------------------------------------------------------------------
#
# Each task asks before it opens a transaction that writes. These are made once, like what writes each step.


def any_of(*questions: Select[Any]) -> Select[tuple[bool]]:
    """Has any of these an answer? They are asked one after the other, until one has."""
    return select(or_(*(question.exists() for question in questions)))


def _those(*where: ColumnElement[bool]) -> Select[Any]:
    return select(broadcasts.c.id).where(*where, UNDERSTOOD)


def _micros(name: str) -> BindParameter[int]:
    return bindparam(name, type_=BigInteger)


_AT = _micros("at")
_UNLEASED = or_(broadcasts.c.lease_until.is_(None), broadcasts.c.lease_until <= _micros("lease_at"))
_FORGOTTEN = and_(
    broadcasts.c.owner == bindparam("owner"), broadcasts.c.id.not_in(bindparam("working_on", expanding=True))
)
_WORK_WAITS = any_of(
    _those(SCHEDULED, broadcasts.c.due <= _AT, _UNLEASED),
    _those(
        *(SCHEDULED, broadcasts.c.due > _AT, broadcasts.c.due <= _micros("soon"), broadcasts.c.staged.is_(None)),
        *(broadcasts.c.account.in_(bindparam("preparing", expanding=True)), _UNLEASED),
    ),
    _those(SENDING, or_(_UNLEASED, _FORGOTTEN)),
    _those(
        *(_in(State.HELD), broadcasts.c.hold == Hold.HOURS, broadcasts.c.hold_until <= _AT),
        broadcasts.c.workspace.not_in(bindparam("paused", expanding=True)),
    ),
    select(leftovers.c.id).where(leftovers.c.try_at <= _AT),
)
_SIZES_WAIT = any_of(
    _those(
        *(_in(State.PENDING, State.SCHEDULED), broadcasts.c.size.is_(None)),
        broadcasts.c.account.in_(bindparam("accounts", expanding=True)),
        func.coalesce(broadcasts.c.look_at, 0) <= _AT,
    )
)
_OLDEST = select(func.min(seen.c.at)).scalar_subquery()  # by the index, whatever the planner believes of the others
_LAPSED_WAITS = any_of(
    *(_those(_in(state), broadcasts.c.expires_at <= _AT) for state in (State.PENDING, State.HELD)),
    select(literal(1)).where(_micros("forgotten") > _OLDEST),
)
_SHOWING_WAITS = any_of(
    _those(broadcasts.c.draw_at <= _AT, broadcasts.c.state != State.DRAFT),
    select(notes.c.seq).where(notes.c.post_at <= _AT),
    select(posts.c.seq).where(posts.c.post_at <= _AT),
)


def work_waits(
    connection: Connection,
    at: Micros,
    *,
    soon: Micros,
    lease_at: Micros,
    preparing: Sequence[str],
    owner: str,
    working_on: Sequence[str],
    paused: Collection[str],
) -> bool:
    """Is there anything for a dispatcher: what is due, what can be prepared until `soon`, what nobody is sending any
    more, what may go again, or a campaign to be recalled? The other words are those of `due`, `abandoned` and
    `reopened`. A row that was stumbled over counts, as nobody knows here for how long it is left alone."""
    told = {"at": at, "soon": soon, "lease_at": lease_at, "preparing": preparing}
    told |= {"owner": owner, "working_on": working_on, "paused": list(paused)}
    return bool(connection.execute(_WORK_WAITS, told).scalar_one())


def sizes_wait(connection: Connection, accounts: Sequence[str], at: Micros) -> bool:
    """Is there one for `unsized`?"""
    return bool(connection.execute(_SIZES_WAIT, {"at": at, "accounts": accounts}).scalar_one())


def lapsed_waits(connection: Connection, at: Micros, forgotten: Micros) -> bool:
    """Is there one for `lapsed`, or for `forget_seen`?"""
    return bool(connection.execute(_LAPSED_WAITS, {"at": at, "forgotten": forgotten}).scalar_one())


def showing_waits(connection: Connection, at: Micros) -> bool:
    """Is there a card to draw, a note or a message to post?"""
    return bool(connection.execute(_SHOWING_WAITS, {"at": at}).scalar_one())


# --- what is due -----------------------------------------------------------------------------------------------------


def due(
    connection: Connection,
    at: Micros,
    limit: int,
    *,
    lease_at: Micros,
    taken: Mapping[str, str],
    accounts: Collection[str] | None = None,
) -> list[Broadcast]:
    """Scheduled broadcasts whose time has come, oldest first, locked where the database locks rows.

    `lease_at`: the time by which leases are judged; `taken`: accounts whose one place this broadcast has;
    `accounts`: only theirs.
    """
    elsewhere = [and_(broadcasts.c.account == name, broadcasts.c.id != id) for name, id in taken.items()]
    statement = (
        select(broadcasts)
        .where(
            SCHEDULED,
            broadcasts.c.due <= at,
            but(broadcasts.c.id, troubles_of(connection).put_off("dispatch")),
            _free(lease_at),
            understood(connection),
            not_(or_(*elsewhere, false())),
            true() if accounts is None else broadcasts.c.account.in_(accounts),
        )
        .order_by(broadcasts.c.due)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return _broadcasts(connection, statement)


def stranded(connection: Connection, at: Micros, accounts: Collection[str], limit: int = 8) -> list[Broadcast]:
    """Scheduled broadcasts whose time has come, of accounts other than these, locked."""
    stumbled = but(broadcasts.c.id, troubles_of(connection).put_off("dispatch"))
    elsewhere = and_(broadcasts.c.due <= at, broadcasts.c.account.not_in(accounts), stumbled)
    return in_state(connection, State.SCHEDULED, elsewhere, limit=limit)


def to_stage(
    connection: Connection, accounts: Sequence[str], at: Micros, until: Micros, *, lease_at: Micros, limit: int = 8
) -> list[Broadcast]:
    """Scheduled broadcasts of these accounts that are due soon and have nothing prepared yet, locked."""
    statement = (
        select(broadcasts)
        .where(
            SCHEDULED,
            but(broadcasts.c.id, troubles_of(connection).put_off("dispatch")),
            broadcasts.c.due > at,
            broadcasts.c.due <= until,
            broadcasts.c.account.in_(accounts),
            broadcasts.c.staged.is_(None),
            _free(lease_at),
            understood(connection),
        )
        .order_by(broadcasts.c.due)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return _broadcasts(connection, statement)


def _free(at: Micros) -> ColumnElement[bool]:
    """Nobody is preparing it just now."""
    return or_(broadcasts.c.lease_until.is_(None), broadcasts.c.lease_until <= at)


def free_staged_by_others(connection: Connection, owner: str) -> int:
    """Where only one process dispatches: what another one was preparing before its time, it does no more."""
    theirs = and_(SCHEDULED, broadcasts.c.lease_until.is_not(None), broadcasts.c.owner != owner, understood(connection))
    return connection.execute(update(broadcasts).where(theirs).values(**NO_LEASE)).rowcount


def in_state(connection: Connection, state: State, *more: ColumnElement[bool], limit: int = AT_ONCE) -> list[Broadcast]:
    """The broadcasts in a state (and for which `more` holds), those that wait longest first, locked."""
    statement = (
        select(broadcasts)
        .where(_in(state), understood(connection), *more)
        .order_by(broadcasts.c.changed_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return _broadcasts(connection, statement)


def abandoned(
    connection: Connection, owner: str, working_on: Collection[str], *, lease_at: Micros, alone: bool
) -> list[Broadcast]:
    """Broadcasts that are being sent by nobody, locked: their lease has lapsed, or it is this owner's, who is working
    on other ones. `alone`: nobody but this owner is alive."""
    lapsed = or_(broadcasts.c.lease_until.is_(None), broadcasts.c.lease_until <= lease_at)
    forgotten = and_(broadcasts.c.owner == owner, broadcasts.c.id.not_in(working_on))
    dead = broadcasts.c.owner != owner if alone else false()
    stumbled = but(broadcasts.c.id, troubles_of(connection).put_off("dispatch"))
    return in_state(connection, State.SENDING, or_(lapsed, forgotten, dead), stumbled)


def lapsed(connection: Connection, at: Micros) -> list[Broadcast]:
    """Requests that nobody answered in time, and what is held and nobody decided about."""
    over = and_(broadcasts.c.expires_at <= at, but(broadcasts.c.id, troubles_of(connection).put_off("expire")))
    return in_state(connection, State.PENDING, over) + in_state(connection, State.HELD, over)


def reopened(connection: Connection, at: Micros, paused: Collection[str]) -> list[Broadcast]:
    """What was held for the hour alone, and whose window is open now; of `paused` workspaces it stays held."""
    goes_on = broadcasts.c.workspace.not_in(paused) if paused else true()
    hours = and_(broadcasts.c.hold == Hold.HOURS, broadcasts.c.hold_until <= at)
    stumbled = but(broadcasts.c.id, troubles_of(connection).put_off("dispatch"))
    return in_state(connection, State.HELD, hours, goes_on, stumbled)


def voices_wait(connection: Connection, at: Micros) -> bool:
    waiting = select(broadcasts.c.id).where(broadcasts.c.voice_at <= at, _may_speak(connection)).limit(1)
    return connection.execute(waiting).first() is not None


def to_voice(connection: Connection, at: Micros, limit: int = 50) -> list[Broadcast]:
    """Broadcasts of which something is to be said now, those that wait longest first, locked."""
    waiting = select(broadcasts).where(broadcasts.c.voice_at <= at, _may_speak(connection))
    statement = waiting.order_by(broadcasts.c.voice_at).limit(limit).with_for_update(skip_locked=True)
    return _broadcasts(connection, statement)


def _may_speak(connection: Connection) -> ColumnElement[bool]:
    return and_(understood(connection), but(broadcasts.c.id, troubles_of(connection).put_off("voice")))


def voiced(
    connection: Connection, seen_as: Broadcast, at: Micros, again_at: Micros | None, said: Iterable[Note]
) -> bool:
    """Say this once and set when there is something to say again; False when another process was faster.

    The card is drawn again with it, since what it says of the time may have changed meanwhile.
    """
    notes_said = list(said)
    changes: dict[str, Any] = {"voice_at": again_at, "voices": seen_as.voices + 1}
    if notes_said:
        changes |= {"draw_at": at, "revision": broadcasts.c.revision + 1}
    change = update(broadcasts).where(AS_SEEN, broadcasts.c.voice_at.is_not_distinct_from(seen_as.voice_at))
    if connection.execute(change.values(**changes), _bound(seen_as)).rowcount == 0:
        return False
    say(connection, seen_as, at, notes_said)
    return True


def slots(connection: Connection, accounts: Sequence[str], at: Micros) -> dict[str, str]:
    """Which broadcast has the one campaign that each of these accounts may have open: account to broadcast; to "" where
    one must be thrown away first. What nobody here can read has it for as long as somebody works on it."""
    if not accounts:
        return {}
    troubles = troubles_of(connection)
    read = and_(UNDERSTOOD, but(broadcasts.c.id, troubles.known("row")))
    mine = and_(broadcasts.c.account.in_(accounts), or_(read, broadcasts.c.lease_until > at))
    open_ones = (
        (SENDING, mine),
        (SCHEDULED, broadcasts.c.staged.is_not(None), mine),
        (SCHEDULED, broadcasts.c.lease_until > at, broadcasts.c.owner.is_not(None), mine),  # else it only pauses
    )
    statement = union_all(*(select(broadcasts.c.account, broadcasts.c.id).where(*those) for those in open_ones))
    recalled = and_(leftovers.c.try_at.is_not(None), leftovers.c.tries <= RECALLS_WAITED_FOR)
    theirs = and_(leftovers.c.account.in_(accounts), but(leftovers.c.id, troubles.known("leftover")))
    left = select(leftovers.c.account).where(recalled, theirs)
    found = dict.fromkeys(connection.execute(left).scalars(), "")
    return found | {row.account: row.id for row in connection.execute(statement)}


def count_held(connection: Connection, workspace: str, hold: Hold, until: Micros | None = None) -> int:
    """How many are held for this; `until`: of those that go on by themselves, the ones whose time has come by then."""
    statement = select(func.count()).select_from(broadcasts)
    mine = and_(broadcasts.c.workspace == workspace, _in(State.HELD), broadcasts.c.hold == hold)
    if until is not None:
        mine = and_(mine, broadcasts.c.hold_until <= until)
    return connection.execute(statement.where(mine)).scalar_one()


@dataclass(frozen=True)
class Stops:
    """What stands still just now: paused workspaces, and accounts whose vendor nobody tries until then."""

    paused: frozenset[str]
    away: Mapping[str, Micros]


def stops(connection: Connection, at: Micros) -> Stops:
    found = connection.execute(select(kept).where(kept.c.name.like("breaker:%")))
    known = {row.name.removeprefix("breaker:"): _breaker(row.value) for row in found}
    away = {account: breaker.until for account, breaker in known.items() if breaker.is_open(at)}
    return Stops(paused_workspaces(connection), away)


def database_time(connection: Connection) -> Micros | None:
    """The database's own clock, by which processes on machines with different clocks agree; None on SQLite, where
    one machine is all there is."""
    if connection.dialect.name != "postgresql":
        return None
    return int(connection.execute(text("SELECT extract(epoch FROM clock_timestamp()) * 1000000")).scalar_one())


@dataclass(frozen=True)
class Breaker:
    """How often in a row an account's vendor could not be reached, and until when nobody tries it."""

    failures: int = 0
    until: Micros = 0

    @property
    def has_tripped(self) -> bool:
        return self.failures >= BREAKER_FAILURES

    def is_open(self, at: Micros) -> bool:
        return self.has_tripped and self.until > at


def breaker(connection: Connection, account: str) -> Breaker:
    return _breaker(load_kept(connection, f"breaker:{account}"))


def set_breaker(connection: Connection, account: str, state: Breaker, at: Micros) -> None:
    keep(connection, f"breaker:{account}", json.dumps([state.failures, state.until]), at)


def paused(connection: Connection, workspace: str) -> bool:
    """Has an admin stopped all sending of this workspace?"""
    return bool(load_kept(connection, f"pause:{workspace}"))


def paused_workspaces(connection: Connection) -> frozenset[str]:
    """Every workspace of which an admin has stopped all sending."""
    pauses = select(kept.c.name).where(kept.c.name.like("pause:%"), kept.c.value != "")
    return frozenset(name.removeprefix("pause:") for name in connection.execute(pauses).scalars())


def resumed_at(connection: Connection, workspace: str) -> Micros:
    """When all sending of this workspace was let go on the last time; 0 if it was never stopped, or is."""
    statement = select(kept.c.at).where(kept.c.name == f"pause:{workspace}", kept.c.value == "")
    return connection.execute(statement).scalar_one_or_none() or 0


def set_paused(connection: Connection, workspace: str, by: str | None, at: Micros) -> None:
    """`by` whom; None resumes."""
    keep(connection, f"pause:{workspace}", by or "", at)


def take_lease(connection: Connection, name: str, owner: str, seconds: float, at: Micros) -> bool:
    """Be the one process that does this for a while: True when it is `owner`'s now, newly or still."""
    alone(connection, f"lease:{name}")
    holder, until = _lease(connection, name)
    if holder != owner and until > at:
        return False
    keep(connection, f"lease:{name}", json.dumps([owner, at + int(seconds * 1_000_000)]), at)
    return True


def lease_holder(connection: Connection, name: str, at: Micros) -> str | None:
    """Whose this is just now."""
    holder, until = _lease(connection, name)
    return holder if until > at else None


def _lease(connection: Connection, name: str) -> tuple[str, Micros]:
    holder, until = _two(load_kept(connection, f"lease:{name}"), str)
    return holder or "", until


def _two(value: str | None, first: type[T]) -> tuple[T | None, Micros]:
    """Two small things that were kept; what nobody can read is as if it had never been kept."""
    try:
        one, other = json.loads(value) if value else (None, 0)
    except (ValueError, TypeError, RecursionError):
        return None, 0
    return (one, other) if isinstance(one, first) and isinstance(other, int) else (None, 0)


def _breaker(value: str | None) -> Breaker:
    failures, until = _two(value, int)
    return Breaker(failures or 0, until)


def alone(connection: Connection, name: str) -> None:
    """Until this transaction ends, no other one that asks this runs under this name. SQLite writes alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(name))))


def released_since(connection: Connection, workspace: str, since: Micros) -> int:
    """How many releases this workspace has begun since then, for the cap."""
    statement = select(func.count()).select_from(dispatches)
    return connection.execute(
        statement.where(dispatches.c.workspace == workspace, dispatches.c.released_at >= since)
    ).scalar_one()


def mark_released(connection: Connection, broadcast: Broadcast, at: Micros | None) -> None:
    """For the cap: this attempt may ring phones from now on. None: it turned out that it rang none."""
    connection.execute(
        update(dispatches)
        .where(
            dispatches.c.workspace == broadcast.workspace,
            dispatches.c.broadcast == broadcast.id,
            dispatches.c.dispatch == broadcast.dispatch,
        )
        .values(released_at=at)
    )


def to_look_at(
    connection: Connection, state: State, at: Micros, limit: int, busy: Collection[str] = ()
) -> list[Broadcast]:
    """Broadcasts in this state, at no `busy` account, whose vendor is to be asked again; the longest waiting first."""
    free = broadcasts.c.account.not_in(busy) if busy else true()
    stumbled = but(broadcasts.c.id, troubles_of(connection).put_off("look"))
    statement = (
        select(broadcasts)
        .where(broadcasts.c.state == state, broadcasts.c.look_at <= at, free, stumbled, understood(connection))
        .order_by(broadcasts.c.look_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return _broadcasts(connection, statement)


def unsized(connection: Connection, accounts: Sequence[str], at: Micros, limit: int = 5) -> list[Broadcast]:
    """Broadcasts that wait, of these accounts, whose size nobody has asked for lately."""
    statement = (
        select(broadcasts)
        .where(
            _in(State.PENDING, State.SCHEDULED),
            broadcasts.c.size.is_(None),
            broadcasts.c.account.in_(accounts),
            func.coalesce(broadcasts.c.look_at, 0) <= at,
            understood(connection),
        )
        .order_by(broadcasts.c.created_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return _broadcasts(connection, statement)


def set_look_at(connection: Connection, row: Broadcast, at: Micros | None) -> None:
    mine = and_(broadcasts.c.workspace == row.workspace, broadcasts.c.id == row.id)
    connection.execute(update(broadcasts).where(mine, broadcasts.c.state == row.state).values(look_at=at))


# --- cards and notes -------------------------------------------------------------------------------------------------


def cards_to_draw(connection: Connection, at: Micros, limit: int, *, new: bool) -> list[Broadcast]:
    """Broadcasts whose card shows an older revision; `new`: those that have none yet. A draft has none."""
    behind = select(broadcasts).where(
        broadcasts.c.draw_at <= at,
        broadcasts.c.state != State.DRAFT,
        _may_be_drawn(connection),
        understood(connection),
    )
    of = and_(
        cards.c.workspace == broadcasts.c.workspace,
        cards.c.broadcast == broadcasts.c.id,
        cards.c.version == broadcasts.c.version,
    )
    drawn_before = exists(select(cards.c.ts).where(of))
    behind = behind.where(not_(drawn_before) if new else drawn_before)
    return _broadcasts(connection, behind.order_by(broadcasts.c.draw_at).limit(limit))


def drawing_of(broadcast: Broadcast) -> str:
    """What a card that cannot be drawn is known by: what has changed since is tried at once."""
    return f"{broadcast.id}/{broadcast.revision}"


def _may_be_drawn(connection: Connection) -> ColumnElement[bool]:
    drawing = broadcasts.c.id + "/" + cast(broadcasts.c.revision, String)
    return but(drawing, troubles_of(connection).put_off("card"))


def drawn(connection: Connection, broadcast: Broadcast, *, again_at: Micros, stale_at: Micros | None = None) -> None:
    """The card shows this revision. If the broadcast has moved on meanwhile, it is drawn again at `again_at`; if not,
    at `stale_at`, when what it shows is not so any more."""
    mine = and_(broadcasts.c.workspace == broadcast.workspace, broadcasts.c.id == broadcast.id)
    newer = broadcasts.c.revision != broadcast.revision
    connection.execute(update(broadcasts).where(mine).values(draw_at=case((newer, again_at), else_=stale_at)))


def draw_waiting_again(connection: Connection, workspace: str, at: Micros, after: str) -> str | None:
    """What keeps these from going has changed: draw some of them, by their ids from after this one on. The last of
    them; None where there are no more."""
    mine = and_(_in(State.PENDING, State.SCHEDULED, State.HELD), broadcasts.c.workspace == workspace, UNDERSTOOD)
    some = select(broadcasts.c.id).where(mine, broadcasts.c.id > after).order_by(broadcasts.c.id).limit(IN_A_STATEMENT)
    ids = connection.execute(some).scalars().all()
    if not ids:
        return None
    connection.execute(update(broadcasts).where(mine, broadcasts.c.id.in_(ids)).values(draw_at=at))
    return str(ids[-1])


def voice_held(connection: Connection, workspace: str, hold: Hold, at: Micros) -> None:
    """There is something to say of all of these now."""
    mine = and_(_in(State.HELD), broadcasts.c.workspace == workspace, broadcasts.c.hold == hold)
    connection.execute(update(broadcasts).where(mine, UNDERSTOOD).values(voice_at=at))


def draw_again(connection: Connection, broadcast: Broadcast, at: Micros) -> None:
    """Its card shows something that is not so any more, though its row is the same; no press on that counts for the
    next drawing."""
    mine = and_(broadcasts.c.workspace == broadcast.workspace, broadcasts.c.id == broadcast.id)
    connection.execute(update(broadcasts).where(mine).values(draw_at=at, revision=broadcasts.c.revision + 1))


def card_of(connection: Connection, broadcast: Broadcast) -> Card | None:
    statement = select(cards).where(
        cards.c.workspace == broadcast.workspace,
        cards.c.broadcast == broadcast.id,
        cards.c.version == broadcast.version,
    )
    row = connection.execute(statement).mappings().first()
    return Card(**row) if row else None


def older_cards(connection: Connection, broadcast: Broadcast) -> list[Card]:
    """The cards of its earlier versions that still look like cards."""
    statement = select(cards).where(
        cards.c.workspace == broadcast.workspace,
        cards.c.broadcast == broadcast.id,
        cards.c.version < broadcast.version,
        cards.c.drawn != SHRUNK,
    )
    return [Card(**row) for row in connection.execute(statement).mappings()]


def card_at(connection: Connection, workspace: str, channel: str, ts: str) -> Card | None:
    """The card that stands at this place: a reaction means the version shown there."""
    statement = select(cards).where(cards.c.workspace == workspace, cards.c.channel == channel, cards.c.ts == ts)
    row = connection.execute(statement).mappings().first()
    return Card(**row) if row else None


def keep_card(connection: Connection, card: Card) -> None:
    """Remember where the card stands and which revision it shows."""
    if not insert_ignoring(connection, cards, [dataclasses.asdict(card)]):
        mine = and_(
            cards.c.workspace == card.workspace,
            cards.c.broadcast == card.broadcast,
            cards.c.version == card.version,
        )
        connection.execute(
            update(cards).where(mine).values(channel=card.channel, ts=card.ts, drawn=card.drawn, facts=card.facts)
        )


def notes_to_post(connection: Connection, at: Micros, limit: int) -> list[PendingNote]:
    """The oldest unposted note of each broadcast, when its time has come: a thread keeps its order. A draft has no
    thread yet."""
    of = and_(broadcasts.c.workspace == notes.c.workspace, broadcasts.c.id == notes.c.broadcast, understood(connection))
    stumbled = but(notes.c.seq, troubles_of(connection).put_off("note"))
    oldest = (
        select(func.min(notes.c.seq))
        .join(broadcasts, and_(of, broadcasts.c.state != State.DRAFT))
        .where(notes.c.post_at.is_not(None), stumbled)
        .group_by(notes.c.workspace, notes.c.broadcast)
    )
    statement = select(notes).where(notes.c.seq.in_(oldest), notes.c.post_at <= at).order_by(notes.c.seq).limit(limit)
    return read_each(connection, statement, _to_note, "note", "seq")


def _to_note(row: RowMapping) -> PendingNote:
    note = Note(Sentence.of(row["sentence"]), row["mention"], row["aloud"])
    return PendingNote(row["seq"], row["workspace"], row["broadcast"], note, row["at"], row["tries"])


def note_posted(connection: Connection, seq: int, ts: str) -> None:
    connection.execute(update(notes).where(notes.c.seq == seq).values(post_at=None, ts=ts))


def note_failed(connection: Connection, seq: int, again_at: Micros | None) -> None:
    """Try again later; None gives it up."""
    connection.execute(update(notes).where(notes.c.seq == seq).values(post_at=again_at, tries=notes.c.tries + 1))


def oldest_unshown(connection: Connection, at: Micros) -> Micros | None:
    """Since when something waits to be shown in Slack, without what is known to be broken; None: nothing does."""
    stumbled = troubles_of(connection).put_off
    here = and_(broadcasts.c.workspace == notes.c.workspace, broadcasts.c.id == notes.c.broadcast)
    waiting = (
        select(func.min(broadcasts.c.draw_at)).where(
            broadcasts.c.draw_at <= at,
            broadcasts.c.state != State.DRAFT,
            _may_be_drawn(connection),
            understood(connection),
        ),
        select(func.min(notes.c.at))
        .join(broadcasts, here)
        .where(
            notes.c.post_at.is_not(None),
            broadcasts.c.state != State.DRAFT,
            but(notes.c.seq, stumbled("note")),
            understood(connection),
        ),
        select(func.min(posts.c.at)).where(posts.c.post_at.is_not(None), posts.c.at <= at, _not_stumbled(connection)),
    )
    found = [connection.execute(statement).scalar_one() for statement in waiting]
    return min((since for since in found if since is not None), default=None)


# --- the outbox: messages that belong to no card ---------------------------------------------------------------------


def post(
    connection: Connection,
    workspace: str,
    key: str,
    place: str,
    sentence: Sentence,
    mention: str | None,
    at: Micros,
    draft: str | None = None,
) -> bool:
    """Queue a message for a channel, or for a person directly, not before `at`, in the transaction that made it true.

    `key`, unique in the workspace, is what it is about: the same is said once, and False says that it was queued
    before. `mention`: ids of people, with spaces. `draft`: the id of a draft that it has a button to open.
    """
    row: dict[str, Any] = {"workspace": workspace, "key": key, "place": place, "sentence": sentence.plain()}
    row |= {"mention": _fitting(mention), "at": at, "post_at": at, "tries": 0, "draft": draft}
    return insert_ignoring(connection, posts, [row]) == 1


def posts_wait(connection: Connection, at: Micros) -> bool:
    waiting = select(posts.c.seq).where(posts.c.post_at <= at, _not_stumbled(connection)).limit(1)
    return connection.execute(waiting).first() is not None


def _not_stumbled(connection: Connection) -> ColumnElement[bool]:
    return but(posts.c.seq, troubles_of(connection).put_off("post"))


def take_post(connection: Connection, at: Micros, again_at: Micros) -> PendingPost | None:
    """What is to be posted next, put off to `again_at`, so that nobody else posts it as well."""
    # in the order they were said; not by the key as it is, or all that were posted are passed on the way to what is due
    due = select(posts).where(posts.c.post_at <= at, _not_stumbled(connection)).order_by(posts.c.seq + 0).limit(1)
    taken = read_each(connection, due.with_for_update(skip_locked=True), _to_post, "post", "seq")
    if not taken:
        return None
    put_off_post(connection, taken[0].seq, again_at)
    return taken[0]


def _to_post(row: RowMapping) -> PendingPost:
    sentence = Sentence.of(row["sentence"])
    return PendingPost(
        row["seq"], row["workspace"], row["place"], sentence, row["mention"], row["tries"], row["at"], row["draft"]
    )


def put_off_post(connection: Connection, seq: int, again_at: Micros) -> None:
    connection.execute(update(posts).where(posts.c.seq == seq).values(post_at=again_at))


def post_made(connection: Connection, seq: int, ts: str) -> None:
    connection.execute(update(posts).where(posts.c.seq == seq).values(post_at=None, ts=ts))


def post_failed(connection: Connection, seq: int, again_at: Micros | None) -> None:
    """Try again later; None gives it up."""
    connection.execute(update(posts).where(posts.c.seq == seq).values(post_at=again_at, tries=posts.c.tries + 1))


def for_digest(connection: Connection, workspace: str, channel: str, since: Micros, until: Micros) -> dict[str, Any]:
    """What a channel's broadcasts do: `waiting`, `held`, `unknown`, `today` (until then), and how many were `sent`."""
    mine = broadcasts.c.workspace == workspace
    here, lives = and_(broadcasts.c.channel == channel, understood(connection)), text(LIVING)
    few = _without_index(broadcasts.c.workspace) == workspace
    parts = {
        "waiting": and_(_in(State.PENDING), lives, few, here),
        "held": and_(_in(State.HELD), mine, here),
        "unknown": and_(_in(State.UNKNOWN), lives, few, here),
        "today": and_(SCHEDULED, broadcasts.c.due <= until, few, here),
    }
    found: dict[str, Any] = {name: [] for name in parts}
    for part, row in read_each(connection, _some_of(parts), lambda row: (row["part"], to_broadcast(row)), "row", "id"):
        found[part].append(row)
    # what was accepted has changed then, or later
    sent = and_(mine, here, broadcasts.c.changed_at >= since, broadcasts.c.accepted_at >= since)
    return found | {"sent": connection.execute(select(func.count()).select_from(broadcasts).where(sent)).scalar_one()}


def _some_of(parts: Mapping[str, ColumnElement[bool]], limit: int = 50) -> Executable:
    """Those that wait longest of each part, in one statement, `part` saying of which."""
    longest = _without_index(broadcasts.c.changed_at)
    wanted = (select(literal(name).label("part"), broadcasts).where(those) for name, those in parts.items())
    return union_all(*(select(each.order_by(longest).limit(limit).subquery()) for each in wanted))


def _without_index(column: ColumnElement[T]) -> ColumnElement[T]:
    """The same value, by which no database looks for a row: the few that live are fewer than those of a workspace."""
    return column + ("" if isinstance(column.type, String) else 0)


# --- templates -------------------------------------------------------------------------------------------------------


def keep_template(connection: Connection, template: Template, admins: Iterable[str]) -> str | None:
    """Keep it, in the place of an older one of the same owner or, for an admin, of anybody; else whose it is."""
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


# --- small things to keep --------------------------------------------------------------------------------------------


def load_kept(connection: Connection, name: str) -> str | None:
    return connection.execute(select(kept.c.value).where(kept.c.name == name)).scalar_one_or_none()


def keep(connection: Connection, name: str, value: str, at: Micros) -> None:
    if not insert_ignoring(connection, kept, [{"name": name, "value": value, "at": at}]):
        connection.execute(update(kept).where(kept.c.name == name).values(value=value, at=at))


def integrity(connection: Connection) -> str:
    """`ok`, or what SQLite finds wrong with its file."""
    if connection.dialect.name != "sqlite":
        return "ok"
    return str(connection.execute(text("PRAGMA quick_check(1)")).scalar_one())


def is_empty(connection: Connection) -> bool:
    """No table at all: a database that nobody has used yet."""
    return not inspect(connection).get_table_names()


def schema_revision(connection: Connection) -> str | None:
    """The revision the database stands at; None when it has no schema yet."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def schema_trouble(revision: str | None) -> str | None:
    """What an operator has to do about a database at this revision; None where it is the one that this code wants."""
    if revision == REVISION:
        return None
    if revision is not None and revision > REVISION:
        return (
            f"The database is newer than this version (revision {revision}, and this version knows {REVISION}). "
            "Run a newer bellcrier."
        )
    return "The database has another schema than this version. Run `bellcrier db upgrade`."
