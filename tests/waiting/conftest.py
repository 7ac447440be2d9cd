"""Cores whose broadcasts wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.storage.database import Database
from sandbox.server import Sandbox
from tests.support.waiting import MakeWaiting, Waiting


@pytest.fixture
async def make(database: Database, sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[MakeWaiting]:
    made: list[Waiting] = []

    def build(**changes: Any) -> Waiting:
        made.append(Waiting(database, sandbox, tmp_path, **changes))
        return made[-1]

    yield build
    for core in made:
        await core.close()


@pytest.fixture
def core(make: MakeWaiting) -> Waiting:
    return make()
