"""Small values by name: what was seen already, pauses, leases, breakers. Every kind of name has its functions here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, and_, select, update

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Micros
from bot.storage import homes
from bot.storage.sql import IN_A_STATEMENT, alone, insert_ignoring, read_pair
from bot.storage.tables import kept, seen

BREAKER_FAILURES = 3  # in a row, before nobody tries an account for a while
FORM_KEPT = 7 * 24 * 3600 * SECOND  # how long what was typed in a form and not submitted is offered again
LONGEST = 255  # characters of a key


def first_time(connection: Connection, workspace: str, key: str, at: Micros) -> bool:
    """Return True when this key (an event id, a trigger) first arrives, False for every redelivery."""
    return insert_ignoring(connection, seen, [{"workspace": workspace, "key": key, "at": at}]) == 1


def was_seen(connection: Connection, workspace: str, key: str) -> bool:
    statement = select(seen.c.at).where(seen.c.workspace == workspace, seen.c.key == key)
    return connection.execute(statement).first() is not None


def keep_latest(connection: Connection, workspace: str, key: str, at: Micros) -> None:
    """Remember when this last happened; an earlier time changes nothing."""
    if insert_ignoring(connection, seen, [{"workspace": workspace, "key": key, "at": at}]):
        return
    same = and_(seen.c.workspace == workspace, seen.c.key == key, seen.c.at < at)
    connection.execute(update(seen).where(same).values(at=at))


def last_time(connection: Connection, workspace: str, key: str) -> Micros:
    """When it last happened; 0 for never."""
    statement = select(seen.c.at).where(seen.c.workspace == workspace, seen.c.key == key)
    return connection.execute(statement).scalar_one_or_none() or 0


def last_times(connection: Connection, workspace: str, keys: Sequence[str]) -> dict[str, Micros]:
    """When each of these last happened, without those that never did."""
    statement = select(seen.c.key, seen.c.at).where(seen.c.workspace == workspace, seen.c.key.in_(keys))
    return {row.key: row.at for row in connection.execute(statement)}


def forget_seen(connection: Connection, before: Micros, limit: int = IN_A_STATEMENT) -> None:
    """Forget the oldest keys seen before then, a few at a time, since people wait for the same writer."""
    old = seen.c.at < before
    further = connection.execute(select(seen.c.at).where(old).order_by(seen.c.at).offset(limit).limit(1)).scalar()
    connection.execute(seen.delete().where(old if further is None else seen.c.at <= further))


@dataclass(frozen=True)
class Stops:
    """What is stopped now: paused workspaces, and accounts with an open breaker (and until when)."""

    paused: frozenset[str]
    away: Mapping[str, Micros]


def stops(connection: Connection, at: Micros) -> Stops:
    found = connection.execute(select(kept).where(kept.c.name.like("breaker:%")))
    known = {row.name.removeprefix("breaker:"): _breaker(row.value) for row in found}
    away = {account: breaker.until for account, breaker in known.items() if breaker.is_open(at)}
    return Stops(paused_workspaces(connection), away)


@dataclass(frozen=True)
class Breaker:
    """How often in a row an account's vendor could not be reached, and until when nobody tries it."""

    failures: int = 0
    until: Micros = 0

    @property
    def has_tripped(self) -> bool:
        return self.failures >= BREAKER_FAILURES

    def is_open(self, at: Micros) -> bool:
        return self.has_tripped and self.until > at


def tripped(connection: Connection) -> frozenset[str]:
    """The accounts whose vendor could not be reached lately, until it gives a clear answer."""
    found = connection.execute(select(kept).where(kept.c.name.like("breaker:%")))
    return frozenset(row.name.removeprefix("breaker:") for row in found if _breaker(row.value).has_tripped)


def breaker(connection: Connection, account: str) -> Breaker:
    return _breaker(load_kept(connection, f"breaker:{account}"))


def set_breaker(connection: Connection, account: str, state: Breaker, at: Micros) -> None:
    keep(connection, f"breaker:{account}", json.dumps([state.failures, state.until]), at)


def paused(connection: Connection, workspace: str) -> bool:
    """Whether an admin has paused all sending of this workspace."""
    return bool(load_kept(connection, f"pause:{workspace}"))


def paused_workspaces(connection: Connection) -> frozenset[str]:
    """Every workspace whose sending an admin has paused."""
    pauses = select(kept.c.name).where(kept.c.name.like("pause:%"), kept.c.value != "")
    return frozenset(name.removeprefix("pause:") for name in connection.execute(pauses).scalars())


