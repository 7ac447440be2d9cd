"""Pretend Octopush: create prepares, status computes, send makes phones ring. One campaign open per account."""

from __future__ import annotations

import json
import re
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from sandbox.vendors.ledger import Office, Sending, Vendor

MENTION = re.compile(r"STOP a[ut] (\d{5}|X{5})")
SENDER = re.compile(r"[A-Za-z0-9]{3,11}")
GSM = re.compile(r"[\x00-\x7f£¥èéùìòÇØøÅåΔΦΓΛΩΠΨΣΘΞÆæßÉ¤¡ÄÖÑÜ§¿äöñüà€]*")
PURPOSES = {"alert": "transactional", "wholesale": "marketing"}
MESSAGES = {
    101: "Mauvais identifiants",
    102: "Message trop long",
    106: "Expéditeur invalide",
    107: "Texte manquant",
    112: "Type manquant",
    120: "Une requête avec ce request_id a déjà été utilisée",
    121: "Falta la mención STOP.",
    126: "Une campagne attend déjà votre validation",
    127: "Une campagne est en cours de calcul",
    130: "La campagne n'est pas prête",
    131: "Campagne introuvable",
    132: "Campagne déjà envoyée",
    303: "Liste inexistante",
}


@dataclass
class Campaign:
    ticket: str
    kind: str
    audience: str
    fields: dict[str, Any]
    contacts: int
    ready_at: float
    state: str = "open"  # open | sent | cancelled | failed
    created: float = field(default_factory=time.time)


