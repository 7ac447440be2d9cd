"""What an adapter returns or raises, checked before anything relies on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from itertools import islice
from string import Formatter
from typing import Any

from providers.base import (
    Accepted,
    AudienceFound,
    AudienceKind,
    Blocked,
    Check,
    DeliveryStatus,
    Evidence,
    NotReady,
    ProviderError,
    Quote,
    Receipt,
    ReceiptKind,
    Refused,
    Staged,
    Throttled,
    Unavailable,
    Uncertain,
)
from providers.reading import LONGEST_ID, count_of

LONGEST_SENTENCE, LONGEST_VALUE, MOST_VALUES = 1000, 300, 20
SHORTEST_WAIT, LONGEST_WAIT, USUAL_WAIT = 1.0, 300.0, 30.0  # seconds that a vendor may make us wait
NUMBER = re.compile(r"\+?\d(?:[ .()-]{0,2}\d){6,}|\d{5,}")  # a person's number, in a vendor's status word


# --- what an adapter returns -----------------------------------------------------------------------------------------


def accepted_of(value: object) -> Accepted | None:
    """The value, if its ids can be followed (non-empty, printable, short enough to store) and its time is valid."""
    given = checked_list(value.ids) if isinstance(value, Accepted) else None
    if not isinstance(value, Accepted) or not given or not _is_time(at := value.sending_at):
        return None
    ids = [_id(id) for id in given]
    if None in ids:
        return None
    return Accepted(tuple(dict.fromkeys(id for id in ids if id)), None if at is None else checked_text(at))


def _id(value: object) -> str | None:
    """The id as receipts will name it, without the spaces around it; None if it is not an id."""
    text = checked_text(value).strip() if isinstance(value, str) else ""
    return text if text and text.isprintable() and len(text) <= LONGEST_ID else None


def checked_text(value: str) -> str:
    """The characters alone, whatever a subclass of str adds."""
    return str.__str__(value)


def checked_list(value: object) -> list[Any] | None:
    """The items that it really holds, however a subclass iterates; None if it is not a list or a tuple."""
    if isinstance(value, tuple):
        return list(tuple.__iter__(value))
    return list(list.__iter__(value)) if isinstance(value, list) else None


def _is_time(value: object) -> bool:
    if value is None:
        return True
    try:
        return isinstance(value, str) and datetime.fromisoformat(checked_text(value)) is not None
    except ValueError:
        return False


def staged_of(value: object) -> Staged | None:
    """The value, checked. A size that cannot be read becomes larger than any bound, so that people are asked."""
    if not isinstance(value, Staged) or (id := _id(value.id)) is None:
        return None
    return Staged(id, value.ready is True, _count(value.contacts), _cost(value.cost), _short(value.currency))


def quote_of(value: object) -> Quote | None:
    if not isinstance(value, Quote):
        return None
    return Quote(_count(value.contacts), _cost(value.cost), _short(value.currency))


def check_of(value: object) -> Check | None:
    return Check(_cost(value.credit), _short(value.unit)) if isinstance(value, Check) else None


def found_of(value: object) -> AudienceFound | None:
    if not isinstance(value, AudienceFound) or value.kind not in tuple(AudienceKind) or (id := _id(value.id)) is None:
        return None
    unnamed = value.unnamed if type(value.unnamed) is int and value.unnamed >= 0 else None
    return AudienceFound(AudienceKind(value.kind), id, _line(value.name, LONGEST_VALUE), _count(value.size), unnamed)


def evidence_of(value: object) -> Evidence | None:
    """Only `sent` True is proof."""
    given = checked_list(value.ids) if isinstance(value, Evidence) else None
    if not isinstance(value, Evidence) or given is None:
        return None
    template, values = sentence_of(value.sentence, value.values)
    return Evidence(value.sent is True, template, tuple(id for id in map(_id, given) if id), values)


def receipt_of(value: object) -> Receipt | None:
    """The receipt, checked. A reply or an opt-out may lack an id: the vendor may not know which message it answers."""
    if not isinstance(value, Receipt) or value.status not in tuple(DeliveryStatus):
        return None
    id = _id(value.id)
    if id is None and (value.id != "" or value.kind == ReceiptKind.DELIVERY):
        return None
    if value.kind not in tuple(ReceiptKind) or not isinstance(value.recipient, str):
        return None
    return Receipt(
        id or "",
        DeliveryStatus(value.status),
        NUMBER.sub("…", _line(value.word, LONGEST_VALUE)) or "?",
        checked_text(value.recipient),
        value.final is True,
        ReceiptKind(value.kind),
        checked_text(value.text) if isinstance(value.text, str) else None,
    )


def _count(value: object) -> int | None:
    return None if value is None else count_of(value)


def _cost(value: object) -> Decimal | None:
    return Decimal(value) if isinstance(value, Decimal) and value.is_finite() else None


def _short(value: object) -> str | None:
    return _line(value, 12) if isinstance(value, str) else None


def _line(value: object, longest: int) -> str:
    """The value as one line that can be shown."""
    return "".join(char if char.isprintable() else " " for char in str(value))[:longest].strip()


# --- what an adapter raises ------------------------------------------------------------------------------------------


KINDS: tuple[type[ProviderError], ...] = (Refused, Blocked, NotReady, Throttled, Unavailable, Uncertain)
MARKED = frozenset({"by", "who", "requester", "channel"})  # names of values that are shown as they are


def error_of(error: ProviderError) -> ProviderError:
    """An adapter's error as one of the contract's own kinds, with a sentence that can be shown and a bounded wait.

    An error of any other kind becomes Uncertain, since something may have been sent.
    """
    kind = next((kind for kind in KINDS if isinstance(error, kind)), Uncertain)
    template, values = sentence_of(getattr(error, "template", ""), getattr(error, "values", {}))
    problem = Throttled(wait_of(getattr(error, "wait", None))) if kind is Throttled else kind(template)
    problem.template, problem.values = template, values
    problem.detail = _line(getattr(error, "detail", ""), LONGEST_VALUE)
    problem.code = _line(error.code, 40) if getattr(error, "code", None) is not None else None
    problem.setting = _line(error.setting, 40) if getattr(error, "setting", None) is not None else None
    return problem


def wait_of(seconds: object) -> float:
    """How long a vendor may make us wait, in seconds; half a minute if it is not a number."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds != seconds:
        return USUAL_WAIT
    return float(min(max(seconds, SHORTEST_WAIT), LONGEST_WAIT))


