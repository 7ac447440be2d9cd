"""One approval for several turns of a recurring broadcast, and what becomes of them when it falls."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection

from bot.domain.broadcast import Broadcast
from bot.domain.errors import TooLate
from bot.domain.i18n import Translatable, words_for
from bot.domain.lifecycle import Action, Hold, Phase, State
from bot.domain.schedule import Cover, Kind, Schedule
from bot.slack.blocks import recurring
from bot.storage import schedules, tables
from bot.storage.database import Database
from bot.when.recurrence import Closed
from tests.support.core import TEAM, Core, approver, deed
from tests.support.patience import LONG
from tests.support.rows import LOCKED, WORDS, until_it_waits
from tests.support.schedules import Desk, at


@pytest.fixture
def desk(core: Core) -> Desk:
    return Desk(core)


async def covering(desk: Desk, covers: int = 10) -> tuple[Schedule, Broadcast]:
    """A daily broadcast whose first turn, of the first of December, was approved for so many of them."""
    daily = await desk.add(Kind.BROADCAST, "every day 9:00", "Soldes", options={"covers": covers}, closed=Closed.KEEP)
    await desk.until("2026-11-30T11:00")
    (first,) = await desk.broadcasts()
    return daily, await act(desk, first, Action.APPROVE)


async def act(desk: Desk, row: Broadcast, action: Action, number: int = 0) -> Broadcast:
    return await desk.core.workflow.act(TEAM, row.id, deed(action), person=approver(number), version=row.version)


async def take_back(desk: Desk, row: Broadcast) -> Broadcast | None:
    return await desk.core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button", version=row.version)


async def thread(desk: Desk, row: Broadcast) -> str:
    mine = tables.notes.select().where(tables.notes.c.broadcast == row.id).order_by(tables.notes.c.seq)
    rows = await desk.core.database.read(lambda c: c.execute(mine).mappings().all())
    return "\n".join(str(Translatable.of(one["sentence"])) for one in rows)


def sent(desk: Desk) -> int:
    return len(desk.core.sandbox.vendors.ledger)


async def test_an_approval_that_is_taken_back_while_its_turn_is_held_covers_no_other(desk: Desk) -> None:
    daily, first = await covering(desk)
    desk.core.now = at("2026-12-01T10:00")  # nobody was there at nine
    await desk.core.run(desk.core.dispatcher("a"))
    held = await desk.core.row(first.id)
    assert (held.state, held.hold) == (State.HELD, Hold.LATE)
    await take_back(desk, held)
    assert (await desk.now(daily)).cover is None
    await desk.until("2026-12-04T12:00")
    assert sent(desk) == 0
    assert State.SENT not in {row.state for row in await desk.broadcasts()}


async def test_what_was_made_on_an_approval_before_it_was_taken_back_asks_again(desk: Desk) -> None:
    _, first = await covering(desk)
    await desk.until("2026-12-01T10:00")  # the first has left, and the second stands on its approval
    second = (await desk.broadcasts())[-1]
    assert (second.state, len(await desk.votes(second))) == (State.SCHEDULED, 1)
    await take_back(desk, await desk.core.row(first.id))
    second = await desk.core.row(second.id)
    assert (second.state, await desk.votes(second)) == (State.PENDING, [])
    assert "took the approval back" in await thread(desk, second)
    await desk.until("2026-12-04T12:00")
    assert sent(desk) == 1


@pytest.mark.parametrize(("phase", "state"), [(Phase.STAGING, State.PENDING), (Phase.RELEASING, State.SENDING)])
async def test_a_turn_that_is_leaving_keeps_no_vote_that_was_taken_back(desk: Desk, phase: Phase, state: State) -> None:
    """What is prepared asks again; what is going out just now would, should it come back unsent."""
    daily, first = await covering(desk)
    await desk.until("2026-12-01T10:00")
    second = (await desk.broadcasts())[-1]
    lease = {"owner": "b", "lease_until": at("2026-12-03T00:00"), "attempt": 1}
    await desk.core.edit(second, state=State.SENDING, phase=phase, **lease)
    (going,) = await desk.reminders.made(await desk.now(daily))
    assert "It is going out now." in recurring.still_on_its_way(going, words_for("en"))
    await take_back(desk, await desk.core.row(first.id))
    second = await desk.core.row(second.id)
    assert (second.state, await desk.votes(second)) == (state, [])


@pytest.mark.parametrize("newer", [WORDS[State], WORDS[Phase], WORDS[Hold]], ids=["state", "phase", "hold"])
@pytest.mark.parametrize("how", ["taken back", "stopped"])
async def test_a_turn_that_a_newer_version_looks_after_falls_with_its_approval_and_holds_it_up_in_nothing(
    desk: Desk, newer: dict[str, Any], how: str
) -> None:
    """Nobody here can read it, and whoever can finds no vote on it any more."""
    daily, first = await covering(desk)
    if how == "stopped":
        later = at("2026-12-01T11:00")
        await desk.core.edit(first, due=later, start_at=later)
        desk.core.now = at("2026-12-01T09:01")
        await desk.reminders.tick()
    else:
        await desk.until("2026-12-01T10:00")
    turn = (await desk.broadcasts())[-1]
    assert len(await desk.votes(turn)) == 1
    await desk.core.edit(turn, **newer)
    assert turn.id not in [row.id for row in await desk.reminders.made(await desk.now(daily))]
    if how == "stopped":
        await act(desk, await desk.core.row(first.id), Action.CANCEL)
    else:
        await take_back(desk, await desk.core.row(first.id))
    assert (await desk.now(daily)).cover is None
    assert await desk.votes(turn) == []


async def test_the_last_turn_of_an_approval_falls_with_it_too(desk: Desk) -> None:
    daily, first = await covering(desk, covers=2)
    await desk.until("2026-12-01T10:00")
    cover = (await desk.now(daily)).cover
    assert cover is None or cover.left == 0
    await take_back(desk, await desk.core.row(first.id))
    await desk.until("2026-12-02T12:00")
    assert sent(desk) == 1


async def test_an_approval_that_was_for_nothing_else_cannot_be_taken_back_once_it_left(desk: Desk) -> None:
    _, first = await covering(desk, covers=1)
    await desk.until("2026-12-01T10:00")
    with pytest.raises(TooLate):
        await take_back(desk, await desk.core.row(first.id))


async def test_a_turn_that_was_approved_for_itself_stays_so(desk: Desk) -> None:
    """Only what hangs on the approval that falls asks again."""
    _, first = await covering(desk, covers=2)
    await desk.until("2026-12-02T11:00")  # two have left on it; the third asked for an approval of its own
    third = (await desk.broadcasts())[-1]
    assert third.state is State.PENDING
    await act(desk, third, Action.APPROVE, 1)
    with pytest.raises(TooLate):
        await take_back(desk, await desk.core.row(first.id))
    await desk.until("2026-12-03T10:00")
    assert sent(desk) == 3


@pytest.mark.parametrize("when", ["before the next turn is made", "after it"])
async def test_who_stops_what_was_approved_for_several_turns_stops_its_approval(desk: Desk, when: str) -> None:
    daily, first = await covering(desk, covers=3)
    if when == "after it":
        later = at("2026-12-01T11:00")
        await desk.core.edit(first, due=later, start_at=later)
        desk.core.now = at("2026-12-01T09:01")
        await desk.reminders.tick()
        assert len(await desk.broadcasts()) == 2
    await act(desk, await desk.core.row(first.id), Action.CANCEL)
    assert (await desk.now(daily)).cover is None
    assert "each of them needs its own" in await thread(desk, first)
    if when == "after it":
        second = (await desk.broadcasts())[-1]
        assert (second.state, await desk.votes(second)) == (State.PENDING, [])
        assert f"stopped {first.id}, and its approval was for this one too" in await thread(desk, second)
    await desk.until("2026-12-04T12:00")
    assert sent(desk) == 0
    assert {row.state for row in await desk.broadcasts()} <= {State.CANCELLED, State.PENDING, State.EXPIRED, State.HELD}


async def test_who_stops_one_of_the_turns_that_an_approval_was_for_leaves_those_after_it(desk: Desk) -> None:
    await covering(desk)
    await desk.until("2026-12-01T10:00")
    second, later = (await desk.broadcasts())[-1], at("2026-12-02T11:00")
    await desk.core.edit(second, due=later, start_at=later)
    desk.core.now = at("2026-12-02T09:01")
    await desk.reminders.tick()
    third = (await desk.broadcasts())[-1]
    await act(desk, await desk.core.row(second.id), Action.CANCEL)
    assert (await desk.core.row(second.id)).state is State.CANCELLED
    assert ((await desk.core.row(third.id)).state, len(await desk.votes(third))) == (State.SCHEDULED, 1)
    await desk.until("2026-12-03T10:00")
    assert sent(desk) == 2


async def test_an_older_approval_that_falls_leaves_the_newer_one_as_it_is(desk: Desk) -> None:
    daily, first = await covering(desk, covers=2)
    desk.core.now = at("2026-12-01T10:00")  # nobody was there at nine
    await desk.core.run(desk.core.dispatcher("a"))
    await desk.core.edit(first, expires_at=at("2026-12-31T09:00"))  # it asks for so long
    await desk.until("2026-12-02T11:00")
    third = (await desk.broadcasts())[-1]
    assert third.state is State.PENDING
    await act(desk, third, Action.APPROVE)
    cover = (await desk.now(daily)).cover
    assert cover is not None
    assert cover.of == third.id
    held = await desk.core.row(first.id)
    assert held.state is State.HELD
    await act(desk, held, Action.DROP)
    assert (await desk.now(daily)).cover == cover


async def test_a_newer_approval_that_falls_leaves_the_turns_of_the_older_one(desk: Desk) -> None:
    await covering(desk, covers=2)
    await desk.until("2026-12-01T10:00")
    second, later = (await desk.broadcasts())[-1], at("2026-12-03T11:00")
    await desk.core.edit(second, due=later, start_at=later)
    desk.core.now = at("2026-12-02T09:01")
    await desk.reminders.tick()
    third = (await desk.broadcasts())[-1]
    assert (third.id != second.id, third.state) == (True, State.PENDING)
    await act(desk, third, Action.APPROVE)
    await take_back(desk, await desk.core.row(third.id))
    assert (await desk.core.row(third.id)).state is State.PENDING
    assert ((await desk.core.row(second.id)).state, len(await desk.votes(second))) == (State.SCHEDULED, 1)


@LOCKED
async def test_an_older_approval_that_falls_beside_a_newer_one_leaves_the_newer_one(
    desk: Desk, second: Database
) -> None:
    """Another process agrees to the newer one just now: what is taken back waits, and then sees it."""
    daily, first = await covering(desk)
    newer = Cover(of="newer", digest="other", voters=("U_BEN",), left=5)
    agreed = asyncio.Event()

    def agree(connection: Connection) -> None:
        schedules.keep_cover(connection, TEAM, daily.id, newer)
        agreed.set()
        until_it_waits(connection, taking)

    async def taking_back() -> None:
        await agreed.wait()
        await take_back(desk, await desk.core.row(first.id))

    taking = asyncio.create_task(taking_back())
    async with asyncio.timeout(LONG):
        await second.write(agree)
        await taking
    assert (await desk.now(daily)).cover == newer
