"""What was filled in of a template and not sent, or kept as a draft, opens again as the template's form."""

from __future__ import annotations

import pytest

from bot.app import Bot
from bot.domain.lifecycle import State
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.patience import until
from tests.support.slack import HERE, ask, becomes, filled, open_form, settled, shown, type_in
from tests.support.templates import FILLED, PARIS, SAVE, WORDING, approve, holds, inputs, opened, with_slots

QUIET = "C0QUIET"  # the app is not in it, so no card can go there


async def left(sandbox: Sandbox, slots: dict[str, str]) -> None:
    """Fill in some of the slots, and close the form."""
    form = await opened(sandbox)
    await type_in(sandbox, form, with_slots(slots, sender="Bell"), "slot_city")
    await becomes(sandbox, f'"initial_value": "{slots["city"]}"')
    await sandbox.acting.close("U0DAN", form["id"])


async def kept(sandbox: Sandbox, bot: Bot, slots: dict[str, str]) -> Json:
    """Submit it where no card can go: it becomes a draft. Return the form that opens it again."""
    assert await ask(sandbox, "template use promo", user="U0DAN", channel=QUIET) == ""
    form = sandbox.acting.views("U0DAN")[-1]
    assert await sandbox.acting.submit("U0DAN", form["id"], with_slots(slots)) == {}
    row = await settled(bot, State.DRAFT)
    return await again(sandbox, row.id)


async def starts_anew(sandbox: Sandbox) -> bool:
    await opened(sandbox)
    return "You typed this" not in shown(sandbox)


async def again(sandbox: Sandbox, id: str) -> Json:
    assert await ask(sandbox, f"edit {id}", user="U0DAN", channel=HERE) == ""
    return sandbox.acting.views("U0DAN")[-1]


async def test_a_half_filled_template_is_there_again_slot_by_slot(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    await left(sandbox, {"city": "Lyon", "day": ""})
    form = await opened(sandbox)
    assert "You typed this" in shown(sandbox)
    now = inputs(sandbox)
    assert now["slot_city"]["initial_value"] == "Lyon"
    assert "initial_value" not in now["slot_day"]
    assert now["sender"]["initial_value"] == "Bell"
    assert now["template"]["initial_option"]["value"] == "promo"
    values = holds(sandbox)
    values["slot_day"]["value"]["value"] = "24/12/2027"
    assert await sandbox.acting.submit("U0DAN", form["id"], values) == {}
    assert (await settled(bot, State.PENDING)).typed == FILLED.replace("Paris", "Lyon")


async def test_a_form_that_something_filled_in_leaves_what_was_typed_in_the_blank_one(
    sandbox: Sandbox, bot: Bot
) -> None:
    await ask(sandbox, SAVE)
    form = await open_form(sandbox)
    await type_in(sandbox, form, filled("newsletter", "Un long texte"))
    await becomes(sandbox, "Un long texte STOP")
    await sandbox.acting.close("U0DAN", form["id"])
    await left(sandbox, {"city": "Lyon", "day": ""})
    await open_form(sandbox)
    assert inputs(sandbox)["text"]["initial_value"] == "Un long texte"
    form = await opened(sandbox)
    assert await sandbox.acting.submit("U0DAN", form["id"], with_slots(PARIS)) == {}
    await until(lambda: starts_anew(sandbox))
    await open_form(sandbox)
    assert inputs(sandbox)["text"]["initial_value"] == "Un long texte"


@pytest.mark.long
async def test_of_a_template_that_has_changed_since_the_words_are_kept(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    await left(sandbox, {"city": "Lyon", "day": ""})
    await ask(sandbox, SAVE + " !")
    await opened(sandbox)
    assert "The template “promo” has changed since you filled it in." in shown(sandbox)
    assert inputs(sandbox)["text"]["initial_value"] == "Nos soldes à Lyon dès le {{day:date}}"
    await ask(sandbox, "template delete promo")
    await opened(sandbox)
    assert inputs(sandbox)["text"]["initial_value"] == "Nos soldes à Lyon dès le {{day:date}}"


async def test_a_draft_of_a_template_is_its_form_again_and_goes_as_approved(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    await approve(sandbox)
    form = await kept(sandbox, bot, PARIS)
    assert WORDING in shown(sandbox)
    assert "needs no further approval" in shown(sandbox)
    assert inputs(sandbox)["slot_city"]["initial_value"] == "Paris"
    assert await sandbox.acting.submit("U0DAN", form["id"], holds(sandbox)) == {}
    await settled(bot, State.SENT, State.DONE)
    assert [entry.text for entry in sandbox.vendors.ledger] == [f"{FILLED} STOP au 30101"]


@pytest.mark.long
async def test_a_draft_whose_template_is_gone_keeps_its_words_and_says_so(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    await approve(sandbox)
    await kept(sandbox, bot, PARIS)
    row = await settled(bot, State.DRAFT)
    await ask(sandbox, "template delete promo")
    form = await again(sandbox, row.id)
    assert "The template “promo” has changed since you filled it in." in shown(sandbox)
    assert inputs(sandbox)["text"]["initial_value"] == FILLED
    assert await sandbox.acting.submit("U0DAN", form["id"], holds(sandbox)) == {}
    assert (await settled(bot, State.PENDING)).typed == FILLED


@pytest.mark.long
async def test_a_draft_that_is_then_written_freely_stays_an_ordinary_text(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, SAVE)
    form = await kept(sandbox, bot, PARIS)
    button = ("freely", "broadcast.freely", {"type": "button", "value": "freely"})
    await sandbox.acting.act("U0DAN", {"view_id": form["id"]}, *button, holds(sandbox))
    await becomes(sandbox, '"text:1"')
    await sandbox.acting.submit("U0DAN", form["id"], holds(sandbox))
    assert (await settled(bot, State.PENDING)).typed == FILLED
