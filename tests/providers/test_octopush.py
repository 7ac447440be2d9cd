"""Octopush: prepared, looked at, then sent; and every documented code."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from providers.base import (
    Audience,
    AudienceKind,
    Callback,
    DeliveryStatus,
    NotReady,
    ProviderError,
    Purpose,
    ReceiptKind,
    Refused,
    Staged,
    Throttled,
    Unavailable,
    open_for_quote,
)
from sandbox.server import Sandbox
from tests.providers.conftest import Adapter, message, outcome


async def test_the_requests_are_the_documented_ones_and_say_everything(sandbox: Sandbox, adapter: Adapter) -> None:
    await outcome(adapter("octopush"), message("octopush"))
    seen = sandbox.vendors.office.requests
    assert (seen[0].method, seen[0].path) == ("POST", "/vendors/octopush/sms-campaign-on-list/create")
    assert json.loads(seen[0].body) == {
        "list_name": "newsletter",
        "text": "Soldes demain STOP au 30101",
        "type": "sms_premium",
        "purpose": "wholesale",
        "sender": "Bell",
        "with_replies": False,
        "auto_optimize_text": False,
        "auto_remove_blacklisted_numbers": True,
        "request_id": "B234567-1-1",
    }
    assert (seen[0].headers["api-login"], seen[0].headers["api-key"]) == ("sandbox@example.org", "sandbox-octopush-key")
    assert {(one.method, one.path.rsplit("/", 1)[1]) for one in seen[1:-1]} == {("GET", "status")}
    assert (seen[-1].method, seen[-1].path) == ("POST", "/vendors/octopush/sms-campaign-on-list/send")
    assert json.loads(seen[-1].body) == {"ticket_number": sandbox.vendors.ledger[0].ids[0]}


async def test_a_tag_goes_by_its_own_path_and_transactional_is_alert(sandbox: Sandbox, adapter: Adapter) -> None:
    tag = Audience(AudienceKind.TAG, "vip")
    await outcome(adapter("octopush"), message("octopush", audience=tag, purpose=Purpose.TRANSACTIONAL))
    first, *_, last = sandbox.vendors.office.requests
    fields = json.loads(first.body)
    assert (fields["tag_name"], fields["purpose"]) == ("vip", "alert")
    assert "list_name" not in fields
    assert last.path.endswith("/sms-campaign-on-tag/send")


@pytest.mark.parametrize("word", ["ready_to_be_sent", "ready_to_be_send"])
async def test_both_spellings_of_ready_count_and_tell_size_and_cost(
    sandbox: Sandbox, adapter: Adapter, word: str
) -> None:
    sandbox.vendors.octopush.ready_word = word
    sandbox.vendors.octopush.computing = 0
    staged = await adapter("octopush").stage(message("octopush"))
    assert staged is not None
    assert (staged.ready, staged.contacts, staged.cost, staged.currency) == (True, 20, Decimal("2.58"), "EUR")
    assert sandbox.vendors.ledger == []


async def test_a_campaign_that_still_computes_is_asked_about_again_and_made_once(
    sandbox: Sandbox, adapter: Adapter
) -> None:
    provider = adapter("octopush")
    first = await provider.stage(message("octopush"))
    assert first is not None
    assert not first.ready
    assert (await outcome(provider, message("octopush", dispatch="B765432-1-1")))[0] == "NotReady"  # one at a time
    while not first.ready:
        again = await provider.stage(message("octopush"), first)
        assert again is not None
        assert again.id == first.id
        first = again
    await provider.recall(first)
    assert sandbox.vendors.ledger == []
    assert (await outcome(provider, message("octopush", dispatch="B234567-1-2")))[0] == "ids"


@pytest.mark.parametrize("code", [131, 132, 133])
async def test_recalling_what_is_gone_is_fine(sandbox: Sandbox, adapter: Adapter, code: int) -> None:
    sandbox.vendors.faults.add("octopush.cancel", "error", status=400, body={"code": code})
    await adapter("octopush").recall(Staged("sms_nobody"))


@pytest.mark.parametrize("fault", ["stall", "reset", "close", 429, 500, 503, 302, 401, 127, 999])
async def test_a_recall_that_the_vendor_did_not_confirm_is_no_recall(
    sandbox: Sandbox, adapter: Adapter, fault: str | int
) -> None:
    if isinstance(fault, str):
        sandbox.vendors.faults.add("octopush.cancel", fault)
    elif fault in (429, 500, 503, 302, 401):
        sandbox.vendors.faults.add("octopush.cancel", "error", status=fault)
    else:
        sandbox.vendors.faults.add("octopush.cancel", "error", status=400, body={"code": fault})
    with pytest.raises((Refused, Throttled, Unavailable, NotReady)):
        await adapter("octopush", timeout=0.5).recall(Staged("sms_1"))


CODES: dict[int, tuple[str, str]] = {
    101: ("Refused", "login and key"), 102: ("Refused", "too long"), 103: ("Refused", "no valid recipient"),
    104: ("Refused", "no credit left"), 105: ("Refused", "not enough credit"), 106: ("Refused", "sender ID"),
    107: ("Refused", "text is missing"), 108: ("Refused", "login and key"), 109: ("Refused", "login and key"),
    110: ("Refused", "no valid recipient"), 111: ("Refused", "no valid recipient"), 112: ("Refused", "type of SMS"),
    113: ("Refused", "not validated this account"), 114: ("Refused", "not validated this account"),
    115: ("Refused", "fields of this text"), 116: ("Refused", "fields of this text"),
    117: ("Refused", "no valid recipient"), 119: ("Refused", "too long"), 121: ("Refused", "STOP mention is missing"),
    122: ("Refused", "forbids advertising"), 123: ("Refused", "signature"), 124: ("Refused", "signature"),
    126: ("Blocked", "Another campaign waits"), 127: ("NotReady", "still busy"), 128: ("Refused", "too many attempts"),
    129: ("NotReady", "still busy"), 130: ("NotReady", "still busy"), 131: ("Refused", "any more"),
    150: ("Refused", "country"), 151: ("Refused", "country"), 152: ("Refused", "country"),
    153: ("NotReady", "still busy"), 201: ("Refused", "kind of SMS"), 207: ("Refused", "kind of SMS"),
    208: ("Refused", "kind of SMS"), 209: ("Refused", "kind of SMS"), 300: ("Refused", "newsletter"),
    301: ("Refused", "newsletter"), 302: ("Refused", "newsletter"), 303: ("Refused", "the audience newsletter"),
    304: ("Refused", "newsletter"), 305: ("Refused", "newsletter"), 306: ("Refused", "newsletter"),
    308: ("Refused", "newsletter"),
}  # fmt: skip
UNSAID = (0, 100, 118, 120, 125, 500, 501, 999)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("step", ["create", "release"])
async def test_a_code_says_the_same_at_either_step(sandbox: Sandbox, adapter: Adapter, code: int, step: str) -> None:
    sandbox.vendors.octopush.computing = 0
    sandbox.vendors.faults.add(f"octopush.{step}", "error", status=400, body={"code": code, "message": "quelconque"})
    kind, told = await outcome(adapter("octopush"), message("octopush"))
    assert (kind, CODES[code][1] in told) == (CODES[code][0], True), told
    assert sandbox.vendors.ledger == []


@pytest.mark.parametrize("code", UNSAID)
async def test_a_code_that_says_nothing_is_harmless_before_the_send_and_uncertain_at_it(
    sandbox: Sandbox, adapter: Adapter, code: int
) -> None:
    sandbox.vendors.octopush.computing = 0
    sandbox.vendors.faults.add("octopush.create", "error", times=2, status=400, body={"code": code})
    kind = (await outcome(adapter("octopush"), message("octopush")))[0]
    assert kind == ("Blocked" if code == 120 else "Unavailable")
    sandbox.vendors.faults.clear()
    sandbox.vendors.faults.add("octopush.release", "error", status=400, body={"code": code})
    assert (await outcome(adapter("octopush"), message("octopush", dispatch="B234567-1-2")))[0] == "Uncertain"


@pytest.mark.parametrize("code", [132, 133])
async def test_already_sent_is_sent(sandbox: Sandbox, adapter: Adapter, code: int) -> None:
    sandbox.vendors.faults.add("octopush.release", "error", status=400, body={"code": code}, accept=True)
    assert (await outcome(adapter("octopush"), message("octopush")))[0] == "ids"
    assert len(sandbox.vendors.ledger) == 1


@pytest.mark.parametrize("code", [132, 133])
async def test_one_that_was_sent_by_hand_is_ready_and_keeps_what_was_known_of_it(
    sandbox: Sandbox, adapter: Adapter, code: int
) -> None:
    sandbox.vendors.faults.add("octopush.status", "error", status=400, body={"code": code})
    known = Staged("sms_1", ready=False, contacts=20, cost=Decimal("2.58"), currency="EUR")
    assert await adapter("octopush").stage(message("octopush"), known) == replace(known, ready=True)


@pytest.mark.parametrize("trouble", [{"status": 500}, {"status": 429}, {"status": 400, "body": {"code": 104}}])
async def test_a_campaign_whose_first_status_is_trouble_is_told_all_the_same(
    sandbox: Sandbox, adapter: Adapter, trouble: dict[str, Any]
) -> None:
    sandbox.vendors.faults.add("octopush.status", "error", **trouble)
    made = await adapter("octopush").stage(message("octopush"))
    (ticket,) = sandbox.vendors.octopush.campaigns
    assert made == Staged(ticket, ready=False)


@pytest.mark.parametrize("fault", ["reset", "stall", "truncate", "close"])
async def test_an_answer_lost_before_the_send_is_safe_to_ask_again(
    sandbox: Sandbox, adapter: Adapter, fault: str
) -> None:
    sandbox.vendors.faults.add("octopush.create", fault, times=2)
    assert (await outcome(adapter("octopush", timeout=0.5), message("octopush")))[0] == "Unavailable"


@pytest.mark.parametrize("fault", ["reset", "stall", "truncate", "close"])
async def test_one_lost_answer_of_a_create_is_asked_for_again_with_the_same_request_id(
    sandbox: Sandbox, adapter: Adapter, fault: str
) -> None:
    sandbox.vendors.faults.add("octopush.create", fault)
    assert (await outcome(adapter("octopush", timeout=0.5), message("octopush")))[0] == "ids"
    creates = [json.loads(seen.body) for seen in sandbox.vendors.office.requests if seen.path.endswith("/create")]
    assert len(creates) == 2
    assert creates[0] == creates[1]
    assert len(sandbox.vendors.ledger) == 1


async def test_a_draft_that_may_be_ours_is_shown_and_left_alone(sandbox: Sandbox, adapter: Adapter) -> None:
    sandbox.vendors.octopush.computing = 0
    sandbox.vendors.faults.add("octopush.create", "reset", accept=True)
    kind, told = await outcome(adapter("octopush"), message("octopush"))
    (campaign,) = sandbox.vendors.octopush.campaigns.values()
    assert (kind, campaign.state) == ("Blocked", "open")
    assert f"{campaign.ticket}, 20 contacts, cost 2.58" in told
    assert sandbox.vendors.ledger == []


async def test_after_a_lost_answer_the_status_is_shown_and_proves_nothing(sandbox: Sandbox, adapter: Adapter) -> None:
    sandbox.vendors.octopush.computing = 0
    provider = adapter("octopush")
    staged = await provider.stage(message("octopush"))
    evidence = await provider.look_up(message("octopush"), staged, ())
    assert (evidence.sent, "proves nothing" in evidence.sentence) == (False, True)


@pytest.mark.parametrize("status", [401, 403])
async def test_wrong_keys_name_the_setting(sandbox: Sandbox, adapter: Adapter, status: int) -> None:
    with pytest.raises(ProviderError) as refused:
        await adapter("octopush", api_key="another-key").check()
    assert refused.value.setting == "api_key"
    sandbox.vendors.faults.add("octopush.create", "error", status=status)
    assert (await outcome(adapter("octopush"), message("octopush")))[0] == "Refused"


async def test_the_balance_is_read(sandbox: Sandbox, adapter: Adapter) -> None:
    found = await adapter("octopush").check()
    assert (found.credit, found.unit) == (Decimal("1000.0"), "euros")


async def test_a_quote_is_made_and_thrown_away_where_the_account_allows_it(sandbox: Sandbox, adapter: Adapter) -> None:
    sandbox.vendors.octopush.computing = 0
    assert await adapter("octopush").quote(message("octopush")) is None
    quote = await adapter("octopush", quote=True).quote(message("octopush"))
    assert quote is not None
    assert quote.contacts == 20
    assert [sending.what for sending in sandbox.vendors.octopush.sendings.values()] == ["cancelled"]


async def test_whoever_listens_is_told_of_a_quotes_campaign_before_it_is_computed_and_throws_it_away(
    sandbox: Sandbox, adapter: Adapter
) -> None:
    told: list[tuple[Staged, list[str]]] = []

    async def listen(staged: Staged) -> None:
        told.append((staged, [seen.path.rsplit("/", 1)[1] for seen in sandbox.vendors.office.requests]))

    token = open_for_quote.set(listen)
    quote = await adapter("octopush", quote=True).quote(message("octopush"))
    open_for_quote.reset(token)
    assert quote is not None
    assert quote.contacts == 20
    (campaign,) = sandbox.vendors.octopush.campaigns.values()
    assert (told, campaign.state) == ([(Staged(campaign.ticket, ready=False), ["create"])], "open")


CALLBACKS: dict[str, tuple[dict[str, Any], ReceiptKind, DeliveryStatus, bool]] = {
    "delivered": ({"status": "DELIVERED", "delivery_date": "x"}, ReceiptKind.DELIVERY, DeliveryStatus.DELIVERED, True),
    "on its way": ({"status": "ACK"}, ReceiptKind.DELIVERY, DeliveryStatus.SENT, False),
    "not delivered": ({"status": "NOT_DELIVERED"}, ReceiptKind.DELIVERY, DeliveryStatus.FAILED, True),
    "not allowed": ({"status": "NOT_ALLOWED"}, ReceiptKind.DELIVERY, DeliveryStatus.FAILED, True),
    "no such number": ({"status": "BAD_DESTINATION"}, ReceiptKind.DELIVERY, DeliveryStatus.FAILED, True),
    "opted out before": ({"status": "BLACKLISTED_NUMBER"}, ReceiptKind.DELIVERY, DeliveryStatus.BLACKLISTED, True),
    "nobody knows": ({"status": "UNKNOWN_DELIVERY"}, ReceiptKind.DELIVERY, DeliveryStatus.OTHER, False),
    "undefined": ({"status": "UNDEFINED"}, ReceiptKind.DELIVERY, DeliveryStatus.OTHER, False),
    "a new word": ({"status": "TELEPORTED"}, ReceiptKind.DELIVERY, DeliveryStatus.OTHER, False),
    "a reply": ({"text": "oui", "reception_date": "x"}, ReceiptKind.REPLY, DeliveryStatus.OTHER, False),
    "a reply, as the overview has it": (
        {"text": "oui", "answer_date": "x"},
        ReceiptKind.REPLY,
        DeliveryStatus.OTHER,
        False,
    ),
    "an opt-out": ({"text": "STOP", "stop_date": "x"}, ReceiptKind.OPT_OUT, DeliveryStatus.OTHER, False),
}


@pytest.mark.parametrize("case", CALLBACKS)
@pytest.mark.parametrize("content", ["application/json", "application/x-www-form-urlencoded"])
async def test_callbacks_are_told_apart_by_their_fields(adapter: Adapter, case: str, content: str) -> None:
    from urllib.parse import urlencode

    fields, kind, status, final = CALLBACKS[case]
    fields = {"channel": "sms", "message_id": "sms_1", "number": "+33600000001", **fields}
    body = json.dumps(fields) if "json" in content else urlencode(fields)
    (receipt,) = adapter("octopush").read_callback(Callback(content, body.encode()))
    assert (receipt.id, receipt.recipient, receipt.kind, receipt.status, receipt.final) == (
        "sms_1", "+33600000001", kind, status, final,
    )  # fmt: skip
