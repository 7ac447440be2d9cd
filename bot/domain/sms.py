"""What an SMS holds: the GSM alphabet, the segments of a text, and its limits.

Tables and the pair rule are those of 3GPP TS 23.038 and 23.040.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from providers.base import TextLimits

BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = frozenset("€[]{}|~^\\\f")  # an escape and a code: two septets that are never split
ESCAPE = "\x1b"

SINGLE = {"gsm7": 160, "ucs2": 70}
PART = {"gsm7": 153, "ucs2": 67}  # the rest of each part is the header that joins them


@dataclass(frozen=True)
class Measure:
    """How a text is encoded. `units`: septets in GSM-7, UTF-16 code units in UCS-2. `offenders`: what forces UCS-2."""

    encoding: str
    units: int
    segments: int
    offenders: tuple[str, ...] = ()

    @property
    def room(self) -> int:
        """How many units this many segments hold."""
        return SINGLE[self.encoding] if self.segments <= 1 else PART[self.encoding] * self.segments


def measure(text: str) -> Measure:
    """Encoding, units and segments. A pair (an extension character, a surrogate pair) is never split over two parts."""
    offenders = tuple(dict.fromkeys(char for char in text if char not in BASIC and char not in EXTENSION))
    encoding = "ucs2" if offenders else "gsm7"
    widths = [_width(char, encoding) for char in text]
    units = sum(widths)
    segments = 1 if units <= SINGLE[encoding] else _parts(widths, PART[encoding])
    return Measure(encoding, units, segments if text else 0, offenders)


def _width(char: str, encoding: str) -> int:
    if encoding == "gsm7":
        return 2 if char in EXTENSION else 1
    return 2 if ord(char) > 0xFFFF else 1


def _parts(widths: Iterable[int], room: int) -> int:
    parts, used = 1, 0
    for width in widths:
        if used + width > room:
            parts, used = parts + 1, 0
        used += width
    return parts


def storable(typed: str) -> str:
    """The text with `�` in place of what no database and no phone can take.

    That is a NUL, which PostgreSQL refuses, and half a surrogate pair, which has no bytes.
    """
    return re.sub(r"[\0\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", typed)


def composed(text: str) -> str:
    """The text as it goes out: without space around it, and in composed characters (NFC).

    These look the same and cost less: an `é` of two characters makes a text Unicode, an `é` of one does not.
    """
    return unicodedata.normalize("NFC", text).strip()


def name_of(char: str, *, english: bool = True) -> str:
    """A character as people can recognise it: the character itself if it is visible, and its Unicode name.

    Unicode names exist only in English; other languages get the code instead.
    """
    name = (unicodedata.name(char, "").lower() if english else "") or f"U+{ord(char):04X}"
    shows = char.isprintable() and not char.isspace() and char not in INVISIBLE
    return f"{char} ({name})" if shows else name


@dataclass(frozen=True)
class Problem:
    """Why a text cannot be sent; `template` with `values` is the sentence."""

    code: str
    template: str
    values: Mapping[str, str | int] = field(default_factory=dict)


def problems(text: str, limits: TextLimits) -> tuple[Problem, ...]:
    """What forbids this text, the plainest problem first; empty if it may go."""
    if not visible(text):
        return (Problem("empty", "The text is empty. Write what people should read."),)
    if ESCAPE in text:
        return (
            Problem("escape", "The text contains an escape character (U+001B), which no phone can show. Remove it."),
        )
    return _too_long(text, limits)


def visible(text: str) -> bool:
    """Whether there is anything to see. Spaces, controls and zero-width characters do not count."""
    return any(unicodedata.category(char)[0] not in "ZC" and not _blank(char) for char in text)


def _blank(char: str) -> bool:
    return char in "\u115f\u1160\u2800\u3164\uffa0\u034f" or unicodedata.category(char) == "Mn"


def _too_long(text: str, limits: TextLimits) -> tuple[Problem, ...]:
    if not limits.segments:
        units = len(text.encode("utf-16-le")) // 2
        if units <= limits.max_ucs2:
            return ()
        template = "The text has {count} characters, but the vendor takes at most {limit}. Shorten it by {over}."
        return (
            Problem("too_long", template, {"count": units, "limit": limits.max_ucs2, "over": units - limits.max_ucs2}),
        )
    size = measure(text)
    limit = limits.max_gsm7 if size.encoding == "gsm7" else limits.max_ucs2
    values: dict[str, str | int] = {"count": size.units, "limit": limit, "over": size.units - limit}
    if size.units > limit and size.encoding == "ucs2":
        values["char"] = name_of(size.offenders[0], english=False)  # the reader's language is not known yet
        template = (
            "{char} makes the text Unicode. It has {count} units, but the vendor takes at most {limit}. Shorten it by "
            "{over}, or replace that character."
        )
        return (Problem("too_long", template, values),)
    if size.units > limit:
        template = (
            "The text has {count} characters, but the vendor takes at most {limit} ({parts} parts). Shorten it by "
            "{over}."
        )
        return (Problem("too_long", template, {**values, "parts": limits.max_parts}),)
    if size.segments > limits.max_parts:
        template = "The text takes {count} parts, but the vendor takes at most {limit}. Shorten it."
        return (Problem("too_long", template, {"count": size.segments, "limit": limits.max_parts}),)
    return ()


#: Invisible: format, bidi and control characters, fillers, tags. Some join emoji or belong to a language's spelling.
INVISIBLE = frozenset(
    chr(code)
    for first, last in (
        *((0x00, 0x08), (0x0E, 0x1A), (0x1C, 0x1F), (0x7F, 0x84), (0x86, 0x9F), (0xAD, 0xAD), (0x034F, 0x034F)),
        *((0x061C, 0x061C), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F)),
        *((0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFF0, 0xFFFB), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A)),
        (0xE0000, 0xE0FFF),
    )
    for code in range(first, last + 1)
)
