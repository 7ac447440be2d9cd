"""What a person typed as a time or as a recurrence, in English, French or Spanish, and the instants that come of it.

A strict grammar: what it does not know it refuses. Date-text libraries were tried and guess ("demain 9h" became
19:00); a send at a guessed hour cannot be taken back.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import MINYEAR, UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import count, product, takewhile
from typing import Literal, TypeVar
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

FURTHEST = timedelta(days=731)
NEEDS_ITS_YEAR = timedelta(days=330)  # a date without a year this far ahead was probably meant to be the one just gone
PATIENCE = 8 * 366  # days: a rule that nothing comes of for so long has ended. Leap days may be eight years apart
MOST_WEEKS = 26
LONGEST = 200  # characters
MOST_WORDS, LONGEST_HOUR = 24, 6  # words of a phrase, and of the hour in it
GOES_ON = 5  # words of a text that may still be of the time before it

EXAMPLES = ("2026-12-01 09:00", "tomorrow 9:00", "demain 9h", "lundi 8h30", "mañana a las 9", "in 20 minutes")
RECURRING = (
    "every day at 9:00",
    "every 2 weeks on friday 14:00",
    "chaque lundi à 9h",
    "le 1er de chaque mois à 9h",
    "de lunes a viernes a las 9",
    "el último viernes de cada mes a las 9",
)

DAYS_AHEAD = {
    **dict.fromkeys(("yesterday", "hier", "ayer"), -1),
    **dict.fromkeys(("today", "aujourd'hui", "hoy"), 0),
    **dict.fromkeys(("tomorrow", "tmrw", "demain", "manana"), 1),
    **dict.fromkeys(("apres-demain", "apres demain", "pasado manana", "the day after tomorrow"), 2),
    "day after tomorrow": 2,
}
WEEKDAYS = {
    name: index
    for index, names in enumerate(
        (
            ("monday", "mon", "lundi", "lun", "lunes"),
            ("tuesday", "tue", "tues", "mardi", "martes"),  # no mar: it is also March
            ("wednesday", "wed", "weds", "mercredi", "mer", "miercoles", "mie"),
            ("thursday", "thu", "thur", "thurs", "jeudi", "jeu", "jueves", "jue"),
            ("friday", "fri", "vendredi", "ven", "viernes", "vie"),
            ("saturday", "sat", "samedi", "sam", "sabado", "sab"),
            ("sunday", "sun", "dimanche", "dim", "domingo", "dom"),
        )
    )
    for name in names
}
MONTHS = {
    name: index
    for index, names in enumerate(
        (
            ("january", "jan", "janvier", "janv", "enero", "ene"),
            ("february", "feb", "fevrier", "fevr", "fev", "febrero"),
            ("march", "mars", "marzo"),  # no mar: it is also Tuesday, mardi and martes
            ("april", "apr", "avril", "avr", "abril", "abr"),
            ("may", "mai", "mayo"),
            ("june", "jun", "juin", "junio"),
            ("july", "jul", "juillet", "juill", "juil", "julio"),
            ("august", "aug", "aout", "agosto", "ago"),
            ("september", "sep", "sept", "septembre", "septiembre", "setiembre"),
            ("october", "oct", "octobre", "octubre"),
            ("november", "nov", "novembre", "noviembre"),
            ("december", "dec", "decembre", "diciembre", "dic"),
        ),
        start=1,
    )
    for name in names
}
UNITS = {
    **dict.fromkeys(("min", "mins", "mn", "minute", "minutes", "minuto", "minutos"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "heure", "heures", "hora", "horas"), 3600),
    **dict.fromkeys(("day", "days", "jour", "jours", "dia", "dias"), 86400),
    **dict.fromkeys(("week", "weeks", "semaine", "semaines", "semana", "semanas"), 7 * 86400),
    "fortnight": 14 * 86400,
}

#: For each language its numbers from one on, its tens from twenty on, and what stands between a ten and a one.
COUNTED = (
    (
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen",
        "twenty thirty forty fifty sixty seventy eighty ninety",
        ("-",),
    ),
    (
        "un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept dix-huit "
        "dix-neuf",
        "vingt trente quarante cinquante soixante",
        ("-", "-et-"),
    ),
    (
        "uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciseis diecisiete "
        "dieciocho diecinueve veinte veintiuno veintidos veintitres veinticuatro veinticinco veintiseis veintisiete "
        "veintiocho veintinueve",
        "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
        ("-y-",),
    ),
)


def _numbers(units: str, tens: str, joints: Iterable[str]) -> Iterator[tuple[str, int]]:
    names = units.split()
    yield from zip(names, count(1), strict=False)
    for ten, name in enumerate(tens.split(), start=2):
        yield name, 10 * ten
        for joint, (one, unit) in product(joints, enumerate(names[:9], start=1)):
            yield f"{name}{joint}{unit}", 10 * ten + one


ENGLISH, FRENCH, SPANISH = (dict(_numbers(*counted)) for counted in COUNTED)
FRENCH |= {"une": 1, "vingt-et-une": 21, "quatre-vingt-dix": 90}
SPANISH |= {"un": 1, "una": 1, "veintiun": 21, "veintiuna": 21}
NUMBERS = {**ENGLISH, **FRENCH, **SPANISH, "a": 1, "an": 1}  # a space may stand for each hyphen


def _any_of(names: Iterable[str]) -> str:
    """A pattern of any of these, the longest first."""
    return "|".join(sorted(names, key=len, reverse=True)).replace("-", "[- ]")


def _number(typed: str) -> int:
    return int(typed) if typed.isdigit() else NUMBERS[typed.replace(" ", "-")]


#: Parts of a day and the hours of a 24-hour clock that they hold.
PARTS = {
    **dict.fromkeys(("morning", "matin", "mat", "matinee", "manana"), range(12)),
    "madrugada": range(7),
    "mediodia": range(12, 16),
    **dict.fromkeys(("afternoon", "apres-midi", "apres midi", "aprem"), range(12, 19)),
    "tarde": range(12, 21),
    **dict.fromkeys(("evening", "soir", "soiree"), range(17, 24)),
    **dict.fromkeys(("night", "noche"), range(18, 24)),
}
#: An hour of these needs no part of the day to be the morning's: `half past nine` at night is said with its night.
OF_THE_MORNING = range(8, 12)
OF_A_CLOCK = (*OF_THE_MORNING, *range(13, 24))  # `2h` alone is in two hours to some, `9h` and `17h` to nobody

ISO = re.compile(  # `2026-12-01 9:00-10` is no offset of ten hours
    r"^(?!.{10} .*[+-][0-9]{2}$)"
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[t ]([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:\.[0-9]{1,9})?)?"
    r" ?(z|utc|[+-][0-9]{2}(?::?[0-9]{2})?)?$"
)
YEAR_FIRST = re.compile(r"\b(?P<year>[0-9]{4})(?P<mark>[/.-])(?P<month>[0-9]{1,2})(?P=mark)(?P<day>[0-9]{1,2})\b")
FOR = re.compile(r"^(?:for |pour |para )(?!in |dans |en )(?=the |[a-z]* ?[0-9]|le [0-9]|el |on )")
ON_THE = re.compile(r"^(?:on |le |el |del )")
NUMERIC_DATE = re.compile(
    r"^(?:on |le |el |del )?(?P<date>(?P<one>[0-9]{1,2})(?P<first>er(?=/))?(?:[/.](?P<other>[0-9]{1,2})\.?"
    r"|(?P<mark>[/.-])(?P<another>[0-9]{1,2})(?P=mark)(?P<year>[0-9]{4}|[0-9]{2})))$"
)

# How long: "two hours and a half", "1h30", "3 days".
_NUMBER = rf"(?:(?P<digits>[0-9]{{1,4}}) ?|(?P<number>{_any_of(NUMBERS)}) )"
_HOUR_UNITS = "|".join(name for name, seconds in UNITS.items() if seconds == 3600)
_MINUTES = _any_of(name for name, number in NUMBERS.items() if 1 < number < 60)
_FIVES = _any_of(name for name, number in NUMBERS.items() if number in range(5, 60, 5))
FRACTIONS = {
    **dict.fromkeys(("half", "a half", "demi", "demie", "media"), 30),
    **dict.fromkeys(("quarter", "a quarter", "quart", "un quart", "le quart", "cuarto", "un cuarto"), 15),
}
PIECES = {
    **dict.fromkeys(("half an hour", "a half hour", "half hour", "1/2 hour", "media hora"), 30),
    **dict.fromkeys(("une demi heure", "une demie heure", "1/2 heure", "une 1/2 heure"), 30),
    **dict.fromkeys(("a quarter of an hour", "quarter of an hour", "a quarter hour", "un quart d'heure"), 15),
    **dict.fromkeys(("un cuarto de hora", "cuarto de hora"), 15),
    **dict.fromkeys(("three quarters of an hour", "trois quarts d'heure", "3/4 d'heure", "tres cuartos de hora"), 45),
    "hora y cuarto": 75,
    "hora y media": 90,
}
AHEAD = re.compile(
    r"^(?:(?:in|dans|en|dentro de) (?P<length>.+?)(?:(?<= hour| week)'s time|(?<=s)'? time)?"
    r"|(?P<from_now>.+) from now)$"
)
SPAN = re.compile(rf"^{_NUMBER}(?P<unit>[a-z]+)$")
HOURS_MINUTES = re.compile(
    rf"^{_NUMBER}(?:{_HOUR_UNITS})(?:(?: (?:and|et|y))? ?"
    rf"(?P<minutes>[0-5][0-9]|[0-9](?= ?m)|{_FIVES}|(?:{_MINUTES})(?= m))(?: ?(?:m|mn|mins?|minutes?|minutos?))?"
    rf"| (?:and|et|y) (?P<fraction>{_any_of(FRACTIONS)}))$"
)
HALVES = re.compile(  # none but .5: an hour and 25 minutes may be written 1.25 too
    rf"^(?:(?P<digits>[0-9]{{1,3}})(?:[.,]5| 1/2| and a half)|(?P<number>{_any_of(NUMBERS)}) and a half)"
    rf" ?(?:{_HOUR_UNITS})$"
)
DAYS_HOURS = re.compile(  # two days and three hours, or the hour of that day?
    rf"^(?:in|dans|en|dentro de) {_NUMBER}(?:{'|'.join(name for name, seconds in UNITS.items() if seconds > 3600)}),? "
    rf"(?P<typed>(?P<hour>[0-9]{{1,2}}|{_any_of(NUMBERS)}) ?(?:{_HOUR_UNITS})(?: ?(?P<minute>[0-5][0-9]))?)$"
)

# An hour: "9h30", "at 9.30 pm", and as it is spoken: "half past nine", "neuf heures et quart", "a las nueve y media".
CLOCK = re.compile(
    r"^(?P<at>(?:at|a|a las|a la) |@ ?)?(?P<hour>[0-9]{1,2})"
    r"(?P<form>[:.](?P<minute>[0-9]{2})(?P<mark> ?h(?:rs?|s)?|(?<=[0-9]{2}:[0-9]{2}) (?:horas|hours|heures))?"
    r"| ?(?:h(?:rs?|s)?|heures?|horas?)(?: ?(?P<after_h>[0-9]{2}))?"
    r"|(?:[:.](?P<of_half>[0-9]{2}))? ?(?P<half>[ap])\.? ?m\.?)?$"
)


HALF = r"(?: ?(?P<half>[ap])\.? ?m\.?)?"


def _spoken(numbers: Mapping[str, int], last: int, pattern: str) -> re.Pattern[str]:
    """The pattern with the hours of a language up to `last` and its minutes, of which people say the fives; `<many>`
    may follow an hour bare, which ten may not: it may be an hour too."""
    hours = _any_of(name for name, number in numbers.items() if number <= last and name != "un")
    minutes = _any_of(name for name, number in numbers.items() if number in range(5, 60, 5))
    many = _any_of(name for name, number in numbers.items() if number in range(15, 60, 5))
    filled = pattern.replace("<hour>", f"(?P<hour>[0-9]{{1,2}}|{hours})").replace("<minutes>", minutes)
    return re.compile(filled.replace("<many>", many) + "$")


#: English, French and Spanish, each with its own words: `at once` is no hour, though `a las once` is one.
SPOKEN = (
    _spoken(
        ENGLISH,
        12,
        r"^(?P<at>(?:at |@ ?))?(?:(?P<before>half(?=[- ]past)|(?:a )?quarter|<minutes>"
        r"|(?:5|10|20|25)(?= past| minutes[- ]))(?: minutes)?[- ]"
        r"(?P<side>past|after|to) )?(?:<hour>(?P<form> o'clock|(?<![0-9])[- ](?P<after><many>))?"
        r"|(?P<noon>(?:12(?::00)? )?(?:noon|midday)))" + HALF,
    ),
    _spoken(
        FRENCH,
        23,
        r"^(?P<at>a |at |@ ?)?(?:<hour>(?P<form> ?(?:h|heures?))|(?P<noon>midi))"
        r"(?:(?: (?P<side>et|moins))? (?P<before>(?<=et )demie?|(?:(?<=et )|(?<=moins )|un |le )quart|<minutes>"
        r"|(?<=moins )(?:5|10|20|25)))?",
    ),
    _spoken(
        SPANISH,
        23,
        r"^(?P<at>a las? |al |a (?=mediodia))?(?:<hour>(?P<form> ?(?:h|horas?))?|(?P<noon>mediodia))"
        r"(?: (?P<side>y|menos) (?P<before>(?<=y )media|(?:un )?cuarto|<minutes>"
        r"|(?<=menos )(?:5|10|20|25))|(?<![0-9]) (?P<after><many>))?"
        r"(?(at)|(?<!h)(?<!hora)(?<!horas))" + HALF,
    ),
)
BARE_HOUR = re.compile(rf"\b([0-9]{{1,2}}|{_any_of(name for name, number in ENGLISH.items() if number <= 12)})$")
AT = r"at \1"  # which makes an hour of it
MIDNIGHT = re.compile(r"\b(?:midnight|minuit|medianoche)\b")
EXACTLY = re.compile(r" ?\b(?:exactly|sharp|pile|exactement|precises?|en punto)\b")
DOTTED_HOUR = re.compile(  # without a word or a mark that says it is an hour
    r"(?<!\bat )(?<!\ba )(?<!las )(?<!\bla )(?<!@ )(?<![0-9./@])([01]?[0-9]|2[0-3])\.([0-5][0-9])$"
)
_PART = "|".join(PARTS)
PART = re.compile(
    r"(?:^| )(?P<of>(?:in the|at|le|au|du|del|de|por la|de la|en la|a la|dans la|en) |(?:de |dans )?l')?"
    rf"(?P<part>(?:{_PART})(?<!manana)(?<!mediodia)|(?<=del )mediodia"
    r"|(?:(?<=in the )|(?<=por la )|(?<=de la )|(?<=en la )|(?<=a la ))manana)(?= |,|$)"  # else it is tomorrow
)
THIS_PART = re.compile(rf"\b(?:this|ce|cet|cette|esta) ({_PART})\b")
EACH_PART = re.compile(
    r"\b(?:(?:every|each) (morning|afternoon|evening|night)"
    r"|(?:chaque|tous les|toutes les) (matin|matinee|apres[- ]midi|soir|soiree)"
    r"|(?:cada|todas las) (manana|tarde|noche|madrugada))s?\b"
)
EACH_NOON = re.compile(r"\b(?:every noon|chaque midi|tous les midis|cada mediodia)$")
_SURE_HOUR = (
    r"(?:at |a |a las |@ ?)?[0-9]{1,2}(?:(?::[0-9]{2})?(?: ?[ap]\.?m\b)|:[0-9]{2}| ?h(?:[0-9]{2})?)(?![0-9:/.-])"
)
#: `monday@9am`, `lundi - 9h`, `Thursdays: 9am`
JOINED = re.compile(rf"(\b[a-z]{{3,}}\.?|\b[0-9]{{4}})(?: - | ?: ?|(?=@))(?={_SURE_HOUR})")
COMMA = re.compile(r"(?: ?,)+ ?")
HYPHENS = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-")  # as telephones and web pages have them
ACCENTS = dict.fromkeys(map(ord, "\u0300\u0301\u0302\u0303\u0308\u0327"))  # no others: a struck-out digit is no digit

# A day.
_WEEKDAYS = "|".join(WEEKDAYS)
_DAY = rf"(?P<day>(?:{'|'.join(DAYS_AHEAD)})|(?:{_WEEKDAYS})\.?)"
_WEEKDAY = rf"(?P<weekday>{_WEEKDAYS})\.?"
#: Days of a month in words. They need their article: `dix heures vingt cinq décembre` may be the 5th.
_FIRSTS = "first second third fourth fifth sixth seventh eighth ninth"
_TEENTHS = (
    "tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
)
DAY_NAMES = {
    **{name: number for name, number in (FRENCH | SPANISH).items() if number <= 31},
    **dict(zip(f"{_FIRSTS} {_TEENTHS}".split(), count(1), strict=False)),
    **{f"twenty-{name}": number for number, name in enumerate(_FIRSTS.split(), start=21)},
    "thirtieth": 30,
    "thirty-first": 31,
    "premier": 1,
    "primero": 1,
}
DAY_MONTH = re.compile(
    r"^(?:on |le |el |del |el dia )?(?:the )?"
    rf"(?P<day>[0-9]{{1,2}}|first|premier|primero|(?:(?<=\ble )|(?<=el )|(?<=the ))(?:{_any_of(DAY_NAMES)}))"
    r"(?:er|st|nd|rd|th|r?o)?"
    r"(?: de| of)?[ -](?P<month>[a-z]+)\.?(?:(?:,? |-)(?:del? |of )?(?P<year>[0-9]{4})| prochain| proximo)?$"
)
MONTH_DAY = re.compile(
    r"^(?:on )?(?P<month>[a-z]+)\.? (?:the )?(?P<day>[0-9]{1,2}|first)(?:st|nd|rd|th)?(?:,? (?P<year>[0-9]{4}))?$"
)
ONE_DAY = re.compile(rf"^(?:{_any_of(DAYS_AHEAD)})\b|\b(?:{_any_of(DAYS_AHEAD)})$")
AHEAD_AND_DAY = re.compile(rf"^(?P<ahead>{_any_of(DAYS_AHEAD)}),? (?P<other>(?!(?:{_any_of(DAYS_AHEAD)})\b).+)$")
WEEKDAY_DATE = re.compile(rf"^(?:on |le |el |del )?{_WEEKDAY},? (?P<date>.+)$")
WEEKDAY_NUMBER = re.compile(
    rf"^(?:on |le |el |del )?{_WEEKDAY},? (?:the |le |el )?(?P<number>[0-9]{{1,2}})(?:er|st|nd|rd|th)?$"
)
WEEKS_ON = {
    **dict.fromkeys(("en huit", "en 8", "en ocho", "week", "a week"), 1),
    **dict.fromkeys(("en quinze", "en 15", "en quince", "fortnight", "a fortnight", "two weeks"), 2),
}
_THIS_WEEK = "this week|cette semaine|esta semana"
_NEXT_WEEK = "next week|(?:la )?semaine prochaine|la semana que viene|la proxima semana|la semana proxima"
_NUMBERED = r"(?P<number>[0-9]{1,2}|first|premier|primero)(?:er|st|nd|rd|th|r?o)?"
_THIS_MONTH = " of this month| de ce mois| de este mes"
_NEXT_MONTH = " of next month| du mois prochain| del proximo mes| del mes (?:que viene|proximo)"
#: What may follow an hour, and says of what comes again how often, or on which days not.
HOW_OFTEN = re.compile(
    r"(?:except|but|sauf|excepto|salvo|menos|every|each|weekly|monthly|chaque|toutes|tous|de chaque|une semaine sur"
    r"|cada|todas|todos|de cada|of the month|of every month|of each month|du mois|del mes|on|le|les|el|los)\b"
)

JOINTS = "([-–—,: "  # what may stand between a time and the rest of it
LEFT_BEHIND = re.compile(
    r"(?:(?i:utc|gmt)(?:[+-][0-9]{1,2}(?::?[0-9]{2})?)?|[ECMP][SD]T|CES?T|BST|WES?T|EES?T"
    r"|[+-](?:0[0-9]|1[0-4]):[0-5][0-9]|[+-]0[0-9][03]0|Z"
    r"|(?:Europe|America|Asia|Africa|Australia|Pacific|Atlantic|Indian)/[A-Za-z_]+"
    r"|(?i:heure) (?:locale|fran[cç]aise|de [A-Z]\w+|d['’][A-Z]\w+)|(?i:hora) (?:local|peninsular|española|de [A-Z]\w+)"
    r"|(?i:paris|madrid|london|berlin|brussels|geneva|lisbon|dublin|new york|montreal|chicago|los angeles|local|my|our"
    r"|your|eastern|central|mountain|pacific|uk|french|spanish|european) time"
    r"|(?i:[ap]\.?m\.?|in the (?:morning|afternoon|evening)|at night|du (?:matin|soir)|de l['’]apr[eè]s[ -]midi"
    r"|de la (?:mañana|tarde|noche|madrugada)|por la (?:mañana|tarde|noche)))(?![\w+-])"
)
HOW_LONG = re.compile(r"^(?:in|dans|dentro de)\b|^en (?:[0-9]|media|una?|un cuarto)\b")
#: Why it was not understood, where that can be told.
HINTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"\b(?:until|till|jusqu'|hasta)"),
        "Its end is an option before the text: until=2027-01-31. Write the rest like: {examples}.",
    ),
    (
        re.compile(r"\b(?:starting|beginning) (?:on |in )?[a-z0-9]|\ba partir (?:du|de|del|d')\b"),
        "It starts with the next such day: ask on the day from which it should start. Write the rest like: {examples}.",
    ),
    (
        re.compile(r"(?<![0-9:/.-])\b(?!202[6-9])(?:[01][0-9]|2[0-3])[0-5][0-9]$"),
        "Write the hour with a colon, like 17:00 for 1700: {examples}.",
    ),
    (
        re.compile(r"\b(?:holidays?|feries?|festivos?)\b"),
        "Holidays are an option before the text: holidays=skip. Write the rest like: {examples}.",
    ),
    (
        re.compile(
            r"\b(?:last|first) (?:working|business|week) ?day of\b|\b(?:dernier|premier) jour ouvre\b"
            r"|\b(?:ultimo|primer) dia (?:laborable|habil)\b"
        ),
        "Write “last day of the month” with the option holidays=before, or the first with holidays=shift: {examples}.",
    ),
    (
        re.compile(r"\bend of (?:the|every|each) month\b|\bfin (?:de|du|del) (?:chaque |cada )?(?:mois|mes)\b"),
        "Write “last day of the month”, or the day that you mean, like: {examples}.",
    ),
    (
        re.compile(
            r"(?<![0-9-])[0-9]{1,2}(?:h|:[0-9]{2}|h[0-9]{2})? ?(?:am|pm)? ?(?:and|et|y|or|ou|o|to|-|/|,) ?"
            r"(?:at |a |a las )?[0-9]{1,2}(?:h|:| ?am| ?pm|$)"
            r"|\b(?:twice|two times|deux fois|dos veces) (?:a|par|al|cada) (?:day|jour|dia)"
        ),
        "One hour at a time: ask once for each, like: {examples}.",
    ),
    (
        re.compile(
            r"[0-9hm] ?(?:z|(?:utc|gmt)(?: ?[+-][0-9:]{1,5})?|cet|cest|est|edt|pst|bst|\[?[a-z]+/[a-z_]+\]?"
            r"|[+-][0-9]{2}:[0-9]{2})$|(?:[0-9]h?|[ap]m) (?:heure (?:locale|de [a-z]+)|hora (?:local|de [a-z]+)"
            r"|(?!min|hour|day|week)(?:[a-z]+ )?[a-z]+ time)$"
        ),
        "No zone goes there. Leave it out for your own, or write it so: 2026-12-01T09:00+01:00. {examples}.",
    ),
    (
        HOW_LONG,
        "Write how long in whole minutes, hours, days or weeks, like “in 90 minutes”: {examples}.",
    ),
    (
        re.compile(
            r"^(?:now|right now|at once|right away|asap|immediately|maintenant|tout de suite|immediatement"
            r"|ahora|ahora mismo|ya|en seguida|enseguida)$"
        ),
        "To send at once, leave the time out. Else write it like: {examples}.",
    ),
    (
        re.compile(rf"\bhalf (?:[0-9]|{'|'.join(name for name, number in ENGLISH.items() if number <= 12)})\b"),
        "“Half nine” is 9:30 to some and 8:30 to others. Write hours and minutes, like: {examples}.",
    ),
    (
        re.compile(rf"\b(?:this|ce|este) (?:{_WEEKDAYS})\b"),
        "Write the day alone for the first one ahead, or its date, like: {examples}.",
    ),
    (
        re.compile(
            r"\b(?:next (?:week|month)|(?:semaine|mois) prochaine?|proxim[oa] (?:semana|mes)"
            r"|(?:semana|mes) que viene)\b"
        ),
        "On which day? Write the day with its hour, like: {examples}.",
    ),
    (
        re.compile(r"\b(?:next|prochaine?|proxim[oa]|siguiente|(?:que|qui) viene?t?)\b"),
        "“Next” skips a week to some and not to others. Write the date, or the day alone for the first one ahead, "
        "like: {examples}.",
    ),
    (
        re.compile(r"\bbi-?weekly\b|\bbimensuel|\bbimensual|\bbi-?hebdo|\bquincenal"),
        "That is twice as often to some as to others. Write “every 2 weeks on monday”, or name the days: {examples}.",
    ),
    (
        re.compile(
            r"\b(?:every (?:second|third|fourth|[2-5](?:nd|rd|th))"
            r"|chaque (?:deuxieme|troisieme|quatrieme|[2-5]e(?:me)?)"
            rf"|cada (?:segundo|tercer|cuarto)) (?:{_WEEKDAYS})s?\b"
        ),
        "Every so many weeks, or once a month? Write “every 2 weeks on monday” or “second monday of the month”: "
        "{examples}.",
    ),
    (
        re.compile(r"\bjours de la semaine\b|\bdias de la semana\b|\bdays of the week\b"),
        "That is five days to some and seven to others. Write “every day” or “monday to friday”: {examples}.",
    ),
    (
        re.compile(r"\bjours? ouvrables?\b|\bdias? habil(?:es)?\b"),
        "Saturday is one of them to some and not to others. Write “monday to friday” or “monday to saturday”: "
        "{examples}.",
    ),
    (
        re.compile(
            rf"\b(?:{_WEEKDAYS})s?\b.*\b(?:{_WEEKDAYS})s?\b|\b(?:except|but not|sauf|excepto|salvo)\b|\bdias menos\b"
            r"|\b(?:twice|two times|deux fois|dos veces) (?:a|par|por|al|a la) (?:week|semaine|semana|month|mois|mes)\b"
        ),
        "Several days? Write “every monday and thursday” or “monday to friday”, or ask once for each: {examples}.",
    ),
    (
        re.compile(r"\bnuit\b|\b(?:in|during) the night\b"),
        "A night belongs to two days. Write the day with its hour, like: {examples}.",
    ),
    (
        re.compile(
            r"\b(?:around|about|by|(?<!day )before|after|between|vers"
            r"|avant(?!-)|(?<!d')apres(?![ -](?:demain|midi)\b)|entre(?! semana)"
            r"|sobre|hacia|antes|despues|end of (?:the )?day|eod|fin de journee|lunchtime|first thing)\b"
        ),
        "Write one exact hour, like: {examples}.",
    ),
    (re.compile(r"\bmar\b"), "“mar” is March to some and Tuesday to others. Write it whole, like: {examples}."),
)


class NotATime(Exception):
    """What was typed is no instant; `code` says why and `template` with `values` is the sentence for the person."""

    def __init__(self, code: str, template: str, **values: str) -> None:
        super().__init__(code)
        self.code, self.template, self.values = code, template, {"examples": ", ".join(EXAMPLES), **values}


@dataclass(frozen=True)
class When:
    """An instant (UTC) as somebody in `zone` meant it. `first_of_two`: that hour comes twice, and it is the first."""

    instant: datetime
    zone: str
    first_of_two: bool = False

    @property
    def local(self) -> datetime:
        return self.instant.astimezone(ZoneInfo(self.zone))


def parse_when(typed: str, *, zone: str, now: datetime) -> When:
    """The instant that was typed, without an offset in this zone. Raises NotATime, and never guesses.

    A weekday is the next such day that is still ahead at that hour, today included; an hour alone is today's.
    """
    plain = _plain(typed)
    if match := ISO.match(plain):
        when = _iso(match, zone)
    elif (length := _length(plain)) is not None:
        when = _so_long_from(now, length, zone, in_days=_in_days(plain) is not None)
    else:
        when = _day_and_hour(plain, zone, now)
    return _within_reach(when, now)


def names_a_part(typed: str) -> bool:
    """Does it name a part of the day, as `monday morning` does?"""
    return PART.search(_plain(typed).replace("tonight", "this evening")) is not None


def goes_on(typed: str, text: str, *, zone: str, now: datetime) -> str | None:
    """The longest time that this and the first words of the text are together, if any: `17h` before `demain …`."""
    if ISO.match(_plain(typed)):
        return None
    words = text.lstrip(JOINTS).split()[:GOES_ON]
    for many in range(len(words), 0, -1):
        longer = f"{typed} {' '.join(words[:many])}".rstrip(":,.;!?)]")
        try:
            parse_when(longer, zone=zone, now=now)
        except NotATime as error:
            if error.code in ("not_understood", "no_hour", "written"):
                continue
        return longer
    return None


def left_behind(text: str) -> str | None:
    """The zone, or the part of the day, with which a text begins though it belongs to the time before it."""
    match = LEFT_BEHIND.match(text.lstrip(JOINTS))
    return match[0] if match else None


def _plain(typed: str) -> str:
    """Lower case, straight apostrophes, single spaces, no accents, no quotes around it: what the tables speak."""
    if len(typed) > LONGEST or any(char.isnumeric() and not char.isascii() for char in typed):
        raise _not_understood()  # 9² would become 92
    text = typed.strip(' \t\n\u00a0\u202f"“”„«»').rstrip(".,;! ").lower().replace("’", "'").replace("‘", "'")
    text = unicodedata.normalize("NFKD", text).translate(ACCENTS).translate(HYPHENS)
    return JOINED.sub(r"\1 ", re.sub(r"\s+", " ", text).strip())


def _iso(match: re.Match[str], zone: str) -> When:
    year, month, day, hour, minute = (int(part) for part in match.groups()[:5])
    offset = match[7]
    try:
        local = datetime(year, month, day, hour, minute, int(match[6] or 0))  # noqa: DTZ001 - its zone comes next
        if offset is None:
            return _in_zone(local, zone)
        written = "+00:00" if offset in ("z", "utc") else offset
        return When(_instant(datetime.fromisoformat(f"{local.isoformat()}{written}")), zone)
    except ValueError:
        raise _no_such_time() from None


# --- so long from now ------------------------------------------------------------------------------------------------


def _so_long_from(now: datetime, length: timedelta, zone: str, *, in_days: bool) -> When:
    """Days over a clock change are refused: the same hour then, or so many times 24 hours?"""
    when = When(now.astimezone(UTC) + length, zone)
    if in_days and when.local.utcoffset() != now.astimezone(ZoneInfo(zone)).utcoffset():
        raise NotATime("ambiguous", "The clocks change before then. Write the day with its hour, like: {examples}.")
    return when


def _length(plain: str) -> timedelta | None:
    """`in two and a half hours`, `dans 3 jours`, `media hora` from now; None for what is no length. Raises NotATime."""
    ahead = AHEAD.match(plain)
    if ahead is None:
        return None
    words = ahead["length"] or ahead["from_now"]
    if minutes := PIECES.get(words.replace("-", " ")):
        return timedelta(minutes=minutes)
    if match := HOURS_MINUTES.match(words):
        more = FRACTIONS[match["fraction"]] if match["fraction"] else _number(match["minutes"])
        return timedelta(hours=_times(match), minutes=more)
    if match := HALVES.match(words):
        return timedelta(hours=_times(match), minutes=30)
    return _span(match) if (match := SPAN.match(words)) else None


def _times(match: re.Match[str]) -> int:
    return _number(match["digits"] or match["number"])


def _span(match: re.Match[str]) -> timedelta:
    number, seconds = _times(match), UNITS.get(match["unit"])
    if seconds is None:
        raise _not_understood(f"in {match[0]}")
    if match["unit"] in ("jours", "dias") and number in (8, 15):
        template = "{number} days mean whole weeks to some. Write the date, or how many weeks, like: {examples}."
        raise NotATime("ambiguous", template, number=str(number))
    return number * timedelta(seconds=seconds)


def _in_days(plain: str) -> timedelta | None:
    """The same where it is so many days or weeks."""
    ahead = AHEAD.match(plain.replace(" from today", " from now"))
    match = SPAN.match(ahead["length"] or ahead["from_now"]) if ahead else None
    return _span(match) if match and UNITS.get(match["unit"], 0) >= UNITS["day"] else None


# --- a day and its hour ----------------------------------------------------------------------------------------------


def _day_and_hour(plain: str, zone: str, now: datetime) -> When:
    _refuse_traps(plain)
    today = now.astimezone(ZoneInfo(zone)).date()
    days, clock = _apart(plain, lambda words, rest: _days(words, rest, today))
    if days is not None:
        return _at_hour(days, clock, zone, now)
    when = _today(clock, today, zone, now)
    if (match := SPAN.match(plain)) and match["unit"] in UNITS and clock.hour not in OF_A_CLOCK:
        raise _two_readings(plain, _shown(clock), _shown((now + _span(match)).astimezone(ZoneInfo(zone)).time()))
    return when


Day = TypeVar("Day")
Read = Callable[[str, str], Day | None]  # the words of the day, and those of the hour


def _apart(plain: str, read: Read[Day]) -> tuple[Day | None, time]:
    """The day as it is read, if there is one, and the hour before or after it. Raises NotATime."""
    plain = THIS_PART.sub(r"in the \1 today", plain.replace("tonight", "this evening"))
    plain = EACH_PART.sub(lambda each: f"every day in the {each[each.lastindex or 0]}", EXACTLY.sub("", plain))
    plain = re.sub(r"\bce midi\b", "aujourd'hui midi", plain)
    plain = re.sub(r"\beste mediodia\b", "hoy al mediodia", re.sub(r"\b(12|doce) del dia\b", r"\1 del mediodia", plain))
    part = PART.search(plain)
    before, after = (plain[: part.start()], plain[part.end() :]) if part else (plain, "")
    day, hour = _split(f"{before}, {after}", read)
    if part and part["of"] and not _is_hour(hour) and BARE_HOUR.search(before):  # `5 in the afternoon` is no day
        day, hour = _split(f"{BARE_HOUR.sub(AT, before)}, {after}", read)
    clock = _hour(hour, plain)
    return day, _settled(clock, part["part"] if part else None)


def _split(plain: str, read: Read[Day]) -> tuple[Day | None, str]:
    """The day, and the words of the hour: all of them where there is no day."""
    words = COMMA.sub(", ", plain).strip(", ").split()
    if len(words) > MOST_WORDS:
        raise _not_understood()
    if _is_hour(hour := " ".join(words)):
        return None, hour
    return _hour_between(words, read) or _day_first(words, read) or _hour_first(words, read) or (None, hour)


def _day_first(words: list[str], read: Read[Day]) -> tuple[Day, str] | None:
    for cut in range(len(words), 0, -1):
        rest = " ".join(words[cut:])
        if (day := read(" ".join(words[:cut]).rstrip(","), rest)) is not None:
            return day, rest
    return None


def _hour_first(words: list[str], read: Read[Day]) -> tuple[Day, str] | None:
    """`9h demain`. Of `at 9 december 20` who knows which number is the hour."""
    for cut in range(1, len(words)):
        hour, rest = " ".join(words[:cut]).rstrip(","), " ".join(words[cut:])
        certain = _is_hour(hour, alone=re.search("[0-9]", rest) is None)
        if certain and (day := read(rest, hour)) is not None:
            return day, hour
    return None


def _hour_between(words: list[str], read: Read[Day]) -> tuple[Day, str] | None:
    """`every day at 9:00 except sunday`: after the hour comes how often, or on which days not."""
    for end in range(2, len(words)):
        rest = " ".join(words[end:])
        if not HOW_OFTEN.match(rest):
            continue
        for start in range(max(1, end - LONGEST_HOUR), end):
            first, hour = " ".join(words[:start]).rstrip(","), " ".join(words[start:end]).rstrip(",")
            if _is_hour(hour) and (day := read(f"{first} {rest}", hour)) is not None:
                return day, hour
    return None


def _is_hour(words: str, *, alone: bool = True) -> bool:
    """Do they say so, as `9h` and `at 9` do? `alone`: there is no other number that may be the hour of an `at`."""
    match = CLOCK.match(words) or _as_spoken(words)
    if match is None:
        return False
    found = match.groupdict()
    return any(found.get(name) for name in ("form", "noon", "before", "after", "half")) or bool(found["at"] and alone)


def _as_spoken(words: str) -> re.Match[str] | None:
    return next((match for pattern in SPOKEN if (match := pattern.match(words))), None)


def _refuse_traps(plain: str) -> None:
    """What means one time to some people and another to others."""
    match = YEAR_FIRST.search(plain)
    if match and max(month := int(match["month"]), day := int(match["day"])) <= 12 and month != day:
        written = f"{match['year']}-{month:02d}-{day:02d}"
        if match[0] != written:
            raise NotATime("written", "Write {typed} as {written}: {examples}.", typed=match[0], written=written)
    _refuse_dots(plain)
    if match := DAYS_HOURS.match(plain):
        template = "{typed} more, or the hour of that day? Write the hour as “at {written}”, or the date: {examples}."
        written = f"{_number(match['hour'])}:{match['minute'] or '00'}"
        raise NotATime("ambiguous", template, typed=match["typed"], written=written)


def _refuse_dots(plain: str) -> None:
    """`9.30` is an hour to most, but `1.12` may be a day in December."""
    if match := DOTTED_HOUR.search(plain):
        template = "Is {typed} an hour? Write it {written}. A date is written 2026-12-01: {examples}."
        typed = f"{match[1]}.{match[2]}"
        raise NotATime("written", template, typed=typed, written=typed.replace(".", ":"))


def _not_understood(words: str = "") -> NotATime:
    told = (template for pattern, template in HINTS if pattern.search(words))
    return NotATime("not_understood", next(told, "That is no time that I understand. Write it like: {examples}."))


def _two_readings(typed: str, first: object, second: object) -> NotATime:
    template = "“{typed}” may be {first} or {second}. Write the one that you mean, like: {examples}."
    return NotATime("ambiguous", template, typed=typed, first=str(first), second=str(second))


# --- the hour --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hour:
    """What may be meant, on a 24-hour clock. `said`: as people speak, who count to twelve."""

    typed: str
    readings: tuple[time, ...]
    said: bool = False


def _hour(words: str, typed: str) -> Hour:
    """The hour of these words of what was typed.

    Raises NotATime for none, for a number that may be a day, and for midnight and 12 am or pm.
    """
    if not words:
        raise NotATime("no_hour", "At what hour? Write the day with its hour, like: {examples}.")
    if MIDNIGHT.search(words):
        raise _midnight()
    if match := CLOCK.match(words):
        hour = _written(match)
    elif match := _as_spoken(words):
        hour = _said(match)
    else:
        _refuse_dots(words)
        raise _not_understood(typed)
    if not _is_hour(words):
        number = str(hour.readings[0].hour)
        template = "{number} may be an hour or a day. Write the hour like {number}:00: {examples}."
        raise NotATime("ambiguous", template, number=number)
    return hour


def _written(match: re.Match[str]) -> Hour:
    """In digits it is an hour of a 24-hour clock, unless a part of the day says otherwise: `9h du soir`."""
    words = match[0]
    hour, minute = int(match["hour"]), int(match["minute"] or match["after_h"] or match["of_half"] or 0)
    if hour > 23 or minute > 59:
        raise _no_such_time()
    if re.search(r"[0-9]\.[0-9]", words) and not (match["at"] or match["mark"] or match["half"]):
        _refuse_dots(words)
    if match["half"]:
        return Hour(words, (_of_half(hour, minute, match["half"]),))
    clock = time(hour, minute)
    if 1 <= hour < 12 and match["hour"][0] != "0":
        return Hour(words, (clock, time(hour + 12, minute)))
    return Hour(words, (clock,))


def _said(match: re.Match[str]) -> Hour:
    """`half past nine` is said of two hours, `midi et quart` and `quinze heures trente` of one."""
    found = {name: text for name, text in match.groupdict().items() if text}
    minutes = _minutes(found.get("before") or found.get("after"))
    shift = -minutes if found.get("side") in ("to", "moins", "menos") else minutes
    hour = 12 if "noon" in found else _number(found["hour"])
    if hour > 23 or (not 1 <= hour <= 12 and "o'clock" in match[0]):
        raise _no_such_time()
    words = match[0].removeprefix(found.get("at", ""))
    if "half" in found:
        return Hour(words, (_shifted(_of_half(hour, max(shift, 0), found["half"]), min(shift, 0)),))
    if "noon" in found or not 1 <= hour <= 12:
        return Hour(words, (_shifted(time(hour), shift),))
    return Hour(words, (_shifted(time(hour % 12), shift), _shifted(time(hour % 12 + 12), shift)), said=True)


def _minutes(typed: str | None) -> int:
    return 0 if typed is None else FRACTIONS[typed] if typed in FRACTIONS else _number(typed)


def _shifted(clock: time, minutes: int) -> time:
    return time(*divmod((60 * clock.hour + clock.minute + minutes) % (24 * 60), 60))


def _settled(hour: Hour, part: str | None) -> time:
    """The one reading that is meant: the one in this part of the day. Raises NotATime."""
    written = hour.readings[0]
    if part is None:
        if hour.said and written.hour not in OF_THE_MORNING:
            raise _two_readings(hour.typed, *map(_shown, hour.readings))
        return written
    inside = [clock for clock in hour.readings if clock.hour in PARTS[part]]
    if hour.said and (not inside or inside[0].hour == 0):  # twelve in the morning is noon to some
        raise _two_readings(hour.typed, *map(_shown, hour.readings))
    if not inside and written.hour == 12:
        if written.minute == 0 and PARTS[part].start > 12:
            raise _midnight()
        raise _two_readings(hour.typed, _shown(written.replace(hour=0)), _shown(written))
    if not inside:
        template = "{hour} is not in that part of the day. Write the hour from 0:00 to 23:59, like: {examples}."
        raise NotATime("ambiguous", template, hour=f"{written:%H:%M}")
    return inside[0]


def _midnight() -> NotATime:
    return NotATime("ambiguous", "Midnight belongs to two days. Write 0:00 or 23:59 with the day you mean: {examples}.")


def _shown(clock: time) -> str:
    return f"{clock.hour}:{clock.minute:02d}"


def _no_such_time() -> NotATime:
    return NotATime("not_understood", "There is no such date or hour. Write it like: {examples}.")


def _of_half(hour: int, minute: int, half: str) -> time:
    if not 1 <= hour <= 12:
        raise _no_such_time()
    if (hour, minute) == (12, 0):
        raise NotATime(
            "ambiguous", "12 am and 12 pm are noon to some and midnight to others. Write 12:00 or 0:00: {examples}."
        )
    return time(hour % 12 + (12 if half == "p" else 0), minute)


# --- the day ---------------------------------------------------------------------------------------------------------


def _days(words: str, rest: str, today: date) -> list[date] | None:
    """The days that these words may mean, nearest first; None when they mean none. `rest`: what follows them.

    Raises NotATime for what means one day to some people and another to others.
    """
    if rest and not (CLOCK.match(rest) or _as_spoken(rest) or MIDNIGHT.search(rest)):
        return None
    words = FOR.sub("", words)
    for pattern, days_of in DAYS:
        if match := pattern.match(words):
            return days_of(match, today)
    if (match := AHEAD_AND_DAY.match(words)) and (others := _days(match["other"], rest, today)):
        return _said_twice(match, others, today)
    if (length := _in_days(words)) is not None:
        return [today + length]
    if _is_hour(rest) and (match := WEEKDAY_NUMBER.match(words)):  # else the number may be the hour
        return _weekday_number(match, today)
    if (match := WEEKDAY_DATE.match(words)) and (dates := _dates(match["date"], today)):
        return _on_weekday(match["weekday"], dates, today)
    return _dates(words, today)


def _named(match: re.Match[str], today: date) -> list[date]:
    day = match["day"].rstrip(".")
    if day in DAYS_AHEAD:
        return [today + timedelta(days=DAYS_AHEAD[day])]
    ahead = (WEEKDAYS[day] - today.weekday()) % 7
    return [today + timedelta(days=ahead), today + timedelta(days=ahead + 7)]


def _said_twice(match: re.Match[str], others: list[date], today: date) -> list[date]:
    """`demain mercredi 25`, where both are one day."""
    day = today + timedelta(days=DAYS_AHEAD[match["ahead"]])
    if day not in others:
        raise _two_readings(match[0], day, next((other for other in others if other >= today), others[-1]))
    return [day]


def _weeks_on(match: re.Match[str], today: date) -> list[date]:
    """`lundi en quinze` is two weeks after the Monday that comes: on a Monday, is that today?"""
    weeks = timedelta(weeks=WEEKS_ON[match["weeks"]])
    first, *second = _named(match, today)
    if second and first == today:
        raise _two_readings(match[0], first + weeks, second[0] + weeks)
    return [first + weeks]


def _coming(match: re.Match[str], today: date) -> list[date]:
    return [_after(today, match["weekday"])]


def _after(today: date, weekday: str) -> date:
    """The first such day after today."""
    return today + timedelta(days=(WEEKDAYS[weekday] - today.weekday() - 1) % 7 + 1)


def _of_week(match: re.Match[str], today: date) -> list[date]:
    """A day of this week or the next, where it is the same whether weeks begin on Sunday or on Monday."""
    weekday, weeks = WEEKDAYS[match["weekday"]], 1 if match["next"] else 0
    first, second = (
        today + timedelta(days=7 * weeks + (weekday + since) % 7 - (today.weekday() + since) % 7) for since in (0, 1)
    )
    if first != second:
        raise _two_readings(match[0], *sorted((first, second)))
    return [first]


def _this(match: re.Match[str], today: date) -> list[date] | None:
    """`this friday`, while Friday is ahead this week: else it may be the one behind or the one that comes."""
    ahead = WEEKDAYS[match["weekday"]] - today.weekday()
    return [today + timedelta(days=ahead)] if ahead > 0 else None


def _next(match: re.Match[str], today: date) -> list[date]:
    first = _after(today, match["weekday"] or match["before"])
    raise _two_readings(match[0], first, first + timedelta(days=7))


def _the_day(match: re.Match[str], today: date) -> list[date]:
    template = "That may be one day or every such day. Write “lundi 9h” or “chaque lundi 9h”: {examples}."
    raise NotATime("ambiguous", template)


def _the_number(match: re.Match[str], today: date) -> list[date]:
    """The 25th of this month, or of the next where that is said."""
    month = _in_months(today, 1 if match["next"] else 0)
    found = _date(month.year, month.month, _day_number(match["number"]))
    if found is None:
        raise _no_such_day([f"{month:%Y-%m}"])
    if found < today:
        raise NotATime("past", "That day has passed this month. Write the next one with its month, like: {examples}.")
    return [found]


def _weekday_number(match: re.Match[str], today: date) -> list[date]:
    """`mercredi 25`: the next 25th, if it is a Wednesday."""
    months = (_in_months(today, number) for number in range(3))
    dates = [found for month in months if (found := _date(month.year, month.month, _day_number(match["number"])))]
    if not dates:
        raise _no_such_time()
    nearest = next(found for found in dates if found >= today)
    return _on_weekday(match["weekday"], [nearest], today)


def _in_months(day: date, months: int) -> date:
    """The first of the month so many months later."""
    year, month = divmod(12 * day.year + day.month - 1 + months, 12)
    return date(year, month + 1, 1)


def _on_weekday(weekday: str, dates: list[date], today: date) -> list[date]:
    """`mardi 1er décembre`: of the two that were said, one may be a slip."""
    nearest = next((day for day in dates if day >= today), dates[-1])
    if nearest.weekday() != WEEKDAYS[weekday]:
        template = "{date} is another day of the week. Write the day that you mean, like: {examples}."
        raise NotATime("no_such_day", template, date=str(nearest))
    return dates


def _dates(words: str, today: date) -> list[date] | None:
    """The dates of a day of the year, this year's and the next where none is named. Raises NotATime for 30 February."""
    if match := YEAR_FIRST.fullmatch(ON_THE.sub("", words)):
        return _existing([int(match["year"])], int(match["month"]), int(match["day"]))
    if match := NUMERIC_DATE.match(words):
        return _numeric(match, today)
    if named := _day_of_year(words):
        month, day, year = named
        return _existing(_years(year, today), month, day)
    return None


