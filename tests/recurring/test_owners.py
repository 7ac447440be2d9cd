"""Owners who leave, and channels that go away."""

from __future__ import annotations

import pytest

from bot.domain.errors import NotAllowed
from bot.domain.lifecycle import Ended
from bot.domain.schedule import Kind
from tests.support.core import CLEO, MakeCore
from tests.support.schedules import Series


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
