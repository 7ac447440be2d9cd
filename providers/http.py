"""Makes one call to a vendor. This is the only import of httpx.

Every failure becomes one of our own errors. The trace hook sees whether the request left, so nothing is guessed from
the exception.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
import zlib
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import cache
from time import time
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from aiolimiter import AsyncLimiter

from providers.base import Answer, ProviderError, Refused, Throttled, Unavailable, Uncertain
from providers.guard import ReleaseGuard, asked_here

BODY_CAP = 1024 * 1024  # bytes; no answer of these vendors comes near it
LONGEST_WAIT = 300.0  # seconds that a vendor's Retry-After may make us wait
PACKED = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}  # zlib's window bits; many send raw deflate
MOST_READS = 8  # at once; the client's pool slows down beyond about ten

for _name in ("httpx", "httpcore"):  # they log whole URLs, and one vendor takes the text in its URL
    logging.getLogger(_name).setLevel(logging.CRITICAL)

RETRY_AFTER_ERRORS = (ValueError, TypeError, OverflowError)


@cache
def tls() -> ssl.SSLContext:
    """One context per process, since each takes 20 ms to create."""
    return ssl.create_default_context()


class Http:
    """The transport to one account's vendor: deadline over the whole exchange, capped body, no redirects, no proxies.

    Raises ValueError if `base_url` has plain http or a private host, unless `allow_private_hosts`.
    `allowed_hosts`: the only hosts that it may reach.
    """

    def __init__(
        self,
        base_url: str,
        timeout: float,
        requests_per_second: float,
        *,
        allow_private_hosts: bool,
        allowed_hosts: frozenset[str] | None = None,
    ) -> None:
        self.allow_private_hosts, self.allowed_hosts = allow_private_hosts, allowed_hosts
        self.base_url, self.timeout = base_url.rstrip("/"), timeout
        self.check(self.base_url)
        self._turns = 0  # releases that have waited already
        self._limit = AsyncLimiter(max(requests_per_second, 1.0), max(1.0, 1.0 / requests_per_second))
        self._reads: httpx.AsyncClient | None = None

    def check(self, url: str) -> None:
        """Raise ValueError when this address must not be contacted."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an address that begins with https://.")
        if self.allow_private_hosts:
            return
        if parts.scheme != "https":
            raise ValueError("must begin with https://; plain http is for stand-ins, with allow_private_hosts = true.")
        if is_private(parts.hostname):
            raise ValueError("is a private address; that takes allow_private_hosts = true.")

    async def call(
        self,
        method: str,
        url: str,
        *,
        query: Mapping[str, str | int] | None = None,
        json: object | None = None,
        headers: Mapping[str, str] | None = None,
        release: bool = False,
        harmless: bool = False,
    ) -> Answer:
        """See `providers.base.Transport`. Never retries, never follows redirects, never names the URL in its errors."""
        flight = RequestTrace(release, harmless)
        try:
            target = self._target(url, query)
            async with asyncio.timeout(self.timeout):
                await self._wait(release)
                await self._refuse_private(target)
                answer = await self._exchange(flight, method, target, json, headers)
            flight.answered(answer.status)
            return answer
        except ProviderError as error:
            flight.raising(error)
            raise
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError, EOFError, TooBig) as error:
            raise flight.raising(flight.our_error(error)) from None

    async def turn(self) -> None:
        """See `providers.base.Paced`."""
        await self._limit.acquire()
        self._turns += 1

    async def _wait(self, release: bool) -> None:
        if release and self._turns:
            self._turns -= 1
        else:
            await self._limit.acquire()

    def _target(self, url: str, query: Mapping[str, str | int] | None) -> str:
        target = url if url.startswith(("http://", "https://")) else f"{self.base_url}/{url.lstrip('/')}"
        try:
            self.check(target)
        except ValueError:
            raise Refused("The vendor gave an address that must not be used.", setting="base_url") from None
        host = urlsplit(target).hostname or ""
        if self.allowed_hosts is not None and host not in self.allowed_hosts:
            raise Refused("In training mode, the bot never contacts a live vendor.", setting="base_url")
        return f"{target}?{encode(query)}" if query else target

    async def _refuse_private(self, target: str) -> None:
        """Raise Refused if a public name points to a private address."""
        if self.allow_private_hosts:
            return
        parts = urlsplit(target)
        loop = asyncio.get_running_loop()
        for *_, address in await loop.getaddrinfo(parts.hostname, parts.port or 443):
            if is_private(str(address[0])):
                raise Refused("The vendor's address points to a private network.", setting="base_url")

    async def _exchange(
        self, flight: RequestTrace, method: str, target: str, json: object | None, headers: Mapping[str, str] | None
    ) -> Answer:
        if not flight.release:
            return await self._over(self._reading(), flight, method, target, json, headers)
        # A kept-alive connection may die during a request, and then nobody knows whether the request arrived.
        async with self._client() as client:
            return await self._over(client, flight, method, target, json, headers)

    async def _over(
        self,
        client: httpx.AsyncClient,
        flight: RequestTrace,
        method: str,
        target: str,
        json: object | None,
        headers: Mapping[str, str] | None,
    ) -> Answer:
        request = client.build_request(
            method,
            target,
            json=json,
            headers={"Accept": "application/json", "Accept-Encoding": "identity", **(headers or {})},
            extensions={"trace": flight.trace},
        )
        response = await client.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > BODY_CAP:
                    raise TooBig
            received = {k.lower(): v for k, v in response.headers.items()}
            return Answer(response.status_code, received, unpacked(bytes(body), received.get("content-encoding", "")))
        finally:
            await response.aclose()

    def _reading(self) -> httpx.AsyncClient:
        if self._reads is None:
            self._reads = self._client(httpx.Limits(max_connections=MOST_READS))
        return self._reads

    def _client(self, limits: httpx.Limits | None = None) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            verify=tls(),
            trust_env=False,
            follow_redirects=False,
            timeout=self.timeout,
            limits=limits or httpx.Limits(max_connections=1),
        )

    async def aclose(self) -> None:
        if self._reads is not None:
            await self._reads.aclose()


