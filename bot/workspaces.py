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
from bot.config.own_settings import RESET, Unsuitable, with_values
from bot.config.runtime import Runtime
from bot.config.workspaces import accounts_with_others, is_for_many, must_fit, settings_for
from bot.domain.clock import SECOND, Micros, steady
from bot.domain.errors import CannotStart
from bot.peers import read_hint
from bot.scheduler import Scheduler, Task
from bot.slack.client import OnCall
from bot.slack.greeting import greet
from bot.slack.installed import Installation, Installations
from bot.slack.listeners import Listeners
from bot.slack.self_check import SelfCheck
from bot.storage import cards
from bot.storage.database import Database
from bot.storage.own_settings import OwnSettings, all_own_settings, own_settings_of
from bot.storage.scoped import WorkspaceDatabase
from bot.workspace import POSTING_TIMEOUT, Begin, Successors, Workspace, slack_client

NOTICED_AT_ONCE = 8  # workspaces whose Slack is asked side by side
FEW, SLOWEST = 5, 8.0  # workspaces that look as often as one does; by how much the looks are further apart at most
JOINING = 0.4  # of the usual patience: what is asked for needs the rest of the time that Slack leaves

REMOVED = "Slack says that the bot was uninstalled, or that its token was taken back"

log = structlog.get_logger(__name__)


class Workspaces(ABC):
    """The workspaces that this process serves. `common`: the ticks that are no workspace's."""

    common: Scheduler

    def __init__(self, successors: Successors, tell: Callable[[], None]) -> None:
        self.successors, self.tell = successors, tell

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
    async def listeners_of(self, workspace: str, organisation: str | None) -> Listeners | None:
        """Return who answers a payload of this workspace, or of this organisation's."""

    def joins(self, workspace: str) -> bool:
        """Whether it is about to be served."""
        return False

    @abstractmethod
    def authorized_in(self, workspace: str | None) -> AuthorizeResult:
        """Return who the bot is in this workspace."""

    async def left(self, workspace: str, at: Micros) -> None:
        """Slack says that the bot was uninstalled there at this time, or that its token ended."""
        return

    @abstractmethod
    async def refresh(self) -> None:
        """Serve those that there are now, with the settings that they have now."""

    def changed(self) -> None:
        """Look at once, here and in the other processes, which there are and with what settings."""
        self.common.wake(Task.WORKSPACES)
        self.tell()

    async def unshown_since(self, whole: Database, at: Micros) -> Mapping[str, Micros]:
        """Return since when something waits to be shown in Slack, for those of the workspaces where something does."""
        failing = {one.id: one.database.failing_rows for one in self.all}
        found = await whole.read(lambda c: cards.unshown_by_workspace(c, at, failing))
        return {id: since for id, since in found.items() if id in failing}

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

    async def notice(self, writes: SelfCheck) -> None:
        """Tell the admins of each workspace what is in trouble there. `writes`: whether the database takes a write."""
        room = asyncio.Semaphore(NOTICED_AT_ONCE)

        async def tick(one: Workspace) -> None:
            async with room:
                await one.notice(writes)

        found = await asyncio.gather(*(tick(one) for one in self.all), return_exceptions=True)
        for error in (one for one in found if isinstance(one, Exception)):
            log.warning("the admins of a workspace could not be told", error=type(error).__name__)
        ahead = [one.operator.check.clock_ahead for one in self.all if one.operator is not None]
        writes.clock_ahead = next((one for one in ahead if one is not None), None)

    async def stop(self, sending: float, patience: float) -> None:
        """Stop all: sends in flight get `sending` seconds, other running work `patience` seconds."""
        await self.successors.stop()
        await asyncio.gather(*(workspace.stop_sending(sending) for workspace in self.all))
        await asyncio.gather(self.common.stop(patience), *(one.stop(patience) for one in self.all))


