"""What a person saw on a card is what they approve."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from decimal import Decimal
from typing import Any

import pytest

from bot.app import Bot
from bot.domain.errors import CardChanged
from bot.domain.lifecycle import State
from bot.storage import cards
from bot.storage.votes import votes_for
from bot.workflow.decision_types import Approve, Drawing, SendNow, Sight
from providers.base import Staged
from providers.reading import UNREADABLE
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.cards import SEEN, STANDS, shown
from tests.support.core import CLEO, TEAM, Core, approver
from tests.support.ground import StartBot, newest
from tests.support.patience import nothing_more
from tests.support.slack import HERE, ask, card, drawn, filled, settled, thread_text


@pytest.mark.long
async def test_a_press_on_a_card_that_shows_fewer_people_is_answered_with_how_many_there_are(
    sandbox: Sandbox, bot: Bot
) -> None:
    """C4: Slack blocks every update while the vendor reports 500 people."""
    await ask(sandbox, "send newsletter marketing Soldes")
    posted = await card(sandbox)
    assert "up to 100" in json.dumps(posted["blocks"])
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
    """C4, C8: the old card can be neither changed nor deleted, and still shows "up to 100"."""
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
    for told in (text, "up to 100 people", "right after approval", "SMS per recipient", "Needs 1 approval"):
        assert told in shown(sandbox)
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    await settled(bot, State.SCHEDULED, State.SENDING, State.SENT)


def actions_of(sandbox: Sandbox) -> Json:
    return next(block for block in sandbox.acting.messages(HERE)[0]["blocks"] if block["type"] == "actions")


def drawn_anew(sandbox: Sandbox, before: Json, said: str) -> Json | None:
    return actions_of(sandbox) if said in shown(sandbox) and actions_of(sandbox) != before else None


async def test_a_card_names_what_it_may_be_a_duplicate_of_and_links_to_its_card(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes demain au magasin")
    await card(sandbox)
    first = await drawn(bot)
    await ask(sandbox, "send clients marketing Soldes demain au magazin", user="U0DAN")
    kept = await settled(bot, State.DRAFT)
    await ask(sandbox, f"edit {kept.id}", user="U0DAN")
    form = sandbox.acting.views("U0DAN")[-1]
    values = filled("clients", "Soldes demain au magazin")
    assert await sandbox.acting.submit("U0DAN", form["id"], values) == {}
    posted = await card(sandbox, 1)
    said = json.dumps(posted["blocks"], ensure_ascii=False)
    assert f"Nearly the same text to the same people: *{first.id}*, asked by <@U0CLEO>" in said
    assert "|Open its card>" in said
