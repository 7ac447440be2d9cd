"""The periodic tasks: which are woken, when, and what is still done at a stop."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from benchmarks import rows
from bot.domain.lifecycle import State
from bot.scheduler import GATHER, Lanes, PeriodicTask, Scheduler, Task, concerned
from tests.support import patience
from tests.support.patience import until

HOUR = 3600.0
GATHERING = 1.0  # seconds for which a task gathers wakes here: enough on a busy machine


class Worker:
    """Something to do, and how often it was begun and done. `free`: it goes on while this is set."""

    def __init__(self) -> None:
        self.begun = self.done = 0
        self.free = asyncio.Event()
        self.free.set()

    async def work(self) -> None:
        self.begun += 1
        await self.free.wait()
        self.done += 1


async def started(*bells: PeriodicTask) -> Scheduler:
    scheduler = Scheduler(*bells)
    scheduler.start()
    return scheduler


async def test_many_wakes_are_one_ring_and_nobody_else_is_woken() -> None:
    paint, dispatch, track = Worker(), Worker(), Worker()
    scheduler = await started(
        PeriodicTask(Task.PAINT, HOUR, paint.work, gather=GATHERING),
        PeriodicTask(Task.DISPATCH, HOUR, dispatch.work, gather=0.0),
        PeriodicTask(Task.TRACK, HOUR, track.work, gather=0.0),
    )
    await until(lambda: (paint.done, dispatch.done, track.done) == (1, 1, 1))  # once at the start
    for _ in range(50):
        scheduler.wake(Task.PAINT, Task.DISPATCH)
    await until(lambda: dispatch.done == 2)
    assert paint.done == 1  # a send waits for dispatch, so it runs at once; nobody waits for paint
    await until(lambda: paint.done == 2)
    await asyncio.sleep(3 * GATHER)
    assert (paint.done, dispatch.done, track.done) == (2, 2, 1)
    await scheduler.stop(1)


async def test_a_wake_without_a_name_is_for_all_and_a_name_that_is_not_known_is_for_nobody() -> None:
    workers = [Worker(), Worker()]
    bells = [PeriodicTask(name, HOUR, one.work) for name, one in zip(("paint", "track"), workers, strict=True)]
    scheduler = await started(*bells)
    await until(lambda: [one.done for one in workers] == [1, 1])
    scheduler.wake("a task of a newer version")
    await asyncio.sleep(3 * GATHER)
    assert [one.done for one in workers] == [1, 1]
    scheduler.wake()
    await until(lambda: [one.done for one in workers] == [2, 2])
    await scheduler.stop(1)


async def test_what_it_was_woken_for_while_it_worked_is_not_lost() -> None:
    slow = Worker()
    slow.free.clear()
    scheduler = await started(PeriodicTask(Task.PAINT, HOUR, slow.work))
    await until(lambda: slow.begun == 1)
    scheduler.wake(Task.PAINT)
    await asyncio.sleep(2 * GATHER)
    slow.free.set()
    await until(lambda: slow.done == 2)
    await scheduler.stop(1)


@pytest.mark.parametrize("busy", [False, True])
async def test_what_it_was_woken_for_just_before_the_stop_is_done_yet(busy: bool) -> None:
    woken, asleep = Worker(), Worker()
    scheduler = await started(
        PeriodicTask(Task.PAINT, HOUR, woken.work, gather=GATHERING), PeriodicTask(Task.TRACK, HOUR, asleep.work)
    )
    await until(lambda: (woken.done, asleep.done) == (1, 1))
    if busy:
        woken.free.clear()
        scheduler.bells[0].rung.set()
        await until(lambda: woken.begun == 2)
    scheduler.wake(Task.PAINT)
    stopping = asyncio.create_task(scheduler.stop(20))
    await asyncio.sleep(0.01)
    woken.free.set()
    await stopping
    assert (woken.done, asleep.done) == (3 if busy else 2, 1)


async def test_after_the_stop_nothing_rings() -> None:
    worker = Worker()
    scheduler = await started(PeriodicTask(Task.PAINT, HOUR, worker.work))
    await until(lambda: worker.done == 1)
    await scheduler.stop(1)
    scheduler.wake(Task.PAINT)
    await asyncio.sleep(2 * GATHER)
    assert worker.done == 1


async def test_a_stop_waits_no_longer_than_it_may() -> None:
    hanging = Worker()
    hanging.free.clear()
    scheduler = await started(PeriodicTask(Task.PAINT, HOUR, hanging.work))
    await until(lambda: hanging.begun == 1)
    scheduler.wake(Task.PAINT)
    async with asyncio.timeout(patience.LONG):
        await scheduler.stop(0.1)
    assert hanging.done == 0


async def test_it_works_at_its_interval_though_nobody_wakes_it() -> None:
    worker = Worker()
    scheduler = await started(PeriodicTask(Task.TRACK, 0.05, worker.work))
    await until(lambda: worker.done >= 4)
    await scheduler.stop(1)


def test_every_state_wakes_those_that_have_work_with_it() -> None:
    row = rows.sample(1, size=None)
    found = {state: set(concerned(replace(row, state=state))) for state in State}
    assert found.pop(State.DRAFT) == set()
    assert found[State.PENDING] == {Task.PAINT, Task.SIZES}
    assert found[State.SCHEDULED] == {Task.PAINT, Task.DISPATCH, Task.SIZES}
    assert found[State.SENT] == {Task.PAINT, Task.TRACK}
    assert all(Task.PAINT in tasks for tasks in found.values())
    assert Task.SIZES not in concerned(replace(row, state=State.PENDING, size=7))


async def test_a_vendor_that_hangs_keeps_nobody_elses_work_waiting() -> None:
    lanes, hanging, other = Lanes(Task.TRACK), Worker(), Worker()
    hanging.free.clear()
    other.free.set()
    lanes.start("encom", hanging.work)
    for number in range(1, 4):
        lanes.start("octo", other.work)
        await until(lambda: other.done == number)  # noqa: B023
    assert (lanes.busy(), hanging.done) == (["encom"], 0)
    hanging.free.set()
    await lanes.settle()
    assert (lanes.busy(), hanging.done) == ([], 1)


async def test_work_at_an_account_that_breaks_is_begun_again() -> None:
    lanes, worker = Lanes(Task.TRACK), Worker()

    async def breaks() -> None:
        raise RuntimeError("anybody's")

    lanes.start("encom", breaks)
    await lanes.settle()
    assert lanes.busy() == []
    worker.free.set()
    lanes.start("encom", worker.work)
    await lanes.settle()
    assert worker.done == 1


async def test_a_stop_gives_up_what_hangs_at_a_vendor() -> None:
    lanes, hanging = Lanes(Task.TRACK), Worker()
    hanging.free.clear()
    scheduler = Scheduler(PeriodicTask(Task.TRACK, HOUR, hanging.work), lanes=[lanes])
    lanes.start("encom", hanging.work)
    async with asyncio.timeout(patience.LONG):
        await scheduler.stop(0.1)
    assert (lanes.busy(), hanging.done) == ([], 0)
