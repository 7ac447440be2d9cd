"""Reminders and recurring broadcasts as people meet them: typed and posted in the sandbox, answered with buttons."""

from __future__ import annotations

import re
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from bot.app import Bot
from bot.domain.clock import SECOND, moment, now
from bot.domain.lifecycle import State
from bot.domain.people import DirectoryUnavailable, Person, Unknown
from bot.slack.directory import People
from bot.storage import tables
from bot.workflow.decision_types import Cancel
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support import slack
from tests.support.ground import StartBot, newest
from tests.support.patience import until
from tests.support.slack import HERE, card

SUMMER_OF_2027 = 1_814_400_000 * SECOND
ID = re.compile(r"\bB[A-Z2-9]{7}\b")


async def say(sandbox: Sandbox, line: str, who: str = "U0CLEO", channel: str = HERE) -> str:
    return await sandbox.acting.command(who, channel, line) or ""


async def bring_forward(bot: Bot) -> None:
    """Make every schedule due now."""
    values: dict[str, Any] = {"next_at": now() - SECOND}
    await bot.database.write(lambda c: c.execute(tables.schedules.update().values(**values)))
    bot.workspaces.wake()


async def posted(sandbox: Sandbox, channel: str = HERE) -> Json:
    await sandbox.until(lambda: sandbox.acting.messages(channel))
    return sandbox.acting.messages(channel)[-1]


def shown(message: Json) -> str:
    """Everything that a message shows."""
    return str(message["blocks"])


async def test_a_reminder_is_posted_in_its_channel_and_done_with_a_button(sandbox: Sandbox, bot: Bot) -> None:
    told = await say(sandbox, '/broadcast remind "in 2 hours" #general Relire <b>la liste</b> & *tout*')
    (id,) = set(ID.findall(told))
    await bring_forward(bot)
    post = await posted(sandbox, "C0GENERAL")
    assert "Relire &lt;b&gt;la liste&lt;/b&gt; &amp; *tout*" in shown(post)
    assert "<@U0CLEO>" in shown(post)
    assert id in shown(post)
    await sandbox.acting.click("U0BEN", "C0GENERAL", post["ts"], "reminder.done")
    await sandbox.until(lambda: "<@U0BEN> marked this as done" in shown(post))
    assert not any(block["type"] == "actions" for block in post["blocks"])
    assert len(sandbox.acting.messages("C0GENERAL")) == 1


async def test_a_second_answer_is_told_that_it_came_too_late(sandbox: Sandbox, bot: Bot) -> None:
    await say(sandbox, '/broadcast remind "in 2 hours" Stand-up')
    await bring_forward(bot)
    post = await posted(sandbox)
    await sandbox.acting.click("U0BEN", HERE, post["ts"], "reminder.snooze")
    button = {"type": "button", "value": "BXXXXXXX:1"}
    await sandbox.acting.act("U0ANA", {"channel": HERE, "ts": post["ts"]}, "x", "reminder.done", button, {})
    assert "changed in the meantime" in sandbox.acting.ephemerals("U0ANA")[-1]["text"]
    await sandbox.until(lambda: "it will be posted once more" in shown(post))


