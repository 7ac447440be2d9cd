"""What the selects of a form offer for the first letters of something: audiences and templates."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from slack_bolt.context.ack.async_ack import AsyncAck

from bot.domain.errors import NotAMember
from bot.domain.i18n import Translator, translator_for
from bot.domain.people import DeadToken, DirectoryUnavailable
from bot.slack.blocks import forms, template_forms
from bot.slack.interaction import Body, Entrance, workspace_of
from bot.slack.live_form import COMPOSE
from bot.slack.replies import form_audiences
from bot.slack.template_choice import TemplateChoice
from bot.slack.template_forms import TemplateForms
from bot.storage.database import DatabaseBusy
from bot.workflow.workflow import Workflow

OFFERED = 100  # options that Slack takes


class TypeAhead:
    """Answers a select that asks for its options."""

    def __init__(self, workflow: Workflow, entrance: Entrance) -> None:
        self.audiences, self.entrance = workflow.audiences, entrance
        self.choice = TemplateChoice(TemplateForms(workflow))

    async def suggest(self, ack: AsyncAck, body: Body) -> None:
        """Offer the audiences whose name holds what has been typed, with their sizes; or the templates."""
        options: list[dict[str, Any]] = []
        if _is_ours(body):
            with suppress(NotAMember, DirectoryUnavailable, DeadToken):
                words = translator_for((await self.entrance.member(body)).locale)
                options = await self._options(body, str(body.get("value") or ""), words)
        await ack(options=options)

    async def _options(self, body: Body, typed: str, words: Translator) -> list[dict[str, Any]]:
        if str(body.get("block_id")).split(":")[0] != "template":
            return forms.audience_options(self._offered(words), typed, OFFERED)
        try:
            return await self.choice.options(workspace_of(body), typed, OFFERED, words)
        except DatabaseBusy:
            return []

    def _offered(self, words: Translator) -> list[tuple[str, str]]:
        return [(name, self._sized(name, label, words)) for name, label in form_audiences(self.audiences, words)]

    def _sized(self, name: str, label: str, words: Translator) -> str:
        size = self.audiences.audience_cache.size_of(name)
        return label if size is None else f"{label} · {words.count('{number} person', '{number} people', size)}"


def _is_ours(body: Body) -> bool:
    view = body.get("view")
    return isinstance(view, Mapping) and view.get("callback_id") in (COMPOSE, template_forms.MAKE)
