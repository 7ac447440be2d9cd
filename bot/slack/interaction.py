"""Turns every payload from Slack into an Interaction, within the time that Slack allows for an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from slack_sdk.web.async_client import AsyncWebClient

from bot.domain.errors import NotAMember, StaleVersion
from bot.domain.i18n import Translator, translator_for
from bot.domain.people import Person, must_be_member
from bot.slack.blocks.mrkdwn import Post
from bot.slack.directory import People
from bot.slack.payload import id_in, part
from bot.slack.replies import explain
from bot.storage import audit
from bot.storage.database import PATIENCE, DatabaseBusy
from bot.workflow.workflow import Workflow

Body = Mapping[str, Any]
T = TypeVar("T")

SOON = 0.3  # seconds to find out who was faster
ANSWER_SECONDS = 2.6  # of Slack's three, with the usual patience for the database
ELSEWHERE = "This bot belongs to another workspace."


@dataclass(frozen=True)
class Interaction:
    """Who did something in Slack, and where. `trigger` opens a form, for the next three seconds."""

    person: Person
    channel: str
    trigger: str
    words: Translator
    client: AsyncWebClient

    @property
    def workspace(self) -> str:
        return self.person.workspace


#: Draws an answer anew, from the value of the button that was pressed in it.
Redraw = Callable[[str, Interaction], Awaitable[Post]]
SHOWN = "broadcast.shown"  # the answer to `/broadcast show`, whose buttons are those of the card


class Refused(Exception):
    """Nothing was done. `lines`: why, in the person's language. `error`: None for another workspace."""

    def __init__(self, error: Exception | None, lines: list[str], words: Translator) -> None:
        super().__init__(type(error).__name__)
        self.error, self.lines, self.words = error, lines, words


class Entrance:
    """The one door: lets in full members of the workspace `ours`. `patience`: seconds that the database may take."""

    def __init__(self, workflow: Workflow, people: People, patience: float, ours: Callable[[], str]) -> None:
        self.workflow, self.audiences = workflow, workflow.audiences
        self.people, self.patience, self.ours = people, patience, ours

    async def enter(
        self,
        body: Body,
        client: AsyncWebClient,
        work: Callable[[Interaction], Awaitable[T]],
        *,
        fresh: bool = False,
    ) -> T:
        """Return the result of the work. `fresh`: a person decides something, so ask Slack again. Raises Refused."""
        words = translator_for(None)
        if workspace_of(body) != self.ours():
            raise Refused(None, [words(ELSEWHERE)], words)
        try:
            async with asyncio.timeout(answer_seconds(self.patience)):
                person = await self.people.person(workspace_of(body), user_of(body), fresh=fresh)
                words = translator_for(person.locale)
                must_be_member(person)
                return await work(Interaction(person, channel_of(body), trigger_of(body), words, client))
        except Exception as error:
            raise Refused(error, await explained(error, words, self.workflow), words) from error

    async def member(self, body: Body) -> Person:
        """Return who did it. Raises NotAMember, or DirectoryUnavailable if Slack does not say who that is."""
        if workspace_of(body) != self.ours():
            raise NotAMember(ELSEWHERE)
        person = await self.people.person(workspace_of(body), user_of(body))
        must_be_member(person)
        return person


async def explained(error: Exception, words: Translator, workflow: Workflow) -> list[str]:
    """Return what went wrong, one sentence each. Whoever comes too late is told who was faster."""
    if isinstance(error, StaleVersion):
        with suppress(TimeoutError, DatabaseBusy):  # without the name if it is not there at once
            async with asyncio.timeout(SOON):
                row = error.broadcast
                error.by = await workflow.database.read(lambda c: audit.last_actor(c, row))
    return explain(error, words, workflow.audiences.settings.admins)


def answer_seconds(patience: float) -> float:
    """Return within how many seconds to answer a person. `patience`: the database's."""
    return ANSWER_SECONDS * patience / PATIENCE


def workspace_of(body: Body) -> str:
    """Return the workspace that this came from.

    With an org-wide installation `team` may be null: then it is where the form was opened, and not the workspace of
    the person's account, which may be another one of the organisation.
    """
    opened_in = str(part(body, "view").get("team_id") or "")
    named = body.get("team_id") or part(body, "team").get("id") or (opened_in if opened_in.startswith("T") else "")
    return str(named or part(body, "user").get("team_id") or "")


def user_of(body: Body) -> str:
    """Return who did it: a command names them at the top level, a form or a button under `user`."""
    return str(body.get("user_id") or part(body, "user").get("id") or "")


def channel_of(body: Body) -> str:
    """Return the channel where it was done; empty for a form."""
    of_message = part(body, "container").get("channel_id")
    return id_in(body.get("channel_id") or part(body, "channel").get("id") or of_message) or ""


def trigger_of(body: Body) -> str:
    return str(body.get("trigger_id") or "")


def message_of(body: Body) -> str:
    """Return the `ts` of the message that the button is on."""
    return str(part(body, "message").get("ts") or part(body, "container").get("message_ts") or "")
