"""The way in: every payload of Slack's becomes an Interaction, in the time that Slack leaves for an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from slack_sdk.web.async_client import AsyncWebClient

from bot.domain.i18n import Translator, translator_for
from bot.domain.people import Person
from bot.slack.directory import People
from bot.slack.replies import explain
from bot.storage.database import PATIENCE
from bot.workflow.audiences import Audiences

Body = Mapping[str, Any]
T = TypeVar("T")

ANSWER_SECONDS = 2.6  # of Slack's three, with the patience that a database usually has
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


class Refused(Exception):
    """Nothing came of it: `lines` says why, in the words of whoever did it. `error`: None for another workspace."""

    def __init__(self, error: Exception | None, lines: list[str], words: Translator) -> None:
        super().__init__(type(error).__name__)
        self.error, self.lines, self.words = error, lines, words


class Entrance:
    """Lets in whoever belongs to the workspace `ours`. `patience`: seconds that the database may take."""

    def __init__(self, people: People, audiences: Audiences, patience: float, ours: Callable[[], str]) -> None:
        self.people, self.audiences, self.patience, self.ours = people, audiences, patience, ours

    async def enter(
        self,
        body: Body,
        client: AsyncWebClient,
        work: Callable[[Interaction], Awaitable[T]],
        *,
        fresh: bool = False,
    ) -> T:
        """What came of the work. `fresh`: somebody decides something, so ask anew who they are. Raises Refused."""
        words = translator_for(None)
        if workspace_of(body) != self.ours():
            raise Refused(None, [words(ELSEWHERE)], words)
        try:
            async with asyncio.timeout(answer_seconds(self.patience)):
                person = await self.people.person(workspace_of(body), user_of(body), fresh=fresh)
                words = translator_for(person.locale)
                return await work(Interaction(person, channel_of(body), trigger_of(body), words, client))
        except Exception as error:
            raise Refused(error, explain(error, words, self.audiences.settings.admins), words) from error


def answer_seconds(patience: float) -> float:
    """In how many seconds whoever asked is answered; `patience`: the database's."""
    return ANSWER_SECONDS * patience / PATIENCE


def workspace_of(body: Body) -> str:
    """The workspace that this came from; with an org-wide installation `team` may be null."""
    return str(body.get("team_id") or _part(body, "team").get("id") or _part(body, "user").get("team_id") or "")


def user_of(body: Body) -> str:
    """Who did it: a command names them beside everything else, a form or a button apart."""
    return str(body.get("user_id") or _part(body, "user").get("id") or "")


def channel_of(body: Body) -> str:
    """Where it was done; nothing for a form."""
    of_message = _part(body, "container").get("channel_id")
    return str(body.get("channel_id") or _part(body, "channel").get("id") or of_message or "")


def trigger_of(body: Body) -> str:
    return str(body.get("trigger_id") or "")


def message_of(body: Body) -> str:
    """The message whose button it is, by its `ts`."""
    return str(_part(body, "message").get("ts") or _part(body, "container").get("message_ts") or "")


def _part(body: Body, name: str) -> Mapping[str, Any]:
    """A part that has parts itself; none where something else was sent in its place."""
    part = body.get(name)
    return part if isinstance(part, Mapping) else {}
