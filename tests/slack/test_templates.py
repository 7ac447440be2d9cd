"""Templates in the workspace: made in a form, approved by a button, filled in slot by slot."""

from __future__ import annotations

import json

import pytest

from bot.app import Bot
from bot.domain.lifecycle import State
from bot.slack.blocks import template_forms
from bot.slack.blocks.mrkdwn import quote
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.ground import StartBot, all_of
from tests.support.slack import HERE, ask, becomes, card, filled, settled, shown, thread_text, type_in
from tests.support.templates import FILLED, PARIS, SAVE, WORDING, approve, chosen, holds, inputs, opened, with_slots


def of_template(name: str, text: str, audience: str = "newsletter") -> Json:
    return filled(audience, text) | {"name": {"value": {"type": "plain_text_input", "value": name}}}


async def test_a_template_is_approved_once_and_then_goes_by_filling_in_its_slots(sandbox: Sandbox, bot: Bot) -> None:
    assert "template approve promo" in await ask(sandbox, SAVE)
    assert "without further approval" in await approve(sandbox)
    form = await opened(sandbox)
    assert WORDING in shown(sandbox)
    assert "Approved by <@U0ANA>" in shown(sandbox)
    assert [b["block_id"] for b in form["blocks"] if b["type"] == "input"] == [
        *("template", "audience", "purpose", "slot_city", "slot_day", "send_at", "sender", "campaign", "canary")
    ]
    assert await sandbox.acting.submit("U0DAN", form["id"], with_slots(PARIS)) == {}
    await settled(bot, State.SENT, State.DONE)
    assert [entry.text for entry in sandbox.vendors.ledger] == [f"{FILLED} STOP au 30101"]
    posted = await card(sandbox)
    await sandbox.until(lambda: "which <@U0ANA> approved" in thread_text(sandbox, posted["ts"]))


async def test_what_is_approved_is_shown_to_the_asker_alone_and_the_owner_hears_of_it(
    sandbox: Sandbox, bot: Bot
) -> None:
    await ask(sandbox, SAVE)
    await approve(sandbox)
    seen = json.dumps(sandbox.acting.ephemerals("U0ANA"), ensure_ascii=False)
    for fact in (f"{WORDING} STOP au 30101", "newsletter", "Marketing", "100", "as often as they like", "a date"):
        assert fact in seen
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: "approved your template “promo”" in str(sandbox.acting.messages(direct)))
    assert sandbox.acting.messages(HERE) == []


async def test_a_value_that_does_not_fit_is_refused_under_its_field_and_nothing_is_stored(
    sandbox: Sandbox, bot: Bot
) -> None:
    await ask(sandbox, SAVE)
    form = await opened(sandbox)
    errors = await sandbox.acting.submit("U0DAN", form["id"], with_slots({"city": "bell.fr", "day": "bientôt"}))
    assert set(errors) == {"slot_city", "slot_day"}
    assert "reads like a link" in errors["slot_city"]
    errors = await sandbox.acting.submit("U0DAN", form["id"], with_slots({**PARIS, "city": "x" * 21}))
    assert errors == {"slot_city": "“city” takes at most 20 characters. This has 21. Shorten it."}
    assert await all_of(bot) == []


