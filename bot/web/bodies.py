"""Reads the bodies of requests, and counts guesses at tokens."""

from __future__ import annotations

from typing import Any

from aiolimiter import AsyncLimiter
from cachetools import LRUCache
from starlette.requests import Request

SLACK_BODY = 1024 * 1024
CALLBACK_BODY = 64 * 1024


class Guesses:
    """Counts wrong tokens per address. Past `LIMIT` in a minute, that address's unknown tokens are not checked.

    Tokens that were right before stay right, so vendors behind the same proxy as a guesser still get through.
    """

    LIMIT, PEERS = 100, 10_000

    def __init__(self) -> None:
        self._wrong = LRUCache[str, AsyncLimiter](self.PEERS)

    def too_many(self, peer: str) -> bool:
        return peer in self._wrong and not self._wrong[peer].has_capacity()

    async def wrong(self, peer: str) -> None:
        await self._wrong.setdefault(peer, AsyncLimiter(self.LIMIT, 60)).acquire()


class TooLarge(Exception):
    """The body is longer than this route accepts."""


def named(part: Any, name: str) -> bool:
    return isinstance(part, dict) and isinstance(part.get(name), str)


async def read_body(request: Request, cap: int) -> bytes:
    """The whole body. Raises TooLarge as soon as it is longer than `cap` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > cap:
            raise TooLarge
    return bytes(body)
