"""Buttons are offered only where they can do what they say, also during a pause."""

from __future__ import annotations

import dataclasses
import json

import pytest
from sqlalchemy import update

from bot.app import Bot
from bot.domain.clock import SECOND
from bot.domain.errors import CardChanged, NotAllowed
from bot.domain.i18n import translator_for
from bot.domain.lifecycle import Hold, State
from bot.slack.blocks import card_facts
from bot.slack.blocks.card import draw_card
from bot.storage import cards, tables
from bot.workflow.deadlines import describe_start
from bot.workflow.decision_types import Approve, SendNow
from sandbox.server import Sandbox
from tests.support.cards import OPS, SEEN, STANDS, at, notes, question, shown
from tests.support.core import CLEO, TEAM, Core, MakeCore, approver
from tests.support.ground import StartBot
from tests.support.slack import approved, ask, settled


async def held_for_the_hours(core: Core) -> str:
    core.now = at("2027-02-03T21:00")  # a Wednesday, after eight in the evening
    row = await core.approved(audience="paris")
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).hold is Hold.HOURS
    return row.id


async def test_send_now_is_not_offered_where_the_hours_would_hold_it_again_and_says_when_they_do_not(
    core: Core,
) -> None:
    """C11."""
    id = await held_for_the_hours(core)
    row = await core.row(id)
    showing = card_facts.CardContext((), "Encom", None, None, training=False, zone="Europe/Paris")
    assert "broadcast.send_now" not in json.dumps(draw_card(row, showing, translator_for("en")).blocks)
    with pytest.raises(NotAllowed, match="Re-plan it for then") as told:
        await core.workflow.act(TEAM, id, SendNow(), person=CLEO, version=1)
    assert told.value.sentence.values["opens_at"] == at("2027-02-04T07:00")
    assert (await core.row(id)).state is State.HELD


async def test_send_now_says_what_would_hold_it_again(core: Core) -> None:
    await core.workflow.pause_all(OPS, on=True)
    row = await core.approved()
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).hold is Hold.PAUSED
    with pytest.raises(NotAllowed) as told:
        await core.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    assert "Sending is paused" in str(told.value.sentence)
    await core.workflow.pause_all(OPS, on=False)
    await core.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).state is State.SENT


async def test_what_would_have_gone_by_itself_goes_once_a_pause_over_its_time_has_ended(core: Core) -> None:
    """C36: the pause does not lose it; a note explains the delay, and there is a moment to stop it."""
    id = await held_for_the_hours(core)
    await core.workflow.pause_all(OPS, on=True)
    core.now = at("2027-02-04T07:30")  # half an hour after its window opened
    await core.run(core.dispatcher("a"))
    assert (await core.row(id)).hold is Hold.HOURS
    assert core.sandbox.vendors.ledger == []
    await core.workflow.pause_all(OPS, on=False)
    core.now += SECOND
    await core.run(core.dispatcher("a"))
    assert (await core.row(id)).state is State.SENT
    assert len(core.sandbox.vendors.ledger) == 1
    notes = await core.database.read(lambda c: [row["sentence"] for row in c.execute(tables.notes.select()).mappings()])
    (resumed,) = [note for note in notes if "while sending was paused" in note["template"]]
    assert resumed["values"] == {"opens_at": at("2027-02-04T07:00"), "start_at": core.now}


async def test_a_pause_that_ended_before_its_window_opened_changes_nothing(core: Core) -> None:
    id = await held_for_the_hours(core)
    await core.workflow.pause_all(OPS, on=True)
    await core.run(core.dispatcher("a"))
    await core.workflow.pause_all(OPS, on=False)
    core.now = at("2027-02-04T07:00")
    await core.run(core.dispatcher("a"))
    assert (await core.row(id)).state is State.SENT


async def test_what_a_pause_meets_outside_the_hours_goes_by_itself_once_both_have_ended(core: Core) -> None:
    """C36: it would have gone by itself without the pause."""
    core.now = at("2027-02-03T21:00")
    row = await core.approved(audience="paris")
    await core.workflow.pause_all(OPS, on=True)
    await core.run(core.dispatcher("a"))
    held = await core.row(row.id)
    assert (held.hold, held.hold_until) == (Hold.HOURS, at("2027-02-04T07:00"))
    assert "This broadcast will go out by itself once sending resumes" in (await notes(core))[-1]
    await core.workflow.pause_all(OPS, on=False)
    core.now = at("2027-02-04T07:00")
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).state is State.SENT


