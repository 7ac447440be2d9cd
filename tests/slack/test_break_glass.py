"""An alert without approval, as people see it: the menu, the form, the card, the messages and the review."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bot.app import Bot
from bot.domain.i18n import LANGUAGES, translator_for
from bot.domain.lifecycle import ENDED, Hold, State
from bot.slack.blocks import break_glass
from bot.slack.blocks.card import draw_card
from bot.slack.blocks.card_facts import CardContext
from providers.base import Purpose
from sandbox.blocks import check_blocks, check_view
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.cards import shown
from tests.support.ground import StartBot, newest
from tests.support.rows import row
from tests.support.slack import HERE, ask, card, settled, thread_text
from tests.support.waiting import press, told_directly

RULES = [{"purpose": "transactional", "quorum": 1}]
ON: dict[str, Any] = {"approval.rules": RULES, "approval.break_glass": ["U0CLEO"]}
WHY = "The car park is flooding"
LINE = "send clients transactional Do not use the car park"


def typed(block: str, text: str | None) -> Json:
    return {block: {"value": {"type": "plain_text_input", "value": text}}}


async def asked(sandbox: Sandbox, line: str = LINE) -> Json:
    await ask(sandbox, line)
    return await card(sandbox)


async def broken(sandbox: Sandbox, posted: Json) -> None:
    form = await press(sandbox, "U0CLEO", posted, "break_glass")
    assert await sandbox.acting.submit("U0CLEO", form["id"], typed("reason", WHY)) == {}


async def directly(sandbox: Sandbox, user: str) -> list[str]:
    await sandbox.until(lambda: told_directly(sandbox, user))
    return told_directly(sandbox, user)


@pytest.mark.long
async def test_from_the_menu_to_the_phones_and_the_closed_review(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox, **ON)
    posted = await asked(sandbox)
    form = await press(sandbox, "U0CLEO", posted, "break_glass")
    said = json.dumps(form["blocks"], ensure_ascii=False)
    assert "will go to *clients* without approval" in said
    assert "people will get it" in said
    assert "Everybody who may approve it is told at once" in said
    assert "stays open until somebody else closes it" in said
    assert await sandbox.acting.submit("U0CLEO", form["id"], typed("reason", WHY)) == {}
    sent = await settled(bot, State.SENT, State.DONE)
    assert sent.glass_by == "U0CLEO"
    assert [entry.text for entry in sandbox.vendors.ledger] == ["Do not use the car park"]
    for user in ("U0ANA", "U0BEN"):
        (told,) = await directly(sandbox, user)
        assert f"<@U0CLEO> is sending *{sent.id}* to *clients* without approval: “{WHY}”" in told
    assert told_directly(sandbox, "U0CLEO") == []
    await sandbox.until(lambda: "is sending this without approval" in thread_text(sandbox, posted["ts"]))
    await sandbox.until(lambda: "Review open" in shown(sandbox))
    await ask(sandbox, "list")
    assert "review open" in json.dumps(sandbox.acting.ephemerals("U0CLEO")[-1])

    form = await press(sandbox, "U0ANA", posted, "close_review")
    assert WHY in json.dumps(form["blocks"])
    assert await sandbox.acting.submit("U0ANA", form["id"], typed("comment", "Justified")) == {}
    await sandbox.until(lambda: "Reviewed by <@U0ANA>" in shown(sandbox))
    assert "broadcast.close_review" not in shown(sandbox)
    assert "“Justified”" in shown(sandbox)
    await sandbox.until(lambda: "<@U0ANA> closed the review." in thread_text(sandbox, posted["ts"]))
    assert len(sandbox.vendors.ledger) == 1
    await ask(sandbox, f"show {sent.id}")
    history = json.dumps(sandbox.acting.ephemerals("U0CLEO")[-1])
    assert "without approval" in history
    assert "closed the review" in history


async def test_without_the_setting_the_menu_has_no_such_entry(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox, **{"approval.rules": RULES})
    posted = await asked(sandbox)
    assert "break_glass" not in json.dumps(posted["blocks"])
    value = f"{(await newest(bot)).id}:1"
    action = {"type": "button", "value": value}
    place = {"channel": HERE, "ts": posted["ts"]}
    await sandbox.acting.act("U0CLEO", place, "actions:1:0", "broadcast.break_glass", action, {})  # as if it had
    await sandbox.until(lambda: "Nobody can send without approval" in str(sandbox.acting.ephemerals("U0CLEO")))


@pytest.mark.long
async def test_marketing_has_no_such_entry(sandbox: Sandbox, start_bot: StartBot) -> None:
    await start_bot(sandbox, **ON)
    posted = await asked(sandbox, "send clients marketing Bonjour")
    assert "break_glass" not in json.dumps(posted["blocks"])


@pytest.mark.long
async def test_whoever_is_not_named_is_told_who_is(sandbox: Sandbox, start_bot: StartBot) -> None:
    await start_bot(sandbox, **ON)
    posted = await asked(sandbox)
    await sandbox.acting.click("U0DAN", HERE, posted["ts"], "broadcast.break_glass")
    await sandbox.until(lambda: "Only <@U0CLEO> can send" in str(sandbox.acting.ephemerals("U0DAN")))
    assert sandbox.acting.views("U0DAN") == []


async def test_a_short_reason_is_refused_under_its_field(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox, **ON)
    form = await press(sandbox, "U0CLEO", await asked(sandbox), "break_glass")
    errors = await sandbox.acting.submit("U0CLEO", form["id"], typed("reason", "  Fire!     "))
    assert errors == {"reason": "Say in at least 10 characters why it cannot wait for approval."}
    assert (await newest(bot)).state is State.PENDING


@pytest.mark.long
async def test_a_form_of_an_older_version_sends_nothing(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox, **ON)
    form = await press(sandbox, "U0CLEO", await asked(sandbox), "break_glass")
    await ask(sandbox, f"edit {(await newest(bot)).id}", user="U0ANA")
    edit = sandbox.acting.views("U0ANA")[-1]
    values = {
        "audience": {"value": {"type": "static_select", "selected_option": {"value": "clients"}}},
        "purpose": {"value": {"type": "static_select", "selected_option": {"value": "transactional"}}},
        **typed("text", "Do not use the lift"),
    }
    assert await sandbox.acting.submit("U0ANA", edit["id"], values) == {}
    assert (await settled(bot, State.PENDING)).version == 2
    errors = await sandbox.acting.submit("U0CLEO", form["id"], typed("reason", WHY))
    assert "has changed in the meantime" in errors["reason"]
    assert sandbox.vendors.ledger == []


async def test_only_somebody_else_gets_the_form_that_closes_the_review(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox, **ON)
    posted = await asked(sandbox)
    await broken(sandbox, posted)
    await settled(bot, State.SENT, State.DONE)
    await sandbox.until(lambda: "broadcast.close_review" in shown(sandbox))
    await sandbox.acting.click("U0CLEO", HERE, posted["ts"], "broadcast.close_review")
    await sandbox.until(lambda: "must close the review" in str(sandbox.acting.ephemerals("U0CLEO")))
    await sandbox.acting.click("U0DAN", HERE, posted["ts"], "broadcast.close_review")
    await sandbox.until(lambda: "can close the review" in str(sandbox.acting.ephemerals("U0DAN")))
    assert (await newest(bot)).review_open


GLASS: dict[str, Any] = {
    "purpose": Purpose.TRANSACTIONAL,
    "glass_by": "U1",
    "glass_reason": "<!channel> " + 480 * "&",
    "glass_at": 1,
    "glass_digest": "d" * 64,
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("state", [state for state in State if state is not State.DRAFT])
def test_every_card_shows_the_open_review_and_who_closed_it(state: State, language: str) -> None:
    words, showing = translator_for(language), CardContext((), "Encom", None, None, training=False, zone="UTC")
    for more in ({}, {"reviewed_by": "U2", "reviewed_at": 1, "review_comment": "&" * 500}):
        post = draw_card(row(**GLASS, state=state, hold=Hold.LATE, approved_at=1, due=1, **more), showing, words)
        check_blocks(post.blocks)
        text = json.dumps(post.blocks)
        assert "<!channel>" not in text
        assert ("broadcast.close_review" in text) == (not more)
        assert "<@U2>" in text or not more
        assert state not in ENDED or len(post.blocks) <= 5


@pytest.mark.parametrize("language", LANGUAGES)
def test_slack_takes_both_forms_in_every_language(language: str) -> None:
    words = translator_for(language)
    for more in ({}, {"size": None}, {"size": None, "bound": 9}, {"size": 1}, {"mode": "training"}):
        asked = row(**(GLASS | more))
        check_view(break_glass.glass_form(asked, words))
        check_view(break_glass.review_form(asked, words))


@pytest.mark.long
async def test_a_reader_of_another_language_gets_the_form_in_it(sandbox: Sandbox, start_bot: StartBot) -> None:
    await start_bot(sandbox, **{**ON, "approval.break_glass": ["U0FAY"]})
    posted = await asked(sandbox)
    form = await press(sandbox, "U0FAY", posted, "break_glass")
    assert form["title"]["text"] == "Envoyer sans approbation"
    errors = await sandbox.acting.submit("U0FAY", form["id"], typed("reason", "Vite"))
    assert "10 caractères" in errors["reason"]


@pytest.mark.long
@pytest.mark.parametrize("bot_locale", ["fr"])
async def test_cards_and_direct_messages_speak_the_settings_language(
    sandbox: Sandbox, start_bot: StartBot, bot_locale: str
) -> None:
    bot: Bot = await start_bot(sandbox, **ON, locale=bot_locale)
    await broken(sandbox, await asked(sandbox))
    await settled(bot, State.SENT, State.DONE)
    await sandbox.until(lambda: "Revue ouverte" in shown(sandbox))
    assert "sans approbation" in (await directly(sandbox, "U0ANA"))[0]
