"""Cards tell the truth: an approval is for what the approver saw, and every button can do what it says."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, update

from bot.app import Bot
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Micros, moment, now
from bot.domain.errors import CardChanged, NotAllowed
from bot.domain.hours import HoldUntil
from bot.domain.i18n import LANGUAGES, Translatable, translator_for
from bot.domain.lifecycle import Action, Hold, State
from bot.slack.blocks import card_facts
from bot.slack.blocks.card import draw_card, goes_stale_at
from bot.storage import broadcasts, cards, keys, outbox, tables
from bot.storage.notes import Note
from bot.storage.votes import votes_for
from bot.workflow.deadlines import describe_start
from bot.workflow.decision_types import Approve, Drawing, MarkSent, Replan, SendNow, Sight
from providers.base import DeliveryStatus, Purpose, Receipt, Staged
from providers.reading import UNREADABLE
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.core import CLEO, TEAM, Core, MakeCore, approver, decision
from tests.support.ground import StartBot, newest
from tests.support.patience import nothing_more
from tests.support.slack import HERE, approved, ask, card, settled, thread_text

HOUR = 3600 * SECOND
STANDS = ("C1", "1.1")  # where the card is
SEEN = Sight(*STANDS)
OPS = dataclasses.replace(CLEO, id="U0OPS")


def at(text: str) -> Micros:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


# --- an approval is for what was seen --------------------------------------------------------------------------------


async def test_a_press_on_a_card_that_shows_fewer_people_is_answered_with_how_many_there_are(
    sandbox: Sandbox, bot: Bot
) -> None:
    """C4: Slack blocks every update while the vendor reports 500 people."""
    await ask(sandbox, "send newsletter marketing Soldes")
    posted = await card(sandbox)
    assert "at most 100" in json.dumps(posted["blocks"])
    sandbox.faults.add("chat.update", "429", times=1, retry_after=2)
    row = await newest(bot)
    await bot.workflow.sizes.learn(TEAM, row.id, 500)
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    told = str(sandbox.acting.ephemerals("U0ANA")[-1])
    assert "has changed since its card was shown" in told
    assert "It now goes to 500 people" in told
    assert (await newest(bot)).state is State.PENDING
    await sandbox.acting.react("U0BEN", HERE, posted["ts"], "white_check_mark")
    await sandbox.until(lambda: "500 people" in str(sandbox.acting.ephemerals("U0BEN")))
    assert (await newest(bot)).state is State.PENDING
    await sandbox.until(lambda: "500 people" in json.dumps(sandbox.acting.messages(HERE)[0]["blocks"]))
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    await settled(bot, State.SCHEDULED, State.SENDING, State.SENT, State.PENDING)
    assert len(await bot.database.read(lambda c: votes_for(c, row))) == 1


SHOWN = {
    "size": 100,
    "bound": None,
    "unnamed": None,
    "cost": None,
    "opens_at": None,
    "quorum": 1,
    "mode": "live",
    "misfit": None,
}
DIFFERENCES: dict[str, tuple[dict[str, Any], dict[str, Any], str | None]] = {
    "the same": ({}, {}, None),
    "fewer people": ({"size": 100}, {"size": 99}, None),
    "more people": ({"size": 100}, {"size": 101}, "It now goes to 101 people."),
    "within the most it could be": ({"size": None, "bound": 100}, {"size": 100, "bound": None}, None),
    "over the most it could be": (
        {"size": None, "bound": 100},
        {"size": 101, "bound": None},
        "It now goes to 101 people.",
    ),
    "a number that is gone": ({"size": 100}, {"size": None, "bound": None}, "no longer says how many people"),
    "a bound that is gone": ({"size": None, "bound": 100}, {"size": None, "bound": None}, "no longer says how many"),
    "a number that nobody can read": (
        {"size": None, "bound": 100},
        {"size": UNREADABLE, "bound": None},
        "The vendor no longer says how many people it goes to.",
    ),
    "a bound that has grown": ({"size": None, "bound": 100}, {"size": None, "bound": 200}, "at most 200 people"),
    "nobody knew, somebody does": ({"size": None}, {"size": 5000}, None),
    "people without a name": ({}, {"unnamed": 3}, "People without a name to fill in: 3."),
    "fewer without a name": ({"unnamed": 3}, {"unnamed": 2}, None),
    "a cost that appears": ({}, {"cost": "12.90 EUR"}, "It now costs 12.90 EUR."),
    "a cost that rises": ({"cost": "1 EUR"}, {"cost": "2 EUR"}, "It now costs 2 EUR."),
    "a cost that is gone": ({"cost": "1 EUR"}, {"cost": None}, "The vendor no longer says what it costs."),
    "the hours close": ({}, {"opens_at": 1_800_000_000_000_000}, "allow it from"),
    "the hours open": ({"opens_at": 1_800_000_000_000_000}, {"opens_at": None}, "allow it now"),
    "more approvals": ({}, {"quorum": 2}, "Approvals needed now: 2."),
    "fewer approvals": ({"quorum": 2}, {"quorum": 1}, None),
    "another mode": ({}, {"mode": "training"}, ""),
    "a policy that is gone": ({}, {"misfit": "The bot's settings have no policy fr."}, ""),
}


@pytest.mark.parametrize("what", DIFFERENCES)
async def test_each_fact_that_bears_on_the_decision_is_part_of_what_a_press_means(
    core: Core, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    shown, now, told = DIFFERENCES[what]
    row = await core.ask()
    drawn = cards.Card(TEAM, row.id, 1, *STANDS, row.revision, facts={**SHOWN, **shown})
    await core.database.write(lambda c: cards.keep_card(c, drawn))
    monkeypatch.setattr(type(core.audiences), "facts", lambda *_: {**SHOWN, **shown, **now})
    press = core.workflow.act(TEAM, row.id, Approve(on_card=SEEN), person=approver(0), version=1)
    if told is None:
        assert (await press).state is State.SCHEDULED
        return
    with pytest.raises(CardChanged) as changed:
        await press
    assert told in " ".join(map(str, changed.value.changes))
    assert str(UNREADABLE) not in str(changed.value.changes)
    assert len(changed.value.changes) <= 1
    assert (await core.row(row.id)).state is State.PENDING
    behind = await core.database.read(lambda c: cards.cards_to_draw(c, core.now, 10, new=False))
    assert [one.id for one in behind] == [row.id]  # the card is redrawn


async def test_a_card_of_an_older_process_tells_of_nobody_without_a_name(core: Core) -> None:
    row = await core.ask(text="Bonjour %%name%%")
    older = {name: fact for name, fact in core.audiences.facts(row, core.now).items() if name != "unnamed"}
    drawn = cards.Card(TEAM, row.id, 1, *STANDS, row.revision, facts=older)
    await core.database.write(lambda c: cards.keep_card(c, drawn))
    await core.workflow.sizes.learn(TEAM, row.id, 3, unnamed=3)
    with pytest.raises(CardChanged) as changed:
        await core.workflow.act(TEAM, row.id, Approve(on_card=SEEN), person=approver(0), version=1)
    assert "People without a name to fill in: 3." in " ".join(map(str, changed.value.changes))
    await core.workflow.sizes.learn(TEAM, row.id, 3, unnamed=0)
    press = core.workflow.act(TEAM, row.id, Approve(on_card=SEEN), person=approver(0), version=1)
    assert (await press).state is State.SCHEDULED


async def test_a_cost_is_an_amount_of_something(core: Core) -> None:
    """A cost quoted in euros differs from one in pounds, though the number is the same."""
    euros = dataclasses.replace(await core.ask(), quoted="12.90 EUR")
    prepared = dataclasses.replace(euros, staged=Staged("1", cost=Decimal("12.90"), currency="EUR"))
    assert core.audiences.facts(prepared, core.now) == core.audiences.facts(euros, core.now)
    pounds = dataclasses.replace(euros, staged=Staged("1", cost=Decimal("12.90"), currency="GBP"))
    assert core.audiences.facts(pounds, core.now)["cost"] == "12.90 GBP"


async def test_a_press_without_a_card_that_anybody_drew_decides_nothing(core: Core) -> None:
    row = await core.ask()
    with pytest.raises(CardChanged):
        await core.workflow.act(TEAM, row.id, Approve(on_card=SEEN), person=approver(0), version=1)
    older = cards.Card(TEAM, row.id, 1, *STANDS, (await core.row(row.id)).revision)  # drawn by the previous version
    await core.database.write(lambda c: cards.keep_card(c, older))
    await core.workflow.act(TEAM, row.id, Approve(on_card=SEEN), person=approver(0), version=1)


@pytest.mark.parametrize("what", ["posted", "redrawn"])
async def test_a_press_that_is_faster_than_slacks_answer_about_the_card_counts(core: Core, what: str) -> None:
    """The person sees the card before Slack's answer about it reaches the bot."""
    row = await core.ask()
    facts = core.audiences.facts(row, core.now)
    before = cards.Card(TEAM, row.id, 1, *STANDS, 1, facts={**facts, "cost": "1 EUR", "drawing": [1, 100], "since": 0})
    after = dataclasses.replace(before, drawn=row.revision, facts={**facts, "drawing": [row.revision, 200], "since": 0})
    if what == "redrawn":
        await core.database.write(lambda c: cards.keep_card(c, before))
    sight = dataclasses.replace(SEEN, drawing=Drawing(row.revision, 200))
    act = core.workflow.act(TEAM, row.id, Approve(on_card=sight), person=approver(0), version=1)
    pressing = asyncio.create_task(act)
    await asyncio.sleep(0)
    await core.database.write(lambda c: cards.keep_card(c, after))
    assert (await pressing).state is State.SCHEDULED


