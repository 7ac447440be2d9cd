"""One process of the bot: its parts, put together, started and stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.signature import SignatureVerifier
from sqlalchemy import Connection
from starlette.applications import Starlette

from bot.adapters import all_placeholders, open_accounts, policies_of
from bot.config.load import secret_key_for
from bot.config.runtime import Runtime
from bot.config.settings import Settings
from bot.domain.broadcast import new_id
from bot.domain.clock import SECOND, Clock, micros, now
from bot.domain.errors import CannotStart
from bot.domain.i18n import Translatable, translator_for
from bot.domain.people import Directory
from bot.heartbeat import EVERY, open_heartbeat
from bot.recurring.reminders import Reminders
from bot.scheduler import PeriodicTask, Scheduler, Task
from bot.sending.dispatcher import Dispatcher
from bot.sending.tokens import token_for
from bot.sending.tracker import Tracker
from bot.slack.buttons import Buttons
from bot.slack.card_context import CardContexts
from bot.slack.client import SlackClient, clients_like
from bot.slack.commands.router import Commands
from bot.slack.commands.schedules import Recurring
from bot.slack.directory import People
from bot.slack.forms import FormHandlers
from bot.slack.greeting import greet, open_socket
from bot.slack.interaction import Body, Entrance
from bot.slack.live_form import LiveForm
from bot.slack.measured import MeasuredApp
from bot.slack.payload import make_storable
from bot.slack.publish.painter import Painter
from bot.slack.publish.poster import Poster
from bot.slack.publish.reminders import ReminderPosts
from bot.slack.reactions import Reactions
from bot.slack.type_ahead import TypeAhead
from bot.storage import cards, keys, outbox, schema
from bot.storage.database import PATIENCE, AlreadyDispatching, DatabaseBusy, DatabaseRefuses
from bot.storage.engines import open_database
from bot.storage.failing_rows import FailingRow
from bot.storage.schema import upgrade
from bot.watch import Watch
from bot.web.callbacks import CallbackDoor
from bot.web.connections import Limits, open_files, room
from bot.web.listening import Endpoint
from bot.web.metrics import Meters, metrics_site
from bot.web.server import SHUTDOWN, Server
from bot.web.sites import Health, public_site
from bot.web.slack import SlackDoor
from bot.workflow.approval_reminders import ApprovalReminders
from bot.workflow.audience_cache import AudienceCache
from bot.workflow.audiences import Audiences
from bot.workflow.audit_seals import AuditSeals
from bot.workflow.kill_switch import KillSwitch
from bot.workflow.retention import Retention
from bot.workflow.workflow import Workflow

log = structlog.get_logger(__name__)

ANY = re.compile("")
POSTING_TIMEOUT = 15
HINT_PAUSE = 0.05  # seconds of changes that become one hint to the other processes
METRICS_ROOM = 64  # connections to the operator's own address
OLD_OUTBOX = 60  # seconds that something may wait to be shown in Slack before somebody should look
DAY = 24 * 3600 * SECOND
POSTED_ONE_BY_ONE = 10  # failing rows of one kind of work that admins hear of; beyond these they hear the number


@dataclass(frozen=True)
class Core:
    """Everything between a request and the vendor's answer; Slack and the web are built on it."""

    runtime: Runtime
    audiences: Audiences
    workflow: Workflow
    dispatcher: Dispatcher
    tracker: Tracker
    approval_reminders: ApprovalReminders
    reminders: Reminders


