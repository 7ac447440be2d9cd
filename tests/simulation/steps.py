"""What may happen in a world: people, clocks, crashes, faults and tampering, each step a method with its weight."""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlalchemy.exc import DBAPIError

from bot.domain.broadcast import BroadcastRequest, digest
from bot.domain.clock import SECOND, moment
from bot.domain.errors import InvalidRequest, NotAllowed, NotFound, StaleVersion
from bot.domain.lifecycle import Action, State
from bot.domain.people import DirectoryUnavailable
from bot.domain.schedule import Kind
from bot.recurring.requests import Asked
from bot.recurring.schedules import Moved, Schedules
from bot.storage import broadcasts, tables
from bot.storage.database import CommitUncertain, DatabaseBusy
from bot.when.recurrence import Closed
from bot.workflow.restored import hold_all
from providers.base import Purpose
from tests.simulation.process import Killed, Process
from tests.simulation.witness import STRANGER, Cast
from tests.simulation.world import (
    ADMIN,
    APPROVERS,
    ASKERS,
    AUDIENCES,
    CANARY_TEXT,
    EVERYBODY,
    GUEST,
    TEAM,
    TIMEOUT,
)
from tests.support.core import decision

if TYPE_CHECKING:
    from tests.simulation.run import World

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
PARIS = ZoneInfo("Europe/Paris")

#: Errors that the bot may answer with when people act at a bad moment.
REFUSALS = (
    InvalidRequest,
    NotAllowed,
    StaleVersion,
    NotFound,
    DirectoryUnavailable,
    Moved,
    DatabaseBusy,
    CommitUncertain,
    DBAPIError,
    Killed,
)


@dataclass(frozen=True)
class Step:
    name: str
    weight: float
    act: Callable[[Steps], Awaitable[None]]


STEPS: list[Step] = []


def step(weight: float) -> Callable[[Callable[[Steps], Awaitable[None]]], Callable[[Steps], Awaitable[None]]]:
    def enter(act: Callable[[Steps], Awaitable[None]]) -> Callable[[Steps], Awaitable[None]]:
        STEPS.append(Step(act.__name__, weight, act))
        return act

    return enter


def other_words(row: Mapping[str, Any]) -> BroadcastRequest:
    """The same request with another text."""
    same = ("workspace", "requester", "channel", "audience", "purpose", "send_at", "sender", "campaign", "zone")
    text = row["typed"].removesuffix(" (new)") if row["typed"].endswith(" (new)") else f"{row['typed']} (new)"
    return BroadcastRequest(**{name: row[name] for name in same}, text=text)


