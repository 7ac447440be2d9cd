"""A PostgreSQL that goes away, falls silent or has no connection left."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from sqlalchemy import Connection, text

from bot.domain.clock import steady
from bot.storage import database as databases
from bot.storage import keys
from bot.storage.database import CommitUncertain, DatabaseBusy
from bot.storage.engines import open_database
from bot.storage.postgres import Postgres
from tests.support.databases import PATIENT, keep, kept
from tests.support.patience import LONG, until, within
from tests.support.proxy import COMMIT, Proxy


@pytest.fixture
async def served(direct: Postgres, postgres_url: str) -> AsyncIterator[Postgres]:
    """The same, with the patience of people who wait for an answer."""
    opened = open_database(postgres_url)
    assert isinstance(opened, Postgres)
    yield opened
    await opened.close()


@pytest.fixture
async def proxy(postgres: Any) -> AsyncIterator[Proxy]:
    async with Proxy(postgres) as road:
        yield road


@pytest.fixture
async def distant(proxy: Proxy, direct: Postgres, postgres_url: str) -> AsyncIterator[Postgres]:
    """The same, over a connection that can be cut."""
    opened = open_database(proxy.url(postgres_url))
    assert isinstance(opened, Postgres)
    yield opened
    await proxy.shut()  # else closing waits for a connection that was lost silently
    await opened.close()


def add_one(connection: Connection) -> None:
    """Add one to the count: running it twice is not harmless."""
    found = int(keys.load_kept(connection, "count") or 0)
    keys.keep(connection, "count", str(found + 1), 1)


async def test_a_connection_that_breaks_before_the_commit_is_taken_up_again_and_it_is_done_once(
    direct: Postgres, distant: Postgres, proxy: Proxy
) -> None:
    proxy.cut(b"INSERT INTO kept", how="before")
    await distant.write(add_one)
    assert await kept(direct, "count") == "1"
    proxy.cut(b"UPDATE kept", how="after")
    await distant.write(add_one)
    assert (await kept(direct, "count"), proxy.done) == ("2", 2)


@pytest.mark.parametrize(("how", "stored"), [("before", None), ("after", "1")])
async def test_a_commit_whose_answer_is_lost_is_never_guessed_at(
    direct: Postgres, distant: Postgres, proxy: Proxy, how: Any, stored: str | None
) -> None:
    await kept(distant, "count")
    proxy.cut(b"INSERT INTO kept", COMMIT, how=how)
    with pytest.raises(CommitUncertain):
        await distant.write(add_one)
    assert await kept(direct, "count") == stored
    assert proxy.done == 1
    await distant.write(add_one)  # the next one finds a connection that works
    assert await kept(distant, "count") == str(int(stored or 0) + 1)


@pytest.mark.long
async def test_a_server_that_falls_silent_in_the_commit_leaves_it_in_doubt_in_time(
    direct: Postgres, distant: Postgres, proxy: Proxy
) -> None:
    proxy.cut(b"INSERT INTO kept", COMMIT, how="silence")
    async with within(PATIENT):
        with pytest.raises(CommitUncertain):
            await distant.write(add_one)


@pytest.mark.long
async def test_a_server_that_falls_silent_before_the_commit_is_busy_in_time(distant: Postgres, proxy: Proxy) -> None:
    await kept(distant, "count")
    proxy.silent = True
    for work in (distant.write, distant.read):
        async with within(PATIENT):
            with pytest.raises(DatabaseBusy):
                await work(add_one)


@pytest.mark.long
async def test_a_server_that_refuses_connections_is_busy_in_time_and_read_again_when_it_is_back(
    distant: Postgres, proxy: Proxy
) -> None:
    await kept(distant, "count")
    await proxy.shut()
    for work in (distant.write, distant.read):
        async with within(PATIENT):
            with pytest.raises(DatabaseBusy, match="ConnectionRefusedError"):
                await work(add_one)

    async def back() -> None:
        await asyncio.sleep(0.5)  # well within anybody's patience
        await proxy.open()

    await asyncio.gather(back(), distant.write(add_one))
    assert await kept(distant, "count") == "1"


async def test_a_read_on_a_connection_that_died_meanwhile_is_read_again(distant: Postgres, proxy: Proxy) -> None:
    await asyncio.gather(*(kept(distant, "count") for _ in range(5)))
    await proxy.shut()
    await proxy.open()
    assert await asyncio.gather(*(kept(distant, "count") for _ in range(5))) == [None] * 5


async def test_a_backend_that_is_ended_in_the_middle_of_a_write_is_no_error(direct: Postgres) -> None:
    tries: list[int] = []

    def work(connection: Connection) -> None:
        add_one(connection)
        tries.append(int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one()))
        if len(tries) == 1:
            connection.execute(text("SELECT pg_sleep(60)"))

    async def end_it() -> None:
        await until(lambda: tries)
        await direct.read(lambda c: c.execute(text(f"SELECT pg_terminate_backend({tries[0]})")).scalar())

    await asyncio.gather(direct.write(work), end_it())
    assert (await kept(direct, "count"), len(tries)) == ("1", 2)


async def test_two_that_wait_for_each_other_are_both_done(direct: Postgres) -> None:
    await direct.write(keep("a", "0"))
    await direct.write(keep("b", "0"))
    tries = 0

    def both(first: str, second: str) -> Any:
        def work(connection: Connection) -> None:
            nonlocal tries
            tries += 1
            connection.execute(text("SET LOCAL deadlock_timeout = '100ms'"))
            for name in (first, second):
                one_more = "UPDATE kept SET value = (value::int + 1)::text WHERE name = :name"
                connection.execute(text(one_more), {"name": name})
                connection.execute(text("SELECT pg_sleep(0.1)"))

        return work

    await asyncio.gather(direct.write(both("a", "b")), direct.write(both("b", "a")))
    assert (await kept(direct, "a"), await kept(direct, "b")) == ("2", "2")
    assert tries > 2  # PostgreSQL ended one of them, as it must


async def test_what_cannot_be_put_in_an_order_is_done_again(direct: Postgres) -> None:
    await direct.write(keep("count", "0"))

    def work(connection: Connection) -> None:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"))
        found = int(keys.load_kept(connection, "count") or 0)
        connection.execute(text("SELECT pg_sleep(0.05)"))
        keys.keep(connection, "count", str(found + 1), 1)

    await asyncio.gather(*(direct.write(work) for _ in range(4)))
    assert await kept(direct, "count") == "4"


@pytest.mark.long
async def test_it_is_tried_again_a_few_times_and_no_more(direct: Postgres) -> None:
    tries = 0

    def work(connection: Connection) -> None:
        nonlocal tries
        tries += 1
        connection.execute(text("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$"))

    with pytest.raises(DatabaseBusy):
        await direct.write(work)
    assert 3 < tries <= Postgres.TRIES


@pytest.mark.long
async def test_a_write_with_all_the_time_it_needs_finds_out_what_became_of_it(
    direct: Postgres, distant: Postgres, proxy: Proxy
) -> None:
    """Its commit is in doubt, and the next try sees that it succeeded."""
    proxy.cut(b"once", COMMIT, how="after")

    def once(connection: Connection) -> str:
        known = keys.load_kept(connection, "once")
        if known is None:
            keys.keep(connection, "once", "first", 1)
        return known or "new"

    assert await distant.write_until(steady() + 20, once) == "first"
    await proxy.shut()
    async with within(4 + PATIENT, at_least=2):
        with pytest.raises(DatabaseBusy):
            await distant.write_until(steady() + 4, once)


@pytest.mark.long
async def test_a_write_whose_work_takes_longer_than_anybody_waits_is_let_finish_in_the_end(
    direct: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of ids on a busy machine take long to write, and the vendor's answer must not be lost."""
    monkeypatch.setattr(direct, "patience", 0.1)
    monkeypatch.setattr(databases, "CONNECTIONS", 2)

    def slow(connection: Connection) -> None:
        connection.execute(text("SELECT pg_sleep(0.7)"))
        keys.keep(connection, "slow", "done", 1)

    with pytest.raises(DatabaseBusy):
        await direct.write(slow, patience=0.1)
    async with asyncio.timeout(LONG):
        await direct.write_until(math.inf, slow)
    assert await direct.read(lambda c: keys.load_kept(c, "slow")) == "done"


async def test_when_every_connection_is_taken_the_next_one_is_refused_in_time(served: Postgres) -> None:
    size = 20
    async with AsyncExitStack() as held:
        for _ in range(size):
            await held.enter_async_context(served.engine.connect())
        async with within(PATIENT):
            outcomes = await asyncio.gather(*(served.write(add_one) for _ in range(50)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {DatabaseBusy}
    await asyncio.gather(*(served.write(keep(f"n{number}"), patience=LONG) for number in range(50)))


@pytest.mark.long
async def test_a_row_that_somebody_keeps_locked_is_busy_in_time(direct: Postgres, served: Postgres) -> None:
    await direct.write(keep("count", "5"))
    async with direct.engine.begin() as holding:
        await holding.execute(text("SELECT * FROM kept FOR UPDATE"))
        async with within(PATIENT):
            with pytest.raises(DatabaseBusy, match="locked"):
                await served.write(add_one)
    await direct.write(add_one)
    assert await kept(direct, "count") == "6"
