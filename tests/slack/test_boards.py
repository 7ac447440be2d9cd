"""What people read about schedules: days in their own language, and what happens on closed days."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from bot.domain.i18n import translator_for
from bot.domain.lifecycle import OccurrenceState
from bot.domain.schedule import Digest, Kind, Occurrence, Schedule, micros_of
from bot.slack.blocks import recurring
from bot.slack.blocks.boards import BoardPage, board
from bot.when.recurrence import Closed, RecurringTime
from sandbox.blocks import check_blocks
from tests.support.rows import row

NINE = datetime(2026, 11, 30, 9)  # noqa: DTZ001 - a wall clock
TURN = RecurringTime(NINE, datetime(2026, 11, 30, 8, tzinfo=UTC))


def schedule(rule: str | None, closed: Closed) -> Schedule:
    return Schedule(
        workspace="T1", id="B234679", kind=Kind.REMINDER, key="k", owner="U1", channel="C1", typed="…", rule=rule,
        zone="Europe/Paris", closed=closed, calendar={"calendar": "FR"}, text="Factures", created_at=1, changed_at=1,
        next_at=micros_of(TURN.instant),
    )  # fmt: skip


def told(rule: str, closed: Closed, language: str = "en") -> str:
    return recurring.asked(schedule(rule, closed), [TURN], translator_for(language)).text


@pytest.mark.parametrize(
    ("rule", "closed", "said"),
    [
        ("0 18 L * *", Closed.SKIP, "skipped on holidays and weekends."),
        ("0 9 1 12 *", Closed.SKIP, "skipped on holidays and weekends."),
        ("0 18 L * *", Closed.SHIFT, "moved to the next working day on holidays and weekends."),
        ("0 9 * * 1", Closed.SKIP, "skipped on holidays."),
        ("0 9 * * 5L", Closed.SHIFT, "moved to the next working day on holidays."),
        ("0 9 * * *", Closed.SKIP, "skipped on holidays."),
        ("0 18 L * *", Closed.BEFORE, "moved to the previous working day on holidays and weekends."),
        ("0 9 * * 1", Closed.BEFORE, "moved to the previous working day on holidays."),
    ],
)
def test_it_says_that_weekends_are_closed_too_where_the_rule_names_no_weekday(
    rule: str, closed: Closed, said: str
) -> None:
    assert f"Holidays (FR): {said}" in told(rule, closed)


def created(rule: str, closed: Closed, **more: Any) -> Schedule:
    return dataclasses.replace(schedule(rule, closed), created_at=micros_of(TURN.instant), **more)


@pytest.mark.parametrize(
    ("rule", "left", "total"),
    [
        ("0 18 L * *", ["2027-01-31", "2027-02-28", "2027-07-31", "2027-10-31"], 24),
        ("0 9 1 5 *", ["2027-05-01", "2028-05-01"], 2),  # a holiday each year
        ("0 9 1 12 *", [], 2),
        ("0 9 * * 1", [], 53),  # Easter Monday and Whit Monday: now and then
        ("0 9 * * *", [], 53),
        ("0 9 * 5 6", ["2027-05-01", "2027-05-08"], 9),  # the rule names Saturdays, so only holidays count
    ],
)
def test_c33_it_is_known_which_occurrences_closed_days_leave_out(rule: str, left: list[str], total: int) -> None:
    """C33: days of the month often fall on closed days; a weekday seldom does."""
    found, of = created(rule, Closed.SKIP).left_out(micros_of(TURN.instant))
    assert [str(occurrence.local.date()) for occurrence in found][:4] == left
    assert of == total


@pytest.mark.parametrize("closed", [Closed.KEEP, Closed.SHIFT, Closed.BEFORE])
def test_where_nothing_is_left_out_nothing_is_said_of_it(closed: Closed) -> None:
    assert created("0 9 L * *", closed).left_out(micros_of(TURN.instant)) == ([], 0)


def test_what_is_left_out_ends_with_the_schedule() -> None:
    until = micros_of(datetime(2027, 2, 1, tzinfo=UTC))
    found, of = created("0 9 L * *", Closed.SKIP, until=until).left_out(micros_of(TURN.instant))
    assert ([str(occurrence.local.date()) for occurrence in found], of) == (["2027-01-31"], 2)
    assert created("0 9 L * *", Closed.SKIP, until=1).left_out(micros_of(TURN.instant)) == ([], 0)


@pytest.mark.parametrize(
    ("language", "said"),
    [
        (
            "en",
            "6 of the next 24 fall on closed days and will be left out: Sun 2027-01-31, Sun 2027-02-28, "
            "Sat 2027-07-31…",
        ),
        ("fr", "6 tombent un jour non ouvré et seront sautées : dim. 2027-01-31"),
        ("es", "6 caen en días no laborables y se saltarán: dom 2027-01-31"),
    ],
)
def test_the_answer_names_what_is_left_out_and_the_two_ways_to_have_it(language: str, said: str) -> None:
    post = recurring.asked(created("0 18 L * *", Closed.SKIP), [TURN], translator_for(language)).text
    assert said in post
    assert "`holidays=before`" in post
    assert "`holidays=shift`" in post


@pytest.mark.parametrize(("language", "weekends"), [("fr", "les week-ends"), ("es", "los fines de semana")])
def test_weekends_are_named_in_every_language(language: str, weekends: str) -> None:
    assert weekends in told("0 18 L * *", Closed.SKIP, language)
    assert weekends not in told("0 18 * * 1", Closed.SKIP, language)


@pytest.mark.parametrize(("language", "day"), [("en", "Mon"), ("fr", "lun."), ("es", "lun")])
def test_an_occurrence_names_its_weekday_in_the_readers_language(language: str, day: str) -> None:
    assert recurring.spelled(TURN, translator_for(language)) == f"{day} 2026-11-30 09:00 (+01:00)"
    assert f"• {day} 2026-11-30 09:00 (+01:00)" in told("0 9 * * 1", Closed.KEEP, language)


def test_a_digest_counts_what_it_does_not_show() -> None:
    of = row()
    digest = Digest(waiting=[of] * 12, held=[of] * 10, unknown=[], today=[], sent=0)
    occurrence = Occurrence(
        workspace="T1", schedule="B234679", local="2026-11-30T09:00", at=1, state=OccurrenceState.OPEN, changed_at=1
    )
    post = recurring.reminder(occurrence, schedule(None, Closed.KEEP), digest, translator_for("en"))
    waiting, held = (str(block) for block in post.blocks[2:4])
    assert (waiting.count(of.id), "+2 more" in waiting) == (10, True)
    assert (held.count(of.id), "more" in held) == (10, False)


def test_a_digest_without_a_text_of_its_own_is_listed_as_one() -> None:
    digest = dataclasses.replace(schedule("0 8 * * 1", Closed.SKIP), text="", options={"digest": True})
    (listed,) = board(BoardPage(Kind.REMINDER, [digest]), translator_for("fr")).text.splitlines()
    assert listed.endswith("· le résumé")
    assert "“”" not in recurring.details(digest, [], translator_for("en")).text


# --- how a reminder looks --------------------------------------------------------------------------------------------

MARKUP = ":coffee: *Relire* <https://evil.example|la liste>, <@U2|ana> <!here> &amp; &lt;b&gt;"
OPEN = Occurrence(
    workspace="T1", schedule="B234679", local="2026-11-30T09:00", at=1, state=OccurrenceState.OPEN, changed_at=1
)


def written(**options: object) -> Schedule:
    plain = ":coffee: *Relire* la liste (https://evil.example), @ana @here & <b>"
    return dataclasses.replace(schedule(None, Closed.KEEP), text=plain, options=options)


def first_block(of: Schedule) -> dict[str, str]:
    post = recurring.reminder(OPEN, of, None, translator_for("en"))
    check_blocks(post.blocks)
    found: dict[str, str] = post.blocks[0]["text"]
    assert "<!here>" not in post.text or of.options.get("mentions")
    return found


def test_a_reminders_emoji_bold_and_links_live_and_its_mentions_call_nobody() -> None:
    """C32: a link shows its address, whatever its label says."""
    said = "🔔 :coffee: *Relire* la liste (<https://evil.example>), @ana @here &amp; &lt;b&gt;"
    assert first_block(written(markup=MARKUP)) == {"type": "mrkdwn", "text": said, "verbatim": True}


def test_with_mentions_it_calls_whom_it_names() -> None:
    """C32"""
    assert "<@U2> <!here> &amp;" in first_block(written(markup=MARKUP, mentions=True))["text"]


def test_a_reminder_from_before_looks_as_it_did() -> None:
    """C32"""
    assert first_block(written()) == {"type": "plain_text", "text": f"🔔 {written().text}", "emoji": False}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"markup": MARKUP}, "To notify them, put `mentions=yes` before the text."),
        ({"markup": MARKUP, "mentions": True}, "It notifies the people and groups it names."),
        ({"markup": "*Relire*"}, "It will look like this:"),
    ],
)
def test_the_answer_shows_the_reminder_as_it_will_look(options: dict[str, object], told: str) -> None:
    """C32"""
    of = written(**options)
    post = recurring.asked(of, [TURN], translator_for("en"))
    check_blocks(post.blocks)
    assert post.blocks[-1]["text"] == first_block(of)
    assert told in post.text


def test_what_only_quotes_a_reminder_calls_nobody() -> None:
    """C32"""
    of = written(markup=MARKUP, mentions=True)
    quoted = [
        board(BoardPage(Kind.REMINDER, [of]), translator_for("en")),
        recurring.details(of, [], translator_for("en")),
    ]
    for post in quoted:
        assert not re.search("<!here>|<@U2>", json.dumps(post.blocks))
        assert "@ana" in json.dumps(post.blocks)


def test_what_comes_again_as_a_broadcast_has_no_look_of_its_own() -> None:
    of = dataclasses.replace(written(), kind=Kind.BROADCAST)
    assert "look like" not in recurring.asked(of, [TURN], translator_for("en")).text


def test_an_occurrence_that_cannot_be_shown_hides_no_other() -> None:
    occurrences = [OPEN, dataclasses.replace(OPEN, at=10**20), dataclasses.replace(OPEN, state=OccurrenceState.DONE)]
    told = recurring.details(schedule(None, Closed.KEEP), occurrences, translator_for("en")).text
    assert (told.count("•"), "cannot be shown" in told) == (2, True)
