"""The tour of two minutes, in a real browser against the real demo, with the bot killed on the way."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, expect

from tests.support.browsers import AXE, problems
from tests.support.demo import Demo, running_demo
from tests.support.patience import LONG, quiet, until
from tests.support.shell import Shell

pytestmark = pytest.mark.long
SHOTS = os.environ.get("BELLCRIER_TOUR_SHOTS")  # a folder for a picture of each step


@pytest.fixture
async def demo(shell: Shell) -> AsyncIterator[Demo]:
    async with running_demo(shell) as opened:
        yield opened


class Visitor:
    """Somebody who follows the tour. `said`: what the browser's console said."""

    def __init__(self, page: Page) -> None:
        self.page, self.said, self.shots = page, list[str](), 0
        self.tour = page.get_by_test_id("tour")
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.set_default_timeout(LONG * 1000)

    def _hear(self, message: ConsoleMessage) -> None:
        self.said.append(message.text)

    async def at_step(self, number: int) -> None:
        await expect(self.tour).to_contain_text(f"step {number} of", timeout=LONG * 1000)
        if SHOTS:
            self.shots += 1
            await self.page.screenshot(path=Path(SHOTS) / f"{self.shots:02}-step-{number}.png")

    async def press(self, label: str) -> None:
        await self.tour.get_by_role("button", name=label).click()

    async def ask(self) -> str:
        """Have the tour write the command, send it, and return its text."""
        composer = self.page.get_by_test_id("composer")
        await self.press("Be Cleo, and write it")
        await expect(composer).to_have_value(re.compile("half price"), timeout=LONG * 1000)
        text = (await composer.input_value()).removeprefix("/broadcast send clients marketing ")
        await composer.press("Enter")
        return text

    async def press_on_card(self, text: str, action: str) -> None:
        card = self.page.get_by_test_id("message").filter(has_text=text)
        await card.locator(f"[data-action-id='broadcast.{action}']").first.click()
        confirm = self.page.get_by_test_id("confirm-yes")
        if await confirm.count():
            await confirm.click()


async def visit(browser: Browser, demo: Demo, width: int = 1480, height: int = 940) -> Visitor:
    visitor = Visitor(await browser.new_page(viewport={"width": width, "height": height}))
    await visitor.page.goto(f"{demo.url}/?me=U0CLEO")
    return visitor


async def lose_an_answer(visitor: Visitor) -> str:
    """The first half: the vendor loses the answer, the bot says unknown, and Ben settles it."""
    await visitor.page.get_by_test_id("begin-tour").click()
    await visitor.at_step(1)
    await visitor.press("Let it lose the answer")
    await visitor.at_step(2)
    text = await visitor.ask()
    await visitor.at_step(3)
    await visitor.press("Be Ben")
    await visitor.press_on_card(text, "approve")
    await visitor.at_step(5)
    await expect(visitor.tour).to_contain_text(f"“{text} STOP AU 36111” rang once, on 2 phones.")
    await expect(visitor.page.get_by_test_id("ledger")).to_contain_text(f"{text} STOP AU 36111” rang once")
    await visitor.press_on_card(text, "mark_sent")
    await visitor.at_step(6)
    return text


async def kill_the_bot(visitor: Visitor) -> str:
    """The second half: the bot is killed in the undo window, and started again."""
    await visitor.press("Let it work")
    await visitor.at_step(7)
    text = await visitor.ask()
    await visitor.at_step(8)
    await visitor.press("Be Ben")
    await visitor.press_on_card(text, "approve")
    await visitor.at_step(9)
    await visitor.press("Kill the bot")
    await visitor.at_step(10)
    await expect(visitor.page.get_by_test_id("bot")).to_have_text("was killed")
    await visitor.press("Start it again")
    await visitor.at_step(12)
    return text


async def test_the_tour_is_walked_to_its_end_and_the_ledger_says_once(browser: Browser, demo: Demo) -> None:
    visitor = await visit(browser, demo)
    killed = (await demo.stage())["bot"]["pid"]
    lost = await lose_an_answer(visitor)
    interrupted = await kill_the_bot(visitor)

    assert (await demo.stage())["bot"]["pid"] != killed
    await expect(visitor.tour).to_contain_text(f"“{lost} STOP AU 36111” rang once")
    await expect(visitor.tour).to_contain_text(f"“{interrupted} STOP AU 36111” rang once")
    await expect(visitor.page.get_by_test_id("ledger")).to_have_attribute("role", "status")
    await expect(visitor.page.get_by_test_id("ledger")).to_contain_text(f"{interrupted} STOP AU 36111” rang once")
    await quiet()
    assert [await demo.rang(text) for text in (lost, interrupted)] == [1, 1]
    await visitor.press("Close")
    await expect(visitor.tour).to_be_hidden()
    assert visitor.said == []


async def test_the_tour_is_left_and_resumed_where_it_was_and_a_kill_that_comes_too_late_is_told(
    browser: Browser, demo: Demo
) -> None:
    visitor = await visit(browser, demo)
    await lose_an_answer(visitor)
    await visitor.press("Let it work")
    await visitor.at_step(7)
    await visitor.tour.get_by_role("button", name="Leave the tour").click()
    await expect(visitor.tour).to_be_hidden()
    await demo.do("bot", do="kill")
    await visitor.page.reload()
    await visitor.page.get_by_role("button", name="Resume the tour").click()
    await visitor.at_step(7)
    await expect(visitor.tour).to_contain_text("The bot is dead")
    await visitor.press("Start it again")
    text = await visitor.ask()
    await visitor.at_step(8)
    await visitor.press("Be Ben")
    await visitor.press_on_card(text, "approve")
    await until(lambda: demo.rang(text))
    await expect(visitor.tour).to_contain_text("That was too late", timeout=LONG * 1000)
    await visitor.press("Try again")
    await visitor.at_step(7)


