"""What stands after `/broadcast`, read left to right. Options may be quoted; the text is kept as it was typed."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from bot.broadcast import Complaint, Sentence
from providers.base import Purpose

OPTIONS = ("at", "sender", "campaign")
QUOTES = '"“”„‟«»″'
DASHES = "—–"

PURPOSES = {
    **dict.fromkeys(("marketing", "publicite", "publicidad", "promotionnel", "promocional"), Purpose.MARKETING),
    **dict.fromkeys(
        ("transactional", "transactionnel", "transactionnelle", "transaccional", "transacional"), Purpose.TRANSACTIONAL
    ),
}
OPTION = re.compile(rf"(?:--|[{DASHES}])?(\w+)=(?:[{QUOTES}]\s*([^{QUOTES}]*)[{QUOTES}]|(\S*))(?:\s+|$)")
QUOTED = re.compile(rf"[{QUOTES}]([^{QUOTES}]*)[{QUOTES}]\s*")
WORD = re.compile(r"(\S+)(?:\s+|$)")


@dataclass(frozen=True)
class Typed:
    """`send` taken apart. `purpose` None: left out."""

    audience: str
    purpose: Purpose | None
    options: dict[str, str] = field(default_factory=dict)
    text: str = ""
    complaints: tuple[Complaint, ...] = ()


def first_word(typed: str) -> tuple[str, str]:
    """The first word and what follows it, as typed."""
    match = WORD.match(typed.strip())
    if match is None:
        return "", ""
    return match[1], typed.strip()[match.end() :]


def quoted(typed: str) -> tuple[str, str]:
    """What stands in quotes of any shape at the start, and what follows it; "" where there are none."""
    match = QUOTED.match(typed.strip())
    return (match[1].strip(), typed.strip()[match.end() :]) if match else ("", typed.strip())


def read_send(typed: str, names: Sequence[str] = OPTIONS) -> Typed:
    """`<audience> [purpose] [at=…] [sender=…] [campaign=…] <text>`: the first word that is neither starts the text."""
    audience, rest = first_word(typed)
    return replace(_read(rest, names, with_purpose=True), audience=audience.lower())


def read_options(typed: str, names: Sequence[str]) -> Typed:
    """`[name=…] <text>`: options and what is no option any more."""
    return _read(typed, names, with_purpose=False)


def _read(rest: str, names: Sequence[str], *, with_purpose: bool) -> Typed:
    purpose: Purpose | None = None
    options: dict[str, str] = {}
    complaints: list[Complaint] = []
    while True:
        option = OPTION.match(rest)
        if option is not None:
            name = option[1].lower()
            if name not in names:
                complaints += _unknown_option(name, names)
                break
            options[name] = (option[2] if option[2] is not None else option[3]).strip()
            rest = rest[option.end() :]
            continue
        word, after = first_word(rest)
        if with_purpose and purpose is None and (read := PURPOSES.get(_plain(word))) is not None:
            purpose, rest = read, after
            continue
        if with_purpose and purpose is None:
            complaints += _near_miss(word)
        break
    return Typed("", purpose, options, rest.strip(), tuple(complaints))


def _plain(word: str) -> str:
    folded = unicodedata.normalize("NFKD", word.lower())
    return "".join(char for char in folded if not unicodedata.combining(char))


def _near_miss(word: str) -> Iterator[Complaint]:
    """`markting` is asked about: as the first word of a text it would go out to everybody."""
    near = difflib.get_close_matches(_plain(word), PURPOSES, n=1, cutoff=0.82)
    if near:
        template = (
            "Did you mean “{near}” by “{word}”? Write it so, or put the purpose before a text that begins with it."
        )
        yield Complaint("purpose", Sentence(template, {"near": near[0], "word": word}))


def _unknown_option(name: str, names: Sequence[str]) -> Iterator[Complaint]:
    """`att=…` may be a slip; `url=…` is text."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        template = "There is no option “{name}=”. Did you mean “{near}=”?"
        yield Complaint("text", Sentence(template, {"name": name, "near": near[0]}))
