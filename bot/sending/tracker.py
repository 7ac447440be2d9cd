"""Receipts into progress: one road from an answer, a poll or a callback to the counts that people see."""

from __future__ import annotations

import asyncio
import hmac
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import structlog
from sqlalchemy import Connection

from bot.config.accounts import Account
from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast, counts_told
from bot.domain.clock import SECOND, Micros, micros
from bot.domain.errors import NotFound
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Action, State
from bot.scheduler import Lanes, Task
from bot.storage import audit, broadcasts, notes, queue, receipts, vendor_ids
from bot.storage.broadcast_rows import Changes, Owner
from bot.storage.database import Busy, OutOfOrder, Unsure
from bot.storage.notes import Note
from bot.storage.receipts import Followed, Heard, Recount, Tally
from bot.storage.troubles import alone
from bot.workflow import requirements
from providers.base import Evidence, ProviderError, Receipt, ReceiptKind
from providers.reading import number_of

log = structlog.get_logger(__name__)

FIRST_POLL = 5 * SECOND
SLOWEST_POLL = 3600 * SECOND
LOOK_AGAIN = 60 * SECOND
EXPECTED = 4096  # broadcasts of which it is remembered how many final deliveries they wait for
COUNTING = 60.0  # seconds that all deliveries of a broadcast may take to be counted
REPLAY = 7 * 24 * 3600 * SECOND  # no vendor tries a delivery longer than three days
TOGETHER, FEWEST = 256, 32  # receipts' batches in one transaction
PIECE = 500  # receipts in one transaction: people wait for the same writer
AT_ONCE = 10  # broadcasts whose vendor is asked in one go
IDS_A_POLL = 20  # a vendor without a batch read is asked one id at a time
CONFIRMED = "The vendor reports deliveries of it. Ids: {ids}"
REPORTED = "The vendor reports deliveries of it, so it did go out."
ON_ITS_WAY = frozenset({State.SENDING, State.SENT, State.DONE})
UNKNOWN_LOOKS = tuple(minutes * 60 * SECOND for minutes in (1, 5, 15, 60, 24 * 60))


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


