"""Claims due broadcasts, and reopens what was held only for sending hours."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros, micros
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Action, Hold, Phase, State
from bot.sending.breakers import Breakers
from bot.sending.recovery import Recovery
from bot.sending.setbacks import Setbacks, move_together
from bot.sending.slots import Slots
from bot.storage import broadcasts, keys, queue
from bot.storage.broadcast_rows import NO_LEASE, Changes
from bot.storage.broadcasts import Step
from bot.storage.failing_rows import alone
from bot.storage.notes import Note
from bot.workflow.gate import Gates
from bot.workflow.kill_switch import KillSwitch

CLAIM_AT_ONCE = 8
ACCOUNT_AT_ONCE = 4  # sends of one account under way in one process; its others wait


@dataclass(frozen=True)
class UnderWay:
    """An attempt in this process, and the account that it occupies."""

    account: str
    task: asyncio.Task[None]


class Claims:
    """Claims due broadcasts, and reopens what was held only for sending hours.

    `under_way`: by workspace and broadcast.
    """

    def __init__(
        self, runtime: Runtime, gates: Gates, breakers: Breakers, slots: Slots, setbacks: Setbacks, switch: KillSwitch
    ) -> None:
        self.settings, self.providers = runtime.settings, runtime.providers
        self.clock, self.owner = runtime.clock, runtime.owner
        self.gates, self.breakers, self.slots, self.setbacks, self.switch = gates, breakers, slots, setbacks, switch
        self.leases, self.recovery = slots.leases, Recovery(runtime, setbacks)
        self.under_way: dict[tuple[str, str], UnderWay] = {}

    def work_waits(self, connection: Connection) -> bool:
        """Whether a tick has work to do. Each kind of work has a condition here, and a case in the tests."""
        return self.switch.has_changed(connection) or queue.work_waits(
            connection,
            self.clock(),
            paused=self.switch.paused,
            soon=self.clock() + micros(self.settings.approval.undo),
            lease_at=self.leases.now(connection),
            preparing=self.slots.preparing,
            owner=self.owner,
            working_on=self.working_on(),
        )

    def working_on(self) -> list[str]:
        """Return the ids of the broadcasts under way in this process."""
        return [id for _, id in self.under_way]

    def claim_due_work(self, connection: Connection) -> tuple[int, list[Broadcast]]:
        """Return how many rows changed (more may wait behind them), and the broadcasts to start."""
        self.switch.read(connection)
        lease_now = self.leases.now(connection)
        changed = self.recovery.recover(connection, lease_now, self.working_on())
        changed += self._hold_late(connection, lease_now)
        changed += self._reopen(connection)
        put_aside, claimed = self._claim(connection, lease_now)
        return changed + put_aside, [*claimed, *self._claim_early(connection, lease_now)]

    def _claim(self, connection: Connection, lease_now: Micros) -> tuple[int, list[Broadcast]]:
        """Claim the oldest due broadcasts, few of each account, so that one account's flood delays no other.

        Return how many due broadcasts were held or put off, and those that go now.
        """
        self._hold_stranded(connection)
        load, claimed, put_aside = Counter(work.account for work in self.under_way.values()), list[Broadcast](), 0
        quoting = {name for name in self.slots.preparing if self.slots.is_quoting(connection, name)}
        for _ in self.providers:
            free = [name for name in self.providers if load[name] < ACCOUNT_AT_ONCE and name not in quoting]
            for row in self._due(connection, lease_now, free):
                if load[row.account] >= ACCOUNT_AT_ONCE:
                    continue
                with alone(connection, "dispatch", row.id, row.workspace):
                    if self._hold_or_postpone(connection, row):
                        put_aside += 1
                    elif self.slots.has_slot(connection, row):
                        moved = self._claim_one(connection, row)
                        claimed += moved
                        load[row.account] += len(moved)
            if all(load[name] < ACCOUNT_AT_ONCE for name in free):
                break  # no account blocked another
        return put_aside, claimed

    def _hold_late(self, connection: Connection, lease_now: Micros) -> int:
        """Hold what is past its grace and needs a person: many at once, so that nothing waits behind them."""
        now, accounts = self.clock(), list(self.providers)
        before = now - micros(self.settings.grace) - 1
        late = queue.due(connection, before, queue.AT_ONCE, lease_at=lease_now, taken={}, accounts=accounts)

        def holding(row: Broadcast) -> Step | None:
            gate = self.gates.closed(connection, row, now)
            return None if gate is None else self.setbacks.holding(row, gate)

        return move_together(connection, late, holding)

    def _due(self, connection: Connection, lease_now: Micros, accounts: list[str]) -> list[Broadcast]:
        """Return due broadcasts, without those that wait for their account's one slot and would block others."""
        now = self.clock()
        taken = self.slots.taken(connection, lease_now)
        return queue.due(connection, now, CLAIM_AT_ONCE, lease_at=lease_now, taken=taken, accounts=accounts)

    def _hold_or_postpone(self, connection: Connection, row: Broadcast) -> bool:
        """Whether it was held by a gate, or put off because its vendor cannot be reached."""
        now = self.clock()
        gate = self.gates.closed(connection, row, now)
        if gate is not None:
            return self.setbacks.hold(connection, row, gate)
        return not self.breakers.within_reach(connection, row, now)

    def _hold_stranded(self, connection: Connection) -> None:
        """Hold broadcasts past their grace whose account our settings lack.

        Another process may have the account, so only after the grace is it clear that none does.
        """
        now = self.clock()
        late = now - micros(self.settings.grace) - 1
        for row in queue.stranded(connection, late, list(self.providers)):
            with alone(connection, "dispatch", row.id, row.workspace):
                gate = self.gates.closed(connection, row, now)
                if gate is not None and gate.hold is Hold.LATE:
                    template = (
                        "The bot's settings have no account {account}, so this broadcast did not start. Put the "
                        "account back, or drop the broadcast."
                    )
                    gate = replace(gate, sentence=Translatable(template, account=row.account))
                    self.setbacks.hold(connection, row, gate)

    def _claim_early(self, connection: Connection, lease_now: Micros) -> list[Broadcast]:
        """Claim what can be prepared inside the undo window, so that people see its size and cost before it goes."""
        if not self.slots.preparing:
            return []
        now, claimed = self.clock(), []
        until = now + micros(self.settings.approval.undo)
        until_then = self.leases.until(connection, self.leases.staging)
        reached = [name for name in self.slots.preparing if not keys.breaker(connection, name).is_open(now)]
        for row in queue.to_stage(connection, reached, now, until, lease_at=lease_now):
            with alone(connection, "dispatch", row.id, row.workspace):
                if self.gates.closed(connection, row, now) is None and self.slots.has_slot(connection, row):
                    # a new attempt, because the vendor takes each request id once
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
        """Undo the claims: another process, or the next one, starts them at once."""
        now = self.clock()
        for row in claimed:
            with alone(connection, "dispatch", row.id, row.workspace):
                if row.state is State.SENDING:
                    self.setbacks.put_back(connection, row, now, "stopping")
                else:
                    broadcasts.touch(connection, row, now, **NO_LEASE)

    def _reopen(self, connection: Connection) -> int:
        """Reopen what was held only for sending hours, once they open or a pause over that time has ended."""
        rows = queue.reopened(connection, self.clock(), self.switch.paused)
        return move_together(connection, rows, partial(self._opening, connection))

    def _opening(self, connection: Connection, row: Broadcast) -> Step:
        """Return the step that reopens it. If a pause made it late, say so and leave a moment in which to stop it."""
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
        notes = [Note(Translatable(template, opens_at=row.hold_until or 0, start_at=starts_at), mention=row.requester)]
        return Step(row, Action.RESUME, "clock", now, None, notes, opened)
