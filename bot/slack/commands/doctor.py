"""`/broadcast doctor`: what is wrong with the set-up, for admins."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bot.domain.errors import NotAllowed
from bot.domain.i18n import Translator
from bot.domain.people import mentions
from bot.slack.blocks import mrkdwn
from bot.slack.blocks.mrkdwn import Post
from bot.slack.replies import Command, Subcommand, reply_privately
from bot.workflow.workflow import Workflow

log = structlog.get_logger(__name__)

LONGEST = 180.0  # seconds for all checks; a vendor may take its whole timeout
MARKS = {"error": "❌", "warning": "⚠️"}


class Found(Protocol):
    """What a check found. `level`: ok, warning or error. Its sentences are in English, as in the shell and the log."""

    @property
    def id(self) -> str: ...
    @property
    def level(self) -> str: ...
    @property
    def cause(self) -> str: ...
    @property
    def fix(self) -> str: ...


#: Runs every check.
Examine = Callable[[], Awaitable[Sequence[Found]]]


class DoctorCommand:
    """The checks take longer than Slack waits for an answer, so the findings come in a second one."""

    def __init__(self, workflow: Workflow, examine: Examine) -> None:
        self.permissions, self.admins, self.examine = workflow.permissions, workflow.audiences.settings.admins, examine
        self.table: dict[str, Subcommand] = {"doctor": ("doctor", self.doctor)}
        self._under_way: asyncio.Task[None] | None = None

    async def doctor(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """Check the settings, Slack and the vendors (admins)."""
        if asked.person.id not in self.admins:
            await self.permissions.audit_refusal(asked.person, "doctor", "not an admin")
            raise NotAllowed("Only an admin can check the set-up: {who}.", who=mentions(self.admins))
        if self._under_way is not None and not self._under_way.done():
            return Post(asked.words("I am already checking. The findings come in a moment."))
        self._under_way = asyncio.create_task(self._answer(asked, client), name="doctor")
        return Post(
            asked.words(
                "I am checking the settings, the database, Slack and every account. The findings come here in a "
                "moment, and only you can see them."
            )
        )

    async def _answer(self, asked: Command, client: AsyncWebClient) -> None:
        try:
            async with asyncio.timeout(LONGEST):
                post = shown(await self.examine(), asked.words)
        except Exception as error:
            log.error("the checks broke", exc_info=error)
            post = Post(asked.words("The checks did not come to an end. `bellcrier doctor` in the shell may say more."))
        await reply_privately(client, asked.channel, asked.person.id, post)


def shown(findings: Sequence[Found], words: Translator) -> Post:
    """Return the findings as one answer, the errors first. What is fine is only counted: it may hold addresses."""
    errors, warnings = ([one for one in findings if one.level == level] for level in MARKS)
    fine = len(findings) - len(errors) - len(warnings)
    heads = [
        words.count("{number} check is fine.", "{number} checks are fine.", fine),
        words.count("{number} error.", "{number} errors.", len(errors)),
        words.count("{number} warning.", "{number} warnings.", len(warnings)),
    ]
    lines = [
        f"{MARKS[one.level]} *{mrkdwn.quote(one.id)}*: {mrkdwn.quote(f'{one.cause} {one.fix}'.rstrip())}"
        for one in (*errors, *warnings)
    ]
    return mrkdwn.lines([" ".join(heads), *lines], words)