class OnlyWorkspace(Workspaces):
    """The workspace of a bot token. `make`: makes what serves it, with what its admins changed."""

    def __init__(
        self,
        home: Workspace,
        make: Callable[[OwnSettings], Workspace],
        successors: Successors,
        tell: Callable[[], None],
    ) -> None:
        super().__init__(successors, tell)
        self.home, self.make = home, make
        self.removed_at: float | None = None  # when Slack said so; what its token does tells whether it is still true
        self._begin: Begin = lambda _: None

    @property
    def all(self) -> Sequence[Workspace]:
        return (self.home,)

    async def open(self, begin: Begin) -> None:
        """Check the token now, not at the first command."""
        authorized = await greet(self.home.posting)
        id = str(authorized.team_id)
        stored = await self.home.database.read(lambda c: own_settings_of(c, id))
        if stored.version:
            try:
                self.home = self.make(stored)
            except Unsuitable as error:
                fix = RESET.format(id=id)
                raise CannotStart(f"What {stored.changed_by} set in Slack cannot be used: {error} {fix}") from None
        self.home.introduce(authorized)
        begin(self.home.scheduler)
        self.home.start()
        self._begin = begin

    async def refresh(self) -> None:
        """Serve it with the settings that it has now."""
        old = self.home
        if not old.id or not old.scheduler.started:
            return
        stored = await old.database.read(lambda c: own_settings_of(c, old.id))
        made = self.successors.successor(old, stored, lambda: self.make(stored))
        if made is not None:
            made.use_token(old.posting.token)
            self.home = made
            self.successors.begin(old, made, self._begin, lambda: self.home is made)

    def greeted(self) -> bool:
        return bool(self.home.id)

    async def listeners_of(self, workspace: str, organisation: str | None) -> Listeners | None:
        """The only one also answers strangers: it refuses them."""
        return self.home.listeners

    async def left(self, workspace: str, at: Micros) -> None:
        """Not ready from now on: with a bot token, only the operator can do something."""
        if workspace == self.home.id:
            log.error(f"{REMOVED}; install it again, then replace SLACK_BOT_TOKEN", workspace=workspace)
            self.removed_at = steady()

    def authorized_in(self, workspace: str | None) -> AuthorizeResult:
        if self.home.authorized is None:
            raise RuntimeError("Slack has not said yet who we are")
        return self.home.authorized


class InstalledWorkspaces(Workspaces):
    """The workspaces that have installed the bot, as the database knows them, a few seconds later at most.

    `make`: makes what serves an installation; `sending`: seconds that its sends in flight have when it ends; `tell`:
    tells the other processes that something has changed; `renew`: gets the next tokens of those that end soon;
    `patience`: seconds that the first payload of a workspace waits until it has joined.
    """

    def __init__(
        self,
        installations: Installations,
        make: Callable[[Installation, OwnSettings], Workspace],
        successors: Successors,
        tell: Callable[[], None],
        renew: Callable[[], Awaitable[bool]],
        patience: float = 1.0,
    ) -> None:
        super().__init__(successors, tell)
        self.installations, self.make, self.renew, self.patience = installations, make, renew, patience
        self.served: dict[str, Workspace] = {}
        self._known: dict[str, Installation] = {}
        self._begin: Begin = lambda _: None
        self._looked = False
        self._reading, self._renewing = asyncio.Lock(), asyncio.Lock()
        self._joining: dict[str, asyncio.Task[None]] = {}

    @property
    def all(self) -> Sequence[Workspace]:
        return tuple(self.served.values())

    async def open(self, begin: Begin) -> None:
        self._begin = begin
        await self.refresh()

    def greeted(self) -> bool:
        return self._looked

    async def listeners_of(self, workspace: str, organisation: str | None) -> Listeners | None:
        """One of an organisation that has the bot org-wide joins when it is first heard of, before it is answered.

        None, with `joins`, if that takes longer than Slack waits for an answer.
        """
        by = self.installations.organisations.get(organisation or "")
        if workspace not in self.served and by is not None and workspace.startswith("T"):
            if workspace not in self._joining:
                self._joining[workspace] = asyncio.create_task(self._join(by, workspace), name="join")
                self._joining[workspace].add_done_callback(lambda _: self._joining.pop(workspace))
            await asyncio.wait([self._joining[workspace]], timeout=self.patience)
        found = self.served.get(workspace)
        return found.listeners if found is not None else None

    def joins(self, workspace: str) -> bool:
        return workspace in self._joining

    async def _join(self, organisation: Installation, workspace: str) -> None:
        try:
            await self.installations.join(organisation, workspace)
            await self._serve_installed()
        except Exception as error:
            log.warning("a workspace could not join", workspace=workspace, error=type(error).__name__)

    def authorized_in(self, workspace: str | None) -> AuthorizeResult:
        found = self._known.get(workspace or "")
        return AuthorizeResult(enterprise_id=None, team_id=workspace) if found is None else found.authorized()

    async def refresh(self) -> None:
        """Serve what is installed, with its latest token, and nothing else.

        The first time nobody waits for tokens that are about to end: the next look renews them.
        """
        known_before = self._looked
        await self._serve_installed()
        async with self._renewing:  # a token by which the next one is got counts once
            if known_before and await self.renew():
                await self._serve_installed()
                self.tell()

    async def _serve_installed(self) -> None:
        async with self._reading:
            known = await self.installations.living()
            for id in self.served.keys() - known.keys():
                await self._end(id)
            own = await self.installations.database.read(all_own_settings)
            for id, installation in known.items():
                self._serve(installation, own.get(id, OwnSettings(workspace=id)))
            self._known, self._looked = known, True

    def _serve(self, installation: Installation, stored: OwnSettings) -> None:
        id = installation.id
        old = self.served.get(id)
        made = self.successors.successor(old, stored, lambda: self.make(installation, stored))
        served = made or old
        if served is None:  # what its admins changed cannot be used, and the file may ask for less than that
            return
        served.use_token(installation.token)
        served.introduce(installation.authorized())
        if made is not None:
            made.scheduler.pace = self._pace
            self.served[id] = made
            self.successors.begin(old, made, self._begin, lambda: self.served.get(id) is made)

    def _pace(self) -> float:
        """Of many, each looks less often by itself: who changes something wakes what has work anyway."""
        return min(max(len(self.served) / FEW, 1.0), SLOWEST)

    async def _end(self, id: str) -> None:
        """Nothing of it is answered any more. Its sends in flight have their time, and then its ticks stop."""
        await self.successors.end(self.served.pop(id))
        log.info("a workspace is not served any more", workspace=id)

    async def installed(self, answer: Mapping[str, Any]) -> None:
        """Store and serve a new installation. Raises NotInstalled, DatabaseBusy or CommitUncertain."""
        await self.installations.install(answer)
        await self._serve_installed()
        self.tell()

    async def left(self, workspace: str, at: Micros) -> None:
        await self.installations.leave(workspace, at + SECOND - 1)  # Slack tells whole seconds
        self.changed()


