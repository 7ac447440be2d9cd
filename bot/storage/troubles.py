"""Rows that cannot be worked on: each is put off for ever longer, logged and counted, and keeps no other one waiting.

What is kept here lives as long as the process: after a restart a row is tried once, and is put off again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import InterfaceError, OperationalError

from bot.domain.broadcast import Broadcast
from bot.domain.clock import backoff, steady

log = structlog.get_logger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 10.0, 3600.0  # seconds
MOST = 5000  # rows that are remembered: a statement that leaves them out up to six times has room for all their names
PASSING = (OperationalError, InterfaceError)  # these are of the database, whichever row is being worked on


@dataclass
class Trouble:
    """A row of one kind of work ("card", "note", …) that broke it `tries` times; not to be tried before `until`."""

    work: str
    id: str
    workspace: str = ""
    error: str = ""
    tries: int = 0
    until: float = 0.0

    def __str__(self) -> str:
        return f"{self.error}, tried {self.tries} times"


@dataclass
class Troubles:
    """The rows that broke some work in this process. `monotonic`: seconds."""

    monotonic: Callable[[], float] = steady
    total: Counter[str] = field(default_factory=Counter)  # how often each kind of work was broken
    _known: dict[tuple[str, str], Trouble] = field(default_factory=dict)

    def struck(self, work: str, id: object, error: BaseException, workspace: str = "") -> Trouble:
        """This row broke that work: put it off, longer each time."""
        if (work, str(id)) not in self._known and len(self._known) >= MOST:
            self._known.pop(next(iter(self._known)))
        trouble = self._known.setdefault((work, str(id)), Trouble(work, str(id), workspace))
        pause = backoff(trouble.tries, FIRST_PAUSE, LONGEST_PAUSE)
        trouble.tries, trouble.error = trouble.tries + 1, type(error).__name__
        trouble.until = self.monotonic() + pause
        self.total[work] += 1
        log.error("a row cannot be worked on", work=work, id=str(id), tries=trouble.tries, exc_info=error)
        return trouble

    def tries(self, work: str, id: object) -> int:
        """How often this row has broken that work in a row."""
        known = self._known.get((work, str(id)))
        return known.tries if known else 0

    def fine(self, work: str, id: object) -> None:
        """It went well this time."""
        self._known.pop((work, str(id)), None)

    def put_off(self, work: str) -> list[str]:
        """The rows that this work is to leave alone for now."""
        now = self.monotonic()
        return [trouble.id for trouble in self._known.values() if trouble.work == work and trouble.until > now]

    def known(self, work: str) -> list[str]:
        """The rows that this work stumbled over when it last tried them, be they put off just now or not."""
        return [trouble.id for trouble in self._known.values() if trouble.work == work]

    def all(self) -> list[Trouble]:
        return list(self._known.values())

    @contextmanager
    def alone(
        self, work: str, id: object, workspace: str = "", *, but: tuple[type[Exception], ...] = ()
    ) -> Iterator[None]:
        """What breaks inside is this row's own trouble; `but` what is everybody's."""
        try:
            yield
        except Exception as error:
            if isinstance(error, but + PASSING):
                raise
            self.struck(work, id, error, workspace)
        else:
            self.fine(work, id)


def troubles_of(connection: Connection) -> Troubles:
    """Those of the process that this connection is of; of nobody's connection none is remembered."""
    found: Troubles | None = connection.get_execution_options().get("troubles")
    return Troubles() if found is None else found


@contextmanager
def alone(connection: Connection, work: str, id: object, workspace: str = "") -> Iterator[None]:
    """Inside a transaction: what breaks is undone for this row alone, and the transaction goes on."""
    with troubles_of(connection).alone(work, id, workspace), _undone(connection):
        yield


def together(
    connection: Connection, work: str, rows: Sequence[Broadcast], do: Callable[[Sequence[Broadcast]], int]
) -> int:
    """Inside a transaction: many rows at once, and where one of them breaks that, each of them alone. Of how many it
    was done."""
    if not rows:
        return 0
    try:
        with _undone(connection):
            done = do(rows)
    except PASSING:
        raise
    except Exception:  # whose fault it is comes out below
        return sum(_done_alone(connection, work, row, do) for row in rows)
    for row in rows:
        troubles_of(connection).fine(work, row.id)
    return done


def _done_alone(connection: Connection, work: str, row: Broadcast, do: Callable[[Sequence[Broadcast]], int]) -> int:
    with alone(connection, work, row.id, row.workspace):
        return do([row])
    return 0


@contextmanager
def _undone(connection: Connection) -> Iterator[None]:
    """What breaks inside is undone, and the transaction goes on."""
    savepoint = connection.begin_nested()
    try:
        yield
    except Exception as error:
        if not isinstance(error, PASSING):  # else there is no transaction any more to go back in
            savepoint.rollback()
        raise
    savepoint.commit()
