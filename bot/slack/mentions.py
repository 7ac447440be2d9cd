"""Answers whoever writes to the bot, in a direct message or by mentioning it. What they write is not kept."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_sdk.web.async_client import AsyncWebClient

from bot.domain.clock import Clock
from bot.slack.blocks.help import greeting
from bot.slack.blocks.mrkdwn import Post, lines
from bot.slack.client import UNREACHABLE, error_name
from bot.slack.interaction import Body, Entrance, Interaction, Refused, workspace_of
from bot.slack.payload import id_in
from bot.slack.replies import reply_privately
from bot.storage.database import CommitUncertain, DatabaseBusy
from bot.storage.keys import first_time, of_event
from bot.workflow.workflow import Workflow

log = structlog.get_logger(__name__)

WRITTEN = (None, "file_share", "thread_broadcast")  # the subtypes of what a person writes


class Mentions:
    """Says what the bot does, once for each message."""

    def __init__(self, workflow: Workflow, clock: Clock, entrance: Entrance) -> None:
        self.database, self.clock, self.entrance = workflow.database, clock, entrance
        self._answering = set[asyncio.Task[None]]()

    async def addressed(self, ack: AsyncAck, body: Body, event: Body, client: AsyncWebClient) -> None:
        """Answer a message to the bot, unless a bot wrote it or it was answered already."""
        user, channel = id_in(event.get("user")), id_in(event.get("channel"))
        if user and channel and _is_of_a_person(event) and await self._is_new(body):
            task = asyncio.create_task(self._answer(body, user, channel, client), name="answer a message")
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        await ack()

    async def _is_new(self, body: Body) -> bool:
        workspace, key = workspace_of(body), of_event(body.get("event_id"))
        if workspace != self.entrance.ours():
            return False
        with suppress(DatabaseBusy, CommitUncertain):  # then nobody is answered: they type the command
            return await self.database.write(lambda c: first_time(c, workspace, key, self.clock()))
        return False

    async def _answer(self, body: Body, user: str, channel: str, client: AsyncWebClient) -> None:
        async def said(done: Interaction) -> Post:
            return greeting(done.words)

        try:
            post = await self.entrance.enter({**body, "user_id": user, "channel_id": channel}, client, said)
        except Refused as refused:
            post = lines(refused.lines, refused.words)
        if not channel.startswith("D"):
            await reply_privately(client, channel, user, post)
            return
        try:
            await client.chat_postMessage(channel=channel, text=post.text, blocks=post.blocks or None)
        except UNREACHABLE as error:
            log.info("a person could not be answered", error=error_name(error))


def _is_of_a_person(event: Body) -> bool:
    to_us = event.get("type") == "app_mention" or event.get("channel_type") == "im"
    return to_us and event.get("subtype") in WRITTEN and not event.get("bot_id")
