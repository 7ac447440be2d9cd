"""Notices jumps of this machine's clock."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from bot.domain.clock import SECOND, Clock, Micros

log = structlog.get_logger(__name__)

JUMP = 60 * SECOND  # how far the wall clock may move from the steady one between two checks


class ClockGuard:
    """Notices when the wall clock of this machine jumps. What a jump makes due may be too early or too late.

    `doubtful`: the instants that a jump skipped.
    """

    def __init__(self, clock: Clock, monotonic: Callable[[], float]) -> None:
        self.clock, self.monotonic = clock, monotonic
        self.seen: tuple[Micros, float] | None = None  # both clocks at the last check
        self.doubtful = (0, 0)

    def watch(self) -> None:
        """Compare the clocks. A jump ahead may make a broadcast due early; nothing here shows which clock is right."""
        wall, monotonic = self.clock(), self.monotonic()
        if self.seen is not None:
            expected = self.seen[0] + int((monotonic - self.seen[1]) * SECOND)
            if abs(wall - expected) > JUMP:
                log.error("this machine's clock jumped", seconds=(wall - expected) // SECOND)
            if wall - expected > JUMP:
                self.doubtful = (expected, wall)
            elif wall - expected < -JUMP:  # set back again: what lies ahead now is not in doubt
                self.doubtful = (self.doubtful[0], min(self.doubtful[1], wall))
        self.seen = wall, monotonic
