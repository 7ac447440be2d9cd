"""Draws forms."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from bot.domain import suggestions
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Micros
from bot.domain.errors import FieldError
from bot.domain.i18n import Translator
from bot.domain.slots import BLOCK
from bot.slack.blocks.card_facts import PURPOSES
from bot.slack.blocks.form_values import REST, Choice, Composed
from bot.slack.blocks.mrkdwn import (
    Block,
    context,
    plain,
    quote,
    section,
    sentence,
    when,
)
from bot.slack.payload import inputs_of
from bot.workflow.checks import MOST

INPUT = 3000  # characters of one input of a form; Slack counts in UTF-16

CLEAR, TEST = "broadcast.clear", "broadcast.test"
OPTIONS = 100  # of a select
SAID = 3000  # characters of what is wrong
TYPING = {"trigger_actions_on": ["on_character_entered"]}
AT_ONCE = "Leave it empty to start right after approval."


@dataclass(frozen=True)
class Offered:
    """The audiences to choose from, as (name, label) pairs. `canaries`: those of few people, who may get it first."""

    audiences: Sequence[tuple[str, str]]
    canaries: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Form:
    """The compose form.

    `values`: what it is filled with. `draft`: id of the draft that it completes. `follows`: id of the broadcast that it
    follows. `edits`: id and version of the broadcast that it changes. `facts`: what the text would become, shown under
    it. `refills`: how often the bot has replaced the text. `kept_at`: when what it is filled with was typed and not
    submitted; `outdated`: for an earlier version. `test`: it goes to the test audience alone. `template`: name and
    digest of the template that it fills in, with `wording` in place of the text. `choice`: offers templates to choose
    from. `again`: the number of each block that the bot has refilled, besides the text. `origin`: the refused command
    that it corrects, or the template or the reminder that filled it in. `version`: of the broadcast that it changes or
    completes.
    """

    offered: Offered
    channel: str
    draft: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    follows: str | None = None
    edits: tuple[str, int] | None = None
    facts: Sequence[Block] = ()
    refills: int = 0
    kept_at: Micros | None = None
    outdated: bool = False
    test: bool = False
    template: tuple[str, str] | None = None
    wording: Sequence[Block] = ()
    choice: Choice | None = None
    again: Mapping[str, int] = field(default_factory=dict)
    origin: str = ""
    version: int = 0


def as_composed(form: Form) -> Composed:
    """What a form says that is filled in when it opens."""
    values = form.values
    return Composed(
        audience=values.get("audience") or "",
        purpose=values.get("purpose") or "",
        text=values.get("text") or "",
        sender=values.get("sender") or None,
        campaign=values.get("campaign") or None,
        canary=None if form.test else values.get("canary") or None,
        send_at=values["send_at"] * SECOND if values.get("send_at") and not form.test else None,
        channel=form.channel,
        draft=form.draft,
        follows=form.follows,
        edits=form.edits,
        refills=form.refills,
        test=form.test,
        origin=form.origin,
        version=form.version,
    )


def compose(form: Form, words: Translator) -> dict[str, Any]:
    """The form behind `/broadcast`. Block ids are the request's field names."""
    blocks = [
        *_kept(form, words),
        *_template_input(form.choice, words),
        live(audience_input(form.offered.audiences, form.values.get("audience"), words)),
        live(purpose_input(form.values.get("purpose"), words)),
        *(form.wording if form.template else text_inputs(form.values.get("text") or "", words, form.refills)),
        *form.facts,
        *_start_input(form, words),
        *_named_inputs(form, words),
    ]
    kept: dict[str, Any] = {"channel": form.channel, "draft": form.draft, "follows": form.follows}
    kept |= {"edits": form.edits, "refills": form.refills, "test": form.test}
    kept |= {"origin": form.origin, "version": form.version, "outdated": None}
    if form.outdated and form.kept_at is not None:
        kept["outdated"] = form.kept_at // SECOND
    kept |= {"template": form.template, "again": dict(form.again), "taken": form.choice and form.choice.taken}
    title, submit = words("New broadcast"), words("Ask to send")
    if form.test:
        title, submit = words("New test"), words("Send a test")
    if form.edits is not None:
        title, submit = words("Edit {id}", id=form.edits[0]), words("Save")
        blocks.append(context(words("This makes a new version. Earlier approvals will no longer count.")))
    blocks = [_numbered(block, form.again) for block in blocks]
    return modal("broadcast_compose", title, submit, blocks, kept, words)


