"""Many that wait: `python -m benchmarks.scheduled [--rows N] [--restart N] [--rounds N] [--kinds sqlite,postgresql]`.

How long the next due ones take to find, what memory many waiting ones take, and how fast a restart sorts out what an
absence left: each beside what the bare driver does for the same in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from sqlalchemy import Connection, and_, func, select, text
from sqlalchemy.engine import make_url

from benchmarks import rows
from benchmarks.ground import KINDS, Core, databases, opened, p50_p99, settle, table
from bot.domain.clock import SECOND
from bot.domain.lifecycle import Phase, State
from bot.logs import set_up
from bot.storage import queue
from bot.storage.database import Database
from bot.storage.sqlite import PRAGMAS
from bot.storage.tables import broadcasts

AT = 1_800_000_000 * SECOND
HOUR = 3600 * SECOND

Task = Callable[[], Awaitable[object]]


def waiting(connection: Connection, count: int) -> None:
    """Due one a second from now on, in ten thousand workspaces."""
    if count:
        rows.fill(connection, rows.sample(AT), 1, count, due=lambda n: AT + n * SECOND)


# --- finding what is due ---------------------------------------------------------------------------------------------

NEXT = "SELECT workspace, id FROM broadcasts WHERE state = 'scheduled' AND due <= {at} ORDER BY due LIMIT 8"


async def bare(url: str) -> tuple[Callable[[str], Awaitable[object]], Task]:
    """The driver alone: something that asks it a statement, and something that closes it."""
    if url.startswith("sqlite"):
        driver = sqlite3.connect(make_url(url).database or "", isolation_level=None)

        async def ask(statement: str) -> object:
            return driver.execute(statement).fetchall()

        async def close() -> None:
            driver.close()

        return ask, close
    import asyncpg

    connection = await asyncpg.connect(url)
    return connection.fetch, connection.close


async def finding(kind: str, url: str, count: int, rounds: int) -> list[list[object]]:
    """p50 and p99 of the next eight due rows, in milliseconds, among none and among `count`."""
    told: dict[str, tuple[float, float]] = {}
    for many in (0, count):
        async with opened(url, fresh=True) as database:
            await database.write(partial(waiting, count=many), patience=None)
            await settle(database)
            ask, close = await bare(url)
            due = partial(queue.due, at=AT + 8 * SECOND, limit=8, lease_at=AT, taken={})
            tasks: dict[str, Task] = {
                "bare driver: SELECT 1": partial(ask, "SELECT 1"),
                "bare driver: the next 8 ids": partial(ask, NEXT.format(at=AT + 8 * SECOND)),
                "transaction: SELECT 1": partial(database.write, lambda c: c.execute(text("SELECT 1")).all()),
                "transaction: the next 8 broadcasts": partial(database.write, due),
            }
            for name, seconds in (await in_turns(tasks, rounds)).items():
                told[f"{name}, {many:,} waiting"] = p50_p99(seconds)
            await close()
    anchor = told[f"bare driver: SELECT 1, {count:,} waiting"][0]
    return [
        [kind, name, f"{p50 * 1000:.3f}", f"{p99 * 1000:.3f}", f"{p50 / anchor:.1f}"]
        for name, (p50, p99) in told.items()
    ]


async def in_turns(tasks: dict[str, Task], rounds: int) -> dict[str, list[float]]:
    """Seconds of each, one after the other in every round, so that what disturbs one disturbs all."""
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(rounds + 5):
        for name, task in tasks.items():
            began = time.perf_counter()
            await task()
            if number >= 5:
                taken[name].append(time.perf_counter() - began)
    return taken


# --- memory ----------------------------------------------------------------------------------------------------------


async def memory(kind: str, url: str, count: int) -> list[object]:
    """MiB of a process that ticks, over none and over `count`."""
    taken = []
    for many in (0, count):
        async with opened(url, fresh=True) as database:
            await database.write(partial(waiting, count=many), patience=None)
            await settle(database)
        command = (sys.executable, "-m", "benchmarks.ticking", url, str(AT), "20")
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        taken.append(json.loads(output)["rss"] / 1024)
    return [kind, *(f"{mib:.1f}" for mib in taken), f"{taken[1] - taken[0]:+.2f}"]


# --- a restart -------------------------------------------------------------------------------------------------------

GONE: dict[str, Any] = {"state": State.SENDING, "owner": "gone", "attempt": 1, "lease_until": SECOND}
LEFT: dict[str, tuple[dict[str, Any], ...]] = {
    "under way when it died": ({**GONE, "phase": Phase.RELEASING}, {**GONE, "phase": Phase.STAGING}),
    "late": ({"due": AT - HOUR, "start_at": AT - HOUR},),
}


async def restart(kind: str, url: str, count: int, beside: int, name: str) -> list[object]:
    """Seconds until the first tick has sorted out `count` rows that an absence left, and the bare driver's for the
    same number of updates and inserts. The vendor is away: nothing is sent meanwhile."""
    async with opened(url, fresh=True) as database:
        await database.write(partial(waiting, count=beside), patience=None)
        for number, fields in enumerate(LEFT[name]):
            each = count // len(LEFT[name])
            left = partial(rows.fill, like=rows.sample(AT, **fields), first=beside + 1 + number * each, count=each)
            await database.write(left, patience=None)
        await settle(database)
        anchor = await driver_writes(url, count)
        core = Core(database, clock=lambda: AT)
        began = time.perf_counter()
        await core.dispatcher.tick()
        seconds = time.perf_counter() - began
        await core.close()
        still = await still_there(database, name)
    return [
        kind,
        name,
        f"{count:,}",
        f"{seconds:.2f}",
        f"{seconds / count * 1000:.2f}",
        f"{seconds / anchor:.1f}",
        still,
    ]


async def still_there(database: Database, name: str) -> int:
    """How many of them are as they were left."""
    of = broadcasts.c.state == State.SENDING
    if name == "late":
        of = and_(broadcasts.c.state == State.SCHEDULED, broadcasts.c.due < AT - HOUR // 2)
    statement = select(func.count()).select_from(broadcasts).where(of)
    return int(await database.read(lambda c: c.execute(statement).scalar_one()))


async def driver_writes(url: str, count: int) -> float:
    """Seconds of one update and two inserts for each row by the bare driver, two hundred rows a transaction."""
    ask, close = await bare(url)
    if url.startswith("sqlite"):
        for pragma in PRAGMAS:
            await ask(f"PRAGMA {pragma}")
    await ask("CREATE TABLE anchor (id BIGINT PRIMARY KEY, state TEXT, told TEXT)")
    row = "INSERT INTO anchor VALUES ({}, '{}', '{}')"
    numbers = range(count)
    began = 0.0
    for turn in (partial(_a_row, row=row), partial(_a_move, count=count, row=row)):
        began = time.perf_counter()
        for start in numbers[::200]:
            statements = [one for number in numbers[start : start + 200] for one in turn(number)]
            for statement in ("BEGIN", *statements, "COMMIT"):
                await ask(statement)
    seconds = time.perf_counter() - began
    await ask("DROP TABLE anchor")
    await close()
    return seconds


def _a_row(number: int, row: str) -> list[str]:
    return [row.format(number, "sending", "x" * 800)]


def _a_move(number: int, count: int, row: str) -> list[str]:
    """As a step of a broadcast is written: guarded, with its audit and its note."""
    moved = f"UPDATE anchor SET state = 'unknown' WHERE id = {number} AND state = 'sending'"  # noqa: S608 - numbers
    return [moved, row.format(number + count, "audit", "y" * 200), row.format(number + 2 * count, "note", "z" * 200)]


# --- all of it -------------------------------------------------------------------------------------------------------


async def measure(given: argparse.Namespace) -> None:
    with databases(given.kinds.split(",")) as urls:
        found = [line for kind, url in urls.items() for line in await finding(kind, url, given.rows, given.rounds)]
        table("Finding what is due", ("database", "what", "p50 ms", "p99 ms", "p50 / bare SELECT 1"), found)
        taken = [await memory(kind, url, given.rows) for kind, url in urls.items()]
        table("Memory of a process that ticks", ("database", "MiB, none", f"MiB, {given.rows:,}", "difference"), taken)
        head = ("database", "what", "rows", "seconds", "ms a row", "/ bare driver", "left")
        done = [
            await restart(kind, url, given.restart, given.rows, name) for kind, url in urls.items() for name in LEFT
        ]
        table(f"A restart, beside {given.rows:,} that wait", head, done)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--restart", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--kinds", default=",".join(KINDS))
    set_up("error")
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
