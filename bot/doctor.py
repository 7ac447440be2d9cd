"""Checks everything that the bot depends on, and reports what is wrong and how to fix it."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bot.app import Bot
from bot.config.accounts import Account
from bot.config.load import require_slack
from bot.config.settings import ApprovalSettings, Settings, SettingsError
from bot.domain.broadcast import MOST_IN_A_TEST
from bot.domain.hours import Policy
from bot.slack.client import UNREACHABLE, error_name
from bot.storage import keys, schema
from bot.storage.database import DatabaseBusy, DatabaseRefuses, Unusable
from bot.storage.sqlite import SQLite
from bot.workflow.approval_rules import people_in
from providers.base import ProviderError, Purpose, Receipts

log = structlog.get_logger(__name__)

SCOPES = (
    "commands",
    "chat:write",
    "reactions:read",
    "users:read",
    "usergroups:read",
    "channels:read",
    "groups:read",
    "im:write",
)
CLOCK_OFF = 60.0
SECRET = re.compile(r"(?:token|secret|key|password)\w*[\"']?\s*=\s*[\"']?\w|://[^\s:/@]+:[^\s@]+@", re.IGNORECASE)


@dataclass(frozen=True)
class Finding:
    """`level`: ok, warning or error. `fix`: what to do, empty if there is nothing to do."""

    id: str
    level: str
    cause: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


async def examine(settings: Settings, files: Iterable[Path] = ()) -> list[Finding]:
    """Run every check. Return all findings, including those that are fine. `files`: from which the settings are."""
    try:
        require_slack(settings)
        bot = Bot(settings)
    except SettingsError as error:
        return [Finding("settings", "error", line, "") for line in error.lines]
    except Unusable as error:
        return [Finding("database", "error", str(error))]
    try:
        findings = [Finding("settings", "ok", "The settings can be read."), *_readable(bot, files)]
        checks: tuple[Callable[[Bot], AsyncIterator[Finding]], ...] = (
            _database,
            _slack,
            _accounts,
            _callbacks,
            _policies,
        )
        for check in checks:
            findings += await _all_of(check, bot)
        return findings
    finally:
        await bot.close()


async def _all_of(check: Callable[[Bot], AsyncIterator[Finding]], bot: Bot) -> list[Finding]:
    """Return what a check finds, or found before it broke. The next checks still run."""
    found = []
    try:
        async for finding in check(bot):
            found.append(finding)
    except Exception as error:
        found.append(_broken(check.__name__.strip("_"), error))
    return found


async def _one(id: str, check: Awaitable[Finding]) -> Finding:
    try:
        return await check
    except Exception as error:
        return _broken(id, error)


def _broken(id: str, error: Exception) -> Finding:
    log.error("a check broke", check=id, exc_info=error)
    return Finding(
        id, "error", f"This could not be checked ({type(error).__name__}).", "Run doctor again; see the log."
    )


def _readable(bot: Bot, files: Iterable[Path]) -> Iterator[Finding]:
    """Files with secrets or texts that other users of this machine can read."""
    database = [bot.database.path] if isinstance(bot.database, SQLite) else []
    for file in (*filter(_holds_secrets, files), *database):
        if file.exists() and file.stat().st_mode & 0o077:
            yield Finding(
                "files", "warning", f"Other users of this machine can read {file}.", f"Run `chmod 600 {file}`."
            )


def _holds_secrets(file: Path) -> bool:
    try:
        return SECRET.search(file.read_text(encoding="utf-8")) is not None
    except (OSError, UnicodeDecodeError):
        return False


async def _database(bot: Bot) -> AsyncIterator[Finding]:
    try:
        await bot.database.check()
        revision = await bot.database.read(schema.schema_revision)
    except Unusable as error:
        yield Finding("database", "error", str(error))
        return
    except DatabaseRefuses as error:
        yield Finding("database", "error", f"The database does not let the bot in: {error}.", "Check DATABASE_URL.")
        return
    except DatabaseBusy as error:
        yield Finding(
            "database", "error", f"The database does not answer ({error}).", "Start it, or check DATABASE_URL."
        )
        return
    trouble = schema.schema_trouble(revision)
    if trouble is None:
        yield Finding("database", "ok", f"The database is at revision {revision}.")
    else:
        cause, _, fix = trouble.partition(". ")
        yield Finding("database", "error", f"{cause}.", fix)
    if deafness := await bot.database.deafness():
        cause = f"Processes do not hear from each other ({deafness}), and look each half second instead."
        fix = "Behind a pooler, set database_direct_url to the address of PostgreSQL itself."
        yield Finding("database.notifications", "warning", cause, fix)


async def _slack(bot: Bot) -> AsyncIterator[Finding]:
    try:
        answer = await bot.posting.auth_test()
    except UNREACHABLE as error:
        cause = f"Slack does not take the token ({error_name(error)})."
        yield Finding("slack.token", "error", cause, "Set SLACK_BOT_TOKEN to the token on the app's page.")
        return
    yield Finding("slack.token", "ok", f"Connected to {answer.get('team')} as {answer.get('user')}.")
    if bot.settings.slack_app_token is not None:
        yield await _one("slack.app_token", _app_token(bot.posting, bot.settings.slack_app_token.get_secret_value()))
    yield _scopes(answer.headers)
    yield _clock(answer.headers)
    for group in sorted(bot.settings.approval.everybody):
        yield await _one(f"approvers.{group}", _approvers(bot.posting, group))
    for name, approvers, quorum in _quorums(bot.settings.approval):
        yield await _one(name, _quorum(bot, name, approvers, quorum))
    if bot.settings.approval.break_glass:
        yield await _one("approval.break_glass", _break_glass(bot, bot.settings.approval))
    if bot.settings.approval.channel is not None:
        yield await _one("approval.channel", _channel(bot, bot.settings.approval.channel))


async def _app_token(client: AsyncWebClient, token: str) -> Finding:
    """Ask for the address of a socket, without opening one."""
    try:
        await client.apps_connections_open(app_token=token)
    except UNREACHABLE as error:
        cause = f"Slack does not take the app-level token ({error_name(error)})."
        fix = "Set SLACK_APP_TOKEN to one with the scope `connections:write`, from the app's page."
        return Finding("slack.app_token", "error", cause, fix)
    return Finding("slack.app_token", "ok", "Slack takes the app-level token.")


def _scopes(headers: Any) -> Finding:
    granted = {scope.strip() for scope in str(_header(headers, "x-oauth-scopes")).split(",")}
    missing = [scope for scope in SCOPES if scope not in granted]
    if missing and granted != {""}:
        return Finding(
            "slack.scopes", "error", f"Missing scopes: {', '.join(missing)}.", "Install the app's manifest again."
        )
    return Finding("slack.scopes", "ok", "Every scope is granted.")


def _header(headers: Any, name: str) -> str:
    return next((str(value) for key, value in dict(headers).items() if key.lower() == name), "")


def _clock(headers: Any) -> Finding:
    try:
        slack_time = parsedate_to_datetime(_header(headers, "date")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return Finding("clock", "warning", "Slack did not tell its time.", "Check that this machine keeps time by NTP.")
    off = abs(slack_time - time.time())
    if off > CLOCK_OFF:
        return Finding("clock", "error", f"This clock is {off:.0f} s away from Slack's.", "Let NTP set it.")
    return Finding("clock", "ok", "The clock agrees with Slack's.")


async def _approvers(client: AsyncWebClient, id: str) -> Finding:
    try:
        if id.startswith("S"):
            found = len((await client.usergroups_users_list(usergroup=id)).get("users") or ())
            level, cause = ("ok", f"{found} people can approve.") if found else ("error", "Nobody is in this group.")
            return Finding(f"approvers.{id}", level, cause, "" if found else "Put people into it, or name another.")
        user = (await client.users_info(user=id)).get("user") or {}
    except UNREACHABLE as error:
        return Finding(
            f"approvers.{id}", "error", f"Slack does not know it ({error_name(error)}).", "Check approval.approvers."
        )
    if user.get("deleted"):
        return Finding(f"approvers.{id}", "error", "This person has left.", "Take them out of approval.approvers.")
    return Finding(f"approvers.{id}", "ok", "This person can approve.")


def _quorums(approval: ApprovalSettings) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """Yield the name, the approvers and the number of approvals of each rule that asks for some."""
    yield "approval.quorum", approval.approvers, approval.quorum
    for number, rule in enumerate(approval.rules, start=1):
        if rule.quorum:
            yield f"approval.rules.{number}", rule.approvers or approval.approvers, rule.quorum


async def _quorum(bot: Bot, name: str, approvers: tuple[str, ...], quorum: int) -> Finding:
    """Check that enough people can approve: whoever asks for a broadcast never counts."""
    people = len(await people_in(approvers, bot.people.members))
    if people < quorum:
        cause = f"It asks for {quorum} approvals, and only {people} people can approve."
        return Finding(name, "error", cause, "Name more approvers, or ask for fewer approvals.")
    if people == quorum:
        cause = f"All {people} approvers are needed, so none of them can ask for a broadcast themselves."
        return Finding(name, "warning", cause, "Name one more approver.")
    return Finding(name, "ok", f"{people} people can give the {quorum} that it needs.")


async def _break_glass(bot: Bot, approval: ApprovalSettings) -> Finding:
    """Check that somebody may send an alert without approval, and that an alert ever needs approval."""
    people = len(await people_in(approval.break_glass, bot.people.members))
    if not people:
        return Finding("approval.break_glass", "error", "Nobody is in these groups.", "Put people into them.")
    if not any(rule.quorum and rule.purpose is not Purpose.MARKETING for rule in approval.rules):
        cause = "No rule asks for approval of transactional broadcasts, so nobody ever needs to send one without."
        return Finding("approval.break_glass", "warning", cause, "Add such a rule, or leave approval.break_glass out.")
    return Finding("approval.break_glass", "ok", f"{people} people can send an alert without approval.")


async def _channel(bot: Bot, channel: str) -> Finding:
    place = await bot.people.place(channel)
    if place.postable:
        return Finding("approval.channel", "ok", "Cards can be posted there.")
    return Finding(
        "approval.channel", "error", "Cards cannot be posted there.", "Invite the bot with /invite @bellcrier."
    )


async def _accounts(bot: Bot) -> AsyncIterator[Finding]:
    for name, provider in bot.providers.items():
        yield await _one(f"accounts.{name}", _account(name, provider))
        if package := await _unasked(bot, name):
            cause = f"{package} sends without asking first whether it still may, so a pause cannot stop it in time."
            fix = "Let its author read the rules of docs/adding-a-provider.md."
            yield Finding(f"accounts.{name}.adapter", "warning", cause, fix)
        if provider.settings.test_audience is not None:
            yield _test_audience(bot, name, provider.settings.test_audience)
        if provider.capabilities.legacy:
            yield Finding(f"accounts.{name}", "warning", provider.capabilities.legacy)


def _test_audience(bot: Bot, account: str, name: str) -> Finding:
    most, finding = bot.settings.audiences[name].max_size, f"accounts.{account}.test_audience"
    if most is not None and most <= MOST_IN_A_TEST:
        return Finding(finding, "ok", f"Tests go to {name}, at most {most} people.")
    cause = f"Tests go to {name}. They need approval unless the vendor says that at most {MOST_IN_A_TEST} get them."
    return Finding(finding, "warning", cause, f"Set audiences.{name}.max_size.")


async def _unasked(bot: Bot, account: str) -> str | None:
    """Return the package, if it released without asking the last time."""
    try:
        return await bot.database.read(lambda c: keys.load_kept(c, keys.of_unasked(account)))
    except Exception:  # the database has its own finding
        return None


async def _account(name: str, provider: Account) -> Finding:
    try:
        check = await provider.check()
    except ProviderError as error:
        setting = f"accounts.{name}.{error.setting or 'base_url'}"
        return Finding(f"accounts.{name}", "error", str(error), f"Look at {setting}.")
    credit = f" Credit: {check.credit} {check.unit or ''}".rstrip() + "." if check.credit is not None else ""
    return Finding(f"accounts.{name}", "ok", f"{provider.title} takes the credentials.{credit}")


async def _callbacks(bot: Bot) -> AsyncIterator[Finding]:
    wanting = [name for name, provider in bot.providers.items() if provider.capabilities.receipts is not Receipts.NONE]
    if wanting and bot.settings.public_url is None:
        cause = "There is no public address, so vendors cannot call back; statuses are polled where that is possible."
        yield Finding("callbacks", "warning", cause, "Set public_url.")
    for name in wanting:
        if bot.settings.public_url and bot.providers[name].capabilities.receipts is Receipts.ACCOUNT:
            yield Finding(f"callbacks.{name}", "ok", f"Paste this at the vendor: {bot.callback_address(name)}")


async def _policies(bot: Bot) -> AsyncIterator[Finding]:
    used = {audience.policy for audience in bot.settings.audiences.values() if audience.policy}
    for name in sorted(used):
        yield _policy(name, bot.policies[name])


def _policy(name: str, policy: Policy) -> Finding:
    checked = policy.checked_on
    if policy.country and (checked is None or (time.time() - time.mktime(checked.timetuple())) > 366 * 86400):
        cause = "Nobody has checked these hours for a year."
        return Finding(f"policies.{name}", "warning", cause, f"Check the law, then set policies.{name}.checked_on.")
    return Finding(f"policies.{name}", "ok", f"Hours in {', '.join(policy.zones or (policy.timezone,))}.")
