"""OpenTelemetry: one trace for each broadcast, from the command to the report, whichever processes worked on it.

Its trace id, and the id of the span over all of its life, follow from the broadcast's id and the secret key. So all
processes give their spans the same parent, and nothing is stored or passed on. No span holds a text, a number or a
person.

Imported only where it is asked for, since it needs the extra `otel`.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import version

import structlog
from cachetools import LRUCache
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, StatusCode, TraceFlags, set_span_in_context

from bot.domain.broadcast import Broadcast
from bot.domain.lifecycle import ENDED
from bot.sending.release import CLAIMED
from bot.storage.broadcast_rows import Owner
from bot.storage.steps import TakenStep

log = structlog.get_logger(__name__)
LAST_FLUSH = 2.0  # seconds that a stopping process waits for the collector
EXPORT_TIMEOUT = 5.0  # seconds for one export, unless the environment says otherwise
SECOND = 1_000_000_000  # in nanoseconds, OpenTelemetry's unit
Told = Mapping[str, str | int]

#: The steps that were committed for the request from Slack that is answered now.
HANDLED: ContextVar[list[TakenStep] | None] = ContextVar("handled", default=None)


class Tracing:
    """Makes the spans of this process. Every method is called by the part that it is about, and none waits."""

    def __init__(self, key: bytes, process: str) -> None:
        self.key, self.ids = key, PlannedIds()
        about = {"service.version": version("bellcrier"), "service.instance.id": process}
        about |= {} if _is_named() else {"service.name": "bellcrier"}
        seconds = None if "OTEL_EXPORTER_OTLP_TIMEOUT" in os.environ else EXPORT_TIMEOUT
        resource = Resource.create(about)  # with what the environment says
        self.provider = TracerProvider(resource=resource, id_generator=self.ids, shutdown_on_exit=False)
        self.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=seconds)))
        self.tracer = self.provider.get_tracer("bellcrier", version("bellcrier"))
        self._reported = LRUCache[Owner, bool](4096)  # broadcasts whose first receipt has its span

    def count_steps(self, steps: Sequence[TakenStep]) -> None:
        """Make a span for the state that each broadcast has left, and in the end one for all of its life."""
        if (handled := HANDLED.get()) is not None:
            handled += steps
        with unharmed():
            for step in steps:
                self._step(step, step.row, step.at * 1000)

    def _step(self, step: TakenStep, row: Broadcast, ended: int) -> None:
        if step.before is not None:
            more = {"bellcrier.action": str(step.action), "bellcrier.next": str(row.state)}
            self._child(row, str(step.before), step.since * 1000, ended, more)
        if row.state in ENDED and row.state is not step.before:
            self._whole(row, ended)

    @contextmanager
    def request(self, kind: str) -> Iterator[None]:
        """Make a span for a request from Slack, in the trace of each broadcast that it moved."""
        handled: list[TakenStep] = []
        token, began = HANDLED.set(handled), time.time_ns()
        try:
            yield
        finally:
            HANDLED.reset(token)
            with unharmed():
                for row in {step.row.id: step.row for step in handled}.values():
                    self._child(row, f"slack {kind}", began, time.time_ns())

    def count_vendor_call(self, account: str, call: str, seconds: float, error: BaseException | None) -> None:
        """Make a span for a call to a vendor about the broadcast that this task carries to its outcome."""
        row, now = CLAIMED.get(), time.time_ns()
        if row is not None:
            more = {"bellcrier.attempt": row.attempt}
            with unharmed():
                self._child(row, f"vendor {call}", now - int(seconds * SECOND), now, more, error)

    def count_receipts(self, owners: Iterable[Owner]) -> None:
        """Make a span for the first receipt of each broadcast that this process has stored."""
        for owner in owners:
            if owner not in self._reported:
                self._reported[owner] = True
                with unharmed():
                    now = time.time_ns()
                    self._span(self._root(*owner), "first receipt", now, now, {"bellcrier.broadcast": owner[1]})

    def _child(
        self, row: Broadcast, name: str, began: int, ended: int, more: Told | None = None, error: object = None
    ) -> None:
        self._span(self._root(row.workspace, row.id), name, began, ended, {**_about(row), **(more or {})}, error)

    def _span(self, root: SpanContext, name: str, began: int, ended: int, told: Told, error: object = None) -> None:
        parent = set_span_in_context(NonRecordingSpan(root))
        span = self.tracer.start_span(name, parent, attributes=dict(told), start_time=began)
        if error is not None:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR)
        span.end(max(ended, began))

    def _whole(self, row: Broadcast, ended: int) -> None:
        """Make the span over all of its life. The others have named it as their parent already."""
        began, told = row.created_at * 1000, {**_about(row), "bellcrier.state": str(row.state)}
        with self.ids.next_is(self._root(row.workspace, row.id)):
            span = self.tracer.start_span("broadcast", Context(), attributes=told, start_time=began)
        span.end(max(ended, began))

    def _root(self, workspace: str, id: str) -> SpanContext:
        made = hmac.digest(self.key, f"trace:{workspace}/{id}".encode(), "sha256")
        trace, span = int.from_bytes(made[:16]), int.from_bytes(made[16:24])
        sampled = self.provider.sampler.should_sample(None, trace, "broadcast").decision is Decision.RECORD_AND_SAMPLE
        return SpanContext(trace, span, is_remote=True, trace_flags=TraceFlags(int(sampled)))

    async def aclose(self) -> None:
        """Send what is left, for a moment. A collector that is away does not delay the end."""
        closing = threading.Thread(target=self.provider.shutdown, name="last spans", daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, LAST_FLUSH)


@contextmanager
def unharmed() -> Iterator[None]:
    """Let no span that cannot be made change what it is about."""
    try:
        yield
    except Exception:
        log.exception("a span could not be made")


class PlannedIds(RandomIdGenerator):
    """Random ids, but for the span over all of a broadcast's life."""

    _planned: SpanContext | None = None

    @contextmanager
    def next_is(self, planned: SpanContext) -> Iterator[None]:
        self._planned = planned
        try:
            yield
        finally:
            self._planned = None

    def generate_trace_id(self) -> int:
        return super().generate_trace_id() if self._planned is None else self._planned.trace_id

    def generate_span_id(self) -> int:
        return super().generate_span_id() if self._planned is None else self._planned.span_id


def _is_named() -> bool:
    return "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")


def _about(row: Broadcast) -> dict[str, str | int]:
    told: dict[str, str | int] = {"bellcrier.broadcast": row.id, "bellcrier.version": row.version}
    return told | {"bellcrier.account": row.account, "bellcrier.purpose": str(row.purpose)}
