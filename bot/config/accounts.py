"""The border to the vendors' adapters: every call goes through `Account`, and every answer is checked.

Anybody may write an adapter. It may loop, lie, hang, block, raise anything, return anything or exit the process. Here
that becomes one of the contract's own errors, and no other account notices.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from bot.config.adapter_calls import BROKE, IN_TURN, NO_ANSWER, AdapterCalls, T
from bot.config.adapter_threads import READING, AdapterThread, at_home, awaited, caught
from bot.config.adapter_values import (
    check_of,
    checked_text,
    evidence_of,
    found_of,
    quote_of,
    receipt_of,
    sentence_of,
    staged_of,
)
from bot.config.release_results import NO_IDS, ReleaseResults
from bot.domain.i18n import Translatable
from bot.storage.database import CommitUncertain, DatabaseBusy
from providers.base import (
    Accepted,
    AccountSettings,
    Audience,
    AudienceFound,
    Callback,
    Capabilities,
    Check,
    Evidence,
    Message,
    Paced,
    Provider,
    ProviderError,
    Quote,
    Receipt,
    Staged,
    Unavailable,
    Vault,
    last_moment,
    open_for_quote,
)
from providers.guard import ReleaseGuard, asking

QUOTING = 300.0  # seconds to create, compute and discard a campaign


class Account(Provider):
    """One account's adapter, behind the border. It answers as the contract says, or raises a ProviderError.

    `package`: where the adapter comes from, for the person who investigates it. `thread`: where its code runs, if not
    in this loop. Third-party code gets its own thread, so that one blocked adapter keeps nobody else waiting.
    """

    def __init__(self, adapter: Provider, package: str = "bellcrier", thread: AdapterThread | None = None) -> None:
        self.adapter, self.package, self.thread = adapter, package, thread
        self.account, self.settings = checked_text(adapter.account), _settings(adapter)
        self.transport, self.vault = adapter.transport, adapter.vault
        self.name, self.title = checked_text(adapter.name), checked_text(adapter.title)  # type: ignore[misc]
        self.capabilities = _capabilities(adapter)  # type: ignore[misc]
        self._mention, self.default_sender = _mention(adapter), _default_sender(adapter)
        self.calls = AdapterCalls(self.settings, self.account, package, thread)
        self.results = ReleaseResults(self.calls, ours=thread is None)

    @property
    def unasked(self) -> bool:
        """Whether its last release went out without asking whether it still might."""
        return self.results.unasked

    @property
    def mention(self) -> str | None:
        return self._mention

    @property
    def legacy(self) -> Translatable | None:
        """The sentence shown wherever people meet this vendor. Nothing in it is read as a placeholder."""
        legacy = self.capabilities.legacy
        return _translatable(legacy) if legacy else None

    @property
    def sender_rule(self) -> Translatable:
        rule = self.capabilities.sender_rule
        return _translatable(rule) if rule else Translatable("")

    async def release(self, message: Message, staged: Staged | None) -> Accepted:
        """The one call that makes phones ring, at most once.

        Raises Uncertain if anything may have been sent. Raises an error that means "nothing was sent" only where the
        transport saw that it is true.
        """
        check = last_moment.get()
        if not isinstance(guard := check, ReleaseGuard):
            guard = ReleaseGuard(check or (lambda: None), self.capabilities.not_processed)
        with self.calls.timed("release"):
            try:
                with asking(guard):
                    came = await self.calls.contained(lambda: self._released(message, staged, guard), None)
            finally:
                guard.close()
            if isinstance(came, Accepted):
                return came
            raise came if isinstance(came, ProviderError) else self.results.lost(BROKE)

    async def _released(self, message: Message, staged: Staged | None, guard: ReleaseGuard) -> Accepted | ProviderError:
        """The result of the release, in plain values.

        It is read where the adapter lives, since reading it may run the adapter's code too. An error while reading
        comes after the release and says nothing about it.
        """
        outcome = await caught(lambda: self.adapter.release(message, staged))
        guard.close()
        try:
            return self.results.judge(outcome, guard)
        except BaseException as error:
            self.calls.complain("what its release came to cannot be read", error=type(error).__name__)
            return self.results.lost(NO_IDS)

    async def stage(self, message: Message, known: Staged | None = None) -> Staged | None:
        return await self.calls.ask_for("stage", lambda: self.adapter.stage(message, known), staged_of)

    async def recall(self, staged: Staged) -> None:
        await self.calls.ask_for("recall", lambda: self.adapter.recall(staged), lambda _: True)

    async def look_up(self, message: Message, staged: Staged | None, ids: tuple[str, ...]) -> Evidence:
        return await self.calls.ask("look_up", lambda: self.adapter.look_up(message, staged, ids), evidence_of)

    async def poll(self, ids: tuple[str, ...]) -> list[Receipt]:
        return await self.calls.ask("poll", lambda: self.adapter.poll(ids), self.calls.entries("poll", receipt_of))

    async def audiences(self) -> list[AudienceFound]:
        return await self.calls.ask("audiences", self.adapter.audiences, self.calls.entries("audiences", found_of))

    async def size(self, audience: Audience) -> AudienceFound | None:
        return await self.calls.ask_for("size", lambda: self.adapter.size(audience), found_of)

    async def check(self) -> Check:
        return await self.calls.ask("check", self.adapter.check, check_of)

    async def quote(self, message: Message) -> Quote | None:
        on_staged = open_for_quote.get()

        async def quote() -> Quote | None:
            if on_staged is not None:
                open_for_quote.set(lambda staged: at_home(self.thread, partial(awaited, on_staged, staged)))
            return await self.adapter.quote(message)

        return await self.calls.ask_for("quote", quote, quote_of, seconds=QUOTING)

    def read_callback(self, callback: Callback) -> list[Receipt]:
        raise NotImplementedError("callbacks are read by `receipts_in`, which waits for nobody")

    async def receipts_in(self, callback: Callback) -> list[Receipt]:
        """The receipts in one callback.

        Raises ValueError if it is not one of this vendor's, and AdapterBroke if the adapter cannot say.
        """

        async def read() -> object:
            try:
                found: object = self.adapter.read_callback(callback)
            except (ValueError, LookupError, RecursionError):
                return None
            except ProviderError as error:  # reading asks no vendor, so this is not a vendor's answer
                raise RuntimeError(type(error).__name__) from None
            return NO_ANSWER if found is None else found

        entries = self.calls.entries("read_callback", receipt_of)
        receipts = await self.calls.ask_for("read_callback", read, entries, seconds=READING)
        if receipts is None:
            raise ValueError("no callback of this vendor's")
        return receipts

    async def turn(self) -> None:
        """Wait until the account's rate lets one more request through, where its transport keeps one."""
        road = self.transport
        if isinstance(road, Paced):
            await self.calls.ask_for("turn", lambda: road.turn(), lambda _: True, seconds=IN_TURN)

    async def aclose(self) -> None:
        """Close the transport, and the thread with it."""

        async def close() -> None:
            if (ending := getattr(self.transport, "aclose", None)) is not None:
                await ending()

        await self.calls.contained(close, READING)
        self.leave()

    def leave(self) -> None:
        """Close the thread: nobody calls this adapter from now on."""
        if self.thread is not None:
            self.thread.close()


