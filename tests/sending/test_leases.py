"""A broadcast belongs to one process at a time, and what a dead process left is recovered."""

from __future__ import annotations

import asyncio

from bot.domain.clock import SECOND
from bot.domain.lifecycle import Phase, State
from bot.storage import tables
from providers.base import DeliveryStatus, Receipt
from tests.support.core import TEAM, Core, gate


async def test_what_a_dead_process_was_staging_starts_over_and_goes_once(core: Core) -> None:
    row = await core.approved()
    lapsed = {"state": "sending", "phase": "staging", "owner": "dead", "attempt": 1, "lease_until": core.now - 1}
    await core.edit(row, **lapsed)
    await core.run(core.dispatcher("alive"))
    assert (await core.row(row.id)).state is State.SENT
    assert len(core.sandbox.vendors.ledger) == 1


async def test_what_the_vendor_could_not_take_says_when_it_goes_again(core: Core) -> None:
    core.sandbox.vendors.faults.add("encom.release", "error", status=429)
    row = await core.approved()
    await core.run(core.dispatcher("a"))
    waits = await core.row(row.id)
    assert (waits.state, core.sandbox.vendors.ledger) == (State.SCHEDULED, [])
    notes = await core.database.read(
        lambda c: [note["sentence"] for note in c.execute(tables.notes.select()).mappings()]
    )
    (told,) = [note for note in notes if "The bot will try again" in note["template"]]
    assert told["values"]["again_at"] == waits.due
    assert waits.due is not None
    assert waits.due > core.now


async def test_where_no_account_prepares_anything_what_is_approved_goes_out(core: Core) -> None:
    row, dispatcher = await core.approved(), core.dispatcher("a")
    dispatcher.claims.slots.preparing.clear()
    await core.run(dispatcher)
    assert (await core.row(row.id)).state is State.SENT


async def test_what_a_dead_process_was_releasing_is_unknown_for_ever(core: Core) -> None:
    row = await core.approved()
    lapsed = {"state": "sending", "phase": "releasing", "owner": "dead", "attempt": 1, "lease_until": core.now - 1}
    await core.edit(row, **lapsed)
    await core.run(core.dispatcher("alive"))
    core.now += 3600 * SECOND
    await core.run(core.dispatcher("another"))
    lost = await core.row(row.id)
    assert (lost.state, str(lost.failure)) == (State.UNKNOWN, "the bot stopped while the broadcast was going out.")
    assert core.sandbox.vendors.ledger == []


async def test_news_of_what_a_dead_process_was_releasing_prove_it_though_they_came_before_anybody_knew(
    core: Core,
) -> None:
    row, tracker = await core.approved(), core.tracker()
    await core.edit(row, state="sending", phase="releasing", owner="dead", attempt=1, lease_until=core.now - 1)
    news = [Receipt("22", DeliveryStatus.SENT, "OK"), Receipt("23", DeliveryStatus.SENT, "OK")]
    await tracker.record("encom", news, (TEAM, row.id))
    await core.run(core.dispatcher("alive"))
    assert (await core.row(row.id)).state is State.UNKNOWN
    core.now += 61 * SECOND
    await tracker.tick()
    proven = await core.row(row.id)
    assert (proven.state, proven.ids, proven.counts) == (State.SENT, ("22", "23"), {"sent": 2})
    assert (await core.actions(row))[-2:] == ["lose_track", "prove"]


async def test_a_lease_that_still_runs_is_left_alone_where_several_may_dispatch(core: Core) -> None:
    row = await core.approved()
    running = {"state": "sending", "phase": "staging", "owner": "busy", "attempt": 1, "lease_until": core.now + SECOND}
    await core.edit(row, **running)
    await core.run(core.dispatcher("alive"))
    expected = State.SENT if core.database.exclusive else State.SENDING  # on SQLite nobody else can be alive
    assert (await core.row(row.id)).state is expected