def _existing(years: list[int], month: int, day: int) -> list[date]:
    found = _real(years, month, day)
    if not found:
        raise _no_such_day(map(str, years))
    return found


def _real(years: list[int], month: int, day: int) -> list[date]:
    return [found for found in (_date(year, month, day) for year in years) if found]


def _years(year: int | None, today: date) -> list[int]:
    return [today.year, today.year + 1] if year is None else [year]


def _no_such_day(years: Iterable[str]) -> NotATime:
    template = "There is no such day in {years}. Write the day with its hour, like: {examples}."
    return NotATime("no_such_day", template, years=" / ".join(years))


def _numeric(match: re.Match[str], today: date) -> list[date]:
    """`25/11` and `11/25` are one day to everybody, `12/12` too; `3/4` is not. `26/11/27` may begin with its year.

    With dots the day is first: `9.30` is none.
    """
    one, other = int(match["one"]), int(match["other"] or match["another"])
    short = match["year"] and len(match["year"]) == 2
    years = _years((2000 if short else 0) + int(match["year"]) if match["year"] else None, today)
    ways = [(other, one)] if match["first"] else [(other, one), (one, other)]
    found = [days for month, day in ways if (days := _real(years, month, day))]
    if short and (first := _date(2000 + one, other, int(match["year"]))) and today <= first <= today + FURTHEST:
        found.append([first])
    if not found or ("." in match["date"] and other > 12):
        raise _no_such_day(map(str, years))
    meant = sorted({next((day for day in days if day >= today), days[-1]) for days in found})
    if len(meant) > 1:
        raise _two_readings(match["date"], *meant[:2])
    return found[0]


