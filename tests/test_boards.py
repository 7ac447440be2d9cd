"""What people read about what comes again: days in their own language, and what becomes of it on closed days."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from bot.schedule import Kind, Schedule, micros_of
from bot.slack import boards
from bot.when import Closed, Occurrence
from bot.words import words_for

NINE = datetime(2026, 11, 30, 9)  # noqa: DTZ001 - a wall clock
TURN = Occurrence(NINE, datetime(2026, 11, 30, 8, tzinfo=UTC))


def schedule(rule: str | None, closed: Closed) -> Schedule:
    return Schedule(
        workspace="T1", id="B234679", kind=Kind.REMINDER, key="k", owner="U1", channel="C1", typed="…", rule=rule,
        zone="Europe/Paris", closed=closed, calendar={"calendar": "FR"}, text="Factures", created_at=1, changed_at=1,
        next_at=micros_of(TURN.instant),
    )  # fmt: skip


def told(rule: str, closed: Closed, language: str = "en") -> str:
    return boards.asked(schedule(rule, closed), [TURN], words_for(language)).text


@pytest.mark.parametrize(
    ("rule", "closed", "said"),
    [
        ("0 18 L * *", Closed.SKIP, "left out on holidays and weekends."),
        ("0 9 1 12 *", Closed.SKIP, "left out on holidays and weekends."),
        ("0 18 L * *", Closed.SHIFT, "moved to the next working day on holidays and weekends."),
        ("0 9 * * 1", Closed.SKIP, "left out on holidays."),
        ("0 9 * * 5L", Closed.SHIFT, "moved to the next working day on holidays."),
        ("0 9 * * *", Closed.SKIP, "left out on holidays."),
    ],
)
def test_it_says_that_weekends_are_closed_too_where_the_rule_names_no_weekday(
    rule: str, closed: Closed, said: str
) -> None:
    assert f"Holidays (FR): {said}" in told(rule, closed)


@pytest.mark.parametrize(("language", "weekends"), [("fr", "les week-ends"), ("es", "los fines de semana")])
def test_weekends_are_named_in_every_language(language: str, weekends: str) -> None:
    assert weekends in told("0 18 L * *", Closed.SKIP, language)
    assert weekends not in told("0 18 * * 1", Closed.SKIP, language)


@pytest.mark.parametrize(("language", "day"), [("en", "Mon"), ("fr", "lun."), ("es", "lun")])
def test_a_turn_names_its_weekday_in_the_readers_language(language: str, day: str) -> None:
    assert boards.spelled(TURN, words_for(language)) == f"{day} 2026-11-30 09:00 (+01:00)"
    assert f"• {day} 2026-11-30 09:00 (+01:00)" in told("0 9 * * 1", Closed.KEEP, language)


def test_a_digest_without_a_text_of_its_own_is_listed_as_one() -> None:
    digest = dataclasses.replace(schedule("0 8 * * 1", Closed.SKIP), text="", options={"digest": True})
    (listed,) = boards.listing([digest], Kind.REMINDER, words_for("fr")).text.splitlines()
    assert listed.endswith("· le résumé")
    assert "“”" not in boards.details(digest, [], words_for("en")).text
