"""The options that commands take, under every name people use for them, and those that slipped into a text."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from bot.when.instants import parse_when
from bot.when.refusals import NotATime

OPTIONS = ("at", "sender", "campaign", "canary")
#: Every option of any subcommand. One that belongs to another subcommand is a slip, never part of the text.
EVERYWHERE = (*OPTIONS, "holidays", "until", "count", "covers", "answer", "start", "template", "digest", "mentions")
MEANT = {
    **dict.fromkeys(("when", "time", "date", "send_at", "quand", "heure", "cuando", "hora", "fecha"), "at"),
    **dict.fromkeys(("day", "jour", "dia", "horaire", "horario", "schedule", "scheduled"), "at"),
    **dict.fromkeys(("from", "expediteur", "emetteur", "remitente", "emisor"), "sender"),
    **dict.fromkeys(("campagne", "campana"), "campaign"),
    **dict.fromkeys(("feries", "festivos"), "holidays"),
}
#: What has no option name before the text either: the word alone is enough.
NAMELESS = {
    "audience": r"\w[\w-]*",
    "purpose": "marketing|publicite|publicidad|promotionnel|promocional|trans(?:actional|actionnel|accional)",
}
YES = {"yes", "y", "on", "true", "oui", "o", "vrai", "sí", "si", "s", "verdadero", "1"}
NO = {"no", "n", "off", "false", "non", "faux", "falso", "0"}

QUOTES = '"“”„‟″«»'
OPENING = QUOTES + "'‘’‚‹`"
DASHES = "—–"

NEAR = 0.8  # how similar a word must be to an option's name to be taken for it
FURTHEST = 8  # the most words of a time
TAIL = 240  # characters at the end of a text in which an option may begin
LONGEST_NAME = 3  # the most words of a sender or a campaign without quotes
#: Before a colon, most of these names are ordinary words of a text (`Date : demain`). These are asked about anyway. The
#: others below are asked about only at the end of a text, since an invitation begins with them.
WITH_COLON = frozenset({"at", "send_at", "sender", "campaign", "expediteur", "remitente"})
ENDING_WITH_COLON = WITH_COLON | {"when", "quand", "cuando"}

LIKE_OPTION = re.compile(
    rf"(?:^|(?<=[\s(\[*_~;,.|/<{OPENING}]))(?:(?:--?|[{DASHES}])?(?P<name>[^\W\d_][\w-]*)\s*(?P<sign>[=:＝]+>?|->)\s*"
    rf"|(?:--|[{DASHES}])(?P<dashed>[^\W\d_][\w-]*)\s+)"
)
WITHOUT_SIGN = re.compile(rf"(?P<name>at)(?P<sign>)\s+(?=[{OPENING}])", re.IGNORECASE)
IN_QUOTES = re.compile(rf"[{OPENING}]\s*([^{QUOTES}]*?)\s*[{OPENING}](?![^\W_])")
AROUND = re.compile(r"[\W_]+$")  # the end of a sentence, or of what Slack shows bold
#: A signature, a courtesy or a mention after the last option.
BEHIND = re.compile(
    rf"(?i)\s+(?:(?:--?|[{DASHES}])\s*\S+(?:\s+\S+){{0,2}}|merci|thanks|thank you|please|svp|gracias|por favor"
    r"|stop\b.{0,20})\W*$"
)
MOST_BEHIND = 3  # words


@dataclass(frozen=True)
class Slip:
    """What reads like an option in a text: the words as written, and the option that was probably meant."""

    found: str
    name: str


def slipped(text: str, *, zone: str, now: datetime) -> Slip | None:
    """The option or options that a text ends or begins with, if the value reads as one: `… at="demain 9h"`.

    In the middle of a text, only a time in quotes counts. What nobody would read as an option is text: `Rdv at 9`,
    `https://x?at=5`.
    """
    for match in LIKE_OPTION.finditer(text, max(0, len(text) - TAIL)):
        if name := _ends_with(text, match, zone, now):
            return Slip(text[_first(text, match.start(), zone, now) :].strip(), name)
    for match in LIKE_OPTION.finditer(text):
        if (quoted := IN_QUOTES.match(text, match.end())) and (name := _holds_a_time(match, quoted[1], zone, now)):
            return Slip(text[match.start() : quoted.end()], name)
    beginning = text.lstrip(f"{OPENING}([*_~ \n")
    first = LIKE_OPTION.match(beginning) or WITHOUT_SIGN.match(beginning)
    if first and (name := _begins_with(first, zone, now)):
        return Slip(" ".join(first.string.split()[:FURTHEST]), name)
    return None


def _holds_a_time(match: re.Match[str], value: str, zone: str, now: datetime) -> str | None:
    """The option of any name with a time in quotes: `prévu="demain 9h"`. A colon means text: `Date : "demain 9h"`."""
    word = _word(match)
    if match["sign"] in (None, ":") or _is_of_an_address(match):
        return None
    known = next((name for name, _ in _names(word) if name in ("at", "until")), None)
    if known and _is_time(value, zone, now):
        return known
    try:
        parse_when(value, zone=zone, now=now)
    except NotATime:
        return None
    return "at"


def _is_of_an_address(match: re.Match[str]) -> bool:
    """`https://x.example/at=5` is one word."""
    return "://" in match.string[: match.start()].split(" ")[-1]


def _word(match: re.Match[str]) -> str:
    found = match.groupdict()
    return folded(found["name"] or found["dashed"]).replace("-", "_")


def _first(text: str, start: int, zone: str, now: datetime) -> int:
    """Where the first of at most four consecutive options at the end begins."""
    for _ in range(3):
        before = text[:start].rstrip()
        earlier = LIKE_OPTION.finditer(before, max(0, start - TAIL))
        start = next((match.start() for match in earlier if _ends_with(before, match, zone, now)), start)
    return start


def _ends_with(text: str, match: re.Match[str], zone: str, now: datetime) -> str | None:
    rest = text[match.end() :]
    quoted = IN_QUOTES.match(rest)
    if _is_of_an_address(match):
        return None
    if quoted and len(re.findall(r"[^\W_]+", rest[quoted.end() :])) <= MOST_BEHIND:
        value, several = quoted[1], True
    else:
        value, several = AROUND.sub("", BEHIND.sub("", rest)), match["sign"] not in (None, ":")
    return _meant(match, ENDING_WITH_COLON, [value], zone, now, several=several)


def _begins_with(match: re.Match[str], zone: str, now: datetime) -> str | None:
    rest = match.string[match.end() :]
    if quoted := IN_QUOTES.match(rest):
        return _meant(match, WITH_COLON, [quoted[1]], zone, now, several=True)
    words = rest.split()[:FURTHEST]
    values = [AROUND.sub("", " ".join(words[:count])) for count in range(1, len(words) + 1)]
    return _meant(match, WITH_COLON, values, zone, now, several=False)


def _meant(
    match: re.Match[str], with_colon: frozenset[str], values: list[str], zone: str, now: datetime, *, several: bool
) -> str | None:
    """The option that this is, if one of these values fits it. `several`: a value may have several words."""
    word = _word(match)
    if match["sign"] == ":" and word not in with_colon:
        return None
    if match["sign"] == "=" and any(re.fullmatch(NAMELESS.get(word, "$"), folded(value)) for value in values):
        return word if word in NAMELESS else None
    for name, sure in _names(word):
        if any(_reads(name, value, zone, now, several=several and (sure or " " in value)) for value in values):
            return name
    return None


def _names(word: str) -> Iterator[tuple[str, bool]]:
    """The option with this name, or the one nearest to it, and whether that is sure."""
    if word in EVERYWHERE or word in MEANT:
        yield MEANT.get(word, word), True
    elif near := difflib.get_close_matches(word, (*EVERYWHERE, *MEANT), n=1, cutoff=NEAR):
        name = MEANT.get(near[0], near[0])
        if name in ("at", "until"):  # any word is a value of the others
            yield name, False


def _reads(name: str, value: str, zone: str, now: datetime, *, several: bool) -> bool:
    if name in ("at", "until"):
        return _is_time(value, zone, now)
    if name in ("count", "covers"):
        return value.isdigit()
    if name in ("answer", "digest", "mentions"):
        return value.lower() in YES | NO
    return 1 <= len(value.split()) <= (LONGEST_NAME if several else 1)


def _is_time(value: str, zone: str, now: datetime) -> bool:
    """Whether it is a time, or one refused for a specific reason, as `demain` is because it lacks an hour."""
    try:
        parse_when(value, zone=zone, now=now)
    except NotATime as error:
        return bool(value) and error.code != "not_understood"
    return True


def folded(word: str) -> str:
    """Without case and accents."""
    spread = unicodedata.normalize("NFKD", word.lower())
    return "".join(char for char in spread if not unicodedata.combining(char))
