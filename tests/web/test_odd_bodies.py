"""What Slack signs may have any shape: each part of each payload is replaced by something else, and none is a 500."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import ClientSession

from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.ground import StartBot
from tests.support.slack import HERE, ask, card, filled, open_form

LEFT_OUT = object()
ODD: list[Any] = [LEFT_OUT, None, 10**30, "\0\ud83d", ["word"], [None], {"id": ["x"]}]
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
HEARD = ("reaction_added", "reaction_removed", "app_home_opened", "message", "tokens_revoked", "app_uninstalled")

Path = tuple[str | int, ...]


def places(part: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    inner = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for name, value in inner:
        yield from places(value, (*path, name))


def replaced(payload: Json, path: Path, odd: Any) -> Any:
    if not path:
        return odd
    whole: Any = json.loads(json.dumps(payload))
    part = whole
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = odd
    if odd is LEFT_OUT:
        del part[path[-1]]
    return whole


def oddities(payload: Json) -> Iterator[Any]:
    for path in places(payload):
        for odd in ODD:
            if path or odd is not LEFT_OUT:
                yield replaced(payload, path, odd)


def body_of(kind: str, payload: Any) -> tuple[str, str]:
    if kind == "events_api":
        return JSON, json.dumps(payload)
    if kind == "interactive":
        return FORM, urlencode({"payload": json.dumps(payload)})
    fields = payload if isinstance(payload, dict) else {"command": payload}
    return FORM, urlencode({name: str(value) for name, value in fields.items()}, errors="replace")


async def everything_sent(sandbox: Sandbox) -> dict[tuple[str, str], Json]:
    """One payload of each kind, from a day in which everything was used, and from what people seldom do."""
    await ask(sandbox, "send clients marketing Soldes")
    ts = (await card(sandbox))["ts"]
    await sandbox.acting.click("U0CLEO", HERE, ts, "broadcast.approve")
    form = await open_form(sandbox)
    await sandbox.acting.submit("U0DAN", form["id"], filled("clients", ""))
    sent = {(kind, str(payload.get("type"))): payload for kind, payload in sandbox.delivery.sent}
    who = {"user": {"id": "U0CLEO"}, "team": {"id": "T0BELL"}, "trigger_id": "1.2"}
    view = {"id": "V1", "callback_id": "broadcast_compose", "type": "modal", "state": {"values": {}}}
    message = {"ts": ts, "text": "Soldes"}
    seldom: list[Json] = [
        {"type": "shortcut", "callback_id": "broadcast_new"},
        {"type": "message_action", "callback_id": "broadcast_message", "channel": {"id": HERE}, "message": message},
        {"type": "block_suggestion", "action_id": "value", "block_id": "audience", "value": "c", "view": view},
        {"type": "view_closed", "view": view, "is_cleared": False},
    ]
    sent |= {("interactive", str(payload["type"])): payload | who for payload in seldom}
    item = {"type": "message", "channel": HERE, "ts": ts}
    for name in HEARD:
        event = {"type": name, "user": "U0CLEO", "reaction": "+1", "item": item, "channel": HERE, "tab": "home"}
        sent["events_api", name] = {"type": "event_callback", "team_id": "T0BELL", "event_id": "Ev1", "event": event}
    return sent


@pytest.mark.long
async def test_whatever_stands_anywhere_in_what_slack_signed_is_never_a_500(
    http_sandbox: Sandbox, start_bot: StartBot, caplog: pytest.LogCaptureFixture
) -> None:
    await start_bot(http_sandbox)
    before, statuses, failed = len(http_sandbox.vendors.ledger), set[int](), list[object]()
    async with ClientSession() as web:
        for (kind, _), payload in (await everything_sent(http_sandbox)).items():
            for odd in oddities(payload):
                content, body = body_of(kind, odd)
                headers = {"Content-Type": content, **http_sandbox.delivery.signature(body)}
                async with web.post(str(http_sandbox.delivery.events_url), data=body.encode(), headers=headers) as told:
                    statuses.add(told.status)
                    if told.status >= 500:
                        failed.append(odd)
    assert failed == []
    assert statuses == {200, 400, 404}
    assert "a listener failed" not in caplog.text
    assert len(http_sandbox.vendors.ledger) == before
