"""Pages of broadcasts. Each goes on after the last row of the page before, so that a page costs the same however many
rows there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select, text, true

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.lifecycle import Hold, State
from bot.domain.options import folded
from bot.storage.broadcast_rows import SCHEDULED, in_states, read_broadcasts, understood
from bot.storage.cards import card_of
from bot.storage.tables import LIVING, broadcasts
from providers.base import AudienceKind

SEARCHED = 250  # texts that one page looks through

rows = broadcasts.c


class Wanted(StrEnum):
    """What a list shows."""

    LATEST = "latest"
    MINE = "mine"
    WAITING = "waiting"
    UPCOMING = "upcoming"
    UNKNOWN = "unknown"
    AUDIENCE = "audience"
    WORD = "word"


@dataclass(frozen=True)
class Recipients:
    """Whom an audience is at its vendor."""

    account: str
    kind: AudienceKind
    target: str


@dataclass(frozen=True)
class Place:
    """Where a row stands in the order of its list; the id decides between two of the same instant."""

    at: Micros
    id: str


@dataclass(frozen=True)
class Page:
    """Some rows, and the place after which the next page begins; None at the end."""

    found: Sequence[Broadcast]
    after: Place | None


@dataclass(frozen=True)
class Listing:
    """Which broadcasts a person asks for. `word`: of the text, for `Wanted.WORD`; `to`: for `Wanted.AUDIENCE`."""

    workspace: str
    viewer: str
    wanted: Wanted = Wanted.LATEST
    word: str = ""
    to: Recipients | None = None

    @property
    def soonest_first(self) -> bool:
        """What waits is listed from the longest waiting on, and what is planned from the next one on."""
        return self.wanted in (Wanted.WAITING, Wanted.UPCOMING, Wanted.UNKNOWN)

    def parts(self) -> list[Part]:
        """Return what is asked for, each part in the words of the index that finds it in its order.

        Drafts of others are among them: `_read` leaves them out.
        """
        here = rows.workspace == self.workspace
        living, held = and_(here, text(LIVING)), and_(here, in_states(State.HELD))
        match self.wanted:
            case Wanted.MINE:
                return [Part(and_(here, rows.requester == self.viewer), rows.created_at)]
            case Wanted.WAITING:
                pending = and_(living, in_states(State.PENDING))
                asking = and_(held, text(LIVING), rows.hold != Hold.HOURS)
                return [Part(pending, rows.changed_at), Part(asking, rows.changed_at)]
            case Wanted.UPCOMING:
                by_hours = and_(held, rows.hold == Hold.HOURS)
                return [Part(and_(here, SCHEDULED), rows.due), Part(by_hours, rows.hold_until)]
            case Wanted.UNKNOWN:
                return [Part(and_(living, in_states(State.UNKNOWN)), rows.changed_at)]
            case Wanted.AUDIENCE if self.to is not None:
                same = and_(rows.account == self.to.account, rows.target == self.to.target, rows.kind == self.to.kind)
                return [Part(and_(here, same), rows.created_at)]
        return [Part(here, rows.changed_at)]

    def place_of(self, row: Broadcast) -> Place:
        at = row.changed_at
        if self.wanted is Wanted.UPCOMING:
            at = (row.hold_until if row.state is State.HELD else row.due) or at
        elif self.wanted in (Wanted.MINE, Wanted.AUDIENCE):
            at = row.created_at
        return Place(at, row.id)


@dataclass(frozen=True)
class Part:
    """Rows of a list that one index finds. `by`: the instant that gives their order."""

    those: ColumnElement[bool]
    by: ColumnElement[Any]

    def some(self, after: Place | None, limit: int, *, soonest_first: bool, more: Sequence[Any] = ()) -> Select[Any]:
        """Select the places of what comes after this one."""
        those = select(rows.id, self.by.label("at"), *more).where(self.those, self._after(after, soonest_first))
        order = (self.by.asc(), rows.id.asc()) if soonest_first else (self.by.desc(), rows.id.desc())
        return those.order_by(*order).limit(limit)

    def _after(self, place: Place | None, soonest_first: bool) -> ColumnElement[bool]:
        if place is None:
            return true()
        if soonest_first:
            return and_(self.by >= place.at, or_(self.by > place.at, rows.id > place.id))
        return and_(self.by <= place.at, or_(self.by < place.at, rows.id < place.id))


def page(connection: Connection, listing: Listing, after: Place | None, limit: int) -> Page:
    """Return what comes after this place."""
    if listing.wanted is Wanted.WORD:
        return _with_word(connection, listing, after, limit)
    places = list[Place]()
    for part in listing.parts():
        some = part.some(after, limit, soonest_first=listing.soonest_first).where(understood(connection))
        places += [Place(row.at, row.id) for row in connection.execute(some)]
    places.sort(key=lambda place: (place.at, place.id), reverse=not listing.soonest_first)
    chosen = places[:limit]
    found = _read(connection, listing, [place.id for place in chosen])
    return Page(found, chosen[-1] if len(chosen) == limit else None)


def _read(connection: Connection, listing: Listing, ids: Sequence[str]) -> list[Broadcast]:
    """Read whole rows by their ids: to sort them whole would cost more than to find them.

    A draft is shown to others only once it has had a card.
    """
    here = and_(rows.workspace == listing.workspace, rows.id.in_(ids), understood(connection))
    found = {row.id: row for row in read_broadcasts(connection, select(broadcasts).where(here))}
    return [row for id in ids if (row := found.get(id)) and _is_shown(connection, row, listing.viewer)]


def _is_shown(connection: Connection, row: Broadcast, viewer: str) -> bool:
    return row.state is not State.DRAFT or row.requester == viewer or card_of(connection, row) is not None


def _with_word(connection: Connection, listing: Listing, after: Place | None, limit: int) -> Page:
    """Look through some of the latest texts. A page may have nothing and yet not be the last."""
    everything = Part(rows.workspace == listing.workspace, rows.changed_at)
    texts = connection.execute(everything.some(after, SEARCHED, soonest_first=False, more=[rows.text])).all()
    word = folded(listing.word)
    matching = [row for row in texts if word in folded(row.text)]
    last = matching[limit - 1] if len(matching) > limit else texts[-1] if len(texts) == SEARCHED else None
    found = _read(connection, listing, [row.id for row in matching[:limit]])
    return Page(found, Place(last.at, last.id) if last else None)
