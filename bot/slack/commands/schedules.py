"""`/broadcast every`, `remind` and the other subcommands for schedules; the buttons under a reminder."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from slack_sdk.web.async_client import AsyncWebClient

from bot.domain import slack_text
from bot.domain.clock import Clock, Micros, moment
from bot.domain.errors import FieldError, InvalidRequest, NotAllowed, NotFound, NotUnderstood, sentence_of
from bot.domain.i18n import Translatable, Translator
from bot.domain.options import NO, YES
from bot.domain.people import Person
from bot.domain.schedule import Kind, Schedule, micros_of
from bot.recurring.reminders import Reminders
from bot.recurring.requests import Asked
from bot.slack.blocks import answers, boards, forms, meant, mrkdwn, recurring
from bot.slack.blocks.mrkdwn import Post
from bot.slack.commands import parse
from bot.slack.directory import People
from bot.slack.interaction import Body, Interaction, message_of
from bot.slack.opened_forms import OpenedForms
from bot.slack.payload import counted
from bot.slack.replies import Command, Subcommand, describe_hours, must_leave_nothing_behind, with_late
from bot.storage import keys, occurrences, schedules
from bot.when.instants import names_a_part, parse_when
from bot.when.recurrence import Closed
from bot.when.refusals import NotATime
from bot.workflow import checks
from bot.workflow.approval_rules import people_in
from bot.workflow.questions import TWIN_WINDOW
from providers.base import Purpose

CHANNEL = re.compile(r"^\s*<#([CG][A-Z0-9]+)(?:\|[^>]*)?>\s*")
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
UNTIL = re.compile(r"^(?:until|till|jusqu['’](?:au|à)|hasta(?: el)?)\s+", re.IGNORECASE)
MIDNIGHT, SKIPPED = "00:00", "01:00"  # when a day begins, and when one begins whose midnight the clocks skip
EVERY = ("sender", "campaign", "holidays", "until", "count", "covers")
REMIND = ("holidays", "until", "count", "answer", "start", "template", "digest", "mentions")
MOST = {"count": 1000, "covers": 100}
LONGEST = 2900  # characters of a reminder
SHOWN = 3  # of the next occurrences, in the answer


class Recurring:
    """Subcommands and buttons for schedules."""

    def __init__(self, reminders: Reminders, people: People, clock: Clock) -> None:
        self.reminders, self.people, self.clock = reminders, people, clock
        self.audiences, self.opened = reminders.workflow.audiences, OpenedForms(reminders.workflow, clock)
        self.table: dict[str, Subcommand] = {
            "every": ('every "<recurrence>" <audience> [marketing|transactional] [covers=<n>] <text>', self.every),
            "remind": ('remind "<when or recurrence>" [#channel] <text>', self.remind),
            "stop": ("stop <id>", self.stop),
        }

    # --- asking for one ----------------------------------------------------------------------------------------------

    async def every(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """Ask to send a text regularly. Each one gets a card and an approval."""
        when, rest = parse.quoted(slack_text.decode_slack(asked.text))
        parts = parse.read_send(rest, (*EVERY, "also"))
        asked = replace(asked, also=asked.also or _yes(parts.options, "also"))
        if not when or not parts.audience:
            return self._usage("every", asked)
        if complaints := (*parts.complaints, *checks.lost_names(asked.text)):
            raise InvalidRequest(*complaints)
        options: dict[str, Any] = {
            "audience": parts.audience,
            "purpose": parts.purpose or Purpose.MARKETING,
            "sender": parts.options.get("sender"),
            "campaign": parts.options.get("campaign"),
            "covers": _number(parts.options, "covers") or 1,
        }
        channel = self.audiences.settings.approval.channel or asked.channel
        wanted = self._asked(Kind.BROADCAST, when, channel, parts, options, asked.person)
        return with_late(await self._add(wanted, asked), parts.late, asked.words)

    async def remind(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """Remind a channel of something, once or regularly."""
        when, rest = parse.quoted(asked.text)
        channel, rest = _channel(rest, asked.channel)
        parts = parse.read_options(rest, (*REMIND, "also"))
        asked = replace(asked, also=asked.also or _yes(parts.options, "also"))
        raw, parts = parts.text, _decoded(parts)
        if not when or not (parts.text or parts.options.get("digest")):
            return self._usage("remind", asked)
        if parts.complaints:
            raise InvalidRequest(*parts.complaints)
        must_leave_nothing_behind(slack_text.decode_slack(when), parts.text, "when")
        if parts.options and re.match(r"#\w", parts.text):
            raise InvalidRequest(
                FieldError("channel", Translatable("Put the channel before the options and the text."))
            )
        options = await self._reminder_options(parts, raw, asked.person)
        wanted = self._asked(Kind.REMINDER, slack_text.decode_slack(when), channel, parts, options, asked.person)
        return with_late(await self._add(wanted, asked), parts.late, asked.words)

    async def _reminder_options(self, parts: parse.Typed, raw: str, person: Person) -> dict[str, Any]:
        calling = _yes(parts.options, "mentions")
        length = max(len(parts.text), len(slack_text.live(raw, mentions=calling)))
        if length > LONGEST:
            template = "A reminder can have at most {most} characters. This one has {count}."
            raise InvalidRequest(FieldError("text", Translatable(template, count=length, most=LONGEST)))
        if lost := [] if calling else list(checks.lost_names(raw, channels=False)):
            raise InvalidRequest(*lost)
        start, template_name = parts.options.get("start"), parts.options.get("template")
        if start and self.audiences.audience(start.lower()) is None:
            template = "There is no audience “{name}”. The audiences are: {known}."
            known = ", ".join(sorted(self.audiences.settings.audiences)) or "—"
            raise InvalidRequest(FieldError("start", Translatable(template, name=start, known=known)))
        if template_name:
            await self.reminders.workflow.templates.find(person.workspace, template_name)
        options: dict[str, Any] = {name: _yes(parts.options, name) for name in ("answer", "digest")}
        options |= {"start": start.lower() if start else None, "template": template_name}
        return options | {"markup": raw, **({"mentions": True} if calling else {})}

    def _asked(
        self, kind: Kind, when: str, channel: str, parts: parse.Typed, options: Mapping[str, Any], person: Person
    ) -> Asked:
        return Asked(
            kind=kind,
            typed=when,
            channel=channel,
            text=parts.text,
            closed=_closed(parts.options),
            until=self._until(parts.options.get("until"), person.zone),
            count=_number(parts.options, "count"),
            options=options,
        )

    async def _add(self, wanted: Asked, asked: Command) -> Post:
        place = await self.people.place(wanted.channel)
        if not place.postable and place.fix is not None:
            raise InvalidRequest(FieldError("channel", _fix(wanted, place.fix)))
        key = f"command:{asked.trigger or secrets.token_hex(8)}"
        planned, first = await self.reminders.plan(wanted, key, asked.person)
        if (same := await self._same(planned, asked)) is not None:
            verb = "every" if planned.kind is Kind.BROADCAST else "remind"
            return boards.already_there(same, f"{verb} {asked.text}", asked.words)
        stuck = await self.reminders.workflow.approvers.why_stuck(first) if first else None
        if stuck is not None:
            raise InvalidRequest(FieldError("channel", stuck))
        hours = describe_hours(self.audiences, first, asked.words) if first else None
        schedule = await self.reminders.keep(planned)
        return recurring.asked(schedule, recurring.upcoming(schedule, SHOWN), asked.words, hours)

    async def _same(self, planned: Schedule, asked: Command) -> Schedule | None:
        """Return one that says the same, if the person may see it and has not said that both are wanted.

        Their own of a moment ago is none: then the command was repeated.
        """
        if asked.also:
            return None
        found = await self.reminders.database.read(lambda c: schedules.same(c, planned))
        since, owner = planned.created_at - TWIN_WINDOW, planned.owner
        others = [one for one in found if one.owner != owner or one.created_at < since]
        return next(iter(await self.seen_by(asked.person, others)), None) if others else None

    async def keep_both(self, value: str, done: Interaction) -> Post:
        """Do what was asked for although the same is there. Raises what the command raises."""
        verb, rest = parse.first_word(value)
        if verb not in ("every", "remind"):
            raise NotAllowed("I no longer know this button. Please look at the newest card.")
        line = slack_text.decode_slack(f"/broadcast {value}")
        asked = Command(done.person, done.channel, rest, done.trigger, done.words, line, also=True)
        return await self.table[verb][1](asked, done.client) or Post("—")

    def _until(self, until: str | None, zone: str) -> Micros | None:
        """A day alone means its end. Raises InvalidRequest."""
        return self._instant(until, zone, "23:59") if until else None

    def _instant(self, typed_time: str, zone: str, of_day: str, *, alone: bool = False) -> Micros:
        """Return an instant that is ahead, not too far. `of_day`: the time of a day alone. Raises InvalidRequest."""
        alone = alone or DAY.fullmatch(typed_time) is not None
        try:
            written = f"{typed_time} {of_day}" if alone else typed_time
            return micros_of(parse_when(written, zone=zone, now=moment(self.clock())).instant)
        except NotATime as error:
            if error.code == "no_hour" and not alone and not names_a_part(typed_time):
                return self._instant(typed_time, zone, of_day, alone=True)
            if alone and error.code == "gap" and of_day == MIDNIGHT:
                return self._instant(typed_time, zone, SKIPPED, alone=True)
            raise InvalidRequest(FieldError("until", sentence_of(error))) from None

    # --- what there is -----------------------------------------------------------------------------------------------

    async def seen_by(self, person: Person, found: Sequence[Schedule]) -> list[Schedule]:
        """Return those that this person may see. Raises DirectoryUnavailable.

        A channel's reminders are shown to those in it, and its recurring broadcasts to those who may read it and to
        approvers; each also to its owner and to admins.
        """
        if person.id in self.audiences.settings.admins:
            return list(found)
        kinds = {Kind.REMINDER: self.people.is_in, Kind.BROADCAST: self.people.may_read}
        others = [one for one in found if one.owner != person.id]
        decides = any(one.kind is Kind.BROADCAST for one in others) and person.id in await people_in(
            self.audiences.settings.approval.approvers, self.people.members
        )
        places = list({(one.kind, one.channel) for one in others})
        asked = (kinds[kind](channel, person.id) for kind, channel in places)
        inside = await asyncio.gather(*asked, return_exceptions=len(found) > 1)  # one that is not told hides no other
        theirs = {place for place, yes in zip(places, inside, strict=True) if yes is True}
        theirs |= {place for place in places if decides and place[0] is Kind.BROADCAST}
        return [one for one in found if one.owner == person.id or (one.kind, one.channel) in theirs]

    async def show(self, asked: Command, id: str) -> Post:
        """One schedule with its latest occurrences.

        Raises NotFound, NotUnderstood, NotAllowed or DirectoryUnavailable.
        """
        schedule = await self.reminders.find(asked.person.workspace, id)
        if not await self.seen_by(asked.person, [schedule]):
            raise NotFound(schedule.id)
        latest = await self.reminders.database.read(
            lambda c: occurrences.latest(c, schedule.workspace, schedule.id, recurring.LATEST)
        )
        return recurring.details(schedule, latest, asked.words)

    # --- pause, resume, stop -----------------------------------------------------------------------------------------

    async def pause(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """Pause a recurring broadcast or a reminder: `pause <id> [until=<date>]`."""
        schedule = await self._named(asked)
        _, rest = parse.first_word(slack_text.decode_slack(asked.text))
        parts = parse.read_options(rest, ("until",))
        if parts.complaints:
            raise InvalidRequest(*parts.complaints)
        until = UNTIL.sub("", f"{parts.options.get('until', '')} {parts.text}".strip())
        paused = await self.reminders.pause(schedule, asked.person, self._back_on(until, asked.person.zone))
        if paused.paused_until is None:
            sentence = asked.words("*{id}* is paused. To resume it, type `/broadcast resume {id}`.", id=paused.id)
        else:
            back_at = mrkdwn.when(paused.paused_until, paused.zone)
            sentence = asked.words("*{id}* is paused until {back_at}.", id=paused.id, back_at=back_at)
        return mrkdwn.lines([sentence, *await self.made(paused, asked.words)], asked.words)

    def _back_on(self, until: str, zone: str) -> Micros | None:
        """A day alone means its beginning, which is later where the clocks skip midnight."""
        return self._instant(until, zone, MIDNIGHT) if until else None

    async def resume(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """Resume it."""
        schedule = await self._named(asked)
        resumed = await self.reminders.resume(schedule, asked.person)
        return Post(self.resumed(resumed, asked.words))

    def resumed(self, schedule: Schedule, words: Translator) -> str:
        """Return what has become of one that was resumed."""
        if schedule.next_at is None:
            return words("*{id}* has no more dates to come, so it has ended.", id=schedule.id)
        next_at = mrkdwn.when(schedule.next_at, schedule.zone)
        return words("*{id}* has resumed. The next one is {next_at}.", id=schedule.id, next_at=next_at)

    async def stop(self, asked: Command, client: AsyncWebClient) -> Post | None:
        """End a recurring broadcast or a reminder."""
        if not asked.text.strip():
            return self._usage("stop", asked)
        stopped = await self.reminders.stop(await self._named(asked), asked.person)
        sentence = asked.words("*{id}* has ended.", id=stopped.id)
        return mrkdwn.lines([sentence, *await self.made(stopped, asked.words)], asked.words)

    async def made(self, schedule: Schedule, words: Translator) -> list[str]:
        """Return which occurrences were already made and still go ahead, and how to stop them."""
        lines = [recurring.still_on_its_way(row, words) for row in await self.reminders.made(schedule)]
        paused = await self.reminders.database.read(lambda c: keys.paused(c, schedule.workspace))
        if lines and paused:
            lines.append(words("⏸️ All sending is paused until an admin types `/broadcast resume all`."))
        return lines

    async def _named(self, asked: Command) -> Schedule:
        """Return the schedule that the first word names. Raises InvalidRequest or NotUnderstood."""
        word, _ = parse.first_word(slack_text.decode_slack(asked.text))
        id = parse.id_of(word)
        try:
            return await self.reminders.find(asked.person.workspace, id)
        except NotUnderstood:
            raise
        except NotFound:
            template = (
                "There is no reminder or recurring broadcast *{id}*. `/broadcast schedules` and `/broadcast "
                "reminders` list them. To stop a single broadcast, use `/broadcast cancel`."
            )
            raise InvalidRequest(FieldError("id", Translatable(template, id=id[:40]))) from None

    def _usage(self, name: str, asked: Command) -> Post:
        """Say how it is written, or ask what was meant if the time only lacks its quotes."""
        reads, zone = self.reminders.is_when, asked.person.zone
        if name == "every":
            audiences = self.audiences
            quoted = parse.with_quotes(
                asked.text,
                lambda typed: reads(Kind.BROADCAST, typed, zone),
                lambda rest: audiences.audience(parse.read_send(rest).audience) is not None,
            )
        else:
            quoted = parse.with_quotes(asked.text, lambda typed: reads(Kind.REMINDER, typed, zone), bool)
        if quoted is not None:
            return meant.ask(meant.Meant(name, quoted, asked.trigger), asked.line, asked.words)
        return answers.usage(self.table[name][0], asked.line, asked.words)

    # --- buttons -----------------------------------------------------------------------------------------------------

    async def pressed(self, body: Body, action: Mapping[str, Any], done: Interaction) -> None:
        """Mark it as done, snooze it for an hour, or start a broadcast.

        Raises Moved, NotAllowed or DirectoryUnavailable.
        """
        id, _, number = str(action.get("value") or "").partition(":")
        name = str(action.get("action_id") or "").removeprefix("reminder.")
        if name == "start":
            await self._start(id, done)
            return
        place = done.workspace, done.channel, message_of(body)
        occurrence = await self.reminders.occurrence_at(*place, id, counted(number))
        if occurrence is None or name not in ("done", "snooze"):
            raise NotAllowed("I no longer know this button. Please look at the newest card.")
        await self.reminders.answer(occurrence, done.person, snooze=name == "snooze")

    async def _start(self, id: str, done: Interaction) -> None:
        """Open the form, filled with what the reminder names."""
        schedule = await self.reminders.find(done.workspace, id)
        form = await self.opened.prefilled(
            done.person,
            done.channel,
            done.words,
            f"start:{schedule.id}",
            template=schedule.options.get("template"),
            audience=schedule.options.get("start"),
        )
        await done.client.views_open(trigger_id=done.trigger, view=forms.compose(form, done.words))


def _decoded(parts: parse.Typed) -> parse.Typed:
    """Decode Slack's markup in the parsed text and options."""
    options = {name: slack_text.decode_slack(value) for name, value in parts.options.items()}
    return replace(parts, text=slack_text.decode_slack(parts.text), options=options)


