"""Takes a place to listen on, and says why it cannot be taken."""

from __future__ import annotations

import asyncio
import errno
import socket
from dataclasses import dataclass

from bot.config.settings import SettingsError
from bot.domain.errors import CannotStart

PRIVILEGED = 1024
OURS = "Write one that is, such as 127.0.0.1, or 0.0.0.0 for all of them"


@dataclass(frozen=True)
class Endpoint:
    """An address and a port to listen on, and the settings that name them."""

    host: str
    port: int
    host_setting: str = "--host"
    port_setting: str = "--port"


async def listening_sockets(place: Endpoint, queue: int) -> list[socket.socket]:
    """Return a socket for each address that the host's name stands for.

    Raises SettingsError if it cannot be listened on here, and CannotStart if the port is taken.
    """
    loop, passive = asyncio.get_running_loop(), socket.AI_PASSIVE
    try:
        found = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM, flags=passive)
    except (socket.gaierror, UnicodeError):
        raise SettingsError([f"{place.host_setting}: {place.host} is no address. {OURS}."]) from None
    taken: list[socket.socket] = []
    refused: OSError | None = None
    for family, address in dict.fromkeys((one[0], one[4]) for one in found):
        try:
            taken.append(socket.create_server(address, family=family, backlog=queue))
        except OSError as error:
            refused = error
            if error.errno != errno.EADDRNOTAVAIL:  # `localhost` may stand for an address that is turned off
                break
    if refused is not None and (not taken or refused.errno != errno.EADDRNOTAVAIL):
        for one in taken:
            one.close()
        raise refusal(refused, place) from None
    return taken


def refusal(error: OSError, place: Endpoint) -> SettingsError | CannotStart:
    """Return why nobody can listen there, with the fix."""
    if error.errno == errno.EADDRINUSE:
        return CannotStart(f"Port {place.port} on {place.host} is taken. Choose another with {place.port_setting}.")
    if error.errno == errno.EADDRNOTAVAIL:
        return SettingsError([f"{place.host_setting}: {place.host} is no address of this machine. {OURS}."])
    if error.errno in (errno.EACCES, errno.EPERM):
        why = f"this user may not listen on port {place.port}"
        fix = "Choose one of 1024 or more, and let a proxy listen on the other"
        return SettingsError([f"{place.port_setting}: {why}. {fix}."])
    return SettingsError([f"{place.host_setting}: nobody can listen on {place.host} ({error.strerror}). {OURS}."])
