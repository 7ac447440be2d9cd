"""The main story, end to end: somebody asks, somebody else approves, the vendor's ids and the status come back."""

from __future__ import annotations

import os
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, ConsoleMessage, Locator, Page
from playwright.async_api import TimeoutError as TookTooLong

from bot.app import Bot
from bot.domain.i18n import LANGUAGES, Translator, translator_for
from bot.domain.lifecycle import State
from sandbox.server import Sandbox
from tests.support.ground import StartBot, newest, some_later
from tests.support.patience import A_WHILE
from tests.support.slack import HERE, ask, card, thread_text

DOCS = Path(__file__).parent.parent / "docs"
SCREENSHOT, CARD, FORM = DOCS / "page.png", DOCS / "card.png", DOCS / "form.png"
DIFF, COUNTDOWN, CANARY = DOCS / "diff.png", DOCS / "countdown.png", DOCS / "canary.png"


STORIES = {
    "encom": ("clients", "Soldes demain STOP AU 36111", "22, 23"),
    "octopush": ("newsletter", "Soldes demain STOP au 30101", "sms_"),
    "octopush-tag": ("vip", "Soldes demain STOP au 30101", "sms_"),
    "kaizala": ("staff", "Soldes demain", "accepted it"),
}


async def tell_story(sandbox: Sandbox, vendor: str) -> None:
    audience, text, ids = STORIES[vendor]
    await sandbox.acting.command("U0CLEO", HERE, f"/broadcast send {audience} marketing Soldes demain")
    posted = await card(sandbox)
    assert sandbox.vendors.ledger == []

    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    await sandbox.until(lambda: ids in thread_text(sandbox, posted["ts"]))

    (accepted,) = sandbox.vendors.ledger
    assert accepted.text == text
    assert accepted.vendor == vendor.removesuffix("-tag")
    assert all(id in thread_text(sandbox, posted["ts"]) for id in accepted.ids)


@pytest.mark.parametrize("vendor", some_later(STORIES, of=4))
async def test_the_story_over_socket_mode_ends_with_one_send(sandbox: Sandbox, bot: Bot, vendor: str) -> None:
    await tell_story(sandbox, vendor)


@pytest.mark.parametrize("vendor", some_later(STORIES, of=4))
async def test_the_story_over_signed_http_ends_with_one_send(
    http_sandbox: Sandbox, start_bot: StartBot, vendor: str
) -> None:
    await start_bot(http_sandbox)
    await tell_story(http_sandbox, vendor)


@pytest.mark.long
async def test_a_reaction_approves_and_the_status_follows_in_the_thread(sandbox: Sandbox, bot: Bot) -> None:
    await sandbox.acting.command("U0CLEO", HERE, "/broadcast send clients marketing Soldes demain")
    posted = await card(sandbox)
    await sandbox.acting.react("U0BEN", HERE, posted["ts"], "+1::skin-tone-3")
    await sandbox.until(lambda: "22, 23" in thread_text(sandbox, posted["ts"]))

    await sandbox.vendors.deliver("encom", "22", "OK")

    await sandbox.until(lambda: "2 of 2 sent" in thread_text(sandbox, posted["ts"]))


@pytest.mark.long
async def test_octopush_tells_who_got_it_and_the_broadcast_is_done(sandbox: Sandbox, bot: Bot) -> None:
    await sandbox.acting.command("U0CLEO", HERE, "/broadcast send newsletter marketing Soldes demain")
    posted = await card(sandbox)
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    await sandbox.until(lambda: sandbox.vendors.ledger)

    await sandbox.vendors.deliver("octopush", sandbox.vendors.ledger[0].ids[0], "DELIVERED")

    await sandbox.until(lambda: "Final report: delivered to 20 of 20 in " in thread_text(sandbox, posted["ts"]))


# --- in a real browser -----------------------------------------------------------------------------------------------


async def open_page(browser: Browser, sandbox: Sandbox, me: str, said: list[str]) -> Page:
    page = await browser.new_page(viewport={"width": 1480, "height": 940})

    def hear(message: ConsoleMessage) -> None:
        said.append(message.text)

    page.on("console", hear)
    page.on("pageerror", lambda error: said.append(str(error)))
    await page.goto(f"{sandbox.url}/?me={me}")
    return page


