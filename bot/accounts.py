"""The border to the vendors' adapters: every call into one goes through `Account`, every answer of one is checked.

An adapter may be anybody's. It may loop, lie, hang, raise anything, return anything, leave the process or stand still;
here that becomes one of the contract's own errors, and no other account notices.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from functools import partial
from itertools import islice
from string import Formatter
from typing import Any, TypeVar, cast

import structlog

from bot.broadcast import Sentence
from bot.database import Busy, Unsure
from providers.base import (
    Accepted,
    AccountSettings,
    Audience,
    AudienceFound,
    AudienceKind,
    Blocked,
    Callback,
    Capabilities,
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
    asking,
    last_moment,
    open_for_quote,
    out_of_turn,
)
from providers.reading import LONGEST_ID, count_of

log = structlog.get_logger(__name__)

T = TypeVar("T")

EXCHANGES = 3  # that one question of ours may take an adapter, each as long as the account's timeout
QUOTING = 300.0  # seconds for a campaign that is made, computed and thrown away
IN_TURN = 300.0  # seconds until a slow rate lets one more request through
READING = 2.0  # seconds for one callback
LONGEST_SENTENCE, LONGEST_VALUE, MOST_VALUES = 1000, 300, 20
MOST_FOUND = 10_000  # entries of one answer
SHORTEST_WAIT, LONGEST_WAIT, USUAL_WAIT = 1.0, 300.0, 30.0  # seconds that a vendor may make us wait
NOTHING_SENT = (Refused, Blocked, NotReady, Throttled, Unavailable)
NUMBER = re.compile(r"\+?\d(?:[ .()-]{0,2}\d){6,}|\d{5,}")  # of a person, in a vendor's word for how it went
NO_ANSWER = object()  # where None would be one

TWICE = "It may have been sent: the adapter of {account} ({package}) wanted to send it twice."
BROKE = "The adapter of {account} ({package}) broke while it was sending."
UNTRUE = "The adapter of {account} ({package}) says that it was accepted, but the bot saw no such answer."
NO_IDS = "The adapter of {account} ({package}) did not give the vendor's ids, so nobody knows what it did."

Call = Callable[[], Awaitable[object]]
Read = Callable[[object], T | None]  # what an adapter returned, in plain values of ours; None where it cannot be read


class AdapterBroke(Unavailable):
    """The adapter raised, returned or did what the contract does not know. Nothing was sent: it was no release."""


class Account(Provider):
    """One account's adapter, behind the border. It answers as the contract says, or raises a ProviderError.

    `package`: what it came with, for whoever has to look at it. `room`: where its code runs, if not in this loop: other
    people's gets a thread of its own, so that what stands still there keeps nobody else waiting.
    """

    def __init__(self, adapter: Provider, package: str = "bellcrier", room: Room | None = None) -> None:
        self.adapter, self.package, self.room = adapter, package, room
        self.account, self.settings = _text(adapter.account), _settings(adapter)
        self.transport, self.vault = adapter.transport, adapter.vault
        self.name, self.title, self.capabilities = _text(adapter.name), _text(adapter.title), _capabilities(adapter)  # type: ignore[misc]
        self.unasked = False  # it has released without asking whether it still might
        self._mention = _mention(adapter)

    @property
    def mention(self) -> str | None:
        return self._mention

    @property
    def legacy(self) -> Sentence | None:
        """What people are told wherever they meet this vendor; nothing in it is read as a place to fill."""
        legacy = self.capabilities.legacy
        return Sentence(*sentence_of(legacy, {})) if legacy else None

    @property
    def sender_rule(self) -> Sentence:
        rule = self.capabilities.sender_rule
        return Sentence(*sentence_of(rule, {})) if rule else Sentence("")

    @property
    def _patience(self) -> float:
        return EXCHANGES * self.settings.timeout + 5

    # --- the release -------------------------------------------------------------------------------------------------

    async def release(self, message: Message, staged: Staged | None) -> Accepted:
        """The one call that makes phones ring, at most once. Raises Uncertain for whatever may have been sent, and an
        error that means "nothing was sent" only where the road saw that it is true."""
        check = last_moment.get()
        if not isinstance(guard := check, ReleaseGuard):
            guard = ReleaseGuard(check or (lambda: None), self.capabilities.not_processed)
        try:
            with asking(guard):
                came = await self._contained(lambda: self._released(message, staged, guard), None)
        finally:
            guard.close()
        if isinstance(came, Accepted):
            return came
        raise came if isinstance(came, ProviderError) else self._lost(BROKE)

    async def _released(self, message: Message, staged: Staged | None, guard: ReleaseGuard) -> Accepted | ProviderError:
        """What it came to, in plain values. It is read where the adapter lives: to read may run its code as well, and
        what breaks then, after the release, says nothing about it."""
        outcome = await _caught(lambda: self.adapter.release(message, staged))
        guard.close()
        try:
            return self._judged(outcome, guard)
        except BaseException as error:
            self._complain("what its release came to cannot be read", error=type(error).__name__)
            return self._lost(NO_IDS)

    def _judged(self, outcome: object, guard: ReleaseGuard) -> Accepted | ProviderError:
        self._note_asked(guard.asked or (isinstance(outcome, ProviderError) and self._nothing_left(outcome, guard)))
        if guard.blocked:
            self._complain("it wanted to send twice")
            return self._lost(TWICE)
        if isinstance(outcome, Exception):
            return self._error_of_release(outcome, guard)
        accepted = accepted_of(outcome)
        if accepted is None:
            self._complain("what its release returned is no Accepted with ids", got=type(outcome).__name__)
            return self._lost(NO_IDS)
        if self.room is not None and not guard.took:
            self._complain("it says that it was accepted, and the road saw that it was not")
            return self._lost(UNTRUE)
        return accepted

    def _note_asked(self, asked: bool) -> None:
        self.unasked = not asked
        if self.unasked:
            self._complain("it released without asking whether it still might")

    def _error_of_release(self, error: Exception, guard: ReleaseGuard) -> ProviderError:
        if not isinstance(error, ProviderError):
            self._complain("its release broke", error=type(error).__name__)
            return self._lost(BROKE)
        told = error if error is guard.held else error_of(error)
        if not isinstance(told, NOTHING_SENT) or self._nothing_left(error, guard):
            return told
        self._complain("it says that nothing was sent, and nobody saw that", error=type(error).__name__)
        uncertain = Uncertain(told.template, detail=told.detail, code=told.code)
        uncertain.values = told.values
        return uncertain

    def _nothing_left(self, error: ProviderError, guard: ReleaseGuard) -> bool:
        return guard.nothing_left(error, ours=self.room is None)

    def _lost(self, template: str) -> Uncertain:
        return Uncertain(template, account=self.account, package=self.package)

    # --- everything else ---------------------------------------------------------------------------------------------

    async def stage(self, message: Message, known: Staged | None = None) -> Staged | None:
        return await self._ask_for("stage", lambda: self.adapter.stage(message, known), staged_of)

    async def recall(self, staged: Staged) -> None:
        await self._ask_for("recall", lambda: self.adapter.recall(staged), lambda _: True)

    async def look_up(self, message: Message, staged: Staged | None, ids: tuple[str, ...]) -> Evidence:
        return await self._ask("look_up", lambda: self.adapter.look_up(message, staged, ids), evidence_of)

    async def poll(self, ids: tuple[str, ...]) -> list[Receipt]:
        return await self._ask("poll", lambda: self.adapter.poll(ids), self._entries("poll", receipt_of))

    async def audiences(self) -> list[AudienceFound]:
        return await self._ask("audiences", self.adapter.audiences, self._entries("audiences", found_of))

    async def size(self, audience: Audience) -> AudienceFound | None:
        return await self._ask_for("size", lambda: self.adapter.size(audience), found_of)

    async def check(self) -> Check:
        return await self._ask("check", self.adapter.check, check_of)

    async def quote(self, message: Message) -> Quote | None:
        told = open_for_quote.get()

        async def quote() -> Quote | None:
            if told is not None:
                open_for_quote.set(lambda staged: _at_home(self.room, partial(_awaited, told, staged)))
            return await self.adapter.quote(message)

        return await self._ask_for("quote", quote, quote_of, seconds=QUOTING)

    def read_callback(self, callback: Callback) -> list[Receipt]:
        raise NotImplementedError("callbacks are read by `receipts_in`, which waits for nobody")

    async def receipts_in(self, callback: Callback) -> list[Receipt]:
        """The receipts in one callback. Raises ValueError when it is none of this vendor's, AdapterBroke when the
        adapter cannot say."""

        async def read() -> object:
            try:
                found: object = self.adapter.read_callback(callback)
            except (ValueError, LookupError, RecursionError):
                return None
            except ProviderError as error:  # it asks nobody, so nobody has answered
                raise RuntimeError(type(error).__name__) from None
            return NO_ANSWER if found is None else found

        entries = self._entries("read_callback", receipt_of)
        receipts = await self._ask_for("read_callback", read, entries, seconds=READING)
        if receipts is None:
            raise ValueError("no callback of this vendor's")
        return receipts

    async def turn(self) -> None:
        """Wait until the account's rate lets one more request through, where its transport keeps one."""
        road = self.transport
        if isinstance(road, Paced):
            await self._ask_for("turn", lambda: road.turn(), lambda _: True, seconds=IN_TURN)

    async def aclose(self) -> None:
        """Close the road, and the room with it."""

        async def close() -> None:
            if (ending := getattr(self.transport, "aclose", None)) is not None:
                await ending()

        await self._contained(close, READING)
        self.leave()

    def leave(self) -> None:
        """Nobody asks it any more."""
        if self.room is not None:
            self.room.close()

    # --- how it is asked ---------------------------------------------------------------------------------------------

    async def _ask(self, what: str, call: Call, read: Read[T], *, seconds: float | None = None) -> T:
        """What came back, read. Raises a ProviderError, AdapterBroke where it is none of its own."""
        answer = await self._ask_for(what, call, read, seconds=seconds)
        if answer is None:
            raise self._unread(what)
        return answer

    async def _ask_for(self, what: str, call: Call, read: Read[T], *, seconds: float | None = None) -> T | None:
        """The same, where None is an answer."""
        with asking(out_of_turn):
            came = await self._contained(lambda: self._came(what, call, read), seconds or self._patience)
        if isinstance(came, ProviderError):
            raise came
        if isinstance(came, Exception):
            raise self._broke(what, came)
        return cast("T | None", came)

    async def _came(self, what: str, call: Call, read: Read[T]) -> T | ProviderError | None:
        """What it came to, in plain values, read where the adapter lives: to read may run its code as well."""
        outcome = await _caught(call)
        try:
            if isinstance(outcome, ProviderError):
                error = error_of(outcome)
                return error.harmless() if isinstance(error, Uncertain) else error
            if isinstance(outcome, Exception):
                return self._broke(what, outcome)
            answer = None if outcome is None else read(outcome)
            return self._unread(what) if answer is None and outcome is not None else answer
        except BaseException as error:
            return self._broke(what, error)

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

    def _unread(self, what: str) -> AdapterBroke:
        self._complain(f"what {what} returned is nothing that the contract knows")
        return AdapterBroke(
            "The adapter of {account} ({package}) gave an answer that nobody can read.",
            account=self.account,
            package=self.package,
        )

    def _entries(self, what: str, read: Read[T]) -> Read[list[T]]:
        """Reads a list. Those that can be read; one that cannot takes none of the others along."""

        def entries(answer: object) -> list[T] | None:
            given = _listed(answer)
            if given is None:
                return None
            read_ones = [entry for entry in map(partial(_one_of, read), given[:MOST_FOUND]) if entry is not None]
            if len(read_ones) < len(given):
                self._complain(f"some of what {what} returned cannot be read", number=len(given) - len(read_ones))
            return read_ones

        return entries

    def _complain(self, about: str, **more: object) -> None:
        log.error("an adapter breaks the contract", account=self.account, package=self.package, about=about, **more)


