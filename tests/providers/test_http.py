"""The road to a vendor, on real sockets: what leaves, what comes back, and which error each failure raises."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import runpy
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

import pytest

from providers import http
from providers.base import Answer, ProviderError, Refused, Throttled, Unavailable, Uncertain, last_moment
from providers.guard import ReleaseGuard
from providers.http import Http, encode, is_private, not_understood, object_of, throttled, unreadable
from tests.support.ground import free_port
from tests.support.patience import LONG, until

MIB = 1024 * 1024
SHORT = 0.1  # seconds, for what is to time out
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
NEVER = 0.001  # requests a second: the first goes at once, and the second after a quarter of an hour


@dataclass(frozen=True)
class Seen:
    """A request, as it came in."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


def said(status: int = 200, body: bytes = b"{}", *lines: str) -> bytes:
    """An answer as it goes over the wire."""
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


CUT = (said(200, b"x" * 10)[:-5], b"HTTP/1.1 200 X\r\n", b"SSH-2.0-x\r\n\r\n")


class Vendor:
    """A server that gives `answers` in order, and then repeats the last.

    It hangs up instead of answering None, and after one of `CUT`. While `let_go` is not set, it does not answer.
    """

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[bytes | None] = [said()]
        self.seen: list[Seen] = []
        self.connections = self.open = self.under_way = self.most = 0
        self.let_go = asyncio.Event()
        self.let_go.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections, self.open = self.connections + 1, self.open + 1
        try:
            while await self._answer(reader, writer):
                pass
        finally:
            self.open -= 1

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        method, target, _ = first.split(" ")
        self.seen.append(Seen(method, target, headers, await reader.readexactly(int(headers.get("content-length", 0)))))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.let_go.wait()
        self.under_way -= 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        writer.write(answer or b"")
        await writer.drain()
        return answer is not None and answer not in CUT


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[str]:
    """Serve every connection like this, and yield the address."""
    under_way = set[asyncio.Task[None]]()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        under_way.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            try:
                await serve(reader, writer)
            finally:
                writer.close()
                await writer.wait_closed()

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    for task in under_way:
        task.cancel()
    await asyncio.gather(*under_way, return_exceptions=True)


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    made = Vendor()
    async with listening(made.serve) as made.url:
        yield made


Road = Callable[..., Http]


@pytest.fixture
async def road(vendor: Vendor) -> AsyncIterator[Road]:
    """The road to this vendor; `path` is the path of its base address."""
    made: list[Http] = []

    def make(path: str = "", *, timeout: float = LONG, rate: float = 1000, private: bool = True, **more: Any) -> Http:
        base = more.pop("base_url", f"{vendor.url}{path}")
        made.append(Http(base, timeout, rate, allow_private_hosts=private, **more))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


@contextmanager
def inside(check: Callable[[], None]) -> Iterator[None]:
    """The context of a release; `check` is called before it leaves."""
    token = last_moment.set(check)
    try:
        yield
    finally:
        last_moment.reset(token)


async def release(road: Http, **more: Any) -> Answer:
    with inside(lambda: None):
        return await road.call("POST", "send", release=True, **more)


async def error_of(work: Coroutine[Any, Any, Any]) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        await work
    return raised.value


# --- what leaves -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "url", "target"),
    [
        ("", "send", "/send"),
        ("/", "/send", "/send"),
        ("/v1", "send", "/v1/send"),
        ("/v1/", "/send", "/v1/send"),
        ("/v1//", "//send/", "/v1/send/"),
        ("/v1", "a/b?c=d", "/v1/a/b?c=d"),
    ],
)
async def test_an_address_is_the_accounts_and_what_the_adapter_adds(
    vendor: Vendor, road: Road, path: str, url: str, target: str
) -> None:
    await road(path).call("GET", url)
    assert [seen.target for seen in vendor.seen] == [target]


async def test_a_whole_address_of_the_vendors_stands_as_it_is(vendor: Vendor, road: Road) -> None:
    await road("/v1").call("GET", f"{vendor.url}/elsewhere", query={"a": "b"})
    assert [seen.target for seen in vendor.seen] == ["/elsewhere?a=b"]


