"""What a request would become, while somebody is still typing it. No vendor is asked."""

from __future__ import annotations

import dataclasses

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast, BroadcastRequest
from bot.domain.clock import SECOND
from bot.domain.errors import FieldError, InvalidRequest, NotAllowed
from bot.domain.lifecycle import State
from bot.domain.people import DirectoryUnavailable, Person
from bot.domain.price import estimate
from bot.storage import broadcasts
from bot.workflow.approval_rules import RequiredApprovals, required_at
from bot.workflow.follow_ups import FollowUps
from bot.workflow.planning import Planning
from bot.workflow.recipients import Recipients, recipients_of
from bot.workflow.requirements import as_before
from bot.workflow.storing import was_asked_about

SIZE_KEPT, PRICE_KEPT = 24 * 3600 * SECOND, 90 * 24 * 3600 * SECOND  # how long a form shows those of the last broadcast


class Previews:
    """Shows what a request would become, by the same checks as the request itself."""

    def __init__(self, runtime: Runtime, planning: Planning, follow_ups: FollowUps) -> None:
        self.database, self.planning, self.follow_ups = runtime.database, planning, follow_ups
        self.audiences, self.approvers, self.approval = planning.audiences, planning.approvers, planning.approval

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
        planned, complaints = self.planning.checked(request, reached, before.key if before is not None else "")
        planned = dataclasses.replace(
            planned,
            size=self.audiences.audience_cache.size_of(reached.name),
            follows=before.follows if before is not None else follows,
            schedule=before.schedule if before is not None else None,
        )
        edits = before if before is not None and before.state is not State.DRAFT else None
        canary_is_odd = any(one.field == "canary" for one in complaints)
        asked = dataclasses.replace(planned, canary=None) if canary_is_odd else planned
        need, refusals = await self._need(request, asked, person, reached.most, edits)
        planned = dataclasses.replace(planned, quorum=need.quorum, approvers=need.approvers)
        planned = await self.database.read(lambda c: self._as_last_time(c, planned, before))
        planned = dataclasses.replace(planned, bound=reached.bound(planned.quorum))
        return planned, [*complaints, *refusals, *self.planning.policy_complaints(planned)]

    async def _need(
        self, request: BroadcastRequest, asked: Broadcast, person: Person, most: int | None, edits: Broadcast | None
    ) -> tuple[RequiredApprovals, list[FieldError]]:
        """The approvals it needs, and why it would be refused. While Slack is away, without what only Slack knows."""
        need = required_at(self.approval, asked, most)
        try:
            await self.planning.check_may_ask(request, person, edits)
            if edits is None or (asked.audience, asked.purpose) != (edits.audience, edits.purpose):
                await self.follow_ups.checked(asked, asked.follows)
            need = await self.planning.need(asked, person, most, edits)
            return need, await self._why_unseen(need, person, edits)
        except NotAllowed as error:
            return need, [FieldError("audience", error.sentence)]
        except InvalidRequest as error:
            return need, list(error.complaints)
        except DirectoryUnavailable:
            return need, []

    async def _why_unseen(self, need: RequiredApprovals, person: Person, edits: Broadcast | None) -> list[FieldError]:
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
            need = as_before(RequiredApprovals(planned.quorum, planned.approvers), before, planned)
            quorum = max(need.quorum, before.quorum)
            planned = dataclasses.replace(planned, quorum=quorum, approvers=need.approvers)
        like = dataclasses.replace(planned, key="")  # also what it replaces
        earlier = broadcasts.latest_sized(connection, like, planned.created_at - PRICE_KEPT)
        if planned.size is None and earlier and earlier[0].created_at > planned.created_at - SIZE_KEPT:
            planned = dataclasses.replace(planned, size=earlier[0].size)
        prices = (estimate(planned, one) for one in earlier)
        return dataclasses.replace(planned, quoted=next((price for price in prices if price), None))

    def outline(self, request: BroadcastRequest) -> Broadcast:
        """What a request would become, from what is known here. Raises KeyError if there is no such audience."""
        settings = self.audiences.settings.audiences[request.audience]
        planned, _ = self.planning.checked(request, Recipients(request.audience, settings, settings.max_size), "")
        planned = dataclasses.replace(planned, size=self.audiences.audience_cache.size_of(request.audience))
        start = self.approvers.requirements.starts_at(planned, planned.created_at)
        need = required_at(self.approval, planned, planned.most, start)
        return dataclasses.replace(planned, quorum=need.quorum, approvers=need.approvers)
