"""Reactions on a card."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any

from cachetools import TTLCache
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_sdk.web.async_client import AsyncWebClient
from sqlalchemy import Connection

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Clock, Micros
from bot.domain.errors import CardChanged, NotAllowed, NotFound, StaleVersion
from bot.domain.i18n import Translator, translator_for
from bot.domain.lifecycle import Action, State
from bot.domain.people import DirectoryUnavailable, Person
from bot.slack.blocks import mrkdwn
from bot.slack.directory import People
from bot.slack.interaction import Body, explained, workspace_of
from bot.slack.payload import part
from bot.slack.replies import reply_privately
from bot.storage import cards
from bot.storage.cards import Card
from bot.storage.keys import first_time, keep_latest, last_time, last_times, of_event, of_reaction, was_seen
from bot.storage.votes import votes_for
from bot.workflow.audiences import Audiences
from bot.workflow.decision_types import Approve, Reject, Sight
from bot.workflow.decisions import NEW_CARD_LOOKS, NEW_CARD_PAUSE
from bot.workflow.workflow import Workflow

ALIASES = {"thumbsup": "+1", "thumbsdown": "-1"}
TONES = ("", *(f"::skin-tone-{number}" for number in range(2, 7)))
NEW_CARD = 10 * SECOND  # a message this young may be a card that we do not know yet

QUIET_SECONDS = 30.0  # at most one explanation per person and card in this time


class Reactions:
    """Reactions on cards: some approve or reject, and removing an approving one withdraws the approval."""

    def __init__(
        self, workflow: Workflow, people: People, audiences: Audiences, clock: Clock, ours: Callable[[], str]
    ) -> None:
        self.workflow, self.people, self.audiences, self.clock, self.ours = workflow, people, audiences, clock, ours
        self._explained = TTLCache[tuple[str, str], bool](1000, QUIET_SECONDS)

    async def happened(self, ack: AsyncAck, body: Body, event: Mapping[str, Any], client: AsyncWebClient) -> None:
        """Handle an event. It is acknowledged after its effect, so Slack sends it again if the effect fails."""
        known = {"reaction_added": self._reacted, "reaction_removed": self._unreacted}
        handler = known.get(str(event.get("type")))
        if handler is not None and workspace_of(body) == self.ours() and not await self._seen(body):
            await handler(body, event, client)
            await self._mark_seen(body)
        await ack()

    async def _seen(self, body: Body) -> bool:
        key, workspace = of_event(body.get("event_id")), workspace_of(body)
        return await self.workflow.database.read(lambda c: was_seen(c, workspace, key))

    async def _mark_seen(self, body: Body) -> None:
        """Mark the event as seen, after its effect: the effect is harmless twice, but must not be lost."""
        key, workspace = of_event(body.get("event_id")), workspace_of(body)
        await self.workflow.database.write(lambda c: first_time(c, workspace, key, self.clock()))

    async def _card(self, body: Body, event: Mapping[str, Any]) -> Card | None:
        item = part(event, "item")
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
        words, user = translator_for(None), str(event.get("user") or "")
        key, at = of_reaction("reacted", _reaction_key(card, event)), _event_time(event)
        await self.workflow.database.write(lambda c: keep_latest(c, card.workspace, key, at))
        try:
            person = await self.people.person(workspace_of(body), user, fresh=True)
            words = translator_for(person.locale)
            await self._vote(action, person, card, at)
        except (NotAllowed, StaleVersion, CardChanged, NotFound, DirectoryUnavailable) as error:
            await self._explain(card, user, " ".join(await explained(error, words, self.workflow)), client)

    async def _vote(self, action: Action, person: Person, card: Card, at: Micros) -> None:
        row = await self.workflow.find(card.workspace, card.broadcast)
        if row.version != card.version:
            raise StaleVersion(row)
        if row.everyone and action is Action.APPROVE:
            raise NotAllowed(
                "It goes to all subscribers of a public group, so a reaction is not enough. Use the button and answer "
                "its question."
            )
        sight = Sight(card.channel, card.ts, at=at)
        decision = Approve("reaction", sight) if action is Action.APPROVE else Reject()
        if row.state is not State.PENDING and person.id in await self._voters(row):
            return
        try:
            await self.workflow.act(row.workspace, row.id, decision, person=person, version=card.version)
        except StaleVersion:
            if person.id not in await self._voters(row):  # else the same reaction was brought twice at once
                raise

    async def _voters(self, row: Broadcast) -> set[str]:
        votes = await self.workflow.database.read(lambda c: votes_for(c, row))
        return {vote.approver for vote in votes}

    async def _unreacted(self, body: Body, event: Mapping[str, Any], client: AsyncWebClient) -> None:
        card = await self._card(body, event) if self._meant(event) is Action.APPROVE else None
        if card is None:
            return
        # Slack may deliver the removal before the reaction. The reaction is then void when it arrives.
        key, at = of_reaction("unreacted", _reaction_key(card, event)), _event_time(event)
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
        except StaleVersion as error:  # people learn that removing it has stopped nothing
            lines = await explained(error, await self._words_of(card, user), self.workflow)
            await self._explain(card, user, " ".join(lines), client)

    async def _approves_still(self, card: Card, user: str) -> bool:
        """Whether another approving reaction of this person is on the card."""
        names = {*self.audiences.settings.approval.approve_reactions, *ALIASES}
        signs = [f"{name}{tone}" for name in names if self._means(name) is Action.APPROVE for tone in TONES]
        given = [of_reaction("reacted", f"{card.channel}:{card.ts}:{user}:{sign}") for sign in signs]
        taken = [of_reaction("unreacted", f"{card.channel}:{card.ts}:{user}:{sign}") for sign in signs]

        def look(connection: Connection) -> bool:
            times = last_times(connection, card.workspace, given + taken)
            return any(times.get(one, -1) >= times.get(other, 0) for one, other in zip(given, taken, strict=True))

        return await self.workflow.database.read(look)

    async def _words_of(self, card: Card, user: str) -> Translator:
        try:
            return translator_for((await self.people.person(card.workspace, user)).locale)
        except DirectoryUnavailable:
            return translator_for(None)

    async def _taken_back(self, card: Card, event: Mapping[str, Any]) -> bool:
        key = of_reaction("unreacted", _reaction_key(card, event))
        latest = await self.workflow.database.read(lambda c: last_time(c, card.workspace, key))
        return latest > _event_time(event)

    def _meant(self, event: Mapping[str, Any]) -> Action | None:
        return self._means(str(event.get("reaction") or ""))

    def _means(self, reaction: str) -> Action | None:
        """Return what a reaction means, with skin tones and aliases folded; None if it is not configured."""
        bare = reaction.split("::")[0]
        name = ALIASES.get(bare, bare)
        approval = self.audiences.settings.approval
        if name in {ALIASES.get(known, known) for known in approval.approve_reactions}:
            return Action.APPROVE
        if name in {ALIASES.get(known, known) for known in approval.reject_reactions}:
            return Action.REJECT
        return None

    async def _explain(self, card: Card, user: str, text: str, client: AsyncWebClient) -> None:
        if (user, card.ts) in self._explained:
            return
        self._explained[user, card.ts] = True
        await reply_privately(client, card.channel, user, mrkdwn.Post(text, [mrkdwn.section(text)]))


def _reaction_key(card: Card, event: Mapping[str, Any]) -> str:
    return f"{card.channel}:{card.ts}:{event.get('user')}:{event.get('reaction')}"


def _event_time(event: Mapping[str, Any]) -> int:
    """Return when it happened at Slack, in microseconds; 0 if Slack does not say."""
    return _micros(str(event.get("event_ts") or ""))


def _micros(ts: str) -> int:
    seconds, _, fraction = ts.partition(".")
    digits = f"{seconds}{fraction[:6]:0<6}"
    return int(digits) if re.fullmatch("[0-9]{1,18}", digits) else 0
