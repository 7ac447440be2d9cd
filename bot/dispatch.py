"""Claims what is due, stages it, commits the intent, releases it once, and writes down what came of it."""

from __future__ import annotations

import asyncio
import hmac
import itertools
import math
import re
from base64 import urlsafe_b64encode
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Unpack

import structlog
from sqlalchemy import Connection

from bot import policy
from bot.clock_guard import ClockGuard
from bot.config.accounts import Account
from bot.config.runtime import Runtime
from bot.config.settings import Settings
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Clock, Micros, micros
from bot.domain.errors import NotFound
from bot.domain.i18n import Translatable, Value
from bot.domain.lifecycle import Action, Hold, Phase, State
from bot.gate import Gate, Gates
from bot.kill_switch import KillSwitch
from bot.scheduler import Lanes, Task
from bot.staging import STAGING_DEADLINE, Overtaken, Stager, price_of
from bot.storage import audit, broadcasts, campaigns, cards, keys, notes, queue, sql, vendor_ids
from bot.storage.broadcast_rows import NO_LEASE, Changes
from bot.storage.broadcasts import Step
from bot.storage.database import Busy, Unsure
from bot.storage.notes import Note
from bot.storage.troubles import alone, together
from bot.storage.votes import votes_for
from bot.voices import asks
from bot.workflow import Workflow
from providers.base import (
    Accepted,
    Blocked,
    NotReady,
    ProviderError,
    Purpose,
    Receipts,
    Refused,
    ReleaseGuard,
    Throttled,
    Unavailable,
    Uncertain,
    last_moment,
)
from providers.reading import UNREADABLE

log = structlog.get_logger(__name__)

CLAIM_AT_ONCE = 8
ACCOUNT_AT_ONCE = 4  # sends of one account under way in one process; the others of its flood wait their turn
LEASE_MARGIN = 20.0  # seconds by which a lease outlives the deadline of the work done under it
UNWRITTEN_PAUSE = 1.0  # seconds before an answer is written again that the database did not take
LAST_WRITE = 5.0  # seconds that a stopping process goes on trying to write an answer down
MAX_TRIES = 8
FIRST_LOOK = 60 * SECOND
OTHER_TIME = 300 * SECOND
SIZE_AGAIN = 300 * SECOND
HOUR = 3600 * SECOND
BREAKER_FIRST, BREAKER_LONGEST = 30 * SECOND, 300 * SECOND

MAY_HAVE_GONE = (
    "It may have gone out: {cause} It will not be sent again by itself. "
    "Please look at the vendor, then say on its card what happened."
)


class HeldBack(Unavailable):
    """We did not let it go ourselves, just before its first byte. The vendor has no part in it."""


#: What held a send up was ours, not the vendor's: it counts as no try and opens no breaker.
OURS = (HeldBack, Busy, Unsure)


@dataclass(frozen=True)
class UnderWay:
    """A try of a broadcast in this process, and whose account it takes up."""

    account: str
    task: asyncio.Task[None]


class Leases:
    """How long a broadcast stays with the process that works on it.

    `staging`: seconds in which a claimed broadcast is ready for its release, or is put back; `margin`: seconds by
    which a lease outlives the deadline of the work done under it.
    """

    def __init__(self, runtime: Runtime, *, staging: float = STAGING_DEADLINE, margin: float = LEASE_MARGIN) -> None:
        self.clock, self.lease_clock = runtime.clock, runtime.lease_clock
        self.staging, self.margin = staging, margin

    def now(self, connection: Connection) -> Micros:
        """Leases are judged by the database's clock where several machines share it."""
        found = self.lease_clock(connection)
        return self.clock() if found is None else found

    def until(self, connection: Connection, deadline: float) -> Micros:
        return self.now(connection) + int((deadline + self.margin) * SECOND)


class Tokens:
    """Addresses at which a vendor calls back about one dispatch."""

    def __init__(self, runtime: Runtime) -> None:
        self.settings, self.providers, self.key = runtime.settings, runtime.providers, runtime.key

    def callback_url(self, row: Broadcast) -> str | None:
        per_dispatch = self.providers[row.account].capabilities.receipts is Receipts.PER_DISPATCH
        if self.settings.public_url is None or not per_dispatch:
            return None
        return f"{self.settings.public_url.rstrip('/')}/callbacks/{row.account}/{self.callback_token(row)}"

    def callback_token(self, row: Broadcast) -> str:
        return token_for(self.key, f"{row.workspace}/{row.dispatch}")


