"""`python -m tests.figures`: how large the files, classes and functions are, and what `tests/test_floors.py` allows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).parent.parent
PACKAGES = ("bot", "providers", "sandbox")
TABLES = {"bot/storage/tables.py"}  # may be as long as they are

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Figures:
    """Lines and counts of the bot. `untyped`: functions without a return type."""

    file_median: float
    file_most: int
    class_lines: int
    class_methods: int
    function_median: float
    function_p90: float
    untyped: int

    def __str__(self) -> str:
        return "\n".join(f"{name.replace('_', ' '):16} {value:g}" for name, value in vars(self).items())


#: What no figure may exceed.
CEILING = Figures(
    file_median=150, file_most=450, class_lines=300, class_methods=22, function_median=7, function_p90=20, untyped=0
)


def sources() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if "migrations" not in path.parts and path.name != "__init__.py":
                yield name, path.read_text(encoding="utf-8")


def lines_of(node: ast.AST) -> int:
    return int(getattr(node, "end_lineno", 0)) - int(getattr(node, "lineno", 0)) + 1


def measure() -> Figures:
    trees = {name: ast.parse(source) for name, source in sources()}
    files = {name: source.count("\n") for name, source in sources()}
    nodes = [node for tree in trees.values() for node in ast.walk(tree)]
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    functions = [node for node in nodes if isinstance(node, Function)]
    lengths = [lines_of(node) for node in functions]
    return Figures(
        file_median=median(files.values()),
        file_most=max(count for name, count in files.items() if name not in TABLES),
        class_lines=max(map(lines_of, classes)),
        class_methods=max(sum(isinstance(one, Function) for one in node.body) for node in classes),
        function_median=median(lengths),
        function_p90=quantiles(lengths, n=10)[-1],
        untyped=sum(node.returns is None for node in functions),
    )


if __name__ == "__main__":
    print(measure())  # noqa: T201 - the purpose of this command