def build_core(
    runtime: Runtime,
    people: Directory,
    *,
    placeholders: frozenset[str] = frozenset(),
    make_id: Callable[[], str] = new_id,
) -> Core:
    """Put the core together. `placeholders`: those of every vendor; `make_id`: makes the ids of new broadcasts."""
    audience_cache = AudienceCache(runtime.providers, runtime.settings.audiences)
    audiences = Audiences(runtime.settings, runtime.providers, runtime.policies, audience_cache, placeholders)
    switch = KillSwitch()
    workflow = Workflow(runtime, audiences, people, switch, make_id)
    return Core(
        runtime=runtime,
        audiences=audiences,
        workflow=workflow,
        dispatcher=Dispatcher(runtime, workflow, switch),
        tracker=Tracker(runtime),
        approval_reminders=ApprovalReminders(runtime, audiences.misfit),
        reminders=Reminders(runtime, workflow, people),
    )


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
        self.scheduler: Scheduler | None = None
        self._hints: set[str] = set()
        self._telling: asyncio.Task[None] | None = None
        self.socket: AsyncSocketModeHandler | None = None
        self._token = settings.slack_bot_token.get_secret_value() if settings.slack_bot_token else None
        self._authorized: AuthorizeResult  # set by `_greet_slack`; until then nothing of Slack's comes in
        self.servers: list[Server] = []
        self._build_core()
        self._build_slack()

    def _build_core(self) -> None:
        self.quick = self._client(int(self.patience), token=self._token)
        self.people = People(self.quick, self.settings.timezone)
        self.runtime = Runtime(
            settings=self.settings,
            database=self.database,
            providers=self.providers,
            policies=self.policies,
            key=self.key,
            owner=self.owner,
            wake=self.wake,
            clock=self.clock,
        )
        core = build_core(self.runtime, self.people, placeholders=all_placeholders())
        self.audiences, self.workflow, self.dispatcher = core.audiences, core.workflow, core.dispatcher
        self.tracker, self.approval_reminders, self.reminders = core.tracker, core.approval_reminders, core.reminders

    def _build_slack(self) -> None:
        self.posting = self._client(POSTING_TIMEOUT, token=self._token)
        words = translator_for(self.settings.locale)
        self.poster = Poster(self.runtime, self.posting, self.people)
        self.showing = CardContexts(self.runtime, self.workflow, self.dispatcher.switch).of
        self.painter = Painter(self.poster, self.workflow, self.showing, words)
        self.notices = ReminderPosts(self.poster, words, micros(self.settings.grace))
        self.slack = self._bolt()
        self.watch = Watch(self)

    def _client(self, timeout: int, *, token: str | None) -> SlackClient:
        context = ssl.create_default_context() if self.settings.slack_api_url.startswith("https") else None
        url = self.settings.slack_api_url
        client = SlackClient(token=token, base_url=url, timeout=timeout, ssl=context, retry_handlers=[])
        client.on_call = self.meters.count_slack_call
        return client

    def _bolt(self) -> MeasuredApp:
        async def authorize() -> AuthorizeResult:  # otherwise Bolt asks again, during the first command's three seconds
            return self._authorized

        app = MeasuredApp(
            name="bellcrier",  # otherwise Bolt reads every file of its callers to find a name
            client=self._client(int(self.patience), token=None),  # each request's own client gets it from `authorize`
            authorize=authorize,
            process_before_response=True,
            request_verification_enabled=False,
            logger=logging.getLogger("slack_bolt"),  # else it takes the level of the root, and logs whole payloads
        )
        parts = (self.workflow, self.people, self.audiences, self.clock)
        entrance = Entrance(self.workflow, self.people, self.patience, self.ours)
        recurring = Recurring(self.reminders, self.people, self.clock)
        live = LiveForm(self.workflow, self.clock, entrance, self.showing)
        commands = Commands(*parts, self.showing, entrance, recurring, live.with_facts)
        modals = FormHandlers(*parts, entrance, live.done)
        buttons, reactions = (
            Buttons(self.workflow, self.audiences, self.clock, entrance, recurring, live.with_facts),
            Reactions(*parts, self.ours),
        )
        app.middleware(readable)
        app.middleware(clients_like(self.quick))
        app.command(ANY)(commands.handle)
        app.view(ANY)(modals.submitted)
        app.view_closed(ANY)(modals.closed)

        async def acted(ack: AsyncAck, body: Body, action: Mapping[str, Any], client: SlackClient) -> None:
            await (live.acted if live.is_about(body) else buttons.pressed)(ack, body, action, client)

        app.action(ANY)(acted)
        app.event(ANY)(reactions.happened)
        app.options(ANY)(TypeAhead(self.workflow, entrance).suggest)
        app.shortcut(ANY)(unknown_shortcut)
        app.error(report)
        return app

    def greeted(self) -> bool:
        """Whether Slack has said at the start who we are. Until then nothing of Slack's can be answered."""
        return bool(self.people.workspace)

    def ours(self) -> str:
        """Return the workspace that our token belongs to; requests from another one are refused."""
        return self.people.workspace

    def wake(self, *tasks: str) -> None:
        """Wake these tasks, here and in the other processes; without names, wake all."""
        if self.scheduler is None:
            return
        self.scheduler.wake(*tasks)
        if self.database.exclusive:
            return
        self._hints |= set(tasks or Task)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._notify_peers(), name="tell others")

    async def _notify_peers(self) -> None:
        """Send hints to the other processes, at most one at a time. Their ticks would find the work anyway."""
        while self._hints:
            await asyncio.sleep(HINT_PAUSE)
            tasks, self._hints = self._hints, set()
            try:
                await self.database.notify_peers(*sorted(tasks))
            except Exception as error:
                log.info("the others could not be told", error=type(error).__name__)

    def callback_address(self, account: str) -> str | None:
        """Return the callback address to paste at an account's vendor, or None without a public address."""
        if self.settings.public_url is None:
            return None
        return f"{self.settings.public_url.rstrip('/')}/callbacks/{account}/{token_for(self.key, account)}"

    # --- life --------------------------------------------------------------------------------------------------------

    async def start(self, host: str, port: int) -> None:
        """Start everything, in order of dependency. Raises CannotStart, Unusable or SettingsError.

        As long as Slack is away this waits for it, not ready but alive: what vendors call back is stored.
        """
        await self._open_database()
        await self._listen(host, port)
        await self._greet_slack()
        lanes = self.tracker.lanes, self.dispatcher.sizes.lanes, self.audiences.audience_cache.lanes
        self.scheduler = Scheduler(*self.bells(), lanes=lanes)
        self.watch.begin(self.scheduler)
        self.scheduler.start()
        await self.database.listen(self.scheduler.wake)
        if self.settings.slack_app_token is not None:
            token = self.settings.slack_app_token.get_secret_value()
            self.socket = AsyncSocketModeHandler(self.slack, token, web_client=self.posting)
            await open_socket(self.socket)

    async def _listen(self, host: str, port: int) -> None:
        limits = Limits(room(open_files()), proxies=self.settings.trusted_proxies)
        named = self.settings.written().named
        host_setting = named(("host",)) if host == self.settings.host else "--host"
        self.servers.append(Server(self.site(), Endpoint(host, port, host_setting), limits))
        if self.settings.metrics_listen:
            metrics_host, metrics_port = self.settings.metrics_listen.rsplit(":", 1)
            place = Endpoint(metrics_host.strip("[]"), int(metrics_port), *[named(("metrics_listen",))] * 2)
            site = metrics_site(self.meters, self.watch.read)
            self.servers.append(Server(site, place, replace(limits, in_all=METRICS_ROOM)))
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
        authorized = await greet(self.posting)
        self._authorized, self.people.workspace = authorized, str(authorized.team_id)

    def bells(self) -> tuple[PeriodicTask, ...]:
        return (
            PeriodicTask(
                Task.DISPATCH, 0.5, self.dispatcher.tick, gather=0.0
            ),  # the next send of an account waits for it
            PeriodicTask(Task.PAINT, 1.0, self.painter.paint),
            PeriodicTask(Task.REMIND, 1.0, self.reminders.tick),
            PeriodicTask(Task.NOTICES, 1.0, self.notices.paint),
            PeriodicTask(Task.TRACK, 1.0, self.tracker.begin),
            PeriodicTask(Task.SIZES, 2.0, self.dispatcher.sizes.begin),
            PeriodicTask(Task.EXPIRE, 10.0, self.workflow.expire),
            PeriodicTask(Task.APPROVAL_REMINDERS, 5.0, self.approval_reminders.tick),
            PeriodicTask(Task.REVIEWS, 60.0, self.workflow.reviews.tick),
            PeriodicTask(Task.AUDIENCES, 60.0, self.audiences.audience_cache.begin),
            PeriodicTask(Task.TROUBLES, 10.0, self._notify_admins),
            *([PeriodicTask(Task.HEARTBEAT, EVERY, self.heartbeat.beat)] if self.heartbeat else []),
            PeriodicTask(Task.SEAL_AUDIT, 10.0, AuditSeals(self.runtime).tick),
            PeriodicTask(Task.RETENTION, 60.0, Retention(self.runtime).tick),
        )

    async def _notify_admins(self) -> None:
        """Tell admins once a day about each row that cannot be processed, or how many there are."""
        failing_rows = self.database.failing_rows.all()
        if failing_rows and self.settings.admins:
            await self.database.write(partial(self._post_failing_rows, failing_rows=failing_rows))

    def _post_failing_rows(self, connection: Connection, failing_rows: list[FailingRow]) -> None:
        now, several = self.clock(), Counter[str]()
        for failing in failing_rows:
            several[failing.work] += 1
            if several[failing.work] > POSTED_ONE_BY_ONE:
                continue
            template = (
                "I cannot process {work} *{id}* ({error}). I will keep retrying it, less and less often. Everything "
                "else continues. The log has the details."
            )
            sentence = Translatable(template, work=failing.work, id=failing.id, error=failing.error)
            for admin in self.settings.admins:
                key = f"trouble:{failing.work}:{failing.id}:{now // DAY}:{admin}"[:255]
                outbox.post(connection, failing.workspace or self.people.workspace, key, admin, sentence, None, now)
        if max(several.values()) > POSTED_ONE_BY_ONE:
            template = "I cannot process {count} rows in total. The log names each one."
            sentence = Translatable(template, count=len(failing_rows))
            for admin in self.settings.admins:
                key = f"trouble:more:{now // DAY}:{admin}"
                outbox.post(connection, self.people.workspace, key, admin, sentence, None, now)

    def site(self) -> Starlette:
        door = None
        if self.settings.slack_app_token is None and self.settings.slack_signing_secret is not None:
            verifier = SignatureVerifier(self.settings.slack_signing_secret.get_secret_value())
            door = SlackDoor(self.slack, verifier, self.meters, self.greeted)
        callbacks = CallbackDoor(self.database, self.tracker, self.providers, self.key, self.meters)
        return public_site(door, callbacks, Health(self.ready))

    async def ready(self) -> tuple[bool, Mapping[str, str]]:
        """Return whether the bot can work, and the state of each part with what stands still.

        It can work if the database answers, Slack takes the token and its socket is up where there is one, no outbox
        entry is too old, and nobody has asked it to stop.
        """
        parts = {"database": "ok", "slack": "ok", "process": "stopping" if self.dispatcher.switch.stopping else "ok"}
        try:
            stops, since = await self.database.read(
                lambda c: (keys.stops(c, self.clock()), cards.oldest_unshown(c, self.clock()))
            )
        except Exception:
            log.exception("the database does not answer")
            parts["database"], stops, since = "no answer", keys.Stops(frozenset(), {}), None
        if not self.greeted():
            parts["slack"] = "it has not answered since the start"
        if self.socket is not None and not await self.socket.client.is_connected():
            parts["slack"] = "not connected"
        if dead := self.poster.dead or self.people.dead:
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
        await self.dispatcher.stop(longest + 1)
        if self.scheduler is not None:
            await self.scheduler.stop(SHUTDOWN)
            await self.poster.let_go()
        for server in self.servers:
            await server.stop()
        await self.close()

    async def close(self) -> None:
        if self._telling is not None:
            await self._telling
        for account in self.providers.values():
            await account.aclose()
        if self.heartbeat is not None:
            await self.heartbeat.aclose()
        await self.database.close()


async def readable(body: dict[str, Any], next: Callable[[], Awaitable[None]]) -> None:
    """Let no text through that no database takes."""
    make_storable(body)
    await next()


async def unknown_shortcut(ack: AsyncAck) -> None:
    await ack()


async def report(error: Exception, request: AsyncBoltRequest) -> BoltResponse | None:
    """Log the error with a reference. Return the ack if it was made already, else tell Slack to try again."""
    log.error("a listener failed", reference=secrets.token_hex(4), exc_info=error)
    return request.context.ack.response