class Steps:
    """Steps that a broadcast takes when it is held, put back, or lost track of."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings, self.clock = settings, clock

    def holding(self, row: Broadcast, gate: Gate) -> Step:
        mention = None if gate.until else " ".join([row.requester, *gate.ask])
        said = [Note(gate.sentence, mention=mention)]
        changes: Changes = {"hold": gate.hold, "hold_until": gate.until, "due": None, **NO_LEASE}
        changes |= {"expires_at": None} if gate.until else asks(self.clock(), self.settings.approval)
        return Step(row, Action.HOLD, "dispatcher", self.clock(), gate.hold, said, changes)

    def hold(self, connection: Connection, row: Broadcast, gate: Gate) -> bool:
        """False when somebody else was faster."""
        return bool(broadcasts.move_all(connection, [self.holding(row, gate)]))

    def losing(self, row: Broadcast, cause: Translatable) -> Step:
        now = self.clock()
        told = Translatable(MAY_HAVE_GONE, cause=cause)
        changes: Changes = {"failure": cause, "look_at": now + FIRST_LOOK, "due": None, **NO_LEASE}
        approvers = policy.approvers_today(self.settings.approval, row)  # they alone may say that it did not go out
        said = [Note(told, " ".join([row.requester, *approvers]), aloud=True)]
        return Step(row, Action.LOSE_TRACK, row.provider, now, None, said, changes)

    def put_back(
        self, connection: Connection, row: Broadcast, now: Micros, reason: str, **changes: Unpack[Changes]
    ) -> None:
        """It was no try at the vendor, so it is not counted as one."""
        back: Changes = {**NO_LEASE, "tries": max(row.tries - 1, 0), **changes}
        broadcasts.move(connection, row, Action.PUT_BACK, actor="dispatcher", at=now, reason=reason, **back)


class AccountLimits:
    """What an account's vendor takes just now: nothing while it cannot be reached, and one prepared campaign at a time.

    `preparing`: the accounts whose vendor prepares a campaign before it is released.
    """

    def __init__(self, runtime: Runtime, leases: Leases) -> None:
        self.database, self.providers, self.clock = runtime.database, runtime.providers, runtime.clock
        self.owner, self.leases = runtime.owner, leases
        self.preparing = [name for name, account in runtime.providers.items() if account.capabilities.two_step]

    def within_reach(self, connection: Connection, row: Broadcast, now: Micros) -> bool:
        """After some failures in a row nobody tries an account for a while, and then one of its broadcasts does."""
        breaker = keys.breaker(connection, row.account)
        if not breaker.has_tripped:
            return True
        if breaker.until <= now:
            keys.set_breaker(connection, row.account, replace(breaker, until=now + BREAKER_FIRST), now)
            return True
        broadcasts.touch(connection, row, now, due=max(breaker.until, row.due or 0))
        if keys.first_time(connection, row.workspace, f"waits:{row.id}:{row.version}:{row.start_at}", now):
            vendor = self.providers[row.account].title
            told = Translatable("{vendor} cannot be reached just now. It waits; nothing was sent.", vendor=vendor)
            notes.say(connection, row, now, [Note(told)])
        return False

    def count_failure(self, connection: Connection, row: Broadcast, error: Exception | None) -> None:
        """A clear answer of any kind closes the breaker of its account; what was our own doing says nothing of it."""
        if isinstance(error, OURS) or not isinstance(error, ProviderError | None):
            return
        sql.alone(connection, f"breaker:{row.account}")
        known, now = keys.breaker(connection, row.account), self.clock()
        if not isinstance(error, Unavailable | Uncertain):
            if known.failures:
                keys.set_breaker(connection, row.account, keys.Breaker(), now)
            return
        failures = known.failures + 1
        pause = min(BREAKER_FIRST * 2 ** max(failures - keys.BREAKER_FAILURES, 0), BREAKER_LONGEST)
        keys.set_breaker(connection, row.account, keys.Breaker(failures, now + pause), now)
        if failures == keys.BREAKER_FAILURES:
            log.error("an account's vendor cannot be reached", account=row.account)

    def slots(self, connection: Connection, lease_now: Micros) -> dict[str, str]:
        return queue.slots(connection, self.preparing, lease_now)

    def has_slot(self, connection: Connection, row: Broadcast) -> bool:
        """A vendor with two steps has one campaign open per account at a time; the others queue by their time."""
        if row.account not in self.preparing:
            return True
        sql.alone(connection, f"account:{row.account}")
        if self.is_quoting(connection, row.account):
            return False
        return self.slots(connection, self.leases.now(connection)).get(row.account, row.id) == row.id

    def may_quote(self, connection: Connection, row: Broadcast, taken: Mapping[str, str]) -> bool:
        sql.alone(connection, f"account:{row.account}")
        if row.account in taken or self.is_quoting(connection, row.account):
            return False
        return self.take_quote(connection, row.account, STAGING_DEADLINE)

    def take_quote(self, connection: Connection, account: str, seconds: float) -> bool:
        """A quote takes the account's one place until it is done, or at the latest until then. 0: it is done."""
        return keys.take_lease(connection, f"quote:{account}", self.owner, seconds, self.leases.now(connection))

    def is_quoting(self, connection: Connection, account: str) -> bool:
        """Does anybody ask for a quote there? Where only one process dispatches, another one is a dead one."""
        holder = keys.lease_holder(connection, f"quote:{account}", self.leases.now(connection))
        return holder is not None and (holder == self.owner or not self.database.exclusive)


