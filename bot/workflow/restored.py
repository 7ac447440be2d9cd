"""Holds what a backup shows as still to come: it may have gone out since, so people decide."""

from __future__ import annotations

from sqlalchemy import Connection

from bot.config.settings import ApprovalSettings
from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Action, Hold, Phase, ScheduleAction, ScheduleState, State
from bot.domain.schedule import Kind, Schedule
from bot.storage import broadcast_rows, broadcasts, outbox, queue, schedules
from bot.storage.broadcast_rows import Changes
from bot.storage.notes import Note
from bot.workflow.deadlines import asks, asks_until

ASKED_AS_USUAL = ApprovalSettings()
POSSIBLY_SENT = (
    "The data was restored from a backup made {made_at}, so this broadcast may have gone out since then. Send it now, "
    "re-plan it, or drop it?"
)
LOST = (
    "It was going out when the backup was made, so nobody knows whether it did. Please say on its card what happened."
)


PAUSED = (
    "*{id}* ({typed}) is paused because the data was restored from a backup of {made_at}. Check what has gone out "
    "since then. Then type `/broadcast resume {id}`."
)


def hold_all(connection: Connection, made_at: Micros, at: Micros, approval: ApprovalSettings = ASKED_AS_USUAL) -> None:
    """Let nothing go out by itself that the backup shows as still to come: it may have gone out since."""
    for state in (State.PENDING, State.SCHEDULED, State.HELD, State.SENDING):
        for row in queue.in_state(connection, state, limit=1_000_000):
            if row.phase is Phase.RELEASING:
                _lose(connection, row, at)
            elif row.hold is not Hold.RESTORED:
                _hold(connection, row, made_at, at, approval)
    for schedule in schedules.all_living(connection, Kind.BROADCAST):
        _pause(connection, schedule, made_at, at)


def _hold(connection: Connection, row: Broadcast, made_at: Micros, at: Micros, approval: ApprovalSettings) -> None:
    notes = [Note(Translatable(POSSIBLY_SENT, made_at=made_at), mention=row.requester)]
    changes: Changes = {"hold": Hold.RESTORED, "hold_until": None, "due": None, **broadcast_rows.NO_LEASE}
    changes |= asks(at, approval)
    changes["expires_at"] = max(asks_until(at, approval), row.send_at or 0)  # a plan for next month is kept until then
    broadcasts.move(connection, row, Action.HOLD, actor="restore", at=at, reason=Hold.RESTORED, notes=notes, **changes)


def _pause(connection: Connection, schedule: Schedule, made_at: Micros, at: Micros) -> None:
    """Pause it: an occurrence may have gone out since, on an approval that the backup shows as unused."""
    waits_already = schedule.state is ScheduleState.PAUSED and schedule.paused_until is None
    schedules.move(connection, schedule, ScheduleAction.PAUSE, at, paused_until=None, cover=None)
    if waits_already:
        return
    key = f"schedule:{schedule.id}:restored:{at}"
    sentence = Translatable(PAUSED, id=schedule.id, typed=schedule.typed, made_at=made_at)
    outbox.post(connection, schedule.workspace, key, schedule.channel, sentence, mention=schedule.owner, at=at)


def _lose(connection: Connection, row: Broadcast, at: Micros) -> None:
    sentence = Translatable(LOST)
    changes: Changes = {"failure": sentence, "look_at": at, "due": None, **broadcast_rows.NO_LEASE}
    notes = [Note(sentence, row.requester, aloud=True)]
    broadcasts.move(connection, row, Action.LOSE_TRACK, actor="restore", at=at, notes=notes, **changes)
