"""Home shows each person what concerns them, and what they approve there is what they saw there."""

from __future__ import annotations

import json

from bot.app import Bot
from bot.domain.lifecycle import State
from bot.storage import broadcasts
from sandbox.server import Sandbox
from sandbox.world import Json
from tests.support.slack import ask

ANA, CLEO, DAN = "U0ANA", "U0CLEO", "U0DAN"
SECRET = "Soldes secrètes chez Bell"


async def opened(sandbox: Sandbox, user: str) -> Json:
    """Open this person's Home, and return it once it has been drawn."""
    before = (sandbox.acting.home.shown(user) or {}).get("hash")
    sandbox.acting.home.open(user)
    await sandbox.until(lambda: (sandbox.acting.home.shown(user) or {}).get("hash") not in (None, before))
    return sandbox.acting.home.shown(user) or {}


def read(view: Json | None) -> str:
    return json.dumps((view or {}).get("blocks", []), ensure_ascii=False)


def buttons(view: Json) -> list[tuple[str, str]]:
    elements = [e for block in view["blocks"] for e in [*block.get("elements", []), block.get("accessory") or {}]]
    return [(e["action_id"], str(e.get("value"))) for e in elements if "action_id" in e]


async def test_an_approver_sees_what_waits_reads_all_of_it_and_approves_it_from_home(
    sandbox: Sandbox, bot: Bot
) -> None:
    text = " ".join([SECRET, *(["mot"] * 60), "fin"])
    await ask(sandbox, f"send clients marketing {text}", user=DAN)
    home = await opened(sandbox, ANA)
    assert "broadcast.approve" not in {name for name, _ in buttons(home)}  # the whole text does not stand there
    value = next(value for name, value in buttons(home) if name == "broadcast.look")
    await sandbox.acting.home.press(ANA, "broadcast.look", value)
    (view,) = sandbox.acting.views(ANA)
    assert text in read(view)
    assert await sandbox.acting.home.press(ANA, "broadcast.approve", value, view=view)
    await sandbox.until(lambda: "Approved by" in read(sandbox.acting.views(ANA)[-1]))
    row = await bot.database.read(lambda c: broadcasts.find(c, "T0BELL", value.split(":")[0]))
    assert row.state in (State.SCHEDULED, State.SENDING, State.SENT)
    await sandbox.until(lambda: "Nothing waits for you." in read(sandbox.acting.home.shown(ANA)))
