"""`/broadcast show`: the buttons of the card, which do what they do there, and a history in the reader's words."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import update

from bot.app import Bot
from bot.domain.lifecycle import State
from bot.storage.tables import broadcasts
from sandbox.server import Sandbox
from tests.support.ground import StartBot, newest
from tests.support.slack import HERE, ask, card, drawn, filled, settled

ANA, CLEO = "U0ANA", "U0CLEO"


def answer(sandbox: Sandbox, user: str) -> str:
    return json.dumps(sandbox.acting.ephemerals(user)[-1]["blocks"], ensure_ascii=False)


async def press(sandbox: Sandbox, user: str, name: str) -> None:
    await sandbox.acting.click(user, HERE, sandbox.acting.ephemerals(user)[-1]["ts"], f"broadcast.{name}")


def buttons(blocks: list[dict[str, object]]) -> list[object]:
    return [block["elements"] for block in blocks if block["type"] == "actions"]


@pytest.mark.long
async def test_it_has_the_buttons_of_the_card_and_an_approval_there_counts_and_is_told(
    sandbox: Sandbox, bot: Bot
) -> None:
    await ask(sandbox, "send clients marketing Soldes demain")
    posted = await card(sandbox)
    await sandbox.until(lambda: "2 people" in str(posted))  # once the vendor has told how many they are
    row = await drawn(bot)
    await ask(sandbox, f"show {row.id}", user=ANA)
    assert str(buttons(sandbox.acting.ephemerals(ANA)[-1]["blocks"])) == str(buttons(posted["blocks"]))
    assert f"archives/{HERE}/p{posted['ts'].replace('.', '')}" in answer(sandbox, ANA)
    shown = len(sandbox.acting.ephemerals(ANA))
    await press(sandbox, ANA, "approve")
    await settled(bot, State.SCHEDULED, State.SENDING, State.SENT, State.DONE)
    await sandbox.until(lambda: f"<@{ANA}> approved version 1 · <!date" in answer(sandbox, ANA))
    assert len(sandbox.acting.ephemerals(ANA)) == shown  # the answer itself was drawn anew
    assert "broadcast.approve" not in answer(sandbox, ANA)


async def test_a_press_on_an_answer_that_is_out_of_date_decides_nothing(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes demain")
    row = await drawn(bot)
    await ask(sandbox, f"show {row.id}", user=ANA)
    dearer = (
        update(broadcasts)
        .where(broadcasts.c.id == row.id)
        .values(quoted="9.99 EUR", revision=broadcasts.c.revision + 1)
    )
    await bot.database.write(lambda c: c.execute(dearer))
    await press(sandbox, ANA, "approve")
    assert (await newest(bot)).state is State.PENDING
    assert "It now costs 9.99 EUR." in sandbox.acting.ephemerals(ANA)[-1]["text"]


@pytest.mark.long
async def test_nobody_approves_their_own_there_and_what_was_written_stands_in_the_history(
    sandbox: Sandbox, bot: Bot
) -> None:
    await ask(sandbox, "send clients marketing Soldes demain")
    row = await drawn(bot)
    await ask(sandbox, f"show {row.id}")
    await press(sandbox, CLEO, "approve")
    assert (await newest(bot)).state is State.PENDING
    assert "history" not in sandbox.acting.ephemerals(CLEO)[-1]["text"].lower()
    await ask(sandbox, f"cancel {row.id} pas <!here> avant lundi")
    await ask(sandbox, f"show {row.id}")
    assert f"<@{CLEO}> cancelled version 1" in answer(sandbox, CLEO)
    assert "“pas &lt;!here&gt; avant lundi”" in answer(sandbox, CLEO)
    assert f"Refused: <@{CLEO}> approved version 1" in answer(sandbox, CLEO)


@pytest.mark.long
@pytest.mark.parametrize(
    ("language", "told"), [("fr-FR", "a demandé la version 1"), ("es-ES", "ha pedido la versión 1")]
)
async def test_the_history_is_in_the_readers_language(sandbox: Sandbox, bot: Bot, language: str, told: str) -> None:
    sandbox.world.people[CLEO].locale = language
    await ask(sandbox, "send clients marketing Soldes demain")
    row = await drawn(bot)
    await ask(sandbox, f"show {row.id}")
    assert told in answer(sandbox, CLEO)


@pytest.mark.long
async def test_each_version_is_linked_and_the_history_says_what_an_edit_changed(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    bot = await start_bot(sandbox)
    await ask(sandbox, "send clients marketing Soldes demain", user="U0DAN")
    first = await card(sandbox)
    row = await drawn(bot)
    await ask(sandbox, f"edit {row.id}", user="U0DAN")
    (view,) = sandbox.acting.views("U0DAN")
    values = filled("clients", "Soldes mardi")
    assert not await sandbox.acting.submit("U0DAN", view["id"], values)
    await card(sandbox, 1)
    await drawn(bot)
    await ask(sandbox, f"show {row.id}", user="U0DAN")
    told = answer(sandbox, "U0DAN")
    assert "<@U0DAN> edited version 2" in told
    assert '"text": "mardi", "style": {"bold": true}' in told.split("edited version 2")[1]
    assert f"p{first['ts'].replace('.', '')}|version 1>" in told
