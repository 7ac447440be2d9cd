"""`/broadcast doctor`: an admin gets the findings in a second answer, and nobody else gets any."""

from __future__ import annotations

import asyncio

import pytest

from bot.app import Bot
from bot.doctor.findings import Finding
from bot.domain.i18n import translator_for
from bot.slack.commands.doctor import shown
from sandbox.server import Sandbox
from tests.support.ground import StartBot
from tests.support.slack import ask


def answers(sandbox: Sandbox, user: str) -> str:
    return "\n".join(str(message["blocks"]) for message in sandbox.acting.ephemerals(user))


async def test_an_admin_is_answered_at_once_and_gets_the_findings_after(sandbox: Sandbox, start_bot: StartBot) -> None:
    await start_bot(sandbox, approval__delegates=["U0GUS"])
    answered = asyncio.Event()
    sandbox.vendors.faults.add("octopush.balance", "slow", until=answered)
    assert "The findings come here in a moment" in await ask(sandbox, "doctor", user="U0OPS")
    assert "I am already checking" in await ask(sandbox, "doctor", user="U0OPS")
    assert "approval.delegates" not in answers(sandbox, "U0OPS")
    answered.set()
    await sandbox.until(lambda: "approval.delegates" in answers(sandbox, "U0OPS"))
    told = answers(sandbox, "U0OPS")
    assert "❌ *approval.delegates*: U0GUS is a guest" in told
    assert "/callbacks/" not in told, "an address that lets anybody report deliveries is not shown"


async def test_the_findings_come_directly_where_the_bot_is_not(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "doctor", user="U0OPS", channel="G0BOARD")
    direct = sandbox.world.direct("U0OPS").id
    await sandbox.until(lambda: "checks are fine" in str(sandbox.acting.messages(direct)))


@pytest.mark.parametrize("user", ["U0CLEO", "U0ANA"])
async def test_nobody_else_gets_any(sandbox: Sandbox, bot: Bot, user: str) -> None:
    before = len(sandbox.calls)
    assert "Only an admin can check the set-up" in await ask(sandbox, "doctor", user=user)
    assert "auth.test" not in [name for name, _ in sandbox.calls[before:]]


def test_the_frame_is_in_the_readers_language_and_the_findings_as_in_the_shell() -> None:
    findings = [
        Finding("clock", "error", "This clock is 90 s ahead of Slack's.", "Let NTP set it."),
        Finding("admins", "warning", "<@U0OPS> & co.", ""),
        Finding("slack.token", "ok", "Connected."),
    ]
    text = shown(findings, translator_for("fr")).text
    assert text.splitlines()[0] == "1 contrôle est en ordre. 1 erreur. 1 avertissement."
    assert "❌ *clock*: This clock is 90 s ahead of Slack's. Let NTP set it." in text
    assert "&lt;@U0OPS&gt;" in text
