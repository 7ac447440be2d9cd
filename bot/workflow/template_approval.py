"""Has a template approved once, for all the broadcasts that only fill in its slots."""

from __future__ import annotations

import dataclasses
import hashlib
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain import people
from bot.domain.broadcast import Broadcast, BroadcastRequest
from bot.domain.errors import FieldError, InvalidRequest, NotAllowed
from bot.domain.i18n import Translatable
from bot.domain.people import Person
from bot.domain.schedule import series_digest
from bot.scheduler import Task
from bot.storage import audit, outbox, templates
from bot.storage.templates import Template, TemplateVote
from bot.workflow import approval_rules
from bot.workflow.audiences import Audiences
from bot.workflow.permissions import Permissions
from bot.workflow.previews import Previews
from bot.workflow.templates import Templates, no_template
from providers.base import Purpose


@dataclass(frozen=True)
class Given:
    """Who approved a template as it is now, and how many approvals it needs."""

    voters: tuple[str, ...] = ()
    quorum: int = 1

    @property
    def approved(self) -> bool:
        return len(self.voters) >= self.quorum

    @property
    def missing(self) -> int:
        return max(self.quorum - len(self.voters), 0)


@dataclass(frozen=True)
class Offer:
    """What somebody approves: the template, the broadcast that it makes, and the digest of both."""

    template: Template
    example: Broadcast
    digest: str
    need: approval_rules.RequiredApprovals

    @property
    def given(self) -> Given:
        return Given(self.template.approvers(self.digest), self.need.quorum)


