"""Gives a broadcast a new start, which is an edit and makes a new version."""

from __future__ import annotations

import dataclasses
from typing import Any, Unpack, cast

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast, digest
from bot.domain.clock import Micros
from bot.domain.errors import FieldError, InvalidRequest
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import TRANSITIONS, Action
from bot.domain.people import Person
from bot.storage import broadcasts
from bot.storage.broadcast_rows import NOT_AGREED, Changes
from bot.storage.notes import Note
from bot.workflow import approval_rules
from bot.workflow.approvals import Approvals
from bot.workflow.audiences import Audiences
from bot.workflow.deadlines import asks
from bot.workflow.sentence_parts import by_person
from bot.workflow.submission import Submission


class Replanning:
    """Gives a broadcast a new start. This is an edit, so it makes a new version that needs approval again."""

    def __init__(self, runtime: Runtime, audiences: Audiences, approvals: Approvals, submission: Submission) -> None:
        self.clock, self.approval, self.audiences = runtime.clock, runtime.settings.approval, audiences
        self.approvals, self.submission = approvals, submission
        self.approvers, self.series = approvals.approvers, approvals.series

    async def need_again(self, broadcast: Broadcast, person: Person) -> approval_rules.RequiredApprovals:
        """The approvals it needs once this person has changed it. Raises InvalidRequest or DirectoryUnavailable."""
        settings = self.audiences.audience(broadcast.audience)
        if settings is None:
            raise InvalidRequest(FieldError("send_at", self.submission.unknown_audience(broadcast.audience)))
        people = frozenset({broadcast.requester, person.id})
        return await self.approvers.need(
            broadcast.workspace,
            broadcast.purpose,
            broadcast.typed,
            broadcast.audience,
            settings,
            people,
            broadcast.size,
        )

    async def must_be_seen(self, broadcast: Broadcast, person: Person, need: approval_rules.RequiredApprovals) -> None:
        """Check that enough people in its channel could still approve it: an editor may not.

        Raises InvalidRequest or DirectoryUnavailable.
        """
        quorum = max(need.quorum, broadcast.quorum)
        edited = dataclasses.replace(broadcast, editor=person.id, quorum=quorum, approvers=need.approvers)
        if (why := await self.approvers.why_stuck(edited)) is not None:
            raise InvalidRequest(FieldError("send_at", why))

    def replan(
        self,
        connection: Connection,
        seen: Broadcast,
        person: Person,
        send_at: Micros,
        need: approval_rules.RequiredApprovals,
    ) -> Broadcast | None:
        current = broadcasts.find(connection, seen.workspace, seen.id, lock=True)
        if current.version != seen.version or (current.state, Action.REPLAN) not in TRANSITIONS:
            return None
        template = "{by} re-planned it. It is now due to start {start_at} instead of {before_at}."
        if current.send_at is None:
            template = "{by} re-planned it. It is now due to start {start_at} instead of right after approval."
        sentence = Translatable(template, **by_person(person, start_at=send_at, before_at=current.send_at or 0))
        revised = self._revise(connection, current, person, need, sentence, send_at=send_at)
        return self.approvals.without_approval(connection, revised) if revised else None

    def _revise(
        self,
        connection: Connection,
        current: Broadcast,
        person: Person,
        need: approval_rules.RequiredApprovals,
        sentence: Translatable,
        **changes: Unpack[Changes],
    ) -> Broadcast | None:
        """Make a new version, with its own digest and its own card.

        Votes are kept by version, so people must vote again. The editor may not approve. An edit never lowers the
        number of approvals needed.
        """
        now = self.clock()
        changes |= {"version": current.version + 1, "editor": person.id, "approvers": need.approvers}
        changes |= {"quorum": max(need.quorum, current.quorum), "tries": 0, **NOT_AGREED, **asks(now, self.approval)}
        changes["digest"] = digest(dataclasses.replace(current, **cast("dict[str, Any]", changes)))
        self.series.uncover(connection, current)
        mention = current.requester if person.id != current.requester else None
        notes = [Note(sentence, mention=mention)]
        return broadcasts.move(connection, current, Action.REPLAN, actor=person.id, at=now, notes=notes, **changes)
