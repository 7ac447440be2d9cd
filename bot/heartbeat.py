"""The operator's heartbeat: an address that is called each minute, so that its silence is the alarm."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import structlog

from bot.config.settings import Settings, SettingsError
from providers.base import ProviderError
from providers.http import Http

log = structlog.get_logger(__name__)
EVERY = 60.0  # seconds
TIMEOUT = 10.0  # seconds for one call
NOT_ABLE = "the bot is not able to work"


class Heartbeat:
    """Calls the address while the bot is able to work, and never otherwise.

    Its path and its query may hold a secret, so no log names them. Raises ValueError for an address that must not be
    contacted.
    """

    def __init__(self, url: str, able: Callable[[], Awaitable[bool]], *, allow_private_hosts: bool) -> None:
        self.url, self.able = url, able
        parts = urlsplit(url)
        self.http = Http(f"{parts.scheme}://{parts.netloc}", TIMEOUT, 10.0, allow_private_hosts=allow_private_hosts)
        self._last: str | None = None

    async def beat(self) -> None:
        """Call the address once, or leave it out. What is wrong is logged when it begins, and when it ends."""
        now = await self._called() if await self.able() else NOT_ABLE
        if now != self._last and (self._last, now) != (None, NOT_ABLE):  # a start takes a moment
            (log.info if now == "ok" else log.warning)("heartbeat", result=now)
        self._last = now

    async def _called(self) -> str:
        try:
            answer = await self.http.call("GET", self.url, harmless=True)
        except ProviderError as error:
            return f"not taken: {type(error).__name__}"
        return "ok" if answer.status < 300 else f"not taken: HTTP {answer.status}"

    async def aclose(self) -> None:
        await self.http.aclose()


def open_heartbeat(settings: Settings, able: Callable[[], Awaitable[bool]]) -> Heartbeat | None:
    """Return the heartbeat that the settings ask for. Raises SettingsError."""
    if settings.heartbeat_url is None:
        return None
    url = settings.heartbeat_url.get_secret_value()
    try:
        return Heartbeat(url, able, allow_private_hosts=settings.allow_private_hosts)
    except ValueError as error:
        raise SettingsError([f"heartbeat_url: {error}"]) from None
