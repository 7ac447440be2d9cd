"""The cards of a broadcast that waits for its canary, and of the canary."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bot.domain.i18n import translator_for
from bot.domain.lifecycle import Hold, State
from bot.slack.blocks.card import draw_card
from bot.slack.blocks.card_facts import CardContext
from providers.reading import UNREADABLE
from tests.support.rows import row

SHOWING = CardContext((), "Octopush", None, None, training=False, zone="Europe/Paris")
LINK = "https://bell.slack.com/archives/C1/p1"
MAIN = row(id="B234680", canary="few", state=State.HELD, hold=Hold.CANARY, quorum=1)
FEW = {"id": "B234682", "audience": "few", "test_of": "clients", "key": "canary:B234680:1", "follows": "B234680"}
GONE: dict[str, Any] = {**FEW, "state": State.SENT, "accepted_at": 1, "size": 3, "counts": {"delivered": 3}}


def drawn(of: dict[str, Any] | None = None, language: str = "en", **showing: Any) -> str:
    card = draw_card(MAIN if of is None else row(**of), replace(SHOWING, **showing), translator_for(language))
    return json.dumps(card.blocks, ensure_ascii=False)


@pytest.mark.parametrize("state", [{"state": State.SCHEDULED}, {"state": State.HELD, "hold": Hold.LATE}])
def test_the_card_of_a_canary_offers_nothing_that_only_its_broadcast_can_do(state: dict[str, Any]) -> None:
    card = drawn(FEW | state)
    assert '"broadcast.edit"' not in card
    assert '"broadcast.replan"' not in card
    assert '"broadcast.drop"' in card or '"broadcast.stop"' in card


@pytest.mark.parametrize(
    ("language", "quorum", "told"),
    [
        ("en", 1, "Approved with *B234680*."),
        ("fr", 1, "Approuvée avec *B234680*."),
        ("es", 2, "Aprobada con *B234680*."),
        ("en", 0, "No approval is needed."),
    ],
)
def test_a_canary_says_that_it_was_approved_with_its_broadcast(language: str, quorum: int, told: str) -> None:
    main = replace(MAIN, quorum=quorum)
    assert told in drawn(FEW | {"state": State.SCHEDULED}, language, counterpart=main)


def test_a_held_canary_says_where_it_can_be_planned_anew() -> None:
    card = drawn(FEW | {"state": State.HELD, "hold": Hold.LATE})
    assert "Send it now or drop it. It goes first for *B234680*. Edit or re-plan that one." in card


def test_whoever_decides_reads_which_broadcast_the_canary_is_and_how_it_fared() -> None:
    card = drawn(counterpart=row(**GONE), counterpart_link=LINK)
    assert "*few* has it. Press *Continue*" in card
    assert "🐤 *B234682* · few · ✅ Sent <!date^" in card
    assert f"· 3 of 3 delivered · <{LINK}|Open its card>" in card


@pytest.mark.parametrize("size", [None, UNREADABLE])
def test_of_a_canary_whose_size_nobody_knows_the_deliveries_alone_are_shown(size: int | None) -> None:
    card = drawn(counterpart=row(**GONE | {"size": size}))
    assert "· 3 delivered" in card
    assert "3 of" not in card
