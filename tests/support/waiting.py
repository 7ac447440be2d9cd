"""A core whose broadcasts wait, for days and through restarts."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Action
from bot.domain.people import DirectoryUnavailable, Person
from bot.storage import tables
from bot.storage.database import Database
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.core import TEAM, Core, approver, decision
from tests.support.ground import in_order
from tests.support.slack import HERE

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class Waiting(Core):
    """The core with its voices; a test can discard it and build a new one over the same database."""

    def __init__(self, database: Database, sandbox: Sandbox, folder: Path, **changes: Any) -> None:
        super().__init__(database, sandbox, folder, **{"admins": ["U0OPS"], **changes})
        self.silent, self.asked = False, 0

    async def members(self, group: str) -> frozenset[str]:
        self.asked += 1
        if self.silent:
            raise DirectoryUnavailable(group)
        return await super().members(group)

    async def act(self, row: Broadcast, action: Action, person: Person, **told: Any) -> Broadcast:
        """Act on the current version of the row, whatever version the test holds."""
        current = await self.row(row.id)
        return await self.workflow.act(TEAM, row.id, decision(action, **told), person=person, version=current.version)

    async def sent(self) -> int:
        """Process everything that is due; return how many broadcasts have gone out."""
        await self.run(self.dispatcher("a"))
        return len(self.sandbox.vendors.ledger)

    async def held(self, **changes: Any) -> Broadcast:
        """Return a held broadcast that is past its grace."""
        row = await self.approved(**changes)
        self.now += 11 * MINUTE
        await self.run(self.dispatcher("a"))
        return await self.row(row.id)

    async def told(self, row: Broadcast) -> list[tuple[str, str | None]]:
        """Return the notes of its thread, oldest first, each with the people it names."""
        table = tables.notes
        mine = table.select().where(table.c.broadcast == row.id).order_by(table.c.seq)
        rows = await self.database.read(lambda c: c.execute(mine).mappings().all())
        return [(str(Translatable.of(note["sentence"])), note["mention"]) for note in rows]

    async def posts(self) -> list[tuple[str, str]]:
        rows = await self.database.read(lambda c: c.execute(in_order(tables.posts)).mappings().all())
        return [(post["place"], str(Translatable.of(post["sentence"]))) for post in rows]

    async def pass_time(self, until: int, *others: Database) -> list[tuple[int, str, str | None]]:
        """Tick every five minutes until then; return each note posted, with its time and the people it names."""
        said: list[tuple[int, str, str | None]] = []
        known = len(await self.all_told())
        voices = [self.approval_reminders(), *map(self.approval_reminders, others)]
        while self.now < until:
            self.now += 5 * MINUTE
            await asyncio.gather(*(one.tick() for one in voices))
            new = (await self.all_told())[known:]
            known += len(new)
            said += [(self.now, *one) for one in new]
            await self.workflow.expire()
            known = len(await self.all_told())
        return said

    async def all_told(self) -> list[tuple[str, str | None]]:
        rows = await self.database.read(lambda c: c.execute(in_order(tables.notes)).mappings().all())
        return [(str(Translatable.of(note["sentence"])), note["mention"]) for note in rows]


MakeWaiting = Callable[..., Waiting]


async def press(sandbox: Sandbox, user: str, posted: Json, name: str) -> Json:
    """Wait for a button, or an entry of the menu, that opens a form, press it, and return the form."""
    place, names = sandbox.world.channel(HERE), (f"broadcast.{name}", f"'{name}:")
    await sandbox.until(lambda: any(n in str(sandbox.world.message(place, posted["ts"])["blocks"]) for n in names))
    await sandbox.acting.click(user, HERE, posted["ts"], f"broadcast.{name}")
    return sandbox.acting.views(user)[-1]


def told_directly(sandbox: Sandbox, user: str) -> list[str]:
    """Return what the bot told this person directly, oldest first."""
    return [message["text"] for message in sandbox.acting.messages(sandbox.world.direct(user).id)]


def user(id: str) -> Person:
    return dataclasses.replace(approver(0), id=id)