class TooBig(Exception):
    """The answer is longer than `BODY_CAP`."""


def unpacked(body: bytes, coding: str) -> bytes:
    """Unpack what a proxy has compressed in spite of `identity`. Raises TooBig.

    A body that is incomplete, or not compressed that way, is returned unchanged.
    """
    for bits in PACKED.get(coding.strip().lower(), ()):
        unpacking = zlib.decompressobj(bits)
        try:
            plain = unpacking.decompress(body, BODY_CAP + 1)
        except zlib.error:
            continue
        if len(plain) > BODY_CAP:
            raise TooBig
        if unpacking.eof and not unpacking.unused_data:
            return plain
    return body


class RequestTrace:
    """Follows one request: whether its first byte has left. Inside a release it reports to the guard."""

    def __init__(self, release: bool, harmless: bool) -> None:
        self.release, self.effect, self.left = release, not release and not harmless, False
        self._check = asked_here()
        self._guard = self._check if isinstance(self._check, ReleaseGuard) else None

    async def trace(self, name: str, _info: Mapping[str, Any]) -> None:
        if name == "http11.send_request_headers.started":
            self._leave()  # if this raises, the vendor sees nothing
            self.left = True

    def _leave(self) -> None:
        if self.release:
            self._check()
        elif self._guard is not None:
            self._guard.leaves(effect=self.effect)

    def answered(self, status: int) -> None:
        if self._guard is None:
            return
        if self.release:
            self._guard.answered(status, seen=True)
        else:
            self._guard.other_answered(status, effect=self.effect)

    def raising(self, error: ProviderError) -> ProviderError:
        return error if self._guard is None else self._guard.raising(error, release=self.release)

    def our_error(self, error: Exception) -> ProviderError:
        """This failure as one of our errors: before the first byte it is safe to ask again, after it nobody knows."""
        detail = type(error).__name__
        if not self.left:
            return Unavailable("The vendor could not be reached.", detail=detail)
        if isinstance(error, TooBig):
            return Uncertain("The vendor's answer was far too long to read.", detail=detail)
        return Uncertain("The connection broke before the vendor's answer was complete.", detail=detail)


def encode(query: Mapping[str, str | int]) -> str:
    """A query string with `%20` for a space and `%2B` for a plus, as in the vendors' samples."""
    return "&".join(f"{quote(name, safe='')}={quote(str(value), safe='')}" for name, value in query.items())


def is_private(host: str) -> bool:
    """Whether this is a loopback, private, link-local or otherwise internal address, or the name of one."""
    if host == "localhost" or host.endswith((".localhost", ".internal", ".local")):
        return True
    try:
        return not ipaddress.ip_address(host.split("%")[0]).is_global
    except ValueError:
        return False


def throttled(answer: Answer, code: str | None = None) -> Throttled:
    """A 429 with the wait that it asks for. `code`: the vendor's own.

    The wait comes in seconds or as an HTTP date, and is bounded. It is 30 seconds if the vendor does not say.
    """
    error = Throttled(min(max(_retry_after(answer.headers.get("retry-after")), 1.0), LONGEST_WAIT))
    error.code = code
    return error


def _retry_after(value: str | None) -> float:
    if value is None:
        return 30.0
    try:
        return float(value) if value.strip().isdigit() else parsedate_to_datetime(value).timestamp() - time()
    except RETRY_AFTER_ERRORS:
        return 30.0


def unreadable(answer: Answer) -> Uncertain:
    """A 2xx whose body is not as documented: accepted, but its ids are lost."""
    return Uncertain(
        "The vendor accepted it, but its answer cannot be read, so its ids are lost.", detail=_seen(answer)
    )


def object_of(answer: Answer) -> dict[str, Any]:
    """The body as a JSON object. Raises Uncertain if it is not one."""
    try:
        value = answer.json()
    except ValueError:
        raise unreadable(answer) from None
    if not isinstance(value, dict):
        raise unreadable(answer)
    return value


def not_understood(answer: Answer, code: str | None = None) -> Uncertain:
    """A status that nobody documents as "not processed": 5xx, 3xx and the like. `code`: the vendor's own."""
    return Uncertain(
        "The vendor answered {status}, which does not say whether it was sent.",
        detail=_seen(answer),
        code=code,
        status=answer.status,
    )


def _seen(answer: Answer) -> str:
    return f"HTTP {answer.status}, {len(answer.body)} bytes of {answer.headers.get('content-type', 'no type')[:60]}"
