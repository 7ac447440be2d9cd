"""A vendor in trouble, as people in Slack see it."""

from __future__ import annotations

from typing import Any

import pytest

from bot.app import Bot
from bot.domain.lifecycle import State
from sandbox.server import Sandbox
from tests.support.ground import StartBot, newest, some_later
from tests.support.patience import nothing_more
from tests.support.slack import HERE, approved, ask, card, settled, thread_text

LOST: dict[str, dict[str, Any]] = {
    "stall": {"accept": True},
    "reset": {"accept": True},
    "close": {},
    "truncate": {"accept": True},
    "drip": {"accept": True},
    "redirect": {"location": "http://127.0.0.1:9/elsewhere"},
    "big": {},
    "answer": {"body": "<html>hello</html>", "type": "text/html", "accept": True},
    "error": {"status": 502, "accept": True},
}


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=() if fault in ("reset", "answer") else pytest.mark.long) for fault in LOST]
)
async def test_an_answer_that_is_lost_is_unknown_and_never_sent_again(
    sandbox: Sandbox, start_bot: StartBot, fault: str
) -> None:
    timeout = {"accounts__encom__timeout": 1.0} if fault in ("stall", "drip") else {}
    bot = await start_bot(sandbox, **timeout)
    sandbox.vendors.faults.add("encom.release", fault, **LOST[fault])
    posted = await approved(sandbox)
    await settled(bot, State.UNKNOWN)
    await sandbox.until(lambda: "may have gone out" in thread_text(sandbox, posted["ts"]))
    await nothing_more(bot)
    assert (await newest(bot)).state is State.UNKNOWN
    assert len(sandbox.vendors.ledger) == (1 if LOST[fault].get("accept") else 0)
    assert len([seen for seen in sandbox.vendors.office.requests if seen.method == "POST"]) == 1


async def test_a_delivery_report_proves_that_an_unknown_one_went_out(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox)
    sandbox.vendors.faults.add("encom.release", "reset", accept=True)
    posted = await approved(sandbox)
    await settled(bot, State.UNKNOWN)
    await sandbox.vendors.deliver("encom", "22", "OK")
    assert set((await settled(bot, State.SENT)).ids) <= {"22", "23"}
    await sandbox.until(lambda: "it did go out" in thread_text(sandbox, posted["ts"]))
    assert len(sandbox.vendors.ledger) == 1


async def test_a_person_says_what_became_of_an_unknown_one(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox)
    sandbox.vendors.faults.add("encom.release", "close")
    posted = await approved(sandbox)
    await settled(bot, State.UNKNOWN)
    await sandbox.until(lambda: "broadcast.mark_not_sent" in str(sandbox.acting.messages(HERE)[0]["blocks"]))
    await sandbox.acting.click("U0CLEO", HERE, posted["ts"], "broadcast.mark_not_sent")
    assert (await newest(bot)).state is State.UNKNOWN
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.mark_not_sent")
    assert (await newest(bot)).state is State.FAILED
    assert sandbox.vendors.ledger == []


REFUSED: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "encom": ("clients", "encom.release", {"status": 401}, "did not accept the token"),
    "octopush-121": (
        "newsletter",
        "octopush.create",
        {"status": 400, "body": {"code": 121}},
        "STOP mention is missing",
    ),
    "octopush-104": ("newsletter", "octopush.release", {"status": 400, "body": {"code": 104}}, "no credit left"),
    "kaizala": ("staff", "kaizala.release", {"status": 403}, "needs to be an admin"),
}


@pytest.mark.parametrize("vendor", some_later(REFUSED))
async def test_a_vendors_no_is_a_failure_with_its_reason(sandbox: Sandbox, bot: Bot, vendor: str) -> None:
    audience, step, detail, told = REFUSED[vendor]
    sandbox.vendors.faults.add(step, "error", times=2, **detail)
    posted = await approved(sandbox, f"send {audience} marketing Soldes")
    await settled(bot, State.FAILED)
    await sandbox.until(lambda: told in thread_text(sandbox, posted["ts"]))
    assert sandbox.vendors.ledger == []


@pytest.mark.long
async def test_a_vendor_that_asks_for_patience_gets_it(sandbox: Sandbox, bot: Bot) -> None:
    sandbox.vendors.faults.add("encom.release", "error", status=429, headers={"Retry-After": "1"})
    posted = await approved(sandbox)
    await settled(bot, State.SENT)
    assert "Nothing was sent. The bot will try again" in thread_text(sandbox, posted["ts"])
    assert len(sandbox.vendors.ledger) == 1


async def test_a_foreign_campaign_holds_ours_and_is_left_alone(sandbox: Sandbox, bot: Bot) -> None:
    sandbox.vendors.faults.add("octopush.create", "error", status=400, body={"code": 126})
    posted = await approved(sandbox, "send newsletter marketing Soldes")
    row = await settled(bot, State.HELD)
    assert row.hold == "blocked"
    await sandbox.until(lambda: "Another campaign is waiting at Octopush" in thread_text(sandbox, posted["ts"]))
    assert sandbox.vendors.ledger == []


@pytest.mark.long
async def test_an_audience_that_outgrew_its_approval_goes_back_to_the_approvers(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send newsletter marketing Soldes")
    posted = await card(sandbox)
    sandbox.vendors.octopush.lists["newsletter"] = 500
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    await sandbox.until(lambda: "more than the 100" in thread_text(sandbox, posted["ts"]))
    assert (await newest(bot)).state is State.PENDING
    assert sandbox.vendors.ledger == []

    await sandbox.until(lambda: "500 people" in str(sandbox.acting.messages(HERE)[0]["blocks"]))
    await sandbox.acting.click("U0BEN", HERE, posted["ts"], "broadcast.approve")
    await settled(bot, State.SENT)
    assert len(sandbox.vendors.ledger) == 1


async def test_outside_the_hours_it_is_held_and_says_until_when(sandbox: Sandbox, start_bot: StartBot) -> None:
    closed = {"marketing": {"windows": [{"start": "00:00", "end": "00:01"}], "end_margin": "0s", "max_hold": "48h"}}
    bot = await start_bot(sandbox, policies={"always": closed})
    posted = await approved(sandbox)
    row = await settled(bot, State.HELD, State.SENT)
    assert row.state is State.HELD
    await sandbox.until(lambda: "outside the sending hours" in thread_text(sandbox, posted["ts"]))
    await sandbox.until(lambda: "broadcast.drop" in str(sandbox.acting.messages(HERE)[0]["blocks"]))
    await sandbox.acting.click("U0CLEO", HERE, posted["ts"], "broadcast.drop")
    assert (await newest(bot)).state is State.CANCELLED
