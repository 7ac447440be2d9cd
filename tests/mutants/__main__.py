"""`python -m tests.mutants --seed 7 --sample 60 --module hours --jobs 2`: how many faults the tests notice.

Each fault goes into a copy of the tree, where the tests of its module run until one fails or does not end. The same
seed, sample and sources give the same faults.
"""

from __future__ import annotations

import ast
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

import click

from tests.mutants.changes import Mutant, sample, written
from tests.mutants.modules import MODULES, ROOT, Module, commands, reasons
from tests.support.ground import postgres_server
from tests.support.keeper import SERVER

LEFT_BEHIND = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "*.db", "page.png")
SLOWER, AT_LEAST = 4.0, 30.0  # a fault's limit: so many times the clean run, plus so many seconds

QUICK = "not long and not alone"  # in pytest's words
NO_TESTS = 5  # pytest's exit code
#: A test that takes longer than these seconds, or fails, ends the run.
SHORT = (
    "-o",
    "faulthandler_timeout=120",
    "-o",
    "faulthandler_exit_on_timeout=true",
    "-p",
    f"{__package__}.first_failure",
)
CAUGHT, TIMED_OUT, SURVIVED, NO_HOLE = "caught", "timed out", "survived", "no hole"


@dataclass(frozen=True)
class Outcome:
    mutant: Mutant
    end: str
    seconds: float


class Copy:
    """A copy of the tree, which tries one fault at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT, folder, ignore=LEFT_BEHIND)

    def run(self, module: Module, source: str, limit: float | None) -> tuple[int | None, str, float]:
        """Run the tests with `source` as the module: exit code (None past the limit), output and seconds."""
        path, said = self.folder / module.path, self.folder / "said"
        kept, began = path.read_text(encoding="utf-8"), time.monotonic()
        path.write_text(source, encoding="utf-8")
        try:
            with said.open("wb") as out:
                code = self._steps(module, out, limit)
        finally:
            path.write_text(kept, encoding="utf-8")
        return code, said.read_text(errors="replace"), time.monotonic() - began

    def _steps(self, module: Module, out: BinaryIO, limit: float | None) -> int | None:
        over = None if limit is None else time.monotonic() + limit
        for words in commands(module):
            code = self._pytest(words, out, over)
            if code != 0:
                return code
        return 0

    def _pytest(self, words: list[str], out: BinaryIO, over: float | None) -> int | None:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-n",
            "0",
            "-p",
            "no:cacheprovider",
            *(SHORT if over is not None else ()),
            "-m",
            QUICK,
            *words,
        ]
        env = {**os.environ, "PYTHONPATH": str(self.folder), "BELLCRIER_SEED": "1"}
        env["PYTHONPYCACHEPREFIX"] = str(self.folder / "compiled")  # unchanged files are compiled only once
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        process = subprocess.Popen(
            command, cwd=self.folder, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
        try:
            return process.wait(None if over is None else max(over - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            return None
        finally:  # its keeper, which it started first, ends everything else that it started
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


class Copies:
    """As many copies as there are jobs; one job at a time uses each."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self.free: SimpleQueue[Copy] = SimpleQueue()
        self.jobs = jobs
        for number in range(jobs):
            self.free.put(Copy(folder / f"copy{number}"))

    @contextmanager
    def one(self) -> Iterator[Copy]:
        copy = self.free.get()
        try:
            yield copy
        finally:
            self.free.put(copy)

    def clean(self, name: str, module: Module, source: str) -> float:
        """Run without a fault, written as faults are, and return the seconds. Raises ClickException if a test fails."""
        with self.one() as copy:
            code, said, seconds = copy.run(module, source, None)
        if code != 0:
            raise click.ClickException(f"{name}: the tests fail without a fault.\n{said[-3000:]}")
        return seconds

    def play(self, module: Module, mutants: list[Mutant], limit: float) -> Iterator[Outcome]:
        def one(mutant: Mutant) -> Outcome:
            with self.one() as copy:
                code, said, seconds = copy.run(module, mutant.source, limit)
            if code == NO_TESTS:
                raise click.ClickException(f"There was no test to run: {said[-3000:]}")
            return Outcome(mutant, {None: TIMED_OUT, 0: SURVIVED}.get(code, CAUGHT), seconds)

        with ThreadPoolExecutor(self.jobs) as pool:
            yield from pool.map(one, mutants)


