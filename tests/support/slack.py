"""What people do in the pretend workspace, and what they find there."""

from __future__ import annotations

import json
from typing import Any

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_slack_response import AsyncSlackResponse
from sqlalchemy import select

from bot.app import Bot
from bot.domain.lifecycle import State
from bot.storage import tables
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.ground import newest
from tests.support.patience import until

HERE = "C0CAMPAIGNS"


def refusal(error: str) -> SlackApiError:
    """What Slack's client raises when Slack refuses a call."""
    answer = AsyncSlackResponse(
        client=None,
        http_verb="POST",
        api_url="",
        req_args={},
        data={"ok": False, "error": error},
        headers={},
        status_code=200,
    )
    return SlackApiError("refused", answer)


async def card(sandbox: Sandbox, index: int = 0) -> Json:
    """The card in the campaigns channel, once it is there."""
    await sandbox.until(lambda: len(sandbox.acting.messages(HERE)) > index)
    return sandbox.acting.messages(HERE)[index]


def thread_text(sandbox: Sandbox, ts: str) -> str:
    return "\n".join(message["text"] for message in sandbox.acting.thread(HERE, ts))


async def ask(sandbox: Sandbox, line: str, user: str = "U0CLEO", channel: str = HERE) -> str:
    return await sandbox.acting.command(user, channel, f"/broadcast {line}") or ""


async def settled(bot: Bot, *states: State) -> Any:
    """The newest broadcast, once it is in one of these states."""

    async def reached() -> Any:
        row = await newest(bot)
        return row if row.state in states else None

    return await until(reached)


async def drawn(bot: Bot) -> Any:
    """The newest broadcast, once every card shows its broadcast as it is."""
    waiting = select(tables.broadcasts.c.id).where(tables.broadcasts.c.draw_at.is_not(None))

    async def shows() -> bool:
        return await bot.database.read(lambda c: c.execute(waiting).first() is None)

    await until(shows)
    return await newest(bot)


def brought(sandbox: Sandbox) -> list[str]:
    """The events that the app has acknowledged, in order."""
    return [payload["event"]["type"] for kind, payload in sandbox.delivery.heard if kind == "events_api"]


async def approved(sandbox: Sandbox, line: str = "send clients marketing Soldes demain") -> Json:
    await ask(sandbox, line)
    posted = await card(sandbox)
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    return posted


def filled(audience: str, text: str, purpose: str = "marketing", **more: Any) -> Json:
    values: Json = {
        "audience": {"value": {"type": "static_select", "selected_option": {"value": audience}}},
        "purpose": {"value": {"type": "static_select", "selected_option": {"value": purpose}}},
        "text": {"value": {"type": "plain_text_input", "value": text}},
        "send_at": {"value": {"type": "datetimepicker", "selected_date_time": more.get("send_at")}},
        "sender": {"value": {"type": "plain_text_input", "value": more.get("sender")}},
        "campaign": {"value": {"type": "plain_text_input", "value": None}},
    }
    return values


async def open_form(sandbox: Sandbox, user: str = "U0DAN") -> Json:
    await ask(sandbox, "", user=user)
    return sandbox.acting.views(user)[-1]


async def type_in(sandbox: Sandbox, form: Json, values: Json, block: str = "text", user: str = "U0DAN") -> None:
    """Change a field: the app hears of it with everything that the form holds."""
    element = values[block]["value"]
    await sandbox.acting.act(user, {"view_id": form["id"]}, block, "value", element, values)


def shown(sandbox: Sandbox, user: str = "U0DAN") -> str:
    return json.dumps(sandbox.acting.views(user)[-1]["blocks"], ensure_ascii=False)


async def becomes(sandbox: Sandbox, text: str, user: str = "U0DAN") -> None:
    await sandbox.until(lambda: text in shown(sandbox, user))