async def test_a_first_occurrence_outside_the_hours_is_answered_with_when_it_may_go(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    await start_bot(sandbox, clock=lambda: SUMMER_OF_2027)
    told = await say(sandbox, '/broadcast every "every sunday 10:00" paris marketing holidays=keep Soldes')
    first, hours, second = told.splitlines()[1:4]
    assert "2027-07-04 10:00" in first
    assert "outside the sending hours for this audience. It will be held until 2027-07-05 " in hours
    assert "2027-07-11 10:00" in second
    told = await say(sandbox, '/broadcast every "every tuesday 11:00" paris marketing holidays=skip Soldes')
    assert "hours" not in told


async def test_c33_what_closed_days_would_leave_out_is_said_and_the_working_day_before_offered(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    """C33: by default the last days that fall on weekends and holidays are left out; `holidays=before` moves them."""
    await start_bot(sandbox, clock=lambda: SUMMER_OF_2027, holidays={"calendar": "FR"})
    told = await say(sandbox, '/broadcast remind "last day of the month 9:00" Factures')
    assert "of the next 24 fall on closed days and will be left out: Sat 2027-07-31, Sun 2027-10-31" in told
    assert "`holidays=before` (the previous working day) or `holidays=shift` (the next one)" in told
    told = await say(sandbox, '/broadcast remind "last day of the month 9:00" holidays=before Factures')
    first, second, third = told.splitlines()[1:4]
    assert "Fri 2027-07-30 09:00" in first
    assert "Tue 2027-08-31 09:00" in second
    assert "Thu 2027-09-30 09:00" in third
    assert "moved to the previous working day on holidays and weekends" in told
    assert "left out" not in told
    told = await say(sandbox, '/broadcast every "le 15 de chaque mois à 9h" paris marketing Soldes')
    assert "`holidays=before` (the previous working day)" in told
    for daily in ("every day 9:00", "every thursday 9:00"):
        assert "left out:" not in await say(sandbox, f'/broadcast remind "{daily}" Stand-up')
    never = await say(sandbox, '/broadcast remind "every december 25 9:00" Noël')
    assert "All its days are closed days. `holidays=before`" in never


async def test_a_snoozed_reminder_is_posted_once_more_and_then_only_done(sandbox: Sandbox, bot: Bot) -> None:
    await say(sandbox, '/broadcast remind "in 2 hours" Stand-up')
    await bring_forward(bot)
    first = await posted(sandbox)
    await sandbox.acting.click("U0BEN", HERE, first["ts"], "reminder.snooze")
    await sandbox.until(lambda: "it will be posted once more" in shown(first))
    past: dict[str, Any] = {"draw_at": now() - SECOND, "snoozed_until": now() - SECOND}
    rows = tables.occurrences
    drawn = rows.c.draw_at == rows.c.snoozed_until
    await until(lambda: bot.database.write(lambda c: c.execute(rows.update().where(drawn).values(**past)).rowcount))
    bot.workspaces.wake()
    await sandbox.until(lambda: len(sandbox.acting.messages(HERE)) == 2)
    again = await posted(sandbox)
    assert "reminder.done" in shown(again)
    assert "reminder.snooze" not in shown(again)
    await sandbox.acting.click("U0BEN", HERE, again["ts"], "reminder.done")
    await sandbox.until(lambda: "<@U0BEN> marked this as done" in shown(again))
    assert len(sandbox.acting.messages(HERE)) == 2


async def test_a_recurring_broadcast_gets_a_card_and_goes_nowhere_without_approval(sandbox: Sandbox, bot: Bot) -> None:
    told = await say(sandbox, '/broadcast every "day 9:00" clients marketing covers=3 holidays=keep Soldes')
    id = ID.findall(told)[0]
    assert len(re.findall(r"\d{4}-\d\d-\d\d 09:00", told)) == 3
    assert "One approval covers 3" in told
    post = await card(sandbox)
    assert id in shown(post)
    assert "next 2" in shown(post)
    row = await newest(bot)
    assert (row.state, row.schedule, row.covers) == (State.PENDING, id, 3)
    await sandbox.acting.click("U0ANA", HERE, post["ts"], "broadcast.approve")
    await sandbox.until(lambda: "Approved by" in shown(post))
    assert sandbox.vendors.ledger == []
    assert id in await say(sandbox, "/broadcast schedules")
    assert "covers 2 more" in await say(sandbox, f"/broadcast show {id}")


async def test_it_is_paused_resumed_and_stopped_by_its_id(sandbox: Sandbox, bot: Bot) -> None:
    id = ID.findall(await say(sandbox, '/broadcast remind "every monday 9:00" Stand-up'))[0]
    assert id in await say(sandbox, "/broadcast reminders")
    assert "is paused until" in await say(sandbox, f"/broadcast pause {id} until=2027-01-11")
    assert "has resumed" in await say(sandbox, f"/broadcast resume {id}")
    assert "Only" in await say(sandbox, f"/broadcast stop {id}", who="U0DAN")
    assert "has ended" in await say(sandbox, f"/broadcast stop {id}")
    assert "changed in the meantime" in await say(sandbox, f"/broadcast stop {id}")
    assert id not in await say(sandbox, "/broadcast reminders")
    assert "It ended: somebody stopped it" in await say(sandbox, f"/broadcast show {id}")


async def test_of_an_end_of_a_pause_no_word_is_lost(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox, clock=lambda: SUMMER_OF_2027)
    id = ID.findall(await say(sandbox, '/broadcast remind "every monday 9:00" Stand-up'))[0]

    async def until(typed: str) -> str:
        await say(sandbox, f"/broadcast pause {id} {typed}")
        return await paused_until(bot, id)

    assert await until("until=2028-01-11 18:00") == "2028-01-11 18:00"
    assert await until('until="2028-01-12 18:00"') == "2028-01-12 18:00"
    assert await until("2028-01-13 18:00") == "2028-01-13 18:00"
    assert await until("until 2028-01-14 18:00") == "2028-01-14 18:00"
    assert await until("jusqu’au 15 janvier 2028 à 18h") == "2028-01-15 18:00"
    assert await until("hasta el 16 de enero de 2028 a las 18") == "2028-01-16 18:00"
    assert await until("jusqu’au 31 janvier 2028") == "2028-01-31 00:00"
    assert await until("until lundi") == "2027-07-05 00:00"
    assert await until("hasta el martes") == "2027-07-06 00:00"
    assert await until("until 2028-01-17") == "2028-01-17 00:00"
    wrong = {
        "until=2028-01-18 with everybody": "Write it like",
        "until 03/04": "could mean",
        "until lundi prochain": "could mean",
        "until monday morning": "At what time?",
        "until tonight": "At what time?",
        "untill=2028-01-18": "until=",
        "until=": "Write an option as",
    }
    for typed, expected in wrong.items():
        assert expected in await say(sandbox, f"/broadcast pause {id} {typed}"), typed
    assert await paused_until(bot, id) == "2028-01-17 00:00"


async def paused_until(bot: Bot, id: str) -> str:
    row = await bot.home.reminders.find("T0BELL", id)
    return f"{moment(row.paused_until or 0).astimezone(ZoneInfo(row.zone)):%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("zone", "day"), [("Africa/Cairo", "2028-04-28"), ("Asia/Beirut", "2028-03-26"), ("America/Santiago", "2027-09-05")]
)
async def test_a_pause_until_a_day_whose_midnight_the_clocks_skip_ends_with_its_first_hour(
    sandbox: Sandbox, start_bot: StartBot, zone: str, day: str
) -> None:
    bot = await start_bot(sandbox, clock=lambda: SUMMER_OF_2027)
    sandbox.world.people["U0CLEO"].tz = zone
    id = ID.findall(await say(sandbox, '/broadcast remind "every monday 9:00" Stand-up'))[0]
    await say(sandbox, f"/broadcast pause {id} until={day}")
    assert await paused_until(bot, id) == f"{day} 01:00"


async def test_the_pause_of_everything_says_that_it_has_no_end_of_its_own(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    await start_bot(sandbox, admins=["U0CLEO"])
    told = await say(sandbox, "/broadcast pause all until=2027-01-11")
    assert "All sending is paused" in told
    assert "`/broadcast resume all` resumes sending" in told
    assert "does not end by itself, so I ignored “until=2027-01-11”" in told
    assert "heeded" not in await say(sandbox, "/broadcast pause ALL")


@pytest.mark.parametrize("decision", ["pause", "stop"])
async def test_what_was_made_before_a_pause_or_a_stop_is_named_with_what_becomes_of_it(
    sandbox: Sandbox, bot: Bot, decision: str
) -> None:
    id = ID.findall(await say(sandbox, '/broadcast every "day 9:00" clients marketing holidays=keep Soldes'))[0]
    post = await card(sandbox)
    row = await newest(bot)
    told = await say(sandbox, f"/broadcast {decision} {id}")
    assert f"*{row.id}* already has a card. It is waiting for approval" in told
    assert f"`/broadcast cancel {row.id}` stops it" in told
    await sandbox.acting.click("U0ANA", HERE, post["ts"], "broadcast.approve")
    await sandbox.until(lambda: "Approved by" in shown(post))
    if decision == "pause":
        told = await say(sandbox, f"/broadcast pause {id} until=2027-01-11")
        assert f"*{row.id}* already has a card. It will go out by itself" in told
        await say(sandbox, "/broadcast pause all", "U0OPS")
        assert "All sending is paused" in await say(sandbox, f"/broadcast pause {id} until=2027-01-11")
    else:
        assert (await newest(bot)).state is State.SCHEDULED
    await say(sandbox, f"/broadcast cancel {row.id}")
    if decision == "pause":
        assert "card" not in await say(sandbox, f"/broadcast pause {id}")


async def test_what_is_stopped_before_anything_was_made_names_no_card(sandbox: Sandbox, bot: Bot) -> None:
    id = ID.findall(await say(sandbox, '/broadcast remind "every monday 9:00" Stand-up'))[0]
    assert await say(sandbox, f"/broadcast stop {id}") == f"*{id}* has ended."


async def test_what_is_wrong_is_said_and_what_was_typed_is_kept(sandbox: Sandbox, bot: Bot) -> None:
    wrong = {
        "/broadcast remind tomorrow 9:00 Stand-up": "The time needs quotes",
        '/broadcast remind "tomorrow" Stand-up': "At what time",
        '/broadcast remind "every monday" Stand-up': "At what time?",
        '/broadcast remind "every 5 minutes" Stand-up': "Write it like",
        '/broadcast remind "tomorrow 9:00" #nowhere Stand-up': "Pick it from the list",
        '/broadcast remind "tomorrow 9:00" holidays=keep #general Stand-up': "before the options",
        '/broadcast remind "tomorrow 9:00" #quiet Stand-up': "/invite",
        '/broadcast remind "tomorrow 9:00" #old-news Stand-up': "archived",
        '/broadcast remind "tomorrow 9:00" #approvals Stand-up': "not in",
        '/broadcast remind "tomorrow 9:00" start=nobody Stand-up': "no audience",
        '/broadcast remind "tomorrow 9:00" template=nothing Stand-up': "no template",
        '/broadcast remind "tomorrow 9:00" holidays=maybe Stand-up': "before (to the previous working day) or keep",
        '/broadcast remind "next monday 9:00" Stand-up': "“next monday” could mean",
        '/broadcast remind "every 90 minutes" Stand-up': "does not fall at fixed times of the day",
        '/broadcast remind "every day 9:00" count=0 Stand-up': "from 1 to",
        '/broadcast remind "every day 9:00" answer=maybe Stand-up': "`answer=` takes yes or no",
        '/broadcast remind "every day 9:00" digest= Stand-up': "Write an option as",
        '/broadcast remind "tomorrow 9:00" count=4 Stand-up': "`count=` is for something that repeats",
        '/broadcast remind "tomorrow 9:00" until=2099-01-01 Stand-up': "two years",
        '/broadcast remind "tomorrow 9:00" until="in 3 hours" Stand-up': "`until=` is for something that repeats",
        '/broadcast remind "every day 9:00" until=2099-12-31 Stand-up': "two years",
        '/broadcast remind "every day 9:00" until=9999-12-31 Stand-up': "two years",
        '/broadcast remind "every day 9:00" until=0001-01-01 Stand-up': "passed",
        '/broadcast remind "every day 9:00" until=2020-01-01 Stand-up': "passed",
        '/broadcast remind "every day 9:00" until=2027-13-01 Stand-up': "no such date",
        '/broadcast remind "every day 9:00" until="friday evening" Stand-up': "At what time?",
        '/broadcast every "every day 9:00" clients until=2099-12-31 Stand-up': "two years",
        '/broadcast remind "cron 0 9 * * 1" Stand-up': "admin",
        '/broadcast every "every day 9:00" nobody Stand-up': "no audience",
        '/broadcast every "every day 9:00" clients at=10:00 holidays=keep Stand-up': "“at=” is not an option here",
        "/broadcast send clients at=demain 9h Stand-up": 'Put several words in quotes: `at="tomorrow 9:00"`',
        '/broadcast every "9:00" clients Stand-up': "On which day?",
        '/broadcast every "evening 08:00" clients Stand-up': "not in that part of the day",
        '/broadcast send clients at="in 2 hours" holidays=keep Stand-up': "“holidays=” is not an option here",
        "/broadcast template save promo clients at=10:00 Stand-up": "“at=” is not an option here",
        '/broadcast every "every day 9:00" clients covers=999 Stand-up': "from 1 to",
        '/broadcast every "every day 9:00" clients cover=3 Stand-up': "covers=",
    }
    for line, expected in wrong.items():
        told = await say(sandbox, line)
        kept = shown(sandbox.acting.ephemerals("U0CLEO")[-1])
        assert expected in told, line
        assert "Stand-up" in kept, line
    assert await say(sandbox, "/broadcast reminders") == "There are no reminders yet. Try `/broadcast remind`."
    assert sandbox.acting.messages(HERE) == []


async def test_an_hour_without_quotes_is_no_hour_of_today_where_the_text_goes_on_with_its_day(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    bot = await start_bot(sandbox, clock=lambda: SUMMER_OF_2027)  # two in the morning
    for longer in ("17h demain", "5pm tomorrow", "17h lundi prochain", "8h du soir", "5pm on friday", "midi vendredi"):
        told = await say(sandbox, f"/broadcast send clients transactional at={longer}: votre rdv")
        assert f'Is the time “{longer}”? Then write it in quotes: `at="{longer}"`' in told, longer
    for at, rest in (
        ("17:00", "UTC"),
        ('"tomorrow 9:00"', "Paris time"),
        ('"demain 9h"', "du soir"),
        ("2027-12-01T09:00", "UTC"),
    ):
        told = await say(sandbox, f"/broadcast send clients transactional at={at} {rest} votre rdv")
        assert "part of the time" in told or "Is the time" in told, at
    assert "part of the time" in await say(sandbox, '/broadcast remind "17:00" UTC relire')
    await say(sandbox, '/broadcast send clients transactional at="today 17h" Demain, votre rdv')
    await say(sandbox, "/broadcast send clients transactional at=17h30 Votre rdv de demain")
    rows = await bot.database.read(lambda c: c.execute(tables.broadcasts.select()).mappings().all())
    found = {(row["text"], moment(row["send_at"]).astimezone(ZoneInfo("Europe/Paris")).hour) for row in rows}
    assert found == {("Demain, votre rdv", 17), ("Votre rdv de demain", 17)}


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("31 october 2027 2:30", "2027-10-31 02:30 (+02:00)"), ("2027-10-31T02:30+01:00", "2027-10-31 02:30 (+01:00)")],
)
async def test_what_comes_once_is_answered_with_its_instant_and_offset(
    sandbox: Sandbox, start_bot: StartBot, typed: str, expected: str
) -> None:
    """In the night when 02:30 comes twice, only the offset tells the two apart."""
    await start_bot(sandbox, clock=lambda: SUMMER_OF_2027)
    told = await say(sandbox, f'/broadcast remind "{typed}" #general Stand-up')
    assert "will be posted once" in told
    assert expected in told


async def test_with_a_channel_of_the_approvers_whoever_asks_need_not_be_in_it(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    bot = await start_bot(sandbox, approval__channel="C0APPROVALS")
    assert "U0CLEO" not in sandbox.world.channels["C0APPROVALS"].members
    told = await say(sandbox, '/broadcast every "day 9:00" clients marketing holidays=keep Soldes')
    assert "will ask in <#C0APPROVALS> to send this" in told
    id = ID.findall(told)[0]
    assert id in shown(await posted(sandbox, "C0APPROVALS"))
    assert id in await say(sandbox, "/broadcast schedules")
    assert (await newest(bot)).schedule == id
    assert "not in" in await say(sandbox, '/broadcast remind "every day 9:00" #approvals Stand-up')


async def test_yes_and_no_are_taken_in_three_languages(sandbox: Sandbox, bot: Bot) -> None:
    words = [(*pair, True) for pair in (("y", "on"), ("oui", "vrai"), ("sí", "S"))]
    words += [(*pair, False) for pair in (("no", "off"), ("non", "faux"), ("n", "falso"))]
    for number, (answer, digest, _) in enumerate(words):
        line = f'/broadcast remind "every day 9:00" answer={answer} digest={digest} Stand-up {number}'
        assert "will be posted" in await say(sandbox, line)
    rows = await bot.database.read(lambda c: c.execute(tables.schedules.select()).mappings().all())
    found = {row["text"]: (row["options"]["answer"], row["options"]["digest"]) for row in rows}
    assert found == {f"Stand-up {number}": (yes, yes) for number, (_, _, yes) in enumerate(words)}


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Paris", "Pacific/Kiritimati"])
async def test_an_end_at_the_edge_of_the_calendar_is_refused_in_every_zone(
    sandbox: Sandbox, bot: Bot, zone: str
) -> None:
    sandbox.world.people["U0CLEO"].tz = zone
    for last in ("9999-12-31", "0001-01-01"):
        told = await say(sandbox, f'/broadcast remind "every day 9:00" until={last} Stand-up')
        assert any(why in told for why in ("two years", "passed", "no such date")), told
    assert "no reminders yet" in await say(sandbox, "/broadcast reminders")


async def test_in_a_direct_message_the_fix_is_to_name_a_channel(sandbox: Sandbox, bot: Bot) -> None:
    direct = sandbox.world.direct("U0CLEO").id
    assert "`#channel`" in await say(sandbox, '/broadcast remind "tomorrow 9:00" Stand-up', channel=direct)
    assert "will be posted once" in await say(sandbox, '/broadcast remind "tomorrow 9:00" #general Hi', channel=direct)


async def test_its_button_starts_a_broadcast_with_the_template_filled_in(sandbox: Sandbox, bot: Bot) -> None:
    kept = await say(sandbox, "/broadcast template save promo newsletter transactional Votre commande est prête")
    assert "promo" in kept
    assert "promo" in await say(sandbox, "/broadcast template list")
    assert "belongs to <@U0CLEO>" in await say(sandbox, "/broadcast template save promo Autre chose", who="U0DAN")
    await say(sandbox, '/broadcast remind "in 2 hours" template=promo Écrire aux clients')
    await bring_forward(bot)
    post = await posted(sandbox)
    await sandbox.acting.click("U0DAN", HERE, post["ts"], "reminder.start")
    await sandbox.until(lambda: sandbox.acting.views("U0DAN"))
    filled = str(sandbox.acting.views("U0DAN")[-1]["blocks"])
    assert "Votre commande est prête" in filled
    assert "'initial_option': {'text': {'type': 'plain_text', 'text': 'newsletter" in filled
    assert "Only" in await say(sandbox, "/broadcast template delete promo", who="U0DAN")
    assert "I deleted the template “promo”" in await say(sandbox, "/broadcast template delete promo")


async def test_its_button_asks_for_the_slots_of_the_template(sandbox: Sandbox, bot: Bot) -> None:
    await say(
        sandbox, "/broadcast template save promo newsletter transactional Votre commande {{number:number}} est prête"
    )
    await say(sandbox, '/broadcast remind "in 2 hours" template=promo start=vip Écrire aux clients')
    await bring_forward(bot)
    post = await posted(sandbox)
    await sandbox.acting.click("U0DAN", HERE, post["ts"], "reminder.start")
    await sandbox.until(lambda: sandbox.acting.views("U0DAN"))
    filled = str(sandbox.acting.views("U0DAN")[-1]["blocks"])
    assert "Votre commande {{number:number}} est prête" in filled
    assert "'block_id': 'slot_number'" in filled
    assert "'initial_option': {'text': {'type': 'plain_text', 'text': 'vip" in filled


@pytest.mark.long
async def test_what_was_typed_in_the_form_that_its_button_opens_is_there_again_and_nowhere_else(
    sandbox: Sandbox, bot: Bot
) -> None:
    await say(sandbox, '/broadcast remind "in 2 hours" start=newsletter Écrire aux clients')
    await bring_forward(bot)
    post = await posted(sandbox)
    for seen in (False, True):
        await sandbox.acting.click("U0DAN", HERE, post["ts"], "reminder.start")
        form = sandbox.acting.views("U0DAN")[-1]
        assert ("You typed this" in slack.shown(sandbox)) is seen
        await slack.type_in(sandbox, form, slack.filled("newsletter", "Pour le rappel"))
        await slack.becomes(sandbox, "Pour le rappel STOP")
        await sandbox.acting.close("U0DAN", form["id"])
    await slack.open_form(sandbox)
    assert "Pour le rappel" not in slack.shown(sandbox)


async def test_when_its_owner_leaves_the_channel_reads_why_it_stopped(sandbox: Sandbox, bot: Bot) -> None:
    id = ID.findall(await say(sandbox, '/broadcast remind "every day 9:00" Stand-up'))[0]
    sandbox.world.people["U0CLEO"].deleted = True
    bot.people.forget()
    await bring_forward(bot)
    post = await posted(sandbox)
    assert "It has stopped by itself" in post["text"]
    assert "Stand-up" in post["text"]
    assert id not in await say(sandbox, "/broadcast reminders", who="U0ANA")


async def test_when_its_channel_is_archived_its_owner_is_told(sandbox: Sandbox, bot: Bot) -> None:
    await say(sandbox, '/broadcast remind "every day 9:00" #general Stand-up')
    sandbox.world.channels["C0GENERAL"].archived = True
    bot.people.forget()
    await bring_forward(bot)
    direct = sandbox.world.direct("U0CLEO").id
    post = await posted(sandbox, direct)
    assert "archived" in post["text"]
    assert sandbox.acting.messages("C0GENERAL") == []


async def test_when_its_channel_is_shared_with_another_company_its_owner_is_told_so(sandbox: Sandbox, bot: Bot) -> None:
    id = ID.findall(await say(sandbox, '/broadcast remind "every day 9:00" #general Stand-up'))[0]
    sandbox.world.channels["C0GENERAL"].shared = True
    bot.people.forget()
    await bring_forward(bot)
    post = await posted(sandbox, sandbox.world.direct("U0CLEO").id)
    assert "shared with another company" in post["text"]
    assert "archived" not in post["text"]
    assert "I can no longer post in its channel" in await say(sandbox, f"/broadcast show {id}")
    assert sandbox.acting.messages("C0GENERAL") == []


class Silent:
    """A Slack that answers every call with `error`, except for the first page of a channel's members."""

    def __init__(self, error: str) -> None:
        self.error = slack.refusal(error)

    async def conversations_info(self, channel: str) -> Json:
        raise self.error

    async def conversations_members(self, channel: str, cursor: str, limit: int) -> Json:
        if cursor:
            raise self.error
        return {"members": ["U1"], "response_metadata": {"next_cursor": "2"}}

    async def users_info(self, user: str, include_locale: bool) -> Json:
        raise self.error


@pytest.mark.parametrize("error", ["missing_scope", "fetch_members_failed", "internal_error"])
async def test_what_slack_does_not_tell_of_a_channel_ends_nothing(error: str) -> None:
    people = People(cast(Any, Silent(error)))
    for asked in (people.why_closed("C1"), people.is_in("C1", "U2")):
        with pytest.raises(DirectoryUnavailable):
            await asked


@pytest.mark.parametrize("error", ["channel_not_found", "not_in_channel"])
async def test_a_channel_that_is_not_there_for_us_is_closed_and_nobody_is_in_it(error: str) -> None:
    people = People(cast(Any, Silent(error)))
    assert "archived, or I am no longer in it" in str(await people.why_closed("C1"))
    assert not await people.is_in("C1", "U1")


async def test_a_channel_that_may_not_be_looked_at_is_answered_with_how_to_invite_the_bot() -> None:
    place = await People(cast(Any, Silent("missing_scope"))).place("C1")
    assert not place.postable
    assert "/invite" in str(place.fix)


@pytest.mark.parametrize(
    ("error", "known"), [("user_not_found", False), ("user_not_visible", False), ("internal_error", True)]
)
async def test_whom_slack_does_not_know_nobody_is(error: str, known: bool) -> None:
    with pytest.raises(DirectoryUnavailable) as told:
        await People(cast(Any, Silent(error))).person("T1", "U1")
    assert isinstance(told.value, Unknown) is not known


@pytest.mark.long
async def test_a_digest_tells_in_the_morning_what_waits(sandbox: Sandbox, bot: Bot) -> None:
    await say(sandbox, "/broadcast send clients marketing Soldes demain")
    await card(sandbox)
    await say(sandbox, "/broadcast send staff transactional Bonjour")
    await sandbox.until(lambda: len(sandbox.vendors.ledger) == 1)
    await say(sandbox, '/broadcast remind "every weekday 8:30" digest=yes')
    await bring_forward(bot)
    await sandbox.until(lambda: len(sandbox.acting.messages(HERE)) == 3)
    told = shown(await posted(sandbox))
    assert "Waiting for approval" in told
    assert "Soldes demain" in told
    assert "1 broadcast sent since yesterday" in told


@pytest.mark.long
async def test_while_slack_is_away_a_reminder_waits_and_is_posted_once(sandbox: Sandbox, bot: Bot) -> None:
    await say(sandbox, '/broadcast remind "in 2 hours" Stand-up')
    sandbox.api.faults.add("chat.postMessage", "429", times=1, retry_after=1)
    sandbox.api.faults.add("chat.postMessage", "500", times=1)
    await bring_forward(bot)
    await sandbox.until(lambda: sandbox.acting.messages(HERE))
    assert len(sandbox.acting.messages(HERE)) == 1


async def test_a_guest_asks_for_nothing_that_comes_again(sandbox: Sandbox, bot: Bot) -> None:
    guest = next(person.id for person in sandbox.world.people.values() if person.guest)
    told = await say(sandbox, '/broadcast remind "tomorrow 9:00" Stand-up', who=guest)
    assert "Only full members" in told


async def test_a_reminder_is_shown_to_those_who_are_in_its_channel_to_its_owner_and_to_admins_alone(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    bot = await start_bot(sandbox, admins=["U0DAN"])
    board = sandbox.world.channels["G0BOARD"]
    board.members.append("U0BELL")
    assert {"U0CLEO", "U0DAN", "U0BEN"}.isdisjoint(board.members)
    line = '/broadcast remind "every day 9:00" Licenciements le 15'
    (id,) = set(ID.findall(await say(sandbox, line, who="U0ANA", channel="G0BOARD")))
    for who in ("U0ANA", "U0DAN"):
        assert "Licenciements" in await say(sandbox, "/broadcast reminders", who=who)
        assert "Licenciements" in await say(sandbox, f"/broadcast show {id}", who=who)
    assert await say(sandbox, "/broadcast reminders") == "There are no reminders yet. Try `/broadcast remind`."
    unknown = await say(sandbox, "/broadcast show BXXXXXXX")
    assert await say(sandbox, f"/broadcast show {id}") == unknown.replace("BXXXXXXX", id)
    board.members.remove("U0ANA")  # its owner still sees it, though it stops at its next occurrence
    board.members.append("U0CLEO")
    bot.people.forget()
    for who in ("U0ANA", "U0CLEO"):
        assert "Licenciements" in await say(sandbox, "/broadcast reminders", who=who)


async def test_what_others_are_reminded_of_leaves_room_for_what_one_may_see(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    bot = await start_bot(sandbox, admins=["U0DAN"])
    await say(sandbox, '/broadcast remind "tomorrow 9:00" Theirs', who="U0ANA", channel="C0APPROVALS")
    rows = await bot.database.read(lambda c: [dict(r) for r in c.execute(tables.schedules.select()).mappings()])
    more = [{**rows[0], "id": f"BZZZZZ{number}", "key": f"k{number}"} for number in range(51)]
    await bot.database.write(lambda c: c.execute(tables.schedules.insert(), more))
    await say(sandbox, '/broadcast remind "in 20 days" Mine')
    assert "Mine" in await say(sandbox, "/broadcast reminders")
    await say(sandbox, "/broadcast reminders", who="U0DAN")
    assert "broadcast.board.next" in shown(sandbox.acting.ephemerals("U0DAN")[-1])


async def test_a_guest_is_shown_nothing_that_comes_again(sandbox: Sandbox, bot: Bot) -> None:
    guest = next(person.id for person in sandbox.world.people.values() if person.guest)
    (id,) = set(ID.findall(await say(sandbox, '/broadcast remind "every monday 9:00" Stand-up')))
    for line in ("reminders", "schedules", f"show {id}"):
        told = await say(sandbox, f"/broadcast {line}", who=guest)
        assert "Only full members" in told, line
        assert "Stand-up" not in told


async def test_the_answer_is_in_the_readers_language(sandbox: Sandbox, bot: Bot) -> None:
    assert "sera publié dans" in await say(sandbox, '/broadcast remind "chaque lundi 9h" Réunion', who="U0FAY")
    assert "se publicará en" in await say(sandbox, '/broadcast remind "cada lunes a las 9" Reunión', who="U0EVA")


async def test_an_occurrence_that_was_cancelled_sends_nothing_and_the_next_one_comes(
    sandbox: Sandbox, bot: Bot
) -> None:
    await say(sandbox, '/broadcast every "every day 9:00" clients marketing holidays=keep Soldes')
    await card(sandbox)
    row = await newest(bot)
    cleo = Person("T0BELL", "U0CLEO", member=True)
    await bot.workflow.act("T0BELL", row.id, Cancel(), person=cleo, version=1)
    assert (await newest(bot)).state is State.CANCELLED
    assert "09:00" in await say(sandbox, "/broadcast schedules")


async def test_a_reminder_is_shown_and_posted_as_it_was_written_and_calls_only_whom_it_should(
    sandbox: Sandbox, bot: Bot
) -> None:
    """C32"""
    told = await say(sandbox, '/broadcast remind "in 2 hours" #general :coffee: *vite* https://b.example @ana')
    assert "To notify them, put `mentions=yes` before the text." in told
    assert "🔔 :coffee: *vite* <https://b.example> @ana" in told
    await bring_forward(bot)
    post = await posted(sandbox, "C0GENERAL")
    assert "🔔 :coffee: *vite* <https://b.example> @ana" in shown(post)
    assert "<@U0ANA>" not in shown(post)
    assert "<@U0ANA>" not in post["text"]

    told = await say(sandbox, '/broadcast remind "in 2 hours" mentions=oui @ana relire')
    assert "It notifies the people and groups it names." in told
    await bring_forward(bot)
    assert "🔔 <@U0ANA> relire" in shown(await posted(sandbox))


async def test_what_a_missed_reminder_said_calls_nobody(sandbox: Sandbox, bot: Bot) -> None:
    """C32"""
    await say(sandbox, '/broadcast remind "every day 9:00" mentions=yes @ana & *tous*')
    late: dict[str, Any] = {"next_at": now() - 3600 * SECOND}
    await bot.database.write(lambda c: c.execute(tables.schedules.update().values(**late)))
    bot.workspaces.wake()
    post = await posted(sandbox)
    assert "I was away" in post["text"]
    assert "“@ana &amp; *tous*”" in post["text"]


async def test_a_name_that_slack_does_not_tell_is_asked_for_unless_slack_shows_it(sandbox: Sandbox, bot: Bot) -> None:
    """C22: in a post that notifies them, Slack itself shows the name."""
    sandbox.acting.escaped = lambda text: text.replace("@ana", "<@U0ANA>").replace("#quiet", "<#C0QUIET>")  # type: ignore[method-assign]
    for line in ('remind "tomorrow 9:00" Voir @ana', 'every "day 9:00" clients Voir @ana', "send clients Voir @ana"):
        assert "Slack does not tell me the name behind @U0ANA" in await say(sandbox, f"/broadcast {line}"), line
    assert "name behind #C0QUIET" in await say(sandbox, "/broadcast send clients Voir #quiet")
    assert "will be posted" in await say(sandbox, '/broadcast remind "tomorrow 9:00" mentions=yes Voir @ana')
    assert "🔔 Voir <#C0QUIET>" in await say(sandbox, '/broadcast remind "tomorrow 9:00" Voir #quiet')


async def test_a_reminder_is_as_long_as_it_is_shown(sandbox: Sandbox, bot: Bot) -> None:
    assert "This one has 3000" in await say(sandbox, f'/broadcast remind "tomorrow 9:00" {"&" * 600}')
    assert "will be posted" in await say(sandbox, f'/broadcast remind "tomorrow 9:00" {"&" * 580}')


async def test_ids_copied_from_the_answers_are_found_by_every_subcommand_that_takes_one(
    sandbox: Sandbox, bot: Bot
) -> None:
    """C31"""
    (id,) = set(ID.findall(await say(sandbox, '/broadcast remind "every monday 9:00" Stand-up')))
    assert "Stand-up" in await say(sandbox, f"/broadcast show `{id}`")
    assert "is paused" in await say(sandbox, f"/broadcast pause *{id}*")
    assert "is paused until" in await say(sandbox, f"/broadcast pause {id.lower()}: until=2027-01-11")
    assert "has resumed" in await say(sandbox, f"/broadcast resume ({id})")
    assert "has ended" in await say(sandbox, f"/broadcast stop `{id}`.")
    assert "There is no reminder or recurring broadcast *BXXXXXXX*" in await say(sandbox, "/broadcast stop `bxxxxxxx`")
