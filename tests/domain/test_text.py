"""The text that the phone shows: counted by the standard, with one opt-out mention, and decoded exactly once."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.marketing import Mentioned, looks_like_marketing, near_miss, with_mention
from bot.domain.placeholders import slots, unknown_placeholders
from bot.domain.slack_text import decode_slack, emoji_names, live, nameless
from bot.domain.sms import BASIC, EXTENSION, composed, measure, name_of, problems
from bot.domain.suggestions import SAFE, invisible, may_part, suggest, visible, without_invisible
from providers.base import TextLimits

VECTORS = [
    json.loads(line) for line in (Path(__file__).parent.parent / "data" / "sms_vectors.jsonl").read_text().splitlines()
]
OCTOPUSH = TextLimits(max_gsm7=1224, max_ucs2=536, max_parts=8)
MENTION = "STOP AU 36111"

phone_text = st.text(st.sampled_from(sorted(BASIC | EXTENSION)) | st.characters(codec="utf-8"), max_size=900)


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_it_counts_as_independent_implementations_do(vector: dict[str, str | int]) -> None:
    found = measure(str(vector["text"]))
    assert (found.encoding, found.units, found.segments) == (vector["encoding"], vector["units"], vector["segments"])


def written_out(text: str) -> int:
    """Count segments the slow way: add each character to a part, and open a new part when it does not fit whole."""
    gsm = all(char in BASIC or char in EXTENSION for char in text)
    costs = [(1 + (char in EXTENSION)) if gsm else len(char.encode("utf-16-le")) // 2 for char in text]
    if sum(costs) <= (160 if gsm else 70):
        return 1 if text else 0
    parts: list[int] = [0]
    for cost in costs:
        if parts[-1] + cost > (153 if gsm else 67):
            parts.append(0)
        parts[-1] += cost
    return len(parts)


@given(phone_text)
def test_no_pair_is_ever_split_over_two_parts(text: str) -> None:
    assert measure(text).segments == written_out(text)


@given(phone_text)
def test_a_mention_is_added_once_and_adding_it_again_changes_nothing(text: str) -> None:
    once = with_mention(text, MENTION).text
    assert once.endswith(MENTION)
    again = with_mention(once, MENTION)
    assert (again.text, again.added) == (once, False)


@pytest.mark.parametrize("text", ["Hi Stop au 36111", "Hi STOP  AU 36111", "Hi STOP36111", "Hi stop au 12345"])
def test_what_only_reads_like_the_mention_is_noticed(text: str) -> None:
    assert with_mention(text, MENTION).near_miss is not None


def test_a_mention_that_grew_out_of_a_word_does_not_count() -> None:
    assert with_mention("NONSTOP AU 36111", MENTION).added


@given(phone_text)
def test_a_suggestion_saves_a_part_and_asking_again_finds_nothing_more(text: str) -> None:
    found = suggest(text)
    if found is not None:
        assert measure(found.text).segments < measure(text).segments
        assert suggest(found.text) is None
        assert all(char in SAFE for char in found.changes)


def test_what_forces_unicode_is_named() -> None:
    assert measure("l’offre").offenders == ("’",)
    assert name_of("’") == "’ (right single quotation mark)"
    assert name_of("\u00a0") == "no-break space"
    assert (name_of("’", english=False), name_of("\u00a0", english=False)) == ("’ (U+2019)", "U+00A0")


def test_a_text_that_one_character_makes_too_long_names_it_in_every_language() -> None:
    (found,) = problems("œ" + "a" * 600, OCTOPUSH)
    assert found.values["char"] == "œ (U+0153)"


@pytest.mark.parametrize("text", ["", " ", "\u200b\u00a0", "\u2800\u3164", "\n\t", "\ufe0f"])
def test_nothing_to_see_is_empty(text: str) -> None:
    assert [problem.code for problem in problems(text, OCTOPUSH)] == ["empty"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a" * 1224, None),
        ("a" * 1225, "too_long"),
        ("€" * 612, "too_long"),  # 1224 septets, but a pair that does not fit opens a ninth part
        ("ê" * 536, None),
        ("ê" * 537, "too_long"),
        ("a\x1b", "escape"),
    ],
)
def test_the_limit_is_exact(text: str, code: str | None) -> None:
    assert next((problem.code for problem in problems(text, OCTOPUSH)), None) == code


@pytest.mark.parametrize(
    ("raw", "meant"),
    [
        ("Tom &amp; Ben &lt;3", "Tom & Ben <3"),
        ("&amp;lt;", "&lt;"),
        ("&eacute; &#39;", "&eacute; &#39;"),
        ("<http://bell.example|bell.example>", "bell.example"),
        ("<https://bell.example/a?b=c&amp;d>", "https://bell.example/a?b=c&d"),
        ("<@U0ANA|ana> in <#C1|general>", "@ana in #general"),
        ("<!subteam^S1|@marketing> <!here>", "@marketing @here"),
        ("<mailto:a@b.example|a@b.example>", "a@b.example"),
        ("l'offre d’hiver *bold* `code`", "l'offre d’hiver *bold* `code`"),
    ],
)
def test_slacks_writing_is_undone_exactly_once(raw: str, meant: str) -> None:
    assert decode_slack(raw) == meant


@given(st.text())
def test_what_slack_encodes_comes_back_as_it_was_typed(typed: str) -> None:
    encoded = typed.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert decode_slack(encoded) == typed


def test_placeholders_of_the_vendors_style_must_be_its_own() -> None:
    assert unknown_placeholders("%%name%% %%nom%% {first_name} 100%", ("%%name%%",)) == ("%%nom%%",)


def test_words_of_an_offer_are_seen_and_ordinary_words_are_not() -> None:
    assert looks_like_marketing("Soldes: -20 % sur tout, https://bell.example")
    assert looks_like_marketing("Votre rendez-vous est demain à 9h") == ()


# --- the opt-out mention ---------------------------------------------------------------------------------------------

MENTIONS_OF_THEIR_OWN = [
    *("Soldes demain STOP SMS 36111", "x STOP: 36 111", "x 36111 STOP", "x STOP par SMS au 36111", "x stop au 36.111"),
    *(
        "x répondez STOP",
        "Reply STOP to opt out",
        "x responde STOP",
        "x Para la baja responde BAJA",
        "Answer 'STOP' to quit",
    ),
    *("x STOP au 30101", "x Stop 12345", "x STOP\u00a0AU 36111", "x STOP\nAU 36111", "x STOPAU36111", "x STOP=36111"),
    *("x STOP AU 36111.", "x STOP au XXXXX", "x Désabonnement : STOP", "x STOP pour ne plus recevoir nos SMS"),
    *("x STOP, 36111", "x STOP → 36111", "x STOP->36111", "x STOP#36111", "x STOP>36111", "x STOPPUB 36111"),
    *("x au 36111 pour STOP", "x Répondez par STOP", "x stop par retour de SMS", "x S T O P au 36111"),
    *("x STOP AU 36105 Bonne journée", "x STOP SMS AU 36105 Bonne journée", "x ЅТОР AU 36111"),
    *("x envoyer « STOP » par sms au 36111", "x ST\u200bOP AU 36111", "x ＳＴＯＰ 36111", "x STOP 36111 STOP AU 36111"),
]
NO_MENTIONS = [
    *("Non-stop 10000 lots", "NON-STOP 10000 LOTS", "Stop au gaspillage", "bus stop 12345 …", "Rdv au bus stop 12345"),
    *(
        "Stop aux 10000 déchets",
        "We stop at 12000 units",
        "nonstop 36111",
        "Please send. Stop by at 9",
        "Stop-pub 75001",
    ),
    *("STOP AUX 10000 DÉCHETS", "Stop, 75001 Paris", "12345 pour stopper", "Les stops au 12345 km de"),
    *("Bidding will stop at 12000.", "5 rue Stopin 36111 Lyon", "text: stop by our shop", "Send non-stop", "full stop"),
]


@pytest.mark.parametrize("text", MENTIONS_OF_THEIR_OWN)
def test_a_mention_of_ones_own_is_noticed_however_it_is_written(text: str) -> None:
    """C15: only the canonical mention counts as present, once and at the end."""
    assert with_mention(text, MENTION).near_miss is not None


#: What people write between STOP and its number, in three languages.
BETWEEN = (
    "aux au at al à a to on le the el un en in n° no by par por via sms mms texto text message mensaje pub "
    "numéro numero número number code court corto short envoyer envoyez envoyé enviar envía sent send gratuit "
    "gratis"
)
#: What tells people to answer with a word.
ANSWERS = (
    "répondez répondre réponds repondez repondre envoyez envoyer envoi envoie tapez taper écrivez écrire "
    "ecrivez ecris reply answer text txt send responde respondar contesta contestar envía enviar envia manda "
    "mandar escribe escriba"
)
HOW = (
    *("par sms", "by sms", "by text", "por sms", "un sms", "sms", "with", "con", "avec", "back", "us", "nous", "just"),
    *("juste", "solo", "le mot", "la palabra", "the word", "à ce message", "to this message", "a este mensaje"),
)
WHAT_FOR = (
    *("opt out", "opt-out", "optout", "unsubscribe", "end", "quit", "cancel", "stop", "no longer receive"),
    *("ne plus recevoir", "vous désabonner", "se desinscrire", "désactiver", "no recibir", "darte de baja", "la baja"),
)
LEAVING = (
    "désabonnement",
    "desinscription",
    "unsubscribe",
    "opt out",
    "opt-out",
    "baja",
    "pub",
    "no more sms",
    "plus de sms",
)


@pytest.mark.parametrize("word", BETWEEN.split())
def test_a_word_between_stop_and_its_number_takes_nothing_from_it(word: str) -> None:
    assert near_miss(f"Soldes STOP {word} 36111 demain", MENTION) == f"STOP {word} 36111"
    assert near_miss(f"Soldes stop {word} 12345", MENTION) == f"stop {word} 12345"


@pytest.mark.parametrize("word", ANSWERS.split())
def test_who_is_told_to_answer_stop_is_told_to_opt_out(word: str) -> None:
    assert near_miss(f"Soldes. {word.capitalize()} STOP", MENTION) == f"{word.capitalize()} STOP"
    assert near_miss(f"Soldes. {word} stop.", MENTION) == f"{word} stop"


@pytest.mark.parametrize("how", HOW)
def test_how_to_answer_takes_nothing_from_it(how: str) -> None:
    assert near_miss(f"Soldes. Reply {how} stop", MENTION) == f"Reply {how} stop"


@pytest.mark.parametrize("what", WHAT_FOR)
def test_what_stop_is_for_makes_it_a_mention(what: str) -> None:
    assert near_miss(f"Soldes, STOP to {what}", MENTION) == f"STOP to {what}"


@pytest.mark.parametrize("word", LEAVING)
def test_a_word_of_leaving_before_stop_makes_it_a_mention(word: str) -> None:
    assert near_miss(f"Soldes, {word}: stop", MENTION) == f"{word}: stop"


@pytest.mark.parametrize(
    ("text", "room"), [("a" * 160, 160), ("a" * 161, 306), ("é" * 400, 459), ("ç" * 70, 70), ("ç" * 71, 134), ("", 160)]
)
def test_the_room_is_what_so_many_parts_hold(text: str, room: int) -> None:
    assert measure(text).room == room


@pytest.mark.parametrize("text", NO_MENTIONS)
def test_what_only_says_stop_is_no_mention(text: str) -> None:
    """C15: `Non-stop 10000 lots` goes out, with the mention after it."""
    assert with_mention(text, MENTION) == Mentioned(f"{text} {MENTION}", added=True)


def test_the_canonical_mention_alone_is_present() -> None:
    """C15"""
    assert with_mention(f"Soldes {MENTION}", MENTION) == Mentioned(f"Soldes {MENTION}", added=False)
    assert with_mention("STOP au XXXXX", "STOP au XXXXX").near_miss is None
    assert with_mention("Soldes BAJA: 30101", "BAJA al 30101").near_miss == "BAJA: 30101"


# --- placeholders and slots ------------------------------------------------------------------------------------------

SLOTS = [
    *("{ville}", "{{ville}}", "{ prénom }", "{nom complet}", "%nom%", "%%x%%", "[[x]]", "${x}", "#{x}", "*|FNAME|*"),
    *(
        "[PRENOM]",
        "[Prénom]",
        "<nom>",
        "<< nom >>",
        "«Prénom»",
        "[client_name]",
        "[votre nom]",
        "[insert name]",
        "$prenom",
    ),
    *("[Prénom Nom]", "[lien ici]", "{% name %}", "%(prenom)s", "__NOM__", "@prenom", "((prénom))", "{prenom:upper}"),
    *("{client/nom}", "‹prénom›", "|*FNAME*|", "le JJ/MM", "le jj/mm/aaaa à hh:mm", "bonjour XXX,"),
    *("Bonjour %s,", "##NOM##", "{0}", "[FIRST NAME]", "[Date]", "<%= name %>"),
]
NO_SLOTS = [
    *(
        "[Info Nom d'un chien]",
        "@bell",
        "a@nom.fr",
        "((promo))",
        "‹Time›",
        "taille XXXL",
        "la XXX fois",
        "__",
        "{5:7}",
        "24/12",
    ),
    *(
        "-50% de 100% coton",
        "[Info] [PROMO] [RDV]",
        "{} payload={}",
        "prix {5€}",
        ":-{ hé :-}",
        "<3 <b> <sale>",
        "«Time»",
    ),
    *(
        "20%off%",
        "$5 ou US$5",
        "50%% et 20%%",
        "#soldes #promo",
        "a<b>c",
        "[1/2]",
        "[...]",
        "(nom)",
        "20%/30%",
        "C# {:",
    ),
]


@pytest.mark.parametrize("text", SLOTS)
def test_what_looks_like_a_slot_of_any_tool_is_seen(text: str) -> None:
    """C14"""
    assert slots(f"Bonjour {text} à demain")


@pytest.mark.parametrize("text", ["[[prénom]]", "##prenom##", "<<Prénom>>", "((prénom))", "{{nom}}"])
def test_a_slot_in_two_pairs_of_brackets_is_named_once(text: str) -> None:
    assert slots(f"Bonjour {text} à demain") == (text,)


@pytest.mark.parametrize("text", NO_SLOTS)
def test_ordinary_signs_are_no_slots(text: str) -> None:
    """C14"""
    assert slots(f"Bonjour {text} à demain") == ()


def test_a_vendors_own_placeholder_is_no_slot_but_one_in_two_pairs_of_braces_is() -> None:
    assert slots("Bonjour {first_name}", ["{first_name}"]) == ()
    assert slots("Bonjour {{first_name}}", ["{first_name}"]) == ("{{first_name}}",)


@pytest.mark.parametrize(
    ("text", "own", "unknown"),
    [
        ("Bonjour {first_name}", "%%name%%", ("{first_name}",)),
        ("Bonjour %%name%%", "{first_name}", ("%%name%%",)),
        ("Bonjour %%NAME%%", "{first_name}", ("%%NAME%%",)),
        ("Bonjour { First_Name }", "{first_name}", ("{ First_Name }",)),
        ("Bonjour {first_name}", "{first_name}", ()),
        ("Bonjour {ville} 100%", "%%name%%", ()),
    ],
)
def test_what_another_vendor_fills_in_is_unknown_here(text: str, own: str, unknown: tuple[str, ...]) -> None:
    """C14"""
    assert unknown_placeholders(text, [own], ["%%name%%", "{first_name}"]) == unknown


# --- invisible characters --------------------------------------------------------------------------------------------


def test_decomposed_letters_are_composed_and_cost_one_part() -> None:
    """C16: the same look, one SMS instead of two."""
    typed = unicodedata.normalize("NFD", "é" * 100)
    assert measure(typed).segments > 2
    assert measure(composed(f" {typed}\n")) == measure("é" * 100)
    assert composed("e\u0301t\u0327") == "é\u0163"


@given(phone_text)
def test_composing_changes_nothing_that_people_see_and_twice_is_once(text: str) -> None:
    assert composed(composed(text)) == composed(text)
    assert unicodedata.normalize("NFD", composed(text)) == unicodedata.normalize("NFD", composed(text.strip()))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a\u200bb", ["zero width space"]),
        ("a\u202eb\u202c", ["right-to-left override", "pop directional formatting"]),
        ("a\u00adb", ["soft hyphen"]),
        ("a\ufeff\u2066b", ["zero width no-break space", "left-to-right isolate"]),
        ("a\ufe0fb", ["variation selector-16"]),
        ("a\x07b", ["U+0007"]),
        ("👨‍👩‍👧 ❤️ 1️⃣ 👍🏽 🏴󠁧󠁢󠁳󠁣󠁴󠁿", []),  # joiners inside one emoji
        ("می‌خواهم", []),  # and inside a word
    ],
)
def test_what_nobody_sees_is_named_and_what_joins_emoji_and_letters_is_not(text: str, named: list[str]) -> None:
    """C16: the bot offers to remove them, and never removes them silently."""
    assert [name_of(char) for char in invisible(text)] == named
    assert (without_invisible(text) == text) == (not named)
    assert composed(text) == text


@given(st.text())
def test_without_what_nobody_sees_there_is_nothing_more_of_it(text: str) -> None:
    assert invisible(without_invisible(text)) == ()


def test_an_offer_is_seen_behind_marks_that_nobody_sees_and_in_any_form() -> None:
    assert looks_like_marketing("Grosse pro\u200bmo")
    assert looks_like_marketing(unicodedata.normalize("NFD", "nos réductions"))


# --- codes of emoji --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Bravo :tada::wave:", (":tada:", ":wave:")),
        ("word:wave:", (":wave:",)),
        (":x: a:b:c", (":x:", ":b:")),
        (":100: :+1: :-1: :8ball: :1234:", (":100:", ":+1:", ":-1:", ":8ball:", ":1234:")),
        (":wave::skin-tone-3: :e-mail:", (":wave::skin-tone-3:", ":e-mail:")),
        (":été: :flag-fr:", (":été:", ":flag-fr:")),
        ("à 10:30:tada:", (":tada:",)),
        ("10:30:45", ()),
        ("de 9:30: rdv", ()),
        ("Horaires:9h-12h:14h-18h", ()),
        ("3:100:2 http://x:80/ ::: :-) ici:", ()),
        (":NON: : x :", ()),
    ],
)
def test_every_code_that_slack_can_insert_is_seen_and_no_time(text: str, names: tuple[str, ...]) -> None:
    """C17"""
    assert emoji_names(text) == names


# --- Slack's tokens --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "meant"),
    [
        ("Call <tel:+33123456789|customer service>", "Call customer service (+33123456789)"),
        ("<tel:+33123456789|+33 1 23 45 67 89>", "+33 1 23 45 67 89"),
        ("<mailto:ana@b.example|Ana>", "Ana (ana@b.example)"),
        ("<https://bell.example/a|Our offer>", "Our offer (https://bell.example/a)"),
        ("<https://evil.example|https://bank.example>", "https://bank.example (https://evil.example)"),
        ("<http://bell.example/|bell.example>", "bell.example"),
        ("<mailto:a@b.example>", "a@b.example"),
        ("<!here|everybody>", "@here (everybody)"),
        ("<!date^1800000000^{date}|15 January>", "15 January"),
    ],
)
def test_a_label_that_differs_from_its_address_stays_beside_it(raw: str, meant: str) -> None:
    """C22"""
    assert decode_slack(raw) == meant
    assert nameless(raw) == ()


@pytest.mark.parametrize("raw", ["<@U0ANA>", "<@U0ANA|>", "<#C1>", "<!subteam^S1>", "<!date^1^{date}>"])
def test_a_name_that_slack_does_not_tell_is_asked_for(raw: str) -> None:
    """C22"""
    assert nameless(f"Hi {raw}")


words = st.text(st.characters(exclude_characters="<>|&^", exclude_categories=("C", "Z")), min_size=1, max_size=12)
addresses = st.sampled_from(["https://", "http://", "mailto:", "tel:", "@", "#", "!subteam^", "!"])


@given(addresses, words, st.none() | words)
def test_what_people_see_of_a_token_is_in_the_text_or_is_asked_for(kind: str, target: str, label: str | None) -> None:
    """C22"""
    raw = f"<{kind}{target}>" if label is None else f"<{kind}{target}|{label}>"
    told, lost = decode_slack(raw), nameless(raw)
    address = target if not kind.startswith(("@", "#", "!")) else ""
    assert lost or (label or target).lstrip("@#") in told
    assert lost or address.rstrip("/").casefold() in told.casefold() or _digits(address) == _digits(told)


def _digits(text: str) -> str:
    return "".join(char for char in text if char.isalnum() or char == "+")


@pytest.mark.parametrize(
    ("raw", "inert", "calling"),
    [
        (":coffee: *bold* &amp; &lt;b&gt;", ":coffee: *bold* &amp; &lt;b&gt;", ":coffee: *bold* &amp; &lt;b&gt;"),
        ("<@U1|ana> <!here>", "@ana @here", "<@U1> <!here>"),
        ("<!subteam^S1|@sales> <!channel>", "@sales @channel", "<!subteam^S1> <!channel>"),
        ("<#C1|general> <https://b.example>", "<#C1> <https://b.example>", "<#C1> <https://b.example>"),
        ("<https://evil.example|Bank>", "Bank (<https://evil.example>)", "Bank (<https://evil.example>)"),
        ("<http://b.example|b.example>", "<http://b.example|b.example>", "<http://b.example|b.example>"),
        (
            "<mailto:a@b.example|Ana>",
            "Ana (<mailto:a@b.example|a@b.example>)",
            "Ana (<mailto:a@b.example|a@b.example>)",
        ),
        ("<!date^1^{date}|today>", "today", "today"),
        ("< <!channel", "&lt; &lt;!channel", "&lt; &lt;!channel"),  # no token
    ],
)
def test_a_reminders_text_lives_and_calls_only_where_it_is_asked_to(raw: str, inert: str, calling: str) -> None:
    """C32"""
    assert live(raw) == inert
    assert live(raw, mentions=True) == calling


@given(st.lists(st.sampled_from(["<@U1|a>", "<!here>", "<!everyone|x>", "<!subteam^S1>", "&lt;", "x", " ", "<", "|"])))
def test_nothing_in_it_calls_anybody_unasked(pieces: list[str]) -> None:
    """C32"""
    assert not re.search(r"<[@!]", live("".join(pieces)))


# --- single cases ----------------------------------------------------------------------------------------------------

CHAT = TextLimits(max_ucs2=10, segments=False)


@pytest.mark.parametrize(
    ("text", "units"), [("a" * 10, None), ("a" * 11, 11), ("é" * 10, None), ("😀" * 5, None), ("😀" * 5 + "a", 11)]
)
def test_a_chat_counts_units_and_says_by_how_many_they_are_too_many(text: str, units: int | None) -> None:
    found = [(problem.code, problem.values) for problem in problems(text, CHAT)]
    expected = {"count": units, "limit": 10, "over": 1}
    assert found == ([] if units is None else [("too_long", expected)])


@pytest.mark.parametrize("text", ["Soldes 36111 STOP", "Soldes 36 111: stop", "Soldes 361.11 Stop demain"])
def test_the_number_before_the_word_is_a_mention_too(text: str) -> None:
    assert near_miss(text, MENTION) is not None


OF_PEOPLE = """
prenom nom civilite name firstname fname lastname lname surname fullname username nombre apellido apellidos
"""
PHRASES = (
    *("nom complet", "nom de famille", "first name", "last name", "full name", "user name", "nom client"),
    *("nom du client", "nombre cliente", "client name", "customer name"),
)
THINGS = """
ville city ciudad adresse address direccion date fecha heure hora time hour montant amount importe monto prix
price precio email mail correo telephone phone telefono tel numero number lien link url enlace code codigo
"""


@pytest.mark.parametrize("word", [*OF_PEOPLE.split(), *PHRASES])
def test_what_is_of_a_person_is_a_slot_in_whatever_brackets(word: str) -> None:
    assert slots(f"Hello [{word.upper()}], see you") == (f"[{word.upper()}]",)
    assert slots(f"Hello «{word}», see you") == (f"«{word}»",)


@pytest.mark.parametrize("word", THINGS.split())
def test_what_a_table_of_customers_holds_is_a_slot_in_square_brackets_alone(word: str) -> None:
    assert slots(f"Hello [{word}], see you") == (f"[{word}]",)
    assert slots(f"Hello «{word}», see you") == ()


#: The first and last of each run of invisible characters.
RUNS = """
0000 0008 000E 001A 001C 001F 007F 0084 0086 009F 00AD 034F 061C 17B4 17B5 180B 180F 200B 200F 202A 202E 2060
206F FE00 FE0F FEFF FFF0 FFFB 1BCA0 1BCA3 1D173 1D17A E0000 E0FFF
"""
#: Their neighbours, which are visible, or are spaces and line breaks.
BESIDE = """
0009 000D 0020 0085 00A0 00AC 00AE 034E 0350 061B 061D 17B3 17B6 180A 1810 200A 2010 2029 2070 FDFF FE10 FEFE
FF00 FFFC 1BC9F 1BCA4 1D172 1D17B
"""


@pytest.mark.parametrize("code", RUNS.split())
def test_each_end_of_a_run_of_what_nobody_sees_is_not_seen(code: str) -> None:
    assert invisible(f"a{chr(int(code, 16))}b") == (chr(int(code, 16)),)


@pytest.mark.parametrize("code", BESIDE.split())
def test_what_stands_beside_such_a_run_is_seen(code: str) -> None:
    assert invisible(f"a{chr(int(code, 16))}b") == ()


FAMILY, SCOTLAND = "👨\u200d👩\u200d👧", "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
SHAPING = (
    *(FAMILY, SCOTLAND, "❤\ufe0f", "3\ufe0f\u20e3", "👍🏽\u200d👍", "\u0645\u200c\u0628", "\u0915\u200d\u0937"),
    *("\u1820\u180b", "\u1820\u180f", "\u845b\ufe00"),
)


@pytest.mark.parametrize("text", SHAPING)
def test_what_shapes_its_neighbours_is_no_waste(text: str) -> None:
    assert invisible(f"Hi {text} all") == ()
    assert without_invisible(text) == text


@pytest.mark.parametrize(
    "text", ["a\u200db", "\u200c\u0628", "👍\u200d ", "a\ufe0f", "a\u180b", "a\U000e0067", "\ufe0f❤", "\u0645\u200c1"]
)
def test_what_shapes_nobody_is_waste(text: str) -> None:
    assert len(invisible(text)) == 1


def test_a_suggestion_takes_what_is_waste_and_leaves_what_shapes() -> None:
    found = suggest("x" * 62 + "\u200b" + FAMILY)
    assert found is not None
    assert (found.text, found.changes, found.before, found.after) == ("x" * 62 + FAMILY, ("\u200b",), 2, 1)


@pytest.mark.parametrize(
    ("odd", "plain"), [("…", "..."), ("’", "'"), ("“", '"'), ("–", "-"), ("\u202f", " "), ("\u2028", "\n")]
)
def test_a_suggestion_writes_what_a_keyboard_makes_odd_as_phones_know_it(odd: str, plain: str) -> None:
    found = suggest("a" * 100 + odd)
    assert found is not None
    assert (found.text, found.changes) == ("a" * 100 + plain, (odd,))


@pytest.mark.parametrize(
    ("text", "at", "may"),
    [
        *(("ab", 1, True), ("e\u0301b", 1, False), ("e\u0301b", 2, False), ("a\r\nb", 2, False), ("a\r\nb", 3, True)),
        *(("a\r\nb", 1, True), ("👨\u200d👩", 1, False), ("👨\u200d👩", 2, False), ("3\u20e3x", 1, False)),
    ],
)
def test_it_is_cut_only_where_no_character_becomes_two(text: str, at: int, may: bool) -> None:
    assert may_part(text, at) is may


OFFERS = """
promo promos promotion promotions solde soldes offre offres réduction réductions reduction remise remises
gratuit gratuite gratuites oferta ofertas descuento descuentos rebaja rebajas dto sale sales discount
discounts voucher vouchers deal deals
"""


@pytest.mark.parametrize(
    "word", [*OFFERS.split(), "code promo", "black friday", "-20%", "- 5 %", "https://x.example/a"]
)
def test_a_word_of_an_offer_is_noticed_whatever_its_case(word: str) -> None:
    assert looks_like_marketing(f"Hello {word.upper()} today")[0].casefold() in word.casefold()
    assert looks_like_marketing(f"Hello x{word}x today") == () or not word.isalpha()


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        *(("<!here|@here> hi", "@here hi"), ("<!here|here>", "@here"), ("<!channel>", "@channel")),
        *(("<!here|all of you>", "@here (all of you)"), ("<!subteam^S1|@crew>", "@crew"), ("<!subteam^S1>", "@S1")),
        *(("<!date^1^{date}|today>", "today"), ("<@U1|ana>", "@ana"), ("<@U1>", "@U1"), ("<#C1|shop>", "#shop")),
        *(("<mailto:a@x.example|a@x.example>", "a@x.example"), ("<tel:1:2|call>", "call (1:2)")),
        *(("<https://x.example|x.example>", "x.example"), ("<https://x.example|here>", "here (https://x.example)")),
    ],
)
def test_what_slack_writes_for_names_and_links_is_read_as_it_was_shown(raw: str, read: str) -> None:
    assert decode_slack(raw) == read


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("Soldes\u200b demain", "Soldes[U+200B] demain"),
        ("a" + "\u200b" * 1990 + "b", "a[U+200B ×1990]b"),
        ("\u200b\u202e\u202ea", "[U+200B][U+202E ×2]a"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
    ],
)
def test_hidden_characters_are_shown_by_their_code(text: str, seen: str) -> None:
    assert visible(text) == seen


def test_a_text_full_of_hidden_characters_takes_hardly_more_room_than_it_has() -> None:
    assert len(visible("a\u202e" * 1990)) < 4_000 + 100 * len("[U+202E]")
