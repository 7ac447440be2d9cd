"""Who may request, who may approve, and how many must approve. Pure except for asking who is in a Slack group."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from zoneinfo import ZoneInfo

from bot.config.settings import ApprovalRule, ApprovalSettings, AudienceSettings
from bot.domain.broadcast import MOST_IN_A_TEST, Broadcast
from bot.domain.clock import Micros, moment
from bot.domain.errors import NotAllowed
from bot.domain.people import Members, Person, mentions, must_be_member
from bot.domain.price import price_of
from providers.base import Purpose


@dataclass(frozen=True)
class RequiredApprovals:
    """What a broadcast needs before it may go: approvals by this many of these users and groups."""

    quorum: int
    approvers: tuple[str, ...]


def required_approvals(
    approval: ApprovalSettings,
    *,
    purpose: Purpose,
    audience: str,
    account: str,
    size: int | None,
    cost: str | None = None,
    start: Micros | None = None,
    doubtful: bool = False,
    test: bool = False,
) -> RequiredApprovals:
    """The first rule that matches, else the general one. `doubtful`: a transactional text that reads like an offer.

    What is not known (None) gives the strictest answer: every rule about larger audiences, higher costs or hours of
    the day matches. A `test` for few people needs no approval.
    """
    if test and size is not None and size <= MOST_IN_A_TEST:
        return RequiredApprovals(0, approval.approvers)
    for rule in approval.rules:
        kind = (rule.purpose or purpose, rule.audience or audience, rule.account or account)
        if (
            kind == (purpose, audience, account)
            and _reaches(rule, size)
            and _costs(rule, cost)
            and _starts_within(rule, start)
        ):
            need = RequiredApprovals(rule.quorum, rule.approvers or approval.approvers)
            break
    else:
        need = RequiredApprovals(approval.quorum if purpose is Purpose.MARKETING else 0, approval.approvers)
    least = 1 if doubtful or purpose is Purpose.MARKETING else 0
    return RequiredApprovals(max(need.quorum, least), need.approvers)


def _reaches(rule: ApprovalRule, size: int | None) -> bool:
    return rule.larger_than is None or size is None or size > rule.larger_than


def _costs(rule: ApprovalRule, cost: str | None) -> bool:
    """`cost`: as a row keeps it, an amount and perhaps a currency."""
    return rule.costs_more_than is None or cost is None or Decimal(cost.partition(" ")[0]) > rule.costs_more_than


def _starts_within(rule: ApprovalRule, start: Micros | None) -> bool:
    """Whether it starts in the hours of the rule, which may pass midnight."""
    if rule.between is None or start is None:
        return True
    (first, end), at = rule.between, moment(start).astimezone(ZoneInfo(rule.timezone or "UTC")).time()
    return first <= at < end if first <= end else at >= first or at < end


def required_at(
    approval: ApprovalSettings, broadcast: Broadcast, size: int | None, now: Micros | None = None
) -> RequiredApprovals:
    """The approvals that a stored broadcast needs if it reaches so many people.

    `now`: when it would go, if it has no later time of its own; otherwise when it was asked for counts.
    """
    need = required_approvals(
        approval,
        purpose=broadcast.purpose,
        audience=broadcast.audience,
        account=broadcast.account,
        size=size,
        cost=price_of(broadcast.staged) or broadcast.quoted,
        start=max(broadcast.send_at or 0, now or broadcast.created_at),
        test=broadcast.test_of is not None,
    )
    # in training, one person may take every step
    return replace(need, quorum=min(need.quorum, 1)) if broadcast.mode == "training" else need


def approvers_today(approval: ApprovalSettings, broadcast: Broadcast) -> tuple[str, ...]:
    """The approvers of a broadcast as of today.

    Those named when it was requested, while the settings still name all of them. Otherwise, or if nobody was named,
    those that the rules now name for such a broadcast, at the hour when its approvers were last named.
    """
    if broadcast.approvers and approval.everybody.issuperset(broadcast.approvers):
        return broadcast.approvers
    return required_at(approval, broadcast, broadcast.most, broadcast.ruled_at).approvers


def notified(approval: ApprovalSettings, approvers: Iterable[str]) -> tuple[str, ...]:
    """Who is mentioned when approvers are asked: those whom the settings name for it, else the approvers."""
    return approval.notify or tuple(approvers)


async def people_in(ids: Iterable[str], members: Members) -> frozenset[str]:
    """The people among these users and groups. Raises DirectoryUnavailable."""
    people: set[str] = set()
    for id in ids:
        people |= await members(id) if id.startswith("S") else {id}
    return frozenset(people)


def still_asked(broadcast: Broadcast, voters: Iterable[str] = ()) -> tuple[str, ...]:
    """The named approvers who can still approve: not the requester, the editor or anybody who has approved already.

    In training, the requester and the editor can approve too.
    """
    spent = set(voters) if broadcast.mode == "training" else {*voters, broadcast.requester, broadcast.editor}
    return tuple(id for id in broadcast.approvers if id not in spent)


async def may_ask(person: Person, name: str, audience: AudienceSettings, members: Members) -> None:
    """Raises NotAllowed when this person may not write to this audience."""
    must_be_member(person)
    if audience.requesters and person.id not in await people_in(audience.requesters, members):
        raise NotAllowed(
            "Only {who} can write to *{audience}*. Ask one of them to send it for you.",
            who=mentions(audience.requesters),
            audience=name,
        )


async def may_approve(person: Person, broadcast: Broadcast, members: Members, seats: Collection[str] = ()) -> None:
    """Raises NotAllowed when this person may not approve this broadcast. `seats`: in whose place they may."""
    must_be_member(person)
    if broadcast.mode == "training":  # one person may take every step
        return
    if person.id in (broadcast.requester, broadcast.editor):
        raise NotAllowed(
            "You asked for {id}, so somebody else must approve it: {who}.",
            id=broadcast.id,
            who=mentions(still_asked(broadcast)),
        )
    if not seats and not await is_approver(person, broadcast, members):
        raise NotAllowed("Only {who} can approve {id}.", who=mentions(still_asked(broadcast)), id=broadcast.id)


async def is_approver(person: Person, broadcast: Broadcast, members: Members) -> bool:
    return person.member and person.id in await people_in(broadcast.approvers, members)


async def may_stop(
    person: Person, broadcast: Broadcast, admins: Iterable[str], members: Members, seats: Collection[str] = ()
) -> None:
    """Raises NotAllowed unless this person is the requester, the editor, an approver or an admin.

    `seats`: in the place of which approvers they may act.
    """
    must_be_member(person)
    admins = tuple(admins)
    if seats or person.id in (broadcast.requester, broadcast.editor, *admins):
        return
    if not await is_approver(person, broadcast, members):
        raise NotAllowed(
            "Only the requester ({requester}) or {who} can do this to {id}.",
            requester=mentions([broadcast.requester]),
            who=mentions(broadcast.approvers or admins),
            id=broadcast.id,
        )
