"""One process of the bot: its parts, put together, started and stopped."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import structlog
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_sdk.signature import SignatureVerifier
from starlette.applications import Starlette
from starlette.routing import Route

from bot.adapters import open_accounts, policies_of
from bot.config.load import secret_key_for
from bot.config.runtime import Runtime
from bot.config.settings import Settings
from bot.config.workspaces import is_for_many
from bot.domain.clock import SECOND, Clock, Micros, now, steady
from bot.domain.errors import CannotStart
from bot.domain.i18n import translator_for
from bot.heartbeat import EVERY, open_heartbeat
from bot.peers import Peers
from bot.scheduler import PeriodicTask, Scheduler, Task
from bot.sending.tokens import callback_address
from bot.sending.tracker import Tracker
from bot.slack.client import SlackClient
from bot.slack.commands.showing import ShowingOf
from bot.slack.directory import People
from bot.slack.greeting import open_socket
from bot.slack.installed import exchange
from bot.slack.listeners import bolt_app
from bot.slack.operator_notices import OperatorNotices
from bot.slack.self_check import SelfCheck
from bot.storage import keys, schema
from bot.storage.database import PATIENCE, AlreadyDispatching, DatabaseBusy, DatabaseRefuses
from bot.storage.engines import open_database
from bot.storage.schema import upgrade
from bot.watch import Watch
from bot.web.callbacks import CallbackDoor
from bot.web.connections import Limits, open_files, room
from bot.web.install import InstallDoor
from bot.web.listening import Endpoint
from bot.web.metrics import Meters, metrics_site
from bot.web.server import SHUTDOWN, Server
from bot.web.sites import Health, public_site
from bot.web.slack import SlackDoor
from bot.workflow.audit_seals import AuditSeals
from bot.workflow.retention import Retention
from bot.workflow.workflow import Workflow
from bot.workspace import POSTING_TIMEOUT, Workspace, slack_client
from bot.workspaces import REMOVED, InstalledWorkspaces, OnlyWorkspace, longest_call, open_workspaces

log = structlog.get_logger(__name__)

METRICS_ROOM = 64  # connections to the operator's own address
OLD_OUTBOX = 60  # seconds that something may wait to be shown in Slack before somebody should look


class Bot:
    """One process of the bot: everything it needs, started and stopped together.

    `patience`: seconds that the database, or Slack inside a listener, may take; both must leave room in Slack's three.
    `clock` and `monotonic` are those of the `Runtime`.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock = now,
        *,
        patience: float = PATIENCE,
        monotonic: Callable[[], float] = steady,
    ) -> None:
        self.settings, self.clock, self.patience, self.monotonic = settings, clock, patience, monotonic
        self.meters = Meters()
        self.owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.database = open_database(settings.database_url, patience, listen_url=settings.database_direct_url)
        self.database.check_place()
        self.policies = policies_of(settings)
        self.heartbeat = open_heartbeat(settings, lambda: self.watch.able())
        self.key = secret_key_for(settings)
        self.providers = open_accounts(settings, self.database, clock, self.key)
        self.peers = Peers(self.database)
        self.root = self._root()
        self.tracker = Tracker(self.root)
        self.many = is_for_many(settings)
        told = self.peers.tell, self.meters.count_slack_call
        self.workspaces = open_workspaces(self.root, patience, *told)
        self.self_check = SelfCheck(self.root, None if self.many else self.home.posting)
        words = translator_for(settings.locale)
        self.operator = OperatorNotices(self.root, lambda: self.home.id, self.self_check, words)
        self.common = self.workspaces.common = Scheduler(*self._common_bells(), lanes=[self.operator.lanes])
        self.slack = bolt_app(self._client(int(patience)), self.workspaces)
        self.watch = Watch(self)
        self.socket: AsyncSocketModeHandler | None = None
        self.servers: list[Server] = []

    def _common_bells(self) -> tuple[PeriodicTask, ...]:
        return (
            PeriodicTask(Task.OPERATOR, 10.0, self._look if self.many else self.operator.tick),
            PeriodicTask(Task.SEAL_AUDIT, 10.0, AuditSeals(self.root).tick),
            PeriodicTask(Task.RETENTION, 60.0, Retention(self.root).tick),
            PeriodicTask(Task.WORKSPACES, 5.0, lambda: self.workspaces.refresh()),
            *([PeriodicTask(Task.HEARTBEAT, EVERY, self.heartbeat.beat)] if self.heartbeat else []),
        )

    async def _look(self) -> None:
        """Look at what all workspaces share, then at each."""
        await self.self_check.look()
        await self.workspaces.notice(self.self_check)

    def _root(self) -> Runtime:
        return Runtime(
            settings=self.settings,
            database=self.database,
            providers=self.providers,
            policies=self.policies,
            key=self.key,
            owner=self.owner,
            wake=lambda *tasks: self.workspaces.wake(*tasks),
            clock=self.clock,
            monotonic=self.monotonic,
            on_receipts=lambda owners: self.watch.count_receipts(owners),
            on_settings=lambda: self.workspaces.changed(),
        )

    def _client(self, timeout: int) -> SlackClient:
        return slack_client(self.settings, timeout, self.meters.count_slack_call)

    @property
    def home(self) -> Workspace:
        """The only workspace. Where there are many, there is none such."""
        (found,) = self.workspaces.all
        return found

    @property
    def workflow(self) -> Workflow:
        """That of the only workspace, like the next ones."""
        return self.home.workflow

    @property
    def people(self) -> People:
        return self.home.people

    @property
    def posting(self) -> SlackClient:
        return self.home.posting

    @property
    def showing(self) -> ShowingOf:
        return self.home.showing

    def callback_address(self, account: str) -> str | None:
        """Return the callback address to paste at an account's vendor, or None without a public address."""
        return callback_address(self.settings, self.key, account)

    # --- life --------------------------------------------------------------------------------------------------------

    async def start(self, host: str, port: int) -> None:
        """Start everything, in order of dependency. Raises CannotStart, Unusable or SettingsError.

        As long as Slack is away this waits for it, not ready but alive: what vendors call back is stored.
        """
        await self._open_database()
        await self._listen(host, port)
        await self.workspaces.open(self.watch.begin)
        self.self_check.told = not self.many
        self.watch.begin(self.common)
        self.common.start()
        await self.database.listen(self.workspaces.told)
        if self.settings.slack_app_token is not None:
            token = self.settings.slack_app_token.get_secret_value()
            self.socket = AsyncSocketModeHandler(self.slack, token, web_client=self._client(POSTING_TIMEOUT))
            await open_socket(self.socket)

    async def _listen(self, host: str, port: int) -> None:
        limits = Limits(room(open_files()), proxies=self.settings.trusted_proxies)
        named = self.settings.written().named
        host_setting = named(("host",)) if host == self.settings.host else "--host"
        on_drop = self.meters.count_dropped
        self.servers.append(Server(self.site(), Endpoint(host, port, host_setting), limits, on_drop))
        if self.settings.metrics_listen:
            metrics_host, metrics_port = self.settings.metrics_listen.rsplit(":", 1)
            place = Endpoint(metrics_host.strip("[]"), int(metrics_port), *[named(("metrics_listen",))] * 2)
            site = metrics_site(self.meters, self.watch.read)
            self.servers.append(Server(site, place, replace(limits, in_all=METRICS_ROOM), on_drop))
        for server in self.servers:
            await server.start()

    async def _open_database(self) -> None:
        """Check the database now. One that is damaged, read-only or gone is never replaced by an empty one."""
        try:
            await self.database.check()
            self.database.claim_dispatch()
            await self._check_schema()
        except AlreadyDispatching as error:
            raise CannotStart(f"Another bellcrier already dispatches from {error}. Stop it first.") from None
        except DatabaseRefuses as error:
            raise CannotStart(f"The database does not let the bot in: {error}. Check DATABASE_URL.") from None
        except DatabaseBusy as error:
            raise CannotStart(f"The database does not answer ({error}). Start it, or check DATABASE_URL.") from None

    async def _check_schema(self) -> None:
        revision = await self.database.read(schema.schema_revision)
        if revision is None and await self.database.read(schema.is_empty):
            await self.database.write(upgrade, patience=None)
        elif trouble := schema.schema_trouble(revision):
            raise CannotStart(trouble)

    def site(self) -> Starlette:
        door = None
        if self.settings.slack_app_token is None and self.settings.slack_signing_secret is not None:
            verifier = SignatureVerifier(self.settings.slack_signing_secret.get_secret_value())
            door = SlackDoor(self.slack, verifier, self.meters, self.workspaces.greeted)
        callbacks = CallbackDoor(self.database, self.tracker, self.providers, self.key, self.meters)
        return public_site(door, callbacks, Health(self.ready), self._install_routes())

    def _install_routes(self) -> Iterable[Route]:
        served = self.workspaces
        if not isinstance(served, InstalledWorkspaces):
            return ()
        client = self._client(POSTING_TIMEOUT)

        async def install(code: str, back: str) -> None:
            await served.installed(await exchange(client, self.settings, code, back))

        return InstallDoor(self.settings, self.key, self.clock, install).routes()

    async def ready(self) -> tuple[bool, Mapping[str, str]]:
        """Return whether the bot can work, and the state of each part with what stands still.

        It can work if the database answers and took the last write, Slack takes the token and its socket is up where
        there is one, the clock agrees with Slack's, no outbox entry is too old, and nobody has asked it to stop. One
        of many workspaces whose token is dead, or whose outbox is old, is only named.
        """
        process = "stopping" if self.workspaces.stopping else "ok"
        parts = {"database": "ok", "slack": "ok", "clock": "ok", **self.self_check.troubles(), "process": process}
        try:
            stops = await self.database.read(lambda c: keys.stops(c, self.clock()))
            late = _late(await self.workspaces.unshown_since(self.database, self.clock()), self.clock())
        except Exception:
            log.exception("the database does not answer")
            parts["database"], stops, late = "no answer", keys.Stops(frozenset(), {}), {}
        if not self.workspaces.greeted():
            parts["slack"] = "it has not answered since the start"
        if self.socket is not None and not await self.socket.client.is_connected():
            parts["slack"] = "not connected"
        dead = {one.id: f"the token is not taken: {one.dead}" for one in self.workspaces.all if one.dead}
        if dead and not self.many:
            parts["slack"] = next(iter(dead.values()))
        if isinstance(self.workspaces, OnlyWorkspace) and (self.workspaces.removed_at or 0) > self.self_check.taken_at:
            parts["slack"] = REMOVED
        parts["outbox"] = "ok" if self.many else next(iter(late.values()), "ok")
        ready = all(part == "ok" for part in parts.values())
        parts |= {f"trouble:{failing.work}:{failing.id}": str(failing) for failing in self.database.failing_rows.all()}
        parts |= {"notifications": f"looking each half second: {self.database.deaf}"} if self.database.deaf else {}
        parts |= {f"workspace:{id}": said for id, said in (late | dead).items() if self.many}
        parts |= {f"pause:{workspace}": "all sending is paused" for workspace in stops.paused}
        return ready, parts | {f"breaker:{account}": "the vendor cannot be reached" for account in stops.away}

    async def stop(self) -> None:
        """Start no new sends, give those in flight their deadline, and write down every answer."""
        if self.socket is not None:
            await self.socket.close_async()
        await self.workspaces.stop(longest_call(self.providers) + 1, SHUTDOWN)
        for server in self.servers:
            await server.stop()
        await self.close()

    async def close(self) -> None:
        await self.peers.settle()
        for account in self.providers.values():
            await account.aclose()
        if self.heartbeat is not None:
            await self.heartbeat.aclose()
        await self.watch.aclose()
        await self.database.close()


def _late(unshown: Mapping[str, Micros], at: Micros) -> dict[str, str]:
    """Say of each workspace whose outbox is too old for how long it has waited, the longest first."""
    waits = {id: (at - since) // SECOND for id, since in sorted(unshown.items(), key=lambda one: one[1])}
    return {id: f"the oldest entry waits for {one} seconds" for id, one in waits.items() if one > OLD_OUTBOX}
