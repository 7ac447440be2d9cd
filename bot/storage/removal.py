"""Removes what is too old to be kept. Never anything of a broadcast that still lives.

What is old is found by marks: up to where everything old enough was removed already. Every function here does little
at a time, since people wait for the same writer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    delete,
    insert,
    literal_column,
    select,
    text,
    tuple_,
    update,
)

from bot.domain.clock import Micros
from bot.storage.broadcast_rows import Owner
from bot.storage.keys import keep, load_kept
from bot.storage.tables import (
    ENDED,
    audit,
    broadcasts,
    deliveries,
    dispatches,
    notes,
    posts,
    schedules,
    vendor_ids,
)

AT_ONCE = 500  # rows that one transaction removes
ENDED_AT_ONCE = 20  # broadcasts whose text it removes
LEFT = "…"  # stands for the text of a schedule that has ended; an empty one would be a digest
START = (0, "", "")


@dataclass(frozen=True)
class Ended:
    """A broadcast in which nothing happens any more, and since when."""

    changed_at: Micros
    workspace: str
    id: str
    version: int
    state: str
    digest: str

    @property
    def mark(self) -> str:
        return json.dumps([self.changed_at, self.workspace, self.id])


def ended_before(connection: Connection, name: str, before: Micros, limit: int = ENDED_AT_ONCE) -> list[Ended]:
    """The oldest that ended before then and lie behind the mark of this name."""
    rows = broadcasts.c
    order = rows.changed_at, rows.workspace, rows.id
    columns = select(*order, rows.version, rows.state, rows.digest)
    behind = tuple_(*order) > tuple_(*_mark(connection, name))
    found = columns.where(text(ENDED), rows.changed_at < before, behind).order_by(*order).limit(limit)
    return [Ended(*row) for row in connection.execute(found)]


def _mark(connection: Connection, name: str) -> Sequence[Micros | str]:
    found = load_kept(connection, f"removed:{name}")
    return json.loads(found) if found else START


def remove_texts(connection: Connection, before: Micros, at: Micros) -> bool:
    """Remove the texts of some that ended before then. Returns whether there may be more."""
    those = ended_before(connection, "texts", before)
    for one in those:
        if remove_text(connection, one, at):
            note_removal(connection, one, "retention", "remove_text", at)
    if those:
        keep(connection, "removed:texts", those[-1].mark, at)
    return len(those) == ENDED_AT_ONCE


def remove_text(connection: Connection, one: Ended, at: Micros) -> bool:
    """Remove what was typed, also from its notes. The digest stays. Returns False if it was removed before."""
    rows = broadcasts.c
    same = and_(rows.workspace == one.workspace, rows.id == one.id, text(ENDED), rows.text_removed_at.is_(None))
    values = {"typed": "", "text": "", "subscribers": [], "text_removed_at": at}
    removed = connection.execute(update(broadcasts).where(same).values(values)).rowcount == 1
    mine = and_(notes.c.workspace == one.workspace, notes.c.broadcast == one.id)
    connection.execute(delete(notes).where(mine, notes.c.post_at.is_(None)))
    return removed


def note_removal(connection: Connection, one: Ended, actor: str, action: str, at: Micros) -> None:
    """Write it to the audit."""
    row = {"workspace": one.workspace, "broadcast": one.id, "version": one.version, "digest": one.digest}
    state = {"before": one.state, "after": one.state}
    connection.execute(insert(audit).values(**row, **state, actor=actor, action=action, at=at))


def remove_schedule_texts(connection: Connection, before: Micros, at: Micros) -> bool:
    """Remove the texts of recurring broadcasts and reminders that ended before then. There are few of them."""
    connection.execute(update(schedules).where(_old_schedules(before)).values(text=LEFT))
    return False


def _old_schedules(before: Micros) -> ColumnElement[bool]:
    over = and_(schedules.c.state == "ended", schedules.c.changed_at < before)
    return and_(over, schedules.c.text.not_in(("", LEFT)))


def remove_posts(connection: Connection, before: Micros, at: Micros) -> bool:
    """Remove messages that were posted before then, outside of threads. Returns whether there may be more."""
    after = int(load_kept(connection, "removed:posts") or 0)
    found = select(posts.c.seq, posts.c.post_at).where(posts.c.seq > after, posts.c.at < before)
    rows = connection.execute(found.order_by(posts.c.seq).limit(AT_ONCE)).all()
    if rows:
        over = [row.seq for row in rows if row.post_at is None]
        connection.execute(delete(posts).where(posts.c.seq.in_(over)))
        keep(connection, "removed:posts", str(rows[-1].seq), at)
    return len(rows) == AT_ONCE


def remove_deliveries(connection: Connection, before: Micros, at: Micros) -> bool:
    """Remove the deliveries of some that ended before then, with what leads a vendor's news to them.

    The counts on the broadcast stay. Returns whether there may be more.
    """
    left, done = AT_ONCE, None
    those = ended_before(connection, "deliveries", before, AT_ONCE)
    for one in those:
        left -= forget_deliveries(connection, (one.workspace, one.id), left)
        if left <= 0:
            break
        done = one
    if done is not None:
        keep(connection, "removed:deliveries", done.mark, at)
    return left <= 0 or len(those) == AT_ONCE


def forget_deliveries(connection: Connection, owner: Owner, most: int = AT_ONCE) -> int:
    """Remove at most so many of the deliveries and vendor's ids of a broadcast; fewer, once none is left."""
    removed = 0
    for table in (deliveries, vendor_ids, dispatches):
        mine = and_(table.c.workspace == owner[0], table.c.broadcast == owner[1])
        removed += _delete_some(connection, table, mine, most - removed)
    return removed


def remove_set_aside(connection: Connection, before: Micros) -> bool:
    """Remove some of what vendors reported before then about nothing known. Returns whether there may be more."""
    old = and_(deliveries.c.workspace.is_(None), deliveries.c.at < before)
    return _delete_some(connection, deliveries, old, AT_ONCE) == AT_ONCE


def _delete_some(connection: Connection, table: Table, those: ColumnElement[bool], most: int) -> int:
    """Delete by the rows' own places, since `(a, b) IN (…)` reads all of a table in SQLite."""
    if most <= 0:
        return 0
    place: ColumnElement[Any] = literal_column("ctid" if connection.dialect.name == "postgresql" else "rowid")
    some = select(place).select_from(table).where(those).limit(most)
    return connection.execute(delete(table).where(place.in_(some))).rowcount


@dataclass(frozen=True)
class Limits:
    """Before when each kind is too old; None: it is kept for ever."""

    texts: Micros | None
    deliveries: Micros | None
    set_aside: Micros | None


def some_too_old(connection: Connection, limits: Limits) -> bool:
    """Whether anything is to be removed; it reads no more than a few rows."""
    questions = []
    if limits.texts is not None:
        if ended_before(connection, "texts", limits.texts, 1):
            return True
        after = int(load_kept(connection, "removed:posts") or 0)
        questions += [select(posts.c.seq).where(posts.c.seq > after, posts.c.at < limits.texts)]
        questions += [select(schedules.c.id).where(_old_schedules(limits.texts))]
    if limits.deliveries is not None and ended_before(connection, "deliveries", limits.deliveries, 1):
        return True
    if limits.set_aside is not None:
        aside = deliveries.c.workspace.is_(None), deliveries.c.at < limits.set_aside
        questions += [select(deliveries.c.id).where(*aside)]
    return any(connection.execute(question.limit(1)).first() is not None for question in questions)
