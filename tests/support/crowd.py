"""A crowd that holds connections and asks for nothing, from a process of its own.

`python -m tests.support.crowd ADDRESS PORT IDLE DRIPPING`: from this address of its own, it holds so many idle
connections, and so many that send a byte of a request now and then, half of these of its headers and half of its body.
What is closed is opened again. Prints how many it holds once all are open, and at the end of standard input how often
one was closed.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from contextlib import suppress

AGAIN, DRIP = 1.0, 1.0  # seconds
HEAD = b"POST /slack/events HTTP/1.1\r\nHost: bot\r\n"
BODY = b"Content-Length: 100000\r\n\r\n"


class Crowd:
    def __init__(self, address: str, port: int) -> None:
        self.address, self.port = address, port
        self.opened = self.closed = self.most = 0

    async def hold(self, beginning: bytes = b"") -> None:
        """Keep one connection for ever, whatever the server does."""
        while True:
            with suppress(OSError):
                await self._once(beginning)
            await asyncio.sleep(AGAIN)

    async def _once(self, beginning: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(self.address, 0))
        self.opened += 1
        self.most = max(self.most, self.opened - self.closed)
        try:
            writer.write(beginning)
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(DRIP if beginning else None):
                        if not await reader.read(1024):
                            return
                writer.write(b"x")
        finally:
            self.closed += 1
            writer.close()


async def main(address: str, port: int, idle: int, dripping: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = Crowd(address, port)
    beginnings = [b""] * idle + [HEAD, HEAD + BODY] * (dripping // 2)
    holding = [asyncio.create_task(crowd.hold(beginning)) for beginning in beginnings]
    while crowd.opened < len(beginnings):
        await asyncio.sleep(0.05)
    say(crowd.most)
    await asyncio.to_thread(sys.stdin.read)
    say(crowd.closed)
    for one in holding:
        one.cancel()


def say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