class Steps:
    """Most steps only start something. It runs alongside the next steps, and may meet them at every seam."""

    def __init__(self, world: World) -> None:
        self.world, self.chance = world, world.chance
        self._asked = 0
        self._image: tuple[bytes, int, dict[tuple[str, int, str], Cast]] | None = None

    async def take(self, name: str) -> None:
        await next(step.act for step in STEPS if step.name == name)(self)
        await asyncio.sleep(self.chance.choice((0.0, 0.002, 0.02, 0.3)))

    # --- people ------------------------------------------------------------------------------------------------------

    def _deed(self, told: str, work: Awaitable[object]) -> None:
        """Let somebody do something. A refusal is ordinary, and so is having to try again."""
        self.world.say(told)
        self.world.spawn(self._do(told, work))

    async def _do(self, told: str, work: Awaitable[object]) -> None:
        try:
            await work
        except REFUSALS as error:
            self.world.count("refused", type(error).__name__)
            self.world.say(f"  {told}: {type(error).__name__} {error}")

    def _somebody(self) -> Process | None:
        """Return the process that Slack or a browser happens to reach."""
        return self.chance.choice(self.world.alive) if self.world.alive else None

    def _one(self, *states: State) -> sqlite3.Row | None:
        """Return a broadcast in one of these states; now and then any other, as an old card's button would name it."""
        rows = list(self.world.witness.rows.values())
        fitting = [row for row in rows if row["state"] in states]
        covering = [row for row in fitting if row["covers"] > 1]  # few, but important
        if covering and self.chance.random() < 0.6:
            fitting = covering
        if self.chance.random() < 0.05:
            fitting = rows
        return self.chance.choice(fitting) if fitting else None

    def _act(self, action: Action, *states: State, by: tuple[str, ...] = (), **told: Any) -> None:
        process, row = self._somebody(), self._one(*states)
        if process is None or row is None:
            return
        told = {name: value(row) if callable(value) else value for name, value in told.items()}
        who = self.chance.choice((*by, *EVERYBODY, row["requester"], row["requester"], ADMIN))
        version = row["version"] if self.chance.random() < 0.97 else row["version"] + 1
        work = process.workflow.act(
            TEAM, row["id"], decision(action, **told), person=self.world.somebody(who), version=version
        )
        self._deed(f"{who} does {action} on {row['id']} through {process}", work)

    @step(9)
    async def submit(self) -> None:
        process = self._somebody()
        if process is None:
            return
        self._asked += self.chance.random() < 0.95  # else the same form, sent again
        who = self.chance.choice((*ASKERS, *ASKERS, GUEST))
        request = self._request(who)
        postable = self.chance.random() < 0.9
        told = f"{who} asks for k{self._asked}: {request.purpose} to {request.audience} at {request.send_at}"
        self._deed(told, self._submit(process, request, f"k{self._asked}", who, postable))

    def _request(self, who: str) -> BroadcastRequest:
        audience = self.chance.choice(tuple(AUDIENCES))
        sender = "Bell" if AUDIENCES[audience].account == "solo" and self.chance.random() < 0.3 else None
        offer = " promo" if who != "U0ANA" and self.chance.random() < 0.2 else ""
        return BroadcastRequest(
            workspace=TEAM,
            requester=who,
            channel="C1",
            audience=audience,
            purpose=self.chance.choice((Purpose.MARKETING, Purpose.MARKETING, Purpose.TRANSACTIONAL)),
            text=f"{CANARY_TEXT} {self._asked}{offer}",
            sender=sender,
            send_at=self._a_time(),
        )

    def _a_time(self) -> int | None:
        if self.chance.random() < 0.7:
            return None
        wait = self.chance.choice((20, MINUTE, MINUTE, 5 * MINUTE, HOUR, 7 * HOUR, 2 * DAY, 60 * DAY, -HOUR))
        return self.world.now() + int(wait * self.chance.uniform(0.5, 1.5)) * SECOND

    async def _submit(self, process: Process, request: BroadcastRequest, key: str, who: str, postable: bool) -> None:
        try:
            await process.workflow.submit(request, key=key, person=self.world.somebody(who), postable=postable)
        except (DatabaseBusy, CommitUncertain, DBAPIError):
            again = self._somebody()
            if again is not None:
                await again.workflow.submit(request, key=key, person=self.world.somebody(who), postable=postable)

    @step(1.5)
    async def ask_again_and_again(self) -> None:
        """Add a recurring broadcast whose approval may cover several of its occurrences."""
        process, chance = self._somebody(), self.chance
        if process is None:
            return
        who = chance.choice((*ASKERS, ADMIN, ADMIN, ADMIN))
        soon = moment(self.world.now()).astimezone(PARIS) + timedelta(minutes=chance.choice((5, 15, 40, 300)))
        options = {"audience": chance.choice(tuple(AUDIENCES)), "covers": chance.choice((1, 2, 2, 4))}
        options["purpose"] = chance.choice((Purpose.MARKETING, Purpose.TRANSACTIONAL)).value
        text, count = f"{CANARY_TEXT} again {self._asked}", chance.choice((4, 8))
        rule = f"{soon.minute} * * * *" if who == ADMIN else f"day {soon:%H:%M}"  # a day is long in such a world
        asked = Asked(Kind.BROADCAST, rule, "C1", text, Closed.KEEP, count=count, options=options)
        told = f"{who} asks for {options['purpose']} to {options['audience']}, {count} times, each {asked.typed}"
        work = process.reminders.add(asked, key=f"s{chance.random()}", person=self.world.somebody(who))
        self._deed(f"{told}; an approval is for {options['covers']}", work)

    @step(0.7)
    async def change_a_series(self) -> None:
        process = self._somebody()
        schedules = self.world.memory.rows("SELECT id FROM schedules WHERE state != 'ended'")
        if process is not None and schedules:
            id, who = self.chance.choice(schedules)["id"], self.chance.choice((*APPROVERS, ADMIN))
            what = self.chance.choice((Schedules.pause, Schedules.resume, Schedules.resume, Schedules.stop))
            self._deed(f"{who} does {what.__name__} on {id}", self._change(process, id, what, who))

    async def _change(self, process: Process, id: str, what: Callable[..., Awaitable[object]], who: str) -> None:
        schedule, until = await process.reminders.find(TEAM, id), self.world.now() + int(HOUR) * SECOND
        more = (until,) if what is Schedules.pause else ()
        await what(process.reminders.schedules, schedule, self.world.somebody(who), *more)

    @step(3)
    async def complete_a_draft(self) -> None:
        process, row = self._somebody(), self._one(State.DRAFT)
        if process is None or row is None:
            return
        who, key = row["requester"], f"{row['key']}+"
        request = self._request(who)
        work = process.workflow.submit(request, key=key, person=self.world.somebody(who), draft=row["id"])
        self._deed(f"{who} completes the draft {row['id']}", work)

    @step(1)
    async def discard(self) -> None:
        self._act(Action.DISCARD, State.DRAFT)

    @step(22)
    async def approve(self) -> None:
        way = self.chance.choice(("button", "reaction"))
        self._act(Action.APPROVE, State.PENDING, by=APPROVERS * 8, way=way)

    @step(2)
    async def withdraw(self) -> None:
        going = (State.SENDING,), (State.SCHEDULED, State.PENDING, State.HELD), (State.SENT, State.DONE)
        process, row = self._somebody(), self._one(*self.chance.choice(going))
        votes = self.world.memory.rows("SELECT * FROM votes WHERE broadcast = :id", {"id": row["id"]}) if row else []
        if process is None or row is None or not votes:
            return
        vote = self.chance.choice(votes)
        work = process.workflow.withdraw(TEAM, row["id"], person=self.world.somebody(vote["approver"]), way=vote["way"])
        self._deed(f"{vote['approver']} takes the approval of {row['id']} back", work)

    @step(0.7)
    async def reject(self) -> None:
        self._act(Action.REJECT, State.PENDING, by=APPROVERS, reason="No")

    @step(1)
    async def cancel(self) -> None:
        self._act(Action.CANCEL, State.PENDING, State.SCHEDULED)

    @step(1)
    async def stop(self) -> None:
        self._act(Action.STOP, State.SCHEDULED)

    @step(6)
    async def send_now(self) -> None:
        self._act(Action.SEND_NOW, State.HELD)

    @step(2)
    async def replan(self) -> None:
        """Give it another time, or other words."""
        wait = self.chance.choice((0, 90, 1200, 9 * HOUR, -HOUR))
        states = (State.HELD, State.HELD, State.PENDING, State.SCHEDULED)
        if wait == 90:
            self._act(Action.EDIT, *states, request=other_words)
        else:
            self._act(Action.REPLAN, *states, send_at=self.world.now() + int(wait) * SECOND)

    @step(1)
    async def drop(self) -> None:
        self._act(Action.DROP, State.HELD)

    @step(3)
    async def settle_what_is_unknown(self) -> None:
        """Most people answer truthfully."""
        row = self._one(State.UNKNOWN)
        if row is not None:
            gone = any(sent.broadcast == row["id"] for vendor in self.world.vendors.values() for sent in vendor.ledger)
            honest = self.chance.random() < 0.8
            action = Action.MARK_SENT if gone == honest else Action.MARK_NOT_SENT
            self._act(action, State.UNKNOWN, by=APPROVERS)

    @step(0.5)
    async def pause_everything(self) -> None:
        self._pause(on=True)

    @step(2.5)
    async def resume_everything(self) -> None:
        self._pause(on=False)

    def _pause(self, *, on: bool) -> None:
        process, who = self._somebody(), self.chance.choice((ADMIN, ADMIN, ADMIN, "U0CLEO"))
        if process is not None:
            work = process.workflow.pause_all(self.world.somebody(who), on=on)
            self._deed(f"{who} {'pauses' if on else 'resumes'} everything", work)

    @step(0.7)
    async def leave_or_come_back(self) -> None:
        """Somebody leaves the approvers' group or the workspace, or comes back."""
        who = self.chance.choice(APPROVERS)
        where, place = self.chance.choice(((self.world.gone, "the approvers"), (self.world.departed, "the workspace")))
        if where.pop(who, None) is None:
            where[who] = self.world.time()
        self.world.say(f"{who} {'leaves' if who in where else 'is back among'} {place}")

    # --- the bells and the clock -------------------------------------------------------------------------------------

    def _ring(self, bell: str) -> None:
        process = self._somebody()
        if process is not None:
            self.world.say(f"{process} rings {bell}")
            process.ring(bell)

    @step(3)
    async def dispatch(self) -> None:
        self._ring("dispatch")

    @step(1)
    async def track(self) -> None:
        self._ring("track")

    @step(1)
    async def learn_sizes(self) -> None:
        self._ring("sizes")

    @step(0.5)
    async def expire(self) -> None:
        self._ring("expire")

    async def all_ring(self) -> None:
        """Every process looks for work. Where there is none, few look, because that takes longest."""
        for bell, some in WORK.items():
            waiting = self.world.memory.rows(some, {"now": self.world.now()})
            for process in self.world.alive:
                if waiting or self.chance.random() < 0.04:
                    process.ring(bell)
        await asyncio.sleep(0.4)

    async def _pass(self, seconds: float) -> None:
        self.world.say(f"{seconds:.1f} s pass")
        await asyncio.sleep(seconds)

    @step(22)
    async def work(self) -> None:
        """Every process is awake for a while."""
        for _ in range(self.chance.randint(1, 3)):
            await self.all_ring()
            await self._pass(self.chance.choice((0.5, 2, 16, 31, 31)))

    @step(6)
    async def wait_for_the_next(self) -> None:
        """Let time pass until something is due; then the processes look for work."""
        found = self.world.memory.rows(
            "SELECT min(due), min(hold_until), min(lease_until), min(stage_at) FROM broadcasts"
        )
        ahead = [(at - self.world.now()) / SECOND for at in tuple(found[0]) if at is not None]
        await self._pass(min((seconds for seconds in ahead if seconds > 0), default=1.0))
        await self.all_ring()

    @step(4)
    async def seconds_pass(self) -> None:
        await self._pass(self.chance.uniform(0, 40))

    @step(1)
    async def minutes_pass(self) -> None:
        await self._pass(self.chance.uniform(1, 11) * MINUTE)

    @step(0.4)
    async def hours_pass(self) -> None:
        await self._pass(self.chance.uniform(0.3, 12) * HOUR)

    @step(0.3)
    async def days_pass(self) -> None:
        await self._pass(self.chance.uniform(0.5, 3) * DAY)

    # --- processes and machines --------------------------------------------------------------------------------------

    @step(4)
    async def kill(self) -> None:
        """Kill a process at one of its next seams, or at the latest when it is replaced."""
        process = self._somebody()
        if process is None or process.dies_in is not None:
            return
        process.dies_in = self.chance.randint(0, 12)
        process.ring("dispatch")
        later = self.world.time() + self.chance.choice((0.5, 5, 60, 400))
        self.world.at(later, lambda: self._replace(process))

    def _replace(self, process: Process) -> None:
        if process.alive:
            process.die("between two seams")
        self._fill_up()

    def _fill_up(self) -> None:
        """Start a process, unless enough are running already."""
        if len(self.world.alive) < self.world.conditions.replicas:
            self.world.start_process()

    @step(1)
    async def shut_down(self) -> None:
        """SIGTERM: work in flight gets its deadline."""
        process = self._somebody()
        if process is not None and process.dies_in is None:
            process.dies_in = 10**9
            self.world.spawn(self._shut_down(process))

    async def _shut_down(self, process: Process) -> None:
        self.world.say(f"{process} is asked to stop")
        await self._do("stopping", process.dispatcher.stop(self.chance.choice((0.01, 5, TIMEOUT + 1))))
        if process in self.world.alive:
            process.die("at the end of a shutdown")
            self._fill_up()

    @step(2)
    async def stall(self) -> None:
        """Stop a process at one of its next seams; after a while it goes on as if nothing had happened."""
        process = self._somebody()
        if process is not None:
            process.stall = self.chance.choice((2, 25, 45, 400))
            process.stalls_in = self.chance.randint(0, 12)
            process.ring("dispatch")

    @step(0.7)
    async def cut_off(self) -> None:
        """A process cannot reach the database."""
        process = self._somebody()
        if process is not None:
            seconds = self.chance.choice((3, 20, 300))
            process.cut_off_until = self.world.time() + seconds
            self.world.say(f"{process} is cut off from the database for {seconds} s")

    @step(1)
    async def jump(self) -> None:
        """The wall clock of a process jumps."""
        process = self._somebody()
        if process is not None and self.world.conditions.skews:
            seconds = self.chance.choice((-DAY, -HOUR, -30, 30, HOUR, DAY))
            process.skew += int(seconds) * SECOND
            self.world.skewed(process)
            self.world.say(f"the clock of {process} jumps by {seconds} s")
            process.ring("dispatch")

    async def renew(self) -> None:
        """Start new processes on machines whose clocks are right, with nothing paused."""
        for process in self.world.alive:
            process.die("to be replaced")
        self.world.conditions.skews = False
        for _ in range(self.world.conditions.replicas):
            self.world.start_process()
        self.world.calm = True
        process = self.world.alive[0]
        await process.workflow.pause_all(self.world.somebody(ADMIN), on=False)
        for schedule in await process.reminders.listed(TEAM, Kind.BROADCAST):
            await process.reminders.stop(schedule, self.world.somebody(ADMIN))

    @step(0.15)
    async def redeploy_in_the_other_mode(self) -> None:
        self._stop_all("to be deployed in another mode")
        self.world.mode = "training" if self.world.mode == "live" else "live"
        self._start_all()

    def _stop_all(self, why: str) -> None:
        for process in self.world.alive:
            process.die(why)

    def _start_all(self) -> None:
        self.world.era += 1  # drops what is still to happen to the old processes
        for _ in range(self.world.conditions.replicas):
            self.world.start_process()

    @step(1)
    async def back_up(self) -> None:
        self._image = (self.world.memory.image(), self.world.now(), dict(self.world.witness.casts))
        self.world.say("a backup is made")

    @step(0.4)
    async def restore(self) -> None:
        """Restore as an operator does: stop all, put the backup in place, hold what has not ended, start again."""
        if self._image is None:
            return
        self._stop_all("for a restore")
        image, made_at, casts = self._image
        self.world.memory.put_back(image)
        self.world.witness.restored(casts)
        self.world.say("the backup is put back")
        self.world.memory.transact(lambda c: hold_all(c, made_at, self.world.now()))
        self.world.witness.committed(None, "restore")
        self._start_all()

    # --- vendors, strangers and tamperers ----------------------------------------------------------------------------

    @step(1)
    async def vendor_goes_away(self) -> None:
        vendor = self.chance.choice(list(self.world.vendors.values()))
        vendor.away_until = self.world.time() + self.chance.choice((20, 300, 5000))
        self.world.say(f"{vendor} cannot be reached until {vendor.away_until:.1f}")

    @step(2)
    async def list_grows(self) -> None:
        name = self.chance.choice(tuple(AUDIENCES))
        vendor = self.world.vendor(AUDIENCES[name].account)
        vendor.sizes[AUDIENCES[name].id] = size = int(
            vendor.sizes[AUDIENCES[name].id] * self.chance.choice((0.8, 1.2, 4))
        )
        self.world.say(f"{name} has {size} people now")

    @step(1.5)
    async def stranger_calls(self) -> None:
        """Somebody calls without the token, with news about an unknown id, or with nonsense."""
        process, vendor = self._somebody(), self.chance.choice(list(self.world.vendors.values()))
        if process is None:
            return
        body: Any = {"id": "nobody's", "to": "+33612340000", "word": "DELIVERED", "kind": "delivery"}
        token = self.chance.choice(("x" * 32, "", "é"))
        if vendor.ledger and self.chance.random() < 0.5:
            body["id"] = vendor.ledger[-1].ids[0]
        elif vendor.account == "duo" and vendor.live == (self.world.mode == "live"):
            token = vendor.token_of_account
        if self.chance.random() < 0.3:
            body = self.chance.choice((b"", b"[1]", b'{"id": 1}', b"\xff" * 40))
        self.world.spawn(self._strangely(process, vendor.account, token, body))

    async def _strangely(self, process: Process, account: str, token: str, body: Any) -> None:
        STRANGER.set(True)
        status = 0
        try:
            status = await process.hear(account, token, body)
        except Killed:
            return
        self.world.say(f"a stranger calls {process} for {account} and is answered {status}")

    @step(1.5)
    async def tamper(self) -> None:
        """Somebody edits a row behind everybody's back; a careful one also recomputes the digest."""
        row = self._one(State.PENDING, State.SCHEDULED, State.HELD, State.SENDING)
        if row is None:
            return
        changes: dict[str, Any] = self.chance.choice(TAMPERED)
        known = self.world.memory.transact(lambda c: broadcasts.find(c, TEAM, row["id"]))
        if row["quorum"] > 0 and self.chance.random() < 0.3:
            changes = changes | {"digest": digest(dataclasses.replace(known, **changes))}
        table = tables.broadcasts
        self.world.memory.transact(lambda c: c.execute(table.update().where(table.c.id == row["id"]).values(**changes)))
        self.world.say(f"somebody tampers with {', '.join(changes)} of {row['id']}")
        self.world.witness.committed(None, "tampering")


