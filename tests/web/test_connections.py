"""Which connections stay open: how long each may take over a request, and how many there may be."""

from __future__ import annotations

import asyncio
import gc
import resource
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from bot.config.load import parse
from bot.config.settings import SettingsError
from bot.web.connections import Connection, Limits, Reason, Stage, open_files, peer_of, room
from bot.web.listening import Endpoint
from bot.web.server import OUT_OF_FILES, QuietAccepts, Server
from sandbox.server import Sandbox
from tests.support.ground import StartBot, free_port, some_later
from tests.support.patience import until
from tests.support.scrape import scrape

START = Callable[..., Awaitable["Place"]]
GET = b"GET /echo HTTP/1.1\r\nHost: bot\r\n\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: bot\r\nContent-Length: 4\r\n\r\n"


@dataclass
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answer(self) -> str:
        """The status and the body of the next answer, or nothing where the connection was closed."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return ""
        (length,) = (line.split()[1] for line in head.splitlines() if line.startswith(b"content-length"))
        return f"{head.split()[1].decode()} {(await self.reader.readexactly(int(length))).decode()}"

    async def asks(self, request: bytes) -> str:
        self.writer.write(request)
        return await self.answer()


@dataclass
class Place:
    """A server with one page, which repeats the body, and one that answers when it may."""

    server: Server
    stack: AsyncExitStack
    may_answer: asyncio.Event
    dropped: Counter[Reason]
    began: float

    @property
    def connections(self) -> list[Connection]:
        return sorted(self.server.gate.open, key=lambda one: one.since)

    async def connects(self, address: str = "127.0.0.1", *, first: bytes = b"", stage: Stage = Stage.HEAD) -> Client:
        """Connect from this address, and wait until the server waits for what comes next."""
        before = set(self.server.gate.open)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.config.port, local_addr=(address, 0))
        self.stack.callback(writer.close)
        writer.write(first)
        (new,) = await until(lambda: set(self.server.gate.open) - before)
        await until(lambda: new.stage is stage)
        return Client(reader, writer)

    def after(self, seconds: float) -> list[Stage]:
        """Look after the connections so many seconds from the beginning; return what those left open wait for."""
        self.server.gate.sweep(self.began + seconds)
        return [one.stage for one in self.connections]


@pytest.fixture
async def start() -> AsyncIterator[START]:
    async with AsyncExitStack() as stack:

        async def begin(**limits: object) -> Place:
            may_answer = asyncio.Event()

            async def echo(request: Request) -> Response:
                try:
                    return PlainTextResponse(await request.body())
                except ClientDisconnect:
                    return Response(status_code=400)

            async def slow(_: Request) -> Response:
                await may_answer.wait()
                return PlainTextResponse("at last")

            async def client(request: Request) -> Response:
                return PlainTextResponse(request.client.host if request.client else "")

            routes = [Route("/echo", echo, methods=["GET", "POST"]), Route("/slow", slow), Route("/client", client)]
            site = Starlette(routes=routes)
            dropped = Counter[Reason]()
            given, on_drop = Limits(**limits), lambda reason: dropped.update([reason])  # type: ignore[arg-type]
            server = Server(site, Endpoint("127.0.0.1", free_port()), given, on_drop)
            await server.start()
            stack.push_async_callback(server.stop)
            return Place(server, stack, may_answer, dropped, asyncio.get_running_loop().time())

        yield begin


# --- how long --------------------------------------------------------------------------------------------------------

SLOW = {
    "sends nothing": (b"", Stage.HEAD),
    "sends half a line": (b"GE", Stage.HEAD),
    "sends half its headers": (GET[:-2], Stage.HEAD),
    "sends half its body": (POST + b"ab", Stage.BODY),
    "sends half a chunk": (b"POST /echo HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nab", Stage.BODY),
}


@pytest.mark.parametrize("case", some_later(SLOW))
async def test_a_request_that_has_not_arrived_in_ten_seconds_is_given_up(start: START, case: str) -> None:
    first, stage = SLOW[case]
    place = await start()
    client = await place.connects(first=first, stage=stage)
    assert place.after(1) == [stage]
    client.writer.write(b"x")  # another byte is no more time
    await asyncio.sleep(0.05)
    assert place.after(9.5) == [stage]
    assert place.after(11.5) == []
    assert await client.answer() == ""
    assert place.dropped == {Reason[stage.name]: 1}


async def test_a_request_that_takes_nine_seconds_is_answered(start: START) -> None:
    place = await start()
    client = await place.connects(first=POST + b"ab", stage=Stage.BODY)
    place.after(1)
    assert place.after(10) == [Stage.BODY]
    assert await client.asks(b"cd") == "200 abcd"


async def test_a_connection_that_is_kept_has_fifteen_seconds_for_the_next_request(start: START) -> None:
    """Five of them to begin it, which uvicorn looks after, and ten for the headers."""
    place = await start()
    client = await place.connects()
    for _ in range(2):
        assert await client.asks(GET) == "200 "
    client.writer.write(GET[:4])
    await until(lambda: place.connections[0].timeout_keep_alive_task is None)  # the first byte stops uvicorn's clock
    assert place.after(1) == [Stage.NEXT]
    assert place.after(15.5) == [Stage.NEXT]
    assert place.after(16.5) == []
    assert await client.answer() == ""


async def test_an_idle_connection_of_a_proxy_is_kept_longer_than_the_proxy_keeps_it(start: START) -> None:
    place = await start(proxies=("127.0.0.1",))
    for address in ("127.0.0.1", "127.0.0.2"):
        await place.connects(address)
    assert [one.timeout_keep_alive for one in place.connections] == [130, 5]


@pytest.mark.long
async def test_an_answer_has_half_a_minute(start: START) -> None:
    place = await start()
    first = GET.replace(b"echo", b"slow")
    served, left = [await place.connects(first=first, stage=Stage.ANSWER) for _ in range(2)]
    place.after(1)
    assert place.after(30) == [Stage.ANSWER] * 2
    place.may_answer.set()
    assert await served.answer() == await left.answer() == "200 at last"
    place.may_answer.clear()
    left.writer.write(first)
    await until(lambda: Stage.ANSWER in [one.stage for one in place.connections])
    place.after(40)
    assert Stage.ANSWER in place.after(69)
    assert place.after(71) == []


# --- what is no HTTP -------------------------------------------------------------------------------------------------

CHUNKED = b"POST %s HTTP/1.1\r\nHost: bot\r\nTransfer-Encoding: chunked\r\n\r\n"
#: What comes at once and what comes later, and the status of the answer; a 400 is to the whole.
BROKEN = {
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"", 400),
    "no host": (b"GET /echo HTTP/1.1\r\n\r\n", b"", 400),
    "a length below nothing": (POST.replace(b"4", b"-4"), b"", 400),
    "two lengths": (POST.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n"), b"", 400),
    "a broken chunk": (CHUNKED % b"/echo" + b"ZZ\r\n", b"", 400),
    "a broken chunk, later": (CHUNKED % b"/echo", b"ZZ\r\n", 400),
    "a broken second chunk": (CHUNKED % b"/echo" + b"2\r\nab\r\n", b"ZZ\r\n", 400),
    "a broken chunk for nobody": (CHUNKED % b"/nowhere" + b"ZZ\r\n", b"", 400),
    "a broken chunk after the answer": (CHUNKED % b"/nowhere", b"ZZ\r\n", 404),
    "no second request": (GET, b"\x00\r\n\r\n", 200),
}


@pytest.mark.parametrize("case", some_later(BROKEN))
async def test_what_is_no_http_is_refused_without_a_line_in_the_log(
    start: START, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    place, (first, later, status) = await start(), BROKEN[case]
    reader, writer = await asyncio.open_connection("127.0.0.1", place.server.config.port)
    writer.write(first)
    if later:
        await until(lambda: place.connections and place.connections[0].cycle)
    answer = await reader.readline() if status != 400 else b""
    writer.write(later)
    answer += await reader.read()  # until it is closed
    writer.close()
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    await until(lambda: not place.server.server_state.tasks)
    gc.collect()  # a task that failed says so when it goes
    assert [record.msg for record in caplog.get_records("call") if record.levelname == "ERROR"] == []


# --- how many --------------------------------------------------------------------------------------------------------


async def test_whoever_holds_too_many_loses_those_that_wait_longest(start: START) -> None:
    place = await start(per_peer=20)
    other = await place.connects("127.0.0.3")
    held = [await place.connects("127.0.0.2") for _ in range(20)]
    newest = await place.connects("127.0.0.2")
    assert [await one.answer() for one in held[:2]] == ["", ""]  # a tenth of them, so that there is room for a while
    for client in (other, held[2], held[-1], newest):
        assert await client.asks(GET) == "200 "


async def test_the_clients_of_a_proxy_do_not_count_as_one(start: START) -> None:
    place = await start(per_peer=2, proxies=("127.0.0.0/31",))
    for client in [await place.connects("127.0.0.1") for _ in range(5)]:
        assert await client.asks(GET) == "200 "


async def test_only_a_proxy_is_believed_about_its_clients(start: START) -> None:
    place = await start(proxies=("127.0.0.1", "10.0.3.0/24"))
    request = GET.replace(b"echo", b"client").replace(
        b"Host: bot", b"Host: bot\r\nX-Forwarded-For: 192.0.2.9, 10.0.3.4"
    )
    assert await (await place.connects("127.0.0.1")).asks(request) == "200 192.0.2.9"
    assert await (await place.connects("127.0.0.2")).asks(request) == "200 127.0.0.2"


def test_a_proxy_is_an_address_or_a_network() -> None:
    assert parse({"trusted_proxies": "10.0.3.0/24, ::1"}).trusted_proxies == ("10.0.3.0/24", "::1")
    assert parse({"trusted_proxies": ""}).trusted_proxies == ()
    with pytest.raises(SettingsError, match="trusted_proxies: must be addresses and networks, such as"):
        parse({"trusted_proxies": ["127.0.0.1", "proxy.local"]})


async def test_where_all_hold_too_many_those_that_wait_longest_make_room(start: START) -> None:
    place = await start(in_all=10)
    answering = await place.connects("127.0.0.2", first=GET.replace(b"echo", b"slow"), stage=Stage.ANSWER)
    kept = await place.connects("127.0.0.2")
    assert await kept.asks(GET) == "200 "
    held = [await place.connects(f"127.0.0.{peer}") for peer in range(3, 11)]
    newest = await place.connects("127.0.0.2")
    assert await held[0].answer() == ""
    place.may_answer.set()
    assert await answering.answer() == "200 at last"
    for client in (kept, *held[1:], newest):
        assert await client.asks(GET) == "200 "


async def test_where_all_are_being_answered_another_is_turned_away(start: START) -> None:
    place = await start(in_all=3)
    slow = GET.replace(b"echo", b"slow")
    answering = [await place.connects(first=slow, stage=Stage.ANSWER) for _ in range(3)]
    reader, writer = await asyncio.open_connection("127.0.0.1", place.server.config.port)
    place.stack.callback(writer.close)
    assert await Client(reader, writer).asks(GET) == ""
    place.may_answer.set()
    assert [await one.answer() for one in answering] == ["200 at last"] * 3


async def test_what_was_dropped_is_logged_once_a_minute(start: START, caplog: pytest.LogCaptureFixture) -> None:
    place = await start()
    for minute in range(3):
        for second in range(0, 60, 15):
            await place.connects()
            place.began = asyncio.get_running_loop().time()
            place.after(minute * 60 + second + 11)
    assert caplog.text.count("connections were dropped") == 3
    assert "too_long_for_head" in caplog.text


async def test_nothing_is_remembered_of_those_that_are_gone(start: START) -> None:
    place = await start()
    for peer in range(1, 6):
        (await place.connects(f"127.0.0.{peer}")).writer.close()
    await until(lambda: not place.connections)
    assert len(place.server.gate._by_peer) == 0
    assert place.server.gate.connections == set()


@pytest.mark.parametrize(
    ("host", "peer"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("a socket", "a socket"),
    ],
)
def test_a_network_of_ipv6_counts_as_one(host: str, peer: str) -> None:
    assert peer_of(host) == peer


async def test_the_bots_own_addresses_have_limits_and_count_what_they_close(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    metrics = f"127.0.0.1:{free_port()}"
    bot = await start_bot(sandbox, metrics_listen=metrics, trusted_proxies=("10.0.3.0/24",))
    assert [server.gate.limits.in_all for server in bot.servers] == [2048, 64]
    for server in bot.servers:
        assert server.gate.limits.proxies == ("10.0.3.0/24",)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.config.port)
        await until(lambda gate=server.gate: gate.open)  # type: ignore[misc]
        server.gate.sweep(asyncio.get_running_loop().time() + 11)
        assert await reader.read() == b""
        writer.close()
    found = await scrape(metrics)
    assert found.of("bellcrier_connections_dropped_total", reason="too_long_for_head") == 2
    assert found["bellcrier_connections_dropped_total"] == 2


# --- descriptors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("files", "most"), [(100_000, 2048), (2560, 2048), (1024, 512), (700, 350), (256, 128)])
def test_what_comes_in_leaves_descriptors_for_what_goes_out(files: int, most: int) -> None:
    assert room(files) == most


def test_the_limit_of_open_files_is_raised_as_far_as_it_needs() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1000, hard))
        assert open_files() == resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 2560
        assert open_files() == 2560
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert open_files() == 2560  # a higher one stays
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == soft


async def test_that_nothing_can_be_accepted_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    loop, quiet = asyncio.get_running_loop(), QuietAccepts()
    error = OSError(24, "Too many open files")
    for _ in range(2000):
        quiet(loop, {"message": OUT_OF_FILES, "exception": error})
    assert caplog.text.count("no connection can be accepted") == 1
    quiet(loop, {"message": "something else", "exception": error})
    assert "something else" in caplog.text
