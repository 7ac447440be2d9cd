"""A pause, a deadline or a rate limit between the intent and the first byte."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable

import pytest

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND
from bot.domain.lifecycle import Hold, Phase, State
from bot.sending.dispatcher import Dispatcher
from bot.sending.outcomes import MAX_TRIES
from bot.storage import campaigns, keys
from bot.storage.database import CommitUncertain, DatabaseBusy
from tests.support.core import CLEO, TEAM, Core, MakeCore
from tests.support.patience import until


def in_the_last_moment(dispatcher: Dispatcher, decision: Callable[[], object]) -> None:
    """Do something once, right after the intent was committed and before the vendor is called."""
    done: list[object] = []

    def wake(*_: str) -> None:
        if not done:
            done.append(True)
            done.append(decision())

    commit = dispatcher.releaser._commit_intent

    async def committed(row: Broadcast, deadline: float) -> Broadcast | None:
        dispatcher.releaser.wake = wake
        return await commit(row, deadline)

    dispatcher.releaser._commit_intent = committed  # type: ignore[method-assign]


async def releases(core: Core) -> int:
    return await core.database.read(lambda c: campaigns.released_since(c, TEAM, 0))


async def test_a_pause_that_is_pressed_after_the_intent_stops_the_very_next_byte(make_core: MakeCore) -> None:
    core = make_core(admins=["U0OPS"])
    dispatcher, ops = core.dispatcher("a"), dataclasses.replace(CLEO, id="U0OPS")
    core.workflow.pauses.switch = dispatcher.switch
    pressed: list[asyncio.Task[int]] = []

    def press() -> None:
        pressed.append(asyncio.create_task(core.workflow.pause_all(ops, on=True)))

    in_the_last_moment(dispatcher, press)
    row = await core.approved()
    await core.run(dispatcher)
    await asyncio.gather(*pressed)
    core.now += 3 * SECOND
    await core.run(dispatcher)
    held = await core.row(row.id)
    assert (held.state, held.hold, held.phase) == (State.HELD, Hold.PAUSED, None)
    assert core.sandbox.vendors.ledger == []
    assert [seen for seen in core.sandbox.vendors.office.requests if seen.method == "POST"] == []
    assert await releases(core) == 0  # what never left does not count under the cap
    assert (await core.database.read(lambda c: keys.breaker(c, "encom"))).failures == 0


async def test_a_pause_of_another_process_is_known_from_the_next_tick_on(make_core: MakeCore) -> None:
    core = make_core()
    dispatcher = core.dispatcher("a")
    await core.database.write(lambda c: keys.set_paused(c, TEAM, "U0OPS", core.now))
    await dispatcher.tick()
    assert dispatcher.switch.paused == {TEAM}
    await core.database.write(lambda c: keys.set_paused(c, TEAM, None, core.now))
    await dispatcher.tick()
    assert dispatcher.switch.paused == set()


async def test_one_that_was_held_up_past_its_deadline_sends_nothing_and_goes_later(make_core: MakeCore) -> None:
    core = make_core()
    dispatcher = core.dispatcher("a")

    def be_held_up() -> None:
        core.steady = 60  # longer than the account's deadline

    in_the_last_moment(dispatcher, be_held_up)
    row = await core.approved()
    await dispatcher.tick()
    await asyncio.gather(*dispatcher.running)
    back = await core.row(row.id)
    assert (back.state, back.owner, back.tries, core.sandbox.vendors.ledger) == (State.SCHEDULED, None, 0, [])
    assert back.due == core.now + 2 * SECOND
    core.now += 3 * SECOND
    await core.run(dispatcher)
    assert ((await core.row(row.id)).state, len(core.sandbox.vendors.ledger)) == (State.SENT, 1)


@pytest.mark.parametrize("error", [DatabaseBusy("locked"), CommitUncertain()])
async def test_a_database_that_takes_no_intent_for_long_makes_no_failed_try(
    make_core: MakeCore, error: Exception
) -> None:
    core, times = make_core(), 0
    dispatcher = core.dispatcher("a")
    commit = dispatcher.releaser._commit_intent

    async def away(row: Broadcast, deadline: float) -> Broadcast | None:
        nonlocal times
        times += 1
        if times <= MAX_TRIES + 1:
            raise error
        return await commit(row, deadline)

    dispatcher.releaser._commit_intent = away  # type: ignore[method-assign]
    row = await core.approved()
    for _ in range(MAX_TRIES + 2):
        await core.run(dispatcher)
        core.now += 3 * SECOND
    assert ((await core.row(row.id)).state, len(core.sandbox.vendors.ledger)) == (State.SENT, 1)
    assert await core.actions(row) == [
        "submit",
        "approve",
        *["start", "put_back"] * (MAX_TRIES + 1),
        "start",
        "release",
        "accept",
    ]


async def test_what_takes_too_long_to_prepare_is_put_back_before_its_lease_lapses(make_core: MakeCore) -> None:
    core = make_core()
    core.sandbox.vendors.faults.add("encom.recipients", "slow", until=(answers := asyncio.Event()))
    row, dispatcher = await core.approved(), core.dispatcher("a")
    dispatcher.leases.staging = 0.4
    await dispatcher.tick()
    await asyncio.gather(*dispatcher.running)  # though the vendor has not answered
    answers.set()
    back = await core.row(row.id)
    assert (back.state, back.owner, back.tries, core.sandbox.vendors.ledger) == (State.SCHEDULED, None, 1, [])


@pytest.mark.long
async def test_the_wait_for_the_accounts_rate_comes_before_the_intent(make_core: MakeCore) -> None:
    """A process that dies in that wait has sent nothing, so nobody has to ask."""
    core = make_core(**{"accounts.encom.requests_per_second": 1 / 6, "accounts.encom.timeout": 30})
    row, dispatcher = await core.approved(), core.dispatcher("a")
    await dispatcher.tick()
    asked = core.sandbox.vendors.office.requests
    await until(lambda: asked)  # the recipients were asked for; the next request may leave in six seconds
    for _ in range(20):
        assert (await core.row(row.id)).phase is Phase.STAGING
        await asyncio.sleep(0.05)
    await asyncio.gather(*dispatcher.running)
    assert (len(core.sandbox.vendors.ledger), [seen.method for seen in asked]) == (1, ["GET", "POST"])
