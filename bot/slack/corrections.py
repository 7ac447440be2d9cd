"""Opens the form filled with a command that was refused, as far as the command is understood."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bot.domain import slack_text
from bot.domain.clock import Clock, moment
from bot.domain.errors import sentence_of
from bot.slack.blocks import forms, mrkdwn, refusals, template_forms
from bot.slack.commands import parse
from bot.slack.commands.templates import read_template
from bot.slack.interaction import Interaction
from bot.slack.opened_forms import OpenedForms
from bot.slack.replies import WithFacts, form_audiences, offered
from bot.when.instants import parse_when
from bot.when.refusals import NotATime
from bot.workflow.checks import lost_names
from bot.workflow.workflow import Workflow

VERBS = {action: verb for verb, action in refusals.CORRECTED.items()}


class Corrections:
    """The button *Correct it in the form*."""

    def __init__(self, workflow: Workflow, clock: Clock, with_facts: WithFacts) -> None:
        self.audiences, self.templates, self.clock = workflow.audiences, workflow.templates, clock
        self.opened, self.with_facts = OpenedForms(workflow, clock), with_facts

    async def open(self, name: str, value: str, done: Interaction) -> None:
        """Open the form of the command. Raises InvalidRequest if the command is kept no more."""
        refused = refusals.Correction(value, VERBS.get(name, "send"))
        if name == refusals.CORRECT_KEPT:
            refused = await self.opened.kept_command(done.person, value)
        of_template = refused.verb == "template save"
        view = await (self._template(refused, done) if of_template else self._broadcast(refused, done))
        await done.client.views_open(trigger_id=done.trigger, view=view)

    async def _broadcast(self, refused: refusals.Correction, done: Interaction) -> dict[str, Any]:
        parts, start = parse.read_send(slack_text.decode_slack(refused.typed)), None
        wrong = [one.sentence for one in (*parts.complaints, *lost_names(refused.typed))]
        try:
            if (at := parts.options.get("at")) and not refused.test:
                found = parse_when(at, zone=done.person.zone, now=moment(self.clock()))
                start = int(found.instant.timestamp())
        except NotATime as error:
            wrong.append(sentence_of(error))
        values = {name: parts.options.get(name) for name in ("sender", "campaign", "canary")}
        values |= {"audience": parts.audience, "purpose": parts.purpose, "text": parts.text}
        values["canary"] = (values["canary"] or "").lower() or None
        told = [mrkdwn.section("\n".join(f"⛔ {mrkdwn.sentence(done.words, one)}" for one in wrong))] if wrong else []
        form = forms.Form(offered(self.audiences, done.words), done.channel, values={**values, "send_at": start})
        form = await self.opened.corrected(replace(form, facts=told), done.person, refused, done.words)
        return forms.compose(await self.with_facts(form, done.person, done.words), done.words)

    async def _template(self, refused: refusals.Correction, done: Interaction) -> dict[str, Any]:
        """The form that makes the template, or changes this person's own of that name, as the command would."""
        name, rest = parse.first_word(slack_text.decode_slack(refused.typed))
        typed, _ = read_template(name.lower(), rest, self.audiences)
        seen = await self.templates.own(done.person, name)
        form = template_forms.MakeForm(form_audiences(self.audiences, done.words), done.channel, seen, typed)
        return template_forms.make_form(form, done.words)
