"""Restarts, deploys and newer versions lose nothing that waits."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData

from bot.domain.broadcast import Broadcast, BroadcastRequest
from bot.domain.errors import NotUnderstood
from bot.domain.lifecycle import Action, State
from bot.storage import broadcasts, cards, receipts, schema, tables, vendor_ids
from bot.storage.database import Database
from bot.storage.engines import open_database
from bot.storage.schema import upgrade
from bot.workflow.decision_types import Approve, Cancel, Replan
from providers.base import DeliveryStatus, Purpose, Receipt
from sandbox.server import Sandbox
from tests.support.core import APPROVERS, CLEO, TEAM, approver
from tests.support.patience import LONG
from tests.support.waiting import DAY, HOUR, MINUTE, MakeWaiting, Waiting


async def test_a_follow_up_and_what_it_follows_name_each_other(core: Waiting) -> None:
    old = await core.ask()
    await core.act(old, Action.REJECT, approver(0), reason="no")
    for number, follows in enumerate((old.id, "B2222222", "'; DROP TABLE")):
        request = BroadcastRequest(
            workspace=TEAM,
            requester="U0CLEO",
            channel="C1",
            audience="clients",
            purpose=Purpose.MARKETING,
            text=follows,
        )
        new = (await core.workflow.submit(request, key=f"f{number}", person=CLEO, follows=follows)).broadcast
        assert new.state is State.PENDING
        assert await core.told(new) == ([(f"This is a follow-up to {old.id}.", None)] if number == 0 else [])
    follow_ups = [said for said, _ in await core.told(old) if "follow-up" in said]
    assert len(follow_ups) == 1


async def test_a_row_that_a_newer_version_wrote_is_left_alone_and_nobody_is_held_up(core: Waiting) -> None:
    """Every query for work meets two such rows: one in an unknown state and one in a known state."""
    strange, known, plain = [await core.approved() for _ in range(3)]
    past: dict[str, Any] = dict.fromkeys(("voice_at", "draw_at", "look_at", "expires_at", "progress_at", "due"), 1)
    newer = past | {"shape": 2, "owner": "another", "lease_until": 1, "phase": "beaming"}
    await core.edit(strange, **newer, state="teleported", hold="elsewhere")
    await core.edit(known, **newer)
    await core.database.write(lambda c: vendor_ids.own_ids(c, strange, ["beam"]))
    before = await raw(core, strange), await raw(core, known)

    tracker = core.tracker()
    ours = await core.ask()
    for _ in range(3):
        await core.run(core.dispatcher("a"), core.dispatcher("b"))
        await core.dispatcher("a").sizes.learn()
        await tracker.tick()
        await core.approval_reminders().tick()
        await core.workflow.expire()
        core.now += 15 * MINUTE
    await tracker.record("encom", [Receipt("beam", DeliveryStatus.SENT, "OK")])
    await tracker.record("encom", [Receipt("beam2", DeliveryStatus.SENT, "OK")], dispatched=(TEAM, strange.id))
    for row in (strange, known):
        for said in (Approve(), Cancel(), Replan(core.now + HOUR)):
            with pytest.raises(NotUnderstood):
                await core.workflow.act(TEAM, row.id, said, person=approver(1), version=1)
        with pytest.raises(NotUnderstood):
            await core.workflow.withdraw(TEAM, row.id, person=approver(0), way="button")
    listed = [row.id for row in await core.database.read(lambda c: broadcasts.latest(c, TEAM, 10))]
    assert sorted(listed) == sorted([plain.id, ours.id])
    assert await core.database.read(lambda c: [row.id for row in cards.cards_to_draw(c, core.now, 10, new=True)]) != []
    assert (await core.database.read(broadcasts.count_by_state))["sent"] == 1

    assert (await raw(core, strange), await raw(core, known)) == before
    assert (await core.row(plain.id)).state is State.SENT
    assert len(core.sandbox.vendors.ledger) == 1
    assert len([said for said, _ in await core.told(ours) if "still needed" in said]) == 1
    kept = await core.database.read(lambda c: receipts.tally(c, TEAM, strange.id).counts)
    assert kept == {"sent": 2}  # kept for the version that understands it


async def raw(core: Waiting, row: Broadcast) -> dict[str, Any]:
    table = tables.broadcasts
    found = await core.database.read(lambda c: c.execute(table.select().where(table.c.id == row.id)).mappings().one())
    return dict(found)


async def test_what_waits_outlives_restarts_days_and_months(
    make: MakeWaiting, database: Database, database_url: str
) -> None:
    first = make(**{"approval.expires_after": "7d"})
    wanted = first.now + 200 * DAY
    row = await first.ask(send_at=wanted)

    async def restarted(at: int) -> Waiting:
        core = make(**{"approval.expires_after": "7d"})
        core.database = open_database(database_url, LONG)
        core.workflow = core.workflow_over(core.database)
        opened.append(core.database)
        core.now = at
        for _ in range(2):
            await core.run(core.dispatcher(f"at {at}"))
            await core.approval_reminders().tick()
            await core.workflow.expire()
        assert len(core.sandbox.vendors.ledger) == 0
        return core

    opened: list[Database] = []
    core = await restarted(first.now + 5 * DAY)
    assert len(await core.told(row)) == 1
    await core.act(row, Action.APPROVE, approver(0))
    core = await restarted(first.now + 100 * DAY)
    assert (await core.row(row.id)).state is State.SCHEDULED
    core = await restarted(wanted - 15 * MINUTE)
    assert (await core.told(row))[-1][0] == f"It starts {wanted}. Until then, press *Cancel* on its card to stop it."
    core = await restarted(wanted - 1)
    core.now = wanted
    await core.run(core.dispatcher("x"), core.dispatcher("y"))
    assert len(core.sandbox.vendors.ledger) == 1
    assert (await core.row(row.id)).state is State.SENT
    for one in opened:
        await one.close()


OLD: dict[str, dict[str, Any]] = {
    "draft": {},
    "pending": {"expires_at": DAY},
    "scheduled": {"due": 5 * HOUR, "start_at": 5 * HOUR, "send_at": 5 * HOUR, "approved_at": 0},
    "held": {"hold": "late", "start_at": -DAY, "expires_at": HOUR, "approved_at": -DAY},
    "sending": {"phase": "releasing", "owner": "old", "attempt": 1, "lease_until": -1},
    "unknown": {"look_at": -1},
    "sent": {"accepted_at": -HOUR, "look_at": -1},
    "done": {"accepted_at": -DAY},
    "failed": {},
    "rejected": {},
    "cancelled": {},
    "expired": {},
}


INSTANTS = {"expires_at", "due", "start_at", "send_at", "approved_at", "lease_until", "look_at", "accepted_at"}


@pytest.mark.long
async def test_a_deploy_loses_nothing_that_waits(
    database_url: str, sandbox: Sandbox, tmp_path: Path, make: MakeWaiting
) -> None:
    """Write one row in each state under the first schema, upgrade, and carry on."""
    pattern = make()
    like = await pattern.ask()
    after = {"draft": State.DRAFT, "held": State.HELD, "scheduled": State.SCHEDULED, "pending": State.PENDING}
    after |= {"sending": State.UNKNOWN, "unknown": State.UNKNOWN, "sent": State.SENT}

    old = open_database(database_url.replace("store.db", "old.db"), LONG)
    await old.write(start_over)
    await old.write(lambda c: upgrade(c, "0001"))
    await old.write(lambda c: write_old_rows(c, like, pattern.now))
    await old.write(upgrade)

    core = Waiting(old, sandbox, tmp_path)
    for _ in range(2):
        await core.run(core.dispatcher("new"))
        await core.approval_reminders().tick()
        await core.workflow.expire()
    rows = {id: await core.row(id) for id in OLD_IDS.values()}
    assert {state: rows[id].state for state, id in OLD_IDS.items()} == {s: after.get(s, State(s)) for s in OLD}
    assert {row.text for row in rows.values()} == {like.text}
    for state in ("pending", "held"):
        assert len(await core.told(rows[OLD_IDS[state]])) == 1, state
    assert rows[OLD_IDS["draft"]].voice_at == core.now + 6 * DAY
    scheduled = rows[OLD_IDS["scheduled"]]
    assert scheduled.voice_at == core.now + 5 * HOUR - 15 * MINUTE

    core.now += 5 * HOUR
    await core.run(core.dispatcher("new"))
    assert (await core.row(scheduled.id)).state is State.SENT
    assert len(sandbox.vendors.ledger) == 1
    await core.close()
    await old.close()


OLD_IDS = {state: f"B{number:07d}" for number, state in enumerate(OLD)}


def start_over(connection: Any) -> None:
    """Drop the new schema: PostgreSQL has one database for this test."""
    if not schema.is_empty(connection):
        known = MetaData()
        known.reflect(connection)
        known.drop_all(connection)


def write_old_rows(connection: Any, like: Broadcast, now: int) -> None:
    known = MetaData()
    known.reflect(connection)
    table, votes = known.tables["broadcasts"], known.tables["votes"]
    fields = {field.name: getattr(like, field.name) for field in dataclasses.fields(like)}
    for number, (state, more) in enumerate(OLD.items()):
        moments = {name: value + now if name in INSTANTS else value for name, value in more.items()}
        own = {"id": OLD_IDS[state], "key": f"old{number}", "state": state, "changed_at": now, **moments}
        row = dataclasses.replace(like, send_at=moments.get("send_at"))
        values = {**fields, **own, "digest": row.computed_digest()}
        connection.execute(table.insert().values({name: plain(values[name]) for name in values if name in table.c}))
        vote = {"workspace": TEAM, "broadcast": OLD_IDS[state], "version": 1, "approver": APPROVERS[0]}
        connection.execute(votes.insert().values(**vote, digest=row.computed_digest(), way="button", at=now - HOUR - 1))


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
