"""Submit a request, act on a broadcast. The rules of the house live here; Slack and the clock only ask."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from bot import policy, store, text
from bot.broadcast import (
    SECOND,
    TRANSITIONS,
    Action,
    Broadcast,
    BroadcastRequest,
    Clock,
    Complaint,
    Hold,
    Micros,
    NotAccepted,
    NotAllowed,
    Sentence,
    State,
    TooLate,
    digest,
    micros,
    new_id,
)
from bot.catalogue import Catalogue
from bot.database import Database
from bot.hours import Policy
from bot.policy import Members, Person
from bot.settings import AudienceSettings, Settings
from bot.store import Note
from providers.base import Provider, Purpose

TWIN_WINDOW = 60 * SECOND  # the same request again within this is a repeated command, not a wish
FURTHEST = 2 * 366 * 24 * 3600 * SECOND
SEEN_KEPT = 3 * 24 * 3600 * SECOND  # Slack brings an event again for an hour or so
PAST_SLACK = 60 * SECOND  # what a form took to fill in


@dataclass(frozen=True)
class Submitted:
    """`again`: this was a repetition, and `broadcast` is the one that was there already."""

    broadcast: Broadcast
    again: bool = False


@dataclass(frozen=True)
class Desk:
    """What can be written to, and how: the settings' audiences, their accounts and their policies."""

    settings: Settings
    providers: Mapping[str, Provider]
    policies: Mapping[str, Policy]
    catalogue: Catalogue

    def audience(self, name: str) -> AudienceSettings | None:
        return self.settings.audiences.get(name)

    def provider_of(self, audience: AudienceSettings) -> Provider:
        return self.providers[audience.account]

    def mention_for(self, name: str, purpose: Purpose) -> str | None:
        """The opt-out mention that a text to this audience must end with."""
        audience = self.settings.audiences[name]
        if purpose is Purpose.TRANSACTIONAL:
            return None
        return audience.stop_mention or self.provider_of(audience).mention


