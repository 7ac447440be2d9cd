"""Reports of deliveries, written down together as they arrive."""

from __future__ import annotations

import asyncio
import hmac
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import structlog
from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.clock import SECOND, Micros
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import State
from bot.scheduler import Task
from bot.sending.proofs import Proofs, all_final, expected_finals, whole
from bot.storage import notes, queue, receipts, vendor_ids
from bot.storage.broadcast_rows import Owner
from bot.storage.database import CommitUncertain, DatabaseBusy, OutOfOrder
from bot.storage.notes import Note
from bot.storage.receipts import DeliveryCounts, Followed, OwnedReceipt
from providers.base import Receipt, ReceiptKind
from providers.reading import number_of

log = structlog.get_logger(__name__)
EXPECTED = 4096  # broadcasts of which it is remembered how many final deliveries they wait for
REPLAY = 7 * 24 * 3600 * SECOND  # no vendor tries a delivery longer than three days
TOGETHER, FEWEST = 256, 32  # receipts' batches in one transaction
PIECE = 500  # receipts in one transaction: people wait for the same writer


@dataclass(frozen=True)
class Recorded:
    """`news` False: everything in it was known already."""

    news: bool


@dataclass(frozen=True)
class _Batch:
    """What arrived together, and who waits to hear whether it was news."""

    account: str
    receipts: list[Receipt]
    dispatched: Owner | None
    news: asyncio.Future[bool]


