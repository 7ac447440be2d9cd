"""The tables, and all SQL, as plain functions of a sync `Connection`.

A row moves only from the state and version that the caller last saw, and who moved it is written in the same
transaction. Every function here runs inside a transaction that somebody else began.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    RowMapping,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    case,
    false,
    func,
    insert,
    inspect,
    not_,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from bot.broadcast import (
    TRANSITIONS,
    Action,
    Broadcast,
    Hold,
    Micros,
    NotFound,
    Phase,
    Sentence,
    State,
)
from providers.base import AudienceKind, DeliveryStatus, Purpose, Receipt, ReceiptKind, Staged

PROGRESS_PAUSE = 1_000_000  # microseconds in which statuses that appear together are told together

REVISION = "0001"  # the schema this code was written for; a test ties it to the newest migration

metadata = MetaData()

broadcasts = Table(
    "broadcasts",
    metadata,
    Column("workspace", String(32), primary_key=True),
    Column("id", String(16), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("phase", String(16)),
    Column("hold", String(16)),
    Column("hold_until", BigInteger),
    Column("mode", String(16), nullable=False),
    Column("key", String(255), nullable=False),
    Column("requester", String(32), nullable=False),
    Column("editor", String(32), nullable=False),
    Column("channel", String(32), nullable=False),
    Column("audience", String(255), nullable=False),
    Column("account", String(64), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("target", String(255), nullable=False),
    Column("everyone", Boolean, nullable=False),
    Column("subscribers", JSON, nullable=False),
    Column("purpose", String(16), nullable=False),
    Column("typed", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("sender", String(64)),
    Column("campaign", String(255)),
    Column("policy", String(64)),
    Column("send_at", BigInteger),
    Column("zone", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("size", Integer),
    Column("unnamed", Integer),  # of them without a name, where the vendor tells
    Column("quoted", String(64)),  # what the vendor said before the approval that it would cost
    Column("bound", Integer),
    Column("quorum", Integer, nullable=False),
    Column("approvers", JSON, nullable=False),
    Column("start_at", BigInteger),  # when it was to start; lateness counts from here
    Column("due", BigInteger),  # when it may be tried next
    Column("expires_at", BigInteger),
    Column("approved_at", BigInteger),
    Column("attempt", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("owner", String(64)),
    Column("lease_until", BigInteger),
    Column("staged", JSON(none_as_null=True)),
    Column("ids", JSON, nullable=False),
    Column("failure", JSON(none_as_null=True)),
    Column("counts", JSON, nullable=False),
    Column("accepted_at", BigInteger),
    Column("look_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("progress_at", BigInteger),  # a status appeared that the thread has not been told
    Column("draw_at", BigInteger),  # the card shows an older revision; when it may be drawn again
    UniqueConstraint("workspace", "key", name="uq_broadcasts_key"),
)
Index(
    "ix_broadcasts_due",
    broadcasts.c.due,
    sqlite_where=text("state = 'scheduled'"),
    postgresql_where=text("state = 'scheduled'"),
)
Index(
    "ix_broadcasts_draw",
    broadcasts.c.draw_at,
    sqlite_where=text("draw_at IS NOT NULL"),
    postgresql_where=text("draw_at IS NOT NULL"),
)
Index(
    "ix_broadcasts_progress",
    broadcasts.c.progress_at,
    sqlite_where=text("progress_at IS NOT NULL"),
    postgresql_where=text("progress_at IS NOT NULL"),
)
Index("ix_broadcasts_state", broadcasts.c.state, broadcasts.c.look_at)
Index("ix_broadcasts_requester", broadcasts.c.workspace, broadcasts.c.requester, broadcasts.c.created_at)
Index("ix_broadcasts_changed", broadcasts.c.workspace, broadcasts.c.changed_at)


def _of_broadcast() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["workspace", "broadcast"], ["broadcasts.workspace", "broadcasts.id"])


votes = Table(
    "votes",
    metadata,
    Column("workspace", String(32), primary_key=True),
    Column("broadcast", String(16), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("approver", String(32), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("way", String(16), nullable=False),  # button | reaction
    Column("at", BigInteger, nullable=False),
    _of_broadcast(),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("workspace", String(32), nullable=False),
    Column("broadcast", String(16)),
    Column("version", Integer),
    Column("actor", String(64), nullable=False),
    Column("action", String(32), nullable=False),
    Column("before", String(16)),
    Column("after", String(16)),
    Column("digest", String(64)),
    Column("reason", Text),
    Column("at", BigInteger, nullable=False),
)
Index("ix_audit_broadcast", audit.c.workspace, audit.c.broadcast, audit.c.seq)

cards = Table(
    "cards",
    metadata,
    Column("workspace", String(32), primary_key=True),
    Column("broadcast", String(16), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("channel", String(32), nullable=False),
    Column("ts", String(32), nullable=False),
    Column("drawn", Integer, nullable=False),
    UniqueConstraint("workspace", "channel", "ts", name="uq_cards_ts"),
    _of_broadcast(),
)

notes = Table(
    "notes",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("workspace", String(32), nullable=False),
    Column("broadcast", String(16), nullable=False),
    Column("sentence", JSON, nullable=False),
    Column("mention", String(255)),  # who is named at its head
    Column("aloud", Boolean, nullable=False),  # shown in the channel too: only for an end
    Column("at", BigInteger, nullable=False),
    Column("post_at", BigInteger),  # when it may be (re)tried; none once it is posted
    Column("tries", Integer, nullable=False),
    Column("ts", String(32)),
    _of_broadcast(),
)
Index(
    "ix_notes_post",
    notes.c.post_at,
    sqlite_where=text("post_at IS NOT NULL"),
    postgresql_where=text("post_at IS NOT NULL"),
)

dispatches = Table(
    "dispatches",
    metadata,
    Column("workspace", String(32), primary_key=True),
    Column("broadcast", String(16), primary_key=True),
    Column("dispatch", String(64), primary_key=True),
    Column("account", String(64), nullable=False),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("released_at", BigInteger),
    _of_broadcast(),
)

vendor_ids = Table(
    "vendor_ids",
    metadata,
    Column("account", String(64), primary_key=True),
    Column("id", String(255), primary_key=True),
    Column("workspace", String(32), nullable=False),
    Column("broadcast", String(16), nullable=False),
    _of_broadcast(),
)
Index("ix_vendor_ids_broadcast", vendor_ids.c.workspace, vendor_ids.c.broadcast)

deliveries = Table(
    "deliveries",
    metadata,
    Column("account", String(64), primary_key=True),
    Column("id", String(255), primary_key=True),
    Column("recipient", String(64), primary_key=True),  # keyed hash; "" where the id alone says who
    Column("kind", String(16), primary_key=True),  # delivery | reply | opt_out
    Column("workspace", String(32)),  # none: set aside, nobody's yet
    Column("broadcast", String(16)),
    Column("status", String(16), nullable=False),
    Column("word", String(64), nullable=False),
    Column("final", Boolean, nullable=False),
    Column("at", BigInteger, nullable=False),
)
Index("ix_deliveries_broadcast", deliveries.c.workspace, deliveries.c.broadcast)

leftovers = Table(
    "leftovers",
    metadata,
    Column("account", String(64), primary_key=True),
    Column("id", String(255), primary_key=True),
    Column("workspace", String(32), nullable=False),
    Column("broadcast", String(16), nullable=False),
    Column("staged", JSON, nullable=False),
    Column("try_at", BigInteger),  # none: given up
    Column("tries", Integer, nullable=False),
    _of_broadcast(),
)

seen = Table(
    "seen",
    metadata,
    Column("workspace", String(32), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("at", BigInteger, nullable=False),
)
Index("ix_seen_at", seen.c.at)

kept = Table(
    "kept",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("value", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

#: States in which nothing that was prepared at the vendor is of use any more.
GIVEN_UP = frozenset(
    {State.PENDING, State.HELD, State.CANCELLED, State.FAILED, State.EXPIRED, State.REJECTED, State.DRAFT}
)

NO_LEASE: dict[str, None] = {"phase": None, "owner": None, "lease_until": None}

ANSWERS = {ReceiptKind.REPLY.value: "replies", ReceiptKind.OPT_OUT.value: "opt-outs"}

# Statuses only go up: a delivery never goes back from a later word to an earlier one.
RANK = {
    DeliveryStatus.ACCEPTED: 0,
    DeliveryStatus.OTHER: 1,
    DeliveryStatus.SENT: 2,
    DeliveryStatus.EXPIRED: 3,
    DeliveryStatus.FAILED: 3,
    DeliveryStatus.BLACKLISTED: 3,
    DeliveryStatus.DELIVERED: 4,
}


@dataclass(frozen=True)
class Note:
    """Something that the thread is told once. `mention`: ids of people, with spaces; `aloud`: in the channel too."""

    sentence: Sentence
    mention: str | None = None
    aloud: bool = False


@dataclass(frozen=True)
class PendingNote:
    seq: int
    workspace: str
    broadcast: str
    note: Note
    at: Micros
    tries: int


@dataclass(frozen=True)
class Card:
    workspace: str
    broadcast: str
    version: int
    channel: str
    ts: str
    drawn: int


@dataclass(frozen=True)
class Leftover:
    """A campaign that lies prepared at a vendor and will not be sent."""

    account: str
    workspace: str
    broadcast: str
    staged: Staged
    tries: int


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


def _to_broadcast(row: RowMapping) -> Broadcast:
    fields = {field.name: row[field.name] for field in dataclasses.fields(Broadcast)}
    fields["state"] = State(row["state"])
    fields["phase"] = Phase(row["phase"]) if row["phase"] else None
    fields["hold"] = Hold(row["hold"]) if row["hold"] else None
    fields["kind"], fields["purpose"] = AudienceKind(row["kind"]), Purpose(row["purpose"])
    for name in ("subscribers", "approvers", "ids"):
        fields[name] = tuple(row[name])
    fields["staged"] = _to_staged(row["staged"])
    fields["failure"] = Sentence.of(row["failure"]) if row["failure"] else None
    return Broadcast(**fields)


def _to_staged(value: Mapping[str, Any] | None) -> Staged | None:
    if value is None:
        return None
    cost = value["cost"]
    return Staged(**{**value, "cost": None if cost is None else Decimal(cost)})


def insert_ignoring(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert what is not there yet; how many were new."""
    if not rows:
        return 0
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table).on_conflict_do_nothing()
    return sum(connection.execute(statement, dict(row)).rowcount for row in rows)


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