class Claims:
    """What this process takes on: what is due, what a dead process left, what may go again.

    `recovered`: a first round has put right what others left. `under_way`: by workspace and broadcast.
    """

    def __init__(self, runtime: Runtime, gates: Gates, limits: AccountLimits, steps: Steps, switch: KillSwitch) -> None:
        self.settings, self.database, self.providers = runtime.settings, runtime.database, runtime.providers
        self.clock, self.owner = runtime.clock, runtime.owner
        self.gates, self.limits, self.leases, self.steps, self.switch = gates, limits, limits.leases, steps, switch
        self.recovered = False
        self.under_way: dict[tuple[str, str], UnderWay] = {}

    def work_waits(self, connection: Connection) -> bool:
        """Is there something for `_tick`? What it does has its question here, and its case in the tests."""
        return self.switch.has_changed(connection) or queue.work_waits(
            connection,
            self.clock(),
            paused=self.switch.paused,
            soon=self.clock() + micros(self.settings.approval.undo),
            lease_at=self.leases.now(connection),
            preparing=self.limits.preparing,
            owner=self.owner,
            working_on=[id for _, id in self.under_way],
        )

    def claim_due_work(self, connection: Connection) -> tuple[int, list[Broadcast]]:
        """How many rows changed, so that there may be more behind them, and what is to be started."""
        self.switch.read(connection)
        lease_now = self.leases.now(connection)
        changed = self._recover(connection, lease_now) + self._hold_late(connection, lease_now)
        changed += self._reopen(connection)
        put_aside, claimed = self._claim(connection, lease_now)
        return changed + put_aside, [*claimed, *self._claim_early(connection, lease_now)]

    def _claim(self, connection: Connection, lease_now: Micros) -> tuple[int, list[Broadcast]]:
        """The oldest due broadcasts, few of each account: while one account's flood waits, the others go on.

        How many of what is due were held or put off, and what goes now.
        """
        self._hold_stranded(connection)
        load, claimed, put_aside = Counter(work.account for work in self.under_way.values()), list[Broadcast](), 0
        quoting = {name for name in self.limits.preparing if self.limits.is_quoting(connection, name)}
        for _ in self.providers:
            free = [name for name in self.providers if load[name] < ACCOUNT_AT_ONCE and name not in quoting]
            for row in self._due(connection, lease_now, free):
                if load[row.account] >= ACCOUNT_AT_ONCE:
                    continue
                with alone(connection, "dispatch", row.id, row.workspace):
                    if self._hold_or_postpone(connection, row):
                        put_aside += 1
                    elif self.limits.has_slot(connection, row):
                        moved = self._claim_one(connection, row)
                        claimed += moved
                        load[row.account] += len(moved)
            if all(load[name] < ACCOUNT_AT_ONCE for name in free):
                break  # nobody stood in anybody's way
        return put_aside, claimed

    def _hold_late(self, connection: Connection, lease_now: Micros) -> int:
        """Nobody was there for these, and all of them ask a person: many at once, so that none waits behind them."""
        now, accounts = self.clock(), list(self.providers)
        before = now - micros(self.settings.grace) - 1
        late = queue.due(connection, before, queue.AT_ONCE, lease_at=lease_now, taken={}, accounts=accounts)

        def holding(row: Broadcast) -> Step | None:
            gate = self.gates.closed(connection, row, now)
            return None if gate is None else self.steps.holding(row, gate)

        return _move_together(connection, late, holding)

    def _due(self, connection: Connection, lease_now: Micros, accounts: list[str]) -> list[Broadcast]:
        """Those that wait for their account's one place are left out, so that they stand in nobody else's way."""
        now = self.clock()
        taken = self.limits.slots(connection, lease_now)
        return queue.due(connection, now, CLAIM_AT_ONCE, lease_at=lease_now, taken=taken, accounts=accounts)

    def _hold_or_postpone(self, connection: Connection, row: Broadcast) -> bool:
        """Held by a gate, or put off since its vendor cannot be reached."""
        now = self.clock()
        gate = self.gates.closed(connection, row, now)
        if gate is not None:
            return self.steps.hold(connection, row, gate)
        return not self.limits.within_reach(connection, row, now)

    def _hold_stranded(self, connection: Connection) -> None:
        """An account that our settings lack may be in those of another process; nobody having it is found out late."""
        now = self.clock()
        late = now - micros(self.settings.grace) - 1
        for row in queue.stranded(connection, late, list(self.providers)):
            with alone(connection, "dispatch", row.id, row.workspace):
                gate = self.gates.closed(connection, row, now)
                if gate is not None and gate.hold is Hold.LATE:
                    template = (
                        "The bot's settings have no account {account}, so it did not start. Put it back, or drop this."
                    )
                    gate = replace(gate, sentence=Translatable(template, account=row.account))
                    self.steps.hold(connection, row, gate)

    def _claim_early(self, connection: Connection, lease_now: Micros) -> list[Broadcast]:
        """Inside the undo window: what can be prepared by now, so that people see its size and cost before it goes."""
        if not self.limits.preparing:
            return []
        now, claimed = self.clock(), []
        until = now + micros(self.settings.approval.undo)
        until_then = self.leases.until(connection, self.leases.staging)
        reached = [name for name in self.limits.preparing if not keys.breaker(connection, name).is_open(now)]
        for row in queue.to_stage(connection, reached, now, until, lease_at=lease_now):
            with alone(connection, "dispatch", row.id, row.workspace):
                if self.gates.closed(connection, row, now) is None and self.limits.has_slot(connection, row):
                    # an attempt of its own: the vendor takes each request id once
                    lease: Changes = {"attempt": row.attempt + 1, "owner": self.owner, "lease_until": until_then}
                    leased = broadcasts.touch(connection, row, now, **lease)
                    claimed += [leased] if leased else []
        return claimed

    def _claim_one(self, connection: Connection, row: Broadcast) -> list[Broadcast]:
        now = self.clock()
        changes: Changes = {"attempt": row.attempt + 1, "owner": self.owner, "phase": Phase.STAGING}
        changes |= {"tries": row.tries + 1, "lease_until": self.leases.until(connection, self.leases.staging)}
        moved = broadcasts.move(connection, row, Action.START, actor="dispatcher", at=now, **changes)
        return [moved] if moved else []

    def give_back(self, connection: Connection, claimed: list[Broadcast]) -> None:
        """As if they had not been claimed: another process, or the next one, starts them at once."""
        now = self.clock()
        for row in claimed:
            with alone(connection, "dispatch", row.id, row.workspace):
                if row.state is State.SENDING:
                    self.steps.put_back(connection, row, now, "stopping")
                else:
                    broadcasts.touch(connection, row, now, **NO_LEASE)

    def _reopen(self, connection: Connection) -> int:
        """What was held for the hour alone goes on when the window opens, or when a pause over that time has ended."""
        rows = queue.reopened(connection, self.clock(), self.switch.paused)
        return _move_together(connection, rows, partial(self._opening, connection))

    def _opening(self, connection: Connection, row: Broadcast) -> Step:
        """After a pause it is late by somebody's will: that is said, and leaves a moment in which to stop it."""
        now = self.clock()
        starts_at = now
        opened: Changes = {"hold": None, "hold_until": None, "due": starts_at, "expires_at": None}
        opened["start_at"] = row.hold_until
        resumed_at = keys.resumed_at(connection, row.workspace)
        if resumed_at <= (row.hold_until or 0):
            return Step(row, Action.RESUME, "clock", now, changes=opened)
        starts_at = now + micros(self.settings.approval.undo)
        opened |= {"start_at": resumed_at, "due": starts_at}
        template = "It was due {opens_at}, while sending was paused. Sending has resumed, so it starts {start_at}."
        said = [Note(Translatable(template, opens_at=row.hold_until or 0, start_at=starts_at), mention=row.requester)]
        return Step(row, Action.RESUME, "clock", now, None, said, opened)

    def _recover(self, connection: Connection, lease_now: Micros) -> int:
        """A lapsed lease: what was being staged starts over, what was being released is unknown for ever."""
        now, freed = self.clock(), 0
        first = self.database.exclusive and not self.recovered  # whose leases there are, they died before we began
        if first:
            freed = queue.free_staged_by_others(connection, self.owner)
            campaigns.hurry_leftovers(connection, now)
        working_on = [id for _, id in self.under_way]
        rows = queue.abandoned(connection, self.owner, working_on, lease_at=lease_now, alone=first)
        return freed + _move_together(connection, rows, self._ending)

    def _ending(self, row: Broadcast) -> Step:
        """Of an attempt that nobody carries on."""
        if row.phase is Phase.RELEASING:
            return self.steps.losing(row, Translatable("the bot stopped while it was going out."))
        back: Changes = {**NO_LEASE}  # due as it was: our clock may be behind the others'
        return Step(row, Action.PUT_BACK, "clock", self.clock(), "lapsed", changes=back)