async def test_a_press_on_a_card_that_another_has_followed_decides_nothing(sandbox: Sandbox, bot: Bot) -> None:
    """C4, C8: the old card can be neither changed nor deleted, and still shows "at most 100"."""
    await ask(sandbox, "send newsletter marketing Soldes")
    old = await card(sandbox)
    sandbox.faults.add("chat.update", "error", times=9, error="cant_update_message")
    sandbox.faults.add("chat.delete", "error", times=9, error="cant_delete_message")
    row = await newest(bot)
    await bot.workflow.sizes.learn(TEAM, row.id, 500)
    await sandbox.until(lambda: len(sandbox.acting.messages(HERE)) == 2)
    new = sandbox.acting.messages(HERE)[1]
    await nothing_more(bot)
    await sandbox.acting.click("U0ANA", HERE, old["ts"], "broadcast.approve")
    assert "Please look at the new card" in str(sandbox.acting.ephemerals("U0ANA")[-1])
    await nothing_more(bot)
    assert len(sandbox.acting.messages(HERE)) == 2  # the press posts no third card
    assert (await newest(bot)).state is State.PENDING
    await sandbox.acting.click("U0ANA", HERE, new["ts"], "broadcast.approve")
    await settled(bot, State.SCHEDULED, State.SENDING, State.SENT)