def forget_seen(connection: Connection, before: Micros) -> None:
    connection.execute(seen.delete().where(seen.c.at < before))


# --- reading ---------------------------------------------------------------------------------------------------------


def find(connection: Connection, workspace: str, id: str, *, lock: bool = False) -> Broadcast:
    """The broadcast as it stands. `lock` holds its row until the transaction ends. Raises NotFound."""
    statement = select(broadcasts).where(broadcasts.c.workspace == workspace, broadcasts.c.id == id)
    if lock:
        statement = statement.with_for_update()
    row = connection.execute(statement).mappings().first()
    if row is None:
        raise NotFound(id)
    return _to_broadcast(row)


def find_by_key(connection: Connection, workspace: str, key: str) -> Broadcast | None:
    statement = select(broadcasts).where(broadcasts.c.workspace == workspace, broadcasts.c.key == key)
    row = connection.execute(statement).mappings().first()
    return _to_broadcast(row) if row else None


def find_twin(connection: Connection, like: Broadcast, since: Micros) -> Broadcast | None:
    """The same request by the same person, still under way and asked a moment ago: a repeated command."""
    statement = (
        select(broadcasts)
        .where(
            broadcasts.c.workspace == like.workspace,
            broadcasts.c.requester == like.requester,
            broadcasts.c.created_at >= since,
            broadcasts.c.digest == like.digest,
            broadcasts.c.state.not_in([State.CANCELLED, State.REJECTED, State.FAILED, State.EXPIRED]),
        )
        .order_by(broadcasts.c.created_at.desc())
    )
    row = connection.execute(statement).mappings().first()
    return _to_broadcast(row) if row else None


