"""The table of providers by name: the built-in ones, and third-party ones by entry point."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import cache
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import structlog

from providers.base import AccountSettings, AudienceKind, Capabilities, Provider, Receipts, TextLimits
from providers.encom import Encom
from providers.kaizala import Kaizala
from providers.octopush import Octopush

log = structlog.get_logger(__name__)

GROUP = "bellcrier.providers"
IMPORTING = 20.0  # seconds that a package may take to be imported
MOST_REPEATS = 5  # parts of varying length in a pattern for sender IDs; more could take seconds

BUILT_IN: dict[str, type[Provider]] = {vendor.name: vendor for vendor in (Encom, Octopush, Kaizala)}

#: Third-party packages by the provider's name, and why some of them were left out; filled by `providers`.
packages: dict[str, str] = {}
broken: dict[str, str] = {}


@cache
def providers() -> dict[str, type[Provider]]:
    """Every provider by its name. A third-party one that cannot be used is named in the log and in `broken`."""
    found = dict(BUILT_IN)
    packages.clear()
    broken.clear()
    for entry in _entries():
        loaded = "it may not replace a built-in one" if entry.name in BUILT_IN else _loaded(entry)
        if entry.name not in BUILT_IN:
            packages[entry.name] = (entry.dist.name if entry.dist is not None else "") or entry.value
        if isinstance(loaded, str):
            broken[entry.name] = f"{_package(entry)}: {loaded}"
            log.error("a provider cannot be used", provider=entry.name, package=_package(entry), reason=loaded)
        else:
            found[entry.name] = loaded
    return found


def _entries() -> list[EntryPoint]:
    try:
        return list(entry_points(group=GROUP))
    except Exception:  # some package's list cannot be read, perhaps one that has nothing to do with us
        return [entry for package in distributions() for entry in _entries_of(package)]


def _entries_of(package: Distribution) -> list[EntryPoint]:
    try:
        return list(package.entry_points.select(group=GROUP))
    except Exception as error:
        name = str(package.name)
        broken[name] = f"its entry points cannot be read ({type(error).__name__})"
        log.error("a package's entry points cannot be read", package=name, error=type(error).__name__)
        return []


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value


def _loaded(entry: EntryPoint) -> type[Provider] | str:
    """The class, or why it cannot be used.

    The code may do anything while it is imported or inspected, so both happen in a separate thread.
    """
    result: list[type[Provider] | str] = []
    thread = threading.Thread(target=lambda: result.append(_looked_at(entry)), name=f"import {entry.name}", daemon=True)
    thread.start()
    thread.join(IMPORTING)
    if not result:
        return f"its import did not end within {IMPORTING:.0f} seconds"
    return result[0]


def _looked_at(entry: EntryPoint) -> type[Provider] | str:
    try:
        vendor = entry.load()
        wrong = "; ".join(_mistakes(vendor))
        return " ".join(wrong.split())[:300] if wrong else vendor
    except BaseException as error:
        return _why(error)


def _why(error: BaseException) -> str:
    try:
        return " ".join(f"{type(error).__name__}: {error}".split())[:300]
    except BaseException:  # even its message cannot be read
        return type(error).__name__


def _mistakes(vendor: object) -> Iterator[str]:
    """What would break the bot later, one sentence for each mistake."""
    if not (isinstance(vendor, type) and issubclass(vendor, Provider)):
        yield f"{vendor!r} is no class that extends Provider"
        return
    for name in ("name", "title"):
        if not (isinstance(getattr(vendor, name, None), str) and getattr(vendor, name).strip()):
            yield f"`{name}` must be a text"
    settings = getattr(vendor, "Settings", None)
    if not (isinstance(settings, type) and issubclass(settings, AccountSettings)):
        yield "`Settings` must be a class that extends AccountSettings"
    able = getattr(vendor, "capabilities", None)
    if type(able) is Capabilities:
        yield from _unusable(able)
    else:
        yield "`capabilities` must be a Capabilities"
    if missing := sorted(getattr(vendor, "__abstractmethods__", ())):
        yield f"it does not write {', '.join(missing)}"


#: What a Capabilities must hold, field by field.
WANTED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "audiences": ("a frozenset of AudienceKind", lambda value: _all(value, frozenset, AudienceKind)),
    "receipts": ("a Receipts", lambda value: isinstance(value, Receipts)),
    "text": ("a TextLimits of whole numbers", lambda value: type(value) is TextLimits and _countable(value)),
    "placeholders": ("a tuple of texts", lambda value: _all(value, tuple, str)),
    "reasons": ("a dict of texts", lambda value: type(value) is dict and _all((*value, *value.values()), tuple, str)),
    "replaces": ("a tuple of texts", lambda value: _all(value, tuple, str)),
    "not_processed": ("a frozenset of statuses, none of them a success", lambda value: _refusals(value)),
    "sender_pattern": (
        "a regular expression of few repeats, none of which holds another or a choice",
        lambda value: value is None or _is_pattern(value),
    ),
    "sender_rule": ("a text", lambda value: isinstance(value, str)),
    "id_pattern": (
        "a regular expression of few repeats, none of which holds another or a choice",
        lambda value: value is None or _is_pattern(value),
    ),
    "id_rule": ("a text", lambda value: isinstance(value, str)),
    "legacy": ("a text", lambda value: value is None or isinstance(value, str)),
}


def _unusable(able: Capabilities) -> Iterator[str]:
    if able.audiences == frozenset():
        yield "`capabilities.audiences` names no kind of audience"
    for one in fields(able):
        wanted, is_right = WANTED.get(one.name, ("True or False", lambda value: isinstance(value, bool)))
        if not is_right(getattr(able, one.name)):
            yield f"`capabilities.{one.name}` must be {wanted}"


def _all(value: object, kind: type[frozenset[Any] | tuple[Any, ...]], each: type) -> bool:
    return type(value) is kind and all(isinstance(one, each) for one in value)


def _countable(limits: TextLimits) -> bool:
    counts = (limits.max_gsm7, limits.max_ucs2, limits.max_parts)
    return isinstance(limits.segments, bool) and all(type(count) is int and count >= 0 for count in counts)


def _refusals(value: Any) -> bool:
    return _all(value, frozenset, int) and not any(isinstance(one, bool) or 200 <= one < 300 for one in value)


def _is_pattern(value: object) -> bool:
    """Whether it is a pattern that matches any input quickly, since everybody waits for the match."""
    try:
        return isinstance(value, str) and re.compile(value) is not None and _is_quick(_parser.parse(value))
    except (re.error, OverflowError, RecursionError):
        return False


def _is_quick(pattern: Any) -> bool:
    """Whether few parts vary in length, and every repeated part has one length and no alternatives.

    Otherwise there may be millions of ways to match.
    """
    repeats = [argument for op, argument in _parts(pattern) if str(op).endswith("_REPEAT")]
    several = [part for _, most, part in repeats if most > 1]
    return sum(least != most for least, most, _ in repeats) <= MOST_REPEATS and all(map(_is_plain, several))


def _is_plain(repeated: Any) -> bool:
    shortest, longest = repeated.getwidth()
    return shortest == longest and all(str(op) != "BRANCH" for op, _ in _parts(repeated))


def _parts(pattern: Any) -> Iterator[tuple[Any, Any]]:
    """All the parts of a parsed pattern, at any depth."""
    if isinstance(pattern, _parser.SubPattern):
        for op, argument in pattern:
            yield op, argument
            yield from _parts(argument)
    elif isinstance(pattern, tuple | list):
        for part in pattern:
            yield from _parts(part)
