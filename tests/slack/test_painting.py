"""Several processes share one workspace: each card, each note and each reminder is posted once."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.app import Bot
from bot.domain.clock import SECOND, now
from bot.slack.installed import Installation
from bot.slack.publish.poster import Poster
from bot.storage import tables
from bot.storage.database import Database
from bot.storage.engines import open_database
from bot.storage.installations import Stored
from bot.storage.own_settings import OwnSettings
from bot.storage.schema import upgrade
from bot.workspaces import InstalledWorkspaces
from sandbox.server import Sandbox
from tests.support.ground import changed, free_port, new_postgres, raw_settings
from tests.support.patience import LONG, nothing_more
from tests.support.slack import HERE, thread_text
from tests.support.workspaces import OTHER, OURS, many_settings

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


def poster_of(bot: Bot, workspace: str) -> Poster:
    assert isinstance(bot.workspaces, InstalledWorkspaces)
    one = Installation(Stored(id=workspace, name="Bell", installed_at=now()), "xoxb-none")
    return bot.workspaces.make(one, OwnSettings(workspace=workspace)).poster


@pytest.mark.long
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_each_workspace_has_a_painter_of_its_own(
    sandbox: Sandbox, database: Database, database_url: str, tmp_path: Path
) -> None:
    settings = many_settings(sandbox, free_port(), tmp_path, database_url=database_url, secret_key=KEY)
    one, other = Bot(settings, patience=LONG), Bot(settings, patience=LONG)
    left, stays = poster_of(one, OTHER), poster_of(one, OURS)
    assert [await left.ours(), await stays.ours()] == [True, True]
    assert [await poster_of(other, name).ours() for name in (OTHER, OURS)] == [False, False]
    await left.let_go()  # its workspace has removed the bot
    assert [await poster_of(other, name).ours() for name in (OTHER, OURS)] == [True, False]
    assert await poster_of(one, OURS).ours()
    await one.close()
    await other.close()


@pytest.mark.long
async def test_when_the_painter_stops_another_one_goes_on_at_once(sandbox: Sandbox, three: list[Bot]) -> None:
    await sandbox.acting.command("U0CLEO", HERE, "/broadcast send clients marketing Soldes")
    await sandbox.until(lambda: cards(sandbox))
    painter = next(bot for bot in three if bot.home.poster._ours_until)
    three.remove(painter)
    await painter.stop()
    await sandbox.acting.command("U0CLEO", HERE, "/broadcast send clients marketing Encore")
    await sandbox.until(lambda: len(cards(sandbox)) == 2)
