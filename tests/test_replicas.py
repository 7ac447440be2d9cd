"""Several processes on one PostgreSQL, and the vendor's ledger as the judge: nothing twice, nothing lost.

The short form always runs. The long form: `BELLCRIER_ROUNDS=200 BELLCRIER_RESTARTS=4 BELLCRIER_STOPS=35 pytest -n 0
tests/test_replicas.py`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Connection, select

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, now
from bot.domain.lifecycle import Phase, State
from bot.storage import audit, broadcasts, tables
from bot.storage.engines import open_database
from bot.storage.postgres import Postgres
from bot.storage.schema import upgrade
from sandbox.server import Sandbox
from tests.support.ground import changed, control, new_postgres, postgres_server, raw_settings
from tests.support.patience import LONG, quiet, until
from tests.support.replica import TEAM

ROUNDS = int(os.environ.get("BELLCRIER_ROUNDS", "5"))
RESTARTS = int(os.environ.get("BELLCRIER_RESTARTS", "2"))
SHARES = (17, 17, 16)  # fifty among three
STOPS = int(os.environ.get("BELLCRIER_STOPS", "3"))
ROOT = Path(__file__).parent.parent
LEASE = {"staging": 1.6, "margin": 0.4}  # two seconds in all; the vendor's timeout is 1.6 too
TOLD = {"approve", "cancel", "StaleVersion", "DatabaseBusy", "CommitUncertain"}


class Process:
    """A running replica; `do` asks it for a decision and waits for the outcome."""

    def __init__(self, process: asyncio.subprocess.Process, owner: str) -> None:
        self.process, self.owner = process, owner
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read())

    async def ready(self) -> None:
        async with asyncio.timeout(LONG):
            await self._ready

    async def do(self, decision: str, **given: Any) -> Any:
        """Raises RuntimeError with the name of the replica's error."""
        number, told = next(self._numbers), asyncio.get_running_loop().create_future()
        self._waiting[number] = told
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"number": number, "do": decision, "with": given}).encode() + b"\n")
        return await told

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            told = json.loads(line)
            if "ready" in told:
                self._ready.set_result(None)
            elif "failed" in told:
                self._waiting.pop(told["number"]).set_exception(RuntimeError(told["failed"]))
            else:
                self._waiting.pop(told["number"]).set_result(told["outcome"])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    async def end(self) -> None:
        self.process.kill()
        await self.process.wait()
        await self._reading


class Fleet:
    """Three processes, the database that they share, and the vendor."""

    def __init__(self, processes: list[Process], database: Postgres, sandbox: Sandbox) -> None:
        self.processes, self.database, self.sandbox = processes, database, sandbox
        self.asked = itertools.count()

    def text(self) -> str:
        return f"Soldes numero {next(self.asked)}."

    async def ask(self, text: str) -> str:
        """Ask one process after another with the same key until one accepts, and return the id."""
        for process in itertools.cycle(self.processes):
            try:
                return str(await process.do("ask", key=text, text=text))
            except RuntimeError as error:
                if str(error) not in ("DatabaseBusy", "CommitUncertain"):
                    raise
                await asyncio.sleep(0.1)
        raise AssertionError

    async def approve(self, id: str) -> None:
        for process in itertools.cycle(self.processes):
            told = await process.do("act", id=id, acts=[("approve", 0)], at=0)
            if told.keys() <= {"approve", "StaleVersion"}:
                return
            assert told.keys() <= {"DatabaseBusy", "CommitUncertain"}, told
            await asyncio.sleep(0.1)

    async def at_once(self, id: str, acts: list[tuple[str, int | None]]) -> Counter[str]:
        """Do all acts at the same instant, shared among the processes, and count the answers."""
        at = time.time() + 0.05
        shares = [acts[number :: len(self.processes)] for number in range(len(self.processes))]
        decisions = [
            process.do("act", id=id, acts=share, at=at) for process, share in zip(self.processes, shares, strict=True)
        ]
        told: Counter[str] = Counter()
        for outcome in await asyncio.gather(*decisions):
            told.update(outcome)
        assert told.keys() <= TOLD, told
        return told

    async def row(self, id: str) -> Broadcast:
        return await self.database.read(lambda c: broadcasts.find(c, TEAM, id), patience=None)

    async def becomes(self, id: str, *states: State) -> Broadcast:
        async def there() -> Broadcast | None:
            row = await self.row(id)
            return row if row.state in states else None

        return cast(Broadcast, await until(there))

    async def actions(self, id: str) -> list[str]:
        history = await self.database.read(lambda c: audit.history(c, TEAM, id), patience=None)
        return [str(step["action"]) for step in history]

    async def occurrences(self, schedule: str) -> list[str]:
        """The broadcasts made from a schedule so far."""
        made = select(tables.broadcasts.c.id).where(tables.broadcasts.c.schedule == schedule)
        return list(await self.database.read(lambda c: c.execute(made).scalars().all()))

    def sent(self, text: str) -> int:
        """How often the vendor accepted this text."""
        return sum(accepted.text.startswith(text) for accepted in self.sandbox.vendors.ledger)


