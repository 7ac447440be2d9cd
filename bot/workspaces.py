"""The workspaces of Slack that this process serves."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import structlog
from slack_bolt.authorization import AuthorizeResult

from bot.config.accounts import Account
from bot.config.runtime import Runtime
from bot.config.workspaces import accounts_with_others, is_for_many, must_fit, settings_for
from bot.domain.clock import SECOND, Micros
from bot.peers import read_hint
from bot.scheduler import Scheduler, Task
from bot.slack.client import OnCall
from bot.slack.greeting import greet
from bot.slack.installed import Installation, Installations
from bot.slack.listeners import Listeners
from bot.storage import cards
from bot.storage.scoped import WorkspaceDatabase
from bot.workspace import POSTING_TIMEOUT, Workspace, slack_client

log = structlog.get_logger(__name__)

Begin = Callable[[Scheduler], None]  # called with the ticks of a workspace before they begin


class Workspaces(ABC):
    """The workspaces that this process serves. `common`: the ticks that are no workspace's."""

    common: Scheduler

    @property
    @abstractmethod
    def all(self) -> Sequence[Workspace]: ...

    @abstractmethod
    async def open(self, begin: Begin) -> None:
        """Find out which workspaces there are, and start what serves them. Raises CannotStart."""

    @abstractmethod
    def greeted(self) -> bool:
        """Whether it is known which workspaces there are. Until then nothing of Slack's can be answered."""

    @abstractmethod
    def listeners_of(self, workspace: str, organisation: str | None) -> Listeners | None:
        """Return who answers a payload of this workspace, or of this organisation's."""

    @abstractmethod
    def authorized_in(self, workspace: str | None) -> AuthorizeResult:
        """Return who the bot is in this workspace."""

    async def left(self, workspace: str, at: Micros) -> None:
        """Slack says that the bot was uninstalled there at this time, or that its token ended."""
        return

    async def refresh(self) -> None:
        """Serve those that there are now."""
        return

    async def unshown_since(self, at: Micros) -> Mapping[str, Micros]:
        """Return since when something waits to be shown in Slack, for those of the workspaces where something does."""
        found = {one.id: await one.database.read(lambda c: cards.oldest_unshown(c, at)) for one in self.all}
        return {id: since for id, since in found.items() if since is not None}

    @property
    def stopping(self) -> bool:
        """Whether this process starts nothing any more."""
        return any(workspace.dispatcher.switch.stopping for workspace in self.all)

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

    async def stop(self, sending: float, patience: float) -> None:
        """Stop all: sends in flight get `sending` seconds, other running work `patience` seconds."""
        await asyncio.gather(*(workspace.stop_sending(sending) for workspace in self.all))
        await asyncio.gather(self.common.stop(patience), *(one.stop(patience) for one in self.all))


class OnlyWorkspace(Workspaces):
    """The workspace of a bot token."""

    def __init__(self, home: Workspace) -> None:
        self.home = home

    @property
    def all(self) -> Sequence[Workspace]:
        return (self.home,)

    async def open(self, begin: Begin) -> None:
        """Check the token now, not at the first command."""
        self.home.introduce(await greet(self.home.posting))
        begin(self.home.scheduler)
        self.home.start()

    def greeted(self) -> bool:
        return bool(self.home.id)

    def listeners_of(self, workspace: str, organisation: str | None) -> Listeners | None:
        """The only one also answers strangers: it refuses them."""
        return self.home.listeners

    def authorized_in(self, workspace: str | None) -> AuthorizeResult:
        if self.home.authorized is None:
            raise RuntimeError("Slack has not said yet who we are")
        return self.home.authorized


