"""Starting a bot on a faulty database, and when the whole file is checked."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from bot.storage import schema, tables
from bot.storage.database import OutOfOrder, Unusable
from bot.storage.engines import open_database
from bot.storage.schema import upgrade
from bot.storage.sqlite import SQLite
from tests.support.databases import ROOT, keep
from tests.support.ground import free_port
from tests.support.keeper import MARKED
from tests.support.patience import LONG

DAC_OVERRIDE, DAC_READ_SEARCH = 1, 2
CAPBSET_DROP = 24


def bound_by_permissions() -> None:
    """Subject root to file permissions too, in a child process."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (DAC_OVERRIDE, DAC_READ_SEARCH):
        if os.geteuid() == 0 and libc.prctl(CAPBSET_DROP, capability, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "this test needs to put root under permissions")


async def shell(home: Path, *words: str) -> tuple[int, str]:
    """Return the exit code and standard error of `bellcrier …`. A start waits for Slack, and is stopped then."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot.cli", *words, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **MARKED}, preexec_fn=bound_by_permissions,
    )  # fmt: skip
    told, err = "", process.stderr
    assert err is not None
    async with asyncio.timeout(LONG):
        while line := (await err.readline()).decode():
            told += line
            if "Slack cannot be reached" in line:
                process.terminate()
        return await process.wait(), told


async def started(home: Path) -> None:
    """Leave the folder as after a first run: with a database, a key and a lock file."""
    code, told = await shell(home, "run", "--host", "127.0.0.1", "--port", str(free_port()))
    assert (code, "Slack cannot be reached" in told) == (0, True)
    assert (home / "bellcrier.db").stat().st_size > 0


async def refuses(home: Path, *wanted: str) -> None:
    code, told = await shell(home, "run", "--host", "127.0.0.1", "--port", str(free_port()))
    assert code == 1
    assert all(words in told for words in wanted), told
    assert (told.count("\n"), "Traceback" in told) == (1, False)


@pytest.mark.long
async def test_a_read_only_file_stops_the_start_and_is_named(home: Path) -> None:
    await started(home)
    (home / "bellcrier.db").chmod(0o444)
    await refuses(home, "bellcrier.db is read-only")


@pytest.mark.long
async def test_a_read_only_folder_stops_the_start_and_is_named(home: Path) -> None:
    home.chmod(0o555)
    await refuses(home, f"The folder {home} is read-only")
    home.chmod(0o755)
    await started(home)
    home.chmod(0o555)
    await refuses(home, f"The folder {home} is read-only")


@pytest.mark.long
async def test_a_folder_that_is_not_there_is_named(home: Path) -> None:
    path = home / "bellcrier.toml"
    path.write_text(f'database_url = "sqlite:///{home}/nowhere/bell.db"\n' + path.read_text())
    await refuses(home, f"There is no folder {home}/nowhere")


def overwrite(path: Path) -> None:
    """Write garbage into the middle, as a bad disk would."""
    with path.open("r+b") as file:
        for page in range(1, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 64)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "garbage": overwrite,
    "another file": lambda path: path.write_bytes(b"Dear diary, " * 1000),
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2 // 4096 * 4096),
}


@pytest.mark.long
@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_file_is_not_dispatched_from(home: Path, damage: str) -> None:
    await started(home)
    path = home / "bellcrier.db"
    DAMAGES[damage](path)
    before = path.read_bytes()
    await refuses(home, "is damaged, so nothing is sent from it", "bellcrier db restore")
    assert path.read_bytes() == before  # and nothing is put in its place


@pytest.mark.long
async def test_a_check_that_takes_long_ends_when_the_start_is_given_up(tmp_path: Path) -> None:
    """It runs in a thread, which nobody can cancel."""
    opened = open_database(f"sqlite:///{tmp_path}/large.db", LONG)
    rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500000) SELECT i, hex(i) FROM n"
    await opened.write(lambda c: c.exec_driver_sql(f"CREATE TABLE many AS {rows}"))
    await opened.write(lambda c: c.exec_driver_sql("CREATE INDEX by_both ON many (i, `hex(i)`)"), patience=None)
    await opened.close()

    again = open_database(f"sqlite:///{tmp_path}/large.db", LONG)
    begun = time.monotonic()
    await again.check()
    whole = time.monotonic() - begun
    await again.close()

    last = open_database(f"sqlite:///{tmp_path}/large.db", LONG)
    checking = asyncio.create_task(last.check())
    await asyncio.sleep(whole / 10)
    checking.cancel()
    begun = time.monotonic()
    await last.close()
    assert time.monotonic() - begun < whole / 2


HOLDER = """
import asyncio, sys
from bot.storage.engines import open_database

