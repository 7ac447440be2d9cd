"""How soon people get an answer, while a vendor hangs and while somebody else holds the database."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from statistics import quantiles

import asyncpg
import pytest

from bot.app import Bot
from bot.domain.lifecycle import State
from bot.storage.database import PATIENCE
from sandbox.server import Sandbox
from tests.support.ground import StartBot, all_of
from tests.support.patience import SCALE, Machine, until, within
from tests.support.rows import KEY
from tests.support.slack import HERE, approved, ask, settled

A_SECOND, SECONDS = 50, 10
STALLED = 30  # seconds for which the vendor hangs
PROMISED = 0.5  # seconds
WORDS = ("soldes", "demain", "magasin", "horaires", "fête", "livraison", "commande", "rendez-vous", "atelier", "visite")
PEOPLE = [f"U0PERSON{number}" for number in range(50)]


@pytest.fixture
async def either(sandbox: Sandbox, start_bot: StartBot, database_url: str) -> Bot:
    """The whole bot on each database, with its usual patience."""
    return await start_bot(
        sandbox,
        patience=PATIENCE,
        database_url=database_url,
        secret_key=KEY,
        accounts__encom__timeout=STALLED,
        accounts__encom__requests_per_second=100,
    )


async def p99(line: Callable[[int], str], sandbox: Sandbox) -> tuple[float, list[str]]:
    """Type so many lines a second. Return the 99th percentile of how long an answer took, and all answers."""
    took: list[float] = []

    async def timed(number: int) -> str:
        began = time.monotonic()
        answer = await ask(sandbox, line(number), user=PEOPLE[number % len(PEOPLE)])
        took.append(time.monotonic() - began)
        return answer

    tasks, start = [], time.monotonic()
    for number in range(A_SECOND * SECONDS):
        await asyncio.sleep(max(start + number / A_SECOND - time.monotonic(), 0))
        tasks.append(asyncio.create_task(timed(number)))
    answers = await asyncio.gather(*tasks)
    return quantiles(took, n=100)[-1], answers


def asking(chance: random.Random) -> Callable[[int], str]:
    """Of ten lines, seven ask for a broadcast; the others open the form, look at the list and send a test."""

    def line(number: int) -> str:
        text = f"{' '.join(chance.choices(WORDS, k=8))} {number}"
        return {7: "", 8: "list", 9: f"test newsletter marketing {text}"}.get(
            number % 10, f"send clients marketing {text}"
        )

    return line


def is_answer(number: int, answer: str) -> bool:
    """Whether this answers the line of this number. A form is opened without a word."""
    told = {8: "The latest broadcasts", 9: "The test *"}.get(number % 10, "is waiting for approval")
    return answer == "" if number % 10 == 7 else told in answer


def crowd(sandbox: Sandbox) -> None:
    """Fifty people, as in a large workspace."""
    cleo = sandbox.world.people["U0CLEO"]
    sandbox.world.people |= {id: replace(cleo, id=id, name=id.lower()) for id in PEOPLE}
    sandbox.world.channels[HERE].members += PEOPLE


async def hang(sandbox: Sandbox, bot: Bot) -> None:
    """Have a few broadcasts go out at a vendor that does not answer."""
    sandbox.vendors.faults.add("encom.release", "stall", times=1000, seconds=STALLED)
    await approved(sandbox)
    await until(lambda: [seen for seen in sandbox.vendors.office.requests if seen.method == "POST"])
    assert (await settled(bot, State.SENDING)).state is State.SENDING


@pytest.mark.alone
async def test_fifty_commands_a_second_are_acknowledged_in_half_a_second_while_a_vendor_hangs(
    sandbox: Sandbox, either: Bot, seed: int
) -> None:
    """A command that only reads gives the time that this machine takes by itself, with Slack's stand-in on it too."""
    crowd(sandbox)
    with Machine() as machine:
        bare, _ = await p99(lambda _: "help", sandbox)
        await hang(sandbox, either)
        asked, answers = await p99(asking(random.Random(seed)), sandbox)
    print(f"99th percentile: {1000 * asked:.0f} ms, and {1000 * bare:.0f} ms bare")  # noqa: T201 - for a failure
    refused = Counter(answer for number, answer in enumerate(answers) if not is_answer(number, answer))
    assert not refused, refused
    asked_for = await either.database.read(lambda c: c.exec_driver_sql("SELECT id FROM broadcasts").all())
    assert len(asked_for) == 1 + A_SECOND * SECONDS * 8 // 10
    assert asked < max(PROMISED, 2 * bare) * machine.slower * SCALE, f"{machine.slower:.1f} times slower"


@asynccontextmanager
async def held(url: str) -> AsyncIterator[None]:
    """Hold the database's only writer, or the table that every request is written to."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as lock:
            lock.execute("BEGIN IMMEDIATE")
            yield
        return
    other = await asyncpg.connect(url)
    async with other.transaction():
        await other.execute("LOCK TABLE broadcasts IN EXCLUSIVE MODE")
        yield
    await other.close()


async def test_while_somebody_else_holds_the_database_people_read_in_time_to_try_again(
    sandbox: Sandbox, either: Bot, database_url: str
) -> None:
    """Those who only read get their answer at once."""
    await ask(sandbox, "list")  # Slack knows everybody by now
    async with held(database_url), within(3, at_least=1.5):
        answers = await asyncio.gather(*(ask(sandbox, f"send clients marketing Soldes {n}") for n in range(3)))
        async with within(1):
            await ask(sandbox, "list")
    told = "I could not save that just now. Nothing was sent. Please try again."
    assert answers == [told] * 3
    assert "Soldes 1" in str(sandbox.acting.ephemerals("U0CLEO"))
    assert await all_of(either) == []
    assert "is waiting for approval" in await ask(sandbox, "send clients marketing Soldes")
