"""Writes the whole database to one file, and restores it. Restored broadcasts ask before they are sent.

SQLite and PostgreSQL share one format, so that a backup of one can be restored into the other. It is gzipped JSON, a
line for each row, between a first line that names the schema and a last line that counts the rows.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, MetaData, func, insert, select, text

from bot.config.settings import ApprovalSettings
from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Action, Hold, Phase, ScheduleAction, ScheduleState, State
from bot.domain.schedule import Kind, Schedule
from bot.storage import broadcast_rows, broadcasts, outbox, queue, schedules, schema, tables
from bot.storage.broadcast_rows import Changes
from bot.storage.notes import Note
from bot.storage.schema import one_snapshot, upgrade
from bot.workflow.deadlines import asks, asks_until

HEAD = "bellcrier backup"
AT_ONCE = 500
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


class NotABackup(Exception):
    """The file cannot be restored; the message says why."""


class NotEmpty(Exception):
    """There are broadcasts in the database that a restore would lose."""


def write_backup(connection: Connection, path: Path, at: Micros) -> int:
    """Write every row into a new file that only its owner can read. Returns how many. Raises FileExistsError.

    An incomplete file is removed.
    """
    path.touch(mode=0o600, exist_ok=False)
    try:
        one_snapshot(connection)
        return _write_rows(connection, path, at)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _write_rows(connection: Connection, path: Path, at: Micros) -> int:
    count = 0
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write(json.dumps({HEAD: schema.schema_revision(connection), "at": at}) + "\n")
        for table in tables.metadata.sorted_tables:
            for row in connection.execute(select(table)).mappings():
                file.write(json.dumps({"table": table.name, "row": dict(row)}) + "\n")
                count += 1
        file.write(json.dumps({"rows": count}) + "\n")
    return count


def restore_backup(
    connection: Connection,
    path: Path,
    at: Micros,
    *,
    force: bool = False,
    approval: ApprovalSettings = ASKED_AS_USUAL,
) -> int:
    """Replace the database with a backup, then hold what has not ended. Returns how many rows.

    `approval`: how often, and for how long, held broadcasts ask.

    Raises NotABackup, or NotEmpty without `force`. Nothing changes when it raises.
    """
    head, rows = read_backup(path)
    _clear(connection, force)
    upgrade(connection, str(head[HEAD]))
    reflected = MetaData()
    reflected.reflect(connection)
    for name, some in _grouped(rows):
        if name not in reflected.tables:
            raise NotABackup(f"{path} holds a table {name!r} that its own revision does not have.")
        connection.execute(insert(reflected.tables[name]), some)
    upgrade(connection)
    _continue_numbers(connection)
    hold_all(connection, int(head["at"]), at, approval)
    return len(rows)


def read_backup(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the first line and the rows. Raises NotABackup for a file that is something else, or cut short."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        head, *rows, tail = lines
        if not isinstance(head[HEAD], str) or tail["rows"] != len(rows):
            raise ValueError
    except (gzip.BadGzipFile, EOFError, ValueError, KeyError, TypeError):
        raise NotABackup(f"{path} is no whole backup of bellcrier.") from None
    return head, rows


def _clear(connection: Connection, force: bool) -> None:
    if schema.is_empty(connection):
        return
    if not force and connection.dialect.has_table(connection, "broadcasts"):
        found = connection.execute(select(func.count()).select_from(tables.broadcasts)).scalar_one()
        if found:
            raise NotEmpty(found)
    known = MetaData()
    known.reflect(connection)
    known.drop_all(connection)


def _grouped(rows: Iterable[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the rows of one table after another, a few hundred at a time."""
    name, some = "", list[dict[str, Any]]()
    for entry in rows:
        if some and (entry["table"] != name or len(some) == AT_ONCE):
            yield name, some
            some = []
        name = entry["table"]
        some.append(entry["row"])
    if some:
        yield name, some


def _continue_numbers(connection: Connection) -> None:
    """Set PostgreSQL's sequences to the highest row. SQLite continues after it by itself."""
    if connection.dialect.name != "postgresql":
        return
    for table in (tables.audit, tables.notes, tables.posts):
        highest = connection.execute(select(func.max(table.c.seq))).scalar_one()
        sequence = text(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'seq'), :highest)")
        if highest is not None:
            connection.execute(sequence, {"highest": highest})


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
