"""Where settings are written: a file, `.env`, the environment, files of one secret each, and systemd's credentials.

The environment is read here and not by pydantic-settings, which ignores a misspelt variable, refuses lists with commas,
and reads a token of digits as a number.
"""

from __future__ import annotations

import copy
import difflib
import io
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from dotenv.parser import parse_stream

FILE = "bellcrier.toml"
DOTENV = Path(".env")
PREFIX = "BELLCRIER_"

#: Names that other tools use for the same things.
CONVENTIONAL = {
    "SLACK_BOT_TOKEN": "slack_bot_token",
    "SLACK_APP_TOKEN": "slack_app_token",
    "SLACK_SIGNING_SECRET": "slack_signing_secret",
    "SLACK_API_URL": "slack_api_url",
    "SLACK_CLIENT_ID": "slack_client_id",
    "SLACK_CLIENT_SECRET": "slack_client_secret",
    "DATABASE_URL": "database_url",
}
NOT_SETTINGS = frozenset({"BELLCRIER_CONFIG"})

Steps = tuple[str | int, ...]  # to a setting: ("accounts", "encom", "token")


@dataclass(frozen=True)
class Variable:
    """A value that is not in the settings file. `place`: the environment, `.env` or systemd's credentials."""

    name: str
    value: str
    place: str

    def __str__(self) -> str:
        return f"{self.name} in {self.place}"

    @property
    def sets(self) -> tuple[str, ...]:
        """The setting that it sets; empty if it sets none."""
        if self.name in CONVENTIONAL:
            return (CONVENTIONAL[self.name],)
        if self.name.startswith(PREFIX) and self.name not in NOT_SETTINGS:
            return tuple(self.name.removeprefix(PREFIX).lower().split("__"))
        return ()


Variables = dict[str, Variable]


@dataclass
class Written:
    """The settings as somebody wrote them, and where.

    `file`: the name of the settings file, with what it holds in `in_file`. `variables`: what sets the others.
    `wrong`: what cannot be read, a line each. `others`: variables about Slack that set nothing.
    """

    tree: dict[str, Any]
    file: str = ""
    in_file: Mapping[str, Any] = field(default_factory=dict)
    variables: dict[Steps, Variable] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    others: tuple[Variable, ...] = ()

    def look_alike(self, name: str) -> Variable | None:
        """Return a variable that sets nothing, and whose name is nearly this one."""
        others = {variable.name: variable for variable in self.others}
        near = difflib.get_close_matches(name, others, n=1, cutoff=0.85)
        return others[near[0]] if near else None

    def named(self, steps: Steps) -> str:
        """Return the name of a setting as somebody wrote it, with the place where they did."""
        if (variable := self.variable(steps)) is not None:
            return str(variable)
        if self.variables and not self.file:
            return variable_name(steps)
        missing = len(steps) == 1 and value_at(self.tree, steps) is None  # and may be written anywhere
        return dotted(steps) if missing or not self.file else f"{dotted(steps)} in {self.file}"

    def variable(self, steps: Steps) -> Variable | None:
        """Return the variable that sets this, or something around it, or something in it; None if the file does."""
        around = (self.variables.get(steps[:length]) for length in range(len(steps), 0, -1))
        if (nearest := next(filter(None, around), None)) is not None:
            return nearest
        table = steps[:-1]
        if value_at(self.in_file, steps) is None and not (table and value_at(self.in_file, table) is not None):
            for place, variable in self.variables.items():
                if place[: len(steps)] == steps:
                    return variable
                if table and place[: len(table)] == table:  # its table is written with variables alone
                    return Variable(variable_name(steps), "", variable.place)
        return None


def value_at(tree: Any, steps: Steps) -> Any:
    """Return what is written there; None if nothing is."""
    for step in steps:
        try:
            tree = tree[step]
        except (LookupError, TypeError):
            return None
    return tree


def dotted(steps: Steps) -> str:
    """`approval.rules 2, quorum` as in a file: the names with dots, and the number of a table in a list."""
    name = ""
    for step in steps:
        if isinstance(step, int):
            name = f"{name} number {step + 1}"
        else:
            name += (", " if name[-1:].isdigit() and " number " in name else "." if name else "") + step
    return name