def latest(connection: Connection, workspace: str, limit: int) -> list[Broadcast]:
    """What changed last, newest first."""
    statement = (
        select(broadcasts)
        .where(broadcasts.c.workspace == workspace)
        .order_by(broadcasts.c.changed_at.desc())
        .limit(limit)
    )
    return [_to_broadcast(row) for row in connection.execute(statement).mappings()]


def count_by_state(connection: Connection) -> dict[str, int]:
    """How many broadcasts stand in each state, those without any included."""
    statement = select(broadcasts.c.state, func.count().label("number")).group_by(broadcasts.c.state)
    found = {row.state: row.number for row in connection.execute(statement)}
    return {state: found.get(state, 0) for state in State}


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
    after = TRANSITIONS[seen_as.state, action]
    values = {"state": after, "changed_at": at, "draw_at": at, **_to_row(changes)}
    statement = (
        update(broadcasts)
        .where(_as_seen(seen_as))
        .values(**values, revision=broadcasts.c.revision + 1)
        .returning(broadcasts)
    )
    row = connection.execute(statement).mappings().first()
    if row is None:
        return None
    moved = _without_leftover(connection, _to_broadcast(row), at)
    write_audit(connection, moved, actor, action, seen_as.state, at, reason)
    say(connection, moved, at, said)
    return moved


