"""The decisions that people make about a broadcast, what each one takes, and the card they decided on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeAlias

from bot.domain.broadcast import BroadcastRequest
from bot.domain.clock import Micros
from bot.domain.lifecycle import Action
from bot.storage.cards import Card


class Drawing(NamedTuple):
    """A drawing of a card: the revision it shows, and since when its facts hold. A later one compares greater."""

    revision: int
    since: Micros = 0


@dataclass(frozen=True)
class Sight:
    """The message on which somebody decided, and how it looked to them.

    `drawing`: the one they pressed. `at`: when they reacted. `facts`: those in a view that they opened, instead of a
    card. None: they did not decide that way.
    """

    channel: str
    ts: str
    drawing: Drawing | None = None
    at: Micros | None = None
    facts: Mapping[str, Any] | None = None

    def is_of(self, card: Card) -> bool:
        """Whether this card is the message. Slack always names one; a payload without it counts as this card."""
        return not self.ts or (self.channel, self.ts) == (card.channel, card.ts)

    def is_newer(self, card: Card) -> bool:
        """Whether they saw a drawing that is not on record yet."""
        seen = self.drawing
        return seen is not None and (seen.revision > card.drawn or seen.since > drawing_of(card).since)

    def is_older(self, card: Card) -> bool:
        """Whether they saw it before it showed what it shows now.

        A card drawn by an older process does not record since when, so a reaction to it counts as older.
        """
        if self.drawing is not None:
            return self.drawing < drawing_of(card)
        return self.at is not None and bool(self.at < (card.facts or {}).get("since", math.inf))


def drawing_of(card: Card) -> Drawing:
    return Drawing(*(card.facts or {}).get("drawing", [card.drawn]))


@dataclass(frozen=True)
class Sent:
    """A submitted form. `trigger` differs from one submit to the next; two deliveries of one submit share it.

    `also`: the id of the broadcast that this may be a duplicate of, if somebody has ticked that it goes out as well.
    """

    form: str
    trigger: str = ""
    also: str = ""


@dataclass(frozen=True)
class Approve:
    """`way`: how the vote was given."""

    action: ClassVar = Action.APPROVE
    way: str = "button"
    on_card: Sight | None = None


@dataclass(frozen=True)
class BreakGlass:
    """Send an alert without approval. `most`: how many people it was said to reach; None: nobody knew."""

    action: ClassVar = Action.BREAK_GLASS
    reason: str
    most: int | None = None


@dataclass(frozen=True)
class Reject:
    action: ClassVar = Action.REJECT
    reason: str | None = None


@dataclass(frozen=True)
class RequestChanges:
    """Return it to its requester as a draft, with a comment."""

    action: ClassVar = Action.REQUEST_CHANGES
    comment: str


@dataclass(frozen=True)
class Edit:
    """Replace what it says, to whom and when. `sent`: the form it came in, which can be submitted again."""

    action: ClassVar = Action.EDIT
    request: BroadcastRequest
    sent: Sent | None = None


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
    """Discard a draft."""

    action: ClassVar = Action.DISCARD
    reason: str | None = None


@dataclass(frozen=True)
class SendNow:
    """Send a held broadcast now."""

    action: ClassVar = Action.SEND_NOW
    on_card: Sight | None = None


@dataclass(frozen=True)
class Replan:
    action: ClassVar = Action.REPLAN
    send_at: Micros


@dataclass(frozen=True)
class MarkSent:
    """Settle an unknown outcome: it went out."""

    action: ClassVar = Action.MARK_SENT


@dataclass(frozen=True)
class MarkNotSent:
    """Settle an unknown outcome: it did not go out."""

    action: ClassVar = Action.MARK_NOT_SENT


Decision: TypeAlias = (
    Approve
    | BreakGlass
    | Reject
    | RequestChanges
    | Edit
    | Cancel
    | Stop
    | Drop
    | Discard
    | SendNow
    | Replan
    | MarkSent
    | MarkNotSent
)


def pressed(action: Action, sight: Sight | None) -> Decision:
    """The decision of a button that needs no further input. Raises KeyError for an action that does."""
    if action is Action.APPROVE:
        return Approve(on_card=sight)
    if action is Action.SEND_NOW:
        return SendNow(on_card=sight)
    return PLAIN[action]()


PLAIN: dict[Action, type[Cancel | Stop | Drop | Discard | MarkSent | MarkNotSent]] = {
    decision.action: decision for decision in (Cancel, Stop, Drop, Discard, MarkSent, MarkNotSent)
}
