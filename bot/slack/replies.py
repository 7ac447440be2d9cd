"""What commands, forms and buttons answer a person, and the checks that they share."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import structlog
from aiohttp import ClientError
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.domain.broadcast import Broadcast
from bot.domain.errors import CardChanged, FieldError, InvalidRequest, NotAllowed, NotFound, NotUnderstood, StaleVersion
from bot.domain.hours import Allow, HoldUntil, Policy
from bot.domain.i18n import Translatable, Translator
from bot.domain.lifecycle import State
from bot.domain.people import DeadToken, DirectoryUnavailable, Person, mentions
from bot.recurring.schedules import Moved
from bot.slack.blocks import answers, card_facts, forms, mrkdwn
from bot.slack.blocks.mrkdwn import Post
from bot.slack.client import UNREACHABLE, error_name, is_late
from bot.slack.directory import People, Place
from bot.storage.database import CommitUncertain, DatabaseBusy, OutOfOrder
from bot.when.refusals import left_behind
from bot.workflow.approval_rules import still_asked
from bot.workflow.audiences import Audiences
from bot.workflow.recipients import is_small
from bot.workflow.submitted import Submitted

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Command:
    """A command: who typed what, where, and the words to answer in. `line`: the whole command as typed."""

    person: Person
    channel: str
    text: str
    trigger: str
    words: Translator
    line: str = ""
    also: bool = False  # whether to do it although the same is there


#: A subcommand: its usage, and the function that answers it.
Subcommand = tuple[str, Callable[[Command, AsyncWebClient], Awaitable[Post | None]]]


#: Adds to a form that is filled in already what its text would become.
WithFacts = Callable[[forms.Form, Person, Translator], Awaitable[forms.Form]]


def form_audiences(audiences: Audiences, words: Translator) -> list[tuple[str, str]]:
    """Return (name, label) of every audience, as the form offers them."""
    return [
        (
            name,
            f"{name} ({audiences.provider_of(audience).title}, {words(card_facts.KINDS[audience.kind])} {audience.id})",
        )
        for name, audience in sorted(audiences.settings.audiences.items())
    ]


def offered(audiences: Audiences, words: Translator) -> forms.Offered:
    """Return what the form offers to choose from."""
    known = form_audiences(audiences, words)
    return forms.Offered(known, [(name, label) for name, label in known if is_small(audiences, name)])


async def place_for(audiences: Audiences, people: People, channel: str) -> Place:
    """Return where the card would go: the approvals' channel if there is one, else where it was asked for.

    Only an admin can fix the approvals' channel.
    """
    approvals = audiences.settings.approval.channel
    place = await people.place(approvals or channel)
    if approvals is None or place.fix is None:
        return place
    template = (
        "All cards go to {channel}, but none can go there now: the channel is archived or shared with another "
        "company, or I am not in it. Ask an admin to fix this ({who}), then open the draft."
    )
    return replace(
        place, fix=Translatable(template, channel=f"<#{approvals}>", who=mentions(audiences.settings.admins))
    )


def describe_hours(audiences: Audiences, row: Broadcast, words: Translator) -> str | None:
    """Return what the hours do to a requested start; None if they allow it, or if none was requested."""
    if row.send_at is None or row.ended:
        return None
    outlook, zone = audiences.outlook(row, row.send_at), audiences.policies.get(row.policy or "", Policy()).timezone
    if isinstance(outlook.verdict, Allow):
        return None
    opens = "—" if outlook.opens is None else mrkdwn.spelled(outlook.opens, zone)
    if isinstance(outlook.verdict, HoldUntil):
        return words(
            "That is outside the sending hours for this audience. It will be held until {opens_at}.", opens_at=opens
        )
    return words(
        "The sending hours for this audience do not allow that time, so it will not go out by itself. They allow it "
        "from {opens_at} on. Re-plan it on its card.",
        opens_at=opens,
    )


def submitted_post(submitted: Submitted, place: Place, person: Person, hours: str | None, words: Translator) -> Post:
    """Return what happens next with a submitted broadcast. `hours`: what they do to its start."""
    row, fix = submitted.broadcast, submitted.fix or place.fix
    if row.state is State.DRAFT and (submitted.questions or fix is not None):
        return answers.draft_kept(row, "\n".join(_why_kept(submitted, fix, words)), words)
    where = f"<#{row.channel}>"
    test = {"id": row.id, "audience": mrkdwn.quote(row.audience), "where": where}
    if submitted.again:
        text = words("You already asked for this. It is *{id}*, in {where}.", id=row.id, where=where)
    elif row.state is State.PENDING:
        who = mentions(still_asked(row))
        text = words("*{id}* is waiting for approval by {who} in {where}.", id=row.id, where=where, who=who)
    elif row.quorum:  # by people who approved its template
        text = words(
            "*{id}* fills in an approved template, so it needs no further approval. Its card is in {where}.",
            id=row.id,
            where=where,
        )
    elif row.test_of is not None:
        text = words("The test *{id}* goes to *{audience}* now. Its card is in {where}.", **test)
    else:
        text = words("*{id}* needs no approval. Its card is in {where}.", id=row.id, where=where)
    if row.send_at is not None:
        start = mrkdwn.spelled(row.send_at, person.zone)
        text += " " + words("It is due to start at {start}.", start=start)
        if not person.zone_known:
            text += " " + words("I could not get your time zone from Slack, so I used {zone}.", zone=person.zone)
    if hours is not None:
        text += f"\n✋ {hours}"
    return Post(text, [mrkdwn.section(text)])


def _why_kept(submitted: Submitted, fix: Translatable | None, words: Translator) -> list[str]:
    """Return the questions to answer before it goes, and why no card can be posted where it was asked for."""
    lines = [mrkdwn.sentence(words, question.sentence) for question in submitted.questions]
    if lines:
        lines.append(words("Nothing was sent. Open the draft to change it, or submit it as it is."))
    return lines if fix is None else [*lines, mrkdwn.sentence(words, fix)]


def with_late(post: Post, late: Sequence[str], words: Translator) -> Post:
    """Add which options were kept as part of the text, perhaps against what was meant."""
    if not late:
        return post
    names = ", ".join(f"`{name}=`" for name in late)
    sentence = "ℹ️ " + words("I read this as part of the text: {names}. Options go before the text.", names=names)
    return Post(f"{post.text}\n{sentence}", [*post.blocks, mrkdwn.section(sentence)])


def must_leave_nothing_behind(typed: str, text: str, field: str) -> None:
    """Raises InvalidRequest if the zone or the part of the day of a time follows it and would become text."""
    if rest := left_behind(text):
        template = (
            "“{rest}” reads like part of the time “{typed}”. Put the whole time in quotes, or begin the text with "
            "another word."
        )
        raise InvalidRequest(FieldError(field, Translatable(template, rest=rest, typed=typed)))


def explain(error: Exception, words: Translator, admins: Iterable[str] = ()) -> list[str]:
    """Return what went wrong, one sentence each, with what to do. `admins`: who can do it, if nobody else can."""
    match error:
        case InvalidRequest():
            return [mrkdwn.sentence(words, complaint.sentence) for complaint in error.complaints]
        case NotAllowed():
            return [mrkdwn.sentence(words, error.sentence)]
        case NotUnderstood():
            template = "A newer version of me is handling *{id}*. Please try again in a minute."
            return [words(template, id=mrkdwn.quote(str(error)[:40]))]
        case NotFound():
            return [
                words(
                    "There is no broadcast *{id}*. `/broadcast list` shows the latest.",
                    id=mrkdwn.quote(str(error)[:40]),
                )
            ]
        case StaleVersion():
            return [too_late(error.broadcast, words, error.by)]
        case CardChanged():
            changes = [mrkdwn.sentence(words, change) for change in error.changes]
            sentence = words("*{id}* has changed since its card was shown.", id=error.broadcast.id)
            return [sentence, *changes, words("Please look at the new card, then decide.")]
        case DeadToken():
            template = "Slack no longer accepts my token ({code}). Nothing works until an admin replaces it: {who}."
            return [words(template, code=error.code, who=mentions(admins))]
        case DirectoryUnavailable():
            return [words("I cannot find out from Slack who may do this right now. Please try again in a minute.")]
        case TimeoutError():
            template = (
                "That took too long, so I do not know whether it was done. Check `/broadcast list`, then try again. "
                "The same request within a minute counts only once."
            )
            return [words(template)]
        case SlackApiError() | ClientError() if is_late(error):
            return [words("Slack took too long to open the form. Please press again.")]
        case Moved():
            return [
                words(
                    "That has changed in the meantime. `/broadcast schedules` and `reminders` show where things stand."
                )
            ]
        case DatabaseBusy() if not isinstance(error, OutOfOrder):
            return [words("I could not save that just now. Nothing was sent. Please try again.")]
        case CommitUncertain():
            return [
                words(
                    "The connection to the database broke, so I cannot say whether that was saved. Please do it "
                    "again. Doing it twice does no harm."
                )
            ]
    reference = secrets.token_hex(4)
    log.error("something unexpected", reference=reference, exc_info=error)
    if isinstance(error, OutOfOrder):
        template = "The database no longer accepts anything. Nothing was sent. Please tell an admin: {reference}."
        return [words(template, reference=reference)]
    return [
        words(
            "Something went wrong on my side. Please try again, or give an admin this reference: {reference}.",
            reference=reference,
        )
    ]


def too_late(row: Broadcast, words: Translator, by: str | None = None) -> str:
    """Return its state now: somebody else, or the clock, was faster."""
    badge = words(card_facts.BADGES[row.state])
    if by is not None and re.fullmatch(r"[UW][A-Z0-9]+", by):
        template = "*{id}* has changed in the meantime: {badge}, by {who}. Look at its card."
        return words(template, id=row.id, badge=badge, who=mentions([by]))
    return words("*{id}* has changed in the meantime: {badge}. Look at its card.", id=row.id, badge=badge)


async def respond(body: Mapping[str, Any], api_url: str, post: mrkdwn.Post, *, replaces: bool = False) -> None:
    """Answer at the payload's own address, for a person whom nothing else reaches, as in another workspace.

    The address is called only if it belongs to the Slack that we talk to. `replaces`: in place of the message whose
    button was pressed.
    """
    url = str(body.get("response_url") or "")
    if not _same_house(url, api_url):
        return
    try:
        await AsyncWebhookClient(url, timeout=2, retry_handlers=[]).send(
            text=post.text, blocks=post.blocks or None, response_type="ephemeral", replace_original=replaces
        )
    except UNREACHABLE as error:
        log.info("a person could not be told", error=error_name(error))


def _same_house(url: str, api_url: str) -> bool:
    """Whether the address is of the same Slack: `hooks.slack.com`, or for a fake Slack, its API's address."""
    asked, api = urlsplit(url), urlsplit(api_url)
    if asked.scheme != api.scheme or asked.username is not None or not asked.hostname or not api.hostname:
        return False
    if api.hostname.removeprefix("www.") in ("slack.com", "slack-gov.com"):
        return asked.hostname == f"hooks.{api.hostname.removeprefix('www.')}" and asked.port in (None, 443)
    return asked.netloc == api.netloc


async def reply_privately(client: AsyncWebClient, channel: str, user: str, post: mrkdwn.Post) -> None:
    """Tell only one person, where they are or else directly. Never the only place of anything important.

    `channel`: "" for somebody who is in none, as at Home.
    """
    with suppress(*UNREACHABLE):
        if channel:
            await client.chat_postEphemeral(channel=channel, user=user, text=post.text, blocks=post.blocks or None)
            return
    try:
        opened = await client.conversations_open(users=user)
        await client.chat_postMessage(channel=opened["channel"]["id"], text=post.text, blocks=post.blocks or None)
    except UNREACHABLE as error:
        log.info("a person could not be told", error=error_name(error))
