"""How the bot gets into PostgreSQL: over TLS, with a password, and what it says when it is not let in."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import trustme
from sqlalchemy.engine import make_url

from bot.config.load import parse
from bot.doctor.examination import examine
from bot.storage.database import DatabaseRefuses, Unusable
from bot.storage.engines import open_database
from bot.storage.postgres import Postgres
from tests.support.databases import PATIENT, keep, kept
from tests.support.ground import empty
from tests.support.patience import LONG, until, within
from tests.support.proxy import Proxy

PASSWORD = "hunter/2 @é"
IN_AN_ADDRESS = "hunter%2F2%20%40%C3%A9"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority that signed the server's certificate, and another one that did not."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("ours", "another"):
        trustme.CA().cert_pem.write_to_path(str(folder / f"{name}.pem"))
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ours.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    return folder


@pytest.fixture(scope="module")
def guarded(postgres: Any) -> Iterator[None]:
    """A role that needs its password."""
    rules = postgres.pgdata / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all guarded scram-sha-256\n{before}")
    reload = "SELECT pg_reload_conf();"
    postgres.psql(f"DROP ROLE IF EXISTS guarded; CREATE ROLE guarded LOGIN SUPERUSER PASSWORD '{PASSWORD}'; {reload}")
    yield
    rules.write_text(before)
    postgres.psql(reload)


@pytest.fixture
async def secure(postgres: Any, guarded: None, certificates: Path) -> AsyncIterator[Proxy]:
    """A connection that can be cut, to a server with a certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "server.pem")
    async with Proxy(postgres, context) as road:
        yield road


@pytest.fixture
def certified(secure: Proxy, postgres: Any, postgres_schema: str, certificates: Path) -> str:
    """The address of a database with the schema, over TLS."""
    empty(postgres, postgres_schema)
    name = make_url(postgres_schema).database
    root = certificates / "ours.pem"
    return f"postgres://guarded:{IN_AN_ADDRESS}@127.0.0.1:{secure.port}/{name}?sslmode=verify-full&sslrootcert={root}"


async def test_all_connections_use_the_tls_of_the_address_the_listening_one_too(certified: str, secure: Proxy) -> None:
    opened, hints = open_database(certified, LONG), list[str]()
    await opened.write(keep("count"))
    assert await kept(opened, "count") == "1"
    before = secure.secured
    await opened.listen(lambda *words: hints.extend(words or ["look"]))
    await until(lambda: hints)
    assert await opened.deafness() is None
    assert (secure.secured - before, opened.deaf) == (2, None)
    await opened.close()


#: What is wrong with an address, and the server's own sentence.
WRONG = {
    "the password": ((IN_AN_ADDRESS, "hunter3"), 'password authentication failed for user "guarded"'),
    "the role": (("guarded", "nobody"), 'role "nobody" does not exist'),
    "the database": (("/t", "/no"), 'database "no'),
    "the authority": (("ours.pem", "another.pem"), "its certificate cannot be trusted: "),
    "the name": (("@127.0.0.1", "@localhost"), "its certificate cannot be trusted: Hostname mismatch"),
    "a setting": (("?", "?options=-c%20nonsense%3D1&"), 'unrecognized configuration parameter "nonsense"'),
}


@pytest.mark.parametrize("what", WRONG)
async def test_a_connection_that_is_refused_says_why_at_once_and_never_the_password(certified: str, what: str) -> None:
    (old, new), sentence = WRONG[what]
    opened = open_database(certified.replace(old, new, 1))
    async with within(PATIENT):
        with pytest.raises(DatabaseRefuses) as refused:
            await opened.check()
    assert sentence in str(refused.value)
    assert not any(secret in str(refused.value) for secret in (PASSWORD, IN_AN_ADDRESS, "hunter3"))
    await opened.close()


async def test_a_server_without_tls_is_refused_where_tls_is_required(postgres: Any) -> None:
    async with Proxy(postgres) as plain:
        opened = open_database(f"postgres://postgres@127.0.0.1:{plain.port}/postgres?sslmode=require")
        with pytest.raises(DatabaseRefuses, match="rejected SSL upgrade"):
            await opened.check()
        await opened.close()


def test_a_file_of_the_address_that_is_not_there_is_named() -> None:
    with pytest.raises(Unusable, match=r"^DATABASE_URL: sslrootcert: the file /nowhere\.pem cannot be read\.$"):
        open_database("postgres://h/d?sslmode=verify-full&sslrootcert=/nowhere.pem")


async def test_of_several_hosts_the_one_that_answers_is_used(postgres: Any) -> None:
    async with Proxy(postgres) as road:
        opened = open_database(f"postgres://postgres@127.0.0.1:9,127.0.0.1:{road.port}/postgres", LONG)
        assert await opened.read(lambda c: c.exec_driver_sql("SHOW application_name").scalar_one()) == "bellcrier"
        assert await opened.read(lambda c: c.exec_driver_sql("SHOW lock_timeout").scalar_one()) != "0"
        await opened.close()


@pytest.mark.long
async def test_when_nothing_is_heard_of_the_others_it_is_told_once_and_again_when_it_is(
    postgres: Any, direct: Postgres, postgres_url: str
) -> None:
    async with Proxy(postgres) as road:
        opened = open_database(postgres_url, LONG, listen_url=road.url(postgres_url))
        heard: list[str] = []
        with structlog.testing.capture_logs() as logged:
            await opened.listen(lambda *words: heard.extend(words))
            await direct.notify_peers("too", "early")
            await road.shut()
            async with asyncio.timeout(LONG):
                await until(lambda: "Connect" in str(opened.deaf))
            await asyncio.sleep(1.2)  # another try, of which nothing more is told
            await road.open()
            await until(lambda: opened.deaf is None)
            await direct.notify_peers("paint")
            await until(lambda: "paint" in heard)
        words = [entry["event"].split()[-1] for entry in logged if "notifications" in entry["event"]]
        assert words == ["second", "again"]
        await opened.close()


async def test_doctor_says_what_the_server_says(certified: str) -> None:
    (role, other), sentence = WRONG["the role"]
    key = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY="
    for url, told in (
        (certified.replace(role, other, 1), sentence),
        ("postgres://h/d?sslmode=verify-full&sslrootcert=/nowhere.pem", "the file /nowhere.pem cannot be read"),
    ):
        findings = [
            each for each in await examine(parse({"database_url": url, "secret_key": key})) if "base" in each.id
        ]
        assert [(each.id, each.level) for each in findings] == [("database", "error")]
        assert told in findings[0].cause
