"""Runs the sandbox, a pretend workspace and pretend vendors, with the real bot beside it or without it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import re
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path

import click

from bot.domain.errors import CannotStart
from sandbox.child import Child
from sandbox.server import Sandbox
from sandbox.serving import bound
from sandbox.stage import Stage


def demo_settings(path: Path, port: int, bot_port: int, doors: Mapping[str, int]) -> None:
    """Write the demo's settings file, which is like any other. The bot does not know that it is a demo.

    `doors`: the ports of the vendors.
    """
    text = resources.files("sandbox").joinpath("demo.toml").read_text(encoding="utf-8")
    for vendor, door in doors.items():
        text = text.replace(f":PORT/vendors/{vendor}", f":{door}/vendors/{vendor}")
    text = text.replace("BOT_PORT", str(bot_port)).replace("PORT", str(port))
    path.write_text(text, encoding="utf-8")


def _hold_port_of_bot(path: Path) -> socket.socket:
    """Hold the port that it had in an earlier demo, where the vendors call it back, or else a free one.

    The bot listens on it all the same, and nobody else takes it while the bot is dead.
    """
    known = re.search(r'^public_url = ".*:(\d+)"$', path.read_text(encoding="utf-8"), re.M) if path.exists() else None
    for port in (int(known[1]) if known else 0, 0):
        with suppress(OSError):
            return bound("127.0.0.1", port)
    raise CannotStart("This machine has no free port left.")


@contextmanager
def _only_one_in(data: Path) -> Iterator[None]:
    """Keep other demos out of this folder: two would write over each other's workspace."""
    with (data / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CannotStart(
                f"A demo runs in {data} already. Stop it, or choose another folder with --data."
            ) from None
        yield


async def run_demo(data: Path, port: int, *, fresh: bool) -> int:
    stop = _stop_on_signal()
    with _only_one_in(data):
        if fresh:
            _forget(data)
        return await _run(data, port, stop)


def _forget(data: Path) -> None:
    for left in data.glob("bellcrier*"):
        left.unlink()


async def _run(data: Path, port: int, stop: asyncio.Event) -> int:
    settings = data / "bellcrier.toml"
    sandbox = Sandbox(port=port, auto_deliver=4.0)

    def ready(line: str) -> None:
        sandbox.vendors.octopush.callback_url = json.loads(line)["octopush"]

    bot = Child(("bot.on_stage", str(settings)), ready)
    stage = Stage(sandbox, bot, data / "bellcrier-workspace.json")
    await _open(stage, port)
    try:
        with _hold_port_of_bot(settings) as held:
            doors = {name: door.port for name, door in stage.doors.items()}
            demo_settings(settings, sandbox.port, held.getsockname()[1], doors)
            await bot.start(str(stage.clock.ahead))
            return await _until_stopped(sandbox, bot, stop)
    finally:
        await bot.stop()
        await stage.close()
        await sandbox.stop()


async def _open(stage: Stage, port: int) -> None:
    try:
        await stage.open()
    except (ValueError, TypeError, LookupError, AttributeError):
        raise CannotStart(f"{stage.keeping.path} is damaged. Begin anew with --fresh.") from None
    try:
        await stage.sandbox.start()
    except OSError as error:
        await stage.close()
        raise CannotStart(f"Port {port} is taken. Choose another with --port.") from error


async def _until_stopped(sandbox: Sandbox, bot: Child, stop: asyncio.Event) -> int:
    """Returns the exit code: that of a bot which could not start, and has said why."""
    starting, waiting = asyncio.create_task(bot.until_ready()), asyncio.create_task(stop.wait())
    await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done() and (code := starting.result()) is not None:
        return code
    if not stop.is_set():
        click.echo(f"bellcrier demo: a pretend workspace with the real bot beside it. Open\n{sandbox.url}")
        await waiting
    starting.cancel()
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
