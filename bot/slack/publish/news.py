"""News of broadcasts, where they were asked for and for those who watch them.

The first news about a broadcast in a place is a message of its own. It shows the latest news, and *Stop* while that
still helps; all later news is in its thread. News that comes in quick succession becomes one message: the newest.
"""

from __future__ import annotations

from functools import partial

import structlog
from slack_sdk.errors import SlackApiError
from sqlalchemy import Connection

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, backoff
from bot.domain.errors import NotFound, NotUnderstood
from bot.domain.i18n import Translatable, Translator
from bot.domain.lifecycle import State
from bot.domain.people import DirectoryUnavailable, Unknown
from bot.slack.blocks.mrkdwn import Post
from bot.slack.blocks.thread import news_message, thread_message
from bot.slack.client import error_code
from bot.slack.publish.cards import AT_ONCE, LONGEST_PAUSE, MAX_TRIES, NO_PLACE, NOT_LET
from bot.slack.publish.poster import Later, Poster, is_person
from bot.storage import broadcasts, news, outbox
from bot.storage.news import Anchor
from bot.storage.outbox import PendingPost

log = structlog.get_logger(__name__)
UNSAID = 20 * SECOND  # until Slack is asked again who may read it
PAUSE = 2 * SECOND  # between two news of one broadcast in one place
NOBODY = "nobody"


