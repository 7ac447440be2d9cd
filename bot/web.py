"""HTTP: what Slack sends, what vendors call back, health and metrics. Malformed input ends here, never as a 500."""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import parse_qsl

import structlog
from aiolimiter import AsyncLimiter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest
from slack_bolt.adapter.starlette.async_handler import to_starlette_response
from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_sdk.signature import SignatureVerifier
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from bot.config.accounts import Account, AdapterBroke
from bot.sending.tokens import token_for
from bot.sending.tracker import Tracker
from bot.storage import broadcasts, vendor_ids
from bot.storage.database import Busy, Database, Unsure
from providers.base import Callback, Receipts

log = structlog.get_logger(__name__)

SLACK_BODY = 1024 * 1024
CALLBACK_BODY = 64 * 1024

Ready = Callable[[], Awaitable[tuple[bool, Mapping[str, str]]]]


class Guesses:
    """Wrong tokens, by who brought them: past `LIMIT` in a minute nobody looks at that address's unknown tokens.

    What was right before stays right, so vendors behind the same proxy as a guesser go on being heard.
    """

    LIMIT, PEERS = 100, 10_000

    def __init__(self) -> None:
        self._wrong: dict[str, AsyncLimiter] = {}

    def too_many(self, peer: str) -> bool:
        return peer in self._wrong and not self._wrong[peer].has_capacity()

    async def wrong(self, peer: str) -> None:
        if len(self._wrong) > self.PEERS:
            self._wrong.clear()
        await self._wrong.setdefault(peer, AsyncLimiter(self.LIMIT, 60)).acquire()


class TooLarge(Exception):
    """The body is longer than anything this route has a use for."""


class Meters:
    """What `/metrics` shows: numbers only, no text, no person, no secret."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.slack = Counter("bellcrier_slack_requests", "Requests from Slack", ["status"], registry=self.registry)
        self.callbacks = Counter(
            "bellcrier_callbacks", "Callbacks from vendors", ["account", "status"], registry=self.registry
        )
        self.broadcasts = Gauge("bellcrier_broadcasts", "Broadcasts by state", ["state"], registry=self.registry)
        self.troubles = Gauge(
            "bellcrier_troubles",
            "Times that a row could not be worked on, since the start",
            ["work"],
            registry=self.registry,
        )
        self.put_off = Gauge(
            "bellcrier_put_off", "Rows that wait after they could not be worked on", registry=self.registry
        )


@dataclass(frozen=True)
class SlackDoor:
    """Verifies and parses in front of Bolt, so that both roads into it, this and Socket Mode, hand it the same dict.

    Bolt's own HTTP parsing loses a command whose text holds the word `payload`, and answers 500 to a timestamp that
    is no number (slack-bolt 1.30).
    """

    app: AsyncApp
    verifier: SignatureVerifier
    meters: Meters

    async def __call__(self, request: Request) -> Response:
        response = await self._answer(request)
        self.meters.slack.labels(str(response.status_code)).inc()
        return response

    async def _answer(self, request: Request) -> Response:
        try:
            text = (await read_body(request, SLACK_BODY)).decode()
        except TooLarge:
            return Response(status_code=413)
        except (UnicodeDecodeError, ClientDisconnect):
            return Response(status_code=400)
        if not self._signed(request, text):
            return Response(status_code=401)
        try:
            body = parse_slack(text)
        except (ValueError, RecursionError):
            return Response(status_code=400)
        headers: dict[str, str | Sequence[str]] = dict(request.headers.items())
        return to_starlette_response(
            await self.app.async_dispatch(AsyncBoltRequest(mode="socket_mode", body=body, headers=headers))
        )

    def _signed(self, request: Request, text: str) -> bool:
        stamps = request.headers.getlist("x-slack-request-timestamp")
        signatures = request.headers.getlist("x-slack-signature")
        if len(stamps) != 1 or len(signatures) != 1:
            return False
        stamp, signature = stamps[0], signatures[0]
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 16 and signature.isascii()):
            return False
        return self.verifier.is_valid(text, stamp, signature)


def parse_slack(text: str) -> dict[str, object]:
    """The dict that Slack meant: a JSON body, a command's form, or the JSON inside a form's `payload`.

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
    """Does it have the parts by which Bolt finds a listener? It raises KeyError without them."""
    if body.get("type") == "block_actions":
        actions = body.get("actions")
        return isinstance(actions, list) and bool(actions) and all(_named(action, "action_id") for action in actions)
    if body.get("type") in ("view_submission", "view_closed"):
        return _named(body.get("view"), "callback_id")
    return True


