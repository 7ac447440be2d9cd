"""Stops releases at once: when an admin pauses all sending, and when the process ends."""

from __future__ import annotations

from sqlalchemy import Connection

from bot.storage import keys


class KillSwitch:
    """Which workspaces may release, as far as this process knows.

    `paused`: as the database had them when it was last read. A pause that is being committed stops releases before
    the database says so.
    """

    def __init__(self) -> None:
        self.paused: frozenset[str] = frozenset()
        self.undrawn: dict[str, str] = {}  # workspaces that were paused or resumed: up to which id their cards say so
        self.stopping = False  # this process ends, and begins no release any more
        self._committing: dict[str, int | None] = {}  # None while a pause is committed, then the tick that reads it
        self._ticks = 0  # that began

    def stop(self, workspace: str) -> None:
        """Stop releases for this workspace until the pause is committed, and read again."""
        self._committing[workspace] = None

    def committed(self, workspace: str) -> None:
        """The pause is committed, or failed to be: the next tick to begin reads which."""
        if workspace in self._committing:
            self._committing[workspace] = self._ticks

    def begin_tick(self) -> int:
        """The number of the tick, for `end_tick`."""
        self._ticks += 1
        return self._ticks

    def end_tick(self, tick: int) -> None:
        """This tick has read what was committed before it began."""
        self._committing = {name: last for name, last in self._committing.items() if last is None or last >= tick}

    def read(self, connection: Connection) -> None:
        before, self.paused = self.paused, keys.paused_workspaces(connection)
        self.undrawn |= dict.fromkeys(before ^ self.paused, "")

    def has_changed(self, connection: Connection) -> bool:
        """Was anything paused or resumed since the last `read`?"""
        return keys.paused_workspaces(connection) != self.paused

    def blocks(self, workspace: str) -> bool:
        """May nothing of this workspace leave just now?"""
        return workspace in self.paused or workspace in self._committing