def _day_of_year(words: str) -> tuple[int, int, int | None] | None:
    """Month, day and perhaps year of `1er décembre`, `1 December 2026` or `December 1`."""
    match = DAY_MONTH.match(words) or MONTH_DAY.match(words)
    if match is None or match["month"] not in MONTHS:
        return None
    return MONTHS[match["month"]], _day_number(match["day"]), int(match["year"]) if match["year"] else None


def _day_number(typed: str) -> int:
    return int(typed) if typed.isdigit() else DAY_NAMES[typed.replace(" ", "-")]


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _today(clock: time, today: date, zone: str, now: datetime) -> When:
    """An hour alone: never tomorrow's without a word."""
    when = _in_zone(datetime.combine(today, clock), zone)
    if when.instant <= now:
        template = "{hour} has passed today. If you mean tomorrow, write “tomorrow {hour}”: {examples}."
        raise NotATime("past", template, hour=_shown(clock))
    return when


def _at_hour(days: list[date], clock: time, zone: str, now: datetime) -> When:
    here = now.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    walls = [datetime.combine(day, clock) for day in days]
    for wall in [wall for wall in walls if wall > here] or walls[-1:]:  # an hour that is behind may well be skipped
        when = _in_zone(wall, zone)
        if when.instant > now:
            break
    if len(days) > 1 and when.instant > now + NEEDS_ITS_YEAR:
        raise NotATime("past", "That day has passed this year. Write the next one with its year, like: {examples}.")
    return when


