"""What the phone will show: segments, the opt-out mention, placeholders, and what people typed by way of Slack.

Tables and the pair rule are those of 3GPP TS 23.038 and 23.040.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from providers.base import TextLimits

BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = frozenset("€[]{}|~^\\\f")  # an escape and a code: two septets that are never parted
ESCAPE = "\x1b"

SINGLE = {"gsm7": 160, "ucs2": 70}
PART = {"gsm7": 153, "ucs2": 67}  # the rest of each part is the header that joins them


@dataclass(frozen=True)
class Measure:
    """How a text travels. `units`: septets in GSM-7, UTF-16 code units in UCS-2. `offenders`: what forces UCS-2."""

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


def name_of(char: str) -> str:
    """A character as people can recognise it: itself where it shows, and its Unicode name."""
    name = unicodedata.name(char, f"U+{ord(char):04X}").lower()
    return f"{char} ({name})" if char.isprintable() and not char.isspace() else name


# --- limits ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """Why a text cannot be sent; `template` with `values` is the sentence."""

    code: str
    template: str
    values: Mapping[str, str | int] = field(default_factory=dict)


def problems(text: str, limits: TextLimits) -> tuple[Problem, ...]:
    """What forbids this text, the plainest first; nothing when it may go."""
    if not visible(text):
        return (Problem("empty", "The text is empty. Write what people should read."),)
    if ESCAPE in text:
        return (Problem("escape", "The text holds an escape character (U+001B), which no phone can show. Remove it."),)
    return _too_long(text, limits)


def visible(text: str) -> bool:
    """Is there anything to see? Spaces, controls and zero-width characters are nothing."""
    return any(unicodedata.category(char)[0] not in "ZC" and not _blank(char) for char in text)


def _blank(char: str) -> bool:
    return char in "\u115f\u1160\u2800\u3164\uffa0\u034f" or unicodedata.category(char) == "Mn"


def _too_long(text: str, limits: TextLimits) -> tuple[Problem, ...]:
    if not limits.segments:
        units = len(text.encode("utf-16-le")) // 2
        if units <= limits.max_ucs2:
            return ()
        template = "The text has {count} characters and the vendor takes {limit}. Shorten it by {over}."
        return (
            Problem("too_long", template, {"count": units, "limit": limits.max_ucs2, "over": units - limits.max_ucs2}),
        )
    size = measure(text)
    limit = limits.max_gsm7 if size.encoding == "gsm7" else limits.max_ucs2
    values: dict[str, str | int] = {"count": size.units, "limit": limit, "over": size.units - limit}
    if size.units > limit and size.encoding == "ucs2":
        values["char"] = name_of(size.offenders[0])
        template = (
            "With {char} in it the text is Unicode: it has {count} units and the vendor takes {limit}. "
            "Shorten it by {over}, or replace that character."
        )
        return (Problem("too_long", template, values),)
    if size.units > limit:
        template = "The text has {count} characters and the vendor takes {limit} ({parts} parts). Shorten it by {over}."
        return (Problem("too_long", template, {**values, "parts": limits.max_parts}),)
    if size.segments > limits.max_parts:
        template = "The text makes {count} parts and the vendor takes {limit}. Shorten it."
        return (Problem("too_long", template, {"count": size.segments, "limit": limits.max_parts}),)
    return ()


# --- the opt-out mention ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mentioned:
    """A text that ends with its mention. `near_miss`: something in it that reads like one and is none."""

    text: str
    added: bool
    near_miss: str | None = None


def with_mention(text: str, mention: str) -> Mentioned:
    """The text with exactly one canonical mention, at its end; only that exact form counts as present."""
    body = text.rstrip()
    if body.endswith(mention) and _apart(body, mention):
        return Mentioned(body, added=False)
    return Mentioned(f"{body} {mention}", added=True, near_miss=near_miss(body, mention))


def _apart(body: str, mention: str) -> bool:
    before = body[: -len(mention)]
    return not before or not before[-1].isalnum()


def near_miss(text: str, mention: str) -> str | None:
    """Something that reads like the mention: other case, other space, another number."""
    word = re.escape(mention.split()[0])
    found = re.search(rf"(?i)\b{word}\W*(?:au|at|al|a)?\W*(?:\d{{5}}|X{{5}})\b", text)
    return found[0] if found else None


# --- placeholders ----------------------------------------------------------------------------------------------------

PLACEHOLDER = re.compile(r"%%\w+%%|\{\w+\}")


def placeholders(text: str) -> tuple[str, ...]:
    """What looks like a field that the vendor would fill in: `%%name%%`, `{first_name}`."""
    return tuple(dict.fromkeys(PLACEHOLDER.findall(text)))


def unknown_placeholders(text: str, known: Iterable[str]) -> tuple[str, ...]:
    """Those in a style that this vendor fills in, with a name that it does not know."""
    fields = tuple(known)
    styles = {name[0] for name in fields}
    return tuple(found for found in placeholders(text) if found not in fields and found[0] in styles)


# --- suggestions -----------------------------------------------------------------------------------------------------

SAFE = {
    **dict.fromkeys("’‘‚‛′´`", "'"),
    **dict.fromkeys("“”„‟″«»", '"'),
    **dict.fromkeys("–—‒―−‐‑•", "-"),
    **dict.fromkeys(
        "\u00a0\u202f\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u205f\u3000\t", " "
    ),
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", ""),
    "…": "...",
}


@dataclass(frozen=True)
class Suggestion:
    """A text of the same meaning that is cheaper to send; `changes` are the characters that would be replaced."""

    text: str
    changes: tuple[str, ...]
    before: int
    after: int


def suggest(text: str) -> Suggestion | None:
    """Safe replacements, where they save a segment. Nothing is ever applied silently."""
    better = "".join(SAFE.get(char, char) for char in text)
    before, after = measure(text).segments, measure(better).segments
    changes = tuple(dict.fromkeys(char for char in text if char in SAFE and char not in BASIC))
    return Suggestion(better, changes, before, after) if after < before else None


# --- what it is about ------------------------------------------------------------------------------------------------

OFFER_WORDS = (
    *("promos?", "promotions?", "soldes?", "offres?", "code promo", "r[ée]ductions?", "remises?", "gratuite?s?"),
    *("ofertas?", "descuentos?", "rebajas?", "dto"),
    *("sales?", "discounts?", "vouchers?", "deals?", "black friday"),
)
OFFERS = re.compile(rf"(?i)\b(?:{'|'.join(OFFER_WORDS)})\b|-\s?\d{{1,2}}\s?%|\bhttps?://\S+|\bwww\.\S+")


def looks_like_marketing(text: str) -> tuple[str, ...]:
    """Words and links of an offer: a warning for people, never a decision."""
    return tuple(dict.fromkeys(match[0] for match in OFFERS.finditer(text)))


# --- what Slack hands over -------------------------------------------------------------------------------------------

TOKEN = re.compile(r"<([@#!]?)([^<>|]+)(?:\|([^<>]*))?>")
EMOJI_NAME = re.compile(r"(?<![\w:]):[a-z0-9_+-]{2,}:(?![\w:])")


def decode_slack(raw: str) -> str:
    """The text as it was meant: links as their address, names as people see them, entities decoded exactly once."""
    # Slack encodes exactly these three; anything else that reads like an entity was typed.
    plain = TOKEN.sub(_spelled, raw)
    return plain.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _spelled(token: re.Match[str]) -> str:
    sign, target, label = token[1], token[2], token[3]
    if sign in ("@", "#"):
        return f"{sign}{label or target}"
    if sign == "!":
        return f"@{label.lstrip('@') if label else target.split('^')[0]}"
    if target.startswith(("mailto:", "tel:")):
        return label or target.split(":", 1)[1]
    return label if label and target in (f"http://{label}", f"https://{label}") else target


def emoji_names(text: str) -> tuple[str, ...]:
    """`:wave:` and the like: a phone would show them literally."""
    return tuple(dict.fromkeys(EMOJI_NAME.findall(text)))


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The word that was probably meant."""
    close = difflib.get_close_matches(word.lower(), list(words), n=1, cutoff=0.6)
    return close[0] if close else None
