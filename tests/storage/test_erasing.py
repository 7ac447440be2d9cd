"""What an operator erases is gone, and the audit says so without naming it."""

from __future__ import annotations

import asyncio
import base64
import gzip
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Connection, insert

from bot.backup import write_backup
from bot.cli import main
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import State
from bot.domain.numbers import hashed_number
from bot.storage import audit, audit_chain, notes, outbox
from bot.storage.erasure import erase_number, find_number
from bot.storage.notes import Note
from bot.storage.tables import deliveries
from tests.support.core import TEAM, Core
from tests.support.rows import KEY

ANA, BEN = "+33612345678", "+33699999999"
HASHED = partial(hashed_number, b"k" * 32)


def reported(broadcast: str | None, recipient: str, kind: str = "delivery") -> dict[str, Any]:
    row = {"account": "octo", "id": broadcast or "?", "recipient": recipient, "kind": kind, "status": "delivered"}
    owner = {"workspace": TEAM if broadcast else None, "broadcast": broadcast}
    return {**row, **owner, "word": "DLVRD", "final": True, "at": 1}


async def ended(core: Core, state: State = State.DONE, **changes: Any) -> str:
    row = await core.ask()
    await core.edit(row, state=state, **changes)
    return row.id


async def recipients(core: Core) -> set[tuple[str | None, str]]:
    rows = await core.database.read(lambda c: c.execute(deliveries.select()).all())
    return {(row.broadcast, row.recipient) for row in rows}


async def test_a_number_is_removed_from_whatever_has_ended(core: Core) -> None:
    done, alive = await ended(core, subscribers=["33612345678", BEN], kind="group"), await ended(core, State.SENT)
    told = await ended(core, text="Rappelez le 06 12 34 56 78")
    rows = [
        *(reported(id, HASHED(number)) for id in (done, alive, None) for number in (ANA, BEN)),
        reported(done, HASHED(ANA, "STOP"), "reply"),
        reported(done, HASHED(BEN, "STOP"), "reply"),
    ]
    await core.database.write(lambda c: c.execute(insert(deliveries), rows))
    found = await core.database.read(lambda c: find_number(c, "33612345678", HASHED("+33 6 12 34 56 78")))
    assert (len(found.rows), found.listed, found.living, found.texts) == (
        3,
        [(TEAM, done)],
        [(TEAM, alive)],
        [(TEAM, told)],
    )
    await core.database.write(lambda c: erase_number(c, "33612345678", found, core.now))
    assert await recipients(core) == {
        *((id, HASHED(BEN)) for id in (done, alive, None)),
        (done, HASHED(BEN, "STOP")),
        (alive, HASHED(ANA)),
    }
    assert (await core.row(done)).subscribers == (BEN,)
    last = (await core.database.read(lambda c: list(audit.audit_since(c, 0))))[-1]
    assert (last["action"], last["actor"], last["reason"]) == ("erase_number", "operator", "3 deliveries, 1 lists")


Erase = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
def erase(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Erase:
    """Run `bellcrier erase` on the database of the test; return its exit code, and what it says."""
    for name in [name for name in os.environ if name.startswith("BELLCRIER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("BELLCRIER_SECRET_KEY", KEY)

    async def run(*words: str, typed: str = "") -> tuple[int, str]:
        ran = await asyncio.to_thread(CliRunner().invoke, main, ["erase", *words], input=typed)
        return ran.exit_code, ran.output

    return run


async def test_nothing_that_was_written_about_a_broadcast_is_left_once_it_is_erased(
    core: Core, erase: Erase, tmp_path: Path
) -> None:
    id = await ended(core, text="Canary one", typed="Canary two", campaign="Canary three", glass_reason="Canary four")
    row = await core.row(id)

    def leave(connection: Connection) -> None:
        notes.add_notes(connection, row, 1, [Note(Translatable("{x}", x="Canary five"))])
        outbox.post(connection, TEAM, f"asked:{id}:1", "C1", Translatable("{x}", x="Canary six"), None, 1)
        outbox.post(connection, TEAM, "post:7:U0CLEO", "U0CLEO", Translatable("{x}", x="Canary x"), None, 1, about=id)
        outbox.post(connection, TEAM, "digest:2027-01-18", "C1", Translatable(f"{id} {{x}}", x="Canary y"), None, 1)
        audit.write_audit(connection, row, "U0ANA", "reject", row.state, 1, "Canary seven")
        connection.execute(insert(deliveries), [reported(id, str(number)) for number in range(1_200)])
        audit_chain.seal_all(connection)

    await core.database.write(leave)
    assert await canaries(core, tmp_path / "before") == 9
    code, told = await erase(id, "--dry-run")
    assert (code, "notes and 1200 deliveries" in told, "Nothing was erased." in told) == (0, True, True), told
    assert (await erase(id.lower(), typed="n\n"))[0] == 1
    assert await canaries(core, tmp_path / "still") == 9

    code, told = await erase(id, "--yes")
    assert (code, f"Erased {id}." in told) == (0, True), told
    assert await canaries(core, tmp_path / "after") == 0
    assert await recipients(core) == set()
    left = await core.row(id)
    assert (left.digest, left.state, left.text_removed_at is not None) == (row.digest, row.state, True)
    history = await core.database.read(lambda c: audit.history(c, TEAM, id))
    assert [step["action"] for step in history[-2:]] == ["reject", "erase"]
    await core.database.write(audit_chain.seal_all)
    assert (await core.database.read(audit_chain.check_chain)).broken is None
    assert (await erase(id, "--yes"))[0] == 0  # again: nothing is left to erase, and nothing breaks


async def canaries(core: Core, file: Path) -> int:
    """How often a canary stands in a backup of everything."""
    await core.database.read(lambda c: write_backup(c, file, 1))
    return gzip.decompress(file.read_bytes()).count(b"Canary")


async def test_what_cannot_be_erased_is_named(core: Core, erase: Erase) -> None:
    alive = (await core.ask()).id
    for what, said in {
        alive: f"{alive} still lives. Cancel it",
        "B2222222": "There is no broadcast B2222222.",
        "Ana": "neither a number, such as +33612345678, nor the id of a broadcast",
    }.items():
        code, told = await erase(what, "--yes")
        assert (code, said in told) == (1, True), told


async def test_a_number_without_its_country_is_refused_since_it_would_not_be_found(core: Core, erase: Erase) -> None:
    for number in ("0612345678", "33612345678", "06 12 34 56 78"):
        code, told = await erase(number, "--yes")
        assert (code, "Write it with its country, such as +33612345678." in told) == (2, True), told
    for number in (ANA, "0033612345678", "\u202d+33 6 12 34 56 78\u202c", "tel:+33612345678"):
        code, told = await erase(number, "--yes")
        assert (code, "Nothing that can be erased is stored" in told) == (0, True), told


@pytest.mark.long
async def test_a_number_can_be_typed_where_no_shell_keeps_it(core: Core, erase: Erase) -> None:
    done, alive = await ended(core), await ended(core, State.SENT)
    key = base64.b64decode(KEY)
    rows = [reported(id, hashed_number(key, ANA)) for id in (done, alive)]
    await core.database.write(lambda c: c.execute(insert(deliveries), rows))
    code, told = await erase("-", "--yes", typed=f"{ANA}\n")
    assert (code, "Erased." in told, f"{alive} still need it" in told, ANA in told) == (1, True, True, False), told
    assert {broadcast for broadcast, _ in await recipients(core)} == {alive}
