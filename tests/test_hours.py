"""When marketing may go: the shipped policies against a slow calculation of its own, and the edges by hand."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import holidays
import pytest

from bot.hours import SHIPPED, Allow, HoldUntil, Refuse, decide, resolve_policies
from providers.base import Purpose

POLICIES = resolve_policies({"always": {"marketing": {"windows": "always"}}})
PARIS = ZoneInfo("Europe/Paris")
#: zone, weekdays that are closed, opening and closing time, calendar and its region: written down apart from the code
RULES: dict[str, tuple[str, set[int], int, int, str | None, str | None]] = {
    "fr": ("Europe/Paris", {6}, 8, 20, "FR", None),
    "fr-moselle": ("Europe/Paris", {6}, 8, 20, "FR", "57"),
    "fr-alsace": ("Europe/Paris", {6}, 8, 20, "FR", "6AE"),
    "fr-guadeloupe": ("America/Guadeloupe", {6}, 8, 20, "FR", "971"),
    "fr-martinique": ("America/Martinique", {6}, 8, 20, "FR", "972"),
    "fr-guyane": ("America/Cayenne", {6}, 8, 20, "FR", "973"),
    "fr-reunion": ("Indian/Reunion", {6}, 8, 20, "FR", "974"),
    "fr-mayotte": ("Indian/Mayotte", {6}, 8, 20, "FR", "976"),
    "es": ("Europe/Madrid", {5, 6}, 9, 21, "ES", None),
    "es-canarias": ("Atlantic/Canary", {5, 6}, 9, 21, "ES", None),
    "uk": ("Europe/London", {6}, 8, 20, None, None),
    "us": ("America/New_York", set(), 8, 21, None, None),
    "in": ("Asia/Kolkata", set(), 10, 21, None, None),
}


def open_at(name: str, instant: datetime) -> bool:
    zone, closed_weekdays, opens, closes, calendar, region = RULES[name]
    local = instant.astimezone(ZoneInfo(zone))
    if local.weekday() in closed_weekdays:
        return False
    if calendar and local.date() in holidays.country_holidays(calendar, subdiv=region, years=local.year):
        return False
    return opens * 60 <= local.hour * 60 + local.minute < closes * 60 - 15


def test_every_shipped_policy_has_its_rule_here() -> None:
    assert RULES.keys() == SHIPPED.keys()


@pytest.mark.parametrize("name", RULES)
def test_every_quarter_of_an_hour_of_a_year_is_as_calculated_by_hand(name: str) -> None:
    instant = datetime(2026, 12, 31, 12, tzinfo=UTC)
    for _ in range(366 * 96):
        assert isinstance(decide(POLICIES[name], Purpose.MARKETING, instant), Allow) == open_at(name, instant), instant
        instant += timedelta(minutes=15)


def test_what_is_held_may_go_at_the_instant_it_is_told_and_not_a_second_before(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(2000):
        name = chance.choice(sorted(RULES))
        instant = datetime(2027, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(365 * 86400))
        verdict = decide(POLICIES[name], Purpose.MARKETING, instant)
        if isinstance(verdict, HoldUntil):
            assert decide(POLICIES[name], Purpose.MARKETING, verdict.instant) == Allow()
            before = verdict.instant - timedelta(seconds=1)
            assert before < instant or decide(POLICIES[name], Purpose.MARKETING, before) == verdict


def paris(day: date, clock: str) -> datetime:
    return datetime.combine(day, time.fromisoformat(clock), PARIS)


EDGES = [
    ("2026-11-24", "07:59:59", HoldUntil(datetime(2026, 11, 24, 7, 0, tzinfo=UTC))),
    ("2026-11-24", "08:00:00", Allow()),
    ("2026-11-24", "19:44:59", Allow()),
    ("2026-11-24", "19:45:00", HoldUntil(datetime(2026, 11, 25, 7, 0, tzinfo=UTC))),
    ("2026-11-28", "20:00:00", HoldUntil(datetime(2026, 11, 30, 7, 0, tzinfo=UTC))),  # over the Sunday
    ("2026-12-24", "21:00:00", HoldUntil(datetime(2026, 12, 26, 7, 0, tzinfo=UTC))),  # over Christmas
    ("2027-03-27", "20:00:00", HoldUntil(datetime(2027, 3, 30, 6, 0, tzinfo=UTC))),  # Easter, and summer time by then
]


@pytest.mark.parametrize(("day", "clock", "verdict"), EDGES)
def test_the_edges_of_the_french_window(day: str, clock: str, verdict: Allow | HoldUntil) -> None:
    assert decide(POLICIES["fr"], Purpose.MARKETING, paris(date.fromisoformat(day), clock)) == verdict


def test_transactional_texts_go_at_any_hour() -> None:
    assert decide(POLICIES["fr"], Purpose.TRANSACTIONAL, paris(date(2026, 12, 25), "03:00")) == Allow()


def test_a_regions_own_holidays_hold_there_alone() -> None:
    boxing_day = datetime(2026, 12, 26, 10, tzinfo=UTC)
    assert decide(POLICIES["fr"], Purpose.MARKETING, boxing_day) == Allow()
    assert isinstance(decide(POLICIES["fr-alsace"], Purpose.MARKETING, boxing_day), HoldUntil)


def test_a_wait_longer_than_the_policy_holds_is_refused() -> None:
    short = resolve_policies({"fr": {"marketing": {"max_hold": "12h"}}})["fr"]
    assert decide(short, Purpose.MARKETING, paris(date(2026, 11, 28), "20:00")) == Refuse()


WRONG: dict[str, tuple[dict[str, dict[str, Any]], str]] = {
    "wider than the bound": ({"fr": {"marketing": {"windows": [{"start": "07:00", "end": "20:00"}]}}}, "outer bound"),
    "a country at any hour": ({"x": {"country": "FR", "marketing": {"windows": "always"}}}, "outer bound"),
    "no such policy": ({"x": {"extends": "nope"}}, "there is no policy nope"),
    "in a circle": ({"x": {"extends": "y"}, "y": {"extends": "x"}}, "circle"),
    "no such zone": ({"x": {"timezone": "Mars/Base"}}, "no time zone"),
    "backwards": ({"x": {"marketing": {"windows": [{"start": "20:00", "end": "08:00"}]}}}, "before its end"),
    "no such calendar": ({"x": {"marketing": {"holidays": {"calendar": "ZZ"}}}}, "no holiday calendar"),
    "a slip": ({"x": {"marketing": {"window": []}}}, "policies.x.marketing.window"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_policy_that_cannot_be_is_named(case: str) -> None:
    raw, told = WRONG[case]
    with pytest.raises(ValueError, match=r"^policies\.") as refused:
        resolve_policies(raw)
    assert told in str(refused.value)


def test_a_policy_of_a_country_starts_from_the_shipped_one() -> None:
    own = resolve_policies({"shop": {"country": "FR", "marketing": {"holidays": {"extra": ["2026-11-24"]}}}})["shop"]
    assert isinstance(decide(own, Purpose.MARKETING, paris(date(2026, 11, 24), "10:00")), HoldUntil)
    assert decide(own, Purpose.MARKETING, paris(date(2026, 11, 25), "10:00")) == Allow()
