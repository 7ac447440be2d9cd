"""What the phone will show: segments, the opt-out mention, placeholders, and what people typed by way of Slack.

Tables and the pair rule are those of 3GPP TS 23.038 and 23.040.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

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


def storable(typed: str) -> str:
    """What no database and no phone can take is shown as `�`: a NUL, which PostgreSQL refuses, and half a surrogate
    pair, which has no bytes."""
    return re.sub(r"[\0\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", typed)


def composed(text: str) -> str:
    """The text as it goes out: without space around it, and in composed characters (NFC).

    They look the same and cost less: an `é` of two characters makes a text Unicode, one of one character does not.
    """
    return unicodedata.normalize("NFC", text).strip()


def name_of(char: str, *, english: bool = True) -> str:
    """A character as people can recognise it: itself where it shows, and its Unicode name. That exists in English
    alone; elsewhere its code stands for it."""
    name = (unicodedata.name(char, "").lower() if english else "") or f"U+{ord(char):04X}"
    shows = char.isprintable() and not char.isspace() and char not in INVISIBLE
    return f"{char} ({name})" if shows else name


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
        values["char"] = name_of(size.offenders[0], english=False)  # nobody knows yet in which language it is read
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
        return Mentioned(body, added=False, near_miss=near_miss(body[: -len(mention)], mention))
    return Mentioned(f"{body} {mention}", added=True, near_miss=near_miss(body, mention))


def _apart(body: str, mention: str) -> bool:
    """`NON-STOP AU 36111` holds no mention."""
    before = body[: -len(mention)]
    return not before or not (before[-1].isalnum() or before[-1] in "-_")


def near_miss(text: str, mention: str) -> str | None:
    """Something that reads like a mention: other case, spaces, order or number, or told in words to answer STOP."""
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
#: What may stand between STOP and its number, and is no reason to take them apart.
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
#: Before these words it is a place or a verb that stops: `bus stop 12345`, `bidding will stop at 12000`.
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
    """What surely reads like a mention where this is the account's own, and what is likely to.

    Its own number beside STOP is one in any writing; another number only where a sentence ends with it, as mentions do:
    `Non-stop 10000 lots` and `stop au gaspillage` are none.
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


# --- placeholders ----------------------------------------------------------------------------------------------------

PLACEHOLDER = re.compile(r"%%\w+%%|\{\w+\}")
_NAME = r"\s*[^\W\d][\w.-]*(?: [\w.-]+){0,3}\s*"
#: Marks that nobody writes around a word but to have it replaced.
SLOT = re.compile(
    rf"\{{\{{[^{{}}\n]{{1,60}}\}}\}}|[$#]\{{[^{{}}\n]{{1,60}}\}}|\{{(?:{_NAME}|\d)\}}|\[\[[^\[\]\n]{{1,60}}\]\]"
    rf"|<<{_NAME}>>|<%[^%\n]{{1,60}}%>|\*\|[^|\n]{{1,60}}\|\*|%%\s*[^\W\d][\w.-]*\s*%%|##[^\W\d]\w*##|@@[^\W\d]\w*@@"
    r"|(?<![\w%])%[^\W\d]\w*%(?![\w%])|(?<=[^\W\d] )%[sd]\b"
    r"|\{%[^%\n]{1,60}%\}|%\([^\W\d]\w{0,40}\)[sd]|(?<!\w)__[^\W\d_][\w ]{0,40}?__(?!\w)|\|\*[^|\n]{1,60}\*\|"
    r"|\{[^\W\d]\w{0,40}[:/|][^\W\d][\w./ ]{0,40}\}"
    r"|\b(?i:jj/mm|dd/mm|mm/dd|xx/xx)(?i:/(?:aa|yy|xx){1,2})?\b|\b(?i:hh[:h]mm)\b"
    r"|(?:(?<=onjour )|(?<=ello )|(?<=ear )|(?<=ola ))X{3,4}\b"
)
#: Marks that people write around other words too: a slot where the word is a field's.
BRACKETED = re.compile(
    r"\[([^\[\]\n]{2,40})\]|<([^<>\n]{2,40})>|#(\w{2,30})#|\$([^\W\d]\w{1,30})"
    r"|\(\(([^()\n]{2,40})\)\)|(?<![\w@])@(?P<handle>\w{2,30})|[«‹]\s?(?P<merged>[^«»‹›\n]{2,40}?)\s?[»›]"
)
PERSONAL = frozenset(
    (
        *("prenom", "nom", "nom complet", "nom de famille", "civilite", "name", "first name", "firstname", "fname"),
        *("last name", "lastname", "lname", "surname", "full name", "fullname", "user name", "username", "nombre"),
        *("apellido", "apellidos", "nom client", "nom du client", "nombre cliente", "client name", "customer name"),
    )
)
FIELDS = PERSONAL | frozenset(
    (
        *(
            "ville",
            "city",
            "ciudad",
            "adresse",
            "address",
            "direccion",
            "date",
            "fecha",
            "heure",
            "hora",
            "time",
            "hour",
        ),
        *("montant", "amount", "importe", "monto", "prix", "price", "precio", "email", "e mail", "mail", "correo"),
        *(
            "telephone",
            "phone",
            "telefono",
            "tel",
            "numero",
            "number",
            "lien",
            "link",
            "url",
            "enlace",
            "code",
            "codigo",
        ),
        *(
            "societe",
            "company",
            "entreprise",
            "empresa",
            "magasin",
            "store",
            "tienda",
            "produit",
            "product",
            "producto",
        ),
        *(
            "champ",
            "field",
            "campo",
            "param",
            "variable",
            "xxx",
            "todo",
            "tbd",
            "a completer",
            "a remplir",
            "placeholder",
        ),
    )
)
YOURS = re.compile(r"^(?:votre|your|ton|tu|su) ")
HERE = re.compile(r" (?:ici|here|aqui)$")
TO_WRITE = re.compile(r"^(?:inserer|insert|insertar) ")


