"""Bad input and trouble: what must not happen, seen from the workspace and the vendors' ledger."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from bot.app import Bot
from bot.domain.clock import SECOND, now
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import State
from bot.storage import audit, notes, outbox, tables
from bot.storage.database import PATIENCE
from providers.base import Accepted, Message, Staged
from sandbox.server import Sandbox
from tests.support.ground import StartBot, all_of, newest
from tests.support.patience import nothing_more, until, within
from tests.support.slack import HERE, approved, ask, brought, card, filled, open_form, settled, thread_text

# --- what is typed wrong ---------------------------------------------------------------------------------------------

WRONG = {
    "send nobody marketing Hello": ("There is no audience “nobody”", "Hello"),
    "send client marketing Hello": ("Did you mean “clients”?", "Hello"),
    "send clients marketing": ("The text is empty", "clients"),
    "send clients marketing \u200b \u00a0": ("The text is empty", "clients"),
    "send clients markting Hello": ("did you mean “marketing”", "markting Hello"),
    'send clients at="2020-01-01 09:00" Hello': ("That time has passed", "Hello"),
    "send clients at=tomorrow Hello": ("At what time?", "Hello"),
    "send clients at=soon Hello": ("I do not understand that time", "Hello"),
    "send clients sender=Bell Hello": ("does not accept a sender ID", "Hello"),
    "send newsletter sender=a Hello": ("not a valid sender ID for Octopush", "Hello"),
    "send clients marketing Hi Stop au 36111": ("must read exactly “STOP AU 36111”", "Hi Stop au 36111"),
    "send clients marketing Dear %%nom%%": ("Encom does not fill in “%%nom%%”", "%%nom%%"),
    "sned clients Hello": ("Did you mean `/broadcast send`?", "clients Hello"),
    "show B2345": ("There is no broadcast", "B2345"),
    "stop B2345": ("There is no reminder or recurring broadcast *B2345*", "/broadcast cancel"),
    "pause B2345 until=friday": ("There is no reminder or recurring broadcast *B2345*", "/broadcast schedules"),
    "resume <b>": ("There is no reminder or recurring broadcast *&lt;b&gt;*", "/broadcast reminders"),
    "cancel": ("Write it like this", "cancel"),
    "send staff " + "x" * 4001: ("4001 characters, but the vendor takes at most 4000", "xxx"),
    "send newsletter " + "é" * 1225: ("the vendor takes at most 1224", "ééé"),
    "send newsletter " + "œ" * 600: ("œ (U+0153) makes the text Unicode", "œœœ"),
}


async def test_what_is_wrong_is_said_with_the_fix_and_nothing_is_stored(sandbox: Sandbox, bot: Bot) -> None:
    for line, (told, typed) in WRONG.items():
        assert told in await ask(sandbox, line, user="U0DAN"), line
        assert typed in str(sandbox.acting.ephemerals("U0DAN")[-1]), line
    assert await all_of(bot) == []
    assert sandbox.acting.messages(HERE) == []


async def test_a_refused_request_is_audited(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send nobody marketing Hello")
    (row,) = await bot.database.read(lambda c: audit.audit_since(c, 0))
    assert (row["actor"], row["action"], row["broadcast"]) == ("U0CLEO", "submit_refused", None)


@pytest.mark.parametrize("user", ["U0GUS", "U0ROB"])
async def test_guests_and_bots_cannot_ask(sandbox: Sandbox, bot: Bot, user: str) -> None:
    assert "Only full members" in await ask(sandbox, "send clients Hello", user=user)
    assert await all_of(bot) == []


async def test_an_audience_may_name_who_may_write_to_it(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox, audiences__clients__requesters=["S0MARKETING"])
    assert "Solo <!subteam^S0MARKETING> pueden escribir" in await ask(sandbox, "send clients Hello", user="U0EVA")
    assert await all_of(bot) == []


async def test_a_reader_gets_the_answer_in_their_language(sandbox: Sandbox, bot: Bot) -> None:
    assert "Il n’y a pas d’audience" in await ask(sandbox, "send nobody Hello", user="U0FAY")
    assert "No hay ninguna audiencia" in await ask(sandbox, "send nobody Hello", user="U0EVA")


async def test_a_text_with_the_word_payload_goes_through_over_http(http_sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(http_sandbox)
    await ask(http_sandbox, "send clients marketing the payload={} of & tomorrow's <sale>")
    assert (await newest(bot)).typed == "the payload={} of & tomorrow's <sale>"


async def test_what_is_typed_can_ping_nobody_and_forge_no_link(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing <!channel> <https://evil.example|bank> *bold* &amp;")
    posted = await card(sandbox)
    assert (await newest(bot)).text == "<!channel> <https://evil.example|bank> *bold* &amp; STOP AU 36111"
    markdown = [block for block in posted["blocks"] if block["type"] == "section"]
    assert "<!channel>" not in posted["text"]
    assert "<!channel>" not in str(markdown)


async def test_audiences_are_shown_with_their_sizes_and_what_else_the_vendors_have(sandbox: Sandbox, bot: Bot) -> None:
    await bot.audiences.audience_cache.refresh()

    async def told_in_full() -> str:
        told = await ask(sandbox, "audiences")
        return told if "staff (Kaizala" in told and "12 people" in told else ""

    told = await until(told_in_full)
    assert "*clients* — clients (Encom, list 1) — 2 people" in told
    assert "*newsletter* — newsletter (Octopush, list newsletter)\n" in told
    assert "Also at Encom, but not set up here: Nobody (list 3)" in told
    assert "Also at Kaizala, but not set up here: Fans (group" in told


async def test_a_quote_shows_size_and_cost_before_the_approval_and_leaves_nothing_open(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    bot = await start_bot(sandbox, accounts__octo__quote=True)
    await ask(sandbox, "send newsletter marketing Soldes")
    await sandbox.until(lambda: "≈ 2.58 EUR" in str(sandbox.acting.messages(HERE)[0:1]))
    posted = await card(sandbox)
    assert "20 people" in str(posted["blocks"])
    assert {campaign.state for campaign in sandbox.vendors.octopush.campaigns.values()} == {"cancelled"}
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    await settled(bot, State.SENT)
    assert len(sandbox.vendors.ledger) == 1


@pytest.mark.long
async def test_a_public_groups_subscribers_are_pointed_out_before_the_approval(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    fans = {"account": "kaizala", "kind": "group", "id": "2b2a2c3d-0000-4000-8000-00000000c0de@2", "everyone": True}
    bot = await start_bot(sandbox, audiences__fans={**fans, "policy": "always"})
    posted = await approved(sandbox, "send fans marketing Hello")
    assert "Goes to all subscribers of a public group" in str(posted["blocks"])
    await settled(bot, State.SENT)
    sandbox.vendors.kaizala.groups[fans["id"]]["callerRole"] = "Member"  # type: ignore[index]
    await ask(sandbox, "send fans marketing Hello again")
    again = await card(sandbox, 1)
    await sandbox.acting.click("U0ANA", HERE, again["ts"], "broadcast.approve")
    assert "needs to be an admin" in str((await settled(bot, State.FAILED)).failure)


async def test_recipients_without_a_name_are_counted_and_said(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send paris marketing Bonjour %%name%%")
    await sandbox.until(
        lambda: "1 person in the audience has no name to fill in" in str(sandbox.acting.messages(HERE)[0:1])
    )
    assert "3 people" in str((await card(sandbox))["blocks"])


async def test_a_draft_is_kept_where_the_bot_cannot_post_and_the_fix_is_named(sandbox: Sandbox, bot: Bot) -> None:
    told = await ask(sandbox, "send clients marketing Soldes demain", user="U0DAN", channel="C0QUIET")
    assert "/invite @bellcrier" in told
    assert (await newest(bot)).state is State.DRAFT

    sandbox.world.channels["C0QUIET"].members.append("U0BELL")
    draft = sandbox.acting.ephemerals("U0DAN")[-1]
    await sandbox.acting.click("U0DAN", "C0QUIET", draft["ts"], "broadcast.edit")
    (form,) = sandbox.acting.views("U0DAN")
    assert "Soldes demain" in str(form["blocks"])
    errors = await sandbox.acting.submit("U0DAN", form["id"], filled("clients", "Soldes demain"))

    assert errors == {}
    (row,) = await all_of(bot)
    assert row.state is State.PENDING
    await sandbox.until(lambda: sandbox.acting.messages("C0QUIET"))


async def test_a_direct_message_keeps_a_draft_too(sandbox: Sandbox, bot: Bot) -> None:
    told = await ask(sandbox, "send clients Hello", user="U0DAN", channel=sandbox.world.direct("U0DAN").id)
    assert "direct message" in told
    assert (await newest(bot)).state is State.DRAFT


# --- the form --------------------------------------------------------------------------------------------------------


async def test_the_form_asks_again_under_the_field_and_closes_when_all_is_well(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    errors = await sandbox.acting.submit("U0DAN", form["id"], filled("newsletter", "Hi", sender="x y", send_at=1000))
    assert "sender ID" in errors["sender"]
    assert "has passed" in errors["send_at"]
    assert await all_of(bot) == []

    assert await sandbox.acting.submit("U0DAN", form["id"], filled("newsletter", "Hi")) == {}
    assert sandbox.acting.views("U0DAN") == []
    assert (await newest(bot)).state is State.PENDING


async def test_a_form_submitted_twice_makes_one_broadcast(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    sandbox.faults.add("interactive", "duplicate")
    await sandbox.acting.submit("U0DAN", form["id"], filled("clients", "Hi"))
    assert len(await all_of(bot)) == 1


async def test_a_form_from_a_stale_command_is_asked_for_again(sandbox: Sandbox, bot: Bot) -> None:
    sandbox.world.trigger_seconds = 0.2  # instead of Slack's three
    sandbox.faults.add("slash_commands", "delay", seconds=0.3)
    assert "Type `/broadcast` again" in await ask(sandbox, "", user="U0DAN")


# --- once and only once ----------------------------------------------------------------------------------------------


async def test_a_command_delivered_twice_makes_one_broadcast(sandbox: Sandbox, bot: Bot) -> None:
    sandbox.faults.add("slash_commands", "duplicate")
    await ask(sandbox, "send clients marketing Soldes")
    assert len(await all_of(bot)) == 1


async def test_a_repeated_command_points_to_the_first(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes", user="U0DAN")
    first = await newest(bot)
    assert f"You already asked for this. It is *{first.id}*" in await ask(
        sandbox, "send clients marketing Soldes", user="U0DAN"
    )
    assert len(await all_of(bot)) == 1


async def test_two_approvers_in_the_same_instant_make_one_send(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await asyncio.gather(
        *(sandbox.acting.click(who, HERE, posted["ts"], "broadcast.approve") for who in ("U0ANA", "U0BEN") * 3)
    )
    await settled(bot, State.SENT)
    assert len(sandbox.vendors.ledger) == 1
    assert thread_text(sandbox, posted["ts"]).count("Approved by") == 1


async def test_a_reaction_before_slack_has_answered_about_the_card_counts(
    sandbox: Sandbox, start_bot: StartBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = await start_bot(sandbox)
    write = bot.painter.cards._drawn

    def late(*drawn: Any) -> None:
        time.sleep(0.6)  # the answer is on its way
        write(*drawn)

    monkeypatch.setattr(bot.painter.cards, "_drawn", late)
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await sandbox.acting.react("U0ANA", HERE, posted["ts"], "white_check_mark")
    await settled(bot, State.SENT)
    assert len(sandbox.vendors.ledger) == 1


async def test_a_redelivered_reaction_counts_once(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    sandbox.faults.add("events_api", "duplicate")
    await sandbox.acting.react("U0ANA", HERE, posted["ts"], "white_check_mark")
    await settled(bot, State.SENT)
    assert len(sandbox.vendors.ledger) == 1


async def test_a_reaction_that_was_taken_back_does_not_approve_though_it_arrives_last(
    sandbox: Sandbox, bot: Bot
) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    over = asyncio.Event()
    sandbox.faults.add("events_api", "delay", until=over)
    await sandbox.acting.react("U0ANA", HERE, posted["ts"], "white_check_mark")
    await sandbox.acting.unreact("U0ANA", HERE, posted["ts"], "white_check_mark")
    await sandbox.until(lambda: brought(sandbox) == ["reaction_removed"])
    over.set()
    await sandbox.until(lambda: brought(sandbox) == ["reaction_removed", "reaction_added"])
    await nothing_more(bot)
    assert (await newest(bot)).state is State.PENDING

    await sandbox.acting.react("U0ANA", HERE, posted["ts"], "white_check_mark")
    await settled(bot, State.SENT)
    assert len(sandbox.vendors.ledger) == 1


async def test_approve_and_cancel_at_once_have_one_winner(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await asyncio.gather(
        sandbox.acting.click("U0CLEO", HERE, posted["ts"], "broadcast.cancel"),
        sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve"),
    )
    row = await settled(bot, State.SENT, State.CANCELLED)
    assert len(sandbox.vendors.ledger) == (1 if row.state is State.SENT else 0)


# --- permissions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["button", "reaction"])
async def test_nobody_approves_their_own_marketing_and_the_try_is_audited(sandbox: Sandbox, bot: Bot, way: str) -> None:
    await ask(sandbox, "send clients marketing Soldes", user="U0ANA")
    posted = await card(sandbox)
    if way == "button":
        await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    else:
        await sandbox.acting.react("U0ANA", HERE, posted["ts"], "white_check_mark")
    await sandbox.until(lambda: "somebody else must approve" in str(sandbox.acting.ephemerals("U0ANA")))
    row = await newest(bot)
    assert row.state is State.PENDING
    history = await bot.database.read(lambda c: audit.history(c, row.workspace, row.id))
    assert ("U0ANA", "approve_refused") in [(step["actor"], step["action"]) for step in history]


@pytest.mark.parametrize("user", ["U0DAN", "U0GUS"])
async def test_only_approvers_approve(sandbox: Sandbox, bot: Bot, user: str) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await sandbox.acting.click(user, HERE, posted["ts"], "broadcast.approve")
    assert sandbox.acting.ephemerals(user)
    assert (await newest(bot)).state is State.PENDING


async def test_a_group_that_slack_does_not_tell_approves_nothing(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    bot.people._known.clear()
    sandbox.faults.add("usergroups.users.list", "500", times=9)
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    assert "try again in a minute" in str(sandbox.acting.ephemerals("U0ANA"))
    assert (await newest(bot)).state is State.PENDING


async def test_a_forged_button_changes_nothing(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted, row = await card(sandbox), await newest(bot)
    for value in (f"{row.id}:7", f"{row.id}", "BXXXXXXX:1", "", "x" * 500):
        await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve", value=value)
    assert (await newest(bot)).state is State.PENDING
    assert len(sandbox.acting.ephemerals("U0ANA")) == 5


async def test_an_unknown_button_is_acknowledged_and_harmless(sandbox: Sandbox, bot: Bot) -> None:
    place = sandbox.world.post(sandbox.world.channel(HERE), {"user": "U0BELL", "text": "x"})
    element = {"type": "button", "value": "x"}
    for action in ("other.app", "broadcast.levitate"):
        assert await sandbox.acting.act("U0DAN", {"channel": HERE, "ts": place["ts"]}, "b", action, element, {})


async def test_two_approvals_are_two_people(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox, approval__quorum=2)
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    await sandbox.acting.react("U0ANA", HERE, posted["ts"], "white_check_mark")
    await sandbox.until(lambda: "still needed: 1" in thread_text(sandbox, posted["ts"]))
    assert (await newest(bot)).state is State.PENDING
    await sandbox.acting.click("U0BEN", HERE, posted["ts"], "broadcast.approve")
    await settled(bot, State.SENT)


async def test_marketing_that_nobody_else_could_approve_is_refused_at_once(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    bot = await start_bot(sandbox, approval__approvers=["U0DAN"])
    assert "Without you, too few of <@U0DAN> can approve this (needed: 1, available: 0)" in await ask(
        sandbox, "send clients Hello", user="U0DAN"
    )
    assert await all_of(bot) == []


# --- changing one's mind ---------------------------------------------------------------------------------------------


async def test_reject_asks_for_a_reason_and_the_thread_gets_it(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.reject")
    (form,) = sandbox.acting.views("U0ANA")
    assert form["callback_id"] == "broadcast_reject"
    await sandbox.acting.submit("U0ANA", form["id"], {"reason": {"value": {"value": "Wrong <day>"}}})
    await sandbox.until(lambda: "Wrong &lt;day&gt;" in thread_text(sandbox, posted["ts"]))
    assert (await newest(bot)).state is State.REJECTED
    assert sandbox.vendors.ledger == []


async def test_stop_in_the_undo_window_sends_nothing(sandbox: Sandbox, start_bot: StartBot) -> None:
    lead = 0
    bot = await start_bot(sandbox, lambda: now() + lead, approval__undo="60s")
    posted = await approved(sandbox)
    await sandbox.until(lambda: "broadcast.stop" in str(sandbox.acting.messages(HERE)[0]["blocks"]))
    await sandbox.acting.click("U0CLEO", HERE, posted["ts"], "broadcast.stop")
    assert (await newest(bot)).state is State.CANCELLED
    lead = 61 * SECOND
    await nothing_more(bot)
    assert sandbox.vendors.ledger == []


async def test_a_reaction_taken_back_in_the_undo_window_takes_the_approval_back(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    bot = await start_bot(sandbox, approval__undo="60s")
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await sandbox.acting.react("U0ANA", HERE, posted["ts"], "white_check_mark")
    await settled(bot, State.SCHEDULED)
    await sandbox.acting.unreact("U0ANA", HERE, posted["ts"], "white_check_mark")
    assert (await settled(bot, State.PENDING)).due is None
    assert sandbox.vendors.ledger == []


async def test_a_reaction_taken_back_too_late_says_so(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await sandbox.acting.react("U0ANA", HERE, posted["ts"], "white_check_mark")
    await settled(bot, State.SENT)
    await sandbox.acting.unreact("U0ANA", HERE, posted["ts"], "white_check_mark")
    await sandbox.until(lambda: "has changed in the meantime: ✅" in str(sandbox.acting.ephemerals("U0ANA")))


async def test_cancel_by_command_stops_it_and_later_says_that_it_is_too_late(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes", user="U0DAN")
    row = await newest(bot)
    assert "is cancelled" in await ask(sandbox, f"cancel {row.id.lower()}", user="U0DAN")
    assert "has changed in the meantime" in await ask(sandbox, f"cancel {row.id}", user="U0DAN")
    assert (await newest(bot)).state is State.CANCELLED


async def test_nobody_approves_in_time_and_it_expires(sandbox: Sandbox, start_bot: StartBot) -> None:
    lead = 0
    bot = await start_bot(sandbox, lambda: now() + lead, approval__expires_after="1h")
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    lead = 3601 * SECOND
    await bot.workflow.expire()
    assert (await newest(bot)).state is State.EXPIRED
    await sandbox.until(lambda: "Nobody approved it in time" in thread_text(sandbox, posted["ts"]))


# --- the vendor in trouble -------------------------------------------------------------------------------------------

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


@pytest.mark.parametrize("vendor", REFUSED)
async def test_a_vendors_no_is_a_failure_with_its_reason(sandbox: Sandbox, bot: Bot, vendor: str) -> None:
    audience, step, detail, told = REFUSED[vendor]
    sandbox.vendors.faults.add(step, "error", times=2, **detail)
    posted = await approved(sandbox, f"send {audience} marketing Soldes")
    await settled(bot, State.FAILED)
    await sandbox.until(lambda: told in thread_text(sandbox, posted["ts"]))
    assert sandbox.vendors.ledger == []


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


# --- Slack in trouble ------------------------------------------------------------------------------------------------


async def test_a_busy_slack_gets_the_card_a_little_later(sandbox: Sandbox, bot: Bot) -> None:
    sandbox.faults.add("chat.postMessage", "429", times=2, retry_after=1)
    await ask(sandbox, "send clients marketing Soldes")
    await card(sandbox)


async def test_a_card_that_cannot_be_posted_reaches_the_requester_directly(sandbox: Sandbox, bot: Bot) -> None:
    sandbox.faults.add("chat.postMessage", "error", error="is_archived")
    await ask(sandbox, "send clients marketing Soldes")
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: sandbox.acting.messages(direct))


@pytest.mark.long
async def test_a_card_reaches_the_requester_directly_though_slack_is_busy_then(sandbox: Sandbox, bot: Bot) -> None:
    sandbox.faults.add("chat.postMessage", "error", times=2, error="is_archived")  # asked again after the wait
    sandbox.faults.add("conversations.open", "429", times=1, retry_after=1)
    await ask(sandbox, "send clients marketing Soldes")
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: sandbox.acting.messages(direct))
    assert (await newest(bot)).id in str(sandbox.acting.messages(direct)[0])


def directly(sandbox: Sandbox, user: str) -> list[str]:
    return [message["text"] for message in sandbox.acting.messages(sandbox.world.direct(user).id)]


async def test_a_result_for_a_channel_that_is_gone_reaches_who_asked_and_who_approved_once_and_in_order(
    sandbox: Sandbox, bot: Bot
) -> None:
    posted = await approved(sandbox, "send newsletter marketing Soldes")
    sandbox.world.channels[HERE].archived = True
    row = await settled(bot, State.SENT)
    sandbox.faults.add("conversations.open", "429", times=1, retry_after=1)
    values = {"accepted_at": bot.clock() - 25 * 3600 * SECOND, "look_at": 1}
    await bot.database.write(lambda c: c.execute(tables.broadcasts.update().values(**values)))
    await settled(bot, State.DONE)
    await sandbox.until(lambda: "Final report" in str(directly(sandbox, "U0ANA")))
    told = [text for text in directly(sandbox, "U0CLEO") if f"About *{row.id}*" in text]
    assert ["accepted it" in told[-2], "Final report" in told[-1]] == [True, True], told
    assert len(told) == len(set(told))
    assert [text for text in directly(sandbox, "U0ANA") if "Final report" in text] == [told[-1]]
    assert "Final report" not in thread_text(sandbox, posted["ts"])


async def test_an_unknown_outcome_in_a_channel_that_is_gone_comes_to_who_approved_it_and_the_requester_hears_of_it(
    sandbox: Sandbox, bot: Bot
) -> None:
    sandbox.vendors.faults.add("encom.release", "reset", accept=True)
    await approved(sandbox)
    sandbox.world.channels[HERE].archived = True
    sandbox.faults.add("chat.update", "error", times=20, error="is_archived")
    await settled(bot, State.UNKNOWN)
    direct = sandbox.world.direct("U0ANA").id
    await sandbox.until(lambda: "broadcast.mark_not_sent" in str(sandbox.acting.messages(direct)))
    assert "broadcast.mark_sent" in str(sandbox.acting.messages(direct))
    await sandbox.until(lambda: "may have gone out" in str(directly(sandbox, "U0CLEO")))
    await nothing_more(bot)
    read = [message["text"] for message in sandbox.world.channels[direct].messages]  # including the card's thread
    assert len([text for text in read if "may have gone out" in text]) == 1


async def test_what_is_held_in_a_channel_that_is_gone_comes_to_the_requester_with_its_buttons(
    sandbox: Sandbox, bot: Bot
) -> None:
    await ask(sandbox, "pause all", user="U0OPS")
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    sandbox.world.channels[HERE].archived = True
    bot.people.forget()
    await settled(bot, State.HELD)
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: "broadcast.drop" in str(sandbox.acting.messages(direct)))


async def test_what_asks_and_could_be_shown_to_nobody_is_told_to_whoever_watches_and_tried_again(
    sandbox: Sandbox, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C8: the channel is gone, and so is everybody who could press a button."""
    monkeypatch.setattr("bot.storage.failing_rows.FIRST_PAUSE", 0.1)
    await ask(sandbox, "pause all", user="U0OPS")
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    sandbox.faults.add("conversations.open", "error", times=999, error="user_disabled")
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    sandbox.world.channels[HERE].archived = True
    bot.people.forget()
    await until(lambda: [one for one in bot.database.failing_rows.all() if one.work == "card"])
    assert "NobodyToAsk" in str((await bot.ready())[1])
    sandbox.faults.clear()
    direct = sandbox.world.direct("U0CLEO").id
    await sandbox.until(lambda: "broadcast.drop" in str(sandbox.acting.messages(direct)))


