"""Faults on request, each for a number of times, or for as long as it lasts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Fault:
    """A fault on request. `target`: a Web API method, a kind of delivery, or `vendor.step`.

    `detail`: what this kind of fault needs; for a slow one its `seconds`, or the event `until` which it lasts.
    """

    target: str
    kind: str
    times: int = 1
    detail: dict[str, Any] = field(default_factory=dict)

    async def last(self, otherwise: float = 1.0) -> None:
        """Wait until the fault is over. `otherwise`: seconds, if the fault does not say how long."""
        over: asyncio.Event | None = self.detail.get("until")
        await (over.wait() if over else asyncio.sleep(float(self.detail.get("seconds", otherwise))))


class Faults:
    """The faults that are still to come, in the order of the requests."""

    def __init__(self) -> None:
        self.asked: list[Fault] = []
        self.lasting: dict[str, Fault] = {}  # by its target: one step of a vendor, or the whole vendor
        #: Types of blocks that the workspace does not take: Slack brings new ones to one workspace after the other.
        self.refused_blocks: set[str] = set()

    def add(self, target: str, kind: str, times: int = 1, **detail: Any) -> None:
        self.asked.append(Fault(target, kind, times, detail))

    def take(self, target: str) -> Fault | None:
        """The next fault of this target. Taking it uses it up once."""
        fault = next((fault for fault in self.asked if fault.target in (target, "*")), None)
        if fault is None:
            return self.lasting.get(target) or self.lasting.get(target.partition(".")[0])
        fault.times -= 1
        if fault.times <= 0:
            self.asked.remove(fault)
        return fault

    def refusals(self, blocks: object) -> list[str]:
        """What Slack says about those of the blocks that the workspace does not take."""
        types = [block.get("type") for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []
        return [
            f"[ERROR] unsupported type: {kind} [json-pointer:/blocks/{place}/type]"
            for place, kind in enumerate(types)
            if kind in self.refused_blocks
        ]

    def clear(self) -> None:
        self.asked.clear()
        self.refused_blocks.clear()