def _numbered(block: Block, again: Mapping[str, int]) -> Block:
    """Return the block under its name of now: under the old name, Slack would go on showing what was typed there."""
    name = str(block.get("block_id"))
    return {**block, "block_id": f"{name}:{again[name]}"} if name in again else block


def _template_input(choice: Choice | None, words: Translator) -> list[Block]:
    if choice is None:
        return []
    select: dict[str, Any] = {"type": "external_select", "min_query_length": 0}
    select |= {"initial_option": option(*choice.option)} if choice.option else {}
    hint = words("It fills in the text, the audience and the purpose.")
    block = live(input_block("template", words("Template"), select, optional=True, hint=hint))
    return [block, section(f"⚠️ {sentence(words, choice.wrong)}", "choice")] if choice.wrong else [block]


def audience_input(
    audiences: Sequence[tuple[str, str]], chosen: str | None, words: Translator, *, optional: bool = False
) -> Block:
    audience: dict[str, Any] = {"type": "external_select", "min_query_length": 0}
    initial = next((option(name, label) for name, label in audiences if name == chosen), None)
    if initial:
        audience["initial_option"] = initial
    return input_block("audience", words("Audience"), audience, optional=optional)


def purpose_input(chosen: str | None, words: Translator) -> Block:
    purposes = [option(purpose, words(label)) for purpose, label in PURPOSES.items()]
    initial = next((one for one in purposes if one["value"] == chosen), purposes[0])
    select = {"type": "static_select", "options": purposes}
    return input_block("purpose", words("Purpose"), {**select, "initial_option": initial})


def _start_input(form: Form, words: Translator) -> list[Block]:
    if form.test:  # it goes at once
        return []
    start: dict[str, Any] = {"type": "datetimepicker"}
    start |= {"initial_date_time": form.values["send_at"]} if form.values.get("send_at") else {}
    return [live(input_block("send_at", words("Start"), start, optional=True, hint=words(AT_ONCE)))]


def _canary_input(form: Form, words: Translator) -> list[Block]:
    known, own = dict(form.offered.canaries[: OPTIONS - 1]), form.values.get("canary")
    if own:  # whether or not its size is known just now: an edit must not lose it
        known.setdefault(own, own)
    options = [option(name, label) for name, label in known.items()]
    if not options or form.test:
        return []
    select: dict[str, Any] = {"type": "static_select", "options": options}
    chosen = next((one for one in options if one["value"] == own), None)
    select |= {"initial_option": chosen} if chosen else {}
    hint = words("A few people get it first. The others get it once somebody presses Continue.")
    return [input_block("canary", words("First to"), select, optional=True, hint=hint)]


def _kept(form: Form, words: Translator) -> list[Block]:
    if form.kept_at is None:
        return []
    at, label = when(form.kept_at), words("Start anew")
    told = words("You typed this {kept_at} and have not sent it.", kept_at=at)
    if form.edits is not None:
        told, label = words("You typed this {kept_at} and have not saved it.", kept_at=at), words("Discard my changes")
    if form.outdated:
        told = words("You typed this {kept_at}, for an earlier version, and have not saved it.", kept_at=at)
    button = {"type": "button", "action_id": CLEAR, "text": plain(label), "value": "clear"}
    return [{**section(told, "kept"), "accessory": button}]


def live(block: Block) -> Block:
    """Let the bot hear of every change in this input."""
    return {**block, "dispatch_action": True}


