"""All checks, one after the other. Nothing that they look at is changed."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path

from bot.adapters import each_policy, open_each
from bot.config.load import present_key, require_slack, sqlite_file
from bot.config.settings import Settings, SettingsError
from bot.doctor.findings import Check, Finding, Setup, all_of, halves
from bot.doctor.machine import check_database, check_files
from bot.doctor.rules import check_policies, check_settings
from bot.doctor.vendors import check_accounts, check_callbacks
from bot.doctor.workspace import check_slack
from bot.doctor.workspaces import check_workspaces, with_own
from bot.domain.clock import now
from bot.slack.client import SlackClient
from bot.slack.directory import People
from bot.storage.database import Database, Unusable
from bot.storage.engines import open_database

TIMEOUT = 15  # seconds for one call to Slack
CHECKS: tuple[Check, ...] = (
    check_files,
    check_database,
    check_settings,
    check_slack,
    check_accounts,
    check_callbacks,
    check_policies,
)


async def examine(settings: Settings, files: Iterable[Path] = (), wrong: Sequence[str] = ()) -> list[Finding]:
    """Run every check. Return all findings, including those that are fine.

    `files`: from which the settings are. `wrong`: what is wrong with the settings that were left out.
    """
    wrong, findings = [*wrong], list[Finding]()
    try:
        require_slack(settings)
    except SettingsError as error:
        wrong += error.lines
    policies, unusable = each_policy(settings)
    database, key = None, _key(settings, findings)
    try:
        database = _database(settings)
    except Unusable as error:
        cause, _, fix = str(error).partition(". ")
        findings.append(Finding("database", "error", f"{cause.rstrip('.')}.", fix or "Check DATABASE_URL."))
    except Exception as error:
        findings.append(Finding("database", "error", f"It cannot be opened: {error}.", "Check DATABASE_URL."))
    accounts, unopened = open_each(settings, database, now, key or secrets.token_bytes(32))
    findings += unreadable((*wrong, *unusable, *unopened))
    client = _client(settings)
    people = People(client, settings.timezone) if client is not None else None
    setup = Setup(settings, policies, accounts, client, people, database, key, tuple(files))
    try:
        setup, said = await with_own(setup)
        found = [*said, *await check_all(setup), *await all_of(check_workspaces, setup)]
        return [*(findings or [Finding("settings", "ok", "The settings can be read.")]), *found]
    finally:
        for account in accounts.values():
            await account.aclose()
        if database is not None:
            await database.close()


def unreadable(lines: Iterable[str]) -> list[Finding]:
    """Return a finding for each setting that cannot be read."""
    return [Finding("settings", "error", *halves(line)) for line in lines]


async def check_all(setup: Setup) -> list[Finding]:
    return [finding for check in CHECKS for finding in await all_of(check, setup)]


def _key(settings: Settings, findings: list[Finding]) -> bytes | None:
    """The secret key if there is one already."""
    try:
        return present_key(settings)
    except SettingsError as error:
        findings.extend(Finding("secret_key", "error", *halves(line)) for line in error.lines)
        return None


def _database(settings: Settings) -> Database | None:
    """Open the database; None where its file would only be made. Raises whatever its driver does."""
    file = sqlite_file(settings)
    if file is not None and file.parent.is_dir() and (not file.exists() or not file.stat().st_size):
        return None
    return open_database(settings.database_url, listen_url=settings.database_direct_url)


def _client(settings: Settings) -> SlackClient | None:
    if settings.slack_bot_token is None:
        return None
    context = ssl.create_default_context() if settings.slack_api_url.startswith("https") else None
    token = settings.slack_bot_token.get_secret_value()
    return SlackClient(token, base_url=settings.slack_api_url, timeout=TIMEOUT, ssl=context, retry_handlers=[])
