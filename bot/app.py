"""One process of the bot: its parts, put together, started and stopped."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import replace

import structlog
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_sdk.signature import SignatureVerifier
from starlette.applications import Starlette

from bot.adapters import open_accounts, policies_of
from bot.config.load import secret_key_for
from bot.config.runtime import Runtime
from bot.config.settings import Settings
from bot.domain.clock import SECOND, Clock, now
from bot.domain.errors import CannotStart
from bot.domain.i18n import translator_for
from bot.heartbeat import EVERY, open_heartbeat
from bot.peers import Peers
from bot.scheduler import PeriodicTask, Scheduler, Task
from bot.sending.tokens import callback_address
from bot.sending.tracker import Tracker
from bot.slack.client import SlackClient
from bot.slack.commands.broadcasts import ShowingOf
from bot.slack.directory import People
from bot.slack.greeting import greet, open_socket
from bot.slack.listeners import bolt_app
from bot.slack.operator_notices import OperatorNotices
from bot.slack.self_check import SelfCheck
from bot.storage import cards, keys, schema
from bot.storage.database import PATIENCE, AlreadyDispatching, DatabaseBusy, DatabaseRefuses
from bot.storage.engines import open_database
from bot.storage.schema import upgrade
from bot.storage.scoped import WorkspaceDatabase
from bot.watch import Watch
from bot.web.callbacks import CallbackDoor
from bot.web.connections import Limits, open_files, room
from bot.web.listening import Endpoint
from bot.web.metrics import Meters, metrics_site
from bot.web.server import SHUTDOWN, Server
from bot.web.sites import Health, public_site
from bot.web.slack import SlackDoor
from bot.workflow.audit_seals import AuditSeals
from bot.workflow.retention import Retention
from bot.workflow.workflow import Workflow
from bot.workspace import Workspace, slack_client
from bot.workspaces import Workspaces

log = structlog.get_logger(__name__)

METRICS_ROOM = 64  # connections to the operator's own address
OLD_OUTBOX = 60  # seconds that something may wait to be shown in Slack before somebody should look


class Bot:
    """One process of the bot: everything it needs, started and stopped together.

    `patience`: seconds that the database, or Slack inside a listener, may take; both must leave room in Slack's three.
    """

    def __init__(self, settings: Settings, clock: Clock = now, *, patience: float = PATIENCE) -> None:
        self.settings, self.clock, self.patience = settings, clock, patience
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
        told = self.peers.tell, self.meters.count_slack_call
        self.home = Workspace(self.root, WorkspaceDatabase(self.database), patience, *told)
        self.home.use_token(settings.slack_bot_token.get_secret_value() if settings.slack_bot_token else None)
        self.self_check = SelfCheck(self.root, self.home.posting)
        words = translator_for(settings.locale)
        self.operator = OperatorNotices(self.root, lambda: self.home.id, self.self_check, words)
        self.common = Scheduler(*self._common_bells(), lanes=[self.operator.lanes])
        self.workspaces = Workspaces(self.home, self.common)
        client = slack_client(settings, int(patience), self.meters.count_slack_call)
        self.slack = bolt_app(client, self.workspaces.listeners_of, self.workspaces.authorized_in)
        self.watch = Watch(self)
        self.socket: AsyncSocketModeHandler | None = None
        self.servers: list[Server] = []

    def _common_bells(self) -> tuple[PeriodicTask, ...]:
        return (
            PeriodicTask(Task.OPERATOR, 10.0, self.operator.tick),
            PeriodicTask(Task.SEAL_AUDIT, 10.0, AuditSeals(self.root).tick),
            PeriodicTask(Task.RETENTION, 60.0, Retention(self.root).tick),
            *([PeriodicTask(Task.HEARTBEAT, EVERY, self.heartbeat.beat)] if self.heartbeat else []),
        )

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
            on_receipts=lambda owners: self.watch.count_receipts(owners),
        )

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
        await self._greet_slack()
        for scheduler in (self.common, self.home.scheduler):
            self.watch.begin(scheduler)
            scheduler.start()
        await self.database.listen(self.workspaces.told)
        if self.settings.slack_app_token is not None:
            token = self.settings.slack_app_token.get_secret_value()
            self.socket = AsyncSocketModeHandler(self.slack, token, web_client=self.posting)
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

    async def _greet_slack(self) -> None:
        """Check the token now, not at the first command."""
        self.home.introduce(await greet(self.home.posting))
        self.self_check.told = True

    def site(self) -> Starlette:
        door = None
        if self.settings.slack_app_token is None and self.settings.slack_signing_secret is not None:
            verifier = SignatureVerifier(self.settings.slack_signing_secret.get_secret_value())
            door = SlackDoor(self.slack, verifier, self.meters, self.workspaces.greeted)
        callbacks = CallbackDoor(self.database, self.tracker, self.providers, self.key, self.meters)
        return public_site(door, callbacks, Health(self.ready))

    async def ready(self) -> tuple[bool, Mapping[str, str]]:
        """Return whether the bot can work, and the state of each part with what stands still.

        It can work if the database answers and took the last write, Slack takes the token and its socket is up where
        there is one, the clock agrees with Slack's, no outbox entry is too old, and nobody has asked it to stop.
        """
        process = "stopping" if self.home.dispatcher.switch.stopping else "ok"
        parts = {"database": "ok", "slack": "ok", "clock": "ok", **self.self_check.troubles(), "process": process}
        try:
            stops, since = await self.database.read(
                lambda c: (keys.stops(c, self.clock()), cards.oldest_unshown(c, self.clock()))
            )
        except Exception:
            log.exception("the database does not answer")
            parts["database"], stops, since = "no answer", keys.Stops(frozenset(), {}), None
        if not self.workspaces.greeted():
            parts["slack"] = "it has not answered since the start"
        if self.socket is not None and not await self.socket.client.is_connected():
            parts["slack"] = "not connected"
        if dead := self.home.dead:
            parts["slack"] = f"the token is not taken: {dead}"
        waits = (self.clock() - since) // SECOND if since is not None else 0
        parts["outbox"] = "ok" if waits <= OLD_OUTBOX else f"the oldest entry waits for {waits} seconds"
        ready = all(part == "ok" for part in parts.values())
        parts |= {f"trouble:{failing.work}:{failing.id}": str(failing) for failing in self.database.failing_rows.all()}
        parts |= {"notifications": f"looking each half second: {self.database.deaf}"} if self.database.deaf else {}
        parts |= {f"pause:{workspace}": "all sending is paused" for workspace in stops.paused}
        return ready, parts | {f"breaker:{account}": "the vendor cannot be reached" for account in stops.away}

    async def stop(self) -> None:
        """Start no new sends, give those in flight their deadline, and write down every answer."""
        if self.socket is not None:
            await self.socket.close_async()
        longest = max((provider.settings.timeout for provider in self.providers.values()), default=0.0)
        await asyncio.gather(*(workspace.stop_sending(longest + 1) for workspace in self.workspaces.all))
        await asyncio.gather(self.common.stop(SHUTDOWN), *(one.stop(SHUTDOWN) for one in self.workspaces.all))
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
