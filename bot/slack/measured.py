"""Bolt's app, with a clock beside every request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter
from typing import Any

from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

OnRequest = Callable[[str, str, float], None]  # its kind, the status of the answer, seconds
KINDS = {
    "block_actions": "action",
    "view_submission": "view",
    "view_closed": "view",
    "block_suggestion": "options",
    "shortcut": "shortcut",
    "message_action": "shortcut",
    "event_callback": "event",
}


class MeasuredApp(AsyncApp):
    """Tells how long each request from Slack took until its answer, whether it came by socket or by HTTP."""

    on_request: OnRequest = staticmethod(lambda *_: None)
    around: Callable[[str], AbstractContextManager[None]] = staticmethod(lambda _: nullcontext())  # by its kind

    async def async_dispatch(self, req: AsyncBoltRequest) -> BoltResponse:
        kind, began, status = kind_of(req.body), perf_counter(), "error"
        try:
            with self.around(kind):
                response = await super().async_dispatch(req)
            status = str(response.status)
            return response
        finally:
            self.on_request(kind, status, perf_counter() - began)


def kind_of(body: Mapping[str, Any]) -> str:
    """Return what kind of request this is, in one of a few words."""
    return "command" if "command" in body else KINDS.get(str(body.get("type")), "other")
