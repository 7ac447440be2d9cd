"""One run of the matrix: people ask, approve and wait, and a process is killed on the way.

The pretend vendor's ledger and the pretend workspace judge the run. They live here, not in the process that dies.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import re
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import Connection, delete, select, update
from sqlalchemy.engine import make_url

from bot.config.load import parse, secret_key_for
from bot.domain.broadcast import Broadcast
from bot.domain.clock import now
from bot.domain.lifecycle import Phase as PhaseOfSending
from bot.domain.lifecycle import State
from bot.sending.tokens import token_for
from bot.storage import audit, vendor_ids
from bot.storage.broadcasts import find, latest
from bot.storage.database import Database
from bot.storage.engines import open_database
from bot.storage.schema import upgrade
from bot.storage.tables import broadcasts, kept, notes, occurrences, schedules
from sandbox.server import Sandbox
from sandbox.vendors.ledger import Accepted
from sandbox.world import Json, SlackError
from tests.crash import child
from tests.crash.points import ENCOM, NAMED, OCTOPUSH, Phase, Point
from tests.support.ground import raw_settings
from tests.support.patience import LONG, SCALE

HERE, WORKSPACE = "C0CAMPAIGNS", "T0BELL"
DATABASES = ("sqlite", "postgresql")
AUDIENCES = {ENCOM: "clients", OCTOPUSH: "newsletter"}
WISHES = ("Sale A", "Sale B", "Sale C")
PATIENCE = 150.0 * SCALE  # seconds for a whole run; on a quiet machine it takes two to eight
AGAIN = 1.0  # seconds until a person who sees no effect presses again

HELD = re.compile(r"Another campaign is waiting at Octopush: (\w+)")
ENDS = {"accepted it. Ids": "sent", "so it did go out": "sent", "may have gone out": "unknown"}
NEWS = {ENCOM: re.compile(r"Deliveries: .*sent"), OCTOPUSH: re.compile("Final report: delivered to 3")}
COUNTS = {ENCOM: {"sent": 2}, OCTOPUSH: {"delivered": 3}}
TAKEN = re.compile("is waiting for approval|You already asked for this|will be posted once|Each one gets its own card")

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["tests.crash.child"])


# --- what a seed decides ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """All choices of a run. `together`: all people act at once; `nth`: at which passage of the point to kill."""

    point: Point
    database: str
    seed: int
    vendor: str
    mode: str
    replicas: int
    wishes: tuple[str, ...]
    together: bool
    nth: int
    pause: float
    undo: str
    stall: bool | None  # whether the vendor took the one call that it never answers; None: it answers
    computing: float

    @property
    def replay(self) -> str:
        return f"python -m tests.crash --point '{self.point.name}' --database {self.database} --seed {self.seed}"


def plan(point: Point, database: str, seed: int) -> Plan:
    dice = random.Random(f"{point.name} {database} {seed}")
    shared = database == "postgresql" and point.phase is not Phase.REMINDING  # a reminder's row names no process
    vendor, replicas = dice.choice(point.vendors), 2 if dice.random() < 0.3 and shared else 1
    wishes = WISHES[: dice.choice((1, 1, 2, 3))]
    # Where `unknown` is not allowed, nothing else may be inside the release when the process dies.
    together = point.phase is not Phase.DECIDED and dice.random() < 0.5
    if point.phase is Phase.NEWS and vendor == ENCOM:
        wishes, together = wishes[:1], True  # its statuses are polled too, at any time
    nth = 1 if together or replicas > 1 else dice.randint(1, point.each * len(wishes))
    stalls = point.name == "call release during" and nth == 1
    return Plan(
        point,
        database,
        seed,
        vendor,
        mode=dice.choice(("socket", "http")),
        replicas=replicas,
        wishes=wishes,
        together=together,
        nth=nth,
        pause=dice.choice((0.0, 0.0, dice.uniform(0, 0.05))),
        undo="2s" if point.each > 1 else dice.choice(("100ms", "300ms")),  # the approval is posted before it goes
        stall=dice.choice((None, True, False)) if stalls else None,
        computing=dice.choice((0.0, 0.2)),
    )


@dataclass
class Result:
    """The result of a run.

    `ends`: the first end that each thread reported; `sends`: how often each broadcast rang phones; `twice`: status
    posts that appear twice in Slack; `wrong`: broken promises, in words.
    """

    point: str
    database: str
    seed: int
    vendor: str
    mode: str
    replicas: int
    ends: list[str] = field(default_factory=list)
    sends: list[int] = field(default_factory=list)
    killed: bool = False
    held: int = 0
    twice: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


# --- databases -------------------------------------------------------------------------------------------------------


class Databases:
    """A database for each run, copied from one that already has the schema. `server`: the address of a PostgreSQL."""

    def __init__(self, folder: Path, server: str | None) -> None:
        self.folder, self.server, self.made, self.version = folder, server, 0, "none"
        self.name = f"crash_{os.getpid()}_{random.randrange(10**6)}"

    async def prepare(self) -> None:
        await self._with_schema(f"sqlite:///{self.folder}/empty.db")
        if self.server is not None:
            await self._admin(f"CREATE DATABASE {self.name}")
            self.version = str(await self._admin("SHOW server_version"))
            await self._with_schema(self._url(self.name))

    async def _with_schema(self, url: str) -> None:
        database = open_database(url, LONG)
        await database.write(upgrade)
        await database.close()

    @asynccontextmanager
    async def fresh(self, kind: str, folder: Path) -> AsyncIterator[str]:
        """Yield the URL of a database of this kind, for the duration of the block."""
        if kind == "sqlite":
            shutil.copy(self.folder / "empty.db", folder / "bell.db")
            yield f"sqlite:///{folder}/bell.db"
            return
        self.made += 1
        name = f"{self.name}_{self.made}"
        await self._admin(f"CREATE DATABASE {name} TEMPLATE {self.name}")
        try:
            yield self._url(name)
        finally:
            await self._admin(f"DROP DATABASE {name} WITH (FORCE)")

    def _url(self, name: str) -> str:
        url = make_url(self.server or "").set(drivername="postgresql", database=name)
        return url.render_as_string(hide_password=False)

    async def _admin(self, statement: str) -> object:
        connection = await asyncpg.connect(self._url("postgres"))
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()


# --- processes -------------------------------------------------------------------------------------------------------


class Front:
    """One address for all running processes, like a load balancer."""

    def __init__(self) -> None:
        self.ports: list[int] = []
        self.port = 0
        self._busy: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Front:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._busy):
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)
        random.shuffle(self.ports)
        try:
            for port in list(self.ports):
                with suppress(OSError):
                    up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
                    await self._join((reader, up_writer), (up_reader, writer))
                    return
        except asyncio.CancelledError:
            pass  # the run is over
        finally:
            writer.close()

    async def _join(self, *ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        """Carry bytes both ways until either end is gone."""
        pumps = [asyncio.create_task(_pump(*way)) for way in ways]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for _, writer in ways:
                writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


class Process:
    """A bot in its own process."""

    def __init__(self, orders: child.Orders) -> None:
        self.pipe, theirs = forks.Pipe(duplex=False)
        self.process = forks.Process(target=child.run, args=(orders, theirs), daemon=True)
        self.process.start()
        self.pid = self.process.pid
        theirs.close()
        self.port = 0

    async def ready(self) -> bool:
        """Return True once it works, or False if it dies first."""
        while not self.pipe.poll():
            if not self.process.is_alive():
                return False
            await asyncio.sleep(0.01)
        try:
            self.port = self.pipe.recv()
        except EOFError:
            return False
        return True

    async def died(self) -> int | None:
        while self.process.is_alive():
            await asyncio.sleep(0.01)
        return self.process.exitcode

    async def end(self) -> None:
        if self.process.is_alive():
            self.process.kill()
        await self.died()
        self.process.close()
        self.pipe.close()


# --- a run -----------------------------------------------------------------------------------------------------------


class Run:
    """The people, the vendors and the processes of one run."""

    def __init__(self, plan: Plan, sandbox: Sandbox, front: Front, url: str, folder: Path) -> None:
        self.plan, self.sandbox, self.front, self.url, self.folder = plan, sandbox, front, url, folder
        self.result = Result(plan.point.name, plan.database, plan.seed, plan.vendor, plan.mode, plan.replicas)
        self.processes: list[Process] = []
        self.settings = self._settings()
        self.spent = folder / "spent"
        self.struck = asyncio.Event()
        self.releasing: set[str] = set()  # what the dead process was releasing
        self.refusals = 0  # requests that Slack showed as failed
        self.pressed: dict[tuple[str, str], float] = {}
        self.ends: dict[str, str] = {}

    def _settings(self) -> dict[str, Any]:
        raw = raw_settings(self.sandbox, self.front.port, self.folder)
        raw |= {"database_url": self.url, "secret_key": "Y3Jhc2hlcy1hcmUtd2hhdC1pdC1pcy1tYWRlLWZvciE="}
        raw["approval"]["undo"] = self.plan.undo
        raw["audiences"]["newsletter"]["id"] = "team"
        return raw

    # --- processes ---------------------------------------------------------------------------------------------------

    async def start(self, *, armed: bool) -> Process:
        point = self.plan.point.name if armed else None
        log = self.folder / "bot.log"
        process = Process(child.Orders(self.settings, log, self.spent, point, self.plan.nth, self.plan.pause))
        self.processes.append(process)
        if await process.ready():
            self.front.ports.append(process.port)
        else:
            self.wrong(f"a process did not start, exit code {process.process.exitcode}")
        return process

    async def tend(self, process: Process) -> None:
        """Start another process when this one is killed, unless others are there to take its place."""
        code = await process.died()
        self.front.ports.remove(process.port)
        if code != -signal.SIGKILL or not self.spent.exists():
            self.wrong(f"a process ended by itself, exit code {code}")
        self.result.killed = True
        await self.look_at_the_dead(process)
        self.struck.set()
        if self.plan.replicas == 1:
            await asyncio.sleep(random.uniform(0, 0.1))
            await self.start(armed=False)

    async def look_at_the_dead(self, dead: Process) -> None:
        """Record what it was releasing, and let its leases lapse, as if minutes had passed."""
        theirs = broadcasts.c.owner.like(f"%-{dead.pid}-%")
        leases = kept.c.name.like("lease:%"), kept.c.value.like(f"%-{dead.pid}-%")

        def look(connection: Connection) -> set[str]:
            releasing = select(broadcasts.c.typed).where(theirs, broadcasts.c.phase == PhaseOfSending.RELEASING)
            found = set(connection.execute(releasing).scalars())
            connection.execute(update(broadcasts).where(theirs).values(lease_until=1))
            connection.execute(delete(kept).where(*leases))
            connection.execute(update(occurrences).where(occurrences.c.draw_at.is_not(None)).values(draw_at=1))
            return found

        database = open_database(self.url, LONG)
        self.releasing = await database.write(look)
        await database.close()

    def wrong(self, told: str) -> None:
        self.result.wrong.append(told)

    async def go(self) -> Result:
        began = time.monotonic()
        first = await asyncio.gather(*(self.start(armed=True) for _ in range(self.plan.replicas)))
        tending = [asyncio.create_task(self.tend(process)) for process in first]
        try:
            async with asyncio.timeout(PATIENCE):
                await self.story()
                await self.judge()
        except TimeoutError:
            self.wrong(f"lost: after {PATIENCE:.0f} s there was no end. {self.shown()}")
        finally:
            for task in tending:
                task.cancel()
            broken = [e for e in await asyncio.gather(*tending, return_exceptions=True) if isinstance(e, Exception)]
            self.result.wrong += [f"the harness broke: {error!r}" for error in broken]
            for process in self.processes:
                await process.end()
        self.result.ends = [self.ends.get(wish, "none") for wish in self.plan.wishes]
        self.result.sends = [self.rung(wish) for wish in self.plan.wishes]
        self.result.seconds = round(time.monotonic() - began, 2)
        return self.result

    def shown(self) -> str:
        threads = {wish: self.thread(wish) for wish in self.plan.wishes}
        return f"struck: {self.struck.is_set()}; ends: {self.ends}; threads: {threads}"

    # --- people ------------------------------------------------------------------------------------------------------

    def open_callbacks(self) -> None:
        """Give our callback address to the vendor that needs one."""
        if self.plan.vendor == OCTOPUSH:
            key = secret_key_for(parse(dict(self.settings)))
            address = f"http://127.0.0.1:{self.front.port}/callbacks/octo/{token_for(key, 'octo')}"
            self.sandbox.vendors.octopush.callback_url = address

    async def story(self) -> None:
        self.open_callbacks()
        if self.plan.stall is not None:
            self.sandbox.vendors.faults.add(f"{self.plan.vendor}.release", "stall", accept=self.plan.stall, seconds=0.5)
        if self.plan.together:
            await self._each(self.ask)
            if self.plan.point.phase is Phase.ASKING:
                await self.struck.wait()
            await self._each(self.decide)
        else:
            for wish in self.plan.wishes:
                await self.ask(wish)
                await self.decide(wish)
        await self._each(self.settle)
        await self.bring_news()

    async def _each(self, act: Callable[[str], Awaitable[None]]) -> None:
        await asyncio.gather(*(act(wish) for wish in self.plan.wishes))

    async def until(self, happened: Callable[[], Any]) -> None:
        while not happened():
            await asyncio.sleep(0.02)

    async def ask(self, wish: str) -> None:
        """Ask for a broadcast, and wait for its card."""
        await self.type(f"/broadcast send {AUDIENCES[self.plan.vendor]} marketing {wish}")
        await self.until(lambda: self.cards(wish))

    async def type(self, line: str) -> None:
        """Type a command, and repeat it as long as Slack shows a failure."""
        while not TAKEN.search(answer := await self.sandbox.acting.command("U0CLEO", HERE, line) or ""):
            self.refusals += not answer
            await asyncio.sleep(0.1)

    async def decide(self, wish: str) -> None:
        """Approve, and watch the thread until it reports an end; if it asks for something, do it."""
        while (end := self.end(wish)) is None:
            thread = self.thread(wish)
            if "Approved by" not in thread:
                await self.press(wish, "U0ANA", "approve")
            elif (held := HELD.search(thread)) and "chose to send it now" not in thread:
                self.clear_vendor(held[1])
                await self.press(wish, "U0CLEO", "send_now")
            await asyncio.sleep(0.02)
        self.ends[wish] = end

    async def press(self, wish: str, user: str, action: str) -> None:
        """Press this button on the newest card that shows it, and not again before it can have had its effect."""
        if time.monotonic() - self.pressed.get((wish, action), -AGAIN) < AGAIN:
            return
        for card in reversed(self.cards(wish)):
            with suppress(SlackError):  # there is no such button on it
                self.refusals += not await self.sandbox.acting.click(user, HERE, card["ts"], f"broadcast.{action}")
                self.pressed[wish, action] = time.monotonic()
                return

    def clear_vendor(self, ticket: str) -> None:
        """Cancel the campaign that is in the way, as a person does on the vendor's own page."""
        campaign = self.sandbox.vendors.octopush.campaigns[ticket]
        if campaign.state == "open":
            campaign.state = "cancelled"

    async def settle(self, wish: str) -> None:
        """Settle an unknown outcome: somebody checks with the vendor, and reports it if nothing went out."""
        if self.ends[wish] == "unknown" and not self.rung(wish):
            while "did not go out" not in self.thread(wish):
                await self.press(wish, "U0ANA", "mark_not_sent")
                await asyncio.sleep(0.02)

    async def bring_news(self) -> None:
        """Have the vendor repeat each message's status until the bot takes it, and wait for the thread to show it."""
        news = [self._news(accepted) for accepted in self.sandbox.vendors.ledger]
        if self.plan.together:
            await asyncio.gather(*(self.repeat(tell) for tells in news for tell in tells))
        else:
            for tells in news:
                for tell in tells:
                    await self.repeat(tell)
        for wish in self.plan.wishes:
            if self.rung(wish):
                await self.until(lambda wish=wish: NEWS[self.plan.vendor].search(self.thread(wish)))  # type: ignore[misc]

    def _news(self, accepted: Accepted) -> list[Callable[[], Awaitable[int]]]:
        vendors, ids = self.sandbox.vendors, accepted.ids
        if accepted.vendor == ENCOM:
            confirmed = ("OK", "SENDING CONFIRMED", "000")
            return [lambda id=id: vendors.encom.tell(ids[0], id, confirmed) for id in ids]  # type: ignore[misc]
        numbers = [f"+3360010000{index}" for index in range(3)]
        return [lambda n=n: vendors.octopush.tell(ids[0], n, "DELIVERED") for n in numbers]  # type: ignore[misc]

    async def repeat(self, tell: Callable[[], Awaitable[int]]) -> None:
        while await tell() != 200:
            await asyncio.sleep(0.1)

    # --- what can be seen --------------------------------------------------------------------------------------------

    def cards(self, wish: str) -> list[Json]:
        return [card for card in self.sandbox.acting.messages(HERE) if f"“{wish} STOP" in card["text"]]

    def replies(self, wish: str) -> list[str]:
        cards = self.cards(wish)
        return [reply["text"] for card in cards for reply in self.sandbox.acting.thread(HERE, card["ts"])]

    def thread(self, wish: str) -> str:
        return "\n".join(self.replies(wish))

    def end(self, wish: str) -> str | None:
        thread = self.thread(wish)
        return next((end for words, end in ENDS.items() if words in thread), None)

    def rung(self, wish: str) -> int:
        """Return how often phones rang for it."""
        return len([accepted for accepted in self.sandbox.vendors.ledger if accepted.text.startswith(f"{wish} STOP")])

    # --- the judge ---------------------------------------------------------------------------------------------------

    async def judge(self) -> None:
        database = open_database(self.url, LONG)
        try:
            await self._quiet(database)
            rows = await database.read(lambda c: latest(c, WORKSPACE, 100))
            self._judge_run(rows)
            for row in rows:
                actions = await database.read(lambda c, row=row: _actions(c, row))  # type: ignore[misc]
                self._judge_one(row, actions)
                if "hold" in actions:
                    await database.read(lambda c, row=row: self._judge_hold(c, row))  # type: ignore[misc]
        finally:
            await database.close()

    async def _quiet(self, database: Database) -> None:
        """Wait until every note is posted."""
        while await database.read(_unsaid):
            await asyncio.sleep(0.05)

    def _judge_run(self, rows: list[Broadcast]) -> None:
        plan, result = self.plan, self.result
        result.twice = sum(_repeated(wish, self) for wish in plan.wishes)
        if not result.killed:
            self.wrong("nobody was killed: the point was not reached")
        if sorted(row.typed for row in rows) != sorted(plan.wishes):
            self.wrong(f"stored is {[row.typed for row in rows]}, asked for was {plan.wishes}")
        if result.twice > 1:
            self.wrong(f"{result.twice} posts stand in Slack twice; one death explains one")
        if plan.point.shown and not self.refusals:
            self.wrong("a person's request died, and Slack showed no failure")
        if len(self.sandbox.vendors.ledger) != sum(self.rung(wish) for wish in plan.wishes):
            self.wrong("the vendor was given something that nobody asked for")

    def _judge_one(self, row: Broadcast, actions: list[str]) -> None:
        wish, rung = row.typed, self.rung(row.typed)
        end, told = self.ends[wish], f"{wish} ({row.id}, {row.state}, {'-'.join(actions)})"
        if rung > 1:
            self.wrong(f"double: {told} rang {rung} times")
        if end == "unknown" and not self.plan.point.unknown:
            self.wrong(f"unknown: {told}, though the point lies outside the release")
        if (end == "unknown") != (wish in self.releasing):
            self.wrong(f"unknown: {told}; when the process died, it was inside the release of {self.releasing}")
        if end == "sent" and rung == 0:
            self.wrong(f"lost: {told} is told as sent, and nothing rang")
        if rung and dict(row.counts) != COUNTS[self.plan.vendor]:
            self.wrong(f"lost: {told} counts {row.counts}, and the vendor was told that all its news are heard")
        if row.state is not self._final(end, rung):
            self.wrong(f"lost: {told} does not stand where its thread ended, at {self._final(end, rung)}")
        once = {"submit": 1, "approve": 1, "release": 1}
        if (counted := {action: actions.count(action) for action in once}) != once:
            self.wrong(f"audit: {told} has {counted}")
        if len({"accept", "prove"} & set(actions)) != min(rung, 1):
            self.wrong(f"audit: {told} was taken {rung} times by the vendor")

    def _judge_hold(self, connection: Connection, row: Broadcast) -> None:
        """Check that the hold has an allowed cause.

        The campaign in its way may be nobody's, because its maker died before storing it, or may belong to a broadcast
        whose outcome is unknown.
        """
        self.result.held += 1
        (ticket,) = HELD.findall(self.thread(row.typed))
        owner = vendor_ids.owners_of(connection, [("octo", ticket)]).get(("octo", ticket))
        if owner is not None and self.ends[find(connection, *owner).typed] != "unknown":
            self.wrong(f"held: {row.typed} ({row.id}), though nothing foreign was in its way")

    def _final(self, end: str, rung: int) -> State:
        if not rung:
            return State.FAILED  # unknown, and then a person said that it did not go out
        return State.DONE if self.plan.vendor == OCTOPUSH else State.SENT


