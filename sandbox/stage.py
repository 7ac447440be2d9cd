"""What the demo lets people do to the bot and its surroundings: weather, time, a kill and a new start."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox.child import Child
from sandbox.doors import Door
from sandbox.keeping import Keeping
from sandbox.moved_clock import MovedClock
from sandbox.page import posted
from sandbox.server import Sandbox
from sandbox.vendors.ledger import rings
from sandbox.weather import Weather
from sandbox.world import Json, SlackError


class Stage:
    """A sandbox with doors for its vendors, a clock that moves, a bot that can be killed, and a memory in `file`."""

    def __init__(self, sandbox: Sandbox, bot: Child, file: Path) -> None:
        self.sandbox, self.bot, self.clock = sandbox, bot, MovedClock()
        self.doors = {name: Door(vendor) for name, vendor in sandbox.vendors.all.items()}
        self.weather = Weather(sandbox.vendors, self.doors)
        self.keeping = Keeping(file, sandbox.world, sandbox.vendors, self._kept)
        sandbox.world.clock = self.clock
        sandbox.stage = self.routes()
        bot.changed = self.changed

    def routes(self) -> list[BaseRoute]:
        posts = {"weather": self.set_weather, "clock": self.move_clock, "bot": self.kill_or_start}
        return [
            Route("/page/stage", self.state),
            *(Route(f"/page/{name}", posted(handler), methods=["POST"]) for name, handler in posts.items()),
        ]

    def _kept(self) -> Json:
        ports = {name: door.port for name, door in self.doors.items()}
        return {"ahead": self.clock.ahead, "weather": self.weather.kinds, "ports": ports}

    async def open(self) -> None:
        """Go on where an earlier demo ended. Raises ValueError for a damaged file."""
        kept = self.keeping.read()
        self.clock.ahead = int(kept.get("ahead", 0))
        for name, door in self.doors.items():
            door.port = int(kept.get("ports", {}).get(name, 0))
            await _open(door)
            await self.weather.set(name, kept.get("weather", {}).get(name, "works"))
        for vendor in self.sandbox.vendors.all.values():
            for sending in vendor.sendings.values():
                if sending.what == "accepted" and not sending.statuses:
                    vendor.report_later(sending)

    async def close(self) -> None:
        self.keeping.write()
        for door in self.doors.values():
            await door.give_up()

    def changed(self) -> None:
        self.sandbox.world.publish("stage", {})

    # --- what the page sees and does ---------------------------------------------------------------------------------

    async def state(self, request: Request) -> Response:
        process = self.bot.process
        stage = {
            "weather": self.weather.shown(),
            "clock": {"at": self.clock(), "ahead": self.clock.ahead},
            "bot": {"state": self.bot.state, "pid": process.pid if process and self.bot.is_alive else None},
            "ledger": rings(self.sandbox.vendors.ledger)[:20],
        }
        return JSONResponse({"ok": True, "stage": stage})

    async def set_weather(self, asked: Json) -> Json:
        await self.weather.set(str(asked["vendor"]), str(asked["kind"]))
        self.changed()
        return {}

    async def move_clock(self, asked: Json) -> Json:
        self.clock.move(str(asked["to"]), self.sandbox.world.person(str(asked["me"])).tz)
        await self.bot.tell(str(self.clock.ahead))
        self.changed()
        return {}

    async def kill_or_start(self, asked: Json) -> Json:
        match asked["do"], self.bot.state in ("killed", "ended"):
            case "kill", False:
                await self.bot.kill()
            case "start", True:
                await self.bot.start(str(self.clock.ahead))
            case "kill" | "start", is_dead:
                raise SlackError("The bot does not run." if is_dead else "The bot runs already.")
            case _:
                raise ValueError
        return {}


async def _open(door: Door) -> None:
    """At the address that the vendor had before, if nobody else took it."""
    try:
        await door.open()
    except OSError:
        door.port = 0
        await door.open()
