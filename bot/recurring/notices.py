"""What the bot says about a schedule, each thing once."""

from __future__ import annotations

from sqlalchemy import Connection

from bot.domain.clock import Micros
from bot.domain.i18n import Translatable
from bot.domain.schedule import Kind, Schedule
from bot.storage import audit, outbox

AWAY = {
    Kind.REMINDER: "I was away when this was due ({missed_at}), so I did not post it: “{text}” (missed: {number})",
    Kind.BROADCAST: "I was away when this was due ({missed_at}), so nothing was sent: “{text}” (missed: {number})",
}
UNASKED = "Nobody could approve this before it was due ({missed_at}), so nothing was sent: “{text}” (missed: {number})"


def write_schedule_audit(
    connection: Connection, schedule: Schedule, actor: str, action: str, reason: str | None, now: Micros
) -> None:
    audit.write_event(
        connection, schedule.workspace, actor, f"{action}_{schedule.kind}", reason, now, about=schedule.id
    )


def report_missed(
    connection: Connection,
    schedule: Schedule,
    missed: list[tuple[str, Micros]],
    now: Micros,
    template: str | None = None,
) -> None:
    """Tell its channel which occurrences were missed.

    `missed`: their names and instants. `template`: the text, if the cause is not our absence.
    """
    local, at = missed[-1]
    sentence = Translatable(template or AWAY[schedule.kind], text=schedule.text, missed_at=at, number=len(missed))
    notify(connection, schedule, f"missed:{local}", sentence, schedule.channel, now)


def notify(
    connection: Connection, schedule: Schedule, key: str, sentence: Translatable, place: str, now: Micros
) -> None:
    """Queue a message about a schedule; the same `key` is posted once."""
    message = Translatable("*{id}* ({typed}): {told}", id=schedule.id, typed=schedule.typed, told=sentence)
    mention = None if place == schedule.owner else schedule.owner
    name = f"schedule:{schedule.id}:{key}"
    outbox.post(connection, schedule.workspace, name, place, message, mention=mention, at=now)
