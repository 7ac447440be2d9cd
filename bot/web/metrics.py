"""What `/metrics` shows, and the site that serves it."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bot.storage import broadcasts
from bot.storage.database import Database


class Meters:
    """What `/metrics` shows: numbers only, no text, no person, no secret."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.slack = Counter("bellcrier_slack_requests", "Requests from Slack", ["status"], registry=self.registry)
        self.callbacks = Counter(
            "bellcrier_callbacks", "Callbacks from vendors", ["account", "status"], registry=self.registry
        )
        self.broadcasts = Gauge("bellcrier_broadcasts", "Broadcasts by state", ["state"], registry=self.registry)
        self.failing_rows = Gauge(
            "bellcrier_troubles",
            "Times that a row could not be worked on, since the start",
            ["work"],
            registry=self.registry,
        )
        self.put_off = Gauge(
            "bellcrier_put_off", "Rows that wait after they could not be worked on", registry=self.registry
        )


def metrics_site(meters: Meters, database: Database) -> Starlette:
    """Return the operator's site, separate from the public one."""

    async def metrics(request: Request) -> Response:
        for state, number in (await database.read(broadcasts.count_by_state)).items():
            meters.broadcasts.labels(state).set(number)
        for work, number in database.failing_rows.total.items():
            meters.failing_rows.labels(work).set(number)
        meters.put_off.set(len(database.failing_rows.all()))
        return Response(generate_latest(meters.registry), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/metrics", metrics)])
