"""Vendors that do not answer or report: breakers, questions about unknown outcomes, floods of receipts."""

from __future__ import annotations

import asyncio
import dataclasses
import hmac
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from sqlalchemy import Connection, event, select

from bot.app import Bot
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND
from bot.domain.lifecycle import State
from bot.sending.claims import ACCOUNT_AT_ONCE
from bot.sending.receipts import _Batch
from bot.storage import keys, tables
from bot.storage.database import Database, DatabaseBusy
from bot.storage.engines import open_database
from bot.storage.postgres import Postgres
from bot.storage.sqlite import SQLite
from bot.workflow.decision_types import MarkNotSent
from providers.base import DeliveryStatus, Evidence, Receipt
from sandbox.server import Sandbox
from tests.support import proxy
from tests.support.core import TEAM, Core, MakeCore, approver
from tests.support.far import NEVER, Far
from tests.support.patience import LONG, within


@pytest.mark.long
async def test_a_vendor_that_takes_requests_and_never_answers_is_left_alone_after_three(make_core: MakeCore) -> None:
    core = make_core(**{"accounts.encom.timeout": 1.5})
    core.sandbox.vendors.faults.add("encom.release", "stall", times=NEVER)
    rows = [await core.approved() for _ in range(8)]
    await core.run(core.dispatcher("a"))
    await core.run(core.dispatcher("b"))  # all processes share the breaker's state
    states = [(await core.row(row.id)).state for row in rows]
    assert states.count(State.UNKNOWN) <= ACCOUNT_AT_ONCE
    assert states.count(State.SCHEDULED) >= 8 - ACCOUNT_AT_ONCE
    assert list((await core.database.read(lambda c: keys.stops(c, core.now))).away) == ["encom"]


async def test_what_stands_still_is_told_to_whoever_watches_or_asks(sandbox: Sandbox, bot: Bot) -> None:
    def stop(connection: Connection) -> None:
        keys.set_paused(connection, TEAM, "U0OPS", 1)
        keys.set_breaker(connection, "encom", keys.Breaker(3, bot.clock() + 60 * SECOND), 1)

    await bot.database.write(stop)
    ready, told = await bot.ready()
    assert (ready, told["breaker:encom"]) == (True, "the vendor cannot be reached")
    assert told[f"pause:{TEAM}"] == "all sending is paused"
    listed = await sandbox.acting.command("U0DAN", "C0CAMPAIGNS", "/broadcast list") or ""
    assert "All sending is paused" in listed
    assert "I cannot reach Encom" in listed


async def test_of_an_unknown_one_two_processes_ask_one_question_a_day_until_somebody_answers(
    make_core: MakeCore, database_url: str, seed: int
) -> None:
    core, chance = make_core(), random.Random(seed)
    core.sandbox.vendors.faults.add("encom.release", "reset")
    row = await core.approved()
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).state is State.UNKNOWN
    second = open_database(database_url, LONG)
    began = core.now
    while core.now - began < (3 * 24 + 4) * 3600 * SECOND:
        await asyncio.gather(core.tracker().tick(), core.tracker(second).tick())  # new trackers, with nothing in memory
        core.now += chance.choice([40, 300, 1800, 3600]) * SECOND
    questions = (await core.actions(row)).count("ask")
    assert 3 <= questions <= 4  # plus one in the first minutes, if a tracker looked then
    where = tables.notes.c.broadcast == row.id
    told = await core.database.read(lambda c: c.execute(select(tables.notes.c.sentence).where(where)).scalars().all())
    assert sum("I still do not know" in sentence["template"] for sentence in told) == questions
    await core.workflow.act(TEAM, row.id, MarkNotSent(), person=approver(1), version=1)
    core.now += 48 * 3600 * SECOND
    await core.tracker().tick()
    assert (await core.actions(row))[-1] == "mark_not_sent"
    await second.close()


