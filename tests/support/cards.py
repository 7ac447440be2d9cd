"""What tests of cards share: where a card is, its buttons, its notes."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from bot.app import Bot
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Micros
from bot.domain.i18n import Translatable, translator_for
from bot.domain.lifecycle import Action
from bot.slack.blocks import card_facts
from bot.slack.blocks.card import draw_card
from bot.storage import tables
from bot.storage.notes import Note
from bot.workflow.decision_types import Sight
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.core import CLEO, TEAM, Core, decision
from tests.support.slack import HERE

HOUR = 3600 * SECOND
STANDS = ("C1", "1.1")  # where the card is
SEEN = Sight(*STANDS)
OPS = dataclasses.replace(CLEO, id="U0OPS")


def at(text: str) -> Micros:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


def shown(sandbox: Sandbox) -> str:
    return json.dumps(sandbox.acting.messages(HERE)[0]["blocks"], ensure_ascii=False)


def button(sandbox: Sandbox, action: str) -> Json | None:
    elements = [e for block in sandbox.acting.messages(HERE)[0]["blocks"] for e in block.get("elements", [])]
    return next((element for element in elements if element.get("action_id") == action), None)


async def notes(core: Core) -> list[str]:
    """Return the notes of all threads, in order."""
    said = select(tables.notes.c.sentence).order_by(tables.notes.c.seq)
    found = await core.database.read(lambda c: c.execute(said).scalars().all())
    return [str(Translatable.of(told)) for told in found]


def question(row: Any, action: str = "broadcast.approve", language: str = "en", **more: Any) -> str:
    given = {"verdict": None, "training": False, "zone": "Europe/Paris", "undo": 30, **more}
    showing = card_facts.CardContext((), "Encom", None, **given)
    elements = [
        e for block in draw_card(row, showing, translator_for(language)).blocks for e in block.get("elements", [])
    ]
    (found,) = [element for element in elements if element.get("action_id") == action]
    return str(found["confirm"]["text"]["text"])


async def act(bot: Bot, user: str, row: Broadcast, action: Action, reason: str) -> None:
    person = await bot.people.person(TEAM, user)
    await bot.workflow.act(TEAM, row.id, decision(action, reason=reason), person=person, version=row.version)


async def told_of(core: Core, row: Broadcast) -> list[Note]:
    """Return every note of its thread, posted or not."""
    mine = tables.notes.select().where(tables.notes.c.broadcast == row.id).order_by(tables.notes.c.seq)
    found = await core.database.read(lambda c: c.execute(mine).mappings().all())
    return [Note(Translatable.of(one["sentence"]), one["mention"], bool(one["aloud"])) for one in found]
