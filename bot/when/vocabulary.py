"""The words for times in three languages, and the patterns made of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import count, product

from bot.when.patterns import lazily

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

#: For each language: its numbers from one up, its tens from twenty up, and what joins a ten and a one.
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
NUMBERS = {**ENGLISH, **FRENCH, **SPANISH, "a": 1, "an": 1}  # a space may replace each hyphen


def any_of(names: Iterable[str]) -> str:
    """A pattern of any of these, the longest first."""
    return "|".join(sorted(names, key=len, reverse=True)).replace("-", "[- ]")


def to_number(typed: str) -> int:
    return int(typed) if typed.isdigit() else NUMBERS[typed.replace(" ", "-")]


#: Parts of a day, and the hours of a 24-hour clock in each.
PARTS = {
    **dict.fromkeys(("morning", "matin", "mat", "matinee", "manana"), range(12)),
    "madrugada": range(7),
    "mediodia": range(12, 16),
    **dict.fromkeys(("afternoon", "apres-midi", "apres midi", "aprem"), range(12, 19)),
    "tarde": range(12, 21),
    **dict.fromkeys(("evening", "soir", "soiree"), range(17, 24)),
    **dict.fromkeys(("night", "noche"), range(18, 24)),
}

#: These hours mean the morning without a part of the day: people who mean the night add it to `half past nine`.
OF_THE_MORNING = range(8, 12)
OF_A_CLOCK = (*OF_THE_MORNING, *range(13, 24))  # to some `2h` alone means in two hours; `9h` and `17h` do to nobody

ISO = lazily(  # in `2026-12-01 9:00-10` the 10 is not an offset in hours
    r"^(?!.{10} .*[+-][0-9]{2}$)"
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[t ]([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:\.[0-9]{1,9})?)?"
    r" ?(z|utc|[+-][0-9]{2}(?::?[0-9]{2})?)?$"
)
YEAR_FIRST = lazily(r"\b(?P<year>[0-9]{4})(?P<mark>[/.-])(?P<month>[0-9]{1,2})(?P=mark)(?P<day>[0-9]{1,2})\b")
FOR = lazily(r"^(?:for |pour |para )(?!in |dans |en )(?=the |[a-z]* ?[0-9]|le [0-9]|el |on )")
ON_THE = lazily(r"^(?:on |le |el |del )")
NUMERIC_DATE = lazily(
    r"^(?:on |le |el |del )?(?P<date>(?P<one>[0-9]{1,2})(?P<first>er(?=/))?(?:[/.](?P<other>[0-9]{1,2})\.?"
    r"|(?P<mark>[/.-])(?P<another>[0-9]{1,2})(?P=mark)(?P<year>[0-9]{4}|[0-9]{2})))$"
)

# How long: "two hours and a half", "1h30", "3 days".
_NUMBER = rf"(?:(?P<digits>[0-9]{{1,4}}) ?|(?P<number>{any_of(NUMBERS)}) )"
_HOUR_UNITS = "|".join(name for name, seconds in UNITS.items() if seconds == 3600)
_MINUTES = any_of(name for name, number in NUMBERS.items() if 1 < number < 60)
_FIVES = any_of(name for name, number in NUMBERS.items() if number in range(5, 60, 5))
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
AHEAD = lazily(
    r"^(?:(?:in|dans|en|dentro de) (?P<length>.+?)(?:(?<= hour| week)'s time|(?<=s)'? time)?"
    r"|(?P<from_now>.+) from now)$"
)
SPAN = lazily(rf"^{_NUMBER}(?P<unit>[a-z]+)$")
HOURS_MINUTES = lazily(
    rf"^{_NUMBER}(?:{_HOUR_UNITS})(?:(?: (?:and|et|y))? ?"
    rf"(?P<minutes>[0-5][0-9]|[0-9](?= ?m)|{_FIVES}|(?:{_MINUTES})(?= m))(?: ?(?:m|mn|mins?|minutes?|minutos?))?"
    rf"| (?:and|et|y) (?P<fraction>{any_of(FRACTIONS)}))$"
)
HALVES = lazily(  # only .5: 1.25 may also mean an hour and 25 minutes
    rf"^(?:(?P<digits>[0-9]{{1,3}})(?:[.,]5| 1/2| and a half)|(?P<number>{any_of(NUMBERS)}) and a half)"
    rf" ?(?:{_HOUR_UNITS})$"
)
DAYS_HOURS = lazily(  # either two days and three hours, or three o'clock on that day
    rf"^(?:in|dans|en|dentro de) {_NUMBER}(?:{'|'.join(name for name, seconds in UNITS.items() if seconds > 3600)}),? "
    rf"(?P<typed>(?P<hour>[0-9]{{1,2}}|{any_of(NUMBERS)}) ?(?:{_HOUR_UNITS})(?: ?(?P<minute>[0-5][0-9]))?)$"
)

# An hour: "9h30", "at 9.30 pm", and as it is spoken: "half past nine", "neuf heures et quart", "a las nueve y media".
CLOCK = lazily(
    r"^(?P<at>(?:at|a|a las|a la) |@ ?)?(?P<hour>[0-9]{1,2})"
    r"(?P<form>[:.](?P<minute>[0-9]{2})(?P<mark> ?h(?:rs?|s)?|(?<=[0-9]{2}:[0-9]{2}) (?:horas|hours|heures))?"
    r"| ?(?:h(?:rs?|s)?|heures?|horas?)(?: ?(?P<after_h>[0-9]{2}))?"
    r"|(?:[:.](?P<of_half>[0-9]{2}))? ?(?P<half>[ap])\.? ?m\.?)?$"
)

HALF = r"(?: ?(?P<half>[ap])\.? ?m\.?)?"


def _spoken(numbers: Mapping[str, int], last: int, pattern: str) -> re.Pattern[str]:
    """Fill the pattern with a language's hours up to `last` and its minutes, which people say in fives.

    `<many>` may follow an hour directly. Ten may not, since it may be an hour too.
    """
    hours = any_of(name for name, number in numbers.items() if number <= last and name != "un")
    minutes = any_of(name for name, number in numbers.items() if number in range(5, 60, 5))
    many = any_of(name for name, number in numbers.items() if number in range(15, 60, 5))
    filled = pattern.replace("<hour>", f"(?P<hour>[0-9]{{1,2}}|{hours})").replace("<minutes>", minutes)
    return lazily(filled.replace("<many>", many) + "$")


#: English, French and Spanish, each with its own words: `at once` is not an hour, but `a las once` is one.
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
BARE_HOUR = lazily(rf"\b([0-9]{{1,2}}|{any_of(name for name, number in ENGLISH.items() if number <= 12)})$")
AT = r"at \1"  # makes it an hour
MIDNIGHT = lazily(r"\b(?:midnight|minuit|medianoche)\b")
EXACTLY = lazily(r" ?\b(?:exactly|sharp|pile|exactement|precises?|en punto)\b")
DOTTED_HOUR = lazily(  # without a word or a mark that says it is an hour
    r"(?<!\bat )(?<!\ba )(?<!las )(?<!\bla )(?<!@ )(?<![0-9./@])([01]?[0-9]|2[0-3])\.([0-5][0-9])$"
)
_PART = "|".join(PARTS)
PART = lazily(
    r"(?:^| )(?P<of>(?:in the|at|le|au|du|del|de|por la|de la|en la|a la|dans la|en) |(?:de |dans )?l')?"
    rf"(?P<part>(?:{_PART})(?<!manana)(?<!mediodia)|(?<=del )mediodia"
    r"|(?:(?<=in the )|(?<=por la )|(?<=de la )|(?<=en la )|(?<=a la ))manana)(?= |,|$)"  # else it is tomorrow
)
THIS_PART = lazily(rf"\b(?:this|ce|cet|cette|esta) ({_PART})\b")
EACH_PART = lazily(
    r"\b(?:(?:every|each) (morning|afternoon|evening|night)"
    r"|(?:chaque|tous les|toutes les) (matin|matinee|apres[- ]midi|soir|soiree)"
    r"|(?:cada|todas las) (manana|tarde|noche|madrugada))s?\b"
)
EACH_NOON = lazily(r"\b(?:every noon|chaque midi|tous les midis|cada mediodia)$")
_SURE_HOUR = (
    r"(?:at |a |a las |@ ?)?[0-9]{1,2}(?:(?::[0-9]{2})?(?: ?[ap]\.?m\b)|:[0-9]{2}| ?h(?:[0-9]{2})?)(?![0-9:/.-])"
)

#: `monday@9am`, `lundi - 9h`, `Thursdays: 9am`
JOINED = lazily(rf"(\b[a-z]{{3,}}\.?|\b[0-9]{{4}})(?: - | ?: ?|(?=@))(?={_SURE_HOUR})")
COMMA = lazily(r"(?: ?,)+ ?")
HYPHENS = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-")  # as telephones and web pages write them
ACCENTS = dict.fromkeys(map(ord, "\u0300\u0301\u0302\u0303\u0308\u0327"))  # no others: a struck-out digit is no digit

# A day.
ANY_WEEKDAY = "|".join(WEEKDAYS)
A_DAY = rf"(?P<day>(?:{'|'.join(DAYS_AHEAD)})|(?:{ANY_WEEKDAY})\.?)"
A_WEEKDAY = rf"(?P<weekday>{ANY_WEEKDAY})\.?"

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
DAY_MONTH = lazily(
    r"^(?:on |le |el |del |el dia )?(?:the )?"
    rf"(?P<day>[0-9]{{1,2}}|first|premier|primero|(?:(?<=\ble )|(?<=el )|(?<=the ))(?:{any_of(DAY_NAMES)}))"
    r"(?:er|st|nd|rd|th|r?o)?"
    r"(?: de| of)?[ -](?P<month>[a-z]+)\.?(?:(?:,? |-)(?:del? |of )?(?P<year>[0-9]{4})| prochain| proximo)?$"
)
MONTH_DAY = lazily(
    r"^(?:on )?(?P<month>[a-z]+)\.? (?:the )?(?P<day>[0-9]{1,2}|first)(?:st|nd|rd|th)?(?:,? (?P<year>[0-9]{4}))?$"
)
ONE_DAY = lazily(rf"^(?:{any_of(DAYS_AHEAD)})\b|\b(?:{any_of(DAYS_AHEAD)})$")
AHEAD_AND_DAY = lazily(rf"^(?P<ahead>{any_of(DAYS_AHEAD)}),? (?P<other>(?!(?:{any_of(DAYS_AHEAD)})\b).+)$")
WEEKDAY_DATE = lazily(rf"^(?:on |le |el |del )?{A_WEEKDAY},? (?P<date>.+)$")
WEEKDAY_NUMBER = lazily(
    rf"^(?:on |le |el |del )?{A_WEEKDAY},? (?:the |le |el )?(?P<number>[0-9]{{1,2}})(?:er|st|nd|rd|th)?$"
)
WEEKS_ON = {
    **dict.fromkeys(("en huit", "en 8", "en ocho", "week", "a week"), 1),
    **dict.fromkeys(("en quinze", "en 15", "en quince", "fortnight", "a fortnight", "two weeks"), 2),
}
THIS_WEEK = "this week|cette semaine|esta semana"
NEXT_WEEK = "next week|(?:la )?semaine prochaine|la semana que viene|la proxima semana|la semana proxima"
NUMBERED_DAY = r"(?P<number>[0-9]{1,2}|first|premier|primero)(?:er|st|nd|rd|th|r?o)?"
THIS_MONTH = " of this month| de ce mois| de este mes"
NEXT_MONTH = " of next month| du mois prochain| del proximo mes| del mes (?:que viene|proximo)"
