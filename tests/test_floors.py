"""The house stands as drawn: every file has its floor, and nothing heavy is fetched before it is needed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HEAVY = ("slack_bolt", "slack_sdk", "sqlalchemy", "alembic", "aiohttp", "httpx", "pydantic", "starlette", "uvicorn")


def modules(package: str) -> set[str]:
    paths = (ROOT / package).rglob("*.py")
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths}
    return {name for name in names if not name.endswith("__init__") and "migrations" not in name}


def test_every_module_stands_on_a_floor() -> None:
    contract = PYPROJECT["tool"]["importlinter"]["contracts"][0]
    floors = {name for layer in contract["layers"] for name in re.split(r"\s*\|\s*", layer)}
    assert floors == modules("bot") | modules("providers")


def test_packages_hold_a_docstring_and_no_imports() -> None:
    for package in ("bot", "bot/slack", "providers", "sandbox"):
        tree = ast.parse((ROOT / package / "__init__.py").read_text())
        assert ast.get_docstring(tree)
        assert len(tree.body) == 1


def test_help_answers_without_slack_or_the_database() -> None:
    program = f"import sys; sys.argv = ['bellcrier', '--help']\ntry:\n    from bot.cli import main; main()\n" \
        f"except SystemExit: pass\nprint('HEAVY', [n for n in {HEAVY!r} if n in sys.modules])"  # fmt: skip
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "HEAVY []" in ran.stdout
    assert "demo" in ran.stdout


def test_the_licence_and_the_readmes_two_lines_are_there() -> None:
    readme = (ROOT / "README.md").read_text()
    lines = [line for line in readme.splitlines() if line.startswith("python3 -m venv")]
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["demo", "pytest"]
    for target in re.findall(r"\]\(([^)#:]+)\)", readme):
        assert (ROOT / target).exists(), target
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
