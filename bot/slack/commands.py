"""`/broadcast` and its subcommands. Each answers in its acknowledgement, to the person who typed it alone."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

import structlog
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_sdk.web.async_client import AsyncWebClient

from bot.domain import slack_text, sms
from bot.domain.broadcast import Broadcast, BroadcastRequest
from bot.domain.clock import SECOND, Clock, moment
from bot.domain.errors import Complaint, NotAccepted, NotAllowed, NotFound, NotUnderstood, TooLate
from bot.domain.i18n import Translatable, Words, words_for
from bot.domain.lifecycle import Hold, State
from bot.domain.people import Person, mentions, must_be_member
from bot.slack import typed, views
from bot.slack.answers import (
    ELSEWHERE,
    Body,
    Subcommand,
    Typing,
    draft_form,
    explain,
    form_audiences,
    hours_told,
    in_time,
    must_leave_nothing_behind,
    place_for,
    submitted_post,
    with_late,
    workspace_of,
)
from bot.slack.people import UNREACHABLE, People, is_late
from bot.slack.recurring import Recurring
from bot.slack.views import Post
from bot.storage import audit, broadcasts, cards, keys, templates
from bot.storage.votes import Vote, votes_for
from bot.when.instants import goes_on, parse_when
from bot.when.traps import NotATime
from bot.workflow import checks
from bot.workflow.audiences import Desk
from bot.workflow.deeds import Cancel, Discard, Drop
from bot.workflow.workflow import Workflow
from providers.base import Purpose

log = structlog.get_logger(__name__)

ShowingOf = Callable[[Broadcast, list[Vote]], Awaitable[views.Showing]]
LISTED = 10
LONGEST_NAME = 64  # characters of a template's name


class BroadcastCommands:
    """Subcommands about broadcasts and audiences."""

    def __init__(
        self,
        workflow: Workflow,
        people: People,
        desk: Desk,
        clock: Clock,
        showing_of: ShowingOf,
        recurring: Recurring,
    ) -> None:
        self.workflow, self.people, self.desk, self.clock = workflow, people, desk, clock
        self.showing_of, self.recurring = showing_of, recurring
        self.table: dict[str, Subcommand] = {
            "send": ("send <audience> [marketing|transactional] [at=<when>] <text>", self.send),
            "audiences": ("audiences", self.audiences),
            "list": ("list", self.list),
            "show": ("show <id>", self.show),
            "cancel": ("cancel <id>", self.cancel),
            "edit": ("edit <id>", self.edit),
            **recurring.table,
            "pause": ("pause all | <id> [until=<date>]", self.pause),
            "resume": ("resume all|<id>", self.resume),
        }

    async def form(self, asked: Typing, client: AsyncWebClient) -> Post | None:
        """Open the form."""
        return await self.open_form(views.Form(form_audiences(self.desk, asked.words), asked.channel), asked, client)

    async def open_form(self, form: views.Form, asked: Typing, client: AsyncWebClient) -> Post | None:
        try:
            await client.views_open(trigger_id=asked.trigger, view=views.compose(form, asked.words))
        except UNREACHABLE as error:
            if not is_late(error):
                raise
            log.info("the form did not open", error=type(error).__name__)
            return Post(asked.words("Slack took too long to open the form. Type `/broadcast` once more."))
        return None

    async def send(self, asked: Typing, client: AsyncWebClient) -> Post | None:
        """Ask to send a text to an audience."""
        parts = typed.read_send(slack_text.decode_slack(asked.text))
        if not parts.audience:
            return views.usage(self.table["send"][0], asked.line, asked.words)
        send_at = self._start(parts, asked.person)
        if complaints := (*parts.complaints, *checks.lost_names(asked.text)):
            raise NotAccepted(*complaints)
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
            zone=asked.person.zone,
        )
        place = await place_for(self.desk, self.people, asked.channel)
        key = f"command:{asked.trigger or secrets.token_hex(8)}"
        submitted = await self.workflow.submit(request, key=key, person=asked.person, postable=place.postable)
        hours = hours_told(self.desk, submitted.broadcast, asked.words)
        answer = submitted_post(submitted, place, asked.person, hours, asked.words)
        return answer if submitted.questions else with_late(answer, parts.late, asked.words)

    def _start(self, parts: typed.Typed, person: Person) -> int | None:
        if "at" not in parts.options:
            return None
        at = parts.options["at"]
        try:
            when = parse_when(at, zone=person.zone, now=moment(self.clock()))
        except NotATime as error:
            told = [Translatable(error.template, **error.values)]
            if " " not in at and parts.text:  # the rest of it became text
                told.append(Translatable('Several words stand in quotes: `at="tomorrow 9:00"`.'))
            raise NotAccepted(*(Complaint("send_at", sentence) for sentence in told)) from None
        if " " not in at and (longer := goes_on(at, parts.text, zone=person.zone, now=moment(self.clock()))):
            template = (
                'Is the time “{longer}”? Write it in quotes: `at="{longer}"`. If the text begins there, write '
                '`at="today {typed}"`.'
            )
            raise NotAccepted(Complaint("send_at", Translatable(template, longer=longer, typed=at)))
        must_leave_nothing_behind(at, parts.text, "send_at")
        return int(when.instant.timestamp()) * SECOND

    async def audiences(self, asked: Typing, client: AsyncWebClient) -> Post | None:
        """Show whom you can write to."""
        known = form_audiences(self.desk, asked.words)
        lines = [self._audience_line(name, label, asked.words) for name, label in known]
        if not lines:
            lines = [asked.words("No audience is set up yet. Ask an admin to add `[audiences.NAME]`.")]
        for account, provider in sorted(self.desk.providers.items()):
            lines += self._other_lines(account, provider.title, asked.words)
        return views.lines(lines)

    def _audience_line(self, name: str, label: str, words: Words) -> str:
        size = self.desk.catalogue.size_of(name)
        told = f" — {words.count('{number} person', '{number} people', size)}" if size is not None else ""
        return f"• *{name}* — {views.quote(label)}{told}"

    def _other_lines(self, account: str, title: str, words: Words) -> Iterator[str]:
        others = self.desk.catalogue.others(account)
        if others:
            shown = ", ".join(
                f"{views.quote(it.name)} ({words(views.KINDS[it.kind])} {views.quote(it.id)})" for it in others[:20]
            )
            more = f" … (+{len(others) - 20})" if len(others) > 20 else ""
            yield words("Also at {vendor}, and not set up here: {names}", vendor=views.quote(title), names=shown + more)

    async def list(self, asked: Typing, client: AsyncWebClient) -> Post | None:
        """Show the latest broadcasts."""
        workspace = asked.person.workspace
        rows, stops = await self.workflow.database.read(
            lambda c: (broadcasts.latest(c, workspace, LISTED, viewer=asked.person.id), keys.stops(c, self.clock()))
        )
        return views.listing(rows, list(self._standing_still(stops, asked)), asked.words)

    def _standing_still(self, stops: keys.Stops, asked: Typing) -> Iterator[str]:
        """What keeps everything here from going, or everything of one vendor's."""
        if asked.person.workspace in stops.paused:
            yield asked.words("⏸️ All sending is paused, until an admin types `/broadcast resume all`.")
        for account in sorted(stops.away.keys() & self.desk.providers.keys()):
            vendor, again_at = self.desk.providers[account].title, views.when(stops.away[account])
            yield asked.words(
                "⚠️ {vendor} cannot be reached. What is due there waits and is tried again {again_at}.",
                vendor=views.quote(vendor),
                again_at=again_at,
            )

    async def show(self, asked: Typing, client: AsyncWebClient) -> Post | None:
        """Show one broadcast and who did what to it, or what comes again."""
        word, _ = typed.first_word(slack_text.decode_slack(asked.text))
        if not word:
            return views.usage(self.table["show"][0], asked.line, asked.words)
        id = typed.id_of(word)
        try:
            row = await self.workflow.find(asked.person.workspace, id)
        except NotUnderstood:
            raise
        except NotFound:
            return await self.recurring.show(asked, id)
        if row.state is State.DRAFT and row.requester != asked.person.id:
            raise NotFound(row.id)
        votes, history, card = await self.workflow.database.read(
            lambda c: (votes_for(c, row), audit.history(c, row.workspace, row.id), cards.card_of(c, row))
        )
        link = await permalink(client, card)
        showing = await self.showing_of(row, votes)
        return views.details(row, showing, [dict(step) for step in history], link, asked.words)

    async def cancel(self, asked: Typing, client: AsyncWebClient) -> Post | None:
        """Stop a broadcast that has not left yet."""
        word, reason = typed.first_word(slack_text.decode_slack(asked.text))
        if not word:
            return views.usage(self.table["cancel"][0], asked.line, asked.words)
        row = await self.workflow.find(asked.person.workspace, typed.id_of(word))
        kinds: dict[State, type[Drop | Discard]] = {State.HELD: Drop, State.DRAFT: Discard}
        deed = kinds.get(row.state, Cancel)(reason.strip() or None)
        ended = await self.workflow.act(row.workspace, row.id, deed, person=asked.person, version=row.version)
        return Post(asked.words("{id} is cancelled. Nothing was sent.", id=ended.id))

    async def edit(self, asked: Typing, client: AsyncWebClient) -> Post | None:
        """Open a draft of yours, to be asked for where you are."""
        word, _ = typed.first_word(slack_text.decode_slack(asked.text))
        if not word:
            return views.usage(self.table["edit"][0], asked.line, asked.words)
        row = await self.workflow.find(asked.person.workspace, typed.id_of(word))
        if row.state is not State.DRAFT:
            raise TooLate(row)
        if row.requester != asked.person.id:
            raise NotFound(row.id)
        return await self.open_form(draft_form(self.desk, row, asked.channel, asked.words), asked, client)

    async def pause(self, asked: Typing, client: AsyncWebClient) -> Post | None:
        """Stop all sending at once (admins), or hold one thing that comes again."""
        what, rest = typed.first_word(asked.text)
        if what.lower() != "all":
            return (
                await self.recurring.pause(asked, client)
                if what
                else views.usage(self.table["pause"][0], asked.line, asked.words)
            )
        await self.workflow.pause_all(asked.person, on=True)
        told = [asked.words("All sending is paused. What falls due is held and asks. `/broadcast resume all` ends it.")]
        if rest:  # whoever stops everything is not sent back to type it once more
            told.append(asked.words("It has no end of its own: “{rest}” was not heeded.", rest=views.quote(rest)))
        return views.lines(told)

    async def resume(self, asked: Typing, client: AsyncWebClient) -> Post | None:
        """Let sending go on (admins), or one thing that comes again."""
        what = typed.first_word(asked.text)[0].lower()
        if what != "all":
            return (
                await self.recurring.resume(asked, client)
                if what
                else views.usage(self.table["resume"][0], asked.line, asked.words)
            )
        going = await self.workflow.database.read(  # before they do
            lambda c: broadcasts.count_held(c, asked.person.workspace, Hold.HOURS, self.clock())
        )
        asking = await self.workflow.pause_all(asked.person, on=False)
        told = [
            asked.words(
                "Sending goes on. What was held meanwhile ({number}) waits for *Send now* on its card.", number=asking
            )
        ]
        if going:
            told.append(
                asked.words.count(
                    "{number} broadcast that only waited for the hours starts by itself now; its card still stops it.",
                    "{number} broadcasts that only waited for the hours start by themselves now; their cards still "
                    "stop them.",
                    going,
                )
            )
        return views.lines(told)


