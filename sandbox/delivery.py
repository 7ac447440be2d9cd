"""What Slack sends to the app: over Socket Mode to one of its open sockets, or signed over HTTP.

Events are delivered again until they are acknowledged; commands and interactions never are.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp
from starlette.websockets import WebSocket, WebSocketDisconnect

from sandbox.faults import Fault, Faults
from sandbox.world import Json, World

PATIENCE = 3.0  # seconds within which Slack expects an acknowledgement
EVENT_TRIES = 4


@dataclass
class Outcome:
    """The outcome of a delivery. `answer`: the acknowledgement's own content, if it had any."""

    acknowledged: bool
    answer: Json = field(default_factory=dict)
    problem: str = ""


class Delivery:
    """Delivers by signed HTTP to `events_url` if it is set, else to one of the open sockets."""

    def __init__(self, world: World, faults: Faults, events_url: str | None, retry_pauses: tuple[float, ...]) -> None:
        self.world, self.faults, self.events_url = world, faults, events_url
        self.retry_pauses = retry_pauses
        self.patience = PATIENCE
        self.sockets: list[WebSocket] = []
        self.tickets: set[str] = set()
        self.sent: list[tuple[str, Json]] = []
        self.heard: list[tuple[str, Json]] = []  # those of `sent` that were acknowledged
        self._waiting: dict[str, asyncio.Future[Json]] = {}
        self._background: set[asyncio.Task[Any]] = set()
        self._turn = 0
        self._http: aiohttp.ClientSession | None = None

    @property
    def connected(self) -> bool:
        return bool(self.sockets) or self.events_url is not None

    # --- to the app --------------------------------------------------------------------------------------------------

    async def command(self, payload: Json) -> Outcome:
        return await self._once("slash_commands", payload)

    async def interaction(self, payload: Json) -> Outcome:
        return await self._once("interactive", payload)

    def event(self, event: Json) -> None:
        """Deliver an event in the background, at most `EVENT_TRIES` times, until it is acknowledged."""
        name = f"message.{event['channel_type']}" if event["type"] == "message" else event["type"]
        if name not in self.world.manifest.events:
            return
        payload = {
            "token": "unused",
            "team_id": self.world.team_id,
            "api_app_id": self.world.app_id,
            "event": event,
            "type": "event_callback",
            "event_id": f"Ev{secrets.token_hex(5).upper()}",
            "event_time": int(time.time()),
            "authorizations": [self._authorization()],
            "is_ext_shared_channel": False,
            "event_context": secrets.token_hex(16),
        }
        fault = self.faults.take("events_api")
        late = fault if fault and fault.kind == "delay" else None  # others overtake it
        for _ in range(2 if fault and fault.kind == "duplicate" else 1):
            self.background(self._bring(payload, late))

    def _authorization(self) -> Json:
        return {
            "enterprise_id": None,
            "team_id": self.world.team_id,
            "user_id": self.world.bot_user,
            "is_bot": True,
            "is_enterprise_install": False,
        }

    def background(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _bring(self, payload: Json, late: Fault | None) -> None:
        if late is not None:
            await late.last()
        reason = ""
        for attempt in range(EVENT_TRIES):
            if attempt:
                await asyncio.sleep(self.retry_pauses[min(attempt - 1, len(self.retry_pauses) - 1)])
            outcome = await self._send("events_api", payload, attempt, reason)
            if outcome.acknowledged:
                return
            reason = outcome.problem

    async def _once(self, kind: str, payload: Json) -> Outcome:
        fault = self.faults.take(kind)
        if fault and fault.kind == "duplicate":
            outcomes = await asyncio.gather(self._send(kind, payload), self._send(kind, payload))
            return outcomes[0]
        if fault and fault.kind == "delay":
            await fault.last()
        return await self._send(kind, payload)

    async def _send(self, kind: str, payload: Json, attempt: int = 0, reason: str = "") -> Outcome:
        self.sent.append((kind, payload))
        bring = self._push if self.events_url is None else self._post
        outcome = await bring(kind, payload, attempt, reason)
        if outcome.acknowledged:
            self.heard.append((kind, payload))
        return outcome

    # --- Socket Mode -------------------------------------------------------------------------------------------------

    def open_ticket(self) -> str:
        ticket = secrets.token_hex(12)
        self.tickets.add(ticket)
        return ticket

    async def serve_socket(self, socket: WebSocket) -> None:
        """One connection of the app, from hello to goodbye."""
        if socket.query_params.get("ticket") not in self.tickets:
            await socket.close(4001)
            return
        self.tickets.discard(str(socket.query_params["ticket"]))
        await socket.accept()
        self.sockets.append(socket)
        self.world.publish("connected", {"connected": True})
        try:
            await socket.send_json(self._hello())
            while True:
                self._hear(await socket.receive_text())
        except (WebSocketDisconnect, RuntimeError):
            pass  # the app went away, or we closed it
        finally:
            if socket in self.sockets:
                self.sockets.remove(socket)
            self.world.publish("connected", {"connected": self.connected})

    def _hello(self) -> Json:
        return {
            "type": "hello",
            "num_connections": len(self.sockets),
            "connection_info": {"app_id": self.world.app_id},
            "debug_info": {"host": "sandbox", "started": "", "build_number": 1, "approximate_connection_time": 18060},
        }

    def _hear(self, text: str) -> None:
        try:
            frame = json.loads(text)
        except ValueError:
            return
        future = self._waiting.get(str(frame.get("envelope_id")))
        if future is not None and not future.done():
            future.set_result(frame.get("payload") or {})

    async def _push(self, kind: str, payload: Json, attempt: int, reason: str) -> Outcome:
        if not self.sockets:
            return Outcome(False, problem="dispatch_failed")
        self._turn += 1
        socket, id = self.sockets[self._turn % len(self.sockets)], secrets.token_hex(16)
        envelope: Json = {
            "envelope_id": id,
            "type": kind,
            "payload": payload,
            "accepts_response_payload": kind != "events_api",
        }
        if kind == "events_api":
            envelope |= {"retry_attempt": attempt, "retry_reason": reason}
        future = self._waiting[id] = asyncio.get_running_loop().create_future()
        try:
            await socket.send_json(envelope)
            return Outcome(True, await asyncio.wait_for(future, self.patience))
        except TimeoutError:
            return Outcome(False, problem="timeout" if kind == "events_api" else "operation_timeout")
        except (RuntimeError, WebSocketDisconnect):
            return Outcome(False, problem="dispatch_failed")
        finally:
            self._waiting.pop(id, None)

    async def disconnect(self, reason: str = "refresh_requested") -> None:
        """Ask every connection to reconnect, as Slack does every few hours."""
        for socket in list(self.sockets):
            await socket.send_json({"type": "disconnect", "reason": reason, "debug_info": {"host": "sandbox"}})

    async def drop(self) -> None:
        """Close every connection without warning."""
        for socket in list(self.sockets):
            self.sockets.remove(socket)
            await socket.close(1011)

    # --- signed HTTP -------------------------------------------------------------------------------------------------

    async def _post(self, kind: str, payload: Json, attempt: int, reason: str) -> Outcome:
        if kind == "events_api":
            body, content_type = json.dumps(payload), "application/json"
        elif kind == "slash_commands":
            body, content_type = urlencode(payload), "application/x-www-form-urlencoded"
        else:
            body, content_type = urlencode({"payload": json.dumps(payload)}), "application/x-www-form-urlencoded"
        headers = {"Content-Type": content_type, **self.signature(body)}
        if attempt:
            headers |= {"X-Slack-Retry-Num": str(attempt), "X-Slack-Retry-Reason": reason or "http_error"}
        try:
            return await self._exchange(body, headers)
        except TimeoutError:
            return Outcome(False, problem="operation_timeout" if kind != "events_api" else "http_timeout")
        except aiohttp.ClientError:
            return Outcome(False, problem="dispatch_failed" if kind != "events_api" else "connection_failed")

    async def _exchange(self, body: str, headers: dict[str, str]) -> Outcome:
        async with self.http.post(
            str(self.events_url), data=body.encode(), headers=headers, timeout=aiohttp.ClientTimeout(self.patience)
        ) as response:
            text = await response.text()
            if not 200 <= response.status < 300:
                return Outcome(False, problem=f"http_error_{response.status}")
            if not text:
                return Outcome(True)
            try:
                answer = json.loads(text)
            except ValueError:
                answer = {"text": text}
            return Outcome(True, answer if isinstance(answer, dict) else {})

    def signature(self, body: str) -> dict[str, str]:
        """The headers that prove to the app that the request comes from Slack."""
        stamp = str(int(time.time()))
        base = f"v0:{stamp}:{body}".encode()
        digest = hmac.new(self.world.signing_secret.encode(), base, hashlib.sha256).hexdigest()
        return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}"}

    @property
    def http(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = aiohttp.ClientSession()
        return self._http

    async def aclose(self) -> None:
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        for socket in list(self.sockets):
            with suppress(RuntimeError, WebSocketDisconnect):  # it was closing already
                await socket.close(1001)
        if self._http is not None:
            await self._http.close()
