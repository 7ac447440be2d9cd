"""Who did what, written in the transaction that did it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, select

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.lifecycle import State
from bot.storage.notes import TO_AUDIT
from bot.storage.sql import without_index
from bot.storage.tables import audit, broadcasts, seals

READ_AT_ONCE = 500  # rows that are in memory at a time


def history(connection: Connection, workspace: str, id: str) -> list[RowMapping]:
    """The audit of one broadcast, oldest first."""
    statement = select(audit).where(audit.c.workspace == workspace, audit.c.broadcast == id).order_by(audit.c.seq)
    return list(connection.execute(statement).mappings())


def page(
    connection: Connection, workspace: str, id: str | None, before: int | None, limit: int
) -> Sequence[RowMapping]:
    """Sealed rows of a workspace, the newest first, each with its `place` in the chain and the `hash` of its seal.

    `id`: what they are about; None: everything. `before`: the place of the last row of the page before.
    """
    found = select(audit, seals.c.place, seals.c.hash).join(seals, seals.c.seq == audit.c.seq)
    if id is not None:
        found = found.where(audit.c.workspace == workspace, audit.c.broadcast == id).order_by(audit.c.seq.desc())
    else:
        theirs = and_(seals.c.workspace == workspace, without_index(audit.c.workspace) == workspace)
        found = found.where(theirs).order_by(seals.c.place.desc())
    if before is not None:
        found = found.where(seals.c.place < before)
    return connection.execute(found.limit(limit)).mappings().all()


def ids_of(connection: Connection, row: Mapping[str, Any]) -> list[str]:
    """The ids that the vendor gave the broadcast of this row; none if there is no such broadcast."""
    mine = and_(broadcasts.c.workspace == row["workspace"], broadcasts.c.id == row["broadcast"])
    return list(connection.execute(select(broadcasts.c.ids).where(mine)).scalar_one_or_none() or ())


def audit_since(connection: Connection, since: Micros, until: Micros | None = None) -> Iterator[RowMapping]:
    """Yield the whole audit from one instant to another, oldest first, each row with the hash of its seal."""
    sealed = select(audit, seals.c.hash).select_from(audit.outerjoin(seals, seals.c.seq == audit.c.seq))
    times = [audit.c.at >= since, *([audit.c.at < until] if until is not None else [])]
    statement = sealed.where(*times).order_by(audit.c.seq)
    yield from connection.execute(statement, execution_options={"yield_per": READ_AT_ONCE}).mappings()


def write_audit(
    connection: Connection,
    broadcast: Broadcast,
    actor: str,
    action: str,
    before: State | None,
    at: Micros,
    reason: str | None = None,
) -> None:
    connection.execute(TO_AUDIT, to_audit_row(broadcast, actor, action, before, at, reason))


def to_audit_row(
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
    """Audit something other than a step of one broadcast: a refused request, a pause of everything, or a schedule.

    `about`: the id of the schedule.
    """
    row = {"workspace": workspace, "broadcast": about, "actor": actor, "action": action, "reason": reason, "at": at}
    connection.execute(TO_AUDIT, row)


def last_actor(connection: Connection, broadcast: Broadcast) -> str | None:
    """Return who did something to it last, a person or `clock`, `policy` and the like."""
    mine = and_(audit.c.workspace == broadcast.workspace, audit.c.broadcast == broadcast.id)
    done = select(audit.c.actor).where(mine, audit.c.action.not_like("%_refused"))
    return connection.execute(done.order_by(audit.c.seq.desc()).limit(1)).scalar_one_or_none()
