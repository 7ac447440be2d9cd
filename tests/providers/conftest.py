"""Adapters of all three vendors, over real sockets to the pretend vendors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from providers.base import Audience, AudienceKind, Message, Provider, ProviderError, Purpose
from providers.http import Http
from providers.registry import providers
from sandbox.server import Sandbox

ACCOUNTS: dict[str, dict[str, Any]] = {
    "encom": {"customer_account": "CL3578", "token": "sandbox-encom-token"},
    "octopush": {"login": "sandbox@example.org", "api_key": "sandbox-octopush-key", "sender": "Bell"},
    "kaizala": {
        "application_id": "sandbox-app",
        "application_secret": "sandbox-secret",
        "refresh_token": "sandbox-refresh",
    },
}
ROOTS = {"encom": "encom", "octopush": "octopush", "kaizala": "kaizala/v1"}
STAFF = "1b1a2c3d-0000-4000-8000-00000000c0de@1"
AUDIENCES = {
    "encom": Audience(AudienceKind.LIST, "1"),
    "octopush": Audience(AudienceKind.LIST, "newsletter"),
    "kaizala": Audience(AudienceKind.GROUP, STAFF),
}

Adapter = Callable[..., Provider]


class Drawer:
    """A vault that lasts as long as the test."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    async def load(self, key: str) -> str | None:
        return self.kept.get(key)

    async def save(self, key: str, value: str) -> None:
        self.kept[key] = value


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


def message(vendor: str, text: str = "Soldes demain", **changes: Any) -> Message:
    mention = {"encom": " STOP AU 36111", "octopush": " STOP au 30101"}.get(vendor, "")
    given: dict[str, Any] = {"dispatch": "B234567-1-1", "text": text + mention, "audience": AUDIENCES[vendor]}
    return Message(**{**given, "purpose": Purpose.MARKETING, **changes})


async def outcome(provider: Provider, sent: Message) -> tuple[str, Any]:
    """("ids", …) or the error's class and sentence: prepared and released once, as the dispatcher would."""
    try:
        staged = await provider.stage(sent)
        for _ in range(200):
            if staged is None or staged.ready:
                break
            staged = await provider.stage(sent, staged)
        return "ids", (await provider.release(sent, staged)).ids
    except ProviderError as error:
        return type(error).__name__, str(error)
