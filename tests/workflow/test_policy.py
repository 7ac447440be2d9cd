"""Who may ask, approve and stop, and how many must agree: worked out by hand, one line for each rule."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from bot.config.settings import ApprovalSettings, AudienceSettings
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND
from bot.domain.errors import NotAllowed
from bot.domain.lifecycle import State
from bot.domain.people import (
    DeadToken,
    DirectoryUnavailable,
    Membership,
    Person,
    Unknown,
    membership_of,
    mentions,
    must_be_member,
)
from bot.workflow.approval_rules import (
    RequiredApprovals,
    approvers_today,
    is_approver,
    may_approve,
    may_ask,
    may_stop,
    notified,
    people_in,
    required_approvals,
    still_asked,
)
from providers.base import AudienceKind, Purpose

MARKETING, TRANSACTIONAL = Purpose.MARKETING, Purpose.TRANSACTIONAL
GROUPS = {"S0BOSSES": frozenset({"U0ANA", "U0BEN"}), "S0CREW": frozenset({"U0CLEO"}), "S0EMPTY": frozenset[str]()}
ONE = AudienceSettings.model_validate({"account": "encom", "kind": "list", "id": "1"})


async def members(group: str) -> frozenset[str]:
    if group not in GROUPS:
        raise DirectoryUnavailable(group)
    return GROUPS[group]


def person(id: str, *, member: bool = True) -> Person:
    return Person("T0BELL", id, member=member)


def broadcast(**changes: Any) -> Broadcast:
    made = Broadcast(
        workspace="T0BELL", id="B1", version=1, key="k", requester="U0CLEO", editor="U0CLEO", channel="C1",
        account="encom",
        provider="encom",
        audience="clients", kind=AudienceKind.LIST, target="1", purpose=MARKETING, typed="Hi", text="Hi", digest="d",
        state=State.PENDING, quorum=1, approvers=("S0BOSSES",), created_at=1, changed_at=1,
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def approval(*rules: dict[str, Any], **changes: Any) -> ApprovalSettings:
    return ApprovalSettings.model_validate({"approvers": ["S0BOSSES"], "quorum": 2, "rules": list(rules), **changes})


def need(
    given: ApprovalSettings,
    purpose: Purpose = TRANSACTIONAL,
    *,
    audience: str = "clients",
    account: str = "encom",
    size: int | None = 10,
    **more: Any,
) -> RequiredApprovals:
    return required_approvals(given, purpose=purpose, audience=audience, account=account, size=size, **more)


# --- how many must agree ---------------------------------------------------------------------------------------------


def test_marketing_needs_the_general_number_and_a_transactional_text_nobody() -> None:
    assert need(approval(), MARKETING) == RequiredApprovals(2, ("S0BOSSES",))
    assert need(approval()) == RequiredApprovals(0, ("S0BOSSES",))


def test_a_transactional_text_that_reads_like_an_offer_needs_one() -> None:
    assert need(approval(), doubtful=True) == RequiredApprovals(1, ("S0BOSSES",))
    assert need(approval(), MARKETING, doubtful=True) == RequiredApprovals(2, ("S0BOSSES",))
    nobody = approval({"purpose": "transactional", "quorum": 0})
    assert need(nobody, doubtful=True) == RequiredApprovals(1, ("S0BOSSES",))
    three = approval({"purpose": "transactional", "quorum": 3})
    assert need(three, doubtful=True) == RequiredApprovals(3, ("S0BOSSES",))


def test_the_first_rule_that_matches_counts() -> None:
    rules = ({"audience": "clients", "quorum": 3}, {"account": "encom", "quorum": 4}, {"quorum": 5})
    assert need(approval(*rules)).quorum == 3
    assert need(approval(*rules), audience="team").quorum == 4
    assert need(approval(*rules), audience="team", account="octo").quorum == 5


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        ({}, True),
        ({"purpose": "transactional"}, True),
        ({"purpose": "marketing"}, False),
        ({"audience": "clients"}, True),
        ({"audience": "team"}, False),
        ({"account": "encom"}, True),
        ({"account": "octo"}, False),
        ({"purpose": "transactional", "audience": "clients", "account": "encom", "larger_than": 9}, True),
        ({"purpose": "transactional", "audience": "clients", "account": "octo", "larger_than": 9}, False),
        ({"purpose": "transactional", "audience": "team", "account": "encom", "larger_than": 9}, False),
        ({"purpose": "marketing", "audience": "clients", "account": "encom", "larger_than": 9}, False),
    ],
)
def test_a_rule_matches_where_all_that_it_names_is_so(rule: dict[str, Any], matches: bool) -> None:
    assert need(approval({"quorum": 7, **rule})).quorum == (7 if matches else 0)


@pytest.mark.parametrize(("size", "quorum"), [(499, 0), (500, 0), (501, 7), (None, 7), (0, 0)])
def test_larger_than_means_larger_and_a_size_that_nobody_knows_is_the_largest(size: int | None, quorum: int) -> None:
    assert need(approval({"larger_than": 500, "quorum": 7}), size=size).quorum == quorum


@pytest.mark.parametrize(("cost", "quorum"), [("99 EUR", 0), ("100 EUR", 0), ("100.01 EUR", 7), ("250", 7), (None, 7)])
def test_a_higher_cost_asks_for_more_and_one_that_nobody_knows_is_the_highest(cost: str | None, quorum: int) -> None:
    rules = approval({"costs_more_than": 100, "quorum": 7})
    assert need(rules, cost=cost).quorum == quorum


@pytest.mark.parametrize(
    ("between", "hour", "quorum"),
    [
        ("20:00-08:00", 19, 0),
        ("20:00-08:00", 20, 7),
        ("20:00-08:00", 3, 7),
        ("20:00-08:00", 8, 0),
        ("08:00-20:00", 8, 7),
        ("08:00-20:00", 20, 0),
    ],
)
def test_the_hour_of_the_day_in_the_rules_zone_asks_for_more(between: str, hour: int, quorum: int) -> None:
    rules = approval({"between": between, "timezone": "Europe/Paris", "quorum": 7})
    start = int(datetime(2027, 1, 15, hour, tzinfo=ZoneInfo("Europe/Paris")).timestamp()) * SECOND
    assert need(rules, start=start).quorum == quorum


@pytest.mark.parametrize("rule", [{"between": "20-8", "timezone": "UTC"}, {"between": "20:00-08:00"}, {"between": 8}])
def test_hours_that_nobody_can_read_stop_the_start(rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"between|two times"):
        approval({**rule, "quorum": 1})


def test_a_rule_about_more_than_nobody_does_not_match_nobody() -> None:
    assert need(approval({"larger_than": 0, "quorum": 7}), size=0).quorum == 0
    assert need(approval({"larger_than": 0, "quorum": 7}), size=1).quorum == 7


def test_a_rule_may_name_its_own_approvers_and_else_the_general_ones_decide() -> None:
    assert need(approval({"quorum": 1, "approvers": ["U0EVA"]})).approvers == ("U0EVA",)
    assert need(approval({"quorum": 1})).approvers == ("S0BOSSES",)


def test_a_rule_never_lets_marketing_go_unseen() -> None:
    looser = ApprovalSettings.model_construct(approvers=("U0ANA",), quorum=0, rules=())
    assert need(looser, MARKETING) == RequiredApprovals(1, ("U0ANA",))


# --- whose approval counts today --------------------------------------------------------------------------------------


def test_who_was_named_still_counts_while_the_settings_name_all_of_them() -> None:
    given = approval({"audience": "team", "quorum": 1, "approvers": ["U0EVA"]})
    assert approvers_today(given, broadcast(approvers=("U0EVA",))) == ("U0EVA",)
    assert approvers_today(given, broadcast(approvers=("U0EVA", "S0BOSSES"))) == ("U0EVA", "S0BOSSES")


def test_who_is_named_no_more_is_replaced_by_those_whom_the_rules_name_now() -> None:
    small = {"purpose": "marketing", "audience": "clients", "account": "encom", "larger_than": 100, "quorum": 1}
    given = approval({**small, "approvers": ["U0EVA"]})
    gone = ("U0GONE",)
    assert approvers_today(given, broadcast(approvers=gone, size=101)) == ("U0EVA",)
    assert approvers_today(given, broadcast(approvers=gone, size=100)) == ("S0BOSSES",)
    assert approvers_today(given, broadcast(approvers=gone, size=100, bound=500)) == ("S0BOSSES",)
    assert approvers_today(given, broadcast(approvers=gone, size=0, bound=500)) == ("S0BOSSES",)
    assert approvers_today(given, broadcast(approvers=gone, bound=100)) == ("S0BOSSES",)
    assert approvers_today(given, broadcast(approvers=gone)) == ("U0EVA",)  # nobody knows how many
    assert approvers_today(given, broadcast(approvers=gone, purpose=TRANSACTIONAL)) == ("S0BOSSES",)
    assert approvers_today(given, broadcast(approvers=gone, audience="team")) == ("S0BOSSES",)
    assert approvers_today(given, broadcast(approvers=gone, account="octo")) == ("S0BOSSES",)
    assert approvers_today(given, broadcast(approvers=("S0BOSSES", "U0GONE"), size=100)) == ("S0BOSSES",)


def test_who_is_named_no_more_is_replaced_by_those_of_the_hour_at_which_it_would_go() -> None:
    night = {"between": "20:00-08:00", "timezone": "UTC", "quorum": 1, "approvers": ["U0EVA"]}
    day, evening = (int(datetime(2027, 1, 15, hour, tzinfo=UTC).timestamp()) * SECOND for hour in (10, 21))
    asked = broadcast(approvers=("U0GONE",), created_at=day)
    assert approvers_today(approval(night), asked) == ("S0BOSSES",)
    assert approvers_today(approval(night), dataclasses.replace(asked, ruled_at=evening)) == ("U0EVA",)


# --- people and groups -----------------------------------------------------------------------------------------------


async def test_users_count_as_themselves_and_groups_as_those_in_them() -> None:
    assert await people_in(["U0EVA", "S0BOSSES", "W0DAN"], members) == {"U0EVA", "U0ANA", "U0BEN", "W0DAN"}
    assert await people_in(["S0BOSSES", "S0CREW"], members) == {"U0ANA", "U0BEN", "U0CLEO"}
    assert await people_in([], members) == frozenset()
    assert isinstance(await people_in(["U0EVA"], members), frozenset)


async def test_a_group_that_slack_does_not_tell_about_is_nobodys_yes() -> None:
    with pytest.raises(DirectoryUnavailable) as told:
        await people_in(["U0EVA", "S0SECRET"], members)
    assert (told.value.group, str(told.value)) == ("S0SECRET", "S0SECRET")
    assert isinstance(Unknown("U0GHOST"), DirectoryUnavailable)


def test_people_and_groups_are_shown_as_slack_mentions_them() -> None:
    assert mentions(["U0ANA", "S0BOSSES", "W0DAN"]) == "<@U0ANA>, <!subteam^S0BOSSES>, <@W0DAN>"
    assert mentions([]) == "—"


# --- who is a member -------------------------------------------------------------------------------------------------

PLAIN = dict.fromkeys(("deleted", "is_bot", "is_restricted", "is_ultra_restricted"), False)
OURS = {**PLAIN, "team_id": "T0BELL"}
ODD: tuple[Any, ...] = (None, 1, "true", "false", [], {})
STANDINGS: dict[str, tuple[dict[str, Any], Membership]] = {
    "a full member": (OURS, Membership.MEMBER),
    "one of whom Slack tells no strangeness": (
        {**OURS, "is_stranger": False, "is_workflow_bot": None},
        Membership.MEMBER,
    ),
    "one of a grid": (
        {**PLAIN, "team_id": "E0GRID", "enterprise_user": {"teams": ["T0X", "T0BELL"]}},
        Membership.MEMBER,
    ),
    **{
        f"one whose {name} is true": ({**OURS, name: True}, Membership.OUTSIDER)
        for name in (*PLAIN, "is_stranger", "is_workflow_bot")
    },
    **{
        f"one whose {name} is {value!r}": ({**OURS, name: value}, Membership.DOUBTFUL)
        for name in PLAIN
        for value in ODD
    },
    **{
        f"one whose {name} is {value!r}": ({**OURS, name: value}, Membership.DOUBTFUL)
        for name in ("is_stranger", "is_workflow_bot")
        for value in ODD[1:]
    },
    **{
        f"one without {name}": ({key: value for key, value in OURS.items() if key != name}, Membership.DOUBTFUL)
        for name in OURS
    },
    "one of another workspace": ({**PLAIN, "team_id": "T0OTHER"}, Membership.DOUBTFUL),
    "one of another grid": ({**PLAIN, "enterprise_user": {"teams": ["T0X"]}}, Membership.DOUBTFUL),
    "one whose grid is a text": ({**PLAIN, "enterprise_user": "T0BELL"}, Membership.DOUBTFUL),
    "one whose grid names a text": ({**PLAIN, "enterprise_user": {"teams": "T0BELL"}}, Membership.DOUBTFUL),
    "nobody at all": ({}, Membership.DOUBTFUL),
}


@pytest.mark.parametrize("whose", STANDINGS)
def test_only_whom_slack_calls_a_full_member_of_ours_is_one(whose: str) -> None:
    profile, standing = STANDINGS[whose]
    assert membership_of(profile, "T0BELL") is standing


def test_nobody_is_a_member_of_a_workspace_that_we_do_not_know() -> None:
    assert membership_of({**PLAIN, "team_id": ""}, "") is Membership.DOUBTFUL


def test_a_person_is_nobody_until_slack_says_more() -> None:
    assert Person("T0BELL", "U0ANA") == Person(
        "T0BELL", "U0ANA", name="", locale="en", zone="UTC", member=False, doubtful=False, zone_known=True
    )


def test_a_dead_token_keeps_slacks_word_for_it() -> None:
    told = DeadToken("token_revoked")
    assert (told.code, told.group, isinstance(told, DirectoryUnavailable)) == ("token_revoked", "token", True)


# --- permissions ------------------------------------------------------------------------------------------------------


def test_only_full_members_may_do_anything() -> None:
    must_be_member(person("U0ANA"))
    with pytest.raises(NotAllowed) as refused:
        must_be_member(person("U0ANA", member=False))
    assert "Only full members of this workspace can do this" in refused.value.sentence.template


def test_nobody_is_called_a_guest_while_slack_does_not_say_who_they_are() -> None:
    with pytest.raises(DirectoryUnavailable):
        must_be_member(dataclasses.replace(person("U0ANA", member=False), doubtful=True))


async def test_anybody_may_write_to_an_audience_that_names_nobody() -> None:
    await may_ask(person("U0DAN"), "clients", ONE, members)
    with pytest.raises(NotAllowed, match="Only full members"):
        await may_ask(person("U0DAN", member=False), "clients", ONE, members)


async def test_whom_an_audience_names_may_write_to_it_and_nobody_else() -> None:
    named = ONE.model_copy(update={"requesters": ("S0CREW", "U0EVA")})
    await may_ask(person("U0CLEO"), "clients", named, members)
    await may_ask(person("U0EVA"), "clients", named, members)
    with pytest.raises(NotAllowed) as refused:
        await may_ask(person("U0DAN"), "clients", named, members)
    assert refused.value.sentence.template.startswith("Only {who} can write to *{audience}*.")
    assert refused.value.sentence.values == {"who": "<!subteam^S0CREW>, <@U0EVA>", "audience": "clients"}


async def refusal_to_approve(who: Person, **changes: Any) -> tuple[str, dict[str, Any]] | None:
    try:
        await may_approve(who, broadcast(**changes), members)
    except NotAllowed as error:
        return error.sentence.template, dict(error.sentence.values)
    return None


async def test_an_approver_may_approve() -> None:
    assert await refusal_to_approve(person("U0ANA")) is None
    assert await refusal_to_approve(person("U0EVA"), approvers=("U0EVA",)) is None


async def test_who_asked_or_edited_may_not_approve_though_they_are_approvers() -> None:
    mine = "You asked for {id}, so somebody else must approve it: {who}."
    told = {"id": "B1", "who": "<!subteam^S0BOSSES>"}
    assert await refusal_to_approve(person("U0ANA"), requester="U0ANA") == (mine, told)
    assert await refusal_to_approve(person("U0ANA"), editor="U0ANA") == (mine, told)


async def test_only_those_are_named_whose_yes_is_still_needed() -> None:
    asked = broadcast(approvers=("U0CLEO", "U0ANA", "S0BOSSES", "U0BEN"), editor="U0BEN")
    assert still_asked(asked) == ("U0ANA", "S0BOSSES")
    assert still_asked(asked, ["U0ANA"]) == ("S0BOSSES",)
    assert still_asked(dataclasses.replace(asked, mode="training"), ["U0ANA"]) == ("U0CLEO", "S0BOSSES", "U0BEN")
    with pytest.raises(NotAllowed) as told:
        await may_approve(person("U0CLEO"), asked, members)
    assert told.value.sentence.values["who"] == "<@U0ANA>, <!subteam^S0BOSSES>"


async def test_who_is_no_approver_may_not_approve() -> None:
    told = {"id": "B1", "who": "<!subteam^S0BOSSES>"}
    assert await refusal_to_approve(person("U0DAN")) == ("Only {who} can approve {id}.", told)
    refused = await refusal_to_approve(person("U0ANA", member=False))
    assert refused is not None
    assert refused[0].startswith("Only full members")


async def test_in_training_one_member_may_walk_the_whole_way() -> None:
    assert await refusal_to_approve(person("U0CLEO"), mode="training") is None
    assert await refusal_to_approve(person("U0DAN"), mode="training") is None
    assert await refusal_to_approve(person("U0DAN", member=False), mode="training") is not None


async def test_an_approver_who_is_no_member_any_more_is_none() -> None:
    assert await is_approver(person("U0ANA"), broadcast(), members)
    assert not await is_approver(person("U0ANA", member=False), broadcast(), members)
    assert not await is_approver(person("U0CLEO"), broadcast(), members)


@pytest.mark.parametrize("id", ["U0CLEO", "U0ZOE", "U0OPS", "U0ANA"])
async def test_the_requester_the_editor_an_admin_and_an_approver_may_stop(id: str) -> None:
    row = broadcast(editor="U0ZOE")
    await may_stop(person(id), row, ["U0OPS"], members)
    with pytest.raises(NotAllowed, match="Only full members"):
        await may_stop(person(id, member=False), row, ["U0OPS"], members)


async def test_nobody_else_may_stop() -> None:
    with pytest.raises(NotAllowed) as refused:
        await may_stop(person("U0DAN"), broadcast(), ["U0OPS"], members)
    assert refused.value.sentence.template == "Only the requester ({requester}) or {who} can do this to {id}."
    told = {"requester": "<@U0CLEO>", "who": "<!subteam^S0BOSSES>", "id": "B1"}
    assert refused.value.sentence.values == told


def test_who_is_mentioned_is_a_setting_of_its_own() -> None:
    assert notified(approval(), ("S0BOSSES",)) == ("S0BOSSES",)
    assert notified(approval(notify=["U0ANA"]), ("S0BOSSES",)) == ("U0ANA",)