def _in_zone(local: datetime, zone: str) -> When:
    """A wall clock's instant: one that the spring change skips is refused, of two in autumn the first is taken."""
    place = ZoneInfo(zone)
    first, second = local.replace(tzinfo=place, fold=0), local.replace(tzinfo=place, fold=1)
    instant = _instant(first)
    if not _is_real(local, place):
        template = "The clocks skip {time} that night in {zone}. Choose another time, like: {examples}."
        raise NotATime("gap", template, time=f"{local:%H:%M}", zone=zone)
    return When(instant, zone, first_of_two=first.utcoffset() != second.utcoffset())


def _instant(local: datetime) -> datetime:
    """In UTC. On the first and the last day that there are, it may lie before or after all years."""
    try:
        return local.astimezone(UTC)
    except OverflowError:
        raise (_past() if local.year == MINYEAR else _too_far()) from None


def _is_real(wall: datetime, place: ZoneInfo) -> bool:
    """False for a wall clock that the spring change skips there."""
    return wall.replace(tzinfo=place).astimezone(UTC).astimezone(place).replace(tzinfo=None) == wall


def _within_reach(when: When, now: datetime) -> When:
    if when.instant <= now:
        raise _past()
    if when.instant > now + FURTHEST:
        raise _too_far()
    return when