@click.command()
@click.option("--seed", type=int, help="Another one each time, if none is given.")
@click.option("--sample", "count", default=60, show_default=True, help="Faults of each module.")
@click.option("--module", "names", multiple=True, type=click.Choice(list(MODULES)), help="These modules alone.")
@click.option("--line", "lines", multiple=True, type=int, help="Faults of these lines alone.")
@click.option("--part", default="1/1", metavar="K/N", help="The k-th of n parts of the sample.")
@click.option("--jobs", default=2, show_default=True, help="Faults that are tried at a time.")
@click.option("--list", "only_list", is_flag=True, help="Tell the faults, and try none.")
@click.option("--at-least", default=0, help="End with 1 when fewer per cent of a module's faults are caught.")
def main(
    seed: int | None,
    count: int,
    names: tuple[str, ...],
    lines: tuple[int, ...],
    part: str,
    jobs: int,
    only_list: bool,
    at_least: int,
) -> None:
    """Put small faults into the code, one at a time, and count those that a test notices."""
    seed = random.randrange(10**6) if seed is None else seed
    click.echo(f"seed {seed}, {count} faults of each module" + (f", part {part}" if part != "1/1" else ""))
    chosen = {name: part_of(faults(name, count, seed, lines), part) for name in names or MODULES}
    if only_list:
        for name, mutants in chosen.items():
            click.echo("\n".join(told(name, mutant) for mutant in mutants))
        return
    with tempfile.TemporaryDirectory(prefix="m-") as folder, postgres_server() as server:
        os.environ[SERVER] = str(server.pgdata)  # one server for all runs: making it takes longer than most tests
        copies = Copies(Path(folder), jobs)
        shares = [judge(copies, name, mutants) for name, mutants in chosen.items()]
    sys.exit(1 if min(shares) < at_least else 0)


def faults(name: str, count: int, seed: int, lines: tuple[int, ...] = ()) -> list[Mutant]:
    module = MODULES[name]
    source = (ROOT / module.path).read_text(encoding="utf-8")
    found = sample(source, 10**9 if lines else count, f"{seed} {name}")
    return [mutant for mutant in found if not lines or mutant.line in lines]


def part_of(mutants: list[Mutant], part: str) -> list[Mutant]:
    at, _, parts = part.partition("/")
    if not (at.isdecimal() and parts.isdecimal() and 1 <= int(at) <= int(parts)):
        raise click.BadParameter(f"Write {part!r} as 2/3: the second of three parts.", param_hint="--part")
    return mutants[int(at) - 1 :: int(parts)]


def judge(copies: Copies, name: str, mutants: list[Mutant]) -> float:
    """Try all mutants and print those that no test noticed. Return the share that was noticed, in per cent."""
    module, known = MODULES[name], reasons()
    clean = copies.clean(name, module, written(ast.parse((ROOT / module.path).read_text(encoding="utf-8"))))
    counts = dict.fromkeys((CAUGHT, TIMED_OUT, SURVIVED, NO_HOLE), 0)
    for outcome in copies.play(module, mutants, clean * SLOWER + AT_LEAST):
        reason = known.get((name, f"{outcome.mutant.where}: {outcome.mutant.change}"))
        end = NO_HOLE if outcome.end == SURVIVED and reason else outcome.end
        counts[end] += 1
        if outcome.end == SURVIVED:
            click.echo(f"  {told(name, outcome.mutant)}" + (f"  (no hole: {reason})" if reason else ""))
    noticed = counts[CAUGHT] + counts[TIMED_OUT]
    share = 100 * noticed / max(len(mutants), 1)
    numbers = ", ".join(f"{number} {end}" for end, number in counts.items())
    click.echo(f"{name}: {share:.0f} % caught ({numbers}); {clean:.0f} s without a fault")
    return share


def told(name: str, mutant: Mutant) -> str:
    return f"{MODULES[name].path}:{mutant.line} [{mutant.where}] {mutant.change}"


if __name__ == "__main__":
    main()