MakeFleet = Callable[..., Awaitable[Fleet]]


@pytest.fixture
async def make_fleet(sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[MakeFleet]:
    async with AsyncExitStack() as stack:

        async def make(url: str, *, dispatcher: dict[str, Any] | None = None, **changes: Any) -> Fleet:
            database = open_database(url, LONG)
            assert isinstance(database, Postgres)
            stack.push_async_callback(database.close)
            await database.write(upgrade, patience=None)
            raw = raw_settings(sandbox, 1, tmp_path)
            changed(
                raw, {"approval.undo": "0s", "accounts.encom.requests_per_second": 1000, "hourly_cap": 9999, **changes}
            )
            given = {"settings": raw, "database": url, "dispatcher": dispatcher or {}}
            processes = [await start(given | {"owner": f"replica-{number}"}) for number in range(3)]
            stack.push_async_callback(end, processes)
            for process in processes:
                await process.ready()
            return Fleet(processes, database, sandbox)

        yield make


async def start(given: dict[str, Any]) -> Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.replica", json.dumps(given),
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    return Process(process, given["owner"])


async def end(processes: list[Process]) -> None:
    await asyncio.gather(*(process.end() for process in processes))


@pytest.fixture
def url(postgres: Any) -> Iterator[str]:
    with new_postgres(postgres) as address:
        yield address


@pytest.fixture
def server() -> Iterator[Any]:
    """A PostgreSQL of this test's own, to be restarted as by a power cut."""
    with postgres_server() as own:
        yield own


async def restart(server: Any) -> None:
    await asyncio.to_thread(control, server, "-l", str(server.log), "restart")


# --- everybody at once -----------------------------------------------------------------------------------------------


@pytest.mark.long
async def test_fifty_approvals_at_once_over_three_processes_make_one_send(make_fleet: MakeFleet, url: str) -> None:
    fleet = await make_fleet(url)
    for _ in range(ROUNDS):
        text = fleet.text()
        id = await fleet.ask(text)
        told = await fleet.at_once(id, [("approve", number) for number in range(50)])
        assert told["approve"] >= 1
        await fleet.becomes(id, State.SENT)
        steps = Counter(await fleet.actions(id))
        assert (steps["approve"], steps["start"], steps["release"], steps["accept"]) == (1, 1, 1, 1), steps
        assert fleet.sent(text) == 1
    assert len(fleet.sandbox.vendors.ledger) == ROUNDS


@pytest.mark.long
async def test_of_approve_and_cancel_at_once_over_three_processes_one_wins_everywhere(
    make_fleet: MakeFleet, url: str
) -> None:
    fleet = await make_fleet(url)
    ends: Counter[State] = Counter()
    for _ in range(ROUNDS):
        text = fleet.text()
        id = await fleet.ask(text)
        acts: list[tuple[str, int | None]] = [("approve", number) for number in range(25)]
        told = await fleet.at_once(
            id, [act for pair in zip(acts, [("cancel", None)] * 25, strict=True) for act in pair]
        )
        row = await fleet.becomes(id, State.SENT, State.CANCELLED)
        steps = Counter(await fleet.actions(id))
        assert steps["approve"] + steps["cancel"] >= 1
        assert max(steps.values()) == 1, steps
        if row.state is State.CANCELLED:  # even if it was approved a moment before
            assert (told["cancel"], steps["cancel"], steps["release"], fleet.sent(text)) == (1, 1, 0, 0)
        else:
            assert (told["cancel"], steps["approve"], steps["release"], fleet.sent(text)) == (0, 1, 1, 1)
        ends[row.state] += 1
    await quiet()
    assert len(fleet.sandbox.vendors.ledger) == ends[State.SENT]


@pytest.mark.long
async def test_one_due_occurrence_that_three_processes_make_fifty_times_at_once_is_one_broadcast_and_one_send(
    make_fleet: MakeFleet, url: str
) -> None:
    fleet = await make_fleet(url)
    schedules = tables.schedules
    for _ in range(ROUNDS):
        text = fleet.text()
        schedule = await fleet.processes[0].do("every", key=text, text=text)
        due = schedules.update().where(schedules.c.id == schedule).values(next_at=now() - SECOND)
        await fleet.database.write(partial(Connection.execute, statement=due))
        at = time.time() + 0.05
        fired = [process.do("fire", times=times, at=at) for process, times in zip(fleet.processes, SHARES, strict=True)]
        told: Counter[str] = Counter()
        for outcome in await asyncio.gather(*fired):
            told.update(outcome)
        assert told.keys() <= {"done", "DatabaseBusy", "CommitUncertain"}, told
        (id,) = await fleet.occurrences(schedule)
        await fleet.approve(id)
        await fleet.becomes(id, State.SENT)
        assert Counter(await fleet.actions(id))["release"] == 1
        assert fleet.sent(text) == 1
    assert len(fleet.sandbox.vendors.ledger) == ROUNDS


# --- the database restarts -------------------------------------------------------------------------------------------


@pytest.mark.long
async def test_immediate_restarts_of_postgresql_under_load_send_nothing_twice_and_lose_nothing(
    make_fleet: MakeFleet, server: Any
) -> None:
    with new_postgres(server) as url:
        fleet = await make_fleet(url)
        fleet.sandbox.vendors.faults.add("encom.release", "slow", times=10**6, seconds=0.2)
        ids: dict[str, str] = {}
        over = asyncio.Event()

        async def load() -> None:
            while not over.is_set():
                text = fleet.text()
                ids[text] = await fleet.ask(text)
                await fleet.approve(ids[text])

        loading = [asyncio.create_task(load()) for _ in range(6)]
        for number in range(1, RESTARTS + 1):
            await until(lambda: len(ids) >= 10 * number)  # noqa: B023 - something is always under way at a restart
            await restart(server)
        over.set()
        await asyncio.gather(*loading)
        for text, id in ids.items():
            await fleet.becomes(id, State.SENT)  # not even one unknown: each process kept its answers
            assert fleet.sent(text) == 1
        assert len(fleet.sandbox.vendors.ledger) == len(ids) == len(set(ids.values()))


@pytest.mark.long
async def test_after_a_restart_the_others_are_heard_again(server: Any) -> None:
    with new_postgres(server) as url:
        here, there = open_database(url, LONG), open_database(url, LONG)
        heard = asyncio.Event()
        await here.listen(heard.set)
        await asyncio.wait_for(heard.wait(), LONG)
        heard.clear()  # before the restart, since `here` may reconnect while `restart` still waits
        await restart(server)
        await asyncio.wait_for(heard.wait(), LONG)  # reconnected, which counts as a hint
        heard.clear()
        await there.notify_peers()
        await asyncio.wait_for(heard.wait(), LONG)
        await here.close()
        await there.close()


# --- a process is stopped for longer than its lease ------------------------------------------------------------------


async def held_by(fleet: Fleet, ids: list[str], phase: Phase) -> Process:
    """Wait until a process has one of these in this phase, and return that process."""
    async with asyncio.timeout(LONG):
        while True:
            for id in ids:
                row = await fleet.row(id)
                if row.phase is phase:
                    return next(process for process in fleet.processes if process.owner == row.owner)
            await asyncio.sleep(0.01)


@pytest.mark.long
async def test_a_process_that_is_stopped_for_longer_than_its_lease_sends_nothing_twice_and_loses_nothing(
    make_fleet: MakeFleet, url: str
) -> None:
    fleet = await make_fleet(url, dispatcher=LEASE, **{"accounts.encom.timeout": 1.6})
    ends: Counter[tuple[Phase, State]] = Counter()
    for number in range(STOPS):
        phase = (Phase.STAGING, Phase.RELEASING)[number % 2]
        step = "encom.recipients" if phase is Phase.STAGING else "encom.release"
        fleet.sandbox.vendors.faults.add(step, "slow", times=2, seconds=0.9)
        texts = {fleet.text(): "" for _ in range(2)}
        for text in texts:
            texts[text] = await fleet.ask(text)
        await asyncio.gather(*(fleet.approve(id) for id in texts.values()))
        stopped = await held_by(fleet, list(texts.values()), phase)
        stopped.stop()
        await asyncio.sleep(3)  # longer than its lease
        stopped.go_on()
        for text, id in texts.items():
            row = await fleet.becomes(id, State.SENT, State.UNKNOWN)
            ends[phase, row.state] += 1
            assert fleet.sent(text) <= 1
        fleet.sandbox.vendors.faults.clear()
    await quiet(1.5)
    assert set(Counter(accepted.text for accepted in fleet.sandbox.vendors.ledger).values()) == {1}
    assert sum(ends.values()) == 2 * STOPS
    assert ends[Phase.STAGING, State.SENT] > 0
