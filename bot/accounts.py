"""The border to the vendors' adapters: every call into one goes through `Account`, every answer of one is checked.

An adapter may be anybody's. It may loop, lie, hang, raise anything, return anything, leave the process or stand still;
here that becomes one of the contract's own errors, and no other account notices.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from string import Formatter
from typing import Any, TypeVar

import structlog

from bot.database import Busy, Unsure
from providers.base import (
    Accepted,
    Audience,
    AudienceFound,
    AudienceKind,
    Blocked,
    Callback,
    Check,
    DeliveryStatus,
    Evidence,
    Message,
    NotReady,
    Paced,
    Provider,
    ProviderError,
    Quote,
    Receipt,
    ReceiptKind,
    Refused,
    ReleaseGuard,
    Staged,
    Throttled,
    Unavailable,
    Uncertain,
    Vault,
    last_moment,
    open_for_quote,
)
from providers.reading import LONGEST_ID, count_of

log = structlog.get_logger(__name__)

T = TypeVar("T")

EXCHANGES = 3  # that one question of ours may take an adapter, each as long as the account's timeout
QUOTING = 300.0  # seconds for a campaign that is made, computed and thrown away
READING = 2.0  # seconds for one callback
LONGEST_SENTENCE, LONGEST_VALUE = 1000, 300
MOST_FOUND = 10_000  # entries of one answer
SHORTEST_WAIT, LONGEST_WAIT, USUAL_WAIT = 1.0, 300.0, 30.0  # seconds that a vendor may make us wait
NOTHING_SENT = (Refused, Blocked, NotReady, Throttled, Unavailable)


class AdapterBroke(Unavailable):
    """The adapter raised, returned or did what the contract does not know. Nothing was sent: it was no release."""


class Account(Provider):
    """One account's adapter, behind the border. It answers as the contract says, or raises a ProviderError.

    `package`: what it came with, for whoever has to look at it. `room`: where its code runs, if not in this loop: other
    people's gets a thread of its own, so that what stands still there keeps nobody else waiting.
    """

    def __init__(self, adapter: Provider, package: str = "bellcrier", room: Room | None = None) -> None:
        self.adapter, self.package, self.room = adapter, package, room
        self.account, self.settings = adapter.account, adapter.settings
        self.transport, self.vault = adapter.transport, adapter.vault
        self.name, self.title, self.capabilities = adapter.name, adapter.title, adapter.capabilities  # type: ignore[misc]
        self.unasked = False  # it has released without asking whether it still might
        self._mention = _mention(adapter)

    @property
    def mention(self) -> str | None:
        return self._mention

    @property
    def _patience(self) -> float:
        return EXCHANGES * self.settings.timeout + 5

    # --- the release -------------------------------------------------------------------------------------------------

    async def release(self, message: Message, staged: Staged | None) -> Accepted:
        """The one call that makes phones ring, at most once. Raises Uncertain for whatever may have been sent, and an
        error that means "nothing was sent" only where the road saw that it is true."""
        check = last_moment.get()
        guard = check if isinstance(check, ReleaseGuard) else ReleaseGuard(check or (lambda: None))
        token = last_moment.set(guard)
        try:
            outcome = await self._contained(lambda: self.adapter.release(message, staged), None)
        finally:
            guard.close()
            last_moment.reset(token)
        return self._judged(outcome, guard)

    def _judged(self, outcome: object, guard: ReleaseGuard) -> Accepted:
        if guard.blocked:
            self._complain("it wanted to send twice")
            template = "It may have been sent: the adapter of {account} ({package}) wanted to send it twice."
            raise Uncertain(template, account=self.account, package=self.package)
        if isinstance(outcome, Exception):
            raise self._error_of_release(outcome, guard)
        self.unasked = not guard.asked
        if self.unasked:
            self._complain("it released without asking whether it still might")
        accepted = accepted_of(outcome)
        if accepted is None:
            self._complain("what its release returned is no Accepted with ids", got=type(outcome).__name__)
            raise Uncertain(
                "The adapter of {account} ({package}) did not give the vendor's ids, so nobody knows what it did.",
                account=self.account,
                package=self.package,
            )
        return accepted

    def _error_of_release(self, error: Exception, guard: ReleaseGuard) -> ProviderError:
        if not isinstance(error, ProviderError):
            self._complain("its release broke", error=type(error).__name__)
            return Uncertain(
                "The adapter of {account} ({package}) broke while it was sending.",
                account=self.account,
                package=self.package,
            )
        told = error_of(error)
        if not isinstance(told, NOTHING_SENT) or guard.nothing_left(error):
            return told
        self._complain("it says that nothing was sent, and nobody saw that", error=type(error).__name__)
        uncertain = Uncertain(told.template, detail=told.detail, code=told.code)
        uncertain.values = told.values
        return uncertain

    # --- everything else ---------------------------------------------------------------------------------------------

    async def stage(self, message: Message, known: Staged | None = None) -> Staged | None:
        answer = await self._ask("stage", lambda: self.adapter.stage(message, known))
        return None if answer is None else self._read("stage", staged_of(answer))

    async def recall(self, staged: Staged) -> None:
        await self._ask("recall", lambda: self.adapter.recall(staged))

    async def look_up(self, message: Message, staged: Staged | None, ids: tuple[str, ...]) -> Evidence:
        answer = await self._ask("look_up", lambda: self.adapter.look_up(message, staged, ids))
        return self._read("look_up", evidence_of(answer))

    async def poll(self, ids: tuple[str, ...]) -> list[Receipt]:
        return self._receipts("poll", await self._ask("poll", lambda: self.adapter.poll(ids)))

    async def audiences(self) -> list[AudienceFound]:
        answer = await self._ask("audiences", self.adapter.audiences)
        return self._entries("audiences", answer, found_of)

    async def size(self, audience: Audience) -> AudienceFound | None:
        answer = await self._ask("size", lambda: self.adapter.size(audience))
        return None if answer is None else self._read("size", found_of(answer))

    async def check(self) -> Check:
        return self._read("check", check_of(await self._ask("check", self.adapter.check)))

    async def quote(self, message: Message) -> Quote | None:
        told = open_for_quote.get()

        async def quote() -> Quote | None:
            if told is not None:
                open_for_quote.set(lambda staged: _at_home(partial(_awaited, told, staged)))
            return await self.adapter.quote(message)

        answer = await self._ask("quote", quote, seconds=QUOTING)
        return None if answer is None else self._read("quote", quote_of(answer))

    def read_callback(self, callback: Callback) -> list[Receipt]:
        raise NotImplementedError("callbacks are read by `receipts_in`, which waits for nobody")

    async def receipts_in(self, callback: Callback) -> list[Receipt]:
        """The receipts in one callback. Raises ValueError when it is none of this vendor's, AdapterBroke when the
        adapter cannot say."""

        async def read() -> list[Receipt]:
            return self.adapter.read_callback(callback)

        outcome = await self._contained(read, READING)
        if isinstance(outcome, ValueError | LookupError | RecursionError):
            raise ValueError("no callback of this vendor's")
        if isinstance(outcome, Exception):
            raise self._broke("read_callback", outcome)
        return self._receipts("read_callback", outcome)

    async def turn(self) -> None:
        """Wait until the account's rate lets one more request through, where its transport keeps one."""
        if isinstance(self.transport, Paced):
            await self._there(self.transport.turn)

    async def aclose(self) -> None:
        """Close the road, and the room with it."""
        close = getattr(self.transport, "aclose", None)
        if close is not None:
            await self._contained(close, READING)
        if self.room is not None:
            self.room.close()

    # --- how it is asked ---------------------------------------------------------------------------------------------

    async def _ask(self, what: str, call: Callable[[], Awaitable[object]], *, seconds: float | None = None) -> object:
        """What came back, still unchecked. Raises a ProviderError, AdapterBroke where it is none of its own."""
        token = last_moment.set(_out_of_turn)
        try:
            outcome = await self._contained(call, seconds or self._patience)
        finally:
            last_moment.reset(token)
        if isinstance(outcome, ProviderError):
            error = error_of(outcome)
            raise error.harmless() if isinstance(error, Uncertain) else error
        if isinstance(outcome, Exception):
            raise self._broke(what, outcome)
        return outcome

    async def _contained(self, call: Callable[[], Awaitable[object]], seconds: float | None) -> object:
        """What it came to: a value or an exception, within these seconds. Only a cancellation of ours is raised.

        What goes on after that is left behind: it may not listen when it is told to end.
        """
        running = asyncio.ensure_future(self._there(lambda: _caught(call)))
        try:
            done, _ = await asyncio.wait({running}, timeout=seconds)
        except asyncio.CancelledError:
            running.cancel()
            raise
        if done:
            return running.exception() or running.result() if not running.cancelled() else TimeoutError()
        running.cancel()
        return TimeoutError()

    async def _there(self, call: Callable[[], Awaitable[T]]) -> T:
        return await call() if self.room is None else await self.room.run(call)

    def _broke(self, what: str, error: BaseException) -> AdapterBroke:
        self._complain(f"{what} broke", error=type(error).__name__)
        return AdapterBroke(
            "The adapter of {account} ({package}) broke.",
            detail=type(error).__name__,
            account=self.account,
            package=self.package,
        )

    def _read(self, what: str, value: T | None) -> T:
        if value is None:
            self._complain(f"what {what} returned is nothing that the contract knows")
            raise AdapterBroke(
                "The adapter of {account} ({package}) gave an answer that nobody can read.",
                account=self.account,
                package=self.package,
            )
        return value

    def _receipts(self, what: str, answer: object) -> list[Receipt]:
        return self._entries(what, answer, receipt_of)

    def _entries(self, what: str, answer: object, read: Callable[[object], T | None]) -> list[T]:
        """Those that can be read; one that cannot takes none of the others along."""
        if not isinstance(answer, list | tuple):
            return self._read(what, None)
        entries = [entry for entry in map(read, answer[:MOST_FOUND]) if entry is not None]
        if len(entries) < len(answer):
            self._complain(f"some of what {what} returned cannot be read", number=len(answer) - len(entries))
        return entries

    def _complain(self, about: str, **more: object) -> None:
        log.error("an adapter breaks the contract", account=self.account, package=self.package, about=about, **more)