async def test_a_card_that_another_has_followed_is_taken_away(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send newsletter marketing Soldes")
    old = await card(sandbox)
    sandbox.faults.add("chat.update", "error", error="cant_update_message")
    await bot.workflow.sizes.learn(TEAM, (await newest(bot)).id, 500)
    await sandbox.until(lambda: [m["ts"] for m in sandbox.acting.messages(HERE)] not in ([old["ts"]], []))
    await sandbox.until(lambda: old["ts"] not in str(sandbox.acting.messages(HERE)))
    assert "500 people" in shown(sandbox)


async def test_send_now_on_a_card_that_another_has_followed_sends_nothing(core: Core) -> None:
    row = await core.approved()
    await core.edit(row, state="held", hold="late", due=None)
    drawn = cards.Card(TEAM, row.id, 1, *STANDS, row.revision, facts=core.audiences.facts(row, core.now))
    await core.database.write(lambda c: cards.keep_card(c, drawn))
    with pytest.raises(CardChanged):
        await core.workflow.act(TEAM, row.id, SendNow(on_card=Sight("C1", "0.9")), person=CLEO, version=1)
    await core.workflow.act(TEAM, row.id, SendNow(on_card=SEEN), person=CLEO, version=1)
    assert (await core.row(row.id)).state is State.SCHEDULED


SINCE = {"since": 1000, "drawing": [5, 900]}
SIGHTS: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "pressed on this drawing": (SINCE, {"drawing": Drawing(7, 900)}, True),
    "pressed on one that showed the same": (SINCE, {"drawing": Drawing(5, 900)}, True),
    "pressed on one that showed other facts": (SINCE, {"drawing": Drawing(4, 800)}, False),
    "pressed on one of other facts of the same row": (SINCE, {"drawing": Drawing(5, 899)}, False),
    "pressed on who knows which": (SINCE, {"drawing": Drawing(-1, 0)}, False),
    "reacted since": (SINCE, {"at": 1000}, True),
    "reacted before": (SINCE, {"at": 999}, False),
    "reacted who knows when": (SINCE, {"at": 0}, False),
    "pressed on the last drawing of an older process": ({}, {"drawing": Drawing(7)}, True),
    "pressed on another one of its": ({}, {"drawing": Drawing(6, 0)}, False),
    "reacted to one of its": ({}, {"at": 2000}, False),
}


