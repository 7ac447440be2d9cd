"""The messages that show a broadcast, and which of them must be drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, String, and_, case, cast, exists, func, not_, select, update

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.lifecycle import Hold, State
from bot.storage import homes
from bot.storage.broadcast_rows import SHOWN, UNDERSTOOD, in_states, read_broadcasts, understood
from bot.storage.failing_rows import FailingRows, failing_rows_of
from bot.storage.outbox import unstumbled
from bot.storage.sql import IN_A_STATEMENT, but, insert_ignoring
from bot.storage.tables import broadcasts, cards, notes, posts

DRAWING = broadcasts.c.id + "/" + cast(broadcasts.c.revision, String)
SHRUNK = -1  # a card of an earlier version, which shows a link to the newer one and no longer a revision


@dataclass(frozen=True)
class Card:
    workspace: str
    broadcast: str
    version: int
    channel: str
    ts: str
    drawn: int
    #: The facts it shows that an approval depends on; from which `drawing` on, and `since` when, it shows no less.
    facts: Mapping[str, Any] | None = None


def cards_to_draw(connection: Connection, at: Micros, limit: int, *, new: bool) -> list[Broadcast]:
    """Broadcasts whose card shows an older revision; `new`: those that have none yet."""
    behind = select(broadcasts).where(
        broadcasts.c.draw_at <= at,
        SHOWN,
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
    progress = broadcasts.c.state == State.SENT  # decisions and ends are shown before it
    return read_broadcasts(connection, behind.order_by(progress, broadcasts.c.draw_at).limit(limit))


def drawing_of(broadcast: Broadcast) -> str:
    """The name of a card that cannot be drawn. A new revision has a new name, so it is tried at once."""
    return f"{broadcast.id}/{broadcast.revision}"


def _may_be_drawn(connection: Connection) -> ColumnElement[bool]:
    return but(DRAWING, failing_rows_of(connection).put_off("card"))


def drawn(
    connection: Connection, broadcast: Broadcast, at: Micros, *, pause: Micros, stale_at: Micros | None = None
) -> None:
    """Record that the card shows this revision.

    If the broadcast is in another state meanwhile, the card is drawn again at once; if something else about it has
    changed, after a `pause`. If not, it is drawn again at `stale_at`, when what it shows is no longer true.
    """
    mine = and_(broadcasts.c.workspace == broadcast.workspace, broadcasts.c.id == broadcast.id)
    moved, newer = broadcasts.c.state != broadcast.state, broadcasts.c.revision != broadcast.revision
    again = case((moved, at), (newer, at + pause), else_=stale_at)
    connection.execute(update(broadcasts).where(mine).values(draw_at=again))
    homes.stir(connection, broadcast.workspace, at + pause)


def put_off(connection: Connection, broadcast: Broadcast, until: Micros) -> None:
    """Draw its card later, unless it is in another state by now."""
    mine = and_(broadcasts.c.workspace == broadcast.workspace, broadcasts.c.id == broadcast.id)
    same = broadcasts.c.state == broadcast.state
    connection.execute(update(broadcasts).where(mine, same).values(draw_at=until))


def draw_waiting_again(connection: Connection, workspace: str, at: Micros, after: str) -> str | None:
    """Draw some cards again, by id, from after this one on: what keeps their broadcasts from going has changed.

    Returns the last id; None where there are no more.
    """
    mine = and_(in_states(State.PENDING, State.SCHEDULED, State.HELD), broadcasts.c.workspace == workspace, UNDERSTOOD)
    some = select(broadcasts.c.id).where(mine, broadcasts.c.id > after).order_by(broadcasts.c.id).limit(IN_A_STATEMENT)
    ids = connection.execute(some).scalars().all()
    if not ids:
        return None
    connection.execute(update(broadcasts).where(mine, broadcasts.c.id.in_(ids)).values(draw_at=at))
    return str(ids[-1])


def voice_held(connection: Connection, workspace: str, hold: Hold, at: Micros) -> None:
    """Let the thread of every broadcast held for this reason get a note now."""
    mine = and_(in_states(State.HELD), broadcasts.c.workspace == workspace, broadcasts.c.hold == hold)
    connection.execute(update(broadcasts).where(mine, UNDERSTOOD).values(voice_at=at))


def draw_again(connection: Connection, broadcast: Broadcast, at: Micros) -> None:
    """Draw its card again: it shows something that is no longer true, though the row is the same.

    No press on the old drawing counts for the next one.
    """
    mine = and_(broadcasts.c.workspace == broadcast.workspace, broadcasts.c.id == broadcast.id)
    connection.execute(update(broadcasts).where(mine).values(draw_at=at, revision=broadcasts.c.revision + 1))


def draw_what_waits_for(connection: Connection, canary: Broadcast, at: Micros) -> None:
    """Draw the card of the broadcast that waits for this canary again: it shows what has become of the canary."""
    mine = and_(broadcasts.c.workspace == canary.workspace, broadcasts.c.id == canary.follows)
    waits = and_(mine, in_states(State.HELD), broadcasts.c.hold == Hold.CANARY)
    connection.execute(update(broadcasts).where(waits).values(draw_at=at))


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


def earlier_cards(connection: Connection, broadcast: Broadcast) -> list[Card]:
    """The messages that showed its earlier versions, as they are now."""
    mine = and_(cards.c.workspace == broadcast.workspace, cards.c.broadcast == broadcast.id)
    earlier = select(cards).where(mine, cards.c.version < broadcast.version).order_by(cards.c.version.desc()).limit(10)
    return [Card(**row) for row in connection.execute(earlier).mappings()]


def card_at(connection: Connection, workspace: str, channel: str, ts: str) -> Card | None:
    """The card at this place: a reaction applies to the version shown there."""
    statement = select(cards).where(cards.c.workspace == workspace, cards.c.channel == channel, cards.c.ts == ts)
    row = connection.execute(statement).mappings().first()
    return Card(**row) if row else None


def keep_card(connection: Connection, card: Card) -> None:
    """Remember where the card is and which revision it shows."""
    if not insert_ignoring(connection, cards, [dataclasses.asdict(card)]):
        mine = and_(
            cards.c.workspace == card.workspace,
            cards.c.broadcast == card.broadcast,
            cards.c.version == card.version,
        )
        connection.execute(
            update(cards).where(mine).values(channel=card.channel, ts=card.ts, drawn=card.drawn, facts=card.facts)
        )


def oldest_unshown(connection: Connection, at: Micros) -> Micros | None:
    """Since when something has waited to be shown in Slack, without known failures; None if nothing does."""
    found = [connection.execute(statement).scalar_one() for statement, *_ in _unshown(connection, at)]
    return min((since for since in found if since is not None), default=None)


def unshown_by_workspace(connection: Connection, at: Micros, failing: Mapping[str, FailingRows]) -> dict[str, Micros]:
    """Return the same for each workspace where something waits, in one look. `failing`: the failing rows of each."""
    found = dict[str, Micros]()
    for statement, workspace, works in _unshown(connection, at):
        fine = [
            not_(and_(workspace == one, not_(but(id, rows.put_off(work)))))
            for one, rows in failing.items()
            for work, id in works.items()
            if rows.put_off(work)
        ]
        each = statement.add_columns(workspace).where(*fine).group_by(workspace)
        for since, one in connection.execute(each):
            found[one] = min(since, found.get(one, since))
    return found


def _unshown(
    connection: Connection, at: Micros
) -> Iterator[tuple[Select[Any], ColumnElement[str], Mapping[str, ColumnElement[Any]]]]:
    """Yield for each kind how to find the oldest, whose it is, and by what each work that may fail names its row."""
    here = and_(broadcasts.c.workspace == notes.c.workspace, broadcasts.c.id == notes.c.broadcast)
    due = broadcasts.c.draw_at <= at, SHOWN, _may_be_drawn(connection), understood(connection)
    of_cards = select(func.min(broadcasts.c.draw_at)).where(*due)
    yield of_cards, broadcasts.c.workspace, {"card": DRAWING, "row": broadcasts.c.id}
    fine = SHOWN, but(notes.c.seq, failing_rows_of(connection).put_off("note")), understood(connection)
    of_notes = select(func.min(notes.c.at)).join(broadcasts, here).where(notes.c.post_at.is_not(None), *fine)
    yield of_notes, notes.c.workspace, {"note": notes.c.seq, "row": broadcasts.c.id}
    waits = posts.c.post_at.is_not(None), posts.c.at <= at, unstumbled(connection)
    yield select(func.min(posts.c.at)).where(*waits), posts.c.workspace, {"post": posts.c.seq}
