"""Fills a database with many broadcasts at once: one real row, copied by the database itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Connection,
    String,
    Table,
    and_,
    cast,
    insert,
    literal,
    select,
    update,
)

from benchmarks.ground import unguarded
from bot.domain.broadcast import Broadcast, digest
from bot.domain.clock import SECOND, Micros
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import State
from bot.storage.broadcasts import add
from bot.storage.tables import (
    audit,
    broadcasts,
    cards,
    deliveries,
    dispatches,
    notes,
    occurrences,
    posts,
    schedules,
    seen,
    vendor_ids,
    votes,
)
from providers.base import AudienceKind, Purpose

WORKSPACES = 10_000
HOME = "T10000000"  # the one workspace of whatever is spread over one
WIDTH = 10_000_000  # added to a number, so that ids and keys are all of one length

Number = ColumnElement[int]
Value = Callable[[Number], Any]

TEXT = "Soldes d'hiver : -30 % sur tout le magasin du 7 janvier au 3 février. Présentez ce SMS en caisse. STOP AU 36111"


def sample(at: Micros, **changes: Any) -> Broadcast:
    """A broadcast like most: a list at Encom, marketing, one approval, its size known."""
    fields: dict[str, Any] = {
        "workspace": "T0",
        "id": "B0",
        "version": 1,
        "state": State.SCHEDULED,
        "key": "k0",
        "requester": "U0CLEO0001",
        "editor": "U0CLEO0001",
        "channel": "C0MARKETING",
        "audience": "clients0",
        "account": "encom",
        "provider": "encom",
        "kind": AudienceKind.LIST,
        "target": "1",
        "purpose": Purpose.MARKETING,
        "typed": TEXT,
        "text": TEXT,
        "policy": "always",
        "zone": "Europe/Paris",
        "digest": "",
        "size": 2,
        "bound": 5000,
        "quorum": 1,
        "approvers": ("S0APPROVERS",),
        "start_at": at,
        "due": at,
        "approved_at": at,
        "created_at": at,
        "changed_at": at,
    }
    made = Broadcast(**(fields | changes))
    return replace(made, digest=digest(made))


def text_of(prefix: str, number: Number) -> ColumnElement[str]:
    return literal(prefix) + cast(number + WIDTH, String)


def of(workspaces: int) -> dict[str, Value]:
    """Which broadcast it is, or belongs to, by its number; they are spread over so many workspaces."""
    return {"workspace": lambda n: text_of("T", n % workspaces), "broadcast": lambda n: text_of("B", n)}


def fill(
    connection: Connection, like: Broadcast, first: int, count: int, *, workspaces: int = WORKSPACES, **changes: Value
) -> None:
    """Copies of one broadcast, numbered from `first` on, each with its audit row, spread over the workspaces.

    `changes` gives a column as an expression of the number. The one that is copied does not stay.
    """
    add(connection, like, draw=False)
    whose = of(workspaces)
    own: dict[str, Value] = {
        "workspace": whose["workspace"],
        "id": whose["broadcast"],
        "key": lambda n: text_of("k", n),
    }
    _copy(connection, broadcasts, first, count, own | changes)
    _copy(connection, audit, first, count, whose, without=("seq",))
    unguarded(connection)
    for table in (audit, broadcasts):
        connection.execute(table.delete().where(table.c.workspace == like.workspace))


def tell(connection: Connection, first: int, count: int, at: Micros, *, workspaces: int = WORKSPACES) -> None:
    """What ended ones leave behind, for each of the numbers from `first` on: a vote and a card, a release with an id,
    and two posted notes."""
    whose = of(workspaces)
    voted = {"version": 1, "approver": "U0ANA00001", "digest": "", "way": "button", "at": at}
    insert_each(connection, votes, first, count, whose, voted)
    card = {"version": 1, "channel": "C0MARKETING", "drawn": 1}
    insert_each(connection, cards, first, count, whose | {"ts": lambda n: text_of("1800000000.", n)}, card)
    released = {"dispatch": "-1-1", "account": "encom", "released_at": at}
    insert_each(connection, dispatches, first, count, whose | {"token_hash": lambda n: text_of("h", n)}, released)
    insert_each(connection, vendor_ids, first, count, whose | {"id": lambda n: text_of("", n)}, {"account": "encom"})
    said = {"sentence": Translatable("It starts {start_at}.", start_at=at).plain(), "aloud": False}
    said |= {"at": at, "tries": 0, "ts": "1800000000.000100"}
    for _ in range(2):
        insert_each(connection, notes, first, count, whose, said)


def recur(
    connection: Connection, first: int, count: int, at: Micros, *, workspaces: int = WORKSPACES, **changes: Any
) -> None:
    """Weekly reminders that wait for their next turn, at that instant, each with a turn that was answered and a message
    it posted."""
    own: dict[str, Value] = {"workspace": of(workspaces)["workspace"], "id": lambda n: text_of("S", n)}
    same = {"version": 1, "kind": "reminder", "state": "active", "owner": "U0CLEO0001", "channel": "C0MARKETING"}
    same |= {"typed": "every monday at 9:00", "rule": "0 9 * * 1", "zone": "Europe/Paris", "closed": "keep"}
    same |= {"text": TEXT, "options": {}, "next_at": at, "created_at": at, "changed_at": at}
    insert_each(connection, schedules, first, count, own | {"key": own["id"]}, same | changes)
    row = {"local": "2026-11-23T09:00", "at": at, "state": "done", "version": 1, "channel": "C0MARKETING"}
    row |= {"tries": 0, "left_out": 0, "changed_at": at}
    posted: dict[str, Value] = {"workspace": own["workspace"], "schedule": own["id"]}
    insert_each(connection, occurrences, first, count, posted | {"ts": lambda n: text_of("1800000000.", n)}, row)
    said = {"place": "C0MARKETING", "sentence": Translatable("It has ended.").plain(), "at": at, "tries": 0}
    insert_each(connection, posts, first, count, {"workspace": own["workspace"], "key": own["id"]}, said)


def see(connection: Connection, first: int, count: int, at: Micros) -> None:
    """What Slack brought once, in one workspace, a second after the other until then."""
    own: dict[str, Value] = {"key": lambda n: text_of("Ev", n), "at": lambda n: literal(at, BigInteger) - n * SECOND}
    insert_each(connection, seen, first, count, own, {"workspace": HOME})


def insert_each(
    connection: Connection, table: Table, first: int, count: int, own: Mapping[str, Value], same: Mapping[str, Any]
) -> None:
    """A row for each number: `own` as expressions of it, `same` as they are."""
    numbers = _numbers(first, count)
    values = [own[name](numbers.c.n) for name in own] + [literal(same[name], table.c[name].type) for name in same]
    connection.execute(insert(table).from_select([*own, *same], select(*values).select_from(numbers)))


def _copy(
    connection: Connection,
    table: Table,
    first: int,
    count: int,
    own: Mapping[str, Value],
    without: tuple[str, ...] = (),
) -> None:
    numbers = _numbers(first, count)
    names = [column.name for column in table.c if column.name not in without]
    values = [own[name](numbers.c.n).label(name) if name in own else table.c[name] for name in names]
    pattern = table.c.workspace == "T0"
    copies = select(*values).select_from(table.join(numbers, pattern))
    connection.execute(insert(table).from_select(names, copies))


def _numbers(first: int, count: int) -> CTE:
    start = select(literal(first, BigInteger).label("n")).cte("numbers", recursive=True)
    return start.union_all(select(start.c.n + 1).where(start.c.n < first + count - 1))


def deliver(connection: Connection, broadcast: Broadcast, first: int, count: int) -> None:
    """Deliveries of one campaign of a broadcast that is there, as many as `count`, each at a random place of its index
    as the hashes of numbers are, counted in its row; the campaign is its first id."""
    same: dict[str, Any] = {
        "account": broadcast.account,
        "id": broadcast.ids[0],
        "kind": "delivery",
        "status": "sent",
        "word": "SENT",
    }
    same |= {"workspace": broadcast.workspace, "broadcast": broadcast.id, "final": False, "at": broadcast.changed_at}
    own: dict[str, Value] = {"recipient": lambda n: text_of("r", n * 2654435761 % 2**32)}
    insert_each(connection, deliveries, first, count, own, same)
    mine = and_(broadcasts.c.workspace == broadcast.workspace, broadcasts.c.id == broadcast.id)
    connection.execute(update(broadcasts).where(mine).values(counts={"sent": count} if count else {}))
