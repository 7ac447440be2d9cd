"""Delegates: who approves in the place of approvers who are away."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain import people
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Micros
from bot.domain.errors import FieldError, InvalidRequest, NotAllowed
from bot.domain.i18n import Translatable, Value
from bot.domain.people import Directory, DirectoryUnavailable, Person, must_be_member
from bot.storage import absences, audit, outbox
from bot.storage.absences import Absence
from bot.storage.votes import Vote
from bot.workflow.approval_rules import people_in

DAY = 24 * 3600 * SECOND
LONGEST = 60 * DAY


class Absences:
    """Who is away, and who approves in their place.

    A delegate takes the seat of one approver who is away, so the number of people who may approve never grows. While
    somebody is away they do not approve themselves. Nobody takes the seat of the person who asked for the broadcast.
    """

    def __init__(self, runtime: Runtime, directory: Directory) -> None:
        self.database, self.clock, self.people = runtime.database, runtime.clock, directory
        self.approval = runtime.settings.approval

    async def current(self, workspace: str) -> dict[str, Absence]:
        """Who is away now, by id. A delegate whom the settings no longer name counts for nobody.

        Raises DirectoryUnavailable.
        """
        if not self.approval.delegates:
            return {}
        away = await self.database.read(lambda c: absences.absences_at(c, workspace, self.clock()))
        allowed = await people_in(self.approval.delegates, self.people.members) if away else frozenset()
        return {one.person: one for one in away if one.delegate in allowed and await self._is_member(one)}

    async def _is_member(self, absence: Absence) -> bool:
        """Whether the person who is away still has a seat. If Slack does not say, nobody takes it."""
        try:
            return (await self.people.person(absence.workspace, absence.person)).member
        except DirectoryUnavailable:
            return False

    async def delegates(self, broadcast: Broadcast) -> dict[str, list[str]]:
        """Who may approve it in whose place. Raises DirectoryUnavailable."""
        away = await self.current(broadcast.workspace)
        if not away:
            return {}
        without = frozenset({broadcast.requester, broadcast.editor or broadcast.requester})
        named = await people_in(broadcast.approvers, self.people.members) - without
        return {delegate: seats for delegate, seats in _taken(named, away).items() if delegate not in without}

    async def seats(self, person: Person, broadcast: Broadcast) -> tuple[str, ...]:
        """In whose place this person may act on it. Nobody's if they are an approver of it themselves."""
        return tuple((await self.delegates(broadcast)).get(person.id, ()))

    async def is_approver(self, id: str) -> bool:
        """Whether the settings let this person approve something. Raises DirectoryUnavailable."""
        return id in await people_in(self.approval.everybody, self.people.members)

    async def must_be_here(self, person: Person) -> None:
        """Raises NotAllowed if they are away: somebody else has their seat."""
        absence = (await self.current(person.workspace)).get(person.id)
        if absence is not None:
            raise NotAllowed(
                "You are away until {end_at}, and {who} approves in your place. Type `/broadcast back` first.",
                end_at=absence.until,
                who=people.mentions([absence.delegate]),
            )

    async def leave(self, person: Person, delegate: str, until: Micros) -> Absence:
        """Let `delegate` approve in this person's place until then.

        Raises NotAllowed, InvalidRequest or DirectoryUnavailable.
        """
        must_be_member(person)
        now = self.clock()
        absence = Absence(person.workspace, person.id, delegate, now, until)
        if complaint := await self._complaint(person, absence):
            raise InvalidRequest(complaint)
        template = "{by} is away until {end_at}. Until then you approve broadcasts in their place."
        sentence = Translatable(template, by=people.mentions([person.id]), end_at=until)

        alone = [one.person for one in (await self.current(person.workspace)).values() if one.delegate == person.id]

        def write(connection: Connection) -> None:
            self._tell_the_alone(connection, absence, alone)
            absences.keep_absence(connection, absence)
            audit.write_event(connection, person.workspace, person.id, "away", delegate, now)
            outbox.post(connection, person.workspace, f"away:{person.id}:{now}", delegate, sentence, None, now)

        await self.database.write(write)
        return absence

    def _tell_the_alone(self, connection: Connection, absence: Absence, alone: Iterable[str]) -> None:
        """Tell those in whose place this person approved so far that nobody does any more."""
        template = "{by} is away too, so nobody approves in your place. Name somebody else with `/broadcast away`."
        sentence = Translatable(template, by=people.mentions([absence.person]))
        for person in alone:
            key = f"alone:{person}:{absence.since}"
            outbox.post(connection, absence.workspace, key, person, sentence, None, absence.since)

    async def _complaint(self, person: Person, absence: Absence) -> FieldError | None:
        approval, away = self.approval, await self.current(person.workspace)
        if not approval.delegates:
            template = "Nobody may approve in the place of others here. Ask an admin to set `approval.delegates`."
            raise NotAllowed(template)
        if not await self.is_approver(person.id):
            raise NotAllowed("Only approvers can name a delegate.")
        if not absence.since < absence.until <= absence.since + LONGEST:
            values: dict[str, Value] = {"days": LONGEST // DAY}
            return FieldError("until", Translatable("Choose a time within the next {days} days.", **values))
        who = people.mentions([absence.delegate])
        if absence.delegate == person.id:
            return FieldError("delegate", Translatable("You cannot name yourself. Name somebody else."))
        if absence.delegate not in await people_in(approval.delegates, self.people.members):
            template = "{who} cannot approve in your place. These people can: {delegates}."
            values = {"who": who, "delegates": people.mentions(approval.delegates)}
            return FieldError("delegate", Translatable(template, **values))
        if absence.delegate in away:
            template = "{who} is away until {end_at}. Name somebody else."
            return FieldError("delegate", Translatable(template, who=who, end_at=away[absence.delegate].until))
        must_be_member(await self.people.person(person.workspace, absence.delegate))
        return None

    async def come_back(self, person: Person) -> bool:
        """End their absence. Returns False if they were not away."""

        def write(connection: Connection) -> bool:
            away = {one.person for one in absences.absences_at(connection, person.workspace, self.clock())}
            ended = absences.end_absence(connection, person.workspace, person.id) and person.id in away
            if ended:
                audit.write_event(connection, person.workspace, person.id, "back", None, self.clock())
            return ended

        return await self.database.write(write)


def _taken(named: frozenset[str], away: Mapping[str, Absence]) -> dict[str, list[str]]:
    """The seats among `named` that delegates take. Approvers have a seat of their own, so they take no other."""
    found: dict[str, list[str]] = {}
    for person, absence in away.items():
        if person in named and absence.delegate not in named and absence.delegate not in away:
            found.setdefault(absence.delegate, []).append(person)
    return found


def seat_for(
    connection: Connection,
    broadcast: Broadcast,
    person: Person,
    seats: Iterable[str],
    votes: Collection[Vote],
    at: Micros,
) -> str | None:
    """In whose place this person's vote counts; None for their own seat.

    `seats`: those that they may take, as known before the transaction. Raises NotAllowed if none of them is free now,
    or if a delegate has voted in this person's own.
    """
    if any(vote.approver == person.id for vote in votes):
        return None  # it is counted once anyway
    taken = {vote.seat: vote.approver for vote in votes}
    if person.id in taken:
        raise NotAllowed("{who} has approved it in your place.", who=people.mentions([taken[person.id]]))
    still = [
        one.person for one in absences.absences_at(connection, broadcast.workspace, at) if one.delegate == person.id
    ]
    free = [seat for seat in seats if seat in still and seat not in taken]
    if seats and not free:
        raise NotAllowed("You can no longer approve it in the place of {who}.", who=people.mentions(seats))
    return free[0] if free else None
