"""A world made of one seed: what it holds, how it lives for some steps, and how it comes to rest."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from prometheus_client import generate_latest

from bot.config.settings import Settings
from bot.domain.clock import SECOND, Micros, moment
from bot.domain.lifecycle import ENDED, State
from bot.domain.people import DirectoryUnavailable, Person
from bot.logs import set_up
from bot.web.metrics import Meters
from tests.simulation.loop import VirtualLoop
from tests.simulation.process import Killed, Process, Spoil, intact
from tests.simulation.steps import STEPS, Steps
from tests.simulation.store import StoreFault, memory
from tests.simulation.vendors import FAULTS, Fate, Vendor
from tests.simulation.witness import Violation, Witness
from tests.simulation.world import APPROVERS, BEGINNINGS, GUEST, TEAM, policies_for, settings_for

LIFE = 70  # steps
DAY = 24 * 3600.0
REST = (1.0, 15.0, 60.0, 400.0, 0.3 * DAY)  # pauses while a world comes to rest; the last one repeats
LONGEST_REST = 40
#: A world in which most broadcasts recur: their occurrences depend on each other.
SERIES = {"submit": 1.0, "ask_again_and_again": 9.0, "approve": 30.0, "withdraw": 5.0, "wait_for_the_next": 25.0}
CALLED_AGAIN = 6  # how often a vendor retries a callback


@dataclass
class Conditions:
    """The kind of world that a seed makes. Worlds differ, so that rare events often coincide in some of them."""

    begins: Micros
    replicas: int
    exclusive: bool  # one process at a time may dispatch, as on SQLite
    mode: str
    cap: int
    vendor_faults: float
    store_faults: float
    skews: bool
    liking: dict[str, float]  # the weight of each step

    @classmethod
    def of(cls, chance: random.Random) -> Conditions:
        exclusive = chance.random() < 0.3
        liking = {step.name: step.weight * chance.choice((0.2, 1.0, 1.0, 4.0)) for step in STEPS}
        if chance.random() < 0.15:
            liking |= SERIES
        return cls(
            begins=chance.choice(BEGINNINGS) + chance.randrange(1200) * SECOND,
            replicas=1 if exclusive else chance.choice((2, 2, 3)),
            exclusive=exclusive,
            mode="training" if chance.random() < 0.15 else "live",
            cap=chance.choice((3, 60, 60, 60)),
            vendor_faults=chance.choice((0.0, 0.2, 0.5, 0.8)),
            store_faults=chance.choice((0.0, 0.0, 0.05, 0.2)),
            skews=chance.random() < 0.3,
            liking=liking,
        )

    def __str__(self) -> str:
        many = "one process at a time" if self.exclusive else f"{self.replicas} replicas"
        faults = f"{self.vendor_faults:.0%} of exchanges and {self.store_faults:.0%} of commits fail"
        return f"{moment(self.begins):%a %d %b %Y %H:%M} UTC, {many}, {self.mode}, cap {self.cap}, {faults}"


@dataclass
class Outcome:
    seed: int
    violation: Violation | None
    counts: Counter[tuple[str, str]]
    trace: list[str] = field(default_factory=list)


def run(seed: int, spoil: Spoil = intact, *, trace: bool = False, life: int = LIFE) -> Outcome:
    """Live one world. A trace is the same life told in words."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        world = World(seed, spoil, trace=trace)
        with listening(world.witness.ear):
            runner.run(world.live(life))
        return Outcome(seed, world.witness.violation, world.counts, world.trace)


