"""A vendor that is busy, away or wrong about the time: who waits, who goes on, and who asks."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from bot.domain.clock import SECOND
from bot.domain.lifecycle import Hold, State
from bot.storage.campaigns import leave_over
from bot.storage.keys import stops
from bot.workflow.decision_types import Stop
from providers.base import Staged
from tests.support.core import CLEO, TEAM, Core, MakeCore
from tests.support.patience import until
from tests.support.sending import all_notes, staged_early


async def test_a_recall_that_hangs_keeps_no_other_accounts_waiting(core: Core) -> None:
    hanging, recalled, dispatcher = asyncio.Event(), list[str](), core.dispatcher("a")

    async def hang(staged: Staged) -> None:
        await hanging.wait()

    async def recall(staged: Staged) -> None:
        recalled.append(staged.id)

    theirs: Any = core.providers["encom"].adapter
    others: Any = core.providers["octo"].adapter
    theirs.recall, others.recall = hang, recall
    for place, audience in enumerate(("clients", "newsletter")):
        row, staged = await core.ask(audience=audience), Staged(f"sms_{place}")
        await core.database.write(partial(leave_over, broadcast=row, staged=staged, at=core.now + place))
    core.now += SECOND
    await dispatcher.tick()
    await until(lambda: recalled == ["sms_1"])
    hanging.set()
    await asyncio.gather(*dispatcher.running)


async def test_a_campaign_that_cannot_be_thrown_away_stands_in_the_way_of_the_account_for_a_few_tries_only(
    make_core: MakeCore,
) -> None:
    core = make_core(**{"approval.undo": "30s"})
    row, dispatcher = await staged_early(core)
    core.sandbox.vendors.faults.add("octopush.cancel", "error", times=1000, status=503)
    await core.workflow.act(TEAM, row.id, Stop(), person=CLEO, version=1)
    after, states = await core.approved(audience="vip"), []
    for _ in range(12):
        await core.run(dispatcher)
        states.append((await core.row(after.id)).state)
        core.now += 10 * SECOND
    assert states[0] is State.SCHEDULED
    assert (states[-1], (await core.row(after.id)).hold) == (State.HELD, Hold.BLOCKED)


async def test_a_vendor_that_means_another_time_is_told_about(core: Core) -> None:
    body = '{"sending_date": "2031-06-01T12:00:00+03:00"}'
    core.sandbox.vendors.faults.add("octopush.release", "answer", status=200, body=body, accept=True)
    row = await core.approved(audience="newsletter")
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).state is State.SENT
    assert any("I asked it to send at once" in template for template in await all_notes(core))


async def test_a_busy_vendor_under_a_200_has_sent_nothing_and_is_asked_again(core: Core) -> None:
    core.sandbox.vendors.faults.add("octopush.release", "error", status=200, body={"code": 127})
    row, dispatcher = await core.approved(audience="newsletter"), core.dispatcher("a")
    await core.run(dispatcher)
    assert ((await core.row(row.id)).state, core.sandbox.vendors.ledger) == (State.SCHEDULED, [])
    core.now += 10 * SECOND
    await core.run(dispatcher)
    assert ((await core.row(row.id)).state, len(core.sandbox.vendors.ledger)) == (State.SENT, 1)


@pytest.mark.long
async def test_an_unreachable_vendor_is_asked_again_later_and_then_given_up(make_core: MakeCore) -> None:
    away = make_core(**{"accounts.encom.base_url": "http://127.0.0.1:9"})
    row = await away.approved()
    await away.run(away.dispatcher("a"))
    once = await away.row(row.id)
    assert (once.tries, once.due) == (1, away.now + 2 * SECOND)
    away.now += 2 * SECOND
    await away.run(away.dispatcher("a"))
    assert (await away.row(row.id)).due == away.now + 4 * SECOND
    for _ in range(40):
        await away.run(away.dispatcher("a"))
        away.now += 100 * SECOND
        await away.edit(row, start_at=away.now)
    ended = await away.row(row.id)
    assert (ended.state, ended.tries) == (State.FAILED, 8)
    assert away.sandbox.vendors.ledger == []


@pytest.mark.long
async def test_a_vendor_that_is_away_for_an_hour_is_not_pestered_and_what_waits_asks(make_core: MakeCore) -> None:
    away = make_core(**{"accounts.encom.base_url": "http://127.0.0.1:9"})
    rows = [await away.approved() for _ in range(6)]
    other = await away.approved(audience="staff")
    dispatcher = away.dispatcher("a")
    for _ in range(60):
        await dispatcher.tick()
        await asyncio.gather(*dispatcher.running)
        away.now += 20 * SECOND
    ended = [await away.row(row.id) for row in rows]
    assert {(row.state, row.hold) for row in ended} == {(State.HELD, Hold.LATE)}  # past its grace, each one asks
    assert sum(row.tries for row in ended) < 6 * 3 + 10
    assert (await away.row(other.id)).state is State.SENT  # another vendor is not affected
    assert any("cannot be reached right now" in template for template in await all_notes(away))
    assert len(away.sandbox.vendors.ledger) == 1


async def test_a_vendor_that_comes_back_gets_what_waited_once(make_core: MakeCore) -> None:
    core = make_core()
    port = core.providers["encom"].transport.base_url  # type: ignore[attr-defined]
    rows = [await core.approved() for _ in range(3)]
    core.providers["encom"].transport.base_url = "http://127.0.0.1:9"  # type: ignore[attr-defined]
    await core.run(core.dispatcher("a"))
    assert core.sandbox.vendors.ledger == []
    core.providers["encom"].transport.base_url = port  # type: ignore[attr-defined]
    for _ in range(4):
        core.now += 40 * SECOND
        await core.run(core.dispatcher("b"))
    assert {(await core.row(row.id)).state for row in rows} == {State.SENT}
    assert len(core.sandbox.vendors.ledger) == 3
    assert not (await core.database.read(lambda c: stops(c, core.now))).away


@pytest.mark.long
async def test_those_that_wait_for_one_account_stand_in_nobodys_way(make_core: MakeCore) -> None:
    core = make_core(**{"approval.undo": "0s"})
    core.sandbox.vendors.faults.add("octopush.status", "slow", times=50, seconds=2)
    for _ in range(12):
        await core.approved(audience="newsletter")
    core.now += SECOND
    last = await core.approved(audience="staff")
    dispatcher = core.dispatcher("a")
    for _ in range(3):
        await dispatcher.tick()
    await core.becomes(last, State.SENT)
    await dispatcher.stop(0)
