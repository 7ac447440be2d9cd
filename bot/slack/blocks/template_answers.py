"""What people are told about templates: the list, what an approval means, and what became of a press."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bot.domain import slots, suggestions
from bot.domain.i18n import Translator
from bot.domain.people import mentions
from bot.slack.blocks.card_facts import PURPOSES
from bot.slack.blocks.mrkdwn import Block, Post, context, lines, literal, plain, quote, section
from bot.storage.templates import Template
from bot.workflow.template_approval import Given, Offer
from providers.base import Purpose

APPROVE, WITHDRAW = "broadcast.approve_template", "broadcast.withdraw_template"
BEGINNING = 60  # characters of a text in the list


def saved(template: Template, fell: Sequence[str], words: Translator) -> Post:
    name = quote(template.name)
    told = [words("I saved the template “{name}”. `/broadcast template use {name}` opens it.", name=name)]
    if fell:
        told.append(
            words("The approval by {who} no longer counts, since it says something else now.", who=mentions(fell))
        )
    if template.audience and slots.SLOT.search(template.text) and not template.approved_by:
        told.append(
            words("An approver can approve it once and for all: `/broadcast template approve {name}`.", name=name)
        )
    return lines(told, words)


def listing(found: Sequence[tuple[Template, Given]], words: Translator) -> Post:
    if not found:
        return Post(words("There are no templates yet. `/broadcast template save <name> <text>` saves one."))
    return lines([_line(template, given, words) for template, given in found], words)


def label(template: Template, words: Translator) -> str:
    """`promo → newsletter · Marketing`, as plain text."""
    name = suggestions.visible(template.name)
    return " · ".join([f"{name} → {template.audience or '—'}", *_purpose(template, words)])


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
    blocks = [
        section(title),
        *literal(suggestions.visible(example.text)),
        *_slot_lines(template, words),
        section(" · ".join(facts)),
    ]
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
    name, missing = quote(offer.template.name), offer.given.missing
    if missing:
        return Post(
            words(
                "You approved the template “{name}”. Approvals still needed: {missing}.",
                name=name,
                missing=missing,
            )
        )
    return Post(
        words(
            "You approved the template “{name}”. With its slots filled in, it now goes to *{audience}* without further "
            "approval.",
            name=name,
            audience=quote(offer.example.audience),
        )
    )
