"""The whole sandbox on one port: Slack's API and socket, the page, and the pretend vendors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from sandbox.acting import Acting
from sandbox.api import Api, LostAnswer
from sandbox.delivery import Delivery
from sandbox.faults import Faults
from sandbox.page import Page
from sandbox.serving import Server, bound
from sandbox.vendors.all import Vendors
from sandbox.wire import abort
from sandbox.world import SlackError, World


class Sandbox:
    """`async with Sandbox() as sandbox`: a workspace at `sandbox.url`, for the time of the block.

    `events_url`: deliver over signed HTTP to this address; without it over Socket Mode.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        events_url: str | None = None,
        retry_pauses: tuple[float, ...] = (0.0, 60.0, 300.0),
        world: World | None = None,
        **vendors: Any,
    ) -> None:
        self.host, self.port = host, port
        self.world, self.faults = world or World(), Faults()
        self.delivery = Delivery(self.world, self.faults, events_url, retry_pauses)
        self.api = Api(self.world, self.delivery, self.faults, lambda: self.url)
        self.oauth = self.api.oauth
        self.acting = Acting(self.world, self.delivery, self.api)
        self.vendors = Vendors(**vendors)
        self.vendors.listen(lambda: self.world.publish("vendors", {}))
        self.page = Page(self.world, self.acting, self.delivery, self.vendors, self.faults)
        self.patience = 10.0  # seconds that `until` waits
        self.stage: list[BaseRoute] = [Route("/page/stage", _no_stage)]
        self._server: Server | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def api_url(self) -> str:
        return f"{self.url}/api/"

    @property
    def calls(self) -> list[tuple[str, dict[str, Any]]]:
        """Every Web API call that arrived, in order."""
        return self.api.calls

    def share(self, other: Sandbox) -> None:
        """Let another workspace install the same app: its calls come here too, told apart by their tokens."""
        self.api.beside.append(other.api)
        other.oauth = self.oauth

    def uninstall(self) -> None:
        """An admin of the workspace removes the app. Slack ends its tokens, and tells the app so."""
        self.oauth.take_back(self.world)
        self.delivery.event({"type": "tokens_revoked", "tokens": {"oauth": [], "bot": [self.world.bot_user]}})
        self.delivery.event({"type": "app_uninstalled"})

    async def _authorize(self, request: Request) -> Response:
        """The page on which people allow the app. Here everybody does, at once: `user` in the workspace `team`."""
        asked = request.query_params
        if asked.get("client_id") != self.world.client_id:
            return PlainTextResponse("invalid_client_id", 400)
        worlds = {one.world.team_id: one.world for one in (self.api, *self.api.beside)}
        back, world = asked.get("redirect_uri", ""), worlds[asked.get("team") or self.world.team_id]
        code = self.oauth.allow(asked.get("user") or next(iter(world.people)), back, world)
        return RedirectResponse(f"{back}?{urlencode({'code': code, 'state': asked.get('state', '')})}", 302)

    def site(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/api/{method}", self._api, methods=["GET", "POST"]),
                Route("/oauth/v2/authorize", self._authorize),
                Route("/upload/{ticket}", self.api.files.receive, methods=["POST"]),
                Route("/response/{token}", self._respond, methods=["POST"]),
                WebSocketRoute("/socket", self.delivery.serve_socket),
                *self.vendors.routes(),
                *self.page.routes(),
                *self.stage,
            ]
        )

    async def _api(self, request: Request) -> Response:
        try:
            return await self.api.handle(request)
        except LostAnswer:
            return abort(request)

    async def _respond(self, request: Request) -> Response:
        try:
            self.acting.answers.respond(request.path_params["token"], json.loads(await request.body()))
        except SlackError as error:
            return PlainTextResponse(error.code, 404)
        except ValueError:
            return PlainTextResponse("invalid_payload", 400)
        return PlainTextResponse("ok")

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        listening = bound(self.host, self.port)
        self.port = listening.getsockname()[1]
        self._server = Server(self.site(), self.page.end_streams)
        await self._server.begin(listening)

    async def stop(self) -> None:
        """End everything that is open, within a few seconds."""
        self.page.end_streams()
        await self.delivery.aclose()
        await self.vendors.aclose()
        if self._server is not None:
            await self._server.end()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def deny(self, *scopes: str) -> None:
        """Let the app have no longer these scopes of its manifest."""
        manifest = self.world.manifest
        self.world.manifest = replace(manifest, scopes=manifest.scopes - {*scopes})

    async def until(self, happened: Callable[[], Any], timeout: float | None = None) -> Any:
        """Wait until something is true of this workspace, and return it. Raises TimeoutError."""
        async with asyncio.timeout(timeout or self.patience):
            while not (found := happened()):
                await asyncio.sleep(0.02)
            return found


async def _no_stage(_: Request) -> Response:
    """Nothing here can be killed, and no clock moves. The demo has both."""
    return JSONResponse({"ok": True})