def text_inputs(text: str, words: Translator, refills: int) -> list[Block]:
    """One input, or as many as a long text takes: `text`, `text_rest`, `text_rest2` … `read_compose` joins them.

    Slack keeps what was typed under a block's name, so a text that the bot has replaced has blocks of another name.
    """
    again = f":{refills}" if refills else ""
    written = {"type": "plain_text_input", "multiline": True, "max_length": INPUT, "dispatch_action_config": TYPING}
    hint = words("For marketing, the opt-out mention is added for you. A single SMS holds 160 plain characters.")
    first, *rest = _pieces(text)
    inputs = [
        live(input_block(f"text{again}", words("Text"), prefilled({**written, "min_length": 1}, first), hint=hint))
    ]
    for place, piece in enumerate(rest, start=1):
        name = f"{REST}{place if place > 1 else ''}"
        label = words("Text, continued")
        inputs.append(live(input_block(f"{name}{again}", label, prefilled(written, piece), optional=True)))
    return inputs


def fits_its_inputs(view: Mapping[str, Any], text: str) -> bool:
    """Whether the text takes as many inputs as the form has. In fewer, Slack would drop what the others hold."""
    inputs = [name.split(":")[0] for name in inputs_of(view)]
    return [name == "text" or name.startswith(REST) for name in inputs].count(True) == len(_pieces(text))


def _pieces(text: str) -> list[str]:
    """Cut a text into pieces that fit an input, inside words: spaces at either end of an input would be lost."""
    pieces: list[str] = []
    while len(text) > (most := _fitting(text)):
        cut = most
        while cut > most // 2 and (
            text[cut - 1].isspace() or text[cut].isspace() or not suggestions.may_part(text, cut)
        ):
            cut -= 1
        pieces, text = [*pieces, text[:cut]], text[cut:]
    return [*pieces, text]


def _fitting(text: str) -> int:
    """Return how many of its characters fit in one input."""
    if 2 * len(text) <= INPUT:
        return len(text)
    units = accumulate(2 if char > "\uffff" else 1 for char in text[: INPUT + 1])
    return next((count for count, used in enumerate(units) if used > INPUT), len(text))


def _named_inputs(form: Form, words: Translator) -> list[Block]:
    return [live(one) for one in (*name_inputs(form.values, words), *_canary_input(form, words))]


def name_inputs(values: Mapping[str, Any], words: Translator) -> list[Block]:
    return [
        input_block("sender", words("Sender"), _named_input("sender", values), optional=True),
        input_block("campaign", words("Campaign"), _named_input("campaign", values), optional=True),
    ]


