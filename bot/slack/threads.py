"""Keeps each card and its thread up to date within Slack's limits. What is to be shown lies in the store; a crash,
an outage or a rate limit only delays it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import structlog
from aiohttp import ClientError
from aiolimiter import AsyncLimiter
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse
from sqlalchemy import Connection

from bot import store
from bot.broadcast import SECOND, Broadcast, Clock, Micros, Sentence, State
from bot.database import Database
from bot.slack import views
from bot.slack.views import Post, Showing
from bot.store import Card, PendingNote, PendingPost, Vote
from bot.words import Words

log = structlog.get_logger(__name__)

AT_ONCE = 20
CARD_PAUSE = 2 * SECOND  # between two drawings of one card
UPDATES_A_MINUTE = 50  # `chat.update` of all cards of a workspace together
LONGEST_PAUSE = 300 * SECOND
POSTING = 60 * SECOND  # what one process has taken to post is left alone by the others for so long
MAX_TRIES = 20
PAINT_LEASE = 20.0  # seconds; a call to Slack takes 15 at the most

#: Nobody can be told there any more.
NO_PLACE = frozenset({"is_archived", "is_inactive", "not_in_channel", "channel_not_found"})
ASKING = frozenset({State.PENDING, State.HELD, State.UNKNOWN})  # these wait for somebody to press a button
BAD_BLOCKS = frozenset({"invalid_blocks", "msg_blocks_too_long", "invalid_blocks_format", "block_mismatch"})

ShowingOf = Callable[[Broadcast, list[Vote]], Showing]


class Later(Exception):
    """Slack cannot take it now; again at `at`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Threads:
    """One painter. `paint` makes one pass; what could not be shown stays in the store for the next one."""

    def __init__(
        self,
        database: Database,
        client: AsyncWebClient,
        showing_of: ShowingOf,
        words: Words,
        clock: Clock,
        owner: str = "painter",
    ) -> None:
        self.database, self.client, self.showing_of, self.owner = database, client, showing_of, owner
        self._ours_until = 0.0
        self.words, self.clock = words, clock
        self._updates = AsyncLimiter(UPDATES_A_MINUTE, 60)
        self._quiet_until: Micros = 0

    async def paint(self) -> None:
        """Draw the cards that are behind, then post what their threads, and other places, have not been told."""
        if self.clock() < self._quiet_until or not await self.database.read(self._waits) or not await self._ours():
            return
        try:
            for row in await self.database.read(lambda c: store.cards_to_draw(c, self.clock(), AT_ONCE)):
                await self._draw(row)
            await self._post_notes()
            await self._post_posts()
        except Later as later:
            self._quiet_until = self.clock() + min(int(later.seconds * SECOND), LONGEST_PAUSE)

    def _waits(self, connection: Connection) -> bool:
        return store.showing_waits(connection, self.clock())

    async def _ours(self) -> bool:
        """Of several processes one paints at a time: a card is posted once, and Slack's limits are for all of them.

        Asked again before every call, so that one is never begun with less of the lease left than it may take.
        """
        if self.database.exclusive or time.monotonic() < self._ours_until:
            return True
        took = await self.database.write(partial(take_lease, owner=self.owner, at=self.clock()))
        self._ours_until = time.monotonic() + PAINT_LEASE / 4 if took else 0.0
        return took

    async def let_go(self) -> None:
        """Let another process paint at once."""
        if time.monotonic() >= self._ours_until:
            return
        self._ours_until = 0.0
        try:
            await self.database.write(partial(take_lease, owner=self.owner, at=self.clock(), seconds=0.0))
        except Exception as error:
            log.info("the others wait until the lease is over", error=type(error).__name__)

    async def _post_notes(self) -> None:
        """A thread keeps its order, so each pass takes the oldest note of each broadcast until none is left."""
        while pending := await self.database.read(lambda c: store.notes_to_post(c, self.clock(), AT_ONCE)):
            for note in pending:
                await self._post_note(note)

    # --- cards -------------------------------------------------------------------------------------------------------

    async def _draw(self, row: Broadcast) -> None:
        known, votes = await self.database.read(lambda c: (store.card_of(c, row), store.votes_for(c, row)))
        post = views.card(row, self.showing_of(row, votes), self.words)
        if known is not None and not self._updates.has_capacity():
            return  # it stays behind for now, and is drawn with its last state later
        if known is not None:
            card = await self._redraw(known, post, row)
        else:
            card = await self._first_card(row, post)
        if card is not None and row.version > 1:
            await self.database.write(lambda c: store.keep_card(c, card))
            await self._shrink_older(row, card)
        await self.database.write(lambda c: self._drawn(c, row, card))

    async def _shrink_older(self, row: Broadcast, card: Card) -> None:
        """The cards of earlier versions become links to this one, so that nothing on them can be meant any more."""
        older = await self.database.read(lambda c: store.older_cards(c, row))
        link = await self._permalink(card) if older else None
        for old in older:
            post = views.moved(row, link, self.words)
            try:
                await self.change(old.channel, old.ts, post)
            except SlackApiError as error:
                log.warning("an older card could not be shrunk", broadcast=row.id, error=_code(error))
            await self.database.write(partial(store.keep_card, card=replace(old, drawn=store.SHRUNK)))

    async def _permalink(self, card: Card) -> str | None:
        def ask(_: list[views.Block] | None) -> Awaitable[AsyncSlackResponse]:
            return self.client.chat_getPermalink(channel=card.channel, message_ts=card.ts)

        try:
            return str((await self._call(ask, Post("")))["permalink"])
        except SlackApiError:
            return None

    def _drawn(self, connection: Connection, row: Broadcast, card: Card | None) -> None:
        if card is not None:
            store.keep_card(connection, card)
        store.drawn(connection, row, again_at=self.clock() + CARD_PAUSE)

    async def _redraw(self, known: Card, post: Post, row: Broadcast) -> Card | None:
        try:
            await self.change(known.channel, known.ts, post)
        except SlackApiError as error:
            return await self._lost_card(error, row, post)
        return Card(known.workspace, known.broadcast, known.version, known.channel, known.ts, row.revision)

    async def _lost_card(self, error: SlackApiError, row: Broadcast, post: Post) -> Card | None:
        """Somebody deleted the card, or nobody can press its buttons any more where it stands: the broadcast gets a
        new one, so that it never goes on unseen, and never asks where nobody can answer."""
        deleted = _code(error) == "message_not_found" and not row.ended
        if deleted or (_code(error) in NO_PLACE and row.state in ASKING):
            return await self._first_card(row, post)
        log.warning("a card could not be drawn", broadcast=row.id, error=_code(error))
        return None

    async def _first_card(self, row: Broadcast, post: Post) -> Card | None:
        try:
            answer = await self._say(row.channel, post, row, kind="broadcast_card")
        except SlackApiError as error:
            return await self._card_by_dm(error, row, post)
        return Card(
            row.workspace, row.id, row.version, str(answer.get("channel") or row.channel), answer["ts"], row.revision
        )

    async def _card_by_dm(self, error: SlackApiError, row: Broadcast, post: Post) -> Card | None:
        """The channel is gone. The broadcast is unaffected; who asked for it is told directly."""
        log.warning("a card has no place", broadcast=row.id, error=_code(error))
        try:
            answer = await self._say(await self._channel_of(row.requester), post, row, kind="broadcast_card")
        except SlackApiError as second:
            log.error("nobody can be told", broadcast=row.id, error=_code(second))
            return None
        return Card(row.workspace, row.id, row.version, answer["channel"], answer["ts"], row.revision)

    # --- notes -------------------------------------------------------------------------------------------------------

    async def _post_note(self, pending: PendingNote) -> None:
        row, card = await self.database.read(lambda c: self._where(c, pending))
        if card is None:
            await self._put_off(pending, row, 2 * SECOND)
            return
        post = views.note(pending.note, row, self.words)
        try:
            answer = await self._say(
                card.channel, post, row, kind="broadcast_note", thread=card.ts, aloud=pending.note.aloud
            )
        except SlackApiError as error:
            log.warning("a thread could not be told", broadcast=row.id, error=_code(error))
            pause = None if _code(error) in NO_PLACE else min(5 * SECOND * 2**pending.tries, LONGEST_PAUSE)
            await self._put_off(pending, row, pause)
            return
        await self.database.write(partial(self._posted, pending=pending, row=row, card=card, ts=str(answer["ts"])))

    def _where(self, connection: Connection, pending: PendingNote) -> tuple[Broadcast, Card | None]:
        row = store.find(connection, pending.workspace, pending.broadcast)
        return row, store.card_of(connection, row)

    def _posted(self, connection: Connection, pending: PendingNote, row: Broadcast, card: Card, ts: str) -> None:
        """A thread in a direct message is read by the requester alone."""
        store.note_posted(connection, pending.seq, ts)
        if card.channel.startswith("D"):
            self._tell_directly(connection, pending, row, but=row.requester)

    async def _put_off(self, pending: PendingNote, row: Broadcast, pause: Micros | None) -> None:
        """After some tries, or without a `pause` at once, there is no thread for it: people are told directly."""
        if pause is not None and pending.tries < MAX_TRIES:
            again = self.clock() + pause
            await self.database.write(lambda c: store.note_failed(c, pending.seq, again))
            return

        def tell(connection: Connection) -> None:
            store.note_failed(connection, pending.seq, None)
            self._tell_directly(connection, pending, row)

        await self.database.write(tell)

    def _tell_directly(
        self, connection: Connection, pending: PendingNote, row: Broadcast, but: str | None = None
    ) -> None:
        """The requester, whoever the note names, and for an end those who approved, each once and in its order."""
        note = pending.note
        approvers = [vote.approver for vote in store.votes_for(connection, row)] if note.aloud else []
        told = Sentence("About *{id}*: {told}", {"id": row.id, "told": note.sentence})
        for person in dict.fromkeys([row.requester, *(note.mention or "").split(), *approvers]):
            if person != but and _is_person(person):
                store.post(connection, row.workspace, f"note:{pending.seq}:{person}", person, told, None, self.clock())

    # --- the outbox --------------------------------------------------------------------------------------------------

    async def _post_posts(self) -> None:
        """What belongs to no card, one after the other. What Slack cannot take now keeps its tries."""
        while await self.database.read(lambda c: store.posts_wait(c, self.clock())):
            now = self.clock()
            pending = await self.database.write(partial(store.take_post, at=now, again_at=now + POSTING))
            if pending is None:  # another process has it
                return
            try:
                await self._post_one(pending)
            except Later as later:
                again = self.clock() + int(later.seconds * SECOND)
                await self.database.write(partial(store.put_off_post, seq=pending.seq, again_at=again))
                raise

    async def _post_one(self, pending: PendingPost) -> None:
        post = views.message(pending.sentence, pending.mention, self.words)
        metadata = {"event_type": "broadcast_post", "event_payload": {"id": str(pending.seq)}}
        try:
            answer = await self.post(await self._channel_of(pending.place), post, metadata)
        except SlackApiError as error:
            log.warning("a place could not be told", place=pending.place, error=_code(error))
            await self.database.write(partial(self._post_failed, pending=pending, code=_code(error)))
            return
        await self.database.write(partial(store.post_made, seq=pending.seq, ts=answer["ts"]))

    def _post_failed(self, connection: Connection, pending: PendingPost, code: str) -> None:
        """Whoever it names in a channel that is gone is told directly."""
        now, person = self.clock(), _is_person(pending.place)
        over = pending.tries >= MAX_TRIES or (code in NO_PLACE and not person)
        again = None if over else now + min(5 * SECOND * 2**pending.tries, LONGEST_PAUSE)
        store.post_failed(connection, pending.seq, again)
        named = (pending.mention or "").split() if over and not person else []
        for one in filter(_is_person, named):
            store.post(connection, pending.workspace, f"post:{pending.seq}:{one}", one, pending.sentence, None, now)

    async def _channel_of(self, place: str) -> str:
        """A person is told in the direct message that the bot has with them."""
        if not _is_person(place):
            return place
        opened = await self._call(lambda _: self.client.conversations_open(users=place), Post(""))
        return str(opened["channel"]["id"])

    # --- Slack -------------------------------------------------------------------------------------------------------

    async def _say(
        self, channel: str, post: Post, row: Broadcast, *, kind: str, thread: str | None = None, aloud: bool = False
    ) -> AsyncSlackResponse:
        # Ids only: other apps in the channel can read metadata.
        metadata = {"event_type": kind, "event_payload": {"id": row.id, "version": row.version}}
        return await self.post(channel, post, metadata, thread, aloud=aloud)

    async def change(self, channel: str, ts: str, post: Post) -> None:
        """Show something else in a message of ours. Raises Later or SlackApiError."""
        await self._updates.acquire()
        await self._call(
            lambda blocks: self.client.chat_update(channel=channel, ts=ts, text=post.text, blocks=blocks), post
        )

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
        return await self._call(
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

    async def _call(
        self, call: Callable[[list[views.Block] | None], Awaitable[AsyncSlackResponse]], post: Post
    ) -> AsyncSlackResponse:
        """Raises Later for what passes, SlackApiError for what does not."""
        if not await self._ours():
            raise Later(1.0)
        try:
            return await call(post.blocks or None)
        except SlackApiError as error:
            if _code(error) in BAD_BLOCKS:
                log.error("Slack did not take our blocks", error=_code(error))
                return await call(None)
            raise self._sorted(error) from None
        except (ClientError, TimeoutError, OSError) as error:
            log.warning("Slack cannot be reached", error=type(error).__name__)
            raise Later(5.0) from None

    def _sorted(self, error: SlackApiError) -> Exception:
        status = error.response.status_code
        if status == 429:
            return Later(float(error.response.headers.get("Retry-After", 1)))
        if status >= 500 or _code(error) in ("internal_error", "fatal_error", "service_unavailable"):
            return Later(5.0)
        if _code(error) in ("invalid_auth", "account_inactive", "token_revoked", "token_expired", "not_authed"):
            log.error("Slack does not know us any more", error=_code(error))
            return Later(60.0)
        return error


def take_lease(connection: Connection, owner: str, at: Micros, seconds: float | None = None) -> bool:
    now = store.database_time(connection) or at
    return store.take_lease(connection, "paint", owner, PAINT_LEASE if seconds is None else seconds, now)


def _code(error: SlackApiError) -> str:
    try:
        return str(error.response.get("error") or "")
    except ValueError:
        return ""


def _is_person(place: str) -> bool:
    return place[:1] in ("U", "W")
