"""Who may approve a broadcast now, how many must, and whether enough of them are in its channel."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress

from bot.config.runtime import Runtime
from bot.domain import marketing, people
from bot.domain.broadcast import Broadcast
from bot.domain.errors import FieldError, InvalidRequest
from bot.domain.i18n import Translatable, Value
from bot.domain.lifecycle import State
from bot.domain.people import Directory, DirectoryUnavailable, Person
from bot.storage.votes import Vote, votes_for
from bot.workflow import approval_rules
from bot.workflow.absences import Absences
from bot.workflow.audiences import Audiences
from bot.workflow.requirements import Requirements, as_strict
from providers.base import Purpose

ASKED_TOGETHER = 8  # people that Slack is asked about at once


class Approvers:
    """Who may approve a broadcast now, how many must, and whether enough of them are in its channel."""

    def __init__(self, runtime: Runtime, audiences: Audiences, people: Directory) -> None:
        self.database, self.approval = runtime.database, runtime.settings.approval
        self.audiences, self.people, self.absences = audiences, people, Absences(runtime, people)
        self.requirements = Requirements(runtime, audiences)

    async def who_acts(self, row: Broadcast) -> AsyncIterator[str]:
        """Full members who may press the buttons of its card. Raises DirectoryUnavailable.

        An unknown outcome goes to approvers first: only they, or admins if no approver is left, may say that it did
        not go out.
        """
        for id in await self._named(row):
            with suppress(DirectoryUnavailable):
                if await self.is_member(row.workspace, id):
                    yield id

    async def who_answers(self, row: Broadcast) -> AsyncIterator[str]:
        """Those who may give every answer that its card offers. Raises DirectoryUnavailable.

        Somebody about whom Slack does not answer is included.
        """
        named = await self._named(row)
        if row.state is State.UNKNOWN and row.mode != "training":
            lost = await self.has_lost_its_approvers(row)
            denying = self.audiences.settings.admins if lost else self.as_of_today(row).approvers
            people = await approval_rules.people_in(denying, self.people.members)
            people |= (await self.absences.delegates(self.as_of_today(row))).keys()
            named = [id for id in named if id in people]
        for id in named:
            if await self._membership(row.workspace, id) is not False:
                yield id

    async def why_stuck(self, row: Broadcast, voters: Iterable[str] = ()) -> Translatable | None:
        """Why too few people could approve it in the channel where its card is or would be; None if enough could.

        `voters`: those who have approved it already. Raises DirectoryUnavailable.
        """
        if row.quorum == 0 or row.mode == "training":
            return None
        approvers, given = self.as_of_today(row).approvers, frozenset(voters)
        named = await approval_rules.people_in(approvers, self.people.members) - {row.requester, row.editor}
        named |= (await self.absences.delegates(self.as_of_today(row))).keys()
        inside = {id for id in sorted(named) if id in given or await self.people.sees(row.channel, id)}
        able = await self._active(row.workspace, inside, row.quorum)
        if len(able) >= row.quorum:
            return None
        if inside == named:
            return _too_few(row.quorum, approvers, len(able))
        values: dict[str, Value] = {"quorum": row.quorum, "number": len(able)}
        template = (
            "This channel is private, and too few people in it can approve this (needed: {quorum}, in the channel: "
            "{number}). Invite more of {who}, then try again."
        )
        if self.approval.channel is not None:
            values["channel"] = f"<#{row.channel}>"
            template = (
                "All cards go to {channel}, which is private, and too few people in it can approve this (needed: "
                "{quorum}, in the channel: {number}). Ask somebody in it to invite more of {who}, then try again."
            )
        return Translatable(template, **values, who=people.mentions(approvers))

    async def why_stuck_now(self, row: Broadcast) -> Translatable | None:
        """The same for a broadcast that already waits for people, for any reason. None too if Slack does not answer."""
        votes = await self.database.read(lambda c: votes_for(c, row))
        try:
            if row.state is not State.PENDING:
                return await self._why_unseen(row)
            return await self.why_stuck(row, [id for vote in votes for id in (vote.approver, vote.seat)])
        except DirectoryUnavailable:
            return None

    async def _why_unseen(self, row: Broadcast) -> Translatable | None:
        """Why nobody who can decide about it sees its card; None if somebody does.

        Also None if nobody is left to decide, since no other channel would be better.
        """
        somebody = False
        async for id in self.who_answers(row):
            if await self.people.sees(row.channel, id):
                return None
            somebody = True
        return Translatable("Nobody in this channel can decide about it.") if somebody else None

    async def _named(self, row: Broadcast) -> list[str]:
        """Everybody who may press a button of its card; those whom it asks come first."""
        today = self.as_of_today(row)
        named = await approval_rules.people_in(today.approvers, self.people.members)
        approvers = sorted(named | (await self.absences.delegates(today)).keys())
        votes = await self.database.read(lambda c: votes_for(c, row))
        deciding = [*(vote.approver for vote in votes if vote.approver in approvers), *approvers]
        asking, admins = [row.requester, row.editor], self.audiences.settings.admins
        unknown = row.state is State.UNKNOWN
        return list(dict.fromkeys((*deciding, *admins, *asking) if unknown else (*asking, *deciding, *admins)))

    async def seats(self, person: Person, broadcast: Broadcast) -> tuple[str, ...]:
        """In the place of which approvers of today, who are away, this person may act. Raises DirectoryUnavailable."""
        return await self.absences.seats(person, self.as_of_today(broadcast))

    def as_of_today(self, broadcast: Broadcast) -> Broadcast:
        return dataclasses.replace(broadcast, approvers=approval_rules.approvers_today(self.approval, broadcast))

    async def has_lost_its_approvers(self, broadcast: Broadcast) -> bool:
        """Whether nobody is left who may approve it. Raises DirectoryUnavailable."""
        named = await approval_rules.people_in(self.as_of_today(broadcast).approvers, self.people.members)
        return not await self._active(broadcast.workspace, named, 1)

    async def _active(self, workspace: str, people: Iterable[str], enough: int) -> list[str]:
        """Those who are full members now; the search ends once there are `enough` of them.

        Raises DirectoryUnavailable if there are too few and Slack did not answer about somebody.
        """
        found, unanswered, waiting = list[str](), list[DirectoryUnavailable](), sorted(people)
        while waiting and len(found) < enough:
            some, waiting = waiting[:ASKED_TOGETHER], waiting[ASKED_TOGETHER:]
            for id, answer in zip(
                some, await asyncio.gather(*(self._membership(workspace, id) for id in some)), strict=True
            ):
                if isinstance(answer, DirectoryUnavailable):
                    unanswered.append(answer)
                elif answer:
                    found.append(id)
        if len(found) < enough and unanswered:
            raise unanswered[0]
        return found

    async def _membership(self, workspace: str, id: str) -> bool | DirectoryUnavailable:
        try:
            return await self.is_member(workspace, id)
        except DirectoryUnavailable as error:
            return error

    async def is_member(self, workspace: str, id: str) -> bool:
        """Whether this is a full member. Somebody whom Slack no longer knows is not. Raises DirectoryUnavailable."""
        try:
            person = await self.people.person(workspace, id)
        except people.Unknown:
            return False
        if person.doubtful:
            raise DirectoryUnavailable(id)
        return person.member

    async def still_approvers(self, broadcast: Broadcast) -> frozenset[str]:
        """Everybody who may approve it now. An approver may leave while it waits for days.

        A voter who has left the workspace does not count, even if the settings name them. What a delegate approved
        stays approved when the other is back. Raises DirectoryUnavailable.
        """
        still = await approval_rules.people_in(self.as_of_today(broadcast).approvers, self.people.members)
        votes = await self.database.read(lambda c: votes_for(c, broadcast))
        lost = {vote.seat for vote in votes if vote.seat in still and not await self._still_counts(vote, broadcast)}
        return still - lost

    async def _still_counts(self, vote: Vote, broadcast: Broadcast) -> bool:
        """Whether who gave it, and in whose place, are members, and a delegate is still one of the delegates."""
        if vote.stands_for is not None:
            delegates = await approval_rules.people_in(self.approval.delegates, self.people.members)
            if vote.approver not in delegates or not await self.is_member(broadcast.workspace, vote.stands_for):
                return False
        return await self.is_member(broadcast.workspace, vote.approver)

    async def need(
        self,
        row: Broadcast,
        people: frozenset[str],
        size: int | None,
    ) -> approval_rules.RequiredApprovals:
        """The approvals that it needs if it reaches so many people.

        `people`: its requester and its editors, none of whom counts as an approver. Raises InvalidRequest if too few
        others could approve it, or DirectoryUnavailable.
        """
        start = self.requirements.starts_at(row, row.created_at)
        need = approval_rules.required_at(self.approval, row, size, start)
        if not need.quorum and not row.small_test and await self._is_doubtful(row, people):
            need = dataclasses.replace(need, quorum=1)
        if need.quorum and self.audiences.settings.mode != "training":
            await self._must_be_satisfiable(row.workspace, need, people)
        return need

    async def _is_doubtful(self, row: Broadcast, people: frozenset[str]) -> bool:
        """Whether a transactional text reads like an offer, and not all of those who wrote it are approvers."""
        if row.purpose is not Purpose.TRANSACTIONAL or not marketing.looks_like_marketing(row.text):
            return False
        return not people <= await approval_rules.people_in(self.approval.approvers, self.people.members)

    async def _must_be_satisfiable(
        self, workspace: str, need: approval_rules.RequiredApprovals, people: frozenset[str]
    ) -> None:
        named = await approval_rules.people_in(need.approvers, self.people.members) - people
        others = await self._active(workspace, named, need.quorum)
        if len(others) < need.quorum:
            raise InvalidRequest(FieldError("audience", _too_few(need.quorum, need.approvers, len(others))))

    async def with_canary(
        self, planned: Broadcast, need: approval_rules.RequiredApprovals, person: Person
    ) -> approval_rules.RequiredApprovals:
        """What it needs with its canary, to which this person must be allowed to write. Raises NotAllowed."""
        if planned.canary is None:
            return need
        settings = self.audiences.settings.audiences[planned.canary]
        await approval_rules.may_ask(person, planned.canary, settings, self.people.members)
        start = self.requirements.starts_at(planned, planned.created_at)
        return self.requirements.with_canary(planned, need, start)

    async def as_strict_as_marketing(
        self, planned: Broadcast, need: approval_rules.RequiredApprovals
    ) -> approval_rules.RequiredApprovals:
        """The approvals of marketing too, if nearly the same text was lately asked for as marketing."""
        return as_strict(need, await self.database.read(lambda c: self.requirements.lately_marketing(c, planned)))


def _too_few(quorum: int, approvers: Iterable[str], others: int) -> Translatable:
    template = (
        "Without you, too few of {who} can approve this (needed: {quorum}, available: {others}). Ask an admin to name "
        "more approvers."
    )
    return Translatable(template, quorum=quorum, who=people.mentions(approvers), others=others)