def _one_of(read: Read[T], entry: object) -> T | None:
    try:
        return read(entry)
    except BaseException:  # whatever it does when it is looked at
        return None


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
    if mention is not None and not (isinstance(mention, str) and _text(mention).strip()):
        raise ValueError("its opt-out mention is no text")
    return None if mention is None else _text(mention)


def _settings(adapter: Provider) -> AccountSettings:
    """What every account has, without what else its own model does."""
    return AccountSettings(**{name: getattr(adapter.settings, name) for name in AccountSettings.model_fields})


def _capabilities(adapter: Provider) -> Capabilities:
    able = adapter.capabilities
    if type(able) is not Capabilities:
        raise ValueError("its capabilities are no Capabilities")
    return able


# --- a room of one's own ---------------------------------------------------------------------------------------------


class Room:
    """A thread with an event loop, for one account's adapter. It ends with the process, whatever stands still in it."""

    def __init__(self, name: str) -> None:
        self._name, self._closing = name, False
        self._loop = asyncio.new_event_loop()
        self.home: asyncio.AbstractEventLoop | None = None  # the loop that asks, where the database lives
        threading.Thread(target=self._live, name=f"adapter {name}", daemon=True).start()

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Run it there, in the context of here. Cancelled here, it is told to end there."""
        self.home = asyncio.get_running_loop()
        return await asyncio.wrap_future(self._begin(call))

    def do(self, work: Callable[[], T], seconds: float) -> T:
        """Run it there and stand still for it, at most so long. Raises TimeoutError, and what it raises; what is meant
        to end the process is a RuntimeError."""

        async def there() -> object:
            return work()

        with suppress(RuntimeError):  # made before there is a loop
            self.home = asyncio.get_running_loop()
        with asking(out_of_turn):
            came = self._begin(lambda: _caught(there)).result(seconds)
        if isinstance(came, Exception):
            raise came
        return cast("T", came)

    def _begin(self, call: Callable[[], Awaitable[T]]) -> Future[T]:
        async def there() -> T:
            return await call()

        return asyncio.run_coroutine_threadsafe(there(), self._loop)

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


async def _at_home(room: Room | None, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run it in the loop that asks, where the database lives: an adapter in a room may ask from threads of its own."""
    if room is None:
        return await call()
    if room.home is None:
        raise Unavailable("The bot could not read what it keeps for this account.")
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call(), room.home))


