"""Stored rows do not slow what people wait for: the queries of a tick, a command, a press or a callback use an index,
among a hundred thousand rows and, in the long form, among a million."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, select

from benchmarks import rows
from benchmarks.ground import APPROVER, Core, opened, settle
from benchmarks.rows import HOME
from bot.domain.broadcast import Broadcast, BroadcastRequest
from bot.domain.clock import SECOND
from bot.domain.lifecycle import Hold, State
from bot.domain.people import Person
from bot.domain.schedule import Kind, Schedule
from bot.storage import (
    absences,
    audit,
    boards,
    broadcasts,
    campaigns,
    cards,
    homes,
    keys,
    news,
    notes,
    occurrences,
    outbox,
    queue,
    receipts,
    schedules,
    tables,
    templates,
    week,
)
from bot.storage.database import Database
from bot.storage.figures import read_figures
from bot.storage.listings import Listing, Place, Recipients, Wanted, page
from bot.storage.postgres import Postgres
from bot.storage.receipts import OwnedReceipt
from bot.storage.sqlite import SQLite
from bot.storage.tables import metadata, vendor_ids
from bot.storage.vendor_ids import dispatch_by_token, ids_with_news, own_ids, owners_of
from bot.storage.votes import drop_vote, drop_votes, votes_for
from bot.workflow.decision_types import Approve, Reject
from providers.base import DeliveryStatus, Receipt, ReceiptKind, Staged
from tests.support.ground import new_postgres
from tests.support.patience import LONG

ROOT = Path(__file__).parent.parent.parent
AT = 1_800_000_000 * SECOND
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 24 * 3600 * SECOND
OTHERS, AT_HOME = 2_000, 50  # live ones of each other kind: in all workspaces, and at home
FIRST = 5_000_000  # number of the first broadcast at home, the newest of those that ended there
TICKET, ONE, NEWS = "sms_many", f"B{rows.WIDTH + FIRST}", f"B{rows.WIDTH + 9_000_000}"

#: Indexes that may be read whole: what a few processes send now, what is not posted yet and, for counts, live ones.
WHOLE = {"ix_broadcasts_sending", "ix_notes_post", "ix_posts_post", "ix_broadcasts_living"}
READ_WHOLE = {  # by some questions alone
    # In the order of what is due in all workspaces, where PostgreSQL knows that nearly all of it is of this one.
    "list upcoming": {"ix_broadcasts_due"},
    "a scrape": {"ix_broadcasts_held"},  # those that are held, which it looks through like the other live ones
    "snoozed reminders": {"ix_occurrences_draw"},  # what is still to be posted or is snoozed
}
LARGE = {
    "broadcasts",
    "notes",
    "audit",
    "dispatches",
    "schedules",
    "occurrences",
    "posts",
    "votes",
    "cards",
    "vendor_ids",
    "deliveries",
    "seen",
}  # PostgreSQL reads a table of one page without its index

WRITER, PLACE = "U0CLEO0001", boards.Place(AT - 5 * MINUTE, "B1")

FEW = 15  # thousands of SQLite's steps

Asked = tuple[str, Any]  # a statement as the driver got it, and its parameters


def like(id: str) -> Broadcast:
    return replace(rows.sample(AT), workspace=HOME, id=id)


def reminder(**changes: Any) -> Schedule:
    fields: dict[str, Any] = {"workspace": HOME, "id": f"S{rows.WIDTH + 7}", "kind": Kind.REMINDER, "key": "new"}
    fields |= {"owner": "U0CLEO0001", "channel": "C0MARKETING", "typed": "every monday at 9:00", "rule": "0 9 * * 1"}
    fields |= {"zone": "Europe/Paris", "text": "Look at the numbers", "created_at": AT, "changed_at": AT}
    return Schedule(**(fields | changes))


def heard(number: int, **changes: Any) -> OwnedReceipt:
    receipt = Receipt(TICKET, DeliveryStatus.DELIVERED, "DELIVERED", final=True, **changes)
    return OwnedReceipt("octo", receipt, f"x{number}", (HOME, NEWS))


def adopted(connection: Connection) -> None:
    """Record an early receipt, then the answer for its broadcast."""
    stray = Receipt("late", DeliveryStatus.SENT, "SENT")
    receipts.record_deliveries(connection, [OwnedReceipt("octo", stray, "", None)], AT)
    own_ids(connection, broadcasts.find(connection, HOME, NEWS), ["late"])


def called_back(connection: Connection) -> None:
    """Record receipts, some of them for the second time."""
    receipts.followed(connection, [(HOME, NEWS)])
    recorded = receipts.record_deliveries(connection, [heard(number) for number in (1, 2, 1, 3)], AT)
    for owner, row in receipts.followed(connection, [(HOME, NEWS)], lock=True).items():
        receipts.count(connection, row, recorded.moved[owner], AT)


def listed(connection: Connection, wanted: Wanted) -> None:
    """Read the first page of a list, and one from its middle."""
    one = like(ONE)
    to = Recipients(one.account, one.kind, one.target)
    listing = Listing(HOME, one.requester, wanted, "no such word", to)
    for place in (None, Place(AT - 10_000 * MINUTE, ONE)):
        page(connection, listing, place, 10)


def paused(connection: Connection) -> None:
    for who in ("U0OPS", None):
        keys.set_paused(connection, HOME, who, AT)
    audit.write_event(connection, HOME, "U0OPS", "pause_all", None, AT)


#: The queries of ticks, commands, presses, reactions, callbacks and scrapes, each with the index that answers it,
#: where one index serves that query alone.
QUESTIONS: dict[str, tuple[Callable[[Connection], object], str]] = {
    "due": (lambda c: queue.due(c, AT, 8, lease_at=AT, taken={"octo": "B1"}), "ix_broadcasts_due"),
    "due of some": (lambda c: queue.due(c, AT, 8, lease_at=AT, taken={}, accounts=["encom"]), "ix_broadcasts_due"),
    "to_stage": (lambda c: queue.to_stage(c, ["octo"], AT, AT + 30 * SECOND, lease_at=AT), "ix_broadcasts_due"),
    "in_state": (lambda c: queue.in_state(c, State.SENDING), "ix_broadcasts_sending"),
    "abandoned": (lambda c: queue.abandoned(c, "one", ["B1"], lease_at=AT, alone=True), "ix_broadcasts_sending"),
    "stranded": (lambda c: queue.stranded(c, AT, ["encom"]), "ix_broadcasts_due"),
    "free_staged_by_others": (lambda c: queue.free_staged_by_others(c, "me"), "ix_broadcasts_lease"),
    "lapsed": (lambda c: queue.lapsed(c, AT), "ix_broadcasts_expires"),
    "reopened": (lambda c: queue.reopened(c, AT, ()), "ix_broadcasts_window"),
    "slots": (lambda c: queue.slots(c, ["encom", "octo"], AT), "ix_broadcasts_staged"),
    "released_since": (lambda c: campaigns.released_since(c, HOME, AT - HOUR), "ix_dispatches_released"),
    "to_look_at": (lambda c: queue.to_look_at(c, State.SENT, AT, 10), "ix_broadcasts_look"),
    "unsized": (lambda c: queue.unsized(c, ["encom", "octo"], AT), "ix_broadcasts_unsized"),
    "progress_to_tell": (lambda c: receipts.progress_to_post(c, AT), "ix_broadcasts_progress"),
    "cards_to_draw": (lambda c: cards.cards_to_draw(c, AT, 20, new=False), "ix_broadcasts_draw"),
    "notes_to_post": (lambda c: notes.notes_to_post(c, AT, 20), "ix_notes_post"),
    "voices_wait": (lambda c: queue.voices_wait(c, AT), "ix_broadcasts_voice"),
    "to_voice": (lambda c: queue.to_voice(c, AT), "ix_broadcasts_voice"),
    "reviews_wait": (lambda c: queue.reviews_wait(c, AT), "ix_broadcasts_review"),
    "to_review": (lambda c: queue.to_review(c, AT), "ix_broadcasts_review"),
    "posts_wait": (lambda c: outbox.posts_wait(c, AT), "ix_posts_post"),
    "not_known": (lambda c: week.not_known(c, HOME), "ix_broadcasts_living"),
    "anchors_to_draw": (lambda c: news.anchors_to_draw(c, AT, 20), "ix_posts_draw"),
    "draw_again": (lambda c: news.draw_again(c, HOME, NEWS, AT), "ix_posts_about"),
    "take_post": (lambda c: outbox.take_post(c, AT, AT + HOUR), "ix_posts_post"),
    "schedules that are due": (lambda c: schedules.due(c, Kind.REMINDER, AT, 20), "ix_schedules_next"),
    "schedules that awake": (lambda c: schedules.awake(c, AT, 20), "ix_schedules_paused"),
    "occurrences to draw": (lambda c: occurrences.waits(c, AT), "ix_occurrences_draw"),
    "snoozed occurrences that awake": (lambda c: occurrences.woken(c, AT, 20), "ix_occurrences_draw"),
    "take_turn": (lambda c: occurrences.take(c, AT, AT + HOUR), "ix_occurrences_draw"),
    "leftovers_to_recall": (lambda c: campaigns.leftovers_to_recall(c, AT), ""),
    "forget_seen": (lambda c: keys.forget_seen(c, AT - HOUR), "ix_seen_at"),
    # --- whether there is work
    "a dispatcher's look": (
        lambda c: queue.work_waits(
            c, AT, soon=AT + 30 * SECOND, lease_at=AT, preparing=["octo"], owner="me", working_on=["B1"], paused=[]
        ),
        "ix_broadcasts_due",
    ),
    "is there one without a size": (lambda c: queue.sizes_wait(c, ["encom", "octo"], AT), "ix_broadcasts_unsized"),
    "is there one that lapsed": (lambda c: queue.lapsed_waits(c, AT, AT - DAY), "ix_broadcasts_expires"),
    "is there something to show": (lambda c: queue.showing_waits(c, AT), "ix_broadcasts_draw"),
    "is there something to track": (lambda c: receipts.what_waits(c, AT), "ix_broadcasts_progress"),
    "is there an occurrence to make": (lambda c: occurrences.clock_waits(c, AT, AT), "ix_schedules_next"),
    # --- commands and buttons
    "count_by_state": (broadcasts.count_by_state, "ix_broadcasts_living"),
    "a scrape": (lambda c: read_figures(c, AT), "ix_broadcasts_living"),
    "pause all": (paused, ""),
    "resume all": (lambda c: broadcasts.count_held(c, HOME, Hold.PAUSED), "ix_broadcasts_held"),
    "stops": (lambda c: keys.stops(c, AT), ""),
    "list": (lambda c: listed(c, Wanted.LATEST), "ix_broadcasts_changed"),
    "list mine": (lambda c: listed(c, Wanted.MINE), "ix_broadcasts_requester"),
    "list waiting": (lambda c: listed(c, Wanted.WAITING), "ix_broadcasts_board"),
    "list upcoming": (lambda c: listed(c, Wanted.UPCOMING), "ix_broadcasts_planned"),
    "list unknown": (lambda c: listed(c, Wanted.UNKNOWN), "ix_broadcasts_board"),
    "a board of reminders": (lambda c: schedules.page(c, HOME, Kind.REMINDER, None, 8), ""),
    "the same reminder": (lambda c: schedules.same(c, reminder()), ""),
    "snoozed reminders": (lambda c: occurrences.snoozed(c, HOME, 10), ""),
    "list clients": (lambda c: listed(c, Wanted.AUDIENCE), "ix_broadcasts_recipients"),
    "list soldes": (lambda c: listed(c, Wanted.WORD), "ix_broadcasts_changed"),
    "show": (lambda c: (broadcasts.find(c, HOME, ONE), audit.history(c, HOME, ONE)), "ix_audit_broadcast"),
    "audit": (lambda c: audit.page(c, HOME, None, None, 11), ""),
    "audit of one": (lambda c: audit.page(c, HOME, ONE, 9_999_999, 11), "ix_audit_broadcast"),
    "who was faster": (lambda c: audit.last_actor(c, like(ONE)), "ix_audit_broadcast"),
    "the votes of one": (lambda c: votes_for(c, like(ONE)), ""),
    "the card of one": (lambda c: (cards.card_of(c, like(ONE)), cards.older_cards(c, like(ONE))), ""),
    "a vote taken back": (lambda c: drop_vote(c, like(ONE), "U0BEN", "button"), ""),
    "all votes fall": (lambda c: drop_votes(c, like(ONE)), ""),
    "the same key": (lambda c: broadcasts.find_by_key(c, HOME, f"k{rows.WIDTH + FIRST}"), ""),
    "its twin": (lambda c: broadcasts.find_twin(c, like(ONE), AT - 10 * MINUTE), "ix_broadcasts_requester"),
    "what was lately marketing": (
        lambda c: broadcasts.marketing_to_same_recipients(c, like("none"), AT - 7 * DAY, 100),
        "",
    ),
    "its duplicates": (
        lambda c: broadcasts.maybe_duplicated(c, like("none"), AT - 12 * HOUR, 30),
        "ix_broadcasts_going",
    ),
    "what was asked meanwhile": (lambda c: broadcasts.lately_to_same_recipients(c, like("none"), AT - 10 * MINUTE), ""),
    "who is away": (lambda c: absences.absences_at(c, HOME, AT), ""),
    "the card at a place": (lambda c: cards.card_at(c, HOME, "C0MARKETING", f"1800000000.{rows.WIDTH + FIRST}"), ""),
    "an event that came before": (lambda c: keys.was_seen(c, HOME, f"Ev{rows.WIDTH + 7}"), ""),
    "a reaction": (lambda c: keys.keep_latest(c, HOME, f"Ev{rows.WIDTH + 7}", AT), ""),
    "a reaction's last time": (lambda c: keys.last_time(c, HOME, f"Ev{rows.WIDTH + 7}"), ""),
    "templates": (lambda c: (templates.templates_of(c, HOME), templates.find_template(c, HOME, "x")), ""),
    "a reminder asked for": (lambda c: schedules.add(c, reminder(id="S1"), since=AT - HOUR), "ix_schedules_state"),
    "reminders": (lambda c: schedules.listed(c, HOME, Kind.REMINDER), "ix_schedules_state"),
    "a reminder's occurrences": (
        lambda c: (occurrences.latest(c, HOME, reminder().id, 5), occurrences.unanswered(c, reminder())),
        "",
    ),
    "what a schedule made": (lambda c: occurrences.broadcasts_made(c, reminder()), ""),
    "an occurrence at a place": (
        lambda c: occurrences.find_posted(c, HOME, "C0MARKETING", f"1800000000.{rows.WIDTH + OTHERS + 1}"),
        "ix_occurrences_ts",
    ),
    "a digest": (
        lambda c: broadcasts.for_digest(c, HOME, "C0MARKETING", AT - DAY, AT + 100 * SECOND),
        "ix_broadcasts_held",
    ),
    # --- Home
    "what waits for somebody": (lambda c: boards.waiting(c, HOME, WRITER, None, 31), "ix_broadcasts_board"),
    "the drafts among it": (lambda c: boards.waiting(c, HOME, WRITER, PLACE, 31), "ix_broadcasts_drafts"),
    "what somebody asked for": (lambda c: boards.mine(c, HOME, WRITER, PLACE, 31), "ix_broadcasts_requester"),
    "what goes out today": (lambda c: boards.planned(c, HOME, AT + DAY, PLACE, 31), "ix_broadcasts_planned"),
    "what is not known": (lambda c: boards.unknown(c, HOME, PLACE, 31), "ix_broadcasts_board"),
    "what recurs": (lambda c: boards.recurring(c, HOME, PLACE, 31), "ix_schedules_board"),
    "whose Home to draw": (lambda c: homes.due(c, AT, 10), ""),
    "a change for them": (lambda c: homes.stir(c, HOME, AT), ""),
    # --- callbacks
    "a callback's token": (lambda c: dispatch_by_token(c, "encom", "no such token"), ""),
    "whose ids these are": (
        lambda c: owners_of(c, [("encom", str(rows.WIDTH + FIRST + n)) for n in range(64)]),
        "",
    ),
    "a callback": (called_back, ""),
    "a late answer": (adopted, ""),
    "how far it has been reported": (lambda c: ids_with_news(c, HOME, ONE), "ix_deliveries_broadcast"),
}


@dataclass(frozen=True)
class Sizes:
    """How many broadcasts wait and how many have ended in ten thousand workspaces, how many have ended in one of them,
    and how many deliveries one broadcast has there."""

    waiting: int
    ended: int
    at_home: int
    deliveries: int

    @property
    def told(self) -> int:
        """How many broadcasts at home left more than their row."""
        return min(self.at_home, 50_000)


USUAL, MILLION = Sizes(100_000, 20_000, 20_000, 20_000), Sizes(400_000, 100_000, 500_000, 1_000_000)


def crowd(connection: Connection, sizes: Sizes) -> None:
    """Fill ten thousand workspaces with broadcasts, most of them waiting and many ended. One workspace, home, has more
    ended ones, a few live ones of each kind, and a campaign with very many deliveries."""
    first, ended = 1, {"state": State.DONE, "due": None}
    held: dict[str, Any] = {"state": State.HELD, "hold": Hold.HOURS, "hold_until": AT + HOUR, "expires_at": AT + HOUR}
    pending = {"state": State.PENDING, "due": None, "expires_at": AT + HOUR}
    sent = {"state": State.SENT, "due": None, "look_at": AT + HOUR}
    unknown = {"state": State.UNKNOWN, "due": None, "look_at": AT + HOUR}
    for count, fields, changes in (
        (sizes.waiting, {}, {"due": lambda n: AT + n * SECOND, "changed_at": lambda n: AT - n * 60 * SECOND}),
        (sizes.ended, ended, {"changed_at": lambda n: AT - n * SECOND}),
        *((OTHERS, fields, {}) for fields in (held, pending, sent)),
    ):
        rows.fill(connection, rows.sample(AT, **fields), first, count, **dict[str, Any](changes))
        first += count
    rows.tell(connection, sizes.waiting + 1, sizes.ended, AT - HOUR)
    rows.recur(connection, 1, OTHERS, AT + HOUR)
    rows.see(connection, 1, sizes.ended, AT)
    at_home(connection, sizes, (held | {"hold": Hold.PAUSED}, pending, sent, unknown, {"due": AT + HOUR}))


def at_home(connection: Connection, sizes: Sizes, living: tuple[dict[str, Any], ...]) -> None:
    """Fill home with a broadcast a minute for years, all by one person."""
    ended = rows.sample(AT, state=State.DONE, due=None)
    ago: dict[str, Any] = dict.fromkeys(("created_at", "changed_at", "accepted_at"), minutes_ago)
    rows.fill(connection, ended, FIRST, sizes.at_home, workspaces=1, **ago)
    rows.tell(connection, FIRST, sizes.told, AT - DAY, workspaces=1)
    for number, fields in enumerate(living, 1):
        row = rows.sample(AT, created_at=AT - DAY, **fields)
        rows.fill(connection, row, FIRST - number * AT_HOME, AT_HOME, workspaces=1, changed_at=lambda n: AT - n)
    rows.recur(connection, OTHERS + 1, sizes.told, AT + HOUR, workspaces=1, state="ended", next_at=None)
    rows.recur(connection, OTHERS + sizes.told + 1, AT_HOME, AT + HOUR, workspaces=1)
    campaign = {"workspace": HOME, "id": NEWS, "key": NEWS, "account": "octo", "provider": "octopush"}
    told: dict[str, Any] = {"ids": (TICKET,), "staged": Staged(TICKET, contacts=10**9), "accepted_at": AT, "due": None}
    row = rows.sample(AT, state=State.SENT, look_at=AT + HOUR, **campaign, **told)
    broadcasts.add(connection, row, draw=False)
    owner = {"account": "octo", "id": TICKET, "workspace": HOME, "broadcast": NEWS}
    connection.execute(insert(vendor_ids).values(owner))
    rows.deliver(connection, row, 1, sizes.deliveries)


def in_a_hurry(connection: Connection) -> None:
    """Speed up the filling: enough memory for the indexes, and no durability."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA cache_size=-262144")
        return
    for table in reversed(metadata.sorted_tables):
        connection.exec_driver_sql(f"ALTER TABLE {table} SET UNLOGGED")


