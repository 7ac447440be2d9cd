"""The tick: claims due broadcasts and carries each to its outcome."""

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
from bot.sending.breakers import Breakers
from bot.sending.claims import Claims, UnderWay
from bot.sending.leases import Leases
from bot.sending.outcomes import Outcomes
from bot.sending.release import Releaser
from bot.sending.setbacks import Setbacks
from bot.sending.sizes import Sizes
from bot.sending.slots import Slots
from bot.sending.staging import Stager
from bot.storage import campaigns, cards, queue
from bot.workflow.clock_guard import ClockGuard
from bot.workflow.gate import Gates
from bot.workflow.kill_switch import KillSwitch
from bot.workflow.workflow import Workflow

log = structlog.get_logger(__name__)
LAST_WRITE = 5.0  # seconds that a stopping process keeps trying to write answers


class Dispatcher:
    """The only place that makes phones ring: each tick claims due broadcasts and carries each to its outcome."""

    def __init__(self, runtime: Runtime, workflow: Workflow, switch: KillSwitch, leases: Leases | None = None) -> None:
        self.database, self.clock, self.monotonic = runtime.database, runtime.clock, runtime.monotonic
        self.wake, self.switch = runtime.wake, switch
        self.guard = ClockGuard(runtime.clock, runtime.monotonic)
        self.leases = leases or Leases(runtime)
        gates = Gates(runtime.settings, runtime.providers, runtime.policies, self.guard)
        breakers, slots = Breakers(runtime), Slots(runtime, self.leases)
        setbacks = Setbacks(runtime.settings, runtime.clock)
        outcomes = Outcomes(runtime, gates, breakers, setbacks, self.switch)
        self.stager = Stager(runtime, workflow.approvers.requirements)
        self.claims = Claims(runtime, gates, breakers, slots, setbacks, self.switch)
        self.releaser = Releaser(runtime, workflow, self.stager, gates, self.leases, outcomes, self.switch)
        self.sizes = Sizes(runtime, workflow, self.stager, slots)
        self.running: set[asyncio.Task[None]] = set()

    async def tick(self) -> None:
        """Recover what a dead process left, reopen what may go again, and start what is due."""
        self.guard.watch()
        changed = queue.AT_ONCE
        while (
            changed >= queue.AT_ONCE and not self.switch.stopping
        ):  # after downtime there is a backlog: one short transaction after another
            began = self.monotonic()
            number = self.switch.begin_tick()
            changed, claimed, left = await self._round()
            self.switch.end_tick(number)
            self.claims.recovery.done = True
            if self.switch.stopping:  # stopping began during the write
                await self.database.write(partial(self.claims.give_back, claimed=claimed))
                return
            for row in claimed:
                self._start(row, began + self.leases.staging)
            for account in dict.fromkeys(one.account for one in left):  # a vendor that hangs delays only itself
                theirs = [one for one in left if one.account == account]
                self._run(self.stager.recall(theirs), f"recall {account}")
            if changed or claimed:
                self.wake(Task.DISPATCH, Task.PAINT)
        await self._draw_pauses()

    async def _round(self) -> tuple[int, list[Broadcast], list[campaigns.Leftover]]:
        """Claim the work of one round. Read first, so that an idle tick writes nothing and delays no other write."""
        if self.claims.recovery.done and not await self.database.read(self.claims.work_waits):
            return 0, [], []
        return await self.database.write(self._tick)

    def _tick(self, connection: Connection) -> tuple[int, list[Broadcast], list[campaigns.Leftover]]:
        return *self.claims.claim_due_work(connection), self.stager.take_leftovers(connection)

    async def _draw_pauses(self) -> None:
        """Redraw the cards of waiting broadcasts, which show whether sending is paused.

        There may be very many: each tick draws some, and the next tick comes at once.
        """
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
        """Free the place in its account. Another attempt of the same broadcast may already be under way."""
        if key in self.claims.under_way and self.claims.under_way[key].task is task:
            del self.claims.under_way[key]
        self.wake(Task.DISPATCH)

    async def stop(self, patience: float) -> None:
        """Start no new sends. Those in flight get `patience` seconds, then end as unknown."""
        self.switch.stopping = True
        late = await self._left_of(self.running, patience)
        for task in late:
            task.cancel()
        if await self._left_of(
            {*late, *self.releaser.writing}, LAST_WRITE
        ):  # these continue for as long as the process lives
            log.error("not every answer could be written down; what it was about will be unknown")

    @staticmethod
    async def _left_of(tasks: set[asyncio.Task[None]], seconds: float) -> set[asyncio.Task[None]]:
        """Return those still running after `seconds`."""
        return (await asyncio.wait(tasks, timeout=seconds))[1] if tasks else set()
