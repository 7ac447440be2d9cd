"""Encom (BlueRockTEL "Clients" API): SMS to a diffusion list. Everything travels in the query string.

Facts: the vendor's pages of July 2020 (documentation-fr: sms-messages-listes, -unitaires, sms-listes-de-diffusion,
sms-destinataires, sms-listener). No newer public copy is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, SecretStr, field_validator

from providers.base import (
    Accepted,
    AccountSettings,
    Answer,
    Audience,
    AudienceFound,
    AudienceKind,
    Callback,
    Capabilities,
    Check,
    DeliveryStatus,
    Evidence,
    Message,
    Provider,
    ProviderError,
    Purpose,
    Receipt,
    Receipts,
    Refused,
    Staged,
    TextLimits,
    Unavailable,
    real_secret,
)
from providers.http import not_understood, object_of, throttled, unreadable

MENTION = "STOP AU 36111"
TYPES = {Purpose.TRANSACTIONAL: "t", Purpose.MARKETING: "m"}

# The only status that is documented. It confirms the sending, not the delivery.
CONFIRMED = ("OK", "000")
PLANNED = "PLANNED"  # what the 201 itself means: taken, and nothing more

REFUSALS: Mapping[int, tuple[str, str | None]] = {
    400: ("Encom did not accept the request.", None),
    401: ("Encom did not accept the token.", "token"),
    402: ("Encom refused: the account has no credit left.", None),
    403: ("Encom does not let this token use this customer account.", "customer_account"),
    404: ("Encom does not know the list {list} or the customer account.", None),
    422: ("Encom did not accept the request.", None),
}


class EncomSettings(AccountSettings):
    customer_account: str = Field(min_length=1)
    token: SecretStr

    @field_validator("token")
    @classmethod
    def _real(cls, value: SecretStr) -> SecretStr:
        return real_secret(value)


class Encom(Provider):
    """One POST plans a message for everybody on a list. There is no recall and no key against a second send."""

    name = "encom"
    title = "Encom"
    Settings = EncomSettings
    capabilities = Capabilities(
        audiences=frozenset({AudienceKind.LIST}),
        receipts=Receipts.PER_DISPATCH,
        polls=True,
        discovers=True,
        sizes=True,
        id_each=True,
        text=TextLimits(max_gsm7=918, max_ucs2=402, max_parts=6),  # the vendor names none; long URLs get cut
        placeholders=("%%name%%",),
    )
    settings: EncomSettings

    @property
    def mention(self) -> str:
        return MENTION

    async def release(self, message: Message, staged: Staged | None) -> Accepted:
        query: dict[str, str | int] = {
            "smsRecipientListId": message.audience.id,
            "message": message.text,
            "type": TYPES[message.purpose],
            "idSend": message.dispatch,
        }
        if message.callback_url is not None:
            query["listener"] = message.callback_url
        answer = await self._call("POST", "groupedMessage", query, release=True)
        if 200 <= answer.status < 300:
            return Accepted(_stored(answer))
        raise _refusal(answer, message.audience.id) or not_understood(answer)

    async def poll(self, ids: tuple[str, ...]) -> list[Receipt]:
        receipts = []
        for id in ids:
            answer = await self._call("GET", "singleMessage", {"singleSmsMessageId": id})
            if answer.status == 200:
                receipts += [_receipt(object_of(answer), id)]
            elif answer.status == 429:
                raise throttled(answer)
        return receipts

    def read_callback(self, callback: Callback) -> list[Receipt]:
        fields = callback.fields()
        if not fields.get("id"):
            raise ValueError("no id in the callback")
        return [_receipt(fields, fields["id"])]

    async def audiences(self) -> list[AudienceFound]:
        lists = await self._read("recipientLists", {})
        if not isinstance(lists, list):
            raise Unavailable("Encom's lists cannot be read.")
        found = [entry for entry in lists if isinstance(entry, dict) and "id" in entry]
        return [AudienceFound(AudienceKind.LIST, str(entry["id"]), str(entry.get("name") or "")) for entry in found]

    async def size(self, audience: Audience) -> AudienceFound | None:
        people = await self._read("recipients", {"smsRecipientListId": audience.id})
        if isinstance(people, list):  # an empty list comes as [], as PHP has it
            people = dict.fromkeys(range(len(people)))
        if not isinstance(people, dict):
            raise Unavailable("Encom's list cannot be read.")
        unnamed = sum(1 for name in people.values() if not name)
        return AudienceFound(AudienceKind.LIST, audience.id, "", len(people), unnamed)

    async def check(self) -> Check:
        await self._read("recipientLists", {})
        return Check()

    async def look_up(self, message: Message, staged: Staged | None, ids: tuple[str, ...]) -> Evidence:
        return Evidence(False, "Encom offers no search; a delivery report would prove that it went out.")

    async def _read(self, path: str, query: Mapping[str, str | int]) -> Any:
        answer = await self._call("GET", path, query)
        if answer.status == 200:
            try:
                return answer.json()
            except ValueError:
                raise Unavailable("Encom's answer cannot be read.") from None
        raise _refusal(answer, str(query.get("smsRecipientListId", ""))) or Unavailable(
            "Encom answered {status}.", status=answer.status
        )

    async def _call(self, method: str, path: str, query: Mapping[str, str | int], *, release: bool = False) -> Answer:
        # The token is personal and may see several accounts, so each call names the one it means.
        return await self.transport.call(
            method,
            f"/api/v1/sms/{path}",
            query={"customerAccount": self.settings.customer_account, **query},
            headers={"Authorization": f"Bearer {self.settings.token.get_secret_value().strip()}"},
            release=release,
        )


def _refusal(answer: Answer, list_id: str) -> ProviderError | None:
    if answer.status == 429:
        return throttled(answer)
    if answer.status in REFUSALS:
        template, setting = REFUSALS[answer.status]
        return Refused(template, code=str(answer.status), setting=setting, list=list_id)
    return None


def _stored(answer: Answer) -> tuple[str, ...]:
    """The ids in `store`: `"22,23"`, `20`, `"20"` or `[22, 23]`. Raises Uncertain when there are none."""
    stored = object_of(answer).get("store")
    parts = stored if isinstance(stored, list) else str(stored if stored is not None else "").split(",")
    ids = tuple(dict.fromkeys(str(part).strip() for part in parts))
    if not ids or any(not id.isascii() or not id.isdigit() for id in ids):
        raise unreadable(answer)
    return ids


def _receipt(fields: Mapping[str, Any], id: str) -> Receipt:
    status, code = str(fields.get("status") or ""), str(fields.get("code") or "")
    word = " ".join(part for part in (status, str(fields.get("details") or ""), code) if part)
    known = DeliveryStatus.SENT if (status, code) == CONFIRMED else DeliveryStatus.OTHER
    if PLANNED in (status, fields.get("details")):
        known = DeliveryStatus.ACCEPTED
    return Receipt(str(id), known, word or "?")
