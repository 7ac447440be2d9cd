"""The installation of the bot in a workspace, in a browser."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlencode, urljoin, urlsplit

import structlog
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from bot.config.settings import Settings
from bot.domain.clock import SECOND, Clock
from bot.domain.errors import NotInstalled
from bot.sending.tokens import token_for
from bot.storage.database import CommitUncertain, DatabaseBusy

log = structlog.get_logger(__name__)

COOKIE = "bellcrier-install"
TIME = 600  # seconds from the start of an installation to its end
LONGEST = 500  # characters of a code or a state
SCOPES = (
    *("commands", "chat:write", "reactions:read", "users:read", "usergroups:read"),
    *("channels:read", "groups:read", "im:write", "im:history", "app_mentions:read", "files:write"),
)
Install = Callable[[str, str], Awaitable[None]]


@dataclass(frozen=True)
class InstallDoor:
    """Sends people to Slack, and takes them back with a code for a token.

    The state in the address and the cookie must agree, so nobody is made to finish what somebody else began. `install`
    takes the code and our address; it raises NotInstalled, DatabaseBusy or CommitUncertain.
    """

    settings: Settings
    key: bytes
    clock: Clock
    install: Install

    def routes(self) -> list[Route]:
        return [Route("/slack/install", self.begin), Route("/slack/oauth_redirect", self.end)]

    @property
    def _back(self) -> str:
        return urljoin(str(self.settings.public_url), "slack/oauth_redirect")

    @property
    def _cookie_path(self) -> str:
        """The path as the browser has it: a proxy may take a prefix away before we see it."""
        return urlsplit(self._back).path

    async def begin(self, request: Request) -> Response:
        state = self._state(self.clock() // SECOND + TIME, secrets.token_urlsafe(16))
        asked = {"client_id": self.settings.slack_client_id, "scope": ",".join(SCOPES), "user_scope": ""}
        page = urljoin(self.settings.slack_api_url, "../oauth/v2/authorize")
        answer = RedirectResponse(f"{page}?{urlencode({**asked, 'state': state, 'redirect_uri': self._back})}", 302)
        path, secure = self._cookie_path, self._back.startswith("https")
        answer.set_cookie(COOKIE, state, max_age=TIME, path=path, secure=secure, httponly=True, samesite="lax")
        return _kept_nowhere(answer)

    def _state(self, until: int, nonce: str) -> str:
        return f"{until}.{nonce}.{token_for(self.key, f'install/{until}.{nonce}')}"

    def _is_ours(self, state: str) -> bool:
        until, _, rest = state.partition(".")
        nonce = rest.rpartition(".")[0]
        if not (until.isascii() and until.isdigit() and len(until) < 12 and state.isascii()):
            return False
        return hmac.compare_digest(state, self._state(int(until), nonce)) and int(until) >= self.clock() // SECOND

    async def end(self, request: Request) -> Response:
        status, said = await self._finished(request)
        answer = PlainTextResponse(said, status)
        answer.delete_cookie(COOKIE, path=self._cookie_path)
        return _kept_nowhere(answer)

    async def _finished(self, request: Request) -> tuple[int, str]:
        """Return the status, and what the person reads."""
        given, again = request.query_params, f"Start again at {urljoin(self._back, 'install')}."
        state, code = given.get("state", "")[:LONGEST], given.get("code", "")[:LONGEST]
        cookie = request.cookies.get(COOKIE, "")
        if not (self._is_ours(state) and cookie.isascii() and hmac.compare_digest(state, cookie)):
            return 400, f"This installation was not started in this browser, or too long ago. {again}"
        if not code:
            return 400, f"The bot was not installed, as Slack was told not to. {again}"
        try:
            await self.install(code, self._back)
        except NotInstalled as error:
            log.warning("an installation came to nothing", error=str(error))
            return 502, f"Slack did not hand over the installation. {again}"
        except (DatabaseBusy, CommitUncertain):
            return 503, f"The installation could not be stored. {again}"
        return 200, "The bot is installed. You can close this page, and type /broadcast in Slack."


def _kept_nowhere(answer: Response) -> Response:
    answer.headers.update({"cache-control": "no-store", "referrer-policy": "no-referrer"})
    return answer
