"""The compose form as it opens: empty, with what was typed and not sent, or with a draft or a broadcast to change."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog
from sqlalchemy import Connection

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Clock
from bot.domain.errors import FieldError, InvalidRequest, StaleVersion
from bot.domain.i18n import Translatable, Translator
from bot.domain.lifecycle import TRANSITIONS, Action, State
from bot.domain.people import Person
from bot.slack.blocks import form_values, forms, refusals
from bot.slack.blocks.card_facts import text_removed
from bot.slack.blocks.mrkdwn import context
from bot.slack.replies import offered
from bot.slack.template_forms import TemplateForms
from bot.storage import keys, templates
from bot.storage.templates import Template
from bot.workflow.storing import was_asked_about
from bot.workflow.templates import no_template
from bot.workflow.workflow import Workflow

log = structlog.get_logger(__name__)

SOON = 0.3  # seconds to keep what was typed
NAME = 64  # characters of a button's value that name what was kept


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

        def read(connection: Connection) -> tuple[keys.KeptForm | None, Kept]:
            kept = keys.kept_form(connection, person.workspace, person.id, self.clock())
            return kept, _with_template(connection, person.workspace, kept.values if kept else {})

        kept, found = await self.workflow.database.read(read)
        form = forms.Form(offered(self.workflow.audiences, words), channel, values=found.values)
        form = replace(form, kept_at=kept.at if kept else None)
        return self._filled(form, found, person, words)

    async def keep_command(self, workspace: str, user: str, refused: refusals.Correction) -> bool:
        """Keep a refused command that no button can hold. Return whether that was done in time."""
        values = {"typed": refused.typed, "verb": refused.verb}
        try:
            async with asyncio.timeout(SOON):
                await self.workflow.database.write(
                    lambda c: keys.keep_form(c, workspace, user, values, self.clock(), f"command:{refused.name}")
                )
        except Exception as error:  # whatever it is, the answer to the command is on its way
            log.info("a refused command could not be kept", error=type(error).__name__)
            return False
        return True

    async def kept_command(self, person: Person, name: str) -> refusals.Correction:
        """Return the refused command that was kept. Raises InvalidRequest if that was too long ago."""
        kept = await self.workflow.database.read(
            lambda c: keys.kept_form(c, person.workspace, person.id, self.clock(), f"command:{name[:NAME]}")
        )
        if kept is None:
            template = "I no longer have your text. Copy it from the message above into a new form: `/broadcast`."
            raise InvalidRequest(FieldError("text", Translatable(template)))
        return refusals.Correction(str(kept.values.get("typed")), str(kept.values.get("verb") or "send"))

    async def prefilled(
        self,
        person: Person,
        channel: str,
        words: Translator,
        origin: str,
        *,
        template: str | None = None,
        audience: str | None = None,
    ) -> forms.Form:
        """The form for a new broadcast with a template or an audience, or with what this person has typed in it since.

        `origin`: the template or the reminder that it is opened from. `audience`: another one than the template's.
        Raises InvalidRequest if there is no such template, and nothing was typed.
        """
        form = forms.Form(offered(self.workflow.audiences, words), channel, values={"audience": audience})
        form = replace(form, origin=origin)

        def read(connection: Connection) -> tuple[keys.KeptForm | None, Kept, Template | None]:
            kept = self._kept(connection, form, person)
            found = templates.find_template(connection, person.workspace, template) if template else None
            return kept, _with_template(connection, person.workspace, kept.values if kept else {}), found

        kept, filled, found = await self.workflow.database.read(read)
        if kept is not None or template is None:
            return self._filled(_with_kept(form, kept), filled, person, words)
        if found is None:
            raise no_template(template)
        return replace(self.templates.form(found, channel, person, words, audience), origin=origin)

    async def edit(self, row: Broadcast, person: Person, channel: str, words: Translator) -> forms.Form:
        """The form filled with a draft, to be submitted in that channel, or with a broadcast that is edited.

        What this person has typed in it before and not submitted is in it. Raises StaleVersion or NotAllowed if this
        person can no longer edit it.
        """
        audiences = self.workflow.audiences
        choices, values = offered(audiences, words), forms.filled(audiences.as_typed(row), send_at=row.send_at)
        form = forms.Form(choices, channel, values=values, test=row.test_of is not None, version=row.version)
        if row.state is State.DRAFT:
            return await self._draft(replace(form, draft=row.id, follows=row.follows), row, person, words)
        if (row.state, Action.EDIT) not in TRANSITIONS:
            raise StaleVersion(row)
        await self.workflow.may(Action.EDIT, person, row)
        return await self._as_left(replace(form, edits=(row.id, row.version)), person)

    async def follow_up(self, row: Broadcast, person: Person, channel: str, words: Translator) -> forms.Form:
        """The form for a new broadcast to the same people, with the old text or what this person has typed since."""
        audiences = self.workflow.audiences
        values = forms.filled(audiences.as_typed(row))
        form = forms.Form(offered(audiences, words), channel, values=values, follows=row.id)
        if row.text_removed_at is not None:
            form = replace(form, facts=[context(f"{text_removed(row, words)} {words('Please write it again.')}")])
        return await self._as_left(form, person)

    async def corrected(
        self, form: forms.Form, person: Person, refused: refusals.Correction, words: Translator
    ) -> forms.Form:
        """The form filled from a refused command, or with what this person has typed in it since."""
        form = replace(form, test=refused.test, origin=f"correct:{refused.name}")
        return await self.started(form, person, words)

    async def started(self, form: forms.Form, person: Person, words: Translator) -> forms.Form:
        """The form as it was filled from elsewhere, or with what this person has typed in it since.

        `form.origin` tells from where.
        """

        def read(connection: Connection) -> tuple[keys.KeptForm | None, Kept]:
            kept = self._kept(connection, form, person)
            return kept, _with_template(connection, person.workspace, kept.values if kept else form.values)

        kept, found = await self.workflow.database.read(read)
        if kept is not None:
            form = replace(_with_kept(form, kept), facts=())
        return form if form.test else self._filled(form, found, person, words)

    async def _as_left(self, form: forms.Form, person: Person) -> forms.Form:
        return _with_kept(form, await self.workflow.database.read(lambda c: self._kept(c, form, person)))

    def _kept(self, connection: Connection, form: forms.Form, person: Person) -> keys.KeptForm | None:
        about = forms.as_composed(form).about
        return keys.kept_form(connection, person.workspace, person.id, self.clock(), about)

    async def _draft(self, form: forms.Form, row: Broadcast, person: Person, words: Translator) -> forms.Form:
        """The form of a draft. What an approver gave back is an ordinary text: no approval in advance covers it.

        A follow-up offers no template, which might have another audience.
        """

        def read(connection: Connection) -> tuple[keys.KeptForm | None, Kept | None]:
            kept = self._kept(connection, form, person)
            if row.test_of or row.follows or was_asked_about(connection, row):
                return kept, None
            values = kept.values if kept else {**form.values, **keys.filling_of(connection, row.workspace, row.id)}
            return kept, _with_template(connection, row.workspace, values)

        kept, found = await self.workflow.database.read(read)
        form = _with_kept(form, kept)
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


def _with_kept(form: forms.Form, kept: keys.KeptForm | None) -> forms.Form:
    """The form with what was typed in it and not submitted. It says so if that was typed for an earlier version."""
    if kept is None:
        return form
    version = kept.values.get("version", form.version)
    return replace(form, values=kept.values, kept_at=kept.at, outdated=version != form.version, version=version)


def _with_template(connection: Connection, workspace: str, values: Mapping[str, Any]) -> Kept:
    named = form_values.read_template(values.get("template"))
    now = templates.find_template(connection, workspace, named[0]) if named else None
    offers = now is not None or templates.has_templates(connection, workspace)
    return Kept(values, named[0] if named else None, named[1] if named else "", now, offers)
