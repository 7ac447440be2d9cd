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
from bot.domain.similarity import nearly_same
from bot.storage import broadcasts, keys, sql
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
        self,
        request: BroadcastRequest,
        sent: Sent | None,
        draft: str | None = None,
        planned: Broadcast | None = None,
    ) -> tuple[FieldError, ...]:
        """What is still to be asked about a request. Raises Questioned where the form can ask.

        `planned`: what it becomes, to look whether that is a duplicate.
        """
        questions = self.about(request)
        if planned is not None:
            questions = (*questions, *await self._duplicates(planned, draft))
        if questions and (sent or draft):
            questions = await self.database.write(lambda c: self._ask(c, request, questions, sent, draft))
        if questions and sent:
            raise Questioned(*questions)
        return questions

    async def _duplicates(self, planned: Broadcast, draft: str | None) -> tuple[FieldError, ...]:
        """The question whether this is a second one, if nearly the same is under way or has gone out."""
        found = await self.database.read(lambda c: self.duplicate_of(c, planned, draft))
        if found is None:
            return ()
        template = (
            "This is nearly the same text to the same people as *{id}*, which {by} asked for {asked_at}. Send it as "
            "well?"
        )
        values: dict[str, Value] = {"id": found.id, "by": mentions([found.requester]), "asked_at": found.created_at}
        return (FieldError("text", Translatable(template, **values)),)

    def duplicate_of(self, connection: Connection, row: Broadcast, draft: str | None = None) -> Broadcast | None:
        """The broadcast whose duplicate this may be. Not its own draft, nor a command that was typed twice.

        A test, a follow-up and an occurrence of a recurring broadcast are no duplicates of anything.
        """
        if row.test_of or row.follows or row.schedule:
            return None
        if not self.within:
            return None
        since = row.created_at - micros(self.within)
        for other in broadcasts.to_same_recipients(connection, row, since):
            same = (other.requester, other.digest) == (row.requester, row.digest)
            twin = same and other.created_at >= row.created_at - TWIN_WINDOW
            earlier = other.id != draft and other.created_at <= row.created_at and not twin
            if earlier and nearly_same(other.typed, row.typed):
                return other
        return None

    def about(self, request: BroadcastRequest) -> tuple[FieldError, ...]:
        """What to ask about possible slips before a valid request becomes a broadcast."""
        terms = self.audiences.terms(request.audience, request.purpose)
        return checks.questions(request.text, terms, zone=request.zone, now=moment(self.clock()))

    def remember(self, connection: Connection, kept: Broadcast, planned: Broadcast) -> None:
        """Note that the draft shows its questions, so that submitting it as it is answers them."""
        keys.first_time(connection, kept.workspace, _asked_key(planned, "draft", kept.id), planned.created_at)

    def _ask(
        self,
        connection: Connection,
        request: BroadcastRequest,
        questions: tuple[FieldError, ...],
        sent: Sent | None,
        draft: str | None,
    ) -> tuple[FieldError, ...]:
        """What is still to be asked: nothing if the person has read it, on the draft or in an earlier submit."""
        workspace, form, this = request.workspace, [], []
        sql.alone(connection, f"asks:{workspace}/{request.requester}")  # else one of two at once confirms the other
        if sent is not None:
            form = [_asked_key(request, "form", sent.form)]
            this = [_asked_key(request, "form", sent.form, sent.trigger)] if sent.trigger else []
        if any(keys.was_seen(connection, workspace, key) for key in this):
            return questions  # Slack delivered the same submit again: nobody has read anything in between
        kept = [_asked_key(request, "draft", draft)] if draft else []
        if any(keys.was_seen(connection, workspace, key) for key in (*form, *kept)):
            return ()
        for key in (*form, *this):
            keys.first_time(connection, workspace, key, self.clock())
        return questions


def _asked_key(words: BroadcastRequest | Broadcast, *place: str) -> str:
    """The key that records that a question about these words was asked in this place: a draft or a form."""
    typed = words.typed if isinstance(words, Broadcast) else words.text
    about = json.dumps([*place, words.audience, words.purpose, sms.composed(typed)])
    return keys.of_question(hashlib.sha256(about.encode()).hexdigest())
