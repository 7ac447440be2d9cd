"""The bot of the demo: the real one, in a process that can be killed, and with a clock that people move.

It reads from its input by how many seconds its clock is ahead, a line for each change, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from pathlib import Path

import click
from sqlalchemy import Connection, update

from bot.app import Bot
from bot.config.load import load
from bot.domain.clock import SECOND, Micros, now, steady
from bot.logs import set_up
from bot.shell import guarded
from bot.storage import keys
from bot.storage.database import CommitUncertain, DatabaseBusy
from bot.storage.tables import broadcasts, homes, leftovers, notes, occurrences, posts

#: When something may be shown or asked for (again). It says nothing of when anything goes out.
PUT_OFF = (
    *(broadcasts.c[name] for name in ("draw_at", "progress_at", "look_at", "stage_at")),
    *(notes.c.post_at, posts.c.post_at, posts.c.draw_at, occurrences.c.draw_at),
    *(homes.c.draw_at, homes.c.drawn_at, leftovers.c.try_at),
)


class DemoClock:
    """Ahead, it goes as if this machine had slept until then; back, as if somebody had set its clock back.

    What happened stays. What starts on Monday waits for Monday again.
    """

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
            await catch_up(bot)
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
        before = clock.ahead
        clock.move(int(line))
        if clock.ahead < before:
            await catch_up(bot)
        bot.workspaces.wake()
        bot.common.wake()


async def catch_up(bot: Bot) -> None:
    """Do at once what was put off until a time that the clock has left."""
    with suppress(DatabaseBusy, CommitUncertain):  # then it waits until that time
        await bot.database.write(lambda connection: put_off_no_more(connection, bot.clock()))


def put_off_no_more(connection: Connection, at: Micros) -> None:
    for column in PUT_OFF:
        connection.execute(update(column.table).where(column > at).values({column.name: at}))
    for account in keys.tripped(connection):
        keys.set_breaker(connection, account, keys.Breaker(), at)


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("ahead", type=int)
@guarded
def main(path: Path, ahead: int) -> None:
    set_up("warning")
    asyncio.run(run(path, ahead))


if __name__ == "__main__":
    main()
