"""Rows that cannot be worked on: each is put off for ever longer, logged and counted, and does not block the others.

This record lives as long as the process: after a restart a row is tried once, and is put off again.
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
from bot.storage import steps

log = structlog.get_logger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 10.0, 3600.0  # seconds
MOST = 5000  # rows that are remembered: a statement may list all of them up to six times as parameters
PASSING = (OperationalError, InterfaceError)  # failures of the database, not of a row


@dataclass
class FailingRow:
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
class FailingRows:
    """The rows that broke some work in this process. `monotonic`: seconds."""

    monotonic: Callable[[], float] = steady
    on_failure: Callable[[str], None] = lambda _: None  # called with the kind of work each time
    total: Counter[str] = field(default_factory=Counter)  # how often each kind of work was broken
    _known: dict[tuple[str, str], FailingRow] = field(default_factory=dict)
    _apart: list[FailingRows] = field(default_factory=list)

    def apart(self) -> FailingRows:
        """Return a record for one workspace, in which the same id of another does not count."""
        self._apart.append(FailingRows(self.monotonic, lambda work: self.on_failure(work), self.total))
        return self._apart[-1]

    def struck(self, work: str, id: object, error: BaseException, workspace: str = "") -> FailingRow:
        """Record that this row broke that work, and put it off, longer each time."""
        if (work, str(id)) not in self._known and len(self._known) >= MOST:
            self._known.pop(next(iter(self._known)))
        failing = self._known.setdefault((work, str(id)), FailingRow(work, str(id), workspace))
        pause = backoff(failing.tries, FIRST_PAUSE, LONGEST_PAUSE)
        failing.tries, failing.error = failing.tries + 1, type(error).__name__
        failing.until = self.monotonic() + pause
        self.total[work] += 1
        self.on_failure(work)
        log.error("a row cannot be worked on", work=work, id=str(id), tries=failing.tries, exc_info=error)
        return failing

    def tries(self, work: str, id: object) -> int:
        """How many times in succession this row has broken that work."""
        known = self._known.get((work, str(id)))
        return known.tries if known else 0

    def fine(self, work: str, id: object) -> None:
        """Forget this row's failures: the work succeeded."""
        self._known.pop((work, str(id)), None)

    def put_off(self, work: str) -> list[str]:
        """The rows that this work is to leave alone for now."""
        now = self.monotonic()
        return [failing.id for failing in self._known.values() if failing.work == work and failing.until > now]

    def known(self, work: str) -> list[str]:
        """The rows that broke this work when it last tried them, whether or not they are put off now."""
        return [failing.id for failing in self._known.values() if failing.work == work]

    def all(self) -> list[FailingRow]:
        """Return those of every workspace."""
        return [*self._known.values(), *(failing for one in self._apart for failing in one.all())]

    @contextmanager
    def alone(
        self, work: str, id: object, workspace: str = "", *, but: tuple[type[Exception], ...] = ()
    ) -> Iterator[None]:
        """Record an error inside as a failure of this row. Errors in `but` concern all rows and are raised."""
        try:
            yield
        except Exception as error:
            if isinstance(error, but + PASSING):
                raise
            self.struck(work, id, error, workspace)
        else:
            self.fine(work, id)


def failing_rows_of(connection: Connection) -> FailingRows:
    """The failing rows of this connection's process; new, empty ones for a connection without any."""
    found: FailingRows | None = connection.get_execution_options().get("failing_rows")
    return FailingRows() if found is None else found


@contextmanager
def alone(connection: Connection, work: str, id: object, workspace: str = "") -> Iterator[None]:
    """Inside a transaction: undo an error for this row alone, so that the transaction goes on."""
    with failing_rows_of(connection).alone(work, id, workspace), _undone(connection):
        yield


def together(
    connection: Connection, work: str, rows: Sequence[Broadcast], do: Callable[[Sequence[Broadcast]], int]
) -> int:
    """Inside a transaction: do many rows at once, or each alone if that fails. Return for how many it was done."""
    if not rows:
        return 0
    try:
        with _undone(connection):
            done = do(rows)
    except PASSING:
        raise
    except Exception:  # each row alone shows which one is at fault
        return sum(_done_alone(connection, work, row, do) for row in rows)
    for row in rows:
        failing_rows_of(connection).fine(work, row.id)
    return done


def _done_alone(connection: Connection, work: str, row: Broadcast, do: Callable[[Sequence[Broadcast]], int]) -> int:
    with alone(connection, work, row.id, row.workspace):
        return do([row])
    return 0


@contextmanager
def _undone(connection: Connection) -> Iterator[None]:
    """Undo what fails inside, so that the transaction can go on."""
    savepoint, taken = connection.begin_nested(), steps.number(connection)
    try:
        yield
    except Exception as error:
        steps.forget(connection, taken)
        if not isinstance(error, PASSING):  # else no transaction is left to roll back in
            savepoint.rollback()
        raise
    savepoint.commit()
