"""A newer version runs beside this one, and its rows hold words that this one does not know."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest
from sqlalchemy import select

from bot.domain.i18n import LANGUAGES, translator_for
from bot.domain.lifecycle import Hold, Phase, State
from bot.storage import tables
from providers.base import AudienceKind, Purpose
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.ground import StartBot
from tests.support.patience import nothing_more
from tests.support.rows import KEY, WORDS, at_once, id_of, spoil
from tests.support.slack import HERE, ask

#: The words that a row may hold. A process that lacks a word leaves the row alone; the tests below show what that means
#: to people. Before you add a word, ask whether that is right for it too (a cap that an older process counts, a lease
#: that it would take over). If it is not, raise `tables.SHAPE`. Then add the word here.
WEIGHED: dict[type[StrEnum], set[str]] = {
    State: {
        *("draft", "pending", "scheduled", "held", "sending", "unknown", "sent", "done", "failed", "rejected"),
        *("cancelled", "expired"),
    },
    Phase: {"staging", "releasing"},
    Hold: {"late", "hours", "paused", "cap", "blocked", "restored", "canary"},
    AudienceKind: {"list", "tag", "group"},
    Purpose: {"marketing", "transactional"},
}


@pytest.mark.parametrize("words", WEIGHED)
def test_no_word_joins_those_of_the_rows_without_a_thought_for_an_older_process(words: type[StrEnum]) -> None:
    assert {word.value for word in words} == WEIGHED[words]
    assert words in WORDS


def test_no_language_joins_without_a_thought_for_an_older_process() -> None:
    """Rows hold sentences and no language, so the only effect is that an older process writes in English."""
    assert set(LANGUAGES) == {"en", "fr", "es"}
    assert translator_for("xx-XX")("Approve") == "Approve"


def card_of(sandbox: Sandbox, text: str) -> Json | None:
    return next((message for message in sandbox.acting.messages(HERE) if text in str(message)), None)


@pytest.mark.long
@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
async def test_an_older_process_lists_what_it_can_read_and_names_who_looks_after_the_rest(
    sandbox: Sandbox, start_bot: StartBot, database_url: str
) -> None:
    bot = await start_bot(sandbox, database_url=database_url, secret_key=KEY)
    planted, cards = [], []
    for number, newer in enumerate(WORDS.values()):
        await ask(sandbox, f"send clients marketing Planted {number}")
        planted.append(await id_of(bot, tables.broadcasts.c.typed, f"Planted {number}"))
        cards.append(await sandbox.until(lambda: card_of(sandbox, f"Planted {number}")))  # noqa: B023 - awaited here
        await spoil(tables.broadcasts, "id", **at_once(**newer))(bot, planted[-1])
    await ask(sandbox, "send clients marketing Soldes")
    rows = select(tables.broadcasts).where(tables.broadcasts.c.id.in_(planted)).order_by(tables.broadcasts.c.id)
    before = await bot.database.read(lambda c: c.execute(rows).all())
    await nothing_more(bot)
    await ask(sandbox, "list", user="U0BEN")
    listed = str(sandbox.acting.ephemerals("U0BEN")[-1])
    assert "Soldes" in listed
    assert "Planted" not in listed
    for id in planted:
        for line in (f"show {id}", f"cancel {id}"):
            told = await ask(sandbox, line, user="U0BEN")
            assert "A newer version of me" in told + str(sandbox.acting.ephemerals("U0BEN")[-1])
    for card in cards:
        await sandbox.acting.click("U0ANA", HERE, card["ts"], "broadcast.approve")
    await nothing_more(bot)
    answers = [answer["text"] for answer in sandbox.acting.ephemerals("U0ANA")]
    assert [answer.startswith("A newer version of me") for answer in answers] == [True] * len(cards)
    assert await bot.database.read(lambda c: c.execute(rows).all()) == before
    assert sandbox.vendors.ledger == []


FAILURES: dict[str, dict[str, Any]] = {
    "in two forms": {"failure": {"template": ["one", "many"], "values": {}}},
    "with a list in it": {"failure": {"template": "{x}", "values": {"x": [1, 2]}}},
    "that nothing fills": {"failure": {"template": "{x}", "values": {}}},
    "counted in tables": {"counts": {"delivered": {"n": 1}}},
    "before all times": {"send_at": -(10**17)},
}


async def test_an_older_process_names_who_looks_after_a_broadcast_that_it_cannot_draw(
    sandbox: Sandbox, start_bot: StartBot, database_url: str
) -> None:
    bot = await start_bot(sandbox, database_url=database_url, secret_key=KEY)
    for what, newer in FAILURES.items():
        await ask(sandbox, f"send clients marketing Planted {what}")
        id = await id_of(bot, tables.broadcasts.c.typed, f"Planted {what}")
        await spoil(tables.broadcasts, "id", **newer)(bot, id)
        for line in ("show", "cancel"):
            told = await ask(sandbox, f"{line} {id}")
            assert f"A newer version of me is handling *{id}*" in told + str(sandbox.acting.ephemerals("U0BEN")[-1:])


SCHEDULES: dict[str, dict[str, Any]] = {
    "a shape": {"shape": tables.SHAPE + 1},
    "a kind": {"kind": "poll"},
    "a state": {"state": "dancing"},
    "an end": {"ended": "moved"},
    "a word for closed days": {"closed": "sideways"},
    "a field of an approval": {
        "cover": {"digest": "x", "voters": [], "left": 1, "of": "B1", "bound": None, "newer": True}
    },
    "weeks written another way": {"rule": "0 9 * * 1 / 2 weeks from 2026-11-30 / twice"},
    "seven fields": {"rule": "0 0 9 * * 1 2027"},
    "weeks without a first one": {"rule": "0 9 * * 1 / 100 weeks"},
    "a rule of words": {"rule": "now and then"},
    "options in a list": {"options": ["audience"]},
    "a time before all times": {"next_at": -(10**17)},
}


@pytest.mark.long
@pytest.mark.parametrize("asking", ['remind "every weekday 9:30" {text}', 'every "every weekday 9:30" clients {text}'])
async def test_an_older_process_names_who_looks_after_a_schedule_that_it_cannot_read(
    sandbox: Sandbox, start_bot: StartBot, database_url: str, asking: str
) -> None:
    bot = await start_bot(sandbox, database_url=database_url, secret_key=KEY)
    planted = []
    for what, newer in SCHEDULES.items():
        await ask(sandbox, asking.format(text=f"With {what}"))
        planted.append(await id_of(bot, tables.schedules.c.text, f"With {what}"))
        await spoil(tables.schedules, "id", **newer)(bot, planted[-1])
    for id in planted:
        for line in ("show", "pause", "resume", "stop"):
            assert f"A newer version of me is handling *{id}*" in await ask(sandbox, f"{line} {id}")
    assert "There is no reminder or recurring broadcast *B2222222*" in await ask(sandbox, "stop B2222222")
