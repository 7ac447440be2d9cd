"""One approval for several occurrences of a recurring broadcast, and what ends with it."""

from __future__ import annotations

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast
from bot.domain.errors import NotFound
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Action, Phase, State
from bot.domain.people import Person
from bot.domain.schedule import Schedule
from bot.storage import broadcasts, notes, occurrences, schedules
from bot.storage.broadcast_rows import NOT_AGREED, Changes
from bot.storage.notes import Note
from bot.storage.votes import drop_vote, drop_votes, seats_taken, votes_for
from bot.workflow.deadlines import asks
from bot.workflow.sentence_parts import by_person


class SeriesApproval:
    """An approval of one occurrence may cover later ones too. When it ends, they need approval again."""

    def __init__(self, runtime: Runtime) -> None:
        self.clock, self.approval = runtime.clock, runtime.settings.approval

    def back(self, connection: Connection, current: Broadcast, person: Person, note: Note) -> Broadcast | None:
        """Send it back to the approvers, since too few still approve it."""
        now = self.clock()
        self.drop_outgrown(connection, current)
        changes: Changes = {**NOT_AGREED, **asks(now, self.approval)}
        return broadcasts.move(connection, current, Action.WITHDRAW, actor=person.id, at=now, notes=[note], **changes)

    @staticmethod
    def drop_outgrown(connection: Connection, agreed: Broadcast) -> None:
        """Drop all votes on a broadcast that has become larger than what was approved."""
        if agreed.bound is not None and (agreed.size or 0) > agreed.bound:
            drop_votes(connection, agreed)

    def uncover(self, connection: Connection, current: Broadcast) -> Schedule | None:
        """End the cover that this approval gave to later occurrences.

        Returns the schedule, locked, if this broadcast may have covered others.
        """
        if current.schedule is None or current.covers <= 1:
            return None
        try:
            schedule = schedules.find(connection, current.workspace, current.schedule, lock=True)
        except NotFound:  # a newer version of the bot handles it
            return None
        if schedule.cover is not None and schedule.cover.of == current.id:
            schedules.keep_cover(connection, current.workspace, current.schedule, None)
        return schedule

    def take_back_covered(self, connection: Connection, current: Broadcast, person: Person, note: Note) -> bool:
        """Drop this person's vote on the later occurrences that it covered. True if it covered any."""
        schedule = self.uncover(connection, current)
        if schedule is None:
            return False
        fell = schedule.cover is not None and schedule.cover.of == current.id
        for occurrence in self._covered(connection, schedule, current):
            if not drop_vote(connection, occurrence, person.id, COVER):
                continue
            fell = True
            self._weigh_covered(connection, occurrence, person, note)
        occurrences.drop_unread_votes(connection, schedule, current.occurrence or "", COVER, person.id)
        return fell

    def _weigh_covered(self, connection: Connection, occurrence: Broadcast, person: Person, note: Note) -> None:
        """Send it back if a dropped vote leaves too few. One that is going out just now will not be tried again."""
        recallable = occurrence.state is not State.PENDING and (occurrence.state, occurrence.phase) in RECALLABLE
        if recallable and seats_taken(votes_for(connection, occurrence)) < occurrence.quorum:
            self.back(connection, occurrence, person, note)
        else:
            notes.add_notes(connection, occurrence, self.clock(), [note])
            broadcasts.touch(connection, occurrence, self.clock())

    @staticmethod
    def _covered(connection: Connection, schedule: Schedule, by: Broadcast) -> list[Broadcast]:
        """The later occurrences that its approval covers, of those that have not gone out.

        One without a record of what covers it was made by an older process, and counts as covered by any.
        """
        made = occurrences.broadcasts_made(connection, schedule)
        mine = [row for row in made if row.covers <= 1 and row.covered_by in (by.id, None)]
        later = [row for row in mine if (row.occurrence or "") > (by.occurrence or "")]
        return [broadcasts.find(connection, row.workspace, row.id, lock=True) for row in later]

    def end_cover(self, connection: Connection, ended: Broadcast, person: Person) -> None:
        """End the cover of a stopped occurrence. The person may mean all it covered, so each needs approval again."""
        schedule = self.uncover(connection, ended)
        if schedule is None:
            return
        fell = schedule.cover is not None and schedule.cover.of == ended.id
        sentence = Translatable(
            "{by} stopped {of}. Its approval also covered this broadcast and no longer counts.",
            **by_person(person),
            of=ended.id,
        )
        for occurrence in self._covered(connection, schedule, ended):
            given = [vote for vote in votes_for(connection, occurrence) if vote.way == COVER]
            for vote in given:
                drop_vote(connection, occurrence, vote.approver, COVER)
            if given:
                self._weigh_covered(connection, occurrence, person, Note(sentence, mention=occurrence.requester))
            fell = fell or bool(given)
        occurrences.drop_unread_votes(connection, schedule, ended.occurrence or "", COVER, None)
        if fell:
            text = Translatable(
                "Its approval also covered later ones in the series. Each of them now needs its own approval."
            )
            notes.add_notes(connection, ended, self.clock(), [Note(text)])


COVER = "cover"  # the way of a vote that was given on an earlier occurrence
#: Where nothing has gone out yet, so that an approval can be withdrawn.
RECALLABLE = {
    (State.PENDING, None),
    (State.SCHEDULED, None),
    (State.HELD, None),
    (State.SENDING, Phase.STAGING),
}
