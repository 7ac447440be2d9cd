"""Submits requests and acts on broadcasts."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import itertools
import json
import math
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.config.settings import AudienceSettings
from bot.domain import marketing, people, sms, suggestions
from bot.domain.broadcast import Broadcast, BroadcastRequest, digest, new_id
from bot.domain.clock import SECOND, Micros, micros, moment
from bot.domain.errors import CardChanged, Complaint, NotAccepted, NotAllowed, NotFound, TooLate
from bot.domain.i18n import Translatable, Value, in_a_row
from bot.domain.lifecycle import TRANSITIONS, Action, Hold, Phase, State
from bot.domain.people import CannotTell, Directory, Person
from bot.domain.schedule import Schedule, cover_of
from bot.scheduler import Task, concerned
from bot.storage import audit, broadcasts, cards, keys, notes, queue, schedules, sql
from bot.storage.broadcast_rows import NO_LEASE, NOT_AGREED, Changes
from bot.storage.cards import Card
from bot.storage.notes import Note
from bot.storage.troubles import alone
from bot.storage.votes import Vote, add_vote, drop_vote, drop_votes, strengthen_vote, votes_for
from bot.workflow import checks, requirements
from bot.workflow.audiences import Desk
from bot.workflow.deadlines import asks, asks_again_at, asks_until, before_start, draft_notice, start_told
from bot.workflow.gate import Gates
from bot.workflow.kill_switch import KillSwitch
from providers.base import Purpose
from providers.reading import UNREADABLE

TWIN_WINDOW = 60 * SECOND  # the same request again within this is a repeated command, not a wish
FURTHEST = 2 * 366 * 24 * 3600 * SECOND
SEEN_KEPT = 3 * 24 * 3600 * SECOND  # Slack brings an event again for an hour or so
PAST_SLACK = 60 * SECOND  # what a form took to fill in
FRESH = 3600 * SECOND  # an approval this young needs no second look at who gave it
ASKED_TOGETHER = 8  # people of whom Slack is asked at once
ASK_SLACK_AGAIN = 60 * SECOND

NEW_CARD_LOOKS, NEW_CARD_PAUSE = 8, 0.2  # seconds between the looks for a card that was drawn just now


@dataclass(frozen=True)
class Submitted:
    """`again`: this was a repetition, and `broadcast` is the one that was there already. `fix`: why it is only kept as
    a draft, and what to do about it. `questions`: the same, where who has read them and submits it all the same means
    it."""

    broadcast: Broadcast
    again: bool = False
    fix: Translatable | None = None
    questions: tuple[Complaint, ...] = ()


class Questioned(NotAccepted):
    """It may be a slip. Nothing is stored; the same form, submitted once more with the same words, is a yes."""

    def __init__(self, *questions: Complaint) -> None:
        template = "{question} Submit once more to send it as it is."
        asked = (Complaint(one.field, Translatable(template, question=one.sentence)) for one in questions)
        super().__init__(*asked)


@dataclass(frozen=True)
class Sent:
    """A form that came back. `trigger`: what tells one submit of it from the next; two deliveries of one have the
    same."""

    form: str
    trigger: str = ""


class Drawing(NamedTuple):
    """A drawing of a card: the revision that it shows, and since when its facts stand. A later one is larger."""

    revision: int
    since: Micros = 0


@dataclass(frozen=True)
class Sight:
    """The message by which somebody decided, and how it looked to them: by the `drawing` that they pressed, or by the
    time `at` which they reacted. None: not by that."""

    channel: str
    ts: str
    drawing: Drawing | None = None
    at: Micros | None = None

    def is_of(self, card: Card) -> bool:
        """Slack always tells the message; a payload without one is decided by the row, and by what its card shows."""
        return not self.ts or (self.channel, self.ts) == (card.channel, card.ts)

    def is_newer(self, card: Card) -> bool:
        """Did they see what is not known to stand there yet?"""
        seen = self.drawing
        return seen is not None and (seen.revision > card.drawn or seen.since > _drawing(card).since)

    def is_older(self, card: Card) -> bool:
        """Did they see it before it showed what it shows by now? What an older process drew does not tell since when
        it does."""
        if self.drawing is not None:
            return self.drawing < _drawing(card)
        return self.at is not None and bool(self.at < (card.facts or {}).get("since", math.inf))


def _drawing(card: Card) -> Drawing:
    return Drawing(*(card.facts or {}).get("drawing", [card.drawn]))


class Workflow:
    """Submits requests and acts on broadcasts: whoever may do it, in one transaction with its trace."""

    def __init__(
        self,
        runtime: Runtime,
        desk: Desk,
        people: Directory,
        switch: KillSwitch | None = None,
        make_id: Callable[[], str] = new_id,
    ) -> None:
        self.database, self.clock, self.wake = runtime.database, runtime.clock, runtime.wake
        self.desk, self.people, self.switch, self.make_id = desk, people, switch or KillSwitch(), make_id
        self.approval = desk.settings.approval
        self.gates = Gates(desk.settings, desk.providers, desk.policies)

    # --- submit ------------------------------------------------------------------------------------------------------

    async def submit(
        self,
        request: BroadcastRequest,
        *,
        key: str,
        person: Person,
        postable: bool = True,
        draft: str | None = None,
        follows: str | None = None,
        sent: Sent | None = None,
    ) -> Submitted:
        """Check a request and store the broadcast it becomes; the same `key` again gives the same broadcast.

        `postable` False keeps it as a draft, since no card can stand in its channel; so does one in which too few see
        it who could approve it. `draft` is the id of the draft
        that this request completes, `follows` that of an earlier broadcast, whose thread and this one's then name
        each other. `sent`: the form that it came in, which can be submitted once more. What may be a slip is asked
        there, and else kept as a draft; a form that answers the same question with the same words is a yes.
        Raises NotAccepted, NotAllowed (both audited), Questioned or CannotTell.
        """
        try:
            planned = await self.plan(request, key, person)
        except (NotAccepted, NotAllowed) as error:
            await self._audit_refusal(person, Action.SUBMIT, type(error).__name__)
            raise
        questions = self.questions(request)
        if questions and (sent or draft):
            questions = await self.database.write(lambda c: self._ask(c, request, questions, sent, draft))
        if questions and sent:
            raise Questioned(*questions)
        fix = await self.why_stuck(planned) if postable else None
        if questions or fix is not None or not postable:
            planned = dataclasses.replace(planned, state=State.DRAFT, voice_at=draft_notice(planned.created_at))
        stored = await self.database.write(lambda c: self._store(c, planned, draft, follows, questions))
        if not stored.again and (tasks := concerned(stored.broadcast)):
            self.wake(*tasks)
        return dataclasses.replace(stored, fix=fix)

    async def why_stuck(self, row: Broadcast, voters: Iterable[str] = ()) -> Translatable | None:
        """Why too few people could approve it where its card stands, or would stand; None where enough could.

        `voters`: who has approved it already. Raises CannotTell.
        """
        if row.quorum == 0 or row.mode == "training":
            return None
        approvers, given = self._as_of_today(row).approvers, frozenset(voters)
        named = await requirements.people_in(approvers, self.people.members) - {row.requester, row.editor}
        inside = {id for id in sorted(named) if id in given or await self.people.sees(row.channel, id)}
        able = await self._active(row.workspace, inside, row.quorum)
        if len(able) >= row.quorum:
            return None
        if inside == named:
            return _too_few(row.quorum, approvers, len(able))
        values: dict[str, Value] = {"quorum": row.quorum, "number": len(able)}
        template = (
            "This channel is private, and too few people in it can approve this (needed: {quorum}, there: {number}). "
            "Invite more of {who}, then try again."
        )
        if self.approval.channel is not None:
            values["channel"] = f"<#{row.channel}>"
            template = (
                "All cards stand in {channel}, which is private, and too few people in it can approve this "
                "(needed: {quorum}, there: {number}). Ask somebody in it to invite more of {who}, then try again."
            )
        return Translatable(template, **values, who=people.mentions(approvers))

    async def why_stuck_now(self, row: Broadcast) -> Translatable | None:
        """The same of one that asks already, whatever it asks. What Slack does not tell takes nothing back."""
        votes = await self.database.read(lambda c: votes_for(c, row))
        try:
            if row.state is not State.PENDING:
                return await self._why_unseen(row)
            return await self.why_stuck(row, (vote.approver for vote in votes))
        except CannotTell:
            return None

    async def _why_unseen(self, row: Broadcast) -> Translatable | None:
        """Why nobody who can answer it sees it where it stands. Where nobody is left, no other place is better."""
        somebody = False
        async for id in self.who_answers(row):
            if await self.people.sees(row.channel, id):
                return None
            somebody = True
        return Translatable("Nobody who can decide about it is in this channel.") if somebody else None

    async def who_acts(self, row: Broadcast) -> AsyncIterator[str]:
        """Full members who may press the buttons of its card. Raises CannotTell.

        An unknown outcome is for approvers first: they alone may say that it did not go out, and else the admins.
        """
        for id in await self._named(row):
            with suppress(CannotTell):
                if await self._is_member(row.workspace, id):
                    yield id

    async def who_answers(self, row: Broadcast) -> AsyncIterator[str]:
        """Who may give each answer that its card offers, or may be one of them: whom Slack tells nothing of is not
        taken away. Raises CannotTell."""
        named = await self._named(row)
        if row.state is State.UNKNOWN and row.mode != "training":
            lost = await self._has_lost_its_approvers(row)
            denying = self.desk.settings.admins if lost else self._as_of_today(row).approvers
            people = await requirements.people_in(denying, self.people.members)
            named = [id for id in named if id in people]
        for id in named:
            if await self._told(row.workspace, id) is not False:
                yield id

    async def _named(self, row: Broadcast) -> list[str]:
        """Everybody who may press a button of its card, whom it asks first."""
        approvers = sorted(await requirements.people_in(self._as_of_today(row).approvers, self.people.members))
        votes = await self.database.read(lambda c: votes_for(c, row))
        deciding = [*(vote.approver for vote in votes if vote.approver in approvers), *approvers]
        asking, admins = [row.requester, row.editor], self.desk.settings.admins
        unknown = row.state is State.UNKNOWN
        return list(dict.fromkeys((*deciding, *admins, *asking) if unknown else (*asking, *deciding, *admins)))

    def questions(self, request: BroadcastRequest) -> tuple[Complaint, ...]:
        """What a person is asked before a request that could be taken becomes a broadcast: it may be a slip."""
        terms = self.desk.terms(request.audience, request.purpose)
        return checks.questions(request.text, terms, zone=request.zone, now=moment(self.clock()))

    def _ask(
        self,
        connection: Connection,
        request: BroadcastRequest,
        questions: tuple[Complaint, ...],
        sent: Sent | None,
        draft: str | None,
    ) -> tuple[Complaint, ...]:
        """What is still to be asked: nothing of who has read it, on the draft or in an earlier submit of the form."""
        workspace, form, this = request.workspace, [], []
        sql.alone(connection, f"asks:{workspace}/{request.requester}")  # else of two at once one is the other's yes
        if sent is not None:
            form = [_asked_key(request, "form", sent.form)]
            this = [_asked_key(request, "form", sent.form, sent.trigger)] if sent.trigger else []
        if any(keys.was_seen(connection, workspace, key) for key in this):
            return questions  # Slack brings the same submit again: nobody has read anything in between
        kept = [_asked_key(request, "draft", draft)] if draft else []
        if any(keys.was_seen(connection, workspace, key) for key in (*form, *kept)):
            return ()
        for key in (*form, *this):
            keys.first_time(connection, workspace, key, self.clock())
        return questions

    async def plan(
        self, request: BroadcastRequest, key: str, person: Person, *, slack: Micros = PAST_SLACK
    ) -> Broadcast:
        """The broadcast that a request becomes, checked, not stored. `slack`: how long ago its time may be.

        Raises NotAccepted, NotAllowed or CannotTell.
        """
        settings = self.desk.audience(request.audience)
        if settings is None:
            raise NotAccepted(Complaint("audience", self._unknown_audience(request.audience)))
        await requirements.may_ask(person, request.audience, settings, self.people.members)
        final, complaints = checks.final_text(request.text, self.desk.terms(request.audience, request.purpose))
        complaints += checks.name_complaints(request.sender, request.campaign)
        complaints += [*self._sender_complaints(request, settings), *self._time_complaints(request.send_at, slack)]
        complaints += self._policy_complaints(request, settings)
        if complaints:
            raise NotAccepted(*complaints)
        people = frozenset({person.id})
        need = await self._need(request.workspace, request.purpose, final, request.audience, settings, people)
        return self._broadcast(request, key, settings, final, need)

    def _unknown_audience(self, name: str) -> Translatable:
        known = ", ".join(sorted(self.desk.settings.audiences)) or "—"
        near = suggestions.nearest(name, self.desk.settings.audiences)
        if near:
            return Translatable("There is no audience “{name}”. Did you mean “{near}”?", name=name, near=near)
        return Translatable("There is no audience “{name}”. There are: {known}.", name=name, known=known)

    def _sender_complaints(self, request: BroadcastRequest, settings: AudienceSettings) -> list[Complaint]:
        if request.sender is None:
            return []
        provider = self.desk.provider_of(settings)
        pattern = provider.capabilities.sender_pattern
        if pattern is None:
            template = "{vendor} takes no sender ID. Leave it out."
        elif len(request.sender) > checks.MOST["sender"] or not re.fullmatch(pattern, request.sender):
            template = "“{sender}” is no sender ID for {vendor}. {rule}"
        else:
            return []
        return [
            Complaint(
                "sender",
                Translatable(template, vendor=provider.title, sender=request.sender, rule=provider.sender_rule),
            )
        ]

    def _time_complaints(self, send_at: Micros | None, slack: Micros = PAST_SLACK) -> list[Complaint]:
        if send_at is None:
            return []
        now = self.clock()
        if send_at < now - slack:
            template = "That time has passed. Choose a later one, or none to send right after approval."
        elif send_at > now + FURTHEST:
            template = "That is more than two years away. Choose an earlier time."
        else:
            return []
        return [Complaint("send_at", Translatable(template))]

    def _policy_complaints(self, request: BroadcastRequest, settings: AudienceSettings) -> list[Complaint]:
        if request.purpose is Purpose.MARKETING and settings.policy is None:
            template = (
                "Marketing to “{audience}” needs a policy of sending hours. "
                "Ask an admin to set `policy` under `[audiences.{audience}]`."
            )
            return [Complaint("audience", Translatable(template, audience=request.audience))]
        return []

    async def _need(
        self,
        workspace: str,
        purpose: Purpose,
        typed: str,
        name: str,
        settings: AudienceSettings,
        people: frozenset[str],
        size: int | None = None,
    ) -> requirements.Need:
        """`people`: who asked for it and who changed it since. None of them counts as an approver of it."""
        offers = purpose is Purpose.TRANSACTIONAL and bool(marketing.looks_like_marketing(typed))
        if offers:
            offers = not people <= await requirements.people_in(self.approval.approvers, self.people.members)
        size = settings.max_size if size is None else size
        need = self._need_at(purpose, name, settings.account, size, doubtful=offers)
        if need.quorum and self.desk.settings.mode != "training":
            await self._must_be_satisfiable(workspace, need, people)
        return need

    def _need_at(
        self, purpose: Purpose, name: str, account: str, size: int | None, *, doubtful: bool = False
    ) -> requirements.Need:
        return requirements.need_for(
            self.approval, purpose=purpose, audience=name, account=account, size=size, doubtful=doubtful
        )

    async def _must_be_satisfiable(self, workspace: str, need: requirements.Need, people: frozenset[str]) -> None:
        named = await requirements.people_in(need.approvers, self.people.members) - people
        others = await self._active(workspace, named, need.quorum)
        if len(others) < need.quorum:
            raise NotAccepted(Complaint("audience", _too_few(need.quorum, need.approvers, len(others))))

    async def _active(self, workspace: str, people: Iterable[str], enough: int) -> list[str]:
        """Those who are full members by now, as soon as there are `enough` of them. Raises CannotTell where there
        may be as many."""
        found, untold, waiting = list[str](), list[CannotTell](), sorted(people)
        while waiting and len(found) < enough:
            some, waiting = waiting[:ASKED_TOGETHER], waiting[ASKED_TOGETHER:]
            for id, told in zip(some, await asyncio.gather(*(self._told(workspace, id) for id in some)), strict=True):
                if isinstance(told, CannotTell):
                    untold.append(told)
                elif told:
                    found.append(id)
        if len(found) < enough and untold:
            raise untold[0]
        return found

    async def _told(self, workspace: str, id: str) -> bool | CannotTell:
        try:
            return await self._is_member(workspace, id)
        except CannotTell as error:
            return error

    def _broadcast(
        self, request: BroadcastRequest, key: str, settings: AudienceSettings, final: str, need: requirements.Need
    ) -> Broadcast:
        provider, now = self.desk.provider_of(settings), self.clock()
        planned = Broadcast(
            **request.model_dump(include={"workspace", "requester", "audience", "purpose", "sender", "campaign"}),
            send_at=request.send_at,
            zone=request.zone,
            id=self.make_id(),
            version=1,
            state=State.PENDING,
            mode=self.desk.settings.mode,
            key=key,
            editor=request.requester,
            channel=self.approval.channel or request.channel,
            asked_in=request.channel if self.approval.channel not in (None, request.channel) else None,
            account=settings.account,
            provider=provider.name,
            kind=settings.kind,
            target=settings.id,
            everyone=settings.everyone,
            subscribers=settings.subscribers,
            typed=request.text,
            text=final,
            policy=settings.policy,
            digest="",
            bound=settings.max_size,
            quorum=need.quorum,
            approvers=need.approvers,
            created_at=now,
            changed_at=now,
            voice_at=asks_again_at(now, self.approval),
            expires_at=asks_until(now, self.approval),
        )
        return dataclasses.replace(planned, digest=digest(planned))

    def _store(
        self,
        connection: Connection,
        planned: Broadcast,
        draft: str | None,
        follows: str | None,
        questions: tuple[Complaint, ...],
    ) -> Submitted:
        stored = self._store_once(connection, planned, draft, follows)
        if not questions or stored.broadcast.state is not State.DRAFT:
            return stored
        key = _asked_key(planned, "draft", stored.broadcast.id)
        keys.first_time(connection, planned.workspace, key, planned.created_at)
        return dataclasses.replace(stored, questions=questions)

    def _store_once(
        self, connection: Connection, planned: Broadcast, draft: str | None, follows: str | None
    ) -> Submitted:
        sql.alone(connection, f"asks:{planned.workspace}/{planned.requester}")  # else two at once would find no twin
        known = broadcasts.find_by_key(connection, planned.workspace, planned.key)
        known = known or broadcasts.find_twin(connection, planned, planned.created_at - TWIN_WINDOW)
        if known and known.key != planned.key and known.state is State.DRAFT and planned.state is State.PENDING:
            draft, known = draft or known.id, None  # it was only kept, and is asked for now
        if known and known.id != draft:
            return Submitted(known, again=True)
        if draft is not None:
            return Submitted(self._complete_draft(connection, planned, draft))
        broadcasts.add(connection, planned, draw=planned.state is not State.DRAFT)
        if follows is not None and planned.state is not State.DRAFT:
            self._name_each_other(connection, planned, follows)
        return Submitted(self._without_approval(connection, planned))

    def _complete_draft(self, connection: Connection, planned: Broadcast, id: str) -> Broadcast:
        draft = broadcasts.find(connection, planned.workspace, id, lock=True)
        if draft.state is not State.DRAFT or draft.requester != planned.requester:
            raise TooLate(draft)
        fields = {field.name: getattr(planned, field.name) for field in dataclasses.fields(planned)}
        changes = {name: value for name, value in fields.items() if name not in UNCHANGED_BY_SUBMIT}
        if planned.state is State.DRAFT:
            return broadcasts.touch(connection, draft, planned.created_at, **changes) or draft
        submitted = broadcasts.move(
            connection, draft, Action.SUBMIT, actor=planned.requester, at=planned.created_at, **changes
        )
        if submitted is None:
            raise TooLate(draft)
        return self._without_approval(connection, submitted)

    def enter(self, connection: Connection, planned: Broadcast, voters: Iterable[str] = ()) -> Broadcast:
        """Store a turn of a recurring broadcast; `voters`: who approved it beforehand, with those before it."""
        broadcasts.add(connection, planned, draw=True)
        for voter in voters:
            add_vote(connection, planned, voter, COVER, self.clock())
        if voters:
            actor = next(iter(voters))
            return self._schedule(connection, planned, actor=actor) or planned
        return self._without_approval(connection, planned)

    def _name_each_other(self, connection: Connection, follower: Broadcast, id: str) -> None:
        """The id came back from a form, so it may be anything; only a broadcast of this workspace is named."""
        try:
            followed = broadcasts.find(connection, follower.workspace, id)
        except NotFound:
            return
        now = follower.created_at
        notes.say(connection, follower, now, [Note(Translatable("It follows {id}.", id=followed.id))])
        if followed.state is not State.DRAFT:
            by = {"by": people.mentions([follower.requester]), "id": follower.id}
            notes.say(connection, followed, now, [Note(Translatable("{by} asks for a follow-up: {id}.", **by))])

    def _without_approval(self, connection: Connection, broadcast: Broadcast) -> Broadcast:
        """A broadcast that nobody needs to approve goes on by itself; the audit says that the policy let it."""
        if broadcast.state is not State.PENDING or broadcast.quorum > 0:
            return broadcast
        return self._schedule(connection, broadcast, actor="policy") or broadcast

    # --- act ---------------------------------------------------------------------------------------------------------

    async def act(
        self, workspace: str, id: str, action: Action, *, person: Person, version: int | None = None, **told: Any
    ) -> Broadcast:
        """Do what a person asked for. `version` is the one they saw; `told` a `reason`, the `way` of a vote, a new
        `send_at`, or the sight `on_card` by which they decided.

        Raises NotFound, TooLate (with the row as it stands), CardChanged, NotAllowed (audited), NotAccepted or
        CannotTell. Doing again what the same person did already is no error and no second effect.
        """
        broadcast = await self._as_seen(workspace, id, version, told.get("on_card"))
        if version is not None and version != broadcast.version:
            raise TooLate(broadcast)
        await self.may(action, person, broadcast)
        if (broadcast.state, action) not in TRANSITIONS:
            raise TooLate(broadcast)
        told |= await self._asked_before(action, broadcast, person, told)
        deed = ACTS[action][1]

        def work(connection: Connection) -> Broadcast | CardChanged:
            acted = deed(self, connection, broadcast, action, person, **told)
            if acted is None:  # raised in here: a rollback hands the row on without a flush to the disk
                raise TooLate(broadcasts.find(connection, workspace, broadcast.id))
            return acted

        acted = await self.database.write(work)
        if isinstance(acted, CardChanged):
            self.wake(Task.PAINT)
            raise acted
        self.wake(Task.DISPATCH, Task.PAINT, *concerned(acted))  # what lay prepared for it may be of no more use
        return acted

    async def _as_seen(self, workspace: str, id: str, version: int | None, on_card: Sight | None) -> Broadcast:
        """The row. People may press what was drawn before Slack's answer about it has reached us: then wait a moment
        until it is on record."""
        if on_card is None:
            return await self.find(workspace, id)

        def look(connection: Connection) -> tuple[Broadcast, Card | None]:
            found = broadcasts.find(connection, workspace, id.upper())
            return found, cards.card_of(connection, found)

        for _ in range(NEW_CARD_LOOKS):
            found, card = await self.database.read(look)
            if found.version != version or (card is not None and not on_card.is_newer(card)):
                break
            await asyncio.sleep(NEW_CARD_PAUSE)
        return found

    async def _asked_before(
        self, action: Action, broadcast: Broadcast, person: Person, told: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What Slack has to say to this, asked before the transaction: nothing slow lives inside one."""
        if action is Action.SEND_NOW:
            return {"still": await self._still_approvers(broadcast)}
        if action is Action.REPLAN:
            complaints = self._time_complaints(told["send_at"])
            if complaints:
                raise NotAccepted(*complaints)
            need = await self._need_again(broadcast, person)
            await self._must_be_seen(broadcast, person, need)
            return {"need": need}
        return {}

    async def may(self, action: Action, person: Person, broadcast: Broadcast) -> None:
        """Raises NotAllowed, audited, when this person may not do this to it."""
        try:
            await ACTS[action][0](self, person, broadcast)
        except NotAllowed as error:
            await self._audit_refusal(person, action, error.sentence.template, broadcast)
            raise

    async def withdraw(
        self, workspace: str, id: str, *, person: Person, way: str, version: int | None = None
    ) -> Broadcast | None:
        """Take a vote back before anything has left; None when there was nothing to take back, or when the `version`
        that it stood under is not the one of now. Raises TooLate when what it was for has left or ended."""
        broadcast = await self.find(workspace, id)
        if version is not None and version != broadcast.version:
            return None
        taken = await self.database.write(lambda c: self._withdraw(c, broadcast, person, way))
        if taken is not None:
            self.wake(Task.DISPATCH, *concerned(taken))
        if taken is not None and taken.state is State.SENDING:
            raise TooLate(taken)
        return taken

    async def pause_all(self, person: Person, *, on: bool) -> int:
        """Stop all sending of a workspace before the next byte, or let it go on; how many are held for it.

        Raises NotAllowed (audited) for anybody who is no admin.
        """
        action = "pause_all" if on else "resume_all"
        if person.id not in self.desk.settings.admins:
            await self._audit_refusal(person, action, "not an admin")
            who = people.mentions(self.desk.settings.admins)
            raise NotAllowed("Only an admin can pause or resume all sending: {who}.", who=who)
        if on:
            self.switch.stop(person.workspace)  # the commit takes a moment, and the next byte may be nearer
        try:
            await self.database.write(lambda c: self._pause_all(c, person, action, on))
        finally:  # whatever came of it, the next tick reads it
            self.switch.committed(person.workspace)
        self.wake(Task.DISPATCH, Task.PAINT, Task.VOICES)
        return await self.database.read(lambda c: broadcasts.count_held(c, person.workspace, Hold.PAUSED))

    def _pause_all(self, connection: Connection, person: Person, action: str, on: bool) -> None:
        now = self.clock()
        if not on and keys.paused(connection, person.workspace):
            cards.voice_held(connection, person.workspace, Hold.PAUSED, now)
        keys.set_paused(connection, person.workspace, person.id if on else None, now)
        audit.write_event(connection, person.workspace, person.id, action, None, now)

    async def find(self, workspace: str, id: str) -> Broadcast:
        return await self.database.read(lambda c: broadcasts.find(c, workspace, id.upper()))

    def _as_of_today(self, broadcast: Broadcast) -> Broadcast:
        return dataclasses.replace(broadcast, approvers=requirements.approvers_today(self.approval, broadcast))

    async def _may_approve(self, person: Person, broadcast: Broadcast) -> None:
        await requirements.may_approve(person, self._as_of_today(broadcast), self.people.members)

    async def _may_reject(self, person: Person, broadcast: Broadcast) -> None:
        template = "Only {who} can reject {id}."
        await self._must_be_approver(person, broadcast, template)

    async def _may_stop(self, person: Person, broadcast: Broadcast) -> None:
        await requirements.may_stop(
            person, self._as_of_today(broadcast), self.desk.settings.admins, self.people.members
        )

    async def _may_deny(self, person: Person, broadcast: Broadcast) -> None:
        """To say that it did *not* go out opens the way to send again: that takes an approver, or an admin where no
        approver is left."""
        people.must_be_member(person)
        admins = self.desk.settings.admins
        template = "Only {who} can say that {id} did not go out."
        if not await self._has_lost_its_approvers(broadcast):
            await self._must_be_approver(person, broadcast, template)
        elif not admins:
            raise NotAllowed("No approver of {id} is left. Ask whoever runs me to name approvers.", id=broadcast.id)
        elif person.id not in admins:
            raise NotAllowed(template, who=people.mentions(admins), id=broadcast.id)

    async def _has_lost_its_approvers(self, broadcast: Broadcast) -> bool:
        """Is nobody here any more who may approve it? Raises CannotTell."""
        named = await requirements.people_in(self._as_of_today(broadcast).approvers, self.people.members)
        return not await self._active(broadcast.workspace, named, 1)

    async def _must_be_approver(self, person: Person, broadcast: Broadcast, template: str) -> None:
        people.must_be_member(person)
        if broadcast.mode == "training":  # one person may walk the whole way
            return
        today = self._as_of_today(broadcast)
        if not await requirements.is_approver(person, today, self.people.members):
            raise NotAllowed(template, who=people.mentions(today.approvers), id=broadcast.id)

    def _approve(
        self,
        connection: Connection,
        seen: Broadcast,
        action: Action,
        person: Person,
        way: str = "button",
        *,
        on_card: Sight | None = None,
    ) -> Broadcast | CardChanged | None:
        current = broadcasts.find(connection, seen.workspace, seen.id, lock=True)
        if current.state is not State.PENDING or current.version != seen.version:
            return None
        if self._expired(current):  # the clock has not come round to it yet
            raise NotAllowed("Its time to be approved ended {end_at}.", end_at=current.expires_at or 0)
        if on_card and (changed := self._changed_since_drawn(connection, current, on_card)):
            return changed
        if not add_vote(connection, current, person.id, way, self.clock()):
            if way == "button":  # it stands, whatever becomes of an older reaction
                strengthen_vote(connection, current, person.id, way)
            return current
        current, votes = self._as_large_as_it_is(connection, current), votes_for(connection, current)
        if len(votes) < current.quorum:
            return self._count_vote(connection, current, person, len(votes))
        return self._schedule(connection, current, actor=person.id)

    def _changed_since_drawn(self, connection: Connection, current: Broadcast, on_card: Sight) -> CardChanged | None:
        """What the person saw is what they decide about: what has changed since is told, and the card drawn anew. A
        message that is its card no more may show anything."""
        card, facts = cards.card_of(connection, current), self.desk.facts(current, self.clock())
        if card is not None and not on_card.is_of(card):
            return CardChanged(current, ())
        if card is not None and not on_card.is_older(card) and _shows(card, current, facts):
            return None
        shown = card.facts if card is not None else None
        cards.draw_again(connection, current, self.clock())
        changes = [*_changes(shown or {}, facts)]
        misfit = self.desk.misfit(current)
        if misfit is not None and str(misfit) != (shown or {}).get("misfit"):
            changes.append(misfit)
        return CardChanged(current, tuple(changes))

    def _as_large_as_it_is(self, connection: Connection, current: Broadcast) -> Broadcast:
        """It takes as many approvals as its size by now needs, which the vendor may have told since it was asked."""
        if current.size is None:
            return current
        need = self._need_at(current.purpose, current.audience, current.account, current.size)
        if need.quorum <= current.quorum:
            return current
        return broadcasts.touch(connection, current, self.clock(), quorum=need.quorum) or current

    def _expired(self, broadcast: Broadcast) -> bool:
        return broadcast.expires_at is not None and broadcast.expires_at <= self.clock()

    def _count_vote(self, connection: Connection, current: Broadcast, person: Person, votes: int) -> Broadcast | None:
        audit.write_audit(connection, current, person.id, "vote", current.state, self.clock())
        missing = current.quorum - votes
        said = Note(Translatable("{by} approved. Approvals still needed: {missing}.", **_by(person, missing=missing)))
        notes.say(connection, current, self.clock(), [said])
        return broadcasts.touch(connection, current, self.clock())

    def _schedule(self, connection: Connection, current: Broadcast, *, actor: str) -> Broadcast | None:
        """It is agreed to. What is approved later than its own time and the grace is held, and asks before it goes."""
        now = self.clock()
        due = max(current.send_at or 0, now + micros(self.approval.undo))
        start = current.send_at or due  # lateness counts from the time that was asked for
        late = due - start > micros(self.desk.settings.grace)
        changes: Changes = {
            "due": due,
            "start_at": start,
            "approved_at": now,
            "expires_at": None,
            "bound": current.most,
            "voice_at": before_start(due, now),
        }
        paused = keys.paused(connection, current.workspace)
        then = start_told(self.desk.policies, current, due, paused=paused, misfit=self.desk.misfit(current))
        said = [] if late else [_agreed(actor, then)]
        agreed = broadcasts.move(connection, current, Action.APPROVE, actor=actor, at=now, said=said, **changes)
        if agreed is not None and agreed.schedule is not None and agreed.covers > 1:
            cover = cover_of(agreed, [vote.approver for vote in votes_for(connection, agreed)])
            schedules.keep_cover(connection, agreed.workspace, agreed.schedule, cover)
        return self._hold_late(connection, agreed, actor) if late and agreed else agreed

    def _hold_late(self, connection: Connection, agreed: Broadcast, actor: str) -> Broadcast | None:
        template = (
            "{by} approved it, but its time, {start_at}, has passed, so it does not go by itself. "
            "Send it now, re-plan it, or drop it?"
        )
        said = [
            Note(
                Translatable(template, by=people.mentions([actor]), start_at=agreed.start_at or 0),
                mention=f"{agreed.requester} {actor}",
            )
        ]
        now = self.clock()
        changes: Changes = {"hold": Hold.LATE, "due": None, **asks(now, self.approval)}
        return broadcasts.move(
            connection, agreed, Action.HOLD, actor="clock", at=now, reason=Hold.LATE, said=said, **changes
        )

    def _withdraw(self, connection: Connection, seen: Broadcast, person: Person, way: str) -> Broadcast | None:
        current = broadcasts.find(connection, seen.workspace, seen.id, lock=True)
        votes = [(vote.approver, vote.way) for vote in votes_for(connection, current)]
        if current.version != seen.version or (person.id, way) not in votes:
            return None
        now, said = self.clock(), Note(Translatable("{by} took the approval back.", **_by(person)))
        uncovered = self._take_back_covered(connection, current, person, said)
        if (current.state, current.phase) not in RECALLABLE:
            return self._withdraw_late(connection, current, person, way, uncovered=uncovered)
        drop_vote(connection, current, person.id, way)
        # what is held and asks goes nowhere by itself, and whoever lets it go has to know what it asks
        goes_on = current.state is not State.PENDING and (
            current.state is not State.HELD or (current.approved_at is not None and current.hold_until is not None)
        )
        if not goes_on or len(votes_for(connection, current)) >= current.quorum:
            audit.write_audit(connection, current, person.id, Action.WITHDRAW, current.state, now)
            notes.say(connection, current, now, [said])
            return broadcasts.touch(connection, current, now)
        return self._back(connection, current, person, said)

    def _back(self, connection: Connection, current: Broadcast, person: Person, said: Note) -> Broadcast | None:
        """To the approvers, since too few agree any more."""
        now = self.clock()
        self._drop_outgrown(connection, current)
        changes: Changes = {**NOT_AGREED, **asks(now, self.approval)}
        return broadcasts.move(connection, current, Action.WITHDRAW, actor=person.id, at=now, said=[said], **changes)

    @staticmethod
    def _drop_outgrown(connection: Connection, agreed: Broadcast) -> None:
        """What goes back to the approvers larger than it was agreed to keeps no vote of those who agreed to it."""
        if agreed.bound is not None and (agreed.size or 0) > agreed.bound:
            drop_votes(connection, agreed)

    def _withdraw_late(
        self, connection: Connection, current: Broadcast, person: Person, way: str, *, uncovered: bool
    ) -> Broadcast | None:
        """What has left stays approved as it was. What is leaving just now does not go again, should it come back
        unsent. Raises TooLate where the vote was for nothing else."""
        now = self.clock()
        if current.state is State.SENDING:
            drop_vote(connection, current, person.id, way)
            template = "{by} took the approval back while it was going out. Should it not leave, it asks again."
        elif uncovered:
            template = (
                "{by} took the approval back. What has left stays as it is; each turn after it needs its own approval."
            )
        else:
            raise TooLate(current)
        audit.write_audit(connection, current, person.id, Action.WITHDRAW, current.state, now)
        notes.say(connection, current, now, [Note(Translatable(template, **_by(person)), mention=current.requester)])
        return broadcasts.touch(connection, current, now)

    def _uncover(self, connection: Connection, current: Broadcast) -> Schedule | None:
        """An approval that falls is worth nothing for the later turns of a recurring broadcast either.

        The schedule, locked, of what may have covered others.
        """
        if current.schedule is None or current.covers <= 1:
            return None
        try:
            schedule = schedules.find(connection, current.workspace, current.schedule, lock=True)
        except NotFound:  # a newer version looks after it
            return None
        if schedule.cover is not None and schedule.cover.of == current.id:
            schedules.keep_cover(connection, current.workspace, current.schedule, None)
        return schedule

    def _take_back_covered(self, connection: Connection, current: Broadcast, person: Person, said: Note) -> bool:
        """Turns that were made on this person's approval of an earlier one fall with it. True: it was for any."""
        schedule = self._uncover(connection, current)
        if schedule is None:
            return False
        fell = schedule.cover is not None and schedule.cover.of == current.id
        for turn in self._covered(connection, schedule, current):
            if not drop_vote(connection, turn, person.id, COVER):
                continue
            fell = True
            self._weigh_covered(connection, turn, person, said)
        schedules.drop_unread_votes(connection, schedule, current.occurrence or "", COVER, person.id)
        return fell

    def _weigh_covered(self, connection: Connection, turn: Broadcast, person: Person, said: Note) -> None:
        """A vote on it fell. One that is going out just now goes no second time."""
        recallable = turn.state is not State.PENDING and (turn.state, turn.phase) in RECALLABLE
        if recallable and len(votes_for(connection, turn)) < turn.quorum:
            self._back(connection, turn, person, said)
        else:
            notes.say(connection, turn, self.clock(), [said])
            broadcasts.touch(connection, turn, self.clock())

    @staticmethod
    def _covered(connection: Connection, schedule: Schedule, by: Broadcast) -> list[Broadcast]:
        """The turns after this one that have not left, up to the next that may cover others."""
        after = [
            row for row in schedules.living(connection, schedule) if (row.occurrence or "") > (by.occurrence or "")
        ]
        mine = itertools.takewhile(lambda row: row.covers <= 1, after)
        return [broadcasts.find(connection, row.workspace, row.id, lock=True) for row in mine]

    def _end(
        self, connection: Connection, seen: Broadcast, action: Action, person: Person, reason: str | None = None
    ) -> Broadcast | None:
        template, aloud = ENDINGS[action]
        told = Translatable(template, **_by(person))
        if reason:
            told = Translatable("{told} “{reason}”", told=told, reason=reason)
        mention = seen.requester if person.id != seen.requester else None
        said = [Note(told, mention=mention, aloud=aloud)]
        now = self.clock()
        ended = broadcasts.move(connection, seen, action, actor=person.id, at=now, reason=reason, said=said, due=None)
        if ended is not None:
            self._end_cover(connection, ended, person)
        return ended

    def _end_cover(self, connection: Connection, ended: Broadcast, person: Person) -> None:
        """Whoever stops what was approved for several turns may mean all of them: each asks again."""
        schedule = self._uncover(connection, ended)
        if schedule is None:
            return
        fell = schedule.cover is not None and schedule.cover.of == ended.id
        told = Translatable("{by} stopped {of}, and its approval was for this one too.", **_by(person), of=ended.id)
        for turn in self._covered(connection, schedule, ended):
            given = [vote for vote in votes_for(connection, turn) if vote.way == COVER]
            for vote in given:
                drop_vote(connection, turn, vote.approver, COVER)
            if given:
                self._weigh_covered(connection, turn, person, Note(told, mention=turn.requester))
            fell = fell or bool(given)
        schedules.drop_unread_votes(connection, schedule, ended.occurrence or "", COVER, None)
        if fell:
            said = Translatable("Its approval was for later turns too: each of them needs its own.")
            notes.say(connection, ended, self.clock(), [Note(said)])

    def _discard(
        self, connection: Connection, seen: Broadcast, action: Action, person: Person, reason: str | None = None
    ) -> Broadcast | None:
        """A draft has no card and no thread, and gets none for its end."""
        return broadcasts.move(
            connection, seen, action, actor=person.id, at=self.clock(), reason=reason, due=None, draw_at=None
        )

    # --- re-plan: an edit --------------------------------------------------------------------------------------------

    async def _need_again(self, broadcast: Broadcast, person: Person) -> requirements.Need:
        """What the broadcast needs once this person has changed it. Raises NotAccepted or CannotTell."""
        settings = self.desk.audience(broadcast.audience)
        if settings is None:
            raise NotAccepted(Complaint("send_at", self._unknown_audience(broadcast.audience)))
        people = frozenset({broadcast.requester, person.id})
        return await self._need(
            broadcast.workspace,
            broadcast.purpose,
            broadcast.typed,
            broadcast.audience,
            settings,
            people,
            broadcast.size,
        )

    async def _must_be_seen(self, broadcast: Broadcast, person: Person, need: requirements.Need) -> None:
        """Whoever edits may not approve, and may have been the last who could there. Raises NotAccepted, CannotTell."""
        quorum = max(need.quorum, broadcast.quorum)
        edited = dataclasses.replace(broadcast, editor=person.id, quorum=quorum, approvers=need.approvers)
        if (why := await self.why_stuck(edited)) is not None:
            raise NotAccepted(Complaint("send_at", why))

    def _replan(
        self,
        connection: Connection,
        seen: Broadcast,
        action: Action,
        person: Person,
        send_at: Micros,
        need: requirements.Need,
    ) -> Broadcast | None:
        current = broadcasts.find(connection, seen.workspace, seen.id, lock=True)
        if current.version != seen.version or (current.state, action) not in TRANSITIONS:
            return None
        template = "{by} re-planned it: it is to start {start_at}, and no longer {before_at}."
        if current.send_at is None:
            template = "{by} re-planned it: it is to start {start_at}, and no longer right after the approval."
        told = Translatable(template, **_by(person, start_at=send_at, before_at=current.send_at or 0))
        revised = self._revise(connection, current, action, person, need, told, send_at=send_at)
        return self._without_approval(connection, revised) if revised else None

    def _revise(
        self,
        connection: Connection,
        current: Broadcast,
        action: Action,
        person: Person,
        need: requirements.Need,
        told: Translatable,
        **changes: Any,
    ) -> Broadcast | None:
        """An edit makes a new version, with a digest and a card of its own.

        What people said to the version before is theirs to say again: votes are kept by version. Whoever edits may
        not approve. An edit never asks for fewer approvals than there were to be.
        """
        now = self.clock()
        changes |= {"version": current.version + 1, "editor": person.id, "approvers": need.approvers}
        changes |= {"quorum": max(need.quorum, current.quorum), "tries": 0, **NOT_AGREED, **asks(now, self.approval)}
        changes["digest"] = digest(dataclasses.replace(current, **changes))
        self._uncover(connection, current)
        mention = current.requester if person.id != current.requester else None
        said = [Note(told, mention=mention)]
        return broadcasts.move(connection, current, action, actor=person.id, at=now, said=said, **changes)

    # --- is it still agreed? -----------------------------------------------------------------------------------------

    async def _still_approvers(self, broadcast: Broadcast) -> frozenset[str]:
        """Of those who may approve it, all there are now. What waited for days may outlive who agreed to it.

        Who has left the workspace is none, however the settings name them. Raises CannotTell.
        """
        still = await requirements.people_in(self._as_of_today(broadcast).approvers, self.people.members)
        votes = await self.database.read(lambda c: votes_for(c, broadcast))
        voters = [vote.approver for vote in votes if vote.approver in still]
        return still - {id for id in voters if not await self._is_member(broadcast.workspace, id)}

    async def _is_member(self, workspace: str, id: str) -> bool:
        """Whom Slack knows no more is a member no more. Raises CannotTell."""
        try:
            person = await self.people.person(workspace, id)
        except people.Unknown:
            return False
        if person.doubtful:
            raise CannotTell(id)
        return person.member

    async def still_approved(self, claimed: Broadcast) -> bool:
        """Asked of everything that is about to go: is it agreed to still, by people who may still agree to it?

        False: it has gone back to the approvers; or Slack does not tell, and it waits for a minute.
        """
        if claimed.quorum == 0:
            return True
        votes = await self.database.read(lambda c: votes_for(c, claimed))
        if votes and self.clock() - min(vote.at for vote in votes) <= FRESH:
            return True
        try:
            still = await self._still_approvers(claimed)
        except CannotTell:
            await self.database.write(lambda c: self._wait_for_slack(c, claimed))
            return False
        return await self.database.write(lambda c: self._look_again(c, claimed, still))

    def _look_again(self, connection: Connection, claimed: Broadcast, still: frozenset[str]) -> bool:
        current = broadcasts.find(connection, claimed.workspace, claimed.id, lock=True)
        if (current.state, current.attempt, current.owner) != (claimed.state, claimed.attempt, claimed.owner):
            return False
        reason = self._weigh(connection, current, still)
        if reason is not None:
            self._lapse(connection, current, reason)
        return reason is None

    def _weigh(self, connection: Connection, current: Broadcast, still: frozenset[str]) -> Translatable | None:
        """Let the votes fall that do not hold any more; why it is not agreed to now, if it is not."""
        if self._waited_too_long(current):
            drop_votes(connection, current)
            hours = self.desk.hours(current).max_hold.total_seconds() / 3600
            template = "Since it was approved more than {hours} hours have passed, so it needs approval again."
            return Translatable(template, hours=f"{hours:g}")
        votes = votes_for(connection, current)
        fallen = [vote for vote in votes if vote.approver not in still and current.mode != "training"]
        for vote in fallen:
            drop_vote(connection, current, vote.approver, vote.way)
        if len(votes) - len(fallen) >= current.quorum:
            return None
        if not fallen:
            return Translatable("It is not approved, so it needs approval before it goes.")
        who = people.mentions(vote.approver for vote in fallen)
        return Translatable("{who} may not approve it any more, so it needs approval again.", who=who)

    def _waited_too_long(self, current: Broadcast) -> bool:
        """An approval is for its own time and for the wait that the policy allows after it."""
        since = max(current.send_at or 0, current.approved_at or 0)
        waited = self.clock() - since
        return current.quorum > 0 and since > 0 and waited > micros(self.desk.hours(current).max_hold)

    def _lapse(self, connection: Connection, current: Broadcast, reason: Translatable) -> Broadcast | None:
        """Back to the approvers."""
        now = self.clock()
        self._uncover(connection, current)
        self._drop_outgrown(connection, current)
        approvers = requirements.approvers_today(self.approval, current)
        said = [Note(reason, mention=" ".join([current.requester, *approvers]))]
        changes: Changes = {"approvers": approvers, **NOT_AGREED, **asks(now, self.approval)}
        return broadcasts.move(connection, current, Action.LAPSE, actor="policy", at=now, said=said, **changes)

    def _wait_for_slack(self, connection: Connection, claimed: Broadcast) -> None:
        """Nobody who cannot be asked has agreed. This is no try at the vendor, so it is not counted as one."""
        now = self.clock()
        again: Changes = {"due": now + ASK_SLACK_AGAIN, "tries": max(claimed.tries - 1, 0), **NO_LEASE}
        moved = broadcasts.move(connection, claimed, Action.PUT_BACK, actor="clock", at=now, reason="slack", **again)
        key = f"slack:{claimed.id}:{claimed.version}:{claimed.start_at}"
        if moved is not None and keys.first_time(connection, claimed.workspace, key, now):
            told = Translatable("Slack does not tell me who may still approve it, so it waits. Nothing was sent.")
            notes.say(connection, moved, now, [Note(told)])

    def _send_now(
        self,
        connection: Connection,
        seen: Broadcast,
        action: Action,
        person: Person,
        still: frozenset[str],
        *,
        on_card: Sight | None = None,
    ) -> Broadcast | CardChanged | None:
        """Let go what is held, as it was approved. Where that does not hold any more, it is asked again instead; where
        something would only hold it once more, that is said (NotAllowed), and nothing changes."""
        current = broadcasts.find(connection, seen.workspace, seen.id, lock=True)
        if (current.state, current.version) != (seen.state, seen.version):
            return None
        if on_card and (changed := self._changed_since_drawn(connection, current, on_card)):
            return changed
        now, start = self.clock(), self._start_if_let_go(current)
        if refusal := self.why_not_now(connection, current):
            raise NotAllowed(refusal.template, **refusal.values)
        reason = self._weigh(connection, current, still)
        template = "{by} wants it to go now." if reason else "{by} lets it go now. It starts {start_at}."
        said = Note(Translatable(template, **_by(person, start_at=start)))
        changes: Changes = {"due": start, "start_at": start, "tries": 0, "voice_at": before_start(start, now)}
        changes |= {"hold": None, "hold_until": None, "expires_at": None}
        moved = broadcasts.move(connection, current, action, actor=person.id, at=now, said=[said], **changes)
        return self._lapse(connection, moved, reason) if moved and reason else moved

    def _start_if_let_go(self, held: Broadcast) -> Micros:
        """Its own time was approved with it."""
        return max(self.clock() + micros(self.approval.undo), held.send_at or 0)

    def why_not_now(self, connection: Connection, held: Broadcast) -> Translatable | None:
        """Why *Send now* would only have it held once more, with when it may go."""
        start = self._start_if_let_go(held)
        gate = self.gates.closed(connection, dataclasses.replace(held, due=start, start_at=start), start)
        if gate is None:
            return None
        opens = self.desk.outlook(held, start).opens if gate.hold is Hold.HOURS else None
        if opens is not None:
            template = (
                "The hours for this audience do not allow it now; they do from {opens_at} on. Re-plan it for then."
            )
            return Translatable(template, opens_at=opens)
        return Translatable("It cannot go now: {why}", why=gate.sentence)

    def asks_first(self, held: Broadcast, votes: int) -> bool:
        """Would *Send now* ask the approvers, since it is not agreed to, or was too long ago?"""
        return votes < held.quorum or self._waited_too_long(held)

    def _settle_unknown(
        self, connection: Connection, seen: Broadcast, action: Action, person: Person
    ) -> Broadcast | None:
        now = self.clock()
        if action is Action.MARK_SENT:
            said = Note(Translatable("{by} says that it went out.", **_by(person)), aloud=True)
            provider = self.desk.providers.get(seen.account)
            told: dict[str, Value] = {**_by(person)}
            told |= {"vendor": provider.title if provider else seen.provider}
            ids = seen.ids or ((seen.staged.id,) if seen.staged else ())
            template = (
                "Sent, says {by}. {vendor} has not confirmed it." if ids else "Sent, says {by}. {vendor} gave no ids."
            )
            failure = Translatable(template, **told)
            changes: Changes = {"accepted_at": now, "look_at": now, "ids": ids, "failure": failure}
        else:
            template = (
                "{by} says that it did not go out. Nothing is sent again by itself; "
                "*Send a follow-up* on its card opens the form with its text."
            )
            said = Note(Translatable(template, **_by(person)), aloud=True)
            failure = Translatable("It did not go out, says {by}.", **_by(person))
            changes = {"failure": failure, "look_at": None}
        return broadcasts.move(connection, seen, action, actor=person.id, at=now, said=[said], **changes)

    # --- what the clock and the vendor tell --------------------------------------------------------------------------

    async def learn_size(self, workspace: str, id: str, size: int | None, **more: Any) -> None:
        """The vendor told how many people an audience holds: show it, and ask for what that size asks for. None: it
        told something else of it.

        `more`: how many of them are `unnamed`, what the whole was `quoted` at.
        """
        await self.database.write(lambda c: self._learn_size(c, workspace, id, size, more))
        self.wake(Task.PAINT)

    def _learn_size(
        self, connection: Connection, workspace: str, id: str, size: int | None, more: Mapping[str, Any]
    ) -> None:
        current = broadcasts.find(connection, workspace, id, lock=True)
        size = current.size if size is None else size
        if current.state is State.PENDING:
            self._learn_while_asking(connection, current, size, more)
        elif current.state is State.SCHEDULED:
            agreed = {"quoted": current.quoted} if current.quoted else {}  # what the release is compared with
            broadcasts.touch(connection, current, self.clock(), size=size, **{**more, **agreed})

    def _learn_while_asking(
        self, connection: Connection, current: Broadcast, size: int | None, more: Mapping[str, Any]
    ) -> None:
        """Who has approved it agreed to what was known then: to fewer people, and not to any other cost."""
        now, quorum = self.clock(), current.quorum if size is None else self._quorum_at(current, size)
        sized = broadcasts.touch(connection, current, now, size=size, quorum=quorum, **more)
        votes = votes_for(connection, current)
        if sized is None or not votes:
            return
        known, facts = self.desk.facts(current, now), self.desk.facts(sized, now)
        if not within(known, facts):
            self._ask_anew(connection, sized, votes, _changes(known, facts))
        elif len(votes) >= quorum:  # by the size that is known now they are enough
            self._schedule(connection, sized, actor=votes[-1].approver)

    def _ask_anew(
        self, connection: Connection, current: Broadcast, votes: Iterable[Vote], changes: Iterable[Translatable]
    ) -> None:
        """It waits for approval still, and nobody has agreed to what it is by now."""
        now = self.clock()
        drop_votes(connection, current)
        template = "{changes} That was not known when it was approved, so it needs approval again."
        told = Translatable(template, changes=in_a_row(changes))
        notes.say(connection, current, now, [Note(told, mention=" ".join(vote.approver for vote in votes))])
        audit.write_audit(connection, current, "policy", Action.LAPSE, current.state, now)
        broadcasts.touch(connection, current, now, **asks(now, self.approval))

    def _quorum_at(self, current: Broadcast, size: int) -> int:
        """How many approvals it needs, now that its size is known; one that asked for any asks for one at least.

        An edited one never asks for fewer than before.
        """
        need = self._need_at(current.purpose, current.audience, current.account, size)
        least = current.quorum if current.version > 1 else min(current.quorum, 1)
        return max(need.quorum, least)

    async def expire(self) -> None:
        """End the requests that nobody answered in time.

        A request waits for `expires_after` from when it was asked, and no longer or shorter for the time that it is
        planned for. Not longer: people decide while they remember, and what is approved may then wait for months. Not
        shorter: a yes that comes after its time is worth an answer, and does not send it late; it is held, and asks.
        What is held and asks has as long again. What changes hands anew (a vote taken back, an edit, an approver who
        has left) is asked anew.
        """
        forgotten = self.clock() - SEEN_KEPT
        if not await self.database.read(lambda c: queue.lapsed_waits(c, self.clock(), forgotten)):
            return
        if await self.database.write(self._expire):
            self.wake(Task.PAINT, Task.DISPATCH)

    def _expire(self, connection: Connection) -> int:
        keys.forget_seen(connection, self.clock() - SEEN_KEPT)
        lapsed = queue.lapsed(connection, self.clock())
        for row in lapsed:
            with alone(connection, "expire", row.id, row.workspace):
                number = len(votes_for(connection, row))
                template = "Nobody approved it in time, so it will not be sent."
                if row.state is State.HELD:
                    template = "Nobody decided in time, so it will not be sent."
                elif number > 0:
                    template = "Too few approved it in time ({number} of {quorum}), so it will not be sent."
                said = Note(Translatable(template, number=number, quorum=row.quorum), row.requester, aloud=True)
                broadcasts.move(connection, row, Action.EXPIRE, actor="clock", at=self.clock(), said=[said])
        return len(lapsed)

    async def _audit_refusal(
        self, person: Person, action: str, reason: str, broadcast: Broadcast | None = None
    ) -> None:
        def write(connection: Connection) -> None:
            if broadcast is None:
                audit.write_event(connection, person.workspace, person.id, f"{action}_refused", reason, self.clock())
            else:
                name = f"{action}_refused"
                audit.write_audit(connection, broadcast, person.id, name, broadcast.state, self.clock(), reason)

        await self.database.write(write)


