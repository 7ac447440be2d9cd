"""A hundred thousand broadcasts that wait cost nothing: what a tick asks is found through an index."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from benchmarks import rows
from benchmarks.ground import Core, opened, settle
from bot import receipts, store, timetable
from bot.broadcast import SECOND, Hold, State
from bot.database import Database, Postgres, SQLite
from bot.schedule import Kind
from tests.ground import new_postgres

ROOT = Path(__file__).parent.parent
AT = 1_800_000_000 * SECOND
HOUR = 3600 * SECOND
WAITING, ENDED, OTHERS = 100_000, 20_000, 2_000

#: May be read as a whole: what a few processes do just now, what has not been told, and, to be counted, what lives.
WHOLE = {"ix_broadcasts_sending", "ix_notes_post", "ix_broadcasts_living"}
LARGE = {
    "broadcasts",
    "notes",
    "audit",
    "dispatches",
    "schedules",
    "occurrences",
    "posts",
}  # PostgreSQL reads a table of one page without its index

Asked = tuple[str, Any]  # a statement as the driver got it, and its parameters

#: What the ticks ask, and what a scrape and a person ask beside them: by which index each is answered.
QUESTIONS: dict[str, tuple[Callable[[Connection], object], str]] = {
    "due": (lambda c: store.due(c, AT, 8, lease_at=AT, taken={"octo": "B1"}), "ix_broadcasts_due"),
    "due of some": (lambda c: store.due(c, AT, 8, lease_at=AT, taken={}, accounts=["encom"]), "ix_broadcasts_due"),
    "to_stage": (lambda c: store.to_stage(c, ["octo"], AT, AT + 30 * SECOND, lease_at=AT), "ix_broadcasts_due"),
    "in_state": (lambda c: store.in_state(c, State.SENDING), "ix_broadcasts_sending"),
    "abandoned": (lambda c: store.abandoned(c, "one", ["B1"], lease_at=AT, alone=True), "ix_broadcasts_sending"),
    "stranded": (lambda c: store.stranded(c, AT, ["encom"]), "ix_broadcasts_due"),
    "free_staged_by_others": (lambda c: store.free_staged_by_others(c, "me"), "ix_broadcasts_lease"),
    "lapsed": (lambda c: store.lapsed(c, AT), "ix_broadcasts_expires"),
    "reopened": (lambda c: store.reopened(c, AT, ()), "ix_broadcasts_window"),
    "slots": (lambda c: store.slots(c, ["encom", "octo"], AT), "ix_broadcasts_staged"),
    "released_since": (lambda c: store.released_since(c, "T10000007", AT - HOUR), "ix_dispatches_released"),
    "to_look_at": (lambda c: store.to_look_at(c, State.SENT, AT, 10), "ix_broadcasts_look"),
    "unsized": (lambda c: store.unsized(c, ["encom", "octo"], AT), "ix_broadcasts_unsized"),
    "find_all": (lambda c: store.find_all(c, [(f"T1000{n:04}", f"B1000{n:04}") for n in range(64)]), ""),
    "progress_to_tell": (lambda c: receipts.progress_to_tell(c, AT), "ix_broadcasts_progress"),
    "cards_to_draw": (lambda c: store.cards_to_draw(c, AT, 20, new=False), "ix_broadcasts_draw"),
    "notes_to_post": (lambda c: store.notes_to_post(c, AT, 20), "ix_notes_post"),
    "voices_wait": (lambda c: store.voices_wait(c, AT), "ix_broadcasts_voice"),
    "to_voice": (lambda c: store.to_voice(c, AT), "ix_broadcasts_voice"),
    "posts_wait": (lambda c: store.posts_wait(c, AT), "ix_posts_post"),
    "take_post": (lambda c: store.take_post(c, AT, AT + HOUR), "ix_posts_post"),
    "schedules that are due": (lambda c: timetable.due(c, Kind.REMINDER, AT, 20), "ix_schedules_next"),
    "schedules that awake": (lambda c: timetable.awake(c, AT, 20), "ix_schedules_paused"),
    "turns to draw": (lambda c: timetable.waits(c, AT), "ix_occurrences_draw"),
    "snoozed turns that awake": (lambda c: timetable.woken(c, AT, 20), "ix_occurrences_draw"),
    "take_turn": (lambda c: timetable.take_turn(c, AT, AT + HOUR), "ix_occurrences_draw"),
    "leftovers_to_recall": (lambda c: store.leftovers_to_recall(c, AT), ""),
    "count_by_state": (store.count_by_state, "ix_broadcasts_living"),
    "count_held": (lambda c: store.count_held(c, "T10000007", Hold.PAUSED), ""),
    "forget_seen": (lambda c: store.forget_seen(c, AT - HOUR), ""),
    "latest": (lambda c: store.latest(c, "T10000007", 10), "ix_broadcasts_changed"),
    "find_twin": (lambda c: store.find_twin(c, rows.sample(AT), AT - HOUR), "ix_broadcasts_requester"),
}


def crowd(connection: Connection) -> None:
    """Broadcasts in ten thousand workspaces: most of them wait for their time, many have ended."""
    first = 1
    for count, fields, changes in (
        (WAITING, {}, {"due": lambda n: AT + n * SECOND}),
        (ENDED, {"state": State.DONE, "due": None}, {"changed_at": lambda n: AT - n * SECOND}),
        (OTHERS, {"state": State.HELD, "hold": Hold.HOURS, "hold_until": AT + HOUR, "expires_at": AT + HOUR}, {}),
        (OTHERS, {"state": State.PENDING, "due": None, "expires_at": AT + HOUR}, {}),
        (OTHERS, {"state": State.SENT, "due": None, "look_at": AT + HOUR}, {}),
    ):
        rows.fill(connection, rows.sample(AT, **fields), first, count, **changes)
        first += count
    rows.tell(connection, WAITING + 1, ENDED, AT - HOUR)
    rows.recur(connection, 1, OTHERS, AT + HOUR)


@dataclass(frozen=True)
class Pair:
    """Two databases of one kind, by their addresses: one with the crowd, one with nothing."""

    crowded: str
    empty: str


async def _fill(pair: Pair) -> None:
    async with opened(pair.crowded, fresh=True) as database:
        await database.write(crowd, patience=None)
        await settle(database)
    async with opened(pair.empty, fresh=True):
        pass


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with ExitStack() as open_ones:
        if request.param == "sqlite":
            folder = tmp_path_factory.mktemp("crowd")
            made = Pair(f"sqlite:///{folder}/crowded.db", f"sqlite:///{folder}/empty.db")
        else:
            server = request.getfixturevalue("postgres")
            made = Pair(*(open_ones.enter_context(new_postgres(server)) for _ in range(2)))
        asyncio.run(_fill(made))
        yield made


@pytest.fixture
async def database(pair: Pair) -> AsyncIterator[Database]:
    async with opened(pair.crowded) as found:
        yield found


@contextmanager
def listening(database: Database) -> Iterator[list[Asked]]:
    """Every statement that goes to the driver meanwhile."""
    assert isinstance(database, SQLite | Postgres)
    engine = database.engine if isinstance(database, SQLite) else database.engine.sync_engine
    heard: list[Asked] = []

    def hear(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        heard.append((statement, parameters[0] if many else parameters))

    event.listen(engine, "before_cursor_execute", hear)
    yield heard
    event.remove(engine, "before_cursor_execute", hear)


def planned(asked: Asked) -> bool:
    """Is there something to look for in it?"""
    return asked[0].lstrip().startswith(("SELECT", "UPDATE", "DELETE", "WITH"))


@dataclass(frozen=True)
class Step:
    """One look into a table. `within`: only where something is known, and not from end to end."""

    table: str
    index: str
    within: bool

    @property
    def whole(self) -> bool:
        return not self.within and self.index not in WHOLE and self.table in LARGE


def plan(connection: Connection, asked: Asked) -> list[Step]:
    """How the database would look for what this statement asks."""
    statement, parameters = asked
    if connection.dialect.name == "sqlite":
        lines = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        found = (re.match(r"(SCAN|SEARCH) (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", line[3]) for line in lines)
        return [Step(one[2], one[3] or "", one[1] == "SEARCH") for one in found if one]
    told = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
    top = (json.loads(told) if isinstance(told, str) else told)[0]["Plan"]
    return [
        Step(node.get("Relation Name", ""), node.get("Index Name", ""), "Index Cond" in node)
        for node in _nodes(top)
        if node["Node Type"].endswith("Scan") and node["Node Type"] != "Bitmap Heap Scan"
    ]


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from _nodes(below)


async def test_every_question_is_answered_through_an_index(database: Database) -> None:
    wrong: dict[str, list[Step]] = {}
    for name, (question, index) in QUESTIONS.items():
        with listening(database) as heard:
            await database.write(question)
        steps = [step for one in heard if planned(one) for step in await database.read(partial(plan, asked=one))]
        assert steps, name
        if any(step.whole for step in steps) or index not in {"", *(step.index for step in steps)}:
            wrong[name] = steps
    assert wrong == {}


async def test_no_question_looks_at_what_is_not_asked_for(pair: Pair) -> None:
    """A plan may name an index and read all of it; SQLite counts what it does, in thousands of steps."""
    async with opened(pair.crowded) as database:
        if not isinstance(database, SQLite):
            pytest.skip("only SQLite tells its steps")
        taken = {name: await database.write(partial(thousands, question)) for name, (question, _) in QUESTIONS.items()}
    assert taken.pop("count_by_state") > 100  # so it is seen when all that live are looked at
    assert {name: steps for name, steps in taken.items() if steps > 15} == {}


def thousands(question: Callable[[Connection], object], connection: Connection) -> int:
    driver, steps = connection.connection.driver_connection, 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    assert isinstance(driver, sqlite3.Connection)
    driver.set_progress_handler(count, 1000)
    question(connection)
    driver.set_progress_handler(None, 0)
    return steps


async def test_a_whole_tick_reads_no_table_from_end_to_end(database: Database) -> None:
    """With what it does about five that are due, whose vendor cannot be reached."""
    now = AT
    core = Core(database, clock=lambda: now)
    with listening(database) as heard:
        await core.tick()
        now += 5 * SECOND
        await core.tick()
        await asyncio.gather(*core.dispatcher.running)
        await core.close()
    asked = {one[0]: one for one in heard if planned(one)}
    assert len(asked) > 20
    found = {name: await database.read(partial(plan, asked=one)) for name, one in asked.items()}
    assert {name: steps for name, steps in found.items() if any(step.whole for step in steps)} == {}
    assert (await database.read(lambda c: store.find(c, "T10000001", "B10000001"))).tries == 1


async def test_a_plan_that_reads_everything_is_noticed(database: Database) -> None:
    everything = ("SELECT text FROM broadcasts WHERE text = 'no such text'", ())
    assert [step.whole for step in await database.read(partial(plan, asked=everything))] == [True]


async def test_many_that_wait_take_no_memory(pair: Pair) -> None:
    """At the most two mebibytes more than a process that ticks over nothing."""
    if not Path("/proc/self/status").exists():
        pytest.skip("only Linux tells what a process takes")
    many, none = await ticking(pair.crowded), await ticking(pair.empty)
    assert many["rss"] - none["rss"] <= 2048, (many, none)


async def ticking(url: str) -> dict[str, int]:
    """KiB that a process of its own takes after some ticks."""
    command = (sys.executable, "-m", "benchmarks.ticking", url, str(AT), "20")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    output, _ = await process.communicate()
    assert process.returncode == 0
    told: dict[str, int] = json.loads(output)
    return told
