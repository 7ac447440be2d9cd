"""What `deploy/` and the image say, against the program and against each other."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from importlib import metadata, util
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from bot.config.sources import CONVENTIONAL
from bot.process import STOP_SECONDS
from bot.sending.dispatcher import LAST_WRITE
from bot.storage.database import PATIENCE
from bot.web.server import SHUTDOWN
from providers.base import AccountSettings
from sandbox.server import Sandbox
from tests.support.confined import can_confine, confined_to
from tests.support.keeper import MARKED
from tests.support.patience import LONG
from tests.support.slack import HERE, card, thread_text

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "bellcrier"
UNIT = DEPLOY / "systemd" / "bellcrier.service"
USER = "10001"


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def unit() -> dict[str, list[str]]:
    """The settings of the service, each with its values in order."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


# --- the stop --------------------------------------------------------------------------------------------------------


def test_everything_that_stops_the_bot_gives_it_the_time_that_it_may_take() -> None:
    compose, values = loaded(DEPLOY / "compose" / "compose.yaml"), loaded(CHART / "values.yaml")
    told = {
        "unit": unit()["TimeoutStopSec"],
        "compose": [compose["services"]["bot"]["stop_grace_period"].removesuffix("s")],
        "image": re.findall(r"--stop-timeout (\d+)", (ROOT / "Dockerfile").read_text(encoding="utf-8")),
        "chart": [str(values["stopSeconds"])],
    }
    assert told == {place: [str(STOP_SECONDS)] for place in told}
    assert "terminationGracePeriodSeconds: {{ add .Values.stopSeconds .Values.drainSeconds }}" in template("bot.yaml")


def test_a_stop_with_the_accounts_own_timeout_takes_less_than_that() -> None:
    timeout = AccountSettings.model_fields["timeout"].default
    servers, lease, closing = 2 * (SHUTDOWN + 1), PATIENCE, 2 * PATIENCE
    assert timeout + 1 + LAST_WRITE + SHUTDOWN + lease + servers + closing < STOP_SECONDS


# --- the image -------------------------------------------------------------------------------------------------------


def pins(path: Path) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def needed(name: str, extras: frozenset[str] = frozenset()) -> Iterator[str]:
    """What this installed package needs here, with all that those need."""
    waiting, seen = [(name, extras)], set[tuple[str, frozenset[str]]]()
    while waiting:
        asked = waiting.pop()
        if asked in seen:
            continue
        seen.add(asked)
        for line in metadata.requires(asked[0]) or ():
            requirement = Requirement(line)
            wanted = ({"extra": extra} for extra in asked[1] or {""})
            if requirement.marker is None or any(requirement.marker.evaluate(extra) for extra in wanted):
                waiting.append((requirement.name, frozenset(requirement.extras)))
                yield re.sub(r"[-_.]+", "-", requirement.name).lower()


@pytest.mark.parametrize("name", ["requirements.txt", "build-requirements.txt"])
def test_what_the_image_installs_is_pinned_by_hash_as_the_tests_have_it(name: str) -> None:
    path, constraints = DEPLOY / "image" / name, pins(ROOT / "constraints.txt")
    text = path.read_text(encoding="utf-8")
    assert {package: constraints.get(package) for package in pins(path)} == pins(path)
    assert all("--hash=sha256:" in block for block in re.split(r"\n(?=\S)", text.strip()))
    assert "://" not in text
    if name == "requirements.txt":
        assert set(needed("bellcrier", frozenset({"postgres"}))) <= set(pins(path))


def test_the_image_runs_as_a_number_and_installs_nothing_unhashed() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["${BASE}", "${BASE}"]
    for install in re.findall(r"pip (?:install|wheel) [^\n]*", text):
        assert "--require-hashes" in install or "--no-deps" in install, install
    assert 'HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["bellcrier", "healthcheck"]' in text


# --- compose ---------------------------------------------------------------------------------------------------------


