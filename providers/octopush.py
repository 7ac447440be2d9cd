"""Octopush (public API v1): SMS to a list or a tag in two steps. `create` only prepares; `send` makes phones ring.

Facts: the vendor's pages at dev.octopush.com and octopush-api.readme.io; the meaning of codes from its older API.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from providers.base import (
    Accepted,
    AccountSettings,
    Answer,
    AudienceKind,
    Blocked,
    Callback,
    Capabilities,
    Check,
    DeliveryStatus,
    Evidence,
    Message,
    NotReady,
    Provider,
    ProviderError,
    Purpose,
    Quote,
    Receipt,
    ReceiptKind,
    Receipts,
    Refused,
    Staged,
    Uncertain,
    open_for_quote,
    real_secret,
)
from providers.http import not_understood, object_of, throttled, unreadable

BASE_URL = "https://api.octopush.com/v1/public"
SENDER = r"[A-Za-z0-9]{3,11}"
MENTION = re.compile(r"STOP a[ut] (?:\d{5}|X{5})")

PURPOSES = {Purpose.TRANSACTIONAL: "alert", Purpose.MARKETING: "wholesale"}
STEPS = {AudienceKind.LIST: "sms-campaign-on-list", AudienceKind.TAG: "sms-campaign-on-tag"}
NAMES = {AudienceKind.LIST: "list_name", AudienceKind.TAG: "tag_name"}
READY = frozenset({"ready_to_be_sent", "ready_to_be_send"})  # the vendor spells it both ways

QUOTE_PAUSES = (0, 0.5, 1, 2, 4, 8)

STATUSES = {
    "ACK": (DeliveryStatus.SENT, False),
    "DELIVERED": (DeliveryStatus.DELIVERED, True),
    "NOT_DELIVERED": (DeliveryStatus.FAILED, True),
    "NOT_ALLOWED": (DeliveryStatus.FAILED, True),
    "BAD_DESTINATION": (DeliveryStatus.FAILED, True),
    "BLACKLISTED_NUMBER": (DeliveryStatus.BLACKLISTED, True),
}

# Code to (sentence, setting to look at). Told apart by code alone: the texts follow the account's language.
REFUSALS: Mapping[int, tuple[str, str | None]] = {
    **dict.fromkeys((101, 108, 109), ("Octopush did not accept the login and key.", "api_key")),
    **dict.fromkeys((102, 119), ("Octopush says that the text is too long.", None)),
    **dict.fromkeys((103, 110, 111, 117), ("Octopush finds no valid recipient in that audience.", None)),
    104: ("Octopush refused: the account has no credit left.", None),
    105: ("Octopush refused: not enough credit, an order waits for its validation.", None),
    106: ("Octopush does not accept this sender ID: 3 to 11 letters and digits, no spaces.", "sender"),
    107: ("Octopush says that the text is missing.", None),
    112: ("Octopush says that the type of SMS is missing.", "type"),
    **dict.fromkeys((113, 114), ("Octopush has not validated this account yet.", None)),
    **dict.fromkeys((115, 116), ("Octopush cannot fill in the fields of this text.", None)),
    121: ("Octopush refused: the STOP mention is missing, which marketing must carry.", "stop_mention"),
    122: ("Octopush refused: the mention that forbids advertising is missing.", "type"),
    **dict.fromkeys((123, 124), ("Octopush did not accept the request's signature.", "api_key")),
    128: ("Octopush gave up on this campaign after too many attempts.", None),
    131: ("Octopush does not know this campaign any more. The bot did not send it; look there first.", None),
    **dict.fromkeys((150, 151, 152), ("Octopush does not serve the country of these numbers.", "type")),
    **dict.fromkeys((201, 207, 208, 209), ("Octopush does not allow this kind of SMS on this account.", "type")),
    303: ("Octopush does not know the audience {audience}.", None),
    **dict.fromkeys((300, 301, 302, 304, 305, 306, 308), ("Octopush refused the list {audience}.", None)),
}
BUSY = frozenset({127, 129, 130, 153})  # ask again later
WAITING = frozenset({120, 126})  # at create: a draft is open, our own lost one or somebody else's
ALREADY_SENT = frozenset({132, 133})
NOT_OPEN = ALREADY_SENT | {131}  # there is nothing to cancel


class OctopushSettings(AccountSettings):
    base_url: str = BASE_URL
    login: str = Field(min_length=1)
    api_key: SecretStr
    sender: str | None = Field(default=None, pattern=f"^{SENDER}$")
    stop_mention: str = "STOP au 30101"
    type: Literal["sms_premium", "sms_low_cost"] = "sms_premium"
    with_replies: bool = False
    quote: bool = False

    @field_validator("api_key")
    @classmethod
    def _real(cls, value: SecretStr) -> SecretStr:
        return real_secret(value)

    @field_validator("stop_mention")
    @classmethod
    def _a_mention(cls, value: str) -> str:
        if not MENTION.fullmatch(value):
            raise ValueError("must read like `STOP au 30101`")
        return value


class Octopush(Provider):
    """A campaign is created, computed, then sent; until it is sent nothing rings and it can be thrown away."""

    name = "octopush"
    title = "Octopush"
    Settings = OctopushSettings
    capabilities = Capabilities(
        audiences=frozenset({AudienceKind.LIST, AudienceKind.TAG}),
        two_step=True,
        receipts=Receipts.ACCOUNT,
        looks_up=True,
        recalls_staged=True,
        quotes=True,
        sender_pattern=SENDER,
        sender_rule="It has 3 to 11 letters and digits, without spaces.",
        placeholders=("{first_name}", "{last_name}", *(f"{{param{number}}}" for number in range(1, 6))),
        replaces=("XXXXX",),
    )
    settings: OctopushSettings

    @property
    def mention(self) -> str:
        return self.settings.stop_mention

    async def stage(self, message: Message, known: Staged | None = None) -> Staged:
        """Create once, then read the status until it is ready. Raises NotReady, Blocked, Refused, Unavailable.

        What was just made is told whatever its status says: nobody could throw away what nobody knows of.
        """
        if known is not None:
            return await self._status(known)
        made = Staged(await self._create(message), ready=False)
        try:
            return await self._status(made)
        except ProviderError:
            return made

    async def _create(self, message: Message) -> str:
        """A campaign that is only prepared rings nowhere, so a lost answer is asked for again, with its request_id."""
        with suppress(Uncertain):
            return await self._create_once(message)
        try:
            return await self._create_once(message)
        except Uncertain as error:
            raise error.harmless() from None

    async def _create_once(self, message: Message) -> str:
        answer = await self._call("POST", f"{STEPS[message.audience.kind]}/create", json=self._campaign(message))
        if answer.status in (200, 201):
            return _ticket(answer)
        if answer.status < 500 and _code(answer) in WAITING:
            raise await self._blocked()
        raise _error(answer, message.audience.id)

    async def _blocked(self) -> Blocked:
        """Whose campaign it is that waits cannot be proven, not even that it is ours: it is shown, and left alone."""
        try:
            answer = await self._call("GET", "sms-campaign/draft")
            fields = object_of(answer) if answer.status == 200 else {}
        except ProviderError:
            fields = {}
        ticket, contacts = fields.get("ticket_number"), _count(fields.get("number_of_contacts"))
        if not isinstance(ticket, str) or contacts is None:
            return Blocked(
                "Another campaign waits at Octopush. Somebody must send or cancel it there first.", code="126"
            )
        return Blocked(
            "Another campaign waits at Octopush: {ticket}, {contacts} contacts, cost {cost}. "
            "Somebody must send or cancel it there first.",
            code="126",
            ticket=ticket[:40],
            contacts=contacts,
            cost=str(_money(fields.get("total_cost")) or "?"),
        )

    def _campaign(self, message: Message) -> dict[str, object]:
        """Every field said and none unknown: the vendor ignores what it does not understand, and goes on."""
        campaign: dict[str, object] = {
            NAMES[message.audience.kind]: message.audience.id,
            "text": message.text,
            "type": self.settings.type,
            "purpose": PURPOSES[message.purpose],
            "with_replies": self.settings.with_replies,
            "auto_optimize_text": False,
            "auto_remove_blacklisted_numbers": True,
            "request_id": message.dispatch,
        }
        sender = message.sender or self.settings.sender
        return {**campaign, "sender": sender} if sender else campaign

    async def _status(self, known: Staged) -> Staged:
        """Of one that somebody sent by hand meanwhile, the release hears the same and makes no phone ring again."""
        try:
            answer = await self._call("GET", "sms-campaign-on-list/status", query={"ticket_number": known.id})
            return self._read_status(known, answer)
        except Uncertain as error:  # reading it has sent nothing
            raise error.harmless() from None

    def _read_status(self, known: Staged, answer: Answer) -> Staged:
        if _code(answer) in ALREADY_SENT:
            return replace(known, ready=True)
        if answer.status == 400 and _code(answer) not in REFUSALS:
            return replace(known, ready=False)  # "while the campaign is not ready"
        if answer.status != 200:
            raise _error(answer, "")
        fields = object_of(answer)
        if fields.get("status") == "failed":
            raise Refused("Octopush could not prepare this campaign. Nothing was sent.")
        ready = fields.get("status") in READY
        return Staged(known.id, ready, _count(fields.get("number_of_contacts")), _money(fields.get("cost")), "EUR")

    async def release(self, message: Message, staged: Staged | None) -> Accepted:
        if staged is None:
            raise Refused("Nothing was prepared at Octopush, so there is nothing to send.")
        step = STEPS[message.audience.kind]
        answer = await self._call("POST", f"{step}/send", json={"ticket_number": staged.id}, release=True)
        if 200 <= answer.status < 300:
            return Accepted((staged.id,), _sending_date(answer))
        if _code(answer) in ALREADY_SENT:
            return Accepted((staged.id,))
        raise _error(answer, message.audience.id)

    async def recall(self, staged: Staged) -> None:
        try:
            answer = await self._call("DELETE", "sms-campaign-on-list/cancel", json={"ticket_number": staged.id})
            if not 200 <= answer.status < 300 and _code(answer) not in NOT_OPEN:
                raise _error(answer, "")
        except Uncertain as error:  # it may be gone by now: asking for that again does no harm
            raise error.harmless() from None

    async def look_up(self, message: Message, staged: Staged | None, ids: tuple[str, ...]) -> Evidence:
        """What the status says after a send is documented nowhere, so it is shown and proves nothing."""
        if staged is None:
            return Evidence(False, "Octopush has no campaign of ours to look at.")
        answer = await self._call("GET", "sms-campaign-on-list/status", query={"ticket_number": staged.id})
        if _code(answer) in ALREADY_SENT:
            return Evidence(True, "Octopush says that the campaign was sent.", (staged.id,))
        return Evidence(False, "Octopush still answers for the campaign, which proves nothing.")

    def read_callback(self, callback: Callback) -> list[Receipt]:
        """Delivery, reply or opt-out, told apart by the field that dates it. Keyed by (ticket, number)."""
        fields = callback.fields()
        ticket, number = fields.get("message_id") or "", fields.get("number") or ""
        if "stop_date" in fields:
            return [Receipt(ticket, DeliveryStatus.OTHER, "STOP", number, kind=ReceiptKind.OPT_OUT)]
        if "reception_date" in fields or "answer_date" in fields:
            text = fields.get("text")
            return [Receipt(ticket, DeliveryStatus.OTHER, "REPLY", number, kind=ReceiptKind.REPLY, text=text)]
        word = fields.get("status") or ""
        if not ticket or not word:
            raise ValueError("no ticket or no status in the callback")
        status, final = STATUSES.get(word, (DeliveryStatus.OTHER, False))
        return [Receipt(ticket, status, word, number, final)]

    async def check(self) -> Check:
        answer = await self._call("GET", "wallet/check-balance")
        if answer.status != 200:
            raise _error(answer, "")
        fields = object_of(answer)
        return Check(_money(fields.get("amount")), str(fields.get("unit") or ""))

    async def quote(self, message: Message) -> Quote | None:
        if not self.settings.quote:
            return None
        asked = replace(message, dispatch=f"{message.dispatch}-q")  # its request_id must not be the send's
        staged, told = Staged(await self._create(asked), ready=False), open_for_quote.get()
        try:
            if told is not None:
                await told(staged)
            for pause in QUOTE_PAUSES:
                await asyncio.sleep(pause)
                staged = await self.stage(asked, staged)
                if staged.ready:
                    break
            return Quote(staged.contacts, staged.cost, staged.currency)
        finally:
            if told is None:
                await self.recall(staged)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        json: object | None = None,
        release: bool = False,
    ) -> Answer:
        key = self.settings.api_key.get_secret_value().strip()
        headers = {"api-login": self.settings.login, "api-key": key, "cache-control": "no-cache"}
        return await self.transport.call(method, path, query=query, json=json, headers=headers, release=release)


def _error(answer: Answer, audience: str) -> ProviderError:
    """Any answer that is no success, by its code. A code that is not in the table says nothing about the send."""
    code = _code(answer)
    if answer.status == 429:
        return throttled(answer)
    if answer.status >= 500 or answer.status < 400:
        return not_understood(answer)
    if code in REFUSALS:
        template, setting = REFUSALS[code]
        return Refused(template, code=str(code), setting=setting, audience=audience)
    if code == 126:
        return Blocked("Another campaign waits at Octopush. Somebody must send or cancel it there first.", code="126")
    if code in BUSY:
        return NotReady("Octopush is still busy with a campaign.", code=str(code))
    if answer.status in (401, 403):
        return Refused("Octopush did not accept the login and key.", setting="api_key")
    return Uncertain("Octopush answered with code {number}, which does not say whether it was sent.", number=code)


def _code(answer: Answer) -> int:
    """The vendor's own code; 0 when the body holds none."""
    if answer.status < 400:
        return 0
    try:
        value = answer.json()
        return int(value["code"]) if isinstance(value, dict) else 0
    except (ValueError, KeyError, TypeError, OverflowError):
        return 0


def _ticket(answer: Answer) -> str:
    ticket = object_of(answer).get("ticket_number")
    if not isinstance(ticket, str) or not 0 < len(ticket) <= 200:
        raise unreadable(answer)
    return ticket


def _sending_date(answer: Answer) -> str | None:
    value = object_of(answer).get("sending_date")
    return value if isinstance(value, str) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _money(value: object) -> Decimal | None:
    try:
        amount = Decimal(str(value)) if value is not None else None
    except InvalidOperation:
        return None
    return amount if amount is not None and amount.is_finite() else None
