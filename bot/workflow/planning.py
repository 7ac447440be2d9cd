"""What a request becomes: the checks that every request passes, and the approvals that it needs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

from bot.config.runtime import Runtime
from bot.config.settings import AudienceSettings
from bot.domain.broadcast import Broadcast, BroadcastRequest, digest
from bot.domain.clock import SECOND, Micros
from bot.domain.errors import FieldError, InvalidRequest, NotAllowed
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import State
from bot.domain.people import Person
from bot.workflow import approval_rules, checks
from bot.workflow.approvers import Approvers
from bot.workflow.audiences import Audiences
from bot.workflow.deadlines import asks_again_at, asks_until
from bot.workflow.recipients import Recipients, canary_complaint, complaints_about_test, recipients_of
from bot.workflow.requirements import as_before
from providers.base import Purpose

FURTHEST = 2 * 366 * 24 * 3600 * SECOND
PAST_SLACK = 60 * SECOND  # the time it takes to fill in a form


class Planning:
    """Turns requests into broadcasts that are not stored yet."""

    def __init__(
        self, runtime: Runtime, audiences: Audiences, approvers: Approvers, make_id: Callable[[], str]
    ) -> None:
        self.clock, self.approval, self.audiences = runtime.clock, runtime.settings.approval, audiences
        self.approvers, self.people, self.make_id = approvers, approvers.people, make_id

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
        await self.check_may_ask(request, person, edits)
        planned, complaints = self.checked(request, reached, key, slack)
        if complaints:
            raise InvalidRequest(*complaints)
        need = await self.need(planned, person, reached.most, edits)
        bound = reached.bound(need.quorum)
        planned = dataclasses.replace(planned, quorum=need.quorum, approvers=need.approvers, bound=bound)
        if complaints := self.policy_complaints(planned):
            raise InvalidRequest(*complaints)
        return planned

    async def check_may_ask(self, request: BroadcastRequest, person: Person, edits: Broadcast | None) -> None:
        """Raises NotAllowed if this person may not write to the audience. An edit may keep the one that it has."""
        if edits is None or (edits.test_of or edits.audience) != request.audience:
            named = self.audiences.settings.audiences[request.audience]
            await approval_rules.may_ask(person, request.audience, named, self.people.members)

    def checked(
        self, request: BroadcastRequest, reached: Recipients, key: str, slack: Micros = PAST_SLACK
    ) -> tuple[Broadcast, list[FieldError]]:
        """What a request becomes, and what is wrong with it by itself."""
        final, complaints = checks.final_text(request.text, self.audiences.terms(request.audience, request.purpose))
        if request.test:
            complaints += complaints_about_test(request)
        elif request.canary and (odd := canary_complaint(self.audiences, request.canary, reached.settings)) is not None:
            complaints.append(odd)
        complaints += checks.name_complaints(request.sender, request.campaign)
        complaints += self._sender_complaints(request, reached.settings)
        complaints += self.time_complaints(request.send_at, slack)
        return self._broadcast(request, key, reached, final), complaints

    async def need(
        self, planned: Broadcast, person: Person, most: int | None, edits: Broadcast | None
    ) -> approval_rules.RequiredApprovals:
        """The approvals it needs. Raises InvalidRequest, NotAllowed or DirectoryUnavailable."""
        need = await self.approvers.need(planned, frozenset({person.id, planned.requester}), most)
        need = await self.approvers.with_canary(planned, need, person)
        need = await self.approvers.as_strict_as_marketing(planned, need)
        if edits is not None:
            need = as_before(need, edits, planned)
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

    def policy_complaints(self, planned: Broadcast) -> list[FieldError]:
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
            **request.model_dump(include={"workspace", "requester", "purpose", "campaign"}),
            sender=request.sender or provider.default_sender,
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
