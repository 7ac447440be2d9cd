"""The form while somebody fills it in."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import select

from bot.app import Bot
from bot.domain.clock import SECOND, now
from bot.domain.lifecycle import State
from bot.domain.suggestions import lookalikes, unaccented
from bot.slack import live_form
from bot.storage import tables
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.ground import StartBot, all_of, free_port, newest
from tests.support.patience import nothing_more, until
from tests.support.slack import HERE, ask, becomes, card, filled, open_form, settled, shown, type_in

CURLY = "L’été commence chez Bell : venez découvrir notre nouvelle collection dès demain"  # Unicode, so 2 SMS


def block(sandbox: Sandbox, name: str, user: str = "U0DAN") -> Json:
    found: Json = next(b for b in sandbox.acting.views(user)[-1]["blocks"] if b["block_id"] == name)
    return found


async def test_under_the_text_stands_what_it_would_become(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    await type_in(sandbox, form, filled("newsletter", "Soldes demain"))
    await becomes(sandbox, "up to 100 people (Octopush has not said) × 1 SMS = up to 100 SMS")
    assert "Soldes demain STOP au 30101" in shown(sandbox)
    assert "(GSM-7, 27/160)" in shown(sandbox)


async def test_it_follows_what_is_typed_and_chosen(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    await type_in(sandbox, form, filled("newsletter", "Soldes"))
    await becomes(sandbox, "Soldes STOP au 30101")
    await type_in(sandbox, form, filled("newsletter", "Soldes demain", "transactional"), "purpose")
    await becomes(sandbox, "Reads like an offer")
    assert "STOP au 30101" not in shown(sandbox)
    await type_in(sandbox, form, filled("staff", "Soldes demain", "transactional"), "audience")
    await becomes(sandbox, "13 characters")


async def test_before_there_is_a_text_and_an_audience_it_says_nothing(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    for values in (filled("newsletter", ""), filled("nobody", "Soldes")):
        await type_in(sandbox, form, values)
    await sandbox.until(lambda: [name for name, _ in sandbox.calls].count("views.update") >= 1)
    assert "×" not in shown(sandbox)


async def test_what_is_wrong_stands_there_before_anybody_submits(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    await type_in(sandbox, form, filled("newsletter", "Bonjour {prenom}, c'est demain"))
    await becomes(sandbox, "⛔ Octopush does not fill in “{prenom}”")


async def test_hidden_and_look_alike_letters_are_named_and_never_shown_raw(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    await type_in(sandbox, form, filled("newsletter", "S\u043eldes\u200b demain\u202e"))
    await becomes(sandbox, "Letters that only look like others")
    facts = shown(sandbox).partition("rich_text")[2]
    assert "\u200b" not in facts
    assert "\u202e" not in facts
    assert "Invisible characters" in facts


@pytest.mark.parametrize(
    ("text", "found"),
    [("S\u043eldes", ("\u043e",)), ("\u0391lpha", ("\u0391",)), ("Привет Anna", ()), ("Soldes été", ()), ("Ω 5", ())],
)
def test_a_letter_of_another_alphabet_within_a_word_is_found(text: str, found: tuple[str, ...]) -> None:
    assert lookalikes(text) == found


async def test_one_press_replaces_what_forces_unicode_and_the_field_shows_it(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    await type_in(sandbox, form, filled("newsletter", CURLY))
    await becomes(sandbox, "Use plain characters (1 SMS, not 2)")
    values = filled("newsletter", CURLY)
    await sandbox.acting.act("U0DAN", {"view_id": form["id"]}, "plain", "broadcast.plain", {"type": "button"}, values)
    await becomes(sandbox, '"block_id": "text:1"')
    assert block(sandbox, "text:1")["element"]["initial_value"] == CURLY.replace("’", "'")
    assert "Use plain characters" not in shown(sandbox)
    assert "newsletter" in json.dumps(block(sandbox, "audience"))

    values["text:1"] = {"value": {"type": "plain_text_input", "value": CURLY.replace("’", "'")}}
    del values["text"]
    assert await sandbox.acting.submit("U0DAN", form["id"], values) == {}
    await settled(bot, State.PENDING)
    assert (await newest(bot)).typed == CURLY.replace("’", "'")


async def test_a_group_pays_for_no_sms_so_nothing_is_offered_to_save_one(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    await type_in(sandbox, form, filled("staff", CURLY))
    await becomes(sandbox, "characters")
    assert "Use plain characters" not in shown(sandbox)


async def test_what_stands_in_a_second_input_is_not_lost_when_the_first_one_gets_shorter(
    sandbox: Sandbox, bot: Bot
) -> None:
    form = await open_form(sandbox)
    values = filled("staff", "a" * 2400)
    values["text_rest"] = {"value": {"type": "plain_text_input", "value": "b" * 500}}
    more = {"type": "input", "block_id": "text_rest", "label": {"type": "plain_text", "text": "more"}}
    sandbox.acting.views("U0DAN")[-1]["blocks"].append({**more, "element": {"type": "plain_text_input"}})
    await type_in(sandbox, form, values)
    await becomes(sandbox, '"block_id": "text:1"')
    assert block(sandbox, "text:1")["element"]["initial_value"] == "a" * 2400 + "b" * 500


async def test_what_needs_no_approval_goes_right_away(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    await type_in(sandbox, form, filled("newsletter", "Votre commande est prête", "transactional"))
    await becomes(sandbox, "right away")


async def test_it_asks_for_the_approvals_that_the_broadcast_will_really_need(sandbox: Sandbox, bot: Bot) -> None:
    """A text that reads like an offer, and one that was marketing a moment ago, need one; the card will say so."""
    form = await open_form(sandbox)
    await type_in(sandbox, form, filled("newsletter", "Soldes demain -50 %", "transactional"))
    await becomes(sandbox, "right after approval")
    await type_in(sandbox, form, filled("newsletter", "Votre commande est prête demain", "transactional"))
    await becomes(sandbox, "right away")
    await ask(sandbox, "send newsletter marketing Votre commande est prête lundi")
    await type_in(sandbox, form, filled("newsletter", "Votre commande est prête lundi", "transactional"))
    await becomes(sandbox, "right after approval")


async def test_whoever_may_not_write_to_the_audience_reads_it_while_they_write(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    await start_bot(sandbox, audiences__newsletter__requesters=["U0CLEO"])
    form = await open_form(sandbox)
    await type_in(sandbox, form, filled("newsletter", "Soldes demain"))
    await becomes(sandbox, "⛔ Only <@U0CLEO> can write to *newsletter*.")


async def test_the_cost_is_that_of_the_last_broadcast_to_the_same_people(sandbox: Sandbox, start_bot: StartBot) -> None:
    """`20 people × 2 SMS = 40 SMS · ≈ 5.16 EUR`: no vendor is asked for a quote while somebody types."""
    bot = await start_bot(sandbox, accounts__octo__quote=True)
    await ask(sandbox, "send newsletter marketing Soldes demain")
    await until_quoted(bot)
    quotes = created(sandbox)
    form = await open_form(sandbox)
    await type_in(sandbox, form, filled("newsletter", "Une semaine de soldes. " * 8))
    await becomes(sandbox, "20 people × 2 SMS = 40 SMS · ≈ 5.16 EUR · right after approval")
    await type_in(sandbox, form, filled("newsletter", "Bonjour {first_name}"))
    await becomes(sandbox, "20 people × at least 1 SMS = at least 20 SMS · cost not known")
    await type_in(sandbox, form, filled("vip", "Une semaine de soldes"))
    await becomes(sandbox, "cost not known")
    assert created(sandbox) == quotes


def created(sandbox: Sandbox) -> int:
    """How many campaigns the vendor was asked to create: a quote is one."""
    return sum(seen.path.endswith("/create") for seen in sandbox.vendors.office.requests)


async def until_quoted(bot: Bot) -> None:
    async def quoted() -> str | None:
        row = await newest(bot)
        quoted: str | None = row.quoted
        return quoted

    await until(quoted)


async def test_nothing_is_replaced_without_the_press(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    await type_in(sandbox, form, filled("newsletter", CURLY))
    await becomes(sandbox, "Use plain characters")
    assert await sandbox.acting.submit("U0DAN", form["id"], filled("newsletter", CURLY)) == {}
    assert (await settled(bot, State.PENDING)).typed == CURLY


async def test_fast_typing_takes_few_updates_and_ends_with_what_was_typed_last(
    sandbox: Sandbox, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_form, "PAUSE", 0.2)
    form = await open_form(sandbox)
    for length in range(1, 61):
        await type_in(sandbox, form, filled("newsletter", "x" * length))
    await becomes(sandbox, f"{'x' * 60} STOP au 30101")
    assert [name for name, _ in sandbox.calls].count("views.update") < 40


async def test_a_form_that_was_closed_meanwhile_breaks_nothing(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    values = filled("newsletter", "Soldes")
    await asyncio.gather(type_in(sandbox, form, values), sandbox.acting.close("U0DAN", form["id"]))
    again = await open_form(sandbox)
    await type_in(sandbox, again, values)
    await becomes(sandbox, "Soldes STOP au 30101")


async def test_a_conflict_with_our_own_last_drawing_is_no_reason_to_show_an_old_one(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    await type_in(sandbox, form, filled("newsletter", "Soldes"))
    await becomes(sandbox, "Soldes STOP au 30101")
    sandbox.faults.add("views.update", "error", 1, error="hash_conflict")
    await type_in(sandbox, form, filled("newsletter", "Soldes demain"))
    await becomes(sandbox, "Soldes demain STOP au 30101")


async def test_the_form_works_without_its_facts(sandbox: Sandbox, bot: Bot) -> None:
    """Slack takes no update, and the vendor hangs."""
    sandbox.faults.add("views.update", "error", 100, error="internal_error")
    sandbox.vendors.faults.add("octopush.lists", "slow", 100, seconds=60)
    form = await open_form(sandbox)
    values = filled("newsletter", "Soldes demain")
    await type_in(sandbox, form, values)
    assert await sandbox.acting.submit("U0DAN", form["id"], values) == {}
    assert (await settled(bot, State.PENDING)).typed == "Soldes demain"


# --- audiences by their first letters --------------------------------------------------------------------------------


async def offered(sandbox: Sandbox, typed: str, user: str = "U0DAN") -> list[Any]:
    form = sandbox.acting.views(user)[-1]
    return [option["value"] for option in await sandbox.acting.suggest(user, form["id"], "audience", typed)]


async def test_audiences_are_offered_by_what_was_typed(sandbox: Sandbox, bot: Bot) -> None:
    await open_form(sandbox)
    assert await offered(sandbox, "news") == ["newsletter"]
    assert set(await offered(sandbox, "OCTOPUSH")) == {"newsletter", "team", "vip"}
    assert await offered(sandbox, "no such audience") == []
    assert set(await offered(sandbox, "")) == set(bot.settings.audiences)


async def test_an_audience_is_offered_with_its_size(sandbox: Sandbox, bot: Bot) -> None:
    await bot.home.audiences.audience_cache.refresh()
    await open_form(sandbox)
    form = sandbox.acting.views("U0DAN")[-1]
    (option,) = await sandbox.acting.suggest("U0DAN", form["id"], "audience", "clients")
    assert option["text"]["text"].endswith("· 2 people")


async def test_a_field_of_no_form_of_ours_is_offered_nothing(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    sandbox.acting.views("U0DAN")[-1]["callback_id"] = "somebody_elses"
    assert await sandbox.acting.suggest("U0DAN", form["id"], "audience", "") == []


# --- what was typed is not lost --------------------------------------------------------------------------------------


async def typed_and_left(sandbox: Sandbox, text: str = "Soldes demain") -> Json:
    """Type in a form, and close it without submitting."""
    form = await open_form(sandbox)
    await type_in(sandbox, form, filled("newsletter", text, sender="Bell"))
    await becomes(sandbox, text)
    await sandbox.acting.close("U0DAN", form["id"])
    return form


async def test_what_was_typed_and_not_sent_is_there_when_the_form_is_opened_again(sandbox: Sandbox, bot: Bot) -> None:
    await typed_and_left(sandbox)
    await open_form(sandbox)
    assert block(sandbox, "text")["element"]["initial_value"] == "Soldes demain"
    assert block(sandbox, "audience")["element"]["initial_option"]["value"] == "newsletter"
    assert block(sandbox, "sender")["element"]["initial_value"] == "Bell"
    assert "You typed this" in shown(sandbox)
    assert sandbox.acting.views("U0CLEO") == []
    await open_form(sandbox, "U0CLEO")
    assert "Soldes demain" not in shown(sandbox, "U0CLEO")


async def test_it_survives_a_restart(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox)
    await typed_and_left(sandbox)
    await bot.stop()
    again = Bot(bot.settings, bot.clock, patience=bot.patience)
    await again.start("127.0.0.1", free_port())
    try:
        await sandbox.until(lambda: sandbox.delivery.connected)
        await open_form(sandbox)
        assert block(sandbox, "text")["element"]["initial_value"] == "Soldes demain"
    finally:
        await again.stop()


async def test_what_was_sent_is_not_offered_again(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    values = filled("newsletter", "Soldes demain")
    await type_in(sandbox, form, values)
    await becomes(sandbox, "Soldes demain STOP")
    await type_in(sandbox, form, values)
    assert await sandbox.acting.submit("U0DAN", form["id"], values) == {}
    await settled(bot, State.PENDING)
    await nothing_more(bot)
    await open_form(sandbox)
    assert "Soldes demain" not in shown(sandbox)


async def test_one_press_starts_anew(sandbox: Sandbox, bot: Bot) -> None:
    await typed_and_left(sandbox)
    form = await open_form(sandbox)
    values = filled("newsletter", "Soldes demain")
    await sandbox.acting.act("U0DAN", {"view_id": form["id"]}, "kept", "broadcast.clear", {"type": "button"}, values)
    await becomes(sandbox, '"block_id": "text:1"')
    assert "initial_value" not in block(sandbox, "text:1")["element"]
    await sandbox.acting.close("U0DAN", form["id"])
    await open_form(sandbox)
    assert "You typed this" not in shown(sandbox)


async def test_accents_are_dropped_only_by_a_press_of_its_own(sandbox: Sandbox, bot: Bot) -> None:
    """They change how words read, so they are apart from what is replaced safely."""
    form, text = await open_form(sandbox), f"{CURLY.replace('Bell', 'la forêt')}, maître"
    await type_in(sandbox, form, filled("newsletter", text))
    await becomes(sandbox, "Drop accents: ê î (1 SMS, not 2)")
    assert "Use plain characters" not in shown(sandbox)  # that alone would save nothing
    press = ("plain", "broadcast.unaccented", {"type": "button"})
    await sandbox.acting.act("U0DAN", {"view_id": form["id"]}, *press, filled("newsletter", text))
    await becomes(sandbox, '"block_id": "text:1"')
    said = block(sandbox, "text:1")["element"]["initial_value"]
    assert said == text.replace("’", "'").replace("ê", "e").replace("î", "i")
    assert "découvrir" in said  # an accent that a plain SMS can carry stays


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("cœur", "coeur"),
        ("ŒUVRE", "OEUVRE"),
        ("forêt", "foret"),
        ("été", "été"),
        ("ñandú", "ñandu"),
        ("Ж", "Ж"),
        ("😀", "😀"),
    ],
)
def test_a_letter_loses_only_the_accent_that_no_plain_sms_can_carry(text: str, plain: str) -> None:
    assert unaccented(text) == plain


async def test_a_form_that_opens_filled_in_shows_at_once_what_it_would_become(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send newsletter marketing Soldes demain", user="U0DAN")
    row = await settled(bot, State.PENDING)
    await ask(sandbox, f"edit {row.id}", user="U0DAN")
    assert "up to 100 people (Octopush has not said) × 1 SMS = up to 100 SMS" in shown(sandbox)
    assert "Soldes demain STOP au 30101" in shown(sandbox)


async def edit_form(sandbox: Sandbox, id: str, user: str = "U0DAN") -> Json:
    await ask(sandbox, f"edit {id}", user=user)
    return sandbox.acting.views(user)[-1]


async def test_what_was_typed_in_an_edit_is_there_when_it_is_opened_again(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send newsletter marketing Soldes demain", user="U0DAN")
    row = await settled(bot, State.PENDING)
    form = await edit_form(sandbox, row.id)
    await type_in(sandbox, form, filled("vip", "Soldes après-demain", sender="Bell"))
    await becomes(sandbox, "Soldes après-demain STOP")
    await sandbox.acting.close("U0DAN", form["id"])

    await edit_form(sandbox, row.id)
    assert "You typed this" in shown(sandbox)
    assert block(sandbox, "text")["element"]["initial_value"] == "Soldes après-demain"
    assert block(sandbox, "audience")["element"]["initial_option"]["value"] == "vip"
    await open_form(sandbox)
    assert "après-demain" not in shown(sandbox)
    form = await edit_form(sandbox, row.id, "U0ANA")
    assert "après-demain" not in shown(sandbox, "U0ANA")
    values = filled("newsletter", "Soldes lundi")
    assert await sandbox.acting.submit("U0ANA", form["id"], values) == {}
    await edit_form(sandbox, row.id)
    assert "for an earlier version, and have not saved it" in shown(sandbox)
    assert block(sandbox, "text")["element"]["initial_value"] == "Soldes après-demain"


async def test_starting_anew_gives_an_edit_all_that_the_broadcast_says(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send newsletter marketing Soldes demain", user="U0DAN")
    row = await settled(bot, State.PENDING)
    form = await edit_form(sandbox, row.id)
    values = filled("vip", "Soldes après-demain", sender="Shop")
    await type_in(sandbox, form, values)
    await becomes(sandbox, "Soldes après-demain STOP")
    await sandbox.acting.close("U0DAN", form["id"])
    form = await edit_form(sandbox, row.id)
    await sandbox.acting.act("U0DAN", {"view_id": form["id"]}, "kept", "broadcast.clear", {"type": "button"}, values)
    await becomes(sandbox, '"block_id": "text:1"')
    assert block(sandbox, "text:1")["element"]["initial_value"] == "Soldes demain"
    assert block(sandbox, "audience:1")["element"]["initial_option"]["value"] == "newsletter"
    assert "initial_value" not in block(sandbox, "sender:1")["element"]
    await sandbox.acting.close("U0DAN", form["id"])
    await edit_form(sandbox, row.id)
    assert "You typed this" not in shown(sandbox)


async def test_what_was_typed_in_a_draft_is_kept_until_it_is_submitted(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send newsletter transactional Hello at=9h", user="U0DAN")  # asked about, so kept as a draft
    row = await settled(bot, State.DRAFT)
    form = await edit_form(sandbox, row.id)
    await type_in(sandbox, form, filled("newsletter", "Hello", "transactional"))
    await becomes(sandbox, "5/160")
    await sandbox.acting.close("U0DAN", form["id"])
    form = await edit_form(sandbox, row.id)
    assert block(sandbox, "text")["element"]["initial_value"] == "Hello"
    assert await sandbox.acting.submit("U0DAN", form["id"], filled("newsletter", "Hello", "transactional")) == {}
    assert (await settled(bot, State.SENT)).id == row.id


async def test_a_changed_sender_is_kept_by_itself(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    await type_in(sandbox, form, filled("newsletter", "Soldes demain", sender="Shop"), "sender")
    await becomes(sandbox, "Soldes demain STOP")
    await sandbox.acting.close("U0DAN", form["id"])
    await open_form(sandbox)
    assert block(sandbox, "sender")["element"]["initial_value"] == "Shop"


def ticked(values: Json, id: str) -> Json:
    """The same with the box ticked that says that it goes out as well as that one."""
    box = {"text": {"type": "plain_text", "text": "Send it as well"}, "value": id}
    return values | {f"also:{id}": {"value": {"type": "checkboxes", "selected_options": [box]}}}


async def test_what_may_be_a_duplicate_has_a_box_to_tick_and_goes_only_with_it(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send newsletter marketing Soldes demain au magasin")
    first = await settled(bot, State.PENDING)
    form, values = await open_form(sandbox), filled("newsletter", "Soldes demain au magazin")
    await type_in(sandbox, form, values)
    await becomes(sandbox, f"Nearly the same as {first.id}")
    errors = await sandbox.acting.submit("U0DAN", form["id"], values)
    assert "which @U0CLEO asked for" in errors[f"also:{first.id}"]
    form = await open_form(sandbox)
    await becomes(sandbox, f"Nearly the same as {first.id}")
    assert await sandbox.acting.submit("U0DAN", form["id"], ticked(values, first.id)) == {}
    assert (await settled(bot, State.PENDING)).requester == "U0DAN"


async def test_the_box_of_another_broadcast_confirms_nothing(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send newsletter marketing Soldes demain au magasin")
    form, values = await open_form(sandbox), filled("newsletter", "Soldes demain au magazin")
    errors = await sandbox.acting.submit("U0DAN", form["id"], ticked(values, "B2345678"))
    assert "Send it as well?" in str(errors)
    assert len(await all_of(bot)) == 1


async def test_neither_an_edit_nor_a_follow_up_is_a_duplicate_of_its_own_broadcast(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send newsletter marketing Soldes demain au magasin", user="U0DAN")
    row = await settled(bot, State.PENDING)
    form = await edit_form(sandbox, row.id)
    await type_in(sandbox, form, filled("newsletter", "Soldes demain au magazin"))
    await becomes(sandbox, "magazin STOP")
    assert "Nearly the same" not in shown(sandbox)
    await sandbox.acting.close("U0DAN", form["id"])
    posted = await card(sandbox)
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    await settled(bot, State.SENT)
    await sandbox.vendors.deliver("octopush", sandbox.vendors.ledger[0].ids[0], "DELIVERED")
    await settled(bot, State.DONE)
    await sandbox.until(lambda: "broadcast.follow_up" in str(sandbox.acting.messages(HERE)[0]["blocks"]))
    await sandbox.acting.click("U0DAN", HERE, posted["ts"], "broadcast.follow_up")
    await becomes(sandbox, "Soldes demain au magasin STOP")
    assert "Nearly the same" not in shown(sandbox)


async def test_a_form_opens_although_slack_does_not_tell_who_is_in_a_group(sandbox: Sandbox, bot: Bot) -> None:
    """Approvers are named by a group, and what was typed was kept."""
    await typed_and_left(sandbox)
    bot.people.forget()
    sandbox.faults.add("usergroups.users.list", "error", times=9, error="internal_error")
    form = await open_form(sandbox)
    assert "right after approval" in shown(sandbox)
    await type_in(sandbox, form, filled("newsletter", CURLY))
    await becomes(sandbox, "Use plain characters (1 SMS, not 2)")


async def test_a_draft_that_nobody_was_asked_about_needs_no_approval_for_what_it_was(
    sandbox: Sandbox, bot: Bot
) -> None:
    await ask(sandbox, "send newsletter transactional Soldes demain -50 %", user="U0DAN", channel="C0QUIET")
    row = await settled(bot, State.DRAFT)
    form, values = await edit_form(sandbox, row.id), filled("newsletter", "Votre commande est prête", "transactional")
    await type_in(sandbox, form, values)
    await becomes(sandbox, "right away")
    assert await sandbox.acting.submit("U0DAN", form["id"], values) == {}
    assert (await settled(bot, State.SENT)).quorum == 0


async def test_an_edit_by_somebody_who_may_not_ask_for_it_needs_approval_in_the_form_too(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    bot = await start_bot(sandbox, audiences__newsletter__requesters=["U0CLEO"], approval__undo="1h")
    await ask(sandbox, "send newsletter transactional Votre commande est prête")
    row = await settled(bot, State.SCHEDULED)
    form, values = (
        await edit_form(sandbox, row.id, "U0ANA"),
        filled("newsletter", "Votre colis est prêt", "transactional"),
    )
    await type_in(sandbox, form, values, user="U0ANA")
    await becomes(sandbox, "Votre colis est prêt", "U0ANA")
    await becomes(sandbox, "right after approval", "U0ANA")
    assert await sandbox.acting.submit("U0ANA", form["id"], values) == {}
    assert (await settled(bot, State.PENDING)).quorum == 1


async def test_all_that_is_wrong_stands_there_before_anybody_submits(sandbox: Sandbox, bot: Bot) -> None:
    form = await open_form(sandbox)
    await type_in(sandbox, form, filled("clients", "Soldes demain", sender="Bell", send_at=1000))
    await becomes(sandbox, "⛔ Encom does not accept a sender ID")
    assert "⛔ That time has passed" in shown(sandbox)


async def test_the_price_of_a_rehearsal_is_none(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox, accounts__octo__quote=True)
    await ask(sandbox, "send newsletter marketing Soldes demain")
    await until_quoted(bot)
    row = await newest(bot)
    rehearsed = tables.broadcasts.update().where(tables.broadcasts.c.id == row.id).values(mode="training")
    await bot.database.write(lambda c: c.execute(rehearsed) and None)
    form = await open_form(sandbox)
    await type_in(sandbox, form, filled("newsletter", "Une semaine de soldes"))
    await becomes(sandbox, "cost not known")


async def test_what_was_typed_and_never_sent_is_forgotten_after_a_week(sandbox: Sandbox, start_bot: StartBot) -> None:
    lead = 0
    bot = await start_bot(sandbox, lambda: now() + lead)
    await typed_and_left(sandbox)
    lead = 8 * 24 * 3600 * SECOND
    await ask(sandbox, 'send newsletter at="in 30 days" Soldes')
    await bot.database.write(bot.workflow.expiry._expire)
    names = await bot.database.read(lambda c: c.execute(select(tables.kept.c.name)).scalars().all())
    assert [name for name in names if name.startswith("form:")] == []


async def test_the_word_that_it_was_typed_for_an_earlier_version_stays_until_it_is_given_up(
    sandbox: Sandbox, bot: Bot
) -> None:
    await ask(sandbox, "send newsletter marketing Soldes demain", user="U0DAN")
    row = await settled(bot, State.PENDING)
    form = await edit_form(sandbox, row.id)
    await type_in(sandbox, form, filled("newsletter", "Soldes après-demain"))
    await becomes(sandbox, "Soldes après-demain STOP")
    await sandbox.acting.close("U0DAN", form["id"])
    form = await edit_form(sandbox, row.id, "U0ANA")
    assert await sandbox.acting.submit("U0ANA", form["id"], filled("newsletter", "Soldes lundi")) == {}
    earlier = "for an earlier version"
    for text in ("Soldes mardi", "Soldes mercredi"):
        form = await edit_form(sandbox, row.id)
        assert earlier in shown(sandbox)
        await type_in(sandbox, form, filled("newsletter", text))
        await becomes(sandbox, f"{text} STOP")
        assert earlier in shown(sandbox)
        await sandbox.acting.close("U0DAN", form["id"])
    form = await edit_form(sandbox, row.id)
    press = ("kept", "broadcast.clear", {"type": "button"}, filled("newsletter", "Soldes mercredi"))
    await sandbox.acting.act("U0DAN", {"view_id": form["id"]}, *press)
    await becomes(sandbox, '"initial_value": "Soldes lundi"')
    assert earlier not in shown(sandbox)


async def test_a_box_that_is_no_longer_ticked_confirms_nothing(sandbox: Sandbox, bot: Bot) -> None:
    """The answer to another question about the same words is none to this one."""
    text = "Soldes demain au magasin, venez nombreux avec vos amis et vos voisins"
    await ask(sandbox, f"send newsletter marketing {text}")
    first = await settled(bot, State.PENDING)
    form, values = await open_form(sandbox), filled("newsletter", f"{text} at=demain")
    await type_in(sandbox, form, values)
    await becomes(sandbox, f"Nearly the same as {first.id}")
    errors = await sandbox.acting.submit("U0DAN", form["id"], ticked(values, first.id))
    assert "looks like the option" in str(errors)
    assert "Send it as well?" in str(await sandbox.acting.submit("U0DAN", form["id"], values))
    assert len(await all_of(bot)) == 1
