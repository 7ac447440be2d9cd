"""The routes of the public site."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from bot.web.callbacks import CallbackDoor
from bot.web.slack import SlackDoor

#: What answers at `/callbacks/`, which every proxy must pass on: `bellcrier doctor` looks for it from outside.
GREETING = "bellcrier"
Ready = Callable[[], Awaitable[tuple[bool, Mapping[str, str]]]]


@dataclass(frozen=True)
class Health:
    """Answers whether the process is alive, and whether it is able to work."""

    ready: Ready

    async def healthz(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        ok, parts = await self.ready()
        return JSONResponse({"status": "ok" if ok else "not ready", **parts}, status_code=200 if ok else 503)


async def greet(request: Request) -> Response:
    return PlainTextResponse(GREETING)


def public_site(
    slack: SlackDoor | None, callbacks: CallbackDoor, health: Health, more: Iterable[Route] = ()
) -> Starlette:
    """Return the public site. Slack's route exists in HTTP mode only."""
    routes = [
        Route("/callbacks/", greet),
        Route("/callbacks/{account}/{token}", callbacks),
        Route("/healthz", health.healthz),
        Route("/readyz", health.readyz),
    ]
    if slack is not None:
        routes.append(Route("/slack/events", slack.__call__, methods=["POST"]))
    return Starlette(routes=[*routes, *more])
