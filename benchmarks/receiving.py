"""What vendors tell, among very much that they told: `python -m benchmarks.receiving [cost] [flood] [idle] [start]`.

A callback into a broadcast that has a million deliveries beside the first of one; what people wait for while fifty come
a second; what a bot asks its database while nothing happens; how long it takes to start.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
from sqlalchemy import Connection, insert

from benchmarks import rows
from benchmarks.ground import KEY, KINDS, Core, Counts, databases, free_port, opened, p50_p99, settle, table
from bot.app import Bot
from bot.config.load import parse
from bot.domain.broadcast import Broadcast
from bot.domain.clock import now
from bot.domain.lifecycle import State
from bot.logs import set_up
from bot.sending.tokens import token_for
from bot.storage import broadcasts, receipts
from bot.storage.database import Database
from bot.storage.tables import vendor_ids
from bot.web.callbacks import CallbackDoor
from bot.web.metrics import Meters
from providers.base import Staged
from sandbox.server import Sandbox

TEAM, HERE, TICKET = "T0BELL", "C0CAMPAIGNS", "sms_million"
PORT = free_port()
CALLBACKS_A_SECOND, COMMANDS_EVERY = 50, 0.5


def sent(count: int) -> Broadcast:
    """A campaign under way, of twice as many people as have been reported."""
    at = now()
    fields: dict[str, Any] = {
        "workspace": TEAM,
        "id": "B2222222",
        "key": "million",
        "channel": HERE,
        "state": State.SENT,
    }
    fields |= {"account": "octo", "provider": "octopush", "target": "newsletter", "ids": (TICKET,), "due": None}
    fields |= {"staged": Staged(TICKET, contacts=2 * count + 1000), "accepted_at": at, "attempt": 1}
    return rows.sample(at, **fields)


def fill(connection: Connection, count: int) -> None:
    row = sent(count)
    broadcasts.add(connection, row, draw=False)
    owner = {"account": row.account, "id": TICKET, "workspace": row.workspace, "broadcast": row.id}
    connection.execute(insert(vendor_ids).values(owner))
    if count:
        rows.deliver(connection, row, 1, count)


def stored(connection: Connection) -> int:
    """Deliveries that there are, and that the row of their broadcast counts."""
    row = broadcasts.find(connection, TEAM, "B2222222")
    assert receipts.recount(connection, row).agrees
    return sum(row.counts.values())


async def filled(database: Database, count: int) -> None:
    await database.write(lambda c: fill(c, count), patience=None)
    await settle(database)


# --- what one callback costs -----------------------------------------------------------------------------------------


class Vendor:
    """Calls one bot back, in the same process, each time about somebody else."""

    def __init__(self, database: Database) -> None:
        self.core = Core(database)
        self.door = CallbackDoor(database, self.core.tracker, self.core.providers, KEY, Meters())
        self.number = 0

    async def call_back(self) -> None:
        self.number += 1
        body = json.dumps(news(self.number)).encode()
        statuses: list[int] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(event: Any) -> None:
            statuses.append(event.get("status", 0))

        scope: dict[str, Any] = {"type": "http", "method": "POST", "headers": [(b"content-type", b"application/json")]}
        scope |= {"path_params": {"account": "octo", "token": token_for(KEY, "octo")}, "client": ("203.0.113.7", 1)}
        await self.door(scope, receive, send)
        assert statuses[0] == 200, statuses

    async def several(self, count: int) -> tuple[float, float]:
        """Milliseconds, and milliseconds of CPU of this process, of one."""
        began, cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            await self.call_back()
        return 1000 * (time.perf_counter() - began) / count, 1000 * (time.process_time() - cpu) / count


def news(number: int) -> dict[str, str]:
    told = {"message_id": TICKET, "number": f"+337{number:08d}", "status": "DELIVERED"}
    return told | {"delivery_date": "2026-11-23 10:00:00"}


async def cost(kinds: Sequence[str], count: int, rounds: int) -> None:
    lines: list[list[object]] = []
    for kind in kinds:
        with databases([kind]) as few, databases([kind]) as many:
            async with opened(few[kind], fresh=True) as small, opened(many[kind], fresh=True) as large:
                await filled(small, 0)
                await filled(large, count)
                vendors = {"first": Vendor(small), f"{count:,}": Vendor(large)}
                for vendor in vendors.values():
                    await vendor.several(20)
                taken: dict[str, list[tuple[float, float]]] = {name: [] for name in vendors}
                for _ in range(rounds):
                    for name, vendor in vendors.items():
                        taken[name].append(await vendor.several(50))
                for vendor in vendors.values():
                    await vendor.core.close()
        base = [median(one[place] for one in taken["first"]) for place in (0, 1)]
        for name, found in taken.items():
            wall, cpu = (median(one[place] for one in found) for place in (0, 1))
            lines.append([kind, name, f"{wall:.2f}", f"{wall / base[0]:.2f}", f"{cpu:.2f}", f"{cpu / base[1]:.2f}"])
    head = ("database", "deliveries", "ms", "/ first", "ms of CPU", "/ first")
    table("A callback into a broadcast", head, lines)


# --- a flood, and what people wait for -------------------------------------------------------------------------------


@dataclass
class Running:
    """The bot as a process of its own."""

    process: asyncio.subprocess.Process
    url: str
    started: float

    @property
    def cpu(self) -> float:
        """Seconds so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            await self.process.wait()


