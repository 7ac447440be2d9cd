"""Runs a bot until it is asked to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from importlib import metadata
from typing import Any

import structlog

from bot.app import Bot
from bot.config.settings import Settings
from bot.storage.addresses import place
from bot.storage.tables import REVISION
from bot.when.patterns import warm_up

log = structlog.get_logger(__name__)

#: The most that a stop takes while no account has a longer `timeout` than the usual 30 seconds. The image, the unit,
#: the compose file and the chart give it this long.
STOP_SECONDS = 60


async def run(
    settings: Settings, *, host: str, port: int, ready: Callable[[str], None], stop: asyncio.Event | None = None
) -> int:
    """Run until SIGTERM, SIGINT or `stop`. Returns the exit code. Raises CannotStart, Unusable or SettingsError."""
    asked = stop or asyncio.Event()
    if stop is None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, asked.set)
    bot = Bot(settings)
    try:
        if await _unless(asked, bot.start(host, port)):
            log.info("started", **about(bot))
            ready(f"http://{host}:{port}")
            await asyncio.to_thread(warm_up)
            await asked.wait()
    finally:
        await bot.stop()
    log.info("stopped", **about(bot))
    return 0


def about(bot: Bot) -> dict[str, Any]:
    """Return what an operator wants to know of a process, without a secret."""
    settings = bot.settings
    return {
        "version": metadata.version("bellcrier"),
        "schema": REVISION,
        "mode": settings.mode,
        "slack": "socket" if settings.slack_app_token else "http",
        "database": place(settings.database_url),
        "workspaces": [one.id for one in bot.workspaces.all if one.id],
    }


async def _unless(asked: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do the work, or give it up when this is asked. Return whether it was done."""
    doing, waiting = asyncio.create_task(work), asyncio.create_task(asked.wait())
    await asyncio.wait({doing, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not doing.done():
        doing.cancel()
        await asyncio.wait({doing})
        return False
    doing.result()
    return True
