"""The program as an operator runs it: started from a shell, killed at the worst moment, stopped politely."""

from __future__ import annotations

import json
import signal
import tomllib
from importlib import resources
from pathlib import Path

import pytest
from aiohttp import ClientSession

from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND
from bot.domain.lifecycle import State
from bot.storage import tables
from bot.storage.broadcasts import latest
from bot.storage.engines import open_database
from sandbox.server import Sandbox
from tests.support.ground import free_port
from tests.support.patience import LONG, quiet, until, within
from tests.support.shell import Running, Shell
from tests.support.slack import HERE, card, thread_text

WINDOW = {"BELLCRIER_APPROVAL__UNDO": "60s"}  # the time after an approval in which a process is killed
TOKENS = {"SLACK_BOT_TOKEN": "xoxb-sandbox-bellcrier", "SLACK_APP_TOKEN": "xapp-sandbox-bellcrier"}


def settings_file(folder: Path, sandbox: Sandbox, port: int) -> None:
    text = resources.files("sandbox").joinpath("demo.toml").read_text(encoding="utf-8")
    text = text.replace("BOT_PORT", str(port)).replace("PORT", str(sandbox.port))
    lines = [line for line in text.splitlines() if not line.startswith(("slack_bot_token", "slack_app_token"))]
    (folder / "bellcrier.toml").write_text("\n".join(lines))


async def run_bot(shell: Shell, sandbox: Sandbox, tmp_path: Path, port: int, **env: str) -> Running:
    settings_file(tmp_path, sandbox, port)
    given = {**TOKENS, "BELLCRIER_APPROVAL__UNDO": "1s", **env}
    running = await shell("run", "--host", "127.0.0.1", "--port", str(port), env=given)
    await running.says("Listening on")
    await sandbox.until(lambda: sandbox.delivery.connected)
    return running


async def stored(folder: Path) -> list[Broadcast]:
    opened = open_database(f"sqlite:///{folder}/bellcrier.db", LONG)
    try:
        return await opened.read(lambda c: latest(c, "T0BELL", 10))
    finally:
        await opened.close()


async def state_becomes(folder: Path, state: State) -> None:
    async def reached() -> bool:
        return [row.state for row in await stored(folder)] == [state]

    await until(reached)


async def let_pass(folder: Path, seconds: int) -> None:
    """Age what is stored by this many seconds, while no process looks."""
    opened = open_database(f"sqlite:///{folder}/bellcrier.db", LONG)
    earlier = {name: tables.broadcasts.c[name] - seconds * SECOND for name in ("due", "start_at", "approved_at")}
    try:
        await opened.write(lambda c: c.execute(tables.broadcasts.update().values(**earlier)))
    finally:
        await opened.close()


async def approved(sandbox: Sandbox) -> str:
    await sandbox.acting.command("U0CLEO", HERE, "/broadcast send clients marketing Soldes demain")
    posted = await card(sandbox)
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    return str(posted["ts"])


# --- killed ----------------------------------------------------------------------------------------------------------


@pytest.mark.long
async def test_killed_between_the_approval_and_the_send_it_sends_once_after_the_restart(
    sandbox: Sandbox, shell: Shell, tmp_path: Path, bot_port: int
) -> None:
    first = await run_bot(shell, sandbox, tmp_path, bot_port, **WINDOW)
    ts = await approved(sandbox)
    await first.kill()
    assert [row.state for row in await stored(tmp_path)] == [State.SCHEDULED]
    assert sandbox.vendors.ledger == []
    await let_pass(tmp_path, 61)

    await run_bot(shell, sandbox, tmp_path, bot_port)
    await sandbox.until(lambda: "22, 23" in thread_text(sandbox, ts))
    await quiet()
    assert len(sandbox.vendors.ledger) == 1
    assert thread_text(sandbox, ts).count("Approved by") == 1
    assert len(sandbox.acting.messages(HERE)) == len([m for m in sandbox.acting.messages(HERE) if m["ts"] == ts]) == 1


