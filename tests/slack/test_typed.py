"""What is typed after `/broadcast`: an option is taken or queried, never sent to everybody as text."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.i18n import LANGUAGES, translator_for
from bot.domain.options import EVERYWHERE, OPTIONS, slipped
from bot.slack.commands.parse import Typed, id_of, nearest_verb, quoted, read_options, read_send
from bot.slack.commands.schedules import EVERY, REMIND
from providers.base import Purpose

SETS = {"send": OPTIONS, "every": EVERY, "remind": REMIND}


def said(parts: Typed) -> str:
    return " ".join(one.sentence.template.format_map(one.sentence.values) for one in parts.complaints)


READ: dict[str, tuple[dict[str, str], str]] = {
    "Soldes": ({}, "Soldes"),
    "at=9h Soldes": ({"at": "9h"}, "Soldes"),
    'at="demain 9h" Soldes': ({"at": "demain 9h"}, "Soldes"),
    "at=“demain 9h”\nSoldes": ({"at": "demain 9h"}, "Soldes"),
    "at=« demain 9h » Soldes": ({"at": "demain 9h"}, "Soldes"),
    "—at=9h --sender=Bell AT2 Soldes": ({"at": "9h", "sender": "Bell"}, "AT2 Soldes"),
    "AT=9h Soldes": ({"at": "9h"}, "Soldes"),
    "sender=L'Oréal Soldes": ({"sender": "L'Oréal"}, "Soldes"),
    "sender=Bell marketing at=9h Soldes": ({"sender": "Bell", "at": "9h"}, "Soldes"),
    "sender=Bell Soldes at=9h": ({"sender": "Bell"}, "Soldes at=9h"),  # what is in the text is text
    "Soldes holidays=keep x=y": ({}, "Soldes holidays=keep x=y"),
    "url=https://bell.example/?a=b": ({}, "url=https://bell.example/?a=b"),
    "https://bell.example/?at=b": ({}, "https://bell.example/?at=b"),
    "code=SOLDES20 pour vous": ({}, "code=SOLDES20 pour vous"),
    "« Soldes=joie » dit-il": ({}, "« Soldes=joie » dit-il"),
    "E = mc2": ({}, "E = mc2"),
    "at: 9h": ({}, "at: 9h"),
    "l'offre=1": ({}, "l'offre=1"),
}


@pytest.mark.parametrize("rest", READ)
def test_options_are_read_up_to_the_text_which_is_kept_as_it_was_typed(rest: str) -> None:
    parts = read_send(f"clients {rest}")
    assert (parts.options, parts.text, said(parts)) == (*READ[rest], "")


@pytest.mark.parametrize(
    ("text", "late"),
    [
        ("Hello at=tomorrow", ("at",)),
        ('Hello at="tomorrow 9:00" SENDER=Bell and at=10:00', ("at", "sender")),
        ("Hello —campaign=x", ("campaign",)),
        ("See https://example.org/?at=4&sender=2", ()),
        ("Hello at= tomorrow, covers=4, chat=5", ()),
    ],
)
def test_options_behind_the_text_are_part_of_it_and_named(text: str, late: tuple[str, ...]) -> None:
    parts = read_send(f"clients at=9h {text}")
    assert (parts.text, parts.late, parts.options) == (text, late, {"at": "9h"})


WRONG = [
    ("every", "at=10:00 holidays=keep Soldes", "“at=” is not an option here. The options are: sender=, campaign="),
    ("every", "holidays=keep at=10:00 Soldes", "“at=” is not an option here"),
    ("every", "template=promo Soldes", "“template=” is not an option here"),
    ("every", "answer=yes Soldes", "“answer=” is not an option here"),
    ("every", "att=10:00 Soldes", "“att=” is not an option here"),
    ("every", "cover=3 Soldes", "Did you mean “covers=”?"),
    ("send", "att=10:00 Soldes", "Did you mean “at=”?"),
    ("send", "when=10:00 Soldes", "Did you mean “at=”?"),
    ("send", "send-at=10:00 Soldes", "Did you mean “at=”?"),
    ("send", "quand=9h Soldes", "Did you mean “at=”?"),
    ("send", "expéditeur=Bell Soldes", "Did you mean “sender=”?"),
    (
        "send",
        "holidays=keep Soldes",
        "“holidays=” is not an option here. The options are: at=, sender=, campaign=, canary=.",
    ),
    ("send", "holiday=keep Soldes", "“holiday=” is not an option here"),
    ("send", "at=10:00 until=2027-01-31 Soldes", "“until=” is not an option here"),
    ("send", "marketing covers=3 Soldes", "“covers=” is not an option here"),
    ("remind", "covers=3 Relire", "“covers=” is not an option here"),
    ("remind", "at=10:00 Relire", "“at=” is not an option here"),
    ("remind", "untl=2027-01-31 Relire", "Did you mean “until=”?"),
    (
        "send",
        "sender= Bell Soldes",
        'Write an option as `sender=word` or `sender="some words"`',
    ),  # or “Bell Soldes” would go out
    ("send", "sender='Ma Boutique' Soldes", "Write an option as"),
    ("send", 'sender="Ma Boutique Soldes', "Write an option as"),
    ("send", 'sender="Ma Boutique", Soldes', "Write an option as"),
    ("send", 'campaign="" Soldes', "Write an option as"),
    ("send", 'campaign="Noël "Soldes', "Write an option as"),
    ("send", "“at=demain 9h” Soldes", "Write an option as"),
    ("send", "'at=demain 9h' Soldes", "Write an option as"),
    ("send", "at = 9h Soldes", "Write an option as"),
    ("every", "at = 9h Soldes", "“at=” is not an option here"),
    ("send", "at=9h at=10h Soldes", "“at=” appears twice"),
]


@pytest.mark.parametrize(("command", "rest", "expected"), WRONG)
def test_what_would_be_half_an_option_is_asked_about(command: str, rest: str, expected: str) -> None:
    read = read_options(rest, SETS[command]) if command == "remind" else read_send(f"clients {rest}", SETS[command])
    assert expected in said(read)


@pytest.mark.parametrize("command", SETS)
def test_an_option_of_any_subcommand_is_an_option_or_a_complaint_in_every_other(command: str) -> None:
    for name in EVERYWHERE:
        parts = read_options(f"{name}=1 Soldes", SETS[command])
        assert (parts.options, parts.text) == ({name: "1"}, "Soldes") if name in SETS[command] else said(parts)


def test_every_option_that_a_subcommand_takes_is_known_to_the_others() -> None:
    assert {name for names in SETS.values() for name in names} == set(EVERYWHERE)


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_the_complaint_is_in_the_readers_language(language: str) -> None:
    (complaint,) = read_send("clients at=10:00 Soldes", EVERY).complaints
    told = translator_for(language).fill(complaint.sentence.template, {"name": "at", "known": "sender="})
    assert "“at=” is not an option here" not in told
    assert "sender=" in told


def test_a_purpose_stands_before_or_after_options_and_a_near_miss_is_asked_about() -> None:
    assert read_send("clients at=9h transactional Soldes").purpose is Purpose.TRANSACTIONAL
    assert read_send("clients transactional at=9h Soldes").purpose is Purpose.TRANSACTIONAL
    assert read_send("clients marketing transactional Soldes").text == "transactional Soldes"
    assert "did you mean “marketing”" in said(read_send("clients at=9h markting Soldes"))


@pytest.mark.parametrize("typed", ['"day 9:00" x', "“day 9:00” x", "« day 9:00 » x", '"day 9:00"x', "„day 9:00“ x"])
def test_a_recurrence_stands_in_quotes_of_any_shape(typed: str) -> None:
    assert quoted(typed) == ("day 9:00", "x")


OPTION_LIKE = st.sampled_from(
    [f"{name}{sign}" for name in (*EVERYWHERE, "att", "url") for sign in ("=", " =", "=“", "= ")]
)


@given(st.lists(OPTION_LIKE | st.sampled_from(["9h", "“", '"', "Soldes", "marketing", "'", "=", " "]), max_size=8))
def test_no_known_option_ever_begins_a_text_without_a_complaint(pieces: list[str]) -> None:
    for names in SETS.values():
        parts = read_send("clients " + "".join(pieces), names)
        begins = any(parts.text.startswith(f"{name}=") for name in EVERYWHERE)
        assert parts.complaints or not begins
        assert parts.options.keys() <= set(names)
        assert all(parts.options.values())


# --- options that slipped into the text ------------------------------------------------------------------------------

NOW = datetime(2026, 11, 30, 9, tzinfo=UTC)
SLIPS = {
    'Votre rdv est confirme at="demain 9h"': "at",
    "Soldes at=demain 9h": "at",
    "Soldes --at demain 9h": "at",
    "Soldes at : demain 9h": "at",
    "Soldes quand=demain 9h": "at",
    "Soldes AT=“demain 9h”.": "at",
    "Soldes at=«\u00a0demain 9h\u00a0» !": "at",
    "Soldes (at=demain 9h)": "at",
    "Soldes —at demain 9h": "at",
    "Soldes -at=9h 🙂": "at",
    "Soldes\nheure = 9h": "at",
    "Soldes at=lundi": "at",  # refused because the hour is missing, so it was meant as a time
    "Soldes cuando=mañana a las 9": "at",
    "Soldes att='demain 9h'": "at",
    "Soldes send-at=9:00": "at",
    "Soldes quand : demain 9h": "at",
    "Soldes sender=Bell": "sender",
    'Soldes expéditeur="Ma Boutique"': "sender",
    "Soldes sender=Ma Boutique": "sender",
    "Soldes campagne=noël": "campaign",
    "Soldes until=2027-01-31": "until",
    "Soldes holidays=keep": "holidays",
    "Soldes covers=3": "covers",
    "Soldes answer=oui": "answer",
    "at=demain 9h Soldes": "at",
    "--at demain 9h Soldes": "at",
    "at : demain 9h Soldes": "at",
    "“at=demain 9h” Soldes": "at",
    "sender=Bell Soldes": "sender",
    # as Slack formats it, and with other signs
    'Votre rdv *at="demain 9h"*': "at",
    'Votre rdv _at="demain 9h"_': "at",
    'Votre rdv ~at="demain 9h"~': "at",
    "Votre rdv *at=demain 9h*": "at",
    'Votre rdv;at="demain 9h"': "at",
    'Votre rdv,at="demain 9h"': "at",
    'Votre rdv|at="demain 9h"': "at",
    'Votre rdv <at="demain 9h">': "at",
    'Votre rdv at=="demain 9h"': "at",
    "Votre rdv at=>demain 9h": "at",
    "Votre rdv at->demain 9h": "at",
    'Votre rdv at:="demain 9h"': "at",
    'Votre rdv at＝"demain 9h"': "at",
    # followed by a signature, a courtesy or an opt-out notice
    'Votre rdv at="demain 9h". Bell': "at",
    'Votre rdv at="demain 9h" -- Bell': "at",
    "Votre rdv at=demain 9h -- Bell": "at",
    "Votre rdv at=demain à 9h merci": "at",
    'Votre rdv at="demain 9h" STOP 36111': "at",
    "Votre rdv at=demain 9h STOP 36111": "at",
    'Votre rdv sender="Bell" merci': "sender",
    'Votre rdv at="demain 9h" est bien confirmé par nos soins': "at",
    # any name, if a time follows in quotes
    'Votre rdv à="demain 9h"': "at",
    'Votre rdv on="tomorrow 9am"': "at",
    'on="tomorrow 9am" Votre rdv': "at",
    'Votre rdv le="25/12 9h"': "at",
    'Votre rdv prévu="demain 9h"': "at",
    "Votre rdv jour=demain 9h": "at",
    "Votre rdv schedule=tomorrow 9am": "at",
    'at "demain 9h" Votre rdv': "at",
    "Votre rdv purpose=transactional": "purpose",
    "purpose=marketing Soldes": "purpose",
    "Votre rdv audience=team": "audience",
}
PROSE = [
    *("Rdv at 9", "look at https://x?at=5", "https://bell.example/?a=1&sender=2", "time=money", "on se voit at=home"),
    *(
        "Date : demain 9h",
        "Votre rdv. Heure : 9h",
        "When: Friday 9:00, where: town hall",
        "Message from: Bob",
        "E = mc2",
    ),
    *(
        "Soldes at=demain 9h pour tous",
        "Open until: friday 18:00",
        "Fête — date à retenir",
        "rate=5%",
        "promo=SOLDES20",
    ),
    *(
        "https://bell.example/at=5",
        "https://x.example/;sender=2",
        "le prix x=5 a=3",
        "mot_at=9",
        'Il a dit : "demain 9h"',
    ),
    *('prix="10"', "purpose=art", "at home", 'at "Chez Bell" demain', "Votre rdv at=demain 9h -- a b c d"),
    *("Fin du stock -- Bell", "count=beaucoup", "", "at=", "Info: rdv demain 9h", "le code a=b"),
]


@pytest.mark.parametrize("text", SLIPS)
def test_an_option_at_the_end_or_the_beginning_of_a_text_is_seen(text: str) -> None:
    """C5"""
    slip = slipped(text, zone="Europe/Paris", now=NOW)
    assert slip is not None
    assert slip.name == SLIPS[text]
    assert slip.found.strip("“ ") in text


@pytest.mark.parametrize("text", PROSE)
def test_what_nobody_would_read_as_an_option_is_text(text: str) -> None:
    """C5"""
    assert slipped(text, zone="Europe/Paris", now=NOW) is None


def test_all_options_that_stand_at_the_end_are_named_together() -> None:
    slip = slipped('Soldes at="demain 9h" sender=Bell', zone="Europe/Paris", now=NOW)
    assert slip is not None
    assert slip.found == 'at="demain 9h" sender=Bell'


@pytest.mark.parametrize("name", EVERYWHERE)
def test_an_option_of_any_subcommand_is_seen_at_the_end(name: str) -> None:
    """C5"""
    value = {"at": "demain 9h", "until": "2027-01-31", "count": "3", "covers": "3"}.get(name, "yes")
    assert slipped(f'Soldes {name}="{value}"', zone="Europe/Paris", now=NOW)


# --- ids and verbs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "copied",
    [
        *("`B1234567`", "*B1234567*", "b1234567", "B1234567:", "(B1234567)", "_B1234567_", "“B1234567”,"),
        *("`B1234567`’s", "#B1234567"),
    ],
)
def test_an_id_is_found_as_it_is_copied_from_an_answer(copied: str) -> None:
    """C31"""
    assert id_of(copied) == "B1234567"


@pytest.mark.parametrize("word", ["B2345", "<b>", "XB1234567", "B12345678", "clients", "*"])
def test_what_is_no_id_stays_as_it_was_typed(word: str) -> None:
    assert id_of(word) == word


VERBS = (
    *("send", "audiences", "list", "show", "cancel", "every", "remind", "schedules", "reminders", "stop", "pause"),
    *("resume", "template", "help"),
)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        *(("envoyer", "send"), ("enviar", "send"), ("Envía", "send"), ("envoyé", "send"), ("sned", "send")),
        *(("annuler", "cancel"), ("cancelar", "cancel"), ("cancle", "cancel"), ("liste", "list"), ("lista", "list")),
        *(("montrer", "show"), ("mostrar", "show"), ("aide", "help"), ("ayuda", "help"), ("rappeler", "remind")),
        *(
            ("recordar", "remind"),
            ("rappels", "reminders"),
            ("arrêter", "stop"),
            ("detener", "stop"),
            ("pausa", "pause"),
        ),
        *(("reprendre", "resume"), ("modèle", "template"), ("plantilla", "template"), ("cada", "every")),
        ("zzzzzz", None),
    ],
)
def test_a_verb_of_another_language_suggests_the_subcommand(typed: str, meant: str | None) -> None:
    """C35"""
    assert nearest_verb(typed, VERBS) == meant
