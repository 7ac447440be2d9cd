"""Benchmarks still run: a change of the product may break one, and nobody would notice until it is needed."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE

import pytest

from tests.support.databases import ROOT

BRIEF = {
    "scheduled": ("--rows", "200", "--restart", "20", "--rounds", "2", "--kinds", "sqlite"),
    "dispatching": ("--count", "20", "--kinds", "sqlite", "--processes", "1"),
    "receiving": ("--deliveries", "200", "--rounds", "2", "--seconds", "1", "--kinds", "sqlite"),
    "life": ("--count", "1"),
}


@pytest.mark.alone
@pytest.mark.parametrize("name", BRIEF)
async def test_a_benchmark_runs_to_its_end(name: str) -> None:
    command = (sys.executable, "-m", f"benchmarks.{name}", *BRIEF[name])
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, cwd=ROOT)
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()[-3000:]
    assert output.count(b"\n|--") >= 1, "it prints a table"
