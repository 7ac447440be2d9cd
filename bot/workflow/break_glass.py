"""Sends an alert without approval, on record. Everybody who may approve it is told."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain import people
from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.errors import FieldError, InvalidRequest, NotAllowed
from bot.domain.i18n import Translatable, Value, in_a_row
from bot.domain.lifecycle import Action, State
from bot.domain.people import Person
from bot.storage import broadcasts, outbox
from bot.storage.broadcast_rows import NO_GLASS, Changes
from bot.storage.notes import Note
from bot.workflow import approval_rules
from bot.workflow.approvals import Approvals
from bot.workflow.break_glass_rules import must_not_be_marketing, not_allowed, why_not
from bot.workflow.deadlines import DAY
from bot.workflow.decision_types import BreakGlass
from bot.workflow.sentence_parts import by_person

LEAST = 10  # characters of a reason


class BreakingGlass:
    """Schedules an alert without approval, on record, and tells everybody who may approve it."""

    def __init__(self, runtime: Runtime, approvals: Approvals) -> None:
        self.clock, self.approval, self.approvals = runtime.clock, runtime.settings.approval, approvals
        self.approvers = approvals.approvers

    def is_offered(self, row: Broadcast) -> bool:
        """Whether its card offers to send it without approval."""
        asked = bool(self.approval.break_glass) and row.state is State.PENDING
        return asked and self._why_not(row) is None

    def _why_not(self, row: Broadcast) -> Translatable | None:
        return why_not(self.approval, row, self.approvers.requirements.starts_at(row, self.clock()))

    async def prepared(
        self, seen: Broadcast, person: Person, decision: BreakGlass
    ) -> Callable[[Connection], Broadcast | None]:
        """Return the work for the transaction.

        Raises InvalidRequest without a reason, NotAllowed if nobody else would know, or DirectoryUnavailable if Slack
        does not say who is to be told.
        """
        reason = decision.reason.strip()
        if len(reason) < LEAST:
            template = "Say in at least {least} characters why it cannot wait for approval."
            raise InvalidRequest(FieldError("reason", Translatable(template, least=LEAST)))
        known = self.approvers.as_of_today(seen)
        told = await approval_rules.people_in(known.approvers, self.approvers.people.members)
        told |= (await self.approvers.absences.delegates(known)).keys()
        others = told - {person.id, seen.requester}
        if not others - {seen.editor} and seen.mode != "training":
            raise NotAllowed("Nobody else can approve {id}, so nobody would look at it.", id=seen.id)
        return lambda c: self._break(c, known, person, BreakGlass(reason, decision.most), others)

    def _break(
        self, connection: Connection, seen: Broadcast, person: Person, decision: BreakGlass, told: frozenset[str]
    ) -> Broadcast | None:
        """Schedule it. None: it moved meanwhile. Raises NotAllowed or InvalidRequest if it is no longer as seen."""
        current, now = broadcasts.find(connection, seen.workspace, seen.id, lock=True), self.clock()
        if (current.state, current.version) != (State.PENDING, seen.version):
            return None
        if self.approvers.as_of_today(current).approvers != seen.approvers:  # those who are told are no longer all
            return None
        self._check_again(connection, current, decision, now)
        changes, then = self.approvals.let_go(connection, current, now)
        glass: Changes = {"glass_by": person.id, "glass_reason": decision.reason, "glass_at": now}
        changes |= {**NO_GLASS, **glass, "glass_digest": current.digest, "review_at": now + DAY}
        note = _note(current, person, decision.reason, then, seen.approvers)
        moved = broadcasts.move(
            connection,
            current,
            Action.BREAK_GLASS,
            actor=person.id,
            at=now,
            reason=decision.reason,
            notes=[note],
            **changes,
        )
        if moved is not None:
            self._tell(connection, moved, then, told)
        return moved

    def _check_again(self, connection: Connection, current: Broadcast, decision: BreakGlass, now: Micros) -> None:
        """Check what may have changed since it was seen, without a new version."""
        if current.expires_at is not None and current.expires_at <= now:  # no tick has ended it yet
            raise NotAllowed("The time to approve it ended {end_at}.", end_at=current.expires_at)
        if self.approvals.is_late(current):
            template = "Its time, {start_at}, has passed, so it would not go out. Re-plan it first."
            raise NotAllowed(template, start_at=current.send_at or 0)
        if (refusal := self._why_not(current)) is not None:
            raise not_allowed(refusal)
        must_not_be_marketing(self.approvers.requirements.lately_marketing(connection, current))
        if decision.most is not None and (current.most is None or current.most > decision.most):
            template = "It now reaches more people than this form says. Close it, and look at the card again."
            raise InvalidRequest(FieldError("reason", Translatable(template)))

    @staticmethod
    def _tell(connection: Connection, row: Broadcast, then: Translatable, told: frozenset[str]) -> None:
        """Message each of them directly, once."""
        template = (
            "{by} is sending *{id}* to *{audience}* without approval: “{reason}” {then} Until then you can stop it on "
            "its card in {channel}. Look at it there, then close the review."
        )
        values: dict[str, Value] = {
            "by": people.mentions([row.glass_by or ""]),
            "reason": row.glass_reason or "",
            "id": row.id,
        }
        values |= {"audience": row.audience, "channel": f"<#{row.channel}>"}
        sentence, at = _said(row, Translatable(template, **values, then=then)), row.glass_at or 0
        for person in sorted(told):
            outbox.post(connection, row.workspace, f"glass:{row.id}:{at}:{person}", person, sentence, None, at)


def _note(row: Broadcast, person: Person, reason: str, then: Translatable, approvers: tuple[str, ...]) -> Note:
    template = (
        "{by} is sending this without approval: “{reason}” {then} Until then, an approver can stop it on its card. The "
        "review stays open until somebody else closes it."
    )
    sentence = _said(row, Translatable(template, **by_person(person), reason=reason, then=then))
    mentioned = dict.fromkeys((*approvers, row.requester))
    return Note(sentence, mention=" ".join(id for id in mentioned if id != person.id), aloud=True)


def _said(row: Broadcast, sentence: Translatable) -> Translatable:
    """The sentence. It reaches many people, so in training it says that it is only that."""
    training = [Translatable("Training: nothing is really sent.")] if row.mode == "training" else []
    return in_a_row([*training, sentence])
