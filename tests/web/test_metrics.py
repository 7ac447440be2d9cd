"""What `/metrics` shows: all that an operator watches, in both modes, and without the database too."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientSession
from sqlalchemy import Connection

from bot.domain.lifecycle import Action, State
from bot.storage import broadcasts
from bot.storage.database import Database
from bot.storage.failing_rows import alone
from bot.storage.steps import TakenStep
from bot.web.metrics import GAUGES, Meters
from sandbox.server import Sandbox
from tests.support.core import Core
from tests.support.ground import StartBot, free_port
from tests.support.patience import until
from tests.support.proxy import Proxy
from tests.support.scrape import Scrape, scrape
from tests.support.slack import HERE, approved, ask, card, settled

#: Every label, and each has few values, all of them known before: from the code or from the settings.
LABELS = {"state", "account", "outcome", "call", "error", "kind", "status", "method", "tick", "work", "reason", "le"}
OF_BUILD = {"version", "python", "schema", "database", "slack", "generation"}


def check_what_one_broadcast_leaves(found: Scrape) -> None:
    """One was asked for and approved, and the vendor took it."""
    for state in ("pending", "scheduled", "sending", "sent"):
        assert found.of("bellcrier_broadcasts_entered_total", state=state) == 1, state
    assert found.of("bellcrier_broadcasts_entered_total", state="unknown") == 0
    assert found.of("bellcrier_outcomes_total", account="encom", outcome="accepted") == 1
    assert found.of("bellcrier_outcomes_total", account="octo", outcome="unknown") == 0
    assert found.of("bellcrier_broadcasts", state="sent") == 1
    for name in ("asked_to_approved", "approved_to_accepted", "start_delay"):
        assert found[f"bellcrier_{name}_seconds_count"] == 1, name
    assert found.of("bellcrier_vendor_call_seconds_count", account="encom", call="release") == 1
    assert found.of("bellcrier_slack_requests_total", kind="command", status="200") == 1
    assert found.of("bellcrier_slack_requests_total", kind="action", status="200") == 1
    assert found["bellcrier_slack_request_seconds_count"] >= 2
    assert found.of("bellcrier_slack_call_seconds_count", method="chat.postMessage") >= 1  # type: ignore[operator]
    assert found.of("bellcrier_database_seconds_count", kind="write") >= 4  # type: ignore[operator]
    assert found["bellcrier_database_errors_total"] == found["bellcrier_tick_errors_total"] == 0


def check_what_a_healthy_process_shows(found: Scrape) -> None:
    assert found["bellcrier_ready"] == found["bellcrier_database_up"] == found["bellcrier_build_info"] == 1
    assert found["bellcrier_slack_token_valid"] == 1
    assert found["bellcrier_tick_seconds_count"] > 0
    dispatch = found.of("bellcrier_tick_age_seconds", tick="dispatch")
    assert dispatch is not None
    assert dispatch < 60
    assert found.of("bellcrier_breaker_open", account="encom") == 0
    assert 0 <= found["bellcrier_slack_update_budget"] <= 10
    assert {"process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total"} <= found.names
    assert found.labels <= LABELS | OF_BUILD


async def test_what_one_broadcast_leaves_is_counted_and_metrics_stand_apart(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    address = f"127.0.0.1:{free_port()}"
    bot = await start_bot(sandbox, metrics_listen=address)
    await approved(sandbox)
    await settled(bot, State.SENT)
    found = await scrape(address)
    check_what_one_broadcast_leaves(found)
    check_what_a_healthy_process_shows(found)
    assert found["bellcrier_slack_socket_connected"] == 1
    assert set(GAUGES) <= found.names
    for private in ("Soldes", "U0CLEO", "U0ANA", "C0CAMPAIGNS", "xoxb"):
        assert private not in found.text
    public = f"{bot.settings.public_url}".rstrip("/") + "/metrics"
    async with ClientSession() as web, web.get(public) as answer:
        assert answer.status == 404


@pytest.mark.long
async def test_over_http_the_same_is_counted_without_a_socket(http_sandbox: Sandbox, start_bot: StartBot) -> None:
    address = f"127.0.0.1:{free_port()}"
    bot = await start_bot(http_sandbox, metrics_listen=address)
    await approved(http_sandbox)
    await settled(bot, State.SENT)
    async with ClientSession() as web, web.post(f"{bot.settings.public_url}slack/events", data=b"x") as answer:
        assert answer.status == 401
    found = await scrape(address)
    check_what_one_broadcast_leaves(found)
    check_what_a_healthy_process_shows(found)
    assert found.of("bellcrier_slack_requests_total", kind="unread", status="401") == 1
    assert set(GAUGES) - found.names == {"bellcrier_slack_socket_connected"}


@pytest.mark.long
async def test_without_the_database_a_scrape_tells_what_the_process_knows(
    sandbox: Sandbox, start_bot: StartBot, postgres: Any, postgres_schema: str
) -> None:
    """What only the database knows is absent, and not as it was."""
    address = f"127.0.0.1:{free_port()}"
    async with Proxy(postgres) as road:
        key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
        bot = await start_bot(
            sandbox, metrics_listen=address, database_url=road.url(postgres_schema), secret_key=key, patience=1.0
        )
        assert (await scrape(address))["bellcrier_database_up"] == 1
        for away in (road.shut, lambda: silence(road)):
            await away()
            found = await scrape(address)
            assert (found["bellcrier_database_up"], found["bellcrier_ready"]) == (0, 0)
            assert "bellcrier_broadcasts" not in found.names
            assert "bellcrier_overdue_seconds" not in found.names
            assert found["bellcrier_build_info"] == 1
            assert found["bellcrier_database_errors_total"] > 0
        await back(road)

        async def is_back() -> bool:
            return (await scrape(address))["bellcrier_ready"] == 1

        await until(is_back)
        assert "bellcrier_overdue_seconds" in (await scrape(address)).names
        await bot.stop()


async def silence(road: Proxy) -> None:
    """Take everything in and pass nothing on."""
    await road.open()
    road.silent = True


async def back(road: Proxy) -> None:
    road.silent = False
    await road.shut()
    await road.open()


@pytest.mark.long
async def test_what_waits_and_what_is_broken_is_measured(sandbox: Sandbox, start_bot: StartBot) -> None:
    address = f"127.0.0.1:{free_port()}"
    bot = await start_bot(sandbox, metrics_listen=address)
    sandbox.vendors.faults.add("encom.release", "drop")
    await ask(sandbox, "send clients marketing Soldes demain")
    await settled(bot, State.PENDING)
    waiting = await scrape(address)
    assert waiting.of("bellcrier_broadcasts", state="pending") == 1
    assert 0 < (waiting.of("bellcrier_longest_wait_seconds", state="pending") or 0) < 300
    await sandbox.acting.click("U0ANA", HERE, (await card(sandbox))["ts"], "broadcast.approve")
    await settled(bot, State.UNKNOWN)
    lost = await scrape(address)
    assert lost.of("bellcrier_outcomes_total", account="encom", outcome="unknown") == 1
    assert lost.of("bellcrier_longest_wait_seconds", state="unknown") > 0  # type: ignore[operator]
    assert lost.of("bellcrier_vendor_errors_total", account="encom", call="release", error="uncertain") == 1
    await ask(sandbox, "pause all", user="U0OPS")
    assert (await scrape(address))["bellcrier_paused_workspaces"] == 1


# --- steps -----------------------------------------------------------------------------------------------------------


class Broken(Exception):
    """Work that fails after it took a step."""


async def test_only_steps_that_were_committed_are_told(core: Core, database: Database) -> None:
    told: list[TakenStep] = []
    database.on_steps = told.extend
    row = await core.ask()
    assert [(step.action, step.before, step.row.state) for step in told] == [("submit", None, State.PENDING)]
    told.clear()

    def cancel(connection: Connection) -> None:
        current = broadcasts.find(connection, row.workspace, row.id, lock=True)
        assert broadcasts.move(connection, current, Action.CANCEL, actor="U0CLEO", at=core.clock())

    def fail(connection: Connection) -> None:
        cancel(connection)
        raise Broken

    def fail_alone(connection: Connection) -> None:
        with alone(connection, "test", row.id):
            fail(connection)

    with pytest.raises(Broken):
        await database.write(fail)
    await database.write(fail_alone)
    assert told == []
    await database.write(cancel)
    assert [(step.action, step.before, step.row.state) for step in told] == [("cancel", State.PENDING, State.CANCELLED)]
    assert told[0].since == row.changed_at


async def test_whoever_counts_steps_cannot_undo_them(core: Core, database: Database) -> None:
    def fail(_: object) -> None:
        raise Broken

    database.on_steps = fail
    row = await core.ask()
    assert (await core.row(row.id)).state is State.PENDING


def test_a_process_that_has_done_nothing_shows_zeros_for_what_it_knows() -> None:
    meters = Meters()
    meters.know(["encom"], ["encom"], ["dispatch"])
    found = Scrape(meters.text({}).decode())
    assert {state: found.of("bellcrier_broadcasts_entered_total", state=state) for state in State} == dict.fromkeys(
        State, 0
    )
    assert found.of("bellcrier_outcomes_total", account="encom", outcome="unknown") == 0
    assert found.of("bellcrier_tick_errors_total", tick="dispatch") == 0
    assert found.of("bellcrier_callbacks_total", account="encom", status="200") == 0
    assert not set(GAUGES) & found.names