class Outcomes:
    """Writes down what came of a release, or of an attempt that did not come so far."""

    def __init__(self, runtime: Runtime, gates: Gates, limits: AccountLimits, steps: Steps, switch: KillSwitch) -> None:
        self.database, self.settings, self.providers = runtime.database, runtime.settings, runtime.providers
        self.clock, self.gates, self.limits, self.steps, self.switch = runtime.clock, gates, limits, steps, switch

    async def write_durably(self, row: Broadcast, work: Callable[[Connection], object]) -> None:
        """Write a vendor's answer, however long the database is away: it is known nowhere else."""
        while True:
            try:
                await self.database.write_until(math.inf, work)
                return
            except NotFound:
                log.error("what an answer was about is gone", broadcast=row.id, attempt=row.attempt)
                return
            except (Busy, Unsure):
                log.exception("could not write an outcome yet", broadcast=row.id)
            except Exception:
                log.exception("could not write an outcome", broadcast=row.id)
                work = partial(self._write_unwritable, row=row)  # nothing that can be written is waited for endlessly
            await asyncio.sleep(UNWRITTEN_PAUSE)

    def _write_unwritable(self, connection: Connection, row: Broadcast) -> None:
        """What came of it could not be stored, whatever was in it: that is not known any more, and people are asked."""
        current = broadcasts.find(connection, row.workspace, row.id, lock=True)
        if self.holds(current, row):
            self._write_lost(connection, current, Uncertain("the answer could not be stored."))

    def write_outcome(self, connection: Connection, row: Broadcast, outcome: Outcome) -> None:
        """What came of this attempt, if it is still the one. One that was given up meanwhile hears it late."""
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
        """The lease lapsed before the answer could be written, or it was written and that was not known."""
        same = (current.version, current.attempt) == (row.version, row.attempt)
        if same and isinstance(outcome, Accepted):
            self._write_accepted_late(connection, current, outcome)
        elif same and isinstance(outcome, Nothing) and current.state is State.UNKNOWN:
            self._tell_nothing_left(connection, current, outcome.error)
        log.warning("an answer came late", broadcast=row.id, attempt=row.attempt, state=current.state)

    def _write_accepted_late(self, connection: Connection, current: Broadcast, accepted: Accepted) -> None:
        """It is proof that it went out, whatever was thought of it meanwhile. Its ids bring its receipts home."""
        if current.ids == accepted.ids and not current.claimed:
            return
        now = self.clock()
        vendor_ids.own_ids(connection, current, accepted.ids)
        template = "{vendor} did accept it; its answer could not be written down in time. Ids: {ids}"
        said = [Note(Translatable(template, **self._ids_told(current, accepted.ids)), current.requester, aloud=True)]
        if current.state is State.UNKNOWN:
            changes: Changes = {"ids": accepted.ids, "accepted_at": now, "look_at": now, "failure": None}
            broadcasts.move(connection, current, Action.PROVE, actor=current.provider, at=now, said=said, **changes)
        else:
            known: Changes = {"ids": accepted.ids}
            if current.claimed:
                known["failure"] = None
            broadcasts.touch(connection, current, now, **known)
            audit.write_audit(connection, current, current.provider, "accept_late", current.state, now)
            notes.say(connection, current, now, said)

    def _tell_nothing_left(self, connection: Connection, current: Broadcast, error: Exception) -> None:
        """Only an approver ends what is unknown as failed, so this tells what they need to know."""
        now = self.clock()
        campaigns.mark_released(connection, current, None)
        if not keys.first_time(connection, current.workspace, f"late:{current.id}:{current.attempt}", now):
            return
        template = "The answer came late: {cause} So it did not go out. An approver can say so on its card."
        approvers = policy.approvers_today(self.settings.approval, current)
        told = Note(Translatable(template, cause=_told(error)), " ".join([current.requester, *approvers]))
        audit.write_audit(connection, current, current.provider, "refuse_late", current.state, now)
        notes.say(connection, current, now, [told])

    def _write_accepted(self, connection: Connection, row: Broadcast, accepted: Accepted) -> None:
        now = self.clock()
        self.limits.count_failure(connection, row, None)
        vendor_ids.own_ids(connection, row, accepted.ids)
        said = [
            Note(Translatable("{vendor} accepted it. Ids: {ids}", **self._ids_told(row, accepted.ids)), row.requester)
        ]
        said += [*_other_time(accepted, now), *self._fewer(row, accepted)]
        changes: Changes = {"ids": accepted.ids, "accepted_at": now, "look_at": now, **NO_LEASE}
        broadcasts.move(connection, row, Action.ACCEPT, actor=row.provider, at=now, said=said, **changes)

    def _fewer(self, row: Broadcast, accepted: Accepted) -> list[Note]:
        """Taken for some of the people only: told as it is, and never sent again to the others by itself."""
        each = self.providers[row.account].capabilities.id_each
        if not each or row.size is None or row.size == UNREADABLE or len(accepted.ids) >= row.size:
            return []
        return [
            Note(
                Translatable(
                    "The vendor gave an id for {ids} of {size} people only. The others are not sent again.",
                    ids=len(accepted.ids),
                    size=row.size,
                )
            )
        ]

    def _ids_told(self, row: Broadcast, ids: tuple[str, ...]) -> dict[str, Value]:
        shown = ", ".join(ids[:100])
        more = f" … (+{len(ids) - 100})" if len(ids) > 100 else ""
        return {"vendor": self.providers[row.account].title, "ids": shown + more}

    def write_nothing_left(self, connection: Connection, row: Broadcast, error: Exception) -> None:
        """The vendor said no, or was never reached. Nothing was sent, so saying "failed" is true."""
        now = self.clock()
        self.limits.count_failure(connection, row, error)
        campaigns.mark_released(connection, row, None)
        sentence = _told(error)
        if isinstance(error, OURS):
            self._wait_again(connection, row, now)
        elif isinstance(error, Blocked):
            self.steps.hold(connection, row, Gate(Hold.BLOCKED, sentence))
        elif isinstance(error, Refused) or row.tries >= MAX_TRIES:
            said = [Note(sentence, row.requester, aloud=True), *self._alert(row, error)]
            changes: Changes = {"failure": sentence, "due": None, **NO_LEASE}
            broadcasts.move(connection, row, Action.REFUSE, actor=row.provider, at=now, said=said, **changes)
        else:
            again = max(now + int(_pause(row.tries, error) * SECOND), row.due or 0)
            waits = Note(
                Translatable("{cause} Nothing was sent; it tries again {again_at}.", cause=sentence, again_at=again)
            )
            told = [waits] if row.tries == 1 else []
            back: Changes = {"due": again, **NO_LEASE}
            broadcasts.move(connection, row, Action.PUT_BACK, actor=row.provider, at=now, said=told, **back)

    def _wait_again(self, connection: Connection, row: Broadcast, now: Micros) -> None:
        """As if it had not been tried: it is held for what stopped it, or goes on in a moment."""
        gate = self.gates.closed(connection, row, now)
        if gate is not None:
            self.steps.hold(connection, row, gate)
            return
        self.steps.put_back(connection, row, now, "held_up", due=max(now + 2 * SECOND, row.due or 0))

    def _alert(self, row: Broadcast, error: Exception) -> list[Note]:
        """An account whose settings the vendor does not accept fails every send until somebody looks at them."""
        setting = error.setting if isinstance(error, Refused) else None
        if setting is None:
            return []
        log.error("an account does not work", account=row.account, setting=setting, broadcast=row.id)
        told = Translatable(
            "Please look at the setting `{setting}`; nothing can be sent with it.",
            setting=f"accounts.{row.account}.{setting}",
        )
        return [Note(told, mention=" ".join(self.settings.admins) or None)]

    def _write_lost(self, connection: Connection, row: Broadcast, error: Exception) -> None:
        if not self.switch.stopping:
            self.limits.count_failure(connection, row, error)
        if not isinstance(error, Uncertain):
            log.error("a release broke", broadcast=row.id, error=type(error).__name__)
        cause = _told(error) if isinstance(error, Uncertain) else Translatable("the answer was lost.")
        broadcasts.move_all(connection, [self.steps.losing(row, cause)])

    @staticmethod
    def holds(current: Broadcast, row: Broadcast) -> bool:
        """Is this attempt still the one, and its lease still with the same owner?"""
        same = (current.version, current.attempt, current.owner) == (row.version, row.attempt, row.owner)
        return same and current.state is row.state


