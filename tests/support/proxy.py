"""A real road to PostgreSQL that can be cut: before the server hears the commit, after it, or by silence."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from sqlalchemy.engine import make_url

COMMIT = b"COMMIT;"
SSL_REQUEST = bytes.fromhex("0000000804d2162f")  # PostgreSQL's protocol, 55.7: SSLRequest


@dataclass
class Cut:
    """Where and how a connection breaks.

    `at`: words on the wire (a statement, a value). It breaks at the last one; the others must have been said before on
    the same connection. `how`: the server does not hear them (`before`), hears them but nobody hears its answer
    (`after`), or both go on waiting (`silence`).
    """

    at: tuple[bytes, ...]
    how: Literal["before", "after", "silence"]
    times: int = 1


class Proxy:
    """Listens on TCP, and passes everything on to the server's socket file unless it is asked to cut."""

    def __init__(self, server: Any, tls: ssl.SSLContext | None = None) -> None:
        """`tls`: then whoever connects may speak TLS, as to a server that has a certificate."""
        self.tls = tls
        self.secured = 0  # how many did
        self.target: Path = server.get_postmaster_info().socket_path
        self.cuts: list[Cut] = []
        self.done = 0  # how many cuts were made
        self.silent = False  # takes everything in and passes nothing on
        self.delay = 0.0  # seconds by which each answer is late, as between two zones of a cloud
        self._entered: set[asyncio.StreamWriter] = set()
        self._door: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.shut()

    async def open(self) -> None:
        self._door = await asyncio.start_server(self._enter, "127.0.0.1", self.port)
        self.port = self._door.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """Break all connections, and refuse new ones until `open`."""
        if self._door is not None:
            self._door.close()
        for writer in self._entered:
            writer.transport.abort()
        while self._entered:
            await asyncio.sleep(0.01)

    def url(self, direct: str) -> str:
        """The URL of the same database, through this proxy."""
        through = make_url(direct).set(host="127.0.0.1", port=self.port, query={})
        return through.render_as_string(hide_password=False)

    def cut(self, *at: bytes, how: Literal["before", "after", "silence"], times: int = 1) -> None:
        self.cuts.append(Cut(at, how, times))

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._entered.add(writer)
        try:
            there = await asyncio.open_unix_connection(str(self.target))
            try:
                if not writer.is_closing() and await self._greet(reader, writer, there[1]):
                    await _Road(self, (reader, writer), there).run()
            finally:
                there[1].transport.abort()
        finally:
            writer.transport.abort()
            self._entered.discard(writer)

    async def _greet(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, there: asyncio.StreamWriter
    ) -> bool:
        """Speak TLS if that is asked for, else pass on what came. Return whether the connection holds."""
        if self.tls is None:
            return True
        try:
            first = await reader.readexactly(8)
            if first != SSL_REQUEST:
                there.write(first)
                return True
            writer.write(b"S")
            await writer.start_tls(self.tls)
        except (OSError, EOFError):  # whoever connects may not like our certificate
            return False
        self.secured += 1
        return True

    def take(self, said: bytes) -> Cut | None:
        """Use up and return the cut that is due after these words, if any."""
        for cut in self.cuts:
            if all(words in said for words in cut.at):
                cut.times -= 1
                if cut.times <= 0:
                    self.cuts.remove(cut)
                self.done += 1
                return cut
        return None


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Road:
    """One connection."""

    def __init__(self, proxy: Proxy, here: Ends, there: Ends) -> None:
        self.proxy, self.here, self.there = proxy, here, there
        self.said = b""  # since the last commit or rollback
        self.swallow = False  # drop the server's next answer, and end the connection
        self.silent = False

    async def run(self) -> None:
        both = [asyncio.create_task(self._to_server()), asyncio.create_task(self._to_client())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _to_server(self) -> None:
        while data := await self.here[0].read(65536):
            self.said += data
            cut = self.proxy.take(self.said)
            if cut is not None and cut.how == "before":
                return
            if cut is not None and cut.how == "after":
                self.swallow = True
            self.silent = self.silent or self.proxy.silent or (cut is not None and cut.how == "silence")
            if COMMIT in data or b"ROLLBACK;" in data:
                self.said = b""
            if not self.silent:
                self.there[1].write(data)

    async def _to_client(self) -> None:
        while data := await self.there[0].read(65536):
            if self.swallow:
                return
            if self.proxy.delay:
                await asyncio.sleep(self.proxy.delay)
            if not (self.silent or self.proxy.silent):
                self.here[1].write(data)