async def test_a_look_up_that_breaks_is_told_and_takes_no_other_along(
    make_core: MakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = make_core()
    rows = [await core.approved(audience=name) for name in ("newsletter", "clients")]
    for row in rows:
        unknown = {"state": "unknown", "due": None, "look_at": core.now, "changed_at": core.now, "attempt": 1}
        await core.edit(row, **unknown)

    async def broken(*_: Any) -> Any:
        raise KeyError("x")

    monkeypatch.setattr(core.providers["octo"].adapter, "look_up", broken)
    for _ in range(2 * 24 + 1):
        await core.tracker().tick()
        core.now += 3600 * SECOND
    assert [(await core.actions(row)).count("ask") for row in rows] == [3, 3]  # at once, and each day
    statement = select(tables.audit.c.reason).where(tables.audit.c.action == "ask")
    reasons = await core.database.read(lambda c: c.execute(statement).scalars().all())
    assert reasons.count("The adapter for octo (bellcrier) hit an error.") == 3


async def test_a_poll_that_breaks_keeps_nobody_from_their_final_report(
    make_core: MakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = make_core()
    rows = [await core.approved() for _ in range(3)]
    await core.run(core.dispatcher("a"))
    polled: list[str] = []

    async def broken(ids: tuple[str, ...]) -> Any:
        polled.extend(ids)
        raise KeyError("x")

    monkeypatch.setattr(core.providers["encom"].adapter, "poll", broken)
    core.now += 49 * 3600 * SECOND
    await core.tracker().tick()
    assert len(polled) == 6  # two ids each
    assert {(await core.row(row.id)).state for row in rows} == {State.DONE}


async def test_one_whose_evidence_cannot_be_written_is_looked_at_again_soon(
    make_core: MakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = make_core()
    rows = [await core.approved() for _ in range(2)]
    for row in rows:
        minute_ago = core.now - 60 * SECOND
        await core.edit(row, state="unknown", due=None, look_at=core.now, changed_at=minute_ago, attempt=1)
    listening = core.tracker()
    weigh = listening.poller._weigh

    def broken(connection: Connection, row: Broadcast, evidence: Evidence) -> None:
        if row.id == rows[0].id:
            raise KeyError("x")
        weigh(connection, row, evidence)

    monkeypatch.setattr(listening.poller, "_weigh", broken)
    await listening.tick()
    monkeypatch.setattr(listening.poller, "_weigh", weigh)
    assert [(await core.actions(row)).count("ask") for row in rows] == [0, 1]
    core.now += 60 * SECOND
    await listening.tick()
    assert [(await core.actions(row)).count("ask") for row in rows] == [1, 1]


@pytest.mark.long
async def test_a_flood_of_news_takes_one_connection_and_one_that_cannot_be_written_is_told_so_alone(
    make_core: MakeCore,
) -> None:
    core = make_core()
    row = await core.approved()
    await core.run(core.dispatcher("a"))
    listening, writes = core.tracker(), 0
    write = core.database.write

    async def counted(work: Any, **given: Any) -> Any:
        nonlocal writes
        writes += 1
        return await write(work, **given)

    core.database.write = counted  # type: ignore[method-assign]
    news = [Receipt("22", DeliveryStatus.SENT, "SENT", recipient=f"+336{number}") for number in range(300)]
    news[7] = dataclasses.replace(news[7], id=cast("str", object()))
    asked = [listening.record("encom", [receipt]) for receipt in news]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Exception)] == [7]
    assert (await core.row(row.id)).counts == {"sent": 299}
    again = writes
    assert again < 300  # the group with the bad one is written again, each receipt alone
    await asyncio.gather(*(listening.record("encom", [receipt]) for receipt in news[8:]))
    assert writes - again <= 3


PHONES = {
    "+33612345678": ["33612345678", " 33612345678", "0033612345678", "+33 6 12-34.56.78", "tel:+33612345678"],
    "anonymous": [" anonymous "],
}


@pytest.mark.parametrize("phone", PHONES)
async def test_a_delivery_is_one_persons_however_the_vendor_writes_who(core: Core, phone: str) -> None:
    """C13: recipients stored as they came, before numbers were normalised, stay the same people."""
    row, listening = await core.approved(), core.tracker()
    await core.run(core.dispatcher("a"))
    before = hmac.digest(listening.receiver.key, f"number:{phone}:".encode(), "sha256").hex()[:32]
    for written in (phone, *PHONES[phone]):
        await listening.record("encom", [Receipt("22", DeliveryStatus.SENT, "SENT", recipient=written)])
    (kept,) = await core.database.read(lambda c: c.execute(select(tables.deliveries.c.recipient)).all())
    assert kept.recipient == before
    others = [
        Receipt("22", DeliveryStatus.SENT, "SENT", recipient=name) for name in ("ana1@x.example", "ben1@x.example")
    ]
    await listening.record("encom", others)
    assert (await core.row(row.id)).counts == {"sent": 3}


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """Collect the statements that are sent to the database."""
    asked: list[str] = []
    engine = database.engine.sync_engine if isinstance(database, Postgres) else cast("SQLite", database).engine

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield asked
    event.remove(engine, "before_cursor_execute", note)


@pytest.mark.long
async def test_how_many_news_come_together_decides_no_number_of_questions(make_core: MakeCore) -> None:
    core = make_core()
    rows = [await core.approved() for _ in range(8)]
    for _ in range(4):
        await core.run(core.dispatcher("a"))
    listening = core.tracker()
    batches = [
        _Batch("encom", [Receipt(f"new{number}", status, word)], (TEAM, rows[number % 8].id), asyncio.Future())
        for number in range(128)
        for status, word in ((DeliveryStatus.SENT, "SENT"), (DeliveryStatus.DELIVERED, "OK"))
    ]
    with counted(core.database) as asked:
        news = await core.database.write(lambda c: listening.receiver._record(c, batches))
    assert news == [True] * 256
    assert [(await core.row(row.id)).counts for row in rows] == [{"delivered": 16}] * 8
    assert len(asked) <= 12 + 3 * len(rows), len(asked)  # a few for all of them, and a few for each broadcast


@pytest.mark.long
@pytest.mark.parametrize("ms", [1, 2, 5])
async def test_a_flood_of_news_is_written_in_time_over_a_slow_road(
    far: Far, monkeypatch: pytest.MonkeyPatch, ms: int
) -> None:
    row = await far.core.approved()
    await far.core.run(far.near)
    monkeypatch.setattr(proxy._Road, "_to_client", slowly(ms))
    listening = far.core.tracker(far.distant)
    news = [Receipt(str(number), DeliveryStatus.SENT, "OK") for number in range(600)]
    async with within(5):
        recorded = await asyncio.gather(*(listening.record("encom", [one], (TEAM, row.id)) for one in news))
    assert len(recorded) == 600
    assert (await far.core.row(row.id)).counts == {"sent": 600}


def slowly(ms: int) -> Callable[[Any], Awaitable[None]]:
    """A connection on which each answer takes `ms` milliseconds."""

    async def to_client(road: Any) -> None:
        while data := await road.there[0].read(65536):
            await asyncio.sleep(ms / 1000)
            road.here[1].write(data)

    return to_client


async def test_news_that_are_too_many_for_one_transaction_are_written_in_smaller_ones(
    make_core: MakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = make_core()
    row = await core.approved()
    await core.run(core.dispatcher("a"))
    listening, write, sizes = core.tracker(), core.database.write, list[int]()

    async def busy(work: Any, **given: Any) -> Any:
        sizes.append(len(work.keywords["group"]))
        if sizes[-1] > 70:
            raise DatabaseBusy("slow")
        return await write(work, **given)

    monkeypatch.setattr(core.database, "write", busy)
    news = [Receipt(str(number), DeliveryStatus.SENT, "OK") for number in range(200)]
    await asyncio.gather(*(listening.record("encom", [one], (TEAM, row.id)) for one in news))
    assert (await core.row(row.id)).counts == {"sent": 200}
    assert sizes[:3] == [200, 100, 50]
    assert sum(size for size in sizes if size <= 70) == 200


async def test_while_the_database_takes_nothing_a_flood_is_told_so_in_a_few_tries(
    make_core: MakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    core, tries = make_core(), 0

    async def busy(_work: Any, **_given: Any) -> Any:
        nonlocal tries
        tries += 1
        raise DatabaseBusy("away")

    monkeypatch.setattr(core.database, "write", busy)
    listening = core.tracker()
    news = [Receipt(str(number), DeliveryStatus.SENT, "OK") for number in range(2000)]
    told = await asyncio.gather(*(listening.record("encom", [one]) for one in news), return_exceptions=True)
    assert {type(one) for one in told} == {DatabaseBusy}
    assert tries <= 4
