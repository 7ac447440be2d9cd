"""How often the card of a broadcast under way is drawn again.

Slack takes 50 changes of messages a minute from a workspace, and a million deliveries may come over hours. So the first
changes are shown as they come, and the later ones less and less often; the last one is shown at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Micros
from bot.domain.lifecycle import State
from bot.domain.progress import Progress

PAUSE = 2 * SECOND  # between two drawings of one card
LOOK_AGAIN = SECOND  # at a card that is not drawn yet: it may have become the last drawing
FREE, GROWTH = 50, 1.2  # drawings before the pause grows, and by what: about a hundred drawings in a day
PACED = frozenset({State.SENT, State.DONE})  # only deliveries and answers still change these


def waits_until(row: Broadcast, shown: Mapping[str, Any], now: Micros) -> Micros | None:
    """Return when to look at it again, if its card was drawn too recently; None to draw it now.

    `shown`: what `pace_of` returned for the drawing that it shows.
    """
    if row.state not in PACED or shown.get("state") != row.state or "drawn_at" not in shown:
        return None
    if shown["left"] and not Progress.of(row).left:
        return None
    grown = max(int(shown["draws"]) - FREE, 0)
    return now + LOOK_AGAIN if now < int(shown["drawn_at"]) + int(PAUSE * GROWTH**grown) else None


def pace_of(row: Broadcast, shown: Mapping[str, Any], now: Micros) -> dict[str, Any]:
    """Return what to remember about this drawing, after the one before it."""
    if row.state not in PACED:
        return {}
    return {"state": row.state, "drawn_at": now, "draws": shown.get("draws", 0) + 1, "left": Progress.of(row).left}
