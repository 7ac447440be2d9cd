"""Removes what is older than the settings keep it: texts, deliveries, and reports that belong to nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.clock import Micros, micros
from bot.storage import removal
from bot.storage.removal import Limits

SLICES = 10  # transactions of each kind in one tick


class Retention:
    """A quiet task: it looks whether there is anything to do, and does little of it at a time.

    Several processes may do the same at once; each row is removed once.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.database, self.clock = runtime.database, runtime.clock
        self.settings = runtime.settings.retention

    async def tick(self) -> None:
        now = self.clock()
        limits = self._limits(now)
        if not await self.database.read(partial(removal.some_too_old, limits=limits)):
            return
        for remove in _removals(limits, now):
            for _ in range(SLICES):
                if not await self.database.write(remove):
                    break

    def _limits(self, now: Micros) -> Limits:
        def before(kept: timedelta | None) -> Micros | None:
            return None if kept is None else now - micros(kept)

        kept = self.settings
        return Limits(before(kept.texts), before(kept.deliveries), before(kept.set_aside))


def _removals(limits: Limits, now: Micros) -> list[Callable[[Connection], bool]]:
    removals: list[Callable[[Connection], bool]] = []
    if limits.texts is not None:
        for remove in (removal.remove_texts, removal.remove_posts, removal.remove_schedule_texts):
            removals.append(partial(remove, before=limits.texts, at=now))
    if limits.deliveries is not None:
        removals.append(partial(removal.remove_deliveries, before=limits.deliveries, at=now))
    if limits.set_aside is not None:
        removals.append(partial(removal.remove_set_aside, before=limits.set_aside))
    return removals
