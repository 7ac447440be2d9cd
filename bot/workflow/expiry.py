"""Expires broadcasts that nobody decided about in time."""

from __future__ import annotations

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.clock import SECOND
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Action, State
from bot.scheduler import Task
from bot.storage import broadcasts, keys, queue
from bot.storage.failing_rows import alone
from bot.storage.notes import Note
from bot.storage.votes import votes_for

SEEN_KEPT = 3 * 24 * 3600 * SECOND  # Slack redelivers an event for an hour or so


class Expiry:
    """Expires broadcasts that nobody decided about in time."""

    def __init__(self, runtime: Runtime) -> None:
        self.database, self.clock, self.wake = runtime.database, runtime.clock, runtime.wake

    async def expire(self) -> None:
        """End the requests that nobody answered in time.

        A request waits for `expires_after` from when it was asked, whatever its planned start. It waits no longer:
        people decide while they remember, and an approved broadcast may then wait for months. It waits no shorter: an
        approval after the planned start still gets an answer. It does not send the broadcast late; the broadcast is
        held and asks. A held broadcast that asks has the same time again. So has one that needs approval again (a vote
        withdrawn, an edit, an approver who has left).
        """
        forgotten = self.clock() - SEEN_KEPT
        if not await self.database.read(lambda c: queue.lapsed_waits(c, self.clock(), forgotten)):
            return
        if await self.database.write(self._expire):
            self.wake(Task.PAINT, Task.DISPATCH)

    def _expire(self, connection: Connection) -> int:
        keys.forget_seen(connection, self.clock() - SEEN_KEPT)
        keys.forget_old_forms(connection, self.clock())
        lapsed = queue.lapsed(connection, self.clock())
        for row in lapsed:
            with alone(connection, "expire", row.id, row.workspace):
                number = len(votes_for(connection, row))
                template = "Nobody approved it in time, so it will not be sent."
                if row.state is State.HELD:
                    template = "Nobody decided in time, so it will not be sent."
                elif number > 0:
                    template = "Too few people approved it in time ({number} of {quorum}), so it will not be sent."
                note = Note(Translatable(template, number=number, quorum=row.quorum), row.requester, aloud=True)
                broadcasts.move(connection, row, Action.EXPIRE, actor="clock", at=self.clock(), notes=[note])
        return len(lapsed)
