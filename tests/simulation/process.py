"""One replica of the bot: the real parts, with a view of the database, a line to each vendor and a separate clock.

Its work reaches the world only through these seams. Once a process is killed, its seams raise `Killed`, so nothing that
it still tries takes effect.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from sqlalchemy import Connection

from bot.config.accounts import Account
from bot.config.runtime import Runtime
from bot.core import Core, build_core
from bot.domain.clock import Micros
from bot.sending.receipts import Recorded
from bot.storage.sql import database_time
from bot.web.callbacks import CallbackDoor
from providers.base import AccountSettings
from tests.simulation.store import StoreFault, View
from tests.simulation.vendors import ADAPTERS, NoVault, Wire
from tests.simulation.witness import STRANGER
from tests.simulation.world import SECRET_KEY

if TYPE_CHECKING:
    from tests.simulation.run import World

T = TypeVar("T")
log = structlog.get_logger(__name__)


class Killed(BaseException):
    """The process is gone. No `except Exception` of the code under test may stop this."""


#: Breaks the core of a process, so that a test can check that the witness notices.
Spoil = Callable[[Core], None]


def intact(_core: Core) -> None:
    """Breaks nothing."""


class Process:
    def __init__(self, world: World, name: str, spoil: Spoil) -> None:
        self.world, self.name = world, name
        self.alive = True
        self.skew: Micros = 0  # how wrong its wall clock is
        self.dies_in: int | None = None  # after so many more seams
        self.stalls_in: int | None = None
        self.stall = self.stalled_until = self.cut_off_until = 0.0
        self.database = View(world.memory, self, world.conditions.exclusive)
        self.providers: dict[str, Account] = {account: self._open(account) for account in world.settings.accounts}
        self._build(spoil)
        self.bells: dict[str, Callable[[], Awaitable[None]]] = {
            "dispatch": self.dispatcher.tick,
            "track": self.tracker.tick,
            "sizes": self.dispatcher.sizes.learn,
            "expire": self.workflow.expire,
            "voices": self.approval_reminders.tick,
            "remind": self.reminders.tick,
        }
        self._ringing: dict[str, asyncio.Task[None]] = {}

    def _open(self, account: str) -> Account:
        settings = AccountSettings.model_validate(self.world.settings.accounts[account])
        wire = Wire(self, self.world.vendor(account))
        return Account(ADAPTERS[account](account, settings, wire, NoVault()))

    def _build(self, spoil: Spoil) -> None:
        world, settings = self.world, self.world.settings
        runtime = Runtime(
            settings=settings,
            database=self.database,
            providers=self.providers,
            policies=world.policies,
            key=SECRET_KEY,
            owner=self.name,
            wake=lambda *_: None,
            clock=self.clock,
            monotonic=world.time,
            lease_clock=database_time if world.conditions.exclusive else lambda _: world.now(),
        )
        core = build_core(runtime, world, make_id=world.new_id)
        self.workflow, self.dispatcher, self.tracker = core.workflow, core.dispatcher, core.tracker
        self.approval_reminders, self.reminders = core.approval_reminders, core.reminders
        spoil(core)
        self._work_waits = self.dispatcher.claims.work_waits
        setattr(self.dispatcher.claims, "work_waits", self.anything)  # noqa: B010 - of this one process
        self.honest = 0  # vendors' own reports now being written: a stranger's may be written beside them
        self._record = self.tracker.receiver.record
        setattr(self.tracker.receiver, "record", self.record)  # noqa: B010 - of this one tracker
        self.door = CallbackDoor(self.database, self.tracker, self.providers, SECRET_KEY, world.meters)

    def anything(self, connection: Connection) -> bool:
        """Whether a tick has work to do; if not, check that a tick changes no row."""
        if self._work_waits(connection):
            return True
        before = self.world.memory.raw.total_changes
        with connection.begin_nested() as tried:
            self.dispatcher._tick(connection)
            tried.rollback()
        idle = self.world.memory.raw.total_changes == before
        self.world.witness.require(idle, "a look", f"{self} would have done something, and saw nothing to do")
        return False

    async def record(self, *given: Any, **more: Any) -> Recorded:
        own = not STRANGER.get()
        self.honest += own
        try:
            return await self._record(*given, **more)
        finally:
            self.honest -= own

    def __str__(self) -> str:
        return self.name

    def clock(self) -> Micros:
        return self.world.now() + self.skew

    # --- the seams ---------------------------------------------------------------------------------------------------

    async def seam(self, point: str) -> None:
        """A place where the world may delay, stop or kill this process."""
        await asyncio.sleep(self.world.a_moment())
        if self.stalls_in is not None:
            self.stalls_in -= 1
            if self.stalls_in < 0:
                self._stand_still(point)
        while (rest := self.stalled_until - self.world.time()) > 0:
            await asyncio.sleep(rest)
        if self.dies_in is not None:
            self.dies_in -= 1
            if self.dies_in < 0 and self.alive:
                self.die(point)
        if not self.alive:
            raise Killed

    def _stand_still(self, point: str) -> None:
        self.stalled_until, self.stalls_in = self.world.time() + self.stall, None
        self.world.count("stopped", point)
        self.world.say(f"  {self} stands still for {self.stall} s, {point}")

    def store_fault(self) -> StoreFault | None:
        if self.cut_off_until > self.world.time():
            return StoreFault.BUSY
        return self.world.store_fault()

    def commit(self, name: str, run: Callable[[], T]) -> T:
        """Commit, and let the witness see what became of the rows."""
        result = run()
        self.world.witness.committed(self, name)
        return result

    def die(self, point: str) -> None:
        self.alive = False
        self.world.count("killed", point)
        self.world.say(f"  {self} is killed {point}")

    # --- what wakes it -----------------------------------------------------------------------------------------------

    def ring(self, bell: str) -> None:
        """Do the work of this bell, never twice at a time. If it fails, the next ring tries again."""
        known = self._ringing.get(bell)
        if self.alive and (known is None or known.done()):
            self._ringing[bell] = self.world.spawn(self._work(bell))

    async def _work(self, bell: str) -> None:
        try:
            await self.bells[bell]()
        except Exception:
            log.exception("a tick failed; it is tried again", tick=bell)

    async def hear(self, account: str, token: str, body: Any) -> int:
        """Deliver an HTTP request to the callback address and return its status. An exception that escapes is a 500."""
        statuses: list[int] = []
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": raw, "more_body": False}

        async def send(event: Any) -> None:
            if event["type"] == "http.response.start":
                statuses.append(event["status"])

        scope: dict[str, Any] = {"type": "http", "method": "POST", "headers": []}
        scope |= {"path_params": {"account": account, "token": token}, "client": ("203.0.113.7", 1)}
        try:
            await self.door(scope, receive, send)
        except Exception:
            log.exception("a callback failed")
            return 500
        return statuses[0]
