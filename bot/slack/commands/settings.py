"""`/broadcast settings`: the settings of this workspace, for admins."""

from __future__ import annotations

from slack_sdk.web.async_client import AsyncWebClient

from bot.slack.blocks.mrkdwn import Post
from bot.slack.replies import Command, Subcommand
from bot.slack.settings_form import SettingsForm


class SettingsCommand:
    """Opens the form with the settings."""

    def __init__(self, form: SettingsForm) -> None:
        self.form = form
        self.table: dict[str, Subcommand] = {"settings": ("settings", self.settings)}

    async def settings(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """Change the settings of this workspace (admins)."""
        await self.form.open(asked.person, asked.trigger, asked.words, client)
        return None
