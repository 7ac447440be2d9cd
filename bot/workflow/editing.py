"""Changes what a broadcast says, to whom, or when it starts. Each change makes a new version."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Unpack, cast

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast, digest, marketing_until
from bot.domain.clock import Micros
from bot.domain.errors import FieldError, InvalidRequest
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import TRANSITIONS, Action
from bot.domain.people import Person
from bot.storage import broadcasts
from bot.storage.broadcast_rows import NEW_VERSION, Changes
from bot.storage.notes import Note
from bot.storage.votes import votes_for
from bot.workflow import approval_rules
from bot.workflow.approvals import Approvals
from bot.workflow.deadlines import asks
from bot.workflow.decision_types import Edit, Sent
from bot.workflow.follow_ups import FollowUps
from bot.workflow.planning import Planning
from bot.workflow.questions import Questioned, Questions
from bot.workflow.requirements import as_before
from bot.workflow.sentence_parts import by_person, edited
from bot.workflow.storing import CHANGED_BY


@dataclass(frozen=True)
class PlannedEdit:
    """The broadcast as it would be. `known`: the id of the duplicate that was found, if any."""

    broadcast: Broadcast
    sent: Sent | None
    known: str


class Editing:
    """Edits and re-plans a broadcast. Both make a new version that needs approval again."""

    def __init__(
        self,
        runtime: Runtime,
        planning: Planning,
        approvals: Approvals,
        questions: Questions,
        follow_ups: FollowUps,
    ) -> None:
        self.clock, self.approval, self.audiences = runtime.clock, runtime.settings.approval, planning.audiences
        self.planning, self.approvals, self.questions, self.follow_ups = planning, approvals, questions, follow_ups
        self.approvers, self.series = approvals.approvers, approvals.series

    async def plan_edit(self, seen: Broadcast, edit: Edit, person: Person) -> PlannedEdit:
        """Check an edit and return the broadcast as it would be, not stored.

        Raises InvalidRequest, NotAllowed, Questioned or DirectoryUnavailable.
        """
        kept = {"requester": seen.requester, "workspace": seen.workspace, "test": seen.test_of is not None}
        request = edit.request.model_copy(update=kept)
        planned = await self.planning.plan(request, seen.key, person, edits=seen)
        if all(getattr(planned, name) == getattr(seen, name) for name in EDITED if name != "zone"):
            raise InvalidRequest(FieldError("text", Translatable("Nothing has changed.")))
        if (planned.audience, planned.purpose) != (seen.audience, seen.purpose):
            await self.follow_ups.checked(planned, seen.follows)
        as_asked = dataclasses.replace(planned, follows=seen.follows, schedule=seen.schedule)
        duplicate = await self.questions.find_duplicate(as_asked)
        await self.questions.ask(request, edit.sent, None, duplicate)
        need = approval_rules.RequiredApprovals(planned.quorum, planned.approvers)
        await self.must_be_seen(seen, person, need, "text")
        return PlannedEdit(planned, edit.sent, duplicate.id if duplicate is not None else "")

    async def need_again(
        self, broadcast: Broadcast, person: Person, send_at: Micros
    ) -> approval_rules.RequiredApprovals:
        """The approvals it needs once this person has re-planned it. Raises InvalidRequest or DirectoryUnavailable."""
        settings = self.audiences.audience(broadcast.audience)
        if settings is None:
            raise InvalidRequest(FieldError("send_at", self.audiences.unknown_audience(broadcast.audience)))
        size = broadcast.most if broadcast.test_of is not None or broadcast.size is not None else settings.max_size
        moved = dataclasses.replace(broadcast, send_at=send_at)
        need = await self.approvers.need(moved, frozenset({broadcast.requester, person.id}), size)
        requirements = self.approvers.requirements
        need = requirements.with_canary(moved, need, requirements.starts_at(moved, self.clock()))
        return as_before(await self.approvers.as_strict_as_marketing(moved, need), broadcast, moved)

    async def must_be_seen(
        self, broadcast: Broadcast, person: Person, need: approval_rules.RequiredApprovals, field: str = "send_at"
    ) -> None:
        """Check that enough people in its channel could still approve it: an editor may not.

        Raises InvalidRequest or DirectoryUnavailable.
        """
        quorum = max(need.quorum, broadcast.quorum)
        edited = dataclasses.replace(broadcast, editor=person.id, quorum=quorum, approvers=need.approvers)
        if (why := await self.approvers.why_stuck(edited)) is not None:
            raise InvalidRequest(FieldError(field, why))

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
        revised = self._revise(connection, current, Action.REPLAN, person, need, sentence, send_at=send_at)
        return self.approvals.without_approval(connection, revised) if revised else None

    def edit(
        self, connection: Connection, seen: Broadcast, person: Person, edit: PlannedEdit
    ) -> Broadcast | Questioned | None:
        """Store an edit, or return the question about a duplicate that was stored since it was planned."""
        planned = edit.broadcast
        as_asked = dataclasses.replace(planned, follows=seen.follows, schedule=seen.schedule)
        questions = self.questions
        if edit.sent and (other := questions.meanwhile(connection, as_asked, edit.sent, seen.id, edit.known)):
            return Questioned(*questions.about_other(connection, as_asked, other, edit.sent))
        current = broadcasts.find(connection, seen.workspace, seen.id, lock=True)
        if current.version != seen.version or (current.state, Action.EDIT) not in TRANSITIONS:
            return None
        changes: Changes = cast("Changes", {name: getattr(planned, name) for name in EDITED})
        changes |= {"quoted": None, "bound": planned.bound}  # a quote was for the old text
        changes |= {"covers": 1}  # the others of its series keep the old text
        changes |= {"marketing_until": marketing_until(current, planned, self.clock())}
        if _reaches_others(current, planned) or self.audiences.providers[planned.account].capabilities.quotes:
            changes |= {"size": None, "unnamed": None, "look_at": None}  # the vendor is asked again at once
        need = approval_rules.RequiredApprovals(planned.quorum, planned.approvers)
        sentence = edited(CHANGED_BY, person.id, current, planned)
        revised = self._revise(connection, current, Action.EDIT, person, need, sentence, **changes)
        return self.approvals.without_approval(connection, revised) if revised else None

    def _revise(
        self,
        connection: Connection,
        current: Broadcast,
        action: Action,
        person: Person,
        need: approval_rules.RequiredApprovals,
        sentence: Translatable,
        **changes: Unpack[Changes],
    ) -> Broadcast | None:
        """Make a new version, with its own digest and its own card.

        Votes are kept by version, so people must vote again. The editor may not approve. An edit never lowers the
        number of approvals needed. Who wrote the text stays its editor while the requester changes other things.
        """
        now = self.clock()
        keeps_text = person.id == current.requester and changes.get("text", current.text) == current.text
        changes |= {"editor": current.editor if keeps_text else person.id}
        changes |= {"version": current.version + 1, "approvers": need.approvers, "ruled_at": now}
        changes |= {"quorum": max(need.quorum, current.quorum), "tries": 0, **NEW_VERSION, **asks(now, self.approval)}
        changes["digest"] = digest(dataclasses.replace(current, **cast("dict[str, Any]", changes)))
        self.series.uncover(connection, current)
        self.approvals.canaries.end(connection, current, person.id)
        told = dict.fromkeys([current.requester, *(vote.approver for vote in votes_for(connection, current))])
        notes = [Note(sentence, mention=" ".join(id for id in told if id != person.id) or None)]
        return broadcasts.move(connection, current, action, actor=person.id, at=now, notes=notes, **changes)


#: What an edit replaces.
EDITED = (
    *("audience", "account", "provider", "kind", "target", "everyone", "subscribers", "policy"),
    *("purpose", "typed", "text", "sender", "campaign", "send_at", "zone", "test_of", "canary"),
)


def _reaches_others(before: Broadcast, after: Broadcast) -> bool:
    return (before.account, before.vendor_audience) != (after.account, after.vendor_audience)
