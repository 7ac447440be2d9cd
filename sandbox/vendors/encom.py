"""Pretend Encom: everything in the query string, ids in one string, a listener for each send."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from sandbox.vendors.ledger import Office, Sending, Vendor

MENTION = "STOP AU 36111"
PURPOSES = {"t": "transactional", "m": "marketing"}
TRIPLES = {"OK": ("OK", "SENDING CONFIRMED", "000"), "KO": ("KO", "SENDING FAILED", "101")}


class Encom(Vendor):
    """`lists`: id to (name, {number: name or None}). `store`: how it writes ids, `string` or `list` or `int`."""

    name, title = "encom", "Encom"
    note = "SMS to a list. It answers 201 once the sending is planned, and reports the rest to the listener."
    words = ("OK", "KO")
    kept = MappingProxyType(
        {**Vendor.kept, "next_id": int, "listeners": dict[str, str], "messages": dict[str, dict[str, Any]]}
    )

    def __init__(
        self,
        office: Office,
        *,
        token: str = "sandbox-encom-token",  # noqa: S107 - a pretend one
        account: str = "CL3578",
        lists: dict[str, tuple[str, dict[str, str | None]]] | None = None,
        first_id: int = 22,
    ) -> None:
        super().__init__(office)
        self.token, self.account, self.next_id = token, account, first_id
        own = {id: (title, dict(numbers)) for id, (title, numbers) in DEFAULT_LISTS.items()}
        self.lists = own if lists is None else lists
        self.listeners: dict[str, str] = {}
        self.messages: dict[str, dict[str, Any]] = {}
        self.callback_form = False

    def routes(self) -> list[BaseRoute]:
        return [
            Mount(
                "/vendors/encom/api/v1/sms",
                routes=[
                    Route("/groupedMessage", self.step("release", self.grouped), methods=["POST"]),
                    Route("/singleMessage", self.step("poll", self.single), methods=["GET"]),
                    Route("/recipientLists", self.step("lists", self.recipient_lists), methods=["GET"]),
                    Route("/recipients", self.step("recipients", self.recipients), methods=["GET"]),
                ],
            )
        ]

    def _refused(self, request: Request) -> Response | None:
        if request.headers.get("authorization", "").strip() != f"Bearer {self.token}":
            return JSONResponse({"message": "Unauthenticated."}, 401)
        account = request.query_params.get("customerAccount")
        if account is None:
            return JSONResponse({"message": "customerAccount is required"}, 422)
        return None if account == self.account else JSONResponse({"response": "not allowed"}, 403)

    async def grouped(self, request: Request) -> Response:
        query = request.query_params
        refused = self._refused(request)
        if refused is not None:
            return refused
        missing = [name for name in ("smsRecipientListId", "message", "type") if not query.get(name)]
        if missing or query["type"] not in PURPOSES:
            return JSONResponse({"message": f"{missing or 'type'} is required"}, 422)
        if query["smsRecipientListId"] not in self.lists:
            return JSONResponse({"response": "not found"}, 404)
        return JSONResponse({"store": ",".join(self._plan(request).ids)}, 201)

    def _plan(self, request: Request) -> Sending:
        query = request.query_params
        name, people = self.lists[query["smsRecipientListId"]]
        ids = tuple(str(self.next_id + index) for index in range(len(people)))
        self.next_id += len(people)
        text = query["message"]
        if query["type"] == "m" and MENTION not in text:
            text = f"{text} {MENTION}"  # the vendor adds what was left out
        label = query.get("idSend", "")
        sending = Sending(
            ids[0] if ids else f"empty-{len(self.sendings)}",
            "accepted",
            f"list {query['smsRecipientListId']} ({name})",
            text,
            len(people),
            ids,
            PURPOSES[query["type"]],
            label=label,
        )
        for id, number in zip(ids, people, strict=True):
            self.messages[id] = {"number": f"00{number.lstrip('+')}", "idSend": label, "message": text, "triple": None}
        if query.get("listener"):
            self.listeners[sending.id] = query["listener"]
        self.accept(sending)
        return sending

    async def single(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        id = request.query_params.get("singleSmsMessageId", "")
        if id not in self.messages:
            return JSONResponse({"response": "not found"}, 404)
        message = self.messages[id]
        status, details, code = message["triple"] or ("PENDING", "PLANNED", "")
        fixed = {"id": int(id), "number": message["number"], "idSend": message["idSend"], "type": None}
        return JSONResponse(
            {**fixed, "message": message["message"], "status": status, "details": details, "code": code}
        )

    async def recipient_lists(self, request: Request) -> Response:
        stamp = "2020-07-01 09:00:00"
        shown = [
            {"id": int(id), "customerAccount": self.account, "name": name, "created_at": stamp, "updated_at": stamp}
            for id, (name, _) in self.lists.items()
        ]
        return self._refused(request) or JSONResponse(shown)

    async def recipients(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        id = request.query_params.get("smsRecipientListId", "")
        if id not in self.lists:
            return JSONResponse({"response": "not found"}, 404)
        return JSONResponse(self.lists[id][1] or [])

    async def deliver(self, sending: Sending, status: str) -> None:
        triple = TRIPLES[status]
        for id in sending.ids:
            self.messages[id]["triple"] = triple
            await self.tell(sending.id, id, triple)
        sending.statuses = {" ".join(triple): len(sending.ids)}
        self.office.changed()

    async def tell(self, sending_id: str, id: str, triple: tuple[str, str, str]) -> int:
        """Call the listener of one send about one message. Returns its answer's status; 0 without a listener."""
        if sending_id not in self.listeners:
            return 0
        status, details, code = triple
        fields = {"id": id, "status": status, "details": details, "code": code}
        if self.callback_form:
            return await self.office.call_back(self.listeners[sending_id], form=fields)
        return await self.office.call_back(self.listeners[sending_id], json={**fields, "id": int(id)})


def _numbers(count: int) -> dict[str, str | None]:
    return {f"+336000{index:05d}": f"Person {index}" for index in range(count)}


DEFAULT_LISTS: dict[str, tuple[str, dict[str, str | None]]] = {
    "1": ("Clients", {"+33600000001": "Ana", "+33600000002": "Ben"}),
    "2": ("Team", {"+33600000003": "Cleo", "+33600000004": "Dan", "+33600000005": None}),
    "3": ("Nobody", {}),
    "4": ("Everyone", _numbers(10_000)),
}
