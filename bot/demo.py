"""Runs the sandbox, a pretend workspace and pretend vendors, with the real bot in it or without it."""

from __future__ import annotations

import asyncio
import signal
import socket
from importlib import resources
from pathlib import Path

import click

from bot.app import Bot
from bot.config.load import load
from bot.domain.errors import CannotStart
from sandbox.server import Sandbox


def demo_settings(data: Path, port: int) -> Path:
    """Write the demo's settings file, which is like any other. The bot does not know that it is a demo."""
    template = resources.files("sandbox").joinpath("demo.toml").read_text(encoding="utf-8")
    path = data / "bellcrier.toml"
    path.write_text(template.replace("BOT_PORT", str(_free_port())).replace("PORT", str(port)), encoding="utf-8")
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def run_demo(path: Path, port: int) -> int:
    stop = _stop_on_signal()
    settings = load(path, {})
    sandbox = Sandbox(port=port, auto_deliver=4.0)
    try:
        await sandbox.start()
    except OSError as error:
        raise CannotStart(f"Port {port} is taken. Choose another with --port.") from error
    bot = Bot(settings)
    sandbox.vendors.octopush.callback_url = bot.callback_address("octo")
    try:
        await bot.start("127.0.0.1", int((settings.public_url or "").rstrip("/").rsplit(":", 1)[1]))
        click.echo(f"bellcrier demo: a pretend workspace with the real bot in it. Open\n{sandbox.url}")
        await stop.wait()
    finally:
        await bot.stop()
        await sandbox.stop()
    return 0


def _stop_on_signal() -> asyncio.Event:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def run_sandbox(port: int, events_url: str | None) -> int:
    stop = _stop_on_signal()
    async with Sandbox(port=port, events_url=events_url) as pretend:
        click.echo(
            f"SLACK_API_URL={pretend.api_url}\nSLACK_BOT_TOKEN={pretend.world.bot_token}\n"
            f"SLACK_APP_TOKEN={pretend.world.app_token}\nSLACK_SIGNING_SECRET={pretend.world.signing_secret}\n"
            f"The page: {pretend.url}"
        )
        await stop.wait()
    return 0
