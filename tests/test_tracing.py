"""Traces: what a real collector gets over OTLP, from several processes in turn, and what no span holds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

pytest.importorskip("opentelemetry.proto")  # the extra `otel`; `.ci/run` has it

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bot.app import Bot
from bot.domain.lifecycle import State
from sandbox.server import Sandbox
from tests.support.databases import ROOT
from tests.support.ground import StartBot, free_port
from tests.support.patience import until
from tests.support.slack import HERE, ask, card, settled, thread_text

pytestmark = pytest.mark.long
KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


@dataclass(frozen=True)
class Span:
    process: str
    trace: bytes
    id: bytes
    parent: bytes
    name: str
    began: int
    ended: int
    told: dict[str, Any]
    failed: bool


@dataclass
class Collector:
    """Takes OTLP over HTTP on a real socket. `bodies`: what came, as it came."""

    port: int
    bodies: list[bytes] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        assert (request.path, request.content_type) == ("/v1/traces", "application/x-protobuf")
        self.bodies.append(await request.read())
        return web.Response(body=b"", content_type="application/x-protobuf")

    @property
    def spans(self) -> list[Span]:
        return [span for body in self.bodies for span in spans_in(body)]

    def of(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


def spans_in(body: bytes) -> list[Span]:
    found = []
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        about = {one.key: one.value.string_value for one in group.resource.attributes}
        assert about["service.name"] == "bellcrier"
        for span in (span for scope in group.scope_spans for span in scope.spans):
            told = {one.key: one.value.string_value or one.value.int_value for one in span.attributes}
            where = (about["service.instance.id"], span.trace_id, span.span_id, span.parent_span_id, span.name)
            failed = span.status.code == 2
            found.append(Span(*where, span.start_time_unix_nano, span.end_time_unix_nano, told, failed))
    return found


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    found = Collector(free_port())
    app = web.Application()
    app.router.add_post("/{rest:.*}", found.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", found.port).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{found.port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    yield found
    await runner.cleanup()


async def asked_and_approved(sandbox: Sandbox, start_bot: StartBot) -> None:
    """One process hears the command and the approval, and stops before anything is due."""
    first = await start_bot(sandbox, secret_key=KEY, approval__undo="2s")
    await ask(sandbox, "send newsletter marketing CANARYTEXT demain")
    await sandbox.acting.click("U0ANA", HERE, (await card(sandbox))["ts"], "broadcast.approve")
    await settled(first, State.SCHEDULED)
    await first.stop()


async def sent_and_reported(sandbox: Sandbox, start_bot: StartBot) -> Bot:
    """Another one sends it, hears of its deliveries, and reports."""
    second = await start_bot(sandbox, secret_key=KEY)
    await settled(second, State.SENT)
    await sandbox.vendors.deliver("octopush", sandbox.vendors.ledger[0].ids[0], "DELIVERED")
    return second


@pytest.mark.long
async def test_a_broadcast_is_one_trace_from_the_command_to_the_report_over_two_processes(
    sandbox: Sandbox, start_bot: StartBot, collector: Collector
) -> None:
    await asked_and_approved(sandbox, start_bot)
    second = await sent_and_reported(sandbox, start_bot)
    await until(lambda: "Final report" in thread_text(sandbox, sandbox.acting.messages(HERE)[0]["ts"]))
    await settled(second, State.DONE)
    await second.stop()
    spans = collector.spans
    (root,) = collector.of("broadcast")
    assert {span.trace for span in spans} == {root.trace}
    assert [span.name for span in spans if span.parent != root.id] == ["broadcast"]
    assert root.parent == b""
    assert len({span.process for span in spans}) == 2
    names = [
        "slack command",
        "pending",
        "slack action",
        "scheduled",
        "vendor release",
        "sending",
        "first receipt",
        "sent",
    ]
    places = {name: collector.of(name)[0] for name in names}
    assert [places[name].process for name in names[:3]] == [places["pending"].process] * 3
    assert [places[name].process for name in names[4:]] == [root.process] * 4
    assert places["pending"].told["bellcrier.action"] == "approve"
    assert places["sent"].told["bellcrier.action"] == "finish"
    assert root.told["bellcrier.state"] == "done"
    release = places["vendor release"]
    assert (release.told["bellcrier.account"], release.failed) == ("octo", False)
    assert release.told["bellcrier.attempt"] > 0
    assert root.began <= min(span.began for span in spans if span.name in set(State))
    assert all(span.began <= span.ended for span in spans)
    for private in (b"CANARYTEXT", b"U0CLEO", b"U0ANA", b"xoxb", b"sandbox-encom-token", b"+336", b"callbacks/"):
        assert private not in b"".join(collector.bodies), private


@pytest.mark.long
async def test_a_release_whose_outcome_is_unknown_is_a_failed_span(
    sandbox: Sandbox, start_bot: StartBot, collector: Collector
) -> None:
    bot = await start_bot(sandbox)
    sandbox.vendors.faults.add("encom.release", "drop")
    await ask(sandbox, "send clients marketing Soldes demain")
    await sandbox.acting.click("U0ANA", HERE, (await card(sandbox))["ts"], "broadcast.approve")
    await settled(bot, State.UNKNOWN)
    await until(lambda: collector.of("vendor release"))
    (release,) = collector.of("vendor release")
    assert release.failed
    assert release.told["error.type"] == "Uncertain"
    await until(lambda: [span.told["bellcrier.next"] for span in collector.of("sending")] == ["sending", "unknown"])
    assert collector.of("broadcast") == []  # it has not ended


@pytest.mark.long
async def test_a_collector_that_is_away_or_an_extra_that_is_missing_changes_nothing(
    sandbox: Sandbox, start_bot: StartBot, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"http://127.0.0.1:{free_port()}/v1/traces?key=CANARYKEY")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    bot = await start_bot(sandbox)
    assert bot.watch.tracing is not None
    await ask(sandbox, "send clients marketing Soldes demain")
    await sandbox.acting.click("U0ANA", HERE, (await card(sandbox))["ts"], "broadcast.approve")
    await settled(bot, State.SENT)
    await bot.stop()
    assert "CANARYKEY" not in caplog.text
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delitem(sys.modules, "bot.tracing")
    again = await start_bot(sandbox)
    assert again.watch.tracing is None
    assert "pip install 'bellcrier[otel]'" in caplog.text


@pytest.mark.long
def test_without_an_address_for_traces_nothing_of_opentelemetry_is_imported() -> None:
    program = "import sys, bot.process\nprint([name for name in sys.modules if name.startswith('opentelemetry')])"
    bare = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT, env=bare
    )
    assert ran.stdout.strip() == "[]"
