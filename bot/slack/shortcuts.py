"""The shortcuts: a form for a new broadcast, empty or with the text of a message."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

import structlog
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_sdk.web.async_client import AsyncWebClient

from bot.domain.clock import Clock
from bot.domain.errors import FieldError, InvalidRequest
from bot.domain.i18n import Translatable, Translator
from bot.domain.message_text import Change, PlainMessage, ids_in, plain_message
from bot.domain.people import DirectoryUnavailable
from bot.slack.blocks import forms
from bot.slack.blocks.home import notice
from bot.slack.blocks.mrkdwn import Block, context, lines
from bot.slack.client import UNREACHABLE, error_name
from bot.slack.interaction import Body, Entrance, Interaction, Refused, trigger_of
from bot.slack.opened_forms import OpenedForms
from bot.slack.payload import part
from bot.slack.replies import WithFacts, offered
from bot.workflow.workflow import Workflow

log = structlog.get_logger(__name__)

NEW, FROM_MESSAGE = "broadcast_new", "broadcast_message"
SOON = 1.0  # seconds for the names of those whom a message names by id, of the three in which the form must open
MOST_NAMES = 20
#: What is told of each kind of change, for one and for many.
TOLD: Mapping[Change, tuple[str, str]] = {
    Change.LINK: ("{number} link is spelled out", "{number} links are spelled out"),
    Change.NAME: ("{number} mention is spelled out", "{number} mentions are spelled out"),
    Change.UNNAMED: ("⚠️ {number} name could not be found: write it", "⚠️ {number} names could not be found: write them"),
    Change.STYLE: ("{number} format is taken off", "{number} formats are taken off"),
    Change.FILE: ("⚠️ {number} file is left out", "⚠️ {number} files are left out"),
    Change.ATTACHMENT: ("⚠️ {number} attachment is left out", "⚠️ {number} attachments are left out"),
    Change.BLOCK: ("⚠️ {number} part that is no text is left out", "⚠️ {number} parts that are no text are left out"),
}


class Shortcuts:
    """The shortcuts by their callback id."""

    def __init__(self, workflow: Workflow, clock: Clock, entrance: Entrance, with_facts: WithFacts) -> None:
        self.audiences, self.people, self.entrance = workflow.audiences, entrance.people, entrance
        self.opened, self.with_facts = OpenedForms(workflow, clock), with_facts
        self.forms: dict[str, Callable[[Body, Interaction], Awaitable[forms.Form]]] = {
            NEW: self._new,
            FROM_MESSAGE: self._from_message,
        }

    async def used(self, ack: AsyncAck, body: Body, client: AsyncWebClient) -> None:
        """Open the form, or say why not."""
        form = self.forms.get(str(body.get("callback_id")))
        if form is not None:
            await self._open(body, client, form)
        await ack()

    async def _open(
        self, body: Body, client: AsyncWebClient, form: Callable[[Body, Interaction], Awaitable[forms.Form]]
    ) -> None:
        async def view(done: Interaction) -> Block:
            filled = await self.with_facts(await form(body, done), done.person, done.words)
            return forms.compose(filled, done.words)

        try:
            shown = await self.entrance.enter(body, client, view)
        except Refused as refused:
            shown = notice(lines(refused.lines, refused.words), refused.words)
        try:
            await client.views_open(trigger_id=trigger_of(body), view=shown)
        except UNREACHABLE as error:  # they use it again
            log.info("the form did not open", error=error_name(error))

    async def _new(self, body: Body, done: Interaction) -> forms.Form:
        return await self.opened.blank(done.person, await _direct(done), done.words)

    async def _from_message(self, body: Body, done: Interaction) -> forms.Form:
        message = part(body, "message")
        said = plain_message(message, await self._names(ids_in(message), done))
        if not said.text:
            raise InvalidRequest(FieldError("text", Translatable("There is no text in this message.")))
        form = forms.Form(offered(self.audiences, done.words), done.channel, values={"text": said.text})
        origin, facts = f"message:{done.channel}:{message.get('ts')}", told(said, done.words)
        return await self.opened.started(replace(form, origin=origin, facts=facts), done.person, done.words)

    async def _names(self, ids: Sequence[str], done: Interaction) -> dict[str, str]:
        """Return the names that Slack tells soon, each by its id with the sign."""
        asked = [asyncio.create_task(self._name(id, done)) for id in ids[:MOST_NAMES]]
        if not asked:
            return {}
        known, late = await asyncio.wait(asked, timeout=SOON)
        for task in late:
            task.cancel()
        return dict(pair for task in known if not task.cancelled() and (pair := task.result()))

    async def _name(self, id: str, done: Interaction) -> tuple[str, str] | None:
        try:
            if id.startswith("#"):
                name = (await done.client.conversations_info(channel=id[1:]))["channel"]["name"]
            elif id.startswith("@S"):
                groups = (await done.client.usergroups_list())["usergroups"]
                name = next(group["handle"] for group in groups if group["id"] == id[1:])
            else:
                name = (await self.people.person(done.workspace, id[1:])).name
        except (*UNREACHABLE, DirectoryUnavailable, KeyError, StopIteration, TypeError):
            return None
        return (id, str(name)) if name else None


async def _direct(done: Interaction) -> str:
    """The conversation with this person, where what became of the form is told; none if Slack does not say."""
    try:
        async with asyncio.timeout(SOON):
            return str((await done.client.conversations_open(users=done.person.id))["channel"]["id"])
    except (*UNREACHABLE, KeyError, TypeError):
        return ""


def told(said: PlainMessage, words: Translator) -> list[Block]:
    """Return what is not as it was in the message, in one line."""
    parts = [words.count(one, many, said.changes[kind]) for kind, (one, many) in TOLD.items() if kind in said.changes]
    return [context(" · ".join(parts))] if parts else []
