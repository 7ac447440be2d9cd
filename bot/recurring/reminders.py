"""What comes again by itself: recurring broadcasts and channel reminders. The clock only asks; the rows decide."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast, BroadcastRequest, digest
from bot.domain.clock import SECOND, Micros, micros, moment
from bot.domain.errors import Complaint, NotAccepted, NotAllowed
from bot.domain.hours import Holidays
from bot.domain.i18n import Translatable
from bot.domain.people import CannotTell, Directory, Person, Unknown, mentions, must_be_member
from bot.domain.schedule import (
    Cover,
    Ended,
    Kind,
    Schedule,
    Standing,
    Turn,
    TurnState,
    micros_of,
    name_of,
    series_digest,
)
from bot.scheduler import Task
from bot.storage import audit, notes, outbox, schedules
from bot.storage.database import Busy, Unsure
from bot.storage.schedules import ScheduleChanges, TurnChanges
from bot.when.instants import parse_when
from bot.when.recurrence import Closed
from bot.when.rules import is_recurrence, parse_recurrence, refuse_one_day
from bot.when.traps import NotATime
from bot.workflow import checks, requirements
from bot.workflow.submission import PAST_SLACK, TWIN_WINDOW
from bot.workflow.workflow import Workflow
from providers.base import Purpose

log = structlog.get_logger(__name__)

PASSING = (CannotTell, Busy, Unsure)  # what keeps one turn waiting and is no trouble of its own
AHEAD = 24 * 3600 * SECOND  # a turn of a recurring broadcast is put to the approvers this long before its time
AT_ONCE = 50
MISSED_ROWS = 50  # of those that nobody was there to make, how many are written down
SNOOZE = 3600 * SECOND
SKEW = 300 * SECOND  # how far apart Slack's clock and ours may be
AWAY = {
    Kind.REMINDER: "I was away at {missed_at}, so this was not said then: “{text}” (missed: {number})",
    Kind.BROADCAST: "I was away at {missed_at}, so nothing was sent then: “{text}” (missed: {number})",
}
UNASKED = "Nobody could approve it before {missed_at}, so nothing was sent then: “{text}” (missed: {number})"
LEADING = ("", "every ", "chaque ", "cada ", "tous les ", "todos los ")  # `/broadcast every` has said that much


class Moved(Exception):
    """The schedule, or the turn, has moved on since the person last saw it."""


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


class Reminders:
    """`wake` is called after anything that may be due now."""

    def __init__(self, runtime: Runtime, workflow: Workflow, people: Directory) -> None:
        self.database, self.clock, self.wake = runtime.database, runtime.clock, runtime.wake
        self.settings, self.workflow, self.people = runtime.settings, workflow, people

    # --- asking for one ----------------------------------------------------------------------------------------------

    async def add(self, asked: Asked, *, key: str, person: Person) -> Schedule:
        """Check and store a schedule; the same `key` again gives the same one.

        Raises NotAccepted, NotAllowed or CannotTell.
        """
        schedule, _ = await self.plan(asked, key, person)
        return await self.keep(schedule)

    async def plan(self, asked: Asked, key: str, person: Person) -> tuple[Schedule, Broadcast | None]:
        """What was asked for, checked, not stored; with the broadcast that its first turn becomes, if it is one.

        Raises NotAccepted, NotAllowed or CannotTell.
        """
        must_be_member(person)
        if not await self._may_own(asked.kind, asked.channel, person.id):
            template = "You are not in {channel}, so you cannot own a schedule there. Join it first."
            raise NotAllowed(template, channel=f"<#{asked.channel}>")
        schedule = self._first(self._planned(asked, key, person), asked, person)
        if schedule.kind is Kind.REMINDER:
            _no_questions(checks.option_questions(schedule.text, zone=person.zone, now=moment(self.clock())))
            return schedule, None
        planned = await self._plan_turn(schedule, schedule.next_local or "", schedule.next_at or 0, person)
        _no_questions(self.workflow.submission.questions(_request(schedule, schedule.next_at or 0)))
        return schedule, planned

    async def keep(self, schedule: Schedule) -> Schedule:
        """Store what was planned. The same again, or its twin, gives what was there."""
        stored = await self.database.write(lambda c: self._store(c, schedule))
        self.wake(Task.REMIND)
        return stored

    async def _may_own(self, kind: Kind, channel: str, user: str) -> bool:
        """Whoever asks for a broadcast need not be where the approvers are; everywhere else one is there."""
        if kind is Kind.BROADCAST and channel == self.settings.approval.channel:
            return True
        return await self.people.is_in(channel, user)

    def _planned(self, asked: Asked, key: str, person: Person) -> Schedule:
        calendar = self._calendar(asked)
        closed = asked.closed or (Closed.SKIP if calendar else Closed.KEEP)
        if closed is not Closed.KEEP and calendar is None:
            template = "No holidays are known here. Ask an admin to set `holidays`, or leave `holidays=` out."
            raise NotAccepted(Complaint("holidays", Translatable(template)))
        now = self.clock()
        return Schedule(
            workspace=person.workspace,
            id=self.workflow.submission.make_id(),
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
        """The holidays of the audience where its policy has some, else those of the settings."""
        audience = self.settings.audiences.get(str(asked.options.get("audience")))
        rules = self.workflow.desk.policies.get(audience.policy or "") if audience else None
        return rules.marketing.holidays if rules and rules.marketing.holidays else self.settings.holidays

    def _first(self, schedule: Schedule, asked: Asked, person: Person) -> Schedule:
        """With its rule and its first turn. Raises NotAccepted."""
        admin = person.id in self.settings.admins
        try:
            if asked.kind is Kind.REMINDER and not is_recurrence(asked.typed):
                _must_recur(asked)
                when = parse_when(asked.typed, zone=person.zone, now=moment(self.clock()))
                local = when.local.replace(tzinfo=None).isoformat(timespec="minutes")
                return dataclasses.replace(schedule, next_at=micros_of(when.instant), next_local=local)
            rule = self._rule(asked.typed, person.zone, admin)
        except NotATime as error:
            raise NotAccepted(Complaint("when", Translatable(error.template, **error.values))) from None
        return self._following(dataclasses.replace(schedule, rule=rule), self.clock())

    def _rule(self, typed: str, zone: str, admin: bool) -> str:
        """`/broadcast every "monday 9:00"` and `every "every monday 9:00"` mean the same. Raises NotATime."""
        first: NotATime | None = None
        for leading in LEADING:
            try:
                if leading:
                    refuse_one_day(typed)  # `cada` before `mañana a las 9` would make each morning of it
                return parse_recurrence(leading + typed, zone=zone, now=moment(self.clock()), cron=admin).plain()
            except NotATime as error:
                if error.code != "not_understood" and (leading or error.code != "no_day"):
                    raise  # `morning 9:00` names no day, and every morning does
                first = first or error
        raise first or NotATime("not_understood", "That is no time that I understand. Write it like: {examples}.")

    def _following(self, schedule: Schedule, after: Micros) -> Schedule:
        turn = next(schedule.after(after), None)
        if turn is None:
            raise NotAccepted(Complaint("when", _why_never(schedule, after)))
        return dataclasses.replace(schedule, next_at=micros_of(turn.instant), next_local=name_of(turn))

    def _store(self, connection: Connection, schedule: Schedule) -> Schedule:
        stored = schedules.add(connection, schedule, since=schedule.created_at - TWIN_WINDOW)
        if stored.id == schedule.id:
            self._audit(connection, schedule, schedule.owner, "schedule", schedule.typed)
        return stored

    def _audit(self, connection: Connection, schedule: Schedule, actor: str, action: str, reason: str | None) -> None:
        name = f"{action}_{schedule.kind}"
        audit.write_event(connection, schedule.workspace, actor, name, reason, self.clock(), about=schedule.id)

    # --- acting on one -----------------------------------------------------------------------------------------------

    async def find(self, workspace: str, id: str) -> Schedule:
        """Raises NotFound."""
        return await self.database.read(lambda c: schedules.find(c, workspace, id.upper()))

    async def listed(self, workspace: str, kind: Kind) -> list[Schedule]:
        """All that have not ended, the next one first."""
        return await self.database.read(lambda c: schedules.listed(c, workspace, kind))

    async def made(self, schedule: Schedule) -> list[Broadcast]:
        """The turns that were made already and have not ended: no pause, and no end, of the schedule stops them."""
        return await self.database.read(lambda c: schedules.living(c, schedule))

    async def pause(self, schedule: Schedule, person: Person, until: Micros | None) -> Schedule:
        """No turns until somebody resumes it, or until that instant, and none that was snoozed. Raises NotAllowed or
        Moved."""
        changes: ScheduleChanges = {"state": Standing.PAUSED, "paused_until": until}
        return await self._change(schedule, person, "pause", {Standing.ACTIVE, Standing.PAUSED}, changes)

    async def resume(self, schedule: Schedule, person: Person) -> Schedule:
        """Go on with the next turn from now. Raises NotAllowed or Moved."""
        changes = self._resumed(schedule, self.clock() + 1)
        return await self._change(schedule, person, "resume", {Standing.PAUSED}, changes)

    async def stop(self, schedule: Schedule, person: Person) -> Schedule:
        """End it. Turns that were made already go their own way. Raises NotAllowed or Moved."""
        changes: ScheduleChanges = {
            "state": Standing.ENDED,
            "ended": Ended.STOPPED,
            "next_at": None,
            "paused_until": None,
        }
        return await self._change(schedule, person, "stop", {Standing.ACTIVE, Standing.PAUSED}, changes)

    def _resumed(self, schedule: Schedule, since: Micros) -> ScheduleChanges:
        """On with the first turn at this instant or later, but with none that was made already."""
        woken: ScheduleChanges = {"state": Standing.ACTIVE, "paused_until": None}
        if (schedule.next_at or 0) >= since:
            return woken
        turn = next(schedule.after(since - 1), None)
        if turn is None:
            return {"state": Standing.ENDED, "ended": Ended.FINISHED, "next_at": None, "paused_until": None}
        return woken | {"next_at": micros_of(turn.instant), "next_local": name_of(turn)}

    async def _change(
        self, schedule: Schedule, person: Person, action: str, allowed: set[Standing], changes: ScheduleChanges
    ) -> Schedule:
        await self._may_change(schedule, person)
        if schedule.state not in allowed:
            raise Moved
        changed = await self.database.write(lambda c: self._write_change(c, schedule, person.id, action, changes))
        if changed is None:
            raise Moved
        self.wake(Task.REMIND, Task.NOTICES)
        return changed

    def _write_change(
        self, connection: Connection, schedule: Schedule, actor: str, action: str, changes: ScheduleChanges
    ) -> Schedule | None:
        now = self.clock()
        changed = schedules.change(connection, schedule, now, **changes)
        if changed is not None:
            self._audit(connection, changed, actor, action, None)
            if not changed.goes_on:
                schedules.reopen(connection, changed, now)
        return changed

    async def _may_change(self, schedule: Schedule, person: Person) -> None:
        """Its owner, an admin, or for a recurring broadcast an approver. Raises NotAllowed."""
        must_be_member(person)
        who = [schedule.owner, *self.settings.admins]
        if schedule.kind is Kind.BROADCAST:
            who += self.settings.approval.approvers
        if person.id not in await requirements.people_in(who, self.people.members):
            raise NotAllowed("Only {who} can change {id}.", who=mentions(who), id=schedule.id)

    # --- answering a reminder ----------------------------------------------------------------------------------------

    async def answer(self, turn: Turn, person: Person, *, snooze: bool) -> Turn:
        """Done, or once more in an hour: that once only. Raises NotAllowed or Moved."""
        must_be_member(person)
        # one that is `made` may be seen already, before Slack's answer about its post has reached us
        if turn.state not in (TurnState.MADE, TurnState.OPEN) or (snooze and turn.snoozed_until is not None):
            raise Moved
        answered = await self.database.write(lambda c: self._answer(c, turn, person, snooze))
        if answered is None:
            raise Moved
        self.wake(Task.NOTICES)
        return answered

    def _answer(self, connection: Connection, turn: Turn, person: Person, snooze: bool) -> Turn | None:
        now = self.clock()
        changes: TurnChanges = {"state": TurnState.DONE, "by": person.id, "draw_at": now}
        if snooze:
            changes |= {"state": TurnState.SNOOZED, "snoozed_until": now + SNOOZE}
        answered = schedules.change_turn(connection, turn, now, **changes)
        if answered is not None:
            action = "snooze_reminder" if snooze else "done_reminder"
            audit.write_event(connection, turn.workspace, person.id, action, turn.local, now, about=turn.schedule)
        return answered

    async def turn_at(self, workspace: str, channel: str, ts: str, id: str, version: int | None = None) -> Turn | None:
        """The turn whose post stands there.

        A post may be seen before Slack's answer about it has reached us: then it is the latest turn of its schedule,
        if that one is about to be posted, in the `version` that the button bears. Any other place, and any from before
        that turn was made, is of an older post.
        """

        def look(connection: Connection) -> Turn | None:
            found = schedules.turn_at(connection, workspace, channel, ts)
            if found is not None:
                return found
            latest = next(iter(schedules.turns_of(connection, workspace, id, 1)), None)
            if latest is None or (latest.state, latest.version) != (TurnState.MADE, version):
                return None
            return latest if _instant_of(ts) >= latest.changed_at - SKEW else None

        return await self.database.read(look)

    # --- the clock ---------------------------------------------------------------------------------------------------

    async def tick(self) -> None:
        """Make every turn whose time has come, once more where it was snoozed, end what nobody stands for any more, and
        end pauses that are over."""
        if not await self.database.read(lambda c: schedules.clock_waits(c, self.clock(), self.clock() + AHEAD)):
            return
        for schedule in await self.database.read(lambda c: schedules.awake(c, self.clock(), AT_ONCE)):
            await self._alone(schedule, self._wake_up(schedule))
        for schedule in await self.database.read(self._due):
            await self._alone(schedule, self._fire(schedule))
        for turn, schedule in await self.database.read(lambda c: schedules.woken(c, self.clock(), AT_ONCE)):
            await self._alone(schedule, self._come_again(turn, schedule))

    async def _alone(self, schedule: Schedule, deed: Awaitable[None]) -> None:
        """What goes wrong with one schedule waits for the next tick, and keeps no other one waiting."""
        try:
            with self.database.troubles.alone("schedule", schedule.id, schedule.workspace, but=PASSING):
                await deed
        except CannotTell as error:
            log.info("a turn waits, since Slack does not answer", schedule=schedule.id, about=str(error)[:1])
        except (Busy, Unsure) as error:
            log.warning("a turn waits for the database", schedule=schedule.id, error=type(error).__name__)

    async def _wake_up(self, schedule: Schedule) -> None:
        """A pause ends at its own instant: what fell due between it and now comes, or was missed, like any other."""
        changes = self._resumed(schedule, schedule.paused_until or 0)
        await self.database.write(lambda c: self._write_wake_up(c, schedule, changes))

    def _write_wake_up(self, connection: Connection, schedule: Schedule, changes: ScheduleChanges) -> None:
        resumed = self._write_change(connection, schedule, "clock", "resume", changes)
        if resumed is not None and resumed.ended is not None:
            template = "Its time came while it was paused, so it has ended. It said: “{text}”"
            told = Translatable(template, text=schedule.text)
            tell(connection, schedule, "ended:paused", told, schedule.channel, self.clock())

    def _due(self, connection: Connection) -> list[Schedule]:
        now = self.clock()
        soon = schedules.due(connection, Kind.BROADCAST, now + AHEAD, AT_ONCE)
        return soon + schedules.due(connection, Kind.REMINDER, now, AT_ONCE)

    async def _fire(self, schedule: Schedule) -> None:
        """What comes too late is told before Slack is asked anything: it may not answer for days."""
        if self._is_late(schedule.next_at or 0):
            await self.database.write(lambda c: self._miss(c, schedule))
        else:
            await self._fire_in_time(schedule)
        self.wake(Task.REMIND, Task.NOTICES, Task.PAINT, Task.SIZES, Task.DISPATCH)

    def _is_late(self, at: Micros) -> bool:
        return self.clock() - at > micros(self.settings.grace)

    async def _fire_in_time(self, schedule: Schedule) -> None:
        owner = await self._person(schedule, schedule.owner)
        ended = await self._ended(schedule, owner)
        if ended is not None:
            await self._end(schedule, *ended)
        elif schedule.kind is Kind.REMINDER:
            await self.database.write(lambda c: self._make(c, schedule, None, ()))
        else:
            await self._fire_broadcast(schedule, owner)

    async def _person(self, schedule: Schedule, user: str) -> Person:
        """Whom Slack knows no more is a member no more. Raises CannotTell."""
        try:
            return await self.people.person(schedule.workspace, user)
        except Unknown:
            return Person(schedule.workspace, user, member=False)

    async def _ended(self, schedule: Schedule, owner: Person) -> tuple[Ended, Translatable] | None:
        """Why nobody stands for it any more."""
        who = {"who": mentions([schedule.owner])}
        if owner.doubtful:
            raise CannotTell(schedule.owner)
        if not owner.member:
            return Ended.OWNER_LEFT, Translatable("{who}, who owned it, is no full member here any more.", **who)
        closed = await self.people.why_closed(schedule.channel)
        if closed is not None:
            return Ended.CHANNEL_GONE, closed
        if not await self._may_own(schedule.kind, schedule.channel, schedule.owner):
            return Ended.OWNER_LEFT, Translatable("{who}, who owned it, has left the channel.", **who)
        return None

    async def _fire_broadcast(self, schedule: Schedule, owner: Person) -> None:
        try:
            planned = await self._plan_turn(schedule, schedule.next_local or "", schedule.next_at or 0, owner)
        except NotAllowed as error:
            await self._end(schedule, Ended.NOT_ALLOWED, error.sentence)
            return
        except NotAccepted as error:
            await self._end(schedule, Ended.NOT_ALLOWED, error.complaints[0].sentence)
            return
        voters = await self._covering(schedule, planned)
        if voters and schedule.cover:
            bound = min((size for size in (planned.bound, schedule.cover.bound) if size is not None), default=None)
            planned = _bound(dataclasses.replace(planned, covers=1, bound=bound))
        if planned.quorum and not voters and self.clock() > (schedule.next_at or 0) + PAST_SLACK:
            await self.database.write(lambda c: self._miss(c, schedule, UNASKED))
        else:
            await self.database.write(lambda c: self._make(c, schedule, planned, voters))

    async def _plan_turn(self, schedule: Schedule, local: str, at: Micros, owner: Person) -> Broadcast:
        """The broadcast that a turn becomes, checked like any other request. Raises NotAccepted or NotAllowed."""
        options, request = schedule.options, _request(schedule, at)
        late = micros(self.settings.grace) + PAST_SLACK  # whoever asks has looked at the grace a moment before
        planned = await self.workflow.plan(request, f"turn:{schedule.id}:{local}", owner, slack=late)
        covers, until = options.get("covers", 1), at + micros(self.settings.grace)
        planned = dataclasses.replace(planned, schedule=schedule.id, occurrence=local, covers=covers, expires_at=until)
        return _bound(planned)

    async def _covering(self, schedule: Schedule, planned: Broadcast) -> tuple[str, ...]:
        """Whose approval of an earlier turn is for this one too; nobody's where it binds other bytes, is used up, or
        too few of them may still approve: who has left the workspace may not, however the settings name them.

        Raises CannotTell.
        """
        cover = schedule.cover
        if cover is None or cover.left < 1 or cover.digest != series_digest(planned):
            return ()
        able = await requirements.people_in(planned.approvers, self.people.members) - {planned.requester}
        voters = [await self._person(schedule, voter) for voter in cover.voters if voter in able]
        still = tuple(voter.id for voter in voters if voter.member)
        return still if len(still) >= planned.quorum else ()

    def _make(self, connection: Connection, seen: Schedule, planned: Broadcast | None, voters: tuple[str, ...]) -> None:
        schedule = schedules.find(connection, seen.workspace, seen.id, lock=True)
        if schedule.state is not Standing.ACTIVE or schedule.next_local != seen.next_local:
            return  # another process made it
        if voters and schedule.cover != seen.cover:
            return  # their approval fell, or was used, since they were asked for: the next tick asks anew
        now = self.clock()
        turn = Turn(
            workspace=schedule.workspace,
            schedule=schedule.id,
            local=schedule.next_local or "",
            at=schedule.next_at or 0,
            state=TurnState.MADE,
            broadcast=planned.id if planned else None,
            changed_at=now,
        )
        if planned is None:
            new = self._open(connection, schedule, turn)
        elif new := schedules.add_turn(connection, turn):
            schedule = self._enter(connection, schedule, planned, voters)
        self._advance(connection, schedule, now, counted=new)

    def _enter(
        self, connection: Connection, schedule: Schedule, planned: Broadcast, voters: tuple[str, ...]
    ) -> Schedule:
        cover = schedule.cover
        if voters and cover is not None:
            entered = self.workflow.submission.enter(connection, planned, voters)
            told = Translatable(
                "The approval by {by} on {of} is for this one too; after it for {left} more.",
                by=mentions(voters),
                of=cover.of,
                left=cover.left - 1,
            )
            notes.say(connection, entered, self.clock(), [notes.Note(told)])
            schedules.keep_cover(connection, schedule.workspace, schedule.id, _used(cover))
        else:
            self.workflow.submission.enter(connection, planned)
        return schedules.find(connection, schedule.workspace, schedule.id, lock=True)

    def _open(self, connection: Connection, schedule: Schedule, turn: Turn) -> bool:
        """A reminder that asks for an answer is not posted again while the last one is unanswered. False: it is not to
        be posted, or was there already."""
        now, open_one = self.clock(), schedules.unanswered(connection, schedule) if schedule.asks else None
        if open_one is None:
            return schedules.add_turn(connection, dataclasses.replace(turn, draw_at=now))
        new = schedules.add_turn(connection, dataclasses.replace(turn, state=TurnState.LEFT_OUT))
        if new:
            more: TurnChanges = {"left_out": open_one.left_out + 1, "draw_at": open_one.draw_at or now}
            schedules.change_turn(connection, open_one, now, **more)
        return False

    def _advance(self, connection: Connection, schedule: Schedule, now: Micros, *, counted: bool) -> None:
        """On to the next turn, or to the end. `counted`: this one was made just now, and not left out."""
        left = None if schedule.remaining is None else schedule.remaining - counted
        changes: ScheduleChanges = {"remaining": left}
        turn = next(schedule.after(schedule.next_at or now), None)
        if turn is None or left == 0:
            changes |= {"state": Standing.ENDED, "ended": Ended.FINISHED, "next_at": None}
            if schedule.rule is not None:
                tell(connection, schedule, "finished", self._last(connection, schedule), schedule.channel, now)
        else:
            changes |= {"next_at": micros_of(turn.instant), "next_local": name_of(turn)}
        schedules.change(connection, schedule, now, **changes)

    def _last(self, connection: Connection, schedule: Schedule) -> Translatable:
        """A recurring broadcast ends with a card, which is sent a day later, or not."""
        if schedule.kind is Kind.REMINDER:
            return Translatable("That was the last one.")
        last = schedules.turns_of(connection, schedule.workspace, schedule.id, 1)
        of = last[0].broadcast if last else None
        return Translatable("The last card is in the channel: {of}. None comes after it.", of=of or "—")

    # --- once more ---------------------------------------------------------------------------------------------------

    async def _come_again(self, turn: Turn, schedule: Schedule) -> None:
        """What was snoozed is posted once more, if somebody stands for it still and it is not too late."""
        ended = None
        if schedule.goes_on and not self._is_late(turn.snoozed_until or 0):
            owner = await self._person(schedule, schedule.owner)
            ended = await self._ended(schedule, owner)
        if ended is not None:
            await self._end(schedule, *ended)
        else:
            await self.database.write(lambda c: self._wake_turn(c, turn, schedule))
        self.wake(Task.NOTICES, Task.PAINT)

    def _wake_turn(self, connection: Connection, turn: Turn, seen: Schedule) -> None:
        schedule, now = schedules.find(connection, seen.workspace, seen.id, lock=True), self.clock()
        came_at = turn.snoozed_until or 0
        if not schedule.goes_on:
            schedules.change_turn(connection, turn, now, state=TurnState.OPEN, draw_at=now)
        elif not self._is_late(came_at):
            schedules.change_turn(connection, turn, now, state=TurnState.MADE, draw_at=now, tries=0)
        elif schedules.change_turn(connection, turn, now, state=TurnState.MISSED, draw_at=now):
            tell_missed(connection, schedule, [(f"{turn.local}:snoozed", came_at)], now)

    # --- what does not go as planned ---------------------------------------------------------------------------------

    def _miss(self, connection: Connection, seen: Schedule, template: str | None = None) -> None:
        """Nobody was there at its time: it is never made late in silence, but told, and the next one is as planned.

        `template`: what is told, if it was not for our absence.
        """
        schedule = schedules.find(connection, seen.workspace, seen.id, lock=True)
        if schedule.state is not Standing.ACTIVE or schedule.next_local != seen.next_local:
            return
        now, missed, upcoming = self.clock(), [(schedule.next_local or "", schedule.next_at or 0)], None
        for turn in schedule.after(schedule.next_at or 0):
            if micros_of(turn.instant) > now:
                upcoming = turn
                break
            missed.append((name_of(turn), micros_of(turn.instant)))
        missed = [*missed[:-MISSED_ROWS], *self._write_missed(connection, schedule, missed[-MISSED_ROWS:])]
        if missed:
            tell_missed(connection, schedule, missed, now, template)
        changes: ScheduleChanges = {"state": Standing.ENDED, "ended": Ended.FINISHED, "next_at": None}
        if upcoming is not None:
            changes = {"next_at": micros_of(upcoming.instant), "next_local": name_of(upcoming)}
        schedules.change(connection, schedule, now, **changes)

    def _write_missed(
        self, connection: Connection, schedule: Schedule, missed: list[tuple[str, Micros]]
    ) -> Iterator[tuple[str, Micros]]:
        """Those of them that nobody has made before."""
        for local, at in missed:
            row = Turn(
                workspace=schedule.workspace,
                schedule=schedule.id,
                local=local,
                at=at,
                state=TurnState.MISSED,
                changed_at=self.clock(),
            )
            if schedules.add_turn(connection, row):
                yield local, at

    async def _end(self, schedule: Schedule, ended: Ended, why: Translatable) -> None:
        await self.database.write(lambda c: self._write_end(c, schedule, ended, why))

    def _write_end(self, connection: Connection, schedule: Schedule, ended: Ended, why: Translatable) -> None:
        """One that has finished had a turn that was to come once more."""
        now = self.clock()
        if schedule.ended is None:
            changes: ScheduleChanges = {"state": Standing.ENDED, "ended": ended, "next_at": None}
            if schedules.change(connection, schedule, now, **changes) is None:
                return
            self._audit(connection, schedule, "clock", "stop", ended)
        schedules.reopen(connection, schedule, now)
        told = Translatable("It stops by itself: {why} It said: “{text}”", why=why, text=schedule.text)
        places = {schedule.owner, schedule.channel} if ended is not Ended.CHANNEL_GONE else {schedule.owner}
        if ended is Ended.OWNER_LEFT:
            places = {schedule.channel}
        for place in sorted(places):
            tell(connection, schedule, f"ended:{place}", told, place, now)


def tell_missed(
    connection: Connection,
    schedule: Schedule,
    missed: list[tuple[str, Micros]],
    now: Micros,
    template: str | None = None,
) -> None:
    """Tell in its channel which turns did not come: their names and instants. `template`: if not for our absence."""
    local, at = missed[-1]
    told = Translatable(template or AWAY[schedule.kind], text=schedule.text, missed_at=at, number=len(missed))
    tell(connection, schedule, f"missed:{local}", told, schedule.channel, now)


def tell(connection: Connection, schedule: Schedule, key: str, said: Translatable, place: str, now: Micros) -> None:
    """Queue what there is to say about a schedule; the same `key` is said once."""
    told = Translatable("*{id}* ({typed}): {told}", id=schedule.id, typed=schedule.typed, told=said)
    mention = None if place == schedule.owner else schedule.owner
    name = f"schedule:{schedule.id}:{key}"
    outbox.post(connection, schedule.workspace, name, place, told, mention=mention, at=now)


def _instant_of(ts: str) -> Micros:
    """When Slack took what stands there, to the second."""
    seconds = ts.partition(".")[0]
    return int(seconds) * SECOND if seconds.isascii() and seconds.isdigit() else 0


def _request(schedule: Schedule, at: Micros) -> BroadcastRequest:
    """What a turn asks for."""
    options = schedule.options
    return BroadcastRequest(
        workspace=schedule.workspace,
        requester=schedule.owner,
        channel=schedule.channel,
        audience=str(options["audience"]),
        purpose=Purpose(options["purpose"]),
        text=schedule.text,
        send_at=at,
        sender=options.get("sender"),
        campaign=options.get("campaign"),
        zone=schedule.zone,
    )


def _no_questions(questions: Iterable[Complaint]) -> None:
    """What comes again and again is not kept as a draft to be asked about: it is written anew. Raises NotAccepted."""
    if asked := tuple(questions):
        raise NotAccepted(*asked)


def _must_recur(asked: Asked) -> None:
    """What ends a recurrence ends nothing that comes once. Raises NotAccepted."""
    for name, given in (("count", asked.count), ("until", asked.until)):
        if given is not None:
            template = "`{name}=` is for what comes again, like “every monday 9:00”. Leave it out for what comes once."
            raise NotAccepted(Complaint(name, Translatable(template, name=name)))


def _why_never(schedule: Schedule, after: Micros) -> Translatable:
    kept = dataclasses.replace(schedule, closed=Closed.KEEP)
    if schedule.closed is Closed.SKIP and next(kept.after(after), None) is not None:
        return Translatable(
            "All its days are closed. `holidays=before` moves it to the working day before, `holidays=shift` to the "
            "one after, and `holidays=keep` leaves it there."
        )
    return Translatable("It would never come: look at its days, holidays and end.")


def _used(cover: Cover) -> Cover | None:
    return dataclasses.replace(cover, left=cover.left - 1) if cover.left > 1 else None


def _bound(planned: Broadcast) -> Broadcast:
    return dataclasses.replace(planned, digest=digest(planned))