class Workflow:
    """`wake` is called after anything that may be due now: the dispatcher and the cards' painter listen there."""

    def __init__(
        self, database: Database, desk: Desk, members: Members, clock: Clock, wake: Callable[[], None]
    ) -> None:
        self.database, self.desk, self.members, self.clock, self.wake = database, desk, members, clock, wake
        self.approval = desk.settings.approval

    # --- submit ------------------------------------------------------------------------------------------------------

    async def submit(
        self, request: BroadcastRequest, *, key: str, person: Person, postable: bool = True, draft: str | None = None
    ) -> Submitted:
        """Check a request and store the broadcast it becomes; the same `key` again gives the same broadcast.

        `postable` False keeps it as a draft, since no card can stand in its channel. `draft` is the id of the draft
        that this request completes. Raises NotAccepted, NotAllowed (both audited) or CannotTell.
        """
        try:
            planned = await self._plan(request, key, person)
        except (NotAccepted, NotAllowed) as error:
            await self._audit_refusal(person, Action.SUBMIT, type(error).__name__)
            raise
        stored = await self.database.write(lambda c: self._store(c, planned, postable, draft))
        self.wake()
        return stored

    async def _plan(self, request: BroadcastRequest, key: str, person: Person) -> Broadcast:
        settings = self.desk.audience(request.audience)
        if settings is None:
            raise NotAccepted(Complaint("audience", self._unknown_audience(request.audience)))
        await policy.may_ask(person, request.audience, settings, self.members)
        final, complaints = self._final_text(request, settings)
        complaints += [*self._sender_complaints(request, settings), *self._time_complaints(request)]
        complaints += self._policy_complaints(request, settings)
        if complaints:
            raise NotAccepted(*complaints)
        need = await self._need(request, person, settings)
        return self._broadcast(request, key, settings, final, need)

    def _unknown_audience(self, name: str) -> Sentence:
        known = ", ".join(sorted(self.desk.settings.audiences)) or "—"
        near = text.nearest(name, self.desk.settings.audiences)
        if near:
            return Sentence("There is no audience “{name}”. Did you mean “{near}”?", {"name": name, "near": near})
        return Sentence("There is no audience “{name}”. There are: {known}.", {"name": name, "known": known})

    def _final_text(self, request: BroadcastRequest, settings: AudienceSettings) -> tuple[str, list[Complaint]]:
        provider = self.desk.provider_of(settings)
        mention = self.desk.mention_for(request.audience, request.purpose)
        typed = request.text.strip()
        mentioned = text.with_mention(typed, mention) if mention and typed else text.Mentioned(typed, added=False)
        final, limits = mentioned.text, provider.capabilities.text
        if mentioned.near_miss is not None:
            values: dict[str, str | int | Sentence] = {"found": mentioned.near_miss, "mention": mention or ""}
            template = (
                "“{found}” must read exactly “{mention}” and stand at the end. Leave it out: it is added for you."
            )
            return final, [Complaint("text", Sentence(template, values))]
        problems = [*text.problems(typed, limits), *(text.problems(final, limits) if final != typed else ())]
        complaints = [Complaint("text", Sentence(problem.template, problem.values)) for problem in problems[:1]]
        unknown = text.unknown_placeholders(final, provider.capabilities.placeholders)
        if unknown and not complaints:
            allowed = ", ".join(provider.capabilities.placeholders) or "—"
            values = {"name": unknown[0], "vendor": provider.title, "allowed": allowed}
            template = "“{name}” is no placeholder that {vendor} fills in. It knows: {allowed}."
            complaints = [Complaint("text", Sentence(template, values))]
        return final, complaints

    def _sender_complaints(self, request: BroadcastRequest, settings: AudienceSettings) -> list[Complaint]:
        if request.sender is None:
            return []
        provider = self.desk.provider_of(settings)
        pattern = provider.capabilities.sender_pattern
        if pattern is None:
            template = "{vendor} takes no sender ID. Leave it out."
        elif not re.fullmatch(pattern, request.sender):
            template = "“{sender}” is no sender ID for {vendor}. {rule}"
        else:
            return []
        rule = Sentence(provider.capabilities.sender_rule)
        values: dict[str, str | int | Sentence] = {"vendor": provider.title, "sender": request.sender, "rule": rule}
        return [Complaint("sender", Sentence(template, values))]

    def _time_complaints(self, request: BroadcastRequest) -> list[Complaint]:
        if request.send_at is None:
            return []
        now = self.clock()
        if request.send_at < now - PAST_SLACK:
            template = "That time has passed. Choose a later one, or none to send right after approval."
        elif request.send_at > now + FURTHEST:
            template = "That is more than two years away. Choose an earlier time."
        else:
            return []
        return [Complaint("send_at", Sentence(template))]

    def _policy_complaints(self, request: BroadcastRequest, settings: AudienceSettings) -> list[Complaint]:
        if request.purpose is Purpose.MARKETING and settings.policy is None:
            template = (
                "Marketing to “{audience}” needs a policy of sending hours. "
                "Ask an admin to set `policy` under `[audiences.{audience}]`."
            )
            return [Complaint("audience", Sentence(template, {"audience": request.audience}))]
        return []

    async def _need(self, request: BroadcastRequest, person: Person, settings: AudienceSettings) -> policy.Need:
        offers = request.purpose is Purpose.TRANSACTIONAL and bool(text.looks_like_marketing(request.text))
        if offers:
            offers = person.id not in await policy.people_in(self.approval.approvers, self.members)
        need = self._need_at(request.purpose, request.audience, settings, settings.max_size, doubtful=offers)
        if need.quorum and self.desk.settings.mode != "training":
            await self._must_be_satisfiable(need, person)
        return need

    def _need_at(
        self, purpose: Purpose, name: str, settings: AudienceSettings, size: int | None, *, doubtful: bool = False
    ) -> policy.Need:
        return policy.need_for(
            self.approval, purpose=purpose, audience=name, account=settings.account, size=size, doubtful=doubtful
        )

    async def _must_be_satisfiable(self, need: policy.Need, person: Person) -> None:
        others = await policy.people_in(need.approvers, self.members) - {person.id}
        if len(others) < need.quorum:
            values: dict[str, str | int] = {
                "quorum": need.quorum,
                "who": policy.mentions(need.approvers),
                "others": len(others),
            }
            template = (
                "This needs {quorum} approvals from {who}, and without you there are only {others} people. "
                "Ask an admin to name more approvers."
            )
            raise NotAccepted(Complaint("audience", Sentence(template, values)))

    def _broadcast(
        self, request: BroadcastRequest, key: str, settings: AudienceSettings, final: str, need: policy.Need
    ) -> Broadcast:
        provider, now = self.desk.provider_of(settings), self.clock()
        planned = Broadcast(
            **request.model_dump(include={"workspace", "requester", "audience", "purpose", "sender", "campaign"}),
            send_at=request.send_at,
            zone=request.zone,
            id=new_id(),
            version=1,
            state=State.PENDING,
            mode=self.desk.settings.mode,
            key=key,
            editor=request.requester,
            channel=self.approval.channel or request.channel,
            account=settings.account,
            provider=provider.name,
            kind=settings.kind,
            target=settings.id,
            everyone=settings.everyone,
            subscribers=settings.subscribers,
            typed=request.text,
            text=final,
            policy=settings.policy,
            digest="",
            bound=settings.max_size,
            quorum=need.quorum,
            approvers=need.approvers,
            expires_at=now + micros(self.approval.expires_after),
            created_at=now,
            changed_at=now,
        )
        return dataclasses.replace(planned, digest=digest(planned))

    def _store(self, connection: Connection, planned: Broadcast, postable: bool, draft: str | None) -> Submitted:
        known = store.find_by_key(connection, planned.workspace, planned.key)
        known = known or store.find_twin(connection, planned, planned.created_at - TWIN_WINDOW)
        if known and known.id != draft:
            return Submitted(known, again=True)
        if draft is not None:
            return Submitted(self._complete_draft(connection, planned, draft, postable))
        if not postable:
            planned = dataclasses.replace(planned, state=State.DRAFT)
        store.add(connection, planned, draw=postable)
        return Submitted(self._without_approval(connection, planned))

    def _complete_draft(self, connection: Connection, planned: Broadcast, id: str, postable: bool) -> Broadcast:
        draft = store.find(connection, planned.workspace, id, lock=True)
        if draft.state is not State.DRAFT or draft.requester != planned.requester:
            raise TooLate(draft)
        fields = {field.name: getattr(planned, field.name) for field in dataclasses.fields(planned)}
        changes = {name: value for name, value in fields.items() if name not in UNCHANGED_BY_SUBMIT}
        if not postable:
            return store.touch(connection, draft, planned.created_at, **changes) or draft
        submitted = store.move(
            connection, draft, Action.SUBMIT, actor=planned.requester, at=planned.created_at, **changes
        )
        if submitted is None:
            raise TooLate(draft)
        return self._without_approval(connection, submitted)

    def _without_approval(self, connection: Connection, broadcast: Broadcast) -> Broadcast:
        """A broadcast that nobody needs to approve goes on by itself; the audit says that the policy let it."""
        if broadcast.state is not State.PENDING or broadcast.quorum > 0:
            return broadcast
        return self._schedule(connection, broadcast, actor="policy") or broadcast

    # --- act ---------------------------------------------------------------------------------------------------------

    async def act(
        self, workspace: str, id: str, action: Action, *, person: Person, version: int | None = None, **told: Any
    ) -> Broadcast:
        """Do what a person asked for. `version` is the one they saw; `told` a `reason` or the `way` of a vote.

        Raises NotFound, TooLate (with the row as it stands), NotAllowed (audited) or CannotTell. Doing again what
        the same person did already is no error and no second effect.
        """
        broadcast = await self.find(workspace, id)
        if version is not None and version != broadcast.version:
            raise TooLate(broadcast)
        await self.may(action, person, broadcast)
        if (broadcast.state, action) not in TRANSITIONS:
            raise TooLate(broadcast)
        if action is Action.SEND_NOW:
            told = {"still": await self._still_approvers(broadcast)}
        deed = ACTS[action][1]
        acted = await self.database.write(lambda c: deed(self, c, broadcast, action, person, **told))
        if acted is None:
            raise TooLate(await self.find(workspace, id))
        self.wake()
        return acted

    async def may(self, action: Action, person: Person, broadcast: Broadcast) -> None:
        """Raises NotAllowed, audited, when this person may not do this to it."""
        try:
            await ACTS[action][0](self, person, broadcast)
        except NotAllowed as error:
            await self._audit_refusal(person, action, error.sentence.template, broadcast)
            raise

    async def withdraw(self, workspace: str, id: str, *, person: Person, way: str) -> Broadcast | None:
        """Take a vote back before anything has left; None when there was nothing to take back."""
        broadcast = await self.find(workspace, id)
        taken = await self.database.write(lambda c: self._withdraw(c, broadcast, person, way))
        self.wake()
        return taken

    async def pause_all(self, person: Person, *, on: bool) -> int:
        """Stop all sending of a workspace before the next byte, or let it go on; how many are held for it.

        Raises NotAllowed (audited) for anybody who is no admin.
        """
        action = "pause_all" if on else "resume_all"
        if person.id not in self.desk.settings.admins:
            await self._audit_refusal(person, action, "not an admin")
            who = policy.mentions(self.desk.settings.admins)
            raise NotAllowed("Only an admin can pause or resume all sending: {who}.", who=who)
        held = await self.database.write(lambda c: self._pause_all(c, person, action, on))
        self.wake()
        return held

    def _pause_all(self, connection: Connection, person: Person, action: str, on: bool) -> int:
        store.set_paused(connection, person.workspace, person.id if on else None, self.clock())
        store.write_event(connection, person.workspace, person.id, action, None, self.clock())
        return store.count_held(connection, person.workspace, Hold.PAUSED)

    async def find(self, workspace: str, id: str) -> Broadcast:
        return await self.database.read(lambda c: store.find(c, workspace, id.upper()))

    async def _may_approve(self, person: Person, broadcast: Broadcast) -> None:
        await policy.may_approve(person, broadcast, self.members)

    async def _may_reject(self, person: Person, broadcast: Broadcast) -> None:
        policy.must_be_member(person)
        if not await policy.is_approver(person, broadcast, self.members):
            who = policy.mentions(broadcast.approvers)
            raise NotAllowed("Only {who} can reject {id}.", who=who, id=broadcast.id)

    async def _may_stop(self, person: Person, broadcast: Broadcast) -> None:
        await policy.may_stop(person, broadcast, self.desk.settings.admins, self.members)

    async def _may_deny(self, person: Person, broadcast: Broadcast) -> None:
        """To say that it did *not* go out opens the way to send again: that takes an approver."""
        policy.must_be_member(person)
        if not await policy.is_approver(person, broadcast, self.members):
            who = policy.mentions(broadcast.approvers)
            raise NotAllowed("Only {who} can say that {id} did not go out.", who=who, id=broadcast.id)

    def _approve(
        self, connection: Connection, seen: Broadcast, action: Action, person: Person, way: str = "button"
    ) -> Broadcast | None:
        current = store.find(connection, seen.workspace, seen.id, lock=True)
        if current.state is not State.PENDING or current.version != seen.version or self._expired(current):
            return None
        if not store.add_vote(connection, current, person.id, way, self.clock()):
            return current
        votes = store.votes_for(connection, current)
        if len(votes) < current.quorum:
            return self._count_vote(connection, current, person, len(votes))
        return self._schedule(connection, current, actor=person.id)

    def _expired(self, broadcast: Broadcast) -> bool:
        return broadcast.expires_at is not None and broadcast.expires_at <= self.clock()

    def _count_vote(self, connection: Connection, current: Broadcast, person: Person, votes: int) -> Broadcast | None:
        store.write_audit(connection, current, person.id, "vote", current.state, self.clock())
        missing = current.quorum - votes
        said = Note(Sentence("{by} approved. Approvals still needed: {missing}.", _by(person, missing=missing)))
        store.say(connection, current, self.clock(), [said])
        return store.touch(connection, current, self.clock())

    def _schedule(self, connection: Connection, current: Broadcast, *, actor: str) -> Broadcast | None:
        now = self.clock()
        start = max(current.send_at or 0, now + micros(self.approval.undo))
        template = "Approved by {by}. It starts {start_at}."
        if actor == "policy":
            template = "No approval is needed. It starts {start_at}."
        said = Note(Sentence(template, {"by": policy.mentions([actor]), "start_at": start}))
        changes: dict[str, Any] = {
            "due": start,
            "start_at": start,
            "approved_at": now,
            "expires_at": None,
            "bound": current.size or current.bound,
        }
        return store.move(connection, current, Action.APPROVE, actor=actor, at=now, said=[said], **changes)

    def _withdraw(self, connection: Connection, seen: Broadcast, person: Person, way: str) -> Broadcast | None:
        current = store.find(connection, seen.workspace, seen.id, lock=True)
        if current.state not in (State.PENDING, State.SCHEDULED) or current.version != seen.version:
            return None
        if not store.drop_vote(connection, current, person.id, way):
            return None
        now = self.clock()
        said = Note(Sentence("{by} took the approval back.", _by(person)))
        if current.state is State.PENDING or len(store.votes_for(connection, current)) >= current.quorum:
            store.write_audit(connection, current, person.id, Action.WITHDRAW, current.state, now)
            store.say(connection, current, now, [said])
            return store.touch(connection, current, now)
        expires = now + micros(self.approval.expires_after)
        changes: dict[str, Any] = {"due": None, "approved_at": None, "expires_at": expires}
        return store.move(connection, current, Action.WITHDRAW, actor=person.id, at=now, said=[said], **changes)

    def _end(
        self, connection: Connection, seen: Broadcast, action: Action, person: Person, reason: str | None = None
    ) -> Broadcast | None:
        template, aloud = ENDINGS[action]
        told = Sentence(template, _by(person))
        if reason:
            told = Sentence("{told} “{reason}”", {"told": told, "reason": reason})
        mention = seen.requester if person.id != seen.requester else None
        said = Note(told, mention=mention, aloud=aloud)
        return store.move(
            connection, seen, action, actor=person.id, at=self.clock(), reason=reason, said=[said], due=None
        )

    async def _still_approvers(self, broadcast: Broadcast) -> frozenset[str]:
        """Of those who may approve it, all there are now. What waited for days may outlive who agreed to it."""
        return await policy.people_in(broadcast.approvers, self.members)

    def _send_now(
        self, connection: Connection, seen: Broadcast, action: Action, person: Person, still: frozenset[str]
    ) -> Broadcast | None:
        """The votes of those who may not approve any more fall; the dispatcher asks again for what is missing then."""
        now = self.clock()
        for vote in store.votes_for(connection, seen):
            if vote.approver not in still and seen.mode != "training":
                store.drop_vote(connection, seen, vote.approver, vote.way)
        start = now + micros(self.approval.undo)
        said = Note(Sentence("{by} lets it go now. It starts {start_at}.", {**_by(person), "start_at": start}))
        changes: dict[str, Any] = {"due": start, "start_at": start, "hold": None, "hold_until": None}
        changes["expires_at"] = None
        return store.move(connection, seen, action, actor=person.id, at=now, said=[said], **changes)

    def _settle_unknown(
        self, connection: Connection, seen: Broadcast, action: Action, person: Person
    ) -> Broadcast | None:
        now = self.clock()
        if action is Action.MARK_SENT:
            said = Note(Sentence("{by} says that it went out.", _by(person)), aloud=True)
            changes: dict[str, Any] = {"accepted_at": now, "look_at": now}
        else:
            said = Note(Sentence("{by} says that it did not go out. Nothing is sent again.", _by(person)), aloud=True)
            failure = Sentence("It did not go out, says {by}.", _by(person))
            changes = {"failure": failure, "look_at": None}
        return store.move(connection, seen, action, actor=person.id, at=now, said=[said], **changes)

    # --- what the clock and the vendor tell --------------------------------------------------------------------------

    async def learn_size(self, workspace: str, id: str, size: int, **more: Any) -> None:
        """The vendor told how many people an audience holds: show it, and ask for what that size asks for.

        `more`: how many of them are `unnamed`, what the whole was `quoted` at.
        """
        await self.database.write(lambda c: self._learn_size(c, workspace, id, size, more))
        self.wake()

    def _learn_size(self, connection: Connection, workspace: str, id: str, size: int, more: Mapping[str, Any]) -> None:
        current = store.find(connection, workspace, id, lock=True)
        if current.state is State.PENDING:
            settings = self.desk.settings.audiences[current.audience]
            need = self._need_at(current.purpose, current.audience, settings, size)
            quorum = max(need.quorum, current.quorum)
            store.touch(connection, current, self.clock(), size=size, quorum=quorum, **more)
        elif current.state is State.SCHEDULED:
            store.touch(connection, current, self.clock(), size=size, **more)

    async def expire(self) -> None:
        """End the requests that nobody answered in time."""
        if await self.database.write(self._expire):
            self.wake()

    def _expire(self, connection: Connection) -> int:
        store.forget_seen(connection, self.clock() - SEEN_KEPT)
        lapsed = store.lapsed(connection, self.clock())
        for row in lapsed:
            template = "Nobody approved it in time, so it will not be sent."
            if row.state is State.HELD:
                template = "Nobody decided in time, so it will not be sent."
            said = Note(Sentence(template), row.requester, aloud=True)
            store.move(connection, row, Action.EXPIRE, actor="clock", at=self.clock(), said=[said])
        return len(lapsed)

    async def _audit_refusal(
        self, person: Person, action: str, reason: str, broadcast: Broadcast | None = None
    ) -> None:
        def write(connection: Connection) -> None:
            if broadcast is None:
                store.write_event(connection, person.workspace, person.id, f"{action}_refused", reason, self.clock())
            else:
                name = f"{action}_refused"
                store.write_audit(connection, broadcast, person.id, name, broadcast.state, self.clock(), reason)

        await self.database.write(write)


