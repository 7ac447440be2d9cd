"""`/broadcast schedules` and `reminders`: boards with buttons, in pages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from slack_sdk.web.async_client import AsyncWebClient

from bot.domain.clock import Clock
from bot.domain.errors import NotAllowed, NotFound
from bot.domain.i18n import Translator
from bot.domain.lifecycle import ScheduleAction
from bot.domain.people import Person
from bot.domain.schedule import Kind, Occurrence, Schedule
from bot.recurring.schedules import Moved
from bot.slack.blocks.boards import STEPS, BoardPage, board
from bot.slack.blocks.mrkdwn import Post
from bot.slack.commands.listing import UNKNOWN_BUTTON
from bot.slack.commands.schedules import Recurring
from bot.slack.interaction import Interaction
from bot.slack.payload import id_in, instant, number
from bot.slack.replies import Command, Subcommand
from bot.storage import occurrences, schedules
from bot.storage.listings import Place

LISTED = 8
LOOKED_AT = 80  # rows of one page, for as many as are listed that somebody may see
SNOOZED = 10


@dataclass(frozen=True)
class Step:
    """What a button does to a schedule, as it was when the button was drawn."""

    action: ScheduleAction
    id: str
    version: int


@dataclass(frozen=True)
class Asked:
    """Which page of which board somebody asks for, and what is to be done before."""

    kind: Kind
    after: Place | None = None
    step: Step | None = None

    def value(self) -> str:
        """As a button holds it."""
        step = self.step
        place = [self.after.at, self.after.id] if self.after else None
        return json.dumps([self.kind, place, [step.action, step.id, step.version] if step else None])

    @classmethod
    def of(cls, value: str) -> Asked:
        """The reverse of `value`. Raises NotAllowed for anything else."""
        try:
            kind, place, step = json.loads(value)
            after = Place(instant(place[0]), id_in(place[1]) or "") if place is not None else None
            done = Step(ScheduleAction(step[0]), id_in(step[1]) or "", number(step[2])) if step is not None else None
        except (ValueError, TypeError, LookupError, RecursionError):
            raise NotAllowed(UNKNOWN_BUTTON) from None
        if kind not in tuple(Kind) or (done is not None and done.action not in STEPS):
            raise NotAllowed(UNKNOWN_BUTTON)
        return cls(Kind(kind), after, done)


class BoardCommands:
    """The boards, as far as somebody may see what is on them."""

    def __init__(self, recurring: Recurring, clock: Clock) -> None:
        self.recurring, self.reminders, self.clock = recurring, recurring.reminders, clock
        self.database = self.reminders.database
        self.table: dict[str, Subcommand] = {
            "schedules": ("schedules", self.schedules),
            "reminders": ("reminders", self.list_reminders),
        }

    async def schedules(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """Show the recurring broadcasts."""
        return await self._page(Asked(Kind.BROADCAST), asked.person, asked.words, [])

    async def list_reminders(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """Show the reminders."""
        return await self._page(Asked(Kind.REMINDER), asked.person, asked.words, [])

    async def turned(self, value: str, done: Interaction) -> Post:
        """Pause, resume or end a schedule, if that is asked, and return the page.

        Raises NotAllowed, NotFound, Moved or DirectoryUnavailable.
        """
        asked = Asked.of(value)
        notices = await self._take(asked.step, done) if asked.step is not None else []
        return await self._page(asked, done.person, done.words, notices)

    async def _take(self, step: Step, done: Interaction) -> list[str]:
        """Take the step. Return what has become of the schedule, and what it had made before that still goes out."""
        words, person = done.words, done.person
        schedule = await self.reminders.find(done.workspace, step.id)
        if not await self.recurring.seen_by(person, [schedule]):
            raise NotFound(schedule.id)
        if schedule.version != step.version:
            raise Moved
        if step.action is ScheduleAction.RESUME:
            return [self.recurring.resumed(await self.reminders.resume(schedule, person), words)]
        if step.action is ScheduleAction.PAUSE:
            moved, told = await self.reminders.pause(schedule, person, None), words("*{id}* is paused.", id=step.id)
        else:
            moved, told = await self.reminders.stop(schedule, person), words("*{id}* has ended.", id=step.id)
        return [told, *await self.recurring.made(moved, words)]

    async def _page(self, asked: Asked, person: Person, words: Translator, notices: list[str]) -> Post:
        rows, after = await self._seen(asked, person)
        asleep = await self._asleep(person) if asked.kind is Kind.REMINDER and asked.after is None else []
        here = replace(asked, step=None)
        values = {
            (row.id, action): replace(here, step=Step(action, row.id, row.version)).value()
            for row in rows
            for action in STEPS
        }
        older = replace(here, after=after).value() if after else None
        newest = replace(here, after=None).value() if asked.after else None
        return board(BoardPage(asked.kind, rows, values, asleep, notices, older, newest), words)

    async def _seen(self, asked: Asked, person: Person) -> tuple[list[Schedule], Place | None]:
        """Return the next ones that this person may see, and the place after the last that was looked at."""
        after, seen = asked.after, list[Schedule]()
        for _ in range(0, LOOKED_AT, LISTED):
            place = after
            found = await self.database.read(
                lambda c, place=place: schedules.page(c, person.workspace, asked.kind, place, LISTED)  # type: ignore[misc]
            )
            theirs = await self.recurring.seen_by(person, found)
            for row in theirs[: LISTED - len(seen)]:
                seen.append(row)
                after = schedules.place_of(row)
            if len(seen) == LISTED:
                return seen, after if len(found) == LISTED or theirs[-1] is not seen[-1] else None
            if len(found) < LISTED:
                return seen, None
            after = schedules.place_of(found[-1])
        return seen, after

    async def _asleep(self, person: Person) -> Sequence[tuple[Occurrence, Schedule]]:
        found = await self.database.read(lambda c: occurrences.snoozed(c, person.workspace, SNOOZED))
        seen = {one.id for one in await self.recurring.seen_by(person, [of for _, of in found])} if found else set()
        return [(one, of) for one, of in found if of.id in seen]
