"""Who may send an alert without approval, and which alerts nobody may."""

from __future__ import annotations

from bot.config.settings import ApprovalSettings
from bot.domain import marketing, people
from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.errors import NotAllowed
from bot.domain.i18n import Translatable
from bot.domain.people import Person
from bot.workflow import approval_rules
from bot.workflow.approvers import Approvers
from providers.base import Purpose


def why_not(approval: ApprovalSettings, row: Broadcast, start: Micros) -> Translatable | None:
    """Why nobody may send it without approval, as far as its row tells; None if somebody may.

    `start`: when it would start, since rules may be about the hour.
    """
    if row.purpose is not Purpose.TRANSACTIONAL:
        return Translatable("Marketing always needs approval.")
    if row.test_of is not None or row.canary is not None or row.schedule is not None:
        template = "A test, a recurring broadcast and one with a canary cannot go out without approval."
        return Translatable(template)
    if offers := marketing.looks_like_marketing(row.text):
        return Translatable("It reads like an offer ({found}), so it needs approval.", found=", ".join(offers))
    if row.marketing_until is not None:
        return Translatable("It was marketing before it was edited, so it needs approval.")
    if not approval_rules.required_at(approval, row, row.most, start).quorum:
        return Translatable("It needs approval for another reason than a rule about alerts.")
    return None


async def may_break_glass(person: Person, row: Broadcast, approvers: Approvers, now: Micros) -> None:
    """Raises NotAllowed unless this person may send it without approval, or DirectoryUnavailable.

    It takes somebody whom the settings name for it, and who may write to its audience; it need not be the requester.
    """
    people.must_be_member(person)
    named, members = approvers.approval.break_glass, approvers.people.members
    if not named:
        raise NotAllowed("Nobody can send without approval here.")
    if person.id not in await approval_rules.people_in(named, members):
        raise NotAllowed("Only {who} can send without approval.", who=people.mentions(named))
    if (refusal := why_not(approvers.approval, row, approvers.requirements.starts_at(row, now))) is not None:
        raise not_allowed(refusal)
    if (audience := approvers.audiences.audience(row.audience)) is None:
        raise not_allowed(approvers.audiences.unknown_audience(row.audience))
    await approval_rules.may_ask(person, row.audience, audience, members)
    must_not_be_marketing(await approvers.database.read(lambda c: approvers.requirements.lately_marketing(c, row)))


def must_not_be_marketing(other: Broadcast | None) -> None:
    """Raises NotAllowed if nearly the same text was lately marketing."""
    if other is not None:
        template = "Nearly the same text was lately marketing (*{id}*), so it needs approval."
        raise NotAllowed(template, id=other.id)


def not_allowed(refusal: Translatable) -> NotAllowed:
    return NotAllowed(refusal.template, **refusal.values)
