"""Who agreed to which broadcast."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, and_, select, update

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.storage.sql import insert_ignoring
from bot.storage.tables import votes


@dataclass(frozen=True)
class Vote:
    approver: str
    way: str
    at: Micros
    digest: str
    stands_for: str | None = None

    @property
    def seat(self) -> str:
        """The approver whose vote it is: somebody who was away, or the person who gave it."""
        return self.stands_for or self.approver


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
    return [Vote(row["approver"], row["way"], row["at"], row["digest"], row["stands_for"]) for row in rows]


def seats_taken(votes: Iterable[Vote]) -> int:
    """How many approvers agreed, by themselves or through a delegate."""
    return len({vote.seat for vote in votes})


def add_vote(
    connection: Connection, broadcast: Broadcast, approver: str, way: str, at: Micros, stands_for: str | None = None
) -> bool:
    """Store one person's only vote on a version. False when it was there already.

    `stands_for`: the approver who is away, and in whose place it is given. It binds the digest computed now, not the
    stored one: somebody may have edited the row.
    """
    row = {
        "workspace": broadcast.workspace,
        "broadcast": broadcast.id,
        "version": broadcast.version,
        "approver": approver,
        "digest": broadcast.computed_digest(),
        "way": way,
        "at": at,
        "stands_for": stands_for,
    }
    return insert_ignoring(connection, votes, [row]) == 1


def strengthen_vote(connection: Connection, broadcast: Broadcast, approver: str, way: str) -> None:
    """Change how a vote was given, so that it stays when the approver takes back the first way."""
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
    """Drop every vote on this version: what would happen is no longer what people agreed to."""
    mine = and_(votes.c.workspace == broadcast.workspace, votes.c.broadcast == broadcast.id)
    connection.execute(votes.delete().where(mine, votes.c.version == broadcast.version))
