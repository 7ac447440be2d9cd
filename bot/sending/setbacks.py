"""Steps that a broadcast takes when it does not go out: held, put back, lost track of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Unpack

from sqlalchemy import Connection

from bot.config.settings import Settings
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Clock, Micros
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Action, Hold
from bot.storage import broadcasts
from bot.storage.broadcast_rows import NO_LEASE, Changes
from bot.storage.broadcasts import Step
from bot.storage.failing_rows import together
from bot.storage.notes import Note
from bot.workflow import approval_rules
from bot.workflow.deadlines import asks
from bot.workflow.gate import Gate

FIRST_LOOK = 60 * SECOND

MAY_HAVE_GONE = (
    "It may have gone out: {cause} It will not be sent again by itself. Please check at the vendor, then say on its "
    "card what happened."
)


class Setbacks:
    """Steps that a broadcast takes when it is held, put back, or lost track of."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings, self.clock = settings, clock

    def holding(self, row: Broadcast, gate: Gate) -> Step:
        silent = gate.until or gate.hold is Hold.CANARY  # nothing to do yet
        mention = None if silent else " ".join([row.requester, *gate.ask])
        notes = [Note(gate.sentence, mention=mention)]
        changes: Changes = {"hold": gate.hold, "hold_until": gate.until, "due": None, **NO_LEASE}
        changes |= {"expires_at": None} if gate.until else asks(self.clock(), self.settings.approval)
        if gate.hold is Hold.CANARY:
            changes["voice_at"] = self.clock()  # look at once whether its canary has gone out
        return Step(row, Action.HOLD, "dispatcher", self.clock(), gate.hold, notes, changes)

    def hold(self, connection: Connection, row: Broadcast, gate: Gate) -> bool:
        """False when somebody else was faster."""
        return bool(broadcasts.move_all(connection, [self.holding(row, gate)]))

    def losing(self, row: Broadcast, cause: Translatable) -> Step:
        now = self.clock()
        sentence = Translatable(MAY_HAVE_GONE, cause=cause)
        changes: Changes = {"failure": cause, "look_at": now + FIRST_LOOK, "due": None, **NO_LEASE}
        approvers = approval_rules.approvers_today(
            self.settings.approval, row
        )  # they alone may say that it did not go out
        told = approval_rules.notified(self.settings.approval, approvers)
        notes = [Note(sentence, " ".join([row.requester, *told]), aloud=True)]
        return Step(row, Action.LOSE_TRACK, row.provider, now, None, notes, changes)

    def put_back(
        self, connection: Connection, row: Broadcast, now: Micros, reason: str, **changes: Unpack[Changes]
    ) -> None:
        """Put it back. The vendor was not tried, so this does not count as a try."""
        back: Changes = {**NO_LEASE, "tries": max(row.tries - 1, 0), **changes}
        broadcasts.move(connection, row, Action.PUT_BACK, actor="dispatcher", at=now, reason=reason, **back)


def move_together(
    connection: Connection, rows: Sequence[Broadcast], step_of: Callable[[Broadcast], Step | None]
) -> int:
    """Move each row along its step, if it has one: all at once, and if one cannot move, the others still do."""

    def move(some: Sequence[Broadcast]) -> int:
        return len(broadcasts.move_all(connection, [step for row in some if (step := step_of(row)) is not None]))

    return together(connection, "dispatch", rows, move)
