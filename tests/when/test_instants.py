"""One instant from what people type, in three languages; anything uncertain is refused."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.domain.clock import SECOND
from bot.slack.blocks.mrkdwn import spelled
from bot.when.instants import parse_when
from bot.when.patterns import lazily, warm_up
from bot.when.recurrence_parser import is_recurrence, parse_recurrence
from bot.when.refusals import NotATime
from tests.support.times import TUESDAY, TYPED, told

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
    "mardi 9h": "2026-12-01T09:00+01:00",  # nine o'clock today has passed
    "tuesday 13:00": "2026-11-24T13:00+01:00",  # one o'clock today is still ahead
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
    "December 1 at noon": "2026-12-01T12:00+01:00",
    "2026-12-01 9h": "2026-12-01T09:00+01:00",
    "2026-12-01 at 9 am": "2026-12-01T09:00+01:00",
    "2026\u201112\u201101 09:00": "2026-12-01T09:00+01:00",
    "1 mars 9h": "2027-03-01T09:00+01:00",  # the next 1 March
    "29 February 2028 9:00": "2028-02-29T09:00+01:00",
    "tomorrow at 9": "2026-11-25T09:00+01:00",
    "demain à 9": "2026-11-25T09:00+01:00",
    "demain 9 h 30": "2026-11-25T09:30+01:00",
    "demain 9 heures 30": "2026-11-25T09:30+01:00",
    "tomorrow 9:30h": "2026-11-25T09:30+01:00",
    "mañana a las 9 p. m.": "2026-11-25T21:00+01:00",
    "tomorrow 12:30 pm": "2026-11-25T12:30+01:00",
    "tomorrow 12:30 am": "2026-11-25T00:30+01:00",
    "tomorrow at noon": "2026-11-25T12:00+01:00",
    "demain midi": "2026-11-25T12:00+01:00",
    "demain à midi": "2026-11-25T12:00+01:00",
    "mañana al mediodía": "2026-11-25T12:00+01:00",
    "tomorrow 0:00": "2026-11-25T00:00+01:00",
    "on monday, 9:00": "2026-11-30T09:00+01:00",
    "el lunes a las 9": "2026-11-30T09:00+01:00",
    "“demain 9h”": "2026-11-25T09:00+01:00",
    "DEMAIN\u00a0\u00c0\u202f9H": "2026-11-25T09:00+01:00",
    "in 2 weeks": "2026-12-08T11:00+01:00",
    "dans 3 jours": "2026-11-27T11:00+01:00",
    # the hour first
    "9:00 tomorrow": "2026-11-25T09:00+01:00",
    "at 9am on monday": "2026-11-30T09:00+01:00",
    "at 9 tomorrow": "2026-11-25T09:00+01:00",
    "à 9h demain": "2026-11-25T09:00+01:00",
    "9h le 1er décembre": "2026-12-01T09:00+01:00",
    "a las 9 mañana": "2026-11-25T09:00+01:00",
    "a las 9:00 del lunes": "2026-11-30T09:00+01:00",
    "noon tomorrow": "2026-11-25T12:00+01:00",
    "9h 30 1 december": "2026-12-01T09:30+01:00",
    # the weekday with its date
    "mardi 1er décembre à 9h": "2026-12-01T09:00+01:00",
    "le mardi 1er décembre 2026 à 9h": "2026-12-01T09:00+01:00",
    "tuesday, december 1 at 9:00": "2026-12-01T09:00+01:00",
    "el martes 1 de diciembre a las 9": "2026-12-01T09:00+01:00",
    "wednesday 2026-12-02 9:00": "2026-12-02T09:00+01:00",
    "mardi 24 novembre 18h": "2026-11-24T18:00+01:00",
    # parts of a day
    "tomorrow morning at 9": "2026-11-25T09:00+01:00",
    "tomorrow evening 9 pm": "2026-11-25T21:00+01:00",
    "tonight 8pm": "2026-11-24T20:00+01:00",
    "demain matin 9h": "2026-11-25T09:00+01:00",
    "demain 9h du matin": "2026-11-25T09:00+01:00",
    "à 20h ce soir": "2026-11-24T20:00+01:00",
    "cet après-midi à 15h": "2026-11-24T15:00+01:00",
    "cette après-midi à 15h": "2026-11-24T15:00+01:00",
    "cette après midi à 15h": "2026-11-24T15:00+01:00",
    "demain après midi 15h": "2026-11-25T15:00+01:00",
    "demain à 15h de l’après midi": "2026-11-25T15:00+01:00",
    "mañana por la mañana a las 9": "2026-11-25T09:00+01:00",
    "mañana a las 9 de la mañana": "2026-11-25T09:00+01:00",
    "pasado mañana por la mañana a las 9": "2026-11-26T09:00+01:00",
    "esta tarde a las 18:00": "2026-11-24T18:00+01:00",
    # a time from now, with or without an hour
    "in an hour": "2026-11-24T12:00+01:00",
    "dans une heure": "2026-11-24T12:00+01:00",
    "dentro de dos horas": "2026-11-24T13:00+01:00",
    "dans 1h30": "2026-11-24T12:30+01:00",
    "dans 1h 30 min": "2026-11-24T12:30+01:00",
    "dans 1 heure 30": "2026-11-24T12:30+01:00",
    "dans 1 heure 30 minutes": "2026-11-24T12:30+01:00",
    "dans une heure et 5 minutes": "2026-11-24T12:05+01:00",
    "in 1 hour 30 minutes": "2026-11-24T12:30+01:00",
    "in two hours and 30 minutes": "2026-11-24T13:30+01:00",
    "dentro de 1 hora 30 minutos": "2026-11-24T12:30+01:00",
    "in 2 days at 9:00": "2026-11-26T09:00+01:00",
    "in 2 days 9:00": "2026-11-26T09:00+01:00",
    "in 2 days 9am": "2026-11-26T09:00+01:00",
    "dans 2 jours à 3h": "2026-11-26T03:00+01:00",
    "dans 2 jours 3h du matin": "2026-11-26T03:00+01:00",
    "3h dans 2 jours": "2026-11-26T03:00+01:00",
    "dans 2 semaines à 9h": "2026-12-08T09:00+01:00",
    "dentro de 3 días a las 9": "2026-11-27T09:00+01:00",
    "dans 200 jours à 9h": "2027-06-12T09:00+02:00",  # across the clock change: the hour makes it clear
    # short names, dots and commas
    "Thurs 9:00": "2026-11-26T09:00+01:00",
    "lun. 9h": "2026-11-30T09:00+01:00",
    "mié 9:00": "2026-11-25T09:00+01:00",
    "Dec. 1 9:00": "2026-12-01T09:00+01:00",
    "5 févr. 9h": "2027-02-05T09:00+01:00",
    "1º de diciembre a las 9": "2026-12-01T09:00+01:00",
    "december the 1st at 9:00": "2026-12-01T09:00+01:00",
    "the day after tomorrow 9:00": "2026-11-26T09:00+01:00",
    "après demain 9h": "2026-11-26T09:00+01:00",
    "tomorrow,9:00.": "2026-11-25T09:00+01:00",
    "demain 9h !": "2026-11-25T09:00+01:00",
    "tomorrow @ 9": "2026-11-25T09:00+01:00",
    "tomorrow at 9 o’clock in the morning": "2026-11-25T09:00+01:00",
    "tomorrow at 3 o'clock in the afternoon": "2026-11-25T15:00+01:00",
    "tomorrow at 12 o'clock in the afternoon": "2026-11-25T12:00+01:00",
    "at 3 o'clock pm tomorrow": "2026-11-25T15:00+01:00",
    "tonight at 8 o'clock": "2026-11-24T20:00+01:00",
    "2026-12-01T9:00": "2026-12-01T09:00+01:00",
    "2026-12-01T09:00:00.000Z": "2026-12-01T10:00+01:00",
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
    "5": "ambiguous",
    "9h": "past",  # not taken as tomorrow
    "at 9": "past",
    "à 9h": "past",
    "a las 9": "past",
    "9 am": "past",
    "monday 9": "ambiguous",  # at nine, or Monday the ninth?
    "lundi 9": "ambiguous",
    "1 december 20": "ambiguous",  # at eight in the evening, or 2020?
    "1 december 26 9:00": None,
    "tomorrow midnight": "ambiguous",
    "demain à minuit": "ambiguous",
    "mañana a medianoche": "ambiguous",
    "tomorrow 12am": "ambiguous",
    "tomorrow 12 pm": "ambiguous",
    "tomorrow at 3 o'clock": "ambiguous",
    "tomorrow at 12 o’clock": "ambiguous",
    "tomorrow at 12 o'clock in the morning": "ambiguous",  # midnight, or noon?
    "tomorrow at 3 o'clock in the evening": "ambiguous",
    "tomorrow 15 o'clock": "not_understood",
    "tomorrow 13 o'clock in the afternoon": "not_understood",
    "tomorrow 0 o'clock": "not_understood",
    "3 o'clock": "ambiguous",
    "tomorrow 24:00": None,
    "tomorrow 0 am": None,
    "tomorrow 9h pm": None,
    "tomorrow 9h30h": None,
    "tomorrow 9.30": None,
    "next monday 9:00": "ambiguous",
    "lundi prochain 9h": "ambiguous",
    "el próximo lunes a las 9": "ambiguous",
    "el lunes que viene a las 9": "ambiguous",
    "le lundi à 9h": "ambiguous",  # most people mean every Monday
    "mar 3 9:00": None,  # the third of March, or mardi the third?
    "this evening": None,
    "ce soir 08h": "ambiguous",  # 08h is eight in the morning on a clock
    "esta noche a las 2": "ambiguous",
    "tonight at 3": "ambiguous",
    "24 november 9:00": "past",  # not taken as next year
    "1 novembre 9h": "past",
    "2026-12-01": "no_hour",
    "1 december": "no_hour",
    "2026/12/01 09:00": None,
    "2026-12-01T09:00+99:00": None,
    "0000-01-01 09:00": None,
    "0001-01-01 00:00+12:00": None,
    "in 0 minutes": "past",
    "in 5 fortnights": None,
    "in 9999 days": None,
    "dans 200 jours": "ambiguous",  # across the clock change: the same hour, or 4800 hours?
    "demain 9²h": None,
    "demain 9\u0336h": None,
    "demain ９h": None,
    "demain 9h " + "!" * 300: None,
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
    "at 9 december 20": None,  # the ninth at eight in the evening, or the 20th at nine?
    "lundi 1er décembre 9h": "no_such_day",  # it is a Tuesday: the day or the date is wrong
    "mercredi 1er décembre 9h": "no_such_day",  # a Wednesday next year, but nobody means that
    "mardi 24 novembre 9h": "past",
    "tomorrow evening 08:00": "ambiguous",
    "demain après-midi à 9h": "ambiguous",
    "mañana a las 4 de la noche": "ambiguous",
    "tonight 0:30": "ambiguous",
    "dans 15 jours": "ambiguous",  # means two weeks in French
    "dans 8 jours à 9h": "ambiguous",
    "en 15 días": "ambiguous",
    "dans 2 jours 3h": "ambiguous",  # or 51 hours?
    "dans 2 jours, 15 h": "ambiguous",
    "dans un jour 3 heures": "ambiguous",
    "dans 1 semaine 2 heures": "ambiguous",
    "in 1 day 3h": "ambiguous",
    "in a day 3 hours": "ambiguous",
    "en 2 días 4h": "ambiguous",
    "dentro de 1 día 3 horas": "ambiguous",
    "in 1 day 30 hours": None,
    "dans 1 heure 5": None,
    "dans 1 heure 90 minutes": None,
    "demain après midi": "no_hour",
}


@pytest.mark.parametrize("typed", REFUSED)
def test_it_refuses_with_examples(typed: str) -> None:
    with pytest.raises(NotATime) as refused:
        parse_when(typed, zone="Europe/Paris", now=TUESDAY)
    assert "tomorrow 9:00" in told(refused.value)
    assert REFUSED[typed] in (None, refused.value.code)


SAID = {
    "mañana 9.30": "If 9.30 is a time, write 9:30",
    "2026-12-01 09.30": "If 09.30 is a time, write 09:30",
    "lundi 1.12": "Write dates like this: 2026-12-01",  # or the first of December
    "every monday 9.30": "If 9.30 is a time, write 9:30",
    "2026/12/01 09:00": "Write 2026-12-01 instead of 2026/12/01",
    "2026.12.1 9h": "Write 2026-12-01 instead of 2026.12.1",
    "3/4 9:00": "“3/4” could mean 2027-03-04 or 2027-04-03",
    "1.12.2026 9h": "“1.12.2026” could mean 2026-01-12 or 2026-12-01",
    "01-12-2026 9:00": "“01-12-2026” could mean 2026-01-12 or 2026-12-01",
    "2026-12-1 9:00": "Write 2026-12-01 instead of 2026-12-1",
    "in 1.25 hours": "Write how long in whole minutes",  # or an hour and 25 minutes
    "en 3 meses": "Write how long in whole minutes",
    "tomorrow 9:00 CET": "A time zone does not go there",
    "demain 9h Europe/Paris": "A time zone does not go there",
    "monday 9:00 and 18:00": "I take one time per request",
    "tous les jours à 9h et à 18h": "I take one time per request",
    "cada día a las 9 y a las 18": "I take one time per request",
    "tomorrow 9-10": "I take one time per request",
    "monday and tuesday 9:00": "Several days?",
    "lunes y jueves a las 9": "Several days?",
    "every mon/wed 9:00": "Several days?",
    "le 3 à 9h": "That day has already passed this month. Write the next one with its month",
    "the 31st at 9:00": "There is no such day in 2026-11",
    "el lunes 8 a las 9": "2026-12-08 falls on another day of the week",
    "ce lundi 9h": "Write only the day",
    "now": "To send at once",
    "tout de suite": "To send at once",
    "demain vers 9h": "Write one exact time",
    "demain après 9h": "Write one exact time",
    "in 1 day 3h": "Write a time as “at 3:00”",
    "tomorrow at 3 o'clock": "“3 o'clock” could mean 3:00 or 15:00",
    "every monday at 12 o'clock": "“12 o'clock” could mean 0:00 or 12:00",
    "tomorrow at half past three": "“half past three” could mean 3:30 or 15:30",
    "every other day 9:00": "every so many days, months or years",
    "mar. 9h": "March to some people and Tuesday to others",
    "demain 24h": "There is no such date or time",
    "25": "There is no such date or time",
    "every monday until 2027-01-31 9:00": "until=2027-01-31",
    "tous les lundis sauf jours fériés 9h": "holidays=skip",
    "every weekend 9:00": "On which day?",
    "lundi 1er décembre 9h": "2026-12-01 falls on another day of the week",
    "ce soir 08h": "08:00 is not in that part of the day",
    "29 février 9h": "There is no such day in 2026 / 2027",
    "february 29, 2027 9:00": "There is no such day in 2027",
    "31 avril 9h": "There is no such day in 2026 / 2027",
    "2026-02-30 9h": "There is no such day in 2026",
}


@pytest.mark.parametrize("typed", SAID)
def test_the_refusal_says_what_is_wrong_with_it_and_how_to_write_it(typed: str) -> None:
    parse = parse_recurrence if is_recurrence(typed) else parse_when
    with pytest.raises(NotATime) as refused:
        parse(typed, zone="Europe/Paris", now=TUESDAY)
    assert SAID[typed] in told(refused.value)


def test_of_an_hour_that_comes_twice_the_first_is_taken_and_said() -> None:
    autumn = parse_when("2027-10-31 02:30", zone="Europe/Paris", now=TUESDAY)
    assert autumn.local.isoformat() == "2027-10-31T02:30:00+02:00"
    assert (
        spelled(round(autumn.instant.timestamp()) * SECOND, "Europe/Paris") == "2027-10-31 02:30 Europe/Paris (+0200)"
    )


@pytest.mark.parametrize(
    ("zone", "gap"), [("America/New_York", "2027-03-14 02:30"), ("Atlantic/Canary", "2027-03-28 01:30")]
)
def test_the_hour_that_spring_skips_is_refused_where_it_is_skipped(zone: str, gap: str) -> None:
    with pytest.raises(NotATime, match="gap"):
        parse_when(gap, zone=zone, now=TUESDAY)
    assert parse_when(gap, zone="Asia/Kolkata", now=TUESDAY)


def test_of_two_weekdays_the_one_that_is_not_taken_may_be_in_the_gap() -> None:
    saturday = datetime(2027, 3, 20, 12, tzinfo=UTC)
    assert parse_when("sunday 2:30", zone="Europe/Paris", now=saturday).local.isoformat() == "2027-03-21T02:30:00+01:00"
    with pytest.raises(NotATime, match="gap"):
        parse_when("sunday 2:30", zone="Europe/Paris", now=saturday + timedelta(days=1))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("sunday 2:30", "2027-04-04T02:30:00+02:00"),
        ("dimanche 2h30", "2027-04-04T02:30:00+02:00"),
        ("28 march 2:30", "past"),  # not “skipped”: next year's date needs its year
        ("today 2:30", "gap"),
    ],
)
def test_an_hour_that_is_behind_today_is_skipped_for_that_and_not_for_the_gap_it_was_in(typed: str, meant: str) -> None:
    sunday = datetime(2027, 3, 28, 8, tzinfo=UTC)  # ten in Paris; 02:30 did not exist that night
    try:
        assert parse_when(typed, zone="Europe/Paris", now=sunday).local.isoformat() == meant
    except NotATime as refused:
        assert refused.code == meant  # noqa: PT017 - either is right


@pytest.mark.parametrize(
    ("hour", "meant"), [(0, "2027-10-31T02:30:00+02:00"), (1, "2027-11-07T02:30:00+01:00")], ids=["first", "second"]
)
def test_while_an_hour_comes_twice_a_weekday_means_the_first_of_them_or_next_week(hour: int, meant: str) -> None:
    night = datetime(2027, 10, 31, hour, 10, tzinfo=UTC)  # ten past two in Paris, twice
    assert parse_when("sunday 2:30", zone="Europe/Paris", now=night).local.isoformat() == meant


ZONES = ("Europe/Paris", "America/New_York", "Asia/Kolkata", "Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC")


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    ("typed", "code"),
    {
        "31 december 9999 23:59": "too_far",
        "31 december 9999 0:00": "too_far",
        "9999-12-31 23:59": "too_far",
        "9999-12-31T23:59:59-14:00": "too_far",
        "1 january 0001 0:00": "past",
        "1er janvier 0001 23h59": "past",
        "0001-01-01 00:00": "past",
        "0001-01-01T00:00+14:00": "past",
    }.items(),
)
def test_the_first_and_the_last_year_are_past_and_too_far_in_every_zone(zone: str, typed: str, code: str) -> None:
    with pytest.raises(NotATime) as refused:
        parse_when(typed, zone=zone, now=TUESDAY)
    assert refused.value.code == code


YEARS = st.sampled_from((1, 2, 1582, 1970, 2026, 2027, 2028, 2038, 9998, 9999))
DATED = st.builds(
    "{}{}{:02d}:{:02d}{}".format,
    st.dates().flatmap(lambda day: YEARS.map(lambda year: day.replace(year=year, day=min(day.day, 28))))
    | st.sampled_from((date.min, date.max)),
    st.sampled_from((" ", " at ", "T")),
    st.integers(0, 24),
    st.integers(0, 60),
    st.sampled_from(("", "Z", "+14:00", "-12:00", "-23:59", "+23:59")),
)


NAMED = st.builds(
    "{} {} {:04d} {}:{:02d}".format,
    st.integers(0, 32),
    st.sampled_from(("december", "janvier", "febrero", "may")),
    YEARS,
    st.integers(0, 24),
    st.integers(0, 60),
)


@example("31 december 9999 23:59", "America/New_York")
@example("1 january 0001 0:00", "Europe/Paris")
@given(
    TYPED | DATED | NAMED | st.from_regex(r"(demain|tomorrow|lundi|\d{1,4})[ -/:h0-9apm]{0,12}", fullmatch=True),
    st.sampled_from(ZONES),
)
def test_whatever_is_typed_it_is_a_time_ahead_or_a_refusal(typed: str, zone: str) -> None:
    try:
        when = parse_when(typed, zone=zone, now=TUESDAY)
    except NotATime as refused:
        assert told(refused)  # noqa: PT017 - either is right
        return
    assert TUESDAY < when.instant <= TUESDAY + timedelta(days=731)
    assert not is_recurrence(typed)


def test_every_pattern_compiles_and_one_that_is_none_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    warm_up()
    monkeypatch.setattr("bot.when.patterns._ALL", [])
    lazily("(")
    with pytest.raises(re.error):
        warm_up()