def _without_leftover(connection: Connection, moved: Broadcast, at: Micros) -> Broadcast:
    """What lies prepared at the vendor for a broadcast that does not go on is thrown away there."""
    if moved.staged is None or moved.state not in GIVEN_UP:
        return moved
    leave_over(connection, moved, moved.staged, at)
    here = and_(broadcasts.c.workspace == moved.workspace, broadcasts.c.id == moved.id)
    connection.execute(update(broadcasts).where(here).values(staged=None))
    return dataclasses.replace(moved, staged=None)


def leave_over(connection: Connection, broadcast: Broadcast, staged: Staged, at: Micros) -> None:
    """Remember to recall this campaign."""
    row: dict[str, Any] = {"account": broadcast.account, "id": staged.id, "workspace": broadcast.workspace}
    row |= {"broadcast": broadcast.id, "staged": _to_column(staged), "try_at": at, "tries": 0}
    insert_ignoring(connection, leftovers, [row])


def leftovers_to_recall(connection: Connection, at: Micros, limit: int = 10) -> list[Leftover]:
    statement = (
        select(leftovers).where(leftovers.c.try_at <= at).order_by(leftovers.c.try_at).limit(limit)
    ).with_for_update(skip_locked=True)
    found = []
    for row in connection.execute(statement).mappings():
        staged = _to_staged(row["staged"])
        if staged is not None:
            found.append(Leftover(row["account"], row["workspace"], row["broadcast"], staged, row["tries"]))
    return found


def put_off_leftover(connection: Connection, left: Leftover, again_at: Micros | None) -> None:
    connection.execute(update(leftovers).where(_is(left)).values(try_at=again_at, tries=leftovers.c.tries + 1))


def forget_leftover(connection: Connection, left: Leftover) -> None:
    connection.execute(leftovers.delete().where(_is(left)))


def _is(left: Leftover) -> ColumnElement[bool]:
    return and_(leftovers.c.account == left.account, leftovers.c.id == left.staged.id)


def _as_seen(seen_as: Broadcast) -> Any:
    # attempt and owner are the fencing token: one whose lease was taken over matches nothing any more
    return and_(
        broadcasts.c.workspace == seen_as.workspace,
        broadcasts.c.id == seen_as.id,
        broadcasts.c.state == seen_as.state,
        broadcasts.c.version == seen_as.version,
        broadcasts.c.attempt == seen_as.attempt,
        broadcasts.c.owner.is_not_distinct_from(seen_as.owner),
        broadcasts.c.phase.is_not_distinct_from(seen_as.phase),
    )


def touch(connection: Connection, seen_as: Broadcast, at: Micros, **changes: Any) -> Broadcast | None:
    """Change fields without a step along the table (a vote, a staged campaign), under the same guard."""
    statement = (
        update(broadcasts)
        .where(_as_seen(seen_as))
        .values(**_to_row(changes), draw_at=at, revision=broadcasts.c.revision + 1)
        .returning(broadcasts)
    )
    row = connection.execute(statement).mappings().first()
    return _to_broadcast(row) if row else None


