"""A request on its way into the database, and what it became there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection

from bot.domain.broadcast import Broadcast
from bot.domain.errors import FieldError
from bot.domain.i18n import Translatable
from bot.workflow.decision_types import Sent


@dataclass(frozen=True)
class Submitted:
    """What a submitted request became.

    `again`: the request was a repetition, and `broadcast` is the one already stored. `fix`: why it is only kept as a
    draft, and what to do about it. `questions`: also why it is only a draft; submitting it again after reading them
    confirms it.
    """

    broadcast: Broadcast
    again: bool = False
    fix: Translatable | None = None
    questions: tuple[FieldError, ...] = ()


class AdvanceApproval(Protocol):
    """An approval that was given before the request and may cover it."""

    async def voters(self, planned: Broadcast) -> tuple[str, ...]:
        """Whose approval covers it; nobody's if they are too few. Raises DirectoryUnavailable."""
        ...

    def agree(self, connection: Connection, planned: Broadcast, voters: tuple[str, ...]) -> Broadcast | None:
        """Schedule it with their votes. None if the approval has ended in the meantime."""
        ...

    def keep(self, connection: Connection, draft: Broadcast) -> None:
        """Note with a draft what it was filled in from, so that it opens again as it was."""
        ...


#: Schedules a stored broadcast if it is approved; otherwise it waits.
Agree = Callable[[Connection, Broadcast], Broadcast]


@dataclass(frozen=True)
class Wanted:
    """A checked request. `draft`: the id of the draft that it completes. `questions`: still to be answered.

    `agree`: schedules it once it is stored, if it needs no further approval. `duplicate`: what was found to be nearly
    the same before. The others are those of `Submission.submit`.
    """

    planned: Broadcast
    draft: str | None
    questions: tuple[FieldError, ...]
    agree: Agree
    advance: AdvanceApproval | None
    sent: Sent | None
    duplicate: Broadcast | None
