"""Delivery receipts: whose each one is, how far its delivery has come, and how it changes a broadcast's numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import Connection, event, select, text, update

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND
from bot.domain.lifecycle import State
from bot.storage import receipts, vendor_ids
from bot.storage.broadcast_rows import Owner
from bot.storage.database import Database
from bot.storage.receipts import DeliveryCounts, Followed, OwnedReceipt, Recount, Waiting, Written
from bot.storage.tables import SHAPE, broadcasts, deliveries, dispatches
from providers.base import DeliveryStatus, Receipt, ReceiptKind
from tests.support.core import TEAM, Core
from tests.support.patience import LONG
from tests.support.rows import LOCKED, until_it_waits

ACCEPTED, SENT, DELIVERED = DeliveryStatus.ACCEPTED, DeliveryStatus.SENT, DeliveryStatus.DELIVERED
FAILED, BLACKLISTED, EXPIRED = DeliveryStatus.FAILED, DeliveryStatus.BLACKLISTED, DeliveryStatus.EXPIRED
OTHER, REPLY, OPT_OUT = DeliveryStatus.OTHER, ReceiptKind.REPLY, ReceiptKind.OPT_OUT
# What this code calculates itself is the same on both databases.
RECKONED = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
QUIET = {"draw_at": None, "progress_at": None}


async def sent(core: Core, *ids: str, **values: Any) -> Broadcast:
    """A broadcast that the vendor accepted with these ids, and whose card and thread are up to date."""
    row = await core.ask()
    await core.edit(row, **({"state": "sent", "ids": list(ids), **QUIET} | values))
    row = await core.row(row.id)
    await core.database.write(lambda c: vendor_ids.own_ids(c, row, ids))
    return row


async def hear(core: Core, *told: Receipt, owner: Owner | None = None, account: str = "encom") -> Written:
    heard = [OwnedReceipt(account, one, one.recipient, owner) for one in told]
    return await core.database.write(lambda c: receipts.record_deliveries(c, heard, core.now))


async def kept(core: Core, *columns: str) -> list[tuple[Any, ...]]:
    """Return these columns of all deliveries, ordered by account, id, recipient and kind."""
    asked = select(*(deliveries.c[name] for name in columns)).order_by(*deliveries.primary_key)
    return [tuple(row) for row in await core.database.read(lambda c: c.execute(asked).all())]


async def on_row(core: Core, row: Broadcast, *columns: str) -> tuple[Any, ...]:
    asked = select(*(broadcasts.c[name] for name in columns)).where(broadcasts.c.id == row.id)
    return tuple(await core.database.read(lambda c: c.execute(asked).one()))


def owner_of(row: Broadcast) -> Owner:
    return row.workspace, row.id


# --- how far a delivery has come -------------------------------------------------------------------------------------

# A status is past those on earlier steps, and not past those on its own step.
STEPS = [["accepted"], ["other"], ["sent"], ["expired", "failed", "blacklisted"], ["delivered"]]
STEP = {status: number for number, those in enumerate(STEPS) for status in those}


async def test_a_later_status_takes_the_place_of_an_earlier_one_and_never_the_other_way_round(core: Core) -> None:
    pairs = list(permutations(STEP, 2))
    assert len(pairs) == 42
    await hear(core, *(Receipt(f"{first}-{then}", DeliveryStatus(first), "same") for first, then in pairs))
    written = await hear(core, *(Receipt(f"{first}-{then}", DeliveryStatus(then), "same") for first, then in pairs))
    assert written.news == [STEP[then] > STEP[first] for first, then in pairs]
    found = dict(await kept(core, "id", "status"))
    assert found == {f"{one}-{two}": two if STEP[two] > STEP[one] else one for one, two in pairs}


@RECKONED
async def test_news_that_arrive_together_count_as_one_after_the_other(core: Core) -> None:
    row = await sent(core, "22")
    words = [SENT, SENT, DELIVERED, ACCEPTED, DELIVERED]
    written = await hear(core, *(Receipt("22", word, word) for word in words), owner=owner_of(row))
    assert written.news == [True, False, True, False, False]
    assert written.moved == {owner_of(row): DeliveryCounts({"delivered": 1}, 0)}
    assert await kept(core, "id", "status") == [("22", "delivered")]


# What is known, what the vendor reports next, and whether that is news: (status, the vendor's word, it is final).
Said = tuple[DeliveryStatus, str, bool]
BESIDE: dict[str, tuple[Said, Said, bool]] = {
    "the same again": ((SENT, "OK", False), (SENT, "OK", False), False),
    "another word for it": ((SENT, "OK", False), (SENT, "SENT", False), True),
    "that it is the last word": ((SENT, "OK", False), (SENT, "OK", True), True),
    "another word that is the last": ((SENT, "OK", False), (SENT, "SENT", True), True),
    "the last word again": ((SENT, "OK", True), (SENT, "OK", True), False),
    "after the last word the same as before": ((SENT, "OK", True), (SENT, "OK", False), False),
    "another last word": ((SENT, "OK", True), (SENT, "SENT", True), False),
    "another word after the last": ((SENT, "OK", True), (SENT, "SENT", False), False),
    "another failure": ((FAILED, "KO", False), (BLACKLISTED, "BL", False), True),
    "another failure after the last word": ((FAILED, "KO", True), (BLACKLISTED, "BL", True), False),
    "delivered after the last word": ((FAILED, "KO", True), (DELIVERED, "OK", True), True),
    "failed after it was delivered": ((DELIVERED, "OK", False), (FAILED, "KO", True), False),
    "one unknown word after the other": ((OTHER, "queued", False), (OTHER, "routed", False), True),
}


@RECKONED
async def test_beside_its_status_a_delivery_keeps_the_latest_word_until_the_last(core: Core) -> None:
    await hear(core, *(Receipt(name, *known[:2], final=known[2]) for name, (known, _, _) in BESIDE.items()))
    written = await hear(core, *(Receipt(name, *told[:2], final=told[2]) for name, (_, told, _) in BESIDE.items()))
    assert dict(zip(BESIDE, written.news, strict=True)) == {name: news for name, (_, _, news) in BESIDE.items()}
    found = {name: said for name, *said in await kept(core, "id", "status", "word", "final")}
    assert found == {name: [*(told if news else known)] for name, (known, told, news) in BESIDE.items()}


@RECKONED
async def test_a_status_that_only_a_newer_version_knows_stays(core: Core) -> None:
    await hear(core, Receipt("22", DELIVERED, "OK"))
    await core.database.write(lambda c: c.execute(update(deliveries).values(status="read")))
    assert (await hear(core, Receipt("22", DELIVERED, "OK", final=True))).news == [False]
    assert await kept(core, "status", "final") == [("read", False)]


async def test_when_it_was_said_moves_with_what_is_new_alone(core: Core) -> None:
    began = core.now
    await hear(core, Receipt("22", SENT, "OK"))
    core.now += SECOND
    await hear(core, Receipt("22", SENT, "OK"))
    assert await kept(core, "at") == [(began,)]
    await hear(core, Receipt("22", DELIVERED, "OK"))
    assert await kept(core, "at") == [(began + SECOND,)]


@RECKONED
async def test_a_long_word_of_the_vendors_is_cut(core: Core) -> None:
    word = "".join(f"{number:02}" for number in range(50))  # 100 characters
    assert (await hear(core, Receipt("22", OTHER, word))).news == [True]
    assert (await hear(core, Receipt("22", OTHER, word))).news == [False]
    assert await kept(core, "word") == [(word[:64],)]


async def test_each_id_recipient_and_kind_at_each_account_is_a_delivery_of_its_own(core: Core) -> None:
    told = [Receipt("22", SENT, "OK", "a"), Receipt("22", SENT, "OK", "b"), Receipt("23", SENT, "OK", "a")]
    told.append(Receipt("22", SENT, "OK", "a", kind=REPLY))
    assert (await hear(core, *told)).news == [True] * 4
    assert (await hear(core, told[0], account="octo")).news == [True]
    assert await kept(core, "account", "id", "recipient", "kind") == [
        ("encom", "22", "a", "delivery"),
        ("encom", "22", "a", "reply"),
        ("encom", "22", "b", "delivery"),
        ("encom", "23", "a", "delivery"),
        ("octo", "22", "a", "delivery"),
    ]


# --- whose a delivery is ----------------------------------------------------------------------------------------------


async def test_what_is_new_moves_the_counts_of_its_broadcast_and_a_repetition_moves_none(core: Core) -> None:
    one, two = await sent(core, "22"), await sent(core, "33")
    written = await hear(core, Receipt("22", SENT, "OK"), owner=owner_of(one))
    assert written.moved == {owner_of(one): DeliveryCounts({"sent": 1}, 0)}
    written = await hear(core, Receipt("22", SENT, "OK"), owner=owner_of(one))
    assert (written.news, written.moved) == ([False], {})
    mine = OwnedReceipt("encom", Receipt("22", DELIVERED, "OK", final=True), "", owner_of(one))
    theirs = OwnedReceipt("encom", Receipt("33", OTHER, "½"), "", owner_of(two))
    written = await core.database.write(lambda c: receipts.record_deliveries(c, [mine, theirs], core.now))
    moved = {
        owner_of(one): DeliveryCounts({"sent": -1, "delivered": 1}, 1),
        owner_of(two): DeliveryCounts({"other: ½": 1}, 0),
    }
    assert written.moved == moved


@RECKONED
async def test_what_is_nobodys_is_kept_and_counted_nowhere(core: Core) -> None:
    assert await hear(core, Receipt("22", SENT, "OK")) == Written([True], {})
    assert await hear(core, Receipt("22", DELIVERED, "OK")) == Written([True], {})
    assert await kept(core, "id", "status", "workspace", "broadcast") == [("22", "delivered", None, None)]


@pytest.mark.parametrize("status", [SENT, DELIVERED])
async def test_what_was_nobodys_is_its_owners_with_the_next_word_about_it(core: Core, status: DeliveryStatus) -> None:
    await hear(core, Receipt("22", SENT, "OK"))
    row = await sent(core)
    written = await hear(core, Receipt("22", status, "OK"), owner=owner_of(row))
    assert written.news == [True]
    assert written.moved == {owner_of(row): DeliveryCounts({str(status): 1}, 0)}
    assert await kept(core, "workspace", "broadcast", "status") == [(TEAM, row.id, status)]


@RECKONED
async def test_a_delivery_stays_with_its_first_owner(core: Core) -> None:
    one, two = await sent(core, "22"), await sent(core)
    await hear(core, Receipt("22", SENT, "OK"), owner=owner_of(one))
    written = await hear(core, Receipt("22", DELIVERED, "OK"), owner=owner_of(two))
    assert written.moved == {owner_of(one): DeliveryCounts({"sent": -1, "delivered": 1}, 0)}
    assert (await hear(core, Receipt("22", DELIVERED, "OK"), owner=None)).news == [False]
    assert await kept(core, "broadcast") == [(one.id,)]


async def test_an_id_is_the_broadcasts_that_had_it_first_and_only_at_its_account(core: Core) -> None:
    one, two = await sent(core, "22", "23"), await sent(core, "23", "24")
    asked = [("encom", id) for id in ("21", "22", "23", "24")] + [("octo", "22")]
    found = await core.database.read(lambda c: vendor_ids.owners_of(c, asked))
    mine, theirs = owner_of(one), owner_of(two)
    assert found == {("encom", "22"): mine, ("encom", "23"): mine, ("encom", "24"): theirs}
    assert await core.database.read(lambda c: vendor_ids.owners_of(c, [("encom", "24")]).get(("encom", "24"))) == theirs
    assert await core.database.read(lambda c: vendor_ids.owners_of(c, [("encom", "21")]).get(("encom", "21"))) is None


async def test_what_was_set_aside_is_counted_once_its_id_is_known(core: Core) -> None:
    await hear(core, Receipt("22", DELIVERED, "OK", "a", final=True), Receipt("22", OTHER, "STOP", "b", kind=OPT_OUT))
    await hear(core, Receipt("33", SENT, "OK"))
    await hear(core, Receipt("22", FAILED, "KO"), account="octo")
    one, two = await sent(core, "22"), await sent(core, "33", "44")
    assert await on_row(core, one, "counts", "finals") == ({"delivered": 1, "opt-outs": 1}, 1)
    assert await on_row(core, two, "counts", "finals") == ({"sent": 1}, 0)
    mine, theirs = (TEAM, one.id), (TEAM, two.id)
    assert await kept(core, "workspace", "broadcast") == [mine, mine, theirs, (None, None)]
    await core.database.write(lambda c: vendor_ids.own_ids(c, two, ["22", "33"]))  # 22 is too late, 33 a repetition
    assert await on_row(core, one, "counts", "finals") == ({"delivered": 1, "opt-outs": 1}, 1)
    assert await on_row(core, two, "counts", "finals") == ({"sent": 1}, 0)


async def test_a_broadcast_is_found_by_the_token_of_its_callback_address(core: Core) -> None:
    row = await sent(core)
    await core.database.write(lambda c: vendor_ids.keep_dispatch(c, row, "a-token"))
    asked = [("encom", "a-token"), ("octo", "a-token"), ("encom", "another"), ("encom", "")]

    def found(connection: Connection) -> list[Owner | None]:
        return [vendor_ids.dispatch_by_token(connection, account, token) for account, token in asked]

    assert await core.database.read(found) == [owner_of(row), None, None, None]
    (stored,) = await core.database.read(lambda c: c.execute(select(dispatches)).all())
    assert (stored.workspace, stored.broadcast, stored.dispatch) == (TEAM, row.id, row.dispatch)
    assert "a-token" not in str(stored)


# --- the counts ------------------------------------------------------------------------------------------------------


async def test_deliveries_are_counted_by_status_and_answers_by_their_kind(core: Core) -> None:
    row, other = await sent(core), await sent(core)
    told = [Receipt(f"i{number}", DELIVERED, "OK", final=number < 2) for number in range(3)]
    told += [Receipt("i3", FAILED, "KO", final=True), Receipt("i4", OTHER, "½"), Receipt("i5", OTHER, "½")]
    told += [Receipt("i0", OTHER, "Merci", kind=REPLY), Receipt("i6", SENT, "Oui", kind=REPLY)]
    told += [Receipt("i1", OTHER, "STOP", kind=OPT_OUT)]
    written = await hear(core, *told, owner=owner_of(row))
    counts = {"delivered": 3, "failed": 1, "other: ½": 2, "replies": 2, "opt-outs": 1}
    assert written.moved == {owner_of(row): DeliveryCounts(counts, 3)}
    await hear(core, Receipt("j", DELIVERED, "OK", final=True), owner=owner_of(other))
    await hear(core, Receipt("k", DELIVERED, "OK", final=True), owner=("T0OTHER", row.id))
    assert await core.database.read(lambda c: receipts.tally(c, TEAM, row.id).counts) == counts
    counted = await core.database.read(lambda c: receipts.recount(c, row))
    assert (counted.row, counted.tally.counts, counted.tally.final) == (row, counts, 3)
    assert counted.tally.reasons == {"KO": 1}


@RECKONED
async def test_a_recount_tells_whether_the_row_is_right_and_holds_until_something_is_counted(core: Core) -> None:
    row = await sent(core)
    right = Recount(row, DeliveryCounts({}, 0))
    wrong = [replace(right, tally=DeliveryCounts({"sent": 1}, 0)), replace(right, tally=DeliveryCounts({}, 1))]
    assert [right.agrees, *(one.agrees for one in wrong)] == [True, False, False]
    later = [replace(row, changed_at=row.changed_at + 1), replace(row, revision=9), replace(row, finals=1)]
    assert [right.holds(one) for one in (row, *later)] == [True, True, False, False]


@RECKONED
async def test_only_a_broadcast_that_is_over_has_ended(core: Core) -> None:
    over = {"done", "failed", "rejected", "cancelled", "expired"}
    row = await sent(core)
    found = await look(core, row)
    assert {state for state in State if replace(found, state=state).ended} == over


async def look(core: Core, row: Broadcast) -> Followed:
    return (await core.database.read(lambda c: receipts.followed(c, [owner_of(row)])))[owner_of(row)]


@RECKONED
async def test_counts_change_by_what_moved_and_none_falls_below_zero(core: Core) -> None:
    row = await sent(core, counts={"sent": 3, "failed": 1}, finals=1)
    moves = [
        (DeliveryCounts({"sent": -1, "delivered": 1}, 1), {"sent": 2, "failed": 1, "delivered": 1}, 2),
        (DeliveryCounts({"sent": -2, "failed": -5, "opt-outs": 0}, -9), {"delivered": 1}, 0),
        (DeliveryCounts({"delivered": -1, "other: ½": 1}, 0), {"other: ½": 1}, 0),
    ]
    for moved, counts, finals in moves:
        current = await look(core, row)
        after = await core.database.write(partial(receipts.count, current=current, moved=moved, at=core.now))
        assert await on_row(core, row, "counts", "finals") == (counts, finals)
        assert after == await look(core, row)


async def test_of_words_without_end_a_few_are_counted_by_name_and_the_others_together(core: Core) -> None:
    row, tracker = await sent(core, "1"), core.tracker()

    async def hear_all(status: DeliveryStatus, people: int) -> dict[str, int]:
        for number in range(people):
            told = Receipt("1", status, f"AT 10:{number:02}", f"+336123456{number:02}")
            await tracker.record("encom", [told])
            current = await core.row(row.id)
            assert (await core.database.read(partial(receipts.recount, row=current))).agrees
        return dict(current.counts)

    named = {f"other: AT 10:{number:02}": 1 for number in range(receipts.WORDS)}
    assert await hear_all(OTHER, receipts.WORDS + 5) == {**named, "other": 5}
    left = {f"other: AT 10:{number:02}": 1 for number in range(3, receipts.WORDS)}
    assert await hear_all(DELIVERED, 3) == {**left, "other": 5, "delivered": 3}
    assert await hear_all(DELIVERED, receipts.WORDS + 5) == {"delivered": receipts.WORDS + 5}


async def test_new_numbers_are_drawn_and_a_new_status_is_told_a_moment_later(core: Core) -> None:
    row = await sent(core, counts={"sent": 2}, finals=0, revision=7)
    at, moment = core.now, 1_000_000
    # the counts, the finals and their time; then the revision, when the card is drawn, when the thread gets a note
    steps = [
        ({"sent": 2}, 0, at, (7, None, None)),
        ({"sent": 2}, 1, at, (7, None, None)),  # people do not see how many are final
        ({"sent": 3}, 1, at, (8, at + moment, None)),
        ({"sent": 2, "delivered": 1}, 2, at + 5, (9, at + moment, at + 5 + moment)),
        ({"delivered": 2, "failed": 1}, 3, at + 9, (10, at + moment, at + 5 + moment)),
    ]
    for counts, finals, when, told in steps:
        current = await look(core, row)
        note = partial(receipts.note_progress, current=current, counts=counts, finals=finals, at=when)
        after = await core.database.write(note)
        assert await on_row(core, row, "revision", "draw_at", "progress_at") == told
        assert after == await look(core, row) == replace(current, counts=counts, finals=finals, revision=told[0])


@RECKONED
async def test_numbers_that_stay_as_they_are_write_nothing(core: Core) -> None:
    row = await sent(core, counts={"sent": 2}, finals=1)
    current = await look(core, row)

    def again(connection: Connection) -> list[str]:
        with heard_statements(connection) as said:
            assert receipts.count(connection, current, DeliveryCounts({"sent": 0}, 0), core.now) == current
            assert receipts.note_progress(connection, current, {"sent": 2}, 1, core.now) == current
        return said

    assert await core.database.write(again) == []


@contextmanager
def heard_statements(connection: Connection) -> Iterator[list[str]]:
    said: list[str] = []

    def hear(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(statement)

    event.listen(connection, "before_cursor_execute", hear)
    try:
        yield said
    finally:
        event.remove(connection, "before_cursor_execute", hear)


async def test_only_what_is_there_and_what_this_version_understands_is_followed(core: Core) -> None:
    one, two, broken = await sent(core, counts={"sent": 1}, finals=1), await sent(core), await sent(core)
    await core.edit(two, shape=SHAPE + 1)
    await core.edit(broken, counts=["no", "table"])
    asked = [owner_of(one), owner_of(two), owner_of(broken), (TEAM, "nobody"), ("T0OTHER", one.id)]
    for lock in (False, True):
        found = await core.database.write(partial(receipts.followed, owners=asked, lock=lock))
        assert list(found) == [owner_of(one)]
        assert (found[owner_of(one)].counts, found[owner_of(one)].finals) == ({"sent": 1}, 1)
    assert core.database.failing_rows.known("counts") == [broken.id]


@pytest.mark.parametrize(
    "wrong",
    [{"counts": {"sent": "x"}}, {"counts": {"sent": None}}, {"counts": {"sent": [1]}}, {"account": "gone"}],
    ids=["text", "nothing", "list", "of no account"],
)
async def test_a_broadcast_that_cannot_be_counted_takes_no_news_from_the_others(
    core: Core, wrong: dict[str, Any]
) -> None:
    bad, good = await sent(core, "1"), await sent(core, "2")
    await core.edit(bad, **wrong)
    news = [Receipt("1", SENT, "SENT"), Receipt("2", DELIVERED, "DLVRD"), Receipt("1", OTHER, "STOP", kind=REPLY)]
    assert (await core.tracker().record("encom", news)).news
    assert await on_row(core, good, "counts") == ({"delivered": 1},)
    assert [id for (id,) in await kept(core, "id")] == ["1", "1", "2"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # PostgreSQL refuses text for a number
async def test_a_broadcast_whose_numbers_are_none_takes_no_news_from_the_others(core: Core) -> None:
    bad, good = await sent(core, "1"), await sent(core, "2")
    await core.edit(bad, finals=text("'x'"))
    await core.tracker().record("encom", [Receipt("1", SENT, "SENT"), Receipt("2", DELIVERED, "DLVRD")])
    assert await on_row(core, good, "counts") == ({"delivered": 1},)


async def test_an_opt_out_without_an_id_is_of_the_dispatch_that_it_came_to_and_teaches_nothing(core: Core) -> None:
    one, two, tracker = await sent(core), await sent(core), core.tracker()

    def leaves(person: str) -> list[Receipt]:
        return [Receipt("", OTHER, "STOP", person, kind=OPT_OUT)]

    await asyncio.gather(
        tracker.record("encom", leaves("+33612345671"), owner_of(one)),
        tracker.record("encom", leaves("+33612345672"), owner_of(two)),
    )
    await tracker.record("encom", leaves("+33612345673"), owner_of(two))
    await tracker.record("encom", leaves("+33612345674"))
    assert await on_row(core, one, "counts") == ({"opt-outs": 1},)
    assert await on_row(core, two, "counts") == ({"opt-outs": 2},)
    assert await core.database.read(lambda c: vendor_ids.owners_of(c, [("encom", "")]).get(("encom", ""))) is None


async def test_an_opt_out_without_an_id_proves_that_it_went_out_and_teaches_nothing(core: Core) -> None:
    row = await sent(core, state="unknown")
    told = [Receipt("", OTHER, "STOP", "+33612345671", kind=OPT_OUT)]
    await core.tracker().record("encom", told, owner_of(row))
    assert await on_row(core, row, "state", "ids") == ("sent", [])
    assert await core.database.read(lambda c: vendor_ids.owners_of(c, [("encom", "")]).get(("encom", ""))) is None


@pytest.mark.long
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # it has one writer
@pytest.mark.parametrize("batches", [1, 40])
async def test_thousands_of_receipts_let_a_command_through_between_them(core: Core, batches: int) -> None:
    row, tracker = await sent(core, "1"), core.tracker()
    told = [Receipt("1", DELIVERED, "DLVRD", f"+336{number:08}") for number in range(2000)]
    each = len(told) // batches
    recording = [
        asyncio.create_task(tracker.record("encom", told[place : place + each])) for place in range(0, len(told), each)
    ]
    counted = select(broadcasts.c.counts["delivered"]).where(broadcasts.c.id == row.id)
    await asyncio.sleep(0)
    while not (by_now := await core.database.write(lambda c: c.execute(counted).scalar())):
        pass
    assert by_now < len(told)
    assert [one.news for one in await asyncio.gather(*recording)] == [True] * batches
    assert await on_row(core, row, "counts") == ({"delivered": 2000},)
    assert not (await tracker.record("encom", told)).news


@LOCKED
async def test_what_is_counted_beside_an_id_that_becomes_known_is_not_lost(core: Core, second: Database) -> None:
    await hear(core, Receipt("22", DELIVERED, "OK"))
    row = await sent(core)

    def count_six(connection: Connection) -> None:
        mine = broadcasts.c.id == row.id
        connection.execute(update(broadcasts).where(mine).values(counts={"sent": 6}))
        counted.set()
        until_it_waits(connection, learning)

    async def learn() -> None:
        await counted.wait()
        await second.write(lambda c: vendor_ids.own_ids(c, row, ["22"]))

    counted, learning = asyncio.Event(), asyncio.create_task(learn())
    async with asyncio.timeout(LONG):
        await core.database.write(count_six)
        await learning
    assert (await core.row(row.id)).counts == {"sent": 6, "delivered": 1}


@LOCKED
async def test_of_two_processes_the_second_leaves_alone_what_the_first_is_telling(core: Core, second: Database) -> None:
    row = await sent(core, progress_at=core.now)

    def tell(connection: Connection) -> list[str]:
        told = [row.id for row in receipts.progress_to_post(connection, core.now)]
        telling.set()
        until_it_waits(connection, other)
        return told

    async def tell_too() -> list[Broadcast]:
        await telling.wait()
        return await second.write(lambda c: receipts.progress_to_post(c, core.now))

    telling, other = asyncio.Event(), asyncio.create_task(tell_too())
    async with asyncio.timeout(LONG):
        assert await core.database.write(tell) == [row.id]
        assert await other == []


# --- queries ----------------------------------------------------------------------------------------------------------


async def test_the_ids_with_news_are_told_once_each_and_of_one_broadcast(core: Core) -> None:
    row, other = await sent(core), await sent(core)
    await hear(core, Receipt("9", SENT, "OK"), Receipt("1", SENT, "OK", "a"), owner=owner_of(row))
    await hear(core, Receipt("1", OTHER, "Oui", "b", kind=REPLY), owner=owner_of(row))
    await hear(core, Receipt("5", SENT, "OK"), owner=owner_of(other))
    await hear(core, Receipt("6", SENT, "OK"), owner=("T0OTHER", row.id))
    assert await core.database.read(lambda c: vendor_ids.ids_with_news(c, TEAM, row.id)) == ("1", "9")


async def test_only_deliveries_that_are_told_of_since_it_was_let_go_speak_against_that(core: Core) -> None:
    row, other = await sent(core), await sent(core)
    await hear(core, Receipt("22", SENT, "OK"), owner=owner_of(row))
    heard_at = core.now
    core.now += SECOND
    await hear(core, Receipt("22", OTHER, "Oui", kind=REPLY), owner=owner_of(row))
    await hear(core, Receipt("33", SENT, "OK"), owner=owner_of(other))

    async def reported(since: int | None, workspace: str = TEAM) -> bool:
        asked = replace(row, start_at=since, workspace=workspace)
        return await core.database.read(lambda c: vendor_ids.reported_since_let_go(c, asked))

    assert [await reported(since) for since in (None, heard_at, heard_at + 1)] == [True, True, False]
    assert not await reported(None, "T0OTHER")


NOTHING = Waiting(False, False, False)
WAITS: dict[str, tuple[dict[str, Any], Waiting]] = {
    "nothing": ({"state": "sent"}, NOTHING),
    "progress": ({"state": "done", "progress_at": 0}, Waiting(True, False, False)),
    "progress later": ({"state": "sent", "progress_at": 1}, NOTHING),
    "one to look at": ({"state": "sent", "look_at": 0}, Waiting(False, True, False)),
    "one to look at later": ({"state": "sent", "look_at": 1}, NOTHING),
    "an unknown one": ({"state": "unknown", "look_at": 0}, Waiting(False, False, True)),
    "an unknown one later": ({"state": "unknown", "look_at": 1}, NOTHING),
    "one that is over": ({"state": "done", "look_at": 0}, NOTHING),
    "a newer version's": ({"state": "sent", "look_at": 0, "progress_at": 0, "shape": SHAPE + 1}, NOTHING),
}


async def test_a_tick_is_told_what_waits_for_it(core: Core) -> None:
    row = await core.ask()
    for name, (values, waits) in WAITS.items():
        times = {key: core.now + value for key, value in values.items() if key.endswith("_at")}
        await core.edit(row, **({"look_at": None, "shape": SHAPE} | QUIET | values | times))
        assert (name, await core.database.read(lambda c: receipts.what_waits(c, core.now))) == (name, waits)


async def test_progress_is_told_once_when_it_is_time_and_not_all_of_it_at_once(core: Core) -> None:
    due = [await sent(core, progress_at=core.now - number) for number in range(3)]
    early = await sent(core, progress_at=core.now + 1)

    async def told(limit: int = 50) -> set[str]:
        rows = await core.database.write(lambda c: receipts.progress_to_post(c, core.now, limit))
        return {row.id for row in rows}

    assert await told() == {row.id for row in due}
    assert len(await told(2)) == 2
    await core.database.write(lambda c: receipts.mark_progress_posted(c, due[0]))
    assert await told() == {row.id for row in due[1:]}
    assert await on_row(core, early, "progress_at") == (core.now + 1,)
