"""The table of crash points. Each row adds a point to the short version, the long one and the report.

A point is named after what happens there: `commit X` for a transaction that writes X (an action of the audit, a row, a
column, or `turn`: an occurrence with its broadcast), `call X` for a request to a vendor, `post X` for a
message of this kind to Slack; then `before`, `during` or `after`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

ENCOM, OCTOPUSH = "encom", "octopush"


class Phase(StrEnum):
    """What is going on when a point is reached."""

    ASKING = "somebody asks"
    DECIDED = "approved, on its way or told"
    RELEASING = "inside the release"  # the one call lies between the committed intent and the committed answer
    NEWS = "the vendor tells of deliveries"
    REMINDING = "a reminder is asked for, and comes"
    TURN = "an occurrence of a recurring broadcast is due"


@dataclass(frozen=True)
class Point:
    """One place to die at.

    `each`: how often, at least, one broadcast or reminder passes it in its life; `shown`: somebody waits for an
    answer there, so Slack shows a failure, and they try again.
    """

    name: str
    phase: Phase
    becomes: str
    vendors: tuple[str, ...] = (ENCOM, OCTOPUSH)
    each: int = 1
    shown: bool = False

    @property
    def unknown(self) -> bool:
        """Whether nobody can tell if it went out: true only inside the release."""
        return self.phase is Phase.RELEASING


ASKING, DECIDED, RELEASING, NEWS, REMINDING, TURN = Phase
UNSTORED = "nothing is stored; Slack shows a failure; asked again, it works"
STORED = "stored; Slack shows a failure; asked again, it is the same one"
SENT = "it goes out once, after the restart"
OPEN = "a campaign lies at the vendor that nobody can prove to be ours: held, and asks"
UNKNOWN = "`unknown`: it asks, and is never sent again by itself"

POINTS = (
    Point("commit submit before", ASKING, UNSTORED, shown=True),
    Point("commit submit after", ASKING, STORED, shown=True),
    Point("post broadcast_card after", ASKING, "the card may stand there twice, for the one broadcast"),
    Point("commit insert cards after", ASKING, "the card stands there once"),
    Point("commit approve before", DECIDED, "not approved; Slack shows a failure; pressed again, it works", shown=True),
    Point("commit approve after", DECIDED, f"approved; Slack shows a failure; {SENT}", shown=True),
    Point("commit start before", DECIDED, SENT),
    Point("commit start after", DECIDED, f"preparing starts over; {SENT}"),
    Point("call create during", DECIDED, OPEN, (OCTOPUSH,)),
    Point("call status during", DECIDED, OPEN, (OCTOPUSH,)),
    Point("commit broadcasts.staged before", DECIDED, OPEN, (OCTOPUSH,)),
    Point("commit broadcasts.staged after", DECIDED, f"the campaign is known; {SENT}", (OCTOPUSH,)),
    Point("commit release before", DECIDED, f"no intent, no byte; {SENT}"),
    Point("commit release after", RELEASING, UNKNOWN),
    Point("call release before", RELEASING, UNKNOWN),
    Point("call release during", RELEASING, UNKNOWN),
    Point("call release after", RELEASING, UNKNOWN),
    Point("commit accept before", RELEASING, UNKNOWN),
    Point("commit accept after", DECIDED, "the ids are told, once"),
    Point("post broadcast_note after", DECIDED, "the thread may be told the same twice", each=2),
    Point("commit notes.ts after", DECIDED, "the thread is told the rest, once", each=2),
    Point("commit insert deliveries before", NEWS, "not acknowledged; the vendor tells it again"),
    Point("commit insert deliveries after", NEWS, "stored; the vendor tells it again, which changes nothing"),
    Point("commit finish before", NEWS, "the final report is told, once", (OCTOPUSH,)),
    Point("commit finish after", NEWS, "the final report is told, once", (OCTOPUSH,)),
    Point("commit insert schedules before", REMINDING, UNSTORED, shown=True),
    Point("commit insert schedules after", REMINDING, STORED, shown=True),
    Point("commit insert occurrences before", REMINDING, "it is posted, once"),
    Point("commit insert occurrences after", REMINDING, "it is posted, once"),
    Point("post reminder after", REMINDING, "it may stand there twice"),
    Point("commit occurrences.ts after", REMINDING, "it stands there once"),
    Point("commit turn before", TURN, "nothing is made; it is made, asks and goes out once, after the restart"),
    Point("commit turn after", TURN, "made; it asks and goes out once, after the restart"),
)

NAMED = {point.name: point for point in POINTS}
