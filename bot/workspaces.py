"""The workspaces of Slack that this process serves."""

from __future__ import annotations

from collections.abc import Sequence

from slack_bolt.authorization import AuthorizeResult

from bot.peers import read_hint
from bot.scheduler import Scheduler
from bot.slack.listeners import Listeners
from bot.workspace import Workspace


class Workspaces:
    """The only workspace of a bot token. `common`: the ticks that are no workspace's."""

    def __init__(self, home: Workspace, common: Scheduler) -> None:
        self.home, self.common = home, common

    @property
    def all(self) -> Sequence[Workspace]:
        return (self.home,)

    def greeted(self) -> bool:
        """Whether Slack has said at the start who we are. Until then nothing of Slack's can be answered."""
        return bool(self.home.id)

    def listeners_of(self, workspace: str) -> Listeners | None:
        """Return who answers a payload of this workspace. The only one also answers strangers: it refuses them."""
        return self.home.listeners

    def authorized_in(self, workspace: str | None) -> AuthorizeResult:
        """Return who the bot is in this workspace."""
        if self.home.authorized is None:
            raise RuntimeError("Slack has not said yet who we are")
        return self.home.authorized

    def wake(self, *tasks: str) -> None:
        """Wake these tasks of all workspaces, here and in the other processes; without names, wake all."""
        for workspace in self.all:
            workspace.wake(*tasks)
        self.common.wake(*tasks)

    def told(self, *words: str) -> None:
        """Another process says that there is work."""
        read_hint(words, self._wake_here)

    def _wake_here(self, about: str | None, tasks: tuple[str, ...]) -> None:
        for workspace in self.all:
            if about in (None, workspace.id):
                workspace.scheduler.wake(*tasks)
        self.common.wake(*tasks)
