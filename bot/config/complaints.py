"""What is wrong with a setting, in one sentence: its name as somebody wrote it, what is wrong, how to write it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from datetime import time, timedelta
from typing import Any

from pydantic import BaseModel

from bot.config.settings import ApprovalRule, ApprovalSettings, AudienceSettings, Settings
from bot.config.sources import Steps, Written, dotted, value_at, variable_name
from bot.domain.hours import Holidays
from providers.durations import shown_duration

#: The tables and their settings. A star stands for any name or number.
TABLES: Mapping[Steps, type[BaseModel]] = {
    (): Settings,
    ("approval",): ApprovalSettings,
    ("approval", "rules", "*"): ApprovalRule,
    ("audiences", "*"): AudienceSettings,
    ("holidays",): Holidays,
}
NAMED = ("accounts", "audiences", "policies")  # tables of tables, each with a name of its own
RULES = ("approval", "rules")
NO_TABLE = frozenset({"dict_type", "model_type", "model_attributes_type", "mapping_type", "dataclass_type"})
SUCH_AS = "such as"  # in a sentence that gives its own example
SENTENCES: Mapping[str, str] = {
    "missing": "is missing",
    "string_type": "must be text, in quotes",
    "string_too_short": "is blank",
    "greater_than_equal": "must be {ge} or more",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be {le} or less",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float", "int_parsing_size"), "must be a whole number"),
    **dict.fromkeys(("float_parsing", "float_type", "finite_number", "decimal_parsing"), "must be a number"),
    **dict.fromkeys(("decimal_type", "decimal_max_digits", "finite_number"), "must be a number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "must be true or false"),
    **dict.fromkeys(("tuple_type", "list_type"), "must be a list"),
}


def complaint(detail: Mapping[str, Any], written: Written, at: Steps = (), model: type[BaseModel] | None = None) -> str:
    """Return the sentence for one of pydantic's errors. `at`: the table that `model` reads, if not ours does."""
    steps = *at, *(step for step in detail["loc"] if step != "[key]")
    entry = ""
    if isinstance(steps[-1], int) and not isinstance(value_at(written.tree, steps), Mapping):
        entry, steps = f"its entry {steps[-1] + 1} ", steps[:-1]
    table = model or _table_of(steps[len(at) : -1])
    if detail["type"] == "extra_forbidden":
        return f"{written.named(steps)}: there is no such setting.{_meant(steps, table)}"
    what = entry + _what(detail, steps, written)
    no_example = SUCH_AS in what or (detail["type"] == "value_error" and _example(steps, table) == {})
    return sentence(written, steps, what) + ("" if no_example else _how(steps, table, written))


def sentence(written: Written, steps: Steps, what: str) -> str:
    """Return the sentence about a setting that does not fit another one."""
    return f"{written.named(steps)}: {what}{'' if what.endswith('?') else '.'}"


def _what(detail: Mapping[str, Any], steps: Steps, written: Written) -> str:
    kind, value = str(detail["type"]), value_at(written.tree, steps)
    said = str(detail["msg"]).removeprefix("Value error, ")
    if steps == RULES and kind != "value_error":
        return "must be one or more tables [[approval.rules]] in the settings file"
    if kind in NO_TABLE:
        return f"must be a table, and is {'a list' if isinstance(value, list) else 'one value'}"
    if kind == "value_error":
        return said
    if isinstance(value, Mapping):
        return "must be one value, and is a table"
    if isinstance(value, str) and not value.strip():
        return "is blank"
    context = {name: str(of).replace("'", "") for name, of in detail.get("ctx", {}).items()}
    return SENTENCES[kind].format(**context) if kind in SENTENCES else said.replace("Input should be", "must be")


def _table_of(steps: Steps) -> type[BaseModel] | None:
    for place, table in TABLES.items():
        if len(place) == len(steps) and all(one in ("*", other) for one, other in zip(place, steps, strict=True)):
            return table
    return None


def _how(steps: Steps, table: type[BaseModel] | None, written: Written) -> str:
    """Return how to write it, in the manner of the place where it is written; empty if nobody gave an example."""
    example = _example(steps, table)
    if example is None:
        return ""
    variable = written.variable(steps)
    if example == {} and variable is not None:
        table_name = (*steps, "NAME") if len(steps) == 1 and steps[0] in NAMED else steps
        return f" Write it like `{variable_name(table_name)}__SETTING=value`."
    if variable is None and (written.file or not written.variables):
        return f" Write it like `{in_a_file(steps, example)}`."
    name = variable.name if variable is not None and variable.sets == steps else variable_name(steps)
    if variable is not None and variable.name != str(variable).split(" ")[0]:
        return f" The file must hold something like `{in_a_variable(example)}`."
    return f" Write it like `{name}={in_a_variable(example)}`."


def _example(steps: Steps, table: type[BaseModel] | None) -> Any:
    if steps in TABLES or (len(steps) <= 2 and steps[0] in NAMED):
        return {}
    found = _field(str(steps[-1]), table) if not isinstance(steps[-1], int) else _field(str(steps[-2]), table)
    if found is None or steps == RULES:
        return None
    if found.examples:
        return found.examples[0]
    return found.default if isinstance(found.default, bool | int | float | str | timedelta) else None


def _field(name: str, table: type[BaseModel] | None) -> Any:
    return table.model_fields.get(name) if table is not None else None


def in_a_file(steps: Steps, example: Any) -> str:
    if isinstance(example, Mapping):
        return f"[{dotted(steps)}.NAME]" if len(steps) == 1 and steps[0] in NAMED else f"[{dotted(steps)}]"
    return f"{steps[-1]} = {_toml(example)}"


def _toml(example: Any) -> str:
    if isinstance(example, bool):
        return str(example).lower()
    if isinstance(example, timedelta):
        return f'"{shown_duration(example)}"'
    if isinstance(example, str | time):
        return f'"{example}"'
    if isinstance(example, Iterable):
        return f"[{', '.join(_toml(one) for one in example)}]"
    return str(example)


def in_a_variable(example: Any) -> str:
    if isinstance(example, Iterable) and not isinstance(example, str):
        return ",".join(str(one) for one in example)
    return _toml(example).strip('"')


def _meant(steps: Steps, table: type[BaseModel] | None) -> str:
    """Return what was meant: the nearest name in the same table, else where this name belongs."""
    name = str(steps[-1])
    near = difflib.get_close_matches(name, table.model_fields if table is not None else (), n=1)
    if near:
        return f" Did you mean {near[0]}?"
    place = next((place for place in TABLES if name in TABLES[place].model_fields), None)
    if place == ():
        return f" {name} belongs at the top of the file, above the first [table]."
    if place is not None:
        return f" {name} belongs in [{dotted(place).replace('*', 'NAME')}]."
    near = difflib.get_close_matches(name, [one for of in TABLES.values() for one in of.model_fields], n=1)
    return f" Did you mean {near[0]}?" if near else ""