class News:
    """Posts the news that the outbox holds, and keeps what stands in each place as it is."""

    def __init__(self, poster: Poster, words: Translator) -> None:
        self.poster, self.database, self.clock, self.words = poster, poster.database, poster.clock, words
        self.people = poster.people

    async def post(self, pending: PendingPost) -> None:
        """Post it once those who are to read it still may. Without a place for them, it goes to them directly."""
        try:
            place = await self._place_of(pending)
        except DirectoryUnavailable:  # this uses up no try: Slack has not refused anything
            again = self.clock() + UNSAID
            await self.database.write(partial(outbox.put_off_post, seq=pending.seq, again_at=again))
            return
        if place != pending.place:
            await self.database.write(lambda c: self._move(c, pending, place))
            return
        row, anchor, overtaken = await self.database.read(lambda c: self._as_it_stands(c, pending))
        if row is None or overtaken:
            await self.database.write(partial(news.give_up, seq=pending.seq))
        elif anchor is not None and anchor.told_at + PAUSE > self.clock():
            again = anchor.told_at + PAUSE
            await self.database.write(partial(outbox.put_off_post, seq=pending.seq, again_at=again))
        else:
            await self._post(pending, row, anchor)

    async def _place_of(self, pending: PendingPost) -> str:
        """Return where they can read it now: there, or in a direct message; NOBODY if they may not know any more.

        Raises DirectoryUnavailable while Slack does not say.
        """
        person = pending.place if is_person(pending.place) else pending.mention or ""
        try:
            found = await self.people.person(pending.workspace, person)
        except Unknown:
            return NOBODY
        if found.doubtful:
            raise DirectoryUnavailable(person)
        if not found.member:
            return NOBODY
        if is_person(pending.place):
            return pending.place
        closed = await self.people.why_closed(pending.place) is not None
        return person if closed or not await self.people.is_in(pending.place, person) else pending.place

    def _move(self, connection: Connection, pending: PendingPost, place: str) -> None:
        """Tell the person directly, in place of the channel, or nobody."""
        news.give_up(connection, pending.seq)
        if place == NOBODY:
            log.info("nobody may read this news any more", broadcast=pending.about)
            return
        key, now = f"post:{pending.seq}:{place}", self.clock()
        outbox.post(connection, pending.workspace, key, place, pending.sentence, None, now, about=pending.about)

    def _as_it_stands(
        self, connection: Connection, pending: PendingPost
    ) -> tuple[Broadcast | None, Anchor | None, bool]:
        row = _find(connection, pending.workspace, pending.about or "")
        return row, news.anchor_of(connection, pending), news.is_overtaken(connection, pending)

    async def _post(self, pending: PendingPost, row: Broadcast, anchor: Anchor | None) -> None:
        if anchor is None:
            post = self._standing(pending.sentence, pending.mention, pending.place, row)
        else:
            post = thread_message(pending.sentence, pending.mention, self.words)
        metadata = {"event_type": "broadcast_post", "event_payload": {"id": str(pending.seq)}}
        thread = anchor.ts if anchor is not None else None
        try:
            answer = await self.poster.post(await self.poster.channel_of(pending.place), post, metadata, thread)
        except SlackApiError as error:
            await self._refused(pending, anchor, error_code(error))
            return

        def posted(connection: Connection) -> None:
            news.posted(connection, pending, anchor, str(answer["ts"]), self.clock())
            now = _find(connection, pending.workspace, row.id)
            if anchor is None and now is not None and now.revision != row.revision:
                news.draw_again(connection, row.workspace, row.id, self.clock())

        await self.database.write(posted)

    async def _refused(self, pending: PendingPost, anchor: Anchor | None, code: str) -> None:
        """Tell the person directly if the channel is closed; begin a new thread if the old one was deleted."""
        log.warning("a place could not be told", place=pending.place, error=code)
        person = pending.mention or ""
        if anchor is not None and code == "thread_not_found":
            await self.database.write(partial(news.forget, anchor=anchor))
            await self.database.write(partial(outbox.put_off_post, seq=pending.seq, again_at=self.clock()))
        elif code in NO_PLACE | NOT_LET and is_person(person):
            await self.database.write(lambda c: self._move(c, pending, person))
        else:
            await self._put_off(pending)

    async def _put_off(self, pending: PendingPost) -> None:
        """Try again later, up to MAX_TRIES: Slack refuses this message, and does not just fail."""
        pause = backoff(pending.tries, 5 * SECOND, LONGEST_PAUSE)
        again = self.clock() + pause if pending.tries < MAX_TRIES else None
        await self.database.write(partial(outbox.post_failed, seq=pending.seq, again_at=again))

    # --- what stands there -------------------------------------------------------------------------------------------

    async def redraw(self) -> None:
        """Draw again what shows less than there is, within Slack's limit."""
        for anchor in await self.database.read(partial(news.anchors_to_draw, at=self.clock(), limit=AT_ONCE)):
            if not self.poster.updates.has_capacity():
                return
            with self.poster.alone("news", anchor.seq, anchor.workspace):
                await self._redraw(anchor)

    async def _redraw(self, anchor: Anchor) -> None:
        row, told = await self.database.read(
            lambda c: (_find(c, anchor.workspace, anchor.about), news.latest_told(c, anchor))
        )
        if row is not None and told is not None and await self._is_open(anchor.place):
            post = self._standing(told, anchor.mention, anchor.place, row)
            try:
                await self.poster.change(await self.poster.channel_of(anchor.place), anchor.ts, post)
            except SlackApiError as error:
                log.info("news could not be drawn again", broadcast=anchor.about, error=error_code(error))
                if error_code(error) == "message_not_found":
                    await self.database.write(partial(news.forget, anchor=anchor))
                    return
        await self.database.write(partial(news.drawn, anchor=anchor))

    async def _is_open(self, place: str) -> bool:
        if is_person(place):
            return True
        try:
            return await self.people.why_closed(place) is None
        except DirectoryUnavailable:
            raise Later(5.0) from None

    def _standing(self, told: Translatable, mention: str | None, place: str, row: Broadcast) -> Post:
        """Return what stands in the place. Only where it was asked for does it have a button."""
        asked_here = place in (row.asked_in, row.requester)
        stop = asked_here and row.state is State.SCHEDULED
        return news_message(told, mention, row, self.words, stop=stop)


def _find(connection: Connection, workspace: str, id: str) -> Broadcast | None:
    """Return the broadcast; None if it is gone. Raises NotUnderstood for one that a newer version has written."""
    try:
        return broadcasts.find(connection, workspace, id)
    except NotUnderstood:
        raise
    except NotFound:
        return None
