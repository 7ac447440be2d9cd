"""Admins hear once of what the bot needs and has not, and once when it has it again; `/readyz` says it all the time."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from functools import partial
from typing import Any, cast

import pytest

from bot.app import Bot
from bot.config.runtime import Runtime
from bot.domain.clock import now
from bot.domain.i18n import Translatable, translator_for
from bot.domain.lifecycle import State
from bot.sending.credit import last_cost
from bot.slack.operator_notices import Condition, OperatorNotices
from bot.slack.self_check import SelfCheck
from bot.storage import keys, tables
from bot.storage.database import Database, OutOfOrder
from bot.storage.sqlite import SQLite
from sandbox.server import Sandbox
from tests.support.ground import StartBot, changed, free_port, raw_settings
from tests.support.patience import nothing_more
from tests.support.rows import fill
from tests.support.slack import approved, settled

AWAY = keys.Breaker(3, 10**18)


def told(sandbox: Sandbox) -> list[str]:
    return [message["text"] for message in sandbox.acting.messages(sandbox.world.direct("U0OPS").id)]


async def posted(sandbox: Sandbox, bot: Bot, number: int) -> list[str]:
    """What the admin was told, once every post has gone out: so many messages."""
    await bot.operator.tick()
    await bot.operator.tick()
    await sandbox.until(lambda: len(told(sandbox)) >= number)
    await nothing_more(bot)
    assert len(told(sandbox)) == number, told(sandbox)
    return told(sandbox)


async def test_a_vendor_that_is_away_is_told_once_and_so_is_its_return(sandbox: Sandbox, bot: Bot) -> None:
    await bot.database.write(lambda c: keys.set_breaker(c, "octo", AWAY, now()))
    assert "I cannot reach Octopush (account octo)" in (await posted(sandbox, bot, 1))[0]
    await bot.database.write(lambda c: keys.set_breaker(c, "octo", keys.Breaker(), now()))
    assert "Octopush (account octo) answers again" in (await posted(sandbox, bot, 2))[1]
    await bot.database.write(lambda c: keys.set_breaker(c, "octo", AWAY, now()))
    assert len(await posted(sandbox, bot, 3)) == 3  # another episode


@pytest.mark.long
async def test_a_token_that_slack_no_longer_takes_is_told_once_it_takes_one(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    bot = await start_bot(sandbox)
    sandbox.faults.add("auth.test", "error", times=2, error="token_revoked")
    for _ in range(2):
        bot.self_check.ask_at = 0
        await bot.operator.tick()
    ready, parts = await bot.ready()
    assert (ready, parts["slack"]) == (False, "the token is not taken: token_revoked")
    assert told(sandbox) == []
    await bot.stop()

    again = await start_bot(sandbox)
    assert "Slack accepts my token again" in (await posted(sandbox, again, 1))[0]
    assert "(token_revoked)" in told(sandbox)[0]
    assert (await again.ready())[0]


@pytest.mark.long
async def test_a_clock_that_is_wrong_is_told_with_its_machine(sandbox: Sandbox, bot: Bot) -> None:
    right = bot.self_check.wall
    bot.self_check.wall, bot.self_check.ask_at = (lambda: right() + 90), 0
    assert f"The clock of {socket.gethostname()} is " in (await posted(sandbox, bot, 1))[0]
    ready, parts = await bot.ready()
    assert (ready, parts["clock"][-26:]) == (False, " seconds away from Slack's")
    bot.self_check.wall, bot.self_check.ask_at = right, 0
    assert "agrees with Slack's again" in (await posted(sandbox, bot, 2))[1]
    assert (await bot.ready())[0]


@pytest.mark.long
async def test_little_credit_is_told_and_so_is_enough(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox, accounts__octo__low_credit=50)
    sandbox.vendors.octopush.credit = 49.5
    for _ in range(2):
        await bot.operator.look_at_credit_of("octo")
    assert "The credit at Octopush (account octo) is low: 49.5 euros" in (await posted(sandbox, bot, 1))[0]
    sandbox.vendors.octopush.credit = 60
    await bot.operator.look_at_credit_of("octo")
    assert "is enough again: 60" in (await posted(sandbox, bot, 2))[1]


@pytest.mark.long
async def test_without_a_threshold_the_last_cost_is_the_measure(sandbox: Sandbox, bot: Bot) -> None:
    await approved(sandbox, "send newsletter marketing Soldes")
    await settled(bot, State.SENT)
    cost = await bot.database.read(lambda c: last_cost(c, "T0BELL", "octo"))
    assert cost is not None
    for credit, low in ((float(cost.split()[0]) + 1, False), (float(cost.split()[0]) - 0.01, True)):
        sandbox.vendors.octopush.credit = credit
        await bot.operator.look_at_credit_of("octo")
        open_now = await bot.database.read(keys.open_notices)
        assert ("credit:octo" in open_now) is low


async def test_of_a_full_disk_the_admins_hear_at_once_and_once(sandbox: Sandbox, bot: Bot) -> None:
    assert isinstance(bot.database, SQLite)
    free = fill(bot.database)
    for size in (100_000, 5_000, 500):
        with suppress(OutOfOrder):
            for number in range(1000):
                await bot.database.write(partial(keys.keep, name=f"{size} {number}", value="x" * size, at=1))
    for _ in range(2):
        await bot.operator.tick()
    assert ["I cannot write to the database" in one for one in told(sandbox)] == [True]
    ready, parts = await bot.ready()
    assert (ready, parts["database"]) == (False, "it takes no write: SQLITE_FULL")
    free()
    assert "I can write to the database again" in (await posted(sandbox, bot, 2))[1]
    assert (await bot.ready())[0]


@pytest.mark.long
@pytest.mark.parametrize("name", ["U0NOBODY"])
async def test_an_admin_who_cannot_be_reached_holds_up_nothing(
    sandbox: Sandbox, start_bot: StartBot, name: str
) -> None:
    bot = await start_bot(sandbox, admins=[name, "U0OPS"])
    await bot.database.write(lambda c: keys.set_breaker(c, "octo", AWAY, now()))
    assert len(await posted(sandbox, bot, 1)) == 1


@pytest.mark.long
async def test_of_many_processes_one_tells(
    database: Database, second: Database, sandbox: Sandbox, tmp_path: Any
) -> None:
    """They see it at the same time, on either database."""
    settings = changed(raw_settings(sandbox, free_port(), tmp_path), {})
    both = [notices_on(one, settings) for one in (database, second)]
    away = Condition("breaker:octo", "breaker", Translatable("It is away."), Translatable("It is back."))
    back = Condition("breaker:octo", None, away.began, away.ended)
    for condition, count in ((away, 1), (back, 2)):
        await asyncio.gather(*(one.record([condition]) for one in both * 5))
        rows = await database.read(lambda c: c.execute(tables.posts.select()).all())
        assert len(rows) == count


def notices_on(database: Database, settings: Any) -> OperatorNotices:
    runtime = Runtime(
        settings=settings, database=database, providers={}, policies={}, key=b"", owner="", wake=lambda *_: None
    )
    return OperatorNotices(runtime, lambda: "T0BELL", SelfCheck(runtime, cast(Any, None)), translator_for("en"))
