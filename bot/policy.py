"""Who may ask, who may approve, and how many must agree. Pure but for asking who is in a Slack group."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from bot.config.settings import ApprovalRule, ApprovalSettings, AudienceSettings
from bot.domain.broadcast import Broadcast
from bot.domain.errors import NotAllowed
from bot.domain.i18n import Translatable
from providers.base import Purpose

#: Who is in a user group, as of at most a minute ago. Raises CannotTell: then nobody is.
Members = Callable[[str], Awaitable[frozenset[str]]]


class CannotTell(Exception):
    """Slack does not say who is in this group just now; what depends on it is refused."""

    def __init__(self, group: str) -> None:
        super().__init__(group)
        self.group = group


class Unknown(CannotTell):
    """Slack knows nobody by this id, or does not show them to us."""


class DeadToken(CannotTell):
    """Slack takes our token no more (`code` is its word): no waiting helps, somebody must give us another."""

    def __init__(self, code: str) -> None:
        super().__init__("token")
        self.code = code


class Membership(StrEnum):
    """What Slack tells of somebody's standing in a workspace. Only a member may do anything that counts."""

    MEMBER = "member"
    OUTSIDER = "outsider"  # a guest, a bot, a stranger, or somebody who was deactivated: Slack says so
    DOUBTFUL = "doubtful"  # Slack does not say, or names another workspace


def membership_of(profile: Mapping[str, Any], workspace: str) -> Membership:
    """Read a profile of `users.info`: a full, active human member of this workspace, or not.

    Ours are those with our workspace in `team_id` or, on Enterprise Grid, in `enterprise_user.teams`. What is missing,
    or is of another type than Slack documents, makes nobody a member.
    """
    if any(profile.get(name) is True for name in (*STANDING, "is_stranger", "is_workflow_bot")):
        return Membership.OUTSIDER
    grid = profile.get("enterprise_user")
    teams = grid.get("teams") if isinstance(grid, Mapping) else None
    ours = [profile.get("team_id"), *(teams if isinstance(teams, list) else ())]
    told = all(profile.get(name) is False for name in STANDING)
    odd = any(profile.get(name) not in (None, False) for name in ("is_stranger", "is_workflow_bot"))
    return Membership.MEMBER if told and not odd and workspace and workspace in ours else Membership.DOUBTFUL


STANDING = ("deleted", "is_bot", "is_restricted", "is_ultra_restricted")  # Slack tells these of everybody


@dataclass(frozen=True)
class Person:
    """Somebody at the keyboard. `member`: a full, active human member of this workspace, nobody's guest; `doubtful`:
    Slack does not say so just now. `zone_told`: False where Slack names no zone that we know, and `zone` is the bot's.
    """

    workspace: str
    id: str
    name: str = ""
    locale: str = "en"
    zone: str = "UTC"
    member: bool = False
    doubtful: bool = False
    zone_told: bool = True


class Directory(Protocol):
    """Who is in the workspace and in its channels, as Slack tells it. Each raises CannotTell when it does not."""

    async def person(self, workspace: str, user: str) -> Person:
        """Raises Unknown for somebody whom Slack does not know."""
        ...

    async def members(self, group: str) -> frozenset[str]: ...

    async def sees(self, channel: str, user: str) -> bool:
        """May this person open the channel?"""
        ...

    async def is_in(self, channel: str, user: str) -> bool: ...

    async def why_closed(self, channel: str) -> Translatable | None:
        """Why nothing can be posted there any more; None where it can."""
        ...


@dataclass(frozen=True)
class Need:
    """What a broadcast needs before it may go: this many of these people (users and groups)."""

    quorum: int
    approvers: tuple[str, ...]


def need_for(
    approval: ApprovalSettings, *, purpose: Purpose, audience: str, account: str, size: int | None, doubtful: bool
) -> Need:
    """The first rule that matches, else the general one. `doubtful`: a transactional text that reads like an offer.

    `size` None is the strictest answer: every rule about larger audiences matches.
    """
    for rule in approval.rules:
        if _matches(rule, purpose, audience, account, size):
            need = Need(rule.quorum, rule.approvers or approval.approvers)
            break
    else:
        need = Need(approval.quorum if purpose is Purpose.MARKETING else 0, approval.approvers)
    least = 1 if doubtful or purpose is Purpose.MARKETING else 0
    return Need(max(need.quorum, least), need.approvers)


