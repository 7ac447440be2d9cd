"""A broadcast made by filling a template's slots. If the template is approved, the broadcast is too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain import people, slots
from bot.domain.broadcast import Broadcast
from bot.domain.clock import moment
from bot.domain.errors import FieldError, InvalidRequest
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import State
from bot.storage import keys, notes, templates
from bot.storage.notes import Note
from bot.storage.templates import Template
from bot.storage.votes import add_vote
from bot.workflow import approval_rules
from bot.workflow.approvals import Approvals
from bot.workflow.audiences import Audiences
from bot.workflow.template_approval import TemplateApproval
from bot.workflow.template_cover import Filled, TemplateCover

BY_TEMPLATE = "template"  # the way of a vote that was given on the template


class TemplateUse:
    """Fills templates, and gives their broadcasts the approvals that the templates have."""

    def __init__(
        self, runtime: Runtime, audiences: Audiences, approvals: Approvals, approved: TemplateApproval
    ) -> None:
        self.clock, self.audiences, self.approvals = runtime.clock, audiences, approvals
        self.approved, self.kept = approved, approved.kept
        self.approvers, self.cover = approvals.approvers, TemplateCover(self.clock, audiences, approved)

    async def fill(self, workspace: str, name: str, values: Mapping[str, str]) -> Filled:
        """Fill the template as it is stored now. Raises InvalidRequest if there is none."""
        return self.filled(await self.kept.find(workspace, name), values)

    def filled(self, template: Template, values: Mapping[str, str]) -> Filled:
        """One that has slots which cannot be read has none: it is from before there were any."""
        try:
            found = slots.slots_of(template.text)
        except slots.BadSlot:
            found = ()
        given = {slot.name: slots.clean(values.get(slot.name, "")) for slot in found}
        today = moment(self.clock()).date()
        return Filled(template, found, given, tuple(slots.complaints(found, given, today)))

    async def checked(self, workspace: str, name: str, seen: str, values: Mapping[str, str]) -> Filled:
        """Fill the template for a request. `seen`: the digest of the wording that the person saw.

        Raises InvalidRequest if it says something else now, or if a value does not fit its slot.
        """
        found = await self.fill(workspace, name, values)
        if found.template.digest != seen:
            template = (
                "The template “{name}” has changed since this form was opened. Nothing was sent. Open it again: "
                "`/broadcast template use {name}`."
            )
            raise InvalidRequest(FieldError("text", Translatable(template, name=found.template.name)))
        if found.complaints:
            raise InvalidRequest(*found.complaints)
        return found

    def of(self, filled: Filled) -> TemplateVotes:
        return TemplateVotes(self, filled)

    async def voters(self, filled: Filled, planned: Broadcast) -> tuple[str, ...]:
        """Whose approval of the template covers this broadcast. Nobody's if it is anything else than was approved.

        They must still be approvers and members now, and not have asked for it. Raises DirectoryUnavailable.
        """
        if planned.quorum == 0 or not self.cover.is_as_approved(filled, planned):
            return ()
        given = [one.id for one in filled.template.approved_by]
        if planned.mode != "training":  # there, one person may take every step
            able = await approval_rules.people_in(planned.approvers, self.approvers.people.members)
            given = [id for id in given if id in able - {planned.requester} - filled.template.writers]
        voters = tuple([id for id in given if await self.approvers.is_member(planned.workspace, id)])
        return voters if len(voters) >= planned.quorum else ()

    def agree(
        self, connection: Connection, planned: Broadcast, filled: Filled, voters: tuple[str, ...]
    ) -> Broadcast | None:
        """Give it the votes of the template's approvers, and schedule it. None if the template has changed since."""
        seen, now = filled.template, self.clock()
        current = templates.find_template(connection, seen.workspace, seen.name, lock=True)
        if current != seen or planned.state is not State.PENDING:
            return None
        for voter in voters:
            add_vote(connection, planned, voter, BY_TEMPLATE, now)
        reason = f"template {seen.name} {seen.digest}"
        agreed = self.approvals.schedule(connection, planned, actor=voters[0], reason=reason)
        template = "It fills in the template “{name}”, which {by} approved."
        sentence = Translatable(template, name=seen.name, by=people.mentions(voters))
        notes.add_notes(connection, planned, now, [Note(sentence)])
        return agreed


@dataclass(frozen=True)
class TemplateVotes:
    """The approval in advance of one broadcast."""

    use: TemplateUse
    filled: Filled

    async def voters(self, planned: Broadcast) -> tuple[str, ...]:
        return await self.use.voters(self.filled, planned)

    def keep(self, connection: Connection, draft: Broadcast) -> None:
        template = self.filled.template
        filling = {"template": [template.name, template.digest], "slots": dict(self.filled.values)}
        keys.keep_filling(connection, draft.workspace, draft.id, filling, self.use.clock())

    def agree(self, connection: Connection, planned: Broadcast, voters: tuple[str, ...]) -> Broadcast | None:
        return self.use.agree(connection, planned, self.filled, voters)
