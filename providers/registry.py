"""The table of providers by name: the built-in ones, and other people's by entry point."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

import structlog

from providers.base import Provider
from providers.encom import Encom
from providers.kaizala import Kaizala
from providers.octopush import Octopush

log = structlog.get_logger(__name__)

GROUP = "bellcrier.providers"

BUILT_IN: dict[str, type[Provider]] = {vendor.name: vendor for vendor in (Encom, Octopush, Kaizala)}


@cache
def providers() -> dict[str, type[Provider]]:
    """Every provider by its name. One of somebody else's that cannot be loaded is named in the log and left out."""
    found = dict(BUILT_IN)
    for entry in entry_points(group=GROUP):
        if entry.name in BUILT_IN:
            log.error("a provider may not replace a built-in one", provider=entry.name)
            continue
        try:
            found[entry.name] = entry.load()
        except Exception as error:
            log.error("a provider cannot be loaded", provider=entry.name, error=type(error).__name__)
    return found
