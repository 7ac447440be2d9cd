"""What Slack sends, brought to the listeners of its workspace."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_bolt.context.async_context import AsyncBoltContext
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

from bot.domain.clock import SECOND, Clock, Micros
from bot.recurring.reminders import Reminders
from bot.slack.buttons import Buttons
from bot.slack.client import SlackClient, clients_like
from bot.slack.commands.doctor import Examine
from bot.slack.commands.router import Commands
from bot.slack.commands.schedules import Recurring
from bot.slack.commands.showing import ShowingOf
from bot.slack.directory import People
from bot.slack.forms import FormHandlers, last_input
from bot.slack.home import HomeTab
from bot.slack.interaction import ELSEWHERE, Body, Entrance, workspace_of
from bot.slack.live_form import LiveForm
from bot.slack.measured import MeasuredApp
from bot.slack.mentions import Mentions
from bot.slack.payload import make_storable, part
from bot.slack.reactions import Reactions
from bot.slack.shortcuts import Shortcuts
from bot.slack.type_ahead import TypeAhead
from bot.workflow.workflow import Workflow

log = structlog.get_logger(__name__)

ANY = re.compile("")
JOINS = "I am only joining this workspace. Please try again in a moment."


class Listeners:
    """The listeners of one workspace."""

    def __init__(
        self,
        workflow: Workflow,
        people: People,
        clock: Clock,
        reminders: Reminders,
        showing_of: ShowingOf,
        entrance: Entrance,
        examine: Examine,
    ) -> None:
        parts = (workflow, people, workflow.audiences, clock)
        recurring = Recurring(reminders, people, clock)
        self.live = LiveForm(workflow, clock, entrance, showing_of)
        self.commands = Commands(*parts, showing_of, entrance, recurring, self.live.with_facts, examine)
        self.forms = FormHandlers(*parts, entrance, self.live.done)
        self.home, facts = HomeTab(workflow, clock, entrance, showing_of, self.commands), self.live.with_facts
        redrawn, audiences = self.commands.redrawn, workflow.audiences
        self.buttons = Buttons(
            workflow, audiences, clock, entrance, recurring, facts, redrawn, self.commands.audit.send_file, self.home
        )
        self.reactions = Reactions(*parts, entrance.ours)
        self.type_ahead = TypeAhead(workflow, entrance)
        self.mentions = Mentions(workflow, clock, entrance)
        self.shortcuts = Shortcuts(workflow, clock, entrance, facts)

    async def acted(self, ack: AsyncAck, body: Body, action: Mapping[str, Any], client: SlackClient) -> None:
        await (self.live.acted if self.live.is_about(body) else self.buttons.pressed)(ack, body, action, client)


LISTENERS = "listeners"
Next = Callable[[], Awaitable[Any]]


class Served(Protocol):
    """Which workspaces there are: see `Workspaces`."""

    async def listeners_of(self, workspace: str, organisation: str | None) -> Listeners | None: ...

    def joins(self, workspace: str) -> bool: ...

    def authorized_in(self, workspace: str | None) -> AuthorizeResult: ...

    async def left(self, workspace: str, at: Micros) -> None: ...


def bolt_app(client: SlackClient, served: Served) -> MeasuredApp:
    """Return Bolt's app. `client`: each request has one like it, with the token of its workspace."""

    async def known(team_id: str | None) -> AuthorizeResult:  # else Bolt asks Slack, in the first command's 3 seconds
        return served.authorized_in(team_id)

    app = MeasuredApp(
        name="bellcrier",  # otherwise Bolt reads every file of its callers to find a name
        client=client,
        authorize=known,
        process_before_response=True,
        request_verification_enabled=False,
        logger=logging.getLogger("slack_bolt"),  # else it takes the level of the root, and logs whole payloads
    )
    app.middleware(readable)
    app.middleware(clients_like(client))
    app.middleware(Routes(served).to_workspace)
    _route(app)
    app.error(report)
    return app


async def readable(body: dict[str, Any], next: Next) -> None:
    """Let no text through that no database takes."""
    make_storable(body)
    await next()


