"""What `bellcrier doctor` finds: every wrong set-up by its name, with the fix, in one run, and without writing."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from bot.cli import main
from bot.config.load import what_is_right
from bot.config.settings import Settings
from bot.config.sources import Written
from bot.doctor import machine, rules, vendors
from bot.doctor.examination import examine
from bot.doctor.findings import Finding, Setup
from bot.sending.credit import is_low
from bot.storage.engines import open_database
from bot.storage.tables import REVISION
from bot.web.connections import Limits
from bot.web.listening import Endpoint
from bot.web.server import Server
from bot.web.sites import Health, public_site
from providers.base import AccountSettings, Check
from sandbox.server import Sandbox
from tests.support.databases import ROOT
from tests.support.ground import StartBot, changed, free_port, raw_settings

BY_ID = dict[str, Finding]
MISSING = object()


def altered(raw: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    for name, value in changes.items():
        *path, last = name.split(".")
        table = raw
        for part in path:
            table = table.setdefault(part, {})
        if value is MISSING:
            table.pop(last, None)
        else:
            table[last] = value
    return raw


async def found_in(sandbox: Sandbox, folder: Path, changes: dict[str, Any]) -> list[Finding]:
    settings, wrong = what_is_right(Written(altered(raw_settings(sandbox, free_port(), folder), changes)))
    return await examine(settings, wrong=wrong)


def by_id(findings: list[Finding]) -> BY_ID:
    return {finding.id: finding for finding in findings}


@dataclass(frozen=True)
class Case:
    """A set-up that is wrong, and the finding that it must become. `of`: what is done to the workspace first."""

    changes: dict[str, Any]
    id: str
    level: str
    cause: str
    fix: str
    of: Callable[[Sandbox], object] = field(default=lambda _: None)


def settings_error(changes: dict[str, Any], cause: str, fix: str = "") -> Case:
    return Case(changes, "settings", "error", cause, fix)


RULE = {"quorum": 1}
WRONG: dict[str, Case] = {
    # caught where the settings are read, by `run` too
    "no bot token": settings_error({"slack_bot_token": MISSING}, "SLACK_BOT_TOKEN: it is missing", "Copy the bot"),
    "an app token for a bot token": settings_error({"slack_bot_token": "xapp-1-x"}, "slack_bot_token|SLACK_BOT_TOKEN"),
    "one reaction for yes and no": settings_error(
        {"approval.approve_reactions": ["+1", "x"]}, "x would approve and reject", "one of the two lists"
    ),
    "a negative undo window": settings_error(
        {"approval.undo": "-5s"}, "approval.undo: must be a duration", "A bare number"
    ),
    "an endless grace": settings_error({"grace": "99999999999d"}, "must be a duration"),
    "a rule for an unknown audience": settings_error(
        {"approval.rules": [{**RULE, "audience": "clinets"}]}, "there is no [audiences.clinets]"
    ),
    "a rule for an unknown account": settings_error(
        {"approval.rules": [{**RULE, "account": "encmo"}]}, "there is no [accounts.encmo]"
    ),
    "a rule for an audience of another account": settings_error(
        {"approval.rules": [{**RULE, "audience": "clients", "account": "octo"}]}, "never matches", "Leave one"
    ),
    "a rule of one workspace for an unknown audience": settings_error(
        {"workspaces.T0ABLE.approval.rules": [{**RULE, "audience": "clinets"}]},
        "workspaces.T0ABLE.approval.rules number 1, audience: there is no [audiences.clinets]",
    ),
    "marketing that nobody approves": settings_error(
        {"approval.quorum": 0}, "marketing would go out without", "quorum = 1"
    ),
    "an unknown provider": settings_error(
        {"accounts.encom.provider": "encmo"}, "there is no such provider", "Did you mean encom"
    ),
    "an unknown policy": settings_error({"audiences.clients.policy": "frr"}, "there is no such policy", "There are"),
    # caught by the settings alone, though each can be read
    "nobody to approve": Case(
        {"approval.approvers": []}, "approval.approvers", "error",
        "so marketing, and what rule 1 covers, can never be approved.", "Set approval.app",
    ),
    "no admins": Case({"admins": []}, "admins", "warning", "can pause all sending or hear of", "Set admins"),
    "a rule behind one that covers it": Case(
        {"approval.rules": [{**RULE, "larger_than": 10}, {"purpose": "marketing", "larger_than": 500, "quorum": 2}]},
        "approval.rules.2", "error", "Rule 1 matches everything", "Put it before",
    ),
    "a signing secret that is none": Case(
        {"slack_signing_secret": "of-an-older-app"}, "slack.signing_secret", "error", "not 32 digits", "Basic Info"
    ),
    "requests that end at once": Case(
        {"approval.expires_after": 0}, "approval.expires_after", "error", "nobody can approve it", '"24h"'
    ),
    "an undo window of a month": Case({"approval.undo": "30d"}, "approval.undo", "warning", "30d is longer", "1d or"),
    "a kind that the vendor has not": Case(
        {"audiences.clients.kind": "group"}, "audiences.clients.kind", "error", "no audiences of the kind", "to list"
    ),
    "an id that the vendor cannot have": Case(
        {"audiences.clients.id": "clients"}, "audiences.clients.id", "error", "numbers its lists", "Copy the id"
    ),
    "two names for one list": Case(
        {"audiences.everyone.id": "1"}, "audiences.everyone.id", "warning", "the same list", "Check both ids"
    ),
    "marketing without hours": Case(
        {"audiences.clients.policy": MISSING}, "audiences.clients.policy", "warning", "is refused", 'such as "fr"'
    ),
    # caught by asking Slack
    "a bot token that Slack does not take": Case(
        {"slack_bot_token": "xoxb-revoked"}, "slack.token", "error", "(invalid_auth)", "Set SLACK_BOT_TOKEN"
    ),
    "a Slack that is not there": Case(
        {"slack_api_url": "http://127.0.0.1:1/api/"}, "slack.token", "error", "cannot be reached", "SLACK_API_URL"
    ),
    "an app token that Slack does not take": Case(
        {"slack_app_token": "xapp-revoked"}, "slack.app_token", "error", "(invalid_auth)", "connections:write"
    ),
    "scopes that were not granted": Case(
        {}, "slack.scopes", "error", "Missing scopes: reactions:read, im:write", "bellcrier manifest",
        lambda sandbox: sandbox.deny("reactions:read", "im:write"),
    ),
    "approvers who are all out": Case(
        {"approval.approvers": ["U0GUS", "U0ZOE", "U0ROB", "U0NOBODY"]}, "approval.approvers", "error",
        "U0GUS is a guest; U0ZOE has left; U0ROB is a bot; U0NOBODY is nobody in this workspace", "Take them out",
    ),
    "approvers that nobody satisfies": Case(
        {"approval.approvers": ["U0GUS"]}, "approval.quorum", "error", "asks for 1 approval, and none of", "Name more"
    ),
    "a group with somebody who left": Case(
        {}, "approval.approvers", "warning", "U0ZOE has left", "Take them out",
        lambda sandbox: sandbox.world.groups["S0APPROVERS"].users.append("U0ZOE"),
    ),
    "a group that is disabled": Case(
        {"approval.delegates": ["S0OLD"]}, "approval.delegates", "error", "S0OLD has no members", "Take them out"
    ),
    "a rule that asks for too many": Case(
        {"approval.rules": [{"purpose": "marketing", "quorum": 9}]}, "approval.rules.1.quorum", "error",
        "It asks for 9 approvals, and only 2", "Name more approvers",
    ),
    "a rule that takes the only approver": Case(
        {"approval.approvers": ["U0ANA"]}, "approval.quorum", "warning",
        "The only approver is needed, so they cannot ask for a broadcast themselves.", "one more",
    ),
    "a rule that takes all approvers": Case(
        {"approval.rules": [{"purpose": "marketing", "quorum": 2}]}, "approval.rules.1.quorum", "warning",
        "All 2 approvers are needed", "one more",
    ),
    "an admin who is a guest": Case({"admins": ["U0GUS"]}, "admins", "error", "U0GUS is a guest", "Take them out"),
    "somebody to notify who is unknown": Case(
        {"approval.notify": ["U0NOBODY"]}, "approval.notify", "error", "U0NOBODY is nobody", "Take them out"
    ),
    "a digest for a channel without the bot": Case(
        {"digest.channel": "C0QUIET"}, "digest.channel", "error", "The bot cannot post in C0QUIET", "/invite"
    ),
    "watchers of whom one is a bot": Case(
        {"notifications.watchers": ["U0ROB"]}, "notifications.watchers", "error", "is a bot", "Take them"
    ),
    "requesters of whom one is a bot": Case(
        {"audiences.clients.requesters": ["U0ROB"]}, "audiences.clients.requesters", "error", "is a bot", "Take them"
    ),
    "an emergency road for nobody": Case(
        {"approval.break_glass": ["S0OLD"]}, "approval.break_glass", "error", "S0OLD has no members", "Take them out"
    ),
    "an emergency road that nobody needs": Case(
        {"approval.rules": [{"purpose": "marketing", "quorum": 1}], "approval.break_glass": ["U0CLEO"]},
        "approval.break_glass.rules", "warning", "nobody ever needs", "Add such a rule",
    ),
    "a channel without the bot": Case(
        {"approval.channel": "C0QUIET"}, "approval.channel", "error", "The bot cannot post in C0QUIET", "/invite"
    ),
    "a channel that is archived": Case(
        {"approval.channel": "C0OLDNEWS"}, "approval.channel", "error", "archived", "another channel"
    ),
    # caught by asking the vendors
    "a token that the vendor does not take": Case(
        {"accounts.encom.token": "of-another-account"}, "accounts.encom", "error", "did not accept the token",
        "accounts.encom.token",
    ),
    "little credit": Case(
        {"accounts.octo.low_credit": 2000}, "accounts.octo.credit", "warning", "is 1000.0 euros, less than", "Top it up"
    ),
    "tests that may reach many": Case(
        {"audiences.team.max_size": 21}, "accounts.octo.test_audience", "warning", "They need approval", "max_size"
    ),
    "no public address": Case({"public_url": MISSING}, "callbacks", "warning", "cannot call back", "Set public_url"),
    "a public address where nothing listens": Case(
        {"public_url": "http://127.0.0.1:1"}, "public_url", "warning", "Nothing answers", "Start the bot"
    ),
    "an audience that the vendor does not have": Case(
        {"audiences.clients.id": "999"}, "audiences.clients.id", "warning",
        "Encom has no list 999; it has 1, 2, 3, 4.", "Copy the id",
    ),
    # caught on this machine
    "no folder for the database": Case(
        {"database_url": "sqlite:////no/such/folder/bell.db"}, "database", "error", "There is no folder", "DATABASE_URL"
    ),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_setup_is_found_with_its_fix(sandbox: Sandbox, tmp_path: Path, name: str) -> None:
    case = WRONG[name]
    case.of(sandbox)
    findings = await found_in(sandbox, tmp_path, case.changes)
    named = [one for one in findings if (one.id, one.level) == (case.id, case.level) and one.fix]
    told = [one for one in named if case.fix in one.fix and any(part in one.cause for part in case.cause.split("|"))]
    assert told, [(one.id, one.cause, one.fix) for one in findings if one.level != "ok"]
    assert [one for one in findings if "could not be checked" in one.cause] == []


async def test_everything_that_is_wrong_comes_in_one_run(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.deny("im:write")
    changes = {
        "timezone": "Mars/Olympus",
        "approval.undo": "soon",
        "approval.approvers": ["U0ANA", "U0GUS"],
        "approval.channel": "C0QUIET",
        "approval.rules": [RULE, {"purpose": "marketing", "quorum": 9}],
        "audiences.clients.kind": "group",
        "audiences.vip.account": "nobody",
        "accounts.octo.sender": "!",
        "accounts.encom.token": "of-another-account",
        "admins": ["U0ZOE"],
        "slack_app_token": "xapp-revoked",
        "slack_signing_secret": "short",
    }
    findings = await found_in(sandbox, tmp_path, changes)
    wrong = [(one.id, one.cause) for one in findings if one.level == "error"]
    assert {id for id, _ in wrong} >= {
        *("settings", "approval.approvers", "approval.rules.2", "approval.rules.2.quorum", "approval.channel"),
        *("audiences.clients.kind", "accounts.encom", "admins", "slack.app_token", "slack.signing_secret"),
        "slack.scopes",
    }
    names = [cause.split(":")[0] for id, cause in wrong if id == "settings"]
    assert sorted(names) == ["accounts.octo.sender", "approval.undo", "audiences.vip.account", "timezone"]
    assert all(one.fix for one in findings if one.level != "ok")


async def test_a_check_that_breaks_is_a_finding_and_the_others_are_made(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.faults.add("conversations.info", "429")
    monkeypatch.setattr(rules, "_policy", lambda *_: 1 / 0)
    found = by_id(await found_in(sandbox, tmp_path, {"approval.channel": "C0APPROVALS"}))
    assert (found["approval.channel"].level, found["policies"].level) == ("error", "error")
    assert "could not be checked (DirectoryUnavailable)" in found["approval.channel"].cause
    assert {"accounts.encom", "accounts.octo", "callbacks"} <= {one.split(".octo")[0] for one in found} | {*found}


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Foo 2026 99:99:99 GMT"])
def test_a_date_that_nobody_can_read_is_told_as_none(date: str) -> None:
    assert machine.clock({"Date": date}).cause == "Slack did not tell its time."


@pytest.mark.parametrize(("ahead", "told"), [(3600, "ahead of Slack's"), (-3600, "behind Slack's"), (1, "agrees")])
def test_a_clock_that_is_wrong_is_told_with_its_direction(ahead: int, told: str) -> None:
    slacks = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() - ahead))
    assert told in machine.clock({"Date": slacks}).cause


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('slack_bot_token = "xoxb-1"\n', True),
        ("export SLACK_BOT_TOKEN=xoxb-1\n", True),
        ("DATABASE_URL=postgresql://bell:pass@db/bell\n", True),
        ('accounts.encom = {token = "x1"}\n', True),
        ('timezone = "Europe/Paris"\n', False),
        ("", False),
    ],
)
def test_a_file_with_secrets_is_known_by_what_is_in_it(tmp_path: Path, text: str, told: bool) -> None:
    file = tmp_path / "bell.toml"
    file.write_text(text)
    assert machine._holds_secrets(file) is told


@pytest.mark.long
async def test_a_file_with_secrets_that_others_can_read_is_told_with_the_fix(sandbox: Sandbox, tmp_path: Path) -> None:
    settings = changed(raw_settings(sandbox, free_port(), tmp_path), {})
    file = tmp_path / "bell.toml"
    file.write_text('slack_bot_token = "xoxb-1"\n')
    for mode, counts in ((0o644, 1), (0o600, 0)):
        file.chmod(mode)
        found = [one for one in await examine(settings, [file, tmp_path / "none"]) if str(file) in one.fix]
        assert [(one.level, one.fix) for one in found] == [("warning", f"Run `chmod 600 {file}`.")] * counts


async def test_the_key_and_the_backups_beside_the_database_are_looked_at_too(tmp_path: Path) -> None:
    others = [tmp_path / "bell.db.key", tmp_path / "bell-before-0013-20261130T000000Z.backup"]
    for other in others:
        other.write_text("x")
        other.chmod(0o640)
    database = open_database(f"sqlite:///{tmp_path}/bell.db")
    setup = Setup(Settings(), {}, {}, None, None, database, None)
    fixes = [found.fix async for found in machine.check_files(setup)]
    await database.close()
    assert fixes == [f"Run `chmod 600 {other}`." for other in others]


async def test_a_sound_setup_has_no_errors_and_nothing_is_written(sandbox: Sandbox, tmp_path: Path) -> None:
    findings = await found_in(sandbox, tmp_path, {})
    assert [one for one in findings if one.level == "error"] == []
    assert by_id(findings)["database"].cause.startswith("There is no database yet")
    assert list(tmp_path.iterdir()) == []
    assert not sandbox.delivery.sockets


async def test_a_database_is_read_and_stays_as_it_is(sandbox: Sandbox, tmp_path: Path, sqlite_schema: Path) -> None:
    shutil.copy(sqlite_schema, tmp_path / "bell.db")
    before = (tmp_path / "bell.db").read_bytes()
    findings = by_id(await found_in(sandbox, tmp_path, {}))
    assert findings["database"].cause == f"The database is at revision {REVISION}."
    assert [(path.name, path.read_bytes() == before) for path in tmp_path.iterdir()] == [("bell.db", True)]


async def ready() -> tuple[bool, dict[str, str]]:
    return True, {}


async def test_the_public_address_is_fine_behind_the_proxy_that_is_shipped() -> None:
    proxied = (ROOT / "deploy" / "compose" / "Caddyfile").read_text(encoding="utf-8")
    passed = proxied.partition("@public path ")[2].splitlines()[0].split()
    door: Any = PlainTextResponse("")
    through = [route for route in public_site(None, door, Health(ready)).routes if isinstance(route, Route)]
    routes = [route for route in through if any(fnmatch(route.path, path) for path in passed)]
    assert [route.path for route in through if route not in routes] == ["/healthz", "/readyz"]
    port = free_port()
    settings = Settings(public_url=f"http://127.0.0.1:{port}/", allow_private_hosts=True)
    server = Server(Starlette(routes=routes), Endpoint("127.0.0.1", port), Limits(), lambda _: None)
    await server.start()
    found = [one async for one in vendors.check_callbacks(Setup(settings, {}, {}, None, None, None, None))]
    await server.stop()
    cause = f"A bellcrier answers at http://127.0.0.1:{port}/callbacks/ when asked from this machine."
    assert found == [Finding("public_url", "ok", cause)]


@pytest.mark.long
async def test_the_public_address_is_asked_and_what_answers_is_told(
    sandbox: Sandbox, start_bot: StartBot, tmp_path: Path
) -> None:
    bot = await start_bot(sandbox)
    for address, level, cause in (
        (bot.settings.public_url, "ok", "A bellcrier answers"),
        (sandbox.url, "error", "is no bellcrier (HTTP 404)"),
    ):
        found = by_id(await found_in(sandbox, tmp_path / "other", {"public_url": address}))["public_url"]
        assert (found.level, cause in found.cause, bool(found.fix)) == (level, True, level == "error")


async def test_a_private_address_is_no_public_one(sandbox: Sandbox, tmp_path: Path) -> None:
    for address, cause in (("https://10.0.0.1", "is a private address"), ("http://bell.example", "begin with https")):
        changes = {"public_url": address, "allow_private_hosts": False}
        found = by_id(await found_in(sandbox, tmp_path, changes))["public_url"]
        assert (found.level, cause in found.cause) == ("error", True)


EURO = "euros"


@pytest.mark.parametrize(
    ("credit", "unit", "least", "cost", "low"),
    [
        ("9.99", EURO, "10", None, True),
        ("10", EURO, "10", "50 EUR", False),  # what the settings say decides alone
        ("2.57", EURO, None, "2.58", True),
        ("2.58", EURO, None, "2.58 EUR", False),
        ("2", EURO, None, "2.58 USD", False),  # nobody can compare
        ("2", None, None, "2.58 USD", True),
        ("0", EURO, None, None, False),
        (None, None, "10", "1", False),
    ],
)
def test_credit_is_low_below_the_threshold_or_the_last_cost(
    credit: str | None, unit: str | None, least: str | None, cost: str | None, low: bool
) -> None:
    account = AccountSettings.model_validate({"provider": "x", "base_url": "https://x", "low_credit": least})
    assert is_low(Check(Decimal(credit) if credit else None, unit), account, cost) is low


@pytest.fixture
def _own_log() -> Iterator[None]:
    """Undo what a command sets up for a process of its own."""
    log = logging.getLogger()
    handlers, level = [*log.handlers], log.level
    yield
    log.handlers[:] = handlers
    log.setLevel(level)


@pytest.mark.usefixtures("_own_log")
@pytest.mark.parametrize("named", ["no TOML", "no file", "wrong settings"])
def test_from_the_shell_nothing_but_json_is_on_standard_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    for name in ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "bell.toml"
    if named != "no file":
        file.write_text("timezone = " + ("Paris" if named == "no TOML" else '"Paris"\nslack_bot_token = "xoxb-1"\n'
                        'slack_api_url = "http://127.0.0.1:1/"'))  # fmt: skip
    ran = CliRunner().invoke(main, ["doctor", "--json", "--config", str(file)])
    found = json.loads(ran.stdout)
    assert ran.exit_code == 2
    assert found[0]["level"] == "error"
    assert found[0]["fix"]
    others = {"database", "admins", "approval.approvers"} if named == "wrong settings" else {"settings"}
    assert others <= {one["id"] for one in found}
    assert [path.name for path in tmp_path.iterdir()] == ([] if named == "no file" else ["bell.toml"])
