"""Which connections stay open, so that nobody who only holds one keeps Slack and the vendors out.

uvicorn 0.54 waits for ever for a first request, for the rest of one that has begun, and for a client to read its
answer, and takes as many connections as the process has descriptors.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from functools import cached_property, lru_cache
from heapq import nsmallest
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

log = structlog.get_logger(__name__)

MOST = 2048  # connections of one server
RESERVE = 512  # descriptors for vendors, Slack, the database, files, and what is accepted before it is counted
LOG_EVERY = 60.0


def open_files() -> int:
    """Raise this process's soft limit of open files to what it needs, as far as the hard limit lets it. Return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = MOST + RESERVE
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return needed
    raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    with suppress(OSError, ValueError):  # a system may have a bound below its hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        return raised
    return soft


def room(files: int) -> int:
    """How many connections may come in where so many files may be open: at least half as many."""
    return min(MOST, max(files - RESERVE, files // 2))


@dataclass(frozen=True)
class Limits:
    """How many connections a server keeps, and for how many seconds."""

    in_all: int = MOST
    per_peer: int = 256
    head: float = 10.0  # for the line and the headers of a request to arrive
    body: float = 10.0
    answer: float = 30.0  # for the app to answer, and the client to read it
    idle: int = 5  # between two requests
    proxy_idle: int = 130  # longer than proxies keep one: what a proxy is about to use must not end
    proxies: tuple[str, ...] = ()  # addresses and networks without a limit of their own: many clients share them

    @cached_property
    def _networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return tuple(ip_network(proxy) for proxy in self.proxies)

    def is_proxy(self, host: str) -> bool:
        address = _address(host)
        return address is not None and any(address in network for network in self._networks)


@lru_cache(1024)
def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host)
    except ValueError:  # a socket of the system
        return None
    return getattr(address, "ipv4_mapped", None) or address


def peer_of(host: str) -> str:
    """Whom an address counts for: itself, or its network for IPv6, where each customer has 2**64 of them."""
    address = _address(host)
    return str(IPv6Network((address, 64), strict=False)) if isinstance(address, IPv6Address) else str(address or host)


class Stage(Enum):
    """What a connection waits for."""

    HEAD = auto()  # its first request
    BODY = auto()
    ANSWER = auto()
    NEXT = auto()  # another request


class Reason(StrEnum):
    """Why a connection was dropped."""

    PEER = "too_many_of_one_peer"
    ALL = "too_many_in_all"
    HEAD = "too_long_for_head"
    BODY = "too_long_for_body"
    ANSWER = "too_long_for_answer"
    NEXT = "too_long_for_next"


class Connection(H11Protocol):
    """One connection, and since when it has been waiting for the same thing."""

    server_state: Connections
    peer = ""
    since = 0.0
    seen: tuple[Stage, object] = (Stage.HEAD, None)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.since = self.loop.time()
        self.server_state.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.server_state.forget(self)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP. uvicorn would do so in the middle of an answer, and log each of both as an error."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    @property
    def stage(self) -> Stage:
        if self.cycle is None:
            return Stage.HEAD
        if self.cycle.response_complete:
            return Stage.NEXT
        return Stage.BODY if self.cycle.more_body else Stage.ANSWER

    def is_overdue(self, now: float, limits: Limits) -> bool:
        """Whether it has waited too long for the same thing, as far as one sees who looks now and then."""
        stage = self.stage
        if self.seen != (stage, self.cycle):
            self.since, self.seen = now, (stage, self.cycle)
        match stage:
            case Stage.HEAD:
                longest = limits.head
            case Stage.BODY:
                longest = limits.body
            case Stage.ANSWER:
                longest = limits.answer
            case Stage.NEXT:  # uvicorn ends an idle one itself, but not one that drips
                longest = self.timeout_keep_alive + limits.head
        return now - self.since > longest

    def drop(self) -> None:
        """Close it now, whatever is still to be read or written."""
        self.transport.abort()


class Connections(ServerState):
    """The open connections of one server.

    Where there are too many, those that have waited longest without having asked for anything make room: whoever sends
    a request at once is heard, whatever others hold.
    """

    def __init__(self, limits: Limits, on_drop: Callable[[Reason], None]) -> None:
        super().__init__()
        self.limits, self.on_drop = limits, on_drop
        self.open: set[Connection] = set()
        self._by_peer: defaultdict[str, set[Connection]] = defaultdict(set)
        self._dropped, self._told = Counter[str](), -LOG_EVERY

    def admit(self, connection: Connection) -> None:
        host = connection.client[0] if connection.client else ""
        self.open.add(connection)
        if self.limits.is_proxy(host):
            connection.timeout_keep_alive = self.limits.proxy_idle
        else:
            connection.timeout_keep_alive = self.limits.idle
            connection.peer = peer_of(host)
            theirs = self._by_peer[connection.peer]
            theirs.add(connection)
            if len(theirs) > self.limits.per_peer:
                self._make_room(theirs, Reason.PEER)
        if len(self.open) > self.limits.in_all:
            self._make_room(self.open, Reason.ALL)

    def _make_room(self, among: Collection[Connection], reason: Reason) -> None:
        """Drop a tenth of those that wait at once, so that each newcomer costs little to find room for."""
        waiting = [one for one in among if one.stage is not Stage.ANSWER]
        oldest = nsmallest(max(1, len(waiting) // 10), waiting, key=lambda one: (one.stage is Stage.NEXT, one.since))
        for connection in oldest:
            self._drop(connection, reason)

    def _drop(self, connection: Connection, reason: Reason) -> None:
        self._dropped[reason] += 1
        self.on_drop(reason)
        self.forget(connection)
        connection.drop()

    def forget(self, connection: Connection) -> None:
        self.open.discard(connection)
        theirs = self._by_peer.get(connection.peer, set())
        theirs.discard(connection)
        if not theirs:
            self._by_peer.pop(connection.peer, None)

    def sweep(self, now: float) -> None:
        """Drop those that have waited too long, and say once a minute how many were dropped."""
        for connection in [one for one in self.open if one.is_overdue(now, self.limits)]:
            self._drop(connection, Reason[connection.stage.name])
        if self._dropped and now - self._told >= LOG_EVERY:
            log.warning("connections were dropped", open=len(self.open), **self._dropped)
            self._told = now
            self._dropped.clear()
