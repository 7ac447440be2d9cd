"""Octopush (public API v1): SMS to a list or a tag in two steps. `create` only prepares; `send` makes phones ring.

Facts: the vendor's pages at dev.octopush.com and octopush-api.readme.io; the meaning of codes from its older API.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

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
    Unavailable,
    Uncertain,
    open_for_quote,
    real_secret,
)
from providers.http import not_understood, object_of, throttled, unreadable
from providers.reading import UNREADABLE, code_of, count_of, dated, id_of, money_of, time_of, word_of

BASE_URL = "https://api.octopush.com/v1/public"
SENDER = r"(?=[0-9]*[A-Za-z])[A-Za-z0-9]{3,11}"
NOT_READ = "Octopush's answer cannot be read."
MENTION = re.compile(r"STOP a[ut] (?:\d{5}|X{5})")

PURPOSES = {Purpose.TRANSACTIONAL: "alert", Purpose.MARKETING: "wholesale"}
STEPS = {AudienceKind.LIST: "sms-campaign-on-list", AudienceKind.TAG: "sms-campaign-on-tag"}
NAMES = {AudienceKind.LIST: "list_name", AudienceKind.TAG: "tag_name"}
READY = frozenset({"READY_TO_BE_SENT", "READY_TO_BE_SEND"})  # the vendor spells it both ways

QUOTE_PAUSES = (0, 0.5, 1, 2, 4, 8)

STATUSES = {
    "ACK": (DeliveryStatus.SENT, False),
    "DELIVERED": (DeliveryStatus.DELIVERED, True),
    "NOT_DELIVERED": (DeliveryStatus.FAILED, True),
    "NOT_ALLOWED": (DeliveryStatus.FAILED, True),
    "BAD_DESTINATION": (DeliveryStatus.FAILED, True),
    "BLACKLISTED_NUMBER": (DeliveryStatus.BLACKLISTED, True),
}

REASONS = {
    "NOT_DELIVERED": "not delivered",
    "NOT_ALLOWED": "not allowed",
    "BAD_DESTINATION": "number not in service",
    "BLACKLISTED_NUMBER": "blacklisted",
}

ANSWERS = {ReceiptKind.OPT_OUT: "STOP", ReceiptKind.REPLY: "REPLY"}

# Code to (sentence, setting to look at). Only the code distinguishes them: the texts follow the account's language.
REFUSALS: Mapping[int, tuple[str, str | None]] = {
    **dict.fromkeys((101, 108, 109), ("Octopush did not accept the login and key.", "api_key")),
    **dict.fromkeys((102, 119), ("Octopush says that the text is too long.", None)),
    **dict.fromkeys((103, 110, 111, 117), ("Octopush found no valid recipient in that audience.", None)),
    104: ("Octopush refused: the account has no credit left.", None),
    105: ("Octopush refused: there is not enough credit, and an order is waiting to be validated.", None),
    106: (
        "Octopush does not accept this sender ID. Use 3 to 11 letters and digits, with at least one letter and no "
        "spaces.",
        "sender",
    ),
    107: ("Octopush says that the text is missing.", None),
    112: ("Octopush says that the type of SMS is missing.", "type"),
    **dict.fromkeys((113, 114), ("Octopush has not validated this account yet.", None)),
    **dict.fromkeys((115, 116), ("Octopush cannot fill in the fields of this text.", None)),
    121: ("Octopush refused: the STOP mention is missing. Marketing must carry it.", "stop_mention"),
    122: ("Octopush refused: the mention that forbids advertising is missing.", "type"),
    **dict.fromkeys((123, 124), ("Octopush did not accept the request's signature.", "api_key")),
    128: ("Octopush gave up on this campaign after too many attempts.", None),
    131: ("Octopush no longer knows this campaign. The bot did not send it. Check at Octopush first.", None),
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
    sender: str | None = None
    stop_mention: str = "STOP au 30101"
    type: Literal["sms_premium", "sms_low_cost"] = "sms_premium"
    with_replies: bool = False
    quote: bool = False

    @field_validator("api_key")
    @classmethod
    def _real(cls, value: SecretStr) -> SecretStr:
        return real_secret(value)

    @field_validator("sender")
    @classmethod
    def _a_sender(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(SENDER, value):
            raise ValueError("must have 3 to 11 letters and digits, at least one of them a letter, without spaces")
        return value

    @field_validator("stop_mention")
    @classmethod
    def _a_mention(cls, value: str) -> str:
        if not MENTION.fullmatch(value):
            raise ValueError("must read like `STOP au 30101`")
        return value


class Octopush(Provider):
    """A campaign is created, computed, then sent. Until it is sent, nothing rings and it can be discarded."""

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
        sender_rule="Use 3 to 11 letters and digits, with at least one letter and no spaces.",
        reasons=REASONS,
        placeholders=("{first_name}", "{last_name}", *(f"{{param{number}}}" for number in range(1, 6))),
        replaces=("XXXXX",),
    )
    settings: OctopushSettings

    @property
    def mention(self) -> str:
        return self.settings.stop_mention

    async def stage(self, message: Message, known: Staged | None = None) -> Staged:
        """Create once, then read the status until it is ready. Raises NotReady, Blocked, Refused, Unavailable.

        A new campaign is returned whatever its status says: nobody could discard one that nobody knows of.
        """
        if known is not None:
            return await self._status(known, message)
        made = Staged(await self._create(message), ready=False)
        try:
            return await self._status(made, message)
        except ProviderError:
            return made

    async def _create(self, message: Message) -> str:
        """Prepare a campaign. It rings nowhere, so a lost answer is asked for again with the same request_id."""
        with suppress(Uncertain):
            return await self._create_once(message)
        try:
            return await self._create_once(message)
        except Uncertain as error:
            raise error.harmless() from None

    async def _create_once(self, message: Message) -> str:
        answer = await self._call("POST", f"{STEPS[message.audience.kind]}/create", json=self._campaign(message))
        code, ticket = _code(answer), _ticket(answer)
        if code is None and ticket:
            return ticket
        if code is None and _is_success(answer):
            raise Uncertain(NOT_READ, detail=unreadable(answer).detail)
        if ticket and code in REFUSALS:  # ours, so it must not stay open there; with another code it may be theirs
            with suppress(ProviderError):
                await self.recall(Staged(ticket))
        if answer.status < 500 and code in WAITING:
            raise await self._blocked()
        raise _error(answer, message.audience.id)

    async def _blocked(self) -> Blocked:
        """Show the waiting campaign, and leave it alone: nothing proves whose it is, not even that it is ours."""
        try:
            fields = _fields_of(await self._call("GET", "sms-campaign/draft"))
        except ProviderError:
            fields = {}
        ticket, contacts = id_of(fields.get("ticket_number")), count_of(fields.get("number_of_contacts"))
        cost = money_of(fields.get("total_cost"))
        if not ticket or contacts == UNREADABLE:
            return Blocked(
                "Another campaign is waiting at Octopush. Somebody must send or cancel it there first.", code="126"
            )
        return Blocked(
            "Another campaign is waiting at Octopush: {ticket}, {contacts} contacts, cost {cost}. Somebody must send "
            "or cancel it there first.",
            code="126",
            ticket=ticket[:40],
            contacts=contacts,
            cost="?" if cost is None else str(cost),
        )

    def _campaign(self, message: Message) -> dict[str, object]:
        """Every field is set and none is unknown: the vendor ignores what it does not understand, and continues."""
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

    async def _status(self, known: Staged, message: Message) -> Staged:
        """Read the status. If somebody has sent it by hand, the release learns it too, and no phone rings again."""
        try:
            answer = await self._call("GET", "sms-campaign-on-list/status", query={"ticket_number": known.id})
            return _read_status(known, answer, message.audience.id)
        except Uncertain as error:  # reading it has sent nothing
            raise error.harmless() from None

    async def release(self, message: Message, staged: Staged | None) -> Accepted:
        """The documented yes is a `sending_date`. A code says no, or that it was sent before, whatever the status."""
        if staged is None:
            raise Refused("Nothing was prepared at Octopush, so there is nothing to send.")
        step = STEPS[message.audience.kind]
        answer = await self._call("POST", f"{step}/send", json={"ticket_number": staged.id}, release=True)
        code, sends = _code(answer), _sending_date(answer)
        if code in ALREADY_SENT:
            return Accepted((staged.id,), sends)
        if sends is None:
            raise _error(answer, message.audience.id)
        if code is not None:
            raise Uncertain("Octopush's answer contains both a sending date and an error code.", code=_shown(code))
        return Accepted((staged.id,), sends)

    async def recall(self, staged: Staged) -> None:
        try:
            answer = await self._call("DELETE", "sms-campaign-on-list/cancel", json={"ticket_number": staged.id})
            if answer.status != 204 and _code(answer) not in NOT_OPEN:
                raise _error(answer, "")
        except Uncertain as error:  # it may be gone already: asking again does no harm
            raise error.harmless() from None

    async def look_up(self, message: Message, staged: Staged | None, ids: tuple[str, ...]) -> Evidence:
        """Read the status. Only "already sent" is proof: what else it says after a send is documented nowhere."""
        if staged is None:
            return Evidence(False, "We have no campaign at Octopush to look at.")
        answer = await self._call("GET", "sms-campaign-on-list/status", query={"ticket_number": staged.id})
        if _code(answer) in ALREADY_SENT:
            return Evidence(True, "Octopush says that the campaign was sent.", (staged.id,))
        return Evidence(False, "Octopush still answers about the campaign, but that proves nothing.")

    def read_callback(self, callback: Callback) -> list[Receipt]:
        """Delivery, reply or opt-out, told apart by the date that is filled in. Keyed by (ticket, number)."""
        fields = callback.fields()
        ticket, number = _id(fields.get("message_id")), id_of(fields.get("number"))
        answered = _answer_of(fields)
        receipts = []
        if answered is not None:
            text = fields.get("text") if answered is ReceiptKind.REPLY else None
            receipts += [Receipt(ticket, DeliveryStatus.OTHER, ANSWERS[answered], number, kind=answered, text=text)]
        word = word_of(fields.get("status"))
        if ticket and word and (answered is None or dated(fields.get("delivery_date"))):
            status, final = STATUSES.get(re.sub(r"[\s-]+", "_", word), (DeliveryStatus.OTHER, False))
            receipts += [Receipt(ticket, status, word, number, final)]
        if not receipts:
            raise ValueError("no ticket or no status in the callback")
        return receipts

    async def check(self) -> Check:
        try:
            fields = _fields_of(await self._call("GET", "wallet/check-balance"))
        except Uncertain as error:  # reading it has sent nothing
            raise error.harmless() from None
        credit = money_of(fields.get("amount"))
        if credit is None:
            raise Unavailable(NOT_READ)
        return Check(credit, id_of(fields.get("unit")))

    async def quote(self, message: Message) -> Quote | None:
        if not self.settings.quote:
            return None
        asked = replace(message, dispatch=f"{message.dispatch}-q")  # its request_id must not be the send's
        staged, on_staged = Staged(await self._create(asked), ready=False), open_for_quote.get()
        try:
            if on_staged is not None:
                await on_staged(staged)
            for pause in QUOTE_PAUSES:
                await asyncio.sleep(pause)
                staged = await self.stage(asked, staged)
                if staged.ready:
                    break
            return Quote(staged.contacts, staged.cost, staged.currency)
        finally:
            if on_staged is None:
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


def _read_status(known: Staged, answer: Answer, audience: str) -> Staged:
    """The campaign with its status. A ready one has a size, as documented, so a missing size is `UNREADABLE`."""
    code = _code(answer)
    if code in ALREADY_SENT:
        return replace(known, ready=True)
    if code not in REFUSALS and (answer.status == 400 or (_is_success(answer) and code is not None)):
        return replace(known, ready=False)  # "while the campaign is not ready"
    fields = _fields_of(answer, audience)
    word = word_of(fields.get("status"))
    if word == "FAILED":
        raise Refused("Octopush could not prepare this campaign. Nothing was sent.")
    if word not in READY:
        return replace(known, ready=False)  # it is still counting, so any size that it gives is not yet true
    return Staged(known.id, True, count_of(fields.get("number_of_contacts")), money_of(fields.get("cost")), "EUR")


def _error(answer: Answer, audience: str) -> ProviderError:
    """The error in any answer that is not a success, by its code. An unlisted code says nothing about the send."""
    if answer.status == 429:
        return throttled(answer, _shown(_code(answer)))
    if answer.status >= 500 or answer.status < 200 or 300 <= answer.status < 400:
        return not_understood(answer, _shown(code_of(_body(answer).get("code"))))
    code = _code(answer)
    if code is not None and code in REFUSALS:
        template, setting = REFUSALS[code]
        return Refused(template, code=str(code), setting=setting, audience=audience)
    if code == 126:
        return Blocked(
            "Another campaign is waiting at Octopush. Somebody must send or cancel it there first.", code="126"
        )
    if code in BUSY:
        return NotReady("Octopush is still busy with a campaign.", code=str(code))
    if answer.status in (401, 403):
        return Refused("Octopush did not accept the login and key.", code=_shown(code), setting="api_key")
    return _unclear(answer, code)


def _unclear(answer: Answer, code: int | None) -> Uncertain:
    """Neither the documented yes nor a code that is known to mean no."""
    if code is None or code == UNREADABLE:
        return Uncertain("Octopush's answer does not say whether it was sent.", detail=unreadable(answer).detail)
    template = "Octopush answered with code {number}, which does not say whether it was sent."
    return Uncertain(template, code=str(code), number=code)


def _is_success(answer: Answer) -> bool:
    return 200 <= answer.status < 300


def _body(answer: Answer) -> dict[str, Any]:
    """The fields of the body; none if it is not a JSON object."""
    try:
        value = answer.json()
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _fields(answer: Answer) -> dict[str, Any]:
    """The fields of a 2xx or a refusal. The body of a redirect may be anybody's, so it has none."""
    return _body(answer) if _is_success(answer) or answer.status >= 400 else {}


