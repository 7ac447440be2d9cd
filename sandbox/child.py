"""A program that runs beside the sandbox, and that can be killed and started again."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress


class Child:
    """`python -m` with these words. `on_first_line` gets the first line of its output, which says that it is ready.

    The program must end when its input does. So it ends with this process, even if nothing here runs any more.
    """

    def __init__(self, words: Sequence[str], on_first_line: Callable[[str], None]) -> None:
        self.words, self.on_first_line = words, on_first_line
        self.state = "starting"  # starting | running | killed | ended
        self.changed: Callable[[], None] = lambda: None
        self.process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def start(self, *more: str) -> None:
        """Start it in a session of its own: Ctrl-C is for this process, which then stops it."""
        self._becomes("starting")
        if self.process is not None:
            await self.process.wait()  # it was killed a moment ago
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *self.words, *more,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read(self.process))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is not None and (line := await process.stdout.readline()):
            self.on_first_line(line.decode())
            self._becomes("running")
        await process.wait()
        if self.process is process and self.state != "killed":
            self._becomes("ended")

    def _becomes(self, state: str) -> None:
        self.state = state
        self.changed()

    async def tell(self, line: str) -> None:
        """Write a line to its input, if it still reads."""
        if self.process is not None and self.process.stdin is not None and self.is_alive:
            with suppress(ConnectionError):
                self.process.stdin.write(f"{line}\n".encode())
                await self.process.stdin.drain()

    async def kill(self) -> None:
        """End it as a power cut would: it writes and says nothing more."""
        if self.process is not None and self.is_alive:
            self._becomes("killed")
            self.process.kill()
            await self.process.wait()

    async def until_ready(self) -> int | None:
        """Wait until it is ready or killed. Returns None, or its exit code when it ended by itself instead."""
        while self.state == "starting":
            await asyncio.sleep(0.01)
        return self.process.returncode if self.process is not None and self.state == "ended" else None

    async def stop(self) -> None:
        """Let it finish its work, and wait for its end."""
        if self.process is not None and self._reading is not None:
            if self.process.stdin is not None:
                self.process.stdin.close()
            await self._reading
