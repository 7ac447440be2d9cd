"""Opens connections to PostgreSQL, directly or through a pooler."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from typing import Any

import structlog

from bot.storage.addresses import PostgresAddress

log = structlog.get_logger(__name__)

#: The password, the role, the database, a right, a setting of the address: connecting again mends none of them.
NO_ENTRY = ("28", "3D000", "42501", "42704", "22023")
STRANGE_SETTING = "08P01"  # what a pooler answers to a setting of the session that it does not keep


class Connector:
    """Opens connections to one address, each with the settings of our sessions.

    `pooled`: whether a pooler is between, which may give every transaction another session. Then a setting lasts for
    one transaction (`of_a_transaction`), and no statement stays prepared. None: not known yet.
    """

    def __init__(self, address: PostgresAddress, settings: Mapping[str, str], timeout: float) -> None:
        self.address, self.settings = address, settings
        self.timeout = min(timeout, address.timeout or timeout)  # nobody waits longer
        self.pooled: bool | None = True if address.pooled else None

    async def open(self) -> Any:
        """Return a connection of asyncpg's. Raises an OSError, or an error of asyncpg's."""
        if self.pooled is None:
            await self._look_for_a_pooler()
        try:
            return await self._connect({} if self.pooled else self.settings)
        except Exception as error:
            if getattr(error, "sqlstate", None) == STRANGE_SETTING and not self.address.pooled:
                self.pooled = None  # there may be one by now
            raise

    @property
    def of_a_transaction(self) -> str:
        """The statements that set what our sessions need, for one transaction."""
        return "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in self.settings.items())

    async def _connect(self, settings: Mapping[str, str]) -> Any:
        import asyncpg

        session = {"application_name": "bellcrier"} | self.address.session | dict(settings)
        given = self.address.arguments() | ({"statement_cache_size": 0} if self.pooled else {})
        return await asyncpg.connect(**given, timeout=self.timeout, server_settings=session)

    async def _look_for_a_pooler(self) -> None:
        """A server tells the same process number at the start and later; a pooler invents the first."""
        connection = await self._connect({})
        try:
            async with connection.transaction():  # else a pooler may prepare in one session, and ask in another
                asked = await connection.prepare("SELECT pg_backend_pid()", name="")
                self.pooled = await asked.fetchval() != connection.get_server_pid()
        finally:
            await connection.close(timeout=self.timeout)
        if self.pooled:
            log.warning("a pooler is between this process and PostgreSQL; nothing is prepared or set for a session")


def is_refusal(error: BaseException) -> bool:
    """Whether connecting again would get the same answer until somebody changes something."""
    driver = _of_the_driver(error)
    state = getattr(driver, "sqlstate", None) or ""
    no_tls = type(driver) is ConnectionError  # so asyncpg says that the server speaks none
    return state.startswith(NO_ENTRY) or no_tls or isinstance(driver, ssl.SSLCertVerificationError | ValueError)


def sentence(error: BaseException) -> str:
    """What the server, TLS or the network says, in one line. A server never repeats a password."""
    driver = _of_the_driver(error)
    if isinstance(driver, ssl.SSLCertVerificationError):
        return f"its certificate cannot be trusted: {driver.verify_message}"
    if isinstance(driver, socket.gaierror):
        return f"its host is not found: {driver.strerror}"
    if isinstance(driver, OSError):
        words = driver.strerror or str(driver)
        return type(driver).__name__ + (f": {words}" if words else "")
    return (str(driver).strip() or type(driver).__name__).splitlines()[0].rstrip(".")


def _of_the_driver(error: BaseException) -> BaseException:
    """asyncpg's own error, where SQLAlchemy has wrapped it."""
    found = getattr(error, "orig", None) or error
    return getattr(found, "orig", None) or found
