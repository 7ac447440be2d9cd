"""All SQL about what vendors tell of a dispatch, as plain functions of a sync `Connection`.

A callback is known by its token, an id by its account, and a delivery's status only goes up.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, case, func, select, update

from bot import store
from bot.broadcast import Broadcast, Micros
from bot.tables import broadcasts, deliveries, dispatches, vendor_ids
from providers.base import DeliveryStatus, Receipt, ReceiptKind

WORD = 64  # characters of a vendor's status word that are kept
PROGRESS_PAUSE = 1_000_000  # microseconds in which statuses that appear together are told together
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
_DELIVERY = (deliveries.c.account, deliveries.c.id, deliveries.c.recipient, deliveries.c.kind)


@dataclass(frozen=True)
class Heard:
    """A receipt, whose it is if anybody knows, and its `recipient` as it is kept."""

    account: str
    receipt: Receipt
    recipient: str
    owner: store.Owner | None

    @property
    def delivery(self) -> _Delivery:
        return _Delivery(self.account, self.receipt.id, self.recipient, self.receipt.kind)


class _Delivery(NamedTuple):
    """What a delivery, or an answer, is known by."""

    account: str
    id: str
    recipient: str
    kind: str


_Standing = tuple[DeliveryStatus, str, bool]  # status, word, final


@dataclass
class Tally:
    """How many deliveries stand where: by status, and `other: WORD` for words that nobody knows; then the answers.
    `final`: of how many nothing more is to come."""

    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    final: int = 0

    def add(self, name: str, number: int, final: int) -> None:
        self.counts[name] = self.counts.get(name, 0) + number
        self.final += final


# --- whose it is ------------------------------------------------------------------------------------------------------


def keep_dispatch(connection: Connection, broadcast: Broadcast, token: str) -> None:
    """Make the callback address of this attempt known, before the vendor learns it."""
    row = {
        "workspace": broadcast.workspace,
        "broadcast": broadcast.id,
        "dispatch": broadcast.dispatch,
        "account": broadcast.account,
        "token_hash": token_hash(token),
    }
    store.insert_ignoring(connection, dispatches, [row])


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


def own_ids(connection: Connection, broadcast: Broadcast, ids: Iterable[str]) -> None:
    """These ids at this account are this broadcast's; receipts that were set aside for them find their way home."""
    learn_ids(connection, {(broadcast.account, id): (broadcast.workspace, broadcast.id) for id in ids})


def owner_of(connection: Connection, account: str, id: str) -> store.Owner | None:
    return owners_of(connection, [(account, id)]).get((account, id))


def owners_of(connection: Connection, ids: Collection[tuple[str, str]]) -> dict[tuple[str, str], store.Owner]:
    """Whose each of these (account, id) is, where that is known."""
    rows = store.with_keys(connection, select(vendor_ids), (vendor_ids.c.account, vendor_ids.c.id), ids)
    return {key: (row["workspace"], row["broadcast"]) for key, row in rows}


def learn_ids(connection: Connection, owners: Mapping[tuple[str, str], store.Owner]) -> None:
    """Each (account, id) is this broadcast's, unless it is known to be another's."""
    rows = [
        {"account": account, "id": id, "workspace": workspace, "broadcast": broadcast}
        for (account, id), (workspace, broadcast) in sorted(owners.items())
    ]
    store.insert_ignoring(connection, vendor_ids, rows)


def adopt_deliveries(connection: Connection, broadcast: Broadcast, ids: Iterable[str]) -> None:
    """Receipts that came before the ids were known belong to this broadcast."""
    set_aside = and_(deliveries.c.account == broadcast.account, deliveries.c.broadcast.is_(None))
    ours = update(deliveries).values(workspace=broadcast.workspace, broadcast=broadcast.id)
    for batch in store.batched(ids):
        connection.execute(ours.where(set_aside, deliveries.c.id.in_(batch)))


def ids_with_news(connection: Connection, workspace: str, id: str) -> tuple[str, ...]:
    """The vendor's ids of which a broadcast has news of any kind."""
    mine = and_(deliveries.c.workspace == workspace, deliveries.c.broadcast == id)
    return tuple(connection.execute(select(deliveries.c.id).where(mine).distinct().order_by(deliveries.c.id)).scalars())


def reported_since_let_go(connection: Connection, broadcast: Broadcast) -> bool:
    """Does the vendor tell of deliveries of it, that whoever let it go last cannot have known?"""
    mine = and_(deliveries.c.workspace == broadcast.workspace, deliveries.c.broadcast == broadcast.id)
    news = and_(deliveries.c.kind == ReceiptKind.DELIVERY, deliveries.c.at >= (broadcast.start_at or 0))
    return connection.execute(select(deliveries.c.id).where(mine, news).limit(1)).first() is not None


# --- what is heard ----------------------------------------------------------------------------------------------------


