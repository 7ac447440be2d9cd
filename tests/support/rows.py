"""Rows as the store keeps them, made or spoiled without the bot's knowledge."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Table, event, select, update

from bot.app import Bot
from bot.domain.broadcast import Broadcast
from bot.domain.lifecycle import Hold, Phase, State
from bot.storage.sqlite import SQLite
from providers.base import AudienceKind, Purpose

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


def fill(opened: SQLite) -> Callable[[], None]:
    """Allow SQLite no further page, as on a full disk. Returns a function that makes room again."""
    limit = [1]

    @event.listens_for(opened.engine, "checkout")
    def set_limit(driver: sqlite3.Connection, *_: object) -> None:
        driver.execute(f"PRAGMA max_page_count={limit[0]}")  # one below the file's size means its size

    def free() -> None:
        limit[0] = 1_000_000

    return free


WORDS: dict[type[StrEnum], dict[str, Any]] = {
    State: {"state": "teleported"},
    Phase: {"state": "sending", "phase": "orbit", "lease_until": 1, "owner": "newer"},
    Hold: {"state": "held", "hold": "weather"},
    AudienceKind: {"kind": "flock", "state": "scheduled"},
    Purpose: {"purpose": "fun", "state": "scheduled"},
}

LOCKED = pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", id="where rows are locked")], indirect=True
)


def until_it_waits(connection: Connection, other: asyncio.Task[Any]) -> None:
    """Keep this connection's locks until the other task is done, or waits for a lock."""
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    while not (other.done() or connection.exec_driver_sql(waiting).scalar()):
        pass


Plant = Callable[[Bot, str], Awaitable[None]]


def spoil(table: Table, key: str, **values: Any) -> Plant:
    """Write these values into one row, as a tamperer, a newer version or a bug of ours would."""

    async def plant(bot: Bot, id: str) -> None:
        await bot.database.write(lambda c: c.execute(update(table).where(table.c[key] == id).values(**values)))

    return plant


def at_once(**more: Any) -> dict[str, Any]:
    """Return values that make everything due, so that every loop meets the row."""
    waits = ("draw_at", "voice_at", "review_at", "progress_at", "look_at", "due", "hold_until", "expires_at")
    due = dict.fromkeys(waits, 1)
    return {**due, "start_at": 1, **more}


async def id_of(bot: Bot, column: Column[Any], value: str) -> str:
    sought = select(column.table.c.id).where(column == value)
    return str(await bot.database.read(lambda c: c.execute(sought).scalar_one()))


def row(**changes: Any) -> Broadcast:
    given: dict[str, Any] = {
        "workspace": "T1", "id": "B234679", "version": 1, "state": State.PENDING, "key": "k", "requester": "U1",
        "editor": "U1", "channel": "C1", "audience": "clients", "account": "encom", "provider": "encom",
        "kind": AudienceKind.LIST, "target": "1", "purpose": Purpose.MARKETING, "typed": "Hi",
        "text": "Hi STOP AU 36111", "digest": "d" * 64, "quorum": 1, "approvers": ("S1",), "created_at": 1,
        "changed_at": 1, "size": 20,
    }  # fmt: skip
    return Broadcast(**(given | changes))
