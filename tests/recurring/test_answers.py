"""A reminder is done or snoozed once, whoever presses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import pytest

from bot.domain.clock import SECOND
from bot.domain.lifecycle import Ended, OccurrenceState, ScheduleState, State
from bot.domain.schedule import Kind, Occurrence, Schedule
from bot.recurring.schedules import Moved, Schedules
from bot.slack.blocks.mrkdwn import Post
from bot.slack.publish.cards import MAX_TRIES
from bot.storage import audit, tables
from bot.storage.database import Database
from bot.when.recurrence import Closed
from bot.workflow.decision_types import Approve
from bot.workflow.restored import hold_all
from tests.support.core import APPROVERS, CLEO, TEAM, approver
from tests.support.schedules import HOUR, Series, at, snoozed


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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
