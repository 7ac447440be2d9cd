"""The client of Slack's Web API, and the one place that reads its errors, whatever their bodies contain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from time import perf_counter
from typing import Any, Self

import aiohttp
from aiohttp import ClientError
from slack_bolt.context.async_context import AsyncBoltContext
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

#: Error codes with which Slack no longer accepts our token, until somebody replaces it.
DEAD_TOKEN = frozenset({"invalid_auth", "account_inactive", "token_revoked", "token_expired", "not_authed"})
#: Whatever a call can raise: Slack said no, answered with something else than JSON, or did not answer.
UNREACHABLE = (SlackApiError, ClientError, TimeoutError, OSError)
#: Slack's error codes for a request that may well work if repeated.
BUSY = frozenset(
    {
        "",  # no code, but a page of a server or a proxy in trouble
        *("ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"),
        "team_added_to_org",  # the workspace is being moved
    }
)
_EXPIRED = frozenset(
    {"expired_trigger_id", "exchanged_trigger_id", "trigger_expired", "invalid_trigger_id", "trigger_exchanged"}
)


OnCall = Callable[[str, float, str | None], None]  # Slack's method, seconds, what kind of error


CLOCK_OFF = 60.0  # seconds that this machine's clock may be away from Slack's


class SlackClient(AsyncWebClient):
    """Returns what Slack answers, or raises one of UNREACHABLE.

    Without this, a text, a list or a cut body raises AttributeError, UnicodeDecodeError, or an error whose response is
    of another class.
    """

    on_call: OnCall = staticmethod(lambda *_: None)

    def like(self, other: AsyncWebClient) -> Self:
        """A client with the token and ways of another, which tells of its calls as this one does."""
        made = type(self)(
            token=other.token,
            base_url=other.base_url,
            timeout=other.timeout,
            ssl=other.ssl,
            headers=other.headers,
            retry_handlers=other.retry_handlers,
        )
        made.on_call = self.on_call
        return made

    async def api_call(self, api_method: str, **rest: Any) -> AsyncSlackResponse:
        """Every method of the client goes through this."""
        began, kind = perf_counter(), None
        try:
            return await super().api_call(api_method, **rest)
        except BaseException as error:
            kind = _kind_of(error)
            raise
        finally:
            self.on_call(api_method, perf_counter() - began, kind)

    async def _request(self, *, http_verb: str, api_url: str, req_args: dict[str, Any]) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = await super()._request(http_verb=http_verb, api_url=api_url, req_args=req_args)
        except SlackApiError as error:  # it says that it is JSON, and is not: a cut body, or one of a proxy
            return _without_a_body(error.response)
        except ValueError:  # nor is it text in any charset
            return _without_a_body(None)
        return answer if isinstance(answer["data"], dict) else {**answer, "data": {}}


def clients_like(ours: SlackClient) -> Callable[..., Awaitable[None]]:
    """Return Bolt's middleware that replaces the client that it makes for each request."""

    async def replace(context: AsyncBoltContext, next: Callable[[], Awaitable[None]]) -> None:
        context["client"] = ours.like(context.client)
        await next()

    return replace


def _kind_of(error: BaseException) -> str:
    """Return what kind of error this is, in one of a few words: Slack's own codes are without number."""
    if not isinstance(error, SlackApiError):
        return "unreachable"
    status = error.response.status_code
    return "limited" if status == 429 else "broken" if status >= 500 else "refused"


def _without_a_body(response: aiohttp.ClientResponse | None) -> dict[str, Any]:
    """An answer that says nothing, which slack_sdk then raises as an error without a code."""
    status, headers = (502, {}) if response is None else (response.status, response.headers)
    return {"data": {}, "headers": headers, "status_code": status}


def error_code(error: BaseException) -> str:
    """Return Slack's code for an error; "" if it answered without one, or not at all."""
    return str(error.response.get("error") or "") if isinstance(error, SlackApiError) else ""


def error_name(error: BaseException) -> str:
    """Return the code, the status or the kind of an error, for a log or an operator."""
    status = f"HTTP {error.response.status_code}" if isinstance(error, SlackApiError) else type(error).__name__
    return error_code(error) or status


def wait_asked(error: SlackApiError) -> float | None:
    """Return after how many seconds to try again; None if trying again does not help.

    Slack asks for a time when it is called too often; 1 second if it names none.
    """
    if error.response.status_code == 429:
        named = error.response.headers.get("Retry-After")
        return float(named) if named is not None and named.isascii() and named.isdigit() else 1.0
    return 5.0 if error.response.status_code >= 500 or error_code(error) in BUSY else None


def slacks_time(headers: Mapping[str, str]) -> float | None:
    """Return the time that an answer's headers tell, in seconds since 1970; None if they tell none."""
    told = next((str(value) for key, value in dict(headers).items() if key.lower() == "date"), "")
    try:
        return parsedate_to_datetime(told).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def is_late(error: Exception) -> bool:
    """Whether Slack or the bot was too slow. If not, something is wrong with the request."""
    return error_code(error) in BUSY | _EXPIRED
