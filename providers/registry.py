"""The table of providers by name: the built-in ones, and other people's by entry point."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from functools import cache
from importlib.metadata import EntryPoint, entry_points

import structlog

from providers.base import AccountSettings, Capabilities, Provider
from providers.encom import Encom
from providers.kaizala import Kaizala
from providers.octopush import Octopush

log = structlog.get_logger(__name__)

GROUP = "bellcrier.providers"
IMPORTING = 20.0  # seconds that a package may take to be imported

BUILT_IN: dict[str, type[Provider]] = {vendor.name: vendor for vendor in (Encom, Octopush, Kaizala)}

#: Other people's packages by the provider's name, and why some of them were left out; filled by `providers`.
packages: dict[str, str] = {}
broken: dict[str, str] = {}


@cache
def providers() -> dict[str, type[Provider]]:
    """Every provider by its name. One of somebody else's that cannot be used is named in the log and in `broken`."""
    found = dict(BUILT_IN)
    packages.clear()
    broken.clear()
    for entry in entry_points(group=GROUP):
        loaded = "it may not replace a built-in one" if entry.name in BUILT_IN else _loaded(entry)
        if entry.name not in BUILT_IN:
            packages[entry.name] = entry.dist.name if entry.dist is not None else entry.module
        if isinstance(loaded, str):
            broken[entry.name] = f"{_package(entry)}: {loaded}"
            log.error("a provider cannot be used", provider=entry.name, package=_package(entry), reason=loaded)
        else:
            found[entry.name] = loaded
    return found


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value


def _loaded(entry: EntryPoint) -> type[Provider] | str:
    """The class, or why it cannot be used. What an import does is anybody's guess: it runs in a thread of its own."""
    result: list[object] = []

    def load() -> None:
        try:
            result.append(entry.load())
        except BaseException as error:
            result.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=load, name=f"import {entry.name}", daemon=True)
    thread.start()
    thread.join(IMPORTING)
    if not result:
        return f"its import did not end within {IMPORTING:.0f} seconds"
    (vendor,) = result
    wrong = vendor if isinstance(vendor, str) else "; ".join(_mistakes(vendor))
    return " ".join(wrong.split())[:300] if wrong else vendor  # type: ignore[return-value]


def _mistakes(vendor: object) -> Iterator[str]:
    """What the bot would stumble over later, each in one sentence."""
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
    if isinstance(able, Capabilities):
        yield from _unusable(able)
    else:
        yield "`capabilities` must be a Capabilities"
    if missing := sorted(getattr(vendor, "__abstractmethods__", ())):
        yield f"it does not write {', '.join(missing)}"


def _unusable(able: Capabilities) -> Iterator[str]:
    if not able.audiences:
        yield "`capabilities.audiences` names no kind of audience"
    if any(not isinstance(status, int) or 200 <= status < 300 for status in able.not_processed):
        yield "`capabilities.not_processed` holds what is no status of a refusal"
    try:
        re.compile(able.sender_pattern or "")
    except (re.error, TypeError):
        yield "`capabilities.sender_pattern` is no regular expression"