def _channel(rest: str, here: str) -> tuple[str, str]:
    """Return `#channel` as Slack encodes it, else the channel where it was typed, and the rest of the text."""
    match = CHANNEL.match(rest)
    if match is not None:
        return match[1], rest[match.end() :]
    if re.match(r"^\s*#\w", rest):
        raise InvalidRequest(
            FieldError(
                "channel",
                Translatable("I cannot see that channel. Pick it from the list that Slack shows when you type #."),
            )
        )
    return here, rest


def _fix(wanted: Asked, fix: Translatable) -> Translatable:
    if wanted.channel.startswith("D"):
        return Translatable("A schedule belongs to a channel. Type the command there, or name a channel: `#channel`.")
    return fix


def _yes(options: Mapping[str, str], name: str) -> bool:
    value = options.get(name, "no").lower()
    if value not in YES | NO:
        raise InvalidRequest(FieldError(name, Translatable("`{name}=` takes yes or no.", name=name)))
    return value in YES


def _number(options: Mapping[str, str], name: str) -> int | None:
    if name not in options:
        return None
    value = counted(options[name])
    if value is None or not 1 <= value <= MOST[name]:
        raise InvalidRequest(
            FieldError(name, Translatable("`{name}=` takes a number from 1 to {most}.", name=name, most=MOST[name]))
        )
    return value


def _closed(options: Mapping[str, str]) -> Closed | None:
    if "holidays" not in options:
        return None
    try:
        return Closed(options["holidays"].lower())
    except ValueError:
        template = (
            "`holidays=` takes skip, shift (to the next working day), before (to the previous working day) or keep."
        )
        raise InvalidRequest(FieldError("holidays", Translatable(template))) from None
