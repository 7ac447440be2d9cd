"""The bot works with another Slack, which knows only a handful of methods and was written apart from the sandbox."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import ClientSession, web

from bot.app import Bot
from sandbox.server import Sandbox
from tests.support.ground import changed, free_port, raw_settings
from tests.support.patience import LONG, until

SECRET = "an-other-slacks-signing-secret"


class PlainSlack:
    """Posts and remembers; answers `{"ok": true}` to what it does not know; speaks Socket Mode when asked."""

    def __init__(self, port: int) -> None:
        self.port, self.posted, self.socket = port, list[dict[str, Any]](), asyncio.Event()
        self.acks: dict[str, Any] = {}
        self._ws: web.WebSocketResponse | None = None

    async def api(self, request: web.Request) -> web.Response:
        given = await request.json() if request.content_type == "application/json" else dict(await request.post())
        method = request.match_info["method"]
        answer: dict[str, Any] = {"ok": True}
        if method == "auth.test":
            answer |= {"team_id": "T1", "user_id": "U9", "bot_id": "B9"}
        elif method == "apps.connections.open":
            answer |= {"url": f"ws://127.0.0.1:{self.port}/ws"}
        elif method == "users.info":
            standing = dict.fromkeys(("deleted", "is_bot", "is_restricted", "is_ultra_restricted"), False)
            answer |= {"user": {"id": dict(given, **request.query)["user"], "team_id": "T1", **standing}}
        elif method == "conversations.info":
            known = {"is_archived": False, "is_ext_shared": False, "is_member": True, "is_private": False}
            answer |= {"channel": {"id": dict(given, **request.query)["channel"], **known}}
        elif method == "usergroups.users.list":
            answer |= {"users": ["U2"]}
        elif method == "chat.postMessage":
            self.posted.append(dict(given))
            answer |= {"channel": given["channel"], "ts": f"17000000{len(self.posted):02}.000100"}
        return web.json_response(answer)

    async def ws(self, request: web.Request) -> web.WebSocketResponse:
        self._ws = web.WebSocketResponse()
        await self._ws.prepare(request)
        await self._ws.send_json({"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A1"}})
        self.socket.set()
        async for message in self._ws:
            if message.type is web.WSMsgType.TEXT and message.data.startswith("{"):
                acked = json.loads(message.data)
                self.acks[acked["envelope_id"]] = acked.get("payload")
        return self._ws

    async def push(self, kind: str, payload: dict[str, Any]) -> Any:
        """Deliver over the socket. Returns what the acknowledgement carried."""
        id = f"e{len(self.acks)}"
        assert self._ws is not None
        await self._ws.send_json({"envelope_id": id, "type": kind, "payload": payload})
        async with asyncio.timeout(LONG):
            while id not in self.acks:
                await asyncio.sleep(0.01)
        return self.acks[id]

    def said(self) -> str:
        return json.dumps(self.posted)


@pytest.fixture
async def slack() -> AsyncIterator[PlainSlack]:
    plain = PlainSlack(free_port())
    site = web.Application()
    site.router.add_route("*", "/any/where/{method}", plain.api)
    site.router.add_get("/ws", plain.ws)
    runner = web.AppRunner(site, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", plain.port).start()
    yield plain
    await runner.cleanup()


def command(text: str) -> dict[str, Any]:
    return {
        "team_id": "T1",
        "channel_id": "C1",
        "user_id": "U1",
        "command": "/broadcast",
        "text": text,
        "trigger_id": f"t.{time.monotonic_ns()}",
        "response_url": "http://127.0.0.1:9/gone",
        "api_app_id": "A1",
    }


def approve(card: dict[str, Any]) -> dict[str, Any]:
    blocks = card["blocks"] if isinstance(card["blocks"], list) else json.loads(card["blocks"])
    buttons = [element for block in blocks for element in block.get("elements", [])]
    button = next(element for element in buttons if element.get("action_id") == "broadcast.approve")
    return {
        "type": "block_actions",
        "team": {"id": "T1"},
        "user": {"id": "U2"},
        "channel": {"id": "C1"},
        "message": {"ts": "1700000001.000100"},
        "trigger_id": "t.2",
        "actions": [{"type": "button", "block_id": "x", "action_id": "broadcast.approve", "value": button["value"]}],
    }


def settings_for(sandbox: Sandbox, slack: PlainSlack, port: int, folder: Path) -> dict[str, Any]:
    raw = raw_settings(sandbox, port, folder)
    return raw | {"slack_api_url": f"http://127.0.0.1:{slack.port}/any/where/"}


async def test_the_story_over_the_socket_of_another_slack(
    sandbox: Sandbox, slack: PlainSlack, bot_port: int, tmp_path: Path
) -> None:
    bot = Bot(changed(settings_for(sandbox, slack, bot_port, tmp_path), {}), patience=LONG)
    try:
        await bot.start("127.0.0.1", bot_port)
        await slack.socket.wait()
        answer = await slack.push("slash_commands", command("send clients marketing Soldes demain"))
        assert answer["response_type"] == "ephemeral"
        await until(lambda: slack.posted)
        await slack.push("interactive", approve(slack.posted[0]))
        await until(lambda: "22, 23" in slack.said())
    finally:
        await bot.stop()
    assert len(sandbox.vendors.ledger) == 1
    assert {post["channel"] for post in slack.posted} == {"C1"}


async def signed(url: str, fields: dict[str, Any]) -> tuple[int, str]:
    body, stamp = urlencode(fields), str(int(time.time()))
    digest = hmac.new(SECRET.encode(), f"v0:{stamp}:{body}".encode(), hashlib.sha256).hexdigest()
    headers = {
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": f"v0={digest}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    async with ClientSession() as session, session.post(url, data=body, headers=headers) as answer:
        return answer.status, await answer.text()


async def test_the_story_over_signed_requests_of_another_slack(
    sandbox: Sandbox, slack: PlainSlack, bot_port: int, tmp_path: Path
) -> None:
    raw = settings_for(sandbox, slack, bot_port, tmp_path) | {"slack_signing_secret": SECRET}
    del raw["slack_app_token"]
    bot, door = Bot(changed(raw, {}), patience=LONG), f"http://127.0.0.1:{bot_port}/slack/events"
    try:
        await bot.start("127.0.0.1", bot_port)
        status, answer = await signed(door, command("send clients marketing Soldes demain"))
        assert (status, json.loads(answer)["response_type"]) == (200, "ephemeral")
        await until(lambda: slack.posted)
        assert await signed(door, {"payload": json.dumps(approve(slack.posted[0]))}) == (200, "")
        await until(lambda: "22, 23" in slack.said())
    finally:
        await bot.stop()
    assert len(sandbox.vendors.ledger) == 1