def settings_text(sandbox: Sandbox, database: str) -> str:
    text = resources.files("sandbox").joinpath("demo.toml").read_text(encoding="utf-8")
    text = text.replace("BOT_PORT", str(PORT)).replace("PORT", str(sandbox.port))
    lines = [line for line in text.splitlines() if not line.startswith("slack_app_token")]
    own = {"database_url": database, "secret_key": base64.b64encode(KEY).decode()}
    own |= {"slack_signing_secret": sandbox.world.signing_secret}
    return "\n".join([*(f"{name} = {json.dumps(value)}" for name, value in own.items()), *lines])


def workspace() -> Sandbox:
    return Sandbox(events_url=f"http://127.0.0.1:{PORT}/slack/events")


@asynccontextmanager
async def running(sandbox: Sandbox, database: str) -> AsyncIterator[Running]:
    with tempfile.TemporaryDirectory(prefix="bellcrier-") as folder:
        file = Path(folder) / "bellcrier.toml"
        file.write_text(settings_text(sandbox, database), encoding="utf-8")
        began = time.perf_counter()
        code = "from bot.cli import main; main()"
        command = (sys.executable, "-c", code, "run", "--config", str(file), "--port", str(PORT))
        log = Path(folder) / "log"
        with log.open("wb") as told:
            process = await asyncio.create_subprocess_exec(*command, stderr=told)
        bot = Running(process, f"http://127.0.0.1:{PORT}", 0.0)
        try:
            async with aiohttp.ClientSession() as http:
                while not await answers(http, f"{bot.url}/readyz"):
                    assert process.returncode is None, (
                        f"the bot ended with {process.returncode}: {log.read_text(encoding='utf-8')[-1000:]}"
                    )
                    await asyncio.sleep(0.01)
            bot.started = time.perf_counter() - began
            yield bot
        finally:
            await bot.stop()


