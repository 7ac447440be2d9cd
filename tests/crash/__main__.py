"""The long crash matrix in one command. `python -m tests.crash --write` runs every point on both databases, prints
each broken promise with its point, database and seed, and writes the table into docs/reliability.md."""

from __future__ import annotations

import asyncio
import json
import platform
import re
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from tests.crash.matrix import DATABASES, Databases, Result, run_once
from tests.crash.points import NAMED, POINTS, Point
from tests.support.ground import TEMPORARY, postgres_server

REPORT = Path(__file__).parent.parent.parent / "docs" / "reliability.md"
MARKED = re.compile(r"(<!-- crash matrix:.*?-->\n).*?(<!-- end of the crash matrix -->)", re.DOTALL)
Job = tuple[str, str, int]  # point, database, seed


@click.command()
@click.option("--seeds", default=25, show_default=True, help="Seeds of each point and database, from 1 on.")
@click.option("--seed", type=int, help="This seed alone, as it was printed.")
@click.option("--point", "points", multiple=True, type=click.Choice(list(NAMED)), help="These points alone.")
@click.option("--database", "databases", multiple=True, type=click.Choice(DATABASES), help="This database alone.")
@click.option("--jobs", default=8, show_default=True, help="Runs at a time. Most of a run is waiting.")
@click.option("--results", type=click.Path(path_type=Path), help="Keep results in this file, and go on where it ends.")
@click.option("--write", is_flag=True, help="Write the table into docs/reliability.md.")
def main(
    seeds: int,
    seed: int | None,
    points: tuple[str, ...],
    databases: tuple[str, ...],
    jobs: int,
    results: Path | None,
    write: bool,
) -> None:
    """Kill the bot at every named point. Ends with 1 when a promise was broken."""
    chosen = range(1, seeds + 1) if seed is None else (seed,)
    wanted = [(p, d, s) for s in chosen for p in points or NAMED for d in databases or DATABASES]
    played = list(read(results))
    done = {(result.point, result.database, result.seed) for result in played}
    version = asyncio.run(play([job for job in wanted if job not in done], played, jobs, results))
    told = f"\n{table(played)}\n\n{summary(played, version)}\n"
    click.echo(told)
    if write:
        REPORT.write_text(MARKED.sub(lambda found: f"{found[1]}{told}\n{found[2]}", REPORT.read_text()))
    sys.exit(1 if any(result.wrong for result in played) else 0)


def read(results: Path | None) -> Iterator[Result]:
    """Yield the results of earlier runs, except runs that broke a promise: those run again."""
    if results is not None and results.exists():
        found = [Result(**json.loads(line)) for line in results.read_text().splitlines()]
        yield from (result for result in found if not result.wrong)


async def play(wanted: list[Job], played: list[Result], jobs: int, results: Path | None) -> str:
    """Play these runs, `jobs` at a time, append results to `played` and the file, and return the server's version."""
    folder = Path(tempfile.mkdtemp(prefix="bellcrier-crash-", dir=TEMPORARY))
    began, waiting = time.monotonic(), iter(wanted)
    with postgres_server() as server:
        made = Databases(folder, server.get_uri())
        await made.prepare()
        count = 0

        async def work() -> None:
            nonlocal count
            for job in waiting:
                result = await run_once(made, *job)
                count += 1
                tell(result, count, len(wanted), time.monotonic() - began)
                played.append(result)
                if results is not None:
                    with results.open("a") as file:
                        file.write(json.dumps(asdict(result)) + "\n")

        await asyncio.gather(*(work() for _ in range(jobs)))
    if not any(result.wrong for result in played):
        shutil.rmtree(folder)
    return made.version


def tell(result: Result, count: int, total: int, seconds: float) -> None:
    for told in result.wrong:
        click.echo(f"BROKEN {result.point} / {result.database} / seed {result.seed}: {told}")
    if count % 25 == 0 or count == total:
        click.echo(f"{count} of {total} runs, {seconds:.0f} s")


# --- the table -------------------------------------------------------------------------------------------------------


def table(played: Sequence[Result]) -> str:
    """Return a row for each point: its runs on each database, and the outcomes of what was asked for in them."""
    head = ["killed at", "while", "what becomes of it", f"runs: {' + '.join(DATABASES)}", "asked for"]
    head += ["held first", "sent", "`unknown`", "double", "lost"]
    rows = [_row(point, [result for result in played if result.point == point.name]) for point in POINTS]
    return lined([head, ["---"] * len(head), *rows])


def lined(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(point: Point, runs: Sequence[Result]) -> list[str]:
    each = " + ".join(str(sum(result.database == name for result in runs)) for name in DATABASES)
    ends = [end for result in runs for end in result.ends]
    held = sum(result.held for result in runs)
    numbers = [len(ends), held, ends.count("sent"), ends.count("unknown"), doubles(runs), losses(runs)]
    return [f"`{point.name}`", point.phase, point.becomes, each, *map(str, numbers)]


def doubles(runs: Sequence[Result]) -> int:
    return sum(sends > 1 for result in runs for sends in result.sends)


def losses(runs: Sequence[Result]) -> int:
    return sum(told.startswith("lost") for result in runs for told in result.wrong)


def summary(played: Sequence[Result], version: str) -> str:
    """Return the totals, and the versions on which they were found."""
    killed, seconds = [result for result in played if result.killed], [result.seconds for result in played] or [0.0]
    each = " + ".join(str(sum(result.database == name for result in killed)) for name in DATABASES)
    modes = " + ".join(str(sum(result.mode == mode for result in played)) for mode in ("socket", "http"))
    facts = {
        "processes killed, on SQLite + PostgreSQL": f"{len(killed)} = {each}",
        "of them with a second process that lived on": sum(result.replicas > 1 for result in killed),
        "over Socket Mode + HTTP": modes,
        "broadcasts and reminders asked for": sum(len(result.ends) for result in played),
        "**sent twice**": doubles(played),
        "**lost**": losses(played),
        "**runs in which any promise was broken**": sum(bool(result.wrong) for result in played),
        "status posts that stand in Slack twice": sum(result.twice for result in played),
        "seconds for a run: mean, longest": f"{sum(seconds) / len(seconds):.1f}, {max(seconds):.1f}",
        "played on": f"{datetime.now(UTC):%d %B %Y}",
        "with": f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, PostgreSQL {version}",
    }
    return lined([["in all", ""], ["---", "---"], *([name, str(value)] for name, value in facts.items())])


if __name__ == "__main__":
    main()
