"""An address of its own for each pretend vendor, at which nobody answers while the vendor is away."""

from __future__ import annotations

import socket

from starlette.applications import Starlette

from sandbox.serving import Server, bound
from sandbox.vendors.ledger import Vendor


class Door:
    """The address of one vendor. While it is closed the system refuses connections to it."""

    def __init__(self, vendor: Vendor, host: str = "127.0.0.1", port: int = 0) -> None:
        self.vendor, self.host, self.port = vendor, host, port
        self._server: Server | None = None
        self._held: socket.socket | None = None  # keeps others from the port while nobody listens there

    async def open(self) -> None:
        """Raises OSError when the port is taken."""
        if self._held is None:
            self._held = bound(self.host, self.port)
            self.port = self._held.getsockname()[1]
        if self._server is None:
            listening = bound(self.host, self.port)
            server = self._server = Server(Starlette(routes=self.vendor.routes()))
            await server.begin(listening)

    async def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.end()

    async def give_up(self) -> None:
        """Close it, and leave the port to others."""
        await self.close()
        if self._held is not None:
            self._held.close()
