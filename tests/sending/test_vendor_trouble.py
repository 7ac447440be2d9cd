"""A vendor in trouble, through the whole bot: the outcome, and how often phones rang.

The rows of the table run on the two databases in turn. With `BELLCRIER_BOTH=1`, each row runs on both.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import tracemalloc
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import ClientSession, web

from bot.app import Bot
from bot.domain.clock import SECOND
from bot.domain.lifecycle import State
from bot.storage import tables
from sandbox.server import Sandbox
from tests.support.ground import StartBot, free_port, newest, some_later
from tests.support.patience import nothing_more
from tests.support.rows import KEY
from tests.support.slack import approved, card, settled, thread_text

ELSEWHERE = "http://127.0.0.1:9/elsewhere"


@dataclass(frozen=True)
class Case:
    """A fault at one step of one vendor: the final state, what the thread says, and how many sends there are."""

    step: str
    kind: str
    state: State
    told: str
    rang: int
    detail: dict[str, Any] = field(default_factory=dict)
    asked: int = 1


def lost(step: str, kind: str, rang: int, **detail: Any) -> Case:
    return Case(step, kind, State.UNKNOWN, "may have gone out", rang, detail)


def patient(step: str, after: str = "1") -> Case:
    detail = {"status": 429, "headers": {"Retry-After": after}}
    return Case(step, "error", State.SENT, "will try again", 1, detail, asked=2)


def no(step: str, status: int, told: str, **body: Any) -> Case:
    return Case(step, "error", State.FAILED, told, 0, {"status": status, **({"body": body} if body else {})})


def unreadable(rang: int, body: str, type: str = "application/json") -> Case:
    return lost("encom.release", "answer", rang, body=body, type=type, status=201, accept=True)


ENCOM, OCTOPUSH, KAIZALA = "encom.release", "octopush.release", "kaizala.release"
CASES: dict[str, Case] = {
    "timeout before it is accepted": lost(ENCOM, "stall", 0),
    "timeout after it is accepted": lost(ENCOM, "stall", 1, accept=True),
    "octopush, timeout after it is accepted": lost(OCTOPUSH, "stall", 1, accept=True),
    "kaizala, timeout after it is accepted": lost(KAIZALA, "stall", 1, accept=True),
    "reset before the answer": lost(ENCOM, "reset", 0),
    "reset during the answer": lost(ENCOM, "reset", 1, accept=True),
    "octopush, reset": lost(OCTOPUSH, "reset", 1, accept=True),
    "kaizala, reset": lost(KAIZALA, "reset", 1, accept=True),
    "closed": lost(ENCOM, "close", 1, accept=True),
    "429 with its wait": patient(ENCOM),
    "429 with a date that has passed": patient(ENCOM, "Wed, 01 Jan 2020 00:00:00 GMT"),
    "octopush, 429": patient(OCTOPUSH),
    "kaizala, 429": patient(KAIZALA),
    **{f"encom, {n}": lost(ENCOM, "error", 1, status=n, accept=True) for n in (500, 502, 503, 504)},
    **{f"octopush, {n}": lost(OCTOPUSH, "error", 1, status=n, accept=True) for n in (500, 502, 503, 504)},
    **{f"kaizala, {n}": lost(KAIZALA, "error", 1, status=n, accept=True) for n in (500, 502, 503, 504)},
    "octopush, 121": no("octopush.create", 400, "STOP mention is missing", code=121),
    "octopush, 303, unknown list": no("octopush.create", 400, "does not know the audience newsletter", code=303),
    "octopush, 104, no credit": no(OCTOPUSH, 400, "no credit left", code=104),
    "octopush, 104 under a 200": no(OCTOPUSH, 200, "no credit left", code=104, message="no credit"),
    "octopush, 104 as a text under a 201": no(OCTOPUSH, 201, "no credit left", code="104", sending_date=None),
    "octopush, 121 under a 200": no("octopush.create", 200, "STOP mention is missing", code="121"),
    "octopush, nothing under a 200": lost(OCTOPUSH, "error", 0, status=200, body={}),
    "octopush, an unlisted code under a 200": lost(OCTOPUSH, "error", 0, status=200, body={"code": 98765}),
    "octopush, a page": lost(OCTOPUSH, "answer", 1, status=200, body="<html>", type="text/html", accept=True),
    "kaizala, an empty error code": lost(KAIZALA, "answer", 1, status=200, body='{"errorCode": ""}', accept=True),
    "encom, what is wrong under a 201": unreadable(1, '{"response": "not found"}'),
    "octopush, an unlisted code": lost(OCTOPUSH, "error", 0, status=400, body={"code": 98765}),
    "encom, 401": no(ENCOM, 401, "accounts.encom.token"),
    "encom, 403": no(ENCOM, 403, "accounts.encom.customer_account"),
    "kaizala, 404, unknown group": no(KAIZALA, 404, "does not know the group"),
    "kaizala, 403": no(KAIZALA, 403, "needs to be an admin"),
    "201, cut JSON": unreadable(1, '{"store":"22,'),
    "201, HTML": unreadable(1, "<html>thank you</html>", "text/html"),
    "201, nothing": unreadable(1, ""),
    "201, latin-1": lost(
        ENCOM, "answer", 1, body='{"store":"é"}', encoding="latin-1", type="application/json", status=201, accept=True
    ),
    "201, another object": unreadable(1, '{"hello": [1]}'),
    "201, a list": unreadable(1, "[]"),
    "201, truncated": lost(ENCOM, "truncate", 1, accept=True),
    "dripping for ever": lost(ENCOM, "drip", 1, accept=True),
    "ten megabytes": lost(ENCOM, "big", 0),
    **{f"redirect {n}": lost(ENCOM, "redirect", 0, status=n, location=ELSEWHERE) for n in (301, 302, 303, 307, 308)},
    "octopush, redirect": lost(OCTOPUSH, "redirect", 0, status=307, location=ELSEWHERE),
    "slow, within the deadline": Case(ENCOM, "slow", State.SENT, "accepted it", 1, {"seconds": 0.7}),
}

DATABASES = ("sqlite", "postgresql")
#: One of each kind; the others run after the quick tests.
AT_ONCE = {
    "timeout after it is accepted",
    "reset before the answer",
    "201, nothing",
    "encom, what is wrong under a 201",
}
ROWS = [
    pytest.param(name, database, marks=() if name in AT_ONCE else pytest.mark.long)
    for place, name in enumerate(CASES)
    for database in (DATABASES if os.environ.get("BELLCRIER_BOTH") else DATABASES[place % 2 :][:1])
]
AUDIENCES = {"encom": "clients", "octopush": "newsletter", "kaizala": "staff"}


@pytest.fixture
async def either(sandbox: Sandbox, start_bot: StartBot, database_url: str) -> Bot:
    """The whole bot on each database. Vendors have a second and a half to answer."""
    short = {f"accounts__{name}__timeout": 1.5 for name in ("encom", "octo", "kaizala")}
    short |= {"accounts__kaizala__requests_per_second": 100}
    return await start_bot(sandbox, database_url=database_url, secret_key=KEY, admins=["U0OPS"], **short)


def releases(sandbox: Sandbox) -> int:
    """Return how often a vendor was asked to make phones ring."""
    paths = ("/groupedMessage", "/send", "/messages")
    return len([s for s in sandbox.vendors.office.requests if s.method != "GET" and s.path.endswith(paths)])


CODES = {
    "octopush, no credit": (OCTOPUSH, 400, {"code": 104}, "104"),
    "octopush, as a text under a 201": (OCTOPUSH, 201, {"code": "104"}, "104"),
    "octopush, one that no table has": (OCTOPUSH, 400, {"code": 98765}, "98765"),
    "octopush, one that no table has, under a 200": (OCTOPUSH, 200, {"code": 98765}, "98765"),
    "octopush, before anything could leave": ("octopush.create", 400, {"code": 303}, "303"),
    "kaizala, in words": (KAIZALA, 403, {"errorCode": "ApiAccessDenied"}, "ApiAccessDenied"),
}


@pytest.mark.long
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", some_later(CODES))
async def test_the_vendors_own_code_stands_in_the_thread(sandbox: Sandbox, either: Bot, name: str) -> None:
    """C44: a reader can look the code up, or quote it to the vendor."""
    step, status, body, code = CODES[name]
    sandbox.vendors.faults.add(step, "error", status=status, body=body)
    posted = await approved(sandbox, f"send {AUDIENCES[step.split('.')[0]]} marketing Soldes demain")
    await settled(either, State.UNKNOWN, State.FAILED)
    await sandbox.until(lambda: code in thread_text(sandbox, posted["ts"]))


@pytest.mark.parametrize(("name", "database_url"), ROWS, indirect=["database_url"])
async def test_what_a_vendors_trouble_becomes(sandbox: Sandbox, either: Bot, name: str) -> None:
    case = CASES[name]
    sandbox.vendors.faults.add(case.step, case.kind, **case.detail)
    posted = await approved(sandbox, f"send {AUDIENCES[case.step.split('.')[0]]} marketing Soldes demain")
    row = await settled(either, *{State.UNKNOWN, State.FAILED, State.SENT})
    assert row.state is case.state
    await sandbox.until(lambda: case.told in thread_text(sandbox, posted["ts"]))
    assert len(sandbox.vendors.ledger) == case.rang
    # redirected, reset or refused: the vendor was asked once, and again only where nothing could have been sent
    assert releases(sandbox) <= case.asked
    if case.state is not State.SENT:  # the state stays: nothing is retried behind the scenes
        asked = releases(sandbox)
        either.home.dispatcher.wake()
        await nothing_more(either)
        assert (await newest(either)).state is case.state
        assert releases(sandbox) == asked
        assert len(sandbox.vendors.ledger) == case.rang


async def test_a_byte_order_mark_is_forgiven(sandbox: Sandbox, either: Bot) -> None:
    body = '\ufeff{"store":"22,23"}'
    sandbox.vendors.faults.add(ENCOM, "answer", status=201, body=body, type="application/json", accept=True)
    await approved(sandbox)
    row = await settled(either, State.SENT, State.UNKNOWN)
    assert len(sandbox.vendors.ledger) == 1
    assert (row.state, row.ids) in ((State.SENT, ("22", "23")), (State.UNKNOWN, ()))


@pytest.mark.long
async def test_refused_connections_are_tried_again_and_then_failed(
    sandbox: Sandbox, start_bot: StartBot, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.sending.outcomes.MAX_TRIES", 2)
    nowhere = f"http://127.0.0.1:{free_port()}"
    bot = await start_bot(sandbox, database_url=database_url, secret_key=KEY, accounts__encom__base_url=nowhere)
    posted = await approved(sandbox)
    await settled(bot, State.FAILED)
    await sandbox.until(lambda: "could not be reached" in thread_text(sandbox, posted["ts"]))
    assert (await newest(bot)).tries == 2
    assert sandbox.vendors.ledger == []


async def test_a_vendor_that_cannot_prove_who_it_is_gets_nothing(
    sandbox: Sandbox, start_bot: StartBot, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in speaks plain HTTP, so TLS to it fails. No byte of the text may go in the clear instead."""
    monkeypatch.setattr("bot.sending.outcomes.MAX_TRIES", 1)
    secure = f"https://127.0.0.1:{sandbox.port}/vendors/encom"
    bot = await start_bot(sandbox, database_url=database_url, secret_key=KEY, accounts__encom__base_url=secure)
    await approved(sandbox)
    assert "could not be reached" in str((await settled(bot, State.FAILED)).failure)
    assert releases(sandbox) == 0


