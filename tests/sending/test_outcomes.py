"""What a send leaves on its row, its card and its thread."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from sqlalchemy import select

from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Phase, State
from bot.scheduler import Task
from bot.sending.tokens import token_for
from bot.storage import keys, tables
from tests.support.core import TEAM, MakeCore
from tests.support.far import woken
from tests.support.patience import until


async def test_what_begins_is_drawn_at_once_and_what_waits_behind_it_looked_at(make_core: MakeCore) -> None:
    core = make_core()
    dispatcher = core.dispatcher("a")
    await core.approved()
    await dispatcher.tick()
    tasks = woken(dispatcher)
    await asyncio.gather(*dispatcher.running)
    await core.approved()
    tasks.clear()
    await dispatcher.tick()
    assert {Task.DISPATCH, Task.PAINT} <= set(tasks)
    await asyncio.gather(*dispatcher.running)
    tasks.clear()
    await dispatcher.tick()
    assert tasks == []


async def test_a_send_that_outlasts_the_patience_of_a_stop_is_unknown_as_soon_as_it_has_stopped(
    make_core: MakeCore,
) -> None:
    core = make_core()
    core.sandbox.vendors.faults.add("encom.release", "stall", seconds=60)
    dispatcher, row = core.dispatcher("a"), await core.approved()
    await dispatcher.tick()
    await until(lambda: [seen for seen in core.sandbox.vendors.office.requests if seen.method == "POST"])
    await dispatcher.stop(0.1)
    state, left = (await core.row(row.id)).state, set(dispatcher.running)
    for task in left:
        task.cancel()
    await asyncio.gather(*left)
    assert (state, left) == (State.UNKNOWN, set())


async def test_what_is_lost_and_what_is_held_in_one_tick_are_both_drawn(make_core: MakeCore) -> None:
    core = make_core()
    dispatcher = core.dispatcher("a")
    lost, held = await core.approved(), await core.approved()
    await core.edit(lost, state=State.SENDING, phase=Phase.RELEASING, owner="gone", lease_until=1)
    await core.database.write(lambda c: keys.set_paused(c, TEAM, "U0OPS", core.now))
    tasks = woken(dispatcher)
    await dispatcher.tick()
    assert ((await core.row(lost.id)).state, (await core.row(held.id)).state) == (State.UNKNOWN, State.HELD)
    assert Task.PAINT in tasks


async def test_what_asks_again_instead_of_going_is_drawn_at_once(make_core: MakeCore) -> None:
    core = make_core()
    dispatcher = core.dispatcher("a")
    row = await core.approved()
    await core.edit(row, approved_at=1, send_at=1)  # approved long ago
    await core.database.write(lambda c: c.execute(tables.votes.update().values(at=1)))
    await dispatcher.tick()
    tasks = woken(dispatcher)
    await asyncio.gather(*dispatcher.running)
    assert (await core.row(row.id)).state is State.PENDING
    assert Task.PAINT in tasks


async def test_what_was_refused_is_due_no_more(make_core: MakeCore) -> None:
    core = make_core()
    core.sandbox.vendors.faults.add("encom.release", "error", status=402, body={})
    row = await core.approved()
    await core.run(core.dispatcher("a"))
    failed = await core.row(row.id)
    assert (failed.state, failed.due, failed.owner, failed.lease_until) == (State.FAILED, None, None, None)


async def test_only_a_vendor_that_calls_back_for_each_send_is_told_where(make_core: MakeCore) -> None:
    core = make_core(public_url="https://bell.example/")
    dispatcher = core.dispatcher("a")
    mine, campaign = await core.approved(), await core.approved(audience="newsletter")
    url = dispatcher.releaser.tokens.callback_url(mine)
    assert url == f"https://bell.example/callbacks/encom/{dispatcher.releaser.tokens.callback_token(mine)}"
    assert dispatcher.releaser.tokens.callback_url(campaign) is None
    assert make_core(public_url=None).dispatcher("b").releaser.tokens.callback_url(mine) is None


async def test_an_address_that_was_once_given_to_a_vendor_stays_right(make_core: MakeCore) -> None:
    """Known ones, made by an earlier version: vendors call back for days, and an upgrade may come between."""
    core = make_core(public_url="https://bell.example/x/")
    row = dataclasses.replace(await core.ask(), id="B2222222", version=3, attempt=2)
    address = core.dispatcher("a").releaser.tokens.callback_url(row)
    assert address == "https://bell.example/x/callbacks/encom/BCUHpD5A0TvwUXvUrhHgMWea7ajT3sfZ"
    assert token_for(b"k" * 32, "octo") == "uIofxpj7PVMki2ZZqr3ynCQ77vgUHMko"


@pytest.mark.parametrize("people", [2, 250])
async def test_the_ids_are_told_as_ranges(make_core: MakeCore, people: int) -> None:
    core = make_core()
    numbers = {f"+336000{number:05d}": "Ana" for number in range(people)}
    core.sandbox.vendors.encom.lists["1"] = ("Clients", dict(numbers))
    row = await core.approved()
    await core.run(core.dispatcher("a"))
    ids = (await core.row(row.id)).ids
    assert len(ids) == people
    said = await core.database.read(lambda c: c.execute(select(tables.notes.c.sentence)).scalars().all())
    told = ", ".join(ids) if people == 2 else f"{ids[0]}–{ids[-1]} (250)"
    accepted = f"Encom accepted it. Ids: {told}"
    assert [str(one) for one in map(Translatable.of, said) if "accepted it" in str(one)] == [accepted]
