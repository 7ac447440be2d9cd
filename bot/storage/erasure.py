"""What an operator erases: everything about a number, or what people wrote about a broadcast."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Text, and_, bindparam, cast, delete, func, or_, select, text, update

from bot.domain.clock import Micros
from bot.storage.audit import write_event
from bot.storage.broadcast_rows import Owner
from bot.storage.removal import Ended, note_removal, remove_text
from bot.storage.tables import ENDED, audit, broadcasts, deliveries, notes, posts, seals
from providers.reading import number_of

ENDING = 9  # digits by which a number is found in a text, with or without its country code
READ_AT_ONCE = 500


@dataclass(frozen=True)
class Traces:
    """What is stored about a number.

    `rows`: keys of deliveries and answers that can be removed. `listed`: ended broadcasts that name it among their
    recipients. `living`: broadcasts that still need theirs. `texts`: broadcasts whose text or notes contain it.
    """

    rows: list[dict[str, Any]]
    listed: list[Owner]
    living: list[Owner]
    texts: list[Owner]
    workspaces: list[str]


def find_number(connection: Connection, number: str, hashed: str) -> Traces:
    """Read everything for a number. `number`: its digits; `hashed`: as it is stored."""
    rows, listed, living, workspaces = list[dict[str, Any]](), list[Owner](), set[Owner](), set[str]()
    for row in connection.execute(_deliveries_of(hashed)).mappings():
        key = {f"the_{name}": row[name] for name in ("account", "id", "recipient", "kind")}
        owner = (row["workspace"], row["broadcast"])
        if row["workspace"]:
            workspaces.add(row["workspace"])
        if row["alive"]:
            living.add(owner)
        else:
            rows.append(key)
    for row in _with_recipients(connection):
        if number in map(number_of, row["subscribers"]):
            workspaces.add(row["workspace"])
            owner = (row["workspace"], row["id"])
            living.add(owner) if row["alive"] else listed.append(owner)
    return Traces(rows, listed, sorted(living), sorted(set(_in_texts(connection, number))), sorted(workspaces))


def _deliveries_of(hashed: str) -> Any:
    same = and_(broadcasts.c.workspace == deliveries.c.workspace, broadcasts.c.id == deliveries.c.broadcast)
    reply = func.substr(deliveries.c.recipient, 1, len(hashed) + 1) == f"{hashed}:"
    theirs = or_(deliveries.c.recipient == hashed, reply)
    return select(deliveries, _alive()).select_from(deliveries.outerjoin(broadcasts, same)).where(theirs)


def _alive() -> ColumnElement[bool]:
    ended = ("done", "failed", "rejected", "cancelled", "expired")
    return and_(broadcasts.c.state.is_not(None), broadcasts.c.state.not_in(ended)).label("alive")


def _with_recipients(connection: Connection) -> Iterator[Any]:
    rows = broadcasts.c
    statement = select(rows.workspace, rows.id, rows.subscribers, _alive()).where(rows.kind == "group")
    for row in connection.execute(statement, execution_options={"yield_per": READ_AT_ONCE}).mappings():
        if isinstance(row["subscribers"], list):
            yield row


def _in_texts(connection: Connection, number: str) -> Iterator[Owner]:
    ending = number[-ENDING:]
    rows, thread = broadcasts.c, notes.c
    written = (
        select(rows.workspace, rows.id, rows.typed, rows.text),
        select(thread.workspace, thread.broadcast, thread.sentence, thread.sentence),
    )
    for statement in written:
        for workspace, id, *texts in connection.execute(statement, execution_options={"yield_per": READ_AT_ONCE}):
            if any(ending in re.sub(r"[^0-9]", "", str(one)) for one in texts):
                yield workspace, id


def erase_number(connection: Connection, number: str, found: Traces, at: Micros) -> None:
    """Remove what `find_number` found and nothing needs. The audit tells how much, and not which number."""
    key = (deliveries.c[name] == bindparam(f"the_{name}") for name in ("account", "id", "recipient", "kind"))
    if found.rows:
        connection.execute(delete(deliveries).where(*key), found.rows)
    for workspace, id in found.listed:
        _unlist(connection, workspace, id, number)
    for workspace in found.workspaces:
        count = f"{len(found.rows)} deliveries, {len(found.listed)} lists"
        write_event(connection, workspace, "operator", "erase_number", count, at)


def _unlist(connection: Connection, workspace: str, id: str, number: str) -> None:
    mine = and_(broadcasts.c.workspace == workspace, broadcasts.c.id == id)
    listed = connection.execute(select(broadcasts.c.subscribers).where(mine).with_for_update()).scalar_one()
    others = [one for one in listed if number_of(one) != number]
    connection.execute(update(broadcasts).where(mine, text(ENDED)).values(subscribers=others))


@dataclass(frozen=True)
class Found:
    """A broadcast to be erased; `ended`: None while it lives."""

    workspace: str
    ended: Ended | None
    deliveries: int
    notes: int


def find_broadcast(connection: Connection, id: str) -> list[Found]:
    """The broadcasts with this id: one in each workspace that has it."""
    rows = broadcasts.c
    columns = select(rows.changed_at, rows.workspace, rows.id, rows.version, rows.state, rows.digest)
    found = []
    for row in connection.execute(columns.where(rows.id == id).add_columns(_alive())):
        *fields, alive = row
        counts = (_count(connection, table, row.workspace, id) for table in (deliveries, notes))
        found.append(Found(row.workspace, None if alive else Ended(*fields), *counts))
    return found


def _count(connection: Connection, table: Any, workspace: str, id: str) -> int:
    mine = and_(table.c.workspace == workspace, table.c.broadcast == id)
    return int(connection.execute(select(func.count()).select_from(table).where(mine)).scalar_one())


def erase_broadcast(connection: Connection, one: Ended, at: Micros) -> None:
    """Remove what people wrote about it: its text, their reasons, its notes, and what was posted about it elsewhere.

    The digests, the decisions and the counts stay. Its deliveries are another matter, as they may be many.
    """
    rows, at_home = broadcasts.c, audit.c.workspace == one.workspace
    remove_text(connection, one, at)
    words = {"campaign": None, "glass_reason": None, "review_comment": None}
    connection.execute(update(broadcasts).where(rows.workspace == one.workspace, rows.id == one.id).values(words))
    connection.execute(delete(notes).where(notes.c.workspace == one.workspace, notes.c.broadcast == one.id))
    of_digest = and_(posts.c.key.startswith("digest:"), cast(posts.c.sentence, Text).contains(one.id))
    about_it = or_(posts.c.about == one.id, posts.c.key.contains(one.id), of_digest)
    connection.execute(delete(posts).where(posts.c.workspace == one.workspace, about_it))
    _erase_reasons(connection, select(audit.c.seq).where(at_home, audit.c.broadcast == one.id))
    note_removal(connection, one, "operator", "erase", at)


def _erase_reasons(connection: Connection, those: Any) -> None:
    """The salts go too, so that nobody can guess a reason by its digest. The chain stays whole."""
    seqs: Iterable[int] = connection.execute(those.where(audit.c.reason.is_not(None))).scalars().all()
    connection.execute(update(seals).where(seals.c.seq.in_(seqs)).values(salt=None))
    connection.execute(update(audit).where(audit.c.seq.in_(seqs)).values(reason=None))
