"""Messages that belong to no card."""

from __future__ import annotations

from functools import partial

import structlog
from slack_sdk.errors import SlackApiError
from sqlalchemy import Connection

from bot.domain.clock import SECOND, backoff
from bot.domain.errors import NotFound
from bot.domain.i18n import Translator
from bot.domain.lifecycle import State
from bot.domain.people import DirectoryUnavailable
from bot.slack.blocks import answers
from bot.slack.blocks.mrkdwn import Post
from bot.slack.blocks.thread import thread_message
from bot.slack.client import error_code
from bot.slack.publish.cards import LONGEST_PAUSE, MAX_TRIES, NO_PLACE, NOT_LET, POSTING, UNKNOWN_TRIES
from bot.slack.publish.news import News
from bot.slack.publish.poster import Later, Poster, is_person
from bot.storage import broadcasts, outbox
from bot.storage.outbox import PendingPost

log = structlog.get_logger(__name__)


class Outbox:
    """Posts the messages that belong to no card, one after the other."""

    def __init__(self, poster: Poster, words: Translator) -> None:
        self.poster, self.database, self.clock, self.words = poster, poster.database, poster.clock, words
        self.people, self.news = poster.people, News(poster, words)

    async def post_posts(self) -> None:
        """Post the messages one after the other. One that Slack cannot take now does not use up a try."""
        while await self.database.read(lambda c: outbox.posts_wait(c, self.clock())):
            now = self.clock()
            pending = await self.database.write(partial(outbox.take_post, at=now, again_at=now + POSTING))
            if pending is None:  # another process has it
                return
            try:
                with self.poster.alone("post", pending.seq, pending.workspace):
                    await self._post_one(pending)
            except Later as later:
                again = self.clock() + int(later.seconds * SECOND)
                await self.database.write(partial(outbox.put_off_post, seq=pending.seq, again_at=again))
                raise

    async def _post_one(self, pending: PendingPost) -> None:
        if pending.about is not None:
            await self.news.post(pending)
            return
        if (over := await self._over(pending)) is not None:
            await self.database.write(partial(self._post_failed, pending=pending, over=over))
            return
        post = thread_message(pending.sentence, pending.mention, self.words)
        if pending.draft is not None:
            post = await self._with_draft(pending, post)
        metadata = {"event_type": "broadcast_post", "event_payload": {"id": str(pending.seq)}}
        try:
            answer = await self.poster.post(await self.poster.channel_of(pending.place), post, metadata)
        except SlackApiError as error:
            log.warning("a place could not be told", place=pending.place, error=error_code(error))
            over = error_code(error) in NO_PLACE | NOT_LET and not is_person(pending.place)
            await self.database.write(partial(self._post_failed, pending=pending, over=over))
            return
        await self.database.write(partial(outbox.post_made, seq=pending.seq, ts=answer["ts"]))

    async def _over(self, pending: PendingPost) -> bool | None:
        """Whether to give up posting there. None if posting is possible, False if Slack does not say right now.

        The channel may have been shared with another company in the meantime.
        """
        if pending.place[:1] in ("U", "W", "D"):
            return None
        try:
            return True if await self.people.why_closed(pending.place) is not None else None
        except DirectoryUnavailable:
            return pending.tries >= UNKNOWN_TRIES

    async def _with_draft(self, pending: PendingPost, post: Post) -> Post:
        """Add the draft's text and its button to the post, while it is still a draft."""
        try:
            row = await self.database.read(lambda c: broadcasts.find(c, pending.workspace, pending.draft or ""))
        except NotFound:
            return post
        return answers.with_draft(post, row, self.words) if row.state is State.DRAFT else post

    def _post_failed(self, connection: Connection, pending: PendingPost, over: bool) -> None:
        """Try again later, or if it is `over`, send it directly to the people that it names in the closed channel."""
        now, person = self.clock(), is_person(pending.place)
        over = over or pending.tries >= MAX_TRIES
        again = None if over else now + backoff(pending.tries, 5 * SECOND, LONGEST_PAUSE)
        outbox.post_failed(connection, pending.seq, again)
        named = (pending.mention or "").split() if over and not person else []
        for one in filter(is_person, named):
            outbox.post(connection, pending.workspace, f"post:{pending.seq}:{one}", one, pending.sentence, None, now)
