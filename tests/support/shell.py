"""`bellcrier …` as an operator types it, in a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.support.keeper import MARKED
from tests.support.patience import LONG

Shell = Callable[..., Awaitable["Running"]]
ROOT = Path(__file__).parent.parent.parent


class Running:
    """A running `bellcrier …` command; `folder` is where it was started."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self.process, self.folder, self.said = process, folder, ""

    async def says(self, text: str) -> None:
        """Wait until standard output holds this."""
        assert self.process.stdout is not None
        async with asyncio.timeout(LONG):
            while text not in self.said:
                line = await self.process.stdout.readline()
                if not line:
                    raise AssertionError((await self.ends())[1])
                self.said += line.decode()

    async def ends(self) -> tuple[int, str]:
        """Wait for its end, and return its exit code and standard error."""
        async with asyncio.timeout(LONG):
            _, err = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, err.decode()

    async def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        await self.ends()


@asynccontextmanager
async def shell_in(folder: Path) -> AsyncIterator[Shell]:
    """Type a `bellcrier` command in this folder, with nothing in the environment but what is given."""
    async with AsyncExitStack() as stack:

        async def start(*words: str, env: Mapping[str, str] | None = None) -> Running:
            given = env or {}
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bot.cli", *words,
                cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **MARKED, **given},
            )  # fmt: skip
            stack.push_async_callback(_finish, process)
            return Running(process, folder)

        yield start


async def _finish(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.communicate()
