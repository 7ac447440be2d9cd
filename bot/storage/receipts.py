"""What vendors report about deliveries: recorded once, counted, and shown as progress.

A token identifies a callback, an id is unique in its account, and a delivery's status only goes up.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    RowMapping,
    Table,
    and_,
    bindparam,
    case,
    func,
    select,
    update,
)

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.lifecycle import ENDED, State
from bot.storage.broadcast_rows import UNDERSTOOD, Owner, to_broadcast, to_counts, understood
from bot.storage.failing_rows import failing_rows_of
from bot.storage.sql import batched, but, insert_into, read_each, scope_of, with_keys, within
from bot.storage.tables import broadcasts, deliveries
from providers.base import DeliveryStatus, Receipt, ReceiptKind

WORD = 64  # characters of a vendor's status word that are kept
WORDS = 10  # status words that one broadcast counts by name; all others are counted together
OTHER = str(DeliveryStatus.OTHER)
PROGRESS_PAUSE = 1_000_000  # microseconds in which new statuses are collected into one note
ANSWERS = {ReceiptKind.REPLY.value: "replies", ReceiptKind.OPT_OUT.value: "opt-outs"}

# Statuses only go up: a delivery never goes back from a later word to an earlier one.
RANK: dict[str, int] = {
    DeliveryStatus.ACCEPTED: 0,
    DeliveryStatus.OTHER: 1,
    DeliveryStatus.SENT: 2,
    DeliveryStatus.EXPIRED: 3,
    DeliveryStatus.FAILED: 3,
    DeliveryStatus.BLACKLISTED: 3,
    DeliveryStatus.DELIVERED: 4,
}
FAILURES = frozenset({DeliveryStatus.FAILED, DeliveryStatus.BLACKLISTED, DeliveryStatus.EXPIRED})
NEWER = 5  # rank of a status that only a newer version knows: no status known here is higher
_DELIVERY = (deliveries.c.account, deliveries.c.id, deliveries.c.recipient, deliveries.c.kind)


@dataclass(frozen=True)
class OwnedReceipt:
    """A receipt, its owner if known, and its `recipient` as stored."""

    account: str
    receipt: Receipt
    recipient: str
    owner: Owner | None

    @property
    def delivery(self) -> _Delivery:
        return _Delivery(self.account, self.receipt.id, self.recipient, self.receipt.kind)


class _Delivery(NamedTuple):
    """The key of a delivery or an answer."""

    account: str
    id: str
    recipient: str
    kind: str


class _Standing(NamedTuple):
    """How far a delivery or an answer has come; `owner`: its broadcast, from its row."""

    kind: str
    status: str
    word: str
    final: bool
    owner: Owner | None = None

    @property
    def label(self) -> str:
        """The name under which it is counted."""
        return _label(self.kind, self.status, self.word)


@dataclass
class DeliveryCounts:
    """Deliveries counted by status, then the answers. Also the difference between two such counts.

    `other: WORD` counts a word that nobody knows; `other` counts those past the first few. `final`: how many deliveries
    are final. Where all are counted one by one, `reasons`: the vendor's words for those that failed; `last_at`: when
    the last news of a delivery came.
    """

    counts: dict[str, int] = field(default_factory=dict)
    final: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    last_at: Micros | None = None

    def add(self, name: str, number: int, final: int) -> None:
        self.counts[name] = self.counts.get(name, 0) + number
        self.final += final

    def move(self, before: _Standing | None, after: _Standing) -> None:
        """Count a delivery where it stands now, and no longer where it was counted before, if it was."""
        if before is not None:
            self.add(before.label, -1, -int(before.final))
        self.add(after.label, 1, int(after.final))


@dataclass(frozen=True)
class Followed:
    """The columns of a broadcast that its receipts need.

    The whole row also holds the vendor's ids, perhaps thousands of them, and would be read again with each receipt.
    """

    workspace: str
    id: str
    state: State
    account: str
    counts: Mapping[str, int]
    finals: int
    revision: int
    changed_at: Micros
    accepted_at: Micros | None
    claimed: bool  # as `Broadcast.claimed`

    @property
    def ended(self) -> bool:
        return self.state in ENDED


Row = TypeVar("Row", Broadcast, Followed)


@dataclass(frozen=True)
class Written:
    """`news`: whether each receipt brought something new; `moved`: the change to each broadcast's counts."""

    news: list[bool]
    moved: Mapping[Owner, DeliveryCounts]


