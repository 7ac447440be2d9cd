"""The question before a press says what will happen, when, and to how many."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest

from bot.app import Bot
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, moment, now
from bot.domain.hours import HoldUntil
from bot.domain.i18n import LANGUAGES, translator_for
from bot.domain.lifecycle import Action, Hold, State
from bot.slack.blocks import card_facts
from bot.slack.blocks.card import draw_card, goes_stale_at
from bot.storage import broadcasts, keys
from bot.storage.votes import votes_for
from bot.workflow.decision_types import SendNow
from sandbox.server import Sandbox
from tests.support.cards import HOUR, OPS, at, question, shown
from tests.support.core import CLEO, TEAM, Core, approver
from tests.support.ground import StartBot, newest
from tests.support.slack import ask, card


@pytest.mark.long
async def test_the_question_before_an_approval_says_to_how_many_when_and_until_when_it_can_be_stopped(
    core: Core,
) -> None:
    """C45."""
    core.now = at("2027-02-03T21:00")
    row = dataclasses.replace(await core.ask(audience="paris"), size=12)
    outlook = core.audiences.outlook(row, core.now)
    closed = question(row, verdict=outlook.verdict, opens=outlook.opens)
    assert closed == (
        "paris: 12 people. Its cost is not known. It starts 2027-02-04 08:00 Europe/Paris (+0100). "
        "Until then it can be stopped. After that it cannot be recalled."
    )
    assert question(row) == (
        "paris: 12 people. Its cost is not known. It starts 30 s later. Until then it can be stopped. After that it "
        "cannot be recalled."
    )
    assert question(row, undo=0) == "paris: 12 people. Its cost is not known. It starts at once and cannot be recalled."
    planned = dataclasses.replace(row, send_at=at("2027-02-05T09:00"))
    assert "It starts 2027-02-05 10:00 Europe/Paris (+0100). Until then it can be stopped" in question(planned)
    assert question(row, training=True) == "Training: nothing is really sent. paris: 12 people."
    two = question(dataclasses.replace(row, quorum=3))
    assert "After yours, 2 more approvals are needed." in two


async def test_the_question_before_an_approval_knows_that_its_own_time_has_passed(core: Core) -> None:
    """C45: a broadcast that is too late will be held, and the question promises no start."""
    row = dataclasses.replace(await core.ask(), size=12, send_at=at("2027-02-03T10:01"))
    late = question(row, now=at("2027-02-03T10:30"), grace=600 * SECOND)
    assert late == (
        "clients: 12 people. Its cost is not known. Its start time has passed. "
        "Once approved, it will be held, and I will ask again what to do."
    )
    within = question(row, now=at("2027-02-03T10:05"), grace=600 * SECOND)
    assert within == (
        "clients: 12 people. Its cost is not known. It starts 30 s later. Until then it can be stopped. After that it "
        "cannot be recalled."
    )
    assert "It starts 2027-02-03 11:01" in question(row, now=at("2027-02-03T10:00"), grace=600 * SECOND)


async def test_the_question_before_send_now_names_a_time_that_is_still_to_come(core: Core) -> None:
    """C45: a broadcast restored days before its time starts at its time."""
    row = dataclasses.replace(
        await core.ask(), size=12, state=State.HELD, hold=Hold.RESTORED, send_at=at("2027-02-10T10:00")
    )
    ahead = question(row, "broadcast.send_now", now=at("2027-02-03T10:00"))
    assert ahead == (
        "clients: 12 people. It starts 2027-02-10 11:00 Europe/Paris (+0100). "
        "Until then it can be stopped. After that it cannot be recalled."
    )
    assert "It starts 30 s later." in question(row, "broadcast.send_now", now=at("2027-02-10T10:00"))


async def held_card(core: Core, row: Broadcast) -> tuple[str, str]:
    """Return the card's next step, and its question before *Send now*."""
    votes = await core.database.read(lambda c: votes_for(c, row))
    refusal = await core.database.read(lambda c: core.workflow.decisions.why_not_now(c, row))
    paused = await core.database.read(lambda c: keys.paused(c, TEAM))
    given: dict[str, Any] = {"refusal": refusal, "asks_first": core.workflow.validity.asks_first(row, len(votes))}
    showing = card_facts.CardContext(
        tuple(votes), "Encom", None, None, False, "Europe/Paris", undo=30, paused=paused, **given
    )
    (step,) = [
        b for b in draw_card(row, showing, translator_for("en")).blocks if b.get("block_id", "").startswith("next:")
    ]
    return step["text"]["text"], question(row, "broadcast.send_now", paused=paused, now=core.now, **given)


@pytest.mark.parametrize("what", ["never approved", "taken back", "too long ago"])
async def test_the_question_before_send_now_says_that_it_asks_the_approvers_first(core: Core, what: str) -> None:
    row = await (core.ask() if what == "never approved" else core.approved())
    held: dict[str, Any] = {"actor": "restore", "at": core.now, "hold": Hold.RESTORED, "due": None}
    await core.database.write(lambda c: broadcasts.move(c, row, Action.HOLD, **held))
    if what == "taken back":
        await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button")
    elif what == "too long ago":
        core.now += 30 * 24 * HOUR
    step, asked = await held_card(core, await core.row(row.id))
    assert "It needs approval before it goes out. Press *Send now* to ask for it." in step
    assert asked.endswith(". It needs approval before it goes out. This asks the approvers.")
    assert "It starts" not in asked
    await core.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    assert (await core.row(row.id)).state is State.PENDING


