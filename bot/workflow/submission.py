"""From a request to a stored broadcast: checks, questions and repeated requests."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.config.settings import AudienceSettings
from bot.domain import people
from bot.domain.broadcast import Broadcast, BroadcastRequest, digest, marketing_until
from bot.domain.clock import SECOND, Micros
from bot.domain.errors import FieldError, InvalidRequest, NotAllowed, NotFound, StaleVersion
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Action, State
from bot.domain.people import Person
from bot.scheduler import concerned
from bot.storage import broadcasts, notes, sql
from bot.storage.cards import card_of
from bot.storage.notes import Note, add_notes
from bot.storage.votes import add_vote
from bot.workflow import approval_rules, checks
from bot.workflow.approvals import Approvals
from bot.workflow.audiences import Audiences
from bot.workflow.deadlines import asks_again_at, asks_until, draft_notice
from bot.workflow.decision_types import Sent
from bot.workflow.permissions import Permissions
from bot.workflow.questions import TWIN_WINDOW, Questions
from bot.workflow.recipients import Recipients, canary_complaint, recipients_of
from bot.workflow.sentence_parts import edited
from bot.workflow.series_approval import COVER
from providers.base import Purpose

FURTHEST = 2 * 366 * 24 * 3600 * SECOND
PAST_SLACK = 60 * SECOND  # the time it takes to fill in a form
AGAIN = "{by} changed it and asks again. {changes}"
AGAIN_AS_IT_WAS = "{by} asks again without having changed it."
CHANGED_BY = "{by} edited it. {changes}"


@dataclass(frozen=True)
class Submitted:
    """What a submitted request became.

    `again`: the request was a repetition, and `broadcast` is the one already stored. `fix`: why it is only kept as a
    draft, and what to do about it. `questions`: also why it is only a draft; submitting it again after reading them
    confirms it.
    """

    broadcast: Broadcast
    again: bool = False
    fix: Translatable | None = None
    questions: tuple[FieldError, ...] = ()


class AdvanceApproval(Protocol):
    """An approval that was given before the request and may cover it."""

    async def voters(self, planned: Broadcast) -> tuple[str, ...]:
        """Whose approval covers it; nobody's if they are too few. Raises DirectoryUnavailable."""
        ...

    def agree(self, connection: Connection, planned: Broadcast, voters: tuple[str, ...]) -> Broadcast | None:
        """Schedule it with their votes. None if the approval has ended in the meantime."""
        ...


#: Schedules a stored broadcast if it is approved; otherwise it waits.
Agree = Callable[[Connection, Broadcast], Broadcast]


