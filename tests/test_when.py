"""Times and recurrences as people type them, in three languages; anything uncertain is refused."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.domain.clock import SECOND
from bot.slack.blocks.mrkdwn import spelled
from bot.when.instants import parse_when
from bot.when.recurrence import Closed, Recurrence, RecurringTime, following
from bot.when.recurrence_parser import is_recurrence, parse_recurrence
from bot.when.refusals import NotATime

TUESDAY = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)  # 11:00 in Paris


def told(refused: NotATime) -> str:
    """Return the sentence that the person sees."""
    return refused.template.format_map(refused.values)


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
    assert "demain 9h" in told(refused.value)
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


WORDS = """
    every each daily weekly on the at of month and day weekday monday mondays thursday mon other first last
    2 weeks week in 20 minutes tomorrow noon midnight next 9:00 9h 9 am pm 9:30 15th 31st december
    2026-12-01 29 february year to from chaque tous toutes les le lundi lundis jeudi et jours jour ouvrés
    semaines sur deux du au mois 1er à demain midi 8h30 prochain dernier premier vendredi décembre cada
    todos los el lunes jueves y semanas día de a viernes laborable mes último primer año mañana las 15
    morning matin evening soir tonight ce por la in 15 jours o'clock @ lun. mar juil.
    primero cron * */2 1-5 0 , L 5L 1#2 today heure 30 minutes cette après midi days horas
