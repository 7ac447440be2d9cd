"""A process is killed at every named point, on one database or the other: nothing goes out twice, nothing is lost.

The long version, with many seeds on both, is `python -m tests.crash`; its table is in docs/reliability.md.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from tests.crash.__main__ import MARKED, REPORT, table
from tests.crash.matrix import DATABASES, Databases, Result, plan, run_once
from tests.crash.points import NAMED, POINTS


@pytest.fixture(scope="session")
def databases(postgres: Any, tmp_path_factory: pytest.TempPathFactory) -> Databases:
    made = Databases(tmp_path_factory.mktemp("crash"), postgres.get_uri())
    asyncio.run(made.prepare())
    return made


#: The points around the byte that cannot be taken back; the others run after the quick tests.
AT_ONCE = {"call release during"}


@pytest.mark.parametrize("point", [pytest.param(p, marks=() if p in AT_ONCE else pytest.mark.long) for p in NAMED])
async def test_killed_there_it_sends_nothing_twice_and_loses_nothing(
    databases: Databases, point: str, seed: int
) -> None:
    kind = random.Random(f"{point} {seed}").choice(DATABASES)  # the long version plays both
    result = await run_once(databases, point, kind, seed)
    assert result.wrong == []
    assert result.killed
    assert len(result.sends) == len(result.ends) >= 1


def test_a_seed_says_everything_about_a_run(seed: int) -> None:
    point = random.Random(seed).choice(POINTS)
    assert plan(point, "postgresql", seed) == plan(point, "postgresql", seed)
    assert len({repr(plan(point, "postgresql", other)) for other in range(seed, seed + 20)}) == 20


def test_only_the_release_may_end_unknown() -> None:
    named = [point.name for point in POINTS if point.unknown]
    assert named[0] == "commit release after"
    assert named[-1] == "commit accept before"
    assert len(named) < len(POINTS) / 2


def test_the_report_holds_every_point_and_no_broken_promise() -> None:
    written = MARKED.search(REPORT.read_text())
    assert written is not None
    rows = [line.strip("| ").split(" | ") for line in written[0].splitlines() if line.startswith("| `")]
    assert [row[0] for row in rows] == [f"`{point.name}`" for point in POINTS]
    for row, point in zip(rows, POINTS, strict=True):
        runs = [int(number) for number in row[3].split(" + ")]
        broadcasts, held, sent, unknown, double, lost = map(int, row[4:])
        assert min(runs) > 0, point.name
        assert sum(runs) <= broadcasts == sent + unknown, point.name
        assert held <= broadcasts, point.name
        assert (double, lost) == (0, 0), point.name
        assert point.unknown or unknown == 0, point.name


def test_the_table_counts_what_the_runs_found() -> None:
    shared: dict[str, Any] = {"database": "sqlite", "vendor": "encom", "mode": "http", "replicas": 1, "killed": True}
    runs = [
        Result("call release after", seed=1, ends=["unknown", "sent"], sends=[0, 1], **shared),
        Result("call release after", seed=2, ends=["sent"], sends=[2], wrong=["double: …", "lost: …"], **shared),
    ]
    (row,) = [line for line in table(runs).splitlines() if "`call release after`" in line]
    assert row.endswith("| 2 + 0 | 3 | 0 | 2 | 1 | 1 | 1 |")
