"""The Home tab: opened, turned to another page, and its rows opened in a view."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import structlog
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_sdk.web.async_client import AsyncWebClient

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Clock
from bot.domain.errors import NotAllowed, NotFound
from bot.domain.i18n import Translator
from bot.domain.lifecycle import State
from bot.domain.people import DirectoryUnavailable, Person
from bot.scheduler import Task
from bot.slack.blocks import home as blocks
from bot.slack.blocks.card import draw_card
from bot.slack.blocks.help import HELP, WRITE
from bot.slack.blocks.mrkdwn import Post
from bot.slack.client import UNREACHABLE, error_name
from bot.slack.commands.broadcasts import open_view
from bot.slack.commands.router import Commands
from bot.slack.commands.showing import ShowingOf
from bot.slack.interaction import Body, Entrance, Interaction, trigger_of, user_of, workspace_of
from bot.slack.payload import id_in, part
from bot.slack.replies import Command, reply_privately
from bot.storage import homes
from bot.storage.database import CommitUncertain, DatabaseBusy
from bot.storage.homes import Home
from bot.storage.votes import votes_for
from bot.workflow.workflow import Workflow

log = structlog.get_logger(__name__)

PAGES = 200  # places that are kept of a section, for its way back


class HomeTab:
    """Listens to what happens in Home. Drawing it is the painter's work: nothing here waits for Slack."""

    def __init__(
        self, workflow: Workflow, clock: Clock, entrance: Entrance, showing_of: ShowingOf, commands: Commands
    ) -> None:
        self.workflow, self.database, self.clock, self.entrance = workflow, workflow.database, clock, entrance
        self.showing_of, self.commands = showing_of, commands

    async def opened(self, ack: AsyncAck, body: Body, event: Body) -> None:
        """Have the Home of whoever opened it drawn. The painter finds out who that is, and what they may see."""
        user, channel = id_in(event.get("user")), id_in(event.get("channel"))
        if event.get("tab") == "home" and user is not None and workspace_of(body) == self.entrance.ours():
            with suppress(DatabaseBusy, CommitUncertain):  # they open it again
                now, workspace = self.clock(), workspace_of(body)
                await self.database.write(lambda c: homes.opened(c, workspace, user, channel, now))
                self.workflow.approvals.wake(Task.PAINT)
        await ack()

    async def pressed(self, action: Mapping[str, Any], done: Interaction) -> Post | None:
        """Do what a button of Home itself says."""
        name, value = str(action.get("action_id")), str(action.get("value") or "")
        home = await self.database.read(lambda c: homes.find(c, done.workspace, done.person.id))
        channel = done.channel or (home and home.channel) or ""
        asked = Command(done.person, channel, "", done.trigger, done.words)
        if name == WRITE:
            return await self.commands.broadcasts.form(asked, done.client)
        if name == HELP:
            post = await self.commands.help.help(asked, done.client)
            return await open_view(blocks.help_view(post, done.words), asked, done.client) if post else None
        if home is not None:
            await self._turn(home, name, value)
        return None

    async def _turn(self, home: Home, name: str, value: str) -> None:
        """Show the page that was asked for. The same press twice turns one page."""
        part_name, _, depth = value.partition("|")
        pages = [list(place) for place in home.pages.get(part_name, ())]
        if name == blocks.EARLIER and depth == str(len(pages)):
            pages = pages[:-1]
        elif name == blocks.MORE and (found := blocks.place_in(value)) and list(found[1]) not in pages:
            pages = [*pages, list(found[1])][-PAGES:]
        turned = {**home.pages, part_name: pages}
        if part_name in blocks.SECTIONS:
            await self.database.write(lambda c: homes.turn(c, home.workspace, home.person, turned, self.clock()))
            self.workflow.approvals.wake(Task.PAINT)

    # --- one broadcast in a view -------------------------------------------------------------------------------------

    async def look(self, id: str, person: Person, words: Translator, above: Post | None = None) -> dict[str, Any]:
        """Return the view of a broadcast that this person may see. Raises NotFound or DirectoryUnavailable."""
        row = await self._seen(id, person)
        votes, facts = await self.database.read(lambda c: votes_for(c, row)), self.workflow.audiences.facts
        seen = facts(row, self.clock())
        showing = replace(await self.showing_of(row, votes), reaction=None)  # nobody can react to a view
        card = draw_card(row, showing, words, whole=True)
        return blocks.look(row, card, seen, words, above)

    async def _seen(self, id: str, person: Person) -> Broadcast:
        row = await self.workflow.find(person.workspace, id)
        theirs = row.state is not State.DRAFT or row.requester == person.id
        if not theirs or not await self.workflow.permissions.may_see(person, row):
            raise NotFound(row.id)
        return row

    def is_about(self, body: Body) -> bool:
        """Whether something was pressed in Home, or in a view opened from there."""
        view = part(body, "view")
        return view.get("type") == "home" or view.get("callback_id") == blocks.LOOK

    async def answer(
        self,
        body: Body,
        client: AsyncWebClient,
        told: Post | None,
        done: Interaction | None,
        words: Translator,
        *,
        changed: bool,
    ) -> Coroutine[Any, Any, None] | None:
        """Have Home drawn anew. Return a coroutine that shows what became of the press, if there is anything to show.

        `done`: None for somebody who was not let in. `changed`: it may have changed the broadcast.
        """
        workspace, user = workspace_of(body), user_of(body)
        with suppress(DatabaseBusy, CommitUncertain):
            await self.database.write(lambda c: homes.draw_now(c, workspace, user, self.clock()))
        if part(body, "view").get("callback_id") == blocks.LOOK and (changed or told is not None):
            return self._look_again(part(body, "view"), client, told, done, words)
        return self._tell(body, client, told, words) if told is not None else None

    async def _look_again(
        self, view: Body, client: AsyncWebClient, told: Post | None, done: Interaction | None, words: Translator
    ) -> None:
        """Show the broadcast as it is now, below what there is to tell."""
        new = blocks.notice(told or Post(words("This is over.")), words)
        if done is not None:
            with suppress(NotFound, NotAllowed, DirectoryUnavailable, DatabaseBusy):
                new = await self.look(str(part(view, "title").get("text")), done.person, words, told)
        try:
            await client.views_update(view_id=str(view.get("id")), hash=view.get("hash"), view=new)
        except UNREACHABLE as error:  # somebody closed it, or it shows something newer
            log.info("a view was not drawn again", error=error_name(error))

    async def _tell(self, body: Body, client: AsyncWebClient, told: Post, words: Translator) -> None:
        try:
            await client.views_open(trigger_id=trigger_of(body), view=blocks.notice(told, words))
        except UNREACHABLE:
            await reply_privately(client, user_of(body), user_of(body), told)
