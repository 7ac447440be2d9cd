"""Stores a request that has been checked, once, and completes drafts."""

from __future__ import annotations

import dataclasses

from sqlalchemy import Connection

from bot.domain.broadcast import Broadcast, marketing_until
from bot.domain.clock import HOUR
from bot.domain.errors import FieldError, StaleVersion
from bot.domain.lifecycle import Action, State
from bot.storage import broadcasts, keys, sql
from bot.storage.cards import card_of
from bot.storage.notes import Note, add_notes
from bot.workflow import checks
from bot.workflow.approval_rules import RequiredApprovals
from bot.workflow.approvals import Approvals
from bot.workflow.deadlines import draft_notice
from bot.workflow.follow_ups import name_each_other
from bot.workflow.questions import TWIN_WINDOW, Questions
from bot.workflow.requirements import as_before
from bot.workflow.sentence_parts import edited
from bot.workflow.submitted import AdvanceApproval, Agree, Submitted, Wanted

AGAIN = "{by} changed it and asks again. {changes}"
AGAIN_AS_IT_WAS = "{by} asks again without having changed it."
CHANGED_BY = "{by} edited it. {changes}"


class Storing:
    """Stores requests. Everything here happens in one transaction."""

    def __init__(self, approvals: Approvals, questions: Questions) -> None:
        self.approvals, self.questions = approvals, questions

    def store(self, connection: Connection, wanted: Wanted) -> Submitted | tuple[FieldError, ...]:
        """Store it, or find it stored. Return only the question if a form is to ask first."""
        planned, questions = wanted.planned, wanted.questions
        for same in (planned.key, f"{planned.requester}/{planned.digest}"):  # else two at once would find no twin
            sql.alone(connection, f"asks:{planned.workspace}/{same}")
        known, draft = _known(connection, planned, wanted.draft)
        if known is not None:
            return self._asked(connection, Submitted(known, again=True), wanted, questions)
        about = wanted.duplicate.id if wanted.duplicate is not None else ""
        if planned.state is State.PENDING and (
            other := self.questions.meanwhile(connection, planned, wanted.sent, draft, about)
        ):
            questions, about = self.questions.about_other(connection, planned, other, wanted.sent), other.id
            if wanted.sent:
                return questions
        if questions:
            planned = as_draft(planned)
        if draft is None:
            self._check_rate(connection, planned)
        row = self._put(connection, planned, draft, wanted.agree)
        _keep_filling(connection, row, draft, wanted.advance)
        return self._asked(connection, Submitted(row), wanted, questions, about)

    def _asked(
        self,
        connection: Connection,
        stored: Submitted,
        wanted: Wanted,
        questions: tuple[FieldError, ...],
        about: str | None = None,
    ) -> Submitted:
        if not questions or stored.broadcast.state is not State.DRAFT:
            return stored
        if about is None:
            about = wanted.duplicate.id if wanted.duplicate is not None else ""
        self.questions.remember(connection, stored.broadcast, wanted.planned, about)
        return dataclasses.replace(stored, questions=questions)

    def _check_rate(self, connection: Connection, planned: Broadcast) -> None:
        """Raise InvalidRequest if this person has asked for too many broadcasts within the hour."""
        if most := self.questions.audiences.settings.asks_per_hour:
            since = planned.created_at - HOUR
            checks.check_rate(
                broadcasts.count_asked(connection, planned.workspace, planned.requester, since, most), most
            )

    def _put(self, connection: Connection, planned: Broadcast, draft: str | None, agree: Agree) -> Broadcast:
        if draft is not None:
            return self._complete_draft(connection, planned, draft, agree)
        broadcasts.add(connection, planned, draw=planned.state is not State.DRAFT)
        if planned.follows is not None and planned.state is not State.DRAFT:
            name_each_other(connection, planned)
        return agree(connection, planned)

    def _complete_draft(self, connection: Connection, planned: Broadcast, id: str, agree: Agree) -> Broadcast:
        """Submit a draft, or keep it as one. One that has a card was given back by an approver: it becomes a new
        version, needs no fewer approvals than before, and none that was given in advance counts."""
        draft, at = broadcasts.find(connection, planned.workspace, id, lock=True), planned.created_at
        test_stays_test = (draft.test_of is None) == (planned.test_of is None)
        if draft.state is not State.DRAFT or draft.requester != planned.requester or not test_stays_test:
            raise StaleVersion(draft)
        fields = {field.name: getattr(planned, field.name) for field in dataclasses.fields(planned)}
        changes = {name: value for name, value in fields.items() if name not in UNCHANGED_BY_SUBMIT}
        shown, told = card_of(connection, draft) is not None, list[Note]()
        asked_before = was_asked_about(connection, draft)
        if asked_before:
            need = as_before(RequiredApprovals(planned.quorum, planned.approvers), draft, planned)
            changes |= {"quorum": max(need.quorum, draft.quorum), "approvers": need.approvers}
            changes |= {"marketing_until": marketing_until(draft, planned, at)}
        changes["ruled_at"] = at
        if shown:
            same = draft.typed == planned.typed and draft.computed_digest() == planned.digest
            changes |= {"asked_in": draft.asked_in}
            changes |= {"editor": draft.editor} if same else {}  # who wrote it last still does not approve it
            template = AGAIN if planned.state is State.PENDING else CHANGED_BY
            told = [Note(edited(AGAIN_AS_IT_WAS if same else template, planned.requester, draft, planned))]
        if planned.state is State.DRAFT:
            changes |= {} if shown else {"draw_at": None}
            add_notes(connection, draft, at, told)
            return broadcasts.touch(connection, draft, at, **changes) or draft
        if shown:
            changes["version"] = draft.version + 1
        submitted = broadcasts.move(
            connection, draft, Action.SUBMIT, actor=planned.requester, at=at, notes=told, **changes
        )
        if submitted is None:
            raise StaleVersion(draft)
        if asked_before:
            return self.approvals.without_approval(connection, submitted)
        if submitted.follows is not None:
            name_each_other(connection, submitted)
        return agree(connection, submitted)


def was_asked_about(connection: Connection, row: Broadcast) -> bool:
    """Whether people were asked to approve it: it has a card, or had one that may have been lost."""
    return row.state is not State.DRAFT or row.version > 1 or card_of(connection, row) is not None


def _known(connection: Connection, planned: Broadcast, draft: str | None) -> tuple[Broadcast | None, str | None]:
    """Return what this request has become already, and the draft that it completes."""
    known = broadcasts.find_by_key(connection, planned.workspace, planned.key)
    known = known or broadcasts.find_twin(connection, planned, planned.created_at - TWIN_WINDOW)
    if known and known.key != planned.key and known.state is State.DRAFT and planned.state is State.PENDING:
        return None, draft or known.id  # it was only a draft, and is submitted now
    return (known if known and known.id != draft else None), draft


def as_draft(planned: Broadcast) -> Broadcast:
    return dataclasses.replace(planned, state=State.DRAFT, voice_at=draft_notice(planned.created_at))


def _keep_filling(connection: Connection, row: Broadcast, draft: str | None, advance: AdvanceApproval | None) -> None:
    """Keep with a draft what it was filled in from, and forget that of one that was written freely or submitted."""
    if row.state is State.DRAFT and advance is not None:
        advance.keep(connection, row)
    elif draft is not None:
        keys.forget_filling(connection, row.workspace, row.id)


UNCHANGED_BY_SUBMIT = frozenset(
    {"workspace", "id", "version", "state", "revision", "created_at", "changed_at", "key", "attempt", "owner"}
)