def _translatable(sentence: str) -> Translatable:
    template, values = sentence_of(sentence, {})
    return Translatable(template, **values)


def _mention(adapter: Provider) -> str | None:
    mention = adapter.mention
    if mention is not None and not (isinstance(mention, str) and checked_text(mention).strip()):
        raise ValueError("its opt-out mention is no text")
    return None if mention is None else checked_text(mention)


def _settings(adapter: Provider) -> AccountSettings:
    """The settings that every account has, without those that only its own model adds."""
    return AccountSettings(**{name: getattr(adapter.settings, name) for name in AccountSettings.model_fields})


def _default_sender(adapter: Provider) -> str | None:
    """The sender ID of what names none, if the account has one and the vendor takes any."""
    sender = getattr(adapter.settings, "sender", None)
    return checked_text(sender) if sender and adapter.capabilities.sender_pattern else None


def _capabilities(adapter: Provider) -> Capabilities:
    able = adapter.capabilities
    if type(able) is not Capabilities:
        raise ValueError("its capabilities are no Capabilities")
    return able


class AccountVault:
    """Reads and writes what an account keeps, wherever its adapter runs.

    Raises Unavailable if the database is busy or cannot confirm the commit.
    """

    def __init__(self, vault: Vault, thread: AdapterThread | None = None) -> None:
        self._vault, self._thread = vault, thread

    async def load(self, key: str) -> str | None:
        return await self._kept(lambda: self._vault.load(key))

    async def save(self, key: str, value: str) -> None:
        await self._kept(lambda: self._vault.save(key, value))

    async def _kept(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        try:
            return await at_home(self._thread, work)
        except (DatabaseBusy, CommitUncertain):
            raise Unavailable("The bot could not read the data that it stores for this account.") from None
