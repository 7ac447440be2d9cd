"""One workspace of Slack: everything that serves it and nothing that serves another, and what takes over from it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import structlog
from slack_bolt.authorization import AuthorizeResult

from bot.adapters import all_placeholders
from bot.config.own_settings import RESET, Unsuitable
from bot.config.runtime import Runtime
from bot.config.settings import Settings
from bot.core import build_core
from bot.doctor.examination import check_all
from bot.doctor.findings import Finding, Setup
from bot.domain.clock import micros
from bot.domain.i18n import translator_for
from bot.scheduler import PeriodicTask, Scheduler, Task
from bot.slack.card_context import CardContexts
from bot.slack.client import OnCall, SlackClient
from bot.slack.directory import People
from bot.slack.interaction import Entrance
from bot.slack.listeners import Listeners
from bot.slack.operator_notices import OperatorNotices
from bot.slack.publish.painter import Painter
from bot.slack.publish.poster import Poster
from bot.slack.publish.reminders import ReminderPosts
from bot.slack.publish.troubles import Troubles
from bot.slack.publish.weekly import WeeklyDigest
from bot.slack.self_check import SelfCheck
from bot.storage import keys
from bot.storage.own_settings import OwnSettings
from bot.storage.scoped import WorkspaceDatabase
from bot.workflow.followers import followers_in

log = structlog.get_logger(__name__)

POSTING_TIMEOUT = 15
Begin = Callable[[Scheduler], None]  # called with the ticks of a workspace before they begin
Tell = Callable[[str, tuple[str, ...]], None]


class Workspace:
    """The core, the listeners, the painters and the ticks of one workspace, over its own view of the database.

    `runtime`: its settings and accounts, over the whole `database`; `patience`: seconds that Slack may take inside a
    listener; `tell`: tells the other processes of its tasks that have work; `on_call` is told of calls to Slack; `own`:
    what its admins changed in the settings, if that is known. Its `id` is "" until `introduce`.
    """

    def __init__(
        self,
        runtime: Runtime,
        database: WorkspaceDatabase,
        patience: float,
        tell: Tell,
        on_call: OnCall,
        own: OwnSettings | None = None,
    ) -> None:
        self.own = own
        self.operator: OperatorNotices | None = None  # of one of many
        self.settings, self.database, self.tell, self.root = runtime.settings, database, tell, runtime
        self.runtime = replace(runtime, database=database, wake=self.wake)
        self.authorized: AuthorizeResult | None = None
        self.quick = slack_client(self.settings, int(patience), on_call)
        self.posting = slack_client(self.settings, POSTING_TIMEOUT, on_call)
        self.people = People(self.quick, self.settings.timezone)
        database.followers = followers_in(self.settings)
        self._build_core()
        self._build_painters()
        entrance = Entrance(self.workflow, self.people, patience, self.ours)
        parts = self.workflow, self.people, runtime.clock, self.reminders, self.showing
        self.listeners = Listeners(*parts, entrance, self.examine)
        lanes = self.tracker.lanes, self.dispatcher.sizes.lanes, self.audiences.audience_cache.lanes
        self.scheduler = Scheduler(*self._bells(), lanes=lanes)

    def _build_core(self) -> None:
        core = build_core(self.runtime, self.people, placeholders=all_placeholders())
        self.audiences, self.workflow, self.dispatcher = core.audiences, core.workflow, core.dispatcher
        self.tracker, self.approval_reminders, self.reminders = core.tracker, core.approval_reminders, core.reminders

    def _build_painters(self) -> None:
        words = translator_for(self.settings.locale)
        lease = keys.lease_of_painter(self.database.workspace)
        self.poster = Poster(self.runtime, self.posting, self.people, lease)
        self.showing = CardContexts(self.runtime, self.workflow, self.dispatcher.switch).of
        self.painter = Painter(self.poster, self.workflow, self.showing, words)
        self.notices = ReminderPosts(self.poster, words, micros(self.settings.grace))
        self.troubles = Troubles(self.runtime, self.ours)
        self.weekly = WeeklyDigest(self.runtime, self.people, self.ours)

    def _bells(self) -> tuple[PeriodicTask, ...]:
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
            PeriodicTask(Task.TROUBLES, 10.0, self.troubles.tick),
            PeriodicTask(Task.DIGEST, 60.0, self.weekly.tick),
        )

    async def examine(self) -> list[Finding]:
        """Run the checks of `doctor`, with what this process has open."""
        runtime = self.root
        parts = runtime.settings, runtime.policies, runtime.providers
        return await check_all(Setup(*parts, self.posting, self.people, runtime.database, runtime.key))

    @property
    def id(self) -> str:
        return self.people.workspace

    @property
    def dead(self) -> str | None:
        """Slack's error code, while it no longer accepts the token."""
        return self.poster.dead or self.people.dead

    def ours(self) -> str:
        """Return its id; requests from another workspace are refused."""
        return self.id

    async def notice(self, writes: SelfCheck) -> None:
        """Tell its admins what is in trouble here. `writes`: whether the database takes a write."""
        if self.operator is None:
            check = SelfCheck(self.runtime, self.posting, writes=False, workspace=self.ours)
            words = translator_for(self.settings.locale)
            self.operator = OperatorNotices(self.runtime, self.ours, check, words, of=self.id, writes=writes)
        await self.operator.tick()

    def use_token(self, token: str | None) -> None:
        """Call Slack with this token from now on."""
        self.quick.token = self.posting.token = token

    def introduce(self, authorized: AuthorizeResult) -> None:
        """Know who the bot is here, and which workspace this is."""
        self.authorized = authorized
        self.people.workspace = self.database.workspace = str(authorized.team_id)

    def wake(self, *tasks: str) -> None:
        """Wake these tasks of this workspace, here and in the other processes; without names, wake all."""
        if self.scheduler.started:
            self.scheduler.wake(*tasks)
            self.tell(self.id, tasks)

    def start(self) -> None:
        self.scheduler.start()

    async def stop_sending(self, patience: float) -> None:
        """Start no new sends, and give those in flight so many seconds."""
        await self.dispatcher.stop(patience)

    async def stop(self, patience: float) -> None:
        """Stop the ticks. Running work gets so many seconds."""
        if self.scheduler.started:
            await self.scheduler.stop(patience)
            await self.poster.let_go()
        if self.operator is not None:
            await self.operator.lanes.stop(0.0)