class Octopush(Vendor):
    """`lists` and `tags`: name to number of contacts. `computing`: seconds until a campaign is ready."""

    name, title = "octopush", "Octopush"
    note = "SMS to a list or a tag. A campaign is created, computed, then sent. No phone rings before that."
    words = ("DELIVERED", "NOT_DELIVERED", "BLACKLISTED_NUMBER", "ACK")
    kept = MappingProxyType({**Vendor.kept, "credit": float, "campaigns": dict[str, Campaign], "request_ids": set[str]})

    def __init__(
        self,
        office: Office,
        *,
        login: str = "sandbox@example.org",
        key: str = "sandbox-octopush-key",
        lists: dict[str, int] | None = None,
        tags: dict[str, int] | None = None,
        computing: float = 0.3,
        ready_word: str = "ready_to_be_sent",
        callback_url: str | None = None,
    ) -> None:
        super().__init__(office)
        self.login, self.key, self.computing, self.ready_word = login, key, computing, ready_word
        self.lists = {"newsletter": 20, "team": 3} if lists is None else lists
        self.tags = {"vip": 5} if tags is None else tags
        self.callback_url = callback_url
        self.credit = 1000.0
        self.campaigns: dict[str, Campaign] = {}
        self.request_ids: set[str] = set()

    def routes(self) -> list[BaseRoute]:
        paths = []
        for kind in ("list", "tag"):
            base = f"/sms-campaign-on-{kind}"
            create = self.create_on_list if kind == "list" else self.create_on_tag
            paths += [
                Route(f"{base}/create", self.step("create", create), methods=["POST"]),
                Route(f"{base}/send", self.step("release", self.send), methods=["POST"]),
            ]
        return [
            Mount(
                "/vendors/octopush",
                routes=[
                    *paths,
                    Route("/sms-campaign-on-list/status", self.step("status", self.status), methods=["GET"]),
                    Route("/sms-campaign-on-list/cancel", self.step("cancel", self.cancel), methods=["DELETE"]),
                    Route("/sms-campaign/draft", self.step("draft", self.draft), methods=["GET"]),
                    Route("/wallet/check-balance", self.step("balance", self.balance), methods=["GET"]),
                    Route("/_callback_url", self.set_callback_url, methods=["POST"]),
                ],
            )
        ]

    def _refused(self, request: Request) -> Response | None:
        good = (self.login, self.key)
        given = (request.headers.get("api-login"), request.headers.get("api-key"))
        return None if given == good else refuse(101, 401)

    async def create_on_list(self, request: Request) -> Response:
        return await self._create(request, "list", self.lists)

    async def create_on_tag(self, request: Request) -> Response:
        return await self._create(request, "tag", self.tags)

    async def _create(self, request: Request, kind: str, known: dict[str, int]) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        try:
            fields = json.loads(await request.body())
        except ValueError:
            return JSONResponse({"code": 100, "message": "JSON"}, 400)
        code = self._judge(fields, kind, known)
        if code:
            return refuse(code)
        name = str(fields[f"{kind}_name"])
        ticket = f"sms_{secrets.token_hex(7)[:13]}"
        self.request_ids.add(str(fields.get("request_id")))
        campaign = Campaign(ticket, kind, name, fields, known[name], time.time() + self.computing)
        self.campaigns[ticket] = campaign
        self.sendings[ticket] = self._sending(campaign, "staged")
        self.office.changed()
        return JSONResponse({"ticket_number": ticket}, 201)

    def _judge(self, fields: dict[str, Any], kind: str, known: dict[str, int]) -> int:
        """The first thing that is wrong, by its code; 0 when nothing is."""
        text, purpose = str(fields.get("text") or ""), fields.get("purpose", "wholesale")
        checks = (
            (not text, 107),
            (fields.get("type") not in ("sms_premium", "sms_low_cost"), 112),
            (GSM.fullmatch(text) is not None and len(text) > 1224, 102),
            (fields.get("sender") is not None and not SENDER.fullmatch(str(fields["sender"])), 106),
            (purpose == "wholesale" and not MENTION.search(text), 121),
            (fields.get(f"{kind}_name") not in known, 303),
            (fields.get("request_id") in self.request_ids, 120),
        )
        found = next((code for wrong, code in checks if wrong), 0)
        return found or self._blocked()

    def _blocked(self) -> int:
        waiting = [campaign for campaign in self.campaigns.values() if campaign.state == "open"]
        if not waiting:
            return 0
        return 127 if any(campaign.ready_at > time.time() for campaign in waiting) else 126

    def _sending(self, campaign: Campaign, what: str) -> Sending:
        fields = campaign.fields
        return Sending(
            campaign.ticket,
            what,
            f"{campaign.kind} {campaign.audience}",
            str(fields["text"]),
            campaign.contacts,
            (campaign.ticket,),
            PURPOSES.get(str(fields.get("purpose", "wholesale")), "marketing"),
            fields.get("sender"),
            str(fields.get("request_id") or ""),
        )

    async def status(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        campaign = self.campaigns.get(request.query_params.get("ticket_number", ""))
        if campaign is None or campaign.state == "cancelled":
            return refuse(131)
        if campaign.state == "open" and campaign.ready_at > time.time():
            return refuse(130)
        word = {"open": self.ready_word, "sent": self.ready_word, "failed": "failed"}[campaign.state]
        cost = round(campaign.contacts * 0.129, 2)
        return JSONResponse({"number_of_contacts": campaign.contacts, "cost": cost, "status": word})

    async def send(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        campaign = self.campaigns.get(str(json.loads(await request.body()).get("ticket_number")))
        if campaign is None or campaign.state in ("cancelled", "failed"):
            return refuse(131)
        if campaign.state == "sent":
            return refuse(132)
        if campaign.ready_at > time.time():
            return refuse(130)
        campaign.state = "sent"
        self.credit -= round(campaign.contacts * 0.129, 2)
        self.accept(self._sending(campaign, "accepted"))
        return JSONResponse({"sending_date": datetime.now(UTC).isoformat(timespec="seconds")})

    async def cancel(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        campaign = self.campaigns.get(str(json.loads(await request.body() or b"{}").get("ticket_number")))
        if campaign is None or campaign.state != "open":
            return refuse(131)
        campaign.state = "cancelled"
        self.sendings[campaign.ticket].what = "cancelled"
        self.office.changed()
        return Response(status_code=204)

    async def draft(self, request: Request) -> Response:
        """The campaign that is open, no matter who created it."""
        refused = self._refused(request)
        if refused is not None:
            return refused
        waiting = next((campaign for campaign in self.campaigns.values() if campaign.state == "open"), None)
        if waiting is None:
            return refuse(131)
        cost = round(waiting.contacts * 0.129, 2)
        told = {"ticket_number": waiting.ticket, "number_of_contacts": waiting.contacts, "total_cost": cost}
        return JSONResponse({**told, "status": "validated", "message": "", "code": 0})

    async def balance(self, request: Request) -> Response:
        return self._refused(request) or JSONResponse({"amount": round(self.credit, 2), "unit": "euros"})

    async def set_callback_url(self, request: Request) -> Response:
        self.callback_url = (await request.json()).get("url")
        return Response(status_code=204)

    async def deliver(self, sending: Sending, status: str) -> None:
        for index in range(sending.count):
            await self.tell(sending.id, f"+336001{index:05d}", status)
        sending.statuses = {status: sending.count}
        self.office.changed()

    async def tell(self, ticket: str, number: str, status: str) -> int:
        """Call the account's address about one number. Returns its answer's status; 0 without an address."""
        if self.callback_url is None:
            return 0
        stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        fields = {"channel": "sms", "message_id": ticket, "number": number, "status": status}
        return await self.office.call_back(self.callback_url, json={**fields, "delivery_date": stamp, "meta_data": ""})


def refuse(code: int, status: int = 400) -> Response:
    return JSONResponse({"code": code, "message": MESSAGES.get(code, "?")}, status)
