"""From a request to a stored broadcast: checks, questions and repeated requests."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast, BroadcastRequest
from bot.domain.errors import InvalidRequest, NotAllowed
from bot.domain.lifecycle import Action
from bot.domain.people import Person
from bot.scheduler import concerned
from bot.storage import broadcasts
from bot.storage.votes import add_vote
from bot.workflow.approvals import Approvals
from bot.workflow.decision_types import Sent
from bot.workflow.follow_ups import FollowUps
from bot.workflow.permissions import Permissions
from bot.workflow.planning import Planning
from bot.workflow.questions import Questioned, Questions
from bot.workflow.series_approval import COVER
from bot.workflow.storing import Storing, as_draft
from bot.workflow.submitted import AdvanceApproval, Agree, Submitted, Wanted


class Submission:
    """Checks requests, asks about possible slips, and stores broadcasts."""

    def __init__(
        self,
        runtime: Runtime,
        planning: Planning,
        permissions: Permissions,
        approvals: Approvals,
        questions: Questions,
        follow_ups: FollowUps,
    ) -> None:
        self.database, self.clock, self.wake = runtime.database, runtime.clock, runtime.wake
        self.planning, self.permissions, self.approvals = planning, permissions, approvals
        self.questions, self.follow_ups, self.storing = questions, follow_ups, Storing(approvals, questions)

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
            planned = await self.planning.plan(request, key, person)
            planned = dataclasses.replace(planned, follows=await self.follow_ups.checked(planned, follows))
        except (InvalidRequest, NotAllowed) as error:
            reason = "NotAllowed" if isinstance(error, NotAllowed) else "NotAccepted"  # the audit's own names
            await self.permissions.audit_refusal(person, Action.SUBMIT, reason)
            raise
        duplicate = await self.questions.find_duplicate(planned, draft)
        questions = await self.questions.ask(request, sent, draft, duplicate)
        voters = await advance.voters(planned) if advance else ()
        fix = await self.approvals.approvers.why_stuck(planned, voters) if postable else None
        if questions or fix is not None or not postable:
            planned = as_draft(planned)
        wanted = Wanted(planned, draft, questions, self._agree(advance, voters), advance, sent, duplicate)
        stored = await self.database.write(lambda c: self.storing.store(c, wanted))
        if not isinstance(stored, Submitted):  # somebody else asked for nearly the same a moment ago
            raise Questioned(*stored)
        if not stored.again and (tasks := concerned(stored.broadcast)):
            self.wake(*tasks)
        return dataclasses.replace(stored, fix=fix)

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
