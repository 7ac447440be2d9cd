"""From what people typed to a stored schedule."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast
from bot.domain.clock import HOUR, SECOND, Micros, moment
from bot.domain.errors import FieldError, InvalidRequest, NotAllowed, sentence_of
from bot.domain.hours import Holidays
from bot.domain.i18n import Translatable
from bot.domain.people import Person, must_be_member
from bot.domain.schedule import Kind, Schedule, micros_of, name_of
from bot.recurring.notices import write_schedule_audit
from bot.recurring.occurrences import Occurrences, request_of
from bot.scheduler import Task
from bot.storage import schedules
from bot.when.instants import parse_when
from bot.when.recurrence import Closed
from bot.when.recurrence_parser import is_recurrence, parse_recurrence, refuse_one_day
from bot.when.refusals import NotATime
from bot.workflow import checks
from bot.workflow.questions import TWIN_WINDOW
from bot.workflow.workflow import Workflow

SKEW = 300 * SECOND  # how far apart Slack's clock and ours may be
LEADING = ("", "every ", "chaque ", "cada ", "tous les ", "todos los ")  # `/broadcast every` implies these


@dataclass(frozen=True)
class Asked:
    """A schedule as somebody asked for it. `typed`: the time or recurrence; `until`: the last instant."""

    kind: Kind
    typed: str
    channel: str
    text: str
    closed: Closed | None = None
    until: Micros | None = None
    count: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


class Requests:
    """Checks and stores what people ask for: reminders and recurring broadcasts."""

    def __init__(self, runtime: Runtime, workflow: Workflow, occurrences: Occurrences) -> None:
        self.database, self.clock, self.wake = runtime.database, runtime.clock, runtime.wake
        self.settings, self.workflow = runtime.settings, workflow
        self.occurrences, self.owners = occurrences, occurrences.owners

    async def add(self, asked: Asked, *, key: str, person: Person) -> Schedule:
        """Check and store a schedule; the same `key` again returns the same one.

        Raises InvalidRequest, NotAllowed or DirectoryUnavailable.
        """
        schedule, _ = await self.plan(asked, key, person)
        return await self.keep(schedule)

    async def plan(self, asked: Asked, key: str, person: Person) -> tuple[Schedule, Broadcast | None]:
        """Check what was asked for, without storing it. Return it, and the broadcast of its first occurrence, if any.

        Raises InvalidRequest, NotAllowed or DirectoryUnavailable.
        """
        must_be_member(person)
        if not await self.owners.may_own(asked.kind, asked.channel, person.id):
            template = "You are not in {channel}, so you cannot own a schedule there. Join it first."
            raise NotAllowed(template, channel=f"<#{asked.channel}>")
        schedule = self._first(self._planned(asked, key, person), asked, person)
        if schedule.kind is Kind.REMINDER:
            _no_questions(checks.option_questions(schedule.text, zone=person.zone, now=moment(self.clock())))
            return schedule, None
        planned = await self.occurrences.plan_occurrence(
            schedule, schedule.next_local or "", schedule.next_at or 0, person
        )
        _no_questions(self.workflow.questions.about(request_of(schedule, schedule.next_at or 0)))
        return schedule, planned

    async def keep(self, schedule: Schedule) -> Schedule:
        """Store what was planned. The same again, or a twin, returns what was stored before."""
        stored = await self.database.write(lambda c: self._store(c, schedule))
        self.wake(Task.REMIND)
        return stored

    def _planned(self, asked: Asked, key: str, person: Person) -> Schedule:
        calendar = self._calendar(asked)
        closed = asked.closed or (Closed.SKIP if calendar else Closed.KEEP)
        if closed is not Closed.KEEP and calendar is None:
            template = "No holidays are set up here. Ask an admin to set `holidays`, or leave out `holidays=`."
            raise InvalidRequest(FieldError("holidays", Translatable(template)))
        now = self.clock()
        return Schedule(
            workspace=person.workspace,
            id=self.workflow.planning.make_id(),
            kind=asked.kind,
            key=key,
            owner=person.id,
            channel=asked.channel,
            typed=asked.typed,
            zone=person.zone,
            closed=closed,
            calendar=calendar.model_dump(mode="json", by_alias=True) if calendar else None,
            text=asked.text,
            options=asked.options,
            until=asked.until,
            remaining=asked.count,
            created_at=now,
            changed_at=now,
        )

    def _calendar(self, asked: Asked) -> Holidays | None:
        """Return the holidays of the audience's policy if it has some, else those of the settings."""
        audience = self.settings.audiences.get(str(asked.options.get("audience")))
        rules = self.workflow.audiences.policies.get(audience.policy or "") if audience else None
        return rules.marketing.holidays if rules and rules.marketing.holidays else self.settings.holidays

    def _first(self, schedule: Schedule, asked: Asked, person: Person) -> Schedule:
        """Return the schedule with its rule and its first occurrence. Raises InvalidRequest."""
        admin = person.id in self.settings.admins
        try:
            if asked.kind is Kind.REMINDER and not is_recurrence(asked.typed):
                _must_recur(asked)
                when = parse_when(asked.typed, zone=person.zone, now=moment(self.clock()))
                local = when.local.replace(tzinfo=None).isoformat(timespec="minutes")
                return dataclasses.replace(schedule, next_at=micros_of(when.instant), next_local=local)
            rule = self._rule(asked.typed, person.zone, admin)
        except NotATime as error:
            raise InvalidRequest(FieldError("when", sentence_of(error))) from None
        return self._following(dataclasses.replace(schedule, rule=rule), self.clock())

    def is_when(self, kind: Kind, typed: str, zone: str) -> bool:
        """Whether it says when such a schedule falls due."""
        try:
            if kind is Kind.REMINDER and not is_recurrence(typed):
                parse_when(typed, zone=zone, now=moment(self.clock()))
            else:
                self._rule(typed, zone, admin=False)
        except NotATime:
            return False
        return True

    def _rule(self, typed: str, zone: str, admin: bool) -> str:
        """`/broadcast every "monday 9:00"` and `every "every monday 9:00"` mean the same. Raises NotATime."""
        first: NotATime | None = None
        for leading in LEADING:
            try:
                if leading:
                    refuse_one_day(typed)  # else `cada` before `mañana a las 9` would mean every morning
                return parse_recurrence(leading + typed, zone=zone, now=moment(self.clock()), cron=admin).plain()
            except NotATime as error:
                if error.code != "not_understood" and (leading or error.code != "no_day"):
                    raise  # `morning 9:00` names no day, but `every morning` does
                first = first or error
        raise first or NotATime("not_understood", "I do not understand that time. Write it like this: {examples}.")

    def _following(self, schedule: Schedule, after: Micros) -> Schedule:
        occurrence = next(schedule.after(after), None)
        if occurrence is None:
            raise InvalidRequest(FieldError("when", _why_never(schedule, after)))
        return dataclasses.replace(schedule, next_at=micros_of(occurrence.instant), next_local=name_of(occurrence))

    def _store(self, connection: Connection, schedule: Schedule) -> Schedule:
        asked = schedules.count_asked(connection, schedule.workspace, schedule.owner, schedule.created_at - HOUR)
        stored = schedules.add(connection, schedule, since=schedule.created_at - TWIN_WINDOW)
        if stored.id == schedule.id:
            checks.check_rate(asked, self.settings.asks_per_hour)
            write_schedule_audit(connection, schedule, schedule.owner, "schedule", schedule.typed, self.clock())
        return stored


def _no_questions(questions: Iterable[FieldError]) -> None:
    """Raise InvalidRequest if there are questions: a schedule is not kept as a draft, but typed again."""
    if asked := tuple(questions):
        raise InvalidRequest(*asked)


def _must_recur(asked: Asked) -> None:
    """Raise InvalidRequest if `count` or `until` is given for something that happens once."""
    for name, given in (("count", asked.count), ("until", asked.until)):
        if given is not None:
            template = (
                "`{name}=` is for something that repeats, like “every monday 9:00”. Leave it out for something that "
                "happens once."
            )
            raise InvalidRequest(FieldError(name, Translatable(template, name=name)))


def _why_never(schedule: Schedule, after: Micros) -> Translatable:
    kept = dataclasses.replace(schedule, closed=Closed.KEEP)
    if schedule.closed is Closed.SKIP and next(kept.after(after), None) is not None:
        return Translatable(
            "All its days are closed days. `holidays=before` moves it to the previous working day, `holidays=shift` "
            "moves it to the next one, and `holidays=keep` leaves it where it is."
        )
    return Translatable("It would never happen. Check its days, holidays and end.")