async def main():
    opened = open_database(sys.argv[1])
    await opened.check()
    opened.claim_dispatch()
    await opened.write(lambda c: c.exec_driver_sql("INSERT INTO kept VALUES ('held', '1', 1)"))
    print("held", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await opened.close()

asyncio.run(main())
"""


@contextmanager
def looks(opened: SQLite) -> Iterator[list[str]]:
    """Collect an entry for each check of the whole file."""
    found: list[str] = []

    def hear(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        found.extend(["looked"] * ("quick_check" in statement))

    event.listen(opened.engine, "before_cursor_execute", hear)
    yield found
    event.remove(opened.engine, "before_cursor_execute", hear)


async def looked_at_the_start(path: Path, *, stop: bool = True) -> bool:
    """Whether a process that starts, and then stops cleanly, checks the whole file at its start."""
    opened = open_database(f"sqlite:///{path}", LONG)
    assert isinstance(opened, SQLite)
    with looks(opened) as found:
        await opened.check()
    opened.claim_dispatch()
    await opened.write(keep("started", str(time.time_ns())))
    await opened.close()
    return bool(found)


async def test_after_a_clean_stop_a_start_does_not_read_all_of_the_file(file: SQLite, tmp_path: Path) -> None:
    path = tmp_path / "bell.db"
    await file.close()
    assert [await looked_at_the_start(path) for _ in range(3)] == [True, False, False]
    reader = open_database(f"sqlite:///{path}", LONG)  # a backup, an export, an inspection by hand
    await reader.read(schema.schema_revision)
    await reader.close()
    assert not await looked_at_the_start(path)


@pytest.mark.long
@pytest.mark.parametrize("ending", ["killed", "stopped"])
async def test_only_a_stop_that_nobody_saw_coming_has_the_file_looked_at(
    file: SQLite, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / "bell.db"
    await file.close()
    assert [await looked_at_the_start(path) for _ in range(2)] == [True, False]
    holder = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLDER, f"sqlite:///{path}"), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    meanwhile = open_database(f"sqlite:///{path}", LONG)
    assert isinstance(meanwhile, SQLite)
    with looks(meanwhile) as found:  # what a doctor does beside a running bot
        await meanwhile.check()
    assert found
    await meanwhile.close()
    if ending == "killed":
        holder.kill()
    else:
        holder.stdin.write(b"\n")
    await holder.wait()
    assert await looked_at_the_start(path) is (ending == "killed")
    assert not await looked_at_the_start(path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "another file in its place": lambda path: Path(shutil.copy(path, f"{path}.new")).rename(path),
    "another's bytes in it": lambda path: path.write_bytes(path.read_bytes()),
    "longer": lambda path: os.truncate(path, path.stat().st_size + 4096),
    "a log beside it": lambda path: Path(f"{path}-wal").write_bytes(b"x" * 64),
    "half a word of its soundness": lambda path: os.truncate(f"{path}.lock", 9),
    "no word of it": lambda path: Path(f"{path}.lock").unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_what_somebody_touched_since_the_stop_is_looked_at(file: SQLite, tmp_path: Path, change: str) -> None:
    path = tmp_path / "bell.db"
    await file.close()
    assert [await looked_at_the_start(path) for _ in range(2)] == [True, False]
    CHANGES[change](path)
    opened = open_database(f"sqlite:///{path}", LONG)
    assert isinstance(opened, SQLite)
    with looks(opened) as found, suppress(Unusable):
        await opened.check()
    assert found
    await opened.close()


async def test_whoever_met_a_broken_page_does_not_say_that_the_file_is_sound(file: SQLite, tmp_path: Path) -> None:
    path = tmp_path / "bell.db"
    for number in range(300):
        await file.write(keep(f"name {number}", "x" * 300))
    await file.close()
    assert [await looked_at_the_start(path) for _ in range(2)] == [True, False]
    opened = open_database(f"sqlite:///{path}")
    await opened.check()
    opened.claim_dispatch()
    overwrite(path)  # while it is open, as a bad disk would
    with pytest.raises(OutOfOrder):
        await opened.read(lambda c: c.execute(tables.kept.select()).all())
    await opened.close()
    with pytest.raises(Unusable, match="is damaged"):
        await looked_at_the_start(path)


async def test_who_brought_the_schema_up_without_a_look_does_not_say_that_the_file_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "bell.db"
    opened = open_database(f"sqlite:///{path}")
    opened.claim_dispatch()
    await opened.write(upgrade, patience=None)
    await opened.close()
    assert [await looked_at_the_start(path) for _ in range(2)] == [True, False]


@pytest.mark.long
async def test_db_check_always_looks_at_all_of_it(home: Path) -> None:
    await started(home)
    path = home / "bellcrier.db"
    stamp = path.stat()
    overwrite(path)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # as if nothing had been written there
    code, told = await shell(home, "db", "check")
    assert code == 1, told


@pytest.mark.long
@pytest.mark.parametrize("gone", ["missing", "empty"])
async def test_what_was_there_once_is_not_replaced_by_something_empty(home: Path, gone: str) -> None:
    await started(home)
    (home / "bellcrier.db").unlink()
    if gone == "empty":
        (home / "bellcrier.db").touch()
    await refuses(home, "bellcrier.db is gone", "bellcrier db restore")
    await refuses(home, "bellcrier.db is gone")  # the first refusal changed nothing
    assert (await shell(home, "db", "upgrade"))[0] == 0  # this is the explicit way to start afresh
    await started(home)


@pytest.mark.long
async def test_a_postgresql_that_does_not_answer_stops_the_start(home: Path) -> None:
    path = home / "bellcrier.toml"
    path.write_text(
        'database_url = "postgresql://127.0.0.1:9/x"\nsecret_key = "' + "QUFB" * 10 + 'QUE="\n' + path.read_text()
    )
    await refuses(home, "The database does not answer (ConnectionRefusedError: ", "DATABASE_URL")
