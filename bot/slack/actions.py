"""What happens when a button is pressed or a reaction is given. The row decides, never the payload."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import structlog
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_sdk.web.async_client import AsyncWebClient
from sqlalchemy import Connection

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Clock, Micros
from bot.domain.errors import CardChanged, NotAllowed, NotFound, TooLate
from bot.domain.i18n import Words, words_for
from bot.domain.lifecycle import TRANSITIONS, Action, State
from bot.domain.people import CannotTell, Person, must_be_member
from bot.slack import views
from bot.slack.answers import (
    ELSEWHERE,
    Body,
    answer_seconds,
    draft_form,
    explain,
    form_audiences,
    in_time,
    respond,
    tell,
    workspace_of,
)
from bot.slack.people import People
from bot.slack.recurring import Recurring
from bot.storage import cards
from bot.storage.cards import Card
from bot.storage.keys import first_time, keep_latest, last_time, last_times, was_seen
from bot.storage.votes import votes_for
from bot.workflow.audiences import Desk
from bot.workflow.decisions import NEW_CARD_LOOKS, NEW_CARD_PAUSE
from bot.workflow.deeds import Approve, Drawing, Reject, Sight
from bot.workflow.deeds import pressed as deed_of
from bot.workflow.workflow import Workflow

log = structlog.get_logger(__name__)

ALIASES = {"thumbsup": "+1", "thumbsdown": "-1"}
TONES = ("", *(f"::skin-tone-{number}" for number in range(2, 7)))
NEW_CARD = 10 * SECOND  # a message this young may be a card of which we do not know yet
SOON = ROUND = 300 * SECOND  # a start that is offered is at least so far away, and round
#: What is decided by what the card shows: it must show what is so.
QUIET_SECONDS = 30.0  # one explanation a person and card, however often they react


class Pressed:
    """A button as it was pressed: who, which broadcast and version it stood for, and where."""

    def __init__(self, body: Body, action: Mapping[str, Any], person: Person, client: AsyncWebClient) -> None:
        id, _, version = str(action.get("value") or "").partition(":")
        self.id, self.version = id, int(version) if version.isdigit() else None
        self.person, self.client = person, client
        self.name = str(action.get("action_id") or "").removeprefix("broadcast.")
        where = body.get("container") or {}
        self.channel = str((body.get("channel") or {}).get("id") or where.get("channel_id") or "")
        ts = str((body.get("message") or {}).get("ts") or where.get("message_ts") or "")
        drawing = views.drawing_of(str(action.get("block_id") or ""))
        self.sight = Sight(self.channel, ts, Drawing(*drawing) if drawing else None)
        self.trigger = str(body.get("trigger_id") or "")
        self.words = words_for(person.locale)

    def asks_in(self, row: Broadcast) -> str:
        """Where what comes of it is asked for: nobody else could approve it in a direct message that its card or draft
        came to."""
        return row.channel if self.channel.startswith("D") else self.channel or row.channel


class Buttons:
    """Buttons of cards and of reminders."""

    #: The buttons that need no form between them and their effect.
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
        people: People,
        desk: Desk,
        clock: Clock,
        ours: Callable[[], str],
        recurring: Recurring,
    ) -> None:
        self.workflow, self.people, self.desk, self.clock, self.ours = workflow, people, desk, clock, ours
        self.recurring = recurring
        self._telling: set[asyncio.Task[None]] = set()

    async def pressed(self, ack: AsyncAck, body: Body, action: Mapping[str, Any], client: AsyncWebClient) -> None:
        """Do what the button says, or tell the person who pressed it why not."""
        began, told = time.monotonic(), await self._press(body, action, client)
        if told is not None:
            telling = asyncio.create_task(told, name="tell a person")
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)
            left = answer_seconds(self.workflow.database.patience) - (time.monotonic() - began)
            await asyncio.wait({telling}, timeout=max(left, 0.1))
        await ack()

    async def _press(
        self, body: Body, action: Mapping[str, Any], client: AsyncWebClient
    ) -> Coroutine[Any, Any, None] | None:
        """Do it; what there is to say about it, which may take Slack longer than the acknowledgement may wait."""
        user = str((body.get("user") or {}).get("id") or "")
        channel = str((body.get("channel") or {}).get("id") or "")
        words = words_for(None)
        try:
            of = str(action.get("action_id")).partition(".")[0]
            if of not in ("broadcast", "reminder"):
                return None
            if workspace_of(body) != self.ours():
                return respond(body, self.desk.settings.slack_api_url, views.lines([words(ELSEWHERE)]))
            async with in_time(self.workflow.database.patience):
                person = await self.people.person(workspace_of(body), user, fresh=True)
                words = words_for(person.locale)
                must_be_member(person)
                if of == "reminder":
                    await self.recurring.pressed(body, action, person, client)
                else:
                    await self._do(Pressed(body, action, person, client))
        except Exception as error:
            told = " ".join(explain(error, words, self.desk.settings.admins))
            return tell(client, channel or user, user, views.Post(told, [views.section(told)]))
        return None

    async def _do(self, pressed: Pressed) -> None:
        workspace = pressed.person.workspace
        if pressed.name == Action.REJECT:
            await self._ask_reason(pressed)
        elif pressed.name == Action.REPLAN:
            await self._ask_start(pressed)
        elif pressed.name == "edit":
            await self._reopen_draft(pressed)
        elif pressed.name == "follow_up":
            await self._follow_up(pressed)
        elif pressed.name in self.DIRECT and pressed.version is not None:
            deed = deed_of(Action(pressed.name), pressed.sight)
            await self.workflow.act(workspace, pressed.id, deed, person=pressed.person, version=pressed.version)
        else:
            raise NotAllowed("I do not know this button any more. Please look at the newest card.")

    async def _ask_reason(self, pressed: Pressed) -> None:
        row = await self._current(pressed)
        if row.state is not State.PENDING:
            raise TooLate(row)
        await self.workflow.may(Action.REJECT, pressed.person, row)
        await pressed.client.views_open(trigger_id=pressed.trigger, view=views.reject_form(row, pressed.words))

    async def _reopen_draft(self, pressed: Pressed) -> None:
        row = await self._current(pressed)
        if row.state is not State.DRAFT:
            raise TooLate(row)
        if row.requester != pressed.person.id:
            raise NotAllowed("Only {requester}, who wrote it, can open this draft.", requester=f"<@{row.requester}>")
        form = draft_form(self.desk, row, pressed.asks_in(row), pressed.words)
        await pressed.client.views_open(trigger_id=pressed.trigger, view=views.compose(form, pressed.words))

    async def _ask_start(self, pressed: Pressed) -> None:
        """Offers what it was planned for, if that can still be, else the next start that the hours allow."""
        row = await self._current(pressed)
        if (row.state, Action.REPLAN) not in TRANSITIONS:
            raise TooLate(row)
        await self.workflow.may(Action.REPLAN, pressed.person, row)
        wanted = max(row.send_at or 0, self.clock() + SOON)
        wanted += -wanted % ROUND
        start = self.desk.outlook(row, wanted).opens or wanted
        form = views.replan_form(row, start, pressed.words, closed=start != wanted)
        await pressed.client.views_open(trigger_id=pressed.trigger, view=form)

    async def _follow_up(self, pressed: Pressed) -> None:
        """A new broadcast, by whoever presses: the old one's text in the form, and its own approval."""
        row = await self._current(pressed)
        if row.state not in views.FOLLOW_UPS:
            raise TooLate(row)
        must_be_member(pressed.person)
        form = views.Form(
            form_audiences(self.desk, pressed.words),
            pressed.asks_in(row),
            values=views.filled(row),
            follows=row.id,
        )
        await pressed.client.views_open(trigger_id=pressed.trigger, view=views.compose(form, pressed.words))

    async def _current(self, pressed: Pressed) -> Broadcast:
        row = await self.workflow.find(pressed.person.workspace, pressed.id)
        if row.version != pressed.version:
            raise TooLate(row)
        return row


