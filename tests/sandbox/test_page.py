"""The page of the pretend workspace, in a real browser: at every width, by keyboard alone, and for those who listen."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, Page

from bot.app import Bot
from bot.domain.lifecycle import State
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.browsers import AXE, problems
from tests.support.ground import StartBot
from tests.support.patience import LONG
from tests.support.slack import HERE, card, settled

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent.parent
WIDTHS = [420, 768, 1024, 1400]
LINE = "/broadcast send clients marketing Soldes demain"

DISTANCE = "box => box.scrollHeight - box.scrollTop - box.clientHeight"  # pixels to the end
HELD = "box => document.activeElement === document.body || box.contains(document.activeElement)"  # or the browser's own
WIDER = """() => {
    const seen = document.querySelectorAll('#top, main, main *, #thread:not([hidden]), dialog, dialog *');
    const wide = [...seen].filter(node => {
        const box = node.getBoundingClientRect(), hidden = node.closest('.unseen, .message .tools');
        return box.width > 1 && box.height > 1 && !hidden && (box.right > innerWidth + 1 || box.left < -1);
    });
    return wide.map(node => `${node.tagName} ${node.id || node.className}`);
}"""


async def open_page(browser: Browser, sandbox: Sandbox, me: str, width: int = 1400, scheme: Any = "light") -> Page:
    context = await browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = await context.new_page()
    await page.goto(f"{sandbox.url}/?me={me}")
    await page.locator("#composer textarea:enabled").wait_for()
    return page


async def write(page: Page, text: str) -> None:
    await page.get_by_test_id("composer").fill(text)
    await page.keyboard.press("Enter")


def fill(sandbox: Sandbox, number: int) -> None:
    """Let Dan have written a lot in the channel, without a page that looks on."""
    channel = sandbox.world.channel(HERE)
    for nth in range(number):
        sandbox.world.post(
            channel, {"user": "U0DAN", "text": f"Message *{nth}* of many, with a <https://bell.example|link>"}
        )


async def in_sight(of: Locator) -> bool:
    """Whether this is what somebody sees, and not behind something or outside of what is scrolled."""
    script = """node => {
        const box = node.getBoundingClientRect();
        const at = document.elementFromPoint(box.x + box.width / 2, box.y + Math.min(box.height / 2, 8));
        return Boolean(at) && (node.contains(at) || at.contains(node));
    }"""
    return bool(await of.evaluate(script))


async def wait_for(page: Page, script: str) -> None:
    await page.wait_for_function(script)


# --- what comes in --------------------------------------------------------------------------------------------------


async def test_an_answer_scrolls_into_sight_in_a_channel_that_is_longer_than_a_screen(
    browser: Browser, sandbox: Sandbox, bot: Bot
) -> None:
    fill(sandbox, 60)
    page = await open_page(browser, sandbox, "U0CLEO")
    await page.locator("#messages").evaluate("box => { box.scrollTop = 0; }")
    await write(page, LINE)
    for found in (page.get_by_test_id("ephemeral"), page.locator("[data-action-id='broadcast.approve']")):
        await found.first.wait_for()
        await page.wait_for_timeout(100)
        assert await in_sight(found.first)


async def test_a_reader_who_scrolled_up_stays_there_and_is_told_of_new_messages(
    browser: Browser, sandbox: Sandbox
) -> None:
    fill(sandbox, 60)
    page = await open_page(browser, sandbox, "U0CLEO")
    await page.mouse.move(500, 400)
    await page.mouse.wheel(0, -900)
    box, pill = page.locator("#messages"), page.get_by_test_id("pill")
    await wait_for(page, f"() => ({DISTANCE})(document.querySelector('#messages')) > 600")
    before = await box.evaluate("box => box.scrollTop")
    fill(sandbox, 3)
    await pill.get_by_text("3 new messages").wait_for()
    assert await box.evaluate("box => box.scrollTop") == before

    await pill.click()
    await pill.wait_for(state="hidden")
    assert await in_sight(page.get_by_test_id("message").last)


async def test_a_channel_of_5000_messages_opens_and_scrolls_as_quickly_as_a_short_one(
    browser: Browser, sandbox: Sandbox
) -> None:
    fill(sandbox, 5000)
    began = time.monotonic()
    page = await open_page(browser, sandbox, "U0CLEO")
    await page.get_by_text("Message 4999 of many").wait_for()
    opened = time.monotonic() - began
    for edge, end in (("0", "where the channel begins"), ("box.scrollHeight", "4999 of many")):  # up, and back
        async with asyncio.timeout(LONG):
            while not await page.get_by_text(end).count():
                await page.locator("#messages").evaluate(f"box => {{ box.scrollTop = {edge}; }}")
                assert await page.locator(".row").count() <= 400
    await page.locator("#messages").evaluate("box => { box.scrollTop = 0; }")
    frames = """() => new Promise(done => {
        const box = document.querySelector('#messages'), times = [];
        let last = performance.now();
        const step = now => {
            times.push(now - last); last = now;
            box.scrollTop += 500;
            if (times.length < 120) requestAnimationFrame(step); else done(times.sort((a, b) => a - b));
        };
        requestAnimationFrame(step);
    })"""
    times = await page.evaluate(frames)
    assert opened < 5, opened
    assert times[108] < 100, times  # one frame in ten


async def test_new_messages_are_marked_for_the_one_who_has_not_read_them(browser: Browser, sandbox: Sandbox) -> None:
    page = await open_page(browser, sandbox, "U0ANA")
    channel = sandbox.world.channel(HERE)
    sandbox.world.post(channel, {"user": "U0DAN", "text": "Read"})
    await page.get_by_text("Read", exact=True).wait_for()
    await page.locator("[data-channel='C0GENERAL']").click()
    await page.get_by_test_id("message").wait_for(state="detached")
    sandbox.world.post(channel, {"user": "U0DAN", "text": "Not read yet"})
    await page.locator("[data-channel='C0CAMPAIGNS'].new").click()
    marked = page.locator(".row", has=page.get_by_test_id("new-line"))
    await marked.get_by_text("Not read yet").wait_for()
    heard = page.get_by_role("log", name="New messages")  # a live region: a screen reader says what comes into it
    sandbox.world.post(channel, {"user": "U0DAN", "text": "Said aloud"})
    await heard.get_by_text("Dan Reyes: Said aloud").wait_for()
    assert await marked.count() == 1
    assert await page.locator("[data-channel].new").count() == 0
    assert await page.get_by_test_id("day").all_inner_texts() == ["Today"]


# --- small and large, light and dark --------------------------------------------------------------------------------


async def overflowing(page: Page) -> list[str]:
    """What is wider than the page, or cut off at its side."""
    return list(await page.evaluate(WIDER))


async def picture(page: Page, name: str) -> None:
    if os.environ.get("BELLCRIER_SCREENSHOT"):
        await page.screenshot(path=ROOT / "docs" / f"{name}.jpg", type="jpeg", quality=60)


@pytest.mark.parametrize("width", WIDTHS)
async def test_the_page_is_whole_at_each_width(browser: Browser, sandbox: Sandbox, bot: Bot, width: int) -> None:
    scheme = "dark" if width == 768 else "light"
    await sandbox.acting.command("U0CLEO", HERE, LINE)
    posted = await card(sandbox)
    await sandbox.acting.click("U0BEN", HERE, posted["ts"], "broadcast.approve")
    page = await open_page(browser, sandbox, "U0CLEO", width, scheme)
    await page.get_by_test_id("message").get_by_text("Sent ·").first.wait_for()
    assert await overflowing(page) == []
    assert await in_sight(page.get_by_test_id("composer"))
    await picture(page, f"page-{width}")

    await page.get_by_test_id("replies").click()
    await page.get_by_test_id("thread").get_by_text("Ids: 22, 23").last.wait_for()
    assert await overflowing(page) == []
    assert await in_sight(page.get_by_label("Reply", exact=True))
    assert await in_sight(page.get_by_test_id("composer")) == (width >= 900)
    await page.keyboard.press("Escape")
    assert await in_sight(page.get_by_test_id("composer"))

    await write(page, "/broadcast")
    await page.get_by_test_id("modal").wait_for()
    assert await overflowing(page) == []
    assert await in_sight(page.get_by_test_id("submit"))


@pytest.mark.parametrize(("button", "drawer"), [("#open-side", "#side"), ("#toggle-vendors", "#vendors")])
async def test_on_a_small_screen_a_drawer_opens_holds_the_focus_and_gives_it_back(
    browser: Browser, sandbox: Sandbox, button: str, drawer: str
) -> None:
    page = await open_page(browser, sandbox, "U0CLEO", 420)
    assert not await page.locator(drawer).is_visible()
    await page.locator(button).focus()
    await page.keyboard.press("Enter")
    await page.locator(f"{drawer}[aria-modal='true']").wait_for()
    for _ in range(30):
        await page.keyboard.press("Tab")
        assert await page.locator(drawer).evaluate(HELD)
    await page.keyboard.press("Escape")
    assert await page.locator(button).evaluate("node => node === document.activeElement")
    assert await page.locator(drawer).get_attribute("aria-modal") is None


# --- when the bot is away -------------------------------------------------------------------------------------------


async def test_what_was_typed_while_the_bot_was_away_is_kept_and_sent_again(
    browser: Browser, sandbox: Sandbox, start_bot: StartBot
) -> None:
    page = await open_page(browser, sandbox, "U0CLEO")
    await page.get_by_test_id("dead").get_by_text("bellcrier is not running").wait_for()
    red = await page.locator("#link").evaluate("node => getComputedStyle(node).backgroundColor")
    assert red == "rgb(179, 38, 30)"
    await write(page, LINE)
    await page.get_by_test_id("notice").get_by_text("dispatch_failed").wait_for()
    await wait_for(page, f"() => document.querySelector('#composer textarea').value === '{LINE}'")
    await page.reload()
    await wait_for(page, f"() => document.querySelector('#composer textarea').value === '{LINE}'")

    await start_bot(sandbox)
    await page.get_by_test_id("dead").wait_for(state="hidden")
    await page.get_by_test_id("composer").press("Enter")

    await page.get_by_test_id("ephemeral").get_by_text("is waiting for approval").wait_for()
    assert await page.get_by_test_id("composer").input_value() == ""


# --- the app's Home ------------------------------------------------------------------------------------------------


async def test_home_shows_what_waits_and_its_buttons_work(browser: Browser, sandbox: Sandbox, bot: Bot) -> None:
    page = await open_page(browser, sandbox, "U0BEN", 420)
    await page.locator("#open-side").click()
    await page.locator("#directs a").click()
    await page.get_by_role("tab", name="Home").click()
    home = page.get_by_test_id("home")
    await home.get_by_role("button", name="Write one").wait_for()
    await sandbox.acting.command("U0CLEO", HERE, LINE)
    await page.get_by_role("tab", name="Messages").click()
    await page.keyboard.press("ArrowLeft")
    await home.get_by_text("Soldes demain").wait_for()
    assert await home.get_attribute("lang") == "en"
    await home.get_by_role("button", name="Write one").click()
    await page.get_by_test_id("modal").get_by_label("Audience").wait_for()


async def test_a_button_of_home_that_nobody_hears_says_so_on_home(browser: Browser, sandbox: Sandbox) -> None:
    button = {"type": "button", "action_id": "x", "text": {"type": "plain_text", "text": "Write one"}}
    actions = {"type": "actions", "block_id": "b", "elements": [button]}
    sandbox.world.homes["U0BEN"] = {"id": "V0HOME", "type": "home", "blocks": [actions]}
    page = await open_page(browser, sandbox, "U0BEN")
    await page.locator("#directs a").click()
    await page.get_by_role("tab", name="Home").click()
    home = page.get_by_test_id("home")
    await home.get_by_role("button", name="Write one").click()
    await home.get_by_test_id("notice").get_by_text("dispatch_failed").wait_for()


async def test_the_shortcuts_of_the_app_open_its_form_from_their_menus(
    browser: Browser, sandbox: Sandbox, bot: Bot
) -> None:
    await sandbox.acting.say("U0DAN", HERE, "Umbrellas at *half price*")
    page = await open_page(browser, sandbox, "U0CLEO")
    modal = page.get_by_test_id("modal")
    await page.get_by_test_id("shortcuts").click()
    await page.locator("[data-shortcut='broadcast_new']").click()
    await modal.get_by_label("Audience").wait_for()
    await page.keyboard.press("Escape")
    await modal.wait_for(state="detached")
    await tab_to(page, "#feed article")
    await tab_to(page, "[data-testid='more']")
    await press(page, "Enter")
    await page.locator("[data-shortcut='broadcast_message']").focus()
    await press(page, "Enter")
    await modal.get_by_label("Text", exact=True).wait_for()
    assert "Umbrellas at half price" in await modal.get_by_label("Text", exact=True).input_value()


# --- for those who listen, and those who have no mouse --------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_serious_in_any_state_of_the_page(
    browser: Browser, sandbox: Sandbox, start_bot: StartBot, scheme: str
) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not here. `npm install --prefix tests` brings it, as `.ci/run` does.")
    found: dict[str, Any] = {}
    page = await open_page(browser, sandbox, "U0BEN", scheme=scheme)
    await write(page, LINE)
    await page.get_by_test_id("notice").wait_for()
    await problems(page, "the bot is away", found)
    bot = await start_bot(sandbox)
    await sandbox.acting.command("U0CLEO", HERE, LINE)
    await sandbox.acting.say("U0CLEO", HERE, "Hello @ana in #general, `code` and https://bell.example")
    posted = await card(sandbox)
    await sandbox.acting.react("U0ANA", HERE, posted["ts"], "eyes")
    await problems(page, "a channel", found)
    await page.get_by_test_id("composer").fill("/")
    await page.locator("#offers").get_by_role("option").first.wait_for()
    await problems(page, "completions", found)
    await page.get_by_test_id("composer").fill("")
    await page.locator("[data-action-id='broadcast.approve']").click()
    await page.get_by_test_id("confirm").wait_for()
    await problems(page, "a question", found)
    await page.get_by_test_id("confirm-yes").click()
    await settled(bot, State.SENT)
    await page.get_by_test_id("replies").click()
    await page.get_by_test_id("thread").get_by_text("Ids: 22, 23").last.wait_for()
    await problems(page, "a thread", found)
    await page.keyboard.press("Escape")
    await page.get_by_test_id("message").first.focus()
    await page.get_by_test_id("message").first.get_by_test_id("more").click()
    await page.get_by_test_id("message-menu").wait_for()
    await problems(page, "a menu", found)
    await page.keyboard.press("Escape")
    await write(page, "/broadcast")
    await page.get_by_test_id("modal").wait_for()
    await problems(page, "a form", found)
    await page.get_by_label("Audience").press("ArrowDown")
    await page.get_by_test_id("modal").get_by_role("option").first.wait_for()
    await problems(page, "a form with options", found)
    await page.keyboard.press("Escape")
    await page.get_by_test_id("submit").click()
    await page.get_by_test_id("error").first.wait_for()
    await problems(page, "a form with errors", found)
    await page.keyboard.press("Escape")
    await page.locator("#directs a").click()
    await page.get_by_role("tab", name="Home").click()
    await page.get_by_test_id("home").wait_for()
    await problems(page, "Home", found)
    small = await open_page(browser, sandbox, "U0BEN", 420, scheme)
    for button in ("#open-side", "#toggle-vendors"):
        await small.locator(button).click()
        await small.wait_for_timeout(300)  # it slides in
        await problems(small, f"a drawer, {button}", found)
        await small.keyboard.press("Escape")
    assert found == {}, json.dumps(found, indent=1)


async def test_errors_are_tied_to_their_fields_in_the_language_of_the_form(
    browser: Browser, sandbox: Sandbox, bot: Bot
) -> None:
    page = await open_page(browser, sandbox, "U0FAY")
    await write(page, "/broadcast")
    modal = page.get_by_test_id("modal")
    await page.get_by_test_id("submit").click()
    wrong = modal.locator("[aria-invalid='true']").first
    await wrong.wait_for()
    described = await wrong.get_attribute("aria-describedby") or ""
    said = [await page.locator(f"[id='{id}']").inner_text() for id in described.split()]
    assert said[0] == "Veuillez remplir ce champ obligatoire."
    assert await modal.get_attribute("lang") == "fr"
    assert await wrong.evaluate("node => node === document.activeElement")


async def test_a_button_of_a_form_keeps_the_focus_when_the_form_is_drawn_again(
    browser: Browser, sandbox: Sandbox, bot: Bot
) -> None:
    page = await open_page(browser, sandbox, "U0DAN")
    await write(page, "/broadcast")
    modal = page.get_by_test_id("modal")
    await modal.wait_for()
    await page.keyboard.type("news")
    await modal.get_by_role("option", name="newsletter").wait_for()
    await press(page, "Enter")
    await modal.get_by_label("Text").press_sequentially("Soldes demain")
    test = modal.locator("[data-action-id='broadcast.test']")
    await test.wait_for()
    await modal.get_by_text("Soldes demain STOP").wait_for()
    await test.focus()
    await page.keyboard.press("Enter")
    await modal.get_by_text("goes to").first.wait_for()
    assert await test.evaluate("node => node === document.activeElement")
    assert await modal.get_by_label("Text").input_value() == "Soldes demain"


async def test_escape_closes_the_topmost_and_the_focus_goes_back(browser: Browser, sandbox: Sandbox, bot: Bot) -> None:
    await sandbox.acting.command("U0CLEO", HERE, LINE)
    posted = await card(sandbox)
    await sandbox.acting.say("U0CLEO", HERE, "Please look", posted["ts"])
    page = await open_page(browser, sandbox, "U0BEN")
    await page.get_by_test_id("replies").focus()
    await page.keyboard.press("Enter")
    thread, confirm = page.get_by_test_id("thread"), page.get_by_test_id("confirm")
    approve = thread.locator("[data-action-id='broadcast.approve']")
    await approve.focus()
    await page.keyboard.press("Enter")
    await confirm.wait_for()
    for _ in range(8):
        await page.keyboard.press("Tab")
        assert await confirm.evaluate(HELD)
    await page.keyboard.press("Escape")
    await confirm.wait_for(state="detached")
    assert await approve.evaluate("node => node === document.activeElement")
    await page.keyboard.press("Escape")
    await thread.wait_for(state="hidden")
    assert await page.get_by_test_id("replies").evaluate("node => node === document.activeElement")
    assert sandbox.vendors.ledger == []


async def press(page: Page, *keys: str) -> None:
    for key in keys:
        await page.keyboard.press(key)


async def tab_to(page: Page, selector: str, key: str = "Tab") -> None:
    for _ in range(60):
        if await page.evaluate(f"() => Boolean(document.activeElement?.matches({json.dumps(selector)}))"):
            return
        await page.keyboard.press(key)
    pytest.fail(f"No way by {key} to {selector}")


async def test_the_keyboard_alone_walks_the_whole_story(
    browser: Browser, sandbox: Sandbox, start_bot: StartBot
) -> None:
    """Cleo writes, Ben approves, he stops it and approves another, whose answer is lost; and settles it."""
    bot = await start_bot(sandbox, approval__undo="4s")
    cleo, ben = [await open_page(browser, sandbox, me) for me in ("U0CLEO", "U0BEN")]
    sandbox.vendors.faults.add("encom.release", "reset", accept=True)
    for text, last in (("Stopped", "broadcast.stop"), ("Lost", "broadcast.mark_sent")):
        await tab_to(cleo, "#composer textarea")
        await cleo.keyboard.type("/bro")
        await press(cleo, "Tab")  # completes the command
        await cleo.keyboard.type(f"send clients marketing {text}")
        await press(cleo, "Enter")
        await ben.get_by_test_id("message").get_by_text(f"{text} STOP").last.wait_for()
        await tab_to(ben, "#composer textarea")
        await tab_to(ben, "[data-action-id='broadcast.approve']", "Shift+Tab")
        await press(ben, "Enter")
        await ben.get_by_test_id("confirm-yes").wait_for()
        await press(ben, "Enter")
        await ben.locator(f"[data-action-id='{last}']").wait_for()
        await tab_to(ben, "#composer textarea")
        await tab_to(ben, f"[data-action-id='{last}']", "Shift+Tab")
        await press(ben, "Enter")
        if await ben.get_by_test_id("confirm-yes").count():
            await press(ben, "Enter")
        await settled(bot, State.CANCELLED if text == "Stopped" else State.SENT)
    assert [entry.text for entry in sandbox.vendors.ledger] == ["Lost STOP AU 36111"]


async def test_a_reaction_is_added_by_keyboard_to_any_message(browser: Browser, sandbox: Sandbox) -> None:
    for text in ("One", "Two", "Three"):
        sandbox.world.post(sandbox.world.channel(HERE), {"user": "U0DAN", "text": text})
    page = await open_page(browser, sandbox, "U0BEN")
    await tab_to(page, "#feed article")
    await press(page, "ArrowUp")
    await tab_to(page, "[aria-label='Add a reaction']")
    await press(page, "Enter", "ArrowRight", "Enter")
    first: Json = await sandbox.until(
        lambda: next((m for m in sandbox.acting.messages(HERE) if m.get("reactions")), None)
    )
    assert (first["text"], first["reactions"][0]["name"], first["reactions"][0]["users"]) == ("Two", "+1", ["U0BEN"])
    await press(page, "Tab")
    assert await page.evaluate("() => Boolean(document.activeElement.closest('article'))")
