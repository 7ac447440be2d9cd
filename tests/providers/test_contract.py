"""What is true of every vendor in the registry, and of the connection to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
import traceback
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from providers.base import (
    AccountSettings,
    Answer,
    Callback,
    ProviderError,
    Purpose,
    Receipts,
    Staged,
    Unavailable,
    Uncertain,
    last_moment,
)
from providers.http import BODY_CAP, Http, encode
from providers.reading import UNREADABLE
from providers.registry import providers
from sandbox.server import Sandbox
from tests.support.adapters import ACCOUNTS, Adapter, became, message, offline, outcome, told
from tests.support.ground import free_port, some_later

VENDORS = sorted(ACCOUNTS)
STEPS = {"encom": "release", "octopush": "release", "kaizala": "release"}


def test_every_vendor_is_tried_here() -> None:
    assert sorted(providers()) == VENDORS


@pytest.mark.parametrize("vendor", VENDORS)
def test_what_a_vendor_says_it_can_it_has_written(vendor: str) -> None:
    kind, able = providers()[vendor], providers()[vendor].capabilities
    written = vars(kind)
    claims = {
        "stage": able.two_step,
        "recall": able.recalls_staged,
        "poll": able.polls,
        "read_callback": able.receipts is not Receipts.NONE,
        "audiences": able.discovers,
        "size": able.sizes,
        "quote": able.quotes,
    }
    assert {name for name, claimed in claims.items() if claimed} == claims.keys() & written.keys()
    assert able.audiences
    assert issubclass(kind.Settings, AccountSettings)


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("blank", ["", "   ", "changeme", "your-key", "xxxx"])
def test_a_blank_or_example_secret_is_refused_without_being_told(vendor: str, blank: str) -> None:
    kind = providers()[vendor]
    secret = next(name for name, field in kind.Settings.model_fields.items() if "SecretStr" in str(field.annotation))
    raw = {"provider": vendor, "base_url": "https://vendor.example", **ACCOUNTS[vendor], secret: blank}
    with pytest.raises(ValidationError) as refused:
        kind.Settings.model_validate(raw)
    assert [error["loc"] for error in refused.value.errors()] == [(secret,)]


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_send_is_accepted_once_with_the_vendors_ids(sandbox: Sandbox, adapter: Adapter, vendor: str) -> None:
    kind, ids = await outcome(adapter(vendor), message(vendor))
    (accepted,) = sandbox.vendors.ledger
    assert (kind, ids) == ("ids", accepted.ids)
    assert accepted.text == message(vendor).text


BROKEN: dict[str, tuple[str, dict[str, Any], int]] = {
    "stalls before accepting": ("stall", {}, 0),
    "stalls after accepting": ("stall", {"accept": True}, 1),
    "resets before": ("reset", {}, 0),
    "resets after": ("reset", {"accept": True}, 1),
    "closes": ("close", {"accept": True}, 1),
    "cuts the answer short": ("truncate", {"accept": True}, 1),
    "drips for ever": ("drip", {"accept": True}, 1),
    "answers ten megabytes": ("big", {"accept": True}, 1),
    "answers HTML": ("answer", {"body": "<html>", "type": "text/html", "accept": True}, 1),
    "answers nothing": ("answer", {"body": "", "accept": True}, 1),
    "answers a list": ("answer", {"body": "[1]", "accept": True}, 1),
    "answers null": ("answer", {"body": "null", "accept": True}, 1),
    "answers in another encoding": ("answer", {"body": '{"é": 1}', "encoding": "latin-1", "accept": True}, 1),
    "answers 500": ("error", {"status": 500, "accept": True}, 1),
    "answers 502": ("error", {"status": 502, "accept": True}, 1),
    "answers 503": ("error", {"status": 503}, 0),
    "answers 504": ("error", {"status": 504, "accept": True}, 1),
    "redirects 301": ("redirect", {"status": 301, "location": "http://127.0.0.1:9/"}, 0),
    "redirects 302": ("redirect", {"status": 302, "location": "https://evil.example/"}, 0),
    "redirects 307": ("redirect", {"status": 307, "location": "http://127.0.0.1:9/"}, 0),
    "redirects 308 elsewhere": ("redirect", {"status": 308, "location": "https://evil.example/v1/groups"}, 0),
    "answers a status of its own": ("error", {"status": 418}, 0),
}


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("case", some_later(sorted(BROKEN, key=lambda case: BROKEN[case][0] == "stall"), of=4))
async def test_a_release_whose_end_is_not_known_is_uncertain(
    sandbox: Sandbox, adapter: Adapter, vendor: str, case: str
) -> None:
    kind, detail, rang = BROKEN[case]
    sandbox.vendors.faults.add(f"{vendor}.{STEPS[vendor]}", kind, **detail)
    provider = adapter(vendor, timeout=2.0 if kind in ("stall", "drip") else 30.0)
    assert (await outcome(provider, message(vendor)))[0] == "Uncertain"
    assert len(sandbox.vendors.ledger) == rang
    released = [seen for seen in sandbox.vendors.office.requests if re.search(r"send$|[mM]essages?$", seen.path)]
    assert len(released) == 1


NEVER_LEFT = ("http://127.0.0.1:{port}", "http://no-such-host.invalid", "https://127.0.0.1:{tls}")


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("address", NEVER_LEFT)
async def test_a_vendor_that_was_not_reached_may_be_asked_again(
    sandbox: Sandbox, adapter: Adapter, vendor: str, address: str
) -> None:
    base = address.format(port=free_port(), tls=sandbox.port)
    assert (await outcome(adapter(vendor, base_url=base), message(vendor)))[0] == "Unavailable"


async def test_a_certificate_that_is_not_trusted_stops_it_before_a_byte_leaves() -> None:
    heard: list[bytes] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            heard.append(await reader.read(10))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    transport = Http(f"https://127.0.0.1:{port}", 2.0, 100, allow_private_hosts=True)
    with pytest.raises(Unavailable):
        await transport.call("POST", "send", json={"text": "x"}, release=True)
    server.close()
    assert b"POST" not in b"".join(heard)


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(("asked", "wait"), [("7", 7), (None, 30), ("soon", 30), ("0", 1), ("999999", 300), ("-5", 30)])
async def test_too_fast_is_told_with_the_wait_and_nothing_was_sent(
    sandbox: Sandbox, adapter: Adapter, vendor: str, asked: str | None, wait: float
) -> None:
    headers = {} if asked is None else {"Retry-After": asked}
    sandbox.vendors.faults.add(f"{vendor}.{STEPS[vendor]}", "error", status=429, headers=headers)
    provider = adapter(vendor)
    staged = await provider.stage(message(vendor))
    while staged is not None and not staged.ready:
        staged = await provider.stage(message(vendor), staged)
    with pytest.raises(ProviderError) as told:
        await provider.release(message(vendor), staged)
    assert type(told.value).__name__ == "Throttled"
    assert getattr(told.value, "wait", None) == wait
    assert sandbox.vendors.ledger == []


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_release_that_is_called_off_at_the_last_moment_sends_no_byte(
    sandbox: Sandbox, adapter: Adapter, vendor: str
) -> None:
    def called_off() -> None:
        raise Unavailable("Called off.")

    token = last_moment.set(called_off)
    try:
        assert await outcome(adapter(vendor), message(vendor)) == ("Unavailable", "Called off.")
    finally:
        last_moment.reset(token)
    assert sandbox.vendors.ledger == []


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("case", ["resets after", "answers HTML", "answers 500", "redirects 302"])
async def test_no_error_shows_a_secret_a_number_or_the_text(
    sandbox: Sandbox, adapter: Adapter, vendor: str, case: str
) -> None:
    kind, detail, _ = BROKEN[case]
    sandbox.vendors.faults.add(f"{vendor}.{STEPS[vendor]}", kind, **detail)
    sent = message(vendor, "CANARYTEXT", callback_url="https://bell.example/callbacks/x/CANARYTOKEN")
    provider = adapter(vendor)
    staged = await provider.stage(sent)
    while staged is not None and not staged.ready:
        staged = await provider.stage(sent, staged)
    with pytest.raises(ProviderError) as told:
        await provider.release(sent, staged)
    shown = "".join(traceback.format_exception(told.value)) + told.value.detail + repr(told.value)
    for secret in ("CANARYTEXT", "CANARYTOKEN", "CL3578", "sandbox-", "sandbox@"):
        assert secret not in shown.replace("sandbox-refresh-", "")


async def test_proxies_of_the_environment_are_not_used(
    sandbox: Sandbox, adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await outcome(adapter("encom"), message("encom")))[0] == "ids"


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("http://vendor.example", False),
        ("https://vendor.example", True),
        ("https://127.0.0.1", False),
        ("https://10.0.0.1", False),
        ("https://169.254.169.254", False),
        ("https://[::1]", False),
        ("https://localhost", False),
        ("ftp://vendor.example", False),
        ("vendor.example", False),
    ],
)
def test_only_public_addresses_over_tls_unless_it_is_allowed(address: str, allowed: bool) -> None:
    def make() -> Http:
        return Http(address, 1.0, 1.0, allow_private_hosts=False)

    if allowed:
        assert make()
    else:
        with pytest.raises(ValueError, match=r"allow_private_hosts|https://"):
            make()


def test_a_query_is_written_as_the_vendors_samples_have_it() -> None:
    assert encode({"message": "a b+c %%name%% é&"}) == "message=a%20b%2Bc%20%25%25name%25%25%20%C3%A9%26"


# --- any answer from a vendor -----------------------------------------------------------------------------------------

counts = st.integers(0, 10**7).flatmap(
    lambda n: st.sampled_from([n, float(n), str(n), f"{n:,}", f"{n:,}".replace(",", " "), f" {n:,}".replace(",", ".")])
)
codes = st.sampled_from([0, "000", "0", None, "", 104, "104", 104.0, 121, "132", 133, 126, 127, "130", 999, "E1", True])
nulls: st.SearchStrategy[Any] = st.sampled_from([None, "", "null", "None", False, [], {}, "0000-00-00 00:00:00"])
dates = st.sampled_from(["2021-06-01T12:00:00+03:00", "2021-06-01 12:00:00", "soon"])
ids = st.sampled_from([22, 22.0, " 22", "22,23,", ",22", [22, None], "sms_1", " sms_1", "a\nb", "x" * 256])
numbers = st.sampled_from(["+33612345678", " 33612345678", "0033612345678", 33612345678, "anonymous"])
statuses = st.sampled_from(["ready_to_be_sent", " READY_TO_BE_SEND", "failed", "delivered ", "OK", "ok ", "ACK"])
scalars = (
    st.one_of(counts, codes, nulls, dates, ids, numbers, statuses)
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True)
    | st.text(max_size=30)
)
FIELDS = """store id status code details ticket_number referenceId errorCode message_id number sending_date
number_of_contacts cost total_cost stop_date reception_date answer_date delivery_date text groups groupId userCount
groupType callerRole accessToken endpointUrl accessTokenExpiry refreshToken amount unit name"""
words = st.sampled_from(FIELDS.split())
objects = st.dictionaries(words, scalars, max_size=8)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=6), max_leaves=12
)
ENCODINGS = ("utf-8", "utf-8-sig", "latin-1", "utf-16", "cp1252")
CONTENTS = (
    "application/json",
    "application/json; charset=utf-8",
    "application/JSON;charset=ISO-8859-1",
    'application/json; charset="windows-1252"',
    "application/json; charset=klingon",
    "text/html",
    "",
)
bodies = st.binary(max_size=200) | st.builds(
    lambda tree, encoding, plain: json.dumps(tree, ensure_ascii=plain).encode(encoding, "replace"),
    objects | trees,
    st.sampled_from(ENCODINGS),
    st.booleans(),
)
answers = st.builds(
    told,
    st.sampled_from([200, 200, 201, 202, 204, 301, 308, 400, 401, 403, 404, 418, 422, 429, 500, 503]),
    bodies,
    st.sampled_from(CONTENTS),
)


@pytest.mark.parametrize("vendor", VENDORS)
@given(answer=answers)
def test_any_answer_to_a_release_is_ids_or_an_error_of_the_family(vendor: str, answer: Answer) -> None:
    released = offline(vendor, answer).release(message(vendor), Staged("sms_1"))
    kind, what = asyncio.run(became(released))
    if kind == "ok":
        assert _says_yes(vendor, answer)
        assert what.ids
        assert all(is_id(id) for id in what.ids)


@pytest.mark.parametrize("vendor", VENDORS)
@given(answer=answers)
def test_any_answer_to_a_read_is_facts_or_an_error_of_the_family(vendor: str, answer: Answer) -> None:
    asyncio.run(_read_all(vendor, answer))


async def _read_all(vendor: str, answer: Answer) -> None:
    sent, made, reads = message(vendor), Staged("sms_1"), offline(vendor, answer)
    for size_of in (lambda: reads.stage(sent, made), lambda: reads.size(sent.audience)):
        kind, what = await became(size_of())
        size = getattr(what, "size", getattr(what, "contacts", None)) if kind == "ok" else None
        assert size is None or (type(size) is int and 0 <= size <= UNREADABLE)
    kind, found = await became(reads.audiences())
    assert kind != "ok" or all(is_id(audience.id) for audience in found)
    kind, news = await became(reads.poll(("1", "2")))
    assert kind in ("ok", "Throttled")
    assert kind != "ok" or all(is_id(receipt.id) and receipt.word for receipt in news)
    harmless = [
        await became(reads.check()),
        await became(reads.look_up(sent, made, ())),
        await became(reads.recall(made)),
    ]
    assert "Uncertain" not in [kind for kind, _ in harmless]  # none of these makes phones ring


def is_id(id: Any) -> bool:
    return isinstance(id, str) and 0 < len(id) <= 255 and id.isprintable() and id == id.strip()


def _says_yes(vendor: str, answer: Answer) -> bool:
    """Whether the answer holds what the vendor's documentation calls a yes, and nothing that it calls a no."""
    fields = answer.json()
    yes = {"encom": "store", "octopush": "sending_date", "kaizala": "referenceId"}[vendor]
    sent_before = vendor == "octopush" and str(fields.get("code")) in ("132", "133")
    no = str(fields.get({"octopush": "code", "kaizala": "errorCode"}.get(vendor, "")))
    return sent_before or (re.search(r"\w", str(fields[yes])) is not None and no not in ("104", "104.0", "121", "E1"))


