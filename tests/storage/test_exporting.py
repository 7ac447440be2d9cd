"""The export of the audit: sentences, in people's times."""

from __future__ import annotations

import ast
import asyncio
import csv
import io
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Connection, insert

from bot.cli import main
from bot.domain.lifecycle import Action, State
from bot.exporting import DEEDS, EXPORTED, sentence
from bot.storage import audit_chain, broadcasts, tables
from bot.storage.database import Database
from tests.support.databases import ROOT
from tests.support.rows import KEY
from tests.support.rows import row as sample

Stored = dict[str, Any]
Export = Callable[..., Awaitable[tuple[int, str]]]
SUMMER, WINTER = 1_783_000_000_000_000, 1_800_000_000_000_000  # 2 July 2026 and 15 January 2027


def row(
    actor: str, action: str, broadcast: str | None = None, version: int | None = None, **more: Any
) -> dict[str, Any]:
    given = {"workspace": "T1", "broadcast": broadcast, "version": version, "actor": actor, "action": action}
    return {**given, "reason": None, "at": SUMMER, **more}


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (row("U0ANA", "approve", "B7K2QXA", 2), "U0ANA approved B7K2QXA (version 2)."),
        (row("clock", "start", "B7K2QXA", 1), "The clock started B7K2QXA (version 1)."),
        (row("octopush", "accept", "B7K2QXA", 1), "octopush accepted B7K2QXA (version 1)."),
        (row("U0ANA", "reject", "B7K2QXA", 1, reason="Too\nlong"), "U0ANA rejected B7K2QXA (version 1): Too long"),
        (row("U0EVE", "approve_refused", "B7K2QXA", 1, reason="NotAllowed"),
         "U0EVE was not allowed to approve B7K2QXA (version 1): NotAllowed"),
        (row("U0EVE", "pause_all_refused"), "U0EVE was not allowed to pause all."),
        (row("U0OPS", "pause_all"), "U0OPS paused all sending."),
        (row("U0BEN", "stop_reminder", "B7K2QXA"), "U0BEN stopped the reminder B7K2QXA."),
        (row("operator", "erase_number", reason="3 deliveries, 1 lists"),
         "The operator erased a number: 3 deliveries, 1 lists"),
        (row("U0ANA", "dance", "B7K2QXA", 1), "U0ANA did “dance” to B7K2QXA (version 1)."),
        (row("U0ANA", "{it}", None, None), "U0ANA did “{it}” to it."),
    ],
)  # fmt: skip
def test_each_row_is_a_sentence(stored: Stored, said: str) -> None:
    assert sentence(stored) == said


def test_whatever_may_happen_to_a_broadcast_has_words() -> None:
    assert set(Action) <= DEEDS.keys()


@pytest.fixture
def export(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Export:
    """Run `bellcrier export` on the database of the test; return its exit code, and what it prints."""
    for name in [name for name in os.environ if name.startswith("BELLCRIER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("BELLCRIER_SECRET_KEY", KEY)
    monkeypatch.setenv("BELLCRIER_TIMEZONE", "Europe/Paris")

    async def run(*words: str) -> tuple[int, str]:
        ran = await asyncio.to_thread(CliRunner().invoke, main, ["export", *words])
        return ran.exit_code, ran.output

    return run


def fill(connection: Connection) -> None:
    connection.execute(insert(tables.audit), [row("U0ANA", "pause_all"), row("U0ANA", "resume_all", at=WINTER)])
    audit_chain.seal_all(connection)


async def test_times_are_those_of_the_settings_or_of_the_zone_that_is_asked_for(
    database: Database, export: Export
) -> None:
    await database.write(fill)
    code, printed = await export()
    told = list(csv.DictReader(io.StringIO(printed)))
    assert (code, tuple(told[0])) == (0, EXPORTED)
    assert [one["time"] for one in told] == ["2026-07-02T15:46:40+02:00", "2027-01-15T09:00:00+01:00"]
    assert [one["sentence"] for one in told] == ["U0ANA paused all sending.", "U0ANA resumed all sending."]
    heads = await database.read(audit_chain.heads)
    assert told[-1]["hash"] == heads["T1"].hash
    code, printed = await export("--format", "jsonl", "--timezone", "America/New_York", "--since", "2027-01-15")
    (only,) = map(json.loads, printed.splitlines())
    assert (code, only["time"], only["at"]) == (0, "2027-01-15T03:00:00-05:00", WINTER)


async def test_days_that_hold_nothing_are_refused(export: Export) -> None:
    for since, until in (("2027-01-16", "2027-01-15"), ("2027-01-15", "2027-01-15")):
        code, printed = await export("--since", since, "--until", until)
        assert (code, "--until: it must be a later day than --since" in printed) == (2, True)


@pytest.mark.long
async def test_a_day_begins_at_midnight_of_the_zone(database: Database, export: Export) -> None:
    await database.write(fill)
    for words, count in {
        ("--since", "2027-01-15"): 1,
        ("--since", "2027-01-16"): 0,
        ("--until", "2027-01-15"): 1,
        ("--until", "2027-01-16"): 2,
        ("--since", "2027-01-15", "--timezone", "Pacific/Kiritimati"): 1,
        ("--until", "2027-01-15", "--timezone", "Pacific/Kiritimati"): 1,
        ("--since", "2027-01-16", "--timezone", "Pacific/Auckland"): 0,
    }.items():
        code, printed = await export("--format", "jsonl", *words)
        assert (code, len(printed.splitlines())) == (0, count), words
    code, printed = await export("--timezone", "Paris")
    assert (code, "--timezone: Paris is no time zone; write it like Europe/Paris." in printed) == (2, True)


def test_every_step_that_is_audited_has_a_sentence_of_its_own() -> None:
    calls = (call for path in (ROOT / "bot").rglob("*.py") for call in ast.walk(ast.parse(path.read_text())))
    written = [call for call in calls if isinstance(call, ast.Call) and ast.unparse(call.func).endswith(WRITERS)]
    actions = {arg.value for call in written for arg in call.args[3:4] if isinstance(arg, ast.Constant)}
    assert {"install", "uninstall", "accept_late"} <= actions
    assert actions - DEEDS.keys() == set()


WRITERS = ("write_audit", "write_event")


async def test_where_a_vendor_accepted_a_broadcast_all_its_ids_stand(database: Database, export: Export) -> None:
    ids = ["7", *(str(number) for number in range(24, 10_024)), *(str(2 * number) for number in range(9_000, 9_150))]
    sent = sample(state=State.SENT, ids=tuple(ids), workspace="T1")

    def accepted(connection: Connection) -> None:
        broadcasts.add(connection, sent, draw=False)
        told = [row("octopush", "accept", sent.id, 1), row("U0ANA", "approve", sent.id, 1)]
        connection.execute(insert(tables.audit), told)

    await database.write(accepted)
    code, printed = await export()
    found = {one["action"]: one["ids"] for one in csv.DictReader(io.StringIO(printed))}
    assert (code, found["approve"]) == (0, "")
    assert found["accept"] == ", ".join(["7", "24–10023 (10000)", *ids[-150:]])
