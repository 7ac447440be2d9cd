"""Votes: given, counted, withdrawn."""

from __future__ import annotations

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain import people
from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros, micros
from bot.domain.errors import CardChanged, NotAllowed, StaleVersion
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Action, Hold, State
from bot.domain.people import Person
from bot.domain.schedule import standing_approval
from bot.scheduler import Task, concerned
from bot.storage import audit, broadcasts, keys, notes, schedules
from bot.storage.broadcast_rows import NO_GLASS, Changes
from bot.storage.notes import Note
from bot.storage.votes import add_vote, drop_vote, drop_votes, seats_taken, strengthen_vote, votes_for
from bot.workflow import approval_rules
from bot.workflow.absences import seat_for
from bot.workflow.approvers import Approvers
from bot.workflow.audiences import Audiences
from bot.workflow.canaries import Canaries
from bot.workflow.card_changes import CardChanges
from bot.workflow.deadlines import after_undo, asks, before_start, describe_start
from bot.workflow.decision_types import Approve
from bot.workflow.sentence_parts import agreed_note, by_person, reader_of
from bot.workflow.series_approval import RECALLABLE, SeriesApproval


class Approvals:
    """Counts votes, schedules a broadcast once enough people approve it, and withdraws votes."""

    def __init__(
        self,
        runtime: Runtime,
        audiences: Audiences,
        approvers: Approvers,
        series: SeriesApproval,
        card_changes: CardChanges,
        canaries: Canaries,
    ) -> None:
        self.database, self.clock, self.wake = runtime.database, runtime.clock, runtime.wake
        self.approval, self.audiences = runtime.settings.approval, audiences
        self.approvers, self.series, self.card_changes = approvers, series, card_changes
        self.canaries = canaries

    def approve(
        self, connection: Connection, seen: Broadcast, person: Person, decision: Approve, seats: tuple[str, ...] = ()
    ) -> Broadcast | CardChanged | None:
        """Count this person's vote, and schedule the broadcast if none is missing now. None: it moved meanwhile.

        `seats`: of approvers who are away, and in whose place this person may approve it.
        """
        current = broadcasts.find(connection, seen.workspace, seen.id, lock=True)
        if current.state is not State.PENDING or current.version != seen.version:
            return None
        if current.approvers != seen.approvers:  # this person was allowed by those whom it had before
            return None
        if current.expires_at is not None and current.expires_at <= self.clock():  # no tick has ended it yet
            raise NotAllowed("The time to approve it ended {end_at}.", end_at=current.expires_at)
        if decision.on_card and (
            changed := self.card_changes.changed_since_drawn(connection, current, decision.on_card)
        ):
            return changed
        votes, now = votes_for(connection, current), self.clock()
        seat = seat_for(connection, current, person, seats, votes, now)
        if not add_vote(connection, current, person.id, decision.way, now, seat):
            if decision.way == "button":  # it stays even if an older reaction is removed
                strengthen_vote(connection, current, person.id, decision.way)
            return current
        if seat is not None:
            template = "{by} approves it in the place of {who}, who is away."
            sentence = Translatable(template, **by_person(person), who=people.mentions([seat]))
            notes.add_notes(connection, current, now, [Note(sentence)])
            audit.write_audit(connection, current, person.id, "delegate", current.state, now, seat)
        current = self.as_needed_now(connection, current)
        given = seats_taken(votes_for(connection, current))
        if not given:  # they were given by others than who must approve it now
            return current
        if given < current.quorum:
            return self._count_vote(connection, current, person, given)
        return self.schedule(connection, current, actor=person.id)

    def as_needed_now(self, connection: Connection, current: Broadcast) -> Broadcast:
        """Ask for what it needs if it is approved now."""
        return self.as_needed_at(connection, current, after_undo(self.clock(), current.send_at, self.approval))

    def as_needed_at(self, connection: Connection, current: Broadcast, at: Micros) -> Broadcast:
        """Ask for what its size, its cost and the hour need if it goes at `at`.

        If other people must approve it at that hour, the votes that it has fall.
        """
        need = self.approvers.requirements.changed(connection, current, current, at)
        if need.quorum <= current.quorum and need.approvers == current.approvers:
            return current
        changes: Changes = {"quorum": max(need.quorum, current.quorum)}
        now = self.clock()
        if need.approvers != current.approvers:
            changes |= {"approvers": need.approvers, "ruled_at": at}
            drop_votes(connection, current)
            sentence = Translatable("At this hour it needs approval by {who}.", who=people.mentions(need.approvers))
            notes.add_notes(connection, current, now, [self.to_approvers(sentence, need.approvers)])
        return broadcasts.touch(connection, current, now, **changes) or current

    def to_approvers(self, sentence: Translatable, approvers: tuple[str, ...]) -> Note:
        """A note that tells those whom the settings name for these approvers."""
        return Note(sentence, mention=" ".join(approval_rules.notified(self.approval, approvers)))

    def _count_vote(self, connection: Connection, current: Broadcast, person: Person, votes: int) -> Broadcast | None:
        audit.write_audit(connection, current, person.id, "vote", current.state, self.clock())
        missing = current.quorum - votes
        note = Note(
            Translatable("{by} approved. Approvals still needed: {missing}.", **by_person(person, missing=missing))
        )
        notes.add_notes(connection, current, self.clock(), [note])
        return broadcasts.touch(connection, current, self.clock())

    def schedule(
        self, connection: Connection, current: Broadcast, *, actor: str, reason: str | None = None
    ) -> Broadcast | None:
        """Schedule an approved broadcast. One approved after its time and the grace is held and asks first.

        `reason`: what approved it, for the audit, if it was no press on its card.
        """
        now, late = self.clock(), self.is_late(current)
        changes, then = self.let_go(connection, current, now)
        new_notes = [] if late else [agreed_note(current, actor, then)]
        changes |= NO_GLASS  # an older version may have left some
        agreed = broadcasts.move(
            connection, current, Action.APPROVE, actor=actor, at=now, reason=reason, notes=new_notes, **changes
        )
        if agreed is not None and agreed.schedule is not None and agreed.covers > 1:
            self._cover(connection, agreed, agreed.schedule)
        if agreed is not None and (first := self.canaries.planned(connection, agreed)) is not None:
            self.schedule(connection, first, actor=actor)
        return self._hold_late(connection, agreed, actor) if late and agreed else agreed

    def is_late(self, current: Broadcast) -> bool:
        """Whether its time has passed by more than the grace, so that it would be held if it were let go now."""
        due = after_undo(self.clock(), current.send_at, self.approval)
        return due - (current.send_at or due) > micros(self.audiences.settings.grace)

    def let_go(self, connection: Connection, current: Broadcast, now: Micros) -> tuple[Changes, Translatable]:
        """The changes that schedule it once it is let go, and what then happens."""
        due = after_undo(now, current.send_at, self.approval)
        changes: Changes = {
            "due": due,
            "start_at": current.send_at or due,  # lateness counts from the requested time
            "approved_at": now,
            "expires_at": None,
            "bound": current.most,
            "voice_at": before_start(due, now),
        }
        paused, misfit = keys.paused(connection, current.workspace), self.audiences.misfit(current)
        return changes, describe_start(self.audiences.policies, current, due, paused=paused, misfit=misfit)

    def _cover(self, connection: Connection, agreed: Broadcast, schedule: str) -> None:
        """Keep the approval for the later occurrences. A delegate approves only what comes while they are one."""
        votes = votes_for(connection, agreed)
        if any(vote.stands_for for vote in votes):
            sentence = Translatable("A delegate approved it, so each later broadcast of this series asks again.")
            notes.add_notes(connection, agreed, self.clock(), [Note(sentence)])
        else:
            cover = standing_approval(agreed, [vote.approver for vote in votes])
            schedules.keep_cover(connection, agreed.workspace, schedule, cover)

    def _hold_late(self, connection: Connection, agreed: Broadcast, actor: str) -> Broadcast | None:
        template = (
            "{by} approved it, but its time, {start_at}, has passed, so it will not go out by itself. Send it now, "
            "re-plan it, or drop it?"
        )
        new_notes = [
            Note(
                Translatable(template, by=people.mentions([actor]), start_at=agreed.start_at or 0),
                mention=f"{agreed.requester} {actor}",
            )
        ]
        now = self.clock()
        changes: Changes = {"hold": Hold.LATE, "due": None, **asks(now, self.approval)}
        return broadcasts.move(
            connection, agreed, Action.HOLD, actor="clock", at=now, reason=Hold.LATE, notes=new_notes, **changes
        )

    def without_approval(self, connection: Connection, broadcast: Broadcast) -> Broadcast:
        """Schedule a broadcast that nobody needs to approve; the audit shows that the policy allowed it."""
        if broadcast.state is not State.PENDING or broadcast.quorum > 0:
            return broadcast
        return self.schedule(connection, broadcast, actor="policy") or broadcast

    async def withdraw(
        self, workspace: str, id: str, *, person: Person, way: str, version: int | None = None
    ) -> Broadcast | None:
        """Withdraw a vote before anything has gone out.

        None: there was no vote to withdraw, or the `version` that it was given for is no longer current. Raises
        StaleVersion when the broadcast has gone out or ended.
        """
        broadcast = await self.database.read(lambda c: broadcasts.find(c, workspace, id.upper()))
        if version is not None and version != broadcast.version:
            return None
        taken = await self.database.write(lambda c: self._withdraw(c, broadcast, person, way))
        if taken is not None:
            self.wake(Task.DISPATCH, *concerned(taken))
        if taken is not None and taken.state is State.SENDING:
            raise StaleVersion(taken)
        return taken

    def _withdraw(self, connection: Connection, seen: Broadcast, person: Person, way: str) -> Broadcast | None:
        current = broadcasts.find(connection, seen.workspace, seen.id, lock=True)
        votes = [(vote.approver, vote.way) for vote in votes_for(connection, current)]
        if current.version != seen.version or (person.id, way) not in votes:
            return None
        sentence = Translatable("{by} withdrew their approval.", **by_person(person))
        now, note = self.clock(), Note(sentence, mention=reader_of(current, person.id))
        uncovered = self.series.take_back_covered(connection, current, person, note)
        if (current.state, current.phase) not in RECALLABLE:
            return self._withdraw_late(connection, current, person, way, uncovered=uncovered)
        drop_vote(connection, current, person.id, way)
        # a held broadcast that asks goes nowhere by itself, and the person who sends it must know what it asks
        goes_on = current.state is not State.PENDING and (
            current.state is not State.HELD or (current.approved_at is not None and current.hold_until is not None)
        )
        if not goes_on or seats_taken(votes_for(connection, current)) >= current.quorum:
            audit.write_audit(connection, current, person.id, Action.WITHDRAW, current.state, now)
            notes.add_notes(connection, current, now, [note])
            return broadcasts.touch(connection, current, now)
        return self.series.back(connection, current, person, note)

    def _withdraw_late(
        self, connection: Connection, current: Broadcast, person: Person, way: str, *, uncovered: bool
    ) -> Broadcast | None:
        """Withdraw a vote on a broadcast that is going out or has gone out.

        One that has gone out stays approved. One that is going out just now is not sent again if it comes back unsent.
        Raises StaleVersion if the vote covered nothing else.
        """
        now = self.clock()
        if current.state is State.SENDING:
            drop_vote(connection, current, person.id, way)
            template = (
                "{by} withdrew their approval while it was going out. If it does not go out, it will need approval "
                "again."
            )
        elif uncovered:
            template = (
                "{by} withdrew their approval. Whatever has already gone out stays as it is. Each later broadcast "
                "in this series needs its own approval."
            )
        else:
            raise StaleVersion(current)
        audit.write_audit(connection, current, person.id, Action.WITHDRAW, current.state, now)
        notes.add_notes(
            connection, current, now, [Note(Translatable(template, **by_person(person)), mention=current.requester)]
        )
        return broadcasts.touch(connection, current, now)