async def test_what_is_late_when_a_pause_meets_it_outside_the_hours_asks(core: Core) -> None:
    core.now = at("2027-02-03T18:30")
    row = await core.approved(audience="paris")
    await core.workflow.pause_all(OPS, on=True)
    core.now = at("2027-02-03T21:00")  # no process was running at its time
    await core.run(core.dispatcher("a"))
    held = await core.row(row.id)
    assert (held.hold, held.hold_until) == (Hold.PAUSED, None)


async def test_who_waits_for_the_end_of_a_pause_is_told_of_it(core: Core) -> None:
    """C36: a held broadcast asks again at once, and every sentence about it is true when it is posted."""
    await core.workflow.pause_all(OPS, on=True)
    row = await core.approved()
    assert "If it is still paused then, this broadcast will be held, and I will ask" in (await notes(core))[-1]
    await core.run(core.dispatcher("a"))
    assert (await notes(core))[-1] == (
        "Sending is paused. Once an admin resumes it, press *Send now* to send this broadcast."
    )
    core.now = (await core.row(row.id)).voice_at or 0
    await core.approval_reminders().tick()
    assert "sending is paused. Once an admin resumes sending" in (await notes(core))[-1]
    await core.workflow.pause_all(OPS, on=False)
    await core.approval_reminders().tick()
    assert (await notes(core))[-1].startswith("Sending is no longer paused, but this broadcast is still held.")
    told = len(await notes(core))
    await core.workflow.pause_all(OPS, on=False)  # there is no pause to end
    await core.approval_reminders().tick()
    assert len(await notes(core)) == told
    await core.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).state is State.SENT


async def test_what_is_approved_outside_the_hours_is_not_said_to_start_at_once(core: Core) -> None:
    """C45: in its thread, on its card, and before its start."""
    core.now = at("2027-02-03T21:00")
    row = await core.approved(audience="paris")
    opens = at("2027-02-04T07:00")
    assert (await notes(core))[-1] == (
        f"Approved by <@{approver(0).id}>. The sending hours for this audience hold it until {opens}. "
        "Then it starts by itself."
    )
    then = describe_start(core.policies, row, row.due or 0, paused=False)
    showing = card_facts.CardContext((), "Encom", None, None, training=False, zone="Europe/Paris", then=then)
    (step,) = [
        b for b in draw_card(row, showing, translator_for("en")).blocks if b.get("block_id", "").startswith("next:")
    ]
    assert f"hold it until <!date^{opens // SECOND}^" in step["text"]["text"]


@pytest.mark.parametrize(
    ("change", "why"),
    [("mode", "but the bot is in training mode now"), ("policy", "The bot's settings have no policy always")],
)
async def test_what_the_settings_of_today_would_hold_is_told_before_it_is_approved_and_after(
    make_core: MakeCore, change: str, why: str
) -> None:
    core = make_core()
    row = await core.ask()
    drawn = cards.Card(TEAM, row.id, 1, *STANDS, row.revision, facts=core.audiences.facts(row, core.now))
    await core.database.write(lambda c: cards.keep_card(c, drawn))
    core = make_core(**({"mode": "training"} if change == "mode" else {}))
    if change == "policy":
        del core.policies["always"]
    with pytest.raises(CardChanged) as changed:
        await core.workflow.act(TEAM, row.id, Approve(on_card=SEEN), person=approver(0), version=1)
    assert why in str(changed.value.changes[-1])
    misfit = core.audiences.misfit(row)
    assert why in question(row, misfit=misfit)
    showing = card_facts.CardContext((), "Encom", None, None, training=False, zone="", misfit=misfit)
    assert f"✋ {misfit}" in str(draw_card(row, showing, translator_for("en")).blocks)
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    assert (await notes(core))[-1] == f"Approved by <@{approver(0).id}>. It will be held: {misfit}"
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).hold is Hold.BLOCKED