def _named_input(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the input. A value kept from when it could be longer still opens, and is refused on submit."""
    value = (values.get(name) or "")[: INPUT // 2]
    element = {"type": "plain_text_input", "max_length": max(MOST[name], 2 * len(value))}
    return prefilled({**element, "dispatch_action_config": TYPING}, value)


def modal(
    callback_id: str, title: str, submit: str, blocks: list[Block], kept: Mapping[str, Any], words: Translator
) -> dict[str, Any]:
    return {
        "type": "modal",
        "callback_id": callback_id,
        "title": plain(title[:24]),
        "submit": plain(submit[:24]),
        "close": plain(words("Cancel")[:24]),
        "private_metadata": json.dumps(kept),
        "blocks": blocks,
    }


def audience_options(audiences: Sequence[tuple[str, str]], typed: str, most: int) -> list[dict[str, Any]]:
    """The audiences whose name or label holds what was typed, those that begin with it first."""
    wanted = typed.strip().casefold()
    found = [(name, label) for name, label in audiences if wanted in f"{name} {label}".casefold()]
    found.sort(key=lambda one: not one[0].casefold().startswith(wanted))
    return [option(name, label) for name, label in found[:most]]


def option(value: str, label: str) -> dict[str, Any]:
    return {"text": plain(label[:75]), "value": value[:150]}


def prefilled(element: dict[str, Any], value: str | None) -> dict[str, Any]:
    return {**element, "initial_value": value} if value else element


def input_block(
    name: str, label: str, element: Mapping[str, Any], *, optional: bool = False, hint: str | None = None
) -> Block:
    block: Block = {
        "type": "input",
        "block_id": name,
        "label": plain(label),
        "optional": optional,
        "element": {**element, "action_id": "value"},
    }
    return {**block, "hint": plain(hint)} if hint else block


def filled(broadcast: Broadcast, *, send_at: Micros | None = None) -> dict[str, Any]:
    """The compose form's values for the text and the options of this broadcast."""
    return {
        "audience": broadcast.test_of or broadcast.audience,
        "purpose": broadcast.purpose,
        "text": broadcast.typed,
        "send_at": send_at // SECOND if send_at else None,
        "sender": broadcast.sender,
        "campaign": broadcast.campaign,
        "canary": broadcast.canary,
    }


def field_errors(complaints: Iterable[FieldError], view: Mapping[str, Any], words: Translator) -> dict[str, str]:
    """Return each complaint under its field. One about no field of the form goes under the text."""
    places = {name.split(":")[0]: name for name in inputs_of(view)}
    slots = (place for name, place in places.items() if name.startswith(BLOCK))
    otherwise = places.get("text") or next(slots, None) or next(reversed(places.values()), "text")
    errors: dict[str, str] = {}
    for complaint in complaints:
        place, text = places.get(complaint.field, otherwise), unmarked(sentence(words, complaint.sentence))
        errors[place] = (f"{errors[place]} {text}" if place in errors else text)[:SAID]
    return errors


def unmarked(markdown: str) -> str:
    """A sentence for a place without markup, such as the line under a field."""
    spelled_out = re.sub(r"<!date\^[^|>]*\|([^>]*)>", r"\1", markdown)
    without_people = re.sub(r"<(?:@|!subteam\^)([A-Z0-9]+)>", r"@\1", spelled_out)
    return (
        without_people.replace("*", "").replace("`", "").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    )


def reject_form(broadcast: Broadcast, words: Translator, *, after: bool = False) -> dict[str, Any]:
    """Asks for a reason: the requester has to know what to change. `after`: it has been rejected already."""
    reason = {"type": "plain_text_input", "multiline": True, "min_length": 1, "max_length": 500}
    template = "Reject the broadcast *{id}* to *{audience}*?"
    title, submit = words("Reject"), words("Reject")
    if after:
        template = "Why did you reject the broadcast *{id}* to *{audience}*?"
        title, submit = words("Give a reason"), words("Save")
    blocks = [
        section(words(template, id=broadcast.id, audience=quote(broadcast.audience))),
        input_block("reason", words("Reason"), reason, hint=words("The requester will see it in the thread.")),
    ]
    kept = {"id": broadcast.id, "version": broadcast.version, "after": after}
    return modal("broadcast_reject", title, submit, blocks, kept, words)


def changes_form(broadcast: Broadcast, words: Translator) -> dict[str, Any]:
    """Asks what is to change. The requester gets the broadcast back as a draft."""
    comment = {"type": "plain_text_input", "multiline": True, "min_length": 1, "max_length": 500}
    template = "What should change in the broadcast *{id}* to *{audience}*?"
    hint = words("The requester will see it in the thread, and gets the broadcast back to edit.")
    blocks = [
        section(words(template, id=broadcast.id, audience=quote(broadcast.audience))),
        input_block("comment", words("Comment"), comment, hint=hint),
    ]
    kept = {"id": broadcast.id, "version": broadcast.version}
    return modal("broadcast_changes", words("Ask for changes"), words("Ask"), blocks, kept, words)


def replan_form(broadcast: Broadcast, start: Micros, words: Translator, *, closed: bool = False) -> dict[str, Any]:
    """Asks for another start. `start` is what it is filled with; `closed`: the hours allow no earlier one."""
    about = words("Re-plan the broadcast *{id}* to *{audience}*?", id=broadcast.id, audience=quote(broadcast.audience))
    if closed:
        opens = when(start, broadcast.zone)
        about += "\n" + words("The next start within the sending hours is {opens_at}.", opens_at=opens)
    picker = {"type": "datetimepicker", "initial_date_time": start // SECOND}
    hint = words("This makes a new version. Earlier approvals will no longer count.")
    blocks = [section(about), input_block("send_at", words("Start"), picker, hint=hint)]
    kept = {"id": broadcast.id, "version": broadcast.version}
    return modal("broadcast_replan", words("Re-plan"), words("Re-plan"), blocks, kept, words)