class Tracker:
    """Statuses only go up, a repeated receipt changes nothing, and a receipt of nobody's is set aside."""

    def __init__(self, runtime: Runtime) -> None:
        self.database, self.settings, self.providers = runtime.database, runtime.settings, runtime.providers
        self.clock, self.key, self.wake = runtime.clock, runtime.key, runtime.wake
        self._waiting: list[_Batch] = []
        self._together = TOGETHER
        self.lanes = Lanes(Task.TRACK)
        self._recording: asyncio.Task[None] | None = None
        self._expected: dict[tuple[str, str, Micros | None], int] = {}  # how many final ones, when that was last read

    # --- receipts ----------------------------------------------------------------------------------------------------

    async def record(self, account: str, receipts: Iterable[Receipt], dispatched: Owner | None = None) -> Recorded:
        """Write receipts of one account. `dispatched` is whose callback address they came to, where each dispatch
        has its own: that address proves that the vendor took it. Raises Busy or Unsure: then it is to be told again.

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
            except Busy as error:
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
        if len(group) == 1 or isinstance(error, Unsure) or not isinstance(error, Exception):
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
                    heard.append(Heard(batch.account, receipt, self._hidden(receipt), owner))
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

    def _follow(self, connection: Connection, moved: Mapping[Owner, Tally], news: Iterable[Heard]) -> set[Task]:
        """What a newer version looks after is written down, and left to that. Who has something to do at once."""
        told: defaultdict[Owner, list[Receipt]] = defaultdict(list)
        for one in news:
            if one.owner is not None:
                told[one.owner].append(one.receipt)
        due = set[Task]()
        # locked before their counts are changed, else two at once would each add to the same
        for owner, row in receipts.followed(connection, {*told, *moved}, lock=True).items():
            change = moved.get(owner, Tally())
            current = receipts.count(connection, row, change, self.clock())
            if self._tell_replies(connection, current, told[owner]):
                due.add(Task.PAINT)
            if self._prove(connection, current, told[owner]):
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
        row = _whole(connection, current)
        if row is None:
            return False
        if len(self._expected) >= EXPECTED:
            self._expected.clear()
        self._expected[key] = _expected(row)
        if not _all_final(row):
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
        row = _whole(connection, current) if shown else None
        if row is not None:
            told = [Note(Translatable("A reply: {reply}", reply=it)) for it in shown]
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

    def _prove(self, connection: Connection, current: Followed, heard: list[Receipt]) -> bool:
        """Is it more than news of what is known to be on its way?"""
        delivered = any(receipt.kind is ReceiptKind.DELIVERY for receipt in heard)
        proves, confirms = current.state is State.UNKNOWN and bool(heard), current.claimed and delivered
        if not (proves or confirms) and (current.state in ON_ITS_WAY or not delivered):
            return False
        row = _whole(connection, current)
        if row is None:
            return False
        ids = row.ids or tuple(dict.fromkeys(receipt.id for receipt in heard))
        if proves:
            self._mark_proven(connection, row, ids, Translatable(REPORTED))
        elif confirms:
            self._confirm(connection, row, ids)
        else:
            self._contradict(connection, row, ids)
        return True

    def _confirm(self, connection: Connection, row: Broadcast, ids: tuple[str, ...]) -> None:
        """Somebody said that it went out, and now the vendor does."""
        now = self.clock()
        vendor_ids.own_ids(connection, row, ids)
        notes.say(connection, row, now, [Note(Translatable(CONFIRMED, ids=", ".join(ids[:100])))])
        broadcasts.touch(connection, row, now, ids=ids, failure=None, look_at=None if row.ended else now)

    def _contradict(self, connection: Connection, row: Broadcast, ids: tuple[str, ...]) -> None:
        """It was taken for not sent, and somebody may be about to send it once more: said aloud, once."""
        history = audit.history(connection, row.workspace, row.id)
        if any(step["action"] in ("accept_late", "report_late") for step in history):
            return
        deniers = [str(step["actor"]) for step in history if step["action"] == Action.MARK_NOT_SENT]
        template = (
            "The vendor reports deliveries of it, so it did go out, though it was taken for not sent. "
            "If a follow-up is under way, please stop it. Ids: {ids}"
        )
        told = Translatable(template, ids=", ".join(ids[:100]))
        said = [Note(told, " ".join(dict.fromkeys([row.requester, *deniers])), aloud=True)]
        audit.write_audit(connection, row, row.provider, "report_late", row.state, self.clock())
        notes.say(connection, row, self.clock(), said)

    def _mark_proven(self, connection: Connection, row: Broadcast, ids: tuple[str, ...], told: Translatable) -> None:
        now, ids = self.clock(), tuple(filter(None, ids))  # an answer without an id proves it as well
        vendor_ids.own_ids(connection, row, ids)
        said = [Note(told, row.requester, aloud=True)]
        if ids:
            said.append(Note(Translatable("Ids: {ids}", ids=", ".join(ids[:100]))))
        broadcasts.move(
            connection,
            row,
            Action.PROVE,
            actor=row.provider,
            at=now,
            said=said,
            ids=ids,
            accepted_at=now,
            look_at=now,
            failure=None,
        )

    # --- the clock ---------------------------------------------------------------------------------------------------

    async def tick(self) -> None:
        """Tell threads what appeared, ask vendors that call nobody back, close what is final."""
        await self.begin()
        await self.lanes.settle()

    async def begin(self) -> None:
        """The same, but what vendors are asked goes on by itself: one that hangs must not keep this waiting."""
        waits = await self.database.read(lambda c: receipts.what_waits(c, self.clock()))
        if waits.progress and await self.database.write(self._tell_progress):
            self.wake(Task.PAINT)
        if not (waits.sent or waits.unknown):
            return
        taken: defaultdict[str, list[Broadcast]] = defaultdict(list)
        for row in await self.database.write(partial(self._take, busy=self.lanes.busy())):
            taken[row.account].append(row)
        for account, rows in taken.items():
            self.lanes.start(account, partial(self._look_at, rows))

    async def _look_at(self, rows: Iterable[Broadcast]) -> None:
        """All of these are put off already, so one that breaks takes none of the others along, and is soon again."""
        for row in rows:
            try:
                await (self._look_at_sent if row.state is State.SENT else self._look_at_unknown)(row)
            except Exception as error:
                log.error("a look at one broke", broadcast=row.id, error=type(error).__name__)
                with suppress(Busy, Unsure):
                    await self.database.write(partial(queue.set_look_at, row=row, at=self.clock() + LOOK_AGAIN))

    def _tell_progress(self, connection: Connection) -> bool:
        rows = receipts.progress_to_tell(connection, self.clock())
        for row in rows:
            with alone(connection, "progress", row.id, row.workspace):
                notes.say(connection, row, self.clock(), [Note(Translatable("Deliveries: {counts}", **_counts(row)))])
                receipts.mark_told(connection, row)
        return bool(rows)

    def _take(self, connection: Connection, busy: Collection[str]) -> list[Broadcast]:
        """Rows to ask the vendor about, each put off to its next time so that no other process asks as well. At an
        account of which somebody asks already they wait."""
        taken = []
        for state, next_time in ((State.SENT, self._next_poll), (State.UNKNOWN, self._next_look)):
            for row in queue.to_look_at(connection, state, self.clock(), AT_ONCE, busy):
                with alone(connection, "look", row.id, row.workspace):
                    queue.set_look_at(connection, row, next_time(row))
                    taken.append(row)
        return taken

    def _next_poll(self, row: Broadcast) -> Micros:
        """Soon at first, then ever more slowly: a tenth of the time that has passed since it was accepted."""
        since = self.clock() - (row.accepted_at or self.clock())
        return self.clock() + min(max(FIRST_POLL, since // 10), SLOWEST_POLL)

    def _next_look(self, row: Broadcast) -> Micros:
        since = self.clock() - row.changed_at
        later = [row.changed_at + look for look in UNKNOWN_LOOKS if look > since]
        return later[0] if later else self.clock() + UNKNOWN_LOOKS[-1]

    async def _look_at_sent(self, row: Broadcast) -> None:
        provider = self._vendor_of(row)
        if provider is not None and provider.capabilities.polls and row.ids:
            await self._poll(provider, row)
        counted = await self.database.read(lambda c: self._counted(c, row), patience=COUNTING)
        if counted is not None and await self.database.write(lambda c: self._finish(c, counted)):
            self.wake(Task.PAINT)

    def _vendor_of(self, row: Broadcast) -> Account | None:
        """Who may know something of it: nobody of the other mode, nor another vendor who has the account by now."""
        provider = self.providers.get(row.account)
        knows = provider is not None and provider.name == row.provider and row.mode == self.settings.mode
        return provider if knows else None

    async def _poll(self, provider: Account, row: Broadcast) -> None:
        turn = (self.clock() // SECOND) % max(len(row.ids), 1)  # a long list is read in turns, not from its head
        ids = (row.ids[turn:] + row.ids[:turn])[:IDS_A_POLL]
        try:
            await self.record(row.account, await provider.poll(ids))
        except Exception as error:  # an adapter may be anybody's
            say = log.info if isinstance(error, ProviderError | Busy | Unsure) else log.error
            say("a poll came to nothing", broadcast=row.id, error=type(error).__name__)

    def _counted(self, connection: Connection, row: Broadcast) -> Recount | None:
        """Count its deliveries, as nobody does who writes: before its end, and now and then, since a process of the
        version before keeps no `finals`. None: there is nothing to end, and nothing to put right."""
        current = broadcasts.find(connection, row.workspace, row.id)
        if current.state is not State.SENT or not (self._over(current) or _has_doubled(self._waited(current))):
            return None
        counted = receipts.recount(connection, current)
        return counted if self._over(current) or not counted.agrees else None

    def _finish(self, connection: Connection, counted: Recount) -> bool:
        """Put its counts right, and end it with the final report where it is over. False: it goes on."""
        current, now = broadcasts.find(connection, counted.row.workspace, counted.row.id, lock=True), self.clock()
        if current.state is not State.SENT:
            return False
        if not counted.agrees:
            if not counted.holds(current):
                queue.set_look_at(connection, current, now + FIRST_POLL)
                return False
            log.warning("the counts of a broadcast were put right", broadcast=current.id)
            current = receipts.note_progress(connection, current, counted.tally.counts, counted.tally.final, now)
        return self._over(current) and self._report(connection, current)

    def _report(self, connection: Connection, current: Broadcast) -> bool:
        """False when somebody else was faster."""
        now = self.clock()
        template = "Final report: {counts}" if current.counts else "Final report: the vendor sent no delivery report."
        said = Note(Translatable(template, **_counts(current)), current.requester, aloud=True)
        ends: Changes = {"look_at": None, "progress_at": None}
        return (
            broadcasts.move(connection, current, Action.FINISH, actor="clock", at=now, said=[said], **ends) is not None
        )

    def _over(self, row: Broadcast) -> bool:
        """Everything is final, or nothing more is waited for."""
        return _all_final(row) or self._waited(row) >= micros(self.settings.report_after)

    def _waited(self, row: Broadcast) -> Micros:
        return self.clock() - (row.accepted_at or self.clock())

    async def _look_at_unknown(self, row: Broadcast) -> None:
        """Read-only, and only proof changes the state: that nothing is to be seen proves nothing."""
        evidence = await self._evidence(row)
        await self.database.write(lambda c: self._weigh(c, row, evidence))
        self.wake(Task.PAINT, Task.TRACK)

    async def _evidence(self, row: Broadcast) -> Evidence:
        provider = self._vendor_of(row)
        if provider is None or not provider.capabilities.looks_up:
            return Evidence(False, "The vendor offers no way to look whether it went out.")
        try:
            return await provider.look_up(row.message(), row.staged, row.ids)
        except ProviderError as error:
            return Evidence(False, error.template, values=error.values)

    def _weigh(self, connection: Connection, row: Broadcast, evidence: Evidence) -> None:
        current, now = broadcasts.find(connection, row.workspace, row.id, lock=True), self.clock()
        if current.state is not State.UNKNOWN:
            return
        reported = vendor_ids.ids_with_news(connection, row.workspace, row.id)
        if reported and not evidence.sent:  # while it was not unknown yet: whoever was sending it had died unnoticed
            evidence = Evidence(True, REPORTED, reported)
        if evidence.sent:
            told = Translatable(evidence.sentence, **evidence.values)
            self._mark_proven(connection, current, evidence.ids or current.ids, told)
        elif _worth_saying(now - current.changed_at):
            template = "Still not known whether it went out. {evidence} Please say on its card what happened."
            seen = Translatable(evidence.sentence, **evidence.values)
            approvers = requirements.approvers_today(
                self.settings.approval, current
            )  # they alone may say that it did not
            said = Note(Translatable(template, evidence=seen), " ".join([current.requester, *approvers]))
            audit.write_audit(connection, current, "clock", "ask", current.state, now, str(seen))
            notes.say(connection, current, now, [said])


def _whole(connection: Connection, current: Followed) -> Broadcast | None:
    """Its row; None where it cannot be read: what was heard is counted all the same."""
    with suppress(NotFound):
        return broadcasts.find(connection, current.workspace, current.id)
    return None


def _expected(row: Broadcast) -> int:
    """Of how many people there is to be a last word."""
    return (row.staged and row.staged.contacts) or len(row.ids)


def _all_final(row: Broadcast) -> bool:
    """Where the vendor has told of its ids one after the other, there may be more of them than are known."""
    expected = _expected(row)
    known = sum(number for name, number in row.counts.items() if name not in receipts.ANSWERS.values())
    return expected > 0 and max(expected, known) <= row.finals


def _has_doubled(waited: Micros) -> bool:
    """Since the look before, from which a tenth of the time has passed, it has come to twice as long as once: a handful
    of looks in a day, with no need to remember when the last one was."""
    polls = waited // FIRST_POLL
    return polls.bit_length() > (polls * 10 // 11).bit_length()


def _worth_saying(since: Micros) -> bool:
    """The first look and the daily ones are told; those between only look."""
    return since < UNKNOWN_LOOKS[1] or since >= UNKNOWN_LOOKS[-1]


def _counts(row: Broadcast) -> Mapping[str, Translatable]:
    return {"counts": counts_told(row.counts)}