def _out_of_turn() -> None:
    raise Refused("The adapter wanted to send outside of a release, so it was stopped.")


async def _caught(call: Callable[[], Awaitable[object]]) -> object:
    """Nothing of it escapes: not even what is meant to end the process, nor a cancellation that nobody asked for."""
    try:
        return await call()
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return _as_exception(error)
    except BaseException as error:
        return _as_exception(error)


def _as_exception(error: BaseException) -> Exception:
    return error if isinstance(error, Exception) else RuntimeError(type(error).__name__)


def _mention(adapter: Provider) -> str | None:
    mention = adapter.mention
    if mention is not None and not (isinstance(mention, str) and mention.strip()):
        raise ValueError("its opt-out mention is no text")
    return mention


# --- a room of one's own ---------------------------------------------------------------------------------------------

#: The loop that asks, for what an adapter in a room hands back to the bot.
_home: ContextVar[asyncio.AbstractEventLoop | None] = ContextVar("home", default=None)


class Room:
    """A thread with an event loop, for one account's adapter. It ends with the process, whatever stands still in it."""

    def __init__(self, name: str) -> None:
        self._name, self._closing = name, False
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._live, name=f"adapter {name}", daemon=True).start()

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Run it there, in the context of here. Cancelled here, it is told to end there."""

        async def there() -> T:
            return await call()

        token = _home.set(asyncio.get_running_loop())
        try:
            future: Future[T] = asyncio.run_coroutine_threadsafe(there(), self._loop)
        finally:
            _home.reset(token)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        self._closing = True
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _live(self) -> None:
        while not self._closing:
            try:
                self._loop.run_forever()
            except BaseException as error:  # a callback of the adapter's that wanted to end the process
                log.error("an adapter wanted to end the process", account=self._name, error=type(error).__name__)
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.wait(left, timeout=READING) if left else asyncio.sleep(0))
        self._loop.close()


async def _awaited(told: Callable[[Staged], Awaitable[None]], staged: Staged) -> None:
    await told(staged)


async def _at_home(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run it in the loop that asked, where the database lives."""
    home = _home.get()
    if home is None or home is asyncio.get_running_loop():
        return await call()
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call(), home))


