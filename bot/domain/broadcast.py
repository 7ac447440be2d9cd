"""A request, the broadcast that it becomes, and the digest that binds an approval to exact bytes."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict

from bot.domain.clock import Micros
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import ENDED, Hold, Phase, State
from providers.base import Audience, AudienceKind, Message, Purpose, Staged

ID_ALPHABET = "ABCDEFGHJKLMNPQRTUVWXYZ234679"  # no letter that reads as a digit, no digit that reads as a letter


def new_id() -> str:
    """`B` and seven characters; about 17 thousand million of them, unique in a workspace by the store's key."""
    return "B" + "".join(secrets.choice(ID_ALPHABET) for _ in range(7))


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
    canary: str | None = None
    zone: str = "UTC"
    test: bool = False  # it goes to the test audience of its account, and counts as nothing else


MOST_IN_A_TEST = 20  # people; a test for more is a broadcast like any other


@dataclass(frozen=True, kw_only=True)
class Broadcast:
    """A request and its life, exactly as in its row. Every card can be drawn again from this alone.

    `test_of`: the audience whose text it tries out, if it is a test. `audience` and `target` then name who gets it.
    `follows`: the broadcast that it corrects or repeats, or whose canary it is. `canary`: the audience that gets it
    first, before somebody decides at `continued_at` that the others get it too. `marketing_until`: when an edit made it
    transactional, if it was asked for as marketing. `glass_*`: who let it go without approval, why, when, and exactly
    what. `review_at`: when approvers are next reminded to review that. `text_removed_at`: when `typed` and `text`
    became empty, since they were too old or an operator erased them.
    """

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
    stage_at: Micros | None = None
    staged: Staged | None = None
    ids: tuple[str, ...] = ()
    failure: Translatable | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    accepted_at: Micros | None = None
    look_at: Micros | None = None
    created_at: Micros
    changed_at: Micros
    revision: int = 1
    ruled_at: Micros | None = None
    voice_at: Micros | None = None
    voices: int = 0
    schedule: str | None = None
    occurrence: str | None = None
    covers: int = 1
    covered_by: str | None = None
    asked_in: str | None = None
    finals: int = 0
    test_of: str | None = None
    follows: str | None = None
    canary: str | None = None
    continued_at: Micros | None = None
    marketing_until: Micros | None = None
    glass_by: str | None = None
    glass_reason: str | None = None
    glass_at: Micros | None = None
    glass_digest: str | None = None
    review_at: Micros | None = None
    reviewed_by: str | None = None
    reviewed_at: Micros | None = None
    review_comment: str | None = None
    text_removed_at: Micros | None = None

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
        """How many people it can reach: the size that the vendor reported, even 0, else its bound; None: unknown."""
        return self.bound if self.size is None else self.size

    @property
    def small_test(self) -> bool:
        """Whether it is a test for so few people that no rule for broadcasts applies: approval, hours or cap."""
        return self.test_of is not None and self.most is not None and self.most <= MOST_IN_A_TEST

    @property
    def canary_key(self) -> str:
        """The key of the broadcast to its canary. An edit makes another one."""
        return f"canary:{self.id}:{self.version}"

    @property
    def is_canary(self) -> bool:
        return self.test_of is not None and self.key.startswith("canary:")

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def claimed(self) -> bool:
        """Whether somebody says that it went out and the vendor has not confirmed it yet."""
        return self.state in (State.SENT, State.DONE) and self.failure is not None

    @property
    def in_undo_window(self) -> bool:
        """Whether somebody let it go for "now": stopping it is an undo, not a change of plan."""
        return self.state is State.SCHEDULED and (self.send_at is None or self.send_at < (self.due or 0))

    @property
    def skips_approval(self) -> bool:
        """Whether somebody let exactly this go without approval, and it has not gone back to the approvers since.

        Whatever asks for approval again clears `approved_at`, also in an older process that knows only that.
        """
        let_go = self.glass_at is not None and self.glass_at == self.approved_at
        return let_go and self.glass_digest == self.digest and self.purpose is Purpose.TRANSACTIONAL

    @property
    def review_open(self) -> bool:
        return self.glass_by is not None and self.reviewed_by is None

    def computed_digest(self) -> str:
        return digest(self)


def marketing_until(before: Broadcast, after: Broadcast, at: Micros) -> Micros | None:
    """When it was last marketing, if it no longer is once it is `after`."""
    stops = before.purpose is Purpose.MARKETING and after.purpose is not Purpose.MARKETING
    return at if stops else before.marketing_until


BOUND_FIELDS: tuple[str, ...] = (
    *("text", "audience", "kind", "target", "everyone", "subscribers"),
    *("account", "provider", "purpose", "sender", "send_at", "mode"),
)


def digest(broadcast: Broadcast) -> str:
    """SHA-256 over the exact bytes that an approval binds: text, audience, account, purpose, sender, time, mode.

    Fields that only some broadcasts have are bound only for them, so that existing digests keep their values.
    """
    bound = {name: getattr(broadcast, name) for name in BOUND_FIELDS}
    if broadcast.covers > 1:
        bound |= {"covers": broadcast.covers, "schedule": broadcast.schedule}
    if broadcast.test_of is not None:
        bound |= {"test_of": broadcast.test_of}
    if broadcast.canary is not None:
        bound |= {"canary": broadcast.canary}
    canonical = json.dumps(bound, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def fingerprint(broadcast: Broadcast) -> str:
    """The first characters of the digest, for people to compare."""
    return broadcast.digest[:8]
