"""Encom: what goes out in the query string, and what each answer becomes."""

from __future__ import annotations

from typing import Any

import pytest

from providers.base import Audience, AudienceKind, Callback, DeliveryStatus, Purpose, Receipt
from sandbox.server import Sandbox
from tests.providers.conftest import Adapter, message, outcome


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
}


@pytest.mark.parametrize("case", STORED)
async def test_the_ids_in_store_or_none_at_all(sandbox: Sandbox, adapter: Adapter, case: str) -> None:
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
