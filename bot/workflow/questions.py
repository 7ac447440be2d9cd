"""What is asked about a valid request before it becomes a broadcast: possible slips."""

from __future__ import annotations

import hashlib
import json

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain import sms
from bot.domain.broadcast import Broadcast, BroadcastRequest
from bot.domain.clock import moment
from bot.domain.errors import FieldError, InvalidRequest
from bot.domain.i18n import Translatable
from bot.storage import keys, sql
from bot.workflow import checks
from bot.workflow.audiences import Audiences
from bot.workflow.decision_types import Sent


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

    async def ask(
        self, request: BroadcastRequest, sent: Sent | None, draft: str | None = None
    ) -> tuple[FieldError, ...]:
        """What is still to be asked about a request. Raises Questioned where the form can ask."""
        questions = self.about(request)
        if questions and (sent or draft):
            questions = await self.database.write(lambda c: self._ask(c, request, questions, sent, draft))
        if questions and sent:
            raise Questioned(*questions)
        return questions

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