class Reactions:
    """Reactions on cards: some approve or reject, and taking one back takes the approval back."""

    def __init__(self, workflow: Workflow, people: People, desk: Desk, clock: Clock, ours: Callable[[], str]) -> None:
        self.workflow, self.people, self.desk, self.clock, self.ours = workflow, people, desk, clock, ours
        self._explained: dict[tuple[str, str], float] = {}

    async def happened(self, ack: AsyncAck, body: Body, event: Mapping[str, Any], client: AsyncWebClient) -> None:
        """An event. It is acknowledged once it has had its effect; Slack brings it again when that fails."""
        known = {"reaction_added": self._reacted, "reaction_removed": self._unreacted}
        handler = known.get(str(event.get("type")))
        if handler is not None and workspace_of(body) == self.ours() and not await self._seen(body):
            await handler(body, event, client)
            await self._mark_seen(body)
        await ack()

    async def _seen(self, body: Body) -> bool:
        key, workspace = f"event:{body.get('event_id')}", workspace_of(body)
        return await self.workflow.database.read(lambda c: was_seen(c, workspace, key))

    async def _mark_seen(self, body: Body) -> None:
        """After the effect, not before: the effect is harmless twice, and lost it would be gone for good."""
        key, workspace = f"event:{body.get('event_id')}", workspace_of(body)
        await self.workflow.database.write(lambda c: first_time(c, workspace, key, self.clock()))

    async def _card(self, body: Body, event: Mapping[str, Any]) -> Card | None:
        item = event.get("item") or {}
        ts = str(item.get("ts") or "")
        place = workspace_of(body), str(item.get("channel") or ""), ts
        for _ in range(NEW_CARD_LOOKS):
            card = await self.workflow.database.read(lambda c: cards.card_at(c, *place))
            if card is not None or abs(self.clock() - _micros(ts)) > NEW_CARD:
                return card
            await asyncio.sleep(NEW_CARD_PAUSE)  # people may see a card before Slack's answer about it has reached us
        return None

    async def _reacted(self, body: Body, event: Mapping[str, Any], client: AsyncWebClient) -> None:
        action = self._meant(event)
        card = await self._card(body, event) if action else None
        if action is None or card is None or await self._taken_back(card, event):
            return
        words, user = words_for(None), str(event.get("user") or "")
        key, at = f"reacted:{_reaction_key(card, event)}", _event_time(event)
        await self.workflow.database.write(lambda c: keep_latest(c, card.workspace, key, at))
        try:
            person = await self.people.person(workspace_of(body), user, fresh=True)
            words = words_for(person.locale)
            await self._vote(action, person, card, at)
        except (NotAllowed, TooLate, CardChanged, NotFound, CannotTell) as error:
            await self._explain(card, user, " ".join(explain(error, words)), client)

    async def _vote(self, action: Action, person: Person, card: Card, at: Micros) -> None:
        row = await self.workflow.find(card.workspace, card.broadcast)
        if row.version != card.version:
            raise TooLate(row)
        if row.everyone and action is Action.APPROVE:
            raise NotAllowed("It goes to all subscribers of a public group: that takes the button and its question.")
        sight = Sight(card.channel, card.ts, at=at)
        deed = Approve("reaction", sight) if action is Action.APPROVE else Reject()
        if row.state is State.PENDING or person.id not in await self._voters(row):
            await self.workflow.act(row.workspace, row.id, deed, person=person, version=card.version)

    async def _voters(self, row: Broadcast) -> set[str]:
        votes = await self.workflow.database.read(lambda c: votes_for(c, row))
        return {vote.approver for vote in votes}

    async def _unreacted(self, body: Body, event: Mapping[str, Any], client: AsyncWebClient) -> None:
        card = await self._card(body, event) if self._meant(event) is Action.APPROVE else None
        if card is None:
            return
        # Slack may bring the taking back before the giving: then what is given later in coming is void.
        key, at = f"unreacted:{_reaction_key(card, event)}", _event_time(event)
        await self.workflow.database.write(lambda c: keep_latest(c, card.workspace, key, at))
        user = str(event.get("user") or "")
        if await self._approves_still(card, user):
            return
        try:
            await self.workflow.withdraw(
                card.workspace,
                card.broadcast,
                person=Person(card.workspace, user),
                way="reaction",
                version=card.version,
            )
        except TooLate as error:  # people learn that taking it back has stopped nothing
            await self._explain(card, user, " ".join(explain(error, await self._words_of(card, user))), client)

    async def _approves_still(self, card: Card, user: str) -> bool:
        """Does another reaction of this person's that approves stand on the card?"""
        names = {*self.desk.settings.approval.approve_reactions, *ALIASES}
        signs = [f"{name}{tone}" for name in names if self._means(name) is Action.APPROVE for tone in TONES]
        keys = {sign: f"{card.channel}:{card.ts}:{user}:{sign}" for sign in signs}

        def look(connection: Connection) -> bool:
            told = [f"{what}:{key}" for what in ("reacted", "unreacted") for key in keys.values()]
            times = last_times(connection, card.workspace, told)
            return any(times.get(f"reacted:{key}", -1) >= times.get(f"unreacted:{key}", 0) for key in keys.values())

        return await self.workflow.database.read(look)

    async def _words_of(self, card: Card, user: str) -> Words:
        try:
            return words_for((await self.people.person(card.workspace, user)).locale)
        except CannotTell:
            return words_for(None)

    async def _taken_back(self, card: Card, event: Mapping[str, Any]) -> bool:
        key = f"unreacted:{_reaction_key(card, event)}"
        latest = await self.workflow.database.read(lambda c: last_time(c, card.workspace, key))
        return latest > _event_time(event)

    def _meant(self, event: Mapping[str, Any]) -> Action | None:
        return self._means(str(event.get("reaction") or ""))

    def _means(self, reaction: str) -> Action | None:
        """What a reaction says, skin tones and aliases folded; nothing for one that nobody configured."""
        bare = reaction.split("::")[0]
        name = ALIASES.get(bare, bare)
        approval = self.desk.settings.approval
        if name in {ALIASES.get(known, known) for known in approval.approve_reactions}:
            return Action.APPROVE
        if name in {ALIASES.get(known, known) for known in approval.reject_reactions}:
            return Action.REJECT
        return None

    async def _explain(self, card: Card, user: str, told: str, client: AsyncWebClient) -> None:
        now, key = time.monotonic(), (user, card.ts)
        if now - self._explained.get(key, -QUIET_SECONDS) < QUIET_SECONDS:
            return
        if len(self._explained) > 1000:
            self._explained.clear()
        self._explained[key] = now
        await tell(client, card.channel, user, views.Post(told, [views.section(told)]))


def _reaction_key(card: Card, event: Mapping[str, Any]) -> str:
    return f"{card.channel}:{card.ts}:{event.get('user')}:{event.get('reaction')}"


def _event_time(event: Mapping[str, Any]) -> int:
    """When it happened at Slack, in microseconds; 0 where it does not say."""
    return _micros(str(event.get("event_ts") or ""))


def _micros(ts: str) -> int:
    seconds, _, fraction = ts.partition(".")
    digits = f"{seconds}{fraction[:6]:0<6}"
    return int(digits) if digits.isascii() and digits.isdigit() else 0