async def test_a_payload_that_lies_about_the_wording_changes_nothing(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    await approve(sandbox)
    form = await opened(sandbox)
    lies = with_slots(PARIS) | {"text": {"value": {"type": "plain_text_input", "value": "Tout est gratuit"}}}
    assert await sandbox.acting.submit("U0DAN", form["id"], lies) == {}
    assert (await settled(bot, State.SCHEDULED, State.SENDING, State.SENT, State.DONE)).typed == FILLED


async def test_a_payload_that_hides_the_template_goes_the_whole_road(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    await approve(sandbox)
    form = await opened(sandbox)
    form["private_metadata"] = json.dumps({**json.loads(form["private_metadata"]), "template": None})
    assert await sandbox.acting.submit("U0DAN", form["id"], filled("newsletter", FILLED)) == {}
    assert (await settled(bot, State.PENDING)).typed == FILLED


async def test_written_freely_it_goes_the_whole_road(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    await approve(sandbox)
    form = await opened(sandbox)
    values = with_slots({"city": "Paris", "day": ""})
    button = {"type": "button", "value": "freely"}
    await sandbox.acting.act("U0DAN", {"view_id": form["id"]}, "freely", "broadcast.freely", button, values)
    await becomes(sandbox, '"block_id": "text:1"')
    assert '"initial_value": "Nos soldes à Paris dès le {{day:date}}"' in shown(sandbox)
    assert "slot_" not in shown(sandbox)
    text = {"text:1": filled("newsletter", FILLED)["text"]}
    given = {name: value for name, value in filled("newsletter", "").items() if name != "text"} | text
    assert await sandbox.acting.submit("U0DAN", form["id"], given) == {}
    assert (await settled(bot, State.PENDING)).typed == FILLED


async def test_under_the_slots_stands_what_it_would_become(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    form = await opened(sandbox)
    await type_in(sandbox, form, with_slots({"city": "bell.fr", "day": ""}), "slot_city")
    await becomes(sandbox, "⛔ “bell.fr” reads like a link")
    await type_in(sandbox, form, with_slots(PARIS), "slot_day")
    await becomes(sandbox, f"{FILLED} STOP au 30101")
    assert '"initial_value": "Paris"' in shown(sandbox)


async def test_the_form_says_truly_whether_it_needs_approval(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    await approve(sandbox)
    form = await opened(sandbox)
    assert "needs no further approval" in shown(sandbox)
    await type_in(sandbox, form, with_slots(PARIS), "slot_day")
    await becomes(sandbox, "right away")
    await type_in(sandbox, form, with_slots(PARIS) | {"audience": filled("vip", "")["audience"]}, "audience")
    await becomes(sandbox, "Its approval is for another audience")
    await becomes(sandbox, "right after approval")
    await opened(sandbox, "U0ANA")  # who approved it, and never approves what she asks for
    assert "It is not approved in advance" in shown(sandbox, "U0ANA")


async def test_what_is_written_freely_after_an_approved_template_needs_approval(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    await approve(sandbox)
    form = await opened(sandbox)
    await type_in(sandbox, form, with_slots(PARIS), "slot_day")
    await becomes(sandbox, "right away")
    press = ("wording", template_forms.FREELY, {"type": "button", "value": "x"})
    await sandbox.acting.act("U0DAN", {"view_id": form["id"]}, *press, with_slots(PARIS))
    await becomes(sandbox, "right after approval")


async def test_a_canary_takes_the_usual_road_and_the_form_says_so_at_once(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    await approve(sandbox)
    form = await opened(sandbox)
    assert "needs no further approval" in shown(sandbox)
    few = {"canary": {"value": {"type": "static_select", "selected_option": {"value": "team"}}}}
    await type_in(sandbox, form, with_slots(PARIS) | few, "canary")
    await becomes(sandbox, "*team* gets it first, which its approval does not cover")
    assert "needs no further approval" not in shown(sandbox)
    none = {"canary": {"value": {"type": "static_select", "selected_option": None}}}
    await type_in(sandbox, form, with_slots(PARIS) | none, "canary")
    await becomes(sandbox, "needs no further approval")
    assert await sandbox.acting.submit("U0DAN", form["id"], with_slots(PARIS) | few) == {}
    assert (await settled(bot, State.PENDING)).canary == "team"


async def test_another_sender_is_seen_while_it_is_typed(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    await approve(sandbox)
    form = await opened(sandbox)
    await type_in(sandbox, form, with_slots(PARIS, sender="Autre"), "sender")
    await becomes(sandbox, "Its approval is for another audience")


async def test_a_start_outside_the_sending_hours_takes_the_usual_road_and_the_form_says_so(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    await start_bot(sandbox, audiences__vip__policy="fr")
    await ask(sandbox, SAVE.replace("newsletter", "vip"))
    await approve(sandbox)
    form = await opened(sandbox)
    sunday = 1_830_420_000  # 2 January 2028
    values = with_slots(PARIS, send_at=sunday) | {"audience": filled("vip", "")["audience"]}
    await type_in(sandbox, form, values, "send_at")
    await becomes(sandbox, "It would start outside the sending hours")


async def test_a_test_of_a_filled_template_rings_on_few_phones(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    form = await opened(sandbox)
    button = {"type": "button", "value": "test"}
    await sandbox.acting.act("U0DAN", {"view_id": form["id"]}, "plain", "broadcast.test", button, with_slots(PARIS))
    await becomes(sandbox, "goes to *team* now")
    row = await settled(bot, State.SENT, State.DONE)
    assert (row.test_of, row.typed) == ("newsletter", FILLED)


async def test_a_template_that_has_changed_since_the_form_was_opened_is_named_and_sends_nothing(
    sandbox: Sandbox, bot: Bot
) -> None:
    await ask(sandbox, SAVE)
    await approve(sandbox)
    form = await opened(sandbox)
    assert "The approval by <@U0ANA> no longer counts" in await ask(sandbox, SAVE + " !")
    errors = await sandbox.acting.submit("U0DAN", form["id"], with_slots(PARIS))
    assert "has changed since this form was opened. Nothing was sent." in errors["slot_city"]
    assert await all_of(bot) == []
    await ask(sandbox, "template delete promo")
    errors = await sandbox.acting.submit("U0DAN", form["id"], with_slots(PARIS))
    assert "There is no template “promo”" in errors["template"]


async def test_the_owner_and_whoever_is_no_approver_are_told_who_can_approve_it(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE, user="U0ANA")
    assert "You wrote the template “promo”" in await ask(sandbox, "template approve promo", user="U0ANA")
    assert "Only <!subteam^S0APPROVERS> can approve" in await ask(sandbox, "template approve promo", user="U0DAN")


async def test_an_approval_can_be_taken_back(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    await approve(sandbox)
    await ask(sandbox, "template approve promo", user="U0ANA")
    again = sandbox.acting.ephemerals("U0ANA")[-1]
    await sandbox.acting.click("U0ANA", HERE, again["ts"], "broadcast.withdraw_template")
    await sandbox.until(lambda: "no longer counts" in sandbox.acting.ephemerals("U0ANA")[-1]["text"])
    form = await opened(sandbox)
    await sandbox.acting.submit("U0DAN", form["id"], with_slots(PARIS))
    assert (await settled(bot, State.PENDING)).typed == FILLED


async def test_a_form_makes_a_template_and_shows_what_is_wrong_under_its_field(sandbox: Sandbox, bot: Bot) -> None:
    form = await opened(sandbox, line="template new")
    offered = await sandbox.acting.suggest("U0DAN", form["id"], "audience", "news")
    assert [option["value"] for option in offered] == ["newsletter"]
    errors = await sandbox.acting.submit("U0DAN", form["id"], of_template("Ma promo", "À {{la ville}}", "nobody"))
    assert set(errors) == {"name", "text", "audience"}
    assert "one word" in errors["name"]
    assert await sandbox.acting.submit("U0DAN", form["id"], of_template("Promo", WORDING)) == {}
    assert "I saved the template “promo”" in sandbox.acting.ephemerals("U0DAN")[-1]["text"]
    again = await opened(sandbox, "U0CLEO", "template new")
    errors = await sandbox.acting.submit("U0CLEO", again["id"], of_template("promo", "Autre"))
    assert "belongs to" in errors["name"]
    await ask(sandbox, "template delete promo", user="U0DAN")
    assert await sandbox.acting.submit("U0CLEO", again["id"], of_template("promo", "Autre")) == {}
    assert "“Autre”" in await ask(sandbox, "template list")


async def test_a_form_changes_a_template_and_its_approval_falls(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    await approve(sandbox)
    form = await opened(sandbox, "U0CLEO", "template edit promo")
    assert f'"initial_value": "{WORDING}"' in shown(sandbox, "U0CLEO")
    assert "its approval no longer counts" in shown(sandbox, "U0CLEO")
    errors = await sandbox.acting.submit("U0CLEO", form["id"], of_template("autre", WORDING))
    assert "keeps its name" in errors["name"]
    assert await sandbox.acting.submit("U0CLEO", form["id"], of_template("promo", WORDING + " !")) == {}
    assert "no longer counts" in sandbox.acting.ephemerals("U0CLEO")[-1]["text"]
    assert "belongs to <@U0CLEO>" in await ask(sandbox, "template edit promo", user="U0DAN")


async def test_the_list_shows_whom_each_reaches_and_who_approved_it(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    await ask(sandbox, "template save info staff transactional " + "Bonjour à toute l’équipe. " * 10)
    await approve(sandbox)
    told = await ask(sandbox, "template list")
    first, second = told.splitlines()
    assert first.startswith("• *info* → staff · Transactional · <@U0CLEO> · “Bonjour à toute l’équipe.")
    assert first.endswith("…”")
    assert second == f"• *promo* → newsletter · Marketing · <@U0CLEO> · ✅ approved by <@U0ANA> · “{WORDING}”"


async def test_two_who_must_approve_it_both_press(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox, approval__quorum=2)
    await ask(sandbox, SAVE)
    assert "Approvals still needed: 1" in await approve(sandbox)
    form = await opened(sandbox)
    await sandbox.acting.submit("U0DAN", form["id"], with_slots({**PARIS, "city": "Lyon"}))
    await settled(bot, State.PENDING)
    assert "without further approval" in await approve(sandbox, "U0BEN")
    form = await opened(sandbox)
    assert await sandbox.acting.submit("U0DAN", form["id"], with_slots(PARIS)) == {}
    await settled(bot, State.SENT, State.DONE)
    assert [entry.text for entry in sandbox.vendors.ledger] == [f"{FILLED} STOP au 30101"]


async def test_the_words_of_templates_are_understood_in_three_languages(sandbox: Sandbox, start_bot: StartBot) -> None:
    await start_bot(sandbox, approval__approvers=["U0FAY", "U0EVA"])
    await ask(sandbox, SAVE)
    assert await ask(sandbox, "template approuver promo", user="U0FAY") == (
        "Approuver le modèle *promo* de <@U0CLEO> ?"
    )
    assert await ask(sandbox, "template aprobar promo", user="U0EVA") == "¿Aprobar la plantilla *promo* de <@U0CLEO>?"
    form = await opened(sandbox, "U0FAY", "template créer")
    assert form["title"]["text"] == "Nouveau modèle"


@pytest.mark.parametrize("name", ["<!channel>", "<https://bell.example|promo>"])
async def test_the_name_of_a_template_pings_nobody_and_forges_no_link(sandbox: Sandbox, bot: Bot, name: str) -> None:
    named, line = f"“{quote(name)}”", f"template approve {name}"
    assert named in await ask(sandbox, f"template save {name} newsletter marketing {WORDING}")
    assert named in await approve(sandbox, line=line)
    await ask(sandbox, line, user="U0ANA")
    seen = sandbox.acting.ephemerals("U0ANA")[-1]
    await sandbox.acting.click("U0ANA", HERE, seen["ts"], "broadcast.withdraw_template")
    await sandbox.until(lambda: "no longer counts" in sandbox.acting.ephemerals("U0ANA")[-1]["text"])
    assert named in sandbox.acting.ephemerals("U0ANA")[-1]["text"]
    assert named in await ask(sandbox, f"template delete {name}")


async def test_what_is_deleted_is_told_without_characters_that_turn_the_direction_of_writing(
    sandbox: Sandbox, bot: Bot
) -> None:
    await ask(sandbox, "template save promo newsletter marketing Soldes \u202eniamed")
    assert "“Soldes [U+202E]niamed”" in await ask(sandbox, "template delete promo")


async def test_more_templates_than_one_message_shows_are_counted_in_its_last_line(sandbox: Sandbox, bot: Bot) -> None:
    for number in range(120):
        name = f"soldes-de-printemps-au-magasin-du-centre-{number}"
        await ask(sandbox, f"template save {name} newsletter marketing {WORDING}, venez nombreux")
    assert "magasin-du-centre-0" in await ask(sandbox, "template list")
    blocks = sandbox.acting.ephemerals("U0CLEO")[-1]["blocks"]
    *listed, last = "\n".join(block["text"]["text"] for block in blocks).splitlines()
    assert last == f"… and {120 - len(listed)} more"


async def test_a_template_that_was_chosen_in_a_correction_is_there_again(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    await ask(sandbox, "send newsletter marketing Soldes {prenom}", user="U0DAN")
    answer = sandbox.acting.ephemerals("U0DAN")[-1]
    await sandbox.acting.click("U0DAN", HERE, answer["ts"], "broadcast.correct")
    form = sandbox.acting.views("U0DAN")[-1]
    await type_in(sandbox, form, filled("newsletter", "") | {"template": chosen("promo")}, "template")
    await becomes(sandbox, "slot_city")
    await type_in(sandbox, form, with_slots({"city": "Paris", "day": ""}) | {"template": chosen("promo")}, "slot_city")
    await becomes(sandbox, '"initial_value": "Paris"')
    await sandbox.acting.close("U0DAN", form["id"])
    await sandbox.acting.click("U0DAN", HERE, answer["ts"], "broadcast.correct")
    assert '"initial_value": "Paris"' in shown(sandbox)
    assert "slot_day" in shown(sandbox)


async def test_a_template_that_was_refused_is_corrected_in_its_form(sandbox: Sandbox, bot: Bot) -> None:
    line = "template save promo newsletter transactional sender=Bell Bonjour {{ville"
    assert "I saved" not in await ask(sandbox, line, user="U0DAN")
    form = await corrected(sandbox)
    now = inputs(sandbox)
    assert {name: now[name]["initial_value"] for name in ("name", "text", "sender")} == {
        "name": "promo",
        "text": "Bonjour {{ville",
        "sender": "Bell",
    }
    assert now["audience"]["initial_option"]["value"] == "newsletter"
    assert now["purpose"]["initial_option"]["value"] == "transactional"
    values = holds(sandbox)
    values["text"]["value"]["value"] = "Bonjour {{ville}}"
    assert await sandbox.acting.submit("U0DAN", form["id"], values) == {}
    assert "Bonjour {{ville}}" in await ask(sandbox, "template list", user="U0DAN")


@pytest.mark.long
async def test_a_long_one_that_would_change_a_template_changes_it_once_corrected(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE, user="U0DAN")
    text = "Venez nombreux. " * 200 + "{{ville"
    await ask(sandbox, f"template save promo newsletter marketing {text}", user="U0DAN")
    form = await corrected(sandbox, "broadcast.correct_kept")
    assert form["title"]["text"] == "Edit template"
    values = holds(sandbox)
    for block in [name for name in values if name.startswith("text_rest")]:
        del values[block]
    values["text"]["value"]["value"] = "Venez nombreux à {{ville}}"
    assert await sandbox.acting.submit("U0DAN", form["id"], values) == {}
    assert "Venez nombreux à {{ville}}" in await ask(sandbox, "template list", user="U0DAN")


@pytest.mark.long
async def test_no_form_is_offered_for_a_refused_command_about_templates_that_has_none(
    sandbox: Sandbox, bot: Bot
) -> None:
    await ask(sandbox, "template delete nothing", user="U0DAN")
    assert "broadcast.correct" not in json.dumps(sandbox.acting.ephemerals("U0DAN")[-1])


async def corrected(sandbox: Sandbox, button: str = "broadcast.correct_template") -> Json:
    answer = sandbox.acting.ephemerals("U0DAN")[-1]
    await sandbox.acting.click("U0DAN", HERE, answer["ts"], button)
    return sandbox.acting.views("U0DAN")[-1]
