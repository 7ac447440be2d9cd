"""Routes a slash command to the subcommand that answers it."""

from __future__ import annotations

from dataclasses import replace

from slack_bolt.context.ack.async_ack import AsyncAck
from slack_sdk.web.async_client import AsyncWebClient

from bot.domain import slack_text, sms
from bot.domain.clock import Clock
from bot.domain.errors import InvalidRequest, NotAllowed, NotAMember
from bot.domain.options import folded
from bot.slack.blocks import mrkdwn, refusals
from bot.slack.blocks.help import STEP
from bot.slack.blocks.meant import MEANT, UNKNOWN_BUTTON, Meant
from bot.slack.blocks.mrkdwn import Post
from bot.slack.commands import parse
from bot.slack.commands.absences import AbsenceCommands
from bot.slack.commands.audit import AuditCommand
from bot.slack.commands.broadcasts import BroadcastCommands
from bot.slack.commands.doctor import DoctorCommand, Examine
from bot.slack.commands.help import HelpCommand
from bot.slack.commands.schedules import Recurring
from bot.slack.commands.settings import SettingsCommand
from bot.slack.commands.showing import ShowingOf
from bot.slack.commands.templates import VERBS as TEMPLATE_VERBS
from bot.slack.commands.templates import TemplateCommands
from bot.slack.directory import People
from bot.slack.interaction import Body, Entrance, Interaction, Redraw, Refused, user_of, workspace_of
from bot.slack.replies import Command, Subcommand, WithFacts
from bot.slack.settings_form import SettingsForm
from bot.workflow.audiences import Audiences
from bot.workflow.workflow import Workflow


class Commands:
    """The subcommands by name; the first line of each method's docstring is its help."""

    def __init__(
        self,
        workflow: Workflow,
        people: People,
        audiences: Audiences,
        clock: Clock,
        showing_of: ShowingOf,
        entrance: Entrance,
        recurring: Recurring,
        with_facts: WithFacts,
        examine: Examine,
    ) -> None:
        self.audiences, self.entrance = audiences, entrance
        self.broadcasts = BroadcastCommands(workflow, people, audiences, clock, showing_of, recurring, with_facts)
        self.audit = AuditCommand(workflow, clock)
        #: The answers that a button draws anew in their place, by the button.
        self.redrawn: dict[str, Redraw] = {**self.broadcasts.redrawn, "broadcast.audit": self.audit.turned}
        self.table: dict[str, Subcommand] = {
            **self.broadcasts.table,
            **TemplateCommands(self.broadcasts).table,
            **AbsenceCommands(workflow.approvers.absences, clock).table,
            **self.audit.table,
            **DoctorCommand(workflow, examine).table,
            **SettingsCommand(SettingsForm(workflow.own_settings)).table,
        }
        self.help = HelpCommand(self.table, audiences)
        self.table |= self.help.table
        self.redrawn |= {STEP: self.help.turned, MEANT: self._meant}

    async def handle(self, ack: AsyncAck, body: Body, client: AsyncWebClient) -> None:
        """Answer one command. If anything goes wrong, the person gets a sentence and what they typed."""
        post = await self._answer(body, client)
        if post is None:
            await ack()
        else:
            await ack(text=post.text, blocks=post.blocks or None, response_type="ephemeral")

    async def _answer(self, body: Body, client: AsyncWebClient) -> Post | None:
        raw = sms.storable(str(body.get("text") or ""))
        shown = slack_text.decode_slack(f"{body.get('command', '/broadcast')} {raw}")

        async def run(done: Interaction) -> Post | None:
            return await self._run(Command(done.person, done.channel, raw, done.trigger, done.words, shown), client)

        try:
            return await self.entrance.enter(body, client, run)
        except Refused as refused:
            name, rest = parse.first_word(raw)
            correct = None
            if refused.error is not None and not isinstance(refused.error, NotAMember):
                keeps = isinstance(refused.error, InvalidRequest | NotAllowed)  # else the database is in trouble
                correct = await self._correction(name.lower(), rest, workspace_of(body), user_of(body), keeps=keeps)
            return refusals.complaint(refused.lines, shown, refused.words, correct=correct)

    async def _correction(
        self, verb: str, rest: str, workspace: str, user: str, *, keeps: bool = True
    ) -> refusals.Correction | None:
        """What the form can be opened with to correct a refused command; None if no form can correct it.

        `keeps`: one that is too long for a button may be kept in the database.
        """
        if verb == "template":
            of, rest = parse.first_word(rest)
            verb = f"{verb} {TEMPLATE_VERBS.get(folded(of), of.lower())}"
        if verb not in refusals.CORRECTED or not rest:
            return None
        correction = refusals.Correction(rest, verb)
        kept = correction.fits or (keeps and await self.broadcasts.opened.keep_command(workspace, user, correction))
        return correction if kept else None

    async def _run(self, asked: Command, client: AsyncWebClient) -> Post | None:
        name, rest = parse.first_word(asked.text)
        if not name:
            return await self.broadcasts.form(asked, client)
        entry = self.table.get(name.lower().lstrip("?") or "help")
        if entry is None:
            return await self._unknown(name, rest, asked)
        return await entry[1](replace(asked, text=rest), client)

    async def _unknown(self, name: str, rest: str, asked: Command) -> Post:
        audience, person = slack_text.decode_slack(name).lower(), asked.person
        near, typed = parse.nearest_verb(name, self.table), rest
        if self.audiences.audience(audience):
            near, typed = f"send {audience}", asked.text
        correct = await self._correction(near.split()[0], typed, person.workspace, person.id) if near else None
        sentences = [asked.words("There is no `{name}` command.", name=mrkdwn.quote(slack_text.decode_slack(name)))]
        if near:
            sentences.append(asked.words("Did you mean `/broadcast {near}`?", near=near))
        sentences.append(asked.words("`/broadcast help` lists the commands."))
        return refusals.complaint([" ".join(sentences)], asked.line, asked.words, correct=correct)

    async def _meant(self, value: str, done: Interaction) -> Post:
        """Give the command that was meant, as if it had been typed so. Raises what that raises."""
        meant = Meant.of(value)
        if meant.verb not in ("every", "remind"):
            raise NotAllowed(UNKNOWN_BUTTON)
        line = f"/broadcast {meant.verb} {slack_text.decode_slack(meant.text)}"
        asked = Command(done.person, done.channel, meant.text, meant.trigger, done.words, line)
        return await self.table[meant.verb][1](asked, done.client) or Post(line)
