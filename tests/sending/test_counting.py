"""A broadcast's card shows the counts of its deliveries, whatever arrives in whatever order."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, event, select

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import State
from bot.sending.polling import FIRST_POLL
from bot.storage import receipts, vendor_ids
from bot.storage.database import Database
from bot.storage.postgres import Postgres
from bot.storage.sqlite import SQLite
from bot.storage.tables import broadcasts, deliveries, notes
from providers.base import DeliveryStatus, Receipt, ReceiptKind
from tests.support.core import TEAM, Core, MakeCore
from tests.support.ground import some_later

HOUR = 3600 * SECOND
DAY = 24 * HOUR
LABELS = {"reply": "replies", "opt_out": "opt-outs"}


def counted(connection: Connection) -> dict[str, tuple[dict[str, int], int]]:
    """Count by looking at each delivery."""
    counts, finals = dict[str, Counter[str]](), Counter[str]()
    for row in connection.execute(select(deliveries).where(deliveries.c.broadcast.is_not(None))).mappings():
        other = f"other: {row['word']}" if row["status"] == "other" else row["status"]
        counts.setdefault(row["broadcast"], Counter())[LABELS.get(row["kind"], other)] += 1
        finals[row["broadcast"]] += row["final"]
    return {id: (dict(counts[id]), finals[id]) for id in counts}


def shown(connection: Connection) -> dict[str, tuple[dict[str, int], int]]:
    """Return the counts that the rows of the broadcasts hold."""
    rows = connection.execute(select(broadcasts.c.id, broadcasts.c.counts, broadcasts.c.finals)).all()
    return {row.id: (row.counts, row.finals) for row in rows if (row.counts, row.finals) != ({}, 0)}


async def agree(core: Core) -> None:
    said, true = await core.database.read(lambda c: (shown(c), counted(c)))
    assert said == true


async def sent(core: Core, ids: tuple[str, ...] = (), **values: Any) -> Broadcast:
    """Return a broadcast that the vendor has just accepted, with these ids."""
    row = await core.ask()
    changes = {"state": "sent", "ids": list(ids), "accepted_at": core.now, "look_at": core.now, "attempt": 1}
    await core.edit(row, **(changes | values))
    row = await core.row(row.id)
    await core.database.write(lambda c: vendor_ids.own_ids(c, row, ids))
    return row


class Chance:
    """Receipts as vendors might send them: few recipients and words, so that the same ones recur."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def receipt(self, id: str) -> Receipt:
        pick = self.chance.choice
        return Receipt(
            id,
            pick(list(DeliveryStatus)),
            pick(["DLVRD", "sent", "", "½ oddly", "x" * 80, "replies"]),
            pick(["", "+33612345678", "33612345679", "33612345670"]),
            final=pick([True, False]),
            kind=pick([*[ReceiptKind.DELIVERY] * 4, ReceiptKind.REPLY, ReceiptKind.OPT_OUT]),
            text=pick([None, "STOP", "Merci"]),
        )

    def several(self, ids: list[str]) -> list[Receipt]:
        return [self.receipt(self.chance.choice(ids)) for _ in range(self.chance.randrange(1, 12))]


@pytest.mark.long
async def test_whatever_is_heard_in_whatever_order_the_counts_are_those_of_the_deliveries(
    make_core: MakeCore, second: Database, seed: int
) -> None:
    """Duplicates, out of order, before the ids are known, at their own address, many at once, in two processes."""
    core, chance = make_core(), random.Random(seed)
    heard, ids = Chance(chance), [f"i{number}" for number in range(14)]
    rows = [await sent(core, state=state) for state in ("sent", "sending", "unknown", "done", "failed", "scheduled")]
    both = [core.tracker(), core.tracker(second)]
    for _ in range(40):
        decisions: list[Any] = []
        for _ in range(chance.randrange(1, 5)):
            owner = (TEAM, chance.choice(rows).id) if chance.random() < 0.2 else None
            decisions.append(chance.choice(both).record("encom", heard.several(ids), owner))
        if chance.random() < 0.3:
            owned = partial(vendor_ids.own_ids, broadcast=chance.choice(rows), ids=chance.sample(ids, 2))
            decisions.append(core.database.write(owned))
        await asyncio.gather(*decisions)
        await agree(core)
    assert await core.database.read(counted)


