"""Sends a second: `python -m benchmarks.dispatching [--count N] [--kinds sqlite,postgresql] [--processes 1,3]`.

Broadcasts go through the whole core: submit, approve, claim, intent, release to a pretend vendor on a real socket,
acceptance. Beside it, in the same run and on the same disk: bare requests to the same vendor, bare durable commits.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from pathlib import Path

import httpx
from sqlalchemy import Connection, text

from benchmarks.ground import KINDS, databases, opened, settle, table
from bot.logs import set_up
from bot.storage.sqlite import PRAGMAS
from bot.storage.tables import metadata
from providers.http import tls
from sandbox.server import Sandbox

AT_ONCE = 8
LISTS = "/vendors/encom/api/v1/sms/recipients?customerAccount=CL3578&smsRecipientListId=1"
SENDS = "/vendors/encom/api/v1/sms/groupedMessage?customerAccount=CL3578&smsRecipientListId=1&message=Bonjour&type=m"
TOKEN = {"Authorization": "Bearer sandbox-encom-token"}


# --- anchors ---------------------------------------------------------------------------------------------------------


async def bare_requests(vendors: str, count: int) -> float:
    """Broadcasts a second if nothing had to be kept: a read of the list, then a send on a connection of its own."""
    numbers = iter(range(count))

    async def sender(reads: httpx.AsyncClient) -> None:
        for _ in numbers:
            (await reads.get(vendors + LISTS)).raise_for_status()
            async with httpx.AsyncClient(headers=TOKEN, trust_env=False, verify=tls()) as client:
                (await client.post(vendors + SENDS)).raise_for_status()

    began = time.perf_counter()
    async with httpx.AsyncClient(headers=TOKEN, trust_env=False, verify=tls()) as reads:
        await asyncio.gather(*(sender(reads) for _ in range(AT_ONCE)))
    return count / (time.perf_counter() - began)


async def bare_commits(url: str, seconds: float = 1.0) -> float:
    """Durable commits a second of one connection, each of one row of 800 bytes, with the driver alone."""
    done, until = 0, time.perf_counter() + seconds
    if url.startswith("sqlite"):
        with tempfile.TemporaryDirectory() as folder:
            driver = sqlite3.connect(Path(folder, "anchor.db"), isolation_level=None)
            for pragma in PRAGMAS:
                driver.execute(f"PRAGMA {pragma}")
            driver.execute("CREATE TABLE anchor (id INTEGER PRIMARY KEY, told TEXT)")
            while time.perf_counter() < until:
                driver.execute("BEGIN IMMEDIATE")
                driver.execute("INSERT INTO anchor (told) VALUES (?)", ("x" * 800,))
                driver.execute("COMMIT")
                done += 1
            driver.close()
        return done / seconds
    import asyncpg

    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE anchor (id BIGINT GENERATED ALWAYS AS IDENTITY, told TEXT)")
    while time.perf_counter() < until:
        await connection.execute("INSERT INTO anchor (told) VALUES ($1)", "x" * 800)
        done += 1
    await connection.execute("DROP TABLE anchor")
    await connection.close()
    return done / seconds


# --- the core --------------------------------------------------------------------------------------------------------


async def at_work(what: str, url: str, vendors: str, count: int, processes: int) -> tuple[float, Counter[str]]:
    """Seconds from the starting shot until the last process has nothing left, and what all of them took."""
    started = [await _started(what, url, vendors, count) for _ in range(processes)]
    began = time.perf_counter()
    answers = await asyncio.gather(*(process.communicate(b"go\n") for process in started))
    seconds = time.perf_counter() - began
    told = [json.loads(output) for output, _ in answers]
    return seconds, Counter({name: sum(one[name] for one in told) for name in told[0]})


async def _started(what: str, url: str, vendors: str, count: int) -> Process:
    command = (sys.executable, "-m", "benchmarks.working", what, url, vendors, str(count))
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    assert process.stdout is not None
    assert (await process.stdout.readline()) == b"ready\n"
    return process


async def round_trip(url: str, sandbox: Sandbox, count: int, processes: int) -> list[list[object]]:
    async with opened(url, fresh=True) as database:
        await settle(database)
    sandbox.vendors.ledger.clear()
    commits, requests = await bare_commits(url), await bare_requests(sandbox.url, count // 2)
    before = len(sandbox.vendors.ledger)
    asked = await at_work("ask", url, sandbox.url, count, 1)
    sent = await at_work("send", url, sandbox.url, count, processes)
    assert len(sandbox.vendors.ledger) - before == count, "each is sent once"
    lines = []
    for name, (seconds, took) in (("submit, approve", asked), ("claim to accepted", sent)):
        rate = count / seconds
        each = [f"{took[what] / count:.1f}" for what in ("asked", "commits", "statements")]
        cpu, to_commits = took["cpu"] / count * 1000, rate * took["commits"] / count / commits
        kind = url.split(":", 1)[0]
        to_requests = "" if name.startswith("submit") else f"{rate / requests:.2f}"
        lines.append([kind, processes, name, f"{rate:.0f}", to_requests, *each, f"{to_commits:.2f}", f"{cpu:.1f}"])
    lines.append([kind, "", "bare requests", f"{requests:.0f}", "1.00", *[""] * 5])
    lines.append([kind, "", "bare commits", f"{commits:.0f}", "", "", "", "", "1.00", ""])
    return lines


HEAD = (
    *("database", "processes", "what", "a second", "/ bare requests", "transactions each", "commits each"),
    *("statements each", "commits / bare", "CPU ms each"),
)


# --- what is stored --------------------------------------------------------------------------------------------------


def sizes(connection: Connection) -> dict[str, int]:
    """Bytes of every table and index, by name."""
    if connection.dialect.name == "sqlite":
        found = connection.execute(text("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"))
    else:
        found = connection.execute(
            text("SELECT relname, pg_relation_size(oid) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        )
    return {str(name): int(size) for name, size in found}


async def stored(kind: str, url: str, count: int) -> list[list[object]]:
    """Bytes a broadcast leaves in each table, and in all of its indexes."""
    async with opened(url) as database:
        found = await database.read(sizes)
    told: list[list[object]] = []
    for name, one in sorted(metadata.tables.items()):
        indexes = {
            *(str(index.name) for index in one.indexes),
            *(size for size in found if size.startswith((f"sqlite_autoindex_{name}_", f"{name}_", f"uq_{name}_"))),
        }
        rows, beside = found.get(name, 0), sum(found.get(index, 0) for index in indexes)
        if rows > 2 * 8192:
            told.append([kind, name, round(rows / count), round(beside / count)])
    told.append([kind, "together", *(round(sum(int(str(line[n])) for line in told)) for n in (2, 3))])
    return told


# --- all of it -------------------------------------------------------------------------------------------------------


async def measure(given: argparse.Namespace) -> None:
    lines, kept = list[list[object]](), list[list[object]]()
    with databases(given.kinds.split(",")) as urls:
        async with Sandbox() as sandbox:
            for kind, url in urls.items():
                for processes in [1] if kind == "sqlite" else [int(number) for number in given.processes.split(",")]:
                    lines += await round_trip(url, sandbox, given.count, processes)
                kept += await stored(kind, url, given.count)
    table(f"{given.count:,} broadcasts through the core", HEAD, lines)
    table("Bytes that a broadcast leaves", ("database", "table", "rows", "indexes"), kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--processes", default="1,3")
    set_up("error")
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
