"""Progress: tells threads about it, polls vendors, and closes what is final."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from contextlib import suppress
from functools import partial

import structlog
from sqlalchemy import Connection

from bot.config.accounts import Account
from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Micros, micros
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Action, State
from bot.domain.progress import progress_line
from bot.scheduler import Lanes, Task
from bot.sending.delivery_proofs import REPORTED, all_final
from bot.sending.final_report import final_report
from bot.sending.receipts import Receiver
from bot.storage import audit, broadcasts, campaigns, notes, queue, receipts, vendor_ids
from bot.storage.broadcast_rows import Changes
from bot.storage.database import CommitUncertain, DatabaseBusy
from bot.storage.failing_rows import alone
from bot.storage.notes import Note
from bot.storage.receipts import DeliveryCounts, Recount
from bot.workflow import approval_rules
from providers.base import Evidence, ProviderError

log = structlog.get_logger(__name__)

FIRST_POLL = 5 * SECOND
SLOWEST_POLL = 3600 * SECOND
LOOK_AGAIN = 60 * SECOND
COUNTING = 60.0  # seconds that counting all deliveries of a broadcast may take
AT_ONCE = 10  # broadcasts whose vendor is asked in one go
IDS_A_POLL = 20  # a vendor without a batch read is asked one id at a time
UNKNOWN_LOOKS = tuple(minutes * 60 * SECOND for minutes in (1, 5, 15, 60, 24 * 60))


class Poller:
    """Tells threads about progress, polls vendors that do not call back, and closes what is final."""

    def __init__(self, runtime: Runtime, receiver: Receiver) -> None:
        self.database, self.settings, self.providers = runtime.database, runtime.settings, runtime.providers
        self.clock, self.wake = runtime.clock, runtime.wake
        self.receiver, self.proofs = receiver, receiver.proofs
        self.lanes = Lanes(Task.TRACK)

    async def tick(self) -> None:
        """Tell threads about progress, poll vendors that do not call back, and close what is final."""
        await self.begin()
        await self.lanes.settle()

    async def begin(self) -> None:
        """Start the same, without waiting for the vendors: one that hangs must not delay this."""
        waits = await self.database.read(lambda c: receipts.what_waits(c, self.clock()))
        if waits.progress and await self.database.write(self._post_progress):
            self.wake(Task.PAINT)
        if not (waits.sent or waits.unknown):
            return
        taken: defaultdict[str, list[Broadcast]] = defaultdict(list)
        for row in await self.database.write(partial(self._take, busy=self.lanes.busy())):
            taken[row.account].append(row)
        for account, rows in taken.items():
            self.lanes.start(account, partial(self._look_at, rows))

    async def _look_at(self, rows: Iterable[Broadcast]) -> None:
        """Look at each row. All are put off already, so one that breaks stops no other, and is looked at again soon."""
        for row in rows:
            try:
                await (self._look_at_sent if row.state is State.SENT else self._look_at_unknown)(row)
            except Exception as error:
                log.error("a look at one broke", broadcast=row.id, error=type(error).__name__)
                with suppress(DatabaseBusy, CommitUncertain):
                    await self.database.write(partial(queue.set_look_at, row=row, at=self.clock() + LOOK_AGAIN))

    def _post_progress(self, connection: Connection) -> bool:
        rows = receipts.progress_to_post(connection, self.clock())
        for row in rows:
            with alone(connection, "progress", row.id, row.workspace):
                notes.add_notes(
                    connection,
                    row,
                    self.clock(),
                    [Note(Translatable("Deliveries: {counts}", counts=progress_line(row)))],
                )
                receipts.mark_progress_posted(connection, row)
        return bool(rows)

    def _take(self, connection: Connection, busy: Collection[str]) -> list[Broadcast]:
        """Return the rows to ask vendors about. Rows of a busy account wait.

        Each is put off to its next time, so that no other process asks as well.
        """
        taken = []
        for state, next_time in ((State.SENT, self._next_poll), (State.UNKNOWN, self._next_look)):
            for row in queue.to_look_at(connection, state, self.clock(), AT_ONCE, busy):
                with alone(connection, "look", row.id, row.workspace):
                    queue.set_look_at(connection, row, next_time(row))
                    taken.append(row)
        return taken

    def _next_poll(self, row: Broadcast) -> Micros:
        """Return the time of the next poll: soon at first, then after a tenth of the time since it was accepted."""
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
        """Return the account, or None if it cannot know: another vendor has it now, or the mode is another one."""
        provider = self.providers.get(row.account)
        knows = provider is not None and provider.name == row.provider and row.mode == self.settings.mode
        return provider if knows else None

    async def _poll(self, provider: Account, row: Broadcast) -> None:
        turn = (self.clock() // SECOND) % max(len(row.ids), 1)  # a long list is read in turns, not always from its head
        ids = (row.ids[turn:] + row.ids[:turn])[:IDS_A_POLL]
        try:
            await self.receiver.record(row.account, await provider.poll(ids))
        except Exception as error:  # an adapter may be third-party code
            report = log.info if isinstance(error, ProviderError | DatabaseBusy | CommitUncertain) else log.error
            report("a poll came to nothing", broadcast=row.id, error=type(error).__name__)

    def _counted(self, connection: Connection, row: Broadcast) -> Recount | None:
        """Count its deliveries outside any write. Return None if there is nothing to end or to correct.

        This happens before its end, and now and then, since a process of the previous version keeps no `finals`.
        """
        current = broadcasts.find(connection, row.workspace, row.id)
        if current.state is not State.SENT or not (self._over(current) or _has_doubled(self._waited(current))):
            return None
        counted = receipts.recount(connection, current)
        return counted if self._over(current) or not counted.agrees else None

    def _finish(self, connection: Connection, counted: Recount) -> bool:
        """Correct its counts, and end it with the final report if it is over. Return False if it goes on."""
        current, now = broadcasts.find(connection, counted.row.workspace, counted.row.id, lock=True), self.clock()
        if current.state is not State.SENT:
            return False
        if not counted.agrees:
            if not counted.holds(current):
                queue.set_look_at(connection, current, now + FIRST_POLL)
                return False
            log.warning("the counts of a broadcast were put right", broadcast=current.id)
            current = receipts.note_progress(connection, current, counted.tally.counts, counted.tally.final, now)
        return self._over(current) and self._report(connection, current, counted.tally)

    def _report(self, connection: Connection, current: Broadcast, tally: DeliveryCounts) -> bool:
        """False when somebody else was faster."""
        now, account = self.clock(), self.providers.get(current.account)
        known = account.capabilities.reasons if account is not None else {}
        report = final_report(current, tally, campaigns.released_at(connection, current), known)
        note = Note(report, current.requester, aloud=True)
        ends: Changes = {"look_at": None, "progress_at": None}
        return (
            broadcasts.move(connection, current, Action.FINISH, actor="clock", at=now, notes=[note], **ends) is not None
        )

    def _over(self, row: Broadcast) -> bool:
        """Whether everything is final, or the wait for more has ended."""
        return all_final(row) or self._waited(row) >= micros(self.settings.report_after)

    def _waited(self, row: Broadcast) -> Micros:
        return self.clock() - (row.accepted_at or self.clock())

    async def _look_at_unknown(self, row: Broadcast) -> None:
        """Look for proof at the vendor, read-only. Only proof changes the state: seeing nothing proves nothing."""
        evidence = await self._evidence(row)
        await self.database.write(lambda c: self._weigh(c, row, evidence))
        self.wake(Task.PAINT, Task.TRACK)

    async def _evidence(self, row: Broadcast) -> Evidence:
        provider = self._vendor_of(row)
        if provider is None or not provider.capabilities.looks_up:
            return Evidence(False, "The vendor offers no way to check whether it went out.")
        try:
            return await provider.look_up(row.message(), row.staged, row.ids)
        except ProviderError as error:
            return Evidence(False, error.template, values=error.values)

    def _weigh(self, connection: Connection, row: Broadcast, evidence: Evidence) -> None:
        current, now = broadcasts.find(connection, row.workspace, row.id, lock=True), self.clock()
        if current.state is not State.UNKNOWN:
            return
        reported = vendor_ids.ids_with_news(connection, row.workspace, row.id)
        if reported and not evidence.sent:  # from before it was unknown: its sender had died unnoticed
            evidence = Evidence(True, REPORTED, reported)
        if evidence.sent:
            sentence = Translatable(evidence.sentence, **evidence.values)
            self.proofs.mark_proven(connection, current, evidence.ids or current.ids, sentence)
        elif _worth_a_note(now - current.changed_at):
            template = "I still do not know whether it went out. {evidence} Please say on its card what happened."
            seen = Translatable(evidence.sentence, **evidence.values)
            approvers = approval_rules.approvers_today(
                self.settings.approval, current
            )  # they alone may say that it did not
            note = Note(Translatable(template, evidence=seen), " ".join([current.requester, *approvers]))
            audit.write_audit(connection, current, "clock", "ask", current.state, now, str(seen))
            notes.add_notes(connection, current, now, [note])


def _has_doubled(waited: Micros) -> bool:
    """Whether the wait, in first polls, has passed a power of two since the previous look, a tenth earlier.

    That makes a handful of counts in a day, with no need to remember when the last one was.
    """
    polls = waited // FIRST_POLL
    return polls.bit_length() > (polls * 10 // 11).bit_length()


def _worth_a_note(since: Micros) -> bool:
    """Whether to tell people about this look: only about the first one and the daily ones."""
    return since < UNKNOWN_LOOKS[1] or since >= UNKNOWN_LOOKS[-1]
