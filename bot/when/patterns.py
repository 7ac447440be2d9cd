"""Patterns that are compiled when they are first used: together they took a sixth of a start."""

from __future__ import annotations

import re
from typing import Any, cast


class _Lazy:
    def __init__(self, source: str) -> None:
        self.source = source
        self._compiled: re.Pattern[str] | None = None

    def compile(self) -> re.Pattern[str]:
        self._compiled = self._compiled or re.compile(self.source)
        return self._compiled

    def __getattr__(self, name: str) -> Any:
        return getattr(self.compile(), name)


_ALL: list[_Lazy] = []


def lazily(source: str) -> re.Pattern[str]:
    """The pattern of this source. A mistake in it is found by `warm_up`, which a test calls."""
    _ALL.append(_Lazy(source))
    return cast("re.Pattern[str]", _ALL[-1])


def warm_up() -> None:
    """Compile all that are not yet, so that nobody waits for it. Raises re.error for one that is none."""
    for pattern in _ALL:
        pattern.compile()
