"""The sentences that people use for recurrences: one table for each language."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal

from bot.when.patterns import lazily
from bot.when.vocabulary import MONTHS, NUMBERS, any_of

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

#: For each language: the patterns for `<every>`, `<and>`, `<of>` (the month), the endings of a day of the month and so
#: on; then its sentences. The first full match gives the kind of rule, and its groups give the rest.
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
EACH = lazily(r"\b(?:every|each|chaque|tous les|cada|todos los)\b")
WEEKDAYS_OF = (
    "mondays?|mon|tuesdays?|tues?|wednesdays?|weds?|thursdays?|thu(?:rs?)?|fridays?|fri|saturdays?|sat|sundays?|sun",
    "lundis?|lun|mardis?|mercredis?|mer|jeudis?|jeu|vendredis?|ven|samedis?|sam|dimanches?|dim",
    "lunes|lun|martes|miercoles|mie|jueves|jue|viernes|vie|sabados?|sab|domingos?|dom",
)

#: Five cron fields, at least one of them with a star, and no word before them. Nothing else looks like that.
FIELDS = r"(?=.*\*)[0-9*][0-9*,/-]*(?: [0-9a-z*,/#-]+){4}"
CRON = lazily(rf"cron\b:? ?(?P<after>.*)|(?P<bare>{FIELDS})")
MARKS = lazily(
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


def _sentences() -> Iterator[tuple[Kind, re.Pattern[str]]]:
    months, several = "|".join(MONTHS), any_of(name for name, number in NUMBERS.items() if number > 1)
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
            yield kind, lazily(_filled(_filled(row, parts), parts))


def _filled(row: str, parts: Mapping[str, str]) -> str:
    """The row with each `<name>` replaced by its part. A part may contain other names."""
    return re.sub("(?<![?]P)<([a-z_]+)>", lambda part: parts[part[1]], row)


WEEKDAY = lazily(r"\b(?:" + "|".join(WEEKDAYS_OF) + r")\b")
NTH = lazily(rf"\b(?:{'|'.join(ORDINALS)})s?\b")
SENTENCES = tuple(_sentences())
