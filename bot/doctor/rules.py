"""Checks of the settings alone: what can be read, but cannot be meant."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from decimal import Decimal

from bot.config.settings import ApprovalRule, AudienceSettings, Settings
from bot.doctor.findings import Finding, Setup
from bot.domain.hours import Policy
from providers.base import Purpose
from providers.durations import shown_duration

SIGNING_SECRET = re.compile(r"[0-9a-f]{32}")
YEAR = 366 * 86400  # seconds
#: The longest that anybody means, by the setting's name.
LONGEST = {
    "grace": timedelta(days=2),
    "report_after": timedelta(days=30),
    "approval.undo": timedelta(days=1),
    "approval.expires_after": timedelta(days=90),
    "approval.duplicates_within": timedelta(days=30),
}


async def check_settings(setup: Setup) -> AsyncIterator[Finding]:
    settings = setup.settings
    for found in (_secrets(settings), _durations(settings), _rules(settings), _audiences(setup), _nobody(settings)):
        for finding in found:
            yield finding


def _secrets(settings: Settings) -> Iterator[Finding]:
    secret = settings.slack_signing_secret
    if secret is not None and not SIGNING_SECRET.fullmatch(secret.get_secret_value().strip()):
        cause = "It is not 32 digits of 0-9 and a-f, as signing secrets are, so every request of Slack's is refused."
        fix = "Copy SLACK_SIGNING_SECRET from “Basic Information” on the app's page."
        yield Finding("slack.signing_secret", "error", cause, fix)


def _durations(settings: Settings) -> Iterator[Finding]:
    approval = settings.approval
    for name, longest in LONGEST.items():
        *table, field = name.split(".")
        value: timedelta = getattr(approval if table else settings, field)
        if value > longest:
            cause = f"{shown_duration(value)} is longer than anybody waits."
            yield Finding(name, "warning", cause, f"Set {name} to {shown_duration(longest)} or less.")
    if approval.expires_after < timedelta(minutes=1):
        cause = f"A request ends {shown_duration(approval.expires_after)} after it was made: nobody can approve it."
        yield Finding("approval.expires_after", "error", cause, 'Set approval.expires_after, for example to "24h".')
    elif approval.remind_after > approval.expires_after:
        cause = "Nobody is reminded, since a request expires before that."
        yield Finding("approval.remind_after", "warning", cause, "Set it to less than approval.expires_after.")


def _rules(settings: Settings) -> Iterator[Finding]:
    rules = settings.approval.rules
    for number, rule in enumerate(rules, start=1):
        earlier = next((place for place, one in enumerate(rules[: number - 1], 1) if _covers(one, rule, settings)), 0)
        if earlier:
            cause = f"Rule {earlier} matches everything that this rule matches, so this one is never used."
            yield Finding(f"approval.rules.{number}", "error", cause, "Put it before that rule, or take it out.")
    asks = any(rule.quorum and rule.purpose is not Purpose.MARKETING for rule in rules)
    if settings.approval.break_glass and not asks:
        cause = "No rule asks for approval of transactional broadcasts, so nobody ever needs to send one without."
        fix = "Add such a rule, or leave approval.break_glass out."
        yield Finding("approval.break_glass.rules", "warning", cause, fix)


def _covers(earlier: ApprovalRule, later: ApprovalRule, settings: Settings) -> bool:
    """Whether an earlier rule matches every broadcast that the later one would."""
    audience = settings.audiences.get(later.audience or "")
    account = later.account or (audience.account if audience else None)
    same_hours = (earlier.between, earlier.timezone) == (later.between, later.timezone)
    return (
        earlier.purpose in (None, later.purpose)
        and earlier.audience in (None, later.audience)
        and earlier.account in (None, account)
        and _reaches_as_far(earlier.larger_than, later.larger_than)
        and _reaches_as_far(earlier.costs_more_than, later.costs_more_than)
        and (earlier.between is None or same_hours)
    )


def _reaches_as_far(earlier: Decimal | int | None, later: Decimal | int | None) -> bool:
    """Whether whatever is above the later bound is above the earlier one. None: no bound."""
    return earlier is None or (later is not None and earlier <= later)


def _nobody(settings: Settings) -> Iterator[Finding]:
    """What nobody can do, since nobody is named."""
    if not settings.approval.approvers:
        unnamed = [f"rule {number}" for number, rule in enumerate(settings.approval.rules, 1) if _asks_nobody(rule)]
        covered = f", and what {' and '.join(unnamed)} cover{'s' * (len(unnamed) == 1)}," if unnamed else ""
        cause = f"Nobody is named who may approve, so marketing{covered} can never be approved."
        yield Finding("approval.approvers", "error", cause, 'Set approval.approvers, such as ["S0APPROVERS"].')
    if not settings.admins:
        cause = "There are no admins, so nobody can pause all sending or hear of trouble."
        yield Finding("admins", "warning", cause, 'Set admins, such as ["U0OPS"].')
    for name in ("accounts", "audiences"):
        if not getattr(settings, name):
            yield Finding(name, "warning", f"There are no {name}, so nothing can be sent.", f"Add [{name}.NAME].")


def _asks_nobody(rule: ApprovalRule) -> bool:
    return bool(rule.quorum) and not rule.approvers


def _audiences(setup: Setup) -> Iterator[Finding]:
    for name, audience in setup.settings.audiences.items():
        yield from _audience(setup, name, audience)
    same = dict[tuple[object, ...], str]()
    for name, audience in setup.settings.audiences.items():
        who = (audience.account, audience.kind, audience.id, audience.everyone, audience.subscribers)
        if (other := same.setdefault(who, name)) != name:
            cause = f"It is the same {audience.kind} of the same account as {other}."
            yield Finding(f"audiences.{name}.id", "warning", cause, "Check both ids, or take one of them out.")


def _audience(setup: Setup, name: str, audience: AudienceSettings) -> Iterator[Finding]:
    if audience.policy is None:
        cause = "It has no sending hours, so marketing to it is refused."
        yield Finding(f"audiences.{name}.policy", "warning", cause, f'Set audiences.{name}.policy, such as "fr".')
    account = setup.accounts.get(audience.account)
    if account is None:  # the account has its own finding
        return
    able = account.capabilities
    if audience.kind not in able.audiences:
        kinds = " or ".join(sorted(able.audiences))
        cause = f"{account.title} has no audiences of the kind {audience.kind}, so every broadcast to it fails."
        yield Finding(f"audiences.{name}.kind", "error", cause, f"Set audiences.{name}.kind to {kinds}.")
    elif able.id_pattern is not None and not re.fullmatch(able.id_pattern, audience.id):
        cause = f"{account.title} has no {audience.kind} with the id {audience.id!r}. {able.id_rule}".rstrip()
        yield Finding(f"audiences.{name}.id", "error", cause, "Copy the id from the vendor's page.")


async def check_policies(setup: Setup) -> AsyncIterator[Finding]:
    used = {audience.policy for audience in setup.settings.audiences.values() if audience.policy}
    for name in sorted(used & setup.policies.keys()):
        yield _policy(name, setup.policies[name])


def _policy(name: str, policy: Policy) -> Finding:
    checked = policy.checked_on
    if policy.country and (checked is None or (time.time() - time.mktime(checked.timetuple())) > YEAR):
        cause = "Nobody has checked these hours for a year."
        return Finding(f"policies.{name}", "warning", cause, f"Check the law, then set policies.{name}.checked_on.")
    return Finding(f"policies.{name}", "ok", f"Hours in {', '.join(policy.zones or (policy.timezone,))}.")