def test_compose_runs_two_confined_processes_behind_a_proxy_that_passes_two_paths_on() -> None:
    services = loaded(DEPLOY / "compose" / "compose.yaml")["services"]
    bot = services["bot"]
    assert (bot["deploy"]["replicas"], bot["read_only"], bot["cap_drop"]) == (2, True, ["ALL"])
    assert "ports" not in bot
    assert "ports" not in services["postgres"]
    proxied = (DEPLOY / "compose" / "Caddyfile").read_text(encoding="utf-8")
    assert "@public path /slack/* /callbacks/*" in proxied
    example = (DEPLOY / "compose" / "env.example").read_text(encoding="utf-8")
    names = set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE)) - {"BELL_HOST", "POSTGRES_PASSWORD"}
    assert all(name in CONVENTIONAL or name.startswith("BELLCRIER_") for name in names)


# --- systemd ---------------------------------------------------------------------------------------------------------


def test_the_units_credentials_are_called_as_their_variables() -> None:
    text = UNIT.read_text(encoding="utf-8")
    names = re.findall(r"^#?LoadCredential=(\w+):/etc/bellcrier/(\w+)$", text, re.MULTILINE)
    assert len(names) == 5
    for credential, file in names:
        assert credential == file
        assert credential in CONVENTIONAL or credential.startswith("BELLCRIER_")
    assert unit()["RestartPreventExitStatus"] == ["2"]


@pytest.mark.long
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
def test_systemd_takes_the_unit_and_finds_it_closed(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(encoding="utf-8")))
    verified = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=20", str(copy)]
    security = subprocess.run(command, capture_output=True, text=True, check=False)
    assert security.returncode == 0, security.stdout[-500:]


# --- Kubernetes ------------------------------------------------------------------------------------------------------


def template(name: str) -> str:
    return (CHART / "templates" / name).read_text(encoding="utf-8")


def leaves(of: Any, path: str = "") -> Iterator[str]:
    if isinstance(of, dict) and of and path != "resources":
        for name, value in of.items():
            yield from leaves(value, f"{path}.{name}".lstrip("."))
    else:
        yield path


def test_the_chart_uses_each_of_its_values_and_no_other() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (CHART / "templates").iterdir())
    used = set(re.findall(r"\.Values\.([\w.]+)", text))
    assert used == set(leaves(loaded(CHART / "values.yaml")))
    assert loaded(CHART / "Chart.yaml")["appVersion"] == metadata.version("bellcrier")


RENDERINGS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "as it is": ({}, {"ConfigMap", "Deployment", "PodDisruptionBudget", "Service", "Job"}),
    "SQLite": ({"sqlite": {"enabled": True}, "replicas": 1},
               {"ConfigMap", "Deployment", "PersistentVolumeClaim", "Service"}),
    "everything": ({
        "trustedProxies": ["10.0.0.0/8"], "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls"},
        "metrics": {"enabled": True, "serviceMonitor": True}, "imagePullSecrets": [{"name": "pull"}],
        "podAnnotations": {"a": "b"}, "nodeSelector": {"a": "b"}, "tolerations": [{"key": "a"}],
        "affinity": {"nodeAffinity": {}}, "image": {"digest": "sha256:00"},
    }, {"ConfigMap", "Deployment", "PodDisruptionBudget", "Service", "Job", "Ingress", "ServiceMonitor"}),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.skipif(util.find_spec("helm_python") is None, reason="needs the extra `release`")
@pytest.mark.parametrize("case", RENDERINGS)
def test_helm_renders_the_chart(case: str) -> None:
    import helm_python

    values, kinds = RENDERINGS[case]
    assert [told for told in helm_python.lint(str(CHART))["messages"] if told["severity"] > 1] == []
    with helm_python.Chart.load(str(CHART)) as chart:
        rendered = chart.render({"existingSecret": "bell", **values}, name="demo", namespace="bell")
    found = [each for text in rendered.values() for each in yaml.safe_load_all(text) if each]
    assert {each["kind"] for each in found} == kinds
    (pod,) = (each["spec"]["template"]["spec"] for each in found if each["kind"] == "Deployment")
    assert pod["terminationGracePeriodSeconds"] > STOP_SECONDS
    assert pod["securityContext"]["runAsUser"] == int(USER)
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"]


