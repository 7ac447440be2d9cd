"""The weekly digest: what became of the week's broadcasts, and what comes next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import Connection

from bot.config.notifications import WEEKDAYS, DigestSettings
from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast
from bot.domain.clock import HOUR, SECOND, Micros, moment
from bot.domain.i18n import Translatable, Value
from bot.domain.lifecycle import State
from bot.domain.people import DirectoryUnavailable
from bot.domain.progress import ANSWERS, UNDELIVERED
from bot.domain.schedule import Schedule
from bot.scheduler import Task
from bot.slack.blocks.card_facts import BADGES
from bot.slack.directory import People
from bot.storage import outbox, week
from providers.base import DeliveryStatus

log = structlog.get_logger(__name__)
WEEK, TOO_LATE = 7 * 24 * HOUR, 24 * HOUR
LISTED, SHOWN = 10, 60  # lines of each part; characters of a text


@dataclass(frozen=True)
class Gathered:
    """What a digest is made of."""

    week: week.Week
    unknown: list[Broadcast]
    coming: list[Broadcast]
    recurring: list[Schedule]

    @property
    def channels(self) -> set[str]:
        asked = {row.asked_in or row.channel for row in (*self.unknown, *self.coming)}
        return asked | {row.channel for row in self.recurring}


class WeeklyDigest:
    """Queues the digest of each week once, whatever the number of processes. `ours`: which workspace that is."""

    def __init__(self, runtime: Runtime, people: People, ours: Callable[[], str]) -> None:
        self.database, self.clock, self.wake = runtime.database, runtime.clock, runtime.wake
        self.people, self.ours = people, ours
        self.digest, self.mode = runtime.settings.digest, runtime.settings.mode
        self.zone = ZoneInfo(self.digest.timezone or runtime.settings.timezone)

    async def tick(self) -> None:
        """Queue the latest digest that is due, unless this was done before or it is too late for it."""
        channel, workspace = self.digest.channel, self.ours()
        if channel is None or not workspace:
            return
        day, at = latest_turn(self.digest, self.zone, self.clock())
        key = f"digest:{day}"
        if await self.database.read(lambda c: outbox.is_known(c, workspace, key)):
            return
        if self.clock() - at > TOO_LATE:
            if await self.database.write(lambda c: outbox.leave_out(c, workspace, key, channel, at)):
                log.warning("a weekly digest was left out, since it was late", day=day)
            return
        gathered = await self.database.read(lambda c: self._gather(c, workspace, at))
        open_channels = await self._read_by_all(gathered.channels, channel, at)
        if open_channels is None:
            return
        message = digest_message(gathered, open_channels, at)
        now = self.clock()
        await self.database.write(lambda c: outbox.post(c, workspace, key, channel, message, None, now))
        self.wake(Task.PAINT)

    def _gather(self, connection: Connection, workspace: str, at: Micros) -> Gathered:
        until = self.clock() + WEEK
        return Gathered(
            week.week_before(connection, workspace, self.mode, at - WEEK, at),
            week.not_known(connection, workspace),
            week.coming(connection, workspace, until),
            week.recurring(connection, workspace, until),
        )

    async def _read_by_all(self, channels: Iterable[str], here: str, at: Micros) -> set[str] | None:
        """Return which of these channels everybody in this one may read.

        None to ask again later, while Slack does not say. After an hour, such a channel counts as private.
        """
        found = {here}
        for channel in channels:
            try:
                if channel != here and (await self.people.place(channel)).public:
                    found.add(channel)
            except DirectoryUnavailable:
                if self.clock() - at < HOUR:
                    return None
        return found


def latest_turn(digest: DigestSettings, zone: ZoneInfo, now: Micros) -> tuple[str, Micros]:
    """Return the day of the latest digest that is due, and its instant."""
    local = moment(now).astimezone(zone)
    day = local.date() - timedelta(days=(local.weekday() - WEEKDAYS.index(digest.weekday)) % 7)
    at = _instant(day.isoformat(), digest.at, zone)
    if at > now:
        day -= timedelta(days=7)
        at = _instant(day.isoformat(), digest.at, zone)
    return day.isoformat(), at


def _instant(day: str, at: str, zone: ZoneInfo) -> Micros:
    local = datetime.combine(datetime.fromisoformat(day), time.fromisoformat(at), tzinfo=zone)
    return int(local.timestamp()) * SECOND


def digest_message(gathered: Gathered, channels: set[str], at: Micros) -> Translatable:
    """Return the digest. Only what was asked for in these channels is listed, everything is counted."""
    lines = [*_week(gathered.week, at)]
    unknown = [line for row in gathered.unknown if _is_open(row, channels) for line in _broadcast(row, row.changed_at)]
    if unknown:
        lines += [Translatable("*Not known whether they went out*"), *unknown[:LISTED]]
    coming = [line for row in gathered.coming if _is_open(row, channels) for line in _coming(row)]
    again = [_turn(row) for row in gathered.recurring if row.channel in channels]
    listed = [*coming[:LISTED], *again[:LISTED]]
    left_out = len(gathered.coming) + len(gathered.recurring) - len(listed)
    lines.append(Translatable("*In the next seven days*"))
    if left_out:
        more = Translatable("… and {number} that are not listed here", number=left_out)
        listed.append(more)
    return _below_each_other([*lines, *(listed or [Translatable("Nothing is planned.")])])


def _week(told: week.Week, at: Micros) -> Iterator[Translatable]:
    yield Translatable("*The week in broadcasts*, until {end_at}", end_at=at)
    template = (
        "Asked for: {asked} · approved: {approved} · rejected: {rejected} · sent: {sent} · failed: {failed} · not "
        "known: {unknown}"
    )
    numbers: dict[str, Value] = {"asked": told.asked, "approved": told.approved, "rejected": told.rejected}
    yield Translatable(template, **numbers, sent=told.sent, failed=told.failed, unknown=told.unknown)
    counts = {name: number for name, number in told.deliveries.items() if name not in ANSWERS}
    delivered, failed = counts.get(DeliveryStatus.DELIVERED, 0), sum(counts.get(one, 0) for one in UNDELIVERED)
    if total := sum(counts.values()):
        template = "Deliveries: {delivered} delivered · {failed} failed · {others} others"
        yield Translatable(template, delivered=delivered, failed=failed, others=total - delivered - failed)


def _is_open(row: Broadcast, channels: set[str]) -> bool:
    """Whether everybody may read where it was asked for; the approvers' channel says nothing about that."""
    return (row.asked_in or row.channel) in channels


def _broadcast(row: Broadcast, at: Micros) -> Iterator[Translatable]:
    template = "• {start_at} · *{id}* → {audience} · “{text}”"
    yield Translatable(template, start_at=at, id=row.id, audience=row.audience, text=_short(row.text))


def _coming(row: Broadcast) -> Iterator[Translatable]:
    for line in _broadcast(row, week.starts_at(row)):
        badge = Translatable(BADGES[row.state])
        yield line if row.state is State.SCHEDULED else Translatable("{line} · {badge}", line=line, badge=badge)


def _turn(row: Schedule) -> Translatable:
    template = "• {start_at} · *{id}* ({typed}) · “{text}”"
    return Translatable(template, start_at=row.next_at or 0, id=row.id, typed=row.typed, text=_short(row.text))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}…"


def _below_each_other(lines: Iterable[Translatable]) -> Translatable:
    parts = {f"line{place}": line for place, line in enumerate(lines)}
    return Translatable("\n".join(f"{{{part}}}" for part in parts), **parts)
