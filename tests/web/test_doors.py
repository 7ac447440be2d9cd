"""The doors for Slack and for vendors, called as the server calls them: who is let in, and how each is answered."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from cachetools import LRUCache
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.signature import Clock, SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient
from starlette.applications import Starlette

from bot.domain.broadcast import Broadcast
from bot.sending.receipts import Recorded
from bot.sending.tokens import token_for
from bot.sending.tracker import Tracker
from bot.slack.measured import MeasuredApp
from bot.storage import vendor_ids
from bot.storage.database import CommitUncertain, DatabaseBusy
from bot.web.bodies import Guesses
from bot.web.callbacks import CallbackDoor
from bot.web.metrics import Meters
from bot.web.sites import Health, public_site
from bot.web.slack import SlackDoor, bolt_request, is_whole, parse_slack
from tests.support.core import Core

KIB = 1024
ANY = re.compile("")
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
Given = Sequence[str | bytes]
Headers = Iterable[tuple[str, str | bytes]]


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    parts: int = 0

    async def take(self, message: Mapping[str, Any]) -> None:
        """Keep what the server would send: first the status and the headers, then the body."""
        if message["type"] == "http.response.start":
            assert self.status == 0
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            assert (message["type"], self.status > 0) == ("http.response.body", True)
            self.body += message["body"]
            self.parts += 1


async def call(
    site: Starlette,
    path: str,
    body: bytes | None = b"",
    headers: Headers = (),
    *,
    method: str = "POST",
    peer: str = "a",
) -> Answer:
    """Make one request, its body in two chunks; without a body the client disconnects in the middle of it."""
    raw = [(name.lower().encode(), it if isinstance(it, bytes) else it.encode()) for name, it in headers]
    path, _, query = path.partition("?")
    asked = {"method": method, "path": path, "query_string": query.encode()}
    scope = {"type": "http", **asked, "headers": raw, "client": (peer, 1)}
    half = len(body or b"") // 2
    chunks = [{"type": "http.request", "body": (body or b"")[:half], "more_body": True}]
    chunks.append({"type": "http.disconnect"} if body is None else {"type": "http.request", "body": body[half:]})

    async def receive() -> dict[str, Any]:
        return chunks.pop(0)

    answer = Answer()
    await site(scope, receive, answer.take)
    assert answer.parts == 1
    return answer


@pytest.fixture
def database_url(tmp_path: Path, sqlite_schema: Path) -> str:
    """The doors are the same whatever the database is."""
    shutil.copy(sqlite_schema, tmp_path / "store.db")
    return f"sqlite:///{tmp_path}/store.db"


async def ready() -> tuple[bool, Mapping[str, str]]:
    return True, {}


# --- Slack -----------------------------------------------------------------------------------------------------------

NOW, SECRET = 1_800_000_000, "a-signing-secret"
COMMAND = b"command=%2Fbroadcast&text=help&team_id=T0BELL&user_id=U0CLEO"


class Still(Clock):
    def now(self) -> float:
        return NOW


class Slack:
    """The door in front of a Bolt app that keeps everything it hears."""

    def __init__(self, callbacks: CallbackDoor) -> None:
        self.heard: list[dict[str, Any]] = []
        self.meters = Meters()
        door = SlackDoor(self._bolt(), SignatureVerifier(SECRET, Still()), self.meters, lambda: True)
        self.site = public_site(door, callbacks, Health(ready))

    def _bolt(self) -> MeasuredApp:
        async def authorize() -> AuthorizeResult:
            return AuthorizeResult(enterprise_id=None, team_id="T0BELL", bot_token="xoxb-doors", bot_user_id="U0BELL")

        async def hear(ack: Any, body: dict[str, Any]) -> None:
            self.heard.append(body)
            await ack()

        app = MeasuredApp(
            name="doors",
            client=AsyncWebClient(),
            authorize=authorize,
            process_before_response=True,
            request_verification_enabled=False,
            logger=logging.getLogger("slack_bolt"),
        )
        app.on_request = self.meters.count_request
        for listen in (app.command, app.action, app.view, app.shortcut):
            listen(ANY)(hear)
        return app

    async def ask(self, body: bytes | None, **changes: Any) -> int:
        answer = await call(self.site, "/slack/events", body, signed(body or b"", **changes))
        assert self.counted(answer.status)  # each answer is counted
        return answer.status

    def counted(self, status: int) -> float:
        """How many requests of all kinds got this answer."""
        name, families = "bellcrier_slack_requests_total", self.meters.registry.collect()
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if sample.labels["status"] == str(status))


def signed(body: bytes, *, age: int = 0, secret: str = SECRET, stamps: Given = ("",), marks: Given = ("",)) -> Headers:
    """Sign as Slack does, `age` seconds ago; or use these timestamps and signatures, "" for the right one."""
    stamp = str(NOW - age)
    mark = "v0=" + hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    yield "Content-Type", FORM
    yield from (("X-Slack-Request-Timestamp", given or stamp) for given in stamps)
    yield from (("X-Slack-Signature", given or mark) for given in marks)


@pytest.fixture
def slack(door: CallbackDoor) -> Slack:
    return Slack(door)


REFUSED: dict[str, dict[str, Any]] = {
    "five minutes and a second old": {"age": 301},
    "five minutes and a second early": {"age": -301},
    "another secret": {"secret": "another"},
    "no timestamp": {"stamps": []},
    "the timestamp twice": {"stamps": ["", ""]},
    "no signature": {"marks": []},
    "the signature twice": {"marks": ["", ""]},
    "neither": {"stamps": [], "marks": []},
    "another signature": {"marks": ["v0=" + "0" * 64]},
    "a blank signature": {"marks": [" "]},
    "a signature that is not ASCII": {"marks": [b"v0=\xe9" + b"0" * 63]},
    "a timestamp that is no number": {"stamps": ["soon"]},
    "a timestamp with a sign": {"stamps": ["-1"]},
    "a blank timestamp": {"stamps": [" "]},
    "a timestamp of digits that are not ASCII": {"stamps": [b"\xb2\xb3"]},
    "a timestamp without end": {"stamps": ["9" * 5000]},
}


async def test_only_what_slack_signed_just_now_is_heard(slack: Slack) -> None:
    answers = {case: await slack.ask(COMMAND, **changes) for case, changes in REFUSED.items()}
    assert answers == dict.fromkeys(REFUSED, 401)
    assert slack.heard == []
    assert [await slack.ask(COMMAND, age=age) for age in (0, 300, -300)] == [200, 200, 200]
    assert [body["text"] for body in slack.heard] == ["help"] * 3


async def test_what_slack_signed_is_answered_and_counted_whatever_is_in_it(slack: Slack) -> None:
    press = {"type": "block_actions", "actions": [{"action_id": "a", "block_id": "b", "type": "button"}]}
    assert await slack.ask(urlencode({"payload": json.dumps(press)}).encode()) == 200
    assert slack.heard == [press]
    bad = [b"text=\xff", b"{", b"payload=[1,2]", b"payload=no", b"payload=%7B%7D", b'{"a":' * 50_000]
    assert [await slack.ask(body) for body in bad] == [400] * len(bad)
    assert await slack.ask(None) == 400  # the client left before its body arrived
    longest = COMMAND + b"&x=" + b"x" * (KIB * KIB - len(COMMAND) - 3)
    assert [await slack.ask(longest), await slack.ask(longest + b"x")] == [200, 413]
    assert len(slack.heard) == 2
    assert [slack.counted(status) for status in (200, 400, 413)] == [2, len(bad) + 1, 1]


MEANT: dict[str, dict[str, object]] = {
    "command=%2Fbroadcast&text=a+b": {"command": "/broadcast", "text": "a b"},
    "command=%2Fbroadcast&text=": {"command": "/broadcast", "text": ""},
    "command=%2Fbroadcast&text=x&payload=y": {"command": "/broadcast", "text": "x", "payload": "y"},
    "command=%2Fbroadcast&text=payload": {"command": "/broadcast", "text": "payload"},
    "ssl_check=1&token=x": {"ssl_check": "1", "token": "x"},
    "payload=%7B%22type%22%3A%22shortcut%22%7D": {"type": "shortcut"},
    '{"type": "url_verification", "challenge": "x"}': {"type": "url_verification", "challenge": "x"},
    ' \r\n\t{"type": "event_callback"}': {"type": "event_callback"},
    "&".join(f"f{number}=1" for number in range(100)): {f"f{number}": "1" for number in range(100)},
}
NOT_SLACKS = ["", "{}", "{", "payload=", "payload=no", "payload=%7B%7D", "payload=[]", "payload=7", "payload=null"]
NOT_SLACKS += ["payload=%22x%22", "payload=%7B%22type%22%3A%22view_closed%22%7D"]  # a string; a missing view
NOT_SLACKS += ["&".join(f"f{number}=1" for number in range(101))]


@pytest.mark.parametrize("text", MEANT)
def test_a_body_is_what_slack_meant_by_it(text: str) -> None:
    assert parse_slack(text) == MEANT[text]


@pytest.mark.parametrize("text", NOT_SLACKS)
def test_a_body_that_slack_does_not_send_is_nothing(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - JSON raises its own kind
        parse_slack(text)


NAMED = {"action_id": "a"}
WHOLE: list[dict[str, Any]] = [
    {"type": "block_actions", "actions": [NAMED]},
    {"type": "block_actions", "actions": [NAMED, NAMED]},
    {"type": "view_submission", "view": {"callback_id": "c", "type": "modal"}},
    {"type": "view_closed", "view": {"callback_id": "c", "type": "modal"}},
    {"type": "block_suggestion", "action_id": "a"},
    {"type": "event_callback", "event": {"type": "reaction_added"}},
    {"type": "shortcut", "callback_id": "c"},
    *({"type": kind} for kind in ("shortcut", "event_callback", "nonsense")),
    {"command": "/broadcast"},
]
PRESSED: list[Any] = [None, [], 7, NAMED, "a", ["a"], [{}], [NAMED, {}], [{"action_id": 7}]]
SHOWN: list[Any] = [None, {}, [], "c", {"callback_id": 7}, NAMED]
IN_PART: list[dict[str, Any]] = [
    *({"type": "block_actions", "actions": actions} for actions in PRESSED),
    {"type": "block_actions", "view": {"callback_id": "c"}},
    *({"type": "view_submission", "view": view} for view in SHOWN),
    {"type": "view_closed", "actions": [NAMED]},
    {"type": "view_submission", "view": {"callback_id": "c"}},
    {"type": "view_closed", "view": {"type": "modal"}},
    {"type": "block_suggestion", "action_id": None},
    {"type": "block_suggestion", "action_id": "a", "view": "c"},
    {"type": "shortcut", "callback_id": 7},
    *({"type": "event_callback", "event": event} for event in SHOWN),
]


def test_only_an_interaction_that_names_its_listener_goes_on() -> None:
    assert [body for body in WHOLE if not is_whole(body)] == []
    assert [body for body in IN_PART if is_whole(body)] == []


PARTS = ("user", "team", "enterprise", "channel", "authorizations", "event", "view", "response_urls")


@pytest.mark.parametrize("name", PARTS)
def test_a_signed_body_that_bolt_cannot_take_apart_is_refused_or_read(name: str) -> None:
    """Else the web would answer with 500 to it."""
    refused = 0
    for odd in (True, 7, ["word"], [None], "word"):
        try:
            bolt_request(json.dumps({"type": "nonsense", name: odd}))
        except ValueError:
            refused += 1
    assert refused > 0


# --- vendors ---------------------------------------------------------------------------------------------------------

KEY = b"k" * 32
NEWS = b'{"id": "22", "status": "OK", "code": "000"}'


class Few(Guesses):
    LIMIT = 3


@pytest.fixture
def door(core: Core) -> CallbackDoor:
    return CallbackDoor(core.database, core.tracker(), core.providers, KEY, Meters(), Few())


@pytest.fixture
async def row(core: Core) -> Broadcast:
    """A broadcast that Encom accepted as 22; its callback address ends with `right`."""
    asked = await core.ask()
    await core.edit(asked, state="sent", ids=["22"], accepted_at=core.now)
    await core.database.write(lambda c: vendor_ids.keep_dispatch(c, asked, "right"))
    return await core.row(asked.id)


async def bring(door: CallbackDoor, path: str, body: bytes | None = NEWS, content: str = JSON, **more: Any) -> Answer:
    site = public_site(None, door, Health(ready))
    return await call(site, f"/callbacks/{path}", body, [("Content-Type", content)], **more)


async def counts(core: Core, row: Broadcast) -> Mapping[str, int]:
    return (await core.row(row.id)).counts


def counted(door: CallbackDoor, account: str, status: int) -> float | None:
    labels = {"account": account, "status": str(status)}
    return door.meters.registry.get_sample_value("bellcrier_callbacks_total", labels)


async def test_a_callback_at_its_own_address_is_news(core: Core, door: CallbackDoor, row: Broadcast) -> None:
    assert await bring(door, "encom/right") == Answer(200, {"content-length": "0"}, b"", 1)
    assert await counts(core, row) == {"sent": 1}
    for token in (token_for(KEY, "octo"), "right"):  # Octopush has one address for all
        await bring(door, f"octo/{token}", b'{"message_id": "sms_1", "number": "+33600000000", "status": "DELIVERED"}')
    assert (counted(door, "encom", 200), counted(door, "octo", 200), counted(door, "octo", 404)) == (1, 1, 1)


async def test_a_callback_without_a_body_says_its_news_in_its_query(
    core: Core, door: CallbackDoor, row: Broadcast
) -> None:
    assert (await bring(door, "encom/right?id=22&status=ok+&code=000", b"")).status == 200
    assert await counts(core, row) == {"sent": 1}
    assert (await bring(door, "encom/right?status=OK", b" ")).status == 400
    assert (
        await bring(door, "encom/right?id=23&status=OK", b'{"id": "22", "status": "OK", "code": "000"}')
    ).status == 200
    assert await counts(core, row) == {"sent": 1}


async def test_a_callback_at_no_address_of_ours_is_nothing(core: Core, door: CallbackDoor, row: Broadcast) -> None:
    door.guesses.LIMIT = 100
    strangers = ["encom/wrong", "encom/é", f"encom/{token_for(KEY, 'encom')}", f"octo/{token_for(KEY, 'encom')}"]
    strangers += ["octo/right", "nobody/right", "kaizala/right", f"kaizala/{token_for(KEY, 'kaizala')}"]
    for path in strangers:
        assert (path, await bring(door, path)) == (path, Answer(404, {"content-length": "0"}, b"", 1))
    assert await counts(core, row) == {}
    assert (counted(door, "encom", 404), counted(door, "kaizala", 404)) == (3, 2)
    assert (counted(door, "?", 404), counted(door, "nobody", 404)) == (1, None)  # a name from a request is no label


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_only_a_post_brings_news(core: Core, door: CallbackDoor, row: Broadcast, method: str) -> None:
    told = await bring(door, "encom/right", method=method)
    assert (told.status, told.headers) == (405, {"content-length": "0", "allow": "POST"})
    assert await counts(core, row) == {}


async def test_a_callback_may_be_64_kib_long(core: Core, door: CallbackDoor, row: Broadcast) -> None:
    longest = NEWS + b" " * (64 * KIB - len(NEWS))
    assert (await bring(door, "encom/right", longest + b" ")).status == 413
    assert await counts(core, row) == {}
    assert (await bring(door, "encom/right", longest)).status == 200
    assert await counts(core, row) == {"sent": 1}


async def test_a_callback_that_nobody_can_read_is_refused(core: Core, door: CallbackDoor, row: Broadcast) -> None:
    for body in (b"", b"{", b"[]", b'{"status": "OK"}', b"[" * 30_000, b'{"a":' * 10_000, None):
        assert (body, (await bring(door, "encom/right", body)).status) == (body, 400)
    assert await counts(core, row) == {}
    assert counted(door, "encom", 400) == 7


async def test_a_callback_is_read_in_the_charset_that_it_declares(
    core: Core, door: CallbackDoor, row: Broadcast
) -> None:
    body = '{"id": "22", "status": "ОПЛАЧЕНО"}'.encode("koi8-r")
    assert (await bring(door, "encom/right", body, "application/json; charset=koi8-r")).status == 200
    assert await counts(core, row) == {"other: ОПЛАЧЕНО": 1}


class Broken(Tracker):
    """A tracker whose database takes nothing now."""

    error: Exception

    async def record(self, *_: Any, **__: Any) -> Recorded:
        raise self.error


@pytest.mark.parametrize("error", [DatabaseBusy("full"), CommitUncertain("gone")], ids=["busy", "unsure"])
async def test_what_cannot_be_stored_now_is_to_come_again(
    core: Core, door: CallbackDoor, row: Broadcast, error: Exception
) -> None:
    broken = Broken(core.runtime)
    broken.error = error
    assert (await bring(replace(door, tracker=broken), "encom/right")).status == 503
    assert (await bring(door, "encom/right")).status == 200
    assert await counts(core, row) == {"sent": 1}


async def test_what_an_adapter_breaks_over_is_to_come_again(
    core: Core, door: CallbackDoor, row: Broadcast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(core.providers["encom"].adapter, "read_callback", broken)
    assert (await bring(door, "encom/right")).status == 503
    assert await counts(core, row) == {}


# --- guessed tokens --------------------------------------------------------------------------------------------------


async def test_who_guesses_tokens_is_not_listened_to_and_a_vendor_beside_it_is(
    core: Core, door: CallbackDoor, row: Broadcast
) -> None:
    octo = f"octo/{token_for(KEY, 'octo')}"
    assert [(await bring(door, f"encom/wrong{number}")).status for number in range(4)] == [404, 404, 404, 429]
    assert (await bring(door, "octo/wrong")).status == 429
    assert (await bring(door, "encom/right")).status == 429  # it may be a guess, so it is not looked up
    assert (await bring(door, "encom/right", peer="b")).status == 200
    assert (await bring(door, "encom/right")).status == 200  # it was right before
    here, beside = (f"2001:db8::{place}" for place in (1, 2))  # of one customer, who has 2**64 of them
    assert [(await bring(door, "encom/wrong", peer=here)).status for _ in range(3)] == [404, 404, 404]
    assert (await bring(door, "encom/wrong", peer=beside)).status == 429
    assert (await bring(door, octo, b'{"message_id": "s", "number": "+33600000000", "status": "SENT"}')).status == 200
    assert await counts(core, row) == {"sent": 1}
    assert counted(door, "encom", 429) == 3


async def test_a_token_that_is_known_is_known_for_its_own_account(door: CallbackDoor, row: Broadcast) -> None:
    assert (await bring(door, "encom/right")).status == 200
    assert (await bring(door, "octo/right")).status == 404
    assert (await bring(door, "right/encom")).status == 404


async def test_right_tokens_are_remembered_up_to_a_bound(core: Core, door: CallbackDoor, row: Broadcast) -> None:
    forgetful = replace(door, known=LRUCache(2))
    for number in range(5):
        other = replace(row, attempt=number + 1)
        await core.database.write(partial(vendor_ids.keep_dispatch, broadcast=other, token=f"right{number}"))
        assert (await bring(forgetful, f"encom/right{number}")).status == 200
        assert 1 <= len(forgetful.known) <= 2


async def test_a_hundred_wrong_tokens_a_minute_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    now, guesses = 1000.0, Guesses()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    for _ in range(2):
        for _ in range(100):
            assert not guesses.too_many("a")
            await guesses.wrong("a")
        assert guesses.too_many("a")
        assert not guesses.too_many("b")
        now += 0.595  # another one is looked at each 0.6 seconds
        assert guesses.too_many("a")
        now += 60.001  # a minute later the count starts over


async def test_however_many_guess_only_so_many_are_remembered() -> None:
    class Small(Guesses):
        LIMIT, PEERS = 1, 10

    guesses, held = Small(), 0
    for number in range(50):
        await guesses.wrong(str(number))
        assert guesses.too_many(str(number))
        held = max(held, sum(guesses.too_many(str(one)) for one in range(number + 1)))
    assert 10 <= held <= 11
