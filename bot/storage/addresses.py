"""Reads the address of a database, as it is written in the settings and as vendors of PostgreSQL hand it out.

The parameters are libpq's (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS). asyncpg
takes most of them, but hands on to the server, as a setting of the session, whatever it does not know. The server then
refuses the connection. So each parameter has a place here, and an unknown one is named.
"""

from __future__ import annotations

import difflib
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

import certifi
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg", "postgres+asyncpg")
MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
#: What asyncpg reads from an address only, and not from its arguments.
OF_TLS = (*FILES, "sslmode", "sslpassword", "sslnegotiation", "ssl_min_protocol_version", "ssl_max_protocol_version")
OF_ASYNCPG = ("passfile", "service", "krbsrvname", "gsslib")
OF_THE_SESSION = ("application_name", "options")
OF_THE_PLACE = ("host", "port", "dbname", "database", "user", "password")
#: Understood, and of no use here: the bot gives up a silent connection by its own deadlines, and needs one server.
NEEDLESS = (
    "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout", "sslcompression",
    "sslsni", "load_balance_hosts", "fallback_application_name", "client_encoding", "gssencmode",
    "min_protocol_version", "max_protocol_version", "command_timeout",
)  # fmt: skip
OF_POOLERS = ("pgbouncer", "statement_cache_size", "prepared_statement_cache_size")
OTHERS = ("ssl", "channel_binding", "target_session_attrs", "connect_timeout")
KNOWN = (*OF_TLS, *OF_ASYNCPG, *OF_THE_SESSION, *OF_THE_PLACE, *NEEDLESS, *OF_POOLERS, *OTHERS)

SYSTEM_ROOTS = (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pki/tls/certs/ca-bundle.crt"))
HOST = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<name>[^:]*))(?::(?P<port>[^:]*))?")
ESCAPES = "In a user or password, write : as %3A, / as %2F, ? as %3F, # as %23 and @ as %40"


def backend(url: str) -> str:
    """`sqlite` or `postgresql`. Raises ValueError with one sentence, which holds no secret."""
    if _scheme(url) in SCHEMES:
        PostgresAddress.read(url)
        return "postgresql"
    try:
        if make_url(url).get_backend_name() == "sqlite":
            return "sqlite"
    except ArgumentError:
        pass
    if _scheme(url).startswith("postgres"):
        raise ValueError("must begin with postgresql:// or postgres://; the bot brings its own driver")
    raise ValueError("must be sqlite:///FILE or postgresql://…")


def shown(url: str) -> str:
    """The address without its secrets."""
    if _scheme(url) in SCHEMES:
        return str(PostgresAddress.read(url))
    return make_url(url).render_as_string(hide_password=True)


def place(url: str) -> str:
    """The kind of the database and its place, without user and parameters."""
    if _scheme(url) in SCHEMES:
        address = PostgresAddress.read(url)
        return str(replace(address, user=None, password=None, parameters={}))
    return make_url(url).render_as_string(hide_password=True)


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()


@dataclass(frozen=True)
class PostgresAddress:
    """Where PostgreSQL is, and how to get in.

    `timeout`: seconds for a connection; None where the address leaves it open. `pooled`: the address says that a pooler
    is between. `parameters`: libpq's, those of the place left out.
    """

    hosts: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, url: str) -> PostgresAddress:
        """Raises ValueError with one sentence, which holds no secret."""
        rest = url.partition("://")[2]
        if "#" in rest:
            raise ValueError(f"has a # in it. {ESCAPES}")
        place, _, query = rest.partition("?")
        given = _parameters(query)
        place, _, path = place.partition("/")
        credentials, _, hostlist = place.rpartition("@")
        user, _, password = credentials.partition(":")
        hosts, ports = _hosts(",".join(given.pop("host", ())) or hostlist, ",".join(given.pop("port", ())))
        last = {name: values[-1] for name, values in given.items()}
        database = last.pop("dbname", None) or last.pop("database", None) or unquote(path)
        address = cls(
            hosts,
            ports,
            last.pop("user", None) or unquote(user) or None,
            last.pop("password", None) or unquote(password) or None,
            database or None,
            _checked(last),
        )
        if any("\0" in (part or "") for part in (address.user, address.password, database, *hosts, *last.values())):
            raise ValueError("has a zero byte in it (%00)")
        return address

    def __str__(self) -> str:
        hosts = [f"[{host}]" if ":" in host and "/" not in host else quote(host, safe="") for host in self.hosts]
        places = ",".join(f"{host}:{port}" for host, port in zip(hosts, self.ports, strict=True))
        who = f"{self.user or ''}:***@" if self.password else f"{self.user}@" if self.user else ""
        open_ones = {name: value for name, value in self.parameters.items() if name != "sslpassword"}
        query = f"?{urlencode(open_ones, safe='/')}" if open_ones else ""
        return f"postgresql://{who}{places}/{self.database or ''}{query}"

    @property
    def timeout(self) -> float | None:
        seconds = float(self.parameters.get("connect_timeout", 0))
        return max(seconds, 2) if seconds > 0 else None  # as libpq does

    @property
    def pooled(self) -> bool:
        is_said = self.parameters.get("pgbouncer") == "true"
        return is_said or any(self.parameters.get(name) == "0" for name in OF_POOLERS)

    @property
    def session(self) -> dict[str, str]:
        """The settings of the session that the address asks for."""
        return {name: self.parameters[name] for name in OF_THE_SESSION if name in self.parameters}

    def missing_file(self) -> tuple[str, str] | None:
        """The first parameter whose file cannot be read, and that file."""
        for name in FILES:
            path = self.parameters.get(name)
            if path and not (name == "sslrootcert" and path == "system"):
                try:
                    Path(path).open("rb").close()
                except OSError:
                    return name, path
        return None

    def arguments(self) -> dict[str, Any]:
        """What `asyncpg.connect` takes, without the session's settings and the timeout."""
        given: dict[str, Any] = {"user": self.user, "password": self.password, "database": self.database}
        if self.hosts:
            given |= {"host": list(self.hosts), "port": list(self.ports)}
        if len(self.hosts) > 1 or "target_session_attrs" in self.parameters:  # of several, the one that takes writes
            given["target_session_attrs"] = self.parameters.get("target_session_attrs", "read-write")
        through = {name: value for name, value in self.parameters.items() if name in OF_TLS + OF_ASYNCPG}
        if self._trusts_the_system():
            through |= {"sslmode": "verify-full", "sslrootcert": system_roots()}
        return given | ({"dsn": f"postgresql://?{urlencode(through)}"} if through else {})

    def _trusts_the_system(self) -> bool:
        """Whether the certificate must come from an authority that this machine trusts.

        libpq wants a file for verify-full; without one it can only fail, and vendors leave it out.
        """
        root = self.parameters.get("sslrootcert")
        return root == "system" or (self.parameters.get("sslmode") == "verify-full" and not root)


