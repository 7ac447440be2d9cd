"""What a broadcast needs before it may go, as rules, its canary, its text and the hour of its start say."""

from __future__ import annotations

import dataclasses

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Micros
from bot.domain.similarity import nearly_same
from bot.storage import broadcasts
from bot.workflow.approval_rules import RequiredApprovals, required_at
from bot.workflow.audiences import Audiences
from providers.base import Purpose

DODGED_WITHIN = 7 * 24 * 3600 * SECOND
COMPARED = 2_000  # of what was lately marketing: more than anybody asks for in a week to hide one among them


class Requirements:
    """How many approvals a broadcast needs, and whose."""

    def __init__(self, runtime: Runtime, audiences: Audiences) -> None:
        self.approval, self.audiences = runtime.settings.approval, audiences

    def starts_at(self, row: Broadcast, now: Micros) -> Micros:
        """When it would really start if it were let go now: its sending hours may open later."""
        start = max(row.send_at or 0, now)
        return self.audiences.outlook(row, start).opens or start

    def changed(self, connection: Connection, asked: Broadcast, known: Broadcast, at: Micros) -> RequiredApprovals:
        """What it needs if it is let go at `at`. `asked`: as it was when its approvers were named; `known`: as it is.

        The approvers are those whom it has, unless another rule counts now that names others.
        """
        stopped = asked.marketing_until is not None and asked.purpose is not Purpose.MARKETING
        marketing = asked if stopped else self.lately_marketing(connection, asked)
        before, now = self._of(asked, asked.ruled_at or asked.created_at, marketing), self._of(known, at, marketing)
        others = now.quorum > 0 and now.approvers != before.approvers
        return RequiredApprovals(now.quorum, now.approvers if others else asked.approvers)

    def as_known(self, connection: Connection, asked: Broadcast, known: Broadcast, at: Micros) -> RequiredApprovals:
        """The same now that its size or its cost is known: at least one approval if it needed any.

        An edited broadcast never needs fewer than before.
        """
        need = self.changed(connection, asked, known, at)
        keeps = asked.version > 1 or asked.purpose is Purpose.TRANSACTIONAL  # which may need one for its words
        return dataclasses.replace(need, quorum=max(need.quorum, asked.quorum if keeps else min(asked.quorum, 1)))

    def _of(self, row: Broadcast, at: Micros, marketing: Broadcast | None) -> RequiredApprovals:
        start = self.starts_at(row, at)
        need = self.with_canary(row, required_at(self.approval, row, row.most, start), start)
        return as_strict(need, marketing)

    def with_canary(self, row: Broadcast, need: RequiredApprovals, start: Micros) -> RequiredApprovals:
        """What it needs with its canary: no less than a broadcast to the canary alone."""
        settings = self.audiences.settings.audiences.get(row.canary or "")
        if row.canary is None or settings is None:
            return need
        alone = dataclasses.replace(row, audience=row.canary)
        first = required_at(self.approval, alone, settings.max_size, start)
        return first if first.quorum > need.quorum else need

    def lately_marketing(self, connection: Connection, row: Broadcast) -> Broadcast | None:
        """Nearly the same text to the same recipients that was asked for as marketing within a week.

        A number that was added makes no other text of it: whoever wants to get around the approvals would add one.
        """
        if row.purpose is Purpose.MARKETING or row.small_test:
            return None
        since = row.created_at - DODGED_WITHIN
        others = broadcasts.marketing_to_same_recipients(connection, row, since, COMPARED)
        found = next((other.id for other in others if nearly_same(other.typed, row.typed, with_numbers=False)), None)
        return broadcasts.find(connection, row.workspace, found) if found is not None else None


def as_before(need: RequiredApprovals, before: Broadcast, planned: Broadcast) -> RequiredApprovals:
    """No less than what it replaces needed as marketing, if that was marketing once and this is not."""
    dodges = planned.purpose is not Purpose.MARKETING and not planned.small_test
    return as_strict(need, before) if dodges and _was_marketing(before) else need


def _was_marketing(row: Broadcast) -> bool:
    return row.purpose is Purpose.MARKETING or row.marketing_until is not None


def as_strict(need: RequiredApprovals, marketing: Broadcast | None) -> RequiredApprovals:
    """No less than the same text needed as marketing: another word for the purpose is no way around its approvals."""
    if marketing is None:
        return need
    approvers = marketing.approvers if marketing.quorum >= need.quorum else need.approvers
    return RequiredApprovals(max(need.quorum, marketing.quorum, 1), approvers)
