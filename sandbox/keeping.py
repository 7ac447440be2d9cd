"""Keeps the workspace and the vendors' ledgers in a file, so that they survive a restart."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter

from sandbox.vendors.all import Vendors
from sandbox.vendors.ledger import Accepted
from sandbox.world import Channel, Json, World

SOON = 0.2  # seconds after a change; several become one writing
REST = 10  # times as long as the last writing took: a large workspace is written less often
OF_WORLD: Mapping[str, Any] = MappingProxyType(
    {"channels": dict[str, Channel], "ephemerals": dict[str, list[Json]], "homes": dict[str, Json], "last_ts": int}
)
OF_OFFICE: Mapping[str, Any] = MappingProxyType({"ledger": list[Accepted]})


class Keeping:
    """What is kept of a workspace and of its vendors. `also`: reads what the demo itself keeps with it."""

    def __init__(self, path: Path, world: World, vendors: Vendors, also: Callable[[], Json]) -> None:
        self.path, self.world, self.vendors, self.also = path, world, vendors, also
        self._soon: asyncio.TimerHandle | None = None
        self._took = 0.0
        world.listeners.append(lambda kind, data, only: self.changed())

    @property
    def _parts(self) -> dict[str, tuple[Any, Mapping[str, Any]]]:
        vendors = {name: (vendor, vendor.kept) for name, vendor in self.vendors.all.items()}
        return {"world": (self.world, OF_WORLD), "office": (self.vendors.office, OF_OFFICE), **vendors}

    def changed(self) -> None:
        """Write it soon."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(max(SOON, REST * self._took), self.write)

    def write(self) -> None:
        """Write it now: all of it, or nothing."""
        if self._soon is not None:
            self._soon.cancel()
        self._soon, began = None, time.monotonic()
        found = {name: _dumped(holder, kept) for name, (holder, kept) in self._parts.items()}
        beside = self.path.with_suffix(".new")
        beside.write_text(json.dumps({"also": self.also(), **found}), encoding="utf-8")
        os.replace(beside, self.path)
        self._took = time.monotonic() - began

    def read(self) -> Json:
        """Put back what was kept, and return what the demo kept with it. Raises ValueError for a damaged file."""
        if not self.path.exists():
            return {}
        found = json.loads(self.path.read_text(encoding="utf-8"))
        for name, (holder, kept) in self._parts.items():
            for attribute, shape in kept.items():
                if attribute in found[name]:
                    setattr(holder, attribute, TypeAdapter(shape).validate_python(found[name][attribute]))
        also: Json = found["also"]
        return also


def _dumped(holder: Any, kept: Mapping[str, Any]) -> Json:
    return {name: TypeAdapter(shape).dump_python(getattr(holder, name), mode="json") for name, shape in kept.items()}
