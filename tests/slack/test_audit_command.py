"""`/broadcast audit`: who may see it, its pages, and the file."""

from __future__ import annotations

import csv
import io
import json
from functools import partial
from typing import Any

import pytest

from bot.app import Bot
from bot.domain.errors import NotAllowed
from bot.slack.commands.audit import Asked
from bot.storage.audit import write_event
from sandbox.server import Sandbox
from tests.support.ground import StartBot
from tests.support.slack import HERE, ask, drawn

OPS, CLEO, ANA, EVA = "U0OPS", "U0CLEO", "U0ANA", "U0EVA"
ADMINS: dict[str, Any] = {"admins": [OPS]}


def answer(sandbox: Sandbox, user: str) -> str:
    return json.dumps(sandbox.acting.ephemerals(user)[-1]["blocks"], ensure_ascii=False)


async def press(sandbox: Sandbox, user: str, name: str) -> None:
    await sandbox.acting.click(user, HERE, sandbox.acting.ephemerals(user)[-1]["ts"], f"broadcast.{name}")


def files(sandbox: Sandbox) -> list[Any]:
    return [file for file in sandbox.api.files.kept.values() if file.content is not None]


async def written(bot: Bot, count: int) -> None:
    for number in range(count):
        await bot.database.write(
            partial(write_event, workspace="T0BELL", actor=OPS, action="pause_all", reason=f"r{number}", at=number + 1)
        )


@pytest.mark.long
async def test_who_may_see_what(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox, **ADMINS)
    await ask(sandbox, "send clients marketing Soldes")
    row = await drawn(bot)
    for user, line, sees in (
        (OPS, "audit", True), (OPS, f"audit {row.id}", True), (CLEO, f"audit {row.id}", True),
        (ANA, f"audit {row.id.lower()}", True), (CLEO, "audit", False), (EVA, f"audit {row.id}", False),
    ):  # fmt: skip
        told = await ask(sandbox, line, user=user)
        assert ("asked for" in told and f"`{row.digest[:8]}`" in told) is sees, (user, line, told)
        assert ("asked for" not in told) is not sees
    assert "Only an admin can see the whole audit" in await ask(sandbox, "audit", user=CLEO)
    assert "There is no broadcast" in await ask(sandbox, "audit BZZZZZZZ", user=CLEO)
    assert "There is no broadcast" in await ask(sandbox, "audit BZZZZZZZ", user=OPS)
    assert f"Refused: <@{EVA}>: audit" in await ask(sandbox, f"audit {row.id}", user=OPS)


@pytest.mark.long
async def test_pages_go_on_by_the_place_in_the_chain(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox, **ADMINS)
    await written(bot, 25)
    await ask(sandbox, "audit", user=OPS)
    seen = list[str]()
    for turn in range(3):
        seen += [f"r{n}" for n in range(24, -1, -1) if f"“r{n}”" in answer(sandbox, OPS)]
        if turn < 2:
            before = answer(sandbox, OPS)
            await press(sandbox, OPS, "audit.next")
            await sandbox.until(lambda before=before: answer(sandbox, OPS) != before)  # type: ignore[misc]
    assert seen == [f"r{n}" for n in range(24, -1, -1)]
    assert "broadcast.audit.next" not in answer(sandbox, OPS)
    await press(sandbox, OPS, "audit.first")
    await sandbox.until(lambda: "“r24”" in answer(sandbox, OPS))


@pytest.mark.long
async def test_the_file_comes_as_a_direct_message_and_no_cell_is_a_formula(
    sandbox: Sandbox, start_bot: StartBot
) -> None:
    bot = await start_bot(sandbox, **ADMINS)
    await ask(sandbox, "send clients marketing Soldes")
    row = await drawn(bot)
    await ask(sandbox, f"cancel {row.id} =HYPERLINK(0)")
    await ask(sandbox, f"audit {row.id}")
    await press(sandbox, CLEO, "audit_csv")
    assert "direct message" in sandbox.acting.ephemerals(CLEO)[-1]["text"]
    await sandbox.until(lambda: files(sandbox))
    (file,) = files(sandbox)
    rows = list(csv.DictReader(io.StringIO(file.content.decode())))
    assert [one["action"] for one in rows] == ["cancel", "submit"]
    assert rows[0]["reason"] == "'=HYPERLINK(0)"
    assert rows[0]["sentence"].startswith(f"{CLEO} cancelled {row.id} (version 1)")
    assert int(rows[0]["place"]) > int(rows[1]["place"])
    direct = sandbox.world.direct(CLEO).id
    await sandbox.until(lambda: [m for m in sandbox.acting.messages(direct) if m.get("files")])
    (posted,) = [m for m in sandbox.acting.messages(direct) if m.get("files")]
    assert posted["files"][0]["name"].startswith(f"audit-{row.id}-")


@pytest.mark.long
async def test_without_the_scope_one_sentence_names_the_fix(sandbox: Sandbox, start_bot: StartBot) -> None:
    bot = await start_bot(sandbox, **ADMINS)
    await written(bot, 1)
    sandbox.deny("files:write")
    await ask(sandbox, "audit", user=OPS)
    await press(sandbox, OPS, "audit_csv")
    await sandbox.until(lambda: "the scope `files:write`" in sandbox.acting.ephemerals(OPS)[-1]["text"])
    assert files(sandbox) == []


@pytest.mark.parametrize("value", ["", "null", "[]", '["x"]', '["x", 1, 2]', "[" * 100_000, "7"])
def test_a_value_that_is_none_of_ours_shows_nothing(value: str) -> None:
    with pytest.raises(NotAllowed):
        Asked.of(value)


def test_a_value_is_read_as_it_was_written() -> None:
    for asked in (Asked(), Asked("B234679"), Asked("B234679", 7), Asked("", 12)):
        assert Asked.of(asked.value()) == asked
