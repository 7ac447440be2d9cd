"""Octopush: a campaign is prepared, checked, then sent; and every documented code."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from pydantic import ValidationError

from bot.config.adapter_values import receipt_of
from providers.base import (
    Answer,
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
from providers.http import unreadable
from providers.octopush import BUSY, REFUSALS, SENDER
from providers.reading import UNREADABLE
from sandbox.server import Sandbox
from tests.support.adapters import Adapter, asked, became, message, offline, outcome, told
from tests.support.ground import some_later


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
    126: ("Blocked", "Another campaign is waiting"), 127: ("NotReady", "still busy"),
    128: ("Refused", "too many attempts"),
    129: ("NotReady", "still busy"), 130: ("NotReady", "still busy"), 131: ("Refused", "no longer knows"),
    150: ("Refused", "country"), 151: ("Refused", "country"), 152: ("Refused", "country"),
    153: ("NotReady", "still busy"), 201: ("Refused", "kind of SMS"), 207: ("Refused", "kind of SMS"),
    208: ("Refused", "kind of SMS"), 209: ("Refused", "kind of SMS"), 300: ("Refused", "newsletter"),
    301: ("Refused", "newsletter"), 302: ("Refused", "newsletter"), 303: ("Refused", "the audience newsletter"),
    304: ("Refused", "newsletter"), 305: ("Refused", "newsletter"), 306: ("Refused", "newsletter"),
    308: ("Refused", "newsletter"),
}  # fmt: skip
UNSAID = (0, 100, 118, 120, 125, 500, 501, 999)


@pytest.mark.parametrize("code", some_later(CODES))
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


@pytest.mark.long
@pytest.mark.parametrize("fault", ["reset", "stall", "truncate", "close"])
async def test_an_answer_lost_before_the_send_is_safe_to_ask_again(
    sandbox: Sandbox, adapter: Adapter, fault: str
) -> None:
    sandbox.vendors.faults.add("octopush.create", fault, times=2)
    assert (await outcome(adapter("octopush", timeout=0.5), message("octopush")))[0] == "Unavailable"


@pytest.mark.long
@pytest.mark.parametrize("fault", ["reset", "stall", "truncate", "close"])
async def test_one_lost_answer_of_a_create_is_asked_for_again_with_the_same_request_id(
    sandbox: Sandbox, adapter: Adapter, fault: str
) -> None:
    sandbox.vendors.faults.add("octopush.create", fault)
    patience = 3.0 if fault == "stall" else 30.0
    assert (await outcome(adapter("octopush", timeout=patience), message("octopush")))[0] == "ids"
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
    assert staged is not None
    await provider.check()
    await provider.recall(staged)
    looked, balance, cancel = sandbox.vendors.office.requests[-3:]
    assert (looked.method, looked.path) == ("GET", "/vendors/octopush/sms-campaign-on-list/status")
    assert (looked.query, looked.body) == ({"ticket_number": staged.id}, b"")
    assert (balance.method, balance.path, balance.query) == ("GET", "/vendors/octopush/wallet/check-balance", {})
    assert (cancel.method, cancel.path) == ("DELETE", "/vendors/octopush/sms-campaign-on-list/cancel")
    assert json.loads(cancel.body) == {"ticket_number": staged.id}


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
    "a reply": (
        {"text": "oui", "reception_date": "2021-06-01 12:00:00"},
        ReceiptKind.REPLY,
        DeliveryStatus.OTHER,
        False,
    ),
    "a reply, as the overview has it": (
        {"text": "oui", "answer_date": "2021-06-01 12:00:00"},
        ReceiptKind.REPLY,
        DeliveryStatus.OTHER,
        False,
    ),
    "an opt-out": (
        {"text": "STOP", "stop_date": "2021-06-01 12:00:00"},
        ReceiptKind.OPT_OUT,
        DeliveryStatus.OTHER,
        False,
    ),
}


@pytest.mark.parametrize("case", CALLBACKS)
@pytest.mark.parametrize("content", ["application/json", "application/x-www-form-urlencoded"])
async def test_callbacks_are_told_apart_by_their_fields(adapter: Adapter, case: str, content: str) -> None:
    fields, kind, status, final = CALLBACKS[case]
    fields = {"channel": "sms", "message_id": "sms_1", "number": "+33600000001", **fields}
    body = json.dumps(fields) if "json" in content else urlencode(fields)
    (receipt,) = adapter("octopush").read_callback(Callback(content, body.encode()))
    assert (receipt.id, receipt.recipient, receipt.kind, receipt.status, receipt.final) == (
        "sms_1", "+33600000001", kind, status, final,
    )  # fmt: skip


# --- only documented success is success ------------------------------------------------------------------------------

DATE = "2021-06-01T12:00:00+03:00"
MADE = Staged("sms_1", ready=True, contacts=20)
SENDS: dict[str, tuple[Answer, str]] = {
    "the documented yes": (told(200, {"sending_date": DATE}), "ok"),
    "a yes under another 2xx": (told(202, {"sending_date": DATE}), "ok"),
    "a yes beside a code of zero": (told(200, {"sending_date": DATE, "code": 0}), "ok"),
    "a yes beside a code of zeros": (told(200, {"sending_date": DATE, "code": "000"}), "ok"),
    "a yes beside no code": (told(200, {"sending_date": DATE, "code": None}), "ok"),
    "a yes without its zone": (told(200, {"sending_date": " 2021-06-01 12:00:00 "}), "ok"),
    "a yes in Latin-1": (told(200, f'{{"sending_date": "{DATE}", "message": "envoyé"}}'.encode("latin-1")), "ok"),
    "sent before": (told(200, {"code": 132}), "ok"),
    "sent before, as a text": (told(200, {"code": "133"}), "ok"),
    "sent before, with its date": (told(200, {"code": 132, "sending_date": DATE}), "ok"),
    "no credit": (told(200, {"code": 104, "message": "no credit"}), "Refused"),
    "no credit, as a text": (told(200, {"code": "104"}), "Refused"),
    "no credit, as a float": (told(201, {"code": 104.0}), "Refused"),
    "no credit, and no date": (told(200, {"code": 104, "sending_date": None}), "Refused"),
    "no credit, and a date of zeros": (told(200, {"code": 104, "sending_date": "0000-00-00 00:00:00"}), "Refused"),
    "no credit, in Latin-1": (told(200, '{"code": 104, "message": "crédit épuisé"}'.encode("latin-1")), "Refused"),
    "no mention, in Latin-1 under a 400": (told(400, '{"code": 121, "message": "é"}'.encode("latin-1")), "Refused"),
    "another campaign waits": (told(200, {"code": 126}), "Blocked"),
    "busy": (told(200, {"code": "129"}), "NotReady"),
    "nothing": (told(200, {}), "Uncertain"),
    "no body": (told(204), "Uncertain"),
    "a page": (told(200, "<html>login</html>", "text/html"), "Uncertain"),
    "another list of things": (told(200, [DATE]), "Uncertain"),
    "a code of nobody's": (told(200, {"code": 999}), "Uncertain"),
    "a code in words": (told(200, {"code": "NO_CREDIT"}), "Uncertain"),
    "a date and no credit": (told(200, {"sending_date": DATE, "code": 104}), "Uncertain"),
    "a date and a code of nobody's": (told(200, {"sending_date": DATE, "code": "X"}), "Uncertain"),
    "a date in words": (told(200, {"sending_date": "soon"}), "Uncertain"),
    "a date that is a number": (told(200, {"sending_date": 1622538000}), "Uncertain"),
    "a date that is a yes": (told(200, {"sending_date": True}), "Uncertain"),
    "an empty date": (told(200, {"sending_date": ""}), "Uncertain"),
    "a ticket and no date": (told(200, {"ticket_number": "sms_1"}), "Uncertain"),
    "a date under a redirect": (told(302, {"sending_date": DATE}), "Uncertain"),
    "no credit under a 500": (told(500, {"code": 104}), "Uncertain"),
}


@pytest.mark.parametrize("case", SENDS)
async def test_a_send_is_accepted_refused_or_not_known_by_what_its_answer_says(case: str) -> None:
    """C2: a code of the refusal table is that refusal under any 2xx; with neither date nor code it is not accepted."""
    answer, kind = SENDS[case]
    became_kind, what = await became(offline("octopush", send=answer).release(message("octopush"), MADE))
    assert became_kind == kind, what
    if kind == "ok":
        assert what.ids == ("sms_1",)
    if kind == "Refused":
        assert what.code in ("104", "121")
    assert str(UNREADABLE) not in str(what)


CREATES: dict[str, tuple[Answer, str]] = {
    "the documented ticket": (told(201, {"ticket_number": "sms_1"}), "sms_1"),
    "another 2xx": (told(202, {"ticket_number": " sms_1 "}), "sms_1"),
    "a number": (told(201, {"ticket_number": 4711}), "4711"),
    "a whole float": (told(201, {"ticket_number": 4711.0}), "4711"),
    "a code of zero": (told(201, {"ticket_number": "sms_1", "code": "000"}), "sms_1"),
    "no credit": (told(201, {"code": 104}), "Refused"),
    "no credit, as a text": (told(200, {"code": "104", "ticket_number": None}), "Refused"),
    "another campaign waits": (told(200, {"code": 126}), "Blocked"),
    "the same request again": (told(200, {"code": "120"}), "Blocked"),
    "busy": (told(200, {"code": 127.0}), "NotReady"),
    "nothing": (told(201, {}), "Unavailable"),
    "null": (told(201, {"ticket_number": None}), "Unavailable"),
    "null as a text": (told(201, {"ticket_number": "null"}), "Unavailable"),
    "a list": (told(201, {"ticket_number": ["sms_1"]}), "Unavailable"),
    "too long": (told(201, {"ticket_number": "x" * 256}), "Unavailable"),
    "what does not print": (told(201, {"ticket_number": "sms\n1"}), "Unavailable"),
    "a code of nobody's": (told(201, {"code": 999}), "Unavailable"),
    "a page": (told(200, "<html>", "text/html"), "Unavailable"),
}


@pytest.mark.parametrize("case", CREATES)
async def test_a_campaign_is_made_where_the_answer_names_its_ticket(case: str) -> None:
    answer, wanted = CREATES[case]
    kind, what = await became(offline("octopush", create=answer, status=told(400)).stage(message("octopush")))
    assert (what.id if kind == "ok" else kind) == wanted


async def test_a_campaign_that_is_made_and_refused_at_once_is_refused_and_thrown_away() -> None:
    answer = told(201, {"ticket_number": "sms_1", "code": 104})
    provider = offline("octopush", create=answer, cancel=told(204))
    assert (await became(provider.stage(message("octopush"))))[0] == "Refused"
    assert asked(provider) == ["create", "cancel"]


async def test_a_ticket_beside_another_campaign_waits_may_be_that_campaigns_and_is_left_alone() -> None:
    provider = offline("octopush", create=told(200, {"ticket_number": "sms_1", "code": 126}))
    assert (await became(provider.stage(message("octopush"))))[0] == "Blocked"
    assert asked(provider) == ["create", "draft"]


READY = "ready_to_be_sent"
KNOWN = Staged("sms_1", ready=False)
STATUSES: dict[str, tuple[Answer, Any]] = {
    "as documented": (told(200, {"number_of_contacts": 20, "cost": 2.58, "status": READY}), (20, "2.58")),
    "as texts": (told(200, {"number_of_contacts": "5000", "cost": "645,00", "status": READY}), (5000, "645.00")),
    "in groups": (told(200, {"number_of_contacts": "5 000", "cost": "1 645,50", "status": READY}), (5000, "1645.50")),
    "in other groups": (told(200, {"number_of_contacts": "5.000", "status": READY}), (5000, None)),
    "a whole float": (told(200, {"number_of_contacts": 5e3, "status": READY}), (5000, None)),
    "another 2xx": (told(203, {"number_of_contacts": 20, "status": READY}), (20, None)),
    "another spelling": (told(200, {"number_of_contacts": 20, "status": " Ready_To_Be_Send "}), (20, None)),
    "a code of zero": (told(200, {"number_of_contacts": 20, "status": READY, "code": 0}), (20, None)),
    "nobody": (told(200, {"number_of_contacts": "0", "status": READY}), (0, None)),
    "no number": (told(200, {"cost": 2.58, "status": READY}), (UNREADABLE, "2.58")),
    "null": (told(200, {"number_of_contacts": None, "status": READY}), (UNREADABLE, None)),
    "an empty text": (told(200, {"number_of_contacts": "", "status": READY}), (UNREADABLE, None)),
    "in words": (told(200, {"number_of_contacts": "about 20", "status": READY}), (UNREADABLE, None)),
    "below nobody": (told(200, {"number_of_contacts": -20, "status": READY}), (UNREADABLE, None)),
    "a fraction": (told(200, {"number_of_contacts": 20.5, "status": READY}), (UNREADABLE, None)),
    "no number at all": (
        told(200, '{"number_of_contacts": NaN, "cost": NaN, "status": "ready_to_be_sent"}'),
        (UNREADABLE, None),
    ),
    "a yes": (told(200, {"number_of_contacts": True, "cost": True, "status": READY}), (UNREADABLE, None)),
    "a list": (told(200, {"number_of_contacts": [20], "cost": [2], "status": READY}), (UNREADABLE, None)),
    "more than fits": (told(200, {"number_of_contacts": 10**30, "cost": 10**30, "status": READY}), (UNREADABLE, None)),
    "still computing": (told(200, {"number_of_contacts": 3, "status": "under_computation"}), "not ready"),
    "a word of nobody's": (told(200, {"number_of_contacts": 20, "status": "sleeping"}), "not ready"),
    "no status": (told(200, {"number_of_contacts": 20}), "not ready"),
    "a status of null": (told(200, {"number_of_contacts": 20, "status": None}), "not ready"),
    "busy, under a 200": (told(200, {"code": 130}), "not ready"),
    "busy, under a 400": (told(400, {"code": "130"}), "not ready"),
    "ready and a code of nobody's": (told(200, {"number_of_contacts": 20, "status": READY, "code": 999}), "not ready"),
    "failed": (told(200, {"status": " FAILED "}), "Refused"),
    "no credit, under a 200": (told(200, {"status": READY, "number_of_contacts": 20, "code": 104}), "Refused"),
    "unknown, under a 200": (told(200, {"code": "131"}), "Refused"),
    "a page": (told(200, "<html>", "text/html"), "Unavailable"),
    "nothing": (told(200), "Unavailable"),
    "a list of things": (told(200, [1]), "Unavailable"),
    "a server's trouble": (told(503, {"status": READY, "number_of_contacts": 20}), "Unavailable"),
}


@pytest.mark.parametrize("case", STATUSES)
async def test_what_is_ready_tells_its_size_and_a_size_that_cannot_be_read_is_larger_than_every_bound(
    case: str,
) -> None:
    """C3: 5000 as a string is 5000; what is not a number passes no bound."""
    answer, wanted = STATUSES[case]
    kind, what = await became(offline("octopush", status=answer).stage(message("octopush"), KNOWN))
    if isinstance(wanted, tuple):
        cost = None if wanted[1] is None else Decimal(wanted[1])
        assert (kind, what) == ("ok", Staged("sms_1", True, wanted[0], cost, "EUR"))
    elif wanted == "not ready":
        assert (kind, what) == ("ok", KNOWN)
    else:
        assert kind == wanted, what


@pytest.mark.parametrize("code", [*REFUSALS, *BUSY, 126, 999])
async def test_the_vendors_own_code_is_in_the_error(code: int) -> None:
    _, error = await became(offline("octopush", send=told(400, {"code": code})).release(message("octopush"), KNOWN))
    assert error.code == str(code)


@pytest.mark.parametrize(("status", "kind"), [(302, "Uncertain"), (429, "Throttled"), (500, "Uncertain")])
async def test_the_vendors_own_code_is_kept_where_it_says_nothing_about_the_send(status: int, kind: str) -> None:
    answer = told(status, {"code": 104, "message": "credit"})
    was, error = await became(offline("octopush", send=answer).release(message("octopush"), KNOWN))
    assert (was, error.code) == (kind, "104")


@pytest.mark.parametrize("status", [401, 403])
async def test_a_login_that_is_not_accepted_points_to_its_setting(status: int) -> None:
    kind, error = await became(offline("octopush", send=told(status)).release(message("octopush"), KNOWN))
    assert (kind, error.setting) == ("Refused", "api_key")


async def test_an_answer_that_says_nothing_is_described_for_the_log() -> None:
    answer = told(400, "<html>oops</html>", "text/html")
    kind, error = await became(offline("octopush", send=answer).release(message("octopush"), KNOWN))
    assert (kind, error.detail) == ("Uncertain", unreadable(answer).detail)
    assert "400" in error.detail


async def test_a_refusal_at_the_status_names_the_audience() -> None:
    refused = (await became(offline("octopush", status=told(400, {"code": 303})).stage(message("octopush"), KNOWN)))[1]
    assert str(refused) == "Octopush does not know the audience newsletter."


async def test_a_quote_is_asked_about_at_once_and_then_ever_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def slept(pause: float) -> None:
        pauses.append(pause)

    monkeypatch.setattr("providers.octopush.asyncio.sleep", slept)
    computing = told(200, {"number_of_contacts": 3, "status": "under_computation"})
    answers = {"create": told(201, {"ticket_number": "sms_1"}), "status": computing, "cancel": told(204)}
    provider = offline("octopush", settings={"quote": True}, **answers)
    assert (await became(provider.quote(message("octopush"))))[0] == "ok"
    assert (pauses[0], pauses == sorted(pauses), 10 <= sum(pauses) <= 20) == (0, True, True)
    assert len(set(pauses)) == len(pauses) == asked(provider).count("status")


async def test_a_quote_that_is_not_ready_in_time_tells_no_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("providers.octopush.QUOTE_PAUSES", (0, 0))
    computing = told(200, {"number_of_contacts": 3, "status": "under_computation"})
    answers = {"create": told(201, {"ticket_number": "sms_1"}), "status": computing, "cancel": told(204)}
    provider = offline("octopush", settings={"quote": True}, **answers)
    quote = await provider.quote(message("octopush"))
    assert quote is not None
    assert quote.contacts is None
    unread = told(200, {"number_of_contacts": "?", "status": READY, "cost": "2,58"})
    quote = await offline("octopush", settings={"quote": True}, **{**answers, "status": unread}).quote(
        message("octopush")
    )
    assert quote is not None
    assert (quote.contacts, quote.cost) == (UNREADABLE, Decimal("2.58"))


CANCELS: dict[str, tuple[Answer, str]] = {
    "as documented": (told(204), "ok"),
    "not known any more": (told(400, {"code": 131}), "ok"),
    "not known any more, under a 200": (told(200, {"code": "131"}), "ok"),
    "sent before, under a 200": (told(200, {"code": 132}), "ok"),
    "no key, under a 200": (told(200, {"code": 101}), "Refused"),
    "nothing that is documented": (told(200, {}), "Unavailable"),
    "a code of nobody's": (told(200, {"code": 999}), "Unavailable"),
    "a page": (told(200, "<html>", "text/html"), "Unavailable"),
    "a server's trouble": (told(502), "Unavailable"),
    "busy": (told(200, {"code": 127}), "NotReady"),
}


@pytest.mark.parametrize("case", CANCELS)
async def test_a_campaign_is_thrown_away_where_the_vendor_says_so(case: str) -> None:
    answer, kind = CANCELS[case]
    assert (await became(offline("octopush", cancel=answer).recall(MADE)))[0] == kind


WAITS = "Another campaign is waiting at Octopush. Somebody must send or cancel it there first."
DRAFTS: dict[str, tuple[Answer, str]] = {
    "as documented": (
        told(200, {"ticket_number": "sms_9", "number_of_contacts": 20, "total_cost": 2.58, "code": 0}),
        "sms_9, 20 contacts, cost 2.58",
    ),
    "as texts": (
        told(200, {"ticket_number": 9, "number_of_contacts": "5 000", "total_cost": "645,00", "code": "000"}),
        "9, 5000 contacts, cost 645.00",
    ),
    "for nothing": (told(200, {"ticket_number": "sms_9", "number_of_contacts": 1, "total_cost": 0}), "cost 0."),
    "no cost": (told(200, {"ticket_number": "sms_9", "number_of_contacts": 1, "total_cost": "?"}), "cost ?."),
    "no size": (told(200, {"ticket_number": "sms_9"}), WAITS),
    "no ticket": (told(200, {"ticket_number": None, "number_of_contacts": 20}), WAITS),
    "a refusal": (told(200, {"code": 131, "ticket_number": "sms_9", "number_of_contacts": 20}), WAITS),
    "a page": (told(200, "<html>"), WAITS),
    "too fast": (told(429), WAITS),
}


@pytest.mark.parametrize("case", DRAFTS)
async def test_the_campaign_that_waits_is_shown_where_it_can_be_read(case: str) -> None:
    answer, wanted = DRAFTS[case]
    provider = offline("octopush", create=told(400, {"code": 126}), draft=answer)
    kind, what = await became(provider.stage(message("octopush")))
    assert kind == "Blocked"
    assert wanted in str(what)
    assert str(UNREADABLE) not in str(what)


BALANCES: dict[str, tuple[Answer, str | None]] = {
    "as documented": (told(200, {"amount": 12.54, "unit": "euros"}), "12.54"),
    "as a text": (told(200, {"amount": "1 012,54", "unit": "euros"}), "1012.54"),
    "overdrawn": (told(200, {"amount": -3.2}), "-3.2"),
    "no key, under a 200": (told(200, {"code": 101}), "Refused"),
    "no amount": (told(200, {"unit": "euros"}), "Unavailable"),
    "a page": (told(200, "<html>"), "Unavailable"),
    "nothing": (told(204), "Unavailable"),
}


@pytest.mark.parametrize("case", BALANCES)
async def test_an_account_works_where_its_balance_can_be_read(case: str) -> None:
    answer, wanted = BALANCES[case]
    kind, what = await became(offline("octopush", **{"check-balance": answer}).check())
    assert (str(what.credit) if kind == "ok" else kind) == wanted


LOOKS: dict[str, tuple[Answer, bool]] = {
    "sent, under a 400": (told(400, {"code": 132}), True),
    "sent, under a 200": (told(200, {"code": "132"}), True),
    "ready": (told(200, {"status": READY, "number_of_contacts": 20}), False),
    "a redirect": (told(301, {"code": 132}), False),
    "a page": (told(200, "<html>132</html>"), False),
}


@pytest.mark.parametrize("case", LOOKS)
async def test_only_the_vendors_own_word_proves_that_it_was_sent(case: str) -> None:
    answer, sent = LOOKS[case]
    evidence = await offline("octopush", status=answer).look_up(message("octopush"), MADE, ())
    assert evidence.sent is sent


# --- callbacks -------------------------------------------------------------------------------------------------------

NULLS: list[Any] = [
    None,
    "",
    " ",
    "null",
    "None",
    False,
    0,
    "0000-00-00 00:00:00",
    "1970-01-01 00:00:00",
    [],
    "N/A",
    "no",
]


@pytest.mark.parametrize("null", NULLS)
@pytest.mark.parametrize("content", ["application/json", "application/x-www-form-urlencoded"])
async def test_a_delivery_with_null_dates_is_a_delivery(null: Any, content: str) -> None:
    """C12: a date field that holds nothing counts as missing."""
    fields = {"message_id": "sms_1", "number": "+33600000001", "status": "DELIVERED", "delivery_date": "2021-06-01"}
    fields |= {"stop_date": null, "reception_date": null, "answer_date": null}
    body = (
        json.dumps(fields) if "json" in content else urlencode({k: "" if v is None else v for k, v in fields.items()})
    )
    (receipt,) = offline("octopush").read_callback(Callback(content, body.encode()))
    assert (receipt.kind, receipt.status, receipt.final) == (ReceiptKind.DELIVERY, DeliveryStatus.DELIVERED, True)


@pytest.mark.parametrize("null", NULLS)
async def test_an_opt_out_and_a_reply_beside_null_dates_are_what_they_are(null: Any) -> None:
    def read(**fields: Any) -> list[Any]:
        body = json.dumps({"message_id": "sms_1", "number": "+336", "text": "STOP", "delivery_date": null, **fields})
        return [one.kind for one in offline("octopush").read_callback(Callback("application/json", body.encode()))]

    assert read(stop_date="2021-06-01 12:00:00", reception_date=null, status=null) == [ReceiptKind.OPT_OUT]
    assert read(stop_date=null, reception_date="2021-06-01 12:00:00", status=null) == [ReceiptKind.REPLY]
    assert read(stop_date=null, reception_date=null, answer_date="2021-06-01 12:00:00") == [ReceiptKind.REPLY]
    assert read(stop_date="2021-06-01", status="DELIVERED") == [ReceiptKind.OPT_OUT]


async def test_a_delivery_and_an_opt_out_in_one_callback_are_both_heard() -> None:
    fields = {"message_id": "sms_1", "number": "+336", "status": "DELIVERED", "delivery_date": "2021-06-01 12:00:00"}
    body = json.dumps({**fields, "stop_date": "2021-06-01 12:01:00"}).encode()
    kinds = [one.kind for one in offline("octopush").read_callback(Callback("application/json", body))]
    assert kinds == [ReceiptKind.OPT_OUT, ReceiptKind.DELIVERY]


SAY_NOTHING: list[dict[str, Any]] = [
    {},
    {"status": "DELIVERED"},
    {"message_id": "sms_1"},
    {"message_id": "null", "status": "ACK"},
    {"message_id": "sms_1", "status": None},
    {"message_id": ["sms_1"], "status": "DELIVERED"},
    {"message_id": {"id": "sms_1"}, "status": "DELIVERED"},
]


@pytest.mark.parametrize("fields", SAY_NOTHING)
async def test_a_callback_that_says_nothing_is_a_value_error(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no ticket or no status"):
        offline("octopush").read_callback(Callback("application/json", json.dumps(fields).encode()))


@pytest.mark.parametrize("ticket", [4711, 4711.0, "4711", " 4711", "4711\n"])
@pytest.mark.parametrize("word", ["BLACKLISTED_NUMBER", " Blacklisted_number ", "blacklisted_number\r\n"])
async def test_tickets_and_words_are_one_however_they_are_written(ticket: Any, word: str) -> None:
    """C13: both are trimmed, words are upper-cased, and a number equals its text."""
    body = json.dumps({"message_id": ticket, "number": " 33600000001", "status": word}).encode()
    (receipt,) = offline("octopush").read_callback(Callback("application/json", body))
    assert (receipt.id, receipt.word, receipt.status) == ("4711", "BLACKLISTED_NUMBER", DeliveryStatus.BLACKLISTED)


@pytest.mark.parametrize("word", ["NOT_DELIVERED", "NOT DELIVERED", "Not-Delivered", " not - delivered"])
async def test_a_status_of_two_words_is_one_whatever_stands_between_them(word: str) -> None:
    body = json.dumps({"message_id": "sms_1", "number": "33600000001", "status": word}).encode()
    (receipt,) = offline("octopush").read_callback(Callback("application/json", body))
    assert (receipt.status, receipt.final) == (DeliveryStatus.FAILED, True)


@pytest.mark.parametrize("missing", [{"login": ""}, {"api_key": ""}, {"type": "sms"}])
def test_an_account_without_its_keys_is_none(missing: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        offline("octopush", settings=missing)


# --- the sender ID ---------------------------------------------------------------------------------------------------

SENDERS = {
    "Bell": True, "BELL2026": True, "2bell": True, "a12": True, "12345678901": False, "36111": False,
    "0612345678": False, "ab": False, "abcdefghijkl": False, "Bell 1": False, "Bell-1": False, "Bëll": False,
    "１２３": False, "Bell\n": False,
}  # fmt: skip


@pytest.mark.parametrize("sender", SENDERS)
def test_a_sender_id_has_a_letter(sender: str) -> None:
    """C20: a number is not a sender ID, neither in the settings nor in a request."""
    assert (re.fullmatch(SENDER, sender) is not None) is SENDERS[sender]
    if SENDERS[sender]:
        assert offline("octopush", settings={"sender": sender})
    else:
        with pytest.raises(ValidationError, match="at least one of them a letter"):
            offline("octopush", settings={"sender": sender})


@pytest.mark.parametrize("date", ["stop_date", "reception_date"])
async def test_an_answer_to_a_message_that_the_vendor_does_not_find_is_heard_all_the_same(date: str) -> None:
    body = json.dumps({"number": "+336", "text": "STOP", date: "2021-06-01 12:00:00", "message_id": None}).encode()
    (receipt,) = offline("octopush").read_callback(Callback("application/json", body))
    assert receipt.id == ""
    assert receipt_of(receipt) == receipt
    assert receipt_of(replace(receipt, kind=ReceiptKind.DELIVERY)) is None