async def test_the_whole_story_in_a_real_browser(browser: Browser, sandbox: Sandbox, bot: Bot) -> None:
    said: list[str] = []
    cleo = await open_page(browser, sandbox, "U0CLEO", said)
    await cleo.get_by_test_id("composer").fill("/broadcast send clients marketing Soldes demain")
    await cleo.keyboard.press("Enter")
    await cleo.get_by_test_id("ephemeral").get_by_text("is waiting for approval").wait_for()

    ana = await open_page(browser, sandbox, "U0ANA", said)
    await ana.locator("[data-action-id='broadcast.approve']").click()
    await ana.get_by_test_id("confirm-yes").click()
    await cleo.get_by_test_id("replies").click()
    await cleo.get_by_test_id("thread").get_by_text("Ids: 22, 23").last.wait_for()

    await cleo.locator("[data-deliver='OK']").click()
    await cleo.get_by_test_id("thread").get_by_text("2 of 2 sent").last.wait_for()
    await cleo.get_by_test_id("message").get_by_text("Sent ·").first.wait_for()
    if os.environ.get("BELLCRIER_SCREENSHOT"):
        await cleo.screenshot(path=SCREENSHOT)
    assert len(sandbox.vendors.ledger) == 1
    assert said == []


@pytest.mark.long
async def test_the_first_screen_of_a_card_shows_what_rings_on_how_many_phones_at_what_cost_and_when(
    browser: Browser, sandbox: Sandbox, start_bot: StartBot
) -> None:
    """The card as 600 by 400 pixels show it."""
    await start_bot(sandbox, accounts__octo__quote=True)
    page = await open_page(browser, sandbox, "U0ANA", [])
    text = "Soldes d'hiver chez Bell : -30 % sur tout le magasin, demain de 9 h à 19 h. Présentez ce SMS en caisse."
    await ask(sandbox, f"send newsletter marketing {text}")
    shown = page.get_by_test_id("message").last
    stakes = shown.get_by_text("20 people × 1 SMS = 20 SMS · ≈ 2.58 EUR · right after approval")
    await stakes.wait_for()
    await shown.evaluate("card => { card.style.width = '600px'; card.scrollIntoView(); }")
    card_box = await shown.bounding_box()
    assert card_box is not None
    for part in (
        shown.get_by_text("Approve? · SMS to newsletter"),
        stakes,
        shown.get_by_text("Présentez ce SMS en caisse. STOP au 30101"),
        shown.locator("[data-action-id='broadcast.approve']"),
    ):
        box = await part.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= card_box["y"] + 400
    if os.environ.get("BELLCRIER_SCREENSHOT"):
        await page.screenshot(path=CARD, clip={"x": card_box["x"], "y": card_box["y"], "width": 600, "height": 400})


async def form_to_the_newsletter(page: Page) -> Locator:
    """Open the form, and choose the audience by its first letters."""
    await page.get_by_test_id("composer").fill("/broadcast")
    await page.keyboard.press("Enter")
    modal = page.get_by_test_id("modal")
    await modal.get_by_label("Audience").fill("news")
    await modal.get_by_role("option", name="newsletter").click()
    return modal


@pytest.mark.long
async def test_the_form_counts_while_one_types_and_leaves_the_cursor_where_it_is(
    browser: Browser, sandbox: Sandbox, bot: Bot
) -> None:
    said: list[str] = []
    page = await open_page(browser, sandbox, "U0DAN", said)
    modal = await form_to_the_newsletter(page)
    await modal.get_by_label("Text").press_sequentially("Soldes")
    await modal.get_by_text("Soldes STOP au 30101").wait_for()
    await page.keyboard.type(" demain")  # where the cursor is, after the form was drawn anew
    await modal.get_by_text("Soldes demain STOP au 30101").wait_for()
    await modal.get_by_text("up to 100 people (Octopush has not said) × 1 SMS").wait_for()
    assert await modal.get_by_label("Text").input_value() == "Soldes demain"
    await page.get_by_test_id("submit").click()
    await page.get_by_test_id("message").get_by_text("Approve? · SMS to newsletter").wait_for()
    assert said == []


