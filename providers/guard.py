"""Lets one releasing call of a dispatch leave, whatever an adapter does, and judges what its errors may mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import NoReturn

from providers.errors import Blocked, NotReady, ProviderError, Refused, Throttled, Unavailable, Uncertain

#: Called just before the first byte of a release leaves. It raises when the release must no longer happen (lease
#: lapsed, kill switch) or when one has already left; then nothing leaves. Transports of third-party adapters call it
#: too, preferably through `releasing`.
last_moment: ContextVar[Callable[[], None] | None] = ContextVar("last_moment", default=None)
#: The same, as the bot set it, whatever an adapter sets instead.
_last_moment: ContextVar[Callable[[], None] | None] = ContextVar("_last_moment", default=None)


@contextmanager
def asking(check: Callable[[], None]) -> Iterator[None]:
    """In this block `check` is called just before a release leaves, even if an adapter sets another `last_moment`."""
    tokens = last_moment.set(check), _last_moment.set(check)
    try:
        yield
    finally:
        last_moment.reset(tokens[0])
        _last_moment.reset(tokens[1])


def asked_here() -> Callable[[], None]:
    """The check to call before a release leaves."""
    return _last_moment.get() or last_moment.get() or out_of_turn


def out_of_turn() -> NoReturn:
    """The `last_moment` outside a release: it refuses."""
    raise Refused("The adapter tried to send when it was not its turn, so the bot stopped it.")


#: Statuses for which a vendor did nothing. Not 408, 409 and 425, which may mean that an earlier request was accepted,
#: nor a proxy's 499.
NO = frozenset({400, 401, 402, 403, 404, 405, 413, 414, 415, 422, 429})
HARMLESS = 2  # this many in one release are not a login: they may be the messages, declared as harmless


class ReleaseGuard:
    """The bot's `last_moment` during `Provider.release`: only one releasing call leaves, whatever the adapter does.

    The bot believes "nothing was sent" only where the transport itself saw that it may be true. `check` raises when the
    release must no longer happen. `not_processed`: see `Capabilities`. Any thread may ask.
    """

    def __init__(self, check: Callable[[], None], not_processed: frozenset[int] = frozenset()) -> None:
        self._check, self._not_processed = check, not_processed
        self.asked = False  # whether it was asked at all before the end
        self.blocked = False  # a second releasing call was stopped, or was seen too late
        self.held: ProviderError | None = None  # the error with which `check` stopped it
        self.took = True  # whether the vendor may have accepted it, by the last releasing call; True if none was seen
        self._raised: list[ProviderError] = []  # by the transport, or here
        self._left = False  # one has left, and nothing says that the vendor did not process it
        self._status: int | None = None  # of its answer, once that is complete
        self._seen = False  # the bot's own transport saw that answer
        self._no = False  # the last answer to a call that may have sent something said that nothing was done
        self._since = False  # another call left after the release, whose answer is therefore not the last one
        self._effects = 0  # calls that left without being declared a release or harmless, and that nobody refused
        self._harmless = 0  # calls that left and were declared harmless
        self._closed = False
        self._turn = Lock()

    def __call__(self) -> None:
        with self._turn:
            self.asked, self._seen = True, False
            self._raised.clear()
            if self._left or self._closed:
                self.blocked = True
                raise Uncertain(
                    "The adapter tried to send a second time, which is not allowed. The first send may have gone out."
                )
            try:
                self._check()
            except ProviderError as error:
                self.held = self.raising(error, release=True)
                raise
            self.took = True
            self._left, self._since, self._status, self._no = True, False, None, False

    def raising(self, error: ProviderError, *, release: bool = False) -> ProviderError:
        """Record an error that the transport raises: it knows what has left, whatever the adapter knows.

        `release`: the releasing call has no answer.
        """
        self._raised.append(error)
        self.took = self.took and not release
        return error

    def raised(self, error: ProviderError) -> bool:
        """Whether the transport raised this error itself, or the one that the adapter raised it from."""
        return any(one is error or one is error.__cause__ for one in self._raised)

    def answered(self, status: int, *, seen: bool = False) -> None:
        """Record that the releasing call has its whole answer.

        If the vendor documents that nothing was done for this status, one more try may leave. `seen`: by the bot's own
        transport; nobody knows what else any other did.
        """
        self._seen = seen
        nothing_done = status in self._not_processed and self._status is None
        if self._status is not None:  # asked once, but sent twice
            self.blocked = True
        self._status, self._left = status, not nothing_done
        self.took = 200 <= status < 300
        self._no = nothing_done or status in NO

    def leaves(self, *, effect: bool) -> None:
        """Record that the first byte of a call other than the release leaves. `effect`: not declared harmless."""
        with self._turn:
            if effect and self._closed:
                out_of_turn()
            self._no, self._since = False, self._since or self._left
            self._raised.clear()  # none of them is the last word now
            self._effects += effect
            self._harmless += not effect

    def other_answered(self, status: int, *, effect: bool) -> None:
        """Record the answer to such a call. A no means no effect; to a harmless call it says nothing of the send."""
        self._no = effect and status in NO
        self._effects -= self._no

    def close(self) -> None:
        """The release is over, or its caller has given up: nothing more of it leaves."""
        with self._turn:
            self._closed = True

    def nothing_left(self, error: ProviderError, *, ours: bool = False) -> bool:
        """Whether this error may mean that nothing was sent. `ours`: its adapter has no transport but this one.

        After a 3xx or a 5xx nobody knows what the vendor did. An error that makes us try again needs a status that says
        no, except for a vendor's own code for "busy", which our adapters know. The body of a 2xx may say no, but an
        error after a later call says nothing about it.
        """
        if self.blocked or self._effects:
            return False
        if not self._left:
            return ours or self._no or (self.raised(error) and self._harmless < HARMLESS)
        if self._status is None or isinstance(error, Unavailable) or not (ours or self._seen):
            return False
        if isinstance(error, Throttled) or (isinstance(error, NotReady) and not ours):
            return self._status in NO
        return (self._status < 300 and not self._since) or self._status in NO


@contextmanager
def releasing() -> Iterator[ReleaseGuard]:
    """For a custom transport: wrap its one releasing exchange in this block.

    Call the guard that it yields just before the first byte leaves. Pass the status to the guard's `answered` once the
    whole answer is here. A `Refused` or `Blocked` raised in the block before the guard is called means that nothing was
    sent. An error that would make the bot try again is not believed, since nobody else sees that transport. Raises
    Refused if no release is under way, as in a thread without its context.
    """
    check = asked_here()
    guard = check if isinstance(check, ReleaseGuard) else ReleaseGuard(check)
    try:
        yield guard
    except (Refused, Blocked) as error:
        guard.raising(error)
        raise
