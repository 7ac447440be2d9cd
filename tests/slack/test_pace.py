"""How often cards are drawn: within what Slack takes, and the last time at once."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, insert, or_, select

from bot.app import Bot
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND
from bot.domain.lifecycle import State
from bot.slack.publish.pace import pace_of, waits_until
from bot.storage import broadcasts, tables
from bot.storage.tables import vendor_ids
from providers.base import DeliveryStatus, Receipt, Staged
from sandbox.server import Sandbox
from tests.support.patience import until
from tests.support.rows import row
from tests.support.slack import HERE

MILLION = Staged("sms_1", contacts=1_000_000)
DAY = 24 * 3600
PEOPLE, SECONDS = 100, 15.0


def counted(delivered: int, state: State = State.SENT) -> Broadcast:
    return row(state=state, staged=MILLION, counts={"delivered": delivered})


def drawings(seconds: int, looks_every: int = 1) -> list[int]:
    """When the card of a broadcast is drawn whose deliveries are reported evenly over so many seconds."""
    shown: dict[str, Any] = {}
    times = []
    for second in range(0, seconds + 1, looks_every):
        it = counted(1_000_000 * second // seconds)
        if waits_until(it, shown, second * SECOND) is None:
            shown = pace_of(it, shown, second * SECOND)
            times.append(second)
    return times


@pytest.mark.parametrize(
    "seconds", [60, 600, pytest.param(3600, marks=pytest.mark.long), pytest.param(DAY, marks=pytest.mark.long)]
)
def test_a_million_deliveries_take_a_hundred_drawings_however_long_they_take(seconds: int) -> None:
    times = drawings(seconds)
    assert len(times) <= 105
    assert times[-1] == seconds
    assert times[:20] == [*range(0, 40, 2)]


def test_another_state_is_drawn_at_once() -> None:
    shown = pace_of(counted(5), {"draws": 90}, 0)
    assert waits_until(counted(6), shown, 10 * SECOND) == 11 * SECOND
    assert waits_until(counted(6, State.DONE), shown, SECOND) is None
    assert waits_until(counted(6), {}, SECOND) is None


def test_after_a_long_quiet_the_next_news_is_drawn_at_once() -> None:
    shown = pace_of(counted(5), {"draws": 20}, 0)
    assert waits_until(counted(6), shown, 3600 * SECOND) is None
    assert waits_until(counted(6), shown, SECOND) == 2 * SECOND


def test_answers_after_the_last_delivery_keep_the_pace() -> None:
    everybody = counted(1_000_000)
    shown = pace_of(everybody, {"draws": 90}, 0)
    answered = replace(everybody, counts={**everybody.counts, "replies": 3})
    assert waits_until(answered, shown, 10 * SECOND) == 11 * SECOND


def filled(connection: Connection, it: Broadcast) -> None:
    broadcasts.add(connection, it, draw=True)
    owner = {"account": it.account, "id": it.ids[0], "workspace": it.workspace, "broadcast": it.id}
    connection.execute(insert(vendor_ids).values(owner))


def report(it: Broadcast, number: int) -> Receipt:
    return Receipt(it.ids[0], DeliveryStatus.DELIVERED, "DELIVERED", f"+336{number:08d}", final=True)


@pytest.mark.long
async def test_however_many_broadcasts_report_at_once_slack_gets_no_more_than_it_takes(
    sandbox: Sandbox, bot: Bot
) -> None:
    """Ten changes at once and then forty a minute, which is never more than fifty in any minute."""
    many = [running(bot, number) for number in range(12)]
    for it in many:
        await bot.database.write(partial(filled, it=it))
    await sandbox.until(lambda: len(sandbox.acting.messages(HERE)) == len(many))
    began, first = time.monotonic(), updates(sandbox)
    for number in range(PEOPLE):
        for it in many:
            await bot.tracker.record("octo", [report(it, number)])
        await asyncio.sleep(SECONDS / PEOPLE)
    passed = time.monotonic() - began
    assert 10 < updates(sandbox) - first <= 10 + passed * 10 / 15 + 1
    await until(partial(all_shown, bot))
    shown = [str(message["blocks"]) for message in sandbox.acting.messages(HERE)]
    assert [f"{PEOPLE} of {PEOPLE} delivered" in one for one in shown] == [True] * len(many)


@pytest.mark.long
async def test_progress_leaves_room_for_the_end(sandbox: Sandbox, bot: Bot) -> None:
    many = [running(bot, number) for number in range(8)]
    for it in many:
        await bot.database.write(partial(filled, it=it))
    await sandbox.until(lambda: len(sandbox.acting.messages(HERE)) == len(many))
    for number in range(PEOPLE - 1):
        for it in many:
            await bot.tracker.record("octo", [report(it, number)])
        await asyncio.sleep(SECONDS / PEOPLE)
    await bot.tracker.record("octo", [report(many[-1], PEOPLE - 1)])
    ended = time.monotonic()
    await sandbox.until(lambda: "Done" in str([one["text"] for one in sandbox.acting.messages(HERE)]))
    assert time.monotonic() - ended < 2.5


def running(bot: Bot, number: int) -> Broadcast:
    """A broadcast under way, of which nothing has been reported."""
    own = {"id": f"B{2345679 + number}", "key": f"k{number}", "workspace": "T0BELL", "channel": HERE}
    vendor = {"account": "octo", "provider": "octopush", "ids": (f"sms_{number}",)}
    at = bot.clock()
    times = {"accepted_at": at, "created_at": at, "changed_at": at}
    return row(**own, **vendor, **times, state=State.SENT, staged=Staged(f"sms_{number}", contacts=PEOPLE))


def updates(sandbox: Sandbox) -> int:
    return sum(method == "chat.update" for method, _ in sandbox.calls)


async def all_shown(bot: Bot) -> bool:
    """Whether all have ended and each card shows it."""
    left = select(tables.broadcasts.c.id).where(
        or_(tables.broadcasts.c.draw_at.is_not(None), tables.broadcasts.c.state != State.DONE)
    )
    return not await bot.database.read(lambda c: c.execute(left).scalars().all())