class TemplateCommands:
    """The subcommand about templates."""

    def __init__(self, broadcasts: BroadcastCommands) -> None:
        self.broadcasts, self.workflow, self.desk = broadcasts, broadcasts.workflow, broadcasts.desk
        self.clock = broadcasts.clock
        self.table: dict[str, Subcommand] = {
            "template": ("template save|use|list|delete <name> [<text>]", self.template),
        }

    async def template(self, asked: Typing, client: AsyncWebClient) -> Post | None:
        """Keep a text under a name: `save <name> [audience] [purpose] <text>`, `use`, `list`, `delete <name>`."""
        verb, rest = typed.first_word(slack_text.decode_slack(asked.text))
        name, rest = typed.first_word(rest)
        if len(name) > LONGEST_NAME:
            template = "The name of a template holds {most} characters at most, and this has {count}. Shorten it."
            raise NotAccepted(Complaint("template", Translatable(template, most=LONGEST_NAME, count=len(name))))
        deeds = {"save": self._save_template, "use": self._use_template, "delete": self._delete_template}
        if verb.lower() == "list":
            return await self._list_templates(asked)
        if verb.lower() not in deeds or not name:
            return views.usage(self.table["template"][0], asked.line, asked.words)
        return await deeds[verb.lower()](asked, name.lower(), rest, client)

    async def _save_template(self, asked: Typing, name: str, rest: str, client: AsyncWebClient) -> Post | None:
        first, after = typed.first_word(rest)
        audience = first.lower() if self.desk.audience(first.lower()) is not None else None
        parts = typed.read_send(f"x {after if audience else rest}", ("sender", "campaign"))
        if not parts.text:
            return views.usage(self.table["template"][0], asked.line, asked.words)
        if complaints := (*parts.complaints, *self._template_complaints(parts, asked)):
            raise NotAccepted(*complaints)
        kept = templates.Template(
            workspace=asked.person.workspace,
            name=name,
            owner=asked.person.id,
            audience=audience,
            purpose=parts.purpose or Purpose.MARKETING,
            text=parts.text,
            sender=parts.options.get("sender"),
            campaign=parts.options.get("campaign"),
            changed_at=self.clock(),
        )
        must_be_member(asked.person)
        owner = await self.workflow.database.write(
            lambda c: templates.keep_template(c, kept, self.desk.settings.admins)
        )
        if owner is not None:
            raise NotAllowed("The template “{name}” is {who}'s: choose another name.", name=name, who=mentions([owner]))
        return Post(asked.words("I kept the template “{name}”. `/broadcast template use {name}` opens it.", name=name))

    def _template_complaints(self, parts: typed.Typed, asked: Typing) -> Iterator[Complaint]:
        """What is asked about in a text that is about to go is refused in one that is kept to go again and again."""
        yield from checks.lost_names(asked.text)
        yield from checks.name_complaints(parts.options.get("sender"), parts.options.get("campaign"))
        yield from checks.option_questions(parts.text, zone=asked.person.zone, now=moment(self.clock()))

    async def _use_template(self, asked: Typing, name: str, rest: str, client: AsyncWebClient) -> Post | None:
        kept = await self._template(asked, name)
        form = views.Form(form_audiences(self.desk, asked.words), asked.channel, values=kept.values())
        return await self.broadcasts.open_form(form, asked, client)

    async def _delete_template(self, asked: Typing, name: str, rest: str, client: AsyncWebClient) -> Post | None:
        kept = await self._template(asked, name)
        if asked.person.id not in (kept.owner, *self.desk.settings.admins):
            raise NotAllowed("Only {who} can delete “{name}”.", who=mentions([kept.owner]), name=name)
        await self.workflow.database.write(lambda c: templates.drop_template(c, kept.workspace, kept.name))
        return Post(
            asked.words("The template “{name}” is gone. It said: “{text}”", name=name, text=views.quote(kept.text))
        )

    async def _list_templates(self, asked: Typing) -> Post:
        found = await self.workflow.database.read(lambda c: templates.templates_of(c, asked.person.workspace))
        if not found:
            return Post(asked.words("There are no templates yet. `/broadcast template save <name> <text>` keeps one."))
        return views.lines(
            [f"• *{views.quote(t.name)}* · {mentions([t.owner])} · “{views.quote(t.text)}”" for t in found]
        )

    async def _template(self, asked: Typing, name: str) -> templates.Template:
        kept = await self.workflow.database.read(lambda c: templates.find_template(c, asked.person.workspace, name))
        if kept is None:
            template = "There is no template “{name}”. `/broadcast template list` shows them."
            raise NotAccepted(Complaint("template", Translatable(template, name=name)))
        return kept


