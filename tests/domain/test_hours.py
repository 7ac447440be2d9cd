"""When marketing may go: the shipped policies against a slow, separate calculation, and the edges by hand."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import reduce
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bot.domain.hours import Allow, HoldUntil, Hours, Refuse, decide, next_open
from bot.domain.hours_defaults import SHIPPED, resolve_policies
from providers.base import Purpose

POLICIES = resolve_policies({"always": {"marketing": {"windows": "always"}}})
PARIS = ZoneInfo("Europe/Paris")
SUNDAY, WEEKEND = {6}, {5, 6}
FRENCH = "01-01 03-29 05-01 05-06 05-08 05-17 07-14 08-15 11-01 11-11 12-25"
SPANISH = "01-01 01-06 03-26 05-01 10-12 11-01 12-06 12-08 12-25"


@dataclass(frozen=True)
class Rule:
    """A shipped policy, written down apart from the code. Its holidays are those of 2027 and the next New Year."""

    zones: tuple[str, ...]
    opens: int
    closes: int
    shut_weekdays: set[int] = field(default_factory=set)
    holidays: str = ""

    def shut(self, day: date) -> bool:
        return day.weekday() in self.shut_weekdays or f"{day:%m-%d}" in self.holidays.split()


RULES = {
    "fr": Rule(("Europe/Paris",), 8, 20, SUNDAY, FRENCH),
    "fr-moselle": Rule(("Europe/Paris",), 8, 20, SUNDAY, f"{FRENCH} 03-26 12-26"),
    "fr-alsace": Rule(("Europe/Paris",), 8, 20, SUNDAY, f"{FRENCH} 03-26 12-26"),
    "fr-guadeloupe": Rule(("America/Guadeloupe",), 8, 20, SUNDAY, f"{FRENCH} 03-04 03-26 05-27 07-21"),
    "fr-martinique": Rule(("America/Martinique",), 8, 20, SUNDAY, f"{FRENCH} 05-22 07-21"),
    "fr-guyane": Rule(("America/Cayenne",), 8, 20, SUNDAY, f"{FRENCH} 06-10"),
    "fr-reunion": Rule(("Indian/Reunion",), 8, 20, SUNDAY, f"{FRENCH} 12-20"),
    "fr-mayotte": Rule(("Indian/Mayotte",), 8, 20, SUNDAY, f"{FRENCH} 04-27"),
    "es": Rule(("Europe/Madrid",), 9, 21, WEEKEND, SPANISH),
    "es-canarias": Rule(("Atlantic/Canary",), 9, 21, WEEKEND, f"{SPANISH} 03-25 05-31 08-16"),
    "uk": Rule(("Europe/London",), 8, 20, SUNDAY),
    "us": Rule(("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"), 8, 21),
    "in": Rule(("Asia/Kolkata",), 10, 21),
}
START, MINUTES = datetime(2026, 12, 31, 12, tzinfo=UTC), 366 * 24 * 60


def open_minutes(rule: Rule, zone: str) -> bytearray:
    """Return one byte per minute of the year, 1 where the rule is open in the zone, filled one local day at a time."""
    minutes = bytearray(MINUTES)
    for day in (date(2026, 12, 30) + timedelta(days=number) for number in range(370)):
        if not rule.shut(day):
            noon = datetime.combine(day, time(12), ZoneInfo(zone))  # the clocks never change by day
            first = (noon - START) // timedelta(minutes=1) - (12 - rule.opens) * 60
            for minute in range(max(first, 0), min(first + (rule.closes - rule.opens) * 60 - 15, MINUTES)):
                minutes[minute] = 1
    return minutes


def both(one: bytearray, other: bytearray) -> bytearray:
    return bytearray(a & b for a, b in zip(one, other, strict=True))


def test_every_shipped_policy_has_its_rule_here() -> None:
    assert RULES.keys() == SHIPPED.keys()


@pytest.mark.long
@pytest.mark.parametrize("name", RULES)
def test_every_minute_of_a_year_is_as_calculated_by_hand(name: str) -> None:
    policy, rule, minute = POLICIES[name], RULES[name], timedelta(minutes=1)
    expected = reduce(both, (open_minutes(rule, zone) for zone in rule.zones))
    instant = START
    for open_then in expected:
        assert isinstance(decide(policy, Purpose.MARKETING, instant), Allow) == open_then, instant
        instant += minute
    assert 150_000 < sum(expected) < 300_000


def night(windows: list[dict[str, str]], zone: str, noon: datetime) -> Iterator[str]:
    """Yield when it may go in the 24 hours from noon (UTC), checked minute by minute: `23:00-00:30`."""
    closed = {"windows": windows, "end_margin": "0s", "max_hold": "7d"}
    policy = resolve_policies({"night": {"timezone": zone, "marketing": closed}})["night"]
    begun: datetime | None = None
    for instant in (noon + timedelta(minutes=minute) for minute in range(24 * 60)):
        may_go = decide(policy, Purpose.MARKETING, instant) == Allow()
        if may_go and begun is None:
            begun = instant
        elif begun is not None and not may_go:
            yield f"{begun:%H:%M}-{instant:%H:%M}"
            begun = None
    assert begun is None


#: Zone, the day before, the window there, and when it may go, in UTC. The clocks change at 01:00 UTC in Europe.
NIGHTS = [
    ("Europe/Paris", "2027-03-27", "01:00-05:00", ["00:00-03:00"]),  # three hours long
    ("Europe/Paris", "2027-03-27", "02:15-04:00", ["01:00-02:00"]),  # from the gap on
    ("Europe/Paris", "2027-03-27", "01:00-02:30", ["00:00-01:00"]),  # up to the gap
    ("Europe/Paris", "2027-03-27", "02:10-02:50", []),  # within it
    ("Europe/Paris", "2027-10-30", "01:00-05:00", ["23:00-04:00"]),  # five hours long
    ("Europe/Paris", "2027-10-30", "02:15-04:00", ["01:15-03:00"]),  # from the second 02:15 on
    ("Europe/Paris", "2027-10-30", "01:00-02:30", ["23:00-00:30"]),  # up to the first 02:30
    ("Europe/Paris", "2027-10-30", "02:10-02:50", []),  # from the second 02:10 up to the first 02:50: never
    ("Atlantic/Canary", "2027-03-27", "00:00-04:00", ["00:00-03:00"]),
    ("Atlantic/Canary", "2027-03-27", "01:15-03:00", ["01:00-02:00"]),
    ("Atlantic/Canary", "2027-03-27", "00:00-01:30", ["00:00-01:00"]),
    ("Atlantic/Canary", "2027-10-30", "00:00-04:00", ["23:00-04:00"]),
    ("Atlantic/Canary", "2027-10-30", "01:15-03:00", ["01:15-03:00"]),
    ("Atlantic/Canary", "2027-10-30", "00:00-01:30", ["23:00-00:30"]),
    ("America/New_York", "2027-03-13", "01:00-05:00", ["06:00-09:00"]),
    ("America/New_York", "2027-03-13", "02:15-04:00", ["07:00-08:00"]),
    ("America/New_York", "2027-03-13", "01:00-02:30", ["06:00-07:00"]),
    ("America/New_York", "2027-11-06", "00:00-04:00", ["04:00-09:00"]),
    ("America/New_York", "2027-11-06", "01:15-03:00", ["06:15-08:00"]),
    ("America/New_York", "2027-11-06", "00:00-01:30", ["04:00-05:30"]),
]


@pytest.mark.parametrize(("zone", "noon", "window", "expected"), NIGHTS)
def test_on_the_nights_when_the_clocks_change(zone: str, noon: str, window: str, expected: list[str]) -> None:
    start, end = window.split("-")
    found = night([{"start": start, "end": end}], zone, datetime.fromisoformat(f"{noon}T12:00+00:00"))
    assert list(found) == expected


@pytest.mark.parametrize(
    ("zone", "noon", "opens", "closes"),
    [
        ("Europe/Paris", "2027-03-27", "23:00", "22:00"),  # 23 hours
        ("Atlantic/Canary", "2027-10-30", "23:00", "00:00"),  # 25
        ("America/New_York", "2027-11-06", "04:00", "05:00"),
    ],
)
def test_a_window_may_be_a_whole_day_however_long(zone: str, noon: str, opens: str, closes: str) -> None:
    start = datetime.fromisoformat(f"{noon}T12:00+00:00")
    whole = {"days": ["sun"], "start": "00:00", "end": "24:00"}
    raw = {"timezone": zone, "marketing": {"windows": [whole], "end_margin": "0s", "max_hold": "7d"}}
    policy = resolve_policies({"sundays": raw})["sundays"]
    minutes = [start + timedelta(minutes=minute) for minute in range(48 * 60)]
    found = [instant for instant in minutes if decide(policy, Purpose.MARKETING, instant) == Allow()]
    assert (f"{found[0]:%H:%M}", f"{found[-1] + timedelta(minutes=1):%H:%M}") == (opens, closes)
    assert found[-1] - found[0] == timedelta(minutes=len(found) - 1)


def test_an_hour_that_comes_twice_is_judged_by_its_instant() -> None:
    for fold in (0, 1):
        twice = datetime(2027, 10, 31, 2, 30, tzinfo=PARIS, fold=fold)
        assert decide(POLICIES["always"], Purpose.MARKETING, twice) == Allow()
        assert next_open(POLICIES["always"], Purpose.MARKETING, twice) == twice.astimezone(UTC)


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
    ("2027-03-27", "20:00:00", HoldUntil(datetime(2027, 3, 30, 6, 0, tzinfo=UTC))),  # over Easter, into summer time
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


def test_a_policy_may_refuse_rather_than_hold_and_still_tells_when_it_opens() -> None:
    strict = resolve_policies({"fr": {"marketing": {"outside": "refuse"}}})["fr"]
    late = paris(date(2026, 11, 24), "19:45")
    assert decide(strict, Purpose.MARKETING, late) == Refuse()
    assert next_open(strict, Purpose.MARKETING, late) == datetime(2026, 11, 25, 7, tzinfo=UTC)
    assert decide(strict, Purpose.MARKETING, paris(date(2026, 11, 24), "19:44")) == Allow()


def test_a_wait_exactly_as_long_as_the_policy_holds_is_held() -> None:
    short = resolve_policies({"fr": {"marketing": {"max_hold": "12h"}}})["fr"]
    evening = paris(date(2026, 11, 24), "20:00")
    assert decide(short, Purpose.MARKETING, evening) == HoldUntil(datetime(2026, 11, 25, 7, tzinfo=UTC))
    assert decide(short, Purpose.MARKETING, evening - timedelta(seconds=1)) == Refuse()


def test_the_next_opening_is_this_instant_or_the_end_of_the_wait_however_long() -> None:
    short = resolve_policies({"fr": {"marketing": {"max_hold": "1h"}}})["fr"]
    noon, saturday = paris(date(2026, 11, 24), "12:00"), paris(date(2026, 11, 28), "20:00")
    assert next_open(short, Purpose.MARKETING, noon) == noon
    assert next_open(short, Purpose.MARKETING, saturday) == datetime(2026, 11, 30, 7, tzinfo=UTC)
    assert next_open(short, Purpose.TRANSACTIONAL, saturday) == saturday


@pytest.mark.parametrize("windows", [[], [{"start": "08:00", "end": "08:15"}]])
def test_what_never_opens_is_refused_and_has_no_next_opening(windows: list[dict[str, str]]) -> None:
    raw = {"marketing": {"windows": windows, "end_margin": "15m"}}
    policy = resolve_policies({"never": raw})["never"]
    assert decide(policy, Purpose.MARKETING, START) == Refuse()
    assert next_open(policy, Purpose.MARKETING, START) is None


def test_a_list_that_spans_zones_is_open_when_all_of_them_are() -> None:
    us = POLICIES["us"]
    winter, spring = datetime(2027, 3, 13, 12, tzinfo=UTC), datetime(2027, 3, 14, 12, tzinfo=UTC)
    assert next_open(us, Purpose.MARKETING, winter) == datetime(2027, 3, 13, 16, tzinfo=UTC)  # 08:00 in Los Angeles
    assert next_open(us, Purpose.MARKETING, spring) == datetime(2027, 3, 14, 15, tzinfo=UTC)  # and clocks went forward
    last = datetime(2027, 3, 14, 1, 44, tzinfo=UTC)  # 20:44 in New York
    assert decide(us, Purpose.MARKETING, last) == Allow()
    assert isinstance(decide(us, Purpose.MARKETING, last + timedelta(minutes=1)), HoldUntil)
    assert us.timezone == "America/New_York"


def test_zones_whose_windows_never_meet_never_open() -> None:
    far = {"timezone": "Europe/Paris", "zones": ["Europe/Paris", "Pacific/Auckland"]}
    hours = {"windows": [{"start": "09:00", "end": "17:00"}]}
    policy = resolve_policies({"far": {**far, "marketing": hours}})["far"]
    assert next_open(policy, Purpose.MARKETING, START) is None


def test_a_us_list_of_one_state_names_its_zone() -> None:
    own = {"country": "US", "timezone": "America/Chicago", "zones": ["America/Chicago"]}
    policy = resolve_policies({"illinois": own})["illinois"]
    assert next_open(policy, Purpose.MARKETING, datetime(2027, 1, 5, tzinfo=UTC)) == datetime(2027, 1, 5, tzinfo=UTC)
    early = datetime(2027, 1, 5, 4, tzinfo=UTC)
    assert next_open(policy, Purpose.MARKETING, early) == datetime(2027, 1, 5, 14, tzinfo=UTC)


def test_windows_that_meet_or_overlap_are_one_after_another_without_a_wrong_turn() -> None:
    windows = [
        {"start": "14:00", "end": "18:00"},
        {"start": "09:00", "end": "12:00"},
        {"start": "11:00", "end": "13:00"},
    ]
    split = resolve_policies({"split": {"marketing": {"windows": windows, "end_margin": "15m"}}})["split"]
    found = [hour for hour in range(24 * 4) if decide(split, Purpose.MARKETING, quarter(hour)) == Allow()]
    assert found == [*range(9 * 4, 12 * 4 + 3), *range(14 * 4, 17 * 4 + 3)]
    assert next_open(split, Purpose.MARKETING, quarter(12 * 4 + 3)) == quarter(14 * 4)


def quarter(number: int) -> datetime:
    return datetime(2026, 11, 24, tzinfo=UTC) + timedelta(minutes=15 * number)


WEEK = {"days": ["mon", "fri"]}
WRONG: dict[str, tuple[dict[str, dict[str, Any]], str]] = {
    "wider than the bound": ({"fr": {"marketing": {"windows": [{"start": "07:00", "end": "20:00"}]}}}, "outer bound"),
    "a country at any hour": ({"x": {"country": "FR", "marketing": {"windows": "always"}}}, "outer bound"),
    "no such policy": ({"x": {"extends": "nope"}}, "there is no policy nope"),
    "in a circle": ({"x": {"extends": "y"}, "y": {"extends": "x"}}, "circle"),
    "no such zone": ({"x": {"timezone": "Mars/Base"}}, "no time zone"),
    "backwards": ({"x": {"marketing": {"windows": [{"start": "20:00", "end": "08:00"}]}}}, "before its end"),
    "no such calendar": ({"x": {"marketing": {"holidays": {"calendar": "ZZ"}}}}, "no such calendar"),
    "an hour of another zone": ({"x": {"marketing": {"windows": [{"start": "08:00Z", "end": "20:00"}]}}}, "offset"),
    "a zone that is not theirs": ({"us": {"timezone": "Pacific/Honolulu"}}, "zones"),
    "one of the zones": ({"x": {"zones": ["UTC", "Mars/Base"]}}, "Mars/Base is no time zone"),
    "a Sunday in France": ({"fr": {"marketing": {"windows": [{"start": "08:00", "end": "20:00"}]}}}, "on mon, tue"),
    "a wider bound": (
        {
            "fr": {
                "marketing": {"outer_bound": {"end": "24:00"}, "windows": [{**WEEK, "start": "08:00", "end": "23:00"}]}
            }
        },
        "outer bound 08:00-22:00",
    ),
    "a country over another's hours": ({"x": {"extends": "us", "country": "FR"}}, "which is FR's"),
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


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_shipped_policy_says_whose_it_is_and_where_it_comes_from(name: str) -> None:
    country, zone, source = ORIGINS[name]
    policy = POLICIES[name]
    assert (policy.country, policy.timezone, policy.checked_on) == (country, zone, date(2026, 11, 1))
    assert policy.source == source
    assert policy.marketing.max_hold == timedelta(hours=72)
    assert policy.transactional == Hours()


CHARTER = "af2m charter 2024-09-01; default 08:00-20:00, may be widened to 22:00"
ORIGINS = {
    "fr": ("FR", "Europe/Paris", CHARTER),
    "fr-moselle": ("FR", "Europe/Paris", CHARTER),
    "fr-alsace": ("FR", "Europe/Paris", CHARTER),
    "fr-guadeloupe": ("FR", "America/Guadeloupe", CHARTER),
    "fr-martinique": ("FR", "America/Martinique", CHARTER),
    "fr-guyane": ("FR", "America/Cayenne", CHARTER),
    "fr-reunion": ("FR", "Indian/Reunion", CHARTER),
    "fr-mayotte": ("FR", "Indian/Mayotte", CHARTER),
    "es": ("ES", "Europe/Madrid", "hours of sales calls, adopted"),
    "es-canarias": ("ES", "Atlantic/Canary", "hours of sales calls, adopted; in its own zone"),
    "uk": ("GB", "Europe/London", "PECR names no hours; default"),
    "us": ("US", "America/New_York", "47 CFR 64.1200(c)(1), in all zones of the contiguous states at once"),
    "in": ("IN", "Asia/Kolkata", "TRAI TCCCPR 2018: promotional hours, IST"),
}


@pytest.mark.parametrize(
    ("country", "window"),
    [
        ("FR", "08:00-20:00"),
        ("fr", "08:00-20:00"),
        ("ES", "09:00-21:00"),
        ("GB", "08:00-20:00"),
        ("UK", "08:00-20:00"),
        ("US", "08:00-21:00"),
        ("IN", "10:00-21:00"),
    ],
)
def test_a_policy_of_a_country_has_the_hours_of_the_shipped_one(country: str, window: str) -> None:
    own = resolve_policies({"own": {"country": country}})["own"]
    assert [str(found) for found in own.marketing.windows] == [window]
    assert own.marketing.end_margin == timedelta(minutes=15)


def test_days_that_an_operator_takes_out_of_the_calendar_or_adds_to_it() -> None:
    days = {"extra": ["2026-11-24"], "except": ["2026-11-11"]}
    own = resolve_policies({"fr": {"marketing": {"holidays": days}}})["fr"]
    armistice, tuesday = paris(date(2026, 11, 11), "10:00"), paris(date(2026, 11, 24), "10:00")
    assert decide(POLICIES["fr"], Purpose.MARKETING, armistice) != Allow()
    assert decide(own, Purpose.MARKETING, armistice) == Allow()
    assert decide(POLICIES["fr"], Purpose.MARKETING, tuesday) == Allow()
    assert decide(own, Purpose.MARKETING, tuesday) != Allow()
    assert decide(own, Purpose.MARKETING, paris(date(2026, 12, 25), "10:00")) != Allow()  # the calendar's own stay


def test_holidays_over_a_shipped_policy_that_has_none() -> None:
    """No holidays are shipped for Britain; what the operator sets is used as it is."""
    own = resolve_policies({"uk": {"marketing": {"holidays": {"calendar": "GB"}}}})["uk"]
    christmas = datetime(2026, 12, 25, 10, tzinfo=UTC)
    assert decide(POLICIES["uk"], Purpose.MARKETING, christmas) == Allow()
    assert decide(own, Purpose.MARKETING, christmas) != Allow()


def test_holidays_may_be_taken_out_of_a_shipped_policy() -> None:
    own = resolve_policies({"fr": {"marketing": {"holidays": None}}})["fr"]
    assert decide(own, Purpose.MARKETING, paris(date(2026, 12, 25), "10:00")) == Allow()


def test_a_policy_builds_on_another_of_the_operators_which_builds_on_a_shipped_one() -> None:
    raw = {
        "shop": {"extends": "late", "marketing": {"end_margin": "1h"}},
        "late": {"extends": "fr", "marketing": {"windows": [{"days": ["mon"], "start": "10:00", "end": "22:00"}]}},
    }
    shop = resolve_policies(raw)["shop"]
    assert shop.country == "FR"
    assert [str(window) for window in shop.marketing.windows] == ["10:00-22:00"]
    monday = date(2026, 11, 23)
    assert decide(shop, Purpose.MARKETING, paris(monday, "20:59")) == Allow()
    assert decide(shop, Purpose.MARKETING, paris(monday, "21:00")) != Allow()


SAID: dict[str, tuple[dict[str, Any], str]] = {
    "circle": ({"x": {"extends": "y"}, "y": {"extends": "x"}}, "policies.x.extends: it goes round in a circle."),
    "itself": ({"x": {"extends": "x"}}, "policies.x.extends: it goes round in a circle."),
    "nobody": ({"x": {"extends": "nope"}}, "policies.x.extends: there is no policy nope."),
    "calendar": (
        {"x": {"marketing": {"holidays": {"calendar": "ZZ"}}}},
        "policies.x.marketing.holidays: there is no such calendar; write the code of a country, such as FR.",
    ),
    "region": (
        {"x": {"marketing": {"holidays": {"calendar": "FR", "subdivision": "ZZ"}}}},
        "policies.x.marketing.holidays: there is no such calendar; write the code of a country, such as FR.",
    ),
    "bound": (
        {"fr": {"marketing": {"windows": [{"days": ["mon"], "start": "08:00", "end": "22:30"}]}}},
        "policies.fr.marketing: the window 08:00-22:30 is wider than the outer bound 08:00-22:00.",
    ),
    "day": (
        {"fr": {"marketing": {"windows": [{"days": ["sun"], "start": "08:00", "end": "20:00"}]}}},
        "policies.fr.marketing: the window 08:00-20:00 is wider than the outer bound 08:00-22:00 on mon, tue, wed, "
        "thu, fri, sat.",
    ),
    "country": (
        {"x": {"extends": "us", "country": "FR"}},
        "policies.x.marketing.windows: the window 08:00-21:00 is wider than the outer bound 08:00-22:00 on mon, tue, "
        "wed, thu, fri, sat, which is FR's.",
    ),
    "hours": (
        {"x": {"country": "DE"}},
        "policies.x: a policy with a country has sending hours; leave country out to send at any hour.",
    ),
    "zones": (
        {"us": {"timezone": "Pacific/Honolulu"}},
        "policies.us: the hours hold in all of zones (America/New_York, America/Chicago, America/Denver, "
        "America/Los_Angeles), and timezone, Pacific/Honolulu, is none of them; set zones too.",
    ),
    "backwards": (
        {"x": {"marketing": {"windows": [{"start": "08:00", "end": "08:00"}]}}},
        "policies.x.marketing.windows.0: a window's start must be before its end.",
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_what_is_wrong_is_said_in_a_sentence_with_its_place(case: str) -> None:
    raw, told = SAID[case]
    with pytest.raises(ValueError, match=r"^policies\.") as refused:
        resolve_policies(raw)
    assert str(refused.value) == told


def test_a_policy_without_a_word_is_open_at_every_hour_in_utc() -> None:
    free = resolve_policies({"free": {}})["free"]
    assert (free.timezone, free.zones, free.country, free.source) == ("UTC", (), None, None)
    assert decide(free, Purpose.MARKETING, datetime(2026, 12, 25, 3, tzinfo=UTC)) == Allow()
    assert free.marketing.end_margin == timedelta(0)