def _past() -> NotATime:
    return NotATime("past", "That time has passed. Choose a later one, like: {examples}.")


def _too_far() -> NotATime:
    return NotATime("too_far", "That is more than two years away. Choose an earlier time, like: {examples}.")


DAYS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], date], list[date] | None]], ...] = tuple(
    (re.compile(pattern), days_of)
    for pattern, days_of in (
        (rf"^(?:on |for |pour |para |el |de |del |d')?{_DAY}$", _named),
        (rf"^(?:on |le |el |de |del |d')?{_DAY} (?P<weeks>{'|'.join(WEEKS_ON)})$", _weeks_on),
        (rf"^(?P<weeks>a week|a fortnight)(?: on| from)? {_DAY}$", _weeks_on),
        (rf"^(?P<weeks>two weeks) from {_DAY}$", _weeks_on),
        (rf"^(?:on )?(?:the |this )(?:coming ){_WEEKDAY}$", _coming),
        (rf"^(?:on )?(?:this|ce|este) {_WEEKDAY}$", _this),
        (rf"^(?:on |le |el )?{_WEEKDAY},? (?:of |de )?(?:{_THIS_WEEK}|(?P<next>{_NEXT_WEEK}))$", _of_week),
        (rf"^(?P<next>{_NEXT_WEEK}),? (?:on |le |el )?{_WEEKDAY}$", _of_week),
        (
            rf"^(?:on |le |el |del )?(?:(?:next|proximo|siguiente) {_WEEKDAY}"
            rf"|(?P<before>{_WEEKDAYS})\.? (?:next|prochain|proximo|siguiente|que viene|qui vient))$",
            _next,
        ),
        (rf"^le {_WEEKDAY}$", _the_day),
        (rf"^(?:(?:on )?the |le |el |el dia ){_NUMBERED}(?:{_THIS_MONTH}|(?P<next>{_NEXT_MONTH}))?$", _the_number),
        (rf"^{_NUMBERED}(?:{_THIS_MONTH}|(?P<next>{_NEXT_MONTH}))$", _the_number),
        (
            r"^(?P<next>next month|le mois prochain|el (?:mes que viene|proximo mes)),?"
            rf" (?:(?:on )?the |le |el |el dia ){_NUMBERED}$",
            _the_number,
        ),
        (rf"^(?=[0-9]+(?:st|nd|rd|th)){_NUMBERED}(?:{_THIS_MONTH}|(?P<next>{_NEXT_MONTH}))?$", _the_number),
    )
)


