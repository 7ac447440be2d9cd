"""`/broadcast list`: what is asked for, in pages, and nothing that the asker may not see."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from sqlalchemy import Connection

from bot.app import Bot
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND
from bot.domain.errors import NotAllowed
from bot.domain.lifecycle import Hold, State
from bot.slack.commands.listing import Asked, near_filter
from bot.storage import broadcasts
from bot.storage.database import Database
from bot.storage.listings import SEARCHED, Listing, Place, Recipients, Wanted, page
from sandbox.server import Sandbox
from tests.support.ground import StartBot
from tests.support.rows import row
from tests.support.slack import HERE, ask, card

AT = 1_700_000_000 * SECOND
TEAM = "T0BELL"


def numbered(number: int, **changes: Any) -> Broadcast:
    named = {"id": f"B{number:07d}", "key": str(number), "workspace": TEAM, "channel": HERE}
    told = {"text": f"Soldes {number}", "created_at": AT + number, "changed_at": AT + number, "due": None}
    return row(**(named | told | {"state": State.DONE} | changes))


def stored(*rows: Broadcast) -> Any:
    def write(connection: Connection) -> None:
        for one in rows:
            broadcasts.add(connection, one, draw=False)

    return write


async def walked(database: Database, listing: Listing, limit: int) -> list[str]:
    """Turn all pages of a list."""
    found, place = list[str](), None
    while True:
        turned = await database.read(lambda c, place=place: page(c, listing, place, limit))  # type: ignore[misc]
        found += [one.id for one in turned.found]
        place = turned.after
        if place is None:
            return found


KINDS: dict[Wanted, dict[str, Any]] = {
    Wanted.WAITING: {"state": State.PENDING},
    Wanted.UPCOMING: {"state": State.SCHEDULED, "due": AT + 5},
    Wanted.UNKNOWN: {"state": State.UNKNOWN},
}


@pytest.mark.long
async def test_the_pages_of_each_list_hold_each_of_its_rows_once(database: Database) -> None:
    rows = [numbered(n, changed_at=AT + n // 3, created_at=AT + n // 3) for n in range(10)]  # three at each instant
    for number, changes in enumerate(KINDS.values(), 1):
        rows += [numbered(100 * number + n, requester="U0BEN", audience="x", target="9", **changes) for n in range(7)]
    rows.append(numbered(900, state=State.HELD, hold=Hold.HOURS, hold_until=AT, requester="U0BEN", target="9"))
    rows.append(numbered(901, state=State.HELD, hold=Hold.LATE, requester="U0BEN", target="9"))
    rows.append(numbered(902, workspace="T0OTHER", state=State.PENDING))
    await database.write(stored(*rows))
    mine = {one.id for one in rows[:10]}
    first = rows[0]
    to = Recipients(first.account, first.kind, first.target)
    wanted = {
        Wanted.MINE: mine,
        Wanted.AUDIENCE: mine,
        Wanted.LATEST: {one.id for one in rows if one.workspace == TEAM},
        Wanted.WORD: mine,
        Wanted.WAITING: {f"B{n:07d}" for n in (*range(100, 107), 901)},
        Wanted.UPCOMING: {f"B{n:07d}" for n in (*range(200, 207), 900)},
        Wanted.UNKNOWN: {f"B{n:07d}" for n in range(300, 307)},
    }
    for kind, expected in wanted.items():
        listing = Listing(TEAM, first.requester, kind, "soldes", to)
        if kind is Wanted.WORD:
            expected = wanted[Wanted.LATEST]
        found = await walked(database, listing, 3)
        assert len(found) == len(set(found)), kind
        assert set(found) == expected, kind


@pytest.mark.long
async def test_what_changes_between_two_pages_moves_no_other_row(database: Database) -> None:
    await database.write(stored(*(numbered(n) for n in range(6))))
    listing = Listing(TEAM, "U0CLEO")
    first = await database.read(lambda c: page(c, listing, None, 3))
    await database.write(stored(numbered(50), numbered(51)))  # an offset would show two rows again
    second = await database.read(lambda c: page(c, listing, first.after, 3))
    assert [one.id for one in (*first.found, *second.found)] == [f"B{n:07d}" for n in (5, 4, 3, 2, 1, 0)]


@pytest.mark.long
async def test_a_word_is_found_whatever_its_case_and_accents_and_older_texts_on_later_pages(database: Database) -> None:
    await database.write(stored(numbered(0, text="Été à la MER")))
    await database.write(stored(*(numbered(n + 1, text="autre") for n in range(SEARCHED))))
    listing = Listing(TEAM, "U0CLEO", Wanted.WORD, "ete a la mer")
    first = await database.read(lambda c: page(c, listing, None, 10))
    assert (first.found, first.after is None) == ([], False)
    assert await walked(database, listing, 10) == ["B0000000"]


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("wating", "waiting"),
        ("upcomming", "upcoming"),
        ("unknwon", "unknown"),
        ("soldes", None),
    ],
)
def test_a_slip_of_a_filter_is_noticed(typed: str, near: str | None) -> None:
    assert near_filter(typed) == near


@pytest.mark.parametrize(
    "value", ["", "null", "[]", "[1]", '["all", ""]', '["word", "x", 1]', '["word"', '{"a": 1}', "[" * 100_000, '"ab"']
)
def test_a_value_that_is_none_of_ours_turns_no_page(value: str) -> None:
    with pytest.raises(NotAllowed):
        Asked.of(value)


def test_a_value_is_read_as_it_was_written_and_one_out_of_range_breaks_nothing() -> None:
    for asked in (Asked(), Asked(Wanted.MINE), Asked(Wanted.WORD, "“l’été”", Place(AT, "B1"))):
        assert Asked.of(asked.value()) == asked
    assert Asked.of('["mine", "", -5, 7]').after == Place(0, "")


def shown(sandbox: Sandbox, user: str = "U0CLEO") -> str:
    return json.dumps(sandbox.acting.ephemerals(user)[-1], ensure_ascii=False)


@pytest.mark.long
async def test_each_line_links_to_its_card_and_buttons_turn_the_pages_in_place(sandbox: Sandbox, bot: Bot) -> None:
    await ask(sandbox, "send clients transactional Votre commande 0 est prête")
    posted = await card(sandbox)
    await bot.database.write(stored(*(numbered(n, requester="U0CLEO", changed_at=AT - n) for n in range(12))))
    await ask(sandbox, "list mine")
    assert f"archives/{HERE}/p{posted['ts'].replace('.', '')}|Card>" in shown(sandbox)
    assert "<!date^" in shown(sandbox)
    count = len(sandbox.acting.ephemerals("U0CLEO"))
    seen = set(re.findall(r"\*(B\w{7})\*", shown(sandbox)))
    for _ in range(3):
        last = sandbox.acting.ephemerals("U0CLEO")[-1]
        if "broadcast.list.next" not in shown(sandbox):
            break
        await sandbox.acting.click("U0CLEO", HERE, last["ts"], "broadcast.list.next")
        await sandbox.until(lambda: "Back to the beginning" in shown(sandbox))
        seen |= set(re.findall(r"\*(B\w{7})\*", shown(sandbox)))
    assert len(sandbox.acting.ephemerals("U0CLEO")) == count  # each page replaced the one before
    assert len(seen) == 13


@pytest.mark.long
@pytest.mark.parametrize("line", ["list", "list soldes", "list waiting", "list clients", "list unknown"])
async def test_whoever_may_not_see_a_broadcast_finds_it_in_no_list(
    sandbox: Sandbox, start_bot: StartBot, line: str
) -> None:
    bot = await start_bot(sandbox)
    hidden = {"channel": "C0ELSEWHERE", "text": "Soldes secrètes", "requester": "U0ANA", "editor": "U0ANA"}
    states = (State.PENDING, State.UNKNOWN, State.DONE)
    await bot.database.write(stored(*(numbered(n, state=state, **hidden) for n, state in enumerate(states))))
    assert "secrètes" not in await ask(sandbox, line, user="U0DAN")
    assert "secrètes" not in shown(sandbox, "U0DAN")
    assert "secrètes" in await ask(sandbox, line, user="U0ANA") + shown(sandbox, "U0ANA")


@pytest.mark.long
async def test_an_empty_list_says_what_to_do_next_and_a_slip_is_named(sandbox: Sandbox, bot: Bot) -> None:
    assert "open the form" in await ask(sandbox, "list")
    assert "`/broadcast list upcoming`" in await ask(sandbox, "list waiting")
    assert 'at="tomorrow 9:00"' in await ask(sandbox, "list à venir")
    told = await ask(sandbox, "list wating")
    assert "Did you mean `/broadcast list waiting`?" in told
    assert "“wating” in none" in told
    sandbox.world.people["U0CLEO"].locale = "es-ES"
    bot.people.forget()
    assert "¿Querías decir `/broadcast list waiting`?" in await ask(sandbox, "list wating")