async def test_who_is_no_active_member_is_shown_no_card_that_asks(sandbox: Sandbox, bot: Bot) -> None:
    """C8: the requester is gone, and the approvers are a group."""
    sandbox.vendors.faults.add("encom.release", "reset", accept=True)
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await sandbox.acting.click("U0BEN", HERE, posted["ts"], "broadcast.approve")
    sandbox.world.people["U0CLEO"].deleted, sandbox.world.people["U0ANA"].guest = True, True
    sandbox.world.channels[HERE].archived = True
    bot.people.forget()
    await settled(bot, State.UNKNOWN)
    direct = sandbox.world.direct("U0BEN").id
    await sandbox.until(lambda: "broadcast.mark_not_sent" in str(sandbox.acting.messages(direct)))
    assert "broadcast.mark" not in str(sandbox.acting.messages(sandbox.world.direct("U0ANA").id))


async def test_what_a_channel_that_is_gone_was_to_be_told_reaches_whom_it_names(sandbox: Sandbox, bot: Bot) -> None:
    sandbox.world.channels[HERE].archived = True
    told = Translatable("It has stopped by itself. {why} It said: “{text}”", why="-", text="Stand-up")
    queued = await bot.database.write(lambda c: outbox.post(c, "T0BELL", "k", HERE, told, "U0CLEO", bot.clock()))
    assert queued
    await sandbox.until(lambda: "Stand-up" in str(directly(sandbox, "U0CLEO")))


