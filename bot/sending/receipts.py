"""Receipts (delivery reports), written in groups as they arrive."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate

import structlog
from cachetools import LRUCache
from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.clock import SECOND, Micros
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import State
from bot.domain.numbers import hashed_number
from bot.scheduler import Task
from bot.sending.delivery_proofs import DeliveryProofs, all_final, expected_finals, whole
from bot.storage import notes, queue, receipts, vendor_ids
from bot.storage.broadcast_rows import Owner
from bot.storage.database import CommitUncertain, DatabaseBusy, OutOfOrder
from bot.storage.notes import Note
from bot.storage.receipts import DeliveryCounts, Followed, OwnedReceipt
from providers.base import Receipt, ReceiptKind

log = structlog.get_logger(__name__)
REPLAY = 7 * 24 * 3600 * SECOND  # no vendor tries a delivery for longer than three days
TOGETHER, FEWEST = 256, 32  # batches of receipts in one transaction
PIECE = 500  # receipts in one transaction: people wait for the same writer


@dataclass(frozen=True)
class Recorded:
    """`news` is False if everything was known already."""

    news: bool


@dataclass
class Came:
    """What a transaction leaves to do after it: tasks that now have work, and the owners of what was recorded."""

    tasks: set[Task] = field(default_factory=set)
    owners: set[Owner] = field(default_factory=set)


@dataclass(frozen=True)
class _Batch:
    """Receipts that arrived together, and a future that tells the caller whether they were news."""

    account: str
    receipts: list[Receipt]
    dispatched: Owner | None
    news: asyncio.Future[bool]


class Receiver:
    """Writes what vendors report.

    Statuses only go up, a repeated receipt changes nothing, and a receipt without an owner is set aside.
    """

    def __init__(self, runtime: Runtime, proofs: DeliveryProofs) -> None:
        self.database, self.providers, self.proofs = runtime.database, runtime.providers, proofs
        self.clock, self.key, self.wake = runtime.clock, runtime.key, runtime.wake
        self.on_receipts = runtime.on_receipts
        self._waiting: list[_Batch] = []
        self._together = TOGETHER
        self._recording: asyncio.Task[None] | None = None
        #: Final deliveries that a broadcast had to have when it was last read.
        self._expected = LRUCache[tuple[str, str, Micros | None], int](4096)

    async def record(self, account: str, receipts: Iterable[Receipt], dispatched: Owner | None = None) -> Recorded:
        """Write receipts of one account.

        `dispatched`: the owner of the callback address that they came to, where each dispatch has its own. That
        address proves that the vendor took it. Raises DatabaseBusy or CommitUncertain: then the vendor should report
        again.

        Receipts that arrive during a write are written together afterwards. So a flood takes one connection, and
        changes the counts of each broadcast once per transaction. A long list is written in pieces, with one result.
        """
        reported, loop = list(receipts), asyncio.get_running_loop()
        pieces = [reported[place : place + PIECE] for place in range(0, len(reported), PIECE)] or [[]]
        batches = [_Batch(account, piece, dispatched, loop.create_future()) for piece in pieces]
        self._waiting += batches
        if self._recording is None or self._recording.done():
            self._recording = asyncio.create_task(self._record_waiting(), name="record receipts")
        return Recorded(any(await asyncio.gather(*(batch.news for batch in batches))))

    async def _record_waiting(self) -> None:
        """Write all waiting batches in groups, which shrink after a slow write and grow again after a success."""
        while self._waiting:
            number = self._fitting()
            group, self._waiting = self._waiting[:number], self._waiting[number:]
            came = Came()
            try:
                news = await self.database.write(partial(self._record, group=group, came=came))
            except DatabaseBusy as error:
                if len(group) > FEWEST and not isinstance(error, OutOfOrder):
                    self._together = len(group) // 2
                    self._waiting = group + self._waiting
                    continue
                group, self._waiting = group + self._waiting, []  # nobody should wait through one try after another
                self._resolve(group, [error] * len(group))
            except BaseException as error:
                await self._record_alone(group, error)
            else:
                self._wake(came)
                self._resolve(group, news)
                self._together = min(2 * self._together, TOGETHER)

    def _fitting(self) -> int:
        """Return how many of the waiting batches go into one transaction, at least one."""
        sums = accumulate(len(batch.receipts) for batch in self._waiting[: self._together])
        return max(sum(receipts <= PIECE for receipts in sums), 1)

    async def _record_alone(self, group: list[_Batch], error: BaseException) -> None:
        """Write each batch by itself, so that only one that cannot be written gets an error."""
        if len(group) == 1 or isinstance(error, CommitUncertain) or not isinstance(error, Exception):
            self._resolve(group, [error] * len(group))
            if not isinstance(error, Exception):
                raise error
            return
        for batch in group:
            came = Came()
            try:
                self._resolve([batch], await self.database.write(partial(self._record, group=[batch], came=came)))
                self._wake(came)
            except BaseException as alone:
                self._resolve([batch], [alone])
                if not isinstance(alone, Exception):
                    raise

    def _wake(self, came: Came) -> None:
        """Wake the tasks. What is drawn or told a moment later needs no wake: the ticks come as often."""
        self.on_receipts(came.owners)
        if came.tasks:
            self.wake(*came.tasks)

    @staticmethod
    def _resolve(group: list[_Batch], outcomes: Sequence[bool | BaseException]) -> None:
        for batch, outcome in zip(group, outcomes, strict=True):
            if batch.news.done():
                continue  # the caller has gone
            if isinstance(outcome, Exception):
                batch.news.set_exception(outcome)
            elif isinstance(outcome, BaseException):
                batch.news.cancel()
            else:
                batch.news.set_result(outcome)

    def _record(self, connection: Connection, group: list[_Batch], came: Came | None = None) -> list[bool]:
        """Write a group of batches. Return for each whether it was news of a broadcast.

        The number of queries does not depend on the number of receipts. `came` receives what it leaves to do.
        """
        owners = self._owners(connection, group)
        rows = receipts.followed(connection, set(owners.values()))
        owned, sources = [], []
        for number, batch in enumerate(group):
            for receipt in batch.receipts:
                owner = owners.get((batch.account, receipt.id)) if receipt.id else batch.dispatched
                if owner is None or not self._is_stale(rows.get(owner), receipt):
                    owned.append(OwnedReceipt(batch.account, receipt, self._hidden(receipt), owner))
                    sources.append(number)
        recorded = receipts.record_deliveries(connection, owned, self.clock())
        numbered = zip(owned, sources, recorded.news, strict=True)
        news = [(one, number) for one, number, is_new in numbered if is_new and one.owner]
        due = self._follow(connection, recorded.moved, [one for one, _ in news])
        if came is not None:
            came.tasks.update(due)
            came.owners.update(recorded.moved)
        with_news = {number for _, number in news}
        return [number in with_news for number in range(len(group))]

    def _owners(self, connection: Connection, group: list[_Batch]) -> dict[tuple[str, str], Owner]:
        """Return the owner of each (account, id).

        An id that came to a dispatch's own address belongs to that dispatch, even before its answer was written. A
        receipt without an id names nobody and is skipped.
        """
        came_to: dict[tuple[str, str], Owner | None] = {}
        for batch in group:
            for receipt in batch.receipts:
                if not receipt.id:
                    continue
                key = batch.account, receipt.id
                came_to[key] = came_to.get(key) or batch.dispatched
        known = vendor_ids.owners_of(connection, came_to)
        if strangers := {key[0] for key, owner in came_to.items() if owner is None and key not in known}:
            vendor_ids.look_alone(connection, strangers)  # else their owner might be learnt while they are set aside
            known = vendor_ids.owners_of(connection, came_to)
        learnt = {key: owner for key, owner in came_to.items() if owner is not None and key not in known}
        ours = receipts.followed(connection, set(learnt.values()))
        vendor_ids.learn_ids(connection, {key: owner for key, owner in learnt.items() if owner in ours})
        return {**learnt, **known}

    def _follow(
        self, connection: Connection, moved: Mapping[Owner, DeliveryCounts], news: Iterable[OwnedReceipt]
    ) -> set[Task]:
        """Follow up what was recorded, and return the tasks that now have work.

        Receipts of broadcasts that only a newer version of the bot handles stay recorded, and are left to it.
        """
        by_owner: defaultdict[Owner, list[Receipt]] = defaultdict(list)
        for one in news:
            if one.owner is not None:
                by_owner[one.owner].append(one.receipt)
        due = set[Task]()
        # locked before their counts change, else two transactions would each add to the same value
        for owner, row in receipts.followed(connection, {*by_owner, *moved}, lock=True).items():
            change = moved.get(owner, DeliveryCounts())
            current = receipts.count(connection, row, change, self.clock())
            if self._post_replies(connection, current, by_owner[owner]):
                due.add(Task.PAINT)
            if self.proofs.prove(connection, current, by_owner[owner]):
                due |= {Task.PAINT, Task.TRACK}
            if change.final > 0 and self._has_all(connection, current):
                due.add(Task.TRACK)
        return due

    def _has_all(self, connection: Connection, current: Followed) -> bool:
        """Whether all deliveries are final. If so, schedule a look at the broadcast now.

        The expected number is in the whole row, which is read only for the first final delivery and for the last.
        """
        key = current.workspace, current.id, current.accepted_at
        if current.state is not State.SENT or current.finals < self._expected.get(key, 0):
            return False
        row = whole(connection, current)
        if row is None:
            return False
        self._expected[key] = expected_finals(row)
        if not all_final(row):
            return False
        queue.set_look_at(connection, row, self.clock())
        return True

    def _is_stale(self, row: Followed | None, receipt: Receipt) -> bool:
        """Whether a receipt is a replay: news of a delivery that ended long ago. An opt-out may come at any time."""
        if row is None:
            return False
        stale = receipt.kind is ReceiptKind.DELIVERY and row.ended and self.clock() - row.changed_at > REPLAY
        if stale:
            log.warning("a callback came long after the end and is ignored", broadcast=row.id)
        return stale

    def _post_replies(self, connection: Connection, current: Followed, reported: Iterable[Receipt]) -> bool:
        """Post replies in the thread, if the account shows them. Return whether there were any."""
        account = self.providers.get(current.account)
        if account is None or not account.settings.show_replies:
            return False
        shown = [receipt.text[:1000] for receipt in reported if receipt.kind is ReceiptKind.REPLY and receipt.text]
        row = whole(connection, current) if shown else None
        if row is not None:
            new_notes = [Note(Translatable("Reply: {reply}", reply=it)) for it in shown]
            notes.add_notes(connection, row, self.clock(), new_notes)
        return bool(shown)

    def _hidden(self, receipt: Receipt) -> str:
        """Return a number as a keyed hash. Different replies of one person get different hashes."""
        return hashed_number(self.key, receipt.recipient, receipt.text if receipt.kind is ReceiptKind.REPLY else None)
