"""Each shared table holds a row that cannot be processed: everything else goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prometheus_client import generate_latest
from sqlalchemy import Connection, Table, insert, select, text, update

from bot.app import Bot
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND
from bot.domain.lifecycle import State
from bot.sending.polling import AT_ONCE, FIRST_POLL
from bot.storage import broadcasts, keys, sql, tables, templates
from bot.storage.failing_rows import FIRST_PAUSE, LONGEST_PAUSE, MOST, FailingRows
from bot.storage.notes import notes_to_post
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.core import Core, MakeCore
from tests.support.ground import StartBot
from tests.support.rows import KEY, Plant, at_once, id_of, spoil
from tests.support.slack import HERE, ask, thread_text

TEAM = "T0BELL"
DAY = 24 * 3600 * SECOND


def add(table: Table, **values: Any) -> Plant:
    async def plant(bot: Bot, id: str) -> None:
        given = {name: id if value == "ID" else value for name, value in values.items()}
        await bot.database.write(lambda c: put(c, table, given))

    return plant


def put(connection: Connection, table: Table, row: dict[str, Any]) -> None:
    if table is tables.kept:  # the bot may write this row at the same time
        sql.insert_ignoring(connection, table, [row])
        connection.execute(update(table).where(table.c.name == row["name"]).values(**row))
    else:
        connection.execute(insert(table).values(**row))


WRONG: dict[str, dict[str, Any]] = {
    "in no zone": {"zone": "Etc/Unknown"},
    "failed for nothing that reads": {"failure": {"nope": 1}},
    "for a text of people": {"approvers": 5},
}
OF = {"workspace": TEAM, "broadcast": "ID"}
BROADCASTS: dict[str, Plant] = {
    **{
        f"{state}, {what}": spoil(tables.broadcasts, "id", **at_once(state=state, **wrong))
        for state in ("pending", "scheduled", "held", "sending", "unknown", "sent", "draft")
        for what, wrong in WRONG.items()
    },
    "in a state that nobody knows": spoil(tables.broadcasts, "id", **at_once(state="teleported")),
    "held for the weather": spoil(tables.broadcasts, "id", **at_once(state="held", hold="weather")),
    "in an odd phase": spoil(tables.broadcasts, "id", **at_once(state="sending", phase="orbit")),
    "to a flock": spoil(tables.broadcasts, "id", **at_once(kind="flock")),
    "of an odd purpose": spoil(tables.broadcasts, "id", **at_once(purpose="fun")),
    "prepared as something else": spoil(tables.broadcasts, "id", **at_once(staged={"number": 1})),
    "with counts that are a list": spoil(tables.broadcasts, "id", **at_once(state="sent", counts=["x"])),
    "under a policy of another world": spoil(tables.broadcasts, "id", **at_once(state="scheduled", policy="mars")),
}
NOTE = {**OF, "mention": None, "aloud": False, "at": 1, "post_at": 1, "tries": 0}
POST = {"workspace": TEAM, "place": HERE, "mention": None, "at": 1, "post_at": 1, "tries": 0}
OTHERS: dict[str, Plant] = {
    "a note that its values do not fill": add(
        tables.notes, **NOTE, sentence={"template": "{nobody} {0} {", "values": {}}
    ),
    "a note that is none": add(tables.notes, **NOTE, sentence={"nope": 1}),
    "a post that its values do not fill": add(
        tables.posts, **POST, key="k1", sentence={"template": "{nobody}", "values": {}}
    ),
    "a post that is none": add(tables.posts, **POST, key="k2", sentence=[1]),
    "a leftover of an odd shape": add(
        tables.leftovers, **OF, account="octo", id="x1", staged={"odd": 1}, try_at=1, tries=0
    ),
    "a leftover of an account that is gone": add(
        tables.leftovers, **OF, account="gone", id="x2", staged={"id": "x2"}, try_at=1, tries=0
    ),
    "a breaker that nobody can read": add(tables.kept, name="breaker:octo", value="{", at=1),
    "a lease that nobody can read": add(tables.kept, name="lease:paint", value='{"a": 1}', at=1),
    "a delivery of an odd status": add(
        tables.deliveries,
        **OF,
        account="encom",
        id="77",
        recipient="",
        kind="delivery",
        status="teleported",
        word="?",
        final=False,
        at=1,
    ),
}
SCHEDULES: dict[str, Plant] = {
    "in no zone": spoil(tables.schedules, "id", zone="Etc/Unknown", next_at=1),
    "by a rule that is none": spoil(tables.schedules, "id", rule="now and then", next_at=1),
    "closed sideways": spoil(tables.schedules, "id", closed="sideways", next_at=1),
    "in an odd state": spoil(tables.schedules, "id", state="dancing", next_at=1),
    "with an odd cover": spoil(tables.schedules, "id", cover={"odd": 1}, next_at=1),
    "with an odd calendar": spoil(tables.schedules, "id", calendar={"calendar": "ATLANTIS"}, next_at=1),
}
TURN = {"workspace": TEAM, "schedule": "ID", "local": "2026-01-01T09:00", "at": 1, "version": 1, "draw_at": 1}
TURNS: dict[str, Plant] = {
    "in an odd state": add(tables.occurrences, **TURN, state="dancing", tries=0, left_out=0, changed_at=1),
    "of a time that is none": add(
        tables.occurrences,
        **{**TURN, "local": "yesterday"},
        state="open",
        tries=0,
        left_out=0,
        changed_at=1,
        channel=HERE,
        ts="1.1",
    ),
}


async def plant_everything(sandbox: Sandbox, bot: Bot) -> None:
    for number, plant in enumerate([*BROADCASTS.values(), *OTHERS.values()]):
        await ask(sandbox, f"send clients marketing Planted {number}")
        await plant(bot, await id_of(bot, tables.broadcasts.c.typed, f"Planted {number}"))
    for number, plant in enumerate([*SCHEDULES.values(), *TURNS.values()]):
        await ask(sandbox, f'remind "every weekday 9:30" Planted reminder {number}')
        await plant(bot, await id_of(bot, tables.schedules.c.text, f"Planted reminder {number}"))


async def everything_goes_on(sandbox: Sandbox, bot: Bot, text: str) -> None:
    """A request is made, shown, approved, sent, reported, delivered and done; a reminder is posted; lists answer."""
    assert "is waiting for approval" in await ask(sandbox, f"send newsletter marketing {text}")

    def ours() -> list[Json]:
        return [m for m in sandbox.acting.messages(HERE) if text in json.dumps(m["blocks"])]

    await sandbox.until(ours)
    posted = ours()[0]
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    await sandbox.until(lambda: "accepted it. Ids" in thread_text(sandbox, posted["ts"]))
    await ask(sandbox, f'remind "in 1 minutes" Reminder {text}')
    soon = update(tables.schedules).where(tables.schedules.c.text == f"Reminder {text}")
    await bot.database.write(lambda c: c.execute(soon.values(next_at=bot.clock() - SECOND)))
    await sandbox.until(lambda: f"Reminder {text}" in str(sandbox.acting.messages(HERE)))
    await ask(sandbox, "list", user="U0BEN")
    assert text in str(sandbox.acting.ephemerals("U0BEN")[-1])
    assert "Stand-up" not in await ask(sandbox, "reminders", user="U0BEN")
    assert "Something went wrong" not in str(sandbox.acting.ephemerals("U0BEN"))
    states = [
        row.state for row in await bot.database.read(lambda c: broadcasts.latest(c, TEAM, 200)) if row.typed == text
    ]
    assert set(states) <= {State.SENT, State.DONE}


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
@pytest.mark.long
async def test_whatever_cannot_be_worked_on_keeps_nothing_else_waiting(
    sandbox: Sandbox, start_bot: StartBot, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """C1, and a row of every kind in every table: before and after a restart."""
    settings = {"database_url": database_url, "secret_key": KEY, "hourly_cap": 1000, "approval__undo": "1s"}
    bot = await start_bot(sandbox, **settings)
    await plant_everything(sandbox, bot)
    bot.workspaces.wake()
    await everything_goes_on(sandbox, bot, "Before the restart")
    failing_rows = {failing.work for failing in bot.database.failing_rows.all()}
    assert {"row", "note", "post", "leftover"} <= failing_rows
    _, parts = await bot.ready()
    assert any(name.startswith("trouble:note:") for name in parts)
    measured = bot.meters.text(await bot.watch.read()).decode()
    assert 'bellcrier_row_errors_total{work="note"}' in measured
    direct = sandbox.world.direct("U0OPS").id
    await sandbox.until(lambda: "I cannot process note" in str(sandbox.acting.messages(direct)))
    assert "Etc/Unknown" not in caplog.text
    await bot.stop()
    again = await start_bot(sandbox, **settings)
    await everything_goes_on(sandbox, again, "After the restart")
    assert again.database.failing_rows.total["note"] >= 1
    assert b"bellcrier" in generate_latest(again.meters.registry)


# --- rows that break when they are read ------------------------------------------------------------------------------


async def goes_out(core: Core, row: Broadcast) -> None:
    await core.run(core.dispatcher("one"))
    assert (await core.row(row.id)).state is State.SENT


NO_UTF8 = text("CAST(x'ff41' AS TEXT)")
TOO_DEEP = "[" * 3000 + "]" * 3000


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("column", ["text", "typed", "audience", "target", "ids"])
async def test_a_broadcast_that_is_no_utf8_is_not_sent_and_keeps_no_other_one_waiting(
    make_core: MakeCore, column: str
) -> None:
    core = make_core()
    bad, good = await core.approved(), await core.approved()
    await core.edit(bad, **{column: NO_UTF8})
    await goes_out(core, good)
    assert good.id in {row.id for row in await core.database.read(lambda c: broadcasts.latest(c, TEAM, 10))}
    bound = column != "typed"
    assert len(core.sandbox.vendors.ledger) == (1 if bound else 2)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_note_a_template_and_a_breaker_that_are_no_utf8_keep_nothing_else_waiting(make_core: MakeCore) -> None:
    core = make_core()
    good = await core.approved()
    named = {"workspace": TEAM, "owner": "U0CLEO", "purpose": "marketing", "changed_at": 1}

    def plant(connection: Connection) -> None:
        connection.execute(update(tables.notes).where(tables.notes.c.broadcast == good.id).values(mention=NO_UTF8))
        connection.execute(insert(tables.templates).values(**named, name="bad", text=NO_UTF8))
        connection.execute(insert(tables.templates).values(**named, name="good", text="Soldes"))
        connection.execute(insert(tables.kept).values(name="breaker:encom", value=NO_UTF8, at=1))

    await core.database.write(plant)
    await goes_out(core, good)
    notes = await core.database.read(lambda c: notes_to_post(c, core.now, 10))
    assert good.id in {note.broadcast for note in notes}
    assert "good" in {found.name for found in await core.database.read(lambda c: templates.templates_of(c, TEAM))}


@pytest.mark.parametrize("column", ["counts", "staged"])
async def test_a_broadcast_nested_too_deeply_to_be_read_keeps_no_other_one_waiting(
    make_core: MakeCore, column: str
) -> None:
    core = make_core()
    bad, good = await core.approved(), await core.approved()
    await core.edit(bad, **{column: text(f"'{TOO_DEEP}'")})
    await goes_out(core, good)
    assert [row.id for row in await core.database.read(lambda c: broadcasts.latest(c, TEAM, 10))] == [good.id]
    assert len(core.sandbox.vendors.ledger) == 1


@pytest.mark.parametrize("name", ["lease:quote:encom", "breaker:encom"])
async def test_what_is_kept_nested_too_deeply_to_be_read_is_as_if_it_were_not(make_core: MakeCore, name: str) -> None:
    core = make_core()
    good = await core.approved()
    await core.database.write(lambda c: keys.keep(c, name, TOO_DEEP, 1))
    await goes_out(core, good)
    assert (await core.database.read(lambda c: keys.stops(c, core.now))).away == {}
    assert await core.database.read(lambda c: keys.lease_holder(c, "quote:encom", core.now)) is None


async def test_a_nul_that_somebody_typed_shows_and_breaks_no_command(
    sandbox: Sandbox, start_bot: StartBot, database_url: str
) -> None:
    bot = await start_bot(sandbox, database_url=database_url, secret_key=KEY)
    told = [
        await ask(sandbox, line)
        for line in (
            "send clients marketing Soldes\0demain",
            'remind "every weekday 9:30" Soldes\0demain',
            "template save so\0ldes Soldes\0demain",
            "show B\0",
            "stop B\0",
        )
    ]
    assert "Something went wrong" not in str([*told, sandbox.acting.ephemerals("U0BEN")])
    assert [row.typed for row in await bot.database.read(lambda c: broadcasts.latest(c, TEAM, 10))] == ["Soldes�demain"]


def test_what_broke_something_is_tried_ever_more_seldom() -> None:
    now = [0.0]
    failing_rows, pauses = FailingRows(monotonic=lambda: now[0]), []
    for _ in range(12):
        failing = failing_rows.struck("card", "B1", KeyError("secret"))
        pauses.append(failing.until - now[0])
        assert failing_rows.put_off("card") == ["B1"]
        assert failing_rows.put_off("note") == []
        now[0] = failing.until
        assert failing_rows.put_off("card") == []
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE
    assert str(failing) == "KeyError, tried 12 times"
    failing_rows.fine("card", "B1")
    assert failing_rows.all() == []
    assert failing_rows.total["card"] == 12


@pytest.mark.long
def test_so_many_rows_that_break_are_not_all_remembered() -> None:
    failing_rows = FailingRows(monotonic=lambda: 0.0)
    for number in range(MOST + 2000):
        failing_rows.struck("card", number, KeyError())
    assert len(failing_rows.all()) == MOST
    assert str(MOST + 1999) in failing_rows.put_off("card")


@pytest.mark.long
def test_a_row_that_breaks_again_makes_no_other_one_forgotten() -> None:
    failing_rows = FailingRows(monotonic=lambda: 0.0)
    for number in range(MOST):
        failing_rows.struck("card", number, KeyError())
    failing_rows.struck("card", MOST - 1, KeyError())
    assert len(failing_rows.put_off("card")) == MOST


@pytest.mark.long
async def test_a_thousand_rows_that_cannot_be_read_keep_no_other_one_waiting(make_core: MakeCore) -> None:
    core = make_core()
    bad, good = await core.approved(), await core.approved()
    columns = [one for one in tables.broadcasts.c if one.name not in ("id", "key")]

    def spread(connection: Connection) -> None:
        row = connection.execute(select(*columns).where(tables.broadcasts.c.id == bad.id)).mappings().one()
        late = {**row, "approvers": 5, "due": core.now - DAY}
        copies = [{**late, "id": f"BAD{number}", "key": f"bad {number}"} for number in range(1100)]
        connection.execute(insert(tables.broadcasts), copies)

    await core.database.write(spread)
    await core.edit(bad, state="cancelled")
    await core.edit(good, due=core.now - DAY + SECOND)
    core.database.failing_rows.monotonic = lambda: 0.0
    dispatcher = core.dispatcher("one")
    for _ in range(15):
        await dispatcher.tick()
    await core.run(dispatcher)
    assert (await core.row(good.id)).state is State.SENT


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # PostgreSQL rejects text in a number column
async def test_ten_broadcasts_that_cannot_be_looked_at_keep_no_other_one_waiting(make_core: MakeCore) -> None:
    core = make_core()
    rows = [await core.ask() for _ in range(AT_ONCE + 1)]
    for place, row in enumerate(rows):
        await core.edit(row, state="sent", accepted_at=core.now, look_at=place)
    accepted = update(tables.broadcasts).values(accepted_at=text("'x'"))
    await core.database.write(lambda c: c.execute(accepted.where(tables.broadcasts.c.id != rows[-1].id)))
    core.database.failing_rows.monotonic = lambda: 0.0
    tracker = core.tracker()
    for _ in range(2):
        await tracker.tick()
    assert (await core.row(rows[-1].id)).look_at == core.now + FIRST_POLL


async def test_of_many_rows_that_break_admins_hear_how_many_and_not_of_each(sandbox: Sandbox, bot: Bot) -> None:
    for number in range(30):
        bot.database.failing_rows.struck("leftover", number, KeyError())
    bot.workspaces.wake()
    direct = sandbox.world.direct("U0OPS").id
    await sandbox.until(lambda: "I cannot process 30 rows in total" in str(sandbox.acting.messages(direct)))
    assert sum("I cannot process leftover" in message["text"] for message in sandbox.acting.messages(direct)) == 10


async def test_an_outbox_that_is_older_than_a_minute_is_told_to_whoever_watches(sandbox: Sandbox, bot: Bot) -> None:
    assert (await bot.ready())[1]["outbox"] == "ok"
    sandbox.faults.add("*", "429", times=9999, retry_after=30)
    await ask(sandbox, "send clients marketing Soldes")
    await add(tables.posts, **POST, key="k", sentence={"template": "x", "values": {}})(bot, "")
    await sandbox.until(lambda: True)
    older = update(tables.posts).values(at=bot.clock() - 75 * SECOND)
    await bot.database.write(lambda c: c.execute(older))
    ready, parts = await bot.ready()
    assert not ready
    assert parts["outbox"].startswith("the oldest entry waits for 7")
    sandbox.faults.clear()