@pytest.mark.long
@pytest.mark.parametrize("accepted", [True, False])
async def test_killed_while_the_vendor_was_answering_it_is_unknown_and_never_sent_again(
    sandbox: Sandbox, shell: Shell, tmp_path: Path, bot_port: int, accepted: bool
) -> None:
    sandbox.vendors.faults.add("encom.release", "stall", accept=accepted)
    first = await run_bot(shell, sandbox, tmp_path, bot_port)
    ts = await approved(sandbox)
    await sandbox.until(lambda: [r for r in sandbox.vendors.office.requests if r.method == "POST"])
    await first.kill()

    await run_bot(shell, sandbox, tmp_path, bot_port)
    await state_becomes(tmp_path, State.UNKNOWN)
    await sandbox.until(lambda: "may have gone out" in thread_text(sandbox, ts))
    await quiet()
    assert len(sandbox.vendors.ledger) == (1 if accepted else 0)
    assert len([r for r in sandbox.vendors.office.requests if r.method == "POST"]) == 1
    if accepted:  # a receipt at this dispatch's own address proves it
        await sandbox.vendors.deliver("encom", "22", "OK")
        await state_becomes(tmp_path, State.SENT)


@pytest.mark.long
async def test_killed_before_the_card_is_posted_the_card_comes_after_the_restart(
    sandbox: Sandbox, shell: Shell, tmp_path: Path, bot_port: int
) -> None:
    first = await run_bot(shell, sandbox, tmp_path, bot_port)
    sandbox.faults.add("chat.postMessage", "429", times=10, retry_after=30)
    await sandbox.acting.command("U0CLEO", HERE, "/broadcast send clients marketing Soldes demain")
    await first.kill()
    assert sandbox.acting.messages(HERE) == []

    sandbox.faults.clear()
    await run_bot(shell, sandbox, tmp_path, bot_port)
    await card(sandbox)
    await quiet()
    assert len(sandbox.acting.messages(HERE)) == 1


@pytest.mark.long
async def test_down_past_its_time_and_grace_it_asks_instead_of_sending(
    sandbox: Sandbox, shell: Shell, tmp_path: Path, bot_port: int
) -> None:
    first = await run_bot(shell, sandbox, tmp_path, bot_port, **WINDOW)
    ts = await approved(sandbox)
    await first.kill()
    await let_pass(tmp_path, 60 + 301)

    await run_bot(shell, sandbox, tmp_path, bot_port, BELLCRIER_GRACE="300s")
    await state_becomes(tmp_path, State.HELD)
    await sandbox.until(lambda: "re-plan it, or drop it?" in thread_text(sandbox, ts))
    assert sandbox.vendors.ledger == []


@pytest.mark.long
async def test_down_over_its_time_but_within_its_grace_it_sends_once(
    sandbox: Sandbox, shell: Shell, tmp_path: Path, bot_port: int
) -> None:
    first = await run_bot(shell, sandbox, tmp_path, bot_port, **WINDOW)
    ts = await approved(sandbox)
    await first.kill()
    await let_pass(tmp_path, 60 + 100)

    await run_bot(shell, sandbox, tmp_path, bot_port, BELLCRIER_GRACE="300s")
    await sandbox.until(lambda: "22, 23" in thread_text(sandbox, ts))
    await quiet()
    assert len(sandbox.vendors.ledger) == 1


# --- stopped ---------------------------------------------------------------------------------------------------------


@pytest.mark.long
async def test_sigterm_during_a_send_waits_for_its_answer(
    sandbox: Sandbox, shell: Shell, tmp_path: Path, bot_port: int
) -> None:
    sandbox.vendors.faults.add("encom.release", "slow", seconds=2)
    running = await run_bot(shell, sandbox, tmp_path, bot_port)
    await approved(sandbox)
    await sandbox.until(lambda: [r for r in sandbox.vendors.office.requests if r.method == "POST"])
    running.process.send_signal(signal.SIGTERM)
    assert (await running.ends())[0] == 0
    (row,) = await stored(tmp_path)
    assert (row.state, row.ids) == (State.SENT, ("22", "23"))


@pytest.mark.long
async def test_sigterm_during_a_send_that_is_never_answered_ends_unknown_and_starts_no_other(
    sandbox: Sandbox, shell: Shell, tmp_path: Path, bot_port: int
) -> None:
    sandbox.vendors.faults.add("encom.release", "stall", accept=True)
    deadline = {"BELLCRIER_ACCOUNTS__ENCOM__TIMEOUT": "4", "BELLCRIER_APPROVAL__UNDO": "1500ms"}
    running = await run_bot(shell, sandbox, tmp_path, bot_port, **deadline)
    ts = await approved(sandbox)
    await sandbox.until(lambda: [r for r in sandbox.vendors.office.requests if r.method == "POST"])
    await sandbox.acting.command("U0CLEO", HERE, "/broadcast send clients marketing Another one")
    another = await card(sandbox, 1)
    await sandbox.acting.click("U0ANA", HERE, another["ts"], "broadcast.approve")
    running.process.send_signal(signal.SIGTERM)
    async with within(10):
        assert (await running.ends())[0] == 0
    assert {row.typed: row.state for row in await stored(tmp_path)} == {
        "Soldes demain": State.UNKNOWN,
        "Another one": State.SCHEDULED,
    }
    assert len(sandbox.vendors.ledger) == 1
    assert "may have gone out" in thread_text(sandbox, ts)


