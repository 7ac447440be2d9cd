"""`/broadcast show <id>`: a broadcast in full, with the buttons of its card."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from slack_sdk.web.async_client import AsyncWebClient
from sqlalchemy import Connection

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Clock, Micros
from bot.domain.errors import NotFound
from bot.domain.i18n import Translatable, Translator
from bot.domain.lifecycle import State
from bot.domain.people import Person
from bot.slack.blocks.card_facts import CardContext
from bot.slack.blocks.history import Story, details
from bot.slack.blocks.mrkdwn import Post
from bot.slack.interaction import Interaction
from bot.slack.links import Links
from bot.storage import audit, cards, notes
from bot.storage.votes import Vote, votes_for
from bot.workflow.card_changes import within
from bot.workflow.decision_types import Drawing, drawing_of
from bot.workflow.workflow import Workflow

ShowingOf = Callable[[Broadcast, list[Vote]], Awaitable[CardContext]]


class ShowCommand:
    """Shows a broadcast to whoever may see it."""

    def __init__(self, workflow: Workflow, clock: Clock, showing_of: ShowingOf, links: Links) -> None:
        self.workflow, self.clock, self.showing_of, self.links = workflow, clock, showing_of, links

    async def show(self, row: Broadcast, person: Person, client: AsyncWebClient, words: Translator) -> Post:
        """Return it in full. Raises NotFound for a draft of somebody else that was never shown."""
        votes, known, earlier = await self.workflow.database.read(
            lambda c: (votes_for(c, row), cards.card_of(c, row), cards.earlier_cards(c, row))
        )
        if row.state is State.DRAFT and row.requester != person.id and known is None:
            raise NotFound(row.id)
        links = await self.links.to([*earlier, *([known] if known else [])], client)
        link = links.pop((row.id, row.version), None)
        older = {version: found for (_, version), found in links.items()}
        steps, told = await self.workflow.database.read(lambda c: _history(c, row))
        story = Story(steps, told, link, older, self._drawing(row, known))
        return details(row, await self.showing_of(row, votes), story, words)

    async def again(self, id: str, done: Interaction) -> Post:
        """Return it as it stands after a press. Raises NotFound."""
        row = await self.workflow.find(done.workspace, id)
        if not await self.workflow.permissions.may_see(done.person, row):
            raise NotFound(row.id)
        return await self.show(row, done.person, done.client, done.words)

    def _drawing(self, row: Broadcast, card: cards.Card | None) -> Drawing | None:
        """Return the drawing of its card if the facts are still within those that it showed."""
        if (
            card is None
            or card.facts is None
            or not within(card.facts, self.workflow.audiences.facts(row, self.clock()))
        ):
            return None
        return drawing_of(card)


def _history(connection: Connection, row: Broadcast) -> tuple[list[dict[str, Any]], dict[Micros, Translatable]]:
    steps: list[dict[str, Any]] = [dict(step) for step in audit.history(connection, row.workspace, row.id)]
    edits = [step["at"] for step in steps if step["action"] in ("edit", "replan")]
    return steps, notes.told_at(connection, row.workspace, row.id, edits)
