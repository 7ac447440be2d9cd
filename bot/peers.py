"""Hints to the other processes on the same database: which tasks of which workspace have work."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable

import structlog

from bot.scheduler import Task
from bot.storage.database import Database

log = structlog.get_logger(__name__)

PAUSE = 0.05  # seconds of changes that become one hint
OF = "@"  # before the id of a workspace; older processes ignore such a word


class Peers:
    """Sends hints, at most one at a time. The others' ticks would find the work anyway."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._hints = defaultdict[str, set[str]](set)
        self._telling: asyncio.Task[None] | None = None

    def tell(self, workspace: str, tasks: Iterable[str]) -> None:
        """Tell that these tasks of a workspace have work; without tasks, all of them."""
        if self.database.exclusive:
            return
        self._hints[workspace] |= set(tasks) or set(Task)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell(), name="tell others")

    async def _tell(self) -> None:
        while self._hints:
            await asyncio.sleep(PAUSE)
            workspace = next(iter(self._hints))
            tasks = self._hints.pop(workspace)
            try:
                await self.database.notify_peers(*sorted(tasks), *([OF + workspace] if workspace else []))
            except Exception as error:
                log.info("the others could not be told", error=type(error).__name__)

    async def settle(self) -> None:
        """Wait until everything is told."""
        if self._telling is not None:
            await self._telling


def read_hint(words: Iterable[str], wake: Callable[[str | None, tuple[str, ...]], None]) -> None:
    """Call `wake` with the workspace that a hint is about (None: all of them), and its tasks."""
    given = list(words)
    about = [word.removeprefix(OF) for word in given if word.startswith(OF)]
    wake(about[0] if about else None, tuple(word for word in given if not word.startswith(OF)))