class Submission:
    """Checks requests, asks about possible slips, and stores broadcasts."""

    def __init__(
        self,
        runtime: Runtime,
        audiences: Audiences,
        permissions: Permissions,
        approvals: Approvals,
        questions: Questions,
        make_id: Callable[[], str],
    ) -> None:
        self.database, self.clock, self.wake = runtime.database, runtime.clock, runtime.wake
        self.approval, self.audiences, self.make_id = runtime.settings.approval, audiences, make_id
        self.permissions, self.approvals, self.questions = permissions, approvals, questions
        self.approvers, self.people = approvals.approvers, approvals.approvers.people

    async def submit(
        self,
        request: BroadcastRequest,
        *,
        key: str,
        person: Person,
        postable: bool = True,
        draft: str | None = None,
        follows: str | None = None,
        sent: Sent | None = None,
        advance: AdvanceApproval | None = None,
    ) -> Submitted:
        """Check a request and store the broadcast it becomes; the same `key` again gives the same broadcast.

        `postable` False: no card can be posted in its channel, so it is kept as a draft. It is also kept as a draft
        when too few people in its channel could approve it. `draft`: the id of the draft that this request completes.
        `follows`: the id of an earlier broadcast; its thread and this one's then name each other. `sent`: the form that
        the request came in, which can be submitted again. The form asks about a possible slip; without a form, the
        request is kept as a draft. Submitting the same words in a form after that question confirms them. `advance`:
        an approval that may cover it.
        Raises InvalidRequest, NotAllowed (both audited), Questioned or DirectoryUnavailable.
        """
        try:
            planned = await self.plan(request, key, person)
        except (InvalidRequest, NotAllowed) as error:
            reason = "NotAllowed" if isinstance(error, NotAllowed) else "NotAccepted"  # the audit's own names
            await self.permissions.audit_refusal(person, Action.SUBMIT, reason)
            raise
        planned = dataclasses.replace(planned, follows=follows)
        questions = await self.questions.ask(request, sent, draft, planned)
        voters = await advance.voters(planned) if advance else ()
        fix = await self.approvers.why_stuck(planned, voters) if postable else None
        if questions or fix is not None or not postable:
            planned = dataclasses.replace(planned, state=State.DRAFT, voice_at=draft_notice(planned.created_at))
        agree = self._agree(advance, voters)
        stored = await self.database.write(lambda c: self._store(c, planned, draft, follows, questions, agree))
        if not stored.again and (tasks := concerned(stored.broadcast)):
            self.wake(*tasks)
        return dataclasses.replace(stored, fix=fix)

    async def plan(
        self,
        request: BroadcastRequest,
        key: str,
        person: Person,
        *,
        slack: Micros = PAST_SLACK,
        edits: Broadcast | None = None,
    ) -> Broadcast:
        """Check a request and return the broadcast it becomes, not stored. `slack`: how long ago its time may be.

        `edits`: the broadcast that it replaces. Its audience has been allowed already, and it needs no fewer approvals.
        Raises InvalidRequest, NotAllowed or DirectoryUnavailable.
        """
        reached = recipients_of(self.audiences, request.audience, test=request.test)
        settings = reached.settings
        if edits is None or (edits.test_of or edits.audience) != request.audience:
            named = self.audiences.settings.audiences[request.audience]
            await approval_rules.may_ask(person, request.audience, named, self.people.members)
        final, complaints = checks.final_text(request.text, self.audiences.terms(request.audience, request.purpose))
        if request.canary and (odd := canary_complaint(self.audiences, request.canary, settings)) is not None:
            complaints.append(odd)
        complaints += checks.name_complaints(request.sender, request.campaign)
        complaints += [*self._sender_complaints(request, settings), *self.time_complaints(request.send_at, slack)]
        if complaints:
            raise InvalidRequest(*complaints)
        planned = self._broadcast(request, key, reached, final)
        need = await self.approvers.need(planned, frozenset({person.id, request.requester}), reached.most)
        need = await self.approvers.with_canary(planned, need, person)
        need = await self.approvers.as_strict_as_marketing(planned, need)
        bound = reached.bound(need.quorum)
        planned = dataclasses.replace(planned, quorum=need.quorum, approvers=need.approvers, bound=bound)
        if complaints := self._policy_complaints(planned):
            raise InvalidRequest(*complaints)
        return planned

    def preview(self, request: BroadcastRequest) -> tuple[Broadcast, list[FieldError]]:
        """What a request would become, and what is wrong with its text, from what is known here. Nobody is asked.

        Raises KeyError if there is no such audience.
        """
        settings = self.audiences.settings.audiences[request.audience]
        final, complaints = checks.final_text(request.text, self.audiences.terms(request.audience, request.purpose))
        size = self.audiences.audience_cache.size_of(request.audience)
        planned = self._broadcast(request, "", Recipients(request.audience, settings, settings.max_size), final)
        start = self.approvers.requirements.starts_at(planned, planned.created_at)
        need = approval_rules.required_at(self.approval, planned, size or settings.max_size, start)
        return dataclasses.replace(planned, size=size, quorum=need.quorum, approvers=need.approvers), complaints

    def _sender_complaints(self, request: BroadcastRequest, settings: AudienceSettings) -> list[FieldError]:
        if request.sender is None:
            return []
        provider = self.audiences.provider_of(settings)
        pattern = provider.capabilities.sender_pattern
        if pattern is None:
            template = "{vendor} does not accept a sender ID. Leave it out."
        elif len(request.sender) > checks.MOST["sender"] or not re.fullmatch(pattern, request.sender):
            template = "“{sender}” is not a valid sender ID for {vendor}. {rule}"
        else:
            return []
        return [
            FieldError(
                "sender",
                Translatable(template, vendor=provider.title, sender=request.sender, rule=provider.sender_rule),
            )
        ]

    def time_complaints(self, send_at: Micros | None, slack: Micros = PAST_SLACK) -> list[FieldError]:
        if send_at is None:
            return []
        now = self.clock()
        if send_at < now - slack:
            template = "That time has passed. Choose a later one, or leave it out to send right after approval."
        elif send_at > now + FURTHEST:
            template = "That is more than two years away. Choose an earlier time."
        else:
            return []
        return [FieldError("send_at", Translatable(template))]

    def _policy_complaints(self, planned: Broadcast) -> list[FieldError]:
        if planned.purpose is Purpose.MARKETING and planned.policy is None and not planned.small_test:
            template = (
                "Marketing to “{audience}” needs a policy for sending hours. Ask an admin to set `policy` under "
                "`[audiences.{audience}]`."
            )
            return [FieldError("audience", Translatable(template, audience=planned.audience))]
        return []

    def _broadcast(
        self,
        request: BroadcastRequest,
        key: str,
        reached: Recipients,
        final: str,
    ) -> Broadcast:
        """What the request becomes. How many must approve it, and who, is still to be found out."""
        settings, now = reached.settings, self.clock()
        provider = self.audiences.provider_of(settings)
        planned = Broadcast(
            **request.model_dump(include={"workspace", "requester", "purpose", "sender", "campaign"}),
            audience=reached.name,
            test_of=reached.test_of,
            send_at=None if request.test else request.send_at,
            canary=None if request.test else request.canary,
            zone=request.zone,
            id=self.make_id(),
            version=1,
            state=State.PENDING,
            mode=self.audiences.settings.mode,
            key=key,
            editor=request.requester,
            channel=self.approval.channel or request.channel,
            asked_in=request.channel if self.approval.channel not in (None, request.channel) else None,
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
            bound=reached.most,
            quorum=0,
            created_at=now,
            changed_at=now,
            voice_at=asks_again_at(now, self.approval),
            expires_at=asks_until(now, self.approval),
        )
        return dataclasses.replace(planned, digest=digest(planned))

    def _store(
        self,
        connection: Connection,
        planned: Broadcast,
        draft: str | None,
        follows: str | None,
        questions: tuple[FieldError, ...],
        agree: Agree,
    ) -> Submitted:
        stored = self._store_once(connection, planned, draft, follows, agree)
        if not questions or stored.broadcast.state is not State.DRAFT:
            return stored
        self.questions.remember(connection, stored.broadcast, planned)
        return dataclasses.replace(stored, questions=questions)

    def _agree(self, advance: AdvanceApproval | None, voters: tuple[str, ...]) -> Agree:
        def agree(connection: Connection, planned: Broadcast) -> Broadcast:
            agreed = advance.agree(connection, planned, voters) if advance and voters else None
            return agreed or self.approvals.without_approval(connection, planned)

        return agree

    def _store_once(
        self, connection: Connection, planned: Broadcast, draft: str | None, follows: str | None, agree: Agree
    ) -> Submitted:
        sql.alone(connection, f"asks:{planned.workspace}/{planned.requester}")  # else two at once would find no twin
        known = broadcasts.find_by_key(connection, planned.workspace, planned.key)
        known = known or broadcasts.find_twin(connection, planned, planned.created_at - TWIN_WINDOW)
        if known and known.key != planned.key and known.state is State.DRAFT and planned.state is State.PENDING:
            draft, known = draft or known.id, None  # it was only a draft, and is submitted now
        if known and known.id != draft:
            return Submitted(known, again=True)
        if draft is not None:
            return Submitted(self._complete_draft(connection, planned, draft))
        broadcasts.add(connection, planned, draw=planned.state is not State.DRAFT)
        if follows is not None and planned.state is not State.DRAFT:
            self._name_each_other(connection, planned, follows)
        return Submitted(agree(connection, planned))

    def _complete_draft(self, connection: Connection, planned: Broadcast, id: str) -> Broadcast:
        """Submit a draft, or keep it as one. One that has a card was given back by an approver: it becomes a new
        version, and needs no fewer approvals than before."""
        draft, at = broadcasts.find(connection, planned.workspace, id, lock=True), planned.created_at
        test_stays_test = (draft.test_of is None) == (planned.test_of is None)
        if draft.state is not State.DRAFT or draft.requester != planned.requester or not test_stays_test:
            raise StaleVersion(draft)
        fields = {field.name: getattr(planned, field.name) for field in dataclasses.fields(planned)}
        changes = {name: value for name, value in fields.items() if name not in UNCHANGED_BY_SUBMIT}
        shown, told = card_of(connection, draft) is not None, list[Note]()
        if shown:
            same = draft.typed == planned.typed and draft.computed_digest() == planned.digest
            changes |= {"quorum": max(planned.quorum, draft.quorum), "asked_in": draft.asked_in}
            changes |= {"marketing_until": marketing_until(draft, planned, at)}
            changes |= {"editor": draft.editor} if same else {}  # who wrote it last still does not approve it
            template = AGAIN if planned.state is State.PENDING else CHANGED_BY
            told = [Note(edited(AGAIN_AS_IT_WAS if same else template, planned.requester, draft, planned))]
        if planned.state is State.DRAFT:
            changes |= {} if shown else {"draw_at": None}
            add_notes(connection, draft, at, told)
            return broadcasts.touch(connection, draft, at, **changes) or draft
        if shown:
            changes["version"] = draft.version + 1
        submitted = broadcasts.move(
            connection, draft, Action.SUBMIT, actor=planned.requester, at=at, notes=told, **changes
        )
        if submitted is None:
            raise StaleVersion(draft)
        return self.approvals.without_approval(connection, submitted)

    def enter(self, connection: Connection, planned: Broadcast, voters: Iterable[str] = ()) -> Broadcast:
        """Store an occurrence of a recurring broadcast. `voters`: who approved it in advance by a standing approval."""
        broadcasts.add(connection, planned, draw=True)
        for voter in voters:
            add_vote(connection, planned, voter, COVER, self.clock())
        if voters:
            actor = next(iter(voters))
            return self.approvals.schedule(connection, planned, actor=actor) or planned
        return self.approvals.without_approval(connection, planned)

    def _name_each_other(self, connection: Connection, follower: Broadcast, id: str) -> None:
        """Note the follow-up in both threads. The id comes from a form, so it may not exist here."""
        try:
            followed = broadcasts.find(connection, follower.workspace, id)
        except NotFound:
            return
        now = follower.created_at
        notes.add_notes(connection, follower, now, [Note(Translatable("This is a follow-up to {id}.", id=followed.id))])
        if followed.state is not State.DRAFT:
            by = {"by": people.mentions([follower.requester]), "id": follower.id}
            notes.add_notes(connection, followed, now, [Note(Translatable("{by} asked for a follow-up: {id}.", **by))])


UNCHANGED_BY_SUBMIT = frozenset(
    {"workspace", "id", "version", "state", "revision", "created_at", "changed_at", "key", "attempt", "owner"}
)