# --- what comes again ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recurrence:
    """When something comes again, as wall clock time: five cron fields, and of their weeks only each `weeks`th.

    Cron because it is written down once for all: day of month and weekday both hold when one of them starts with a
    star, else either; `L` is the last day of the month, `5L` its last Friday, `1#2` its second Monday. Of its weeks
    (from Monday) those count that are a multiple of `weeks` away from the week of `anchor`. Raises ValueError for a
    rule that cannot be.
    """

    cron: str
    weeks: int = 1
    anchor: date | None = None

    def __post_init__(self) -> None:
        if self.weeks < 1 or (self.weeks > 1) != (self.anchor is not None):
            raise ValueError("every so many weeks needs a week to count from")
        object.__setattr__(self, "cron", " ".join(self.cron.upper().split()))
        _cron(self.cron)

    def plain(self) -> str:
        """The rule for the store: `0 9 * * 1`, or `0 9 * * 1 / 2 weeks from 2026-11-30`."""
        return self.cron if self.anchor is None else f"{self.cron} / {self.weeks} weeks from {self.anchor}"

    @classmethod
    def of(cls, plain: str) -> Recurrence:
        """The rule whose `plain()` this is. Raises ValueError."""
        match = STORED.match(plain)
        if match is None:
            raise ValueError(f"no recurrence: {plain!r}")
        anchor = date.fromisoformat(match["anchor"]) if match["anchor"] else None
        return cls(match["cron"], int(match["weeks"] or 1), anchor)

    @property
    def names_days(self) -> bool:
        """Does the rule itself say on which weekdays? Then a weekend is meant. A day of the month is not."""
        return self.cron.split(" ")[2] == "*"

    def falls_on(self, day: date) -> bool:
        rule = _cron(self.cron)
        return day.month in rule.months and rule.match_day(day) and self._counts(day)

    def _counts(self, day: date) -> bool:
        return self.anchor is None or (_monday(day) - _monday(self.anchor)).days // 7 % self.weeks == 0

    def clocks(self) -> list[time]:
        """Its wall clocks, in order, on each day that it falls on."""
        rule = _cron(self.cron)
        return [time(hour, minute) for hour in sorted(rule.hours) for minute in sorted(rule.minutes)]


STORED = re.compile(r"^(?P<cron>[^ ]+(?: [^ ]+){4})(?: / (?P<weeks>[0-9]{1,2}) weeks from (?P<anchor>[0-9-]{10}))?$")


@lru_cache(maxsize=1024)
def _cron(fields: str) -> CronSim:
    """The rule of five cron fields. Raises ValueError."""
    if len(fields.split()) != 5:
        raise ValueError("a cron rule has five fields")
    try:
        return CronSim(fields, datetime(2024, 1, 1))  # noqa: DTZ001 - its days and clocks are asked for, never its dates
    except CronSimError as error:
        raise ValueError(str(error)) from None


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


@dataclass(frozen=True)
class Occurrence:
    """One time of a recurrence: `local`, the naive wall clock that names it, and `instant` (UTC)."""

    local: datetime
    instant: datetime


class Closed(StrEnum):
    """What becomes of an occurrence on a closed day."""

    KEEP = "keep"
    SKIP = "skip"
    SHIFT = "shift"  # to the next open day, at the same wall clock
    BEFORE = "before"  # to the last open day before it


def never(day: date) -> bool:
    """No day is closed."""
    return False


def following(
    rule: Recurrence,
    zone: str,
    after: datetime,
    *,
    closed: Closed = Closed.KEEP,
    is_closed: Callable[[date], bool] = never,
) -> Iterator[Occurrence]:
    """The occurrences strictly after this instant (aware), in order; it ends when none comes for eight years.

    A wall clock that the spring change skips goes at the first instant after the gap and bears the name of that
    instant; of two in autumn the first is taken. Two that move to the same wall clock, or to the same instant, are
    one. Unless closed days are kept, a Saturday or Sunday is closed too but where the rule names that day.
    """

    def shut(day: date) -> bool:
        weekend = day.weekday() >= 5 and not (rule.names_days and rule.falls_on(day))
        return closed is not Closed.KEEP and (weekend or is_closed(day))

    place = ZoneInfo(zone)
    last = after.astimezone(UTC)
    for wall in _walls(rule, after.astimezone(place).date(), closed, shut):
        occurrence = _occurrence(wall, place)
        if occurrence.instant > last:
            yield occurrence
            last = occurrence.instant


def _walls(rule: Recurrence, today: date, closed: Closed, shut: Callable[[date], bool]) -> Iterator[datetime]:
    """The rule's wall clocks from this day on, with what moves from closed days onto open ones."""
    clocks, latest, day = rule.clocks(), today, today
    while (day - latest).days <= PATIENCE:
        if not shut(day) and (rule.falls_on(day) or _moves_onto(day, rule, closed, shut)):
            yield from (datetime.combine(day, clock) for clock in clocks)
            latest = day
        day += timedelta(days=1)


def _moves_onto(day: date, rule: Recurrence, closed: Closed, shut: Callable[[date], bool]) -> bool:
    """Is there an occurrence on the closed days beside this open one, before or after it?"""
    step = {Closed.SHIFT: -1, Closed.BEFORE: 1}.get(closed)
    if step is None:
        return False
    beside = (day + timedelta(days=step * days) for days in range(1, PATIENCE))
    return any(map(rule.falls_on, takewhile(shut, beside)))


def _occurrence(wall: datetime, place: ZoneInfo) -> Occurrence:
    real = next(later for minutes in count() if _is_real(later := wall + timedelta(minutes=minutes), place))
    return Occurrence(real, real.replace(tzinfo=place).astimezone(UTC))


# --- recurrences as people type them ---------------------------------------------------------------------------------

Kind = Literal[
    "daily",
    "working",
    "except",
    "range",
    "weekly",
    "other",
    "nth",
    "first",
    "last",
    "monthly",
    "yearly",
    "bare",
    "interval",
    "spaced",
]
Found = Mapping[str, str]

