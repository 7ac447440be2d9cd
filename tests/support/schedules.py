"""Reminders and recurring broadcasts over a core, with a clock that the test moves."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Clock
from bot.domain.i18n import Translatable, translator_for
from bot.domain.lifecycle import ENDED, ScheduleState, State
from bot.domain.people import DirectoryUnavailable, Person, Unknown
from bot.domain.schedule import Kind, Occurrence, Schedule
from bot.recurring.reminders import Reminders
from bot.recurring.requests import Asked
from bot.slack.blocks.mrkdwn import Post
from bot.slack.publish.poster import Poster
from bot.slack.publish.reminders import ReminderPosts
from bot.storage import occurrences, tables
from bot.storage.broadcasts import latest
from bot.storage.database import Database
from bot.storage.votes import Vote, votes_for
from bot.when.recurrence import Closed
from tests.support.core import CLEO, TEAM, Core
from tests.support.ground import in_order
from tests.support.slack import refusal

PARIS = ZoneInfo("Europe/Paris")
HOUR, DAY = 3600 * SECOND, 24 * 3600 * SECOND


def at(text: str) -> int:
    """Return a wall-clock time in Paris as the store keeps it."""
    return int(datetime.fromisoformat(text).replace(tzinfo=PARIS).timestamp()) * SECOND


class Office:
    """Who is still here, as Slack would report it."""

    def __init__(self, core: Core) -> None:
        self.core, self.left, self.out, self.unknown = core, set[str](), set[str](), set[str]()
        self.open, self.silent = True, False

    async def person(self, workspace: str, user: str) -> Person:
        if self.silent:
            raise DirectoryUnavailable(user)
        if user in self.unknown:
            raise Unknown(user)
        return dataclasses.replace(CLEO, id=user, member=user not in self.left)

    async def why_closed(self, channel: str) -> Translatable | None:
        return None if self.open else Translatable("Its channel is archived, or I am no longer in it.")

    async def may_read(self, channel: str, user: str) -> bool:
        return True

    async def sees(self, channel: str, user: str) -> bool:
        return True

    async def is_in(self, channel: str, user: str) -> bool:
        return user not in self.out

    async def members(self, group: str) -> frozenset[str]:
        return await self.core.members(group)


class Channel:
    """The posts of a channel, by their `ts`. `refuses`: the error that Slack answers with."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database, self.clock = database, clock
        self.posts: dict[str, Post] = {}
        self.refuses: str | None = None
        self.tried = 0

    async def post(self, channel: str, post: Post, metadata: Mapping[str, Any]) -> dict[str, str]:
        self.tried += 1
        if self.refuses:
            raise refusal(self.refuses)
        ts = f"{self.clock() // SECOND}.{len(self.posts) + 1:06}"
        self.posts[ts] = post
        return {"channel": channel, "ts": ts}

    async def change(self, channel: str, ts: str, post: Post) -> None:
        if self.refuses:
            raise refusal(self.refuses)
        self.posts[ts] = post

    @property
    def shown(self) -> list[str]:
        return [str(post.blocks) for post in self.posts.values()]


class Series:
    """Reminders over a core, with a clock that the test moves; Monday, 30 November 2026, 10:00 in Paris."""

    def __init__(self, core: Core) -> None:
        self.core, self.office, self.channel, self.count = core, Office(core), Channel(core.database, core.clock), 0
        core.now = at("2026-11-30T10:00")
        slack = cast(Poster, self.channel)
        self.notices = ReminderPosts(slack, translator_for("en"), 10 * 60 * SECOND)
        self.reminders = self.process()

    def process(self, database: Database | None = None) -> Reminders:
        runtime = dataclasses.replace(self.core.runtime, database=database or self.core.database)
        return Reminders(runtime, self.core.workflow, self.office)

    async def add(self, kind: Kind, typed: str, text: str = "Hello", **more: Any) -> Schedule:
        self.count += 1
        options, person = more.pop("options", {}), more.pop("person", CLEO)
        if kind is Kind.BROADCAST:
            options = {"audience": "clients", "purpose": "marketing", **options}
        asked = Asked(kind, typed, "C1", text, options=options, **more)
        return await self.reminders.add(asked, key=f"s{self.count}", person=person)

    async def until(self, when: str, hours: int = 1) -> None:
        """Let time pass until `when`, `hours` at a time, with everything that ticks."""
        dispatcher, end = self.core.dispatcher("d"), at(when)
        while True:
            await self.reminders.tick()
            await self.core.run(dispatcher)
            await self.core.workflow.expire()
            await self.post()
            if self.core.now >= end:
                return
            self.core.now = min(self.core.now + await self.idle(hours) * HOUR, end)

    async def idle(self, hours: int) -> int:
        """Return how many hours to pass at once, in steps of `hours`, to skip the empty ones before anything is due."""
        now = self.core.now
        dues = await self.core.database.read(lambda c: [*dues_of(c)])
        soonest = min((max(due - now, 0) for due in dues), default=DAY)
        return hours * max(-(-soonest // (hours * HOUR)), 1)

    async def post(self) -> None:
        """Post what is waiting to be posted."""
        await self.notices.paint()

    async def occurrences(self, schedule: Schedule) -> list[Occurrence]:
        found = await self.core.database.read(lambda c: occurrences.latest(c, TEAM, schedule.id, 100))
        return found[::-1]

    async def now(self, schedule: Schedule) -> Schedule:
        return await self.reminders.find(TEAM, schedule.id)

    async def broadcasts(self) -> list[Broadcast]:
        rows = await self.core.database.read(lambda c: latest(c, TEAM, 100))
        return sorted(rows, key=lambda row: row.send_at or 0)

    async def votes(self, row: Broadcast) -> list[Vote]:
        return await self.core.database.read(lambda c: votes_for(c, row))

    async def told(self) -> list[str]:
        rows = await self.core.database.read(lambda c: c.execute(in_order(tables.posts)).mappings().all())
        return [str(row["sentence"]) for row in rows]


def dues_of(connection: Connection) -> Iterator[int]:
    """Yield every instant that something waits for."""
    schedules, occurrences, rows = (
        connection.execute(table.select()).mappings()
        for table in (tables.schedules, tables.occurrences, tables.broadcasts)
    )
    for schedule in schedules:
        lead = DAY if schedule["kind"] == Kind.BROADCAST else 0
        if schedule["state"] == ScheduleState.ACTIVE and schedule["next_at"] is not None:
            yield schedule["next_at"] - lead
        if schedule["state"] == ScheduleState.PAUSED and schedule["paused_until"] is not None:
            yield schedule["paused_until"]
    for occurrence in occurrences:
        if occurrence["draw_at"] is not None:
            yield occurrence["draw_at"]
    for row in rows:
        if State(row["state"]) not in ENDED:
            yield from (
                row[name] for name in ("due", "hold_until", "expires_at", "lease_until") if row[name] is not None
            )


async def snoozed(series: Series, typed: str = "every day 9:00") -> Schedule:
    """A reminder that was posted at nine and snoozed for an hour."""
    schedule = await series.add(Kind.REMINDER, typed, "Payroll", closed=Closed.KEEP)
    await series.until("2026-12-01T09:00")
    await series.reminders.answer((await series.occurrences(schedule))[0], CLEO, snooze=True)
    await series.post()
    assert "posted once more" in series.channel.shown[0]
    return schedule
