"""An address of its own for each pretend vendor, at which nobody answers while the vendor is away."""

from __future__ import annotations

from starlette.applications import Starlette

from sandbox.serving import Server, bound
from sandbox.vendors.ledger import Vendor


class Door:
    """The address of one vendor. While it is closed the system refuses connections to it."""

    def __init__(self, vendor: Vendor, host: str = "127.0.0.1", port: int = 0) -> None:
        self.vendor, self.host, self.port = vendor, host, port
        self._server: Server | None = None

    @property
    def is_open(self) -> bool:
        return self._server is not None

    async def open(self) -> None:
        """Raises OSError when the port is taken."""
        if self._server is None:
            listening = bound(self.host, self.port)
            self.port = listening.getsockname()[1]
            server = self._server = Server(Starlette(routes=self.vendor.routes()))
            await server.begin(listening)

    async def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.end()
