"""The address of a database, as vendors of PostgreSQL hand it out."""

from __future__ import annotations

from typing import Any

import pytest

from bot.storage.addresses import PostgresAddress, backend, shown, system_roots

SECRET = "hunter2"
ROOTS = f"sslrootcert={system_roots().replace('/', '%2F')}"

#: An address, and what asyncpg gets of it: user, password, hosts and ports, database, and the rest.
READ: dict[str, tuple[str, Any]] = {
    "Heroku": ("postgres://u:hunter2@ec2.aws.com:5432/d", ("u", SECRET, ["ec2.aws.com:5432"], "d", {})),
    "Supabase": (
        "postgresql://postgres.ref:hunter2@aws-0.pooler.supabase.com:6543/postgres?pgbouncer=true",
        ("postgres.ref", SECRET, ["aws-0.pooler.supabase.com:6543"], "postgres", {}),
    ),
    "Neon": (
        "postgresql://u:hunter2@ep-x-pooler.neon.tech/d?sslmode=require&channel_binding=require",
        ("u", SECRET, ["ep-x-pooler.neon.tech:5432"], "d", {"dsn": f"postgresql://?sslmode=verify-full&{ROOTS}"}),
    ),
    "DigitalOcean": (
        "postgresql://u:hunter2@h.db.ondigitalocean.com:25060/d?sslmode=require",
        ("u", SECRET, ["h.db.ondigitalocean.com:25060"], "d", {"dsn": "postgresql://?sslmode=require"}),
    ),
    "Aiven, with its authority": (
        "postgres://u:hunter2@h:1/d?sslmode=verify-ca&sslrootcert=/etc/ca.pem",
        ("u", SECRET, ["h:1"], "d", {"dsn": "postgresql://?sslmode=verify-ca&sslrootcert=%2Fetc%2Fca.pem"}),
    ),
    "Cloud SQL's socket": (
        "postgresql://u:hunter2@/d?host=/cloudsql/p:eu:i",
        ("u", SECRET, ["/cloudsql/p:eu:i:5432"], "d", {}),
    ),
    "a socket in the place of the host": (
        "postgresql://u@%2Fvar%2Frun%2Fpostgresql/d",
        ("u", None, ["/var/run/postgresql:5432"], "d", {}),
    ),
    "SQLAlchemy": (
        "postgresql+asyncpg://u:hunter2@h/d?ssl=require",
        ("u", SECRET, ["h:5432"], "d", {"dsn": "postgresql://?sslmode=require"}),
    ),
    "several hosts": (
        "postgresql://u:hunter2@a:1,b:2/d",
        ("u", SECRET, ["a:1", "b:2"], "d", {"target_session_attrs": "read-write"}),
    ),
    "several hosts, one port": (
        "postgresql:///d?host=a,b&port=6&target_session_attrs=primary&user=u&password=hunter2",
        ("u", SECRET, ["a:6", "b:6"], "d", {"target_session_attrs": "primary"}),
    ),
    "IPv6": ("postgresql://[::1]:6/d", (None, None, ["::1:6"], "d", {})),
    "no host": ("postgresql:///d", (None, None, [], "d", {})),
    "a percent-encoded password": ("postgres://u:%68unter2%2F%40@h/d", ("u", "hunter2/@", ["h:5432"], "d", {})),
    "a password with @ and :": ("postgres://u:hunter2@:x@h/d", ("u", "hunter2@:x", ["h:5432"], "d", {})),
    "a user with a space, a plus as it is": ("postgres://a%20b+c:hunter2@h", ("a b+c", SECRET, ["h:5432"], None, {})),
    "nothing for a parameter": ("postgres://h/d?sslmode=&passfile=/p", (None, None, ["h:5432"], "d", {
        "dsn": "postgresql://?passfile=%2Fp"})),
    "what is not needed here": ("postgres://h/d?keepalives=1&gssencmode=disable&sslsni=1",
                                (None, None, ["h:5432"], "d", {})),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_an_address_is_read_as_it_is_sold_and_shown_without_its_password(name: str) -> None:
    url, expected = READ[name]
    given = PostgresAddress.read(url).arguments()
    places = [f"{host}:{port}" for host, port in zip(given.pop("host", ()), given.pop("port", ()), strict=True)]
    assert (given.pop("user"), given.pop("password"), places, given.pop("database"), given) == expected
    assert backend(url) == "postgresql"
    assert SECRET not in shown(url) + repr(PostgresAddress.read(url))
    assert PostgresAddress.read(shown(url)).arguments().get("host") == PostgresAddress.read(url).arguments().get("host")


#: An address, and words of the sentence that refuses it.
REFUSED = {
    "mysql://u:hunter2@h/d": "must be sqlite:///FILE or postgresql://",
    "hunter2": "must be sqlite:///FILE or postgresql://",
    "": "must be sqlite:///FILE or postgresql://",
    "postgresql+psycopg2://u:hunter2@h/d": "the bot brings its own driver",
    "postgres://u:hunter2#x@h/d": "has a # in it. In a user or password, write",
    "postgres://u:hunter2/x@h/d": "a port that is no number from 1 to 65535. In a user or password, write",
    "postgres://u:123?hunter2@h/d": "no parameter. In a user or password, write",
    "postgres://u:123?hunter2=x@h/d&sslmode=require": "an unknown parameter 'hunter2'",
    "postgres://u:hunter2@h:99999/d": "a port that is no number",
    "postgres://u:hunter2@h:²/d": "a port that is no number",
    "postgres://u:hunter2@:5432/d": "a host that is none",
    "postgres://u:hunter2@[::1/d": "a host that is none",
    "postgres://u:hunter2@a:1,b:2/d?port=1,2,3": "names 2 hosts and 3 ports",
    "postgres://u:hunter2@h/d?sslmod=require": "unknown parameter 'sslmod'. Did you mean sslmode?",
    "postgres://u:hunter2@h/d?schema=public": "unknown parameter 'schema'",
    "postgres://u:hunter2@h/d?sslmode=no-verify": "sslmode=no-verify, which is none of disable, allow, prefer, require",
    "postgres://u:hunter2@h/d?sslmode=require&sslrootcert=system": "needs sslmode=verify-full",
    "postgres://u:hunter2@h/d?target_session_attrs=standby": "none of any, primary, read-write",
    "postgres://u:hunter2@h/d?connect_timeout=soon": "no number of seconds",
    "postgres://u:hunter2%00@h/d": "a zero byte",
}


@pytest.mark.parametrize("url", REFUSED)
def test_an_address_that_cannot_be_used_is_refused_with_one_sentence(url: str) -> None:
    with pytest.raises(ValueError, match=" ") as refused:
        backend(url)
    sentence = str(refused.value)
    assert REFUSED[url] in sentence
    assert "\n" not in sentence
    assert SECRET not in sentence or "?hunter2=" in url  # it is where a parameter's name stands


def test_the_sessions_settings_the_timeout_and_a_pooler_are_read() -> None:
    url = "postgres://h/d?application_name=a%20b&options=-c%20geqo%3Doff&connect_timeout=1&statement_cache_size=0"
    address = PostgresAddress.read(url)
    assert address.session == {"application_name": "a b", "options": "-c geqo=off"}
    assert (address.timeout, address.pooled) == (2, True)
    plain = PostgresAddress.read("postgres://h/d?connect_timeout=0&prepared_statement_cache_size=100")
    assert (plain.timeout, plain.pooled) == (None, False)
