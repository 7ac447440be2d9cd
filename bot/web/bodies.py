"""Reads the bodies of requests, and counts guesses at tokens."""

from __future__ import annotations

from typing import Any

from aiolimiter import AsyncLimiter
from cachetools import LRUCache
from starlette.requests import Request

from bot.web.connections import peer_of

SLACK_BODY = 1024 * 1024
CALLBACK_BODY = 64 * 1024
SMALL = 64 * 1024  # bytes that every body may have
LARGE = 32 * 1024 * 1024  # bytes beyond these that all bodies may have together while they arrive


class Guesses:
    """Counts wrong tokens of each peer. Past `LIMIT` in a minute, that peer's unknown tokens are not checked.

    Tokens that were right before stay right, so vendors behind the same proxy as a guesser still get through.
    """

    LIMIT, PEERS = 100, 10_000

    def __init__(self) -> None:
        self._wrong = LRUCache[str, AsyncLimiter](self.PEERS)

    def too_many(self, host: str) -> bool:
        limiter = self._wrong.get(peer_of(host))
        return limiter is not None and not limiter.has_capacity()

    async def wrong(self, host: str) -> None:
        await self._wrong.setdefault(peer_of(host), AsyncLimiter(self.LIMIT, 60)).acquire()


class TooLarge(Exception):
    """The body is longer than this route accepts."""


def named(part: Any, name: str) -> bool:
    return isinstance(part, dict) and isinstance(part.get(name), str)


class TooMany(Exception):
    """Other large bodies are arriving. This one may come again."""


class Bodies:
    """Reads bodies, whose senders nobody knows before the last byte; so the large ones share a bounded memory."""

    def __init__(self) -> None:
        self._large = 0

    async def read(self, request: Request, cap: int) -> bytes:
        """The whole body. Raises TooLarge as soon as it is longer than `cap` bytes, and TooMany."""
        body, ours = bytearray(), 0
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > cap:
                    raise TooLarge
                more = max(len(body) - SMALL - ours, 0)
                if more and self._large + more > LARGE:
                    raise TooMany
                ours, self._large = ours + more, self._large + more
            return bytes(body)
        finally:
            self._large -= ours
