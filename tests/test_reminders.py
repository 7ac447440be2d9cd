"""Recurring broadcasts and their approvals, reminders and their answers, and their owners."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from bot.backup import hold_all
from bot.domain.clock import SECOND
from bot.domain.errors import InvalidRequest, NotAllowed
from bot.domain.i18n import Translatable, translator_for
from bot.domain.lifecycle import Ended, Hold, OccurrenceState, ScheduleState, State
from bot.domain.people import DirectoryUnavailable
from bot.domain.schedule import Kind, Occurrence, Schedule
from bot.recurring.schedules import Moved, Schedules
from bot.slack.blocks import recurring
from bot.slack.blocks.mrkdwn import Post
from bot.slack.blocks.thread import thread_message
from bot.slack.publish.cards import MAX_TRIES
from bot.storage import audit, tables
from bot.storage.broadcasts import latest
from bot.storage.database import Database
from bot.when.recurrence import Closed
from bot.workflow.decision_types import Approve, Replan
from tests.support.core import APPROVERS, CLEO, TEAM, Core, MakeCore, approver, later
from tests.support.ground import in_order
from tests.support.schedules import DAY, HOUR, Series, at


@pytest.fixture
def series(core: Core) -> Series:
    return Series(core)


# --- recurring broadcasts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(Kind))
async def test_the_same_schedule_asked_for_twice_at_once_is_one_and_a_minute_later_another(
    series: Series, kind: Kind
) -> None:
    asked = (series.add(kind, "every tuesday 9:00", "Soldes") for _ in range(10))
    (first,) = {schedule.id for schedule in await asyncio.gather(*asked)}
    other = await series.add(kind, "every tuesday 10:00", "Soldes")
    series.core.now += 61 * SECOND
    later = await series.add(kind, "every tuesday 9:00", "Soldes")
    assert len({first, other.id, later.id}) == 3


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


# --- occurrences -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("closed", "expected"),
    [
        (Closed.KEEP, ["2026-12-25T09:00", "2027-01-01T09:00", "2027-01-08T09:00"]),
        (Closed.SKIP, ["2027-01-08T09:00", "2027-01-15T09:00", "2027-01-22T09:00"]),
        (Closed.SHIFT, ["2026-12-28T09:00", "2027-01-04T09:00", "2027-01-08T09:00"]),
        (Closed.BEFORE, ["2026-12-24T09:00", "2026-12-31T09:00", "2027-01-08T09:00"]),
    ],
)
async def test_holidays_are_kept_left_out_or_moved(series: Series, closed: Closed, expected: list[str]) -> None:
    series.core.now = at("2026-12-22T09:00")
    schedule = await series.add(Kind.REMINDER, "every friday 9:00", closed=closed)
    await series.until("2027-01-24T09:00", hours=12)
    assert [occurrence.local for occurrence in await series.occurrences(schedule)][:3] == expected


async def test_c33_the_last_day_of_every_month_comes_though_some_are_closed(series: Series) -> None:
    """C33: January 2027 ends on a Sunday, February too, and March on a Wednesday."""
    schedule = await series.add(Kind.REMINDER, "last day of the month 18:00", closed=Closed.BEFORE)
    assert (await series.now(schedule)).closed is Closed.BEFORE  # as read back from the store
    await series.until("2027-04-01T00:00", hours=12)
    locals = [occurrence.local for occurrence in await series.occurrences(schedule)]
    assert locals == [f"{day}T18:00" for day in ("2026-11-30", "2026-12-31", "2027-01-29", "2027-02-26", "2027-03-31")]


async def test_where_all_its_days_are_closed_the_ways_out_are_named(series: Series) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await series.add(Kind.REMINDER, "every 25 december 9:00")
    sentence = str(refused.value.complaints[0].sentence)
    assert "`holidays=before` moves it to the previous working day" in sentence
    moved = await series.add(Kind.REMINDER, "every 25 december 9:00", closed=Closed.BEFORE)
    assert moved.next_local == "2026-12-24T09:00"
    with pytest.raises(InvalidRequest) as ended:
        await series.add(Kind.REMINDER, "every 25 december 9:00", until=at("2026-12-20T23:59"))
    assert "Check its days, holidays and end" in str(ended.value.complaints[0].sentence)


async def test_one_day_is_no_recurrence_whatever_stands_before_it(series: Series) -> None:
    for typed in ("mañana a las 9", "mañana a la una", "a las 9 mañana", "demain 9h", "9am today", "pasado mañana 9h"):
        with pytest.raises(InvalidRequest) as refused:
            await series.add(Kind.BROADCAST, typed, "Soldes")
        assert "That is a single day" in str(refused.value.complaints[0].sentence), typed
    for typed in ("día a las 9 de la mañana", "cada mañana a las 9", "a las 9 cada mañana", "morning 9:00"):
        assert (await series.add(Kind.BROADCAST, typed, "Soldes")).rule == "0 9 * * *", typed


async def test_without_a_word_about_holidays_they_are_left_out_where_a_calendar_is_known(series: Series) -> None:
    series.core.now = at("2026-12-24T10:00")
    schedule = await series.add(Kind.REMINDER, "every day 9:00")
    assert (schedule.closed, schedule.next_local) == (Closed.SKIP, "2026-12-26T09:00")


async def test_over_a_clock_change_the_wall_clock_stays(series: Series) -> None:
    series.core.now = at("2027-03-26T10:00")
    schedule = await series.add(Kind.REMINDER, "every day 9:00", closed=Closed.KEEP)
    await series.until("2027-03-30T00:00")
    occurrences = await series.occurrences(schedule)
    assert [occurrence.local[-5:] for occurrence in occurrences] == ["09:00"] * 3
    assert [datetime.fromtimestamp(occurrence.at / SECOND, UTC).hour for occurrence in occurrences] == [8, 7, 7]


async def test_once_is_once(series: Series) -> None:
    schedule = await series.add(Kind.REMINDER, "tomorrow 9:00")
    await series.until("2026-12-05T09:00")
    (occurrence,) = await series.occurrences(schedule)
    assert (occurrence.local, occurrence.state) == ("2026-12-01T09:00", OccurrenceState.OPEN)
    assert (await series.now(schedule)).state is ScheduleState.ENDED


async def test_it_ends_after_its_number_or_its_day(series: Series) -> None:
    three = await series.add(Kind.REMINDER, "every day 9:00", count=3, closed=Closed.KEEP)
    dated = await series.add(Kind.REMINDER, "every day 9:00", until=at("2026-12-02T23:59"), closed=Closed.KEEP)
    await series.until("2026-12-10T00:00")
    assert len(await series.occurrences(three)) == 3
    assert len(await series.occurrences(dated)) == 2
    assert {(await series.now(one)).ended for one in (three, dated)} == {Ended.FINISHED}


async def test_of_a_recurring_broadcast_the_last_card_is_told_and_of_a_reminder_the_last_time(series: Series) -> None:
    await series.add(Kind.BROADCAST, "every day 9:00", "Soldes", count=1, closed=Closed.KEEP)
    await series.until("2026-11-30T11:00")
    (row,) = await series.broadcasts()
    (told,) = await series.told()
    assert "The last card is in the channel" in told
    assert row.id in told
    assert "last one" not in told  # it has not been sent yet
    await series.add(Kind.REMINDER, "every day 9:00", count=1, closed=Closed.KEEP)
    await series.until("2026-12-01T10:00")
    assert "That was the last one." in (await series.told())[1]


async def test_what_would_never_come_is_refused(series: Series) -> None:
    with pytest.raises(InvalidRequest):
        await series.add(Kind.REMINDER, "every day 9:00", until=series.core.now + SECOND)


async def test_only_an_admin_writes_cron(make_core: MakeCore) -> None:
    series = Series(make_core(admins=[CLEO.id]))
    schedule = await series.add(Kind.REMINDER, "cron 0 9 * * 1", closed=Closed.KEEP)
    assert schedule.next_local == "2026-12-07T09:00"
    series = Series(make_core())
    with pytest.raises(InvalidRequest):
        await series.add(Kind.REMINDER, "cron 0 9 * * 1")


# --- pause, resume, stop ---------------------------------------------------------------------------------------------


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


# --- downtime --------------------------------------------------------------------------------------------------------


async def test_what_was_missed_is_told_once_and_never_made_late(series: Series) -> None:
    reminder = await series.add(Kind.REMINDER, "every day 9:00", "Stand-up", closed=Closed.KEEP)
    weekly = await series.add(Kind.BROADCAST, "every day 9:00", "Soldes", closed=Closed.KEEP)
    series.core.now += 4 * DAY  # nothing ran
    for _ in range(3):
        await series.reminders.tick()
    assert [occurrence.state for occurrence in await series.occurrences(reminder)] == [OccurrenceState.MISSED] * 4
    assert [occurrence.state for occurrence in await series.occurrences(weekly)] == [
        *[OccurrenceState.MISSED] * 4,
        OccurrenceState.MADE,
    ]
    assert [row.send_at for row in await series.broadcasts()] == [at("2026-12-05T09:00")]
    told = await series.told()
    assert len(told) == 2
    assert any("Stand-up" in text and "'number': 4" in text for text in told)


async def test_within_its_grace_it_still_comes(series: Series) -> None:
    reminder = await series.add(Kind.REMINDER, "tomorrow 9:00")
    series.core.now = at("2026-12-01T09:09")
    await series.reminders.tick()
    assert [occurrence.state for occurrence in await series.occurrences(reminder)] == [OccurrenceState.MADE]


async def test_an_occurrence_that_needs_no_approval_still_goes_once_within_its_grace(series: Series) -> None:
    options = {"audience": "staff", "purpose": "transactional"}
    daily = await series.add(Kind.BROADCAST, "every tuesday 9:00", "Votre planning", options=options)
    series.core.now = at("2026-12-01T09:09")
    dispatcher = series.core.dispatcher("d")
    for _ in range(3):
        await series.reminders.tick()
        await series.core.run(dispatcher)
        series.core.now += 10 * SECOND
    assert [sent.text for sent in series.core.sandbox.vendors.ledger] == ["Votre planning"]
    assert ((await series.now(daily)).state, (await series.now(daily)).next_local) == (
        ScheduleState.ACTIVE,
        "2026-12-08T09:00",
    )


async def test_an_occurrence_that_is_covered_still_goes_once_within_its_grace(series: Series) -> None:
    await series.add(Kind.BROADCAST, "every tuesday 9:00", "Soldes", options={"covers": 2}, closed=Closed.KEEP)
    await series.until("2026-11-30T11:00")
    (first,) = await series.broadcasts()
    await series.core.workflow.act(TEAM, first.id, Approve(), person=approver(0), version=1)
    await series.until("2026-12-01T10:00")
    series.core.now = at("2026-12-08T09:05")  # nothing ran for a week
    await series.until("2026-12-08T09:06")
    assert [row.state for row in await series.broadcasts()] == [State.SENT, State.SENT]
    assert len(series.core.sandbox.vendors.ledger) == 2


async def test_an_occurrence_that_nobody_could_approve_before_its_time_is_missed_and_the_series_lives_on(
    series: Series,
) -> None:
    weekly = await series.add(Kind.BROADCAST, "every tuesday 9:00", "Soldes", closed=Closed.KEEP)
    series.core.now = at("2026-12-01T09:05")
    for _ in range(3):
        await series.reminders.tick()
    assert await series.broadcasts() == []
    assert [occurrence.state for occurrence in await series.occurrences(weekly)] == [OccurrenceState.MISSED]
    now = await series.now(weekly)
    assert (now.state, now.next_local) == (ScheduleState.ACTIVE, "2026-12-08T09:00")
    (told,) = await series.told()
    assert "Nobody could approve this" in told
    assert "Soldes" in told


async def test_one_that_cannot_be_made_keeps_no_other_one_waiting(
    series: Series, caplog: pytest.LogCaptureFixture
) -> None:
    first = await series.add(Kind.REMINDER, "tomorrow 9:00", "Payroll")
    other = await series.add(Kind.REMINDER, "tomorrow 9:01", "Stand-up")
    broken: dict[str, Any] = {"zone": "Nowhere/At all", "rule": "0 9 * * *"}
    rows = tables.schedules
    await series.core.database.write(lambda c: c.execute(rows.update().where(rows.c.id == first.id).values(**broken)))
    series.core.now = at("2026-12-01T09:01")
    await series.reminders.tick()
    assert (len(await series.occurrences(first)), len(await series.occurrences(other))) == (0, 1)
    logged = caplog.text
    assert first.id in logged
    assert "Payroll" not in logged
    assert "Nowhere" not in logged
    mended: dict[str, Any] = {"zone": "Europe/Paris"}
    await series.core.database.write(lambda c: c.execute(rows.update().where(rows.c.id == first.id).values(**mended)))
    later(series.core.database)
    await series.reminders.tick()
    assert len(await series.occurrences(first)) == 1


async def test_a_pause_that_cannot_end_keeps_no_other_one_waiting(series: Series) -> None:
    first, other = [await series.add(Kind.REMINDER, f"every day {hour}:00", closed=Closed.KEEP) for hour in (9, 10)]
    for one in (first, other):
        await series.reminders.pause(one, CLEO, at("2026-12-01T00:00"))
    rows, broken = tables.schedules, {"zone": "Nowhere/At all"}
    await series.core.database.write(lambda c: c.execute(rows.update().where(rows.c.id == first.id).values(**broken)))
    await series.until("2026-12-02T12:00")
    assert [len(await series.occurrences(one)) for one in (first, other)] == [0, 2]


async def test_of_many_processes_that_end_a_pause_at_once_one_does(series: Series, second: Database) -> None:
    schedule = await series.add(Kind.REMINDER, "tomorrow 9:00", "Payroll")
    await series.reminders.pause(schedule, CLEO, at("2026-12-01T10:00"))
    series.core.now = at("2026-12-01T10:00")
    processes = [series.reminders, series.process(second), series.process(), series.process(second)]
    await asyncio.gather(*(one.tick() for one in processes))
    steps = await series.core.database.read(lambda c: [step["action"] for step in audit.history(c, TEAM, schedule.id)])
    assert steps == ["schedule_reminder", "pause_reminder", "resume_reminder"]
    assert len(await series.told()) == 1


async def test_what_cannot_come_once_more_keeps_no_other_one_waiting(series: Series) -> None:
    both = [await series.add(Kind.REMINDER, typed) for typed in ("tomorrow 9:00", "every weekday 9:00")]
    await series.until("2026-12-01T09:00")
    for one in both:
        await series.reminders.answer((await series.occurrences(one))[0], CLEO, snooze=True)
    await series.post()
    ask = series.office.why_closed
    asked: list[str] = []

    async def broken_once(channel: str) -> Translatable | None:
        asked.append(channel)
        if len(asked) == 1:
            raise KeyError(channel)
        return await ask(channel)

    series.office.why_closed = broken_once  # type: ignore[method-assign]
    series.core.now += HOUR
    await series.reminders.tick()
    states = [(await series.occurrences(one))[0].state for one in both]
    assert sorted(states) == [OccurrenceState.MADE, OccurrenceState.SNOOZED]
    later(series.core.database)
    await series.reminders.tick()
    assert [(await series.occurrences(one))[0].state for one in both] == [OccurrenceState.MADE] * 2


async def test_what_comes_too_late_is_told_though_slack_is_silent_and_keeps_no_other_one_waiting(
    series: Series,
) -> None:
    late = [await series.add(Kind.REMINDER, "tomorrow 8:30", f"Payroll {number}") for number in range(50)]
    other = await series.add(Kind.REMINDER, "tomorrow 9:00", "Stand-up")
    await series.core.database.write(
        lambda c: c.execute(tables.schedules.update().where(tables.schedules.c.id == other.id).values(channel="C2"))
    )
    series.office.why_closed = silent_about_c1  # type: ignore[method-assign]
    series.core.now = at("2026-12-01T09:05")
    for _ in range(2):  # one tick takes 50
        await series.reminders.tick()
    assert {(await series.occurrences(one))[0].state for one in late} == {OccurrenceState.MISSED}
    assert [occurrence.state for occurrence in await series.occurrences(other)] == [OccurrenceState.MADE]
    assert len(await series.told()) == len(late)


async def silent_about_c1(channel: str) -> Translatable | None:
    if channel == "C1":
        raise DirectoryUnavailable(channel)
    return None


async def test_what_was_snoozed_and_comes_too_late_is_told_though_slack_is_silent(series: Series) -> None:
    schedule = await snoozed(series)
    series.office.silent = True
    series.core.now += HOUR + 11 * 60 * SECOND
    await series.reminders.tick()
    assert [occurrence.state for occurrence in await series.occurrences(schedule)] == [OccurrenceState.MISSED]
    assert "I was away" in (await series.told())[0]


@pytest.mark.parametrize("days", [0, 3])
async def test_what_was_made_and_not_posted_is_never_posted_late_but_told(series: Series, days: int) -> None:
    schedule = await series.add(Kind.REMINDER, "tomorrow 9:00", "Payroll")
    series.core.now = at("2026-12-01T09:00")
    await series.reminders.tick()
    series.core.now += days * DAY + (11 if days == 0 else 0) * 60 * SECOND
    for _ in range(2):
        await series.reminders.tick()
        await series.post()
    assert series.channel.tried == 0
    assert [occurrence.state for occurrence in await series.occurrences(schedule)] == [OccurrenceState.MISSED]
    (told,) = await series.told()
    assert "may not have been posted" in told
    assert "Payroll" in told


async def test_what_slack_took_before_a_crash_is_not_told_as_unsaid(
    series: Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    await series.add(Kind.REMINDER, "tomorrow 9:00", "Payroll")
    series.core.now = at("2026-12-01T09:00")
    await series.reminders.tick()
    with monkeypatch.context() as dying:
        dying.setattr(series.notices, "_drawn", killed)
        with pytest.raises(KeyboardInterrupt):
            await series.post()
    series.core.now = at("2026-12-01T12:00")
    await series.post()
    assert len(series.channel.posts) == 1
    (told,) = await series.told()
    assert "may not have been posted" in told


async def test_what_was_to_come_once_more_and_is_not_posted_in_time_loses_its_promise(series: Series) -> None:
    await snoozed(series)
    series.core.now += HOUR
    await series.reminders.tick()
    series.core.now += HOUR
    await series.post()
    assert len(series.channel.posts) == 1
    assert "posted once more" not in series.channel.shown[0]
    assert "may not have been posted" in (await series.told())[0]


async def test_while_slack_is_silent_it_waits(series: Series) -> None:
    reminder = await series.add(Kind.REMINDER, "tomorrow 9:00")
    series.office.silent = True
    await series.until("2026-12-01T09:05")
    assert await series.occurrences(reminder) == []
    series.office.silent = False
    await series.reminders.tick()
    assert len(await series.occurrences(reminder)) == 1


# --- owners and channels ---------------------------------------------------------------------------------------------


async def test_when_its_owner_leaves_it_stops_by_itself_and_says_so(series: Series) -> None:
    gone, out = await series.add(Kind.REMINDER, "every day 9:00"), await series.add(Kind.BROADCAST, "every day 12:00")
    series.office.left = {CLEO.id}
    await series.until("2026-12-03T10:00")
    assert {(await series.now(one)).ended for one in (gone, out)} == {Ended.OWNER_LEFT}
    assert await series.occurrences(gone) == await series.occurrences(out) == []
    told = await series.told()
    assert len(told) == 2
    assert all("no longer a full member" in text for text in told)


async def test_when_its_owner_leaves_the_channel_or_it_is_archived_it_stops(series: Series) -> None:
    first = await series.add(Kind.REMINDER, "every day 9:00")
    series.office.out = {CLEO.id}
    await series.until("2026-12-01T10:00")
    assert (await series.now(first)).ended is Ended.OWNER_LEFT
    series.office.out = set()
    second_one = await series.add(Kind.REMINDER, "every day 11:00")
    series.office.open = False
    await series.until("2026-12-01T12:00")
    assert (await series.now(second_one)).ended is Ended.CHANNEL_GONE


async def test_when_slack_knows_its_owner_no_more_it_stops_by_itself(series: Series) -> None:
    schedule = await series.add(Kind.REMINDER, "every day 9:00")
    series.office.unknown = {CLEO.id}
    await series.until("2026-12-01T10:00")
    assert (await series.now(schedule)).ended is Ended.OWNER_LEFT
    assert "no longer a full member" in (await series.told())[0]


async def test_an_owner_must_be_in_the_channel(series: Series) -> None:
    series.office.out = {CLEO.id}
    with pytest.raises(NotAllowed):
        await series.add(Kind.REMINDER, "every day 9:00")


async def test_a_broadcast_that_its_owner_may_not_ask_for_any_more_stops(make_core: MakeCore) -> None:
    series = Series(make_core())
    schedule = await series.add(Kind.BROADCAST, "every day 9:00")
    settings = series.core.settings.audiences["clients"].model_copy(update={"requesters": ("U0SOMEBODY",)})
    series.core.settings.audiences["clients"] = settings
    await series.until("2026-12-01T10:00")
    assert (await series.now(schedule)).ended is Ended.NOT_ALLOWED
    assert await series.broadcasts() == []


# --- answers ---------------------------------------------------------------------------------------------------------


async def test_one_that_asks_is_not_posted_again_while_it_is_unanswered(series: Series) -> None:
    schedule = await series.add(Kind.REMINDER, "every day 9:00", options={"answer": True}, closed=Closed.KEEP)
    await series.until("2026-12-03T10:00")
    occurrences = await series.occurrences(schedule)
    assert [occurrence.state for occurrence in occurrences] == [
        OccurrenceState.OPEN,
        OccurrenceState.LEFT_OUT,
        OccurrenceState.LEFT_OUT,
    ]
    assert occurrences[0].left_out == 2
    done = await series.reminders.answer(occurrences[0], approver(3), snooze=False)
    assert (done.state, done.by) == (OccurrenceState.DONE, APPROVERS[3])
    await series.until("2026-12-04T10:00")
    assert (await series.occurrences(schedule))[-1].state is OccurrenceState.OPEN


async def test_one_that_asks_comes_as_often_as_it_was_to_however_often_it_was_left_out(series: Series) -> None:
    options = {"answer": True}
    schedule = await series.add(Kind.REMINDER, "every day 9:00", options=options, count=2, closed=Closed.KEEP)
    await series.until("2026-12-03T10:00")
    assert (await series.now(schedule)).remaining == 1
    assert await series.told() == []
    await series.reminders.answer((await series.occurrences(schedule))[0], CLEO, snooze=False)
    await series.until("2026-12-06T10:00")
    assert len(series.channel.posts) == 2
    assert (await series.now(schedule)).ended is Ended.FINISHED


async def test_one_that_asks_nothing_comes_every_time(series: Series) -> None:
    schedule = await series.add(Kind.REMINDER, "every day 9:00", closed=Closed.KEEP)
    await series.until("2026-12-03T10:00")
    assert [occurrence.state for occurrence in await series.occurrences(schedule)] == [OccurrenceState.OPEN] * 3


async def snoozed(series: Series, typed: str = "every day 9:00") -> Schedule:
    """A reminder that was posted at nine and snoozed for an hour."""
    schedule = await series.add(Kind.REMINDER, typed, "Payroll", closed=Closed.KEEP)
    await series.until("2026-12-01T09:00")
    await series.reminders.answer((await series.occurrences(schedule))[0], CLEO, snooze=True)
    await series.post()
    assert "posted once more" in series.channel.shown[0]
    return schedule


async def test_it_is_snoozed_once(series: Series) -> None:
    schedule = await snoozed(series, "tomorrow 9:00")
    series.core.now += HOUR - SECOND
    await series.until("2026-12-01T09:59")
    assert (await series.occurrences(schedule))[0].state is OccurrenceState.SNOOZED
    await series.until("2026-12-01T10:00")
    (again,) = await series.occurrences(schedule)
    assert again.state is OccurrenceState.OPEN
    assert len(series.channel.posts) == 2
    with pytest.raises(Moved):
        await series.reminders.answer(again, CLEO, snooze=True)
    assert (await series.reminders.answer(again, CLEO, snooze=False)).state is OccurrenceState.DONE


async def test_what_is_snoozed_is_posted_once_more_by_one_process_alone(series: Series, second: Database) -> None:
    schedule = await snoozed(series)
    series.core.now += HOUR
    processes = [series.reminders, series.process(second), series.process(), series.process(second)]
    await asyncio.gather(*(one.tick() for one in processes))
    (occurrence,) = await series.occurrences(schedule)
    assert (occurrence.state, occurrence.version) == (OccurrenceState.MADE, 3)
    await asyncio.gather(series.post(), series.post())
    assert len(series.channel.posts) == 2


@pytest.mark.parametrize("typed", ["every day 9:00", "tomorrow 9:00"])
async def test_what_is_snoozed_and_comes_too_late_is_missed_and_told(series: Series, typed: str) -> None:
    schedule = await snoozed(series, typed)
    series.core.now += HOUR + 11 * 60 * SECOND
    await series.until("2026-12-01T11:00")
    (occurrence,) = await series.occurrences(schedule)
    assert occurrence.state is OccurrenceState.MISSED
    assert len(series.channel.posts) == 1
    assert "posted once more" not in series.channel.shown[0]
    assert "actions" not in series.channel.shown[0]
    (told,) = await series.told()
    assert "I was away" in told
    assert "Payroll" in told


@pytest.mark.parametrize("decision", [Schedules.stop, partial(Schedules.pause, until=None)], ids=["stop", "pause"])
@pytest.mark.parametrize("woken", [False, True])
async def test_what_is_snoozed_does_not_come_once_more_when_it_was_stopped_or_paused(
    series: Series, decision: Callable[..., Awaitable[Schedule]], woken: bool
) -> None:
    schedule = await snoozed(series)
    if woken:  # and not posted yet
        series.core.now += HOUR
        await series.reminders.tick()
    await decision(series.reminders.schedules, await series.now(schedule), CLEO)
    await series.post()
    assert "posted once more" not in series.channel.shown[0]
    assert "reminder.done" in series.channel.shown[0]
    await series.until("2026-12-01T12:00")
    (occurrence,) = await series.occurrences(schedule)
    assert occurrence.state is OccurrenceState.OPEN
    assert len(series.channel.posts) == 1
    with pytest.raises(Moved):
        await series.reminders.answer(occurrence, CLEO, snooze=True)


@pytest.mark.parametrize("typed", ["every day 9:00", "tomorrow 9:00"])
async def test_what_is_snoozed_does_not_come_once_more_when_its_owner_has_left(series: Series, typed: str) -> None:
    schedule = await snoozed(series, typed)
    series.office.left = {CLEO.id}
    await series.until("2026-12-01T12:00")
    (occurrence,) = await series.occurrences(schedule)
    assert occurrence.state is OccurrenceState.OPEN
    assert len(series.channel.posts) == 1
    assert "posted once more" not in series.channel.shown[0]
    (told,) = await series.told()
    assert "no longer a full member" in told
    assert "Payroll" in told


@pytest.mark.parametrize("decision", [Schedules.stop, partial(Schedules.pause, until=None)], ids=["stop", "pause"])
async def test_what_was_snoozed_while_it_was_stopped_or_paused_does_not_come_once_more(
    series: Series, decision: Callable[..., Awaitable[Schedule]]
) -> None:
    schedule = await series.add(Kind.REMINDER, "every day 9:00", closed=Closed.KEEP)
    await series.until("2026-12-01T09:00")
    await decision(series.reminders.schedules, await series.now(schedule), CLEO)
    await series.reminders.answer((await series.occurrences(schedule))[0], approver(0), snooze=True)
    await series.until("2026-12-01T12:00")
    assert [occurrence.state for occurrence in await series.occurrences(schedule)] == [OccurrenceState.OPEN]
    assert len(series.channel.posts) == 1


async def test_what_is_snoozed_sleeps_on_while_slack_is_silent(series: Series) -> None:
    schedule = await snoozed(series)
    series.office.silent = True
    series.core.now += HOUR
    await series.reminders.tick()
    assert [occurrence.state for occurrence in await series.occurrences(schedule)] == [OccurrenceState.SNOOZED]
    series.office.silent = False
    await series.until("2026-12-01T10:05")
    assert len(series.channel.posts) == 2


async def test_what_is_snoozed_comes_once_more_though_its_post_cannot_be_redrawn(series: Series) -> None:
    schedule = await series.add(Kind.REMINDER, "every day 9:00", closed=Closed.KEEP)
    await series.until("2026-12-01T09:00")
    await series.reminders.answer((await series.occurrences(schedule))[0], CLEO, snooze=True)
    series.channel.refuses = "cant_update_message"
    await series.core.database.write(lambda c: c.execute(tables.occurrences.update().values(tries=MAX_TRIES)))
    await series.post()
    series.channel.refuses = None
    await series.until("2026-12-01T10:00")
    assert len(series.channel.posts) == 2


@pytest.mark.parametrize("decision", [Schedules.stop, partial(Schedules.pause, until=None)], ids=["stop", "pause"])
async def test_what_was_made_is_not_posted_once_it_was_stopped_or_paused(
    series: Series, decision: Callable[..., Awaitable[Schedule]]
) -> None:
    schedule = await series.add(Kind.REMINDER, "every day 9:00", "Payroll", closed=Closed.KEEP)
    series.core.now = at("2026-12-01T09:00")
    await series.reminders.tick()
    await decision(series.reminders.schedules, await series.now(schedule), CLEO)
    await series.post()
    assert series.channel.tried == 0
    (occurrence,) = await series.occurrences(schedule)
    assert occurrence.state is OccurrenceState.MISSED
    with pytest.raises(Moved):
        await series.reminders.answer(occurrence, CLEO, snooze=False)


async def test_what_is_being_posted_while_it_is_stopped_stands_without_its_buttons(series: Series) -> None:
    schedule = await series.add(Kind.REMINDER, "every day 9:00", "Payroll", closed=Closed.KEEP)
    series.core.now = at("2026-12-01T09:00")
    await series.reminders.tick()
    say = series.channel.post

    async def meanwhile(channel: str, post: Post, metadata: Mapping[str, Any]) -> dict[str, str]:
        said = await say(channel, post, metadata)
        await series.reminders.stop(await series.now(schedule), CLEO)
        return said

    series.channel.post = meanwhile  # type: ignore[method-assign]
    await series.post()
    assert "Payroll" in series.channel.shown[0]
    assert "reminder.done" not in series.channel.shown[0]


async def test_what_an_older_version_made_and_stopped_before_it_was_posted_is_not_posted(series: Series) -> None:
    schedule = await series.add(Kind.REMINDER, "every day 9:00", "Payroll", closed=Closed.KEEP)
    series.core.now = at("2026-12-01T09:00")
    await series.reminders.tick()
    stopped: dict[str, Any] = {"state": ScheduleState.ENDED, "ended": Ended.STOPPED, "next_at": None}
    await series.core.database.write(lambda c: c.execute(tables.schedules.update().values(**stopped)))
    await series.post()
    assert series.channel.tried == 0
    assert [occurrence.state for occurrence in await series.occurrences(schedule)] == [OccurrenceState.MISSED]


async def test_a_button_of_an_older_post_answers_no_occurrence_that_is_about_to_be_posted(series: Series) -> None:
    schedule = await series.add(Kind.REMINDER, "every day 9:00", closed=Closed.KEEP)
    await series.until("2026-12-01T09:00")
    (first,) = await series.occurrences(schedule)
    await series.reminders.answer(first, CLEO, snooze=True)
    await series.core.database.write(lambda c: c.execute(tables.occurrences.update().values(tries=MAX_TRIES)))
    series.channel.refuses = "cant_update_message"  # its buttons stay, with the version of every new occurrence
    await series.post()
    series.channel.refuses = None
    await series.until("2026-12-01T10:00")  # posted again, as another message
    series.core.now = at("2026-12-02T09:00")
    await series.reminders.tick()
    assert await series.reminders.occurrence_at(TEAM, "C1", first.ts or "", schedule.id, 1) is None


async def test_a_button_of_a_post_that_is_known_no_more_answers_no_other_occurrence(series: Series) -> None:
    schedule = await snoozed(series)
    first = (await series.occurrences(schedule))[0].ts or ""
    await series.until("2026-12-01T10:00")
    assert (await series.occurrences(schedule))[0].ts != first
    series.core.now = at("2026-12-02T09:00")
    await series.reminders.tick()  # the next one is made but not posted yet
    assert await series.reminders.occurrence_at(TEAM, "C1", first, schedule.id, 3) is None
    await series.post()
    assert await series.reminders.occurrence_at(TEAM, "C1", first, schedule.id, 1) is None


async def test_a_button_is_known_before_slack_has_answered_where_its_post_stands(series: Series) -> None:
    schedule = await series.add(Kind.REMINDER, "every day 9:00", closed=Closed.KEEP)
    series.core.now = at("2026-12-01T09:00")
    await series.reminders.tick()
    (made,) = await series.occurrences(schedule)
    ts = f"{series.core.now // SECOND - 1}.000100"  # by Slack's clock, which is not ours
    assert await series.reminders.occurrence_at(TEAM, "C1", ts, schedule.id, made.version) == made
    await series.reminders.answer(made, CLEO, snooze=False)
    assert await series.reminders.occurrence_at(TEAM, "C1", ts, schedule.id, made.version) is None


async def test_of_two_who_answer_at_once_one_did(series: Series) -> None:
    schedule = await series.add(Kind.REMINDER, "tomorrow 9:00")
    await series.until("2026-12-01T09:00")
    (occurrence,) = await series.occurrences(schedule)
    decisions = [series.reminders.answer(occurrence, approver(number), snooze=number % 2 == 0) for number in range(8)]
    outcomes = await asyncio.gather(*decisions, return_exceptions=True)
    assert sum(isinstance(outcome, Occurrence) for outcome in outcomes) == 1
    assert {type(outcome) for outcome in outcomes} == {Occurrence, Moved}


async def test_every_step_of_a_schedule_is_audited(series: Series) -> None:
    schedule = await series.add(Kind.REMINDER, "every day 9:00", closed=Closed.KEEP)
    await series.until("2026-12-01T10:00")
    await series.reminders.answer((await series.occurrences(schedule))[0], approver(0), snooze=False)
    paused = await series.reminders.pause(await series.now(schedule), CLEO, None)
    resumed = await series.reminders.resume(paused, CLEO)
    await series.reminders.stop(resumed, CLEO)
    steps = await series.core.database.read(lambda c: [step["action"] for step in audit.history(c, TEAM, schedule.id)])
    assert steps == ["schedule_reminder", "done_reminder", "pause_reminder", "resume_reminder", "stop_reminder"]


async def test_after_a_restore_nothing_comes_again_on_an_old_approval(series: Series) -> None:
    weekly = await series.add(Kind.BROADCAST, "every day 9:00", options={"covers": 5}, closed=Closed.KEEP)
    reminder = await series.add(Kind.REMINDER, "every day 9:00", closed=Closed.KEEP)
    await series.until("2026-11-30T11:00")
    (first,) = await series.broadcasts()
    await series.core.workflow.act(TEAM, first.id, Approve(), person=approver(0), version=1)
    await series.core.database.write(lambda c: hold_all(c, series.core.now, series.core.now))
    await series.until("2026-12-03T10:00")
    paused = await series.now(weekly)
    assert (paused.state, paused.cover) == (ScheduleState.PAUSED, None)
    assert any("is paused" in told for told in await series.told())
    assert series.core.sandbox.vendors.ledger == []
    assert len(await series.occurrences(reminder)) == 3  # reminders are not paused: they reach no phone
    await series.reminders.resume(paused, CLEO)
    await series.until("2026-12-04T10:00")
    assert (await series.broadcasts())[-1].state is State.PENDING


@pytest.mark.parametrize("until", ["2026-12-03T00:00", None])
async def test_after_a_restore_a_pause_does_not_end_by_itself_nor_on_an_old_approval(
    series: Series, until: str | None
) -> None:
    daily = await series.add(Kind.BROADCAST, "every day 9:00", options={"covers": 5}, closed=Closed.KEEP)
    await series.until("2026-11-30T11:00")
    (first,) = await series.broadcasts()
    await series.core.workflow.act(TEAM, first.id, Approve(), person=approver(0), version=1)
    await series.reminders.pause(await series.now(daily), CLEO, at(until) if until else None)
    await series.core.database.write(lambda c: hold_all(c, series.core.now, series.core.now))
    paused = await series.now(daily)
    assert (paused.state, paused.paused_until, paused.cover) == (ScheduleState.PAUSED, None, None)
    assert len(await series.told()) == (1 if until else 0)  # a pause without an end needs no message
    await series.until("2026-12-06T10:00")
    assert series.core.sandbox.vendors.ledger == []
    await series.reminders.resume(await series.now(daily), CLEO)
    await series.until("2026-12-07T10:00")
    assert (await series.broadcasts())[-1].state is State.PENDING
    assert series.core.sandbox.vendors.ledger == []


# --- what Slack refuses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "tries"), [("restricted_action", 1), ("some_new_error", 7)])
async def test_a_reminder_that_slack_refuses_is_told_to_its_owner_once(series: Series, error: str, tries: int) -> None:
    schedule = await series.add(Kind.REMINDER, "tomorrow 9:00", "Payroll")
    series.channel.refuses = error
    series.core.now = at("2026-12-01T09:00")
    await series.reminders.tick()
    for _ in range(150):
        await series.post()
        series.core.now += 60 * SECOND
    assert series.channel.tried == tries
    (occurrence,) = await series.occurrences(schedule)
    assert (occurrence.state, occurrence.draw_at) == (OccurrenceState.MISSED, None)
    rows = await series.core.database.read(lambda c: c.execute(in_order(tables.posts)).mappings().all())
    (told,) = [row for row in rows if row["place"] == CLEO.id]
    said = thread_message(Translatable.of(told["sentence"]), told["mention"], translator_for("en")).text
    assert f"*{schedule.id}* in <#C1>" in said
    assert "2026-12-01 08:00 UTC" in said
    assert "Payroll" in said


async def test_one_that_asks_and_was_refused_does_not_silence_the_next_one(series: Series) -> None:
    schedule = await series.add(Kind.REMINDER, "every day 9:00", options={"answer": True}, closed=Closed.KEEP)
    series.channel.refuses = "restricted_action"
    await series.until("2026-12-01T10:00")
    series.channel.refuses = None
    await series.until("2026-12-02T10:00")
    assert [occurrence.state for occurrence in await series.occurrences(schedule)] == [
        OccurrenceState.MISSED,
        OccurrenceState.OPEN,
    ]


async def test_a_post_that_cannot_be_redrawn_is_left_as_it_is(series: Series) -> None:
    schedule = await series.add(Kind.REMINDER, "every day 9:00", closed=Closed.KEEP)
    await series.until("2026-12-01T09:00")
    await series.reminders.answer((await series.occurrences(schedule))[0], CLEO, snooze=False)
    series.channel.refuses = "cant_update_message"
    await series.post()
    (occurrence,) = await series.occurrences(schedule)
    assert (occurrence.state, occurrence.draw_at) == (OccurrenceState.DONE, None)
    assert await series.told() == []


# --- possible slips --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        (Kind.BROADCAST, 'Soldes at="demain 9h"', "looks like the option `at=`"),
        (Kind.BROADCAST, "covers=3 Soldes", "looks like the option `covers=`"),
        (Kind.BROADCAST, "Bonjour {ville}", "looks like a placeholder"),
        (Kind.BROADCAST, "Bonjour {first_name}", "Encom does not fill in “{first_name}”"),
        (Kind.REMINDER, "Stand-up answer=yes", "looks like the option `answer=`"),
        (Kind.REMINDER, "until=2027-01-31 Stand-up", "looks like the option `until=`"),
    ],
)
async def test_what_comes_again_is_not_asked_for_with_a_slip_in_it(
    series: Series, kind: Kind, text: str, told: str
) -> None:
    """C5, C14: the refusal names the fix, since a schedule has no draft."""
    with pytest.raises(InvalidRequest) as refused:
        await series.add(kind, "every day 9:00", text)
    assert told in str(refused.value.complaints[0].sentence)
    assert await series.reminders.listed(TEAM, kind) == []
    assert await series.core.database.read(lambda c: latest(c, TEAM, 10)) == []


async def test_a_reminder_may_hold_a_placeholder_since_nobody_fills_it_in(series: Series) -> None:
    schedule = await series.add(Kind.REMINDER, "every day 9:00", "Remplir {ville} à 9h")
    assert schedule.text == "Remplir {ville} à 9h"


async def test_an_occurrence_of_what_was_accepted_before_is_not_asked_about_again(series: Series) -> None:
    """C5: the requester was not asked at the time, and is not present now."""
    schedule = await series.add(Kind.BROADCAST, "every day 9:00", "Soldes")
    slip: dict[str, Any] = {"text": "Soldes at=9h"}
    await series.core.database.write(lambda c: c.execute(tables.schedules.update().values(**slip)))
    await series.until("2026-11-30T12:00")
    (row,) = await series.broadcasts()
    assert (row.state, row.typed, row.schedule) == (State.PENDING, "Soldes at=9h", schedule.id)
