"""Settings as operators write them: one way to write a duration, and one to name the file."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import platform
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bot.cli import main
from bot.config.load import load, parse
from bot.config.masking import masked
from bot.config.settings import Settings, SettingsError
from bot.domain.hours_defaults import resolve_policies
from bot.storage.tables import REVISION
from providers.base import AccountSettings
from providers.durations import seconds_of, shown_duration
from providers.kaizala import KaizalaSettings
from tests.support.databases import ROOT

WRITTEN: dict[Any, float] = {
    "200ms": 0.2, "2s": 2, "30s": 30, "15m": 900, "1.5h": 5400, "1h30m": 5400, "1h 30m": 5400, " 90m ": 5400,
    "2d": 172_800, "1d12h": 129_600, "1m30s500ms": 90.5, "0s": 0, 30: 30, 0.5: 0.5, "30": 30, "1.5": 1.5, "0.25h": 900,
}  # fmt: skip
NOT_WRITTEN: list[Any] = [
    "", " ", "soon", "5w", "5 minutes", "m", "h30", "1h30", "30m1h", "1h1h", "1,5h", "-5", "-5s", "+5s", "--5", "1.h",
    ".5h", "1e3", "nan", "inf", "1e999", "PT30S", "0:30", "٣s", "99999d", "9" * 400, -1, -0.5, math.nan, math.inf, True,
    False, None, [], ["30s"], {}, timedelta(days=-1), 10**400,
]  # fmt: skip

PLACES: dict[str, Any] = {
    "the grace": lambda value: parse({"grace": value}).grace.total_seconds(),
    "the report": lambda value: parse({"report_after": value}).report_after.total_seconds(),
    "the undo window": lambda value: parse({"approval": {"undo": value}}).approval.undo.total_seconds(),
    "an end margin": lambda value: hours_of(end_margin=value).end_margin.total_seconds(),
    "the longest hold": lambda value: hours_of(max_hold=value).max_hold.total_seconds(),
}


def hours_of(**marketing: Any) -> Any:
    return resolve_policies({"mine": {"marketing": marketing}})["mine"].marketing


@pytest.mark.parametrize("place", PLACES)
def test_a_duration_is_written_alike_everywhere(place: str) -> None:
    """C42: `1.5h` in the hours as in the approval; a bare number is seconds."""
    assert {written: PLACES[place](written) for written in WRITTEN} == WRITTEN


@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_duration_is_refused_with_an_example(place: str) -> None:
    """C42: no table accepts what another refuses."""
    assert [written for written in NOT_WRITTEN if "1h30m or 2d; a bare number" not in refusal(place, written)] == []


def refusal(place: str, written: Any) -> str:
    """Return the sentence of the refusal; empty if it is accepted."""
    try:
        PLACES[place](written)
    except (SettingsError, ValueError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("written", "seconds"), [("2s", 2), (2, 2), ("2", 2), (0.5, 0.5), ("200ms", 0.2), ("5m", 300)])
@pytest.mark.parametrize("kind", [AccountSettings, KaizalaSettings])
def test_an_accounts_timeout_is_a_duration(kind: type[AccountSettings], written: Any, seconds: float) -> None:
    """C42: `timeout = "2s"`."""
    keys = (
        {"application_id": "a", "application_secret": "s-1", "refresh_token": "r-1"} if kind is KaizalaSettings else {}
    )
    account = kind.model_validate({"provider": "x", "base_url": "https://x.example", "timeout": written, **keys})
    assert account.timeout == seconds


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (0, "at most 5m"),
        ("0s", "at most 5m"),
        ("301s", "at most 5m"),
        (301, "at most 5m"),
        ("-2s", "30s"),
        ("soon", "30s"),
    ],
)
def test_a_timeout_keeps_its_bounds(written: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        AccountSettings.model_validate({"provider": "x", "base_url": "https://x.example", "timeout": written})


def test_the_environment_writes_durations_as_text(tmp_path: Path) -> None:
    (tmp_path / "bell.toml").write_text('[approval]\nundo = 5\nremind_after = "1h30m"\n')
    settings = load(tmp_path / "bell.toml", {"BELLCRIER_GRACE": "90", "BELLCRIER_APPROVAL__EXPIRES_AFTER": "1.5d"})
    approval = settings.approval
    assert [settings.grace, approval.undo, approval.remind_after, approval.expires_after] == [
        timedelta(seconds=90), timedelta(seconds=5), timedelta(minutes=90), timedelta(hours=36),
    ]  # fmt: skip


@given(st.integers(0, 10**10))
def test_a_duration_is_shown_as_it_may_be_written(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert timedelta(seconds=seconds_of(shown_duration(duration))) == duration


def test_the_settings_that_are_shown_may_be_pasted() -> None:
    shown = masked(parse({"approval": {"undo": "1.5h"}, "grace": 90}))
    assert (shown["grace"], shown["approval"]["undo"], shown["report_after"]) == ("1m30s", "1h30m", "1d")
    assert Settings.model_validate(json.loads(json.dumps(shown))).approval.undo == timedelta(minutes=90)


# --- which file ------------------------------------------------------------------------------------------------------


def all_commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from all_commands(command, (*path, name))
        else:
            yield " ".join((*path, name))


def test_the_exit_codes_of_every_command_are_in_the_docs() -> None:
    rows = (
        (ROOT / "docs" / "operating.md").read_text(encoding="utf-8").split("| command | 1 means |")[1].split("\n\n")[0]
    )
    named = re.findall(r"`([^`]+)`", "\n".join(row.split("|")[1] for row in rows.splitlines() if "|" in row))
    assert sorted(named) == sorted(all_commands(main))


def test_the_version_is_told_with_the_schema_and_the_adapters() -> None:
    told = CliRunner().invoke(main, ["version"]).output.splitlines()
    assert told[:2] == [f"bellcrier {metadata.version('bellcrier')}", f"schema {REVISION}"]
    assert told[2].startswith(f"python {platform.python_version()}")
    assert {f"adapter {name}, built in" for name in ("encom", "kaizala", "octopush")} <= set(told)


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the words of every command that takes `--config`."""
    found = []
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
        elif any(option.name == "config" for option in command.params):
            found.append((*path, name))
    return found