async def test_a_query_is_written_as_the_vendors_samples_have_it(vendor: Vendor, road: Road) -> None:
    given: dict[str, str | int] = {"to": "+33 6", "n": 7, "text": "a/b&c=d?é%", "é&/": ""}
    told = "to=%2B33%206&n=7&text=a%2Fb%26c%3Dd%3F%C3%A9%25&%C3%A9%26%2F="
    assert (encode(given), encode({})) == (told, "")
    await road().call("GET", "send", query=given)
    await road().call("GET", "send", query={})
    assert [seen.target for seen in vendor.seen] == [f"/send?{told}", "/send"]


async def test_what_is_sent_is_json_and_asks_for_json_that_is_not_packed(vendor: Vendor, road: Road) -> None:
    await road().call("POST", "send", json={"text": "é"}, headers={"X-Key": "k"}, harmless=True)
    await road().call("PUT", "send", headers={"Accept": "text/plain"}, harmless=True)
    first, second = vendor.seen
    assert (first.method, json.loads(first.body)) == ("POST", {"text": "é"})
    assert (second.method, second.body) == ("PUT", b"")
    asked = ("accept", "accept-encoding", "content-type", "x-key")
    assert [first.headers.get(name) for name in asked] == ["application/json", "identity", "application/json", "k"]
    assert [second.headers.get(name) for name in asked] == ["text/plain", "identity", None, None]


async def test_a_release_takes_a_connection_of_its_own_and_reads_share_one(vendor: Vendor, road: Road) -> None:
    one = road()
    for _ in range(3):
        await one.call("GET", "state")
    assert (vendor.connections, vendor.open) == (1, 1)
    await release(one)
    await release(one)
    assert vendor.connections == 3
    await one.call("GET", "state")
    assert vendor.connections == 3
    await until(lambda: vendor.open == 1)  # the releases' connections are closed
    await one.aclose()
    await until(lambda: vendor.open == 0)


async def test_a_road_that_was_never_used_can_be_closed(road: Road) -> None:
    await road().aclose()


async def test_no_more_than_eight_reads_are_under_way_at_once(vendor: Vendor, road: Road) -> None:
    one = road()
    vendor.let_go.clear()
    reads = [asyncio.create_task(one.call("GET", "state")) for _ in range(20)]
    await until(lambda: vendor.under_way == 8)
    vendor.let_go.set()
    await asyncio.gather(*reads)
    assert (len(vendor.seen), vendor.most) == (20, 8)


async def test_nothing_of_a_call_is_logged(vendor: Vendor, road: Road, caplog: pytest.LogCaptureFixture) -> None:
    """The road alone ensures it, whatever the bot does about logs."""
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    runpy.run_path(http.__file__)
    with caplog.at_level(logging.DEBUG):
        await road().call("GET", "send", query={"text": "Soldes"})
    assert [record for record in caplog.records if record.name.startswith(("httpx", "httpcore"))] == []


# --- what comes back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 204, 301, 302, 308, 404, 429, 500, 599])
async def test_any_status_is_an_answer_and_nobody_is_followed(vendor: Vendor, road: Road, status: int) -> None:
    body = b"" if status == 204 else b"said"
    vendor.answers = [said(status, body, "Location: /elsewhere", "X-Odd: Yes")]
    answer = await road().call("GET", "state")
    assert (answer.status, answer.body, answer.headers["x-odd"]) == (status, body, "Yes")
    assert [seen.target for seen in vendor.seen] == ["/state"]


IDS = b'{"ids": 22}'
BARE = zlib.compressobj(wbits=-15)
PACKED: dict[str, tuple[str, bytes, bytes]] = {
    "gzip": ("GZip", gzip.compress(IDS), IDS),
    "zlib": ("deflate", zlib.compress(IDS), IDS),
    "bare deflate": ("deflate", BARE.compress(IDS) + BARE.flush(), IDS),
    "in name only": ("gzip", IDS, IDS),
    "nothing": ("gzip", b"", b""),
    "cut": ("gzip", gzip.compress(IDS)[:-4], gzip.compress(IDS)[:-4]),
    "something behind it": ("gzip", gzip.compress(IDS) + b"{}", gzip.compress(IDS) + b"{}"),
    "not packed": ("identity", gzip.compress(IDS), gzip.compress(IDS)),
    "another way": ("br", b"\x8b\x05", b"\x8b\x05"),
}