@pytest.mark.long
async def test_the_demo_stops_within_five_seconds_with_its_page_open_and_loses_nothing(
    shell: Shell, tmp_path: Path
) -> None:
    port = free_port()
    running = await shell("demo", "--port", str(port))
    await running.says(f"http://127.0.0.1:{port}")
    async with ClientSession() as page, page.get(f"http://127.0.0.1:{port}/page/events?me=U0CLEO") as events:
        await events.content.readline()
        line = "/broadcast send clients marketing Soldes demain"
        given = {"me": "U0CLEO", "channel": HERE, "text": line}
        async with page.post(f"http://127.0.0.1:{port}/page/message", json=given) as answer:
            assert answer.status == 200
        running.process.send_signal(signal.SIGTERM)
        async with within(5):
            assert await running.ends() == (0, "")
    opened = open_database(f"sqlite:///{tmp_path}/.bellcrier/demo/bellcrier.db", LONG)
    (row,) = await opened.read(lambda c: latest(c, "T0BELL", 10))
    await opened.close()
    assert (row.state, row.typed) == (State.PENDING, "Soldes demain")


# --- wrong settings --------------------------------------------------------------------------------------------------

WRONG = {
    "no token": ({"SLACK_BOT_TOKEN": ""}, "SLACK_BOT_TOKEN: it is missing"),
    "no way to listen": ({"SLACK_APP_TOKEN": "", "SLACK_SIGNING_SECRET": ""}, "SLACK_APP_TOKEN: it is missing"),
    "a setting of the wrong kind": ({"BELLCRIER_HOURLY_CAP": "many"}, "BELLCRIER_HOURLY_CAP in the environment: must"),
    "an unknown vendor": ({"BELLCRIER_ACCOUNTS__ENCOM__PROVIDER": "acme"}, "BELLCRIER_ACCOUNTS__ENCOM__PROVIDER in"),
    "an unknown policy": ({"BELLCRIER_AUDIENCES__CLIENTS__POLICY": "moon"}, "BELLCRIER_AUDIENCES__CLIENTS__POLICY in"),
    "a private host": ({"BELLCRIER_ALLOW_PRIVATE_HOSTS": "false"}, "allow_private_hosts"),
    "PostgreSQL without a key": ({"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "secret_key"),
}
AT_ONCE = ("no token",)


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=() if case in AT_ONCE else pytest.mark.long) for case in WRONG]
)
async def test_a_wrong_setting_stops_the_start_and_is_named(
    sandbox: Sandbox, shell: Shell, tmp_path: Path, bot_port: int, case: str
) -> None:
    env, named = WRONG[case]
    settings_file(tmp_path, sandbox, bot_port)
    code, told = await (await shell("run", "--port", str(bot_port), env=TOKENS | env)).ends()
    assert code == 2
    assert named in told
    assert "Traceback" not in told
    assert "sandbox-encom-token" not in told


@pytest.mark.long
async def test_a_dead_slack_token_or_a_taken_port_is_said_in_one_line(
    sandbox: Sandbox, shell: Shell, tmp_path: Path, bot_port: int
) -> None:
    settings_file(tmp_path, sandbox, bot_port)
    dead = TOKENS | {"SLACK_BOT_TOKEN": "xoxb-revoked-long-ago"}
    code, told = await (await shell("run", env=dead)).ends()
    assert (code, told.count("\n")) == (1, 1)
    assert "SLACK_BOT_TOKEN: Slack answers 'invalid_auth'" in told

    code, told = await (await shell("run", "--host", "127.0.0.1", "--port", str(sandbox.port), env=TOKENS)).ends()
    assert code == 1
    assert f"Port {sandbox.port} on 127.0.0.1 is taken" in told.splitlines()[-1]
    assert "Traceback" not in told