@pytest.mark.parametrize("error", ["restricted_action", "restricted_action_non_threadable_channel", "no_permission"])
async def test_what_may_not_be_said_in_a_channel_is_told_directly_at_once(
    sandbox: Sandbox, bot: Bot, error: str
) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    await card(sandbox)
    row, told = await newest(bot), Translatable("Choose a purpose.")
    for key in ("note", "post"):
        sandbox.faults.add("chat.postMessage", "error", error=error)
        if key == "note":
            await bot.database.write(lambda c: notes.add_notes(c, row, bot.clock(), [notes.Note(told)]))
        else:
            await bot.database.write(lambda c: outbox.post(c, "T0BELL", "k", HERE, told, "U0CLEO", bot.clock()))
        await nothing_more(bot)
    assert [*directly(sandbox, "U0CLEO")] == [f"About *{row.id}*: Choose a purpose.", "Choose a purpose."]
    assert "Choose a purpose" not in str(sandbox.acting.messages(HERE))


async def test_a_deleted_card_comes_back(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    sandbox.world.channels[HERE].messages.clear()
    row = await newest(bot)
    await bot.workflow.sizes.learn("T0BELL", row.id, 7)
    again = await card(sandbox)
    assert again["ts"] != posted["ts"]


async def test_a_dropped_connection_comes_back_and_nothing_is_done_twice(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes")
    posted = await card(sandbox)
    await sandbox.delivery.drop()
    await sandbox.until(lambda: sandbox.delivery.sockets)
    await sandbox.acting.react("U0ANA", HERE, posted["ts"], "white_check_mark")
    await settled(bot, State.SENT)
    assert len(sandbox.vendors.ledger) == 1


# --- inside the bot --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent_first", [False, True])
async def test_one_send_that_breaks_in_the_adapter_is_unknown_and_the_others_go_on(
    sandbox: Sandbox, bot: Bot, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, sent_first: bool
) -> None:
    vendor = bot.providers["encom"].adapter
    release = vendor.release

    async def out_of_memory(message: Message, staged: Staged | None) -> Accepted:
        if "Broken" not in message.text:
            return await release(message, staged)
        if sent_first:
            await release(message, staged)
        raise MemoryError(message.text)

    monkeypatch.setattr(vendor, "release", out_of_memory)
    for index, text in enumerate(("Broken", "Whole")):
        await ask(sandbox, f"send clients marketing {text}")
        posted = await card(sandbox, index)
        await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    await sandbox.until(lambda: "accepted it" in thread_text(sandbox, posted["ts"]))
    first = (await card(sandbox))["ts"]
    await sandbox.until(lambda: "may have gone out" in thread_text(sandbox, first))

    assert {row.typed: row.state for row in await all_of(bot)} == {"Broken": State.UNKNOWN, "Whole": State.SENT}
    rung = [accepted.text.split()[0] for accepted in sandbox.vendors.ledger]
    assert sorted(rung) == (["Broken", "Whole"] if sent_first else ["Whole"])
    told = [str(record.msg) for record in caplog.records if record.levelname == "ERROR"]
    assert len([line for line in told if "its release broke" in line and "MemoryError" in line]) == 1
    assert "Broken" not in "".join(told)


async def test_a_tick_that_breaks_is_tried_again_and_the_others_go_on(
    sandbox: Sandbox, bot: Bot, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    posted = await approved(sandbox)
    await settled(bot, State.SENT)
    tell = bot.tracker.poller._post_progress
    broken: list[bool] = []

    def twice_broken(connection: Connection) -> int:
        if len(broken) < 2:
            broken.append(True)
            raise RuntimeError("Soldes demain")
        return tell(connection)

    monkeypatch.setattr(bot.tracker.poller, "_post_progress", twice_broken)
    await sandbox.vendors.deliver("encom", "22", "OK")
    await sandbox.until(lambda: "sent 2" in thread_text(sandbox, posted["ts"]))
    assert len(broken) == 2
    told = [str(record.msg) for record in caplog.records if "a tick failed" in str(record.msg)]
    assert len(told) == 2
    assert "Soldes" not in "".join(told)


async def test_an_option_behind_the_text_is_kept_as_text_and_said_so(sandbox: Sandbox, bot: Bot) -> None:
    answer = await ask(sandbox, "send clients marketing Soldes at=tomorrow pour tous", user="U0CLEO")
    assert "is waiting for approval" in answer
    assert "I read this as part of the text: `at=`. Options go before the text." in answer
    assert (await newest(bot)).typed == "Soldes at=tomorrow pour tous"
    told = await ask(sandbox, 'remind "tomorrow 9:00" Standup answer=yes was what everybody said')
    assert "I read this as part of the text" in told


SLIP = 'Votre rdv est confirme at="demain 9h"'


async def test_an_option_at_the_end_is_asked_about_and_its_draft_is_sent_as_it_is(sandbox: Sandbox, bot: Bot) -> None:
    """C5"""
    told = await ask(sandbox, f"send staff transactional {SLIP}", user="U0DAN")
    assert '“at="demain 9h"” looks like the option `at=`, but here it is part of the text.' in told
    assert "Nothing was sent. Open the draft to change it" in told
    assert "I read this as part of the text" not in told
    assert (await newest(bot)).state is State.DRAFT
    draft = sandbox.acting.ephemerals("U0DAN")[-1]
    assert "Votre rdv est confirme at=" in str(draft["blocks"])

    await sandbox.acting.click("U0DAN", HERE, draft["ts"], "broadcast.edit")
    form = sandbox.acting.views("U0DAN")[-1]
    assert await sandbox.acting.submit("U0DAN", form["id"], filled("staff", SLIP, "transactional")) == {}
    await settled(bot, State.SENT)
    assert [sent.text for sent in sandbox.vendors.ledger] == [SLIP]
    assert len(await all_of(bot)) == 1


async def test_the_form_asks_under_the_text_and_takes_the_same_once_more(sandbox: Sandbox, bot: Bot) -> None:
    """C5"""
    form = await open_form(sandbox)
    errors = await sandbox.acting.submit("U0DAN", form["id"], filled("staff", SLIP, "transactional"))
    assert "looks like the option at=" in errors["text"]
    assert errors["text"].endswith("Submit again to send it as it is.")
    errors = await sandbox.acting.submit("U0DAN", form["id"], filled("staff", "Bonjour {ville}", "transactional"))
    assert "“{ville}” looks like a placeholder" in errors["text"]
    assert await all_of(bot) == []

    assert await sandbox.acting.submit("U0DAN", form["id"], filled("staff", SLIP, "transactional")) == {}
    assert (await settled(bot, State.SENT)).typed == SLIP


async def test_a_form_that_slack_brings_twice_is_asked_about_and_not_sent(sandbox: Sandbox, bot: Bot) -> None:
    """C5"""
    form = await open_form(sandbox)
    sandbox.faults.add("interactive", "duplicate")
    errors = await sandbox.acting.submit("U0DAN", form["id"], filled("staff", SLIP, "transactional"))
    assert "Submit again" in errors["text"]
    assert await all_of(bot) == []


@pytest.mark.parametrize(
    "line",
    [
        f'every "day 9:00" clients marketing holidays=keep {SLIP}',
        'remind "tomorrow 9:00" Stand-up until=2027-01-31',
        f"template save promo clients {SLIP}",
    ],
)
async def test_a_slip_in_what_is_kept_is_refused_with_the_fix(sandbox: Sandbox, bot: Bot, line: str) -> None:
    """C5"""
    assert "Put options before the text" in await ask(sandbox, line)
    assert await all_of(bot) == []
    assert "no templates yet" in await ask(sandbox, "template list")
    assert "no reminders yet" in await ask(sandbox, "reminders")


async def test_where_no_card_can_stand_either_both_are_told(sandbox: Sandbox, bot: Bot) -> None:
    told = await ask(sandbox, f"send clients marketing {SLIP}", user="U0DAN", channel="C0QUIET")
    assert "looks like the option" in told
    assert "/invite @bellcrier" in told


async def test_the_question_is_in_the_readers_language(sandbox: Sandbox, bot: Bot) -> None:
    assert "ressemble à l’option `at=`" in await ask(sandbox, f"send clients marketing {SLIP}", user="U0FAY")
    assert "parece la opción `at=`" in await ask(sandbox, f"send clients marketing {SLIP}", user="U0EVA")


async def test_a_template_of_any_length_opens_and_goes_out_as_it_was_kept(sandbox: Sandbox, bot: Bot) -> None:
    """C30"""
    text = "Bonjour à toute l’équipe. " * 135 + "Merci"
    assert "I saved" in await ask(sandbox, f"template save longue staff transactional {text}", user="U0DAN")
    assert await sandbox.acting.command("U0DAN", HERE, "/broadcast template use longue") is None
    form = sandbox.acting.views("U0DAN")[-1]
    pieces = {b["block_id"]: b["element"].get("initial_value") for b in form["blocks"] if "text" in b["block_id"]}
    assert list(pieces) == ["text", "text_rest"]
    rest = {"text_rest": {"value": {"value": pieces["text_rest"]}}}
    given = filled("staff", str(pieces["text"]), "transactional") | rest
    assert await sandbox.acting.submit("U0DAN", form["id"], given) == {}
    assert (await settled(bot, State.SENT)).text == text


async def test_a_draft_longer_than_one_input_opens(sandbox: Sandbox, bot: Bot) -> None:
    """C30"""
    await ask(sandbox, "send staff " + "Bonjour. " * 389, user="U0DAN", channel="C0QUIET")
    draft = sandbox.acting.ephemerals("U0DAN")[-1]
    await sandbox.acting.click("U0DAN", "C0QUIET", draft["ts"], "broadcast.edit")
    assert "text_rest" in str(sandbox.acting.views("U0DAN")[-1]["blocks"])


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (f"send clients campaign={'x' * 120} Hello", "at most 80 characters. This one has 120"),
        (f"send newsletter sender={'x' * 41} Hello", "at most 40 characters. This one has 41"),
        (f"template save promo campaign={'x' * 81} Hello", "at most 80 characters. This one has 81"),
        (f"template save {'x' * 65} Hello", "at most 64 characters. This one has 65"),
        (f'every "day 9:00" clients campaign={"x" * 81} Hello', "at most 80 characters. This one has 81"),
    ],
)
async def test_a_name_is_as_long_on_every_road(sandbox: Sandbox, bot: Bot, line: str, told: str) -> None:
    """C30"""
    assert told in await ask(sandbox, line)
    assert await all_of(bot) == []


async def test_a_form_that_slack_does_not_take_is_no_slow_slack(sandbox: Sandbox, bot: Bot) -> None:
    """C30: the message gives the true reason."""
    sandbox.faults.add("views.open", "error", error="invalid_arguments")
    assert "Something went wrong on my side" in await ask(sandbox, "")


async def test_an_id_is_found_as_it_is_copied(sandbox: Sandbox, bot: Bot) -> None:
    """C31"""
    await ask(sandbox, "send clients marketing Soldes", user="U0DAN")
    row = await newest(bot)
    assert "Soldes" in await ask(sandbox, f"show *{row.id}*", user="U0DAN")
    assert "is cancelled" in await ask(sandbox, f"cancel `{row.id}`", user="U0DAN")


@pytest.mark.parametrize(
    ("line", "near"),
    [
        ("clients clients marketing x", "send clients"),
        ("envoyer clients Hello", "send"),
        ("Enviar   clients Hello", "send"),
        ("ayuda send", "help"),
        ("annuler B1234567", "cancel"),
    ],
)
async def test_an_unknown_verb_is_echoed_as_it_was_typed_and_its_subcommand_suggested(
    sandbox: Sandbox, bot: Bot, line: str, near: str
) -> None:
    """C35"""
    assert f"Did you mean `/broadcast {near}`?" in await ask(sandbox, line)
    shown = sandbox.acting.ephemerals("U0CLEO")[-1]["blocks"]
    assert shown[-1]["elements"][0]["elements"][0]["text"] == f"/broadcast {line}"


@pytest.mark.parametrize("line", ["SEND", "cancel  ", "Template save"])
async def test_usage_echoes_what_was_typed_too(sandbox: Sandbox, bot: Bot, line: str) -> None:
    """C35"""
    assert "Write it like this" in await ask(sandbox, line)
    shown = sandbox.acting.ephemerals("U0CLEO")[-1]["blocks"]
    assert shown[-1]["elements"][0]["elements"][0]["text"] == f"/broadcast {line.strip()}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "Soldes demain STOP SMS 36111",
            "its own mention, “STOP SMS 36111”. It must read exactly “STOP AU 36111”",
        ),
        ("Bonjour {first_name}", "Encom does not fill in “{first_name}”. It fills in: %%name%%"),
        ("Répondez STOP", "its own mention"),
    ],
)
async def test_what_this_vendor_would_send_as_it_is_is_refused_with_the_fix(
    sandbox: Sandbox, bot: Bot, text: str, told: str
) -> None:
    """C14, C15"""
    assert told in await ask(sandbox, f"send clients marketing {text}")
    assert await all_of(bot) == []


