"""Strangers, from a process of their own, who never stop.

`python -m tests.support.crowd ADDRESS PORT IDLE DRIPPING ASKING`: from this address of its own, it holds so many idle
connections, and so many that send a byte of a request now and then, half of these of its headers and half of its body.
So many more send requests that deserve no answer, each as soon as the last was answered. What is closed is opened
again. Prints how many were open once all were, and at the end of standard input how often one was closed, and how many
answers there were.
"""

from __future__ import annotations

import asyncio
import itertools
import resource
import sys
from contextlib import suppress

AGAIN, DRIP = 3.0, 1.0  # seconds
HEAD = b"POST /slack/events HTTP/1.1\r\nHost: bot\r\n"
BODY = b"Content-Length: 100000\r\n\r\n"
FORGED = b"X-Slack-Request-Timestamp: 1\r\nX-Slack-Signature: v0=00\r\nContent-Length: 2000\r\n\r\n" + b"text=" * 400
ASKED = (
    HEAD + FORGED,
    b"POST /callbacks/encom/%032d HTTP/1.1\r\nHost: bot\r\nContent-Length: 2\r\n\r\n{}",
    b"GET /readyz HTTP/1.1\r\nHost: bot\r\n\r\n",
    b"GET /%032d HTTP/1.1\r\nHost: bot\r\n\r\n",
    b"\x16\x03\x01 no HTTP %d\r\n\r\n",
)


class Crowd:
    def __init__(self, address: str, port: int) -> None:
        self.address, self.port = address, port
        self.opened = self.closed = self.most = self.answers = 0
        self.numbers = itertools.count()

    async def hold(self, beginning: bytes = b"") -> None:
        """Keep one connection for ever, whatever the server does."""
        while True:
            with suppress(OSError):
                await self._once(beginning)
            await asyncio.sleep(AGAIN)

    async def ask(self) -> None:
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._asking()

    async def _once(self, beginning: bytes) -> None:
        reader, writer = await self._open()
        try:
            writer.write(beginning)
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(DRIP if beginning else None):
                        if not await reader.read(1024):
                            return
                writer.write(b"x")
        finally:
            self._close(writer)

    async def _asking(self) -> None:
        reader, writer = await self._open()
        try:
            for request in itertools.cycle(ASKED):
                writer.write(request % next(self.numbers) if b"%" in request else request)
                await reader.readuntil(b"\r\n\r\n")
                self.answers += 1
        finally:
            self._close(writer)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(self.address, 0))
        self.opened += 1
        self.most = max(self.most, self.opened - self.closed)
        return reader, writer

    def _close(self, writer: asyncio.StreamWriter) -> None:
        self.closed += 1
        writer.close()


async def main(address: str, port: int, idle: int, dripping: int, asking: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = Crowd(address, port)
    works = [crowd.hold(beginning) for beginning in [b""] * idle + [HEAD, HEAD + BODY] * (dripping // 2)]
    works += [crowd.ask() for _ in range(asking)]
    doing = [asyncio.create_task(work) for work in works]
    while crowd.opened < len(doing):
        await asyncio.sleep(0.05)
    say(crowd.most)
    await asyncio.to_thread(sys.stdin.read)
    say(crowd.closed, crowd.answers)
    for one in doing:
        one.cancel()


def say(*numbers: int) -> None:
    sys.stdout.write(" ".join(map(str, numbers)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
