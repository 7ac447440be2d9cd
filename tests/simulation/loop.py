"""An event loop whose time is a number: it jumps to the next timer instead of waiting for it."""

from __future__ import annotations

import asyncio
import selectors


class Stuck(Exception):
    """Every task waits, and nothing will ever happen."""


class _Jumping(selectors.SelectSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck
        self.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Deterministic: no socket, no thread, no real clock; what is due at one instant runs in the order it was asked."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now
