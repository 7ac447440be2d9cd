"""The HTTP server, as a part of the process that can be started and stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
import uvicorn
from starlette.applications import Starlette

from bot.domain.errors import CannotStart
from bot.web.connections import Connection, Connections, Limits, Reason
from bot.web.listening import Endpoint, listening_sockets

log = structlog.get_logger(__name__)
SHUTDOWN = 3.0  # seconds for posts under way and for open connections; sends have their own deadline
ACCEPTED_AT_ONCE = 64  # before anything else gets its turn
QUEUE = 2048  # connections that wait in the system to be accepted
OUT_OF_FILES = "socket.accept() out of system resource"  # asyncio's words for it


class Server(uvicorn.Server):
    """uvicorn without its signals: the process's own handler stops every server in turn."""

    def __init__(self, site: Starlette, place: Endpoint, limits: Limits, on_drop: Callable[[Reason], None]) -> None:
        super().__init__(
            uvicorn.Config(
                site,
                host=place.host,
                port=place.port,
                http=Connection,
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                backlog=ACCEPTED_AT_ONCE,
                forwarded_allow_ips=list(limits.proxies),
                timeout_graceful_shutdown=int(SHUTDOWN),
            )
        )
        self.place = place
        self.server_state = self.gate = Connections(limits, on_drop)
        self._serving: asyncio.Task[None] | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def start(self) -> None:
        """Listen. Raises SettingsError, or CannotStart if the port is taken."""
        sockets = await listening_sockets(self.place, ACCEPTED_AT_ONCE)
        self._serving = asyncio.create_task(self.serve(sockets))
        while not self.started:
            if self._serving.done():
                self._serving.result()
                raise CannotStart(f"Nothing can listen on port {self.place.port}.")
            await asyncio.sleep(0.01)
        self._lengthen_queue()
        asyncio.get_running_loop().set_exception_handler(QuietAccepts())

    def _lengthen_queue(self) -> None:
        """Let more wait than asyncio, which knows one number for both, accepts at once."""
        for listening in (one for server in self.servers for one in server.sockets):
            with listening.dup() as same:
                same.listen(QUEUE)

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:  # ten ticks are a second
            self.gate.sweep(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def stop(self) -> None:
        self.should_exit = True
        if self._serving is not None:
            await self._serving


class QuietAccepts:
    """Logs once a minute that no connection can be accepted. asyncio would log it thousands of times a second."""

    EVERY = 60.0

    def __init__(self) -> None:
        self._told = -self.EVERY

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context.get("message") != OUT_OF_FILES:
            loop.default_exception_handler(context)
        elif loop.time() - self._told >= self.EVERY:
            self._told = loop.time()
            log.error("no connection can be accepted", error=str(context.get("exception")))
