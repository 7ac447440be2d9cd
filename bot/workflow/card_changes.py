"""What a person saw on a card, compared with what they decide about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Clock
from bot.domain.errors import CardChanged
from bot.domain.i18n import Translatable
from bot.storage import cards
from bot.storage.cards import Card
from bot.workflow.audiences import Audiences
from bot.workflow.decision_types import Sight
from providers.reading import UNREADABLE


class CardChanges:
    """Compares what a person saw with what they decide about."""

    def __init__(self, audiences: Audiences, clock: Clock) -> None:
        self.audiences, self.clock = audiences, clock

    def changed_since_drawn(self, connection: Connection, current: Broadcast, on_card: Sight) -> CardChanged | None:
        """What has changed since the person saw the card; None if they saw what they decide about.

        After a change, the card is drawn again. A message that is no longer its card may show anything, so it counts
        as changed.
        """
        card, facts = cards.card_of(connection, current), self.audiences.facts(current, self.clock())
        if on_card.facts is not None:  # a view shows what it showed when it was opened, whatever the card shows now
            return None if within(on_card.facts, facts) else self._changed(current, on_card.facts, facts)
        if card is not None and not on_card.is_of(card):
            return CardChanged(current, ())
        if card is not None and not on_card.is_older(card) and _shows(card, current, facts):
            return None
        shown = card.facts if card is not None else None
        cards.draw_again(connection, current, self.clock())
        return self._changed(current, shown or {}, facts)

    def _changed(self, current: Broadcast, shown: Mapping[str, Any], facts: Mapping[str, Any]) -> CardChanged:
        changes, misfit = [*describe_changes(shown, facts)], self.audiences.misfit(current)
        if misfit is not None and str(misfit) != shown.get("misfit"):
            changes.append(misfit)
        return CardChanged(current, tuple(changes))


def _shows(card: Card, current: Broadcast, facts: Mapping[str, Any]) -> bool:
    """Whether it shows the current facts. A card without facts, of an older version, must show the current revision."""
    return card.drawn == current.revision if card.facts is None else within(card.facts, facts)


def within(shown: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """Whether the current facts stay within what was shown.

    Somebody who agreed to a size or to a bound also agreed to fewer people. The same goes for fewer approvals.
    """
    if any(shown.get(name) != facts[name] for name in ("cost", "opens_at", "mode", "misfit")):
        return False
    most = shown.get("size") if shown.get("size") is not None else shown.get("bound")
    size = facts["size"] if facts["size"] is not None else facts["bound"]
    people = most is None or (size is not None and size <= most)
    if (facts["unnamed"] or 0) > (shown.get("unnamed") or 0):  # an older card does not show it
        return False
    return people and facts["quorum"] <= shown.get("quorum", 0)


CHANGED: Mapping[str, str] = {
    "size": "It now goes to {size} people.",
    "bound": "It now goes to at most {bound} people. The vendor does not say how many.",
    "unnamed": "People without a name to fill in: {unnamed}.",
    "cost": "It now costs {cost}.",
    "opens_at": "The sending hours for this audience allow it from {opens_at}.",
    "quorum": "Approvals needed now: {quorum}.",
}
HOURS_OPEN = "The sending hours for this audience allow it now."


def describe_changes(shown: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[Translatable]:
    """What is different now, as people read it."""
    before, known = _readable(shown), _readable(facts)
    for name, template in CHANGED.items():
        if before.get(name) == known[name]:
            continue
        if known[name] is not None:
            yield Translatable(template, **{name: known[name]})
        elif name == "opens_at":
            yield Translatable(HOURS_OPEN)
        elif name == "cost":
            yield Translatable("The vendor no longer says what it costs.")
        elif known["size"] is known["bound"] is None:
            yield Translatable("The vendor no longer says how many people it goes to.")


def _readable(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts for comparison: a number of people that cannot be read counts as one that is not known."""
    return {name: None if value == UNREADABLE else value for name, value in facts.items()}
