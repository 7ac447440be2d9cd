"""An HTTP server that starts and ends within the loop of its caller, at an address that it can take again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import uvicorn
from starlette.applications import Starlette

LAST_ANSWERS = 2.0  # seconds that requests under way have when the server stops


def bound(host: str, port: int) -> socket.socket:
    """A socket at this address, where nothing listens yet. Raises OSError when the port is taken."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    return listening


class Server(uvicorn.Server):
    """uvicorn without its signals and its pauses. It ends its endless streams when it stops.

    uvicorn checks ten times a second whether to stop, and then waits two tenths more. A thousand tests would pay for
    that.
    """

    def __init__(self, site: Starlette, end_streams: Callable[[], None] = lambda: None) -> None:
        config = uvicorn.Config(site, ws="wsproto", log_config=None, access_log=False, lifespan="off")
        super().__init__(config)
        self._end_streams, self.asked = end_streams, asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        while not self.asked.is_set():
            await self.on_tick(0)  # sets the date of its answers
            with suppress(TimeoutError):
                await asyncio.wait_for(self.asked.wait(), 1.0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end_streams()
        for listening in self.servers:
            listening.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_ANSWERS):
                while state.connections or state.tasks:
                    await asyncio.sleep(0.005)
        for task in state.tasks:
            task.cancel()

    async def begin(self, listening: socket.socket) -> None:
        """Serve in the background until `end`."""
        self._serving = asyncio.create_task(self.serve([listening]))
        while not self.started:
            await asyncio.sleep(0.005)

    async def end(self) -> None:
        self.asked.set()
        await self._serving
