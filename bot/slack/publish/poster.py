"""Calls to Slack that post and change messages."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Any

import structlog
from aiolimiter import AsyncLimiter
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse
from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast
from bot.domain.i18n import Translatable
from bot.domain.people import Directory, DirectoryUnavailable
from bot.slack.blocks import mrkdwn
from bot.slack.blocks.charts import has_chart, without_charts
from bot.slack.blocks.mrkdwn import Post
from bot.slack.client import DEAD_TOKEN, UNREACHABLE, error_code, error_name, wait_asked
from bot.storage import keys, sql
from bot.storage.cards import Card
from bot.storage.database import CommitUncertain, DatabaseBusy

log = structlog.get_logger(__name__)
UPDATES, UPDATES_AGAIN = 10, 15  # so many `chat.update` calls per so many seconds: never over 50 in any minute
PAINT_LEASE = 20.0  # seconds; a call to Slack takes 15 at the most
CHARTS_AGAIN = 24 * 3600.0  # seconds until a workspace that refused a chart is offered one again
BAD_BLOCKS = frozenset({"invalid_blocks", "msg_blocks_too_long", "invalid_blocks_format", "block_mismatch"})


class Later(Exception):
    """Slack cannot take the call now. Try again after so many `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


PASSING = (Later, DatabaseBusy, CommitUncertain)  # not the fault of the row that is being shown


class Poster:
    """Makes the painters' calls to Slack, from one process at a time and within Slack's limits.

    `lease`: the name under which the processes agree on it, apart for each workspace. `dead`: Slack's error code, while
    it no longer accepts our token.
    """

    def __init__(self, runtime: Runtime, client: AsyncWebClient, people: Directory, lease: str) -> None:
        self.database, self.clock, self.owner = runtime.database, runtime.clock, runtime.owner
        self.client, self.people, self.lease = client, people, lease
        self.dead: str | None = None
        self._ours_until = 0.0
        self._no_charts_until = 0.0
        self.updates = AsyncLimiter(UPDATES, UPDATES_AGAIN)

    @property
    def budget(self) -> int:
        """How many messages may be changed now, within Slack's limit."""
        return next(number for number in range(UPDATES, -1, -1) if self.updates.has_capacity(number))

    async def ours(self) -> bool:
        """Whether this process may paint.

        Only one process paints at a time, because a card is posted once and all processes share Slack's limits. This is
        checked before every call, so that no call begins with less of the lease left than it may take.
        """
        if self.database.exclusive or time.monotonic() < self._ours_until:
            return True
        took = await self.database.write(partial(self._take_lease, seconds=PAINT_LEASE))
        if took and not self._ours_until:  # the process before this one may have used up what Slack takes in a burst
            await self.updates.acquire(self.budget)
        self._ours_until = time.monotonic() + PAINT_LEASE / 4 if took else 0.0
        return took

    async def let_go(self) -> None:
        """Let another process paint at once."""
        if time.monotonic() >= self._ours_until:
            return
        self._ours_until = 0.0
        try:
            await self.database.write(partial(self._take_lease, seconds=0.0))
        except Exception as error:
            log.info("the others wait until the lease is over", error=type(error).__name__)

    def _take_lease(self, connection: Connection, seconds: float) -> bool:
        at = sql.database_time(connection) or self.clock()
        return keys.take_lease(connection, self.lease, self.owner, seconds, at)

    def alone(self, work: str, id: object, workspace: str) -> AbstractContextManager[None]:
        """Keep a row that cannot be shown from blocking the others."""
        return self.database.failing_rows.alone(work, id, workspace, but=PASSING)

    async def post_about(
        self, channel: str, post: Post, row: Broadcast, *, kind: str, thread: str | None = None, aloud: bool = False
    ) -> AsyncSlackResponse:
        # Ids only: other apps in the channel can read metadata.
        metadata = {"event_type": kind, "event_payload": {"id": row.id, "version": row.version}}
        return await self.post(channel, post, metadata, thread, aloud=aloud)

    async def change(self, channel: str, ts: str, post: Post) -> None:
        """Show something else in a message of ours. Raises Later or SlackApiError."""

        async def update(blocks: list[mrkdwn.Block] | None) -> AsyncSlackResponse:
            await self.updates.acquire()
            return await self.client.chat_update(channel=channel, ts=ts, text=post.text, blocks=blocks)

        await self.call(update, post)

    async def delete(self, channel: str, ts: str) -> None:
        """Delete a message of ours. Raises Later or SlackApiError."""
        await self.call(lambda _: self.client.chat_delete(channel=channel, ts=ts), Post(""))

    async def post(
        self,
        channel: str,
        post: Post,
        metadata: Mapping[str, Any],
        thread: str | None = None,
        *,
        aloud: bool = False,
    ) -> AsyncSlackResponse:
        """Raises Later or SlackApiError."""
        return await self.call(
            lambda blocks: self.client.chat_postMessage(
                channel=channel,
                text=post.text,
                blocks=blocks,
                thread_ts=thread,
                reply_broadcast=True if thread and aloud else None,
                metadata=dict(metadata),
                unfurl_links=False,
                unfurl_media=False,
            ),
            post,
        )

    async def call(
        self, call: Callable[[list[mrkdwn.Block] | None], Awaitable[AsyncSlackResponse]], post: Post
    ) -> AsyncSlackResponse:
        """Raises Later for a temporary failure, SlackApiError for any other."""
        if not await self.ours():
            raise Later(1.0)
        *others, last = self._drawings(post)
        for blocks in others:
            try:
                answer = await self._answered(call(blocks or None))
            except SlackApiError as error:
                if error_code(error) not in BAD_BLOCKS:
                    raise
                log.error("Slack did not take our blocks", error=error_code(error))
                continue
            if has_chart(post.blocks) and not has_chart(blocks):
                self._no_charts_until = time.monotonic() + CHARTS_AGAIN
            return answer
        return await self._answered(call(last or None))

    def _drawings(self, post: Post) -> Iterator[list[mrkdwn.Block]]:
        """Yield the blocks, then without their charts if they have any, then in the plainest way.

        Slack brings charts to one workspace after the other. One that has just refused them is not asked each time.
        """
        if not has_chart(post.blocks):
            yield post.blocks
        elif time.monotonic() >= self._no_charts_until:
            yield from (post.blocks, without_charts(post.blocks))
        else:
            yield without_charts(post.blocks)
        yield post.plainest

    async def _answered(self, asked: Awaitable[AsyncSlackResponse]) -> AsyncSlackResponse:
        """Raises as `call` does."""
        try:
            answer = await asked
        except SlackApiError as error:
            raise self._sorted(error) from None
        except UNREACHABLE as error:
            log.warning("Slack cannot be reached", error=error_name(error))
            raise Later(5.0) from None
        self.dead = None
        return answer

    def _sorted(self, error: SlackApiError) -> Exception:
        if (wait := wait_asked(error)) is not None:
            log.info("Slack cannot take a call now", error=error_name(error), wait=wait)
            return Later(wait)
        if error_code(error) in DEAD_TOKEN:
            log.error("Slack does not know us any more", error=error_code(error))
            self.dead = error_code(error)
            return Later(60.0)
        return error

    async def channel_of(self, place: str) -> str:
        """Return the channel to post in: for a person, the bot's direct message with them."""
        if not is_person(place):
            return place
        opened = await self.call(lambda _: self.client.conversations_open(users=place), Post(""))
        return str(opened["channel"]["id"])

    async def permalink(self, card: Card) -> str | None:
        def ask(_: list[mrkdwn.Block] | None) -> Awaitable[AsyncSlackResponse]:
            return self.client.chat_getPermalink(channel=card.channel, message_ts=card.ts)

        try:
            return str((await self.call(ask, Post("")))["permalink"])
        except SlackApiError:
            return None

    async def reader(self, channel: str, people: Iterable[str]) -> str | None:
        """Return which of these people this direct message is with."""
        for person in dict.fromkeys(people):
            with suppress(SlackApiError):
                if await self.channel_of(person) == channel:
                    return person
        return None

    async def why_closed_if_known(self, channel: str) -> Translatable | None:
        """Return why the channel is closed; None if it is open, or if Slack does not say."""
        try:
            return await self.people.why_closed(channel)
        except DirectoryUnavailable:
            return None


def is_person(place: str) -> bool:
    return place[:1] in ("U", "W")