def resumed_at(connection: Connection, workspace: str) -> Micros:
    """When all sending of this workspace last resumed; 0 if it was never paused, or is paused now."""
    statement = select(kept.c.at).where(kept.c.name == f"pause:{workspace}", kept.c.value == "")
    return connection.execute(statement).scalar_one_or_none() or 0


def set_paused(connection: Connection, workspace: str, by: str | None, at: Micros) -> None:
    """Pause all sending of this workspace. `by`: the admin; None resumes."""
    keep(connection, f"pause:{workspace}", by or "", at)
    homes.stir(connection, workspace, at)


@dataclass(frozen=True)
class Notice:
    """A trouble that admins know of: why, and since when."""

    code: str
    at: Micros


def open_notices(connection: Connection, of: str | None = None) -> dict[str, Notice]:
    """The troubles that have begun and not ended, by name. `of`: one of many workspaces, whose admins are told."""
    start = _notice("", of)
    found = connection.execute(select(kept).where(kept.c.name.startswith(start, autoescape=True)))
    return {row.name.removeprefix(start): Notice(row.value, row.at) for row in found}


def open_notice(connection: Connection, name: str, code: str, at: Micros, of: str | None = None) -> None:
    keep(connection, _notice(name, of), code, at)
    homes.stir(connection, of, at)


def close_notice(connection: Connection, name: str, at: Micros, of: str | None = None) -> None:
    connection.execute(kept.delete().where(kept.c.name == _notice(name, of)))
    homes.stir(connection, of, at)


def _notice(name: str, of: str | None) -> str:
    return f"notice:{name}" if of is None else f"notice of {of}:{name}"


def keep_credit(connection: Connection, account: str, credit: str, at: Micros) -> None:
    """Remember the credit of an account, with its unit, as the vendor last told it."""
    keep(connection, f"credit:{account}", credit, at)


def credits_of(connection: Connection, accounts: Sequence[str]) -> dict[str, str]:
    """The credit of each of these accounts whose vendor has told it."""
    names = [f"credit:{account}" for account in accounts]
    found = connection.execute(select(kept.c.name, kept.c.value).where(kept.c.name.in_(names)))
    return {row.name.removeprefix("credit:"): row.value for row in found}


def keep_form(
    connection: Connection, workspace: str, person: str, values: Mapping[str, object], at: Micros, about: str = ""
) -> None:
    """Keep what a person has typed in a form and not submitted yet.

    `about`: what the form changes, completes, follows, corrects or was opened from; empty for a new broadcast.
    """
    keep(connection, _of_form(workspace, person, about), json.dumps(values), at)


def forget_old_forms(connection: Connection, now: Micros) -> None:
    """Forget what was typed too long ago to be offered again."""
    forms = kept.c.name.startswith("form:", autoescape=True)  # a range would depend on the database's collation
    connection.execute(kept.delete().where(forms, kept.c.at <= now - FORM_KEPT))


@dataclass(frozen=True)
class KeptForm:
    """What somebody has typed in a form and not submitted, by field, and when."""

    values: Mapping[str, Any]
    at: Micros


def kept_form(connection: Connection, workspace: str, person: str, now: Micros, about: str = "") -> KeptForm | None:
    """Return what they have typed lately and not submitted."""
    mine = kept.c.name == _of_form(workspace, person, about), kept.c.at > now - FORM_KEPT
    row = connection.execute(select(kept.c.value, kept.c.at).where(*mine)).first()
    return None if row is None else KeptForm(json.loads(row.value), row.at)


def forget_form(connection: Connection, workspace: str, person: str, about: str = "") -> None:
    """Forget it: it was submitted, or is not wanted any more."""
    connection.execute(kept.delete().where(kept.c.name == _of_form(workspace, person, about)))


def _of_form(workspace: str, person: str, about: str) -> str:
    return f"form:{workspace}/{person}/{about}" if about else f"form:{workspace}/{person}"


def keep_filling(connection: Connection, workspace: str, draft: str, filling: Mapping[str, object], at: Micros) -> None:
    """Keep what a draft was filled in from: a template, and what its slots say."""
    keep(connection, f"filling:{workspace}/{draft}", json.dumps(filling), at)


def filling_of(connection: Connection, workspace: str, draft: str) -> Mapping[str, Any]:
    """Return it; empty for an ordinary draft."""
    found = load_kept(connection, f"filling:{workspace}/{draft}")
    return json.loads(found) if found else {}


