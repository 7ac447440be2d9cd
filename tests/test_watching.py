"""The dashboard, the alert rules and docs/watching.md ask for nothing that a running bot does not show."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.web.metrics import Meters
from sandbox.server import Sandbox
from tests.support.ground import StartBot, free_port
from tests.support.scrape import Scrape, scrape
from tests.watching import PAGE, ROOT, RULES, alerts, written

DASHBOARD = ROOT / "deploy" / "grafana" / "bellcrier.json"
METRIC = re.compile(r"\b((?:bellcrier|process|python)_\w+)(?:\{([^}]*)\})?")
LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"")
SPECIAL = {"job", "instance", "le"}  # Prometheus' own, and a histogram's
GROUPED = re.compile(r"\b(?:by|on) \(([^)]*)\)")


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """Every query, with the name of its alert or panel."""
    for rule in alerts():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def unknown_metrics(found: Scrape) -> list[tuple[str, str]]:
    asked = [(title, name) for title, query in queries() for name, _ in METRIC.findall(query)]
    return [(title, name) for title, name in asked if name not in found.queryable]


def unknown_labels() -> list[tuple[str, str]]:
    """The labels that no metric of their query has."""
    labels = {metric.name: set(metric.labels) for metric in Meters().described}
    wrong = []
    for title, query in queries():
        asked = METRIC.findall(query)
        has = SPECIAL.union(*(labels.get(re.sub("_(bucket|sum|count)$", "", name), set()) for name, _ in asked))
        told = {label for _, selected in asked for label in LABEL.findall(selected)}
        told |= {label.strip() for group in GROUPED.findall(query) for label in group.split(",")}
        wrong += [(title, label) for label in told - has]
    return wrong


async def test_a_running_bot_shows_every_metric_that_the_dashboard_and_the_alerts_ask_for(
    sandbox: Sandbox, start_bot: StartBot, tmp_path: Path
) -> None:
    address = f"127.0.0.1:{free_port()}"
    await start_bot(sandbox, metrics_listen=address)
    found = await scrape(address)
    assert unknown_metrics(found) == []
    assert len(list(queries())) > 60
    assert {metric.name for metric in Meters().described} - {family_of(name) for name in found.queryable} == set()
    assert promtool("check", "metrics", given=found.text) == (0, [])


def family_of(name: str) -> str:
    return re.sub("_(bucket|sum|count)$", "", name)


def test_a_query_for_what_no_bot_shows_is_noticed() -> None:
    assert unknown_metrics(Scrape("# TYPE bellcrier_ready gauge\n"))
    assert METRIC.findall('max(bellcrier_x{a="b", job=~"$job"}) > 1') == [("bellcrier_x", 'a="b", job=~"$job"')]


def test_the_dashboard_and_the_alerts_ask_for_labels_that_there_are() -> None:
    assert unknown_labels() == []


def test_every_alert_says_what_it_means_and_what_to_do() -> None:
    names = [rule["alert"] for rule in alerts()]
    assert len(names) == len(set(names)) > 20
    for rule in alerts():
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert all(rule["annotations"][part].endswith(".") for part in ("summary", "action"))


def test_every_panel_has_its_own_place_and_a_query() -> None:
    places = [tuple(panel["gridPos"][side] for side in "xywh") for panel in panels()]
    taken = [(x + right, y + down) for x, y, w, h in places for right in range(w) for down in range(h)]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
    assert all(panel["targets"] and panel["datasource"]["uid"] == "${datasource}" for panel in panels())


def test_the_page_shows_every_metric_and_every_alert_as_they_are() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert written(page) == page, "python -m tests.watching"
    assert page.count("| `bellcrier_") == len(Meters().described)
    assert page.count("| `Bellcrier") == len(alerts())


# --- promtool --------------------------------------------------------------------------------------------------------


def promtool(*words: str, given: str | None = None) -> tuple[int, list[str]]:
    """Run promtool. Return its exit code, and what it finds wrong or only advises against."""
    path = shutil.which("promtool")
    if path is None:
        message = "NO PROMTOOL: nobody else checks the metrics and alerts. Install Debian's prometheus."
        if os.environ.get("BELLCRIER_NEEDS_BROWSER"):
            pytest.fail(message)
        pytest.skip(message)  # `.ci/run` installs it, and sets the variable above
    ran = subprocess.run([path, *words], input=given, capture_output=True, text=True, check=False)
    said = [line for line in (ran.stdout + ran.stderr).splitlines() if line.strip()]
    return ran.returncode, [line for line in said if not re.match(r"Checking|Unit Testing|\s*SUCCESS", line)]


def test_promtool_finds_nothing_wrong_with_the_alert_rules() -> None:
    assert promtool("check", "rules", str(RULES)) == (0, [])


def test_promtool_can_read_every_query_of_the_dashboard(tmp_path: Path) -> None:
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    plain = [re.sub(r"\$__(rate_)?interval", "5m", one).replace("$job", ".*") for one in asked]
    rules = [{"record": f"panel:number:{number}", "expr": one} for number, one in enumerate(plain)]
    file = tmp_path / "panels.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))  # JSON is YAML
    assert promtool("check", "rules", str(file)) == (0, [])


def test_promtool_notices_a_metric_with_a_wrong_unit_and_a_query_that_is_none(tmp_path: Path) -> None:
    assert promtool("check", "metrics", given="# TYPE bellcrier_wait_milliseconds counter\nbellcrier_wait_ms 1\n")[0]
    file = tmp_path / "wrong.yml"
    file.write_text(json.dumps({"groups": [{"name": "x", "rules": [{"alert": "X", "expr": "sum("}]}]}))
    assert promtool("check", "rules", str(file))[0]


OF_ONE = 'job="bell", instance="one"'
#: Series as promtool writes them, one value a minute, and the alerts that fire in the end.
FIRING: dict[str, tuple[dict[str, str], set[str]]] = {
    "nothing answers": ({}, {"BellcrierAbsent"}),
    "all is well": (
        {
            "bellcrier_ready": "1x600",
            "bellcrier_overdue_seconds": "0x600",
            'bellcrier_longest_wait_seconds{state="unknown"}': "0x600",
            'bellcrier_tick_age_seconds{tick="dispatch"}': "1x600",
            'bellcrier_outcomes_total{account="encom", outcome="accepted"}': "0+1x600",
            'bellcrier_callbacks_total{account="encom", status="200"}': "0+9x600",
        },
        set(),
    ),
    "an outcome is unknown": (
        {'bellcrier_longest_wait_seconds{state="unknown"}': "0+60x600"},
        {"BellcrierUnknownOutcome"},
    ),
    "a broadcast does not start": ({"bellcrier_overdue_seconds": "0+60x600"}, {"BellcrierOverdue"}),
    "the dispatcher hangs": (
        {'bellcrier_tick_age_seconds{tick="dispatch"}': "0+60x600"},
        {"BellcrierDispatcherStuck", "BellcrierTickStuck"},
    ),
    "a vendor no longer calls back": (
        {
            'bellcrier_outcomes_total{account="encom", outcome="accepted"}': "0+1x600",
            'bellcrier_callbacks_total{account="encom", status="200"}': "0x600",
        },
        {"BellcrierNoCallbacks"},
    ),
    "a vendor that never calls back is used": (
        {'bellcrier_outcomes_total{account="kaizala", outcome="accepted"}': "0+1x600"},
        set(),
    ),
    "another program runs out of files": (
        {'process_open_fds{job="other"}': "99x600", 'process_max_fds{job="other"}': "100x600"},
        set(),
    ),
    "this one runs out of files": (
        {"process_open_fds": "99x600", "process_max_fds": "100x600"},
        {"BellcrierFilesRunOut"},
    ),
    "the database is away": (
        {"bellcrier_database_up": "0x600", "bellcrier_ready": "0x600"},
        {"BellcrierDatabaseDown", "BellcrierNotReady"},
    ),
}


def of_one(series: str) -> str:
    """The series of one process."""
    name, _, labels = series.rstrip("}").partition("{")
    return f"{name}{{{labels}}}" if "job=" in labels else f"{name}{{{', '.join(filter(None, [OF_ONE, labels]))}}}"


@pytest.mark.long
def test_the_alerts_fire_when_they_should_and_not_else(tmp_path: Path) -> None:
    names, tests = [rule["alert"] for rule in alerts()], []
    for title, (series, _) in FIRING.items():
        here = series if not series else {"bellcrier_build_info": "1x600", **series}
        given = [{"series": of_one(one), "values": values} for one, values in here.items()]
        asked = [
            {"expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}})', "eval_time": "10h"} for name in names
        ]
        expected = [
            {**one, "exp_samples": [{"labels": "{}", "value": 1}] if name in FIRING[title][1] else []}
            for one, name in zip(asked, names, strict=True)
        ]
        tests.append({"name": title, "interval": "1m", "input_series": given, "promql_expr_test": expected})
    file = tmp_path / "firing.yml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    assert promtool("test", "rules", str(file)) == (0, [])
