"""The tables of docs/watching.md, from the code and the alert rules. `python -m tests.watching` writes them there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from bot.web.metrics import Described, Meters

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "watching.md"
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
MARKED = re.compile(r"(<!-- (metrics|alerts):.*?-->\n).*?(<!-- end of \2 -->)", re.DOTALL)


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def table(name: str) -> str:
    if name == "metrics":
        rows = [
            ["metric", "kind", "labels", "tells"],
            *map(_of_metric, sorted(Meters().described, key=lambda m: m.name)),
        ]
    else:
        rows = [["alert", "severity", "means", "what to do"], *map(_of_alert, alerts())]
    head, *others = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|---" * len(rows[0]) + "|", *others]) + "\n"


def _of_metric(metric: Described) -> list[str]:
    return [f"`{metric.name}`", metric.kind, ", ".join(f"`{label}`" for label in metric.labels), f"{metric.about}."]


def _of_alert(rule: dict[str, Any]) -> list[str]:
    told = rule["annotations"]
    return [f"`{rule['alert']}`", rule["labels"]["severity"], told["summary"], told["action"]]


def written(page: str) -> str:
    return MARKED.sub(lambda found: f"{found[1]}\n{table(found[2])}\n{found[3]}", page)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