def _fields_of(answer: Answer, audience: str = "") -> dict[str, Any]:
    """The fields of a read that succeeded. Raises the vendor's error, or Unavailable for an unreadable answer."""
    if not _is_success(answer) or _code(answer) is not None:
        raise _error(answer, audience)
    try:
        return object_of(answer)
    except Uncertain as error:
        raise Unavailable(NOT_READ, detail=error.detail) from None


def _code(answer: Answer) -> int | None:
    """The vendor's own code, whatever the status; None where the answer holds none."""
    return code_of(_fields(answer).get("code"))


def _shown(code: int | None) -> str | None:
    return None if code is None or code == UNREADABLE else str(code)


def _ticket(answer: Answer) -> str:
    return id_of(_fields(answer).get("ticket_number")) if _is_success(answer) else ""


def _sending_date(answer: Answer) -> str | None:
    """The sending date as the vendor wrote it; None if it does not read as a time."""
    value = _fields(answer).get("sending_date") if _is_success(answer) else None
    return str(value).strip() if time_of(value) is not None else None


def _id(field: str | None) -> str:
    """A ticket; ``""`` for a list or an object, which a callback's fields hold as JSON."""
    return "" if field is None or field.lstrip().startswith(("[", "{")) else id_of(field)


def _answer_of(fields: Mapping[str, str]) -> ReceiptKind | None:
    """What a person wrote back, by the field that dates it; None for a delivery."""
    if dated(fields.get("stop_date")):
        return ReceiptKind.OPT_OUT
    if dated(fields.get("reception_date")) or dated(fields.get("answer_date")):
        return ReceiptKind.REPLY
    return None
