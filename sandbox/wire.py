"""Answers that no web framework gives: reset, cut short, dripping, never ending. Written to the bare connection."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

RESET = struct.pack("ii", 1, 0)  # linger for no time: closing sends a reset


def transport_of(send: Any) -> asyncio.Transport:
    """The connection under uvicorn's `send`, which is a bound method of its request cycle."""
    cycle = send
    while hasattr(cycle, "__closure__") and cycle.__closure__ and not hasattr(cycle, "__self__"):
        cells = [cell.cell_contents for cell in cycle.__closure__]
        cycle = next(cell for cell in cells if callable(cell) and cell is not cycle)
    transport: asyncio.Transport = cycle.__self__.transport
    return transport


class Raw(Response):
    """A response that controls the connection itself."""

    def __init__(self, kind: str, *, body: bytes = b"", seconds: float = 3600.0, status: int = 201) -> None:
        super().__init__(status_code=status)
        self.kind, self.content, self.seconds = kind, body, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport = transport_of(send)
        match self.kind:
            case "reset":
                reset(transport)
            case "close":
                transport.close()
            case "stall":
                await asyncio.sleep(self.seconds)
                reset(transport)
            case "truncate":
                transport.write(self._head(len(self.content) + 1000) + self.content)
                transport.close()
            case "drip":
                await self._drip(transport)

    def _head(self, length: int) -> bytes:
        return (
            f"HTTP/1.1 {self.status_code} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        ).encode()

    async def _drip(self, transport: asyncio.Transport) -> None:
        """Send a byte at a time, each within any read timeout, and never finish."""
        transport.write(self._head(1_000_000))
        while not transport.is_closing():
            transport.write(b" ")
            await asyncio.sleep(min(self.seconds, 0.1))


def reset(transport: asyncio.Transport) -> None:
    """End the connection with a reset instead of a goodbye."""
    raw = transport.get_extra_info("socket")
    if raw is not None and not transport.is_closing():  # else the other side closed it first
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    transport.abort()


def abort(request: Request) -> Response:
    """Reset the connection: the effect is there, but the answer is lost."""
    return Raw("reset")
