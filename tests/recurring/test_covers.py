"""One approval for several occurrences of a recurring broadcast, and what becomes of them once it no longer counts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection

from bot.domain.broadcast import Broadcast
from bot.domain.errors import StaleVersion
from bot.domain.i18n import Translatable, translator_for
from bot.domain.lifecycle import Action, Hold, Phase, State
from bot.domain.schedule import Kind, Schedule, StandingApproval
from bot.slack.blocks import recurring
from bot.storage import schedules, tables
from bot.storage.database import Database
from bot.when.recurrence import Closed
from tests.support.cards import OPS
from tests.support.core import TEAM, Core, approver, decision
from tests.support.patience import LONG
from tests.support.rows import LOCKED, WORDS, until_it_waits
from tests.support.schedules import HOUR, Series, at


@pytest.fixture
def series(core: Core) -> Series:
    return Series(core)


async def covering(series: Series, covers: int = 10) -> tuple[Schedule, Broadcast]:
    """Return a daily broadcast and its first occurrence, of 1 December, approved for this many occurrences."""
    daily = await series.add(Kind.BROADCAST, "every day 9:00", "Soldes", options={"covers": covers}, closed=Closed.KEEP)
    await series.until("2026-11-30T11:00")
    (first,) = await series.broadcasts()
    return daily, await act(series, first, Action.APPROVE)


async def act(series: Series, row: Broadcast, action: Action, number: int = 0) -> Broadcast:
    return await series.core.workflow.act(TEAM, row.id, decision(action), person=approver(number), version=row.version)


async def take_back(series: Series, row: Broadcast) -> Broadcast | None:
    return await series.core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button", version=row.version)


async def thread(series: Series, row: Broadcast) -> str:
    mine = tables.notes.select().where(tables.notes.c.broadcast == row.id).order_by(tables.notes.c.seq)
    rows = await series.core.database.read(lambda c: c.execute(mine).mappings().all())
    return "\n".join(str(Translatable.of(one["sentence"])) for one in rows)


def sent(series: Series) -> int:
    return len(series.core.sandbox.vendors.ledger)


async def test_an_approval_that_is_taken_back_while_its_occurrence_is_held_covers_no_other(series: Series) -> None:
    daily, first = await covering(series)
    series.core.now = at("2026-12-01T10:00")  # no process was running at nine
    await series.core.run(series.core.dispatcher("a"))
    held = await series.core.row(first.id)
    assert (held.state, held.hold) == (State.HELD, Hold.LATE)
    await take_back(series, held)
    assert (await series.now(daily)).cover is None
    await series.until("2026-12-04T12:00")
    assert sent(series) == 0
    assert State.SENT not in {row.state for row in await series.broadcasts()}


@pytest.mark.long
async def test_what_was_made_on_an_approval_before_it_was_taken_back_asks_again(series: Series) -> None:
    _, first = await covering(series)
    await series.until("2026-12-01T10:00")  # the first has left; the second relies on its approval
    second = (await series.broadcasts())[-1]
    assert (second.state, len(await series.votes(second))) == (State.SCHEDULED, 1)
    await take_back(series, await series.core.row(first.id))
    second = await series.core.row(second.id)
    assert (second.state, await series.votes(second)) == (State.PENDING, [])
    assert "withdrew their approval" in await thread(series, second)
    await series.until("2026-12-04T12:00")
    assert sent(series) == 1


async def twice_a_day(series: Series) -> tuple[Broadcast, Broadcast, Broadcast]:
    """Return two occurrences that waited together, the first one approved, and a third one that it covers."""
    given: dict[str, Any] = {"options": {"covers": 3}, "closed": Closed.KEEP, "person": OPS}  # cron is for admins
    await series.add(Kind.BROADCAST, "0 9,15 * * *", "Soldes", **given)
    await series.until("2026-11-30T11:00")
    first, waiting = await series.broadcasts()  # of today at three, and of tomorrow at nine
    await act(series, first, Action.APPROVE)
    await series.until("2026-11-30T15:05")
    covered = (await series.broadcasts())[2]
    assert (waiting.covers, covered.state, len(await series.votes(covered))) == (3, State.SCHEDULED, 1)
    return first, waiting, covered


@pytest.mark.long
@pytest.mark.parametrize("how", ["taken back", "stopped", "taken back, made by an older process"])
async def test_what_it_covers_falls_with_an_approval_though_one_that_was_not_covered_stands_between(
    series: Series, how: str
) -> None:
    """The one between was made before the approval, and waits for its own."""
    first, _, covered = await twice_a_day(series)
    before = sent(series)
    if "older" in how:
        await series.core.edit(covered, covered_by=None)
    if how == "stopped":
        await series.core.edit(first, state=State.SCHEDULED, due=series.core.now + HOUR)
        await act(series, await series.core.row(first.id), Action.CANCEL)
    else:
        await take_back(series, await series.core.row(first.id))
    fallen = await series.core.row(covered.id)
    assert (fallen.state, await series.votes(fallen)) == (State.PENDING, [])
    await series.until("2026-12-03T16:00")
    assert sent(series) == before


async def test_what_another_approval_covers_stays_when_an_earlier_one_is_taken_back(series: Series) -> None:
    """Both are given by the same person, who takes back only one of them."""
    first, waiting, covered = await twice_a_day(series)
    await act(series, waiting, Action.APPROVE)
    await series.until("2026-12-01T09:05")
    other = (await series.broadcasts())[3]
    assert (other.state, len(await series.votes(other))) == (State.SCHEDULED, 1)
    await take_back(series, await series.core.row(first.id))
    assert (await series.core.row(covered.id)).state is State.PENDING
    kept = await series.core.row(other.id)
    assert (kept.state, len(await series.votes(kept))) == (State.SCHEDULED, 1)


@pytest.mark.parametrize(("phase", "state"), [(Phase.STAGING, State.PENDING), (Phase.RELEASING, State.SENDING)])
async def test_an_occurrence_that_is_leaving_keeps_no_vote_that_was_taken_back(
    series: Series, phase: Phase, state: State
) -> None:
    """What is being prepared asks again; what is going out would ask again if it came back unsent."""
    daily, first = await covering(series)
    await series.until("2026-12-01T10:00")
    second = (await series.broadcasts())[-1]
    lease = {"owner": "b", "lease_until": at("2026-12-03T00:00"), "attempt": 1}
    await series.core.edit(second, state=State.SENDING, phase=phase, **lease)
    (going,) = await series.reminders.made(await series.now(daily))
    assert "It is going out now." in recurring.still_on_its_way(going, translator_for("en"))
    await take_back(series, await series.core.row(first.id))
    second = await series.core.row(second.id)
    assert (second.state, await series.votes(second)) == (state, [])


@pytest.mark.long
@pytest.mark.parametrize("newer", [WORDS[State], WORDS[Phase], WORDS[Hold]], ids=["state", "phase", "hold"])
@pytest.mark.parametrize("how", ["taken back", "stopped"])
async def test_an_occurrence_that_a_newer_version_looks_after_falls_with_its_approval_and_holds_it_up_in_nothing(
    series: Series, newer: dict[str, Any], how: str
) -> None:
    """This version cannot read it; a version that can read it finds no vote on it."""
    daily, first = await covering(series)
    if how == "stopped":
        later = at("2026-12-01T11:00")
        await series.core.edit(first, due=later, start_at=later)
        series.core.now = at("2026-12-01T09:01")
        await series.reminders.tick()
    else:
        await series.until("2026-12-01T10:00")
    latest = (await series.broadcasts())[-1]
    assert len(await series.votes(latest)) == 1
    await series.core.edit(latest, **newer)
    assert latest.id not in [row.id for row in await series.reminders.made(await series.now(daily))]
    if how == "stopped":
        await act(series, await series.core.row(first.id), Action.CANCEL)
    else:
        await take_back(series, await series.core.row(first.id))
    assert (await series.now(daily)).cover is None
    assert await series.votes(latest) == []


@pytest.mark.long
async def test_the_last_occurrence_of_an_approval_falls_with_it_too(series: Series) -> None:
    daily, first = await covering(series, covers=2)
    await series.until("2026-12-01T10:00")
    cover = (await series.now(daily)).cover
    assert cover is None or cover.left == 0
    await take_back(series, await series.core.row(first.id))
    await series.until("2026-12-02T12:00")
    assert sent(series) == 1


async def test_an_approval_that_was_for_nothing_else_cannot_be_taken_back_once_it_left(series: Series) -> None:
    _, first = await covering(series, covers=1)
    await series.until("2026-12-01T10:00")
    with pytest.raises(StaleVersion):
        await take_back(series, await series.core.row(first.id))


@pytest.mark.long
async def test_an_occurrence_that_was_approved_for_itself_stays_so(series: Series) -> None:
    """Only what relies on the withdrawn approval asks again."""
    _, first = await covering(series, covers=2)
    await series.until("2026-12-02T11:00")  # two have left on it; the third asked for its own approval
    third = (await series.broadcasts())[-1]
    assert third.state is State.PENDING
    await act(series, third, Action.APPROVE, 1)
    with pytest.raises(StaleVersion):
        await take_back(series, await series.core.row(first.id))
    await series.until("2026-12-03T10:00")
    assert sent(series) == 3


@pytest.mark.parametrize("when", ["before the next occurrence is made", "after it"])
async def test_who_stops_what_was_approved_for_several_occurrences_stops_its_approval(
    series: Series, when: str
) -> None:
    daily, first = await covering(series, covers=3)
    if when == "after it":
        later = at("2026-12-01T11:00")
        await series.core.edit(first, due=later, start_at=later)
        series.core.now = at("2026-12-01T09:01")
        await series.reminders.tick()
        assert len(await series.broadcasts()) == 2
    await act(series, await series.core.row(first.id), Action.CANCEL)
    assert (await series.now(daily)).cover is None
    assert "Each of them now needs its own" in await thread(series, first)
    if when == "after it":
        second = (await series.broadcasts())[-1]
        assert (second.state, await series.votes(second)) == (State.PENDING, [])
        ended = f"stopped {first.id}. Its approval also covered this broadcast and no longer counts"
        assert ended in await thread(series, second)
    await series.until("2026-12-04T12:00")
    assert sent(series) == 0
    assert {row.state for row in await series.broadcasts()} <= {
        State.CANCELLED,
        State.PENDING,
        State.EXPIRED,
        State.HELD,
    }


async def test_who_stops_one_of_the_occurrences_that_an_approval_was_for_leaves_those_after_it(series: Series) -> None:
    await covering(series)
    await series.until("2026-12-01T10:00")
    second, later = (await series.broadcasts())[-1], at("2026-12-02T11:00")
    await series.core.edit(second, due=later, start_at=later)
    series.core.now = at("2026-12-02T09:01")
    await series.reminders.tick()
    third = (await series.broadcasts())[-1]
    await act(series, await series.core.row(second.id), Action.CANCEL)
    assert (await series.core.row(second.id)).state is State.CANCELLED
    assert ((await series.core.row(third.id)).state, len(await series.votes(third))) == (State.SCHEDULED, 1)
    await series.until("2026-12-03T10:00")
    assert sent(series) == 2


async def test_an_older_approval_that_falls_leaves_the_newer_one_as_it_is(series: Series) -> None:
    daily, first = await covering(series, covers=2)
    series.core.now = at("2026-12-01T10:00")  # no process was running at nine
    await series.core.run(series.core.dispatcher("a"))
    await series.core.edit(first, expires_at=at("2026-12-31T09:00"))  # it keeps asking until then
    await series.until("2026-12-02T11:00")
    third = (await series.broadcasts())[-1]
    assert third.state is State.PENDING
    await act(series, third, Action.APPROVE)
    cover = (await series.now(daily)).cover
    assert cover is not None
    assert cover.of == third.id
    held = await series.core.row(first.id)
    assert held.state is State.HELD
    await act(series, held, Action.DROP)
    assert (await series.now(daily)).cover == cover


async def test_a_newer_approval_that_falls_leaves_the_occurrences_of_the_older_one(series: Series) -> None:
    await covering(series, covers=2)
    await series.until("2026-12-01T10:00")
    second, later = (await series.broadcasts())[-1], at("2026-12-03T11:00")
    await series.core.edit(second, due=later, start_at=later)
    series.core.now = at("2026-12-02T09:01")
    await series.reminders.tick()
    third = (await series.broadcasts())[-1]
    assert (third.id != second.id, third.state) == (True, State.PENDING)
    await act(series, third, Action.APPROVE)
    await take_back(series, await series.core.row(third.id))
    assert (await series.core.row(third.id)).state is State.PENDING
    assert ((await series.core.row(second.id)).state, len(await series.votes(second))) == (State.SCHEDULED, 1)


@LOCKED
async def test_an_older_approval_that_falls_beside_a_newer_one_leaves_the_newer_one(
    series: Series, second: Database
) -> None:
    """Another process is just approving the newer one: the withdrawal waits, and then sees it."""
    daily, first = await covering(series)
    newer = StandingApproval(of="newer", digest="other", voters=("U_BEN",), left=5)
    agreed = asyncio.Event()

    def agree(connection: Connection) -> None:
        schedules.keep_cover(connection, TEAM, daily.id, newer)
        agreed.set()
        until_it_waits(connection, taking)

    async def taking_back() -> None:
        await agreed.wait()
        await take_back(series, await series.core.row(first.id))

    taking = asyncio.create_task(taking_back())
    async with asyncio.timeout(LONG):
        await second.write(agree)
        await taking
    assert (await series.now(daily)).cover == newer
