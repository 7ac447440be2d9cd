"""Kaizala: tokens renewed and kept, endpoints followed by hand, one message."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from providers.base import (
    Answer,
    Audience,
    AudienceKind,
    Check,
    ProviderError,
    Refused,
    TextLimits,
    Throttled,
    Unavailable,
    Uncertain,
)
from providers.kaizala import REFUSALS, Kaizala, KaizalaSettings
from providers.reading import UNREADABLE
from sandbox.server import Sandbox
from tests.support.adapters import STAFF, TOKEN, Adapter, asked, became, message, offline, outcome, told, urls

FANS = "2b2a2c3d-0000-4000-8000-00000000c0de@2"


async def test_the_requests_are_the_documented_ones(sandbox: Sandbox, adapter: Adapter) -> None:
    kind, ids = await outcome(adapter("kaizala"), message("kaizala"))
    token, sent = sandbox.vendors.office.requests
    assert (token.method, token.path) == ("GET", "/vendors/kaizala/v1/accessToken")
    assert [token.headers[name] for name in ("applicationid", "applicationsecret", "refreshtoken")] == [
        "sandbox-app", "sandbox-secret", "sandbox-refresh",
    ]  # fmt: skip
    assert sent.path == f"/vendors/kaizala/v1/groups/{STAFF}/messages"
    assert json.loads(sent.body) == {"message": "Soldes demain"}
    assert "authorization" not in sent.headers
    assert (kind, ids) == ("ids", sandbox.vendors.ledger[0].ids)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"everyone": True}, {"sendToAllSubscribers": True}), ({"subscribers": ("+911",)}, {"subscribers": ["+911"]})],
)
async def test_a_public_group_takes_everyone_or_chosen_numbers(
    sandbox: Sandbox, adapter: Adapter, changes: dict[str, Any], said: dict[str, Any]
) -> None:
    fans = Audience(AudienceKind.GROUP, FANS, **changes)
    assert (await outcome(adapter("kaizala"), message("kaizala", audience=fans)))[0] == "ids"
    assert json.loads(sandbox.vendors.office.requests[-1].body) == {"message": "Soldes demain", **said}
    found = await adapter("kaizala").size(fans)
    assert found is not None
    assert found.size == (1 if fans.subscribers else 250)


async def test_one_token_serves_many_sends_and_is_asked_for_once(sandbox: Sandbox, adapter: Adapter) -> None:
    provider = adapter("kaizala")
    await asyncio.gather(*(outcome(provider, message("kaizala")) for _ in range(5)))
    assert len([seen for seen in sandbox.vendors.office.requests if seen.path.endswith("accessToken")]) == 1
    assert len(sandbox.vendors.ledger) == 5


async def test_a_dead_access_token_is_renewed_once(sandbox: Sandbox, adapter: Adapter) -> None:
    provider = adapter("kaizala")
    await outcome(provider, message("kaizala"))
    sandbox.vendors.kaizala.tokens.clear()
    assert (await outcome(provider, message("kaizala")))[0] == "ids"
    sandbox.vendors.faults.add("kaizala.release", "error", times=2, status=401)
    assert (await outcome(provider, message("kaizala")))[0] == "Refused"
    assert len(sandbox.vendors.ledger) == 2


async def test_a_rotated_refresh_token_is_kept_and_used(sandbox: Sandbox, adapter: Adapter) -> None:
    provider = adapter("kaizala")
    sandbox.vendors.kaizala.rotated = "rotated-one"
    await outcome(provider, message("kaizala"))
    assert await provider.vault.load("refresh_token") == "rotated-one"
    sandbox.vendors.kaizala.tokens.clear()
    await outcome(provider, message("kaizala"))
    assert sandbox.vendors.office.requests[-2].headers["refreshtoken"] == "rotated-one"


async def test_a_moved_endpoint_is_followed_once_within_the_vendor(sandbox: Sandbox, adapter: Adapter) -> None:
    there = f"{sandbox.url}/vendors/kaizala/v1/groups/x/messages"
    sandbox.vendors.faults.add("kaizala.release", "redirect", status=308, location=there)
    assert (await outcome(adapter("kaizala"), message("kaizala")))[0] == "ids"
    sandbox.vendors.faults.add("kaizala.release", "redirect", times=2, status=308, location=there)
    assert (await outcome(adapter("kaizala"), message("kaizala")))[0] == "Uncertain"
    assert len(sandbox.vendors.ledger) == 1


@pytest.mark.parametrize("order", [(401, 308), (308, 401), (401,), (308,)])
async def test_a_dead_token_and_a_moved_endpoint_are_each_answered_once_in_either_order(order: tuple[int, ...]) -> None:
    left = [*order]

    def messages(_: Any) -> Answer:
        return Answer(left.pop(0), {"location": "https://kms2.kaiza.la/"}, b"") if left else told(200, REFERENCE)

    provider = offline("kaizala", messages=messages)
    kind, what = await became(provider.release(message("kaizala"), None))
    assert kind == "ok", what
    assert asked(provider).count("messages") == len(order) + 1
    left.extend([401, 308, 401])
    assert (await became(provider.release(message("kaizala"), None)))[0] == "Refused"


REFERENCE = {"referenceId": "r-1"}
ANSWERS: dict[str, tuple[dict[str, Any], str]] = {
    "an error code under a 200": ({"status": 200, "body": '{"errorCode": "X"}'}, "Refused"),
    "neither": ({"status": 200, "body": "{}"}, "Uncertain"),
    "an empty reference": ({"status": 200, "body": '{"referenceId": ""}'}, "Uncertain"),
    "a number for one": ({"status": 200, "body": '{"referenceId": 7}'}, "Uncertain"),
    "201 and a reference": ({"status": 201, "body": '{"referenceId": "r-1"}'}, "ids"),
    "299 and a reference": ({"status": 299, "body": '{"referenceId": "r-1"}'}, "ids"),
    "300 and a reference": ({"status": 300, "body": '{"referenceId": "r-1"}'}, "Uncertain"),
    "a reference and an empty error": ({"body": '{"referenceId": " r-1", "errorCode": ""}'}, "ids"),
    "a reference and no error": ({"body": '{"referenceId": "r-1", "errorCode": null}'}, "ids"),
    "a reference and an error of zero": ({"body": '{"referenceId": "r-1", "errorCode": 0}'}, "ids"),
    "a reference and an error of None": ({"body": '{"referenceId": "r-1", "errorCode": "None"}'}, "ids"),
    "a reference in Latin-1": ({"body": '{"referenceId": "r-1", "x": "é"}', "encoding": "latin-1"}, "ids"),
    "a reference and an error": ({"body": '{"referenceId": "r-1", "errorCode": "X"}'}, "Uncertain"),
    "a reference and an error of another type": ({"body": '{"referenceId": "r-1", "errorCode": ["X"]}'}, "Uncertain"),
    "an empty error": ({"body": '{"errorCode": ""}'}, "Uncertain"),
    "an error of null": ({"body": '{"errorCode": null}'}, "Uncertain"),
    "an error of zeros": ({"body": '{"errorCode": "0"}'}, "Uncertain"),
    "an error of another type": ({"body": '{"errorCode": {"a": 1}}'}, "Uncertain"),
    "an error code that is a number": ({"status": 202, "body": '{"errorCode": 17}'}, "Refused"),
    "an error beside an empty reference": ({"body": '{"errorCode": "X", "referenceId": ""}'}, "Refused"),
    "a reference of null as a text": ({"body": '{"referenceId": "null"}'}, "Uncertain"),
    "a reference that does not print": ({"body": '{"referenceId": "r\\u0000"}'}, "Uncertain"),
    "a reference that is too long": ({"body": '{"referenceId": "' + 256 * "r" + '"}'}, "Uncertain"),
}


@pytest.mark.parametrize("case", ANSWERS)
async def test_an_answer_is_a_reference_a_refusal_or_not_known(sandbox: Sandbox, adapter: Adapter, case: str) -> None:
    detail, kind = ANSWERS[case]
    sandbox.vendors.faults.add("kaizala.release", "answer", **detail)
    assert (await outcome(adapter("kaizala"), message("kaizala")))[0] == kind


@pytest.mark.parametrize(("status", "told"), [(400, "message"), (403, "admin"), (404, "does not know the group")])
async def test_a_no_is_a_sentence(sandbox: Sandbox, adapter: Adapter, status: int, told: str) -> None:
    sandbox.vendors.faults.add("kaizala.release", "error", status=status)
    kind, sentence = await outcome(adapter("kaizala"), message("kaizala"))
    assert (kind, told in sentence) == ("Refused", True)


@pytest.mark.parametrize(
    "answer",
    [{"body": "{}"}, {"body": '{"accessToken": "t", "endpointUrl": "https://evil.example", "accessTokenExpiry": 9}'}],
)
async def test_a_token_answer_that_leads_elsewhere_is_not_used(
    sandbox: Sandbox, adapter: Adapter, answer: dict[str, Any]
) -> None:
    sandbox.vendors.faults.add("kaizala.token", "answer", status=200, **answer)
    assert (await outcome(adapter("kaizala"), message("kaizala")))[0] == "Unavailable"
    assert sandbox.vendors.ledger == []


def test_what_kaizala_documents_is_what_we_go_by() -> None:
    """Two statuses mean not processed, 4000 characters fit, and an answer may take a minute."""
    said = Kaizala.capabilities
    assert (said.not_processed, said.audiences) == (frozenset({401, 308}), frozenset({AudienceKind.GROUP}))
    assert said.text == TextLimits(max_gsm7=4000, max_ucs2=4000, max_parts=1, segments=False)
    assert (said.discovers, said.sizes, said.two_step, said.polls, said.looks_up) == (True, True, False, False, False)
    assert KaizalaSettings.model_fields["timeout"].default == 60.0
    assert KaizalaSettings.model_fields["requests_per_second"].default == 1.5


async def test_a_check_asks_for_a_token_and_tells_no_credit(sandbox: Sandbox, adapter: Adapter) -> None:
    assert await adapter("kaizala").check() == Check()
    assert [seen.path.rsplit("/", 1)[-1] for seen in sandbox.vendors.office.requests] == ["accessToken"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        *((Uncertain("It broke."), "Unavailable"), (Unavailable("It is away."), "Unavailable")),
        *((Throttled(7.0), "Throttled"), (Refused("No."), "Refused")),
    ],
)
async def test_what_becomes_of_a_token_leaves_nothing_in_doubt(error: ProviderError, kind: str) -> None:
    """Only a token was asked for, so whatever came of it, nothing was sent."""
    assert (await became(offline("kaizala", accessToken=error).check()))[0] == kind


async def test_a_question_that_is_answered_oddly_is_asked_again_later_and_names_the_status() -> None:
    kind, error = await became(offline("kaizala", accessToken=told(200, TOKEN), groups=told(502)).audiences())
    assert (kind, "502" in str(error)) == ("Unavailable", True)


async def test_dead_credentials_name_the_setting(sandbox: Sandbox, adapter: Adapter) -> None:
    with pytest.raises(ProviderError) as refused:
        await adapter("kaizala", refresh_token="dead-token").check()
    assert refused.value.setting == "refresh_token"


async def test_groups_are_found_with_their_sizes(sandbox: Sandbox, adapter: Adapter) -> None:
    found = await adapter("kaizala").audiences()
    query = {"fetchAllGroups": "true", "showDetail": "true", "showDetails": "true"}  # the vendor spells it both ways
    assert sandbox.vendors.office.requests[-1].query == query
    assert {(group.id, group.name, group.size) for group in found} == {(STAFF, "Staff", 12), (FANS, "Fans", 250)}


FANS_GROUP = Audience(AudienceKind.GROUP, FANS)
SIZES: dict[str, tuple[dict[str, Any], int]] = {
    "as documented": ({"userCount": 250}, 250),
    "as a text": ({"userCount": "250"}, 250),
    "in groups": ({"userCount": "1,00,000"}, 100_000),
    "a float": ({"userCount": 250.0}, 250),
    "missing": ({}, UNREADABLE),
    "null": ({"userCount": None}, UNREADABLE),
    "a yes": ({"userCount": True}, UNREADABLE),
    "below nobody": ({"userCount": -1}, UNREADABLE),
    "a list": ({"userCount": [250]}, UNREADABLE),
}


@pytest.mark.parametrize("case", SIZES)
async def test_a_group_is_as_large_as_it_says_and_else_larger_than_every_bound(case: str) -> None:
    """C3: `userCount` is documented, so a missing or broken one lets nothing pass."""
    entry, size = SIZES[case]
    answer = told(200, {"groups": [{"groupId": FANS.upper(), "groupName": "Fans", **entry}]})
    found = await offline("kaizala", answer).size(FANS_GROUP)
    assert found is not None
    assert found.size == size


@pytest.mark.parametrize("groups", [[], [{"groupId": STAFF, "userCount": 3}], [{}, None, 5], [{"userCount": 3}]])
async def test_a_group_that_the_answer_leaves_out_is_larger_than_every_bound(groups: Any) -> None:
    found = await offline("kaizala", told(200, {"groups": groups})).size(FANS_GROUP)
    assert found is not None
    assert (found.id, found.size) == (FANS, UNREADABLE)
    some = Audience(AudienceKind.GROUP, FANS, subscribers=("+911", "+912"))
    found = await offline("kaizala", told(200, {"groups": groups})).size(some)
    assert found is not None
    assert found.size == 2


GROUPS: dict[str, tuple[Answer, str]] = {
    "a page": (told(200, "<html>"), "Unavailable"),
    "no groups": (told(200, {}), "Unavailable"),
    "groups of null": (told(200, {"groups": None}), "Unavailable"),
    "a list": (told(200, [{"groupId": FANS}]), "Unavailable"),
    "an error": (told(200, {"errorCode": "Oops"}), "Unavailable"),
    "groups and an error": (told(200, {"groups": [], "errorCode": "Oops"}), "Unavailable"),
    "groups and an empty error": (told(200, {"groups": [], "errorCode": ""}), "ok"),
    "a server's trouble": (told(500), "Unavailable"),
    "too fast": (told(429), "Throttled"),
    "no right": (told(403), "Refused"),
}


@pytest.mark.parametrize("case", GROUPS)
async def test_groups_are_told_where_the_answer_holds_groups(case: str) -> None:
    answer, kind = GROUPS[case]
    assert (await became(offline("kaizala", answer).audiences()))[0] == kind


async def test_a_group_that_cannot_be_read_is_left_out_of_the_groups() -> None:
    entries = [{"groupId": " g1 ", "groupName": None}, None, {"groupName": "x"}, {"groupId": ["g"]}, {"groupId": "g2"}]
    found = await offline("kaizala", told(200, {"groups": entries})).audiences()
    assert [group.id for group in found] == ["g1", "g2"]


@pytest.mark.parametrize("changes", [{"everyone": True}, {"subscribers": ("+911",)}])
async def test_only_a_public_group_has_subscribers(changes: dict[str, Any]) -> None:
    entry = {"groupId": FANS, "userCount": 250, "groupType": "Group", "callerRole": "Admin"}
    some = Audience(AudienceKind.GROUP, FANS, **changes)
    kind, error = await became(offline("kaizala", told(200, {"groups": [entry]})).size(some))
    assert (kind, str(error)) == ("Refused", f"Only a public Kaizala group has subscribers, and {FANS} is not one.")
    assert (await became(offline("kaizala", told(200, {"groups": [entry]})).size(FANS_GROUP)))[0] == "ok"


async def test_who_is_no_admin_may_not_write_to_all_of_a_public_group() -> None:
    entry = {"groupId": FANS, "userCount": 250, "groupType": "ConnectGroup", "callerRole": "Member"}
    everyone = Audience(AudienceKind.GROUP, FANS, everyone=True)
    kind, error = await became(offline("kaizala", told(200, {"groups": [entry]})).size(everyone))
    assert (kind, str(error), error.setting) == ("Refused", *REFUSALS[403])


async def test_a_groups_id_is_one_part_of_the_address() -> None:
    provider = offline("kaizala", told(404))
    odd = Audience(AudienceKind.GROUP, "a/../b?c@1")
    await became(provider.release(message("kaizala", audience=odd), None))
    await became(provider.size(odd))
    released, sized = urls(provider)[-2:]
    assert released.endswith("/v1/groups/a%2F..%2Fb%3Fc%401/messages")
    assert sized.endswith("/v1/groups/a%2F..%2Fb%3Fc%401")


@pytest.mark.parametrize("null", [None, "", "null"])
async def test_what_a_group_does_not_say_of_itself_forbids_nothing(null: Any) -> None:
    everyone = Audience(AudienceKind.GROUP, FANS, everyone=True)
    entry = {"groupId": FANS, "userCount": 250, "groupType": null, "callerRole": null}
    assert (await became(offline("kaizala", told(200, {"groups": [entry]})).size(everyone)))[0] == "ok"
    entry |= {"groupType": " connectgroup", "callerRole": "Member"}
    assert (await became(offline("kaizala", told(200, {"groups": [entry]})).size(everyone)))[0] == "Refused"


async def test_a_group_stands_in_a_refusal_as_it_is_configured() -> None:
    """C41: without the percent-encoding that it has in the address."""
    gone = told(404, {"errorCode": "GroupNotFound"})
    for call in (offline("kaizala", gone).size(FANS_GROUP), offline("kaizala", gone).release(message("kaizala"), None)):
        kind, what = await became(call)
        assert (kind, what.code) == ("Refused", "GroupNotFound")
        assert str(what) in (f"Kaizala does not know the group {id}." for id in (FANS, STAFF))


@pytest.mark.parametrize(("body", "code"), [({}, "403"), ({"errorCode": ""}, "403"), ({"errorCode": " E7 "}, "E7")])
async def test_the_vendors_own_code_is_told_else_the_status(body: Any, code: str) -> None:
    kind, what = await became(offline("kaizala", told(403, body)).release(message("kaizala"), None))
    assert (kind, what.code) == ("Refused", code)


@pytest.mark.parametrize(("status", "kind"), [(409, "Uncertain"), (429, "Throttled"), (500, "Uncertain")])
async def test_the_vendors_own_code_is_kept_where_it_says_nothing_about_the_send(status: int, kind: str) -> None:
    answer = told(status, {"errorCode": "E5", "message": "m"})
    was, error = await became(offline("kaizala", answer).release(message("kaizala"), None))
    assert (was, error.code) == (kind, "E5")


# --- where a token may go --------------------------------------------------------------------------------------------

OWN = "https://kaizala.example:8443/v1"
PLACES: dict[str, bool] = {
    "https://kms.kaiza.la/": True,
    "https://KMS2.Kaiza.LA": True,
    "https://inc-000.KaizalaMessaging.osi.office.net": True,
    "https://kms.kaiza.la:443/v1/groups/x": True,
    "https://kaizala.example:8443/": True,
    "https://kaizala.example:8443/under/v1/groups": True,
    "HTTPS://kaizala.example:8443": True,
    "http://kms.kaiza.la/": False,
    "https://kms.kaiza.la:8443/": False,
    "https://kms.kaiza.la:0/": False,
    "https://kaizala.example/": False,
    "https://kaizala.example:443/": False,
    "https://kaizala.example:9443/": False,
    "http://kaizala.example:8443/": False,
    "https://user@kms.kaiza.la/": False,
    "https://user:word@kaizala.example:8443/": False,
    "https://kms.kaiza.la@evil.example/": False,
    "https://evil.example/.kaiza.la": False,
    "https://evil.example#.kaiza.la": False,
    "https://evil.example\\.kaiza.la/": False,
    "https://evilkaiza.la/": False,
    "https://kms.kaiza.la.evil.example/": False,
    "https://kms.kaiza.la:99999/": False,
    "https://kms.kaiza.la:x/": False,
    "https://[kms.kaiza.la/": False,
    "ftp://kms.kaiza.la/": False,
    "//kms.kaiza.la/": False,
    "/v1/groups": False,
    "kms.kaiza.la": False,
    "": False,
}


@pytest.mark.parametrize("place", PLACES)
async def test_a_moved_endpoint_is_followed_to_the_vendors_or_the_accounts_own_origin_alone(place: str) -> None:
    """C40: host, port and scheme; another port of the same host is another place."""
    sent: list[str] = []

    def messages(_: Any) -> Answer:
        sent.append("sent")
        return told(200, {"referenceId": "r-1"}) if len(sent) == 2 else Answer(308, {"location": place}, b"")

    provider = offline("kaizala", settings={"base_url": OWN}, messages=messages)
    kind, what = await became(provider.release(message("kaizala"), None))
    assert kind == ("ok" if PLACES[place] else "Uncertain"), what
    assert len(sent) == (2 if PLACES[place] else 1)


@pytest.mark.parametrize("place", PLACES)
async def test_a_token_goes_to_the_vendors_or_the_accounts_own_origin_alone(place: str) -> None:
    """C40: the endpoint that comes with a token is checked in the same way."""
    answers = {"accessToken": told(200, {**TOKEN, "endpointUrl": place}), "messages": told(200, {"referenceId": "r"})}
    provider = offline("kaizala", settings={"base_url": OWN}, **answers)
    kind, _ = await became(provider.release(message("kaizala"), None))
    assert kind == ("ok" if PLACES[place] else "Unavailable")
    assert ("messages" in asked(provider)) is PLACES[place]


async def test_an_account_over_plain_http_may_stay_where_it_is_and_nowhere_else() -> None:
    def sent_to(place: str) -> Any:
        answers = {
            "accessToken": told(200, {**TOKEN, "endpointUrl": place}),
            "messages": told(200, {"referenceId": "r"}),
        }
        provider = offline("kaizala", settings={"base_url": "http://127.0.0.1:8055/kaizala/v1"}, **answers)
        return became(provider.release(message("kaizala"), None))

    assert (await sent_to("http://127.0.0.1:8055/kaizala/"))[0] == "ok"
    assert (await sent_to("http://127.0.0.1:8056/kaizala/"))[0] == "Unavailable"
    assert (await sent_to("http://kms.kaiza.la/"))[0] == "Unavailable"


TOKENS: dict[str, tuple[Answer, str]] = {
    "as documented": (told(200, TOKEN), "ok"),
    "an empty error": (told(200, {**TOKEN, "errorCode": ""}), "ok"),
    "an expiry as a text": (told(200, {**TOKEN, "accessTokenExpiry": "1900000000000"}), "ok"),
    "no expiry": (told(200, {name: value for name, value in TOKEN.items() if name != "accessTokenExpiry"}), "ok"),
    "an expiry of null": (told(200, {**TOKEN, "accessTokenExpiry": None}), "ok"),
    "an expiry beyond all numbers": (told(200, {**TOKEN, "accessTokenExpiry": 10**400}), "ok"),
    "in Latin-1": (told(200, json.dumps({**TOKEN, "x": "é"}, ensure_ascii=False).encode("latin-1")), "ok"),
    "an error": (told(200, {"errorCode": "AuthenticationFailed"}), "Refused"),
    "an error and an empty token": (told(200, {"errorCode": "X", "accessToken": ""}), "Refused"),
    "a token and an error": (told(200, {**TOKEN, "errorCode": "X"}), "Unavailable"),
    "no token": (told(200, {**TOKEN, "accessToken": None}), "Unavailable"),
    "a token of null as a text": (told(200, {**TOKEN, "accessToken": "null"}), "Unavailable"),
    "a token of another type": (told(200, {**TOKEN, "accessToken": 17}), "Unavailable"),
    "a token of two lines": (told(200, {**TOKEN, "accessToken": "a\r\nb: c"}), "Unavailable"),
    "a token that no header holds": (told(200, {**TOKEN, "accessToken": "tökén"}), "Unavailable"),
    "no place": (told(200, {**TOKEN, "endpointUrl": None}), "Unavailable"),
    "a place of another type": (told(200, {**TOKEN, "endpointUrl": ["https://kms.kaiza.la"]}), "Unavailable"),
    "a list": (told(200, [TOKEN]), "Unavailable"),
    "a page": (told(200, "<html>"), "Unavailable"),
    "no content": (told(204), "Unavailable"),
    "no key": (told(401, {"errorCode": "AuthenticationFailed"}), "Refused"),
    "too fast": (told(429), "Throttled"),
}


@pytest.mark.parametrize("case", TOKENS)
async def test_a_token_is_one_where_the_answer_holds_it_and_its_place(case: str) -> None:
    answer, kind = TOKENS[case]
    became_kind, what = await became(offline("kaizala", accessToken=answer).check())
    assert became_kind == kind
    if kind == "Refused":
        assert what.setting == "refresh_token"


async def test_a_token_without_a_readable_end_serves_one_call() -> None:
    answers = {
        "accessToken": told(200, {**TOKEN, "accessTokenExpiry": "soon"}),
        "messages": told(200, {"referenceId": "r"}),
    }
    provider = offline("kaizala", **answers)
    for _ in range(2):
        assert (await became(provider.release(message("kaizala"), None)))[0] == "ok"
    assert asked(provider) == ["accessToken", "messages"] * 2


@pytest.mark.parametrize("rotated", [None, "", " ", "null", True, 17, ["x"], "a\nb"])
async def test_only_a_refresh_token_is_kept_as_one(rotated: Any) -> None:
    provider = offline("kaizala", accessToken=told(200, {**TOKEN, "refreshToken": rotated}))
    await provider.check()
    assert await provider.vault.load("refresh_token") is None