async def test_a_number_that_only_reads_like_a_mention_goes_out(sandbox: Sandbox, bot: Bot) -> None:
    """C15"""
    await ask(sandbox, "send clients marketing Non-stop 10000 lots")
    assert (await newest(bot)).text == "Non-stop 10000 lots STOP AU 36111"


async def test_the_address_behind_a_label_goes_out_with_it(sandbox: Sandbox, bot: Bot) -> None:
    """C22"""
    sandbox.acting.escaped = lambda text: text.replace("SERVICE", "<tel:+33123456789|customer service>")  # type: ignore[method-assign]
    await ask(sandbox, "send clients marketing Call SERVICE")
    assert (await newest(bot)).typed == "Call customer service (+33123456789)"


async def test_the_first_command_needs_no_word_of_slack_about_our_own_token(sandbox: Sandbox, bot: Bot) -> None:
    sandbox.faults.add("auth.test", "delay", seconds=5)
    assert "is waiting for approval" in await ask(sandbox, "send clients marketing Soldes")
    await card(sandbox)


async def test_a_form_that_slack_is_slow_to_open_is_told_in_a_sentence(
    sandbox: Sandbox, start_bot: StartBot, caplog: pytest.LogCaptureFixture
) -> None:
    await start_bot(sandbox, patience=PATIENCE)
    sandbox.faults.add("views.open", "delay", seconds=5)
    assert await ask(sandbox, "") == "Slack took too long to open the form. Type `/broadcast` again."
    assert "something unexpected" not in caplog.text


