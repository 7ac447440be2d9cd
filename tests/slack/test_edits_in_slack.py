"""Ask for changes, edit, and the diff in the thread: as people see them in Slack."""

from __future__ import annotations

import json
import time

import pytest

from bot.app import Bot
from bot.domain.lifecycle import State
from bot.slack.blocks.thread import diff
from sandbox.blocks import check_blocks
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.ground import newest
from tests.support.slack import HERE, approved, ask, card, drawn, filled, settled, thread_text
from tests.support.waiting import press


def comment(text: str) -> Json:
    return {"comment": {"value": {"type": "plain_text_input", "value": text}}}


def thread_blocks(sandbox: Sandbox, ts: str) -> str:
    return json.dumps([message.get("blocks") for message in sandbox.acting.thread(HERE, ts)])


async def test_an_approver_asks_for_changes_and_the_changed_text_goes_out(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes demain")
    posted = await card(sandbox)
    form = await press(sandbox, "U0ANA", posted, "request_changes")
    assert form["callback_id"] == "broadcast_changes"
    assert await sandbox.acting.submit("U0ANA", form["id"], comment("Name the shop.")) == {}

    await settled(bot, State.DRAFT)
    await sandbox.until(lambda: "asks for changes: “Name the shop.”" in thread_text(sandbox, posted["ts"]))
    assert "<@U0CLEO>" in thread_text(sandbox, posted["ts"])
    await sandbox.until(lambda: "broadcast.approve" not in str(sandbox.acting.messages(HERE)[0]["blocks"]))
    assert len(sandbox.acting.messages(HERE)) == 1

    form = await press(sandbox, "U0CLEO", posted, "edit")
    assert "Soldes demain" in json.dumps(form["blocks"])
    assert await sandbox.acting.submit("U0CLEO", form["id"], filled("clients", "Soldes chez Bell demain")) == {}
    second = await card(sandbox, 1)
    row = await drawn(bot)
    assert (row.state, row.version) == (State.PENDING, 2)
    assert "has changed, so this card is out of date" in str(sandbox.acting.messages(HERE)[0])
    await sandbox.until(lambda: "changed it and asks again" in thread_text(sandbox, second["ts"]))
    assert '{"type": "text", "text": "chez Bell ", "style": {"bold": true}}' in thread_blocks(sandbox, second["ts"])

    await sandbox.acting.click("U0ANA", HERE, second["ts"], "broadcast.approve")
    await settled(bot, State.SENT)
    assert [sent.text for sent in sandbox.vendors.ledger] == ["Soldes chez Bell demain STOP AU 36111"]


async def test_changes_are_asked_for_with_a_comment(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes demain")
    form = await press(sandbox, "U0ANA", await card(sandbox), "request_changes")
    errors = await sandbox.acting.submit("U0ANA", form["id"], comment("  "))
    assert "Say what to change" in errors["comment"]
    assert (await newest(bot)).state is State.PENDING


async def test_who_may_not_approve_is_not_asked_for_a_comment(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes demain")
    posted = await card(sandbox)
    await sandbox.acting.click("U0DAN", HERE, posted["ts"], "broadcast.request_changes")
    await sandbox.until(lambda: "can ask for changes to" in str(sandbox.acting.ephemerals("U0DAN")))
    assert sandbox.acting.views("U0DAN") == []


@pytest.mark.long
async def test_an_approver_corrects_a_typo_and_another_one_approves_it(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Sodles demain")
    posted = await card(sandbox)
    form = await press(sandbox, "U0ANA", posted, "edit")
    assert "Earlier approvals will no longer count" in json.dumps(form["blocks"])
    assert await sandbox.acting.submit("U0ANA", form["id"], filled("clients", "Soldes demain")) == {}
    second = await card(sandbox, 1)
    await sandbox.until(lambda: "<@U0ANA> edited it." in thread_text(sandbox, second["ts"]))
    told = thread_blocks(sandbox, second["ts"])
    assert '{"type": "text", "text": "Sodles", "style": {"strike": true}}' in told
    assert '{"type": "text", "text": "Soldes", "style": {"bold": true}}' in told
    await sandbox.acting.click("U0ANA", HERE, second["ts"], "broadcast.approve")
    await sandbox.until(lambda: "somebody else must approve it" in str(sandbox.acting.ephemerals("U0ANA")))
    await sandbox.acting.click("U0BEN", HERE, second["ts"], "broadcast.approve")
    await settled(bot, State.SENT)
    assert [sent.text for sent in sandbox.vendors.ledger] == ["Soldes demain STOP AU 36111"]


async def test_a_reaction_on_the_card_of_an_older_version_approves_nothing(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Sodles demain")
    posted = await card(sandbox)
    form = await press(sandbox, "U0CLEO", posted, "edit")
    assert await sandbox.acting.submit("U0CLEO", form["id"], filled("clients", "Soldes demain")) == {}
    await card(sandbox, 1)
    await sandbox.acting.react("U0ANA", HERE, posted["ts"], "+1")
    await sandbox.until(lambda: "has changed in the meantime" in str(sandbox.acting.ephemerals("U0ANA")))
    assert (await drawn(bot)).state is State.PENDING


@pytest.mark.long
async def test_an_edit_of_what_has_been_approved_asks_again(sandbox: Sandbox, bot: Bot) -> None:
    await approved(sandbox, 'send clients marketing at="tomorrow 10:00" Sodles demain')
    row = await settled(bot, State.SCHEDULED)
    assert await ask(sandbox, f"edit {row.id}") == ""
    form = sandbox.acting.views("U0CLEO")[-1]
    values = filled("clients", "Soldes demain", send_at=row.send_at // 1_000_000)
    assert await sandbox.acting.submit("U0CLEO", form["id"], values) == {}
    await settled(bot, State.PENDING)
    second = await card(sandbox, 1)
    await sandbox.until(lambda: "<@U0ANA> <@U0CLEO> edited it." in thread_text(sandbox, second["ts"]))
    assert sandbox.vendors.ledger == []


async def test_an_edit_that_was_overtaken_keeps_its_words_in_the_form(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Sodles demain")
    posted = await card(sandbox)
    hers, his = await press(sandbox, "U0ANA", posted, "edit"), await press(sandbox, "U0CLEO", posted, "edit")
    assert await sandbox.acting.submit("U0ANA", hers["id"], filled("clients", "Soldes demain")) == {}
    errors = await sandbox.acting.submit("U0CLEO", his["id"], filled("clients", "Soldes après-demain"))
    assert "has changed in the meantime: 🟡 Waiting for approval, by @U0ANA." in str(errors)
    assert sandbox.acting.views("U0CLEO")[-1]["id"] == his["id"]


async def test_a_rejection_by_a_reaction_asks_for_its_reason_in_the_thread(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes demain")
    posted = await card(sandbox)
    await sandbox.acting.react("U0ANA", HERE, posted["ts"], "x")
    await settled(bot, State.REJECTED)
    await sandbox.until(lambda: "broadcast.give_reason" in thread_blocks(sandbox, posted["ts"]))
    (asks,) = [m for m in sandbox.acting.thread(HERE, posted["ts"]) if "give_reason" in str(m.get("blocks"))]
    await sandbox.acting.click("U0DAN", HERE, asks["ts"], "broadcast.give_reason")
    await sandbox.until(lambda: "can reject" in str(sandbox.acting.ephemerals("U0DAN")))
    await sandbox.acting.click("U0ANA", HERE, asks["ts"], "broadcast.give_reason")
    form = sandbox.acting.views("U0ANA")[-1]
    reason = {"reason": {"value": {"type": "plain_text_input", "value": "Too many this week."}}}
    assert await sandbox.acting.submit("U0ANA", form["id"], reason) == {}
    await sandbox.until(lambda: "<@U0ANA> gave the reason: “Too many this week.”" in thread_text(sandbox, posted["ts"]))


def test_a_diff_is_taken_by_slack_whatever_the_texts_are() -> None:
    for before, after in (("a", "b"), ("", "x"), ("x", ""), ("same", "same"), ("*a* ~b~ <@U1> " * 200, "`c` " * 900)):
        check_blocks([diff(before, after)])


def test_a_diff_of_long_texts_that_repeat_themselves_is_quick_to_draw() -> None:
    began = time.process_time()
    for before, after in (("a b " * 1000, "b c " * 1000), ("*a* ~b~ <@U1> " * 280, "`c` " * 1000)):
        diff(before, after)
    assert time.process_time() - began < 2  # it was minutes, during which the bot did nothing else


def test_a_diff_shows_each_change_of_a_long_text() -> None:
    text = " ".join(f"word{number}" for number in range(300))
    shown = json.dumps(diff(text.replace("word7 ", ""), text.replace("word290", "changed")))
    assert '"word7 ", "style": {"bold": true}' in shown
    assert '"word290", "style": {"strike": true}' in shown
    assert '"changed", "style": {"bold": true}' in shown


def test_a_diff_leaves_out_what_is_far_from_a_change() -> None:
    shown = json.dumps(diff(f"{'word ' * 400}old", f"{'word ' * 400}new"))
    assert len(shown) < 600
    assert "old" in shown
    assert "new" in shown


def test_a_diff_names_a_hidden_character_that_was_added_and_never_holds_it() -> None:
    shown = json.dumps(diff("Soldes demain", "Soldes\u202e demain"))
    assert "[U+202E]" in shown
    assert "\\u202e" not in shown