class Releaser:
    """Carries a claimed broadcast over the point of no return, and makes the one call that makes phones ring.

    `writing`: answers that are being written down.
    """

    def __init__(
        self,
        runtime: Runtime,
        workflow: Workflow,
        stager: Stager,
        gates: Gates,
        limits: AccountLimits,
        outcomes: Outcomes,
        switch: KillSwitch,
    ) -> None:
        self.database, self.providers, self.wake = runtime.database, runtime.providers, runtime.wake
        self.clock, self.monotonic, self.owner = runtime.clock, runtime.monotonic, runtime.owner
        self.workflow, self.stager, self.gates, self.switch = workflow, stager, gates, switch
        self.limits, self.leases, self.outcomes, self.steps = limits, limits.leases, outcomes, outcomes.steps
        self.tokens = Tokens(runtime)
        self.writing: set[asyncio.Task[None]] = set()
        self.unasked: dict[str, str] = {}  # accounts that released without asking, and their packages

    async def send(self, claimed: Broadcast, deadline: float | None = None) -> None:
        """Carry a claimed broadcast to its outcome. Never raises but for cancellation at shutdown.

        `deadline`, of `monotonic`: when it must be ready for the release, before the lease that it was claimed with.
        """
        row: Broadcast | None = claimed
        try:
            if not await self.workflow.still_approved(claimed):
                self.wake(Task.PAINT)
                return
            row = await self._prepare(claimed, self.monotonic() + self.leases.staging if deadline is None else deadline)
            # seen from before the intent, since the lease that is written with it begins no earlier
            last = self.monotonic() + self.providers[claimed.account].settings.timeout
            if row is not None:
                row = await self._commit_intent(row, last)
        except asyncio.CancelledError:
            raise  # still in `staging`: the lease lapses and it starts over
        except Exception as error:
            await self._settle_staging(claimed, error)
            return
        if row is not None:
            await self._release(row, last)

    async def _prepare(self, row: Broadcast, until: float) -> Broadcast | None:
        """Everything that may take long, and the wait for the account's rate, is over before the lease lapses."""
        try:
            async with asyncio.timeout(until - self.monotonic()):
                prepared = await self.stager.prepare(row, until)
                if prepared is not None and row.state is State.SENDING:
                    await self.providers[row.account].turn()
                return prepared
        except TimeoutError:
            raise Unavailable("The vendor took too long to prepare it.") from None

    async def stage_early(self, row: Broadcast, deadline: float | None = None) -> None:
        """Prepare what is not due yet. Whatever comes of it, the row is free again afterwards."""
        error: Exception | None = None
        try:
            await self._prepare(row, self.monotonic() + self.leases.staging if deadline is None else deadline)
        except asyncio.CancelledError:
            raise  # the lease lapses
        except Exception as failure:
            error = failure
            if not isinstance(failure, EXPECTED):
                log.exception("staging broke", broadcast=row.id)
        await self.outcomes.write_durably(row, lambda c: self._free(c, row, error))
        self.wake(Task.PAINT)

    def _free(self, connection: Connection, row: Broadcast, error: Exception | None) -> None:
        try:
            current = broadcasts.find(connection, row.workspace, row.id, lock=True)
        except NotFound:  # a newer version has taken it over
            return
        if (current.state, current.owner) != (State.SCHEDULED, self.owner):
            return
        if isinstance(error, Refused | Blocked):
            self.outcomes.write_nothing_left(connection, current, error)
        else:
            self._free_for_later(connection, current, error)

    def _free_for_later(self, connection: Connection, current: Broadcast, error: Exception | None) -> None:
        """What passes is tried again after the pause that it asks for, and at the latest when it is due."""
        now = self.clock()
        freed: Changes = {**NO_LEASE}
        if isinstance(error, ProviderError):
            self.limits.count_failure(connection, current, error)
            pause = min(_pause(current.attempt, error), ((current.due or now) - now) / SECOND)
            freed["lease_until"] = self.leases.now(connection) + int(max(pause, 0.0) * SECOND)
        broadcasts.touch(connection, current, now, **freed)

    async def _settle_staging(self, row: Broadcast, error: Exception) -> None:
        """Nothing has been sent. Later, held, or failed: what the error says."""
        if not isinstance(error, EXPECTED):
            log.exception("staging broke", broadcast=row.id)
        if not isinstance(error, Overtaken):
            await self.outcomes.write_durably(row, lambda c: self.outcomes.write_outcome(c, row, Nothing(error)))
        log.info("not released", broadcast=row.id, attempt=row.attempt, outcome=type(error).__name__)
        self.wake(Task.PAINT)

    async def _commit_intent(self, row: Broadcast, deadline: float) -> Broadcast | None:
        """The point of no return is a commit. From here on a crash means "unknown", never "again".

        A commit whose answer was lost is looked up under the row's lock before anything leaves.
        """
        tries = itertools.count()

        def intend(connection: Connection) -> Broadcast | None:
            return self._intend(connection, row, again=next(tries) > 0)

        intended = await self.database.write_until(deadline, intend, clock=self.monotonic)
        self.wake(Task.PAINT)
        return intended

    def _intend(self, connection: Connection, row: Broadcast, *, again: bool = False) -> Broadcast | None:
        """`again`: this very attempt may have been intended before, by a commit whose answer was lost."""
        sql.alone(connection, row.workspace)  # else two at once would each find room under the cap
        current, now = broadcasts.find(connection, row.workspace, row.id, lock=True), self.clock()
        if not self.outcomes.holds(current, row) or (current.lease_until or 0) <= self.leases.now(connection):
            return None
        if current.phase is Phase.RELEASING:
            return current if again else None
        if not self._approved(connection, current):
            log.error("approval does not match what would be sent", broadcast=row.id)
            said = Note(Translatable("What was approved is not what would be sent, so it needs approval again."))
            self.stager.ask_again(connection, current, said, digest=current.computed_digest())
            return None
        if self.switch.stopping:  # nothing has left, so the next process may as well begin it
            self.steps.put_back(connection, current, now, "stopping")
            return None
        begins = max(current.due or 0, current.start_at or 0)
        if begins > now:  # the clock was set back since it was claimed
            self.steps.put_back(connection, current, now, "early", due=begins)
            return None
        gate = self.gates.closed(connection, current, now) or self._reported(connection, current)
        if gate is not None:
            self.steps.hold(connection, current, gate)
            return None
        return self._write_intent(connection, current, now)

    @staticmethod
    def _reported(connection: Connection, current: Broadcast) -> Gate | None:
        """An earlier try was answered with a no, and the vendor tells of its deliveries all the same."""
        if current.attempt == 1 or not vendor_ids.reported_since_let_go(connection, current):
            return None
        template = (
            "The vendor reports deliveries of it already, though it had answered that it did not take it. Look there: "
            "if it went out, drop this. *Send now* sends it once more."
        )
        return Gate(Hold.BLOCKED, Translatable(template))

    def _write_intent(self, connection: Connection, current: Broadcast, now: Micros) -> Broadcast | None:
        lease = self.leases.until(connection, self.providers[current.account].settings.timeout)
        phase = Phase.RELEASING
        released = broadcasts.move(
            connection, current, Action.RELEASE, actor="dispatcher", at=now, phase=phase, lease_until=lease
        )
        if released is not None:
            vendor_ids.keep_dispatch(connection, released, self.tokens.callback_token(released))
            campaigns.mark_released(connection, released, now)
        return released

    def _approved(self, connection: Connection, row: Broadcast) -> bool:
        """Do enough approvals bind exactly these bytes?"""
        digest = row.computed_digest()
        votes = [vote for vote in votes_for(connection, row) if vote.digest == digest]
        least = 1 if row.purpose is Purpose.MARKETING else 0  # whatever its row says
        return digest == row.digest and len(votes) >= max(row.quorum, least)

    async def _release(self, row: Broadcast, deadline: float) -> None:
        outcome = await self._call(self.providers[row.account], row, deadline)
        settling = asyncio.create_task(self._settle(row, outcome), name=f"settle {row.id}")
        self.writing.add(settling)
        settling.add_done_callback(self.writing.discard)
        await asyncio.shield(settling)
        await self._remember_unasked(self.providers[row.account])

    async def _remember_unasked(self, account: Account) -> None:
        """For `doctor`: this adapter released without asking whether it still might, or does no more."""
        package = account.package if account.unasked else ""
        if self.unasked.get(account.account, "") == package:
            return
        self.unasked[account.account] = package
        name = f"unasked:{account.account}"
        with suppress(Busy, Unsure):
            await self.database.write(lambda c: keys.keep(c, name, package, self.clock()))

    async def _call(self, account: Account, row: Broadcast, deadline: float) -> Accepted | Exception:
        """The one call. Whatever happens to it, its outcome is a value from here on.

        Its first byte leaves before `deadline`, and its answer is waited for until half of the lease's margin is left.
        """
        able = account.capabilities
        token = last_moment.set(ReleaseGuard(lambda: self._still_right(row, deadline), able.not_processed))
        try:
            self._still_right(row, deadline)
            async with asyncio.timeout(deadline + self.leases.margin / 2 - self.monotonic()):
                return await account.release(row.message(self.tokens.callback_url(row)), row.staged)
        except asyncio.CancelledError:
            return Uncertain("the bot was stopped while it was going out.")
        except Exception as error:
            return error
        finally:
            last_moment.reset(token)

    def _still_right(self, row: Broadcast, deadline: float) -> None:
        if self.monotonic() > deadline:
            raise HeldBack("The bot was held up too long before sending.")
        if self.switch.blocks(row.workspace):
            raise HeldBack("Sending was paused in the last moment.")

    async def _settle(self, row: Broadcast, outcome: Accepted | Exception) -> None:
        told = Nothing(outcome) if isinstance(outcome, NOTHING_LEFT) else outcome
        await self.outcomes.write_durably(row, lambda c: self.outcomes.write_outcome(c, row, told))
        log.info("released", broadcast=row.id, attempt=row.attempt, outcome=type(outcome).__name__)
        self.wake(Task.PAINT, Task.TRACK)


