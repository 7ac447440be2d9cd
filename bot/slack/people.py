"""Who is asking: a person's standing, zone and language; who is in a group; where a card may stand."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import ClientError
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.broadcast import Sentence
from bot.policy import CannotTell, Person, Unknown

log = structlog.get_logger(__name__)

PERSON_SECONDS = 300.0
GROUP_SECONDS = 60.0  # membership that decides is never older
PLACE_SECONDS = 15.0

#: What Slack answers about somebody, and about a conversation, that is not there for us.
NOBODY = frozenset({"user_not_found", "user_not_visible"})
NOWHERE = frozenset({"channel_not_found", "not_in_channel"})
UNREACHABLE = (SlackApiError, ClientError, TimeoutError, OSError)


@dataclass(frozen=True)
class Place:
    """A conversation. `fix` says what to do when no card can stand there, `closed` why what came there comes no more;
    without either of them Slack did not say how it stands."""

    postable: bool
    fix: Sentence | None = None
    closed: Sentence | None = None


class People:
    """Asks Slack, and remembers the answers for a little while. `workspace` is ours; anybody else is a stranger."""

    def __init__(self, client: AsyncWebClient) -> None:
        self.client = client
        self.workspace = ""
        self._known: dict[str, tuple[float, Any]] = {}

    async def person(self, workspace: str, user: str) -> Person:
        """Raises CannotTell when Slack does not say who that is, Unknown when it knows nobody: then nobody is."""
        found = self._remembered(f"person:{user}", PERSON_SECONDS)
        if found is None:
            found = self._read(await self._ask_person(user))
            self._remember(f"person:{user}", found)
        return Person(workspace=workspace, id=user, **found)

    async def _ask_person(self, user: str) -> dict[str, Any]:
        try:
            answer = await self.client.users_info(user=user, include_locale=True)
        except UNREACHABLE as error:
            if _code(error) in NOBODY:
                raise Unknown(user) from None
            raise _cannot_tell(user, error) from None
        profile = answer.get("user")
        if not isinstance(profile, dict):
            raise _cannot_tell(user, KeyError("user"))
        return profile

    def _read(self, profile: dict[str, Any]) -> dict[str, Any]:
        outside = ("is_bot", "deleted", "is_restricted", "is_ultra_restricted", "is_stranger", "is_workflow_bot")
        elsewhere = bool(self.workspace) and profile.get("team_id", self.workspace) != self.workspace
        names = profile.get("profile") or {}
        return {
            "name": str(names.get("display_name") or profile.get("real_name") or profile.get("name") or ""),
            "locale": str(profile.get("locale") or "en"),
            "zone": str(profile.get("tz") or "UTC"),
            "member": not elsewhere and not any(profile.get(flag) for flag in outside),
        }

    async def members(self, group: str) -> frozenset[str]:
        """Who is in a user group; nobody in a disabled one. Raises CannotTell."""
        found: frozenset[str] | None = self._remembered(f"group:{group}", GROUP_SECONDS)
        if found is None:
            found = await self._ask_group(group)
            self._remember(f"group:{group}", found)
        return found

    async def _ask_group(self, group: str) -> frozenset[str]:
        try:
            answer = await self.client.usergroups_users_list(usergroup=group)
        except UNREACHABLE as error:
            if _code(error) in ("no_such_subteam", "subteam_not_found"):
                return frozenset()
            raise _cannot_tell(group, error) from None
        return frozenset(answer.get("users") or ())

    async def place(self, channel: str) -> Place:
        """May a card stand in this conversation?"""
        if channel.startswith("D"):
            return NO_DIRECT
        found: Place | None = self._remembered(f"place:{channel}", PLACE_SECONDS)
        if found is None:
            found = await self._ask_place(channel)
            if found.postable:
                self._remember(f"place:{channel}", found)
        return found

    async def _ask_place(self, channel: str) -> Place:
        try:
            answer = await self.client.conversations_info(channel=channel)
        except UNREACHABLE as error:
            if _code(error) in NOWHERE:
                return INVITE
            if _code(error) == "missing_scope":  # so it is with a private channel that it has not joined
                return UNSEEN
            raise _cannot_tell(channel, error) from None
        channel_found = answer.get("channel")
        return _judge(channel_found) if isinstance(channel_found, dict) else Place(True)  # posting will tell

    async def why_closed(self, channel: str) -> Sentence | None:
        """Why nothing is said in this conversation any more; None where it is. Raises CannotTell."""
        place = await self.place(channel)
        if not place.postable and place.closed is None:
            raise CannotTell(channel)
        return place.closed

    async def is_in(self, channel: str, user: str) -> bool:
        """Is this person in this conversation? As of at most a minute ago. Raises CannotTell."""
        found: frozenset[str] | None = self._remembered(f"in:{channel}", GROUP_SECONDS)
        if found is None:
            found = await self._ask_members(channel)
            self._remember(f"in:{channel}", found)
        return user in found

    async def _ask_members(self, channel: str) -> frozenset[str]:
        """All of them, or nobody's answer: some pages alone would show who is on the others out."""
        members: set[str] = set()
        cursor = ""
        while True:
            try:
                answer = await self.client.conversations_members(channel=channel, cursor=cursor, limit=1000)
            except UNREACHABLE as error:
                if _code(error) in NOWHERE:
                    return frozenset()
                raise _cannot_tell(channel, error) from None
            members.update(answer.get("members") or ())
            cursor = str((answer.get("response_metadata") or {}).get("next_cursor") or "")
            if not cursor:
                return frozenset(members)

    def forget(self) -> None:
        """Ask Slack anew about everything."""
        self._known.clear()

    def _remembered(self, key: str, seconds: float) -> Any:
        at, value = self._known.get(key, (0.0, None))
        return value if time.monotonic() - at < seconds else None

    def _remember(self, key: str, value: Any) -> None:
        if len(self._known) > 10_000:
            self._known.clear()
        self._known[key] = (time.monotonic(), value)


