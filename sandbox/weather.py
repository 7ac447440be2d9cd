"""The weather at each pretend vendor: what goes wrong there until somebody changes it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from sandbox.doors import Door
from sandbox.faults import Fault
from sandbox.vendors.all import Vendors
from sandbox.world import SlackError

SLOW = 8.0  # seconds: long enough to watch, and less than the bot waits


class Kind(StrEnum):
    WORKS = "works"
    UNAVAILABLE = "503"
    LOST = "lost"
    LOGIN = "login"
    SLOW = "slow"
    AWAY = "away"


def fault_of(vendor: str, kind: Kind) -> Fault | None:
    """What to do to the requests of a vendor. Nothing where it works, and where it is away: then none arrive."""
    match kind:
        case Kind.UNAVAILABLE:
            return Fault(vendor, "error", detail={"status": 503, "body": {"message": "Service Unavailable"}})
        case Kind.LOST:  # the phones ring, then the connection breaks
            return Fault(f"{vendor}.release", "reset", detail={"accept": True})
        case Kind.LOGIN:
            return Fault(vendor, "stranger")
        case Kind.SLOW:
            return Fault(vendor, "slow", detail={"seconds": SLOW})
    return None


class Weather:
    """The weather at all the vendors. In any weather but the first and the slow one, no receipts arrive either."""

    def __init__(self, vendors: Vendors, doors: Mapping[str, Door]) -> None:
        self.vendors, self.doors = vendors, doors
        self.kinds = dict.fromkeys(vendors.all, Kind.WORKS)

    async def set(self, vendor: str, kind: str) -> None:
        """Raises SlackError with a sentence for the page."""
        if vendor not in self.kinds or kind not in [*Kind]:
            raise SlackError("There is no such vendor, or no such weather.")
        before, self.kinds[vendor] = self.kinds[vendor], Kind(kind)
        lasting, troubled = self.vendors.faults.lasting, self.vendors.office.troubled
        for target in (vendor, f"{vendor}.release"):
            lasting.pop(target, None)
        if fault := fault_of(vendor, self.kinds[vendor]):
            lasting[fault.target] = fault
        (troubled.discard if kind in (Kind.WORKS, Kind.SLOW) else troubled.add)(vendor)
        if before is Kind.AWAY or self.kinds[vendor] is Kind.AWAY:
            await self._move_door(self.doors[vendor], is_open=self.kinds[vendor] is not Kind.AWAY)

    async def _move_door(self, door: Door, *, is_open: bool) -> None:
        try:
            await (door.open() if is_open else door.close())
        except OSError:
            raise SlackError(f"Something else listens on port {door.port} now. Start the demo again.") from None

    def shown(self) -> list[dict[str, Any]]:
        titles = {name: vendor.title for name, vendor in self.vendors.all.items()}
        return [{"vendor": name, "title": titles[name], "kind": kind} for name, kind in self.kinds.items()]
