"""Rules for the tests themselves, so that a busy machine makes them slow but never wrong."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from hypothesis import settings

HERE = Path(__file__).parent
FILES = sorted(path for path in HERE.rglob("*.py") if path.name != "patience.py" and "simulation" not in path.parts)
WAITS = {"until", "settled", "becomes", "timeout", "wait_for"}
A_MOMENT = 0.2  # seconds: a shorter sleep only lets other tasks run


def named(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def number(node: ast.expr) -> float | None:
    value = node.value if isinstance(node, ast.Constant) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def calls(node: ast.AST, looped: bool = False) -> Iterator[tuple[ast.Call, bool]]:
    """Yield every call, and whether it is in a loop."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield child, looped
        yield from calls(child, looped or isinstance(child, ast.While | ast.For | ast.AsyncFor))


@cache
def calls_in(path: Path) -> list[tuple[ast.Call, bool]]:
    return list(calls(parsed(path)))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_how_long_a_test_waits_stands_in_one_place() -> None:
    found = []
    for path in FILES:
        for call, _ in calls_in(path):
            given = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "timeout")]
            if named(call) in WAITS and any(number(value) is not None for value in given):
                found.append(f"{path.name}:{call.lineno}: {ast.unparse(call)[:80]}")
    assert found == [], "give it no seconds, or those of tests.support.patience"


def test_a_sleep_is_no_wait_for_something_to_have_happened() -> None:
    found = []
    for path in FILES:
        lines = path.read_text(encoding="utf-8").splitlines()
        for call, looped in calls_in(path):
            seconds = number(call.args[0]) if named(call) == "sleep" and call.args else None
            if seconds is not None and seconds >= A_MOMENT and not looped and "#" not in lines[call.lineno - 1]:
                found.append(f"{path.name}:{call.lineno}: {lines[call.lineno - 1].strip()}")
    assert found == [], "wait until it is so, or say `quiet()`, or in a comment what the time is for"


def without_end(path: Path) -> list[str]:
    functions = (one for one in ast.walk(parsed(path)) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
    tests = [one for one in functions if one.name.startswith("test_")]
    return [
        f"{path.name}:{node.lineno}: while {ast.unparse(node.test)[:80]}"
        for node in (node for test in tests for node in ast.walk(test))
        if isinstance(node, ast.While)
        and all("sleep" in {named(call) for call, _ in calls(step)} for step in node.body)
    ]


def test_no_test_waits_without_end() -> None:
    found = [one for path in FILES for one in without_end(path)]
    assert found == [], "wait with `until`, which gives up in the end"


def test_no_test_module_imports_another_one() -> None:
    """What two of them need is in `tests/support`."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            assert not any(part.startswith(("test_", "conftest")) for part in module.split(".")), f"{path}: {module}"


def test_a_generated_test_has_no_deadline() -> None:
    assert settings.default is not None
    assert settings.default.deadline is None
    given = [f"{path.name}:{call.lineno}" for path in FILES for call, _ in calls_in(path) if named(call) == "settings"]
    assert given == [], "the profile in tests/conftest.py holds for all"
