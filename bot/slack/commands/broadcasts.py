"""Subcommands about broadcasts and audiences."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bot.domain import slack_text
from bot.domain.broadcast import Broadcast, BroadcastRequest
from bot.domain.clock import SECOND, Clock, moment
from bot.domain.errors import FieldError, InvalidRequest, NotFound, NotUnderstood, sentence_of
from bot.domain.i18n import Translatable, Translator
from bot.domain.lifecycle import Action, Hold, State
from bot.domain.people import Person
from bot.slack.blocks import answers, card_facts, forms, mrkdwn
from bot.slack.blocks.boards import BOARD, KEEP_BOTH
from bot.slack.blocks.mrkdwn import Post
from bot.slack.client import UNREACHABLE, error_name, is_late
from bot.slack.commands import parse
from bot.slack.commands.boards import BoardCommands
from bot.slack.commands.listing import ListCommand
from bot.slack.commands.schedules import Recurring
from bot.slack.commands.showing import ShowCommand, ShowingOf
from bot.slack.directory import People
from bot.slack.id_pages import IdPages
from bot.slack.interaction import SHOWN, Redraw
from bot.slack.links import Links
from bot.slack.opened_forms import OpenedForms
from bot.slack.replies import (
    Command,
    Subcommand,
    WithFacts,
    describe_hours,
    form_audiences,
    must_leave_nothing_behind,
    place_for,
    submitted_post,
    with_late,
)
from bot.storage import broadcasts, keys
from bot.when.instants import goes_on, parse_when
from bot.when.refusals import NotATime
from bot.workflow import checks
from bot.workflow.audiences import Audiences
from bot.workflow.decision_types import Cancel, Discard, Drop
from bot.workflow.workflow import Workflow
from providers.base import Purpose

log = structlog.get_logger(__name__)


class BroadcastCommands:
    """Subcommands about broadcasts and audiences."""

    def __init__(
        self,
        workflow: Workflow,
        people: People,
        audiences: Audiences,
        clock: Clock,
        showing_of: ShowingOf,
        recurring: Recurring,
        with_facts: WithFacts,
    ) -> None:
        self.workflow, self.people, self.audiences, self.clock = workflow, people, audiences, clock
        self.recurring, self.with_facts = recurring, with_facts
        self.opened, self.links = OpenedForms(workflow, clock), Links()
        self.lists = ListCommand(workflow, clock, self.links)
        self.boards = BoardCommands(recurring, clock)
        self.shown = ShowCommand(workflow, clock, showing_of, self.links)
        #: The answers that a button draws anew in their place, by the button.
        self.redrawn: dict[str, Redraw] = {
            "broadcast.ids": IdPages(workflow).turned,
            "broadcast.list": self.lists.turned,
            BOARD: self.boards.turned,
            KEEP_BOTH: recurring.keep_both,
            SHOWN: self.shown.again,
        }
        self.table: dict[str, Subcommand] = {
            "send": ("send <audience> [marketing|transactional] [at=<when>] [canary=<audience>] <text>", self.send),
            "test": ("test <audience> [marketing|transactional] <text>", self.test),
            "audiences": ("audiences", self.list_audiences),
            "list": ("list [mine|waiting|upcoming|unknown|<audience>|<word>]", self.lists.list_broadcasts),
            "show": ("show <id>", self.show),
            "cancel": ("cancel <id>", self.cancel),
            "edit": ("edit <id>", self.edit),
            **recurring.table,
            **self.boards.table,
            "pause": ("pause all | <id> [until=<date>]", self.pause),
            "resume": ("resume all|<id>", self.resume),
        }

    async def form(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """Open the form."""
        return await self.open_form(await self.opened.blank(asked.person, asked.channel, asked.words), asked, client)

    async def open_form(self, form: forms.Form, asked: Command, client: AsyncWebClient) -> Post | None:
        form = await self.with_facts(form, asked.person, asked.words)
        return await open_view(forms.compose(form, asked.words), asked, client)

    async def send(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """Ask to send a text to an audience."""
        return await self._submit(asked, "send")

    async def test(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """Send a text to a few colleagues at once, to see it on a phone."""
        return await self._submit(asked, "test")

    async def _submit(self, asked: Command, verb: str) -> Post:
        parts = parse.read_send(slack_text.decode_slack(asked.text))
        if not parts.audience:
            return answers.usage(self.table[verb][0], asked.line, asked.words)
        send_at = self._start(parts, asked.person)
        if complaints := (*parts.complaints, *checks.lost_names(asked.text)):
            raise InvalidRequest(*complaints)
        request = BroadcastRequest(
            workspace=asked.person.workspace,
            requester=asked.person.id,
            channel=asked.channel,
            audience=parts.audience,
            purpose=parts.purpose or Purpose.MARKETING,
            text=parts.text,
            send_at=send_at,
            sender=parts.options.get("sender"),
            campaign=parts.options.get("campaign"),
            canary=(parts.options.get("canary") or "").lower() or None,
            zone=asked.person.zone,
            test=verb == "test",
        )
        place = await place_for(self.audiences, self.people, asked.channel)
        key = f"command:{asked.trigger or secrets.token_hex(8)}"
        submitted = await self.workflow.submit(request, key=key, person=asked.person, postable=place.postable)
        hours = describe_hours(self.audiences, submitted.broadcast, asked.words)
        answer = submitted_post(submitted, place, asked.person, hours, asked.words)
        return answer if submitted.questions else with_late(answer, parts.late, asked.words)

    def _start(self, parts: parse.Typed, person: Person) -> int | None:
        if "at" not in parts.options:
            return None
        at = parts.options["at"]
        try:
            when = parse_when(at, zone=person.zone, now=moment(self.clock()))
        except NotATime as error:
            sentences = [sentence_of(error)]
            if " " not in at and parts.text:  # the rest of it became text
                sentences.append(Translatable('Put several words in quotes: `at="tomorrow 9:00"`.'))
            raise InvalidRequest(*(FieldError("send_at", sentence) for sentence in sentences)) from None
        if " " not in at and (longer := goes_on(at, parts.text, zone=person.zone, now=moment(self.clock()))):
            template = (
                'Is the time “{longer}”? Then write it in quotes: `at="{longer}"`. If the text starts there, write '
                '`at="today {typed}"`.'
            )
            raise InvalidRequest(FieldError("send_at", Translatable(template, longer=longer, typed=at)))
        must_leave_nothing_behind(at, parts.text, "send_at")
        return int(when.instant.timestamp()) * SECOND

    async def list_audiences(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """Show the audiences you can write to."""
        known = form_audiences(self.audiences, asked.words)
        lines = [self._audience_line(name, label, asked.words) for name, label in known]
        if not lines:
            lines = [asked.words("No audience is set up yet. Ask an admin to add `[audiences.NAME]`.")]
        for account, provider in sorted(self.audiences.providers.items()):
            lines += self._other_lines(account, provider.title, asked.words)
        return mrkdwn.lines(lines, asked.words)

    def _audience_line(self, name: str, label: str, words: Translator) -> str:
        size = self.audiences.audience_cache.size_of(name)
        size_text = f" — {words.count('{number} person', '{number} people', size)}" if size is not None else ""
        return f"• *{name}* — {mrkdwn.quote(label)}{size_text}"

    def _other_lines(self, account: str, title: str, words: Translator) -> Iterator[str]:
        others = self.audiences.audience_cache.others(account)
        if others:
            shown = ", ".join(
                f"{mrkdwn.quote(it.name)} ({words(card_facts.KINDS[it.kind])} {mrkdwn.quote(it.id)})"
                for it in others[:20]
            )
            more = f" … (+{len(others) - 20})" if len(others) > 20 else ""
            yield words(
                "Also at {vendor}, but not set up here: {names}", vendor=mrkdwn.quote(title), names=shown + more
            )

    async def show(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """Show one broadcast and who did what to it, or one recurring broadcast or reminder."""
        word, _ = parse.first_word(slack_text.decode_slack(asked.text))
        if not word:
            return answers.usage(self.table["show"][0], asked.line, asked.words)
        id = parse.id_of(word)
        try:
            row = await self._find(asked.person, id)
        except NotUnderstood:
            raise
        except NotFound:
            return await self.recurring.show(asked, id)
        return await self.shown.show(row, asked.person, client, asked.words)

    async def _find(self, person: Person, id: str, action: Action | None = None) -> Broadcast:
        """Return a broadcast that this person may see. Raises NotFound, NotUnderstood or DirectoryUnavailable.

        `action`: what they want to do to it; that they may not even see it is audited.
        """
        row = await self.workflow.find(person.workspace, id)
        if not await self.workflow.permissions.may_see(person, row):
            if action is not None:
                await self.workflow.permissions.audit_refusal(person, action, "NotFound", row)
            raise NotFound(row.id)
        return row

    async def cancel(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """Stop a broadcast that has not gone out yet."""
        word, reason = parse.first_word(slack_text.decode_slack(asked.text))
        if not word:
            return answers.usage(self.table["cancel"][0], asked.line, asked.words)
        row = await self._find(asked.person, parse.id_of(word), Action.CANCEL)
        kinds: dict[State, type[Drop | Discard]] = {State.HELD: Drop, State.DRAFT: Discard}
        decision = kinds.get(row.state, Cancel)(reason.strip() or None)
        ended = await self.workflow.act(row.workspace, row.id, decision, person=asked.person, version=row.version)
        return Post(asked.words("{id} is cancelled. Nothing was sent.", id=ended.id))

    async def edit(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """Edit a broadcast that has not gone out, or open one of your drafts."""
        word, _ = parse.first_word(slack_text.decode_slack(asked.text))
        if not word:
            return answers.usage(self.table["edit"][0], asked.line, asked.words)
        row = await self._find(asked.person, parse.id_of(word), Action.EDIT)
        if row.state is State.DRAFT and row.requester != asked.person.id:
            raise NotFound(row.id)
        form = await self.opened.edit(row, asked.person, asked.channel, asked.words)
        return await self.open_form(form, asked, client)

    async def pause(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """Pause all sending at once (admins), or one recurring broadcast or reminder."""
        what, rest = parse.first_word(asked.text)
        if what.lower() != "all":
            return (
                await self.recurring.pause(asked, client)
                if what
                else answers.usage(self.table["pause"][0], asked.line, asked.words)
            )
        await self.workflow.pause_all(asked.person, on=True)
        lines = [
            asked.words(
                "All sending is paused. Broadcasts that fall due are held and need a decision. `/broadcast resume all` "
                "resumes sending."
            )
        ]
        if rest:  # somebody who stops everything must not have to type it again
            lines.append(
                asked.words("This pause does not end by itself, so I ignored “{rest}”.", rest=mrkdwn.quote(rest))
            )
        return mrkdwn.lines(lines, asked.words)

    async def resume(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """Resume all sending (admins), or one recurring broadcast or reminder."""
        what = parse.first_word(asked.text)[0].lower()
        if what != "all":
            return (
                await self.recurring.resume(asked, client)
                if what
                else answers.usage(self.table["resume"][0], asked.line, asked.words)
            )
        workspace = asked.person.workspace
        was, going = await self.workflow.database.read(  # before they start
            lambda c: (keys.paused(c, workspace), broadcasts.count_held(c, workspace, Hold.HOURS, self.clock()))
        )
        asking = await self.workflow.pause_all(asked.person, on=False)
        lines = [asked.words("Sending has resumed.") if was else asked.words("Sending was not paused.")]
        if asking:
            lines.append(
                asked.words.count(
                    "{number} broadcast was held in the meantime. It waits for *Send now* on its card.",
                    "{number} broadcasts were held in the meantime. They wait for *Send now* on their cards.",
                    asking,
                )
            )
        if going:
            lines.append(
                asked.words.count(
                    "{number} broadcast was only waiting for its sending hours and now starts by itself. It can "
                    "still be stopped on its card.",
                    "{number} broadcasts were only waiting for their sending hours and now start by themselves. They "
                    "can still be stopped on their cards.",
                    going,
                )
            )
        return mrkdwn.lines(lines, asked.words)


async def open_view(view: dict[str, Any], asked: Command, client: AsyncWebClient) -> Post | None:
    """Open a form. Return what to say if that took too long."""
    try:
        await client.views_open(trigger_id=asked.trigger, view=view)
    except UNREACHABLE as error:
        if not is_late(error):
            raise
        log.info("the form did not open", error=error_name(error))
        return Post(asked.words("Slack took too long to open the form. Type `/broadcast` again."))
    return None
