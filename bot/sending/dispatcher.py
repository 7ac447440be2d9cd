"""The tick: claims what is due, and carries each broadcast to its outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast
from bot.domain.lifecycle import State
from bot.scheduler import Task
from bot.sending.account_limits import AccountLimits
from bot.sending.claims import Claims, UnderWay
from bot.sending.leases import Leases
from bot.sending.outcomes import Outcomes
from bot.sending.release import Releaser
from bot.sending.sizes import Sizes
from bot.sending.staging import Stager
from bot.sending.steps import Steps
from bot.storage import campaigns, cards, queue
from bot.workflow.clock_guard import ClockGuard
from bot.workflow.gate import Gates
from bot.workflow.kill_switch import KillSwitch
from bot.workflow.workflow import Workflow

log = structlog.get_logger(__name__)
LAST_WRITE = 5.0  # seconds that a stopping process goes on trying to write an answer down


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
