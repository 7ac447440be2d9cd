"""Broadcasts that begin at a shortcut, and messages to the bot itself."""

from __future__ import annotations

from typing import Any

import pytest

from bot.app import Bot
from bot.domain.lifecycle import State
from bot.domain.message_text import Change, plain_message
from bot.slack.blocks.form_values import read_compose
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.ground import StartBot, newest
from tests.support.slack import HERE, ask, becomes, card, filled, type_in

CLEO, ANA = "U0CLEO", "U0ANA"


def text_in(*elements: Json) -> Json:
    return {"blocks": [{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [*elements]}]}]}


def words(text: str) -> Json:
    return {"type": "text", "text": text}


TADA = {"type": "emoji", "name": "tada", "unicode": "1f389"}
ITEMS = [{"type": "rich_text_section", "elements": [words(one)]} for one in ("un", "deux")]
LIST = {"type": "rich_text_list", "style": "ordered", "elements": ITEMS}
OF_AN_APP = [
    {"type": "header", "text": {"type": "plain_text", "text": "Alerte"}},
    {"type": "section", "text": {"type": "mrkdwn", "text": "*Feu* au 3e"}},
    {"type": "image"},
    {"type": "divider"},
]
SAYS: dict[str, tuple[Json, str, dict[Change, int]]] = {
    "plain": ({"text": "Soldes demain"}, "Soldes demain", {}),
    "entities, once": ({"text": "R&amp;D &lt;b&gt; &amp;amp;"}, "R&D <b> &amp;", {}),
    "marks of style": (
        {"text": "*Soldes* _dès_ ~hier~ `demain` 2*3*4 snake_case_name"},
        "Soldes dès hier demain 2*3*4 snake_case_name",
        {Change.STYLE: 4},
    ),
    "code over lines": ({"text": "```\nA\nB\n```"}, "A\nB", {Change.STYLE: 1}),
    "a quote": ({"text": "&gt; Bonjour\nOui"}, "Bonjour\nOui", {Change.STYLE: 1}),
    "links": (
        {"text": "Voir <https://example.org/a|le site> et <https://example.org>"},
        "Voir le site (https://example.org/a) et https://example.org",
        {Change.LINK: 2},
    ),
    "people": (
        {"text": "Demandez à <@U0ANA> ou <@U0NOBODY>"},
        "Demandez à @Ana ou @U0NOBODY",
        {Change.NAME: 2, Change.UNNAMED: 1},
    ),
    "rich text": (text_in(words("Chez "), {"type": "user", "user_id": "U0ANA"}, TADA), "Chez @Ana🎉", {Change.NAME: 1}),
    "bold in rich text": (text_in({"type": "text", "text": "A*B", "style": {"bold": True}}), "A*B", {Change.STYLE: 1}),
    "an emoji of the workspace": (text_in({"type": "emoji", "name": "bell"}), ":bell:", {}),
    "a list": ({"blocks": [{"type": "rich_text", "elements": [LIST]}]}, "1. un\n2. deux", {}),
    "what another app posted": (
        {"text": "Alert", "blocks": OF_AN_APP},
        "Alerte\nFeu au 3e",
        {Change.STYLE: 1, Change.BLOCK: 1},
    ),
    "files and attachments": (
        {"text": "Ci-joint", "files": [{}, {}], "attachments": [{}]},
        "Ci-joint",
        {Change.FILE: 2, Change.ATTACHMENT: 1},
    ),
    "nothing": ({"files": [{}]}, "", {Change.FILE: 1}),
    "odd shapes": ({"text": None, "blocks": [1, {"type": "rich_text", "elements": "x"}], "files": "x"}, "", {}),
}


@pytest.mark.parametrize("case", SAYS)
def test_a_message_becomes_plain_text_and_each_change_is_counted(case: str) -> None:
    message, text, changes = SAYS[case]
    said = plain_message(message, {"@U0ANA": "Ana"})
    assert (said.text, dict(said.changes)) == (text, changes)


def told(view: Json) -> str:
    return str([block["elements"] for block in view["blocks"] if block["type"] == "context"])


async def test_a_message_opens_the_form_with_its_text_and_goes_out_once_approved(sandbox: Sandbox, bot: Bot) -> None:
    said = await sandbox.acting.say(CLEO, HERE, "*Soldes* chez @ana : https://example.org/a")
    assert await sandbox.acting.shortcuts.use_on(CLEO, HERE, said["ts"], "broadcast_message")
    (view,) = sandbox.acting.views(CLEO)
    text = "Soldes chez @ana : https://example.org/a"
    (written,) = [b["element"]["initial_value"] for b in view["blocks"] if b.get("block_id") == "text"]
    assert written == text
    assert "1 link is spelled out · 1 mention is spelled out · 1 format is taken off" in told(view)
    assert await sandbox.acting.submit(CLEO, view["id"], filled("clients", text)) == {}
    asked = await card(sandbox, 1)
    assert (await newest(bot)).state is State.PENDING
    await sandbox.acting.click(ANA, HERE, asked["ts"], "broadcast.approve")
    await sandbox.until(lambda: len(sandbox.vendors.ledger) == 1)
    assert sandbox.vendors.ledger[0].text.startswith(text)


