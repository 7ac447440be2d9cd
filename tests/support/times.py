"""What tests of times share: the day they start from, and the words they make phrases of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime

from hypothesis import strategies as st

from bot.when.refusals import NotATime

TUESDAY = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)  # 11:00 in Paris


def told(refused: NotATime) -> str:
    """Return the sentence that the person sees."""
    return refused.template.format_map(refused.values)


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


def on(*days: str) -> Callable[[date], bool]:
    return {date.fromisoformat(day) for day in days}.__contains__
