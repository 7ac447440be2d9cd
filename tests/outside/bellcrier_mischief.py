"""A third-party adapter that does what no adapter may do; its account's `behaviour` chooses what."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

from aiohttp import ClientSession

from providers.base import (
    Accepted,
    AccountSettings,
    Answer,
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
    Provider,
    Quote,
    Receipt,
    Receipts,
    Refused,
    Staged,
    Throttled,
    Transport,
    Unavailable,
    Vault,
    last_moment,
    releasing,
)

PEOPLE = ("C1", "C2", "C3", "C4")


class MischiefSettings(AccountSettings):
    behaviour: str


class Away(Unavailable):
    """Reading its template raises another error of its kind."""

    @property
    def template(self) -> str:
        raise Unavailable("Nobody was there.")

    @template.setter
    def template(self, _: str) -> None:
        pass


class Taken(Accepted):
    """Its ids do something when they are read."""

    does: ClassVar[Callable[[], Any]]

    @property
    def ids(self) -> Any:
        return type(self).does()


def taken(does: Callable[[], Any]) -> Accepted:
    made: Accepted = object.__new__(type("Taken", (Taken,), {"does": staticmethod(does)}))
    object.__setattr__(made, "sending_at", None)
    return made


def away() -> Any:
    raise Unavailable("Nobody was there.")


class Endless(list[str]):
    def __iter__(self) -> Iterator[str]:
        while True:
            yield "C1"


class Leaving:
    """A transport whose rate limit ends the process."""

    async def call(self, method: str, url: str, **_: Any) -> Answer:
        raise Unavailable("Nobody was there.")

    async def turn(self) -> None:
        sys.exit(7)


class Odd:
    def __eq__(self, other: object) -> bool:
        raise ValueError("nobody compares me")

    __hash__ = None  # type: ignore[assignment]


class Mischief(Provider):
    name, title = "mischief", "Mischief"
    Settings = MischiefSettings
    settings: MischiefSettings
    capabilities: ClassVar[Capabilities] = Capabilities(
        audiences=frozenset({AudienceKind.LIST}),
        receipts=Receipts.ACCOUNT,
        polls=True,
        looks_up=True,
        discovers=True,
        sizes=True,
        not_processed=frozenset({409}),
    )

    def __init__(self, account: str, settings: MischiefSettings, transport: Transport, vault: Vault) -> None:
        super().__init__(account, settings, transport, vault)
        self.orders: asyncio.Queue[Message] = asyncio.Queue()
        self.done = asyncio.Event()
        self.people: int | None = None
        match settings.behaviour:
            case "hands_over":
                self.worker = asyncio.get_running_loop().create_task(self.works())
            case "exits_at_once":
                sys.exit(0)
            case "blocks_at_once":
                time.sleep(5)  # that is the mischief
            case "blocks_later":
                asyncio.get_running_loop().call_soon(time.sleep, 5)
            case "behaves_in_its_turn":
                self.transport = Leaving()
            case "exits_later":
                asyncio.get_running_loop().call_soon(sys.exit, 0)

    async def release(self, message: Message, staged: Staged | None) -> Accepted:
        work: Callable[[Message], Awaitable[Any]] = getattr(self, self.settings.behaviour)
        accepted: Accepted = await work(message)
        return accepted

    async def post(self, message: Message, to: str, *, release: bool = True) -> int:
        body = {"text": message.text, "to": to, "reference": message.dispatch}
        return (await self.transport.call("POST", "/send", json=body, release=release)).status

    def post_in_a_loop_of_its_own(self, message: Message, to: str) -> int:
        return asyncio.run(self.post(message, to))

    async def post_alone(self, message: Message, to: str) -> int:
        """Post without the transport."""
        body = {"text": message.text, "to": to, "reference": message.dispatch}
        async with ClientSession() as http, http.post(f"{self.settings.base_url}/send", json=body) as answer:
            return answer.status

    # --- loops -------------------------------------------------------------------------------------------------------

    async def loops(self, message: Message) -> Accepted:
        for to in PEOPLE:
            self.understand(await self.post(message, to))
        return Accepted(PEOPLE)

    async def loops_undeclared(self, message: Message) -> Accepted:
        for to in PEOPLE:
            self.understand(await self.post(message, to, release=False))
        return Accepted(PEOPLE)

    async def loops_on_a_road_of_its_own(self, message: Message) -> Accepted:
        for to in PEOPLE:
            self.understand(await self.post_alone(message, to))
        return Accepted(PEOPLE)

    async def asks_once_and_loops_on_a_road_of_its_own(self, message: Message) -> Accepted:
        check = last_moment.get()
        if check is not None:
            check()
        return await self.loops_on_a_road_of_its_own(message)

    async def loops_and_hides_it(self, message: Message) -> Accepted:
        for to in PEOPLE:
            with suppress(Exception):
                self.understand(await self.post(message, to))
        return Accepted(PEOPLE)

    async def loops_slowly(self, message: Message) -> Accepted:
        for to in PEOPLE * 8:
            await self.post(message, to)
            await asyncio.sleep(0.2)
        return Accepted(PEOPLE)

    async def tries_again_itself(self, message: Message) -> Accepted:
        for _ in range(5):
            status = await self.post(message, "C3")
            if status == 201:
                return Accepted(("1",))
        raise Throttled(1.0)

    def understand(self, status: int) -> None:
        if status == 429:
            raise Throttled(1.0)
        if status == 400:
            raise Refused("Mischief said no.", code="400")
        if status == 503:
            raise Unavailable("Mischief is away.")

    async def loops_by_get(self, message: Message) -> Accepted:
        for to in PEOPLE:
            query = {"text": message.text, "reference": message.dispatch}
            self.understand((await self.transport.call("GET", f"send/{to}", query=query)).status)
        return Accepted(PEOPLE)

    async def reads_its_vault_and_loops_on_a_road_of_its_own(self, message: Message) -> Accepted:
        await self.vault.load("token")
        return await self.loops_on_a_road_of_its_own(message)

    async def logs_in_and_loops_on_a_road_of_its_own(self, message: Message) -> Accepted:
        await self.transport.call("GET", "token", harmless=True)
        return await self.loops_on_a_road_of_its_own(message)

    async def looks_in_vain_and_loops_on_a_road_of_its_own(self, message: Message) -> Accepted:
        await self.transport.call("GET", "nowhere", harmless=True)
        return await self.loops_on_a_road_of_its_own(message)

    async def loops_as_if_harmless(self, message: Message) -> Accepted:
        for to in PEOPLE:
            self.understand(await self.post_as_if_harmless(message, "/send", to))
        return Accepted(PEOPLE)

    async def loops_as_if_harmless_into_a_closed_door(self, message: Message) -> Accepted:
        for to in ("C1", "C2"):
            await self.post_as_if_harmless(message, "/send", to)
        await self.post_as_if_harmless(message, "http://127.0.0.1:1/send", "C3")
        return Accepted(PEOPLE)

    async def post_as_if_harmless(self, message: Message, url: str, to: str) -> int:
        body = {"text": message.text, "to": to, "reference": message.dispatch}
        return (await self.transport.call("POST", url, json=body, harmless=True)).status

    async def asks_and_answers_for_a_road_of_its_own(self, message: Message) -> Accepted:
        with releasing() as guard:
            guard()
            for to in PEOPLE:
                status = await self.post_alone(message, to)
                guard.answered(status)
                self.understand(status)
        return Accepted(PEOPLE)

    async def says_that_it_releases_on_a_road_of_its_own(self, message: Message) -> Accepted:
        with releasing():
            return await self.loops_on_a_road_of_its_own(message)

    async def tells_only_the_no_of_a_road_of_its_own(self, message: Message) -> Accepted:
        with releasing() as guard:
            guard()
            for to in PEOPLE:
                status = await self.post_alone(message, to)
                if status >= 400:
                    guard.answered(status)
                self.understand(status)
        return Accepted(PEOPLE)

    async def keeps_an_error_for_a_road_of_its_own(self, message: Message) -> Accepted:
        try:
            await self.transport.call("POST", "http://127.0.0.1:1/send", release=True)
        except Unavailable as error:
            await self.logs_in_and_loops_on_a_road_of_its_own(message)
            raise error
        return Accepted(PEOPLE)

    async def gives_up_undeclared(self, message: Message) -> Accepted:
        under_way = asyncio.create_task(self.post(message, "slow", release=False))
        await asyncio.sleep(0.2)  # by then it has left and has no answer yet
        under_way.cancel()
        self.understand(await self.post(message, "C3"))
        return Accepted(("1",))

    async def loops_in_threads(self, message: Message) -> Accepted:
        loop = asyncio.get_running_loop()
        for to in PEOPLE:
            with suppress(RuntimeWarning):  # its rate limit belongs to another loop
                await loop.run_in_executor(None, partial(self.post_in_a_loop_of_its_own, message, to))
        return Accepted(PEOPLE)

    async def loops_in_threads_at_once(self, message: Message) -> Accepted:
        check = last_moment.get()
        assert check is not None

        async def post(to: str) -> None:
            await asyncio.to_thread(check)
            await self.post_alone(message, to)

        await asyncio.gather(*map(post, PEOPLE))
        return Accepted(PEOPLE)

    async def hands_over(self, message: Message) -> Accepted:
        await self.orders.put(message)
        await self.done.wait()
        return Accepted(PEOPLE)

    async def works(self) -> None:
        message = await self.orders.get()
        for to in PEOPLE:
            with suppress(Refused):
                await self.post(message, to)
        self.done.set()

    async def leaves_work_behind(self, message: Message) -> Accepted:
        async def later() -> None:
            await asyncio.sleep(0.1)
            await self.loops_undeclared(message)

        self.left = asyncio.create_task(later())
        self.understand(await self.post(message, "C3"))
        return Accepted(("1",))

    async def says_that_it_was_not_processed(self, message: Message) -> Accepted:
        guard: Any = last_moment.get()
        for to in PEOPLE:
            await self.post(message, to)
            try:
                guard.answered(409, not_processed=True)
            except TypeError:
                guard.answered(409)
        return Accepted(PEOPLE)

    async def lets_itself_go(self, message: Message) -> Accepted:
        last_moment.set(lambda: None)
        for to in PEOPLE:
            await self.post(message, to)
        return Accepted(PEOPLE)

    # --- lies --------------------------------------------------------------------------------------------------------

    async def sends_and_says_too_fast(self, message: Message) -> Accepted:
        await self.post(message, "C1")
        raise Throttled(1.0)

    async def sends_and_says_not_ready(self, message: Message) -> Accepted:
        await self.post(message, "C1")
        raise NotReady("Not yet.")

    async def sends_and_says_away(self, message: Message) -> Accepted:
        await self.post(message, "C1")
        raise Unavailable("Nobody was there.")

    async def sends_alone_and_says_no(self, message: Message) -> Accepted:
        await self.post_alone(message, "C1")
        raise Refused("Mischief said no.")

    async def sends_alone_and_says_blocked(self, message: Message) -> Accepted:
        await self.post_alone(message, "C1")
        raise Blocked("Something stands in the way.")

    async def hides_that_it_failed(self, message: Message) -> Accepted:
        with suppress(Exception):
            await self.post(message, "C3")
        return Accepted(("C3",))

    async def hides_that_nobody_is_there(self, message: Message) -> Accepted:
        with suppress(Exception):
            await self.transport.call("POST", "http://127.0.0.1:1/send", release=True)
        return Accepted(("C3",))

    async def sends_alone(self, message: Message) -> Accepted:
        await self.post_alone(message, "C1")
        return Accepted(("C1",))

    async def sends_and_finds_no_trace(self, message: Message) -> Accepted:
        await self.post(message, "C1")
        await self.transport.call("GET", "nowhere", harmless=True)
        raise Refused("Mischief does not know it.")

    async def sends_and_finds_another(self, message: Message) -> Accepted:
        await self.post(message, "C1")
        await self.transport.call("GET", "token", harmless=True)
        raise Blocked("Something stands in the way.")

    # --- raises, ends, hangs -----------------------------------------------------------------------------------------

    async def exits(self, message: Message) -> Accepted:
        await self.post(message, "C1")
        sys.exit(3)

    async def interrupts(self, message: Message) -> Accepted:
        raise KeyboardInterrupt

    async def cancels_itself(self, message: Message) -> Accepted:
        raise asyncio.CancelledError

    async def ends_by_a_callback(self, message: Message) -> Accepted:
        asyncio.get_running_loop().call_soon(sys.exit, 4)
        await asyncio.sleep(0.05)
        await self.post(message, "C1")
        return Accepted(("C1",))

    async def breaks(self, message: Message) -> Accepted:
        await self.post(message, "C1")
        raise ZeroDivisionError

    async def hangs(self, message: Message) -> Accepted:
        await self.post(message, "C1")
        await asyncio.Event().wait()
        raise AssertionError

    async def hangs_deaf(self, message: Message) -> Accepted:
        await self.post(message, "C1")
        while True:
            try:
                await asyncio.sleep(0.1)
                await self.post(message, "C1")
            except asyncio.CancelledError:
                continue
            except Exception:
                await asyncio.sleep(0.1)

    async def blocks(self, message: Message) -> Accepted:
        await self.post(message, "C1")
        time.sleep(12)  # noqa: ASYNC251 - that is the mischief
        return Accepted(("C1",))

    async def waits_for_years(self, message: Message) -> Accepted:
        await self.post(message, "C3")
        raise Throttled(1e12)

    async def waits_for_no_number(self, message: Message) -> Accepted:
        await self.post(message, "C3")
        raise Throttled(float("nan"))

    async def speaks_in_braces(self, message: Message) -> Accepted:
        with releasing():
            raise Refused("{nobody} {0} {", code="<!channel>", by="<!channel>")

    # --- returns anything --------------------------------------------------------------------------------------------

    async def returns_nothing(self, message: Message) -> Any:
        await self.post(message, "C1")

    async def returns_no_ids(self, message: Message) -> Any:
        await self.post(message, "C1")
        return Accepted(())

    async def returns_an_empty_id(self, message: Message) -> Any:
        await self.post(message, "C1")
        return Accepted(("C1", ""))

    async def returns_a_long_id(self, message: Message) -> Any:
        await self.post(message, "C1")
        return Accepted(("x" * 256,))

    async def returns_numbers(self, message: Message) -> Any:
        await self.post(message, "C1")
        return Accepted((1, 2))  # type: ignore[arg-type]

    async def returns_bells(self, message: Message) -> Any:
        await self.post(message, "C1")
        return Accepted(("\x07\x00",))

    async def returns_a_text_for_ids(self, message: Message) -> Any:
        await self.post(message, "C1")
        return Accepted("C1")  # type: ignore[arg-type]

    async def returns_another_time(self, message: Message) -> Any:
        await self.post(message, "C1")
        return Accepted(("C1",), sending_at=5)  # type: ignore[arg-type]

    async def returns_ids_that_raise(self, message: Message) -> Any:
        await self.post(message, "C1")
        return taken(away)

    async def returns_ids_that_exit(self, message: Message) -> Any:
        await self.post(message, "C1")
        return taken(sys.exit)

    async def returns_ids_that_block(self, message: Message) -> Any:
        await self.post(message, "C1")
        return taken(lambda: time.sleep(12))  # that is the mischief

    async def returns_endless_ids(self, message: Message) -> Any:
        await self.post(message, "C1")
        return taken(lambda: Endless(["C1"]))

    async def raises_what_cannot_be_read(self, message: Message) -> Any:
        await self.post(message, "C1")
        raise Away("Nobody was there.")

    async def returns_padded_ids(self, message: Message) -> Any:
        await self.post(message, "C1")
        return Accepted((" 22 ", "22", "23"))

    async def behaves(self, message: Message) -> Accepted:
        await self.post(message, "C1")
        return Accepted(("C1",))

    # --- everything but releases -------------------------------------------------------------------------------------

    async def size(self, audience: Audience) -> AudienceFound | None:
        match self.settings.base_url.rsplit("/", 1)[-1]:
            case "sends_anyway":
                last_moment.set(lambda: None)
                await self.transport.call("POST", "/send", json={"to": "early", "reference": "?"}, release=True)
            case "sends":
                await self.transport.call("POST", "/send", json={"to": "early", "reference": "?"}, release=True)
            case "exits":
                sys.exit(5)
            case "blocks":
                time.sleep(12)  # noqa: ASYNC251
            case "lies":
                return AudienceFound(AudienceKind.LIST, audience.id, "", "many")  # type: ignore[arg-type]
        return AudienceFound(AudienceKind.LIST, audience.id, "{fans}", 4)

    async def quote(self, message: Message) -> Quote | None:
        return Quote(self.people) if self.people is not None else None

    async def audiences(self) -> list[AudienceFound]:
        return [AudienceFound("flock", "1", "x"), AudienceFound(AudienceKind.LIST, "L9", "Others"), None]  # type: ignore[arg-type, list-item]

    async def poll(self, ids: tuple[str, ...]) -> list[Receipt]:
        if ids == ("odd",):
            odd = Receipt("2", Odd(), "?")  # type: ignore[arg-type]
            return [Receipt("1", DeliveryStatus.DELIVERED, "OK"), odd, taken(sys.exit)]  # type: ignore[list-item]
        raise SystemExit

    async def look_up(self, message: Message, staged: Staged | None, ids: tuple[str, ...]) -> Evidence:
        return Evidence("perhaps", "{what} <!channel>", (1, 2))  # type: ignore[arg-type]

    async def check(self) -> Check:
        raise KeyError("<secret>")

    def read_callback(self, callback: Callback) -> list[Receipt]:
        sys.exit(6)