def _actions(connection: Connection, row: Broadcast) -> list[str]:
    return [step["action"] for step in audit.history(connection, row.workspace, row.id)]


def _unsaid(connection: Connection) -> bool:
    return connection.execute(select(notes.c.seq).where(notes.c.post_at.is_not(None)).limit(1)).first() is not None


def _repeated(wish: str, run: Run) -> int:
    """Return how many posts are too many: cards beyond the first, and repeated sentences of a thread."""
    replies = run.replies(wish)
    return len(run.cards(wish)) - 1 + len(replies) - len(set(replies))


class Reminding(Run):
    """Reminders instead of broadcasts: somebody asks for them, their time comes, and each is posted."""

    async def story(self) -> None:
        if self.plan.together:
            await self._each(self.ask)
        else:
            for wish in self.plan.wishes:
                await self.ask(wish)
        await store_in(self.url, lambda c: c.execute(update(schedules).values(next_at=now())))
        await self._each(self.see)
        await self.struck.wait()

    async def ask(self, wish: str) -> None:
        await self.type(f'/broadcast remind "tomorrow 9:00" {wish}')

    async def see(self, wish: str) -> None:
        await self.until(lambda: self.posted(wish))
        self.ends[wish] = "sent"

    def posted(self, wish: str) -> int:
        return len([message for message in self.sandbox.acting.messages(HERE) if wish in str(message)])

    def rung(self, wish: str) -> int:
        return min(self.posted(wish), 1)

    def shown(self) -> str:
        return f"struck: {self.struck.is_set()}; posted: {[self.posted(wish) for wish in self.plan.wishes]}"

    async def judge(self) -> None:
        while await store_in(
            self.url, lambda c: c.execute(select(occurrences).where(occurrences.c.draw_at <= now())).first()
        ):
            await asyncio.sleep(0.05)
        texts = await store_in(self.url, lambda c: c.execute(select(schedules.c.text)).scalars().all())
        made = await store_in(self.url, lambda c: c.execute(select(occurrences.c.schedule)).scalars().all())
        self.result.twice = sum(self.posted(wish) for wish in self.plan.wishes) - len(self.plan.wishes)
        if sorted(texts) != sorted(self.plan.wishes):
            self.wrong(f"stored is {texts}, asked for was {self.plan.wishes}")
        if len(made) != len(set(made)) or len(made) != len(self.plan.wishes):
            self.wrong(f"double: there are occurrences {made} of {len(self.plan.wishes)} reminders")
        if self.result.twice > 1:
            self.wrong(f"{self.result.twice} reminders stand there twice; one death explains one")
        if self.plan.point.shown and not self.refusals:
            self.wrong("a person's request died, and Slack showed no failure")


