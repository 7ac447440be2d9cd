"""The first lines of a card: what rings, on how many phones, at what cost, and when."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from bot.domain.clock import SECOND, moment
from bot.domain.hours import HoldUntil, Refuse
from bot.domain.i18n import Translatable, translator_for
from bot.domain.lifecycle import ENDED, Hold, State
from bot.slack.blocks.card import draw_card
from bot.slack.blocks.card_facts import CardContext
from bot.slack.blocks.card_stakes import large, stakes, title
from providers.base import AudienceKind, Staged
from providers.reading import UNREADABLE
from tests.support.rows import row

EN = translator_for("en")
SHOWING = CardContext((), "Octopush", None, None, training=False, zone="Europe/Paris")
NOON = 1_800_014_400 * SECOND  # 2027-01-15 13:00 in Paris
TWO_SMS = "Soldes chez Bell. " * 12
STAGED = Staged("sms_1", cost=Decimal("5.16"), currency="EUR", contacts=20)

LINES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "all is known": ({"quoted": "2.58 EUR"}, {}, "20 people × 1 SMS = 20 SMS · ≈ 2.58 EUR · right after approval"),
    "one person": ({"size": 1}, {}, "1 person × 1 SMS = 1 SMS · cost not known · right after approval"),
    "two SMS each": ({"text": TWO_SMS}, {}, "20 people × 2 SMS = 40 SMS · cost not known · right after approval"),
    "a name is filled in": (
        {"text": "Hi %%name%%"},
        {},
        "20 people × at least 1 SMS = at least 20 SMS · cost not known · right after approval",
    ),
    "the vendor has not said": (
        {"size": None, "bound": 100},
        {},
        "up to 100 people (Octopush has not said) × 1 SMS = up to 100 SMS · cost not known · right after approval",
    ),
    "the vendor has said nonsense": (
        {"size": UNREADABLE, "bound": 100},
        {},
        "up to 100 people (Octopush has not said) × 1 SMS = up to 100 SMS · cost not known · right after approval",
    ),
    "nobody knows how many": (
        {"size": None, "text": "Hi %%name%%"},
        {},
        "the vendor does not say how many people × at least 1 SMS · cost not known · right after approval",
    ),
    "a group": ({"kind": AudienceKind.GROUP}, {}, "20 people · cost not known · right after approval"),
    "its campaign has been prepared": (
        {"state": State.SCHEDULED, "staged": STAGED, "due": NOON, "quoted": "2.58 EUR"},
        {},
        "20 people × 1 SMS = 20 SMS · 5.16 EUR · 2027-01-15 13:00 Europe/Paris (+0100)",
    ),
    "planned": (
        {"send_at": NOON},
        {},
        "20 people × 1 SMS = 20 SMS · cost not known · 2027-01-15 13:00 Europe/Paris (+0100)",
    ),
    "outside the hours": (
        {},
        {"verdict": HoldUntil(moment(NOON)), "opens": NOON},
        "20 people × 1 SMS = 20 SMS · cost not known · not before 2027-01-15 13:00 Europe/Paris (+0100)",
    ),
    "never in the hours": (
        {},
        {"verdict": Refuse()},
        "20 people × 1 SMS = 20 SMS · cost not known · not as planned, see below",
    ),
    "not with these settings": (
        {},
        {"misfit": Translatable("No policy.")},
        "20 people × 1 SMS = 20 SMS · cost not known · not as planned, see below",
    ),
    "held until the hours": (
        {"state": State.HELD, "hold": Hold.HOURS, "hold_until": NOON},
        {},
        "20 people × 1 SMS = 20 SMS · cost not known · 2027-01-15 13:00 Europe/Paris (+0100)",
    ),
    "sent at last": (
        {"state": State.SCHEDULED, "send_at": NOON - 86_400 * SECOND, "due": NOON},
        {},
        "20 people × 1 SMS = 20 SMS · cost not known · 2027-01-15 13:00 Europe/Paris (+0100)",
    ),
    "held": ({"state": State.HELD, "hold": Hold.CAP}, {}, "20 people × 1 SMS = 20 SMS · cost not known"),
    "on its way": ({"state": State.SENDING}, {}, "20 people × 1 SMS = 20 SMS · cost not known"),
}


@pytest.mark.parametrize("case", LINES)
def test_the_line_in_large_letters_says_how_many_at_what_cost_and_when(case: str) -> None:
    changes, shown, line = LINES[case]
    assert stakes(row(**changes), replace(SHOWING, **shown), EN) == line


@pytest.mark.parametrize(
    ("language", "line", "asked"),
    [
        ("fr", "20 personnes × 1 SMS = 20 SMS · ≈ 2.58 EUR · juste après", "🟡 Approuver ? · SMS à clients"),
        ("es", "20 personas × 1 SMS = 20 SMS · ≈ 2.58 EUR · justo después", "🟡 ¿Aprobar? · SMS a clients"),
    ],
)
def test_the_first_lines_are_in_the_language_of_the_cards(language: str, line: str, asked: str) -> None:
    words, quoted = translator_for(language), row(quoted="2.58 EUR")
    assert stakes(quoted, SHOWING, words).startswith(line)
    assert title(quoted, SHOWING, words) == asked


def test_a_line_that_is_too_long_for_large_letters_is_shown_whole_in_bold_ones() -> None:
    line = "a <b> " * 40
    assert large(line)["text"]["text"] == f"*{'a &lt;b&gt; ' * 40}*"
    assert large("short")["type"] == "header"


def test_in_training_the_header_and_the_button_say_so() -> None:
    shown = json.dumps(draw_card(row(mode="training"), replace(SHOWING, training=True), EN).blocks, ensure_ascii=False)
    assert "🟦 TRAINING: nothing is really sent · 🟡 Approve? · SMS to clients" in shown
    assert '"Simulate"' in shown
    assert '"Approve"' not in shown


def test_in_the_undo_window_its_end_and_the_button_to_stop_stand_on_top() -> None:
    blocks = draw_card(row(state=State.SCHEDULED, due=NOON), SHOWING, EN).blocks
    assert blocks[1]["text"]["text"] == f"⏳ *Goes out at <!date^{NOON // SECOND}^{{time_secs}}|13:00:00 CET>*"
    assert blocks[2]["elements"][0]["action_id"] == "broadcast.stop"


AT_THE_GATE: dict[str, dict[str, Any]] = {
    "closed hours": {"verdict": HoldUntil(moment(NOON))},
    "hours that never open": {"verdict": Refuse()},
    "a pause": {"paused": True},
    "settings that hold it": {"misfit": Translatable("no policy")},
}


@pytest.mark.parametrize("why", AT_THE_GATE)
def test_no_countdown_runs_to_a_time_at_which_it_will_not_go(why: str) -> None:
    blocks = draw_card(row(state=State.SCHEDULED, due=NOON), replace(SHOWING, **AT_THE_GATE[why]), EN).blocks
    assert "⏳" not in json.dumps(blocks, ensure_ascii=False)
    assert "broadcast.stop" in [one.get("action_id") for block in blocks for one in block.get("elements", [])]


def test_the_countdown_of_what_has_a_canary_names_only_that() -> None:
    asked = row(state=State.SCHEDULED, due=NOON, canary="few")
    shown = json.dumps(draw_card(asked, SHOWING, EN).blocks, ensure_ascii=False)
    assert "⏳ *Goes to few first at " in shown
    assert "Goes out at" not in shown
    continued = replace(asked, continued_at=1)
    assert "⏳ *Goes out at " in json.dumps(draw_card(continued, SHOWING, EN).blocks, ensure_ascii=False)


def test_what_had_a_time_and_is_let_go_later_has_a_countdown_and_stop() -> None:
    let_go = row(state=State.SCHEDULED, send_at=NOON - 60 * SECOND, due=NOON)
    assert draw_card(let_go, SHOWING, EN).blocks[2]["elements"][0]["action_id"] == "broadcast.stop"
    planned = row(state=State.SCHEDULED, send_at=NOON, due=NOON)
    shown = json.dumps(draw_card(planned, SHOWING, EN).blocks, ensure_ascii=False)
    assert "broadcast.cancel" in shown
    assert "⏳" not in shown


@pytest.mark.parametrize("state", sorted(ENDED))
def test_what_has_ended_takes_two_lines_and_can_be_sent_again(state: State) -> None:
    first, second, buttons = draw_card(row(state=state, text="Soldes demain"), SHOWING, EN).blocks
    assert "SMS to clients*: “Soldes demain”" in first["text"]["text"]
    assert second["type"] == "context"
    assert [one["action_id"] for one in buttons["elements"]] == ["broadcast.follow_up"]
    assert [one["text"]["text"] for one in buttons["elements"]] == [
        "Send a correction" if state is State.DONE else "Send again"
    ]


def test_what_became_of_it_and_a_few_of_its_ids_begin_the_grey_line() -> None:
    done = row(state=State.DONE, text="Soldes demain", ids=("22", "23", "24", "25"), counts={"delivered": 20})
    first, second, _ = draw_card(done, SHOWING, EN).blocks
    assert "\n" not in first["text"]["text"]
    grey = second["elements"][0]["text"]
    assert grey.startswith("▓▓▓▓▓▓▓▓▓▓ 20 of 20 delivered · *Ids*: `22–25` (4) · Marketing · ")


def test_the_grey_line_holds_everything_else_that_identifies_it() -> None:
    grey = draw_card(row(campaign="june"), replace(SHOWING, sender="Bell"), EN).blocks[-1]["elements"][0]["text"]
    assert grey == (
        "Marketing · sender Bell · campaign june · encom (Octopush, list 1) · asked by <@U1> · *B234679* v1 · "
        "`dddddddd`"
    )


QUESTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "a cost": ({"quoted": "2.58 EUR"}, "It costs ≈ 2.58 EUR. "),
    "no cost": ({}, "Its cost is not known. "),
    "a canary": (
        {"quoted": "2.58 EUR", "canary": "few"},
        "It costs ≈ 2.58 EUR. Only few gets it first. The others get it once somebody presses Continue. ",
    ),
}


@pytest.mark.parametrize("case", QUESTIONS)
def test_the_question_before_an_approval_tells_the_same_as_the_card(case: str) -> None:
    about, told = QUESTIONS[case]
    blocks = draw_card(row(**about), replace(SHOWING, undo=30), EN).blocks
    (approve,) = [e for b in blocks for e in b.get("elements", []) if e.get("action_id") == "broadcast.approve"]
    assert approve["confirm"]["text"]["text"] == (
        f"clients: 20 people. {told}It starts 30 s later. Until then it can be stopped. After that it cannot be "
        "recalled."
    )