class Sizes:
    """Asks vendors how large the audiences of new broadcasts are, so that approvers see it."""

    def __init__(self, runtime: Runtime, workflow: Workflow, stager: Stager, limits: AccountLimits) -> None:
        self.database, self.settings, self.providers = runtime.database, runtime.settings, runtime.providers
        self.clock, self.workflow, self.stager = runtime.clock, workflow, stager
        self.limits, self.leases = limits, limits.leases
        self.lanes = Lanes(Task.SIZES)

    async def learn(self) -> None:
        """Ask vendors how large the audiences of new broadcasts are, so that approvers see it."""
        await self.begin()
        await self.lanes.settle()

    async def begin(self) -> None:
        """The same, but each account goes on by itself: a vendor that hangs keeps nobody else's size waiting."""
        free = self._telling()
        if not free or not await self.database.read(lambda c: queue.sizes_wait(c, free, self.clock())):
            return
        taken: defaultdict[str, list[Broadcast]] = defaultdict(list)
        for row in await self.database.write(partial(self._unsized, free=free)):
            taken[row.account].append(row)
        for account, rows in taken.items():
            self.lanes.start(account, partial(self._ask_sizes, rows))

    async def _ask_sizes(self, rows: Iterable[Broadcast]) -> None:
        for row in rows:
            try:
                await self._ask_size(row, self.providers[row.account])
            except Exception as error:  # whatever it is, the sizes behind it are asked for
                if not isinstance(error, EXPECTED):
                    log.exception("asking for a size broke", broadcast=row.id)
                log.info("the vendor did not tell a size", broadcast=row.id, error=type(error).__name__)

    def _telling(self) -> list[str]:
        """The accounts that tell sizes, and of which none is being asked for."""
        able, busy = {name: provider.capabilities for name, provider in self.providers.items()}, self.lanes.busy()
        return [name for name, can in able.items() if (can.sizes or can.quotes) and name not in busy]

    def _unsized(self, connection: Connection, free: Sequence[str]) -> list[Broadcast]:
        able = {name: provider.capabilities for name, provider in self.providers.items()}
        found = queue.unsized(connection, free, self.clock())
        rows = [row for row in found if row.mode == self.settings.mode]
        for row in rows:
            queue.set_look_at(connection, row, self.clock() + SIZE_AGAIN)
        if all(able[row.account].sizes for row in rows):
            return rows
        # a quote is a campaign too, and takes the account's one place
        taken = self.limits.slots(connection, self.leases.now(connection))
        return [row for row in rows if able[row.account].sizes or self.limits.may_quote(connection, row, taken)]

    async def _ask_size(self, row: Broadcast, provider: Account) -> None:
        if provider.capabilities.sizes:
            found = await provider.size(row.vendor_audience)
            if found is not None and found.size not in (None, UNREADABLE):
                await self.workflow.learn_size(row.workspace, row.id, found.size, unnamed=found.unnamed)
        else:
            try:
                quote = await self.stager.quote(row, provider)
            finally:
                await self.database.write(lambda c: self.limits.take_quote(c, row.account, 0.0))
            size = None if quote is None or quote.contacts == UNREADABLE else quote.contacts
            price = price_of(quote)
            if size is not None or price not in (None, row.quoted):
                await self.workflow.learn_size(row.workspace, row.id, size, quoted=price)


