"""How the bot starts while Slack is away, refuses it or is slow, and what it logs of that."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from slack_sdk.signature import SignatureVerifier
from sqlalchemy import select
from structlog.testing import capture_logs

from bot import process
from bot.config.load import secret_key_for
from bot.config.settings import Settings
from bot.domain.errors import CannotStart
from bot.sending.tokens import token_for
from bot.slack.greeting import pauses
from bot.storage import tables
from bot.storage.addresses import place
from bot.storage.engines import open_database
from sandbox.server import Sandbox
from tests.support.ground import changed, raw_settings, some_later
from tests.support.patience import LONG, until, within

FOR_EVER = 10**6


@pytest.fixture
def make_settings(tmp_path: Path, sqlite_schema: Path, bot_port: int) -> Callable[..., Settings]:
    """The settings of a bot for this sandbox, whose database is there."""
    shutil.copy(sqlite_schema, tmp_path / "bell.db")
    return lambda sandbox, **changes: changed(raw_settings(sandbox, bot_port, tmp_path), changes)


class Running:
    """A bot that starts and runs in this process, with what it says on its way."""

    def __init__(self, settings: Settings, port: int, web: ClientSession) -> None:
        self.web, self.address, self.stop, self.ready = web, f"http://127.0.0.1:{port}", asyncio.Event(), list[str]()
        work = process.run(settings, host="127.0.0.1", port=port, ready=self.ready.append, stop=self.stop)
        self.task = asyncio.create_task(work)

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        async with self.web.get(self.address + path) as answer:
            return answer.status, await answer.json()

    async def post(self, path: str, **more: Any) -> int:
        async with self.web.post(self.address + path, **more) as answer:
            return answer.status

    async def is_alive(self) -> bool:
        try:
            return (await self.get("/healthz"))[0] == 200
        except OSError:
            return False

    async def is_ready(self) -> bool:
        return (await self.get("/readyz"))[0] == 200


@asynccontextmanager
async def running(settings: Settings, port: int) -> AsyncIterator[Running]:
    async with ClientSession() as web:
        bot = Running(settings, port, web)
        try:
            yield bot
        finally:
            bot.stop.set()
            await asyncio.wait({bot.task}, timeout=LONG)


def signed(sandbox: Sandbox, body: str) -> dict[str, Any]:
    stamp = str(int(time.time()))
    signature = SignatureVerifier(sandbox.world.signing_secret).generate_signature(timestamp=stamp, body=body)
    return {"data": body, "headers": {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": str(signature)}}


async def deliveries(settings: Settings) -> list[str]:
    """The statuses of deliveries that are stored."""
    opened = open_database(settings.database_url, LONG)
    try:
        found = await opened.read(lambda c: c.execute(select(tables.deliveries.c.status)).all())
    finally:
        await opened.close()
    return [str(row.status) for row in found]


async def test_while_slack_is_away_the_bot_is_alive_takes_callbacks_and_asks_again(
    http_sandbox: Sandbox, make_settings: Callable[..., Settings], bot_port: int
) -> None:
    given, vendor = make_settings(http_sandbox), http_sandbox.vendors.octopush
    http_sandbox.faults.add("auth.test", "500", times=FOR_EVER)
    async with running(given, bot_port) as bot:
        await until(bot.is_alive)
        status, parts = await bot.get("/readyz")
        assert (status, parts["slack"]) == (503, "it has not answered since the start")
        event = signed(http_sandbox, '{"type": "url_verification", "challenge": "c"}')
        assert await bot.post("/slack/events", **event) == 503
        assert await bot.post("/slack/events", data="{}") == 401
        vendor.callback_url = f"{bot.address}/callbacks/octo/{token_for(secret_key_for(given), 'octo')}"
        assert await vendor.tell("T1", "+33600100000", "DELIVERED") == 200
        assert await deliveries(given) == ["delivered"]
        assert bot.ready == []
        http_sandbox.faults.clear()
        await until(bot.is_ready)
        assert await bot.post("/slack/events", **event) == 200
    assert bot.ready == [bot.address]
    assert bot.task.result() == 0


@pytest.mark.long
@pytest.mark.parametrize("body", [{"error": "internal_error"}, {"error": "team_added_to_org"}, {"retry_after": 0}])
async def test_what_passes_is_asked_again(
    sandbox: Sandbox, make_settings: Callable[..., Settings], bot_port: int, body: dict[str, Any]
) -> None:
    sandbox.faults.add("auth.test", "429" if "retry_after" in body else "error", **body)
    async with running(make_settings(sandbox), bot_port) as bot:
        await until(lambda: bot.ready)


@pytest.mark.parametrize(
    ("method", "code", "said"),
    [
        ("auth.test", "invalid_auth", "SLACK_BOT_TOKEN: Slack answers 'invalid_auth'. Install the app again, copy"),
        pytest.param(
            *("apps.connections.open", "not_allowed_token_type"),
            "SLACK_APP_TOKEN: Slack answers 'not_allowed_token_type'.",
            marks=pytest.mark.long,
        ),
    ],
)
async def test_a_token_that_slack_refuses_once_it_is_back_ends_the_process(
    sandbox: Sandbox, make_settings: Callable[..., Settings], bot_port: int, method: str, code: str, said: str
) -> None:
    sandbox.faults.add(method, "500")
    sandbox.faults.add(method, "error", error=code)
    async with running(make_settings(sandbox), bot_port) as bot:
        await asyncio.wait({bot.task}, timeout=LONG)
    with pytest.raises(CannotStart) as why:
        bot.task.result()
    assert str(why.value).startswith(said)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", bot_port)


@pytest.mark.parametrize("method", some_later(["auth.test", "apps.connections.open"]))
async def test_a_start_that_waits_for_slack_ends_as_soon_as_it_is_asked_to(
    sandbox: Sandbox, make_settings: Callable[..., Settings], bot_port: int, method: str
) -> None:
    sandbox.faults.add(method, "delay", seconds=600, times=FOR_EVER)
    async with running(make_settings(sandbox), bot_port) as bot:
        await sandbox.until(lambda: any(name == method for name, _ in sandbox.calls))
        async with within(5):
            bot.stop.set()
            assert await bot.task == 0
    assert bot.ready == []


async def test_the_start_and_the_stop_are_logged_with_what_an_operator_asks_first(
    sandbox: Sandbox, make_settings: Callable[..., Settings], bot_port: int, tmp_path: Path
) -> None:
    with capture_logs() as logs:
        async with running(make_settings(sandbox), bot_port) as bot:
            await until(lambda: bot.ready)
    started, stopped = (record for record in logs if record["event"] in ("started", "stopped"))
    facts = {"schema": tables.REVISION, "mode": "live", "slack": "socket", "workspaces": ["T0BELL"]}
    assert started.items() >= (facts | {"database": f"sqlite:///{tmp_path}/bell.db", "event": "started"}).items()
    assert stopped == {**started, "event": "stopped"}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://bell:hunter2@db.example.org:5432/bell", "postgresql://db.example.org:5432/bell"),
        ("postgresql://db.example.org/bell?user=bell&password=hunter2", "postgresql://db.example.org:5432/bell"),
        ("sqlite:///bell.db", "sqlite:///bell.db"),
    ],
)
def test_a_database_is_named_without_its_user_and_password(url: str, shown: str) -> None:
    assert place(url) == shown


def test_the_pauses_double_up_to_a_minute_and_vary() -> None:
    first = list(islice(pauses(), 12))
    assert all(2**n / 2 <= min(pause, 30.0) for n, pause in zip(range(6), first, strict=False))
    assert all(pause <= min(2**n, 60) for n, pause in enumerate(first))
    assert min(first[6:]) >= 30
    assert first != list(islice(pauses(), 12))
