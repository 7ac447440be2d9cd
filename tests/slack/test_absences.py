"""`/broadcast away` and `back`, as approvers and their delegates see them."""

from __future__ import annotations

import json
from typing import Any

from bot.domain.lifecycle import State
from sandbox.server import Sandbox
from tests.support.ground import StartBot
from tests.support.slack import HERE, ask, card, settled, thread_text

DELEGATES: dict[str, Any] = {"approval__delegates": ["U0DAN"]}


async def test_an_approver_leaves_and_the_delegate_approves(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox, **DELEGATES)
    assert "No approver is away" in await ask(sandbox, "away", user="U0ANA")
    said = await ask(sandbox, "away @dan until tomorrow 9:00", user="U0ANA")
    assert "<@U0DAN> approves in your place until" in said
    direct = sandbox.world.direct("U0DAN").id
    await sandbox.until(lambda: sandbox.acting.messages(direct))
    assert "you approve broadcasts in their place" in sandbox.acting.messages(direct)[-1]["text"]
    assert "<@U0DAN> approves in their place" in await ask(sandbox, "away", user="U0CLEO")

    await ask(sandbox, "send clients marketing Soldes demain")
    posted = await card(sandbox)
    assert "<@U0DAN> may approve in the place of <@U0ANA>" in json.dumps(posted["blocks"])
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    await sandbox.until(lambda: "You are away until" in json.dumps(sandbox.acting.ephemerals("U0ANA")))
    await sandbox.acting.click("U0DAN", HERE, posted["ts"], "broadcast.approve")
    await settled(bot, State.SENT, State.DONE)
    await sandbox.until(lambda: "in the place of <@U0ANA>" in thread_text(sandbox, posted["ts"]))
    assert len(sandbox.vendors.ledger) == 1
    assert "Welcome back" in await ask(sandbox, "back", user="U0ANA")
    assert "You were not away" in await ask(sandbox, "back", user="U0ANA")


async def test_what_is_typed_wrong_is_told_with_the_fix(sandbox: Sandbox, start_bot: StartBot) -> None:
    await start_bot(sandbox, **DELEGATES)
    told = {
        "away dan until tomorrow": "Name one person as Slack offers them",
        "away @dan @ben tomorrow": "Name one person",
        "away @dan": "/broadcast away [@person until",
        "away @dan whenever": "I do not understand that time",
        "away @cleo until tomorrow": "cannot approve in your place",
        "away @dan until 2020-01-01 09:00": "passed",
    }
    for line, sentence in told.items():
        assert sentence in await ask(sandbox, line, user="U0ANA"), line
    assert "Only approvers" in await ask(sandbox, "away @dan until tomorrow", user="U0DAN")
    assert "No approver is away" in await ask(sandbox, "away", user="U0ANA")


async def test_a_day_alone_means_its_morning_in_each_language(sandbox: Sandbox, start_bot: StartBot) -> None:
    await start_bot(sandbox, **DELEGATES)
    for until in ("until monday", "jusqu’au lundi", "hasta el lunes", "until monday 9:00"):
        said = await ask(sandbox, f"away @dan {until}", user="U0ANA")
        assert "<@U0DAN> approves in your place until" in said, until
