"""Kaizala: tokens renewed and kept, endpoints followed by hand, one message."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from providers.base import Audience, AudienceKind, ProviderError
from sandbox.server import Sandbox
from tests.providers.conftest import STAFF, Adapter, message, outcome

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


ANSWERS: dict[str, tuple[dict[str, Any], str]] = {
    "an error code under a 200": ({"status": 200, "body": '{"errorCode": "X"}'}, "Refused"),
    "neither": ({"status": 200, "body": "{}"}, "Uncertain"),
    "an empty reference": ({"status": 200, "body": '{"referenceId": ""}'}, "Uncertain"),
    "a number for one": ({"status": 200, "body": '{"referenceId": 7}'}, "Uncertain"),
    "201 and a reference": ({"status": 201, "body": '{"referenceId": "r-1"}'}, "ids"),
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


async def test_dead_credentials_name_the_setting(sandbox: Sandbox, adapter: Adapter) -> None:
    with pytest.raises(ProviderError) as refused:
        await adapter("kaizala", refresh_token="dead-token").check()
    assert refused.value.setting == "refresh_token"


async def test_groups_are_found_with_their_sizes(sandbox: Sandbox, adapter: Adapter) -> None:
    found = await adapter("kaizala").audiences()
    assert {(group.id, group.name, group.size) for group in found} == {(STAFF, "Staff", 12), (FANS, "Fans", 250)}
