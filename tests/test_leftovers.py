"""A run of the tests that is killed, in whatever way, leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.ground import TEMPORARY
from tests.support.keeper import OUTSIDE, PROC
from tests.support.patience import until

ROOT = Path(__file__).parent.parent
#: A test that starts one of everything, writes a file to say so, and never ends.
ENDLESS = """
import asyncio, os
from pathlib import Path
from playwright.async_api import async_playwright
from tests.test_process import run_bot
from tests.test_replicas import start

async def test_that_never_ends(sandbox, postgres, shell, tmp_path, bot_port, bot):
    await run_bot(shell, sandbox, tmp_path, bot_port + 1)
    await asyncio.create_subprocess_exec("sleep", "1000", cwd=tmp_path, start_new_session=True)
    chromium = {chromium!r}
    async with async_playwright() as playwright:
        if chromium:
            await playwright.chromium.launch(executable_path=chromium)
        Path({ready!r}).write_text(str(os.getpid()))
        await asyncio.sleep(1000)
"""


def here(*folders: Path) -> list[str]:
    """Return the command lines of the processes that work in these folders or were given their paths."""
    found = []
    for process in PROC.glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            told = (
                f"{line} {(process / 'environ').read_bytes().decode(errors='replace')} {os.readlink(process / 'cwd')}/"
            )
            if any(f"{folder}/" in told for folder in folders) and "keeper.py" not in line:
                found.append(f"{process.name} {line[:200]}")
    return found


async def start(folder: Path, temporary: Path) -> asyncio.subprocess.Process:
    """Start a run of this folder's tests, independent of the run that is under way."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", OUTSIDE))}
    with (folder / "said").open("wb") as said:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pytest", "-q", "-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest",
            "-p", "no:cacheprovider", "-n", "1", "--max-worker-restart", "0", f"--basetemp={folder}/base", str(folder),
            cwd=ROOT, env={**ours, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}, stdout=said, stderr=said,
        )  # fmt: skip


@pytest.fixture
def temporary() -> Iterator[Path]:
    """The folder in which the run makes its folders. Its name is short, since a socket lies there."""
    folder = Path(tempfile.mkdtemp(prefix="b-", dir=TEMPORARY))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.long
@pytest.mark.skipif(not PROC.exists(), reason="only Linux shows the environment of processes")
@pytest.mark.parametrize("killed", ["the run", "its worker"])
async def test_a_run_that_is_killed_leaves_no_process_and_no_folder(
    tmp_path: Path, temporary: Path, killed: str
) -> None:
    ready, chromium = tmp_path / "ready", shutil.which("chromium") or ""
    (tmp_path / "test_endless.py").write_text(ENDLESS.format(ready=str(ready), chromium=chromium))
    run = await start(tmp_path, temporary)
    await until(lambda: ready.exists() or run.returncode is not None)
    assert run.returncode is None, (tmp_path / "said").read_text()
    worker = int(ready.read_text())
    started = "\n".join(here(tmp_path, temporary))
    assert all(name in started for name in ("postgres", "bot.cli", "sleep", "chromium" if chromium else "")), started
    os.kill(run.pid if killed == "the run" else worker, signal.SIGKILL)
    await run.wait()
    await until(lambda: here(tmp_path, temporary) == [] and os.listdir(temporary) == [])
