"""What the settings say for one of many workspaces. What they do not give to a workspace is not there for it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.config.settings import ApprovalSettings, Names, Settings, SettingsError
from bot.domain.i18n import Language

WORKSPACE = re.compile(r"^T[A-Z0-9]{2,}$")


class WorkspaceSettings(BaseModel):
    """`[workspaces.T0…]`: its accounts, and what differs there. `audiences`: None for all of its accounts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accounts: Names = ()
    audiences: Names | None = None
    admins: Names | None = None
    locale: Language | None = None
    timezone: str | None = None
    hourly_cap: int | None = Field(default=None, ge=1)
    approval: ApprovalSettings | None = None


def is_for_many(settings: Settings) -> bool:
    """Whether workspaces install the bot themselves, in place of one bot token."""
    return settings.slack_bot_token is None and settings.slack_client_id is not None


def workspace_settings(settings: Settings) -> Mapping[str, WorkspaceSettings]:
    """Return what is said for each workspace. Raises SettingsError."""
    found, wrong = dict[str, WorkspaceSettings](), list[str]()
    for id, raw in settings.workspaces.items():
        try:
            found[id] = WorkspaceSettings.model_validate(raw)
        except ValidationError as error:
            for detail in error.errors(include_input=False, include_url=False):
                place = ".".join(["workspaces", id, *map(str, detail["loc"])])
                wrong.append(f"{place}: {str(detail['msg']).removeprefix('Value error, ')}.")
            continue
        if not WORKSPACE.match(id):
            wrong.append(f"workspaces.{id}: is no workspace; its id begins with T.")
        lacking = [name for name in found[id].accounts if name not in settings.accounts]
        wrong += [f"workspaces.{id}.accounts: there is no [accounts.{name}]." for name in lacking]
        unknown = [name for name in found[id].audiences or () if name not in settings.audiences]
        wrong += [f"workspaces.{id}.audiences: there is no [audiences.{name}]." for name in unknown]
    if found and not is_for_many(settings):
        wrong.append("workspaces: a bot token is for one workspace; set SLACK_CLIENT_ID in its place, for many.")
    if wrong:
        raise SettingsError(wrong)
    return found


def settings_for(settings: Settings, own: WorkspaceSettings) -> Settings:
    """Return the settings as this workspace has them: only its accounts, and their audiences."""
    accounts = {name: raw for name, raw in settings.accounts.items() if name in own.accounts}
    audiences = {
        name: audience
        for name, audience in settings.audiences.items()
        if audience.account in accounts and (own.audiences is None or name in own.audiences)
    }
    said = {name: getattr(own, name) for name in ("admins", "locale", "timezone", "hourly_cap", "approval")}
    changes = {name: value for name, value in said.items() if value is not None}
    return settings.model_copy(update={"accounts": accounts, "audiences": audiences, **changes})
