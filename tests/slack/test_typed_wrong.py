"""What is typed wrong is answered with the fix, and what is typed right is shown whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bot.app import Bot
from bot.domain.lifecycle import State
from bot.slack.blocks.mrkdwn import quote
from bot.storage import audit
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.ground import StartBot, all_of, newest
from tests.support.patience import until
from tests.support.slack import (
    HERE,
    approved,
    ask,
    becomes,
    card,
    filled,
    open_form,
    settled,
    shown,
    thread_text,
    type_in,
)

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
    "send staff " + "x" * 40_000: ("40000 characters, but the vendor takes at most 4000", "xxx"),
    "send newsletter " + "é" * 40_000: ("the vendor takes at most 1224", "ééé"),
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
    (row,) = await bot.database.read(lambda c: list(audit.audit_since(c, 0)))
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


FORGED = "<!channel> <@U0ZOE> <https://evil.example|Approve> *b* _i_ ~s~ `c`"


def markup(sandbox: Sandbox) -> str:
    """Everything that the bot posted and that Slack reads as markup: all of it but rich text and plain text."""

    def texts(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if value.get("type") in ("rich_text", "plain_text"):
                return
            yield from (str(value["text"]),) if isinstance(value.get("text"), str) else ()
        for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from texts(one)

    whispered = [one for each in sandbox.world.ephemerals.values() for one in each]
    return "\n".join(texts([[place.messages for place in sandbox.world.channels.values()], whispered]))


async def test_in_a_text_a_campaign_a_reminder_or_a_reason_it_notifies_nobody_and_forges_no_link(
    sandbox: Sandbox, bot: Bot
) -> None:
    sandbox.acting.escaped = quote  # type: ignore[assignment, method-assign]
    await ask(sandbox, f'send clients marketing campaign="{FORGED}" {FORGED}')
    row = await newest(bot)
    assert (row.campaign, row.typed) == (FORGED, FORGED)
    await ask(sandbox, f"send {FORGED}")
    await ask(sandbox, FORGED)
    await ask(sandbox, f'remind "in 2 hours" {FORGED}')
    await ask(sandbox, f"template save news newsletter marketing {FORGED}")
    await ask(sandbox, "template list")
    await ask(sandbox, f"template use {FORGED}")
    await ask(sandbox, "list")
    await ask(sandbox, "reminders")
    posted = await card(sandbox)
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.reject")
    (form,) = sandbox.acting.views("U0ANA")
    await sandbox.acting.submit("U0ANA", form["id"], {"reason": {"value": {"value": FORGED}}})
    await sandbox.until(lambda: "&lt;!channel&gt;" in thread_text(sandbox, posted["ts"]))
    shown = markup(sandbox)
    assert shown.count("&lt;https://evil.example|Approve&gt;") > 5
    for forged in ("<!channel>", "<@U0ZOE>", "<https://evil"):
        assert forged not in shown


@pytest.mark.parametrize("typed", ["Tom & Ben <3", "R&amp;D &lt;b&gt; &#39;"])
async def test_what_slack_encodes_is_on_the_phone_as_typed_and_in_slack_encoded_once(
    sandbox: Sandbox, bot: Bot, typed: str
) -> None:
    posted = await approved(sandbox, f"send clients marketing {typed}")
    await settled(bot, State.SENT)
    assert [sent.text for sent in sandbox.vendors.ledger] == [f"{typed} STOP AU 36111"]
    assert quote(typed) in posted["text"]
    assert f'"text": "{typed} STOP' in json.dumps(posted["blocks"])  # in rich text nothing is encoded


TYPOGRAPHY = "C’est l’été… “Soldes” chez\u00a0Bell : venez découvrir notre nouvelle collection dès demain"


async def test_what_a_keyboard_makes_of_a_text_is_counted_on_the_card_and_goes_out_as_it_is(
    sandbox: Sandbox, bot: Bot
) -> None:
    posted = await approved(sandbox, f"send newsletter transactional {TYPOGRAPHY}")
    shown = json.dumps(posted["blocks"], ensure_ascii=False)
    assert "× 2 SMS" in shown
    for named in ("’", "…", "“", "no-break space"):
        assert named in shown.partition("Unicode")[2]
    await settled(bot, State.SENT)
    assert [sent.text for sent in sandbox.vendors.ledger] == [TYPOGRAPHY]


async def test_a_mention_that_takes_one_more_part_is_counted_and_shown(sandbox: Sandbox, bot: Bot) -> None:
    text = "Ouvert lundi" + "a" * 140  # 152 of 160
    shown = []
    for number, request in enumerate(("newsletter transactional", "vip marketing")):
        await ask(sandbox, f"send {request} {text}")
        shown.append(json.dumps((await card(sandbox, number))["blocks"], ensure_ascii=False))
    alone, longer = shown
    assert ("× 1 SMS" in alone, "152/160" in alone, "STOP" in alone) == (True, True, False)
    assert ("× 2 SMS" in longer, "STOP au 30101" in longer) == (True, True)


METACHARACTERS = "'; DROP TABLE broadcasts;-- ../../etc/passwd %s %%d {} {0.__class__} ${HOME} `id` $(id) \\x00 | ? * %"


@pytest.mark.long
async def test_what_means_something_elsewhere_means_nothing_here(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    values = filled("staff", METACHARACTERS)
    assert "looks like a placeholder" in str(await sandbox.acting.submit("U0DAN", form["id"], values))
    assert await sandbox.acting.submit("U0DAN", form["id"], values) == {}
    posted = await card(sandbox)
    assert json.dumps({"type": "text", "text": METACHARACTERS}) in json.dumps(posted["blocks"])
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    row = await settled(bot, State.SENT)
    assert [sent.text for sent in sandbox.vendors.ledger] == [METACHARACTERS]
    for line in (f"show {METACHARACTERS}", f"send {METACHARACTERS}", f"template show {METACHARACTERS}"):
        assert "Something went wrong" not in await ask(sandbox, line), line
    assert [one.id for one in await all_of(bot)] == [row.id]


async def test_a_draft_whose_form_came_too_late_is_still_there(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients marketing Soldes demain", user="U0DAN", channel="C0QUIET")
    draft = sandbox.acting.ephemerals("U0DAN")[-1]
    sandbox.faults.add("views.open", "error", error="expired_trigger_id")
    await sandbox.acting.click("U0DAN", "C0QUIET", draft["ts"], "broadcast.edit")
    told = sandbox.acting.messages(sandbox.world.direct("U0DAN").id)[-1]  # the bot is not in the channel
    assert "Slack took too long to open the form. Please press again." in told["text"]
    assert sandbox.acting.views("U0DAN") == []
    assert (await newest(bot)).state is State.DRAFT
    await sandbox.acting.click("U0DAN", "C0QUIET", draft["ts"], "broadcast.edit")
    (form,) = sandbox.acting.views("U0DAN")
    assert "Soldes demain" in str(form["blocks"])


async def test_audiences_are_shown_with_their_sizes_and_what_else_the_vendors_have(sandbox: Sandbox, bot: Bot) -> None:
    await bot.home.audiences.audience_cache.refresh()

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


async def test_a_command_that_was_refused_is_corrected_in_the_form(sandbox: Sandbox, bot: Bot) -> None:
    """Everything that was understood is filled in; nothing has to be typed again."""
    told = await ask(sandbox, 'send clients marketing at="tomorrow 9:00" sender=Bell Soldes {prenom}')
    assert "does not accept a sender ID" in told
    answer = sandbox.acting.ephemerals("U0CLEO")[-1]
    await sandbox.acting.click("U0CLEO", HERE, answer["ts"], "broadcast.correct")
    (form,) = sandbox.acting.views("U0CLEO")
    shown = {block["block_id"]: block["element"] for block in form["blocks"] if block["type"] == "input"}
    assert shown["audience"]["initial_option"]["value"] == "clients"
    assert shown["text"]["initial_value"] == "Soldes {prenom}"
    assert shown["sender"]["initial_value"] == "Bell"
    assert "initial_date_time" in shown["send_at"]
    assert await sandbox.acting.submit("U0CLEO", form["id"], filled("clients", "Soldes demain")) == {}
    await settled(bot, State.PENDING)


async def test_the_form_to_correct_a_command_says_what_could_not_be_taken_over(sandbox: Sandbox, bot: Bot) -> None:
    """Its time was not understood, and without one it would go right after approval."""
    await ask(sandbox, "send clients marketing at=someday Soldes demain")
    answer = sandbox.acting.ephemerals("U0CLEO")[-1]
    await sandbox.acting.click("U0CLEO", HERE, answer["ts"], "broadcast.correct")
    (form,) = sandbox.acting.views("U0CLEO")
    told = [block["text"]["text"] for block in form["blocks"] if block["type"] == "section"]
    assert told[0].startswith("⛔ I do not understand that time.")


async def test_a_refused_command_that_is_too_long_for_a_button_opens_the_form_too(sandbox: Sandbox, bot: Bot) -> None:
    text = ("Bonjour à tous, " * 200).strip()
    await ask(sandbox, f"send nobody marketing {text}")
    answer = sandbox.acting.ephemerals("U0CLEO")[-1]
    assert str(answer["blocks"]).count("Bonjour à tous") >= 199  # one is cut between two blocks
    await sandbox.acting.click("U0CLEO", HERE, answer["ts"], "broadcast.correct_kept")
    (form,) = sandbox.acting.views("U0CLEO")
    pieces = [block["element"].get("initial_value", "") for block in form["blocks"] if "text" in block["block_id"]]
    assert "".join(pieces) == text


async def test_a_long_refused_command_of_last_week_is_to_be_copied(
    sandbox: Sandbox, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(sandbox, f"send nobody marketing {'Bonjour à tous, ' * 200}")
    answer = sandbox.acting.ephemerals("U0CLEO")[-1]
    monkeypatch.setattr("bot.storage.keys.FORM_KEPT", 0)
    await sandbox.acting.click("U0CLEO", HERE, answer["ts"], "broadcast.correct_kept")
    await sandbox.until(lambda: "I no longer have your text." in str(sandbox.acting.ephemerals("U0CLEO")))
    assert sandbox.acting.views("U0CLEO") == []


async def correct(sandbox: Sandbox, line: str, button: str = "broadcast.correct", user: str = "U0DAN") -> Json:
    """Type what is refused, and press the button under the answer."""
    await ask(sandbox, line, user=user)
    answer = sandbox.acting.ephemerals(user)[-1]
    await sandbox.acting.click(user, HERE, answer["ts"], button)
    return sandbox.acting.views(user)[-1]


async def test_a_canary_that_does_not_exist_is_complained_about_in_the_form(sandbox: Sandbox, bot: Bot) -> None:
    await correct(sandbox, "send newsletter marketing canary=nope Soldes")
    assert "⛔ There is no audience “nope”" in shown(sandbox)


async def test_a_canary_in_capitals_is_the_same_in_the_form(sandbox: Sandbox, bot: Bot) -> None:
    await correct(sandbox, "send newsletter marketing canary=TEAM Soldes {prenom}")
    assert "first to team" in shown(sandbox)


async def test_the_form_says_at_once_all_that_was_refused(sandbox: Sandbox, bot: Bot) -> None:
    await correct(sandbox, "send clients marketing sender=Bell Soldes")
    assert "⛔ Encom does not accept a sender ID" in shown(sandbox)


async def test_whoever_may_not_write_to_it_chooses_another_audience_in_the_form(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    await start_bot(sandbox, audiences__newsletter__requesters=["U0CLEO"])
    form = await correct(sandbox, "send newsletter marketing Soldes demain")
    assert await sandbox.acting.submit("U0DAN", form["id"], filled("vip", "Soldes demain")) == {}


async def test_a_misspelt_verb_is_corrected_in_the_form_too(sandbox: Sandbox, bot: Bot) -> None:
    await correct(sandbox, "sned newsletter marketing Soldes demain")
    assert "Soldes demain STOP au 30101" in shown(sandbox)


async def test_a_guest_is_offered_no_form(sandbox: Sandbox, bot: Bot) -> None:
    assert "Only full members" in await ask(sandbox, "send newsletter marketing Soldes", user="U0GUS")
    assert "broadcast.correct" not in str(sandbox.acting.ephemerals("U0GUS")[-1])


async def test_each_long_refused_command_opens_with_its_own_text(sandbox: Sandbox, bot: Bot) -> None:
    answers = []
    for word in ("Premier", "Second"):
        await ask(sandbox, f"send nobody marketing {f'{word} texte, ' * 200}", user="U0DAN")
        answers.append(sandbox.acting.ephemerals("U0DAN")[-1])
    for answer, word in zip(answers, ("Premier", "Second"), strict=True):
        await sandbox.acting.click("U0DAN", HERE, answer["ts"], "broadcast.correct_kept")
        assert f"{word} texte" in shown(sandbox)


async def test_what_is_typed_in_a_correction_takes_nothing_from_what_was_typed_before(
    sandbox: Sandbox, bot: Bot
) -> None:
    form = await open_form(sandbox)
    await type_in(sandbox, form, filled("newsletter", "Texte précieux"))
    await becomes(sandbox, "Texte précieux STOP")
    await sandbox.acting.close("U0DAN", form["id"])
    form = await correct(sandbox, "test newsletter Essai {prenom}", "broadcast.correct_test")
    await type_in(sandbox, form, filled("newsletter", "Essai Paris"))
    await becomes(sandbox, "Essai Paris STOP")
    await sandbox.acting.close("U0DAN", form["id"])
    form = await correct(sandbox, "test newsletter Essai {prenom}", "broadcast.correct_test")
    assert form["title"]["text"] == "New test"
    assert "Essai Paris" in shown(sandbox)
    assert await sandbox.acting.submit("U0DAN", form["id"], filled("newsletter", "Essai Paris")) == {}
    await open_form(sandbox)
    assert "Texte précieux" in shown(sandbox)


async def test_a_refused_test_is_corrected_in_the_form_of_a_test(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "test newsletter marketing Soldes {prenom}", user="U0DAN")
    answer = sandbox.acting.ephemerals("U0DAN")[-1]
    await sandbox.acting.click("U0DAN", HERE, answer["ts"], "broadcast.correct_test")
    (form,) = sandbox.acting.views("U0DAN")
    assert form["title"]["text"] == "New test"
    assert "up to 20 people" in str(form["blocks"])
    assert await sandbox.acting.submit("U0DAN", form["id"], filled("newsletter", "Soldes demain")) == {}
    await settled(bot, State.SENT)
    assert [sent.audience for sent in sandbox.vendors.ledger] == ["list team"]
