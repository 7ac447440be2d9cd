"""An adapter of somebody else's that does what no adapter may do, as its account's `behaviour` says."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, ClassVar

from aiohttp import ClientSession

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
    Evidence,
    Message,
    NotReady,
    Provider,
    Receipt,
    Receipts,
    Refused,
    Staged,
    Throttled,
    Unavailable,
    last_moment,
    releasing,
)

PEOPLE = ("C1", "C2", "C3", "C4")


class MischiefSettings(AccountSettings):
    behaviour: str


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
    )

    async def release(self, message: Message, staged: Staged | None) -> Accepted:
        work: Callable[[Message], Awaitable[Any]] = getattr(self, self.settings.behaviour)
        accepted: Accepted = await work(message)
        return accepted

    async def post(self, message: Message, to: str, *, release: bool = True) -> int:
        body = {"text": message.text, "to": to, "reference": message.dispatch}
        return (await self.transport.call("POST", "/send", json=body, release=release)).status

    async def post_alone(self, message: Message, to: str) -> int:
        """By a road of its own."""
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

    async def sends_alone(self, message: Message) -> Accepted:
        await self.post_alone(message, "C1")
        return Accepted(("C1",))

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
        with releasing():
            raise Throttled(1e12)

    async def waits_for_no_number(self, message: Message) -> Accepted:
        with releasing():
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

    async def behaves(self, message: Message) -> Accepted:
        await self.post(message, "C1")
        return Accepted(("C1",))

    # --- everything that is no release -------------------------------------------------------------------------------

    async def size(self, audience: Audience) -> AudienceFound | None:
        match self.settings.base_url.rsplit("/", 1)[-1]:
            case "sends":
                await self.transport.call("POST", "/send", json={"to": "early", "reference": "?"}, release=True)
            case "exits":
                sys.exit(5)
            case "blocks":
                time.sleep(12)  # noqa: ASYNC251
            case "lies":
                return AudienceFound(AudienceKind.LIST, audience.id, "", "many")  # type: ignore[arg-type]
        return AudienceFound(AudienceKind.LIST, audience.id, "{fans}", 4)

    async def audiences(self) -> list[AudienceFound]:
        return [AudienceFound("flock", "1", "x"), AudienceFound(AudienceKind.LIST, "L9", "Others"), None]  # type: ignore[arg-type, list-item]

    async def poll(self, ids: tuple[str, ...]) -> list[Receipt]:
        raise SystemExit

    async def look_up(self, message: Message, staged: Staged | None, ids: tuple[str, ...]) -> Evidence:
        return Evidence("perhaps", "{what} <!channel>", (1, 2))  # type: ignore[arg-type]

    async def check(self) -> Check:
        raise KeyError("<secret>")

    def read_callback(self, callback: Callback) -> list[Receipt]:
        sys.exit(6)