UNCHANGED_BY_SUBMIT = frozenset(
    {"workspace", "id", "version", "state", "revision", "created_at", "changed_at", "key", "attempt", "owner"}
)

ENDINGS: dict[Action, tuple[str, bool]] = {
    Action.REJECT: ("{by} rejected it.", False),
    Action.CANCEL: ("{by} cancelled it. Nothing was sent.", False),
    Action.STOP: ("{by} stopped it in time. Nothing was sent.", False),
    Action.DROP: ("{by} dropped it. Nothing was sent.", False),
    Action.DISCARD: ("{by} threw the draft away.", False),
}

ACTS: dict[Action, tuple[Callable[..., Any], Callable[..., Broadcast | None]]] = {
    Action.APPROVE: (Workflow._may_approve, Workflow._approve),
    Action.REJECT: (Workflow._may_reject, Workflow._end),
    Action.CANCEL: (Workflow._may_stop, Workflow._end),
    Action.STOP: (Workflow._may_stop, Workflow._end),
    Action.DROP: (Workflow._may_stop, Workflow._end),
    Action.DISCARD: (Workflow._may_stop, Workflow._end),
    Action.SEND_NOW: (Workflow._may_stop, Workflow._send_now),
    Action.MARK_SENT: (Workflow._may_stop, Workflow._settle_unknown),
    Action.MARK_NOT_SENT: (Workflow._may_deny, Workflow._settle_unknown),
}


def _by(person: Person, **more: Micros) -> dict[str, str | int | Sentence]:
    return {"by": policy.mentions([person.id]), **more}