def record_deliveries(connection: Connection, heard: Sequence[Heard], at: Micros) -> list[bool]:
    """Write receipts, as if one after the other, and say of each whether it told something new. Statuses only go up.

    However many they are, they take a few statements for each hundred.
    """
    first: dict[_Delivery, Heard] = {}
    for one in heard:
        first.setdefault(one.delivery, one)
    fresh = _insert_new(connection, [_delivery_row(first[key], at) for key in sorted(first)])
    stands = _lock_deliveries(connection, first.keys() - fresh)
    news, risen = [], dict[_Delivery, Heard]()
    for one in heard:
        key = one.delivery
        new = key not in stands or _goes_up(stands[key], one.receipt)
        if new:
            risen |= {key: one} if key in stands else {}
            stands[key] = one.receipt.status, one.receipt.word[:WORD], one.receipt.final
        news.append(new)
    _write_risen(connection, [_delivery_row(risen[key], at) for key in sorted(risen)])
    return news


def _insert_new(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> set[_Delivery]:
    if not rows:
        return set()
    statement = store.insert_into(connection, deliveries).on_conflict_do_nothing().returning(*_DELIVERY)
    return {_Delivery(*row) for row in connection.execute(statement, rows)}


def _lock_deliveries(connection: Connection, keys: Collection[_Delivery]) -> dict[_Delivery, _Standing]:
    """How these stand, held until the transaction ends."""
    statement = select(deliveries).order_by(*_DELIVERY).with_for_update()
    rows = store.with_keys(connection, statement, _DELIVERY, keys)
    return {key: (DeliveryStatus(row["status"]), row["word"], row["final"]) for key, row in rows}


def _write_risen(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    statement = store.insert_into(connection, deliveries)
    values = {name: statement.excluded[name] for name in ("status", "word", "final", "at")}
    statement = statement.on_conflict_do_update(index_elements=_DELIVERY, set_=values)
    connection.execute(statement.returning(deliveries.c.account), rows)  # with an answer it is one statement, not many


def _delivery_row(one: Heard, at: Micros) -> dict[str, Any]:
    workspace, broadcast = one.owner or (None, None)
    told = {"status": one.receipt.status, "word": one.receipt.word[:WORD], "final": one.receipt.final, "at": at}
    return {**one.delivery._asdict(), "workspace": workspace, "broadcast": broadcast, **told}


def _goes_up(known: _Standing, receipt: Receipt) -> bool:
    status, word, final = known
    if RANK[receipt.status] != RANK[status]:
        return RANK[receipt.status] > RANK[status]
    return not final and (receipt.final or receipt.word[:WORD] != word)


# --- what is told of it -----------------------------------------------------------------------------------------------


def tallies(connection: Connection, owners: Collection[store.Owner]) -> dict[store.Owner, Tally]:
    """Where the deliveries of each of these broadcasts stand."""
    of, label = (deliveries.c.workspace, deliveries.c.broadcast), (deliveries.c.status, deliveries.c.word)
    number, final = func.count().label("number"), func.sum(case((deliveries.c.final, 1), else_=0)).label("over")
    statement = select(*of, deliveries.c.kind, *label, number, final).group_by(*of, deliveries.c.kind, *label)
    found = {owner: Tally() for owner in owners}
    for owner, row in store.with_keys(connection, statement, of, owners):
        other = f"other: {row['word']}" if row["status"] == DeliveryStatus.OTHER else row["status"]
        found[owner].add(ANSWERS.get(row["kind"]) or other, row["number"], row["over"])
    return found


def delivery_counts(connection: Connection, workspace: str, id: str) -> dict[str, int]:
    return tallies(connection, [(workspace, id)])[workspace, id].counts


def note_progress(connection: Connection, current: Broadcast, counts: Mapping[str, int], at: Micros) -> None:
    """New counts for the card of a broadcast that is locked; the thread is told, a moment later, when a status appears
    for the first time."""
    if counts == current.counts:
        return
    values: dict[str, Any] = {
        "counts": dict(counts),
        "draw_at": func.coalesce(broadcasts.c.draw_at, at + PROGRESS_PAUSE),
    }
    if counts.keys() - current.counts.keys():
        values["progress_at"] = func.coalesce(broadcasts.c.progress_at, at + PROGRESS_PAUSE)
    mine = and_(broadcasts.c.workspace == current.workspace, broadcasts.c.id == current.id)
    connection.execute(update(broadcasts).where(mine).values(**values, revision=broadcasts.c.revision + 1))


def progress_to_tell(connection: Connection, at: Micros, limit: int = 50) -> list[Broadcast]:
    """Broadcasts with news for their thread; taking them marks them as told."""
    waiting = select(broadcasts).where(broadcasts.c.progress_at <= at, store.UNDERSTOOD)
    statement = waiting.limit(limit).with_for_update(skip_locked=True)
    rows = [store.to_broadcast(row) for row in connection.execute(statement).mappings()]
    for row in rows:
        mine = and_(broadcasts.c.workspace == row.workspace, broadcasts.c.id == row.id)
        connection.execute(update(broadcasts).where(mine).values(progress_at=None))
    return rows
