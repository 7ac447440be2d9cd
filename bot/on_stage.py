"""The bot of the demo: the real one, in a process that can be killed, and with a clock that people move.

It reads from its input by how many seconds its clock is ahead, a line for each change, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import click

from bot.app import Bot
from bot.config.load import load
from bot.domain.clock import SECOND, Micros, now, steady
from bot.logs import set_up
from bot.shell import guarded


class DemoClock:
    """Ahead, it goes as if this machine had slept until then; back, as if somebody had set its clock back."""

    def __init__(self, ahead: int) -> None:
        self.ahead, self.slept = ahead, 0

    def now(self) -> Micros:
        return now() + self.ahead * SECOND

    def steady(self) -> float:
        return steady() + self.slept

    def move(self, ahead: int) -> None:
        """`ahead`: seconds before the clock of this machine."""
        self.slept += max(ahead - self.ahead, 0)
        self.ahead = ahead


async def run(path: Path, ahead: int) -> None:
    settings, clock = load(path, {}), DemoClock(ahead)
    bot = Bot(settings, clock.now, monotonic=clock.steady)
    following = asyncio.create_task(follow(bot, clock))
    starting = asyncio.create_task(bot.start("127.0.0.1", _port(settings.public_url)))
    try:
        await asyncio.wait({following, starting}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            print(json.dumps({"octopush": bot.callback_address("octo")}), flush=True)  # noqa: T201 - the demo reads it
            await following
    finally:
        starting.cancel()
        await bot.stop()


def _port(url: str | None) -> int:
    return int((url or "").rstrip("/").rsplit(":", 1)[1])


async def follow(bot: Bot, clock: DemoClock) -> None:
    """Move the clock as the demo says, until it says no more."""
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        clock.move(int(line))
        bot.workspaces.wake()
        bot.common.wake()


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("ahead", type=int)
@guarded
def main(path: Path, ahead: int) -> None:
    set_up("warning")
    asyncio.run(run(path, ahead))


if __name__ == "__main__":
    main()
