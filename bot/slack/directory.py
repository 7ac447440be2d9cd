"""Looks up in Slack a person's standing, zone and language, who is in a group, and where a card may be posted."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Any

import structlog
from cachetools import LRUCache
from slack_sdk.web.async_client import AsyncWebClient

from bot.domain.hours import all_zones
from bot.domain.i18n import Translatable
from bot.domain.people import DeadToken, DirectoryUnavailable, Membership, Person, Unknown, membership_of
from bot.slack.client import DEAD_TOKEN, UNREACHABLE, error_code, error_name

log = structlog.get_logger(__name__)

PERSON_SECONDS = 60.0  # a standing that decides is never older
FRESH_SECONDS = 3.0  # where a press decides, Slack is asked again after this
GROUP_SECONDS = 60.0  # a membership that decides is never older
PLACE_SECONDS = 15.0

#: Slack's error codes for a person, and for a conversation, that we cannot see.
NOBODY = frozenset({"user_not_found", "user_not_visible"})
NOWHERE = frozenset({"channel_not_found", "not_in_channel"})


@dataclass(frozen=True)
class Place:
    """A conversation.

    `fix`: what to do if no card can be posted there. `closed`: why nothing more is posted there. If it is not postable
    and `closed` is None, Slack did not say whether it is closed. `private`: only its members see its messages.
    `public`: Slack says that every member of the workspace may read it.
    """

    postable: bool
    fix: Translatable | None = None
    closed: Translatable | None = None
    private: bool = False
    public: bool = False


class People:
    """Asks Slack, and remembers the answers briefly. `workspace`: ours; people of any other are strangers.

    `timezone`: for people for whom Slack names none.
    """

    def __init__(self, client: AsyncWebClient, timezone: str = "UTC") -> None:
        self.client, self.timezone = client, timezone
        self.workspace = ""
        self.dead: str | None = None  # Slack's error code, while it no longer accepts our token
        self._known = LRUCache[str, tuple[float, Any]](10_000)
        self._reading: dict[str, asyncio.Task[frozenset[str]]] = {}  # members of channels, being read

    async def person(self, workspace: str, user: str, *, fresh: bool = False) -> Person:
        """Raises DirectoryUnavailable if Slack does not say who that is, Unknown if it knows nobody by this id.

        `fresh`: somebody decides something now, so a remembered answer counts only for a moment.
        """
        found = self._remembered(f"person:{user}", FRESH_SECONDS if fresh else PERSON_SECONDS)
        if found is None:
            found = self._read(await self._ask_person(user))
            self._remember(f"person:{user}", found)
        return Person(workspace=workspace, id=user, **found)

    async def _ask_person(self, user: str) -> dict[str, Any]:
        try:
            answer = await self.client.users_info(user=user, include_locale=True)
        except UNREACHABLE as error:
            if error_code(error) in NOBODY:
                raise Unknown(user) from None
            raise self._unavailable(user, error) from None
        profile = answer.get("user")
        if not isinstance(profile, dict):
            raise self._unavailable(user, KeyError("user"))
        return profile

    def _read(self, profile: dict[str, Any]) -> dict[str, Any]:
        membership = membership_of(profile, self.workspace)
        names = profile.get("profile")
        shown = names.get("display_name") if isinstance(names, dict) else None
        zone = profile.get("tz")
        known = isinstance(zone, str) and zone in all_zones()
        return {
            "name": str(shown or profile.get("real_name") or profile.get("name") or ""),
            "locale": str(profile.get("locale") or "en"),
            "zone": zone if known else self.timezone,
            "zone_known": known,
            "member": membership is Membership.MEMBER,
            "doubtful": membership is Membership.DOUBTFUL,
        }

    async def members(self, group: str) -> frozenset[str]:
        """Return who is in a user group; nobody for a disabled one. Raises DirectoryUnavailable."""
        found: frozenset[str] | None = self._remembered(f"group:{group}", GROUP_SECONDS)
        if found is None:
            found = await self._ask_group(group)
            self._remember(f"group:{group}", found)
        return found

    async def _ask_group(self, group: str) -> frozenset[str]:
        try:
            answer = await self.client.usergroups_users_list(usergroup=group)
        except UNREACHABLE as error:
            if error_code(error) in ("no_such_subteam", "subteam_not_found"):
                return frozenset()
            raise self._unavailable(group, error) from None
        return self._ids(answer.get("users"), group)

    async def place(self, channel: str) -> Place:
        """Return whether a card can be posted in this conversation, and if not, why."""
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
            if error_code(error) in NOWHERE:
                return INVITE
            if error_code(error) == "missing_scope":  # as for a private channel that the bot has not joined
                return UNSEEN
            raise self._unavailable(channel, error) from None
        found = answer.get("channel")
        place = _judge(found, self.workspace) if isinstance(found, dict) else None
        if place is None:
            raise self._unavailable(channel, KeyError("channel"))
        return place

    async def why_closed(self, channel: str) -> Translatable | None:
        """Return why nothing more is posted in this conversation; None if it is open. Raises DirectoryUnavailable."""
        place = await self.place(channel)
        if not place.postable and place.closed is None:
            raise DirectoryUnavailable(channel)
        return place.closed

    async def sees(self, channel: str, user: str) -> bool:
        """Whether this person sees the messages in this conversation. Raises DirectoryUnavailable."""
        return not (await self.place(channel)).private or await self.is_in(channel, user)

    async def may_read(self, channel: str, user: str) -> bool:
        """Whether this member may read this conversation, as far as Slack says so. Raises DirectoryUnavailable."""
        if channel.startswith("D"):
            return False
        public: bool | None = self._remembered(f"public:{channel}", PERSON_SECONDS)
        if public is None:
            place = await self.place(channel)
            if place is UNSEEN:  # nobody tells us who is in there either
                return False
            public = place.public
            self._remember(f"public:{channel}", public)
        return public or await self.is_in(channel, user)

    async def is_in(self, channel: str, user: str) -> bool:
        """Whether this person is in this conversation, as of at most a minute ago. Raises DirectoryUnavailable.

        A large one takes Slack longer than anybody may wait. It is then read to its end for the next request.
        """
        found: frozenset[str] | None = self._remembered(f"in:{channel}", GROUP_SECONDS)
        if found is None:
            if channel not in self._reading:
                self._reading[channel] = asyncio.create_task(self._read_members(channel), name="read members")
                self._reading[channel].add_done_callback(lambda task: self._have_read(channel, task))
            found = await asyncio.shield(self._reading[channel])
        return user in found

    async def _read_members(self, channel: str) -> frozenset[str]:
        found = await self._ask_members(channel)
        self._remember(f"in:{channel}", found)
        return found

    def _have_read(self, channel: str, task: asyncio.Task[frozenset[str]]) -> None:
        del self._reading[channel]
        if not task.cancelled():
            task.exception()  # those who still wait get it; asking for it here keeps asyncio quiet

    async def _ask_members(self, channel: str) -> frozenset[str]:
        """Return all members, or fail: with only some pages, members on the others would be shut out."""
        members: set[str] = set()
        cursor = ""
        while True:
            try:
                answer = await self.client.conversations_members(channel=channel, cursor=cursor, limit=1000)
            except UNREACHABLE as error:
                if error_code(error) in NOWHERE:
                    return frozenset()
                raise self._unavailable(channel, error) from None
            members.update(self._ids(answer.get("members"), channel))
            cursor = str((answer.get("response_metadata") or {}).get("next_cursor") or "")
            if not cursor:
                return frozenset(members)

    def _ids(self, reported: object, of: str) -> frozenset[str]:
        """Return a list of ids. Raises DirectoryUnavailable for anything else, which does not mean nobody."""
        if not isinstance(reported, list):
            raise self._unavailable(of, TypeError("no list"))
        return frozenset(str(id) for id in reported)

    def _unavailable(self, what: str, error: Exception) -> DirectoryUnavailable:
        log.warning("Slack did not tell", about=what, error=error_name(error))
        code = error_code(error)
        if code not in DEAD_TOKEN:
            return DirectoryUnavailable(what)
        self.dead = code
        return DeadToken(code)

    def forget(self) -> None:
        """Forget all answers, so that Slack is asked again."""
        self._known.clear()

    def _remembered(self, key: str, seconds: float) -> Any:
        at, value = self._known.get(key, (0.0, None))
        return value if time.monotonic() - at < seconds else None

    def _remember(self, key: str, value: Any) -> None:
        self._known[key], self.dead = (time.monotonic(), value), None


def _judge(channel: dict[str, Any], workspace: str) -> Place | None:
    """Return the place; None if Slack does not say what must be known before a text is posted there."""
    if channel.get("is_im") or channel.get("is_mpim"):
        return NO_DIRECT
    public = channel.get("is_private") is False
    if channel.get("is_archived"):
        return replace(ARCHIVED, public=public)
    if _is_shared(channel, workspace):
        return replace(SHARED, public=public)
    if channel.get("is_frozen"):
        return replace(FROZEN, public=public)
    if any(channel.get(name) is not False for name in ("is_archived", "is_ext_shared")):
        return None
    if channel.get("is_member") is not True:
        return replace(INVITE, public=public)
    return Place(True, private=not public, public=public)


def _is_shared(channel: dict[str, Any], workspace: str) -> bool:
    """Whether another company reads there, or is about to.

    On Enterprise Grid the workspaces of one company share channels too, and Slack may name them as connected.
    """
    if channel.get("is_ext_shared") or channel.get("is_pending_ext_shared"):
        return True
    company = channel.get("is_org_shared") is True
    connected = [] if company else _listed(channel, "connected_team_ids")
    others = {*connected, *_listed(channel, "pending_connected_team_ids")}
    ours = {workspace, *_listed(channel, "internal_team_ids")}
    return bool(others - ours) or (channel.get("is_shared") is True and not company)


def _listed(channel: dict[str, Any], name: str) -> list[str]:
    found = channel.get(name)
    return [str(id) for id in found] if isinstance(found, list) else []


GONE = Translatable("Its channel is archived, or I am no longer in it.")
INVITE = Place(
    False,
    Translatable(
        "I am not in this channel, so nobody could approve it here. Type `/invite @bellcrier`, then open the draft."
    ),
    GONE,
)
UNSEEN = Place(False, INVITE.fix)
NO_DIRECT = Place(
    False,
    Translatable("Nobody else could approve it in a direct message. Open the draft from a channel that I am in."),
    GONE,
)
ARCHIVED = Place(False, Translatable("This channel is archived. Open the draft from a channel that I am in."), GONE)
SHARED = Place(
    False,
    Translatable("This channel is shared with another company. Open the draft from a channel that is not shared."),
    Translatable("Its channel is now shared with another company."),
)
FROZEN = Place(
    False,
    Translatable("This channel is frozen, so nobody can post in it. Open the draft from a channel that I am in."),
    Translatable("Its channel is now frozen, so nobody can post in it."),
)
