"""A real browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, async_playwright


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
