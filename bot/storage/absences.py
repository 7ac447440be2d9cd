"""Approvers who are away, and who approves in their place until they are back."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from bot.domain.clock import Micros
from bot.storage import sql
from bot.storage.tables import absences


@dataclass(frozen=True)
class Absence:
    """Somebody is away from `since` to `until`, and `delegate` approves in their place."""

    workspace: str
    person: str
    delegate: str
    since: Micros
    until: Micros


def absences_at(connection: Connection, workspace: str, at: Micros) -> list[Absence]:
    """Who is away at this instant, in the order of their ids."""
    rows = absences.c
    statement = select(absences).where(rows.workspace == workspace, rows.since <= at, rows.until > at)
    return [Absence(**row) for row in connection.execute(statement.order_by(rows.person)).mappings()]


def keep_absence(connection: Connection, absence: Absence) -> None:
    """Store it in place of an earlier one of the same person."""
    sql.alone(connection, f"away:{absence.workspace}/{absence.person}")
    end_absence(connection, absence.workspace, absence.person)
    connection.execute(insert(absences).values(vars(absence)))


def end_absence(connection: Connection, workspace: str, person: str) -> bool:
    """Returns False if this person had named nobody."""
    mine = absences.delete().where(absences.c.workspace == workspace, absences.c.person == person)
    return connection.execute(mine).rowcount == 1
