"""What is true of one workspace of many, or set in Slack. For the operator alone: no workspace is told of another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from bot.config.own_settings import RESET, Unsuitable, with_values
from bot.config.settings import Settings
from bot.config.workspaces import is_for_many, settings_for
from bot.doctor.findings import Finding, Setup, all_of
from bot.doctor.workspace import check_slack
from bot.domain.clock import now
from bot.slack.client import UNREACHABLE, SlackClient
from bot.slack.directory import People
from bot.slack.installed import Installations
from bot.storage import schema
from bot.storage.database import Database
from bot.storage.own_settings import OwnSettings, all_own_settings


async def with_own(setup: Setup) -> tuple[Setup, list[Finding]]:
    """Return the set-up of a bot token with what admins changed in Slack, and what there is to say of that."""
    if is_for_many(setup.settings) or setup.client is None or not (own := await _own(setup.database)):
        return setup, []
    try:
        id = str((await setup.client.auth_test()).get("team_id") or "")
    except UNREACHABLE:  # the token has its own finding
        return setup, []
    if id not in own:
        return setup, []
    settings, finding = _effective(setup.settings, own[id])
    return replace(setup, settings=settings), [finding]


async def check_workspaces(setup: Setup) -> AsyncIterator[Finding]:
    """Check each of many workspaces with its own settings, asked at Slack with its own token."""
    if (
        not is_for_many(setup.settings)
        or setup.key is None
        or setup.database is None
        or not await _ours(setup.database)
    ):
        return
    own = await setup.database.read(all_own_settings)
    for id, installation in sorted((await Installations(setup.database, setup.key, now).living()).items()):
        settings = settings_for(setup.settings, id)
        if id in own:
            settings, finding = _effective(settings, own[id])
            yield replace(finding, id=f"{id}: {finding.id}")
        if id not in setup.settings.workspaces:
            cause = "It has installed the bot, and the settings give it nothing."
            yield Finding(f"{id}: workspaces", "warning", cause, f"Add [workspaces.{id}], or let it remove the bot.")
        client = SlackClient(installation.token, base_url=settings.slack_api_url, timeout=15, retry_handlers=[])
        shared = settings.model_copy(update={"slack_app_token": None})  # which is checked once
        apart = replace(setup, settings=shared, client=client, people=People(client, settings.timezone))
        for finding in await all_of(check_slack, apart):
            yield replace(finding, id=f"{id}: {finding.id}")


def _effective(file: Settings, own: OwnSettings) -> tuple[Settings, Finding]:
    """Return the settings that are in force, and which of them come from the database."""
    try:
        settings = with_values(file, own.settings)
    except Unsuitable as error:
        cause = f"What {own.changed_by} set in Slack cannot be used: {error}"
        return file, Finding("set_in_slack", "error", cause, RESET.format(id=own.workspace))
    names = ", ".join(sorted(own.settings))
    said = f"From the database, as {own.changed_by} set them in Slack: {names}." if names else "All are the file's."
    return settings, Finding("set_in_slack", "ok", said)


async def _own(database: Database | None) -> dict[str, OwnSettings]:
    if database is None or not await _ours(database):
        return {}
    return await database.read(all_own_settings)


async def _ours(database: Database) -> bool:
    """Whether the database has this version's tables. If not, another finding says so."""
    try:
        return schema.schema_trouble(await database.read(schema.schema_revision)) is None
    except Exception:
        return False
