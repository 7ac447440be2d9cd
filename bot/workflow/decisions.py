"""Carries out what a person decided about a broadcast."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast
from bot.domain.errors import CardChanged, InvalidRequest, NotAllowed, StaleVersion
from bot.domain.i18n import Translatable, Value
from bot.domain.lifecycle import TRANSITIONS, Action, Hold, State
from bot.domain.people import Person
from bot.scheduler import Task, concerned
from bot.storage import audit, broadcasts, cards, keys, notes
from bot.storage.broadcast_rows import NEW_VERSION, Changes
from bot.storage.cards import Card
from bot.storage.notes import Note
from bot.storage.votes import drop_votes
from bot.workflow.approval_validity import ApprovalValidity
from bot.workflow.approvals import Approvals
from bot.workflow.audiences import Audiences
from bot.workflow.break_glass import BreakingGlass
from bot.workflow.deadlines import after_undo, before_start, draft_notice
from bot.workflow.decision_types import (
    Approve,
    BreakGlass,
    Cancel,
    Decision,
    Discard,
    Drop,
    Edit,
    MarkNotSent,
    MarkSent,
    Reject,
    Replan,
    RequestChanges,
    SendNow,
    Sight,
    Stop,
)
from bot.workflow.editing import Editing
from bot.workflow.gate import Gates
from bot.workflow.permissions import Permissions
from bot.workflow.questions import Questioned
from bot.workflow.sentence_parts import REASON, by_person

NEW_CARD_LOOKS, NEW_CARD_PAUSE = 8, 0.2  # how often to look for a card drawn just now, and seconds in between


class Decisions:
    """Carries out what a person decides about a broadcast, in one transaction with its notes and its audit."""

    def __init__(
        self,
        runtime: Runtime,
        audiences: Audiences,
        permissions: Permissions,
        approvals: Approvals,
        validity: ApprovalValidity,
        editing: Editing,
        gates: Gates,
    ) -> None:
        self.database, self.clock, self.wake = runtime.database, runtime.clock, runtime.wake
        self.approval, self.audiences, self.gates = runtime.settings.approval, audiences, gates
        self.permissions, self.approvals, self.validity, self.editing = permissions, approvals, validity, editing
        self.approvers, self.series, self.card_changes = approvals.approvers, approvals.series, approvals.card_changes
        self.breaking_glass = BreakingGlass(runtime, approvals)

    async def act(
        self, workspace: str, id: str, decision: Decision, *, person: Person, version: int | None = None
    ) -> Broadcast:
        """Carry out what a person decided. `version` is the one they saw.

        Raises NotFound, StaleVersion (with the row as it stands), CardChanged, NotAllowed (audited), InvalidRequest or
        DirectoryUnavailable. Repeating a decision of the same person is no error and has no second effect.
        """
        broadcast = await self._as_seen(workspace, id, version, decision)
        if version is not None and version != broadcast.version:
            raise StaleVersion(broadcast)
        await self.permissions.may(decision.action, person, broadcast)
        if (broadcast.state, decision.action) not in TRANSITIONS:
            raise StaleVersion(broadcast)
        carry_out = await self._prepared(broadcast, decision, person)

        def work(connection: Connection) -> Broadcast | CardChanged | Questioned:
            acted = carry_out(connection)
            if acted is None:  # raised in here: a rollback unlocks the row without a flush to the disk
                raise StaleVersion(broadcasts.find(connection, workspace, broadcast.id))
            return acted

        acted = await self.database.write(work)
        if isinstance(acted, CardChanged | Questioned):
            self.wake(Task.PAINT)
            raise acted
        self.wake(Task.DISPATCH, Task.PAINT, *concerned(acted))  # anything prepared for it may be obsolete
        return acted

    async def _prepared(
        self, seen: Broadcast, decision: Decision, person: Person
    ) -> Callable[[Connection], Broadcast | CardChanged | Questioned | None]:
        """Return the work for the transaction. Slack is asked before, so that nothing slow runs inside."""
        match decision:
            case Approve():
                seats = await self.permissions.seats_of(person, seen)
                return lambda c: self.approvals.approve(c, seen, person, decision, seats)
            case BreakGlass():
                return await self.breaking_glass.prepared(seen, person, decision)
            case SendNow():
                still = await self.approvers.still_approvers(seen)
                return lambda c: self._send_now(c, seen, person, still, decision.on_card)
            case Replan():
                complaints = self.editing.planning.time_complaints(decision.send_at)
                if complaints:
                    raise InvalidRequest(*complaints)
                need = await self.editing.need_again(seen, person, decision.send_at)
                await self.editing.must_be_seen(seen, person, need)
                return lambda c: self.editing.replan(c, seen, person, decision.send_at, need)
            case Edit():
                planned = await self.editing.plan_edit(seen, decision, person)
                return lambda c: self.editing.edit(c, seen, person, planned)
            case RequestChanges():
                return lambda c: self._request_changes(c, seen, person, decision.comment)
            case Discard():
                return lambda c: self._discard(c, seen, person, decision.reason)
            case MarkSent() | MarkNotSent():
                return lambda c: self._settle_unknown(c, seen, decision.action, person)
            case Reject() | Cancel() | Stop() | Drop():
                return lambda c: self._end(c, seen, decision.action, person, decision.reason)

    async def _as_seen(self, workspace: str, id: str, version: int | None, decision: Decision) -> Broadcast:
        """The row, once the card that was pressed is on record.

        People may press a card before Slack's answer about it has reached us; then wait a moment.
        """
        on_card = decision.on_card if isinstance(decision, Approve | SendNow) else None
        if on_card is None:
            return await self.find(workspace, id)

        def look(connection: Connection) -> tuple[Broadcast, Card | None]:
            found = broadcasts.find(connection, workspace, id.upper())
            return found, cards.card_of(connection, found)

        for _ in range(NEW_CARD_LOOKS):
            found, card = await self.database.read(look)
            if found.version != version or (card is not None and not on_card.is_newer(card)):
                break
            await asyncio.sleep(NEW_CARD_PAUSE)
        return found

    async def find(self, workspace: str, id: str) -> Broadcast:
        return await self.database.read(lambda c: broadcasts.find(c, workspace, id.upper()))

    def _end(
        self, connection: Connection, seen: Broadcast, action: Action, person: Person, reason: str | None = None
    ) -> Broadcast | None:
        template, aloud = ENDINGS[action]
        sentence = Translatable(template, **by_person(person))
        if reason:
            sentence = Translatable("{told} “{reason}”", told=sentence, reason=reason)
        elif action is Action.REJECT:  # by a reaction, which cannot say why
            sentence = Translatable(template, **by_person(person), asks=REASON)
        mention = seen.requester if person.id != seen.requester else None
        said, now = [Note(sentence, mention=mention, aloud=aloud)], self.clock()
        ended = broadcasts.move(connection, seen, action, actor=person.id, at=now, reason=reason, notes=said, due=None)
        if ended is not None:
            self.series.end_cover(connection, ended, person)
            self.approvals.canaries.end(connection, ended, person.id)
        return ended

    async def give_reason(self, workspace: str, id: str, reason: str, *, person: Person) -> None:
        """Add the reason of a rejection that had none.

        Raises NotFound, StaleVersion, NotAllowed or DirectoryUnavailable.
        """
        rejected = await self.find(workspace, id)
        if rejected.state is not State.REJECTED:
            raise StaleVersion(rejected)
        await self.permissions.may(Action.REJECT, person, rejected)
        sentence = Translatable("{by} gave the reason: “{reason}”", **by_person(person), reason=reason)
        now = self.clock()

        def write(connection: Connection) -> None:
            if not keys.first_time(connection, workspace, keys.of_reason(rejected), now):
                raise StaleVersion(rejected)
            audit.write_audit(connection, rejected, person.id, "give_reason", rejected.state, now, reason)
            notes.add_notes(connection, rejected, now, [Note(sentence, mention=rejected.requester)])

        await self.database.write(write)
        self.wake(Task.PAINT)

    def _request_changes(
        self, connection: Connection, seen: Broadcast, person: Person, comment: str
    ) -> Broadcast | None:
        """Return it to its requester. Its card stays and shows it as a draft, so nothing on it decides any more."""
        template = (
            "{by} asks for changes: “{comment}” Press *Edit* on its card or type `/broadcast edit {id}`. Nothing goes "
            "out before it is approved."
        )
        note = Note(Translatable(template, **by_person(person), comment=comment, id=seen.id), mention=seen.requester)
        now = self.clock()
        changes: Changes = {**NEW_VERSION, "expires_at": None, "voice_at": draft_notice(now)}
        returned = broadcasts.move(
            connection,
            seen,
            Action.REQUEST_CHANGES,
            actor=person.id,
            at=now,
            reason=comment,
            notes=[note],
            **changes,
        )
        if returned is not None:
            drop_votes(connection, returned)
        return returned

    def _discard(self, connection: Connection, seen: Broadcast, person: Person, reason: str | None) -> Broadcast | None:
        """Discard a draft. One without a card and a thread gets none now."""
        now = self.clock()
        changes: Changes = {} if cards.card_of(connection, seen) else {"draw_at": None}
        keys.forget_filling(connection, seen.workspace, seen.id)
        return broadcasts.move(connection, seen, Action.DISCARD, actor=person.id, at=now, reason=reason, **changes)

    def _send_now(
        self, connection: Connection, seen: Broadcast, person: Person, still: frozenset[str], on_card: Sight | None
    ) -> Broadcast | CardChanged | None:
        """Send a held broadcast as it was approved.

        If the approval no longer holds, it asks for approval again instead. If something would only hold it again,
        raises NotAllowed with the reason, and nothing changes.
        """
        current = broadcasts.find(connection, seen.workspace, seen.id, lock=True)
        if (current.state, current.version) != (seen.state, seen.version):
            return None
        if on_card and (changed := self.card_changes.changed_since_drawn(connection, current, on_card)):
            return changed
        now = self.clock()
        start = after_undo(now, current.send_at, self.approval)
        if refusal := self.why_not_now(connection, current):
            raise NotAllowed(refusal.template, **refusal.values)
        if not current.skips_approval:
            current = self.approvals.as_needed_at(connection, current, start)
        reason = self.validity.weigh(connection, current, still)
        template = "{by} wants it to go out now." if reason else "{by} chose to send it now. It starts {start_at}."
        note = Note(Translatable(template, **by_person(person, start_at=start)))
        changes: Changes = {"due": start, "start_at": start, "tries": 0, "voice_at": before_start(start, now)}
        changes |= {"hold": None, "hold_until": None, "expires_at": None}
        if current.hold is Hold.CANARY:
            changes["continued_at"] = now
        moved = broadcasts.move(connection, current, Action.SEND_NOW, actor=person.id, at=now, notes=[note], **changes)
        return self.validity.lapse(connection, moved, reason) if moved and reason else moved

    def why_not_now(self, connection: Connection, held: Broadcast) -> Translatable | None:
        """Why *Send now* would only hold it again, and when it may go; None if it may go now."""
        start = after_undo(self.clock(), held.send_at, self.approval)
        as_sent = dataclasses.replace(held, due=start, start_at=start)
        if held.hold is Hold.CANARY:
            as_sent = dataclasses.replace(as_sent, continued_at=start)
        elif held.canary is not None and held.continued_at is None:
            as_sent = dataclasses.replace(as_sent, canary=None)  # to its canary first
        gate = self.gates.closed(connection, as_sent, start)
        if gate is None:
            return None
        opens = self.audiences.outlook(held, start).opens if gate.hold is Hold.HOURS else None
        if opens is not None:
            template = (
                "The sending hours for this audience do not allow it now. They allow it from {opens_at}. Re-plan "
                "it for then."
            )
            return Translatable(template, opens_at=opens)
        return Translatable("It cannot go out now: {why}", why=gate.sentence)

    def _settle_unknown(
        self, connection: Connection, seen: Broadcast, action: Action, person: Person
    ) -> Broadcast | None:
        now = self.clock()
        if action is Action.MARK_SENT:
            note = Note(Translatable("{by} says that it went out.", **by_person(person)), aloud=True)
            provider = self.audiences.providers.get(seen.account)
            values: dict[str, Value] = {**by_person(person)}
            values |= {"vendor": provider.title if provider else seen.provider}
            ids = seen.ids or ((seen.staged.id,) if seen.staged else ())
            template = (
                "{by} says that it went out. {vendor} has not confirmed it."
                if ids
                else "{by} says that it went out. {vendor} gave no ids."
            )
            failure = Translatable(template, **values)
            changes: Changes = {"accepted_at": now, "look_at": now, "ids": ids, "failure": failure}
        else:
            template = (
                "{by} says that it did not go out. It will not be sent again by itself. *Send again* on its card opens "
                "the form with its text."
            )
            note = Note(Translatable(template, **by_person(person)), aloud=True)
            failure = Translatable("{by} says that it did not go out.", **by_person(person))
            changes = {"failure": failure, "look_at": None}
        return broadcasts.move(connection, seen, action, actor=person.id, at=now, notes=[note], **changes)


#: The note in the thread about an end, and whether the channel sees it too.
ENDINGS: dict[Action, tuple[str, bool]] = {
    Action.REJECT: ("{by} rejected it.", False),
    Action.CANCEL: ("{by} cancelled it. Nothing was sent.", False),
    Action.STOP: ("{by} stopped it in time. Nothing was sent.", False),
    Action.DROP: ("{by} dropped it. Nothing was sent.", False),
}
