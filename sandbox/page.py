"""The page's own routes: JSON for what people do and see, server-sent events for what happens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from sandbox.acting import Acting
from sandbox.delivery import Delivery
from sandbox.faults import Faults
from sandbox.vendors.all import Vendors
from sandbox.world import Channel, Json, SlackError, World

KEEP_ALIVE = 15.0
AT_ONCE = 100  # messages that the page reads at a time; the others follow when somebody scrolls there
STATIC = Path(__file__).parent / "static"


class Page:
    """`me` names the person who looks at the page. It is for one person at a keyboard, who plays everybody."""

    def __init__(self, world: World, acting: Acting, delivery: Delivery, vendors: Vendors, faults: Faults) -> None:
        self.world, self.acting, self.delivery, self.vendors, self.faults = world, acting, delivery, vendors, faults
        self._streams: set[asyncio.Queue[tuple[str, Json] | None]] = set()

    def routes(self) -> list[BaseRoute]:
        posts: dict[str, Callable[[Json], Awaitable[Json]]] = {
            "message": self.message,
            "react": self.react,
            "action": self.action,
            "submit": self.submit,
            "suggest": self.suggest,
            "close": self.close,
            "vendors/deliver": self.deliver,
            "faults": self.ask_fault,
            "home": self.open_home,
            "shortcut": self.shortcut,
        }
        return [
            Route("/", self.index),
            Mount("/static", StaticFiles(directory=STATIC)),
            Route("/page/state", self.state),
            Route("/page/channel", self.channel),
            Route("/page/thread", self.thread),
            Route("/page/events", self.events),
            Route("/page/vendors", self.panel),
            *(Route(f"/page/{name}", posted(handler), methods=["POST"]) for name, handler in posts.items()),
        ]

    async def index(self, request: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-store"})

    # --- reading -----------------------------------------------------------------------------------------------------

    async def state(self, request: Request) -> Response:
        world, me = self.world, request.query_params.get("me", "")
        if me not in world.people:
            return JSONResponse({"ok": False, "error": "There is no such person here."}, 404)
        people = [
            {"id": p.id, "name": p.name, "real_name": p.real_name, "tz": p.tz, "locale": p.locale, "kind": p.kind}
            | {"groups": world.groups_of(p.id), "admin": p.admin}
            for p in world.people.values()
        ]
        return JSONResponse(
            {
                "ok": True,
                "team": world.team,
                "app": {"name": world.app_name, "user": world.bot_user},
                "me": me,
                "people": people,
                "groups": [{"id": g.id, "handle": g.handle, "users": g.users} for g in world.groups.values()],
                "channels": [self._channel(channel) for channel in world.visible_channels(me)],
                "commands": world.manifest.commands,
                "shortcuts": world.manifest.shortcuts,
                "connected": self.delivery.connected,
                "views": world.views.get(me, []),
                "home": world.homes.get(me),
            }
        )

    def _channel(self, channel: Channel) -> Json:
        name = self.world.app_name if channel.direct else channel.name
        here = self.world.bot_user in channel.members
        latest = max((float(m["ts"]) for m in channel.messages if m.get("thread_ts") in (None, m["ts"])), default=0)
        shown = {"id": channel.id, "name": name, "kind": channel.kind, "members": channel.members}
        return {**shown, "bot": here, "latest": latest}

    async def channel(self, request: Request) -> Response:
        """The newest messages of the channel `id`, or those next to the message `before` or `after`; oldest first."""
        asked = request.query_params
        me, id, before, after = (asked.get(name, "") for name in ("me", "id", "before", "after"))
        if id not in self.world.channels:
            return JSONResponse({"ok": False, "error": "There is no such channel here."}, 404)
        whispered = [m for m in self.world.ephemerals.get(me, []) if m["channel"] == id]
        found = [
            m for m in (*self.acting.messages(id), *whispered) if after < m["ts"] and (not before or m["ts"] < before)
        ]
        found.sort(key=lambda message: message["ts"])
        shown = found[:AT_ONCE] if after else found[-AT_ONCE:]
        messages = self.world.page_messages(id, shown)
        return JSONResponse({"ok": True, "messages": messages, "more": len(shown) < len(found)})

    async def thread(self, request: Request) -> Response:
        id, ts = request.query_params.get("channel", ""), request.query_params.get("ts", "")
        try:
            parent = self.world.message(self.world.channel(id), ts)
        except SlackError as error:
            return JSONResponse({"ok": False, "error": error.code}, 404)
        shown = [parent, *self.acting.thread(id, ts)]
        return JSONResponse({"ok": True, "messages": self.world.page_messages(id, shown)})

    async def panel(self, request: Request) -> Response:
        return JSONResponse({"ok": True, **self.vendors.snapshot()})

    async def events(self, request: Request) -> Response:
        me = request.query_params.get("me", "")
        return StreamingResponse(
            self._stream(me), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    async def _stream(self, me: str) -> AsyncIterator[str]:
        queue: asyncio.Queue[tuple[str, Json] | None] = asyncio.Queue()

        def listen(kind: str, data: Json, only: str | None) -> None:
            if only in (None, me):
                queue.put_nowait((kind, data))

        self._streams.add(queue)
        self.world.listeners.append(listen)
        try:
            yield ": hello\n\n"
            while (item := await self._next(queue)) is not None:
                yield item
        finally:
            self.world.listeners.remove(listen)
            self._streams.discard(queue)

    @staticmethod
    async def _next(queue: asyncio.Queue[tuple[str, Json] | None]) -> str | None:
        try:
            item = await asyncio.wait_for(queue.get(), KEEP_ALIVE)
        except TimeoutError:
            return ": still here\n\n"
        return None if item is None else f"event: {item[0]}\ndata: {json.dumps(item[1])}\n\n"

    def end_streams(self) -> None:
        """End every open stream: one would block the server's shutdown for ever."""
        for queue in self._streams:
            queue.put_nowait(None)

    # --- doing -------------------------------------------------------------------------------------------------------

    async def message(self, asked: Json) -> Json:
        me, channel, text = str(asked["me"]), str(asked["channel"]), str(asked["text"])
        if text.startswith("/") and not asked.get("thread_ts"):
            return {"delivered": (await self.acting.enter(me, channel, text)).acknowledged}
        if text.strip():
            await self.acting.say(me, channel, text, asked.get("thread_ts"))
        return {}

    async def react(self, asked: Json) -> Json:
        do = self.acting.react if asked.get("on", True) else self.acting.unreact
        await do(str(asked["me"]), str(asked["channel"]), str(asked["ts"]), str(asked["name"]))
        return {}

    async def action(self, asked: Json) -> Json:
        values = (asked.get("state") or {}).get("values") or {}
        await self.acting.act(
            str(asked["me"]), asked, str(asked["block_id"]), str(asked["action_id"]), asked["element"], values
        )
        return {}

    async def submit(self, asked: Json) -> Json:
        values = (asked.get("state") or {}).get("values") or {}
        return {"errors": await self.acting.submit(str(asked["me"]), str(asked["view_id"]), values)}

    async def suggest(self, asked: Json) -> Json:
        me, view_id, block_id = str(asked["me"]), str(asked["view_id"]), str(asked["block_id"])
        return {"options": await self.acting.suggest(me, view_id, block_id, str(asked.get("value") or ""))}

    async def close(self, asked: Json) -> Json:
        await self.acting.close(str(asked["me"]), str(asked["view_id"]), everything=bool(asked.get("all")))
        return {}

    async def shortcut(self, asked: Json) -> Json:
        """Use a shortcut of the app: on the message `channel`, `ts`, or on none."""
        me, name = str(asked.get("me")), str(asked.get("callback_id"))
        if asked.get("ts"):
            done = await self.acting.shortcuts.use_on(me, str(asked.get("channel")), str(asked["ts"]), name)
        else:
            done = await self.acting.shortcuts.use(me, name)
        return {"acknowledged": done}

    async def open_home(self, asked: Json) -> Json:
        """Open a tab of the app. What it publishes arrives as the event `home`; the last that it published is here."""
        me = str(asked["me"])
        self.acting.home.open(me, str(asked.get("tab") or "home"))
        return {"view": self.acting.home.shown(me)}

    async def deliver(self, asked: Json) -> Json:
        await self.vendors.deliver(str(asked["vendor"]), str(asked["id"]), str(asked["status"]))
        return {}

    async def ask_fault(self, asked: Json) -> Json:
        target, kind, times = str(asked.pop("target")), str(asked.pop("fault")), int(asked.pop("times", 1))
        faults = self.vendors.faults if target.split(".")[0] in self.vendors.names else self.faults
        faults.add(target.removeprefix("slack."), kind, times, **asked)
        return {}


def posted(handler: Callable[[Json], Awaitable[Json]]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            asked = await request.json()
            return JSONResponse({"ok": True, **await handler(asked)})
        except SlackError as error:
            return JSONResponse({"ok": False, "error": error.code})
        except (ValueError, KeyError, TypeError):
            return JSONResponse({"ok": False, "error": "That request is not complete."}, 400)

    return answer
