"""Connects the parts of a bot with its meters, and reads the gauges of a scrape."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

import structlog

from bot.config.runtime import Runtime
from bot.domain.clock import SECOND, Micros
from bot.scheduler import Scheduler, Task
from bot.slack.measured import MeasuredApp
from bot.slack.publish.poster import UPDATES
from bot.storage import figures
from bot.storage.broadcast_rows import Owner
from bot.storage.figures import Figures
from bot.storage.tables import REVISION
from bot.web.metrics import Meters, Samples
from bot.workspaces import Workspaces
from providers.base import Receipts

if TYPE_CHECKING:
    from bot.tracing import Tracing

log = structlog.get_logger(__name__)
T = TypeVar("T")
P = ParamSpec("P")
PATIENCE = 4.0  # seconds for a part to answer; Prometheus gives up after ten
OLD_TICK = 60.0  # seconds since the last tick after which a dispatcher does no work
#: OpenTelemetry's own names for where its spans go.
COLLECTORS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
Gauge = dict[tuple[str, ...], float]


class Watched(Protocol):
    """The parts of a bot that are watched."""

    meters: Meters
    root: Runtime
    slack: MeasuredApp
    socket: Any
    workspaces: Workspaces

    async def ready(self) -> tuple[bool, Mapping[str, str]]: ...


class Watch:
    """Watches one bot. Without the database it still tells what this process knows."""

    def __init__(self, bot: Watched) -> None:
        self.bot, self.meters, self.runtime = bot, bot.meters, bot.root
        database = self.runtime.database
        database.on_steps, database.on_end = self.meters.count_steps, self.meters.count_transaction
        database.failing_rows.on_failure = self.meters.count_row
        bot.slack.on_request = self.meters.count_request
        for name, account in self.runtime.providers.items():
            account.calls.on_call = partial(self.meters.count_vendor_call, name)
        self.tracing = open_tracing(self.runtime)
        if self.tracing is not None:
            self._trace(self.tracing)

    def _trace(self, tracing: Tracing) -> None:
        self.runtime.database.on_steps = _both(self.meters.count_steps, tracing.count_steps)
        self.bot.slack.around = tracing.request
        for name, account in self.runtime.providers.items():
            account.calls.on_call = _both(account.calls.on_call, partial(tracing.count_vendor_call, name))

    def count_receipts(self, owners: Iterable[Owner]) -> None:
        if self.tracing is not None:
            self.tracing.count_receipts(owners)

    async def aclose(self) -> None:
        if self.tracing is not None:
            await self.tracing.aclose()

    def begin(self, scheduler: Scheduler) -> None:
        """Watch the ticks too, before they begin."""
        scheduler.on_tick = self.meters.count_tick
        accounts, address = self.runtime.providers, self.runtime.settings.public_url
        called = [name for name, one in accounts.items() if one.capabilities.receipts is not Receipts.NONE]
        self.meters.know(accounts, called if address else [], (bell.name for bell in scheduler.bells))

    async def able(self) -> bool:
        """Whether this process can work, and its dispatchers do."""
        ticking = [one.scheduler for one in self.bot.workspaces.all]
        bells = (bell for scheduler in ticking for bell in scheduler.bells if bell.name == Task.DISPATCH)
        young = all(scheduler.started for scheduler in ticking) and all(bell.age < OLD_TICK for bell in bells)
        return young and (await self.bot.ready())[0]

    async def read(self) -> Samples:
        """Read the gauges. What cannot be told in time is left out."""
        at = self.runtime.clock()
        found = await self._in_time(self.runtime.database.read(lambda c: figures.read_figures(c, at)))
        samples = self._of_process()
        samples["bellcrier_database_up"] = {(): float(found is not None)}
        if found is not None:
            samples |= self._of_figures(found, at)
        ready = await self._in_time(self.bot.ready())
        samples["bellcrier_ready"] = {(): float(ready is not None and ready[0])}
        if self.bot.socket is not None:
            connected = await self._in_time(self.bot.socket.client.is_connected())
            samples["bellcrier_slack_socket_connected"] = {(): float(bool(connected))}
        return samples

    @staticmethod
    async def _in_time(asked: Awaitable[T]) -> T | None:
        try:
            async with asyncio.timeout(PATIENCE):
                return await asked
        except Exception as error:  # a scrape is answered whatever is broken
            log.info("a part could not be measured", error=type(error).__name__)
            return None

    def _of_figures(self, found: Figures, at: Micros) -> dict[str, Gauge]:
        waits = {state: found.since.get(state, at) for state in figures.WAITED}
        return {
            "bellcrier_broadcasts": {(state,): number for state, number in found.states.items()},
            "bellcrier_longest_wait_seconds": {(state,): _age(since, at) for state, since in waits.items()},
            "bellcrier_overdue_seconds": {(): _age(found.due, at)},
            "bellcrier_outbox_age_seconds": {(): _age(found.unshown, at)},
            "bellcrier_breaker_open": {(name,): float(name in found.stops.away) for name in self.runtime.providers},
            "bellcrier_paused_workspaces": {(): len(found.stops.paused)},
        }

    def _of_process(self) -> dict[str, Gauge]:
        kind = "sqlite" if self.runtime.database.exclusive else "postgresql"
        slack = "http" if self.runtime.settings.slack_app_token is None else "socket"
        build = version("bellcrier"), platform.python_version(), REVISION, kind, slack
        every, ages = self.bot.workspaces.all, dict[tuple[str, ...], float]()
        ticking = [self.bot.workspaces.common, *(one.scheduler for one in every)]
        for bell in (bell for scheduler in ticking if scheduler.started for bell in scheduler.bells):
            ages[bell.name,] = max(bell.age, ages.get((bell.name,), 0.0))
        return {
            "bellcrier_build_info": {build: 1},
            "bellcrier_rows_put_off": {(): len(self.runtime.database.failing_rows.all())},
            "bellcrier_tick_age_seconds": ages,
            "bellcrier_slack_token_valid": {(): float(all(one.dead is None for one in every))},
            "bellcrier_slack_update_budget": {(): min((one.poster.budget for one in every), default=UPDATES)},
        }


def open_tracing(runtime: Runtime) -> Tracing | None:
    """Return what makes spans, if the environment names where to send them and the extra is installed."""
    if not any(os.environ.get(name) for name in COLLECTORS):
        return None
    try:
        from bot.tracing import Tracing
    except ImportError:
        log.warning("nothing is traced: pip install 'bellcrier[otel]', or leave out OTEL_EXPORTER_OTLP_ENDPOINT")
        return None
    return Tracing(runtime.key, runtime.owner)


def _both(first: Callable[P, None], second: Callable[P, None]) -> Callable[P, None]:
    def call(*told: P.args, **more: P.kwargs) -> None:
        first(*told, **more)
        second(*told, **more)

    return call


def _age(since: Micros | None, at: Micros) -> float:
    """Return the seconds since then; 0 for what is still to come, and for nothing."""
    return 0.0 if since is None else max(at - since, 0) / SECOND
