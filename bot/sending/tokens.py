"""Callback addresses that nobody can guess."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode

from bot.config.runtime import Runtime
from bot.config.settings import Settings
from bot.domain.broadcast import Broadcast
from providers.base import Receipts


class Tokens:
    """Addresses at which a vendor calls back about one dispatch."""

    def __init__(self, runtime: Runtime) -> None:
        self.settings, self.providers, self.key = runtime.settings, runtime.providers, runtime.key

    def callback_url(self, row: Broadcast) -> str | None:
        per_dispatch = self.providers[row.account].capabilities.receipts is Receipts.PER_DISPATCH
        if self.settings.public_url is None or not per_dispatch:
            return None
        return f"{self.settings.public_url.rstrip('/')}/callbacks/{row.account}/{self.callback_token(row)}"

    def callback_token(self, row: Broadcast) -> str:
        return token_for(self.key, f"{row.workspace}/{row.dispatch}")


def callback_address(settings: Settings, key: bytes, account: str) -> str | None:
    """Return the callback address to paste at an account's vendor, or None without a public address."""
    if settings.public_url is None:
        return None
    return f"{settings.public_url.rstrip('/')}/callbacks/{account}/{token_for(key, account)}"


def token_for(key: bytes, name: str) -> str:
    """An unguessable token that only the holder of the secret key can make: 32 characters, safe in a URL."""
    return urlsafe_b64encode(hmac.digest(key, b"callback:" + name.encode(), "sha256"))[:32].decode()
