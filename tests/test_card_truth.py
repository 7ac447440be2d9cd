"""What a card says is so: what was seen is what is approved, and every button can do what it says."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import update

from bot import store, tables
from bot.app import Bot
from bot.broadcast import SECOND, Action, CardChanged, Hold, Micros, NotAllowed, State
from bot.slack import views
from bot.words import LANGUAGES, words_for
from providers.base import Purpose
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.core import CLEO, TEAM, Core, MakeCore, approver
from tests.ground import StartBot, newest
from tests.test_story import HERE, card, thread_text
from tests.test_trouble import approved, ask, settled

HOUR = 3600 * SECOND
OPS = dataclasses.replace(CLEO, id="U0OPS")


def at(text: str) -> Micros:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


# --- what was seen is what is approved -------------------------------------------------------------------------------


async def test_a_press_on_a_card_that_shows_fewer_people_is_answered_with_how_many_there_are(
    sandbox: Sandbox, bot: Bot
) -> None:
    """C4: Slack lets no update through while the vendor tells 500."""
    await ask(sandbox, "send newsletter marketing Soldes")
    posted = await card(sandbox)
    assert "at most 100" in json.dumps(posted["blocks"])
    sandbox.faults.add("chat.update", "429", times=1, retry_after=2)
    row = await newest(bot)
    await bot.workflow.learn_size(TEAM, row.id, 500)
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    told = str(sandbox.acting.ephemerals("U0ANA")[-1])
    assert "has changed since its card was drawn" in told
    assert "It goes to 500 people now" in told
    assert (await newest(bot)).state is State.PENDING
    await sandbox.acting.react("U0BEN", HERE, posted["ts"], "white_check_mark")
    await sandbox.until(lambda: "500 people" in str(sandbox.acting.ephemerals("U0BEN")))
    assert (await newest(bot)).state is State.PENDING
    await sandbox.until(lambda: "500 people" in json.dumps(sandbox.acting.messages(HERE)[0]["blocks"]))
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    await settled(bot, State.SCHEDULED, State.SENDING, State.SENT, State.PENDING)
    assert len(await bot.database.read(lambda c: store.votes_for(c, row))) == 1


SHOWN = {"size": 100, "bound": None, "cost": None, "opens_at": None, "quorum": 1, "mode": "live"}
DIFFERENCES: dict[str, tuple[dict[str, Any], dict[str, Any], str | None]] = {
    "the same": ({}, {}, None),
    "fewer people": ({"size": 100}, {"size": 99}, None),
    "more people": ({"size": 100}, {"size": 101}, "It goes to 101 people now."),
    "within the most it could be": ({"size": None, "bound": 100}, {"size": 100, "bound": None}, None),
    "over the most it could be": (
        {"size": None, "bound": 100},
        {"size": 101, "bound": None},
        "It goes to 101 people now.",
    ),
    "a number that is gone": ({"size": 100}, {"size": None, "bound": None}, ""),
    "a bound that has grown": ({"size": None, "bound": 100}, {"size": None, "bound": 200}, "at most 200 people"),
    "nobody knew, somebody does": ({"size": None}, {"size": 5000}, None),
    "a cost that appears": ({}, {"cost": "12.90 EUR"}, "It costs 12.90 EUR now."),
    "a cost that rises": ({"cost": "1 EUR"}, {"cost": "2 EUR"}, "It costs 2 EUR now."),
    "the hours close": ({}, {"opens_at": 1_800_000_000_000_000}, "allow it from"),
    "the hours open": ({"opens_at": 1_800_000_000_000_000}, {"opens_at": None}, "allow it now"),
    "more approvals": ({}, {"quorum": 2}, "It needs 2 approvals now."),
    "fewer approvals": ({"quorum": 2}, {"quorum": 1}, None),
    "another mode": ({}, {"mode": "training"}, ""),
}


@pytest.mark.parametrize("what", DIFFERENCES)
async def test_each_fact_that_bears_on_the_decision_is_part_of_what_a_press_means(
    core: Core, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    shown, now, told = DIFFERENCES[what]
    row = await core.ask()
    drawn = store.Card(TEAM, row.id, 1, "C1", "1.1", row.revision, facts={**SHOWN, **shown})
    await core.database.write(lambda c: store.keep_card(c, drawn))
    monkeypatch.setattr(type(core.desk), "facts", lambda *_: {**SHOWN, **shown, **now})
    press = core.workflow.act(TEAM, row.id, Action.APPROVE, person=approver(0), version=1, on_card=True)
    if told is None:
        assert (await press).state is State.SCHEDULED
        return
    with pytest.raises(CardChanged) as changed:
        await press
    assert told in " ".join(map(str, changed.value.changes))
    assert (await core.row(row.id)).state is State.PENDING
    behind = await core.database.read(lambda c: store.cards_to_draw(c, core.now, 10, new=False))
    assert [one.id for one in behind] == [row.id]  # and the card is drawn anew


async def test_a_press_without_a_card_that_anybody_drew_decides_nothing(core: Core) -> None:
    row = await core.ask()
    with pytest.raises(CardChanged):
        await core.workflow.act(TEAM, row.id, Action.APPROVE, person=approver(0), version=1, on_card=True)
    older = store.Card(TEAM, row.id, 1, "C1", "1.1", (await core.row(row.id)).revision)  # of the version before
    await core.database.write(lambda c: store.keep_card(c, older))
    await core.workflow.act(TEAM, row.id, Action.APPROVE, person=approver(0), version=1, on_card=True)


# --- sizes and rules -------------------------------------------------------------------------------------------------

RULE = {"approval.rules": [{"purpose": "marketing", "larger_than": 1000, "quorum": 2}]}


async def test_it_takes_as_many_approvals_as_the_size_that_is_known_by_now_asks_for(make_core: MakeCore) -> None:
    """C39: a list of 3 whose size came late."""
    core = make_core(**RULE)
    row = await core.ask(audience="everyone")
    assert row.quorum == 2  # nobody knew how many
    await core.workflow.learn_size(TEAM, row.id, 3)
    assert (await core.row(row.id)).quorum == 1
    await core.workflow.act(TEAM, row.id, Action.APPROVE, person=approver(0), version=1)
    assert (await core.row(row.id)).state is State.SCHEDULED


async def test_a_vote_that_is_enough_by_the_size_that_came_late_schedules_it(make_core: MakeCore) -> None:
    core = make_core(**RULE)
    row = await core.ask(audience="everyone")
    await core.workflow.act(TEAM, row.id, Action.APPROVE, person=approver(0), version=1)
    assert (await core.row(row.id)).state is State.PENDING
    await core.workflow.learn_size(TEAM, row.id, 3)
    assert (await core.row(row.id)).state is State.SCHEDULED


async def test_what_asked_for_an_approval_never_goes_without_one_for_its_size(make_core: MakeCore) -> None:
    core = make_core()
    row = await core.ask(audience="everyone", purpose=Purpose.TRANSACTIONAL, text="Votre commande est prête")
    assert row.quorum == 1  # it may be for more than 500
    await core.workflow.learn_size(TEAM, row.id, 3)
    assert ((await core.row(row.id)).state, (await core.row(row.id)).quorum) == (State.PENDING, 1)


# --- who knows what --------------------------------------------------------------------------------------------------


async def test_what_a_person_says_went_out_is_shown_as_what_a_person_says(sandbox: Sandbox, bot: Bot) -> None:
    """C10: the vendor has said nothing, and the button asks once."""
    sandbox.vendors.faults.add("encom.release", "reset", accept=True)
    posted = await approved(sandbox)
    await settled(bot, State.UNKNOWN)
    await sandbox.until(lambda: button(sandbox, "broadcast.mark_sent"))
    assert "Are you sure that it went out?" in json.dumps(button(sandbox, "broadcast.mark_sent"))
    await sandbox.acting.click("U0CLEO", HERE, posted["ts"], "broadcast.mark_sent")
    await settled(bot, State.SENT)
    await sandbox.until(lambda: "Sent, says <@U0CLEO>. Encom gave no ids." in shown(sandbox))
    assert "The vendor accepted it" not in shown(sandbox)


def shown(sandbox: Sandbox) -> str:
    return json.dumps(sandbox.acting.messages(HERE)[0]["blocks"], ensure_ascii=False)


def button(sandbox: Sandbox, action: str) -> Json | None:
    elements = [e for block in sandbox.acting.messages(HERE)[0]["blocks"] for e in block.get("elements", [])]
    return next((element for element in elements if element.get("action_id") == action), None)


# --- buttons that can do what they say -------------------------------------------------------------------------------


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
    showing = views.Showing((), "Encom", None, None, training=False, zone="Europe/Paris")
    assert "broadcast.send_now" not in json.dumps(views.card(row, showing, words_for("en")).blocks)
    with pytest.raises(NotAllowed, match="Re-plan it for then") as told:
        await core.workflow.act(TEAM, id, Action.SEND_NOW, person=CLEO, version=1)
    assert told.value.sentence.values["opens_at"] == at("2027-02-04T07:00")
    assert (await core.row(id)).state is State.HELD


async def test_send_now_says_what_would_hold_it_again(core: Core) -> None:
    await core.workflow.pause_all(OPS, on=True)
    row = await core.approved()
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).hold is Hold.PAUSED
    with pytest.raises(NotAllowed) as told:
        await core.workflow.act(TEAM, row.id, Action.SEND_NOW, person=CLEO, version=1)
    assert "Sending is paused" in str(told.value.sentence)
    await core.workflow.pause_all(OPS, on=False)
    await core.workflow.act(TEAM, row.id, Action.SEND_NOW, person=CLEO, version=1)
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).state is State.SENT


async def test_what_would_have_gone_by_itself_goes_once_a_pause_over_its_time_has_ended(core: Core) -> None:
    """C36: it is not lost to the pause, says so, and leaves a moment in which to stop it."""
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
    notes = await core.database.read(
        lambda c: [row["sentence"]["template"] for row in c.execute(tables.notes.select()).mappings()]
    )
    assert any("while sending was paused" in template for template in notes)


async def test_a_pause_that_ended_before_its_window_opened_changes_nothing(core: Core) -> None:
    id = await held_for_the_hours(core)
    await core.workflow.pause_all(OPS, on=True)
    await core.run(core.dispatcher("a"))
    await core.workflow.pause_all(OPS, on=False)
    core.now = at("2027-02-04T07:00")
    await core.run(core.dispatcher("a"))
    assert (await core.row(id)).state is State.SENT


async def test_a_card_that_waits_for_the_hours_says_that_sending_is_paused_too(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    """C36: one truth on the card, before and after."""
    closed = {"marketing": {"windows": [{"start": "00:00", "end": "00:01"}], "end_margin": "0s", "max_hold": "48h"}}
    bot = await start_bot(sandbox, policies={"always": closed})
    await approved(sandbox)
    await settled(bot, State.HELD)
    await sandbox.until(lambda: "It goes by itself" in shown(sandbox))
    await ask(sandbox, "pause all", user="U0OPS")
    await sandbox.until(lambda: "All sending is paused too" in shown(sandbox))
    told = await ask(sandbox, "resume all", user="U0OPS")
    assert "(0) waits for *Send now*" in told
    assert "by itself" not in told
    await sandbox.until(lambda: "All sending is paused too" not in shown(sandbox))


async def test_who_ends_a_pause_is_told_how_many_start_by_themselves(sandbox: Sandbox, start_bot: StartBot) -> None:
    """C36: nobody is surprised by what goes in that moment."""
    closed = {"marketing": {"windows": [{"start": "00:00", "end": "00:01"}], "end_margin": "0s", "max_hold": "48h"}}
    bot = await start_bot(sandbox, policies={"always": closed})
    await approved(sandbox)
    row = await settled(bot, State.HELD)
    await ask(sandbox, "pause all", user="U0OPS")
    opened = update(tables.broadcasts).where(tables.broadcasts.c.id == row.id).values(hold_until=bot.clock() - SECOND)
    await bot.database.write(lambda c: c.execute(opened))
    told = await ask(sandbox, "resume all", user="U0OPS")
    assert "1 broadcast that only waited for the hours starts by itself now" in told


# --- the question before the press -----------------------------------------------------------------------------------


def question(row: Any, action: str = "broadcast.approve", **more: Any) -> str:
    given = {"verdict": None, "training": False, "zone": "Europe/Paris", "undo": 30, **more}
    showing = views.Showing((), "Encom", None, **given)
    elements = [e for block in views.card(row, showing, words_for("en")).blocks for e in block.get("elements", [])]
    (found,) = [element for element in elements if element.get("action_id") == action]
    return str(found["confirm"]["text"]["text"])


async def test_the_question_before_an_approval_says_to_how_many_when_and_until_when_it_can_be_stopped(
    core: Core,
) -> None:
    """C45."""
    core.now = at("2027-02-03T21:00")
    row = dataclasses.replace(await core.ask(audience="paris"), size=12)
    outlook = core.desk.outlook(row, core.now)
    closed = question(row, verdict=outlook.verdict, opens=outlook.opens)
    assert closed == (
        "paris: 12 people. It starts 2027-02-04 08:00 Europe/Paris (+0100). "
        "Until then it can be stopped; afterwards it cannot be recalled."
    )
    assert question(row) == (
        "paris: 12 people. It starts 30 s later. Until then it can be stopped; afterwards it cannot be recalled."
    )
    assert question(row, undo=0) == "paris: 12 people. It starts at once and cannot be recalled."
    planned = dataclasses.replace(row, send_at=at("2027-02-05T09:00"))
    assert "It starts 2027-02-05 10:00 Europe/Paris (+0100). Until then it can be stopped" in question(planned)
    assert question(row, training=True) == "Training: nothing is really sent. paris: 12 people."
    two = question(dataclasses.replace(row, quorum=3))
    assert "After yours 2 more approvals are needed." in two


@pytest.mark.parametrize("language", LANGUAGES)
async def test_no_question_is_longer_than_slack_lets_it_be(core: Core, language: str) -> None:
    row = dataclasses.replace(await core.ask(), everyone=True, covers=9, quorum=5, audience="a" * 100)
    showing = views.Showing((), "Encom", None, None, training=False, zone="Europe/Paris", undo=30)
    elements = [e for b in views.card(row, showing, words_for(language)).blocks for e in b.get("elements", [])]
    for element in elements:
        assert len(element.get("confirm", {}).get("text", {}).get("text", "")) <= 300


# --- told where it was typed -----------------------------------------------------------------------------------------


async def test_who_asked_hears_of_each_decision_and_end_where_she_asked(sandbox: Sandbox, start_bot: StartBot) -> None:
    """C37: the card stands with the approvers, in another channel."""
    bot = await start_bot(sandbox, approval__channel="C0APPROVALS")
    await ask(sandbox, "send clients marketing Soldes")
    await sandbox.until(lambda: sandbox.acting.messages("C0APPROVALS"))
    (posted,) = sandbox.acting.messages("C0APPROVALS")
    await sandbox.acting.click("U0ANA", "C0APPROVALS", posted["ts"], "broadcast.approve")
    row = await settled(bot, State.SENT)
    await sandbox.until(lambda: "Encom accepted it" in str(sandbox.acting.messages(HERE)))
    told = [message["text"] for message in sandbox.acting.messages(HERE)]
    assert ["Approved by" in told[0], "accepted it" in told[1]] == [True, True]
    assert all(f"About *{row.id}*" in text and "<@U0CLEO>" in text for text in told)


async def test_who_asked_hears_where_she_asked_that_nobody_answered(sandbox: Sandbox, start_bot: StartBot) -> None:
    await start_bot(sandbox, approval__channel="C0APPROVALS", approval__expires_after="1s")
    await ask(sandbox, "send clients marketing Soldes")
    await sandbox.until(lambda: "Nobody approved it in time" in str(sandbox.acting.messages(HERE)))


async def test_what_is_asked_where_its_card_stands_is_told_once(sandbox: Sandbox, bot: Bot) -> None:
    posted = await approved(sandbox)
    await settled(bot, State.SENT)
    await sandbox.until(lambda: "accepted it" in thread_text(sandbox, posted["ts"]))
    assert "About *" not in str(sandbox.acting.messages(HERE))
