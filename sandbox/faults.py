"""Faults that somebody asked for, each for a number of times."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Fault:
    """`target`: a Web API method, a kind of delivery, or `vendor.step`. `detail`: what this kind needs to know; of one
    that takes its time its `seconds`, or the event `until` which it lasts."""

    target: str
    kind: str
    times: int = 1
    detail: dict[str, Any] = field(default_factory=dict)

    async def last(self, otherwise: float = 1.0) -> None:
        """Be over after its time; `otherwise`: seconds, where nobody said how long."""
        over: asyncio.Event | None = self.detail.get("until")
        await (over.wait() if over else asyncio.sleep(float(self.detail.get("seconds", otherwise))))


class Faults:
    """What is still to go wrong, in the order in which it was asked for."""

    def __init__(self) -> None:
        self.asked: list[Fault] = []

    def add(self, target: str, kind: str, times: int = 1, **detail: Any) -> None:
        self.asked.append(Fault(target, kind, times, detail))

    def take(self, target: str) -> Fault | None:
        """The next fault of this target; it is used up by taking it."""
        fault = next((fault for fault in self.asked if fault.target in (target, "*")), None)
        if fault is None:
            return None
        fault.times -= 1
        if fault.times <= 0:
            self.asked.remove(fault)
        return fault

    def clear(self) -> None:
        self.asked.clear()
