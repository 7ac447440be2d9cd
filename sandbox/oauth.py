"""The app's installation in one workspace or more: codes, tokens that may end, and how they are taken back."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sandbox.world import Json, SlackError, World

CODE_SECONDS = 600.0
TOKEN_SECONDS = 43_200  # of a token that ends


@dataclass
class Grant:
    """What a code or a refresh token is good for."""

    world: World
    user: str
    redirect: str = ""
    at: float = field(default_factory=time.monotonic)


class OAuth:
    """The installations of one app. `rotates`: tokens end after twelve hours, and are renewed."""

    def __init__(self, home: World) -> None:
        self.home = home
        self.worlds = [home]
        self.rotates = False
        self.organisation: str | None = None  # on Enterprise Grid: the app is allowed for all of its workspaces
        self.codes: dict[str, Grant] = {}
        self.refreshes: dict[str, Grant] = {}
        self.clock: Callable[[], float] = time.monotonic

    def allow(self, user: str, redirect: str, world: World | None = None) -> str:
        """A person allows the app in their workspace. Return the code."""
        code = secrets.token_urlsafe(16)
        self.codes[code] = Grant(world or self.home, user, redirect, self.clock())
        return code

    def access(self, a: Json) -> Json:
        """`oauth.v2.access`: a token for a code, or for a refresh token. Each is taken once."""
        if (a.get("client_id"), a.get("client_secret")) != (self.home.client_id, self.home.client_secret):
            raise SlackError("bad_client_secret" if a.get("client_id") == self.home.client_id else "invalid_client_id")
        if a.get("grant_type") == "refresh_token":
            return self._renewed(str(a.get("refresh_token") or ""))
        grant = self.codes.pop(str(a.get("code") or ""), None)
        if grant is None:
            raise SlackError("invalid_code")
        if self.clock() - grant.at > CODE_SECONDS:
            raise SlackError("code_expired")
        if grant.redirect != str(a.get("redirect_uri") or ""):
            raise SlackError("bad_redirect_uri")
        return self._answer(grant)

    def _renewed(self, refresh: str) -> Json:
        grant = self.refreshes.pop(refresh, None)
        if grant is None:
            raise SlackError("invalid_refresh_token")
        return self._answer(grant)

    def _answer(self, grant: Grant) -> Json:
        world, name = grant.world, secrets.token_hex(6)
        world.bot_token = f"{'xoxe.xoxb' if self.rotates else 'xoxb'}-{world.team_id}-{name}"
        answer = {
            "access_token": world.bot_token,
            "token_type": "bot",
            "scope": ",".join(sorted(world.manifest.scopes)),
            "bot_user_id": world.bot_user,
            "app_id": world.app_id,
            "team": {"id": world.team_id, "name": world.team["name"]},
            "enterprise": None,
            "is_enterprise_install": False,
            "authed_user": {"id": grant.user},
        }
        if self.organisation is not None:
            organisation = {"id": self.organisation, "name": "Organisation"}
            answer |= {"team": None, "enterprise": organisation, "is_enterprise_install": True}
        if self.rotates:
            refresh = f"xoxe-1-{world.team_id}-{secrets.token_hex(6)}"
            self.refreshes[refresh] = grant
            answer |= {"refresh_token": refresh, "expires_in": TOKEN_SECONDS}
        return answer

    def take_back(self, world: World) -> None:
        """End every token of a workspace."""
        world.bot_token = ""
        self.refreshes = {token: grant for token, grant in self.refreshes.items() if grant.world is not world}
