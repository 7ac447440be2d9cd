"""Checks that an approval still holds, just before the broadcast goes."""

from __future__ import annotations

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain import people
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, micros
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Action
from bot.domain.people import DirectoryUnavailable
from bot.storage import broadcasts, keys, notes
from bot.storage.broadcast_rows import NO_LEASE, NOT_AGREED, Changes
from bot.storage.notes import Note
from bot.storage.votes import drop_vote, drop_votes, seats_taken, votes_for
from bot.workflow import approval_rules
from bot.workflow.approvers import Approvers
from bot.workflow.audiences import Audiences
from bot.workflow.deadlines import asks
from bot.workflow.series_approval import SeriesApproval

FRESH = 3600 * SECOND  # an approval this young needs no second look at who gave it
ASK_SLACK_AGAIN = 60 * SECOND


class ApprovalValidity:
    """Checks that an approval still holds: approvers leave, and an approval does not last for ever."""

    def __init__(self, runtime: Runtime, audiences: Audiences, approvers: Approvers, series: SeriesApproval) -> None:
        self.database, self.clock, self.approval = runtime.database, runtime.clock, runtime.settings.approval
        self.audiences, self.approvers, self.series = audiences, approvers, series

    async def still_approved(self, claimed: Broadcast) -> bool:
        """Whether a broadcast that is about to go is still approved, by people who may still approve it.

        False: it has gone back to the approvers, or Slack does not answer and it waits for a minute.
        """
        if claimed.quorum == 0:
            return True
        if claimed.skips_approval:
            return await self.database.write(lambda c: self._look_again(c, claimed, frozenset()))
        votes = await self.database.read(lambda c: votes_for(c, claimed))
        if votes and self.clock() - min(vote.at for vote in votes) <= FRESH:
            return True
        try:
            still = await self.approvers.still_approvers(claimed)
        except DirectoryUnavailable:
            await self.database.write(lambda c: self._wait_for_slack(c, claimed))
            return False
        return await self.database.write(lambda c: self._look_again(c, claimed, still))

    def _look_again(self, connection: Connection, claimed: Broadcast, still: frozenset[str]) -> bool:
        current = broadcasts.find(connection, claimed.workspace, claimed.id, lock=True)
        if (current.state, current.attempt, current.owner) != (claimed.state, claimed.attempt, claimed.owner):
            return False
        reason = self.weigh(connection, current, still)
        if reason is not None:
            self.lapse(connection, current, reason)
        return reason is None

    def weigh(self, connection: Connection, current: Broadcast, still: frozenset[str]) -> Translatable | None:
        """Drop the votes that no longer hold. Return why it is not approved now; None if it is."""
        if self._waited_too_long(current):
            drop_votes(connection, current)
            hours = self.audiences.hours(current).max_hold.total_seconds() / 3600
            template = "More than {hours} hours have passed since it was approved, so it needs approval again."
            return Translatable(template, hours=f"{hours:g}")
        if current.skips_approval:
            return None
        votes = votes_for(connection, current)
        fallen = [vote for vote in votes if vote.seat not in still and current.mode != "training"]
        for vote in fallen:
            drop_vote(connection, current, vote.approver, vote.way)
        if seats_taken(vote for vote in votes if vote not in fallen) >= current.quorum:
            return None
        if not fallen:
            return Translatable("It is not approved, so it needs approval before it goes out.")
        who = people.mentions(vote.approver for vote in fallen)
        return Translatable("{who} can no longer approve it, so it needs approval again.", who=who)

    def _waited_too_long(self, current: Broadcast) -> bool:
        """Whether it has waited longer than its policy allows after its time and its approval."""
        since = max(current.send_at or 0, current.approved_at or 0)
        waited = self.clock() - since
        return current.quorum > 0 and since > 0 and waited > micros(self.audiences.hours(current).max_hold)

    def lapse(self, connection: Connection, current: Broadcast, reason: Translatable) -> Broadcast | None:
        """Send it back to the approvers."""
        now = self.clock()
        self.series.uncover(connection, current)
        self.series.drop_outgrown(connection, current)
        approvers = approval_rules.approvers_today(self.approval, current)
        told = approval_rules.notified(self.approval, approvers)
        new_notes = [Note(reason, mention=" ".join([current.requester, *told]))]
        changes: Changes = {"approvers": approvers, **NOT_AGREED, **asks(now, self.approval)}
        return broadcasts.move(connection, current, Action.LAPSE, actor="policy", at=now, notes=new_notes, **changes)

    def _wait_for_slack(self, connection: Connection, claimed: Broadcast) -> None:
        """Put it back, since its approval cannot be confirmed. The vendor was not tried, so no try is counted."""
        now = self.clock()
        again: Changes = {"due": now + ASK_SLACK_AGAIN, "tries": max(claimed.tries - 1, 0), **NO_LEASE}
        moved = broadcasts.move(connection, claimed, Action.PUT_BACK, actor="clock", at=now, reason="slack", **again)
        if moved is not None and keys.first_time(connection, claimed.workspace, keys.of_silence(claimed), now):
            sentence = Translatable(
                "Slack does not tell me who can still approve it, so it is waiting. Nothing was sent."
            )
            notes.add_notes(connection, moved, now, [Note(sentence)])

    def asks_first(self, held: Broadcast, votes: int) -> bool:
        """Whether *Send now* asks the approvers first: it is not approved, or was approved too long ago."""
        return (votes < held.quorum and not held.skips_approval) or self._waited_too_long(held)
