"""The work of one workspace is found for that workspace alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, Table, insert, update

from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Hold, OccurrenceState, ScheduleState, State
from bot.domain.schedule import Kind
from bot.storage import campaigns, cards, notes, occurrences, outbox, queue, receipts, schedules, tables
from bot.storage.database import Database
from bot.storage.scoped import WorkspaceDatabase
from bot.storage.sql import to_column
from providers.base import Staged
from tests.support.core import TEAM, Core
from tests.support.rows import at_once

OTHER = "T0OTHER"
NOW = 1_900_000_000_000_000
ROW, DUE = tables.broadcasts, at_once()
WAITS = partial(
    queue.work_waits, at=NOW, soon=NOW, lease_at=NOW, preparing=["encom"], owner="one", working_on=[], paused=[]
)

Look = Callable[[Connection], Any]
#: What makes the row such that it is found, and how work looks for it.
LOOKS: dict[str, tuple[Table, dict[str, Any], Look]] = {
    "is due": (ROW, {"state": State.SCHEDULED}, lambda c: queue.due(c, NOW, 9, lease_at=NOW, taken={})),
    "waits as due": (ROW, {"state": State.SCHEDULED}, WAITS),
    "stranded": (ROW, {"state": State.SCHEDULED}, lambda c: queue.stranded(c, NOW, ["none"])),
    "to prepare": (
        *(ROW, {"state": State.SCHEDULED, "due": NOW + 5}),
        lambda c: queue.to_stage(c, ["encom"], NOW, NOW + 9, lease_at=NOW),
    ),
    "abandoned": (ROW, {"state": State.SENDING}, lambda c: queue.abandoned(c, "one", [], lease_at=NOW, alone=False)),
    "waits as abandoned": (ROW, {"state": State.SENDING}, WAITS),
    "reopened": (ROW, {"state": State.HELD, "hold": Hold.HOURS}, lambda c: queue.reopened(c, NOW, [])),
    "waits as reopened": (ROW, {"state": State.HELD, "hold": Hold.HOURS}, WAITS),
    "lapsed": (ROW, {"state": State.PENDING}, lambda c: queue.lapsed(c, NOW)),
    "waits as lapsed": (ROW, {"state": State.PENDING}, lambda c: queue.lapsed_waits(c, NOW, 0)),
    "to speak of": (ROW, {"state": State.PENDING}, lambda c: queue.to_voice(c, NOW)),
    "waits to be spoken of": (ROW, {"state": State.PENDING}, lambda c: queue.voices_wait(c, NOW)),
    "to review": (ROW, {"state": State.SENT}, lambda c: queue.to_review(c, NOW)),
    "waits for a review": (ROW, {"state": State.SENT}, lambda c: queue.reviews_wait(c, NOW)),
    "to look at": (ROW, {"state": State.SENT}, lambda c: queue.to_look_at(c, State.SENT, NOW, 9)),
    "waits for a look": (ROW, {"state": State.SENT}, lambda c: any(receipts.what_waits(c, NOW))),
    "has progress": (ROW, {"state": State.SENT}, lambda c: receipts.progress_to_post(c, NOW)),
    "without a size": (ROW, {"state": State.PENDING, "size": None}, lambda c: queue.unsized(c, ["encom"], NOW)),
    "waits for a size": (
        *(ROW, {"state": State.PENDING, "size": None}),
        lambda c: queue.sizes_wait(c, ["encom"], NOW),
    ),
    "to draw": (ROW, {"state": State.PENDING}, lambda c: cards.cards_to_draw(c, NOW, 9, new=True)),
    "waits to be shown": (ROW, {"state": State.PENDING}, lambda c: queue.showing_waits(c, NOW)),
    "was shown long ago": (ROW, {"state": State.PENDING}, lambda c: cards.oldest_unshown(c, NOW)),
    "has a note": (tables.notes, {"post_at": 1}, lambda c: notes.notes_to_post(c, NOW, 9)),
    "waits with a note": (tables.notes, {"post_at": 1}, lambda c: queue.showing_waits(c, NOW)),
    "a post": (tables.posts, {"post_at": 1}, lambda c: outbox.take_post(c, NOW, 1)),
    "waits with a post": (tables.posts, {"post_at": 1}, lambda c: outbox.posts_wait(c, NOW)),
    "is shown as a post": (tables.posts, {"post_at": 1}, lambda c: queue.showing_waits(c, NOW)),
    "a leftover": (tables.leftovers, {"try_at": 1}, lambda c: campaigns.leftovers_to_recall(c, NOW)),
    "waits with a leftover": (tables.leftovers, {"try_at": 1}, WAITS),
    "a due schedule": (tables.schedules, {"next_at": 1}, lambda c: schedules.due(c, Kind.REMINDER, NOW, 9)),
    "waits as a schedule": (tables.schedules, {"next_at": 1}, lambda c: occurrences.clock_waits(c, NOW, NOW)),
    "a schedule that wakes": (
        *(tables.schedules, {"state": ScheduleState.PAUSED, "paused_until": 1}),
        lambda c: schedules.awake(c, NOW, 9),
    ),
    "living": (tables.schedules, {"next_at": 1}, lambda c: schedules.all_living(c, Kind.REMINDER)),
    "an occurrence": (tables.occurrences, {"draw_at": 1}, lambda c: occurrences.take(c, NOW, 1)),
    "waits as an occurrence": (tables.occurrences, {"draw_at": 1}, lambda c: occurrences.waits(c, NOW)),
    "snoozed": (
        *(tables.occurrences, {"draw_at": 1, "state": OccurrenceState.SNOOZED, "snoozed_until": 1}),
        lambda c: occurrences.woken(c, NOW, 9),
    ),
    "waits snoozed": (
        *(tables.occurrences, {"draw_at": 1, "state": OccurrenceState.SNOOZED, "snoozed_until": 1}),
        lambda c: occurrences.clock_waits(c, NOW, NOW),
    ),
}
ONE: dict[Table, dict[str, Any]] = {
    tables.notes: {"sentence": Translatable("Hi").plain(), "aloud": False, "at": 1, "tries": 0},
    tables.posts: {"key": "k", "place": "C1", "sentence": Translatable("Hi").plain(), "at": 1, "tries": 0},
    tables.leftovers: {"account": "encom", "id": "9", "staged": to_column(Staged("9")), "tries": 0},
    tables.schedules: {
        "id": "S2345",
        "version": 1,
        "kind": "reminder",
        "state": "active",
        "key": "k",
        "owner": "U1",
        "channel": "C1",
        "typed": "t",
        "zone": "UTC",
        "closed": "keep",
        "text": "t",
        "options": {},
        "created_at": 1,
        "changed_at": 1,
    },
    tables.occurrences: {
        "schedule": "S2345",
        "local": "2027-01-01T09:00",
        "at": 1,
        "state": "open",
        "version": 1,
        "tries": 0,
        "left_out": 0,
        "changed_at": 1,
    },
}


class Undo(Exception):
    """Rolls back, with what was found."""


def plant(connection: Connection, broadcast: str, table: Table, changes: dict[str, Any]) -> None:
    connection.execute(update(ROW).values(DUE if table is ROW else {"draw_at": None}))
    if table is tables.occurrences:
        connection.execute(insert(tables.schedules).values(workspace=TEAM, **ONE[tables.schedules]))
    if table in ONE:
        more = {"broadcast": broadcast} if table in (tables.leftovers, tables.notes) else {}
        connection.execute(insert(table).values(workspace=TEAM, **ONE[table], **more))
    connection.execute(update(table).values(**changes))


async def test_what_is_to_be_done_is_found_for_its_workspace_alone(core: Core) -> None:
    row = await core.ask()

    def found(connection: Connection, name: str) -> bool:
        table, changes, look = LOOKS[name]
        plant(connection, row.id, table, changes)
        raise Undo(name, bool(look(connection)))

    for name in LOOKS:
        for workspace in (TEAM, OTHER):
            with pytest.raises(Undo) as undone:
                await WorkspaceDatabase(core.database, workspace).write(partial(found, name=name))
            assert undone.value.args == (name, workspace == TEAM)


async def test_each_workspace_has_its_own_failing_rows(database: Database) -> None:
    one, other = WorkspaceDatabase(database, TEAM), WorkspaceDatabase(database, OTHER)
    one.failing_rows.struck("row", "B1", ValueError(), TEAM)
    assert [len(view.failing_rows.put_off("row")) for view in (one, other, database)] == [1, 0, 0]
    assert len(database.failing_rows.all()) == 1  # the process tells of all of them
    seen = []
    for view in (one, other, database, one):
        seen.append(await view.read(lambda c: c.get_execution_options()["failing_rows"]))
    assert seen == [one.failing_rows, other.failing_rows, database.failing_rows, one.failing_rows]
