"""Whether two texts are nearly the same, so that one may be the other by mistake."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from functools import lru_cache

NEAR = 0.92  # of the characters in common; one wrong letter in a short offer
COMPARED = 1_000  # characters


def nearly_same(one: str, other: str, *, with_numbers: bool = True) -> bool:
    """Whether the texts differ in little more than a typo. Texts with other numbers are never the same message.

    Without `with_numbers`, numbers are compared like other words: a number more is then no other message.
    """
    a, b = _essence(one), _essence(other)
    if a == b:
        return bool(a) or one.split() == other.split()  # nothing but signs: they are compared as they are
    if with_numbers and numbers_in(one) != numbers_in(other):
        return False
    matcher = SequenceMatcher(None, a[:COMPARED], b[:COMPARED])
    return min(matcher.real_quick_ratio(), matcher.quick_ratio()) > NEAR and matcher.ratio() > NEAR


def numbers_in(text: str) -> list[str]:
    """The numbers of a text, in their order. Texts that are nearly the same have the same ones."""
    return re.findall(r"\d+", _essence(text))


@lru_cache(maxsize=4096)  # a text is compared with all that came a moment before it
def _essence(text: str) -> str:
    """The letters and digits, with one space wherever something else stands."""
    return " ".join(re.findall(r"\w+", text.casefold()))
