"""What is refused rather than guessed, and the sentences that say so."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import time, timedelta

from bot.when.vocabulary import ANY_WEEKDAY, DAYS_HOURS, DOTTED_HOUR, ENGLISH, YEAR_FIRST, to_number

NEEDS_ITS_YEAR = timedelta(days=330)  # a date without a year this far ahead was probably meant to be the one just gone

#: To be translated: each reader gets examples in their own language, though all three are understood.
EXAMPLES = "2026-12-01 09:00, tomorrow 9:00, monday 8:30, in 20 minutes"
RECURRING = "every day at 9:00, every 2 weeks on friday 14:00, last friday of the month at 9:00"

JOINTS = "([-–—,: "  # what may separate a time from the rest of it
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

#: Why it was not understood, where we can say.
HINTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"\b(?:until|till|jusqu'|hasta)"),
        "Put the end before the text, as an option: until=2027-01-31. Write the rest like this: {examples}.",
    ),
    (
        re.compile(r"\b(?:starting|beginning) (?:on |in )?[a-z0-9]|\ba partir (?:du|de|del|d')\b"),
        "It starts on the next matching day, so ask for it on the day when it should start. Write the rest like: "
        "{examples}.",
    ),
    (
        re.compile(r"(?<![0-9:/.-])\b(?!202[6-9])(?:[01][0-9]|2[0-3])[0-5][0-9]$"),
        "Write the hour with a colon, like 17:00 for 1700: {examples}.",
    ),
    (
        re.compile(r"\b(?:holidays?|feries?|festivos?)\b"),
        "Put holidays before the text, as an option: holidays=skip. Write the rest like this: {examples}.",
    ),
    (
        re.compile(
            r"\b(?:last|first) (?:working|business|week) ?day of\b|\b(?:dernier|premier) jour ouvre\b"
            r"|\b(?:ultimo|primer) dia (?:laborable|habil)\b"
        ),
        "Write “last day of the month” with the option holidays=before, or “first day of the month” with "
        "holidays=shift. Examples: {examples}.",
    ),
    (
        re.compile(r"\bend of (?:the|every|each) month\b|\bfin (?:de|du|del) (?:chaque |cada )?(?:mois|mes)\b"),
        "Write “last day of the month”, or the day you mean, for example: {examples}.",
    ),
    (
        re.compile(
            r"(?<![0-9-])[0-9]{1,2}(?:h|:[0-9]{2}|h[0-9]{2})? ?(?:am|pm)? ?(?:and|et|y|or|ou|o|to|-|/|,) ?"
            r"(?:at |a |a las )?[0-9]{1,2}(?:h|:| ?am| ?pm|$)"
            r"|\b(?:twice|two times|deux fois|dos veces) (?:a|par|al|cada) (?:day|jour|dia)"
        ),
        "I take one time per request. Ask once for each, for example: {examples}.",
    ),
    (
        re.compile(
            r"[0-9hm] ?(?:z|(?:utc|gmt)(?: ?[+-][0-9:]{1,5})?|cet|cest|est|edt|pst|bst|\[?[a-z]+/[a-z_]+\]?"
            r"|[+-][0-9]{2}:[0-9]{2})$|(?:[0-9]h?|[ap]m) (?:heure (?:locale|de [a-z]+)|hora (?:local|de [a-z]+)"
            r"|(?!min|hour|day|week)(?:[a-z]+ )?[a-z]+ time)$"
        ),
        "A time zone does not go there. Leave it out to use your own, or write it like this: "
        "2026-12-01T09:00+01:00. Examples: {examples}.",
    ),
    (
        HOW_LONG,
        "Write how long in whole minutes, hours, days or weeks, like “in 90 minutes”. Examples: {examples}.",
    ),
    (
        re.compile(
            r"^(?:now|right now|at once|right away|asap|immediately|maintenant|tout de suite|immediatement"
            r"|ahora|ahora mismo|ya|en seguida|enseguida)$"
        ),
        "To send at once, leave the time out. Otherwise, write it like this: {examples}.",
    ),
    (
        re.compile(rf"\bhalf (?:[0-9]|{'|'.join(name for name, number in ENGLISH.items() if number <= 12)})\b"),
        "“Half nine” means 9:30 to some people and 8:30 to others. Write hours and minutes, for example: {examples}.",
    ),
    (
        re.compile(rf"\b(?:this|ce|este) (?:{ANY_WEEKDAY})\b"),
        "Write only the day for the nearest one ahead, or write its date, for example: {examples}.",
    ),
    (
        re.compile(
            r"\b(?:next (?:week|month)|(?:semaine|mois) prochaine?|proxim[oa] (?:semana|mes)"
            r"|(?:semana|mes) que viene)\b"
        ),
        "On which day? Write the day and the time, for example: {examples}.",
    ),
    (
        re.compile(r"\b(?:next|prochaine?|proxim[oa]|siguiente|(?:que|qui) viene?t?)\b"),
        "“Next” skips a week for some people and not for others. Write the date, or just the day for the first one to "
        "come, for example: {examples}.",
    ),
    (
        re.compile(r"\bbi-?weekly\b|\bbimensuel|\bbimensual|\bbi-?hebdo|\bquincenal"),
        "Some people read that as twice in that period, others as every second one. Write “every 2 weeks on monday”, "
        "or name the days. Examples: {examples}.",
    ),
    (
        re.compile(
            r"\b(?:every (?:second|third|fourth|[2-5](?:nd|rd|th))"
            r"|chaque (?:deuxieme|troisieme|quatrieme|[2-5]e(?:me)?)"
            rf"|cada (?:segundo|tercer|cuarto)) (?:{ANY_WEEKDAY})s?\b"
        ),
        "Do you mean every few weeks, or once a month? Write “every 2 weeks on monday” or “second monday of the "
        "month”. Examples: {examples}.",
    ),
    (
        re.compile(r"\bjours de la semaine\b|\bdias de la semana\b|\bdays of the week\b"),
        "That means five days to some people and seven to others. Write “every day” or “monday to friday”. "
        "Examples: {examples}.",
    ),
    (
        re.compile(r"\bjours? ouvrables?\b|\bdias? habil(?:es)?\b"),
        "Some people count Saturday and others do not. Write “monday to friday” or “monday to saturday”. Examples: "
        "{examples}.",
    ),
    (
        re.compile(
            rf"\b(?:{ANY_WEEKDAY})s?\b.*\b(?:{ANY_WEEKDAY})s?\b"
            r"|\b(?:except|but not|sauf|excepto|salvo)\b|\bdias menos\b"
            r"|\b(?:twice|two times|deux fois|dos veces) (?:a|par|por|al|a la) (?:week|semaine|semana|month|mois|mes)\b"
        ),
        "Several days? Write “every monday and thursday” or “monday to friday”, or ask once for each. Examples: "
        "{examples}.",
    ),
    (
        re.compile(r"\bnuit\b|\b(?:in|during) the night\b"),
        "A night spans two days. Write the day and the time, for example: {examples}.",
    ),
    (
        re.compile(
            r"\b(?:around|about|by|(?<!day )before|after|between|vers"
            r"|avant(?!-)|(?<!d')apres(?![ -](?:demain|midi)\b)|entre(?! semana)"
            r"|sobre|hacia|antes|despues|end of (?:the )?day|eod|fin de journee|lunchtime|first thing)\b"
        ),
        "Write one exact time, for example: {examples}.",
    ),
    (
        re.compile(r"\bmar\b"),
        "“mar” means March to some people and Tuesday to others. Write the whole word, for example: {examples}.",
    ),
)


class NotATime(Exception):
    """What was typed is not an instant. `code` says why; `template` with `values` is the sentence for the person."""

    def __init__(self, code: str, template: str, **values: str) -> None:
        super().__init__(code)
        self.code, self.template, self.values = code, template, {"examples": EXAMPLES, **values}


def left_behind(text: str) -> str | None:
    """The zone or part of the day that begins a text but belongs to the time before it, if any."""
    match = LEFT_BEHIND.match(text.lstrip(JOINTS))
    return match[0] if match else None


def refuse_traps(plain: str) -> None:
    """Raise NotATime for what means one time to some people and another to others."""
    match = YEAR_FIRST.search(plain)
    if match and max(month := int(match["month"]), day := int(match["day"])) <= 12 and month != day:
        written = f"{match['year']}-{month:02d}-{day:02d}"
        if match[0] != written:
            raise NotATime(
                "written", "Write {written} instead of {typed}. Examples: {examples}.", typed=match[0], written=written
            )
    refuse_dots(plain)
    if match := DAYS_HOURS.match(plain):
        template = (
            "Did you mean {typed} more, or that time of day? Write a time as “at {written}”, or write the "
            "date. Examples: {examples}."
        )
        written = f"{to_number(match['hour'])}:{match['minute'] or '00'}"
        raise NotATime("ambiguous", template, typed=match["typed"], written=written)


def refuse_dots(plain: str) -> None:
    """Raise NotATime for dots: `9.30` is an hour to most, but `1.12` may be a day in December."""
    if match := DOTTED_HOUR.search(plain):
        template = "If {typed} is a time, write {written}. Write dates like this: 2026-12-01. Examples: {examples}."
        typed = f"{match[1]}.{match[2]}"
        raise NotATime("written", template, typed=typed, written=typed.replace(".", ":"))


def not_understood(words: str = "") -> NotATime:
    hints = (template for pattern, template in HINTS if pattern.search(words))
    return NotATime("not_understood", next(hints, "I do not understand that time. Write it like this: {examples}."))


def two_readings(typed: str, first: object, second: object) -> NotATime:
    template = "“{typed}” could mean {first} or {second}. Write the one you mean, for example: {examples}."
    return NotATime("ambiguous", template, typed=typed, first=str(first), second=str(second))


def unclear_midnight() -> NotATime:
    return NotATime(
        "ambiguous",
        "Midnight could be the start or the end of a day. Write 0:00 or 23:59 with the day you mean, for example: "
        "{examples}.",
    )


def clock_text(clock: time) -> str:
    return f"{clock.hour}:{clock.minute:02d}"


def no_such_time() -> NotATime:
    return NotATime("not_understood", "There is no such date or time. Write it like this: {examples}.")


def hour_of_half(hour: int, minute: int, half: str) -> time:
    if not 1 <= hour <= 12:
        raise no_such_time()
    if (hour, minute) == (12, 0):
        raise NotATime(
            "ambiguous",
            "12 am and 12 pm mean noon to some people and midnight to others. Write 12:00 or 0:00, for example: "
            "{examples}.",
        )
    return time(hour % 12 + (12 if half == "p" else 0), minute)


def no_such_day(years: Iterable[str]) -> NotATime:
    template = "There is no such day in {years}. Write the day and the time, for example: {examples}."
    return NotATime("no_such_day", template, years=" / ".join(years))


def has_passed() -> NotATime:
    return NotATime("past", "That time has passed. Choose a later one, for example: {examples}.")


def too_far_ahead() -> NotATime:
    return NotATime("too_far", "That is more than two years away. Choose an earlier time, for example: {examples}.")
