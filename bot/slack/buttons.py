"""Buttons of cards and reminders."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import structlog
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_sdk.web.async_client import AsyncWebClient

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Clock
from bot.domain.errors import NotAllowed, StaleVersion
from bot.domain.i18n import Translator, translator_for
from bot.domain.lifecycle import TRANSITIONS, Action, State
from bot.slack.blocks import break_glass, card_buttons, forms, mrkdwn, refusals, template_answers
from bot.slack.blocks.audit import CSV
from bot.slack.blocks.home import facts_seen, help_view
from bot.slack.blocks.settings_form import OPEN
from bot.slack.client import UNREACHABLE, error_name
from bot.slack.commands.schedules import Recurring
from bot.slack.corrections import Corrections
from bot.slack.home import HomeTab
from bot.slack.interaction import (
    SHOWN,
    Body,
    Entrance,
    Interaction,
    Redraw,
    Refused,
    answer_seconds,
    channel_of,
    message_of,
    user_of,
)
from bot.slack.opened_forms import OpenedForms
from bot.slack.payload import counted, part
from bot.slack.replies import WithFacts, reply_privately, respond
from bot.slack.settings_form import SettingsForm
from bot.slack.template_forms import TemplateForms
from bot.workflow.audiences import Audiences
from bot.workflow.decision_types import Drawing, Sight
from bot.workflow.decision_types import pressed as decision_of
from bot.workflow.reviews import CLOSE
from bot.workflow.workflow import Workflow

log = structlog.get_logger(__name__)

#: Draws the form that asks about a decision.
AskForm = Callable[[Broadcast, Translator], dict[str, Any]]

SOON = ROUND = 300 * SECOND  # a suggested start is at least this far ahead, and a multiple of this


class Pressed:
    """A press on a button: who pressed it, for which broadcast and version, and where."""

    def __init__(self, body: Body, action: Mapping[str, Any], done: Interaction) -> None:
        self.name, value = card_buttons.press_of(action)
        self.id, _, version = value.partition(":")
        self.version = counted(version)
        self.person, self.client, self.words = done.person, done.client, done.words
        self.channel, self.trigger = done.channel, done.trigger
        self.in_view = part(body, "view")  # the one that it was pressed in, if that is no message
        self.shown_again = card_buttons.is_shown_again(str(action.get("block_id") or ""))
        self.sight = self._sight(message_of(body), str(action.get("block_id") or ""))

    def _sight(self, ts: str, block_id: str) -> Sight:
        """Return what they saw: a card, or a view, which keeps what it showed."""
        if self.in_view:
            return Sight("", "", facts=facts_seen(self.in_view, self.id, self.version))
        drawing = card_buttons.drawing_of(block_id)
        return Sight(self.channel, "" if self.shown_again else ts, Drawing(*drawing) if drawing else None)

    async def open(self, view: dict[str, Any]) -> None:
        """Open a form; above the view that the button is in, if it is in one that can be closed."""
        above = self.in_view.get("type") == "modal"
        show = self.client.views_push if above else self.client.views_open
        await show(trigger_id=self.trigger, view=view)

    def asks_in(self, row: Broadcast) -> str:
        """Return the channel to ask in.

        Its card or draft may have come in a direct message, where nobody else could approve it. Then this is the
        broadcast's own channel.
        """
        return row.channel if self.channel.startswith("D") else self.channel or row.channel


async def _redrawn_in(view: Body, told: mrkdwn.Post, client: AsyncWebClient, words: Translator) -> None:
    """Show another answer in the view whose button was pressed."""
    try:
        await client.views_update(view_id=str(view.get("id")), hash=view.get("hash"), view=help_view(told, words))
    except UNREACHABLE as error:  # somebody closed it, or pressed twice
        log.info("a view was not drawn again", error=error_name(error))


class Buttons:
    """Buttons of cards and of reminders."""

    #: The buttons that take effect without a form.
    DIRECT = frozenset(
        {
            Action.APPROVE,
            Action.CANCEL,
            Action.STOP,
            Action.SEND_NOW,
            Action.DROP,
            Action.MARK_SENT,
            Action.MARK_NOT_SENT,
        }
    )

    def __init__(
        self,
        workflow: Workflow,
        audiences: Audiences,
        clock: Clock,
        entrance: Entrance,
        recurring: Recurring,
        with_facts: WithFacts,
        redrawn: Mapping[str, Redraw],
        send_file: Redraw,
        home: HomeTab,
    ) -> None:
        self.workflow, self.audiences, self.clock, self.entrance = workflow, audiences, clock, entrance
        self.redrawn, self.send_file = redrawn, send_file
        self.recurring, self.templates, self.with_facts = recurring, TemplateForms(workflow), with_facts
        self.home = home
        self.settings = SettingsForm(workflow.own_settings)
        self.opened, self.corrections = OpenedForms(workflow, clock), Corrections(workflow, clock, with_facts)
        self._telling: set[asyncio.Task[None]] = set()

    async def pressed(self, ack: AsyncAck, body: Body, action: Mapping[str, Any], client: AsyncWebClient) -> None:
        """Do what the button says, or tell the person who pressed it why not."""
        began, answer = time.monotonic(), await self._press(body, action, client)
        if answer is not None:
            telling = asyncio.create_task(answer, name="tell a person")
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)
            left = answer_seconds(self.entrance.patience) - (time.monotonic() - began)
            await asyncio.wait({telling}, timeout=max(left, 0.1))
        await ack()

    async def _press(
        self, body: Body, action: Mapping[str, Any], client: AsyncWebClient
    ) -> Coroutine[Any, Any, None] | None:
        """Do it. Return a coroutine that answers the person, if there is anything to say.

        The answer may take Slack longer than the acknowledgement may wait.
        """
        of = str(action.get("action_id")).partition(".")[0]
        if of not in ("broadcast", "reminder", "home", "workspace"):
            return None
        entered: list[Interaction] = []
        replaces = False

        async def press(done: Interaction) -> mrkdwn.Post | None:
            entered.append(done)
            nonlocal replaces
            redrawn = await self._redraw(body, action, done)
            replaces = redrawn is not None
            return redrawn or await self._act(of, body, action, done)

        channel, user, words = channel_of(body), user_of(body), translator_for(None)
        try:
            told = await self.entrance.enter(body, client, press, fresh=True)
        except Refused as refused:
            if refused.error is None:
                return respond(body, self.audiences.settings.slack_api_url, mrkdwn.lines(refused.lines, refused.words))
            text = " ".join(refused.lines)
            told, words = mrkdwn.Post(text, [mrkdwn.section(text)]), refused.words
            replaces = False
        if replaces and told and (view := part(body, "view")):
            return _redrawn_in(view, told, client, entered[0].words)
        if replaces and told:
            return respond(body, self.audiences.settings.slack_api_url, told, replaces=True)
        if self.home.is_about(body):
            done = next(iter(entered), None)
            changed = card_buttons.press_of(action)[0] in self.DIRECT
            words = done.words if done else words
            return await self.home.answer(body, client, told, done, words, changed=changed)
        return reply_privately(client, channel or user, user, told) if told else None

    async def _redraw(self, body: Body, action: Mapping[str, Any], done: Interaction) -> mrkdwn.Post | None:
        """Return what an answer shows after a press on a button in it; None for a press elsewhere."""
        name, value = str(action.get("action_id")), str(action.get("value") or "")
        if (redraw := self.redrawn.get(name.rpartition(".")[0])) is not None:
            return await redraw(value, done)
        pressed = Pressed(body, action, done)
        if not pressed.shown_again or pressed.name not in self.DIRECT:
            return None
        await self._do(pressed)
        return await self.redrawn[SHOWN](pressed.id, done)

    async def _act(self, of: str, body: Body, action: Mapping[str, Any], done: Interaction) -> mrkdwn.Post | None:
        if of == "home":
            return await self.home.pressed(action, done)
        if of == "reminder":
            await self.recurring.pressed(body, action, done)
        elif action.get("action_id") == CSV:
            return await self.send_file(str(action.get("value") or ""), done)
        elif action.get("action_id") == OPEN:
            await self.settings.pressed(done)
        elif action.get("action_id") in (template_answers.APPROVE, template_answers.WITHDRAW):
            return await self.templates.pressed(action, done)
        elif action.get("action_id") == f"broadcast.{card_buttons.SHOW_IDS}":
            return await self.redrawn["broadcast.ids"](str(action.get("value") or ""), done)
        elif (name := str(action.get("action_id"))).startswith(refusals.CORRECT):
            await self.corrections.open(name, str(action.get("value") or ""), done)
        else:
            await self._do(Pressed(body, action, done))
        return None

    async def _do(self, pressed: Pressed) -> None:
        workspace = pressed.person.workspace
        if pressed.name == "look":
            await pressed.open(await self.home.look(pressed.id, pressed.person, pressed.words))
        elif pressed.name == Action.REJECT:
            await self._ask_about(pressed, Action.REJECT, forms.reject_form)
        elif pressed.name == "give_reason":
            await self._ask_for_a_reason(pressed)
        elif pressed.name == Action.BREAK_GLASS:
            await self._ask_about(pressed, Action.BREAK_GLASS, break_glass.glass_form)
        elif pressed.name == CLOSE:
            await self._ask_to_close(pressed)
        elif pressed.name == Action.REQUEST_CHANGES:
            await self._ask_about(pressed, Action.REQUEST_CHANGES, forms.changes_form)
        elif pressed.name == Action.REPLAN:
            await self._ask_start(pressed)
        elif pressed.name == Action.EDIT:
            await self._edit(pressed)
        elif pressed.name == "follow_up":
            await self._follow_up(pressed)
        elif pressed.name in self.DIRECT and pressed.version is not None:
            decision = decision_of(Action(pressed.name), pressed.sight)
            await self.workflow.act(workspace, pressed.id, decision, person=pressed.person, version=pressed.version)
        else:
            raise NotAllowed("I no longer know this button. Please look at the newest card.")

    async def _ask_about(self, pressed: Pressed, action: Action, form: AskForm) -> None:
        """Open the form with the question that this decision needs an answer to."""
        row = await self._current(pressed)
        if (row.state, action) not in TRANSITIONS:
            raise StaleVersion(row)
        await self.workflow.may(action, pressed.person, row)
        await pressed.open(form(row, pressed.words))

    async def _ask_for_a_reason(self, pressed: Pressed) -> None:
        """Open the form for the reason of a rejection that had none."""
        row = await self._current(pressed)
        if row.state is not State.REJECTED:
            raise StaleVersion(row)
        await self.workflow.may(Action.REJECT, pressed.person, row)
        form = forms.reject_form(row, pressed.words, after=True)
        await pressed.open(form)

    async def _ask_to_close(self, pressed: Pressed) -> None:
        """Open the form that closes the review of what went out without approval."""
        row = await self._current(pressed)
        if not row.review_open:
            raise StaleVersion(row)
        await self.workflow.reviews.may_close(pressed.person, row)
        await pressed.open(break_glass.review_form(row, pressed.words))

    async def _edit(self, pressed: Pressed) -> None:
        """Open the form filled with the broadcast, or with the draft, which its writer alone can open."""
        row = await self._current(pressed)
        if row.state is State.DRAFT and row.requester != pressed.person.id:
            raise NotAllowed("Only {requester}, who wrote it, can open this draft.", requester=f"<@{row.requester}>")
        form = await self.opened.edit(row, pressed.person, pressed.asks_in(row), pressed.words)
        await self._open(form, pressed)

    async def _open(self, form: forms.Form, pressed: Pressed) -> None:
        form = await self.with_facts(form, pressed.person, pressed.words)
        await pressed.open(forms.compose(form, pressed.words))

    async def _ask_start(self, pressed: Pressed) -> None:
        """Open the form with its planned start if that is still possible, else the next start that the hours allow."""
        row = await self._current(pressed)
        if (row.state, Action.REPLAN) not in TRANSITIONS:
            raise StaleVersion(row)
        await self.workflow.may(Action.REPLAN, pressed.person, row)
        wanted = max(row.send_at or 0, self.clock() + SOON)
        wanted += -wanted % ROUND
        start = self.audiences.outlook(row, wanted).opens or wanted
        form = forms.replan_form(row, start, pressed.words, closed=start != wanted)
        await pressed.open(form)

    async def _follow_up(self, pressed: Pressed) -> None:
        """Open the form for a new broadcast by this person, with the old text. It needs its own approval."""
        row = await self._current(pressed)
        if row.state not in card_buttons.FOLLOW_UPS:
            raise StaleVersion(row)
        form = await self.opened.follow_up(row, pressed.person, pressed.asks_in(row), pressed.words)
        await self._open(form, pressed)

    async def _current(self, pressed: Pressed) -> Broadcast:
        row = await self.workflow.find(pressed.person.workspace, pressed.id)
        if row.version != pressed.version:
            raise StaleVersion(row)
        return row
