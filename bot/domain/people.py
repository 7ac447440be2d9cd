"""People, and what Slack reports about their standing in a workspace."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from bot.domain.errors import NotAMember
from bot.domain.i18n import Translatable

#: Who is in a user group, at most a minute old. Raises DirectoryUnavailable; then nobody counts as a member.
Members = Callable[[str], Awaitable[frozenset[str]]]


class DirectoryUnavailable(Exception):
    """Slack does not say right now who is in this group; whatever depends on it is refused."""

    def __init__(self, group: str) -> None:
        super().__init__(group)
        self.group = group


class Unknown(DirectoryUnavailable):
    """Slack knows nobody by this id, or does not show them to us."""


class DeadToken(DirectoryUnavailable):
    """Slack no longer accepts our token (`code` is its word). Waiting does not help; we need another token."""

    def __init__(self, code: str) -> None:
        super().__init__("token")
        self.code = code


class Membership(StrEnum):
    """What Slack reports about somebody's standing in a workspace. Only a member may do anything that counts."""

    MEMBER = "member"
    OUTSIDER = "outsider"  # a guest, a bot, a stranger, or somebody who was deactivated: Slack says so
    DOUBTFUL = "doubtful"  # Slack does not say, or names another workspace


def membership_of(profile: Mapping[str, Any], workspace: str) -> Membership:
    """Read from a `users.info` profile whether this is a full, active human member of this workspace.

    Our members have our workspace in `team_id` or, on Enterprise Grid, in `enterprise_user.teams`. A field that is
    missing, or of another type than Slack documents, makes nobody a member.
    """
    if any(profile.get(name) is True for name in (*STANDING, "is_stranger", "is_workflow_bot")):
        return Membership.OUTSIDER
    grid = profile.get("enterprise_user")
    teams = grid.get("teams") if isinstance(grid, Mapping) else None
    ours = [profile.get("team_id"), *(teams if isinstance(teams, list) else ())]
    reported = all(profile.get(name) is False for name in STANDING)
    odd = any(profile.get(name) not in (None, False) for name in ("is_stranger", "is_workflow_bot"))
    return Membership.MEMBER if reported and not odd and workspace and workspace in ours else Membership.DOUBTFUL


STANDING = ("deleted", "is_bot", "is_restricted", "is_ultra_restricted")  # Slack reports these for everybody


@dataclass(frozen=True)
class Person:
    """Somebody at the keyboard.

    `member`: a full, active human member of this workspace, not a guest. `doubtful`: Slack does not say so right now.
    `zone_known`: False if Slack names no zone that we know, and `zone` is the bot's.
    """

    workspace: str
    id: str
    name: str = ""
    locale: str = "en"
    zone: str = "UTC"
    member: bool = False
    doubtful: bool = False
    zone_known: bool = True


class Directory(Protocol):
    """Who is in the workspace and in its channels. Each raises DirectoryUnavailable when Slack does not say."""

    async def person(self, workspace: str, user: str) -> Person:
        """Raises Unknown for somebody whom Slack does not know."""
        ...

    async def members(self, group: str) -> frozenset[str]: ...

    async def sees(self, channel: str, user: str) -> bool:
        """Whether this person can open the channel."""
        ...

    async def may_read(self, channel: str, user: str) -> bool:
        """Whether this member may read the channel. Unlike `sees`, False where Slack does not say that it is public."""
        ...

    async def is_in(self, channel: str, user: str) -> bool: ...

    async def why_closed(self, channel: str) -> Translatable | None:
        """Why nothing can be posted there; None if it can."""
        ...


def must_be_member(person: Person) -> None:
    """Raises NotAMember, or DirectoryUnavailable if Slack does not say whether they are a member."""
    if person.doubtful:
        raise DirectoryUnavailable(person.id)
    if not person.member:
        raise NotAMember(
            "Only full members of this workspace can do this. Guests, bots and people from outside cannot."
        )


def mentions(ids: Iterable[str]) -> str:
    """Users and groups as Slack shows them: `<@U…>` and `<!subteam^S…>`."""
    return ", ".join(f"<!subteam^{id}>" if id.startswith("S") else f"<@{id}>" for id in ids) or "—"