async def test_nothing_on_the_way_to_an_answer_stops_the_loop(
    sandbox: Sandbox, start_bot: StartBot, tmp_path: Path
) -> None:
    """The database is locked, the vendor stalls, Slack is slow: people get answers in time, and the rest goes on."""
    await start_bot(sandbox, patience=PATIENCE)
    sandbox.vendors.faults.add("encom.release", "stall", seconds=3)
    await approved(sandbox, "send clients marketing First")
    await sandbox.until(lambda: [r for r in sandbox.vendors.office.requests if r.method == "POST"])
    beats = [time.monotonic()]

    async def beat() -> None:
        while True:
            await asyncio.sleep(0.01)
            beats.append(time.monotonic())

    beating = asyncio.create_task(beat())
    sandbox.faults.add("users.info", "delay", seconds=0.5)
    lock = sqlite3.connect(tmp_path / "bell.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    asyncio.get_running_loop().call_later(1.5, lock.execute, "ROLLBACK")
    async with within(3, at_least=1.4) as machine:
        answers = await asyncio.gather(
            *(ask(sandbox, f"send clients marketing {word}", user="U0DAN") for word in ("Second", "Third")),
            ask(sandbox, "list", user="U0BEN"),
        )
    beating.cancel()
    lock.close()
    assert "is waiting for approval" in answers[0]
    assert "is waiting for approval" in answers[1]
    assert "The latest broadcasts" in answers[2]
    assert max(after - before for before, after in itertools.pairwise(beats)) < 1 * machine.slower
