"""A template is chosen inside the form, which then becomes the template's own."""

from __future__ import annotations

import json

import pytest

from bot.app import Bot
from bot.domain.lifecycle import State
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.ground import StartBot, all_of
from tests.support.patience import nothing_more
from tests.support.slack import HERE, ask, becomes, filled, open_form, settled, shown, type_in
from tests.support.templates import FILLED, PARIS, SAVE, WORDING, approve, chosen, holds, inputs

PLAIN_TEXT = "Bonjour à toute l’équipe"
INFO = f"template save info staff transactional {PLAIN_TEXT}"


def typed(audience: str, text: str, template: str | None, **more: str) -> Json:
    return filled(audience, text, **more) | {"template": chosen(template)}


async def choose(sandbox: Sandbox, form: Json, values: Json, block: str = "template") -> None:
    await type_in(sandbox, form, values, block)


@pytest.mark.long
async def test_a_form_offers_templates_only_where_there_are_some(sandbox: Sandbox, bot: Bot) -> None:
    await open_form(sandbox)
    assert "template" not in inputs(sandbox)
    await ask(sandbox, SAVE)
    form = await open_form(sandbox)
    assert next(iter(inputs(sandbox))) == "template"
    (option,) = await sandbox.acting.suggest("U0DAN", form["id"], "template", "")
    assert (option["value"], option["text"]["text"]) == ("promo", "promo → newsletter · Marketing")
    assert await sandbox.acting.suggest("U0DAN", form["id"], "template", "nothing like it") == []
    assert len(await sandbox.acting.suggest("U0DAN", form["id"], "template", "market")) == 1
    assert "promo" not in json.dumps(await sandbox.acting.suggest("U0DAN", form["id"], "audience", ""))


async def test_a_template_with_slots_turns_the_form_into_its_own_and_goes_as_approved(
    sandbox: Sandbox, bot: Bot
) -> None:
    await ask(sandbox, SAVE)
    await approve(sandbox)
    form = await open_form(sandbox)
    await choose(sandbox, form, typed("staff", "", "promo"))
    await becomes(sandbox, "slot_city")
    assert sandbox.acting.views("U0DAN")[-1]["id"] == form["id"]
    assert WORDING in shown(sandbox)
    assert "Approved by <@U0ANA>" in shown(sandbox)
    assert "text" not in {name.split(":")[0] for name in inputs(sandbox)}
    assert inputs(sandbox)["audience:1"]["initial_option"]["value"] == "newsletter"
    slots = {f"slot_{name}": {"value": {"type": "plain_text_input", "value": v}} for name, v in PARIS.items()}
    assert await sandbox.acting.submit("U0DAN", form["id"], holds(sandbox) | slots) == {}
    await settled(bot, State.SENT, State.DONE)
    assert [entry.text for entry in sandbox.vendors.ledger] == [f"{FILLED} STOP au 30101"]