@pytest.mark.long
@pytest.mark.skipif(util.find_spec("helm_python") is None, reason="needs the extra `release`")
@pytest.mark.parametrize(("values", "told"), [
    ({}, "existingSecret: name the Secret"),
    ({"existingSecret": "bell", "sqlite": {"enabled": True}}, "replicas: with SQLite there is one process"),
])  # fmt: skip
def test_helm_refuses_what_cannot_run(values: dict[str, Any], told: str) -> None:
    import helm_python

    with helm_python.Chart.load(str(CHART)) as chart, pytest.raises(helm_python.HelmError, match=told):
        chart.render(values, name="demo", namespace="bell")


# --- a read-only root ------------------------------------------------------------------------------------------------


@pytest.fixture
async def confined(sandbox: Sandbox, tmp_path: Path, bot_port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """`bellcrier run` as a user without a name, which may write in its data's folder alone."""
    data, away = tmp_path / "data", tmp_path / "away"
    data.mkdir()
    away.mkdir()
    text = (ROOT / "sandbox" / "demo.toml").read_text(encoding="utf-8")
    settings = tmp_path / "bellcrier.toml"
    settings.write_text(text.replace("BOT_PORT", str(bot_port)).replace("PORT", str(sandbox.port)))
    process = await asyncio.create_subprocess_exec(
        *nameless(), sys.executable, "-m", "bot.cli", "run", "--host", "127.0.0.1", "--port", str(bot_port),
        cwd=away, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        preexec_fn=confined_to([data]), env={
            "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(away), "PYTHONUNBUFFERED": "1",
            "BELLCRIER_CONFIG": str(settings), "DATABASE_URL": f"sqlite:///{data}/bellcrier.db",
            "BELLCRIER_APPROVAL__UNDO": "1s", **MARKED,
        },
    )  # fmt: skip
    yield process
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def nameless() -> tuple[str, ...]:
    """Words before a command that give it a user who is in no list of users, where that can be had."""
    words = ("unshare", "--user", f"--map-user={USER}")
    can = shutil.which("unshare") and subprocess.run([*words, "true"], check=False, capture_output=True).returncode == 0
    return words if can else ()


@pytest.mark.long
@pytest.mark.skipif(not can_confine(), reason="needs a kernel with Landlock")
async def test_a_bot_that_may_write_nowhere_but_in_its_data_sends_a_broadcast_and_stops(
    confined: asyncio.subprocess.Process, sandbox: Sandbox, tmp_path: Path
) -> None:
    assert confined.stdout is not None
    assert confined.stderr is not None
    async with asyncio.timeout(LONG):
        if b"Listening" not in await confined.stdout.readline():
            pytest.fail((await confined.stderr.read()).decode())
    await sandbox.until(lambda: sandbox.delivery.connected)
    await sandbox.acting.command("U0CLEO", HERE, "/broadcast send clients marketing Soldes demain")
    posted = await card(sandbox)
    await sandbox.acting.click("U0ANA", HERE, posted["ts"], "broadcast.approve")
    await sandbox.until(lambda: "22, 23" in thread_text(sandbox, posted["ts"]))
    confined.send_signal(signal.SIGTERM)
    async with asyncio.timeout(LONG):
        out, err = await confined.communicate()
    assert (confined.returncode, b"Traceback" in out + err) == (0, False), (out + err)[-2000:]
    assert list((tmp_path / "away").iterdir()) == []
    assert (tmp_path / "data" / "bellcrier.db").exists()