class Routes:
    """Brings each payload to the listeners of its workspace, and answers those of a workspace without any."""

    def __init__(self, served: Served) -> None:
        self.served = served

    async def to_workspace(self, body: Body, ack: AsyncAck, context: AsyncBoltContext, next: Next) -> Any:
        workspace, event = workspace_of(body), part(body, "event")
        if event.get("type") == "app_uninstalled" or (event.get("type") == "tokens_revoked" and _of_bot(event)):
            await self.served.left(workspace or str(body.get("enterprise_id") or ""), _told_at(body))
            return await ack()
        found = await self.served.listeners_of(workspace, _organisation_of(body))
        if found is None:
            return await ack(**_elsewhere(body, JOINS if self.served.joins(workspace) else ELSEWHERE))
        context[LISTENERS] = found
        # Bolt chose by where the app is installed, which for a form may be the organisation.
        context["client"].token = self.served.authorized_in(workspace).bot_token
        return await next()


def _organisation_of(body: Body) -> str | None:
    """Return the organisation on Enterprise Grid from which this came."""
    found = body.get("enterprise_id") or part(body, "enterprise").get("id")
    return str(found) if found else None


def _of_bot(event: Body) -> bool:
    """Whether the bot's own token was revoked, and not one of a person."""
    return bool(part(event, "tokens").get("bot"))


def _told_at(body: Body) -> Micros:
    """Return when it happened; an installation after that stands."""
    at = body.get("event_time")
    return at * SECOND if isinstance(at, int) and not isinstance(at, bool) and 0 < at < 10**11 else 0


def _elsewhere(body: Body, why: str) -> dict[str, Any]:
    """Return the answer to a payload of a workspace that has not installed the bot, or only joins."""
    if "command" in body:
        return {"text": why, "response_type": "ephemeral"}
    if body.get("type") == "view_submission":
        return {"response_action": "errors", "errors": {last_input(part(body, "view")): why}}
    return {"options": []} if body.get("type") == "block_suggestion" else {}


def _route(app: AsyncApp) -> None:
    """Name the listener for each kind of payload. Bolt gives each what it asks for, by name."""

    async def command(context: AsyncBoltContext, ack: AsyncAck, body: Body, client: SlackClient) -> None:
        await _listeners(context).commands.handle(ack, body, client)

    async def submitted(context: AsyncBoltContext, ack: AsyncAck, body: Body, view: Body, client: SlackClient) -> None:
        await _listeners(context).forms.submitted(ack, body, view, client)

    async def acted(context: AsyncBoltContext, ack: AsyncAck, body: Body, action: Body, client: SlackClient) -> None:
        await _listeners(context).acted(ack, body, action, client)

    async def happened(context: AsyncBoltContext, ack: AsyncAck, body: Body, event: Body, client: SlackClient) -> None:
        await _listeners(context).reactions.happened(ack, body, event, client)

    async def home_opened(context: AsyncBoltContext, ack: AsyncAck, body: Body, event: Body) -> None:
        await _listeners(context).home.opened(ack, body, event)

    async def addressed(context: AsyncBoltContext, ack: AsyncAck, body: Body, event: Body, client: SlackClient) -> None:
        await _listeners(context).mentions.addressed(ack, body, event, client)

    async def suggest(context: AsyncBoltContext, ack: AsyncAck, body: Body) -> None:
        await _listeners(context).type_ahead.suggest(ack, body)

    async def used(context: AsyncBoltContext, ack: AsyncAck, body: Body, client: SlackClient) -> None:
        await _listeners(context).shortcuts.used(ack, body, client)

    app.command(ANY)(command)
    app.view(ANY)(submitted)
    app.view_closed(ANY)(acknowledge)  # nothing depends on it
    app.action(ANY)(acted)
    app.event("app_home_opened")(home_opened)
    app.event("app_mention")(addressed)
    app.event("message")(addressed)
    app.event(ANY)(happened)
    app.options(ANY)(suggest)
    app.shortcut(ANY)(used)


def _listeners(context: AsyncBoltContext) -> Listeners:
    found: Listeners = context[LISTENERS]
    return found


async def acknowledge(ack: AsyncAck) -> None:
    await ack()


async def report(error: Exception, request: AsyncBoltRequest) -> BoltResponse | None:
    """Log the error with a reference. Return the ack if it was made already, else tell Slack to try again."""
    log.error("a listener failed", reference=secrets.token_hex(4), exc_info=error)
    return request.context.ack.response
