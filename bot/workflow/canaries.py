"""Sends a broadcast to a few people first, and to the others only once somebody says so."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from sqlalchemy import Connection

from bot.config.runtime import Runtime
from bot.domain.broadcast import MOST_IN_A_TEST, Broadcast, digest
from bot.domain.errors import NotFound
from bot.domain.lifecycle import TRANSITIONS, Action, Hold, State
from bot.storage import broadcasts
from bot.workflow.audiences import Audiences
from bot.workflow.recipients import canary_complaint


class Canaries:
    """Makes the broadcast to the canary of an approved one, and ends it with it.

    It is a test with ids, deliveries and a card of its own. `Gates` holds either of the two while it must wait.
    """

    def __init__(self, runtime: Runtime, audiences: Audiences, make_id: Callable[[], str]) -> None:
        self.clock, self.audiences, self.make_id = runtime.clock, audiences, make_id

    def planned(self, connection: Connection, agreed: Broadcast) -> Broadcast | None:
        """Store the broadcast to the canary, unless there is none or it has gone. Return it, still to be scheduled.

        A canary that the settings no longer allow does not go, and the others then wait.
        """
        if agreed.canary is None or not self._may_get_it(agreed.canary, agreed) or self._is_there(connection, agreed):
            return None
        settings, now = self.audiences.settings.audiences[agreed.canary], self.clock()
        made = Broadcast(
            **{name: getattr(agreed, name) for name in TAKEN_OVER},
            id=self.make_id(),
            version=1,
            state=State.PENDING,
            key=agreed.canary_key,
            audience=agreed.canary,
            test_of=agreed.audience,
            follows=agreed.id,
            kind=settings.kind,
            target=settings.id,
            everyone=settings.everyone,
            subscribers=settings.subscribers,
            digest="",
            bound=min(MOST_IN_A_TEST, settings.max_size or MOST_IN_A_TEST),
            quorum=0,
            created_at=now,
            changed_at=now,
        )
        made = replace(made, digest=digest(made))
        broadcasts.add(connection, made, draw=True)
        return made

    def _may_get_it(self, name: str, agreed: Broadcast) -> bool:
        of = self.audiences.audience(agreed.audience)
        return of is not None and canary_complaint(self.audiences, name, of) is None and of.account == agreed.account

    def _is_there(self, connection: Connection, agreed: Broadcast) -> bool:
        """Whether it went to the canary, or is about to. One that came to nothing makes room for another."""
        found = broadcasts.find_by_key(connection, agreed.workspace, agreed.canary_key)
        if found is None:
            return False
        if found.state not in (*broadcasts.CAME_TO_NOTHING, State.HELD):
            return True
        self.end(connection, agreed, "policy")
        found = broadcasts.find(connection, found.workspace, found.id, lock=True)
        broadcasts.touch(connection, found, self.clock(), key=f"{found.key}:{found.id}")
        return False

    def counterpart(self, connection: Connection, row: Broadcast) -> Broadcast | None:
        """The broadcast to the canary that this one waits for, or the broadcast that this canary tries out."""
        if row.hold is Hold.CANARY:
            return broadcasts.find_by_key(connection, row.workspace, row.canary_key)
        with suppress(NotFound):
            return broadcasts.find(connection, row.workspace, row.follows or "?") if row.is_canary else None
        return None

    def end(self, connection: Connection, ended: Broadcast, actor: str) -> None:
        """Cancel the broadcast to the canary if it has not gone out: the one that it tries out does not go."""
        if ended.canary is None:
            return
        found = broadcasts.find_by_key(connection, ended.workspace, ended.canary_key)
        action = Action.DROP if found is not None and found.state is State.HELD else Action.CANCEL
        if found is not None and (found.state, action) in TRANSITIONS:
            broadcasts.move(connection, found, action, actor=actor, at=self.clock(), reason="canary", due=None)


#: What the broadcast to the canary has in common with the one that it tries out.
TAKEN_OVER = (
    *("workspace", "requester", "editor", "channel", "asked_in", "account", "provider", "mode", "approvers"),
    *("purpose", "typed", "text", "sender", "campaign", "send_at", "zone", "policy"),
)
