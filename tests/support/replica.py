"""One process of several: the real store, workflow, dispatcher and tracker, without Slack.
`python -m tests.support.replica JSON`: a line of JSON in is what somebody does, a line of JSON out is its result."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from bot.adapters import open_accounts, policies_of
from bot.config.load import parse
from bot.config.runtime import Runtime
from bot.core import build_core
from bot.domain.broadcast import BroadcastRequest
from bot.domain.clock import now
from bot.domain.lifecycle import Action
from bot.domain.people import Person
from bot.domain.schedule import Kind
from bot.logs import set_up
from bot.recurring.requests import Asked
from bot.scheduler import PeriodicTask, Scheduler
from bot.sending.dispatcher import Dispatcher
from bot.sending.leases import Leases
from bot.storage.engines import open_database
from providers.base import Purpose
from tests.support.core import Everybody, decision
from tests.support.patience import LONG

TEAM, REQUESTER = "T0BELL", "U0CLEO"
APPROVERS = [f"U0APPROVER{number}" for number in range(50)]


def person(id: str) -> Person:
    return Person(TEAM, id, name=id, locale="en", zone="Europe/Paris", member=True)


async def members(_group: str) -> frozenset[str]:
    return frozenset(APPROVERS)


class Replica:
    """`given`: the `settings`, the `database`, the `owner`'s name, and the dispatcher's other arguments."""

    def __init__(self, given: dict[str, Any]) -> None:
        settings = parse(given["settings"])
        self.database = open_database(given["database"], LONG)
        providers = open_accounts(settings, self.database, now, b"k" * 32)
        policies = policies_of(settings)
        runtime = Runtime(
            settings=settings,
            database=self.database,
            providers=providers,
            policies=policies,
            key=b"k" * 32,
            owner=given["owner"],
            wake=self.wake,
        )
        core = build_core(runtime, Everybody(members))
        self.workflow, self.reminders, self.tracker = core.workflow, core.reminders, core.tracker
        self.dispatcher = Dispatcher(
            runtime, core.workflow, core.dispatcher.switch, leases=Leases(runtime, **given["dispatcher"])
        )
        self.scheduler = Scheduler(
            PeriodicTask("dispatch", 0.25, self.dispatcher.tick),
            PeriodicTask("track", 0.5, self.tracker.begin),
            PeriodicTask("sizes", 2.0, self.dispatcher.sizes.begin),
        )
        self.telling: asyncio.Task[None] | None = None
        self.decisions: dict[str, Callable[..., Awaitable[object]]] = {
            "ask": self.ask,
            "act": self.act,
            "every": self.every,
            "fire": self.fire,
        }

    def wake(self, *tasks: str) -> None:
        self.scheduler.wake(*tasks)
        if self.telling is None or self.telling.done():
            self.telling = asyncio.create_task(self._notify_peers())

    async def _notify_peers(self) -> None:
        await asyncio.sleep(0.02)
        try:
            await self.database.notify_peers()
        except Exception as error:  # a hint only
            sys.stderr.write(f"not told: {type(error).__name__}\n")

    # --- what people do ----------------------------------------------------------------------------------------------

    async def ask(self, key: str, text: str, audience: str = "clients") -> str:
        """Ask for a broadcast; return its id."""
        request = BroadcastRequest(
            workspace=TEAM, requester=REQUESTER, channel="C1", audience=audience, purpose=Purpose.MARKETING, text=text
        )
        submitted = await self.workflow.submit(request, key=key, person=person(REQUESTER))
        return submitted.broadcast.id

    async def every(self, key: str, text: str) -> str:
        """Ask for a recurring broadcast; return the id of its schedule."""
        options = {"audience": "clients", "purpose": "marketing"}
        asked = Asked(Kind.BROADCAST, "every monday 9:00", "C1", text, options=options)
        return (await self.reminders.add(asked, key=key, person=person(REQUESTER))).id

    async def fire(self, times: int, at: float) -> dict[str, int]:
        """Make the due occurrences, `times` times at once, at this instant; count the results."""
        await asyncio.sleep(max(at - time.time(), 0))
        outcomes = await asyncio.gather(*(self.reminders.tick() for _ in range(times)), return_exceptions=True)
        return dict(Counter("done" if outcome is None else type(outcome).__name__ for outcome in outcomes))

    async def act(self, id: str, acts: list[tuple[str, int | None]], at: float) -> dict[str, int]:
        """Do all acts at once, at this instant; count each action that worked and each error."""
        await asyncio.sleep(max(at - time.time(), 0))
        return dict(Counter(await asyncio.gather(*(self._act(id, action, number) for action, number in acts))))

    async def _act(self, id: str, action: str, number: int | None) -> str:
        who = person(REQUESTER if number is None else APPROVERS[number])
        try:
            await self.workflow.act(TEAM, id, decision(Action(action)), person=who, version=1)
        except Exception as error:
            return type(error).__name__
        return action

    # --- life --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        await self.database.listen(self.scheduler.wake)
        self.scheduler.start()
        self.say({"ready": os.getpid()})
        doing: set[asyncio.Task[None]] = set()
        while line := await reader.readline():
            task = asyncio.create_task(self._do(json.loads(line)))
            doing.add(task)
            task.add_done_callback(doing.discard)
        await self.dispatcher.stop(5)
        await self.scheduler.stop(1)
        await self.database.close()

    async def _do(self, told: dict[str, Any]) -> None:
        try:
            outcome = await self.decisions[told["do"]](**told["with"])
            self.say({"number": told["number"], "outcome": outcome})
        except Exception as error:
            self.say({"number": told["number"], "failed": type(error).__name__})

    def say(self, told: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


async def main() -> None:
    set_up("error")
    await Replica(json.loads(sys.argv[1])).run()


if __name__ == "__main__":
    asyncio.run(main())