class Successors:
    """Lets one take over from another: it answers at once, and works when the sends of the other are over.

    Never do two work for one workspace in one process. `sending`: seconds that sends in flight have.
    """

    def __init__(self, sending: float) -> None:
        self.sending = sending
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._complained: set[tuple[str, int]] = set()
        self._stopping = False

    def successor(self, old: Workspace | None, stored: OwnSettings, make: Callable[[], Workspace]) -> Workspace | None:
        """Return what is to serve a workspace with these settings.

        None if the old one has them, or if they cannot be used: they may ask for more approvals than the file, so
        nothing ever works with the file alone in their place.
        """
        if old is not None and (old.own.version if old.own else 0) == stored.version:
            return None
        try:
            return make()
        except Unsuitable as error:
            if (stored.workspace, stored.version) not in self._complained:
                self._complained.add((stored.workspace, stored.version))
                fix = RESET.format(id=stored.workspace)
                log.error("settings of a workspace cannot be used", workspace=stored.workspace, why=str(error), fix=fix)
            return None

    def begin(self, old: Workspace | None, new: Workspace, begin: Begin, wanted: Callable[[], bool]) -> None:
        """Let it work, once the old one has ended. `wanted`: whether it still is to serve the workspace by then."""
        begin(new.scheduler)
        if old is None:
            new.start()
            log.info("a workspace is served", workspace=new.id)
            return
        if old.authorized is not None:
            new.introduce(old.authorized)
        earlier = self._under_way.get(new.id)
        task = asyncio.create_task(self._take_over(earlier, old, new, wanted), name="take over")
        self._under_way[new.id] = task
        task.add_done_callback(lambda _: self._done(new.id, task))

    async def _take_over(
        self, earlier: asyncio.Task[None] | None, old: Workspace, new: Workspace, wanted: Callable[[], bool]
    ) -> None:
        if earlier is not None:
            await asyncio.wait([earlier])
        try:
            await self._stop(old)
        finally:
            if wanted() and not self._stopping:
                new.start()
        log.info("a workspace has new settings", workspace=new.id, version=new.own.version if new.own else 0)

    def _done(self, id: str, task: asyncio.Task[None]) -> None:
        if self._under_way.get(id) is task:
            del self._under_way[id]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a workspace could not be stopped cleanly", workspace=id, exc_info=error)

    async def end(self, gone: Workspace) -> None:
        """Stop it. Its sends in flight have their time, and then its ticks stop."""
        if (under_way := self._under_way.get(gone.id)) is not None:
            await asyncio.wait([under_way])
        await self._stop(gone)

    async def _stop(self, gone: Workspace) -> None:
        await gone.stop_sending(self.sending)
        await gone.stop(self.sending)

    async def stop(self) -> None:
        """Start none any more, and wait until those that ended have stopped."""
        self._stopping = True
        if self._under_way:
            await asyncio.wait(list(self._under_way.values()))


@cache
def tls() -> ssl.SSLContext:
    """Return what all clients share: reading the certificates takes 20 ms, and some memory, each time."""
    return ssl.create_default_context()


def slack_client(settings: Settings, timeout: int, on_call: OnCall) -> SlackClient:
    """Return a client without a token, which retries nothing. `on_call` is told of its calls."""
    context = tls() if settings.slack_api_url.startswith("https") else None
    client = SlackClient(base_url=settings.slack_api_url, timeout=timeout, ssl=context, retry_handlers=[])
    client.on_call = on_call
    return client
