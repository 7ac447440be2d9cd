"""What bodies may hold while they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

from bot.web.bodies import LARGE, SLACK_BODY, SMALL, Bodies, TooLarge, TooMany


def arriving(*chunks: bytes, wait: asyncio.Event | None = None, leaves: bool = False) -> Request:
    """A request whose body comes in these chunks; the last waits for `wait`, or the client leaves instead."""
    coming = list(chunks)

    async def receive() -> dict[str, Any]:
        if len(coming) == 1 and wait is not None:
            await wait.wait()
        if len(coming) == 1 and leaves:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": coming.pop(0), "more_body": bool(coming)}

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


def read(bodies: Bodies, requests: Sequence[Request]) -> asyncio.Future[list[bytes | BaseException]]:
    return asyncio.gather(*(bodies.read(one, SLACK_BODY) for one in requests), return_exceptions=True)


async def test_large_bodies_share_a_bound_and_small_ones_have_none() -> None:
    bodies, here = Bodies(), asyncio.Event()
    large, many = b"x" * SLACK_BODY, LARGE // (SLACK_BODY - SMALL)
    held = read(bodies, [arriving(large, b"", wait=here) for _ in range(many + 5)])
    await asyncio.sleep(0.05)
    small = await read(bodies, [arriving(b"x" * SMALL), *(arriving(b"x", b"y") for _ in range(100))])
    assert [one for one in small if isinstance(one, Exception)] == []
    with pytest.raises(TooMany):
        await bodies.read(arriving(large), SLACK_BODY)
    here.set()
    outcomes = await held
    assert ([type(one) for one in outcomes].count(TooMany), outcomes.count(large)) == (5, many)


async def test_the_bound_is_free_again_whatever_becomes_of_a_body() -> None:
    bodies, large = Bodies(), b"x" * (SLACK_BODY - 1)
    for _ in range(LARGE // SLACK_BODY + 10):
        left, long = await read(bodies, [arriving(large, b"", leaves=True), arriving(large, b"yy")])
        assert (type(left), type(long)) == (ClientDisconnect, TooLarge)
    assert await bodies.read(arriving(large), SLACK_BODY) == large