async def test_it_replaces_nothing_that_somebody_wrote(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    form = await open_form(sandbox)
    values = typed("newsletter", "Mon long texte", "promo")
    await choose(sandbox, form, values)
    await becomes(sandbox, "would replace what you wrote")
    assert inputs(sandbox)["text"]["initial_value"] == "Mon long texte"
    values["text"]["value"]["value"] = ""
    await type_in(sandbox, form, values)
    await becomes(sandbox, "slot_city")


@pytest.mark.long
async def test_what_was_filled_in_of_a_deleted_template_becomes_the_text(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    form = await open_form(sandbox)
    await choose(sandbox, form, typed("newsletter", "", "promo"))
    await becomes(sandbox, "slot_city")
    await ask(sandbox, "template delete promo")
    values = holds(sandbox)
    values["slot_city"]["value"]["value"] = "Villeurbanne"
    button = ("freely", "broadcast.freely", {"type": "button", "value": "freely"})
    await sandbox.acting.act("U0DAN", {"view_id": form["id"]}, *button, values)
    await becomes(sandbox, '"initial_value": "Villeurbanne"')


async def test_one_without_slots_fills_in_the_text_and_what_else_was_typed_stays(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, INFO)
    form = await open_form(sandbox)
    await choose(sandbox, form, typed("newsletter", "", "info", sender="Bell"))
    await becomes(sandbox, '"text:1"')
    now = inputs(sandbox)
    assert now["text:1"]["initial_value"] == PLAIN_TEXT
    assert now["audience:1"]["initial_option"]["value"] == "staff"
    assert now["purpose:1"]["initial_option"]["value"] == "transactional"
    assert now["sender"]["initial_value"] == "Bell"
    values = holds(sandbox)
    values["text:1"]["value"]["value"] = f"{PLAIN_TEXT} !"
    await type_in(sandbox, form, values, "text:1")
    await becomes(sandbox, f"{PLAIN_TEXT} !")
    assert inputs(sandbox)["text:1"]["initial_value"] == f"{PLAIN_TEXT} !"  # it is filled in once
    del values["sender"]
    assert await sandbox.acting.submit("U0DAN", form["id"], values) == {}
    row = await settled(bot, State.SENT, State.DONE, State.SCHEDULED, State.PENDING)
    assert (row.audience, row.typed) == ("staff", f"{PLAIN_TEXT} !")


@pytest.mark.long
async def test_a_template_without_an_audience_leaves_the_chosen_one(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, f"template save court marketing {PLAIN_TEXT}")
    form = await open_form(sandbox)
    await choose(sandbox, form, typed("newsletter", "", "court"))
    await becomes(sandbox, '"text:1"')
    assert inputs(sandbox)["audience"]["initial_option"]["value"] == "newsletter"


@pytest.mark.long
async def test_another_choice_keeps_the_slots_of_the_same_name(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    await ask(sandbox, "template save autre newsletter marketing Rendez-vous à {{city}} lundi")
    form = await open_form(sandbox)
    await choose(sandbox, form, typed("newsletter", "", "promo"))
    await becomes(sandbox, "slot_city")
    values = holds(sandbox) | {"template": chosen("autre")}
    values["slot_city"]["value"]["value"] = "Lyon"
    await choose(sandbox, form, values)
    await becomes(sandbox, "Rendez-vous à Lyon lundi STOP au 30101")
    assert inputs(sandbox)["slot_city"]["initial_value"] == "Lyon"
    assert "slot_day" not in inputs(sandbox)


@pytest.mark.long
async def test_a_choice_that_is_taken_back_leaves_its_words_as_a_text(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    form = await open_form(sandbox)
    await choose(sandbox, form, typed("newsletter", "", "promo"))
    await becomes(sandbox, "slot_city")
    values = holds(sandbox) | {"template": chosen(None)}
    values["slot_city"]["value"]["value"] = "Lyon"
    await choose(sandbox, form, values)
    await becomes(sandbox, '"initial_value": "Nos soldes à Lyon dès le {{day:date}}"')
    assert "slot_city" not in inputs(sandbox)


@pytest.mark.long
async def test_written_freely_the_same_template_can_be_chosen_once_more(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    form = await open_form(sandbox)
    await choose(sandbox, form, typed("newsletter", "", "promo"))
    await becomes(sandbox, "slot_city")
    button = ("freely", "broadcast.freely", {"type": "button", "value": "freely"})
    await sandbox.acting.act("U0DAN", {"view_id": form["id"]}, *button, holds(sandbox))
    await becomes(sandbox, '"text:2"')
    assert "initial_option" not in inputs(sandbox)["template:2"]
    values = holds(sandbox) | {"template:2": chosen("promo")}
    await choose(sandbox, form, values, "template:2")
    await becomes(sandbox, "slot_city")


async def test_a_template_that_was_deleted_meanwhile_is_named_under_the_field(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    form = await open_form(sandbox)
    await ask(sandbox, "template delete promo")
    values = typed("newsletter", "Mon texte", "promo")
    await choose(sandbox, form, values)
    await becomes(sandbox, "⚠️ There is no template “promo” any more.")
    assert inputs(sandbox)["text"]["initial_value"] == "Mon texte"
    errors = await sandbox.acting.submit("U0DAN", form["id"], values)
    assert list(errors) == ["template"]
    assert "There is no template “promo”" in errors["template"]
    assert await sandbox.acting.submit("U0DAN", form["id"], values | {"template": chosen(None)}) == {}
    assert (await settled(bot, State.PENDING)).typed == "Mon texte"


@pytest.mark.long
async def test_one_that_is_deleted_while_it_is_filled_in_is_named_there_and_then(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    form = await open_form(sandbox)
    await choose(sandbox, form, typed("newsletter", "", "promo"))
    await becomes(sandbox, "slot_city")
    await ask(sandbox, "template delete promo")
    await ask(sandbox, "template save autre newsletter marketing Bonjour {{city}}")
    values = holds(sandbox)
    values["slot_city"]["value"]["value"] = "Lyon"
    await type_in(sandbox, form, values, "slot_city")
    await becomes(sandbox, "⚠️ There is no template “promo” any more.")
    assert WORDING in shown(sandbox)
    await choose(sandbox, form, values | {"template": chosen("autre")})
    await becomes(sandbox, "Bonjour Lyon STOP au 30101")
    assert "any more" not in shown(sandbox)


async def test_what_the_form_does_not_show_yet_is_not_sent(sandbox: Sandbox, bot: Bot) -> None:
    """The choice and the press come together, or Slack takes no update: the text of before must not go out."""
    sandbox.faults.add("views.update", "error", 100, error="internal_error")
    await ask(sandbox, SAVE)
    form = await open_form(sandbox)
    values = typed("newsletter", "Mon texte", "promo")
    await choose(sandbox, form, values)
    errors = await sandbox.acting.submit("U0DAN", form["id"], values)
    assert "does not show the template “promo” yet" in errors["template"]
    assert await all_of(bot) == []


@pytest.mark.long
async def test_a_form_closed_or_changed_meanwhile_breaks_nothing(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    form = await open_form(sandbox)
    values = typed("newsletter", "", "promo")
    await choose(sandbox, form, values)
    await sandbox.acting.close("U0DAN", form["id"])
    await nothing_more(bot)
    form = await open_form(sandbox)
    sandbox.faults.add("views.update", "error", 1, error="hash_conflict")
    await choose(sandbox, form, values)
    await sandbox.until(lambda: not sandbox.faults.asked)
    await type_in(sandbox, form, values)  # the next change brings the choice with it
    await becomes(sandbox, "slot_city")


@pytest.mark.long
async def test_an_edit_offers_no_template(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox)
    await ask(sandbox, SAVE)
    await ask(sandbox, "send newsletter marketing Soldes demain", user="U0DAN")
    row = await settled(bot, State.PENDING)
    await ask(sandbox, f"edit {row.id}", user="U0DAN")
    assert "template" not in inputs(sandbox)


@pytest.mark.long
async def test_a_command_that_is_corrected_in_the_form_may_become_a_template(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    await ask(sandbox, "send nobody marketing Mon texte", user="U0DAN")
    answer = sandbox.acting.ephemerals("U0DAN")[-1]
    await sandbox.acting.click("U0DAN", HERE, answer["ts"], "broadcast.correct")
    assert inputs(sandbox)["text"]["initial_value"] == "Mon texte"
    assert "template" in inputs(sandbox)
