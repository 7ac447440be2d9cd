"""No connection or no disk space is left: sends wait, and nothing leaves without its row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from bot.domain.lifecycle import Phase, State
from bot.storage import audit
from bot.storage.database import PATIENCE, OutOfOrder
from bot.storage.engines import open_database
from bot.storage.schema import upgrade
from bot.storage.sqlite import SQLite
from bot.workflow.decision_types import Approve
from sandbox.server import Sandbox
from tests.support.core import TEAM, Core, approver
from tests.support.far import Far
from tests.support.patience import LONG, until, within
from tests.support.rows import fill


@pytest.mark.long
async def test_a_send_waits_while_every_connection_is_taken_and_goes_once(far: Far) -> None:
    row = await far.core.approved()
    far.core.sandbox.vendors.faults.add("encom.recipients", "slow", until=far.answers)
    await far.dispatcher.tick()
    async with AsyncExitStack() as held:
        for _ in range(20):
            await held.enter_async_context(far.distant.engine.connect())
        far.answers.set()
        await asyncio.sleep(PATIENCE + 0.6)
        assert far.ledger == 0
    await asyncio.gather(*far.dispatcher.running)
    await far.settled()
    assert ((await far.core.row(row.id)).state, far.ledger) == (State.SENT, 1)


@pytest.mark.long
async def test_what_was_prepared_while_the_database_was_away_is_kept_and_not_made_twice(far: Far) -> None:
    core = far.core
    core.sandbox.vendors.faults.add("octopush.create", "slow", until=far.answers)
    row = await core.approved(audience="newsletter")
    await far.dispatcher.tick()
    await until(lambda: core.sandbox.vendors.office.requests)
    await far.proxy.shut()
    far.answers.set()
    await until(lambda: core.sandbox.vendors.octopush.campaigns)
    await asyncio.sleep(PATIENCE + 0.6)
    assert (await core.row(row.id)).staged is None
    await far.proxy.open()
    await asyncio.gather(*far.dispatcher.running)
    await far.settled()
    assert ((await core.row(row.id)).state, far.ledger) == (State.SENT, 1)
    assert len(core.sandbox.vendors.octopush.campaigns) == 1


async def test_an_answer_of_thousands_of_ids_is_written_in_time_however_far_the_database_is(far: Far) -> None:
    people: dict[str, str | None] = {f"+3360{number:07}": None for number in range(5000)}
    far.core.sandbox.vendors.encom.lists["1"] = ("Clients", people)
    far.proxy.delay = 0.002
    row = await far.core.approved()
    await far.settled()
    sent = await far.core.row(row.id)
    assert (sent.state, len(sent.ids)) == (State.SENT, 5000)


@pytest.mark.long
async def test_a_process_that_is_to_stop_waits_for_an_answer_that_is_being_written(far: Far) -> None:
    row, _ = await far.releasing()
    await far.proxy.shut()

    async def come_back() -> None:
        await far.answered()
        await asyncio.sleep(1.5)  # the process must wait this long for it
        await far.proxy.open()

    coming = asyncio.create_task(come_back())
    await far.dispatcher.stop(0.5)
    assert (await far.core.row(row.id)).state is State.SENT
    await coming


@pytest.mark.long
async def test_a_process_that_is_to_stop_waits_for_a_database_that_is_away_but_not_for_ever(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.sending.dispatcher.LAST_WRITE", 1.0)
    row, _ = await far.releasing()
    await far.proxy.shut()
    await far.answered()
    async with within(3):
        await far.dispatcher.stop(0.5)
    await far.proxy.open()  # back while the process still lives
    await far.core.becomes(row, State.SENT)
    assert far.ledger == 1


async def no_room(database: SQLite) -> Callable[[], None]:
    """Fill the disk until not even an audit line fits. Returns a function that makes room again."""
    free = fill(database)
    with suppress(OutOfOrder):
        while True:
            await database.write(lambda c: audit.write_event(c, TEAM, "U", "x", None, 1))
    return free


@pytest.fixture
async def disk(tmp_path: Path, sandbox: Sandbox) -> AsyncIterator[tuple[Core, SQLite]]:
    opened = open_database(f"sqlite:///{tmp_path}/small.db", LONG)
    assert isinstance(opened, SQLite)
    await opened.write(upgrade, patience=None)
    core = Core(opened, sandbox, tmp_path)
    yield core, opened
    await core.close()
    await opened.close()


@pytest.mark.long
async def test_on_a_full_disk_nothing_starts_and_nobody_approves_until_there_is_room(disk: tuple[Core, SQLite]) -> None:
    core, database = disk
    row, pending = await core.approved(), await core.ask()
    free, dispatcher = await no_room(database), core.dispatcher("a")
    with pytest.raises(OutOfOrder):
        await dispatcher.tick()
    with pytest.raises(OutOfOrder):
        await core.workflow.act(TEAM, pending.id, Approve(), person=approver(0), version=1)
    assert core.sandbox.vendors.office.requests == []
    free()
    await core.run(dispatcher)
    assert ((await core.row(row.id)).state, len(core.sandbox.vendors.ledger)) == (State.SENT, 1)
    assert (await core.row(pending.id)).state is State.PENDING


async def test_a_disk_that_is_full_when_the_intent_is_to_be_written_sends_nothing(disk: tuple[Core, SQLite]) -> None:
    core, database = disk
    answers = asyncio.Event()
    core.sandbox.vendors.faults.add("encom.recipients", "slow", until=answers)
    row, dispatcher = await core.approved(), core.dispatcher("a")
    await dispatcher.tick()
    free = await no_room(database)
    answers.set()
    await asyncio.sleep(0.5)  # time for it to find no room; no byte may leave
    assert ((await core.row(row.id)).phase, core.sandbox.vendors.ledger) == (Phase.STAGING, [])
    free()
    await asyncio.gather(*dispatcher.running)
    assert ((await core.row(row.id)).state, len(core.sandbox.vendors.ledger)) == (State.SENT, 1)