class InstalledWorkspaces(Workspaces):
    """The workspaces that have installed the bot, as the database knows them, a few seconds later at most.

    `make`: makes what serves an installation; `sending`: seconds that its sends in flight have when it ends; `tell`:
    tells the other processes that something has changed; `renew`: gets the next tokens of those that end soon.
    """

    def __init__(
        self,
        installations: Installations,
        make: Callable[[Installation], Workspace],
        sending: float,
        tell: Callable[[], None],
        renew: Callable[[], Awaitable[bool]],
    ) -> None:
        self.installations, self.make, self.sending, self.tell = installations, make, sending, tell
        self.renew = renew
        self.served: dict[str, Workspace] = {}
        self._known: dict[str, Installation] = {}
        self._begin: Begin | None = None
        self._looked = False
        self._reading = asyncio.Lock()
        self._joining: dict[str, asyncio.Task[None]] = {}

    @property
    def all(self) -> Sequence[Workspace]:
        return tuple(self.served.values())

    async def open(self, begin: Begin) -> None:
        self._begin = begin
        await self.refresh()

    def greeted(self) -> bool:
        return self._looked

    def listeners_of(self, workspace: str, organisation: str | None) -> Listeners | None:
        """One of an organisation that has the bot org-wide joins when it is first heard of, and is answered then on."""
        found = self.served.get(workspace)
        by = self.installations.organisations.get(organisation or "")
        if found is None and by is not None and workspace.startswith("T") and workspace not in self._joining:
            self._joining[workspace] = asyncio.create_task(self._join(by, workspace), name="join")
            self._joining[workspace].add_done_callback(lambda _: self._joining.pop(workspace))
        return found.listeners if found is not None else None

    async def _join(self, organisation: Installation, workspace: str) -> None:
        try:
            await self.installations.join(organisation, workspace)
            await self.refresh()
        except Exception as error:
            log.warning("a workspace could not join", workspace=workspace, error=type(error).__name__)

    def authorized_in(self, workspace: str | None) -> AuthorizeResult:
        found = self._known.get(workspace or "")
        return AuthorizeResult(enterprise_id=None, team_id=workspace) if found is None else found.authorized()

    async def refresh(self) -> None:
        """Serve what is installed, with its latest token, and nothing else."""
        async with self._reading:
            known = await self.installations.living()
            if await self.renew():
                known = await self.installations.living()
                self.tell()
            for id in self.served.keys() - known.keys():
                await self._end(id)
            for id, installation in known.items():
                self._serve(id, installation)
            self._known, self._looked = known, True

    def _serve(self, id: str, installation: Installation) -> None:
        if id not in self.served:
            made = self.make(installation)
            if self._begin is not None:
                self._begin(made.scheduler)
            made.start()
            self.served[id] = made
            log.info("a workspace is served", workspace=id)
        self.served[id].use_token(installation.token)
        self.served[id].introduce(installation.authorized())

    async def _end(self, id: str) -> None:
        """Nothing of it is answered any more. Its sends in flight have their time, and then its ticks stop."""
        gone = self.served.pop(id)
        await gone.stop_sending(self.sending)
        await gone.stop(self.sending)
        log.info("a workspace is not served any more", workspace=id)

    async def installed(self, answer: Mapping[str, Any]) -> None:
        """Store and serve a new installation. Raises NotInstalled, DatabaseBusy or CommitUncertain."""
        await self.installations.install(answer)
        await self.refresh()
        self.tell()

    async def left(self, workspace: str, at: Micros) -> None:
        await self.installations.leave(workspace, at + SECOND - 1)  # Slack tells whole seconds
        self.common.wake(Task.WORKSPACES)
        self.tell()


def open_workspaces(
    root: Runtime, patience: float, tell: Callable[[str, tuple[str, ...]], None], on_call: OnCall
) -> Workspaces:
    """Return the workspace of the bot token, or those that install the bot. Raises SettingsError.

    `root`: what all share; the other arguments are those of `Workspace`.
    """
    must_fit(root.settings)
    token = root.settings.slack_bot_token
    if not is_for_many(root.settings):
        home = Workspace(root, WorkspaceDatabase(root.database), patience, tell, on_call)
        home.use_token(token.get_secret_value() if token is not None else None)
        return OnlyWorkspace(home)

    def make(installation: Installation) -> Workspace:
        """Make what serves a workspace, with what the settings give it and nothing else."""
        settings = settings_for(root.settings, installation.id)
        accounts = {name: account for name, account in root.providers.items() if name in settings.accounts}
        crowded = accounts_with_others(root.settings, installation.id)
        runtime = replace(root, settings=settings, providers=accounts, crowded=crowded)
        return Workspace(runtime, WorkspaceDatabase(root.database, installation.id), patience, tell, on_call)

    installations = Installations(root.database, root.key, root.clock)
    client = slack_client(root.settings, POSTING_TIMEOUT, on_call)
    changed = partial(tell, "", (Task.WORKSPACES,))
    renew = partial(installations.renew, client, root.settings, root.owner)
    return InstalledWorkspaces(installations, make, longest_call(root.providers) + 1, changed, renew)


def longest_call(accounts: Mapping[str, Account]) -> float:
    """Return how many seconds a call to a vendor may take."""
    return max((account.settings.timeout for account in accounts.values()), default=0.0)