def open_workspaces(
    root: Runtime, patience: float, tell: Callable[[str, tuple[str, ...]], None], on_call: OnCall
) -> Workspaces:
    """Return the workspace of the bot token, or those that install the bot. Raises SettingsError.

    `root`: what all share; the other arguments are those of `Workspace`.
    """
    must_fit(root.settings)
    token = root.settings.slack_bot_token
    successors = Successors(longest_call(root.providers) + 1)
    changed = partial(tell, "", (Task.WORKSPACES,))
    if not is_for_many(root.settings):
        database = WorkspaceDatabase(root.database)

        def remake(stored: OwnSettings | None) -> Workspace:
            """Make what serves the only one. None: what its admins changed is not known yet."""
            made = Workspace(with_own(root, stored), database, patience, tell, on_call, stored)
            made.use_token(token.get_secret_value() if token is not None else None)
            return made

        return OnlyWorkspace(remake(None), remake, successors, changed)

    def make(installation: Installation, stored: OwnSettings) -> Workspace:
        """Make what serves a workspace, with what the settings give it and nothing else."""
        settings = settings_for(root.settings, installation.id)
        accounts = {name: account for name, account in root.providers.items() if name in settings.accounts}
        crowded = accounts_with_others(root.settings, installation.id)
        runtime = with_own(replace(root, settings=settings, providers=accounts, crowded=crowded), stored)
        return Workspace(runtime, databases[installation.id], patience, tell, on_call, stored)

    databases = Databases(root.database)

    installations = Installations(root.database, root.key, root.clock)
    client = slack_client(root.settings, POSTING_TIMEOUT, on_call)
    renew = partial(installations.renew, client, root.settings, root.owner)
    return InstalledWorkspaces(installations, make, successors, changed, renew, patience * JOINING)


class Databases(dict[str, WorkspaceDatabase]):
    """The view of each workspace. It stays when another one serves it, with the rows that fail there."""

    def __init__(self, whole: Database) -> None:
        self.whole = whole

    def __missing__(self, id: str) -> WorkspaceDatabase:
        self[id] = WorkspaceDatabase(self.whole, id)
        return self[id]


def with_own(runtime: Runtime, stored: OwnSettings | None) -> Runtime:
    """Return what works with the settings that admins changed. Raises Unsuitable."""
    file = runtime.settings
    return replace(runtime, settings=with_values(file, stored.settings if stored else {}), file=file)


def longest_call(accounts: Mapping[str, Account]) -> float:
    """Return how many seconds a call to a vendor may take."""
    return max((account.settings.timeout for account in accounts.values()), default=0.0)
