"""Campaigns left at a vendor until they are recalled, and the releases that count towards the cap."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, func, select, update

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.lifecycle import State
from bot.storage.broadcast_rows import to_staged
from bot.storage.failing_rows import failing_rows_of
from bot.storage.sql import but, in_scope, insert_ignoring, read_each, to_column
from bot.storage.tables import broadcasts, dispatches, leftovers
from providers.base import Staged

RECALLS_WAITED_FOR = 3  # tries to wait for; a campaign still open after them may block others, and people learn of it

#: States in which a campaign prepared at the vendor is no longer of use.
GIVEN_UP = frozenset(
    {State.PENDING, State.HELD, State.CANCELLED, State.FAILED, State.EXPIRED, State.REJECTED, State.DRAFT}
)


@dataclass(frozen=True)
class Leftover:
    """A campaign that is prepared at a vendor and will not be sent."""

    account: str
    workspace: str
    broadcast: str
    staged: Staged
    tries: int


def without_leftover(connection: Connection, moved: Broadcast, at: Micros, account: str) -> Broadcast:
    """Return the broadcast without its prepared campaign if it was given up, and queue the recall of that.

    `account`: where it was prepared. An edit may have moved the broadcast to another one.
    """
    if moved.staged is None or moved.state not in GIVEN_UP:
        return moved
    leave_over(connection, dataclasses.replace(moved, account=account), moved.staged, at)
    here = and_(broadcasts.c.workspace == moved.workspace, broadcasts.c.id == moved.id)
    connection.execute(update(broadcasts).where(here).values(staged=None))
    return dataclasses.replace(moved, staged=None)


def leave_over(connection: Connection, broadcast: Broadcast, staged: Staged, at: Micros) -> None:
    """Remember to recall this campaign, not before `at`."""
    row: dict[str, Any] = {"account": broadcast.account, "id": staged.id, "workspace": broadcast.workspace}
    row |= {"broadcast": broadcast.id, "staged": to_column(staged), "try_at": at, "tries": 0}
    if not insert_ignoring(connection, leftovers, [row]):
        same = and_(leftovers.c.account == broadcast.account, leftovers.c.id == staged.id)
        connection.execute(update(leftovers).where(same).values(try_at=at))


def hurry_leftovers(connection: Connection, at: Micros) -> None:
    """Recall all leftovers now: nobody is working on them."""
    connection.execute(
        update(leftovers).where(leftovers.c.try_at > at, in_scope(connection, leftovers)).values(try_at=at)
    )


def leftovers_to_recall(connection: Connection, at: Micros, limit: int = 10) -> list[Leftover]:
    stumbled = but(leftovers.c.id, failing_rows_of(connection).put_off("leftover"))
    waiting = (
        select(leftovers)
        .where(leftovers.c.try_at <= at, stumbled, in_scope(connection, leftovers))
        .order_by(leftovers.c.try_at)
    )
    statement = waiting.limit(limit).with_for_update(skip_locked=True)
    return read_each(connection, statement, _to_leftover, "leftover", "id")


def _to_leftover(row: RowMapping) -> Leftover:
    staged = to_staged(row["staged"])
    if staged is None:
        raise ValueError("nothing was prepared")
    return Leftover(row["account"], row["workspace"], row["broadcast"], staged, row["tries"])


def put_off_leftover(connection: Connection, left: Leftover, again_at: Micros | None) -> None:
    connection.execute(update(leftovers).where(_is(left)).values(try_at=again_at, tries=leftovers.c.tries + 1))


def forget_leftover(connection: Connection, left: Leftover) -> None:
    connection.execute(leftovers.delete().where(_is(left)))


def _is(left: Leftover) -> ColumnElement[bool]:
    return and_(leftovers.c.account == left.account, leftovers.c.id == left.staged.id)


def released_since(connection: Connection, workspace: str, since: Micros) -> int:
    """How many releases this workspace has begun since then, for the cap."""
    statement = select(func.count()).select_from(dispatches)
    return connection.execute(
        statement.where(dispatches.c.workspace == workspace, dispatches.c.released_at >= since)
    ).scalar_one()


def mark_released(connection: Connection, broadcast: Broadcast, at: Micros | None) -> None:
    """Count this attempt towards the cap: it may ring phones from `at` on. None: it turned out to ring none."""
    connection.execute(
        update(dispatches)
        .where(
            dispatches.c.workspace == broadcast.workspace,
            dispatches.c.broadcast == broadcast.id,
            dispatches.c.dispatch == broadcast.dispatch,
        )
        .values(released_at=at)
    )


def released_at(connection: Connection, broadcast: Broadcast) -> Micros | None:
    """Return when this attempt began to ring phones; None if that is not known."""
    mine = and_(dispatches.c.workspace == broadcast.workspace, dispatches.c.broadcast == broadcast.id)
    at = select(dispatches.c.released_at).where(mine, dispatches.c.dispatch == broadcast.dispatch)
    return connection.execute(at).scalar_one_or_none()
