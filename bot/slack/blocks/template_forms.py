"""Draws the form that fills in a template, and the one that makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.domain import slots, suggestions
from bot.domain.i18n import Translatable, Translator
from bot.domain.people import mentions
from bot.slack.blocks import forms
from bot.slack.blocks.mrkdwn import Block, context, literal, plain, quote, section, sentence
from bot.storage.templates import Template
from bot.workflow.template_approval import Given
from bot.workflow.template_cover import Filled

MAKE = "broadcast_template"
FREELY = "broadcast.freely"
NAME = 64  # characters of a name


@dataclass(frozen=True)
class MakeForm:
    """The form that makes a template, or changes the one that was `seen`. `typed`: what it is filled with instead."""

    audiences: Sequence[tuple[str, str]]
    channel: str
    seen: Template | None = None
    typed: Mapping[str, Any] | None = None


# --- filled in -------------------------------------------------------------------------------------------------------


def wording(filled: Filled, given: Given, words: Translator, departs: Translatable | None) -> list[Block]:
    """Return the template's wording as it is, an input for each slot, and the button that makes it ordinary text.

    `departs`: why its approval does not cover what the form says.
    """
    freely = {
        "type": "button",
        "action_id": FREELY,
        "text": plain(words("Write it freely instead")[:75]),
        "value": "freely",
    }
    return [
        section(_about(filled.template, given, words, departs), "about_template"),
        *literal(suggestions.visible(filled.template.text)),
        *(_slot_input(slot, filled.values.get(slot.name, ""), words) for slot in filled.slots),
        {"type": "actions", "block_id": "freely", "elements": [freely]},
    ]


def wording_in(view: Mapping[str, Any]) -> list[Block]:
    """Return the wording and its inputs as a form shows them, where the template can no longer be read."""
    blocks = view.get("blocks")
    found = [block for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []
    names = [block.get("block_id") for block in found]
    if "about_template" not in names or "freely" not in names:
        return []
    return found[names.index("about_template") : names.index("freely") + 1]


def _about(template: Template, given: Given, words: Translator, departs: Translatable | None) -> str:
    about = words("Template *{name}*", name=quote(template.name))
    if departs is not None:
        return f"{about}\n{sentence(words, departs)}"
    if given.approved:
        return f"{about}\n✅ " + words(
            "Approved by {who}. As it stands here, it needs no further approval.", who=mentions(given.voters)
        )
    return f"{about}\n" + words("It is not approved in advance, so the broadcast is asked about as usual.")


def _slot_input(slot: slots.Slot, value: str, words: Translator) -> Block:
    element: dict[str, Any] = {"type": "plain_text_input", "max_length": max(slot.most, 2 * len(value))}
    element |= {"dispatch_action_config": forms.TYPING}
    hints = {
        slots.NUMBER: words("A number."),
        slots.DATE: words("A date, in the words that people should read."),
        slots.TIME: words("A time of day, in the words that people should read."),
    }
    hint = hints.get(slot.kind) or words("At most {most} characters, without links.", most=slot.most)
    label = slot.name.replace("_", " ").strip() or slot.name
    return forms.live(forms.input_block(slot.block, label, forms.prefilled(element, value), hint=hint))


# --- made ------------------------------------------------------------------------------------------------------------


def make_form(form: MakeForm, words: Translator) -> dict[str, Any]:
    """The form behind `/broadcast template new` and `edit`."""
    seen = form.seen
    values: Mapping[str, Any] = form.typed or ({"name": seen.name, **seen.values()} if seen else {})
    known = (values.get("name") or "")[: forms.INPUT // 2]  # one that is too long opens, and is refused on submit
    name = forms.prefilled({"type": "plain_text_input", "max_length": max(NAME, 2 * len(known))}, known)
    hint = words(
        "Write a slot in double braces. {examples} are filled in for each broadcast.",
        examples="{{city}}, {{city:20}}, {{price:number}}, {{day:date}}, {{at:time}}",
    )
    of_approval = words("Needed for an approval in advance.")
    audience = forms.audience_input(form.audiences, values.get("audience"), words, optional=True)
    texts = forms.text_inputs(values.get("text") or "", words, 0)
    blocks = [
        forms.input_block("name", words("Name"), name),
        {**audience, "hint": plain(of_approval)},
        forms.purpose_input(values.get("purpose"), words),
        {**texts[0], "hint": plain(hint)},
        *texts[1:],
        *forms.name_inputs(values, words),
    ]
    kept: dict[str, Any] = {"channel": form.channel}
    title = words("New template")
    if seen is not None:
        title, kept = words("Edit template"), {**kept, "name": seen.name, "seen": seen.changed_at}
        if seen.approved_by:
            blocks.append(context(words("If you change it, its approval no longer counts.")))
    quiet = [{key: value for key, value in block.items() if key != "dispatch_action"} for block in blocks]
    return forms.modal(MAKE, title, words("Save"), quiet, kept, words)
