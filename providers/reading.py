"""Reads facts from what vendors write: counts, money, ids, status words, telephone numbers, codes and times.

This is the one place that does so, for every adapter, and all of it is pure. Vendors write one fact in many ways, and
each of them is read as that fact. What cannot be read is never guessed: a count becomes larger than any bound, anything
else becomes empty. A field may be there and mean nothing: null, an empty text, `"null"` or a date of zeros.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from decimal import Decimal

#: A count that cannot be read. It is larger than every bound, so a guard that compares sizes stops by itself, and it
#: fits the columns that hold sizes. It is never shown: people see "the vendor does not say".
UNREADABLE = 2**31 - 1
LONGEST_ID = 255  # characters
LONGEST_WORD = 64
LONGEST_NUMBER = 20  # digits; E.164 allows 15
MOST_MONEY = 10**12

NULLS = frozenset({"", "null", "none", "nil"})
NOTHING = NULLS | {"undefined", "false"}  # a status may well be undefined
ASCII = str.maketrans({**dict.fromkeys("’ʼ´`", "'"), "＋": "+"})
WHOLE = re.compile(
    r"(?:\d+"
    r"|[1-9]\d{0,2}(?:(?P<mark>[ ,.'])\d{3})(?:(?P=mark)\d{3})*"  # 5 000, 5,000, 5.000, 5'000
    r"|[1-9]\d?(?:,\d{2})+,\d{3})"  # 1,00,000
    r"(?:(?!(?P=mark))[.,]0{1,2})?"  # 5000.0, 5.000,00
)
GROUPS = re.compile(
    r"[1-9]\d{0,2}(?P<mark>[ ,.'])\d{3}(?P<more>(?:(?P=mark)\d{3})*)(?:(?!(?P=mark))[.,](?P<rest>\d+))?"
)
PLAIN = re.compile(r"(\d+)(?:[.,](\d+))?")
CURRENCY = re.compile(r"(?i)^(?:[a-z]{3}|euros?)\b\s*|(?<![a-z])(?:[a-z]{3}|euros?)$")
DIGITS = re.compile(rf"\+?\d{{1,{LONGEST_NUMBER}}}", re.ASCII)
NUMBER = re.compile(r"[\d\s().+/\u2010-\u2015\u2212-]*")
SCIENTIFIC = re.compile(r"([1-9])[.,](\d{1,19})E\+?(\d{1,2})", re.ASCII | re.IGNORECASE)
SCHEME = re.compile(r"(?i)^(?:callto|mms|rcs|sms|smsto|tel|viber|whatsapp):(?://)?")
NO_DATE = re.compile(r"(?:0001-01-01|1970-01-01|-0001-11-30)(?!\d).*|[0\W_TZ]*", re.IGNORECASE | re.DOTALL)
CALENDAR = re.compile(r"\d{4}-\d{2}-\d{2}([T ].*)?", re.ASCII)


# --- what says anything ----------------------------------------------------------------------------------------------


def holds(value: object) -> bool:
    """Whether this field says anything. null, false, an empty text, list or object and `"null"` do not; 0 does."""
    if isinstance(value, str):
        return value.strip().casefold() not in NOTHING
    return not (value is None or value is False or value in ([], {}))


def dated(value: object) -> bool:
    """Whether this field holds a date.

    A date of zeros, the first day of somebody's calendar, and a word such as `"N/A"` are a null in disguise.
    """
    text = str(value).strip()
    return holds(value) and len(re.findall(r"\d", text)) >= 4 and NO_DATE.fullmatch(text) is None


# --- numbers ---------------------------------------------------------------------------------------------------------


def count_of(value: object) -> int:
    """How many: a whole number from 0 on, or `UNREADABLE`, which is larger than every bound.

    5000, 5000.0, `"5000"`, and grouped digits: `"5 000"`, `"5,000"`, `"5.000"`, `"5'000"`, `"1,00,000"`, with any space
    and any script's digits. Missing (None), negative, fractional, NaN, of another type or in words: `UNREADABLE`.
    """
    text = _plain(_written(value))
    if len(text) > 40 or WHOLE.fullmatch(text) is None:
        return UNREADABLE
    whole = re.sub(r"[.,]0{1,2}$", "", text)
    return min(int(re.sub(r"\D", "", whole)), UNREADABLE)


def money_of(value: object) -> Decimal | None:
    """An amount below 10^12, either sign: 2.58, `"2.58"`, `"2,58"`, `"1 234,50 €"`, `"EUR 1,234.50"`; else None.

    A lone dot is a decimal point, as machines write it. `"1,234"` may mean either, so it is not read.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value) if abs(value) < MOST_MONEY else ""  # NaN is not below it either
        return Decimal(value) if value else None
    return _amount(value) if isinstance(value, str) else None


