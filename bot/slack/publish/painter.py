"""One pass over everything that is to be shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sqlalchemy import Connection

from bot.domain.clock import SECOND, Micros
from bot.domain.i18n import Translator
from bot.slack.publish.cards import LONGEST_PAUSE, Cards, ShowingOf
from bot.slack.publish.homes import Homes
from bot.slack.publish.outbox import Outbox
from bot.slack.publish.poster import Later, Poster
from bot.slack.publish.threads import Threads
from bot.storage import queue
from bot.workflow.workflow import Workflow


class Painter:
    """Shows the store's state in Slack. What could not be shown waits in the store for the next pass."""

    def __init__(self, poster: Poster, workflow: Workflow, showing_of: ShowingOf, words: Translator) -> None:
        self.poster, self.database, self.clock = poster, poster.database, poster.clock
        self.cards = Cards(poster, workflow, showing_of, words)
        self.threads, self.outbox = Threads(poster, words), Outbox(poster, words)
        self.homes = Homes(poster, workflow)
        self._quiet_until: dict[Callable[[], Awaitable[None]], Micros] = {}

    async def paint(self) -> None:
        """Post the new cards, redraw the outdated ones, post the waiting notes and other messages, then draw Homes.

        Work that Slack is too busy for waits, and the rest goes on.
        """
        if not await self.database.read(self._waits) or not await self.poster.ours():
            return
        told = self.threads.post_notes, self.outbox.post_posts, self.outbox.news.redraw
        for work in (self.cards.post_cards, self.cards.redraw_cards, *told, self.homes.draw_homes):
            if self.clock() < self._quiet_until.get(work, 0):
                continue
            try:
                await work()
            except Later as later:
                self._quiet_until[work] = self.clock() + min(int(later.seconds * SECOND), LONGEST_PAUSE)

    def _waits(self, connection: Connection) -> bool:
        return queue.showing_waits(connection, self.clock())