@pytest.mark.long
async def test_the_form_shows_its_errors_under_the_fields(browser: Browser, sandbox: Sandbox, bot: Bot) -> None:
    said: list[str] = []
    page = await open_page(browser, sandbox, "U0DAN", said)
    modal = await form_to_the_newsletter(page)
    await modal.get_by_label("Text").fill("Hello")
    await modal.get_by_label("Sender").fill("two words")
    await page.get_by_test_id("submit").click()
    error = modal.locator("[data-block-id='sender'] [data-testid='error']")
    await error.get_by_text("is not a valid sender ID").wait_for()

    await modal.get_by_label("Sender").fill("Bell")
    await page.get_by_test_id("submit").click()

    await page.get_by_test_id("message").get_by_text("Approve? · SMS to newsletter").wait_for()
    assert await modal.count() == 0
    assert said == []


@pytest.mark.long
async def test_an_unknown_block_shows_as_a_warning(browser: Browser, sandbox: Sandbox) -> None:
    page = await open_page(browser, sandbox, "U0CLEO", [])
    await page.get_by_test_id("who").wait_for()
    sandbox.world.post(sandbox.world.channel(HERE), {"user": "U0BELL", "text": "?", "blocks": [{"type": "hologram"}]})
    await page.get_by_test_id("unknown").get_by_text("hologram").wait_for()


@pytest.mark.long
async def test_what_people_write_never_becomes_markup_on_the_page(browser: Browser, sandbox: Sandbox) -> None:
    page = await open_page(browser, sandbox, "U0CLEO", [])
    await page.get_by_test_id("composer").fill("<img src=x onerror=alert(1)> & <b>bold</b>")
    await page.keyboard.press("Enter")
    await page.get_by_test_id("message").get_by_text("<img src=x onerror=alert(1)> & <b>bold</b>").wait_for()


async def picture(of: Locator | Page, path: Path, words: Translator) -> None:
    """Take a picture for the documents, where that is asked for."""
    if os.environ.get("BELLCRIER_SCREENSHOT") and words.language == "en":
        await of.screenshot(path=path)


async def first_act(page: Page, words: Translator) -> None:
    """Dan writes it in the form, counts with it, tries it on his team's phones, and asks."""
    await page.get_by_test_id("composer").fill("/broadcast")
    await page.keyboard.press("Enter")
    modal = page.get_by_test_id("modal")
    await modal.get_by_label(words("Audience"), exact=True).fill("news")
    await modal.get_by_role("option", name="newsletter").click()
    await modal.get_by_label(words("Text"), exact=True).press_sequentially("Soldes demain")
    await modal.get_by_text("Soldes demain STOP au 30101").wait_for()
    await modal.get_by_text("(GSM-7, 27/160)").wait_for()
    await modal.locator("[data-action-id='broadcast.test']").click()
    told = words(
        "The test *{id}* goes to *{audience}* now. Its card is in {where}.", id="?", audience="team", where="?"
    )
    await modal.get_by_text(told.split("*")[0].strip()).first.wait_for()
    await modal.locator("[data-block-id='canary'] select").select_option(value="team")
    await picture(page, FORM, words)
    await page.get_by_test_id("submit").click()


async def press(button: Locator, shows: Locator) -> None:
    """Press it, and once more if the message was drawn anew between the press and its release."""
    for last in (False, False, True):
        with nullcontext() if last else suppress(TookTooLong):
            await button.click(timeout=1000 * A_WHILE)
            await shows.wait_for(timeout=1000 * A_WHILE)
            return


