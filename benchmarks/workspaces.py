"""What 50 workspaces on one process cost beside one: `python -m benchmarks.workspaces`.

Each number runs in a process of its own, with the pretend Slack in it too, so that what differs is what the workspaces
cost: the start, the memory, the statements of a process that has nothing to do, and the time to a command's answer.
"""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bot.app import Bot
from bot.domain.clock import now
from bot.logs import set_up
from bot.slack.installed import Installations
from bot.storage import installations
from bot.storage.installations import Stored
from bot.storage.schema import upgrade
from sandbox.server import Sandbox
from tests.support.ground import free_port
from tests.support.workspaces import OURS, many_settings

NUMBERS = (1, 50)
IDLE, COMMANDS = 10.0, 40  # seconds; how many


async def measure(number: int) -> dict[str, float]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        async with Sandbox(events_url=f"http://127.0.0.1:{port}/slack/events") as sandbox:
            names = [OURS, *(f"T0B{place:03}" for place in range(1, number))]
            shared = {name: {"accounts": ["encom", "octo"], "admins": ["U0ANA"]} for name in names}
            bot = Bot(many_settings(sandbox, port, Path(folder), workspaces=shared))
            await bot.database.write(upgrade, patience=None)
            known = Installations(bot.database, bot.key, now)
            for name in names:
                secrets = known.sealed(name, sandbox.world.bot_token, None)
                one = Stored(id=name, name=name, secrets=secrets, bot_user=sandbox.world.bot_user, installed_at=now())
                await bot.database.write(lambda c, one=one: installations.keep(c, one))  # type: ignore[misc]
            before, began = resident(), time.perf_counter()
            await bot.start("127.0.0.1", port)
            found = {"start (s)": time.perf_counter() - began}
            await asyncio.sleep(3)
            found["memory (MB)"] = resident() - before
            return found | await _idle(bot) | await _answers(sandbox, bot)


async def _idle(bot: Bot) -> dict[str, float]:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    counted = [0]

    def count(*_: object) -> None:
        counted[0] += 1

    event.listen(Engine, "before_cursor_execute", count)
    spent = time.process_time()
    await asyncio.sleep(IDLE)
    event.remove(Engine, "before_cursor_execute", count)
    return {"idle statements (/s)": counted[0] / IDLE, "idle CPU (%)": (time.process_time() - spent) / IDLE * 100}


async def _answers(sandbox: Sandbox, bot: Bot) -> dict[str, float]:
    times = list[float]()
    for _ in range(COMMANDS):
        began = time.perf_counter()
        assert await sandbox.acting.command("U0CLEO", "C0CAMPAIGNS", "/broadcast list")
        times.append((time.perf_counter() - began) * 1000)
    began = time.perf_counter()
    await bot.ready()
    ready = (time.perf_counter() - began) * 1000
    await bot.stop()
    return {"answer, median (ms)": statistics.median(times), "answer, worst (ms)": max(times), "/readyz (ms)": ready}


def main() -> None:
    if len(sys.argv) > 1:
        set_up("error")
        print(json.dumps(asyncio.run(measure(int(sys.argv[1])))))
        return
    told = [run(number) for number in NUMBERS]
    one, many = told
    print(f"| | {NUMBERS[0]} | {NUMBERS[1]} | {NUMBERS[1]} / {NUMBERS[0]} |\n|--|--|--|--|")
    for name in one:
        print(f"| {name} | {one[name]:.2f} | {many[name]:.2f} | {many[name] / max(one[name], 1e-9):.1f} |")


def run(number: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.workspaces", str(number)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {str(name): float(value) for name, value in json.loads(done.stdout.splitlines()[-1]).items()}


def resident() -> float:
    """MB of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    main()
