"""What a check looks at, what it finds, and how one that breaks is kept from ending the others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import structlog

from bot.config.accounts import Account
from bot.config.settings import Settings
from bot.domain.hours import Policy
from bot.slack.client import SlackClient
from bot.slack.directory import People
from bot.storage.database import Database

log = structlog.get_logger(__name__)

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """`fix`: what to do, empty if there is nothing to do."""

    id: str
    level: Level
    cause: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class Setup:
    """What is checked. `client` is None without a token, `database` and `key` if there are none yet.

    `files`: from which the settings are. `accounts`: those that can be opened.
    """

    settings: Settings
    policies: Mapping[str, Policy]
    accounts: Mapping[str, Account]
    client: SlackClient | None
    people: People | None
    database: Database | None
    key: bytes | None
    files: tuple[Path, ...] = ()


def halves(line: str) -> tuple[str, str]:
    """Return what is wrong, and what to do, from a line that says both."""
    for between in (". ", "; "):
        cause, found, fix = line.partition(between)
        if found:
            return f"{cause}.", fix[:1].upper() + fix[1:]
    return line, "See docs/settings.md, or `bellcrier config init` for an example."


Check = Callable[[Setup], AsyncIterator[Finding]]


async def all_of(check: Check, setup: Setup) -> list[Finding]:
    """Return what a check finds, or found before it broke. The next checks still run."""
    found = []
    try:
        async for finding in check(setup):
            found.append(finding)
    except Exception as error:
        found.append(_broken(check.__name__.removeprefix("check_"), error))
    return found


async def one(id: str, check: Awaitable[Finding]) -> Finding:
    """Return what this part of a check finds. If it breaks, the other parts still run."""
    try:
        return await check
    except Exception as error:
        return _broken(id, error)


def _broken(id: str, error: Exception) -> Finding:
    log.error("a check broke", check=id, exc_info=error)
    cause = f"This could not be checked ({type(error).__name__})."
    return Finding(id, "error", cause, "Run doctor again; see the log.")
