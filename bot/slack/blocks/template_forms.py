"""Draws templates: the form that fills one in, the form that makes one, the list, and what an approval means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bot.domain import slots
from bot.domain.i18n import Translator
from bot.domain.people import mentions
from bot.slack.blocks import forms
from bot.slack.blocks.card_facts import PURPOSES
from bot.slack.blocks.mrkdwn import Block, Post, context, lines, literal, plain, quote, section
from bot.storage.templates import Template
from bot.workflow.template_approval import Given, Offer
from bot.workflow.template_use import Filled
from providers.base import Purpose

MAKE = "broadcast_template"
FREELY = "broadcast.freely"
APPROVE, WITHDRAW = "broadcast.approve_template", "broadcast.withdraw_template"
BEGINNING = 60  # characters of a text in the list


@dataclass(frozen=True)
class MakeForm:
    """The form that makes a template, or changes the one that was `seen`."""

    audiences: Sequence[tuple[str, str]]
    channel: str
    seen: Template | None = None


# --- filled in -------------------------------------------------------------------------------------------------------


def wording(filled: Filled, given: Given, words: Translator) -> list[Block]:
    """Return the template's wording as it is, an input for each slot, and the button that makes it ordinary text."""
    freely = {
        "type": "button",
        "action_id": FREELY,
        "text": plain(words("Write it freely instead")[:75]),
        "value": "freely",
    }
    return [
        section(_about(filled.template, given, words), "about_template"),
        *literal(filled.template.text),
        *(_slot_input(slot, filled.values.get(slot.name, ""), words) for slot in filled.slots),
        {"type": "actions", "block_id": "freely", "elements": [freely]},
    ]


def _about(template: Template, given: Given, words: Translator) -> str:
    about = words("Template *{name}*", name=quote(template.name))
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
    values: dict[str, Any] = {"name": seen.name, **seen.values()} if seen else {}
    name = forms.prefilled({"type": "plain_text_input", "max_length": 64}, values.get("name"))
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


def saved(template: Template, fell: Sequence[str], words: Translator) -> Post:
    told = [words("I saved the template “{name}”. `/broadcast template use {name}` opens it.", name=template.name)]
    if fell:
        told.append(
            words("The approval by {who} no longer counts, since it says something else now.", who=mentions(fell))
        )
    if template.audience and slots.SLOT.search(template.text) and not template.approved_by:
        told.append(
            words(
                "An approver can approve it once and for all: `/broadcast template approve {name}`.", name=template.name
            )
        )
    return lines(told)


# --- listed ----------------------------------------------------------------------------------------------------------


def listing(found: Sequence[tuple[Template, Given]], words: Translator) -> Post:
    if not found:
        return Post(words("There are no templates yet. `/broadcast template save <name> <text>` saves one."))
    return lines([_line(template, given, words) for template, given in found])


def _line(template: Template, given: Given, words: Translator) -> str:
    text = " ".join(template.text.split())
    shown = text if len(text) <= BEGINNING else f"{text[:BEGINNING]}…"
    parts = [f"*{quote(template.name)}* → {quote(template.audience or '—')}", *_purpose(template, words)]
    parts += [mentions([template.owner]), *_approved(given, words), f"“{quote(shown)}”"]
    return "• " + " · ".join(parts)


def _purpose(template: Template, words: Translator) -> Iterator[str]:
    if template.purpose in list(Purpose):
        yield words(PURPOSES[Purpose(template.purpose)])


def _approved(given: Given, words: Translator) -> Iterator[str]:
    if given.approved:
        yield "✅ " + words("approved by {who}", who=mentions(given.voters))
    elif given.voters:
        yield words("approved by {who}, still needed: {missing}", who=mentions(given.voters), missing=given.missing)


# --- approved --------------------------------------------------------------------------------------------------------


def question(offer: Offer, reader: str, words: Translator) -> Post:
    """What approving it means: the whole text with its slots, to whom, for what, and how often it then goes."""
    template, example = offer.template, offer.example
    title = words("Approve the template *{name}* by {who}?", name=quote(template.name), who=mentions([template.owner]))
    facts = [words(PURPOSES[example.purpose]), f"{words('Audience')}: {quote(example.audience)}"]
    facts += [f"{words('Sender')}: {quote(template.sender)}"] if template.sender else []
    facts += [f"{words('Campaign')}: {quote(template.campaign)}"] if template.campaign else []
    then = words(
        "Once approved, any member who may write to *{audience}* can fill in its slots and send it without further "
        "approval: as often as they like, to at most {most} people each time, within the sending hours.",
        audience=quote(example.audience),
        most=example.bound or 0,
    )
    until = words("This ends as soon as its wording, audience, purpose, sender or campaign changes.")
    blocks = [section(title), *literal(example.text), *_slot_lines(template, words), section(" · ".join(facts))]
    blocks += [section(f"{then} {until}"), *_given(offer.given, words), _decide(offer, reader, words)]
    return Post(title, blocks)


def _slot_lines(template: Template, words: Translator) -> Iterator[Block]:
    kinds = {slots.NUMBER: words("a number"), slots.DATE: words("a date"), slots.TIME: words("a time of day")}
    found = [
        f"• `{{{{{slot.name}}}}}`: "
        + (kinds.get(slot.kind) or words("words without links, at most {most} characters", most=slot.most))
        for slot in slots.slots_of(template.text)
    ]
    if found:
        yield section("\n".join(found))


def _given(given: Given, words: Translator) -> Iterator[Block]:
    if given.voters:
        yield context(
            words("approved by {who}, still needed: {missing}", who=mentions(given.voters), missing=given.missing)
        )


def _decide(offer: Offer, reader: str, words: Translator) -> Block:
    label, action = words("Approve the template"), APPROVE
    if reader in offer.given.voters:
        label, action = words("Withdraw my approval"), WITHDRAW
    value = f"{offer.template.name}:{offer.digest}"
    button: dict[str, Any] = {"type": "button", "action_id": action, "text": plain(label[:75]), "value": value}
    return {"type": "actions", "block_id": "template", "elements": [{**button, "style": "primary"}]}


def approved(offer: Offer, words: Translator) -> Post:
    template, missing = offer.template, offer.given.missing
    if missing:
        return Post(
            words(
                "You approved the template “{name}”. Approvals still needed: {missing}.",
                name=template.name,
                missing=missing,
            )
        )
    return Post(
        words(
            "You approved the template “{name}”. With its slots filled in, it now goes to *{audience}* without further "
            "approval.",
            name=template.name,
            audience=quote(offer.example.audience),
        )
    )