class Commands:
    """The subcommands by name; the first line of each method's docstring is its help."""

    def __init__(
        self,
        workflow: Workflow,
        people: People,
        desk: Desk,
        clock: Clock,
        showing_of: ShowingOf,
        ours: Callable[[], str],
        recurring: Recurring,
    ) -> None:
        self.workflow, self.people, self.desk, self.ours = workflow, people, desk, ours
        self.broadcasts = BroadcastCommands(workflow, people, desk, clock, showing_of, recurring)
        self.table: dict[str, Subcommand] = {
            **self.broadcasts.table,
            **TemplateCommands(self.broadcasts).table,
            "help": ("help", self.help),
        }

    async def handle(self, ack: AsyncAck, body: Body, client: AsyncWebClient) -> None:
        """Answer one command. Whatever goes wrong, the person reads a sentence and finds back what was typed."""
        post = await self._answer(body, client)
        if post is None:
            await ack()
        else:
            await ack(text=post.text, blocks=post.blocks or None, response_type="ephemeral")

    async def _answer(self, body: Body, client: AsyncWebClient) -> Post | None:
        words, raw = words_for(None), sms.storable(str(body.get("text") or ""))
        shown = slack_text.decode_slack(f"{body.get('command', '/broadcast')} {raw}")
        try:
            if workspace_of(body) != self.ours():
                return views.complaint([words(ELSEWHERE)], shown, words)
            async with in_time(self.workflow.database.patience):
                person = await self.people.person(workspace_of(body), str(body["user_id"]))
                words = words_for(person.locale)
                asked = Typing(person, str(body["channel_id"]), raw, str(body.get("trigger_id") or ""), words, shown)
                return await self._run(asked, client)
        except Exception as error:
            told = explain(error, words, self.desk.settings.admins)
            return views.complaint(told, shown, words)

    async def _run(self, asked: Typing, client: AsyncWebClient) -> Post | None:
        name, rest = typed.first_word(asked.text)
        if name.lower().lstrip("?") not in ("", "help") or not name:
            must_be_member(asked.person)
        if not name:
            return await self.broadcasts.form(asked, client)
        entry = self.table.get(name.lower().lstrip("?") or "help")
        if entry is None:
            return self._unknown(name, asked)
        return await entry[1](replace(asked, text=rest), client)

    def _unknown(self, name: str, asked: Typing) -> Post:
        audience = slack_text.decode_slack(name).lower()
        near = f"send {audience}" if self.desk.audience(audience) else typed.nearest_verb(name, self.table)
        told = [asked.words("There is no `{name}`.", name=views.quote(slack_text.decode_slack(name)))]
        if near:
            told.append(asked.words("Did you mean `/broadcast {near}`?", near=near))
        told.append(asked.words("`/broadcast help` shows what there is."))
        return views.complaint([" ".join(told)], asked.line, asked.words)

    async def help(self, asked: Typing, client: AsyncWebClient) -> Post | None:
        """Show this."""
        topic, _ = typed.first_word(asked.text)
        wanted = {topic.lower()} & self.table.keys() or self.table.keys()
        usages = [("/broadcast", "Open the form.")] if not topic else []
        usages += [
            (f"/broadcast {usage}", (method.__doc__ or "").split("\n")[0])
            for name, (usage, method) in self.table.items()
            if name in wanted
        ]
        return views.help_text(usages, asked.words)


async def permalink(client: AsyncWebClient, card: cards.Card | None) -> str | None:
    if card is None:
        return None
    try:
        answer = await client.chat_getPermalink(channel=card.channel, message_ts=card.ts)
    except UNREACHABLE:
        return None
    return str(answer["permalink"])
