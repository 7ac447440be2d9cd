"""The select of a template in the compose form: what it offers, and what the form says once one is chosen."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from bot.domain.errors import InvalidRequest
from bot.domain.i18n import Translatable, Translator
from bot.slack.blocks import form_values, forms, template_answers
from bot.slack.template_forms import TemplateForms


class TemplateChoice:
    """Fills the form from the template that was chosen in it.

    What is chosen is compared with what the form was filled from, so a drawing that got lost is made up for by the
    next one.
    """

    def __init__(self, template_forms: TemplateForms) -> None:
        self.forms = template_forms

    async def options(self, workspace: str, typed: str, most: int, words: Translator) -> list[dict[str, Any]]:
        """The templates whose name, audience or purpose holds what was typed."""
        found = [(one.name, template_answers.label(one, words)) for one in await self.forms.templates.listed(workspace)]
        return forms.audience_options(found, typed, most)

    async def taken_up(self, composed: form_values.Composed, workspace: str) -> form_values.Composed:
        """What the form says once it is filled from the template that was chosen in it.

        What the template does not set stays as it was typed. A cleared choice leaves the words as an ordinary text.
        """
        choice = composed.choice
        if choice is None or choice.name == choice.taken:
            return composed
        if choice.name is None:
            return replace(await self._written_out(composed, workspace), choice=replace(choice, taken=None))
        try:
            template = await self.forms.templates.find(workspace, choice.name)
        except InvalidRequest:
            return replace(composed, choice=self.gone(composed))
        filled, refills = self.forms.use.filled(template, composed.slots), composed.refills + 1
        own = composed.text not in (template.text, filled.text)
        if own and not await self._may_replace(composed, choice.taken, workspace):
            return replace(composed, choice=replace(choice, wrong=_would_replace(choice.name)))
        values = {name: value for name, value in template.values().items() if value is not None}
        refilled = {name for name, value in values.items() if getattr(composed, name) != value} - {"text"}
        return replace(
            composed,
            **values,
            refills=refills,
            again={**composed.again, **dict.fromkeys(refilled, refills)},
            template=(template.name, template.digest) if self.forms.keeps_wording(filled) else None,
            choice=replace(choice, taken=template.name),
        )

    async def _may_replace(self, composed: form_values.Composed, taken: str | None, workspace: str) -> bool:
        """Whether the text is nothing that somebody wrote: there is none, or it is that of the template before."""
        if not composed.text.strip() or composed.template is not None:
            return True
        with suppress(InvalidRequest):
            return taken is not None and (await self.forms.templates.find(workspace, taken)).text == composed.text
        return False

    @staticmethod
    def gone(composed: form_values.Composed) -> form_values.Choice:
        """The select with the sentence that its template was deleted."""
        choice = composed.choice or form_values.Choice()
        name = choice.name or (composed.template[0] if composed.template else "—")
        template = "There is no template “{name}” any more. Choose another one, or write the text yourself."
        return replace(choice, wrong=Translatable(template, name=name))

    async def _written_out(self, composed: form_values.Composed, workspace: str) -> form_values.Composed:
        if composed.template is None:
            return composed
        text = what_was_filled_in(composed)
        with suppress(InvalidRequest):
            text = (await self.forms.use.fill(workspace, composed.template[0], composed.slots)).text
        return replace(composed, text=text, template=None, refills=composed.refills + 1)


def what_was_filled_in(composed: form_values.Composed) -> str:
    """The text of the form, or the values of the slots of a template that is there no more."""
    return composed.text or "\n".join(value for value in composed.slots.values() if value)


def _would_replace(name: str) -> Translatable:
    template = "The template “{name}” would replace what you wrote. Empty the text to use it, or clear the choice."
    return Translatable(template, name=name)