def _matches(rule: ApprovalRule, purpose: Purpose, audience: str, account: str, size: int | None) -> bool:
    return (
        rule.purpose in (None, purpose)
        and rule.audience in (None, audience)
        and rule.account in (None, account)
        and (rule.larger_than is None or size is None or size > rule.larger_than)
    )


def approvers_today(approval: ApprovalSettings, broadcast: Broadcast) -> tuple[str, ...]:
    """Whose yes counts on it: who was named when it was asked for, while the settings still name all of them; else, or
    where nobody was, whom the rules name now for the like of it."""
    if broadcast.approvers and approval.everybody.issuperset(broadcast.approvers):
        return broadcast.approvers
    need = need_for(
        approval,
        purpose=broadcast.purpose,
        audience=broadcast.audience,
        account=broadcast.account,
        size=broadcast.most,
        doubtful=False,
    )
    return need.approvers


async def people_in(ids: Iterable[str], members: Members) -> frozenset[str]:
    """The people among these users and groups. Raises CannotTell."""
    people: set[str] = set()
    for id in ids:
        people |= await members(id) if id.startswith("S") else {id}
    return frozenset(people)


def still_asked(broadcast: Broadcast, voters: Iterable[str] = ()) -> tuple[str, ...]:
    """Of those who are named, whose yes is still needed: who asked for it, edited it or has said yes already is not
    asked. In training everybody's counts."""
    spent = set(voters) if broadcast.mode == "training" else {*voters, broadcast.requester, broadcast.editor}
    return tuple(id for id in broadcast.approvers if id not in spent)


def must_be_member(person: Person) -> None:
    """Raises NotAllowed, or CannotTell where Slack does not say whether they are one."""
    if person.doubtful:
        raise CannotTell(person.id)
    if not person.member:
        raise NotAllowed("Only full members of this workspace may do this: guests, bots and outside people may not.")


async def may_ask(person: Person, name: str, audience: AudienceSettings, members: Members) -> None:
    """Raises NotAllowed when this person may not write to this audience."""
    must_be_member(person)
    if audience.requesters and person.id not in await people_in(audience.requesters, members):
        raise NotAllowed(
            "Only {who} may write to *{audience}*. Ask one of them to send it for you.",
            who=mentions(audience.requesters),
            audience=name,
        )


async def may_approve(person: Person, broadcast: Broadcast, members: Members) -> None:
    """Raises NotAllowed when this person's yes does not count on this broadcast."""
    must_be_member(person)
    if broadcast.mode == "training":  # one person may walk the whole way
        return
    if person.id in (broadcast.requester, broadcast.editor):
        raise NotAllowed(
            "You asked for {id}, so somebody else must approve it: {who}.",
            id=broadcast.id,
            who=mentions(still_asked(broadcast)),
        )
    if not await is_approver(person, broadcast, members):
        raise NotAllowed("Only {who} can approve {id}.", who=mentions(still_asked(broadcast)), id=broadcast.id)


async def is_approver(person: Person, broadcast: Broadcast, members: Members) -> bool:
    return person.member and person.id in await people_in(broadcast.approvers, members)


async def may_stop(person: Person, broadcast: Broadcast, admins: Iterable[str], members: Members) -> None:
    """The requester, an approver or an admin may stop what has not left. Raises NotAllowed."""
    must_be_member(person)
    admins = tuple(admins)
    if person.id in (broadcast.requester, broadcast.editor, *admins):
        return
    if not await is_approver(person, broadcast, members):
        raise NotAllowed(
            "Only {requester}, who asked for it, or {who} can do this to {id}.",
            requester=mentions([broadcast.requester]),
            who=mentions(broadcast.approvers or admins),
            id=broadcast.id,
        )


def mentions(ids: Iterable[str]) -> str:
    """Users and groups as Slack shows them: `<@U…>` and `<!subteam^S…>`."""
    return ", ".join(f"<!subteam^{id}>" if id.startswith("S") else f"<@{id}>" for id in ids) or "—"
