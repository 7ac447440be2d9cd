"""Adapters of all three vendors, over real sockets to the pretend vendors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from providers.base import Provider, last_moment
from providers.http import Http
from providers.registry import providers
from sandbox.server import Sandbox
from tests.support.adapters import ACCOUNTS, Adapter, Drawer

ROOTS = {"encom": "encom", "octopush": "octopush", "kaizala": "kaizala/v1"}


@pytest.fixture(autouse=True)
def _let_go() -> Iterator[None]:
    """Let each of these releases go, as the bot would."""
    token = last_moment.set(lambda: None)
    yield
    last_moment.reset(token)


@pytest.fixture
async def adapter(sandbox: Sandbox) -> AsyncIterator[Adapter]:
    """Make an adapter for the sandbox's vendor; settings may be changed by name."""
    opened: list[Http] = []

    def make(vendor: str, **changes: Any) -> Provider:
        kind = providers()[vendor]
        raw = {
            "provider": vendor,
            "base_url": f"{sandbox.url}/vendors/{ROOTS[vendor]}",
            "timeout": 2.0,
            "requests_per_second": 1000,
            **ACCOUNTS[vendor],
            **changes,
        }
        settings = kind.Settings.model_validate(raw)
        transport = Http(settings.base_url, settings.timeout, settings.requests_per_second, allow_private_hosts=True)
        opened.append(transport)
        return kind("here", settings, transport, Drawer())

    yield make
    for transport in opened:
        await transport.aclose()


# --- without a socket ------------------------------------------------------------------------------------------------
