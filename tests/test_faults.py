"""docs/reliability.md names the tests that play each fault; every one of them exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.crash.points import NAMED

ROOT = Path(__file__).parent.parent
ROW = re.compile(r"^\| (?P<id>[ABEFHIK]\d+) \|(?P<fault>[^|]+)\|(?P<becomes>[^|]+)\|(?P<played>[^|]+)\|$", re.MULTILINE)
ROWS = {row["id"]: row["played"] for row in ROW.finditer((ROOT / "docs/reliability.md").read_text())}
GROUPS = {"A": 14, "B": 11, "E": 12, "F": 8, "H": 7, "I": 9, "K": 4}
FAULTS = [f"{group}{number}" for group, many in GROUPS.items() for number in range(1, many + 1)]


@cache
def functions(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_fault_has_its_row() -> None:
    assert list(ROWS) == FAULTS


@pytest.mark.parametrize("fault", ROWS)
def test_what_plays_a_fault_is_there(fault: str) -> None:
    named = re.findall(r"`([^`]+)`", ROWS[fault])
    assert named
    for name in named:
        path, _, function = name.partition("::")
        assert function in functions(path) if function else name in NAMED, name