def _amount(text: str) -> Decimal | None:
    plain = "".join(char for char in _plain(text) if unicodedata.category(char) != "Sc").strip()
    plain = CURRENCY.sub("", plain).strip().replace("\u2212", "-")
    sign, digits = ("-", plain[1:].strip()) if plain.startswith("-") else ("", plain)
    parts = _whole_and_rest(digits) if len(digits) <= 30 else None
    if parts is None:
        return None
    amount = Decimal(f"{sign}{parts[0]}.{parts[1] or '0'}") if parts[1] else Decimal(f"{sign}{parts[0]}")
    return amount if abs(amount) < MOST_MONEY else None


def _whole_and_rest(digits: str) -> tuple[str, str] | None:
    """The digits before the decimal mark, and those after it."""
    grouped = GROUPS.fullmatch(digits)
    if grouped is None or (grouped["mark"] == "." and not grouped["more"] and not grouped["rest"]):
        plain = PLAIN.fullmatch(digits)
        return (plain[1], plain[2] or "") if plain else None
    if grouped["mark"] == "," and not grouped["more"] and not grouped["rest"]:
        return None
    rest = grouped["rest"] or ""
    return re.sub(r"\D", "", digits[: len(digits) - len(rest)]), rest


def code_of(value: object) -> int | None:
    """A vendor's error code: 104, 104.0 and `"104"` are the same.

    None if there is none: missing, null, 0, `"000"`. A code that cannot be read is `UNREADABLE`, which no vendor's
    table lists.
    """
    if not holds(value):
        return None
    read = re.fullmatch(r"(-?\d{1,9})(?:\.0+)?", _plain(_written(value)))
    return int(read[1]) or None if read else UNREADABLE


def _written(value: object) -> str:
    """A text as it is, a whole number as digits; ``""`` for a type that writes neither an id nor a number."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""


def _plain(text: str) -> str:
    """The text trimmed, with its digits, spaces, plus signs and apostrophes as ASCII."""
    chars = (str(unicodedata.decimal(char)) if char.isdecimal() else " " if char.isspace() else char for char in text)
    return "".join(chars).strip().translate(ASCII)


# --- identities ------------------------------------------------------------------------------------------------------


def id_of(value: object) -> str:
    """An id as text: 22, 22.0, `"22"` and `" 22"` are the same.

    ``""`` if it is not an id: null, `"null"`, another type, more than 255 characters, or not printable.
    """
    text = _written(value).strip()
    return text if holds(text) and text.isprintable() and len(text) <= LONGEST_ID else ""


def word_of(value: object) -> str:
    """A status word: trimmed, in capitals, its spaces folded; ``""`` if it says nothing or is of another type."""
    shown = "".join(char if char.isprintable() else " " for char in _written(value))
    word = " ".join(shown.split()).upper()
    return word[:LONGEST_WORD].rstrip() if word.casefold() not in NULLS else ""


def number_of(value: object) -> str:
    """A telephone number as its digits, without `+` and a leading 00; ``""`` for anything else, such as a name.

    `+33612345678`, `33612345678`, `0033612345678`, `+33 6 12-34.56.78`, `+33612345678 (Ana)`, `33612345678.0`, a
    sheet's `3.3612345678E+10`, `whatsapp:+33612345678`, `tel:+33612345678;ext=1` and a form's bare plus are the same.
    """
    if isinstance(value, str) and DIGITS.fullmatch(value):  # the usual form; a list may hold 50,000 of them
        return value.removeprefix("+").removeprefix("00")
    written = "".join(char for char in _written(value) if unicodedata.category(char) != "Cf")  # direction marks
    text = SCHEME.sub("", _plain(written)).partition(";")[0].strip().replace("(0)", "")
    text = re.sub(r"\([^()\d]*\)", "", text)  # the owner's name
    short = SCIENTIFIC.fullmatch(text)
    if short is not None and len(short[2]) == int(short[3]):  # with fewer digits it has been rounded
        return short[1] + short[2]
    text = re.sub(r"(?<=\d{7})[.,]0+$", "", text)  # what passed through a float; 06.12.34.56.00 did not
    if NUMBER.fullmatch(text) is None:
        return ""
    digits = re.sub(r"\D", "", text)
    return digits.removeprefix("00") if len(digits) <= LONGEST_NUMBER else ""


# --- times -----------------------------------------------------------------------------------------------------------


def time_of(value: object) -> datetime | None:
    """An ISO 8601 time of this century, aware if the vendor gives its offset. None for anything else."""
    text = value.strip() if isinstance(value, str) else ""
    if CALENDAR.fullmatch(text) is None:
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return read if 2000 <= read.year < 2100 else None
