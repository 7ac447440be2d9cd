"""What a process takes that ticks over a database: `python -m benchmarks.ticking URL [AT] [TICKS]`, as JSON in KiB.

A process of its own, since memory that another measurement left behind would count.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import sys
from pathlib import Path

from benchmarks.ground import Core, opened
from bot.domain.clock import now
from bot.logs import set_up


def resident() -> dict[str, int]:
    """KiB that this process has in memory now (`rss`), and had at the most (`peak`). Linux tells it."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    told = dict(line.split(":", 1) for line in lines)
    return {"rss": int(told["VmRSS"].split()[0]), "peak": int(told["VmHWM"].split()[0])}


def give_back() -> None:
    """What nobody uses any more goes back to the system. Otherwise the allocator keeps a few mebibytes, or none: it is
    chance, and twice as much as what is looked for."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc has it
        trim(0)


async def tick_over(url: str, at: int, ticks: int) -> dict[str, int]:
    async with opened(url) as database:
        core = Core(database, clock=lambda: at)
        for _ in range(ticks):
            await core.tick()
        await core.close()
    give_back()
    return resident()


if __name__ == "__main__":
    set_up("warning")
    given = sys.argv[2:]
    instant, count = int(given[0]) if given else now(), int(given[1]) if len(given) > 1 else 20
    print(json.dumps(asyncio.run(tick_over(sys.argv[1], instant, count))))
