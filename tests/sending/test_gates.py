"""Reasons not to send now: lateness, hours, caps, pauses, a clock that jumps, a vote that is missing."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.domain.clock import SECOND
from bot.domain.errors import NotAllowed
from bot.domain.lifecycle import Hold, State
from bot.storage.keys import keep
from bot.workflow.decision_types import Approve, SendNow
from providers.base import Purpose
from tests.support.core import CLEO, TEAM, Core, MakeCore
from tests.support.ground import raw_settings
from tests.support.sending import HOUR, all_notes


async def test_past_its_grace_it_asks(core: Core) -> None:
    row = await core.approved()
    core.now += 601 * SECOND
    await core.run(core.dispatcher("a"))
    held = await core.row(row.id)
    assert (held.state, held.hold) == (State.HELD, Hold.LATE)
    again = await core.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    assert again.state is State.SCHEDULED
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).state is State.SENT
    assert len(core.sandbox.vendors.ledger) == 1


@pytest.fixture
def machine_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the time zone of the machine."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("machine_zone", ["Pacific/Kiritimati", "America/Los_Angeles"], indirect=True)
@pytest.mark.usefixtures("machine_zone")
async def test_the_zone_of_the_machine_changes_nothing(core: Core) -> None:
    core.now += 12 * 3600 * SECOND  # nine in the evening in Paris, a Friday
    row = await core.approved(audience="paris")
    await core.run(core.dispatcher("a"))
    held = await core.row(row.id)
    assert (held.hold, held.hold_until) == (Hold.HOURS, 1_800_082_800 * SECOND)  # Saturday, at eight in Paris
    assert core.sandbox.vendors.ledger == []


async def test_what_is_held_for_the_night_goes_by_itself_in_the_morning_and_once(core: Core) -> None:
    core.now += 12 * 3600 * SECOND  # nine in the evening in Paris, a Friday
    row = await core.approved(audience="paris")
    await core.run(core.dispatcher("a"))
    held = await core.row(row.id)
    assert (held.state, held.hold) == (State.HELD, Hold.HOURS)
    core.now = (held.hold_until or 0) - 1
    await core.run(core.dispatcher("a"))
    assert core.sandbox.vendors.ledger == []
    core.now += 5 * 60 * SECOND
    await core.run(core.dispatcher("a"), core.dispatcher("b"))
    assert (await core.row(row.id)).state is State.SENT
    assert len(core.sandbox.vendors.ledger) == 1


async def test_an_account_that_was_given_to_another_vendor_sends_nothing_that_was_approved_for_the_first(
    make_core: MakeCore, tmp_path: Path
) -> None:
    was = make_core()
    row = await was.ask(audience="staff", purpose=Purpose.TRANSACTIONAL, text="Votre colis arrive")
    other = raw_settings(was.sandbox, 1, tmp_path)["accounts"]["encom"]
    was.sandbox.vendors.encom.lists[row.target] = ("Clients", {"+33600000001": "Ana"})
    now = make_core(**{"accounts.kaizala": other})
    await now.run(now.dispatcher("a"))
    held = await now.row(row.id)
    assert (held.state, held.hold, held.provider) == (State.HELD, Hold.BLOCKED, "kaizala")
    assert now.sandbox.vendors.ledger == []


async def test_marketing_goes_nowhere_without_a_vote_whatever_its_row_says(core: Core) -> None:
    row = await core.ask()
    await core.edit(row, quorum=0, state="scheduled", due=core.now, start_at=core.now)
    await core.run(core.dispatcher("a"))
    asked = await core.row(row.id)
    assert (asked.state, asked.quorum) == (State.PENDING, 1)
    assert core.sandbox.vendors.ledger == []


async def test_marketing_goes_nowhere_without_hours_whatever_its_row_says(core: Core) -> None:
    core.now += 12 * HOUR
    row = await core.approved(audience="paris")
    await core.edit(row, policy=None)
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).hold is Hold.BLOCKED
    assert core.sandbox.vendors.ledger == []


async def test_what_is_let_go_before_its_time_goes_at_its_time(core: Core) -> None:
    """Its time was approved with it, so a restored plan for next month does not go out today."""
    far = core.now + 40 * 24 * HOUR
    row = await core.approved(send_at=far)
    await core.edit(row, state="held", hold=Hold.RESTORED, due=None)
    freed = await core.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    assert (freed.state, freed.due, freed.start_at) == (State.SCHEDULED, far, far)
    core.now += 2 * SECOND
    await core.run(core.dispatcher("a"))
    assert core.sandbox.vendors.ledger == []


async def test_what_a_person_lets_go_has_all_its_tries_again(make_core: MakeCore) -> None:
    core = make_core(**{"accounts.encom.base_url": "http://127.0.0.1:9"})
    row = await core.approved()
    await core.edit(row, state="held", hold=Hold.LATE, due=None, tries=7)
    await core.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    await core.run(core.dispatcher("a"))
    waiting = await core.row(row.id)
    assert (waiting.state, waiting.tries) == (State.SCHEDULED, 1)


async def test_who_was_taken_out_of_the_settings_has_not_agreed_and_the_successor_may(make_core: MakeCore) -> None:
    ana, ben = (dataclasses.replace(CLEO, id=id) for id in ("U0ANA", "U0BEN"))
    was = make_core(**{"approval.approvers": ["U0ANA"]})
    later = was.now + 48 * HOUR
    row = await was.ask(send_at=later)
    await was.workflow.act(TEAM, row.id, Approve(), person=ana, version=1)
    now = make_core(**{"approval.approvers": ["U0BEN"]})
    now.now = later
    await now.run(now.dispatcher("a"))
    assert (await now.row(row.id)).state is State.PENDING
    assert now.sandbox.vendors.ledger == []
    with pytest.raises(NotAllowed):
        await now.workflow.act(TEAM, row.id, Approve(), person=ana, version=1)
    await now.workflow.act(TEAM, row.id, Approve(), person=ben, version=1)
    await now.run(now.dispatcher("a"))
    assert (await now.row(row.id)).state is State.SENT


async def test_a_clock_that_is_put_right_again_holds_nothing_that_lies_ahead(core: Core) -> None:
    dispatcher = core.dispatcher("a")
    for hours in (0, 1, -1):
        core.now += hours * HOUR
        core.steady -= hours * 3600.0
        await core.run(dispatcher)
    core.now += 60 * SECOND
    row = await core.approved()
    await core.run(dispatcher)
    assert (await core.row(row.id)).state is State.SENT


@pytest.mark.parametrize("hours", [1, 24])
async def test_a_clock_that_leaps_ahead_sends_nothing_early_and_asks(core: Core, hours: int) -> None:
    soon, later = core.now + (hours * 3600 - 100) * SECOND, core.now + (hours + 2) * 3600 * SECOND
    first, second_one = await core.approved(send_at=soon), await core.approved(send_at=later)
    dispatcher = core.dispatcher("a")
    await core.run(dispatcher)
    core.now += (hours * 3600 + 5) * SECOND
    core.steady -= hours * 3600.0
    await core.run(dispatcher)
    held = await core.row(first.id)
    assert (held.state, held.hold) == (State.HELD, Hold.LATE)
    assert any("This machine's clock jumped" in template for template in await all_notes(core))
    assert core.sandbox.vendors.ledger == []
    core.now = later + SECOND
    await core.run(dispatcher)  # when both clocks agree on a step, sending goes on
    assert (await core.row(second_one.id)).state is State.SENT


async def test_a_clock_that_is_put_right_by_less_than_a_minute_holds_nothing_up(core: Core) -> None:
    row, dispatcher = await core.approved(send_at=core.now + 30 * SECOND), core.dispatcher("a")
    await core.run(dispatcher)
    core.now += 59_500_000
    core.steady -= 59.5
    await core.run(dispatcher)
    assert (await core.row(row.id)).state is State.SENT


@pytest.mark.parametrize("hours", [-24, -1])
async def test_a_clock_that_falls_back_sends_nothing_twice(core: Core, hours: int) -> None:
    core.now += 30 * 3600 * SECOND
    row = await core.approved(send_at=core.now + 600 * SECOND)
    dispatcher = core.dispatcher("a")
    core.now += 601 * SECOND
    await core.run(dispatcher)
    assert (await core.row(row.id)).state is State.SENT
    core.now += hours * 3600 * SECOND
    core.steady -= hours * 3600.0
    await core.run(dispatcher)
    core.now -= hours * 3600 * SECOND
    await core.run(dispatcher)
    assert len(core.sandbox.vendors.ledger) == 1


async def test_over_the_hourly_cap_it_is_held(make_core: MakeCore) -> None:
    few = make_core(hourly_cap=3)
    rows = [await few.approved() for _ in range(5)]
    for _ in range(5):
        await few.run(few.dispatcher("a"))
    states = [(await few.row(row.id)).state for row in rows]
    assert (states.count(State.SENT), states.count(State.HELD)) == (3, 2)
    assert len(few.sandbox.vendors.ledger) == 3


async def test_a_pause_holds_before_the_next_byte(core: Core) -> None:
    row = await core.approved()
    dispatcher = core.dispatcher("a")
    _, (claimed,) = await core.database.write(dispatcher.claims.claim_due_work)
    await core.database.write(lambda c: keep(c, f"pause:{TEAM}", "1", core.now))
    await dispatcher.releaser.send(claimed)
    assert core.sandbox.vendors.ledger == []
    held = await core.row(row.id)
    assert (held.state, held.hold, held.phase) == (State.HELD, Hold.PAUSED, None)
