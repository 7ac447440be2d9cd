"""Adapters on real sockets, and the results of their calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from providers.base import Answer, Audience, AudienceKind, Message, Provider, ProviderError, Purpose
from providers.registry import providers

ACCOUNTS: dict[str, dict[str, Any]] = {
    "encom": {"customer_account": "CL3578", "token": "sandbox-encom-token"},
    "octopush": {"login": "sandbox@example.org", "api_key": "sandbox-octopush-key", "sender": "Bell"},
    "kaizala": {
        "application_id": "sandbox-app",
        "application_secret": "sandbox-secret",
        "refresh_token": "sandbox-refresh",
    },
}
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


def message(vendor: str, text: str = "Soldes demain", **changes: Any) -> Message:
    mention = {"encom": " STOP AU 36111", "octopush": " STOP au 30101"}.get(vendor, "")
    given: dict[str, Any] = {"dispatch": "B234567-1-1", "text": text + mention, "audience": AUDIENCES[vendor]}
    return Message(**{**given, "purpose": Purpose.MARKETING, **changes})


async def outcome(provider: Provider, sent: Message) -> tuple[str, Any]:
    """Prepare and release once, as the dispatcher would; return ("ids", …) or the error's class and sentence."""
    try:
        staged = await provider.stage(sent)
        for _ in range(200):
            if staged is None or staged.ready:
                break
            staged = await provider.stage(sent, staged)
        return "ids", (await provider.release(sent, staged)).ids
    except ProviderError as error:
        return type(error).__name__, str(error)


def told(status: int, body: object = b"", content: str = "application/json") -> Answer:
    """Return an answer: bytes and text as they are, anything else as JSON."""
    if isinstance(body, str):
        body = body.encode()
    return Answer(status, {"content-type": content}, body if isinstance(body, bytes) else json.dumps(body).encode())


TOKEN = {"accessToken": "t", "endpointUrl": "https://kms.kaiza.la/", "accessTokenExpiry": 9e15}


class Said:
    """A transport that answers by the last word of the path, otherwise with `others`; it raises a ProviderError.

    The real one is tested elsewhere; this one is for long tables of answers.
    """

    def __init__(self, others: Answer, answers: Mapping[str, Any]) -> None:
        self.others, self.answers = others, {"accessToken": told(200, TOKEN), **answers}
        self.asked: list[str] = []
        self.urls: list[str] = []

    async def call(self, method: str, url: str, *, query: Mapping[str, str | int] | None = None, **_: Any) -> Answer:
        step = url.rsplit("/", 1)[-1]
        self.asked.append(step)
        self.urls.append(url)
        found = self.answers.get(step, self.others)
        answer = found(dict(query or {})) if callable(found) else found
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Answer)
        return answer


def offline(vendor: str, others: Answer | None = None, *, settings: Any = None, **answers: Any) -> Provider:
    """Return an adapter over `Said`: `send=told(200, …)` sets the answer of Octopush's last step."""
    kind = providers()[vendor]
    raw = {"provider": vendor, "base_url": "https://vendor.example", **ACCOUNTS[vendor], **(settings or {})}
    return kind("here", kind.Settings.model_validate(raw), Said(others or told(404), answers), Drawer())


def asked(provider: Provider) -> list[str]:
    assert isinstance(provider.transport, Said)
    return provider.transport.asked


def urls(provider: Provider) -> list[str]:
    assert isinstance(provider.transport, Said)
    return provider.transport.urls


async def became(work: Any) -> tuple[str, Any]:
    """Return ("ok", the result) or the error's class and the error."""
    try:
        return "ok", await work
    except ProviderError as error:
        return type(error).__name__, error
