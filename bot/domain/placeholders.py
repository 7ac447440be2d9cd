"""Fields in a text: those that the vendor fills in, and those that somebody forgot to fill in."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

PLACEHOLDER = re.compile(r"%%\w+%%|\{\w+\}")
_NAME = r"\s*[^\W\d][\w.-]*(?: [\w.-]+){0,3}\s*"

#: Marks that people write around a word only to have it replaced.
SLOT = re.compile(
    rf"\{{\{{[^{{}}\n]{{1,60}}\}}\}}|[$#]\{{[^{{}}\n]{{1,60}}\}}|\{{(?:{_NAME}|\d)\}}|\[\[[^\[\]\n]{{1,60}}\]\]"
    rf"|<<{_NAME}>>|<%[^%\n]{{1,60}}%>|\*\|[^|\n]{{1,60}}\|\*|%%\s*[^\W\d][\w.-]*\s*%%|##[^\W\d]\w*##|@@[^\W\d]\w*@@"
    r"|(?<![\w%])%[^\W\d]\w*%(?![\w%])|(?<=[^\W\d] )%[sd]\b"
    r"|\{%[^%\n]{1,60}%\}|%\([^\W\d]\w{0,40}\)[sd]|(?<!\w)__[^\W\d_][\w ]{0,40}?__(?!\w)|\|\*[^|\n]{1,60}\*\|"
    r"|\{[^\W\d]\w{0,40}[:/|][^\W\d][\w./ ]{0,40}\}"
    r"|\b(?i:jj/mm|dd/mm|mm/dd|xx/xx)(?i:/(?:aa|yy|xx){1,2})?\b|\b(?i:hh[:h]mm)\b"
    r"|(?:(?<=onjour )|(?<=ello )|(?<=ear )|(?<=ola ))X{3,4}\b"
)

#: Marks that people write around other words too: a slot only if the word names a field.
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
    """Whether it asks the vendor to fill in the name of each recipient."""
    return any("name" in field for field in placeholders(text))


def unknown_placeholders(text: str, known: Iterable[str], elsewhere: Iterable[str] = ()) -> tuple[str, ...]:
    """The placeholders that this vendor would not fill in.

    Those in its style with a name that it does not know, those that another vendor knows (`elsewhere`), and its own in
    another spelling.
    """
    fields = tuple(known)
    styles = {name[0] for name in fields}
    found = [one for one in placeholders(text) if one not in fields and one[0] in styles]
    rest = _without(text, fields)
    for name in dict.fromkeys((*fields, *elsewhere)):
        found += [match[0] for match in _writings(name).finditer(rest)]
    return tuple(dict.fromkeys(found))


def _without(text: str, names: Iterable[str]) -> str:
    """The text with a hole in place of each of these."""
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
    """What looks like a placeholder in any tool's syntax, and is not one of the `known` ones."""
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
    """Whether it is one of these fields, or several in a row."""
    return named in fields or (named != "" and all(word in fields for word in named.split()))


def _folded(word: str) -> str:
    """Without case and accents."""
    spread = unicodedata.normalize("NFKD", word.casefold())
    return "".join(char for char in spread if not unicodedata.combining(char)).strip()