async def test_the_question_before_send_now_says_why_it_cannot_go(core: Core) -> None:
    core.now = at("2027-02-03T16:00")
    row = await core.approved(audience="paris", send_at=at("2027-02-03T17:00"))
    core.now = at("2027-02-03T18:30")
    await core.run(core.dispatcher("a"))
    late = await core.row(row.id)
    assert late.hold is Hold.LATE
    _, asked = await held_card(core, late)
    assert "It starts 30 s later." in asked
    core.now = at("2027-02-03T21:00")
    step, asked = await held_card(core, late)
    assert f"They allow it from <!date^{at('2027-02-04T07:00') // SECOND}^" in step
    assert "They allow it from 2027-02-04 08:00 CET. Re-plan it for then." in asked
    assert "recalled" not in asked
    core.now = at("2027-02-03T18:30")
    await core.workflow.pause_all(OPS, on=True)
    _, asked = await held_card(core, late)
    assert (
        "It cannot go out now: Sending is paused. Once an admin resumes it, press Send now to send this broadcast."
        in asked
    )
    assert "recalled" not in asked


async def test_the_card_of_what_is_held_knows_what_becomes_of_send_now(bot: Bot, sandbox: Sandbox) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    held = dataclasses.replace(await newest(bot), state=State.HELD, hold=Hold.RESTORED)
    showing = await bot.showing(held, [])
    assert (showing.refusal, showing.asks_first) == (None, True)
    await ask(sandbox, "pause all", user="U0OPS")
    assert "Sending is paused" in str((await bot.showing(held, [])).refusal)


async def test_a_card_of_what_is_held_is_looked_at_again_when_what_is_in_its_way_may_be_gone(core: Core) -> None:
    showing = card_facts.CardContext((), "Encom", None, None, training=False, zone="", now=100 * HOUR)
    held = dataclasses.replace(await core.ask(), state=State.HELD, hold=Hold.CAP)
    assert goes_stale_at(held, showing) == 101 * HOUR
    opens = 100 * HOUR + SECOND
    assert goes_stale_at(held, dataclasses.replace(showing, opens=opens)) == opens
    assert goes_stale_at(dataclasses.replace(held, hold=Hold.HOURS), showing) is None  # the dispatcher checks it


async def test_a_card_is_drawn_anew_when_its_own_time_passes(sandbox: Sandbox, start_bot: StartBot) -> None:
    shift = 0
    bot = await start_bot(sandbox, clock=lambda: now() + shift, approval__undo="30s", approval__remind_after="1d")
    await ask(sandbox, f"send clients marketing at={moment(now() + 2 * HOUR):%Y-%m-%dT%H:%MZ} Soldes")
    await card(sandbox)
    await sandbox.until(lambda: "Until then it can be stopped" in shown(sandbox))
    row = await newest(bot)
    shift = (row.send_at or 0) + SECOND - now()
    await sandbox.until(lambda: "It starts 30 s later" in shown(sandbox))
    shift += HOUR
    await sandbox.until(lambda: "Its start time has passed" in shown(sandbox))
    assert (await newest(bot)).state is State.PENDING


LONG_ZONE = "America/Argentina/ComodRivadavia"
RECALLED = {"en": "it cannot be recalled.", "fr": "elle ne pourra plus être rappelée.", "es": "no se podrá retirar."}


@pytest.mark.parametrize("language", LANGUAGES)
async def test_no_question_is_longer_than_slack_lets_it_be_or_ends_in_the_middle(core: Core, language: str) -> None:
    """C45: a question may drop other parts, but never that the broadcast cannot be recalled."""
    opens = at("2027-02-04T07:00")
    row = dataclasses.replace(await core.ask(), audience="a" * 100, bound=10**9, send_at=opens - SECOND)
    held = dataclasses.replace(row, state=State.HELD, hold=Hold.LATE)
    asked = [(held, "broadcast.send_now")]
    for everyone, covers, quorum in itertools.product((False, True), (1, 9), (1, 5)):
        changes: dict[str, Any] = {"everyone": everyone, "covers": covers, "quorum": quorum}
        asked.append((dataclasses.replace(row, **changes), "broadcast.approve"))
    for paused, verdict in itertools.product((False, True), (None, HoldUntil(moment(opens)))):
        given: dict[str, Any] = {"verdict": verdict, "opens": opens, "zone": LONG_ZONE, "paused": paused}
        for one, action in asked:
            told = question(one, action, language, **given)
            assert len(told) <= 300
            assert "2027-02-04" in told
            assert told.endswith(RECALLED[language])
    unknown = dataclasses.replace(row, state=State.UNKNOWN)
    for action in ("broadcast.mark_sent", "broadcast.mark_not_sent"):
        assert question(unknown, action, language).endswith(".")
