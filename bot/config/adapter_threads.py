"""Gives an adapter its own thread, so that one that blocks or exits delays nobody else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar, cast

import structlog

from providers.base import Staged, Unavailable
from providers.guard import asking, out_of_turn

log = structlog.get_logger(__name__)

T = TypeVar("T")
READING = 2.0  # seconds for one callback


async def caught(call: Callable[[], Awaitable[object]]) -> object:
    """Return the result or the exception, even an exit of the process or a cancellation that nobody asked for."""
    try:
        return await call()
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return _as_exception(error)
    except BaseException as error:
        return _as_exception(error)


def _as_exception(error: BaseException) -> Exception:
    return error if isinstance(error, Exception) else RuntimeError(type(error).__name__)


class AdapterThread:
    """A thread with an event loop, for one account's adapter. It ends with the process, whatever blocks in it."""

    def __init__(self, name: str) -> None:
        self._name, self._closing = name, False
        self._loop = asyncio.new_event_loop()
        self.home: asyncio.AbstractEventLoop | None = None  # the caller's loop, where the database lives
        threading.Thread(target=self._live, name=f"adapter {name}", daemon=True).start()

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Run it in the thread, in the caller's context. If the caller is cancelled, the call is cancelled too."""
        self.home = asyncio.get_running_loop()
        return await asyncio.wrap_future(self._begin(call))

    def do(self, work: Callable[[], T], seconds: float) -> T:
        """Run it in the thread and block until it ends, for at most so many seconds.

        Raises TimeoutError, and whatever the work raises. An attempt to end the process becomes a RuntimeError.
        """

        async def there() -> object:
            return work()

        with suppress(RuntimeError):  # called before there is a loop
            self.home = asyncio.get_running_loop()
        with asking(out_of_turn):
            came = self._begin(lambda: caught(there)).result(seconds)
        if isinstance(came, Exception):
            raise came
        return cast("T", came)

    def _begin(self, call: Callable[[], Awaitable[T]]) -> Future[T]:
        async def there() -> T:
            return await call()

        return asyncio.run_coroutine_threadsafe(there(), self._loop)

    def close(self) -> None:
        self._closing = True
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _live(self) -> None:
        while not self._closing:
            try:
                self._loop.run_forever()
            except BaseException as error:  # an adapter's callback tried to end the process
                log.error("an adapter wanted to end the process", account=self._name, error=type(error).__name__)
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.wait(left, timeout=READING) if left else asyncio.sleep(0))
        self._loop.close()


async def awaited(on_staged: Callable[[Staged], Awaitable[None]], staged: Staged) -> None:
    await on_staged(staged)


async def at_home(thread: AdapterThread | None, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run it in the caller's loop, where the database lives. An adapter in a thread may call from its own threads."""
    if thread is None:
        return await call()
    if thread.home is None:
        raise Unavailable("The bot could not read the data that it stores for this account.")
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call(), thread.home))
