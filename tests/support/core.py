"""The core without Slack: a workflow and dispatchers over one database and real vendors' sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from bot.adapters import all_placeholders, open_accounts, policies_of
from bot.config.runtime import Runtime
from bot.core import build_core
from bot.domain.broadcast import Broadcast, BroadcastRequest
from bot.domain.clock import SECOND
from bot.domain.i18n import Translatable
from bot.domain.lifecycle import Action, Phase, State
from bot.domain.people import Person
from bot.sending.dispatcher import Dispatcher
from bot.sending.leases import Leases
from bot.sending.tracker import Tracker
from bot.storage import audit, tables
from bot.storage.database import Database
from bot.workflow.approval_reminders import ApprovalReminders
from bot.workflow.decision_types import Approve, Decision
from bot.workflow.kill_switch import KillSwitch
from bot.workflow.workflow import Workflow
from providers.base import Purpose
from sandbox.server import Sandbox
from tests.support.ground import changed, raw_settings
from tests.support.patience import until

TEAM = "T0BELL"
STEPS: dict[Action, Any] = {one.action: one for one in get_args(Decision)}
APPROVERS = [f"U0APPROVER{number}" for number in range(50)]
CLEO = Person(TEAM, "U0CLEO", name="Cleo", locale="en", zone="Europe/Paris", member=True)


def approver(number: int) -> Person:
    return Person(TEAM, APPROVERS[number], name="A", locale="en", zone="Europe/Paris", member=True)


def decision(action: Action, **given: Any) -> Decision:
    """The decision of this name, with its arguments."""
    made: Decision = STEPS[action](**given)
    return made


class Everybody:
    """A directory in which everybody is a member, and sees and is in every channel."""

    def __init__(self, members: Callable[[str], Awaitable[frozenset[str]]]) -> None:
        self._members = members

    async def members(self, group: str) -> frozenset[str]:
        return await self._members(group)

    async def person(self, workspace: str, user: str) -> Person:
        return replace(CLEO, workspace=workspace, id=user)

    async def may_read(self, channel: str, user: str) -> bool:
        return True

    async def sees(self, channel: str, user: str) -> bool:
        return True

    async def is_in(self, channel: str, user: str) -> bool:
        return True

    async def why_closed(self, channel: str) -> Translatable | None:
        return None


class Core:
    """A workflow and dispatchers over one database, with a clock that the test moves."""

    def __init__(self, database: Database, sandbox: Sandbox, folder: Path, **changes: Any) -> None:
        self.now, self.database, self.sandbox = 1_800_000_000 * SECOND, database, sandbox
        self.steady = 0.0  # seconds by which the steady clock leads; subtract a jump of the wall clock
        # with PostgreSQL, the rows are not in the settings' own database
        self.settings = changed(
            raw_settings(sandbox, 1, folder),
            {"approval.undo": "0s", "accounts.encom.requests_per_second": 1000, **changes},
        )
        self.providers = open_accounts(self.settings, database, self.clock, b"k" * 32)
        self.policies = policies_of(self.settings)
        self.people = Everybody(self.members)
        self.runtime = Runtime(
            settings=self.settings,
            database=database,
            providers=self.providers,
            policies=self.policies,
            key=b"k" * 32,
            owner="one",
            wake=lambda *_: None,
            clock=self.clock,
            monotonic=lambda: time.monotonic() + self.steady + self.now / SECOND,
            lease_clock=lambda _: self.now,
        )
        built = build_core(self.runtime, self.people, placeholders=all_placeholders())
        self.audiences, self.workflow = built.audiences, built.workflow
        self.count, self.gone = 0, set[str]()

    def clock(self) -> int:
        return self.now

    async def members(self, group: str) -> frozenset[str]:
        return frozenset(APPROVERS) - self.gone

    def workflow_over(self, database: Database) -> Workflow:
        """The workflow, over another view of the database."""
        runtime = replace(self.runtime, database=database)
        return Workflow(runtime, self.audiences, self.people, self.workflow.pauses.switch)

    def dispatcher(self, owner: str, database: Database | None = None, **timing: float) -> Dispatcher:
        """One more process that dispatches. `timing`: the seconds of its leases."""
        runtime = replace(self.runtime, owner=owner, database=database or self.database)
        return Dispatcher(runtime, self.workflow, KillSwitch(), Leases(runtime, **timing))

    def tracker(self, database: Database | None = None) -> Tracker:
        return Tracker(replace(self.runtime, database=database or self.database))

    def approval_reminders(self, database: Database | None = None) -> ApprovalReminders:
        return ApprovalReminders(replace(self.runtime, database=database or self.database), self.audiences.misfit)

    async def ask(self, **changes: Any) -> Broadcast:
        request = self.request(**changes)
        return (await self.workflow.submit(request, key=f"k{self.count}", person=CLEO)).broadcast

    def request(self, **changes: Any) -> BroadcastRequest:
        self.count += 1
        given: dict[str, Any] = {"audience": "clients", "text": f"Soldes {self.count}", "purpose": Purpose.MARKETING}
        return BroadcastRequest(workspace=TEAM, requester="U0CLEO", channel="C1", **(given | changes))

    async def approved(self, **changes: Any) -> Broadcast:
        row = await self.ask(**changes)
        return await self.workflow.act(TEAM, row.id, Approve(), person=approver(0), version=1)

    async def row(self, id: str) -> Broadcast:
        return await self.workflow.find(TEAM, id)

    async def becomes(self, row: Broadcast, state: State, phase: Phase | None = None) -> Broadcast:
        """Wait until the broadcast has this state and phase, and return it."""

        async def there() -> Broadcast | None:
            now = await self.row(row.id)
            return now if now.state is state and phase in (None, now.phase) else None

        found: Broadcast = await until(there)
        return found

    async def edit(self, row: Broadcast, **values: Any) -> None:
        """Change a row behind everybody's back, as a crash or a tamperer would leave it."""
        table = tables.broadcasts
        await self.database.write(lambda c: c.execute(table.update().where(table.c.id == row.id).values(**values)))

    async def actions(self, row: Broadcast) -> list[str]:
        history = await self.database.read(lambda c: audit.history(c, TEAM, row.id))
        return [str(step["action"]) for step in history]

    async def close(self) -> None:
        for account in self.providers.values():
            await account.aclose()

    async def run(self, *dispatchers: Dispatcher) -> None:
        """Tick until nothing is under way."""
        for _ in range(3):
            await asyncio.gather(*(one.tick() for one in dispatchers))
            await asyncio.gather(*(task for one in dispatchers for task in one.running))


def later(database: Database, seconds: float = 3600.0) -> None:
    """Move the clock on, so that work put off after a failure may be tried again."""
    before = database.failing_rows.monotonic
    database.failing_rows.monotonic = lambda: before() + seconds


MakeCore = Callable[..., Core]


def gate(core: Core, *, release: bool, once: bool = False) -> tuple[asyncio.Event, asyncio.Event]:
    """Hold the calls to Encom that release, or those that do not; with `once`, only the first of them.

    Returns two events: a call has reached the gate, and the calls may go on.
    """
    reached, go = asyncio.Event(), asyncio.Event()
    transport = core.providers["encom"].transport
    call = transport.call

    async def slow(*given: Any, **more: Any) -> Any:
        if bool(more.get("release")) is release and not (once and reached.is_set()):
            reached.set()
            await go.wait()
        return await call(*given, **more)

    transport.call = slow  # type: ignore[method-assign]
    return reached, go