async def test_what_was_set_aside_is_counted_when_its_owner_is_learnt(core: Core) -> None:
    early = [
        Receipt("22", DeliveryStatus.DELIVERED, "DLVRD", "1", final=True),
        Receipt("22", DeliveryStatus.OTHER, "STOP", "2", kind=ReceiptKind.OPT_OUT),
        Receipt("23", DeliveryStatus.OTHER, "½"),
        Receipt("99", DeliveryStatus.SENT, "nobody's"),
    ]
    assert not (await core.tracker().record("encom", early)).news
    row = await sent(core, ("22", "23"))
    found = await core.row(row.id)
    assert (found.counts, found.finals) == ({"delivered": 1, "opt-outs": 1, "other: ½": 1}, 1)
    await agree(core)


async def test_what_a_look_up_finds_brings_its_early_receipts_home(core: Core) -> None:
    await core.tracker().record("encom", [Receipt("22", DeliveryStatus.SENT, "OK")])
    row = await sent(core, (), state="unknown")
    found = await core.row(row.id)
    await core.database.write(
        lambda c: core.tracker().receiver.proofs.mark_proven(c, found, ("22",), Translatable("It went out."))
    )
    assert (await core.row(row.id)).counts == {"sent": 1}


async def test_a_status_of_a_newer_version_is_left_as_it_is(core: Core) -> None:
    row = await sent(core, ("22",))
    await core.tracker().record("encom", [Receipt("22", DeliveryStatus.SENT, "OK")])
    await core.database.write(lambda c: c.execute(deliveries.update().values(status="read")))
    assert not (await core.tracker().record("encom", [Receipt("22", DeliveryStatus.DELIVERED, "OK", final=True)])).news
    assert await core.database.read(lambda c: receipts.tally(c, TEAM, row.id).counts) == {"read": 1}


# --- beside a process of the previous version ------------------------------------------------------------------------


def recounted(connection: Connection, id: str) -> None:
    """Do what the previous version does with news: recount everything, without knowing `finals`."""
    counts = receipts.tally(connection, TEAM, id).counts
    here = broadcasts.c.id == id
    connection.execute(broadcasts.update().where(here).values(counts=counts, revision=broadcasts.c.revision + 1))


def written(connection: Connection, row: Broadcast, id: str, status: str, *, final: bool) -> None:
    values = {"account": "encom", "id": id, "recipient": "", "kind": "delivery", "workspace": TEAM, "at": 1}
    values |= {"broadcast": row.id, "status": status, "word": status, "final": final}
    connection.execute(deliveries.insert().values(**values))


async def reported(core: Core, row: Broadcast) -> list[str]:
    said = select(notes.c.sentence).where(notes.c.broadcast == row.id).order_by(notes.c.seq)
    found = await core.database.read(lambda c: c.execute(said).scalars().all())
    told = [one["values"]["counts"] for one in found if one["template"].startswith("Final report")]
    return [str(Translatable.of(counts)) for counts in told]


async def looked(core: Core, until: int) -> None:
    """Tick as the clock does, for this long."""
    end = core.now + until
    while core.now < end:
        await core.tracker().tick()
        core.now += FIRST_POLL


@pytest.mark.long
async def test_finals_that_an_older_process_did_not_keep_are_found_long_before_the_day_is_over(core: Core) -> None:
    row = await sent(core, ("22", "23"))

    def older(connection: Connection) -> None:
        for id in ("22", "23"):
            written(connection, row, id, "delivered", final=True)
        recounted(connection, row.id)

    await looked(core, 60 * SECOND)
    await core.database.write(older)
    assert ((await core.row(row.id)).state, (await core.row(row.id)).finals) == (State.SENT, 0)
    await looked(core, 200 * SECOND)
    found = await core.row(row.id)
    assert (found.state, found.finals) == (State.DONE, 2)
    assert await reported(core, row) == ["delivered to 2 of 2 · cost not told"]


