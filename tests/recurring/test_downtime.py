"""What was missed while the bot was away is skipped, sent or said."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bot.domain.clock import SECOND
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import OccurrenceState, ScheduleState, State
from bot.domain.people import DirectoryUnavailable
from bot.domain.schedule import Kind
from bot.storage import audit, tables
from bot.storage.database import Database
from bot.when.recurrence import Closed
from bot.workflow.decision_types import Approve
from tests.support.core import CLEO, TEAM, approver, later
from tests.support.schedules import DAY, HOUR, Series, at, snoozed


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


@pytest.mark.long
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
