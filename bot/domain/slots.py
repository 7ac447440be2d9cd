"""Slots of a template, such as `{{city}}` or `{{price:number}}`: found, checked and filled."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from bot.domain import marketing, sms, suggestions
from bot.domain.errors import FieldError
from bot.domain.i18n import Translatable
from bot.domain.options import folded
from bot.when.clock_times import read_hour
from bot.when.dates import read_days
from bot.when.instants import simplified
from bot.when.refusals import NotATime

MOST, LONGEST, LONGEST_NAME = 40, 100, 30  # characters of a text, if the slot does not say; at most; of a name
MOST_SLOTS = 10
BLOCK = "slot_"  # before the name of a slot, the block of the form that it is filled in

TEXT, NUMBER, DATE, TIME = "text", "number", "date", "time"
#: What people may call the types.
KINDS = {
    TEXT: TEXT,
    **dict.fromkeys(("texte", "texto"), TEXT),
    **dict.fromkeys((NUMBER, "nombre", "numero"), NUMBER),
    **dict.fromkeys((DATE, "fecha"), DATE),
    **dict.fromkeys((TIME, "heure", "hora"), TIME),
}
SLOT = re.compile(r"\{\{([^{}\n]*)\}\}")
INSIDE = re.compile(rf"\s*(\w{{1,{LONGEST_NAME}}})\s*(?::\s*(\w+)\s*)?")
NUMERAL = re.compile(r"(?a)\d{1,7}(?:[.,]\d{1,3})?|\d{1,3}(?:[ \u00a0\u202f.,'’]\d{3}){1,2}(?:[.,]\d{1,2})?")
DAY_AND_MONTH = re.compile(r"(?a)(\d{1,2})/(\d{1,2})")

#: Besides letters and digits. What begins a link, a mention, an address, a price or a placeholder is not among them.
PUNCTUATION = frozenset(" \u00a0\u202f.,;:!?'’\"“”«»()&+/-–°")
LINK = re.compile(r"(?i)https?\b|\bwww\b|//|[^\W_]\.[^\W\d_]|\d+(?:\.\d+){3}")
PHONE = re.compile(r"\d(?:[ \u00a0\u202f.()-]{0,2}\d){5,}")
ENDS = re.compile(r"[^\W_]|[(\"“«]\s?[^\W_]")  # how a text begins, so that no word before it goes on in it


@dataclass(frozen=True)
class Slot:
    """A place in a template that is filled for each broadcast. `most`: characters that a text may have."""

    name: str
    kind: str = TEXT
    most: int = MOST

    @property
    def block(self) -> str:
        """The block of the form that it is filled in."""
        return f"{BLOCK}{self.name}"


class BadSlot(Exception):
    """A slot that cannot be read; the sentence says how to write it."""

    def __init__(self, sentence: Translatable) -> None:
        super().__init__(sentence.template)
        self.sentence = sentence


def slots_of(text: str) -> tuple[Slot, ...]:
    """The slots in a text, each once, in their order. Raises BadSlot."""
    found: dict[str, Slot] = {}
    for match in SLOT.finditer(text):
        slot = _read(match)
        known = found.setdefault(slot.name, slot)
        if known != slot and ":" in match[1]:
            template = "The slot “{name}” is written in two ways. Give it one type, or give one of them another name."
            raise BadSlot(Translatable(template, name=slot.name))
    if "{{" in (rest := SLOT.sub("", text)) or "}}" in rest:
        template = "A slot begins with {opening} and ends with {closing}, on one line: {example}."
        raise BadSlot(Translatable(template, opening="{{", closing="}}", example="{{city}}"))
    if len(found) > MOST_SLOTS:
        template = "A template can have at most {most} slots. This one has {count}. Write some of them as words."
        raise BadSlot(Translatable(template, most=MOST_SLOTS, count=len(found)))
    return tuple(found.values())


def _read(match: re.Match[str]) -> Slot:
    inside = INSIDE.fullmatch(match[1])
    if inside is None:
        template = (
            "I cannot read the slot “{slot}”. Its name has letters, digits and underscores only, at most {most} of "
            "them: {examples}."
        )
        examples = "{{city}}, {{city:20}}, {{price:number}}, {{day:date}}, {{at:time}}"
        raise BadSlot(Translatable(template, slot=match[0][:80], most=LONGEST_NAME, examples=examples))
    name, kind = inside[1], inside[2]
    if kind is None or folded(kind) in KINDS:
        return Slot(name, KINDS[folded(kind or TEXT)])
    if kind.isascii() and kind.isdigit() and 1 <= int(kind) <= LONGEST:
        return Slot(name, TEXT, int(kind))
    template = (
        "The slot “{slot}” has an unknown type. After the colon, write number, date, time, or how many characters its "
        "text may have, at most {most}."
    )
    raise BadSlot(Translatable(template, slot=match[0], most=LONGEST))


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with each slot filled. One without a value stays as it is written."""

    def value(match: re.Match[str]) -> str:
        inside = INSIDE.fullmatch(match[1])
        return values.get(inside[1], "") or match[0] if inside else match[0]

    return SLOT.sub(value, text)