def placeholders(text: str) -> tuple[str, ...]:
    """What looks like a field that the vendor would fill in: `%%name%%`, `{first_name}`."""
    return tuple(dict.fromkeys(PLACEHOLDER.findall(text)))


def fills_in_names(text: str) -> bool:
    """Does it ask the vendor for the name of whoever gets it?"""
    return any("name" in field for field in placeholders(text))


def unknown_placeholders(text: str, known: Iterable[str], elsewhere: Iterable[str] = ()) -> tuple[str, ...]:
    """Those in a style that this vendor fills in, with a name that it does not know, and those that another vendor
    knows (`elsewhere`), or this one in another writing."""
    fields = tuple(known)
    styles = {name[0] for name in fields}
    found = [one for one in placeholders(text) if one not in fields and one[0] in styles]
    rest = _without(text, fields)
    for name in dict.fromkeys((*fields, *elsewhere)):
        found += [match[0] for match in _writings(name).finditer(rest)]
    return tuple(dict.fromkeys(found))


def _without(text: str, names: Iterable[str]) -> str:
    """With a hole where each of these stands."""
    for name in names:
        text = text.replace(name, "\0")
    return text


@lru_cache(maxsize=256)
def _writings(name: str) -> re.Pattern[str]:
    """`{first_name}` is also written `{First_Name}` and `{ first_name }`."""
    opening, inside, closing = re.fullmatch(r"(\W*)(.*?)(\W*)", name, re.DOTALL).groups()  # type: ignore[union-attr]
    if not opening or not closing:
        return re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
    return re.compile(rf"{re.escape(opening)}\s*{re.escape(inside)}\s*{re.escape(closing)}", re.IGNORECASE)


def slots(text: str, known: Iterable[str] = ()) -> tuple[str, ...]:
    """What looks like a place for each reader's own words, in any tool's writing, and is none of these."""
    fields = frozenset(known)
    found = [match for match in SLOT.finditer(text) if match[0] not in fields]
    found += [match for match in BRACKETED.finditer(text) if _is_bracketed_field(match)]
    outermost = [one for one in found if not any(_is_within(one, other) for other in found)]
    return tuple(dict.fromkeys(match[0] for match in sorted(outermost, key=lambda match: match.start())))


def _is_within(one: re.Match[str], other: re.Match[str]) -> bool:
    """`[prénom]` lies within `[[prénom]]`."""
    return other.start() <= one.start() and one.end() <= other.end() and one.span() != other.span()


def _is_bracketed_field(match: re.Match[str]) -> bool:
    """`[PRENOM]`, `[Prénom Nom]` and `[votre prénom]` are fields; `[Info]`, `[PROMO]` and `«Time»` are words."""
    word = _folded(match[match.lastindex or 0])
    named = re.sub(r"[\s_-]+", " ", re.sub(r"\d+$", "", word)).strip()
    if match["merged"] or match["handle"]:
        return _are_all(named, PERSONAL)
    named = HERE.sub("", YOURS.sub("", named))
    return _are_all(named, FIELDS) or bool(TO_WRITE.match(named) or re.fullmatch(r"[a-z]+(?:_[a-z0-9]+)+", word))