class Dispatcher:
    """The only place that makes phones ring: each tick claims what is due and carries it to its outcome."""

    def __init__(
        self, runtime: Runtime, workflow: Workflow, switch: KillSwitch | None = None, leases: Leases | None = None
    ) -> None:
        self.database, self.clock, self.monotonic = runtime.database, runtime.clock, runtime.monotonic
        self.wake, self.switch = runtime.wake, switch or KillSwitch()
        self.guard = ClockGuard(runtime.clock, runtime.monotonic)
        self.leases = leases or Leases(runtime)
        gates = Gates(runtime.settings, runtime.providers, runtime.policies, self.guard)
        limits, steps = AccountLimits(runtime, self.leases), Steps(runtime.settings, runtime.clock)
        outcomes = Outcomes(runtime, gates, limits, steps, self.switch)
        self.stager = Stager(runtime)
        self.claims = Claims(runtime, gates, limits, steps, self.switch)
        self.releaser = Releaser(runtime, workflow, self.stager, gates, limits, outcomes, self.switch)
        self.sizes = Sizes(runtime, workflow, self.stager, limits)
        self.running: set[asyncio.Task[None]] = set()

    async def tick(self) -> None:
        """Put right what a dead process left, open what may go again, and start what is due."""
        self.guard.watch()
        changed = queue.AT_ONCE
        while (
            changed >= queue.AT_ONCE and not self.switch.stopping
        ):  # after an absence: one short transaction after the other
            began = self.monotonic()
            number = self.switch.begin_tick()
            changed, claimed, left = await self._round()
            self.switch.end_tick(number)
            self.claims.recovered = True
            if self.switch.stopping:  # told so while this was being written
                await self.database.write(partial(self.claims.give_back, claimed=claimed))
                return
            for row in claimed:
                self._start(row, began + self.leases.staging)
            for account in dict.fromkeys(one.account for one in left):  # one that hangs keeps no other's waiting
                theirs = [one for one in left if one.account == account]
                self._run(self.stager.recall(theirs), f"recall {account}")
            if changed or claimed:
                self.wake(Task.DISPATCH, Task.PAINT)
        await self._draw_pauses()

    async def _round(self) -> tuple[int, list[Broadcast], list[campaigns.Leftover]]:
        """Nothing is written, and nobody's write is kept waiting, where one look finds that there is nothing to do."""
        if self.claims.recovered and not await self.database.read(self.claims.work_waits):
            return 0, [], []
        return await self.database.write(self._tick)

    def _tick(self, connection: Connection) -> tuple[int, list[Broadcast], list[campaigns.Leftover]]:
        return *self.claims.claim_due_work(connection), self.stager.take_leftovers(connection)

    async def _draw_pauses(self) -> None:
        """Cards of what waits say whether sending is paused. There may be very many: some at a tick, and the next tick
        comes at once."""
        for workspace, after in list(self.switch.undrawn.items()):
            draw = partial(cards.draw_waiting_again, workspace=workspace, at=self.clock(), after=after)
            last = await self.database.write(draw)
            if last is None:
                del self.switch.undrawn[workspace]
            else:
                self.switch.undrawn[workspace] = last
                self.wake(Task.DISPATCH, Task.PAINT)

    def _start(self, claimed: Broadcast, deadline: float) -> None:
        log.info("claimed", broadcast=claimed.id, attempt=claimed.attempt, state=claimed.state)
        work = self.releaser.send if claimed.state is State.SENDING else self.releaser.stage_early
        key = claimed.workspace, claimed.id
        task = self._run(work(claimed, deadline), f"{work.__name__} {claimed.id}")
        self.claims.under_way[key] = UnderWay(claimed.account, task)
        task.add_done_callback(partial(self._ended, key))

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self.running.add(task)
        task.add_done_callback(self.running.discard)
        return task

    def _ended(self, key: tuple[str, str], task: asyncio.Task[None]) -> None:
        """Its account has room for the next one. Another try of the same broadcast may be under way by now."""
        if key in self.claims.under_way and self.claims.under_way[key].task is task:
            del self.claims.under_way[key]
        self.wake(Task.DISPATCH)

    async def stop(self, patience: float) -> None:
        """No new sends; those in flight get `patience` seconds, then they end as unknown."""
        self.switch.stopping = True
        late = await self._left_of(self.running, patience)
        for task in late:
            task.cancel()
        if await self._left_of(
            {*late, *self.releaser.writing}, LAST_WRITE
        ):  # they go on for as long as the process lives
            log.error("not every answer could be written down; what it was about will be unknown")

    @staticmethod
    async def _left_of(tasks: set[asyncio.Task[None]], seconds: float) -> set[asyncio.Task[None]]:
        """Those that go on after so many seconds."""
        return (await asyncio.wait(tasks, timeout=seconds))[1] if tasks else set()


