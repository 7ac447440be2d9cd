"""Times as people say them. Each expected instant was worked out on a calendar, never by the grammar itself.

It is Tuesday, 24 November 2026, eleven in the morning in Paris, unless a test says otherwise.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bot.when import NotATime, is_recurrence, parse_recurrence, parse_when

TUESDAY = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
PARIS = "Europe/Paris"


def read(typed: str, zone: str = PARIS, now: datetime = TUESDAY) -> str:
    """The wall clock in the zone, or the code of the refusal."""
    try:
        return f"{parse_when(typed, zone=zone, now=now).local:%Y-%m-%d %H:%M}"
    except NotATime as refused:
        return refused.code


def why(typed: str, now: datetime = TUESDAY) -> str:
    """The sentence of the refusal, in English."""
    parse = parse_recurrence if is_recurrence(typed) else parse_when
    with pytest.raises(NotATime) as refused:
        parse(typed, zone=PARIS, now=now)
    return refused.value.template.format_map(refused.value.values)


#: For each instant the ways to say it.
SAID: dict[str, tuple[str, ...]] = {
    # --- an hour alone is today, if it is ahead ---
    "2026-11-24 12:00": (
        "noon", "at noon", "midday", "today at noon", "12 noon", "12:00", "midi", "à midi", "À MIDI", "a midi",
        "ce midi", "aujourd'hui à midi", "12h", "mediodía", "al mediodía", "al mediodia", "hoy al mediodía",
        "a las 12 del mediodía", "hoy a las 12 del mediodía", "at 12 noon", "à midi pile", "in an hour",
    ),
    "2026-11-24 12:30": (
        "midi et demi", "à midi et demie", "12h30", "à 12h30", "12:30", "half past noon", "mediodía y media",
        "in an hour and a half", "in one and a half hours", "in 1.5 hours", "in 1 1/2 hours",
        "dans une heure et demie", "dans 1h et demie", "dans 1 heure et demie", "dans 1,5 h", "dans 1,5 heure",
        "en una hora y media", "dentro de una hora y media", "en hora y media", "in 1 hr 30 min", "in 1h30m",
        "in 1h 30m", "in ninety minutes", "in 1 hr 30 mins", "dans une heure trente", "in 90 mins", "1h30 from now",
    ),
    "2026-11-24 12:15": (
        "midi et quart", "à midi et quart", "in an hour and a quarter", "dans une heure et quart",
        "en una hora y cuarto", "dans une heure quinze",
    ),
    "2026-11-24 17:00": (
        "5pm", "5 pm", "5PM", "5 p.m.", "at 5pm", "at 5 pm", "@5pm", "5:00 pm", "17:00", "17h", "17 h", "17H", "17h00",
        "à 17h", "a 17h", "à\u00a017\u202fh", "at 17:00", "17 heures", "à 17 heures", "a las 17", "a las 17:00",
        "a las 17h", "a las 5 pm", "a las 5 p. m.", "a las 5 de la tarde", "5 de la tarde", "hoy a las 5 de la tarde",
        "esta tarde a las 5", "esta tarde a las cinco", "a las cinco de la tarde", "5h de l'après-midi",
        "à 5h de l’après-midi", "cet après-midi à 5h", "cet après-midi 5h", "this afternoon at 5",
        "5 in the afternoon", "at 5 in the afternoon", "five pm", "at five pm", "today 5pm", "5pm today",
        "at five o'clock this afternoon", "five in the afternoon", "dix-sept heures", "à dix-sept heures", "5pm sharp",
        "17h pile", "17h précises", "a las 17 en punto", "17:00 hs", "17 hs", "17 hrs", "17:00 hrs",
    ),
    "2026-11-24 17:30": (
        "5:30pm", "5:30 PM", "5.30pm", "5.30 p.m.", "at 5.30pm", "17:30", "17h30", "à 17h30", "17 h 30", "a las 17.30",
        "17.30h", "half past five this afternoon", "half past 5 pm", "a las 5 y media de la tarde",
        "a las cinco y media de la tarde", "cet après-midi à 5h30", "cet après-midi à cinq heures et demie",
        "5h et demie de l'après-midi", "esta tarde a las 5:30", "esta tarde a las cinco y media", "17 heures 30",
        "à 17 heures trente", "five thirty pm", "at five-thirty pm",
    ),
    "2026-11-24 20:00": (
        "ce soir 20h", "ce soir à 20h", "20h ce soir", "à 20h ce soir", "ce soir 8h", "ce soir à 8h", "tonight 8pm",
        "tonight at 8", "tonight at 8pm", "tonight 20:00", "8 tonight", "8pm tonight", "tonight at eight",
        "esta noche a las 8", "esta noche a las ocho", "esta noche a las 20:00", "8h du soir", "à 8h du soir",
        "8 du soir", "a las 8 de la noche", "hoy a las 8 de la noche", "this evening at 8", "this evening 8 o'clock",
        "8 in the evening", "vingt heures", "ce soir à vingt heures", "8 at night", "today at 8 in the evening",
    ),
    "2026-11-24 19:00": (
        "this evening at 7", "tonight at 7", "this evening at seven", "ce soir à 7h", "ce soir à sept heures",
        "7 de la tarde", "esta tarde a las 7", "esta noche a las siete", "7h du soir",
    ),
    "2026-11-24 19:45": (
        "ce soir à 8h moins le quart", "tonight at quarter to eight", "esta noche a las 8 menos cuarto",
    ),
    # --- so long from now ---
    "2026-11-24 11:30": (
        "in half an hour", "in a half hour", "in half hour", "half an hour from now", "In Half An Hour",
        "dans une demi-heure", "dans une demi heure", "dans une demie-heure", "dans 1/2 heure", "en media hora",
        "dentro de media hora", "in thirty minutes", "dans trente minutes", "en treinta minutos",
        "30 minutes from now", "in 30 mins", "dans 30 mn", "dans 30 min.",
    ),
    "2026-11-24 11:15": (
        "in a quarter of an hour", "in quarter of an hour", "dans un quart d'heure", "dans un quart d’heure",
        "en un cuarto de hora", "dentro de un cuarto de hora", "en quince minutos", "in fifteen minutes",
        "dans quinze minutes", "in a quarter hour",
    ),
    "2026-11-24 11:45": (
        "in three quarters of an hour", "dans trois quarts d'heure", "dans trois-quarts d’heure",
        "en tres cuartos de hora", "in forty-five minutes", "in forty five minutes", "dans quarante-cinq minutes",
        "en cuarenta y cinco minutos",
    ),
    "2026-11-24 13:30": (
        "in two and a half hours", "in 2 and a half hours", "in 2.5 hours", "in two hours and a half",
        "dans deux heures et demie", "dans 2h et demie", "en dos horas y media", "dentro de 2 horas y media",
        "dans 2,5 heures",
    ),
    "2026-11-24 11:05": ("in five minutes", "dans cinq minutes", "en cinco minutos", "dentro de cinco minutos"),
    "2026-11-24 11:25": ("in twenty-five minutes", "dans vingt-cinq minutes", "en veinticinco minutos"),
    "2026-11-24 16:00": ("in 5 hrs", "in five hours", "dans cinq heures", "en cinco horas", "five hours from now"),
    "2026-12-08 11:00": (
        "in a fortnight", "in two weeks", "dans deux semaines", "en dos semanas", "two weeks from now",
        "in fourteen days",
    ),
    "2026-12-01 11:00": ("a week from now", "in a week", "dans une semaine", "en una semana", "in seven days"),
    "2026-11-29 09:00": (
        "in five days at 9:00", "dans cinq jours à 9h", "en cinco días a las 9", "dentro de cinco días a las 9",
    ),
    # --- tomorrow ---
    "2026-11-25 17:00": (
        "mañana a las 5 de la tarde", "manana a las 5 de la tarde", "MAÑANA A LAS 5 DE LA TARDE",
        "mañana a las cinco de la tarde", "mañana por la tarde a las 5", "mañana 5 de la tarde",
        "a las 5 de la tarde de mañana", "mañana, a las 5 de la tarde", "demain 5h de l'après-midi",
        "demain après-midi à 5h", "demain dans l'après-midi à 5h", "tomorrow at 5 in the afternoon",
        "tomorrow afternoon at 5", "tomorrow 5 in the afternoon", "mañana en la tarde a las 5",
    ),
    "2026-11-25 21:00": (
        "demain 9h du soir", "demain à 9h du soir", "demain soir 9h", "demain soir à 9h", "demain soir à neuf heures",
        "à 9h demain soir", "9h du soir demain", "Demain 9 H du soir", "demain, 9h du soir", "tomorrow evening at 9",
        "tomorrow night at 9", "tomorrow at 9 in the evening", "mañana a las 9 de la noche",
        "mañana por la noche a las 9", "mañana a la noche a las 9", "tomorrow evening 9:00", "demain soir 21h",
        "tomorrow night at nine o'clock", "demain vingt et une heures", "demain à 21 heures précises",
    ),
    "2026-11-25 09:00": (
        "tomorrow at nine", "tomorrow at nine o'clock", "tomorrow at 9 o'clock", "tomorrow nine am",
        "demain à neuf heures", "demain neuf heures", "mañana a las nueve", "mañana a las nueve de la mañana",
        "mañana en la mañana a las 9", "demain 9h du matin", "demain matin à neuf heures", "tomorrow at 9 sharp",
        "demain 9h pile", "demain à 9 heures précises", "mañana a las 9 en punto", "tomorrow at 9 in the morning",
        "tomorrow 9 in the morning", "demain 9 du matin", "nine o'clock tomorrow morning", "tomorrow at exactly 9:00",
        "in 1 day at nine am", "mañana a las 9 hs", "mañana a las 9:00 hrs", "demain dans la matinée à 9h", "tmrw 9am",
        "Tomorrow, 9 AM",
    ),
    "2026-11-25 09:30": (
        "tomorrow at half past nine", "half past nine tomorrow", "tomorrow half past nine", "tomorrow at half past 9",
        "Tomorrow Half Past Nine", "tomorrow at half past nine in the morning", "tomorrow morning at half past nine",
        "tomorrow at nine thirty", "tomorrow at half-past nine", "demain à 9h et demie", "demain 9h et demie",
        "demain à 9 heures et demie", "demain à neuf heures et demie", "demain à 9h et demi",
        "demain à neuf heures trente", "mañana a las 9 y media", "mañana a las nueve y media",
        "a las 9 y media de mañana", "mañana a las 9 y media de la mañana", "mañana a las nueve y treinta",
        "mañana a las 9.30", "mañana a las 9.30 h", "demain à 9.30", "9h et demie demain", "tomorrow at 9.30am",
    ),
    "2026-11-25 09:15": (
        "tomorrow at quarter past nine", "tomorrow at a quarter past nine", "a quarter past 9 tomorrow",
        "demain à 9h et quart", "demain à neuf heures et quart", "demain 9 heures un quart", "mañana a las 9 y cuarto",
        "mañana a las nueve y cuarto", "tomorrow at nine fifteen", "tomorrow quarter past nine",
        "tomorrow at quarter after nine", "tomorrow at fifteen past nine",
    ),
    "2026-11-25 08:45": (
        "tomorrow at quarter to nine", "a quarter to nine tomorrow", "tomorrow at a quarter to 9",
        "demain à 9h moins le quart", "demain à neuf heures moins le quart", "demain 9h moins quart",
        "mañana a las 9 menos cuarto", "mañana a las nueve menos cuarto", "tomorrow at quarter to nine am",
        "a las nueve menos cuarto de mañana",
    ),
    "2026-11-25 09:40": (
        "tomorrow at twenty to ten", "demain à dix heures moins vingt", "mañana a las diez menos veinte",
    ),
    "2026-11-25 10:10": (
        "tomorrow at ten past ten", "demain à dix heures dix", "mañana a las diez y diez", "demain à 10h10",
    ),
    "2026-11-25 13:30": (
        "tomorrow at half past one in the afternoon", "demain à 1h et demie de l'après-midi",
        "mañana a la una y media de la tarde", "mañana a la 1 y media de la tarde", "tomorrow at half past one pm",
        "demain à treize heures trente", "demain 13h et demie",
    ),
    "2026-11-25 13:00": (
        "mañana a la una de la tarde", "mañana a la 1 de la tarde", "demain à treize heures", "tomorrow at one pm",
    ),
    "2026-11-25 02:00": (
        "mañana a las 2 de la madrugada", "demain 2h du matin", "tomorrow at 2 in the morning",
        "mañana a las dos de la madrugada",
    ),
    "2026-11-25 12:00": (
        "tomorrow 12 noon", "demain, midi", "mañana a las 12 del mediodía", "tomorrow 12:00 noon", "tomorrow midday",
    ),
    "2026-11-25 12:45": (
        "demain à une heure moins le quart de l'après-midi", "tomorrow at quarter to one in the afternoon",
    ),
    "2026-11-26 09:00": (
        "après-demain à neuf heures", "the day after tomorrow at nine am", "pasado mañana a las nueve",
        "in two days at 9:00", "dans deux jours à 9h", "en dos días a las 9", "jeudi 9h", "this thursday 9:00",
        "ce jeudi à 9h", "este jueves a las 9", "thursday this week at 9:00", "jeudi de cette semaine à 9h",
        "el jueves de esta semana a las 9", "jeudi 26 à 9h", "jeudi 26/11 à 9h", "le 26 à 9h", "the 26th at 9:00",
        "el 26 a las 9", "el día 26 a las 9", "on the 26th at 9am", "thursday the 26th at 9:00",
        "el jueves 26 a las 9", "jeudi 26/11 9h",
    ),
    # --- numeric dates: a day above twelve has one reading ---
    "2026-11-25 10:00": (
        "25/11 10h", "25/11 à 10h", "25/11, 10h", "25/11 10:00", "25/11 at 10:00", "on 25/11 at 10am",
        "le 25/11 à 10h", "el 25/11 a las 10", "10h 25/11", "10h le 25/11", "25/11\u00a010h", "mercredi 25/11 10h",
        "mercredi 25/11 à 10h", "le mercredi 25/11 à 10h", "wed 25/11 10:00", "el miércoles 25/11 a las 10",
        "25.11 10h", "25.11. 10:00", "25.11.2026 10:00", "25.11.2026, 10:00", "25.11.2026 10h", "25.11.2026 à 10h",
        "25/11/2026 10:00", "25/11/2026 à 10h", "25/11/2026 10am", "25-11-2026 10:00", "25-11-2026 10h",
        "25\u201111\u20112026 10:00", "2026/11/25 10:00", "2026.11.25 10:00", "2026/11/25 à 10h", "11/25 10:00",
        "11/25/2026 10:00 AM", "11/25/2026 at 10am", "25/11/26 10h", "25/11/26 à 10h", "25 nov. 10h",
        "25-nov-2026 10:00", "25-Nov 10:00", "25 nov 2026, 10:00", "wed 25 nov 10am", "Wed, Nov 25, 10am",
        "mercredi 25 à 10h", "mercredi 25 10h", "el miércoles 25 a las 10", "wednesday 25 at 10:00", "le 25 à 10h",
        "el 25 a las 10", "the 25th at 10am", "wednesday the 25th at 10am", "le mercredi 25 à 10h",
        "le 25 novembre prochain à 10h", "wednesday the 25th of november at ten am", "the 25th of this month at 10:00",
        "le 25 de ce mois à 10h", "el 25 de este mes a las 10",
    ),
    "2026-12-13 09:00": (
        "13/12 9h", "12/13 9:00", "13.12 9h", "13.12.2026 9h", "dimanche 13/12 9h", "13-12-2026 9:00",
        "2026/12/13 9:00",
    ),
    "2026-12-12 09:00": ("12/12 9h", "12/12/2026 9h", "12.12.2026 9:00", "12-12-2026 9h"),  # both ways the same day
    "2026-12-31 09:00": ("31/12 9h", "31.12 9h", "31/12/2026 9h", "12/31 9am", "31/12/26 9h", "jeudi 31/12 9h"),
    "2027-01-15 09:00": ("15/1 9h", "15/01 9h", "1/15 9:00", "15.1. 9h", "15/01/2027 à 9h", "15/1/27 9h"),
    "2028-02-29 09:00": ("29/02/2028 9h", "29.2.2028 9:00", "2/29/2028 9:00"),
    "2026-12-01 09:00": (
        "le premier décembre à 9h", "premier décembre 9h", "december first at 9:00", "the first of december at 9:00",
        "el primero de diciembre a las 9", "2026-12-01 at nine am", "le 1er décembre prochain à 9h", "1-dec-2026 9:00",
        "tuesday december 1st, 9 am", "2026-12-01 08:00 UTC", "2026-12-01T08:00 UTC", "el 1 del mes que viene a las 9",
        "le 1er du mois prochain à 9h", "the 1st of next month at 9:00", "el 1 del próximo mes a las 9",
        "tuesday next week at 9:00", "mardi de la semaine prochaine à 9h", "el martes de la semana que viene a las 9",
        "next week on tuesday at 9:00", "la semaine prochaine, mardi 9h", "mardi semaine prochaine 9h",
        "la semana que viene, el martes a las 9", "el martes de la próxima semana a las 9",
        "le mardi de la semaine prochaine à 9h", "tuesday of next week at 9am", "a week today at 9:00",
        "today week at 9am", "aujourd'hui en huit à 9h", "d'aujourd'hui en huit à 9h", "de hoy en ocho a las 9",
        "a week from today at 9:00", "the coming tuesday at 9:00",
    ),
    # --- weeks on ---
    "2026-12-07 09:00": (
        "lundi en huit 9h", "lundi en huit à 9h", "le lundi en huit à 9h", "à 9h lundi en huit", "Lundi en huit, 9h",
        "monday week 9:00", "monday week at 9am", "a week on monday at 9:00", "on monday week at 9:00",
        "a week from monday at 9:00", "9:00 on monday week", "lundi 7 à 9h", "el lunes 7 a las 9",
        "monday the 7th at 9:00",
    ),
    "2026-12-14 09:00": (
        "lundi en quinze 9h", "lundi en quinze à 9h", "le lundi en quinze à 9h", "9h lundi en quinze",
        "LUNDI EN QUINZE 9H", "a fortnight on monday at 9:00", "monday fortnight at 9am",
        "two weeks from monday at 9:00",
    ),
    "2026-12-02 09:00": (
        "demain en huit à 9h", "tomorrow week at 9:00", "a week tomorrow at 9:00", "de mañana en ocho a las 9",
        "a week from tomorrow at 9am",
    ),
    "2026-12-11 09:00": ("vendredi en quinze à 9h", "a fortnight on friday at 9:00"),
    "2026-11-30 09:00": (
        "the coming monday 9:00", "this coming monday at 9:00", "monday next week 9:00",
        "lundi de la semaine prochaine à 9h", "el lunes de la semana que viene a las 9",
    ),
}  # fmt: skip


SPOKEN = [(typed, meant) for meant, ways in SAID.items() for typed in ways]


@pytest.mark.parametrize(("typed", "meant"), SPOKEN)
def test_what_has_one_reading_is_read_so(typed: str, meant: str) -> None:
    assert read(typed) == meant
    assert not is_recurrence(typed)


AGAIN: dict[str, tuple[str, ...]] = {
    "0 9 * * 1,2,3,4,5": (
        "días laborables 9h", "dias laborables a las 9", "días laborables, 9h", "en semaine 9h", "en semaine à 9h",
        "en semaine, 9h", "9h en semaine", "EN SEMAINE 9H", "en semaine 9:00", "en semaine 9 h", "jours ouvrés 9h",
        "jours ouvrés à 9h", "les jours de semaine à 9h", "chaque jour de semaine à 9h",
        "tous les jours de semaine à 9h", "los días de semana a las 9", "weekday mornings at 9",
        "every weekday morning at nine am", "working days at 9:00", "on working days at 9:00", "business days 9:00",
        "monday thru friday 9am", "lun-ven 9h", "lun-vie 9h", "del lunes al viernes a las 9", "lunes al viernes 9h",
        "du lun. au ven. 9h", "every day except weekends at 9:00", "tous les jours sauf le week-end à 9h",
        "todos los días menos los fines de semana a las 9", "du lundi au vendredi à neuf heures",
        "on weekdays at nine o'clock",
    ),
    "0 9 * * 1,5,6,0": (
        "du vendredi au lundi 9h", "du vendredi au lundi à 9h", "de vendredi à lundi à 9h",
        "à 9h du vendredi au lundi", "friday to monday 9:00", "from friday to monday at 9am",
        "every friday to monday 9:00", "fri-mon 9:00", "every day from friday to monday at 9:00",
        "de viernes a lunes a las 9", "del viernes al lunes a las 9", "friday through monday 9:00",
        "tous les jours du vendredi au lundi 9h",
    ),
    "0 9 * * 6,0": ("saturday to sunday 9:00", "du samedi au dimanche 9h"),
    "0 9 * * 1,0": ("du dimanche au lundi 9h", "sunday to monday 9:00"),
    "0 9 * * 1,2,3,4,5,6": (
        "every day except sunday 9:00", "every day except sundays at 9:00", "every day but sunday at 9:00",
        "every day at 9:00 except sunday", "tous les jours sauf le dimanche 9h", "tous les jours sauf dimanche à 9h",
        "tous les jours à 9h sauf le dimanche", "chaque jour sauf le dimanche à 9h",
        "todos los días excepto el domingo a las 9", "todos los días menos los domingos a las 9",
        "cada día salvo el domingo a las 9",
    ),
    "0 9 * * 1,2,3,4": ("every weekday except friday at 9:00", "tous les jours ouvrés sauf le vendredi à 9h"),
    "0 9 * * *": (
        "once a day at 9:00", "une fois par jour à 9h", "una vez al día a las 9", "quotidiennement à 9h",
        "every day at nine", "tous les jours à neuf heures", "todos los días a las nueve", "every single day at 9:00",
        "every day at 9 o'clock", "each morning at nine",
    ),
    "30 9 * * *": (
        "every day at half past nine", "tous les jours à 9h et demie", "todos los días a las nueve y media",
        "chaque jour à neuf heures trente",
    ),
    "0 20 * * *": (
        "every evening at 8", "chaque soir 8h", "tous les soirs à 8h", "tous les soirs à huit heures",
        "todas las noches a las 8", "every night at 8", "cada noche a las ocho",
    ),
    "0 12 * * *": ("tous les midis", "chaque midi", "every day at 12 noon", "cada mediodía"),
    "30 8 * * 1": (
        "once a week on monday at 8:30", "une fois par semaine le lundi à 8h30",
        "una vez por semana el lunes a las 8:30", "una vez a la semana, el lunes a las 8:30",
        "monday mornings at 8:30", "on monday mornings at 8:30", "les lundis matin à 8h30",
        "tous les lundis matins à 8h30", "los lunes por la mañana a las 8:30", "mondays at half past eight",
        "chaque lundi à 8h et demie", "every monday morning at half past eight", "mondays at 8:30 every week",
        "lundi à 8h30 chaque semaine", "le lundi à 8h30, toutes les semaines", "el lunes a las 8:30 todas las semanas",
        "lundi 8h30 chaque semaine",
    ),
    "0 9 1 * *": (
        "once a month on the 1st at 9:00", "une fois par mois le 1er à 9h", "una vez al mes el día 1 a las 9",
        "on the 1st at 9am every month", "le 1er à 9h chaque mois", "le 1er à 9h de chaque mois",
        "el 1 a las 9 de cada mes",
    ),
    "0 9 L * *": ("on the last day of the month at nine am", "el último día de mes a las 9", "dernier jour du mois 9h"),
    "0 9 * * 1#1,1#3": (
        "first and third monday of the month 9:00", "every 1st and 3rd monday of the month at 9:00",
        "le premier et le troisième lundi du mois à 9h", "les 1er et 3e lundis du mois à 9h",
        "el primer y tercer lunes de cada mes a las 9",
    ),
    "0 9 * * 5L": (
        "último viernes de mes a las 9", "last friday of every month at nine am",
        "le dernier vendredi du mois à neuf heures",
    ),
    "0 9 * * 1 / 2 weeks from 2026-11-30": (
        "every second week on monday 9:00", "une semaine sur deux, le lundi à neuf heures",
        "mondays at 9:00 every 2 weeks", "el lunes a las 9 cada dos semanas", "lundi à 9h une semaine sur deux",
        "every fortnight on monday at nine am",
    ),
    "0 9 * * 1 / 6 weeks from 2026-11-30": (
        "every six weeks on monday 9:00", "toutes les six semaines le lundi à 9h",
        "cada seis semanas el lunes a las 9",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("typed", "plain"), [(typed, plain) for plain, ways in AGAIN.items() for typed in ways])
def test_what_comes_again_and_has_one_reading_is_read_so(typed: str, plain: str) -> None:
    assert parse_recurrence(typed, zone=PARIS, now=TUESDAY).plain() == plain
    assert is_recurrence(typed)