def _are_all(named: str, fields: frozenset[str]) -> bool:
    """One field of these, or several in a row."""
    return named in fields or (named != "" and all(word in fields for word in named.split()))


def _folded(word: str) -> str:
    """Without case and accents."""
    spread = unicodedata.normalize("NFKD", word.casefold())
    return "".join(char for char in spread if not unicodedata.combining(char)).strip()


# --- suggestions -----------------------------------------------------------------------------------------------------

#: Nobody sees these: format, bidi and control characters, fillers, tags. Some of them join emoji, or spell a language.
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
#: Writing systems that join and part letters with invisible marks, and choose between forms of one.
SPELLED = ((0x0600, 0x08FF), (0x0900, 0x0DFF), (0x1000, 0x109F), (0x1780, 0x18AF), (0x3400, 0x9FFF), (0xFB50, 0xFDFF))
JOINERS = frozenset("\u200c\u200d")


@dataclass(frozen=True)
class Suggestion:
    """A text of the same meaning that is cheaper to send; `changes` are the characters that would be replaced."""

    text: str
    changes: tuple[str, ...]
    before: int
    after: int


def suggest(text: str) -> Suggestion | None:
    """Safe replacements, where they save a segment. Nothing is ever applied silently."""
    needless = set(_needless(text))
    spots = [at for at, char in enumerate(text) if char in SAFE and (char not in INVISIBLE or at in needless)]
    better = _replaced(text, {at: SAFE[text[at]] for at in spots})
    before, after = measure(text).segments, measure(better).segments
    changes = tuple(dict.fromkeys(text[at] for at in spots if text[at] not in BASIC))
    return Suggestion(better, changes, before, after) if after < before else None


def _replaced(text: str, changes: Mapping[int, str]) -> str:
    return "".join(changes.get(at, char) for at, char in enumerate(text))


def invisible(text: str) -> tuple[str, ...]:
    """The characters that nobody sees and that do nothing for what is seen: no joint of an emoji, no letter's form."""
    return tuple(dict.fromkeys(text[at] for at in _needless(text)))


def without_invisible(text: str) -> str:
    """The same without them. Nothing is ever taken out silently."""
    return _replaced(text, dict.fromkeys(_needless(text), ""))


def _needless(text: str) -> Iterator[int]:
    before = ""
    for at, char in enumerate(text):
        if char in INVISIBLE and not _shapes(char, before, text[at + 1 : at + 2]):
            yield at
        else:
            before = char


def _shapes(char: str, before: str, after: str) -> bool:
    """Does it change how its neighbours look?"""
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


def may_part(text: str, at: int) -> bool:
    """May it be cut there without showing one character as two?"""
    joined = INVISIBLE | {"\u20e3"}
    parts = text[at - 1 : at + 1]
    return not any(char in joined or unicodedata.combining(char) for char in parts) and parts[0] != "\r"


# --- what it is about ------------------------------------------------------------------------------------------------

OFFER_WORDS = (
    *("promos?", "promotions?", "soldes?", "offres?", "code promo", "r[ée]ductions?", "remises?", "gratuite?s?"),
    *("ofertas?", "descuentos?", "rebajas?", "dto"),
    *("sales?", "discounts?", "vouchers?", "deals?", "black friday"),
)
OFFERS = re.compile(rf"(?i)\b(?:{'|'.join(OFFER_WORDS)})\b|-\s?\d{{1,2}}\s?%|\bhttps?://\S+|\bwww\.\S+")


def looks_like_marketing(text: str) -> tuple[str, ...]:
    """Words and links of an offer: a warning for people, never a decision. What is written to hide them does not."""
    return tuple(dict.fromkeys(match[0] for match in OFFERS.finditer(without_invisible(composed(text)))))


# --- what Slack hands over -------------------------------------------------------------------------------------------

TOKEN = re.compile(r"<([@#!]?)([^<>|]+)(?:\|([^<>]*))?>")
PAGES = frozenset({"here", "channel", "everyone", "group"})  # `<!here>` and the like call everybody in a channel
EMOJI_NAME = re.compile(r":([\w+'-]{1,100}):")
SKIN_TONE = re.compile(r":skin-tone-[2-6]:")
HOUR_LIKE = re.compile(r"\d{1,2}(?:h\d{0,2}|[ap]m|m|min|s)(?:-\d{1,2}(?:h\d{0,2}|[ap]m)?)?")


def decode_slack(raw: str) -> str:
    """The text as it was meant, entities decoded exactly once.

    Of a link, an address or a name with a label, nothing that people see is lost: where the two differ, both stay.
    """
    # Slack encodes exactly these three; anything else that reads like an entity was typed.
    return _plain(TOKEN.sub(_spelled, raw))


