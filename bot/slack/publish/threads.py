"""The notes under the cards."""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from slack_sdk.errors import SlackApiError
from sqlalchemy import Connection

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Micros, backoff
from bot.domain.i18n import Translatable, Translator
from bot.domain.people import DirectoryUnavailable
from bot.slack.blocks.thread import thread_note
from bot.slack.client import error_code
from bot.slack.publish.cards import AT_ONCE, LONGEST_PAUSE, MAX_TRIES, NO_PLACE, NOT_LET
from bot.slack.publish.poster import Poster, is_person
from bot.storage import broadcasts, cards, news, notes, outbox
from bot.storage.cards import Card
from bot.storage.notes import PendingNote
from bot.storage.votes import votes_for

log = structlog.get_logger(__name__)


class Threads:
    """Posts the notes of broadcasts under their cards, each thread in its order."""

    def __init__(self, poster: Poster, words: Translator) -> None:
        self.poster, self.database, self.clock, self.words = poster, poster.database, poster.clock, words
        self.people = poster.people

    async def post_notes(self) -> None:
        """A thread keeps its order, so each pass takes the oldest note of each broadcast until none is left."""
        while pending := await self.database.read(lambda c: notes.notes_to_post(c, self.clock(), AT_ONCE)):
            for note in pending:
                with self.poster.alone("note", note.seq, note.workspace):
                    await self._post_note(note)

    async def _post_note(self, pending: PendingNote) -> None:
        row, card, voters = await self.database.read(lambda c: self._where(c, pending))
        if card is None:
            await self._put_off(pending, row, 2 * SECOND)
            return
        direct = card.channel.startswith("D")
        if not direct and await self.poster.why_closed_if_known(card.channel) is not None:
            await self._put_off(pending, row, None)
            return
        reader = await self.poster.reader(card.channel, (row.requester, *voters)) if direct else None
        unseen = [] if direct else await self._who_do_not_see(card.channel, pending)
        post = thread_note(pending.note, row, self.words)
        try:
            answer = await self.poster.post_about(
                card.channel, post, row, kind="broadcast_note", thread=card.ts, aloud=pending.note.aloud
            )
        except SlackApiError as error:
            log.warning("a thread could not be told", broadcast=row.id, error=error_code(error))
            pause = (
                None if error_code(error) in NO_PLACE | NOT_LET else backoff(pending.tries, 5 * SECOND, LONGEST_PAUSE)
            )
            if error_code(error) == "thread_not_found":  # its card was deleted: drawn again, it gets a new one
                await self.database.write(lambda c: cards.draw_again(c, row, self.clock()))
            await self._put_off(pending, row, pause)
            return

        def posted(connection: Connection) -> None:
            notes.note_posted(connection, pending.seq, str(answer["ts"]))
            if direct:  # only one person reads there
                self._notify_directly(connection, pending, row, but=reader)
            self._notify_unseen(connection, pending, row, unseen)

        await self.database.write(posted)

    def _where(self, connection: Connection, pending: PendingNote) -> tuple[Broadcast, Card | None, list[str]]:
        row = broadcasts.find(connection, pending.workspace, pending.broadcast)
        return row, cards.card_of(connection, row), [vote.approver for vote in votes_for(connection, row)]

    async def _who_do_not_see(self, channel: str, pending: PendingNote) -> list[str]:
        """Return whom the note names but who cannot read it: the channel is private, and they are not in it."""
        named = [id for id in (pending.note.mention or "").split() if is_person(id)]
        return [id for id in named if not await self._sees(channel, id)]

    async def _sees(self, channel: str, id: str) -> bool:
        try:
            return await self.people.sees(channel, id)
        except DirectoryUnavailable:
            return True

    def _notify_unseen(
        self, connection: Connection, pending: PendingNote, row: Broadcast, people: Iterable[str]
    ) -> None:
        """Tell those who cannot read the note, except a requester who already read the same where they asked."""
        for person in people:
            if person != row.requester or not news.was_posted_where_asked(connection, row, pending.at):
                self._notify_one(connection, pending, row, person)

    def _notify_one(self, connection: Connection, pending: PendingNote, row: Broadcast, person: str) -> None:
        sentence = Translatable("About *{id}*: {told}", id=row.id, told=pending.note.sentence)
        outbox.post(connection, row.workspace, f"note:{pending.seq}:{person}", person, sentence, None, self.clock())

    async def _put_off(self, pending: PendingNote, row: Broadcast, pause: Micros | None) -> None:
        """Try again after the `pause`. After MAX_TRIES, or at once without a `pause`, tell people directly instead."""
        if pause is not None and pending.tries < MAX_TRIES:
            again = self.clock() + pause
            await self.database.write(lambda c: notes.note_failed(c, pending.seq, again))
            return

        def notify_instead(connection: Connection) -> None:
            notes.note_failed(connection, pending.seq, None)
            self._notify_directly(connection, pending, row)

        await self.database.write(notify_instead)

    def _notify_directly(
        self, connection: Connection, pending: PendingNote, row: Broadcast, but: str | None = None
    ) -> None:
        """Tell the requester, those that the note names and, for an end, those who approved: each once, in order."""
        note = pending.note
        approvers = [vote.approver for vote in votes_for(connection, row)] if note.aloud else []
        for person in dict.fromkeys([row.requester, *(note.mention or "").split(), *approvers]):
            if person != but and is_person(person):
                self._notify_one(connection, pending, row, person)