def _judge(channel: dict[str, Any]) -> Place:
    if channel.get("is_im") or channel.get("is_mpim"):
        return NO_DIRECT
    if channel.get("is_archived"):
        return ARCHIVED
    if channel.get("is_ext_shared"):
        return SHARED
    return Place(True) if channel.get("is_member", True) else INVITE


def _code(error: Exception) -> str | None:
    return error.response.get("error") if isinstance(error, SlackApiError) else None


#: What Slack answers where the same, asked anew, may well work.
PASSING = frozenset(
    {
        *("expired_trigger_id", "exchanged_trigger_id", "trigger_expired", "invalid_trigger_id", "trigger_exchanged"),
        *("ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"),
    }
)


def is_late(error: Exception) -> bool:
    """Was Slack too slow, or we? Else something is wrong with what it was asked."""
    return not isinstance(error, SlackApiError) or _code(error) in PASSING


def _cannot_tell(what: str, error: Exception) -> CannotTell:
    log.warning("Slack did not tell", about=what, error=type(error).__name__)
    return CannotTell(what)


GONE = Sentence("Its channel is archived, or I am not in it any more.")
INVITE = Place(
    False,
    Sentence(
        "I am not in this channel, so nobody could approve it here. Type `/invite @bellcrier`, then open the draft."
    ),
    GONE,
)
UNSEEN = Place(False, INVITE.fix)
NO_DIRECT = Place(
    False,
    Sentence("In a direct message nobody else could approve it. Open the draft from a channel that I am in."),
    GONE,
)
ARCHIVED = Place(False, Sentence("This channel is archived. Open the draft from a channel that I am in."), GONE)
SHARED = Place(
    False,
    Sentence("This channel is shared with another company. Open the draft from a channel of your own."),
    Sentence("Its channel is shared with another company by now."),
)
