"""What comes in over HTTP: nothing unsigned has an effect, nothing malformed is a 500, and floods are bounded."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import json
import logging
import random
import re
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import ClientSession
from multidict import CIMultiDict

from bot.app import Bot
from bot.domain.clock import SECOND
from bot.domain.lifecycle import State
from bot.storage import tables
from bot.web.bodies import CALLBACK_BODY, SLACK_BODY, Guesses
from bot.web.slack import parse_slack
from sandbox.server import Sandbox
from tests.support.ground import StartBot, all_of, newest
from tests.support.patience import LONG, nothing_more, within
from tests.support.slack import HERE, approved, ask, card, settled, thread_text

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
async def web() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


@pytest.fixture
async def door(http_sandbox: Sandbox, start_bot: StartBot) -> Bot:
    """The bot in HTTP mode, listening to the sandbox's signatures."""
    return await start_bot(http_sandbox)


def sign(secret: str, body: bytes, stamp: str) -> str:
    return "v0=" + hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()


async def post(
    sandbox: Sandbox, web: ClientSession, body: bytes, *, age: float = 0, content: str = FORM, **headers: str | None
) -> tuple[int, str]:
    """Send a body as Slack would, signed and stamped `age` seconds ago; headers may be replaced, or None left out."""
    stamp = str(int(time.time() - age))
    given: dict[str, str | None] = {
        "Content-Type": content,
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": sign(sandbox.world.signing_secret, body, stamp),
    }
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {name: value for name, value in given.items() if value is not None}
    assert sandbox.delivery.events_url is not None
    async with web.post(sandbox.delivery.events_url, data=io.BytesIO(body), headers=sent) as answer:
        return answer.status, await answer.text()


def command(sandbox: Sandbox, text: str = "send clients marketing Hello") -> bytes:
    place = sandbox.world.channel("C0CAMPAIGNS")
    payload = sandbox.acting.payloads.command("U0CLEO", place, "/broadcast", text)
    return urlencode(payload).encode()


UNSIGNED: dict[str, dict[str, Any]] = {
    "no signature": {"X_Slack_Signature": None},
    "no timestamp": {"X_Slack_Request_Timestamp": None},
    "another signature": {"X_Slack_Signature": "v0=" + "0" * 64},
    "a signature that is not ASCII": {"X_Slack_Signature": "v0=é" + "0" * 63},
    "an empty signature": {"X_Slack_Signature": ""},
    "a timestamp that is no number": {"X_Slack_Request_Timestamp": "soon"},
    "a timestamp of digits from elsewhere": {"X_Slack_Request_Timestamp": "١٢٣"},
    "a timestamp without end": {"X_Slack_Request_Timestamp": "9" * 400},
    "a timestamp with a sign": {"X_Slack_Request_Timestamp": "-1"},
    "six minutes old": {"age": 360},
    "six minutes early": {"age": -360},
}


async def test_what_slack_did_not_sign_just_now_is_refused(
    http_sandbox: Sandbox, door: Bot, web: ClientSession
) -> None:
    for case, given in UNSIGNED.items():
        assert await post(http_sandbox, web, command(http_sandbox), **given) == (401, ""), case
    assert await all_of(door) == []


async def test_a_signature_of_another_secret_or_other_bytes_is_refused(
    http_sandbox: Sandbox, door: Bot, web: ClientSession
) -> None:
    body, stamp = command(http_sandbox), str(int(time.time()))
    other = sign("another-secret", body, stamp)
    assert (await post(http_sandbox, web, body, X_Slack_Signature=other))[0] == 401
    honest = sign(http_sandbox.world.signing_secret, body, stamp)
    assert (await post(http_sandbox, web, body + b"&x=1", X_Slack_Signature=honest))[0] == 401
    assert await all_of(door) == []


