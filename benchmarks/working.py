"""One process of the core at work: `python -m benchmarks.working ask|send URL VENDORS COUNT`.

It says `ready`, waits for a line, works, and tells in JSON what it took: seconds, seconds of CPU, transactions that
were asked for, commits, statements. `ask` submits and approves; `send` dispatches until nothing is left.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from sqlalchemy import func, select

from benchmarks.ground import APPROVER, Core, Counts, audience, opened
from bot.domain.broadcast import BroadcastRequest
from bot.domain.lifecycle import State
from bot.domain.people import Person
from bot.logs import set_up
from bot.storage.tables import broadcasts
from bot.workflow.decision_types import Approve

AT_ONCE = 16  # people who ask at the same time
WORKSPACES = 200
TEXT = "Soldes d'hiver n° {}: -30 % sur tout le magasin du 7 janvier au 3 février. Présentez ce SMS en caisse."


async def ask(core: Core, count: int) -> None:
    """So many broadcasts, each submitted by one person and approved by another."""
    numbers = iter(range(count))

    async def person() -> None:
        for number in numbers:
            workspace = f"T{number % WORKSPACES}"
            cleo, ana = (Person(workspace, id, member=True) for id in ("U0CLEO", APPROVER))
            request = BroadcastRequest(
                workspace=workspace,
                requester=cleo.id,
                channel="C0MARKETING",
                audience=audience(number),
                text=TEXT.format(number),
            )
            asked = (await core.workflow.submit(request, key=f"k{number}", person=cleo)).broadcast
            await core.workflow.act(workspace, asked.id, Approve(), person=ana, version=1)

    await asyncio.gather(*(person() for _ in range(AT_ONCE)))


async def send(core: Core, _count: int) -> None:
    """As the bot's bell rings: every half second, and whenever something changed."""
    under_way = select(func.count()).select_from(broadcasts)
    under_way = under_way.where(broadcasts.c.state.in_([State.SCHEDULED, State.SENDING]))
    looked = 0.0
    while True:
        core.rung.clear()
        await core.dispatcher.tick()
        try:
            async with asyncio.timeout(0.5):
                await core.rung.wait()
        except TimeoutError:
            pass
        if time.monotonic() - looked > 0.25:
            looked = time.monotonic()
            if not await core.database.read(lambda c: c.execute(under_way).scalar_one()):
                return


WORK = {"ask": ask, "send": send}


async def main(what: str, url: str, vendors: str, count: int) -> None:
    async with opened(url) as database:
        core = Core(database, vendors, owner=f"{what}-{time.time_ns()}")
        await database.read(lambda c: None)
        counts = Counts(database)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        began, cpu = time.perf_counter(), time.process_time()
        await WORK[what](core, count)
        told = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
        told |= counts.told()
        await core.close()
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    set_up("critical")
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