@pytest.mark.long
async def test_an_address_of_another_machine_is_told_as_that_and_not_as_a_taken_port(
    sandbox: Sandbox, shell: Shell, tmp_path: Path, bot_port: int
) -> None:
    settings_file(tmp_path, sandbox, bot_port)
    code, told = await (await shell("run", "--host", "203.0.113.9", env=TOKENS)).ends()
    assert (code, told.count("\n")) == (2, 1)
    assert told.startswith("bellcrier: --host: 203.0.113.9 is no address of this machine. Write one that is")


@pytest.mark.long
async def test_a_dead_app_token_is_said_in_one_line_instead_of_waiting_for_ever(
    sandbox: Sandbox, shell: Shell, tmp_path: Path, bot_port: int
) -> None:
    settings_file(tmp_path, sandbox, bot_port)
    wrong = TOKENS | {"SLACK_APP_TOKEN": "xapp-revoked-long-ago"}
    async with within(20):
        code, told = await (await shell("run", "--host", "127.0.0.1", "--port", str(bot_port), env=wrong)).ends()
    assert code == 1
    assert "SLACK_APP_TOKEN: Slack answers 'invalid_auth'. Create an app-level token" in told.splitlines()[-1]
    assert "Traceback" not in told
    assert "xapp-revoked" not in told


@pytest.mark.long
@pytest.mark.parametrize("method", ["auth.test", "apps.connections.open"])
async def test_a_start_that_waits_for_slack_stops_when_it_is_asked_to(
    sandbox: Sandbox, shell: Shell, tmp_path: Path, bot_port: int, method: str
) -> None:
    settings_file(tmp_path, sandbox, bot_port)
    sandbox.faults.add(method, "delay", seconds=60, times=9)
    running = await shell("run", "--host", "127.0.0.1", "--port", str(bot_port), env=TOKENS)
    await sandbox.until(lambda: any(name == method for name, _ in sandbox.calls))
    running.process.send_signal(signal.SIGTERM)
    async with within(10):
        code, told = await running.ends()
    assert code == 0
    assert "Traceback" not in told


@pytest.mark.long
async def test_two_processes_on_one_file_and_the_second_says_why_not(
    sandbox: Sandbox, shell: Shell, tmp_path: Path, bot_port: int
) -> None:
    await run_bot(shell, sandbox, tmp_path, bot_port)
    code, told = await (await shell("run", "--host", "127.0.0.1", "--port", str(free_port()), env=TOKENS)).ends()
    assert code == 1
    assert "Another bellcrier already dispatches" in told


@pytest.mark.long
async def test_backup_and_restore_from_the_shell(sandbox: Sandbox, shell: Shell, tmp_path: Path, bot_port: int) -> None:
    running = await run_bot(shell, sandbox, tmp_path, bot_port, BELLCRIER_APPROVAL__UNDO="60s")
    ts = await approved(sandbox)
    assert (await (await shell("db", "backup", "save.gz", env=TOKENS)).ends())[0] == 0
    code, told = await (await shell("db", "backup", "save.gz", env=TOKENS)).ends()
    assert (code, "is there already" in told) == (1, True)
    code, told = await (await shell("db", "restore", "--force", "save.gz", env=TOKENS)).ends()
    assert (code, "Stop it first" in told) == (1, True)
    running.process.send_signal(signal.SIGTERM)
    await running.ends()
    code, told = await (await shell("db", "restore", "save.gz", env=TOKENS)).ends()
    assert (code, "There are 1 broadcast" in told) == (1, True)
    assert (await (await shell("db", "restore", "--force", "save.gz", env=TOKENS)).ends())[0] == 0

    await run_bot(shell, sandbox, tmp_path, bot_port)
    await sandbox.until(lambda: "restored from a backup" in thread_text(sandbox, ts))
    await state_becomes(tmp_path, State.HELD)
    assert sandbox.vendors.ledger == []


@pytest.mark.long
async def test_health_check_and_doctor_from_the_shell(
    sandbox: Sandbox, shell: Shell, tmp_path: Path, bot_port: int
) -> None:
    await run_bot(shell, sandbox, tmp_path, bot_port)
    for more in ([], ["--ready"]):
        assert (await (await shell("healthcheck", "--port", str(bot_port), *more)).ends())[0] == 0
    assert (await (await shell("healthcheck", "--port", str(free_port()))).ends())[0] == 1
    doctor = await shell("doctor", "--json", env=TOKENS)
    out, _ = await doctor.process.communicate()
    findings = json.loads(out)
    assert {finding["level"] for finding in findings} <= {"ok", "info", "warning"}
    assert all(finding["id"] and finding["cause"] for finding in findings)
    await sandbox.delivery.drop()
    sandbox.faults.add("apps.connections.open", "error", times=50, error="internal_error")
    assert (await (await shell("healthcheck", "--port", str(bot_port))).ends())[0] == 0  # it need not be started anew


