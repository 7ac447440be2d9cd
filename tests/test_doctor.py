"""What `bellcrier doctor` still finds when one of its checks breaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot import doctor
from bot.doctor import examine
from sandbox.server import Sandbox
from tests.support.ground import changed, free_port, raw_settings


async def test_a_check_that_breaks_is_a_finding_and_the_others_are_made(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = changed(raw_settings(sandbox, free_port(), tmp_path), {"approval.channel": "C0APPROVALS"})
    sandbox.faults.add("conversations.info", "429")
    monkeypatch.setattr(doctor, "_policy", lambda *_: 1 / 0)
    found = {finding.id: finding for finding in await examine(settings)}
    assert (found["approval.channel"].level, found["policies"].level) == ("error", "error")
    assert "could not be checked (DirectoryUnavailable)" in found["approval.channel"].cause
    assert {"accounts.encom", "accounts.octo", "callbacks.octo"} <= set(found)


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Foo 2026 99:99:99 GMT"])
def test_a_date_that_nobody_can_read_is_told_as_none(date: str) -> None:
    assert doctor._clock({"Date": date}).cause == "Slack did not tell its time."


async def test_a_rule_that_nobody_can_satisfy_is_an_error_that_names_it(sandbox: Sandbox, tmp_path: Path) -> None:
    rules = [{"purpose": "marketing", "larger_than": 10, "quorum": 9}]
    settings = changed(raw_settings(sandbox, free_port(), tmp_path), {"approval.rules": rules})
    found = {finding.id: finding for finding in await examine(settings)}
    assert found["approval.rules.1"].level == "error"
    assert "It asks for 9 approvals" in found["approval.rules.1"].cause
    assert found["approval.quorum"].level == "ok"


@pytest.mark.parametrize(("most", "level"), [(20, "ok"), (21, "warning"), (None, "warning")])
async def test_a_test_audience_that_may_be_large_is_told(
    sandbox: Sandbox, tmp_path: Path, most: int | None, level: str
) -> None:
    settings = changed(raw_settings(sandbox, free_port(), tmp_path), {"audiences.team.max_size": most})
    found = {finding.id: finding for finding in await examine(settings)}
    assert found["accounts.octo.test_audience"].level == level


GLASS = {
    "ok": ([{"purpose": "transactional", "quorum": 1}], ["S0MARKETING"], "3 people can send"),
    "warning": ([{"purpose": "marketing", "quorum": 2}], ["U0CLEO"], "No rule asks for approval of transactional"),
    "error": ([{"quorum": 1}], ["S0OLD"], "Nobody is in these groups"),
}


@pytest.mark.parametrize("level", GLASS)
async def test_sending_without_approval_that_nobody_can_or_needs_to_do_is_a_finding(
    sandbox: Sandbox, tmp_path: Path, level: str
) -> None:
    rules, people, cause = GLASS[level]
    changes = {"approval.rules": rules, "approval.break_glass": people}
    found = {one.id: one for one in await examine(changed(raw_settings(sandbox, free_port(), tmp_path), changes))}
    assert found["approval.break_glass"].level == level
    assert cause in found["approval.break_glass"].cause


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
async def test_a_file_with_secrets_that_others_can_read_is_told_with_the_fix(
    sandbox: Sandbox, tmp_path: Path, text: str, told: bool
) -> None:
    settings = changed(raw_settings(sandbox, free_port(), tmp_path), {})
    file = tmp_path / "bell.toml"
    file.write_text(text)
    for mode, counts in ((0o644, told), (0o600, False)):
        file.chmod(mode)
        found = [one for one in await examine(settings, [file, tmp_path / "none"]) if str(file) in one.fix]
        assert [(one.level, one.fix) for one in found] == [("warning", f"Run `chmod 600 {file}`.")] * counts


@pytest.mark.parametrize(("token", "level"), [("xapp-sandbox-bellcrier", "ok"), ("xapp-revoked", "error")])
async def test_the_app_level_token_is_asked_about_at_slack(
    sandbox: Sandbox, tmp_path: Path, token: str, level: str
) -> None:
    settings = changed(raw_settings(sandbox, free_port(), tmp_path), {"slack_app_token": token})
    found = {finding.id: finding for finding in await examine(settings)}
    assert found["slack.app_token"].level == level
    assert not sandbox.delivery.sockets
