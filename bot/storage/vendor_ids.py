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


def owner_of(connection: Connection, account: str, id: str) -> Owner | None:
    return owners_of(connection, [(account, id)]).get((account, id))


def owners_of(connection: Connection, ids: Collection[tuple[str, str]]) -> dict[tuple[str, str], Owner]:
    """Whose each of these (account, id) is, where that is known."""
    rows = with_keys(connection, select(vendor_ids), (vendor_ids.c.account, vendor_ids.c.id), ids)
    return {key: (row["workspace"], row["broadcast"]) for key, row in rows}


def look_alone(connection: Connection, accounts: Iterable[str]) -> None:
    """Until this transaction ends nobody else learns whose an id of these accounts is, or sets a receipt aside."""
    for account in sorted(set(accounts)):
        alone(connection, f"ids:{account}")


def learn_ids(connection: Connection, owners: Mapping[tuple[str, str], Owner]) -> None:
    """Each (account, id) is this broadcast's, unless it is known to be another's; and so is what was set aside for it,
    which is counted from now on."""
    rows = [
        {"account": account, "id": id, "workspace": workspace, "broadcast": broadcast}
        for (account, id), (workspace, broadcast) in sorted(owners.items())
    ]
    if not rows:
        return
    look_alone(connection, (row["account"] for row in rows))
    new = {key: owners[key] for key in insert_new(connection, vendor_ids, rows)}
    moved = _adopt(connection, new)
    for owner, current in followed(connection, moved, lock=True).items():  # others a newer version looks after
        count(connection, current, moved[owner], current.changed_at)


def _adopt(connection: Connection, owners: Mapping[tuple[str, str], Owner]) -> dict[Owner, DeliveryCounts]:
    """Receipts that came before their ids were known belong to these broadcasts: what that adds to each."""
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
    """The vendor's ids of which a broadcast has news of any kind."""
    mine = and_(deliveries.c.workspace == workspace, deliveries.c.broadcast == id)
    return tuple(connection.execute(select(deliveries.c.id).where(mine).distinct().order_by(deliveries.c.id)).scalars())


def reported_since_let_go(connection: Connection, broadcast: Broadcast) -> bool:
    """Does the vendor tell of deliveries of it, that whoever let it go last cannot have known?"""
    mine = and_(deliveries.c.workspace == broadcast.workspace, deliveries.c.broadcast == broadcast.id)
    news = and_(deliveries.c.kind == ReceiptKind.DELIVERY, deliveries.c.at >= (broadcast.start_at or 0))
    return connection.execute(select(deliveries.c.id).where(mine, news).limit(1)).first() is not None