@pytest.mark.long
async def test_at_debug_neither_log_nor_metrics_hold_a_secret_a_number_or_a_text(
    sandbox: Sandbox, shell: Shell, tmp_path: Path, bot_port: int
) -> None:
    meters = f"127.0.0.1:{free_port()}"
    verbose = {"BELLCRIER_LOG_LEVEL": "debug", "BELLCRIER_METRICS_LISTEN": meters}
    running = await run_bot(shell, sandbox, tmp_path, bot_port, **verbose)
    lines = [
        "send clients marketing CANARYTEXT",
        "send newsletter marketing CANARYTEXT sale",
        "send vip transactional CANARYTEXT",
        "send staff marketing CANARYTEXT",
        "send nobody CANARYTEXT",
        "CANARYTEXT",
    ]
    sandbox.vendors.faults.add("octopush.create", "error", status=400, body={"code": 999, "message": "CANARYTEXT"})
    sandbox.vendors.faults.add("kaizala.release", "answer", status=200, body="CANARYTEXT {")
    for index, line in enumerate(lines):
        await sandbox.acting.command("U0CLEO", HERE, f"/broadcast {line}")
        if "marketing" in line:
            await sandbox.until(lambda: len(sandbox.acting.messages(HERE)) > 0)
            waiting = await card(sandbox, len([known for known in lines[:index] if known.startswith("send ")]))
            await sandbox.acting.click("U0ANA", HERE, waiting["ts"], "broadcast.approve")
        elif "transactional" in line:
            await card(sandbox, 2)
    await sandbox.until(lambda: sandbox.vendors.ledger)
    await sandbox.vendors.deliver("encom", "22", "OK")
    await quiet(2)
    listener = next(iter(sandbox.vendors.encom.listeners.values()))
    async with ClientSession() as web:
        for news in (b'{"id": "CANARYTEXT', b"[" * 9000, b'{"id": "22", "status": "CANARYTEXT"}', b"CANARYTEXT=+33600"):
            await (await web.post(listener, data=news)).read()
            await (await web.post(listener[:-1] + "x", data=news)).read()
        measured = await (await web.get(f"http://{meters}/metrics")).text()
    assert "bellcrier_callbacks_total" in measured
    running.process.send_signal(signal.SIGTERM)
    code, log = await running.ends()
    secrets = ["xoxb-sandbox", "xapp-sandbox", "sandbox-encom-token", "sandbox-octopush-key", "sandbox-refresh"]
    numbers = list(sandbox.vendors.encom.lists["1"][1])
    assert code == 0
    assert log
    for canary in ["CANARYTEXT", "CL3578", "sandbox@example.org", listener, *secrets, *numbers]:
        assert canary not in log + measured
        assert canary.lstrip("+") not in log + measured
        assert canary.rsplit("/")[-1] not in log + measured


FORGED = 'U0X\n{"event": "forged"}\r\x1b[2J\x85\u2028\x9b2J'


@pytest.mark.long
async def test_what_comes_in_a_payload_is_one_record_of_the_log(
    sandbox: Sandbox, shell: Shell, tmp_path: Path, bot_port: int
) -> None:
    running = await run_bot(shell, sandbox, tmp_path, bot_port)
    payload = sandbox.acting.payloads.command("U0CLEO", sandbox.world.channel(HERE), "/broadcast", "list")
    sandbox.faults.add("users.info", "500")
    outcome = await sandbox.delivery.command(payload | {"user_id": FORGED})
    assert "Please try again in a minute" in outcome.answer["text"]
    running.process.send_signal(signal.SIGTERM)
    code, log = await running.ends()
    told = [json.loads(line) for line in log.split("\n") if line]
    (record,) = [record for record in told if "forged" in str(record)]
    assert (code, record["event"], record["logger"]) == (0, "Slack did not tell", "bot.slack.directory")
    assert not {"\r", "\x1b", "\x85", "\u2028", "\x9b"}.intersection(log)


def test_the_demo_file_is_a_settings_file_like_any_other() -> None:
    text = resources.files("sandbox").joinpath("demo.toml").read_text(encoding="utf-8")
    assert tomllib.loads(text.replace("BOT_PORT", "1").replace("PORT", "2"))["allow_private_hosts"] is True
