"""Stops releases at once: when an admin pauses all sending, and when the process ends."""

from __future__ import annotations

from sqlalchemy import Connection

from bot.storage import keys


class KillSwitch:
    """Which workspaces may release, as far as this process knows.

    `paused`: the paused workspaces when the database was last read. A pause that is being committed stops releases
    before the database shows it.
    """

    def __init__(self) -> None:
        self.paused: frozenset[str] = frozenset()
        self.undrawn: dict[str, str] = {}  # workspaces paused or resumed: up to which id their cards show it
        self.stopping = False  # this process is ending, and begins no more releases
        self._committing: dict[str, int | None] = {}  # None while committing, then the last tick begun before
        self._ticks = 0  # how many have begun

    def stop(self, workspace: str) -> None:
        """Stop releases for this workspace until the pause is committed and read back."""
        self._committing[workspace] = None

    def committed(self, workspace: str) -> None:
        """Record that the pause was committed or failed; the next tick to begin reads which."""
        if workspace in self._committing:
            self._committing[workspace] = self._ticks

    def begin_tick(self) -> int:
        """Return the number of the tick, for `end_tick`."""
        self._ticks += 1
        return self._ticks

    def end_tick(self, tick: int) -> None:
        """Forget the pauses that were committed before this tick began: it has read them."""
        self._committing = {name: last for name, last in self._committing.items() if last is None or last >= tick}

    def read(self, connection: Connection) -> None:
        before, self.paused = self.paused, keys.paused_workspaces(connection)
        self.undrawn |= dict.fromkeys(before ^ self.paused, "")

    def has_changed(self, connection: Connection) -> bool:
        """Whether anything was paused or resumed since the last `read`."""
        return keys.paused_workspaces(connection) != self.paused

    def blocks(self, workspace: str) -> bool:
        """Whether this workspace may release nothing right now."""
        return workspace in self.paused or workspace in self._committing