async def answers(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(url) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def flooded(sandbox: Sandbox, bot: Running, seconds: float, a_second: float) -> tuple[list[float], list[float]]:
    """Seconds until each command, and each callback, was acknowledged."""
    commands, callbacks = list[float](), list[float]()
    began = time.perf_counter()
    address = f"{bot.url}/callbacks/octo/{token_for(KEY, 'octo')}"

    async def call_back(http: aiohttp.ClientSession, number: int) -> None:
        due = began + number / a_second
        await asyncio.sleep(due - time.perf_counter())
        async with http.post(address, json=news(number)) as response:
            assert response.status == 200, response.status
        callbacks.append(time.perf_counter() - due)

    async def command(number: int) -> None:
        due = began + number * COMMANDS_EVERY
        await asyncio.sleep(due - time.perf_counter())
        typed = f"send clients marketing Soldes {number}" if number % 2 else "list"
        assert await sandbox.acting.command("U0CLEO", HERE, f"/broadcast {typed}") is not None, "not acknowledged"
        commands.append(time.perf_counter() - due)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as http:
        told = [call_back(http, number) for number in range(int(seconds * a_second))]
        await asyncio.gather(*told, *(command(number) for number in range(int(seconds / COMMANDS_EVERY))))
    return commands, callbacks


async def flood(kinds: Sequence[str], count: int, seconds: float) -> None:
    lines: list[list[object]] = []
    for kind in kinds:
        for many in (0, count):
            with databases([kind]) as urls:
                async with opened(urls[kind], fresh=True) as database:
                    await filled(database, many)
                async with workspace() as sandbox, running(sandbox, urls[kind]) as bot:
                    await flooded(sandbox, bot, 3, 0.0)
                    cpu = bot.cpu
                    commands, callbacks = await flooded(sandbox, bot, seconds, CALLBACKS_A_SECOND)
                    busy = (bot.cpu - cpu) / seconds
                async with opened(urls[kind]) as database:
                    found = await database.read(stored, patience=None)
                assert found == many + len(callbacks), "what was acknowledged is not what was stored"
            told = [f"{1000 * value:.0f}" for value in (*p50_p99(commands), max(commands), *p50_p99(callbacks))]
            lines.append([kind, f"{many:,}", *told, f"{busy:.2f}"])
    head = ("database", "deliveries", "command p50 ms", "p99", "longest", "callback p50 ms", "p99", "cores busy")
    table(f"{CALLBACKS_A_SECOND} callbacks a second, a command every {COMMANDS_EVERY} s", head, lines)


# --- nothing happens -------------------------------------------------------------------------------------------------


async def idle(kinds: Sequence[str], count: int, seconds: float) -> None:
    lines: list[list[object]] = []
    for kind in kinds:
        with databases([kind]) as urls:
            async with opened(urls[kind], fresh=True) as database:
                await filled(database, count)
            async with workspace() as sandbox:
                bot = Bot(parse(tomllib.loads(settings_text(sandbox, urls[kind]))))
                await bot.start("127.0.0.1", PORT)
                await asyncio.sleep(5)
                counts, cpu = Counts(bot.database), time.process_time()
                await asyncio.sleep(seconds)
                told = [f"{told / seconds:.1f}" for told in (counts.statements, counts.asked)]
                told.append(f"{1000 * (time.process_time() - cpu) / seconds:.1f}")
                await bot.stop()
        lines.append([kind, *told])
    head = ("database", "statements a second", "writing transactions", "ms of CPU")
    table("While nothing happens", head, lines)


# --- a start ---------------------------------------------------------------------------------------------------------


async def start(count: int, rounds: int) -> None:
    taken: dict[str, list[float]] = {"0": [], f"{count:,}": []}
    with databases(["sqlite"]) as few, databases(["sqlite"]) as many:
        urls = dict(zip(taken, (few["sqlite"], many["sqlite"]), strict=True))
        for name, url in urls.items():
            async with opened(url, fresh=True) as database:
                await filled(database, count if name != "0" else 0)
        async with workspace() as sandbox:
            for _ in range(rounds):
                for name, url in urls.items():
                    async with running(sandbox, url) as bot:
                        taken[name].append(bot.started)
    lines = [[name, *(f"{value:.2f}" for value in found)] for name, found in taken.items()]
    table("Seconds from the start to /readyz", ("deliveries", *(f"start {n + 1}" for n in range(rounds))), lines)


async def measure(given: argparse.Namespace) -> None:
    kinds = given.kinds.split(",")
    for what in given.what or ("cost", "flood", "idle", "start"):
        match what:
            case "cost":
                await cost(kinds, given.deliveries, given.rounds)
            case "flood":
                await flood(kinds, given.deliveries, given.seconds)
            case "idle":
                await idle(kinds, 1, given.seconds)
            case "start":
                await start(given.deliveries, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", choices=["cost", "flood", "idle", "start", []])
    parser.add_argument("--deliveries", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--kinds", default=",".join(KINDS))
    set_up("error")
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