def write_audit(
    connection: Connection,
    broadcast: Broadcast,
    actor: str,
    action: str,
    before: State | None,
    at: Micros,
    reason: str | None = None,
) -> None:
    row = {
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
    connection.execute(insert(audit).values(**row))


def write_event(
    connection: Connection, workspace: str, actor: str, action: str, reason: str | None, at: Micros
) -> None:
    """Audit something that is no step of one broadcast: a request that was refused, a pause of everything."""
    row = {"workspace": workspace, "actor": actor, "action": action, "reason": reason, "at": at}
    connection.execute(insert(audit).values(**row))


def say(connection: Connection, broadcast: Broadcast, at: Micros, said: Iterable[Note]) -> None:
    """Queue what the thread is to be told, in the transaction that made it true."""
    for note in said:
        row = {
            "workspace": broadcast.workspace,
            "broadcast": broadcast.id,
            "sentence": note.sentence.plain(),
            "mention": note.mention,
            "aloud": note.aloud,
            "at": at,
            "post_at": at,
            "tries": 0,
        }
        connection.execute(insert(notes).values(**row))


def add_vote(connection: Connection, broadcast: Broadcast, approver: str, way: str, at: Micros) -> bool:
    """One person, one vote on a version. False when it was there already."""
    row = {
        "workspace": broadcast.workspace,
        "broadcast": broadcast.id,
        "version": broadcast.version,
        "approver": approver,
        "digest": broadcast.digest,
        "way": way,
        "at": at,
    }
    return insert_ignoring(connection, votes, [row]) == 1


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


# --- what is due -----------------------------------------------------------------------------------------------------


def due(
    connection: Connection, at: Micros, limit: int, *, lease_at: Micros, taken: Mapping[str, str]
) -> list[Broadcast]:
    """Scheduled broadcasts whose time has come, oldest first, locked where the database locks rows.

    `lease_at`: the time by which leases are judged; `taken`: accounts whose one place this broadcast has.
    """
    elsewhere = [and_(broadcasts.c.account == name, broadcasts.c.id != id) for name, id in taken.items()]
    statement = (
        select(broadcasts)
        .where(
            broadcasts.c.state == State.SCHEDULED,
            broadcasts.c.due <= at,
            _free(lease_at),
            not_(or_(*elsewhere, false())),
        )
        .order_by(broadcasts.c.due)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [_to_broadcast(row) for row in connection.execute(statement).mappings()]


def to_stage(
    connection: Connection, accounts: Sequence[str], at: Micros, until: Micros, *, lease_at: Micros, limit: int = 8
) -> list[Broadcast]:
    """Scheduled broadcasts of these accounts that are due soon and have nothing prepared yet, locked."""
    statement = (
        select(broadcasts)
        .where(
            broadcasts.c.state == State.SCHEDULED,
            broadcasts.c.due > at,
            broadcasts.c.due <= until,
            broadcasts.c.account.in_(accounts),
            broadcasts.c.staged.is_(None),
            _free(lease_at),
        )
        .order_by(broadcasts.c.due)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [_to_broadcast(row) for row in connection.execute(statement).mappings()]


def _free(at: Micros) -> ColumnElement[bool]:
    """Nobody is preparing it just now."""
    return or_(broadcasts.c.lease_until.is_(None), broadcasts.c.lease_until <= at)


def free_staged_by_others(connection: Connection, owner: str) -> int:
    """Where only one process dispatches: what another one was preparing before its time, it does no more."""
    theirs = and_(broadcasts.c.state == State.SCHEDULED, broadcasts.c.owner.is_not(None), broadcasts.c.owner != owner)
    return connection.execute(update(broadcasts).where(theirs).values(**NO_LEASE)).rowcount


def in_state(connection: Connection, state: State, *more: ColumnElement[bool], limit: int = 200) -> list[Broadcast]:
    """The broadcasts in a state (and for which `more` holds), those that wait longest first, locked."""
    statement = (
        select(broadcasts)
        .where(broadcasts.c.state == state, *more)
        .order_by(broadcasts.c.changed_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [_to_broadcast(row) for row in connection.execute(statement).mappings()]


def lapsed(connection: Connection, at: Micros) -> list[Broadcast]:
    """Requests that nobody answered in time, and what is held and nobody decided about."""
    over = broadcasts.c.expires_at <= at
    return in_state(connection, State.PENDING, over) + in_state(connection, State.HELD, over)


def reopened(connection: Connection, at: Micros) -> list[Broadcast]:
    """What was held for the hour alone, and whose window is open now."""
    return in_state(connection, State.HELD, broadcasts.c.hold == Hold.HOURS, broadcasts.c.hold_until <= at)


def slots(connection: Connection, at: Micros) -> dict[str, str]:
    """Which broadcast has the one campaign that an account may have open: account to broadcast."""
    open_ones = or_(
        broadcasts.c.state == State.SENDING,
        and_(
            broadcasts.c.state == State.SCHEDULED, or_(broadcasts.c.staged.is_not(None), broadcasts.c.lease_until > at)
        ),
    )
    found = {row.account: row.broadcast for row in connection.execute(select(leftovers)) if row.try_at is not None}
    statement = select(broadcasts.c.account, broadcasts.c.id).where(open_ones)
    return found | {row.account: row.id for row in connection.execute(statement)}


def count_held(connection: Connection, workspace: str, hold: Hold) -> int:
    statement = select(func.count()).select_from(broadcasts)
    mine = and_(broadcasts.c.workspace == workspace, broadcasts.c.state == State.HELD, broadcasts.c.hold == hold)
    return connection.execute(statement.where(mine)).scalar_one()


def stops(connection: Connection, at: Micros) -> dict[str, str]:
    """What stands still just now: paused workspaces, accounts that nobody tries for a while."""
    found = connection.execute(select(kept).where(kept.c.name.like("pause:%") | kept.c.name.like("breaker:%")))
    told = {}
    for row in found:
        if row.name.startswith("pause:") and row.value:
            told[row.name] = "all sending is paused"
        elif row.name.startswith("breaker:") and json.loads(row.value)[1] > at:
            told[row.name] = "the vendor cannot be reached"
    return told


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


def breaker(connection: Connection, account: str) -> Breaker:
    value = load_kept(connection, f"breaker:{account}")
    return Breaker(*json.loads(value)) if value else Breaker()


def set_breaker(connection: Connection, account: str, state: Breaker, at: Micros) -> None:
    keep(connection, f"breaker:{account}", json.dumps([state.failures, state.until]), at)


def paused(connection: Connection, workspace: str) -> bool:
    """Has an admin stopped all sending of this workspace?"""
    return bool(load_kept(connection, f"pause:{workspace}"))


def set_paused(connection: Connection, workspace: str, by: str | None, at: Micros) -> None:
    """`by` whom; None resumes."""
    keep(connection, f"pause:{workspace}", by or "", at)


def quoting(connection: Connection, account: str, until: Micros, at: Micros) -> None:
    """A quote takes the account's one place until it is done, or at the latest until then. 0: it is done."""
    keep(connection, f"quoting:{account}", str(until), at)


def is_quoting(connection: Connection, account: str, at: Micros) -> bool:
    return int(load_kept(connection, f"quoting:{account}") or 0) > at


def alone(connection: Connection, workspace: str) -> None:
    """Until this transaction ends, no other one that asks this runs for the workspace. SQLite writes alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(workspace))))


def released_since(connection: Connection, workspace: str, since: Micros) -> int:
    """How many releases this workspace has begun since then, for the cap."""
    statement = select(func.count()).select_from(dispatches)
    return connection.execute(
        statement.where(dispatches.c.workspace == workspace, dispatches.c.released_at >= since)
    ).scalar_one()


def keep_dispatch(connection: Connection, broadcast: Broadcast, token: str) -> None:
    """Make the callback address of this attempt known, before the vendor learns it."""
    row = {
        "workspace": broadcast.workspace,
        "broadcast": broadcast.id,
        "dispatch": broadcast.dispatch,
        "account": broadcast.account,
        "token_hash": token_hash(token),
    }
    insert_ignoring(connection, dispatches, [row])


def mark_released(connection: Connection, broadcast: Broadcast, at: Micros) -> None:
    connection.execute(
        update(dispatches)
        .where(
            dispatches.c.workspace == broadcast.workspace,
            dispatches.c.broadcast == broadcast.id,
            dispatches.c.dispatch == broadcast.dispatch,
        )
        .values(released_at=at)
    )


def token_hash(token: str) -> str:
    """Tokens are looked up by their hash, so that how long a look-up takes says nothing of the token."""
    return hashlib.sha256(token.encode()).hexdigest()


def dispatch_by_token(connection: Connection, account: str, token: str) -> tuple[str, str] | None:
    """(workspace, broadcast id) of the dispatch whose callback address holds this token."""
    statement = select(dispatches.c.workspace, dispatches.c.broadcast).where(
        dispatches.c.account == account, dispatches.c.token_hash == token_hash(token)
    )
    row = connection.execute(statement).first()
    return (row.workspace, row.broadcast) if row else None


# --- receipts --------------------------------------------------------------------------------------------------------


def own_ids(connection: Connection, broadcast: Broadcast, ids: Iterable[str]) -> None:
    """These ids at this account are this broadcast's; receipts that were set aside for them find their way home."""
    rows = [
        {"account": broadcast.account, "id": id, "workspace": broadcast.workspace, "broadcast": broadcast.id}
        for id in ids
    ]
    insert_ignoring(connection, vendor_ids, rows)


def owner_of(connection: Connection, account: str, id: str) -> tuple[str, str] | None:
    statement = select(vendor_ids.c.workspace, vendor_ids.c.broadcast).where(
        vendor_ids.c.account == account, vendor_ids.c.id == id
    )
    row = connection.execute(statement).first()
    return (row.workspace, row.broadcast) if row else None


def record_delivery(
    connection: Connection, account: str, receipt: Receipt, recipient: str, owner: tuple[str, str] | None, at: Micros
) -> bool:
    """Write one receipt. Statuses only go up; False when it told nothing new."""
    identity = {"account": account, "id": receipt.id, "recipient": recipient, "kind": receipt.kind}
    key = and_(*(deliveries.c[name] == value for name, value in identity.items()))
    known = connection.execute(select(deliveries).where(key).with_for_update()).mappings().first()
    values = {"status": receipt.status, "word": receipt.word[:64], "final": receipt.final, "at": at}
    if known is None:
        workspace, broadcast = owner or (None, None)
        row = {**identity, "workspace": workspace, "broadcast": broadcast, **values}
        return insert_ignoring(connection, deliveries, [row]) == 1
    if not _goes_up(known, receipt):
        return False
    connection.execute(update(deliveries).where(key).values(**values))
    return True


def _goes_up(known: RowMapping, receipt: Receipt) -> bool:
    if RANK[receipt.status] != RANK[DeliveryStatus(known["status"])]:
        return RANK[receipt.status] > RANK[DeliveryStatus(known["status"])]
    return not known["final"] and (receipt.final or receipt.word != known["word"])


def adopt_deliveries(connection: Connection, broadcast: Broadcast, ids: Iterable[str]) -> None:
    """Receipts that came before the ids were known belong to this broadcast."""
    for id in ids:
        connection.execute(
            update(deliveries)
            .where(deliveries.c.account == broadcast.account, deliveries.c.id == id, deliveries.c.broadcast.is_(None))
            .values(workspace=broadcast.workspace, broadcast=broadcast.id)
        )


def delivery_counts(connection: Connection, workspace: str, id: str) -> dict[str, int]:
    """How many deliveries stand where: by status, and `other: WORD` for words that nobody knows; then the answers."""
    label = deliveries.c.kind, deliveries.c.status, deliveries.c.word
    statement = (
        select(*label, func.count())
        .where(deliveries.c.workspace == workspace, deliveries.c.broadcast == id)
        .group_by(*label)
    )
    counts: dict[str, int] = {}
    for kind, status, word, number in connection.execute(statement):
        name = ANSWERS.get(kind) or (f"other: {word}" if status == DeliveryStatus.OTHER else status)
        counts[name] = counts.get(name, 0) + number
    return counts


def note_progress(connection: Connection, workspace: str, id: str, counts: Mapping[str, int], at: Micros) -> None:
    """New counts for the card; the thread is told, a moment later, when a status appears for the first time."""
    current = find(connection, workspace, id, lock=True)
    if counts == current.counts:
        return
    values: dict[str, Any] = {
        "counts": dict(counts),
        "draw_at": func.coalesce(broadcasts.c.draw_at, at + PROGRESS_PAUSE),
    }
    if counts.keys() - current.counts.keys():
        values["progress_at"] = func.coalesce(broadcasts.c.progress_at, at + PROGRESS_PAUSE)
    mine = and_(broadcasts.c.workspace == workspace, broadcasts.c.id == id)
    connection.execute(update(broadcasts).where(mine).values(**values, revision=broadcasts.c.revision + 1))


def progress_to_tell(connection: Connection, at: Micros, limit: int = 50) -> list[Broadcast]:
    """Broadcasts with news for their thread; taking them marks them as told."""
    statement = select(broadcasts).where(broadcasts.c.progress_at <= at).limit(limit).with_for_update(skip_locked=True)
    rows = [_to_broadcast(row) for row in connection.execute(statement).mappings()]
    for row in rows:
        mine = and_(broadcasts.c.workspace == row.workspace, broadcasts.c.id == row.id)
        connection.execute(update(broadcasts).where(mine).values(progress_at=None))
    return rows


def to_look_at(connection: Connection, state: State, at: Micros, limit: int) -> list[Broadcast]:
    """Broadcasts in this state whose vendor is to be asked again, the longest waiting first."""
    statement = (
        select(broadcasts)
        .where(broadcasts.c.state == state, broadcasts.c.look_at <= at)
        .order_by(broadcasts.c.look_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [_to_broadcast(row) for row in connection.execute(statement).mappings()]


def unsized(connection: Connection, accounts: Sequence[str], at: Micros, limit: int = 5) -> list[Broadcast]:
    """Broadcasts that wait, of these accounts, whose size nobody has asked for lately."""
    statement = (
        select(broadcasts)
        .where(
            broadcasts.c.state.in_([State.PENDING, State.SCHEDULED]),
            broadcasts.c.size.is_(None),
            broadcasts.c.account.in_(accounts),
            func.coalesce(broadcasts.c.look_at, 0) <= at,
        )
        .order_by(broadcasts.c.created_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [_to_broadcast(row) for row in connection.execute(statement).mappings()]


def set_look_at(connection: Connection, row: Broadcast, at: Micros | None) -> None:
    mine = and_(broadcasts.c.workspace == row.workspace, broadcasts.c.id == row.id)
    connection.execute(update(broadcasts).where(mine, broadcasts.c.state == row.state).values(look_at=at))


def final_deliveries(connection: Connection, workspace: str, id: str) -> int:
    statement = select(func.count()).select_from(deliveries)
    mine = and_(deliveries.c.workspace == workspace, deliveries.c.broadcast == id, deliveries.c.final)
    return connection.execute(statement.where(mine)).scalar_one()


# --- cards and notes -------------------------------------------------------------------------------------------------


def cards_to_draw(connection: Connection, at: Micros, limit: int) -> list[Broadcast]:
    """Broadcasts whose card shows an older revision."""
    statement = select(broadcasts).where(broadcasts.c.draw_at <= at).order_by(broadcasts.c.draw_at).limit(limit)
    return [_to_broadcast(row) for row in connection.execute(statement).mappings()]


def drawn(connection: Connection, broadcast: Broadcast, *, again_at: Micros) -> None:
    """The card shows this revision. If the broadcast has moved on meanwhile, it is drawn again at `again_at`."""
    mine = and_(broadcasts.c.workspace == broadcast.workspace, broadcasts.c.id == broadcast.id)
    newer = broadcasts.c.revision != broadcast.revision
    connection.execute(update(broadcasts).where(mine).values(draw_at=case((newer, again_at), else_=None)))


def card_of(connection: Connection, broadcast: Broadcast) -> Card | None:
    statement = select(cards).where(
        cards.c.workspace == broadcast.workspace,
        cards.c.broadcast == broadcast.id,
        cards.c.version == broadcast.version,
    )
    row = connection.execute(statement).mappings().first()
    return Card(**row) if row else None


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
        connection.execute(update(cards).where(mine).values(channel=card.channel, ts=card.ts, drawn=card.drawn))


def notes_to_post(connection: Connection, at: Micros, limit: int) -> list[PendingNote]:
    """The oldest unposted note of each broadcast, when its time has come: a thread keeps its order."""
    oldest = (
        select(func.min(notes.c.seq)).where(notes.c.post_at.is_not(None)).group_by(notes.c.workspace, notes.c.broadcast)
    )
    statement = select(notes).where(notes.c.seq.in_(oldest), notes.c.post_at <= at).order_by(notes.c.seq).limit(limit)
    return [_to_note(row) for row in connection.execute(statement).mappings()]


def _to_note(row: RowMapping) -> PendingNote:
    note = Note(Sentence.of(row["sentence"]), row["mention"], row["aloud"])
    return PendingNote(row["seq"], row["workspace"], row["broadcast"], note, row["at"], row["tries"])


def note_posted(connection: Connection, seq: int, ts: str) -> None:
    connection.execute(update(notes).where(notes.c.seq == seq).values(post_at=None, ts=ts))


def note_failed(connection: Connection, seq: int, again_at: Micros | None) -> None:
    """Try again later; None gives it up."""
    connection.execute(update(notes).where(notes.c.seq == seq).values(post_at=again_at, tries=notes.c.tries + 1))


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
