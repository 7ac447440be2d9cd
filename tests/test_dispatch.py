"""The dispatcher when the database goes away under it, when it is held up, and when one account has a flood."""

from __future__ import annotations

import asyncio
import dataclasses
import hmac
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Connection, event, func, select

from bot.app import Bot
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND
from bot.domain.errors import NotUnderstood, StaleVersion
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Action, Hold, Phase, State
from bot.scheduler import Task
from bot.sending.claims import ACCOUNT_AT_ONCE
from bot.sending.dispatcher import Dispatcher
from bot.sending.outcomes import MAX_TRIES, Nothing
from bot.sending.receipts import _Batch
from bot.storage import audit, broadcasts, campaigns, cards, keys, tables, vendor_ids
from bot.storage.database import PATIENCE, CommitUncertain, Database, DatabaseBusy, OutOfOrder
from bot.storage.engines import open_database
from bot.storage.postgres import Postgres
from bot.storage.schema import upgrade
from bot.storage.sqlite import SQLite
from bot.workflow.decision_types import Approve, MarkNotSent, SendNow
from providers.base import Accepted, DeliveryStatus, Evidence, Receipt, Refused, Throttled
from sandbox.server import Sandbox
from tests.support import proxy
from tests.support.core import CLEO, TEAM, Core, MakeCore, approver, decision, gate, later
from tests.support.ground import new_postgres
from tests.support.patience import LONG, until, within
from tests.support.proxy import COMMIT, Proxy
from tests.support.rows import fill

NEVER = 10**6
SHORT = 0.2  # seconds given to what must not happen; the tests wait for what must


