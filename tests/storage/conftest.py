"""PostgreSQL, direct and through a proxy that can be cut."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from bot.storage.engines import open_database
from bot.storage.postgres import Postgres
from bot.storage.schema import upgrade
from bot.storage.sqlite import SQLite
from tests.support.ground import new_postgres
from tests.support.patience import LONG


@pytest.fixture
def postgres_url(postgres: Any) -> Iterator[str]:
    with new_postgres(postgres) as url:
        yield url


@pytest.fixture
async def direct(postgres_url: str) -> AsyncIterator[Postgres]:
    """PostgreSQL with the schema, reached directly."""
    opened = open_database(postgres_url, LONG)
    assert isinstance(opened, Postgres)
    await opened.write(upgrade, patience=None)
    yield opened
    await opened.close()


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[SQLite]:
    opened = open_database(f"sqlite:///{tmp_path}/bell.db", LONG)
    assert isinstance(opened, SQLite)
    await opened.write(upgrade)
    yield opened
    await opened.close()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder with settings for a bot, in which nothing has run yet."""
    template = resources.files("sandbox").joinpath("demo.toml").read_text(encoding="utf-8")
    (tmp_path / "bellcrier.toml").write_text(template.replace("BOT_PORT", "9").replace("PORT", "9"))
    yield tmp_path
    tmp_path.chmod(0o700)
