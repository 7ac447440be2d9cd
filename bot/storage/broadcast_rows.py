"""How the row of a broadcast is read, and which rows this version can read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypedDict

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Executable,
    RowMapping,
    Select,
    and_,
    bindparam,
    exists,
    literal_column,
    or_,
    select,
    update,
)

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Hold, Phase, State
from bot.storage.failing_rows import failing_rows_of
from bot.storage.sql import but, check_instant, in_scope, known_words, read_each, within
from bot.storage.tables import SHAPE, broadcasts, cards
from providers.base import AudienceKind, Purpose, Staged

Owner = tuple[str, str]  # (workspace, broadcast id)

#: Leaves out rows that a newer version wrote and this code cannot read. Every query for work uses it.
UNDERSTOOD = and_(
    broadcasts.c.shape <= SHAPE,
    known_words(broadcasts.c.state, State),
    known_words(broadcasts.c.phase, Phase),
    known_words(broadcasts.c.hold, Hold),
    known_words(broadcasts.c.kind, AudienceKind),
    known_words(broadcasts.c.purpose, Purpose),
)


def in_states(*states: State) -> ColumnElement[bool]:
    """Match states as literals: a partial index is used only if the statement has the words of its definition."""
    words: list[ColumnElement[str]] = [literal_column(f"'{state}'") for state in states]
    return broadcasts.c.state.in_(words) if len(words) > 1 else broadcasts.c.state == words[0]


SENDING, SCHEDULED = in_states(State.SENDING), in_states(State.SCHEDULED)

# Building a statement costs more than running it, so the one that writes each step of a broadcast is built once.
_SEEN = ("workspace", "id", "state", "version", "attempt")
_SEEN_OR_NONE = ("owner", "phase")


def _seen(name: str) -> BindParameter[Any]:
    return bindparam(f"seen_{name}", type_=broadcasts.c[name].type)


#: The row as the caller last saw it. Attempt and owner are the fencing token: a caller whose lease was taken over no
#: longer matches any row. `seen_values` gives its values.
AS_SEEN = and_(
    *(broadcasts.c[name] == _seen(name) for name in _SEEN),
    *(broadcasts.c[name].is_not_distinct_from(_seen(name)) for name in _SEEN_OR_NONE),
    UNDERSTOOD,
)
CHANGE = update(broadcasts).where(AS_SEEN).values(revision=broadcasts.c.revision + 1).returning(broadcasts)


def seen_values(seen_as: Broadcast) -> dict[str, Any]:
    return {f"seen_{name}": getattr(seen_as, name) for name in (*_SEEN, *_SEEN_OR_NONE)}


class Changes(TypedDict, total=False):
    """Columns that `move` or `touch` may change, with the values that `Broadcast` has."""

    version: int
    phase: Phase | None
    hold: Hold | None
    hold_until: Micros | None
    mode: str
    key: str
    requester: str
    editor: str
    channel: str
    audience: str
    account: str
    provider: str
    kind: AudienceKind
    target: str
    everyone: bool
    subscribers: tuple[str, ...]
    purpose: Purpose
    typed: str
    text: str
    sender: str | None
    campaign: str | None
    policy: str | None
    send_at: Micros | None
    zone: str
    digest: str
    size: int | None
    unnamed: int | None
    quoted: str | None
    bound: int | None
    quorum: int
    approvers: tuple[str, ...]
    start_at: Micros | None
    due: Micros | None
    expires_at: Micros | None
    approved_at: Micros | None
    attempt: int
    tries: int
    owner: str | None
    lease_until: Micros | None
    stage_at: Micros | None
    staged: Staged | None
    ids: tuple[str, ...]
    failure: Translatable | None
    counts: Mapping[str, int]
    accepted_at: Micros | None
    look_at: Micros | None
    ruled_at: Micros | None
    voice_at: Micros | None
    voices: int
    schedule: str | None
    occurrence: str | None
    covers: int
    covered_by: str | None
    test_of: str | None
    follows: str | None
    canary: str | None
    continued_at: Micros | None
    marketing_until: Micros | None
    glass_by: str | None
    glass_reason: str | None
    glass_at: Micros | None
    glass_digest: str | None
    review_at: Micros | None
    reviewed_by: str | None
    reviewed_at: Micros | None
    review_comment: str | None
    asked_in: str | None
    finals: int
    draw_at: Micros | None
    progress_at: Micros | None


NO_LEASE: Changes = {"phase": None, "owner": None, "lease_until": None}
NO_GLASS: Changes = {
    "glass_by": None,
    "glass_reason": None,
    "glass_at": None,
    "glass_digest": None,
    "review_at": None,
    "reviewed_by": None,
    "reviewed_at": None,
    "review_comment": None,
}
NOT_AGREED: Changes = {
    "due": None,
    "start_at": None,
    "approved_at": None,
    "hold": None,
    "hold_until": None,
    "stage_at": None,
    **NO_LEASE,
    **NO_GLASS,
}
#: Another version has another canary. The same version that only needs approval again has gone to its canary already.
NEW_VERSION: Changes = {**NOT_AGREED, "continued_at": None}

_SHOWN = (
    "send_at",
    "start_at",
    "due",
    "hold_until",
    "expires_at",
    "continued_at",
    "reviewed_at",
    "created_at",
    "changed_at",
)


def to_broadcast(row: RowMapping) -> Broadcast:
    """Read a row. Raises any exception if its columns are not as this code writes them."""
    fields = {field.name: row[field.name] for field in dataclasses.fields(Broadcast)}
    fields["counts"] = to_counts(row["counts"])
    fields["state"] = State(row["state"])
    fields["phase"] = Phase(row["phase"]) if row["phase"] else None
    fields["hold"] = Hold(row["hold"]) if row["hold"] else None
    fields["kind"], fields["purpose"] = AudienceKind(row["kind"]), Purpose(row["purpose"])
    for name in ("subscribers", "approvers", "ids"):
        fields[name] = _to_texts(row[name])
    fields["staged"] = to_staged(row["staged"])
    fields["failure"] = Translatable.of(row["failure"]) if row["failure"] else None
    for name in _SHOWN:
        check_instant(row[name])
    return Broadcast(**fields)


#: A broadcast that has a card or gets one: any but a draft, and a draft that was shown before it became one.
SHOWN = or_(
    broadcasts.c.state != State.DRAFT,
    exists(
        select(cards.c.ts).where(
            cards.c.workspace == broadcasts.c.workspace,
            cards.c.broadcast == broadcasts.c.id,
            cards.c.version == broadcasts.c.version,
        )
    ),
)


def understood(connection: Connection) -> ColumnElement[bool]:
    """Match the broadcasts that this code can read, without those that are put off because reading failed.

    They are those of the workspace that the connection works for.
    """
    readable = but(broadcasts.c.id, failing_rows_of(connection).put_off("row"))
    return and_(UNDERSTOOD, readable, in_scope(connection, broadcasts))


def read_broadcasts(connection: Connection, statement: Executable) -> list[Broadcast]:
    """Return those that can be read. One that cannot is put off for a while and does not block the others."""
    return read_each(connection, statement, to_broadcast, "row", "id")


def to_counts(value: Any) -> dict[str, int]:
    """Return the counts. Raises ValueError if no receipt can be added to them."""
    if not isinstance(value, dict) or not all(type(number) is int for number in value.values()):
        raise ValueError("the counts are no table of numbers")
    return value


def _to_texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError("this is no list of texts")
    return tuple(value)


def to_staged(value: Mapping[str, Any] | None) -> Staged | None:
    if value is None:
        return None
    cost = value["cost"]
    staged = Staged(**{**value, "cost": None if cost is None else Decimal(cost)})
    if type(staged.id) is not str or type(staged.ready) is not bool or type(staged.contacts) not in (int, type(None)):
        raise ValueError("nothing is prepared like this")
    return staged


def readable_ids(*where: ColumnElement[bool]) -> Select[Any]:
    return select(broadcasts.c.id).where(*where, UNDERSTOOD, within(broadcasts))