#: Where nothing has left yet, so that an approval can be taken back.
COVER = "cover"  # the way of a vote that was given on an earlier turn
RECALLABLE = {
    (State.PENDING, None),
    (State.SCHEDULED, None),
    (State.HELD, None),
    (State.SENDING, Phase.STAGING),
}

UNCHANGED_BY_SUBMIT = frozenset(
    {"workspace", "id", "version", "state", "revision", "created_at", "changed_at", "key", "attempt", "owner"}
)

#: What a broadcast loses when it goes back to the approvers, beside their votes.
ENDINGS: dict[Action, tuple[str, bool]] = {
    Action.REJECT: ("{by} rejected it.", False),
    Action.CANCEL: ("{by} cancelled it. Nothing was sent.", False),
    Action.STOP: ("{by} stopped it in time. Nothing was sent.", False),
    Action.DROP: ("{by} dropped it. Nothing was sent.", False),
}

ACTS: dict[Action, tuple[Callable[..., Any], Callable[..., Broadcast | CardChanged | None]]] = {
    Action.APPROVE: (Workflow._may_approve, Workflow._approve),
    Action.REJECT: (Workflow._may_reject, Workflow._end),
    Action.CANCEL: (Workflow._may_stop, Workflow._end),
    Action.STOP: (Workflow._may_stop, Workflow._end),
    Action.DROP: (Workflow._may_stop, Workflow._end),
    Action.DISCARD: (Workflow._may_stop, Workflow._discard),
    Action.SEND_NOW: (Workflow._may_stop, Workflow._send_now),
    Action.REPLAN: (Workflow._may_stop, Workflow._replan),
    Action.MARK_SENT: (Workflow._may_stop, Workflow._settle_unknown),
    Action.MARK_NOT_SENT: (Workflow._may_deny, Workflow._settle_unknown),
}


