"""All ids of a broadcast, for those who may see it, page by page."""

from __future__ import annotations

import re

import pytest

from bot.app import Bot
from bot.domain.lifecycle import State
from bot.storage import tables
from sandbox.server import Sandbox
from tests.support.ground import StartBot
from tests.support.slack import HERE, approved, settled

IDS = [str(number) for number in range(0, 200_000, 2)]  # a hundred thousand, none of which follows another
IDS[50:60] = ["a-1", "007", "x" * 250, *[str(number) for number in range(900_000, 900_007)]]
LABELS = {"en": "Show ids", "fr": "Afficher les identifiants", "es": "Mostrar los identificadores"}


def last(sandbox: Sandbox, user: str = "U0CLEO") -> str:
    return str(sandbox.acting.ephemerals(user)[-1])


@pytest.mark.long
@pytest.mark.parametrize("language", LABELS)
async def test_a_hundred_thousand_ids_are_shown_page_by_page(
    sandbox: Sandbox, start_bot: StartBot, language: str
) -> None:
    bot: Bot = await start_bot(sandbox, locale=language)
    posted = await approved(sandbox)
    await settled(bot, State.SENT)
    values = {"ids": IDS, "draw_at": 1, "revision": tables.broadcasts.c.revision + 1}
    await bot.database.write(lambda c: c.execute(tables.broadcasts.update().values(**values)))
    place = sandbox.world.channel(HERE)
    await sandbox.until(lambda: LABELS[language] in str(sandbox.world.message(place, posted["ts"])))
    await sandbox.acting.click("U0CLEO", HERE, posted["ts"], "broadcast.show_ids")
    await sandbox.until(lambda: sandbox.acting.ephemerals("U0CLEO"))
    seen, pages = list[str](), 0
    while True:
        shown = "\n".join(
            block["text"]["text"] for block in sandbox.acting.ephemerals("U0CLEO")[-1]["blocks"] if "text" in block
        )
        seen += re.findall(r"^`(.+?)`", shown, re.MULTILINE)
        pages += 1
        if pages == 4:
            break
        before = last(sandbox)
        await sandbox.acting.click("U0CLEO", HERE, sandbox.acting.ephemerals("U0CLEO")[-1]["ts"], "broadcast.ids.next")
        await sandbox.until(lambda before=before: last(sandbox) != before)  # type: ignore[misc]
    expected = [*IDS[:53], "900000–900006", *IDS[60:]]
    assert seen == expected[: len(seen)]
    assert len(seen) == 800
    await sandbox.acting.click("U0CLEO", HERE, sandbox.acting.ephemerals("U0CLEO")[-1]["ts"], "broadcast.ids.first")
    await sandbox.until(lambda: "broadcast.ids.first" not in last(sandbox))


@pytest.mark.long
async def test_whoever_may_not_see_the_broadcast_gets_no_ids(sandbox: Sandbox, bot: Bot) -> None:
    posted = await approved(sandbox)
    row = await settled(bot, State.SENT)
    private = {"ids": ["71001", "71002", "71003", "71004"], "channel": "G0BOARD", "draw_at": None}
    await bot.database.write(lambda c: c.execute(tables.broadcasts.update().values(**private)))
    body = {"type": "button", "value": f"{row.id}:1"}
    await sandbox.acting.act("U0EVA", {"channel": HERE, "ts": posted["ts"]}, "x", "broadcast.show_ids", body, {})
    await sandbox.until(lambda: sandbox.acting.ephemerals("U0EVA"))
    assert "71001" not in last(sandbox, "U0EVA")
