"""docs/reference.md says what the code says, and docs/settings.md explains every setting."""

from __future__ import annotations

import re
from pathlib import Path

from tests.reference import PAGE, page, tables

ROOT = Path(__file__).parent.parent
EXPLAINED = frozenset(re.findall(r"`(\w+)[` ]|^(\w+) = ", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE))


def test_the_reference_is_as_the_code_is() -> None:
    """`python -m tests.reference` writes it anew."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_setting_is_explained() -> None:
    explained = {name for found in EXPLAINED for name in found}
    named = {name for _, rows in tables() for name in re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE)}
    assert named - explained == set()
