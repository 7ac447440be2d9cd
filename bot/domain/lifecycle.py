"""The life of a broadcast: its states, what may be done in each, and where that leads."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    DRAFT = "draft"
    PENDING = "pending"
    SCHEDULED = "scheduled"
    HELD = "held"
    SENDING = "sending"
    UNKNOWN = "unknown"
    SENT = "sent"
    DONE = "done"
    FAILED = "failed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


ENDED = frozenset({State.DONE, State.FAILED, State.REJECTED, State.CANCELLED, State.EXPIRED})


class Phase(StrEnum):
    """The two halves of `sending`: staging is safe to repeat, releasing never is."""

    STAGING = "staging"
    RELEASING = "releasing"


class Hold(StrEnum):
    LATE = "late"
    HOURS = "hours"
    PAUSED = "paused"
    CAP = "cap"
    BLOCKED = "blocked"
    RESTORED = "restored"


class Action(StrEnum):
    """What people, the clock, the dispatcher and the vendor do to a broadcast."""

    SUBMIT = "submit"
    DISCARD = "discard"
    APPROVE = "approve"
    WITHDRAW = "withdraw"
    REJECT = "reject"
    CANCEL = "cancel"
    EXPIRE = "expire"
    STOP = "stop"
    HOLD = "hold"
    RESUME = "resume"
    SEND_NOW = "send_now"
    REPLAN = "replan"
    DROP = "drop"
    START = "start"
    RELEASE = "release"
    PUT_BACK = "put_back"
    OUTGROW = "outgrow"
    LAPSE = "lapse"
    RETURN = "return"
    ACCEPT = "accept"
    REFUSE = "refuse"
    LOSE_TRACK = "lose_track"
    PROVE = "prove"
    MARK_SENT = "mark_sent"
    MARK_NOT_SENT = "mark_not_sent"
    FINISH = "finish"


TRANSITIONS: Mapping[tuple[State, Action], State] = {
    (State.DRAFT, Action.SUBMIT): State.PENDING,
    (State.DRAFT, Action.DISCARD): State.CANCELLED,
    (State.PENDING, Action.APPROVE): State.SCHEDULED,
    (State.PENDING, Action.REJECT): State.REJECTED,
    (State.PENDING, Action.REPLAN): State.PENDING,
    (State.PENDING, Action.CANCEL): State.CANCELLED,
    (State.PENDING, Action.EXPIRE): State.EXPIRED,
    (State.PENDING, Action.HOLD): State.HELD,  # restored from a backup
    (State.PENDING, Action.RETURN): State.DRAFT,  # no card can stand where anybody could approve it
    (State.SCHEDULED, Action.WITHDRAW): State.PENDING,
    (State.SCHEDULED, Action.REPLAN): State.PENDING,
    (State.SCHEDULED, Action.CANCEL): State.CANCELLED,
    (State.SCHEDULED, Action.STOP): State.CANCELLED,
    (State.SCHEDULED, Action.HOLD): State.HELD,
    (State.SCHEDULED, Action.OUTGROW): State.PENDING,
    (State.SCHEDULED, Action.LAPSE): State.PENDING,  # who approved it may not any more, or it is too long ago
    (State.SCHEDULED, Action.REFUSE): State.FAILED,
    (State.SCHEDULED, Action.START): State.SENDING,
    (State.HELD, Action.HOLD): State.HELD,
    (State.HELD, Action.WITHDRAW): State.PENDING,
    (State.HELD, Action.RESUME): State.SCHEDULED,
    (State.HELD, Action.SEND_NOW): State.SCHEDULED,
    (State.HELD, Action.REPLAN): State.PENDING,
    (State.HELD, Action.DROP): State.CANCELLED,
    (State.HELD, Action.EXPIRE): State.EXPIRED,
    (State.SENDING, Action.RELEASE): State.SENDING,
    (State.SENDING, Action.PUT_BACK): State.SCHEDULED,
    (State.SENDING, Action.HOLD): State.HELD,
    (State.SENDING, Action.WITHDRAW): State.PENDING,  # while it is still being prepared
    (State.SENDING, Action.OUTGROW): State.PENDING,
    (State.SENDING, Action.LAPSE): State.PENDING,
    (State.SENDING, Action.ACCEPT): State.SENT,
    (State.SENDING, Action.REFUSE): State.FAILED,
    (State.SENDING, Action.LOSE_TRACK): State.UNKNOWN,
    (State.UNKNOWN, Action.PROVE): State.SENT,
    (State.UNKNOWN, Action.MARK_SENT): State.SENT,
    (State.UNKNOWN, Action.MARK_NOT_SENT): State.FAILED,
    (State.SENT, Action.FINISH): State.DONE,
}


def allowed(state: State) -> frozenset[Action]:
    """What may happen to a broadcast in this state; the card's buttons are read from it."""
    return frozenset(action for (start, action) in TRANSITIONS if start is state)
