"""What the phone will show: counted as the standard says, with one mention, and decoded exactly once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.text import (
    BASIC,
    EXTENSION,
    SAFE,
    decode_slack,
    looks_like_marketing,
    measure,
    name_of,
    problems,
    suggest,
    unknown_placeholders,
    with_mention,
)
from providers.base import TextLimits

VECTORS = [json.loads(line) for line in (Path(__file__).parent / "data" / "sms_vectors.jsonl").read_text().splitlines()]
OCTOPUSH = TextLimits(max_gsm7=1224, max_ucs2=536, max_parts=8)
MENTION = "STOP AU 36111"

phone_text = st.text(st.sampled_from(sorted(BASIC | EXTENSION)) | st.characters(codec="utf-8"), max_size=900)


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_it_counts_as_independent_implementations_do(vector: dict[str, str | int]) -> None:
    found = measure(str(vector["text"]))
    assert (found.encoding, found.units, found.segments) == (vector["encoding"], vector["units"], vector["segments"])


def written_out(text: str) -> int:
    """Segments counted the slow way: lay each character into a part, and open a new one when it does not fit whole."""
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
    assert with_mention(once, MENTION) == type(with_mention(once, MENTION))(once, added=False)


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