@pytest.mark.parametrize("vendor", VENDORS)
@given(content=st.sampled_from([*CONTENTS, "application/x-www-form-urlencoded", "text/plain"]), body=bodies)
def test_any_callback_is_receipts_or_a_value_error(vendor: str, content: str, body: bytes) -> None:
    try:
        receipts = offline(vendor).read_callback(Callback(content, body))
    except ValueError:
        return
    assert all(is_id(receipt.id) for receipt in receipts if receipt.kind == "delivery")
    assert all(isinstance(receipt.word, str) and receipt.word == receipt.word.upper().strip() for receipt in receipts)
    for receipt in receipts:
        assert receipt.word
        (receipt.id + receipt.word + receipt.recipient + (receipt.text or "")).encode()


#: By vendor: the call that releases, its documented yes, and the answer's field that may hold a no.
YES: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "encom": ("groupedMessage", {"store": "22,23"}, None),
    "octopush": ("send", {"sending_date": "2021-06-01T12:00:00+03:00"}, "code"),
    "kaizala": ("messages", {"referenceId": "r-1"}, "errorCode"),
}


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("status", [200, 201, 202, 203])
async def test_the_documented_yes_is_one_under_any_2xx_and_nothing_else_is(vendor: str, status: int) -> None:
    """C2: success is what the answer says, not its status."""
    step, yes, no = YES[vendor]
    (field,) = yes
    said: list[tuple[Any, str]] = [(yes, "ok"), ({}, "Uncertain"), ([yes], "Uncertain"), (field, "Uncertain")]
    nothings: list[Any] = [None, "", " ", "null", False, [], {}]
    said += [({field: nothing}, "Uncertain") for nothing in nothings]
    if no is not None:
        said += [({**yes, no: nothing}, "ok") for nothing in [*nothings, 0, "000"]]
        said += [({no: code}, "Refused") for code in (104, "104", " 104 ", 104.0)]
        said += [({**yes, no: code}, "Uncertain") for code in (104, "104", 104.0)]
    for body, kind in said:
        answer = told(status, json.dumps(body))
        got, what = await became(offline(vendor, **{step: answer}).release(message(vendor), Staged("sms_1")))
        assert got == kind, (body, what)


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_a_yes_beside_an_accent_is_one_in_any_charset(vendor: str, encoding: str) -> None:
    step, yes, _ = YES[vendor]
    body = json.dumps({**yes, "message": "envoyé"}, ensure_ascii=False).encode(encoding)
    for content in CONTENTS:
        answer = told(201, body, content)
        assert (await became(offline(vendor, **{step: answer}).release(message(vendor), Staged("sms_1"))))[0] == "ok"


def test_a_release_is_never_called_certain_by_mistake() -> None:
    assert not issubclass(Uncertain, Unavailable)
    assert BODY_CAP < 10_000_000
    assert Purpose("marketing")