def minutes_ago(number: rows.Number) -> rows.Number:
    return AT - (number - FIRST + 1) * 60 * SECOND


@dataclass(frozen=True)
class Pair:
    """Two databases of one kind, by their addresses: one with the crowd, one with nothing."""

    crowded: str
    empty: str


async def _fill(pair: Pair, sizes: Sizes) -> None:
    async with opened(pair.crowded, fresh=True) as database:
        await database.write(in_a_hurry, patience=None)
        await database.write(partial(crowd, sizes=sizes), patience=None)
        await settle(database)
    async with opened(pair.empty, fresh=True):
        pass


@contextmanager
def made(request: pytest.FixtureRequest, kind: str, folder: Path, sizes: Sizes) -> Iterator[Pair]:
    with ExitStack() as open_ones:
        if kind == "sqlite":
            pair = Pair(f"sqlite:///{folder}/crowded.db", f"sqlite:///{folder}/empty.db")
        else:
            server = request.getfixturevalue("postgres")
            pair = Pair(*(open_ones.enter_context(new_postgres(server)) for _ in range(2)))
        asyncio.run(_fill(pair, sizes))
        yield pair


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with made(request, request.param, tmp_path_factory.mktemp("crowd"), USUAL) as pair:
        yield pair


@pytest.fixture(params=["sqlite", "postgresql"])
def million(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """A million stored broadcasts, and a million deliveries of one of them."""
    with made(request, request.param, tmp_path, MILLION) as pair:
        yield pair
        for file in tmp_path.glob("*.db*"):
            file.unlink()


@pytest.fixture
async def database(pair: Pair) -> AsyncIterator[Database]:
    async with opened(pair.crowded, patience=LONG) as found:
        yield found


@contextmanager
def listening(database: Database) -> Iterator[list[Asked]]:
    """Collect every statement that goes to the driver meanwhile."""
    assert isinstance(database, SQLite | Postgres)
    engine = database.engine if isinstance(database, SQLite) else database.engine.sync_engine
    heard: list[Asked] = []

    def hear(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        heard.append((statement, parameters[0] if many else parameters))

    event.listen(engine, "before_cursor_execute", hear)
    yield heard
    event.remove(engine, "before_cursor_execute", hear)


def planned(asked: Asked) -> bool:
    """Whether the statement looks anything up."""
    return asked[0].lstrip().startswith(("SELECT", "UPDATE", "DELETE", "WITH"))


@dataclass(frozen=True)
class Step:
    """One access to a table. `within`: it looks up known values and does not read from end to end."""

    table: str
    index: str
    within: bool

    @property
    def whole(self) -> bool:
        return not self.within and self.index not in WHOLE and self.table in LARGE


def plan(connection: Connection, asked: Asked) -> list[Step]:
    """Return how the database would run this statement."""
    statement, parameters = asked
    if connection.dialect.name == "sqlite":
        lines = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        found = (re.match(r"(SCAN|SEARCH) (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", line[3]) for line in lines)
        return [Step(one[2], one[3] or "", one[1] == "SEARCH") for one in found if one]
    told = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
    top = (json.loads(told) if isinstance(told, str) else told)[0]["Plan"]
    return [
        Step(node.get("Relation Name", ""), node.get("Index Name", ""), "Index Cond" in node or _is_first(node, above))
        for above, node in _nodes(top)
        if node["Node Type"].endswith("Scan") and node["Node Type"] != "Bitmap Heap Scan"
    ]


def _nodes(node: dict[str, Any], above: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield above, node
    for below in node.get("Plans", ()):
        yield from _nodes(below, node["Node Type"])


def _is_first(node: dict[str, Any], above: str) -> bool:
    """Whether the scan takes only the first entry of an index."""
    return above == "Limit" and "Index Name" in node and "Filter" not in node


async def unplanned(database: Database) -> dict[str, list[Step]]:
    """Return the questions that are not answered through their index."""
    wrong: dict[str, list[Step]] = {}
    for name, (question, index) in QUESTIONS.items():
        with listening(database) as heard:
            await database.write(question)
        steps = [step for one in heard if planned(one) for step in await database.read(partial(plan, asked=one))]
        assert steps, name
        counted = READ_WHOLE.get(name, set())
        used = {"", *(step.index for step in steps)}
        if any(step.whole and step.index not in counted for step in steps) or not used & {index, *counted}:
            wrong[name] = steps
    return wrong


async def long_ways(database: Database) -> dict[str, int]:
    """Return the questions that look at more than a few rows, with their thousands of SQLite steps. A plan may name an
    index and still read all of it, so the steps are counted."""
    taken = {name: await database.write(partial(thousands, question)) for name, (question, _) in QUESTIONS.items()}
    count = taken.pop("count_by_state")
    assert count > 100  # so the step count notices a read of all live ones
    assert taken.pop("a scrape") < count + 200  # besides, it reads only what waits for people
    assert taken.pop("a digest") < 300  # it reads only what waits or was sent lately
    assert taken.pop("snoozed reminders") < 300  # it reads only what is still to be posted or is snoozed
    return {name: steps for name, steps in taken.items() if steps > FEW}


async def whole_tables(database: Database, decision: Callable[[Core], Awaitable[None]]) -> dict[str, list[Step]]:
    """Return the statements of a decision that read a table from end to end."""
    core = Core(database, clock=lambda: AT)
    with listening(database) as heard:
        await decision(core)
        await core.close()
    asked = {one[0]: one for one in heard if planned(one)}
    assert len(asked) > 5
    found = {name: await database.read(partial(plan, asked=one)) for name, one in asked.items()}
    return {name: steps for name, steps in found.items() if any(step.whole for step in steps)}


@pytest.mark.long
async def test_every_question_is_answered_through_an_index(database: Database) -> None:
    assert await unplanned(database) == {}


@pytest.mark.long
async def test_no_question_looks_at_what_is_not_asked_for(database: Database) -> None:
    if not isinstance(database, SQLite):
        pytest.skip("only SQLite tells its steps")
    assert await long_ways(database) == {}


@pytest.mark.long
async def test_among_a_million_rows_nothing_is_asked_in_another_way(million: Pair) -> None:
    async with opened(million.crowded, patience=LONG) as database:
        assert await unplanned(database) == {}
        if isinstance(database, SQLite):
            assert await long_ways(database) == {}
        for decision in STEPS.values():
            assert await whole_tables(database, decision) == {}
    if Path("/proc/self/status").exists():
        many, none = await ticking(million.crowded), await ticking(million.empty)
        assert many["rss"] - none["rss"] <= 2048, (many, none)


def thousands(question: Callable[[Connection], object], connection: Connection, *, each: int = 1000) -> int:
    """Return how often SQLite took `each` steps."""
    driver, steps = connection.connection.driver_connection, 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    assert isinstance(driver, sqlite3.Connection)
    driver.set_progress_handler(count, each)
    question(connection)
    driver.set_progress_handler(None, 0)
    return steps


CLEO, ANA = (Person(HOME, id, zone="Europe/Paris", member=True) for id in ("U0CLEO", APPROVER))


async def ticks(core: Core) -> None:
    """Tick with five broadcasts due whose vendor cannot be reached."""
    await core.tick()
    core.clock = lambda: AT + 5 * SECOND
    await core.tick()
    await asyncio.gather(*core.dispatcher.running)


async def commands(core: Core) -> None:
    """Ask, approve, withdraw, reject; pause and resume everything."""
    for number in range(2):
        request = BroadcastRequest(
            workspace=HOME, requester=CLEO.id, channel="C0MARKETING", audience="clients0", text=f"Soldes {number}"
        )
        row = (await core.workflow.submit(request, key=f"new{number}", person=CLEO)).broadcast
        if number:
            await core.workflow.act(HOME, row.id, Approve(), person=ANA, version=1)
            await core.workflow.withdraw(HOME, row.id, person=ANA, way="button")
        await core.workflow.act(HOME, row.id, Reject(reason="no"), person=ANA, version=1)
    for on in (True, False):
        await core.workflow.pause_all(replace(CLEO, id="U0OPS"), on=on)


async def callbacks(core: Core) -> None:
    """Record new and repeated receipts, replies, and receipts of no broadcast; then look and report."""
    told = [Receipt(TICKET, status, "word", f"+3361{n}") for n, status in enumerate(DeliveryStatus)]
    told += [Receipt(TICKET, DeliveryStatus.OTHER, "REPLY", "+3361", kind=ReceiptKind.REPLY, text="Merci")]
    for _ in range(2):
        await core.tracker.record("octo", told)
        await core.tracker.record("octo", [Receipt("nobody's", DeliveryStatus.SENT, "SENT", "+3361")])
    core.clock = lambda: AT + 2 * SECOND
    await core.tracker.tick()


async def reminders(core: Core) -> None:
    clock = core.reminders
    await clock.tick()
    await clock.listed(HOME, Kind.REMINDER)
    known = await clock.find(HOME, f"S{rows.WIDTH + OTHERS + 1}")
    await clock.made(known)
    await clock.occurrence_at(HOME, "C0MARKETING", "1.1", known.id, 1)


STEPS = {"ticks": ticks, "commands": commands, "callbacks": callbacks, "reminders": reminders}


@pytest.mark.long
@pytest.mark.parametrize("step", STEPS)
async def test_nothing_that_is_done_reads_a_table_from_end_to_end(database: Database, step: str) -> None:
    assert await whole_tables(database, STEPS[step]) == {}


@pytest.mark.long
async def test_a_callback_costs_the_same_among_many_deliveries_as_among_none(pair: Pair) -> None:
    """Measured in SQLite steps, not in time."""
    if not pair.crowded.startswith("sqlite"):
        pytest.skip("only SQLite tells its steps")
    async with opened(pair.crowded, patience=LONG) as crowded, opened(pair.empty, patience=LONG) as empty:
        await empty.write(partial(at_home_alone))
        taken = [await database.write(partial(thousands, called_back, each=10)) for database in (crowded, empty)]
    assert taken[0] <= 1.5 * taken[1], taken


def at_home_alone(connection: Connection) -> None:
    known = select(tables.broadcasts.c.id).where(tables.broadcasts.c.workspace == HOME, tables.broadcasts.c.id == NEWS)
    if connection.execute(known).first() is None:
        broadcasts.add(connection, rows.sample(AT, workspace=HOME, id=NEWS, account="octo", ids=(TICKET,)), draw=False)


@pytest.mark.long
async def test_a_plan_that_reads_everything_is_noticed(database: Database) -> None:
    everything = ("SELECT text FROM broadcasts WHERE text = 'no such text'", ())
    assert [step.whole for step in await database.read(partial(plan, asked=everything))] == [True]


@pytest.mark.long
async def test_many_that_wait_take_no_memory(pair: Pair) -> None:
    """It takes at most two mebibytes more than a process with nothing to do."""
    if not Path("/proc/self/status").exists():
        pytest.skip("only Linux tells what a process takes")
    many, none = await ticking(pair.crowded), await ticking(pair.empty)
    assert many["rss"] - none["rss"] <= 2048, (many, none)


async def ticking(url: str) -> dict[str, int]:
    """Return the KiB that a separate process takes after some ticks."""
    command = (sys.executable, "-m", "benchmarks.ticking", url, str(AT), "20")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    output, _ = await process.communicate()
    assert process.returncode == 0
    told: dict[str, int] = json.loads(output)
    return told
