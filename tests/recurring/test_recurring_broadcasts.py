"""Recurring broadcasts: each occurrence is asked for, approved and sent once."""

from __future__ import annotations

import asyncio
import dataclasses
import random

import pytest

from bot.domain.clock import SECOND
from bot.domain.errors import InvalidRequest
from bot.domain.lifecycle import OccurrenceState, State
from bot.domain.schedule import Kind
from bot.storage import tables
from bot.storage.database import Database
from bot.when.recurrence import Closed
from bot.workflow.decision_types import Approve, Replan
from tests.support.core import APPROVERS, CLEO, TEAM, MakeCore, approver
from tests.support.ground import some_later
from tests.support.schedules import DAY, Series, at


@pytest.mark.parametrize("kind", some_later(list(Kind)))
async def test_the_same_schedule_asked_for_twice_at_once_is_one_and_a_minute_later_another(
    series: Series, kind: Kind
) -> None:
    asked = (series.add(kind, "every tuesday 9:00", "Soldes") for _ in range(10))
    (first,) = {schedule.id for schedule in await asyncio.gather(*asked)}
    other = await series.add(kind, "every tuesday 10:00", "Soldes")
    series.core.now += 61 * SECOND
    later = await series.add(kind, "every tuesday 9:00", "Soldes")
    assert len({first, other.id, later.id}) == 3


@pytest.mark.long
async def test_each_occurrence_is_a_broadcast_with_its_own_card_and_approval(series: Series) -> None:
    schedule = await series.add(Kind.BROADCAST, "every tuesday 9:00", "Soldes")
    await series.until("2026-11-30T11:00")
    (first,) = await series.broadcasts()
    assert (first.state, first.send_at, first.schedule) == (State.PENDING, at("2026-12-01T09:00"), schedule.id)
    await series.core.workflow.act(TEAM, first.id, Approve(), person=approver(0), version=1)
    await series.until("2026-12-01T10:00")
    assert [sent.text for sent in series.core.sandbox.vendors.ledger] == ["Soldes STOP AU 36111"]

    await series.until("2026-12-08T10:00")  # nobody approves the second
    second_one = (await series.broadcasts())[1]
    assert second_one.state is State.EXPIRED
    assert len(series.core.sandbox.vendors.ledger) == 1
    assert (await series.now(schedule)).next_local == "2026-12-15T09:00"


@pytest.mark.long
async def test_an_approval_for_three_occurrences_is_for_three_and_no_more(series: Series) -> None:
    await series.add(Kind.BROADCAST, "every day 9:00", "Soldes", options={"covers": 3}, closed=Closed.KEEP)
    await series.until("2026-11-30T11:00")
    (first,) = await series.broadcasts()
    await series.core.workflow.act(TEAM, first.id, Approve(), person=approver(0), version=1)
    await series.until("2026-12-05T12:00")
    rows = await series.broadcasts()
    assert [row.state for row in rows] == [*[State.SENT] * 3, State.EXPIRED, State.EXPIRED, State.PENDING]
    assert len(series.core.sandbox.vendors.ledger) == 3
    for row in rows[:3]:
        (vote,) = await series.votes(row)
        assert (vote.approver, vote.digest) == (APPROVERS[0], row.digest)


@pytest.mark.long
async def test_a_covering_approval_falls_with_its_approver_and_when_it_is_taken_back(series: Series) -> None:
    await series.add(Kind.BROADCAST, "every day 9:00", "Soldes", options={"covers": 10}, closed=Closed.KEEP)
    await series.until("2026-11-30T11:00")
    (first,) = await series.broadcasts()
    await series.core.workflow.act(TEAM, first.id, Approve(), person=approver(0), version=1)
    await series.until("2026-12-01T10:00")
    series.core.gone = {APPROVERS[0]}
    await series.until("2026-12-02T10:00")
    second_one, third = (await series.broadcasts())[1:]
    assert (second_one.state, second_one.covers) == (State.PENDING, 1)  # covered the day before; lapsed when it was due
    assert await series.core.actions(second_one) == ["submit", "approve", "start", "lapse"]
    assert (third.state, third.covers) == (State.PENDING, 10)
    await series.core.workflow.act(TEAM, third.id, Approve(), person=approver(1), version=1)
    await series.core.workflow.withdraw(TEAM, third.id, person=approver(1), way="button")
    await series.until("2026-12-04T08:00")
    assert {row.state for row in (await series.broadcasts())[1:]} == {State.EXPIRED, State.PENDING}
    assert len(series.core.sandbox.vendors.ledger) == 1