@pytest.mark.long
async def test_what_was_typed_into_the_form_of_a_message_is_still_there_the_next_time(
    sandbox: Sandbox, bot: Bot
) -> None:
    said = await sandbox.acting.say(CLEO, HERE, "Soldes")
    await sandbox.acting.shortcuts.use_on(CLEO, HERE, said["ts"], "broadcast_message")
    (view,) = sandbox.acting.views(CLEO)
    typed = filled("clients", "Soldes dès demain")
    await type_in(sandbox, view, typed, user=CLEO)
    await becomes(sandbox, "Soldes dès demain", CLEO)
    await sandbox.acting.close(CLEO, view["id"])
    await sandbox.acting.shortcuts.use_on(CLEO, HERE, said["ts"], "broadcast_message")
    (again,) = sandbox.acting.views(CLEO)
    assert read_compose(again).channel == HERE
    assert "Soldes dès demain" in str(again)


@pytest.mark.long
async def test_names_that_slack_does_not_tell_are_told(sandbox: Sandbox, bot: Bot) -> None:
    said = sandbox.world.post(
        sandbox.world.channel(HERE), {"user": ANA, "text": "Voir <@U0BEN> et <@U0NOBODY>", "files": [{}]}
    )
    await sandbox.acting.shortcuts.use_on(CLEO, HERE, said["ts"], "broadcast_message")
    (view,) = sandbox.acting.views(CLEO)
    assert "Voir @ben et @U0NOBODY" in str(view)
    assert "⚠️ 1 name could not be found: write it" in str(view)
    assert "⚠️ 1 file is left out" in str(view)


async def test_a_message_without_text_says_so(sandbox: Sandbox, bot: Bot) -> None:
    said = sandbox.world.post(sandbox.world.channel(HERE), {"user": ANA, "text": "", "files": [{}]})
    await sandbox.acting.shortcuts.use_on(CLEO, HERE, said["ts"], "broadcast_message")
    (view,) = sandbox.acting.views(CLEO)
    assert view["blocks"][0]["text"]["text"] == "There is no text in this message."


@pytest.mark.long
async def test_the_shortcut_without_a_message_opens_an_empty_form_and_keeps_a_draft(sandbox: Sandbox, bot: Bot) -> None:
    assert await sandbox.acting.shortcuts.use(CLEO, "broadcast_new")
    (view,) = sandbox.acting.views(CLEO)
    assert view["callback_id"] == "broadcast_compose"
    assert await sandbox.acting.submit(CLEO, view["id"], filled("clients", "Soldes")) == {}
    row = await newest(bot)
    assert row.state is State.DRAFT
    direct = sandbox.world.direct(CLEO).id
    await sandbox.until(
        lambda: any(row.id in str(one) for one in [*sandbox.acting.messages(direct), *sandbox.acting.ephemerals(CLEO)])
    )


@pytest.mark.long
async def test_with_a_channel_for_approvals_the_shortcut_asks_there(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox, approval__channel=HERE)
    await sandbox.acting.shortcuts.use(CLEO, "broadcast_new")
    (view,) = sandbox.acting.views(CLEO)
    assert await sandbox.acting.submit(CLEO, view["id"], filled("clients", "Soldes")) == {}
    assert "Soldes" in str(await card(sandbox))
    assert (await newest(bot)).state is State.PENDING


@pytest.mark.long
async def test_a_late_shortcut_does_no_harm(sandbox: Sandbox, bot: Bot) -> None:
    sandbox.faults.add("views.open", "error", error="expired_trigger_id")
    assert await sandbox.acting.shortcuts.use(CLEO, "broadcast_new")
    assert sandbox.acting.views(CLEO) == []


async def test_the_bot_answers_whoever_mentions_it_privately_and_once(sandbox: Sandbox, bot: Bot) -> None:
    sandbox.faults.add("events_api", "duplicate")
    await sandbox.acting.say(CLEO, HERE, "@bellcrier bonjour")
    await sandbox.until(lambda: bool(sandbox.acting.ephemerals(CLEO)))
    (told,) = sandbox.acting.ephemerals(CLEO)
    assert told["text"].startswith("I send texts to many people")
    await sandbox.acting.click(CLEO, HERE, told["ts"], "home.write")
    (view,) = sandbox.acting.views(CLEO)
    assert view["callback_id"] == "broadcast_compose"
    assert read_compose(view).channel == HERE


@pytest.mark.long
async def test_the_bot_answers_a_direct_message_in_the_language_of_whoever_wrote(sandbox: Sandbox, bot: Bot) -> None:
    fay, direct = "U0FAY", sandbox.world.direct("U0FAY").id
    await sandbox.acting.say(fay, direct, "Bonjour")
    await sandbox.until(lambda: len(sandbox.acting.messages(direct)) == 2)
    told = sandbox.acting.messages(direct)[1]
    assert told["text"].startswith("J’envoie des textes")
    await sandbox.acting.click(fay, direct, told["ts"], "home.help")
    (view,) = sandbox.acting.views(fay)
    assert "Toutes les commandes" in str(view)
    await sandbox.acting.home.press(fay, "broadcast.help.all", view=view)
    assert "/broadcast send" in str(sandbox.acting.views(fay))


@pytest.mark.long
async def test_the_bot_never_answers_a_bot_a_change_or_what_was_deleted(sandbox: Sandbox, bot: Bot) -> None:
    direct = sandbox.world.direct(CLEO)
    of_others: tuple[dict[str, Any], ...] = (
        {"bot_id": "B0X"},
        {"subtype": "message_changed"},
        {"subtype": "bot_message"},
        {"user": None},
    )
    for other in of_others:
        event = {"type": "message", "channel_type": "im", "user": CLEO, "channel": direct.id, "ts": "1.1", "text": "x"}
        sandbox.delivery.event({**event, **other})
    await sandbox.acting.say(CLEO, direct.id, "Bonjour")
    await sandbox.until(lambda: len(sandbox.acting.messages(direct.id)) == 2)
    await ask(sandbox, "list")
    assert len(sandbox.acting.messages(direct.id)) == 2
