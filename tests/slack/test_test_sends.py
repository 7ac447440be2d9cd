"""A test from the command line and from the form: what people see of it."""

from __future__ import annotations

import asyncio
import json

import pytest

from bot.app import Bot
from bot.domain.clock import SECOND, now
from bot.domain.lifecycle import State
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.ground import all_of
from tests.support.slack import HERE, ask, becomes, card, filled, open_form, settled, shown, thread_text, type_in

TEST_BUTTON = "broadcast.test"
TEAM = {"value": {"type": "static_select", "selected_option": {"value": "team"}}}
LONGER = "Soldes demain dans toutes nos boutiques, venez nombreux"


def main_card(sandbox: Sandbox) -> str:
    return json.dumps(sandbox.acting.messages(HERE)[0]["blocks"], ensure_ascii=False)


async def press(sandbox: Sandbox, form: Json, text: str = "Soldes demain", **more: Json) -> None:
    element = {"type": "button", "action_id": TEST_BUTTON, "value": "test"}
    values = filled("newsletter", text) | more
    await sandbox.acting.act("U0DAN", {"view_id": form["id"]}, "plain", TEST_BUTTON, element, values)


def updates(sandbox: Sandbox) -> int:
    return [name for name, _ in sandbox.calls].count("views.update")


async def test_a_test_is_typed_like_a_send_and_rings_on_few_phones(sandbox: Sandbox, bot: Bot) -> None:
    said = await ask(sandbox, "test newsletter marketing Soldes demain")
    assert "goes to *team* now" in said
    posted = await card(sandbox)
    assert "Test of newsletter · SMS to team" in json.dumps(posted["blocks"], ensure_ascii=False)
    row = await settled(bot, State.SENT, State.DONE)
    assert (row.test_of, row.text) == ("newsletter", "Soldes demain STOP au 30101")
    assert [entry.audience for entry in sandbox.vendors.ledger] == ["list team"]


@pytest.mark.long
async def test_the_card_of_a_test_offers_to_ask_for_the_send(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "test newsletter marketing Soldes demain")
    await settled(bot, State.SENT, State.DONE)
    posted = await card(sandbox)
    await sandbox.until(lambda: "Ask to send it" in json.dumps(sandbox.acting.messages(HERE)[0]["blocks"]))
    await sandbox.acting.click("U0CLEO", HERE, posted["ts"], "broadcast.follow_up")
    form = sandbox.acting.views("U0CLEO")[-1]
    assert json.loads(form["private_metadata"])["test"] is False
    assert '"value": "newsletter"' in json.dumps(form["blocks"])
    await sandbox.acting.submit("U0CLEO", form["id"], filled("newsletter", "Soldes demain"))
    assert (await settled(bot, State.PENDING)).test_of is None


@pytest.mark.long
async def test_a_test_is_named_in_the_list_and_in_its_history(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "test newsletter marketing Soldes demain")
    row = await settled(bot, State.SENT, State.DONE)
    await ask(sandbox, "list", user="U0CLEO")
    assert "🧪 team" in json.dumps(sandbox.acting.ephemerals("U0CLEO")[-1], ensure_ascii=False)
    assert "test" in await ask(sandbox, f"show {row.id}")


async def test_without_a_test_audience_it_says_who_can_set_one_and_keeps_the_text(sandbox: Sandbox, bot: Bot) -> None:
    said = await ask(sandbox, "test clients marketing Soldes demain")
    assert "[accounts.encom]" in said