@pytest.mark.long
async def test_old_and_new_processes_in_turn_leave_true_counts(core: Core, seed: int) -> None:
    chance, ids = random.Random(seed), [f"i{number}" for number in range(30)]
    row = await sent(core, (*ids, "never"))
    for id in ids:
        if chance.random() < 0.5:
            await core.database.write(partial(written, row=row, id=id, status="sent", final=False))
            await core.database.write(lambda c: recounted(c, row.id))
        else:
            await core.tracker().record("encom", [Receipt(id, DeliveryStatus.DELIVERED, "OK", final=True)])
        said, true = await core.database.read(lambda c: (shown(c)[row.id][0], counted(c)[row.id][0]))
        assert said == true
    await looked(core, 60 * SECOND)
    await agree(core)


@pytest.mark.parametrize(
    "wrong", some_later([{"finals": 2}, {"counts": {"delivered": 2}, "finals": 2}, {"counts": {"sent": 9}}])
)
async def test_numbers_that_say_too_much_end_nothing_and_are_put_right(core: Core, wrong: dict[str, Any]) -> None:
    row = await sent(core, ("22", "23"))
    await core.tracker().record("encom", [Receipt("22", DeliveryStatus.DELIVERED, "OK", final=True)])
    await core.edit(row, **wrong)
    await looked(core, 30 * SECOND)
    assert (await core.row(row.id)).state is State.SENT
    await agree(core)


async def test_the_final_report_tells_what_there_is_whatever_the_row_says(core: Core) -> None:
    row = await sent(core, ("22", "23"))
    await core.tracker().record("encom", [Receipt("22", DeliveryStatus.SENT, "OK")])
    await core.edit(row, counts={"failed": 7}, finals=-3, accepted_at=core.now - DAY)
    await core.tracker().tick()
    assert (await core.row(row.id)).state is State.DONE
    assert await reported(core, row) == ["sent to 1 of 2 in 24 h 0 min · 1 not known · cost not told"]
    await agree(core)


async def test_what_came_while_all_were_counted_is_counted_again(core: Core) -> None:
    row = await sent(core, ("22", "23"))
    await core.edit(row, finals=2)
    one = core.tracker()
    late = await core.database.read(lambda c: one.poller._counted(c, row))
    assert late is not None
    await one.record("encom", [Receipt("22", DeliveryStatus.SENT, "OK")])
    assert not await core.database.write(lambda c: one.poller._finish(c, late))
    assert (await core.row(row.id)).counts == {"sent": 1}
    core.now += FIRST_POLL
    await one.tick()
    assert (await core.row(row.id)).state is State.SENT
    await agree(core)


# --- what it costs ---------------------------------------------------------------------------------------------------


@pytest.mark.long
async def test_nobody_who_writes_reads_all_deliveries(core: Core) -> None:
    """Only transactions that write nothing count the deliveries: for receipts, progress, polls and the end."""
    row, asked, writing = await sent(core, ("22", "23")), list[tuple[bool, str]](), [False]
    write = core.database.write

    async def noted(work: Any, **more: Any) -> Any:
        def marked(connection: Connection) -> Any:
            writing[0] = True
            try:
                return work(connection)
            finally:
                writing[0] = False

        return await write(marked, **more)

    core.database.write = noted  # type: ignore[method-assign]
    assert isinstance(core.database, SQLite | Postgres)
    engine = core.database.engine if isinstance(core.database, SQLite) else core.database.engine.sync_engine

    def hear(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append((writing[0], statement))

    event.listen(engine, "before_cursor_execute", hear)
    for word in ("SENT", "DLVRD"):
        for id in ("22", "23"):
            final = word == "DLVRD"
            status = DeliveryStatus.DELIVERED if final else DeliveryStatus.SENT
            await core.tracker().record("encom", [Receipt(id, status, word, final=final)])
        await looked(core, 40 * SECOND)
    event.remove(engine, "before_cursor_execute", hear)
    assert (await core.row(row.id)).state is State.DONE
    counting = [(writes, said) for writes, said in asked if "count(" in said and "FROM deliveries" in said]
    assert counting
    assert [said for writes, said in counting if writes] == []
