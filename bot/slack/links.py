"""Links to messages, asked of Slack once each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cachetools import LRUCache
from slack_sdk.web.async_client import AsyncWebClient

from bot.slack.client import UNREACHABLE
from bot.storage.cards import Card

PATIENCE = 0.8  # seconds, of the three in which a command is answered
MOST = 5000

Shown = tuple[str, int]


class Links:
    """The links to cards. Whatever Slack does not tell at once is left out."""

    def __init__(self) -> None:
        self._known: LRUCache[tuple[str, str, str], str] = LRUCache(MOST)

    async def to(self, cards: Sequence[Card], client: AsyncWebClient) -> dict[Shown, str]:
        """Return the links to these cards, each by the broadcast and version that it shows."""
        unknown = [card for card in cards if _key(card) not in self._known]
        asking = [asyncio.create_task(self._ask(card, client)) for card in unknown]
        if asking:
            _, late = await asyncio.wait(asking, timeout=PATIENCE)
            for one in late:
                one.cancel()
        return {(card.broadcast, card.version): self._known[_key(card)] for card in cards if _key(card) in self._known}

    async def _ask(self, card: Card, client: AsyncWebClient) -> None:
        try:
            answer = await client.chat_getPermalink(channel=card.channel, message_ts=card.ts)
        except UNREACHABLE:
            return
        self._known[_key(card)] = str(answer["permalink"])


def _key(card: Card) -> tuple[str, str, str]:
    return card.workspace, card.channel, card.ts
