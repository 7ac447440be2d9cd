"""Claims what is due, stages it, commits the intent, releases it once, and writes down what came of it."""

from __future__ import annotations

import asyncio
import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection

from bot import store
from bot.broadcast import SECOND, Action, Broadcast, Clock, Hold, Micros, Phase, Sentence, State, micros, moment
from bot.database import Database
from bot.hours import HoldUntil, Policy, Refuse, decide
from bot.settings import Settings
from bot.staging import STAGING_DEADLINE, Overtaken, Stager
from bot.store import NO_LEASE, Note
from providers.base import (
    Accepted,
    Blocked,
    NotReady,
    Provider,
    ProviderError,
    Receipts,
    Refused,
    Throttled,
    Unavailable,
    Uncertain,
    last_moment,
)

log = structlog.get_logger(__name__)

CLAIM_AT_ONCE = 8
LEASE_MARGIN = 20.0  # seconds by which a lease outlives the deadline of the work done under it
MAX_TRIES = 8
FIRST_LOOK = 60 * SECOND
OTHER_TIME = 300 * SECOND
SIZE_AGAIN = 300 * SECOND
HOUR = 3600 * SECOND
BREAKER_FAILURES = 3  # in a row, before nobody tries an account for a while
BREAKER_FIRST, BREAKER_LONGEST = 30 * SECOND, 300 * SECOND

MAY_HAVE_GONE = (
    "It may have gone out: {cause} It will not be sent again by itself. "
    "Please look at the vendor, then say below what happened."
)


@dataclass(frozen=True)
class Gate:
    """Why a broadcast may not go right now, and until when that holds by itself."""

    hold: Hold
    sentence: Sentence
    until: Micros | None = None
    ask: tuple[str, ...] = ()  # who else decides, beside the requester


