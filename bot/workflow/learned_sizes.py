"""Records what a vendor reports about the size and the cost of a waiting broadcast."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast
from bot.domain.i18n import Translatable, in_a_row
from bot.domain.lifecycle import Action, State
from bot.scheduler import Task
from bot.storage import audit, broadcasts, notes
from bot.storage.notes import Note
from bot.storage.votes import Vote, drop_votes, votes_for
from bot.workflow.approvals import Approvals
from bot.workflow.audiences import Audiences
from bot.workflow.card_changes import describe_changes, within
from bot.workflow.deadlines import asks


class LearnedSizes:
    """Records what a vendor reports about the size and the cost of a waiting broadcast."""

    def __init__(self, runtime: Runtime, audiences: Audiences, approvals: Approvals) -> None:
        self.database, self.clock, self.wake = runtime.database, runtime.clock, runtime.wake
        self.approval, self.audiences, self.approvals = runtime.settings.approval, audiences, approvals
        self.approvers = approvals.approvers

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
        """People approved what was known then. That includes fewer people, but no other cost."""
        now, quorum = self.clock(), current.quorum
        if size is not None or "quoted" in more:
            priced = dataclasses.replace(current, quoted=more.get("quoted", current.quoted))
            quorum = self.approvers.quorum_at(priced, current.bound if size is None else size, now)
        sized = broadcasts.touch(connection, current, now, size=size, quorum=quorum, **more)
        votes = votes_for(connection, current)
        if sized is None or not votes:
            return
        known, facts = self.audiences.facts(current, now), self.audiences.facts(sized, now)
        if not within(known, facts):
            self._ask_anew(connection, sized, votes, describe_changes(known, facts))
        elif len(votes) >= quorum:  # they are enough for the size that is known now
            self.approvals.schedule(connection, sized, actor=votes[-1].approver)

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