def variable_name(steps: Steps) -> str:
    """Return the name under which the environment sets this."""
    usual = next((name for name, setting in CONVENTIONAL.items() if (setting,) == steps), None)
    return usual or PREFIX + "__".join(str(step) for step in steps).upper()


def gather(path: Path | None, environ: Mapping[str, str]) -> Written:
    """Read all that is written. The environment wins over `.env`, both win over the file."""
    wrong: list[str] = []
    variables = _dotenv(wrong) | {
        name: Variable(name, value, "the environment")
        for name, value in environ.items()
        if name.startswith((*CONVENTIONAL, PREFIX, "SLACK")) or name == "CREDENTIALS_DIRECTORY"
    }
    file, source = _file(path, variables)
    in_file = _read_file(file, source, wrong)
    written = Written(copy.deepcopy(in_file), str(file) if in_file else "", in_file, wrong=wrong)
    written.others = tuple(one for one in variables.values() if "SLACK" in one.name and not one.sets)
    if not wrong:  # without a part of what is written, all else looks wrong
        for variable in _in_order(_with_files(variables, wrong)):
            _place(written, variable)
        written.tree.setdefault("database_url", f"sqlite:///{file.parent / 'bellcrier.db'}")
    return written


def _file(path: Path | None, variables: Variables) -> tuple[Path, str | None]:
    """Return the settings file, and what names it; None if nothing does, so that it need not be there."""
    if path is not None:
        return path, "--config"
    named = variables.get("BELLCRIER_CONFIG")
    return (Path(named.value), str(named)) if named is not None and named.value else (Path(FILE), None)


def named_files(path: Path | None, environ: Mapping[str, str]) -> list[Path]:
    """The files that settings are read from: the settings file, `.env`, and those of a secret each."""
    variables = {name: Variable(name, value, "") for name, value in environ.items()}
    return [_file(path, variables)[0], DOTENV, *(Path(one.value) for one, _ in _file_variables(variables) if one.value)]