class TemplateApproval:
    """Shows what an approval of a template means, counts approvals, and takes them back."""

    def __init__(
        self, runtime: Runtime, audiences: Audiences, previews: Previews, permissions: Permissions, kept: Templates
    ) -> None:
        self.database, self.clock, self.wake = runtime.database, runtime.clock, runtime.wake
        self.settings, self.audiences, self.previews, self.kept = runtime.settings, audiences, previews, kept
        self.approvers, self.permissions = previews.approvers, permissions

    def given(self, template: Template, asker: str | None = None) -> Given:
        """Who approved it as it is now; nobody if what they approved would go to others today, or in another mode.

        `asker`: who is going to use it. They never approve what they ask for, but in training.
        """
        example = self.example(template)
        if example is None:
            return Given()
        voters = template.approvers(approval_digest(template, example))
        if self.settings.mode != "training":
            voters = tuple(id for id in voters if id != asker)
        return Given(voters, max(example.quorum, 1))

    def example(self, template: Template) -> Broadcast | None:
        """The broadcast that it makes, with its slots unfilled; None if no approval could cover it."""
        found = self.audiences.audience(template.audience or "")
        if found is None or found.everyone or found.max_size is None:
            return None
        return self.previews.outline(_request(template))

    async def offer(self, workspace: str, name: str, person: Person) -> Offer:
        """What this person would approve. Raises InvalidRequest, NotAllowed (audited) or DirectoryUnavailable."""
        template = await self.kept.find(workspace, name)
        example = self.example(template)
        if example is None:
            raise InvalidRequest(FieldError("template", self._why_never(template)))
        need = await self.approvers.need(example, frozenset(), example.bound)
        need = dataclasses.replace(need, quorum=max(need.quorum, 1))
        try:
            await self._may_approve(person, template, need)
        except NotAllowed as error:
            await self.permissions.audit_refusal(person, "approve_template", error.sentence.template)
            raise
        return Offer(template, example, approval_digest(template, example), need)

    def _why_never(self, template: Template) -> Translatable:
        """Why no approval can cover it, and what would help."""
        if (audience := template.audience) is None:
            return Translatable(
                "Only a template with an audience can be approved. `/broadcast template edit {name}` sets one.",
                name=template.name,
            )
        found = self.audiences.audience(audience)
        if found is None:
            return self.audiences.unknown_audience(audience)
        if found.everyone:
            return Translatable(
                "*{audience}* is everybody, so each broadcast to it needs its own approval.", audience=audience
            )
        return Translatable(
            "An approval in advance has to say how many people it reaches at most. Ask an admin to set `max_size` "
            "under `[audiences.{audience}]`.",
            audience=audience,
        )

    async def _may_approve(self, person: Person, template: Template, need: approval_rules.RequiredApprovals) -> None:
        people.must_be_member(person)
        if self.settings.mode == "training":  # one person may take every step
            return
        who = people.mentions(id for id in need.approvers if id not in template.writers)
        if person.id in template.writers:
            raise NotAllowed(
                "You wrote the template “{name}”, so somebody else must approve it: {who}.", name=template.name, who=who
            )
        if person.id not in await approval_rules.people_in(need.approvers, self.approvers.people.members):
            raise NotAllowed("Only {who} can approve the template “{name}”.", name=template.name, who=who)
        absence = (await self.approvers.absences.current(person.workspace)).get(person.id)
        if absence is not None:  # and their delegate approves no templates
            raise NotAllowed("You are away until {end_at}. Type `/broadcast back` first.", end_at=absence.until)

    async def approve(self, workspace: str, name: str, shown: str, person: Person) -> Offer:
        """Count this person's approval of exactly what they were shown, and return it as it stands then.

        Raises InvalidRequest if it has changed since, NotAllowed or DirectoryUnavailable.
        """
        offer = await self.offer(workspace, name, person)
        if offer.digest != shown:
            raise _shown_before(name)
        approved = await self.database.write(lambda c: self._approve(c, offer, person))
        self.wake(Task.PAINT)
        return approved

    def _approve(self, connection: Connection, offer: Offer, person: Person) -> Offer:
        current, now = self._same(connection, offer), self.clock()
        given = current.approved_by if current.approved_digest == offer.digest else ()
        if person.id in (one.id for one in given):
            return dataclasses.replace(offer, template=current)
        given = (*given, TemplateVote(person.id, now))
        if not templates.approve_template(connection, current, offer.digest, given):
            raise _shown_before(current.name)
        kept = dataclasses.replace(current, approved_by=given, approved_digest=offer.digest)
        about = f"{kept.name} {kept.digest}"
        audit.write_event(connection, kept.workspace, person.id, "approve_template", about, now)
        approved = dataclasses.replace(offer, template=kept)
        self._notify_owner(connection, approved, person)
        return approved

    @staticmethod
    def _same(connection: Connection, offer: Offer) -> Template:
        """The template as it is now, locked. Raises InvalidRequest if it is not what was shown."""
        seen = offer.template
        current = templates.find_template(connection, seen.workspace, seen.name, lock=True)
        if current is None or (current.digest, current.writers) != (seen.digest, seen.writers):
            raise _shown_before(seen.name)
        return current

    def _notify_owner(self, connection: Connection, offer: Offer, person: Person) -> None:
        kept, now, missing = offer.template, self.clock(), offer.given.missing
        by = people.mentions([person.id])
        sentence = Translatable(
            "{by} approved your template “{name}”. With its slots filled in, it now goes to *{audience}* without "
            "further approval.",
            by=by,
            name=kept.name,
            audience=offer.example.audience,
        )
        if missing:
            template = "{by} approved your template “{name}”. Approvals still needed: {missing}."
            sentence = Translatable(template, by=by, name=kept.name, missing=missing)
        key = f"template:{kept.name}:{offer.digest[:16]}:{person.id}:{now}"
        outbox.post(connection, kept.workspace, key, kept.owner, sentence, None, now)

    async def withdraw(self, workspace: str, name: str, person: Person) -> Template:
        """Take back this person's approval. What has been asked for with it stays approved. Raises InvalidRequest."""
        return await self.database.write(lambda c: self._withdraw(c, workspace, name, person))

    def _withdraw(self, connection: Connection, workspace: str, name: str, person: Person) -> Template:
        current = templates.find_template(connection, workspace, name, lock=True)
        if current is None:
            raise no_template(name)
        left = tuple(one for one in current.approved_by if one.id != person.id)
        if left != current.approved_by:
            templates.approve_template(connection, current, current.approved_digest or "", left)
            audit.write_event(connection, workspace, person.id, "withdraw_template", current.name, self.clock())
        return dataclasses.replace(current, approved_by=left)


def approval_digest(template: Template, example: Broadcast) -> str:
    """What an approval binds: what the template says, whom that reaches today and how many at most, and the mode."""
    bound = f"{template.digest} {series_digest(example)} {example.bound}"
    return hashlib.sha256(bound.encode()).hexdigest()


def _request(template: Template) -> BroadcastRequest:
    purpose = Purpose.MARKETING
    with suppress(ValueError):
        purpose = Purpose(template.purpose)
    return BroadcastRequest(
        **{**template.values(), "purpose": purpose},
        workspace=template.workspace,
        requester=template.owner,
        channel="",
    )


def _shown_before(name: str) -> InvalidRequest:
    template = (
        "The template “{name}” has changed since I showed it to you. Look at it again: "
        "`/broadcast template approve {name}`."
    )
    return InvalidRequest(FieldError("template", Translatable(template, name=name)))
