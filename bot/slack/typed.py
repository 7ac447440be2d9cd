"""What stands after `/broadcast`, read left to right. Options may be quoted; the text is kept as it was typed."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from bot.broadcast import Complaint, Sentence
from providers.base import Purpose

OPTIONS = ("at", "sender", "campaign")
#: Every option that some subcommand takes: where another takes it, it is a slip and never the text.
EVERYWHERE = (*OPTIONS, "holidays", "until", "count", "covers", "answer", "start", "template", "digest")
MEANT = {
    **dict.fromkeys(("when", "time", "date", "send_at", "quand", "heure", "cuando", "hora", "fecha"), "at"),
    **dict.fromkeys(("from", "expediteur", "remitente"), "sender"),
    **dict.fromkeys(("feries", "festivos"), "holidays"),
}
SURE, PERHAPS = 0.8, 0.6  # how near a slip is to an option of another subcommand, and to one of this one
QUOTES = '"“”„‟«»″'
OPENING = QUOTES + "'‘’‚‹`"
DASHES = "—–"

PURPOSES = {
    **dict.fromkeys(("marketing", "publicite", "publicidad", "promotionnel", "promocional"), Purpose.MARKETING),
    **dict.fromkeys(
        ("transactional", "transactionnel", "transactionnelle", "transaccional", "transacional"), Purpose.TRANSACTIONAL
    ),
}
OPTION = re.compile(rf"(?:--|[{DASHES}])?(\w+)=(?:[{QUOTES}]\s*([^{QUOTES}]*)[{QUOTES}]|(\S*))(?:\s+|$)")
QUOTED = re.compile(rf"[{QUOTES}]([^{QUOTES}]*)[{QUOTES}]\s*")
LIKE_OPTION = re.compile(rf"[{OPENING}]?(?:--|[{DASHES}])?(\w[\w-]*)\s*=")  # with quotes or spaces where none belong
WORD = re.compile(r"(\S+)(?:\s+|$)")


@dataclass(frozen=True)
class Typed:
    """`send` taken apart. `purpose` None: left out. `late`: options of its own that stand in the text, and are text."""

    audience: str
    purpose: Purpose | None
    options: dict[str, str] = field(default_factory=dict)
    text: str = ""
    complaints: tuple[Complaint, ...] = ()
    late: tuple[str, ...] = ()


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
        if complaint := _wrong_option(rest, option, names, options):
            complaints.append(complaint)
            break
        if option is not None and (name := option[1].lower()) in names:
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
    return Typed("", purpose, options, rest.strip(), tuple(complaints), _late(rest, names))


def _late(text: str, names: Sequence[str]) -> tuple[str, ...]:
    found = re.findall(rf"\s(?:--|[{DASHES}])?({'|'.join(names)})=\S", text, re.IGNORECASE)
    return tuple(dict.fromkeys(name.lower() for name in found))


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


def _wrong_option(
    rest: str, option: re.Match[str] | None, names: Sequence[str], given: Collection[str]
) -> Complaint | None:
    """What begins like an option and would end as text or half of it. `url=…` is text, and nothing is wrong with it."""
    like = LIKE_OPTION.match(rest)
    if like is None:
        return None
    name = like[1].lower()
    if name not in names:
        return _unknown_option(name, names, slips=option is not None)
    if name in given:
        return _complaint("“{name}=” is there twice. Which one counts?", name=name)
    if option is None or not (option[2] or option[3]) or (option[3] and option[3][0] in OPENING):
        template = 'An option is written `{name}=word` or `{name}="some words"`, then a space.'
        return _complaint(template, name=name)
    return None


def _unknown_option(name: str, names: Sequence[str], *, slips: bool) -> Complaint | None:
    """`att=…` may be a slip, and `at=…` may stand where another subcommand than this takes it."""
    meant = _meant(_plain(name).replace("-", "_"), names, slips=slips)
    if meant is None:
        return None
    if meant in names:
        return _complaint("There is no option “{name}=”. Did you mean “{near}=”?", name=name, near=meant)
    template = "“{name}=” is no option here. There are: {known}. If it is text, put a word before it."
    return _complaint(template, name=name, known=", ".join(f"{known}=" for known in names))


def _meant(name: str, names: Sequence[str], *, slips: bool) -> str | None:
    if name in EVERYWHERE or name in MEANT or not slips:
        return MEANT.get(name, name if name in EVERYWHERE else None)
    near = difflib.get_close_matches(name, names, n=1, cutoff=PERHAPS)
    near = near or difflib.get_close_matches(name, EVERYWHERE, n=1, cutoff=SURE)
    return near[0] if near else None


def _complaint(template: str, **values: str) -> Complaint:
    return Complaint("text", Sentence(template, dict(values)))
