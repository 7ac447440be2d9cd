"""Installations as the bot works with them: their tokens, in clear, in memory alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog
from slack_bolt.authorization import AuthorizeResult
from sqlalchemy import Connection

from bot.config.encryption import WRONG_KEY, Cipher, WrongKey
from bot.config.settings import Settings
from bot.domain.clock import SECOND, Clock, Micros, steady
from bot.domain.errors import NotInstalled
from bot.slack.client import UNREACHABLE, SlackClient, error_name
from bot.storage import audit, installations, keys, sql
from bot.storage.database import Database
from bot.storage.installations import Stored

log = structlog.get_logger(__name__)

EARLY = 2 * 3600 * SECOND  # how long before its end a token is renewed; it lives for twelve hours
AT_ONCE = 8  # renewals side by side, which Slack takes and the database too
RENEWING = 60.0  # seconds that a renewal has before another process may try it
UNINSTALLED = "uninstalled"  # who paused the sending of a workspace that uninstalled the bot


@dataclass(frozen=True)
class Installation:
    """A workspace with the token that serves it. `refresh`: by which the next one is got, if it ends."""

    stored: Stored
    token: str
    refresh: str | None = None

    @property
    def id(self) -> str:
        return self.stored.id

    def authorized(self) -> AuthorizeResult:
        one = self.stored
        return AuthorizeResult(
            enterprise_id=one.organisation,
            team_id=one.id,
            bot_token=self.token,
            bot_user_id=one.bot_user,
            bot_id=one.bot_id,
        )


class Installations:
    """Reads and writes installations, whose tokens are encrypted in the database."""

    def __init__(self, database: Database, key: bytes, clock: Clock) -> None:
        self.database, self.clock, self.cipher = database, clock, Cipher(key, "workspaces")
        self._complained: set[str] = set()

    async def living(self) -> dict[str, Installation]:
        """Return every workspace that can be served, by its id. One whose token cannot be read is told once."""
        rows = await self.database.read(installations.living)
        readable = {row.id: found for row in rows if row.secrets is not None and (found := self._open(row))}
        served = {id: one for id, one in readable.items() if not id.startswith("E")}
        for row in rows:
            by = readable.get(row.organisation or "")
            if row.secrets is None and by is not None:
                served[row.id] = replace(by, stored=replace(row, bot_user=by.stored.bot_user))
        self.organisations = {id: one for id, one in readable.items() if id.startswith("E")}
        self.ending = [one for one in readable.values() if one.refresh and one.stored.expires_at is not None]
        return served

    organisations: Mapping[str, Installation] = {}
    ending: Sequence[Installation] = ()  # those whose token ends

    def _open(self, row: Stored) -> Installation | None:
        try:
            secrets = json.loads(self.cipher.decrypt(row.secrets or "", row.id))
        except WrongKey:
            if row.id not in self._complained:
                self._complained.add(row.id)
                log.error(f"the token of {row.id} {WRONG_KEY}; install the bot there again")
            return None
        return Installation(row, secrets["token"], secrets.get("refresh"))

    async def install(self, answer: Mapping[str, Any]) -> Stored:
        """Store what Slack answers to the code of an installation. Raises NotInstalled."""
        made = self._made(answer)
        await self.database.write(partial(self._install, made=made))
        return made

    def _install(self, connection: Connection, made: Stored) -> None:
        for id in (made.id, *installations.keep(connection, made)):
            audit.write_event(connection, id, made.installed_by, "install", made.name, made.installed_at)

    def _made(self, answer: Mapping[str, Any]) -> Stored:
        token, home = answer.get("access_token"), answer.get("team")
        if answer.get("is_enterprise_install"):
            home = answer.get("enterprise")
        if answer.get("token_type") != "bot" or not isinstance(token, str) or not isinstance(home, Mapping):
            raise NotInstalled("no token of a bot for a workspace")
        who, id = answer.get("authed_user"), str(home.get("id") or "")
        if id[:1] not in ("T", "E"):
            raise NotInstalled("no workspace")
        at = self.clock()
        return Stored(
            id=id,
            name=str(home.get("name") or "")[:255],
            secrets=self.sealed(id, token, answer.get("refresh_token")),
            bot_user=str(answer.get("bot_user_id") or ""),
            installed_by=str(who.get("id") or "") if isinstance(who, Mapping) else "",
            installed_at=at,
            expires_at=ends_at(answer, at),
        )

    def sealed(self, id: str, token: str, refresh: object) -> str:
        """Return the tokens as they are stored."""
        return self.cipher.encrypt(json.dumps({"token": token, "refresh": refresh}), id)

    async def renew(self, client: SlackClient, settings: Settings, owner: str) -> bool:
        """Get the next tokens of those that end soon, in one process at a time. Return whether there are any new ones.

        The earlier token is taken until it ends, so nobody waits for this.
        """
        soon = [one for one in self.ending if (one.stored.expires_at or 0) - self.clock() < EARLY]
        room = asyncio.Semaphore(AT_ONCE)

        async def renew(id: str) -> bool:
            async with room:
                return await self._renew(id, client, settings, owner)

        found = await asyncio.gather(*(renew(one.id) for one in soon), return_exceptions=True)
        for error in (one for one in found if isinstance(one, Exception)):
            log.warning("a token could not be renewed; asking again", error=type(error).__name__)
        return any(one is True for one in found)

    async def _renew(self, id: str, client: SlackClient, settings: Settings, owner: str) -> bool:
        lease = partial(keys.take_lease, name=keys.lease_of_renewal(id), owner=owner, seconds=RENEWING)
        if not await self.database.write(lambda c: lease(c, at=sql.database_time(c) or self.clock())):
            return False
        row = await self.database.read(lambda c: installations.find(c, id))
        one = self._open(row) if row is not None and row.secrets is not None else None
        if one is None or one.refresh is None or (one.stored.expires_at or 0) - self.clock() >= EARLY:
            return False  # another process was faster
        try:
            given = {"grant_type": "refresh_token", "refresh_token": one.refresh}
            answer = await _token(client, settings, given)
        except NotInstalled as error:
            log.error("a token could not be renewed; asking again", workspace=id, error=str(error))
            return False
        ends, token = ends_at(answer, self.clock()), str(answer.get("access_token") or "")
        if not token or ends is None:
            return False
        secrets = self.sealed(id, token, answer.get("refresh_token"))
        keep = partial(installations.renew, seen=one.stored, secrets=secrets, expires_at=ends)
        return await self.database.write_until(steady() + RENEWING / 2, keep)

    async def join(self, organisation: Installation, workspace: str) -> None:
        """Serve one more workspace of an organisation that has the bot org-wide, unless it has left."""
        one = organisation.stored
        joining = replace(one, id=workspace, organisation=one.id, secrets=None, expires_at=None, version=1)
        await self.database.write(lambda c: installations.join(c, replace(joining, installed_at=self.clock())))

    async def leave(self, id: str, before: Micros) -> None:
        """End an installation from before this instant, and pause all sending of what it served."""
        await self.database.write(partial(self._leave, id=id, before=before))

    def _leave(self, connection: Connection, id: str, before: Micros) -> None:
        now = self.clock()
        for workspace in installations.leave(connection, id, before, now):
            if not keys.paused(connection, workspace):
                keys.set_paused(connection, workspace, UNINSTALLED, now)
            audit.write_event(connection, workspace, "slack", "uninstall", None, now)


async def exchange(client: SlackClient, settings: Settings, code: str, back: str) -> Mapping[str, Any]:
    """Return Slack's answer to the code of an installation. `back`: where people came back to. Raises NotInstalled."""
    return await _token(client, settings, {"code": code, "redirect_uri": back})


async def _token(client: SlackClient, settings: Settings, given: Mapping[str, str]) -> Mapping[str, Any]:
    """Ask for a token. Not by slack_sdk's own method: its way to name the app is deprecated in aiohttp."""
    secret = settings.slack_client_secret.get_secret_value() if settings.slack_client_secret else ""
    app = {"client_id": settings.slack_client_id or "", "client_secret": secret}
    try:
        answer = await client.api_call("oauth.v2.access", data={**app, **given})
    except UNREACHABLE as error:
        raise NotInstalled(error_name(error)) from None
    return answer.data if isinstance(answer.data, dict) else {}


def ends_at(answer: Mapping[str, Any], at: Micros) -> Micros | None:
    """Return when the token of an answer ends, if it does."""
    seconds = answer.get("expires_in")
    return at + seconds * SECOND if isinstance(seconds, int) and seconds > 0 else None