@pytest.mark.parametrize("what", SIGHTS)
async def test_what_was_decided_by_an_earlier_drawing_is_for_what_that_one_showed(core: Core, what: str) -> None:
    since, seen, counts = SIGHTS[what]
    row = await core.ask()
    facts = {**core.audiences.facts(row, core.now), **since}
    await core.database.write(lambda c: cards.keep_card(c, cards.Card(TEAM, row.id, 1, *STANDS, 7, facts=facts)))
    sight = dataclasses.replace(SEEN, **seen)
    press = core.workflow.act(TEAM, row.id, Approve(on_card=sight), person=approver(0), version=1)
    if counts:
        assert (await press).state is State.SCHEDULED
        return
    with pytest.raises(CardChanged):
        await press
    after = await core.row(row.id)
    assert (after.state, after.revision) == (State.PENDING, row.revision + 1)


async def test_what_slack_brings_late_was_decided_by_what_stood_there_then(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    bot = await start_bot(sandbox, approval__quorum=2)
    await ask(sandbox, "send newsletter marketing Soldes")
    posted = await card(sandbox)
    ts, first = posted["ts"], actions_of(sandbox)
    reacted: Json = {"event_ts": sandbox.world.next_ts(), "user": "U0ANA", "reaction": "white_check_mark"}
    reacted |= {"type": "reaction_added", "item": {"type": "message", "channel": HERE, "ts": ts}}
    row = await newest(bot)

    async def press(user: str, block: Json) -> None:
        button = next(one for one in block["elements"] if one["action_id"] == "broadcast.approve")
        place, pressed = {"channel": HERE, "ts": ts}, {"type": "button", "value": button["value"]}
        await sandbox.acting.act(user, place, block["block_id"], "broadcast.approve", pressed, {})

    await bot.workflow.sizes.learn(TEAM, row.id, 90)  # no more than was shown
    same = await sandbox.until(lambda: drawn_anew(sandbox, first, "90 people"))
    await press("U0BEN", first)
    assert len(await bot.database.read(lambda c: votes_for(c, row))) == 1
    await bot.workflow.sizes.learn(TEAM, row.id, 500)
    await sandbox.until(lambda: drawn_anew(sandbox, same, "500 people"))
    await press("U0ANA", same)
    assert "has changed since its card was shown" in str(sandbox.acting.ephemerals("U0ANA")[-1])
    sandbox.delivery.event(reacted)
    await sandbox.until(lambda: len(sandbox.acting.ephemerals("U0ANA")) > 1)
    assert "has changed since its card was shown" in str(sandbox.acting.ephemerals("U0ANA")[-1])
    assert await bot.database.read(lambda c: votes_for(c, row)) == []
    await press("U0ANA", actions_of(sandbox))
    assert len(await bot.database.read(lambda c: votes_for(c, row))) == 1


async def test_a_press_that_names_no_block_of_ours_is_decided_by_its_message(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send newsletter marketing Soldes")
    posted, row = await card(sandbox), await newest(bot)
    place, pressed = {"channel": HERE, "ts": posted["ts"]}, {"type": "button", "value": f"{row.id}:1"}
    await sandbox.acting.act("U0ANA", place, "another", "broadcast.approve", pressed, {})
    await sandbox.until(lambda: "Approved by" in thread_text(sandbox, posted["ts"]))


async def test_a_card_whose_blocks_slack_does_not_take_shows_all_that_it_is_approved_by(
    sandbox: Sandbox, bot: Bot
) -> None:
    sandbox.faults.add("chat.postMessage", "error", error="invalid_blocks")
    text = "Soldes de printemps, " + "partout et pour tous, " * 20
    await ask(sandbox, f"send newsletter marketing {text}")
    posted = await card(sandbox)
    assert {block["type"] for block in posted["blocks"]} == {"section", "actions"}
    for told in (text, "at most 100", "right after approval", "SMS per recipient", "Needs 1 approval"):
        assert told in shown(sandbox)
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    await settled(bot, State.SCHEDULED, State.SENDING, State.SENT)


def actions_of(sandbox: Sandbox) -> Json:
    return next(block for block in sandbox.acting.messages(HERE)[0]["blocks"] if block["type"] == "actions")


def drawn_anew(sandbox: Sandbox, before: Json, said: str) -> Json | None:
    return actions_of(sandbox) if said in shown(sandbox) and actions_of(sandbox) != before else None


# --- sizes and rules -------------------------------------------------------------------------------------------------

RULE = {"approval.rules": [{"purpose": "marketing", "larger_than": 1000, "quorum": 2}]}


async def test_it_takes_as_many_approvals_as_the_size_that_is_known_by_now_asks_for(make_core: MakeCore) -> None:
    """C39: a list of 3 people, whose size arrives late."""
    core = make_core(**RULE)
    row = await core.ask(audience="everyone")
    assert row.quorum == 2  # the size was not known
    await core.workflow.sizes.learn(TEAM, row.id, 3)
    assert (await core.row(row.id)).quorum == 1
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    assert (await core.row(row.id)).state is State.SCHEDULED


async def test_a_vote_that_is_enough_by_the_size_that_came_late_schedules_it(make_core: MakeCore) -> None:
    core = make_core(**RULE)
    row = await core.ask(audience="everyone")
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    assert (await core.row(row.id)).state is State.PENDING
    await core.workflow.sizes.learn(TEAM, row.id, 3)
    assert (await core.row(row.id)).state is State.SCHEDULED


TWO = {"approval.quorum": 2}
LEARNT: dict[str, tuple[dict[str, Any], dict[str, Any], str | None]] = {
    "fewer people": (TWO, {"size": 3}, None),
    "as many as it could be": (TWO, {"size": 5000}, None),
    "more people": (TWO, {"size": 25_000}, "It now goes to 25000 people."),
    "a cost": (TWO, {"size": 3, "quoted": "900 EUR"}, "It now costs 900 EUR."),
    "no name for some": ({**TWO, "text": "Bonjour %%name%%"}, {"size": 3, "unnamed": 2}, "to fill in: 2."),
    "no name that is asked for": (TWO, {"size": 3, "unnamed": 2}, None),
    "both": (TWO, {"size": 25_000, "quoted": "900 EUR"}, "It now goes to 25000 people. It now costs 900 EUR."),
    "a cost of what few would do for": (RULE, {"size": 3, "quoted": "900 EUR"}, "It now costs 900 EUR."),
}


@pytest.mark.parametrize("what", LEARNT)
async def test_who_approved_agreed_to_no_more_than_was_known_then(make_core: MakeCore, what: str) -> None:
    changes, learnt, told = LEARNT[what]
    core = make_core(**{name: value for name, value in changes.items() if name != "text"})
    row = await core.ask(text=changes.get("text", "Soldes"))
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    await core.workflow.sizes.learn(TEAM, row.id, **learnt)
    votes = await core.database.read(lambda c: votes_for(c, row))
    assert len(votes) == (told is None)
    after = await core.workflow.act(TEAM, row.id, Approve(), person=approver(1), version=1)
    assert after.state is (State.SCHEDULED if told is None or after.quorum == 1 else State.PENDING)
    assert (told is not None) == ("lapse" in await core.actions(row))
    fell = [note for note in await told_of(core, row) if "That was not known" in str(note.sentence)]
    assert [(str(told) in str(note.sentence), note.mention) for note in fell] == [(True, approver(0).id)] * len(fell)
    assert len(fell) == (told is not None)


async def told_of(core: Core, row: Broadcast) -> list[Note]:
    """Return every note of its thread, posted or not."""
    mine = tables.notes.select().where(tables.notes.c.broadcast == row.id).order_by(tables.notes.c.seq)
    found = await core.database.read(lambda c: c.execute(mine).mappings().all())
    return [Note(Translatable.of(one["sentence"]), one["mention"]) for one in found]


async def test_an_approval_that_is_left_is_for_no_more_people_than_it_was_given_for(make_core: MakeCore) -> None:
    core = make_core(**TWO)
    row = await core.ask()
    for number in (0, 1):
        await core.workflow.act(TEAM, row.id, Approve(), person=approver(number), version=1)
    await core.workflow.sizes.learn(TEAM, row.id, 25_000)
    await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button")
    again = await core.workflow.act(TEAM, row.id, Approve(), person=approver(2), version=1)
    assert again.state is State.PENDING


async def test_a_size_asks_for_its_approvals_although_the_settings_name_its_audience_no_more(
    make_core: MakeCore,
) -> None:
    core = make_core(**{"approval.rules": [{"purpose": "marketing", "larger_than": 6000, "quorum": 2}]})
    row = await core.ask()
    assert row.quorum == 1
    del core.settings.audiences["clients"]
    await core.workflow.sizes.learn(TEAM, row.id, 25_000)
    assert (await core.row(row.id)).quorum == 2
    voted = await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    assert voted.state is State.PENDING


async def test_what_asked_for_an_approval_never_goes_without_one_for_its_size(make_core: MakeCore) -> None:
    core = make_core()
    row = await core.ask(audience="everyone", purpose=Purpose.TRANSACTIONAL, text="Votre commande est prête")
    assert row.quorum == 1  # it may reach more than 500
    await core.workflow.sizes.learn(TEAM, row.id, 3)
    assert ((await core.row(row.id)).state, (await core.row(row.id)).quorum) == (State.PENDING, 1)


@pytest.mark.parametrize(("audience", "list"), [("clients", "1"), ("paris", "2")])
async def test_what_was_approved_for_nobody_asks_again_once_its_list_has_filled_up(
    core: Core, audience: str, list: str
) -> None:
    """`paris` has no `max_size`."""
    row = await core.ask(audience=audience)
    core.sandbox.vendors.faults.add("encom.recipients", "error", times=1, status=200, body=[])
    await core.dispatcher("a").sizes.learn()
    assert (await core.row(row.id)).size == 0
    agreed = await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    assert (agreed.state, agreed.bound) == (State.SCHEDULED, 0)
    await core.run(core.dispatcher("a"))
    after = await core.row(row.id)
    assert (after.state, after.size) == (State.PENDING, len(core.sandbox.vendors.encom.lists[list][1]))
    assert core.sandbox.vendors.ledger == []


async def test_an_edit_of_what_goes_to_nobody_asks_for_no_more_than_it_needs(make_core: MakeCore) -> None:
    core = make_core(**RULE)
    row = await core.ask()
    assert row.quorum == 2  # by the audience's `max_size`
    await core.workflow.sizes.learn(TEAM, row.id, 0)
    later = {"send_at": core.now + HOUR}
    again = await core.workflow.act(TEAM, row.id, Replan(**later), person=CLEO, version=1)
    assert again.quorum == 1


# --- who knows what --------------------------------------------------------------------------------------------------


async def test_what_a_person_says_went_out_is_shown_as_what_a_person_says(sandbox: Sandbox, bot: Bot) -> None:
    """C10: the vendor has reported nothing, and the button asks for confirmation once."""
    sandbox.vendors.faults.add("encom.release", "reset", accept=True)
    posted = await approved(sandbox)
    await settled(bot, State.UNKNOWN)
    await sandbox.until(lambda: button(sandbox, "broadcast.mark_sent"))
    assert "Are you sure that it went out?" in json.dumps(button(sandbox, "broadcast.mark_sent"))
    await sandbox.acting.click("U0CLEO", HERE, posted["ts"], "broadcast.mark_sent")
    await settled(bot, State.SENT)
    await sandbox.until(lambda: "<@U0CLEO> says that it went out. Encom gave no ids." in shown(sandbox))
    assert "The vendor accepted it" not in shown(sandbox)


async def said_to_have_gone(core: Core, fault: str, **asked: Any) -> Broadcast:
    """Return a broadcast that a person marked as sent while the vendor reported nothing."""
    core.sandbox.vendors.faults.add(fault, "reset", accept=True)
    row = await core.approved(**asked)
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).state is State.UNKNOWN
    return await core.workflow.act(TEAM, row.id, MarkSent(), person=CLEO, version=1)


async def test_once_the_vendor_reports_deliveries_nobody_has_to_be_believed_any_more(make_core: MakeCore) -> None:
    """C10: the broadcast then has its ids, and it ends once no more receipts are expected."""
    core = make_core()
    row, tracker = await said_to_have_gone(core, "encom.release"), core.tracker()
    assert row.claimed
    for id, status in (("22", DeliveryStatus.SENT), ("23", DeliveryStatus.SENT), ("22", DeliveryStatus.DELIVERED)):
        final = status is DeliveryStatus.DELIVERED
        await tracker.record("encom", [Receipt(id, status, status, final=final)], (TEAM, row.id))
    now = await core.row(row.id)
    assert (now.state, now.ids, now.failure) == (State.SENT, ("22",), None)
    templates = await core.database.read(lambda c: list(c.execute(select(tables.notes.c.sentence)).scalars()))
    confirmed = "The vendor reports deliveries of this broadcast. Ids: {ids}"
    assert [told["template"] for told in templates].count(confirmed) == 1
    await tracker.tick()
    assert (await core.row(row.id)).state is State.SENT  # the other id still expects a receipt
    await tracker.record("encom", [Receipt("23", DeliveryStatus.DELIVERED, "OK", final=True)])
    await tracker.tick()
    assert (await core.row(row.id)).state is State.DONE


async def test_an_id_that_is_known_from_its_preparation_is_kept_when_a_person_says_that_it_went_out(
    make_core: MakeCore,
) -> None:
    core = make_core()
    row = await said_to_have_gone(core, "octopush.release", audience="newsletter")
    assert row.staged is not None
    assert row.ids == (row.staged.id,)
    assert row.failure is not None
    assert str(row.failure.template) == "{by} says that it went out. {vendor} has not confirmed it."


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


async def notes(core: Core) -> list[str]:
    """Return the notes of all threads, in order."""
    said = select(tables.notes.c.sentence).order_by(tables.notes.c.seq)
    found = await core.database.read(lambda c: c.execute(said).scalars().all())
    return [str(Translatable.of(told)) for told in found]


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


# --- the question before the press -----------------------------------------------------------------------------------


def question(row: Any, action: str = "broadcast.approve", language: str = "en", **more: Any) -> str:
    given = {"verdict": None, "training": False, "zone": "Europe/Paris", "undo": 30, **more}
    showing = card_facts.CardContext((), "Encom", None, **given)
    elements = [
        e for block in draw_card(row, showing, translator_for(language)).blocks for e in block.get("elements", [])
    ]
    (found,) = [element for element in elements if element.get("action_id") == action]
    return str(found["confirm"]["text"]["text"])


async def test_the_question_before_an_approval_says_to_how_many_when_and_until_when_it_can_be_stopped(
    core: Core,
) -> None:
    """C45."""
    core.now = at("2027-02-03T21:00")
    row = dataclasses.replace(await core.ask(audience="paris"), size=12)
    outlook = core.audiences.outlook(row, core.now)
    closed = question(row, verdict=outlook.verdict, opens=outlook.opens)
    assert closed == (
        "paris: 12 people. It starts 2027-02-04 08:00 Europe/Paris (+0100). "
        "Until then it can be stopped. After that it cannot be recalled."
    )
    assert question(row) == (
        "paris: 12 people. It starts 30 s later. Until then it can be stopped. After that it cannot be recalled."
    )
    assert question(row, undo=0) == "paris: 12 people. It starts at once and cannot be recalled."
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
        "clients: 12 people. Its start time has passed. "
        "Once approved, it will be held, and I will ask again what to do."
    )
    within = question(row, now=at("2027-02-03T10:05"), grace=600 * SECOND)
    assert within == (
        "clients: 12 people. It starts 30 s later. Until then it can be stopped. After that it cannot be recalled."
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


# --- notes where the command was typed -------------------------------------------------------------------------------


async def test_who_asked_hears_of_each_decision_and_end_where_she_asked(sandbox: Sandbox, start_bot: StartBot) -> None:
    """C37: the card is with the approvers, in another channel."""
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


async def test_nothing_is_told_where_another_company_reads_it(sandbox: Sandbox, start_bot: StartBot) -> None:
    """C37: the requester gets a direct message instead."""
    bot = await start_bot(sandbox, approval__channel="C0APPROVALS")
    sandbox.world.channels[HERE].shared = True
    await ask(sandbox, "send clients marketing Soldes")
    row = await newest(bot)
    await act(bot, "U0ANA", row, Action.REJECT, "The price 12.90 is secret until Monday")
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: "12.90" in str(sandbox.acting.messages(direct)))
    assert sandbox.acting.messages(HERE) == []


