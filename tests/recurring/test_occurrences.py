"""Occurrences are made once, in time, by however many processes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bot.domain.clock import SECOND
from bot.domain.errors import InvalidRequest
from bot.domain.lifecycle import Ended, OccurrenceState, ScheduleState
from bot.domain.schedule import Kind
from bot.when.recurrence import Closed
from tests.support.core import CLEO, MakeCore
from tests.support.schedules import Series, at


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