class Dispatcher:
    """The only place that makes phones ring. `owner` names this process in the leases it takes."""

    def __init__(
        self,
        database: Database,
        *,
        settings: Settings,
        providers: dict[str, Provider],
        policies: dict[str, Policy],
        clock: Clock,
        owner: str,
        key: bytes,
        wake: Callable[[], None],
        tell_size: Callable[..., Awaitable[None]],
        lease_clock: Callable[[Connection], Micros | None] = store.database_time,
    ) -> None:
        self.lease_clock = lease_clock
        self.database, self.settings, self.clock, self.owner, self.key = database, settings, clock, owner, key
        self.tell_size = tell_size
        self.providers, self.policies, self.wake = providers, policies, wake
        self.stager = Stager(database, settings, providers, clock)
        self.preparing = [name for name, provider in providers.items() if provider.capabilities.two_step]
        self.running: set[asyncio.Task[None]] = set()
        self.stopping = False

    # --- the tick ----------------------------------------------------------------------------------------------------

    async def tick(self) -> None:
        """Put right what a dead process left, open what may go again, and start what is due."""
        if self.stopping:
            return
        changed, claimed = await self.database.write(self._look_round)
        for row in claimed:
            self._start(row)
        if changed or claimed:
            self.wake()
        await self.stager.recall_leftovers()

    def _look_round(self, connection: Connection) -> tuple[int, list[Broadcast]]:
        changed = self._recover(connection) + self._reopen(connection)
        return changed, [*self._claim(connection), *self._claim_early(connection)]

    def _start(self, claimed: Broadcast) -> None:
        log.info("claimed", broadcast=claimed.id, attempt=claimed.attempt, state=claimed.state)
        work = self.send if claimed.state is State.SENDING else self.stage_early
        task = asyncio.create_task(work(claimed), name=f"{work.__name__} {claimed.id}")
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    async def stop(self, patience: float) -> None:
        """No new sends; those in flight get `patience` seconds, then they end as unknown."""
        self.stopping = True
        if not self.running:
            return
        _, late = await asyncio.wait(self.running, timeout=patience)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    def _claim(self, connection: Connection) -> list[Broadcast]:
        now, claimed = self.clock(), []
        for row in self._due(connection, now):
            gate = self.gate(connection, row, now)
            if gate is not None:
                self._hold(connection, row, gate)
            elif not self._within_reach(connection, row, now):
                continue
            elif self._has_slot(connection, row):
                claimed += self._claim_one(connection, row, now)
        return claimed

    def _due(self, connection: Connection, now: Micros) -> list[Broadcast]:
        """Those that wait for their account's one place are left out, so that they stand in nobody else's way."""
        slots = store.slots(connection, self._lease_now(connection))
        taken = {account: id for account, id in slots.items() if account in self.preparing}
        return store.due(connection, now, CLAIM_AT_ONCE, lease_at=self._lease_now(connection), taken=taken)

    def _within_reach(self, connection: Connection, row: Broadcast, now: Micros) -> bool:
        """After some failures in a row nobody tries an account for a while, and then one of its broadcasts does."""
        breaker = store.breaker(connection, row.account)
        if breaker.failures < BREAKER_FAILURES:
            return True
        if breaker.until <= now:
            store.set_breaker(connection, row.account, replace(breaker, until=now + BREAKER_FIRST), now)
            return True
        store.touch(connection, row, now, due=breaker.until)
        if store.first_time(connection, row.workspace, f"waits:{row.id}:{row.version}:{row.start_at}", now):
            vendor = self.providers[row.account].title
            told = Sentence("{vendor} cannot be reached just now. It waits; nothing was sent.", {"vendor": vendor})
            store.say(connection, row, now, [Note(told)])
        return False

    def _count_failure(self, connection: Connection, row: Broadcast, error: Exception | None) -> None:
        """An answer of any kind closes the breaker of its account."""
        known, now = store.breaker(connection, row.account), self.clock()
        if not isinstance(error, Unavailable):
            if known.failures:
                store.set_breaker(connection, row.account, store.Breaker(), now)
            return
        failures = known.failures + 1
        pause = min(BREAKER_FIRST * 2 ** max(failures - BREAKER_FAILURES, 0), BREAKER_LONGEST)
        store.set_breaker(connection, row.account, store.Breaker(failures, now + pause), now)
        if failures == BREAKER_FAILURES:
            log.error("an account's vendor cannot be reached", account=row.account)

    def _lease_now(self, connection: Connection) -> Micros:
        """Leases are judged by the database's clock where several machines share it."""
        found = self.lease_clock(connection)
        return self.clock() if found is None else found

    def _has_slot(self, connection: Connection, row: Broadcast) -> bool:
        """A vendor with two steps has one campaign open per account at a time; the others queue by their time."""
        if row.account not in self.preparing:
            return True
        store.alone(connection, f"account:{row.account}")
        if store.is_quoting(connection, row.account, self.clock()):
            return False
        return store.slots(connection, self._lease_now(connection)).get(row.account, row.id) == row.id

    def _claim_early(self, connection: Connection) -> list[Broadcast]:
        """Inside the undo window: what can be prepared by now, so that people see its size and cost before it goes."""
        if not self.preparing:
            return []
        now, claimed = self.clock(), []
        lease_at, until = self._lease_now(connection), now + micros(self.settings.approval.undo)
        lease = {"owner": self.owner, "lease_until": self._lease(connection, STAGING_DEADLINE)}
        for row in store.to_stage(connection, self.preparing, now, until, lease_at=lease_at):
            if self.gate(connection, row, now) is None and self._has_slot(connection, row):
                # an attempt of its own: the vendor takes each request id once
                leased = store.touch(connection, row, now, attempt=row.attempt + 1, **lease)
                claimed += [leased] if leased else []
        return claimed

    def _claim_one(self, connection: Connection, row: Broadcast, now: Micros) -> list[Broadcast]:
        changes: dict[str, Any] = {"attempt": row.attempt + 1, "owner": self.owner, "phase": Phase.STAGING}
        lease = self._lease(connection, STAGING_DEADLINE)
        moved = store.move(
            connection, row, Action.START, actor="dispatcher", at=now, tries=row.tries + 1, lease_until=lease, **changes
        )
        return [moved] if moved else []

    def _lease(self, connection: Connection, deadline: float) -> Micros:
        return self._lease_now(connection) + int((deadline + LEASE_MARGIN) * SECOND)

    def gate(self, connection: Connection, row: Broadcast, now: Micros) -> Gate | None:
        """What forbids sending this at this instant, if anything: asked before claiming and again before releasing."""
        if store.paused(connection, row.workspace):
            return Gate(Hold.PAUSED, Sentence("Sending is paused. It waits until an admin resumes it."))
        if row.start_at is not None and now - row.start_at > micros(self.settings.grace):
            values = {"start_at": row.start_at}
            return Gate(Hold.LATE, Sentence("It should have started {start_at}. Send it now, or drop it?", values))
        if store.released_since(connection, row.workspace, now - HOUR) >= self.settings.hourly_cap:
            values_cap: dict[str, str | int | Sentence] = {"cap": self.settings.hourly_cap}
            return Gate(
                Hold.CAP,
                Sentence("The cap of {cap} sends an hour is reached. Let it go later, or drop it.", values_cap),
                ask=self.settings.admins,
            )
        return self._hours_gate(row, now)

    def _hours_gate(self, row: Broadcast, now: Micros) -> Gate | None:
        if row.policy is None:
            return None
        verdict = decide(self.policies[row.policy], row.purpose, moment(now))
        if isinstance(verdict, HoldUntil):
            opens = int(verdict.instant.timestamp()) * SECOND
            template = "Outside the hours for this audience ({policy}). It goes by itself {opens_at}."
            values: dict[str, str | int | Sentence] = {"policy": row.policy, "opens_at": opens}
            return Gate(Hold.HOURS, Sentence(template, values), opens)
        if isinstance(verdict, Refuse):
            template = "The policy {policy} does not let it go at this hour. Send it at another time, or drop it."
            return Gate(Hold.HOURS, Sentence(template, {"policy": row.policy}))
        return None

    def _hold(self, connection: Connection, row: Broadcast, gate: Gate) -> Broadcast | None:
        mention = None if gate.until else " ".join([row.requester, *gate.ask])
        said = [Note(gate.sentence, mention=mention)]
        expires = None if gate.until else self.clock() + micros(self.settings.approval.expires_after)
        changes: dict[str, Any] = {"hold": gate.hold, "hold_until": gate.until, "due": None, "expires_at": expires}
        changes |= NO_LEASE
        return store.move(
            connection, row, Action.HOLD, actor="dispatcher", at=self.clock(), reason=gate.hold, said=said, **changes
        )

    def _reopen(self, connection: Connection) -> int:
        """What was held for the hour alone goes on when the window opens."""
        now, rows = self.clock(), store.reopened(connection, self.clock())
        for row in rows:
            changes: dict[str, Any] = {
                "hold": None,
                "hold_until": None,
                "due": now,
                "start_at": row.hold_until,
                "expires_at": None,
            }
            store.move(connection, row, Action.RESUME, actor="clock", at=now, **changes)
        return len(rows)

    def _recover(self, connection: Connection) -> int:
        """A lapsed lease: what was being staged starts over, what was being released is unknown for ever."""
        now, lease_now, recovered = self.clock(), self._lease_now(connection), 0
        if self.database.exclusive:
            recovered += store.free_staged_by_others(connection, self.owner)
        for row in store.in_state(connection, State.SENDING):
            theirs = row.owner != self.owner and self.database.exclusive
            if not theirs and (row.lease_until or 0) > lease_now:
                continue
            recovered += 1
            if row.phase is Phase.RELEASING:
                self._lose_track(connection, row, Sentence("the bot stopped while it was going out."))
            else:
                changes: dict[str, Any] = {"due": now, **NO_LEASE}
                store.move(connection, row, Action.PUT_BACK, actor="clock", at=now, reason="lapsed", **changes)
        return recovered

    # --- one send ----------------------------------------------------------------------------------------------------

    async def send(self, claimed: Broadcast) -> None:
        """Carry a claimed broadcast to its outcome. Never raises but for cancellation at shutdown."""
        row: Broadcast | None = claimed
        try:
            row = await self.stager.prepare(claimed)
            if row is not None:
                row = await self._commit_intent(row)
        except asyncio.CancelledError:
            raise  # still in `staging`: the lease lapses and it starts over
        except Exception as error:
            await self._settle_staging(claimed, error)
            return
        if row is not None:
            await self._release(row)

    async def stage_early(self, row: Broadcast) -> None:
        """Prepare what is not due yet. Whatever comes of it, the row is free again afterwards."""
        error: Exception | None = None
        try:
            await self.stager.prepare(row)
        except asyncio.CancelledError:
            raise  # the lease lapses
        except Exception as failure:
            error = failure
            if not isinstance(failure, ProviderError | Overtaken):
                log.exception("staging broke", broadcast=row.id)
        await self._surely(lambda c: self._free(c, row, error))
        self.wake()

    def _free(self, connection: Connection, row: Broadcast, error: Exception | None) -> None:
        current = store.find(connection, row.workspace, row.id, lock=True)
        if (current.state, current.owner) != (State.SCHEDULED, self.owner):
            return
        if isinstance(error, Refused | Blocked):
            self._write_nothing_left(connection, current, error)
        else:  # what passes is tried again when it is due
            store.touch(connection, current, self.clock(), **NO_LEASE)

    async def _settle_staging(self, row: Broadcast, error: Exception) -> None:
        """Nothing has been sent. Later, held, or failed: what the error says."""
        if not isinstance(error, ProviderError | Overtaken):
            log.exception("staging broke", broadcast=row.id)
        if not isinstance(error, Overtaken):
            await self._surely(lambda c: self._write_nothing_left(c, self._latest(c, row), error))
        log.info("not released", broadcast=row.id, attempt=row.attempt, outcome=type(error).__name__)
        self.wake()

    def _latest(self, connection: Connection, row: Broadcast) -> Broadcast:
        """The row as it stands, if this attempt still owns it."""
        current = store.find(connection, row.workspace, row.id, lock=True)
        return current if (current.attempt, current.owner) == (row.attempt, row.owner) else row

    async def _commit_intent(self, row: Broadcast) -> Broadcast | None:
        """The point of no return is a commit. From here on a crash means "unknown", never "again"."""
        released = await self.database.write(lambda c: self._intend(c, row))
        self.wake()
        return released

    def _intend(self, connection: Connection, row: Broadcast) -> Broadcast | None:
        store.alone(connection, row.workspace)  # else two at once would each find room under the cap
        current, now = store.find(connection, row.workspace, row.id, lock=True), self.clock()
        if (current.lease_until or 0) <= self._lease_now(connection) or current.attempt != row.attempt:
            return None
        if not self._approved(connection, current):
            log.error("approval does not match what would be sent", broadcast=row.id)
            said = Note(Sentence("What was approved is not what would be sent, so it needs approval again."))
            self.stager.ask_again(connection, current, said)
            return None
        gate = self.gate(connection, current, now)
        if gate is not None:
            self._hold(connection, current, gate)
            return None
        deadline = self.providers[row.account].settings.timeout
        released = store.move(
            connection,
            current,
            Action.RELEASE,
            actor="dispatcher",
            at=now,
            phase=Phase.RELEASING,
            lease_until=self._lease(connection, deadline),
        )
        if released is not None:
            store.keep_dispatch(connection, released, self.callback_token(released))
            store.mark_released(connection, released, now)
        return released

    def _approved(self, connection: Connection, row: Broadcast) -> bool:
        """Do enough approvals bind exactly these bytes?"""
        digest = row.computed_digest()
        votes = [vote for vote in store.votes_for(connection, row) if vote.digest == digest]
        return digest == row.digest and len(votes) >= row.quorum

    # --- the release and its outcome ---------------------------------------------------------------------------------

    async def _release(self, row: Broadcast) -> None:
        outcome = await self._call(self.providers[row.account], row)
        await asyncio.shield(asyncio.ensure_future(self._settle(row, outcome)))

    async def _call(self, provider: Provider, row: Broadcast) -> Accepted | Exception:
        """The one call. Whatever happens to it, its outcome is a value from here on."""
        deadline = time.monotonic() + provider.settings.timeout
        token = last_moment.set(lambda: self._still_in_time(deadline))
        try:
            async with asyncio.timeout(provider.settings.timeout + LEASE_MARGIN / 2):
                return await provider.release(row.message(self._callback_url(row)), row.staged)
        except asyncio.CancelledError:
            return Uncertain("the bot was stopped while it was going out.")
        except Exception as error:
            return error
        finally:
            last_moment.reset(token)

    def _still_in_time(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise Unavailable("The bot was held up too long before sending.")

    async def _settle(self, row: Broadcast, outcome: Accepted | Exception) -> None:
        if isinstance(outcome, Accepted):
            await self._surely(lambda c: self._write_accepted(c, row, outcome))
        elif isinstance(outcome, NOTHING_LEFT):
            await self._surely(lambda c: self._write_nothing_left(c, row, outcome))
        else:
            await self._surely(lambda c: self._write_lost(c, row, outcome))
        log.info("released", broadcast=row.id, attempt=row.attempt, outcome=type(outcome).__name__)
        self.wake()

    async def _surely(self, work: Callable[[Connection], object]) -> None:
        """Write a vendor's answer, however long the database is away: it is known nowhere else."""
        pause = 0.1
        while True:
            try:
                await self.database.write(work)
                return
            except Exception:
                log.exception("could not write an outcome yet")
            await asyncio.sleep(pause)
            pause = min(pause * 2, 10.0)

    def _write_accepted(self, connection: Connection, row: Broadcast, accepted: Accepted) -> None:
        now = self.clock()
        self._count_failure(connection, row, None)
        store.own_ids(connection, row, accepted.ids)
        store.adopt_deliveries(connection, row, accepted.ids)
        said = [Note(Sentence("{vendor} accepted it. Ids: {ids}", self._ids_told(row, accepted.ids)), row.requester)]
        said += [*_other_time(accepted, now), *self._fewer(row, accepted)]
        changes: dict[str, Any] = {"ids": accepted.ids, "accepted_at": now, "look_at": now, **NO_LEASE}
        store.move(connection, row, Action.ACCEPT, actor=row.provider, at=now, said=said, **changes)

    def _fewer(self, row: Broadcast, accepted: Accepted) -> list[Note]:
        """Taken for some of the people only: told as it is, and never sent again to the others by itself."""
        each = self.providers[row.account].capabilities.id_each
        if not each or row.size is None or len(accepted.ids) >= row.size:
            return []
        values: dict[str, str | int | Sentence] = {"ids": len(accepted.ids), "size": row.size}
        return [
            Note(
                Sentence(
                    "The vendor gave an id for {ids} of {size} people only. The others are not sent again.", values
                )
            )
        ]

    def _ids_told(self, row: Broadcast, ids: tuple[str, ...]) -> dict[str, str | int | Sentence]:
        shown = ", ".join(ids[:100])
        more = f" … (+{len(ids) - 100})" if len(ids) > 100 else ""
        return {"vendor": self.providers[row.account].title, "ids": shown + more}

    def _write_nothing_left(self, connection: Connection, row: Broadcast, error: Exception) -> None:
        """The vendor said no, or was never reached. Nothing was sent, so saying "failed" is true."""
        now = self.clock()
        self._count_failure(connection, row, error)
        sentence = _told(error)
        if isinstance(error, Blocked):
            self._hold(connection, row, Gate(Hold.BLOCKED, sentence))
        elif isinstance(error, Refused) or row.tries >= MAX_TRIES:
            said = [Note(sentence, row.requester, aloud=True), *self._alert(row, error)]
            changes: dict[str, Any] = {"failure": sentence, "due": None, **NO_LEASE}
            store.move(connection, row, Action.REFUSE, actor=row.provider, at=now, said=said, **changes)
        else:
            again = now + int(_pause(row, error) * SECOND)
            values: dict[str, str | int | Sentence] = {"cause": sentence, "again_at": again}
            waits = Note(Sentence("{cause} Nothing was sent; it tries again {again_at}.", values))
            told = [waits] if row.tries == 1 else []
            store.move(connection, row, Action.PUT_BACK, actor=row.provider, at=now, said=told, due=again, **NO_LEASE)

    def _alert(self, row: Broadcast, error: Exception) -> list[Note]:
        """An account whose settings the vendor does not accept fails every send until somebody looks at them."""
        setting = error.setting if isinstance(error, Refused) else None
        if setting is None:
            return []
        log.error("an account does not work", account=row.account, setting=setting, broadcast=row.id)
        values: dict[str, str | int | Sentence] = {"setting": f"accounts.{row.account}.{setting}"}
        told = Sentence("Please look at the setting `{setting}`; nothing can be sent with it.", values)
        return [Note(told, mention=" ".join(self.settings.admins) or None)]

    def _write_lost(self, connection: Connection, row: Broadcast, error: Exception) -> None:
        if not isinstance(error, Uncertain):
            log.error("a release broke", broadcast=row.id, error=type(error).__name__)
        cause = _told(error) if isinstance(error, Uncertain) else Sentence("the answer was lost.")
        self._lose_track(connection, row, cause)

    def _lose_track(self, connection: Connection, row: Broadcast, cause: Sentence) -> None:
        now = self.clock()
        told = Sentence(MAY_HAVE_GONE, {"cause": cause})
        changes: dict[str, Any] = {"failure": cause, "look_at": now + FIRST_LOOK, "due": None, **NO_LEASE}
        said = [Note(told, row.requester, aloud=True)]
        store.move(connection, row, Action.LOSE_TRACK, actor=row.provider, at=now, said=said, **changes)

    # --- sizes -------------------------------------------------------------------------------------------------------

    async def learn_sizes(self) -> None:
        """Ask vendors how large the audiences of new broadcasts are, so that approvers see it."""
        for row in await self.database.write(self._unsized):
            try:
                await self._ask_size(row, self.providers[row.account])
            except ProviderError as error:
                log.info("the vendor did not tell a size", broadcast=row.id, error=type(error).__name__)

    def _unsized(self, connection: Connection) -> list[Broadcast]:
        able = {name: provider.capabilities for name, provider in self.providers.items()}
        telling = [name for name, can in able.items() if can.sizes or can.quotes]
        rows = store.unsized(connection, telling, self.clock())
        for row in rows:
            store.set_look_at(connection, row, self.clock() + SIZE_AGAIN)
        taken = store.slots(
            connection, self._lease_now(connection)
        )  # a quote is a campaign too, and takes the account's one place
        return [row for row in rows if able[row.account].sizes or self._may_quote(connection, row, taken)]

    def _may_quote(self, connection: Connection, row: Broadcast, taken: Mapping[str, str]) -> bool:
        store.alone(connection, f"account:{row.account}")
        now = self.clock()
        if row.account in taken or store.is_quoting(connection, row.account, now):
            return False
        store.quoting(connection, row.account, now + int(STAGING_DEADLINE * SECOND), now)
        return True

    async def _ask_size(self, row: Broadcast, provider: Provider) -> None:
        if provider.capabilities.sizes:
            found = await provider.size(row.vendor_audience)
            if found is not None and found.size is not None:
                await self.tell_size(row.workspace, row.id, found.size, unnamed=found.unnamed)
        else:
            try:
                quote = await provider.quote(row.message())
            finally:
                await self.database.write(lambda c: store.quoting(c, row.account, 0, self.clock()))
            if quote is not None and quote.contacts is not None:
                quoted = None if quote.cost is None else f"{quote.cost} {quote.currency or ''}".strip()
                await self.tell_size(row.workspace, row.id, quote.contacts, quoted=quoted)

    # --- small things ------------------------------------------------------------------------------------------------

    def _callback_url(self, row: Broadcast) -> str | None:
        per_dispatch = self.providers[row.account].capabilities.receipts is Receipts.PER_DISPATCH
        if self.settings.public_url is None or not per_dispatch:
            return None
        return f"{self.settings.public_url.rstrip('/')}/callbacks/{row.account}/{self.callback_token(row)}"

    def callback_token(self, row: Broadcast) -> str:
        return token_for(self.key, f"{row.workspace}/{row.dispatch}")


def token_for(key: bytes, name: str) -> str:
    """An unguessable token that only the holder of the secret key can make: 32 characters, safe in a URL."""
    return urlsafe_b64encode(hmac.digest(key, b"callback:" + name.encode(), "sha256"))[:32].decode()


def _told(error: Exception) -> Sentence:
    if isinstance(error, ProviderError):
        return Sentence(error.template, error.values)
    return Sentence("Something went wrong in the bot before it was sent.")


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
    return [Note(Sentence(template, {"sends_at": now + apart}), aloud=True)]


def _pause(row: Broadcast, error: Exception) -> float:
    """Seconds until the next try: what the vendor asked for, else doubling from two seconds."""
    if isinstance(error, Throttled):
        return max(error.wait, 1.0)
    return float(min(2**row.tries, 120))


NOTHING_LEFT = (Refused, Blocked, NotReady, Throttled, Unavailable)
