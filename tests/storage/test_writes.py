"""Concurrent writes, locks and deadlocks on both databases."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from bot.storage import keys
from bot.storage.database import Database, DatabaseBusy
from bot.storage.engines import open_database
from bot.storage.schema import upgrade
from bot.storage.sqlite import SQLite
from tests.support.databases import PATIENT, keep, kept
from tests.support.patience import LONG, Machine, within


async def test_of_a_hundred_writes_together_only_the_wrong_one_fails(database: Database) -> None:
    def write(number: int) -> Any:
        def work(connection: Any) -> int:
            keys.keep(connection, f"n{number}", str(number), 1)
            if number == 37:
                raise ValueError("this one")
            return number

        return database.write(work)

    outcomes = await asyncio.gather(*(write(number) for number in range(100)), return_exceptions=True)
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, ValueError)] == [37]
    found = await database.read(lambda c: [n for n in range(100) if keys.load_kept(c, f"n{n}") == str(n)])
    assert found == [n for n in range(100) if n != 37]


async def test_a_lock_that_is_held_too_long_is_busy_and_nothing_is_stored(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/locked.db"
    one, other = open_database(url), open_database(url)
    await one.write(upgrade)
    assert isinstance(other, SQLite)
    with other.engine.begin() as holding:
        keys.keep(holding, "mine", "1", 1)
        async with within(PATIENT):
            with pytest.raises(DatabaseBusy):
                await one.write(keep("yours"))
    assert await kept(one, "yours") is None
    assert await kept(one, "mine") == "1"
    await one.close()
    await other.close()


@pytest.mark.long
async def test_nobody_waits_for_a_lock_longer_than_the_others_before_them(tmp_path: Path) -> None:
    """A later writer waits two seconds in all, not the first one's two seconds and then its own."""
    url = f"sqlite:///{tmp_path}/locked.db"
    one, other = open_database(url), open_database(url)
    await one.write(upgrade)
    assert isinstance(other, SQLite)

    async def waits(number: int) -> float:
        await asyncio.sleep(0.3 * number)
        began = time.monotonic()
        with pytest.raises(DatabaseBusy):
            await one.write(keep(f"n{number}"))
        return time.monotonic() - began

    with Machine() as machine, other.engine.begin() as holding:
        keys.keep(holding, "mine", "1", 1)
        waited = await asyncio.gather(*(waits(number) for number in range(8)))
    assert all(1.7 < seconds < PATIENT * machine.slower for seconds in waited), waited
    await one.close()
    await other.close()


async def test_a_lock_that_is_given_back_lets_everybody_through(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/locked.db"
    one, other = open_database(url, LONG), open_database(url, LONG)
    await one.write(upgrade)
    assert isinstance(other, SQLite)
    with other.engine.begin() as holding:
        keys.keep(holding, "mine", "1", 1)
        first = asyncio.create_task(one.write(keep("first")))
        await asyncio.sleep(0.5)  # so that it has waited for a while
        second = asyncio.create_task(one.write(keep("second")))
        await asyncio.sleep(0.1)
    await asyncio.gather(first, second)
    assert await kept(one, "second") == "1"
    await one.close()
    await other.close()
