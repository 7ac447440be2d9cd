"""Keeps the Home tabs that people have opened up to date."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable
from functools import partial

import structlog
from aiolimiter import AsyncLimiter
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.domain.clock import SECOND
from bot.domain.i18n import translator_for
from bot.domain.people import DirectoryUnavailable
from bot.slack.blocks.home import unavailable
from bot.slack.blocks.mrkdwn import Block, Post
from bot.slack.board import Board
from bot.slack.client import error_code
from bot.slack.publish.poster import Poster
from bot.storage import homes
from bot.storage.homes import Home
from bot.workflow.workflow import Workflow

log = structlog.get_logger(__name__)

AT_ONCE = 3  # Homes that one pass draws, so that the next cards need not wait long
PUBLISHES, PUBLISHES_AGAIN = 20, 15  # so many `views.publish` calls per so many seconds: below the 100 a minute
KEPT = 7 * 24 * 3600 * SECOND  # since somebody opened it, for as long as it is drawn anew
REFRESH = 900 * SECOND  # for what changes without a row: a new day, an approver who is away
UNANSWERED = 30 * SECOND  # until Slack is asked again whose Home it is

#: Error codes of a person, or of an app, that has no Home.
NO_HOME = frozenset({"user_not_found", "user_disabled", "invalid_user_id", "not_enabled", "access_denied"})


class Homes:
    """Draws Homes after everything else, and publishes only what looks different."""

    def __init__(self, poster: Poster, workflow: Workflow) -> None:
        self.poster, self.database, self.clock = poster, poster.database, poster.clock
        self.board = Board(workflow, poster.clock)
        self.publishes = AsyncLimiter(PUBLISHES, PUBLISHES_AGAIN)

    async def draw_homes(self) -> None:
        """Draw as many Homes as Slack's limit allows. The others are drawn later, in their latest state."""
        for home in await self.database.read(lambda c: homes.due(c, self.clock(), AT_ONCE)):
            if not self.publishes.has_capacity():
                return
            with self.poster.alone("home", home.person, home.workspace):
                await self._draw(home)

    async def _draw(self, home: Home) -> None:
        now = self.clock()
        if now - home.opened_at > KEPT:
            await self.database.write(lambda c: homes.forget(c, home))
            return
        try:
            blocks = await self.board.of(home)
        except DirectoryUnavailable:
            await self.database.write(lambda c: homes.put_off(c, home, now + UNANSWERED))
            return
        digest = hashlib.sha256(json.dumps(blocks).encode()).hexdigest()
        hash = home.hash
        if digest != home.digest or home.drawn_at <= home.opened_at:
            hash = await self._publish(home, blocks)
            digest = digest if hash is not None else ""
        again_at = now + REFRESH if hash is not None else now
        drawn = partial(homes.drawn, home=home, at=now, hash=hash, digest=digest, again_at=again_at)
        await self.database.write(drawn)

    async def _publish(self, home: Home, blocks: list[Block]) -> str | None:
        """Publish it. Return Slack's hash of it; None if another view was published meanwhile, or none can be.

        Raises Later or SlackApiError.
        """

        def publish(shown: list[Block] | None) -> Awaitable[AsyncSlackResponse]:
            view = {"type": "home", "blocks": shown or []}
            return self.poster.client.views_publish(user_id=home.person, view=view, hash=home.hash)

        await self.publishes.acquire()
        try:
            answer = await self.poster.call(publish, Post("", blocks, unavailable(translator_for(None))))
        except SlackApiError as error:
            await self._not_published(home, error)
            return None
        return str(answer["view"]["hash"])

    async def _not_published(self, home: Home, error: SlackApiError) -> None:
        """Forget the Home of somebody who has none. After a conflict, the next drawing replaces whatever is there."""
        code = error_code(error)
        if code in NO_HOME:
            log.warning("a Home cannot be shown", error=code)
            await self.database.write(lambda c: homes.forget(c, home))
        elif code != "hash_conflict":
            raise error