ORDINALS = {
    name: number
    for number, names in {
        "#1": ("first", "1st", "premier", "1er", "primer", "primero", "1o"),
        "#2": ("second", "2nd", "deuxieme", "2e", "2eme", "segundo", "2o", "2do"),
        "#3": ("third", "3rd", "troisieme", "3e", "3eme", "tercer", "tercero", "3er", "3o"),
        "#4": ("fourth", "4th", "quatrieme", "4e", "4eme", "cuarto", "4o", "4to"),
        "L": ("last", "dernier", "ultimo"),
    }.items()
    for name in names
}
#: For each language what stands for `<every>`, `<and>`, `<of>` (the month), the endings of a day of the month and so
#: on; then its sentences. The first that matches whole says the kind of rule, and its groups the rest.
TONGUES: tuple[tuple[Mapping[str, str], tuple[tuple[Kind, str], ...]], ...] = (
    (
        {
            "every": "(?:every (?:single )?|each )?",
            "and": r"(?:, and |, | and | & | \+ )(?:every |each |the )?",
            "of": "of (?:(?:the|every|each) )?month",
            "th": "(?:st|nd|rd|th)?",
            "day": "(?:<every>(?:single )?day|everyday|daily|once a day)",
            "workday": "(?:<every>(?:week|work|working |business )day|(?:on )?(?:week|work|working |business )days)",
            "but": ",? (?:except|but|but not)(?: on)? ",
            "week": "(?:every week|each week|weekly|once a week)",
            "month": "(?:every month|each month|monthly|once a month)",
        },
        (
            ("daily", "<day>"),
            ("working", "<workday>|<day><but>(?:on )?weekends"),
            ("except", "(?:<day>|(?P<working><workday>))<but><days>"),
            ("range", "(?:every day |every )?(?:from )?<from>(?: to | thru | through | ?- ?)<to>"),
            ("range", "(?:every day )?from <from> (?:till|until) <to>"),
            ("weekly", "(?:<every>|<week>,? (?:on )?|on )<days>"),
            ("weekly", "(?:on )?<days>,? <week>"),
            ("weekly", "<every><weeks> weeks,? (?:on )?<days>"),
            ("weekly", "(?:on )?<days>,? every <weeks> weeks"),
            ("other", "<every>(?:other|alternate) (?:week,? (?:on )?)?<days>"),
            ("other", "every second week,? (?:on )?<days>"),
            ("other", "(?:on )?<days>,? every other week"),
            ("other", "(?:(?:every|each|once a) fortnight|fortnightly),? (?:on )?<days>"),
            ("nth", "(?:on )?(?:the )?<every><nth> <weekday> <of>"),
            ("nth", "(?:<every>month|<month>),? (?:on )?(?:the )?<nth> <weekday>"),
            ("first", "(?:on )?(?:the )?<every>first(?: day)? <of>|(?:<every>month|<month>),? on the first(?: day)?"),
            ("last", "(?:on )?(?:the )?<every>last day <of>|(?:<every>month|<month>),? on the last day"),
            ("monthly", "(?:<every>month|<month>),? on (?:the )?<date>"),
            ("monthly", "(?:on )?(?:the )?<every>(?:day )?<date> (?:<of>|<month>)"),
            ("nth", "(?:on )?(?:every|each) (?P<nth>first|1st|last) <weekday>"),
            ("yearly", "(?:every year|yearly|annually|each year|once a year),? on (?:the )?<of_year>"),
            ("yearly", "(?:on )?(?:the )?<of_year>,? (?:every year|each year|yearly)"),
            ("yearly", "(?:every|each) <of_year>"),
            ("bare", "<every>(?:week|weekend|month|year)|on weekends|weekly|monthly|yearly|every [a-z0-9]+ weeks"),
            ("interval", "<every>(?:<number> )?(?P<unit>seconds|minutes?|mins?|hours?)(?P<half> and a half)?|hourly"),
            ("interval", "<every>(?P<half>half(?: an)?)[ -]hour"),
            ("spaced", "<every>(?:other|second|third|<many>(?:nd|rd|th)?) (?:days?|months?|years?)"),
            ("spaced", "<every>(?:<many> )?quarters?|quarterly"),
        ),
    ),
    (
        {
            "every": "(?:chaque |tous les |les )?",
            "and": r"(?:, | et | & | \+ )(?:chaque |tous les |les |le )?",
            "of": "(?:du mois|de chaque mois|de tous les mois)",
            "th": "(?:er)?",
            "day": "(?:chaque jour|tous les jours|une fois par jour|quotidiennement)",
            "workday": "(?:chaque jour (?:ouvre|de semaine)|(?:tous )?(?:les )?jours (?:ouvres|de semaine)|en semaine)",
            "but": ",? sauf (?:le |les )?",
            "week": "(?:chaque semaine|toutes les semaines|une fois par semaine)",
            "month": "(?:chaque mois|tous les mois|une fois par mois)",
        },
        (
            ("daily", "<day>"),
            ("working", "<workday>|<day><but>week-?ends?"),
            ("except", "(?:<day>|(?P<working><workday>))<but><days>"),
            ("range", r"(?:chaque jour |tous les jours )?(?:du |de )?<from>\.?(?: au | a | ?- ?)<to>\.?(?: inclus)?"),
            ("weekly", "(?:<every>|le |<week>,? (?:le )?)<days>"),
            ("weekly", "(?:le |les )?<days>,? (?:de )?<week>"),
            ("weekly", "toutes les <weeks> semaines,? (?:le )?<days>"),
            ("weekly", "(?:le |les )?<days>,? toutes les <weeks> semaines"),
            ("other", "(?:le |les )?<days>,? une semaine sur (?:deux|2)"),
            ("weekly", "un <days> sur <weeks>"),
            ("other", "une semaine sur (?:deux|2),? (?:le )?<days>"),
            ("other", "tous les (?:15|quinze) jours,? (?:le )?<days>"),
            ("nth", "(?:le )?<every><nth> <weekday> <of>"),
            ("nth", "<month>,? le <nth> <weekday>"),
            ("first", "(?:le )?<every>premiers?(?: jours?)? <of>|<month>,? le premier jour"),
            ("last", "(?:le )?<every>derniers? jours? <of>|<month>,? le dernier jour"),
            ("monthly", "<month>,? le <date>"),
            ("monthly", "(?:le )?<every><date> <of>"),
            ("monthly", "le <date>,? <month>"),
            ("nth", "(?:chaque|tous les) (?P<nth>premiers?|1ers?|derniers?) <weekday>"),
            ("yearly", "(?:chaque annee|tous les ans|une fois par an),? le <of_year>"),
            ("yearly", "(?:le )?<of_year>,? (?:de )?(?:chaque annee|tous les ans)"),
            ("yearly", "(?:chaque|tous les) <of_year>"),
            (
                "bare",
                "chaque (?:semaine|mois|annee)|toutes les (?:[a-z0-9]+ )?semaines|tous les (?:mois|ans)",
            ),
            ("bare", "<every>week-?ends?|tous les (?:15|quinze) jours"),
            (
                "interval",
                "(?:chaque|toutes les) (?:<number> )?(?P<unit>secondes?|min|mn|minutes?|heures?)(?P<half> et demie)?",
            ),
            ("interval", "(?:chaque|toutes les) (?P<half>demie?s?)[ -]heures?"),
            ("spaced", "<every><many> (?:jours|mois|ans)"),
            ("spaced", "un (?:jour|mois|an) sur <many>|<every>(?:<many> )?(?:trimestre|semestre)s?"),
        ),
    ),
    (
        {
            "every": "(?:cada |todos los |los )?",
            "and": r"(?:, | y | e | & | \+ )(?:cada |todos los |los |el )?",
            "of": "(?:del mes|de mes|de cada mes|de todos los meses)",
            "th": r"(?:\.?o)?",
            "day": "(?:cada dia|todos los dias|diariamente|una vez al dia|una vez por dia)",
            "workday": "(?:cada dia laborable|(?:todos )?(?:los )?dias (?:laborables|de semana)|entre semana)",
            "but": ",? (?:excepto|salvo|menos) (?:el |los )?",
            "week": "(?:cada semana|todas las semanas|una vez por semana|una vez a la semana|semanalmente)",
            "month": "(?:cada mes|todos los meses|una vez al mes|una vez por mes|mensualmente)",
        },
        (
            ("daily", "<day>"),
            ("working", "<workday>|<day><but>(?:fin|fines) de semana"),
            ("except", "(?:<day>|(?P<working><workday>))<but><days>"),
            ("range", "(?:cada dia |todos los dias )?(?:del? )?<from>(?: al? | ?- ?)<to>"),
            ("weekly", "(?:<every>|el |<week>,? (?:el |los )?)<days>"),
            ("weekly", "(?:el |los )?<days>,? (?:de )?<week>"),
            ("weekly", "cada <weeks> semanas,? (?:el |los )?<days>"),
            ("weekly", "(?:el |los )?<days>,? cada <weeks> semanas"),
            ("weekly", "un <days> de cada <weeks>"),
            ("weekly", "cada <weeks> <days>"),
            ("other", "cada (?:15|quince) dias,? (?:el |los )?<days>"),
            ("nth", "(?:el )?<every><nth> <weekday> <of>"),
            ("nth", "<month>,? el <nth> <weekday>"),
            ("first", "(?:el )?<every>(?:primer dia|primero|dia primero) <of>|<month>,? el primer dia"),
            ("last", "(?:el )?<every>ultimo dia <of>|<month>,? el ultimo dia"),
            ("monthly", "<month>,? el (?:dia )?<date>"),
            ("monthly", "(?:el )?<every>(?:dias? )?<date> (?:<of>|<month>)"),
            ("nth", "cada (?P<nth>primer|ultimo) <weekday>"),
            ("yearly", "(?:cada ano|todos los anos|una vez al ano),? el <of_year>"),
            ("yearly", "(?:el )?<of_year>,? (?:de )?(?:cada ano|todos los anos)"),
            ("yearly", "(?:cada|todos los) <of_year>"),
            (
                "bare",
                "cada (?:semana|mes|ano)|cada [a-z0-9]+ semanas|todas las semanas|todos los (?:meses|anos)",
            ),
            ("bare", "<every>(?:fin|fines) de semana|cada (?:15|quince) dias"),
            ("interval", "(?:cada|todas las) (?:<number> )?(?P<unit>segundos?|min|minutos?|horas?)(?P<half> y media)?"),
            ("interval", "cada (?P<half>media) hora"),
            ("spaced", "<every><many> (?:dias|meses|anos)"),
            ("spaced", "un (?:dia|mes|ano) de cada <many>|<every>(?:<many> )?(?:trimestre|semestre)s?"),
        ),
    ),
)
EACH = re.compile(r"\b(?:every|each|chaque|tous les|cada|todos los)\b")
WEEKDAYS_OF = (
    "mondays?|mon|tuesdays?|tues?|wednesdays?|weds?|thursdays?|thu(?:rs?)?|fridays?|fri|saturdays?|sat|sundays?|sun",
    "lundis?|lun|mardis?|mercredis?|mer|jeudis?|jeu|vendredis?|ven|samedis?|sam|dimanches?|dim",
    "lunes|lun|martes|miercoles|mie|jueves|jue|viernes|vie|sabados?|sab|domingos?|dom",
)
#: Five cron fields with a star among them, and no word before them: nothing else is written so.
FIELDS = r"(?=.*\*)[0-9*][0-9*,/-]*(?: [0-9a-z*,/#-]+){4}"
CRON = re.compile(rf"cron\b:? ?(?P<after>.*)|(?P<bare>{FIELDS})")
MARKS = re.compile(
    rf"^cron\b|^{FIELDS}$|\b(?:every|everyday|each|hourly|daily|fortnightly|weekly|bi-?weekly|alternate|monthly|quarterly|yearly"
    r"|annually"
    r"|weekdays|(?:work|working |business )days|(?:mon|tues|wednes|thurs|fri|satur|sun)days"
    r"|(?:morning|afternoon|evening|night)s|(?:once|twice) a (?:day|week|fortnight|month|year)"
    r"|chaque|tous|toutes|(?:lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche)s|sabados|domingos"
    r"|sur (?:deux|trois|quatre|[0-9])"
    r"|quotidiennement|fois par|vez (?:al|por|a la)|veces (?:al|por|a la)"
    r"|cada|todos|todas|diariamente|semanalmente|mensualmente|of (?:the )?month|du mois(?! prochain)|de mes"
    r"|del mes(?! que viene| proximo)|jours (?:ouvr|de semaine)[a-z]*|dias (?:laborables|habiles|de semana)"
    r"|en semaine(?! [0-9]{1,2}(?![0-9]* ?[h:]))|entre semana)\b"  # and not `en semaine 48`
    rf"|\b(?:{WEEKDAYS_OF[0]})(?: to | thru | through | till | until | ?- ?)(?:{WEEKDAYS_OF[0]})\b"
    rf"|\b(?:{WEEKDAYS_OF[1]})\.?(?: au | a | ?- ?)(?:{WEEKDAYS_OF[1]})\b"
    rf"|\b(?:{WEEKDAYS_OF[2]})(?: al? | ?- ?)(?:{WEEKDAYS_OF[2]})\b|^(?:les|los) |\blos (?:{WEEKDAYS_OF[2]})\b"
)


