"""Notes for a broadcast's thread, written in the transaction that makes them true."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, func, insert, select, update

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.i18n import Translatable
from bot.storage.broadcast_rows import SHOWN, understood
from bot.storage.failing_rows import failing_rows_of
from bot.storage.sql import but, fitting, read_each, without_index
from bot.storage.tables import audit, broadcasts, notes

TO_AUDIT, TO_NOTES = insert(audit).inline(), insert(notes).inline()  # nobody needs their row numbers


@dataclass(frozen=True)
class Note:
    """A line posted once in the thread. `mention`: ids of people, with spaces; `aloud`: in the channel too."""

    sentence: Translatable
    mention: str | None = None
    aloud: bool = False


@dataclass(frozen=True)
class PendingNote:
    seq: int
    workspace: str
    broadcast: str
    note: Note
    at: Micros
    tries: int


def add_notes(connection: Connection, broadcast: Broadcast, at: Micros, new_notes: Iterable[Note]) -> None:
    """Queue notes for the thread, in the transaction that made them true."""
    rows = [to_note_rows(broadcast, at, note) for note in new_notes]
    if rows:
        connection.execute(TO_NOTES, rows)


def drop_notes(connection: Connection, broadcast: Broadcast) -> None:
    """Drop its unposted notes: there is no thread to post them in."""
    mine = and_(notes.c.workspace == broadcast.workspace, notes.c.broadcast == broadcast.id)
    connection.execute(update(notes).where(mine, notes.c.post_at.is_not(None)).values(post_at=None))


def to_note_rows(broadcast: Broadcast, at: Micros, note: Note) -> dict[str, Any]:
    return {
        "workspace": broadcast.workspace,
        "broadcast": broadcast.id,
        "sentence": note.sentence.plain(),
        "mention": fitting(note.mention),
        "aloud": note.aloud,
        "at": at,
        "post_at": at,
        "tries": 0,
    }


def notes_to_post(connection: Connection, at: Micros, limit: int) -> list[PendingNote]:
    """The oldest unposted note of each broadcast, if it is due, so that a thread keeps its order.

    A draft that was never shown has no thread.
    """
    of = and_(broadcasts.c.workspace == notes.c.workspace, broadcasts.c.id == notes.c.broadcast, understood(connection))
    stumbled = but(notes.c.seq, failing_rows_of(connection).put_off("note"))
    oldest = (
        select(func.min(notes.c.seq))
        .join(broadcasts, and_(of, SHOWN))
        .where(notes.c.post_at.is_not(None), stumbled)
        .group_by(without_index(notes.c.workspace), without_index(notes.c.broadcast))
    )
    statement = select(notes).where(notes.c.seq.in_(oldest), notes.c.post_at <= at).order_by(notes.c.seq).limit(limit)
    return read_each(connection, statement, _to_note, "note", "seq")


def _to_note(row: RowMapping) -> PendingNote:
    note = Note(Translatable.of(row["sentence"]), row["mention"], row["aloud"])
    return PendingNote(row["seq"], row["workspace"], row["broadcast"], note, row["at"], row["tries"])


def told_at(connection: Connection, workspace: str, id: str, instants: Sequence[Micros]) -> dict[Micros, Translatable]:
    """What the thread of a broadcast says of what happened at these instants, by the instant."""
    of = and_(notes.c.workspace == workspace, notes.c.broadcast == id, notes.c.at.in_(instants))
    found = read_each(connection, select(notes).where(of).order_by(notes.c.seq), _to_note, "note", "seq")
    return {one.at: one.note.sentence for one in reversed(found)}


def note_posted(connection: Connection, seq: int, ts: str) -> None:
    connection.execute(update(notes).where(notes.c.seq == seq).values(post_at=None, ts=ts))


def note_failed(connection: Connection, seq: int, again_at: Micros | None) -> None:
    """Try again later; None gives it up."""
    connection.execute(update(notes).where(notes.c.seq == seq).values(post_at=again_at, tries=notes.c.tries + 1))