async def test_the_body_of_a_request_that_slack_did_not_sign_is_in_no_log(
    http_sandbox: Sandbox, door: Bot, web: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for given in UNSIGNED.values():
            await post(http_sandbox, web, command(http_sandbox, "send nobody marketing CANARYTEXT"), **given)
        http_sandbox.faults.add("users.info", "500")
        assert (await post(http_sandbox, web, command(http_sandbox, "send nobody marketing CANARYTEXT")))[0] == 200
    assert "Slack did not tell" in caplog.text  # what is signed leaves a trace, without the text either
    assert "CANARYTEXT" not in caplog.text


async def test_the_signature_is_for_every_byte_and_the_case_of_headers_does_not_matter(
    http_sandbox: Sandbox, door: Bot, web: ClientSession
) -> None:
    body, stamp = command(http_sandbox), str(int(time.time()))
    honest = sign(http_sandbox.world.signing_secret, body, stamp)
    signed: dict[str, Any] = {"X_Slack_Signature": honest, "X_Slack_Request_Timestamp": stamp}
    for spot in range(len(body)):
        changed = body[:spot] + bytes([body[spot] ^ 1]) + body[spot + 1 :]
        assert (await post(http_sandbox, web, changed, **signed))[0] == 401, spot
    assert await all_of(door) == []

    assert http_sandbox.delivery.events_url is not None
    given = [("X-Slack-Request-Timestamp", stamp), ("X-Slack-Signature", honest)]
    for twice in given:
        headers = CIMultiDict([("Content-Type", FORM), *given, twice])
        async with web.post(http_sandbox.delivery.events_url, data=io.BytesIO(body), headers=headers) as answer:
            assert answer.status == 401, twice
    for case in (str.upper, str.lower):
        headers = CIMultiDict([("Content-Type", FORM), *((case(name), value) for name, value in given)])
        async with web.post(http_sandbox.delivery.events_url, data=io.BytesIO(body), headers=headers) as answer:
            assert answer.status == 200, case
    assert len(await all_of(door)) == 1


MALFORMED = {
    "nothing": b"",
    "bytes that are no UTF-8": b"text=\xff\xfe",
    "broken JSON": b'{"type": ',
    "JSON that is no object": b"payload=[1,2]",
    "a payload that is no JSON": b"payload=hello",
    "JSON without end": b"{" + b'"a":{' * 50_000,
    "lists without end": b"payload=" + b"[" * 100_000,
    "ten thousand fields": b"&".join(b"f%d=1" % number for number in range(10_000)),
}


async def test_a_body_that_does_not_parse_is_400(http_sandbox: Sandbox, door: Bot, web: ClientSession) -> None:
    for case, body in MALFORMED.items():
        assert await post(http_sandbox, web, body) == (400, ""), case


async def test_a_body_over_the_limit_is_413(http_sandbox: Sandbox, door: Bot, web: ClientSession) -> None:
    assert (await post(http_sandbox, web, b"text=" + b"x" * SLACK_BODY))[0] == 413


async def test_only_post_is_taken(http_sandbox: Sandbox, door: Bot, web: ClientSession) -> None:
    assert http_sandbox.delivery.events_url is not None
    async with web.get(http_sandbox.delivery.events_url) as answer:
        assert answer.status == 405


async def test_slacks_own_checks_are_answered(http_sandbox: Sandbox, door: Bot, web: ClientSession) -> None:
    challenge = json.dumps({"type": "url_verification", "challenge": "abc", "token": "x"}).encode()
    status, text = await post(http_sandbox, web, challenge, content="application/json")
    assert (status, json.loads(text)) == (200, {"challenge": "abc"})
    assert (await post(http_sandbox, web, b"ssl_check=1&token=x"))[0] == 200


async def test_a_request_replayed_inside_the_window_has_one_effect(
    http_sandbox: Sandbox, door: Bot, web: ClientSession
) -> None:
    body = command(http_sandbox)
    answers = await asyncio.gather(*(post(http_sandbox, web, body) for _ in range(5)))
    assert {status for status, _ in answers} == {200}
    assert len(await all_of(door)) == 1


@pytest.mark.long
async def test_what_slack_sends_again_with_a_retry_number_counts_once(
    http_sandbox: Sandbox, door: Bot, web: ClientSession
) -> None:
    again: dict[str, Any] = {"X_Slack_Retry_Num": "1", "X_Slack_Retry_Reason": "http_timeout"}
    asked = command(http_sandbox)
    assert (await post(http_sandbox, web, asked))[0] == 200
    assert (await post(http_sandbox, web, asked, age=1, **again))[0] == 200
    assert len(await all_of(door)) == 1

    posted = await card(http_sandbox)
    await http_sandbox.acting.react("U0ANA", HERE, posted["ts"], "white_check_mark")
    await settled(door, State.SENT)
    (event,) = [payload for kind, payload in http_sandbox.delivery.heard if kind == "events_api"]
    for number in ("1", "2", "3"):
        again["X_Slack_Retry_Num"] = number
        body = json.dumps(event).encode()
        assert (await post(http_sandbox, web, body, content="application/json", **again))[0] == 200
    await nothing_more(door)
    assert len(http_sandbox.vendors.ledger) == 1
    assert thread_text(http_sandbox, posted["ts"]).count("Approved by") == 1
    assert http_sandbox.acting.ephemerals("U0ANA") == []


async def test_another_workspaces_command_is_refused(http_sandbox: Sandbox, door: Bot, web: ClientSession) -> None:
    body = command(http_sandbox).replace(b"team_id=T0BELL", b"team_id=T0OTHER")
    status, text = await post(http_sandbox, web, body)
    assert (status, "another workspace" in text) == (200, True)
    assert await all_of(door) == []


@pytest.mark.parametrize("type", ["block_actions", "view_submission", "shortcut", "message_action", "nonsense"])
async def test_an_interaction_without_its_parts_is_answered_and_changes_nothing(
    http_sandbox: Sandbox, door: Bot, web: ClientSession, type: str
) -> None:
    payload = {"type": type, "team": {"id": "T0BELL"}, "user": {"id": "U0ANA"}, "actions": [{}], "view": {}}
    status, _ = await post(http_sandbox, web, urlencode({"payload": json.dumps(payload)}).encode())
    assert status < 500
    assert await all_of(door) == []


@pytest.mark.long
async def test_random_signed_bodies_are_never_a_500(
    http_sandbox: Sandbox, door: Bot, web: ClientSession, seed: int
) -> None:
    chance = random.Random(seed)
    good = command(http_sandbox, "help")
    for _ in range(150):
        body = bytearray(good)
        for _ in range(chance.randrange(1, 8)):
            spot = chance.randrange(len(body))
            body[spot : spot + chance.randrange(3)] = bytes(chance.choices(b'&=%+{}[]"\x00\xffabc:;', k=3))
        status, _ = await post(http_sandbox, web, bytes(body))
        assert status < 500, bytes(body)


@pytest.mark.parametrize("name", ["team", "user", "channel", "container", "message"])
async def test_a_command_with_a_word_where_an_interaction_has_parts_is_answered(
    http_sandbox: Sandbox, door: Bot, web: ClientSession, name: str
) -> None:
    status, _ = await post(http_sandbox, web, command(http_sandbox, "help") + f"&{name}=word&team_id=".encode())
    assert status == 200


def test_a_command_whose_text_holds_payload_stays_a_command() -> None:
    assert parse_slack("command=%2Fbroadcast&text=a+payload%3D1&payload=x")["command"] == "/broadcast"


# --- callbacks of vendors --------------------------------------------------------------------------------------------


async def call_back(web: ClientSession, url: str, body: bytes, content: str = "application/json") -> int:
    async with web.post(url, data=body, headers={"Content-Type": content}) as answer:
        return answer.status


async def called_back(bot: Bot) -> dict[str, int]:
    """The counts of the newest broadcast, without those that the bot may have polled itself."""
    return {name: number for name, number in (await newest(bot)).counts.items() if name != "accepted"}


@pytest.fixture
async def sent(sandbox: Sandbox, bot: Bot) -> str:
    """The callback address of a broadcast that Encom accepted as 22 and 23."""
    await approved(sandbox)
    row = await settled(bot, State.SENT)
    return str(bot.home.dispatcher.releaser.tokens.callback_url(row))


async def test_a_callback_without_its_token_is_nothing(
    sandbox: Sandbox, bot: Bot, sent: str, web: ClientSession
) -> None:
    body = json.dumps({"id": "22", "status": "OK", "code": "000"}).encode()
    base = sent.rsplit("/", 1)[0]
    for url in (f"{base}/{'0' * 32}", f"{base}/{sent[-32:-1]}", f"{base}/é", sent.replace("/encom/", "/octo/")):
        assert await call_back(web, url, body) == 404
    assert await call_back(web, sent.replace("/encom/", "/nobody/"), body) == 404
    assert await call_back(web, sent.replace("/encom/", "/kaizala/"), body) == 404
    assert await called_back(bot) == {}


@pytest.mark.long
async def test_who_guesses_tokens_is_slowed_down_and_the_vendor_beside_it_is_heard(
    sandbox: Sandbox, bot: Bot, sent: str, web: ClientSession
) -> None:
    body = json.dumps({"id": "22", "status": "SENT"}).encode()
    assert await call_back(web, sent, body) == 200
    base = sent.rsplit("/", 1)[0]
    began = time.monotonic()
    answers = [await call_back(web, f"{base}/{n:032}", body) for n in range(300)]
    allowed = Guesses.LIMIT * (1 + (time.monotonic() - began) / 60)  # each minute lets as many more through
    assert (answers[0], answers.count(404) + answers.count(429)) == (404, 300)
    assert Guesses.LIMIT - 5 <= answers.count(404) <= allowed + 5
    assert await call_back(web, sent, json.dumps({"id": "23", "status": "SENT"}).encode()) == 200
    delivered = {"message_id": "sms_nobody", "number": "+33600000000", "status": "DELIVERED"}
    assert await call_back(web, str(bot.callback_address("octo")), json.dumps(delivered).encode()) == 200


@pytest.mark.long
async def test_commands_are_answered_in_time_beside_a_flood_of_callbacks(
    sandbox: Sandbox, bot: Bot, sent: str, web: ClientSession
) -> None:
    """Two thousand callbacks in about two seconds, from vendors that wait for each answer."""
    body, done = json.dumps({"id": "22", "status": "OK", "code": "000"}).encode(), asyncio.Event()

    async def flood() -> int:
        count = 0
        while not done.is_set():
            count += await call_back(web, sent, body) == 200
        return count

    floods = [asyncio.create_task(flood()) for _ in range(50)]
    for number in range(10):
        async with within(3):
            await ask(sandbox, f"send clients marketing Soldes {number}", user="U0DAN")
    done.set()
    assert sum(await asyncio.gather(*floods)) > 100
    posted = await card(sandbox)
    await nothing_more(bot)
    assert thread_text(sandbox, posted["ts"]).count("Deliveries:") <= 2


async def test_a_replay_weeks_later_changes_nothing(
    sandbox: Sandbox, bot: Bot, sent: str, web: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    row, weeks = await newest(bot), 21 * 24 * 3600 * SECOND
    end = {"state": "done", "changed_at": bot.clock() - weeks, "accepted_at": bot.clock() - weeks}
    await bot.database.write(lambda c: c.execute(tables.broadcasts.update().values(**end)))
    before = await newest(bot)
    assert await call_back(web, sent, json.dumps({"id": row.ids[0], "status": "OK", "code": "000"}).encode()) == 200
    assert await newest(bot) == before
    assert "long after the end" in caplog.text


async def test_only_a_post_may_bring_news(bot: Bot, sent: str, web: ClientSession) -> None:
    for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE"):
        async with web.request(method, sent) as answer:
            assert answer.status == 405, method
    assert await called_back(bot) == {}


@pytest.mark.long
async def test_a_callback_a_thousand_times_is_one_piece_of_news(
    sandbox: Sandbox, bot: Bot, sent: str, web: ClientSession
) -> None:
    posted = await card(sandbox)
    body = json.dumps({"id": "22", "status": "OK", "code": "000"}).encode()
    for _ in range(10):
        assert set(await asyncio.gather(*(call_back(web, sent, body) for _ in range(100)))) == {200}
    await sandbox.until(
        lambda: re.search("Deliveries: .*1 of 2 sent · 1 on the way$", thread_text(sandbox, posted["ts"]))
    )
    await nothing_more(bot)
    assert thread_text(sandbox, posted["ts"]).count("Deliveries:") == 1
    assert (await newest(bot)).counts["sent"] == 1


NONSENSE = {
    "empty": b"",
    "broken": b"{",
    "deep": b"[" * 60_000,
    "no text": b"\xff\xfe",
    "deep objects": b'{"a":' * 9_000,
    "null": b"null",
    "many fields": b"&".join(b"f%d=1" % n for n in range(8_000)),
}


@pytest.mark.long
async def test_a_malformed_callback_is_4xx_or_nothing(bot: Bot, sent: str, web: ClientSession) -> None:
    octopush = str(bot.callback_address("octo"))
    for content in ("application/json", FORM, "text/plain", "application/json; charset=nonsense"):
        for name, body in NONSENSE.items():
            for url in (sent, octopush):
                assert await call_back(web, url, body, content) in (200, 400), (name, content)
    assert (await newest(bot)).state is State.SENT
    assert await called_back(bot) == {}


async def test_a_huge_callback_is_413(sent: str, web: ClientSession) -> None:
    assert await call_back(web, sent, b" " * (CALLBACK_BODY + 1)) == 413


async def test_an_id_that_was_never_ours_is_set_aside(sandbox: Sandbox, bot: Bot, web: ClientSession) -> None:
    body = json.dumps({"message_id": "sms_nobody", "number": "+33600000000", "status": "DELIVERED"}).encode()
    assert await call_back(web, str(bot.callback_address("octo")), body) == 200
    (row,) = await bot.database.read(
        lambda c: list(c.execute(tables.deliveries.select().where(tables.deliveries.c.id == "sms_nobody")).mappings())
    )
    assert row["broadcast"] is None
    assert "600000000" not in str(dict(row))


@pytest.mark.long
@pytest.mark.parametrize("shown", [True, False])
async def test_replies_and_opt_outs_are_counted_once_and_shown_only_where_the_account_says_so(
    sandbox: Sandbox, start_bot: StartBot, web: ClientSession, shown: bool
) -> None:
    bot = await start_bot(sandbox, accounts__octo__show_replies=shown)
    posted = await approved(sandbox, "send newsletter marketing Soldes demain")
    row = await settled(bot, State.SENT)
    about = {"message_id": row.ids[0], "number": "+33600100000"}
    reply = {**about, "text": "Oui <!channel>", "reception_date": "2026-11-24 12:00:00"}
    another = {**about, "text": "Non", "reception_date": "2026-11-24 12:01:00"}
    opt_out = {**about, "text": "STOP", "stop_date": "2026-11-24 12:02:00"}
    for news in (reply, reply, another, opt_out, opt_out):
        assert await call_back(web, str(bot.callback_address("octo")), json.dumps(news).encode()) == 200
    await sandbox.until(lambda: "replies: 2 · opt-outs: 1" in str(sandbox.acting.messages(HERE)[0]))
    told = thread_text(sandbox, posted["ts"])
    assert told.count("Reply: Oui &lt;!channel&gt;") == (1 if shown else 0)
    assert "600100000" not in told
    assert await called_back(bot) == {"replies": 2, "opt-outs": 1}


# --- health ----------------------------------------------------------------------------------------------------------


async def test_health_says_whether_it_can_work(sandbox: Sandbox, bot: Bot, web: ClientSession) -> None:
    base = str(bot.settings.public_url).rstrip("/")
    async with web.get(f"{base}/healthz") as alive, web.get(f"{base}/readyz") as ready:
        assert (alive.status, ready.status) == (200, 200)
    sandbox.faults.add("apps.connections.open", "error", times=50, error="internal_error")
    await sandbox.delivery.drop()
    async with asyncio.timeout(LONG):
        while True:
            async with web.get(f"{base}/readyz") as ready:
                if ready.status == 503:
                    assert (await ready.json())["slack"] == "not connected"
                    return
            await asyncio.sleep(0.05)


async def test_while_it_stops_it_is_alive_and_not_ready(sandbox: Sandbox, bot: Bot, web: ClientSession) -> None:
    """A load balancer sends nothing more to a process that waits for the answer to its last send."""
    base = str(bot.settings.public_url).rstrip("/")
    sandbox.vendors.faults.add("encom.release", "stall", seconds=1)
    await approved(sandbox)
    await settled(bot, State.SENDING)
    stopping = asyncio.create_task(bot.stop())
    await sandbox.until(lambda: bot.home.dispatcher.switch.stopping)
    async with web.get(f"{base}/healthz") as alive, web.get(f"{base}/readyz") as ready:
        assert (alive.status, ready.status) == (200, 503)
        assert (await ready.json())["process"] == "stopping"
    await stopping
