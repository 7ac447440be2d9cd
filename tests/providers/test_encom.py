"""Encom: what goes out in the query string, and what each answer becomes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from providers.base import (
    Answer,
    Audience,
    AudienceFound,
    AudienceKind,
    Callback,
    Check,
    DeliveryStatus,
    Purpose,
    Receipt,
    Unavailable,
    Uncertain,
)
from providers.reading import UNREADABLE
from sandbox.server import Sandbox
from tests.support.adapters import Adapter, asked, became, message, offline, outcome, told


async def test_the_request_is_the_documented_one(sandbox: Sandbox, adapter: Adapter) -> None:
    sent = message("encom", "Bonjour %%name%% + à demain", callback_url="https://bell.example/callbacks/encom/t0k3n")
    await outcome(adapter("encom"), sent)
    (seen,) = sandbox.vendors.office.requests
    assert (seen.method, seen.path, seen.body) == ("POST", "/vendors/encom/api/v1/sms/groupedMessage", b"")
    assert seen.query == {
        "customerAccount": "CL3578",
        "smsRecipientListId": "1",
        "message": "Bonjour %%name%% + à demain STOP AU 36111",
        "type": "m",
        "idSend": "B234567-1-1",
        "listener": "https://bell.example/callbacks/encom/t0k3n",
    }
    assert seen.headers["authorization"] == "Bearer sandbox-encom-token"
    assert seen.headers["accept"] == "application/json"


async def test_transactional_is_t_and_needs_no_listener(sandbox: Sandbox, adapter: Adapter) -> None:
    await outcome(adapter("encom"), message("encom", purpose=Purpose.TRANSACTIONAL))
    (seen,) = sandbox.vendors.office.requests
    assert seen.query["type"] == "t"
    assert "listener" not in seen.query


STORED: dict[str, tuple[str, tuple[str, ...] | None]] = {
    "the documented string": ('{"store": "22,23"}', ("22", "23")),
    "spaces in it": ('{"store": "22, 23"}', ("22", "23")),
    "an integer": ('{"store": 20}', ("20",)),
    "a numeric string": ('{"store": "20"}', ("20",)),
    "a list": ('{"store": [22, "23"]}', ("22", "23")),
    "twice the same": ('{"store": "22,22"}', ("22",)),
    "a byte order mark": ('\ufeff{"store": "22"}', ("22",)),
    "nothing stored": ('{"store": ""}', None),
    "an empty list": ('{"store": []}', None),
    "null": ('{"store": null}', None),
    "no store": ("{}", None),
    "words": ('{"store": "queued"}', None),
    "a boolean": ('{"store": true}', None),
    "an object": ('{"store": {"a": 1}}', None),
    "a comma at the end": ('{"store": "22,23,"}', ("22", "23")),
    "a comma at the beginning": ('{"store": ",22"}', ("22",)),
    "empty places": ('{"store": ", 22 ,,23 , "}', ("22", "23")),
    "a list with nulls": ('{"store": [22, null, "", "23 "]}', ("22", "23")),
    "a list of strings of ids": ('{"store": ["22,23", 24]}', ("22", "23", "24")),
    "floats": ('{"store": [22.0, "23.0"]}', ("22", "23")),
    "a float": ('{"store": 22.0}', ("22",)),
    "a long list": (f'{{"store": "{",".join(map(str, range(1, 10_001)))},"}}', tuple(map(str, range(1, 10_001)))),
    "nothing but commas": ('{"store": ",,"}', None),
    "nothing but nulls": ('{"store": [null, null]}', None),
    "null as a text": ('{"store": "null"}', None),
    "nobody": ('{"store": 0}', None),
    "a fraction": ('{"store": 22.5}', None),
    "below nobody": ('{"store": -22}', None),
    "one that is no id": ('{"store": "22,x"}', None),
    "one that is no id, in a list": ('{"store": [22, true]}', None),
    "lists in a list": ('{"store": [[22], [[23]]]}', ("22", "23")),
    "an array with its places": ('{"store": {"0": 22, "1": "23"}}', ("22", "23")),
    "an object of no places": ('{"store": {"id": 22}}', None),
    "a list as a text": ('{"store": "[22, 23]"}', ("22", "23")),
    "another mark between them": ('{"store": "22;23"}', ("22", "23")),
    "spaces between them": ('{"store": "22 23\\n24"}', ("22", "23", "24")),
    "zeros before it": ('{"store": ["0022", 23]}', ("22", "23")),
    "zeros alone": ('{"store": "000"}', None),
    "digits of another script": ('{"store": "２２"}', None),
    "what is wrong": ('{"response": "not found"}', None),
}


@pytest.mark.parametrize("case", STORED)
async def test_the_ids_in_store_or_none_at_all(sandbox: Sandbox, adapter: Adapter, case: str) -> None:
    """C21: empty places are dropped; anything else that is not an id makes the outcome unknown."""
    body, ids = STORED[case]
    sandbox.vendors.faults.add("encom.release", "answer", status=201, body=body, accept=True)
    kind, told = await outcome(adapter("encom"), message("encom"))
    assert (kind, told) == ("ids", ids) if ids else kind == "Uncertain" and "ids are lost" in told


REFUSED = {
    400: "did not accept the request",
    401: "did not accept the token",
    402: "no credit left",
    403: "does not let this token use this customer account",
    404: "does not know the list 1",
    422: "did not accept the request",
}


@pytest.mark.parametrize("status", REFUSED)
async def test_a_no_is_a_sentence(sandbox: Sandbox, adapter: Adapter, status: int) -> None:
    sandbox.vendors.faults.add("encom.release", "error", status=status, body={"message": "non"})
    kind, told = await outcome(adapter("encom"), message("encom"))
    assert (kind, REFUSED[status] in told) == ("Refused", True)
    assert sandbox.vendors.ledger == []


async def test_wrong_keys_and_unknown_lists_are_told_apart(sandbox: Sandbox, adapter: Adapter) -> None:
    assert "token" in (await outcome(adapter("encom", token="another-one"), message("encom")))[1]
    assert "customer account" in (await outcome(adapter("encom", customer_account="CL1"), message("encom")))[1]
    gone = message("encom", audience=Audience(AudienceKind.LIST, "77"))
    assert "the list 77" in (await outcome(adapter("encom"), gone))[1]
    assert sandbox.vendors.ledger == []


async def test_lists_and_their_sizes_are_found(sandbox: Sandbox, adapter: Adapter) -> None:
    provider = adapter("encom")
    assert {(found.id, found.name) for found in await provider.audiences()} >= {("1", "Clients"), ("2", "Team")}
    team = await provider.size(Audience(AudienceKind.LIST, "2"))
    nobody = await provider.size(Audience(AudienceKind.LIST, "3"))
    assert team is not None
    assert nobody is not None
    assert (team.size, team.unnamed, nobody.size) == (3, 1, 0)


async def test_a_read_tells_what_became_of_each_message(sandbox: Sandbox, adapter: Adapter) -> None:
    provider = adapter("encom")
    await outcome(provider, message("encom"))
    await sandbox.vendors.deliver("encom", "22", "OK")
    assert await provider.poll(("22", "999")) == [Receipt("22", DeliveryStatus.SENT, "OK SENDING CONFIRMED 000")]


CALLBACKS: dict[str, tuple[str, bytes, DeliveryStatus]] = {
    "JSON": ("application/json", b'{"id": 22, "status": "OK", "details": "x", "code": "000"}', DeliveryStatus.SENT),
    "a form": ("application/x-www-form-urlencoded", b"id=22&status=OK&code=000", DeliveryStatus.SENT),
    "another code": ("application/json", b'{"id": "22", "status": "OK", "code": "001"}', DeliveryStatus.OTHER),
    "a new word": ("application/json", b'{"id": "22", "status": "PERDU"}', DeliveryStatus.OTHER),
}


@pytest.mark.parametrize("case", CALLBACKS)
def test_a_callback_becomes_a_receipt_and_never_delivered(adapter: Any, case: str) -> None:
    content, body, status = CALLBACKS[case]
    (receipt,) = adapter("encom").read_callback(Callback(content, body))
    assert (receipt.id, receipt.status) == ("22", status)
    assert receipt.word == receipt.word.upper()


IDS: dict[str, bytes] = {
    "a number": b'{"id": 22, "status": "OK", "code": "000"}',
    "a float": b'{"id": 22.0, "status": "OK", "code": "000"}',
    "a text": b'{"id": " 22", "status": "ok ", "code": "000"}',
    "a float as a text": b'{"id": "22.0", "status": " Ok", "code": 0}',
    "zeros before it": b'{"id": "0022", "status": "OK", "code": "000"}',
    "a form": b"id=+22&status=ok+&code=000",
    "in Latin-1": b'{"id": 22, "status": "OK", "code": "000", "details": "envoy\xe9"}',
}


@pytest.mark.parametrize("case", IDS)
def test_ids_and_words_of_a_callback_are_one_however_they_are_written(case: str) -> None:
    """C13: `" 22"`, 22, 22.0 and `"22"` are one message, and `"ok "` is OK."""
    content = "application/x-www-form-urlencoded" if case == "a form" else "application/json"
    (receipt,) = offline("encom").read_callback(Callback(content, IDS[case]))
    assert (receipt.id, receipt.status, receipt.word[:2]) == ("22", DeliveryStatus.SENT, "OK")


@pytest.mark.parametrize("id", ["", "null", "true", "22.5", "-22", "x", "0", "[22]"])
def test_a_callback_without_an_id_is_a_value_error(id: str) -> None:
    with pytest.raises(ValueError, match="no id"):
        offline("encom").read_callback(Callback("application/x-www-form-urlencoded", f"id={id}&status=OK".encode()))


# --- reads -----------------------------------------------------------------------------------------------------------

LIST = Audience(AudienceKind.LIST, "1")
RECIPIENTS: dict[str, tuple[object, tuple[int, int | None]]] = {
    "as documented": ({"+33600000001": "Ana", "0033600000002": None, "06 00 00 00 03": ""}, (3, 2)),
    "nobody": ([], (0, 0)),
    "nobody, as an object": ({}, (0, 0)),
    "what is wrong": ({"message": "Unauthenticated."}, (UNREADABLE, None)),
    "what is not there": ({"response": "not found"}, (UNREADABLE, None)),
    "a status": ({"404": "not found"}, (UNREADABLE, None)),
    "another shape": ({"data": {"+33600000001": "Ana"}, "total": 5000}, (UNREADABLE, None)),
    "names of another type": ({"+33600000001": {"name": "Ana"}}, (UNREADABLE, None)),
    "a list": (["Ana", "Ben"], (UNREADABLE, None)),
    "null": ("null", (UNREADABLE, None)),
    "a number": ("5", (UNREADABLE, None)),
}


@pytest.mark.parametrize("case", RECIPIENTS)
async def test_a_list_is_as_large_as_the_numbers_in_it_and_without_them_larger_than_every_bound(case: str) -> None:
    """C3: an error answer is not a list of one person."""
    people, (size, unnamed) = RECIPIENTS[case]
    found = await offline("encom", recipients=told(200, people)).size(LIST)
    assert found == AudienceFound(AudienceKind.LIST, "1", "", size, unnamed)


READS: dict[str, tuple[Answer, str]] = {
    "a page": (told(200, "<html>", "text/html"), "Unavailable"),
    "nothing": (told(200), "Unavailable"),
    "cut": (told(200, '{"+33600000001": "A'), "Unavailable"),
    "nested too deeply": (told(200, "[" * 99_999), "Unavailable"),
    "no content": (told(204), "Unavailable"),
    "a server's trouble": (told(500), "Unavailable"),
    "a redirect": (told(302), "Unavailable"),
    "too fast": (told(429), "Throttled"),
    "unknown": (told(404), "Refused"),
    "no key": (told(401), "Refused"),
}


@pytest.mark.parametrize("case", READS)
async def test_a_read_that_says_nothing_is_asked_again_and_one_that_is_refused_is_not(case: str) -> None:
    answer, kind = READS[case]
    assert (await became(offline("encom", recipients=answer).size(LIST)))[0] == kind
    assert (await became(offline("encom", recipientLists=answer).audiences()))[0] == kind
    assert (await became(offline("encom", recipientLists=answer).check()))[0] == kind


async def test_an_account_whose_lists_can_be_read_works(adapter: Adapter) -> None:
    assert await adapter("encom").check() == Check()


async def test_a_size_that_is_refused_names_the_list() -> None:
    refused = (await became(offline("encom", recipients=told(404)).size(Audience(AudienceKind.LIST, "77"))))[1]
    assert "the list 77" in str(refused)


@pytest.mark.parametrize("missing", [{"customer_account": ""}, {"token": ""}])
def test_an_account_without_its_keys_is_none(missing: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        offline("encom", settings=missing)


@pytest.mark.parametrize("lists", [{"message": "x"}, None, "x", 5])
async def test_an_account_whose_lists_are_no_list_is_not_checked(lists: object) -> None:
    answer = told(200, "null" if lists is None else '"x"' if lists == "x" else lists)
    assert (await became(offline("encom", recipientLists=answer).check()))[0] == "Unavailable"


async def test_a_list_that_cannot_be_read_is_left_out_of_the_lists() -> None:
    entries = [{"id": 1.0, "name": " Clients "}, {"id": None}, {}, 5, {"id": "2", "name": None}, {"id": True}]
    found = await offline("encom", recipientLists=told(200, entries)).audiences()
    assert [(one.id, one.name) for one in found] == [("1", "Clients"), ("2", "")]


# --- polls -----------------------------------------------------------------------------------------------------------

FINE = {"status": "OK", "details": "SENDING CONFIRMED", "code": "000"}
RUBBISH: dict[str, Any] = {
    "bytes that are no UTF-8": told(200, b"\xff\xfe\xfd{"),
    "a page": told(200, "<html>oops</html>", "text/html"),
    "nothing": told(200),
    "cut": told(200, '{"id": 23, "sta'),
    "a list": told(200, [FINE]),
    "null": told(200, "null"),
    "no fields": told(200, {}),
    "fields of null": told(200, {"id": 23, "status": None, "details": "", "code": None}),
    "fields of another type": told(200, {"id": 23, "status": ["OK"], "details": {}, "code": True}),
    "another message": told(200, {"id": 99, **FINE}),
    "no message": told(200, {"id": "x", **FINE}),
    "a server's trouble": told(500, FINE),
    "no message there": told(404),
    "a redirect": told(302),
    "a broken connection": Uncertain("The connection broke before the vendor's answer was complete."),
    "no connection": Unavailable("The vendor could not be reached."),
}


def polled(**answers: Any) -> Callable[[dict[str, Any]], Any]:
    """Answer polls. `id22=…`: the answer about 22; the others get the documented answer."""

    def answer(query: dict[str, Any]) -> Any:
        id = query["singleSmsMessageId"]
        return answers.get(f"id{id}", told(200, {"id": int(id), **FINE}))

    return answer


@pytest.mark.parametrize("case", RUBBISH)
async def test_a_message_of_which_nothing_can_be_read_keeps_nobody_from_those_after_it(case: str) -> None:
    """C18: it is left out, and asked about again later."""
    provider = offline("encom", singleMessage=polled(id23=RUBBISH[case]))
    assert [receipt.id for receipt in await provider.poll(("22", "23", "24"))] == ["22", "24"]
    assert len(asked(provider)) == 3


async def test_what_was_read_before_the_vendor_asked_to_slow_down_counts() -> None:
    """C18: a 429 ends the round but discards nothing."""
    provider = offline("encom", singleMessage=polled(id24=told(429)))
    assert [receipt.id for receipt in await provider.poll(("22", "23", "24", "25"))] == ["22", "23"]
    assert len(asked(provider)) == 3


async def test_a_vendor_that_asks_to_slow_down_at_once_is_heard() -> None:
    provider = offline("encom", singleMessage=told(429, content="text/plain"))
    assert (await became(provider.poll(("22", "23"))))[0] == "Throttled"
    assert len(asked(provider)) == 1


async def test_a_vendor_that_is_away_is_not_asked_for_longer_than_one_exchange_may_take() -> None:
    def slow(_: dict[str, Any]) -> Any:
        time.sleep(0.02)  # one poll after another fails
        return Unavailable("The vendor could not be reached.")

    provider = offline("encom", singleMessage=slow, settings={"timeout": "50ms"})
    assert await provider.poll(tuple(map(str, range(1, 100)))) == []
    assert len(asked(provider)) < 10


POLLED: dict[str, tuple[dict[str, Any], DeliveryStatus, str]] = {
    "as documented": (FINE, DeliveryStatus.SENT, "OK SENDING CONFIRMED 000"),
    "in small letters": ({"status": " ok ", "code": " 000"}, DeliveryStatus.SENT, "OK 000"),
    "a code as a number": ({"status": "OK", "code": 0}, DeliveryStatus.SENT, "OK 000"),
    "no code": ({"status": "OK"}, DeliveryStatus.OTHER, "OK"),
    "a code of null": ({"status": "OK", "code": None}, DeliveryStatus.OTHER, "OK"),
    "another code": ({"status": "OK", "code": 1}, DeliveryStatus.OTHER, "OK 1"),
    "planned": ({"status": "PENDING", "details": "planned", "code": ""}, DeliveryStatus.ACCEPTED, "PENDING PLANNED"),
    "a new word": ({"status": "Perdu  en\nroute"}, DeliveryStatus.OTHER, "PERDU EN ROUTE"),
}


@pytest.mark.parametrize("case", POLLED)
async def test_a_status_is_what_is_documented_or_other(case: str) -> None:
    fields, status, word = POLLED[case]
    (receipt,) = await offline("encom", singleMessage=told(200, {"id": " 22", **fields})).poll(("22",))
    assert receipt == Receipt("22", status, word)