class AccountVault:
    """What an account keeps, read and written for its adapter wherever that runs.

    Raises Unavailable when the database does not take part: nothing has been sent for that.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def load(self, key: str) -> str | None:
        return await self._kept(lambda: self._vault.load(key))

    async def save(self, key: str, value: str) -> None:
        await self._kept(lambda: self._vault.save(key, value))

    async def _kept(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        guard = last_moment.get()
        if isinstance(guard, ReleaseGuard):
            guard.opens()
        try:
            return await _at_home(work)
        except (Busy, Unsure):
            raise Unavailable("The bot could not read what it keeps for this account.") from None


# --- what an adapter may return --------------------------------------------------------------------------------------


def accepted_of(value: object) -> Accepted | None:
    """With ids that can be followed: non-empty, printable, short enough for the store; and a time that is one."""
    if not isinstance(value, Accepted) or not isinstance(value.ids, list | tuple) or not value.ids:
        return None
    if not all(map(_is_id, value.ids)) or not _is_time(value.sending_at):
        return None
    return replace(value, ids=tuple(dict.fromkeys(value.ids)))


def _is_id(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and value.isprintable() and len(value) <= LONGEST_ID


def _is_time(value: object) -> bool:
    if value is None:
        return True
    try:
        return isinstance(value, str) and datetime.fromisoformat(value) is not None
    except ValueError:
        return False


def staged_of(value: object) -> Staged | None:
    """A size that cannot be read is larger than any bound: then people are asked."""
    if not isinstance(value, Staged) or not _is_id(value.id):
        return None
    contacts = None if value.contacts is None else count_of(value.contacts)
    return Staged(value.id, value.ready is True, contacts, _cost(value.cost), _short(value.currency))


def quote_of(value: object) -> Quote | None:
    if not isinstance(value, Quote):
        return None
    contacts = None if value.contacts is None else count_of(value.contacts)
    return Quote(contacts, _cost(value.cost), _short(value.currency))


def check_of(value: object) -> Check | None:
    return Check(_cost(value.credit), _short(value.unit)) if isinstance(value, Check) else None


def found_of(value: object) -> AudienceFound | None:
    if not isinstance(value, AudienceFound) or value.kind not in tuple(AudienceKind) or not _is_id(value.id):
        return None
    size = None if value.size is None else count_of(value.size)
    unnamed = value.unnamed if isinstance(value.unnamed, int) and value.unnamed >= 0 else None
    return AudienceFound(AudienceKind(value.kind), value.id, _line(value.name, LONGEST_VALUE), size, unnamed)


def evidence_of(value: object) -> Evidence | None:
    """Only `sent` True is proof."""
    if not isinstance(value, Evidence) or not isinstance(value.ids, list | tuple):
        return None
    template, values = sentence_of(value.sentence, value.values)
    return Evidence(value.sent is True, template, tuple(filter(_is_id, value.ids)), values)


def receipt_of(value: object) -> Receipt | None:
    """A person who answers or opts out may do so where no vendor finds which message it was."""
    if not isinstance(value, Receipt) or value.status not in tuple(DeliveryStatus):
        return None
    if not _is_id(value.id) and (value.id != "" or value.kind == ReceiptKind.DELIVERY):
        return None
    if value.kind not in tuple(ReceiptKind) or not isinstance(value.recipient, str):
        return None
    return replace(
        value,
        id=value.id.strip(),
        status=DeliveryStatus(value.status),
        kind=ReceiptKind(value.kind),
        word=_line(value.word, LONGEST_VALUE) or "?",
        final=value.final is True,
        text=value.text if isinstance(value.text, str) else None,
    )


def _cost(value: object) -> Decimal | None:
    return value if isinstance(value, Decimal) and value.is_finite() else None


def _short(value: object) -> str | None:
    return _line(value, 12) if isinstance(value, str) else None


def _line(value: object, longest: int) -> str:
    """As one line that can be shown."""
    return "".join(char if char.isprintable() else " " for char in str(value))[:longest].strip()


# --- what an adapter may raise ---------------------------------------------------------------------------------------

KINDS: tuple[type[ProviderError], ...] = (Refused, Blocked, NotReady, Throttled, Unavailable, Uncertain)
MARKED = frozenset({"by", "who", "requester", "channel"})  # names of values that are shown as they are


def error_of(error: ProviderError) -> ProviderError:
    """An adapter's error as one of the contract's own kinds, with a sentence that can be shown and a wait that ends.

    What is none of these kinds may have been sent.
    """
    if type(error).__module__.startswith("bot."):  # raised on our own side of the border
        return error
    kind = next((kind for kind in KINDS if isinstance(error, kind)), Uncertain)
    template, values = sentence_of(getattr(error, "template", ""), getattr(error, "values", {}))
    told = Throttled(wait_of(getattr(error, "wait", None))) if kind is Throttled else kind(template)
    told.template, told.values = template, values
    told.detail = _line(getattr(error, "detail", ""), LONGEST_VALUE)
    told.code = _line(error.code, 40) if getattr(error, "code", None) is not None else None
    told.setting = _line(error.setting, 40) if getattr(error, "setting", None) is not None else None
    return told


def wait_of(seconds: object) -> float:
    """How long a vendor may make us wait, in seconds; what is no number is half a minute."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds != seconds:
        return USUAL_WAIT
    return float(min(max(seconds, SHORTEST_WAIT), LONGEST_WAIT))


