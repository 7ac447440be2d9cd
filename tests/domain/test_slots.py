"""Slots of a template: which are read, which values fit, and what the filled text says."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain import marketing, slots
from bot.domain.slots import BadSlot, Slot

TODAY = date(2026, 11, 30)


def fits(kind: str, value: str) -> bool:
    return slots.complaint_about(Slot("it", kind), value, TODAY) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Bonjour", []),
        ("À {{city}}", [Slot("city")]),
        ("À {{ ville : 20 }}, encore {{ville}}", [Slot("ville", "text", 20)]),
        ("{{price:number}} {{day:date}}", [Slot("price", "number"), Slot("day", "date")]),
        ("{{at:Heure}} {{n:número}} {{a:texte}}", [Slot("at", "time"), Slot("n", "number"), Slot("a")]),
        ("Bonjour {first_name}, %%name%% {{city}}", [Slot("city")]),
    ],
)
def test_slots_are_found_in_their_order(text: str, found: list[Slot]) -> None:
    assert list(slots.slots_of(text)) == found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{{a b}}", "I cannot read the slot"),
        ("{{}}", "I cannot read the slot"),
        (f"{{{{{'x' * 31}}}}}", "at most 30"),
        ("{{city:0}}", "unknown type"),
        ("{{city:101}}", "unknown type"),
        ("{{city:phone}}", "unknown type"),
        ("{{city:20}} {{city:number}}", "written in two ways"),
        ("{{city", "begins with {{"),
        ("city}}", "begins with {{"),
        ("{{ci\nty}}", "begins with {{"),
        (" ".join(f"{{{{s{number}}}}}" for number in range(11)), "at most 10 slots"),
    ],
)
def test_a_bad_slot_is_named_with_the_fix(text: str, told: str) -> None:
    with pytest.raises(BadSlot) as refused:
        slots.slots_of(text)
    assert told in str(refused.value.sentence)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *(("text", value) for value in ("Paris", "Saint-Étienne (Loire)", "l’Été, 3e", "R&D", "75001 Paris", "12/03")),
        *(("number", value) for value in ("12", "19,90", "19.90", "1 200", "1.200,50", "1234567")),
        *(("date", value) for value in ("24/12/2027", "24/12", "03/04", "24 décembre", "friday", "2026-12-24")),
        *(("time", value) for value in ("18:30", "18h30", "6:30pm", "midi")),
    ],
)
def test_values_that_fit(kind: str, value: str) -> None:
    assert fits(kind, value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *(("text", value) for value in ("", "a\nb", "a\u2028b", "x" * 41, "bell.fr", "http:x", "www x", "a//b", ".fr")),
        *(("text", value) for value in ("{{x}}", "{name}", "%%n%%", "<a>", "a@b", "#1", "-50%", "5 €", "a_b", "*a*")),
        *(("text", value) for value in ("soldes", "06 12 34 56 78", "0612345678", "\u0420aris", "a\u200bb", "ﬁn", "٣")),
        *(("text", value) for value in ("🎉", "10.0.0.1", "code promo", "1.2.3.4")),
        *(("number", value) for value in ("", "douze", "12 €", "12.", "0612345678", "06 12", "1e5", "-3", "٣", "1\n2")),
        *(("date", value) for value in ("", "31/02/2027", "32/01", "13/13", "Paris", "lundi 24 décembre 2027", "9h")),
        *(("time", value) for value in ("", "25:00", "9", "demain", "18:30 bell.fr", "18:30\n")),
    ],
)
def test_values_that_do_not_fit_are_refused_with_one_sentence(kind: str, value: str) -> None:
    told = slots.complaint_about(Slot("it", kind), value, TODAY)
    assert told is not None
    assert str(told).endswith((".", "!"))


def test_each_complaint_is_about_the_block_of_its_slot() -> None:
    found = slots.slots_of("{{city}} {{price:number}}")
    complaints = list(slots.complaints(found, {"city": "Paris", "price": "cher"}, TODAY))
    assert [one.field for one in complaints] == ["slot_price"]


def test_the_filled_text_is_the_wording_with_the_values() -> None:
    text = "À {{ city:20 }} le {{day:date}}, {{city}}"
    assert slots.fill(text, {"city": "Paris", "day": "24/12"}) == "À Paris le 24/12, Paris"
    assert slots.fill(text, {"city": "Paris"}) == "À Paris le {{day:date}}, Paris"
    assert slots.fill("{{a}} {{b}}", {"a": "{{b}}", "b": "x"}) == "{{b}} x"  # a value is never read again


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=40))
def test_whatever_fits_adds_no_slot_no_line_no_link_and_no_offer(value: str) -> None:
    cleaned = slots.clean(value)
    if fits("text", cleaned):
        filled = slots.fill("Bonjour {{it}} !", {"it": cleaned})
        assert slots.slots_of(filled) == ()
        assert len(filled.splitlines()) == 1
        assert marketing.looks_like_marketing(filled) == ()
        assert len(cleaned) <= slots.MOST
