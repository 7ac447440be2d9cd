"""What is old enough is removed, a little at a time, and what still lives never is."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, func, insert, select, update

from bot.config.load import parse
from bot.config.settings import SettingsError
from bot.domain.clock import SECOND
from bot.domain.i18n import translator_for
from bot.domain.lifecycle import ENDED, State
from bot.slack.blocks.card_facts import CardContext
from bot.slack.blocks.history import Story, details
from bot.slack.blocks.listing import ListPage, listing
from bot.storage import audit, audit_chain, removal, tables
from bot.storage.listings import Wanted
from bot.storage.tables import broadcasts, deliveries, notes, vendor_ids
from bot.workflow.retention import Retention
from tests.support.core import TEAM, Core

DAY = 24 * 3600 * SECOND


async def in_every_state(core: Core) -> dict[State, str]:
    """A broadcast in each state, with a note, an id at the vendor and two deliveries."""
    found = {}
    for state in State:
        row = await core.ask()
        found[state] = row.id
        await core.database.write(partial(_leave, id=row.id, state=state, at=core.now))
    return found


def _leave(connection: Connection, id: str, state: State, at: int) -> None:
    mine = broadcasts.c.id == id
    connection.execute(update(broadcasts).where(mine).values(state=state, changed_at=at, counts={"delivered": 2}))
    connection.execute(update(notes).where(notes.c.broadcast == id).values(post_at=None))
    note = {"workspace": TEAM, "broadcast": id, "aloud": False, "at": at, "tries": 0}
    connection.execute(insert(notes).values(**note, sentence={"template": "said", "values": {}}, post_at=None))
    connection.execute(insert(vendor_ids).values(account="octo", id=id, workspace=TEAM, broadcast=id))
    for recipient in "ab":
        connection.execute(insert(deliveries).values(**delivery(id, recipient, at), workspace=TEAM, broadcast=id))


def delivery(id: str, recipient: str, at: int) -> dict[str, Any]:
    about = {"account": "octo", "id": id, "recipient": recipient, "kind": "delivery"}
    return {**about, "status": "delivered", "word": "DLVRD", "final": True, "at": at}


def _add(connection: Connection, rows: list[dict[str, Any]]) -> None:
    connection.execute(insert(deliveries), rows)


async def counted(core: Core, table: Any, *where: Any) -> int:
    statement = select(func.count()).select_from(table).where(*where)
    return await core.database.read(lambda c: c.execute(statement).scalar_one())


async def test_only_what_ended_long_ago_loses_its_text_and_its_deliveries(core: Core) -> None:
    ids = await in_every_state(core)
    await Retention(core.runtime).tick()
    assert [(await core.row(id)).text_removed_at for id in ids.values()] == [None] * len(ids)
    core.now += 366 * DAY
    await Retention(core.runtime).tick()
    for state, id in ids.items():
        row, over = await core.row(id), state in ENDED
        assert (row.text == "", row.typed == "", row.text_removed_at == core.now) == (over, over, over), state
        assert (len(row.digest), row.counts) == (64, {"delivered": 2})
        left = [await counted(core, table, table.c.broadcast == id) for table in (notes, vendor_ids, deliveries)]
        assert left == ([0, 0, 0] if over else [1, 1, 2]), state
    steps = await core.database.read(lambda c: audit.history(c, TEAM, ids[State.DONE]))
    assert [(step["actor"], step["digest"] == (await core.row(ids[State.DONE])).digest) for step in steps[-1:]] == [
        ("retention", True)
    ]
    await core.database.write(audit_chain.seal_all)
    assert (await core.database.read(audit_chain.check_chain)).broken is None


async def test_a_text_that_was_removed_is_said_to_be_wherever_it_would_stand(core: Core) -> None:
    ids = await in_every_state(core)
    core.now += 366 * DAY
    await Retention(core.runtime).tick()
    row, words = await core.row(ids[State.DONE]), translator_for("en")
    showing = CardContext((), "Encom", None, verdict=None, training=False, zone="UTC")
    shown = str(details(row, showing, Story(), words).blocks)
    assert "The text was removed on <!date^" in shown
    assert f"Its digest begins with `{row.digest[:8]}`" in shown
    assert "“text removed”" in str(listing(ListPage(Wanted.LATEST, "", [row]), words).blocks)


async def test_reports_about_nothing_are_removed_after_a_month(core: Core) -> None:
    for day in (0, 1, 40):
        rows = [delivery(f"{day}/{number}", "", core.now + day * DAY) for number in range(700)]
        await core.database.write(partial(_add, rows=rows))
    core.now += 45 * DAY
    await Retention(core.runtime).tick()
    assert await counted(core, deliveries) == 700


async def test_many_deliveries_are_removed_a_few_at_a_time(core: Core) -> None:
    row = await core.ask()
    many = [delivery(row.id, str(number), core.now) for number in range(1_300)]
    await core.database.write(lambda c: _leave(c, row.id, State.DONE, core.now))
    given = {"workspace": TEAM, "broadcast": row.id}
    await core.database.write(partial(_add, rows=[one | given for one in many]))
    left = []
    while await core.database.write(lambda c: removal.remove_deliveries(c, core.now + 1, core.now)):
        left.append(await counted(core, deliveries))
    assert left == [802, 302]
    assert await counted(core, deliveries) == 0


async def test_what_is_kept_for_ever_is_never_removed(core: Core) -> None:
    ids = await in_every_state(core)
    kept = parse({"retention": {"texts": "forever", "deliveries": "forever", "set_aside": "forever"}}).retention
    assert (kept.texts, kept.deliveries, kept.set_aside) == (None, None, None)
    core.now += 3000 * DAY
    await Retention(replace(core.runtime, settings=core.settings.model_copy(update={"retention": kept}))).tick()
    assert (await core.row(ids[State.DONE])).text
    assert await counted(core, deliveries) == 2 * len(State)


@pytest.mark.parametrize("said", ["6d", "0", "-1", "soon", 5, [1]])
def test_a_retention_shorter_than_a_week_does_not_start(said: Any) -> None:
    with pytest.raises(SettingsError, match=r'retention.texts: must be at least 7d, such as 365d, or "forever"'):
        parse({"retention": {"texts": said}})


def test_every_state_in_which_something_may_still_happen_is_none_of_those_that_lose_their_text() -> None:
    named = tables.ENDED.removeprefix("state IN (").removesuffix(")").replace("'", "").split(", ")
    assert {State(name) for name in named} == ENDED