async def test_one_that_was_overtaken_sends_nothing(core: Core) -> None:
    row = await core.approved()
    slow = core.dispatcher("slow")
    _, (claimed,) = await core.database.write(slow.claims.claim_due_work)
    core.now += 3600 * SECOND
    await core.edit(row, start_at=core.now)
    await core.run(core.dispatcher("quick"))
    assert len(core.sandbox.vendors.ledger) == 1
    await slow.releaser.send(claimed)
    assert len(core.sandbox.vendors.ledger) == 1
    assert (await core.row(row.id)).state is State.SENT


async def test_a_lease_that_lapsed_by_the_time_of_the_intent_sends_nothing(core: Core) -> None:
    await core.approved()
    slow = core.dispatcher("slow")
    _, (claimed,) = await core.database.write(slow.claims.claim_due_work)
    core.now = claimed.lease_until or 0
    await slow.releaser.send(claimed)
    assert core.sandbox.vendors.ledger == []


async def test_a_try_that_was_overtaken_in_its_own_process_says_nothing_about_the_next_one(core: Core) -> None:
    reading, read_on = gate(core, release=False, once=True)
    releasing, release = gate(core, release=True)
    row = await core.approved()
    dispatcher = core.dispatcher("a")
    await dispatcher.tick()
    first = list(dispatcher.running)
    await reading.wait()
    core.now += 330 * SECOND  # the machine slept, and the lease lapsed
    await dispatcher.tick()
    read_on.set()
    await asyncio.gather(*first)
    await releasing.wait()
    await dispatcher.tick()
    assert (await core.row(row.id)).state is State.SENDING  # its answer is still to come
    release.set()
    await asyncio.gather(*dispatcher.running)
    assert (await core.row(row.id)).state is State.SENT
    assert len(core.sandbox.vendors.ledger) == 1


async def test_told_to_stop_in_the_middle_of_a_tick_it_starts_nothing(core: Core) -> None:
    row = await core.approved()
    stopped = core.dispatcher("stopped")
    ticking = asyncio.create_task(stopped.tick())
    await asyncio.sleep(0)
    await stopped.stop(5)
    await ticking
    assert stopped.running == set()
    assert core.sandbox.vendors.ledger == []
    await core.run(core.dispatcher("next"))  # at once, without waiting for a lease to lapse
    assert (await core.row(row.id)).state is State.SENT


async def test_told_to_stop_while_it_prepares_it_begins_no_release(core: Core) -> None:
    core.sandbox.vendors.faults.add("octopush.create", "slow", seconds=0.8)
    row = await core.approved(audience="newsletter")
    stopped = core.dispatcher("stopped")
    await stopped.tick()
    assert (await core.row(row.id)).phase is Phase.STAGING
    await stopped.stop(5)
    back = await core.row(row.id)
    assert (back.state, back.tries) == (State.SCHEDULED, 0)
    assert core.sandbox.vendors.ledger == []
    await core.run(core.dispatcher("next"))
    assert (await core.row(row.id)).state is State.SENT
    assert len(core.sandbox.vendors.ledger) == 1


async def test_a_clock_that_is_set_back_meanwhile_sends_nothing_early(core: Core) -> None:
    row = await core.approved()
    dispatcher = core.dispatcher("a")
    _, (claimed,) = await core.database.write(dispatcher.claims.claim_due_work)
    core.now -= 3600 * SECOND
    await dispatcher.releaser.send(claimed)
    assert core.sandbox.vendors.ledger == []
    waiting = await core.row(row.id)
    assert (waiting.state, waiting.due) == (State.SCHEDULED, row.due)
    core.now += 3600 * SECOND
    await core.run(dispatcher)
    assert len(core.sandbox.vendors.ledger) == 1


async def test_a_clock_that_is_set_back_meanwhile_tries_nothing_again_early(core: Core) -> None:
    row = await core.approved()
    again = core.now + 60 * SECOND
    await core.edit(row, due=again, tries=1, attempt=1)  # as the vendor asked
    core.now = again
    dispatcher = core.dispatcher("a")
    _, (claimed,) = await core.database.write(dispatcher.claims.claim_due_work)
    core.now -= 30 * SECOND
    await dispatcher.releaser.send(claimed)
    waiting = await core.row(row.id)
    assert (waiting.state, waiting.due, core.sandbox.vendors.ledger) == (State.SCHEDULED, again, [])
