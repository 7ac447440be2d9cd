"""Recurrences from what people type, in three languages."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice, pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.when.recurrence import Closed, Recurrence, following
from bot.when.recurrence_parser import is_recurrence, parse_recurrence
from bot.when.refusals import NotATime
from tests.support.times import TUESDAY, TYPED, WORDS, on, told

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
    assert "every day at 9:00" in told(refused.value)
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
