"""Vendors' callbacks."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter

from cachetools import LRUCache
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from bot.config.accounts import Account
from bot.config.adapter_calls import AdapterBroke
from bot.sending.tokens import token_for
from bot.sending.tracker import Tracker
from bot.storage import vendor_ids
from bot.storage.database import CommitUncertain, Database, DatabaseBusy
from bot.web.bodies import CALLBACK_BODY, Bodies, Guesses, TooLarge
from bot.web.metrics import Meters
from providers.base import Callback, Receipts


@dataclass(frozen=True)
class CallbackDoor:
    """`POST /callbacks/{account}/{token}`: a hint from a vendor. It changes nothing without its token.

    A bare ASGI handler: a big campaign calls back a million times. Whatever gets a 200 is stored.
    """

    database: Database
    tracker: Tracker
    providers: Mapping[str, Account]
    key: bytes
    meters: Meters
    guesses: Guesses = field(default_factory=Guesses)
    bodies: Bodies = field(default_factory=Bodies)
    #: Recently correct tokens, with their dispatches.
    known: LRUCache[tuple[str, str], tuple[str, str]] = field(default_factory=lambda: LRUCache(4096))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        account = scope["path_params"]["account"]
        began = perf_counter()
        status = await self._status(Request(scope, receive), account, scope["path_params"]["token"])
        known = account if account in self.providers else "?"
        self.meters.callbacks.labels(known, str(status)).inc()
        if status == 200:
            self.meters.callback_lag.labels(account).observe(perf_counter() - began)
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
        except (DatabaseBusy, CommitUncertain, AdapterBroke):
            return 503  # the vendor tries again; acknowledging and losing it would be worse
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
        content, body = request.headers.get("content-type", ""), await self.bodies.read(request, CALLBACK_BODY)
        if not body.strip():
            content, body = "application/x-www-form-urlencoded", request.scope.get("query_string", b"")
        receipts = await provider.receipts_in(Callback(content, body))
        await self.tracker.record(account, receipts, dispatched)
        return 200

    async def _dispatch(self, account: str, token: str) -> tuple[str, str] | None:
        found = await self.database.read(lambda c: vendor_ids.dispatch_by_token(c, account, token))
        if found is not None:
            self.known[account, token] = found
        return found
