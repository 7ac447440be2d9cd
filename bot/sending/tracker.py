"""Puts together the parts that record what came back."""

from __future__ import annotations

from collections.abc import Iterable

from bot.config.runtime import Runtime
from bot.sending.delivery_proofs import DeliveryProofs
from bot.sending.polling import Poller
from bot.sending.receipts import Receiver, Recorded
from bot.storage.broadcast_rows import Owner
from providers.base import Receipt


class Tracker:
    """The one path from an answer, a poll or a callback to the counts that people see."""

    def __init__(self, runtime: Runtime) -> None:
        self.database, self.clock = runtime.database, runtime.clock
        self.receiver = Receiver(runtime, DeliveryProofs(runtime))
        self.poller = Poller(runtime, self.receiver)
        self.lanes = self.poller.lanes

    async def record(self, account: str, reported: Iterable[Receipt], dispatched: Owner | None = None) -> Recorded:
        """Write receipts of one account; see `Receiver.record`. Raises DatabaseBusy or CommitUncertain."""
        return await self.receiver.record(account, reported, dispatched)

    async def begin(self) -> None:
        await self.poller.begin()

    async def tick(self) -> None:
        """Do the same as `begin`, and wait until the vendors have answered."""
        await self.poller.tick()