TAKING = commands(main)
ARGUMENTS: dict[tuple[str, ...], list[str]] = {
    ("db", "backup"): ["save.gz"],
    ("db", "restore"): [__file__],
    ("erase",): ["B2222222"],
    ("config", "reset"): ["T0BELL"],
}


@pytest.mark.parametrize("words", TAKING, ids=" ".join)
def test_the_settings_file_may_be_named_before_and_after_the_command_and_the_nearer_counts(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C43: `bellcrier --config X run`."""
    monkeypatch.chdir(tmp_path)
    more = ARGUMENTS.get(words, [])

    def named(*typed: str) -> str:
        """Return the file that the command looked for or wrote."""
        ran = CliRunner().invoke(main, [*typed, *more])
        for name in ("near.toml", "far.toml", "middle.toml"):
            if (tmp_path / name).exists():
                (tmp_path / name).unlink()
                return name
        assert ran.exit_code == 2, ran.output
        return ran.output.partition("there is no file ")[2].split()[0].rstrip(".")

    assert named("--config", "far.toml", *words) == "far.toml"
    assert named(*words, "--config", "near.toml") == "near.toml"
    assert named("--config", "far.toml", *words, "--config", "near.toml") == "near.toml"
    if len(words) > 1:
        assert named("--config", "far.toml", words[0], "--config", "middle.toml", words[1]) == "middle.toml"


def test_every_command_that_reads_settings_is_tried_here() -> None:
    assert {("run",), ("doctor",), ("export",), ("config", "show"), ("db", "upgrade"), ("db", "check")} <= {*TAKING}


def test_the_manifest_for_http_names_the_address_wherever_slack_calls() -> None:
    told = CliRunner().invoke(main, ["manifest", "--url", "https://bell.example.org/"]).output
    address, manifest = "https://bell.example.org/slack/events", yaml.safe_load(told)
    interactivity = {"is_enabled": True, "request_url": address, "message_menu_options_url": address}
    assert manifest["settings"]["interactivity"] == interactivity
    assert manifest["settings"]["event_subscriptions"]["request_url"] == address
    assert [command["url"] for command in manifest["features"]["slash_commands"]] == [address]
    assert manifest["settings"]["socket_mode_enabled"] is False


@pytest.mark.parametrize("url", ["", "bell", "ftp://x", "http://x", "https://", "https://bell:99999"])
def test_a_manifest_that_slack_could_not_use_is_not_printed(url: str) -> None:
    ran = CliRunner().invoke(main, ["manifest", "--url", url])
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "--url: it must be an address that begins with https://, such as https://bell" in ran.stderr


ENCOM = """
[accounts.encom]
provider = "encom"
base_url = "https://encom.example"
customer_account = "CL1"
"""


def test_each_secret_may_be_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "bell.toml").write_text(ENCOM)
    (tmp_path / "bot").write_text("xoxb-from-a-file\n")
    (tmp_path / "token").write_text("encom-from-a-file\n")
    named = {"SLACK_BOT_TOKEN_FILE": "bot", "BELLCRIER_ACCOUNTS__ENCOM__TOKEN_FILE": "token"}
    settings = load(tmp_path / "bell.toml", {name: str(tmp_path / file) for name, file in named.items()})
    assert settings.slack_bot_token is not None
    assert settings.slack_bot_token.get_secret_value() == "xoxb-from-a-file"
    assert settings.accounts["encom"]["token"] == "encom-from-a-file"


def test_systemd_credentials_are_read_by_the_names_of_the_variables(tmp_path: Path) -> None:
    (tmp_path / "bell.toml").write_text(ENCOM)
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "SLACK_BOT_TOKEN").write_text("xoxb-from-systemd")
    (folder / "BELLCRIER_ACCOUNTS__ENCOM__TOKEN").write_text("encom-from-systemd")
    (folder / "SOMETHING_ELSE").write_text("")
    given = {"CREDENTIALS_DIRECTORY": str(folder)}
    settings = load(tmp_path / "bell.toml", given)
    assert settings.accounts["encom"]["token"] == "encom-from-systemd"
    left_empty = load(
        tmp_path / "bell.toml", {**given, "SLACK_BOT_TOKEN": "", "BELLCRIER_ACCOUNTS__ENCOM__TOKEN_FILE": ""}
    )
    assert left_empty.slack_bot_token == settings.slack_bot_token
    settings = load(tmp_path / "bell.toml", {**given, "SLACK_BOT_TOKEN": "xoxb-nearer"})
    assert settings.slack_bot_token is not None
    assert settings.slack_bot_token.get_secret_value() == "xoxb-nearer"


@pytest.mark.parametrize(
    ("written", "more", "said"),
    [
        (None, {}, ": there is no file /"),
        (b"", {}, " is empty."),
        (b"\xff\xfe", {}, " is no text in UTF-8 (line 1)."),
        (b"xoxb-x", {"SLACK_BOT_TOKEN": "xoxb-y"}, ": SLACK_BOT_TOKEN is set too. Keep one of them."),
    ],
)
def test_a_secrets_file_that_cannot_be_meant_is_named_with_what_is_wrong(
    tmp_path: Path, written: bytes | None, more: dict[str, str], said: str
) -> None:
    (tmp_path / "bell.toml").write_text("")
    file = tmp_path / "secret"
    if written is not None:
        file.write_bytes(written)
    with pytest.raises(SettingsError) as refused:
        load(tmp_path / "bell.toml", {"SLACK_BOT_TOKEN_FILE": str(file), **more})
    (line,) = refused.value.lines
    assert line.startswith("SLACK_BOT_TOKEN_FILE in the environment: ")
    assert said in line
    assert "xoxb" not in line


def test_no_cell_of_the_export_is_a_formula(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BELLCRIER_")]:
        monkeypatch.delenv(name)  # else it may be taken for a setting
    (tmp_path / "bell.toml").write_text("")
    runner, named = CliRunner(), ["--config", str(tmp_path / "bell.toml")]
    assert runner.invoke(main, ["db", "upgrade", *named]).exit_code == 0
    with closing(sqlite3.connect(tmp_path / "bellcrier.db")) as database, database:
        for reason in ("=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\tx", "Too long"):
            values = ("T1", "B1", "U1", "reject", 1, reason)
            database.execute(
                "INSERT INTO audit (workspace, broadcast, actor, action, at, reason) VALUES (?,?,?,?,?,?)", values
            )
    printed = runner.invoke(main, ["export", *named])
    assert printed.exit_code == 0, printed.output
    cells = [row["reason"] for row in csv.DictReader(io.StringIO(printed.output))]
    assert cells == ["'=HYPERLINK(1)", "'+1", "'-1", "'@SUM(1)", "'\tx", "Too long"]


@pytest.mark.long
def test_what_the_bot_writes_is_for_its_user_alone(tmp_path: Path) -> None:
    """In a process of its own: what it sets counts for all that it does later."""
    file = tmp_path / "bell.toml"
    for words in (("config", "init"), ("db", "upgrade")):
        command = (sys.executable, "-c", "from bot.cli import main; main()", *words, "--config", str(file))
        given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path, env=given)
    modes = {made.name: oct(made.stat().st_mode & 0o777) for made in tmp_path.iterdir()}
    assert {"bell.toml", "bellcrier.db"} <= modes.keys()
    assert set(modes.values()) == {"0o600"}
