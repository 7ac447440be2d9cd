"""docs/reference.md, from the code. `python -m tests.reference` writes it."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import click
from pydantic import BaseModel, SecretStr, create_model
from pydantic.fields import FieldInfo

from bot.app import Bot
from bot.cli import main
from bot.config.load import parse
from bot.config.settings import ApprovalRule, AudienceSettings, Settings
from bot.config.sources import CONVENTIONAL
from bot.config.workspaces import OWN, Share
from bot.domain.hours import Hours, Policy
from providers.registry import providers

PAGE = Path(__file__).parent.parent / "docs" / "reference.md"
KEY = "a2V5IGZvciB0aGUgcmVmZXJlbmNlLCAzMiBieXRlcyE="
CODES = (
    ("0", "fine"),
    ("1", "something is wrong, and a line says what"),
    ("2", "the command line or the settings are wrong, and each line names one of them with its fix"),
)
#: What doctor looks at, by the ids of its findings. N: the place of a rule, from 1; NAME: as in the settings.
FINDINGS = {
    "settings": "that they can be read; else each one that cannot",
    "secret_key": "that it is a key, and the one that the database was written with",
    "files": "that nobody else on the machine can read the settings, the database, its key and the backups",
    "database": "that it can be opened, is sound and has this version's schema",
    "database.notifications": "that processes hear of each other at once, with PostgreSQL",
    "set_in_slack": "what admins changed in Slack, which stands in place of the file's",
    "NAME: workspaces": "of a workspace that has installed the bot: that the settings give it something. What is asked "
    "at Slack has the id of each workspace before its own, such as `T0ABCDEF: slack.token`",
    "slack.token": "that Slack takes the bot token",
    "slack.app_token": "that Slack takes the app-level token",
    "slack.signing_secret": "that it has the shape of one",
    "slack.scopes": "that the token has every scope of the manifest",
    "clock": "that this machine's clock agrees with Slack's",
    "admins": "that there are some, and that they are members",
    "approval.approvers": "that there are some, and that they are members; read with the people of their groups",
    "approval.notify, approval.delegates, approval.break_glass": "that these are members",
    "approval.break_glass.rules": "that an alert ever needs approval, which breaking the glass could spare",
    "approval.quorum": "that enough people can approve",
    "approval.channel": "that cards can be posted there",
    "digest.channel": "that the digest can be posted there",
    "notifications.watchers": "that these are members",
    "approval.expires_after, approval.remind_after": "that these are no odd lengths of time",
    "approval.rules.N": "that the rule can match, and that no earlier one takes everything from it",
    "approval.rules.N.approvers, approval.rules.N.quorum": "that enough people can satisfy the rule",
    "accounts.NAME": "that the vendor takes the credentials",
    "accounts.NAME.credit": "that the credit is not low",
    "accounts.NAME.adapter": "that the adapter asks before it sends",
    "accounts.NAME.legacy": "that the vendor still exists",
    "accounts.NAME.test_audience": "that tests go to few people",
    "accounts.NAME.audiences": "that the vendor lists its audiences",
    "audiences.NAME.kind, audiences.NAME.id": "that the vendor has such an audience",
    "audiences.NAME.policy": "that marketing to it has hours",
    "policies.NAME": "that somebody has checked its hours within a year",
    "public_url": "that this bot answers there",
    "callbacks, callbacks.NAME": "how vendors call back, and the address to paste at them",
}
#: What people write for a type.
TYPES: Mapping[Any, str] = {
    str: "text",
    int: "number",
    float: "number",
    Decimal: "number",
    bool: "`true`, `false`",
    SecretStr: "secret",
    timedelta: "duration",
    date: "date",
    time: "time of day",
    dict: "table",
}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    first, *others = (f"| {' | '.join(row)} |" for row in (head, *rows))
    return "\n".join([first, "|---" * (first.count(" | ") + 1) + "|", *others]) + "\n"


# --- the shell -------------------------------------------------------------------------------------------------------


def shell() -> str:
    return table(["command", "options", "does"], _commands(main, "bellcrier"))


def _commands(group: click.Group, path: str) -> Iterator[list[str]]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")
            continue
        given = [p.human_readable_name.upper() for p in command.params if isinstance(p, click.Argument)]
        options = [f"`{p.opts[-1]}`" for p in command.params if isinstance(p, click.Option) and not p.hidden]
        does = (command.help or "").split("\n\n")[0].replace("\n", " ")
        yield [f"`{' '.join([path, name, *given])}`", ", ".join(options), does]


# --- Slack -----------------------------------------------------------------------------------------------------------


def slash() -> str:
    raw = {"database_url": "sqlite:///nowhere.db", "secret_key": KEY, "slack_bot_token": "xoxb-1"}
    table_of_a_bot = Bot(parse(raw)).home.listeners.commands.table
    rows = [["`/broadcast`", "Open the form."]]
    for usage, method in table_of_a_bot.values():
        does = (method.__doc__ or "").split("\n")[0].rstrip()
        rows.append([f"`/broadcast {usage}`".replace("|", r"\|"), does])
    return table(["typed", "does"], rows)


# --- settings --------------------------------------------------------------------------------------------------------


def tables() -> Iterator[tuple[str, str]]:
    """Each table of the settings file with its rows."""
    yield "At the top", _table_of(Settings, "")
    for name, vendor in sorted(providers().items()):
        yield f'`[accounts.NAME]` with `provider = "{name}"`', _table_of(vendor.Settings, "ACCOUNTS__NAME__")
    yield "`[audiences.NAME]`", _table_of(AudienceSettings, "AUDIENCES__NAME__")
    yield "`[policies.NAME]`", _table_of(Policy, "POLICIES__NAME__")
    hours = "`[policies.NAME.marketing]`, `[policies.NAME.transactional]`"
    yield hours, _table_of(Hours, None)
    for name, field in Settings.model_fields.items():
        if _is_table(field) and isinstance(field.default, BaseModel):
            yield f"`[{name}]`", _table_of(type(field.default), f"{name.upper()}__")
    yield "`[[approval.rules]]`", _table_of(ApprovalRule, None)
    yield "`[workspaces.T0…]`", _table_of(_of_a_workspace(), None)


def _of_a_workspace() -> type[BaseModel]:
    """Its share of what all have, and the settings that it may have of its own."""
    own: dict[str, Any] = {name: (Settings.model_fields[name].annotation, None) for name in OWN}
    return create_model("Workspace", __base__=Share, **own)


def _table_of(model: type[BaseModel], path: str | None) -> str:
    """The rows of one table. `path`: how its variables begin; None: it has none, since it is a list of tables."""
    names = {name: field for name, field in model.model_fields.items() if not _is_table(field)}
    rows = ([f"`{name}`", *_of_field(name, field), *_variables(name, path)] for name, field in names.items())
    return table(["setting", "value", "default", *(["variable"] if path is not None else [])], rows)


def _is_table(field: FieldInfo) -> bool:
    """Whether it has a heading of its own in the file."""
    if isinstance(field.default, BaseModel) or get_origin(field.annotation) is dict:
        return True
    return ApprovalRule in get_args(field.annotation)


def _of_field(name: str, field: FieldInfo) -> tuple[str, str]:
    return _written(field.annotation).replace("|", r"\|"), _default(field)


def _written(annotation: Any) -> str:
    origin, given = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_written(one) for one in given if one is not type(None)))
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in given)
    if origin in (tuple, list, frozenset):
        return "`HH:MM-HH:MM`" if given[0] is time else f"list of {_written(given[0])}s".replace("texts", "text")
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return ", ".join(f"`{one.value}`" for one in annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    return next((word for kind, word in TYPES.items() if annotation is kind), "text")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ((), {}, ""):
        return "none"
    if isinstance(value, timedelta):
        return f"`{_span(value)}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, (tuple, list)):
        return ", ".join(f"`{one}`" for one in value)
    return f"`{value.value if isinstance(value, Enum) else value}`"


def _span(value: timedelta) -> str:
    seconds = int(value.total_seconds())
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds and seconds % size == 0 and seconds // size > (1 if unit == "d" else 0):
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _variables(name: str, path: str | None) -> list[str]:
    if path is None:
        return []
    if name == "holidays":
        return [""]  # a table, which no variable holds
    ours, others = f"`BELLCRIER_{path}{name.upper()}`", [n for n, of in CONVENTIONAL.items() if of == name and not path]
    return [", ".join([*(f"`{one}`" for one in others), ours])]


# --- the page --------------------------------------------------------------------------------------------------------

TOP = """# Reference

Everything with a name, written from the code and checked by a test. What a setting means is in [Settings](settings.md),
each metric in [Watching](watching.md).

## The shell

{shell}
Every command takes `--help`. Those that read the settings take `--config`, before or after their name.

| exit code | means |
|---|---|
{codes}

## `/broadcast`

{slash}
## Findings of `doctor`

Each finding has an id, a level (`ok`, `warning`, `error`), a cause and a fix.

{findings}
## Settings

Each can stand in `bellcrier.toml`, in the environment or `.env` under its variable, or in a file that the variable with
`_FILE` names. Durations are written `200ms`, `30s`, `15m`, `1h30m`, `2d`; a bare number is seconds. Lists in a variable
are written with commas.
"""


def page() -> str:
    codes = "\n".join(f"| {code} | {means} |" for code, means in CODES)
    rows = ([", ".join(f"`{id}`" for id in ids.split(", ")), about] for ids, about in FINDINGS.items())
    found = table(["id", "is about"], rows)
    parts = [TOP.format(shell=shell(), codes=codes, slash=slash(), findings=found)]
    parts += [f"\n### {title}\n\n{those}" for title, those in tables()]
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
