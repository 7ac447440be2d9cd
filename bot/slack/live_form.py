"""The form while somebody fills it in: what the text would become, and audiences by their first letters."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import structlog
from aiolimiter import AsyncLimiter
from cachetools import TTLCache
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from sqlalchemy import Connection

from bot.domain import suggestions
from bot.domain.broadcast import Broadcast
from bot.domain.clock import Clock, moment
from bot.domain.errors import InvalidRequest, NotAMember, NotFound
from bot.domain.i18n import Translator, translator_for
from bot.domain.people import DeadToken, DirectoryUnavailable, Person
from bot.slack.blocks import form_values, forms, template_forms
from bot.slack.blocks.card_facts import CardContext, length, warnings
from bot.slack.blocks.card_stakes import stakes
from bot.slack.blocks.mrkdwn import Block, Post, contexts, literal, plain, quote, section, sentence
from bot.slack.client import UNREACHABLE, error_code
from bot.slack.interaction import Body, Entrance, Interaction, Refused, workspace_of
from bot.slack.payload import id_in
from bot.slack.replies import explain, offered, place_for, submitted_post
from bot.slack.template_choice import TemplateChoice, what_was_filled_in
from bot.slack.template_forms import TemplateForms
from bot.storage import broadcasts, keys
from bot.storage.database import CommitUncertain, DatabaseBusy
from bot.storage.votes import Vote
from bot.workflow import checks
from bot.workflow.decision_types import Sent
from bot.workflow.recipients import recipients_of
from bot.workflow.template_cover import Filled
from bot.workflow.workflow import Workflow
from providers.base import AudienceKind

log = structlog.get_logger(__name__)

COMPOSE, PLAIN, UNACCENTED = "broadcast_compose", "broadcast.plain", "broadcast.unaccented"
SOON = 0.5  # seconds for the facts of a form that opens, of the three in which it must
NAMED = 8  # characters that a button names
PAUSE = 0.7  # seconds between two drawings of one form: what is typed meanwhile is gathered
UPDATES_A_MINUTE = 60  # of all forms; Slack allows about a hundred
OPEN_FORMS, OPEN_FOR = 1_000, 3_600.0

#: The presses after which the bot writes the text.
REPLACING = (PLAIN, UNACCENTED, forms.CLEAR, template_forms.FREELY)

#: What *Send a test* makes of what the form says: a test goes at once, whatever start and canary are chosen.
NOW_TO_FEW = {"test": True, "send_at": None, "canary": None}

ShowingOf = Callable[[Broadcast, list[Vote]], Awaitable[CardContext]]


class LiveForm:
    """Draws a form again while it is filled in. The form works without: only the submit decides."""

    def __init__(self, workflow: Workflow, clock: Clock, entrance: Entrance, showing_of: ShowingOf) -> None:
        self.workflow, self.audiences, self.clock = workflow, workflow.audiences, clock
        self.entrance, self.showing_of = entrance, showing_of
        self.templates = TemplateForms(workflow)
        self.choice = TemplateChoice(self.templates)
        self.updates = AsyncLimiter(UPDATES_A_MINUTE, 60)
        self._latest: dict[str, tuple[Body, str, AsyncWebClient]] = {}  # still to be drawn
        self._last = TTLCache[str, Body](OPEN_FORMS, OPEN_FOR)  # what a form said when something was last done in it
        self._refills = TTLCache[str, int](OPEN_FORMS, OPEN_FOR)
        self._drawing: dict[str, asyncio.Task[None]] = {}
        self._done = TTLCache[str, bool](OPEN_FORMS, OPEN_FOR)
        self._hashes = TTLCache[str, str](OPEN_FORMS, OPEN_FOR)
        self._forgetting = set[asyncio.Task[None]]()
        self._testing = set[asyncio.Task[None]]()
        self._told = TTLCache[str, tuple[form_values.Composed, list[str]]](
            OPEN_FORMS, OPEN_FOR
        )  # of a test: what it said, what became of it

    def is_about(self, body: Body) -> bool:
        """Whether something was done in this form."""
        view = body.get("view")
        return isinstance(view, Mapping) and view.get("callback_id") == COMPOSE

    async def acted(self, ack: AsyncAck, body: Body, action: Mapping[str, Any], client: AsyncWebClient) -> None:
        """Take note of a change, and draw the form anew a moment later."""
        await ack()
        id, name = id_in(body["view"].get("id")), str(action.get("action_id"))
        if id is None or workspace_of(body) != self.entrance.ours() or id in self._done:
            return
        self._last[id] = body
        if (before := self._latest.get(id, (body, "", client))[1]) in REPLACING:
            name = before  # a press is not lost if something else is changed right after it
        if name == forms.TEST:
            task = asyncio.create_task(self._test(id, body, client), name="send a test")
            self._testing.add(task)
            task.add_done_callback(self._testing.discard)
            return
        self._draw_soon(id, body, name, client)

    def _draw_soon(self, id: str, body: Body, name: str, client: AsyncWebClient) -> None:
        self._latest[id] = (body, name, client)
        if id not in self._drawing:
            self._drawing[id] = asyncio.create_task(self._follow(id), name="draw a form")

    async def _test(self, id: str, body: Body, client: AsyncWebClient) -> None:
        """Send what the form says to the test audience, and show in the form what became of it."""
        composed = form_values.read_compose(body["view"])

        async def submit(done: Interaction) -> Post:
            place = await place_for(self.audiences, self.entrance.people, composed.channel)
            filled = await self.templates.checked(composed, done.workspace)
            said = replace(composed, text=filled.text) if filled else composed
            submitted = await self.workflow.submit(
                said.request(done.person).model_copy(update=NOW_TO_FEW),
                key=f"test:{done.trigger}",
                person=done.person,
                postable=place.postable,
                sent=Sent(f"{id}:test", done.trigger),
            )
            return submitted_post(submitted, place, done.person, None, done.words)

        try:
            lines = [(await self.entrance.enter(body, client, submit)).text]
        except Refused as refused:
            lines = [f"⛔ {line}" for line in refused.lines]
        self._told[id] = (composed, lines)
        self._draw_soon(id, *self._latest.get(id, (self._last.get(id, body), "", client)))  # perhaps changed since

    def done(self, id: str, person: Person, about: str) -> None:
        """Forget what was typed in this form: it has become a broadcast. `about`: what it changed or followed."""
        self._done[id] = True
        self._latest.pop(id, None)
        self._last.pop(id, None)
        task = asyncio.create_task(self._forget(person, about), name="forget a form")
        self._forgetting.add(task)
        task.add_done_callback(self._forgetting.discard)

    async def _forget(self, person: Person, about: str) -> None:
        with suppress(DatabaseBusy, CommitUncertain):
            await self.workflow.database.write(lambda c: keys.forget_form(c, person.workspace, person.id, about))

    async def _follow(self, id: str) -> None:
        """Draw the latest state, at most so often, until nothing changes any more."""
        try:
            while (latest := self._latest.pop(id, None)) is not None:
                await self._try(id, *latest)
                await asyncio.sleep(PAUSE)
        finally:
            del self._drawing[id]

    async def _try(self, id: str, body: Body, name: str, client: AsyncWebClient) -> None:
        try:
            await self._draw(id, body, name, client)
        except (*UNREACHABLE, DirectoryUnavailable, DeadToken, DatabaseBusy, InvalidRequest, NotAMember) as error:
            log.info("a form could not be drawn anew", error=type(error).__name__)
        except Exception:
            log.exception("drawing a form broke")

    async def _draw(self, id: str, body: Body, name: str, client: AsyncWebClient) -> None:
        person = await self.entrance.member(body)
        words, composed = translator_for(person.locale), form_values.read_compose(body["view"])
        if composed.refills != self._refills.get(id, composed.refills):
            return  # what was typed before the bot replaced the text
        typed, composed = composed, await self.choice.taken_up(composed, person.workspace)
        try:
            filled = await self.templates.filled(composed, person.workspace)
        except InvalidRequest:  # only the choice of another one, or a new start, leads out of this
            if name not in (forms.CLEAR, template_forms.FREELY):
                await self._say_that_it_is_gone(id, body, composed, words, client)
                return
            composed, filled = replace(composed, text=what_was_filled_in(composed)), None
        if filled is not None:
            composed = replace(composed, text=filled.text, template=(filled.template.name, filled.template.digest))
        anew = name == forms.CLEAR
        if anew and (row := await self._row_of(composed, person)) is not None:
            composed = _as_it_was(composed, self.workflow.audiences.as_typed(row))
        else:
            composed = _as_pressed(composed, name, body)
        if id in self._done:  # submitted in the meantime
            return
        await self._keep(id, composed, person, anew=anew)
        form = forms.Form(
            offered(self.audiences, words),
            composed.channel,
            composed.draft,
            composed.values,
            composed.follows,
            composed.edits,
            [*await self._facts(composed, filled, person, words), *self._of_test(id, typed)],
            composed.refills,
            test=composed.test,
            origin=composed.origin,
            version=composed.version,
            kept_at=composed.outdated,
            outdated=composed.outdated is not None,
            template=composed.template,
            wording=self.templates.wording(filled, composed, person, words) if filled and composed.template else (),
            choice=composed.choice,
            again=composed.again,
        )
        await self.updates.acquire()
        await self._update(id, str(body["view"].get("hash") or ""), forms.compose(form, words), client)
        self._refills[id] = composed.refills

    async def _say_that_it_is_gone(
        self, id: str, body: Body, composed: form_values.Composed, words: Translator, client: AsyncWebClient
    ) -> None:
        """Say under the field that its template was deleted, and leave everything else as it stands."""
        form = forms.Form(
            offered(self.audiences, words),
            composed.channel,
            composed.draft,
            composed.values,
            refills=composed.refills,
            origin=composed.origin,
            version=composed.version,
            template=composed.template,
            wording=template_forms.wording_in(body["view"]),
            choice=self.choice.gone(composed),
            again=composed.again,
        )
        await self.updates.acquire()
        await self._update(id, str(body["view"].get("hash") or ""), forms.compose(form, words), client)

    async def _facts(
        self, composed: form_values.Composed, filled: Filled | None, person: Person, words: Translator
    ) -> list[Block]:
        """The facts; of a template, once every slot is filled in, or what is wrong with those that are."""
        if composed.template is None or filled is None or not filled.complaints:
            return await self.facts(composed, person, words, filled if composed.template is not None else None)
        blank = {slot.block for slot in filled.slots if not filled.values[slot.name]}
        wrong = [one.sentence for one in filled.complaints if one.field not in blank]
        return [section("\n".join(f"⛔ {sentence(words, one)}" for one in wrong))] if wrong else []

    def _of_test(self, id: str, composed: form_values.Composed) -> list[Block]:
        """What became of the test of this text, until another one is typed."""
        tested, lines = self._told.get(id, (composed, []))
        same = (tested.text, tested.slots) == (composed.text, composed.slots)
        return [section("\n".join(lines), "tested")] if lines and same else []

    async def _keep(self, form: str, composed: form_values.Composed, person: Person, *, anew: bool) -> None:
        """Keep what the form says so far: it may expire, and this process may stop. `anew`: nothing is typed yet."""
        workspace, id, values, about = person.workspace, person.id, composed.values, composed.about

        def write(connection: Connection) -> None:
            submitted = broadcasts.find_by_key(connection, workspace, f"view:{form}")  # perhaps through another process
            if composed.text.strip() and submitted is None and not anew:
                keys.keep_form(connection, workspace, id, values, self.clock(), about)
            else:
                keys.forget_form(connection, workspace, id, about)

        with suppress(DatabaseBusy, CommitUncertain):
            await self.workflow.database.write(write)

    async def _update(self, id: str, hash: str, view: dict[str, Any], client: AsyncWebClient) -> None:
        """Show the form. If all that came in between is our own last drawing, the newer one still wins."""
        try:
            shown = await client.views_update(view_id=id, view=view, hash=hash)
        except SlackApiError as error:
            if error_code(error) != "hash_conflict" or id not in self._hashes:
                raise
            shown = await client.views_update(view_id=id, view=view, hash=self._hashes[id])
        self._hashes[id] = str((shown.get("view") or {}).get("hash") or "")

    async def with_facts(self, form: forms.Form, person: Person, words: Translator) -> forms.Form:
        """Return a form that is filled in already with its facts. It opens without them if they are not there soon."""
        if form.template:
            return form
        try:
            async with asyncio.timeout(SOON):
                facts = await self.facts(forms.as_composed(form), person, words)
                return replace(form, facts=[*form.facts, *facts])
        except (TimeoutError, DatabaseBusy):
            return form

    async def facts(
        self, composed: form_values.Composed, person: Person, words: Translator, filled: Filled | None = None
    ) -> list[Block]:
        """Return what the broadcast would be, as its card will show it; nothing before there is a text to show.

        `filled`: the template that it fills in, whose approval may cover it.
        """
        if self.audiences.audience(composed.audience) is None or not composed.text.strip():
            return []
        request = composed.request(person)
        before = await self._row_of(composed, person) if composed.edits or composed.draft else None
        try:
            preview = self.workflow.previews.preview
            planned, complaints = await preview(request, person, before, composed.follows)
        except InvalidRequest as error:  # there is nobody to send a test to
            return [section("\n".join(f"⛔ {line}" for line in explain(error, words)))]
        with suppress(DirectoryUnavailable):  # then it says that it needs approval
            if filled is not None and await self.workflow.template_use.voters(filled, planned):
                planned = replace(planned, quorum=0)
        showing = await self.showing_of(planned, [])
        terms = self.audiences.terms(request.audience, request.purpose)
        asked = checks.questions(request.text, terms, zone=person.zone, now=moment(self.clock()))
        wrong = [f"⛔ {sentence(words, one.sentence, person.zone)}" for one in (*complaints, *asked)]
        return [
            section(f"*{quote(stakes(planned, showing, words))}*"),
            *literal(suggestions.visible(planned.text)),
            *contexts(length(planned, words), *warnings(planned, showing, words)),
            *([section("\n".join(wrong))] if wrong else []),
            *_tick(showing.duplicate, composed, words),
            *_row_of(_plainer(composed, planned, words), self._tester(composed, words)),
        ]

    async def _row_of(self, composed: form_values.Composed, person: Person) -> Broadcast | None:
        """The broadcast that the form edits, completes or follows."""
        id = composed.edits[0] if composed.edits is not None else composed.draft or composed.follows
        with suppress(NotFound):
            return await self.workflow.find(person.workspace, id) if id is not None else None
        return None

    def _tester(self, composed: form_values.Composed, words: Translator) -> Iterator[Block]:
        """The button that sends it to the test audience, if its account has one."""
        with suppress(InvalidRequest):
            name = recipients_of(self.audiences, composed.audience, test=True).name
            if not composed.test:
                label = words("Send a test to {audience}", audience=name)
                yield {"type": "button", "action_id": forms.TEST, "text": plain(label[:75]), "value": "test"}


def _plainer(composed: form_values.Composed, planned: Broadcast, words: Translator) -> Iterator[Block]:
    """The buttons that put other characters in place of those that force Unicode, where that saves an SMS."""
    if composed.template is not None or planned.kind is AudienceKind.GROUP:
        return
    if better := suggestions.suggest(planned.text):
        label = words("Use plain characters ({after} SMS, not {before})", after=better.after, before=better.before)
        yield {"type": "button", "action_id": PLAIN, "text": plain(label[:75]), "value": "plain"}
    if bare := suggestions.suggest_unaccented(planned.text):
        lost = " ".join(bare.changes[:NAMED])
        values: dict[str, str | int] = {"characters": lost, "after": bare.after, "before": bare.before}
        label = words("Drop accents: {characters} ({after} SMS, not {before})", **values)
        yield {"type": "button", "action_id": UNACCENTED, "text": plain(label[:75]), "value": "unaccented"}


def _tick(duplicate: Broadcast | None, composed: form_values.Composed, words: Translator) -> list[Block]:
    """The box to tick for what may be a duplicate."""
    if duplicate is None:
        return []
    box = forms.option(duplicate.id, words("Send it as well"))
    boxes: dict[str, Any] = {"type": "checkboxes", "options": [box]}
    if composed.also == duplicate.id:
        boxes["initial_options"] = [box]
    label = words("Nearly the same as {id}", id=duplicate.id)
    return [forms.input_block(f"also:{duplicate.id}", label, boxes, optional=True)]


def _as_it_was(composed: form_values.Composed, row: Broadcast) -> form_values.Composed:
    """What the form said before anything was typed in it. Every input is new, else Slack would show what was typed."""
    values = forms.filled(row, send_at=row.send_at if composed.edits or composed.draft else None)
    filled = forms.as_composed(forms.Form(forms.Offered(()), composed.channel, values=values))
    refills, choice = composed.refills + 1, form_values.Choice() if composed.choice is not None else None
    named = {name: getattr(filled, name) for name in values}
    again = {**composed.again, **dict.fromkeys((*(name for name in values if name != "text"), "template"), refills)}
    composed = replace(composed, version=row.version if composed.version else 0, outdated=None)
    return replace(composed, **named, refills=refills, again=again, template=None, choice=choice)


def _as_pressed(composed: form_values.Composed, name: str, body: Body) -> form_values.Composed:
    """What the form says after a press. A text that the bot has replaced needs inputs of another name."""
    if name == PLAIN:
        composed = replace(composed, text=suggestions.plain(composed.text))
    elif name == UNACCENTED:
        composed = replace(composed, text=suggestions.unaccented(composed.text))
    elif name == forms.CLEAR:
        composed = replace(composed, text="", template=None)
    elif name == template_forms.FREELY:
        composed = replace(composed, template=None)
    if name in (forms.CLEAR, template_forms.FREELY) and composed.choice is not None:  # it can be chosen once more
        again = {**composed.again, "template": composed.refills + 1}
        composed = replace(composed, choice=form_values.Choice(), again=again)
    fits = composed.template is not None or forms.fits_its_inputs(body["view"], composed.text)
    return composed if fits and name not in REPLACING else replace(composed, refills=composed.refills + 1)


def _row_of(*buttons: Iterable[Block]) -> list[Block]:
    elements = [button for some in buttons for button in some]
    return [{"type": "actions", "block_id": "plain", "elements": elements}] if elements else []
