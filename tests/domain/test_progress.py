"""How far deliveries have come, and ids, as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from bot.domain.clock import SECOND
from bot.domain.i18n import Translatable, translator_for
from bot.domain.id_ranges import id_ranges, ids_in_words
from bot.domain.lifecycle import State
from bot.domain.progress import answers_line, duration, progress_line, reasons_line, report_line
from bot.slack.blocks.charts import deliveries_chart, without_charts
from bot.slack.blocks.mrkdwn import sentence
from providers.base import Staged
from providers.octopush import REASONS
from providers.reading import UNREADABLE
from tests.support.rows import row

TWENTY: dict[str, Any] = {"state": State.SENT, "staged": Staged("sms_1", contacts=20), "ids": ("sms_1",), "size": 18}

LINES: dict[str, tuple[dict[str, Any], str]] = {
    "some are on the way": (
        {"counts": {"delivered": 15, "failed": 1, "sent": 2}},
        "▓▓▓▓▓▓▓░░░ 15 of 20 delivered · 1 failed · 4 on the way",
    ),
    "all but one": ({"counts": {"delivered": 19}}, "▓▓▓▓▓▓▓▓▓░ 19 of 20 delivered · 1 on the way"),
    "everybody": ({"counts": {"delivered": 20}}, "▓▓▓▓▓▓▓▓▓▓ 20 of 20 delivered"),
    "nothing arrived": (
        {"counts": {"failed": 2, "blacklisted": 1, "expired": 1}},
        "░░░░░░░░░░ 0 of 20 delivered · 2 failed · 1 blacklisted · 1 expired · 16 on the way",
    ),
    "it only says sent": ({"counts": {"sent": 18}}, "▓▓▓▓▓▓▓▓▓░ 18 of 20 sent · 2 on the way"),
    "a word that nobody knows": (
        {"counts": {"delivered": 10, "other: LOST?": 3, "other": 1}},
        "▓▓▓▓▓░░░░░ 10 of 20 delivered · 3 × LOST? · 1 × other · 6 on the way",
    ),
    "more than it said": ({"counts": {"delivered": 21}}, "▓▓▓▓▓▓▓▓▓▓ 21 of 21 delivered"),
    "answers are no deliveries": ({"counts": {"delivered": 20, "replies": 4}}, "▓▓▓▓▓▓▓▓▓▓ 20 of 20 delivered"),
    "the vendor counts no contacts": (
        {"counts": {"delivered": 9}, "staged": None},
        "▓▓▓▓▓░░░░░ 9 of 18 delivered · 9 on the way",
    ),
    "one id for each": (
        {"counts": {"sent": 1}, "staged": None, "size": UNREADABLE, "ids": ("22", "23")},
        "▓▓▓▓▓░░░░░ 1 of 2 sent · 1 on the way",
    ),
    "nobody says how many": (
        {"counts": {"delivered": 3, "sent": 2}, "staged": None, "size": None},
        "3 delivered · 2 on the way",
    ),
    "a million": (
        {"counts": {"delivered": 999_999}, "staged": Staged("sms_1", contacts=1_000_000)},
        "▓▓▓▓▓▓▓▓▓░ 999,999 of 1,000,000 delivered · 1 on the way",
    ),
    "it is over": (
        {"counts": {"delivered": 15, "failed": 1}, "state": State.DONE},
        "▓▓▓▓▓▓▓░░░ 15 of 20 delivered · 1 failed · 4 not known",
    ),
}


@pytest.mark.parametrize("case", LINES)
def test_a_line_tells_how_far_it_has_come(case: str) -> None:
    changes, line = LINES[case]
    assert sentence(translator_for("en"), progress_line(row(**TWENTY | changes))) == line


@pytest.mark.parametrize(
    ("language", "line"),
    [
        ("fr", "▓▓▓▓▓▓▓░░░ reçus : 1\u202f500 sur 2\u202f000 · échecs : 100 · 400 en route"),
        ("es", "▓▓▓▓▓▓▓░░░ entregados: 1.500 de 2.000 · fallidos: 100 · 400 en camino"),
    ],
)
def test_each_language_groups_its_digits(language: str, line: str) -> None:
    counts = {"delivered": 1500, "failed": 100}
    it = row(**TWENTY | {"counts": counts, "staged": Staged("sms_1", contacts=2000)})
    assert sentence(translator_for(language), progress_line(it)) == line


def test_the_report_tells_how_fast_and_for_how_much() -> None:
    done = row(**TWENTY | {"state": State.DONE, "counts": {"delivered": 18, "failed": 1, "replies": 2, "opt-outs": 1}})
    report = report_line(done, 14 * SECOND, Translatable("2.58 EUR"))
    assert str(report) == (
        "delivered to 18 of 20 in 14 s · 1 failed · 1 not known · 2.58 EUR · replies: 2 · opt-outs: 1"
    )
    assert str(answers_line(done)) == "replies: 2 · opt-outs: 1"


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0 s"), (59, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (-3, "0 s")]
)
def test_a_duration_is_as_long_as_it_was(seconds: int, told: str) -> None:
    assert duration(seconds * SECOND) == told


def test_failures_are_grouped_by_reason_in_words_and_the_rest_by_the_vendors_word() -> None:
    found = {"NOT_DELIVERED": 1, "BAD_DESTINATION": 3, "X9": 2, "A": 1, "B": 1, "C": 1, "D": 1}
    line = reasons_line(found, REASONS)
    assert str(line) == "3 × number not in service, 2 × X9, 1 × A, 1 × B, 1 × C, 2 × other reasons"
    assert sentence(translator_for("fr"), line).startswith("3 × numéro non attribué, 2 × X9")


RANGES: dict[str, tuple[list[str], str]] = {
    "ten thousand": ([str(number) for number in range(24, 10024)], "24–10023 (10000)"),
    "two are no range": (["22", "23"], "22 23"),
    "with a gap": (["22", "23", "24", "26", "30", "31", "32"], "22–24 (3) 26 30–32 (3)"),
    "backwards": (["3", "2", "1"], "3 2 1"),
    "texts": (["a1", "a2", "a3"], "a1 a2 a3"),
    "leading zeros": (["007", "8", "9", "10"], "007 8–10 (3)"),
    "nearly a leading zero": (["7", "08", "9"], "7 08 9"),
    "past what a number holds": (["9" * 30, "1" + "0" * 30], "9" * 30 + " 1" + "0" * 30),
    "the same twice": (["5", "5", "6", "7"], "5 5–7 (3)"),
    "none": ([], ""),
}


@pytest.mark.parametrize("case", RANGES)
def test_ids_that_follow_each_other_are_one_range(case: str) -> None:
    ids, shown = RANGES[case]
    found = [*id_ranges(ids)]
    assert sum(one.number for one in found) == len(ids)
    assert (
        " ".join(one.first if one.number == 1 else f"{one.first}–{one.last} ({one.number})" for one in found) == shown
    )


def test_a_sentence_names_a_hundred_ids_and_counts_the_others() -> None:
    assert ids_in_words([str(2 * number) for number in range(101)]).endswith("196, 198 … (+1)")
    assert ids_in_words(("1", "7", "8", "9")) == "1, 7–9 (3)"


def test_a_chart_as_text_shows_the_same_numbers() -> None:
    values: Mapping[str, Any] = {"chart_delivered": 15, "chart_failed": 5, "chart_expired": 0, "counts": "x"}
    (block,) = deliveries_chart(values, translator_for("fr"))
    assert block["chart"]["segments"] == [{"label": "Reçus", "value": 15}, {"label": "Échoués", "value": 5}]
    (text,) = without_charts([block])
    assert text["text"]["text"] == "`▓▓▓▓▓▓▓░░░` Reçus: 15\n`▓▓░░░░░░░░` Échoués: 5"
    assert deliveries_chart({"counts": "x"}, translator_for("en")) == []
