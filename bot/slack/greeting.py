"""Asks Slack at the start, for as long as it does not answer, and ends the start where its answer will not change."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import structlog
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.domain.errors import CannotStart
from bot.slack.client import UNREACHABLE, error_code, error_name, wait_asked

log = structlog.get_logger(__name__)
T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds
CONNECTING = 30.0  # seconds in which the address of a socket must be used; then it needs another one


class Unclear(Exception):
    """Slack's answer lacks what was asked for."""


async def greet(client: AsyncWebClient) -> AuthorizeResult:
    """Return what Slack says of the bot's token. Raises CannotStart if it does not take the token."""

    async def ask() -> AuthorizeResult:
        answer = await client.auth_test()
        _part(answer, "team_id")
        return AuthorizeResult.from_auth_test_response(bot_token=client.token, auth_test_response=answer)

    return await until_answered(ask, "SLACK_BOT_TOKEN", "Install the app again, copy its token.")


async def open_socket(handler: AsyncSocketModeHandler) -> None:
    """Open the socket. Raises CannotStart if Slack does not take the app-level token.

    `connect_async` alone would go on asking for ever, whatever Slack answers, and with an address that is too old.
    """

    async def address() -> str:
        return _part(await handler.client.web_client.apps_connections_open(app_token=handler.app_token), "url")

    fix = "Create an app-level token with the scope `connections:write` on the app's page, and copy it."
    while True:
        handler.client.wss_uri = await until_answered(address, "SLACK_APP_TOKEN", fix)
        try:
            async with asyncio.timeout(CONNECTING):
                await handler.connect_async()
                return
        except TimeoutError:
            log.warning("Slack's socket does not open; asking for another")


async def until_answered(ask: Callable[[], Awaitable[T]], setting: str, fix: str) -> T:
    """Ask until Slack answers. Raises CannotStart, with this fix of the setting, if asking again will not help."""
    for pause in pauses():
        try:
            return await ask()
        except (*UNREACHABLE, Unclear) as error:
            if isinstance(error, SlackApiError):
                if (asked := wait_asked(error)) is None:
                    raise CannotStart(f"{setting}: Slack answers {error_code(error)!r}. {fix}") from None
                pause = max(pause, asked if error.response.status_code == 429 else 0.0)
            log.warning(
                "Slack cannot be reached; asking again. If that stays so, check the network and SLACK_API_URL",
                error=error_name(error),
                seconds=round(pause, 1),
            )
        await asyncio.sleep(pause)
    raise AssertionError("the pauses never end")


def pauses() -> Iterator[float]:
    """Yield seconds to wait before asking again: each pause about twice the one before, up to a minute.

    They vary, so that many processes do not come back at once.
    """
    longest = FIRST_PAUSE
    while True:
        yield longest * random.uniform(0.5, 1.0)
        longest = min(longest * 2, LONGEST_PAUSE)


def _part(answer: AsyncSlackResponse, name: str) -> str:
    if not (found := answer.get(name)):
        raise Unclear
    return str(found)
