"""Keeps each card and its thread up to date within Slack's limits. What is to be shown lies in the store; a crash,
an outage or a rate limit only delays it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
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

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Micros
from bot.domain.errors import NotFound
from bot.domain.i18n import Translatable, Words
from bot.domain.lifecycle import Action, State
from bot.domain.people import CannotTell, Directory
from bot.slack import views
from bot.slack.people import DEAD_TOKEN
from bot.slack.views import Post, Showing
from bot.storage import broadcasts, cards, keys, notes, outbox, queue, sql
from bot.storage.broadcast_rows import NOT_AGREED, Changes
from bot.storage.cards import Card
from bot.storage.database import Busy, Unsure
from bot.storage.notes import PendingNote
from bot.storage.outbox import PendingPost
from bot.storage.votes import Vote, votes_for
from bot.workflow.deadlines import draft_notice
from bot.workflow.deeds import Drawing
from bot.workflow.sights import within
from bot.workflow.workflow import Workflow

log = structlog.get_logger(__name__)

AT_ONCE = 20
CLOCKS_APART = 2 * SECOND
CARD_PAUSE = 2 * SECOND  # between two drawings of one card
UPDATES, UPDATES_AGAIN = 10, 15  # `chat.update` at once, and in so many seconds again: never over 50 in any minute
LONGEST_PAUSE = 300 * SECOND
POSTING = 60 * SECOND  # what one process has taken to post is left alone by the others for so long
MAX_TRIES = 20
UNKNOWN_TRIES = 3  # at a place that Slack refuses with a word that we do not know
PAINT_LEASE = 20.0  # seconds; a call to Slack takes 15 at the most

#: Nobody can be told there any more.
NO_PLACE = frozenset({"is_archived", "is_inactive", "not_in_channel", "channel_not_found"})
#: We are there, and may not post there.
NOT_LET = frozenset(
    {
        *("restricted_action", "restricted_action_read_only_channel", "restricted_action_thread_only_channel"),
        *("restricted_action_non_threadable_channel", "no_permission", "ekm_access_denied", "team_access_not_granted"),
        *("posting_to_general_channel_denied", "access_denied", "not_allowed", "messages_tab_disabled"),
    }
)
#: A message of ours that is there and cannot be changed any more.
UNEDITABLE = frozenset({"cant_update_message", "edit_window_closed", "message_not_found"})
ASKING = frozenset({State.PENDING, State.HELD, State.UNKNOWN})  # these wait for somebody to press a button
UNDER_WAY = ASKING | {State.SCHEDULED, State.SENDING}
BAD_BLOCKS = frozenset({"invalid_blocks", "msg_blocks_too_long", "invalid_blocks_format", "block_mismatch"})
NOT_HERE = "Slack does not let me post in {channel}."
ELSEWHERE = "*{id}* asks something that nobody here can answer, so I asked somebody who can in a direct message."
RETURNED = (
    "{why} *{id}* cannot be approved there, so I kept it as a draft. Fix that and open the draft, or type "
    "`/broadcast edit {id}` in another channel that I am in."
)
RETURNED_TO_ALL = (
    "{why} *{id}* cannot be approved in {channel}, where all cards stand, so I kept it as a draft. Ask an admin to put "
    "that right, then open the draft."
)

ShowingOf = Callable[[Broadcast, list[Vote]], Awaitable[Showing]]
Facts = Mapping[str, str | int | None]


class Later(Exception):
    """Slack cannot take it now; again after so many `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class NobodyToAsk(Exception):
    """What asks could be shown to nobody who may answer."""


PASSING = (Later, Busy, Unsure)  # these are no trouble of what is being shown


class Poster:
    """Everything that the painters ask of Slack, with the manners that it wants: one process at a time, at its pace.

    `dead`: Slack's word for it, where it takes our token no more.
    """

    def __init__(self, runtime: Runtime, client: AsyncWebClient, people: Directory) -> None:
        self.database, self.clock, self.owner = runtime.database, runtime.clock, runtime.owner
        self.client, self.people = client, people
        self.dead: str | None = None
        self._ours_until = 0.0
        self.updates = AsyncLimiter(UPDATES, UPDATES_AGAIN)

    async def ours(self) -> bool:
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

    def alone(self, work: str, id: object, workspace: str) -> AbstractContextManager[None]:
        """What cannot be shown keeps nothing else from being shown."""
        return self.database.troubles.alone(work, id, workspace, but=PASSING)

    async def say(
        self, channel: str, post: Post, row: Broadcast, *, kind: str, thread: str | None = None, aloud: bool = False
    ) -> AsyncSlackResponse:
        # Ids only: other apps in the channel can read metadata.
        metadata = {"event_type": kind, "event_payload": {"id": row.id, "version": row.version}}
        return await self.post(channel, post, metadata, thread, aloud=aloud)

    async def change(self, channel: str, ts: str, post: Post) -> None:
        """Show something else in a message of ours. Raises Later or SlackApiError."""
        await self.updates.acquire()
        await self.call(
            lambda blocks: self.client.chat_update(channel=channel, ts=ts, text=post.text, blocks=blocks), post
        )

    async def delete(self, channel: str, ts: str) -> None:
        """Take a message of ours away. Raises Later or SlackApiError."""
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
        self, call: Callable[[list[views.Block] | None], Awaitable[AsyncSlackResponse]], post: Post
    ) -> AsyncSlackResponse:
        """Raises Later for what passes, SlackApiError for what does not."""
        if not await self.ours():
            raise Later(1.0)
        try:
            return await self._answered(call(post.blocks or None))
        except SlackApiError as error:
            if _code(error) not in BAD_BLOCKS:
                raise
            log.error("Slack did not take our blocks", error=_code(error))
        return await self._answered(call(post.plainest or None))

    async def _answered(self, asked: Awaitable[AsyncSlackResponse]) -> AsyncSlackResponse:
        """Raises as `_call` does."""
        try:
            answer = await asked
        except SlackApiError as error:
            raise self._sorted(error) from None
        except (ClientError, TimeoutError, OSError) as error:
            log.warning("Slack cannot be reached", error=type(error).__name__)
            raise Later(5.0) from None
        self.dead = None
        return answer

    def _sorted(self, error: SlackApiError) -> Exception:
        status = error.response.status_code
        if status == 429:
            return Later(_seconds(error.response.headers.get("Retry-After")))
        if status >= 500 or _code(error) in ("internal_error", "fatal_error", "service_unavailable"):
            return Later(5.0)
        if _code(error) in DEAD_TOKEN:
            log.error("Slack does not know us any more", error=_code(error))
            self.dead = _code(error)
            return Later(60.0)
        return error

    async def channel_of(self, place: str) -> str:
        """A person is told in the direct message that the bot has with them."""
        if not _is_person(place):
            return place
        opened = await self.call(lambda _: self.client.conversations_open(users=place), Post(""))
        return str(opened["channel"]["id"])

    async def permalink(self, card: Card) -> str | None:
        def ask(_: list[views.Block] | None) -> Awaitable[AsyncSlackResponse]:
            return self.client.chat_getPermalink(channel=card.channel, message_ts=card.ts)

        try:
            return str((await self.call(ask, Post("")))["permalink"])
        except SlackApiError:
            return None

    async def reader(self, channel: str, people: Iterable[str]) -> str | None:
        """Which of these people it is that this direct message is with."""
        for person in dict.fromkeys(people):
            with suppress(SlackApiError):
                if await self.channel_of(person) == channel:
                    return person
        return None

    async def why_closed_if_told(self, channel: str) -> Translatable | None:
        """What Slack does not tell closes nothing that is open already."""
        try:
            return await self.people.why_closed(channel)
        except CannotTell:
            return None


class Cards:
    """Posts the cards of new broadcasts, and draws anew those whose broadcast has changed."""

    def __init__(self, poster: Poster, workflow: Workflow, showing_of: ShowingOf, words: Words) -> None:
        self.poster, self.database, self.clock, self.words = poster, poster.database, poster.clock, words
        self.desk, self.approvers, self.showing_of = workflow.desk, workflow.approvers, showing_of
        self.approvals = workflow.desk.settings.approval.channel

    async def post_cards(self) -> None:
        for row in await self.database.read(lambda c: cards.cards_to_draw(c, self.clock(), AT_ONCE, new=True)):
            with self.poster.alone("card", cards.drawing_of(row), row.workspace):
                await self._draw(row)

    async def redraw_cards(self) -> None:
        """As many as Slack's limit lets through; the others stay behind, and are drawn with their last state later."""
        for row in await self.database.read(lambda c: cards.cards_to_draw(c, self.clock(), AT_ONCE, new=False)):
            if not self.poster.updates.has_capacity():
                return
            with self.poster.alone("card", cards.drawing_of(row), row.workspace):
                await self._draw(row)

    async def _draw(self, row: Broadcast) -> None:
        known, votes = await self.database.read(lambda c: (cards.card_of(c, row), votes_for(c, row)))
        showing, facts = await self.showing_of(row, votes), dict(self.desk.facts(row, self.clock()))
        drawing = self._drawing(row, known, facts)
        post = views.card(row, replace(showing, since=drawing.since), self.words)
        stale_at = views.stale_at(row, showing)
        if known is not None:
            card = await self._redraw(known, post, row)
        else:
            card = await self._first_card(row, post)
        if card is not None:
            card = replace(card, facts={**facts, "drawing": drawing, "since": self._since(card, known, drawing)})
        if card is not None and row.version > 1:
            await self.database.write(lambda c: cards.keep_card(c, card))
            await self._shrink_older(row, card)
        await self.database.write(lambda c: self._drawn(c, row, card, stale_at))
        if known is not None and card is not None and not _is_same(known, card):
            await self._take_away(known, row, card)

    def _drawing(self, row: Broadcast, known: Card | None, facts: Facts) -> Drawing:
        """The first one that showed no more than these facts; this one, if it is."""
        shown = known.facts if known is not None and known.facts is not None else {}
        if "drawing" in shown and within(shown, facts):
            return Drawing(*shown["drawing"])
        return Drawing(row.revision, self.clock())

    def _since(self, card: Card, known: Card | None, drawing: Drawing) -> Micros:
        """When the message came to show that, by Slack's clock, which may be some seconds apart from ours."""
        if known is None or not _is_same(known, card):
            return 0  # it has never shown anything else
        shown = known.facts or {}
        stands = "drawing" in shown and Drawing(*shown["drawing"]) == drawing
        return int(shown["since"]) if stands else self.clock() + CLOCKS_APART

    async def _take_away(self, old: Card, row: Broadcast, card: Card) -> None:
        """Of two cards of one version the older one shows what was. No press on it counts, whether it can go or not."""
        try:
            if _is_direct(card) and not _is_direct(old) and await self.poster.why_closed_if_told(old.channel) is None:
                told = self.words(ELSEWHERE, id=row.id)
                await self.poster.change(old.channel, old.ts, Post(told, [views.section(told)]))
                return
        except (Later, SlackApiError) as error:
            log.info("an older card could not be shrunk", broadcast=old.broadcast, error=type(error).__name__)
        try:
            await self.poster.delete(old.channel, old.ts)
        except (Later, SlackApiError) as error:
            log.info("an older card could not be taken away", broadcast=old.broadcast, error=type(error).__name__)

    async def _shrink_older(self, row: Broadcast, card: Card) -> None:
        """The cards of earlier versions become links to this one, so that nothing on them can be meant any more."""
        older = await self.database.read(lambda c: cards.older_cards(c, row))
        link = await self.poster.permalink(card) if older else None
        for old in older:
            await self._shrink(old, row, link)

    async def _shrink(self, old: Card, row: Broadcast, link: str | None) -> None:
        try:
            await self.poster.change(old.channel, old.ts, views.moved(row, link, self.words))
        except SlackApiError as error:
            log.warning("an older card could not be shrunk", broadcast=row.id, error=_code(error))
        await self.database.write(partial(cards.keep_card, card=replace(old, drawn=cards.SHRUNK)))

    def _drawn(self, connection: Connection, row: Broadcast, card: Card | None, stale_at: Micros | None) -> None:
        if card is not None:
            cards.keep_card(connection, card)
        cards.drawn(connection, row, again_at=self.clock() + CARD_PAUSE, stale_at=stale_at)

    async def _redraw(self, known: Card, post: Post, row: Broadcast) -> Card | None:
        if await self._asks_out_of_sight(row, known.channel):
            return await self._first_card(row, post, known)
        if not known.channel.startswith("D"):
            why = await self._why_not_here(row, known.channel)
            if why is not None and row.state in UNDER_WAY:
                return await self._without_place(row, post, why, known)
            if why is not None:  # what came of it is told directly, and what stood there stays as it was
                return None
        try:
            await self.poster.change(known.channel, known.ts, post)
        except SlackApiError as error:
            return await self._lost_card(error, known, row, post)
        return Card(known.workspace, known.broadcast, known.version, known.channel, known.ts, row.revision)

    async def _lost_card(self, error: SlackApiError, known: Card, row: Broadcast, post: Post) -> Card | None:
        """Somebody deleted the card, or it can be changed no more, or nobody can press its buttons where it stands: the
        broadcast gets a new one, so that it never goes on unseen, and never asks where nobody can answer.

        A word of Slack's that we do not know is no proof of anything: what asks gets a new card, the rest is tried
        again.
        """
        code = _code(error)
        listed = code in NO_PLACE | NOT_LET | UNEDITABLE
        if row.state in ASKING or (code == "message_not_found" and not row.ended):
            return await self._first_card(row, post, known)
        if not listed and self.database.troubles.tries("card", cards.drawing_of(row)) < UNKNOWN_TRIES:
            raise error
        log.warning("a card could not be drawn", broadcast=row.id, error=code)
        return None

    async def _first_card(self, row: Broadcast, post: Post, known: Card | None = None) -> Card | None:
        why = await self._why_not_here(row, row.channel)
        if why is None:
            try:
                return _card(row, await self.poster.say(row.channel, post, row, kind="broadcast_card"))
            except SlackApiError as error:
                why = self._why_not(error, row)
        return await self._without_place(row, post, why, known)

    async def _asks_out_of_sight(self, row: Broadcast, channel: str) -> bool:
        """Does it stand in a direct message with somebody who may not answer, or has left? What Slack does not tell
        takes nothing away."""
        if row.state not in ASKING or not channel.startswith("D"):
            return False
        if row.state is State.PENDING:
            return row.mode != "training"
        try:
            async for person in self.approvers.who_answers(row):
                if await self.poster.reader(channel, (person,)) is not None:
                    return False
        except CannotTell:
            return False
        return True

    async def _why_not_here(self, row: Broadcast, channel: str) -> Translatable | None:
        """Why its card may not stand there, or nobody could press its buttons."""
        why = await self.poster.why_closed_if_told(channel)
        return await self.approvers.why_stuck_now(row) if why is None and row.state in ASKING else why

    def _why_not(self, error: SlackApiError, row: Broadcast) -> Translatable:
        """Why no card can stand there, for whoever has to change that. Raises the error while it may be passing."""
        code = _code(error)
        log.warning("a card has no place", broadcast=row.id, error=code)
        if (
            code not in NO_PLACE | NOT_LET
            and self.database.troubles.tries("card", cards.drawing_of(row)) < UNKNOWN_TRIES
        ):
            raise error
        return Translatable(NOT_HERE, channel=f"<#{row.channel}>")

    async def _without_place(self, row: Broadcast, post: Post, why: Translatable, known: Card | None) -> Card | None:
        """What waits for approval goes back to its writer, since nobody could give it; anything else is shown to
        whoever may act on it, directly. Raises NobodyToAsk where it asks, and nobody can be reached."""
        if row.state is State.PENDING:
            await self.database.write(lambda c: self._return(c, row, why))
            if known is not None:
                await self._shrink(known, row, None)
            return None
        async for person in self.approvers.who_acts(row):
            try:
                return _card(
                    row, await self.poster.say(await self.poster.channel_of(person), post, row, kind="broadcast_card")
                )
            except SlackApiError as error:
                log.error("a person could not be told", broadcast=row.id, error=_code(error))
        if row.state in ASKING:
            raise NobodyToAsk(row.id)
        return None

    def _return(self, connection: Connection, row: Broadcast, why: Translatable) -> None:
        """Kept as a draft, with the fix. A new version, so that no vote and no button of the old card means it."""
        now = self.clock()
        changes: Changes = {**NOT_AGREED, "version": row.version + 1, "expires_at": None, "draw_at": None}
        changes["voice_at"] = draft_notice(now)
        if broadcasts.move(connection, row, Action.RETURN, actor="slack", at=now, reason=None, **changes) is None:
            return
        notes.drop_notes(connection, row)
        template = RETURNED if self.approvals is None else RETURNED_TO_ALL
        told = Translatable(template, why=why, id=row.id, channel=f"<#{row.channel}>")
        key = f"return:{row.id}:{row.version}"
        outbox.post(connection, row.workspace, key, row.requester, told, None, now, draft=row.id)


class Threads:
    """Posts the notes of broadcasts under their cards, each thread in its order."""

    def __init__(self, poster: Poster, words: Words) -> None:
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
        if not direct and await self.poster.why_closed_if_told(card.channel) is not None:
            await self._put_off(pending, row, None)
            return
        reader = await self.poster.reader(card.channel, (row.requester, *voters)) if direct else None
        unseen = [] if direct else await self._who_do_not_see(card.channel, pending)
        post = views.note(pending.note, row, self.words)
        try:
            answer = await self.poster.say(
                card.channel, post, row, kind="broadcast_note", thread=card.ts, aloud=pending.note.aloud
            )
        except SlackApiError as error:
            log.warning("a thread could not be told", broadcast=row.id, error=_code(error))
            pause = None if _code(error) in NO_PLACE | NOT_LET else min(5 * SECOND * 2**pending.tries, LONGEST_PAUSE)
            await self._put_off(pending, row, pause)
            return

        def posted(connection: Connection) -> None:
            notes.note_posted(connection, pending.seq, str(answer["ts"]))
            if direct:  # one person alone reads there
                self._tell_directly(connection, pending, row, but=reader)
            self._tell_unseen(connection, pending, row, unseen)

        await self.database.write(posted)

    def _where(self, connection: Connection, pending: PendingNote) -> tuple[Broadcast, Card | None, list[str]]:
        row = broadcasts.find(connection, pending.workspace, pending.broadcast)
        return row, cards.card_of(connection, row), [vote.approver for vote in votes_for(connection, row)]

    async def _who_do_not_see(self, channel: str, pending: PendingNote) -> list[str]:
        """Those whom the note names where they cannot read it: the channel is private, and they are not in it."""
        named = [id for id in (pending.note.mention or "").split() if _is_person(id)]
        return [id for id in named if not await self._sees(channel, id)]

    async def _sees(self, channel: str, id: str) -> bool:
        try:
            return await self.people.sees(channel, id)
        except CannotTell:
            return True

    def _tell_unseen(self, connection: Connection, pending: PendingNote, row: Broadcast, people: Iterable[str]) -> None:
        """Whoever was told the same where she asked is not told twice."""
        for person in people:
            if person != row.requester or not broadcasts.was_told_where_asked(connection, row, pending.at):
                self._tell_one(connection, pending, row, person)

    def _tell_one(self, connection: Connection, pending: PendingNote, row: Broadcast, person: str) -> None:
        told = Translatable("About *{id}*: {told}", id=row.id, told=pending.note.sentence)
        outbox.post(connection, row.workspace, f"note:{pending.seq}:{person}", person, told, None, self.clock())

    async def _put_off(self, pending: PendingNote, row: Broadcast, pause: Micros | None) -> None:
        """After some tries, or without a `pause` at once, there is no thread for it: people are told directly."""
        if pause is not None and pending.tries < MAX_TRIES:
            again = self.clock() + pause
            await self.database.write(lambda c: notes.note_failed(c, pending.seq, again))
            return

        def tell(connection: Connection) -> None:
            notes.note_failed(connection, pending.seq, None)
            self._tell_directly(connection, pending, row)

        await self.database.write(tell)

    def _tell_directly(
        self, connection: Connection, pending: PendingNote, row: Broadcast, but: str | None = None
    ) -> None:
        """The requester, whoever the note names, and for an end those who approved, each once and in its order."""
        note = pending.note
        approvers = [vote.approver for vote in votes_for(connection, row)] if note.aloud else []
        for person in dict.fromkeys([row.requester, *(note.mention or "").split(), *approvers]):
            if person != but and _is_person(person):
                self._tell_one(connection, pending, row, person)


class Outbox:
    """Posts the messages that belong to no card, one after the other."""

    def __init__(self, poster: Poster, words: Words) -> None:
        self.poster, self.database, self.clock, self.words = poster, poster.database, poster.clock, words
        self.people = poster.people

    async def post_posts(self) -> None:
        """What belongs to no card, one after the other. What Slack cannot take now keeps its tries."""
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
        if (over := await self._over(pending)) is not None:
            await self.database.write(partial(self._post_failed, pending=pending, over=over))
            return
        post = views.message(pending.sentence, pending.mention, self.words)
        if pending.draft is not None:
            post = await self._with_draft(pending, post)
        metadata = {"event_type": "broadcast_post", "event_payload": {"id": str(pending.seq)}}
        try:
            answer = await self.poster.post(await self.poster.channel_of(pending.place), post, metadata)
        except SlackApiError as error:
            log.warning("a place could not be told", place=pending.place, error=_code(error))
            over = _code(error) in NO_PLACE | NOT_LET and not _is_person(pending.place)
            await self.database.write(partial(self._post_failed, pending=pending, over=over))
            return
        await self.database.write(partial(outbox.post_made, seq=pending.seq, ts=answer["ts"]))

    async def _over(self, pending: PendingPost) -> bool | None:
        """May nothing be posted there any more? None where something may, False where Slack does not say just now: it
        may be another company's as well by now."""
        if pending.place[:1] in ("U", "W", "D"):
            return None
        try:
            return True if await self.people.why_closed(pending.place) is not None else None
        except CannotTell:
            return pending.tries >= UNKNOWN_TRIES

    async def _with_draft(self, pending: PendingPost, post: Post) -> Post:
        """With the draft's text and its button, while it is a draft."""
        try:
            row = await self.database.read(lambda c: broadcasts.find(c, pending.workspace, pending.draft or ""))
        except NotFound:
            return post
        return views.with_draft(post, row, self.words) if row.state is State.DRAFT else post

    def _post_failed(self, connection: Connection, pending: PendingPost, over: bool) -> None:
        """Again later, or it is `over`: whoever it names in a channel that is gone is told directly."""
        now, person = self.clock(), _is_person(pending.place)
        over = over or pending.tries >= MAX_TRIES
        again = None if over else now + min(5 * SECOND * 2**pending.tries, LONGEST_PAUSE)
        outbox.post_failed(connection, pending.seq, again)
        named = (pending.mention or "").split() if over and not person else []
        for one in filter(_is_person, named):
            outbox.post(connection, pending.workspace, f"post:{pending.seq}:{one}", one, pending.sentence, None, now)


class Painter:
    """Shows in Slack what the store says. What could not be shown stays there for the next pass."""

    def __init__(self, poster: Poster, workflow: Workflow, showing_of: ShowingOf, words: Words) -> None:
        self.poster, self.database, self.clock = poster, poster.database, poster.clock
        self.cards = Cards(poster, workflow, showing_of, words)
        self.threads, self.outbox = Threads(poster, words), Outbox(poster, words)
        self._quiet_until: dict[Callable[[], Awaitable[None]], Micros] = {}

    async def paint(self) -> None:
        """Post the cards that nobody has seen yet, draw those that are behind, then post what their threads, and other
        places, have not been told. What Slack is too busy for waits, and the rest goes on."""
        if not await self.database.read(self._waits) or not await self.poster.ours():
            return
        for work in (self.cards.post_cards, self.cards.redraw_cards, self.threads.post_notes, self.outbox.post_posts):
            if self.clock() < self._quiet_until.get(work, 0):
                continue
            try:
                await work()
            except Later as later:
                self._quiet_until[work] = self.clock() + min(int(later.seconds * SECOND), LONGEST_PAUSE)

    def _waits(self, connection: Connection) -> bool:
        return queue.showing_waits(connection, self.clock())


def take_lease(connection: Connection, owner: str, at: Micros, seconds: float | None = None) -> bool:
    now = sql.database_time(connection) or at
    return keys.take_lease(connection, "paint", owner, PAINT_LEASE if seconds is None else seconds, now)


def _seconds(told: str | None) -> float:
    """How long Slack asks us to wait; a little while where it does not say."""
    return float(told) if told is not None and told.isascii() and told.isdigit() else 1.0


def _card(row: Broadcast, answer: AsyncSlackResponse) -> Card:
    channel = str(answer.get("channel") or row.channel)
    return Card(row.workspace, row.id, row.version, channel, str(answer["ts"]), row.revision)


def _is_direct(card: Card) -> bool:
    """Does it stand with one person alone?"""
    return card.channel.startswith("D")


def _is_same(one: Card, other: Card) -> bool:
    return (one.channel, one.ts) == (other.channel, other.ts)


def _code(error: SlackApiError) -> str:
    try:
        return str(error.response.get("error") or "")
    except ValueError:
        return ""


def _is_person(place: str) -> bool:
    return place[:1] in ("U", "W")
