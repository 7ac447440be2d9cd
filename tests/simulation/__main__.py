"""`python -m tests.simulation --seeds 10000 --jobs 2`: many worlds; `--seed 7 --trace`: one, told in words."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.run import Outcome, run

AT_ONCE = 25


def say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def lived(seeds: range) -> list[Outcome]:
    return [run(seed) for seed in seeds]


def all_lived(seeds: range, jobs: int) -> Iterator[Outcome]:
    parts = [seeds[start : start + AT_ONCE] for start in range(0, len(seeds), AT_ONCE)]
    if jobs == 1:
        for part in parts:
            yield from lived(part)
        return
    with ProcessPoolExecutor(jobs) as pool:
        for outcomes in pool.map(lived, parts):
            yield from outcomes


def told(outcome: Outcome) -> str:
    again = run(outcome.seed, trace=True)
    how = f"Replay it: python -m tests.simulation --seed {outcome.seed} --trace"
    return "\n".join([*again.trace, "", f"Seed {outcome.seed} broke a promise. {outcome.violation}", how])


def main() -> int:
    asked = arguments()
    if asked.seed is not None:
        outcome = run(asked.seed, trace=asked.trace)
        say(*outcome.trace, f"seed {asked.seed}: {outcome.violation or 'every promise held'}")
        return int(outcome.violation is not None)
    began, counts, number = time.monotonic(), Counter[tuple[str, str]](), 0
    for number, outcome in enumerate(all_lived(range(asked.first, asked.first + asked.seeds), asked.jobs), 1):
        counts += outcome.counts
        if outcome.violation is not None:
            say(told(outcome))
            return 1
        if number % 500 == 0:
            say(f"{number} worlds, {time.monotonic() - began:.0f} s")
    for (kind, what), times in sorted(counts.items()):
        say(f"{kind:10} {what:55} {times:8}")
    say(f"{number} worlds in {time.monotonic() - began:.0f} s: every promise held in each.")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many worlds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes that share them")
    parser.add_argument("--seed", type=int, help="this world alone")
    parser.add_argument("--trace", action="store_true", help="tell everything that happens in it")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
