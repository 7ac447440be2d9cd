"""What the settings say for one of many workspaces. What they do not give to a workspace is not there for it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from bot.config.complaints import complaint, sentence
from bot.config.fields import Names
from bot.config.misfits import is_there, misfits_of_approval
from bot.config.settings import Settings, SettingsError
from bot.config.sources import Steps

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

M = TypeVar("M", bound=BaseModel)
WORKSPACE = re.compile(r"^T[A-Z0-9]{2,}$")
#: The settings that a workspace may have of its own, under the names that they have at the top of the file.
OWN = ("admins", "locale", "timezone", "hourly_cap", "asks_per_hour", "approval", "notifications", "digest")


class Share(BaseModel):
    """What `[workspaces.T0…]` gives to a workspace of what all have. `audiences`: None for all of its accounts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accounts: Names = ()
    audiences: Names | None = None


def is_for_many(settings: Settings) -> bool:
    """Whether workspaces install the bot themselves, in place of one bot token."""
    return settings.slack_bot_token is None and settings.slack_client_id is not None


def settings_for(settings: Settings, workspace: str) -> Settings:
    """Return the settings as this workspace has them: its own, and of the accounts and audiences only its share."""
    share = share_of(settings, workspace)
    accounts = {name: raw for name, raw in settings.accounts.items() if name in share.accounts}
    audiences = {
        name: audience
        for name, audience in settings.audiences.items()
        if audience.account in accounts and (share.audiences is None or name in share.audiences)
    }
    raw = _own(settings, workspace)
    own = Settings.model_validate(raw)
    return settings.model_copy(
        update={"accounts": accounts, "audiences": audiences, **{name: getattr(own, name) for name in raw}}
    )


def share_of(settings: Settings, workspace: str) -> Share:
    """Return what this workspace has of what all have; nothing, without a table of its own."""
    return Share.model_validate(_shared(settings, workspace))


def accounts_with_others(settings: Settings, workspace: str) -> frozenset[str]:
    """Return its accounts at whose vendors lie lists of others too: then it sees only those that its table gives it."""
    share = share_of(settings, workspace)
    if share.audiences is not None:
        return frozenset(share.accounts)
    others = (share_of(settings, one).accounts for one in settings.workspaces if one != workspace)
    return frozenset(share.accounts) & frozenset().union(*others)


def _shared(settings: Settings, workspace: str) -> dict[str, Any]:
    return {name: value for name, value in settings.workspaces.get(workspace, {}).items() if name not in OWN}


def _own(settings: Settings, workspace: str) -> dict[str, Any]:
    """Its own settings as written, and in its `approval` and `notifications` those of all, except where it says
    something else."""
    raw = settings.workspaces.get(workspace, {})
    own = {name: raw[name] for name in OWN if name in raw}
    for table, of_all in (("approval", settings.approval), ("notifications", settings.notifications)):
        if isinstance(written := own.get(table), Mapping):
            own[table] = {name: getattr(of_all, name) for name in of_all.model_fields_set} | dict(written)
    return own


def wrong_with_workspaces(settings: Settings) -> list[str]:
    """Return what is wrong with `[workspaces.T0…]`, or does not fit the other settings."""
    written, wrong = settings.written(), list[str]()
    if settings.workspaces and settings.slack_bot_token is not None:
        only = "a bot token is for one workspace; set SLACK_CLIENT_ID in its place, for many"
        wrong.append(sentence(written, ("workspaces",), only))
    for id in settings.workspaces:
        share, unshared = _readable(Share, _shared(settings, id))
        own, disowned = _readable(Settings, _own(settings, id))
        wrong += [complaint(detail, written, ("workspaces", id), Share) for detail in unshared]
        wrong += [complaint(detail, written, ("workspaces", id)) for detail in disowned]
        misfits = [*_misfits(id, share, settings, written.tree), *_misfits_of_approval(own, settings, written.tree)]
        wrong += [sentence(written, ("workspaces", id, *steps), why) for steps, why in misfits]
    return wrong


def _readable(model: type[M], raw: Mapping[str, Any]) -> tuple[M, list[ErrorDetails]]:
    """Return what can be read, and what is wrong with the rest."""
    try:
        return model.model_validate(raw), []
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)
    names = {detail["loc"][0] for detail in wrong}
    return model.model_validate({name: value for name, value in raw.items() if name not in names}), wrong


def _misfits(id: str, share: Share, settings: Settings, tree: Mapping[str, Any]) -> Iterator[tuple[Steps, str]]:
    if not WORKSPACE.match(id):
        capitals = f"no variable can hold its capitals; write [workspaces.{id.upper()}] in the settings file"
        yield (), capitals if WORKSPACE.match(id.upper()) else "is no workspace; its id begins with T"
    for table, names in (("accounts", share.accounts), ("audiences", share.audiences or ())):
        for name in names:
            if name not in getattr(settings, table) and not is_there(tree, table, name):
                yield (table,), f"there is no [{table}.{name}]"


def _misfits_of_approval(own: Settings, settings: Settings, tree: Mapping[str, Any]) -> Iterator[tuple[Steps, str]]:
    """Yield what does not fit in its approvals. What they have from all is told there."""
    if "approval" in own.model_fields_set:
        of_all = set(misfits_of_approval(settings.approval, settings, tree))
        yield from (one for one in misfits_of_approval(own.approval, settings, tree) if one not in of_all)


def must_fit(settings: Settings) -> None:
    """Raise SettingsError if something is wrong with `[workspaces.T0…]`."""
    if wrong := wrong_with_workspaces(settings):
        raise SettingsError(wrong)
