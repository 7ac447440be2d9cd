"""Which broadcast a vendor's id or a callback's token belongs to."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from sqlalchemy import Connection, and_, select, update

from bot.domain.broadcast import Broadcast
from bot.storage.broadcast_rows import Owner
from bot.storage.receipts import DeliveryCounts, count, followed, insert_new, standing_of
from bot.storage.sql import alone, batched, insert_ignoring, with_keys
from bot.storage.tables import deliveries, dispatches, vendor_ids
from providers.base import ReceiptKind

_STANDING = [deliveries.c[name] for name in ("kind", "status", "word", "final", "workspace", "broadcast")]


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


def token_hash(token: str) -> str:
    """Hash a token. Look-ups use the hash, so that the time they take reveals nothing about the token."""
    return hashlib.sha256(token.encode()).hexdigest()


def dispatch_by_token(connection: Connection, account: str, token: str) -> tuple[str, str] | None:
    """(workspace, broadcast id) of the dispatch whose callback address holds this token."""
    statement = select(dispatches.c.workspace, dispatches.c.broadcast).where(
        dispatches.c.account == account, dispatches.c.token_hash == token_hash(token)
    )
    row = connection.execute(statement).first()
    return (row.workspace, row.broadcast) if row else None


def own_ids(connection: Connection, broadcast: Broadcast, ids: Iterable[str]) -> None:
    """Assign these vendor ids to this broadcast, and with them the receipts that were set aside for them."""
    learn_ids(connection, {(broadcast.account, id): (broadcast.workspace, broadcast.id) for id in ids})


def owners_of(connection: Connection, ids: Collection[tuple[str, str]]) -> dict[tuple[str, str], Owner]:
    """Return the owner of each of these (account, id), where it is known."""
    rows = with_keys(connection, select(vendor_ids), (vendor_ids.c.account, vendor_ids.c.id), ids)
    return {key: (row["workspace"], row["broadcast"]) for key, row in rows}


def look_alone(connection: Connection, accounts: Iterable[str]) -> None:
    """Until this transaction ends, nobody else learns the owner of an id of these accounts or sets a receipt aside."""
    for account in sorted(set(accounts)):
        alone(connection, f"ids:{account}")


def learn_ids(connection: Connection, owners: Mapping[tuple[str, str], Owner]) -> None:
    """Assign each (account, id) to this broadcast, unless it already belongs to another.

    Receipts that were set aside for it are assigned too, and are counted from now on.
    """
    rows = [
        {"account": account, "id": id, "workspace": workspace, "broadcast": broadcast}
        for (account, id), (workspace, broadcast) in sorted(owners.items())
    ]
    if not rows:
        return
    look_alone(connection, (row["account"] for row in rows))
    new = {key: owners[key] for key in insert_new(connection, vendor_ids, rows)}
    moved = _adopt(connection, new)
    for owner, current in followed(connection, moved, lock=True).items():  # a newer version handles the others
        count(connection, current, moved[owner], current.changed_at)


def _adopt(connection: Connection, owners: Mapping[tuple[str, str], Owner]) -> dict[Owner, DeliveryCounts]:
    """Assign receipts that came before their ids were known; return what that adds to each broadcast."""
    ids = defaultdict[tuple[str, Owner], list[str]](list)
    for (account, id), owner in owners.items():
        ids[account, owner].append(id)
    found = defaultdict[Owner, DeliveryCounts](DeliveryCounts)
    for (account, owner), mine in ids.items():
        set_aside = and_(deliveries.c.account == account, deliveries.c.broadcast.is_(None))
        ours = update(deliveries).where(set_aside).values(workspace=owner[0], broadcast=owner[1]).returning(*_STANDING)
        for batch in batched(mine):
            for row in connection.execute(ours.where(deliveries.c.id.in_(batch))).mappings():
                found[owner].move(None, standing_of(row))
    return found


def ids_with_news(connection: Connection, workspace: str, id: str) -> tuple[str, ...]:
    """The vendor's ids for which a broadcast has receipts of any kind."""
    mine = and_(deliveries.c.workspace == workspace, deliveries.c.broadcast == id)
    return tuple(connection.execute(select(deliveries.c.id).where(mine).distinct().order_by(deliveries.c.id)).scalars())


def reported_since_let_go(connection: Connection, broadcast: Broadcast) -> bool:
    """Whether the vendor reports deliveries of it that the person who last let it go cannot have known."""
    mine = and_(deliveries.c.workspace == broadcast.workspace, deliveries.c.broadcast == broadcast.id)
    news = and_(deliveries.c.kind == ReceiptKind.DELIVERY, deliveries.c.at >= (broadcast.start_at or 0))
    return connection.execute(select(deliveries.c.id).where(mine, news).limit(1)).first() is not None
