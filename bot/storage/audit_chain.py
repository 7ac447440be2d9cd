"""The audit is a chain: each row's seal holds the hash of the seal before it, in its workspace.

Rows are sealed a moment after they were committed, so that nobody who writes to the audit waits for another. The order
of the seals is that in which they were found, which is that of the commits: on PostgreSQL, a row may be committed after
one with a higher number. A seal holds the digest of the reason, with a salt, and not the reason: that may be erased.

Whoever can write to the database can also make another chain. `bellcrier db check` and the export show the newest
hash, to be compared with one that was noted before.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, and_, func, insert, select

from bot.storage.sql import alone
from bot.storage.tables import audit, seals

AT_ONCE = 200  # rows sealed in one transaction: people wait for the same writer
RECENT = 3  # rounds of sealing for somebody who waits
LOOK_BACK = 10_000  # numbers that a transaction may be late with its rows
START = "0" * 64  # stands for the hash before the first

_LIKE = tuple(audit.c[name] for name in ("seq", "workspace", "broadcast", "version", "actor", "action"))
_SEALED = (*_LIKE, *(audit.c[name] for name in ("before", "after", "digest", "at")))


@dataclass(frozen=True)
class Head:
    """The newest seal of a workspace."""

    place: int
    hash: str


@dataclass(frozen=True)
class Broken:
    """The first row of the audit that is not as it was sealed."""

    seq: int
    workspace: str
    place: int  # in the chain of its workspace
    cause: str
    about: str | None = None  # the broadcast or schedule, if the row is still there


@dataclass(frozen=True)
class Checked:
    """What a check of the whole chain found: the newest seal of each workspace, and how many rows have none yet."""

    heads: dict[str, Head]
    unsealed: int
    broken: Broken | None = None


def seal_more(connection: Connection, after: int = 0) -> int | None:
    """Seal some rows that have none yet, among those with a higher number than `after`.

    Returns the number after which to go on; None if there was nothing to seal.
    """
    alone(connection, "audit chain")
    rows = connection.execute(_unsealed(after).limit(AT_ONCE)).mappings().all()
    ends = {workspace: head(connection, workspace) for workspace in {row["workspace"] for row in rows}}
    new = []
    for row in rows:
        sealed, ends[row["workspace"]] = _seal(row, ends[row["workspace"]])
        new.append(sealed)
    if not new:
        return None
    connection.execute(insert(seals), new)
    return int(rows[-1]["seq"])


def seal_all(connection: Connection) -> None:
    """Seal whatever has no seal yet, as after an upgrade."""
    after: int | None = 0
    while after is not None:
        after = seal_more(connection, after)


def seal_recent(connection: Connection) -> None:
    """Seal what was written a moment ago, for somebody who looks at it now."""
    after: int | None = sealed_up_to(connection)
    for _ in range(RECENT):
        if after is not None:
            after = seal_more(connection, after)


def some_unsealed(connection: Connection, after: int = 0) -> bool:
    return connection.execute(_unsealed(after).limit(1)).first() is not None


def sealed_up_to(connection: Connection) -> int:
    """The number of the audit below which every row has its seal, once all were sealed."""
    highest = connection.execute(select(func.max(seals.c.seq))).scalar_one_or_none() or 0
    return max(highest - LOOK_BACK, 0)


def heads(connection: Connection) -> dict[str, Head]:
    """The newest seal of each workspace."""
    workspaces = connection.execute(select(seals.c.workspace).distinct()).scalars().all()
    return {workspace: head(connection, workspace) for workspace in workspaces}


def head(connection: Connection, workspace: str) -> Head:
    newest = select(seals.c.place, seals.c.hash).where(seals.c.workspace == workspace).order_by(seals.c.place.desc())
    found = connection.execute(newest.limit(1)).first()
    return Head(0, START) if found is None else Head(found.place, found.hash)


def _unsealed(after: int) -> Select[Any]:
    those = audit.outerjoin(seals, seals.c.seq == audit.c.seq)
    return select(audit).select_from(those).where(audit.c.seq > after, seals.c.seq.is_(None)).order_by(audit.c.seq)


def _seal(row: RowMapping, before: Head) -> tuple[dict[str, Any], Head]:
    salt = None if row["reason"] is None else secrets.token_hex(16)
    digest = None if salt is None else _reason_digest(salt, row["reason"])
    made = Head(before.place + 1, _hash(row, digest, before.hash))
    seal = {"seq": row["seq"], "workspace": row["workspace"], "salt": salt, "reason_digest": digest}
    return {**seal, "place": made.place, "hash": made.hash}, made


def _reason_digest(salt: str, reason: str) -> str:
    return hashlib.sha256(f"{salt}{reason}".encode()).hexdigest()


def _hash(row: RowMapping, reason_digest: str | None, before: str) -> str:
    content = [before, reason_digest, *(row[column.name] for column in _SEALED)]
    return hashlib.sha256(json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()


def check_chain(connection: Connection) -> Checked:
    """Compute every hash again. Stops at the first row that is not as it was sealed. Needs little memory."""
    heads: dict[str, Head] = {}
    for row in connection.execute(_CHAIN, execution_options={"yield_per": AT_ONCE}).mappings():
        before = heads.get(row["chain"], Head(0, START))
        if cause := _trouble(row, before):
            return Checked(heads, 0, Broken(row["sealed"], row["chain"], row["place"], cause, row["broadcast"]))
        heads[row["chain"]] = Head(row["place"], row["hash"])
    counted = connection.execute(select(func.count()).select_from(audit)).scalar_one()
    return Checked(heads, counted - sum(one.place for one in heads.values()))


_CHAIN = (
    select(*_SEALED, audit.c.reason, *(seals.c[name] for name in ("place", "salt", "reason_digest", "hash")))
    .add_columns(seals.c.seq.label("sealed"), seals.c.workspace.label("chain"))
    .select_from(seals.outerjoin(audit, and_(audit.c.seq == seals.c.seq, audit.c.workspace == seals.c.workspace)))
    .order_by(seals.c.workspace, seals.c.place)
)


def _trouble(row: RowMapping, before: Head) -> str | None:
    """Say what is wrong with a row; None if nothing is."""
    if row["seq"] is None:
        return "it is missing"
    if row["place"] != before.place + 1:
        return f"{row['place'] - before.place - 1} rows before it are missing"
    if row["hash"] != _hash(row, row["reason_digest"], before.hash):
        return "it was changed, or the one before it"
    if row["reason"] is None:
        return None if row["salt"] is None else "its reason was removed other than by erasing it"
    return (
        None if _reason_digest(row["salt"] or "", row["reason"]) == row["reason_digest"] else "its reason was changed"
    )