async def test_one_press_in_the_form_sends_a_test_and_the_form_says_so(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    await type_in(sandbox, form, filled("newsletter", "Soldes demain"))
    await becomes(sandbox, "Send a test to team")
    await press(sandbox, form)
    await becomes(sandbox, "goes to *team* now")
    row = await settled(bot, State.SENT, State.DONE)
    assert (row.test_of, row.audience, row.requester) == ("newsletter", "team", "U0DAN")
    await type_in(sandbox, form, filled("newsletter", "Soldes lundi"))
    await becomes(sandbox, "Soldes lundi STOP au 30101")
    assert "goes to *team* now" not in shown(sandbox)  # that was another text
    assert await sandbox.acting.submit("U0DAN", form["id"], filled("newsletter", "Soldes lundi")) == {}
    assert (await settled(bot, State.PENDING)).test_of is None


@pytest.mark.long
async def test_a_press_on_what_cannot_go_says_why_under_the_text(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    await type_in(sandbox, form, filled("newsletter", "Soldes demain"))
    await becomes(sandbox, "Send a test to team")
    await press(sandbox, form, "Bonjour {{ville}}")
    await becomes(sandbox, "⛔ ")
    assert sandbox.vendors.ledger == []


@pytest.mark.long
async def test_what_is_typed_while_the_test_is_on_its_way_stays(sandbox: Sandbox, bot: Bot) -> None:
    answered = asyncio.Event()
    form = await open_form(sandbox)
    await type_in(sandbox, form, filled("newsletter", "Soldes demain"))
    await becomes(sandbox, "Send a test to team")
    sandbox.faults.add("conversations.info", "delay", 1, until=answered)
    await press(sandbox, form)
    await type_in(sandbox, form, filled("newsletter", LONGER))
    await becomes(sandbox, f"{LONGER} STOP au 30101")
    drawn = updates(sandbox)
    answered.set()
    await sandbox.until(lambda: updates(sandbox) > drawn)
    assert f"{LONGER} STOP au 30101" in shown(sandbox)
    await settled(bot, State.SENT, State.DONE)
    await sandbox.acting.close("U0DAN", form["id"])
    await open_form(sandbox)
    assert LONGER in shown(sandbox)


@pytest.mark.long
async def test_whatever_start_and_canary_are_chosen_a_press_sends_the_test_now(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    later = {"value": {"type": "datetimepicker", "selected_date_time": now() // SECOND + 86_400}}
    await press(sandbox, form, send_at=later, canary=TEAM)
    await becomes(sandbox, "goes to *team* now")
    row = await settled(bot, State.SENT, State.DONE)
    assert (row.test_of, row.send_at, row.canary) == ("newsletter", None, None)


@pytest.mark.long
async def test_a_test_can_have_neither_a_start_nor_a_canary_and_its_form_asks_for_none(
    sandbox: Sandbox, bot: Bot
) -> None:
    said = await ask(sandbox, 'test newsletter marketing at="tomorrow 9:00" canary=team Soldes', user="U0DAN")
    assert "A test goes out at once. Leave out the start (`at=`)." in said
    assert "Leave out the canary (`canary=`)." in said
    answer = sandbox.acting.ephemerals("U0DAN")[-1]
    await sandbox.acting.click("U0DAN", HERE, answer["ts"], "broadcast.correct_test")
    form = sandbox.acting.views("U0DAN")[-1]
    assert not {"send_at", "canary"} & {block.get("block_id") for block in form["blocks"]}
    assert "⛔" not in shown(sandbox)
    assert sandbox.vendors.ledger == []
    assert await sandbox.acting.submit("U0DAN", form["id"], filled("newsletter", "Soldes")) == {}
    assert (await settled(bot, State.SENT, State.DONE)).audience == "team"


async def test_an_audience_without_a_test_audience_offers_no_test(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    await type_in(sandbox, form, filled("clients", "Soldes demain"))
    await becomes(sandbox, "Soldes demain")
    assert TEST_BUTTON not in shown(sandbox)


@pytest.mark.long
async def test_a_test_that_is_only_a_draft_opens_as_a_test(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "test newsletter marketing Soldes at=9h")
    row = await settled(bot, State.DRAFT)
    await ask(sandbox, f"edit {row.id}", user="U0CLEO")
    form = sandbox.acting.views("U0CLEO")[-1]
    assert form["submit"]["text"] == "Send a test"
    await type_in(sandbox, form, filled("newsletter", "Soldes demain"), user="U0CLEO")
    await becomes(sandbox, "Soldes demain STOP", user="U0CLEO")
    assert await sandbox.acting.submit("U0CLEO", form["id"], filled("newsletter", "Soldes demain")) == {}
    assert (await settled(bot, State.SENT, State.DONE)).test_of == "newsletter"


@pytest.mark.long
async def test_a_canary_is_shown_before_the_approval_and_continued_by_an_approver(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send newsletter marketing canary=team Soldes demain")
    posted = await card(sandbox)
    assert "first to team" in json.dumps(posted["blocks"])
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    await sandbox.until(lambda: "has it now" in thread_text(sandbox, posted["ts"]))
    assert [entry.audience for entry in sandbox.vendors.ledger] == ["list team"]
    asked, few = (json.dumps(one["blocks"], ensure_ascii=False) for one in sandbox.acting.messages(HERE)[:2])
    assert '"Continue"' in asked
    assert '"Stop here"' in asked
    assert ", accepted <!date" in thread_text(sandbox, posted["ts"])
    (first,) = [row for row in await all_of(bot) if row.is_canary]
    assert f"First for {first.follows}" in few
    await sandbox.until(lambda: f"🐤 *{first.id}* · team · ✅ Sent" in main_card(sandbox))
    await sandbox.vendors.deliver("octopush", first.ids[0], "DELIVERED")
    await sandbox.until(lambda: "3 of 3 delivered" in main_card(sandbox))
    assert "|Open its card>" in main_card(sandbox)
    await sandbox.acting.click("U0CLEO", HERE, posted["ts"], "broadcast.send_now")
    await sandbox.until(lambda: "somebody else must approve" in str(sandbox.acting.ephemerals("U0CLEO")))
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.send_now")
    await sandbox.until(lambda: len(sandbox.vendors.ledger) == 2)
    assert [entry.audience for entry in sandbox.vendors.ledger] == ["list team", "list newsletter"]


async def test_the_form_offers_small_audiences_to_get_it_first(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    (field,) = [block for block in form["blocks"] if block["block_id"] == "canary"]
    assert "team" in [option["value"] for option in field["element"]["options"]]
    assert "newsletter" not in str(field)
    values = filled("newsletter", "Soldes demain")
    values["canary"] = TEAM
    assert await sandbox.acting.submit("U0DAN", form["id"], values) == {}
    assert (await settled(bot, State.PENDING)).canary == "team"


async def test_a_canary_of_another_account_is_refused_under_its_field(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    values = filled("clients", "Soldes demain")
    values["canary"] = TEAM
    errors = await sandbox.acting.submit("U0DAN", form["id"], values)
    assert "belongs to another account" in errors["canary"]


@pytest.mark.long
async def test_whoever_edits_a_broadcast_can_try_the_new_text_first(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send newsletter marketing Sodles demain", user="U0DAN")
    row = await settled(bot, State.PENDING)
    await ask(sandbox, f"edit {row.id}", user="U0DAN")
    form = sandbox.acting.views("U0DAN")[-1]
    await press(sandbox, form, "Soldes demain")
    await sandbox.until(lambda: sandbox.vendors.ledger)
    (tried,) = sandbox.vendors.ledger
    assert (tried.audience, tried.text) == ("list team", "Soldes demain STOP au 30101")
    assert (await bot.workflow.find(row.workspace, row.id)).version == 1
    assert await sandbox.acting.submit("U0DAN", form["id"], filled("newsletter", "Soldes demain")) == {}
    assert (await bot.workflow.find(row.workspace, row.id)).version == 2
