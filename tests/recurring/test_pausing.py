"""Schedules are paused, resumed and stopped, also by several people at once."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from bot.domain.errors import NotAllowed
from bot.domain.i18n import translator_for
from bot.domain.lifecycle import Ended, Hold, OccurrenceState, State
from bot.domain.schedule import Kind
from bot.slack.blocks import recurring
from bot.storage import tables
from bot.when.recurrence import Closed
from tests.support.core import CLEO, MakeCore, approver
from tests.support.schedules import Series, at


async def test_paused_until_a_date_it_comes_back_by_itself(series: Series) -> None:
    schedule = await series.add(Kind.REMINDER, "every day 9:00", closed=Closed.KEEP)
    await series.reminders.pause(schedule, CLEO, at("2026-12-03T00:00"))
    await series.until("2026-12-04T10:00")
    assert [occurrence.local for occurrence in await series.occurrences(schedule)] == [
        "2026-12-03T09:00",
        "2026-12-04T09:00",
    ]


async def test_a_pause_until_the_hour_of_an_occurrence_ends_with_that_occurrence(series: Series) -> None:
    schedule = await series.add(Kind.REMINDER, "every day 9:00", closed=Closed.KEEP)
    await series.reminders.pause(schedule, CLEO, at("2026-12-03T09:00"))
    await series.until("2026-12-03T10:00")
    assert [occurrence.local for occurrence in await series.occurrences(schedule)] == ["2026-12-03T09:00"]


async def test_what_fell_due_after_a_pause_while_nobody_was_there_was_missed_and_is_told(series: Series) -> None:
    schedule = await series.add(Kind.REMINDER, "every day 9:00", "Payroll", closed=Closed.KEEP)
    await series.reminders.pause(schedule, CLEO, at("2026-12-03T00:00"))
    series.core.now = at("2026-12-03T12:00")
    await series.until("2026-12-04T10:00")
    occurrences = [(occurrence.local, occurrence.state) for occurrence in await series.occurrences(schedule)]
    assert occurrences == [("2026-12-03T09:00", OccurrenceState.MISSED), ("2026-12-04T09:00", OccurrenceState.OPEN)]
    (told,) = await series.told()
    assert "I was away" in told
    assert "Payroll" in told


@pytest.mark.parametrize(
    ("kind", "typed", "until"),
    [
        (Kind.REMINDER, "tomorrow 9:00", None),
        (Kind.REMINDER, "every day 9:00", "2026-12-01T23:59"),
        (Kind.BROADCAST, "every day 9:00", "2026-12-01T23:59"),
    ],
)
async def test_what_ended_while_it_was_paused_is_told_in_its_channel(
    series: Series, kind: Kind, typed: str, until: str | None
) -> None:
    ends = at(until) if until else None
    schedule = await series.add(kind, typed, "Payroll", until=ends, closed=Closed.KEEP)
    await series.reminders.pause(schedule, CLEO, at("2026-12-02T09:00"))
    await series.until("2026-12-04T10:00")
    assert (await series.now(schedule)).ended is Ended.FINISHED
    assert await series.occurrences(schedule) == []
    (told,) = await series.told()
    assert "while it was paused" in told
    assert "Payroll" in told


async def test_once_paused_until_before_its_time_still_comes(series: Series) -> None:
    schedule = await series.add(Kind.REMINDER, "2026-12-03 9:00")
    await series.reminders.pause(schedule, CLEO, at("2026-12-02T12:00"))
    await series.until("2026-12-03T10:00")
    assert [occurrence.local for occurrence in await series.occurrences(schedule)] == ["2026-12-03T09:00"]


@pytest.mark.parametrize("until", [None, "2026-11-30T20:00"])
async def test_an_occurrence_that_was_made_before_a_pause_is_counted_once(series: Series, until: str | None) -> None:
    daily = await series.add(Kind.BROADCAST, "every day 9:00", "Soldes", closed=Closed.KEEP, count=2)
    await series.until("2026-11-30T11:00")
    paused = await series.reminders.pause(await series.now(daily), CLEO, at(until) if until else None)
    if until is None:
        await series.reminders.resume(paused, CLEO)
    await series.until("2026-12-05T12:00")
    assert [occurrence.local for occurrence in await series.occurrences(daily)] == [
        "2026-12-01T09:00",
        "2026-12-02T09:00",
    ]


async def test_an_occurrence_that_stands_in_the_way_is_neither_made_nor_counted_nor_missed_again(
    series: Series,
) -> None:
    """The state that an older version left: it went back to an occurrence that it had made before a pause."""
    daily = await series.add(Kind.BROADCAST, "every day 9:00", "Soldes", closed=Closed.KEEP, count=2)
    await series.until("2026-11-30T11:00")
    back: dict[str, Any] = {"next_at": at("2026-12-01T09:00"), "next_local": "2026-12-01T09:00"}
    await series.core.database.write(lambda c: c.execute(tables.schedules.update().values(**back)))
    await series.reminders.tick()
    now = await series.now(daily)
    assert (now.next_local, now.remaining, len(await series.occurrences(daily))) == ("2026-12-02T09:00", 1, 1)
    await series.core.database.write(lambda c: c.execute(tables.schedules.update().values(**back)))
    series.core.now = at("2026-12-01T12:00")
    await series.reminders.tick()
    assert await series.told() == []
    assert [occurrence.state for occurrence in await series.occurrences(daily)] == [OccurrenceState.MADE]


async def test_paused_it_waits_until_somebody_resumes_it(series: Series) -> None:
    schedule = await series.add(Kind.BROADCAST, "every day 9:00", closed=Closed.KEEP)
    await series.reminders.pause(schedule, CLEO, None)
    await series.until("2026-12-10T10:00")
    assert await series.occurrences(schedule) == []
    resumed = await series.reminders.resume(await series.now(schedule), CLEO)
    assert resumed.next_local == "2026-12-11T09:00"  # not one of those that passed meanwhile


@pytest.mark.long
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"state": State.PENDING}, "is waiting for approval"),
        ({"state": State.SCHEDULED}, "will go out by itself"),
        ({"state": State.HELD, "hold": Hold.HOURS, "hold_until": 1}, "will go out by itself"),
        ({"state": State.HELD, "hold": Hold.HOURS, "hold_until": None}, "It is held"),
        ({"state": State.HELD, "hold": Hold.LATE}, "It is held"),
        ({"state": State.CANCELLED}, None),
        ({"state": State.SENT}, None),
    ],
)
async def test_of_the_occurrences_that_were_made_those_are_named_that_may_still_go(
    series: Series, changes: dict[str, Any], expected: str | None
) -> None:
    daily = await series.add(Kind.BROADCAST, "every day 9:00", "Soldes", closed=Closed.KEEP)
    await series.until("2026-11-30T11:00")
    await series.core.edit((await series.broadcasts())[0], **changes)
    told = [recurring.still_on_its_way(row, translator_for("en")) for row in await series.reminders.made(daily)]
    assert len(told) == (1 if expected else 0)
    assert all(str(expected) in line for line in told)


async def test_of_two_who_change_it_at_once_one_is_told_that_it_moved(series: Series) -> None:
    schedule = await series.add(Kind.REMINDER, "every day 9:00")
    decisions = [series.reminders.stop(schedule, CLEO), series.reminders.pause(schedule, CLEO, None)]
    outcomes = await asyncio.gather(*decisions, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Moved", "Schedule"]


async def test_nobody_else_changes_it_but_an_admin_and_for_broadcasts_an_approver(make_core: MakeCore) -> None:
    series = Series(make_core(admins=["U0OPS"]))
    reminder, weekly = (
        await series.add(Kind.REMINDER, "every day 9:00"),
        await series.add(Kind.BROADCAST, "every day 9:00"),
    )
    with pytest.raises(NotAllowed):
        await series.reminders.stop(reminder, approver(1))
    assert (await series.reminders.stop(reminder, dataclasses.replace(CLEO, id="U0OPS"))).ended is Ended.STOPPED
    assert (await series.reminders.stop(weekly, approver(1))).ended is Ended.STOPPED
