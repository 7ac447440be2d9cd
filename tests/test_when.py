"""Times as people type them, in three languages; what is not certain is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.when import NotATime, parse_when

TUESDAY = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)  # 11:00 in Paris

UNDERSTOOD = {
    "2026-12-01 09:00": "2026-12-01T09:00+01:00",
    "2026-12-01T09:00Z": "2026-12-01T10:00+01:00",
    "2026-12-01T09:00+05:30": "2026-12-01T04:30+01:00",
    "tomorrow 9:00": "2026-11-25T09:00+01:00",
    "Tomorrow at 9am": "2026-11-25T09:00+01:00",
    "tomorrow 9:30 pm": "2026-11-25T21:30+01:00",
    "demain 9h": "2026-11-25T09:00+01:00",
    "demain à 9h30": "2026-11-25T09:30+01:00",
    "après-demain 9h": "2026-11-26T09:00+01:00",
    "lundi 8h30": "2026-11-30T08:30+01:00",
    "mardi 9h": "2026-12-01T09:00+01:00",  # today at nine has passed
    "tuesday 13:00": "2026-11-24T13:00+01:00",  # and one o'clock is still ahead
    "mañana a las 9": "2026-11-25T09:00+01:00",
    "pasado mañana a las 10": "2026-11-26T10:00+01:00",
    "aujourd’hui 18h": "2026-11-24T18:00+01:00",
    "hoy 18:30": "2026-11-24T18:30+01:00",
    "in 20 minutes": "2026-11-24T11:20+01:00",
    "dans 2h": "2026-11-24T13:00+01:00",
    "en 2 horas": "2026-11-24T13:00+01:00",
    "1er décembre à 9h": "2026-12-01T09:00+01:00",
    "1 December 2026 at 9:00": "2026-12-01T09:00+01:00",
    "el 1 de diciembre a las 9": "2026-12-01T09:00+01:00",
}


@pytest.mark.parametrize("typed", UNDERSTOOD)
def test_it_understands(typed: str) -> None:
    assert parse_when(typed, zone="Europe/Paris", now=TUESDAY).local.isoformat("T", "minutes") == UNDERSTOOD[typed]


REFUSED = {
    "tomorrow": "no_hour",
    "demain": "no_hour",
    "lundi": "no_hour",
    "yesterday 9:00": None,
    "soon": None,
    "5": None,
    "demain 25h": None,
    "tomorrow 9:60": None,
    "tomorrow 13 pm": None,
    "03/04 9:00": None,  # the third of April, or the fourth of March?
    "31 février 9h": None,
    "2026-13-01 09:00": None,
    "2026-02-30 09:00": None,
    "today 9:00": "past",
    "2020-01-01 09:00": "past",
    "2031-01-01 09:00": "too_far",
    "2027-03-28 02:30": "gap",
    "": None,
    "every monday 9:00": None,
}


@pytest.mark.parametrize("typed", REFUSED)
def test_it_refuses_with_examples(typed: str) -> None:
    with pytest.raises(NotATime) as refused:
        parse_when(typed, zone="Europe/Paris", now=TUESDAY)
    assert "demain 9h" in refused.value.template.format_map(refused.value.values)
    assert REFUSED[typed] in (None, refused.value.code)


def test_of_an_hour_that_comes_twice_the_first_is_taken_and_said() -> None:
    autumn = parse_when("2027-10-31 02:30", zone="Europe/Paris", now=TUESDAY)
    assert (autumn.local.isoformat(), autumn.first_of_two) == ("2027-10-31T02:30:00+02:00", True)
    assert not parse_when("2027-10-31 03:30", zone="Europe/Paris", now=TUESDAY).first_of_two


@pytest.mark.parametrize(
    ("zone", "gap"), [("America/New_York", "2027-03-14 02:30"), ("Atlantic/Canary", "2027-03-28 01:30")]
)
def test_the_hour_that_spring_skips_is_refused_where_it_is_skipped(zone: str, gap: str) -> None:
    with pytest.raises(NotATime, match="gap"):
        parse_when(gap, zone=zone, now=TUESDAY)
    assert parse_when(gap, zone="Asia/Kolkata", now=TUESDAY)


@given(st.text(max_size=40) | st.from_regex(r"(demain|tomorrow|lundi|\d{1,4})[ -/:h0-9apm]{0,12}", fullmatch=True))
def test_whatever_is_typed_it_is_a_time_ahead_or_a_refusal(typed: str) -> None:
    try:
        when = parse_when(typed, zone="Europe/Paris", now=TUESDAY)
    except NotATime:
        return
    assert TUESDAY < when.instant <= TUESDAY + timedelta(days=731)
