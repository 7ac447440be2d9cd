"""Errors inside the bot, and options that slipped into a text."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import time
from pathlib import Path

import pytest
from sqlalchemy import Connection

from bot.app import Bot
from bot.domain.lifecycle import State
from bot.storage.database import PATIENCE
from providers.base import Accepted, Message, Staged
from sandbox.server import Sandbox
from tests.support.ground import StartBot, all_of, newest
from tests.support.patience import within
from tests.support.slack import HERE, approved, ask, card, filled, open_form, settled, thread_text


@pytest.mark.long
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


@pytest.mark.long
async def test_a_tick_that_breaks_is_tried_again_and_the_others_go_on(
    sandbox: Sandbox, bot: Bot, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    posted = await approved(sandbox)
    await settled(bot, State.SENT)
    tell = bot.home.tracker.poller._post_progress
    broken: list[bool] = []

    def twice_broken(connection: Connection) -> int:
        if len(broken) < 2:
            broken.append(True)
            raise RuntimeError("Soldes demain")
        return tell(connection)

    monkeypatch.setattr(bot.home.tracker.poller, "_post_progress", twice_broken)
    await sandbox.vendors.deliver("encom", "22", "OK")
    await sandbox.until(lambda: "2 of 2 sent" in thread_text(sandbox, posted["ts"]))
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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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
    (literal,) = [one for one in shown if one["type"] == "rich_text"]
    assert literal["elements"][0]["elements"][0]["text"] == f"/broadcast {line}"
    assert ("broadcast.correct" in str(shown)) is near.startswith("send")


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


@pytest.mark.long
async def test_a_form_that_slack_is_slow_to_open_is_told_in_a_sentence(
    sandbox: Sandbox, start_bot: StartBot, caplog: pytest.LogCaptureFixture
) -> None:
    await start_bot(sandbox, patience=PATIENCE)
    sandbox.faults.add("views.open", "delay", seconds=5)
    assert await ask(sandbox, "") == "Slack took too long to open the form. Type `/broadcast` again."
    assert "something unexpected" not in caplog.text


@pytest.mark.long
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
