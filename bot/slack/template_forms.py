"""Templates in Slack: the form that fills one in or makes one, and the buttons that approve one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bot.domain.errors import FieldError, InvalidRequest
from bot.domain.i18n import Translatable, Translator
from bot.domain.people import Person
from bot.slack.blocks import form_values, forms, template_answers, template_forms
from bot.slack.blocks.mrkdwn import Block, Post, quote
from bot.slack.interaction import Interaction
from bot.slack.replies import offered, reply_privately
from bot.storage.templates import Template
from bot.workflow.template_cover import Filled
from bot.workflow.workflow import Workflow
from providers.base import Purpose


class TemplateForms:
    """The forms and the buttons of templates. What a template says is always read from its row."""

    def __init__(self, workflow: Workflow) -> None:
        self.audiences, self.templates = workflow.audiences, workflow.templates
        self.approval, self.use = workflow.template_approval, workflow.template_use

    def form(
        self, template: Template, channel: str, person: Person, words: Translator, audience: str | None = None
    ) -> forms.Form:
        """The compose form for this template. Without slots and approval, its text can be changed at once.

        `audience`: another one than the template's.
        """
        filled, choices = self.use.filled(template, {}), offered(self.audiences, words)
        values = template.values() | ({"audience": audience} if audience else {})
        form = forms.Form(choices, channel, values=values, choice=chosen(template, words))
        return self.filling(form, filled, person, words) if self.keeps_wording(filled) else form

    def keeps_wording(self, filled: Filled) -> bool:
        """Whether the form shows the wording as it is, and not a text that can be changed."""
        return bool(filled.slots) or self.approval.given(filled.template).approved

    def filling(self, form: forms.Form, filled: Filled, person: Person, words: Translator) -> forms.Form:
        """The same form with the wording of a template in place of the text."""
        wording = self.wording(filled, forms.as_composed(form), person, words)
        template = (filled.template.name, filled.template.digest)
        return replace(form, template=template, wording=wording, choice=chosen(filled.template, words))

    def wording(self, filled: Filled, composed: form_values.Composed, person: Person, words: Translator) -> list[Block]:
        """The wording, its slots, and whether its approval covers what the form says so far."""
        given = self.approval.given(filled.template, person.id)
        departs = self.use.cover.departure(filled.template, composed.request(person)) if given.approved else None
        return template_forms.wording(filled, given, words, departs)

    async def filled(self, composed: form_values.Composed, workspace: str) -> Filled | None:
        """What has been filled in so far; None in an ordinary form. Raises InvalidRequest if the template is gone."""
        if composed.template is None:
            return None
        return await self.use.fill(workspace, composed.template[0], composed.slots)

    async def checked(self, composed: form_values.Composed, workspace: str) -> Filled | None:
        """The same for a request. Raises InvalidRequest unless it is complete and for the wording that was shown."""
        choice = composed.choice
        if choice is not None and choice.name not in (None, choice.taken):  # what was sent is not what was chosen
            await self.templates.find(workspace, choice.name)
            template = "The form does not show the template “{name}” yet. Look at what it says, then submit it again."
            raise InvalidRequest(FieldError("template", Translatable(template, name=choice.name)))
        if composed.template is None:
            return None
        name, seen = composed.template
        return await self.use.checked(workspace, name, seen, composed.slots)

    async def save(self, view: Mapping[str, Any], done: Interaction) -> None:
        """Save what was entered in the form that makes or changes a template."""
        kept, composed = form_values.kept_in(view), form_values.read_compose(view)
        name, seen = form_values.read_line(view, "name").lower(), kept.get("seen")
        if composed.purpose not in list(Purpose):
            raise InvalidRequest(FieldError("purpose", Translatable("Choose a purpose.")))
        if not composed.text.strip():
            raise InvalidRequest(FieldError("text", Translatable("The text is empty. Write what people should read.")))
        if seen is not None and name != kept.get("name"):
            template = "A template keeps its name. `/broadcast template new` makes another one."
            raise InvalidRequest(FieldError("name", Translatable(template)))
        wanted = Template(
            workspace=done.workspace,
            name=name,
            owner=done.person.id,
            audience=composed.audience or None,
            purpose=composed.purpose,
            text=composed.text.strip(),
            sender=composed.sender,
            campaign=composed.campaign,
            changed_at=self.templates.clock(),
        )
        saved = await self.templates.save(wanted, done.person, new=seen is None, seen=seen)
        post = template_answers.saved(saved.template, saved.fell, done.words)
        await reply_privately(done.client, composed.channel, done.person.id, post)

    async def pressed(self, action: Mapping[str, Any], done: Interaction) -> Post:
        """Approve a template as it was shown, or take the approval back. Return what to tell the person."""
        name, _, shown = str(action.get("value") or "").rpartition(":")
        if action.get("action_id") == template_answers.WITHDRAW:
            template = await self.approval.withdraw(done.workspace, name, done.person)
            return Post(
                done.words("Your approval of the template “{name}” no longer counts.", name=quote(template.name))
            )
        offer = await self.approval.approve(done.workspace, name, shown, done.person)
        return template_answers.approved(offer, done.words)


def chosen(template: Template, words: Translator) -> form_values.Choice:
    """The select with this template, from which the form is filled."""
    return form_values.Choice((template.name, template_answers.label(template, words)), template.name)
