"""What vendors report about their audiences: asked from time to time, never while a person waits for an answer."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from functools import partial

import structlog

from bot.config.accounts import Account
from bot.config.settings import AudienceSettings
from bot.scheduler import Lanes, Task
from providers.base import Audience, AudienceFound
from providers.reading import UNREADABLE

log = structlog.get_logger(__name__)

EVERY = 600.0  # seconds
MOST_SIZES = 50  # a vendor that reports sizes one list at a time is not asked for hundreds


class AudienceCache:
    """The audiences of each account as its vendor last reported them; empty for a vendor that does not report them.

    `crowded`: the accounts whose other audiences may be those of other workspaces, and so are nobody's business here.
    """

    def __init__(
        self,
        providers: Mapping[str, Account],
        audiences: Mapping[str, AudienceSettings],
        crowded: Collection[str] = (),
    ) -> None:
        self.providers, self.audiences, self.crowded = providers, audiences, crowded
        self._found: dict[str, list[AudienceFound]] = {}
        self._sizes: dict[str, int] = {}
        self._asked: dict[str, float] = {}
        self.lanes = Lanes(Task.AUDIENCES, only_asks=True)

    async def refresh(self) -> None:
        """Ask every vendor that can answer, at most every ten minutes."""
        await self.begin()
        await self.lanes.settle()

    async def begin(self) -> None:
        """Start the same without waiting. Each account runs on its own, so a vendor that hangs delays no other."""
        for account in self.providers.keys() - self.lanes.busy():
            if time.monotonic() - self._asked.get(account, float("-inf")) >= EVERY:
                self._asked[account] = time.monotonic()
                self.lanes.start(account, partial(self._try, account))

    async def _try(self, account: str) -> None:
        try:
            await self._ask(account, self.providers[account])
        except Exception as error:  # anybody may have written the adapter
            log.info("a vendor did not tell its audiences", account=account, error=type(error).__name__)

    async def _ask(self, account: str, provider: Account) -> None:
        if provider.capabilities.discovers and account not in self.crowded:
            self._found[account] = await provider.audiences()
        if not provider.capabilities.sizes:
            return
        ours = {name: audience for name, audience in self.audiences.items() if audience.account == account}
        for name, audience in list(ours.items())[:MOST_SIZES]:
            found = await provider.size(Audience(audience.kind, audience.id, audience.everyone, audience.subscribers))
            if found is None or found.size is None or found.size == UNREADABLE:
                self._sizes.pop(name, None)  # an old size says nothing about the current one
            else:
                self._sizes[name] = found.size

    def size_of(self, name: str) -> int | None:
        """How many people a configured audience held when the vendor was last asked."""
        return self._sizes.get(name)

    def others(self, account: str) -> list[AudienceFound]:
        """The vendor's audiences that the settings do not name; none where they may be those of other workspaces."""
        ours = {(a.kind, a.id) for a in self.audiences.values() if a.account == account}
        return [found for found in self._found.get(account, []) if (found.kind, found.id) not in ours]
