"""What is due: broadcasts to send, prepare, size, look at, remind of, or let lapse."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
    union_all,
    update,
)

from bot.domain.broadcast import Broadcast
from bot.domain.clock import Micros
from bot.domain.lifecycle import Hold, State
from bot.storage.broadcast_rows import (
    AS_SEEN,
    NO_LEASE,
    SCHEDULED,
    SENDING,
    SHOWN,
    UNDERSTOOD,
    in_states,
    read_broadcasts,
    readable_ids,
    seen_values,
    understood,
)
from bot.storage.campaigns import RECALLS_WAITED_FOR
from bot.storage.failing_rows import failing_rows_of
from bot.storage.notes import Note, add_notes
from bot.storage.sql import AT_PARAMETER, any_of, but, micros_parameter, scope_of, within
from bot.storage.tables import broadcasts, homes, leftovers, notes, posts, seen

AT_ONCE = 100  # rows that one transaction takes at most, so that it ends soon even if the database is far away

# --- whether there is work -------------------------------------------------------------------------------------------
#
# Each task checks for work before it opens a transaction that writes. The statements are built once.

_UNLEASED = or_(broadcasts.c.lease_until.is_(None), broadcasts.c.lease_until <= micros_parameter("lease_at"))
_FORGOTTEN = and_(
    broadcasts.c.owner == bindparam("owner"), broadcasts.c.id.not_in(bindparam("working_on", expanding=True))
)
_WORK_WAITS = any_of(
    readable_ids(SCHEDULED, broadcasts.c.due <= AT_PARAMETER, _UNLEASED),
    readable_ids(
        *(
            SCHEDULED,
            broadcasts.c.due > AT_PARAMETER,
            broadcasts.c.due <= micros_parameter("soon"),
            broadcasts.c.staged.is_(None),
        ),
        or_(broadcasts.c.stage_at.is_(None), broadcasts.c.stage_at <= AT_PARAMETER),
        *(broadcasts.c.account.in_(bindparam("preparing", expanding=True)), _UNLEASED),
    ),
    readable_ids(SENDING, or_(_UNLEASED, _FORGOTTEN)),
    readable_ids(
        *(in_states(State.HELD), broadcasts.c.hold == Hold.HOURS, broadcasts.c.hold_until <= AT_PARAMETER),
        broadcasts.c.workspace.not_in(bindparam("paused", expanding=True)),
    ),
    select(leftovers.c.id).where(leftovers.c.try_at <= AT_PARAMETER, within(leftovers)),
)
_SIZES_WAIT = any_of(
    readable_ids(
        *(in_states(State.PENDING, State.SCHEDULED), broadcasts.c.size.is_(None)),
        broadcasts.c.account.in_(bindparam("accounts", expanding=True)),
        func.coalesce(broadcasts.c.look_at, 0) <= AT_PARAMETER,
    )
)
_OLDEST = select(func.min(seen.c.at)).scalar_subquery()  # uses the index, whatever the planner expects of the rest
_LAPSED_WAITS = any_of(
    *(readable_ids(in_states(state), broadcasts.c.expires_at <= AT_PARAMETER) for state in (State.PENDING, State.HELD)),
    select(literal(1)).where(micros_parameter("forgotten") > _OLDEST),
)
_SHOWING_WAITS = any_of(
    readable_ids(broadcasts.c.draw_at <= AT_PARAMETER, SHOWN),
    select(notes.c.seq).where(notes.c.post_at <= AT_PARAMETER, within(notes)),
    select(posts.c.seq).where(posts.c.post_at <= AT_PARAMETER, within(posts)),
    select(posts.c.seq).where(posts.c.draw_at <= AT_PARAMETER, within(posts)),
    select(homes.c.person).where(homes.c.draw_at <= AT_PARAMETER, within(homes)),
)


def work_waits(
    connection: Connection,
    at: Micros,
    *,
    soon: Micros,
    lease_at: Micros,
    preparing: Sequence[str],
    owner: str,
    working_on: Sequence[str],
    paused: Collection[str],
) -> bool:
    """Whether a dispatcher has work to do.

    That is a broadcast that is due, can be prepared until `soon`, is no longer being sent by anybody or may go on, or a
    campaign to recall. The other parameters are those of `due`, `abandoned` and `reopened`. A row that is put off after
    an error counts too, since this query does not know for how long.
    """
    values = {"at": at, "soon": soon, "lease_at": lease_at, "preparing": preparing}
    values |= {"owner": owner, "working_on": working_on, "paused": list(paused), **scope_of(connection)}
    return bool(connection.execute(_WORK_WAITS, values).scalar_one())


def sizes_wait(connection: Connection, accounts: Sequence[str], at: Micros) -> bool:
    """Whether `unsized` has something to return."""
    return bool(connection.execute(_SIZES_WAIT, {"at": at, "accounts": accounts, **scope_of(connection)}).scalar_one())


def lapsed_waits(connection: Connection, at: Micros, forgotten: Micros) -> bool:
    """Whether `lapsed` or `forget_seen` has something to do."""
    values = {"at": at, "forgotten": forgotten, **scope_of(connection)}
    return bool(connection.execute(_LAPSED_WAITS, values).scalar_one())


def showing_waits(connection: Connection, at: Micros) -> bool:
    """Whether there is a card or a Home to draw, or a note or a message to post."""
    return bool(connection.execute(_SHOWING_WAITS, {"at": at, **scope_of(connection)}).scalar_one())


# --- what is due -----------------------------------------------------------------------------------------------------


def due(
    connection: Connection,
    at: Micros,
    limit: int,
    *,
    lease_at: Micros,
    taken: Mapping[str, str],
    accounts: Collection[str] | None = None,
) -> list[Broadcast]:
    """Scheduled broadcasts whose time has come, oldest first, locked where the database locks rows.

    `lease_at`: the time by which leases are judged; `taken`: accounts with one slot, and the broadcast that has it;
    `accounts`: only theirs.
    """
    elsewhere = [and_(broadcasts.c.account == name, broadcasts.c.id != id) for name, id in taken.items()]
    statement = (
        select(broadcasts)
        .where(
            SCHEDULED,
            broadcasts.c.due <= at,
            but(broadcasts.c.id, failing_rows_of(connection).put_off("dispatch")),
            _free(lease_at),
            understood(connection),
            not_(or_(*elsewhere, false())),
            true() if accounts is None else broadcasts.c.account.in_(accounts),
        )
        .order_by(broadcasts.c.due)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return read_broadcasts(connection, statement)


def stranded(connection: Connection, at: Micros, accounts: Collection[str], limit: int = 8) -> list[Broadcast]:
    """Scheduled broadcasts whose time has come, of accounts other than these, locked."""
    stumbled = but(broadcasts.c.id, failing_rows_of(connection).put_off("dispatch"))
    elsewhere = and_(broadcasts.c.due <= at, broadcasts.c.account.not_in(accounts), stumbled)
    return in_state(connection, State.SCHEDULED, elsewhere, limit=limit)


def to_stage(
    connection: Connection, accounts: Sequence[str], at: Micros, until: Micros, *, lease_at: Micros, limit: int = 8
) -> list[Broadcast]:
    """Scheduled broadcasts of these accounts that are due soon and have nothing prepared yet, locked.

    One that met a passing error waits until its `stage_at`, and at most until it is due.
    """
    statement = (
        select(broadcasts)
        .where(
            SCHEDULED,
            but(broadcasts.c.id, failing_rows_of(connection).put_off("dispatch")),
            broadcasts.c.due > at,
            broadcasts.c.due <= until,
            broadcasts.c.account.in_(accounts),
            broadcasts.c.staged.is_(None),
            or_(broadcasts.c.stage_at.is_(None), broadcasts.c.stage_at <= at),
            _free(lease_at),
            understood(connection),
        )
        .order_by(broadcasts.c.due)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return read_broadcasts(connection, statement)


def _free(at: Micros) -> ColumnElement[bool]:
    """Whether nobody is preparing it now."""
    return or_(broadcasts.c.lease_until.is_(None), broadcasts.c.lease_until <= at)


def free_staged_by_others(connection: Connection, owner: str) -> int:
    """Where only one process dispatches: clear the leases of others that were preparing; return how many."""
    theirs = and_(SCHEDULED, broadcasts.c.lease_until.is_not(None), broadcasts.c.owner != owner, understood(connection))
    return connection.execute(update(broadcasts).where(theirs).values(**NO_LEASE)).rowcount


def in_state(connection: Connection, state: State, *more: ColumnElement[bool], limit: int = AT_ONCE) -> list[Broadcast]:
    """The broadcasts in a state (and for which `more` holds), the longest waiting first, locked."""
    statement = (
        select(broadcasts)
        .where(in_states(state), understood(connection), *more)
        .order_by(broadcasts.c.changed_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return read_broadcasts(connection, statement)


def abandoned(
    connection: Connection, owner: str, working_on: Collection[str], *, lease_at: Micros, alone: bool
) -> list[Broadcast]:
    """Broadcasts in `sending` that nobody is sending, locked.

    Their lease has lapsed, or it belongs to this owner, who is working on others. `alone`: only this owner is alive.
    """
    lapsed = or_(broadcasts.c.lease_until.is_(None), broadcasts.c.lease_until <= lease_at)
    forgotten = and_(broadcasts.c.owner == owner, broadcasts.c.id.not_in(working_on))
    dead = broadcasts.c.owner != owner if alone else false()
    stumbled = but(broadcasts.c.id, failing_rows_of(connection).put_off("dispatch"))
    return in_state(connection, State.SENDING, or_(lapsed, forgotten, dead), stumbled)


def lapsed(connection: Connection, at: Micros) -> list[Broadcast]:
    """Requests that nobody answered in time, and held broadcasts that nobody decided about, locked."""
    over = and_(broadcasts.c.expires_at <= at, but(broadcasts.c.id, failing_rows_of(connection).put_off("expire")))
    return in_state(connection, State.PENDING, over) + in_state(connection, State.HELD, over)


def reopened(connection: Connection, at: Micros, paused: Collection[str]) -> list[Broadcast]:
    """Broadcasts held only for sending hours that are open now. Those of `paused` workspaces stay held."""
    goes_on = broadcasts.c.workspace.not_in(paused) if paused else true()
    hours = and_(broadcasts.c.hold == Hold.HOURS, broadcasts.c.hold_until <= at)
    stumbled = but(broadcasts.c.id, failing_rows_of(connection).put_off("dispatch"))
    return in_state(connection, State.HELD, hours, goes_on, stumbled)


def voices_wait(connection: Connection, at: Micros) -> bool:
    waiting = select(broadcasts.c.id).where(broadcasts.c.voice_at <= at, _may_speak(connection)).limit(1)
    return connection.execute(waiting).first() is not None


def to_voice(connection: Connection, at: Micros, limit: int = 50) -> list[Broadcast]:
    """Broadcasts whose thread gets a note now, the longest waiting first, locked."""
    waiting = select(broadcasts).where(broadcasts.c.voice_at <= at, _may_speak(connection))
    statement = waiting.order_by(broadcasts.c.voice_at).limit(limit).with_for_update(skip_locked=True)
    return read_broadcasts(connection, statement)


def _may_speak(connection: Connection) -> ColumnElement[bool]:
    return and_(understood(connection), but(broadcasts.c.id, failing_rows_of(connection).put_off("voice")))


def voiced(
    connection: Connection, seen_as: Broadcast, at: Micros, again_at: Micros | None, new_notes: Iterable[Note]
) -> bool:
    """Queue these notes once and set when the next is due. False when another process was faster.

    With a note the card is drawn again, since what it shows of the time may have changed meanwhile.
    """
    note_list = list(new_notes)
    change = update(broadcasts).where(AS_SEEN, broadcasts.c.voice_at.is_not_distinct_from(seen_as.voice_at))
    change = change.values(voice_at=again_at, voices=seen_as.voices + 1)
    if note_list:
        change = change.values(draw_at=at, revision=broadcasts.c.revision + 1)
    if connection.execute(change, seen_values(seen_as)).rowcount == 0:
        return False
    add_notes(connection, seen_as, at, note_list)
    return True


def reviews_wait(connection: Connection, at: Micros) -> bool:
    waiting = select(broadcasts.c.id).where(broadcasts.c.review_at <= at, _may_be_reviewed(connection)).limit(1)
    return connection.execute(waiting).first() is not None


def to_review(connection: Connection, at: Micros, limit: int = 50) -> list[Broadcast]:
    """Broadcasts whose approvers are now reminded to review that they went without approval, locked."""
    waiting = select(broadcasts).where(broadcasts.c.review_at <= at, _may_be_reviewed(connection))
    statement = waiting.order_by(broadcasts.c.review_at).limit(limit).with_for_update(skip_locked=True)
    return read_broadcasts(connection, statement)


def _may_be_reviewed(connection: Connection) -> ColumnElement[bool]:
    return and_(understood(connection), but(broadcasts.c.id, failing_rows_of(connection).put_off("review")))


def slots(connection: Connection, accounts: Sequence[str], at: Micros) -> dict[str, str]:
    """Which broadcast has the one campaign that each of these accounts may have open, by account.

    It is "" where a leftover campaign must be recalled first. A broadcast that cannot be read here has it only while
    somebody works on it.
    """
    if not accounts:
        return {}
    failing_rows = failing_rows_of(connection)
    read = and_(UNDERSTOOD, but(broadcasts.c.id, failing_rows.known("row")))
    mine = and_(broadcasts.c.account.in_(accounts), or_(read, broadcasts.c.lease_until > at))
    open_ones = (
        (SENDING, mine),
        (SCHEDULED, broadcasts.c.staged.is_not(None), mine),
        # an older process keeps its pauses as leases without an owner, and these hold no slot
        (SCHEDULED, broadcasts.c.lease_until > at, broadcasts.c.owner.is_not(None), mine),
    )
    statement = union_all(*(select(broadcasts.c.account, broadcasts.c.id).where(*those) for those in open_ones))
    recalled = and_(leftovers.c.try_at.is_not(None), leftovers.c.tries <= RECALLS_WAITED_FOR)
    theirs = and_(leftovers.c.account.in_(accounts), but(leftovers.c.id, failing_rows.known("leftover")))
    left = select(leftovers.c.account).where(recalled, theirs)
    found = dict.fromkeys(connection.execute(left).scalars(), "")
    return found | {row.account: row.id for row in connection.execute(statement)}


def to_look_at(
    connection: Connection, state: State, at: Micros, limit: int, busy: Collection[str] = ()
) -> list[Broadcast]:
    """Broadcasts in this state, at no `busy` account, whose vendor is to be polled, the longest waiting first."""
    free = broadcasts.c.account.not_in(busy) if busy else true()
    stumbled = but(broadcasts.c.id, failing_rows_of(connection).put_off("look"))
    statement = (
        select(broadcasts)
        .where(broadcasts.c.state == state, broadcasts.c.look_at <= at, free, stumbled, understood(connection))
        .order_by(broadcasts.c.look_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return read_broadcasts(connection, statement)


def unsized(connection: Connection, accounts: Sequence[str], at: Micros, limit: int = 5) -> list[Broadcast]:
    """Waiting broadcasts of these accounts whose size nobody has asked for lately."""
    statement = (
        select(broadcasts)
        .where(
            in_states(State.PENDING, State.SCHEDULED),
            broadcasts.c.size.is_(None),
            broadcasts.c.account.in_(accounts),
            func.coalesce(broadcasts.c.look_at, 0) <= at,
            understood(connection),
        )
        .order_by(broadcasts.c.created_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return read_broadcasts(connection, statement)


def set_look_at(connection: Connection, row: Broadcast, at: Micros | None) -> None:
    mine = and_(broadcasts.c.workspace == row.workspace, broadcasts.c.id == row.id)
    connection.execute(update(broadcasts).where(mine, broadcasts.c.state == row.state).values(look_at=at))
