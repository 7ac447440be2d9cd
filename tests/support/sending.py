"""What tests of sending share: campaigns that were staged early, rules for approvals, slips in a text."""

from __future__ import annotations

from typing import Any

from bot.domain.broadcast import Broadcast, BroadcastRequest
from bot.domain.clock import SECOND
from bot.sending.dispatcher import Dispatcher
from bot.storage import tables
from providers.base import Purpose
from tests.support.core import TEAM, Core
from tests.support.ground import in_order

HOUR = 3600 * SECOND


async def staged_early(core: Core) -> tuple[Broadcast, Dispatcher]:
    """An Octopush broadcast inside its undo window, prepared at the vendor."""
    row, dispatcher = await core.approved(audience="newsletter"), core.dispatcher("a")
    await core.run(dispatcher)
    return await core.row(row.id), dispatcher


TWO_FOR_MANY = {"approval.rules": [{"purpose": "marketing", "larger_than": 300, "quorum": 2}]}


async def gone(*_: Any) -> bool:
    """Recalls nothing, like a dead process."""
    return True


async def all_notes(core: Core) -> list[str]:
    rows = await core.database.read(lambda c: c.execute(in_order(tables.notes)).mappings().all())
    return [row["sentence"]["template"] for row in rows]


SLIP = 'Votre rdv est confirme at="demain 9h"'


def request(text: str = SLIP, **changes: Any) -> BroadcastRequest:
    given: dict[str, Any] = {"audience": "staff", "purpose": Purpose.TRANSACTIONAL, "zone": "Europe/Paris"}
    return BroadcastRequest(workspace=TEAM, requester="U0CLEO", channel="C1", text=text, **(given | changes))