def _named(part: Any, name: str) -> bool:
    return isinstance(part, dict) and isinstance(part.get(name), str)


async def read_body(request: Request, cap: int) -> bytes:
    """The whole body. Raises TooLarge as soon as it is longer than `cap` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > cap:
            raise TooLarge
    return bytes(body)


@dataclass(frozen=True)
class CallbackDoor:
    """`POST /callbacks/{account}/{token}`: a hint from a vendor. It changes nothing without its token.

    A bare ASGI handler: a big campaign calls back a million times. What is answered with 200 is stored.
    """

    database: Database
    tracker: Tracker
    providers: Mapping[str, Account]
    key: bytes
    meters: Meters
    guesses: Guesses = field(default_factory=Guesses)
    KNOWN: ClassVar[int] = 4096  # tokens that were right lately, with whose they are
    known: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        account = scope["path_params"]["account"]
        status = await self._status(Request(scope, receive), account, scope["path_params"]["token"])
        known = account if account in self.providers else "?"
        self.meters.callbacks.labels(known, str(status)).inc()
        headers = [(b"content-length", b"0")]
        if status == 405:
            headers.append((b"allow", b"POST"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def _status(self, request: Request, account: str, token: str) -> int:
        provider = self.providers.get(account)
        if request.method != "POST":
            return 405
        if provider is None or provider.capabilities.receipts is Receipts.NONE:
            return 404
        try:
            return await self._take(request, provider, account, token)
        except TooLarge:
            return 413
        except (Busy, Unsure, AdapterBroke):
            return 503  # the vendor asks again; acknowledged and lost would be worse
        except (ValueError, RecursionError, KeyError, ClientDisconnect):
            return 400

    async def _take(self, request: Request, provider: Account, account: str, token: str) -> int:
        peer = request.client.host if request.client else ""
        dispatched = None
        if provider.capabilities.receipts is Receipts.PER_DISPATCH:
            dispatched = self.known.get((account, token))
            if dispatched is None and self.guesses.too_many(peer):
                return 429
            dispatched = dispatched or await self._dispatch(account, token)
            right = dispatched is not None
        else:
            right = hmac.compare_digest(token.encode(), token_for(self.key, account).encode())
        if not right:
            if self.guesses.too_many(peer):
                return 429
            await self.guesses.wrong(peer)
            return 404
        content, body = request.headers.get("content-type", ""), await read_body(request, CALLBACK_BODY)
        if not body.strip():
            content, body = "application/x-www-form-urlencoded", request.scope.get("query_string", b"")
        receipts = await provider.receipts_in(Callback(content, body))
        await self.tracker.record(account, receipts, dispatched)
        return 200

    async def _dispatch(self, account: str, token: str) -> tuple[str, str] | None:
        found = await self.database.read(lambda c: vendor_ids.dispatch_by_token(c, account, token))
        if len(self.known) >= self.KNOWN:
            self.known.clear()
        if found is not None:
            self.known[account, token] = found
        return found


@dataclass(frozen=True)
class Health:
    """Alive, and able to work."""

    ready: Ready

    async def healthz(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        ok, parts = await self.ready()
        return JSONResponse({"status": "ok" if ok else "not ready", **parts}, status_code=200 if ok else 503)


def public_site(slack: SlackDoor | None, callbacks: CallbackDoor, health: Health) -> Starlette:
    """The public address: Slack's door is there in HTTP mode only."""
    routes = [
        Route("/callbacks/{account}/{token}", callbacks),
        Route("/healthz", health.healthz),
        Route("/readyz", health.readyz),
    ]
    if slack is not None:
        routes.append(Route("/slack/events", slack.__call__, methods=["POST"]))
    return Starlette(routes=routes)


def metrics_site(meters: Meters, database: Database) -> Starlette:
    """The operator's address, apart from the public one."""

    async def metrics(request: Request) -> Response:
        for state, number in (await database.read(broadcasts.count_by_state)).items():
            meters.broadcasts.labels(state).set(number)
        for work, number in database.troubles.total.items():
            meters.troubles.labels(work).set(number)
        meters.put_off.set(len(database.troubles.all()))
        return Response(generate_latest(meters.registry), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/metrics", metrics)])
