"""A series of occurrences over a core."""

from __future__ import annotations

import pytest

from tests.support.core import Core
from tests.support.schedules import Series


@pytest.fixture
def series(core: Core) -> Series:
    return Series(core)
