"""The bot and other programs, each as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from sandbox.server import Sandbox
from tests.support.ground import raw_settings
from tests.support.keeper import MARKED

ROOT = Path(__file__).parent.parent.parent


@asynccontextmanager
async def process(*words: str, env: Mapping[str, str] | None = None) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python program with nothing in its environment but this."""
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **MARKED, **(env or {})}
    pipe = asyncio.subprocess.PIPE
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *words, stdin=pipe, stdout=pipe, stderr=sys.stderr, env=given
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.terminate()
        await running.wait()


async def told(running: asyncio.subprocess.Process) -> str:
    assert running.stdout is not None
    return (await running.stdout.readline()).decode().strip()


@asynccontextmanager
async def running_bot(sandbox: Sandbox, port: int, folder: Path, **changes: object) -> AsyncIterator[str]:
    """The bot as an operator runs it. Yields the address that it says it listens on."""
    settings = written_settings(sandbox, port, folder, **changes)
    async with process("bot.cli", "run", "--config", str(settings), "--port", str(port)) as bot:
        listening, address = (await told(bot)).rsplit(" ", 1)
        assert listening == "Listening on"
        yield address


def written_settings(sandbox: Sandbox, port: int, folder: Path, **changes: object) -> Path:
    """Write the demo's settings for this sandbox to a file, with some tables or values replaced."""
    settings = folder / "bellcrier.toml"
    settings.write_text(_toml(raw_settings(sandbox, port, folder) | changes), encoding="utf-8")
    return settings


def _toml(table: Mapping[str, object], name: str = "") -> str:
    plain = [f"{key} = {_value(value)}" for key, value in table.items() if not isinstance(value, dict)]
    inner = [_toml(value, f"{name}.{key}".strip(".")) for key, value in table.items() if isinstance(value, dict)]
    return "\n".join([*([f"[{name}]"] if name else []), *plain, *inner])


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_value(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)
