"""Draws the form with the settings of a workspace, and reads it. Its blocks are called as the settings are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bot.domain import sms
from bot.domain.errors import FieldError, InvalidRequest
from bot.domain.i18n import LANGUAGES, Translatable, Translator
from bot.domain.people import mentions
from bot.slack.blocks.forms import input_block, modal, option, prefilled
from bot.slack.blocks.mrkdwn import Block, context, section, when
from bot.slack.payload import counted, id_in, part
from bot.workflow.own_settings import Shown

OPEN, FORM = "workspace.settings", "workspace_settings"
NAMES = {"en": "English", "fr": "Français", "es": "Español"}
NUMBERS = frozenset({"quorum", "larger_than"})
GROUPS, MOST = "approval.groups", 3000
SPLIT = re.compile(r"[\s,;]+")


def settings_form(shown: Shown, words: Translator) -> dict[str, Any]:
    values, stored = shown.values, shown.stored
    about = [section(words("What you change here is in force within seconds, for this workspace alone."))]
    if stored.version:
        template = "Last changed by {by} {changed_at}."
        about.append(context(words(template, by=mentions([stored.changed_by]), changed_at=when(stored.changed_at))))
    title = words("Settings")
    return modal(FORM, title, words("Save"), [*about, *_inputs(values, words)], {"version": stored.version}, words)


def _inputs(values: Mapping[str, Any], words: Translator) -> list[Block]:
    approvers = values["approval.approvers"]
    people, groups = ([id for id in approvers if id.startswith("S") is group] for group in (False, True))
    users: dict[str, Any] = {"type": "multi_users_select"} | ({"initial_users": people} if people else {})
    channel: dict[str, Any] = {"type": "conversations_select", "filter": {"include": ["public", "private"]}}
    if values["approval.channel"]:
        channel["initial_conversation"] = values["approval.channel"]
    languages = [option(one, NAMES.get(one, one)) for one in LANGUAGES]
    language = {"type": "static_select", "options": languages}
    chosen = option(values["locale"], NAMES.get(values["locale"], values["locale"]))
    written = _rules(values["approval.rules"])
    fits = (
        len(written.encode("utf-16-le")) // 2 <= MOST
    )  # as Slack counts; else they stay as they are: cut short, they would ask for fewer approvals
    of_rules = words(
        "One rule a line, the first that matches counts: {example}",
        example="purpose=marketing larger_than=10000 quorum=2",
    )
    return [
        input_block("approval.approvers", words("Who may approve"), users, optional=True),
        input_block(
            GROUPS,
            words("User groups that may approve"),
            _line(", ".join(groups)),
            optional=True,
            hint=words("Their ids, such as {example}.", example="S0APPROVERS"),
        ),
        input_block("approval.quorum", words("Approvals that marketing needs"), _number(values["approval.quorum"], 1)),
        *(
            [input_block("approval.rules", words("Rules"), _line_of(written), optional=True, hint=of_rules)]
            if fits
            else []
        ),
        input_block(
            "approval.channel",
            words("Channel for approvals"),
            channel,
            optional=True,
            hint=words("Without one, cards are posted where somebody asks."),
        ),
        input_block(
            "approval.undo",
            words("Time to undo"),
            _line(values["approval.undo"]),
            hint=words("How long everybody can stop a broadcast before it goes, such as {example}.", example="30s"),
        ),
        _reactions("approval.approve_reactions", words("Reactions that approve"), values),
        _reactions("approval.reject_reactions", words("Reactions that reject"), values),
        input_block("locale", words("Language of cards"), {**language, "initial_option": chosen}),
        input_block(
            "asks_per_hour",
            words("Requests of one person in an hour"),
            _number(values["asks_per_hour"], 0),
            hint=words("0: as many as they like."),
        ),
    ]


def _line(value: str) -> dict[str, Any]:
    return prefilled({"type": "plain_text_input", "max_length": max(500, len(value))}, value[:MOST])


def _number(value: int, least: int) -> dict[str, Any]:
    limits = {"is_decimal_allowed": False, "min_value": str(least)}
    return {"type": "number_input", **limits, "initial_value": str(value)}


def _reactions(name: str, label: str, values: Mapping[str, Any]) -> Block:
    return input_block(name, label, _line(", ".join(values[name])), optional=True)


def _rules(rules: Iterable[Mapping[str, Any]]) -> str:
    return "\n".join(" ".join(f"{name}={_word(value)}" for name, value in rule.items()) for rule in rules)


def _line_of(written: str) -> dict[str, Any]:
    return prefilled({"type": "plain_text_input", "multiline": True, "max_length": MOST}, written)


def _word(value: Any) -> str:
    return ",".join(value) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


# --- read ------------------------------------------------------------------------------------------------------------


def read_settings(view: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings by their names, as the file has them, without rules that the form does not hold.

    Raises InvalidRequest.
    """
    values = part(part(view, "state"), "values")
    people = part(part(values, "approval.approvers"), "value").get("selected_users")
    named = [id for one in people if (id := id_in(one))] if isinstance(people, list) else []
    channel = part(part(values, "approval.channel"), "value").get("selected_conversation")
    language = part(part(part(values, "locale"), "value"), "selected_option").get("value")
    rules = list(_read_rules(_entered(values, "approval.rules")))
    return {
        **({"approval.rules": rules} if "approval.rules" in values else {}),
        "approval.approvers": [*named, *_words(values, GROUPS)],
        "approval.quorum": _counted(values, "approval.quorum"),
        "approval.channel": id_in(channel),
        "approval.undo": _entered(values, "approval.undo").strip(),
        "approval.approve_reactions": _words(values, "approval.approve_reactions"),
        "approval.reject_reactions": _words(values, "approval.reject_reactions"),
        "locale": str(language or ""),
        "asks_per_hour": _counted(values, "asks_per_hour"),
    }


def _entered(values: Mapping[str, Any], name: str) -> str:
    return sms.storable(str(part(part(values, name), "value").get("value") or ""))


def _words(values: Mapping[str, Any], name: str) -> list[str]:
    return [word for word in SPLIT.split(_entered(values, name)) if word]


def _counted(values: Mapping[str, Any], name: str) -> int:
    found = counted(_entered(values, name).strip())
    if found is None:
        raise InvalidRequest(FieldError(name, Translatable("Write a whole number.")))
    return found


def _read_rules(written: str) -> Iterable[dict[str, Any]]:
    for line in filter(str.strip, written.splitlines()):
        rule = dict[str, Any]()
        for word in line.split():
            name, equals, value = word.partition("=")
            if not equals or not value or name in rule:
                template = "I cannot read “{word}”. Write rules like {example}."
                example = "purpose=marketing larger_than=10000 quorum=2"
                sentence = Translatable(template, word=word[:80], example=example)
                raise InvalidRequest(FieldError("approval.rules", sentence))
            rule[name] = counted(value) if name in NUMBERS and counted(value) is not None else value
        yield rule