def sentence_of(template: object, values: object) -> tuple[str, dict[str, str | int]]:
    """A template with its values, each readable. A sentence that its values do not fill is one value as a whole, so
    that nothing in it is ever read as a place to fill, as a mention or as a link."""
    given = values if isinstance(values, Mapping) else {}
    kept: dict[str, str | int] = {
        str(name): value if isinstance(value, int) else _line(value, LONGEST_VALUE) for name, value in given.items()
    }
    text = _line(template, LONGEST_SENTENCE) or "?"
    if _fits(text, kept):
        return text, kept
    return "{told}", {"told": _filled(text, kept)}


def _fits(template: str, values: Mapping[str, str | int]) -> bool:
    """Plain names of values it has, and nothing that Slack would read as a mention or a link."""
    if any(char in template for char in "<>&"):
        return False
    try:
        parts = list(Formatter().parse(template))
    except ValueError:
        return False
    named = [(name, spec, conversion) for _, name, spec, conversion in parts if name is not None]
    return all(
        name in values and name.isidentifier() and name not in MARKED and not name.endswith("_at")
        and not spec and not conversion
        for name, spec, conversion in named
    )  # fmt: skip


def _filled(template: str, values: Mapping[str, str | int]) -> str:
    try:
        return template.format_map(values)[:LONGEST_SENTENCE]
    except (LookupError, ValueError, AttributeError, TypeError):
        return template