@pytest.fixture
async def far(postgres: Any, sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[Far]:
    with new_postgres(postgres) as url:
        async with Proxy(postgres) as proxy:
            direct, distant = open_database(url, LONG), open_database(proxy.url(url))
            assert isinstance(distant, Postgres)
            await direct.write(upgrade, patience=None)
            core = Core(direct, sandbox, tmp_path)
            yield Far(core, distant, proxy)
            await proxy.shut()
            await core.close()
            await direct.close()
            await distant.close()


class Far:
    """A dispatcher whose connection to PostgreSQL can be cut; everybody else connects directly."""

    def __init__(self, core: Core, distant: Postgres, proxy: Proxy) -> None:
        self.core, self.distant, self.proxy = core, distant, proxy
        self.dispatcher = core.dispatcher("far", distant)
        self.near = core.dispatcher("near")
        self.answers = asyncio.Event()

    @property
    def ledger(self) -> int:
        return len(self.core.sandbox.vendors.ledger)

    async def releasing(self) -> tuple[Broadcast, asyncio.Future[Any]]:
        """Start a send and wait until its request reaches the vendor, which answers once `answers` is set.

        Returns the row and a future of the end of the send.
        """
        self.core.sandbox.vendors.faults.add("encom.release", "slow", until=self.answers)
        row = await self.core.approved()
        await self.dispatcher.tick()
        ending = asyncio.gather(*self.dispatcher.running)
        await until(lambda: any(seen.method == "POST" for seen in self.core.sandbox.vendors.office.requests))
        return row, ending

    async def answered(self) -> None:
        """Let the vendor answer, and give this process time to receive the answer."""
        self.answers.set()
        await until(lambda: self.ledger or self.core.sandbox.vendors.encom.token == "another")
        await asyncio.sleep(SHORT)

    async def given_up(self, row: Broadcast) -> None:
        """Cut the connection, let the lease lapse, and let another process find the broadcast."""
        await self.proxy.shut()
        self.core.now += 60 * SECOND
        await self.near.tick()
        assert (await self.core.row(row.id)).state is State.UNKNOWN

    async def told(self, row: Broadcast) -> list[str]:
        """Return the sentences of its thread's notes."""
        where = tables.notes.c.broadcast == row.id
        statement = select(tables.notes.c.sentence).where(where).order_by(tables.notes.c.seq)
        found = await self.core.database.read(lambda c: c.execute(statement).scalars().all())
        return [str(sentence["template"]) for sentence in found]

    async def settled(self) -> None:
        """Tick until nothing is under way, however long the database takes."""
        for _ in range(3):
            try:
                await self.dispatcher.tick()
            except (DatabaseBusy, CommitUncertain):
                continue
            await asyncio.gather(*self.dispatcher.running)


# --- an answer that comes late (K3) ----------------------------------------------------------------------------------


async def test_an_acceptance_that_is_written_after_the_lease_lapsed_proves_that_it_went_out(far: Far) -> None:
    row, ending = await far.releasing()
    await far.given_up(row)
    await far.answered()
    assert (far.ledger, (await far.core.row(row.id)).state) == (1, State.UNKNOWN)
    await far.proxy.open()
    await ending
    proven = await far.core.row(row.id)
    assert (proven.state, proven.ids, proven.failure) == (State.SENT, ("22", "23"), None)
    assert proven.accepted_at is not None
    assert await far.core.database.read(lambda c: vendor_ids.owner_of(c, "encom", "23")) == (TEAM, row.id)
    assert (await far.core.actions(row))[-2:] == ["lose_track", "prove"]
    assert "I could not save its answer in time. Ids: {ids}" in (await far.told(row))[-1]
    assert far.ledger == 1


async def test_a_refusal_that_is_written_late_is_told_and_an_approver_ends_it(far: Far) -> None:
    row, ending = await far.releasing()
    far.core.sandbox.vendors.encom.token = "another"
    await far.given_up(row)
    await far.answered()
    await far.proxy.open()
    await ending
    assert (await far.core.row(row.id)).state is State.UNKNOWN  # only a person may end it
    assert (await far.told(row))[-1].startswith("The answer came late: {cause} This means that it did not go out.")
    assert (await far.core.actions(row))[-1] == "refuse_late"
    ended = await far.core.workflow.act(TEAM, row.id, MarkNotSent(), person=approver(1), version=1)
    assert (ended.state, far.ledger) == (State.FAILED, 0)


async def test_an_answer_that_is_late_is_told_once_however_often_it_is_written(make_core: MakeCore) -> None:
    core = make_core()
    row, dispatcher = await core.approved(), core.dispatcher("a")
    await core.edit(row, state=State.UNKNOWN, attempt=1)
    tried = dataclasses.replace(await core.row(row.id), state=State.SENDING)
    for accepted in (False, False, True, True):
        outcome = Accepted(("22",)) if accepted else Nothing(Refused("No credit left.", code="402"))
        await core.database.write(partial(dispatcher.releaser.outcomes.write_outcome, row=tried, outcome=outcome))
    said = await core.database.read(lambda c: c.execute(select(tables.notes.c.sentence)).scalars().all())
    late = [one["template"] for one in said if "late" in one["template"] or "did accept" in one["template"]]
    assert [one[:20] for one in late] == ["The answer came late", "{vendor} did accept "]
    proven = await core.row(row.id)
    assert (proven.state, proven.ids, proven.accepted_at) == (State.SENT, ("22",), core.now)


@pytest.mark.parametrize(
    ("said", "by", "ends"),
    [(Action.MARK_NOT_SENT, approver(1), State.FAILED), (Action.MARK_SENT, CLEO, State.SENT)],
    ids=["not sent", "sent"],
)
async def test_an_acceptance_after_a_person_has_spoken_brings_the_ids_and_is_told(
    far: Far, said: Action, by: Any, ends: State
) -> None:
    row, ending = await far.releasing()
    await far.given_up(row)
    await far.core.workflow.act(TEAM, row.id, decision(said), person=by, version=1)
    await far.answered()
    await far.proxy.open()
    await ending
    now = await far.core.row(row.id)
    assert (now.state, now.ids) == (ends, ("22", "23"))
    assert (now.failure is None) is (ends is State.SENT)  # the vendor's word is better than a person's
    assert "did accept it" in (await far.told(row))[-1]
    assert (await far.core.actions(row))[-1] == "accept_late"


async def test_news_of_what_a_person_said_had_not_gone_out_is_told_aloud_once_to_them_and_the_requester(
    make_core: MakeCore,
) -> None:
    core = make_core()
    core.sandbox.vendors.faults.add("encom.release", "reset", accept=True)
    row = await core.approved()
    await core.run(core.dispatcher("a"))
    await core.workflow.act(TEAM, row.id, MarkNotSent(), person=approver(1), version=1)
    for number in (22, 23, 22):
        news = [Receipt(str(number), DeliveryStatus.SENT, "OK")]
        await core.tracker().record("encom", news, (TEAM, row.id))
    statement = select(tables.notes).where(tables.notes.c.broadcast == row.id).order_by(tables.notes.c.seq)
    notes = (await core.database.read(lambda c: c.execute(statement).mappings().all()))[-1:]
    assert [(note["mention"], note["aloud"]) for note in notes] == [(f"U0CLEO {approver(1).id}", True)]
    assert notes[0]["sentence"]["template"].startswith("The vendor reports deliveries, so it did go out, although")
    assert [note["sentence"]["values"]["ids"] for note in notes] == ["22"]
    assert (await core.actions(row)).count("report_late") == 1
    assert (await core.row(row.id)).state is State.FAILED  # a person's word stays; a note reports what happened


async def test_a_database_that_is_away_for_a_while_during_a_send_gets_the_answer_when_it_is_back(far: Far) -> None:
    row, ending = await far.releasing()
    await far.proxy.shut()
    await far.answered()
    await asyncio.sleep(PATIENCE + 0.6)
    await far.proxy.open()
    await ending
    assert (await far.core.row(row.id)).state is State.SENT
    assert (await far.core.actions(row))[-1] == "accept"


# --- a commit that is in doubt (B7) ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["before", "after", "silence"])
async def test_an_intent_whose_commit_is_in_doubt_is_looked_up_before_anything_leaves(far: Far, how: Any) -> None:
    row = await far.core.approved()
    far.proxy.cut(b"INSERT INTO dispatches", COMMIT, how=how)
    await far.settled()
    assert far.proxy.done == 1
    assert ((await far.core.row(row.id)).state, far.ledger) == (State.SENT, 1)
    steps = await far.core.actions(row)
    assert (steps.count("release"), steps.count("accept")) == (1, 1)


async def test_an_intent_that_cannot_be_looked_up_in_time_sends_nothing(far: Far) -> None:
    row = await far.core.approved()
    far.proxy.cut(b"INSERT INTO dispatches", COMMIT, how="after")
    await far.dispatcher.tick()
    await until(lambda: far.proxy.done)
    await far.proxy.shut()
    far.core.steady = 60  # longer than the release's own deadline
    assert ((await far.core.row(row.id)).phase, far.ledger) == (Phase.RELEASING, 0)
    await far.proxy.open()
    await asyncio.gather(*far.dispatcher.running)
    back = await far.core.row(row.id)
    assert (back.state, back.owner, far.ledger) == (State.SCHEDULED, None, 0)  # nothing left, and this process knows it
    far.core.now += 3 * SECOND
    await far.settled()
    assert ((await far.core.row(row.id)).state, far.ledger) == (State.SENT, 1)


@pytest.mark.parametrize("how", ["before", "after"])
async def test_a_claim_whose_commit_is_in_doubt_starts_over_at_once(far: Far, how: Any) -> None:
    row = await far.core.approved()
    far.proxy.cut(b"staging", COMMIT, how=how)
    with pytest.raises(CommitUncertain):
        await far.dispatcher.tick()
    assert far.dispatcher.running == set()
    await far.settled()
    assert ((await far.core.row(row.id)).state, far.ledger) == (State.SENT, 1)


@pytest.mark.parametrize("how", ["before", "after"])
async def test_an_answer_whose_commit_is_in_doubt_is_written_once(far: Far, how: Any) -> None:
    row = await far.core.approved()
    far.proxy.cut(b"accepted it", COMMIT, how=how)
    await far.settled()
    assert far.proxy.done == 1
    assert (await far.core.row(row.id)).ids == ("22", "23")
    assert (await far.core.actions(row)).count("accept") == 1
    assert sum("accept" in template for template in await far.told(row)) == 1


@pytest.mark.parametrize("how", ["before", "after"])
async def test_an_approval_whose_commit_is_in_doubt_is_given_again_and_counts_once(far: Far, how: Any) -> None:
    row = await far.core.ask()
    far.core.workflow = far.core.workflow_over(far.distant)
    far.proxy.cut(b"INSERT INTO votes", COMMIT, how=how)
    with pytest.raises(CommitUncertain):
        await far.core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    again = far.core.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)
    (outcome,) = await asyncio.gather(again, return_exceptions=True)
    assert isinstance(outcome, Broadcast if how == "before" else StaleVersion)
    await far.settled()
    assert ((await far.core.actions(row)).count("approve"), far.ledger) == (1, 1)


@pytest.mark.parametrize("how", ["before", "after"])
async def test_a_request_whose_commit_is_in_doubt_is_made_again_and_is_one(far: Far, how: Any) -> None:
    far.core.workflow = far.core.workflow_over(far.distant)
    far.proxy.cut(b"INSERT INTO broadcasts", COMMIT, how=how)
    with pytest.raises(CommitUncertain):
        await far.core.ask()
    far.core.count -= 1  # the same form, so the same key
    row = await far.core.ask()
    everything = await far.core.database.read(lambda c: broadcasts.latest(c, TEAM, 10))
    assert [found.id for found in everything] == [row.id]


# --- every connection is taken (B8) ----------------------------------------------------------------------------------


