"""What a process looks at by itself: whether the database takes a write, whether Slack takes the token, the clock."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from bot.config.runtime import Runtime
from bot.domain.clock import steady
from bot.slack.client import CLOCK_OFF, DEAD_TOKEN, UNREACHABLE, SlackClient, error_code, slacks_time
from bot.storage import keys
from bot.storage.database import CommitUncertain, DatabaseBusy, OutOfOrder

log = structlog.get_logger(__name__)

FIRST_ASK, ASK_SLACK = 10.0, 60.0  # seconds from the start, which asks by itself, and between two questions to Slack
STALE = 60.0  # seconds after which a look says nothing any more


class SelfCheck:
    """The latest look. Looking is a task of its own, so that nobody who asks for `/readyz` makes the bot write.

    `client`: None where there are many workspaces: each has a look of its own, which does not write (`writes`).
    `refused`: why the database took no write; `full`: it is its disk or its file. `dead`: Slack's code, while it does
    not take the token. `clock_ahead`: seconds; None if Slack did not tell. `told`: Slack has said whether it takes it.
    """

    def __init__(
        self,
        runtime: Runtime,
        client: SlackClient | None,
        wall: Callable[[], float] = time.time,
        *,
        writes: bool = True,
        workspace: Callable[[], str] = str,
    ) -> None:
        self.writes = writes
        self.workspace = workspace
        self.writes = writes
        self.database, self.clock, self.client, self.wall = runtime.database, runtime.clock, client, wall
        self.refused: str | None = None
        self.dead: str | None = None
        self.clock_ahead: float | None = None
        self.full = self.told = False
        self.looked_at: float | None = None
        self.taken_at = 0.0  # when Slack last took the token
        self.ask_at = steady() + FIRST_ASK

    async def look(self) -> None:
        """Try a write, and once a minute ask Slack."""
        if self.writes:
            await self._write()
        self.looked_at = steady()
        if self.client is not None and steady() >= self.ask_at:
            self.ask_at = steady() + ASK_SLACK
            await self._ask_slack(self.client)

    async def _write(self) -> None:
        self.refused, self.full = None, False
        try:
            await self.database.write(lambda c: keys.try_to_write(c, self.clock()))
        except (DatabaseBusy, CommitUncertain) as error:
            self.refused, self.full = str(error) or type(error).__name__, isinstance(error, OutOfOrder)

    async def _ask_slack(self, client: SlackClient) -> None:
        try:
            answer = await client.auth_test()
        except UNREACHABLE as error:
            code = error_code(error)
            if code in DEAD_TOKEN:
                fix = "replace SLACK_BOT_TOKEN" if self.writes else "install the bot there again"
                log.error(f"Slack does not take the token any more; {fix}", error=code, workspace=self.workspace())
                self.dead, self.told = code, True
            return  # whatever else it answers says nothing about the token
        self.dead, self.told, self.taken_at = None, True, steady()
        told = slacks_time(answer.headers)
        self.clock_ahead = None if told is None else self.wall() - told

    def troubles(self) -> dict[str, str]:
        """What keeps the bot from working, by its part."""
        found = dict[str, str]()
        if self.refused is not None:
            found["database"] = f"it takes no write: {self.refused}"
        elif self.looked_at is not None and steady() - self.looked_at > STALE:
            found["database"] = f"no write was tried for {steady() - self.looked_at:.0f} seconds"
        if self.clock_ahead is not None and abs(self.clock_ahead) > CLOCK_OFF:
            found["clock"] = f"{self.clock_ahead:+.0f} seconds away from Slack's"
        if self.dead is not None:
            found["slack"] = f"the token is not taken: {self.dead}"
        return found