def system_roots() -> str:
    """The file with the certificates that this machine trusts."""
    found = ssl.get_default_verify_paths().cafile
    return found or next((str(path) for path in SYSTEM_ROOTS if path.exists()), certifi.where())


def _parameters(query: str) -> dict[str, list[str]]:
    """Every parameter that has a value. Raises ValueError for an unknown one."""
    found: dict[str, list[str]] = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        name = unquote(name)
        if name not in KNOWN:
            raise ValueError(_unknown(name))
        if value:
            found.setdefault(name, []).append(unquote(value))
    return found


def _unknown(name: str) -> str:
    if not name.isidentifier():  # the rest of a password with a ? in it
        return f"has something after its ? that is no parameter. {ESCAPES}"
    near = difflib.get_close_matches(name, KNOWN, n=1)
    return f"has an unknown parameter {name!r}" + (f". Did you mean {near[0]}?" if near else "")


def _checked(given: dict[str, str]) -> dict[str, str]:
    """The parameters, `ssl` as `sslmode`. Raises ValueError for a value that cannot be honoured."""
    if "ssl" in given:  # as asyncpg and SQLAlchemy call it
        given.setdefault("sslmode", {"true": "require", "false": "disable"}.get(given["ssl"], given["ssl"]))
        del given["ssl"]
    for name, allowed in _choices(given):
        if name in given and given[name] not in allowed:
            raise ValueError(f"has {name}={given[name]}, which is none of {', '.join(allowed)}")
    if given.get("sslrootcert") == "system" and given.get("sslmode", "verify-full") != "verify-full":
        raise ValueError("has sslrootcert=system, which needs sslmode=verify-full")
    if given.get("channel_binding") == "require":  # asyncpg cannot; a checked certificate shuts out the same people
        given["sslmode"] = "verify-full"
    if not re.fullmatch(r"-?\d{1,6}", given.get("connect_timeout", "0")):
        raise ValueError("has a connect_timeout that is no number of seconds")
    return given


def _choices(given: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "sslmode", MODES
    yield "sslnegotiation", ("postgres", "direct")
    yield "channel_binding", ("disable", "prefer", "require")
    yield "gssencmode", ("disable", "prefer")
    yield "target_session_attrs", ("any", "primary", "read-write")  # the bot writes
    for end in ("min", "max"):
        yield f"ssl_{end}_protocol_version", ("TLSv1.2", "TLSv1.3")


def _hosts(written: str, ports: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Raises ValueError, which names no host: what stands in its place may be part of a password."""
    places = [_host(place) for place in written.split(",")] if written else []
    apart = [_port(port) for port in ports.split(",")] if ports else []
    if len(apart) > 1 and len(apart) != len(places):
        raise ValueError(f"names {len(places)} hosts and {len(apart)} ports")
    if len(apart) == 1:
        apart *= len(places)
    if not places:
        return (), ()
    hosts, theirs = zip(*places, strict=True)
    return hosts, tuple(apart or theirs)


def _host(written: str) -> tuple[str, int]:
    if written.startswith("/"):  # the folder of a socket
        return written, 5432
    found = HOST.fullmatch(written)
    host = unquote((found["v6"] or found["name"] or "") if found else "")
    if found is None or not host:
        raise ValueError(f"names a host that is none. {ESCAPES}")
    return host, _port(found["port"] or "5432")


def _port(written: str) -> int:
    if not re.fullmatch(r"\d{1,5}", written) or not 0 < int(written) < 65536:
        raise ValueError(f"names a port that is no number from 1 to 65535. {ESCAPES}")
    return int(written)