async def test_a_send_waits_while_every_connection_is_taken_and_goes_once(far: Far) -> None:
    row = await far.core.approved()
    far.core.sandbox.vendors.faults.add("encom.recipients", "slow", until=far.answers)
    await far.dispatcher.tick()
    async with AsyncExitStack() as held:
        for _ in range(20):
            await held.enter_async_context(far.distant.engine.connect())
        far.answers.set()
        await asyncio.sleep(PATIENCE + 0.6)
        assert far.ledger == 0
    await asyncio.gather(*far.dispatcher.running)
    await far.settled()
    assert ((await far.core.row(row.id)).state, far.ledger) == (State.SENT, 1)


async def test_what_was_prepared_while_the_database_was_away_is_kept_and_not_made_twice(far: Far) -> None:
    core = far.core
    core.sandbox.vendors.faults.add("octopush.create", "slow", until=far.answers)
    row = await core.approved(audience="newsletter")
    await far.dispatcher.tick()
    await until(lambda: core.sandbox.vendors.office.requests)
    await far.proxy.shut()
    far.answers.set()
    await until(lambda: core.sandbox.vendors.octopush.campaigns)
    await asyncio.sleep(PATIENCE + 0.6)
    assert (await core.row(row.id)).staged is None
    await far.proxy.open()
    await asyncio.gather(*far.dispatcher.running)
    await far.settled()
    assert ((await core.row(row.id)).state, far.ledger) == (State.SENT, 1)
    assert len(core.sandbox.vendors.octopush.campaigns) == 1


async def test_an_answer_of_thousands_of_ids_is_written_in_time_however_far_the_database_is(far: Far) -> None:
    people: dict[str, str | None] = {f"+3360{number:07}": None for number in range(5000)}
    far.core.sandbox.vendors.encom.lists["1"] = ("Clients", people)
    far.proxy.delay = 0.002
    row = await far.core.approved()
    await far.settled()
    sent = await far.core.row(row.id)
    assert (sent.state, len(sent.ids)) == (State.SENT, 5000)


async def test_a_process_that_is_to_stop_waits_for_an_answer_that_is_being_written(far: Far) -> None:
    row, _ = await far.releasing()
    await far.proxy.shut()

    async def come_back() -> None:
        await far.answered()
        await asyncio.sleep(1.5)  # the process must wait this long for it
        await far.proxy.open()

    coming = asyncio.create_task(come_back())
    await far.dispatcher.stop(0.5)
    assert (await far.core.row(row.id)).state is State.SENT
    await coming


