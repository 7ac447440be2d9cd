"""The HTTP server, as a part of the process that can be started and stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn
from starlette.applications import Starlette

from bot.domain.errors import CannotStart

log = structlog.get_logger(__name__)
SHUTDOWN = 3.0  # seconds for posts under way and for open connections; sends have their own deadline


class Server(uvicorn.Server):
    """uvicorn without its signals: the process's own handler stops every server in turn."""

    def __init__(self, site: Starlette, host: str, port: int) -> None:
        super().__init__(
            uvicorn.Config(
                site,
                host=host,
                port=port,
                ws="none",
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=int(SHUTDOWN),
            )
        )
        self._serving: asyncio.Task[None] | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def start(self) -> None:
        """Listen. Raises CannotStart when the port is taken."""
        self._serving = asyncio.create_task(self._serve_quietly())
        while not self.started:
            if self._serving.done():
                raise CannotStart(
                    f"Port {self.config.port} on {self.config.host} is taken. Choose another with --port."
                )
            await asyncio.sleep(0.01)

    async def _serve_quietly(self) -> None:
        try:
            await self.serve()
        except SystemExit:  # uvicorn's way to say that it could not bind
            log.error("could not listen", port=self.config.port)

    async def stop(self) -> None:
        self.should_exit = True
        if self._serving is not None:
            await self._serving
