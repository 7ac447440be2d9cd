"""Records what a vendor reports about the size and the cost of a waiting broadcast."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain import people
from bot.domain.broadcast import Broadcast
from bot.domain.i18n import Translatable, in_a_row
from bot.domain.lifecycle import Action, State
from bot.scheduler import Task
from bot.storage import audit, broadcasts, notes
from bot.storage.broadcast_rows import Changes
from bot.storage.notes import Note
from bot.storage.votes import Vote, drop_votes, seats_taken, votes_for
from bot.workflow.approvals import Approvals
from bot.workflow.audiences import Audiences
from bot.workflow.card_changes import describe_changes, within
from bot.workflow.deadlines import asks


class LearnedSizes:
    """Records what a vendor reports about the size and the cost of a waiting broadcast."""

    def __init__(self, runtime: Runtime, audiences: Audiences, approvals: Approvals) -> None:
        self.database, self.clock, self.wake = runtime.database, runtime.clock, runtime.wake
        self.approval, self.audiences, self.approvals = runtime.settings.approval, audiences, approvals

    async def learn(
        self, workspace: str, id: str, size: int | None, *, version: int | None = None, **more: Any
    ) -> None:
        """Record the size that the vendor reported, and require the approvals that it needs. None: only `more` is new.

        `version`: what was asked about; it may have been edited since. `more`: how many of the people are `unnamed`,
        and the price `quoted` for the whole.
        """
        await self.database.write(lambda c: self._learn(c, workspace, id, size, version, more))
        self.wake(Task.PAINT)

    def _learn(
        self,
        connection: Connection,
        workspace: str,
        id: str,
        size: int | None,
        version: int | None,
        more: Mapping[str, Any],
    ) -> None:
        current = broadcasts.find(connection, workspace, id, lock=True)
        if version not in (None, current.version):
            return
        size = current.size if size is None else size
        if current.state is State.PENDING:
            self._learn_while_asking(connection, current, size, more)
        elif current.state is State.SCHEDULED:
            agreed = {"quoted": current.quoted} if current.quoted else {}  # the release is compared with this
            broadcasts.touch(connection, current, self.clock(), size=size, **{**more, **agreed})

    def _learn_while_asking(
        self, connection: Connection, current: Broadcast, size: int | None, more: Mapping[str, Any]
    ) -> None:
        """People approved what was known then. That includes fewer people, but no other cost.

        If another rule names others for what is known now, they must approve it, unless people have approved more.
        """
        now, votes = self.clock(), votes_for(connection, current)
        sized, approvers = dataclasses.replace(current, size=size, **more), current.approvers
        if size is not None or "quoted" in more:
            need = self.approvals.approvers.requirements.as_known(connection, current, sized, now)
            sized, approvers = dataclasses.replace(sized, quorum=need.quorum), need.approvers
        known, facts = self.audiences.facts(current, now), self.audiences.facts(sized, now)
        approved_more = bool(votes) and within(known, facts)
        changes: Changes = {"size": size, "quorum": sized.quorum}
        if approvers != current.approvers and not approved_more:
            changes |= {"approvers": approvers, "ruled_at": now}
        stored = broadcasts.touch(connection, current, now, **changes, **more)
        if stored is None:
            return
        if votes and not approved_more:
            self._ask_anew(connection, stored, votes, describe_changes(known, facts))
        if stored.approvers != current.approvers:
            sentence = Translatable("It now needs approval by {who}.", who=people.mentions(stored.approvers))
            notes.add_notes(connection, stored, now, [self.approvals.to_approvers(sentence, stored.approvers)])
        elif approved_more:
            self._schedule_if_enough(connection, stored)

    def _schedule_if_enough(self, connection: Connection, stored: Broadcast) -> None:
        """Schedule it if its votes are enough for the size that is known now, and for this hour."""
        stored = self.approvals.as_needed_now(connection, stored)
        votes = votes_for(connection, stored)
        if votes and seats_taken(votes) >= stored.quorum:
            self.approvals.schedule(connection, stored, actor=votes[-1].approver)

    def _ask_anew(
        self, connection: Connection, current: Broadcast, votes: Iterable[Vote], changes: Iterable[Translatable]
    ) -> None:
        """Drop the votes and ask again: nobody has approved it as it is now."""
        now = self.clock()
        drop_votes(connection, current)
        template = "{changes} That was not known when it was approved, so it needs approval again."
        sentence = Translatable(template, changes=in_a_row(changes))
        notes.add_notes(connection, current, now, [Note(sentence, mention=" ".join(vote.approver for vote in votes))])
        audit.write_audit(connection, current, "policy", Action.LAPSE, current.state, now)
        broadcasts.touch(connection, current, now, **asks(now, self.approval))