@dataclass(frozen=True)
class Recount:
    """All deliveries of a broadcast, counted one by one, and its row as it stood just before."""

    row: Broadcast
    tally: DeliveryCounts

    @property
    def agrees(self) -> bool:
        return (dict(self.row.counts), self.row.finals) == (self.tally.counts, self.tally.final)

    def holds(self, current: Broadcast) -> bool:
        """Whether nothing was counted since, so that these counts are still right."""
        return (current.revision, current.finals) == (self.row.revision, self.row.finals)


def record_deliveries(connection: Connection, reported: Sequence[OwnedReceipt], at: Micros) -> Written:
    """Write receipts, as if one after the other. Statuses only go up.

    Any number of them takes a few statements for each thousand. A receipt that was set aside while its owner was
    unknown gets its owner with the next receipt about it.
    """
    first: dict[_Delivery, OwnedReceipt] = {}
    for one in reported:
        first.setdefault(one.delivery, one)
    rows = [_row(key, _standing_of(first[key]), at) for key in sorted(first)]
    fresh = set(map(_Delivery._make, insert_new(connection, deliveries, rows)))
    before = _lock_deliveries(connection, first.keys() - fresh)
    stands, news = dict(before), []
    for one in reported:
        known = stands.get(one.delivery)
        stands[one.delivery] = standing = _after(known, one)
        news.append(standing != known)
    risen = sorted(key for key in before.keys() | fresh if stands[key] != before.get(key, _standing_of(first[key])))
    _write_risen(connection, [_row(key, stands[key], at) for key in risen])
    return Written(news, _moved(before, stands))


