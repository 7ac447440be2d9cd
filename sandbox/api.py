"""Slack's Web API as the bot calls it: strict about tokens, scopes, membership, authorship and limits."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.delivery import Delivery
from sandbox.faults import Fault, Faults
from sandbox.files import Files
from sandbox.methods import Chat, Conversations, Methods, Reactions, Team, Users, Views
from sandbox.oauth import OAuth
from sandbox.world import Json, SlackError, World

SCOPES: dict[str, str | None] = {
    "auth.test": None,
    "team.info": None,
    "bots.info": "users:read",
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "chat.delete": "chat:write",
    "chat.postEphemeral": "chat:write",
    "chat.getPermalink": None,
    "conversations.info": "channels:read",
    "conversations.members": "channels:read",
    "conversations.list": "channels:read",
    "conversations.open": "im:write",
    "conversations.history": "channels:history",
    "conversations.replies": "channels:history",
    "users.info": "users:read",
    "users.list": "users:read",
    "usergroups.list": "usergroups:read",
    "usergroups.users.list": "usergroups:read",
    "files.getUploadURLExternal": "files:write",
    "files.completeUploadExternal": "files:write",
    "views.open": None,
    "views.push": None,
    "views.update": None,
    "views.publish": None,
    "reactions.add": "reactions:write",
    "reactions.remove": "reactions:write",
    "reactions.get": "reactions:read",
}
JSON_ARGUMENTS = ("files", "blocks", "view", "metadata", "attachments")


class Api:
    """Reads each request, checks its token and scopes, and answers with the method that it names."""

    def __init__(self, world: World, delivery: Delivery, faults: Faults, base: Callable[[], str]) -> None:
        self.world, self.delivery, self.faults, self.base = world, delivery, faults, base
        self.calls: list[tuple[str, Json]] = []
        self.oauth = OAuth(world)
        self.beside: list[Api] = []  # of the other workspaces with the same app
        self.views = Views(world)
        self.files = Files(world, base)
        families = (
            self.files,
            Team(world),
            Chat(world),
            Conversations(world),
            Users(world),
            self.views,
            Reactions(world),
        )
        self.methods: dict[str, Callable[[Json], Json]] = {name: _method(families, name) for name in SCOPES}

    async def handle(self, request: Request) -> Response:
        method = request.path_params["method"]
        token, arguments = await self._read(request)
        return await self._of(token)._handle(method, token, arguments)

    def _of(self, token: str) -> Api:
        """That of the workspace whose token it is."""
        return next((api for api in self.beside if token and token == api.world.bot_token), self)

    async def _handle(self, method: str, token: str, arguments: Json) -> Response:
        self.calls.append((method, arguments))
        fault = self.faults.take(method)
        early = await self._spoil(fault)
        if early is not None:
            return early
        if refusals := self.faults.refusals(arguments.get("blocks")):
            more = {"response_metadata": {"messages": refusals}}
            return JSONResponse({"ok": False, "error": "invalid_blocks", **more})
        answer = self._answer(method, token, arguments)
        if fault is not None and fault.kind == "lost":
            raise LostAnswer  # the effect is there, but the answer is lost
        headers = {"x-oauth-scopes": ",".join(sorted(self.world.manifest.scopes))}
        return JSONResponse(answer, headers=headers)

    async def _read(self, request: Request) -> tuple[str, Json]:
        arguments: Json = dict(request.query_params)
        if request.method == "POST":
            if "json" in request.headers.get("content-type", ""):
                arguments |= json.loads(await request.body() or b"{}")
            else:
                arguments |= {name: str(value) for name, value in (await _form(request)).items()}
        for name in JSON_ARGUMENTS:
            if isinstance(arguments.get(name), str):
                arguments[name] = _parsed(arguments[name])
        bearer = request.headers.get("authorization", "").removeprefix("Bearer").strip()
        return bearer or str(arguments.pop("token", "")), {k: v for k, v in arguments.items() if k != "token"}

    async def _spoil(self, fault: Fault | None) -> Response | None:
        if fault is not None and fault.kind == "delay":
            await fault.last()
            return None
        match fault.kind if fault else "":
            case "429":
                seconds = str((fault.detail if fault else {}).get("retry_after", 1))
                body = {"ok": False, "error": "ratelimited"}
                return JSONResponse(body, 429, {"Retry-After": seconds})
            case "500":
                return Response("oops", 500)
            case "body":  # any bytes, as of a proxy or of a server in trouble
                detail = fault.detail if fault else {}
                return Response(detail["body"], detail["status"], media_type=detail["type"])
            case "error":
                return JSONResponse({"ok": False, "error": (fault.detail if fault else {}).get("error", "fatal_error")})
        return None

    def _answer(self, method: str, token: str, arguments: Json) -> Json:
        try:
            if method == "apps.connections.open":
                return {"ok": True, **self.apps_connections_open(token)}
            if method == "oauth.v2.access":  # it needs no token
                return {"ok": True, **self.oauth.access(arguments)}
            if method not in self.methods:
                raise SlackError("unknown_method", req_method=method)
            self._authorise(method, token)
            return {"ok": True, **self.methods[method](arguments)}
        except SlackError as error:
            return {"ok": False, "error": error.code, **error.more}

    def _authorise(self, method: str, token: str) -> None:
        if not token:
            raise SlackError("not_authed")
        if token != self.world.bot_token:
            raise SlackError("not_allowed_token_type" if token == self.world.app_token else "invalid_auth")
        needed = SCOPES[method]
        if needed is not None and needed not in self.world.manifest.scopes:
            provided = ",".join(sorted(self.world.manifest.scopes))
            raise SlackError("missing_scope", needed=needed, provided=provided)

    def apps_connections_open(self, token: str) -> Json:
        if token != self.world.app_token:
            raise SlackError("invalid_auth" if token else "not_authed")
        if len(self.delivery.sockets) >= 10:
            raise SlackError("too_many_websockets")
        return {"url": f"{self.base().replace('http', 'ws', 1)}/socket?ticket={self.delivery.open_ticket()}"}


class LostAnswer(Exception):
    """The answer is thrown away with its connection."""


def _method(families: Sequence[Methods], name: str) -> Callable[[Json], Json]:
    attribute = name.replace(".", "_")
    method: Callable[[Json], Json] = next(getattr(one, attribute) for one in families if hasattr(one, attribute))
    return method


async def _form(request: Request) -> dict[str, Any]:
    return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))


def _parsed(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