def _plain(encoded: str) -> str:
    return encoded.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def nameless(raw: str) -> tuple[str, ...]:
    """The people, channels and groups of which Slack hands over an id and no name: in a text they would be lost."""
    found = (f"{token[1].replace('!', '@')}{token[2].split('^')[-1]}" for token in _tokens(raw) if _is_nameless(token))
    return tuple(dict.fromkeys(found))


def _tokens(raw: str) -> Iterator[re.Match[str]]:
    return TOKEN.finditer(raw)


def _is_nameless(token: re.Match[str]) -> bool:
    return bool(token[1]) and not _label(token) and token[2] not in PAGES


def _label(token: re.Match[str]) -> str:
    return (token[3] or "").strip()


def _spelled(token: re.Match[str]) -> str:
    sign, target, label = token[1], token[2], _label(token)
    if not sign:
        address = _address(target)
        return _both(label, address) if label else address
    if sign != "!":
        return f"{sign}{label.lstrip(sign) or target}"
    kind, _, rest = target.partition("^")
    if kind in PAGES:
        return f"@{kind}" if label.lstrip("@") in ("", kind) else f"@{kind} ({label})"
    if kind == "subteam":
        return f"@{label.lstrip('@') or rest}"
    return label or target


def _address(target: str) -> str:
    return target.split(":", 1)[1] if target.startswith(("mailto:", "tel:")) else target


def _both(label: str, address: str) -> str:
    """What was typed where the label says the same as the address; else one after the other."""
    if _bare(label) == _bare(address) or address in label:
        return label
    return f"{label} ({address})"


def _bare(address: str) -> str:
    """An address as people write it: without its scheme, a last slash and, in a number, what groups its digits."""
    bare = (
        re.sub(r"^(?:https?://|mailto:|tel:)", "", _plain(address).strip(), flags=re.IGNORECASE).rstrip("/").casefold()
    )
    return re.sub(r"[\s().\u00a0/-]", "", bare) if re.fullmatch(r"\+?[\d\s().\u00a0/-]+", bare) else bare


def live(raw: str, *, mentions: bool = False) -> str:
    """Slack's own writing of a text, safe to post: emoji, bold and links live, and a link always shows its address.

    `mentions`: people, groups and `@here` are called; else their names are words. Markup that is none of Slack's
    tokens is inert.
    """
    shown, end = [], 0
    for token in _tokens(raw):
        shown += [_inert(raw[end : token.start()]), _live(token, mentions)]
        end = token.end()
    return "".join([*shown, _inert(raw[end:])])


def _inert(encoded: str) -> str:
    return _encoded(_plain(encoded))


def _encoded(plain: str) -> str:
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _live(token: re.Match[str], mentions: bool) -> str:
    sign, target, label = token[1], token[2], _label(token)
    if sign == "#":
        return f"<#{target}>"
    if sign:
        return f"<{sign}{target}>" if mentions and _calls(token) else _inert(_spelled(token))
    if not label or _bare(label) == _bare(target):
        return token[0]
    address = _address(target)
    return f"{_inert(label)} (<{target}>)" if address == target else f"{_inert(label)} (<{target}|{address}>)"


def _calls(token: re.Match[str]) -> bool:
    return token[1] == "@" or (token[1] == "!" and token[2].partition("^")[0] in PAGES | {"subteam"})


def calls(raw: str) -> bool:
    """Does it name people, a group or everybody here, so that it could call them?"""
    return any(_calls(token) for token in _tokens(raw))


def emoji_names(text: str) -> tuple[str, ...]:
    """`:wave:` and the like, with their skin tones: a phone would show them literally. `10:30:45` is an hour."""
    return tuple(dict.fromkeys(_emoji_names(text)))


def _emoji_names(text: str) -> Iterator[str]:
    start = 0
    while match := EMOJI_NAME.search(text, start):
        start = match.end() - 1  # the second colon may be the first of the next
        if _is_emoji_name(match[1], text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]):
            tone = SKIN_TONE.match(text, match.end())
            start = tone.end() if tone else match.end()
            yield match[0] + (tone[0] if tone else "")


def _is_emoji_name(name: str, before: str, after: str) -> bool:
    """Slack's names are in lower case. Digits beside digits are a time or a ratio."""
    if name != name.lower() or not any(char.isalnum() for char in name) or HOUR_LIKE.fullmatch(name):
        return False
    return not (name.isdigit() and (before.isdigit() or after.isdigit()))


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The word that was probably meant."""
    close = difflib.get_close_matches(word.lower(), list(words), n=1, cutoff=0.6)
    return close[0] if close else None
