"""What one person's Home shows, gathered from the database and from Slack's directory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from bot.config.workspaces import is_for_many
from bot.domain.broadcast import Broadcast
from bot.domain.clock import Clock, Micros, micros, moment
from bot.domain.i18n import Translator, translator_for
from bot.domain.lifecycle import Action, State
from bot.domain.people import DirectoryUnavailable, Person, Unknown
from bot.domain.schedule import Kind, Schedule
from bot.slack.blocks import home as blocks
from bot.slack.blocks.home import Contents, Part
from bot.slack.blocks.mrkdwn import Block, quote, when
from bot.storage import boards, keys
from bot.storage.boards import Place
from bot.storage.homes import Home
from bot.storage.votes import votes_for
from bot.workflow.approval_rules import people_in
from bot.workflow.workflow import Workflow

ROWS = 5  # of a section on one page
LOOKED_AT = 30  # rows of a section for one page: of some, nothing may be told to this person

Row = Broadcast | Schedule
Read = Callable[[Connection, Place | None, int], Sequence[Row]]


class Board:
    """Gathers what a Home shows. A row that Slack does not say who may see is left out."""

    def __init__(self, workflow: Workflow, clock: Clock) -> None:
        self.workflow, self.database, self.clock = workflow, workflow.database, clock
        self.permissions, self.people = workflow.permissions, workflow.permissions.people
        self.audiences, self.settings = workflow.audiences, workflow.audiences.settings

    async def of(self, home: Home) -> list[Block]:
        """Return the blocks of this Home. Raises DirectoryUnavailable if Slack does not say whose it is."""
        try:
            person = await self.people.person(home.workspace, home.person)
        except Unknown:
            return blocks.closed(translator_for(None))
        words = translator_for(person.locale)
        if person.doubtful:
            return blocks.doubtful(words)
        if not person.member:
            return blocks.closed(words)
        return blocks.draw_home(await self._contents(home, person, words), words)

    async def _contents(self, home: Home, person: Person, words: Translator) -> Contents:
        parts = [await self._part(name, home, person) for name in blocks.SECTIONS]
        stops = await self.database.read(lambda c: keys.stops(c, self.clock()))
        is_admin = person.id in self.settings.admins
        of_admin = list(await self._of_admin(person.workspace, words)) if is_admin else None
        return Contents(parts, home.is_first_visit, list(self._notices(stops, person, words)), of_admin)

    # --- sections ----------------------------------------------------------------------------------------------------

    async def _part(self, name: str, home: Home, person: Person) -> Part:
        """Return the page of this section that the person has turned to."""
        pages = [Place(*place) for place in home.pages.get(name, ())]
        read = self._reads(person)[name]
        found = await self.database.read(lambda c: read(c, pages[-1] if pages else None, LOOKED_AT + 1))
        rows: list[Row] = []
        for number, row in enumerate(found[:LOOKED_AT]):
            if await self._belongs(name, person, row):
                rows.append(row)
            if len(rows) == ROWS:
                more = _place(name, row) if number + 1 < len(found) else None
                return Part(name, rows, len(pages), more)
        more = _place(name, found[LOOKED_AT - 1]) if len(found) > LOOKED_AT else None
        return Part(name, rows, len(pages), more)

    def _reads(self, person: Person) -> dict[str, Read]:
        here, id, tonight = person.workspace, person.id, _end_of_day(self.clock(), person.zone)
        return {
            "waiting": lambda c, after, most: boards.waiting(c, here, id, after, most),
            "mine": lambda c, after, most: boards.mine(c, here, id, after, most),
            "planned": lambda c, after, most: boards.planned(c, here, tonight, after, most),
            "unknown": lambda c, after, most: boards.unknown(c, here, after, most),
            "recurring": lambda c, after, most: boards.recurring(c, here, after, most),
        }

    async def _belongs(self, name: str, person: Person, row: Row) -> bool:
        """Whether a row is in this section for this person."""
        try:
            if isinstance(row, Schedule):
                return await self._may_see_schedule(person, row)
            if name == "waiting":
                return await self._waits_for(person, row)
            if name == "unknown":
                return not await self._waits_for(person, row) and await self.permissions.may_see(person, row)
            return name == "mine" or await self.permissions.may_see(person, row)
        except DirectoryUnavailable:
            return False

    async def _waits_for(self, person: Person, row: Broadcast) -> bool:
        match row.state:
            case State.DRAFT:
                return row.requester == person.id
            case State.PENDING:
                if not await self.permissions.can(Action.APPROVE, person, row):
                    return False
                votes = await self.database.read(lambda c: votes_for(c, row))
                return person.id not in {vote.approver for vote in votes}
            case State.HELD:
                return row.hold_until is None and await self.permissions.can(Action.SEND_NOW, person, row)
            case _:
                return await self.permissions.can(Action.MARK_SENT, person, row)

    async def _may_see_schedule(self, person: Person, schedule: Schedule) -> bool:
        """Whether `/broadcast schedules` or `reminders` shows it to this person."""
        if person.id in (schedule.owner, *self.settings.admins):
            return True
        if schedule.kind is Kind.REMINDER:
            return await self.people.is_in(schedule.channel, person.id)
        admits: tuple[Callable[[], Awaitable[bool]], ...] = (
            partial(self.people.may_read, schedule.channel, person.id),
            partial(self._approves, person),
        )
        for admit in admits:
            if await admit():
                return True
        return False

    async def _approves(self, person: Person) -> bool:
        return person.id in await people_in(self.settings.approval.approvers, self.people.members)

    # --- what keeps broadcasts from going ----------------------------------------------------------------------------

    def _notices(self, stops: keys.Stops, person: Person, words: Translator) -> Iterator[str]:
        if person.workspace in stops.paused:
            yield words("⏸️ All sending is paused until an admin types `/broadcast resume all`.")
        for account in sorted(stops.away.keys() & self.audiences.providers.keys()):
            template = "⚠️ I cannot reach {vendor}. Everything due there is waiting. I will try again {again_at}."
            vendor = quote(self.audiences.providers[account].title)
            yield words(template, vendor=vendor, again_at=when(stops.away[account]))

    async def _of_admin(self, workspace: str, words: Translator) -> Iterator[str]:
        names, of = sorted(self.audiences.providers), workspace if is_for_many(self.settings) else None
        credits, notices = await self.database.read(lambda c: (keys.credits_of(c, names), keys.open_notices(c, of)))
        return self._admin_lines(names, credits, notices, words)

    def _admin_lines(
        self, names: Sequence[str], credits: dict[str, str], notices: dict[str, keys.Notice], words: Translator
    ) -> Iterator[str]:
        """Yield each account with its credit, then what is in trouble."""
        for name in names:
            vendor = f"*{quote(name)}* · {quote(self.audiences.providers[name].title)}"
            credit = words("credit {credit}", credit=quote(credits[name])) if name in credits else ""
            low = words("⚠️ low") if f"credit:{name}" in notices else ""
            away = words("⚠️ cannot be reached") if f"breaker:{name}" in notices else ""
            yield " · ".join(filter(None, [vendor, credit, low, away]))
        for name, notice in sorted(notices.items()):
            if name.partition(":")[0] not in ("credit", "breaker"):
                at = when(notice.at)
                yield words(
                    "⚠️ `{name}`: {code}, since {from_at}", name=quote(name), code=quote(notice.code), from_at=at
                )


def _place(name: str, row: Row) -> Place:
    """Return the place of a row in the order of its section."""
    if isinstance(row, Schedule) or name == "mine":
        return Place(row.created_at, row.id)
    return Place((row.due or 0) if name == "planned" else row.changed_at, row.id)


def _end_of_day(now: Micros, zone: str) -> Micros:
    """Return the last instant of this person's day."""
    local = moment(now).astimezone(ZoneInfo(zone))
    tomorrow = local.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return micros(tomorrow - moment(0)) - 1
