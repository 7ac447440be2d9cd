"""What `/metrics` shows: numbers only. No label holds a person, a number, a text, or an id of an unbounded kind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    Metric,
    ProcessCollector,
    Summary,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bot.domain.clock import SECOND
from bot.domain.lifecycle import Action, State
from bot.storage.database import CommitUncertain, DatabaseBusy
from bot.storage.steps import TakenStep
from bot.web.connections import Reason
from providers.base import ProviderError

disable_created_metrics()  # type: ignore[no-untyped-call]  # each counter and histogram would have another series, with the time of the start

QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
CALLS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SLOW = (10, 30, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 72 * 3600, 168 * 3600)
DELAYS = (1, 2.5, 5, 10, 30, 60, 300, 600, 3600)

#: What the release of a broadcast came to, by the step that writes it.
OUTCOMES = {
    Action.ACCEPT: "accepted",
    Action.REFUSE: "refused",
    Action.LOSE_TRACK: "unknown",
    Action.PUT_BACK: "postponed",
    Action.PROVE: "proved_sent",
    Action.MARK_SENT: "marked_sent",
    Action.MARK_NOT_SENT: "marked_not_sent",
}
POLICY = "policy"  # the actor that approves what needs no approval

#: Gauges that are read at each scrape, with their labels. One that cannot be told now has no series.
GAUGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "bellcrier_build_info": (
        "Always 1; the labels tell the version",
        ("version", "python", "schema", "database", "slack"),
    ),
    "bellcrier_ready": ("Whether this process can work: 1 if `/readyz` answers 200", ()),
    "bellcrier_database_up": ("Whether the database answered this scrape", ()),
    "bellcrier_broadcasts": ("Broadcasts in each state that is no end", ("state",)),
    "bellcrier_longest_wait_seconds": (
        "How long the longest waiting broadcast is in this state; 0 for none",
        ("state",),
    ),
    "bellcrier_overdue_seconds": ("How long the first scheduled broadcast is past the time when it may start", ()),
    "bellcrier_outbox_age_seconds": ("How long the oldest card, note or message waits to be shown in Slack", ()),
    "bellcrier_breaker_open": ("Whether an account is left alone because its vendor cannot be reached", ("account",)),
    "bellcrier_paused_workspaces": ("Workspaces in which all sending is paused", ()),
    "bellcrier_rows_put_off": ("Rows that wait after they could not be worked on", ()),
    "bellcrier_tick_age_seconds": ("How long ago a periodic task last ended", ("tick",)),
    "bellcrier_slack_socket_connected": ("Whether the socket to Slack is up; only in Socket Mode", ()),
    "bellcrier_slack_token_valid": ("Whether Slack takes the bot's token", ()),
    "bellcrier_slack_update_budget": ("Changes of messages that may go to Slack now, within its rate limit", ()),
}
Samples = Mapping[str, Mapping[tuple[str, ...], float]]  # the values of gauges, by name and labels


@dataclass(frozen=True)
class Described:
    """A metric, for its table in docs/watching.md."""

    name: str
    kind: str
    about: str
    labels: tuple[str, ...]


@dataclass(eq=False)
class Scraped:
    """The gauges, as they were last read."""

    samples: Samples

    def collect(self) -> Iterable[Metric]:
        for name, (about, labels) in GAUGES.items():
            family = GaugeMetricFamily(name, about, labels=labels)
            for values, number in self.samples.get(name, {}).items():
                family.add_metric(values, number)
            yield family


class Meters:
    """What this process counts. Every method is called by the part that it is about, and takes microseconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.described = [Described(name, "gauge", about, labels) for name, (about, labels) in GAUGES.items()]
        self.scraped = Scraped({})
        self.registry.register(self.scraped)
        self._make_broadcast_meters()
        self._make_slack_meters()
        self._make_inner_meters()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def _make_broadcast_meters(self) -> None:
        self.entered = self._counter("broadcasts_entered", "Broadcasts that entered a state", "state")
        for state in State:
            self.entered.labels(state)
        self.outcomes = self._counter("outcomes", "What releases came to", "account", "outcome")
        asked = "Seconds from a request to its approval by people"
        self.asked = self._histogram("asked_to_approved_seconds", asked, SLOW)
        accepted = "Seconds from the approval to the vendor's acceptance, with the wait for its time"
        self.approved = self._histogram("approved_to_accepted_seconds", accepted, SLOW)
        late = "Seconds from the time when a broadcast was to start to the vendor's acceptance"
        self.late = self._histogram("start_delay_seconds", late, DELAYS)
        called = "Seconds that a call to a vendor took, with the wait for its rate limit"
        self.vendor = self._histogram("vendor_call_seconds", called, CALLS, "account", "call")
        self.vendor_errors = self._counter("vendor_errors", "Calls to vendors that failed", "account", "call", "error")
        self.callbacks = self._counter("callbacks", "Callbacks from vendors", "account", "status")
        lag = "Seconds from the arrival of a callback until it was stored"
        self.callback_lag = self._histogram("callback_seconds", lag, QUICK, "account")

    def _make_slack_meters(self) -> None:
        self.slack = self._counter("slack_requests", "Requests from Slack, by socket or HTTP", "kind", "status")
        acknowledged = "Seconds until a request from Slack was acknowledged"
        self.acknowledged = self._histogram("slack_request_seconds", acknowledged, QUICK, "kind")
        self.slack_calls = self._histogram("slack_call_seconds", "Seconds that a call to Slack took", CALLS, "method")
        self.slack_errors = self._counter("slack_call_errors", "Calls to Slack that failed", "method", "error")

    def _make_inner_meters(self) -> None:
        took = "Seconds that a transaction took, with the wait for its turn"
        self.database = self._histogram("database_seconds", took, QUICK, "kind")
        self.database_errors = self._counter("database_errors", "Transactions that failed", "kind", "error")
        self.ticks = self._summary("tick_seconds", "Seconds that a tick took", "tick")
        self.tick_errors = self._counter("tick_errors", "Ticks that failed", "tick")
        about = "Connections closed because a request took too long, or to make room for others"
        self.dropped = self._counter("connections_dropped", about, "reason")
        for reason in Reason:
            self.dropped.labels(reason)
        self.row_errors = self._counter("row_errors", "Times that a row could not be worked on", "work")

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        self.described.append(Described(f"bellcrier_{name}_total", "counter", about, labels))
        return Counter(f"bellcrier_{name}", about, labels, registry=self.registry)

    def _histogram(self, name: str, about: str, buckets: Sequence[float], *labels: str) -> Histogram:
        self.described.append(Described(f"bellcrier_{name}", "histogram", about, labels))
        return Histogram(f"bellcrier_{name}", about, labels, buckets=buckets, registry=self.registry)

    def _summary(self, name: str, about: str, *labels: str) -> Summary:
        self.described.append(Described(f"bellcrier_{name}", "summary", about, labels))
        return Summary(f"bellcrier_{name}", about, labels, registry=self.registry)

    def know(self, accounts: Iterable[str], calling: Iterable[str], ticks: Iterable[str]) -> None:
        """Show these from the start, with zeros: a rate cannot tell the first of a kind from a new process.

        `calling`: the accounts whose vendors call back.
        """
        for account in accounts:
            for outcome in OUTCOMES.values():
                self.outcomes.labels(account, outcome)
        for account in calling:
            self.callbacks.labels(account, "200")
        for tick in ticks:
            self.tick_errors.labels(tick)

    def count_steps(self, steps: Sequence[TakenStep]) -> None:
        """Count the steps of broadcasts that were committed."""
        for step in steps:
            if step.row.state is not step.before:
                self.entered.labels(step.row.state).inc()
            if step.action in OUTCOMES:
                self.outcomes.labels(step.row.account, OUTCOMES[step.action]).inc()
            if step.action is Action.APPROVE and step.actor != POLICY:
                self.asked.observe(max(step.at - step.since, 0) / SECOND)
            if step.action is Action.ACCEPT:
                self._count_accepted(step)

    def _count_accepted(self, step: TakenStep) -> None:
        if step.row.approved_at is not None:
            self.approved.observe(max(step.at - step.row.approved_at, 0) / SECOND)
        if step.row.start_at is not None:
            self.late.observe(max(step.at - step.row.start_at, 0) / SECOND)

    def count_transaction(self, kind: str, seconds: float, error: BaseException | None) -> None:
        self.database.labels(kind).observe(seconds)
        if isinstance(error, DatabaseBusy | CommitUncertain):  # any other is the caller's, such as "not found"
            name = "uncertain" if isinstance(error, CommitUncertain) else "busy"
            self.database_errors.labels(kind, name).inc()

    def count_vendor_call(self, account: str, call: str, seconds: float, error: BaseException | None) -> None:
        self.vendor.labels(account, call).observe(seconds)
        if error is not None:
            name = type(error).__name__ if isinstance(error, ProviderError) else "other"
            self.vendor_errors.labels(account, call, name.lower()).inc()

    def count_dropped(self, reason: Reason) -> None:
        self.dropped.labels(reason).inc()

    def count_slack_call(self, method: str, seconds: float, error: str | None) -> None:
        self.slack_calls.labels(method).observe(seconds)
        if error is not None:
            self.slack_errors.labels(method, error).inc()

    def count_request(self, kind: str, status: str, seconds: float) -> None:
        self.slack.labels(kind, status).inc()
        self.acknowledged.labels(kind).observe(seconds)

    def count_tick(self, tick: str, seconds: float, *, failed: bool) -> None:
        self.ticks.labels(tick).observe(seconds)
        if failed:
            self.tick_errors.labels(tick).inc()

    def count_row(self, work: str) -> None:
        self.row_errors.labels(work).inc()

    def text(self, samples: Samples) -> bytes:
        """Return everything in Prometheus' text format, with these values of the gauges."""
        self.scraped.samples = samples
        return generate_latest(self.registry)


def metrics_site(meters: Meters, read: Callable[[], Awaitable[Samples]]) -> Starlette:
    """Return the operator's site, separate from the public one. `read` reads the gauges."""

    async def metrics(request: Request) -> Response:
        return Response(meters.text(await read()), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/metrics", metrics)])
