"""The demo as somebody at its page uses it: `bellcrier demo`, in a process of its own."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientSession

from tests.support.ground import free_port
from tests.support.patience import until
from tests.support.shell import Running, Shell
from tests.support.slack import HERE


class Demo:
    """What the page does and sees. Each method is one request of the page."""

    def __init__(self, running: Running, url: str, page: ClientSession) -> None:
        self.running, self.url, self.page = running, url, page

    async def read(self, path: str, **given: str) -> dict[str, Any]:
        async with self.page.get(f"{self.url}/page/{path}", params={"me": "U0CLEO", **given}) as answer:
            found: dict[str, Any] = await answer.json()
            return found

    async def do(self, path: str, **given: Any) -> dict[str, Any]:
        async with self.page.post(f"{self.url}/page/{path}", json={"me": "U0CLEO", **given}) as answer:
            found: dict[str, Any] = await answer.json()
            return found

    async def stage(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.read("stage"))["stage"]
        return found

    async def rang(self, text: str) -> int:
        """How often the phones rang for this text, as the vendors saw it."""
        return sum(told["times"] for told in (await self.stage())["ledger"] if text in told["text"])

    async def ask(self, text: str, audience: str = "clients") -> dict[str, Any]:
        """Ask for a broadcast, and return its card."""
        await self.do("message", channel=HERE, text=f"/broadcast send {audience} marketing {text}")
        found: dict[str, Any] = await until(lambda: self.card(text))
        return found

    async def card(self, text: str) -> dict[str, Any] | None:
        shown = (await self.read("channel", id=HERE))["messages"]
        return next((m for m in reversed(shown) if m["blocks"] and text in json.dumps(m)), None)

    async def press(self, text: str, action: str, me: str = "U0BEN") -> None:
        card = await self.card(text)
        assert card is not None
        block, button = next(found for found in buttons(card) if found[1]["action_id"] == action)
        pressed = {"type": "button", "value": button["value"]}
        place = {"channel": HERE, "ts": card["ts"], "block_id": block, "action_id": action}
        await self.do("action", **(place | {"me": me, "element": pressed}))

    async def can(self, text: str, action: str) -> bool:
        """Whether the card of this broadcast has this button."""
        card = await self.card(text)
        return card is not None and action in {button["action_id"] for _, button in buttons(card)}

    async def says(self, text: str, said: str) -> bool:
        """Whether the card of this broadcast or its thread says this."""
        card = await self.card(text)
        return card is not None and said in json.dumps(
            [card, await self.read("thread", channel=HERE, ts=card["ts"])], ensure_ascii=False
        )

    async def connected(self) -> bool:
        return bool((await self.read("state"))["connected"])

    async def stop(self) -> None:
        """Press Ctrl-C."""
        self.running.process.send_signal(signal.SIGINT)
        assert await self.running.ends() == (0, "")


def buttons(card: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(block["block_id"], one) for block in card["blocks"] for one in block.get("elements", []) if "value" in one]


@asynccontextmanager
async def running_demo(shell: Shell, *words: str, port: int | None = None) -> AsyncIterator[Demo]:
    chosen = port or free_port()
    running = await shell("demo", "--port", str(chosen), *words)
    url = f"http://127.0.0.1:{chosen}"
    await running.says(url)
    async with ClientSession() as page:
        demo = Demo(running, url, page)
        await until(demo.connected)
        yield demo
