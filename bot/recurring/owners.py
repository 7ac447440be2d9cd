"""Who may own a schedule, and whether they still can."""

from __future__ import annotations

from bot.config.settings import Settings
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Ended
from bot.domain.people import Directory, DirectoryUnavailable, Person, Unknown, mentions
from bot.domain.schedule import Kind, Schedule


class Owners:
    """Checks who may own a schedule, and whether they still can."""

    def __init__(self, settings: Settings, people: Directory) -> None:
        self.settings, self.people = settings, people

    async def person(self, schedule: Schedule, user: str) -> Person:
        """Return a person. One whom Slack no longer knows is no longer a member. Raises DirectoryUnavailable."""
        try:
            return await self.people.person(schedule.workspace, user)
        except Unknown:
            return Person(schedule.workspace, user, member=False)

    async def may_own(self, kind: Kind, channel: str, user: str) -> bool:
        """Whether a person may own it: they must be in its channel, except for broadcasts in the approval channel."""
        if kind is Kind.BROADCAST and channel == self.settings.approval.channel:
            return True
        return await self.people.is_in(channel, user)

    async def ended(self, schedule: Schedule, owner: Person) -> tuple[Ended, Translatable] | None:
        """Return why the schedule must end, or None. Raises DirectoryUnavailable."""
        who = {"who": mentions([schedule.owner])}
        if owner.doubtful:
            raise DirectoryUnavailable(schedule.owner)
        if not owner.member:
            return Ended.OWNER_LEFT, Translatable("Its owner, {who}, is no longer a full member here.", **who)
        closed = await self.people.why_closed(schedule.channel)
        if closed is not None:
            return Ended.CHANNEL_GONE, closed
        if not await self.may_own(schedule.kind, schedule.channel, schedule.owner):
            return Ended.OWNER_LEFT, Translatable("Its owner, {who}, has left the channel.", **who)
        return None