class World:
    def __init__(self, seed: int, spoil: Spoil, *, trace: bool) -> None:
        self.chance = random.Random(seed)
        self.conditions = Conditions.of(self.chance)
        self.spoil, self.tracing, self.trace = spoil, trace, [f"{self.conditions}"]
        self.counts: Counter[tuple[str, str]] = Counter()
        self.memory = memory()
        self.memory.clear()
        self.mode, self.calm, self.era = self.conditions.mode, False, 0
        self.vendors = {
            (mode, account): Vendor(self, account, live=mode == "live")
            for mode in ("live", "training")
            for account in self.settings.accounts
        }
        self.witness = Witness(self)
        self.meters = Meters()
        self.gone: dict[str, float] = {}  # people who have left the approvers' group, since when
        self.departed: dict[str, float] = {}  # people who have left the workspace, since when
        self.widest_skew = 0.0
        self.processes: list[Process] = []
        self.steps = Steps(self)
        self._ids = self._names = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    # --- what there is -----------------------------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        return settings_for(self.mode, self.conditions.cap)

    @property
    def policies(self) -> dict[str, Any]:
        return policies_for(self.mode, self.conditions.cap)

    def vendor(self, account: str) -> Vendor:
        """In training every account goes to the sandbox."""
        return self.vendors[self.mode, account]

    def time(self) -> float:
        """Seconds since this world began."""
        return asyncio.get_running_loop().time()

    def now(self) -> Micros:
        return self.conditions.begins + round(self.time() * SECOND)

    def new_id(self) -> str:
        self._ids += 1
        return f"B{self._ids:07}"

    async def members(self, group: str) -> frozenset[str]:
        if self.struck(0.03):
            raise DirectoryUnavailable(group)
        return frozenset(APPROVERS) - self.gone.keys()

    def somebody(self, id: str) -> Person:
        return Person(TEAM, id, name=id.title(), zone="Europe/Paris", member=id != GUEST and id not in self.departed)

    async def person(self, workspace: str, id: str) -> Person:
        if self.struck(0.03):
            raise DirectoryUnavailable(id)
        return self.somebody(id)

    async def why_closed(self, channel: str) -> None:
        return None

    async def may_read(self, channel: str, user: str) -> bool:
        return True

    async def sees(self, channel: str, user: str) -> bool:
        return True

    async def is_in(self, channel: str, user: str) -> bool:
        return True

    def start_process(self) -> Process:
        self._names += 1
        process = Process(self, f"process {self._names}", self.spoil)
        if self.conditions.skews:
            process.skew = self.chance.randint(-90, 90) * SECOND
            self.skewed(process)
        self.processes.append(process)
        self.say(f"  {process} starts" + (f", its clock {process.skew / SECOND:+.0f} s" if process.skew else ""))
        return process

    def skewed(self, process: Process) -> None:
        self.widest_skew = max(self.widest_skew, abs(process.skew) / SECOND)

    @property
    def alive(self) -> list[Process]:
        return [process for process in self.processes if process.alive]

    # --- chance ------------------------------------------------------------------------------------------------------

    def struck(self, likely: float) -> bool:
        return not self.calm and self.chance.random() < likely

    def a_moment(self) -> float:
        """Seconds that something takes: often none, sometimes enough for others to come in between."""
        return self.chance.choice((0.0, 0.0, 0.0, 0.001, 0.004, 0.05))

    def fate(self, *, release: bool) -> Fate:
        fate = Fate.FINE
        if self.struck(self.conditions.vendor_faults * (1.0 if release else 0.3)):
            fate = self.chance.choice(FAULTS)
        self.count("release" if release else "exchange", fate)
        return fate

    def store_fault(self) -> StoreFault | None:
        if not self.struck(self.conditions.store_faults):
            return None
        fault = self.chance.choice(tuple(StoreFault))
        self.count("commit", fault)
        return fault

    # --- what happens ------------------------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def at(self, when: float, happens: Callable[[], object]) -> None:
        """Do this then, unless the database was restored meanwhile: whatever was under way is lost with it."""
        era = self.era
        asyncio.get_running_loop().call_at(when, lambda: happens() if era == self.era else None)

    def call_back(self, account: str, token: str, body: Any, tries: int = 0) -> None:
        """Deliver a vendor's callback to any living process; try again when none takes it."""
        self.spawn(self._call_back(account, token, body, tries))

    async def _call_back(self, account: str, token: str, body: Any, tries: int) -> None:
        status = 0
        if self.alive:
            with_whom = self.chance.choice(self.alive)
            try:
                status = await with_whom.hear(account, token, body)
            except Killed:
                status = 0
            self.say(f"  {account} calls {with_whom} back: {body['word']} of {body['id']}, answered {status}")
        if (status == 0 or status >= 500) and tries < CALLED_AGAIN:
            self.at(self.time() + 10 * 3**tries, lambda: self.call_back(account, token, body, tries + 1))

    def count(self, kind: str, what: str) -> None:
        self.counts[kind, what] += 1

    def say(self, told: str) -> None:
        if self.tracing:
            self.trace.append(f"{self.time():12.3f}  {told}")

    # --- a life ------------------------------------------------------------------------------------------------------

    async def live(self, life: int) -> None:
        """Take `life` steps, then let everything come to rest. Stop at the first broken promise."""
        loop = asyncio.get_running_loop()
        loop.set_task_factory(self._watched)
        loop.set_exception_handler(lambda _loop, _context: None)  # `_finished` sees them all
        for _ in range(self.conditions.replicas):
            self.start_process()
        names = list(self.conditions.liking)
        weights = list(self.conditions.liking.values())
        for name in ("submit", "submit", "submit", "approve", "approve"):
            await self.steps.take(name)
        for _ in range(life):
            (name,) = self.chance.choices(names, weights)
            self.count("step", name)
            await self.steps.take(name)
            if self._judged():
                break
        else:
            await self._come_to_rest()
            self.witness.settled()
        self.witness.overhear(generate_latest(self.meters.registry).decode())
        self._end()

    def _judged(self) -> bool:
        self.witness.look_round()
        return self.witness.violation is not None

    async def _come_to_rest(self) -> None:
        """End all faults, set every clock right and start fresh processes; then let time pass until nothing waits."""
        self.say("everything comes to rest")
        await self.steps.renew()
        self.calm = True
        for vendor in self.vendors.values():
            vendor.away_until = 0.0
        for round_ in range(LONGEST_REST):
            await self.steps.all_ring()
            if self._judged() or self._rests():
                return
            await asyncio.sleep(self._next(REST[min(round_, len(REST) - 1)]))

    def _rests(self) -> bool:
        resting = ENDED | {State.UNKNOWN}
        return all(row["state"] in resting for row in self.memory.rows("SELECT state FROM broadcasts"))

    def _next(self, pause: float) -> float:
        """Seconds until the next start, at most `pause`; when only a draft waits, until its end."""
        dues = self.memory.rows(
            "SELECT coalesce(due, hold_until, expires_at) AS at, state FROM broadcasts"
            " WHERE state IN ('scheduled', 'held')"
            " UNION ALL SELECT voice_at, state FROM broadcasts WHERE state = 'draft'"
        )
        others = self.memory.rows("SELECT 1 FROM broadcasts WHERE state IN ('pending', 'sending', 'sent') LIMIT 1")
        soonest = min(((row["at"] - self.now()) / SECOND for row in dues if row["at"] is not None), default=pause)
        if soonest <= 0:
            return pause
        return soonest + 1 if soonest < pause or not others else pause

    def _end(self) -> None:
        for process in self.processes:
            process.alive = False

    def _watched(self, loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **more)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        """Report every error of the bot's tasks to the witness."""
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, Killed):
            self.witness.broken("escaped", f"{type(error).__name__}: {error} in {task.get_name()}")


@contextmanager
def listening(ear: logging.Handler) -> Iterator[None]:
    """Send every log line of the bot to this handler alone."""
    if not structlog.is_configured():
        set_up("info")
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    ear.setFormatter(next((handler.formatter for handler in handlers if handler.formatter), None))
    root.handlers[:] = [ear]
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