def _asked_key(words: BroadcastRequest | Broadcast, *place: str) -> str:
    """Under which it is remembered that a question about these words was asked there: on a draft, or in a form."""
    typed = words.typed if isinstance(words, Broadcast) else words.text
    about = json.dumps([*place, words.audience, words.purpose, sms.composed(typed)])
    return f"asked:{hashlib.sha256(about.encode()).hexdigest()}"


def _too_few(quorum: int, approvers: Iterable[str], others: int) -> Translatable:
    template = (
        "This needs {quorum} approvals from {who}, and without you there are only {others} people who can give "
        "one. Ask an admin to name more approvers."
    )
    return Translatable(template, quorum=quorum, who=people.mentions(approvers), others=others)


def _agreed(actor: str, then: Translatable) -> Note:
    told = Translatable("No approval is needed.")
    if actor != "policy":
        told = Translatable("Approved by {by}.", by=people.mentions([actor]))
    return Note(Translatable("{told} {then}", told=told, then=then))


def _shows(card: Card, current: Broadcast, facts: Mapping[str, Any]) -> bool:
    """Does it show what is so? One that tells no facts, of a version before, must show the row as it is."""
    return card.drawn == current.revision if card.facts is None else within(card.facts, facts)


def within(shown: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """Is what is so now no more than what was shown? Fewer people than were named, or than it could be at most, and
    fewer approvals, are what somebody agreed to who agreed to more."""
    if any(shown.get(name) != facts[name] for name in ("cost", "opens_at", "mode", "misfit")):
        return False
    most = shown.get("size") if shown.get("size") is not None else shown.get("bound")
    size = facts["size"] if facts["size"] is not None else facts["bound"]
    people = most is None or (size is not None and size <= most)
    if (facts["unnamed"] or 0) > (shown.get("unnamed") or 0):  # an older card tells of nobody
        return False
    return people and facts["quorum"] <= shown.get("quorum", 0)


CHANGED: Mapping[str, str] = {
    "size": "It goes to {size} people now.",
    "bound": "It goes to at most {bound} people now; the vendor does not say to how many.",
    "unnamed": "People without a name to fill in: {unnamed}.",
    "cost": "It costs {cost} now.",
    "opens_at": "The hours for this audience allow it from {opens_at} on.",
    "quorum": "Approvals needed now: {quorum}.",
}
HOURS_OPEN = "The hours for this audience allow it now."


def _changes(shown: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[Translatable]:
    """What is different by now, as people read it."""
    before, known = _readable(shown), _readable(facts)
    for name, template in CHANGED.items():
        if before.get(name) == known[name]:
            continue
        if known[name] is not None:
            yield Translatable(template, **{name: known[name]})
        elif name == "opens_at":
            yield Translatable(HOURS_OPEN)
        elif name == "cost":
            yield Translatable("The vendor no longer says what it costs.")
        elif known["size"] is known["bound"] is None:
            yield Translatable("The vendor no longer says how many people it goes to.")


def _readable(facts: Mapping[str, Any]) -> dict[str, Any]:
    """A number of people that the vendor told, and that nobody can read, is one that it does not tell."""
    return {name: None if value == UNREADABLE else value for name, value in facts.items()}


def _by(person: Person, **more: Micros) -> dict[str, Value]:
    return {"by": people.mentions([person.id]), **more}
