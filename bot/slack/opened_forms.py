"""The compose form as it opens: empty, with what was typed and not sent, or with a draft or a broadcast to change."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Clock
from bot.domain.errors import StaleVersion
from bot.domain.i18n import Translatable, Translator
from bot.domain.lifecycle import TRANSITIONS, Action, State
from bot.domain.people import Person
from bot.slack.blocks import form_values, forms
from bot.slack.replies import offered
from bot.slack.template_forms import TemplateForms
from bot.storage import cards, keys, templates
from bot.storage.database import DatabaseBusy
from bot.storage.templates import Template
from bot.workflow.workflow import Workflow

SOON = 0.3  # seconds to find out whether there are templates
FORM_KEPT = 7 * 24 * 3600 * SECOND  # how long what was typed in the form and not sent is offered again


@dataclass(frozen=True)
class Kept:
    """What the form is filled with. `name`, `digest`: the template that it fills in. `offers`: there are templates."""

    values: Mapping[str, Any]
    name: str | None
    digest: str
    now: Template | None
    offers: bool

    @property
    def slots(self) -> dict[str, str]:
        found = self.values.get("slots")
        return {str(name): str(value) for name, value in found.items()} if isinstance(found, Mapping) else {}


class OpenedForms:
    """Fills the form that opens. What a template says is read with the rest, so that the form opens no later."""

    def __init__(self, workflow: Workflow, clock: Clock) -> None:
        self.workflow, self.clock, self.templates = workflow, clock, TemplateForms(workflow)

    async def blank(self, person: Person, channel: str, words: Translator) -> forms.Form:
        """The form for a new broadcast, with what this person typed last and did not send."""
        since = self.clock() - FORM_KEPT

        def read(connection: Connection) -> tuple[keys.KeptForm | None, Kept]:
            kept = keys.kept_form(connection, person.workspace, person.id, since)
            return kept, _with_template(connection, person.workspace, kept.values if kept else {})

        kept, found = await self.workflow.database.read(read)
        form = forms.Form(offered(self.workflow.audiences, words), channel, values=found.values)
        form = replace(form, kept_at=kept.at if kept else None)
        return self._filled(form, found, person, words)

    async def offering(self, form: forms.Form, workspace: str) -> forms.Form:
        """The same form with the templates to choose from, if there are any. It opens without if that takes long."""
        try:
            async with asyncio.timeout(SOON):
                offers = await self.workflow.database.read(lambda c: templates.has_templates(c, workspace))
        except (TimeoutError, DatabaseBusy):
            return form
        return replace(form, choice=form_values.Choice()) if offers else form

    async def edit(self, row: Broadcast, person: Person, channel: str, words: Translator) -> forms.Form:
        """The form filled with a draft, to be submitted in that channel, or with a broadcast that is edited.

        Raises StaleVersion or NotAllowed if this person can no longer edit it.
        """
        choices, values = offered(self.workflow.audiences, words), forms.filled(row, send_at=row.send_at)
        form = forms.Form(choices, channel, values=values, test=row.test_of is not None)
        if row.state is State.DRAFT:
            return await self._draft(replace(form, draft=row.id, follows=row.follows), row, person, words)
        if (row.state, Action.EDIT) not in TRANSITIONS:
            raise StaleVersion(row)
        await self.workflow.may(Action.EDIT, person, row)
        return replace(form, edits=(row.id, row.version))

    async def _draft(self, form: forms.Form, row: Broadcast, person: Person, words: Translator) -> forms.Form:
        """The form of a draft. What an approver gave back is an ordinary text: no approval in advance covers it.

        A follow-up offers no template, which might have another audience.
        """

        def read(connection: Connection) -> Kept | None:
            if row.test_of or row.follows or cards.card_of(connection, row) is not None:
                return None
            filling = keys.filling_of(connection, row.workspace, row.id)
            return _with_template(connection, row.workspace, {**form.values, **filling})

        found = await self.workflow.database.read(read)
        return self._filled(form, found, person, words) if found else form

    def _filled(self, form: forms.Form, kept: Kept, person: Person, words: Translator) -> forms.Form:
        """The form with its template, if that still says what it said then; else with the text, and the reason."""
        if kept.name is None:
            return replace(form, choice=form_values.Choice() if kept.offers else None)
        if kept.now is None or kept.now.digest != kept.digest:
            changed = Translatable(
                "The template “{name}” has changed since you filled it in. What you wrote is an ordinary text now.",
                name=kept.name,
            )
            return replace(form, choice=form_values.Choice(wrong=changed))
        return self.templates.filling(form, self.templates.use.filled(kept.now, kept.slots), person, words)


def _with_template(connection: Connection, workspace: str, values: Mapping[str, Any]) -> Kept:
    named = form_values.read_template(values.get("template"))
    now = templates.find_template(connection, workspace, named[0]) if named else None
    offers = now is not None or templates.has_templates(connection, workspace)
    return Kept(values, named[0] if named else None, named[1] if named else "", now, offers)