async def test_the_notice_before_a_start_knows_the_hours_and_a_pause(core: Core) -> None:
    core.now = at("2027-02-03T16:00")
    row = await core.approved(audience="paris", send_at=at("2027-02-03T21:00"))
    await core.workflow.pause_all(OPS, on=True)
    core.now = (await core.row(row.id)).voice_at or 0
    await core.approval_reminders().tick()
    opens = at("2027-02-04T07:00")
    assert (await notes(core))[-1] == (
        f"The sending hours for this audience hold it until {opens}. Then it starts by itself. All sending is paused. "
        "If it is still paused then, this broadcast starts once sending resumes. "
        "Until then, press *Cancel* on its card to stop it."
    )


async def test_the_notice_before_a_start_names_the_button_that_is_on_the_card(make_core: MakeCore) -> None:
    """A broadcast approved for "now" is stopped; only one with its own time is cancelled."""
    core = make_core(**{"approval.undo": "90m"})
    row = await core.approved()
    core.now = row.voice_at or 0
    await core.approval_reminders().tick()
    assert (await notes(core))[-1] == f"It starts {row.due}. Until then, press *Stop* on its card to stop it."
    showing = card_facts.CardContext((), "Encom", None, None, training=False, zone="")
    shown = json.dumps(draw_card(await core.row(row.id), showing, translator_for("en")).blocks)
    assert "broadcast.stop" in shown
    assert "broadcast.cancel" not in shown


@pytest.mark.parametrize(
    ("paused", "said"),
    [
        (True, "sending is paused. Once an admin resumes sending, press *Send now* to send it."),
        (False, "sending was paused. Send it now"),
    ],
)
async def test_a_card_that_is_held_for_a_pause_says_whether_it_has_ended(core: Core, paused: bool, said: str) -> None:
    row = dataclasses.replace(await core.ask(), state=State.HELD, hold=Hold.PAUSED)
    showing = card_facts.CardContext((), "Encom", None, None, training=False, zone="", paused=paused)
    assert f"Held: {said}" in json.dumps(draw_card(row, showing, translator_for("en")).blocks)


async def test_the_question_before_an_approval_says_that_sending_is_paused(core: Core) -> None:
    core.now = at("2027-02-03T21:00")
    row = await core.ask(audience="paris")
    asks = "All sending is paused. If it is still paused then, this broadcast will be held, and I will ask what to do."
    assert asks in question(row, paused=True)
    outlook = core.audiences.outlook(row, core.now)
    closed = question(row, paused=True, verdict=outlook.verdict, opens=outlook.opens)
    assert "All sending is paused. If it is still paused then, this broadcast starts once sending resumes." in closed


async def test_a_card_that_waits_for_the_hours_says_that_sending_is_paused_too(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    """C36: the card is right before, during and after the pause."""
    closed = {"marketing": {"windows": [{"start": "00:00", "end": "00:01"}], "end_margin": "0s", "max_hold": "48h"}}
    bot = await start_bot(sandbox, policies={"always": closed})
    await approved(sandbox)
    await settled(bot, State.HELD)
    await sandbox.until(lambda: "It will go out by itself" in shown(sandbox))
    await ask(sandbox, "pause all", user="U0OPS")
    await sandbox.until(lambda: "All sending is paused too" in shown(sandbox))
    told = await ask(sandbox, "resume all", user="U0OPS")
    assert told == "Sending has resumed."
    assert "by itself" not in told
    await sandbox.until(lambda: "All sending is paused too" not in shown(sandbox))


async def test_who_ends_a_pause_is_told_how_many_start_by_themselves(sandbox: Sandbox, start_bot: StartBot) -> None:
    """C36: nobody is surprised by what starts at that moment."""
    closed = {"marketing": {"windows": [{"start": "00:00", "end": "00:01"}], "end_margin": "0s", "max_hold": "48h"}}
    bot = await start_bot(sandbox, policies={"always": closed})
    await approved(sandbox)
    row = await settled(bot, State.HELD)
    await ask(sandbox, "pause all", user="U0OPS")
    opened = update(tables.broadcasts).where(tables.broadcasts.c.id == row.id).values(hold_until=bot.clock() - SECOND)
    await bot.database.write(lambda c: c.execute(opened))
    told = await ask(sandbox, "resume all", user="U0OPS")
    assert "1 broadcast was only waiting for its sending hours and now starts by itself" in told


async def test_who_resumes_what_was_not_paused_reads_so(sandbox: Sandbox, bot: Bot) -> None:
    assert await ask(sandbox, "resume all", user="U0OPS") == "Sending was not paused."
