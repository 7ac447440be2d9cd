"""What the pretend vendors share: the ledger of accepted sends, callbacks, and faults on request."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import aiohttp
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from sandbox.faults import Fault, Faults
from sandbox.wire import Raw

CREDENTIALS = frozenset({b"authorization", b"api-login", b"api-key", b"accesstoken", b"refreshtoken"})
RAW_FAULTS = frozenset({"reset", "close", "stall", "truncate", "drip"})


@dataclass(frozen=True)
class Accepted:
    """One send that made phones ring."""

    vendor: str
    audience: str
    text: str
    purpose: str
    sender: str | None
    ids: tuple[str, ...]
    label: str
    at: float
    count: int


@dataclass
class Sending:
    """What the panel shows of one request: prepared, accepted or cancelled, and where its deliveries are."""

    id: str
    what: str
    audience: str
    text: str
    count: int
    ids: tuple[str, ...] = ()
    purpose: str = ""
    sender: str | None = None
    label: str = ""
    statuses: dict[str, int] = field(default_factory=dict)
    at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    vendor: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class Office:
    """What all the vendors of a sandbox share."""

    def __init__(self, faults: Faults, auto_deliver: float | None) -> None:
        self.faults, self.auto_deliver = faults, auto_deliver
        self.ledger: list[Accepted] = []
        self.requests: list[Seen] = []
        self.troubled: set[str] = set()  # the vendors that report nothing, for the time being
        self.changed: Callable[[], None] = lambda: None
        self._background: set[asyncio.Task[None]] = set()
        self._http: aiohttp.ClientSession | None = None

    def background(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def call_back(self, url: str, *, json: Any = None, form: Mapping[str, str] | None = None) -> int:
        """Call the bot. Returns its status; 0 when it could not be reached."""
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5))
        try:
            async with self._http.post(url, json=json, data=form) as response:
                await response.read()
                return response.status
        except (aiohttp.ClientError, TimeoutError):
            return 0

    async def aclose(self) -> None:
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self._http is not None:
            await self._http.close()


Handler = Callable[[Request], Awaitable[Response]]


class Vendor(ABC):
    """One pretend vendor. `step` names a request for faults: `encom.release`, `octopush.create`, …"""

    name: str
    title: str
    note: str
    words: tuple[str, ...] = ()
    kept: Mapping[str, Any] = MappingProxyType({"sendings": dict[str, Sending]})  # what a restart keeps, with its type

    def __init__(self, office: Office) -> None:
        self.office = office
        self.sendings: dict[str, Sending] = {}

    @abstractmethod
    def routes(self) -> list[BaseRoute]: ...

    @abstractmethod
    async def deliver(self, sending: Sending, status: str) -> None:
        """Deliver a receipt with this status for every recipient."""

    def step(self, step: str, handler: Handler, lie: Callable[[Fault], bytes | None] | None = None) -> Handler:
        """The handler, spoiled when a fault was asked for. A fault with `accept` true has its effect first."""

        async def run(request: Request) -> Response:
            await self._note(request)
            fault = self.office.faults.take(f"{self.name}.{step}")
            if fault is None:
                return await handler(request)
            if fault.detail.get("accept"):
                await handler(request)
            return await self._spoiled(fault, request, handler)

        return run

    async def _note(self, request: Request) -> None:
        seen = Seen(
            self.name,
            request.method,
            request.url.path,
            dict(request.query_params),
            dict(request.headers),
            await request.body(),
        )
        self.office.requests.append(seen)

    async def _spoiled(self, fault: Fault, request: Request, handler: Handler) -> Response:
        detail = fault.detail
        seconds = float(detail.get("seconds", 3600.0))
        if fault.kind in RAW_FAULTS:
            return Raw(fault.kind, seconds=seconds, body=str(detail.get("body", '{"store": "2')).encode())
        match fault.kind:
            case "stranger":
                return await handler(_without_credentials(request))
            case "slow":
                await fault.last(seconds)
                return await handler(request)
            case "redirect":
                return Response(status_code=int(detail.get("status", 302)), headers={"Location": detail["location"]})
            case "big":
                return Response(b" " * int(detail.get("size", 10_000_000)), 201, media_type="application/json")
            case "error":
                return JSONResponse(detail.get("body", {}), int(detail.get("status", 400)), detail.get("headers"))
        body = detail.get("body", "")
        content = body.encode(detail.get("encoding", "utf-8")) if isinstance(body, str) else body
        return Response(content, int(detail.get("status", 201)), media_type=detail.get("type", "application/json"))

    def accept(self, sending: Sending) -> None:
        """Phones ring: record the send in the ledger."""
        sending.what = "accepted"
        self.sendings[sending.id] = sending
        self.office.ledger.append(
            Accepted(
                self.name,
                sending.audience,
                sending.text,
                sending.purpose,
                sending.sender,
                sending.ids,
                sending.label,
                time.time(),
                sending.count,
            )
        )
        self.office.changed()
        self.report_later(sending)

    def report_later(self, sending: Sending) -> None:
        """Let its deliveries arrive by themselves, where they do."""
        if self.office.auto_deliver is not None and self.words:
            self.office.background(self._deliver_later(sending))

    async def _deliver_later(self, sending: Sending) -> None:
        await asyncio.sleep(self.office.auto_deliver or 0.0)
        while self.name in self.office.troubled:
            await asyncio.sleep(0.2)
        await self.deliver(sending, self.words[0])

    def snapshot(self) -> dict[str, Any]:
        shown = [self._shown(sending) for sending in reversed(self.sendings.values())]
        return {"name": self.name, "title": self.title, "note": self.note, "sends": shown[:30], "faults": []}

    def _shown(self, sending: Sending) -> dict[str, Any]:
        ids = list(sending.ids[:20])
        can = list(self.words) if sending.what == "accepted" else []
        fields = {"id": sending.id, "at": sending.at, "what": sending.what, "audience": sending.audience}
        return {
            **fields,
            "text": sending.text,
            "count": sending.count,
            "ids": ids,
            "statuses": sending.statuses,
            "can": can,
        }


def _without_credentials(request: Request) -> Request:
    headers = [(name, value) for name, value in request.scope["headers"] if name not in CREDENTIALS]
    return Request({**request.scope, "headers": headers, "path_params": request.path_params}, request.receive)


def rings(ledger: Iterable[Accepted]) -> list[dict[str, Any]]:
    """How often the phones rang for each broadcast, as the vendors saw it, the latest first.

    The name that the sender gave each begins with that of the broadcast, whichever attempt it is. Where a vendor takes
    no name, audience and text tell broadcasts apart.
    """
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for one in ledger:
        named = (one.vendor, one.label.partition("-")[0]) if one.label else (one.vendor, one.audience, one.text)
        told = {"vendor": one.vendor, "audience": one.audience, "text": one.text, "phones": one.count, "times": 0}
        found.setdefault(named, told)["times"] += 1
    return list(reversed(found.values()))