@pytest.mark.parametrize("case", PACKED)
async def test_a_body_that_was_packed_all_the_same_is_what_was_packed(vendor: Vendor, road: Road, case: str) -> None:
    coding, body, plain = PACKED[case]
    vendor.answers = [said(201, body, f"Content-Encoding: {coding}")]
    assert (await release(road())).body == plain


async def test_a_packed_answer_may_be_a_mebibyte_long_as_well(vendor: Vendor, road: Road) -> None:
    long = [gzip.compress(b"x" * size, mtime=0) for size in (MIB, MIB + 1, 20 * MIB)]
    vendor.answers = [said(200, body, "Content-Encoding: gzip") for body in long]
    assert len((await road().call("GET", "state")).body) == MIB
    for _ in range(2):
        error = await error_of(release(road()))
        assert (type(error), error.detail) == (Uncertain, "TooBig")


async def test_an_answer_may_be_a_mebibyte_long(vendor: Vendor, road: Road) -> None:
    vendor.answers = [said(200, b"x" * MIB), said(200, b"x" * (MIB + 1))]
    assert len((await road().call("GET", "state")).body) == MIB
    error = await error_of(release(road()))
    assert (type(error), error.detail) == (Uncertain, "TooBig")
    assert str(error) == "The vendor's answer was far too long to read."


async def test_answers_that_were_too_long_stand_in_nobodys_way(vendor: Vendor, road: Road) -> None:
    vendor.answers, one = [*[said(200, b"x" * (MIB + 1))] * 9, said()], road()
    for _ in range(9):
        assert (await error_of(one.call("GET", "state"))).detail == "TooBig"
    assert (await one.call("GET", "state")).status == 200


WAITS = {
    None: 30.0, "7": 7.0, " 7 ": 7.0, "0": 1.0, "1": 1.0, "2": 2.0, "299": 299.0, "300": 300.0, "301": 300.0,
    "9" * 400: 300.0, "-5": 30.0, "7.5": 30.0, "soon": 30.0, "": 30.0, "²": 30.0,
    formatdate(1_800_000_060, usegmt=True): 60.0, formatdate(1_799_999_990, usegmt=True): 1.0,
    formatdate(1_800_009_999, usegmt=True): 300.0, f"Fri, 01 Jan {'9' * 20} 00:00:00 GMT": 30.0,
}  # fmt: skip


@pytest.mark.parametrize("asked", WAITS)
def test_a_vendor_that_is_in_no_hurry_is_waited_for_within_bounds(
    monkeypatch: pytest.MonkeyPatch, asked: str | None
) -> None:
    monkeypatch.setattr(http, "time", lambda: 1_800_000_000.0)
    headers = {} if asked is None else {"retry-after": asked}
    error = throttled(Answer(429, headers, b""))
    assert (type(error), error.wait) == (Throttled, WAITS[asked])


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"7", b'"x"', b"<html>", b"[" * 100_000])
def test_a_yes_without_an_object_leaves_its_ids_unknown(body: bytes) -> None:
    with pytest.raises(Uncertain, match="its answer cannot be read, so its ids are lost"):
        object_of(Answer(201, {}, body))


def test_an_object_is_read() -> None:
    assert object_of(Answer(200, {}, b' {"id": 22} ')) == {"id": 22}


def test_what_was_not_understood_is_told_to_the_operator_without_its_content() -> None:
    answer = Answer(502, {"content-type": "text/html"}, b"a secret")
    error = not_understood(answer)
    assert str(error) == "The vendor answered 502, which does not say whether it was sent."
    assert error.detail == unreadable(answer).detail == "HTTP 502, 8 bytes of text/html"
    assert not_understood(Answer(500, {}, b"")).detail == "HTTP 500, 0 bytes of no type"
    odd = not_understood(Answer(500, {"content-type": "x" * 500}, b"")).detail
    assert odd == "HTTP 500, 0 bytes of " + "x" * 60


# --- where it may lead -----------------------------------------------------------------------------------------------