class Recurring(Run):
    """Recurring broadcasts: somebody asks for them; an occurrence of each is due, is approved and goes out."""

    async def story(self) -> None:
        self.open_callbacks()
        day = f"{datetime.now(UTC) + timedelta(days=3):%A}"  # too far ahead for an occurrence to be made by itself
        for wish in self.plan.wishes:
            await self.type(f'/broadcast every "{day} 9:00" {AUDIENCES[self.plan.vendor]} marketing {wish}')
        await store_in(self.url, lambda c: c.execute(update(schedules).values(next_at=now())))
        await self.struck.wait()
        await self._each(self.ask_and_decide)
        await self._each(self.settle)
        await self.bring_news()

    async def ask_and_decide(self, wish: str) -> None:
        await self.until(lambda: self.cards(wish))
        await self.decide(wish)

    async def judge(self) -> None:
        made = await store_in(self.url, lambda c: c.execute(select(occurrences.c.broadcast)).scalars().all())
        if len(made) != len(self.plan.wishes) or len(set(made)) != len(made):
            self.wrong(f"double: there are occurrences {made} of {len(self.plan.wishes)} recurring broadcasts")
        await super().judge()


async def store_in(url: str, work: Callable[[Connection], Any]) -> Any:
    """Run this in its own transaction, from outside the bot."""
    database = open_database(url, LONG)
    try:
        return await database.write(work)
    finally:
        await database.close()


KINDS = {Phase.REMINDING: Reminding, Phase.TURN: Recurring}


async def run_once(databases: Databases, point: Point | str, kind: str, seed: int) -> Result:
    """Play one run. Delete what it leaves, unless a promise was broken."""
    chosen = plan(NAMED[point] if isinstance(point, str) else point, kind, seed)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=databases.folder))
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(databases.fresh(kind, folder))
        front = await stack.enter_async_context(Front())
        address = f"http://127.0.0.1:{front.port}/slack/events" if chosen.mode == "http" else None
        pretend = Sandbox(events_url=address, retry_pauses=(0.05, 0.1, 0.5), octopush={"computing": chosen.computing})
        sandbox = await stack.enter_async_context(pretend)
        kind_of_run = KINDS.get(chosen.point.phase, Run)
        result = await kind_of_run(chosen, sandbox, front, url, folder).go()
    if result.wrong:
        result.wrong.append(f"replay: {chosen.replay}; log: {folder}/bot.log")
    else:
        shutil.rmtree(folder)
    return result
