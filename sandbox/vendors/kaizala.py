"""Pretend Kaizala: an access token for a refresh token, then a message to a group."""

from __future__ import annotations

import json
import secrets
import time
import uuid
from copy import deepcopy
from types import MappingProxyType
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from sandbox.vendors.ledger import Office, Sending, Vendor

STAFF = "1b1a2c3d-0000-4000-8000-00000000c0de@1"
FANS = "2b2a2c3d-0000-4000-8000-00000000c0de@2"
ROOT = "/vendors/kaizala"

DEFAULT_GROUPS: dict[str, dict[str, Any]] = {
    STAFF: {"groupName": "Staff", "groupType": "Group", "callerRole": "Admin", "userCount": 12},
    FANS: {"groupName": "Fans", "groupType": "ConnectGroup", "callerRole": "Admin", "userCount": 250},
}


class Kaizala(Vendor):
    """`groups`: id to its description. `rotated`: a refresh token handed out with the next access token."""

    name, title = "kaizala", "Kaizala"
    kept = MappingProxyType({**Vendor.kept, "tokens": set[str]})
    note = "Chat to a group. Microsoft retired Kaizala in August 2023, so only this stand-in is left."

    def __init__(
        self,
        office: Office,
        *,
        application_id: str = "sandbox-app",
        secret: str = "sandbox-secret",  # noqa: S107 - a pretend one
        refresh: str = "sandbox-refresh",
        groups: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(office)
        self.application_id, self.secret, self.refresh = application_id, secret, refresh
        self.groups = deepcopy(DEFAULT_GROUPS) if groups is None else groups
        self.tokens: set[str] = set()
        self.rotated: str | None = None

    def routes(self) -> list[BaseRoute]:
        return [
            Mount(
                f"{ROOT}/v1",
                routes=[
                    Route("/accessToken", self.step("token", self.access_token), methods=["GET"]),
                    Route("/groups", self.step("groups", self.list_groups), methods=["GET"]),
                    Route("/groups/{group}", self.step("groups", self.one_group), methods=["GET"]),
                    Route("/groups/{group}/messages", self.step("release", self.messages), methods=["POST"]),
                ],
            )
        ]

    async def access_token(self, request: Request) -> Response:
        given = tuple(request.headers.get(name) for name in ("applicationId", "applicationSecret", "refreshToken"))
        if given not in {(self.application_id, self.secret, token) for token in (self.refresh, self.rotated)}:
            return JSONResponse({"errorCode": "AuthenticationFailed", "message": "denied"}, 401)
        token = secrets.token_urlsafe(24)
        self.tokens.add(token)
        answer: dict[str, Any] = {
            "accessToken": token,
            "refreshToken": self.rotated,
            "endpointUrl": f"{request.url.scheme}://{request.url.netloc}{ROOT}/",
            "accessTokenExpiry": int((time.time() + 86_400) * 1000),
            "scope": "token.write",
        }
        return JSONResponse(answer)

    def _refused(self, request: Request) -> Response | None:
        if request.headers.get("accessToken") not in self.tokens:
            return JSONResponse({"errorCode": "InvalidAccessToken", "message": "denied"}, 401)
        group = request.path_params.get("group")
        if group is not None and group not in self.groups:
            return JSONResponse({"errorCode": "GroupNotFound", "message": "unknown group"}, 404)
        return None

    def _group(self, id: str) -> dict[str, Any]:
        return {"groupId": id, "hasSubGroups": False, "isMappedToTenant": True, **self.groups[id]}

    async def list_groups(self, request: Request) -> Response:
        return self._refused(request) or JSONResponse({"groups": [self._group(id) for id in self.groups]})

    async def one_group(self, request: Request) -> Response:
        return self._refused(request) or JSONResponse({"groups": [self._group(request.path_params["group"])]})

    async def messages(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        try:
            fields = json.loads(await request.body())
        except ValueError:
            return JSONResponse({"errorCode": "BadRequest", "message": "JSON"}, 400)
        group = self.groups[request.path_params["group"]]
        code = self._judge(fields, group)
        if code:
            return JSONResponse({"errorCode": "BadRequest", "message": "refused"}, code)
        reference = str(uuid.uuid4())
        count = len(fields.get("subscribers") or []) or int(group["userCount"])
        audience = f"group {group['groupName']}"
        self.accept(Sending(reference, "accepted", audience, fields["message"], count, (reference,)))
        return JSONResponse({"referenceId": reference})

    def _judge(self, fields: dict[str, Any], group: dict[str, Any]) -> int:
        text = fields.get("message")
        everyone, some = fields.get("sendToAllSubscribers"), fields.get("subscribers")
        if not isinstance(text, str) or not 0 < len(text.encode("utf-16-le")) // 2 <= 4000 or (everyone and some):
            return 400
        if (everyone or some) and group["groupType"] != "ConnectGroup":
            return 400
        return 403 if everyone and group["callerRole"] != "Admin" else 0

    async def deliver(self, sending: Sending, status: str) -> None:
        """There are no receipts for a chat message."""