async def test_a_thread_is_told_nothing_more_once_another_company_reads_it(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    await card(sandbox)
    row = await newest(bot)
    sandbox.world.channels[HERE].shared = True
    bot.people.forget()
    await act(bot, "U0ANA", row, Action.REJECT, "The price 12.90 is secret until Monday")
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: "12.90" in str(sandbox.acting.messages(direct)))
    assert "12.90" not in str(sandbox.acting.messages(HERE))


async def test_a_card_shows_nothing_new_once_another_company_reads_it(sandbox: Sandbox, bot: Bot) -> None:
    await approved(sandbox, 'send newsletter marketing at="tomorrow 9:00" Soldes')  # its vendor reports no size
    row = await settled(bot, State.SCHEDULED)
    await sandbox.until(lambda: "broadcast.cancel" in shown(sandbox))
    sandbox.world.channels[HERE].shared = True
    bot.people.forget()
    await bot.workflow.sizes.learn(TEAM, row.id, 7777, quoted="900 EUR")
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: "7777" in json.dumps(sandbox.acting.messages(direct)))
    await sandbox.until(lambda: sandbox.acting.messages(HERE) == [])  # one card, where it can still be stopped
    assert "broadcast.cancel" in json.dumps(sandbox.acting.messages(direct))


async def test_what_has_gone_stays_as_it_stood_once_another_company_reads_it(sandbox: Sandbox, bot: Bot) -> None:
    await approved(sandbox)
    row = await settled(bot, State.SENT)
    await sandbox.until(lambda: "The vendor accepted it" in shown(sandbox))
    sandbox.world.channels[HERE].shared = True
    bot.people.forget()
    failure = Translatable("The price 12.90 is secret")
    await bot.database.write(lambda c: broadcasts.touch(c, row, bot.clock(), failure=failure))
    bot.wake()
    await nothing_more(bot)
    assert "12.90" not in shown(sandbox)
    assert "The vendor accepted it" in shown(sandbox)


