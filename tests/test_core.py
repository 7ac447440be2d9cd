"""The core on real databases and real vendors' sockets, without Slack: races, leases, fences and gates."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import random
import time
import unicodedata
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import event

from bot.backup import NotABackup, NotEmpty, restore_backup, write_backup
from bot.domain.broadcast import Broadcast, BroadcastRequest
from bot.domain.clock import SECOND
from bot.domain.errors import InvalidRequest, NotAllowed, StaleVersion
from bot.domain.lifecycle import Action, Hold, Phase, State
from bot.domain.sms import measure
from bot.sending.claims import CLAIM_AT_ONCE
from bot.sending.dispatcher import Dispatcher
from bot.storage import audit, broadcasts, schema, tables
from bot.storage.campaigns import leave_over
from bot.storage.database import Database
from bot.storage.engines import open_database
from bot.storage.keys import BREAKER_FAILURES, Breaker, breaker, keep, lease_holder, set_breaker, stops, take_lease
from bot.storage.postgres import Postgres
from bot.workflow.audience_cache import AudienceCache
from bot.workflow.decision_types import Approve, SendNow, Stop
from bot.workflow.submission import Questioned, Sent, Submitted
from providers.base import Audience, AudienceFound, DeliveryStatus, Message, Purpose, Quote, Receipt, Staged
from providers.reading import UNREADABLE
from tests.support.core import APPROVERS, CLEO, TEAM, Core, MakeCore, approver, decision, gate
from tests.support.ground import in_order, new_postgres, raw_settings
from tests.support.patience import LONG, until

HOUR = 3600 * SECOND

# --- races -----------------------------------------------------------------------------------------------------------


async def test_fifty_approvals_at_once_make_one_approval_and_one_send(core: Core) -> None:
    row = await core.ask()
    decisions = [core.workflow.act(TEAM, row.id, Approve(), person=approver(n), version=1) for n in range(50)]
    outcomes = await asyncio.gather(*decisions, return_exceptions=True)
    assert all(isinstance(outcome, Broadcast | StaleVersion) for outcome in outcomes)
    assert (await core.actions(row)).count("approve") == 1
    await core.run(core.dispatcher("a"), core.dispatcher("b"))
    assert len(core.sandbox.vendors.ledger) == 1
    assert (await core.row(row.id)).state is State.SENT


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_of_fifty_who_hold_the_row_one_after_the_other_only_the_first_waits_for_the_disk(core: Core) -> None:
    """A flush takes 40 ms on many disks. If everyone who comes too late committed the lock that they took, the last
    would wait for fifty flushes, and hear that the database is busy."""
    row = await core.ask()
    commits: list[object] = []
    assert isinstance(core.database, Postgres)
    event.listen(core.database.engine.sync_engine, "commit", commits.append)
    decisions = [core.workflow.act(TEAM, row.id, Approve(), person=approver(n), version=1) for n in range(50)]
    outcomes = await asyncio.gather(*decisions, return_exceptions=True)
    assert sum(isinstance(outcome, StaleVersion) for outcome in outcomes) == 49
    assert len(commits) == 1
    told = {outcome.broadcast.state for outcome in outcomes if isinstance(outcome, StaleVersion)}
    assert told == {State.SCHEDULED}  # as the row stands now


async def test_of_approve_and_cancel_in_the_same_instant_one_wins(core: Core, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(20):
        row = await core.ask()
        decisions = [(Action.APPROVE, approver(0)), (Action.CANCEL, CLEO), (Action.REJECT, approver(1))]
        chance.shuffle(decisions)
        outcomes = await asyncio.gather(
            *(core.workflow.act(TEAM, row.id, decision(action), person=who, version=1) for action, who in decisions),
            return_exceptions=True,
        )
        ends = [step for step in await core.actions(row) if step in ("approve", "cancel", "reject")]
        won = sum(isinstance(outcome, Broadcast) for outcome in outcomes)
        state = (await core.row(row.id)).state
        if ends[0] == "approve" and len(ends) == 2:  # cancelling what was just approved is allowed
            assert state is State.CANCELLED
        else:
            assert (won, len(ends)) == (1, 1)
            assert state is {"approve": State.SCHEDULED, "cancel": State.CANCELLED, "reject": State.REJECTED}[ends[0]]


@pytest.mark.parametrize("key", ["one-form", "form-{}"])
async def test_the_same_request_from_many_at_once_is_one_broadcast(core: Core, key: str) -> None:
    request = BroadcastRequest(
        workspace=TEAM, requester="U0CLEO", channel="C1", audience="clients", purpose=Purpose.MARKETING, text="Once"
    )
    asked = [core.workflow.submit(request, key=key.format(number), person=CLEO) for number in range(20)]
    outcomes = await asyncio.gather(*asked)
    assert [outcome.again for outcome in outcomes].count(False) == 1
    assert len({outcome.broadcast.id for outcome in outcomes}) == 1
    assert len(await core.database.read(lambda c: broadcasts.latest(c, TEAM, 50))) == 1


async def test_news_that_come_in_the_same_instant_are_all_counted(core: Core) -> None:
    row = await core.approved(audience="newsletter")
    await core.run(core.dispatcher("one"))
    (ticket,) = (await core.row(row.id)).ids
    tracker = core.tracker()
    numbers = [f"+3360000{number:04}" for number in range(20)]
    early = [Receipt(ticket, DeliveryStatus.SENT, "ACK", number) for number in numbers]
    final = [Receipt(ticket, DeliveryStatus.DELIVERED, "DELIVERED", number, final=True) for number in numbers]
    pairs = zip(early, final, strict=True)
    await asyncio.gather(*(tracker.record("octo", [receipt]) for pair in pairs for receipt in pair))
    assert (await core.row(row.id)).counts == {"delivered": 20}


async def test_two_processes_share_twenty_due_rows_and_each_goes_once(core: Core, second: Database) -> None:
    rows = [await core.approved() for _ in range(20)]
    await core.run(core.dispatcher("a"), core.dispatcher("b", second), core.dispatcher("c", second))
    assert len(core.sandbox.vendors.ledger) == 20
    assert len({sent.text for sent in core.sandbox.vendors.ledger}) == 20
    assert {(await core.row(row.id)).state for row in rows} == {State.SENT}


# --- leases and fences -----------------------------------------------------------------------------------------------


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


# --- approved bytes are sent bytes -----------------------------------------------------------------------------------

TAMPERED: dict[str, dict[str, Any]] = {
    "text": {"text": "Something else STOP AU 36111"},
    "list": {"target": "4"},
    "purpose": {"purpose": "transactional"},
    "sender": {"sender": "Bell"},
    "text and digest": {"text": "Something else", "digest": "0" * 64},
}


@pytest.mark.parametrize("field", TAMPERED)
async def test_what_was_not_approved_in_these_very_bytes_is_not_sent(core: Core, field: str) -> None:
    row = await core.approved()
    await core.edit(row, **TAMPERED[field])
    await core.run(core.dispatcher("a"))
    assert core.sandbox.vendors.ledger == []
    assert (await core.row(row.id)).state is State.PENDING


async def test_what_was_edited_behind_everybody_is_asked_again_as_it_stands(core: Core) -> None:
    row = await core.approved()
    await core.edit(row, text="Something else STOP AU 36111")
    await core.run(core.dispatcher("a"))
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(1), version=1)
    await core.run(core.dispatcher("a"))
    assert [sent.text for sent in core.sandbox.vendors.ledger] == ["Something else STOP AU 36111"]


async def test_an_approval_binds_what_stood_there_when_it_was_given(core: Core) -> None:
    row = await core.ask()
    await core.edit(row, text="Something else STOP AU 36111")
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    await core.edit(row, text=row.text)
    await core.run(core.dispatcher("a"))
    assert core.sandbox.vendors.ledger == []
    assert (await core.row(row.id)).state is State.PENDING


@pytest.mark.parametrize("other", ["training", "live"])
async def test_what_belongs_to_the_other_mode_waits_for_a_person(make_core: MakeCore, other: str) -> None:
    was = make_core(mode=other)
    row = await was.approved()
    now = make_core(mode={"training": "live", "live": "training"}[other])
    for _ in range(2):
        await now.run(now.dispatcher("a"))
        held = await now.row(row.id)
        assert (held.state, held.hold, held.mode) == (State.HELD, Hold.BLOCKED, other)
        with pytest.raises(NotAllowed):  # it would only be held again, so this is refused
            await now.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    assert now.sandbox.vendors.ledger == []
    await was.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    await was.run(was.dispatcher("b"))
    assert len(was.sandbox.vendors.ledger) == 1


async def test_the_digest_binds_each_field(core: Core) -> None:
    row = await core.ask()
    others: dict[str, Any] = {"text": "x", "target": "9", "purpose": Purpose.TRANSACTIONAL, "send_at": 1}
    for name, value in others.items():
        assert dataclasses.replace(row, **{name: value}).computed_digest() != row.digest
    assert dataclasses.replace(row, channel="C2", size=9).computed_digest() == row.digest


async def test_two_approvals_are_two_people(make_core: MakeCore) -> None:
    both = make_core(**{"approval.quorum": 2})
    row = await both.ask()
    for _ in range(3):
        await both.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    with pytest.raises(NotAllowed):
        await both.workflow.act(TEAM, row.id, Approve(), person=CLEO, version=1)
    assert (await both.row(row.id)).state is State.PENDING
    await both.workflow.act(TEAM, row.id, Approve(), person=approver(1), version=1)
    assert (await both.row(row.id)).state is State.SCHEDULED


# --- gates -----------------------------------------------------------------------------------------------------------


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


async def test_one_campaign_at_a_time_where_a_vendor_prepares(core: Core) -> None:
    rows = [await core.approved(audience=name) for name in ("newsletter", "vip", "newsletter")]
    dispatcher = core.dispatcher("a")
    for _ in range(len(rows)):
        await dispatcher.tick()
        assert len(dispatcher.running) <= 1
        await asyncio.gather(*dispatcher.running)
    assert {(await core.row(row.id)).state for row in rows} == {State.SENT}
    assert len(core.sandbox.vendors.ledger) == 3


async def staged_early(core: Core) -> tuple[Broadcast, Dispatcher]:
    """An Octopush broadcast inside its undo window, prepared at the vendor."""
    row, dispatcher = await core.approved(audience="newsletter"), core.dispatcher("a")
    await core.run(dispatcher)
    return await core.row(row.id), dispatcher


async def test_inside_the_undo_window_it_is_prepared_and_its_size_and_cost_are_known(make_core: MakeCore) -> None:
    core = make_core(**{"approval.undo": "30s"})
    row, dispatcher = await staged_early(core)
    assert (row.state, row.size, row.owner) == (State.SCHEDULED, 20, None)
    assert row.staged is not None
    assert (row.staged.ready, str(row.staged.cost)) == (True, "2.58")
    assert core.sandbox.vendors.ledger == []
    core.now += 31 * SECOND
    await core.run(dispatcher)
    assert (await core.row(row.id)).state is State.SENT
    assert [sent.ids for sent in core.sandbox.vendors.ledger] == [(row.staged.id,)]
    creates = [seen for seen in core.sandbox.vendors.office.requests if seen.path.endswith("/create")]
    assert len(creates) == 1


async def test_a_prepared_campaign_that_somebody_sends_at_the_vendor_has_gone_out_once(make_core: MakeCore) -> None:
    core = make_core(**{"approval.undo": "30s"})
    row, dispatcher = await staged_early(core)
    assert row.staged is not None
    core.sandbox.vendors.octopush.campaigns[row.staged.id].state = "sent"
    core.sandbox.vendors.faults.add("octopush.status", "error", times=1000, status=400, body={"code": 132})
    core.now += 31 * SECOND
    await core.run(dispatcher)
    after = await core.row(row.id)
    assert (after.state, after.ids) == (State.SENT, (row.staged.id,))
    assert core.sandbox.vendors.ledger == []  # they sent it, and we did not send it again


@pytest.mark.parametrize("code", [131, 999])
async def test_what_a_vendor_says_of_a_campaign_that_may_have_been_sent_by_hand_is_not_taken_for_not_sent(
    make_core: MakeCore, code: int
) -> None:
    core = make_core(**{"approval.undo": "30s"})
    row, dispatcher = await staged_early(core)
    core.sandbox.vendors.faults.add("octopush.status", "error", times=1000, status=400, body={"code": code})
    core.now += 31 * SECOND
    for dispatcher.leases.staging in (1.0, 5.0, 25.0):  # a busy machine may cut an exchange, so it is tried again
        await core.run(dispatcher)
        core.now += 10 * SECOND
    after = await core.row(row.id)
    assert after.state is State.FAILED
    assert "the bot did not send it" in str(after.failure).lower()
    assert "Nothing was sent" not in str(after.failure)


@pytest.mark.parametrize("end", [Action.STOP, Action.CANCEL])
async def test_what_was_prepared_and_then_stopped_is_thrown_away(make_core: MakeCore, end: Action) -> None:
    core = make_core(**{"approval.undo": "30s"})
    row, dispatcher = await staged_early(core)
    await core.workflow.act(TEAM, row.id, decision(end), person=CLEO, version=1)
    after = await core.approved(audience="vip")
    core.now += 40 * SECOND
    await core.run(dispatcher)
    assert (await core.row(after.id)).state is State.SENT  # the account's one slot is free again
    whats = {sending.id: sending.what for sending in core.sandbox.vendors.octopush.sendings.values()}
    assert row.staged is not None
    assert whats[row.staged.id] == "cancelled"
    assert len(core.sandbox.vendors.ledger) == 1


async def test_stopped_while_it_is_being_prepared_nothing_stays_open(make_core: MakeCore) -> None:
    core = make_core(**{"approval.undo": "30s"})
    core.sandbox.vendors.faults.add("octopush.create", "slow", seconds=0.5)
    row, dispatcher = await core.approved(audience="newsletter"), core.dispatcher("a")
    await dispatcher.tick()
    await core.workflow.act(TEAM, row.id, Stop(), person=CLEO, version=1)
    await core.run(dispatcher)
    assert (await core.row(row.id)).state is State.CANCELLED
    assert {sending.what for sending in core.sandbox.vendors.octopush.sendings.values()} == {"cancelled"}


@pytest.mark.parametrize("how", [{"kind": "reset"}, {"kind": "error", "status": 429}, {"kind": "error", "status": 503}])
async def test_a_recall_that_fails_is_tried_again(make_core: MakeCore, how: dict[str, Any]) -> None:
    core = make_core(**{"approval.undo": "30s"})
    row, dispatcher = await staged_early(core)
    core.sandbox.vendors.faults.add("octopush.cancel", **how)
    await core.workflow.act(TEAM, row.id, Stop(), person=CLEO, version=1)
    await core.run(dispatcher)
    states = [campaign.state for campaign in core.sandbox.vendors.octopush.campaigns.values()]
    assert states == ["open"]
    core.now += 60 * SECOND
    await core.run(dispatcher)
    assert [campaign.state for campaign in core.sandbox.vendors.octopush.campaigns.values()] == ["cancelled"]


async def test_after_a_restart_what_was_to_be_recalled_later_is_recalled_at_once(make_core: MakeCore) -> None:
    core = make_core(**{"approval.undo": "30s"})
    row, dispatcher = await staged_early(core)
    core.sandbox.vendors.faults.add("octopush.cancel", "reset")
    await core.workflow.act(TEAM, row.id, Stop(), person=CLEO, version=1)
    await core.run(dispatcher)
    await core.run(core.dispatcher("after the restart"))
    # on PostgreSQL another process may be recalling it, so this one leaves it time
    expected = "cancelled" if core.database.exclusive else "open"
    assert [campaign.state for campaign in core.sandbox.vendors.octopush.campaigns.values()] == [expected]


async def test_larger_than_approved_is_seen_inside_the_undo_window(make_core: MakeCore) -> None:
    core = make_core(**{"approval.undo": "30s"})
    core.sandbox.vendors.octopush.lists["newsletter"] = 500
    row, dispatcher = await staged_early(core)
    assert (row.state, row.size, row.bound, row.staged) == (State.PENDING, 500, 500, None)
    await core.run(dispatcher)
    assert [campaign.state for campaign in core.sandbox.vendors.octopush.campaigns.values()] == ["cancelled"]
    assert core.sandbox.vendors.ledger == []


async def quoted_and_approved(core: Core, price: str) -> tuple[Broadcast, Dispatcher]:
    """An Octopush broadcast of 2.58 EUR whose card showed `price`, prepared inside its undo window."""
    row, dispatcher = await core.ask(audience="newsletter"), core.dispatcher("a")
    await core.workflow.sizes.learn(TEAM, row.id, 20, quoted=price)
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    await core.run(dispatcher)
    return await core.row(row.id), dispatcher


@pytest.mark.parametrize("price", ["0.10 EUR", "900 USD", "900"])
async def test_dearer_than_its_card_showed_or_in_another_currency_it_is_asked_again_once(
    make_core: MakeCore, price: str
) -> None:
    core = make_core(**{"approval.undo": "30s"})
    row, dispatcher = await quoted_and_approved(core, price)
    assert (row.state, row.quoted, row.size, row.bound) == (State.PENDING, "2.58 EUR", 20, 20)
    assert "It would now cost {cost}, but its card showed {shown}." in await all_notes(core)
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=row.version)
    await core.run(dispatcher)
    core.now += 31 * SECOND
    await core.run(dispatcher)
    assert (await core.row(row.id)).state is State.SENT


async def test_at_the_price_that_its_card_showed_it_goes(make_core: MakeCore) -> None:
    row, _ = await quoted_and_approved(make_core(**{"approval.undo": "30s"}), "2.580 EUR")
    assert (row.state, row.quoted) == (State.SCHEDULED, "2.580 EUR")


async def test_what_is_quoted_only_and_has_become_dearer_is_asked_again(
    make_core: MakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = make_core()
    account = core.providers["encom"]
    costs = iter([Decimal(3), Decimal(4)])

    async def quote(_: Message) -> Quote:
        return Quote(2, next(costs), "EUR")

    monkeypatch.setattr(account, "capabilities", dataclasses.replace(account.capabilities, sizes=False, quotes=True))
    monkeypatch.setattr(account, "quote", quote)
    row, dispatcher = await core.ask(), core.dispatcher("a")
    await dispatcher.sizes.learn()
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    await core.run(dispatcher)
    row = await core.row(row.id)
    assert (row.state, row.quoted, core.sandbox.vendors.ledger) == (State.PENDING, "4 EUR", [])


TWO_FOR_MANY = {"approval.rules": [{"purpose": "marketing", "larger_than": 300, "quorum": 2}]}


async def test_a_list_that_has_grown_asks_as_many_people_as_it_needs_now(make_core: MakeCore) -> None:
    core = make_core(**TWO_FOR_MANY, **{"approval.undo": "30s"})
    core.sandbox.vendors.octopush.lists["newsletter"] = 500
    row, _ = await staged_early(core)
    assert (row.state, row.size, row.quorum) == (State.PENDING, 500, 2)


@pytest.mark.parametrize("purpose", [Purpose.MARKETING, Purpose.TRANSACTIONAL])
async def test_a_size_that_was_told_after_the_approval_counts_though_the_vendor_tells_none_at_the_release(
    make_core: MakeCore, monkeypatch: pytest.MonkeyPatch, purpose: Purpose
) -> None:
    async def silent(_: Audience) -> None:
        return None

    core = make_core(**{"audiences.clients.max_size": 100})
    row = await core.ask(purpose=purpose, text="Votre commande est prête", send_at=core.now + 600 * SECOND)
    if purpose is Purpose.MARKETING:
        await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    await core.workflow.sizes.learn(TEAM, row.id, 5000)
    monkeypatch.setattr(core.providers["encom"], "size", silent)
    core.now += 600 * SECOND
    await core.run(core.dispatcher("a"))
    row = await core.row(row.id)
    assert (row.state, row.size, row.bound, row.quorum) == (State.PENDING, 5000, 5000, 1)
    assert core.sandbox.vendors.ledger == []
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=row.version)
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).state is State.SENT


async def test_a_size_that_is_told_after_the_approval_counts_at_the_next(make_core: MakeCore) -> None:
    core = make_core(**TWO_FOR_MANY)
    row = await core.approved(audience="newsletter")
    await core.workflow.sizes.learn(TEAM, row.id, 500)
    await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button")
    states = []
    for number in (0, 1):
        await core.workflow.act(TEAM, row.id, Approve(), person=approver(number), version=1)
        states.append((await core.row(row.id)).state)
    assert states == [State.PENDING, State.SCHEDULED]


async def test_what_the_vendor_refuses_to_prepare_fails_before_its_time(make_core: MakeCore) -> None:
    core = make_core(**{"approval.undo": "30s"})
    core.sandbox.vendors.faults.add("octopush.create", "error", status=400, body={"code": 303})
    row, _ = await staged_early(core)
    assert row.state is State.FAILED
    assert "does not know the audience newsletter" in str(row.failure)


async def test_a_process_that_died_preparing_leaves_the_row_to_the_next(make_core: MakeCore) -> None:
    core = make_core(**{"approval.undo": "30s"})
    row = await core.approved(audience="newsletter")
    await core.edit(row, owner="dead", lease_until=core.now + 10 * SECOND)
    core.now += 31 * SECOND
    await core.run(core.dispatcher("alive"))
    assert (await core.row(row.id)).state is State.SENT
    assert len(core.sandbox.vendors.ledger) == 1


async def test_a_process_that_died_over_a_quote_leaves_the_accounts_place_to_the_next(core: Core) -> None:
    await core.database.write(lambda c: take_lease(c, "quote:octo", "dead", 300.0, core.now))
    row = await core.approved(audience="newsletter")
    await core.run(core.dispatcher("alive"))
    if not core.database.exclusive:  # the other process may be alive
        assert (await core.row(row.id)).state is State.SCHEDULED
        core.now += 301 * SECOND
        await core.run(core.dispatcher("alive"))
    assert (await core.row(row.id)).state is State.SENT


async def test_while_one_account_is_asked_for_a_quote_the_others_send(core: Core) -> None:
    await core.database.write(lambda c: take_lease(c, "quote:octo", "a", 300.0, core.now))
    for _ in range(CLAIM_AT_ONCE):
        await core.approved(audience="newsletter")
    core.now += SECOND
    last = await core.approved(audience="clients")
    await core.run(core.dispatcher("a"))
    assert (await core.row(last.id)).state is State.SENT


async def test_what_cannot_be_prepared_early_is_tried_again_when_the_vendor_said_and_at_its_time(
    make_core: MakeCore,
) -> None:
    core = make_core(**{"approval.undo": "30s"})
    patience = {"status": 429, "headers": {"Retry-After": "20"}}
    core.sandbox.vendors.faults.add("octopush.create", "error", times=2, **patience)
    row = await core.approved(audience="newsletter")
    dispatcher = core.dispatcher("a")
    asked = []
    for _ in range(32):
        await core.run(dispatcher)
        requests = core.sandbox.vendors.office.requests
        asked.append(len([seen for seen in requests if seen.path.endswith("/create")]))
        core.now += SECOND
    assert (asked[0], asked[19], asked[21], asked[29]) == (1, 1, 2, 2)
    await core.run(dispatcher)
    assert (await core.row(row.id)).state is State.SENT


async def test_what_one_process_prepares_early_another_one_leaves_to_it(make_core: MakeCore) -> None:
    core = make_core(**{"approval.undo": "30s"})
    core.sandbox.vendors.faults.add("octopush.create", "slow", until=(answers := asyncio.Event()))
    here, there = core.dispatcher("a"), core.dispatcher("b")
    await core.run(here, there)
    row = await core.approved(audience="newsletter")
    await here.tick()
    await core.sandbox.until(lambda: core.sandbox.vendors.office.requests)
    leased = await core.row(row.id)
    assert leased.lease_until is not None
    assert (leased.owner, leased.lease_until > core.now, leased.attempt) == ("a", True, 1)
    await there.tick()
    assert not there.running
    answers.set()
    await asyncio.gather(*here.running)
    assert (await core.row(row.id)).owner is None


async def test_nobody_prepares_early_at_a_vendor_that_cannot_be_reached(make_core: MakeCore) -> None:
    core = make_core(**{"approval.undo": "30s"})
    away = Breaker(BREAKER_FAILURES, core.now + 300 * SECOND)
    await core.database.write(lambda c: set_breaker(c, "octo", away, core.now))
    row = await core.approved(audience="newsletter")
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).attempt == 0


async def test_one_failure_is_counted_and_is_no_vendor_that_cannot_be_reached(make_core: MakeCore) -> None:
    core = make_core(**{"accounts.encom.base_url": "http://127.0.0.1:9"})
    dispatcher = core.dispatcher("a")
    for number in range(1, BREAKER_FAILURES + 1):
        await core.approved()
        await core.run(dispatcher)
        known = await core.database.read(lambda c: breaker(c, "encom"))
        assert known.failures == number
        told = await core.database.read(lambda c: stops(c, core.now))
        assert list(told.away) == ["encom"] * (number == BREAKER_FAILURES)


@pytest.mark.parametrize("told", [{"message": "Unauthenticated."}, ["Ana"], None, 5])
async def test_a_size_that_cannot_be_read_is_not_learnt(core: Core, told: Any) -> None:
    """C3: people see that the vendor does not give it; the bound is guarded separately."""
    core.sandbox.vendors.faults.add("encom.recipients", "error", times=100, status=200, body=told)
    row = await core.ask()
    await core.dispatcher("a").sizes.learn()
    after = await core.row(row.id)
    assert (after.size, after.unnamed, after.revision) == (None, None, row.revision)


async def test_a_size_that_a_vendor_does_not_tell_is_not_learnt(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    async def untold(audience: Audience) -> AudienceFound:
        return AudienceFound(audience.kind, audience.id, "Clients", None, 1)

    monkeypatch.setattr(core.providers["encom"], "size", untold)
    row = await core.ask()
    await core.dispatcher("a").sizes.learn()
    after = await core.row(row.id)
    assert (after.size, after.unnamed, after.revision) == (None, None, row.revision)


@pytest.mark.parametrize("taken", ["a quote", "a campaign"])
async def test_no_quote_is_asked_for_while_the_accounts_one_place_is_taken(make_core: MakeCore, taken: str) -> None:
    core = make_core(**{"accounts.octo.quote": True})
    dispatcher = core.dispatcher("a")
    if taken == "a quote":
        await core.database.write(lambda c: take_lease(c, "quote:octo", "a", 300.0, core.now))
    else:
        other = await core.approved(audience="newsletter")
        lease = {"phase": "staging", "owner": "a", "attempt": 1, "lease_until": core.now + 60 * SECOND}
        await core.edit(other, state="sending", size=20, **lease)
    row = await core.ask(audience="newsletter")
    await dispatcher.sizes.learn()
    assert core.sandbox.vendors.octopush.campaigns == {}
    core.now += 301 * SECOND
    await core.database.write(lambda c: take_lease(c, "quote:octo", "a", 0.0, core.now))
    if taken == "a campaign":
        await core.edit(other, state="sent", owner=None, lease_until=None)
    await dispatcher.sizes.learn()
    assert (await core.row(row.id)).size == 20
    assert await core.database.read(lambda c: lease_holder(c, "quote:octo", core.now)) is None  # free at once


@pytest.mark.parametrize("contacts", [None, UNREADABLE])
async def test_a_quote_that_tells_a_cost_and_no_size_tells_the_cost(
    make_core: MakeCore, monkeypatch: pytest.MonkeyPatch, contacts: int | None
) -> None:
    core = make_core(**{"audiences.clients.max_size": 500, "approval.rules": TWO_FOR_MANY["approval.rules"]})
    account = core.providers["encom"]
    costs = iter(map(Decimal, (900, 900, 950, 990)))

    async def quote(_: Message) -> Quote:
        return Quote(contacts, next(costs), "EUR")

    monkeypatch.setattr(account, "capabilities", dataclasses.replace(account.capabilities, sizes=False, quotes=True))
    monkeypatch.setattr(account, "quote", quote)
    row, dispatcher = await core.ask(), core.dispatcher("a")
    assert row.quorum == 2

    async def asked() -> Broadcast:
        await dispatcher.sizes.learn()
        core.now += 301 * SECOND
        return await core.row(row.id)

    first, same, dearer = [await asked() for _ in range(3)]
    assert [(one.size, one.quoted, one.quorum) for one in (first, dearer)] == [
        (None, "900 EUR", 2),
        (None, "950 EUR", 2),
    ]
    assert same.revision == first.revision
    for number in (0, 1):
        await core.workflow.act(TEAM, row.id, Approve(), person=approver(number), version=1)
    agreed = await asked()
    assert (agreed.state, agreed.quoted) == (State.SCHEDULED, "950 EUR")


async def test_a_quote_that_tells_a_size_and_no_cost_tells_the_size(make_core: MakeCore) -> None:
    core = make_core(**{"accounts.octo.quote": True})
    body = {"number_of_contacts": 20, "status": "ready_to_be_sent"}
    core.sandbox.vendors.faults.add("octopush.status", "error", times=100, status=200, body=body)
    row = await core.ask(audience="newsletter")
    await core.dispatcher("a").sizes.learn()
    told = await core.row(row.id)
    assert (told.size, told.quoted) == (20, None)


async def test_a_quote_without_a_readable_size_tells_none(make_core: MakeCore) -> None:
    core = make_core(**{"accounts.octo.quote": True})
    body = {"number_of_contacts": "many", "cost": 2.58, "status": "ready_to_be_sent"}
    core.sandbox.vendors.faults.add("octopush.status", "error", times=100, status=200, body=body)
    row = await core.ask(audience="newsletter")
    await core.dispatcher("a").sizes.learn()
    assert (await core.row(row.id)).size is None
    assert [campaign.state for campaign in core.sandbox.vendors.octopush.campaigns.values()] == ["cancelled"]


async def test_a_size_that_cannot_be_read_any_more_is_not_listed(core: Core) -> None:
    listed = AudienceCache(core.providers, core.settings.audiences)
    await listed.refresh()
    assert listed.size_of("clients") == 2
    core.sandbox.vendors.faults.add("encom.recipients", "error", times=100, status=200, body={"message": "x"})
    listed = AudienceCache(core.providers, core.settings.audiences)
    await listed.refresh()
    assert listed.size_of("clients") is None
    assert listed.size_of("staff") == 12


async def test_an_audience_that_was_renamed_keeps_nobody_from_learning_the_other_sizes(make_core: MakeCore) -> None:
    was = make_core()
    first, second_one = await was.ask(), await was.ask(audience="everyone")
    now = make_core()
    kept = {name: audience for name, audience in now.settings.audiences.items() if name != "clients"}
    now.audiences = dataclasses.replace(now.audiences, settings=now.settings.model_copy(update={"audiences": kept}))
    now.workflow = now.workflow_over(now.database)
    await now.dispatcher("a").sizes.learn()
    assert (await now.row(first.id)).size is not None
    assert (await now.row(second_one.id)).size == 10000


@pytest.mark.parametrize("sends", ["the same", "another"])
async def test_what_a_process_left_open_when_it_died_over_a_quote_is_thrown_away_and_blocks_nobody(
    make_core: MakeCore, monkeypatch: pytest.MonkeyPatch, sends: str
) -> None:
    core = make_core(**{"accounts.octo.quote": True})
    quoted, dead = await core.ask(audience="newsletter"), core.dispatcher("dead")
    monkeypatch.setattr(dead.stager, "_recalled", gone)
    asking = asyncio.create_task(dead.sizes.learn())
    campaigns = core.sandbox.vendors.octopush.campaigns
    await until(lambda: core.database.read(lambda c: c.execute(tables.leftovers.select()).all()))
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert [campaign.state for campaign in campaigns.values()] == ["open"]
    core.now += 400 * SECOND
    row = quoted if sends == "the same" else await core.ask(audience="vip")
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    alive = core.dispatcher("alive")
    for _ in range(3):
        await core.run(alive)
        core.now += 10 * SECOND
    assert (await core.row(row.id)).state is State.SENT
    assert [campaign.state for campaign in campaigns.values()] == ["cancelled", "sent"]


async def gone(*_: Any) -> bool:
    """Recalls nothing, like a dead process."""
    return True


async def test_a_quote_whose_campaign_cannot_be_thrown_away_is_told_all_the_same_and_tries_again(
    make_core: MakeCore,
) -> None:
    core = make_core(**{"accounts.octo.quote": True})
    quoted, dispatcher = await core.ask(audience="newsletter"), core.dispatcher("a")
    core.sandbox.vendors.faults.add("octopush.cancel", "error", status=503)
    await dispatcher.sizes.learn()
    (campaign,) = core.sandbox.vendors.octopush.campaigns.values()
    assert ((await core.row(quoted.id)).size, campaign.state) == (20, "open")
    await core.run(dispatcher)
    assert campaign.state == "cancelled"
    assert await core.database.read(lambda c: c.execute(tables.leftovers.select()).all()) == []


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


async def all_notes(core: Core) -> list[str]:
    rows = await core.database.read(lambda c: c.execute(in_order(tables.notes)).mappings().all())
    return [row["sentence"]["template"] for row in rows]


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


async def test_what_is_held_and_nobody_decides_about_ends(core: Core) -> None:
    row = await core.approved()
    core.now += 601 * SECOND
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).state is State.HELD
    core.now += 25 * 3600 * SECOND
    await core.workflow.expire()
    assert (await core.row(row.id)).state is State.EXPIRED
    assert core.sandbox.vendors.ledger == []


async def test_a_held_one_whose_approver_has_left_needs_another(core: Core) -> None:
    row = await core.approved()
    core.now += 601 * SECOND
    await core.run(core.dispatcher("a"))
    core.gone = {APPROVERS[0]}
    await core.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).state is State.PENDING
    assert core.sandbox.vendors.ledger == []
    await core.workflow.act(TEAM, row.id, Approve(), person=approver(1), version=1)
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).state is State.SENT


async def test_only_an_admin_pauses_everything_and_it_holds_until_somebody_says_more(make_core: MakeCore) -> None:
    core = make_core(admins=["U0OPS"])
    ops = dataclasses.replace(CLEO, id="U0OPS")
    with pytest.raises(NotAllowed):
        await core.workflow.pause_all(CLEO, on=True)
    row = await core.approved()
    assert await core.workflow.pause_all(ops, on=True) == 0
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).hold is Hold.PAUSED
    assert (await core.database.read(lambda c: stops(c, core.now))).paused == {TEAM}
    assert await core.workflow.pause_all(ops, on=False) == 1
    await core.run(core.dispatcher("a"))
    assert core.sandbox.vendors.ledger == []  # only a hold for the sending hours ends by itself
    await core.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    await core.run(core.dispatcher("a"))
    assert len(core.sandbox.vendors.ledger) == 1
    told = await core.database.read(lambda c: [(step["actor"], step["action"]) for step in audit.audit_since(c, 0)])
    assert {("U0CLEO", "pause_all_refused"), ("U0OPS", "pause_all"), ("U0OPS", "resume_all")} <= set(told)


class _Shared:
    """Presents any database as one that several machines share."""

    exclusive = False

    def __init__(self, database: Database) -> None:
        self._database = database

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)


async def test_leases_are_judged_by_the_databases_clock(make_core: MakeCore, database: Database) -> None:
    """A machine whose clock runs ninety seconds ahead takes nothing away from one that is working."""
    core = make_core()
    row = await core.approved()
    shared = cast(Database, _Shared(database))
    runtime = dataclasses.replace(core.runtime, database=shared, owner="ahead", clock=lambda: core.now + 400 * SECOND)
    first, ahead = core.dispatcher("first"), Dispatcher(runtime, core.workflow)
    _, (claimed,) = await database.write(first.claims.claim_due_work)
    await ahead.tick()
    assert (await core.row(row.id)).owner == "first"
    await first.releaser.send(claimed)
    assert len(core.sandbox.vendors.ledger) == 1


async def test_another_process_hears_that_something_changed(second: Database, core: Core) -> None:
    if core.database.exclusive:
        pytest.skip("on SQLite there is nobody else")
    heard = asyncio.Event()
    await second.listen(heard.set)
    async with asyncio.timeout(LONG):
        await heard.wait()  # connecting counts as a hint
        heard.clear()
        await core.database.notify_peers()
        await heard.wait()


# --- the store -------------------------------------------------------------------------------------------------------


async def test_every_step_of_a_life_is_in_the_audit_with_its_digest(core: Core) -> None:
    row = await core.approved()
    await core.run(core.dispatcher("a"))
    steps = await core.database.read(lambda c: [dict(step) for step in audit.history(c, TEAM, row.id)])
    assert [step["action"] for step in steps] == ["submit", "approve", "start", "release", "accept"]
    assert {step["digest"] for step in steps} == {row.digest}
    assert steps[1]["actor"] == APPROVERS[0]


# --- backup and restore ----------------------------------------------------------------------------------------------


async def everything(database: Database) -> dict[str, int]:
    found = tables.metadata.sorted_tables
    return await database.read(lambda c: {t.name: len(c.execute(t.select()).all()) for t in found})


async def test_after_a_restore_nothing_goes_by_itself(core: Core, tmp_path: Path) -> None:
    waiting, due, going, gone = await core.ask(), await core.approved(), await core.approved(), await core.approved()
    await core.edit(going, state="sending", phase="releasing", owner="a", attempt=1, lease_until=core.now + SECOND)
    await core.edit(gone, state="sent", ids=["7"], due=None)
    file = tmp_path / "backup.gz"
    count = await core.database.read(lambda c: write_backup(c, file, core.now))
    before = await everything(core.database)
    assert sum(before.values()) == count
    assert file.stat().st_mode & 0o077 == 0

    await core.run(core.dispatcher("a"))  # it goes out, and then the disk is lost
    assert len(core.sandbox.vendors.ledger) == 1
    with pytest.raises(NotEmpty):
        await core.database.write(lambda c: restore_backup(c, file, core.now))
    await core.database.write(lambda c: restore_backup(c, file, core.now, force=True))

    await core.run(core.dispatcher("b"))
    assert len(core.sandbox.vendors.ledger) == 1
    rows = [await core.row(row.id) for row in (waiting, due, going, gone)]
    assert [row.state for row in rows] == [State.HELD, State.HELD, State.UNKNOWN, State.SENT]
    assert [row.hold for row in rows[:2]] == [Hold.RESTORED, Hold.RESTORED]
    assert rows[3].ids == ("7",)

    await core.workflow.act(TEAM, due.id, SendNow(), person=CLEO, version=1)
    await core.workflow.act(TEAM, waiting.id, SendNow(), person=CLEO, version=1)
    await core.run(core.dispatcher("b"))
    assert (await core.row(due.id)).state is State.SENT  # a person decided so, and its approval still covers its bytes
    assert (await core.row(waiting.id)).state is State.PENDING  # nobody ever approved this one
    assert len(core.sandbox.vendors.ledger) == 2


async def test_what_was_restored_waits_for_a_person_until_its_own_time(core: Core, tmp_path: Path) -> None:
    later = core.now + 40 * 24 * HOUR
    near, far = await core.approved(), await core.approved(send_at=later)
    file = tmp_path / "backup.gz"
    await core.database.read(lambda c: write_backup(c, file, core.now))
    await core.database.write(lambda c: restore_backup(c, file, core.now, force=True))
    core.now += 30 * 24 * HOUR
    await core.workflow.expire()
    assert [(await core.row(row.id)).state for row in (near, far)] == [State.EXPIRED, State.HELD]
    core.now = later
    await core.workflow.expire()
    assert (await core.row(far.id)).state is State.EXPIRED


async def test_a_backup_goes_from_any_database_into_any_other(core: Core, tmp_path: Path, postgres: Any) -> None:
    await core.run(core.dispatcher("a"))
    row = await core.approved()
    file = tmp_path / "backup.gz"
    await core.database.read(lambda c: write_backup(c, file, core.now))
    with new_postgres(postgres) as url:
        for other in (open_database(f"sqlite:///{tmp_path}/other.db", LONG), open_database(url, LONG)):
            await other.write(lambda c: restore_backup(c, file, core.now))
            there = await other.read(lambda c: broadcasts.find(c, TEAM, row.id))
            assert (there.text, there.digest, there.hold) == (row.text, row.digest, Hold.RESTORED)
            assert await other.read(schema.schema_revision) == tables.REVISION
            await other.write(lambda c: audit.write_event(c, TEAM, "U", "x", "y", 1))  # its numbering continues
            await other.close()


@pytest.mark.parametrize("spoil", ["cut", "words", "empty", "another"])
async def test_what_is_no_whole_backup_changes_nothing(core: Core, tmp_path: Path, spoil: str) -> None:
    await core.ask()
    file = tmp_path / "backup.gz"
    await core.database.read(lambda c: write_backup(c, file, core.now))
    whole = file.read_bytes()
    bad = {"cut": whole[:-40], "words": b"hello", "empty": b"", "another": gzip.compress(b'{"a": 1}\n{"b": 2}\n')}
    file.write_bytes(bad[spoil])
    before = await everything(core.database)
    with pytest.raises(NotABackup):
        await core.database.write(lambda c: restore_backup(c, file, core.now, force=True))
    assert await everything(core.database) == before


# --- questions before a broadcast goes out ---------------------------------------------------------------------------

SLIP = 'Votre rdv est confirme at="demain 9h"'


def request(text: str = SLIP, **changes: Any) -> BroadcastRequest:
    given: dict[str, Any] = {"audience": "staff", "purpose": Purpose.TRANSACTIONAL, "zone": "Europe/Paris"}
    return BroadcastRequest(workspace=TEAM, requester="U0CLEO", channel="C1", text=text, **(given | changes))


async def submitted_from(core: Core, form: str, trigger: str, text: str = SLIP, **changes: Any) -> Submitted:
    asked = request(text, **changes.pop("about", {}))
    return await core.workflow.submit(asked, key=f"view:{form}", person=CLEO, sent=Sent(form, trigger), **changes)


async def test_what_may_be_a_slip_is_kept_and_asked_about_and_its_draft_is_the_yes(core: Core) -> None:
    """C5: nothing goes out before the person has read the question."""
    kept = await core.workflow.submit(request(), key="k", person=CLEO)
    assert (kept.broadcast.state, len(kept.questions)) == (State.DRAFT, 1)
    await core.run(core.dispatcher("a"))
    assert core.sandbox.vendors.ledger == []

    meant = await submitted_from(core, "V1", "t1", draft=kept.broadcast.id)
    assert (meant.broadcast.id, meant.broadcast.state, meant.questions) == (kept.broadcast.id, State.SCHEDULED, ())
    await core.run(core.dispatcher("a"))
    assert [sent.text for sent in core.sandbox.vendors.ledger] == [SLIP]


@pytest.mark.parametrize(
    "changes",
    [
        {"text": f"{SLIP}!"},
        {"text": "Le rdv sender=Bell"},
        {"about": {"audience": "newsletter"}},
        {"about": {"purpose": Purpose.MARKETING}},
    ],
)
async def test_other_words_than_those_of_the_draft_are_asked_about_anew(core: Core, changes: dict[str, Any]) -> None:
    """C5"""
    kept = await core.workflow.submit(request(), key="k", person=CLEO)
    with pytest.raises(Questioned):
        await submitted_from(core, "V1", "t1", draft=kept.broadcast.id, **changes)
    assert (await core.row(kept.broadcast.id)).state is State.DRAFT


async def test_without_a_slip_a_draft_is_simply_sent(core: Core) -> None:
    kept = await core.workflow.submit(request(), key="k", person=CLEO)
    better = await submitted_from(core, "V1", "t1", "Votre rdv est confirme", draft=kept.broadcast.id)
    assert (better.broadcast.state, better.broadcast.typed) == (State.SCHEDULED, "Votre rdv est confirme")


async def test_a_form_is_asked_once_and_the_same_words_again_are_the_yes(core: Core) -> None:
    """C5"""
    with pytest.raises(Questioned) as asked:
        await submitted_from(core, "V1", "t1")
    assert str(asked.value.complaints[0].sentence).endswith("Submit again to send it as it is.")
    with pytest.raises(Questioned):
        await submitted_from(core, "V1", "t2", "Autre rdv at=demain")
    with pytest.raises(Questioned):
        await submitted_from(core, "V2", "t3")
    assert await core.database.read(lambda c: broadcasts.latest(c, TEAM, 10)) == []

    assert (await submitted_from(core, "V1", "t4", f"{SLIP} ")).broadcast.state is State.SCHEDULED
    assert (await submitted_from(core, "V1", "t4")).again


async def test_a_submit_that_slack_brings_twice_is_no_yes(core: Core) -> None:
    """C5: nobody has read anything between two deliveries of one submit."""
    for _ in range(3):
        deliveries = [submitted_from(core, "V1", "t1") for _ in range(2)]
        told = await asyncio.gather(*deliveries, return_exceptions=True)
        assert [type(one) for one in told] == [Questioned, Questioned]
    assert await core.database.read(lambda c: broadcasts.latest(c, TEAM, 10)) == []
    assert not (await submitted_from(core, "V1", "t2")).again


async def test_where_something_is_wrong_that_is_told_and_nothing_is_asked(core: Core) -> None:
    """C5: a complaint wins."""
    with pytest.raises(InvalidRequest) as told:
        await core.workflow.submit(request(sender="Bell"), key="k", person=CLEO)
    assert [complaint.field for complaint in told.value.complaints] == ["sender"]
    assert not isinstance(told.value, Questioned)


async def test_the_same_command_again_asks_again_and_keeps_one_draft(core: Core) -> None:
    first, second = [await core.workflow.submit(request(), key=key, person=CLEO) for key in ("a", "b")]
    assert (second.again, second.broadcast.id, second.questions) == (True, first.broadcast.id, first.questions)
    brought_again = await core.workflow.submit(request(), key="a", person=CLEO)
    assert (brought_again.again, brought_again.questions) == (True, first.questions)


async def test_a_form_of_its_own_that_says_the_same_completes_the_draft(core: Core) -> None:
    """The draft was only kept, so the form must not be answered with "you asked for that already"."""
    kept = await core.workflow.submit(request(), key="k", person=CLEO)
    with pytest.raises(Questioned):
        await submitted_from(core, "V1", "t1")
    sent = await submitted_from(core, "V1", "t2")
    assert (sent.again, sent.broadcast.id, sent.broadcast.state) == (False, kept.broadcast.id, State.SCHEDULED)


async def test_what_was_asked_is_remembered_over_a_restart_under_a_name_that_holds_no_text(
    core: Core, make_core: MakeCore
) -> None:
    with pytest.raises(Questioned):
        await submitted_from(core, "V" * 200, "t1")
    keys = await core.database.read(lambda c: list(c.execute(tables.seen.select()).mappings()))
    assert all(len(row["key"]) < 100 and "rdv" not in row["key"] for row in keys)
    later = make_core()
    later.count = 1
    assert (await submitted_from(later, "V" * 200, "t2")).broadcast.state is State.SCHEDULED


ASKED = {
    "Bonjour {ville}": (
        "clients",
        "marketing",
        "“{ville}” looks like a placeholder, but Encom sends it exactly as written",
    ),
    "Bonjour [PRENOM]": ("newsletter", "marketing", "It fills in: {first_name}"),
    "Bonjour {{first_name}}": ("newsletter", "marketing", "“{{first_name}}” looks like a placeholder"),
    "Bonjour %nom%": ("staff", "marketing", "Write the words themselves"),
    "Code XXXXX": ("newsletter", "marketing", "Octopush replaces every “XXXXX” with its short code"),
    "Rdv demain STOP AU 36111": ("clients", "transactional", "may be taken for marketing"),
    "Rdv demain, STOP au 36111": ("clients", "transactional", "may be taken for marketing"),
}


@pytest.mark.parametrize("text", ASKED)
async def test_what_looks_like_a_slot_or_muddles_the_purpose_is_asked_about(core: Core, text: str) -> None:
    """C14"""
    audience, purpose, told = ASKED[text]
    kept = await core.workflow.submit(request(text, audience=audience, purpose=purpose), key="k", person=CLEO)
    assert kept.broadcast.state is State.DRAFT
    assert [told in str(question.sentence) for question in kept.questions] == [True]


FOREIGN = {
    "Bonjour {first_name}": ("clients", "Encom does not fill in “{first_name}”. It fills in: %%name%%."),
    "Bonjour %%name%%": ("newsletter", "Octopush does not fill in “%%name%%”. It fills in: {first_name}"),
    "Bonjour {PARAM1}": ("staff", "Kaizala does not fill in “{PARAM1}” or any other placeholder."),
    "Bonjour %%nom%%": ("clients", "Encom does not fill in “%%nom%%”. It fills in: %%name%%."),
}


@pytest.mark.parametrize("text", FOREIGN)
async def test_what_another_vendor_would_fill_in_is_refused_with_what_this_one_knows(core: Core, text: str) -> None:
    """C14"""
    audience, told = FOREIGN[text]
    with pytest.raises(InvalidRequest) as refused:
        await core.workflow.submit(request(text, audience=audience), key="k", person=CLEO)
    assert str(refused.value.complaints[0].sentence).startswith(told)


@pytest.mark.parametrize("text", ["-20% sur tout, 100% coton", "[Info] Rdv à 9h :-)", "XXXXX", "STOP au gaspillage"])
async def test_ordinary_texts_are_asked_nothing(core: Core, text: str) -> None:
    """C14, C15"""
    assert (await core.ask(text=text)).state is State.PENDING


async def test_a_vendor_that_replaces_its_mention_gets_the_text_with_the_one_of_the_mention(
    make_core: MakeCore,
) -> None:
    core = make_core(**{"accounts.octo.stop_mention": "STOP au XXXXX"})
    assert (await core.ask(audience="newsletter", text="Soldes")).text == "Soldes STOP au XXXXX"
    assert (await core.ask(audience="newsletter", text="Code XXXXX")).state is State.DRAFT


async def test_a_decomposed_text_is_approved_counted_and_sent_composed_and_kept_as_typed(core: Core) -> None:
    """C16"""
    typed = unicodedata.normalize("NFD", "Votre séance est à midi " + "é" * 100)
    row = await core.approved(text=typed)
    assert (row.typed, row.text) == (typed, unicodedata.normalize("NFC", typed) + " STOP AU 36111")
    assert measure(row.text).segments == 1
    await core.run(core.dispatcher("a"))
    assert [sent.text for sent in core.sandbox.vendors.ledger] == [row.text]


async def test_a_decomposed_text_is_as_long_as_it_looks(core: Core) -> None:
    assert (await core.ask(text="e\u0301" * 800)).state is State.PENDING


@pytest.mark.parametrize("name", ["sender", "campaign"])
async def test_a_name_that_no_form_would_take_is_refused_on_every_road(core: Core, name: str) -> None:
    """C30"""
    with pytest.raises(InvalidRequest) as refused:
        await core.ask(audience="newsletter", **{name: "x" * 120})
    first = refused.value.complaints[0]
    assert (first.field, "This one has 120" in str(first.sentence)) == (name, True)
