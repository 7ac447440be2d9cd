"""Sees every commit, every byte that leaves and every send that a vendor takes, and checks them against the promises.

It asks the code under test nothing: it reads the rows, and calculates for itself what they should allow.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bot.domain.clock import SECOND, Micros, micros
from bot.domain.lifecycle import ENDED, TRANSITIONS, Action, State
from tests.simulation.vendors import SAID_NO, Sent, Vendor
from tests.simulation.world import (
    APPROVERS,
    CANARY_NUMBER,
    CANARY_SECRET,
    CANARY_TEXT,
    GRACE,
    LONGEST_WAIT,
    TEAM,
    TIMEOUT,
    UNDO,
    USUAL_WAIT,
    may_go,
    needed,
)

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.run import World

HOUR = 3600.0
FRESH = 60.0  # seconds for which group membership may be remembered
NOT_ASKED_AGAIN = HOUR  # an approval this young is not checked again before the send
PREPARING = 400.0  # seconds that may pass between that check and the release

#: Set in the task of a stranger, who may change nothing.
STRANGER: ContextVar[bool] = ContextVar("stranger", default=False)

FINALS = "deliveries of which nothing more is to come"
BOUND = ("text", "kind", "target", "everyone", "subscribers", "account", "purpose", "sender", "send_at", "mode")


@dataclass(frozen=True)
class Violation:
    promise: str
    told: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.told}"


@dataclass
class Left:
    """A release whose first byte has left. `clean`: its process has read that the vendor took nothing."""

    dispatch: str
    clean: bool = False

    def answered(self, status: int) -> None:
        self.clean = status in SAID_NO.values()


@dataclass(frozen=True)
class Cast:
    """A vote, with what its row held when it was cast."""

    bound: tuple[Any, ...]
    most: int | None  # how many people it could reach, as far as was known
    counts: bool  # whether its voter might approve at that moment
    at: float


@dataclass
class Series:
    """What the approval of one occurrence of a recurring broadcast covers for the next ones."""

    of: tuple[str, int]  # that occurrence, and its version
    bound: tuple[Any, ...]
    size: int | None
    left: int


@dataclass
class Seen:
    """What the witness remembers of one broadcast beside its row."""

    earliest: Micros = 0  # the earliest start that people and the sending hours allow
    start: Micros = 0  # when it was to start: lateness counts from here
    agreed: Micros = 0  # when the last approval that was needed came
    intent: float = 0.0  # when the intent to release was committed
    meant: sqlite3.Row | None = None  # the row at that moment: later tampering does not change what leaves
    votes: dict[str, Cast] = field(default_factory=dict)  # by approver, at that moment: later votes are too late
    asked: dict[int, tuple[Any, ...]] = field(default_factory=dict)  # by version: what it bound when it was submitted
    left: list[Left] = field(default_factory=list)
    taken: list[Sent] = field(default_factory=list)
    before_restore: bool = False  # it may have gone out, and the database has forgotten that
    settled_by_person: bool = False


class Witness:
    def __init__(self, world: World) -> None:
        self.world, self.memory = world, world.memory
        self.violation: Violation | None = None
        self.rows: dict[str, sqlite3.Row] = {}
        self.audit: list[tuple[Any, ...]] = []
        self.seen: dict[str, Seen] = defaultdict(Seen)
        self.casts: dict[tuple[str, int, str], Cast] = {}
        self.series: dict[str, Series] = {}  # by schedule
        self.rides: dict[str, tuple[str, int]] = {}  # by occurrence that came approved: the one that covers it
        self.fallen: dict[tuple[tuple[str, int], str], float] = {}  # by occurrence and person: when that approval fell
        self.intents: dict[str, float] = {}
        self.paused = False
        self.resumed: Micros = 0  # when the last pause ended
        self.ear = Ear()

    def broken(self, promise: str, told: str) -> None:
        if self.violation is None:
            self.violation = Violation(promise, told)
            self.world.say(f"!! {self.violation}")

    def require(self, holds: object, promise: str, told: str) -> None:
        if not holds:
            self.broken(promise, told)

    # --- after each commit -------------------------------------------------------------------------------------------

    def committed(self, process: Process | None, name: str) -> None:
        """Check that each change of the rows is explained. `process` None: somebody edited rows outside the bot."""
        rows = {str(row["id"]): row for row in self.memory.rows("SELECT * FROM broadcasts")}
        steps = self._new_audit()
        changed = [id for id, row in rows.items() if self.rows.get(id) != row]
        new = rows.keys() - self.rows.keys()
        self.require(self.rows.keys() <= rows.keys(), "I2", f"{name} made a broadcast vanish")
        strange = STRANGER.get() and not (process and process.honest)
        self.require(not (changed and strange), "I6", f"a stranger's callback changed {changed}")
        for id in changed:
            self._follow(self.rows.get(id), rows[id], [step for step in steps if step["broadcast"] == id], name)
        self.rows = rows
        self._count_deliveries(name)
        self._count_votes()
        for id in sorted(new):
            self._is_one_turn(rows[id])
        if process is not None and changed:
            self.world.say(f"  {process} {name}: {', '.join(self._told(rows[id]) for id in changed)}")
        found = self.memory.rows("SELECT value, at FROM kept WHERE name = :name", {"name": f"pause:{TEAM}"})
        self.paused = bool(found and found[0]["value"])
        self.resumed = int(found[0]["at"]) if found and not self.paused else self.resumed

    def _count_deliveries(self, name: str) -> None:
        """Check that a row's counts equal a count of its deliveries one by one."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for row in self.memory.rows("SELECT * FROM deliveries WHERE broadcast <> ''"):
            other = f"other: {row['word']}" if row["status"] == "other" else row["status"]
            label = {"reply": "replies", "opt_out": "opt-outs"}.get(row["kind"], other)
            found[row["broadcast"]] += Counter({label: 1, FINALS: row["final"]})
        for id, row in self.rows.items():
            said = Counter({**json.loads(row["counts"]), FINALS: row["finals"]})
            true = found.get(id, Counter())
            self.require(said == true, "counts", f"{name} left {dict(said)} of {id} where there are {dict(true)}")

    def _new_audit(self) -> list[sqlite3.Row]:
        last = self.audit[-1][0] if self.audit else 0
        steps = self.memory.rows("SELECT * FROM audit WHERE seq > :last ORDER BY seq", {"last": last})
        self.audit += [tuple(step) for step in steps]
        return steps

    def _follow(self, old: sqlite3.Row | None, row: sqlite3.Row, steps: Sequence[sqlite3.Row], name: str) -> None:
        """I8: the audit leads from the old state to the new one, along the table of transitions."""
        id, state = row["id"], old["state"] if old else None
        for step in steps:
            before, action, after = step["before"], step["action"], step["after"]
            self.require(before == state, "I8", f"{id} was {state}, and the audit says {before} ({action})")
            if before != after and before is not None:
                known = TRANSITIONS.get((State(before), Action(action)))
                self.require(known == after, "I8", f"{id}: {action} leads from {before} to {after}")
            state = after
            self._understand(step, row, old)
        self.require(state == row["state"], "I8", f"{name} moved {id} to {row['state']} and wrote no audit")
        if steps:
            recorded = (steps[-1]["version"], steps[-1]["digest"])
            self.require(recorded == (row["version"], row["digest"]), "I8", f"the audit of {id} has another digest")
        if any(step["action"] == Action.SUBMIT for step in steps) or (old and old["version"] != row["version"]):
            self.seen[id].asked[row["version"]] = bound(row)
        self._be_truthful(row)
        self._have_a_deadline(row)

    def _understand(self, step: sqlite3.Row, row: sqlite3.Row, old: sqlite3.Row | None) -> None:
        """Update what the witness remembers of a broadcast, from the audit step just written."""
        seen, at, action = self.seen[row["id"]], int(step["at"]), step["action"]
        if (step["before"], action) in TRANSITIONS:
            self.world.count("moved", f"{step['before']} {action}")
        self.world.count("state", step["after"])
        match action:
            case Action.APPROVE if step["before"] != step["after"]:
                seen.earliest = max(row["send_at"] or 0, at + micros(UNDO))
                seen.start = row["send_at"] or seen.earliest
                seen.agreed = at
                if row["covers"] > 1:
                    of = row["id"], row["version"]
                    self.series[row["schedule"]] = Series(of, series(row), most(row), row["covers"] - 1)
            case Action.WITHDRAW:
                self._cover_no_more(row)
                self._fall(row, step["actor"])
            case Action.CANCEL | Action.STOP | Action.DROP:
                self._cover_no_more(row)
                for person in APPROVERS:
                    self._fall(row, person)
            case Action.OUTGROW | Action.LAPSE:
                self._cover_no_more(row)
            case Action.SEND_NOW:
                seen.earliest = seen.start = max(at + micros(UNDO), row["send_at"] or 0)
                seen.before_restore = False  # a person was told, and decided to send
            case Action.REPLAN | Action.EDIT:
                self._cover_no_more(row)
                seen.before_restore = False
            case Action.RESUME if old is not None:
                seen.earliest = seen.start = max(old["hold_until"], self.resumed)
                if self.resumed > old["hold_until"]:  # nobody expects it at that moment, so it can still be stopped
                    seen.earliest = at + micros(UNDO)
            case Action.MARK_SENT | Action.MARK_NOT_SENT:
                seen.settled_by_person = True
            case Action.ACCEPT | Action.PROVE:
                self._be_proven(row["id"])
            case Action.RELEASE:
                self._intended(row, at)
            case Action.PUT_BACK | Action.REFUSE | Action.HOLD | "refuse_late":
                self.intents.pop(row["id"], None)  # nothing left, so it does not count under the cap

    def _be_proven(self, id: str) -> None:
        taken = [sent for vendor in self.world.vendors.values() for sent in vendor.ledger if sent.broadcast == id]
        self.require(taken, "truth", f"{id} is said to have gone out, and no vendor took it")

    def _be_truthful(self, row: sqlite3.Row) -> None:
        """What a vendor took is going out, unknown or sent. Only a person may be wrong about it."""
        seen = self.seen[row["id"]]
        going = {State.UNKNOWN, State.SENT, State.DONE} | ({State.SENDING} if row["phase"] == "releasing" else set())
        truthful = not seen.taken or row["state"] in going or seen.settled_by_person
        self.require(truthful, "truth", f"{row['id']} is said to be {row['state']}, and {row['account']} took it")

    def _have_a_deadline(self, row: sqlite3.Row) -> None:
        """I2: a broadcast that has not ended waits for a time that will come."""
        waits = {
            State.SCHEDULED: ("due",),
            State.SENDING: ("lease_until",),
            State.UNKNOWN: ("look_at",),
            State.SENT: ("look_at",),
        }.get(row["state"], ("hold_until", "expires_at", "voice_at"))
        waiting = row["state"] in ENDED or any(row[name] is not None for name in waits)
        self.require(waiting, "I2", f"{row['id']} is {row['state']} ({row['hold']}) and waits for nothing")

    def _intended(self, row: sqlite3.Row, at: Micros) -> None:
        """Check that the gates were open when the intent to release was committed. `at`: by the writer's clock."""
        id, now, seen = row["id"], self.world.time(), self.seen[row["id"]]
        seen.intent, seen.meant = now, row
        seen.votes = {key[2]: cast for key, cast in self.casts.items() if key[:2] == (id, row["version"])}
        self.require(not self.paused, "I4", f"{id} is released while everything is paused")
        early = seen.earliest - at
        self.require(early <= 0, "I4", f"{id} is released {early / SECOND} s too early")
        late = at - seen.start - micros(GRACE)
        self.require(late <= 0, "I4", f"{id} is released {late / SECOND} s after its grace, and nobody said so")
        open_now = may_go(row["policy"], row["purpose"], at, margin=True)
        self.require(open_now, "I4", f"{id} is released outside the hours of {row['policy']}")
        self.intents[id] = now
        since = now - HOUR + 2 * self.world.widest_skew
        lately = sum(intent > since for intent in self.intents.values())
        self.require(lately <= self.world.conditions.cap, "I4", f"{id} is the {lately}th within an hour")

    def _count_votes(self) -> None:
        found = self.memory.rows("SELECT broadcast, version, approver FROM votes")
        present = {(str(vote["broadcast"]), int(vote["version"]), str(vote["approver"])) for vote in found}
        for key in present - self.casts.keys():
            row = self.rows[key[0]]
            others = key[2] not in (row["requester"], row["editor"])
            may = row["mode"] == "training" or (others and self._may_approve(key[2], FRESH))
            self.casts[key] = Cast(bound(row), most(row), may, self.world.time())
        for key in self.casts.keys() - present:
            del self.casts[key]

    def _cover_no_more(self, row: sqlite3.Row) -> None:
        known = self.series.get(row["schedule"])
        if known is not None and known.of[0] == row["id"]:
            del self.series[row["schedule"]]

    def _fall(self, row: sqlite3.Row, person: str) -> None:
        """Record that this person's approval of this occurrence falls, for every occurrence that it covered."""
        self.fallen[(row["id"], row["version"]), person] = self.world.time()
        riding = [id for id, of in self.rides.items() if of == (row["id"], row["version"])]
        self.world.count("series", "an approval falls" + (", with occurrences on it" if riding else ""))

    def _is_one_turn(self, row: sqlite3.Row) -> None:
        """Check that an occurrence exists once, and that its voters, if any, approved these very bytes before."""
        if row["schedule"] is None:
            return
        twins = [
            other["id"]
            for other in self.rows.values()
            if (other["schedule"], other["occurrence"]) == (row["schedule"], row["occurrence"])
        ]
        self.require(len(twins) == 1, "I1", f"{twins} are the same occurrence of {row['schedule']}")
        voters = {key[2] for key in self.casts if key[0] == row["id"]}
        if not voters:
            return
        known = self.series.get(row["schedule"])
        before = {key[2] for key, cast in self.casts.items() if known and key[:2] == known.of and cast.counts}
        rides = known is not None and known.left > 0 and known.bound == series(row) and voters <= before
        self.require(rides, "I3", f"{row['id']} comes approved by {sorted(voters)}, who never said so")
        if known is not None:
            self.rides[row["id"]] = known.of
            known.left -= 1
            larger = known.size is not None and (row["bound"] is None or row["bound"] > known.size)
            self.require(not larger, "I3", f"{row['id']} may reach {row['bound']}, and {known.size} were approved")
        self.world.count("series", "an occurrence comes approved")

    def _may_approve(self, person: str, remembered: float) -> bool:
        """Whether this person is an approver, or was one less than `remembered` seconds ago."""
        since = self.world.time() - remembered
        left = [when[person] for when in (self.world.gone, self.world.departed) if person in when]
        return person in APPROVERS and all(when > since for when in left)

    # --- when a byte leaves ------------------------------------------------------------------------------------------

    def first_byte(self, process: Process, vendor: Vendor, message: Mapping[str, Any]) -> Left:
        """Check what leaves: from this instant on phones may ring. `message`: what the vendor would send."""
        dispatch = str(message["dispatch"])
        id = dispatch.split("-")[0]
        self.world.say(f"  {process} releases {dispatch} to {vendor}")
        left, seen, row = Left(dispatch), self.seen[id], self.rows[id]
        self._is_only_one(id, seen)
        mine = f"{id}-{row['version']}-{row['attempt']}"
        holds = (row["state"], row["phase"]) == (State.SENDING, "releasing") and row["owner"] == process.name
        self.require(holds and dispatch == mine, "I1", f"{dispatch} leaves while its row is {self._told(row)}")
        self._is_on_time(process, row, seen)
        self._is_approved(seen.meant or row, seen, message)
        mode = "live" if vendor.live else "training"
        meant = (seen.meant or row)["mode"]
        self.require(meant == mode, "I7", f"{id}, of mode {meant}, leaves for {vendor}")
        seen.left.append(left)
        return left

    def _is_only_one(self, id: str, seen: Seen) -> None:
        again = [other.dispatch for other in seen.left if not other.clean]
        self.require(not again, "I1", f"{id} leaves again, after {again}")
        self.require(not seen.before_restore, "I1", f"{id} leaves again after a restore, and nobody said so")

    def _is_on_time(self, process: Process, row: sqlite3.Row, seen: Seen) -> None:
        since = self.world.time() - seen.intent
        self.require(since <= TIMEOUT, "I4", f"{row['id']} leaves {since:.1f} s after its gates were looked at")
        open_now = may_go(row["policy"], row["purpose"], process.clock(), margin=False)
        self.require(open_now, "I4", f"{row['id']} leaves outside the hours of {row['policy']}")

    def _is_approved(self, row: sqlite3.Row, seen: Seen, message: Mapping[str, Any]) -> None:
        """I3: enough people, not the requester, agreed to exactly what leaves."""
        id, leaving = row["id"], what_leaves(row, message)
        offers = "promo" in row["typed"] and row["requester"] not in APPROVERS
        quorum = needed(row["purpose"], most(row), offers=offers)
        quorum = min(quorum, 1) if row["mode"] == "training" else quorum  # there, one person may walk the whole way
        votes = seen.votes
        young = self.world.time() - min((c.at for c in votes.values()), default=0.0) <= NOT_ASKED_AGAIN + self._slack
        agreed = [
            person
            for person, cast in votes.items()
            if cast.counts and cast.bound == leaving and agrees(row, cast) and not self._fell(id, person, cast)
            if young or row["mode"] == "training" or self._may_approve(person, FRESH + PREPARING)
        ]
        if quorum == 0:
            self.require(agreed or leaving == seen.asked[row["version"]], "I3", f"{id} is not what was asked for")
        waited = (self.world.now() - max(row["send_at"] or 0, seen.agreed)) / SECOND
        outlasted = (
            waited > LONGEST_WAIT.get(row["policy"] if row["purpose"] == "marketing" else "", USUAL_WAIT) + self._slack
        )
        self.require(
            not (quorum and outlasted), "I3", f"{id} was approved for {waited:.0f} s ago, and that is too long"
        )
        told = f"{id} ({row['purpose']} to {row['size']} people) needs {quorum} who agreed to it, and has {agreed}"
        self.require(len(agreed) >= quorum, "I3", told)

    def _fell(self, id: str, person: str, cast: Cast) -> bool:
        """Whether the vote comes from an earlier occurrence, and was withdrawn there since."""
        of = self.rides.get(id)
        return of is not None and cast.at <= self.fallen.get((of, person), -1.0)

    @property
    def _slack(self) -> float:
        """Seconds of tolerance: between the check of a send and its release, and between the clocks."""
        return PREPARING + 2 * self.world.widest_skew

    def accepted(self, vendor: Vendor, sent: Sent) -> None:
        """I1: a vendor takes each broadcast once, by the vendor's own count."""
        seen, row = self.seen[sent.broadcast], self.rows.get(sent.broadcast)
        seen.taken.append(sent)
        self.world.say(f"  {vendor} takes {sent.dispatch} and gives {', '.join(sent.ids)}")
        self.require(len(seen.taken) == 1, "I1", f"{vendor} took {sent.broadcast} {len(seen.taken)} times")
        if row is not None:
            self._be_truthful(row)
        self.ear.needles.update(token for token in (sent.message["callback"], vendor.token_of(sent)) if token)

    # --- after each step ---------------------------------------------------------------------------------------------

    def look_round(self) -> None:
        """Run the checks that cost more, and so run less often."""
        whole = [tuple(row) for row in self.memory.rows("SELECT * FROM audit ORDER BY seq")]
        self.require(whole == self.audit, "I8", "what the audit had was changed")
        for line in self.ear.overheard():
            self.broken("I5", f"a log line tells what it must not: {line}")
        numbers = self.memory.rows(
            "SELECT recipient FROM deliveries WHERE recipient LIKE :like", {"like": f"%{CANARY_NUMBER}%"}
        )
        self.require(not numbers, "I5", "a number is stored as it is")

    def overhear(self, text: str) -> None:
        """I5: check a text that operators read."""
        self.require(not self.ear.knows(text), "I5", f"it is told: {text}")

    def settled(self) -> None:
        """I2, at the end: each broadcast has ended, or is unknown and waits for a person, who alone can settle it."""
        for row in self.rows.values():
            ended = State(row["state"]) in ENDED | {State.UNKNOWN}
            self.require(ended, "I2", f"{self._told(row)} and nothing will ever happen to it")

    def restored(self, casts: Mapping[tuple[str, int, str], Cast]) -> None:
        """Follow the database back in time: what it forgot may have gone out. `casts`: the votes of that time."""
        self.casts, self.series, self.rides, self.fallen = dict(casts), {}, {}, {}
        self.audit = [tuple(row) for row in self.memory.rows("SELECT * FROM audit ORDER BY seq")]
        self.rows = {str(row["id"]): row for row in self.memory.rows("SELECT * FROM broadcasts")}
        self.intents = {}
        for seen in self.seen.values():
            seen.before_restore |= any(not left.clean for left in seen.left)
            seen.left, seen.taken, seen.settled_by_person = [], [], False

    def _told(self, row: sqlite3.Row) -> str:
        extra = ", ".join(str(row[name]) for name in ("phase", "hold", "owner") if row[name])
        return f"{row['id']}-{row['version']}-{row['attempt']} {row['state']}{f' ({extra})' if extra else ''}"