def is_recurrence(typed: str) -> bool:
    """Does it speak of what comes again? Then it is no instant, whether or not it is a recurrence we know."""
    try:
        return MARKS.search(_plain(typed)) is not None
    except NotATime:
        return False


def refuse_one_day(typed: str) -> None:
    """Raises NotATime where it begins or ends with `tomorrow` or the like; `a las 9 de la mañana` does not."""
    if ONE_DAY.search(PART.sub(" ", _plain(typed)).strip(" ,")):
        template = (
            "That is one day. Send it once with `/broadcast send` and `at=`, or write what recurs like: {examples}."
        )
        raise NotATime("one_day", template, examples=", ".join(RECURRING))


def parse_recurrence(typed: str, *, zone: str, now: datetime, cron: bool = False) -> Recurrence:
    """The recurrence that was typed; `cron`: by somebody who may write it in cron. Raises NotATime, and never guesses.

    Weeks that are left out are counted from the week of the next day that it falls on.
    """
    try:
        plain = _plain(typed)
        if match := CRON.fullmatch(plain):
            return _cron_typed(match["bare"] or match["after"], zone, now, cron)
        return _recurrence(plain, zone, now)
    except NotATime as error:
        raise NotATime(error.code, error.template, **{**error.values, "examples": ", ".join(RECURRING)}) from None


def _cron_typed(fields: str, zone: str, now: datetime, allowed: bool) -> Recurrence:
    if not allowed:
        raise NotATime("cron_admins", "Only admins may write cron. Write it like: {examples}.")
    try:
        rule = Recurrence(fields)
        next(following(rule, zone, now))
    except (ValueError, StopIteration):
        template = "`{fields}` is no cron rule of five fields that ever comes. Monday at nine is `cron 0 9 * * 1`."
        raise NotATime("cron", template, fields=fields) from None
    if len({clock.minute for clock in rule.clocks()}) > 1:
        raise _too_often()
    return rule


def _too_often() -> NotATime:
    return NotATime("too_often", "That comes more than once an hour, which is too often. Write it like: {examples}.")


def _spaced() -> NotATime:
    return NotATime(
        "spaced",
        "What comes every so many days, months or years cannot be written. Name the weekdays, the weeks or the days of "
        "the month, like: {examples}.",
    )


def _recurrence(plain: str, zone: str, now: datetime) -> Recurrence:
    singular = re.sub(r"\b(morning|afternoon|evening|night|matin|soir)s\b", r"\1", plain)
    found, clock = _apart(EACH_NOON.sub("every day at noon", singular), lambda words, rest: _sentence(words))
    if found is None:
        raise NotATime("no_day", "On which day? Write the day with its hour, like: {examples}.")
    days, weeks = found
    return _from_week(Recurrence(f"{clock.minute} {clock.hour} {days}"), weeks, zone, now)


def _sentence(words: str) -> tuple[str, int] | None:
    """What `_days_of_rule` makes of the first sentence that it is. Raises NotATime."""
    for kind, row in SENTENCES:
        if match := row.fullmatch(words):
            found = {name: text for name, text in match.groupdict().items() if text}
            if "days" in found:
                found["ahead"] = words[: match.start("days")]
            return _days_of_rule(kind, found)
    return None


def _from_week(rule: Recurrence, weeks: int, zone: str, now: datetime) -> Recurrence:
    if weeks == 1:
        return rule
    return Recurrence(rule.cron, weeks, next(following(rule, zone, now)).local.date())


def _days_of_rule(kind: Kind, found: Found) -> tuple[str, int]:
    """Day of month, month and weekday as cron has them, and each how many weeks it comes. Raises NotATime."""
    match kind:
        case "daily":
            return "* * *", 1
        case "working":
            return _on(range(5)), 1
        case "range":
            return _on(_span_of_days(found)), 1
        case "weekly" | "other":
            weeks = 2 if kind == "other" else _weeks(found)
            if weeks > 1 and not _are_alike(found):
                raise _not_understood(found["days"])
            return _on(map(_weekday, WEEKDAY.findall(found["days"]))), weeks
        case "except":
            if EACH.search(found["days"]):
                raise _not_understood(found["days"])
            every = range(5 if "working" in found else 7)
            return _on({*every} - {*map(_weekday, WEEKDAY.findall(found["days"]))}), 1
        case "nth":
            day = _cron_day(_weekday(found["weekday"]))
            which = sorted(ORDINALS[_singular(name)] for name in NTH.findall(found["nth"]))
            return f"* * {','.join(f'{day}{nth}' for nth in dict.fromkeys(which))}", 1
        case "first":
            return "1 * *", 1
        case "last":
            return "L * *", 1
        case "monthly":
            days = sorted({_day_of_month(day) for day in re.findall("[0-9]+", found["date"])})
            return f"{','.join(map(str, days))} * *", 1
        case "yearly":
            return _once_a_year(found["of_year"]), 1
        case "bare":
            raise NotATime("no_day", "On which day? Write the day with its hour, like: {examples}.")
        case "interval":
            raise _interval(found)
        case "spaced":
            raise _spaced()


def _are_alike(found: Found) -> bool:
    """Of `every other monday and every thursday`, or `and thursdays`, the second is meant for every week."""
    if EACH.search(found["days"]):
        return False
    if found["ahead"].endswith(("les ", "los ")):
        return True
    first, *others = WEEKDAY.findall(found["days"])
    plural = re.search(r"\b(?:les|los)\b", found["days"]) or any(name not in WEEKDAYS for name in others)
    return first not in WEEKDAYS or not plural


def _interval(found: Found) -> NotATime:
    """Why there is nothing every so many minutes or hours."""
    unit = found.get("unit", "" if "half" in found else "h")
    seconds = UNITS.get(unit, UNITS.get(_singular(unit), 1)) if unit else 0
    minutes = _number(found.get("number", "1")) * seconds // 60 + (30 if "half" in found else 0)
    if minutes < 60:
        return _too_often()
    if minutes >= 24 * 60:
        return _spaced()
    if minutes % 60 == 0:
        template = "More than once a day is for admins, in cron: `cron 0 9-17 * * 1-5`. Else like: {examples}."
        return NotATime("hourly", template)
    template = (
        "Every {number} minutes is at no fixed hours of the day. Write one hour, like: {examples}. More than once a "
        "day is for admins, in cron: `cron 0 9-17 * * 1-5`."
    )
    return NotATime("hourly", template, number=str(minutes))


def _on(weekdays: Iterable[int]) -> str:
    days = sorted(set(weekdays))
    if not days:
        raise _not_understood()
    return "* * " + ("*" if len(days) == 7 else ",".join(map(_cron_day, days)))


def _cron_day(weekday: int) -> str:
    return str((weekday + 1) % 7)


def _span_of_days(found: Found) -> Iterable[int]:
    """From Monday to Friday, and from Friday over the weekend to Monday."""
    first, last = _weekday(found["from"]), _weekday(found["to"])
    if first == last:
        raise _not_understood(f"{found['from']} {found['to']}")
    return (day % 7 for day in range(first, first + (last - first) % 7 + 1))


def _weekday(name: str) -> int:
    return WEEKDAYS[name if name in WEEKDAYS else _singular(name)]


def _singular(name: str) -> str:
    return name.removesuffix("s")


def _weeks(found: Found) -> int:
    typed = found.get("weeks", "1")
    weeks = _number(typed)
    if not 1 <= weeks <= MOST_WEEKS:
        raise _not_understood()
    return weeks


def _day_of_month(typed: str) -> int:
    day = int(typed)
    if 29 <= day <= 31:
        template = "Not every month has a day {day}. Write “last day of the month”, or a day up to 28: {examples}."
        raise NotATime("not_every_month", template, day=str(day))
    if not 1 <= day <= 28:
        raise _no_such_time()
    return day


def _once_a_year(typed: str) -> str:
    month, day, year = _day_of_year(typed) or (0, 0, None)
    if year is not None or _date(2027, month, day) is None:  # a year without a leap day, which comes only each fourth
        raise _no_such_time()
    return f"{day} {month} *"


def _sentences() -> Iterator[tuple[Kind, re.Pattern[str]]]:
    months, several = "|".join(MONTHS), _any_of(name for name, number in NUMBERS.items() if number > 1)
    nth = f"(?:{'|'.join(ORDINALS)})s?"
    for weekdays, (words, rows) in zip(WEEKDAYS_OF, TONGUES, strict=True):
        parts = {
            **words,
            "days": f"(?P<days>(?:{weekdays})(?:{words['and']}(?:{weekdays}))*)",
            "nth": f"(?P<nth>{nth}(?:{words['and']}{nth})*)",
            "weeks": f"(?P<weeks>[0-9]{{1,2}}|{several})",
            "number": f"(?P<number>[0-9]+|{several})",
            "many": f"(?:[0-9]+|{several})",
            "date": f"(?P<date>[0-9]{{1,2}}{words['th']}(?:{words['and']}(?:dia )?[0-9]{{1,2}}{words['th']})*)",
            "of_year": f"(?P<of_year>[0-9]{{1,2}}[a-z]*(?: de| of)? (?:{months})|(?:{months}) [0-9]{{1,2}}[a-z]*)",
            **{name: f"(?P<{name}>{weekdays})" for name in ("weekday", "from", "to")},
        }
        for kind, row in rows:
            yield kind, re.compile(_filled(_filled(row, parts), parts))


def _filled(row: str, parts: Mapping[str, str]) -> str:
    """The row with what stands for each `<name>`. A part may hold another."""
    return re.sub("(?<![?]P)<([a-z_]+)>", lambda part: parts[part[1]], row)


WEEKDAY = re.compile(r"\b(?:" + "|".join(WEEKDAYS_OF) + r")\b")
NTH = re.compile(rf"\b(?:{'|'.join(ORDINALS)})s?\b")
SENTENCES = tuple(_sentences())
