"""The review of what went out without approval: open until somebody else closes it, and asked for once a day."""

from __future__ import annotations

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain import people
from bot.domain.broadcast import Broadcast
from bot.domain.errors import NotAllowed, StaleVersion
from bot.domain.i18n import Translatable
from bot.domain.people import Person
from bot.scheduler import Task
from bot.storage import audit, broadcasts, notes, queue
from bot.storage.failing_rows import alone
from bot.storage.notes import Note
from bot.workflow import approval_rules
from bot.workflow.deadlines import DAY
from bot.workflow.permissions import Permissions
from bot.workflow.sentence_parts import by_person

CLOSE = "close_review"


class Reviews:
    """Closes reviews, and reminds approvers of the open ones."""

    def __init__(self, runtime: Runtime, permissions: Permissions) -> None:
        self.database, self.clock, self.wake = runtime.database, runtime.clock, runtime.wake
        self.approval, self.admins = runtime.settings.approval, runtime.settings.admins
        self.permissions, self.approvers = permissions, permissions.approvers

    # --- closed ------------------------------------------------------------------------------------------------------

    async def close(self, workspace: str, id: str, *, person: Person, version: int | None, comment: str = "") -> None:
        """Close the review. Closing it again, by the same person, has no effect.

        Raises NotFound, StaleVersion, NotAllowed (audited) or DirectoryUnavailable.
        """
        row = await self.database.read(lambda c: broadcasts.find(c, workspace, id))
        if row.reviewed_by == person.id and row.version == version:
            return
        if not row.review_open or row.version != version:
            raise StaleVersion(row)
        await self.may_close(person, row)
        await self.database.write(lambda c: self._close(c, row, person, comment))
        self.wake(Task.PAINT)

    def _close(self, connection: Connection, seen: Broadcast, person: Person, comment: str) -> None:
        current, now = broadcasts.find(connection, seen.workspace, seen.id, lock=True), self.clock()
        if not current.review_open or (current.version, current.glass_at) != (seen.version, seen.glass_at):
            raise StaleVersion(current)
        closed = broadcasts.touch(
            connection,
            current,
            now,
            reviewed_by=person.id,
            reviewed_at=now,
            review_comment=comment or None,
            review_at=None,
        )
        if closed is None:
            raise StaleVersion(current)
        sentence = Translatable("{by} closed the review.", **by_person(person))
        if comment:
            sentence = Translatable("{told} “{reason}”", told=sentence, reason=comment)
        audit.write_audit(connection, closed, person.id, CLOSE, closed.state, now, comment or None)
        notes.add_notes(connection, closed, now, [Note(sentence, mention=closed.glass_by)])

    async def may_close(self, person: Person, row: Broadcast) -> None:
        """Raises NotAllowed, audited, unless this is somebody else who may approve it, or DirectoryUnavailable.

        If nobody else may, an admin can.
        """
        try:
            await self._must_be_reviewer(person, row)
        except NotAllowed as error:
            await self.permissions.audit_refusal(person, CLOSE, error.sentence.template, row)
            raise

    async def _must_be_reviewer(self, person: Person, row: Broadcast) -> None:
        people.must_be_member(person)
        if row.mode == "training":  # one person may take every step
            return
        theirs = {row.glass_by, row.requester, row.editor}
        if person.id in theirs:
            raise NotAllowed("Somebody who neither asked for {id} nor sent it must close the review.", id=row.id)
        named = self.approvers.as_of_today(row).approvers
        others = await approval_rules.people_in(named, self.approvers.people.members) - theirs
        seats = await self.approvers.seats(person, row)
        if person.id in others or not theirs.issuperset(seats):
            return
        if not await self._is_anybody_left(row, others):
            named = tuple(id for id in self.admins if id not in theirs)
        if not named:
            raise NotAllowed("{id} has no approver left. Ask whoever runs the bot to name approvers.", id=row.id)
        if person.id not in named:
            raise NotAllowed("Only {who} can close the review of {id}.", who=people.mentions(named), id=row.id)

    async def _is_anybody_left(self, row: Broadcast, others: frozenset[str]) -> bool:
        for id in sorted(others):
            if await self.approvers.is_member(row.workspace, id):
                return True
        return False

    # --- asked for ---------------------------------------------------------------------------------------------------

    async def tick(self) -> None:
        if not await self.database.read(lambda c: queue.reviews_wait(c, self.clock())):
            return
        if await self.database.write(self._remind):
            self.wake(Task.PAINT)

    def _remind(self, connection: Connection) -> int:
        rows = queue.to_review(connection, self.clock())
        for row in rows:
            with alone(connection, "review", row.id, row.workspace):
                self._remind_of(connection, row)
        return len(rows)

    def _remind_of(self, connection: Connection, row: Broadcast) -> None:
        now, theirs = self.clock(), {row.glass_by, row.requester, row.editor}
        if not row.review_open:  # an older process knows no reviews
            broadcasts.touch(connection, row, now, review_at=None)
            return
        template = (
            "The review is still open: {by} skipped the approval. Once you have looked into it, press *Close the "
            "review* on the card."
        )
        named = [id for id in self.approvers.as_of_today(row).approvers if id not in theirs]
        told = approval_rules.notified(self.approval, named)
        note = Note(Translatable(template, by=people.mentions([row.glass_by or ""])), mention=" ".join(told) or None)
        if broadcasts.touch(connection, row, now, review_at=now + DAY) is not None:
            notes.add_notes(connection, row, now, [note])
