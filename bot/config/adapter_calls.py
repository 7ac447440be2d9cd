"""Calls an adapter within a deadline, and turns whatever it does into a value or a typed error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TypeVar, cast

import structlog

from bot.config.adapter_threads import AdapterThread, caught
from bot.config.adapter_values import checked_list, error_of
from bot.domain.clock import OnEnd, timed
from providers.base import AccountSettings, ProviderError, Unavailable, Uncertain
from providers.guard import asking, out_of_turn

log = structlog.get_logger(__name__)

T = TypeVar("T")

EXCHANGES = 3  # that an adapter may need for one call of ours, each as long as the account's timeout
IN_TURN = 300.0  # seconds until a slow rate lets one more request through
MOST_FOUND = 10_000  # entries of one answer
NO_ANSWER = object()  # replaces None where None would count as an answer
BROKE = "The adapter for {account} ({package}) hit an error while it was sending."
UNTRUE = "The adapter for {account} ({package}) says that the broadcast was accepted, but the bot saw no such answer."

Call = Callable[[], Awaitable[object]]
Read = Callable[[object], T | None]  # what an adapter returned, in plain values of ours; None where it cannot be read


class AdapterBroke(Unavailable):
    """The adapter raised, returned or did what the contract does not allow. Nothing was sent: it was not a release."""


class AdapterCalls:
    """Calls an adapter where it lives, within a deadline. The result is a value or a typed error."""

    def __init__(self, settings: AccountSettings, account: str, package: str, thread: AdapterThread | None) -> None:
        self.settings, self.account, self.package, self.thread = settings, account, package, thread
        self.on_call: OnEnd = lambda *_: None

    @property
    def _patience(self) -> float:
        return EXCHANGES * self.settings.timeout + 5

    def timed(self, what: str) -> AbstractContextManager[None]:
        """Tell how long this call took, and what it raised."""
        return timed(what, self.on_call)

    async def ask(self, what: str, call: Call, read: Read[T], *, seconds: float | None = None) -> T:
        """Return the answer, read by `read`. Raises the adapter's ProviderError, or AdapterBroke for anything else."""
        answer = await self.ask_for(what, call, read, seconds=seconds)
        if answer is None:
            raise self._unread(what)
        return answer

    async def ask_for(self, what: str, call: Call, read: Read[T], *, seconds: float | None = None) -> T | None:
        """The same, but None is a valid answer."""
        with self.timed(what), asking(out_of_turn):
            return await self._asked(what, call, read, seconds or self._patience)

    async def _asked(self, what: str, call: Call, read: Read[T], seconds: float) -> T | None:
        came = await self.contained(lambda: self._came(what, call, read), seconds)
        if isinstance(came, ProviderError):
            raise came
        if isinstance(came, Exception):
            raise self._broke(what, came)
        return cast("T | None", came)

    async def _came(self, what: str, call: Call, read: Read[T]) -> T | ProviderError | None:
        """The result in plain values, read where the adapter lives, since reading it may run the adapter's code too."""
        outcome = await caught(call)
        try:
            if isinstance(outcome, ProviderError):
                error = error_of(outcome)
                return error.harmless() if isinstance(error, Uncertain) else error
            if isinstance(outcome, Exception):
                return self._broke(what, outcome)
            answer = None if outcome is None else read(outcome)
            return self._unread(what) if answer is None and outcome is not None else answer
        except BaseException as error:
            return self._broke(what, error)

    async def contained(self, call: Callable[[], Awaitable[object]], seconds: float | None) -> object:
        """Return a value or an exception within these seconds. Raises only when this task itself is cancelled.

        A call that takes longer is cancelled and left behind, since it may ignore the cancellation.
        """
        running = asyncio.ensure_future(self._there(lambda: caught(call)))
        try:
            done, _ = await asyncio.wait({running}, timeout=seconds)
        except asyncio.CancelledError:
            running.cancel()
            raise
        if done:
            return running.exception() or running.result() if not running.cancelled() else TimeoutError()
        running.cancel()
        return TimeoutError()

    async def _there(self, call: Callable[[], Awaitable[T]]) -> T:
        return await call() if self.thread is None else await self.thread.run(call)

    def _broke(self, what: str, error: BaseException) -> AdapterBroke:
        self.complain(f"{what} broke", error=type(error).__name__)
        return AdapterBroke(
            "The adapter for {account} ({package}) hit an error.",
            detail=type(error).__name__,
            account=self.account,
            package=self.package,
        )

    def _unread(self, what: str) -> AdapterBroke:
        self.complain(f"what {what} returned is nothing that the contract knows")
        return AdapterBroke(
            "The adapter for {account} ({package}) returned an unreadable answer.",
            account=self.account,
            package=self.package,
        )

    def entries(self, what: str, read: Read[T]) -> Read[list[T]]:
        """Return a reader of lists. It leaves out the entries that cannot be read, and keeps the others."""

        def entries(answer: object) -> list[T] | None:
            given = checked_list(answer)
            if given is None:
                return None
            read_ones = [entry for entry in map(partial(_one_of, read), given[:MOST_FOUND]) if entry is not None]
            if len(read_ones) < len(given):
                self.complain(f"some of what {what} returned cannot be read", number=len(given) - len(read_ones))
            return read_ones

        return entries

    def complain(self, about: str, **more: object) -> None:
        log.error("an adapter breaks the contract", account=self.account, package=self.package, about=about, **more)


def _one_of(read: Read[T], entry: object) -> T | None:
    try:
        return read(entry)
    except BaseException:  # an entry may raise anything when it is read
        return None