async def test_while_slack_does_not_say_whose_a_channel_is_what_it_was_to_be_told_waits(
    sandbox: Sandbox, bot: Bot
) -> None:
    sandbox.world.retold[HERE] = lambda _: {}
    said = Translatable("Choose a purpose.")
    await bot.database.write(lambda c: outbox.post(c, TEAM, "k", HERE, said, "U0CLEO", bot.clock()))
    bot.wake()
    await nothing_more(bot)
    assert sandbox.acting.messages(HERE) == []
    queued = await bot.database.read(lambda c: c.execute(tables.posts.select()).mappings().all())
    assert [(row["tries"], row["post_at"] is None) for row in queued] == [(1, False)]


async def act(bot: Bot, user: str, row: Broadcast, action: Action, reason: str) -> None:
    person = await bot.people.person(TEAM, user)
    await bot.workflow.act(TEAM, row.id, decision(action, reason=reason), person=person, version=row.version)


@pytest.mark.long
async def test_who_asked_hears_where_she_asked_that_nobody_answered(sandbox: Sandbox, start_bot: StartBot) -> None:
    await start_bot(sandbox, approval__channel="C0APPROVALS", approval__expires_after="1s")
    await ask(sandbox, "send clients marketing Soldes")
    await sandbox.until(lambda: "Nobody approved it in time" in str(sandbox.acting.messages(HERE)))


async def test_an_approval_that_came_is_not_denied_where_one_more_was_missing(make_core: MakeCore) -> None:
    core = make_core(**{"approval.quorum": 2})
    row, nobodys = await core.ask(), await core.ask()
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    core.now += 25 * HOUR
    await core.workflow.expire()
    assert {(await core.row(one.id)).state for one in (row, nobodys)} == {State.EXPIRED}
    told = (await notes(core))[-2:]
    assert "Too few people approved it in time (1 of 2), so it will not be sent." in told
    assert "Nobody approved it in time, so it will not be sent." in told


async def test_what_is_asked_where_its_card_stands_is_told_once(sandbox: Sandbox, bot: Bot) -> None:
    posted = await approved(sandbox)
    await settled(bot, State.SENT)
    await sandbox.until(lambda: "accepted it" in thread_text(sandbox, posted["ts"]))
    assert "About *" not in str(sandbox.acting.messages(HERE))
