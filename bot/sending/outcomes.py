"""Writes the outcome of a release, however long the database is away."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog
from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Micros, backoff
from bot.domain.errors import NotFound
from bot.domain.i18n import Translatable, Value
from bot.domain.id_ranges import ids_in_words
from bot.domain.lifecycle import Action, Hold, State
from bot.sending.breakers import OURS, Breakers
from bot.sending.setbacks import Setbacks
from bot.storage import audit, broadcasts, campaigns, keys, notes, vendor_ids
from bot.storage.broadcast_rows import NO_LEASE, Changes
from bot.storage.database import CommitUncertain, DatabaseBusy
from bot.storage.notes import Note
from bot.workflow import approval_rules
from bot.workflow.gate import Gate, Gates
from bot.workflow.kill_switch import KillSwitch
from providers.base import Accepted, Blocked, ProviderError, Refused, Throttled, Uncertain
from providers.reading import UNREADABLE

log = structlog.get_logger(__name__)
UNWRITTEN_PAUSE = 1.0  # seconds before the next try to write an answer that the database did not take
MAX_TRIES = 8
OTHER_TIME = 300 * SECOND


class Outcomes:
    """Writes the outcome of a release, or of an attempt that did not get that far."""

    def __init__(
        self, runtime: Runtime, gates: Gates, breakers: Breakers, setbacks: Setbacks, switch: KillSwitch
    ) -> None:
        self.database, self.settings, self.providers = runtime.database, runtime.settings, runtime.providers
        self.clock, self.gates, self.breakers = runtime.clock, gates, breakers
        self.setbacks, self.switch = setbacks, switch

    async def write_durably(self, row: Broadcast, work: Callable[[Connection], object]) -> None:
        """Write a vendor's answer, however long the database is away: it is known nowhere else."""
        while True:
            try:
                await self.database.write_until(math.inf, work)
                return
            except NotFound:
                log.error("what an answer was about is gone", broadcast=row.id, attempt=row.attempt)
                return
            except (DatabaseBusy, CommitUncertain):
                log.exception("could not write an outcome yet", broadcast=row.id)
            except Exception:
                log.exception("could not write an outcome", broadcast=row.id)
                work = partial(self._write_unwritable, row=row)  # do not retry forever what cannot be written
            await asyncio.sleep(UNWRITTEN_PAUSE)

    def _write_unwritable(self, connection: Connection, row: Broadcast) -> None:
        """Mark it unknown and ask people, because its outcome could not be stored."""
        current = broadcasts.find(connection, row.workspace, row.id, lock=True)
        if self.holds(current, row):
            self._write_lost(connection, current, Uncertain("the answer could not be stored."))

    def write_outcome(self, connection: Connection, row: Broadcast, outcome: Outcome) -> None:
        """Write the outcome of this attempt. If the attempt was given up meanwhile, write it as a late answer."""
        current = broadcasts.find(connection, row.workspace, row.id, lock=True)
        if not self.holds(current, row):
            self._write_late(connection, current, row, outcome)
        elif isinstance(outcome, Accepted):
            self._write_accepted(connection, current, outcome)
        elif isinstance(outcome, Nothing):
            self.write_nothing_left(connection, current, outcome.error)
        else:
            self._write_lost(connection, current, outcome)

    def _write_late(self, connection: Connection, current: Broadcast, row: Broadcast, outcome: Outcome) -> None:
        """Handle an answer after the lease lapsed, or one that a commit with a lost result had already written."""
        same = (current.version, current.attempt) == (row.version, row.attempt)
        if same and isinstance(outcome, Accepted):
            self._write_accepted_late(connection, current, outcome)
        elif same and isinstance(outcome, Nothing) and current.state is State.UNKNOWN:
            self._post_nothing_left(connection, current, outcome.error)
        log.warning("an answer came late", broadcast=row.id, attempt=row.attempt, state=current.state)

    def _write_accepted_late(self, connection: Connection, current: Broadcast, accepted: Accepted) -> None:
        """Write the proof that it went out, whatever was assumed meanwhile. Its ids link its receipts to it."""
        if current.ids == accepted.ids and not current.claimed:
            return
        now = self.clock()
        vendor_ids.own_ids(connection, current, accepted.ids)
        template = "{vendor} did accept it, but I could not save its answer in time. Ids: {ids}"
        new_notes = [
            Note(Translatable(template, **self._vendor_and_ids(current, accepted.ids)), current.requester, aloud=True)
        ]
        if current.state is State.UNKNOWN:
            changes: Changes = {"ids": accepted.ids, "accepted_at": now, "look_at": now, "failure": None}
            broadcasts.move(
                connection, current, Action.PROVE, actor=current.provider, at=now, notes=new_notes, **changes
            )
        else:
            known: Changes = {"ids": accepted.ids}
            if current.claimed:
                known["failure"] = None
            broadcasts.touch(connection, current, now, **known)
            audit.write_audit(connection, current, current.provider, "accept_late", current.state, now)
            notes.add_notes(connection, current, now, new_notes)

    def _post_nothing_left(self, connection: Connection, current: Broadcast, error: Exception) -> None:
        """Tell approvers what they need to know: only they may end an unknown broadcast as failed."""
        now = self.clock()
        campaigns.mark_released(connection, current, None)
        if not keys.first_time(connection, current.workspace, keys.of_late_answer(current), now):
            return
        template = (
            "The answer came late: {cause} This means that it did not go out. An approver can say so on its card."
        )
        approvers = approval_rules.approvers_today(self.settings.approval, current)
        told = approval_rules.notified(self.settings.approval, approvers)
        note = Note(Translatable(template, cause=cause_of(error)), " ".join([current.requester, *told]))
        audit.write_audit(connection, current, current.provider, "refuse_late", current.state, now)
        notes.add_notes(connection, current, now, [note])

    def _write_accepted(self, connection: Connection, row: Broadcast, accepted: Accepted) -> None:
        now = self.clock()
        self.breakers.count_failure(connection, row, None)
        vendor_ids.own_ids(connection, row, accepted.ids)
        new_notes = [
            Note(
                Translatable("{vendor} accepted it. Ids: {ids}", **self._vendor_and_ids(row, accepted.ids)),
                row.requester,
            )
        ]
        new_notes += [*_other_time(accepted, now), *self._fewer(row, accepted)]
        changes: Changes = {"ids": accepted.ids, "accepted_at": now, "look_at": now, **NO_LEASE}
        broadcasts.move(connection, row, Action.ACCEPT, actor=row.provider, at=now, notes=new_notes, **changes)

    def _fewer(self, row: Broadcast, accepted: Accepted) -> list[Note]:
        """Return a note if the vendor took it for only some people. It is never resent to the others by itself."""
        each = self.providers[row.account].capabilities.id_each
        if not each or row.size is None or row.size == UNREADABLE or len(accepted.ids) >= row.size:
            return []
        return [
            Note(
                Translatable(
                    "The vendor gave an id for only {ids} of {size} people. It will not be sent again to the others.",
                    ids=len(accepted.ids),
                    size=row.size,
                )
            )
        ]

    def _vendor_and_ids(self, row: Broadcast, ids: tuple[str, ...]) -> dict[str, Value]:
        return {"vendor": self.providers[row.account].title, "ids": ids_in_words(ids)}

    def write_nothing_left(self, connection: Connection, row: Broadcast, error: Exception) -> None:
        """Write that nothing was sent: the vendor said no, or was never reached. So "failed" is true."""
        now = self.clock()
        self.breakers.count_failure(connection, row, error)
        campaigns.mark_released(connection, row, None)
        sentence = cause_of(error)
        if isinstance(error, OURS):
            self._wait_again(connection, row, now)
        elif isinstance(error, Blocked):
            self.setbacks.hold(connection, row, Gate(Hold.BLOCKED, sentence))
        elif isinstance(error, Refused) or row.tries >= MAX_TRIES:
            new_notes = [Note(sentence, row.requester, aloud=True), *self._alert(row, error)]
            changes: Changes = {"failure": sentence, "due": None, **NO_LEASE}
            broadcasts.move(connection, row, Action.REFUSE, actor=row.provider, at=now, notes=new_notes, **changes)
        else:
            again = max(now + int(pause_before(row.tries, error) * SECOND), row.due or 0)
            waits = Note(
                Translatable(
                    "{cause} Nothing was sent. The bot will try again {again_at}.", cause=sentence, again_at=again
                )
            )
            new_notes = [waits] if row.tries == 1 else []
            back: Changes = {"due": again, **NO_LEASE}
            broadcasts.move(connection, row, Action.PUT_BACK, actor=row.provider, at=now, notes=new_notes, **back)

    def _wait_again(self, connection: Connection, row: Broadcast, now: Micros) -> None:
        """Treat it as not tried: hold it for what stopped it, or let it go again in a moment."""
        gate = self.gates.closed(connection, row, now)
        if gate is not None:
            self.setbacks.hold(connection, row, gate)
            return
        self.setbacks.put_back(connection, row, now, "held_up", due=max(now + 2 * SECOND, row.due or 0))

    def _alert(self, row: Broadcast, error: Exception) -> list[Note]:
        """Return a note if the vendor rejects the account's settings, since every send fails until they are fixed."""
        setting = error.setting if isinstance(error, Refused) else None
        if setting is None:
            return []
        log.error("an account does not work", account=row.account, setting=setting, broadcast=row.id)
        sentence = Translatable(
            "Please check the setting `{setting}`. Nothing can be sent with its present value.",
            setting=f"accounts.{row.account}.{setting}",
        )
        return [Note(sentence, mention=" ".join(self.settings.admins) or None)]

    def _write_lost(self, connection: Connection, row: Broadcast, error: Exception) -> None:
        if not self.switch.stopping:
            self.breakers.count_failure(connection, row, error)
        if not isinstance(error, Uncertain):
            log.error("a release broke", broadcast=row.id, error=type(error).__name__)
        cause = cause_of(error) if isinstance(error, Uncertain) else Translatable("the answer was lost.")
        broadcasts.move_all(connection, [self.setbacks.losing(row, cause)])

    @staticmethod
    def holds(current: Broadcast, row: Broadcast) -> bool:
        """Whether this attempt is still the current one, and its lease is still with the same owner."""
        same = (current.version, current.attempt, current.owner) == (row.version, row.attempt, row.owner)
        return same and current.state is row.state