@pytest.mark.long
async def test_an_approval_that_is_taken_back_after_its_occurrence_has_left_covers_no_other(series: Series) -> None:
    daily = await series.add(Kind.BROADCAST, "every day 9:00", "Soldes", options={"covers": 10}, closed=Closed.KEEP)
    await series.until("2026-11-30T08:00")
    (first,) = await series.broadcasts()
    workflow = series.core.workflow
    await workflow.act(TEAM, first.id, Approve(), person=approver(0), version=1)
    series.core.now = at("2026-12-01T09:00")
    await series.core.run(series.core.dispatcher("d"))
    assert (await series.core.row(first.id)).state is State.SENT
    await workflow.withdraw(TEAM, first.id, person=approver(0), way="button")
    assert (await series.now(daily)).cover is None
    await series.until("2026-12-04T10:00")
    assert len(series.core.sandbox.vendors.ledger) == 1


async def test_who_has_left_the_workspace_covers_nothing_however_the_settings_name_them(make_core: MakeCore) -> None:
    series = Series(make_core(**{"approval.approvers": APPROVERS[:2]}))
    await series.add(Kind.BROADCAST, "every day 9:00", "Soldes", options={"covers": 5}, closed=Closed.KEEP)
    await series.until("2026-11-30T11:00")
    (first,) = await series.broadcasts()
    await series.core.workflow.act(TEAM, first.id, Approve(), person=approver(0), version=1)
    await series.until("2026-12-01T09:00")
    series.office.left = {APPROVERS[0]}
    series.core.now = at("2026-12-03T08:30")  # nothing ran since, so the cover has yet to vote
    await series.until("2026-12-03T09:00")
    third = (await series.broadcasts())[2]
    assert (third.send_at, third.state, third.covers) == (at("2026-12-03T09:00"), State.PENDING, 5)
    assert await series.votes(third) == []


async def test_an_occurrence_that_outgrows_its_approval_covers_no_other_any_more(series: Series) -> None:
    clients = series.core.sandbox.vendors.encom.lists
    weekly = await series.add(Kind.BROADCAST, "every day 9:00", "Soldes", options={"covers": 3}, closed=Closed.KEEP)
    await series.until("2026-11-30T11:00")
    (first,) = await series.broadcasts()
    await series.core.workflow.sizes.learn(TEAM, first.id, 2)
    await series.core.workflow.act(TEAM, first.id, Approve(), person=approver(0), version=1)
    clients["1"] = ("Clients", {f"+3360{number:07}": "" for number in range(400)})
    await series.until("2026-12-01T09:00")
    assert (await series.core.row(first.id)).state is State.PENDING
    assert (await series.now(weekly)).cover is None
    await series.until("2026-12-04T10:00")
    assert series.core.sandbox.vendors.ledger == []


@pytest.mark.long
async def test_an_approval_covers_no_occurrence_that_would_reach_more_people_than_it_was_given_for(
    series: Series,
) -> None:
    lists = series.core.sandbox.vendors.octopush.lists
    lists["newsletter"] = 50
    options = {"audience": "newsletter", "covers": 3}
    weekly = await series.add(Kind.BROADCAST, "every day 9:00", "Soldes", options=options, closed=Closed.KEEP)
    await series.until("2026-11-30T11:00")
    (first,) = await series.broadcasts()
    await series.core.workflow.sizes.learn(TEAM, first.id, 50)
    await series.core.workflow.act(TEAM, first.id, Approve(), person=approver(0), version=1)
    cover = (await series.now(weekly)).cover
    assert cover is not None
    assert cover.bound == 50
    await series.until("2026-12-01T12:00")
    lists["newsletter"] = 51
    await series.until("2026-12-02T09:00")
    first, second_one, *_ = await series.broadcasts()
    assert first.state is State.SENT
    assert (second_one.state, second_one.bound, second_one.size) == (State.PENDING, 51, 51)
    assert "outgrow" in await series.core.actions(second_one)
    assert len(series.core.sandbox.vendors.ledger) == 1


async def test_a_cover_of_before_sizes_were_kept_in_it_is_for_as_many_as_the_settings_allow(series: Series) -> None:
    daily = await series.add(Kind.BROADCAST, "every day 9:00", "Soldes", options={"covers": 3}, closed=Closed.KEEP)
    await series.until("2026-11-30T11:00")
    (first,) = await series.broadcasts()
    await series.core.workflow.act(TEAM, first.id, Approve(), person=approver(0), version=1)
    stored = dataclasses.asdict((await series.now(daily)).cover or pytest.fail("there is no cover"))
    del stored["bound"]
    await series.core.database.write(lambda c: c.execute(tables.schedules.update().values(cover=stored)))
    await series.until("2026-12-02T10:00")
    second_one = (await series.broadcasts())[1]
    assert (second_one.state, second_one.bound) == (State.SENT, series.core.settings.audiences["clients"].max_size)


