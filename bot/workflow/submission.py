"""From a request to a stored broadcast: checks, questions and repeated requests."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable
from contextlib import suppress

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.config.settings import AudienceSettings
from bot.domain.broadcast import Broadcast, BroadcastRequest, digest
from bot.domain.clock import SECOND, Micros
from bot.domain.errors import FieldError, InvalidRequest, NotAllowed
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Action, State
from bot.domain.people import DirectoryUnavailable, Person
from bot.domain.price import estimate
from bot.scheduler import concerned
from bot.storage import broadcasts
from bot.storage.votes import add_vote
from bot.workflow import approval_rules, checks
from bot.workflow.approvals import Approvals
from bot.workflow.audiences import Audiences
from bot.workflow.deadlines import asks_again_at, asks_until
from bot.workflow.decision_types import Sent
from bot.workflow.follow_ups import FollowUps
from bot.workflow.permissions import Permissions
from bot.workflow.questions import Questioned, Questions
from bot.workflow.recipients import Recipients, canary_complaint, recipients_of
from bot.workflow.series_approval import COVER
from bot.workflow.storing import Storing, as_draft, was_asked_about
from bot.workflow.submitted import AdvanceApproval, Agree, Submitted, Wanted
from providers.base import Purpose

FURTHEST = 2 * 366 * 24 * 3600 * SECOND
SIZE_KEPT, PRICE_KEPT = 24 * 3600 * SECOND, 90 * 24 * 3600 * SECOND  # how long a form shows those of the last broadcast
PAST_SLACK = 60 * SECOND  # the time it takes to fill in a form


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
        self.follow_ups, self.storing = FollowUps(runtime), Storing(approvals, questions)

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
        `follows`: the id of an earlier broadcast to the same audience; the two threads then name each other. `sent`:
        the form that the request came in, which can be submitted again. The form asks about a possible slip; without a
        form, the request is kept as a draft. Submitting the same words in a form after that question confirms them.
        `advance`: an approval that may cover it.
        Raises InvalidRequest, NotAllowed (both audited), Questioned or DirectoryUnavailable.
        """
        try:
            planned = await self.plan(request, key, person)
            planned = dataclasses.replace(planned, follows=await self.follow_ups.checked(planned, follows))
        except (InvalidRequest, NotAllowed) as error:
            reason = "NotAllowed" if isinstance(error, NotAllowed) else "NotAccepted"  # the audit's own names
            await self.permissions.audit_refusal(person, Action.SUBMIT, reason)
            raise
        duplicate = await self.questions.find_duplicate(planned, draft)
        questions = await self.questions.ask(request, sent, draft, duplicate)
        voters = await advance.voters(planned) if advance else ()
        fix = await self.approvers.why_stuck(planned, voters) if postable else None
        if questions or fix is not None or not postable:
            planned = as_draft(planned)
        wanted = Wanted(planned, draft, questions, self._agree(advance, voters), advance, sent, duplicate)
        stored = await self.database.write(lambda c: self.storing.store(c, wanted))
        if not isinstance(stored, Submitted):  # somebody else asked for nearly the same a moment ago
            raise Questioned(*stored)
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
        await self._may_ask(request, person, edits)
        planned, complaints = self._checked(request, reached, key, slack)
        if complaints:
            raise InvalidRequest(*complaints)
        need = await self._need(planned, person, reached.most, edits)
        bound = reached.bound(need.quorum)
        planned = dataclasses.replace(planned, quorum=need.quorum, approvers=need.approvers, bound=bound)
        if complaints := self._policy_complaints(planned):
            raise InvalidRequest(*complaints)
        return planned

    async def _may_ask(self, request: BroadcastRequest, person: Person, edits: Broadcast | None) -> None:
        """Raises NotAllowed if this person may not write to the audience. An edit may keep the one that it has."""
        if edits is None or (edits.test_of or edits.audience) != request.audience:
            named = self.audiences.settings.audiences[request.audience]
            await approval_rules.may_ask(person, request.audience, named, self.people.members)

    def _checked(
        self, request: BroadcastRequest, reached: Recipients, key: str, slack: Micros = PAST_SLACK
    ) -> tuple[Broadcast, list[FieldError]]:
        """What a request becomes, and what is wrong with it by itself."""
        final, complaints = checks.final_text(request.text, self.audiences.terms(request.audience, request.purpose))
        if request.canary and (odd := canary_complaint(self.audiences, request.canary, reached.settings)) is not None:
            complaints.append(odd)
        complaints += checks.name_complaints(request.sender, request.campaign)
        complaints += self._sender_complaints(request, reached.settings)
        complaints += self.time_complaints(request.send_at, slack)
        return self._broadcast(request, key, reached, final), complaints

    async def _need(
        self, planned: Broadcast, person: Person, most: int | None, edits: Broadcast | None
    ) -> approval_rules.RequiredApprovals:
        """The approvals it needs. Raises InvalidRequest, NotAllowed or DirectoryUnavailable."""
        need = await self.approvers.need(planned, frozenset({person.id, planned.requester}), most)
        need = await self.approvers.with_canary(planned, need, person)
        need = await self.approvers.as_strict_as_marketing(planned, need)
        if edits is not None and need.quorum == 0 and not await self._could_ask(planned, person):
            need = dataclasses.replace(need, quorum=1)
        return need

    async def _could_ask(self, planned: Broadcast, person: Person) -> bool:
        """Whether this person could ask for it themselves. If not, what they have edited is looked at."""
        settings = self.audiences.settings.audiences[planned.audience]
        try:
            await approval_rules.may_ask(person, planned.audience, settings, self.people.members)
        except NotAllowed:
            return False
        return True

    # --- what it would become ----------------------------------------------------------------------------------------

    async def preview(
        self,
        request: BroadcastRequest,
        person: Person,
        before: Broadcast | None = None,
        follows: str | None = None,
    ) -> tuple[Broadcast, list[FieldError]]:
        """What a request would become, with the size and the cost that it will probably have, and what is wrong.

        No vendor is asked. `before`: the broadcast that it edits, or the draft that it completes. `follows`: the id of
        the one that it follows. Raises InvalidRequest if there is nobody to send it to.
        """
        if before is not None:
            request = request.model_copy(update={"requester": before.requester, "test": before.test_of is not None})
        reached = recipients_of(self.audiences, request.audience, test=request.test)
        planned, complaints = self._checked(request, reached, before.key if before is not None else "")
        size = self.audiences.audience_cache.size_of(reached.name)
        planned = dataclasses.replace(planned, size=size, follows=before.follows if before is not None else follows)
        if before is not None:
            planned = dataclasses.replace(planned, schedule=before.schedule)
        known = not any(one.field == "canary" for one in complaints)
        need = approval_rules.required_at(self.approval, planned, reached.most)
        edits = before if before is not None and before.state is not State.DRAFT else None
        with suppress(DirectoryUnavailable):  # then without what only Slack can tell
            try:
                await self._may_ask(request, person, edits)
                if edits is None or (planned.audience, planned.purpose) != (edits.audience, edits.purpose):
                    await self.follow_ups.checked(planned, planned.follows)
                asked = planned if known else dataclasses.replace(planned, canary=None)
                need = await self._need(asked, person, reached.most, edits)
                complaints += await self._why_unseen(need, person, edits)
            except (InvalidRequest, NotAllowed) as error:
                complaints += error.complaints if isinstance(error, InvalidRequest) else (_refused(error),)
        planned = dataclasses.replace(planned, quorum=need.quorum, approvers=need.approvers)
        planned = await self.database.read(lambda c: self._as_last_time(c, planned, before))
        planned = dataclasses.replace(planned, bound=reached.bound(planned.quorum))
        return planned, [*complaints, *self._policy_complaints(planned)]

    async def _why_unseen(
        self, need: approval_rules.RequiredApprovals, person: Person, edits: Broadcast | None
    ) -> list[FieldError]:
        """Why too few people in its channel could approve an edit by this person."""
        if edits is None:
            return []
        quorum = max(need.quorum, edits.quorum)
        edited = dataclasses.replace(edits, editor=person.id, quorum=quorum, approvers=need.approvers)
        why = await self.approvers.why_stuck(edited)
        return [FieldError("text", why)] if why is not None else []

    def _as_last_time(self, connection: Connection, planned: Broadcast, before: Broadcast | None) -> Broadcast:
        """The same with the size that the vendor told last, and with the price of the last broadcast to the same.

        It needs no fewer approvals than what it replaces, if people were asked about that.
        """
        if before is not None and was_asked_about(connection, before):
            planned = dataclasses.replace(planned, quorum=max(planned.quorum, before.quorum))
        like = dataclasses.replace(planned, key="")  # also what it replaces
        earlier = broadcasts.latest_sized(connection, like, planned.created_at - PRICE_KEPT)
        if planned.size is None and earlier and earlier[0].created_at > planned.created_at - SIZE_KEPT:
            planned = dataclasses.replace(planned, size=earlier[0].size)
        prices = (estimate(planned, one) for one in earlier)
        return dataclasses.replace(planned, quoted=next((price for price in prices if price), None))

    def outline(self, request: BroadcastRequest) -> Broadcast:
        """What a request would become, from what is known here. Raises KeyError if there is no such audience."""
        settings = self.audiences.settings.audiences[request.audience]
        planned, _ = self._checked(request, Recipients(request.audience, settings, settings.max_size), "")
        planned = dataclasses.replace(planned, size=self.audiences.audience_cache.size_of(request.audience))
        start = self.approvers.requirements.starts_at(planned, planned.created_at)
        need = approval_rules.required_at(self.approval, planned, planned.most, start)
        return dataclasses.replace(planned, quorum=need.quorum, approvers=need.approvers)

    # --- what is wrong with it ---------------------------------------------------------------------------------------

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

    def _agree(self, advance: AdvanceApproval | None, voters: tuple[str, ...]) -> Agree:
        def agree(connection: Connection, planned: Broadcast) -> Broadcast:
            agreed = advance.agree(connection, planned, voters) if advance and voters else None
            return agreed or self.approvals.without_approval(connection, planned)

        return agree

    def enter(self, connection: Connection, planned: Broadcast, voters: Iterable[str] = ()) -> Broadcast:
        """Store an occurrence of a recurring broadcast. `voters`: who approved it in advance by a standing approval."""
        broadcasts.add(connection, planned, draw=True)
        for voter in voters:
            add_vote(connection, planned, voter, COVER, self.clock())
        if voters:
            actor = next(iter(voters))
            return self.approvals.schedule(connection, planned, actor=actor) or planned
        return self.approvals.without_approval(connection, planned)


def _refused(error: NotAllowed) -> FieldError:
    return FieldError("audience", error.sentence)
