"""The steps of broadcasts that a transaction takes, for those who count them once it is committed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.lifecycle import Action, State

T = TypeVar("T")
KEY = "steps"


@dataclass(frozen=True)
class TakenStep:
    """A step that a broadcast has taken; `row`: as it stands afterwards.

    `before`: the state that it was in since `since`; None for a new one.
    """

    action: Action
    actor: str
    before: State | None
    since: Micros
    at: Micros
    row: Broadcast


Told = Callable[[Sequence[TakenStep]], None]


def record(connection: Connection, steps: Iterable[TakenStep]) -> None:
    """Remember these until the transaction is committed."""
    connection.info.setdefault(KEY, []).extend(steps)


def number(connection: Connection) -> int:
    """How many the transaction has taken so far."""
    return len(connection.info.get(KEY, ()))


def forget(connection: Connection, after: int = 0) -> None:
    """Forget all but the first `after`: what took the others was rolled back."""
    if KEY in connection.info:
        del connection.info[KEY][after:]


def taken(connection: Connection) -> list[TakenStep]:
    """Return what the transaction has taken, and forget it."""
    steps: list[TakenStep] = connection.info.pop(KEY, [])
    return steps


def with_steps(work: Callable[[Connection], T]) -> Callable[[Connection], tuple[T, list[TakenStep]]]:
    """Return work that also returns the steps that it takes."""

    def run(connection: Connection) -> tuple[T, list[TakenStep]]:
        forget(connection)  # those of work that failed on the same connection
        return work(connection), taken(connection)

    return run
