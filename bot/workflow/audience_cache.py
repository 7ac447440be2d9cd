"""What vendors say about their audiences: asked now and then, never while a person waits for an answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial

import structlog

from bot.config.accounts import Account
from bot.config.settings import AudienceSettings
from bot.scheduler import Lanes, Task
from providers.base import Audience, AudienceFound
from providers.reading import UNREADABLE

log = structlog.get_logger(__name__)

EVERY = 600.0  # seconds
MOST_SIZES = 50  # a vendor that tells sizes one list at a time is not asked for hundreds


class AudienceCache:
    """The audiences of each account as the vendor told them last; nothing for a vendor that does not tell."""

    def __init__(self, providers: Mapping[str, Account], audiences: Mapping[str, AudienceSettings]) -> None:
        self.providers, self.audiences = providers, audiences
        self._found: dict[str, list[AudienceFound]] = {}
        self._sizes: dict[str, int] = {}
        self._asked: dict[str, float] = {}
        self.lanes = Lanes(Task.AUDIENCES, only_asks=True)

    async def refresh(self) -> None:
        """Ask every vendor that can tell, at most every ten minutes."""
        await self.begin()
        await self.lanes.settle()

    async def begin(self) -> None:
        """The same, but each account goes on by itself: a vendor that hangs keeps no other one's news waiting."""
        for account in self.providers.keys() - self.lanes.busy():
            if time.monotonic() - self._asked.get(account, float("-inf")) >= EVERY:
                self._asked[account] = time.monotonic()
                self.lanes.start(account, partial(self._try, account))

    async def _try(self, account: str) -> None:
        try:
            await self._ask(account, self.providers[account])
        except Exception as error:  # an adapter may be anybody's
            log.info("a vendor did not tell its audiences", account=account, error=type(error).__name__)

    async def _ask(self, account: str, provider: Account) -> None:
        if provider.capabilities.discovers:
            self._found[account] = await provider.audiences()
        if not provider.capabilities.sizes:
            return
        ours = {name: audience for name, audience in self.audiences.items() if audience.account == account}
        for name, audience in list(ours.items())[:MOST_SIZES]:
            found = await provider.size(Audience(audience.kind, audience.id, audience.everyone, audience.subscribers))
            if found is None or found.size is None or found.size == UNREADABLE:
                self._sizes.pop(name, None)  # what it held once is not what it holds
            else:
                self._sizes[name] = found.size

    def size_of(self, name: str) -> int | None:
        """How many people a configured audience held when the vendor was asked last."""
        return self._sizes.get(name)

    def others(self, account: str) -> list[AudienceFound]:
        """What the vendor has and the settings do not name."""
        ours = {(a.kind, a.id) for a in self.audiences.values() if a.account == account}
        return [found for found in self._found.get(account, []) if (found.kind, found.id) not in ours]
