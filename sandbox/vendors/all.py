"""All the pretend vendors together, under one address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.routing import BaseRoute

from sandbox.faults import Faults
from sandbox.vendors.encom import Encom
from sandbox.vendors.kaizala import Kaizala
from sandbox.vendors.ledger import Accepted, Office, Vendor
from sandbox.vendors.octopush import Octopush


class Vendors:
    """All three, under `/vendors/NAME`. `auto_deliver`: seconds after which deliveries arrive by themselves."""

    def __init__(self, *, auto_deliver: float | None = None, **data: Any) -> None:
        self.faults = Faults()
        self.office = Office(self.faults, auto_deliver)
        self.encom = Encom(self.office, **data.get("encom", {}))
        self.octopush = Octopush(self.office, **data.get("octopush", {}))
        self.kaizala = Kaizala(self.office, **data.get("kaizala", {}))
        self.all: dict[str, Vendor] = {vendor.name: vendor for vendor in (self.encom, self.octopush, self.kaizala)}

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.all)

    @property
    def ledger(self) -> list[Accepted]:
        """Every send that made phones ring, in order: the judge of "at most once"."""
        return self.office.ledger

    def routes(self) -> list[BaseRoute]:
        return [route for vendor in self.all.values() for route in vendor.routes()]

    def listen(self, changed: Callable[[], None]) -> None:
        self.office.changed = changed

    def snapshot(self) -> dict[str, Any]:
        """What the page's panel shows."""
        return {"vendors": [vendor.snapshot() for vendor in self.all.values()]}

    async def deliver(self, vendor: str, id: str, status: str) -> None:
        """Deliver the receipts of one send, for all its recipients. Raises KeyError for a send that is not there."""
        await self.all[vendor].deliver(self.all[vendor].sendings[id], status)

    async def aclose(self) -> None:
        await self.office.aclose()
