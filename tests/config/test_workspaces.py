"""What the settings say for one of many workspaces: together with what they say for all, and checked as that is."""

from __future__ import annotations

from typing import Any

import pytest

from bot.config.load import parse
from bot.config.settings import Settings, SettingsError
from bot.config.workspaces import accounts_with_others, settings_for

T = "T0ABLE"
ENCOM = {"provider": "encom", "customer_account": "CL1", "token": "tok12345"}


def parsed(**workspaces: Any) -> Settings:
    return parse(
        {
            "slack_client_id": "123456.789012",
            "slack_client_secret": "b" * 32,
            "slack_signing_secret": "a" * 32,
            "public_url": "https://bell.example.org",
            "accounts": {"encom": ENCOM, "other": ENCOM},
            "audiences": {"clients": {"account": "encom", "id": "1"}, "staff": {"account": "other", "id": "2"}},
            "approval": {
                "approvers": ["U0ANA"],
                "quorum": 2,
                "rules": [{"audience": "clients", "between": "20:00-08:00", "timezone": "Europe/Paris", "quorum": 3}],
            },
            "workspaces": workspaces,
        }
    )


def wrong(**table: Any) -> list[str]:
    with pytest.raises(SettingsError) as why:
        parsed(**{T: {"accounts": ["encom"], **table}})
    return why.value.lines


def test_an_approval_of_its_own_keeps_the_quorum_and_the_rules_of_all() -> None:
    every = parsed(**{T: {"accounts": ["encom"], "approval": {"approvers": ["S0APP"]}}})
    approval = settings_for(every, T).approval
    assert (approval.approvers, approval.quorum, approval.rules) == (("S0APP",), 2, every.approval.rules)


def test_what_it_says_wins_and_changes_nothing_for_others() -> None:
    table = {"approval": {"quorum": 1, "rules": []}, "locale": "fr", "hourly_cap": 5}
    every = parsed(**{T: table, "T0BAKER": {}})
    own, other = settings_for(every, T), settings_for(every, "T0BAKER")
    assert (own.approval.quorum, own.approval.rules, own.locale, own.hourly_cap) == (1, (), "fr", 5)
    assert (other.approval, other.locale, other.hourly_cap) == (every.approval, every.locale, every.hourly_cap)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            {"approval": {"rules": [{"audience": "clinets", "quorum": 3}]}},
            ".approval.rules number 1, audience: there is",
        ),
        ({"approval": {"rules": [{"account": "enc", "quorum": 3}]}}, ".approval.rules number 1, account: there is no"),
        ({"approval": {"approve_reactions": ["x"]}}, ".approval.reject_reactions: x would approve and reject"),
        ({"approval": {"quorum": 0}}, ".approval.quorum: must be 1 or more"),
        ({"approval": {"quorun": 3}}, ".approval.quorun: there is no such setting. Did you mean quorum?"),
        ({"approval": "S0APP"}, ".approval: must be a table"),
        ({"timezone": "Europe/Pariss"}, ".timezone: is no time zone; did you mean Europe/Paris?"),
        ({"admins": ["nobody"]}, ".admins: is not a user's id"),
        ({"hourly_cap": 0}, ".hourly_cap: must be 1 or more"),
        ({"locale": "de"}, ".locale: must be en"),
        ({"timezon": "UTC"}, ".timezon: there is no such setting. Did you mean timezone?"),
        ({"accounts": ["encon"]}, ".accounts: there is no [accounts.encon]"),
        ({"audiences": ["stuff"]}, ".audiences: there is no [audiences.stuff]"),
    ],
)
def test_what_is_wrong_in_its_table_is_told_as_it_would_be_at_the_top(table: dict[str, Any], said: str) -> None:
    (line,) = wrong(**table)
    assert line.startswith(f"workspaces.{T}{said}")


def test_all_that_is_wrong_is_told_at_once() -> None:
    rules = [{"audience": "clinets", "quorum": 3}]
    table = {"accounts": ["encon"], "timezone": "nowhere", "admins": ["nobody"], "grace": "1m"}
    assert len(wrong(**table, approval={"rules": rules})) == 5


def test_a_name_that_is_no_workspace_and_a_bot_token_beside_workspaces_are_told() -> None:
    with pytest.raises(SettingsError, match=r"workspaces\.E0ORG: is no workspace; its id begins with T"):
        parsed(E0ORG={})
    with pytest.raises(SettingsError, match=r"workspaces\.t0able: no variable can hold its capitals"):
        parsed(t0able={})
    with pytest.raises(SettingsError, match="workspaces: a bot token is for one workspace"):
        parse({"slack_bot_token": "xoxb-1-right", "workspaces": {T: {}}})


def test_a_rule_of_all_about_an_audience_that_it_does_not_have_is_not_wrong() -> None:
    every = parsed(**{T: {"accounts": ["other"], "approval": {"approvers": ["S0APP"]}}})
    assert set(settings_for(every, T).audiences) == {"staff"}


@pytest.mark.parametrize(
    ("tables", "crowded"),
    [
        ({T: {"accounts": ["encom", "other"]}, "T0BAKER": {"accounts": ["other"]}}, {"other"}),
        ({T: {"accounts": ["encom"], "audiences": ["clients"]}}, {"encom"}),
        ({T: {"accounts": ["encom"]}, "T0BAKER": {"accounts": ["other"]}}, set()),
        ({"T0BAKER": {"accounts": ["other"]}}, set()),
    ],
)
def test_an_account_that_others_have_too_is_known(tables: dict[str, Any], crowded: set[str]) -> None:
    assert accounts_with_others(parsed(**tables), T) == crowded