INWARD = ["localhost", "a.localhost", "a.internal", "a.local", "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1"]
INWARD += ["169.254.169.254", "0.0.0.1", "100.64.0.1", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "::ffff:10.0.0.1"]
OUTWARD = ["vendor.example", "localhost.example", "localhosts", "a-local", "local", "8.8.8.8", "2606:4700:4700::1111"]


def test_an_inward_address_is_told_from_an_outward_one() -> None:
    assert [host for host in INWARD if not is_private(host)] == []
    assert [host for host in OUTWARD if is_private(host)] == []


@pytest.mark.parametrize("address", ["http://vendor.example", "https://127.0.0.1", "https://a.local", "https://[::1]"])
def test_plain_and_inward_addresses_are_for_stand_ins(address: str) -> None:
    with pytest.raises(ValueError, match="allow_private_hosts"):
        Http(address, 1.0, 1.0, allow_private_hosts=False)
    assert Http(address, 1.0, 1.0, allow_private_hosts=True)


@pytest.mark.parametrize("address", ["ftp://vendor.example", "vendor.example", "https://", "https:///path", ""])
@pytest.mark.parametrize("private", [True, False])
def test_what_is_no_address_is_none_for_anybody(address: str, private: bool) -> None:
    with pytest.raises(ValueError, match="begins with https://"):
        Http(address, 1.0, 1.0, allow_private_hosts=private)


@pytest.mark.parametrize(
    "url", ["http://vendor.example/send", "https://127.0.0.1/send", "https://[::1", "http:///send"]
)
async def test_an_address_that_the_vendor_names_is_checked_as_well(road: Road, url: str) -> None:
    one = road(base_url="https://vendor.example", private=False)
    error = await error_of(one.call("GET", url))
    assert (type(error), error.setting) == (Refused, "base_url")


@pytest.mark.parametrize("allowed", [None, frozenset({"127.0.0.1"}), frozenset({"127.0.0.1", "vendor.example"})])
async def test_who_may_be_reached_is_reached(vendor: Vendor, road: Road, allowed: frozenset[str] | None) -> None:
    assert (await road(allowed_hosts=allowed).call("GET", "state")).status == 200


@pytest.mark.parametrize("allowed", [frozenset(), frozenset({"vendor.example"})])
async def test_nobody_else_is_reached_where_some_are_named(vendor: Vendor, road: Road, allowed: frozenset[str]) -> None:
    error = await error_of(release(road(allowed_hosts=allowed)))
    assert (type(error), error.setting, vendor.seen) == (Refused, "base_url", [])


