"""What one process works with, made once and handed to everything that needs it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from bot.config.accounts import Account
from bot.config.settings import Settings
from bot.domain.clock import Clock, Micros, now, steady
from bot.domain.hours import Policy
from bot.scheduler import Wake
from bot.storage import sql
from bot.storage.broadcast_rows import Owner
from bot.storage.database import Database


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """`owner` names this process in the leases that it takes; `key` makes tokens that nobody can guess.

    `clock` is the wall clock, `monotonic` the steady one in seconds, and `lease_clock` the database's own, by which
    processes on several machines judge each other's leases. `on_receipts` is told whose receipts were stored.
    `crowded` names the accounts at whose vendors lie lists of other workspaces too. `file`: the settings before what
    admins changed in Slack, if they did; `on_settings` is called when they do.
    """

    settings: Settings
    database: Database
    providers: Mapping[str, Account]
    policies: Mapping[str, Policy]
    key: bytes
    owner: str
    wake: Wake
    clock: Clock = now
    monotonic: Callable[[], float] = steady
    lease_clock: Callable[[Connection], Micros | None] = sql.database_time
    on_receipts: Callable[[Iterable[Owner]], None] = lambda _: None
    crowded: Collection[str] = ()
    file: Settings | None = None
    on_settings: Callable[[], None] = lambda: None
