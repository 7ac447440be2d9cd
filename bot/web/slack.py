"""Slack's signed requests."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from slack_bolt.adapter.starlette.async_handler import to_starlette_response
from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_sdk.signature import SignatureVerifier
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from bot.web.bodies import SLACK_BODY, Bodies, TooLarge, TooMany, named
from bot.web.metrics import Meters


@dataclass(frozen=True)
class SlackDoor:
    """Verifies and parses requests before Bolt does, so that HTTP and Socket Mode hand it the same dict.

    `greeted`: whether we know our workspace yet. Until then Slack is asked to come back, as it does with events.

    Bolt's own HTTP parsing loses a command whose text holds the word `payload`, and answers 500 to a timestamp that
    is not a number (slack-bolt 1.30).
    """

    app: AsyncApp
    verifier: SignatureVerifier
    meters: Meters
    greeted: Callable[[], bool]
    bodies: Bodies = field(default_factory=Bodies)

    async def __call__(self, request: Request) -> Response:
        asked = await self._asked(request)
        if isinstance(asked, int):
            self.meters.slack.labels("unread", str(asked)).inc()
            return Response(status_code=asked)
        return to_starlette_response(await self.app.async_dispatch(asked))

    async def _asked(self, request: Request) -> AsyncBoltRequest | int:
        """Return the request that Slack meant, or the status of an answer to anything else."""
        try:
            text = (await self.bodies.read(request, SLACK_BODY)).decode()
        except TooLarge:
            return 413
        except TooMany:
            return 503
        except (UnicodeDecodeError, ClientDisconnect):
            return 400
        if not self._signed(request, text):
            return 401
        if not self.greeted():
            return 503
        try:
            return bolt_request(text)
        except (ValueError, RecursionError):
            return 400

    def _signed(self, request: Request, text: str) -> bool:
        stamps = request.headers.getlist("x-slack-request-timestamp")
        signatures = request.headers.getlist("x-slack-signature")
        if len(stamps) != 1 or len(signatures) != 1:
            return False
        stamp, signature = stamps[0], signatures[0]
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 16 and signature.isascii()):
            return False
        return self.verifier.is_valid(text, stamp, signature)


def bolt_request(text: str) -> AsyncBoltRequest:
    """Return the request that Slack meant. Raises ValueError for anything else, and RecursionError.

    Bolt gets no headers, as in Socket Mode: Slack does not sign them, and one of them chooses which listeners run.
    """
    body = parse_slack(text)
    try:
        return AsyncBoltRequest(mode="socket_mode", body=body)
    except (AttributeError, LookupError, TypeError) as error:  # a number where Bolt takes a user apart
        raise ValueError("not the parts that Slack sends") from error


def parse_slack(text: str) -> dict[str, object]:
    """Return the dict that Slack meant: a JSON body, a command's form, or the JSON inside a form's `payload`.

    Raises ValueError for anything else.
    """
    if text.lstrip().startswith("{"):
        body = json.loads(text)
    else:
        form = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=100))
        body = json.loads(form["payload"]) if "payload" in form and "command" not in form else form
    if not isinstance(body, dict) or not body or not is_whole(body):
        raise ValueError("not an object that Slack sends")
    return body


def is_whole(body: Mapping[str, Any]) -> bool:
    """Whether it has the parts by which Bolt finds a listener. Bolt raises KeyError without them."""
    if body.get("type") == "block_actions":
        actions = body.get("actions")
        return isinstance(actions, list) and bool(actions) and all(named(action, "action_id") for action in actions)
    if body.get("type") in ("view_submission", "view_closed"):
        return named(body.get("view"), "callback_id") and named(body.get("view"), "type")
    if "command" in body:
        return True
    words = all(isinstance(body.get(name, ""), str) for name in ("action_id", "callback_id"))
    return words and isinstance(body.get("view", {}), dict) and ("event" not in body or named(body["event"], "type"))
