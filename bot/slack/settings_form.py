"""The settings of a workspace in Slack: the form, and the button that opens it. For admins alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slack_sdk.web.async_client import AsyncWebClient

from bot.domain.i18n import Translator
from bot.domain.people import Person
from bot.slack.blocks.form_values import kept_in
from bot.slack.blocks.settings_form import read_settings, settings_form
from bot.slack.interaction import Interaction
from bot.slack.payload import number
from bot.workflow.own_settings import WorkspaceSettings


class SettingsForm:
    """Opens the form with what the database says now, and stores what an admin submits."""

    def __init__(self, settings: WorkspaceSettings) -> None:
        self.settings = settings

    async def pressed(self, done: Interaction) -> None:
        """Raises NotAllowed for whoever is no admin."""
        await self.open(done.person, done.trigger, done.words, done.client)

    async def open(self, person: Person, trigger: str, words: Translator, client: AsyncWebClient) -> None:
        """Raises NotAllowed for whoever is no admin."""
        shown = await self.settings.shown(person)
        await client.views_open(trigger_id=trigger, view=settings_form(shown, words))

    async def submitted(self, view: Mapping[str, Any], done: Interaction) -> None:
        """Store it. Raises NotAllowed, InvalidRequest or DirectoryUnavailable."""
        await self.settings.change(done.person, read_settings(view), number(kept_in(view).get("version")))
