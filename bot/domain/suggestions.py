"""What to suggest in place of what was typed: cheaper characters, and names close to a misspelt one."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from bot.domain.sms import BASIC, INVISIBLE, measure

SAFE = {
    **dict.fromkeys("’‘‚‛′´`", "'"),
    **dict.fromkeys("“”„‟″«»", '"'),
    **dict.fromkeys("–—‒―−‐‑•", "-"),
    **dict.fromkeys(
        "\u00a0\u202f\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u205f\u3000\t"
        "\u1680\u2800\u3164\uffa0\u115f\u1160",
        " ",
    ),
    **dict.fromkeys("\u2028\u2029\u0085\v", "\n"),
    **dict.fromkeys(INVISIBLE, ""),
    "…": "...",
}

LIGATURES = {"œ": "oe", "Œ": "OE"}

#: Writing systems that use invisible marks to join and separate letters, and to choose between forms of a letter.
SPELLED = ((0x0600, 0x08FF), (0x0900, 0x0DFF), (0x1000, 0x109F), (0x1780, 0x18AF), (0x3400, 0x9FFF), (0xFB50, 0xFDFF))
SPELLED_OUT = 100  # hidden characters, or runs of one, that are shown by their code
JOINERS = frozenset("\u200c\u200d")


@dataclass(frozen=True)
class Suggestion:
    """A text with the same meaning that is cheaper to send; `changes` are the characters that would be replaced."""

    text: str
    changes: tuple[str, ...]
    before: int
    after: int


def suggest(text: str) -> Suggestion | None:
    """Safe replacements, if they save a segment. Nothing is ever applied silently."""
    spots, better = _spots(text), plain(text)
    before, after = measure(text).segments, measure(better).segments
    changes = tuple(dict.fromkeys(text[at] for at in spots if text[at] not in BASIC))
    return Suggestion(better, changes, before, after) if after < before else None


def plain(text: str) -> str:
    """The text with a safe replacement for every character that has one."""
    return _replaced(text, {at: SAFE[text[at]] for at in _spots(text)})


def suggest_unaccented(text: str) -> Suggestion | None:
    """What it would save to drop accents as well. Words then read otherwise, so only a person may choose it."""
    safe, better = plain(text), unaccented(text)
    before, after = measure(text).segments, measure(better).segments
    changes = tuple(dict.fromkeys(char for char in safe if _base(char) != char))
    return Suggestion(better, changes, before, after) if after < measure(safe).segments else None


def unaccented(text: str) -> str:
    """The text with every safe replacement, and without the accents that no plain SMS can carry."""
    return "".join(_base(char) for char in plain(text))


def _base(char: str) -> str:
    """The plain letter or letters of an accented one; other characters as they are."""
    if char in BASIC:
        return char
    base = LIGATURES.get(char) or unicodedata.normalize("NFD", char)[0]
    return base if all(letter in BASIC and letter.isalpha() for letter in base) else char


def _spots(text: str) -> list[int]:
    needless = set(_needless(text))
    return [at for at, char in enumerate(text) if char in SAFE and (char not in INVISIBLE or at in needless)]


def _replaced(text: str, changes: Mapping[int, str]) -> str:
    return "".join(changes.get(at, char) for at, char in enumerate(text))


def invisible(text: str) -> tuple[str, ...]:
    """The invisible characters that do not affect what is visible: they join no emoji and shape no letter."""
    return tuple(dict.fromkeys(text[at] for at in _needless(text)))


def without_invisible(text: str) -> str:
    """The text without those characters. Nothing is ever removed silently."""
    return _replaced(text, dict.fromkeys(_needless(text), ""))


def visible(text: str) -> str:
    """The text with the code of each of those characters in its place, so that it is not drawn: `[U+202E]`.

    Many of them are shown short, else no card would have room for a text of them: `[U+200B ×1990]`, and after the first
    hundred places `▯`.
    """
    places, changes = list(_needless(text)), dict[int, str]()
    runs = groupby(enumerate(places), lambda one: (one[1] - one[0], text[one[1]]))
    for count, (_, run) in enumerate(runs):
        first, *rest = [at for _, at in run]
        many = f" ×{len(rest) + 1}" if rest else ""
        changes |= dict.fromkeys(rest, "")
        changes[first] = f"[U+{ord(text[first]):04X}{many}]" if count < SPELLED_OUT else "▯"
    return _replaced(text, changes)


def _needless(text: str) -> Iterator[int]:
    before = ""
    for at, char in enumerate(text):
        if char in INVISIBLE and not _shapes(char, before, text[at + 1 : at + 2]):
            yield at
        else:
            before = char


def _shapes(char: str, before: str, after: str) -> bool:
    """Whether it changes how its neighbours look."""
    if not before:
        return False
    spelled = any(first <= ord(before) <= last for first, last in SPELLED)
    if char in JOINERS:
        drawn = _is_picture(before) or before in "\ufe0f\u20e3" or "\U0001f3fb" <= before <= "\U0001f3ff"
        return (spelled and after.isalpha()) or (drawn and bool(after) and _is_picture(after))
    if "\U000e0020" <= char <= "\U000e007f":  # the letters of a flag, such as Scotland's
        return before == "\U0001f3f4" or "\U000e0020" <= before <= "\U000e007f"
    if "\ufe00" <= char <= "\ufe0f":
        return spelled or _is_picture(before) or after == "\u20e3"
    return "\u180b" <= char <= "\u180f" and spelled


def _is_picture(char: str) -> bool:
    category = unicodedata.category(char)
    return category == "So" or (category == "Sm" and char > "\u2000") or char in "‼⁉〰〽ℹ"


SCRIPTS = ("LATIN", "CYRILLIC", "GREEK")  # their letters look alike: А, Α and A


def lookalikes(text: str) -> tuple[str, ...]:
    """The letters that come from another alphabet than most of their word."""
    found: list[str] = []
    for word in re.findall(r"[^\W\d_]+", text):
        of = [(char, script) for char in word if (script := _script(char)) is not None]
        most = Counter(script for _, script in of).most_common(1)
        found += [char for char, script in of if script != most[0][0]]
    return tuple(dict.fromkeys(found))


def _script(letter: str) -> str | None:
    name = unicodedata.name(letter, "")
    return next((script for script in SCRIPTS if name.startswith(script)), None)


def may_part(text: str, at: int) -> bool:
    """Whether it can be cut there without showing one character as two."""
    joined = INVISIBLE | {"\u20e3"}
    parts = text[at - 1 : at + 1]
    return not any(char in joined or unicodedata.combining(char) for char in parts) and parts[0] != "\r"


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The word that was probably meant."""
    close = difflib.get_close_matches(word.lower(), list(words), n=1, cutoff=0.6)
    return close[0] if close else None