def cause_of(error: Exception) -> Translatable:
    """Return the reason for people, with the vendor's own code so that they can look it up there."""
    if not isinstance(error, ProviderError):
        return Translatable("Something went wrong in the bot before sending.")
    cause = Translatable(error.template, **error.values)
    if not error.code or re.search(rf"\b{re.escape(error.code)}\b", str(cause)):
        return cause
    return Translatable("{cause} The vendor's code: {code}.", cause=cause, code=error.code)


def _other_time(accepted: Accepted, now: Micros) -> list[Note]:
    """Return a note if the vendor plans another send time, although it was asked to send at once."""
    try:
        sends = datetime.fromisoformat(accepted.sending_at or "")
        apart = int(sends.timestamp()) * SECOND - now if sends.tzinfo else 0
    except (ValueError, OverflowError):
        return []
    if abs(apart) <= OTHER_TIME:
        return []
    template = (
        "The vendor says its send time is {sends_at}, but I asked it to send at once. Please check with the vendor."
    )
    return [Note(Translatable(template, sends_at=now + apart), aloud=True)]


def pause_before(tries: int, error: Exception) -> float:
    """Seconds until the next try: what the vendor asked for, else doubling from two seconds."""
    if isinstance(error, Throttled):
        return max(error.wait, 1.0)
    return backoff(tries, 1.0, 120.0)


@dataclass(frozen=True)
class Nothing:
    """Nothing was sent, and why."""

    error: Exception


Outcome = Accepted | Nothing | Exception
