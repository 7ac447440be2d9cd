"""What is asked about a valid request before it becomes a broadcast: possible slips, and possible duplicates."""

from __future__ import annotations

import hashlib
import json

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain import sms
from bot.domain.broadcast import Broadcast, BroadcastRequest
from bot.domain.clock import SECOND, micros, moment
from bot.domain.errors import FieldError, InvalidRequest
from bot.domain.i18n import Translatable, Value
from bot.domain.people import mentions
from bot.domain.similarity import nearly_same, numbers_in
from bot.storage import broadcasts, keys, sql
from bot.storage.broadcasts import Compared
from bot.workflow import checks
from bot.workflow.audiences import Audiences
from bot.workflow.decision_types import Sent

TWIN_WINDOW = 60 * SECOND  # the same request again within this time is a repeated command, not a second broadcast


class Questioned(InvalidRequest):
    """A possible slip, so nothing is stored. Submitting the same form again with the same words confirms it."""

    def __init__(self, *questions: FieldError) -> None:
        template = "{question} Submit again to send it as it is."
        asked = (FieldError(one.field, Translatable(template, question=one.sentence)) for one in questions)
        super().__init__(*asked)


class Questions:
    """Asks about what may be a slip. Whoever has read the question and submits the same again confirms it."""

    def __init__(self, runtime: Runtime, audiences: Audiences) -> None:
        self.database, self.clock, self.audiences = runtime.database, runtime.clock, audiences
        self.within = runtime.settings.approval.duplicates_within

    async def ask(
        self, request: BroadcastRequest, sent: Sent | None, draft: str | None, duplicate: Broadcast | None
    ) -> tuple[FieldError, ...]:
        """What is still to be asked about a request. Raises Questioned where the form can ask.

        `duplicate`: what `find_duplicate` has found.
        """
        questions = self.about(request)
        about = ""
        if duplicate is not None and (sent is None or sent.also != duplicate.id):
            questions, about = (*questions, _about_duplicate(duplicate)), duplicate.id
        if questions and (sent or draft):
            questions = await self.database.write(lambda c: self._ask(c, request, questions, sent, draft, about))
        if questions and sent:
            raise Questioned(*questions)
        return questions

    async def find_duplicate(self, planned: Broadcast, draft: str | None = None) -> Broadcast | None:
        """The broadcast that this may be a second one of, if nearly the same is under way or has gone out."""
        return await self.database.read(lambda c: self.duplicate_of(c, planned, draft))

    def duplicate_of(self, connection: Connection, row: Broadcast, draft: str | None = None) -> Broadcast | None:
        """The broadcast whose duplicate this may be. Not its own draft, nor a command that was typed twice.

        A test and an occurrence of a recurring broadcast are no duplicates of anything, nor is a follow-up, but of
        another one to the same broadcast.
        """
        if not self._may_be_one(row):
            return None
        written_at = (row.ruled_at or row.created_at) if row.version > 1 else row.created_at
        for other in broadcasts.maybe_duplicated(connection, row, written_at - micros(self.within)):
            earlier = other.id != draft and other.created_at <= written_at and _may_be_first(other, row)
            if earlier and nearly_same(other.typed, row.typed):
                return broadcasts.find(connection, row.workspace, other.id)
        return None

    def meanwhile(
        self, connection: Connection, planned: Broadcast, sent: Sent | None, draft: str | None, known: str
    ) -> Compared | None:
        """Look once more, in the transaction that stores it, for what was stored since `find_duplicate` looked.

        `known`: what that found. Also returns nothing that this form or draft has asked about before.
        """
        if not self._may_be_one(planned):
            return None
        recipients = (planned.workspace, planned.account, planned.target, *numbers_in(planned.typed))
        sql.alone(connection, f"recipients:{'/'.join(recipients)}")  # else of two at once, neither would find the other
        for other in broadcasts.lately_to_same_recipients(connection, planned, planned.created_at - TWIN_WINDOW):
            new = other.id not in (draft, known) and _may_be_first(other, planned)
            if new and nearly_same(other.typed, planned.typed):
                places = _places(planned, sent, draft, other.id)
                if not any(keys.was_seen(connection, planned.workspace, key) for key in places):
                    return other
        return None

    def about_other(
        self, connection: Connection, planned: Broadcast, other: Compared, sent: Sent | None
    ) -> tuple[FieldError, ...]:
        """The question about what `meanwhile` found; the next submit of the same form answers it."""
        this = [_asked_key(planned, "form", sent.form, sent.trigger)] if sent and sent.trigger else []
        for key in (*_places(planned, sent, None, other.id), *this):
            keys.first_time(connection, planned.workspace, key, self.clock())
        return (_about_duplicate(other),)

    def _may_be_one(self, row: Broadcast) -> bool:
        return bool(self.within) and not (row.test_of or row.schedule)

    def about(self, request: BroadcastRequest) -> tuple[FieldError, ...]:
        """What to ask about possible slips before a valid request becomes a broadcast."""
        terms = self.audiences.terms(request.audience, request.purpose)
        return checks.questions(request.text, terms, zone=request.zone, now=moment(self.clock()))

    def remember(self, connection: Connection, kept: Broadcast, planned: Broadcast, about: str) -> None:
        """Note that the draft shows its questions, so that submitting it as it is answers them.

        `about`: the broadcast whose duplicate it may be, if that is one of them.
        """
        for key in _places(planned, None, kept.id, about):
            keys.first_time(connection, kept.workspace, key, planned.created_at)

    def _ask(
        self,
        connection: Connection,
        request: BroadcastRequest,
        questions: tuple[FieldError, ...],
        sent: Sent | None,
        draft: str | None,
        about: str,
    ) -> tuple[FieldError, ...]:
        """What is still to be asked: nothing if the person has read it, on the draft or in an earlier submit."""
        workspace, form = request.workspace, _places(request, sent, None, about)
        sql.alone(connection, f"asks:{workspace}/{request.requester}")  # else one of two at once confirms the other
        this = [_asked_key(request, "form", sent.form, sent.trigger)] if sent and sent.trigger else []
        if any(keys.was_seen(connection, workspace, key) for key in this):
            return questions  # Slack delivered the same submit again: nobody has read anything in between
        if any(keys.was_seen(connection, workspace, key) for key in _places(request, sent, draft, about)):
            return ()
        for key in (*form, *this):
            keys.first_time(connection, workspace, key, self.clock())
        return questions