""".split()  # noqa: SIM905 - eighty words are easier to read this way
TYPED = st.text(max_size=40) | st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join)


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


# --- recurrences -----------------------------------------------------------------------------------------------------

AGAIN = {
    "0 9 * * *": (
        "every day at 9:00",
        "Each day 9am",
        "daily at 9:00",
        "tous les jours à 9h",
        "chaque jour à 9h",
        "cada día a las 9",
        "todos los días a las 9",
        "9am every day",
        "every morning at 9",
        "tous les matins à 9h",
        "cada mañana a las 9",
        "todas las mañanas a las 9",
        "every morning at 9 o'clock",
    ),
    "30 18 * * 1,2,3,4,5": (
        "every weekday at 18:30",
        "every working day 6:30 pm",
        "monday to friday 18:30",
        "every day from monday to friday at 18:30",
        "mon-fri 18:30",
        "mon–fri 18:30",
        "tous les jours ouvrés à 18h30",
        "du lundi au vendredi à 18h30",
        "de lunes a viernes a las 18:30",
        "cada día laborable a las 18:30",
        "todos los días laborables a las 18:30",
        "lundi-vendredi 18h30",
        "de lundi à vendredi à 18h30",
        "lunes a viernes 18:30",
        "à 18h30 du lundi au vendredi",
        "les jours ouvrés à 18h30",
        "à 18h30 les jours ouvrés",
        "en semaine à 18h30",
        "los días laborables a las 18:30",
        "entre semana a las 18:30",
    ),
    "30 8 * * 1": (
        "every monday 8:30",
        "EVERY MONDAY, 8:30",
        "mondays at 8:30",
        "on mondays at 8:30",
        "weekly on monday 8:30",
        "monday 8:30",
        "chaque lundi 8h30",
        "tous les lundis à 8h30",
        "les lundis à 8h30",
        "chaque semaine le lundi à 8h30",
        "cada lunes 8:30",
        "todos los lunes a las 8:30",
        "8:30 every monday",
        "à 8h30 chaque lundi",
        "a las 8:30 todos los lunes",
        "every monday morning at 8:30",
        "chaque lundi matin à 8h30",
        "cada lunes a las 8:30 de la mañana",
        "chaque semaine lundi 8h30",
        "le lundi 8h30",
        "el lunes a las 8:30",
        "los lunes a las 8:30",
    ),
    "0 9 * * 1,4": (
        "every monday and thursday at 9am",
        "every thursday and monday at 9am",
        "tous les lundis et jeudis à 9h",
        "tous les lundis et tous les jeudis à 9h",
        "todos los lunes y jueves a las 9",
        "los lunes y los jueves a las 9",
    ),
    "0 9 * * 1,3,5": (
        "every mon, wed and fri 9:00",
        "chaque lundi, mercredi et vendredi à 9h",
        "cada lunes, miércoles y viernes a las 9",
    ),
    "0 9 * * 1,2,3,4,5,6": ("monday through saturday 9:00", "du lundi au samedi 9h", "de lunes a sábado a las 9"),
    "0 9 * * 6,0": ("every sunday and saturday 9:00", "les samedis et dimanches 9h", "los sábados y domingos a las 9"),
    "0 9 * * 1 / 2 weeks from 2026-11-30": (
        "every 2 weeks on monday 9:00",
        "every two weeks on monday at 9:00",
        "every other monday at 9:00",
        "every other week on monday at 9:00",
        "toutes les 2 semaines le lundi à 9h",
        "toutes les deux semaines, le lundi à 9h",
        "une semaine sur deux le lundi à 9h",
        "un lundi sur deux à 9h",
        "cada 2 semanas el lunes a las 9",
        "cada dos lunes a las 9",
        "un lunes de cada dos a las 9",
        "every 2 weeks monday 9:00",
        "every other week monday morning 9:00",
        "every fortnight on monday at 9:00",
        "tous les 15 jours le lundi à 9h",
        "tous les quinze jours, lundi 9h",
        "cada 15 días, el lunes a las 9",
        "toutes les 2 semaines lundi 9h",
        "cada 2 semanas lunes a las 9",
    ),
    "0 9 * * 2,4 / 3 weeks from 2026-11-26": (  # nine has passed this Tuesday, but the count starts with this week
        "every 3 weeks on tuesday and thursday 9:00",
        "toutes les trois semaines le mardi et le jeudi à 9h",
        "cada tres semanas los martes y jueves a las 9",
    ),
    "0 9 1 * *": (
        "every month on the 1st at 9:00",
        "on the 1st of every month at 9:00",
        "every 1st of the month 9:00",
        "monthly on the 1st 9:00",
        "first day of the month 9:00",
        "le 1er de chaque mois à 9h",
        "tous les mois le 1er à 9h",
        "chaque premier jour du mois à 9h",
        "el 1 de cada mes a las 9",
        "el 1º de cada mes a las 9",
        "el primer día de cada mes a las 9",
        "every first of the month 9:00",
        "le premier du mois à 9h",
        "el primero de cada mes a las 9",
    ),
    "0 9 15 * *": (
        "on the 15th of every month at 9:00",
        "tous les mois le 15 à 9h",
        "tous les 15 du mois à 9h",
        "cada mes el día 15 a las 9",
        "cada día 15 del mes a las 9",
    ),
    "0 9 1,15 * *": (
        "on the 1st and 15th of every month at 9:00",
        "on the 15th and the 1st of every month at 9:00",
        "le 1er et le 15 de chaque mois à 9h",
        "les 1er et 15 du mois à 9h",
        "el 1 y el 15 de cada mes a las 9",
        "el día 1 y el día 15 de cada mes a las 9",
    ),
    "0 9 L * *": (
        "every last day of the month 9:00",
        "on the last day of every month at 9:00",
        "chaque dernier jour du mois à 9h",
        "le dernier jour de chaque mois 9h",
        "el último día de cada mes a las 9",
    ),
    "0 12 * * 1#1": (
        "every first monday of the month at noon",
        "every month on the first monday at noon",
        "chaque premier lundi du mois à midi",
        "tous les premiers lundis du mois à midi",
        "el primer lunes de cada mes al mediodía",
    ),
    "0 9 * * 4#3": (
        "every 3rd thursday of the month 9:00",
        "le troisième jeudi du mois 9h",
        "el tercer jueves del mes 9h",
    ),
    "0 9 * * 5L": (
        "last friday of the month 9:00",
        "le dernier vendredi de chaque mois à 9h",
        "cada último viernes del mes a las 9",
    ),
    "0 9 1 12 *": (
        "every year on 1 december 9:00",
        "every december 1 at 9:00",
        "chaque 1er décembre à 9h",
        "tous les ans le 1er décembre à 9h",
        "cada año el 1 de diciembre a las 9",
    ),
}


@pytest.mark.parametrize(("plain", "typed"), [(plain, typed) for plain, ways in AGAIN.items() for typed in ways])
def test_it_understands_what_comes_again(plain: str, typed: str) -> None:
    rule = parse_recurrence(typed, zone="Europe/Paris", now=TUESDAY)
    assert rule.plain() == plain
    assert Recurrence.of(plain) == rule
    once = ("monday 8:30", "le lundi 8h30", "el lunes a las 8:30")  # these are valid as single times too
    assert is_recurrence(typed) or typed in once


NOT_AGAIN = {
    "every monday": "no_hour",
    "chaque jour": "no_hour",
    "todos los días": "no_hour",
    "every week 9:00": "no_day",
    "every 2 weeks 9:00": "no_day",
    "tous les mois à 9h": "no_day",
    "cada mes a las 9": "no_day",
    "9:00": "no_day",
    "every 31st of the month 9:00": "not_every_month",
    "le 30 de chaque mois à 9h": "not_every_month",
    "el 29 de cada mes a las 9": "not_every_month",
    "every 32nd of the month 9:00": None,
    "the 0th of every month 9:00": None,
    "every 29 february 9:00": None,
    "on the 1st and 31st of every month 9:00": "not_every_month",
    "chaque soir 4h": "ambiguous",
    "todas las noches a las 3": "ambiguous",
    "tous les week-ends 9h": "no_day",
    "every 30 min": "too_often",
    "every 30 february 9:00": None,
    "every 1 december 2027 9:00": None,
    "every 1 december 20": "ambiguous",
    "every monday 9": "ambiguous",
    "tous les jours 15": "ambiguous",
    "every monday at midnight": "ambiguous",
    "chaque lundi à minuit": "ambiguous",
    "cada día a medianoche": "ambiguous",
    "every day 12am": "ambiguous",
    "every minute": "too_often",
    "every 10 minutes": "too_often",
    "toutes les 5 minutes": "too_often",
    "cada 5 minutos": "too_often",
    "every hour": "hourly",
    "every 2 hours": "hourly",
    "toutes les heures": "hourly",
    "cada dos horas": "hourly",
    "every 2 days 9:00": "spaced",
    "2 days 9:00": "spaced",  # after `/broadcast every`
    "every other day 9:00": "spaced",
    "every 3 months on the 1st 9:00": "spaced",
    "9:00 every three days": "spaced",
    "tous les 2 jours à 9h": "spaced",
    "un jour sur deux à 9h": "spaced",
    "tous les trois mois le 1er à 9h": "spaced",
    "cada 2 días a las 9": "spaced",
    "cada dos meses el 1 a las 9": "spaced",
    "tous les 15 jours à 9h": "no_day",  # most people mean every second week
    "cada quince días a las 9": "no_day",
    "tous les jours ouvrables à 9h": None,  # “ouvrables” includes Saturdays
    "every second monday 9:00": None,  # of the month?
    "every fifth monday of the month 9:00": None,
    "biweekly on monday 9:00": None,
    "every friday to friday 9:00": None,
    "every 0 weeks on monday 9:00": None,
    "every 27 weeks on monday 9:00": None,
    "every lundi 9h": None,
    "chaque lundi prochain 9h": None,
    "every monday 25:00": None,
    "every monday 9:00 and 18:00": None,
    "every": None,
    "": None,
    "tomorrow 9:00": None,
    "0 9 * * 1": "cron_admins",
    "*/5 * * * *": "cron_admins",
    "2026 12 24 9 00": None,
    "cron": None,
    "cron 0 9 * * 1": "cron_admins",
}


@pytest.mark.parametrize("typed", NOT_AGAIN)
def test_it_refuses_what_may_not_come_again_so(typed: str) -> None:
    with pytest.raises(NotATime) as refused:
        parse_recurrence(typed, zone="Europe/Paris", now=TUESDAY)
    assert "chaque lundi à 9h" in told(refused.value)
    assert NOT_AGAIN[typed] in (None, refused.value.code)


CRON = {
    "cron 0 9 * * 1": "0 9 * * 1",
    "CRON  0 9 * * mon-fri": "0 9 * * MON-FRI",
    "0 9 * * 1-5": "0 9 * * 1-5",
    "cron: 0 9 * * mon": "0 9 * * MON",
    "0 9 * * 8": "cron",
    "cron 15 * * * *": "15 * * * *",  # once an hour is the most allowed
    "cron 0 9 l * *": "0 9 L * *",
    "cron 0 9 */2 * *": "0 9 */2 * *",
    "cron 0 9 29 2 *": "0 9 29 2 *",
    "cron * * * * *": "too_often",
    "cron 0,30 9 * * *": "too_often",
    "cron */90 9 * * *": "*/90 9 * * *",  # only at minute 0
    "cron 0 9 30 2 *": "cron",
    "cron 0 9 * 2 1#5": "cron",  # a February with five Mondays: in 2044
    "cron 0 0 9 * * 1": "cron",
    "cron 0 9": "cron",
    "cron 0 24 * * *": "cron",
    "cron 0 9 * * 8": "cron",
    "cron @daily": "cron",
    "cron 0 9 * * " + "1" * 150: "cron",
}


@pytest.mark.parametrize("typed", CRON)
def test_admins_write_cron(typed: str) -> None:
    try:
        found = parse_recurrence(typed, zone="Europe/Paris", now=TUESDAY, cron=True).plain()
    except NotATime as refused:
        assert told(refused)  # noqa: PT017 - either is right
        found = refused.code
    assert found == CRON[typed]
    assert is_recurrence(typed)


@pytest.mark.parametrize(
    ("plain", "named"),
    {
        "0 9 * * *": True,
        "0 9 * * 1": True,
        "0 9 * * 1#1": True,
        "0 9 * * 1 / 2 weeks from 2026-11-30": True,
        "0 9 1 * *": False,
        "0 9 L * *": False,
        "0 9 1 12 *": False,
        "0 9 1 * 1": False,
    }.items(),
)
def test_a_rule_names_its_weekdays_or_a_day_of_the_month(plain: str, named: bool) -> None:
    assert Recurrence.of(plain).names_days is named


@pytest.mark.parametrize(
    "plain", ["", "0 9 * *", "0 9 * * 1 / 2 weeks", "0 9 * * 1 / 2 weeks from 2026-02-30", "9 9 9 9 9 9"]
)
def test_what_no_rule_wrote_is_no_rule(plain: str) -> None:
    with pytest.raises(ValueError, match=r"recurrence|month|range"):
        Recurrence.of(plain)


def times(rule: str, zone: str, after: str, many: int, **closing: object) -> list[str]:
    """Return the first `many` occurrences, each as its local time and its instant in UTC."""
    found = following(Recurrence.of(rule), zone, datetime.fromisoformat(after), **closing)  # type: ignore[arg-type]
    return [f"{one.local:%m-%d %H:%M} {one.instant:%d %H:%M}" for one in islice(found, many)]


def test_in_spring_a_skipped_hour_comes_right_after_the_gap_and_bears_that_name() -> None:
    night = "2027-03-27T12:00+00:00"
    assert times("30 2 * * *", "Europe/Paris", night, 2) == ["03-28 03:00 28 01:00", "03-29 02:30 29 00:30"]
    assert times("30 1 * * *", "Atlantic/Canary", night, 2) == ["03-28 02:00 28 01:00", "03-29 01:30 29 00:30"]
    night = "2027-03-13T12:00+00:00"
    assert times("30 2 * * *", "America/New_York", night, 2) == ["03-14 03:00 14 07:00", "03-15 02:30 15 06:30"]
    hourly = ["03-28 01:00 28 00:00", "03-28 03:00 28 01:00", "03-28 04:00 28 02:00"]
    assert times("0 * * * *", "Europe/Paris", "2027-03-27T23:30+00:00", 3) == hourly


def test_in_autumn_an_hour_that_comes_twice_is_taken_once_the_first_time() -> None:
    night = "2027-10-30T12:00+00:00"
    assert times("30 2 * * *", "Europe/Paris", night, 2) == ["10-31 02:30 31 00:30", "11-01 02:30 01 01:30"]
    assert times("30 1 * * *", "Atlantic/Canary", night, 2) == ["10-31 01:30 31 00:30", "11-01 01:30 01 01:30"]
    night = "2027-11-06T12:00+00:00"
    assert times("30 1 * * *", "America/New_York", night, 2) == ["11-07 01:30 07 05:30", "11-08 01:30 08 06:30"]
    between = "2027-10-31T01:00+00:00"  # the second 02:00: 02:30 has already occurred
    assert times("30 2 * * *", "Europe/Paris", between, 1) == ["11-01 02:30 01 01:30"]


def on(*days: str) -> Callable[[date], bool]:
    return {date.fromisoformat(day) for day in days}.__contains__


def test_closed_days_are_kept_skipped_or_shifted_to_the_next_open_one() -> None:
    christmas = on("2026-12-25", "2026-12-26")
    start = "2026-12-24T00:00+00:00"
    daily = [f"12-{day} 09:00 {day} 09:00" for day in range(24, 30)]
    assert times("0 9 * * *", "UTC", start, 6, is_closed=christmas) == daily
    assert times("0 9 * * *", "UTC", start, 4, is_closed=christmas, closed=Closed.SKIP) == [daily[0], *daily[3:]]
    assert times("0 9 * * *", "UTC", start, 4, is_closed=christmas, closed=Closed.SHIFT) == [daily[0], *daily[3:]]
    fridays = ["12-28 09:00 28 09:00", "01-01 09:00 01 09:00"]
    assert times("0 9 * * 5", "UTC", start, 2, is_closed=christmas, closed=Closed.SHIFT) == fridays


@pytest.mark.parametrize(
    ("rule", "lands"),
    {
        "0 9 * * 1,2,3,4,5": "12-28",  # the 25th is a Friday; a weekday rule does not move to the Saturday after it
        "0 9 * * 5": "12-28",
        "0 9 25 * *": "12-28",
        "0 9 * * 5 / 2 weeks from 2026-12-25": "12-28",
        "0 9 * * 5,6": "12-26",  # it names the Saturday
        "0 9 * * 5,0": "12-27",
        "0 9 * * *": "12-26",
        "0 9 25 * 6": "12-28",  # the 25th or a Saturday: a rule with a day of the month allows no weekend
    }.items(),
)
def test_what_moves_never_lands_on_a_weekend_that_the_rule_does_not_name(rule: str, lands: str) -> None:
    found = times(rule, "UTC", "2026-12-25T00:00+00:00", 1, closed=Closed.SHIFT, is_closed=on("2026-12-25"))
    assert found == [f"{lands} 09:00 {lands[-2:]} 09:00"]


def test_a_weekend_is_closed_to_what_names_no_weekday() -> None:
    start = "2026-11-01T12:00+00:00"  # 1 November is a Sunday, and so is the 15th
    assert times("0 9 15 * *", "UTC", start, 1, closed=Closed.KEEP) == ["11-15 09:00 15 09:00"]
    assert times("0 9 15 * *", "UTC", start, 1, closed=Closed.SHIFT) == ["11-16 09:00 16 09:00"]
    assert times("0 9 15 * *", "UTC", start, 1, closed=Closed.SKIP) == ["12-15 09:00 15 09:00"]
    assert times("0 9 * * 0", "UTC", start, 1, closed=Closed.SHIFT) == ["11-08 09:00 08 09:00"]


def test_what_should_have_been_on_closed_days_behind_us_is_found_on_the_day_it_shifts_to() -> None:
    monday = "2026-11-16T08:59+00:00"
    assert times("0 9 15 * *", "UTC", monday, 1, closed=Closed.SHIFT) == ["11-16 09:00 16 09:00"]
    late = "2026-11-16T09:00+00:00"
    assert times("0 9 15 * *", "UTC", late, 1, closed=Closed.SHIFT) == ["12-15 09:00 15 09:00"]


def test_two_that_shift_to_one_day_are_one_and_stay_in_order() -> None:
    rule, start = "0 9,15 * * *", "2026-12-24T23:00+00:00"
    found = times(rule, "UTC", start, 3, closed=Closed.SHIFT, is_closed=on("2026-12-25", "2026-12-26"))
    assert found == ["12-27 09:00 27 09:00", "12-27 15:00 27 15:00", "12-28 09:00 28 09:00"]


def test_c33_what_falls_on_a_closed_day_may_move_to_the_open_day_before_it() -> None:
    """C33: the last days of January and February 2027 are Sundays; no month is left out or repeated."""
    start, month_ends = "2026-12-31T12:00+00:00", on("2027-03-26", "2027-03-29")  # Easter
    found = times("0 9 L * *", "UTC", start, 6, closed=Closed.BEFORE, is_closed=month_ends)
    days = ["01-29", "02-26", "03-31", "04-30", "05-31", "06-30"]
    assert found == [f"{day} 09:00 {day[-2:]} 09:00" for day in days]
    assert times("0 9 28 3 *", "UTC", start, 1, closed=Closed.BEFORE, is_closed=month_ends) == ["03-25 09:00 25 09:00"]


def test_the_day_before_is_at_the_same_wall_clock_whatever_the_offset() -> None:
    sunday = times("0 9 28 3 *", "Europe/Paris", "2027-03-01T00:00+00:00", 1, closed=Closed.BEFORE)
    assert sunday == ["03-26 09:00 26 08:00"]  # the clocks change only on the 28th
    in_the_gap = times(
        "30 2 29 3 *", "Europe/Paris", "2027-03-01T00:00+00:00", 1, closed=Closed.BEFORE, is_closed=on("2027-03-29")
    )
    assert in_the_gap == ["03-26 02:30 26 01:30"]
    named = times(
        "30 2 * * 0,1", "Europe/Paris", "2027-03-27T00:00+00:00", 2, closed=Closed.BEFORE, is_closed=on("2027-03-29")
    )
    assert named == ["03-28 03:00 28 01:00", "04-04 02:30 04 00:30"]  # Monday's moves to Sunday and appears once


def test_what_moves_to_a_day_that_is_behind_us_is_behind_us() -> None:
    friday = "2026-11-13T08:59+00:00"  # the 15th is a Sunday
    assert times("0 9 15 * *", "UTC", friday, 1, closed=Closed.BEFORE) == ["11-13 09:00 13 09:00"]
    for since in ("2026-11-13T09:00+00:00", "2026-11-14T12:00+00:00", "2026-11-15T08:00+00:00"):
        assert times("0 9 15 * *", "UTC", since, 1, closed=Closed.BEFORE) == ["12-15 09:00 15 09:00"]


def test_two_that_move_before_to_one_day_are_one_and_stay_in_order() -> None:
    rule, start = "0 9,15 * * *", "2026-12-24T10:00+00:00"
    found = times(rule, "UTC", start, 3, closed=Closed.BEFORE, is_closed=on("2026-12-25", "2026-12-26"))
    assert found == ["12-24 15:00 24 15:00", "12-27 09:00 27 09:00", "12-27 15:00 27 15:00"]
    weekly = times("0 9 * * 1", "UTC", start, 2, closed=Closed.BEFORE, is_closed=on("2026-12-28", "2026-12-25"))
    assert weekly == ["01-04 09:00 04 09:00", "01-11 09:00 11 09:00"]  # the 28th moves to the 24th, which has passed


@pytest.mark.parametrize("closed", [Closed.SKIP, Closed.SHIFT, Closed.BEFORE])
def test_it_ends_where_every_day_is_closed(closed: Closed) -> None:
    assert times("0 9 * * *", "UTC", "2026-11-24T10:00+00:00", 1, closed=closed, is_closed=lambda day: True) == []


def test_leap_days_come_though_years_apart() -> None:
    rule = Recurrence("0 9 29 2 *")
    found = [one.local.year for one in islice(following(rule, "Europe/Paris", datetime(2095, 1, 1, tzinfo=UTC)), 2)]
    assert found == [2096, 2104]


def test_every_other_week_holds_over_the_turn_of_a_year_of_53_weeks() -> None:
    rule = parse_recurrence("every other monday 9:00", zone="UTC", now=TUESDAY)
    days = [one.local.date() for one in islice(following(rule, "UTC", TUESDAY), 60)]
    assert {(after - before).days for before, after in pairwise(days)} == {14}
    later = datetime(2027, 6, 3, 12, tzinfo=UTC)
    assert next(following(rule, "UTC", later)).local.date() in days


@settings(deadline=None)
@example("every day at 2:30", True)
@given(
    TYPED | st.lists(st.sampled_from(WORDS), min_size=4, max_size=7).map(lambda words: "cron " + " ".join(words)),
    st.booleans(),
)
def test_whatever_is_typed_it_is_a_recurrence_or_a_refusal(typed: str, cron: bool) -> None:
    try:
        rule = parse_recurrence(typed, zone="Europe/Paris", now=TUESDAY, cron=cron)
    except NotATime as refused:
        assert told(refused)  # noqa: PT017 - either is right
        return
    assert Recurrence.of(rule.plain()) == rule
    found = list(islice(following(rule, "Europe/Paris", TUESDAY), 30))
    assert found
    assert all(before.instant < after.instant for before, after in pairwise(found))


# --- against a slow, independent calculation -------------------------------------------------------------------------

YEAR = datetime(2027, 1, 1, tzinfo=UTC)
FIRST_DAY, LAST = date(2027, 1, 2), datetime(2027, 11, 20)  # noqa: DTZ001 - by any wall clock
MINUTES = 368 * 24 * 60
BEFORE = 2 * 24 * 60  # the walk begins two days before the year


@cache
def first_times(zone: str) -> array[int]:
    """Walk through the year; return, for each wall-clock minute, the first UTC minute that shows it, or -1."""
    place, first = ZoneInfo(zone), array("i", [-1]) * (MINUTES + 2 * BEFORE)
    for minute in range(-BEFORE, MINUTES):
        instant = YEAR + timedelta(minutes=minute)
        shown = int((instant.astimezone(place).replace(tzinfo=UTC) - YEAR).total_seconds()) // 60 + BEFORE
        if 0 <= shown < len(first) and first[shown] < 0:
            first[shown] = minute
    return first


def shown_at(wall: datetime, zone: str) -> RecurringTime:
    """Return when the clock first shows `wall`, or the first minute after it if `wall` is skipped."""
    first = first_times(zone)
    index = int((wall.replace(tzinfo=UTC) - YEAR).total_seconds()) // 60 + BEFORE
    while first[index] < 0:
        index += 1
    return RecurringTime(
        (YEAR + timedelta(minutes=index - BEFORE)).replace(tzinfo=None), YEAR + timedelta(minutes=first[index])
    )


def before_last(one: RecurringTime) -> bool:
    return one.local < LAST


NAMES = {
    "en": ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    "fr": ("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"),
    "es": ("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"),
}
NTH = {
    "en": ("first", "second", "third", "fourth", "last"),
    "fr": ("premier", "deuxième", "troisième", "quatrième", "dernier"),
    "es": ("primer", "segundo", "tercer", "cuarto", "último"),
}
Falls = Callable[[date], bool]


def nth_in_month(day: date, weekday: int, nth: int) -> bool:
    """Whether `day` is the `nth` such weekday, by counting through the month; `nth` 4 is the last."""
    month = [day.replace(day=1) + timedelta(days=n) for n in range(31)]
    same = [other for other in month if other.month == day.month and other.weekday() == weekday]
    return day == (same[-1] if nth == 4 else same[nth])


def any_rule(chance: random.Random) -> tuple[str, Falls, bool]:
    """Return a sentence without its hour, the days that it means, and whether it names weekdays."""
    tongue, weekday, number, nth = chance.choice(("en", "fr", "es")), *map(chance.randrange, (7, 28, 5))
    name, ordinal = NAMES[tongue][weekday], NTH[tongue][nth]
    pick = {"en": 0, "fr": 1, "es": 2}[tongue]
    match chance.choice(("daily", "weekly", "other", "nth", "monthly", "last")):
        case "daily":
            return ("every day", "tous les jours", "cada día")[pick], lambda day: True, True
        case "weekly":
            return (f"every {name}", f"chaque {name}", f"cada {name}")[pick], lambda day: day.weekday() == weekday, True
        case "other":
            first = FIRST_DAY + timedelta(days=(weekday - FIRST_DAY.weekday()) % 7)
            typed = (f"every other {name}", f"un {name} sur deux", f"cada 2 semanas el {name}")[pick]
            return typed, lambda day: (day - first).days % 14 == 0, True
        case "nth":
            ways = (
                f"every {ordinal} {name} of the month",
                f"le {ordinal} {name} du mois",
                f"el {ordinal} {name} del mes",
            )
            return ways[pick], lambda day: nth_in_month(day, weekday, nth), True
        case "monthly":
            ways = (
                f"the {number + 1}th of every month",
                f"le {number + 1} de chaque mois",
                f"el {number + 1} de cada mes",
            )
            return ways[pick], lambda day: day.day == number + 1, False
        case _:
            ways = ("last day of the month", "le dernier jour du mois", "el último día de cada mes")
            return ways[pick], lambda day: (day + timedelta(days=1)).day == 1, False


def planned(falls: Falls, clocks: Iterable[time], zone: str, closed: Closed, shut: Falls) -> list[RecurringTime]:
    """Go day by day through the year; drop what falls on a shut day, or move it to the next or previous open day."""
    found = {}
    for day in (FIRST_DAY + timedelta(days=number) for number in range(340)):
        if not falls(day) or (closed is Closed.SKIP and shut(day)):
            continue
        while closed in (Closed.SHIFT, Closed.BEFORE) and shut(day):
            day += timedelta(days=1 if closed is Closed.SHIFT else -1)
        if day < FIRST_DAY:
            continue  # the search starts after it
        for clock in clocks:
            one = shown_at(datetime.combine(day, clock), zone)
            found[one.instant] = one
    return [found[instant] for instant in sorted(found) if found[instant].local < LAST]


@pytest.mark.long
@pytest.mark.parametrize("zone", ["Europe/Paris", "Atlantic/Canary", "America/New_York"])
def test_a_year_of_any_rule_is_as_calculated_day_by_day(zone: str, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(150):
        sentence, falls, named = any_rule(chance)
        clock = time(chance.choice((0, 1, 2, 2, 3, 9, 23)), chance.choice((0, 30, chance.randrange(60))))
        closed = chance.choice(tuple(Closed))
        closed_days = {YEAR.date() + timedelta(days=chance.randrange(2, 360)) for _ in range(chance.randrange(60))}

        def shut(
            day: date, closed_days: set[date] = closed_days, named: Falls | None = falls if named else None
        ) -> bool:
            meant = day.weekday() < 5 or (named is not None and named(day))
            return day in closed_days or not meant

        midnight = datetime.combine(FIRST_DAY, time(), ZoneInfo(zone)).astimezone(UTC) - timedelta(minutes=1)
        rule = parse_recurrence(f"{sentence} {clock:%H:%M}", zone=zone, now=midnight)
        expected = planned(falls, [clock], zone, closed, shut)
        found = following(rule, zone, midnight, closed=closed, is_closed=closed_days.__contains__)
        assert list(takewhile(before_last, found)) == expected, (sentence, clock, closed)


@pytest.mark.long
@pytest.mark.parametrize("zone", ["Europe/Paris", "Atlantic/Canary", "America/New_York"])
def test_a_year_of_cron_with_many_hours_a_day_is_as_calculated_day_by_day(zone: str, seed: int) -> None:
    chance = random.Random(seed)
    midnight = datetime.combine(FIRST_DAY, time(), ZoneInfo(zone)).astimezone(UTC) - timedelta(minutes=1)
    for _ in range(40):
        hours, minute = sorted(chance.sample(range(24), chance.randrange(1, 25))), chance.choice((0, 30, 59))
        weekday, number = chance.randrange(7), chance.randrange(1, 32)
        days, falls, named = chance.choice(
            (
                ("* * *", lambda day: True, True),
                (f"* * {(weekday + 1) % 7}", lambda day, weekday=weekday: day.weekday() == weekday, True),
                (f"{number} * *", lambda day, number=number: day.day == number, False),
                (
                    f"{number} * {(weekday + 1) % 7}",  # either
                    lambda day, number=number, weekday=weekday: day.day == number or day.weekday() == weekday,
                    False,
                ),
            )
        )
        closed = chance.choice(tuple(Closed))
        closed_days = {FIRST_DAY + timedelta(days=chance.randrange(1, 350)) for _ in range(chance.randrange(60))}

        def shut(
            day: date, closed_days: set[date] = closed_days, named: Falls | None = falls if named else None
        ) -> bool:
            meant = day.weekday() < 5 or (named is not None and named(day))
            return day in closed_days or not meant

        typed = f"cron {minute} {','.join(map(str, hours))} {days}"
        rule = parse_recurrence(typed, zone=zone, now=midnight, cron=True)
        expected = planned(falls, [time(hour, minute) for hour in hours], zone, closed, shut)
        found = following(rule, zone, midnight, closed=closed, is_closed=closed_days.__contains__)
        assert list(takewhile(before_last, found)) == expected, (typed, closed)


def test_wherever_one_looks_from_the_same_occurrences_are_ahead(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(60):
        zone = chance.choice(("Europe/Paris", "Atlantic/Canary", "America/New_York", "Pacific/Auckland"))
        closed_days = {FIRST_DAY + timedelta(days=chance.randrange(300)) for _ in range(80)}
        how = {"closed": chance.choice(tuple(Closed)), "is_closed": closed_days.__contains__}
        rule = parse_recurrence(f"{any_rule(chance)[0]} {chance.choice(('1:30', '2:30', '9:00'))}", zone=zone, now=YEAR)
        every = list(islice(following(rule, zone, YEAR, **how), 40))  # type: ignore[arg-type]
        since = every[chance.randrange(30)].instant + timedelta(seconds=chance.randrange(-1, 86400))
        ahead = list(islice(following(rule, zone, since, **how), 5))  # type: ignore[arg-type]
        assert ahead == [one for one in every if one.instant > since][:5], (rule, zone, how, since)
        assert len({one.local for one in every}) == len(every)
