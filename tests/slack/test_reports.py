"""The final report in the thread: its line, its reasons, and its chart, also where Slack refuses that."""

from __future__ import annotations

import pytest

from bot.app import Bot
from bot.domain.lifecycle import State
from bot.slack.blocks.charts import CHART
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.ground import StartBot
from tests.support.slack import HERE, ask, card, settled

REPORTS = {
    "en": ("Final report: delivered to 18 of 20 in ", "Failed: 1 × blacklisted, 1 × number not in service"),
    "fr": ("Rapport final : reçus : 18 sur 20 en ", "Échecs : 1 × désinscrits, 1 × numéro non attribué"),
    "es": ("Informe final: entregados: 18 de 20 en ", "Fallos: 1 × dados de baja, 1 × número fuera de servicio"),
}
LABELS = {"en": "Blacklisted", "fr": "Désinscrits", "es": "Dados de baja"}
STATUSES = ("BAD_DESTINATION", "BLACKLISTED_NUMBER", *["DELIVERED"] * 18)


async def reported(sandbox: Sandbox, bot: Bot, text: str) -> Json:
    """Send it, deliver to all but two, and return the message with the report."""
    sent = len(sandbox.vendors.ledger)
    await ask(sandbox, f"send newsletter marketing {text}")
    posted = await card(sandbox, sent)
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    await sandbox.until(lambda: len(sandbox.vendors.ledger) > sent)
    await settled(bot, State.SENT)
    for number, status in enumerate(STATUSES):
        await sandbox.vendors.octopush.tell(sandbox.vendors.ledger[-1].ids[0], f"+336001{number:05d}", status)
    await settled(bot, State.DONE)
    await sandbox.until(lambda: "18" in sandbox.acting.thread(HERE, posted["ts"])[-1]["text"])
    return sandbox.acting.thread(HERE, posted["ts"])[-1]


def tries(sandbox: Sandbox) -> int:
    """How often the bot asked Slack to show a chart."""
    return sum(CHART in str(told.get("blocks")) for method, told in sandbox.api.calls if method == "chat.postMessage")


@pytest.mark.long
@pytest.mark.parametrize("language", REPORTS)
async def test_the_report_says_how_many_how_fast_for_how_much_and_why_not(
    sandbox: Sandbox, start_bot: StartBot, language: str
) -> None:
    report = await reported(sandbox, await start_bot(sandbox, locale=language), "Soldes")
    line, reasons = REPORTS[language]
    assert [line in report["text"], " s · " in report["text"], "2.58 EUR" in report["text"]] == [True] * 3
    assert reasons in report["text"]
    (chart,) = [block for block in report["blocks"] if block["type"] == CHART]
    assert [one["value"] for one in chart["chart"]["segments"]] == [18, 1, 1]
    assert LABELS[language] in str(chart)


@pytest.mark.long
@pytest.mark.parametrize("language", REPORTS)
async def test_a_workspace_that_refuses_the_chart_gets_bars_of_text_and_is_not_asked_again(
    sandbox: Sandbox, start_bot: StartBot, language: str
) -> None:
    sandbox.faults.refused_blocks.add(CHART)
    bot = await start_bot(sandbox, locale=language)
    for text in ("Soldes demain", "Autre chose"):
        report = await reported(sandbox, bot, text)
        assert REPORTS[language][0] in report["text"]
        assert REPORTS[language][1] in report["text"]
        assert [block["type"] for block in report["blocks"]] == ["section", "section"]
        assert f"`░░░░░░░░░░` {LABELS[language]}: 1" in report["blocks"][1]["text"]["text"]
        assert tries(sandbox) == 1