def _may_be_first(other: Broadcast | Compared, row: Broadcast) -> bool:
    """Whether a broadcast may be the first of two. A follow-up is a second one only of another follow-up."""
    return not _is_typed_twice(other, row) and (row.follows is None or other.follows == row.follows)


def _is_typed_twice(other: Broadcast | Compared, row: Broadcast) -> bool:
    same = (other.requester, other.digest) == (row.requester, row.digest)
    return same and other.created_at >= row.created_at - TWIN_WINDOW


def _about_duplicate(found: Broadcast | Compared) -> FieldError:
    template = (
        "This is nearly the same text to the same people as *{id}*, which {by} asked for {asked_at}. Send it as well?"
    )
    values: dict[str, Value] = {"id": found.id, "by": mentions([found.requester]), "asked_at": found.created_at}
    return FieldError("also", Translatable(template, **values))


def _places(words: BroadcastRequest | Broadcast, sent: Sent | None, draft: str | None, about: str) -> list[str]:
    """The keys that record that the form and the draft have asked about these words, and about that duplicate."""
    form = [_asked_key(words, "form", sent.form, "", about)] if sent else []
    return [*form, *([_asked_key(words, "draft", draft, "", about)] if draft else [])]


def _asked_key(words: BroadcastRequest | Broadcast, *place: str) -> str:
    """The key that records that a question about these words was asked in this place: a draft or a form."""
    typed = words.typed if isinstance(words, Broadcast) else words.text
    about = json.dumps([*place, words.audience, words.purpose, sms.composed(typed)])
    return keys.of_question(hashlib.sha256(about.encode()).hexdigest())