def clean(value: str) -> str:
    """A value as it goes into the text: in composed characters, without space around it."""
    return sms.composed(sms.storable(value))


def complaints(slots: tuple[Slot, ...], values: Mapping[str, str], today: date) -> Iterator[FieldError]:
    """What is wrong with the values, each complaint under the block of its slot."""
    for slot in slots:
        if complaint := complaint_about(slot, values.get(slot.name, ""), today):
            yield FieldError(slot.block, complaint)


def complaint_about(slot: Slot, value: str, today: date) -> Translatable | None:
    """Why this value cannot fill the slot, and what to write; None if it can."""
    if not value:
        return Translatable("Fill in “{name}”.", name=slot.name)
    if len(value.splitlines()) > 1:
        return Translatable("Write “{name}” on one line.", name=slot.name)
    if len(value) > slot.most:
        template = "“{name}” takes at most {most} characters. This has {count}. Shorten it."
        return Translatable(template, name=slot.name, most=slot.most, count=len(value))
    if slot.kind == NUMBER:
        template = "“{name}” takes a number, such as {example}."
        return None if NUMERAL.fullmatch(value) else _wrong(template, slot, "12, 1 200, 19.90")
    if slot.kind == DATE:
        template = "“{name}” takes a date, such as {example}."
        return None if _is_date(value, today) else _wrong(template, slot, "24/12/2027, 24/12, 24 décembre")
    if slot.kind == TIME:
        template = "“{name}” takes a time of day, such as {example}."
        return None if _is_time(value) else _wrong(template, slot, "18:30, 18h30, 6:30pm")
    return _complaint_about_text(slot, value)


def _wrong(template: str, slot: Slot, example: str) -> Translatable:
    return Translatable(template, name=slot.name, example=example)


def _is_date(value: str, today: date) -> bool:
    """Whether it names a day. One that two people may read as two days, such as 03/04, is a date all the same."""
    if match := DAY_AND_MONTH.fullmatch(value):
        return min(map(int, match.groups())) in range(1, 13) and max(map(int, match.groups())) <= 31
    try:
        return _odd(value) is None and read_days(simplified(value), "", today) is not None
    except NotATime as error:
        return error.code == "ambiguous"


def _is_time(value: str) -> bool:
    try:
        read_hour(simplified(value), value)
    except NotATime:
        return False
    return _odd(value) is None


def _complaint_about_text(slot: Slot, value: str) -> Translatable | None:
    """A text may hold words, but nothing that a reader could follow, call or take for another offer."""
    odd = _odd(value) or next(iter(suggestions.lookalikes(value)), None)
    if odd is not None:
        template = "“{name}” takes letters, digits, spaces and plain punctuation. Leave out {char}."
        return Translatable(template, name=slot.name, char=sms.name_of(odd, english=False))
    if not ENDS.match(value):
        return Translatable("“{name}” must begin with a letter or a digit.", name=slot.name)
    if found := LINK.search(value) or PHONE.search(value):
        template = "“{found}” reads like a link or a phone number. Only the wording of the template may have one."
        return Translatable(template, found=_with_its_word(found))
    if offer := marketing.looks_like_marketing(value):
        template = "“{found}” reads like an offer. Only the wording of the template may make one."
        return Translatable(template, found=offer[0])
    return None


def _with_its_word(found: re.Match[str]) -> str:
    """What was found, up to the spaces around it: `bell.fr` and not `l.f`."""
    before, after = found.string[: found.start()], found.string[found.end() :]
    return before.split(" ")[-1] + found[0] + after.split(" ")[0]


def _odd(value: str) -> str | None:
    """The first character that is no plain letter, digit or punctuation."""
    for char in value:
        letter = unicodedata.category(char)[0] in "LM" and unicodedata.normalize("NFKC", char) == char
        if char in sms.INVISIBLE or not (letter or (char.isascii() and char.isdigit()) or char in PUNCTUATION):
            return char
    return None
