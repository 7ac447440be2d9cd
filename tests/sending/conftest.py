"""A core with a database far away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.storage.engines import open_database
from bot.storage.postgres import Postgres
from bot.storage.schema import upgrade
from sandbox.server import Sandbox
from tests.support.core import Core
from tests.support.far import Far
from tests.support.ground import new_postgres
from tests.support.patience import LONG
from tests.support.proxy import Proxy


@pytest.fixture
async def far(postgres: Any, sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[Far]:
    with new_postgres(postgres) as url:
        async with Proxy(postgres) as proxy:
            direct, distant = open_database(url, LONG), open_database(proxy.url(url))
            assert isinstance(distant, Postgres)
            await direct.write(upgrade, patience=None)
            core = Core(direct, sandbox, tmp_path)
            yield Far(core, distant, proxy)
            await proxy.shut()
            await core.close()
            await direct.close()
            await distant.close()