async def test_a_redirect_is_followed_nowhere(sandbox: Sandbox, either: Bot) -> None:
    seen: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.json_response({"store": "1"}, status=201)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", elsewhere)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    sandbox.vendors.faults.add(ENCOM, "redirect", status=307, location=f"http://127.0.0.1:{port}/here")
    await approved(sandbox)
    await settled(either, State.UNKNOWN)
    await runner.cleanup()
    assert seen == []


async def test_ten_megabytes_do_not_fill_the_memory(sandbox: Sandbox, either: Bot) -> None:
    sandbox.vendors.faults.add(ENCOM, "big")
    await approved(sandbox)
    tracemalloc.start()
    await settled(either, State.UNKNOWN)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 40 * 1024 * 1024  # the stand-in makes the ten in this same process


async def test_an_account_that_does_not_work_is_brought_to_the_operator_without_its_key(
    sandbox: Sandbox, either: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.vendors.faults.add(ENCOM, "error", status=401)
    with caplog.at_level(logging.DEBUG):
        posted = await approved(sandbox)
        await settled(either, State.FAILED)
        await sandbox.until(lambda: "<@U0OPS>" in thread_text(sandbox, posted["ts"]))
    assert "an account does not work" in caplog.text
    token = either.providers["encom"].adapter.settings.token.get_secret_value()  # type: ignore[attr-defined]
    assert token not in caplog.text + thread_text(sandbox, posted["ts"])


async def test_fewer_ids_than_recipients_are_told_as_they_are(sandbox: Sandbox, either: Bot) -> None:
    body = json.dumps({"store": "22"})
    sandbox.vendors.faults.add(ENCOM, "answer", status=201, body=body, type="application/json", accept=True)
    posted = await approved(sandbox)
    row = await settled(either, State.SENT)
    told = "The vendor gave an id for only 1 of 2 people. It will not be sent again to the others."
    await sandbox.until(lambda: told in thread_text(sandbox, posted["ts"]))
    assert row.ids == ("22",)
    assert len(sandbox.vendors.ledger) == 1


@pytest.mark.long
async def test_a_list_that_grew_since_the_approval_goes_back_to_it(sandbox: Sandbox, either: Bot) -> None:
    sandbox.vendors.octopush.lists["newsletter"] = 5000
    posted = await approved(sandbox, "send newsletter marketing Soldes")
    await sandbox.until(lambda: "It would reach 5000 people" in thread_text(sandbox, posted["ts"]))
    assert (await newest(either)).state is State.PENDING
    assert sandbox.vendors.ledger == []


@pytest.mark.parametrize("told", some_later(["5000", "5 000", 5e3, None, "many", -5, True]))
async def test_a_size_that_is_larger_or_cannot_be_read_goes_back_to_the_approvers(
    sandbox: Sandbox, either: Bot, told: Any
) -> None:
    """C3: where there is a bound, a size that is no readable number below it needs approval before release."""
    body = {"number_of_contacts": told, "cost": "645,00", "status": "ready_to_be_sent"}
    sandbox.vendors.faults.add("octopush.status", "error", times=1000, status=200, body=body)
    await approved(sandbox, "send newsletter marketing Soldes")
    await sandbox.until(lambda: any(seen.path.endswith("/status") for seen in sandbox.vendors.office.requests))
    await settled(either, State.PENDING)
    await nothing_more(either)
    assert (await newest(either)).state is State.PENDING
    assert not any(seen.path.endswith("/send") for seen in sandbox.vendors.office.requests)
    assert sandbox.vendors.ledger == []


async def test_ids_between_empty_places_are_the_ids(sandbox: Sandbox, either: Bot) -> None:
    """C21: a comma at the end loses no id."""
    body = '{"store": "22,23,"}'
    sandbox.vendors.faults.add(ENCOM, "answer", status=201, body=body, type="application/json", accept=True)
    await approved(sandbox)
    row = await settled(either, State.SENT, State.UNKNOWN)
    assert (row.state, row.ids) == (State.SENT, ("22", "23"))


# --- callbacks -------------------------------------------------------------------------------------------------------


@pytest.fixture
async def gone_out(sandbox: Sandbox, either: Bot) -> str:
    """The callback address of a broadcast that Encom has accepted as 22 and 23."""
    await approved(sandbox)
    return str(either.home.dispatcher.releaser.tokens.callback_url(await settled(either, State.SENT)))


async def tell(url: str, **news: str) -> int:
    async with ClientSession() as client, client.post(url, json=news) as answer:
        return answer.status


async def test_a_status_never_goes_back(sandbox: Sandbox, either: Bot, gone_out: str) -> None:
    assert await tell(gone_out, id="22", status="OK", code="000") == 200
    for word in ("SENT", "PLANNED", "ACCEPTED"):
        assert await tell(gone_out, id="22", status=word) == 200
    counts = (await newest(either)).counts  # a poll may report the other one, 23, meanwhile
    assert (counts["sent"], sum(counts.values()) <= 2) == (1, True)


@pytest.mark.long
async def test_a_word_that_nobody_knows_is_kept_and_shown(sandbox: Sandbox, either: Bot, gone_out: str) -> None:
    assert await tell(gone_out, id="22", status="TELEPORTED") == 200
    posted = await card(sandbox)
    await sandbox.until(lambda: "1 × TELEPORTED" in thread_text(sandbox, posted["ts"]))


@pytest.mark.long
async def test_the_same_news_a_hundred_times_at_once_is_one(sandbox: Sandbox, either: Bot, gone_out: str) -> None:
    answers = await asyncio.gather(*(tell(gone_out, id="22", status="OK", code="000") for _ in range(100)))
    assert set(answers) == {200}
    rows = await either.database.read(lambda c: c.execute(tables.deliveries.select()).all())
    assert len([row for row in rows if row.id == "22"]) == 1


async def test_news_before_our_own_commit_finds_its_way_home(sandbox: Sandbox, either: Bot) -> None:
    """The vendor calls back while its answer to us is still on the way."""
    sandbox.vendors.faults.add(ENCOM, "slow", seconds=0.5)
    await approved(sandbox)
    await sandbox.until(lambda: releases(sandbox) == 1)
    url = str(either.home.dispatcher.releaser.tokens.callback_url(await newest(either)))
    assert await tell(url, id="22", status="OK", code="000") == 200
    row = await settled(either, State.SENT)
    assert row.counts != {}
    assert "22" in row.ids


async def test_the_same_id_at_two_accounts_is_two_things(sandbox: Sandbox, either: Bot, gone_out: str) -> None:
    octo = str(either.callback_address("octo"))
    assert await tell(octo, message_id="22", number="+33600000001", status="DELIVERED") == 200
    assert (await newest(either)).counts.get("delivered") is None
    assert len(sandbox.vendors.ledger) == 1


SPELLINGS = ["+33600100000", "33600100000", "0033600100000", "+33 6 00-10.00.00", " 33600100000", 33600100000]


async def test_a_phone_is_one_person_however_its_number_is_written(sandbox: Sandbox, either: Bot) -> None:
    """C13: numbers are reduced to digits before the hash; status words and tickets are normalised too."""
    sandbox.vendors.octopush.lists["newsletter"] = 2
    await approved(sandbox, "send newsletter marketing Soldes")
    row = await settled(either, State.SENT)
    url = str(either.callback_address("octo"))
    async with ClientSession() as client:
        for number, word in zip(SPELLINGS, (" delivered ", "Delivered", "DELIVERED") * 2, strict=True):
            fields = {"message_id": f" {row.ids[0]}", "number": number, "status": word}
            assert (await client.post(url, json=fields)).status == 200
            assert (await client.post(url, data={**fields, "number": str(number)})).status == 200
        bare = f"message_id={row.ids[0]}&number=+33600100000&status=DELIVERED"  # a form's plus is a space
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert (await client.post(url, data=bare, headers=form)).status == 200
    after = await newest(either)
    assert after.counts == {"delivered": 1}
    assert after.state is State.SENT  # one of two people has it, so it is not done


async def test_a_delivery_with_null_dates_is_a_delivery(sandbox: Sandbox, either: Bot) -> None:
    """C12: an empty date is no opt-out."""
    await approved(sandbox, "send newsletter marketing Soldes")
    row = await settled(either, State.SENT)
    url = str(either.callback_address("octo"))
    dates = {"delivery_date": "2021-06-01 12:00:00", "stop_date": None, "reception_date": None}
    fields = {"message_id": row.ids[0], "number": "+33600100000", "status": "DELIVERED", **dates}
    async with ClientSession() as client, client.post(url, json=fields) as answer:
        assert answer.status == 200
    assert (await newest(either)).counts == {"delivered": 1}


@pytest.mark.long
async def test_a_flood_of_news_is_told_in_few_words(sandbox: Sandbox, either: Bot) -> None:
    posted = await approved(sandbox, "send newsletter marketing Soldes")
    row = await settled(either, State.SENT)
    url = str(either.callback_address("octo"))
    news = [{"message_id": row.ids[0], "number": f"+336001{n:05}", "status": "SENT"} for n in range(200)]
    assert set(await asyncio.gather(*(tell(url, **one) for one in news))) == {200}
    await sandbox.until(lambda: "Deliveries:" in thread_text(sandbox, posted["ts"]))
    await nothing_more(either)
    assert thread_text(sandbox, posted["ts"]).count("Deliveries:") <= 2


async def test_without_any_news_the_end_says_so(sandbox: Sandbox, either: Bot) -> None:
    posted = await approved(sandbox, "send staff marketing Hello")
    await settled(either, State.SENT)
    values = {"accepted_at": either.clock() - 25 * 3600 * SECOND, "look_at": 1}
    await either.database.write(lambda c: c.execute(tables.broadcasts.update().values(**values)))
    await settled(either, State.DONE)
    await sandbox.until(lambda: "no delivery report" in thread_text(sandbox, posted["ts"]))
