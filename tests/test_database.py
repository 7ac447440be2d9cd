"""The database itself, in trouble: busy, full, read-only, damaged, restarted, cut off in the middle of a commit."""

from __future__ import annotations

import asyncio
import ctypes
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Table, event, text

from bot.domain.clock import steady
from bot.domain.i18n import translator_for
from bot.slack.replies import explain
from bot.storage import database as databases
from bot.storage import keys, schema, sqlite, tables
from bot.storage.broadcast_rows import Changes
from bot.storage.database import AlreadyDispatching, CommitUncertain, Database, DatabaseBusy, OutOfOrder, Unusable
from bot.storage.engines import open_database
from bot.storage.occurrences import OccurrenceChanges
from bot.storage.postgres import Postgres
from bot.storage.schedules import ScheduleChanges
from bot.storage.schema import upgrade
from bot.storage.sqlite import SQLite
from tests.support.ground import new_postgres
from tests.support.keeper import MARKED
from tests.support.patience import LONG, Machine, until, within
from tests.support.proxy import COMMIT, Proxy
from tests.support.rows import fill

PATIENT = 3.0  # seconds within which every caller gets an answer, whatever the state of the database


@pytest.fixture
def postgres_url(postgres: Any) -> Iterator[str]:
    with new_postgres(postgres) as url:
        yield url


@pytest.fixture
async def direct(postgres_url: str) -> AsyncIterator[Postgres]:
    """PostgreSQL with the schema, reached directly."""
    opened = open_database(postgres_url, LONG)
    assert isinstance(opened, Postgres)
    await opened.write(upgrade, patience=None)
    yield opened
    await opened.close()


@pytest.fixture
async def served(direct: Postgres, postgres_url: str) -> AsyncIterator[Postgres]:
    """The same, with the patience of people who wait for an answer."""
    opened = open_database(postgres_url)
    assert isinstance(opened, Postgres)
    yield opened
    await opened.close()


@pytest.fixture
async def proxy(postgres: Any) -> AsyncIterator[Proxy]:
    async with Proxy(postgres) as road:
        yield road


@pytest.fixture
async def distant(proxy: Proxy, direct: Postgres, postgres_url: str) -> AsyncIterator[Postgres]:
    """The same, over a connection that can be cut."""
    opened = open_database(proxy.url(postgres_url))
    assert isinstance(opened, Postgres)
    yield opened
    await proxy.shut()  # else closing waits for a connection that was lost silently
    await opened.close()


def keep(name: str, value: str = "1") -> Any:
    return lambda connection: keys.keep(connection, name, value, 1)


async def kept(database: Database, name: str) -> str | None:
    return await database.read(lambda c: keys.load_kept(c, name))


def add_one(connection: Connection) -> None:
    """Add one to the count: running it twice is not harmless."""
    found = int(keys.load_kept(connection, "count") or 0)
    keys.keep(connection, "count", str(found + 1), 1)


# --- the schema ------------------------------------------------------------------------------------------------------


async def test_the_migrations_make_exactly_the_tables_of_the_code(database: Database) -> None:
    def differences(connection: Any) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, tables.metadata))

    assert await database.read(differences) == []
    assert await database.read(schema.schema_revision) == tables.REVISION
    await database.write(upgrade)  # again: nothing to do
    assert await database.read(differences) == []


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        (tables.broadcasts, Changes),
        (tables.schedules, ScheduleChanges),
        (tables.occurrences, OccurrenceChanges),
    ],
)
def test_what_may_change_are_columns_and_never_those_that_name_the_row(table: Table, changes: type) -> None:
    names = set(get_type_hints(changes))
    assert names <= {column.name for column in table.columns}
    assert not names & ({column.name for column in table.primary_key} | {"created_at", "changed_at", "revision"})


def test_the_code_asks_for_the_newest_migration() -> None:
    script = ScriptDirectory(str(Path(schema.__file__).parent / "migrations"))
    assert script.get_heads() == [tables.REVISION]


