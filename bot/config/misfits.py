"""What does not fit together in the settings, though each of them can be read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bot.config.settings import ApprovalSettings, Settings
from bot.config.sources import Steps
from bot.storage.addresses import backend

ACCOUNT_NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,40}$")


def misfits(settings: Settings, tree: Mapping[str, Any]) -> Iterator[tuple[Steps, str]]:
    """Yield what does not fit together, and why. `tree`: all settings, with those that are wrong by themselves."""
    for name in settings.accounts:
        if not ACCOUNT_NAME.match(name):
            yield ("accounts", name), "is no name for an account; use small letters, digits, - and _"
    for name, audience in settings.audiences.items():
        if audience.account not in settings.accounts and not is_there(tree, "accounts", audience.account):
            known = ", ".join(sorted(settings.accounts)) or "none"
            yield ("audiences", name, "account"), f"there is no such account; there are: {known}"
    for name, account in settings.accounts.items():
        if why := _wrong_test_audience(settings, name, account.get("test_audience"), tree):
            yield ("accounts", name, "test_audience"), why
    yield from misfits_of_approval(settings.approval, settings, tree)
    if backend(settings.database_url) == "postgresql" and not settings.is_written("secret_key"):
        yield ("secret_key",), "must be given with PostgreSQL; `openssl rand -base64 32` makes one"
    for one, other in (("slack_client_id", "slack_client_secret"), ("slack_client_secret", "slack_client_id")):
        if settings.is_written(one) and not settings.is_written(other):
            yield (one,), f"needs {other.upper()} too; both are on the app's page at Slack"


def misfits_of_approval(
    approval: ApprovalSettings, settings: Settings, tree: Mapping[str, Any]
) -> Iterator[tuple[Steps, str]]:
    """A rule about what is not there would match nothing, and so ask for fewer approvals than somebody meant."""
    if both := sorted(set(approval.approve_reactions) & set(approval.reject_reactions)):
        why = f"{', '.join(both)} would approve and reject; take it out of one of the two lists"
        yield ("approval", "reject_reactions"), why
    for number, rule in enumerate(approval.rules):
        audience = settings.audiences.get(rule.audience or "")
        if rule.account and rule.account not in settings.accounts and not is_there(tree, "accounts", rule.account):
            yield ("approval", "rules", number, "account"), f"there is no [accounts.{rule.account}]"
        if rule.audience and audience is None and not is_there(tree, "audiences", rule.audience):
            yield ("approval", "rules", number, "audience"), f"there is no [audiences.{rule.audience}]"
        elif audience is not None and rule.account not in (None, audience.account):
            why = f"[audiences.{rule.audience}] is of the account {audience.account}, so this rule never matches"
            yield ("approval", "rules", number, "account"), f"{why}; leave one of the two out"


def is_there(tree: Mapping[str, Any], table: str, name: str) -> bool:
    """Whether this is written at all, or may be: then it is wrong by itself, which is told already."""
    written = tree.get(table, {})
    return not isinstance(written, Mapping) or name in written


def _wrong_test_audience(settings: Settings, account: str, wanted: Any, tree: Mapping[str, Any]) -> str | None:
    if not isinstance(wanted, str):
        return None  # it is wrong by itself
    if wanted not in settings.audiences:
        return None if is_there(tree, "audiences", wanted) else "there is no such audience; name one of this account"
    if (owner := settings.audiences[wanted].account) != account:
        return f"[audiences.{wanted}] belongs to the account {owner}; name an audience of this account"
    return None