def forget_filling(connection: Connection, workspace: str, draft: str) -> None:
    """Forget it: the draft is an ordinary text now, or no draft any more."""
    connection.execute(kept.delete().where(kept.c.name == f"filling:{workspace}/{draft}"))


def take_lease(connection: Connection, name: str, owner: str, seconds: float, at: Micros) -> bool:
    """Take or renew this lease for a while. Return whether `owner` holds it now."""
    alone(connection, f"lease:{name}")
    holder, until = _lease(connection, name)
    if holder != owner and until > at:
        return False
    keep(connection, f"lease:{name}", json.dumps([owner, at + int(seconds * 1_000_000)]), at)
    return True


def lease_holder(connection: Connection, name: str, at: Micros) -> str | None:
    """Return who holds this lease now."""
    holder, until = _lease(connection, name)
    return holder if until > at else None


def last_painter(connection: Connection, of: str | None = None) -> str | None:
    """Return who held the lease of the painter last, of the only workspace or of one, even if it has run out."""
    return _lease(connection, lease_of_painter(of))[0] or None


def _lease(connection: Connection, name: str) -> tuple[str, Micros]:
    holder, until = read_pair(load_kept(connection, f"lease:{name}"), str)
    return holder or "", until


def _breaker(value: str | None) -> Breaker:
    failures, until = read_pair(value, int)
    return Breaker(failures or 0, until)


def load_kept(connection: Connection, name: str) -> str | None:
    return connection.execute(select(kept.c.value).where(kept.c.name == name)).scalar_one_or_none()


def keep(connection: Connection, name: str, value: str, at: Micros) -> None:
    if not insert_ignoring(connection, kept, [{"name": name, "value": value, "at": at}]):
        connection.execute(update(kept).where(kept.c.name == name).values(value=value, at=at))


def try_to_write(connection: Connection, at: Micros) -> None:
    """Write something that takes room, and take it away again: a value in its old place would need none."""
    keep(connection, "write", "x" * 8192, at)
    connection.execute(kept.delete().where(kept.c.name == "write"))


# --- names of the keys -----------------------------------------------------------------------------------------------
#
# For what was seen (`first_time`, `was_seen`, `keep_latest`, `last_time`):


def of_event(id: object) -> str:
    """A Slack event, which Slack redelivers until it is acknowledged."""
    return f"event:{id}"[:LONGEST]


def of_reaction(what: Literal["reacted", "unreacted"], reaction: str) -> str:
    """When a reaction was added or removed. `reaction`: channel, message, person and emoji, separated by colons."""
    return f"{what}:{reaction}"[:LONGEST]


def of_question(about: str) -> str:
    """A question about a possible slip that somebody has read. `about`: a hash of its place and its words."""
    return f"asked:{about}"


def of_wait(row: Broadcast) -> str:
    """The note that the vendor of this broadcast cannot be reached."""
    return f"waits:{row.id}:{row.version}:{row.start_at}"


def of_reason(row: Broadcast) -> str:
    """The reason of a rejection that had none."""
    return f"reason:{row.id}:{row.version}"


def of_silence(row: Broadcast) -> str:
    """The note that Slack does not say who may still approve it."""
    return f"slack:{row.id}:{row.version}:{row.start_at}"


def of_late_answer(row: Broadcast) -> str:
    """The note about a late answer to this attempt."""
    return f"late:{row.id}:{row.attempt}"


# For what is kept (`load_kept`, `keep`, `take_lease`, `lease_holder`), besides pauses, leases and breakers above:


def of_unasked(account: str) -> str:
    """The package of an adapter that released without asking whether it still may."""
    return f"unasked:{account}"


def of_vault(account: str, key: str) -> str:
    """A small secret that a vendor gave to this account."""
    return f"vault:{account}:{key}"


def lease_of_renewal(id: str) -> str:
    """The lease under which one process renews the token of an installation."""
    return f"renew:{id}"


def lease_of_quote(account: str) -> str:
    """The lease under which a quote takes the account's one slot."""
    return f"quote:{account}"


def lease_of_painter(workspace: str | None) -> str:
    """The lease under which one process paints. `workspace`: None for the only one, as older processes name it."""
    return "paint" if workspace is None else f"paint:{workspace}"


def lease_of_credit(of: str | None) -> str:
    """`of`: one of many workspaces."""
    return "credit" if of is None else f"credit:{of}"