class AccountVault:
    """What an account keeps, read and written for its adapter wherever that runs.

    Raises Unavailable when the database does not take part.
    """

    def __init__(self, vault: Vault, room: Room | None = None) -> None:
        self._vault, self._room = vault, room

    async def load(self, key: str) -> str | None:
        return await self._kept(lambda: self._vault.load(key))

    async def save(self, key: str, value: str) -> None:
        await self._kept(lambda: self._vault.save(key, value))

    async def _kept(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        try:
            return await _at_home(self._room, work)
        except (Busy, Unsure):
            raise Unavailable("The bot could not read what it keeps for this account.") from None


# --- what an adapter may return --------------------------------------------------------------------------------------


def accepted_of(value: object) -> Accepted | None:
    """With ids that can be followed: non-empty, printable, short enough for the store; and a time that is one."""
    given = _listed(value.ids) if isinstance(value, Accepted) else None
    if not isinstance(value, Accepted) or not given or not _is_time(at := value.sending_at):
        return None
    ids = [_id(id) for id in given]
    if None in ids:
        return None
    return Accepted(tuple(dict.fromkeys(id for id in ids if id)), None if at is None else _text(at))


def _id(value: object) -> str | None:
    """As receipts will name it, without the spaces around it; None for what is no id."""
    text = _text(value).strip() if isinstance(value, str) else ""
    return text if text and text.isprintable() and len(text) <= LONGEST_ID else None


def _text(value: str) -> str:
    """Its characters alone, whatever else it can do."""
    return str.__str__(value)


def _listed(value: object) -> list[Any] | None:
    """What it really holds, whatever it says when somebody goes through it; None for what is no list."""
    if isinstance(value, tuple):
        return list(tuple.__iter__(value))
    return list(list.__iter__(value)) if isinstance(value, list) else None


def _is_time(value: object) -> bool:
    if value is None:
        return True
    try:
        return isinstance(value, str) and datetime.fromisoformat(_text(value)) is not None
    except ValueError:
        return False


def staged_of(value: object) -> Staged | None:
    """A size that cannot be read is larger than any bound: then people are asked."""
    if not isinstance(value, Staged) or (id := _id(value.id)) is None:
        return None
    return Staged(id, value.ready is True, _count(value.contacts), _cost(value.cost), _short(value.currency))


def quote_of(value: object) -> Quote | None:
    if not isinstance(value, Quote):
        return None
    return Quote(_count(value.contacts), _cost(value.cost), _short(value.currency))


def check_of(value: object) -> Check | None:
    return Check(_cost(value.credit), _short(value.unit)) if isinstance(value, Check) else None


def found_of(value: object) -> AudienceFound | None:
    if not isinstance(value, AudienceFound) or value.kind not in tuple(AudienceKind) or (id := _id(value.id)) is None:
        return None
    unnamed = value.unnamed if type(value.unnamed) is int and value.unnamed >= 0 else None
    return AudienceFound(AudienceKind(value.kind), id, _line(value.name, LONGEST_VALUE), _count(value.size), unnamed)


def evidence_of(value: object) -> Evidence | None:
    """Only `sent` True is proof."""
    given = _listed(value.ids) if isinstance(value, Evidence) else None
    if not isinstance(value, Evidence) or given is None:
        return None
    template, values = sentence_of(value.sentence, value.values)
    return Evidence(value.sent is True, template, tuple(id for id in map(_id, given) if id), values)


def receipt_of(value: object) -> Receipt | None:
    """A person who answers or opts out may do so where no vendor finds which message it was."""
    if not isinstance(value, Receipt) or value.status not in tuple(DeliveryStatus):
        return None
    id = _id(value.id)
    if id is None and (value.id != "" or value.kind == ReceiptKind.DELIVERY):
        return None
    if value.kind not in tuple(ReceiptKind) or not isinstance(value.recipient, str):
        return None
    return Receipt(
        id or "",
        DeliveryStatus(value.status),
        NUMBER.sub("…", _line(value.word, LONGEST_VALUE)) or "?",
        _text(value.recipient),
        value.final is True,
        ReceiptKind(value.kind),
        _text(value.text) if isinstance(value.text, str) else None,
    )


def _count(value: object) -> int | None:
    return None if value is None else count_of(value)


def _cost(value: object) -> Decimal | None:
    return Decimal(value) if isinstance(value, Decimal) and value.is_finite() else None


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
        _line(name, LONGEST_VALUE): value if type(value) is int else _line(value, LONGEST_VALUE)
        for name, value in islice(given.items(), MOST_VALUES)
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
        if any(spec for _, _, spec, _ in Formatter().parse(template)):  # one may ask for a billion spaces
            return template
        return template.format_map(values)[:LONGEST_SENTENCE]
    except (LookupError, ValueError, AttributeError, TypeError):
        return template
