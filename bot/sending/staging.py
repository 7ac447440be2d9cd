"""Prepares broadcasts at vendors that need it: sizes, campaigns, the one slot of an account.

Everything here is safe to repeat, and nothing here makes a phone ring.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Connection

from bot.config.accounts import Account
from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, backoff
from bot.domain.i18n import Translatable, Value
from bot.domain.lifecycle import Action
from bot.domain.price import is_dearer, price_of
from bot.sending.leases import STAGING_DEADLINE
from bot.storage import broadcasts, campaigns, schedules, vendor_ids
from bot.storage.broadcast_rows import NOT_AGREED, Changes
from bot.storage.campaigns import Leftover
from bot.storage.database import CommitUncertain, DatabaseBusy
from bot.storage.notes import Note
from bot.storage.votes import drop_votes
from bot.workflow import approval_rules
from bot.workflow.deadlines import asks
from bot.workflow.requirements import Requirements
from providers.base import NotReady, ProviderError, Quote, Refused, Staged, open_for_quote
from providers.reading import UNREADABLE

log = structlog.get_logger(__name__)
STAGING_PAUSES = (0.5, 1, 2, 4, 8, 15)
RECALL_TRIES = 20
LONGEST_PAUSE = 300 * SECOND


class Overtaken(Exception):
    """Somebody else moved this row meanwhile, so the work on it no longer counts."""


class Stager:
    """Brings a broadcast that this process has leased to the point where only the release is missing."""

    def __init__(self, runtime: Runtime, requirements: Requirements) -> None:
        self.requirements = requirements
        self.database, self.settings, self.providers = runtime.database, runtime.settings, runtime.providers
        self.clock, self.monotonic = runtime.clock, runtime.monotonic

    async def prepare(self, row: Broadcast, until: float | None = None) -> Broadcast | None:
        """Return the row once everything is ready, or None if it went back to the approvers.

        It goes back if it is larger or dearer than what they saw. `until`, in `monotonic` time: when to give up.
        Raises a ProviderError, Overtaken, DatabaseBusy or CommitUncertain.
        """
        until = self.monotonic() + STAGING_DEADLINE if until is None else until
        provider = self.providers[row.account]
        able = provider.capabilities
        if able.sizes:
            found = await provider.size(row.vendor_audience)
            if await self._went_back(row, found.size if found is not None else None, until):
                return None
        if able.two_step:
            return await self._stage(row, provider, until)
        return None if able.quotes and await self._outgrew_its_quote(row, provider, until) else row

    async def _stage(self, row: Broadcast, provider: Account, until: float) -> Broadcast | None:
        for pause in (*STAGING_PAUSES, *[STAGING_PAUSES[-1]] * 1000):
            staged = await self._stage_once(provider, row)
            if staged is not None:
                row = await self._keep(row, staged, until)
                contacts = staged.contacts
                if (staged.ready or contacts is not None) and await self._went_back(
                    row, contacts, until, price_of(staged)
                ):
                    return None
            if staged is None:
                return None if await self._outgrew_its_quote(row, provider, until) else row
            if staged.ready:
                return row
            if self.monotonic() + pause > until:
                raise Refused(  # one that a person sent by hand at the vendor may never be reported ready
                    "The vendor did not confirm in time that it was ready, so the bot did not send it. Check with the "
                    "vendor before you ask for it again."
                )
            await asyncio.sleep(pause)
        return row

    async def _stage_once(self, provider: Account, row: Broadcast) -> Staged | None:
        try:
            return await provider.stage(row.message(), row.staged)
        except NotReady:
            if row.staged is None:
                raise
            return Staged(row.staged.id, ready=False)

    async def _keep(self, row: Broadcast, staged: Staged, until: float) -> Broadcast:
        def keep(connection: Connection) -> Broadcast | None:
            vendor_ids.own_ids(connection, row, [staged.id])
            size = row.size if staged.contacts in (None, UNREADABLE) else staged.contacts
            kept = broadcasts.touch(connection, row, self.clock(), staged=staged, size=size)
            if kept is None:  # stopped meanwhile: what was made at the vendor must not stay open there
                campaigns.leave_over(connection, row, staged, self.clock())
            return kept

        kept = await self.database.write_until(until, keep, clock=self.monotonic)
        if kept is None:
            raise Overtaken(row.id)
        return kept

    async def _went_back(self, row: Broadcast, reported: int | None, until: float, price: str | None = None) -> bool:
        """Send it back to the approvers if it exceeds what they approved. Return whether it went back.

        It goes back if it reaches more people than were approved, if nobody can say how many, or if it costs more than
        its card showed. The new size decides how many approvers it needs. A size that the vendor does not tell counts
        as the audience's `max_size`, or as the size told before if that is larger. A size that nobody can read counts
        as larger than any bound.
        """
        most = self._max_size(row)
        if reported is None and most is not None and (row.size or 0) > most:
            reported = row.size
        size = most if reported is None else reported
        if row.bound is None or (size if size is not None else UNREADABLE) <= row.bound:
            if not is_dearer(row, price):
                return False
            shown = Translatable("It would now cost {cost}, but its card showed {shown}.", **_prices(row, price))
            await self._ask_about(row, row.size, row.bound, shown, until, price)
        elif reported is None or reported == UNREADABLE:
            template = "The vendor does not say how many people this would reach, and at most {bound} were approved."
            sentence = Translatable(template, **_bound(row))
            await self._ask_about(row, None, most if reported is None else None, sentence, until, price)
        else:
            sentence = Translatable(
                "It would reach {size} people, more than the {bound} that were approved.", size=reported, **_bound(row)
            )
            await self._ask_about(row, reported, reported, sentence, until, price)
        return True

    async def _outgrew_its_quote(self, row: Broadcast, provider: Account, until: float) -> bool:
        """Do the same for a vendor whose preparation tells no size: with a fresh quote, if the vendor gives one."""
        if provider.capabilities.sizes:
            return False  # its size was judged already
        quote = await self.quote(row, provider) if provider.capabilities.quotes else None
        return await self._went_back(row, quote.contacts if quote is not None else None, until, price_of(quote))

    def _max_size(self, row: Broadcast) -> int | None:
        audience = self.settings.audiences.get(row.audience)
        return audience.max_size if audience is not None else None

    async def _ask_about(
        self,
        row: Broadcast,
        size: int | None,
        bound: int | None,
        sentence: Translatable,
        until: float,
        price: str | None,
    ) -> None:
        """Ask the approvers again. They see the new size and price, and the next release is compared with these."""
        approvers = approval_rules.approvers_today(self.settings.approval, row)
        approved = replace(row, size=row.bound, staged=None, approvers=approvers)
        known = replace(row, size=size, bound=bound, staged=None, quoted=price or row.quoted)
        now = self.clock()
        changes: Changes = {"size": size, "bound": bound, "quoted": price or row.quoted, "ruled_at": now}

        def go_back(connection: Connection) -> None:
            need = self.requirements.changed(connection, approved, known, now)
            quorum = max(row.quorum, need.quorum, 1)
            self.ask_again(connection, row, Note(sentence), **changes, approvers=need.approvers, quorum=quorum)

        await self.database.write_until(until, go_back, clock=self.monotonic)

    def ask_again(self, connection: Connection, row: Broadcast, note: Note, **changes: Any) -> None:
        """Send it back to the approvers. Their votes no longer count, nor do they cover later occurrences."""
        now = self.clock()
        changes = {"quorum": max(row.quorum, 1), **changes}
        changes |= {**NOT_AGREED, **asks(now, self.settings.approval)}
        if broadcasts.move(connection, row, Action.OUTGROW, actor="dispatcher", at=now, notes=[note], **changes):
            drop_votes(connection, row)
            if row.schedule is not None and row.covers > 1:
                schedules.keep_cover(connection, row.workspace, row.schedule, None)

    # --- a quote -----------------------------------------------------------------------------------------------------

    async def quote(self, row: Broadcast, provider: Account) -> Quote | None:
        """Return the size and cost before the approval.

        The campaign that a quote needs is on record before anything is asked of it, so that another process can recall
        it if this one dies. Raises a ProviderError, DatabaseBusy or CommitUncertain.
        """
        left: list[Leftover] = []

        async def keep(staged: Staged) -> None:
            left.append(Leftover(row.account, row.workspace, row.id, staged, 0))
            until = self.clock() + int(STAGING_DEADLINE * SECOND)  # nobody else touches it while the quote may last
            await self.database.write(lambda c: campaigns.leave_over(c, row, staged, until))

        token = open_for_quote.set(keep)
        try:
            return await provider.quote(row.message())
        finally:
            open_for_quote.reset(token)
            for staged in [one.staged for one in left if not await self._recalled(one)]:
                await self.database.write(partial(campaigns.leave_over, broadcast=row, staged=staged, at=self.clock()))

    # --- what is left at the vendor ----------------------------------------------------------------------------------

    def take_leftovers(self, connection: Connection) -> list[Leftover]:
        """Return the leftovers to recall. Each is put off first, and so tried again later if this process dies."""
        now, known = self.clock(), []
        for left in campaigns.leftovers_to_recall(connection, now):
            pause = backoff(left.tries, 5 * SECOND, LONGEST_PAUSE)
            campaigns.put_off_leftover(connection, left, None if left.tries >= RECALL_TRIES else now + pause)
            if left.account in self.providers:
                known.append(left)
        return known

    async def recall(self, leftovers: list[Leftover]) -> None:
        """Throw away what was prepared at the vendor and will not be sent: it blocks others."""
        for left in leftovers:
            await self._recalled(left)

    async def _recalled(self, left: Leftover) -> bool:
        try:
            await self.providers[left.account].recall(left.staged)
            await self.database.write(partial(campaigns.forget_leftover, left=left))
        except (ProviderError, DatabaseBusy, CommitUncertain) as error:
            log.warning("a prepared campaign could not be recalled yet", broadcast=left.broadcast, error=str(error))
        except Exception as error:  # an adapter may be third-party code
            log.error("a recall broke", broadcast=left.broadcast, error=type(error).__name__)
        else:
            return True
        return False


def _prices(row: Broadcast, price: str | None) -> dict[str, Value]:
    return {"cost": price or "?", "shown": row.quoted or "?"}


def _bound(row: Broadcast) -> dict[str, Value]:
    return {"bound": row.bound or 0}
