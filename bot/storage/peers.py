"""How one process hears from the others, over PostgreSQL's LISTEN and NOTIFY."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import structlog

from bot.storage.connecting import sentence

log = structlog.get_logger(__name__)

CHANNEL = "bellcrier"
LISTEN_CHECK = 10.0  # seconds between checks that the listening connection is alive
ECHO = 5.0  # seconds within which our own notification must come back
AGAIN, MUCH_LATER = 1.0, 60.0  # seconds until the next try: after a break; where nothing is ever delivered


class NothingHeard(Exception):
    """The connection listens, and not even our own notification arrives on it."""

    def __str__(self) -> str:
        return "a pooler in transaction mode, perhaps, delivers no notifications"


class Peers:
    """Listens to the other processes over a connection of its own.

    `name`: tells our own notifications from those of others. `deaf`: why nothing is heard just now; None while
    notifications arrive, or where nobody listens.
    """

    def __init__(self, connect: Callable[[], Awaitable[Any]], notify: Callable[[], Awaitable[None]], name: str) -> None:
        self._connect, self._notify, self.name = connect, notify, name
        self.deaf: str | None = None
        self._task: asyncio.Task[None] | None = None

    def listen(self, on_notice: Callable[..., None]) -> None:
        """Listen until `close`. After each break connect again and call `on_notice`, as words may have been missed."""
        self._task = asyncio.create_task(self._listen(on_notice), name="listen")

    async def trouble(self) -> str | None:
        """Try it once, apart from the listening: why nothing is heard, or None."""
        echo = asyncio.Event()

        def hear(_connection: Any, _process: int, _channel: str, payload: str) -> None:
            if payload == self.name:
                echo.set()

        try:
            connection = await self._connect()
            try:
                await connection.add_listener(CHANNEL, hear)
                await self._come_back(echo)
            finally:
                await connection.close(timeout=1)
        except Exception as error:
            return sentence(error)
        return None

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self, on_notice: Callable[..., None]) -> None:
        while True:
            try:
                connection = await self._connect()
                try:
                    await self._hear(connection, on_notice)
                finally:
                    await connection.close(timeout=1)
            except Exception as error:  # any error: a listener that ended would hear nothing until a restart
                self._went_deaf(sentence(error))
                await asyncio.sleep(MUCH_LATER if isinstance(error, NothingHeard) else AGAIN)

    def _went_deaf(self, why: str) -> None:
        if self.deaf is None:
            log.warning("notifications of the other processes do not arrive; looking each half second", reason=why)
        self.deaf = why

    def _hears(self) -> None:
        if self.deaf is not None:
            log.warning("notifications of the other processes arrive again")
        self.deaf = None

    async def _hear(self, connection: Any, on_notice: Callable[..., None]) -> None:
        """Listen until the connection ends. A query now and then finds a connection that died silently."""
        over, echo = asyncio.Event(), asyncio.Event()

        def hear(_connection: Any, _process: int, _channel: str, payload: str) -> None:
            speaker, *words = payload.split(" ") if payload else [""]  # an older version sends no words
            if speaker != self.name:
                on_notice(*words)
            elif not words:
                echo.set()

        connection.add_termination_listener(lambda _: over.set())
        await connection.add_listener(CHANNEL, hear)
        on_notice()
        await self._come_back(echo)
        self._hears()
        while not over.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(LISTEN_CHECK):
                    await over.wait()
                    return
            await connection.execute("SELECT 1", timeout=5)

    async def _come_back(self, echo: asyncio.Event) -> None:
        """Notify from another connection, without words, which others take for a hint. Raises NothingHeard."""
        await self._notify()
        try:
            async with asyncio.timeout(ECHO):
                await echo.wait()
        except TimeoutError:
            raise NothingHeard from None
