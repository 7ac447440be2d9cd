"""One bot in two workspaces, which it joins as people install it. Both have the same people, channels and ids."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp

from bot.app import Bot
from bot.domain.clock import Clock, now
from sandbox.server import Sandbox
from sandbox.world import World
from tests.support.ground import changed, raw_settings
from tests.support.patience import LONG, until

OURS, OTHER = "T0BELL", "T0OTHER"
#: What each has: the first an account and its audiences, the other nothing of it.
NAMED = {OURS: {"accounts": ["encom", "octo"]}}


def other_world() -> World:
    world = World()
    world.team = {"id": OTHER, "name": "Elsewhere", "domain": "elsewhere"}
    world.team_id, world.bot_token = OTHER, ""
    world.bot_user, world.bot_id = "U0BELL2", "B0BELL2"
    for channel in world.channels.values():
        channel.members = [world.bot_user if one == "U0BELL" else one for one in channel.members]
    return world


@asynccontextmanager
async def two(bot_port: int, other_port: int | None = None) -> AsyncIterator[tuple[Sandbox, Sandbox]]:
    """Two workspaces that deliver to the same app, the other perhaps to another replica of it."""
    url, pauses = f"http://127.0.0.1:{bot_port}/slack/events", (0.05, 0.1, 0.1)
    elsewhere = f"http://127.0.0.1:{other_port or bot_port}/slack/events"
    home = Sandbox(events_url=url, retry_pauses=pauses)
    async with home, Sandbox(events_url=elsewhere, retry_pauses=pauses, world=other_world()) as other:
        home.share(other)
        for sandbox in (home, other):
            sandbox.patience = sandbox.delivery.patience = sandbox.world.trigger_seconds = LONG
        home.world.bot_token = ""  # nobody has installed it yet
        yield home, other


def many_settings(sandbox: Sandbox, bot_port: int, folder: Path, **changes: Any) -> Any:
    raw = raw_settings(sandbox, bot_port, folder)
    del raw["slack_bot_token"]
    raw |= {"slack_client_id": sandbox.world.client_id, "slack_client_secret": sandbox.world.client_secret}
    raw |= {"public_url": f"http://127.0.0.1:{bot_port}", "workspaces": NAMED, "allow_private_hosts": True}
    return changed(raw, changes)


@asynccontextmanager
async def bot_for(
    sandbox: Sandbox, bot_port: int, folder: Path, clock: Clock = now, **changes: Any
) -> AsyncIterator[Bot]:
    bot = Bot(many_settings(sandbox, bot_port, folder, **changes), clock, patience=LONG)
    try:
        await bot.start("127.0.0.1", bot_port)
        yield bot
    finally:
        await bot.stop()


async def install(bot_port: int, workspace: str, user: str = "U0CLEO", prefix: str = "") -> tuple[int, str]:
    """Install the bot as a browser does. Return the status and the text of the last page. `prefix`: of the path."""
    jar = aiohttp.CookieJar(unsafe=True)  # of an address without a name too
    async with aiohttp.ClientSession(cookie_jar=jar) as browser:
        async with browser.get(f"http://127.0.0.1:{bot_port}{prefix}/slack/install", allow_redirects=False) as begun:
            page = f"{begun.headers['location']}&{urlencode({'team': workspace, 'user': user})}"
        async with browser.get(page) as ended:
            return ended.status, await ended.text()


async def serves(bot: Bot, *workspaces: str) -> None:
    """Wait until the bot serves exactly these."""

    async def so() -> bool:
        return {one.id for one in bot.workspaces.all} == set(workspaces)

    await until(so)
