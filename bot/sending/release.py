"""The point of no return: commits the intent, then makes the one call that makes phones ring."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from contextvars import ContextVar

import structlog
from sqlalchemy import Connection

from bot.config.accounts import Account
from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Micros
from bot.domain.errors import NotFound
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Action, Hold, Phase, State
from bot.scheduler import Task
from bot.sending.breakers import HeldBack
from bot.sending.leases import Leases
from bot.sending.outcomes import Nothing, Outcomes, pause_before
from bot.sending.staging import Overtaken, Stager
from bot.sending.tokens import Tokens
from bot.storage import broadcasts, campaigns, keys, sql, vendor_ids
from bot.storage.broadcast_rows import NO_LEASE, Changes
from bot.storage.database import CommitUncertain, DatabaseBusy
from bot.storage.notes import Note
from bot.storage.votes import seats_taken, votes_for
from bot.workflow.gate import Gate, Gates
from bot.workflow.kill_switch import KillSwitch
from bot.workflow.workflow import Workflow
from providers.base import (
    Accepted,
    Blocked,
    NotReady,
    ProviderError,
    Purpose,
    Refused,
    Throttled,
    Unavailable,
    Uncertain,
    last_moment,
)
from providers.guard import ReleaseGuard

log = structlog.get_logger(__name__)

#: The broadcast that this task carries to its outcome, for whoever measures what it does.
CLAIMED: ContextVar[Broadcast | None] = ContextVar("claimed", default=None)


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
        leases: Leases,
        outcomes: Outcomes,
        switch: KillSwitch,
    ) -> None:
        self.database, self.providers, self.wake = runtime.database, runtime.providers, runtime.wake
        self.clock, self.monotonic, self.owner = runtime.clock, runtime.monotonic, runtime.owner
        self.workflow, self.stager, self.gates, self.switch = workflow, stager, gates, switch
        self.leases, self.outcomes, self.setbacks = leases, outcomes, outcomes.setbacks
        self.tokens = Tokens(runtime)
        self.writing: set[asyncio.Task[None]] = set()
        self.unasked: dict[str, str] = {}  # accounts that released without asking, and their packages

    async def send(self, claimed: Broadcast, deadline: float | None = None) -> None:
        """Carry a claimed broadcast to its outcome. Raises nothing but cancellation at shutdown.

        `deadline`, in `monotonic` time: when it must be ready for the release, before the lease of its claim ends.
        """
        CLAIMED.set(claimed)
        row: Broadcast | None = claimed
        try:
            if not await self.workflow.validity.still_approved(claimed):
                self.wake(Task.PAINT)
                return
            row = await self._prepare(claimed, self.monotonic() + self.leases.staging if deadline is None else deadline)
            # measured before the intent, because the lease written with it begins no earlier
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
        """Do everything slow, and wait for the account's rate limit, before the lease lapses."""
        try:
            async with asyncio.timeout(until - self.monotonic()):
                prepared = await self.stager.prepare(row, until)
                if prepared is not None and row.state is State.SENDING:
                    await self.providers[row.account].turn()
                return prepared
        except TimeoutError:
            raise Unavailable("The vendor took too long to prepare it.") from None

    async def stage_early(self, row: Broadcast, deadline: float | None = None) -> None:
        """Prepare a broadcast that is not due yet. Whatever happens, the row is free again afterwards."""
        CLAIMED.set(row)
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
        """Free the row. After a passing error it is prepared again after a pause, or without one when it is due."""
        now = self.clock()
        freed: Changes = {**NO_LEASE, "stage_at": None}
        if isinstance(error, ProviderError):
            self.outcomes.breakers.count_failure(connection, current, error)
            freed["stage_at"] = now + int(pause_before(current.attempt, error) * SECOND)
        broadcasts.touch(connection, current, now, **freed)

    async def _settle_staging(self, row: Broadcast, error: Exception) -> None:
        """Write why nothing was sent. The error decides whether it goes later, is held, or fails."""
        if not isinstance(error, EXPECTED):
            log.exception("staging broke", broadcast=row.id)
        if not isinstance(error, Overtaken):
            await self.outcomes.write_durably(row, lambda c: self.outcomes.write_outcome(c, row, Nothing(error)))
        log.info("not released", broadcast=row.id, attempt=row.attempt, outcome=type(error).__name__)
        self.wake(Task.PAINT)

    async def _commit_intent(self, row: Broadcast, deadline: float) -> Broadcast | None:
        """Commit the point of no return. From here on a crash means "unknown", never "again".

        If the answer to the commit was lost, it is looked up under the row's lock before anything leaves.
        """
        tries = itertools.count()

        def intend(connection: Connection) -> Broadcast | None:
            return self._intend(connection, row, again=next(tries) > 0)

        intended = await self.database.write_until(deadline, intend, clock=self.monotonic)
        self.wake(Task.PAINT)
        return intended

    def _intend(self, connection: Connection, row: Broadcast, *, again: bool = False) -> Broadcast | None:
        """`again`: an earlier commit, whose answer was lost, may already have written the intent of this attempt."""
        sql.alone(connection, row.workspace)  # else two at once would each find room under the cap
        current, now = broadcasts.find(connection, row.workspace, row.id, lock=True), self.clock()
        if not self.outcomes.holds(current, row) or (current.lease_until or 0) <= self.leases.now(connection):
            return None
        if current.phase is Phase.RELEASING:
            return current if again else None
        if not self._approved(connection, current):
            log.error("approval does not match what would be sent", broadcast=row.id)
            note = Note(Translatable("What would be sent is not what was approved, so it needs approval again."))
            self.stager.ask_again(connection, current, note, digest=current.computed_digest())
            return None
        if self.switch.stopping:  # nothing has left, so the next process may as well begin it
            self.setbacks.put_back(connection, current, now, "stopping")
            return None
        begins = max(current.due or 0, current.start_at or 0)
        if begins > now:  # the clock was set back since it was claimed
            self.setbacks.put_back(connection, current, now, "early", due=begins)
            return None
        gate = self.gates.closed(connection, current, now) or self._reported(connection, current)
        if gate is not None:
            self.setbacks.hold(connection, current, gate)
            return None
        return self._write_intent(connection, current, now)

    @staticmethod
    def _reported(connection: Connection, current: Broadcast) -> Gate | None:
        """Return a gate if the vendor refused an earlier attempt but has reported deliveries of it since."""
        if current.attempt == 1 or not vendor_ids.reported_since_let_go(connection, current):
            return None
        template = (
            "The vendor first answered that it did not take this broadcast, but it already reports deliveries of it. "
            "Check with the vendor. If it went out, drop this. *Send now* sends it again."
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
            campaigns.mark_released(connection, released, None if released.small_test else now)
        return released

    def _approved(self, connection: Connection, row: Broadcast) -> bool:
        """Whether enough approvals bind exactly these bytes, or somebody let exactly these go without."""
        digest = row.computed_digest()
        votes = [vote for vote in votes_for(connection, row) if vote.digest == digest]
        least = 1 if row.purpose is Purpose.MARKETING and not row.small_test else 0  # whatever its row says
        needed = 0 if row.skips_approval else row.quorum
        return digest == row.digest and seats_taken(votes) >= max(needed, least)

    async def _release(self, row: Broadcast, deadline: float) -> None:
        outcome = await self._call(self.providers[row.account], row, deadline)
        settling = asyncio.create_task(self._settle(row, outcome), name=f"settle {row.id}")
        self.writing.add(settling)
        settling.add_done_callback(self.writing.discard)
        await asyncio.shield(settling)
        await self._remember_unasked(self.providers[row.account])

    async def _remember_unasked(self, account: Account) -> None:
        """Store for `doctor` whether this adapter released without asking first whether it still may."""
        package = account.package if account.unasked else ""
        if self.unasked.get(account.account, "") == package:
            return
        self.unasked[account.account] = package
        name = keys.of_unasked(account.account)
        with suppress(DatabaseBusy, CommitUncertain):
            await self.database.write(lambda c: keys.keep(c, name, package, self.clock()))

    async def _call(self, account: Account, row: Broadcast, deadline: float) -> Accepted | Exception:
        """Make the one call. Whatever happens, return its outcome as a value.

        Its first byte leaves before `deadline`. Its answer may take until half of the lease's margin is left.
        """
        able = account.capabilities
        token = last_moment.set(ReleaseGuard(lambda: self._still_right(row, deadline), able.not_processed))
        try:
            self._still_right(row, deadline)
            async with asyncio.timeout(deadline + self.leases.margin / 2 - self.monotonic()):
                return await account.release(row.message(self.tokens.callback_url(row)), row.staged)
        except asyncio.CancelledError:
            return Uncertain("the bot was stopped while the broadcast was going out.")
        except Exception as error:
            return error
        finally:
            last_moment.reset(token)

    def _still_right(self, row: Broadcast, deadline: float) -> None:
        if self.monotonic() > deadline:
            raise HeldBack("The bot was delayed too long before sending.")
        if self.switch.blocks(row.workspace):
            raise HeldBack("Sending was paused at the last moment.")

    async def _settle(self, row: Broadcast, outcome: Accepted | Exception) -> None:
        result = Nothing(outcome) if isinstance(outcome, NOTHING_LEFT) else outcome
        await self.outcomes.write_durably(row, lambda c: self.outcomes.write_outcome(c, row, result))
        log.info("released", broadcast=row.id, attempt=row.attempt, outcome=type(outcome).__name__)
        self.wake(Task.PAINT, Task.TRACK)


NOTHING_LEFT = (Refused, Blocked, NotReady, Throttled, Unavailable)
EXPECTED = (ProviderError, Overtaken, DatabaseBusy, CommitUncertain)