async def test_an_occurrence_that_lost_its_cover_while_it_was_made_is_made_anew(series: Series) -> None:
    daily = await series.add(Kind.BROADCAST, "every day 9:00", "Soldes", options={"covers": 3}, closed=Closed.KEEP)
    await series.until("2026-11-30T11:00")
    (first,) = await series.broadcasts()
    await series.core.workflow.act(TEAM, first.id, Approve(), person=approver(0), version=1)
    series.core.now = at("2026-12-01T09:00")
    ask, workflow = series.office.members, series.core.workflow

    async def meanwhile(group: str) -> frozenset[str]:
        found = await ask(group)
        await workflow.withdraw(TEAM, first.id, person=approver(0), way="button")
        return found

    series.office.members = meanwhile  # type: ignore[method-assign]
    await series.reminders.tick()
    assert [occurrence.local for occurrence in await series.occurrences(daily)] == ["2026-12-01T09:00"]
    await series.reminders.tick()
    second_one = (await series.broadcasts())[1]
    assert (second_one.state, second_one.covers) == (State.PENDING, 3)


async def test_an_occurrence_that_is_moved_or_lapses_covers_no_other_any_more(series: Series) -> None:
    weekly = await series.add(Kind.BROADCAST, "every day 9:00", "Soldes", options={"covers": 10}, closed=Closed.KEEP)
    await series.until("2026-11-30T11:00")
    (first,) = await series.broadcasts()
    workflow = series.core.workflow
    await workflow.act(TEAM, first.id, Approve(), person=approver(0), version=1)
    assert (await series.now(weekly)).cover is not None
    moved = at("2026-12-01T11:00")
    again = await workflow.act(TEAM, first.id, Replan(send_at=moved), person=CLEO, version=1)
    assert (again.state, again.covers, again.digest) == (State.PENDING, 10, again.computed_digest())
    assert (await series.now(weekly)).cover is None
    await workflow.act(TEAM, first.id, Approve(), person=approver(0), version=2)
    assert (await series.now(weekly)).cover is not None
    series.core.gone = {APPROVERS[0]}
    series.core.now = moved
    await series.core.run(series.core.dispatcher("d"))
    assert (await series.core.row(first.id)).state is State.PENDING
    assert (await series.now(weekly)).cover is None
    assert series.core.sandbox.vendors.ledger == []


async def test_an_approval_of_one_occurrence_alone_covers_nothing(series: Series) -> None:
    await series.add(Kind.BROADCAST, "every day 9:00", "Soldes", closed=Closed.KEEP)
    await series.until("2026-11-30T11:00")
    (first,) = await series.broadcasts()
    await series.core.workflow.act(TEAM, first.id, Approve(), person=approver(0), version=1)
    await series.until("2026-12-01T10:00")
    assert [row.state for row in await series.broadcasts()] == [State.SENT, State.PENDING]


async def test_what_could_not_be_asked_for_as_a_broadcast_cannot_be_asked_for_again_and_again(series: Series) -> None:
    for text, audience in (("   ", "clients"), ("Hi", "nobody"), ("x" * 3000, "clients")):
        with pytest.raises(InvalidRequest):
            await series.add(Kind.BROADCAST, "every day 9:00", text, options={"audience": audience})
    assert await series.reminders.listed(TEAM, Kind.BROADCAST) == []


async def test_many_processes_make_each_occurrence_once(series: Series, second: Database, seed: int) -> None:
    chance = random.Random(seed)
    weekly = await series.add(Kind.BROADCAST, "every day 9:00", "Soldes", closed=Closed.KEEP)
    daily = await series.add(Kind.REMINDER, "every day 11:00", closed=Closed.KEEP)
    processes = [series.reminders, series.process(second), series.process(second), series.process()]
    for _ in range(10):
        series.core.now += chance.randrange(DAY)
        await asyncio.gather(*(one.tick() for one in chance.sample(processes, 4)))
    for schedule in (weekly, daily):
        occurrences = await series.occurrences(schedule)
        assert len({occurrence.local for occurrence in occurrences}) == len(occurrences)
    made = [occurrence for occurrence in await series.occurrences(weekly) if occurrence.state is OccurrenceState.MADE]
    assert len(await series.broadcasts()) == len(made)
    assert {occurrence.broadcast for occurrence in made} == {row.id for row in await series.broadcasts()}
