"""A request, the broadcast it becomes, the table of what may happen to it, and the digest that an approval binds.

Instants are integer microseconds since 1970 in UTC (`Micros`), as they are stored.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from providers.base import Audience, AudienceKind, Message, Purpose, Staged

Micros = int
Clock = Callable[[], Micros]

SECOND: Micros = 1_000_000
ID_ALPHABET = "ABCDEFGHJKLMNPQRTUVWXYZ234679"  # no letter that reads as a digit, no digit that reads as a letter


def now() -> Micros:
    return time.time_ns() // 1000


def steady() -> float:
    """Seconds for durations and deadlines: no change of the clock moves them, and sleep of the machine counts."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def micros(span: timedelta) -> Micros:
    return span // timedelta(microseconds=1)


def moment(instant: Micros) -> datetime:
    return datetime.fromtimestamp(instant / SECOND, tz=UTC)


def new_id() -> str:
    """`B` and seven characters; about 17 thousand million of them, unique in a workspace by the store's key."""
    return "B" + "".join(secrets.choice(ID_ALPHABET) for _ in range(7))


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


class BroadcastRequest(BaseModel):
    """What a person asked for. Field names are the form's block ids, so a complaint lands under its field."""

    model_config = ConfigDict(frozen=True)

    workspace: str
    requester: str
    channel: str
    audience: str
    purpose: Purpose = Purpose.MARKETING
    text: str
    send_at: Micros | None = None
    sender: str | None = None
    campaign: str | None = None
    zone: str = "UTC"


@dataclass(frozen=True)
class Sentence:
    """A sentence for a person, kept as its template so that each reader gets it in their language.

    A value may be a sentence itself.
    """

    template: str
    values: Mapping[str, str | int | Sentence] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.template.format_map(self.values)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        values = {name: v.plain() if isinstance(v, Sentence) else v for name, v in self.values.items()}
        return {"template": self.template, "values": values}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Sentence:
        """The sentence that `plain` made this of. Raises whatever what is none comes to."""
        values = {name: cls.of(v) if isinstance(v, Mapping) else v for name, v in plain["values"].items()}
        if not isinstance(plain["template"], str) or any(isinstance(v, list) for v in values.values()):
            raise ValueError("nobody can say this")
        sentence = cls(plain["template"], values)
        str(sentence)  # its values fill it
        return sentence


def in_a_row(sentences: Iterable[Sentence]) -> Sentence:
    """Several sentences as one, each in the reader's language."""
    parts = {f"part{place}": told for place, told in enumerate(sentences)}
    return Sentence(" ".join(f"{{{part}}}" for part in parts), parts)


#: How deliveries stand, and what people answer, by the names under which they are counted.
COUNTED = ("accepted", "sent", "delivered", "failed", "blacklisted", "expired", "other", "replies", "opt-outs")
MOST_COUNTS = 20


def counts_told(counts: Mapping[str, int]) -> Sentence:
    """`delivered 18, failed 2`, each in the reader's language; a word that nobody knows stays the vendor's."""
    named = sorted(counts.items())
    shown = {
        f"part{place}": Sentence("{name} {number}", {"name": _counted(name), "number": number})
        for place, (name, number) in enumerate(named[:MOST_COUNTS])
    }
    more = f" … (+{len(named) - MOST_COUNTS})" if len(named) > MOST_COUNTS else ""
    return Sentence(", ".join(f"{{{part}}}" for part in shown) + more, shown)


def _counted(name: str) -> str | Sentence:
    if name in COUNTED:
        return Sentence(name)
    other, _, word = name.partition(": ")
    return Sentence("other: {word}", {"word": word}) if other == "other" else name


@dataclass(frozen=True)
class Complaint:
    """Why a request cannot be taken, and under which field of the form it belongs."""

    field: str
    sentence: Sentence


class NotAccepted(Exception):
    """The request cannot be taken as it stands. Nothing is stored but the audit."""

    def __init__(self, *complaints: Complaint) -> None:
        super().__init__(", ".join(complaint.field for complaint in complaints))
        self.complaints = complaints


class NotAllowed(Exception):
    """This person may not do this; the sentence says who may."""

    def __init__(self, template: str, **values: str | int | Sentence) -> None:
        super().__init__(template)
        self.sentence = Sentence(template, values)


