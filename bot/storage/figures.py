"""The figures of a scrape: what waits, and since when. Each comes from an index over the few rows that it is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select, text

from bot.domain.clock import Micros
from bot.domain.lifecycle import State
from bot.storage import broadcasts, cards, keys
from bot.storage.broadcast_rows import SCHEDULED, in_states
from bot.storage.keys import Stops
from bot.storage.tables import LIVING
from bot.storage.tables import broadcasts as rows

#: The states in which people are waited for.
WAITED = (State.PENDING, State.HELD, State.UNKNOWN)


@dataclass(frozen=True)
class Figures:
    """`states`: how many broadcasts are in each state that is no end. All instants are those of the longest waiting.

    `since`: when it entered its state; `due`: when the first scheduled one may start; `unshown`: when something had to
    be shown in Slack.
    """

    states: Mapping[str, int]
    since: Mapping[State, Micros]
    due: Micros | None
    unshown: Micros | None
    stops: Stops


def read_figures(connection: Connection, at: Micros) -> Figures:
    states = broadcasts.count_by_state(connection)
    first = {state: _longest(connection, state) for state in WAITED if states[state]}
    return Figures(
        states,
        {state: since for state, since in first.items() if since is not None},
        connection.execute(select(func.min(rows.c.due)).where(SCHEDULED)).scalar_one(),
        cards.oldest_unshown(connection, at),
        keys.stops(connection, at),
    )


def _longest(connection: Connection, state: State) -> Micros | None:
    """When the broadcast that is longest in this state entered it."""
    entered = select(func.min(rows.c.changed_at)).where(in_states(state), text(LIVING))
    found: Micros | None = connection.execute(entered).scalar_one()
    return found
