"""The lives of broadcasts, schedules and occurrences: their states, what may happen in each, and where that leads."""

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
    CANARY = "canary"  # a few people get it first


class Action(StrEnum):
    """What people, the clock, the dispatcher and the vendor do to a broadcast."""

    SUBMIT = "submit"
    DISCARD = "discard"
    APPROVE = "approve"
    BREAK_GLASS = "break_glass"  # send an alert without approval
    WITHDRAW = "withdraw"
    REJECT = "reject"
    REQUEST_CHANGES = "request_changes"
    EDIT = "edit"
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
    (State.PENDING, Action.BREAK_GLASS): State.SCHEDULED,
    (State.PENDING, Action.REJECT): State.REJECTED,
    (State.PENDING, Action.REQUEST_CHANGES): State.DRAFT,
    (State.PENDING, Action.EDIT): State.PENDING,
    (State.PENDING, Action.REPLAN): State.PENDING,
    (State.PENDING, Action.CANCEL): State.CANCELLED,
    (State.PENDING, Action.EXPIRE): State.EXPIRED,
    (State.PENDING, Action.HOLD): State.HELD,  # restored from a backup
    (State.PENDING, Action.RETURN): State.DRAFT,  # no card can be posted where anybody could approve it
    (State.SCHEDULED, Action.WITHDRAW): State.PENDING,
    (State.SCHEDULED, Action.EDIT): State.PENDING,
    (State.SCHEDULED, Action.REPLAN): State.PENDING,
    (State.SCHEDULED, Action.CANCEL): State.CANCELLED,
    (State.SCHEDULED, Action.STOP): State.CANCELLED,
    (State.SCHEDULED, Action.HOLD): State.HELD,
    (State.SCHEDULED, Action.OUTGROW): State.PENDING,
    (State.SCHEDULED, Action.LAPSE): State.PENDING,  # an approver no longer may, or it is too long ago
    (State.SCHEDULED, Action.REFUSE): State.FAILED,
    (State.SCHEDULED, Action.START): State.SENDING,
    (State.HELD, Action.HOLD): State.HELD,
    (State.HELD, Action.WITHDRAW): State.PENDING,
    (State.HELD, Action.RESUME): State.SCHEDULED,
    (State.HELD, Action.SEND_NOW): State.SCHEDULED,
    (State.HELD, Action.EDIT): State.PENDING,
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


class ScheduleState(StrEnum):
    """The state of a schedule."""

    ACTIVE = "active"
    PAUSED = "paused"
    ENDED = "ended"


class Ended(StrEnum):
    """Why a schedule ended."""

    STOPPED = "stopped"
    FINISHED = "finished"
    OWNER_LEFT = "owner_left"
    CHANNEL_GONE = "channel_gone"
    NOT_ALLOWED = "not_allowed"


class OccurrenceState(StrEnum):
    """The state of one occurrence. That of a recurring broadcast is `made`, and continues as a broadcast."""

    MADE = "made"
    OPEN = "open"
    SNOOZED = "snoozed"
    DONE = "done"
    LEFT_OUT = "left_out"  # the one before is still unanswered
    MISSED = "missed"  # the bot was not there to make it in time


UNANSWERED = frozenset({OccurrenceState.MADE, OccurrenceState.OPEN, OccurrenceState.SNOOZED})


class ScheduleAction(StrEnum):
    """What happens to a schedule."""

    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"  # by a person
    END = "end"  # by itself, with a reason
    FINISH = "finish"  # there is no next occurrence


SCHEDULE_TRANSITIONS: dict[tuple[ScheduleState, ScheduleAction], ScheduleState] = {
    (ScheduleState.ACTIVE, ScheduleAction.PAUSE): ScheduleState.PAUSED,
    (ScheduleState.ACTIVE, ScheduleAction.STOP): ScheduleState.ENDED,
    (ScheduleState.ACTIVE, ScheduleAction.END): ScheduleState.ENDED,
    (ScheduleState.ACTIVE, ScheduleAction.FINISH): ScheduleState.ENDED,
    (ScheduleState.PAUSED, ScheduleAction.PAUSE): ScheduleState.PAUSED,  # until another time
    (ScheduleState.PAUSED, ScheduleAction.RESUME): ScheduleState.ACTIVE,
    (ScheduleState.PAUSED, ScheduleAction.STOP): ScheduleState.ENDED,
    (ScheduleState.PAUSED, ScheduleAction.END): ScheduleState.ENDED,
    (ScheduleState.PAUSED, ScheduleAction.FINISH): ScheduleState.ENDED,  # its time came while it was paused
}


class OccurrenceAction(StrEnum):
    """What happens to an occurrence of a reminder."""

    POST = "post"
    ANSWER = "answer"
    SNOOZE = "snooze"
    REPEAT = "repeat"  # the time that it was snoozed for has come
    SETTLE = "settle"  # it was snoozed, and its schedule does not go on
    MISS = "miss"


OCCURRENCE_TRANSITIONS: dict[tuple[OccurrenceState, OccurrenceAction], OccurrenceState] = {
    (OccurrenceState.MADE, OccurrenceAction.POST): OccurrenceState.OPEN,
    # a post may be seen before Slack's answer about it has reached us
    (OccurrenceState.MADE, OccurrenceAction.ANSWER): OccurrenceState.DONE,
    (OccurrenceState.MADE, OccurrenceAction.SNOOZE): OccurrenceState.SNOOZED,
    (OccurrenceState.MADE, OccurrenceAction.SETTLE): OccurrenceState.OPEN,  # it was posted before it was snoozed
    (OccurrenceState.MADE, OccurrenceAction.MISS): OccurrenceState.MISSED,
    (OccurrenceState.OPEN, OccurrenceAction.ANSWER): OccurrenceState.DONE,
    (OccurrenceState.OPEN, OccurrenceAction.SNOOZE): OccurrenceState.SNOOZED,
    (OccurrenceState.SNOOZED, OccurrenceAction.REPEAT): OccurrenceState.MADE,
    (OccurrenceState.SNOOZED, OccurrenceAction.SETTLE): OccurrenceState.OPEN,
    (OccurrenceState.SNOOZED, OccurrenceAction.MISS): OccurrenceState.MISSED,
}