def _moved(
    before: Mapping[_Delivery, _Standing], after: Mapping[_Delivery, _Standing]
) -> defaultdict[Owner, DeliveryCounts]:
    """Return the change to each owner's counts. A delivery without an owner was not counted before."""
    moved = defaultdict[Owner, DeliveryCounts](DeliveryCounts)
    for key, standing in after.items():
        known = before.get(key)
        if standing.owner is not None and standing != known:
            moved[standing.owner].move(known if known and known.owner else None, standing)
    return moved


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Insert the rows that are not there yet; return their keys."""
    new = insert_into(connection, table).on_conflict_do_nothing().returning(*table.primary_key)
    return list(chain.from_iterable(connection.execute(new, list(batch)).all() for batch in batched(rows)))


def _lock_deliveries(connection: Connection, keys: Collection[_Delivery]) -> dict[_Delivery, _Standing]:
    """Return how these stand, and lock them until the transaction ends."""
    statement = select(deliveries).order_by(*_DELIVERY).with_for_update()
    return {key: standing_of(row) for key, row in with_keys(connection, statement, _DELIVERY, keys)}


def standing_of(row: RowMapping) -> _Standing:
    owner = (row["workspace"], row["broadcast"]) if row["broadcast"] else None
    return _Standing(row["kind"], row["status"], row["word"], row["final"], owner)


def _standing_of(one: OwnedReceipt) -> _Standing:
    receipt = one.receipt
    return _Standing(receipt.kind, receipt.status, receipt.word[:WORD], receipt.final, one.owner)


def _after(known: _Standing | None, one: OwnedReceipt) -> _Standing:
    """Return how a delivery stands after this receipt."""
    reported = _standing_of(one)
    if known is None:
        return reported
    owner = known.owner or reported.owner
    return (reported if _goes_up(known, reported) else known)._replace(owner=owner)


def _write_risen(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    statement = insert_into(connection, deliveries)
    risen = ("workspace", "broadcast", "status", "word", "final", "at")
    values = {name: statement.excluded[name] for name in risen}
    statement = statement.on_conflict_do_update(index_elements=_DELIVERY, set_=values)
    connection.execute(statement.returning(deliveries.c.account), rows)  # RETURNING makes it one statement, not many


def _row(key: _Delivery, stands: _Standing, at: Micros) -> dict[str, Any]:
    workspace, broadcast = stands.owner or (None, None)
    columns = {"status": stands.status, "word": stands.word, "final": stands.final, "at": at}
    return {**key._asdict(), "workspace": workspace, "broadcast": broadcast, **columns}


def _goes_up(known: _Standing, reported: _Standing) -> bool:
    higher = _rank(reported) - _rank(known)
    if higher != 0:
        return higher > 0
    return not known.final and (reported.final or reported.word != known.word)


def _rank(standing: _Standing) -> int:
    return RANK.get(standing.status, NEWER)


def recount(connection: Connection, row: Broadcast) -> Recount:
    """Return what a broadcast's counts should be. It reads each delivery, which takes too long for a writer.

    `row` was read just before, in the same transaction. `Recount.holds` shows whether anything was counted since then.
    """
    true = tally(connection, row.workspace, row.id)
    return Recount(row, replace(true, counts=_folded(true.counts, row.counts)))


_KEY = broadcasts.c.workspace, broadcasts.c.id
_CLAIMED = and_(broadcasts.c.state.in_((State.SENT, State.DONE)), broadcasts.c.failure.is_not(None)).label("claimed")
_READ = [_CLAIMED if one.name == "claimed" else broadcasts.c[one.name] for one in fields(Followed)]
_FOLLOWED = select(*_READ).where(UNDERSTOOD).order_by(*_KEY)


def followed(connection: Connection, owners: Collection[Owner], *, lock: bool = False) -> dict[Owner, Followed]:
    """Return those of these (workspace, id) that exist and that this version can read. `lock` holds their rows."""
    statement = _FOLLOWED.with_for_update() if lock else _FOLLOWED
    found = {}
    for owner, row in with_keys(connection, statement, _KEY, owners):
        with failing_rows_of(connection).alone("counts", owner[1], owner[0]):
            found[owner] = _to_followed(row)
    return found


def _to_followed(row: RowMapping) -> Followed:
    if not all(type(row[name]) is int for name in ("finals", "revision", "changed_at")):
        raise ValueError("there are no numbers to count on from")
    return Followed(**{**row, "state": State(row["state"]), "counts": to_counts(row["counts"])})


def tally(connection: Connection, workspace: str, id: str) -> DeliveryCounts:
    """Count the deliveries of a broadcast, one by one."""
    number, final = func.count().label("number"), func.sum(case((deliveries.c.final, 1), else_=0)).label("over")
    last = func.max(deliveries.c.at).label("last")
    label = (deliveries.c.kind, deliveries.c.status, deliveries.c.word)
    mine = and_(deliveries.c.workspace == workspace, deliveries.c.broadcast == id)
    found = DeliveryCounts()
    for row in connection.execute(select(*label, number, final, last).where(mine).group_by(*label)).mappings():
        found.add(_label(row["kind"], row["status"], row["word"]), row["number"], row["over"])
        if row["kind"] == ReceiptKind.DELIVERY:
            found.last_at = max(found.last_at or 0, row["last"])
        if row["status"] in FAILURES:
            found.reasons[row["word"]] = found.reasons.get(row["word"], 0) + row["number"]
    return found


def _label(kind: str, status: str, word: str) -> str:
    return ANSWERS.get(kind) or (f"{OTHER}: {word}" if status == DeliveryStatus.OTHER else str(status))


def _folded(counts: Mapping[str, int], known: Mapping[str, int]) -> dict[str, int]:
    """Return the counts with only a few words by name, since vendors write numbers and times into theirs.

    While some words are counted together as `other`, only `known` words keep a name: a new word may already be among
    them. A negative number is subtracted from `other`.
    """
    named = (name for name, number in counts.items() if _is_word(name) and number > 0)
    words = sorted((name not in known, name) for name in named if name in known or OTHER not in known)
    few = {name for _, name in words[:WORDS]}
    sums = Counter[str]()
    for name, number in counts.items():
        sums[OTHER if _is_word(name) and name not in few else name] += number
    return {name: number for name, number in sums.items() if number > 0}


def _is_word(name: str) -> bool:
    return name.startswith(f"{OTHER}: ")


def count(connection: Connection, current: Row, moved: DeliveryCounts, at: Micros) -> Row:
    """Add what moved to the counts of a locked broadcast; return it as it stands then."""
    names = {**current.counts, **moved.counts}
    sums = {name: current.counts.get(name, 0) + moved.counts.get(name, 0) for name in names}
    counts = _folded(sums, current.counts)
    return note_progress(connection, current, counts, max(current.finals + moved.final, 0), at)


def note_progress(connection: Connection, current: Row, counts: Mapping[str, int], finals: int, at: Micros) -> Row:
    """Set the counts of a locked broadcast, and let its card be drawn again; return it as it stands then.

    The thread gets a note, a moment later, when a status appears for the first time.
    """
    if (counts, finals) == (current.counts, current.finals):
        return current
    values: dict[str, Any] = {"counts": dict(counts), "finals": finals}
    seen = counts != current.counts
    if seen:
        values |= {
            "draw_at": func.coalesce(broadcasts.c.draw_at, at + PROGRESS_PAUSE),
            "revision": current.revision + 1,
        }
    if counts.keys() - current.counts.keys():
        values["progress_at"] = func.coalesce(broadcasts.c.progress_at, at + PROGRESS_PAUSE)
    mine = and_(broadcasts.c.workspace == current.workspace, broadcasts.c.id == current.id)
    connection.execute(update(broadcasts).where(mine).values(**values))
    return replace(current, counts=counts, finals=finals, revision=current.revision + seen)


class Waiting(NamedTuple):
    """What a tick has to do: whether there is progress to post, and something sent or unknown to poll."""

    progress: bool
    sent: bool
    unknown: bool


def what_waits(connection: Connection, at: Micros) -> Waiting:
    return Waiting._make(map(bool, connection.execute(_WAITS, {"at": at, **scope_of(connection)}).one()))


def _waits(*those: ColumnElement[bool]) -> ColumnElement[bool]:
    return select(broadcasts.c.id).where(*those, UNDERSTOOD, within(broadcasts)).exists()


_AT = bindparam("at", type_=BigInteger)
_WAITS = select(
    _waits(broadcasts.c.progress_at <= _AT).label("progress"),
    *(_waits(broadcasts.c.state == it, broadcasts.c.look_at <= _AT).label(it) for it in (State.SENT, State.UNKNOWN)),
)


def progress_to_post(connection: Connection, at: Micros, limit: int = 50) -> list[Broadcast]:
    """Broadcasts with news for their thread."""
    stumbled = but(broadcasts.c.id, failing_rows_of(connection).put_off("progress"))
    waiting = select(broadcasts).where(broadcasts.c.progress_at <= at, understood(connection), stumbled)
    statement = waiting.limit(limit).with_for_update(skip_locked=True)
    return read_each(connection, statement, to_broadcast, "row", "id")


def mark_progress_posted(connection: Connection, row: Broadcast) -> None:
    mine = and_(broadcasts.c.workspace == row.workspace, broadcasts.c.id == row.id)
    connection.execute(update(broadcasts).where(mine).values(progress_at=None))
