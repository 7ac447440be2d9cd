"""docs/reference.md says what the code says, and docs/settings.md explains every setting."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.reference import FINDINGS, PAGE, page, tables

ROOT = Path(__file__).parent.parent
EXPLAINED = frozenset(re.findall(r"`(\w+)[` ]|^(\w+) = ", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE))


def test_the_reference_is_as_the_code_is() -> None:
    """`python -m tests.reference` writes it anew."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_setting_is_explained() -> None:
    explained = {name for found in EXPLAINED for name in found}
    named = {name for _, rows in tables() for name in re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE)}
    assert named - explained == set()


def test_every_finding_of_doctor_is_in_the_reference() -> None:
    named = {id for ids in FINDINGS for id in ids.split(", ")}
    calls = (call for path in (ROOT / "bot" / "doctor").glob("*.py") for call in ast.walk(ast.parse(path.read_text())))
    ids = (ast.unparse(call.args[0]) for call in calls if isinstance(call, ast.Call) and is_finding(call))
    literal = (re.fullmatch(r"f?'(.+)'", id) for id in ids)
    found = {re.sub(r"\{(\w+)\}", placed, match[1]) for match in literal if match}
    assert found - named == set()


def placed(match: re.Match[str]) -> str:
    return "N" if match[1] == "number" else "NAME"


def is_finding(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "Finding" and bool(call.args)