async def test_of_several_processes_that_start_on_an_empty_database_one_makes_the_schema(postgres_url: str) -> None:
    starting = [open_database(postgres_url, LONG) for _ in range(4)]
    try:
        await asyncio.gather(*(opened.write(upgrade, patience=None) for opened in starting))
        assert {await opened.read(schema.schema_revision) for opened in starting} == {tables.REVISION}
    finally:
        for opened in starting:
            await opened.close()


# --- concurrent writes and locks --------------------------------------------------------------------------------------


async def test_of_a_hundred_writes_together_only_the_wrong_one_fails(database: Database) -> None:
    def write(number: int) -> Any:
        def work(connection: Any) -> int:
            keys.keep(connection, f"n{number}", str(number), 1)
            if number == 37:
                raise ValueError("this one")
            return number

        return database.write(work)

    outcomes = await asyncio.gather(*(write(number) for number in range(100)), return_exceptions=True)
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, ValueError)] == [37]
    found = await database.read(lambda c: [n for n in range(100) if keys.load_kept(c, f"n{n}") == str(n)])
    assert found == [n for n in range(100) if n != 37]


async def test_a_lock_that_is_held_too_long_is_busy_and_nothing_is_stored(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/locked.db"
    one, other = open_database(url), open_database(url)
    await one.write(upgrade)
    assert isinstance(other, SQLite)
    with other.engine.begin() as holding:
        keys.keep(holding, "mine", "1", 1)
        async with within(PATIENT):
            with pytest.raises(DatabaseBusy):
                await one.write(keep("yours"))
    assert await kept(one, "yours") is None
    assert await kept(one, "mine") == "1"
    await one.close()
    await other.close()


async def test_nobody_waits_for_a_lock_longer_than_the_others_before_them(tmp_path: Path) -> None:
    """A later writer waits two seconds in all, not the first one's two seconds and then its own."""
    url = f"sqlite:///{tmp_path}/locked.db"
    one, other = open_database(url), open_database(url)
    await one.write(upgrade)
    assert isinstance(other, SQLite)

    async def waits(number: int) -> float:
        await asyncio.sleep(0.3 * number)
        began = time.monotonic()
        with pytest.raises(DatabaseBusy):
            await one.write(keep(f"n{number}"))
        return time.monotonic() - began

    with Machine() as machine, other.engine.begin() as holding:
        keys.keep(holding, "mine", "1", 1)
        waited = await asyncio.gather(*(waits(number) for number in range(8)))
    assert all(1.7 < seconds < PATIENT * machine.slower for seconds in waited), waited
    await one.close()
    await other.close()


async def test_a_lock_that_is_given_back_lets_everybody_through(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/locked.db"
    one, other = open_database(url, LONG), open_database(url, LONG)
    await one.write(upgrade)
    assert isinstance(other, SQLite)
    with other.engine.begin() as holding:
        keys.keep(holding, "mine", "1", 1)
        first = asyncio.create_task(one.write(keep("first")))
        await asyncio.sleep(0.5)  # so that it has waited for a while
        second = asyncio.create_task(one.write(keep("second")))
        await asyncio.sleep(0.1)
    await asyncio.gather(first, second)
    assert await kept(one, "second") == "1"
    await one.close()
    await other.close()


# --- PostgreSQL goes away (B5, B6, B7) -------------------------------------------------------------------------------


async def test_a_connection_that_breaks_before_the_commit_is_taken_up_again_and_it_is_done_once(
    direct: Postgres, distant: Postgres, proxy: Proxy
) -> None:
    proxy.cut(b"INSERT INTO kept", how="before")
    await distant.write(add_one)
    assert await kept(direct, "count") == "1"
    proxy.cut(b"UPDATE kept", how="after")
    await distant.write(add_one)
    assert (await kept(direct, "count"), proxy.done) == ("2", 2)


@pytest.mark.parametrize(("how", "stored"), [("before", None), ("after", "1")])
async def test_a_commit_whose_answer_is_lost_is_never_guessed_at(
    direct: Postgres, distant: Postgres, proxy: Proxy, how: Any, stored: str | None
) -> None:
    await kept(distant, "count")
    proxy.cut(b"INSERT INTO kept", COMMIT, how=how)
    with pytest.raises(CommitUncertain):
        await distant.write(add_one)
    assert await kept(direct, "count") == stored
    assert proxy.done == 1
    await distant.write(add_one)  # the next one finds a connection that works
    assert await kept(distant, "count") == str(int(stored or 0) + 1)


async def test_a_server_that_falls_silent_in_the_commit_leaves_it_in_doubt_in_time(
    direct: Postgres, distant: Postgres, proxy: Proxy
) -> None:
    proxy.cut(b"INSERT INTO kept", COMMIT, how="silence")
    async with within(PATIENT):
        with pytest.raises(CommitUncertain):
            await distant.write(add_one)


async def test_a_server_that_falls_silent_before_the_commit_is_busy_in_time(distant: Postgres, proxy: Proxy) -> None:
    await kept(distant, "count")
    proxy.silent = True
    for work in (distant.write, distant.read):
        async with within(PATIENT):
            with pytest.raises(DatabaseBusy):
                await work(add_one)


@pytest.mark.long
async def test_a_server_that_refuses_connections_is_busy_in_time_and_read_again_when_it_is_back(
    distant: Postgres, proxy: Proxy
) -> None:
    await kept(distant, "count")
    await proxy.shut()
    for work in (distant.write, distant.read):
        async with within(PATIENT):
            with pytest.raises(DatabaseBusy, match="ConnectionRefusedError"):
                await work(add_one)

    async def back() -> None:
        await asyncio.sleep(0.5)  # well within anybody's patience
        await proxy.open()

    await asyncio.gather(back(), distant.write(add_one))
    assert await kept(distant, "count") == "1"


async def test_a_read_on_a_connection_that_died_meanwhile_is_read_again(distant: Postgres, proxy: Proxy) -> None:
    await asyncio.gather(*(kept(distant, "count") for _ in range(5)))
    await proxy.shut()
    await proxy.open()
    assert await asyncio.gather(*(kept(distant, "count") for _ in range(5))) == [None] * 5


async def test_a_backend_that_is_ended_in_the_middle_of_a_write_is_no_error(direct: Postgres) -> None:
    tries: list[int] = []

    def work(connection: Connection) -> None:
        add_one(connection)
        tries.append(int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one()))
        if len(tries) == 1:
            connection.execute(text("SELECT pg_sleep(60)"))

    async def end_it() -> None:
        await until(lambda: tries)
        await direct.read(lambda c: c.execute(text(f"SELECT pg_terminate_backend({tries[0]})")).scalar())

    await asyncio.gather(direct.write(work), end_it())
    assert (await kept(direct, "count"), len(tries)) == ("1", 2)


async def test_two_that_wait_for_each_other_are_both_done(direct: Postgres) -> None:
    await direct.write(keep("a", "0"))
    await direct.write(keep("b", "0"))
    tries = 0

    def both(first: str, second: str) -> Any:
        def work(connection: Connection) -> None:
            nonlocal tries
            tries += 1
            connection.execute(text("SET LOCAL deadlock_timeout = '100ms'"))
            for name in (first, second):
                one_more = "UPDATE kept SET value = (value::int + 1)::text WHERE name = :name"
                connection.execute(text(one_more), {"name": name})
                connection.execute(text("SELECT pg_sleep(0.1)"))

        return work

    await asyncio.gather(direct.write(both("a", "b")), direct.write(both("b", "a")))
    assert (await kept(direct, "a"), await kept(direct, "b")) == ("2", "2")
    assert tries > 2  # PostgreSQL ended one of them, as it must


async def test_what_cannot_be_put_in_an_order_is_done_again(direct: Postgres) -> None:
    await direct.write(keep("count", "0"))

    def work(connection: Connection) -> None:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"))
        found = int(keys.load_kept(connection, "count") or 0)
        connection.execute(text("SELECT pg_sleep(0.05)"))
        keys.keep(connection, "count", str(found + 1), 1)

    await asyncio.gather(*(direct.write(work) for _ in range(4)))
    assert await kept(direct, "count") == "4"


async def test_it_is_tried_again_a_few_times_and_no_more(direct: Postgres) -> None:
    tries = 0

    def work(connection: Connection) -> None:
        nonlocal tries
        tries += 1
        connection.execute(text("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$"))

    with pytest.raises(DatabaseBusy):
        await direct.write(work)
    assert 3 < tries <= Postgres.TRIES


@pytest.mark.long
async def test_a_write_with_all_the_time_it_needs_finds_out_what_became_of_it(
    direct: Postgres, distant: Postgres, proxy: Proxy
) -> None:
    """Its commit is in doubt, and the next try sees that it succeeded."""
    proxy.cut(b"once", COMMIT, how="after")

    def once(connection: Connection) -> str:
        known = keys.load_kept(connection, "once")
        if known is None:
            keys.keep(connection, "once", "first", 1)
        return known or "new"

    assert await distant.write_until(steady() + 20, once) == "first"
    await proxy.shut()
    async with within(4 + PATIENT, at_least=2):
        with pytest.raises(DatabaseBusy):
            await distant.write_until(steady() + 4, once)


@pytest.mark.long
async def test_a_write_whose_work_takes_longer_than_anybody_waits_is_let_finish_in_the_end(
    direct: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of ids on a busy machine take long to write, and the vendor's answer must not be lost."""
    monkeypatch.setattr(direct, "patience", 0.1)
    monkeypatch.setattr(databases, "CONNECTIONS", 2)

    def slow(connection: Connection) -> None:
        connection.execute(text("SELECT pg_sleep(0.7)"))
        keys.keep(connection, "slow", "done", 1)

    with pytest.raises(DatabaseBusy):
        await direct.write(slow, patience=0.1)
    async with asyncio.timeout(LONG):
        await direct.write_until(math.inf, slow)
    assert await direct.read(lambda c: keys.load_kept(c, "slow")) == "done"


# --- too many at once (B8) --------------------------------------------------------------------------------------------


async def test_when_every_connection_is_taken_the_next_one_is_refused_in_time(served: Postgres) -> None:
    size = 20
    async with AsyncExitStack() as held:
        for _ in range(size):
            await held.enter_async_context(served.engine.connect())
        async with within(PATIENT):
            outcomes = await asyncio.gather(*(served.write(add_one) for _ in range(50)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {DatabaseBusy}
    await asyncio.gather(*(served.write(keep(f"n{number}"), patience=LONG) for number in range(50)))


async def test_a_row_that_somebody_keeps_locked_is_busy_in_time(direct: Postgres, served: Postgres) -> None:
    await direct.write(keep("count", "5"))
    async with direct.engine.begin() as holding:
        await holding.execute(text("SELECT * FROM kept FOR UPDATE"))
        async with within(PATIENT):
            with pytest.raises(DatabaseBusy, match="locked"):
                await served.write(add_one)
    await direct.write(add_one)
    assert await kept(direct, "count") == "6"


# --- the disk (B2, B3, B4, B10) --------------------------------------------------------------------------------------


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[SQLite]:
    opened = open_database(f"sqlite:///{tmp_path}/bell.db", LONG)
    assert isinstance(opened, SQLite)
    await opened.write(upgrade)
    yield opened
    await opened.close()


async def test_on_a_full_disk_nothing_is_half_stored_and_everybody_is_told(file: SQLite) -> None:
    free = fill(file)
    works = [keep("small"), keep("big", "x" * 200_000), keep("after")]
    outcomes = await asyncio.gather(*(file.write(work) for work in works), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [OutOfOrder] * 3
    with pytest.raises(OutOfOrder):
        await file.write(keep("alone", "x" * 200_000))
    assert await file.read(lambda c: c.execute(tables.kept.select()).all()) == []
    told = explain(OutOfOrder("SQLITE_FULL"), translator_for("en"))
    assert "Nothing was sent. Please tell an admin" in told[0]
    free()
    await asyncio.gather(*(file.write(work) for work in works))
    assert len(await file.read(lambda c: c.execute(tables.kept.select()).all())) == 3


async def test_sqlite_is_set_to_lose_nothing(file: SQLite, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("journal_mode", "synchronous", "foreign_keys")
    found = await file.read(lambda c: [c.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names])
    assert found == ["wal", 2, 1]
    await file.check()
    monkeypatch.setattr(sqlite, "PRAGMAS", ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"))
    careless = open_database(f"sqlite:///{file.path}", LONG)
    with pytest.raises(Unusable, match="'synchronous': 1"):
        await careless.check()
    await careless.close()


async def test_postgresql_is_asked_to_lose_nothing_whatever_its_defaults(direct: Postgres, postgres_url: str) -> None:
    name = direct.url.database
    await direct.write(lambda c: c.exec_driver_sql(f"ALTER DATABASE {name} SET synchronous_commit = off"))
    opened = open_database(postgres_url, LONG)
    assert await opened.read(lambda c: c.exec_driver_sql("SHOW synchronous_commit").scalar()) == "on"
    await opened.check()
    await opened.close()


async def test_a_postgresql_that_takes_no_writes_is_not_dispatched_from(direct: Postgres, postgres_url: str) -> None:
    name = direct.url.database
    await direct.write(lambda c: c.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    opened = open_database(postgres_url, LONG)
    with pytest.raises(Unusable, match="Name the primary"):
        await opened.check()
    with pytest.raises(OutOfOrder):
        await opened.write(keep("a"))
    await opened.close()


async def test_the_dispatchers_lock_is_held_for_life(file: SQLite, tmp_path: Path) -> None:
    file.claim_dispatch()
    for _ in range(3):  # opening, using and closing the same files does not release the lock
        other = open_database(f"sqlite:///{tmp_path}/bell.db", LONG)
        with pytest.raises(AlreadyDispatching):
            other.claim_dispatch()
        await other.write(keep("used"))
        await other.close()
        (tmp_path / "bell.db.lock").read_bytes()
    code = f"import fcntl; fcntl.flock(open({str(tmp_path / 'bell.db.lock')!r}, 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    elsewhere = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=subprocess.PIPE)
    assert b"BlockingIOError" in (await elsewhere.communicate())[1]
    await file.close()
    other = open_database(f"sqlite:///{tmp_path}/bell.db", LONG)
    other.claim_dispatch()
    await other.close()


async def test_whoever_comes_to_the_file_through_a_link_finds_the_same_lock(file: SQLite, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "other.db"
    link.symlink_to(tmp_path / "bell.db")
    file.claim_dispatch()
    for name in (link, tmp_path / "elsewhere" / ".." / "bell.db"):
        other = open_database(f"sqlite:///{name}", LONG)
        with pytest.raises(AlreadyDispatching):
            other.claim_dispatch()
        await other.close()


# --- starting a bot on a faulty database ------------------------------------------------------------------------------

ROOT = Path(__file__).parent.parent
DAC_OVERRIDE, DAC_READ_SEARCH = 1, 2
CAPBSET_DROP = 24


def bound_by_permissions() -> None:
    """Subject root to file permissions too, in a child process."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (DAC_OVERRIDE, DAC_READ_SEARCH):
        if os.geteuid() == 0 and libc.prctl(CAPBSET_DROP, capability, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "this test needs to put root under permissions")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder with settings for a bot, in which nothing has run yet."""
    template = resources.files("sandbox").joinpath("demo.toml").read_text(encoding="utf-8")
    (tmp_path / "bellcrier.toml").write_text(template.replace("BOT_PORT", "9").replace("PORT", "9"))
    yield tmp_path
    tmp_path.chmod(0o700)


async def shell(home: Path, *words: str) -> tuple[int, str]:
    """Return the exit code and standard error of `bellcrier …`. Slack is unreachable, so every start stops there."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot.cli", *words, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **MARKED}, preexec_fn=bound_by_permissions,
    )  # fmt: skip
    async with asyncio.timeout(LONG):
        _, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, err.decode()


async def started(home: Path) -> None:
    """Leave the folder as after a first run: with a database, a key and a lock file."""
    code, told = await shell(home, "run", "--host", "127.0.0.1", "--port", "9")
    assert (code, "Slack cannot be reached" in told) == (1, True)
    assert (home / "bellcrier.db").stat().st_size > 0


async def refuses(home: Path, *wanted: str) -> None:
    code, told = await shell(home, "run", "--host", "127.0.0.1", "--port", "9")
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


# --- the whole file is checked only after an unclean stop -------------------------------------------------------------

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
    await refuses(home, "The database does not answer (ConnectionRefusedError)", "DATABASE_URL")


# --- a migration that is killed halfway (B9) -------------------------------------------------------------------------

KILLED = """
import asyncio, os, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from bot.storage.engines import open_database
from bot.storage.schema import upgrade

left = int(sys.argv[2])

@event.listens_for(Engine, "before_cursor_execute")
def count(connection, cursor, statement, *_):
    global left
    if statement.lstrip().startswith(("CREATE", "ALTER", "INSERT", "UPDATE", "DROP")):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(open_database(sys.argv[1]).write(upgrade, patience=None))
"""


@pytest.mark.long
async def test_a_migration_that_is_killed_halfway_leaves_nothing_and_the_next_one_completes(database_url: str) -> None:
    opened = open_database(database_url)
    for statements in (1, 17, 30):
        killed = await asyncio.create_subprocess_exec(
            sys.executable, "-c", KILLED, database_url, str(statements), cwd=ROOT
        )
        assert await killed.wait() == -9
        assert await opened.read(schema.is_empty)
    await opened.write(upgrade, patience=None)
    assert await opened.read(schema.schema_revision) == tables.REVISION
    await opened.close()


@pytest.mark.long
async def test_an_upgrade_that_is_killed_halfway_keeps_the_older_schema_whole(database_url: str) -> None:
    opened = open_database(database_url)
    await opened.write(lambda c: upgrade(c, "0001"), patience=None)
    await opened.write(keep("old"))
    for statements in (1, 8):
        killed = await asyncio.create_subprocess_exec(
            sys.executable, "-c", KILLED, database_url, str(statements), cwd=ROOT
        )
        assert await killed.wait() == -9
        assert await opened.read(schema.schema_revision) == "0001"
    await opened.write(upgrade, patience=None)
    assert await opened.read(schema.schema_revision) == tables.REVISION
    assert await kept(opened, "old") == "1"
    await opened.close()


async def test_a_volume_that_is_not_there_behind_a_link_is_no_fresh_start(tmp_path: Path) -> None:
    volume, home = tmp_path / "volume", tmp_path / "home"
    volume.mkdir()
    home.mkdir()
    (home / "bell.db").symlink_to(volume / "bell.db")
    first = open_database(f"sqlite:///{home}/bell.db")
    first.claim_dispatch()
    await first.write(upgrade, patience=None)
    await first.close()
    shutil.rmtree(volume)
    volume.mkdir()
    again = open_database(f"sqlite:///{home}/bell.db")
    with pytest.raises(Unusable, match="is gone"):
        await again.check()
    await again.close()


async def test_another_loop_is_refused_and_takes_nobodys_write_along(database: Database) -> None:
    ours = asyncio.create_task(database.write(lambda c: c.execute(text("SELECT 1")).scalar_one()))
    await asyncio.sleep(0)

    def elsewhere() -> None:
        asyncio.run(database.write(lambda c: c.execute(text("SELECT 2"))))

    with pytest.raises(RuntimeError, match="another event loop"):
        await asyncio.get_running_loop().run_in_executor(None, elsewhere)
    assert await ours == 1
