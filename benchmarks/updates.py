"""What Slack gets of very many deliveries: `python -m benchmarks.updates [--deliveries N] [--beside N]`.

The real bot in the pretend workspace, with a broadcast of a million deliveries whose reports come as fast as they can
be written, and with others whose reports come at the same time. Counts of `chat.update`, which hold on every machine,
and how long after the last report was written the last change of the card came.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert

from benchmarks import rows
from benchmarks.ground import free_port, table
from bot.app import Bot
from bot.config.load import parse
from bot.domain.broadcast import Broadcast
from bot.domain.clock import now
from bot.domain.lifecycle import State
from bot.logs import set_up
from bot.storage import broadcasts
from bot.storage.tables import vendor_ids
from providers.base import DeliveryStatus, Receipt, Staged
from sandbox.server import Sandbox

TEAM, HERE = "T0BELL", "C0CAMPAIGNS"
PORT = free_port()
BATCH = 500  # receipts that come together
MINUTE = 60.0


class Calls(list[tuple[str, Any]]):
    """The calls of the bot, and when they came."""

    def __init__(self) -> None:
        super().__init__()
        self.updates: defaultdict[str, list[float]] = defaultdict(list)

    def append(self, call: tuple[str, Any]) -> None:
        super().append(call)
        if call[0] == "chat.update":
            self.updates[str(call[1]["ts"])].append(time.monotonic())

    @property
    def most_a_minute(self) -> int:
        times = sorted(at for some in self.updates.values() for at in some)
        return max((sum(1 for at in times if since <= at < since + MINUTE) for since in times), default=0)


def under_way(number: int, people: int) -> Broadcast:
    at, ticket = now(), f"sms_{number}"
    fields: dict[str, Any] = {"workspace": TEAM, "id": f"B{2222222 + number}", "key": ticket, "channel": HERE}
    fields |= {"state": State.SENT, "account": "octo", "provider": "octopush", "target": "newsletter", "due": None}
    fields |= {"ids": (ticket,), "staged": Staged(ticket, contacts=people), "accepted_at": at, "attempt": 1}
    return rows.sample(at, **fields)


def fill(connection: Connection, row: Broadcast) -> None:
    broadcasts.add(connection, row, draw=True)
    owner = {"account": row.account, "id": row.ids[0], "workspace": row.workspace, "broadcast": row.id}
    connection.execute(insert(vendor_ids).values(owner))


def reports(row: Broadcast, first: int, count: int) -> Iterable[Receipt]:
    status = DeliveryStatus.DELIVERED
    for number in range(first, first + count):
        yield Receipt(row.ids[0], status, "DELIVERED", f"+336{number:09d}", final=True)


async def deliver(bot: Bot, row: Broadcast, people: int, seconds: float) -> float:
    """Report all of them, evenly over so many seconds or as fast as possible. Return when the last was written."""
    began, batch = time.monotonic(), min(BATCH, max(people // 100, 1))
    for first in range(0, people, batch):
        await asyncio.sleep(max(began + seconds * first / people - time.monotonic(), 0))
        told = reports(row, first, min(batch, people - first))
        await bot.tracker.receiver.record("octo", told)
    return time.monotonic()


async def ended(bot: Bot, many: Iterable[Broadcast]) -> None:
    for row in many:
        async with asyncio.timeout(120):
            while (
                await bot.database.read(partial(broadcasts.find, workspace=TEAM, id=row.id))
            ).state is not State.DONE:
                await asyncio.sleep(0.05)


async def run(sandbox: Sandbox, bot: Bot, people: int, beside: int, seconds: float) -> dict[str, object]:
    large, others = under_way(0, people), [under_way(number, 1000) for number in range(1, beside + 1)]
    calls = sandbox.api.calls = Calls()
    for row in (large, *others):
        await bot.database.write(partial(fill, row=row))
    await sandbox.until(lambda: len(sandbox.acting.messages(HERE)) == beside + 1, 120)
    card = next(one["ts"] for one in sandbox.acting.messages(HERE) if large.id in str(one))
    began = time.monotonic()
    told = [deliver(bot, row, 1000, max(seconds, 30.0)) for row in others]
    written, *_ = await asyncio.gather(deliver(bot, large, people, seconds), *told)
    took = time.monotonic() - began
    await ended(bot, (large, *others))
    await asyncio.sleep(10)
    last = sandbox.acting.messages(HERE)
    shown = next(str(one) for one in last if one["ts"] == card)
    assert f"{people:,} of {people:,} delivered" in shown, shown
    late = calls.updates[card][-1] - written
    return {
        "deliveries": f"{people:,}",
        "beside": beside,
        "seconds": f"{took:.0f}",
        "updates of its card": len(calls.updates[card]),
        "most a minute, all cards": calls.most_a_minute,
        "last update after the last commit, s": f"{late:.2f}",
        "other calls": dict(Counter(name for name, _ in calls if name != "chat.update")),
    }


async def measure(people: int, beside: int, seconds: float) -> dict[str, object]:
    found = resources.files("sandbox").joinpath("demo.toml").read_text(encoding="utf-8")
    async with Sandbox() as sandbox:
        with tempfile.TemporaryDirectory(prefix="bellcrier-") as folder:
            raw = tomllib.loads(found.replace("BOT_PORT", str(PORT)).replace("PORT", str(sandbox.port)))
            raw |= {"database_url": f"sqlite:///{Path(folder) / 'bell.db'}"}
            bot = Bot(parse(raw))
            await bot.start("127.0.0.1", PORT)
            try:
                return await run(sandbox, bot, people, beside, seconds)
            finally:
                await bot.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=1_000_000)
    parser.add_argument("--beside", type=int, default=30, help="broadcasts of a thousand beside it")
    parser.add_argument("--seconds", type=float, default=0, help="over which the reports come; 0: as fast as possible")
    set_up("error")
    given = parser.parse_args()
    line = asyncio.run(measure(given.deliveries, given.beside, given.seconds))
    table("Changes of messages at Slack", tuple(line), [list(line.values())])


if __name__ == "__main__":
    main()
