"""The code is laid out as drawn: every file has its floor, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from click.testing import CliRunner

from bot import cli
from tests.figures import CEILING, measure

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HEAVY = ("slack_bolt", "slack_sdk", "sqlalchemy", "alembic", "aiohttp", "httpx", "pydantic", "starlette", "uvicorn")


def modules(package: str) -> set[str]:
    paths = (ROOT / package).rglob("*.py")
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths}
    return {name for name in names if not name.endswith("__init__") and "migrations" not in name}


def imports(name: str) -> set[str]:
    """Return the names that a module imports, anywhere in its code."""
    tree = ast.parse((ROOT / f"{name.replace('.', '/')}.py").read_text())
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
        elif isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
    return found


def test_every_module_stands_on_a_floor() -> None:
    """A floor is a module, or a package with everything in it."""
    contract = PYPROJECT["tool"]["importlinter"]["contracts"][0]
    floors = {name for layer in contract["layers"] for name in re.split(r"\s*\|\s*", layer)}
    ours = modules("bot") | modules("providers")
    on = {name: {floor for floor in floors if name == floor or name.startswith(f"{floor}.")} for name in ours}
    assert {name for name, found in on.items() if len(found) != 1} == set()
    assert floors == set().union(*on.values())


def test_no_modules_import_each_other_in_a_circle() -> None:
    """The floors order the packages; this test orders the files within one."""
    ours = modules("bot") | modules("providers") | modules("sandbox")
    left = {name: imports(name) & ours for name in ours}
    while free := {name for name, needs in left.items() if not needs & left.keys()}:
        left = {name: needs for name, needs in left.items() if name not in free}
    assert left == {}


def test_packages_hold_a_docstring_and_no_imports() -> None:
    packages = [path for root in ("bot", "providers", "sandbox") for path in (ROOT / root).rglob("__init__.py")]
    assert len(packages) >= 8
    for path in packages:
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path
        assert len(tree.body) == 1, path


def test_help_answers_without_slack_or_the_database() -> None:
    program = f"import sys; sys.argv = ['bellcrier', '--help']\nfrom bot.entry import main; main()\n" \
        f"print('HEAVY', [n for n in {(*HEAVY, 'click', 'asyncio')!r} if n in sys.modules])"  # fmt: skip
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "HEAVY []" in ran.stdout
    assert "demo" in ran.stdout


def test_the_help_that_is_kept_is_what_click_prints() -> None:
    """If it is not: `COLUMNS=80 python -m bot.cli --help > bot/help.txt`, with `bellcrier` in its first line."""
    printed = CliRunner().invoke(cli.main, ["--help"], prog_name="bellcrier", terminal_width=78).output
    assert (ROOT / "bot" / "help.txt").read_text(encoding="utf-8") == printed


def test_the_help_of_one_command_imports_nothing_heavy_either() -> None:
    program = f"import sys; sys.argv = ['bellcrier', 'run', '--help']\ntry:\n    from bot.entry import main; main()\n" \
        f"except SystemExit: pass\nprint('HEAVY', [n for n in {HEAVY!r} if n in sys.modules])"  # fmt: skip
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "HEAVY []" in ran.stdout


def test_the_licence_and_the_readmes_two_lines_are_there() -> None:
    readme = (ROOT / "README.md").read_text()
    lines = [line for line in readme.splitlines() if line.startswith("python3 -m venv")]
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["demo", "pytest"]
    for target in re.findall(r"\]\(([^)#:]+)\)", readme):
        assert (ROOT / target).exists(), target
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def named(path: str, name: str) -> bool:
    """Whether this file defines this name: a function, a value, a class or one of its methods."""
    body = ast.parse((ROOT / path).read_text()).body
    for part in name.split("."):
        found = [one for one in body if part in names_of(one)]
        if not found:
            return False
        body = getattr(found[0], "body", [])
    return True


def names_of(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {one.id for target in targets if target for one in ast.walk(target) if isinstance(one, ast.Name)}


def test_the_architecture_names_files_and_functions_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    named_there = re.findall(r"`((?:bot|providers)/[\w/]+(?:\.py)?/?)(?::([\w.]+))?`", text)
    assert len(named_there) > 40
    missing = [f"{path}:{name}" for path, name in named_there if not (ROOT / path).exists()]
    missing += [f"{path}:{name}" for path, name in named_there if name and not named(path, name)]
    assert missing == []


def test_the_architecture_draws_the_floors_in_their_order() -> None:
    drawn = (ROOT / "docs" / "architecture.md").read_text().split("```")[1]
    contract = PYPROJECT["tool"]["importlinter"]["contracts"][0]
    floors = [re.findall(r"bot\.(\w+)", layer) for layer in contract["layers"] if layer.startswith("bot.")]
    places = [min(drawn.index(name) for name in layer) for layer in floors]
    assert places == sorted(places)


def test_nothing_is_larger_than_it_may_be() -> None:
    """A file with two subjects should be two files, and a class with two jobs two classes."""
    found = measure()
    assert {name: value for name, value in vars(found).items() if value > getattr(CEILING, name)} == {}