#: Queries that show whether each bell has work to do.
WORK = {
    "dispatch": "SELECT 1 FROM broadcasts WHERE state = 'scheduled' AND due <= :now + 30000000"
    " OR lease_until <= :now OR hold_until <= :now LIMIT 1",
    "track": "SELECT 1 FROM broadcasts WHERE state IN ('sent', 'unknown') AND look_at <= :now"
    " OR progress_at <= :now LIMIT 1",
    "expire": "SELECT 1 FROM broadcasts WHERE state IN ('pending', 'held') AND expires_at <= :now LIMIT 1",
    "remind": "SELECT 1 FROM schedules WHERE state != 'ended' AND (next_at <= :now + 86400000000"
    " OR paused_until <= :now) LIMIT 1",
    "voices": "SELECT 1 FROM broadcasts WHERE voice_at <= :now LIMIT 1",
    "sizes": "SELECT 1 FROM broadcasts WHERE state IN ('pending', 'scheduled') AND size IS NULL"
    " AND coalesce(look_at, 0) <= :now LIMIT 1",
}

TAMPERED: tuple[dict[str, Any], ...] = (
    {"text": f"{CANARY_TEXT}, other words"},
    {"target": "2"},
    {"purpose": Purpose.TRANSACTIONAL},
    {"sender": "Other"},
    {"mode": "training"},
    {"mode": "live"},
    {"send_at": 1},
    {"subscribers": ("+33612349999",)},
)