def sentence_of(template: object, values: object) -> tuple[str, dict[str, str | int]]:
    """A template with its values, each readable.

    A sentence that its values do not fill becomes one value as a whole. Then nothing in it is read as a placeholder, a
    mention or a link.
    """
    given = values if isinstance(values, Mapping) else {}
    kept: dict[str, str | int] = {
        _line(name, LONGEST_VALUE): value if type(value) is int else _line(value, LONGEST_VALUE)
        for name, value in islice(given.items(), MOST_VALUES)
    }
    text = _line(template, LONGEST_SENTENCE) or "?"
    if _fits(text, kept):
        return text, kept
    return "{told}", {"told": _filled(text, kept)}


def _fits(template: str, values: Mapping[str, str | int]) -> bool:
    """Whether it holds only plain names of these values, and nothing that Slack would read as a mention or a link."""
    if any(char in template for char in "<>&"):
        return False
    try:
        parts = list(Formatter().parse(template))
    except ValueError:
        return False
    named = [(name, spec, conversion) for _, name, spec, conversion in parts if name is not None]
    return all(
        name in values and name.isidentifier() and name not in MARKED and not name.endswith("_at")
        and not spec and not conversion
        for name, spec, conversion in named
    )  # fmt: skip


def _filled(template: str, values: Mapping[str, str | int]) -> str:
    try:
        if any(spec for _, _, spec, _ in Formatter().parse(template)):  # a spec may ask for a billion spaces
            return template
        return template.format_map(values)[:LONGEST_SENTENCE]
    except (LookupError, ValueError, AttributeError, TypeError):
        return template
