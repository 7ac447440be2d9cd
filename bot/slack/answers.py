"""What commands, forms and buttons answer a person with, and what they all ask first."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bot.broadcast import Broadcast, NotAccepted, NotAllowed, NotFound, State, TooLate
from bot.database import Busy
from bot.policy import CannotTell, Person, mentions
from bot.slack import views
from bot.slack.people import UNREACHABLE, People, Place
from bot.slack.views import Post
from bot.words import Words
from bot.workflow import Desk, Submitted

log = structlog.get_logger(__name__)

Body = Mapping[str, Any]


def workspace_of(body: Body) -> str:
    """The workspace that this came from; with an org-wide installation `team` may be null."""
    team = body.get("team") or {}
    user = body.get("user")
    of_user = user.get("team_id") if isinstance(user, Mapping) else None
    return str(body.get("team_id") or team.get("id") or of_user or "")


def form_audiences(desk: Desk) -> list[tuple[str, str]]:
    """(name, label) of every audience, as the form offers them."""
    return [
        (name, f"{name} ({desk.provider_of(audience).title}, {audience.kind} {audience.id})")
        for name, audience in sorted(desk.settings.audiences.items())
    ]


async def place_for(desk: Desk, people: People, channel: str) -> Place:
    """Where the card would stand: the approvals' channel where there is one, else where it was asked for."""
    return await people.place(desk.settings.approval.channel or channel)


def submitted_post(submitted: Submitted, place: Place, person: Person, words: Words) -> Post:
    """What happens next with something that was asked for."""
    row = submitted.broadcast
    if row.state is State.DRAFT and place.fix is not None:
        return views.draft_kept(row, views.sentence(words, place.fix), words)
    where = f"<#{row.channel}>"
    if submitted.again:
        told = words("You asked for that already: it is *{id}*, in {where}.", id=row.id, where=where)
    elif row.state is State.PENDING:
        who = mentions(row.approvers)
        told = words("*{id}* waits in {where} for approval by {who}.", id=row.id, where=where, who=who)
    else:
        told = words("*{id}* needs no approval; it stands in {where}.", id=row.id, where=where)
    if row.send_at is not None:
        start = views.spelled(row.send_at, person.zone)
        told += " " + words("It is to start at {start}.", start=start)
    return Post(told, [views.section(told)])


def explain(error: Exception, words: Words) -> list[str]:
    """What went wrong, for the person: one sentence each, with what to do."""
    match error:
        case NotAccepted():
            return [views.sentence(words, complaint.sentence) for complaint in error.complaints]
        case NotAllowed():
            return [views.sentence(words, error.sentence)]
        case NotFound():
            return [
                words(
                    "There is no broadcast *{id}*. `/broadcast list` shows the latest.", id=views.quote(str(error)[:40])
                )
            ]
        case TooLate():
            return [too_late(error.broadcast, words)]
        case CannotTell():
            return [words("Slack does not tell me who may do this just now. Please try again in a minute.")]
        case Busy():
            return [words("I could not write that down just now. Nothing was sent; please try again.")]
    reference = secrets.token_hex(4)
    log.error("something unexpected", reference=reference, exc_info=error)
    return [
        words("Something went wrong on my side. Please try again, or tell an admin: {reference}.", reference=reference)
    ]


def too_late(row: Broadcast, words: Words) -> str:
    """Somebody, or the clock, was faster: how it stands now."""
    badge = words(views.BADGES[row.state])
    return words("*{id}* has moved on: {badge}. Please look at its card.", id=row.id, badge=badge)


async def tell(client: AsyncWebClient, channel: str, user: str, post: views.Post) -> None:
    """Say something to one person only: where they are, else directly. Never the only place of anything important."""
    try:
        await client.chat_postEphemeral(channel=channel, user=user, text=post.text, blocks=post.blocks or None)
    except UNREACHABLE:
        try:
            opened = await client.conversations_open(users=user)
            await client.chat_postMessage(channel=opened["channel"]["id"], text=post.text, blocks=post.blocks or None)
        except UNREACHABLE as error:
            log.info("a person could not be told", error=type(error).__name__)