async def test_a_process_that_is_to_stop_waits_for_a_database_that_is_away_but_not_for_ever(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.sending.dispatcher.LAST_WRITE", 1.0)
    row, _ = await far.releasing()
    await far.proxy.shut()
    await far.answered()
    async with within(3):
        await far.dispatcher.stop(0.5)
    await far.proxy.open()  # back while the process still lives
    await far.core.becomes(row, State.SENT)
    assert far.ledger == 1


# --- a full disk (B2) ------------------------------------------------------------------------------------------------


async def no_room(database: SQLite) -> Callable[[], None]:
    """Fill the disk until not even an audit line fits. Returns a function that makes room again."""
    free = fill(database)
    with suppress(OutOfOrder):
        while True:
            await database.write(lambda c: audit.write_event(c, TEAM, "U", "x", None, 1))
    return free


@pytest.fixture
async def disk(tmp_path: Path, sandbox: Sandbox) -> AsyncIterator[tuple[Core, SQLite]]:
    opened = open_database(f"sqlite:///{tmp_path}/small.db", LONG)
    assert isinstance(opened, SQLite)
    await opened.write(upgrade, patience=None)
    core = Core(opened, sandbox, tmp_path)
    yield core, opened
    await core.close()
    await opened.close()


async def test_on_a_full_disk_nothing_starts_and_nobody_approves_until_there_is_room(disk: tuple[Core, SQLite]) -> None:
    core, database = disk
    row, pending = await core.approved(), await core.ask()
    free, dispatcher = await no_room(database), core.dispatcher("a")
    with pytest.raises(OutOfOrder):
        await dispatcher.tick()
    with pytest.raises(OutOfOrder):
        await core.workflow.act(TEAM, pending.id, Approve(), person=approver(0), version=1)
    assert core.sandbox.vendors.office.requests == []
    free()
    await core.run(dispatcher)
    assert ((await core.row(row.id)).state, len(core.sandbox.vendors.ledger)) == (State.SENT, 1)
    assert (await core.row(pending.id)).state is State.PENDING


async def test_a_disk_that_is_full_when_the_intent_is_to_be_written_sends_nothing(disk: tuple[Core, SQLite]) -> None:
    core, database = disk
    answers = asyncio.Event()
    core.sandbox.vendors.faults.add("encom.recipients", "slow", until=answers)
    row, dispatcher = await core.approved(), core.dispatcher("a")
    await dispatcher.tick()
    free = await no_room(database)
    answers.set()
    await asyncio.sleep(0.5)  # time for it to find no room; no byte may leave
    assert ((await core.row(row.id)).phase, core.sandbox.vendors.ledger) == (Phase.STAGING, [])
    free()
    await asyncio.gather(*dispatcher.running)
    assert ((await core.row(row.id)).state, len(core.sandbox.vendors.ledger)) == (State.SENT, 1)


# --- what a tick wakes -----------------------------------------------------------------------------------------------


def woken(dispatcher: Dispatcher) -> list[str]:
    tasks: list[str] = []
    dispatcher.wake = dispatcher.releaser.wake = lambda *names: tasks.extend(names)
    return tasks


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


# --- what a try leaves on its row ------------------------------------------------------------------------------------


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


# --- the ids in the thread -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("people", "more"), [(99, ""), (100, ""), (101, " … (+1)"), (250, " … (+150)")])
async def test_a_hundred_ids_are_told_and_how_many_more_there_are(make_core: MakeCore, people: int, more: str) -> None:
    core = make_core()
    numbers = {f"+336000{number:05d}": "Ana" for number in range(people)}
    core.sandbox.vendors.encom.lists["1"] = ("Clients", dict(numbers))
    row = await core.approved()
    await core.run(core.dispatcher("a"))
    ids = (await core.row(row.id)).ids
    assert len(ids) == people
    said = await core.database.read(lambda c: c.execute(select(tables.notes.c.sentence)).scalars().all())
    accepted = f"Encom accepted it. Ids: {', '.join(ids[:100])}{more}"
    assert [str(one) for one in map(Translatable.of, said) if "accepted it" in str(one)] == [accepted]


# --- the last moment -------------------------------------------------------------------------------------------------


def in_the_last_moment(dispatcher: Dispatcher, decision: Callable[[], object]) -> None:
    """Do something once, right after the intent was committed and before the vendor is called."""
    done: list[object] = []

    def wake(*_: str) -> None:
        if not done:
            done.append(True)
            done.append(decision())

    commit = dispatcher.releaser._commit_intent

    async def committed(row: Broadcast, deadline: float) -> Broadcast | None:
        dispatcher.releaser.wake = wake
        return await commit(row, deadline)

    dispatcher.releaser._commit_intent = committed  # type: ignore[method-assign]


async def releases(core: Core) -> int:
    return await core.database.read(lambda c: campaigns.released_since(c, TEAM, 0))


async def test_a_pause_that_is_pressed_after_the_intent_stops_the_very_next_byte(make_core: MakeCore) -> None:
    core = make_core(admins=["U0OPS"])
    dispatcher, ops = core.dispatcher("a"), dataclasses.replace(CLEO, id="U0OPS")
    core.workflow.pauses.switch = dispatcher.switch
    pressed: list[asyncio.Task[int]] = []

    def press() -> None:
        pressed.append(asyncio.create_task(core.workflow.pause_all(ops, on=True)))

    in_the_last_moment(dispatcher, press)
    row = await core.approved()
    await core.run(dispatcher)
    await asyncio.gather(*pressed)
    core.now += 3 * SECOND
    await core.run(dispatcher)
    held = await core.row(row.id)
    assert (held.state, held.hold, held.phase) == (State.HELD, Hold.PAUSED, None)
    assert core.sandbox.vendors.ledger == []
    assert [seen for seen in core.sandbox.vendors.office.requests if seen.method == "POST"] == []
    assert await releases(core) == 0  # what never left does not count under the cap
    assert (await core.database.read(lambda c: keys.breaker(c, "encom"))).failures == 0


async def test_a_pause_of_another_process_is_known_from_the_next_tick_on(make_core: MakeCore) -> None:
    core = make_core()
    dispatcher = core.dispatcher("a")
    await core.database.write(lambda c: keys.set_paused(c, TEAM, "U0OPS", core.now))
    await dispatcher.tick()
    assert dispatcher.switch.paused == {TEAM}
    await core.database.write(lambda c: keys.set_paused(c, TEAM, None, core.now))
    await dispatcher.tick()
    assert dispatcher.switch.paused == set()


async def test_one_that_was_held_up_past_its_deadline_sends_nothing_and_goes_later(make_core: MakeCore) -> None:
    core = make_core()
    dispatcher = core.dispatcher("a")

    def be_held_up() -> None:
        core.steady = 60  # longer than the account's deadline

    in_the_last_moment(dispatcher, be_held_up)
    row = await core.approved()
    await dispatcher.tick()
    await asyncio.gather(*dispatcher.running)
    back = await core.row(row.id)
    assert (back.state, back.owner, back.tries, core.sandbox.vendors.ledger) == (State.SCHEDULED, None, 0, [])
    assert back.due == core.now + 2 * SECOND
    core.now += 3 * SECOND
    await core.run(dispatcher)
    assert ((await core.row(row.id)).state, len(core.sandbox.vendors.ledger)) == (State.SENT, 1)


@pytest.mark.parametrize("error", [DatabaseBusy("locked"), CommitUncertain()])
async def test_a_database_that_takes_no_intent_for_long_makes_no_failed_try(
    make_core: MakeCore, error: Exception
) -> None:
    core, times = make_core(), 0
    dispatcher = core.dispatcher("a")
    commit = dispatcher.releaser._commit_intent

    async def away(row: Broadcast, deadline: float) -> Broadcast | None:
        nonlocal times
        times += 1
        if times <= MAX_TRIES + 1:
            raise error
        return await commit(row, deadline)

    dispatcher.releaser._commit_intent = away  # type: ignore[method-assign]
    row = await core.approved()
    for _ in range(MAX_TRIES + 2):
        await core.run(dispatcher)
        core.now += 3 * SECOND
    assert ((await core.row(row.id)).state, len(core.sandbox.vendors.ledger)) == (State.SENT, 1)
    assert await core.actions(row) == [
        "submit",
        "approve",
        *["start", "put_back"] * (MAX_TRIES + 1),
        "start",
        "release",
        "accept",
    ]


async def test_what_takes_too_long_to_prepare_is_put_back_before_its_lease_lapses(make_core: MakeCore) -> None:
    core = make_core()
    core.sandbox.vendors.faults.add("encom.recipients", "slow", until=(answers := asyncio.Event()))
    row, dispatcher = await core.approved(), core.dispatcher("a")
    dispatcher.leases.staging = 0.4
    await dispatcher.tick()
    await asyncio.gather(*dispatcher.running)  # though the vendor has not answered
    answers.set()
    back = await core.row(row.id)
    assert (back.state, back.owner, back.tries, core.sandbox.vendors.ledger) == (State.SCHEDULED, None, 1, [])


async def test_the_wait_for_the_accounts_rate_comes_before_the_intent(make_core: MakeCore) -> None:
    """A process that dies in that wait has sent nothing, so nobody has to ask."""
    core = make_core(**{"accounts.encom.requests_per_second": 1 / 6, "accounts.encom.timeout": 30})
    row, dispatcher = await core.approved(), core.dispatcher("a")
    await dispatcher.tick()
    asked = core.sandbox.vendors.office.requests
    await until(lambda: asked)  # the recipients were asked for; the next request may leave in six seconds
    for _ in range(20):
        assert (await core.row(row.id)).phase is Phase.STAGING
        await asyncio.sleep(0.05)
    await asyncio.gather(*dispatcher.running)
    assert (len(core.sandbox.vendors.ledger), [seen.method for seen in asked]) == (1, ["GET", "POST"])


# --- floods ----------------------------------------------------------------------------------------------------------


async def flood(core: Core, number: int) -> None:
    """Add so many due broadcasts, copies of an approved one."""
    like = await core.approved()

    def copy(connection: Connection) -> None:
        b, v = tables.broadcasts, tables.votes
        (row,) = connection.execute(b.select().where(b.c.id == like.id)).mappings()
        (vote,) = connection.execute(v.select().where(v.c.broadcast == like.id)).mappings()
        ids = [f"BF{count:06}" for count in range(number)]
        connection.execute(b.insert(), [{**row, "id": id, "key": id, "due": row["due"] - 1} for id in ids])
        connection.execute(v.insert(), [{**vote, "broadcast": id} for id in ids])

    await core.database.write(copy, patience=None)


async def test_a_flood_of_one_account_delays_no_other_account(make_core: MakeCore) -> None:
    core = make_core(hourly_cap=5000)
    core.sandbox.vendors.faults.add("encom.release", "slow", times=NEVER, seconds=1)
    await flood(core, 1000)
    last = await core.approved(audience="staff")
    dispatcher = core.dispatcher("a")
    async with within(2):
        await dispatcher.tick()
    accounts = [work.account for work in dispatcher.claims.under_way.values()]
    assert (accounts.count("encom"), accounts.count("kaizala")) == (ACCOUNT_AT_ONCE, 1)
    await core.becomes(last, State.SENT)
    await dispatcher.tick()
    assert len([work for work in dispatcher.claims.under_way.values() if work.account == "encom"]) <= ACCOUNT_AT_ONCE
    core.sandbox.vendors.faults.clear()
    await dispatcher.stop(10)


async def test_what_a_process_claims_while_it_is_told_to_stop_the_next_one_sends_at_once(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, stopping, write = await core.approved(), core.dispatcher("stopping"), core.database.write

    async def told_meanwhile(work: Any, **given: Any) -> Any:
        written = await write(work, **given)
        stopping.switch.stopping = True
        return written

    monkeypatch.setattr(core.database, "write", told_meanwhile)
    await stopping.tick()
    back = await core.row(row.id)
    assert (back.state, back.tries, back.owner, stopping.running) == (State.SCHEDULED, 0, None, set())
    assert (await core.actions(row))[-2:] == ["start", "put_back"]
    monkeypatch.undo()
    await core.run(core.dispatcher("next"))
    assert (await core.row(row.id)).state is State.SENT
    assert len(core.sandbox.vendors.ledger) == 1


async def test_as_soon_as_one_is_done_the_next_of_its_account_may_start(make_core: MakeCore) -> None:
    core = make_core(hourly_cap=5000)
    dispatcher, woken = core.dispatcher("a"), asyncio.Event()
    dispatcher.wake = lambda *_: woken.set()
    await flood(core, 3 * ACCOUNT_AT_ONCE - 1)
    for _ in range(200):
        woken.clear()
        await dispatcher.tick()
        if not dispatcher.running:
            break
        await woken.wait()
    assert len(core.sandbox.vendors.ledger) == 3 * ACCOUNT_AT_ONCE


async def test_what_belongs_to_an_account_that_the_settings_lack_waits_and_then_asks(make_core: MakeCore) -> None:
    core = make_core()
    row, other = await core.approved(), await core.approved()
    await core.edit(row, account="elsewhere")
    dispatcher = core.dispatcher("a")
    await core.run(dispatcher)
    assert ((await core.row(row.id)).state, (await core.row(other.id)).state) == (State.SCHEDULED, State.SENT)
    core.now += 601 * SECOND
    await core.run(dispatcher)
    held = await core.row(row.id)
    assert (held.state, held.hold) == (State.HELD, Hold.LATE)


async def test_a_policy_that_the_settings_lack_holds_one_and_not_the_others(make_core: MakeCore) -> None:
    core = make_core()
    row, other = await core.approved(), await core.approved()
    await core.edit(row, policy="gone")
    await core.run(core.dispatcher("a"))
    assert ((await core.row(row.id)).hold, (await core.row(other.id)).state) == (Hold.BLOCKED, State.SENT)


# --- breakers and questions ------------------------------------------------------------------------------------------


async def test_a_vendor_that_takes_requests_and_never_answers_is_left_alone_after_three(make_core: MakeCore) -> None:
    core = make_core(**{"accounts.encom.timeout": 1.5})
    core.sandbox.vendors.faults.add("encom.release", "stall", times=NEVER)
    rows = [await core.approved() for _ in range(8)]
    await core.run(core.dispatcher("a"))
    await core.run(core.dispatcher("b"))  # all processes share the breaker's state
    states = [(await core.row(row.id)).state for row in rows]
    assert states.count(State.UNKNOWN) <= ACCOUNT_AT_ONCE
    assert states.count(State.SCHEDULED) >= 8 - ACCOUNT_AT_ONCE
    assert list((await core.database.read(lambda c: keys.stops(c, core.now))).away) == ["encom"]


async def test_what_stands_still_is_told_to_whoever_watches_or_asks(sandbox: Sandbox, bot: Bot) -> None:
    def stop(connection: Connection) -> None:
        keys.set_paused(connection, TEAM, "U0OPS", 1)
        keys.set_breaker(connection, "encom", keys.Breaker(3, bot.clock() + 60 * SECOND), 1)

    await bot.database.write(stop)
    ready, told = await bot.ready()
    assert (ready, told["breaker:encom"]) == (True, "the vendor cannot be reached")
    assert told[f"pause:{TEAM}"] == "all sending is paused"
    listed = await sandbox.acting.command("U0DAN", "C0CAMPAIGNS", "/broadcast list") or ""
    assert "All sending is paused" in listed
    assert "I cannot reach Encom" in listed


async def test_of_an_unknown_one_two_processes_ask_one_question_a_day_until_somebody_answers(
    make_core: MakeCore, database_url: str, seed: int
) -> None:
    core, chance = make_core(), random.Random(seed)
    core.sandbox.vendors.faults.add("encom.release", "reset")
    row = await core.approved()
    await core.run(core.dispatcher("a"))
    assert (await core.row(row.id)).state is State.UNKNOWN
    second = open_database(database_url, LONG)
    began = core.now
    while core.now - began < (3 * 24 + 4) * 3600 * SECOND:
        await asyncio.gather(core.tracker().tick(), core.tracker(second).tick())  # new trackers, with nothing in memory
        core.now += chance.choice([40, 300, 1800, 3600]) * SECOND
    questions = (await core.actions(row)).count("ask")
    assert 3 <= questions <= 4  # plus one in the first minutes, if a tracker looked then
    where = tables.notes.c.broadcast == row.id
    told = await core.database.read(lambda c: c.execute(select(tables.notes.c.sentence).where(where)).scalars().all())
    assert sum("I still do not know" in sentence["template"] for sentence in told) == questions
    await core.workflow.act(TEAM, row.id, MarkNotSent(), person=approver(1), version=1)
    core.now += 48 * 3600 * SECOND
    await core.tracker().tick()
    assert (await core.actions(row))[-1] == "mark_not_sent"
    await second.close()


async def test_a_look_up_that_breaks_is_told_and_takes_no_other_along(
    make_core: MakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = make_core()
    rows = [await core.approved(audience=name) for name in ("newsletter", "clients")]
    for row in rows:
        unknown = {"state": "unknown", "due": None, "look_at": core.now, "changed_at": core.now, "attempt": 1}
        await core.edit(row, **unknown)

    async def broken(*_: Any) -> Any:
        raise KeyError("x")

    monkeypatch.setattr(core.providers["octo"].adapter, "look_up", broken)
    for _ in range(2 * 24 + 1):
        await core.tracker().tick()
        core.now += 3600 * SECOND
    assert [(await core.actions(row)).count("ask") for row in rows] == [3, 3]  # at once, and each day
    statement = select(tables.audit.c.reason).where(tables.audit.c.action == "ask")
    reasons = await core.database.read(lambda c: c.execute(statement).scalars().all())
    assert reasons.count("The adapter for octo (bellcrier) hit an error.") == 3


async def test_a_poll_that_breaks_keeps_nobody_from_their_final_report(
    make_core: MakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = make_core()
    rows = [await core.approved() for _ in range(3)]
    await core.run(core.dispatcher("a"))
    polled: list[str] = []

    async def broken(ids: tuple[str, ...]) -> Any:
        polled.extend(ids)
        raise KeyError("x")

    monkeypatch.setattr(core.providers["encom"].adapter, "poll", broken)
    core.now += 49 * 3600 * SECOND
    await core.tracker().tick()
    assert len(polled) == 6  # two ids each
    assert {(await core.row(row.id)).state for row in rows} == {State.DONE}


async def test_one_whose_evidence_cannot_be_written_is_looked_at_again_soon(
    make_core: MakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = make_core()
    rows = [await core.approved() for _ in range(2)]
    for row in rows:
        minute_ago = core.now - 60 * SECOND
        await core.edit(row, state="unknown", due=None, look_at=core.now, changed_at=minute_ago, attempt=1)
    listening = core.tracker()
    weigh = listening.poller._weigh

    def broken(connection: Connection, row: Broadcast, evidence: Evidence) -> None:
        if row.id == rows[0].id:
            raise KeyError("x")
        weigh(connection, row, evidence)

    monkeypatch.setattr(listening.poller, "_weigh", broken)
    await listening.tick()
    monkeypatch.setattr(listening.poller, "_weigh", weigh)
    assert [(await core.actions(row)).count("ask") for row in rows] == [0, 1]
    core.now += 60 * SECOND
    await listening.tick()
    assert [(await core.actions(row)).count("ask") for row in rows] == [1, 1]


async def test_a_flood_of_news_takes_one_connection_and_one_that_cannot_be_written_is_told_so_alone(
    make_core: MakeCore,
) -> None:
    core = make_core()
    row = await core.approved()
    await core.run(core.dispatcher("a"))
    listening, writes = core.tracker(), 0
    write = core.database.write

    async def counted(work: Any, **given: Any) -> Any:
        nonlocal writes
        writes += 1
        return await write(work, **given)

    core.database.write = counted  # type: ignore[method-assign]
    news = [Receipt("22", DeliveryStatus.SENT, "SENT", recipient=f"+336{number}") for number in range(300)]
    news[7] = dataclasses.replace(news[7], id=cast("str", object()))
    asked = [listening.record("encom", [receipt]) for receipt in news]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Exception)] == [7]
    assert (await core.row(row.id)).counts == {"sent": 299}
    again = writes
    assert again < 300  # the group with the bad one is written again, each receipt alone
    await asyncio.gather(*(listening.record("encom", [receipt]) for receipt in news[8:]))
    assert writes - again <= 3


PHONES = {
    "+33612345678": ["33612345678", " 33612345678", "0033612345678", "+33 6 12-34.56.78", "tel:+33612345678"],
    "anonymous": [" anonymous "],
}


@pytest.mark.parametrize("phone", PHONES)
async def test_a_delivery_is_one_persons_however_the_vendor_writes_who(core: Core, phone: str) -> None:
    """C13: recipients stored as they came, before numbers were normalised, stay the same people."""
    row, listening = await core.approved(), core.tracker()
    await core.run(core.dispatcher("a"))
    before = hmac.digest(listening.receiver.key, f"number:{phone}:".encode(), "sha256").hex()[:32]
    for written in (phone, *PHONES[phone]):
        await listening.record("encom", [Receipt("22", DeliveryStatus.SENT, "SENT", recipient=written)])
    (kept,) = await core.database.read(lambda c: c.execute(select(tables.deliveries.c.recipient)).all())
    assert kept.recipient == before
    others = [
        Receipt("22", DeliveryStatus.SENT, "SENT", recipient=name) for name in ("ana1@x.example", "ben1@x.example")
    ]
    await listening.record("encom", others)
    assert (await core.row(row.id)).counts == {"sent": 3}


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """Collect the statements that are sent to the database."""
    asked: list[str] = []
    engine = database.engine.sync_engine if isinstance(database, Postgres) else cast("SQLite", database).engine

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield asked
    event.remove(engine, "before_cursor_execute", note)


async def test_how_many_news_come_together_decides_no_number_of_questions(make_core: MakeCore) -> None:
    core = make_core()
    rows = [await core.approved() for _ in range(8)]
    for _ in range(4):
        await core.run(core.dispatcher("a"))
    listening = core.tracker()
    batches = [
        _Batch("encom", [Receipt(f"new{number}", status, word)], (TEAM, rows[number % 8].id), asyncio.Future())
        for number in range(128)
        for status, word in ((DeliveryStatus.SENT, "SENT"), (DeliveryStatus.DELIVERED, "OK"))
    ]
    with counted(core.database) as asked:
        news = await core.database.write(lambda c: listening.receiver._record(c, batches))
    assert news == [True] * 256
    assert [(await core.row(row.id)).counts for row in rows] == [{"delivered": 16}] * 8
    assert len(asked) <= 12 + 3 * len(rows), len(asked)  # a few for all of them, and a few for each broadcast


@pytest.mark.parametrize("ms", [1, 2, 5])
async def test_a_flood_of_news_is_written_in_time_over_a_slow_road(
    far: Far, monkeypatch: pytest.MonkeyPatch, ms: int
) -> None:
    row = await far.core.approved()
    await far.core.run(far.near)
    monkeypatch.setattr(proxy._Road, "_to_client", slowly(ms))
    listening = far.core.tracker(far.distant)
    news = [Receipt(str(number), DeliveryStatus.SENT, "OK") for number in range(600)]
    async with within(5):
        recorded = await asyncio.gather(*(listening.record("encom", [one], (TEAM, row.id)) for one in news))
    assert len(recorded) == 600
    assert (await far.core.row(row.id)).counts == {"sent": 600}


def slowly(ms: int) -> Callable[[Any], Awaitable[None]]:
    """A connection on which each answer takes `ms` milliseconds."""

    async def to_client(road: Any) -> None:
        while data := await road.there[0].read(65536):
            await asyncio.sleep(ms / 1000)
            road.here[1].write(data)

    return to_client


async def test_news_that_are_too_many_for_one_transaction_are_written_in_smaller_ones(
    make_core: MakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = make_core()
    row = await core.approved()
    await core.run(core.dispatcher("a"))
    listening, write, sizes = core.tracker(), core.database.write, list[int]()

    async def busy(work: Any, **given: Any) -> Any:
        sizes.append(len(work.keywords["group"]))
        if sizes[-1] > 70:
            raise DatabaseBusy("slow")
        return await write(work, **given)

    monkeypatch.setattr(core.database, "write", busy)
    news = [Receipt(str(number), DeliveryStatus.SENT, "OK") for number in range(200)]
    await asyncio.gather(*(listening.record("encom", [one], (TEAM, row.id)) for one in news))
    assert (await core.row(row.id)).counts == {"sent": 200}
    assert sizes[:3] == [200, 100, 50]
    assert sum(size for size in sizes if size <= 70) == 200


async def test_while_the_database_takes_nothing_a_flood_is_told_so_in_a_few_tries(
    make_core: MakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    core, tries = make_core(), 0

    async def busy(_work: Any, **_given: Any) -> Any:
        nonlocal tries
        tries += 1
        raise DatabaseBusy("away")

    monkeypatch.setattr(core.database, "write", busy)
    listening = core.tracker()
    news = [Receipt(str(number), DeliveryStatus.SENT, "OK") for number in range(2000)]
    told = await asyncio.gather(*(listening.record("encom", [one]) for one in news), return_exceptions=True)
    assert {type(one) for one in told} == {DatabaseBusy}
    assert tries <= 4


# --- rows of a newer version (K4) ------------------------------------------------------------------------------------


async def test_what_a_newer_version_wrote_is_left_alone_by_everything(make_core: MakeCore) -> None:
    core = make_core()
    rows = {state: await core.approved() for state in State}
    for state, row in rows.items():
        busy = state is State.SENDING
        lease = {"phase": "staging", "owner": "newer", "lease_until": 1} if busy else {}
        times = {"due": 1, "expires_at": 1, "look_at": 1, "hold_until": 1, "progress_at": 1}
        await core.edit(row, state=state, shape=tables.SHAPE + 1, **times, **lease)
    statement = tables.broadcasts.select().order_by(tables.broadcasts.c.id)
    before = await core.database.read(lambda c: c.execute(statement).all())
    said = await core.database.read(lambda c: c.execute(select(func.count()).select_from(tables.notes)).scalar_one())
    core.now += 30 * 24 * 3600 * SECOND
    await core.run(core.dispatcher("older"))
    await core.tracker().tick()
    await core.workflow.expire()
    await core.dispatcher("older").sizes.learn()
    assert await core.database.read(lambda c: c.execute(statement).all()) == before
    now = await core.database.read(lambda c: c.execute(select(func.count()).select_from(tables.notes)).scalar_one())
    assert (now, core.sandbox.vendors.ledger) == (said, [])


# --- a pause, known before it is read --------------------------------------------------------------------------------

ADMIN = dataclasses.replace(CLEO, id="U0OPS")


class Broken:
    """A database that answers every write with this error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def write(self, *_: Any, **__: Any) -> Any:
        raise self.error


def heeding(make_core: MakeCore) -> tuple[Core, Dispatcher]:
    core = make_core(admins=["U0OPS"])
    dispatcher = core.dispatcher("a")
    core.workflow.pauses.switch = dispatcher.switch
    return core, dispatcher


async def press_in_vain(core: Core, error: Exception, *, on: bool) -> None:
    usual, core.workflow = core.workflow, core.workflow_over(cast(Database, Broken(error)))
    with pytest.raises(type(error)):
        await core.workflow.pause_all(ADMIN, on=on)
    core.workflow = usual


async def drawn_at(core: Core, at: int) -> int:
    """Return how many cards are to be drawn at this time."""
    asked = select(func.count()).where(tables.broadcasts.c.draw_at == at)
    return int(await core.database.read(lambda c: c.execute(asked).scalar_one()))


async def test_a_pause_is_drawn_on_thousands_of_cards_a_few_at_a_tick_whatever_breaks_meanwhile(
    make_core: MakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    core, dispatcher = heeding(make_core)
    for _ in range(5):
        await core.ask()
    await core.run(dispatcher)
    await core.workflow.pause_all(ADMIN, on=True)
    core.now += SECOND
    look_round = dispatcher.claims.claim_due_work

    def breaks(connection: Connection) -> Any:
        look_round(connection)
        raise DatabaseBusy("locked")

    dispatcher.claims.claim_due_work = breaks  # type: ignore[method-assign]
    with pytest.raises(DatabaseBusy):
        await dispatcher.tick()
    dispatcher.claims.claim_due_work = look_round  # type: ignore[method-assign]
    monkeypatch.setattr(cards, "IN_A_STATEMENT", 2)
    found = []
    for _ in range(4):
        await dispatcher.tick()
        found.append(await drawn_at(core, core.now))
    assert found == [2, 4, 5, 5]
    assert dispatcher.switch.undrawn == {}


@pytest.mark.parametrize("error", [CommitUncertain(), DatabaseBusy("locked"), RuntimeError("broken")])
async def test_a_pause_that_was_not_stored_stops_nothing_for_longer_than_a_tick(
    make_core: MakeCore, error: Exception
) -> None:
    core, dispatcher = heeding(make_core)
    await press_in_vain(core, error, on=True)
    row = await core.approved()
    await core.run(dispatcher)
    core.now += 5 * SECOND
    await core.run(dispatcher)
    assert (await core.row(row.id)).state is State.SENT


async def test_while_a_pause_is_being_written_everybody_else_goes_on(make_core: MakeCore) -> None:
    core, dispatcher = heeding(make_core)
    dispatcher.switch.stop("T0ANOTHER")
    row = await core.approved()
    await core.run(dispatcher)
    assert (await core.row(row.id)).state is State.SENT


async def test_a_pause_that_is_ended_elsewhere_before_a_tick_read_it_is_over(make_core: MakeCore) -> None:
    core, dispatcher = heeding(make_core)
    await core.workflow.pause_all(ADMIN, on=True)
    core.workflow.pauses.switch = core.dispatcher("b").switch
    await core.workflow.pause_all(ADMIN, on=False)
    row = await core.approved()
    await core.run(dispatcher)
    assert (await core.row(row.id)).state is State.SENT


@pytest.mark.parametrize("on", [True, False])
async def test_a_stored_pause_holds_the_next_byte_whatever_becomes_of_a_second_press(
    make_core: MakeCore, on: bool
) -> None:
    core, dispatcher = heeding(make_core)
    await core.approved()
    reached, go = gate(core, release=True)
    await dispatcher.tick()
    await reached.wait()
    await core.workflow.pause_all(ADMIN, on=True)
    await dispatcher.tick()
    await press_in_vain(core, DatabaseBusy("locked"), on=on)
    go.set()
    await asyncio.gather(*dispatcher.running)
    assert core.sandbox.vendors.ledger == []


# --- what comes back unsent ------------------------------------------------------------------------------------------


async def test_an_approval_that_is_taken_back_in_the_last_moment_sends_nothing_later(core: Core) -> None:
    """It is too late for a send that is going out. If the vendor does not take it, it goes back to the approvers."""
    row, dispatcher = await core.approved(), core.dispatcher("a")
    reached, go = gate(core, release=True)
    core.sandbox.vendors.faults.add("encom.release", "error", status=429, body={})
    await dispatcher.tick()
    await reached.wait()
    with pytest.raises(StaleVersion):
        await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button", version=1)
    go.set()
    await asyncio.gather(*dispatcher.running)
    assert (await core.row(row.id)).state is State.SCHEDULED
    core.now += 60 * SECOND
    await core.run(dispatcher)
    assert (await core.row(row.id)).state is State.PENDING
    assert core.sandbox.vendors.ledger == []


async def test_an_approval_that_is_taken_back_in_the_last_moment_changes_nothing_of_what_went_out(core: Core) -> None:
    row, dispatcher = await core.approved(), core.dispatcher("a")
    reached, go = gate(core, release=True)
    await dispatcher.tick()
    await reached.wait()
    with pytest.raises(StaleVersion):
        await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button", version=1)
    go.set()
    await asyncio.gather(*dispatcher.running)
    assert (await core.row(row.id)).state is State.SENT
    assert len(core.sandbox.vendors.ledger) == 1


@pytest.mark.parametrize("while_", ["is waiting", "it is prepared again"])
async def test_what_the_vendor_reports_as_delivered_is_not_sent_again_after_its_no(core: Core, while_: str) -> None:
    row, dispatcher = await core.approved(), core.dispatcher("a")
    core.sandbox.vendors.faults.add("encom.release", "error", status=429, body={})
    await core.run(dispatcher)
    report = [Receipt("22", DeliveryStatus.DELIVERED, "DLVRD", "+33600000001", True)]
    if while_ == "is waiting":
        await core.tracker().record("encom", report, (TEAM, row.id))
    core.now += 60 * SECOND
    core.sandbox.vendors.faults.add("encom.recipients", "slow", seconds=0.3)
    await dispatcher.tick()
    if while_ == "it is prepared again":
        await core.tracker().record("encom", report, (TEAM, row.id))
    await asyncio.gather(*dispatcher.running)
    held = await core.row(row.id)
    assert (held.state, held.hold) == (State.HELD, Hold.BLOCKED)
    assert core.sandbox.vendors.ledger == []

    core.now += 60 * SECOND  # a person checked with the vendor: it did not go out
    await core.workflow.act(TEAM, row.id, SendNow(), person=CLEO, version=1)
    await core.run(dispatcher)
    assert (await core.row(row.id)).state is State.SENT


async def test_a_pause_of_one_that_is_not_due_keeps_no_other_of_its_account_waiting(make_core: MakeCore) -> None:
    core = make_core(**{"approval.undo": "9m"})
    dispatcher, octo = core.dispatcher("a"), core.providers["octo"]
    stage = octo.stage

    async def throttled(*_: Any) -> Any:
        raise Throttled(300.0)

    octo.stage = throttled  # type: ignore[assignment, method-assign]
    await core.approved(audience="newsletter")
    await core.run(dispatcher)
    octo.stage = stage  # type: ignore[method-assign]
    due = await core.approved(audience="newsletter")
    await core.edit(due, due=core.now + 5 * SECOND, start_at=core.now + 5 * SECOND)
    core.now += 10 * SECOND
    await core.run(dispatcher)
    assert (await core.row(due.id)).state is State.SENT


# --- one row that nobody can move ------------------------------------------------------------------------------------

LATE = {"state": State.SCHEDULED, "due": 1, "start_at": 1}
GOING = {"state": State.SENDING, "owner": "gone", "attempt": 1, "lease_until": 1, "due": 1, "start_at": 1}
MOVED: dict[str, tuple[dict[str, Any], State]] = {
    "late": (LATE, State.HELD),
    "held for an hour that has come": ({"state": State.HELD, "hold": Hold.HOURS, "hold_until": 1}, State.HELD),
    "left behind while it was prepared": ({**GOING, "phase": Phase.STAGING}, State.HELD),
    "left behind while it went out": ({**GOING, "phase": Phase.RELEASING}, State.UNKNOWN),
}


@asynccontextmanager
async def refusing(database: Database, row: Broadcast) -> AsyncIterator[None]:
    """Make the database refuse every change of this row."""
    words = f"ADD CONSTRAINT stuck CHECK (id <> '{row.id}') NOT VALID", "DROP CONSTRAINT stuck"
    here = [f"ALTER TABLE broadcasts {word}" for word in words]
    if isinstance(database, SQLite):
        when = f"BEFORE UPDATE ON broadcasts WHEN old.id = '{row.id}'"
        here = [f"CREATE TRIGGER stuck {when} BEGIN SELECT raise(ABORT, 'stuck'); END", "DROP TRIGGER stuck"]
    await database.write(lambda c: c.exec_driver_sql(here[0]))
    try:
        yield
    finally:
        await database.write(lambda c: c.exec_driver_sql(here[1]))


@pytest.mark.parametrize("what", MOVED)
async def test_a_row_that_cannot_be_moved_keeps_no_other_one_where_it_is(core: Core, what: str) -> None:
    stands, moves = MOVED[what]
    stuck, other = await core.ask(), await core.ask()
    for row in (stuck, other):
        await core.edit(row, **stands)
    dispatcher = core.dispatcher("a")
    async with refusing(core.database, stuck):
        for _ in range(2):
            await dispatcher.tick()
        assert (await core.row(stuck.id)).state is stands["state"]
        (trouble,) = core.database.failing_rows.all()
        assert (trouble.work, trouble.id, trouble.tries) == ("dispatch", stuck.id, 1)
    assert (await core.row(other.id)).state is moves
    later(core.database)
    await dispatcher.tick()
    await dispatcher.tick()
    assert (await core.row(stuck.id)).state is moves
    assert core.database.failing_rows.all() == []


async def test_what_lies_prepared_under_no_id_that_can_be_written_holds_up_nobody(core: Core) -> None:
    stuck, other = await core.ask(), await core.ask()
    for row in (stuck, other):
        await core.edit(row, **LATE)
    prepared = {"ready": True, "contacts": None, "cost": None, "currency": None}
    for id in ({"x": 1}, "\ud800"):
        await core.edit(stuck, staged={"id": id, **prepared})
        await core.dispatcher("a").tick()
    assert (await core.row(other.id)).state is State.HELD


@pytest.mark.parametrize(
    "odd",
    [
        {"approvers": "S0BOSSES"},
        {"subscribers": [5]},
        {"ids": {"22": 1}},
        {"staged": {"id": 7, "ready": True, "contacts": None, "cost": None, "currency": None}},
        {"staged": {"id": "7", "ready": True, "contacts": "5", "cost": None, "currency": None}},
    ],
)
async def test_a_row_of_other_types_than_are_written_here_is_left_alone(core: Core, odd: dict[str, Any]) -> None:
    row = await core.ask()
    await core.edit(row, **odd)
    with pytest.raises(NotUnderstood):
        await core.row(row.id)