async def test_the_tour_is_walked_by_keyboard_alone(browser: Browser, demo: Demo) -> None:
    visitor = await visit(browser, demo)
    page = visitor.page
    await visitor.tour.wait_for()
    await page.keyboard.press("Alt+t")
    await page.keyboard.press("Enter")
    await visitor.at_step(1)
    await page.keyboard.press("Alt+t")
    await page.keyboard.press("Enter")
    await visitor.at_step(2)
    lost = await ask_by_keyboard(visitor)
    await visitor.at_step(3)
    await press_by_keyboard(visitor, lost, "approve")
    await visitor.at_step(5)
    await press_by_keyboard(visitor, lost, "mark_sent")
    await visitor.at_step(6)
    await page.keyboard.press("Alt+t")
    await page.keyboard.press("Enter")
    await visitor.at_step(7)
    killed = await ask_by_keyboard(visitor)
    await visitor.at_step(8)
    await press_by_keyboard(visitor, killed, "approve")
    await visitor.at_step(9)
    await page.keyboard.press("Alt+t")
    await page.keyboard.press("Enter")
    await visitor.at_step(10)
    await page.keyboard.press("Alt+t")
    await page.keyboard.press("Enter")
    await visitor.at_step(12)
    assert [await demo.rang(text) for text in (lost, killed)] == [1, 1]


async def ask_by_keyboard(visitor: Visitor) -> str:
    composer = visitor.page.get_by_test_id("composer")
    await visitor.page.keyboard.press("Alt+t")
    await visitor.page.keyboard.press("Enter")
    await expect(composer).to_have_value(re.compile("half price"), timeout=LONG * 1000)
    await expect(composer).to_be_focused(timeout=LONG * 1000)
    text = (await composer.input_value()).removeprefix("/broadcast send clients marketing ")
    await visitor.page.keyboard.press("Enter")
    return text


async def press_by_keyboard(visitor: Visitor, text: str, action: str) -> None:
    """Be Ben, go to a button of this card with the Tab key, and press it."""
    page = visitor.page
    if await visitor.tour.get_by_role("button", name="Be Ben").count():
        await page.keyboard.press("Alt+t")
        await page.keyboard.press("Enter")
        await expect(page.locator("#who")).to_have_value("U0BEN", timeout=LONG * 1000)
    button = page.get_by_test_id("message").filter(has_text=text).locator(f"[data-action-id='broadcast.{action}']")
    await button.first.wait_for()
    for _ in range(80):
        if await button.first.evaluate("node => node === document.activeElement"):
            break
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    if await page.get_by_test_id("confirm-yes").count():
        await page.keyboard.press("Enter")


async def test_the_weather_the_clock_and_the_kill_are_pressed_by_keyboard(browser: Browser, demo: Demo) -> None:
    visitor = await visit(browser, demo)
    page = visitor.page
    await page.locator("[data-weather=octopush]").focus()
    await page.keyboard.press("a")  # away
    await until(lambda: _weather(demo, "octopush", "away"))
    await page.locator("[data-clock=monday]").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_test_id("clock")).to_contain_text(re.compile(r"Mon,? .*08:00"), timeout=LONG * 1000)
    await page.locator("[data-clock=now]").focus()
    await page.keyboard.press("Space")
    await until(lambda: _ahead(demo, 0))
    await page.get_by_test_id("kill").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_test_id("bot")).to_have_text("was killed", timeout=LONG * 1000)
    await expect(page.get_by_test_id("kill")).to_be_disabled()
    await page.get_by_test_id("start").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_test_id("bot")).to_contain_text("runs, process", timeout=LONG * 1000)


async def _weather(demo: Demo, vendor: str, kind: str) -> bool:
    told = (await demo.stage())["weather"]
    return any((one["vendor"], one["kind"]) == (vendor, kind) for one in told)


async def _ahead(demo: Demo, seconds: int) -> bool:
    return bool((await demo.stage())["clock"]["ahead"] == seconds)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_serious_in_the_tour_nor_in_what_stands_beside_it(
    browser: Browser, demo: Demo, scheme: Literal["light", "dark"]
) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not here. `npm install --prefix tests` brings it, as `.ci/run` does.")
    found: dict[str, Any] = {}
    visitor = await visit(browser, demo)
    page = visitor.page
    await page.emulate_media(color_scheme=scheme)
    await visitor.tour.wait_for()
    await problems(page, "the tour is offered", found)
    await page.get_by_test_id("begin-tour").click()
    await visitor.at_step(1)
    await page.locator("[data-weather=encom]").select_option("lost")
    await page.locator("[data-clock=monday]").click()
    await visitor.at_step(2)
    await page.get_by_test_id("kill").click()
    await expect(page.get_by_test_id("bot")).to_have_text("was killed", timeout=LONG * 1000)
    await problems(page, "the bot was killed, in bad weather, on Monday", found)
    assert found == {}


async def test_at_420_pixels_nothing_of_the_tour_is_cut_off(browser: Browser, demo: Demo) -> None:
    visitor = await visit(browser, demo, 420, 800)
    await visitor.page.get_by_test_id("begin-tour").click()
    await visitor.at_step(1)
    await visitor.press("Let it lose the answer")
    await visitor.at_step(2)
    box = await visitor.tour.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 420
    assert await visitor.tour.evaluate("node => node.scrollWidth <= node.clientWidth")
