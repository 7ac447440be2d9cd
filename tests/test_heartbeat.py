"""The operator's heartbeat: called while the bot is able to work, and never otherwise."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from bot.config.load import parse
from bot.config.masking import masked
from bot.config.settings import SettingsError
from bot.heartbeat import Heartbeat, open_heartbeat
from sandbox.server import Sandbox
from tests.support.ground import StartBot, free_port
from tests.support.patience import until

SECRET = "5f0c-a-secret"


@dataclass
class Service:
    """A service that waits for heartbeats, on a real socket. `status`: of its answers."""

    port: int
    status: int = 200
    heard: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/ping/{SECRET}?rid={SECRET}"

    async def hear(self, request: web.Request) -> web.Response:
        self.heard.append(f"{request.method} {request.path_qs}")
        return web.Response(status=self.status, headers={"Location": "/elsewhere"})


@asynccontextmanager
async def serving(service: Service) -> AsyncIterator[Service]:
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", service.hear)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", service.port).start()
    yield service
    await runner.cleanup()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving(Service(free_port())) as found:
        yield found


class Able:
    """Whether the bot is able to work."""

    able = True

    async def __call__(self) -> bool:
        return self.able


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The heartbeat's own warnings."""
    mine = (record for record in caplog.records if record.name == "bot.heartbeat")
    return [str(record.msg) for record in mine if record.levelno >= logging.WARNING]


async def test_it_is_called_while_the_bot_is_able_to_work_and_never_otherwise(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    able = Able()
    beating = Heartbeat(service.url, able, allow_private_hosts=True)
    await beating.beat()
    able.able = False
    await beating.beat()
    await beating.beat()
    assert service.heard == [f"GET /ping/{SECRET}?rid={SECRET}"]
    able.able = True
    for service.status in (500, 302, 200):
        await beating.beat()
    assert len(service.heard) == 4  # a redirect is not followed
    await beating.aclose()
    said = told(caplog)
    assert [line.count("not able") for line in said] == [1, 0, 0]  # once, when it begins
    assert ["HTTP 500" in said[1], "HTTP 302" in said[2]] == [True, True]
    assert SECRET not in caplog.text


async def test_a_start_that_is_not_able_to_work_yet_is_no_news(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    able = Able()
    able.able = False
    beating = Heartbeat(service.url, able, allow_private_hosts=True)
    await beating.beat()
    await beating.aclose()
    assert (service.heard, told(caplog)) == ([], [])


async def test_an_address_that_does_not_answer_is_told_by_its_kind_of_error(caplog: pytest.LogCaptureFixture) -> None:
    beating = Heartbeat(Service(free_port()).url, Able(), allow_private_hosts=True)
    await beating.beat()
    await beating.aclose()
    (line,) = told(caplog)
    assert "not taken: Unavailable" in line
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://hc-ping.com/x", "must begin with https://"),
        ("https://10.0.0.7/x", "private address"),
        ("https://localhost/x", "private address"),
        ("hc-ping.com/x", "must be an address"),
        ("https://me:word@hc-ping.com/x", "must be an address"),
        ("", "is blank"),
    ],
)
def test_an_address_that_must_not_be_called_stops_the_start(url: str, why: str) -> None:
    with pytest.raises(SettingsError, match="heartbeat_url") as told:
        open_heartbeat(parse({"heartbeat_url": url}), Able())
    assert why in str(told.value)


def test_the_address_is_shown_nowhere() -> None:
    settings = parse({"heartbeat_url": f"https://hc-ping.com/{SECRET}"})
    assert open_heartbeat(settings, Able()) is not None
    assert SECRET not in f"{settings!r} {masked(settings)}"
    assert open_heartbeat(parse({}), Able()) is None


@pytest.mark.long
async def test_a_bot_beats_until_it_cannot_work_or_its_dispatcher_hangs(
    sandbox: Sandbox, start_bot: StartBot, service: Service
) -> None:
    bot = await start_bot(sandbox, heartbeat_url=service.url)
    assert bot.heartbeat is not None
    (dispatch,) = (bell for bell in bot.home.scheduler.bells if bell.name == "dispatch")
    (beating,) = (bell for bell in bot.common.bells if bell.name == "heartbeat")
    await until(bot.watch.able)
    await beating.work()
    assert service.heard
    await bot.home.scheduler.stop(1)
    heard = len(service.heard)
    dispatch.ended_at -= 61  # its work hangs
    await beating.work()
    assert len(service.heard) == heard
    dispatch.ended_at += 61
    await beating.work()
    assert len(service.heard) == heard + 1
    sandbox.faults.add("apps.connections.open", "error", times=50, error="internal_error")
    await sandbox.delivery.drop()

    async def away() -> bool:
        return not await bot.watch.able()

    await until(away)
    await beating.work()
    assert len(service.heard) == heard + 1