class TooLate(Exception):
    """The row has moved on since the person last saw it; `broadcast` is how it stands now."""

    def __init__(self, broadcast: Broadcast) -> None:
        super().__init__(broadcast.state)
        self.broadcast = broadcast


class CardChanged(Exception):
    """What bears on the decision has changed since the card was drawn; `changes` say to what, if that is known."""

    def __init__(self, broadcast: Broadcast, changes: tuple[Sentence, ...] = ()) -> None:
        super().__init__(broadcast.id)
        self.broadcast, self.changes = broadcast, changes


class NotFound(Exception):
    """No broadcast of this id in this workspace."""


class NotUnderstood(NotFound):
    """It is there, and a newer version of the bot has written it in a way that this one cannot read."""


@dataclass(frozen=True, kw_only=True)
class Broadcast:
    """A request and its life, exactly as its row stands. Every card can be drawn again from this alone."""

    workspace: str
    id: str
    version: int
    state: State
    phase: Phase | None = None
    hold: Hold | None = None
    hold_until: Micros | None = None
    mode: str = "live"
    key: str
    requester: str
    editor: str
    channel: str
    audience: str
    account: str
    provider: str
    kind: AudienceKind
    target: str
    everyone: bool = False
    subscribers: tuple[str, ...] = ()
    purpose: Purpose
    typed: str
    text: str
    sender: str | None = None
    campaign: str | None = None
    policy: str | None = None
    send_at: Micros | None = None
    zone: str = "UTC"
    digest: str
    size: int | None = None
    unnamed: int | None = None
    quoted: str | None = None
    bound: int | None = None
    quorum: int
    approvers: tuple[str, ...] = ()
    start_at: Micros | None = None
    due: Micros | None = None
    expires_at: Micros | None = None
    approved_at: Micros | None = None
    attempt: int = 0
    tries: int = 0
    owner: str | None = None
    lease_until: Micros | None = None
    staged: Staged | None = None
    ids: tuple[str, ...] = ()
    failure: Sentence | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    accepted_at: Micros | None = None
    look_at: Micros | None = None
    created_at: Micros
    changed_at: Micros
    revision: int = 1
    voice_at: Micros | None = None
    voices: int = 0
    schedule: str | None = None
    occurrence: str | None = None
    covers: int = 1
    asked_in: str | None = None
    finals: int = 0

    @property
    def dispatch(self) -> str:
        """The name of the current attempt, safe in a URL and short enough for a vendor's label."""
        return f"{self.id}-{self.version}-{self.attempt}"

    @property
    def vendor_audience(self) -> Audience:
        return Audience(self.kind, self.target, self.everyone, self.subscribers)

    def message(self, callback_url: str | None = None) -> Message:
        """What the vendor is asked to send, with the current attempt's own marks."""
        return Message(
            dispatch=self.dispatch,
            text=self.text,
            audience=self.vendor_audience,
            purpose=self.purpose,
            sender=self.sender,
            campaign=self.campaign,
            callback_url=callback_url,
        )

    @property
    def most(self) -> int | None:
        """How many people it reaches by what is known: as many as the vendor tells, which may be none, else its bound;
        None where nobody knows."""
        return self.bound if self.size is None else self.size

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def claimed(self) -> bool:
        """Somebody says that it went out, and the vendor has not said so yet."""
        return self.state in (State.SENT, State.DONE) and self.failure is not None

    @property
    def in_undo_window(self) -> bool:
        """Approved for "now": stopping it is an undo, not a change of plan."""
        return self.state is State.SCHEDULED and self.send_at is None

    def computed_digest(self) -> str:
        return digest(self)


BOUND_FIELDS: tuple[str, ...] = (
    *("text", "audience", "kind", "target", "everyone", "subscribers"),
    *("account", "provider", "purpose", "sender", "send_at", "mode"),
)


def digest(broadcast: Broadcast) -> str:
    """SHA-256 over the exact bytes that an approval binds: text, audience, account, purpose, sender, time, mode.

    What only recurring ones have is bound where they have it: a digest once given keeps its value.
    """
    bound = {name: getattr(broadcast, name) for name in BOUND_FIELDS}
    if broadcast.covers > 1:
        bound |= {"covers": broadcast.covers, "schedule": broadcast.schedule}
    canonical = json.dumps(bound, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def fingerprint(broadcast: Broadcast) -> str:
    """The first characters of the digest, for people to compare."""
    return broadcast.digest[:8]
