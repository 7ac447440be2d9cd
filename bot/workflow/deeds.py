"""What people decide about a broadcast, each with what it takes, and the card by which they decided."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeAlias

from bot.domain.clock import Micros
from bot.domain.lifecycle import Action
from bot.storage.cards import Card


class Drawing(NamedTuple):
    """A drawing of a card: the revision that it shows, and since when its facts stand. A later one is larger."""

    revision: int
    since: Micros = 0


@dataclass(frozen=True)
class Sight:
    """The message by which somebody decided, and how it looked to them: by the `drawing` that they pressed, or by the
    time `at` which they reacted. None: not by that."""

    channel: str
    ts: str
    drawing: Drawing | None = None
    at: Micros | None = None

    def is_of(self, card: Card) -> bool:
        """Slack always tells the message; a payload without one is decided by the row, and by what its card shows."""
        return not self.ts or (self.channel, self.ts) == (card.channel, card.ts)

    def is_newer(self, card: Card) -> bool:
        """Did they see what is not known to stand there yet?"""
        seen = self.drawing
        return seen is not None and (seen.revision > card.drawn or seen.since > drawing_of(card).since)

    def is_older(self, card: Card) -> bool:
        """Did they see it before it showed what it shows by now? What an older process drew does not tell since when
        it does."""
        if self.drawing is not None:
            return self.drawing < drawing_of(card)
        return self.at is not None and bool(self.at < (card.facts or {}).get("since", math.inf))


def drawing_of(card: Card) -> Drawing:
    return Drawing(*(card.facts or {}).get("drawing", [card.drawn]))


@dataclass(frozen=True)
class Approve:
    """`way`: how the vote was given."""

    action: ClassVar = Action.APPROVE
    way: str = "button"
    on_card: Sight | None = None


@dataclass(frozen=True)
class Reject:
    action: ClassVar = Action.REJECT
    reason: str | None = None


@dataclass(frozen=True)
class Cancel:
    action: ClassVar = Action.CANCEL
    reason: str | None = None


@dataclass(frozen=True)
class Stop:
    action: ClassVar = Action.STOP
    reason: str | None = None


@dataclass(frozen=True)
class Drop:
    action: ClassVar = Action.DROP
    reason: str | None = None


@dataclass(frozen=True)
class Discard:
    """Of a draft."""

    action: ClassVar = Action.DISCARD
    reason: str | None = None


@dataclass(frozen=True)
class SendNow:
    """Of what is held."""

    action: ClassVar = Action.SEND_NOW
    on_card: Sight | None = None


@dataclass(frozen=True)
class Replan:
    action: ClassVar = Action.REPLAN
    send_at: Micros


@dataclass(frozen=True)
class MarkSent:
    """Nobody knew whether it went out: it did."""

    action: ClassVar = Action.MARK_SENT


@dataclass(frozen=True)
class MarkNotSent:
    """Nobody knew whether it went out: it did not."""

    action: ClassVar = Action.MARK_NOT_SENT


Deed: TypeAlias = Approve | Reject | Cancel | Stop | Drop | Discard | SendNow | Replan | MarkSent | MarkNotSent


def pressed(action: Action, sight: Sight | None) -> Deed:
    """What a button says that needs nothing else. Raises KeyError for one that does."""
    if action is Action.APPROVE:
        return Approve(on_card=sight)
    if action is Action.SEND_NOW:
        return SendNow(on_card=sight)
    return PLAIN[action]()


PLAIN: dict[Action, type[Cancel | Stop | Drop | Discard | MarkSent | MarkNotSent]] = {
    deed.action: deed for deed in (Cancel, Stop, Drop, Discard, MarkSent, MarkNotSent)
}
