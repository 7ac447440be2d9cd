"""The opt-out mention that a marketing text must have, and how to recognise a marketing text."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from bot.domain.sms import INVISIBLE, composed
from bot.domain.suggestions import without_invisible


@dataclass(frozen=True)
class Mentioned:
    """A text that ends with its mention. `near_miss`: something in it that reads like a mention but is not one."""

    text: str
    added: bool
    near_miss: str | None = None


def with_mention(text: str, mention: str) -> Mentioned:
    """The text with exactly one canonical mention, at its end; only that exact form counts as present."""
    body = text.rstrip()
    if body.endswith(mention) and _apart(body, mention):
        return Mentioned(body, added=False, near_miss=near_miss(body[: -len(mention)], mention))
    return Mentioned(f"{body} {mention}", added=True, near_miss=near_miss(body, mention))


def _apart(body: str, mention: str) -> bool:
    """Whether the mention is not part of a longer word: `NON-STOP AU 36111` holds no mention."""
    before = body[: -len(mention)]
    return not before or not (before[-1].isalnum() or before[-1] in "-_")


def near_miss(text: str, mention: str) -> str | None:
    """What reads like a mention: another case, spacing, order or number, or an instruction to answer STOP."""
    composed = unicodedata.normalize("NFKC", text).translate(LOOKALIKES)
    read = "".join(char for char in composed if char not in INVISIBLE)
    sure, likely = _mentions(mention)
    found = [match for pattern in sure for match in pattern.finditer(read)]
    found += [match for pattern in likely for match in pattern.finditer(read) if not _is_prose(read, match)]
    if not found:
        return None
    first = min(found, key=lambda match: match.start())
    return " ".join(first[0].split()).strip(".,;:!()[]\"'«»“” ")[:60]


#: Letters of other writing systems that look like those of STOP.
LOOKALIKES = dict(zip(map(ord, "ЅТОРѕторΤΟΡ"), "STOPstopTOP", strict=True))

#: Words that may come between STOP and its number without separating them.
BETWEEN = (
    *(
        "aux",
        "au",
        "at",
        "al",
        "à",
        "a",
        "to",
        "on",
        "le",
        "the",
        "el",
        "un",
        "en",
        "in",
        "n°",
        "no",
        "by",
        "par",
        "por",
    ),
    *(
        "via",
        "sms",
        "mms",
        "texto",
        "text",
        "message",
        "mensaje",
        "pub",
        "numéro",
        "numero",
        "número",
        "number",
        "code",
    ),
    *(
        "court",
        "corto",
        "short",
        "envoyer",
        "envoyez",
        "envoyé",
        "enviar",
        "envía",
        "sent",
        "send",
        "gratuit",
        "gratis",
    ),
)
ANSWER = (
    *("répond(?:ez|re|s)?", "repond(?:ez|re|s)?", "envoye[zr]", "envoi(?:e|es)?", "tape[zr]", "[ée]cri(?:vez|re|s)"),
    *("reply", "answer", "text", "txt", "send", "respond[ea]r?", "contest[ea]r?", "env[ií][ae]r?", "mand[ae]r?"),
    "escrib[ae]r?",
)
BY_ANSWERING = (
    *(
        "par sms",
        "by sms",
        "by text",
        "por sms",
        "par",
        "by",
        "un sms",
        "sms",
        "with",
        "con",
        "avec",
        "back",
        "us",
        "nous",
        "just",
    ),
    *("juste", "solo", "le mot", "la palabra", "the word", "à ce message", "to this message", "a este mensaje"),
)
OPTING_OUT = (
    *(r"opt[\s-]?out", r"unsub\w*", "end", "quit", "cancel", "stop", "no longer receive", "ne plus recevoir"),
    *(r"(?:vous |te |me |se )?d[ée]s(?:abonn|inscri|activ)\w*", "no recibir", r"dar(?:te|se|me)? de baja", "la baja"),
)
LEAVING = (r"d[ée]s(?:abonn|inscri)\w*", r"unsub\w*", r"opt[\s-]?out", "baja", "pub", "no more sms", "plus de sms")

#: After these words, STOP is a place or a verb: `bus stop 12345`, `bidding will stop at 12000`.
PROSE = re.compile(
    r"(?i)\b(?:bus|tram|tramway|m[ée]tro|train|taxi|coach|pit|rest|next|last|the|at|from|to|this|your|our|du|au|le|un|one"
    r"|full|short|non|we|you|they|it|will|would|can|must|not|never|and|prices?|prix|bidding|sales?)\W{1,2}$"
)
_QUIET = r"[\s:=\"'“”‘’«»*._,#>→–—()/-]{0,4}"
_END = r"(?=[\s\"'“”’»*]*(?:$|[.,;!?)\]…]|\n))"


def _is_prose(text: str, match: re.Match[str]) -> bool:
    return PROSE.search(text[max(0, match.start() - 16) : match.start()]) is not None


@lru_cache(maxsize=64)
def _mentions(mention: str) -> tuple[tuple[re.Pattern[str], ...], tuple[re.Pattern[str], ...]]:
    """What surely reads like a mention if this is the account's own, and what probably does.

    The account's own number beside STOP is a mention in any form. Another number is one only where it ends a sentence,
    as in a mention: `Non-stop 10000 lots` and `stop au gaspillage` are not mentions.
    """
    word = rf"(?<![\w-])(?:stop|{re.escape(mention.split()[0])})"
    stop, alone = rf"{word}(?=\W|[\d_]|a[utl]|X|pub|sms|$)", rf"{word}(?![\w-])"
    digits = re.sub(r"\D", "", mention)
    own = "[ .-]?".join(digits) + r"(?!\d)" if digits else r"X{5}(?!X)"
    words = rf"(?:{_QUIET}(?:{'|'.join(BETWEEN)}))"
    other = r"(?:\d{5}|\d{2}[ .]\d{3}|X{4,6})\b"
    answer = rf"\b(?:{'|'.join(ANSWER)})(?:[\s:]+(?:{'|'.join(BY_ANSWERING)}))*[\s:]*[\"'“”‘’«»*]*\s?"
    out = rf"[\s\"'“”’»*]{{1,4}}(?:to|pour|para|=)\s(?:{'|'.join(OPTING_OUT)})"
    sure = (
        rf"(?i){stop}{words}{{0,5}}{_QUIET}(?:{own}|X{{5}}\b)",
        rf"(?i)\bs[ .]t[ .]o[ .]p\b{words}{{0,5}}{_QUIET}{own}",
        rf"(?i)(?<!\d){own}(?:\W{{0,4}}|\s(?:pour|for|para)\s){alone}",
        rf"(?i){alone}\spar retour\b",
        rf"(?i:{answer})(?:STOP|BAJA|ARR[EÊ]T|UNSUBSCRIBE)(?![\w-])",
        rf"(?i){answer}{alone}(?:{_END}|{out}|\s(?:au|at|al|a|to|or|ou|o)\b)",
        rf"(?i){alone}{out}",
        rf"(?i)\b(?:{'|'.join(LEAVING)})\s?[:=]?\s?{alone}{_END}",
        rf"\bSTOP (?:SMS|PUB|MMS){_END}",
        rf"(?<!\d)\d{{5}}\W{{1,4}}STOP{_END}",
    )
    apart = rf"{stop}(?!-[^\W\d])"
    likely = (
        rf"(?i){apart}(?:{words}{{1,5}}{_QUIET}|\s*[:=]\s*){other}{_END}",
        rf"(?<![\w-])STOP(?!\s+(?i:aux)\b)(?i:{words}){{1,5}}{_QUIET}{other}",
        rf"(?i){stop}\s{{0,2}}{other}\W*$",
    )
    return tuple(map(re.compile, sure)), tuple(map(re.compile, likely))


OFFER_WORDS = (
    *("promos?", "promotions?", "soldes?", "offres?", "code promo", "r[ée]ductions?", "remises?", "gratuite?s?"),
    *("ofertas?", "descuentos?", "rebajas?", "dto"),
    *("sales?", "discounts?", "vouchers?", "deals?", "black friday"),
)
OFFERS = re.compile(rf"(?i)\b(?:{'|'.join(OFFER_WORDS)})\b|-\s?\d{{1,2}}\s?%|\bhttps?://\S+|\bwww\.\S+")


def looks_like_marketing(text: str) -> tuple[str, ...]:
    """Words and links of an offer: a warning for people, never a decision. Invisible characters do not hide them."""
    return tuple(dict.fromkeys(match[0] for match in OFFERS.finditer(without_invisible(composed(text)))))
