"""A real browser, and axe, which finds what keeps people from using a page."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

AXE = Path(__file__).parent.parent / "node_modules" / "axe-core" / "axe.min.js"


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        message = "NO BROWSER: the page is not tested. Install Chromium (Debian: apt install chromium)."
        if os.environ.get("BELLCRIER_NEEDS_BROWSER"):
            pytest.fail(message)
        pytest.skip(message)  # a browser is not a Python package; `.ci/run` installs one and sets the variable above
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=path)
        yield opened
        await opened.close()


async def problems(page: Page, state: str, found: dict[str, Any]) -> None:
    """Keep what axe finds serious or critical in this state of the page."""
    if not await page.evaluate("() => 'axe' in window"):
        await page.evaluate(AXE.read_text(encoding="utf-8"))
    answer = await page.evaluate("() => axe.run(document)")
    assert len(answer["passes"]) > 10
    for violation in answer["violations"]:
        if violation["impact"] in ("serious", "critical"):
            nodes = [node["html"][:140] + " " + node.get("failureSummary", "")[:200] for node in violation["nodes"][:4]]
            found[f"{state}: {violation['id']}"] = nodes
