"""Handles submitted forms. Complaints appear under their fields, and nothing typed is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any

from slack_bolt.context.ack.async_ack import AsyncAck
from slack_sdk.web.async_client import AsyncWebClient

from bot.domain.clock import Clock
from bot.domain.errors import FieldError, InvalidRequest
from bot.domain.i18n import Translatable
from bot.domain.people import Person
from bot.slack.blocks import form_values, forms
from bot.slack.blocks.break_glass import GLASS, REVIEW
from bot.slack.blocks.settings_form import FORM as SETTINGS
from bot.slack.blocks.template_forms import MAKE
from bot.slack.directory import People
from bot.slack.interaction import Body, Entrance, Interaction, Refused
from bot.slack.payload import id_in, inputs_of, number
from bot.slack.replies import describe_hours, place_for, reply_privately, submitted_post
from bot.slack.settings_form import SettingsForm
from bot.slack.template_forms import TemplateForms
from bot.workflow.audiences import Audiences
from bot.workflow.decision_types import BreakGlass, Edit, Reject, Replan, RequestChanges, Sent
from bot.workflow.workflow import Workflow
from providers.base import Purpose

View = Mapping[str, Any]

UNKNOWN_FORM = "I no longer know this form. Copy your text and open a new one."


class FormHandlers:
    """The forms by their callback id."""

    def __init__(
        self,
        workflow: Workflow,
        people: People,
        audiences: Audiences,
        clock: Clock,
        entrance: Entrance,
        done: Callable[[str, Person, str], None],
    ) -> None:
        self.done = done  # told of each form that was submitted, who filled it in, and what it was about
        self.workflow, self.people, self.audiences, self.clock, self.entrance = (
            workflow,
            people,
            audiences,
            clock,
            entrance,
        )
        self.templates = TemplateForms(workflow)
        self._telling = set[asyncio.Task[None]]()
        self.forms: dict[str, Callable[[View, Interaction], Awaitable[None]]] = {
            "broadcast_compose": self.compose,
            "broadcast_reject": self.reject,
            "broadcast_changes": self.request_changes,
            "broadcast_replan": self.replan,
            GLASS: self.break_glass,
            REVIEW: self.close_review,
            MAKE: self.templates.save,
            SETTINGS: SettingsForm(workflow.own_settings).submitted,
        }

    async def submitted(self, ack: AsyncAck, body: Body, view: View, client: AsyncWebClient) -> None:
        """Handle a submitted form. If all is well it closes, with what it was opened from, else it shows what is wrong.

        What is wrong is shown under each field.
        """
        errors = await self._errors(body, view, client)
        if errors:
            await ack(response_action="errors", errors=errors)
        else:
            await ack(response_action="clear")  # also the view under it, from which it was opened

    async def _errors(self, body: Body, view: View, client: AsyncWebClient) -> dict[str, str]:
        form = self.forms.get(str(view.get("callback_id")))

        async def submit(done: Interaction) -> None:
            if form is None:
                raise InvalidRequest(FieldError("text", Translatable(UNKNOWN_FORM)))
            # `trigger_id` tells one submit of a form from the next; Slack puts it beside the view
            await form({**view, "trigger_id": done.trigger or None}, done)

        try:
            await self.entrance.enter(body, client, submit)
        except Refused as refused:
            if isinstance(refused.error, InvalidRequest):
                return forms.field_errors(refused.error.complaints, view, refused.words)
            return {last_input(view): forms.unmarked(" ".join(refused.lines))}
        return {}

    async def compose(self, view: View, done: Interaction) -> None:
        """Submit what was composed. The form's id makes a second submit harmless, or the answer yes to a question."""
        composed = form_values.read_compose(view)
        if composed.purpose not in list(Purpose):
            raise InvalidRequest(FieldError("purpose", Translatable("Choose a purpose.")))
        filled = await self.templates.checked(composed, done.workspace)
        if filled is not None:  # the payload may say anything, the template says this
            composed = replace(composed, text=filled.text)
        request = composed.request(done.person)
        id = id_in(view.get("id"))
        if id is None:  # by it, a second submit is known
            raise InvalidRequest(FieldError("text", Translatable(UNKNOWN_FORM)))
        sent = Sent(id, str(view.get("trigger_id") or ""), composed.also)
        if composed.edits is not None:
            edit = Edit(request, sent)
            edited, version = composed.edits
            await self.workflow.act(request.workspace, edited, edit, person=done.person, version=version)
            self.done(id, done.person, composed.about)
            return
        place = await place_for(self.audiences, self.people, composed.channel)
        submitted = await self.workflow.submit(
            request,
            key=f"view:{id}",
            person=done.person,
            postable=place.postable,
            draft=composed.draft,
            follows=composed.follows,
            sent=sent,
            advance=self.workflow.template_use.of(filled) if filled else None,
        )
        self.done(id, done.person, composed.about)
        hours = describe_hours(self.audiences, submitted.broadcast, done.words)
        post = submitted_post(submitted, place, done.person, hours, done.words)
        self._confirm(reply_privately(done.client, composed.channel, done.person.id, post))

    def _confirm(self, telling: Coroutine[Any, Any, None]) -> None:
        """Tell the person what a command would, without keeping the form waiting for Slack."""
        task = asyncio.create_task(telling, name="confirm a form")
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def reject(self, view: View, done: Interaction) -> None:
        """Reject with the reason that was written, or add it to a rejection by a reaction."""
        kept, reason = form_values.kept_in(view), form_values.read_line(view, "reason")
        if not reason:
            raise InvalidRequest(
                FieldError("reason", Translatable("Say why, so that the requester knows what to change."))
            )
        workspace, id = done.person.workspace, str(kept.get("id") or "?")
        if kept.get("after"):
            await self.workflow.decisions.give_reason(workspace, id, reason, person=done.person)
            return
        await self.workflow.act(workspace, id, Reject(reason), person=done.person, version=number(kept.get("version")))

    async def request_changes(self, view: View, done: Interaction) -> None:
        """Return the broadcast to its requester with the comment that was written."""
        kept, comment = form_values.kept_in(view), form_values.read_line(view, "comment")
        if not comment:
            raise InvalidRequest(
                FieldError("comment", Translatable("Say what to change, so that the requester can do it."))
            )
        await self.workflow.act(
            done.person.workspace,
            str(kept.get("id") or "?"),
            RequestChanges(comment),
            person=done.person,
            version=number(kept.get("version")),
        )

    async def replan(self, view: View, done: Interaction) -> None:
        """Plan it for another time. This makes a new version, with its own card and approval."""
        kept, send_at = form_values.kept_in(view), form_values.read_replan(view)
        if send_at is None:
            raise InvalidRequest(FieldError("send_at", Translatable("Choose a time.")))
        await self.workflow.act(
            done.person.workspace,
            str(kept.get("id") or "?"),
            Replan(send_at),
            person=done.person,
            version=number(kept.get("version")),
        )

    async def break_glass(self, view: View, done: Interaction) -> None:
        """Send an alert without approval, for the reason that was written."""
        kept, workspace = form_values.kept_in(view), done.person.workspace
        most = None if kept.get("most") is None else number(kept["most"])
        decision = BreakGlass(form_values.read_line(view, "reason"), most)
        id, version = str(kept.get("id") or "?"), number(kept.get("version"))
        await self.workflow.act(workspace, id, decision, person=done.person, version=version)

    async def close_review(self, view: View, done: Interaction) -> None:
        """Close the review, with a comment if one was written."""
        kept, comment = form_values.kept_in(view), form_values.read_line(view, "comment")
        id, version = str(kept.get("id") or "?"), number(kept.get("version"))
        await self.workflow.reviews.close(
            done.person.workspace, id, person=done.person, version=version, comment=comment
        )


def last_input(view: View) -> str:
    """Return where to show an error that belongs to no field."""
    return next(reversed(inputs_of(view)), "text")
