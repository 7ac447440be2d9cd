"""Several processes share one workspace: each card, each note and each reminder is posted once."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.app import Bot
from bot.domain.clock import SECOND, now
from bot.storage import tables
from bot.storage.engines import open_database
from bot.storage.schema import upgrade
from sandbox.server import Sandbox
from tests.support.ground import changed, free_port, new_postgres, raw_settings
from tests.support.patience import LONG, nothing_more
from tests.support.slack import HERE, thread_text

KEY = base64.b64encode(b"k" * 32).decode()


@pytest.fixture
async def three(sandbox: Sandbox, postgres: Any, tmp_path: Path) -> AsyncIterator[list[Bot]]:
    """Three bots over one PostgreSQL, as three machines would run them."""
    bots: list[Bot] = []
    with new_postgres(postgres) as url:
        opened = open_database(url, LONG)
        await opened.write(upgrade, patience=None)
        await opened.close()
        for _ in range(3):
            port = free_port()
            raw = raw_settings(sandbox, port, tmp_path)
            bots.append(Bot(changed(raw, {"database_url": url, "secret_key": KEY}), patience=LONG))
            await bots[-1].start("127.0.0.1", port)
        await sandbox.until(lambda: len(sandbox.delivery.sockets) == 3)
        yield bots
        for bot in bots:
            await bot.stop()


def cards(sandbox: Sandbox) -> list[str]:
    return [message["text"] for message in sandbox.acting.messages(HERE)]


@pytest.mark.long
async def test_of_three_processes_one_posts_each_card_note_and_reminder(sandbox: Sandbox, three: list[Bot]) -> None:
    for number in range(6):
        await sandbox.acting.command("U0CLEO", HERE, f"/broadcast send clients marketing Soldes {number}")
        await sandbox.acting.command("U0CLEO", HERE, f'/broadcast remind "in 2 hours" Rappel {number}')
    await sandbox.until(lambda: len(sandbox.acting.messages(HERE)) == 6)
    values: dict[str, Any] = {"next_at": now() - SECOND}
    await three[0].database.write(lambda c: c.execute(tables.schedules.update().values(**values)))
    for message in sandbox.acting.messages(HERE)[:6]:
        await sandbox.acting.click("U0ANA", HERE, message["ts"], "broadcast.approve")
    await sandbox.until(lambda: len(sandbox.vendors.ledger) == 6)
    await sandbox.until(lambda: len(cards(sandbox)) == 12)
    await sandbox.until(
        lambda: all("accepted it" in thread_text(sandbox, m["ts"]) for m in sandbox.acting.messages(HERE)[:6])
    )
    for bot in three:
        await nothing_more(bot)
    assert len(cards(sandbox)) == 12
    assert len({sent.text for sent in sandbox.vendors.ledger}) == len(sandbox.vendors.ledger) == 6
    for message in sandbox.acting.messages(HERE)[:6]:
        said = thread_text(sandbox, message["ts"])
        assert said.count("Approved by") == said.count("accepted it") == 1


@pytest.mark.long
async def test_when_the_painter_stops_another_one_goes_on_at_once(sandbox: Sandbox, three: list[Bot]) -> None:
    await sandbox.acting.command("U0CLEO", HERE, "/broadcast send clients marketing Soldes")
    await sandbox.until(lambda: cards(sandbox))
    painter = next(bot for bot in three if bot.home.poster._ours_until)
    three.remove(painter)
    await painter.stop()
    await sandbox.acting.command("U0CLEO", HERE, "/broadcast send clients marketing Encore")
    await sandbox.until(lambda: len(cards(sandbox)) == 2)