def _read_text(path: Path) -> str:
    """Return the text of a file, without the mark that some editors put at its start. Raises OSError or ValueError."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"it is no text in UTF-8 (line {line}). Save it as UTF-8") from None


def _read_file(path: Path, source: str | None, wrong: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(_read_text(path))
    except FileNotFoundError:
        if source is not None:
            wrong.append(f"{source}: there is no file {path}.")
    except IsADirectoryError:
        wrong.append(f"{source or 'The settings'}: there must be a file, and there is a folder {path}.")
    except OSError as error:
        wrong.append(f"{source or 'The settings'}: nobody lets this user read ({error.strerror}) {path}.")
    except tomllib.TOMLDecodeError as error:
        hint = " Write each setting and each table once." if re.search("twice|overwrite|Duplicate", str(error)) else ""
        wrong.append(f"{path}: it is not valid TOML: {error}.{hint}")
    except (ValueError, RecursionError) as error:
        wrong.append(f"{path}: {error}.")
    return {}


def _dotenv(wrong: list[str]) -> Variables:
    """Return what `.env` holds; `${NAME}` in it is replaced."""
    try:
        text = _read_text(DOTENV)
    except FileNotFoundError:
        return {}
    except OSError as error:
        wrong.append(f"{DOTENV}: it cannot be read ({error.strerror}). It must be a file of lines NAME=value.")
        return {}
    except ValueError as error:
        wrong.append(f"{DOTENV}: {error}.")
        return {}
    right = []
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            wrong.append(f"{DOTENV}: line {binding.original.line} cannot be read. Write it as NAME=value.")
        elif binding.value is None and binding.key is not None and _is_ours(binding.key):
            wrong.append(f"{binding.key} in {DOTENV}: it has no value. Write it as {binding.key}=value.")
        else:
            right.append(binding.original.string)
    values = dotenv_values(stream=io.StringIO("".join(right)))
    return {name: Variable(name, value, str(DOTENV)) for name, value in values.items() if value is not None}


def _is_ours(name: str) -> bool:
    return bool(Variable(name, "", "").sets)


def _with_files(variables: Variables, wrong: list[str]) -> Variables:
    """The variables, with what is kept in files: `X_FILE=path` for X, and systemd's credentials.

    A credential is called as its variable: `SLACK_BOT_TOKEN`, or `BELLCRIER_ACCOUNTS__ENCOM__TOKEN`.
    """
    folder = variables.get("CREDENTIALS_DIRECTORY")
    found = _credentials(Path(folder.value), wrong) if folder is not None and folder.value else {}
    found |= {name: variable for name, variable in variables.items() if variable.value or name not in found}
    for variable, name in _file_variables(variables):
        found.pop(variable.name, None)
        if not variable.value:  # not set
            continue
        if name in variables and variables[name].value:
            wrong.append(f"{variable}: {name} is set too. Keep one of them.")
        elif (secret := _secret_in(Path(variable.value), str(variable), wrong)) is not None:
            found[name] = _InFile(name, secret, variable.place, str(variable))
    return found


@dataclass(frozen=True)
class _InFile(Variable):
    """A variable whose value is in a file. `source`: what names the file."""

    source: str

    def __str__(self) -> str:
        return self.source


def _file_variables(variables: Variables) -> Iterator[tuple[Variable, str]]:
    """Yield each `X_FILE`, which may be empty, and X."""
    for variable in variables.values():
        name = variable.name.removesuffix("_FILE")
        if name != variable.name and not name.endswith("_") and _is_ours(name):  # `A__FILE` is a setting called `file`
            yield variable, name


def _credentials(folder: Path, wrong: list[str]) -> Variables:
    found = Variables()
    for file in sorted(folder.glob("*")):
        source = f"the credential {file.name}"
        if _is_ours(file.name) and (secret := _secret_in(file, source, wrong)) is not None:
            found[file.name] = _InFile(file.name, secret, "systemd's credentials", source)
    return found


def _secret_in(path: Path, source: str, wrong: list[str]) -> str | None:
    """What the file holds, without the line break that editors add."""
    shown = path if _is_place(path) else "that it names"
    try:
        found = _read_text(path).strip()
    except FileNotFoundError:
        wrong.append(f"{source}: there is no file {shown}.")
    except OSError as error:
        wrong.append(f"{source}: the file {shown} cannot be read ({error.strerror}).")
    except ValueError as error:
        wrong.append(f"{source}: {error}.")
    else:
        if found:
            return found
        wrong.append(f"{source}: the file {shown} is empty.")
    return None


def _is_place(path: Path) -> bool:
    """Whether this is a path, as far as one can tell, and not a secret that somebody wrote in its place."""
    try:
        return path.is_absolute() and len(path.parts) > 2 and Path(*path.parts[:2]).is_dir()
    except (OSError, ValueError):
        return False


def _in_order(variables: Variables) -> Iterator[Variable]:
    """The variables that set something: the conventional names first, so that ours win, and values before tables."""
    ours = [variable for variable in variables.values() if variable.name not in CONVENTIONAL and variable.sets]
    yield from (variables[name] for name in CONVENTIONAL if name in variables and variables[name].value)
    yield from sorted(ours, key=lambda variable: len(variable.sets))


def _place(written: Written, variable: Variable) -> None:
    """`BELLCRIER_A__B=x` becomes {"a": {"b": "x"}}, over what the file says."""
    steps = variable.sets
    if "" in steps:
        written.wrong.append(f"{variable}: there is no such setting. Write it as {PREFIX}TABLE__SETTING=value.")
        return
    around = (written.variables.get(steps[:length]) for length in range(1, len(steps) + 1))
    other = next(filter(None, around), None)
    if other is not None and not (other.name in CONVENTIONAL and other.sets == steps):
        problem = "sets the same" if other.sets == steps else "needs a table there, and this is one value"
        written.wrong.append(f"{other}: {variable.name} {problem}. Keep one of them.")
        return
    table: dict[str, Any] = written.tree
    for step in steps[:-1]:
        if not isinstance(table.get(step), dict):
            table[step] = {}
        table = table[step]
    table[steps[-1]] = variable.value
    written.variables[steps] = variable