class Receiver:
    """Writes down what vendors report. Statuses only go up, a repeated receipt changes nothing, and a receipt of
    nobody's is set aside."""

    def __init__(self, runtime: Runtime, proofs: Proofs) -> None:
        self.database, self.providers, self.proofs = runtime.database, runtime.providers, proofs
        self.clock, self.key, self.wake = runtime.clock, runtime.key, runtime.wake
        self._waiting: list[_Batch] = []
        self._together = TOGETHER
        self._recording: asyncio.Task[None] | None = None
        self._expected: dict[tuple[str, str, Micros | None], int] = {}  # how many final ones, when that was last read

    async def record(self, account: str, receipts: Iterable[Receipt], dispatched: Owner | None = None) -> Recorded:
        """Write receipts of one account. `dispatched` is whose callback address they came to, where each dispatch
        has its own: that address proves that the vendor took it. Raises DatabaseBusy or CommitUncertain: then the
        vendor should report it again.

        What arrives while others are being written is written with them: a flood takes one connection, and changes
        the counts of each broadcast once a transaction. Many are written piece by piece, and told as one.
        """
        told, loop = list(receipts), asyncio.get_running_loop()
        pieces = [told[place : place + PIECE] for place in range(0, len(told), PIECE)] or [[]]
        batches = [_Batch(account, piece, dispatched, loop.create_future()) for piece in pieces]
        self._waiting += batches
        if self._recording is None or self._recording.done():
            self._recording = asyncio.create_task(self._record_waiting(), name="record receipts")
        return Recorded(any(await asyncio.gather(*(batch.news for batch in batches))))

    async def _record_waiting(self) -> None:
        """All that wait, some in each transaction: fewer where so many took too long, more again where all is well."""
        while self._waiting:
            number = self._fitting()
            group, self._waiting = self._waiting[:number], self._waiting[number:]
            wakes = set[Task]()
            try:
                news = await self.database.write(partial(self._record, group=group, wakes=wakes))
            except DatabaseBusy as error:
                if len(group) > FEWEST and not isinstance(error, OutOfOrder):
                    self._together = len(group) // 2
                    self._waiting = group + self._waiting
                    continue
                group, self._waiting = group + self._waiting, []  # nobody waits for one try after the other
                self._tell(group, [error] * len(group))
            except BaseException as error:
                await self._record_alone(group, error)
            else:
                self._wake(wakes)
                self._tell(group, news)
                self._together = min(2 * self._together, TOGETHER)

    def _fitting(self) -> int:
        """How many of the batches that wait go into one transaction: one at least."""
        sums = accumulate(len(batch.receipts) for batch in self._waiting[: self._together])
        return max(sum(receipts <= PIECE for receipts in sums), 1)

    async def _record_alone(self, group: list[_Batch], error: BaseException) -> None:
        """One that cannot be written, for whatever is in it, is told so alone."""
        if len(group) == 1 or isinstance(error, CommitUncertain) or not isinstance(error, Exception):
            self._tell(group, [error] * len(group))
            if not isinstance(error, Exception):
                raise error
            return
        for batch in group:
            wakes = set[Task]()
            try:
                self._tell([batch], await self.database.write(partial(self._record, group=[batch], wakes=wakes)))
                self._wake(wakes)
            except BaseException as alone:
                self._tell([batch], [alone])
                if not isinstance(alone, Exception):
                    raise

    def _wake(self, tasks: set[Task]) -> None:
        """What is drawn and told a moment later is found by the ticks: they come as often."""
        if tasks:
            self.wake(*tasks)

    @staticmethod
    def _tell(group: list[_Batch], outcomes: Sequence[bool | BaseException]) -> None:
        for batch, outcome in zip(group, outcomes, strict=True):
            if batch.news.done():
                continue  # whoever waited has gone
            if isinstance(outcome, Exception):
                batch.news.set_exception(outcome)
            elif isinstance(outcome, BaseException):
                batch.news.cancel()
            else:
                batch.news.set_result(outcome)

    def _record(self, connection: Connection, group: list[_Batch], wakes: set[Task] | None = None) -> list[bool]:
        """Which of them were news of a broadcast. How many they are decides no number of questions to the database.

        `wakes`: whoever has something to do at once, because of them, is put there.
        """
        owners = self._owners(connection, group)
        rows = receipts.followed(connection, set(owners.values()))
        heard, sources = [], []
        for number, batch in enumerate(group):
            for receipt in batch.receipts:
                owner = owners.get((batch.account, receipt.id)) if receipt.id else batch.dispatched
                if owner is None or not self._is_stale(rows.get(owner), receipt):
                    heard.append(OwnedReceipt(batch.account, receipt, self._hidden(receipt), owner))
                    sources.append(number)
        recorded = receipts.record_deliveries(connection, heard, self.clock())
        told = zip(heard, sources, recorded.news, strict=True)
        news = [(one, number) for one, number, is_new in told if is_new and one.owner]
        due = self._follow(connection, recorded.moved, [one for one, _ in news])
        if wakes is not None:
            wakes.update(due)
        with_news = {number for _, number in news}
        return [number in with_news for number in range(len(group))]

    def _owners(self, connection: Connection, group: list[_Batch]) -> dict[tuple[str, str], Owner]:
        """Whose each (account, id) is. One that came to a dispatch's own address is that dispatch's, even before its
        answer was written. No id at all names nobody: it is learnt for none."""
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
        """What a newer version looks after is written down, and left to that. Who has something to do at once."""
        told: defaultdict[Owner, list[Receipt]] = defaultdict(list)
        for one in news:
            if one.owner is not None:
                told[one.owner].append(one.receipt)
        due = set[Task]()
        # locked before their counts are changed, else two at once would each add to the same
        for owner, row in receipts.followed(connection, {*told, *moved}, lock=True).items():
            change = moved.get(owner, DeliveryCounts())
            current = receipts.count(connection, row, change, self.clock())
            if self._tell_replies(connection, current, told[owner]):
                due.add(Task.PAINT)
            if self.proofs.prove(connection, current, told[owner]):
                due |= {Task.PAINT, Task.TRACK}
            if change.final > 0 and self._has_all(connection, current):
                due.add(Task.TRACK)
        return due

    def _has_all(self, connection: Connection, current: Followed) -> bool:
        """Everything is final, so it is looked at now. How much that is stands in its whole row, which is read for the
        first that is final and for the last."""
        key = current.workspace, current.id, current.accepted_at
        if current.state is not State.SENT or current.finals < self._expected.get(key, 0):
            return False
        row = whole(connection, current)
        if row is None:
            return False
        if len(self._expected) >= EXPECTED:
            self._expected.clear()
        self._expected[key] = expected_finals(row)
        if not all_final(row):
            return False
        queue.set_look_at(connection, row, self.clock())
        return True

    def _is_stale(self, row: Followed | None, receipt: Receipt) -> bool:
        """News of a delivery that was over long ago is a replay. Somebody may opt out at any time."""
        if row is None:
            return False
        stale = receipt.kind is ReceiptKind.DELIVERY and row.ended and self.clock() - row.changed_at > REPLAY
        if stale:
            log.warning("a callback came long after the end and is ignored", broadcast=row.id)
        return stale

    def _tell_replies(self, connection: Connection, current: Followed, heard: Iterable[Receipt]) -> bool:
        """Is anything said?"""
        account = self.providers.get(current.account)
        if account is None or not account.settings.show_replies:
            return False
        shown = [receipt.text[:1000] for receipt in heard if receipt.kind is ReceiptKind.REPLY and receipt.text]
        row = whole(connection, current) if shown else None
        if row is not None:
            told = [Note(Translatable("Reply: {reply}", reply=it)) for it in shown]
            notes.say(connection, row, self.clock(), told)
        return bool(shown)

    def _hidden(self, receipt: Receipt) -> str:
        """A number as a keyed hash: enough to tell two apart, nothing to ring. Two replies of one person are two.

        However the vendor writes a number, it is hashed as `+33612345678`, which is how most of the older rows have it.
        """
        number, name = number_of(receipt.recipient), receipt.recipient.strip()
        if not name:
            return ""
        told = receipt.text or "" if receipt.kind is ReceiptKind.REPLY else ""
        named = f"number:{f'+{number}' if number else name}:{told}"
        return hmac.digest(self.key, named.encode(errors="replace"), "sha256").hex()[:32]
