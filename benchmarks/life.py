"""A broadcast's whole life: `python -m benchmarks.life [--count N]`.

The real bot in the pretend workspace, a broadcast after the other from the command to the final report: which calls
Slack gets for each, and what goes to the database. Counts, not times: they are the same on every machine.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import tomllib
from collections import Counter
from importlib import resources

from benchmarks.ground import Counts, free_port, table
from bot.app import Bot
from bot.config.load import parse
from bot.domain.lifecycle import State
from bot.logs import set_up
from bot.storage.broadcasts import latest
from sandbox.server import Sandbox

HERE = "C0CAMPAIGNS"
VENDORS = {"encom": ("clients", "OK"), "octopush": ("newsletter", "DELIVERED")}
PORT = free_port()


async def live(sandbox: Sandbox, bot: Bot, vendor: str, number: int) -> None:
    """Asked, approved, sent, delivered, reported."""
    audience, word = VENDORS[vendor]
    known, posted = len(sandbox.vendors.ledger), len(sandbox.acting.messages(HERE))
    await sandbox.acting.command("U0CLEO", HERE, f"/broadcast send {audience} marketing Soldes {vendor} {number}")
    await sandbox.until(lambda: len(sandbox.acting.messages(HERE)) > posted)
    ts = sandbox.acting.messages(HERE)[posted]["ts"]
    await sandbox.acting.click("U0ANA", HERE, ts, "broadcast.approve")
    await sandbox.until(lambda: len(sandbox.vendors.ledger) > known, 30)
    await sandbox.until(lambda: "accepted it" in str(sandbox.acting.thread(HERE, ts)), 30)
    await sandbox.vendors.deliver(vendor, sandbox.vendors.ledger[-1].ids[0], word)
    if vendor == "octopush":  # the other one never says the last word, and reports a day later
        async with asyncio.timeout(60):
            while (await bot.database.read(lambda c: latest(c, "T0BELL", 1)))[0].state is not State.DONE:
                await asyncio.sleep(0.05)
    await quiet(sandbox)


async def quiet(sandbox: Sandbox) -> None:
    """Nothing more is posted or drawn."""
    seen = -1
    while seen != len(sandbox.calls):
        seen = len(sandbox.calls)
        await asyncio.sleep(3)


async def measure(count: int) -> None:
    found, lines = resources.files("sandbox").joinpath("demo.toml").read_text(encoding="utf-8"), list[list[object]]()
    async with Sandbox() as sandbox:
        with tempfile.TemporaryDirectory() as folder:
            raw = tomllib.loads(found.replace("BOT_PORT", str(PORT)).replace("PORT", str(sandbox.port)))
            raw |= {"database_url": f"sqlite:///{folder}/bell.db"}
            raw["approval"]["undo"] = "1s"
            bot = Bot(parse(raw))
            await bot.start("127.0.0.1", PORT)
            sandbox.vendors.octopush.callback_url = bot.callback_address("octo")
            counts = Counts(bot.database)
            for vendor in VENDORS:
                await quiet(sandbox)
                before, written = Counter(name for name, _ in sandbox.calls), counts.commits
                for number in range(count):
                    await live(sandbox, bot, vendor, number)
                calls = Counter(name for name, _ in sandbox.calls) - before
                calls_each = ", ".join(f"{name} {calls[name] / count:.1f}" for name in sorted(calls))
                lines.append([vendor, calls_each, f"{(counts.commits - written) / count:.1f}"])
            await bot.stop()
    table("A whole life, each", ("vendor", "calls to Slack", "commits"), lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=3)
    set_up("error")
    asyncio.run(measure(parser.parse_args().count))


if __name__ == "__main__":
    main()
