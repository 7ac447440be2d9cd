"""Posts cards, redraws them, and moves them to where people see them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_slack_response import AsyncSlackResponse
from sqlalchemy import Connection

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Micros
from bot.domain.i18n import Translatable, Translator
from bot.domain.lifecycle import Action, State
from bot.domain.people import DirectoryUnavailable
from bot.slack.blocks import mrkdwn
from bot.slack.blocks.card import draw_card, goes_stale_at, moved
from bot.slack.blocks.card_facts import CardContext
from bot.slack.blocks.mrkdwn import Post
from bot.slack.client import error_code
from bot.slack.publish.pace import PAUSE, pace_of, waits_until
from bot.slack.publish.poster import Later, Poster
from bot.storage import broadcasts, cards, notes, outbox
from bot.storage.broadcast_rows import NEW_VERSION, Changes
from bot.storage.cards import Card
from bot.storage.votes import Vote, votes_for
from bot.workflow.card_changes import within
from bot.workflow.deadlines import draft_notice
from bot.workflow.decision_types import Drawing
from bot.workflow.workflow import Workflow

log = structlog.get_logger(__name__)

AT_ONCE = 20
CLOCKS_APART = 2 * SECOND
RESERVED = 3  # changes of messages that progress leaves to decisions and ends
LONGEST_PAUSE = 300 * SECOND
POSTING = 60 * SECOND  # how long other processes leave alone what one has taken to post
MAX_TRIES = 20
UNKNOWN_TRIES = 3  # at a place that Slack refuses with an error code that we do not know

#: Error codes of a channel in which we can no longer post.
NO_PLACE = frozenset({"is_archived", "is_inactive", "not_in_channel", "channel_not_found"})

#: Error codes of a channel that we are in but may not post in.
NOT_LET = frozenset(
    {
        *("restricted_action", "restricted_action_read_only_channel", "restricted_action_thread_only_channel"),
        *("restricted_action_non_threadable_channel", "no_permission", "ekm_access_denied", "team_access_not_granted"),
        *("posting_to_general_channel_denied", "access_denied", "not_allowed", "messages_tab_disabled"),
    }
)

#: Error codes of a message of ours that can no longer be changed.
UNEDITABLE = frozenset({"cant_update_message", "edit_window_closed"})
ASKING = frozenset({State.PENDING, State.HELD, State.UNKNOWN})  # these wait for somebody to press a button
UNDER_WAY = ASKING | {State.SCHEDULED, State.SENDING}
NOT_HERE = "Slack does not let me post in {channel}."
ELSEWHERE = "*{id}* needs an answer that nobody here can give, so I sent a direct message to somebody who can."
RETURNED = (
    "{why} *{id}* cannot be approved there, so I kept it as a draft. Fix this and open the draft, or type `/broadcast "
    "edit {id}` in another channel that I am in."
)
RETURNED_TO_ALL = (
    "{why} *{id}* cannot be approved in {channel}, where all cards go, so I kept it as a draft. Ask an admin to fix "
    "this, then open the draft."
)

ShowingOf = Callable[[Broadcast, list[Vote]], Awaitable[CardContext]]
Facts = Mapping[str, str | int | None]


class NobodyToAsk(Exception):
    """A broadcast needs an answer, and nobody who may answer can be reached."""


class Cards:
    """Posts the cards of new broadcasts, and redraws those whose broadcast has changed."""

    def __init__(self, poster: Poster, workflow: Workflow, showing_of: ShowingOf, words: Translator) -> None:
        self.poster, self.database, self.clock, self.words = poster, poster.database, poster.clock, words
        self.audiences, self.approvers, self.showing_of = workflow.audiences, workflow.approvers, showing_of
        self.approvals = workflow.audiences.settings.approval.channel

    async def post_cards(self) -> None:
        for row in await self.database.read(lambda c: cards.cards_to_draw(c, self.clock(), AT_ONCE, new=True)):
            with self.poster.alone("card", cards.drawing_of(row), row.workspace):
                await self._draw(row)

    async def redraw_cards(self) -> None:
        """Redraw as many cards as Slack's limit allows. The others are drawn later, in their latest state."""
        for row in await self.database.read(lambda c: cards.cards_to_draw(c, self.clock(), AT_ONCE, new=False)):
            if not self.poster.updates.has_capacity(RESERVED + 1 if row.state is State.SENT else 1):
                continue
            with self.poster.alone("card", cards.drawing_of(row), row.workspace):
                await self._draw(row)

    async def _draw(self, row: Broadcast) -> None:
        known, votes = await self.database.read(lambda c: (cards.card_of(c, row), votes_for(c, row)))
        shown = (known.facts if known is not None else None) or {}
        if (later := waits_until(row, shown, self.clock())) is not None:
            await self.database.write(lambda c: cards.put_off(c, row, later))
            return
        showing, facts = await self.showing_of(row, votes), dict(self.audiences.facts(row, self.clock()))
        drawing = self._drawing(row, known, facts)
        showing = await self._with_links(replace(showing, since=drawing.since))
        post = draw_card(row, showing, self.words)
        stale_at = goes_stale_at(row, showing)
        if known is not None:
            card = await self._redraw(known, post, row)
        else:
            card = await self._first_card(row, post)
        if card is not None:
            seen = {"drawing": drawing, "since": self._since(card, known, drawing), **pace_of(row, shown, self.clock())}
            card = replace(card, facts={**facts, **seen})
        if card is not None and row.version > 1:
            await self.database.write(lambda c: cards.keep_card(c, card))
            await self._shrink_older(row, card)
        await self.database.write(lambda c: self._drawn(c, row, card, stale_at))
        if known is not None and card is not None and not _is_same(known, card):
            await self._take_away(known, row, card)

    async def _with_links(self, showing: CardContext) -> CardContext:
        duplicate, counterpart = await self._link_to(showing.duplicate), await self._link_to(showing.counterpart)
        return replace(showing, duplicate_link=duplicate, counterpart_link=counterpart)

    async def _link_to(self, other: Broadcast | None) -> str | None:
        """Return the link to the card of another broadcast, if it has one."""
        card = await self.database.read(lambda c: cards.card_of(c, other)) if other is not None else None
        return await self.poster.permalink(card) if card is not None else None

    def _drawing(self, row: Broadcast, known: Card | None, facts: Facts) -> Drawing:
        """Return the known drawing if it showed no less than these facts, else a new one."""
        shown = known.facts if known is not None and known.facts is not None else {}
        if "drawing" in shown and within(shown, facts):
            return Drawing(*shown["drawing"])
        return Drawing(row.revision, self.clock())

    def _since(self, card: Card, known: Card | None, drawing: Drawing) -> Micros:
        """Return since when the message shows this, by Slack's clock, which may differ from ours by some seconds."""
        if known is None or not _is_same(known, card):
            return 0  # it has never shown anything else
        shown = known.facts or {}
        stands = "drawing" in shown and Drawing(*shown["drawing"]) == drawing
        return int(shown["since"]) if stands else self.clock() + CLOCKS_APART

    async def _take_away(self, old: Card, row: Broadcast, card: Card) -> None:
        """Remove the older of two cards of one version: it is out of date. No press on it counts, even if it stays."""
        try:
            if _is_direct(card) and not _is_direct(old) and await self.poster.why_closed_if_known(old.channel) is None:
                text = self.words(ELSEWHERE, id=row.id)
                await self.poster.change(old.channel, old.ts, Post(text, [mrkdwn.section(text)]))
                return
        except (Later, SlackApiError) as error:
            log.info("an older card could not be shrunk", broadcast=old.broadcast, error=type(error).__name__)
        try:
            await self.poster.delete(old.channel, old.ts)
        except (Later, SlackApiError) as error:
            log.info("an older card could not be taken away", broadcast=old.broadcast, error=type(error).__name__)

    async def _shrink_older(self, row: Broadcast, card: Card) -> None:
        """Turn the cards of earlier versions into links to this one, so that nobody can act on them."""
        older = await self.database.read(lambda c: cards.older_cards(c, row))
        link = await self.poster.permalink(card) if older else None
        for old in older:
            await self._shrink(old, row, link)

    async def _shrink(self, old: Card, row: Broadcast, link: str | None) -> None:
        try:
            await self.poster.change(old.channel, old.ts, moved(row, link, self.words))
        except SlackApiError as error:
            log.warning("an older card could not be shrunk", broadcast=row.id, error=error_code(error))
        await self.database.write(partial(cards.keep_card, card=replace(old, drawn=cards.SHRUNK)))

    def _drawn(self, connection: Connection, row: Broadcast, card: Card | None, stale_at: Micros | None) -> None:
        if card is not None:
            cards.keep_card(connection, card)
        cards.drawn(connection, row, self.clock(), pause=PAUSE, stale_at=stale_at)
        if row.is_canary:
            cards.draw_what_waits_for(connection, row, self.clock())

    async def _redraw(self, known: Card, post: Post, row: Broadcast) -> Card | None:
        if await self._asks_out_of_sight(row, known.channel):
            return await self._first_card(row, post, known)
        if not known.channel.startswith("D"):
            why = await self._why_not_here(row, known.channel)
            if why is not None and row.state in UNDER_WAY:
                return await self._without_place(row, post, why, known)
            if why is not None:  # people get the result directly, and the card stays as it was
                return None
        try:
            await self.poster.change(known.channel, known.ts, post)
        except SlackApiError as error:
            return await self._lost_card(error, known, row, post)
        return Card(known.workspace, known.broadcast, known.version, known.channel, known.ts, row.revision)

    async def _lost_card(self, error: SlackApiError, known: Card, row: Broadcast, post: Post) -> Card | None:
        """Replace a card that is deleted, can no longer be changed, or is where nobody can press its buttons.

        A broadcast must not go on or end unseen, or ask where nobody can answer. An error code that we do not know
        proves nothing: a broadcast that asks gets a new card, anything else is tried again.
        """
        code = error_code(error)
        listed = code in NO_PLACE | NOT_LET | UNEDITABLE
        if row.state in ASKING or code == "message_not_found":
            return await self._first_card(row, post, known)
        if not listed and self.database.failing_rows.tries("card", cards.drawing_of(row)) < UNKNOWN_TRIES:
            raise error
        log.warning("a card could not be drawn", broadcast=row.id, error=code)
        return None

    async def _first_card(self, row: Broadcast, post: Post, known: Card | None = None) -> Card | None:
        why = await self._why_not_here(row, row.channel)
        if why is None:
            try:
                return _card(row, await self.poster.post_about(row.channel, post, row, kind="broadcast_card"))
            except SlackApiError as error:
                why = self._why_not(error, row)
        return await self._without_place(row, post, why, known)

    async def _asks_out_of_sight(self, row: Broadcast, channel: str) -> bool:
        """Whether the broadcast asks in a direct message with somebody who may not answer, or has left.

        False if Slack does not say.
        """
        if row.state not in ASKING or not channel.startswith("D"):
            return False
        if row.state is State.PENDING:
            return row.mode != "training"
        try:
            async for person in self.approvers.who_answers(row):
                if await self.poster.reader(channel, (person,)) is not None:
                    return False
        except DirectoryUnavailable:
            return False
        return True

    async def _why_not_here(self, row: Broadcast, channel: str) -> Translatable | None:
        """Return why its card may not be there, or why nobody could press its buttons; None if neither."""
        why = await self.poster.why_closed_if_known(channel)
        return await self.approvers.why_stuck_now(row) if why is None and row.state in ASKING else why

    def _why_not(self, error: SlackApiError, row: Broadcast) -> Translatable:
        """Return why no card can be there, for those who can fix it. Raises the error while it may be temporary."""
        code = error_code(error)
        log.warning("a card has no place", broadcast=row.id, error=code)
        if (
            code not in NO_PLACE | NOT_LET
            and self.database.failing_rows.tries("card", cards.drawing_of(row)) < UNKNOWN_TRIES
        ):
            raise error
        return Translatable(NOT_HERE, channel=f"<#{row.channel}>")

    async def _without_place(self, row: Broadcast, post: Post, why: Translatable, known: Card | None) -> Card | None:
        """Return a pending broadcast to its requester as a draft, since nobody could approve it there.

        Send the card of any other broadcast directly to somebody who may act on it. Raises NobodyToAsk if the broadcast
        asks and nobody can be reached.
        """
        if row.state is State.PENDING:
            await self.database.write(lambda c: self._return(c, row, why))
            if known is not None:
                await self._shrink(known, row, None)
            return None
        async for person in self.approvers.who_acts(row):
            try:
                return _card(
                    row,
                    await self.poster.post_about(
                        await self.poster.channel_of(person), post, row, kind="broadcast_card"
                    ),
                )
            except SlackApiError as error:
                log.error("a person could not be told", broadcast=row.id, error=error_code(error))
        if row.state in ASKING:
            raise NobodyToAsk(row.id)
        return None

    def _return(self, connection: Connection, row: Broadcast, why: Translatable) -> None:
        """Keep it as a draft, with the fix. It becomes a new version, so votes and buttons of the old card are void."""
        now = self.clock()
        changes: Changes = {**NEW_VERSION, "version": row.version + 1, "expires_at": None, "draw_at": None}
        changes["voice_at"] = draft_notice(now)
        if broadcasts.move(connection, row, Action.RETURN, actor="slack", at=now, reason=None, **changes) is None:
            return
        notes.drop_notes(connection, row)
        template = RETURNED if self.approvals is None else RETURNED_TO_ALL
        sentence = Translatable(template, why=why, id=row.id, channel=f"<#{row.channel}>")
        key = f"return:{row.id}:{row.version}"
        outbox.post(connection, row.workspace, key, row.requester, sentence, None, now, draft=row.id)


def _card(row: Broadcast, answer: AsyncSlackResponse) -> Card:
    channel = str(answer.get("channel") or row.channel)
    return Card(row.workspace, row.id, row.version, channel, str(answer["ts"]), row.revision)


def _is_direct(card: Card) -> bool:
    """Whether the card is in a direct message with one person."""
    return card.channel.startswith("D")


def _is_same(one: Card, other: Card) -> bool:
    return (one.channel, one.ts) == (other.channel, other.ts)