def _move_together(
    connection: Connection, rows: Sequence[Broadcast], step_of: Callable[[Broadcast], Step | None]
) -> int:
    """Each along its step, if it has one: all at once, and where one of them cannot go, the others all the same."""

    def move(some: Sequence[Broadcast]) -> int:
        return len(broadcasts.move_all(connection, [step for row in some if (step := step_of(row)) is not None]))

    return together(connection, "dispatch", rows, move)


def token_for(key: bytes, name: str) -> str:
    """An unguessable token that only the holder of the secret key can make: 32 characters, safe in a URL."""
    return urlsafe_b64encode(hmac.digest(key, b"callback:" + name.encode(), "sha256"))[:32].decode()


def _told(error: Exception) -> Translatable:
    """Why, for people; with the vendor's own code, for whoever looks it up there."""
    if not isinstance(error, ProviderError):
        return Translatable("Something went wrong in the bot before it was sent.")
    cause = Translatable(error.template, **error.values)
    if not error.code or re.search(rf"\b{re.escape(error.code)}\b", str(cause)):
        return cause
    return Translatable("{cause} The vendor's code: {code}.", cause=cause, code=error.code)


def _other_time(accepted: Accepted, now: Micros) -> list[Note]:
    """The vendor was asked to send at once; one that understood something else is told about at once."""
    try:
        sends = datetime.fromisoformat(accepted.sending_at or "")
        apart = int(sends.timestamp()) * SECOND - now if sends.tzinfo else 0
    except (ValueError, OverflowError):
        return []
    if abs(apart) <= OTHER_TIME:
        return []
    template = "The vendor says that it sends {sends_at}, and it was asked to send at once. Please look at the vendor."
    return [Note(Translatable(template, sends_at=now + apart), aloud=True)]


def _pause(tries: int, error: Exception) -> float:
    """Seconds until the next try: what the vendor asked for, else doubling from two seconds."""
    if isinstance(error, Throttled):
        return max(error.wait, 1.0)
    return float(min(2 ** min(tries, 7), 120))


NOTHING_LEFT = (Refused, Blocked, NotReady, Throttled, Unavailable)
EXPECTED = (ProviderError, Overtaken, Busy, Unsure)


@dataclass(frozen=True)
class Nothing:
    """Nothing was sent, and why."""

    error: Exception


Outcome = Accepted | Nothing | Exception
