"""What Slack refuses, and slips in what recurs."""

from __future__ import annotations

from typing import Any

import pytest

from bot.domain.clock import HOUR, SECOND
from bot.domain.errors import InvalidRequest
from bot.domain.i18n import Translatable, translator_for
from bot.domain.lifecycle import OccurrenceState, State
from bot.domain.schedule import Kind
from bot.slack.blocks.thread import thread_message
from bot.storage import tables
from bot.storage.broadcasts import latest
from bot.when.recurrence import Closed
from tests.support.core import CLEO, TEAM, MakeCore
from tests.support.ground import in_order
from tests.support.schedules import Series, at


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


async def test_one_person_cannot_make_more_reminders_than_the_cap_within_an_hour(make_core: MakeCore) -> None:
    series = Series(make_core(asks_per_hour=2))
    for text in ("One", "Two"):
        await series.add(Kind.REMINDER, "tomorrow 9:00", text)
    with pytest.raises(InvalidRequest) as refused:
        await series.add(Kind.REMINDER, "tomorrow 9:00", "Three")
    assert "asked for 2 within the last hour" in str(refused.value.complaints[0].sentence)
    series.core.now += HOUR + 1
    assert (await series.add(Kind.REMINDER, "tomorrow 9:00", "Three")).text == "Three"