@pytest.mark.parametrize(
    ("url", "port", "leads", "kind"),
    [
        ("https://vendor.example/send", 443, ["10.0.0.1"], Refused),
        ("https://vendor.example/send", 443, ["8.8.8.8", "127.0.0.1"], Refused),
        ("https://vendor.example:8443/send", 8443, ["fe80::1%1"], Refused),
        ("https://vendor.example:8443/send", 8443, ["8.8.8.8", "1.1.1.1"], Unavailable),
        ("https://vendor.example/send", 443, [], Unavailable),
    ],
)
async def test_a_public_name_that_leads_inward_is_not_followed(
    road: Road, monkeypatch: pytest.MonkeyPatch, url: str, port: int, leads: list[str], kind: type[ProviderError]
) -> None:
    asked: list[tuple[str, int]] = []

    async def look_up(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        asked.append((host, port))
        if len(asked) > 1:  # the connection itself: this test uses no network
            raise OSError
        return [(2, 1, 6, "", (address, port)) for address in leads]

    one = road(base_url="https://vendor.example", private=False)
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    error = await error_of(one.call("GET", url))
    assert (type(error), asked[0]) == (kind, ("vendor.example", port))
    assert error.setting == ("base_url" if kind is Refused else None)


# --- how fast --------------------------------------------------------------------------------------------------------


def at_once(work: Coroutine[Any, Any, None]) -> bool:
    """Whether it goes through without waiting."""
    try:
        work.send(None)
    except StopIteration:
        return True
    work.close()
    return False


# Requests a second: how many go at once, and after how many seconds the next one does.
RATES = {1000: (1000, 0.001), 5: (5, 0.2), 1.5: (1, 0.667), 1: (1, 1.0), 0.5: (1, 2.0), 0.01: (1, 100.0)}


@pytest.mark.parametrize("rate", RATES)
async def test_an_accounts_rate_is_kept(road: Road, monkeypatch: pytest.MonkeyPatch, rate: float) -> None:
    one, now, (number, pause) = road(rate=rate), 1000.0, RATES[rate]
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    assert [at_once(one.turn()) for _ in range(number)] == [True] * number
    now += pause * 0.4
    assert not at_once(one.turn())
    now += pause * 0.61
    assert at_once(one.turn())


async def test_a_release_that_has_waited_its_turn_goes_at_once_and_only_that_one(vendor: Vendor, road: Road) -> None:
    one = road(rate=NEVER, timeout=SHORT)
    await one.turn()
    assert type(await error_of(one.call("GET", "state"))) is Unavailable  # the turn belongs to the release
    one.timeout = LONG
    assert (await release(one)).status == 200
    one.timeout = SHORT
    assert type(await error_of(release(one))) is Unavailable
    assert [seen.method for seen in vendor.seen] == ["POST"]


# --- when something breaks -------------------------------------------------------------------------------------------


async def test_a_release_is_asked_about_once_just_before_it_leaves(vendor: Vendor, road: Road) -> None:
    asked: list[tuple[int, int]] = []
    with inside(lambda: asked.append((vendor.connections, len(vendor.seen)))):
        await road().call("POST", "send", release=True)
        await road().call("GET", "state", harmless=True)
    assert len(asked) == 1
    assert asked[0][1] == 0
    assert len(vendor.seen) == 2


async def test_a_release_that_is_called_off_sends_no_byte(vendor: Vendor, road: Road) -> None:
    def called_off() -> None:
        raise Refused("Paused.")

    with inside(called_off):
        assert str(await error_of(road().call("POST", "send", release=True))) == "Paused."
    assert vendor.seen == []


@pytest.mark.parametrize("answer", [None, *CUT], ids=["hangs up", "cuts its body", "cuts its head", "speaks otherwise"])
@pytest.mark.parametrize("releasing", [True, False])
async def test_what_broke_after_the_first_byte_is_uncertain(
    vendor: Vendor, road: Road, answer: bytes | None, releasing: bool
) -> None:
    vendor.answers, one = [answer], road("/secret")
    error = await error_of(release(one) if releasing else one.call("GET", "state"))
    assert (type(error), len(vendor.seen)) == (Uncertain, 1)
    assert str(error) == "The connection broke before the vendor's answer was complete."
    assert error.detail.isidentifier()  # what kind of error it was, and no address
    assert error.__cause__ is None
    assert error.__suppress_context__


@pytest.mark.parametrize("releasing", [True, False])
async def test_what_never_left_may_be_asked_again(road: Road, releasing: bool) -> None:
    one = road(base_url=f"http://127.0.0.1:{free_port()}")
    error = await error_of(release(one) if releasing else one.call("GET", "state"))
    assert (type(error), str(error)) == (Unavailable, "The vendor could not be reached.")
    assert error.detail == "ConnectError"
    assert error.__suppress_context__


async def test_an_address_that_cannot_be_written_never_leaves(vendor: Vendor, road: Road) -> None:
    error = await error_of(road().call("GET", "send\x00"))
    assert (type(error), error.detail, vendor.seen) == (Unavailable, "InvalidURL", [])


@pytest.mark.parametrize("releasing", [True, False])
async def test_a_vendor_that_says_a_little_now_and_then_is_given_no_more_time(
    vendor: Vendor, road: Road, monkeypatch: pytest.MonkeyPatch, releasing: bool
) -> None:
    """The timeout covers the whole exchange. The clock jumps here, so that the test need not wait."""
    loop = asyncio.get_running_loop()
    real, ahead, letters = loop.time, 0.0, 0

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal ahead, letters
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 20\r\n\r\n")
        while letters < 20:
            writer.write(b"x")
            await writer.drain()
            letters += 1
            await asyncio.sleep(0.01)
            ahead += 0.3 * LONG

    monkeypatch.setattr(loop, "time", lambda: real() + ahead)
    async with listening(drip) as url:
        one = road(base_url=url)
        error = await error_of(release(one) if releasing else one.call("GET", "state"))
    assert (type(error), error.detail) == (Uncertain, "TimeoutError")
    assert letters < 10


# --- what is believed of it ------------------------------------------------------------------------------------------

NO, SLOW_DOWN = Refused("The vendor said no."), Throttled(30.0)
# The vendor's answer to a release, the adapter's error, and whether it is believed that nothing was sent.
ANSWERED: list[tuple[int, ProviderError, bool]] = [
    (200, NO, True),  # its body says so
    (201, SLOW_DOWN, False),
    (302, NO, False),
    (400, NO, True),
    (408, NO, False),
    (409, SLOW_DOWN, False),  # that reference is known already
    (425, SLOW_DOWN, False),
    (422, NO, True),
    (429, SLOW_DOWN, True),
    (499, NO, False),  # from a proxy
    (500, NO, False),
    (503, NO, True),  # which this vendor documents as "not processed"
    (504, SLOW_DOWN, False),
]


@pytest.mark.parametrize(("status", "error", "believed"), ANSWERED)
async def test_whether_nothing_was_sent_is_seen_by_the_vendors_status(
    vendor: Vendor, road: Road, status: int, error: ProviderError, believed: bool
) -> None:
    vendor.answers, guard = [said(status)], ReleaseGuard(lambda: None, frozenset({503}))
    with inside(guard):
        await road().call("POST", "send", release=True)
    assert guard.nothing_left(error) is believed


async def test_a_second_release_leaves_only_where_the_first_was_not_processed(vendor: Vendor, road: Road) -> None:
    vendor.answers, one = [said(503), said(200)], road()
    with inside(ReleaseGuard(lambda: None, frozenset({503}))):
        assert [(await one.call("POST", "send", release=True)).status for _ in range(2)] == [503, 200]
        assert type(await error_of(one.call("POST", "send", release=True))) is Uncertain
    assert len(vendor.seen) == 2


# A call that is no release, as (method, harmless), the vendor's answer, and whether the adapter is believed that
# nothing was sent. The adapter has no road but this one.
BESIDE: list[tuple[str, bool, int | None, bool]] = [
    ("POST", False, 200, False),
    ("POST", False, 302, False),
    ("POST", False, 400, True),
    ("POST", False, 404, True),
    ("POST", False, 409, False),
    ("POST", False, 500, False),
    ("POST", False, None, False),  # it hung up
    ("POST", True, 200, True),
    ("POST", True, 500, True),
    ("POST", True, None, True),
    ("GET", True, 200, True),
    ("GET", False, 200, False),  # many gateways send by a GET
]


@pytest.mark.parametrize(("method", "harmless", "status", "believed"), BESIDE)
async def test_a_call_that_nobody_declared_harmless_may_have_sent_something(
    vendor: Vendor, road: Road, method: str, harmless: bool, status: int | None, believed: bool
) -> None:
    vendor.answers, guard = [None if status is None else said(status)], ReleaseGuard(lambda: None)
    with inside(guard), suppress(Uncertain):
        await road().call(method, "send", harmless=harmless)
    assert guard.nothing_left(NO, ours=True) is believed


async def test_what_the_road_itself_says_is_believed(vendor: Vendor, road: Road) -> None:
    def called_off() -> None:
        raise Refused("Paused.")

    closed = road(allowed_hosts=frozenset())
    for one, check in ((closed, lambda: None), (road(rate=NEVER, timeout=SHORT), lambda: None), (road(), called_off)):
        if one is not closed:
            await road_used(one)
        guard = ReleaseGuard(check)
        with inside(guard):
            error = await error_of(one.call("POST", "send", release=True))
        assert guard.nothing_left(error)
        assert not guard.nothing_left(Unavailable("The adapter says so."))
    assert [seen.target for seen in vendor.seen] == ["/state", "/state"]


async def road_used(one: Http) -> None:
    """Use up its rate: a slow road lets nothing more through for now."""
    await one.call("GET", "state")