async def second_act(ana: Page, dan: Page, words: Translator) -> None:
    """Ana asks for a change, and Dan makes it; the thread shows what is different."""
    asking = ana.locator("[data-testid='message']", has=ana.locator("[data-action-id='broadcast.approve']"))
    await asking.get_by_text("≈ 2.58 EUR").wait_for()
    await asking.locator("[data-action-id='broadcast.request_changes']").click()
    await ana.get_by_test_id("modal").get_by_label(words("Comment"), exact=True).fill("Lundi !")
    await ana.get_by_test_id("submit").click()
    modal = dan.get_by_test_id("modal")
    await press(dan.locator("[data-action-id='broadcast.edit']").last, modal.get_by_label(words("Text"), exact=True))
    await modal.get_by_label(words("Text"), exact=True).fill("Soldes lundi")
    await modal.get_by_text("Soldes lundi STOP au 30101").wait_for()
    await modal.get_by_text("× 1 SMS = 20 SMS · ≈ 2.58 EUR").first.wait_for()
    await dan.get_by_test_id("submit").click()
    await modal.wait_for(state="detached")
    changed = dan.get_by_test_id("message").filter(has_text=" v2 ")
    thread = dan.get_by_test_id("thread")
    await press(changed.get_by_test_id("replies"), thread.locator("s", has_text="demain"))
    await thread.locator("b", has_text="lundi").wait_for()
    await picture(thread, DIFF, words)


async def third_act(ana: Page, ben: Page, words: Translator) -> None:
    """Two approve; the few get it, and once Ana continues, everybody does."""
    for page in (ana, ben):
        await page.get_by_text("≈ 2.58 EUR").last.wait_for()  # a press before it is told would not count
        await page.locator("[data-action-id='broadcast.approve']").click()
        await page.get_by_test_id("confirm-yes").click()
    goes = words("Goes out at {time}", time="").strip()
    await ana.get_by_text(goes).first.wait_for()
    await ana.locator("[data-action-id='broadcast.stop']").last.wait_for()
    await picture(ana.get_by_test_id("message").last, COUNTDOWN, words)
    continuing = ana.get_by_role("button", name=words("Continue"), exact=True)
    await continuing.wait_for()
    await picture(ana.locator("[data-testid='message']", has=continuing), CANARY, words)
    await continuing.click()
    await ana.get_by_test_id("confirm-yes").click()


async def last_act(ana: Page, dan: Page, words: Translator) -> None:
    """The vendor says that everybody got it, and all who look at the card read that it is done."""
    to_all = ana.locator(".sending", has_text="list newsletter")
    await to_all.locator("[data-deliver='DELIVERED']").click()
    for page in (ana, dan):
        await page.get_by_test_id("message").get_by_text(words("🏁 Done")).first.wait_for()


@pytest.mark.long
@pytest.mark.parametrize("language", LANGUAGES)
async def test_from_the_first_letter_to_the_last_delivery_in_each_language(
    browser: Browser, sandbox: Sandbox, start_bot: StartBot, language: str
) -> None:
    """Typed, counted, tried out, asked, changed, approved by two, sent to a few first, then to all."""
    words, said, sent = translator_for(language), list[str](), sandbox.vendors.ledger
    for user in sandbox.world.people.values():
        user.locale = {"en": "en-US", "fr": "fr-FR", "es": "es-ES"}[language]
    quorum: dict[str, Any] = {"approval__quorum": 2, "approval__undo": "10s", "accounts__octo__quote": True}
    bot = await start_bot(sandbox, locale=language, **quorum)
    dan, ana, ben = [await open_page(browser, sandbox, me, said) for me in ("U0DAN", "U0ANA", "U0BEN")]
    await first_act(dan, words)
    await sandbox.until(lambda: [entry.audience for entry in sent] == ["list team"])
    await second_act(ana, dan, words)
    await sandbox.until(lambda: "Lundi !" in str(sandbox.world.channel(HERE)))
    await ana.locator("[data-action-id='broadcast.approve']").wait_for()
    await third_act(ana, ben, words)
    await sandbox.until(lambda: [entry.audience for entry in sent] == ["list team", "list team", "list newsletter"])
    assert [entry.text for entry in sent][1:] == ["Soldes lundi STOP au 30101"] * 2
    await last_act(ana, dan, words)
    row = await newest(bot)
    assert row is not None
    assert row.state is State.DONE
    assert said == []
