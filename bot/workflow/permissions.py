"""Who may do what to a broadcast."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain import people
from bot.domain.broadcast import Broadcast
from bot.domain.errors import NotAllowed
from bot.domain.lifecycle import Action, Hold
from bot.domain.people import DirectoryUnavailable, Person
from bot.storage import audit
from bot.workflow import approval_rules
from bot.workflow.approvers import Approvers
from bot.workflow.break_glass_rules import may_break_glass


class Permissions:
    """Who may do what to a broadcast. Refusals are audited."""

    def __init__(self, runtime: Runtime, approvers: Approvers) -> None:
        self.database, self.clock = runtime.database, runtime.clock
        self.admins, self.approvers, self.people = runtime.settings.admins, approvers, approvers.people
        self._checks: dict[Action, Callable[[Person, Broadcast], Awaitable[None]]] = {
            Action.APPROVE: self._may_approve,
            Action.BREAK_GLASS: lambda person, row: may_break_glass(person, row, self.approvers, self.clock()),
            Action.REJECT: self._may_reject,
            Action.REQUEST_CHANGES: self._may_request_changes,
            Action.MARK_NOT_SENT: self._may_deny,
            **dict.fromkeys((Action.CANCEL, Action.STOP, Action.DROP, Action.DISCARD), self._may_stop),
            **dict.fromkeys((Action.REPLAN, Action.EDIT, Action.MARK_SENT), self._may_stop),
            Action.SEND_NOW: self._may_send_now,
        }

    async def may(self, action: Action, person: Person, broadcast: Broadcast) -> None:
        """Raises NotAllowed, audited, when this person may not do this to it."""
        try:
            if broadcast.is_canary and action in (Action.EDIT, Action.REPLAN):
                raise NotAllowed("It goes first for *{id}*. Edit or re-plan that one.", id=broadcast.follows or "?")
            await self._checks[action](person, broadcast)
        except NotAllowed as error:
            await self.audit_refusal(person, action, error.sentence.template, broadcast)
            raise

    async def can(self, action: Action, person: Person, broadcast: Broadcast) -> bool:
        """Whether this person may do this to it. Raises DirectoryUnavailable if Slack does not say."""
        try:
            await self._checks[action](person, broadcast)
        except NotAllowed:
            return False
        return True

    async def may_see(self, person: Person, broadcast: Broadcast) -> bool:
        """Whether this person may read it.

        These are who asked for it or edited it, approvers, admins, and who reads the channel of its card or that of its
        request. Raises DirectoryUnavailable if Slack does not say so, and nothing else admits them.
        """
        if person.id in (broadcast.requester, broadcast.editor, *self.admins):
            return True
        places = dict.fromkeys((broadcast.channel, broadcast.asked_in or broadcast.channel))
        doubt: DirectoryUnavailable | None = None
        reads = (partial(self.people.may_read, place, person.id) for place in places)
        for admits in (partial(self._decides, person, broadcast), *reads):
            try:
                if await admits():
                    return True
            except DirectoryUnavailable as error:
                doubt = error
        if doubt is not None:
            raise doubt
        return False

    async def may_audit(self, person: Person, broadcast: Broadcast) -> bool:
        """Whether this person may see its audit: who asked for it or edited it, its approvers, and admins."""
        known = (broadcast.requester, broadcast.editor, *self.admins)
        return person.id in known or await self._decides(person, broadcast)

    async def _decides(self, person: Person, broadcast: Broadcast) -> bool:
        today = self.approvers.as_of_today(broadcast)
        if await approval_rules.is_approver(person, today, self.people.members):
            return True
        return bool(await self.approvers.seats(person, broadcast))

    async def _may_approve(self, person: Person, broadcast: Broadcast) -> None:
        await self.seats_of(person, broadcast)

    async def seats_of(self, person: Person, broadcast: Broadcast) -> tuple[str, ...]:
        """In whose place this person may approve it; nobody's if they are an approver. Raises NotAllowed."""
        today, seats = self.approvers.as_of_today(broadcast), await self.approvers.seats(person, broadcast)
        await approval_rules.may_approve(person, today, self.people.members, seats)
        if broadcast.mode != "training":
            await self.approvers.absences.must_be_here(person)
        return seats

    async def _may_reject(self, person: Person, broadcast: Broadcast) -> None:
        template = "Only {who} can reject {id}."
        await self._must_be_approver(person, broadcast, template)

    async def _may_request_changes(self, person: Person, broadcast: Broadcast) -> None:
        template = "Only {who} can ask for changes to {id}."
        await self._must_be_approver(person, broadcast, template)

    async def _may_stop(self, person: Person, broadcast: Broadcast) -> None:
        today, seats = self.approvers.as_of_today(broadcast), await self.approvers.seats(person, broadcast)
        await approval_rules.may_stop(person, today, self.admins, self.people.members, seats)

    async def _may_send_now(self, person: Person, broadcast: Broadcast) -> None:
        """Raises NotAllowed when this person may not send it, or may not continue after its canary."""
        if broadcast.hold is Hold.CANARY and broadcast.quorum:
            await self._may_approve(person, broadcast)
        else:
            await self._may_stop(person, broadcast)

    async def _may_deny(self, person: Person, broadcast: Broadcast) -> None:
        """Raises NotAllowed when this person may not say that it did *not* go out.

        Saying so allows it to be sent again. So it takes an approver, or an admin if no approver is left.
        """
        people.must_be_member(person)
        admins = self.admins
        template = "Only {who} can say that {id} did not go out."
        if not await self.approvers.has_lost_its_approvers(broadcast):
            await self._must_be_approver(person, broadcast, template)
        elif not admins:
            raise NotAllowed("{id} has no approver left. Ask whoever runs the bot to name approvers.", id=broadcast.id)
        elif person.id not in admins:
            raise NotAllowed(template, who=people.mentions(admins), id=broadcast.id)

    async def _must_be_approver(self, person: Person, broadcast: Broadcast, template: str) -> None:
        people.must_be_member(person)
        if broadcast.mode == "training":  # one person may take every step
            return
        today = self.approvers.as_of_today(broadcast)
        if await self.approvers.seats(person, broadcast):
            return
        if not await approval_rules.is_approver(person, today, self.people.members):
            raise NotAllowed(template, who=people.mentions(today.approvers), id=broadcast.id)

    async def audit_refusal(self, person: Person, action: str, reason: str, broadcast: Broadcast | None = None) -> None:
        def write(connection: Connection) -> None:
            if broadcast is None:
                audit.write_event(connection, person.workspace, person.id, f"{action}_refused", reason, self.clock())
            else:
                name = f"{action}_refused"
                audit.write_audit(connection, broadcast, person.id, name, broadcast.state, self.clock(), reason)

        await self.database.write(write)