def bound(row: sqlite3.Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in BOUND)


def most(row: sqlite3.Row) -> int | None:
    """Return how many people it may reach, as far as is known; None if unknown."""
    known: int | None = row["bound"] if row["size"] is None else row["size"]
    return known


def agrees(row: sqlite3.Row, cast: Cast) -> bool:
    """Whether what leaves is limited to no more people than this vote was given for."""
    return cast.most is None or (row["bound"] is not None and row["bound"] <= cast.most)


def series(row: sqlite3.Row) -> tuple[Any, ...]:
    """What every occurrence of a series has in common."""
    return tuple(row[name] for name in BOUND if name != "send_at")


def what_leaves(row: sqlite3.Row, message: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the same values as `bound`, read from the bytes on the line."""
    people = json.dumps(message["subscribers"])
    whom = (message["kind"], message["to"], int(message["everyone"]), people)
    return (message["text"], *whom, row["account"], message["purpose"], message["sender"], row["send_at"], row["mode"])


# --- what is overheard -----------------------------------------------------------------------------------------------


class Ear(logging.Handler):
    """Hears every log line, as an operator would read it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.needles = {CANARY_TEXT, CANARY_NUMBER, CANARY_SECRET}
        self.lines: list[str] = []
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def knows(self, text: str) -> bool:
        return any(needle in text for needle in self.needles)

    def overheard(self) -> Iterable[str]:
        lines, self.lines = self.lines, []
        self.count += len(lines)
        return [line for line in lines if self.knows(line)]
